//! The routes.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Bytes as Body,
    extract::{
        ConnectInfo, FromRequest, FromRequestParts, Request, State, rejection::BytesRejection,
    },
    http::StatusCode,
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

/// What somebody sends to a proxy by POST.
struct Call {
    proxy: Proxy,
    caller: IpAddr,
    sent: Sent,
}

/// A body; one that did not come whole is a refusal only once the call is counted.
struct Sent(Result<Body, BytesRejection>);

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

impl FromRequest<Proxy> for Call {
    type Rejection = <ConnectInfo<SocketAddr> as FromRequestParts<Proxy>>::Rejection;

    async fn from_request(request: Request, proxy: &Proxy) -> Result<Self, Self::Rejection> {
        let (mut parts, body) = request.into_parts();
        let ConnectInfo(peer) = ConnectInfo::from_request_parts(&mut parts, proxy).await?;
        let caller = crate::http::caller(proxy.0.trust_forwarded_for, peer, &parts.headers);
        let sent = Body::from_request(Request::from_parts(parts, body), proxy).await;
        Ok(Self { proxy: proxy.clone(), caller, sent: Sent(sent) })
    }
}

impl Call {
    /// What the call comes to, counted and told.
    async fn served<T, W>(
        self,
        what: &'static str,
        work: impl FnOnce(Proxy, Sent) -> W,
    ) -> Result<T, Refusal>
    where
        W: Future<Output = Result<T, Refusal>>,
    {
        let Self { proxy, caller, sent } = self;
        // Not a temporary of the match: a lock is not held while others work.
        let counted = proxy.spent().count_caller(caller, Instant::now());
        let answer = match counted {
            Ok(()) => work(proxy.clone(), sent).await,
            Err(refusal) => Err(refusal),
        };
        if let Err(Refusal { cause, detail, .. }) = &answer {
            proxy.0.metrics.refused(*cause);
            proxy.tell(&Entry::Refused { caller, what, cause: *cause, detail: *detail });
        }
        answer
    }

    /// The same for work that goes on to its end if the caller hangs up: what was written down, reserved and told
    /// belongs together.
    async fn served_whole<T, W>(
        self,
        what: &'static str,
        work: impl FnOnce(Proxy, Sent) -> W,
    ) -> Result<T, Refusal>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Refusal>> + Send + 'static,
    {
        let gone = |_| Err(Refusal::new(Cause::Internal, "the task is gone"));
        let work = |proxy, sent| tokio::spawn(work(proxy, sent));
        self.served(what, async |proxy, sent| work(proxy, sent).await.unwrap_or_else(gone)).await
    }
}

impl Sent {
    fn bytes(self) -> Result<Body, Refusal> {
        self.0.map_err(|_| Refusal::new(Cause::Malformed, "the body is too long, or cut off"))
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

async fn post_shares(call: Call) -> Result<StatusCode, Refusal> {
    let work = async |proxy: Proxy, sent: Sent| proxy.take_shares(&sent.bytes()?).await;
    call.served_whole("shares", work).await.map(|()| StatusCode::NO_CONTENT)
}

async fn post_pieces(call: Call) -> Result<StatusCode, Refusal> {
    let work = async |proxy: Proxy, sent: Sent| proxy.take_piece(&sent.bytes()?).await;
    call.served_whole("pieces", work).await.map(|()| StatusCode::NO_CONTENT)
}

async fn post_keys(call: Call) -> Result<Json<KeyAnswers>, Refusal> {
    let work = async |proxy: Proxy, sent: Sent| proxy.keys(sent.json()?).await;
    call.served_whole("keys", work).await.map(Json)
}

async fn post_offers(call: Call) -> Result<Json<Offers>, Refusal> {
    let work = async |proxy: Proxy, sent: Sent| proxy.offers(sent.json()?).await;
    call.served("offers", work).await.map(Json)
}

async fn post_report(call: Call) -> Result<Json<Report>, Refusal> {
    let work = async |proxy: Proxy, sent: Sent| proxy.report(sent.json()?).await;
    call.served("report", work).await.map(Json)
}

async fn post_release(call: Call) -> Result<Json<PieceAnswer>, Refusal> {
    let work = async |proxy: Proxy, sent: Sent| proxy.release(sent.json()?).await;
    call.served_whole("release", work).await.map(Json)
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
