//! The relay: submits signed messages and pays the gas, within limits.
//!
//! A relay cannot forge, change or read anything: what it sends is signed by others for one ledger, and
//! is public once it is sent. It can refuse and delay; whoever is refused takes another relay or pays.
//! It learns which network address asked for which id.
//!
//! What it is protected from: calls that the contract refuses are simulated first and cost nothing; calls
//! without a signature, which the contract would take for the relay's own, are not sent, nor are calls
//! that its own wallet is a silent party to; gas is bounded for each call, caller, id and day. What
//! remains: a contract wallet (ERC-1271) can change its mind between simulation and block, and make the
//! relay pay for a failed transaction, within those bounds.
//!
//! | request | answer |
//! |---|---|
//! | `POST /v1/calls` with `{"chainId":n,"to":"0x…","data":"0x…"}` | `{"transaction":"0x…"}` once it is signed, saved and sent, or `{"error","kind","help"}` |
//! | `GET /v1/calls/<transaction>` | `{"transaction":"0x…"}`: the version that is on its way now, since a stuck one is replaced |
//! | `GET /v1/status` | chain, contracts, wallet, limits, functions |
//! | `GET /metrics` | counts in the text format of Prometheus |

mod call;
pub(crate) mod limits;
mod report;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use alloy::{
    network::{Ethereum, TransactionBuilder},
    providers::{DynProvider, Provider},
    rpc::types::TransactionRequest,
};
use alloy_primitives::{Address, B256, Bytes, U256};
use axum::{
    Json, Router,
    body::Bytes as Body,
    extract::{ConnectInfo, Path, State, rejection::BytesRejection},
    http::HeaderMap,
    routing::{get, post},
};
use galen_chain::{ChainError, Ledger, Payer, Standing, Submitted};
use serde::{Deserialize, Serialize};
use tokio::sync::{OnceCell, Semaphore};

use self::{call::SignedCall, limits::Spent, report::Metrics};
pub use self::{
    call::{CONSORTIUM_FUNCTIONS, LEDGER_FUNCTIONS, MAX_CALL_LEN},
    limits::RelayLimits,
    report::Entry,
};
use crate::{error::RelayError, http::HttpLimits};

/// Longest body: a call in hex with its frame.
const MAX_BODY_LEN: usize = 2 * MAX_CALL_LEN + 1_024;

/// Calls that are remembered, so that none is paid for twice.
const MAX_REMEMBERED: usize = 100_000;

/// How long a call waits for one of the places.
const PLACE_PATIENCE: Duration = Duration::from_secs(20);

/// How long what is known of wallet and gas price is good for.
const PURSE_AGE: Duration = Duration::from_secs(2);

/// What a relay is made of.
#[derive(Debug)]
pub struct RelayConfig {
    /// The ledger.
    pub ledger: Ledger,
    /// The node.
    pub provider: DynProvider<Ethereum>,
    /// The wallet that pays, with its queue. It should control no id: see [`Relay::new`].
    pub payer: Payer,
    /// How much is sent.
    pub limits: RelayLimits,
    /// Whether a reverse proxy stands before the relay and appends the caller's address to
    /// `X-Forwarded-For`. Without one, callers could write there what they like.
    pub trust_forwarded_for: bool,
}

/// A relay for one ledger.
#[derive(Clone, Debug)]
pub struct Relay(Arc<Inner>);

struct Inner {
    config: RelayConfig,
    wallet: Address,
    consortium: Address,
    places: Semaphore,
    spent: Mutex<Spent>,
    remembered: Mutex<HashMap<B256, Remembered>>,
    purse: tokio::sync::Mutex<Option<(Instant, Purse)>>,
    metrics: Metrics,
    log: Box<dyn Fn(&Entry) + Send + Sync>,
}

/// A call and its transaction, once there is one.
#[derive(Clone)]
struct Remembered {
    since: Instant,
    transaction: Arc<OnceCell<B256>>,
}

/// What the wallet holds, and what gas costs.
#[derive(Clone, Copy)]
struct Purse {
    balance: U256,
    fee: u128,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").field("config", &self.config).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CallRequest {
    chain_id: u64,
    to: Address,
    data: Bytes,
}

#[derive(Serialize)]
struct CallAnswer {
    transaction: B256,
}

impl Relay {
    /// A relay that tells `log` of every call.
    ///
    /// # Errors
    ///
    /// - [`ChainError::Invalid`]: the wallet has a standing in the network, and who has one must not lend
    ///   it to everybody; or the payer is a relay itself.
    /// - The node does not answer.
    pub async fn new(
        config: RelayConfig,
        log: impl Fn(&Entry) + Send + Sync + 'static,
    ) -> Result<Self, ChainError> {
        let wallet = config.payer.address();
        let wallet = wallet.ok_or(ChainError::Invalid("a relay pays from a wallet of its own"))?;
        if config.ledger.participant(wallet).await?.standing != Standing::None {
            return Err(ChainError::Invalid(
                "the relay's wallet belongs to an organization of the network; use one that is nobody's",
            ));
        }
        let consortium = config.ledger.consortium().await?;
        Ok(Self(Arc::new(Inner {
            wallet,
            consortium,
            places: Semaphore::new(config.limits.concurrency),
            spent: Mutex::new(Spent::new(config.limits)),
            remembered: Mutex::default(),
            purse: tokio::sync::Mutex::default(),
            metrics: Metrics::default(),
            log: Box::new(log),
            config,
        })))
    }

