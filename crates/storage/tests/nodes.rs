//! The real bee and the real kubo: what goes in under our address comes out, and the nodes give the same address.
//!
//! `scripts/stores run` starts both and says where they are in `GALEN_BEE_URL`, `GALEN_BEE_BATCH` and
//! `GALEN_IPFS_URL`. Without them these tests say so and end; with `GALEN_REQUIRE_NODES=1` they fail.
//! `GALEN_STORE_MIB` is the length of the longest content, 100 if it is not set.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "figures, and why a test was skipped"
)]
#![cfg(target_os = "linux")]

mod child;

use std::{
    env,
    io::{self, Read},
    path::Path,
    time::Instant,
};

use bytes::Bytes;
use child::{Pattern, Task};
use futures_util::{Stream, StreamExt, stream};
use galen_storage::{Addresser, Addresses, Depth, Presence, Storage, ipfs};
use galen_types::{ContentRef, Store};
use reqwest::{Body, Client, Response};
use serde_json::Value;

const MIB: u64 = 1 << 20;

/// Most memory that a process may have that keeps or fetches content of any length, in bytes.
const MAX_PEAK: u64 = 64 * MIB;

#[test]
#[ignore = "what the other tests start"]
fn child() {
    child::run();
}

fn variable(name: &str) -> Option<String> {
    let value = env::var(name).ok().filter(|value| !value.is_empty());
    let required = env::var("GALEN_REQUIRE_NODES").is_ok_and(|value| value == "1");
    assert!(value.is_some() || !required, "GALEN_REQUIRE_NODES=1, and {name} is not set");
    if value.is_none() {
        eprintln!("skipped: {name} is not set");
    }
    value
}

fn lengths() -> Vec<u64> {
    let longest = env::var("GALEN_STORE_MIB").ok().and_then(|mib| mib.parse().ok()).unwrap_or(100);
    vec![0, 1, 4096, 4097, MIB, MIB + 1, longest * MIB]
}

fn addresses(seed: u64, len: u64) -> Addresses {
    let mut addresser = Addresser::new();
    let mut pattern = Pattern::new(seed, len);
    let mut step = vec![0; 1 << 16];
    loop {
        let read = pattern.read(&mut step).unwrap();
        if read == 0 {
            return addresser.finalize();
        }
        addresser.update(&step[..read]);
    }
}

/// The pattern in parts, for the body of a request.
fn parts(seed: u64, len: u64) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::unfold(Pattern::new(seed, len), |mut pattern| async {
        let mut part = vec![0; 1 << 18];
        let mut filled = 0;
        while filled < part.len() {
            match pattern.read(&mut part[filled..]).unwrap() {
                0 => break,
                read => filled += read,
            }
        }
        part.truncate(filled);
        (filled > 0).then(|| (Ok(Bytes::from(part)), pattern))
    })
}

async fn json(response: Response) -> Value {
    let status = response.status();
    let text = response.text().await.unwrap();
    assert!(status.is_success(), "{status}: {text}");
    serde_json::from_str(&text).unwrap()
}

/// What differs between the two nodes.
trait Node {
    /// The place's text, see [`child::place`].
    fn place(&self) -> String;
    fn store(&self) -> Store;
    /// The address that the node's own code gives the pattern.
    async fn split(&self, seed: u64, len: u64) -> String;
    /// How the node writes an address of ours.
    fn written(&self, at: &ContentRef, len: u64) -> String;
    async fn is_pinned(&self, at: &str) -> bool;
}

struct Bee {
    url: String,
    batch: String,
    client: Client,
}

impl Node for Bee {
    fn place(&self) -> String {
        format!("swarm={}#{}", self.url, self.batch)
    }

    fn store(&self) -> Store {
        Store::Swarm
    }

    async fn split(&self, seed: u64, len: u64) -> String {
        let request = self.client.post(format!("{}/bytes", self.url));
        let request = request
            .header("Swarm-Postage-Batch-Id", &self.batch)
            .header("Swarm-Redundancy-Level", "0")
            .header("Content-Type", "application/octet-stream");
        let said =
            json(request.body(Body::wrap_stream(parts(seed, len))).send().await.unwrap()).await;
        said["reference"].as_str().unwrap().to_owned()
    }

    fn written(&self, at: &ContentRef, _len: u64) -> String {
        format!("{:x}", at.digest)
    }

    async fn is_pinned(&self, at: &str) -> bool {
        let asked = self.client.get(format!("{}/pins/{at}", self.url)).send().await.unwrap();
        asked.status().is_success()
    }
}

struct Kubo {
    url: String,
    client: Client,
}

impl Node for Kubo {
    fn place(&self) -> String {
        format!("ipfs={}", self.url)
    }

