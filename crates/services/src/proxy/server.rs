//! The routes.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Bytes as Body,
    extract::{ConnectInfo, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use galen_chain::Standing;
use galen_sdk::proxies::wire::{KeyAnswers, MAX_ASK_LEN, Offers, PieceAnswer, Report, Status};
use serde::de::DeserializeOwned;

use super::{
    Proxy,
    look::Head,
    refusal::Refusal,
    rules::{Cause, require_head},
    telling::Entry,
};

/// How long a status is good for: asking for it costs the nodes something.
const STATUS_AGE: Duration = Duration::from_secs(2);

/// A status and when it was made.
#[derive(Clone, Debug)]
pub(super) struct Known {
    since: Instant,
    status: Status,
}

/// Who calls, and what was sent.
struct Call {
    caller: IpAddr,
    body: Result<Body, BytesRejection>,
}

impl Proxy {
    /// The routes, for [`crate::http::serve`].
    pub fn router(&self) -> Router {
        Router::new()
            .route("/", get(|| async { "Galen proxy. See GET /v1/status.\n" }))
            .route("/v1/shares", post(post_shares))
            .route("/v1/pieces", post(post_pieces))
            .route("/v1/keys", post(post_keys))
            .route("/v1/offers", post(post_offers))
            .route("/v1/report", post(post_report))
            .route("/v1/release", post(post_release))
            .route("/v1/status", get(get_status))
            .route("/healthz", get(get_health))
            .route("/metrics", get(get_metrics))
            .with_state(self.clone())
    }

    /// What a request comes to, counted and told.
    async fn served<T>(
        &self,
        what: &'static str,
        caller: IpAddr,
        work: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        // Not a temporary of the match: a lock is not held while others work.
        let counted = self.spent().count_caller(caller, Instant::now());
        let answer = match counted {
            Ok(()) => work.await,
            Err(refusal) => Err(refusal),
        };
        if let Err(Refusal { cause, detail, .. }) = &answer {
            self.0.metrics.refused(*cause);
            self.tell(&Entry::Refused { caller, what, cause: *cause, detail: *detail });
        }
        answer
    }

    fn call(
        &self,
        peer: SocketAddr,
        headers: &HeaderMap,
        body: Result<Body, BytesRejection>,
    ) -> Call {
        let caller = crate::http::caller(self.0.trust_forwarded_for, peer, headers);
        Call { caller, body }
    }

    async fn status(&self) -> Status {
        let mut known = self.0.status.lock().await;
        if let Some(known) = known.as_ref().filter(|known| known.since.elapsed() < STATUS_AGE) {
            return known.status.clone();
        }
        let policy = self.0.policy;
        let seen =
            self.look(|_, head| (*head, require_head(&head.now(Standing::None), &policy))).await;
        let fault = |refusal: Refusal| {
            let Refusal { cause, detail, .. } = refusal;
            detail.map_or(cause.sentence().to_owned(), |it| format!("{}: {it}", cause.sentence()))
        };
        let (head, fault) = match seen {
            Ok((head, Ok(_))) => (Some(head), None),
            Ok((head, Err(cause))) => (Some(head), Some(fault(cause.into()))),
            Err(refusal) => (None, Some(fault(refusal))),
        };
        let ledger = self.0.galen.ledger().id();
        let head = head.unwrap_or(Head { number: 0, time: 0, final_block: None, clock: 0 });
        let status = Status {
            proxy: self.id(),
            chain_id: ledger.chain_id,
            ledger: ledger.contract,
            head: head.number,
            head_time: head.time,
            final_block: head.final_block,
            nodes: self.0.nodes,
            window: self.0.policy.window,
            fault,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        *known = Some(Known { since: Instant::now(), status: status.clone() });
        status
    }
}

impl Call {
    fn bytes(self) -> Result<Body, Refusal> {
        self.body.map_err(|_| Refusal::new(Cause::Malformed, "the body is too long, or cut off"))
    }

    fn json<T: DeserializeOwned>(self) -> Result<T, Refusal> {
        let body = self.bytes()?;
        if body.len() > MAX_ASK_LEN {
            return Err(Refusal::new(Cause::Malformed, "the body is too long"));
        }
        serde_json::from_slice(&body)
            .map_err(|_| Refusal::new(Cause::Malformed, "the body has another shape"))
    }
}

/// Work that goes on to its end if the caller hangs up: what was written down, reserved and told belongs together.
async fn whole<T: Send + 'static>(
    work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::spawn(work).await.unwrap_or(Err(Refusal::new(Cause::Internal, "the task is gone")))
}

/// What a handler gets of the body.
type Sent = Result<Body, BytesRejection>;

async fn post_shares(
    State(proxy): State<Proxy>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Sent,
) -> Result<StatusCode, Refusal> {
    let call = proxy.call(peer, &headers, body);
    let (caller, own) = (call.caller, proxy.clone());
    let work = whole(async move { own.take_shares(&call.bytes()?).await });
    proxy.served("shares", caller, work).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn post_pieces(
    State(proxy): State<Proxy>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Sent,
) -> Result<StatusCode, Refusal> {
    let call = proxy.call(peer, &headers, body);
    let (caller, own) = (call.caller, proxy.clone());
    let work = whole(async move { own.take_piece(&call.bytes()?).await });
    proxy.served("pieces", caller, work).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn post_keys(
    State(proxy): State<Proxy>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Sent,
) -> Result<Json<KeyAnswers>, Refusal> {
    let call = proxy.call(peer, &headers, body);
    let (caller, own) = (call.caller, proxy.clone());
    let work = whole(async move { own.keys(call.json()?).await });
    proxy.served("keys", caller, work).await.map(Json)
}

async fn post_offers(
    State(proxy): State<Proxy>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Sent,
) -> Result<Json<Offers>, Refusal> {
    let call = proxy.call(peer, &headers, body);
    let work = async |call: Call| proxy.offers(call.json()?).await;
    proxy.served("offers", call.caller, work(call)).await.map(Json)
}

async fn post_report(
    State(proxy): State<Proxy>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Sent,
) -> Result<Json<Report>, Refusal> {
    let call = proxy.call(peer, &headers, body);
    let work = async |call: Call| proxy.report(call.json()?).await;
    proxy.served("report", call.caller, work(call)).await.map(Json)
}

async fn post_release(
    State(proxy): State<Proxy>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Sent,
) -> Result<Json<PieceAnswer>, Refusal> {
    let call = proxy.call(peer, &headers, body);
    let (caller, own) = (call.caller, proxy.clone());
    let work = whole(async move { own.release(call.json()?).await });
    proxy.served("release", caller, work).await.map(Json)
}

async fn get_status(State(proxy): State<Proxy>) -> Json<Status> {
    Json(proxy.status().await)
}

async fn get_health(State(proxy): State<Proxy>) -> (StatusCode, String) {
    match proxy.status().await.fault {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(fault) => (StatusCode::SERVICE_UNAVAILABLE, format!("{fault}\n")),
    }
}

async fn get_metrics(State(proxy): State<Proxy>) -> String {
    proxy.0.metrics.text(proxy.consents())
}
