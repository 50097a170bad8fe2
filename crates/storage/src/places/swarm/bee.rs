//! The calls of bee's HTTP API that content needs.

use std::{fmt::Display, time::Duration};

use alloy_primitives::{B256, hex};
use bytes::Bytes;
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use serde::{Deserialize, de::DeserializeOwned};

use super::postage::Batch;
use crate::{
    NodeFault, PostageFault, StorageError,
    http::{Answer, Ask, Http, inert},
    swarm::CHUNK_LEN,
};

/// Bytes of the span before the payload of a chunk.
pub(super) const SPAN_LEN: usize = 8;

/// Longest JSON that is read, in bytes: a node with a thousand batches answers with less.
const JSON_LIMIT: usize = 1 << 20;

/// How many bytes of content a node pins or unpins in a second at the very least: it notes down each chunk.
const PINNED_IN_A_SECOND: u64 = 1 << 20;

const BATCH: &str = "swarm-postage-batch-id";
const TAG: &str = "swarm-tag";
const REDUNDANCY_LEVEL: &str = "swarm-redundancy-level";
const REDUNDANCY_STRATEGY: &str = "swarm-redundancy-strategy";
const REDUNDANCY_FALLBACK: &str = "swarm-redundancy-fallback-mode";
const CHUNK_TIMEOUT: &str = "swarm-chunk-retrieval-timeout";

/// What one request carries.
#[derive(Debug)]
pub(super) enum Body {
    /// Content, which the node cuts into chunks by itself.
    Content(Bytes),
    /// Payload of one chunk above level 1.
    Chunk(Bytes),
}

/// A part of content that has an address of its own.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) address: B256,
    /// Bytes of content below it.
    pub(super) span: u64,
    pub(super) body: Body,
}

#[derive(Deserialize)]
struct Stored {
    reference: String,
}

#[derive(Deserialize)]
struct Tag {
    uid: u64,
}

#[derive(Deserialize)]
struct Stamps {
    stamps: Vec<Batch>,
}

#[derive(Deserialize)]
struct About {
    version: String,
}

#[derive(Deserialize)]
struct Said {
    message: String,
}

/// One bee, or several that stand for each other.
#[derive(Debug)]
pub(super) struct Bee {
    http: Http,
}

impl Bee {
    pub(super) const fn new(http: Http) -> Self {
        Self { http }
    }

    /// How many nodes may be asked for the same.
    pub(super) const fn endpoints(&self) -> usize {
        self.http.endpoints()
    }

    /// Scheme and host of the node that is asked next.
    pub(super) fn node(&self) -> &str {
        self.http.node()
    }

    /// An error about the node that is asked next, for a node that has no other beside it.
    pub(super) fn fault(&self, action: &'static str, fault: NodeFault) -> StorageError {
        StorageError::Node { node: self.node().to_owned(), action, fault }
    }

    /// What a node answered was wrong or of no use: the next one is asked from now on.
    pub(super) fn pass_over(&self, node: &str) {
        self.http.pass_over(node);
    }

    /// A chunk, span first. Not verified.
    pub(super) async fn chunk(&self, address: B256) -> Result<Answer, StorageError> {
        let path = format!("chunks/{}", hex::encode(address));
        self.ask("give a chunk", SPAN_LEN + CHUNK_LEN, &|client, url| client.get(below(url, &path)))
            .await
    }

    /// The content under a node, at most `limit` bytes. Not verified.
    pub(super) async fn content(
        &self,
        address: B256,
        limit: usize,
    ) -> Result<Answer, StorageError> {
        let path = format!("bytes/{}", hex::encode(address));
        // The node gives up on a chunk that the network does not have before this side gives up on the node.
        let chunk_timeout = format!("{}ms", self.http.timeout().as_millis() / 2);
        self.ask("give content", limit, &|client, url| {
            let request = client.get(below(url, &path)).header(REDUNDANCY_LEVEL, "0");
            let request = request.header(REDUNDANCY_STRATEGY, "0");
            let request = request.header(REDUNDANCY_FALLBACK, "false");
            request.header(CHUNK_TIMEOUT, &chunk_timeout)
        })
        .await
    }

    /// Whether the node itself has a chunk; it does not ask its network.
    pub(super) async fn has(&self, address: B256) -> Result<bool, StorageError> {
        let action = "look for a chunk";
        let path = format!("chunks/{}", hex::encode(address));
        let answer =
            self.ask(action, JSON_LIMIT, &|client, url| client.head(below(url, &path))).await?;
        yes_or_no(&answer, action)
    }

    /// Stores a block. When this returns, the node has confirmed it under our address.
    ///
    /// Every request is a session of its own: when one of several in a session breaks off, the node also throws away
    /// what the others brought meanwhile, answered or not.
    pub(super) async fn store(&self, block: &Block, batch: B256) -> Result<(), StorageError> {
        let action = "store content";
        // Chunks need a session to be taken without waiting for the network; content opens one by itself.
        let (path, tag, body): (_, _, Bytes) = match &block.body {
            Body::Content(content) => ("bytes", None, content.clone()),
            Body::Chunk(payload) => {
                let chunk = [&block.span.to_le_bytes(), payload.as_ref()].concat();
                ("chunks", Some(self.new_tag().await?), chunk.into())
            }
        };
        let batch = hex::encode(batch);
        let answer = self
            .ask(action, JSON_LIMIT, &|client, url| {
                let mut request = client.post(below(url, path)).header(BATCH, &batch);
                if let Some(tag) = tag {
                    request = request.header(TAG, tag);
                }
                let request = request.header(REDUNDANCY_LEVEL, "0");
                request.header("content-type", "application/octet-stream").body(body.clone())
            })
            .await?;
        if !answer.status.is_success() {
            return Err(refused(&answer, action));
        }
        let stored: Stored = json(&answer, action, "the address of what it stored")?;
        if stored.reference == hex::encode(block.address) {
            Ok(())
        } else {
            Err(answer.fault(action, NodeFault::OtherAddress))
        }
    }

