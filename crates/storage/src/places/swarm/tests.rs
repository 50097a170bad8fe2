use std::{
    collections::BTreeSet,
    ops::Range,
    sync::Mutex,
    time::{Duration, Instant},
};

use alloy_primitives::B256;
use futures_util::{StreamExt, stream};
use galen_types::{ContentRef, ErrorKind, Store};

use super::*;
use crate::{
    Addresses, LocalStore, MAX_CONTENT_LEN, NodeFault, PostageFault,
    place::{Marks, SIDE_BY_SIDE},
    swarm::{CHUNK_LEN, GROUP_LEN, SwarmHasher},
};
use frame::Fault;
use twin::{Batch, Bee as Twin};

#[path = "../../../tests/twin/frame.rs"]
mod frame;
#[path = "../../../tests/twin/bee.rs"]
mod twin;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// For requests that nothing is wrong with, on a machine that is busy.
const PATIENT: Duration = Duration::from_secs(60);

/// For requests that are to run into it; still long for one that nothing is wrong with.
const SHORT: Duration = Duration::from_secs(3);

/// Faults end within this time, with the one retry.
const BOUND: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Notebook {
    sent: Mutex<BTreeSet<u64>>,
    bytes: Mutex<u64>,
    note: Mutex<Option<String>>,
    /// What an earlier process left.
    doubtful: Mutex<Range<u64>>,
}

impl Notebook {
    /// The same notebook in the hands of the next process, without the marks of some blocks.
    fn after_a_kill(&self, forgotten: &[u64]) {
        let mut sent = self.sent.lock().unwrap();
        sent.retain(|block| !forgotten.contains(block));
        let first = (0..).find(|block| !sent.contains(block)).unwrap();
        let last = sent.last().map_or(0, |last| last + 1);
        *self.doubtful.lock().unwrap() = first..last + SIDE_BY_SIDE;
    }
}

impl Marks for Notebook {
    fn is_sent(&self, block: u64) -> bool {
        self.sent.lock().unwrap().contains(&block)
    }

    fn sent(&self, block: u64, bytes: u64) -> Result<(), StorageError> {
        assert!(self.sent.lock().unwrap().insert(block), "block {block} is marked twice");
        *self.bytes.lock().unwrap() += bytes;
        Ok(())
    }

    fn doubtful(&self) -> Range<u64> {
        self.doubtful.lock().unwrap().clone()
    }

    fn note(&self) -> Option<String> {
        self.note.lock().unwrap().clone()
    }

    fn set_note(&self, note: &str) -> Result<(), StorageError> {
        assert!(note.len() <= 256);
        *self.note.lock().unwrap() = Some(note.to_owned());
        Ok(())
    }
}

/// Content that is staged, and a place with the twins behind it.
struct Stage {
    _directory: tempfile::TempDir,
    staged: LocalStore,
    content: Vec<u8>,
    at: ContentRef,
    marks: Notebook,
    place: Swarm,
}

impl Stage {
    fn new(twins: &[&Twin], len: usize) -> Self {
        Self::with(twins, len, None, SHORT)
    }

    fn with(twins: &[&Twin], len: usize, batch: Option<&str>, timeout: Duration) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let staged = LocalStore::open(directory.path()).unwrap();
        let content = bytes(len);
        let at = staged.put(content.as_slice()).unwrap().of(Store::Swarm);
        let urls = twins.iter().map(|twin| twin.url.clone()).collect();
        let node = NodeOptions { urls, token: None };
        let http = HttpOptions { timeout, retries: 1, ..HttpOptions::default() };
        let place = Swarm::nodes("swarm", &node, batch, &http).unwrap();
        let marks = Notebook::default();
        Self { _directory: directory, staged, content, at, marks, place }
    }

    async fn send(&self) -> Result<(), StorageError> {
        let len = self.content.len() as u64;
        let addresses = Addresses { swarm: self.at.digest, ipfs: B256::ZERO, len };
        let upload = Upload { addresses, staged: &self.staged, marks: &self.marks };
        self.place.send(&upload).await
    }

    async fn read(&self) -> Result<Vec<u8>, StorageError> {
        read(&self.place, &self.at).await
    }
}

