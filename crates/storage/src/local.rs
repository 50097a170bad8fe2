//! A directory of content, addressed as Swarm and as IPFS would.
//!
//! | path in the store | content |
//! |---|---|
//! | `galen-store` | `galen store 2` and a newline: what this directory is, and its version |
//! | `lock` | empty; locked while a process opens the store or begins a file in `tmp` |
//! | `tmp/` | unfinished files, each locked by the process that writes it |
//! | `swarm/<2 hex digits>/<64 hex digits>` | one content under its Swarm address, in lowercase |
//! | `ipfs/<2 hex digits>/<64 hex digits>` | the name of one content under the digest of its CID: the 64 hex digits of its Swarm address and a newline |
//!
//! A content file holds, one after the other:
//!
//! 1. the content;
//! 2. the addresses of the nodes of its Swarm tree, 32 bytes each, without the root: all leaves, then all
//!    nodes of the level above them, and so on; a lone last node that moves up stands on every level
//!    it reaches; content of at most 4,096 bytes is its own root, and has none;
//! 3. the digests of the leaves of its IPFS tree, 32 bytes each, at least one;
//! 4. the length of the content, 8 bytes in little endian.
//!
//! So a range is read by hashing only the leaves that it touches and the groups of addresses above
//! them (see [`ContentReader`]), and one rename makes content, trees and length visible together.
//!
//! A file appears under its Swarm address only when it is complete and synced, and its name after it. A
//! crash at any moment leaves at most files in `tmp`, which the next [`LocalStore::open`] removes once no
//! living process holds them, and content without its name, which keeping it again gives it. A name is trusted
//! with nothing: content that is read through it is verified by the IPFS tree. Directories have mode
//! 0700, files 0600.
//!
//! Version 1 had neither names nor part 3. Its files are read by their Swarm addresses; keeping the content
//! again makes them whole. [`LocalStore::open`] makes a store of version 1 one of version 2.

pub(crate) mod file;
pub(crate) mod files;
pub(crate) mod names;
mod reader;
mod writer;

