//! Several nodes of one chain that need not be believed: only what enough of them say is an answer.
//!
//! Every node is asked side by side. What cannot be checked alone is taken if a *quorum* of nodes says the same;
//! a header only with the hash that recomputes from it, receipts only with the root of a header that a quorum
//! has. As many liars as the quorum are believed: it is always more than half of the nodes, so that two
//! different answers cannot both be the right one. Where no answer has enough nodes behind it there is none, and
//! the error says so.
//!
//! | asked | answered |
//! |---|---|
//! | number of the newest block, gas price, estimate | the highest that a quorum reaches: nobody else can raise it |
//! | `latest`, `pending`, `safe`, `finalized` | the block of that height by its number |
//! | block | by hash, which recomputes; of its JSON the header and the list of transactions |
//! | receipts of a block | from one node, with the root and the transactions of the agreed block |
//! | state at `latest` | state at the agreed height, by equal results |
//! | any other read | by equal results |
//! | raw transaction | sent to all; the first success counts, the others are still sent to |
//! | anything else | refused: it would happen once at every node |

mod block;
mod method;
mod poll;
mod status;

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, atomic::AtomicUsize},
    task::{Context, Poll},
    time::Duration,
};

use alloy::{
    network::Ethereum,
    providers::{DynProvider, ProviderBuilder},
    rpc::{
        client::RpcClient,
        json_rpc::{
            ErrorPayload, RequestPacket, Response, ResponsePacket, ResponsePayload,
            SerializedRequest,
        },
    },
    transports::{TransportError, TransportFut},
};
use alloy_primitives::{B256, Bytes, U256, keccak256};
use futures_util::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use serde_json::{Value, json, value::to_raw_value};
use tower::Service;

pub use self::status::{NodeStatus, NodesStatus};
use self::{
    block::Agreed,
    method::{Way, place_of_block, way},
    poll::{Answered, Voter, equal},
};
use super::{Node, RpcOptions, connect, may_repeat, pause};
use crate::ChainError;

/// Most nodes that are asked.
const MAX_NODES: usize = 16;

/// How long one node may take, and how often all are asked anew, where nobody says: for nodes that a caller has
/// connected already.
const CONNECTED: RpcOptions = RpcOptions {
    timeout: Duration::from_secs(20),
    retries: 3,
    max_response: 64 << 20,
    allow_plain_http: false,
    chain_id: None,
};

/// Nodes that must agree. A handle: clones ask the same nodes.
#[derive(Clone)]
pub struct Agreeing(Arc<Inner>);

struct Inner {
    voters: Vec<Voter>,
    quorum: usize,
    options: RpcOptions,
    local: bool,
    /// The node that gave fitting receipts last, counted on for ever.
    current: AtomicUsize,
    recent: Mutex<VecDeque<Agreed>>,
}

/// Connects to several nodes of one chain of which `quorum` must agree. Asks nothing yet.
///
/// The longest that a question takes is `2 × timeout × (retries + 1)` and a pause of at most 5 s before each retry;
/// a node that is silent or slow costs nothing while the others agree. Errors name nodes by scheme and host alone.
///
/// # Errors
///
/// As [`connect`]; and [`ChainError::Invalid`] if the quorum is not more than half of the nodes, or one is named
/// twice.
pub fn connect_agreeing(
    urls: &[impl AsRef<str>],
    quorum: usize,
    options: RpcOptions,
) -> Result<DynProvider<Ethereum>, ChainError> {
    Ok(Agreeing::connect(urls, quorum, options)?.provider())
}

/// As [`connect_agreeing`], for nodes that are connected already. Each is given 20 s for an answer, and all are
/// asked at most four times.
///
/// # Errors
///
/// [`ChainError::Invalid`] if the quorum is not more than half of the nodes.
pub fn agreeing(
    nodes: Vec<DynProvider<Ethereum>>,
    quorum: usize,
) -> Result<DynProvider<Ethereum>, ChainError> {
    Ok(Agreeing::of(nodes, quorum, CONNECTED)?.provider())
}

