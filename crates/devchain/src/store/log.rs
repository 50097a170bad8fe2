//! The log: every input of the chain, in order, each on disk before it is acknowledged.
//!
//! | bytes | content |
//! |---|---|
//! | 0..8 | `GALENLOG` |
//! | 8..12 | version, 1 |
//! | 12..20 | chain id |
//! | 20..52 | fingerprint of the configuration |
//! | 52..84 | Keccak-256 of bytes 0..52: the first sum |
//!
//! then records, each:
//!
//! | bytes | content |
//! |---|---|
//! | 0..4 | length of the payload |
//! | 4 | kind: 1 block, 2 time, 3 reorganization |
//! | 5..13 | block: its time, in Unix seconds; time: seconds added; reorganization: blocks removed |
//! | 13..17 | first 4 bytes of Keccak-256 of the sum before and bytes 0..13 |
//! | 17..17+length | block: its hash (32 bytes), then the encoded transaction, if any; else nothing |
//! | then 32 | the sum: Keccak-256 of the sum before and all bytes above |
//!
//! Numbers are big endian. Since each sum covers the one before, no record can be removed, moved
//! or exchanged unnoticed. A write that was cut short leaves missing or zero bytes at the end of
//! the file: that tail was never acknowledged and is dropped. Whatever else does not check is
//! damage, and the log is not opened.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use alloy::primitives::{B256, Bytes, Keccak256, keccak256};

use super::files;
use crate::{chain::reject::MAX_TRANSACTION_LEN, error::Error};

const MAGIC: &[u8; 8] = b"GALENLOG";
const VERSION: u32 = 1;
const PREFIX_LEN: usize = 84;
const HEAD_LEN: usize = 17;
const SUM_LEN: usize = 32;
/// Zero bytes at the end of the file that tell a write cut short from damage.
const UNFILLED_LEN: usize = 8;
const MAX_PAYLOAD_LEN: usize = 32 + MAX_TRANSACTION_LEN;

/// One input of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// A block was made.
    Block {
        /// In Unix seconds.
        timestamp: u64,
        /// What the replay must arrive at.
        hash: B256,
        /// Empty for a block without one.
        transaction: Bytes,
    },
    /// The clock was moved forward.
    Advance {
        /// By so much.
        seconds: u64,
    },
    /// Blocks were removed from the top.
    Reorganize {
        /// How many.
        depth: u64,
    },
}

impl Record {
    fn encode(&self, previous: &B256) -> (Vec<u8>, B256) {
        let (kind, number) = match self {
            Self::Block { timestamp, .. } => (1, timestamp),
            Self::Advance { seconds } => (2, seconds),
            Self::Reorganize { depth } => (3, depth),
        };
        let payload = match self {
            Self::Block { hash, transaction, .. } => [hash.as_slice(), transaction].concat(),
            _ => Vec::new(),
        };
        let length = u32::try_from(payload.len()).expect("transactions are at most 128 KiB");
        let mut bytes = Vec::with_capacity(HEAD_LEN + payload.len() + SUM_LEN);
        bytes.extend(length.to_be_bytes());
        bytes.push(kind);
        bytes.extend(number.to_be_bytes());
        bytes.extend(&chained(previous, &bytes)[..4]);
        bytes.extend(payload);
        let sum = chained(previous, &bytes);
        bytes.extend(sum);
        (bytes, sum)
    }

    /// From a head and payload that check.
    fn decode(head: &[u8], payload: &[u8]) -> Option<Self> {
        let number = u64::from_be_bytes(head[5..13].try_into().ok()?);
        match (head[4], payload.split_at_checked(32)) {
            (1, Some((hash, transaction))) => Some(Self::Block {
                timestamp: number,
                hash: B256::from_slice(hash),
                transaction: Bytes::copy_from_slice(transaction),
            }),
            (2, None) if payload.is_empty() => Some(Self::Advance { seconds: number }),
            (3, None) if payload.is_empty() => Some(Self::Reorganize { depth: number }),
            _ => None,
        }
    }
}

fn chained(previous: &B256, bytes: &[u8]) -> B256 {
    let mut hasher = Keccak256::new();
    hasher.update(previous);
    hasher.update(bytes);
    hasher.finalize()
}

/// A place in the log: the end of a record, and the sum there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// In bytes from the start of the file.
    pub(crate) offset: u64,
    pub(crate) sum: B256,
}

/// The open log. Its directory is locked by the caller.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: File,
    end: Position,
    /// What is on disk after `end` is unknown.
    stopped: bool,
}