    /// The routes, for [`crate::http::serve`].
    pub fn router(&self) -> Router {
        Router::new()
            .route("/", get(|| async { "Galen relay. See GET /v1/status.\n" }))
            .route("/v1/calls", post(post_call))
            .route("/v1/calls/{transaction}", get(get_call))
            .route("/v1/status", get(get_status))
            .route("/metrics", get(get_metrics))
            .with_state(self.clone())
    }

    /// Limits of the HTTP server that fit a relay.
    pub fn http_limits() -> HttpLimits {
        HttpLimits { body: MAX_BODY_LEN, ..HttpLimits::default() }
    }

    /// Sends a call, or finds the transaction that carries it already.
    async fn submit(&self, caller: IpAddr, request: CallRequest) -> Result<B256, RelayError> {
        let inner = &self.0;
        lock(&inner.spent).count_caller(caller, Instant::now())?;
        let ledger = inner.config.ledger.id();
        if request.chain_id != ledger.chain_id {
            return Err(RelayError::Elsewhere("chain"));
        }
        let call = match request.to {
            to if to == ledger.contract => SignedCall::ledger(to, request.data)?,
            to if to == inner.consortium => SignedCall::consortium(to, request.data)?,
            _ => return Err(RelayError::Elsewhere("contract")),
        };
        let cell = self.remember(call.key())?;
        if let Some(transaction) = cell.get() {
            inner.metrics.repeated.fetch_add(1, Ordering::Relaxed);
            return Ok(*transaction);
        }
        // A caller that hangs up does not stop what is being sent: it runs to its end, and the next
        // who sends the same call is answered with it.
        let relay = self.clone();
        let sending = tokio::spawn(async move {
            let key = call.key();
            let sent = cell.get_or_try_init(|| relay.send(key, call)).await;
            sent.copied()
        });
        sending.await.unwrap_or(Err(RelayError::Internal))
    }

    /// A request and its answer, counted and told.
    async fn answer(&self, caller: IpAddr, request: CallRequest) -> Result<B256, RelayError> {
        let answer = self.submit(caller, request).await;
        if let Err(error) = &answer {
            self.0.metrics.count(error);
            (self.0.log)(&Entry::refused(caller, error));
        }
        answer
    }

    /// The place of this call among those of the window.
    fn remember(&self, key: B256) -> Result<Arc<OnceCell<B256>>, RelayError> {
        let (now, window) = (Instant::now(), self.0.config.limits.repeat_window);
        let mut remembered = lock(&self.0.remembered);
        let old = |it: &Remembered| now.duration_since(it.since) >= window;
        if remembered.len() >= MAX_REMEMBERED {
            // A call that is being sent is held by its task, too.
            remembered.retain(|_, it| !old(it) && (it.transaction.initialized() || held(it)));
            if remembered.len() >= MAX_REMEMBERED {
                return Err(RelayError::Limited { what: "too many calls at once", retry: window });
            }
        }
        let fresh = || Remembered { since: now, transaction: Arc::default() };
        let entry = remembered.entry(key).or_insert_with(fresh);
        if old(entry) && !held(entry) {
            *entry = fresh();
        }
        Ok(Arc::clone(&entry.transaction))
    }

    /// Simulates, reserves and sends.
    async fn send(&self, key: B256, call: SignedCall) -> Result<B256, RelayError> {
        let inner = &self.0;
        let place = tokio::time::timeout(PLACE_PATIENCE, inner.places.acquire()).await;
        let busy = RelayError::Limited { what: "the relay is busy", retry: PLACE_PATIENCE };
        let _place = place.map_err(|_| busy)?.map_err(|_| RelayError::Internal)?;
        self.require_no_party(&call).await?;
        let request = TransactionRequest::default()
            .with_from(inner.wallet)
            .with_to(call.to)
            .with_input(call.data.clone());
        // A call that the contract refuses ends here and costs nothing.
        let gas = inner.config.provider.estimate_gas(request).await.map_err(ChainError::from)?;
        self.require_funds(gas).await?;
        lock(&inner.spent).reserve(call.id, gas, Instant::now())?;
        let sent = self.pay(key, &call).await;
        if sent.is_err() {
            lock(&inner.spent).release(call.id, gas);
        }
        sent
    }

    /// Refuses what would count the relay's own wallet as a cosigner or guardian.
    async fn require_no_party(&self, call: &SignedCall) -> Result<(), RelayError> {
        let config = &self.0.config;
        for id in &call.unsigned {
            if config.ledger.participant(*id).await?.controller == self.0.wallet {
                return Err(RelayError::OwnParty);
            }
        }
        Ok(())
    }

