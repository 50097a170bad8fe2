//! Several places behind one front door: who is asked, what is sent where, and what is left when one fails.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]
#![allow(
    clippy::print_stdout,
    reason = "a part of the test shares a file with programs that print"
)]

mod child;
mod twin;

use std::{
    collections::HashMap,
    fs,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use alloy_primitives::hex;
use galen_storage::{
    Addresser, Depth, HttpOptions, LocalStore, PlaceKind, PlaceOptions, Presence, Progress,
    Storage, StorageError, StorageOptions, Way,
};
use galen_types::{ContentRef, ErrorKind, Store};
use tempfile::TempDir;
use twin::{bee::Bee, content, frame::Fault, kubo::Kubo};

/// How long a request may take where one never ends.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The longest that a call may take if a place behaves badly.
const BOUND: Duration = Duration::from_secs(20);

fn file_of(store: &Path, at: &ContentRef) -> PathBuf {
    let name = hex::encode(at.digest);
    store.join("swarm").join(&name[..2]).join(name)
}

/// Places `a` and `b` in directories of these names, and a state directory beside them.
async fn two_places(dir: &TempDir, keep_in: &[&str]) -> Storage {
    let place = |name: &str| PlaceOptions {
        name: name.to_owned(),
        kind: PlaceKind::Local { directory: dir.path().join(name) },
    };
    Storage::connect(StorageOptions {
        directory: Some(dir.path().join("state")),
        places: vec![place("a"), place("b")],
        keep_in: keep_in.iter().map(|name| (*name).to_owned()).collect(),
        ..Default::default()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn content_is_staged_then_published_to_every_place() {
    let dir = tempfile::tempdir().unwrap();
    let storage = two_places(&dir, &["a", "b"]).await;
    for len in [0, 1, 4096, 4097, 1_048_577] {
        let content = content(len);
        let addresses = storage.stage_bytes(content.clone()).await.unwrap();
        assert_eq!(addresses, Addresser::digest(&content));
        let at = addresses.of(Store::Swarm);
        let there = LocalStore::open(dir.path().join("b")).unwrap();
        assert!(!there.contains(&at).unwrap(), "staged is not sent");

        assert_eq!(storage.publish(&at).await.unwrap(), at);
        assert_eq!(storage.publish(&at).await.unwrap(), at, "again");
        assert_eq!(there.get(&at, u64::MAX).unwrap(), content);
        assert_eq!(storage.pending().await.unwrap(), []);
        for found in storage.check(&at, Depth::Whole).await.unwrap() {
            assert!(matches!(found.presence, Presence::Whole), "{found:?}");
        }
        let copies = storage.copies().await.unwrap();
        let of: Vec<_> = copies.iter().filter(|copy| copy.addresses == addresses).collect();
        assert_eq!(of.iter().map(|copy| copy.place.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }
}

/// A place whose copy is damaged, cut or gone is passed over, also half way, and mended from the other one.
#[tokio::test]
async fn damaged_copy_is_passed_over_and_mended() {
    let dir = tempfile::tempdir().unwrap();
    let storage = two_places(&dir, &["a", "b"]).await;
    let content = content(3_000_000);
    let at = storage.put_bytes(content.clone()).await.unwrap();
    let file = file_of(&dir.path().join("a"), &at);
    let good = fs::read(&file).unwrap();
    let mut flipped = good.clone();
    flipped[2_000_000] ^= 1;
    let damages: [(&str, Option<Vec<u8>>); 4] = [
        ("flipped", Some(flipped)),
        ("cut", Some(good[..1_000_000].to_vec())),
        ("empty", Some(Vec::new())),
        ("gone", None),
    ];
    for (what, bytes) in damages {
        match bytes {
            Some(bytes) => fs::write(&file, bytes).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        assert_eq!(storage.get(&at, u64::MAX).await.unwrap(), content, "{what}");
        let range = storage.read_range(&at, 1_999_000..2_001_000).await.unwrap();
        assert_eq!(range, content[1_999_000..2_001_000], "{what}");
        let mut reader = storage.open(&at).await.unwrap();
        let (read, reader) = tokio::task::spawn_blocking(move || {
            let mut read = Vec::new();
            reader.read_to_end(&mut read).map(|_| (read, reader))
        })
        .await
        .unwrap()
        .unwrap();
        assert_eq!(read, content, "{what}");
        drop(reader);

        let found = storage.check(&at, Depth::Whole).await.unwrap();
        assert!(matches!(found[0].presence, Presence::Damaged | Presence::Missing), "{found:?}");
        assert!(matches!(found[1].presence, Presence::Whole), "{found:?}");
        assert!(storage.copy(&at, "a").await.unwrap(), "{what}");
        assert!(!storage.copy(&at, "a").await.unwrap(), "{what}: it is there");
        assert_eq!(fs::read(&file).unwrap(), good, "{what}");
    }
}

/// With no right copy left, nothing is handed out, and the error says what each place said.
#[tokio::test]
async fn content_that_is_right_nowhere_is_an_error_that_names_all_places() {
    let dir = tempfile::tempdir().unwrap();
    let storage = two_places(&dir, &["a", "b"]).await;
    let at = storage.put_bytes(content(2_000_000)).await.unwrap();
    fs::remove_file(file_of(&dir.path().join("a"), &at)).unwrap();
    let file = file_of(&dir.path().join("b"), &at);
    let mut bytes = fs::read(&file).unwrap();
    bytes[1_500_000] ^= 1;
    fs::write(&file, bytes).unwrap();
    let error = storage.get(&at, u64::MAX).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    let StorageError::Everywhere { failures, .. } = &error else { panic!("{error:?}") };
    let places: Vec<_> = failures.iter().map(|(place, _)| place.as_str()).collect();
    assert_eq!(places, ["a", "b"], "{error}");
    assert_eq!(storage.read_range(&at, 0..1000).await.unwrap(), content(2_000_000)[..1000]);
    assert!(storage.copy(&at, "a").await.is_err());
}

#[tokio::test]
async fn released_content_is_gone_from_that_place_alone() {
    let dir = tempfile::tempdir().unwrap();
    let storage = two_places(&dir, &["a", "b"]).await;
    let at = storage.put_bytes("sealed").await.unwrap();
    assert!(storage.release(&at, "a").await.unwrap());
    assert!(!storage.release(&at, "a").await.unwrap());
    let copies = storage.copies().await.unwrap();
    assert_eq!(copies.iter().map(|copy| copy.place.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(storage.get(&at, 10).await.unwrap(), "sealed");
    assert!(storage.remove(&at).await.unwrap());
    assert!(!storage.contains(&at).await.unwrap());
    assert!(!storage.remove(&at).await.unwrap());
}

/// What is known about copies survives the program, and a log that was torn is read as far as it goes.
#[tokio::test]
async fn log_of_copies_survives_and_may_be_torn() {
    let dir = tempfile::tempdir().unwrap();
    let storage = two_places(&dir, &["a"]).await;
    let first = storage.put_bytes("first").await.unwrap();
    let log = dir.path().join("state/copies");
    let whole = fs::read(&log).unwrap();
    for torn in [&b"+ 12"[..], b"\0\0\0\0", b"- "] {
        fs::write(&log, [whole.as_slice(), torn].concat()).unwrap();
        let storage = two_places(&dir, &["a"]).await;
        assert_eq!(storage.copies().await.unwrap().len(), 1);
        assert!(storage.addresses(&first).await.unwrap().is_some());
        let second = storage.put_bytes("second").await.unwrap();
        assert_eq!(storage.copies().await.unwrap().len(), 2);
        assert!(storage.addresses(&second).await.unwrap().is_some());
        assert!(storage.remove(&second).await.unwrap());
    }
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let local = |name: &str| PlaceOptions {
        name: name.to_owned(),
        kind: PlaceKind::Local { directory: dir.path().join("place") },
    };
    let cases: [(Vec<PlaceOptions>, Vec<&str>); 4] = [
        (vec![local("")], vec![]),
        (vec![local("two words")], vec![]),
        (vec![local("twice"), local("twice")], vec![]),
        (vec![local("here")], vec!["there"]),
    ];
    for (places, keep_in) in cases {
        let keep_in = keep_in.into_iter().map(str::to_owned).collect();
        let options = StorageOptions { places, keep_in, ..Default::default() };
        let error = Storage::connect(options).await.unwrap_err();
        assert!(matches!(error, StorageError::Setting { .. }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    let nowhere = Storage::connect(StorageOptions::default()).await.unwrap();
    let error = nowhere.put_bytes("sealed").await.unwrap_err();
    assert!(matches!(error, StorageError::NowhereToKeep), "{error:?}");
}

#[tokio::test]
async fn reader_seeks_over_places() {
    let dir = tempfile::tempdir().unwrap();
    let storage = two_places(&dir, &["a"]).await;
    let content = content(100_000);
    let at = storage.put_bytes(content.clone()).await.unwrap();
    let mut reader = storage.open(&at).await.unwrap();
    let mut bytes = [0; 10];
    reader.seek(SeekFrom::End(-10)).unwrap();
    reader.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, content[99_990..]);
    assert_eq!(reader.range(5..15).unwrap(), content[5..15]);
    assert!(matches!(reader.range(5..100_001), Err(StorageError::OutOfRange { .. })));
}

/// Bee first, kubo second, content in both.
fn two_nodes(dir: &TempDir, swarm: &Bee, ipfs: &Kubo) -> StorageOptions {
    let places = [format!("swarm={}", swarm.url), format!("ipfs={}", ipfs.url)];
    let mut options = child::options(dir.path(), &places);
    options.http.retries = 1;
    options
}

/// The same, as a storage that knows nothing bad of the nodes yet and does not wait for long.
async fn impatient(dir: &TempDir, swarm: &Bee, ipfs: &Kubo) -> Storage {
    let http = HttpOptions { timeout: TIMEOUT, retries: 1, ..HttpOptions::default() };
    Storage::connect(StorageOptions { http, ..two_nodes(dir, swarm, ipfs) }).await.unwrap()
}

async fn read_all(storage: &Storage, at: &ContentRef) -> Result<Vec<u8>, StorageError> {
    let mut reader = storage.open(at).await?;
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map(|_| bytes)
    });
    read.await.unwrap().map_err(|error| panic!("{:?}", StorageError::behind(&error)))
}

/// Whatever a node does in the middle of content, the other one answers from there on.
#[tokio::test(flavor = "multi_thread")]
async fn node_that_fails_half_way_is_passed_over() {
    let (swarm, ipfs) = (Bee::start().await, Kubo::start().await);
    let dir = tempfile::tempdir().unwrap();
    let content = content(3_000_000);
    let storage = Storage::connect(two_nodes(&dir, &swarm, &ipfs)).await.unwrap();
    let at = storage.put_bytes(content.clone()).await.unwrap();
    let addresses = storage.addresses(&at).await.unwrap().unwrap();
    assert_eq!(at, addresses.of(Store::Swarm));
    for fault in [
        Fault::OtherBytes,
        Fault::TooFew,
        Fault::TooMany(1),
        Fault::Cut,
        Fault::Never,
        Fault::Redirect,
        Fault::Nonsense,
        Fault::Status(404),
        Fault::Status(429),
        Fault::Status(500),
    ] {
        for store in [Store::Swarm, Store::Ipfs] {
            let storage = impatient(&dir, &swarm, &ipfs).await;
            swarm.fail_later("GET bytes", fault, 1_000, 2);
            let at = addresses.of(store);
            let begun = Instant::now();
            assert!(read_all(&storage, &at).await.unwrap() == content, "{fault:?}");
            assert!(storage.get(&at, u64::MAX).await.unwrap() == content, "{fault:?}");
            let range = storage.read_range(&at, 1_500_000..2_500_000).await.unwrap();
            assert!(range == content[1_500_000..2_500_000], "{fault:?}");
            assert!(begun.elapsed() < BOUND, "{fault:?}: {:?}", begun.elapsed());
            swarm.heal();
        }
    }
    // And the other way round: the second one alone has nothing right.
    for fault in [Fault::OtherBytes, Fault::Cut, Fault::Never] {
        let storage = impatient(&dir, &swarm, &ipfs).await;
        swarm.fail_later("GET bytes", Fault::Status(500), 1_000, 1);
        ipfs.fail_later("block/get", fault, 1_000, 2);
        let error = storage.get(&at, u64::MAX).await.unwrap_err();
        let StorageError::Everywhere { failures, .. } = &error else { panic!("{error:?}") };
        assert_eq!(failures.len(), 2, "{error}");
        swarm.heal();
        ipfs.heal();
    }
}

/// The second place may be down: the content is kept, the caller is told, and later everything is made good.
#[tokio::test(flavor = "multi_thread")]
async fn second_place_that_is_down_gets_its_copy_later() {
    let (swarm, ipfs) = (Bee::start().await, Kubo::start().await);
    let dir = tempfile::tempdir().unwrap();
    let content = content(2_500_000);
    let storage = Storage::connect(two_nodes(&dir, &swarm, &ipfs)).await.unwrap();
    ipfs.fail("block/put", Fault::Status(503), 1_000);
    let at = storage.put_bytes(content.clone()).await.unwrap();
    let notices = storage.notices();
    assert_eq!(notices.len(), 1);
    assert_eq!((notices[0].place.as_str(), notices[0].content), ("ipfs", at));
    assert_eq!(notices[0].error.kind(), ErrorKind::Unavailable);
    assert!(storage.notices().is_empty());
    let pending = storage.pending().await.unwrap();
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].place, "ipfs");

    // It rests: the next content does not wait for it.
    let asked = ipfs.store().calls.len();
    storage.put_bytes("small").await.unwrap();
    assert_eq!(ipfs.store().calls.len(), asked);
    assert_eq!(storage.pending().await.unwrap().len(), 2);

    ipfs.heal();
    let storage = Storage::connect(two_nodes(&dir, &swarm, &ipfs)).await.unwrap();
    let resumed = storage.resume().await.unwrap();
    assert_eq!((resumed.finished.len(), resumed.failed.len()), (2, 0), "{resumed:?}");
    for found in storage.check(&at, Depth::Whole).await.unwrap() {
        assert!(matches!(found.presence, Presence::Whole), "{found:?}");
    }
    let staged = LocalStore::open(dir.path().join("staged")).unwrap();
    assert_eq!(staged.list().count(), 0);
}

/// The first place must take it; what was staged is not lost when it does not.
#[tokio::test(flavor = "multi_thread")]
async fn first_place_that_is_down_fails_the_put_and_loses_nothing() {
    let (swarm, ipfs) = (Bee::start().await, Kubo::start().await);
    let dir = tempfile::tempdir().unwrap();
    let content = content(1_500_000);
    let storage = Storage::connect(two_nodes(&dir, &swarm, &ipfs)).await.unwrap();
    let at = storage.stage_bytes(content.clone()).await.unwrap().of(Store::Swarm);
    for call in ["POST bytes", "POST chunks", "POST pins"] {
        swarm.fail(call, Fault::Status(500), 1_000);
        let error = storage.publish(&at).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{call}: {error}");
        assert!(storage.open_staged(&at).await.is_ok(), "{call}");
        swarm.heal();
    }
    assert_eq!(storage.publish(&at).await.unwrap(), at);
    assert_eq!(storage.get(&at, u64::MAX).await.unwrap(), content);
    assert!(storage.open_staged(&at).await.is_err(), "nothing waits any more");
}

/// An upload to a place that the settings do not name any more can be given up.
#[tokio::test(flavor = "multi_thread")]
async fn upload_to_a_place_that_is_gone_is_given_up() {
    let (swarm, ipfs) = (Bee::start().await, Kubo::start().await);
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::connect(two_nodes(&dir, &swarm, &ipfs)).await.unwrap();
    ipfs.fail("block/put", Fault::Status(503), 1_000);
    let at = storage.put_bytes("sealed").await.unwrap();
    let without = child::options(dir.path(), &[format!("swarm={}", swarm.url)]);
    let storage = Storage::connect(without).await.unwrap();
    let resumed = storage.resume().await.unwrap();
    let [(pending, StorageError::Setting { .. })] = resumed.failed.as_slice() else {
        panic!("{resumed:?}")
    };
    assert!(storage.open_staged(&at).await.is_ok());
    assert!(storage.give_up(pending).await.unwrap());
    assert!(!storage.give_up(pending).await.unwrap());
    assert_eq!(storage.pending().await.unwrap(), []);
    assert!(storage.open_staged(&at).await.is_err(), "nothing waits any more");
    assert_eq!(storage.get(&at, 10).await.unwrap(), "sealed");
}

/// A node that lost content is found and mended from the other one, also by the address of the other kind.
#[tokio::test(flavor = "multi_thread")]
async fn content_that_a_node_lost_is_found_missing_and_mended() {
    let (swarm, ipfs) = (Bee::start().await, Kubo::start().await);
    let dir = tempfile::tempdir().unwrap();
    let content = content(1_200_000);
    let storage = Storage::connect(two_nodes(&dir, &swarm, &ipfs)).await.unwrap();
    let swarm_ref = storage.put_bytes(content.clone()).await.unwrap();
    let addresses = storage.addresses(&swarm_ref).await.unwrap().unwrap();
    let ipfs_ref = addresses.of(Store::Ipfs);
    swarm.start_again();
    for at in [&swarm_ref, &ipfs_ref] {
        let found = storage.check(at, Depth::Whole).await.unwrap();
        assert!(matches!(found[0].presence, Presence::Missing), "{found:?}");
        assert!(matches!(found[1].presence, Presence::Whole), "{found:?}");
    }
    assert!(storage.copy(&ipfs_ref, "swarm").await.unwrap());
    assert!(!storage.copy(&swarm_ref, "swarm").await.unwrap(), "it is there");
    let found = storage.check(&ipfs_ref, Depth::Whole).await.unwrap();
    assert!(matches!(found[0].presence, Presence::Whole), "{found:?}");

    // Who was only told one address finds the content by that alone.
    let elsewhere = tempfile::tempdir().unwrap();
    let stranger = Storage::connect(two_nodes(&elsewhere, &swarm, &ipfs)).await.unwrap();
    assert_eq!(stranger.get(&ipfs_ref, u64::MAX).await.unwrap(), content);
    let found = stranger.check(&ipfs_ref, Depth::Root).await.unwrap();
    assert!(matches!(found[0].presence, Presence::AddressUnknown), "{found:?}");
    assert!(matches!(found[1].presence, Presence::Present), "{found:?}");

    assert!(storage.release(&ipfs_ref, "swarm").await.unwrap());
    assert!(swarm.store().pins.is_empty());
    assert_eq!(ipfs.store().pins.len(), 1);
    assert!(storage.remove(&swarm_ref).await.unwrap());
    assert!(ipfs.store().pins.is_empty());
    assert_eq!(storage.copies().await.unwrap(), []);
}

/// Progress of each place grows and ends at the length.
#[tokio::test(flavor = "multi_thread")]
async fn progress_grows_to_the_length_at_every_place() {
    type Seen = Arc<Mutex<HashMap<(String, Way), Vec<u64>>>>;
    let (swarm, ipfs) = (Bee::start().await, Kubo::start().await);
    let dir = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let heard = Arc::clone(&seen);
    let progress = Progress::new(move |transfer| {
        assert_eq!(transfer.total, 2_500_000);
        let key = (transfer.place.to_owned(), transfer.way);
        heard.lock().unwrap().entry(key).or_default().push(transfer.done);
    });
    let options = StorageOptions { progress: Some(progress), ..two_nodes(&dir, &swarm, &ipfs) };
    let storage = Storage::connect(options).await.unwrap();
    let at = storage.put_bytes(content(2_500_000)).await.unwrap();
    storage.get(&at, u64::MAX).await.unwrap();
    let seen = seen.lock().unwrap();
    let places = [("swarm", Way::Up), ("ipfs", Way::Up), ("swarm", Way::Down)];
    assert_eq!(seen.len(), places.len(), "{seen:?}");
    for (place, way) in places {
        let done = &seen[&(place.to_owned(), way)];
        assert!(done.is_sorted() && done.len() > 3, "{place} {way:?}: {done:?}");
        assert_eq!(done.last(), Some(&2_500_000), "{place} {way:?}");
    }
}
