//! HTTP to nodes and services that stall, limit, redirect or talk nonsense: every answer in bounded time and space.

use std::{
    fmt,
    net::IpAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use reqwest::{
    Client, RequestBuilder, Response, StatusCode, Url,
    header::{self, HeaderMap},
    redirect,
};
use zeroize::Zeroizing;

use crate::{NodeFault, StorageError};

/// The first pause before a request is repeated; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause before a request is repeated, whatever the node wishes.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How much of a node's words is shown, in bytes.
const MAX_WORDS_LEN: usize = 160;

/// How much of a refusal is read, in bytes.
const REFUSAL_LIMIT: usize = 16 << 10;

/// How Galen speaks to storage nodes and services.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// How long one request may take, answer included.
    pub timeout: Duration,
    /// How often a request is repeated, over all endpoints together. Every request is safe to repeat: content is
    /// named by its bytes.
    pub retries: u32,
    /// Allows plain HTTP to other machines.
    pub allow_plain_http: bool,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), retries: 3, allow_plain_http: false }
    }
}

/// A bearer token. Not shown anywhere.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// From the text that a service gave out.
    ///
    /// # Errors
    ///
    /// [`StorageError::Setting`] if it cannot stand in a header.
    pub fn new(text: impl Into<String>) -> Result<Self, StorageError> {
        let text = Zeroizing::new(text.into());
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !plain {
            let what = "a bearer token is one word of visible characters";
            return Err(StorageError::Setting { place: "token".to_owned(), what });
        }
        Ok(Self(text))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// One or more endpoints that stand for each other.
pub(crate) struct Http {
    client: Client,
    endpoints: Vec<Endpoint>,
    token: Option<Token>,
    options: HttpOptions,
    /// The endpoint that answered last, counted on for ever.
    current: AtomicUsize,
}

struct Endpoint {
    /// Ends in a slash.
    url: Url,
    /// Scheme and host: all that may be shown of the URL.
    name: String,
}

/// An answer with a status that is neither a redirect nor worth another try.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Scheme and host of who answered.
    pub(crate) node: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// An error about this answer.
    pub(crate) fn fault(&self, action: &'static str, fault: NodeFault) -> StorageError {
        StorageError::Node { node: self.node.clone(), action, fault }
    }

    /// The error for a status that the caller has no use for.
    pub(crate) fn unexpected(&self, action: &'static str) -> StorageError {
        let status = self.status.as_u16();
        let refused = matches!(self.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        self.fault(
            action,
            if refused { NodeFault::Refused(status) } else { NodeFault::Status(status) },
        )
    }
}

/// What is asked: a path below the endpoint's URL, and what else the request needs.
pub(crate) struct Ask<'a> {
    /// For errors: what the node could not do.
    pub(crate) action: &'static str,
    /// Builds the request on the client and the URL of an endpoint, which ends in a slash; again for each try.
    pub(crate) build: &'a (dyn Fn(&Client, &Url) -> RequestBuilder + Send + Sync),
    /// The longest body of a success that makes sense, in bytes. A longer one is an error, found before it is read.
    pub(crate) limit: usize,
    /// Whether 500 is how the node says no (kubo) and not a fault that may pass.
    pub(crate) says_no_with_500: bool,
}

impl Http {
    /// Endpoints that stand for each other; asks nothing yet.
    pub(crate) fn new(
        place: &str,
        urls: &[String],
        token: Option<Token>,
        options: HttpOptions,
    ) -> Result<Self, StorageError> {
        let endpoints: Vec<_> = urls
            .iter()
            .map(|url| Endpoint::parse(place, url, options.allow_plain_http))
            .collect::<Result<_, _>>()?;
        if endpoints.is_empty() {
            return Err(StorageError::Setting { place: place.to_owned(), what: "no URL" });
        }
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(options.timeout)
            .build()
            .map_err(|_| StorageError::Setting {
                place: place.to_owned(),
                what: "TLS cannot be set up on this machine",
            })?;
        Ok(Self { client, endpoints, token, options, current: AtomicUsize::new(0) })
    }

    /// How long one request may take that does not ask for more.
    pub(crate) const fn timeout(&self) -> Duration {
        self.options.timeout
    }

    /// Scheme and host of the endpoint that is asked next.
    pub(crate) fn node(&self) -> &str {
        &self.endpoints[self.current.load(Ordering::Relaxed) % self.endpoints.len()].name
    }

    /// How many endpoints there are.
    pub(crate) const fn endpoints(&self) -> usize {
        self.endpoints.len()
    }

    /// Asks until an endpoint answers, or the retries are used up. An answer that is a refusal (4xx but 429) is an
    /// answer; redirects, 429 and 5xx are not.
    pub(crate) async fn ask(&self, ask: &Ask<'_>) -> Result<Answer, StorageError> {
        self.ask_within(self.options.timeout, ask).await
    }

    /// [`ask`](Self::ask) for what takes a node longer than a request usually may, for example to pin much content.
    pub(crate) async fn ask_within(
        &self,
        timeout: Duration,
        ask: &Ask<'_>,
    ) -> Result<Answer, StorageError> {
        let mut attempt = 0;
        loop {
            let current = self.current.load(Ordering::Relaxed);
            let endpoint = &self.endpoints[current % self.endpoints.len()];
            let failure = match self.ask_one(endpoint, timeout, ask).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            self.move_on(current);
            if attempt == self.options.retries || !failure.may_repeat() {
                return Err(StorageError::Node {
                    node: endpoint.name.clone(),
                    action: ask.action,
                    fault: failure.fault,
                });
            }
            tokio::time::sleep(failure.pause(attempt)).await;
            attempt += 1;
        }
    }

