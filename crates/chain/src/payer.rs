//! Who pays gas, and how a transaction lands: once, or never.

mod fees;
mod wallet;

use std::{fmt, sync::Arc, time::Duration};

use alloy::{
    network::Ethereum,
    providers::{DynProvider, Provider},
    rpc::types::{TransactionReceipt, TransactionRequest},
    transports::RpcError,
};
use alloy_primitives::{Address, B256};
use serde::Serialize;

use crate::{
    Account, ChainError,
    queue::Queue,
    relay::{RelayClient, RelayOptions},
};
use wallet::Wallet;

/// Waits shorter than this are nobody's business.
pub(crate) const NOTICE_AFTER: Duration = Duration::from_secs(2);

/// What geth says of a receipt that may be in a block that it has not indexed.
const NOT_INDEXED: &str = "indexing is in progress";

/// A transaction that landed and succeeded. Its block may still be reorganized away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// Transaction hash.
    pub transaction: B256,
    /// Block number.
    pub block: u64,
    /// Gas used.
    pub gas: u64,
}

/// A transaction that is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Hash of what was signed first. What lands may be a later version, at a higher price.
    pub transaction: B256,
    /// The wallet's nonce; `None` for a relay's wallet.
    pub nonce: Option<u64>,
    pub(crate) request: TransactionRequest,
}

/// A transaction of the wallet that was signed and is not known to have landed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pending {
    /// The wallet's nonce.
    pub nonce: u64,
    /// Hashes of all versions, oldest first. Any of them may land, and only one.
    pub transactions: Vec<B256>,
    /// Unix second at which the nonce was chosen.
    pub since: u64,
}

/// What became of a transaction that was pending.
#[derive(Debug)]
pub struct Resumed {
    /// The wallet's nonce.
    pub nonce: u64,
    /// [`ChainError::Failed`], [`ChainError::Displaced`], or how it landed.
    pub outcome: Result<Sent, ChainError>,
}

/// What a payer waits for, told once for each wait that takes longer than two seconds, and whenever a
/// transaction is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waiting {
    /// Another process that chooses a nonce for the same wallet.
    Lock,
    /// A place in a block.
    Receipt {
        /// Hash of the newest version.
        transaction: B256,
    },
    /// An earlier transaction of the wallet, which must land first.
    Earlier {
        /// Its nonce.
        nonce: u64,
    },
    /// Nothing: a stuck transaction was signed again with higher fees.
    Replaced {
        /// Its nonce.
        nonce: u64,
        /// Hash of the new version.
        transaction: B256,
    },
}

pub(crate) type Notify = Arc<dyn Fn(&Waiting) + Send + Sync>;

/// What a wallet pays, and when it loses patience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fees {
    /// The most that is paid for a unit of gas, in wei.
    pub ceiling: u128,
    /// Blocks without the transaction after which it is replaced with fees that are an eighth higher.
    pub stuck_blocks: u64,
    /// Time without the transaction after which it is replaced, should blocks be slow.
    pub stuck_after: Duration,
    /// How long `send`, `land` and `resume` wait. What has not landed by then stays in the queue.
    pub deadline: Duration,
}

impl Default for Fees {
    fn default() -> Self {
        Self {
            ceiling: 500_000_000_000,
            stuck_blocks: 3,
            stuck_after: Duration::from_secs(60),
            deadline: Duration::from_secs(90),
        }
    }
}

/// Pays gas for transactions: a wallet, or a relay that has one.
///
/// A handle: clones share wallet and queue.
#[derive(Clone)]
pub struct Payer {
    kind: Kind,
    notify: Notify,
}

#[derive(Clone)]
enum Kind {
    Wallet(Arc<Wallet>),
    Relay(Arc<RelayClient>),
}

impl Payer {
    /// Pays from the wallet of an account.
    ///
    /// Without a queue what is on its way is forgotten when the process ends; nothing else may send
    /// from the wallet then.
    pub fn wallet(
        provider: DynProvider<Ethereum>,
        account: Account,
        queue: Option<Queue>,
        fees: Fees,
    ) -> Self {
        let wallet = Wallet::new(provider, account, queue, fees);
        Self { kind: Kind::Wallet(Arc::new(wallet)), notify: Arc::new(|_| {}) }
    }

