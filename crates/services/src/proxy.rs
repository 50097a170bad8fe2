//! The proxy: holds shares of segment keys and answers only for reads that are logged.
//!
//! Under a consent to a named grantee a proxy never holds what opens a record: it lacks the grantee's half. Under
//! one to every organization as many proxies do, together, as the patient said are needed. What a proxy may answer
//! is decided in [`rules`], a pure function of the history that it verifies itself, and written down before the
//! answer leaves. It fails closed: what is not clear is refused.
//!
//! | request | see |
//! |---|---|
//! | all of them, with their answers and refusals | [`galen_sdk::proxies::wire`] |
//!
//! `docs/protocol.md`, section "Proxies", has the rules and what lies on disk.

mod follow;
mod holdings;
mod journal;
mod keys;
mod limits;
mod look;
mod refusal;
mod release;
pub mod rules;
mod server;
mod store;
mod take;
mod telling;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
    time::Instant,
};

use alloy_primitives::{Address, hex};
use galen_crypto::envelope::MAX_ENVELOPE_LEN;
use galen_sdk::{Galen, Identity};
use tokio::sync::Semaphore;

use self::{
    holdings::Holdings,
    journal::Names,
    limits::Spent,
    refusal::Refusal,
    rules::{Cause, Policy},
    store::{Kind, Store},
    telling::Metrics,
};
pub use self::{
    limits::ProxyLimits,
    store::{STORE_FILE, StoreError},
    telling::Entry,
};
use crate::http::HttpLimits;

/// Rows of one kind that are read when a proxy starts.
const MAX_LOADED: usize = 4_000_000;

/// Seconds of the journal that limits are restored from.
const RESTORED: u64 = 86_400;

/// What a proxy is made of.
#[derive(Debug)]
pub struct ProxyConfig {
    /// The network. It must read the history block by block ([`galen_chain::HistoryMode::Blocks`]; in the other mode
    /// the proxy refuses everything) over a provider that answers only what several nodes of different people
    /// agree on (`galen_chain::rpc::connect_agreeing`): with the word of one node alone, that node decides what
    /// was logged and revoked. What finality is set to is when an access counts.
    pub galen: Galen,
    /// Who the proxy is: shares are sealed to its published key, reports are signed by its account.
    pub identity: Identity,
    /// Directory of the store, for this process alone.
    pub directory: PathBuf,
    /// What it is strict about.
    pub policy: Policy,
    /// How much it gives.
    pub limits: ProxyLimits,
    /// How many nodes are asked, and how many must agree, as [`galen_sdk::proxies::wire::Status`] tells.
    pub nodes: (usize, usize),
    /// Whether a reverse proxy stands before it and appends the caller's address to `X-Forwarded-For`.
    pub trust_forwarded_for: bool,
}

/// A proxy for one ledger. Cheap to clone.
#[derive(Clone)]
pub struct Proxy(Arc<Inner>);

struct Inner {
    galen: Galen,
    identity: Identity,
    policy: Policy,
    limits: ProxyLimits,
    nodes: (usize, usize),
    trust_forwarded_for: bool,
    store: Store,
    holdings: Mutex<Holdings>,
    /// Consents that are held and not live; counted anew with each look of [`Proxy::follow`].
    pending: AtomicUsize,
    pieces: AtomicUsize,
    spent: Mutex<Spent>,
    names: Names,
    /// Held while a row is read, changed and written.
    taking: tokio::sync::Mutex<()>,
    refusing: tokio::sync::Mutex<()>,
    places: Semaphore,
    status: tokio::sync::Mutex<Option<server::Known>>,
    metrics: Metrics,
    log: Box<dyn Fn(&Entry) + Send + Sync>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ledger = self.0.galen.ledger().id();
        f.debug_struct("Proxy")
            .field("id", &self.id())
            .field("ledger", &ledger)
            .finish_non_exhaustive()
    }
}

impl Proxy {
    /// Opens the store of a proxy, which tells `log` of everything that it does. Asks no node: the chain is read
    /// by [`Proxy::follow`] and by the first request.
    ///
    /// Blocks while it reads the store.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the store is another's, in use, or damaged.
    pub fn new(
        config: ProxyConfig,
        log: impl Fn(&Entry) + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        let ProxyConfig { galen, identity, directory, policy, limits, .. } = config;
        let ledger = galen.ledger().id();
        let (id, contract) = (hex::encode(identity.id()), hex::encode(ledger.contract));
        let owner = format!("galen.proxy.v1/{}/{contract}/{id}", ledger.chain_id);
        let store = Store::open(&directory, identity.keys().vault(), &owner)?;
        let mut holdings = Holdings::default();
        for row in store.list(Kind::Grant, None, 0, MAX_LOADED)? {
            holdings.insert(holdings::read(&row)?.0);
        }
        let pieces = store.count(Kind::Piece)?;
        let open = journal::restore(&store, look::clock().saturating_sub(RESTORED))?;
        Ok(Self(Arc::new(Inner {
            galen,
            identity,
            policy,
            limits,
            nodes: config.nodes,
            trust_forwarded_for: config.trust_forwarded_for,
            store,
            holdings: Mutex::new(holdings),
            pending: AtomicUsize::new(0),
            pieces: AtomicUsize::new(pieces),
            spent: Mutex::new(Spent::new(limits, open)),
            names: Names::new(),
            taking: tokio::sync::Mutex::default(),
            refusing: tokio::sync::Mutex::default(),
            places: Semaphore::new(limits.concurrency),
            status: tokio::sync::Mutex::default(),
            metrics: Metrics::default(),
            log: Box::new(log),
        })))
    }

    /// Its id.
    pub fn id(&self) -> Address {
        self.0.identity.id()
    }

    /// How many consents it holds shares for.
    pub fn consents(&self) -> usize {
        self.holdings().iter().len()
    }

    /// Limits of the HTTP server that fit a proxy.
    pub fn http_limits() -> HttpLimits {
        HttpLimits { body: MAX_ENVELOPE_LEN, ..HttpLimits::default() }
    }

    fn holdings(&self) -> MutexGuard<'_, Holdings> {
        // Each change of it is one call.
        self.0.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spent(&self) -> MutexGuard<'_, Spent> {
        self.0.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_id(&self, id: Address) -> Result<(), Refusal> {
        self.spent().count_id(id, Instant::now())
    }

    fn tell(&self, entry: &Entry) {
        (self.0.log)(entry);
    }

    /// Works with the store where blocking is allowed.
    async fn in_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let store = self.0.store.clone();
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => {
                self.tell(&Entry::fault(&error));
                Err(error.into())
            }
            Err(_) => Err(Cause::Internal.into()),
        }
    }
}
