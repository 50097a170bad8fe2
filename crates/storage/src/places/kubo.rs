//! The RPC API of kubo nodes, as far as content needs it. Whatever it says is typed here and nowhere else.

use std::{fmt, time::Duration};

use bytes::Bytes;
use reqwest::{StatusCode, Url, header};
use serde::{Deserialize, de::DeserializeOwned};

use super::dag::Reach;
use crate::{
    NodeFault, StorageError,
    http::{Answer, Ask, Http, inert},
    ipfs::{Cid, Codec, LEAF_LEN},
};

/// Longest answer to anything but a question for a block, in bytes.
const MAX_ANSWER_LEN: usize = 64 << 10;

/// How many bytes a node reads in a second, at least.
const SLOWEST_READ: u64 = 8 << 20;

/// Most addresses of itself that a node is believed to have.
const MAX_PEERS: usize = 20;

/// Longest address of a node, in bytes.
const MAX_PEER_LEN: usize = 256;

/// Bytes before and behind the block in the body of `block/put`.
const FORM_HEAD_LEN: usize = "--".len() + BOUNDARY_LEN + FORM_HEAD.len();
const FORM_HEAD: &str = "\r\nContent-Disposition: form-data; name=\"data\"; filename=\"data\"\r\n\
                         Content-Type: application/octet-stream\r\n\r\n";
const BOUNDARY_LEN: usize = 64;

/// Kubo nodes that stand for each other.
#[derive(Debug)]
pub(super) struct Kubo {
    http: Http,
}

/// A block as the body of `block/put`: a form with one part.
///
/// The boundary is the digest of the block, which no block contains.
pub(super) struct Form {
    buffer: Vec<u8>,
}

impl Form {
    pub(super) fn new() -> Self {
        let mut buffer = Vec::with_capacity(FORM_HEAD_LEN + LEAF_LEN + BOUNDARY_LEN + 16);
        buffer.resize(FORM_HEAD_LEN, 0);
        Self { buffer }
    }

    pub(super) fn with(block: &[u8]) -> Self {
        let mut buffer = vec![0; FORM_HEAD_LEN];
        buffer.extend_from_slice(block);
        Self { buffer }
    }

    /// To be filled with the block.
    pub(super) const fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    pub(super) fn block(&self) -> &[u8] {
        &self.buffer[FORM_HEAD_LEN..]
    }

    pub(super) fn finish(mut self, cid: &Cid) -> Bytes {
        let boundary = boundary(cid);
        let head = format!("--{boundary}{FORM_HEAD}");
        self.buffer[..FORM_HEAD_LEN].copy_from_slice(head.as_bytes());
        self.buffer.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        self.buffer.into()
    }
}

fn boundary(cid: &Cid) -> String {
    format!("{:x}", cid.digest)
}

/// A node said no.
struct No {
    why: Why,
    error: StorageError,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// It does not have a block, or did not find it in time.
    Missing,
    /// It has not pinned that.
    NotPinned,
    Other,
}

impl From<No> for StorageError {
    fn from(no: No) -> Self {
        no.error
    }
}

