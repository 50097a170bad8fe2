//! A wallet with its queue.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope, TxLegacy, TypedTransaction},
    eips::eip2718::Encodable2718 as _,
    network::{Ethereum, TransactionBuilder as _},
    providers::{DynProvider, Provider},
    rpc::types::TransactionRequest,
    transports::TransportError,
};
use alloy_primitives::{Address, B256, TxKind};
use tokio::sync::OnceCell;

use super::{
    Fees, Notice, Notify, Pauses, Pending, Resumed, Sent, Submitted, Waiting, outcome, receipt,
};
use crate::{
    Account, ChainError,
    error::shown,
    payer::fees::Price,
    queue::{Entry, Queue, Version},
};

/// How long another process may hold the queue: longer than a person looks at a hardware wallet.
const LOCK_DEADLINE: Duration = Duration::from_secs(120);

/// Between two looks at what a node still knows and at what is stuck.
const CARE_INTERVAL: Duration = Duration::from_secs(1);

/// How long a nonce must be used and no receipt be found before it is held to be somebody else's: nodes
/// behind one URL may differ by a block.
const DISPLACED_AFTER: Duration = Duration::from_secs(10);

/// No replacement is signed sooner, however fast blocks are, in seconds.
const SOONEST_REPLACEMENT: u64 = 4;

/// The most versions of one transaction.
const MOST_VERSIONS: usize = 16;

/// The most gas that a transaction may ask for (EIP-7825).
const GAS_CAP: u64 = 16_777_216;

/// Gas of a transfer (yellow paper, `G_transaction`).
const TRANSFER_GAS: u64 = 21_000;

pub(super) struct Wallet {
    provider: DynProvider<Ethereum>,
    account: Account,
    queue: Queue,
    fees: Fees,
    chain_id: OnceCell<u64>,
}

/// What a node made of signed bytes.
enum Taken {
    /// It has them, or had them.
    Yes,
    /// It does not take them now: the nonce is not next, its pool is full, it did not answer.
    NotNow,
    /// It wants a higher price.
    Underpriced,
    /// It never takes them.
    Refused(String),
}

/// What is known about a nonce.
enum Found {
    Landed(Result<Sent, ChainError>),
    /// Used, and no receipt is found.
    Used,
    /// Not used: the chain stands at this nonce.
    Free(u64),
}

impl Wallet {
    pub(super) fn new(
        provider: DynProvider<Ethereum>,
        account: Account,
        queue: Option<Queue>,
        fees: Fees,
    ) -> Self {
        let queue = queue.unwrap_or_else(|| Queue::in_memory(account.controller()));
        Self { provider, account, queue, fees, chain_id: OnceCell::new() }
    }

    pub(super) fn address(&self) -> Address {
        self.account.controller()
    }

    /// The chain, which must be the queue's.
    async fn chain_id(&self) -> Result<u64, ChainError> {
        let ask = async || {
            if self.queue.address() != self.address() {
                return Err(ChainError::Invalid("the queue is another wallet's"));
            }
            let found = self.provider.get_chain_id().await?;
            match self.queue.chain_id() {
                Some(expected) if expected != found => {
                    Err(ChainError::OtherChain { node: "the node".to_owned(), expected, found })
                }
                _ => Ok(found),
            }
        };
        self.chain_id.get_or_try_init(ask).await.copied()
    }

    async fn next_nonce(&self) -> Result<u64, ChainError> {
        Ok(self.provider.get_transaction_count(self.address()).await?)
    }

    pub(super) async fn submit(
        &self,
        request: TransactionRequest,
        notify: &Notify,
    ) -> Result<Submitted, ChainError> {
        let chain_id = self.chain_id().await?;
        // The estimate runs the call: a refusal is decoded here and costs nothing.
        let estimate = self.provider.estimate_gas(request.clone().from(self.address())).await?;
        let gas = (estimate + estimate / 8).min(GAS_CAP).max(estimate);
        let price = Price::now(&self.provider, self.fees.ceiling).await?;
        let latest = self.next_nonce().await?;
        let (nonce, version) = {
            let mut notice = Notice::new(notify);
            let queue = self.queue.lock(LOCK_DEADLINE, || notice.tell(Waiting::Lock)).await?;
            let highest = queue.highest().await?;
            let nonce = latest.max(highest.map_or(0, |highest| highest + 1));
            let transaction = unsigned(chain_id, nonce, gas, price, &request);
            let version = self.sign(transaction, price.block).await?;
            let versions = vec![version.clone()];
            queue.save(Entry { nonce, created: version.saved, versions }).await?;
            (nonce, version)
        };
        if let Taken::Refused(reason) = self.broadcast(&version).await {
            self.take_back(nonce, price, chain_id).await?;
            return Err(ChainError::Refused { reason });
        }
        Ok(Submitted { transaction: version.hash, nonce: Some(nonce), request })
    }

