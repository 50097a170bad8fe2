//! HTTP/1.1 for services: every connection, header, body and request has a limit.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, DefaultBodyLimit},
    http::{HeaderMap, Request, Response, StatusCode, header},
    response::IntoResponse,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};
use tower::Service as _;

/// Bytes that a request's head may have.
const MAX_HEAD_LEN: usize = 16 * 1024;

/// Header fields that a request may have.
const MAX_HEADERS: usize = 64;

/// Between two tries to accept a connection when the machine has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who asks: the peer, or, if a reverse proxy is trusted to append it, whom `X-Forwarded-For` names last.
pub(crate) fn caller(trusted: bool, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
    let named = || {
        let value = headers.get_all("x-forwarded-for").iter().next_back()?;
        value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
    };
    trusted.then(named).flatten().unwrap_or_else(|| peer.ip())
}

/// What one server gives its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Connections at a time; the next waits to be accepted.
    pub connections: usize,
    /// How long a caller may take for the head of a request, and be idle between two requests.
    pub head: Duration,
    /// How long a request may take with its body, until it is answered.
    pub request: Duration,
    /// How long a connection may live. A request that is under way then is still answered.
    pub connection: Duration,
    /// Bytes of a body.
    pub body: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: 256,
            head: Duration::from_secs(10),
            request: Duration::from_secs(60),
            connection: Duration::from_secs(600),
            body: 1024 * 1024,
        }
    }
}

/// Serves `router` until `stop` is ready; then takes no new connection, answers the requests that are
/// under way and returns. Handlers find the peer as `ConnectInfo<SocketAddr>`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: HttpLimits,
    stop: impl Future<Output = ()>,
) {
    let router = router.layer(DefaultBodyLimit::max(limits.body));
    let places = Arc::new(Semaphore::new(limits.connections));
    let (stopping, stopped) = watch::channel(false);
    let accept = async {
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            let place = place.expect("the places are never closed");
            let Ok((stream, peer)) = listener.accept().await else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (router, stopped) = (router.clone(), stopped.clone());
            tokio::spawn(async move {
                connection(stream, peer, router, limits, stopped).await;
                drop(place);
            });
        }
    };
    tokio::select! {
        () = accept => {}
        () = stop => {}
    }
    drop(listener);
    stopping.send_replace(true);
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    // Connections end by themselves within the time of a request.
    let _ = timeout(limits.request, places.acquire_many(all)).await;
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: HttpLimits,
    mut stopped: watch::Receiver<bool>,
) {
    // Answers are small, and the next request waits for them.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let mut router = router.clone();
        async move {
            let answered = timeout(limits.request, router.call(request.map(Body::new))).await;
            Ok::<_, Infallible>(match answered {
                Ok(Ok(response)) => response,
                Err(_) => late(),
            })
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_LEN)
        .serve_connection(TokioIo::new(stream), answer);
    tokio::pin!(connection);
    tokio::select! {
        // A connection that breaks is the peer's affair.
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|stopped| *stopped) => {}
        () = sleep(limits.connection) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(limits.request, connection).await;
}

/// The caller, or what is asked, takes too long. The connection ends, since the rest of the body may
/// still come.
fn late() -> Response<Body> {
    (StatusCode::REQUEST_TIMEOUT, [(header::CONNECTION, "close")], "the request took too long\n")
        .into_response()
}
