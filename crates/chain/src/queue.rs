//! The durable queue of one paying wallet on one chain.
//!
//! Every transaction is saved with its nonce and its signed bytes before any node sees it, so that
//! after a crash the same bytes are sent again and never others beside them. All processes that pay
//! from the wallet share its directory; a lock is held only while a nonce is chosen and saved.

mod files;

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use alloy::{
    consensus::{Transaction as _, TxEnvelope},
    eips::eip2718::Decodable2718 as _,
};
use alloy_primitives::{Address, B256, Bytes, keccak256};
use serde::{Deserialize, Serialize};

use crate::{ChainError, rpc::rand_fraction};

/// How many finished entries stay, to be found if the chain loses their blocks.
const KEPT_FINISHED: usize = 64;

/// Between two tries for the lock, at most.
const LOCK_INTERVAL: Duration = Duration::from_millis(20);

/// The transactions of one wallet on one chain that were signed and are not known to have landed.
///
/// A handle: clones share the queue.
#[derive(Clone)]
pub struct Queue(Arc<Inner>);

struct Inner {
    /// `None` in memory: there is one chain then.
    chain_id: Option<u64>,
    address: Address,
    place: Place,
    // Within the process; the lock file is for the others.
    local: Arc<tokio::sync::Mutex<()>>,
}

enum Place {
    Memory(Mutex<Memory>),
    Directory(PathBuf),
}

#[derive(Default)]
struct Memory {
    pending: BTreeMap<u64, Entry>,
    finished: BTreeMap<u64, Entry>,
}

/// One nonce and everything that was signed for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) nonce: u64,
    /// Unix second at which the nonce was chosen.
    pub(crate) created: u64,
    /// Oldest first, at least one. Any of them may land.
    pub(crate) versions: Vec<Version>,
}

/// Signed bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Version {
    pub(crate) hash: B256,
    pub(crate) raw: Bytes,
    /// Unix second of the signature.
    pub(crate) saved: u64,
    /// Newest block at that time.
    pub(crate) block: u64,
}

impl Entry {
    pub(crate) fn newest(&self) -> &Version {
        self.versions.last().expect("an entry has a version: files without are refused")
    }
}

impl Version {
    /// The transaction behind the bytes.
    pub(crate) fn decode(&self) -> Option<TxEnvelope> {
        TxEnvelope::decode_2718_exact(&self.raw).ok()
    }
}

impl Queue {
    /// Opens the queue of a wallet in the directory `<chain id>-<address>` below `directory`; both are
    /// made where they are missing, of mode 0700.
    ///
    /// # Errors
    ///
    /// [`ChainError::Queue`].
    pub fn open(
        directory: impl AsRef<Path>,
        chain_id: u64,
        address: Address,
    ) -> Result<Self, ChainError> {
        let path = directory.as_ref().join(format!("{chain_id}-{address:#x}"));
        files::create_dir_all(&path).map_err(failed("make its directory"))?;
        Ok(Self::new(Some(chain_id), address, Place::Directory(path)))
    }

    /// A queue that ends with the process.
    pub(crate) fn in_memory(address: Address) -> Self {
        Self::new(None, address, Place::Memory(Mutex::default()))
    }

    fn new(chain_id: Option<u64>, address: Address, place: Place) -> Self {
        Self(Arc::new(Inner { chain_id, address, place, local: Arc::default() }))
    }

    pub(crate) fn chain_id(&self) -> Option<u64> {
        self.0.chain_id
    }

    pub(crate) fn address(&self) -> Address {
        self.0.address
    }