    async fn sign(
        &self,
        mut transaction: TypedTransaction,
        block: u64,
    ) -> Result<Version, ChainError> {
        let signed: TxEnvelope = match &mut transaction {
            TypedTransaction::Legacy(inner) => {
                let signature = self.account.sign_transaction(inner).await?;
                inner.clone().into_signed(signature).into()
            }
            TypedTransaction::Eip1559(inner) => {
                let signature = self.account.sign_transaction(inner).await?;
                inner.clone().into_signed(signature).into()
            }
            _ => return Err(ChainError::Invalid("the wallet makes no such transaction")),
        };
        let raw = signed.encoded_2718().into();
        Ok(Version { hash: *signed.tx_hash(), raw, saved: unix_now(), block })
    }

    /// Gives signed bytes to a node. Its answer is believed in one case only: that it never takes them.
    async fn broadcast(&self, version: &Version) -> Taken {
        let sent: Result<B256, TransportError> =
            self.provider.client().request("eth_sendRawTransaction", (&version.raw,)).await;
        match sent {
            Ok(_) => Taken::Yes,
            Err(error) => match error.as_error_resp() {
                Some(response) => judge(response.code, &response.message),
                None => Taken::NotNow,
            },
        }
    }

    /// Sees to it that what the node refused never lands. Transactions behind it need its nonce, so that
    /// a transfer of nothing to oneself takes its place.
    async fn take_back(&self, nonce: u64, price: Price, chain_id: u64) -> Result<(), ChainError> {
        let filler = {
            let queue = self.queue.lock(LOCK_DEADLINE, || {}).await?;
            if queue.highest().await? == Some(nonce) {
                return queue.remove(nonce).await;
            }
            let request = TransactionRequest::default().with_to(self.address());
            let transaction = unsigned(chain_id, nonce, TRANSFER_GAS, price, &request);
            let version = self.sign(transaction, price.block).await?;
            let versions = vec![version.clone()];
            queue.save(Entry { nonce, created: version.saved, versions }).await?;
            version
        };
        // Whoever waits behind it sends it again if need be.
        let _ = self.broadcast(&filler).await;
        Ok(())
    }

    pub(super) async fn land(
        &self,
        nonce: u64,
        transaction: B256,
        notify: &Notify,
    ) -> Result<Sent, ChainError> {
        let start = Instant::now();
        let mut notice = Notice::new(notify);
        let mut pauses = Pauses::new();
        // Newest last.
        let mut hashes = vec![transaction];
        let mut used_since: Option<Instant> = None;
        let mut cared: Option<Instant> = None;
        // A reorganization drops many at once: then each is sent as soon as its turn has come.
        let mut lost = false;
        while start.elapsed() < self.fees.deadline {
            let newest = *hashes.last().unwrap_or(&transaction);
            match self.look(nonce, &mut hashes).await {
                Ok(Found::Landed(outcome)) => {
                    self.finish(nonce).await?;
                    return outcome;
                }
                Ok(Found::Used) => {
                    if used_since.get_or_insert_with(Instant::now).elapsed() >= DISPLACED_AFTER {
                        self.finish(nonce).await?;
                        return Err(ChainError::Displaced { nonce, transaction: newest });
                    }
                }
                Ok(Found::Free(next)) => {
                    used_since = None;
                    notice.tell(match next < nonce {
                        true => Waiting::Earlier { nonce: next },
                        false => Waiting::Receipt { transaction: newest },
                    });
                    // A node without a pool takes a transaction only when its turn has come.
                    let turn = next == nonce && cared.is_none();
                    if turn || lost || cared.unwrap_or(start).elapsed() >= CARE_INTERVAL {
                        lost = self.care(nonce, next, notify).await?;
                        cared = Some(Instant::now());
                    }
                }
                Err(error) if is_ours(&error) => return Err(error),
                // The node has until the deadline to come back.
                Err(_) => notice.tell(Waiting::Receipt { transaction: newest }),
            }
            pauses.next().await;
        }
        let transaction = *hashes.last().unwrap_or(&transaction);
        Err(ChainError::NotMined { transaction, waited: self.fees.deadline })
    }

