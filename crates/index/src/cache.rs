//! Verified history on disk. It saves time and nothing else: whatever is wrong with it, it is dropped
//! and the chain is read again.
//!
//! One file for each ledger and mode, `<chain id>-<ledger>/history-<mode>`, of records one after the other:
//!
//! | bytes | content |
//! |---|---|
//! | 4 | length of the payload, big endian |
//! | 8 | first bytes of `keccak256(checksum of the record before ‖ payload)` |
//! | … | payload, RLP |
//!
//! The first record is [`Key`], the others are [`Record`]s, ascending. A torn or changed record ends the
//! file for a reader. A writer holds the file's lock, cuts off what it does not continue (such a
//! tail, the records of a branch that no longer stands, a tip that has moved on) and appends. Nobody
//! waits for the lock: whoever does not get it writes later.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use alloy_primitives::{Address, B256, Bytes, LogData, hex, keccak256};
use alloy_rlp::{Decodable as _, Encodable, RlpDecodable, RlpEncodable};
use galen_chain::{HistoryMode, LedgerBlock, Point, RawLog};
use galen_types::LedgerId;

/// Layout of the file, and meaning of what is in it. A cache of another version is dropped.
const VERSION: u64 = 1;

/// Longest file that is read, in bytes.
const MAX_LEN: u64 = 1 << 30;

/// Blocks between two points that hold no event, at least.
const POINT_SPACING: u64 = 1_024;

/// Bytes before a payload, and where the checksum starts among them.
const HEAD_LEN: usize = 12;
const SUM_AT: usize = 4;

type Sum = [u8; 8];

/// A verified block to go back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) point: Point,
    /// It holds events, so it stays.
    pub(crate) eventful: bool,
}

/// Adds a mark. A tip without events makes place unless it is needed to keep the steps small.
pub(crate) fn push_mark(marks: &mut Vec<Mark>, mark: Mark) {
    if let [.., before, last] = marks.as_slice()
        && !last.eventful
        && mark.point.number - before.point.number < POINT_SPACING
    {
        marks.pop();
    }
    marks.push(mark);
}

/// What the file is about.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
struct Key {
    version: u64,
    chain_id: u64,
    ledger: Address,
    deployed_in: u64,
    mode: u8,
}

/// One block; all blocks between it and the record before were verified with it.
#[derive(Debug, RlpEncodable, RlpDecodable)]
struct Record {
    number: u64,
    hash: B256,
    time: u64,
    /// Highest block that was final when the record was written, and its hash; zero if unknown.
    final_number: u64,
    final_hash: B256,
    logs: Vec<Log>,
}

#[derive(Debug, RlpEncodable, RlpDecodable)]
struct Log {
    index: u64,
    transaction: B256,
    topics: Vec<B256>,
    data: Bytes,
}

/// A record in the file.
#[derive(Clone, Copy, Debug)]
struct Place {
    mark: Mark,
    start: u64,
    end: u64,
    sum: Sum,
}

/// What the cache holds.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) blocks: Vec<LedgerBlock>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) final_point: Option<Point>,
}

/// The cache of one ledger.
#[derive(Debug)]
pub(crate) struct Cache {
    path: PathBuf,
    key: Key,
    /// The file as this process saw it last.
    places: Vec<Place>,
    /// Blocks that this process verified and the file may lack.
    fresh: HashMap<B256, LedgerBlock>,
    /// What the file holds beyond the view was found not to stand.
    rolled_back: bool,
    damaged: bool,
}

impl Cache {
    pub(crate) fn new(
        directory: &Path,
        ledger: LedgerId,
        deployed_in: u64,
        mode: HistoryMode,
    ) -> Self {
        let LedgerId { chain_id, contract } = ledger;
        let folder = format!("{chain_id}-{}", hex::encode_prefixed(contract));
        Self {
            path: directory.join(folder).join(format!("history-{mode}")),
            key: Key {
                version: VERSION,
                chain_id,
                ledger: contract,
                deployed_in,
                mode: u8::from(mode == HistoryMode::Logs),
            },
            places: Vec::new(),
            fresh: HashMap::new(),
            rolled_back: false,
            damaged: false,
        }
    }

