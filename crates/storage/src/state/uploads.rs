//! Unfinished uploads: one small file for each content and place, and in it what the place confirmed.
//!
//! The file is named after the Swarm address and a hash of the place's name. Its first line says what is sent where:
//! `galen upload 1`, both digests, the length and the name of the place. Each further line is appended when it holds:
//! `+ BLOCK BYTES` for a confirmed block, `= NOTE` for a note. A last line without an end counts for nothing.
//!
//! Who sends holds the file's lock; files are opened, made and removed under the lock of the directory, so nobody
//! waits for a file that is gone.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    ops::Range,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use alloy_primitives::{B256, hex, keccak256};

use super::copies::parse_addresses;
use crate::{
    Addresses, Progress, StorageError, Transfer, Way,
    local::files,
    place::{MAX_NOTE_LEN, Marks, SIDE_BY_SIDE},
};

const FIRST_WORDS: &str = "galen upload 1 ";

/// Confirmed blocks reach the disk at least this often, in bytes of content: what may be sent again after the
/// machine lost power.
const SYNC_EVERY: u64 = 64 << 20;

/// More blocks than the longest content has at 4 KiB each.
const MAX_BLOCKS: u64 = 1 << 25;

/// Longest file that is read, in bytes.
const MAX_FILE_LEN: u64 = 1 << 30;

/// An upload that is not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// What is sent.
    pub addresses: Addresses,
    /// Name of the place it is sent to.
    pub place: String,
    /// Bytes that the place has confirmed.
    pub done: u64,
}

#[derive(Debug)]
pub(crate) struct Uploads {
    directory: PathBuf,
}

/// The answer to a claim.
#[derive(Debug)]
pub(crate) enum Claim {
    /// It is ours until it is dropped or finished.
    Ours(Box<UploadMarks>),
    /// Another process or task sends it.
    Theirs,
    /// There is no such upload, and none was to be begun.
    Gone,
}

impl Uploads {
    pub(crate) fn open(directory: PathBuf) -> Result<Self, StorageError> {
        files::create_dir_all(&directory).map_err(StorageError::io("make a directory"))?;
        Ok(Self { directory })
    }

    /// Takes up an upload, or begins it; durable when this returns.
    pub(crate) fn claim(
        &self,
        addresses: &Addresses,
        place: &str,
        begin: bool,
    ) -> Result<Claim, StorageError> {
        let path = self.directory.join(name_of(&addresses.swarm, place));
        let claim = || {
            let directory = self.lock()?;
            let is_new = !path.exists();
            if is_new && !begin {
                return Ok(Claim::Gone);
            }
            let mut file = files::open_private(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => return Ok(Claim::Theirs),
                Err(fs::TryLockError::Error(error)) => return Err(error),
            }
            drop(directory);
            let read = read(&mut file)?.filter(|read| read.addresses == *addresses);
            let is_old = read.is_some();
            let read = match read {
                Some(read) => read,
                // A crash cut it short before it was durable, so nothing was sent yet.
                None => {
                    file.set_len(0)?;
                    let line = header(addresses, place);
                    file.rewind()?;
                    file.write_all(line.as_bytes())?;
                    file.sync_data()?;
                    files::sync_dir(&self.directory)?;
                    ReadUpload::new(*addresses, place.to_owned(), line.len() as u64)
                }
            };
            file.set_len(read.end)?;
            file.seek(SeekFrom::End(0))?;
            let marks = UploadMarks::new(read, is_old, Some((file, path.clone())));
            Ok(Claim::Ours(Box::new(marks)))
        };
        claim().map_err(StorageError::io("write down an upload"))
    }

