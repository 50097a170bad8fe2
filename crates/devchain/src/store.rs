//! The directory of a chain: `lock`, `log` and `snapshot-…`.

mod files;
mod log;
mod snapshot;

use std::{
    fs::{self, File, TryLockError},
    io::Write as _,
    path::{Path, PathBuf},
};

pub(crate) use self::log::Record;
use self::{
    log::{Log, Position},
    snapshot::Snapshot,
};
use crate::{chain::Chain, config::Config, error::Error};

/// The open directory. Nobody else has it open until this is dropped.
#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
    log: Log,
    config: Config,
    /// Height at the last snapshot, or at the last try.
    snapshot_height: u64,
    /// Held, not read: the lock goes with the file.
    _lock: File,
}

/// What a directory holds.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) chain: Chain,
    /// Seconds that the clock was moved forward.
    pub(crate) clock_offset: u64,
}

impl Store {
    /// Opens or makes the directory and brings the chain to where it was.
    pub(crate) fn open(directory: &Path, config: &Config) -> Result<Opened, Error> {
        files::create_directory(directory)?;
        let lock = lock(directory)?;
        let (log, records) = Log::open(directory, config.chain_id, config.fingerprint())?;
        let positions: Vec<_> = records.iter().map(|(_, position)| *position).collect();
        let snapshot = snapshot::load(directory, config, log.path(), &positions)?;
        let Snapshot { mut chain, mut clock_offset, position } = snapshot.unwrap_or_else(|| {
            // Before all records: an offset that none of them ends at or before.
            let position = Position { offset: 0, sum: Default::default() };
            Snapshot { chain: Chain::new(config), clock_offset: 0, position }
        });
        let snapshot_height = chain.head().header.number;
        for (record, end) in records.iter().filter(|(_, end)| end.offset > position.offset) {
            replay(&mut chain, &mut clock_offset, record).map_err(|what| Error::Damaged {
                path: log.path().to_owned(),
                offset: end.offset,
                what,
            })?;
        }
        let store = Self {
            directory: directory.to_owned(),
            log,
            config: config.clone(),
            snapshot_height,
            _lock: lock,
        };
        Ok(Opened { store, chain, clock_offset })
    }

    /// Puts an input on disk. It may be acknowledged once this returns.
    pub(crate) fn append(&mut self, record: &Record) -> Result<(), Error> {
        self.log.append(record)
    }

    /// Writes a snapshot if enough blocks have come since the last one.
    pub(crate) fn snapshot(&mut self, chain: &Chain, clock_offset: u64) {
        let height = chain.head().header.number;
        // After a reorganization the height may be below that of the last snapshot.
        let blocks = height.abs_diff(self.snapshot_height);
        if self.config.snapshot_every == 0 || blocks < self.config.snapshot_every {
            return;
        }
        self.snapshot_height = height;
        // A snapshot that cannot be written costs time at the next opening and nothing else; the
        // block it would hold is in the log. The next try is as many blocks away.
        let _ = snapshot::write(&self.directory, &self.config, chain, clock_offset, self.log.end());
    }
}

/// Does again what was done when the record was written.
fn replay(chain: &mut Chain, clock_offset: &mut u64, record: &Record) -> Result<(), &'static str> {
    match record {
        Record::Block { timestamp, hash, transaction } => {
            let sealed = if transaction.is_empty() {
                chain.seal_empty(*timestamp)
            } else {
                chain
                    .seal(transaction, *timestamp)
                    .map_err(|_| "a transaction that was accepted is refused")?
            };
            if sealed.block.hash != *hash {
                return Err("a block comes out with another hash: written by another version");
            }
            chain.commit(sealed);
        }
        Record::Advance { seconds } => *clock_offset = clock_offset.saturating_add(*seconds),
        Record::Reorganize { depth } => {
            let depth = usize::try_from(*depth).unwrap_or(usize::MAX);
            if depth >= chain.blocks().len() {
                return Err("more blocks were removed than there are");
            }
            chain.reorganize(depth);
        }
    }
    Ok(())
}

fn lock(directory: &Path) -> Result<File, Error> {
    let path = directory.join("lock");
    let mut file = files::private().read(true).open(&path).map_err(files::error("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(&path).ok();
            let pid = holder.and_then(|text| text.trim().parse().ok());
            return Err(Error::Locked { path: directory.to_owned(), pid });
        }
        Err(TryLockError::Error(source)) => return Err(files::error("lock", &path)(source)),
    }
    // For the message of whoever comes second; nothing depends on it, so a full disk is no reason
    // not to read the chain.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}
