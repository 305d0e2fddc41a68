//! All blocks of a store, looked through before any of them is used.

use super::{
    block::{Block, Head},
    error::{Cause, CheckpointError},
    record::Record,
    store::Store,
};
use crate::decision::Name;

/// What a store was found to hold, every block of it whole.
#[derive(Debug)]
pub(crate) struct Log {
    /// The first block that is needed.
    pub(crate) first: u64,
    /// Of the last block.
    pub(crate) head: Head,
    /// Blocks that are not needed any more.
    pub(crate) leftover: Vec<u64>,
    /// Bytes of those that are.
    pub(crate) bytes: u64,
    /// Tiers under whose rules something was kept.
    pub(crate) tiers: Vec<Name>,
}

impl Log {
    /// Looks through all that is there; `None` where nothing is.
    pub(crate) fn check(store: &mut dyn Store) -> Result<Option<Log>, CheckpointError> {
        let numbers = store.numbers()?;
        let Some(&last) = numbers.last() else { return Ok(None) };
        let (head, bytes) = (read(store, last)?.0.head, 0);
        let first = head.first;
        let leftover = numbers.iter().copied().filter(|number| *number < first).collect();
        let mut log = Log { first, head, leftover, bytes, tiers: Vec::new() };
        for number in first..=last {
            let (block, bytes) = read(store, number)?;
            if block.head.secret != log.head.secret {
                return Err(CheckpointError::new(Cause::Mixed));
            }
            log.bytes += bytes;
            for record in &block.records {
                let (tier, amounts) = match record {
                    Record::Line(line) => (line.tier, &line.amounts),
                    Record::Shared(shared) => (shared.tier, &shared.amounts),
                    Record::Overrides(_) | Record::Gone(..) => continue,
                };
                let name = block.head.shape.tiers.get(usize::from(tier)).map(|tier| tier.name);
                if let Some(name) = name.filter(|name| !amounts.is_nothing() && !log.tiers.contains(name)) {
                    log.tiers.push(name);
                }
            }
        }
        Ok(Some(log))
    }

    /// Goes through all blocks that are needed, the earliest first.
    pub(crate) fn each(
        &self,
        store: &mut dyn Store,
        mut act: impl FnMut(Block) -> Result<(), CheckpointError>,
    ) -> Result<(), CheckpointError> {
        (self.first..=self.head.number).try_for_each(|number| act(read(store, number)?.0))
    }
}

fn read(store: &mut dyn Store, number: u64) -> Result<(Block, u64), CheckpointError> {
    let bytes = store.read(number)?.ok_or_else(|| CheckpointError::new(Cause::Gap { missing: number }))?;
    let block = Block::decode(&bytes).map_err(|error| error.in_block(number))?;
    if block.head.number != number {
        return Err(CheckpointError::new(Cause::Gap { missing: number }));
    }
    Ok((block, bytes.len() as u64))
}