impl Log {
    /// Opens the log, or makes one, and returns its records with the place where each ends.
    pub(crate) fn open(
        directory: &Path,
        chain_id: u64,
        fingerprint: B256,
    ) -> Result<(Self, Vec<(Record, Position)>), Error> {
        let path = directory.join("log");
        let prefix = prefix(chain_id, fingerprint);
        if !path.exists() {
            files::write_atomically(directory, "log", &[&prefix])?;
        }
        let mut file = File::options()
            .read(true)
            .append(true)
            .open(&path)
            .map_err(files::error("open", &path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(files::error("read", &path))?;
        check_prefix(directory, &path, &bytes, chain_id, &prefix)?;

        let (records, end) = scan(&path, &bytes)?;
        if end.offset < bytes.len() as u64 {
            file.set_len(end.offset)
                .and_then(|()| file.sync_all())
                .map_err(files::error("shorten", &path))?;
        }
        Ok((Self { path, file, end, stopped: false }, records))
    }

    pub(crate) fn end(&self) -> Position {
        self.end
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a record. On return it is on disk; on an error nothing of it is, or the log is
    /// stopped.
    pub(crate) fn append(&mut self, record: &Record) -> Result<(), Error> {
        if self.stopped {
            return Err(Error::Stopped);
        }
        let (bytes, sum) = record.encode(&self.end.sum);
        if let Err(error) = self.file.write_all(&bytes) {
            // Part of the record may be there. If it cannot be removed, a later record would
            // follow garbage, so none may.
            self.stopped = self.file.set_len(self.end.offset).is_err();
            return Err(files::error("write", &self.path)(error));
        }
        if let Err(error) = self.file.sync_data() {
            // After a failed fsync the kernel may report the pages as clean, so that nothing
            // that follows can be trusted either.
            self.stopped = true;
            let _ = self.file.set_len(self.end.offset);
            return Err(files::error("write", &self.path)(error));
        }
        self.end = Position { offset: self.end.offset + bytes.len() as u64, sum };
        Ok(())
    }
}

fn prefix(chain_id: u64, fingerprint: B256) -> [u8; PREFIX_LEN] {
    let mut bytes = [0; PREFIX_LEN];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_be_bytes());
    bytes[12..20].copy_from_slice(&chain_id.to_be_bytes());
    bytes[20..52].copy_from_slice(fingerprint.as_slice());
    let sum = keccak256(&bytes[..52]);
    bytes[52..].copy_from_slice(sum.as_slice());
    bytes
}

fn check_prefix(
    directory: &Path,
    path: &Path,
    bytes: &[u8],
    chain_id: u64,
    wanted: &[u8; PREFIX_LEN],
) -> Result<(), Error> {
    let damaged = |what| Error::Damaged { path: path.to_owned(), offset: 0, what };
    let found = bytes.get(..PREFIX_LEN).ok_or_else(|| damaged("the prefix is cut short"))?;
    if found == wanted {
        return Ok(());
    }
    if keccak256(&found[..52]).as_slice() != &found[52..] {
        return Err(damaged("the sum of the prefix does not match"));
    }
    if found[..12] != wanted[..12] {
        return Err(damaged("not a log of this version"));
    }
    let mut id = [0; 8];
    id.copy_from_slice(&found[12..20]);
    let found_id = u64::from_be_bytes(id);
    let path = directory.to_owned();
    Err(if found_id == chain_id {
        Error::OtherGenesis { path }
    } else {
        Error::OtherChain { path, found: found_id, wanted: chain_id }
    })
}

/// Reads all records; returns them and the end of the last whole one.
fn scan(path: &Path, bytes: &[u8]) -> Result<(Vec<(Record, Position)>, Position), Error> {
    let mut records = Vec::new();
    let mut end = Position {
        offset: PREFIX_LEN as u64,
        sum: B256::from_slice(&bytes[PREFIX_LEN - SUM_LEN..PREFIX_LEN]),
    };
    let mut rest = &bytes[PREFIX_LEN..];
    while !rest.is_empty() {
        let step = next_record(rest, &end.sum).map_err(|what| Error::Damaged {
            path: path.to_owned(),
            offset: end.offset,
            what,
        })?;
        let Some((record, length, sum)) = step else { break };
        end = Position { offset: end.offset + length as u64, sum };
        records.push((record, end));
        rest = &rest[length..];
    }
    Ok((records, end))
}

/// The record at the start of `rest` with its length and sum, or `None` if the write of it was
/// cut short.
fn next_record(
    rest: &[u8],
    previous: &B256,
) -> Result<Option<(Record, usize, B256)>, &'static str> {
    let all_zero = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
    let Some(head) = rest.get(..HEAD_LEN) else { return Ok(None) };
    if chained(previous, &head[..13])[..4] != head[13..] {
        // The end of the file, allocated but never filled.
        let unfilled = rest.len() <= HEAD_LEN + MAX_PAYLOAD_LEN + SUM_LEN
            && head[HEAD_LEN - 1] == 0
            && all_zero(&rest[HEAD_LEN..]);
        return if unfilled { Ok(None) } else { Err("the sum of a record's head does not match") };
    }
    let mut length = [0; 4];
    length.copy_from_slice(&head[..4]);
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_PAYLOAD_LEN {
        return Err("a record is longer than any");
    }
    let total = HEAD_LEN + length + SUM_LEN;
    let Some(bytes) = rest.get(..total) else { return Ok(None) };
    let (content, found) = bytes.split_at(HEAD_LEN + length);
    let sum = chained(previous, content);
    if sum.as_slice() != found {
        // No real sum ends in so many zeros.
        let unfilled = rest.len() == total && all_zero(&found[SUM_LEN - UNFILLED_LEN..]);
        return if unfilled { Ok(None) } else { Err("the sum of a record does not match") };
    }
    let record = Record::decode(head, &content[HEAD_LEN..]).ok_or("a record of an unknown kind")?;
    Ok(Some((record, total, sum)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn records() -> Vec<Record> {
        vec![
            Record::Block {
                timestamp: 7,
                hash: B256::repeat_byte(1),
                transaction: Bytes::from_static(b"a transaction"),
            },
            Record::Advance { seconds: 86_400 },
            Record::Block { timestamp: 9, hash: B256::repeat_byte(2), transaction: Bytes::new() },
            Record::Reorganize { depth: 2 },
        ]
    }

    fn read(directory: &Path) -> Result<Vec<Record>, Error> {
        let (_, records) = Log::open(directory, 1, B256::ZERO)?;
        Ok(records.into_iter().map(|(record, _)| record).collect())
    }

    /// Writes `records()` and returns the bytes and where each record ends.
    fn written(directory: &Path) -> (Vec<u8>, Vec<usize>) {
        let (mut log, _) = Log::open(directory, 1, B256::ZERO).unwrap();
        let mut ends = vec![PREFIX_LEN];
        for record in records() {
            log.append(&record).unwrap();
            ends.push(usize::try_from(log.end().offset).unwrap());
        }
        (fs::read(directory.join("log")).unwrap(), ends)
    }

    #[test]
    fn log_returns_what_was_appended() {
        let directory = tempfile::tempdir().unwrap();
        let (bytes, ends) = written(directory.path());
        assert_eq!(bytes.len(), *ends.last().unwrap());
        assert_eq!(read(directory.path()).unwrap(), records());
    }

    fn scanned(bytes: &[u8]) -> Result<Vec<Record>, Error> {
        let (records, _) = scan(Path::new("log"), bytes)?;
        Ok(records.into_iter().map(|(record, _)| record).collect())
    }

    #[test]
    fn log_cut_anywhere_keeps_every_whole_record() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let (bytes, ends) = written(directory.path());
        for cut in PREFIX_LEN..bytes.len() {
            let whole = ends.iter().filter(|&&end| end <= cut).count() - 1;
            assert_eq!(scanned(&bytes[..cut]).unwrap(), records()[..whole], "cut at {cut}");

            // The same cut on a file system that had already grown the file.
            let mut zeroed = bytes[..cut].to_vec();
            let end = *ends.iter().find(|&&end| end > cut).unwrap();
            zeroed.resize(end, 0);
            if end - cut >= UNFILLED_LEN {
                assert_eq!(scanned(&zeroed).unwrap(), records()[..whole], "zero from {cut}");
            }
        }
        // The file is shortened, so that the next record follows a whole one.
        fs::write(&path, &bytes[..ends[2] + 5]).unwrap();
        assert_eq!(read(directory.path()).unwrap(), records()[..2]);
        assert_eq!(fs::read(&path).unwrap(), bytes[..ends[2]]);
    }

    #[test]
    fn log_with_any_flipped_bit_is_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let (bytes, ends) = written(directory.path());
        for bit in PREFIX_LEN * 8..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let Err(Error::Damaged { offset, .. }) = scanned(&damaged) else {
                panic!("bit {bit} went unnoticed");
            };
            let record = ends.iter().rfind(|&&end| end <= bit / 8).copied().unwrap_or_default();
            assert_eq!(offset, record as u64, "bit {bit}");
        }
        for byte in (0..PREFIX_LEN).chain([bytes.len() - 1]) {
            let mut damaged = bytes.clone();
            damaged[byte] ^= 1;
            fs::write(&path, &damaged).unwrap();
            assert!(matches!(read(directory.path()), Err(Error::Damaged { .. })), "byte {byte}");
            assert_eq!(fs::read(&path).unwrap(), damaged, "a damaged log is left alone");
        }
    }

    #[test]
    fn log_without_a_record_or_with_two_exchanged_is_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let (bytes, ends) = written(directory.path());
        let part = |n: usize| &bytes[ends[n]..ends[n + 1]];
        let check = |parts: &[&[u8]]| {
            fs::write(&path, [&[&bytes[..PREFIX_LEN]], parts].concat().concat()).unwrap();
            assert!(matches!(read(directory.path()), Err(Error::Damaged { .. })));
        };
        check(&[part(1), part(2), part(3)]);
        check(&[part(0), part(2), part(3)]);
        check(&[part(1), part(0), part(2)]);
        check(&[part(0), part(0), part(1)]);
    }

    #[test]
    fn log_of_another_chain_is_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        written(directory.path());
        let open = |id, print| Log::open(directory.path(), id, print).map(|_| ()).unwrap_err();
        assert!(matches!(open(2, B256::ZERO), Error::OtherChain { found: 1, wanted: 2, .. }));
        assert!(matches!(open(1, B256::repeat_byte(1)), Error::OtherGenesis { .. }));
    }
}
