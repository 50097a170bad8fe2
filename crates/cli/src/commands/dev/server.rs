//! The chain over HTTP: who may ask for what.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use galen_devchain::{Caller, DevChain, MAX_REQUEST_LEN};
use galen_services::http::{self, HttpLimits};
use tokio::net::TcpListener;

/// How long a request, or a batch, may take.
const REQUEST_TIME: Duration = Duration::from_secs(30);

/// How long a browser remembers what a preflight allowed, in seconds.
const PREFLIGHT_AGE: &str = "600";

/// Scheme of pages that are part of a browser extension.
const EXTENSIONS: [&str; 3] =
    ["chrome-extension://", "moz-extension://", "safari-web-extension://"];

/// A chain and the origins that may do everything.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    chain: DevChain,
    allowed: Arc<[String]>,
}

impl Server {
    pub(crate) fn new(chain: DevChain, allowed: Vec<String>) -> Self {
        Self { chain, allowed: allowed.into() }
    }

    /// Serves until `stop`. Requests that have begun are answered.
    pub(crate) async fn run(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let limits = HttpLimits {
            body: MAX_REQUEST_LEN,
            head: Duration::from_secs(30),
            request: REQUEST_TIME + Duration::from_secs(5),
            ..HttpLimits::default()
        };
        let router =
            Router::new().route("/", get(hello).post(answer).options(preflight)).with_state(self);
        http::serve(listener, router, limits, stop).await;
    }

    /// Who asks, or why it is not answered.
    fn caller(&self, uri: &Uri, headers: &HeaderMap) -> Result<Caller, &'static str> {
        require_host(uri, headers)?;
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(Caller::Program) };
        const REFUSED: &str = "pages of this origin are not answered\n";
        let origin = origin.to_str().map_err(|_| REFUSED)?;
        if self.allowed.iter().any(|allowed| allowed == origin) {
            Ok(Caller::Program)
        } else if is_local(origin) || EXTENSIONS.iter().any(|scheme| origin.starts_with(scheme)) {
            Ok(Caller::Page)
        } else {
            Err(REFUSED)
        }
    }
}

/// A page on the internet can make its name mean 127.0.0.1 (DNS rebinding), but not change the name that
/// the browser sends. An address means no other machine.
fn require_host(uri: &Uri, headers: &HeaderMap) -> Result<(), &'static str> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    match host.or_else(|| uri.host()).map(name_of) {
        Some(name) if is_own(name) => Ok(()),
        _ => Err("ask for localhost or an address, not for a name\n"),
    }
}

fn is_own(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// An origin on this machine.
fn is_local(origin: &str) -> bool {
    let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    rest.map(name_of).is_some_and(|name| {
        let loopback = |name: &str| name.parse::<IpAddr>().is_ok_and(|it| it.is_loopback());
        name.eq_ignore_ascii_case("localhost") || loopback(name)
    })
}

/// The name or address of `name:port`, without the brackets of IPv6.
fn name_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split_once(']').map_or("", |(address, _)| address);
    }
    authority.split_once(':').map_or(authority, |(name, _)| name)
}

async fn hello(State(server): State<Server>, uri: Uri, headers: HeaderMap) -> Response {
    if let Err(refused) = server.caller(&uri, &headers) {
        return plain(StatusCode::FORBIDDEN, refused);
    }
    plain(
        StatusCode::OK,
        "A development chain of Galen. POST JSON-RPC here (content-type: application/json).\n",
    )
}

async fn answer(
    State(server): State<Server>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let caller = match server.caller(&uri, &headers) {
        Ok(caller) => caller,
        Err(refused) => return plain(StatusCode::FORBIDDEN, refused),
    };
    // Forms and plain text are what pages can send without asking first.
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim());
    if !kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) {
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/json\n");
    }
    let deadline = Some(Instant::now() + REQUEST_TIME);
    let chain = server.chain;
    let answering =
        tokio::task::spawn_blocking(move || chain.handle_json_for(caller, deadline, &body));
    let Ok(text) = answering.await else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "the chain failed\n");
    };
    let mut response = ([(header::CONTENT_TYPE, "application/json")], text).into_response();
    allow_origin(&headers, &mut response);
    response
}

/// What a browser asks before it lets a page post JSON.
async fn preflight(State(server): State<Server>, uri: Uri, headers: HeaderMap) -> Response {
    if let Err(refused) = server.caller(&uri, &headers) {
        return plain(StatusCode::FORBIDDEN, refused);
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    allow_origin(&headers, &mut response);
    for (name, value) in [
        ("access-control-allow-methods", "POST"),
        ("access-control-allow-headers", "content-type"),
        ("access-control-allow-private-network", "true"),
        ("access-control-max-age", PREFLIGHT_AGE),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn allow_origin(request: &HeaderMap, response: &mut Response) {
    if let Some(origin) = request.get(header::ORIGIN) {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    (status, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_machines_are_not_local() {
        let hosts = [
            ("localhost", true),
            ("LOCALHOST:8545", true),
            ("127.0.0.1:8545", true),
            ("[::1]:8545", true),
            ("192.168.0.7", true),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("evil.example:8545", false),
            ("", false),
            ("[::1", false),
        ];
        for (host, expected) in hosts {
            assert_eq!(is_own(name_of(host)), expected, "{host}");
        }
        let origins = [
            ("http://localhost:3000", true),
            ("https://127.0.0.1", true),
            ("http://[::1]:1", true),
            ("http://192.168.0.7", false),
            ("http://localhost.evil.example", false),
            ("https://evil.example", false),
            ("null", false),
            ("file://localhost", false),
        ];
        for (origin, expected) in origins {
            assert_eq!(is_local(origin), expected, "{origin}");
        }
    }
}