use std::{
    fs, io,
    io::Read,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use alloy_primitives::B256;
use galen_types::{ContentRef, Store};

pub use reader::ContentReader;

use self::file::ContentFile;
use crate::{Addresser, Addresses, StorageError, reader::unwrap_io};

/// Longest content that a store takes, in bytes: 64 GiB, more than any imaging study.
pub const MAX_CONTENT_LEN: u64 = 1 << 36;

/// Longest range that one call reads into memory, in bytes: 64 MiB. [`ContentReader`] has no such limit.
pub const MAX_RANGE_LEN: u64 = 64 << 20;

pub(crate) const MARKER: &str = "galen-store";
const MARKER_TEXT: &str = "galen store 2\n";
const MARKER_TEXT_V1: &str = "galen store 1\n";
const NEW_MARKER: &str = "galen-store.new";
const LOCK: &str = "lock";
const TMP: &str = "tmp";
const SWARM: &str = "swarm";
const IPFS: &str = "ipfs";
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
        if store.version()?.is_none() {
            store.refuse_other_files()?;
        }
        let _exclusive = store.lock_exclusive().map_err(StorageError::io("be locked"))?;
        store.lay_out()?;
        if store.version()? != Some(Version::Current) {
            store.write_marker().map_err(StorageError::io("write its version"))?;
        }
        store.remove_unfinished().map_err(StorageError::io("remove unfinished files"))?;
        Ok(store)
    }

    /// Keeps the content and returns its addresses. When this returns, the content survives a crash of
    /// the process and of the machine, under both of them.
    ///
    /// Needs constant memory. Keeping the same content again is safe, also at the same time, and heals
    /// a file or a name that was damaged.
    ///
    /// # Errors
    ///
    /// - [`StorageError::Source`]: `content` failed.
    /// - [`StorageError::TooLong`]: `content` has more than [`MAX_CONTENT_LEN`] bytes.
    /// - [`StorageError::ReadsAsNode`]: `content` has no IPFS address, see
    ///   [`reads_as_root`](crate::ipfs::reads_as_root).
    /// - [`StorageError::Full`], [`StorageError::Io`]: the file system refused.
    ///
    /// After any of them the store holds what it held before; or, if it could not write the name, the
    /// content under its Swarm address as well.
    pub fn put(&self, content: impl Read) -> Result<Addresses, StorageError> {
        self.put_limited(content, MAX_CONTENT_LEN)
    }

    /// [`put`](Self::put) with a limit of the caller's, in bytes.
    ///
    /// # Errors
    ///
    /// Those of [`put`](Self::put); [`StorageError::TooLong`] already beyond `limit`.
    pub fn put_limited(&self, content: impl Read, limit: u64) -> Result<Addresses, StorageError> {
        self.put_noting(content, limit, |_| Ok(()))
    }

    /// As [`put_limited`](Self::put_limited), and tells the addresses before the content gets its name: whoever
    /// writes them down durably finds the content again, however this ends. If `note` fails, nothing is kept.
    pub(crate) fn put_noting(
        &self,
        content: impl Read,
        limit: u64,
        note: impl FnOnce(&Addresses) -> io::Result<()>,
    ) -> Result<Addresses, StorageError> {
        let temp = self.new_temp().map_err(StorageError::io("begin a file"))?;
        let written = writer::write(content, limit.min(MAX_CONTENT_LEN), temp, &self.path(TMP))?;
        let addresses = written.addresses;
        note(&addresses).map_err(StorageError::io("note the address of content"))?;
        writer::publish(written, &self.file_of(&addresses.swarm))?;
        let name = self.name_of(&addresses.ipfs);
        names::write(&name, addresses.swarm, &addresses.of(Store::Ipfs), || self.new_temp())?;
        Ok(addresses)
    }

    /// Opens content for reading. Its length is verified here, every byte before it is handed out.
    ///
    /// # Errors
    ///
    /// - [`StorageError::NotFound`]: there is no such content.
    /// - [`StorageError::Integrity`]: the file is not that of the address.
    /// - [`StorageError::Io`]: the file system refused.
    pub fn reader(&self, at: &ContentRef) -> Result<ContentReader, StorageError> {
        let swarm = self.swarm_of(at)?.ok_or(StorageError::NotFound(*at))?;
        ContentReader::open(&self.file_of(&swarm), at)
    }

    /// Both addresses and the length of content.
    ///
    /// The one that was asked for and the length are verified as by [`reader`](Self::reader). The other
    /// address is the one noted when the content was kept, if the tree in the file and the name agree on
    /// it; else it is computed, which reads and verifies the whole content.
    ///
    /// # Errors
    ///
    /// Those of [`reader`](Self::reader).
    pub fn addresses(&self, at: &ContentRef) -> Result<Addresses, StorageError> {
        let mut reader = self.reader(at)?;
        if let Some(addresses) = self.noted(at, reader.content_len()) {
            return Ok(addresses);
        }
        let mut addresser = Addresser::new();
        let mut piece = vec![0; 64 << 10];
        loop {
            match reader.read(&mut piece) {
                Ok(0) => return Ok(addresser.finalize()),
                Ok(read) => addresser.update(&piece[..read]),
                Err(error) => return Err(unwrap_io(error)),
            }
        }
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

    /// Some bytes of the content, verified by hashing only the leaves that they touch.
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
    /// [`StorageError::Io`]; [`StorageError::Integrity`] if a name is damaged.
    pub fn contains(&self, at: &ContentRef) -> Result<bool, StorageError> {
        let Some(swarm) = self.swarm_of(at)? else { return Ok(false) };
        self.file_of(&swarm).try_exists().map_err(StorageError::io("look for content"))
    }

    /// Removes the content for good, under both addresses; `false` if there was none. Who has it open can
    /// read on.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`]; by an IPFS address also [`StorageError::Integrity`], if what lies there is
    /// not that of the address: nothing is removed then. A damaged file can be removed by its Swarm address.
    pub fn remove(&self, at: &ContentRef) -> Result<bool, StorageError> {
        let Some(swarm) = self.swarm_of(at)? else { return Ok(false) };
        let ipfs = match at.store {
            Store::Swarm => self.noted_ipfs(&swarm),
            Store::Ipfs => match self.reader(at) {
                Ok(_) | Err(StorageError::NotFound(_)) => Some(at.digest),
                Err(error) => return Err(error),
            },
        };
        // The name goes first: a crash in between leaves content without its name, not a name without content.
        if let Some(ipfs) = ipfs {
            names::remove(&self.name_of(&ipfs))?;
        }
        names::remove(&self.file_of(&swarm))
    }

    /// The Swarm addresses of all content, in no order. What is kept or removed meanwhile may be missing.
    pub fn list(&self) -> Contents {
        Contents { swarm: self.path(SWARM), next_shard: 0, shard: None }
    }

    /// Whether the directory is there and still a store of this version.
    pub(crate) fn check_version(&self) -> Result<(), StorageError> {
        match self.version()? {
            Some(_) => Ok(()),
            None => Err(StorageError::NotAStore(self.root.clone())),
        }
    }

    /// How long ago content was kept; `None` if there is none, or the clock was set back.
    pub(crate) fn age(&self, at: &ContentRef) -> Result<Option<Duration>, StorageError> {
        let Some(swarm) = self.swarm_of(at)? else { return Ok(None) };
        match fs::metadata(self.file_of(&swarm)).and_then(|metadata| metadata.modified()) {
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

    fn file_of(&self, swarm: &B256) -> PathBuf {
        names::sharded(&self.path(SWARM), swarm)
    }

    fn name_of(&self, ipfs: &B256) -> PathBuf {
        names::sharded(&self.path(IPFS), ipfs)
    }

    /// The Swarm address under which the file lies; not verified. `None` if there is no such name.
    fn swarm_of(&self, at: &ContentRef) -> Result<Option<B256>, StorageError> {
        match at.store {
            Store::Swarm => Ok(Some(at.digest)),
            Store::Ipfs => names::read(&self.name_of(&at.digest), at),
        }
    }

    /// The addresses as noted when content was kept, if all that is noted agrees.
    fn noted(&self, at: &ContentRef, len: u64) -> Option<Addresses> {
        let swarm = self.swarm_of(at).ok()??;
        let ipfs = self.noted_ipfs(&swarm)?;
        let addresses = Addresses { swarm, ipfs, len };
        let is_sound = addresses.include(at) && self.reader(&addresses.of(Store::Swarm)).is_ok();
        is_sound.then_some(addresses)
    }

    /// The IPFS address that a content file gives, if a name says the same.
    fn noted_ipfs(&self, swarm: &B256) -> Option<B256> {
        let at = ContentRef::swarm(*swarm);
        let ipfs = ContentFile::open(&self.file_of(swarm), &at).ok()?.ipfs_root().ok()??;
        let named = self.swarm_of(&ContentRef::ipfs(ipfs)).ok()??;
        (named == *swarm).then_some(ipfs)
    }

    /// `None` if there is no marker.
    fn version(&self) -> Result<Option<Version>, StorageError> {
        match fs::read(self.path(MARKER)) {
            Ok(text) => match Version::of(&text) {
                None => Err(StorageError::UnknownVersion(self.root.clone())),
                known => Ok(known),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StorageError::io("read its version")(error)),
        }
    }

    /// A directory without a marker may hold what a crash or another process left half laid out.
    fn refuse_other_files(&self) -> Result<(), StorageError> {
        let read = StorageError::io("read its directory");
        let names = fs::read_dir(&self.root).and_then(|entries| {
            entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()
        });
        let ours = [MARKER, NEW_MARKER, LOCK, TMP, SWARM, IPFS];
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
            for dir in [self.path(SWARM), self.path(IPFS)] {
                files::create_dir(&dir)?;
                for shard in 0..SHARDS {
                    files::create_dir(&dir.join(format!("{shard:02x}")))?;
                }
                files::sync_dir(&dir)?;
            }
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

/// What a marker says.
#[derive(PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Current,
}

impl Version {
    /// By the text of a marker; `None` if it is of no version that this program knows.
    pub(crate) fn of(marker: &[u8]) -> Option<Self> {
        [(MARKER_TEXT, Self::Current), (MARKER_TEXT_V1, Self::One)]
            .into_iter()
            .find_map(|(text, version)| (marker == text.as_bytes()).then_some(version))
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