    async fn require_funds(&self, gas: u64) -> Result<(), RelayError> {
        let purse = self.purse().await?;
        if purse.fee > self.0.config.limits.max_fee_per_gas {
            return Err(RelayError::GasPrice);
        }
        // As much again, since the base fee can rise and others are being sent.
        if purse.balance < U256::from(purse.fee) * U256::from(2 * gas) {
            return Err(RelayError::WalletLow);
        }
        Ok(())
    }

    async fn purse(&self) -> Result<Purse, RelayError> {
        let mut known = self.0.purse.lock().await;
        if let Some((_, purse)) = known.filter(|(since, _)| since.elapsed() < PURSE_AGE) {
            return Ok(purse);
        }
        let config = &self.0.config;
        let balance = config.provider.get_balance(self.0.wallet).await.map_err(ChainError::from)?;
        let fee = config.provider.get_gas_price().await.map_err(ChainError::from)?;
        let purse = Purse { balance, fee };
        *known = Some((Instant::now(), purse));
        Ok(purse)
    }

    /// Hands the call to the wallet that pays; its queue sees to it that it lands.
    async fn pay(&self, key: B256, call: &SignedCall) -> Result<B256, RelayError> {
        let request = TransactionRequest::default().with_to(call.to).with_input(call.data.clone());
        let submitted = self.0.config.payer.submit(request).await?;
        self.0.metrics.sent.fetch_add(1, Ordering::Relaxed);
        (self.0.log)(&Entry::sent(call, submitted.transaction));
        let transaction = submitted.transaction;
        tokio::spawn(self.clone().land(key, submitted));
        Ok(transaction)
    }

    /// Waits for the block, however long it takes.
    async fn land(self, key: B256, submitted: Submitted) {
        let Inner { config, metrics, log, remembered, .. } = &*self.0;
        let transaction = submitted.transaction;
        loop {
            match config.payer.land(&submitted).await {
                Ok(sent) => {
                    metrics.gas.fetch_add(sent.gas, Ordering::Relaxed);
                    log(&Entry::Landed { transaction, block: sent.block, gas: sent.gas });
                    return;
                }
                Err(ChainError::NotMined { .. }) => log(&Entry::Waiting { transaction }),
                Err(error) => {
                    // Whoever asked for it sees that it failed, and may try again.
                    lock(remembered).remove(&key);
                    metrics.failed.fetch_add(1, Ordering::Relaxed);
                    log(&Entry::lost(transaction, &error));
                    return;
                }
            }
        }
    }

    /// Sees to what an earlier process of this relay sent and did not see landing.
    ///
    /// # Errors
    ///
    /// As [`Payer::resume`].
    pub async fn resume(&self) -> Result<(), ChainError> {
        let Inner { config, metrics, log, .. } = &*self.0;
        let pending = config.payer.pending().await?;
        for resumed in config.payer.resume().await? {
            let of = pending.iter().find(|it| it.nonce == resumed.nonce);
            let transaction = of.and_then(|it| it.transactions.first()).copied();
            match resumed.outcome {
                Ok(sent) => {
                    metrics.gas.fetch_add(sent.gas, Ordering::Relaxed);
                    let transaction = sent.transaction;
                    log(&Entry::Landed { transaction, block: sent.block, gas: sent.gas });
                }
                Err(error) => log(&Entry::lost(transaction.unwrap_or_default(), &error)),
            }
        }
        Ok(())
    }

    fn caller(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        crate::http::caller(self.0.config.trust_forwarded_for, peer, headers)
    }
}

/// Whether a task still holds the call.
fn held(remembered: &Remembered) -> bool {
    Arc::strong_count(&remembered.transaction) > 1
}

/// Counts and maps hold together after a panic elsewhere.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn post_call(
    State(relay): State<Relay>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Result<Body, BytesRejection>,
) -> Result<Json<CallAnswer>, RelayError> {
    let body = body.map_err(|_| RelayError::BadRequest("the body is too long, or was cut off"))?;
    let request = serde_json::from_slice(&body)
        .map_err(|_| RelayError::BadRequest("the body has another shape"))?;
    let transaction = relay.answer(relay.caller(peer, &headers), request).await?;
    Ok(Json(CallAnswer { transaction }))
}

/// The newest version of a transaction that the queue knows.
async fn get_call(
    State(relay): State<Relay>,
    Path(transaction): Path<B256>,
) -> Result<Json<CallAnswer>, RelayError> {
    let versions = relay.0.config.payer.versions(transaction).await?;
    let transaction = versions.last().copied().ok_or(RelayError::Unknown)?;
    Ok(Json(CallAnswer { transaction }))
}

async fn get_status(State(relay): State<Relay>) -> Result<Json<report::Status>, RelayError> {
    let funded = relay.require_funds(relay.0.config.limits.gas_per_call).await;
    let gas_today = lock(&relay.0.spent).gas_today();
    let contracts = report::Parties { consortium: relay.0.consortium, wallet: relay.0.wallet };
    Ok(Json(report::Status::new(&relay.0.config, contracts, funded.is_ok(), gas_today)))
}

async fn get_metrics(State(relay): State<Relay>) -> String {
    let gas_today = lock(&relay.0.spent).gas_today();
    relay.0.metrics.text(gas_today)
}
