//! Blocks in one file: a database of `redb`, behind a page of our own that says what the file is.
//!
//! The page is looked at before the database is: a file that is foreign, of a newer release, or altered there is refused with
//! a message of ours. The database then checks every page of its own. A file is made under another name, and gets its own
//! once it is whole.

use std::{
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use redb::{
    Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition, backends::FileBackend,
};

use super::store::{Store, StoreError};
use crate::{
    id::checksum,
    sync::{AtomicU64, Ordering},
};

const BLOCKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("blocks");
/// Bytes of the page before the database.
const PAGE: usize = 4096;
const MAGIC: [u8; 8] = *b"TOLLGATE";
const VERSION: u16 = 1;
/// Where the page's checksum is.
const SUM: usize = PAGE - 8;
/// How long a file that somebody has is asked for.
const PATIENCE: Duration = Duration::from_millis(500);
/// Bytes of the database that are kept in memory: it is read once, and then written to its end.
const CACHE: usize = 4 << 20;

/// Checkpoints in a file.
///
/// The file is locked while the store lives, and readable by its owner alone: it holds the key of fingerprints. What a
/// [`write`](Store::write) adds is on the disk when it answers. A write that fails leaves what was there; the next one tries
/// again. Bytes of removed blocks are used again; the file does not shrink. Where the file is moved away, removed or replaced
/// meanwhile, writes fail until it is back, since nobody would find what they add.
pub struct FileStore {
    path: PathBuf,
    /// Has the lock.
    file: File,
    /// None after a failure, until it is opened again.
    database: Option<Database>,
    written: Arc<AtomicU64>,
}

impl FileStore {
    /// Opens the file at `path`, or makes it in a folder that there is. Reads all of it.
    ///
    /// # Errors
    ///
    /// Where it cannot be opened or made, another process has it for half a second, or it is not as this crate wrote it:
    /// foreign, of a newer release, torn, truncated, or altered. It is then left as it is.
    pub fn open(path: impl AsRef<Path>) -> Result<FileStore, StoreError> {
        // Where it is, wherever the process goes.
        let path = &std::path::absolute(path.as_ref()).unwrap_or_else(|_| path.as_ref().to_owned());
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => FileStore::opened(path, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => FileStore::made(path),
            Err(error) => Err(failed(path, "opening it", error)),
        }
    }

    /// Bytes that were written to the file since it was opened.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    fn opened(path: &Path, file: File) -> Result<FileStore, StoreError> {
        lock(path, &file)?;
        check(path, &file)?;
        restrict(path, &file)?;
        let mut store = FileStore { path: path.to_owned(), file, database: None, written: Arc::default() };
        store.database()?;
        Ok(store)
    }

    fn made(path: &Path) -> Result<FileStore, StoreError> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = path.with_file_name(name);
        let file = create(&new).map_err(|error| failed(path, "making it", error))?;
        lock(path, &file)?;
        // Others make it under this lock: now there is one, or they make none until this one is there.
        if path.exists() {
            drop(file);
            let _ = fs::remove_file(&new);
            return FileStore::open(path);
        }
        let made = (|| {
            restrict(path, &file)?;
            // What a process left that was killed meanwhile.
            file.set_len(0).map_err(|error| failed(path, "making it", error))?;
            (&file).write_all(&page()).map_err(|error| failed(path, "making it", error))?;
            let mut store =
                FileStore { path: path.to_owned(), file, database: None, written: Arc::default() };
            store.database()?;
            fs::rename(&new, path).map_err(|error| failed(path, "naming it", error))?;
            keep_name(path).map_err(|error| failed(path, "naming it", error))?;
            Ok(store)
        })();
        if made.is_err() {
            // What is left of it is in nobody's way, if even that cannot be.
            let _ = fs::remove_file(&new);
        }
        made
    }

    /// The database, opened again where it has failed.
    fn database(&mut self) -> Result<&Database, StoreError> {
        if self.database.is_none() {
            let clone = self.file.try_clone().map_err(|error| failed(&self.path, "opening it", error))?;
            let backend =
                FileBackend::new(clone).map_err(|error| refused(&self.path, "opening it", error))?;
            let backend = Behind { backend, written: Arc::clone(&self.written) };
            let database = Database::builder()
                .set_cache_size(CACHE)
                .set_check_integrity_on_open(true)
                .create_with_backend(backend)
                .map_err(|error| refused(&self.path, "opening it", error))?;
            self.database = Some(database);
        }
        // Just made, where there was none.
        self.database.as_ref().ok_or_else(|| StoreError::new("the database is closed"))
    }

    fn with<T>(
        &mut self,
        what: &str,
        act: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let done = act(self.database()?);
        if done.is_err() {
            // It does nothing more after a failure; what it had committed is on the disk.
            self.database = None;
        }
        done.map_err(|error| refused(&self.path, what, error))
    }
}

impl Store for FileStore {
    fn numbers(&mut self) -> Result<Vec<u64>, StoreError> {
        self.with("reading it", |database| {
            let table = match database.begin_read()?.open_table(BLOCKS) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            let mut numbers = Vec::new();
            for block in table.iter()? {
                numbers.push(block?.0.value());
            }
            Ok(numbers)
        })
    }

    fn read(&mut self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.with("reading it", |database| {
            let table = match database.begin_read()?.open_table(BLOCKS) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
                table => table?,
            };
            Ok(table.get(number)?.map(|block| block.value().to_vec()))
        })
    }

    fn write(&mut self, number: u64, block: &[u8], remove: &[u64]) -> Result<(), StoreError> {
        if !is_at(&self.path, &self.file) {
            return Err(StoreError::new(format!(
                "{}: moved away, removed or replaced since it was opened; put it back, and it goes on by itself, or start again \
                 with the one that is there",
                self.path.display()
            )));
        }
        self.with("writing it", |database| {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(BLOCKS)?;
                for number in remove {
                    table.remove(number)?;
                }
                table.insert(number, block)?;
            }
            transaction.commit()?;
            Ok(())
        })
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("FileStore").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What of the file is the database's.
#[derive(Debug)]
struct Behind {
    backend: FileBackend,
    written: Arc<AtomicU64>,
}

