//! A bee node in memory: as much of its HTTP API as content needs, with a fault for every occasion.
//!
//! It cuts, joins and addresses content by code of its own, which is plain and slow, so that it agrees with the code
//! under test only if both follow the definition.

#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "a test fails where it stands, and uses its part"
)]

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use alloy_primitives::{B256, hex, keccak256};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, Response, header},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::frame::{Answer, FOR_EVER, Fault, Faults, serve};

const CHUNK: usize = 4096;
const GROUP: usize = 128;

/// A postage batch.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    pub id: B256,
    pub usable: bool,
    /// Stamps in the fullest bucket; there is room for 16.
    pub utilization: u32,
    /// Seconds left; -1 is for ever.
    pub ttl: i64,
}

impl Batch {
    /// A usable, empty batch.
    pub const fn new(id: u8, ttl: i64) -> Self {
        Self { id: B256::repeat_byte(id), usable: true, utilization: 0, ttl }
    }
}

#[derive(Default)]
pub struct Store {
    /// Chunks, span first, by address.
    pub chunks: HashMap<B256, Vec<u8>>,
    pub pins: HashSet<B256>,
    pub tags: HashSet<u64>,
    pub batches: Vec<Batch>,
    /// How often each block was sent, by the address that it has.
    pub received: HashMap<B256, u32>,
    /// Method and first part of the path of every request, in order.
    pub calls: Vec<String>,
    faults: Faults,
    /// Postage that blocks were sent with.
    pub paid_with: HashSet<B256>,
    /// Whether blocks that break off are never taken again with the same batch, as by bee before v2.
    pub forgets_no_stamp: bool,
    /// Blocks that broke off, and their batches.
    stuck: HashSet<(B256, B256)>,
    /// What callers showed to be let in.
    pub tokens: HashSet<String>,
    /// What was stored in each session since the newest request in it began.
    dirty: HashMap<u64, Vec<B256>>,
    /// Calls that are being answered.
    busy: usize,
}

/// The node. It ends when this is dropped.
pub struct Bee {
    pub url: String,
    store: Arc<Mutex<Store>>,
    server: JoinHandle<()>,
}

impl Drop for Bee {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Bee {
    /// A node with one batch that never ends.
    pub async fn start() -> Self {
        let store = Store { batches: vec![Batch::new(0xba, -1)], ..Store::default() };
        let store = Arc::new(Mutex::new(store));
        let (url, server) = serve(Router::new().fallback(answer).with_state(store.clone())).await;
        Self { url, store, server }
    }

    /// Everything that the node knows.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    /// Lets the next `times` calls fail. A call is a method and the first part of a path: `POST bytes`.
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

    /// Waits until nothing is left to answer, also to those who do not wait for an answer any more.
    pub async fn idle(&self) {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            if self.store().busy == 0 {
                return;
            }
        }
    }

    /// Stores content as `POST /bytes` does, and returns its address.
    pub fn keep(&self, content: &[u8]) -> B256 {
        split(content, &mut |address, chunk| drop(self.store().chunks.insert(address, chunk)))
    }

    /// Stores one chunk of any span.
    pub fn keep_chunk(&self, span: u64, payload: &[u8]) -> B256 {
        let chunk = [&span.to_le_bytes(), payload].concat();
        let address = address_of(&chunk);
        self.store().chunks.insert(address, chunk);
        address
    }

    /// Forgets chunks, pins and sessions; only the batches are on the chain.
    pub fn start_again(&self) {
        let mut store = self.store();
        *store = Store { batches: store.batches.clone(), ..Store::default() };
    }

    /// Throws away all chunks that no pinned content needs.
    pub fn collect_garbage(&self) {
        let mut store = self.store();
        let roots: Vec<B256> = store.pins.iter().copied().collect();
        let mut needed = Vec::new();
        for root in roots {
            store.walk(root, &mut needed);
        }
        let needed: HashSet<B256> = needed.into_iter().collect();
        store.chunks.retain(|address, _| needed.contains(address));
    }
}

fn says(status: u16, body: &Value) -> Answer {
    Answer { status, body: body.to_string().into_bytes() }
}

fn message(status: u16, message: &str) -> Answer {
    says(status, &json!({ "code": status, "message": message }))
}

impl Store {
    /// All chunks of content; `false` if one is missing.
    fn walk(&self, root: B256, into: &mut Vec<B256>) -> bool {
        let Some(chunk) = self.chunks.get(&root) else { return false };
        into.push(root);
        let (span, payload) = parts(chunk);
        span <= CHUNK as u64 || references(payload).all(|child| self.walk(child, into))
    }

    fn join(&self, root: B256, into: &mut Vec<u8>) -> bool {
        let Some(chunk) = self.chunks.get(&root) else { return false };
        let (span, payload) = parts(chunk);
        if span <= CHUNK as u64 {
            into.extend_from_slice(payload);
            return true;
        }
        references(payload).all(|child| self.join(child, into))
    }

    /// A request that breaks off takes along what others in its session stored meanwhile.
    fn clean_up(&mut self, tag: u64) {
        for address in self.dirty.remove(&tag).unwrap_or_default() {
            self.chunks.remove(&address);
        }
    }

