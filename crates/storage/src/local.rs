//! A directory of content, addressed as Swarm would.
//!
//! | path in the store | content |
//! |---|---|
//! | `galen-store` | `galen store 1` and a newline: what this directory is, and its version |
//! | `lock` | empty; locked while a process opens the store or begins a file in `tmp` |
//! | `tmp/` | unfinished files, each locked by the process that writes it |
//! | `swarm/<2 hex digits>/<64 hex digits>` | one content under its address, in lowercase |
//!
//! A content file holds, one after the other:
//!
//! 1. the content;
//! 2. the addresses of the nodes of its tree, 32 bytes each, without the root: all leaves, then all nodes
//!    of the level above them, and so on; a lone last node that moves up stands on every level it
//!    reaches; content of at most 4,096 bytes is its own root, and has none;
//! 3. the length of the content, 8 bytes in little endian.
//!
//! So a range is read by hashing only the chunks that it touches and the groups of addresses above
//! them (see [`ContentReader`]), and one rename makes content, tree and length visible together.
//!
//! A file appears under its address only when it is complete and synced. A crash at any moment leaves
//! at most files in `tmp`, which the next [`LocalStore::open`] removes once no living process holds
//! them. Directories have mode 0700, files 0600.

pub(crate) mod files;
mod reader;
mod writer;