impl Agreeing {
    /// As [`connect_agreeing`], for who also wants to know how the nodes stand.
    ///
    /// # Errors
    ///
    /// As [`connect_agreeing`].
    pub fn connect(
        urls: &[impl AsRef<str>],
        quorum: usize,
        options: RpcOptions,
    ) -> Result<Self, ChainError> {
        let mut parsed = Vec::new();
        let mut voters = Vec::new();
        for url in urls {
            let node = Node::parse(url.as_ref(), options.allow_plain_http)?;
            if parsed.iter().any(|known: &Node| known.url == node.url) {
                return Err(ChainError::Invalid("a node that is named twice is not two nodes"));
            }
            // All are asked anew together, so no node is asked anew alone.
            let once = RpcOptions { retries: 0, ..options.clone() };
            let provider = connect(&[url.as_ref()], once)?;
            voters.push(Voter { name: node.name.clone(), provider });
            parsed.push(node);
        }
        let local = parsed.iter().all(|node| node.loopback);
        Self::new(voters, quorum, options, local)
    }

    /// As [`agreeing`], with limits. Of the options only `timeout` and `retries` matter: the rest is for who
    /// connects. Nodes are named `node 1`, `node 2`, ….
    ///
    /// # Errors
    ///
    /// As [`agreeing`].
    pub fn of(
        nodes: Vec<DynProvider<Ethereum>>,
        quorum: usize,
        options: RpcOptions,
    ) -> Result<Self, ChainError> {
        let nodes = nodes.into_iter().zip(1_usize..);
        let voters = nodes.map(|(provider, n)| Voter { name: format!("node {n}"), provider });
        Self::new(voters.collect(), quorum, options, true)
    }

    fn new(
        voters: Vec<Voter>,
        quorum: usize,
        options: RpcOptions,
        local: bool,
    ) -> Result<Self, ChainError> {
        if voters.is_empty() {
            return Err(ChainError::Invalid("no URL of a node"));
        }
        if voters.len() > MAX_NODES {
            return Err(ChainError::Invalid("more than 16 nodes"));
        }
        if quorum > voters.len() || quorum * 2 <= voters.len() {
            return Err(ChainError::Invalid(
                "more than half of the nodes must agree, and no more than there are",
            ));
        }
        let (current, recent) = (AtomicUsize::new(0), Mutex::default());
        Ok(Self(Arc::new(Inner { voters, quorum, options, local, current, recent })))
    }

    /// The nodes as one.
    pub fn provider(&self) -> DynProvider<Ethereum> {
        use alloy::providers::Provider as _;
        let client = RpcClient::new(self.clone(), self.0.local);
        ProviderBuilder::default().connect_client(client).erased()
    }

    /// How many nodes are asked, and how many must agree.
    pub fn counts(&self) -> (usize, usize) {
        (self.0.voters.len(), self.0.quorum)
    }

    /// How each node stands: its newest block, how far that is behind, whether it has the agreed block. Asks all of
    /// them and waits for each, at most twice the timeout.
    pub async fn status(&self) -> NodesStatus {
        self.0.status().await
    }
}

impl fmt::Debug for Agreeing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.voters.iter().map(|voter| voter.name.as_str()).collect();
        write!(f, "Agreeing({} of {names:?})", self.0.quorum)
    }
}

impl Service<RequestPacket> for Agreeing {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            match packet {
                RequestPacket::Single(request) => {
                    inner.respond(&request).await.map(ResponsePacket::Single).map_err(Into::into)
                }
                RequestPacket::Batch(requests) => {
                    let all = join_all(requests.iter().map(|request| inner.respond(request))).await;
                    let all: Result<Vec<_>, ChainError> = all.into_iter().collect();
                    all.map(ResponsePacket::Batch).map_err(Into::into)
                }
            }
        })
    }
}