    /// Waits for the other users of the wallet, and says so at every try.
    pub(crate) async fn lock(
        &self,
        limit: Duration,
        mut waiting: impl FnMut(),
    ) -> Result<Locked<'_>, ChainError> {
        let start = Instant::now();
        let busy = ChainError::QueueBusy { waited: limit };
        let local = tokio::time::timeout(limit, Arc::clone(&self.0.local).lock_owned());
        let Ok(local) = local.await else { return Err(busy) };
        let Place::Directory(path) = &self.0.place else {
            return Ok(Locked { queue: self, _local: local, _file: None });
        };
        let file = files::open_private(&path.join("lock")).map_err(failed("open its lock"))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Locked { queue: self, _local: local, _file: Some(file) }),
                Err(std::fs::TryLockError::WouldBlock) if start.elapsed() < limit => {}
                Err(std::fs::TryLockError::WouldBlock) => return Err(busy),
                Err(std::fs::TryLockError::Error(error)) => return Err(failed("lock it")(error)),
            }
            waiting();
            tokio::time::sleep(LOCK_INTERVAL.mul_f64(rand_fraction())).await;
        }
    }

    /// All entries that are not finished, by nonce.
    pub(crate) async fn pending(&self) -> Result<Vec<Entry>, ChainError> {
        self.run(|inner| match &inner.place {
            Place::Memory(memory) => Ok(lock(memory).pending.values().cloned().collect()),
            Place::Directory(path) => {
                let mut entries = Vec::new();
                for nonce in list(path)?.pending {
                    // `None`: somebody finished it since the directory was read.
                    entries.extend(inner.read(path, nonce, PENDING)?);
                }
                Ok(entries)
            }
        })
        .await
    }

    /// The entry of a nonce, finished or not; `None` if there is none, or it was finished long ago.
    pub(crate) async fn entry(&self, nonce: u64) -> Result<Option<Entry>, ChainError> {
        self.run(move |inner| match &inner.place {
            Place::Memory(memory) => {
                let memory = lock(memory);
                let entry = memory.pending.get(&nonce).or_else(|| memory.finished.get(&nonce));
                Ok(entry.cloned())
            }
            Place::Directory(path) => match inner.read(path, nonce, PENDING)? {
                Some(entry) => Ok(Some(entry)),
                None => inner.read(path, nonce, FINISHED),
            },
        })
        .await
    }

    /// All versions of a transaction, oldest first; empty if the queue does not know it (any more).
    pub(crate) async fn versions(&self, transaction: B256) -> Result<Vec<B256>, ChainError> {
        let mut entries = self.pending().await?;
        let finished = self.run(|inner| match &inner.place {
            Place::Memory(memory) => Ok(lock(memory).finished.values().cloned().collect()),
            Place::Directory(path) => {
                let nonces = list(path)?.finished.into_iter();
                let read = |nonce| inner.read(path, nonce, FINISHED).transpose();
                nonces.filter_map(read).collect::<Result<Vec<_>, _>>()
            }
        });
        entries.extend(finished.await?);
        let hashes = |entry: Entry| entry.versions.iter().map(|version| version.hash).collect();
        let all: Vec<Vec<B256>> = entries.into_iter().map(hashes).collect();
        Ok(all.into_iter().find(|hashes| hashes.contains(&transaction)).unwrap_or_default())
    }

    /// Files are read and written where nobody else waits.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, ChainError> + Send + 'static,
    ) -> Result<T, ChainError> {
        let inner = Arc::clone(&self.0);
        if matches!(inner.place, Place::Memory(_)) {
            return work(&inner);
        }
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.unwrap_or_else(|error| Err(failed("work on its files")(std::io::Error::other(error))))
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({:#x})", self.0.address)
    }
}

/// The queue while nobody else chooses a nonce.
pub(crate) struct Locked<'a> {
    queue: &'a Queue,
    _local: tokio::sync::OwnedMutexGuard<()>,
    _file: Option<std::fs::File>,
}

impl Locked<'_> {
    /// The highest nonce that was ever given out, as far as is known.
    pub(crate) async fn highest(&self) -> Result<Option<u64>, ChainError> {
        self.queue
            .run(|inner| match &inner.place {
                Place::Memory(memory) => {
                    let memory = lock(memory);
                    let highest = |entries: &BTreeMap<u64, Entry>| {
                        entries.last_key_value().map(|(nonce, _)| *nonce)
                    };
                    Ok(highest(&memory.pending).max(highest(&memory.finished)))
                }
                Place::Directory(path) => {
                    let listed = list(path)?;
                    Ok(listed.pending.last().copied().max(listed.finished.last().copied()))
                }
            })
            .await
    }

    /// Keeps an entry; it survives whatever happens after this returns.
    pub(crate) async fn save(&self, entry: Entry) -> Result<(), ChainError> {
        self.queue
            .run(move |inner| match &inner.place {
                Place::Memory(memory) => {
                    lock(memory).pending.insert(entry.nonce, entry);
                    Ok(())
                }
                Place::Directory(path) => {
                    let name = file_name(entry.nonce, PENDING);
                    let text = inner.encode(&entry);
                    files::replace(path, &name, &text).map_err(failed("save a transaction"))
                }
            })
            .await
    }

    /// Forgets an entry that can never land.
    pub(crate) async fn remove(&self, nonce: u64) -> Result<(), ChainError> {
        self.queue
            .run(move |inner| match &inner.place {
                Place::Memory(memory) => {
                    lock(memory).pending.remove(&nonce);
                    Ok(())
                }
                Place::Directory(path) => files::remove(path, &file_name(nonce, PENDING))
                    .and_then(|()| files::sync_dir(path))
                    .map_err(failed("remove a transaction")),
            })
            .await
    }

    /// Marks an entry as finished and forgets the oldest finished ones. Whoever comes second finds it
    /// done. Need not be durable: a mark that is lost is found again on the chain.
    pub(crate) async fn finish(&self, nonce: u64) -> Result<(), ChainError> {
        self.queue
            .run(move |inner| match &inner.place {
                Place::Memory(memory) => {
                    let mut memory = lock(memory);
                    if let Some(entry) = memory.pending.remove(&nonce) {
                        memory.finished.insert(nonce, entry);
                    }
                    while memory.finished.len() > KEPT_FINISHED {
                        memory.finished.pop_first();
                    }
                    Ok(())
                }
                Place::Directory(path) => {
                    let marking = failed("mark a transaction as finished");
                    let (from, to) = (file_name(nonce, PENDING), file_name(nonce, FINISHED));
                    files::rename(path, &from, &to).map_err(marking)?;
                    let finished = list(path)?.finished;
                    for nonce in finished.iter().rev().skip(KEPT_FINISHED) {
                        files::remove(path, &file_name(*nonce, FINISHED))
                            .map_err(failed("remove a finished transaction"))?;
                    }
                    Ok(())
                }
            })
            .await
    }
}

