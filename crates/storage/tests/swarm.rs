//! Bee nodes behind the front door, against a bee in memory: what comes back is right or an error, whatever they do.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod twin;

use std::{
    io::Read,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use galen_storage::{
    Addresser, Depth, HttpOptions, NodeFault, NodeOptions, PlaceKind, PlaceOptions, PostageFault,
    Presence, Progress, Storage, StorageError, StorageOptions, Token, Transfer, Way,
};
use galen_types::{ErrorKind, Store};
use twin::{
    bee::{Bee, split},
    content,
    frame::Fault,
};

const MIB: usize = 1 << 20;

fn node(bees: &[&Bee]) -> NodeOptions {
    NodeOptions { urls: bees.iter().map(|bee| bee.url.clone()).collect(), token: None }
}

fn swarm(name: &str, bee: &Bee) -> PlaceOptions {
    let kind = PlaceKind::Swarm { node: node(&[bee]), batch: None };
    PlaceOptions { name: name.to_owned(), kind }
}

fn options(directory: &Path, places: Vec<PlaceOptions>, keep_in: &[&str]) -> StorageOptions {
    let http = HttpOptions { timeout: Duration::from_secs(20), retries: 1, ..Default::default() };
    let keep_in = keep_in.iter().map(|name| (*name).to_owned()).collect();
    let directory = Some(directory.to_owned());
    StorageOptions { directory, places, keep_in, http, progress: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_goes_to_swarm_and_comes_back() {
    let bee = Bee::start().await;
    let (writer, reader) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let places = vec![swarm("swarm", &bee)];
    let storage = Storage::connect(options(writer.path(), places, &["swarm"])).await.unwrap();
    let kind = PlaceKind::SwarmGateway { node: node(&[&bee]) };
    let gateway = PlaceOptions { name: "gateway".to_owned(), kind };
    let patient = Storage::connect(options(reader.path(), vec![gateway], &[])).await.unwrap();
    for len in [0, 1, 4096, 4097, MIB - 1, MIB, MIB + 1, 5 * MIB + 77] {
        let content = content(len);
        let at = storage.put_bytes(content.clone()).await.unwrap();
        assert_eq!(at, Addresser::digest(&content).of(Store::Swarm), "{len} bytes");
        assert_eq!(
            split(&content, &mut |_, _| {}),
            at.digest,
            "{len} bytes: the node's own address"
        );
        bee.collect_garbage();
        for storage in [&storage, &patient] {
            assert_eq!(storage.get(&at, len as u64).await.unwrap(), content, "{len} bytes");
            let (start, end) = (len / 3, len / 3 * 2);
            let range = storage.read_range(&at, start as u64..end as u64).await.unwrap();
            assert_eq!(range, content[start..end], "{len} bytes");
            let mut opened = storage.open(&at).await.unwrap();
            let streamed = tokio::task::spawn_blocking(move || {
                let mut bytes = Vec::new();
                opened.read_to_end(&mut bytes).map(|_| bytes)
            });
            assert_eq!(streamed.await.unwrap().unwrap(), content, "{len} bytes");
            let found = storage.check(&at, Depth::Whole).await.unwrap();
            assert!(matches!(found[0].presence, Presence::Whole), "{len} bytes: {found:?}");
        }
        assert!(storage.release(&at, "swarm").await.unwrap(), "{len} bytes");
        bee.collect_garbage();
        let gone = patient.get(&at, len as u64).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound, "{len} bytes");
    }
    assert!(storage.pending().await.unwrap().is_empty());
    assert!(bee.store().received.values().all(|times| *times == 1), "nothing is sent twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_fails_in_the_middle_is_passed_over() {
    let faults = [
        Fault::OtherBytes,
        Fault::TooFew,
        Fault::TooMany(1),
        Fault::Status(404),
        Fault::Status(500),
        Fault::Redirect,
        Fault::Cut,
        Fault::Nonsense,
    ];
    let content = content(5 * MIB);
    let (bad, good) = (Bee::start().await, Bee::start().await);
    for bee in [&bad, &good] {
        bee.keep(&content);
    }
    let at = Addresser::digest(&content).of(Store::Swarm);
    for fault in faults {
        let dir = tempfile::tempdir().unwrap();
        let places = vec![swarm("bad", &bad), swarm("good", &good)];
        let storage = Storage::connect(options(dir.path(), places, &["bad"])).await.unwrap();
        bad.fail_later("GET bytes", fault, usize::MAX, 3);
        assert_eq!(storage.get(&at, 5 << 20).await.unwrap(), content, "{fault:?}");
        bad.heal();
        // Both of them wrong, and nobody is left to give a byte.
        for bee in [&bad, &good] {
            bee.fail("GET bytes", fault, usize::MAX);
        }
        let error = storage.get(&at, 5 << 20).await.unwrap_err();
        assert!(matches!(error, StorageError::Everywhere { .. }), "{fault:?}: {error}");
        bad.heal();
        good.heal();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_without_postage_waits_until_there_is_some() {
    let bee = Bee::start().await;
    let batches = std::mem::take(&mut bee.store().batches);
    let dir = tempfile::tempdir().unwrap();
    let places = vec![swarm("swarm", &bee)];
    let storage = Storage::connect(options(dir.path(), places, &["swarm"])).await.unwrap();
    let content = content(MIB + 1);
    let error = storage.put_bytes(content.clone()).await.unwrap_err();
    let missing = PostageFault::Missing;
    assert!(matches!(&error, StorageError::Postage { fault, .. } if *fault == missing), "{error}");
    let pending = storage.pending().await.unwrap();
    assert_eq!(pending.len(), 1);
    assert!(bee.store().received.is_empty());
    bee.store().batches = batches;
    storage.resume().await.unwrap();
    assert_eq!(storage.pending().await.unwrap(), []);
    let at = pending[0].addresses.of(Store::Swarm);
    assert_eq!(storage.get(&at, 2 << 20).await.unwrap(), content);
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_grows_to_the_whole_and_counts_what_was_sent_before() {
    let bee = Bee::start().await;
    let dir = tempfile::tempdir().unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let mut options = options(dir.path(), vec![swarm("swarm", &bee)], &["swarm"]);
    options.progress = Some(Progress::new(move |transfer: &Transfer<'_>| {
        assert_eq!((transfer.place, transfer.total), ("swarm", 5 << 20));
        if transfer.way == Way::Up {
            sink.lock().unwrap().push(transfer.done);
        }
    }));
    let storage = Storage::connect(options).await.unwrap();
    bee.fail_later("POST bytes", Fault::Status(403), usize::MAX, 6);
    let error = storage.put_bytes(content(5 * MIB)).await.unwrap_err();
    let refused = NodeFault::Refused(403);
    assert!(matches!(&error, StorageError::Node { fault, .. } if *fault == refused), "{error}");
    assert_eq!(error.kind(), ErrorKind::Denied);
    let before = told.lock().unwrap().last().copied().unwrap();
    assert!(before < 5 << 20);
    bee.heal();
    told.lock().unwrap().clear();
    storage.resume().await.unwrap();
    let told = told.lock().unwrap();
    assert!(told.is_sorted() && told[0] >= before, "{before}, then {told:?}");
    assert_eq!(told.last(), Some(&(5 << 20)));
}

#[tokio::test]
async fn the_token_goes_to_the_node_and_nowhere_else() {
    let bee = Bee::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut node = node(&[&bee]);
    node.token = Some(Token::new("correct-horse").unwrap());
    let kind = PlaceKind::Swarm { node, batch: None };
    let place = PlaceOptions { name: "swarm".to_owned(), kind };
    let options = options(dir.path(), vec![place], &["swarm"]);
    let shown = format!("{options:?}");
    let storage = Storage::connect(options).await.unwrap();
    storage.put_bytes("sealed").await.unwrap();
    assert_eq!(*bee.store().tokens.iter().next().unwrap(), "Bearer correct-horse");
    bee.fail("GET stamps", Fault::Status(401), usize::MAX);
    let error = storage.put_bytes("more").await.unwrap_err();
    for text in [shown, format!("{storage:?}"), format!("{error:?} {error}")] {
        assert!(!text.contains("horse"), "{text}");
    }
}
