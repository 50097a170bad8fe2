//! [`DevChain`]: the handle that everybody shares.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use alloy::{
    primitives::{B256, Bytes},
    signers::local::PrivateKeySigner,
};

use crate::{
    chain::{Chain, Sealed},
    config::{Clock, Config},
    error::Error,
    rpc::{self, Answer, RpcError},
    store::{Opened, Record, Store},
    unlocked::Unlocked,
};

/// Seconds that one `advance_time` may add: a hundred years.
const MAX_ADVANCE: u64 = 100 * 366 * 86_400;

/// A development chain: one proposer, one transaction a block, mined at once; no pending pool, no
/// fee market, no state root.
///
/// A handle: clones share the chain. All methods may be called from any thread; they run one after
/// the other, and those that change the chain return once the change is on disk.
#[derive(Clone, Debug)]
pub struct DevChain {
    core: Arc<Mutex<Core>>,
}

/// Height and hash of the newest block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Height; the genesis block is 0.
    pub number: u64,
    /// Keccak-256 of the header.
    pub hash: B256,
    /// In Unix seconds.
    pub timestamp: u64,
}

impl DevChain {
    /// A chain that is gone when its last handle is dropped.
    pub fn in_memory(config: Config) -> Self {
        let chain = Chain::new(&config);
        Self::new(Core {
            chain,
            config,
            clock_offset: 0,
            store: None,
            unlocked: Unlocked::default(),
        })
    }

    /// The chain in `directory`, which is made if it does not exist. No other handle or process
    /// can open it until the last clone of this one is dropped.
    ///
    /// # Errors
    ///
    /// - [`Error::Locked`]: somebody has it open.
    /// - [`Error::OtherChain`], [`Error::OtherGenesis`]: it was made with another configuration.
    /// - [`Error::Damaged`]: something that was acknowledged cannot be read back. A write that was
    ///   cut short at the end of the log is not damage; it was never acknowledged and is dropped.
    /// - [`Error::NoSpace`], [`Error::Io`].
    pub fn open(directory: impl AsRef<Path>, config: Config) -> Result<Self, Error> {
        let Opened { store, chain, clock_offset } = Store::open(directory.as_ref(), &config)?;
        let (store, unlocked) = (Some(store), Unlocked::default());
        Ok(Self::new(Core { chain, config, clock_offset, store, unlocked }))
    }

    fn new(core: Core) -> Self {
        Self { core: Arc::new(Mutex::new(core)) }
    }

    /// Another chain that stands where this one stands, with the same blocks, clock and unlocked keys, and
    /// goes its own way from there. It lives in memory, wherever this one lives.
    pub fn fork(&self) -> Self {
        self.read(|core| {
            Self::new(Core {
                chain: core.chain.clone(),
                config: core.config.clone(),
                clock_offset: core.clock_offset,
                store: None,
                unlocked: core.unlocked.clone(),
            })
        })
    }

    /// The chain id.
    pub fn chain_id(&self) -> u64 {
        self.read(|core| core.chain.chain_id)
    }

    /// The newest block.
    pub fn head(&self) -> Head {
        self.read(|core| {
            let block = core.chain.head();
            let header = &block.header;
            Head { number: header.number, hash: block.hash, timestamp: header.timestamp }
        })
    }

    /// Runs a signed, encoded transaction (EIP-2718) and mines it. Returns its hash once it is on
    /// disk.
    ///
    /// # Errors
    ///
    /// [`RpcError::SERVER`] if the transaction is not valid, [`RpcError::INTERNAL`] if it could not
    /// be written; either way nothing of it remains.
    pub fn send_raw_transaction(&self, encoded: &[u8]) -> Result<B256, RpcError> {
        self.change(|core| core.submit(encoded))
    }

    /// Moves the clock forward, by at most a hundred years at once. Blocks from now on, and calls
    /// at `latest` and `pending`, have the new time; recorded, so that it holds after reopening.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] for more, or if it cannot be written.
    pub fn advance_time(&self, seconds: u64) -> Result<(), Error> {
        self.change(|core| core.advance_time(seconds))
    }