    /// The node's answer was wrong or of no use: from now on the endpoint after it is asked.
    pub(crate) fn pass_over(&self, node: &str) {
        let current = self.current.load(Ordering::Relaxed);
        if self.endpoints[current % self.endpoints.len()].name == node {
            self.move_on(current);
        }
    }

    /// Whoever fails first moves on; who failed at the same time finds the next one chosen.
    fn move_on(&self, current: usize) {
        let next = current.wrapping_add(1);
        let _ = self.current.compare_exchange(current, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    async fn ask_one(
        &self,
        endpoint: &Endpoint,
        after: Duration,
        ask: &Ask<'_>,
    ) -> Result<Answer, Failure> {
        let mut request = (ask.build)(&self.client, &endpoint.url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.0.as_str());
        }
        let exchange = async {
            let response = request.send().await.map_err(|error| unreachable(&error, after))?;
            let status = response.status();
            if status.is_redirection() {
                return Err(NodeFault::Redirect.into());
            }
            if status == StatusCode::TOO_MANY_REQUESTS {
                return Err(Failure { fault: NodeFault::RateLimited, wish: wish(&response) });
            }
            let says_no = ask.says_no_with_500 && status == StatusCode::INTERNAL_SERVER_ERROR;
            if status.is_server_error() && !says_no {
                let fault = NodeFault::Status(status.as_u16());
                return Err(Failure { fault, wish: wish(&response) });
            }
            let headers = response.headers().clone();
            let body = if status.is_success() {
                body(response, ask.limit, after).await?
            } else {
                refusal(response, after).await?
            };
            if says_no && !body.starts_with(b"{") {
                // Not the node's own words, so a fault that may pass.
                return Err(NodeFault::Status(status.as_u16()).into());
            }
            Ok(Answer { node: endpoint.name.clone(), status, headers, body })
        };
        tokio::time::timeout(after, exchange)
            .await
            .unwrap_or_else(|_| Err(NodeFault::TimedOut(after).into()))
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.endpoints.iter().map(|endpoint| &endpoint.name)).finish()
    }
}

impl Endpoint {
    fn parse(place: &str, text: &str, allow_plain_http: bool) -> Result<Self, StorageError> {
        let wrong = || StorageError::Setting {
            place: place.to_owned(),
            what: "not a URL that starts with http or https",
        };
        let mut url = Url::parse(text).map_err(|_| wrong())?;
        let host = url.host_str().ok_or_else(wrong)?;
        let name = scheme_and_host(&url, host);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let loopback = host == "localhost"
            || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        match url.scheme() {
            "https" => {}
            "http" if loopback || allow_plain_http => {}
            "http" => return Err(StorageError::PlainHttp { node: name }),
            _ => return Err(wrong()),
        }
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        Ok(Self { url, name })
    }
}

/// What may be shown of a URL; nothing of one that is wrong.
pub(crate) fn shown(url: &str) -> String {
    let url = Url::parse(url).ok();
    let shown = url.as_ref().and_then(|url| Some(scheme_and_host(url, url.host_str()?)));
    shown.unwrap_or_default()
}

fn scheme_and_host(url: &Url, host: &str) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}", url.scheme())
}

/// A try that failed.
struct Failure {
    fault: NodeFault,
    /// How long the node wishes to be left alone.
    wish: Option<Duration>,
}

impl From<NodeFault> for Failure {
    fn from(fault: NodeFault) -> Self {
        Self { fault, wish: None }
    }
}

impl Failure {
    const fn may_repeat(&self) -> bool {
        !matches!(self.fault, NodeFault::Redirect | NodeFault::TooLong(_))
    }

    fn pause(&self, attempt: u32) -> Duration {
        let ours = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX));
        self.wish.unwrap_or_default().max(ours).min(LONGEST_PAUSE)
    }
}

fn wish(response: &Response) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?;
    value.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

/// Words of a node, fit to be shown: one short line of visible characters.
pub(crate) fn inert(words: &str) -> String {
    let visible = words.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' });
    let line: String = visible.take(MAX_WORDS_LEN).collect();
    line.trim().to_owned()
}

/// What the HTTP client says, without the URL.
fn unreachable(error: &reqwest::Error, after: Duration) -> Failure {
    if error.is_timeout() {
        return NodeFault::TimedOut(after).into();
    }
    let what = if error.is_connect() { "no connection" } else { "the connection broke" };
    NodeFault::Unreachable(what.to_owned()).into()
}

/// The beginning of what somebody says who refuses. Proxies say it in whole pages, whatever was asked for.
async fn refusal(mut response: Response, after: Duration) -> Result<Bytes, Failure> {
    let mut body = BytesMut::new();
    while body.len() < REFUSAL_LIMIT
        && let Some(part) = response.chunk().await.map_err(|error| unreachable(&error, after))?
    {
        body.extend_from_slice(&part[..part.len().min(REFUSAL_LIMIT - body.len())]);
    }
    Ok(body.freeze())
}

/// The body, refused where it gets too long.
async fn body(mut response: Response, limit: usize, after: Duration) -> Result<Bytes, Failure> {
    let too_long = || Failure::from(NodeFault::TooLong(limit as u64));
    let said = response.content_length().unwrap_or_default();
    let said = usize::try_from(said).unwrap_or(usize::MAX);
    if said > limit {
        return Err(too_long());
    }
    let mut body = BytesMut::with_capacity(said);
    while let Some(part) = response.chunk().await.map_err(|error| unreachable(&error, after))? {
        if body.len() + part.len() > limit {
            return Err(too_long());
        }
        body.extend_from_slice(&part);
    }
    Ok(body.freeze())
}