impl Inner {
    async fn respond(&self, request: &SerializedRequest) -> Result<Response, ChainError> {
        let malformed = || ChainError::Invalid("the request has no JSON form");
        let params =
            request.params().map_or(Ok(Value::Null), |raw| serde_json::from_str(raw.get()));
        let params = match params.map_err(|_| malformed())? {
            Value::Array(params) => params,
            Value::Null => Vec::new(),
            _ => return Err(ChainError::Invalid("parameters that are not a list")),
        };
        let payload = match self.answer(request.method(), params).await? {
            Answered::Said(value) => {
                ResponsePayload::Success(to_raw_value(&value).map_err(|_| malformed())?)
            }
            Answered::Refused(error) => ResponsePayload::Failure(error),
        };
        Ok(Response { id: request.id().clone(), payload })
    }

    /// Asks until enough nodes agree, or the retries or the time are used up.
    async fn answer(
        &self,
        method: &str,
        params: Vec<Value>,
    ) -> Result<Answered<Value>, ChainError> {
        let way = way(method);
        let retries = if way == Way::Send { 0 } else { self.options.retries };
        // A question about the newest block is two: which one, and what then.
        let after = self.options.timeout * (retries + 1) * 2;
        let asking = async {
            let mut attempt = 0;
            loop {
                let answer = self.once(way, method, params.clone()).await;
                let again = match &answer {
                    Err(ChainError::Disagreement { .. }) => true,
                    Err(error) => may_repeat(error),
                    // The head that was asked for may be gone.
                    Ok(Answered::Refused(error)) => {
                        attempt == 0
                            && is_pinned(method, &params)
                            && error.as_revert_data().is_none()
                    }
                    Ok(Answered::Said(_)) => false,
                };
                if !again || attempt == retries {
                    return answer;
                }
                let error = answer.err();
                tokio::time::sleep(pause(attempt, error.as_ref())).await;
                attempt += 1;
            }
        };
        let pauses = super::LONGEST_PAUSE * retries;
        tokio::time::timeout(after + pauses, asking)
            .await
            .unwrap_or_else(|_| Err(ChainError::TimedOut { node: self.name(), after }))
    }

    async fn once(
        &self,
        way: Way,
        method: &str,
        params: Vec<Value>,
    ) -> Result<Answered<Value>, ChainError> {
        match way {
            Way::Highest => {
                let params = match self.pinned(method, params).await? {
                    Answered::Said(params) => params,
                    Answered::Refused(error) => return Ok(Answered::Refused(error)),
                };
                let read =
                    |value: Value| quantity(&value).map(|number| (number.to_string(), number));
                let numbers = self.survey(method, &params, read).await?;
                Ok(numbers.map(|numbers| json!(self.reached(numbers))))
            }
            Way::Head => {
                let newest = self.tagged("latest").await?;
                Ok(newest.map(|block| block.map_or(Value::Null, |block| block.number())))
            }
            Way::Block => {
                let agreed = self.block(params).await?;
                Ok(agreed.map(|block| block.map_or(Value::Null, |block| block.to_json())))
            }
            Way::BlockByHash => {
                let hash = params.first().cloned().unwrap_or_default();
                let full = params.get(1).cloned().unwrap_or(Value::Bool(false));
                let agreed = self.block_by_hash(hash, full).await?;
                Ok(agreed.map(|block| block.map_or(Value::Null, |block| block.to_json())))
            }
            Way::Receipts => self.receipts(params).await,
            Way::Equal => match self.pinned(method, params).await? {
                Answered::Said(params) => self.agree(method, &params, equal).await,
                Answered::Refused(error) => Ok(Answered::Refused(error)),
            },
            Way::Send => self.send(method, params).await,
            Way::Refused => {
                Err(ChainError::Invalid("the request would be carried out by every node, not once"))
            }
        }
    }