    /// Lets a relay pay, at `POST <url>/v1/calls`. What landed is believed from `provider` alone.
    ///
    /// # Errors
    ///
    /// [`ChainError::Invalid`], [`ChainError::PlainHttp`] for the URL.
    pub fn relay(
        provider: DynProvider<Ethereum>,
        url: &str,
        options: RelayOptions,
    ) -> Result<Self, ChainError> {
        let relay = RelayClient::new(provider, url, options)?;
        Ok(Self { kind: Kind::Relay(Arc::new(relay)), notify: Arc::new(|_| {}) })
    }

    /// The same payer, which says what it waits for.
    #[must_use]
    pub fn on_wait(self, notify: impl Fn(&Waiting) + Send + Sync + 'static) -> Self {
        Self { notify: Arc::new(notify), ..self }
    }

    /// The wallet that pays; `None` if it is a relay's.
    pub fn address(&self) -> Option<Address> {
        match &self.kind {
            Kind::Wallet(wallet) => Some(wallet.address()),
            Kind::Relay(_) => None,
        }
    }

    /// Sends a transaction to `to` with `input` and `value`, and waits until it is in a block.
    ///
    /// # Errors
    ///
    /// Before anything is signed: [`ChainError::Reverted`] and everything that a node can do wrong,
    /// [`ChainError::FeeCeiling`], [`ChainError::QueueBusy`], [`ChainError::Queue`],
    /// [`ChainError::QueueDamaged`], [`ChainError::Sign`]. After that:
    ///
    /// - [`ChainError::Refused`]: the node did not take it, and it never lands.
    /// - [`ChainError::NotMined`]: it may still land. It stays in the queue, and the next `send` or
    ///   [`Payer::resume`] sees to it.
    /// - [`ChainError::Failed`]: it landed and failed.
    /// - [`ChainError::Displaced`]: the nonce went to something that the queue does not know.
    pub async fn send(&self, request: TransactionRequest) -> Result<Sent, ChainError> {
        let submitted = self.submit(request).await?;
        self.land(&submitted).await
    }

    /// Saves, signs and sends a transaction, and does not wait for a block. A node that does not answer
    /// is no error: the transaction is in the queue.
    ///
    /// # Errors
    ///
    /// As [`Payer::send`], without those about landing.
    pub async fn submit(&self, request: TransactionRequest) -> Result<Submitted, ChainError> {
        match &self.kind {
            Kind::Wallet(wallet) => wallet.submit(request, &self.notify).await,
            Kind::Relay(relay) => relay.submit(request).await,
        }
    }

    /// Waits until a submitted transaction is in a block, and does what is needed for that: sends it
    /// again where a node lost it, replaces it where it is stuck.
    ///
    /// # Errors
    ///
    /// As [`Payer::send`].
    pub async fn land(&self, submitted: &Submitted) -> Result<Sent, ChainError> {
        match (&self.kind, submitted.nonce) {
            (Kind::Wallet(wallet), Some(nonce)) => {
                wallet.land(nonce, submitted.transaction, &self.notify).await
            }
            (Kind::Relay(relay), None) => relay.land(submitted, &self.notify).await,
            _ => Err(ChainError::Invalid("another payer submitted the transaction")),
        }
    }

    /// Sees to all that is pending until it has landed or failed. A relay has nothing pending here.
    ///
    /// # Errors
    ///
    /// [`ChainError::NotMined`] for the first that is still pending after the deadline, and the errors
    /// of queue and node.
    pub async fn resume(&self) -> Result<Vec<Resumed>, ChainError> {
        match &self.kind {
            Kind::Wallet(wallet) => wallet.resume(&self.notify).await,
            Kind::Relay(_) => Ok(Vec::new()),
        }
    }