    /// What the chain says about a nonce and all versions that were signed for it, by whichever process.
    async fn look(&self, nonce: u64, hashes: &mut Vec<B256>) -> Result<Found, ChainError> {
        let next = self.next_nonce().await?;
        if next <= nonce {
            return Ok(Found::Free(next));
        }
        for version in self.queue.entry(nonce).await?.map_or_else(Vec::new, |entry| entry.versions)
        {
            if !hashes.contains(&version.hash) {
                hashes.push(version.hash);
            }
        }
        for hash in hashes.iter().rev() {
            if let Some(receipt) = receipt(&self.provider, *hash).await? {
                return Ok(Found::Landed(outcome(&receipt)));
            }
        }
        Ok(Found::Used)
    }

    /// Pushes the transaction of `nonce` and the one that the chain waits for, which may be one that a
    /// process left behind when it ended. Whether the node had lost the one that it waits for, and took it.
    async fn care(&self, nonce: u64, next: u64, notify: &Notify) -> Result<bool, ChainError> {
        let mut lost = false;
        for at in if next == nonce { vec![nonce] } else { vec![next, nonce] } {
            if let Some(entry) = self.queue.entry(at).await? {
                lost |= self.push(entry, at == next, notify).await? && at < nonce;
            }
        }
        Ok(lost)
    }

    /// Sends an entry again if the node lost it, or in a new version if it is stuck. Whether it was lost
    /// and is taken now.
    async fn push(&self, entry: Entry, is_next: bool, notify: &Notify) -> Result<bool, ChainError> {
        let newest = entry.newest();
        let sent = match self.provider.get_transaction_by_hash(newest.hash).await {
            Ok(None) => Some(self.broadcast(newest).await),
            _ => None,
        };
        let taken = matches!(sent, Some(Taken::Yes));
        let underpriced = matches!(sent, Some(Taken::Underpriced));
        if !is_next || !(underpriced || self.is_stuck(newest).await) {
            return Ok(taken);
        }
        match self.replace(entry.nonce, newest).await {
            Ok(Some(version)) => {
                let (nonce, transaction) = (entry.nonce, version.hash);
                let _ = self.broadcast(&version).await;
                notify(&Waiting::Replaced { nonce, transaction });
                Ok(taken)
            }
            Err(error) if is_ours(&error) => Err(error),
            // Above the ceiling, replaced by somebody else, or the node does not say what gas costs.
            Ok(None) | Err(_) => Ok(taken),
        }
    }

    async fn is_stuck(&self, newest: &Version) -> bool {
        let age = unix_now().saturating_sub(newest.saved);
        if age >= self.fees.stuck_after.as_secs() || age < SOONEST_REPLACEMENT {
            return age >= SOONEST_REPLACEMENT;
        }
        let head = self.provider.get_block_number().await;
        head.is_ok_and(|head| head.saturating_sub(newest.block) >= self.fees.stuck_blocks)
    }

    /// Signs and saves the next version; `None` if there is none to be had.
    async fn replace(&self, nonce: u64, newest: &Version) -> Result<Option<Version>, ChainError> {
        let price = Price::now(&self.provider, self.fees.ceiling).await?;
        let queue = self.queue.lock(LOCK_DEADLINE, || {}).await?;
        let Some(mut entry) = self.queue.entry(nonce).await? else { return Ok(None) };
        // Another process was faster, or there were enough.
        if entry.newest() != newest || entry.versions.len() >= MOST_VERSIONS {
            return Ok(None);
        }
        let Some(transaction) = newest.decode() else { return Ok(None) };
        let mut transaction = TypedTransaction::from(transaction);
        let Some(raised) = price.replacing(Price::of(&transaction), self.fees.ceiling) else {
            return Ok(None);
        };
        raised.put_into(&mut transaction);
        let version = self.sign(transaction, price.block).await?;
        entry.versions.push(version.clone());
        queue.save(entry).await?;
        Ok(Some(version))
    }