/// What lies in the directory, by nonce.
struct Listed {
    pending: Vec<u64>,
    finished: Vec<u64>,
}

const PENDING: &str = "json";
const FINISHED: &str = "done";

/// Twenty digits, so that names sort as numbers do.
fn file_name(nonce: u64, state: &str) -> String {
    format!("{nonce:020}.{state}")
}

fn list(path: &Path) -> Result<Listed, ChainError> {
    let mut listed = Listed { pending: Vec::new(), finished: Vec::new() };
    for name in files::names(path).map_err(failed("read its directory"))? {
        let Some((nonce, state)) = name.split_once('.') else { continue };
        // Other names: the lock, and files that were never renamed and so never acknowledged.
        let Ok(nonce) = nonce.parse() else { continue };
        match state {
            PENDING => listed.pending.push(nonce),
            FINISHED => listed.finished.push(nonce),
            _ => {}
        }
    }
    listed.pending.sort_unstable();
    listed.finished.sort_unstable();
    Ok(listed)
}

/// The file of an entry. `version` changes when the meaning of a field does.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    version: u8,
    chain_id: u64,
    from: Address,
    entry: Entry,
}

const VERSION: u8 = 1;

impl Inner {
    fn encode(&self, entry: &Entry) -> Vec<u8> {
        let saved = Saved {
            version: VERSION,
            chain_id: self.chain_id.unwrap_or_default(),
            from: self.address,
            entry: entry.clone(),
        };
        serde_json::to_vec_pretty(&saved).expect("numbers and hex always have a JSON form")
    }

    /// Reads and checks a file: somebody else's bytes must never be sent for this wallet.
    fn read(&self, path: &Path, nonce: u64, state: &str) -> Result<Option<Entry>, ChainError> {
        let file = file_name(nonce, state);
        let reading = failed("read a transaction");
        let Some(text) = files::read(path, &file).map_err(reading)? else { return Ok(None) };
        let damaged = |what| ChainError::QueueDamaged { file: file.clone(), what };
        let saved: Saved = serde_json::from_slice(&text).map_err(|_| damaged("not an entry"))?;
        if saved.version != VERSION {
            return Err(damaged("another version of Galen wrote it"));
        }
        if Some(saved.chain_id) != self.chain_id || saved.from != self.address {
            return Err(damaged("it belongs to another chain or wallet"));
        }
        let entry = saved.entry;
        let mut seen = HashSet::new();
        let whole = |version: &Version| {
            keccak256(&version.raw) == version.hash
                && version.decode().is_some_and(|transaction| {
                    transaction.nonce() == nonce && transaction.chain_id() == self.chain_id
                })
        };
        if entry.nonce != nonce
            || entry.versions.is_empty()
            || !entry.versions.iter().all(|version| whole(version) && seen.insert(version.hash))
        {
            return Err(damaged("its transaction is another"));
        }
        Ok(Some(entry))
    }
}

fn failed(doing: &'static str) -> impl FnOnce(std::io::Error) -> ChainError {
    move |source| ChainError::Queue { doing, source }
}

/// Nothing that is done under this lock can panic half-way.
fn lock(memory: &Mutex<Memory>) -> std::sync::MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}
