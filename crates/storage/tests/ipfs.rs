//! Kubo nodes, gateways and pinning services as places: our address or none, and never a wrong byte.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod twin;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use galen_storage::{
    Addresser, Depth, HttpOptions, LocalStore, NodeFault, NodeOptions, PlaceKind, PlaceOptions,
    Presence, Storage, StorageError, StorageOptions, Token,
    ipfs::{Cid, Codec},
};
use galen_types::{ContentRef, ErrorKind, Store};
use tempfile::TempDir;
use twin::{
    content,
    frame::Fault,
    kubo::{self, Kubo, Web, leaf, parent, sha256},
};

const MIB: usize = 1 << 20;

/// How long a request may take here.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The longest that any call may take: some requests one after the other, each with its retries.
const BOUND: Duration = Duration::from_secs(20);

fn node(urls: &[&str]) -> NodeOptions {
    NodeOptions { urls: urls.iter().map(|url| (*url).to_owned()).collect(), token: None }
}

fn ipfs(kubo: &Kubo) -> (&'static str, PlaceKind) {
    ("ipfs", PlaceKind::Ipfs { node: node(&[&kubo.url]) })
}

fn gateway(kubo: &Kubo) -> (&'static str, PlaceKind) {
    ("gateway", PlaceKind::IpfsGateway { node: node(&[&kubo.url]) })
}