    /// Why an upload is refused.
    fn refusal(&mut self, path: &str, headers: &HeaderMap) -> Option<Answer> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let Some(batch) = text("swarm-postage-batch-id").and_then(|id| id.parse::<B256>().ok())
        else {
            return Some(message(400, "invalid header params"));
        };
        match tag_of(headers) {
            Some(tag) if !self.tags.contains(&tag) => return Some(message(404, "tag not found")),
            // A chunk outside of a session would be pushed at once, which needs a network.
            None if path == "chunks" => {
                return Some(message(400, "operation not supported in dev mode"));
            }
            _ => {}
        }
        self.paid_with.insert(batch);
        match self.batches.iter().find(|known| known.id == batch) {
            None => Some(message(404, "batch with id not found")),
            Some(batch) if !batch.usable => {
                Some(message(422, "batch not usable yet or does not exist"))
            }
            Some(batch) if batch.utilization >= 16 => Some(message(402, "batch is overissued")),
            Some(_) => None,
        }
    }

    fn stamps(&self) -> Value {
        let one = |batch: &Batch| {
            json!({
                "batchID": hex::encode(batch.id), "utilization": batch.utilization,
                "utilizationRatio": f64::from(batch.utilization) / 16.0, "usable": batch.usable,
                "label": "", "depth": 20, "amount": "10000000000", "bucketDepth": 16,
                "blockNumber": 1, "immutableFlag": true, "exists": true, "batchTTL": batch.ttl,
            })
        };
        json!({ "stamps": self.batches.iter().map(one).collect::<Vec<_>>() })
    }

    fn upload(&mut self, path: &str, request: &Sent, forgets: bool) -> Answer {
        if let Some(refusal) = self.refusal(path, &request.headers) {
            return refusal;
        }
        let Some((root, chunks)) = &request.chunks else {
            return message(400, "insufficient data length");
        };
        let batch = request.headers["swarm-postage-batch-id"].to_str().unwrap().parse().unwrap();
        if self.stuck.contains(&(*root, batch)) {
            return message(500, "split write all failed");
        }
        if request.breaks_off && self.forgets_no_stamp {
            self.stuck.insert((*root, batch));
            return message(500, "split write all failed");
        }
        *self.received.entry(*root).or_default() += 1;
        if !forgets {
            self.chunks.extend(chunks.iter().cloned());
            if let Some(dirty) = tag_of(&request.headers).and_then(|tag| self.dirty.get_mut(&tag)) {
                dirty.extend(chunks.iter().map(|(address, _)| *address));
            }
        }
        says(201, &json!({ "reference": hex::encode(root) }))
    }

    fn respond(&mut self, method: &Method, path: &str, request: &Sent, forgets: bool) -> Answer {
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let address = rest.parse::<B256>().ok();
        match (method.as_str(), first, address) {
            ("POST", "bytes" | "chunks", None) => self.upload(first, request, forgets),
            ("GET" | "HEAD", "chunks", Some(address)) => match self.chunks.get(&address) {
                Some(chunk) => Answer { status: 200, body: chunk.clone() },
                None => message(404, "chunk not found"),
            },
            ("GET", "bytes", Some(address)) => {
                let mut content = Vec::new();
                match self.join(address, &mut content) {
                    true => Answer { status: 200, body: content },
                    false => message(404, "Not Found"),
                }
            }
            ("POST", "pins", Some(root)) if self.pins.contains(&root) => message(200, "OK"),
            ("POST", "pins", Some(root)) => match self.walk(root, &mut Vec::new()) {
                true => {
                    self.pins.insert(root);
                    message(201, "Created")
                }
                false => message(404, "pin collection failed"),
            },
            ("GET", "pins", Some(root)) if self.pins.contains(&root) => {
                says(200, &json!({ "reference": hex::encode(root) }))
            }
            ("DELETE", "pins", Some(root)) if self.pins.remove(&root) => message(200, "OK"),
            ("POST", "tags", None) => {
                let uid = self.tags.len() as u64 + 1;
                self.tags.insert(uid);
                says(201, &json!({ "uid": uid, "split": 0, "seen": 0, "stored": 0 }))
            }
            ("GET", "stamps", None) => says(200, &self.stamps()),
            ("GET", "stewardship", Some(root)) => {
                says(200, &json!({ "isRetrievable": self.walk(root, &mut Vec::new()) }))
            }
            ("GET", "health", None) => says(
                200,
                &json!({ "status": "ok", "version": "2.8.0-twin", "apiVersion": "7.3.0" }),
            ),
            _ => message(404, "Not Found"),
        }
    }
}

type Chunks = Vec<(B256, Vec<u8>)>;

struct Sent {
    headers: HeaderMap,
    /// What the body is made into if the call stores it: the address of all, and the chunks with theirs.
    chunks: Option<(B256, Chunks)>,
    /// Whether the caller goes away in the middle.
    breaks_off: bool,
}

