//! A kubo node in memory: as much of its RPC API as content needs, its gateway, a pinning service that fetches from
//! it, and a plain web server, with a fault for every occasion.
//!
//! It names and joins blocks by code of its own, so that it agrees with the code under test only if both follow the
//! definition. What it answers was taken from kubo 0.43.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

use std::{
    collections::{BTreeMap, HashMap},
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, Response, header},
};
use bytes::Bytes;
use data_encoding::BASE32_NOPAD;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::frame::{Answer, FOR_EVER, Fault, Faults, serve};

const LEAF: usize = 1 << 20;
const LINKS: usize = 1024;
const RAW: u8 = 0x55;
const DAG_PB: u8 = 0x70;

#[derive(Default)]
pub struct Store {
    /// Blocks by the digest in their CID.
    pub blocks: HashMap<[u8; 32], Vec<u8>>,
    /// Names of pins by CID.
    pub pins: BTreeMap<String, String>,
    /// How often each block was sent, by CID.
    pub received: BTreeMap<String, u32>,
    /// What every request asked for, in order: `block/put`, `GET ipfs`, `POST pins`.
    pub calls: Vec<String>,
    /// Peers that it was told to connect with.
    pub peers: Vec<String>,
    /// What the pinning service knows: number, CID, how often it still says that it is busy, status at the end.
    pub requests: Vec<(String, String, u32, &'static str)>,
    /// How often the pinning service says that it is busy, if not twice.
    pub patience: u32,
    /// What was sent to the pinning service.
    pub asked: Vec<Value>,
    /// The token that the pinning service wants.
    pub token: Option<&'static str>,
    faults: Faults,
}

/// The node. It ends when this is dropped.
pub struct Kubo {
    pub url: String,
    store: Arc<Mutex<Store>>,
    server: JoinHandle<()>,
}

impl Drop for Kubo {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Kubo {
    /// An empty node.
    pub async fn start() -> Self {
        let store = Arc::new(Mutex::new(Store::default()));
        let (url, server) = serve(Router::new().fallback(answer).with_state(store.clone())).await;
        Self { url, store, server }
    }

    /// Everything that the node knows.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    /// Lets the next `times` calls fail.
    pub fn fail(&self, call: &str, fault: Fault, times: usize) {
        self.fail_later(call, fault, times, 0);
    }

    /// Spares some calls first.
    pub fn fail_later(&self, call: &str, fault: Fault, times: usize, spared: usize) {
        self.store().faults.add(call, fault, times, spared);
    }

    /// How many calls wait for an answer that never comes.
    pub fn hangs(&self) -> usize {
        self.store().faults.hangs
    }

    /// From now on all goes well.
    pub fn heal(&self) {
        self.store().faults.heal();
    }

    /// Stores content as `ipfs add` with the profile does; returns the digest of the root.
    pub fn add(&self, content: &[u8]) -> [u8; 32] {
        let mut store = self.store();
        add(content, &mut |block| {
            store.keep(block);
        })
    }

    /// Stores one block of any content.
    pub fn add_block(&self, block: &[u8]) -> [u8; 32] {
        self.store().keep(block.to_vec())
    }

    /// Throws away all blocks that no pin needs.
    pub fn collect_garbage(&self) {
        let mut store = self.store();
        let mut needed = Vec::new();
        for cid in store.pins.keys() {
            let (codec, digest) = parse_cid(cid).unwrap();
            store.walk(codec, digest, &mut needed);
        }
        store.blocks.retain(|digest, _| needed.contains(digest));
    }
}

fn says(status: u16, body: &Value) -> Answer {
    Answer { status, body: format!("{body}\n").into_bytes() }
}

/// Kubo's way to say no.
fn refuses(message: &str) -> Answer {
    says(500, &json!({ "Message": message, "Code": 0, "Type": "error" }))
}

struct Asked {
    method: Method,
    path: String,
    query: HashMap<String, String>,
    headers: HeaderMap,
    body: Bytes,
}

impl Asked {
    fn query(&self, key: &str) -> &str {
        self.query.get(key).map_or("", String::as_str)
    }
}

impl Store {
    fn keep(&mut self, block: Vec<u8>) -> [u8; 32] {
        let digest = sha256(&block);
        self.blocks.insert(digest, block);
        digest
    }

