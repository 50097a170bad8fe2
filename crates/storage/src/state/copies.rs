//! The log of copies: which place holds what, and both addresses of it.
//!
//! A line per event, appended: `+` (finished) or `-` (released), Swarm address, digest of the CID, length in bytes,
//! name of the place and Unix second, separated by spaces. A last line without an end counts for nothing and is cut
//! off by whoever appends next; a line that says something else is passed over.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use alloy_primitives::B256;
use galen_types::{ContentRef, Store};

use crate::{Addresses, StorageError, local::files};

/// Longest line that is read, in bytes.
const MAX_LINE_LEN: u64 = 1024;

/// A copy that is finished and was not released since, as far as this machine knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptCopy {
    /// What is kept.
    pub addresses: Addresses,
    /// Name of the place that keeps it.
    pub place: String,
    /// Unix second at which it was finished.
    pub since: u64,
}

#[derive(Debug)]
pub(crate) struct Copies {
    path: PathBuf,
    known: Mutex<Known>,
}

/// What the log said up to a position.
#[derive(Debug, Default)]
struct Known {
    position: u64,
    /// By Swarm address; the second of each place that has it.
    contents: HashMap<B256, (Addresses, BTreeMap<String, u64>)>,
    by_ipfs: HashMap<B256, B256>,
}

impl Copies {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, known: Mutex::default() }
    }

    /// Notes that a place has the content; survives a crash of the machine if `durable`.
    pub(crate) fn kept(
        &self,
        addresses: &Addresses,
        place: &str,
        durable: bool,
    ) -> Result<(), StorageError> {
        self.append('+', addresses, place, durable)
    }

    /// Notes that a place was asked to let go of the content.
    pub(crate) fn released(&self, addresses: &Addresses, place: &str) -> Result<(), StorageError> {
        self.append('-', addresses, place, true)
    }

    /// Both addresses of content that was ever noted.
    pub(crate) fn addresses(&self, at: &ContentRef) -> Result<Option<Addresses>, StorageError> {
        let known = self.read()?;
        let swarm = match at.store {
            Store::Swarm => Some(at.digest),
            Store::Ipfs => known.by_ipfs.get(&at.digest).copied(),
        };
        Ok(swarm.and_then(|swarm| known.contents.get(&swarm)).map(|(addresses, _)| *addresses))
    }

    /// Whether a place has the content.
    pub(crate) fn has(&self, addresses: &Addresses, place: &str) -> Result<bool, StorageError> {
        let known = self.read()?;
        Ok(known
            .contents
            .get(&addresses.swarm)
            .is_some_and(|(_, places)| places.contains_key(place)))
    }

    /// All copies, by content and place.
    pub(crate) fn all(&self) -> Result<Vec<KeptCopy>, StorageError> {
        let known = self.read()?;
        let mut contents: Vec<_> = known.contents.values().collect();
        contents.sort_by_key(|(addresses, _)| addresses.swarm);
        let copies = contents.into_iter().flat_map(|(addresses, places)| {
            places.iter().map(|(place, since)| KeptCopy {
                addresses: *addresses,
                place: place.clone(),
                since: *since,
            })
        });
        Ok(copies.collect())
    }

    fn append(
        &self,
        sign: char,
        addresses: &Addresses,
        place: &str,
        durable: bool,
    ) -> Result<(), StorageError> {
        let Addresses { swarm, ipfs, len } = addresses;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let line = format!("{sign} {swarm:x} {ipfs:x} {len} {place} {now}\n");
        let append = || {
            let is_new = !self.path.exists();
            let mut file = files::open_private(&self.path)?;
            file.lock()?;
            let end = end_of_lines(&mut file)?;
            file.set_len(end)?;
            file.seek(SeekFrom::Start(end))?;
            file.write_all(line.as_bytes())?;
            if durable {
                file.sync_data()?;
                if is_new {
                    files::sync_parent(&self.path)?;
                }
            }
            Ok(())
        };
        append().map_err(StorageError::io("note where content lies"))
    }

    /// Reads what was appended since, by whichever process.
    fn read(&self) -> Result<MutexGuard<'_, Known>, StorageError> {
        // What is known is right after each line, so also after a panic.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match read_on(&self.path, &mut known) {
            Ok(()) => Ok(known),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                *known = Known::default();
                Ok(known)
            }
            Err(error) => Err(StorageError::io("read where content lies")(error)),
        }
    }
}

/// Just after the last line that has an end.
fn end_of_lines(file: &mut File) -> io::Result<u64> {
    let len = file.seek(SeekFrom::End(0))?;
    let start = len.saturating_sub(MAX_LINE_LEN);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.take(MAX_LINE_LEN).read_to_end(&mut tail)?;
    let end = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last as u64 + 1);
    // A tail without any end is longer than a line can be: it is damage that stays and is closed by a new line.
    Ok(if end == 0 && start > 0 { len } else { start + end })
}

fn read_on(path: &PathBuf, known: &mut Known) -> io::Result<()> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    if len < known.position {
        // Somebody put back an older log.
        *known = Known::default();
    }
    if len == known.position {
        return Ok(());
    }
    file.seek(SeekFrom::Start(known.position))?;
    let mut lines = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut lines).take(MAX_LINE_LEN).read_until(b'\n', &mut line)?;
        let is_whole = line.last() == Some(&b'\n');
        if !is_whole && read < usize::try_from(MAX_LINE_LEN).unwrap_or(usize::MAX) {
            return Ok(());
        }
        known.position += read as u64;
        if let Some((is_kept, copy)) = std::str::from_utf8(&line).ok().and_then(parse) {
            known.take(is_kept, copy);
        }
    }
}

impl Known {
    fn take(&mut self, is_kept: bool, copy: KeptCopy) {
        let KeptCopy { addresses, place, since } = copy;
        self.by_ipfs.insert(addresses.ipfs, addresses.swarm);
        let (_, places) =
            self.contents.entry(addresses.swarm).or_insert_with(|| (addresses, BTreeMap::new()));
        if is_kept {
            places.insert(place, since);
        } else {
            places.remove(&place);
        }
    }
}

fn parse(line: &str) -> Option<(bool, KeptCopy)> {
    let mut words = line.strip_suffix('\n')?.split(' ');
    let is_kept = match words.next()? {
        "+" => true,
        "-" => false,
        _ => return None,
    };
    let addresses = parse_addresses(&mut words)?;
    let place = words.next()?.to_owned();
    let since = words.next()?.parse().ok()?;
    words.next().is_none().then_some((is_kept, KeptCopy { addresses, place, since }))
}

/// Two digests and a length, as both files of the state write them.
pub(super) fn parse_addresses<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Addresses> {
    let mut digest = |store: &str| {
        let at: ContentRef = format!("{store}:{}", words.next()?).parse().ok()?;
        Some(at.digest)
    };
    let (swarm, ipfs) = (digest("swarm")?, digest("ipfs")?);
    let len = words.next()?.parse().ok()?;
    Some(Addresses { swarm, ipfs, len })
}