impl Sent {
    fn new(call: &str, headers: HeaderMap, body: &[u8], fault: Option<Fault>) -> Self {
        let mut chunks = Chunks::new();
        let root = match call {
            "POST bytes" => {
                let root = split(body, &mut |address, chunk| chunks.push((address, chunk)));
                // Nobody who means one address for the same bytes leaves this out: newer nodes add parity by default.
                let plain = headers.get("swarm-redundancy-level").is_some_and(|level| level == "0");
                Some(if plain || body.len() <= CHUNK { root } else { keccak256(root) })
            }
            "POST chunks" if (8..=8 + CHUNK).contains(&body.len()) => {
                let address = address_of(body);
                chunks.push((address, body.to_vec()));
                Some(address)
            }
            _ => None,
        };
        let breaks_off = fault == Some(Fault::Cut);
        Self { headers, chunks: root.map(|root| (root, chunks)), breaks_off }
    }
}

async fn answer(State(store): State<Arc<Mutex<Store>>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return Response::new(Body::empty());
    };
    let path = head.uri.path().trim_start_matches('/').to_owned();
    let call = format!("{} {}", head.method, path.split('/').next().unwrap_or_default());
    let tag = tag_of(&head.headers);
    let mut fault = {
        let mut store = store.lock().unwrap();
        store.calls.push(call.clone());
        let token = head.headers.get(header::AUTHORIZATION);
        store.tokens.extend(token.and_then(|token| token.to_str().ok()).map(str::to_owned));
        if let Some(tag) = tag {
            store.dirty.insert(tag, Vec::new());
        }
        store.faults.take(&call)
    };
    let is_large = body.len() > CHUNK;
    let kept = Arc::clone(&store);
    let elsewhere = || Answer { status: 307, body: Vec::new() };
    let right = match fault {
        Some(Fault::Status(status) | Fault::RetryAfter(status, _)) => message(status, "fault"),
        Some(Fault::Redirect) => elsewhere(),
        Some(Fault::Nonsense) => Answer { status: 200, body: b"<html>".to_vec() },
        Some(Fault::Never) => {
            store.lock().unwrap().faults.hangs += 1;
            tokio::time::sleep(FOR_EVER).await;
            elsewhere()
        }
        _ => {
            if let Some(Fault::Slow(time)) = fault {
                tokio::time::sleep(time).await;
            }
            let forgets = fault == Some(Fault::Forget);
            store.lock().unwrap().busy += 1;
            let hung = Arc::clone(&store);
            let respond = move || {
                let sent = Sent::new(&call, head.headers, &body, fault);
                let mut store = store.lock().unwrap();
                store.busy -= 1;
                store.respond(&head.method, &path, &sent, forgets)
            };
            let right = tokio::task::spawn_blocking(respond).await.unwrap();
            if fault == Some(Fault::Mute) {
                hung.lock().unwrap().faults.hangs += 1;
                tokio::time::sleep(FOR_EVER).await;
            }
            right
        }
    };
    // A refusal that comes while a large body is still under way never arrives.
    if right.status == 402 && is_large {
        fault = Some(Fault::Cut);
    }
    if let (Some(tag), Some(Fault::Status(_) | Fault::Cut | Fault::Redirect)) = (tag, fault) {
        kept.lock().unwrap().clean_up(tag);
    }
    right.with(fault, "/health", b' ')
}

fn tag_of(headers: &HeaderMap) -> Option<u64> {
    headers.get("swarm-tag")?.to_str().ok()?.parse().ok()
}

fn parts(chunk: &[u8]) -> (u64, &[u8]) {
    let (span, payload) = chunk.split_first_chunk().unwrap();
    (u64::from_le_bytes(*span), payload)
}

fn references(payload: &[u8]) -> impl Iterator<Item = B256> {
    payload.chunks(32).map(|reference| B256::left_padding_from(reference))
}

/// The address of a chunk, by the definition.
pub fn address_of(chunk: &[u8]) -> B256 {
    let (span, payload) = chunk.split_at(8);
    let mut level = payload.to_vec();
    level.resize(CHUNK, 0);
    while level.len() > 32 {
        level = level.chunks(64).flat_map(|pair| keccak256(pair).0).collect();
    }
    keccak256([span, &level].concat())
}

/// Cuts content into chunks and returns the address of the root.
pub fn split(content: &[u8], keep: &mut impl FnMut(B256, Vec<u8>)) -> B256 {
    let mut add = |span: u64, payload: &[u8]| {
        let chunk = [&span.to_le_bytes(), payload].concat();
        let address = address_of(&chunk);
        keep(address, chunk);
        (address, span)
    };
    let mut level: Vec<(B256, u64)> =
        content.chunks(CHUNK).map(|leaf| add(leaf.len() as u64, leaf)).collect();
    if level.is_empty() {
        return add(0, &[]).0;
    }
    while level.len() > 1 {
        let parent = |group: &[(B256, u64)]| match group {
            [only] => *only,
            _ => {
                let payload: Vec<u8> = group.iter().flat_map(|(address, _)| address.0).collect();
                add(group.iter().map(|(_, span)| span).sum(), &payload)
            }
        };
        level = level.chunks(GROUP).map(parent).collect();
    }
    level[0].0
}