    /// The parameters with the agreed height in place of a tag that each node understands in its own way.
    async fn pinned(
        &self,
        method: &str,
        mut params: Vec<Value>,
    ) -> Result<Answered<Vec<Value>>, ChainError> {
        let mut places: Vec<&mut Value> = Vec::new();
        if let Some(place) = place_of_block(method) {
            if params.len() == place {
                params.push(Value::Null);
            }
            places.push(params.get_mut(place).ok_or(ChainError::Invalid("too few parameters"))?);
        } else if method == "eth_getLogs"
            && let Some(Value::Object(filter)) = params.first_mut()
            && !filter.contains_key("blockHash")
        {
            filter.entry("fromBlock").or_insert(Value::Null);
            filter.entry("toBlock").or_insert(Value::Null);
            let ends = filter.iter_mut().filter(|(name, _)| name.ends_with("Block"));
            places.extend(ends.map(|(_, value)| value));
        }
        for place in places {
            let Some(tag) = moving(place) else { continue };
            match self.tagged(tag).await? {
                Answered::Said(Some(block)) => *place = block.number(),
                Answered::Said(None) => {
                    let message = "no such block yet".into();
                    let error = ErrorPayload { code: -32_000, message, data: None };
                    return Ok(Answered::Refused(error));
                }
                Answered::Refused(error) => return Ok(Answered::Refused(error)),
            }
        }
        Ok(Answered::Said(params))
    }

    /// The highest of these numbers that a quorum reaches.
    fn reached<T: Ord>(&self, mut numbers: Vec<(String, T)>) -> Option<T> {
        numbers.sort_by(|(_, one), (_, other)| other.cmp(one));
        (numbers.len() >= self.quorum).then(|| numbers.swap_remove(self.quorum - 1).1)
    }

    /// Sends to all. The first success counts; the others are still sent to. A refusal says that the transaction
    /// never lands, so it takes a quorum.
    async fn send(&self, method: &str, params: Vec<Value>) -> Result<Answered<Value>, ChainError> {
        let raw: Option<Bytes> =
            params.first().and_then(|raw| serde_json::from_value(raw.clone()).ok());
        let hash = raw.map(keccak256).ok_or(ChainError::Invalid("not a transaction"))?;
        let mut open: FuturesUnordered<_> = self
            .voters
            .iter()
            .map(|voter| {
                let (voter, method, params) = (voter.clone(), method.to_owned(), params.clone());
                let timeout = self.options.timeout;
                let sending = async move { (voter.ask(&method, &params, timeout).await, voter) };
                tokio::spawn(sending)
            })
            .collect();
        let mut refusals = Vec::new();
        let mut failure = None;
        while let Some(said) = open.next().await {
            let Ok((said, voter)) = said else { continue };
            match said.answered() {
                Ok(Answered::Said(value)) => {
                    if serde_json::from_value::<B256>(value).is_ok_and(|it| it == hash) {
                        return Ok(Answered::Said(json!(hash)));
                    }
                    failure = Some(voter.malformed("the hash of another transaction"));
                }
                Ok(Answered::Refused(error)) => refusals.push(error),
                Err(error) => failure = Some(error),
            }
        }
        match (refusals.len() >= self.quorum, failure) {
            (true, _) => Ok(Answered::Refused(refusals.swap_remove(0))),
            (false, Some(error)) => Err(error),
            (false, None) => Err(ChainError::Invalid("no node to send to")),
        }
    }

    /// What errors call all of them together.
    fn name(&self) -> String {
        format!("a quorum of {} nodes", self.voters.len())
    }
}

/// A number as nodes write it.
fn quantity(value: &Value) -> Option<U256> {
    value.as_str().filter(|text| text.starts_with("0x"))?.parse().ok()
}

/// The tag of a block that each node understands in its own way; `None` for a number or a hash. What waits in a
/// pool is each node's own, so `pending` is the newest block.
fn moving(tag: &Value) -> Option<&'static str> {
    match tag.as_str() {
        Some("latest" | "pending") => Some("latest"),
        Some("safe") => Some("safe"),
        Some("finalized") => Some("finalized"),
        _ => tag.is_null().then_some("latest"),
    }
}

/// Whether a request names the newest block, which moves.
fn is_pinned(method: &str, params: &[Value]) -> bool {
    let place = place_of_block(method);
    place.is_some_and(|place| moving(params.get(place).unwrap_or(&Value::Null)).is_some())
}