    /// All blocks of a tree; `false` if one is missing.
    fn walk(&self, codec: u8, digest: [u8; 32], into: &mut Vec<[u8; 32]>) -> bool {
        let Some(block) = self.blocks.get(&digest) else { return false };
        into.push(digest);
        codec == RAW || links(block).into_iter().all(|(codec, child)| self.walk(codec, child, into))
    }

    /// What the node answers at once; `None` if it would look around in the network first, where there is nothing.
    fn respond(&mut self, asked: &Asked, forgets: bool) -> Option<Answer> {
        let offline = asked.query("offline") == "true";
        let named = asked.query("arg").trim_start_matches("/ipfs/");
        let is_command = asked.path.starts_with("api/v0/");
        if is_command && asked.method != Method::POST {
            return Some(Answer { status: 405, body: b"405 - Method Not Allowed".to_vec() });
        }
        match asked.path.trim_start_matches("api/v0/") {
            "block/put" if is_command => Some(self.put(asked, forgets)),
            command @ ("block/get" | "block/stat" | "pin/add" | "files/stat") if is_command => {
                let Some((codec, digest)) = parse_cid(named) else {
                    return Some(refuses(&format!("invalid path {named:?}")));
                };
                match self.blocks.get(&digest) {
                    None if !offline => None,
                    None => Some(refuses(&format!(
                        "block was not found locally (offline): ipld: could not find {named}"
                    ))),
                    Some(block) => {
                        self.about(command, (named, codec, digest), block.clone(), asked)
                    }
                }
            }
            "pin/rm" if is_command => Some(match self.pins.remove(named) {
                Some(_) => says(200, &json!({ "Pins": [named] })),
                None => refuses("not pinned or pinned indirectly"),
            }),
            "pin/ls" if is_command => Some(match self.pins.get(named) {
                Some(name) => {
                    says(200, &json!({ "Keys": { named: { "Type": "recursive", "Name": name } } }))
                }
                None => refuses(&format!("path '/ipfs/{named}' is not pinned")),
            }),
            "id" if is_command => Some(says(
                200,
                &json!({ "ID": "12D3KooWTwin", "Addresses": [
                    "/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWTwin", "/ip4/10.1.2.3/tcp/4001/p2p/12D3KooWTwin",
                    "no address",
                ] }),
            )),
            "swarm/connect" if is_command => {
                self.peers.push(named.to_owned());
                Some(says(200, &json!({ "Strings": [format!("connect {named} success")] })))
            }
            "version" if is_command => Some(says(200, &json!({ "Version": "0.43.0-twin" }))),
            _ if asked.path == "pins" || asked.path.starts_with("pins/") => {
                Some(self.pinning(asked))
            }
            _ => match asked.path.strip_prefix("ipfs/") {
                Some(cid) => self.gateway(cid, asked),
                None => Some(Answer { status: 404, body: b"404 page not found".to_vec() }),
            },
        }
    }

    fn put(&mut self, asked: &Asked, forgets: bool) -> Answer {
        let codec = match asked.query("cid-codec") {
            "raw" => RAW,
            "dag-pb" => DAG_PB,
            _ => return refuses("unknown codec"),
        };
        if asked.query("mhtype") != "sha2-256" {
            return refuses("unknown hash");
        }
        let Some(block) = only_part(asked) else {
            return refuses("file argument 'data' is required");
        };
        let digest = sha256(block);
        let key = cid(codec, &digest);
        *self.received.entry(key.clone()).or_default() += 1;
        if !forgets {
            self.keep(block.to_vec());
        }
        says(200, &json!({ "Key": key, "Size": block.len() }))
    }