    /// Mines a block without a transaction.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn mine(&self) -> Result<Head, Error> {
        self.change(Core::mine)?;
        Ok(self.head())
    }

    /// Removes the newest `depth` blocks, as if another branch had won. Their transactions are
    /// forgotten; blocks that follow have other hashes than those removed.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if it would remove the genesis block, or if it cannot be written.
    pub fn reorg(&self, depth: u64) -> Result<Head, Error> {
        self.change(|core| core.reorganize(depth))?;
        Ok(self.head())
    }

    /// Signs with these keys whatever `eth_sendTransaction` asks for in their names, until the last
    /// handle is dropped. For keys that everybody knows (see
    /// [`well_known_keys`](crate::well_known_keys)); the chain keeps none on disk.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] if the chain is not used any more.
    pub fn unlock(&self, keys: Vec<PrivateKeySigner>) -> Result<(), Error> {
        self.change(|core| {
            core.unlocked = Unlocked::new(keys);
            Ok(())
        })
    }

    /// Answers one JSON-RPC call. `params` is an array, or null for none.
    ///
    /// # Errors
    ///
    /// What a node would put into the `error` member.
    pub fn request(
        &self,
        method: &str,
        params: &serde_json::Value,
    ) -> Result<serde_json::Value, RpcError> {
        let answer = self.answer(method, params)?;
        serde_json::from_str(answer.get())
            .map_err(|error| RpcError::new(RpcError::INTERNAL, error.to_string()))
    }

    pub(crate) fn answer(
        &self,
        method: &str,
        params: &serde_json::Value,
    ) -> Result<Answer, RpcError> {
        self.change(|core| rpc::answer(core, method, params))
    }

    /// Reads never see a half-made change: a panic in between is a bug, and the chain is not
    /// served after it.
    fn read<T>(&self, read: impl FnOnce(&Core) -> T) -> T {
        read(&self.core.lock().expect("the chain is not used after a panic"))
    }

    fn change<T, E: From<Error>>(
        &self,
        change: impl FnOnce(&mut Core) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut core = self.core.lock().map_err(|_| Error::Stopped)?;
        change(&mut core)
    }
}

/// The chain with its clock and its directory.
#[derive(Debug)]
pub(crate) struct Core {
    chain: Chain,
    config: Config,
    clock_offset: u64,
    store: Option<Store>,
    unlocked: Unlocked,
}

impl Core {
    pub(crate) fn chain(&self) -> &Chain {
        &self.chain
    }

    pub(crate) fn unlocked(&self) -> &Unlocked {
        &self.unlocked
    }

    /// Seconds that the clock was moved forward.
    pub(crate) fn clock_offset(&self) -> u64 {
        self.clock_offset
    }

    /// Time of a block made now. Never before the head's; equal within a second, as on many
    /// second layers, so that a fast test does not run ahead of the clock.
    pub(crate) fn next_time(&self) -> u64 {
        let now = match self.config.clock {
            // A clock before 1970 is no reason to stop; the head's time holds then.
            Clock::System => {
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
            }
            Clock::Manual => self.config.genesis_time,
        };
        now.saturating_add(self.clock_offset).max(self.chain.head().header.timestamp)
    }

    pub(crate) fn submit(&mut self, encoded: &[u8]) -> Result<B256, RpcError> {
        let sealed = self.chain.seal(encoded, self.next_time())?;
        self.write(sealed, Bytes::copy_from_slice(encoded))?;
        let mined = self.chain.head().mined.first();
        Ok(*mined.expect("the block was sealed with a transaction").transaction.tx_hash())
    }

    pub(crate) fn mine(&mut self) -> Result<(), Error> {
        let sealed = self.chain.seal_empty(self.next_time());
        self.write(sealed, Bytes::new())
    }

    /// First to disk, then into memory: nobody sees a block that might not be there after a crash.
    fn write(&mut self, sealed: Sealed, transaction: Bytes) -> Result<(), Error> {
        let block = &sealed.block;
        self.record(&Record::Block {
            timestamp: block.header.timestamp,
            hash: block.hash,
            transaction,
        })?;
        self.chain.commit(sealed);
        if let Some(store) = &mut self.store {
            store.snapshot(&self.chain, self.clock_offset);
        }
        Ok(())
    }

    pub(crate) fn advance_time(&mut self, seconds: u64) -> Result<(), Error> {
        if seconds > MAX_ADVANCE {
            return Err(Error::Refused("the clock moves by at most a hundred years at once"));
        }
        self.record(&Record::Advance { seconds })?;
        self.clock_offset = self.clock_offset.saturating_add(seconds);
        Ok(())
    }

    pub(crate) fn reorganize(&mut self, depth: u64) -> Result<(), Error> {
        let blocks = usize::try_from(depth).unwrap_or(usize::MAX);
        if blocks >= self.chain.blocks().len() {
            return Err(Error::Refused("the genesis block cannot be removed"));
        }
        self.record(&Record::Reorganize { depth })?;
        self.chain.reorganize(blocks);
        Ok(())
    }

    fn record(&mut self, record: &Record) -> Result<(), Error> {
        self.store.as_mut().map_or(Ok(()), |store| store.append(record))
    }
}