    fn store(&self) -> Store {
        Store::Ipfs
    }

    async fn split(&self, seed: u64, len: u64) -> String {
        let profile =
            "cid-version=1&raw-leaves=true&chunker=size-1048576&max-file-links=1024&hash=sha2-256";
        let url = format!("{}/api/v0/add?{profile}&only-hash=true&progress=false", self.url);
        let edge = |text: &'static str| stream::iter([Ok(Bytes::from_static(text.as_bytes()))]);
        let before = edge(
            "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"content\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n",
        );
        let form = before.chain(parts(seed, len)).chain(edge("\r\n--edge--\r\n"));
        let request = self.client.post(url).body(Body::wrap_stream(form));
        let request = request.header("Content-Type", "multipart/form-data; boundary=edge");
        let said = json(request.send().await.unwrap()).await;
        said["Hash"].as_str().unwrap().to_owned()
    }

    fn written(&self, at: &ContentRef, len: u64) -> String {
        ipfs::root(at.digest, len).to_string()
    }

    async fn is_pinned(&self, at: &str) -> bool {
        let url = format!("{}/api/v0/pin/ls?arg={at}&type=recursive", self.url);
        self.client.post(url).send().await.unwrap().status().is_success()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bee_keeps_content_under_our_address() {
    let Some(url) = variable("GALEN_BEE_URL") else { return };
    let batch = variable("GALEN_BEE_BATCH").expect("the batch belongs to the node");
    check(&Bee { url, batch, client: Client::new() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubo_keeps_content_under_our_address() {
    let Some(url) = variable("GALEN_IPFS_URL") else { return };
    check(&Kubo { url, client: Client::new() }).await;
}

async fn check(node: &impl Node) {
    let seed = u64::from(std::process::id());
    for len in lengths() {
        let dir = tempfile::tempdir().unwrap();
        let ours = addresses(seed, len).of(node.store());
        let written = node.written(&ours, len);
        let directory = dir.path().join("state");
        let put = Task { what: "put", directory, places: vec![node.place()], seed, len, at: None };
        let begun = Instant::now();
        let said = put.run();
        let put_time = begun.elapsed();
        assert_eq!(said.at, ours, "{len} bytes");
        assert!(said.peak <= MAX_PEAK, "{} bytes of memory to keep {len}", said.peak);
        assert!(node.is_pinned(&written).await, "{len} bytes");
        assert_eq!(node.split(seed, len).await, written, "{len} bytes");

        let directory = dir.path().join("elsewhere");
        let get = Task { what: "get", directory, at: Some(ours), ..put.clone() };
        let begun = Instant::now();
        let read = get.run();
        println!(
            "{} {len} bytes: kept in {put_time:.1?} with {} MiB, read in {:.1?} with {} MiB",
            node.place().split('=').next().unwrap_or_default(),
            said.peak / MIB,
            begun.elapsed(),
            read.peak / MIB,
        );
        assert!(read.peak <= MAX_PEAK, "{} bytes of memory to read {len}", read.peak);
        check_ranges(&put, &ours).await;
        check_release(&put, &ours).await;
        assert!(!node.is_pinned(&written).await, "{len} bytes");
    }
}

async fn storage(directory: &Path, put: &Task) -> Storage {
    Storage::connect(child::options(directory, &put.places)).await.unwrap()
}

async fn check_ranges(put: &Task, at: &ContentRef) {
    let dir = tempfile::tempdir().unwrap();
    let storage = storage(dir.path(), put).await;
    let len = put.len;
    assert_eq!(storage.len(at).await.unwrap(), len);
    for (start, end) in [(0, 1), (4095, 4097), (MIB - 1, MIB + 1), (len / 2, len / 2 + 70_000)] {
        let (start, end) = (start.min(len), end.min(len));
        let expected = Pattern::range(put.seed, start..end);
        let read = storage.read_range(at, start..end).await.unwrap();
        assert!(read == expected, "bytes {start}..{end} of {len}");
    }
    assert!(storage.read_range(at, len..len + 1).await.is_err());
}

async fn check_release(put: &Task, at: &ContentRef) {
    let storage = storage(&put.directory, put).await;
    let health = storage.health().await.remove(0).health.unwrap();
    assert!(health.version.is_some_and(|version| !version.is_empty()));
    let found = storage.check(at, Depth::Whole).await.unwrap();
    assert!(matches!(found[0].presence, Presence::Whole), "{found:?}");
    assert_eq!(storage.copies().await.unwrap().len(), 1);
    let place = storage.places()[0].name.clone();
    assert!(storage.release(at, &place).await.unwrap());
    assert!(!storage.release(at, &place).await.unwrap());
    assert_eq!(storage.copies().await.unwrap(), []);
}
