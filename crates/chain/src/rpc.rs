//! HTTP to nodes that stall, forget, limit or talk nonsense: every answer in bounded time and space.

mod agreeing;

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use alloy::{
    network::Ethereum,
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::{
        client::RpcClient,
        json_rpc::{self as rpc, ErrorPayload, Id, RequestPacket, ResponsePacket},
    },
    transports::{TransportError, TransportFut},
};
use alloy_primitives::U64;
use reqwest::{Client, Response, StatusCode, Url, header, redirect};
use tower::Service;

pub use self::agreeing::{Agreeing, NodeStatus, NodesStatus, agreeing, connect_agreeing};
use crate::{ChainError, error::shown};

/// The first pause before a read is repeated; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The longest pause before a read is repeated, whatever the node wishes.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How Galen speaks to nodes.
#[derive(Clone, Debug)]
pub struct RpcOptions {
    /// How long one request may take, answer included.
    pub timeout: Duration,
    /// How often a read is repeated, over all nodes together. What changes the chain is never repeated
    /// here; the queue does that.
    pub retries: u32,
    /// The longest answer, in bytes.
    pub max_response: usize,
    /// Allows plain HTTP to other machines.
    pub allow_plain_http: bool,
    /// The chain that every node must follow; each is asked before its first answer counts.
    pub chain_id: Option<u64>,
}

impl Default for RpcOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(20),
            retries: 3,
            max_response: 64 << 20,
            allow_plain_http: false,
            chain_id: None,
        }
    }
}

/// Connects to one chain by the URLs of one or more of its nodes. Asks nothing yet.
///
/// Reads go to the node that answered last and, when it fails, to the next. The longest that a read
/// takes is `timeout × (retries + 1)` and a pause of at most 5 s before each retry. Redirects are not
/// followed, proxies of the environment not used. Errors name a node by scheme and host alone, since
/// the rest of a URL often is a secret.
///
/// # Errors
///
/// - [`ChainError::Invalid`]: no URL, or one that is not http or https.
/// - [`ChainError::PlainHttp`]: plain HTTP to another machine, and `allow_plain_http` is not set.
pub fn connect(
    urls: &[impl AsRef<str>],
    options: RpcOptions,
) -> Result<DynProvider<Ethereum>, ChainError> {
    let nodes: Vec<Node> = urls
        .iter()
        .map(|url| Node::parse(url.as_ref(), options.allow_plain_http))
        .collect::<Result<_, _>>()?;
    if nodes.is_empty() {
        return Err(ChainError::Invalid("no URL of a node"));
    }
    let client = client(options.timeout)?;
    let local = nodes.iter().all(|node| node.loopback);
    let inner = Inner { client, nodes, options, current: AtomicUsize::new(0) };
    let client = RpcClient::new(Nodes(Arc::new(inner)), local);
    Ok(ProviderBuilder::default().connect_client(client).erased())
}

/// An HTTP client that stays where it is sent.
pub(crate) fn client(timeout: Duration) -> Result<Client, ChainError> {
    Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(timeout)
        .build()
        .map_err(|_| ChainError::Invalid("TLS cannot be set up on this machine"))
}