    /// All unfinished uploads, those that somebody works on just now included.
    pub(crate) fn list(&self) -> Result<Vec<Pending>, StorageError> {
        let list = || {
            let mut pending = Vec::new();
            for entry in fs::read_dir(&self.directory)? {
                let path = entry?.path();
                if !path.file_name().is_some_and(is_name) {
                    continue;
                }
                let mut file = match File::open(&path) {
                    Ok(file) => file,
                    // It is finished by now.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
                if let Some(ReadUpload { addresses, place, done, .. }) = read(&mut file)? {
                    pending.push(Pending { addresses, place, done });
                }
            }
            pending
                .sort_by(|a, b| (a.addresses.swarm, &a.place).cmp(&(b.addresses.swarm, &b.place)));
            Ok(pending)
        };
        list().map_err(StorageError::io("list uploads"))
    }

    /// Bytes that are written down about an upload: they grow while somebody works on it.
    pub(crate) fn written(&self, addresses: &Addresses, place: &str) -> u64 {
        let path = self.directory.join(name_of(&addresses.swarm, place));
        path.metadata().map(|metadata| metadata.len()).unwrap_or_default()
    }

    /// Whether any upload of the content is not finished.
    pub(crate) fn wait_for(&self, swarm: &B256) -> Result<bool, StorageError> {
        let prefix = hex::encode(swarm);
        let any = || {
            for entry in fs::read_dir(&self.directory)? {
                if entry?.file_name().to_str().is_some_and(|name| name.starts_with(&prefix)) {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        any().map_err(StorageError::io("list uploads"))
    }

    /// Removes the record of an upload that is finished or given up.
    pub(crate) fn remove(&self, marks: Box<UploadMarks>) -> Result<(), StorageError> {
        let Some(path) = &marks.path else { return Ok(()) };
        // Whoever finds it again after a crash of the machine finds in the log of copies that it is finished.
        let remove = || self.lock().and_then(|_directory| fs::remove_file(path));
        remove().map_err(StorageError::io("end an upload"))
    }

    fn lock(&self) -> io::Result<File> {
        let file = files::open_private(&self.directory.join("lock"))?;
        file.lock()?;
        Ok(file)
    }
}

fn name_of(swarm: &B256, place: &str) -> String {
    format!("{swarm:x}-{}", hex::encode(&keccak256(place)[..8]))
}

fn is_name(name: &std::ffi::OsStr) -> bool {
    name.to_str().is_some_and(|name| name.len() == 64 + 1 + 16 && name.as_bytes()[64] == b'-')
}

fn header(addresses: &Addresses, place: &str) -> String {
    let Addresses { swarm, ipfs, len } = addresses;
    format!("{FIRST_WORDS}{swarm:x} {ipfs:x} {len} {place}\n")
}

/// What a file says.
struct ReadUpload {
    addresses: Addresses,
    place: String,
    blocks: Blocks,
    note: Option<String>,
    done: u64,
    /// Just after the last line that counts.
    end: u64,
}

impl ReadUpload {
    fn new(addresses: Addresses, place: String, end: u64) -> Self {
        Self { addresses, place, blocks: Blocks::default(), note: None, done: 0, end }
    }

    /// `None` for a line that nobody wrote whole.
    fn take(&mut self, line: &str) -> Option<()> {
        let (sign, rest) = line.split_once(' ')?;
        match sign {
            "+" => {
                let (block, bytes) = rest.split_once(' ')?;
                let (block, bytes) = (block.parse().ok()?, bytes.parse::<u64>().ok()?);
                if self.blocks.add(block)? {
                    self.done = self.done.checked_add(bytes)?;
                }
            }
            "=" => self.note = Some(rest.to_owned()),
            _ => return None,
        }
        self.end += line.len() as u64 + 1;
        Some(())
    }
}

/// `None` if not even the first line is whole.
fn read(file: &mut File) -> io::Result<Option<ReadUpload>> {
    let mut text = Vec::new();
    file.rewind()?;
    file.take(MAX_FILE_LEN).read_to_end(&mut text)?;
    let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let valid = match std::str::from_utf8(&text[..end]) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&text[..error.valid_up_to()]).unwrap_or_default(),
    };
    let mut lines = valid.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    let Some(mut upload) = lines.next().and_then(parse_header) else { return Ok(None) };
    for line in lines {
        if upload.take(line).is_none() {
            break;
        }
    }
    Ok(Some(upload))
}

fn parse_header(line: &str) -> Option<ReadUpload> {
    let mut words = line.strip_prefix(FIRST_WORDS)?.split(' ');
    let addresses = parse_addresses(&mut words)?;
    let place = words.next()?.to_owned();
    words.next().is_none().then(|| ReadUpload::new(addresses, place, line.len() as u64 + 1))
}

/// A set of small numbers.
#[derive(Default)]
struct Blocks {
    words: Vec<u64>,
    /// One after the largest.
    end: u64,
}

impl Blocks {
    fn has(&self, block: u64) -> bool {
        let word = usize::try_from(block / 64).ok().and_then(|index| self.words.get(index));
        word.is_some_and(|word| word >> (block % 64) & 1 == 1)
    }

    /// Whether it is new; `None` if it is beyond the limit.
    fn add(&mut self, block: u64) -> Option<bool> {
        let index = usize::try_from(block / 64).ok().filter(|_| block < MAX_BLOCKS)?;
        if self.words.len() <= index {
            self.words.resize(index + 1, 0);
        }
        let is_new = !self.has(block);
        self.words[index] |= 1 << (block % 64);
        self.end = self.end.max(block + 1);
        Some(is_new)
    }

    /// The least number that is not in it.
    fn first_missing(&self) -> u64 {
        (0..self.end).find(|block| !self.has(*block)).unwrap_or(self.end)
    }
}

/// The [`Marks`] of one upload. Dropped, it leaves the upload to whoever takes it up next.
pub(crate) struct UploadMarks {
    addresses: Addresses,
    place: String,
    path: Option<PathBuf>,
    doubtful: Range<u64>,
    inner: Mutex<Inner>,
    progress: Option<Progress>,
}

struct Inner {
    /// `None` if there is no directory to write to.
    file: Option<File>,
    blocks: Blocks,
    note: Option<String>,
    done: u64,
    unsynced: u64,
}

impl UploadMarks {
    fn new(read: ReadUpload, is_old: bool, file: Option<(File, PathBuf)>) -> Self {
        let ReadUpload { addresses, place, blocks, note, done, .. } = read;
        let doubtful =
            if is_old { blocks.first_missing()..blocks.end + SIDE_BY_SIDE } else { 0..0 };
        let (file, path) = file.unzip();
        let inner = Inner { file, blocks, note, done, unsynced: 0 };
        Self { addresses, place, path, doubtful, inner: Mutex::new(inner), progress: None }
    }

    /// Marks that are forgotten when the process ends.
    pub(crate) fn in_memory(addresses: Addresses, place: &str) -> Self {
        Self::new(ReadUpload::new(addresses, place.to_owned(), 0), false, None)
    }

    /// Whom to tell, and tells how far an earlier process came.
    pub(crate) fn with_progress(mut self, progress: Option<Progress>) -> Self {
        self.progress = progress;
        let done = self.lock().done;
        self.tell(done);
        self
    }

    /// Tells that the place has everything.
    pub(crate) fn tell_done(&self) {
        self.tell(self.addresses.len);
    }

    fn tell(&self, done: u64) {
        if let Some(progress) = &self.progress {
            let total = self.addresses.len;
            progress.tell(&Transfer {
                place: &self.place,
                content: self.addresses.of(galen_types::Store::Swarm),
                way: Way::Up,
                done: done.min(total),
                total,
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Whatever a panic left is what the file says, or less.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn append(&mut self, line: &str) -> Result<(), StorageError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(line.as_bytes()).map_err(StorageError::io("write down an upload"))
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.unsynced = 0;
        let Some(file) = &self.file else { return Ok(()) };
        file.sync_data().map_err(StorageError::io("write down an upload"))
    }
}

impl Marks for UploadMarks {
    fn is_sent(&self, block: u64) -> bool {
        self.lock().blocks.has(block)
    }

    fn sent(&self, block: u64, bytes: u64) -> Result<(), StorageError> {
        let mut inner = self.lock();
        if block >= MAX_BLOCKS {
            let source = io::ErrorKind::InvalidInput.into();
            return Err(StorageError::Io { action: "write down an upload", source });
        }
        if inner.blocks.has(block) {
            return Ok(());
        }
        inner.append(&format!("+ {block} {bytes}\n"))?;
        inner.blocks.add(block);
        inner.done = inner.done.saturating_add(bytes);
        inner.unsynced += bytes;
        if inner.unsynced >= SYNC_EVERY {
            inner.sync()?;
        }
        let done = inner.done;
        drop(inner);
        self.tell(done);
        Ok(())
    }

    fn doubtful(&self) -> Range<u64> {
        self.doubtful.clone()
    }

    fn note(&self) -> Option<String> {
        self.lock().note.clone()
    }

    fn set_note(&self, note: &str) -> Result<(), StorageError> {
        if note.len() > MAX_NOTE_LEN || note.contains(['\n', '\r']) {
            let source = io::ErrorKind::InvalidInput.into();
            return Err(StorageError::Io { action: "write down an upload", source });
        }
        let mut inner = self.lock();
        inner.append(&format!("= {note}\n"))?;
        inner.note = Some(note.to_owned());
        Ok(())
    }
}

impl fmt::Debug for UploadMarks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UploadMarks({} of {} bytes)", self.lock().done, self.addresses.len)
    }
}