    fn about(
        &mut self,
        command: &str,
        (named, codec, digest): (&str, u8, [u8; 32]),
        block: Vec<u8>,
        asked: &Asked,
    ) -> Option<Answer> {
        let complete = self.walk(codec, digest, &mut Vec::new());
        Some(match command {
            "block/get" => Answer { status: 200, body: block },
            "block/stat" => says(200, &json!({ "Key": named, "Size": block.len() })),
            // A missing leaf is waited for, offline or not.
            "pin/add" if !complete => return None,
            "pin/add" => {
                self.pins.insert(named.to_owned(), asked.query("name").to_owned());
                says(200, &json!({ "Pins": [named] }))
            }
            _ => says(
                200,
                &json!({ "CumulativeSize": 1000, "SizeLocal": if complete { 1000 } else { 999 } }),
            ),
        })
    }

    fn gateway(&self, cid: &str, asked: &Asked) -> Option<Answer> {
        let raw = asked.headers.get(header::ACCEPT);
        if asked.query("format") != "raw"
            || raw != Some(&HeaderValue::from_static("application/vnd.ipld.raw"))
        {
            return Some(Answer { status: 200, body: b"<html>a page</html>".to_vec() });
        }
        let Some((_, digest)) = parse_cid(cid) else {
            return Some(Answer { status: 400, body: b"invalid path".to_vec() });
        };
        let cached_only =
            asked.headers.get(header::CACHE_CONTROL).is_some_and(|value| value == "only-if-cached");
        match self.blocks.get(&digest) {
            Some(block) => Some(Answer { status: 200, body: block.clone() }),
            None if digest == sha256(b"") => Some(Answer { status: 200, body: Vec::new() }),
            None if cached_only => Some(Answer { status: 412, body: Vec::new() }),
            None => None,
        }
    }