    /// Whether there is a file of which nothing could be used.
    pub(crate) const fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// Everything up to the first record that does not hold.
    pub(crate) fn load(&mut self) -> Option<Loaded> {
        let bytes = match File::open(&self.path).and_then(|mut file| read(&mut file)) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.damaged = error.kind() != io::ErrorKind::NotFound;
                return None;
            }
        };
        let mut loaded = Loaded { blocks: Vec::new(), marks: Vec::new(), final_point: None };
        let ledger = self.key.ledger;
        self.places = places(&bytes, &self.key, |record| {
            let at = Point { number: record.number, hash: record.hash };
            if record.final_number != 0 {
                let (number, hash) = (record.final_number, record.final_hash);
                loaded.final_point = Some(Point { number, hash });
            }
            if record.logs.is_empty() {
                return true;
            }
            let logs = record.logs.into_iter().map(Log::into_raw).collect::<Option<_>>();
            let block =
                logs.and_then(|logs| LedgerBlock::decode(ledger, at, record.time, logs).ok());
            let holds = block.is_some();
            loaded.blocks.extend(block);
            holds
        });
        loaded.marks = self.places.iter().map(|place| place.mark).collect();
        self.damaged = self.places.is_empty();
        (!self.damaged).then_some(loaded)
    }

    /// Takes a verified block, to be written with the next [`Cache::keep`].
    pub(crate) fn add(&mut self, block: LedgerBlock) {
        self.fresh.insert(block.hash, block);
    }

    /// What the file holds beyond the view does not stand.
    pub(crate) const fn roll_back(&mut self) {
        self.rolled_back = true;
    }

    /// Brings the file to where the view is, unless another process holds it or is further.
    pub(crate) fn keep(&mut self, marks: &[Mark], final_point: Option<Point>) -> io::Result<()> {
        let Some(tip) = marks.last() else { return Ok(()) };
        if self.places.last().is_some_and(|place| place.mark == *tip) && !self.rolled_back {
            return Ok(());
        }
        let mut file = open(&self.path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        self.look_again(&mut file)?;
        let further = |place: &Place| place.mark.point.number >= tip.point.number;
        if self.places.last().is_some_and(further) && !self.rolled_back {
            return Ok(());
        }
        let common = self.common(marks);
        let Some(records) = self.records(common, marks, final_point) else { return Ok(()) };
        self.replace(&mut file, common, records)?;
        self.rolled_back = false;
        self.fresh.clear();
        Ok(())
    }

    /// Another process may have written since. Sums are chained, so the last one speaks for all.
    fn look_again(&mut self, file: &mut File) -> io::Result<()> {
        if let Some(last) = self.places.last()
            && file.metadata()?.len() == last.end
        {
            let mut sum = Sum::default();
            file.seek(SeekFrom::Start(last.start + SUM_AT as u64))?;
            file.read_exact(&mut sum)?;
            if sum == last.sum {
                return Ok(());
            }
        }
        let bytes = read(file).unwrap_or_default();
        self.places = places(&bytes, &self.key, |_| true);
        Ok(())
    }

    /// How many records of the file the view knows, too; both ascend.
    fn common(&self, marks: &[Mark]) -> usize {
        let known = |place: &Place| {
            let found = marks.binary_search_by_key(&place.mark.point.number, |m| m.point.number);
            found.is_ok_and(|at| marks[at] == place.mark)
        };
        self.places.iter().rposition(known).map_or(0, |place| place + 1)
    }

    /// The records after those in common; `None` if this process no longer has one of the blocks.
    fn records(
        &self,
        common: usize,
        marks: &[Mark],
        final_point: Option<Point>,
    ) -> Option<Vec<(Mark, Record)>> {
        let from = common.checked_sub(1).map_or(0, |place| {
            let last = self.places[place].mark.point.number;
            marks.partition_point(|mark| mark.point.number <= last)
        });
        let record = |mark: &Mark| {
            let Point { number, hash } = mark.point;
            let (time, logs) = if mark.eventful {
                let block = self.fresh.get(&hash)?;
                (block.time, block.logs.iter().map(Log::from_raw).collect())
            } else {
                (0, Vec::new())
            };
            let (final_number, final_hash) =
                final_point.map_or((0, B256::ZERO), |point| (point.number, point.hash));
            Some((*mark, Record { number, hash, time, final_number, final_hash, logs }))
        };
        marks[from..].iter().map(record).collect()
    }

    /// Cuts the file after the records in common and appends.
    fn replace(
        &mut self,
        file: &mut File,
        common: usize,
        records: Vec<(Mark, Record)>,
    ) -> io::Result<()> {
        self.places.truncate(common);
        let mut bytes = Vec::new();
        let (mut end, mut sum) = match self.places.last() {
            Some(last) => (last.end, last.sum),
            None => {
                let sum = append(&mut bytes, Sum::default(), &self.key);
                (0, sum)
            }
        };
        file.set_len(end)?;
        let base = end;
        end += bytes.len() as u64;
        let mut added = Vec::with_capacity(records.len());
        for (mark, record) in records {
            let start = end;
            sum = append(&mut bytes, sum, &record);
            end = base + bytes.len() as u64;
            added.push(Place { mark, start, end, sum });
        }
        file.seek(SeekFrom::Start(base))?;
        file.write_all(&bytes)?;
        self.places.extend(added);
        Ok(())
    }
}

