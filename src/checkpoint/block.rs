//! A block: some records, with all that is needed to read them.

use super::{
    bytes::{Malformed, Reader},
    error::{Cause, CheckpointError},
    record::Record,
    shape::Shape,
};
use crate::id::checksum;

/// The version of the format that is written.
pub(crate) const VERSION: u16 = 1;
const MAGIC: [u8; 8] = *b"tollgate";
/// Bytes before a block's body.
const HEAD: usize = 8 + 2 + 8 + 8 + 8 + 4;
/// Bytes after it.
const TAIL: usize = 8;

/// What a block says besides its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The number of the first block that is still needed.
    pub(crate) first: u64,
    /// This one's.
    pub(crate) number: u64,
    /// When its records were taken, in unix nanoseconds.
    pub(crate) unix: i64,
    /// The key of fingerprints.
    pub(crate) secret: [u8; 16],
    pub(crate) shape: Shape,
}

/// A part of a checkpoint: some records, and all that is needed to read them.
///
/// A program seldom needs one: it is what a [`Store`](crate::Store) keeps, as bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    pub(crate) head: Head,
    pub(crate) records: Vec<Record>,
}

impl Block {
    /// Reads a block, all of it or nothing.
    ///
    /// # Errors
    ///
    /// Where the bytes are not a block, are one of a newer release, or are not all as they were written.
    pub fn decode(bytes: &[u8]) -> Result<Block, CheckpointError> {
        let corrupt = |malformed| CheckpointError::new(Cause::Corrupt { block: None, malformed });
        let mut from = Reader::new(bytes);
        if from.array() != Ok(MAGIC) {
            return Err(CheckpointError::new(Cause::Foreign));
        }
        let version = from.array().map(u16::from_le_bytes).map_err(corrupt)?;
        if version > VERSION {
            return Err(CheckpointError::new(Cause::Newer { version }));
        }
        let block = Block::read(&mut from, bytes).map_err(corrupt)?;
        if version == VERSION { Ok(block) } else { Err(corrupt(from.bad("a version that never was"))) }
    }

    fn read(from: &mut Reader<'_>, bytes: &[u8]) -> Result<Block, Malformed> {
        let (first, number, unix) = (from.u64()?, from.u64()?, from.i64()?);
        // Others are to follow, and this one is needed itself.
        if number == u64::MAX || first > number {
            return Err(from.bad("a number that cannot be"));
        }
        let length = from.array().map(u32::from_le_bytes)? as usize;
        let sum = bytes.len().checked_sub(TAIL).filter(|end| *end == HEAD.saturating_add(length));
        let end = sum.ok_or_else(|| from.bad("has another length than it says"))?;
        let (checked, sum) = bytes.split_at(end);
        if sum != checksum(checked).to_le_bytes() {
            return Err(Malformed { at: end, what: "the checksum differs" });
        }
        // What follows was written so, unless somebody computed a checksum for it.
        let mut body = Reader::new(checked);
        body.array::<HEAD>()?;
        let head = Head { first, number, unix, secret: body.array()?, shape: Shape::read(&mut body)? };
        let mut records = Vec::new();
        while !body.is_done() {
            let record = Record::read(&mut body)?;
            head.admits(&record).map_err(|what| body.bad(what))?;
            records.push(record);
        }
        Ok(Block { head, records })
    }

    /// Its bytes; [`decode`](Block::decode) reads them.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(&self.head);
        self.records.iter().for_each(|record| record.put(writer.records()));
        writer.finish(&self.head)
    }
}

impl std::fmt::Debug for Block {
    /// Never shows the secret.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Head { first, number, unix, shape, .. } = &self.head;
        let mut out = out.debug_struct("Block");
        out.field("first", first).field("number", number).field("unix", unix).field("shape", shape);
        out.field("records", &self.records).finish()
    }
}

impl Head {
    /// Whether a record is of tiers that there are.
    fn admits(&self, record: &Record) -> Result<(), &'static str> {
        let (tier, level, amounts) = match record {
            Record::Line(line) => (line.tier, line.level, &line.amounts),
            Record::Shared(shared) => (shared.tier, shared.level, &shared.amounts),
            Record::Overrides(_) | Record::Gone(..) => return Ok(()),
        };
        let tier = self.shape.tiers.get(usize::from(tier)).ok_or("a tier that there is not")?;
        let rules = tier.rules(level).len();
        let beyond = amounts.0.iter().skip(rules).any(|amount| *amount != 0);
        if beyond { Err("an amount of a rule that there is not") } else { Ok(()) }
    }
}

/// Writes a block, record by record.
#[derive(Debug)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    start: usize,
}

impl Writer {
    pub(crate) fn new(head: &Head) -> Writer {
        let mut bytes = vec![0; HEAD];
        bytes.extend_from_slice(&head.secret);
        head.shape.put(&mut bytes);
        let start = bytes.len();
        Writer { bytes, start }
    }

    /// Where records are put.
    pub(crate) fn records(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.len() == self.start
    }

    /// Bytes up to now.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The block, with its number and what is still needed as `head` has them.
    pub(crate) fn finish(mut self, head: &Head) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len() - HEAD).unwrap_or(u32::MAX);
        let parts: [&[u8]; 6] = [
            &MAGIC,
            &VERSION.to_le_bytes(),
            &head.first.to_le_bytes(),
            &head.number.to_le_bytes(),
            &head.unix.to_le_bytes(),
            &length.to_le_bytes(),
        ];
        let mut places = self.bytes.iter_mut();
        for byte in parts.into_iter().flatten() {
            if let Some(place) = places.next() {
                *place = *byte;
            }
        }
        let sum = checksum(&self.bytes).to_le_bytes();
        self.bytes.extend_from_slice(&sum);
        self.bytes
    }
}