    /// The node's version, in its own words; `None` if it answers but does not say.
    pub(super) async fn version(&self) -> Result<Option<String>, StorageError> {
        let action = "say how it is";
        let answer =
            self.ask(action, JSON_LIMIT, &|client, url| client.get(below(url, "health"))).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !answer.status.is_success() {
            return Err(answer.unexpected(action));
        }
        let About { version } = json(&answer, action, "its health")?;
        Ok(Some(inert(&version)))
    }

    /// Opens an upload session.
    async fn new_tag(&self) -> Result<u64, StorageError> {
        let action = "begin an upload";
        let answer =
            self.ask(action, JSON_LIMIT, &|client, url| client.post(below(url, "tags"))).await?;
        if !answer.status.is_success() {
            return Err(answer.unexpected(action));
        }
        json::<Tag>(&answer, action, "an upload session").map(|tag| tag.uid)
    }

    /// Keeps all chunks of content from being thrown away. The node goes through all of them, so this is also the
    /// proof that it has them; `false` if one is missing.
    pub(super) async fn pin(&self, root: B256, len: u64) -> Result<bool, StorageError> {
        let action = "pin content";
        let path = format!("pins/{}", hex::encode(root));
        let build = |client: &Client, url: &Url| {
            client.post(below(url, &path)).header(REDUNDANCY_LEVEL, "0")
        };
        let ask = Ask { action, build: &build, limit: JSON_LIMIT, says_no_with_500: false };
        let answer = self.http.ask_within(self.time_for(len), &ask).await?;
        yes_or_no(&answer, action)
    }

    /// Whether content is pinned.
    pub(super) async fn is_pinned(&self, root: B256) -> Result<bool, StorageError> {
        let action = "list its pins";
        let path = format!("pins/{}", hex::encode(root));
        let answer =
            self.ask(action, JSON_LIMIT, &|client, url| client.get(below(url, &path))).await?;
        yes_or_no(&answer, action)
    }

    /// Lets content of so many bytes go; `false` if it was not pinned.
    pub(super) async fn unpin(&self, root: B256, len: u64) -> Result<bool, StorageError> {
        let action = "unpin content";
        let path = format!("pins/{}", hex::encode(root));
        let build = |client: &Client, url: &Url| client.delete(below(url, &path));
        let ask = Ask { action, build: &build, limit: JSON_LIMIT, says_no_with_500: false };
        let answer = self.http.ask_within(self.time_for(len), &ask).await?;
        yes_or_no(&answer, action)
    }

    /// How long something may take that the node does with each chunk of content.
    fn time_for(&self, len: u64) -> Duration {
        self.http.timeout() + Duration::from_secs(len / PINNED_IN_A_SECOND)
    }

    /// The node's postage batches; those that have expired are not among them.
    pub(super) async fn stamps(&self) -> Result<(String, Vec<Batch>), StorageError> {
        let action = "list its postage";
        let answer =
            self.ask(action, JSON_LIMIT, &|client, url| client.get(below(url, "stamps"))).await?;
        if !answer.status.is_success() {
            return Err(answer.unexpected(action));
        }
        let stamps: Stamps = json(&answer, action, "a list of postage batches")?;
        Ok((answer.node, stamps.stamps))
    }

    async fn ask(
        &self,
        action: &'static str,
        limit: usize,
        build: &(dyn Fn(&Client, &Url) -> RequestBuilder + Send + Sync),
    ) -> Result<Answer, StorageError> {
        self.http.ask(&Ask { action, build, limit, says_no_with_500: false }).await
    }
}

/// A URL below that of an endpoint.
fn below(url: &Url, path: impl Display) -> Url {
    let mut below = url.clone();
    below.set_path(&format!("{}{path}", url.path()));
    below
}

fn json<T: DeserializeOwned>(
    answer: &Answer,
    action: &'static str,
    expected: &'static str,
) -> Result<T, StorageError> {
    serde_json::from_slice(&answer.body)
        .map_err(|_| answer.fault(action, NodeFault::Malformed(expected)))
}

fn yes_or_no(answer: &Answer, action: &'static str) -> Result<bool, StorageError> {
    match answer.status {
        StatusCode::NOT_FOUND => Ok(false),
        status if status.is_success() => Ok(true),
        _ => Err(answer.unexpected(action)),
    }
}

/// Why a block was not taken.
fn refused(answer: &Answer, action: &'static str) -> StorageError {
    let said = serde_json::from_slice(&answer.body).map(|said: Said| said.message);
    let fault = match answer.status {
        StatusCode::PAYMENT_REQUIRED => PostageFault::Full,
        // Either is 404; only the words tell them apart.
        StatusCode::NOT_FOUND if said.is_ok_and(|said| said.contains("tag")) => {
            return answer.unexpected(action);
        }
        StatusCode::NOT_FOUND => PostageFault::Unknown,
        StatusCode::UNPROCESSABLE_ENTITY => PostageFault::TooNew,
        _ => return answer.unexpected(action),
    };
    StorageError::Postage { node: answer.node.clone(), fault }
}