impl Log {
    fn from_raw(raw: &RawLog) -> Self {
        Self {
            index: raw.index,
            transaction: raw.transaction,
            topics: raw.data.topics().to_vec(),
            data: raw.data.data.clone(),
        }
    }

    fn into_raw(self) -> Option<RawLog> {
        let data = LogData::new(self.topics, self.data)?;
        Some(RawLog { index: self.index, transaction: self.transaction, data })
    }
}

/// Adds a record; returns its checksum.
fn append(bytes: &mut Vec<u8>, before: Sum, payload: &impl Encodable) -> Sum {
    let payload = alloy_rlp::encode(payload);
    let sum = checksum(before, &payload);
    let len = u32::try_from(payload.len()).expect("a block's logs are far below 4 GiB");
    bytes.extend(len.to_be_bytes());
    bytes.extend(sum);
    bytes.extend(payload);
    sum
}

fn checksum(before: Sum, payload: &[u8]) -> Sum {
    let hash = keccak256([before.as_slice(), payload].concat());
    hash[..8].try_into().expect("eight of 32 bytes")
}

/// The records of a file about `key` that hold, up to the first that does not or that `take` refuses.
fn places(bytes: &[u8], key: &Key, mut take: impl FnMut(Record) -> bool) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    let Some((payload, mut sum, mut start)) = record_at(bytes, 0, Sum::default()) else {
        return places;
    };
    if Key::decode(&mut &*payload) != Ok(key.clone()) {
        return places;
    }
    while let Some((payload, next_sum, end)) = record_at(bytes, start, sum) {
        let Ok(record) = Record::decode(&mut &*payload) else { break };
        let point = Point { number: record.number, hash: record.hash };
        let mark = Mark { point, eventful: !record.logs.is_empty() };
        let ascends = places.last().is_none_or(|last| last.mark.point.number < point.number);
        if !ascends || !take(record) {
            break;
        }
        places.push(Place { mark, start: start as u64, end: end as u64, sum: next_sum });
        (sum, start) = (next_sum, end);
    }
    places
}

/// Payload, checksum and end of the record at an offset, if it holds.
fn record_at(bytes: &[u8], start: usize, before: Sum) -> Option<(&[u8], Sum, usize)> {
    let (head, rest) = bytes.get(start..)?.split_at_checked(HEAD_LEN)?;
    let len = u32::from_be_bytes(head[..SUM_AT].try_into().ok()?);
    let sum: Sum = head[SUM_AT..].try_into().ok()?;
    let payload = rest.get(..usize::try_from(len).ok()?)?;
    (checksum(before, payload) == sum).then_some((payload, sum, start + HEAD_LEN + payload.len()))
}

fn read(file: &mut File) -> io::Result<Vec<u8>> {
    let len = file.metadata()?.len();
    if len > MAX_LEN {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or_default());
    file.take(MAX_LEN).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Who reads the chain of whom is nobody else's business.
fn open(path: &Path) -> io::Result<File> {
    let mut folder = fs::DirBuilder::new();
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
        folder.mode(0o700);
        options.mode(0o600);
    }
    if let Some(parent) = path.parent() {
        folder.recursive(true).create(parent)?;
    }
    options.read(true).write(true).create(true).truncate(false).open(path)
}