impl StorageBackend for Behind {
    fn len(&self) -> io::Result<u64> {
        Ok(self.backend.len()?.saturating_sub(PAGE as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.backend.read(offset.saturating_add(PAGE as u64), out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.backend.set_len(len.saturating_add(PAGE as u64))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.backend.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.written.fetch_add(data.len() as u64, Ordering::Relaxed);
        self.backend.write(offset.saturating_add(PAGE as u64), data)
    }
}

/// The first page of a file.
fn page() -> [u8; PAGE] {
    let mut page = [0; PAGE];
    let (start, sum) = page.split_at_mut(SUM);
    for (place, byte) in start.iter_mut().zip(MAGIC.into_iter().chain(VERSION.to_le_bytes())) {
        *place = byte;
    }
    sum.copy_from_slice(&checksum(start).to_le_bytes());
    page
}

fn check(path: &Path, mut file: &File) -> Result<(), StoreError> {
    const OTHERWISE: &str = "restore a copy, or start with another file";
    let bad = |what: &str| StoreError::new(format!("{}: {what}; {OTHERWISE}", path.display()));
    let mut found = [0; PAGE];
    file.seek(SeekFrom::Start(0)).map_err(|error| failed(path, "reading it", error))?;
    match file.read_exact(&mut found) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(bad("too short for a file of checkpoints"));
        }
        Err(error) => return Err(failed(path, "reading it", error)),
    }
    // A file has its name since there is a database in it; an empty one would be made anew.
    if file.metadata().map_err(|error| failed(path, "reading it", error))?.len() <= PAGE as u64 {
        return Err(bad("torn, since it ends after its first page"));
    }
    if found.get(..MAGIC.len()) != Some(&MAGIC) {
        return Err(bad("not a file of checkpoints"));
    }
    let version = match found.get(MAGIC.len()..MAGIC.len() + 2) {
        Some(&[low, high]) => u16::from_le_bytes([low, high]),
        _ => 0,
    };
    let (start, sum) = found.split_at(SUM);
    if checksum(start).to_le_bytes() != sum {
        return Err(bad("altered, since its first page has another checksum"));
    }
    match version {
        VERSION => Ok(()),
        _ => Err(StoreError::new(format!(
            "{}: version {version} of the file's format; this release reads version {VERSION}; take a newer release",
            path.display()
        ))),
    }
}

/// Waits for a moment for whoever has it: a process that is about to end, or one that this one is just starting, which has
/// all its files until it is another program.
fn lock(path: &Path, file: &File) -> Result<(), StoreError> {
    let begin = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if begin.elapsed() < PATIENCE => thread::sleep(PATIENCE / 50),
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::new(format!(
                    "{}: another process, or another store of this one, has it; a file is one limiter's",
                    path.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(failed(path, "locking it", error)),
        }
    }
}

/// Whether `file` is what is found at `path`, as far as can be told.
#[cfg(unix)]
fn is_at(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (fs::metadata(path), file.metadata()) {
        (Ok(there), Ok(own)) => (there.dev(), there.ino()) == (own.dev(), own.ino()),
        (Err(error), _) => error.kind() != io::ErrorKind::NotFound,
        (_, Err(_)) => true,
    }
}

#[cfg(not(unix))]
fn is_at(_: &Path, _: &File) -> bool {
    true
}

/// Lets a new name outlive a power cut.
#[cfg(unix)]
fn keep_name(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(not(unix))]
fn keep_name(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn create(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

#[cfg(not(unix))]
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// Lets nobody but its owner read it.
#[cfg(unix)]
fn restrict(path: &Path, file: &File) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata().map_err(|error| failed(path, "reading it", error))?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    file.set_permissions(fs::Permissions::from_mode(mode & 0o700))
        .map_err(|error| failed(path, "hiding it from others (it is secret)", error))
}

#[cfg(not(unix))]
fn restrict(_: &Path, _: &File) -> Result<(), StoreError> {
    Ok(())
}

fn failed(path: &Path, what: &str, error: io::Error) -> StoreError {
    let hint = match error.kind() {
        io::ErrorKind::StorageFull => "; make room, and it goes on by itself",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; this user has to be able to write the file, and to make it in its folder"
        }
        _ => "",
    };
    StoreError::new(format!("{}: {what} failed: {error}{hint}", path.display())).because(error)
}

fn refused(path: &Path, what: &str, error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Io(error) => failed(path, what, error),
        error @ (redb::Error::Corrupted(_) | redb::Error::UpgradeRequired(_)) => StoreError::new(format!(
            "{}: torn or altered ({error}); restore a copy, or start with another file",
            path.display()
        ))
        .because(error),
        error => StoreError::new(format!("{}: {what} failed: {error}", path.display())).because(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two that find no file make it at once: who comes second finds that of the first.
    #[test]
    fn a_file_is_made_once() {
        let folder = std::env::temp_dir().join(format!("tollgate-made-once-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("kept");
        let first = FileStore::made(&path).unwrap();
        let second = FileStore::made(&path).map(drop).unwrap_err();
        assert!(second.to_string().contains("another store of this one, has it"), "{second}");
        drop(first);
        assert!(FileStore::made(&path).is_ok());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing else is left");
        fs::remove_dir_all(&folder).unwrap();
    }
}