    async fn finish(&self, nonce: u64) -> Result<(), ChainError> {
        self.queue.lock(LOCK_DEADLINE, || {}).await?.finish(nonce).await
    }

    pub(super) async fn resume(&self, notify: &Notify) -> Result<Vec<Resumed>, ChainError> {
        self.chain_id().await?;
        let mut resumed = Vec::new();
        let start = Instant::now();
        for entry in self.queue.pending().await? {
            let (nonce, transaction) = (entry.nonce, entry.newest().hash);
            if start.elapsed() >= self.fees.deadline {
                return Err(ChainError::NotMined { transaction, waited: self.fees.deadline });
            }
            let outcome = self.land(nonce, transaction, notify).await;
            match outcome {
                Ok(_) | Err(ChainError::Failed { .. } | ChainError::Displaced { .. }) => {
                    resumed.push(Resumed { nonce, outcome });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(resumed)
    }

    pub(super) async fn pending(&self) -> Result<Vec<Pending>, ChainError> {
        let pending = |entry: Entry| Pending {
            nonce: entry.nonce,
            transactions: entry.versions.iter().map(|version| version.hash).collect(),
            since: entry.created,
        };
        Ok(self.queue.pending().await?.into_iter().map(pending).collect())
    }

    pub(super) async fn versions(&self, transaction: B256) -> Result<Vec<B256>, ChainError> {
        self.queue.versions(transaction).await
    }
}

/// A transaction of the kind that the price is for.
fn unsigned(
    chain_id: u64,
    nonce: u64,
    gas_limit: u64,
    price: Price,
    request: &TransactionRequest,
) -> TypedTransaction {
    let to = request.to.unwrap_or(TxKind::Create);
    let value = request.value.unwrap_or_default();
    let input = request.input.input().cloned().unwrap_or_default();
    match price.tip {
        Some(tip) => TypedTransaction::Eip1559(TxEip1559 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: price.fee,
            max_priority_fee_per_gas: tip,
            to,
            value,
            input,
            access_list: Default::default(),
        }),
        None => TypedTransaction::Legacy(TxLegacy {
            chain_id: Some(chain_id),
            nonce,
            gas_price: price.fee,
            gas_limit,
            to,
            value,
            input,
        }),
    }
}

/// What the words of a node mean. Wrongly held to be refused, a transaction would be sent twice; wrongly
/// held to be possible, it is tried again until the deadline. So everything unknown is possible.
fn judge(code: i64, message: &str) -> Taken {
    const KNOWN: &[&str] =
        &["already known", "already imported", "known transaction", "nonce too low"];
    const NOT_NOW: &[&str] = &[
        "nonce too high",
        "nonce gap",
        "replacement",
        "replace existing",
        "pool",
        "limit exceeded",
    ];
    const UNDERPRICED: &[&str] =
        &["underpriced", "less than block base fee", "fee too low", "gas price too low", "below"];
    const REFUSED: &[&str] = &[
        "insufficient funds",
        "intrinsic gas",
        "gas limit",
        "floor data gas",
        "oversized",
        "initcode",
        "chain id",
        "chainid",
        "not supported",
        "replay-protected",
        "sender not an eoa",
        "invalid sender",
        "exceeds the configured cap",
        "not allowed",
        "not authorized",
        "not permitted",
    ];
    // EIP-1474: method not supported, method not found, invalid params.
    const REFUSED_CODES: &[i64] = &[-32004, -32601, -32602];
    let message = shown(message);
    let lower = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if says(KNOWN) {
        Taken::Yes
    } else if says(REFUSED) {
        Taken::Refused(message)
    } else if says(NOT_NOW) {
        Taken::NotNow
    } else if says(UNDERPRICED) {
        Taken::Underpriced
    } else if REFUSED_CODES.contains(&code) {
        Taken::Refused(message)
    } else {
        Taken::NotNow
    }
}

/// Not a fault of the node, so that waiting does not help.
const fn is_ours(error: &ChainError) -> bool {
    matches!(
        error,
        ChainError::Queue { .. }
            | ChainError::QueueBusy { .. }
            | ChainError::QueueDamaged { .. }
            | ChainError::Sign(_)
            | ChainError::Inconsistent { .. }
    )
}

/// A clock before 1970 counts as 1970.
fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