/// Places with a directory of their own, and those that new content goes to.
async fn connect(
    directory: &Path,
    places: &[(&'static str, PlaceKind)],
    keep_in: &[&str],
) -> Storage {
    let places = places
        .iter()
        .map(|(name, kind)| PlaceOptions { name: (*name).to_owned(), kind: kind.clone() });
    Storage::connect(StorageOptions {
        directory: Some(directory.to_owned()),
        places: places.collect(),
        keep_in: keep_in.iter().map(|name| (*name).to_owned()).collect(),
        http: HttpOptions { timeout: TIMEOUT, retries: 1, ..Default::default() },
        progress: None,
    })
    .await
    .unwrap()
}

/// Another machine, which only reads. Making its directory takes long; those of one test share one.
async fn reader(state: &TempDir, places: &[(&'static str, PlaceKind)]) -> Storage {
    connect(state.path(), places, &[]).await
}

fn at(digest: [u8; 32]) -> ContentRef {
    ContentRef::ipfs(digest.into())
}

#[tokio::test]
async fn content_goes_to_a_node_under_its_own_address_and_back() {
    let state = tempfile::tempdir().unwrap();
    let kubo = Kubo::start().await;
    let dir = tempfile::tempdir().unwrap();
    let storage = connect(dir.path(), &[ipfs(&kubo)], &["ipfs"]).await;
    for len in [0, 1, 4096, MIB, MIB + 1, 5 * MIB] {
        let content = content(len);
        let kept = storage.put_bytes(content.clone()).await.unwrap();
        assert_eq!(kept, at(kubo::add(&content, &mut |_| {})), "{len}");
        let codec = if len > MIB { Codec::DagPb } else { Codec::Raw };
        let root = Cid { codec, digest: kept.digest }.to_string();
        let swarm = Addresser::digest(&content).swarm;
        assert_eq!(kubo.store().pins[&root], format!("galen {swarm:x}"));
        assert!(kubo.store().received.values().all(|times| *times == 1), "{len}");
        assert!(storage.pending().await.unwrap().is_empty());

        for place in [ipfs(&kubo), gateway(&kubo)] {
            let other = reader(&state, &[place]).await;
            assert_eq!(other.len(&kept).await.unwrap(), len as u64);
            assert_eq!(other.get(&kept, u64::MAX).await.unwrap(), content, "{len}");
            for start in [0, len / 3, len.saturating_sub(7)] {
                let end = len.min(start + 5000);
                let range = other.read_range(&kept, start as u64..end as u64).await.unwrap();
                assert_eq!(range, content[start..end], "{start} of {len}");
            }
        }
        assert!(storage.release(&kept, "ipfs").await.unwrap());
        assert!(!storage.release(&kept, "ipfs").await.unwrap(), "it was given free already");
        kubo.collect_garbage();
        assert!(kubo.store().blocks.is_empty());
        let gone = reader(&state, &[ipfs(&kubo)]).await.get(&kept, u64::MAX).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound, "{gone}");
        kubo.store().received.clear();
    }
}

/// What may go wrong with an answer, and whether one more try mends it if it happens once.
const FAULTS: [(Fault, bool); 15] = [
    (Fault::Status(402), false),
    (Fault::Status(403), false),
    (Fault::Status(404), false),
    (Fault::Status(429), true),
    (Fault::RetryAfter(429, 1), true),
    (Fault::Status(500), true),
    (Fault::Status(502), true),
    (Fault::Says("pebble: \u{1b}[31mno space left on device"), false),
    (Fault::OtherBytes, false),
    (Fault::TooFew, false),
    (Fault::TooMany(2 * MIB), false),
    (Fault::Never, true),
    (Fault::Redirect, false),
    (Fault::Cut, true),
    (Fault::Nonsense, false),
];

#[tokio::test]
async fn upload_survives_no_fault_unnoticed_and_goes_on_after_it() {
    let state = tempfile::tempdir().unwrap();
    let content = content(2 * MIB + 5);
    let cases = FAULTS.iter().flat_map(|fault| ["block/put", "pin/add"].map(|call| (*fault, call)));
    side_by_side(cases.map(|(fault, call)| upload_with(&state, &content, fault, call))).await;
}

async fn upload_with(state: &TempDir, content: &[u8], (fault, mended): (Fault, bool), call: &str) {
    let kubo = Kubo::start().await;
    let dir = tempfile::tempdir().unwrap();
    let storage = connect(dir.path(), &[ipfs(&kubo)], &["ipfs"]).await;
    kubo.fail(call, fault, usize::MAX);
    let begun = Instant::now();
    let result = storage.put_bytes(content.to_vec()).await;
    assert!(begun.elapsed() < BOUND, "{call} {fault:?}: {:?}", begun.elapsed());
    // The last byte of an answer is a newline, which nobody misses.
    if fault != Fault::TooFew {
        let error = result.unwrap_err();
        assert!(matches!(error, StorageError::Node { .. }), "{call} {fault:?}: {error}");
        let text = error.to_string();
        assert!(!text.contains('\u{1b}') && text.len() < 300, "{text}");
        assert_eq!(storage.pending().await.unwrap().len(), 1);
    }

    kubo.heal();
    if mended {
        kubo.fail(call, fault, 1);
    }
    assert!(storage.resume().await.unwrap().failed.is_empty(), "{call} {fault:?}");
    let kept = storage.put_bytes(content.to_vec()).await.unwrap();
    assert!(storage.pending().await.unwrap().is_empty());
    assert_eq!(reader(state, &[ipfs(&kubo)]).await.get(&kept, u64::MAX).await.unwrap(), content);
    assert_eq!(kubo.store().pins.len(), 1, "{call} {fault:?}");
}

#[tokio::test]
async fn node_that_stores_something_else_or_nothing_is_found_out() {
    let state = tempfile::tempdir().unwrap();
    let kubo = Kubo::start().await;
    let dir = tempfile::tempdir().unwrap();
    let storage = connect(dir.path(), &[ipfs(&kubo)], &["ipfs"]).await;
    let content = content(2 * MIB + 5);

    // It takes every block and keeps none of one.
    kubo.fail_later("block/put", Fault::Forget, 1, 1);
    let kept = storage.put_bytes(content.clone()).await.unwrap();
    assert_eq!(reader(&state, &[ipfs(&kubo)]).await.get(&kept, u64::MAX).await.unwrap(), content);

    // It keeps none at all, however often they are sent.
    let other = vec![7; 2 * MIB];
    kubo.fail("block/put", Fault::Forget, usize::MAX);
    let error = storage.put_bytes(other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("took before"), "{error}");
}

/// Blocks that nobody has pinned may be thrown away between two attempts.
#[tokio::test]
async fn upload_goes_on_after_garbage_was_collected() {
    let state = tempfile::tempdir().unwrap();
    let kubo = Kubo::start().await;
    let dir = tempfile::tempdir().unwrap();
    let storage = connect(dir.path(), &[ipfs(&kubo)], &["ipfs"]).await;
    let content = content(6 * MIB);
    kubo.fail_later("block/put", Fault::Redirect, usize::MAX, 4);
    storage.put_bytes(content.clone()).await.unwrap_err();
    kubo.heal();
    kubo.collect_garbage();
    let kept = storage.put_bytes(content.clone()).await.unwrap();
    assert_eq!(reader(&state, &[ipfs(&kubo)]).await.get(&kept, u64::MAX).await.unwrap(), content);
}

#[tokio::test]
async fn interrupted_upload_sends_nothing_again_that_arrived() {
    let content = content(9 * MIB);
    for arrived in 0..10 {
        let kubo = Kubo::start().await;
        let dir = tempfile::tempdir().unwrap();
        let storage = connect(dir.path(), &[ipfs(&kubo)], &["ipfs"]).await;
        kubo.fail_later("block/put", Fault::Redirect, usize::MAX, arrived);
        storage.put_bytes(content.clone()).await.unwrap_err();
        kubo.heal();
        storage.put_bytes(content.clone()).await.unwrap();
        let received = kubo.store().received.clone();
        assert_eq!(received.len(), 10);
        assert!(received.values().all(|times| *times == 1), "{arrived}: {received:?}");
    }
}

#[tokio::test]
async fn reading_hands_out_right_bytes_or_a_typed_error() {
    let state = tempfile::tempdir().unwrap();
    let content = content(2 * MIB + 5);
    let cases = FAULTS.iter().flat_map(|fault| {
        // Root, or a leaf in the middle.
        let calls = ["block/get", "GET ipfs"].into_iter();
        calls.flat_map(move |call| [0, 2].map(|spared| (*fault, call, spared)))
    });
    side_by_side(
        cases.map(|(fault, call, spared)| read_with(&state, &content, fault, call, spared)),
    )
    .await;
}

/// Most of the time a case waits, but too many at once have no time to answer in time.
async fn side_by_side(cases: impl Iterator<Item = impl Future<Output = ()>>) {
    stream::iter(cases).buffer_unordered(4).collect().await
}

async fn read_with(
    state: &TempDir,
    content: &[u8],
    (fault, mended): (Fault, bool),
    call: &str,
    spared: usize,
) {
    let name = format!("{call} {spared} {fault:?}");
    let kubo = Kubo::start().await;
    let kept = at(kubo.add(content));
    let place = if call == "block/get" { ipfs(&kubo) } else { gateway(&kubo) };
    let alone = reader(state, std::slice::from_ref(&place)).await;
    kubo.fail_later(call, fault, usize::MAX, spared);
    let begun = Instant::now();
    let error = alone.get(&kept, u64::MAX).await.unwrap_err();
    assert!(begun.elapsed() < BOUND, "{name}: {:?}", begun.elapsed());
    let expected = matches!(
        error,
        StorageError::Node { .. } | StorageError::Integrity(_) | StorageError::NotFound(_)
    );
    assert!(expected, "{name}: {error:?}");
    kubo.heal();
    if mended {
        kubo.fail_later(call, fault, 1, spared);
    }
    assert_eq!(alone.get(&kept, u64::MAX).await.unwrap(), content, "{name}");

    // Another copy is tried.
    let good = Kubo::start().await;
    good.add(content);
    let second = ("second", PlaceKind::Ipfs { node: node(&[&good.url]) });
    kubo.heal();
    kubo.fail_later(call, fault, usize::MAX, spared);
    let both = reader(state, &[place, second]).await;
    assert_eq!(both.get(&kept, u64::MAX).await.unwrap(), content, "{name}");
}

#[tokio::test]
async fn slow_answers_are_waited_for_and_missing_content_is_said_to_be_missing() {
    let state = tempfile::tempdir().unwrap();
    let kubo = Kubo::start().await;
    let content = content(MIB + 1);
    let kept = at(kubo.add(&content));
    for place in [ipfs(&kubo), gateway(&kubo)] {
        let storage = reader(&state, std::slice::from_ref(&place)).await;
        for call in ["block/get", "GET ipfs"] {
            kubo.fail(call, Fault::Slow(TIMEOUT / 2), usize::MAX);
        }
        assert_eq!(storage.get(&kept, u64::MAX).await.unwrap(), content);
        kubo.heal();
        let begun = Instant::now();
        let error = storage.get(&at([7; 32]), u64::MAX).await.unwrap_err();
        assert!(begun.elapsed() < BOUND);
        // A gateway does not say that it has looked everywhere.
        let expected = if place.0 == "ipfs" { ErrorKind::NotFound } else { ErrorKind::Unavailable };
        assert_eq!(error.kind(), expected, "{error}");
    }
}

#[tokio::test]
async fn endpoints_stand_for_each_other() {
    let state = tempfile::tempdir().unwrap();
    let content = content(3 * MIB);
    let (lying, empty, good) = (Kubo::start().await, Kubo::start().await, Kubo::start().await);
    let kept = at(good.add(&content));
    lying.add(&content);
    for call in ["block/get", "GET ipfs"] {
        lying.fail(call, Fault::OtherBytes, usize::MAX);
    }
    let urls = [lying.url.as_str(), "http://127.0.0.1:1", &empty.url, &good.url];
    for kind in
        [PlaceKind::Ipfs { node: node(&urls) }, PlaceKind::IpfsGateway { node: node(&urls) }]
    {
        let storage = reader(&state, &[("ipfs", kind)]).await;
        assert_eq!(storage.get(&kept, u64::MAX).await.unwrap(), content);
    }
}

/// Trees that name real blocks and yet say what is not so.
#[tokio::test]
async fn lying_tree_is_found_out() {
    let state = tempfile::tempdir().unwrap();
    let kubo = Kubo::start().await;
    let storage = reader(&state, &[ipfs(&kubo)]).await;
    let (first, second) = (content(MIB), content(6));
    for block in [&first, &second, &content(2 * MIB)] {
        kubo.add_block(block);
    }
    let (one, six) = (leaf(&first), leaf(&second));
    let long = sha256(&content(2 * MIB));
    let (inner, below) = parent(&[one, six]);
    kubo.add_block(&inner);
    let check = async |name: &str, root: Vec<u8>| {
        let kept = at(kubo.add_block(&root));
        match storage.get(&kept, u64::MAX).await {
            // A block that is no root by the profile is content of its own.
            Ok(bytes) => assert_eq!(bytes, root, "{name}"),
            Err(StorageError::Integrity(_)) => {}
            // Found out before it was read.
            Err(StorageError::Node { fault: NodeFault::TooLong(_), .. }) => {}
            Err(error) => panic!("{name}: {error}"),
        }
    };
    check("a leaf shorter than said", parent(&[one, kubo::Named { len: 9, tree_len: 9, ..six }]).0)
        .await;
    check("a leaf longer than said", parent(&[one, kubo::Named { len: 5, tree_len: 5, ..six }]).0)
        .await;
    check("a leaf longer than leaves are", parent(&[one, kubo::Named { digest: long, ..one }]).0)
        .await;
    check("a node for a leaf", parent(&[one, kubo::Named { digest: below.digest, ..six }]).0).await;
    check("children in another order", parent(&[six, one]).0).await;
    check("nodes below the root that hold too little", parent(&[below, below]).0).await;
    // The right one is read.
    assert_eq!(
        storage.get(&at(below.digest), u64::MAX).await.unwrap(),
        [first.as_slice(), &second].concat()
    );
    let error = storage.get(&at(below.digest), 1000).await.unwrap_err();
    assert!(matches!(error, StorageError::TooLong { limit: 1000 }), "{error}");
}

fn pinning(service: &Kubo, token: Option<&str>) -> (&'static str, PlaceKind) {
    let node = NodeOptions {
        urls: vec![service.url.clone()],
        token: token.map(|token| Token::new(token).unwrap()),
    };
    ("service", PlaceKind::Pinning { node, from: "ipfs".to_owned() })
}

#[tokio::test]
async fn pinning_service_fetches_from_our_node_and_lets_go() {
    let kubo = Kubo::start().await;
    kubo.store().token = Some("secret-token");
    let dir = tempfile::tempdir().unwrap();
    let content = content(2 * MIB + 1);
    let wrong = connect(dir.path(), &[ipfs(&kubo), pinning(&kubo, None)], &["service"]).await;
    let error = wrong.put_bytes(content.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");

    let places = [ipfs(&kubo), pinning(&kubo, Some("secret-token"))];
    let storage = connect(dir.path(), &places, &["service"]).await;
    assert!(!format!("{storage:?}").contains("secret-token"));
    // It is asked while it works, and once cannot answer.
    kubo.fail_later("GET pins", Fault::Status(503), 1, 2);
    let kept = storage.put_bytes(content.clone()).await.unwrap();
    assert_eq!(kept.store, Store::Ipfs);
    {
        let store = kubo.store();
        assert_eq!(store.requests.len(), 1);
        let asked = &store.asked[0];
        assert_eq!(asked["cid"], Cid::dag_pb(kept.digest).to_string());
        assert_eq!(
            asked["origins"][0], "/ip4/10.1.2.3/tcp/4001/p2p/12D3KooWTwin",
            "what others reach comes first"
        );
        assert_eq!(asked["origins"].as_array().unwrap().len(), 2, "what is no address is left out");
        assert_eq!(store.peers, ["/ip4/192.0.2.7/tcp/4001/p2p/12D3KooWService"]);
    }
    let presence = |found: Vec<galen_storage::Found>| {
        found.into_iter().find(|found| found.place == "service").unwrap().presence
    };
    let found = presence(storage.check(&kept, Depth::Root).await.unwrap());
    assert!(matches!(found, Presence::Present), "{found:?}");
    storage.put_bytes(content.clone()).await.unwrap();
    assert_eq!(kubo.store().requests.len(), 1, "nothing is pinned twice");

    // Other content lies at our node already.
    let other = kubo.add(&[5; MIB + 9]);
    kubo.store().received.clear();
    assert_eq!(storage.put_bytes(vec![5; MIB + 9]).await.unwrap(), at(other));
    assert!(kubo.store().received.is_empty());
    assert!(storage.release(&at(other), "service").await.unwrap());

    assert!(storage.release(&kept, "service").await.unwrap());
    assert!(kubo.store().requests.is_empty());
    let found = presence(storage.check(&kept, Depth::Root).await.unwrap());
    assert!(matches!(found, Presence::Missing), "{found:?}");
}

#[tokio::test]
async fn pinning_service_that_fails_is_waited_for_in_bounds() {
    let content = content(MIB + 1);
    let cases = [
        (Fault::Status(402), ErrorKind::Unavailable),
        (Fault::Status(403), ErrorKind::Denied),
        (Fault::Status(409), ErrorKind::Unavailable),
        (Fault::Status(429), ErrorKind::Unavailable),
        (Fault::Status(500), ErrorKind::Unavailable),
        (Fault::OtherBytes, ErrorKind::Unavailable),
        (Fault::TooMany(MIB), ErrorKind::Unavailable),
        (Fault::Never, ErrorKind::Unavailable),
        (Fault::Redirect, ErrorKind::Unavailable),
        (Fault::Cut, ErrorKind::Unavailable),
        (Fault::Nonsense, ErrorKind::Unavailable),
    ];
    let content = &content;
    let check = async |fault, kind| {
        let kubo = Kubo::start().await;
        let dir = tempfile::tempdir().unwrap();
        let places = [ipfs(&kubo), pinning(&kubo, None)];
        let storage = connect(dir.path(), &places, &["service"]).await;
        kubo.fail("POST pins", fault, usize::MAX);
        let begun = Instant::now();
        let error = storage.put_bytes(content.clone()).await.unwrap_err();
        assert!(begun.elapsed() < BOUND, "{fault:?}: {:?}", begun.elapsed());
        assert_eq!(error.kind(), kind, "{fault:?}: {error}");
        kubo.heal();
        storage.put_bytes(content.clone()).await.unwrap();
    };
    side_by_side(cases.into_iter().map(|(fault, kind)| check(fault, kind))).await;
}

/// A service that never gets there, and one that says that it could not.
#[tokio::test]
async fn pinning_service_is_believed_only_when_it_has_everything() {
    let kubo = Kubo::start().await;
    let service = Kubo::start().await;
    let dir = tempfile::tempdir().unwrap();
    let storage = connect(dir.path(), &[ipfs(&kubo), pinning(&service, None)], &["service"]).await;
    // The service cannot reach our node.
    let error = storage.put_bytes(content(9)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("reach the IPFS node"), "{error}");

    service.store().requests.clear();
    service.add(&content(9));
    service.store().patience = u32::MAX;
    let begun = Instant::now();
    let error = storage.put_bytes(content(9)).await.unwrap_err();
    assert!(begun.elapsed() < 2 * BOUND, "{:?}", begun.elapsed());
    assert!(error.to_string().contains("no answer within"), "{error}");
    service.store().requests[0].2 = 0;
    storage.put_bytes(content(9)).await.unwrap();
    assert_eq!(service.store().asked.len(), 2, "the pin that waited was found again");
}

fn folder(urls: &[&str]) -> (&'static str, PlaceKind) {
    ("folder", PlaceKind::Folder { node: node(urls) })
}

#[tokio::test]
async fn published_folder_is_read_by_both_addresses() {
    let state = tempfile::tempdir().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    let ranged = Web::start(dir.path(), true).await;
    let whole = Web::start(dir.path(), false).await;
    for len in [0, 1, 4096, 4097, 512 * 1024 + 1, MIB, MIB + 1, 9 * MIB + 5000] {
        let content = content(len);
        let addresses = store.put(content.as_slice()).unwrap();
        for (web, kind) in [(&ranged, Store::Swarm), (&ranged, Store::Ipfs), (&whole, Store::Ipfs)]
        {
            let storage = reader(&state, &[folder(&[&web.url])]).await;
            let kept = addresses.of(kind);
            assert_eq!(storage.len(&kept).await.unwrap(), len as u64);
            assert_eq!(storage.get(&kept, u64::MAX).await.unwrap(), content, "{kept} {len}");
            let (start, end) = (len / 2, len.min(len / 2 + 70_000));
            web.calls.lock().unwrap().clear();
            let range = storage.read_range(&kept, start as u64..end as u64).await.unwrap();
            assert_eq!(range, content[start..end], "{kept} {len}");
            let calls = web.calls.lock().unwrap().len();
            assert!(calls <= 8, "{calls} requests for one range of {len} bytes");
        }
    }
    let storage = reader(&state, &[folder(&[&ranged.url])]).await;
    assert_eq!(
        storage.health().await[0].health.as_ref().unwrap().version.as_deref(),
        Some("galen store 2")
    );
    for missing in [at([7; 32]), ContentRef::swarm([7; 32].into())] {
        let error = storage.get(&missing, u64::MAX).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
}

/// Whatever lies in the directory, the answer is an error or the right bytes.
#[tokio::test]
async fn damaged_folder_gives_no_wrong_byte() {
    let state = tempfile::tempdir().unwrap();
    let (dir, good) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let content = content(2 * MIB + 5000);
    let addresses = LocalStore::open(dir.path()).unwrap().put(content.as_slice()).unwrap();
    LocalStore::open(good.path()).unwrap().put(content.as_slice()).unwrap();
    let path = |directory: &Path, at: &ContentRef| {
        let (kind, digits) =
            at.to_string().split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        directory.join(kind).join(&digits[..2]).join(digits)
    };
    let file = path(dir.path(), &addresses.of(Store::Swarm));
    let right = std::fs::read(&file).unwrap();
    let (web, other) = (Web::start(dir.path(), true).await, Web::start(good.path(), true).await);
    let len = right.len();
    let bits = [
        0,
        MIB,
        content.len() - 1,
        content.len(),
        content.len() + 9_000,
        len - 60,
        len - 8,
        len - 1,
    ];
    let damaged = bits.map(|byte| {
        let mut bytes = right.clone();
        bytes[byte] ^= 4;
        bytes
    });
    let cut =
        [right[..len - 1].to_vec(), right[1..].to_vec(), Vec::new(), [&right[..], &[0]].concat()];
    for (index, bytes) in damaged.into_iter().chain(cut).enumerate() {
        std::fs::write(&file, &bytes).unwrap();
        for kind in [Store::Swarm, Store::Ipfs] {
            let kept = addresses.of(kind);
            match reader(&state, &[folder(&[&web.url])]).await.get(&kept, u64::MAX).await {
                // The part that only the other address needs may be damaged.
                Ok(bytes) => assert_eq!(bytes, content, "{index} {kept}"),
                Err(error) => {
                    let typed =
                        matches!(error, StorageError::Integrity(_) | StorageError::Node { .. });
                    assert!(typed, "{index} {kept}: {error:?}");
                }
            }
            let second = ("second", folder(&[&other.url]).1);
            let both = reader(&state, &[folder(&[&web.url]), second]).await;
            assert_eq!(both.get(&kept, u64::MAX).await.unwrap(), content, "{index} {kept}");
        }
    }
    // A name that leads elsewhere.
    std::fs::write(&file, &right).unwrap();
    let another = LocalStore::open(dir.path()).unwrap().put(&b"other"[..]).unwrap();
    let name = path(dir.path(), &addresses.of(Store::Ipfs));
    std::fs::write(&name, format!("{:x}\n", another.swarm)).unwrap();
    let kept = addresses.of(Store::Ipfs);
    let error =
        reader(&state, &[folder(&[&web.url])]).await.get(&kept, u64::MAX).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error}");
    // The next endpoint has it right.
    let endpoints = reader(&state, &[folder(&[&web.url, &other.url])]).await;
    assert_eq!(endpoints.get(&kept, u64::MAX).await.unwrap(), content);
}

#[tokio::test]
async fn server_without_ranges_is_not_asked_for_long_files() {
    let state = tempfile::tempdir().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let content = vec![1; 33 * MIB];
    let addresses = LocalStore::open(dir.path()).unwrap().put(content.as_slice()).unwrap();
    let web = Web::start(dir.path(), false).await;
    let storage = reader(&state, &[folder(&[&web.url])]).await;
    let error = storage.len(&addresses.of(Store::Swarm)).await.unwrap_err();
    assert!(error.to_string().contains("only whole files"), "{error}");
}