/// Where a node or relay answers.
pub(crate) struct Node {
    pub(crate) url: Url,
    /// Scheme and host: all that may be shown of the URL.
    pub(crate) name: String,
    loopback: bool,
    /// Whether the node named the right chain.
    checked: AtomicBool,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Node {
    pub(crate) fn parse(text: &str, allow_plain_http: bool) -> Result<Self, ChainError> {
        const NOT_A_URL: ChainError =
            ChainError::Invalid("not a URL that starts with http or https");
        let url = Url::parse(text).map_err(|_| NOT_A_URL)?;
        let host = url.host_str().ok_or(NOT_A_URL)?;
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let name = format!("{}://{host}{port}", url.scheme());
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let loopback = host == "localhost"
            || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        match url.scheme() {
            "https" => {}
            "http" if loopback || allow_plain_http => {}
            "http" => return Err(ChainError::PlainHttp { node: name }),
            _ => return Err(NOT_A_URL),
        }
        Ok(Self { url, name, loopback, checked: AtomicBool::new(false) })
    }

    /// What the HTTP client says, without the URL.
    pub(crate) fn failure(&self, error: reqwest::Error, after: Duration) -> ChainError {
        let node = self.name.clone();
        if error.is_timeout() {
            return ChainError::TimedOut { node, after };
        }
        let mut deepest: &dyn std::error::Error = &error;
        while let Some(source) = deepest.source() {
            deepest = source;
        }
        // The outermost error names the URL; a cause does not.
        let what = if deepest.source().is_none() && std::error::Error::source(&error).is_some() {
            shown(&deepest.to_string())
        } else {
            "the connection broke".to_owned()
        };
        ChainError::Unreachable { node, what }
    }

    /// The body, cut off where it gets too long.
    pub(crate) async fn body(
        &self,
        mut response: Response,
        limit: usize,
        after: Duration,
    ) -> Result<Vec<u8>, ChainError> {
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|e| self.failure(e, after))? {
            if body.len() + part.len() > limit {
                return Err(ChainError::TooLarge { node: self.name.clone(), limit });
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }
}

struct Inner {
    client: Client,
    nodes: Vec<Node>,
    options: RpcOptions,
    /// The node that answered last, counted on for ever.
    current: AtomicUsize,
}

/// The transport.
#[derive(Clone)]
struct Nodes(Arc<Inner>);

impl Service<RequestPacket> for Nodes {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { inner.answer(packet).await.map_err(Into::into) })
    }
}

impl Inner {
    /// Asks until somebody answers, or the retries are used up.
    async fn answer(&self, packet: RequestPacket) -> Result<ResponsePacket, ChainError> {
        let body = serde_json::to_vec(&packet)
            .map_err(|_| ChainError::Invalid("the request has no JSON form"))?;
        let ids: Vec<Id> = packet.requests().iter().map(|request| request.id().clone()).collect();
        let retries = if packet.method_names().all(is_read) { self.options.retries } else { 0 };
        let mut attempt = 0;
        loop {
            let current = self.current.load(Ordering::Relaxed);
            let node = &self.nodes[current % self.nodes.len()];
            let error = match self.ask(node, &body, &packet, &ids).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            // Whoever fails first moves on; who failed at the same time finds the next one chosen.
            let next = current.wrapping_add(1);
            let _ =
                self.current.compare_exchange(current, next, Ordering::Relaxed, Ordering::Relaxed);
            if attempt == retries || !may_repeat(&error) {
                return Err(error);
            }
            tokio::time::sleep(pause(attempt, Some(&error))).await;
            attempt += 1;
        }
    }

    async fn ask(
        &self,
        node: &Node,
        body: &[u8],
        packet: &RequestPacket,
        ids: &[Id],
    ) -> Result<ResponsePacket, ChainError> {
        if let Some(expected) = self.options.chain_id
            && !node.checked.load(Ordering::Relaxed)
        {
            self.check_chain(node, expected).await?;
        }
        let single = matches!(packet, RequestPacket::Single(_));
        self.exchange(node, body.to_vec(), single, ids).await
    }