/// How kubo words what we want to know. It has no codes for it.
const WORDS: [(&str, Why); 7] = [
    ("not pinned", Why::NotPinned),
    ("block was not found locally", Why::Missing),
    ("could not find", Why::Missing),
    ("merkledag: not found", Why::Missing),
    ("blockservice: key not found", Why::Missing),
    ("block not found", Why::Missing),
    ("context deadline exceeded", Why::Missing),
];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stat {
    key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Local {
    size_local: u64,
    cumulative_size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pins {
    pins: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Id {
    addresses: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version: String,
}

impl Kubo {
    pub(super) const fn new(http: Http) -> Self {
        Self { http }
    }

    pub(super) const fn http(&self) -> &Http {
        &self.http
    }

    /// Keeps a block, which nobody pins yet.
    pub(super) async fn put(&self, cid: &Cid, form: Bytes) -> Result<(), StorageError> {
        const ACTION: &str = "keep a block";
        let codec = match cid.codec {
            Codec::Raw => "raw",
            Codec::DagPb => "dag-pb",
        };
        let query = format!("cid-codec={codec}&mhtype=sha2-256&mhlen=32&pin=false");
        let kind = format!("multipart/form-data; boundary={}", boundary(cid));
        let ask = Ask {
            action: ACTION,
            build: &|client, base| {
                let request = client.post(url(base, "block/put", &query));
                request.header(header::CONTENT_TYPE, &kind).body(form.clone())
            },
            limit: MAX_ANSWER_LEN,
            says_no_with_500: true,
        };
        let answer = self.http.ask(&ask).await?;
        let Stat { key } = parse(ACTION, &answer, "the name of a block")?;
        if key == cid.to_string() {
            Ok(())
        } else {
            Err(answer.fault(ACTION, NodeFault::OtherAddress))
        }
    }

    /// Whether a node has a block on its own disk.
    pub(super) async fn has(&self, cid: &Cid) -> Result<bool, StorageError> {
        const ACTION: &str = "look for a block";
        let query = format!("arg={cid}&offline=true");
        let answer = self.call(ACTION, "block/stat", &query, MAX_ANSWER_LEN, None).await?;
        match parse::<Stat>(ACTION, &answer, "the name of a block") {
            Ok(stat) => Ok(stat.key == cid.to_string()),
            Err(no) if no.why == Why::Missing => Ok(false),
            Err(no) => Err(no.into()),
        }
    }

    /// Whether a node has all blocks of a tree on its own disk.
    pub(super) async fn has_all(&self, root: &Cid, len: u64) -> Result<bool, StorageError> {
        const ACTION: &str = "look for content";
        let query = format!("arg=/ipfs/{root}&with-local=true&offline=true");
        let timeout = Some(self.time_for(len));
        let answer = self.call(ACTION, "files/stat", &query, MAX_ANSWER_LEN, timeout).await?;
        match parse::<Local>(ACTION, &answer, "how much it has") {
            Ok(local) => Ok(local.size_local == local.cumulative_size),
            Err(no) if no.why == Why::Missing => Ok(false),
            Err(no) => Err(no.into()),
        }
    }

    /// A block as a node has it, unverified, and who answered.
    pub(super) async fn get(
        &self,
        cid: &Cid,
        reach: Reach,
    ) -> Result<(String, Option<Bytes>), StorageError> {
        const ACTION: &str = "hand out a block";
        let query = match reach {
            Reach::Node => format!("arg={cid}&offline=true"),
            // The node gives up before we do, so that we learn that it found nothing.
            Reach::Network => {
                format!("arg={cid}&timeout={}ms", (self.http.timeout() * 4 / 5).as_millis())
            }
        };
        let answer = self.call(ACTION, "block/get", &query, LEAF_LEN, None).await?;
        match refusal(ACTION, &answer) {
            Ok(()) => Ok((answer.node, Some(answer.body))),
            Err(no) if no.why == Why::Missing => Ok((answer.node, None)),
            Err(no) => Err(no.into()),
        }
    }

    /// Pins a tree of `len` bytes of content, all of which the node must have; `false` if a block is missing.
    pub(super) async fn pin(&self, root: &Cid, name: &str, len: u64) -> Result<bool, StorageError> {
        const ACTION: &str = "pin content";
        let timeout = self.time_for(len);
        // Offline only as far as the root goes: for a missing leaf the node waits as long as it may.
        let query = format!(
            "arg={root}&recursive=true&progress=false&offline=true&name={name}&timeout={}ms",
            (timeout * 4 / 5).as_millis()
        );
        let answer = self.call(ACTION, "pin/add", &query, MAX_ANSWER_LEN, Some(timeout)).await?;
        match parse::<Pins>(ACTION, &answer, "a list of pins") {
            Ok(Pins { pins }) if pins == [root.to_string()] => Ok(true),
            Ok(_) => Err(answer.fault(ACTION, NodeFault::OtherAddress)),
            Err(no) if no.why == Why::Missing => Ok(false),
            Err(no) => Err(no.into()),
        }
    }

    /// Gives a tree free; `false` if it was not pinned.
    pub(super) async fn unpin(&self, root: &Cid) -> Result<bool, StorageError> {
        const ACTION: &str = "give content free";
        self.about_pin(ACTION, "pin/rm", &format!("arg={root}&recursive=true")).await
    }

    /// Whether a tree is pinned by its root.
    pub(super) async fn is_pinned(&self, root: &Cid) -> Result<bool, StorageError> {
        const ACTION: &str = "say what it keeps";
        self.about_pin(ACTION, "pin/ls", &format!("arg={root}&type=recursive&offline=true")).await
    }

    async fn about_pin(
        &self,
        action: &'static str,
        command: &'static str,
        query: &str,
    ) -> Result<bool, StorageError> {
        let answer = self.call(action, command, query, MAX_ANSWER_LEN, None).await?;
        match refusal(action, &answer) {
            Ok(()) => Ok(true),
            Err(no) if no.why != Why::Other => Ok(false),
            Err(no) => Err(no.into()),
        }
    }

    /// Under which addresses others reach the node.
    pub(super) async fn peers(&self) -> Result<Vec<String>, StorageError> {
        const ACTION: &str = "name its addresses";
        let answer = self.call(ACTION, "id", "", MAX_ANSWER_LEN, None).await?;
        let id: Id = parse(ACTION, &answer, "its addresses")?;
        let mut peers = id.addresses.unwrap_or_default();
        peers.retain(|peer| is_peer(peer));
        // Those that only this machine reaches are of use to a service on this machine alone.
        peers.sort_by_key(|peer| peer.starts_with("/ip4/127.") || peer.starts_with("/ip6/::1/"));
        peers.truncate(MAX_PEERS);
        Ok(peers)
    }

    /// Connects the node with another one.
    pub(super) async fn connect(&self, peer: &str) -> Result<(), StorageError> {
        const ACTION: &str = "reach the pinning service";
        if !is_peer(peer) {
            return Ok(());
        }
        let query = format!("arg={peer}");
        let answer = self.call(ACTION, "swarm/connect", &query, MAX_ANSWER_LEN, None).await?;
        Ok(refusal(ACTION, &answer)?)
    }

    /// Which kubo it is.
    pub(super) async fn version(&self) -> Result<String, StorageError> {
        const ACTION: &str = "name its version";
        let answer = self.call(ACTION, "version", "", MAX_ANSWER_LEN, None).await?;
        let said: Version = parse(ACTION, &answer, "its version")?;
        Ok(format!("kubo {}", inert(&said.version)))
    }

    /// How long a node may take for what makes it read the content.
    fn time_for(&self, len: u64) -> Duration {
        self.http.timeout() + Duration::from_secs(len / SLOWEST_READ)
    }

    async fn call(
        &self,
        action: &'static str,
        command: &'static str,
        query: &str,
        limit: usize,
        timeout: Option<Duration>,
    ) -> Result<Answer, StorageError> {
        let build = |client: &reqwest::Client, base: &Url| client.post(url(base, command, query));
        let ask = Ask { action, build: &build, limit, says_no_with_500: true };
        self.http.ask_within(timeout.unwrap_or(self.http.timeout()), &ask).await
    }
}

fn url(base: &Url, command: &str, query: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}api/v0/{command}", base.path()));
    url.set_query(Some(query));
    url
}

/// The fields of an answer that are of interest.
fn parse<T: DeserializeOwned>(
    action: &'static str,
    answer: &Answer,
    expected: &'static str,
) -> Result<T, No> {
    refusal(action, answer)?;
    serde_json::from_slice(&answer.body).map_err(|_| No {
        why: Why::Other,
        error: answer.fault(action, NodeFault::Malformed(expected)),
    })
}

/// An error if the node refused. It answers 500 to whatever it cannot do, with the reason in words.
fn refusal(action: &'static str, answer: &Answer) -> Result<(), No> {
    if answer.status == StatusCode::OK {
        return Ok(());
    }
    let unexpected = || No { why: Why::Other, error: answer.unexpected(action) };
    if answer.status != StatusCode::INTERNAL_SERVER_ERROR {
        return Err(unexpected());
    }
    let refusal: Refusal = serde_json::from_slice(&answer.body).map_err(|_| unexpected())?;
    let known = WORDS.iter().find(|(words, _)| refusal.message.contains(words));
    let why = known.map_or(Why::Other, |(_, why)| *why);
    Err(No { why, error: answer.fault(action, NodeFault::Said(inert(&refusal.message))) })
}

/// Whether this looks like the address of a peer: harmless in a query and in a list.
fn is_peer(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/.:-_".contains(&byte);
    text.starts_with('/') && text.len() <= MAX_PEER_LEN && text.bytes().all(plain)
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Form({} bytes)", self.block().len())
    }
}