    /// What was signed and is not known to have landed, by nonce. Asks the queue alone, no node.
    ///
    /// # Errors
    ///
    /// [`ChainError::Queue`], [`ChainError::QueueDamaged`].
    pub async fn pending(&self) -> Result<Vec<Pending>, ChainError> {
        match &self.kind {
            Kind::Wallet(wallet) => wallet.pending().await,
            Kind::Relay(_) => Ok(Vec::new()),
        }
    }

    /// All versions of a transaction that the queue still knows, oldest first; empty if it does not.
    /// A relay tells them to a caller whose transaction it had to replace.
    ///
    /// # Errors
    ///
    /// [`ChainError::Queue`], [`ChainError::QueueDamaged`].
    pub async fn versions(&self, transaction: B256) -> Result<Vec<B256>, ChainError> {
        match &self.kind {
            Kind::Wallet(wallet) => wallet.versions(transaction).await,
            Kind::Relay(_) => Ok(Vec::new()),
        }
    }
}

impl fmt::Debug for Payer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Wallet(wallet) => write!(f, "Payer({:#x})", wallet.address()),
            Kind::Relay(relay) => write!(f, "Payer({})", relay.name()),
        }
    }
}

/// The receipt of a transaction, once there is one and it is that transaction's.
pub(crate) async fn receipt(
    provider: &DynProvider<Ethereum>,
    transaction: B256,
) -> Result<Option<TransactionReceipt>, ChainError> {
    let receipt = match provider.get_transaction_receipt(transaction).await {
        // geth does not say "none" but fails so while it has not indexed its newest blocks.
        Err(RpcError::ErrorResp(error)) if error.message.contains(NOT_INDEXED) => return Ok(None),
        answer => answer?,
    };
    let Some(receipt) = receipt else { return Ok(None) };
    let block = receipt.block_number;
    if receipt.transaction_hash != transaction {
        let block = block.unwrap_or_default();
        return Err(ChainError::Inconsistent { what: "receipt of another transaction", block });
    }
    // Some nodes show a receipt before its block is there.
    Ok(block.is_some().then_some(receipt))
}

/// What a receipt says.
pub(crate) fn outcome(receipt: &TransactionReceipt) -> Result<Sent, ChainError> {
    let transaction = receipt.transaction_hash;
    if !receipt.status() {
        return Err(ChainError::Failed { transaction });
    }
    let block = receipt.block_number.unwrap_or_default();
    Ok(Sent { transaction, block, gas: receipt.gas_used })
}

/// The pauses between two looks: short at first, since development chains mine at once.
pub(crate) struct Pauses(Duration);

impl Pauses {
    const SHORTEST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_millis(500);

    pub(crate) const fn new() -> Self {
        Self(Self::SHORTEST)
    }

    pub(crate) async fn next(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(Self::LONGEST);
    }
}

/// Tells once, after two seconds.
pub(crate) struct Notice<'a> {
    notify: &'a Notify,
    start: std::time::Instant,
    last: Option<Waiting>,
}

impl<'a> Notice<'a> {
    pub(crate) fn new(notify: &'a Notify) -> Self {
        Self { notify, start: std::time::Instant::now(), last: None }
    }

    pub(crate) fn tell(&mut self, waiting: Waiting) {
        if self.start.elapsed() >= NOTICE_AFTER && self.last.as_ref() != Some(&waiting) {
            (self.notify)(&waiting);
            self.last = Some(waiting);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
mod tests {
    use alloy::{providers::ProviderBuilder, transports::mock::Asserter};

    use super::*;

    #[tokio::test]
    async fn a_node_that_has_not_indexed_its_blocks_has_no_receipt_yet() {
        let node = Asserter::new();
        let provider = ProviderBuilder::new().connect_mocked_client(node.clone()).erased();
        node.push_failure_msg("transaction indexing is in progress");
        assert!(receipt(&provider, B256::ZERO).await.unwrap().is_none());
        node.push_failure_msg("something else");
        assert!(receipt(&provider, B256::ZERO).await.is_err());
    }
}