use std::{
    fs, io,
    io::Read,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use alloy_primitives::hex;
use galen_types::{ContentRef, Store};

pub use reader::ContentReader;

use crate::StorageError;

/// Longest content that a store takes, in bytes: 64 GiB, more than any imaging study.
pub const MAX_CONTENT_LEN: u64 = 1 << 36;

/// Longest range that one call reads into memory, in bytes: 64 MiB. [`ContentReader`] has no such limit.
pub const MAX_RANGE_LEN: u64 = 64 << 20;

const MARKER: &str = "galen-store";
const MARKER_TEXT: &str = "galen store 1\n";
const NEW_MARKER: &str = "galen-store.new";
const LOCK: &str = "lock";
const TMP: &str = "tmp";
const SWARM: &str = "swarm";
const SHARDS: u16 = 256;

/// A directory of content. Several threads and processes may use one directory at once.
///
/// All calls block on the file system; [`Storage`](crate::Storage) is the door for async code.
#[derive(Clone, Debug)]
pub struct LocalStore {
    root: PathBuf,
}

impl LocalStore {
    /// Opens the store in a directory, and makes the directory and the store if there is none.
    ///
    /// # Errors
    ///
    /// - [`StorageError::NotAStore`]: the directory holds other files; nothing was changed.
    /// - [`StorageError::UnknownVersion`]: a later version of Galen made the store.
    /// - [`StorageError::Full`], [`StorageError::Io`]: the file system refused.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, StorageError> {
        let root = std::path::absolute(root).map_err(StorageError::io("find its directory"))?;
        files::create_dir_all(&root).map_err(StorageError::io("make its directory"))?;
        let store = Self { root };
        if !store.has_marker()? {
            store.refuse_other_files()?;
        }
        let _exclusive = store.lock_exclusive().map_err(StorageError::io("be locked"))?;
        store.lay_out()?;
        if !store.has_marker()? {
            store.write_marker().map_err(StorageError::io("write its version"))?;
        }
        store.remove_unfinished().map_err(StorageError::io("remove unfinished files"))?;
        Ok(store)
    }

    /// Keeps the content and returns its address. When this returns, the content survives a crash of
    /// the process and of the machine.
    ///
    /// Needs constant memory. Keeping the same content again is safe, also at the same time, and heals
    /// a file that was damaged.
    ///
    /// # Errors
    ///
    /// - [`StorageError::Source`]: `content` failed.
    /// - [`StorageError::TooLong`]: `content` has more than [`MAX_CONTENT_LEN`] bytes.
    /// - [`StorageError::Full`], [`StorageError::Io`]: the file system refused.
    ///
    /// After any of them the store holds what it held before.
    pub fn put(&self, content: impl Read) -> Result<ContentRef, StorageError> {
        self.put_limited(content, MAX_CONTENT_LEN)
    }

    /// [`put`](Self::put) with a limit of the caller's, in bytes.
    ///
    /// # Errors
    ///
    /// Those of [`put`](Self::put); [`StorageError::TooLong`] already beyond `limit`.
    pub fn put_limited(&self, content: impl Read, limit: u64) -> Result<ContentRef, StorageError> {
        let temp = self.new_temp().map_err(StorageError::io("begin a file"))?;
        let written = writer::write(content, limit.min(MAX_CONTENT_LEN), temp, &self.path(TMP))?;
        writer::publish(written, &|at| self.file_of(at))
    }

    /// Opens content for reading. Its length is verified here, every byte before it is handed out.
    ///
    /// # Errors
    ///
    /// - [`StorageError::NotFound`]: there is no such content.
    /// - [`StorageError::Integrity`]: the file is not that of the address.
    /// - [`StorageError::Unsupported`]: the address is not a Swarm address.
    /// - [`StorageError::Io`]: the file system refused.
    pub fn reader(&self, at: &ContentRef) -> Result<ContentReader, StorageError> {
        ContentReader::open(&self.file_of(at)?, at)
    }

    /// The whole content, verified.
    ///
    /// # Errors
    ///
    /// Those of [`reader`](Self::reader), and [`StorageError::TooLong`] if the content has more than
    /// `limit` bytes.
    pub fn get(&self, at: &ContentRef, limit: u64) -> Result<Vec<u8>, StorageError> {
        let mut reader = self.reader(at)?;
        if reader.content_len() > limit {
            return Err(StorageError::TooLong { limit });
        }
        reader.range(0..reader.content_len())
    }

    /// Some bytes of the content, verified by hashing only the chunks that they touch.
    ///
    /// # Errors
    ///
    /// Those of [`reader`](Self::reader); [`StorageError::OutOfRange`] if the range does not lie within
    /// the content; [`StorageError::TooLong`] if it has more than [`MAX_RANGE_LEN`] bytes.
    pub fn read_range(&self, at: &ContentRef, range: Range<u64>) -> Result<Vec<u8>, StorageError> {
        if range.end.saturating_sub(range.start) > MAX_RANGE_LEN {
            return Err(StorageError::TooLong { limit: MAX_RANGE_LEN });
        }
        self.reader(at)?.range(range)
    }

    /// Length of the content in bytes, verified.
    ///
    /// # Errors
    ///
    /// Those of [`reader`](Self::reader).
    pub fn len(&self, at: &ContentRef) -> Result<u64, StorageError> {
        self.reader(at).map(|reader| reader.content_len())
    }

    /// Whether a file lies under the address. Says nothing about what is in it.
    ///
    /// # Errors
    ///
    /// [`StorageError::Unsupported`] and [`StorageError::Io`].
    pub fn contains(&self, at: &ContentRef) -> Result<bool, StorageError> {
        self.file_of(at)?.try_exists().map_err(StorageError::io("look for content"))
    }

    /// Removes the content for good; `false` if there was none. Who has it open can read on.
    ///
    /// # Errors
    ///
    /// [`StorageError::Unsupported`] and [`StorageError::Io`].
    pub fn remove(&self, at: &ContentRef) -> Result<bool, StorageError> {
        let file = self.file_of(at)?;
        let removed = match fs::remove_file(&file) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(StorageError::io("remove content")(error)),
        };
        files::sync_parent(&file).map_err(StorageError::io("make a removal durable"))?;
        Ok(removed)
    }

    /// The addresses of all content, in no order. What is kept or removed meanwhile may be missing.
    pub fn list(&self) -> Contents {
        Contents { swarm: self.path(SWARM), next_shard: 0, shard: None }
    }

    /// Whether the directory is there and still a store of this version.
    pub(crate) fn check_version(&self) -> Result<(), StorageError> {
        if self.has_marker()? { Ok(()) } else { Err(StorageError::NotAStore(self.root.clone())) }
    }

    /// How long ago content was kept; `None` if there is none, or the clock was set back.
    pub(crate) fn age(&self, at: &ContentRef) -> Result<Option<Duration>, StorageError> {
        match fs::metadata(self.file_of(at)?).and_then(|metadata| metadata.modified()) {
            Ok(modified) => Ok(modified.elapsed().ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StorageError::io("look for content")(error)),
        }
    }

    /// Whether two stores are the same directory.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.root == other.root
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn file_of(&self, at: &ContentRef) -> Result<PathBuf, StorageError> {
        if at.store != Store::Swarm {
            return Err(StorageError::Unsupported(*at));
        }
        let name = hex::encode(at.digest);
        Ok(self.path(SWARM).join(&name[..2]).join(name))
    }

    fn has_marker(&self) -> Result<bool, StorageError> {
        match fs::read(self.path(MARKER)) {
            Ok(text) if text == MARKER_TEXT.as_bytes() => Ok(true),
            Ok(_) => Err(StorageError::UnknownVersion(self.root.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StorageError::io("read its version")(error)),
        }
    }

    /// A directory without a marker may hold what a crash or another process left half laid out.
    fn refuse_other_files(&self) -> Result<(), StorageError> {
        let read = StorageError::io("read its directory");
        let names = fs::read_dir(&self.root).and_then(|entries| {
            entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()
        });
        let ours = [MARKER, NEW_MARKER, LOCK, TMP, SWARM];
        if names.map_err(read)?.iter().all(|name| ours.iter().any(|our| name == our)) {
            Ok(())
        } else {
            Err(StorageError::NotAStore(self.root.clone()))
        }
    }

    /// Makes the directories that are missing; a copied store may have lost its empty ones.
    fn lay_out(&self) -> Result<(), StorageError> {
        let lay_out = || {
            files::create_dir(&self.path(TMP))?;
            let swarm = self.path(SWARM);
            files::create_dir(&swarm)?;
            for shard in 0..SHARDS {
                files::create_dir(&swarm.join(format!("{shard:02x}")))?;
            }
            files::sync_dir(&swarm)?;
            files::sync_dir(&self.root)
        };
        lay_out().map_err(StorageError::io("make its directories"))
    }

    /// The marker comes last: a store that has one is laid out completely.
    fn write_marker(&self) -> io::Result<()> {
        let new = self.path(NEW_MARKER);
        files::write_synced(&new, MARKER_TEXT.as_bytes())?;
        fs::rename(&new, self.path(MARKER))?;
        files::sync_dir(&self.root)
    }

    fn lock_file(&self) -> io::Result<fs::File> {
        files::open_private(&self.path(LOCK))
    }

    fn lock_exclusive(&self) -> io::Result<fs::File> {
        let file = self.lock_file()?;
        file.lock()?;
        Ok(file)
    }

    /// Begins a file that no other process takes for a leftover: between its creation and its own
    /// lock it is protected by the shared lock of the store.
    fn new_temp(&self) -> io::Result<tempfile::NamedTempFile> {
        let shared = self.lock_file()?;
        shared.lock_shared()?;
        let temp = tempfile::Builder::new().prefix("put-").tempfile_in(self.path(TMP))?;
        temp.as_file().lock()?;
        Ok(temp)
    }

    /// Removes what dead writers left behind. Needs the exclusive lock.
    fn remove_unfinished(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.path(TMP))? {
            let path = entry?.path();
            // A living writer may rename or remove its file at any moment.
            let Ok(file) = fs::File::open(&path) else { continue };
            if file.try_lock().is_ok() {
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// The addresses in a store, see [`LocalStore::list`].
#[derive(Debug)]
pub struct Contents {
    swarm: PathBuf,
    next_shard: u16,
    shard: Option<fs::ReadDir>,
}

impl Iterator for Contents {
    type Item = Result<ContentRef, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.shard.as_mut().and_then(Iterator::next) {
                match entry {
                    Ok(entry) => match address_of(&entry) {
                        Some(at) => return Some(Ok(at)),
                        None => continue,
                    },
                    Err(error) => return Some(Err(StorageError::io("list content")(error))),
                }
            }
            if self.next_shard == SHARDS {
                return None;
            }
            let shard = self.swarm.join(format!("{:02x}", self.next_shard));
            self.next_shard += 1;
            match fs::read_dir(shard) {
                Ok(entries) => self.shard = Some(entries),
                Err(error) => return Some(Err(StorageError::io("list content")(error))),
            }
        }
    }
}

/// The address that a file name says; `None` for files that somebody else put there.
fn address_of(entry: &fs::DirEntry) -> Option<ContentRef> {
    let name = entry.file_name();
    format!("swarm:{}", name.to_str()?).parse().ok()
}