    async fn check_chain(&self, node: &Node, expected: u64) -> Result<(), ChainError> {
        const ASK: &[u8] = br#"{"jsonrpc":"2.0","id":0,"method":"eth_chainId","params":[]}"#;
        let answer = self.exchange(node, ASK.to_vec(), true, &[Id::Number(0)]).await?;
        let found = answer
            .single_payload()
            .and_then(|payload| payload.as_success())
            .and_then(|value| serde_json::from_str::<U64>(value.get()).ok())
            .ok_or_else(|| node.malformed("not a chain id"))?
            .to::<u64>();
        if found != expected {
            return Err(ChainError::OtherChain { node: node.name.clone(), expected, found });
        }
        node.checked.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// One request and its answer within the timeout.
    async fn exchange(
        &self,
        node: &Node,
        body: Vec<u8>,
        single: bool,
        ids: &[Id],
    ) -> Result<ResponsePacket, ChainError> {
        let after = self.options.timeout;
        let exchange = async {
            let request = self.client.post(node.url.clone());
            let request = request.header(header::CONTENT_TYPE, "application/json").body(body);
            let response = request.send().await.map_err(|error| node.failure(error, after))?;
            let status = response.status();
            if status == StatusCode::TOO_MANY_REQUESTS {
                let retry_after = retry_after(&response);
                return Err(ChainError::RateLimited { node: node.name.clone(), retry_after });
            }
            let body = node.body(response, self.options.max_response, after).await?;
            // Some nodes answer a refused call with a status of their own and proper JSON-RPC.
            match node.parse_answer(&body, single, ids) {
                Ok(answer) => Ok(answer),
                Err(_) if !status.is_success() => {
                    Err(ChainError::HttpStatus { node: node.name.clone(), status: status.as_u16() })
                }
                Err(error) => Err(error),
            }
        };
        tokio::time::timeout(after, exchange)
            .await
            .unwrap_or_else(|_| Err(ChainError::TimedOut { node: node.name.clone(), after }))
    }
}

impl Node {
    fn malformed(&self, what: &'static str) -> ChainError {
        ChainError::Malformed { node: self.name.clone(), what }
    }

    fn parse_answer(
        &self,
        body: &[u8],
        single: bool,
        ids: &[Id],
    ) -> Result<ResponsePacket, ChainError> {
        let answer: ResponsePacket =
            serde_json::from_slice(body).map_err(|_| self.malformed("not JSON-RPC"))?;
        let fits = match &answer {
            ResponsePacket::Single(response) if response.payload.is_error() => {
                // An error that concerns the whole request need not name it.
                single && (response.id == ids[0] || response.id == Id::None)
            }
            ResponsePacket::Single(response) => single && response.id == ids[0],
            ResponsePacket::Batch(responses) => {
                let named = |id: &Id| responses.iter().any(|response| response.id == *id);
                !single && responses.len() == ids.len() && ids.iter().all(named)
            }
        };
        if answer.iter_errors().any(is_rate_limit) {
            return Err(ChainError::RateLimited { node: self.name.clone(), retry_after: None });
        }
        if !fits {
            return Err(self.malformed("an answer to another question"));
        }
        Ok(match answer {
            ResponsePacket::Single(response) => {
                ResponsePacket::Single(rpc::Response { id: ids[0].clone(), ..response })
            }
            batch => batch,
        })
    }
}

/// Some providers use the same code for too many requests and for too large an answer. The second does
/// not get better with time.
fn is_rate_limit(error: &ErrorPayload) -> bool {
    error.is_retry_err()
        && !["result", "range", "header not found"].iter().any(|word| error.message.contains(word))
}

/// Asking twice changes nothing.
fn is_read(method: &str) -> bool {
    let namespaces = ["eth_", "net_", "web3_", "debug_", "txpool_"];
    namespaces.iter().any(|namespace| method.starts_with(namespace))
        && !method.starts_with("eth_send")
}

/// Another try, or another node, may do better.
const fn may_repeat(error: &ChainError) -> bool {
    match error {
        ChainError::HttpStatus { status, .. } => *status >= 500 || *status == 408,
        ChainError::Unreachable { .. }
        | ChainError::TimedOut { .. }
        | ChainError::RateLimited { .. }
        | ChainError::Malformed { .. } => true,
        _ => false,
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

/// Twice as long each time, of which a random half: clients that failed together do not return together.
fn pause(attempt: u32, error: Option<&ChainError>) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << attempt.min(10));
    let jittered = doubled.mul_f64(0.5 + rand_fraction() / 2.0);
    let wished = match error {
        Some(ChainError::RateLimited { retry_after: Some(wished), .. }) => *wished,
        _ => Duration::ZERO,
    };
    jittered.max(wished).min(LONGEST_PAUSE)
}

/// Between 0 and 1. Need not be unpredictable: the standard library's hash seeds will do.
pub(crate) fn rand_fraction() -> f64 {
    use std::hash::{BuildHasher as _, RandomState};
    let bits = RandomState::new().hash_one(0_u8) >> 32;
    f64::from(u32::try_from(bits).unwrap_or(0)) / f64::from(u32::MAX)
}