    fn pinning(&mut self, asked: &Asked) -> Answer {
        let bearer = asked.headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        if self.token.is_some_and(|token| bearer != Some(format!("Bearer {token}").as_bytes())) {
            return says(401, &json!({ "error": { "reason": "UNAUTHORIZED" } }));
        }
        let id = asked.path.strip_prefix("pins/");
        match (asked.method.as_str(), id) {
            ("POST", None) => {
                let pin: Value = serde_json::from_slice(&asked.body).unwrap();
                let cid = pin["cid"].as_str().unwrap().to_owned();
                let (codec, digest) = parse_cid(&cid).unwrap();
                let end =
                    if self.walk(codec, digest, &mut Vec::new()) { "pinned" } else { "failed" };
                self.asked.push(pin);
                let busy = self.patience.max(2);
                self.requests.push((format!("id-{}", self.requests.len()), cid, busy, end));
                says(202, &status_of(self.requests.last().unwrap()))
            }
            ("GET", None) => {
                let cids: Vec<&str> = asked.query("cid").split(',').collect();
                let wanted: Vec<&str> = asked.query("status").split(',').collect();
                let found = self.requests.iter().filter(|request| cids.contains(&&*request.1));
                let found: Vec<Value> = found
                    .map(status_of)
                    .filter(|status| wanted.contains(&status["status"].as_str().unwrap()))
                    .collect();
                says(200, &json!({ "count": found.len(), "results": found }))
            }
            ("GET", Some(id)) => match self.requests.iter_mut().find(|request| request.0 == id) {
                Some(request) => {
                    request.2 = request.2.saturating_sub(1);
                    says(200, &status_of(request))
                }
                None => says(404, &json!({ "error": { "reason": "NOT_FOUND" } })),
            },
            ("DELETE", Some(id)) => {
                self.requests.retain(|request| request.0 != id);
                Answer { status: 202, body: Vec::new() }
            }
            _ => Answer { status: 405, body: Vec::new() },
        }
    }
}

fn status_of((id, cid, busy, end): &(String, String, u32, &'static str)) -> Value {
    let status = match busy {
        0 => end,
        1 => "pinning",
        _ => "queued",
    };
    json!({
        "requestid": id, "status": status, "created": "2026-01-01T00:00:00Z", "pin": { "cid": cid },
        "delegates": ["/ip4/192.0.2.7/tcp/4001/p2p/12D3KooWService"],
    })
}

async fn answer(State(store): State<Arc<Mutex<Store>>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else { return Response::new(Body::empty()) };
    let path = head.uri.path().trim_start_matches('/').to_owned();
    let call = match path.strip_prefix("api/v0/") {
        Some(command) => command.to_owned(),
        None => format!("{} {}", head.method, path.split('/').next().unwrap_or_default()),
    };
    let query = head.uri.query().unwrap_or_default().split('&');
    let query = query.filter_map(|pair| pair.split_once('='));
    let query = query.map(|(key, value)| (key.to_owned(), decode(value))).collect();
    let fault = {
        let mut store = store.lock().unwrap();
        store.calls.push(call.clone());
        store.faults.take(&call)
    };
    let right = match fault {
        Some(Fault::Status(status) | Fault::RetryAfter(status, _)) => {
            Answer { status, body: b"a fault".to_vec() }
        }
        Some(Fault::Says(message)) => refuses(message),
        Some(Fault::Redirect) => Answer { status: 307, body: Vec::new() },
        Some(Fault::Nonsense) => Answer { status: 200, body: b"<html>".to_vec() },
        Some(Fault::Never) => {
            store.lock().unwrap().faults.hangs += 1;
            tokio::time::sleep(FOR_EVER).await;
            refuses("late")
        }
        _ => {
            if let Some(Fault::Slow(time)) = fault {
                tokio::time::sleep(time).await;
            }
            let asked = Asked { method: head.method, path, query, headers: head.headers, body };
            let right = store.lock().unwrap().respond(&asked, fault == Some(Fault::Forget));
            if fault == Some(Fault::Mute) {
                store.lock().unwrap().faults.hangs += 1;
                tokio::time::sleep(FOR_EVER).await;
            }
            match right {
                Some(right) => right,
                None => {
                    let patience = asked.query("timeout").strip_suffix("ms");
                    let patience = patience.and_then(|patience| patience.parse().ok());
                    let patience = patience.map_or(FOR_EVER, Duration::from_millis);
                    tokio::time::sleep(patience).await;
                    refuses("context deadline exceeded")
                }
            }
        }
    };
    right.with(fault, "/elsewhere", b'!')
}

/// The one part of a form (RFC 7578).
fn only_part(asked: &Asked) -> Option<&[u8]> {
    let kind = asked.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let boundary = kind.strip_prefix("multipart/form-data; boundary=")?;
    let part = asked.body.strip_prefix(format!("--{boundary}\r\n").as_bytes())?;
    let part = part.strip_suffix(format!("\r\n--{boundary}--\r\n").as_bytes())?;
    let headers = part.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&part[..headers]).ok()?;
    head.contains("Content-Disposition: form-data; name=").then_some(&part[headers + 4..])
}

fn decode(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().replace('+', " ");
    for part in parts {
        decoded.push(char::from(u8::from_str_radix(&part[..2], 16).unwrap()));
        decoded.push_str(&part[2..].replace('+', " "));
    }
    decoded
}

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().try_into().unwrap()
}

fn cid(codec: u8, digest: &[u8; 32]) -> String {
    let bytes = [&[1, codec, 0x12, 32], digest.as_slice()].concat();
    format!("b{}", BASE32_NOPAD.encode(&bytes).to_lowercase())
}

fn parse_cid(text: &str) -> Option<(u8, [u8; 32])> {
    let bytes = BASE32_NOPAD.decode(text.strip_prefix('b')?.to_uppercase().as_bytes()).ok()?;
    match bytes.as_slice() {
        [1, codec @ (RAW | DAG_PB), 0x12, 32, digest @ ..] => {
            Some((*codec, digest.try_into().ok()?))
        }
        _ => None,
    }
}

/// One node of a tree, as the node above it names it.
#[derive(Clone, Copy)]
pub struct Named {
    pub is_leaf: bool,
    pub digest: [u8; 32],
    /// Bytes of content below.
    pub len: u64,
    /// Bytes of all blocks below, its own included.
    pub tree_len: u64,
}

/// A leaf, and its name.
pub fn leaf(content: &[u8]) -> Named {
    let len = content.len() as u64;
    Named { is_leaf: true, digest: sha256(content), len, tree_len: len }
}

/// The bytes of the node above others, and its name.
pub fn parent(children: &[Named]) -> (Vec<u8>, Named) {
    let mut node = Vec::new();
    let (mut len, mut tree_len, mut lens) = (0, 0, Vec::new());
    for child in children {
        let codec = if child.is_leaf { RAW } else { DAG_PB };
        let name = [&[1, codec, 0x12, 32], child.digest.as_slice()].concat();
        let mut link = [&[0x0a, 36], name.as_slice(), &[0x12, 0, 0x18]].concat();
        link.extend(varint(child.tree_len));
        node.push(0x12);
        node.extend(varint(link.len() as u64));
        node.extend(link);
        len += child.len;
        tree_len += child.tree_len;
        lens.push(0x20);
        lens.extend(varint(child.len));
    }
    let data = [&[0x08, 2, 0x18], varint(len).as_slice(), &lens].concat();
    node.push(0x0a);
    node.extend(varint(data.len() as u64));
    node.extend(data);
    tree_len += node.len() as u64;
    let named = Named { is_leaf: false, digest: sha256(&node), len, tree_len };
    (node, named)
}

/// Cuts content as the profile has it; returns the digest of the root.
pub fn add(content: &[u8], keep: &mut impl FnMut(Vec<u8>)) -> [u8; 32] {
    let leaves: Vec<&[u8]> =
        if content.is_empty() { vec![content] } else { content.chunks(LEAF).collect() };
    let mut nodes: Vec<Named> = leaves.iter().map(|content| leaf(content)).collect();
    leaves.iter().for_each(|leaf| keep(leaf.to_vec()));
    while nodes.len() > 1 {
        let above = nodes.chunks(LINKS).map(|group| {
            let (node, named) = parent(group);
            keep(node);
            named
        });
        nodes = above.collect();
    }
    nodes[0].digest
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
    bytes
}

/// Codecs and digests of the children that a node names; none of what is no node.
fn links(node: &[u8]) -> Vec<(u8, [u8; 32])> {
    let mut found = Vec::new();
    let mut rest = node;
    while let [0x12, after @ ..] = rest {
        let (&len, after) = after.split_first().unwrap();
        let (link, after) = after.split_at(usize::from(len));
        let name = &link[2..38];
        found.push((name[1], name[4..].try_into().unwrap()));
        rest = after;
    }
    found
}

/// A web server for the files of a directory. It ends when this is dropped.
pub struct Web {
    pub url: String,
    pub calls: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<()>,
}

impl Drop for Web {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Web {
    /// Serves a directory, with or without ranges.
    pub async fn start(directory: &Path, ranges: bool) -> Self {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let state = (directory.to_owned(), ranges, Arc::clone(&calls));
        let (url, server) = serve(Router::new().fallback(file).with_state(state)).await;
        Self { url, calls, server }
    }
}

type Served = (PathBuf, bool, Arc<Mutex<Vec<String>>>);

async fn file(State((root, ranges, calls)): State<Served>, request: Request) -> Response<Body> {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let range = request.headers().get(header::RANGE);
    let range = range.map(|range| range.to_str().unwrap().to_owned());
    calls.lock().unwrap().push(format!("{path} {}", range.as_deref().unwrap_or("all")));
    let plain = |status: u16| Response::builder().status(status);
    let inside = Path::new(&path).components().all(|part| matches!(part, Component::Normal(_)));
    let Some(content) = std::fs::read(root.join(&path)).ok().filter(|_| inside) else {
        return plain(404).body(Body::empty()).unwrap();
    };
    let Some(range) = range.filter(|_| ranges) else {
        return plain(200).body(Body::from(content)).unwrap();
    };
    let (start, end) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let len = content.len();
    let (start, end) = match (start.parse::<usize>(), end.parse::<usize>()) {
        (Err(_), Ok(last)) => (len.saturating_sub(last), len),
        (Ok(start), Ok(last)) => (start, len.min(last + 1)),
        (Ok(start), Err(_)) => (start, len),
        _ => return plain(400).body(Body::empty()).unwrap(),
    };
    if start >= end {
        return plain(416).body(Body::empty()).unwrap();
    }
    plain(206)
        .header(header::CONTENT_RANGE, format!("bytes {start}-{}/{len}", end - 1))
        .body(Body::from(content[start..end].to_vec()))
        .unwrap()
}
