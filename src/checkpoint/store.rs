//! Where blocks are kept.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::sync::Mutex;

/// Keeps the blocks of a checkpoint, by number.
///
/// A limiter that is built with one ([`Builder::store`](crate::Builder::store)) reads all blocks once, and then adds some from
/// [`maintain`](crate::Limiter::maintain), numbered upwards. A block is some hundred kilobytes at the most. It holds the key of
/// fingerprints, so that what a store keeps is secret.
pub trait Store: Send + 'static {
    /// The numbers of the blocks that there are, ascending.
    ///
    /// # Errors
    ///
    /// Where the medium fails.
    fn numbers(&mut self) -> Result<Vec<u64>, StoreError>;

    /// The block of that number; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Where the medium fails.
    fn read(&mut self, number: u64) -> Result<Option<Vec<u8>>, StoreError>;

    /// Adds a block, and removes those of `remove`: both or neither, also if the process is killed meanwhile; to stay, once it
    /// answers. A block that there is of that number is replaced.
    ///
    /// # Errors
    ///
    /// Where the medium fails. What there was before is then as it was.
    fn write(&mut self, number: u64, block: &[u8], remove: &[u64]) -> Result<(), StoreError>;
}

/// Why a store could not do what was asked.
#[derive(Debug)]
pub struct StoreError {
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// `message` says where, what, and what would do.
    pub fn new(message: impl Into<String>) -> StoreError {
        StoreError { message: message.into(), source: None }
    }

    /// The same, because of `source`.
    #[must_use]
    pub fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> StoreError {
        self.source = Some(Box::new(source));
        self
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

/// A store in memory, for tests and for programs that keep the bytes themselves. Clones share their blocks.
#[derive(Clone, Default)]
pub struct MemoryStore {
    blocks: Arc<Mutex<BTreeMap<u64, Vec<u8>>>>,
}

impl MemoryStore {
    /// One without a block.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// Bytes of all blocks.
    pub fn bytes(&self) -> usize {
        self.blocks.lock().values().map(Vec::len).sum()
    }

    /// One with the same blocks, that shares nothing.
    #[must_use]
    pub fn copy(&self) -> MemoryStore {
        let blocks = self.blocks.lock().clone();
        MemoryStore { blocks: Arc::new(Mutex::new(blocks)) }
    }
}

impl fmt::Debug for MemoryStore {
    /// Never shows what is kept, which is secret.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("MemoryStore").field("blocks", &self.blocks.lock().len()).finish_non_exhaustive()
    }
}

impl Store for MemoryStore {
    fn numbers(&mut self) -> Result<Vec<u64>, StoreError> {
        Ok(self.blocks.lock().keys().copied().collect())
    }

    fn read(&mut self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.blocks.lock().get(&number).cloned())
    }

    fn write(&mut self, number: u64, block: &[u8], remove: &[u64]) -> Result<(), StoreError> {
        let mut blocks = self.blocks.lock();
        blocks.insert(number, block.to_vec());
        blocks.retain(|number, _| !remove.contains(number));
        Ok(())
    }
}