async fn read(place: &Swarm, at: &ContentRef) -> Result<Vec<u8>, StorageError> {
    let opened = place.open(at).await?;
    let mut content = Vec::new();
    for piece in 0..opened.len().div_ceil(opened.piece_len()) {
        content.extend_from_slice(&opened.piece(piece).await?);
    }
    assert_eq!(content.len() as u64, opened.len());
    Ok(content)
}

/// Every call with every fault, some of them at once since most wait for a deadline.
async fn each<F>(calls: &[&str], faults: &[F], test: impl AsyncFn(&str, &F)) {
    let cases = calls.iter().flat_map(|call| faults.iter().map(move |fault| (call, fault)));
    stream::iter(cases).for_each_concurrent(4, |(call, fault)| test(call, fault)).await;
}

/// Bytes of which no two leaves are the same.
fn bytes(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64 ^ len as u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn assert_node_fault(result: Result<impl Sized, StorageError>, expected: &NodeFault, case: &str) {
    match result.map(drop) {
        Err(StorageError::Node { fault, .. }) => assert_eq!(fault, *expected, "{case}"),
        other => panic!("{case}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_of_every_shape_comes_back() {
    let leaf = CHUNK_LEN;
    let block = CHUNK_LEN * GROUP_LEN;
    for len in [
        0,
        1,
        leaf,
        leaf + 1,
        block - 1,
        block,
        block + 1,
        block + leaf + 1,
        MIB,
        MIB + 1,
        // 128 nodes of level 1 and a lone leaf that moves up twice.
        GROUP_LEN * block + 1,
    ] {
        let twin = Twin::start().await;
        let stage = Stage::with(&[&twin], len, None, PATIENT);
        stage.send().await.unwrap();
        assert_eq!(stage.read().await.unwrap(), stage.content, "{len} bytes");
        assert_eq!(*stage.marks.bytes.lock().unwrap(), len as u64, "{len} bytes");
        twin.collect_garbage();
        assert_eq!(twin::split(&stage.content, &mut |_, _| {}), stage.at.digest, "{len} bytes");
        let sent_twice = twin.store().received.values().any(|times| *times > 1);
        assert!(!sent_twice, "{len} bytes");
        assert_eq!(stage.read().await.unwrap(), stage.content, "{len} bytes, only what is pinned");

        assert!(stage.place.release(&stage.at).await.unwrap(), "{len} bytes");
        assert!(!stage.place.release(&stage.at).await.unwrap(), "{len} bytes");
        twin.collect_garbage();
        let gone = stage.place.open(&stage.at).await;
        assert!(matches!(gone, Err(StorageError::NotFound(at)) if at == stage.at), "{len} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_are_read_in_any_order() {
    let twin = Twin::start().await;
    let content = bytes(GROUP_LEN * CHUNK_LEN * GROUP_LEN + 2 * CHUNK_LEN);
    let at = ContentRef::swarm(twin.keep(&content));
    let stage = Stage::new(&[&twin], 0);
    let opened = stage.place.open(&at).await.unwrap();
    let len = usize::try_from(opened.piece_len()).unwrap();
    for piece in [128, 0, 127, 128, 5] {
        let start = piece * len;
        let expected = &content[start..content.len().min(start + len)];
        assert_eq!(opened.piece(piece as u64).await.unwrap(), expected, "{piece}");
    }
    let behind = opened.piece(129).await;
    assert!(matches!(behind, Err(StorageError::OutOfRange { .. })));
}

/// Faults of one call, what an upload says to them, and whether it can go on afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn faulty_uploads_end_in_time_and_go_on_later() {
    let timed_out = NodeFault::TimedOut(SHORT);
    let broke = NodeFault::Unreachable("the connection broke".to_owned());
    let stored = NodeFault::Malformed("the address of what it stored");
    let faults: &[(Fault, NodeFault)] = &[
        (Fault::Status(400), NodeFault::Status(400)),
        (Fault::Status(401), NodeFault::Refused(401)),
        (Fault::Status(500), NodeFault::Status(500)),
        (Fault::RetryAfter(429, 0), NodeFault::RateLimited),
        (Fault::OtherBytes, NodeFault::OtherAddress),
        (Fault::TooFew, stored.clone()),
        (Fault::TooMany(2 * MIB), NodeFault::TooLong(1 << 20)),
        (Fault::Slow(2 * SHORT), timed_out.clone()),
        (Fault::Never, timed_out),
        (Fault::Redirect, NodeFault::Redirect),
        (Fault::Cut, broke),
        (Fault::Nonsense, stored),
    ];
    each(&["POST bytes", "POST chunks"], faults, async |call, (fault, expected)| {
        let case = format!("{call}: {fault:?}");
        let twin = Twin::start().await;
        let stage = Stage::new(&[&twin], MIB + 1);
        twin.fail_later(call, *fault, usize::MAX, usize::from(call == "POST bytes"));
        let begun = Instant::now();
        assert_node_fault(stage.send().await, expected, &case);
        assert!(begun.elapsed() < BOUND, "{case}");
        twin.heal();
        stage.marks.after_a_kill(&[]);
        stage.send().await.unwrap();
        assert_eq!(stage.read().await.unwrap(), stage.content, "{case}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_that_pass_are_not_seen() {
    let calls = ["POST bytes", "POST chunks", "POST pins", "POST tags", "GET stamps"];
    let faults = [Fault::Status(500), Fault::RetryAfter(429, 1), Fault::Cut, Fault::Never];
    each(&calls, &faults, async |call, fault| {
        let twin = Twin::start().await;
        let timeout = if *fault == Fault::Never { SHORT } else { PATIENT };
        let stage = Stage::with(&[&twin], MIB + 1, None, timeout);
        twin.fail(call, *fault, 1);
        stage.send().await.unwrap_or_else(|error| panic!("{call}, {fault:?}: {error}"));
        assert_eq!(stage.read().await.unwrap(), stage.content, "{call}, {fault:?}");
        let pinned = twin.store().calls.iter().filter(|call| *call == "POST pins").count();
        assert_eq!(
            pinned,
            1 + usize::from(call == "POST pins"),
            "{call}, {fault:?}: nothing was lost"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faulty_nodes_give_no_wrong_byte() {
    let timed_out = NodeFault::TimedOut(SHORT);
    let faults: &[(Fault, Option<NodeFault>)] = &[
        (Fault::Status(400), Some(NodeFault::Status(400))),
        (Fault::Status(403), Some(NodeFault::Refused(403))),
        (Fault::Status(404), Some(NodeFault::Status(404))),
        (Fault::Status(500), Some(NodeFault::Status(500))),
        (Fault::RetryAfter(429, 0), Some(NodeFault::RateLimited)),
        (Fault::OtherBytes, None),
        (Fault::TooFew, None),
        (Fault::TooMany(1), None),
        (Fault::Slow(2 * SHORT), Some(timed_out.clone())),
        (Fault::Never, Some(timed_out)),
        (Fault::Redirect, Some(NodeFault::Redirect)),
        (Fault::Cut, Some(NodeFault::Unreachable("the connection broke".to_owned()))),
        (Fault::Nonsense, None),
    ];
    let content = bytes(MIB + 1);
    each(&["GET bytes", "GET chunks"], faults, async |call, (fault, expected)| {
        let case = format!("{call}: {fault:?}");
        let twin = Twin::start().await;
        let at = ContentRef::swarm(twin.keep(&content));
        let stage = Stage::new(&[&twin], 0);
        // The root is spared: a part is to fail.
        twin.fail_later(call, *fault, usize::MAX, usize::from(call == "GET chunks"));
        let begun = Instant::now();
        match (read(&stage.place, &at).await, expected) {
            (Err(StorageError::Integrity(of)), None) if of == at => {}
            // More than can be right is refused before it is read.
            (Err(StorageError::Node { fault: NodeFault::TooLong(_), .. }), None) => {
                assert_eq!(*fault, Fault::TooMany(1), "{case}");
            }
            (result, Some(expected)) => assert_node_fault(result, expected, &case),
            (result, None) => panic!("{case}: {result:?}"),
        }
        assert!(begun.elapsed() < BOUND, "{case}");
        twin.heal();
        assert_eq!(read(&stage.place, &at).await.unwrap(), content, "{case}");
    })
    .await;
}

#[tokio::test]
async fn trees_that_lie_are_refused() {
    let twin = Twin::start().await;
    let stage = Stage::new(&[&twin], 0);
    let leaf = twin.keep(&bytes(CHUNK_LEN));
    let short = twin.keep(&bytes(100));
    let two = [leaf.0, short.0].concat();
    let level1 = twin.keep(&bytes(512 * KIB));
    let level2_span = 512 * KIB as u64 + 100;
    let trees: &[(&str, u64, Vec<u8>)] = &[
        ("a span that is more than there is", 5000, vec![1; 4096]),
        ("a leaf with a span that is less than there is", 3, vec![1; 4]),
        ("a leaf with a span that is more than there is", 5, vec![1; 4]),
        ("a span beyond the limit", MAX_CONTENT_LEN + 1, two.clone()),
        ("parity", 0x8100_0000_0000_1064, two.clone()),
        ("too few addresses", 4096 + 4097, two.clone()),
        ("too many addresses", 4096, two.clone()),
        ("half an address", 4096 + 100, two[..50].to_vec()),
        ("another length below", 4096 + 101, two.clone()),
        ("a leaf where a subtree belongs", level2_span, [leaf.0, short.0].concat()),
        ("a subtree where a leaf belongs", level2_span, [level1.0, level1.0].concat()),
    ];
    for (case, span, payload) in trees {
        let at = ContentRef::swarm(twin.keep_chunk(*span, payload));
        let result = read(&stage.place, &at).await;
        let kind = result.expect_err(case).kind();
        assert_eq!(kind, ErrorKind::Integrity, "{case}");
    }
    let right = ContentRef::swarm(twin.keep_chunk(level2_span, &[level1.0, short.0].concat()));
    assert_eq!(read(&stage.place, &right).await.unwrap().len() as u64, level2_span);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_endpoint_helps_out() {
    for fault in [Fault::OtherBytes, Fault::Status(404), Fault::Status(500), Fault::Never] {
        let (bad, good) = (Twin::start().await, Twin::start().await);
        let stage = Stage::new(&[&bad, &good], MIB + 1);
        for twin in [&bad, &good] {
            twin.keep(&stage.content);
        }
        for call in ["GET bytes", "GET chunks"] {
            bad.fail(call, fault, usize::MAX);
        }
        assert_eq!(stage.read().await.unwrap(), stage.content, "{fault:?}");
    }
}

/// The second node has another batch, another session and none of the blocks that the first one confirmed.
#[tokio::test(flavor = "multi_thread")]
async fn another_node_takes_over_an_upload() {
    let (bad, good) = (Twin::start().await, Twin::start().await);
    good.store().batches = vec![Batch::new(0x0d, 1000)];
    bad.fail_later("POST bytes", Fault::Status(500), usize::MAX, 1);
    let stage = Stage::new(&[&bad, &good], 3 * MIB);
    stage.send().await.unwrap();
    good.collect_garbage();
    assert_eq!(stage.read().await.unwrap(), stage.content);
    assert!(good.store().pins.contains(&stage.at.digest));
    assert!(!good.store().paid_with.contains(&Batch::new(0xba, -1).id));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_where_it_was_killed() {
    let twin = Twin::start().await;
    let stage = Stage::with(&[&twin], 20 * 512 * KIB + 1, None, PATIENT);
    // 21 subtrees and one root; the 11th request fails for good.
    twin.fail_later("POST bytes", Fault::Status(400), usize::MAX, 10);
    stage.send().await.unwrap_err();
    twin.idle().await;
    twin.heal();
    let confirmed = twin.store().received.len() as u64;
    assert!((1..=10).contains(&confirmed), "{confirmed}");
    // Some answers never reached the process that was killed.
    stage.marks.after_a_kill(&[0, 3, confirmed]);
    stage.send().await.unwrap();
    assert_eq!(stage.read().await.unwrap(), stage.content);
    let store = twin.store();
    assert!(store.received.values().all(|times| *times == 1), "{:?}", store.received);
    assert_eq!(store.received.len(), 22);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_what_it_confirmed_gets_it_again() {
    let twin = Twin::start().await;
    let stage = Stage::new(&[&twin], 3 * MIB);
    twin.fail("POST pins", Fault::Status(400), usize::MAX);
    assert_node_fault(stage.send().await, &NodeFault::Status(400), "pins");
    twin.heal();
    twin.start_again();
    stage.marks.after_a_kill(&[]);
    stage.send().await.unwrap();
    assert_eq!(stage.read().await.unwrap(), stage.content);

    let liar = Twin::start().await;
    let stage = Stage::new(&[&liar], 3 * MIB);
    liar.fail("POST bytes", Fault::Forget, usize::MAX);
    assert_node_fault(stage.send().await, &NodeFault::Lost, "a liar");
    assert!(liar.store().received.values().all(|times| *times <= 2), "one more chance");
}

/// The marks stay right under another batch, so the way out is to name one.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_an_old_node_never_takes_again_is_explained() {
    let twin = Twin::start().await;
    let other = Batch::new(0x0d, 10);
    twin.store().batches.push(other);
    twin.store().forgets_no_stamp = true;
    let mut stage = Stage::with(&[&twin], 3 * MIB, None, PATIENT);
    twin.fail_later("POST bytes", Fault::Cut, usize::MAX, 2);
    stage.send().await.unwrap_err();
    twin.heal();
    stage.marks.after_a_kill(&[]);
    match stage.send().await {
        Err(StorageError::Postage { fault, .. }) => assert_eq!(fault, PostageFault::Stuck),
        result => panic!("{result:?}"),
    }
    stage.place.batch = Some(other.id);
    stage.send().await.unwrap();
    assert_eq!(stage.read().await.unwrap(), stage.content);
    assert!(twin.store().received.values().all(|times| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found() {
    let twin = Twin::start().await;
    let stage = Stage::new(&[&twin], MIB + 1);
    assert!(matches!(stage.read().await, Err(StorageError::NotFound(at)) if at == stage.at));
    assert!(!stage.place.release(&stage.at).await.unwrap());
    let ipfs = ContentRef { store: Store::Ipfs, digest: stage.at.digest };
    assert!(matches!(stage.place.open(&ipfs).await, Err(StorageError::Unsupported(_))));
    assert!(matches!(stage.place.release(&ipfs).await, Err(StorageError::Unsupported(_))));

    let node = NodeOptions { urls: vec![twin.url.clone()], token: None };
    let gateway = Swarm::gateway("gateway", &node, &HttpOptions::default()).unwrap();
    let addresses = Addresses { swarm: stage.at.digest, ipfs: B256::ZERO, len: 0 };
    let upload = Upload { addresses, staged: &stage.staged, marks: &stage.marks };
    assert!(!gateway.is_writable());
    assert!(matches!(gateway.send(&upload).await, Err(StorageError::ReadOnly(_))));
    assert!(matches!(gateway.release(&stage.at).await, Err(StorageError::ReadOnly(_))));
    let at = ContentRef::swarm(twin.keep(b"read only"));
    assert_eq!(read(&gateway, &at).await.unwrap(), b"read only");
}

#[tokio::test]
async fn postage_is_chosen_and_explained() {
    const HOUR: i64 = 3600;
    let new = Batch { usable: false, ..Batch::new(2, HOUR) };
    let full = Batch { utilization: 16, ..Batch::new(3, HOUR) };
    let expired = Batch::new(4, 0);
    let good = Batch::new(5, HOUR);
    let longer = Batch::new(6, 2 * HOUR);
    let for_ever = Batch::new(7, -1);
    let other = hex(&Batch::new(9, HOUR));
    type Case<'a> = (&'a [Batch], Option<String>, Result<Batch, PostageFault>);
    let cases: &[Case<'_>] = &[
        (&[], None, Err(PostageFault::Missing)),
        (&[new], None, Err(PostageFault::TooNew)),
        (&[full], None, Err(PostageFault::Full)),
        (&[expired], None, Err(PostageFault::Expired)),
        (&[expired, full, new], None, Err(PostageFault::Missing)),
        (&[full, good, longer, new], None, Ok(longer)),
        (&[longer, for_ever, good], None, Ok(for_ever)),
        (&[longer, good], Some(hex(&good)), Ok(good)),
        (&[longer, new], Some(hex(&new)), Err(PostageFault::TooNew)),
        (&[longer, full], Some(hex(&full)), Err(PostageFault::Full)),
        (&[longer], Some(other), Err(PostageFault::Unknown)),
    ];
    for (case, (batches, wanted, expected)) in cases.iter().enumerate() {
        let twin = Twin::start().await;
        twin.store().batches = batches.to_vec();
        let stage = Stage::with(&[&twin], 5000, wanted.as_deref(), PATIENT);
        match (stage.send().await, expected) {
            (Ok(()), Ok(batch)) => {
                assert_eq!(twin.store().paid_with, [batch.id].into(), "{case}");
            }
            (Err(StorageError::Postage { fault, node }), Err(expected)) => {
                assert_eq!(fault, *expected, "{case}");
                assert_eq!(node, twin.url, "{case}");
            }
            (result, _) => panic!("{case}: {result:?}"),
        }
    }
}

/// The batch runs out of time or room while the upload is under way, or the node does not say which it has.
#[tokio::test]
async fn postage_that_ends_on_the_way_is_explained() {
    let batch = Batch::new(5, 10);
    let cases: &[(Fault, &[Batch], PostageFault)] = &[
        (Fault::Status(402), &[batch], PostageFault::Full),
        (Fault::Status(404), &[batch], PostageFault::Unknown),
        (Fault::Status(422), &[batch], PostageFault::TooNew),
        (Fault::Status(422), &[], PostageFault::Expired),
    ];
    // The node breaks off a large request instead of saying that the batch is full.
    let twin = Twin::start().await;
    twin.store().batches = vec![Batch { utilization: 16, ..batch }];
    twin.fail("GET stamps", Fault::Status(404), usize::MAX);
    let stage = Stage::with(&[&twin], MIB, Some(&hex(&batch)), PATIENT);
    match stage.send().await {
        Err(StorageError::Postage { fault, .. }) => assert_eq!(fault, PostageFault::Full),
        other => panic!("{other:?}"),
    }
    for (fault, batches, expected) in cases {
        let twin = Twin::start().await;
        twin.store().batches = batches.to_vec();
        twin.fail("POST bytes", *fault, usize::MAX);
        twin.fail("GET stamps", Fault::Status(405), 1);
        let stage = Stage::with(&[&twin], 5000, Some(&hex(&batch)), PATIENT);
        match stage.send().await {
            Err(StorageError::Postage { fault, .. }) => assert_eq!(fault, *expected),
            other => panic!("{fault:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn health_says_what_uploads_would_use() {
    let twin = Twin::start().await;
    let used = Batch { utilization: 4, ..Batch::new(3, 60) };
    twin.store().batches = vec![used];
    let node = NodeOptions { urls: vec![twin.url.clone()], token: None };
    let http = HttpOptions::default();
    let place = Swarm::nodes("swarm", &node, None, &http).unwrap();
    let postage =
        crate::Postage { batch: hex(&used), time_left: Duration::from_secs(60), used_percent: 25 };
    let version = Some("2.8.0-twin".to_owned());
    let expected = Health { version: version.clone(), postage: Some(postage) };
    assert_eq!(place.health().await.unwrap(), expected);
    let gateway = Swarm::gateway("gateway", &node, &http).unwrap();
    assert_eq!(gateway.health().await.unwrap(), Health { version, postage: None });

    twin.fail("GET stamps", Fault::Status(404), usize::MAX);
    let unlisted = place.health().await.unwrap_err();
    let expected = PostageFault::Unlisted;
    assert!(matches!(unlisted, StorageError::Postage { fault, .. } if fault == expected));
    let named = Swarm::nodes("swarm", &node, Some(&hex(&used)), &http).unwrap();
    assert_eq!(named.health().await.unwrap().postage, None);

    let at = ContentRef::swarm(twin.keep(b"kept"));
    assert_eq!(gateway.keeps(&at).await.unwrap(), None);
    assert_eq!(place.keeps(&at).await.unwrap(), Some(false));
    twin.store().pins.insert(at.digest);
    assert_eq!(place.keeps(&at).await.unwrap(), Some(true));
}

fn hex(batch: &Batch) -> String {
    alloy_primitives::hex::encode(batch.id)
}

#[test]
fn settings_are_checked() {
    let node = |url: &str| NodeOptions { urls: vec![url.to_owned()], token: None };
    let http = HttpOptions::default();
    for (url, batch) in [
        ("ftp://localhost", None),
        ("http://swarm.example.org", None),
        ("https://swarm.example.org", Some("12")),
        ("https://swarm.example.org", Some("no batch")),
    ] {
        let error = Swarm::nodes("swarm", &node(url), batch, &http).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{url}, {batch:?}");
    }
    let digest = SwarmHasher::digest(b"").digest;
    assert_eq!(digest, twin::split(&[], &mut |_, _| {}));
}
