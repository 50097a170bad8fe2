//! An upload survives `kill -9` at any moment: what a place confirmed is not sent again, and at the end everything is
//! there once and nothing is left over.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]
#![allow(clippy::print_stdout, reason = "a killed child speaks to its parent")]
#![cfg(target_os = "linux")]

mod child;
mod twin;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use child::{Pattern, Task};
use galen_storage::{LocalStore, Storage, StorageError};
use galen_types::{ContentRef, Store};
use twin::{bee::Bee, frame::Fault, kubo::Kubo};

const MIB: u64 = 1 << 20;

/// Most memory that a process may have that keeps or fetches content of any length, in bytes.
const MAX_PEAK: u64 = 64 * MIB;

#[test]
#[ignore = "what the other tests start"]
fn child() {
    child::run();
}

fn task(directory: &Path, places: &[&str], len: u64) -> Task {
    let places = places.iter().map(|place| (*place).to_owned()).collect();
    Task { what: "put", directory: directory.to_owned(), places, seed: 1, len, at: None }
}

/// Nothing is staged, nothing is under way, and the copies are known.
async fn assert_tidy(task: &Task, storage: &Storage) {
    let staged = LocalStore::open(task.directory.join("staged")).unwrap();
    assert_eq!(staged.list().count(), 0, "something is staged");
    assert_eq!(storage.pending().await.unwrap(), []);
    let uploads = fs::read_dir(task.directory.join("uploads")).unwrap();
    let left: Vec<_> = uploads.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["lock"]);
    assert_eq!(storage.copies().await.unwrap().len(), task.places.len());
}

/// Reads everything back from one place, as a process without any state would.
async fn read_back(place: &str, at: &ContentRef, len: u64) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::connect(child::options(dir.path(), &[place.to_owned()])).await.unwrap();
    storage.get(at, len).await.unwrap().to_vec()
}

/// How many blocks came more than once, and how many times too often in all.
fn repeated(received: impl Iterator<Item = u32>) -> u32 {
    received.map(|times| times - 1).sum()
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited in vain until {what}");
}

/// The child hangs at each block in turn, with what was sent beside it under way or done, and dies there.
#[tokio::test(flavor = "multi_thread")]
async fn upload_to_bee_killed_at_each_block_goes_on() {
    let len = 6 * MIB + 5;
    let content = Pattern::bytes(1, len);
    // 13 subtrees and the root.
    for spared in 0..14 {
        // Either the node has the block and the mark is missing, or the block never came.
        {
            let fault = [Fault::Mute, Fault::Never][spared % 2];
            let node = Bee::start().await;
            let dir = tempfile::tempdir().unwrap();
            let place = format!("swarm={}", node.url);
            let task = task(dir.path(), &[&place], len);
            let call = if spared < 13 { "POST bytes" } else { "POST chunks" };
            node.fail_later(call, fault, 1, if spared < 13 { spared } else { 0 });
            let mut running = task.start();
            running.wait_until_staged();
            until("the child hangs", || node.hangs() == 1).await;
            // Its neighbours come to their end.
            tokio::time::sleep(Duration::from_millis(100)).await;
            running.kill();
            node.heal();

            let said = task.run();
            let what = format!("{fault:?} at {spared}");
            assert_eq!(read_back(&place, &said.at, len).await, content, "{what}");
            let most = u32::from(fault == Fault::Never);
            assert!(repeated(node.store().received.values().copied()) <= most, "{what}");
            assert!(node.store().pins.contains(&said.at.digest), "{what}");
            let storage = Storage::connect(child::options(&task.directory, &task.places)).await;
            assert_tidy(&task, &storage.unwrap()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_to_kubo_killed_at_each_block_goes_on() {
    let len = 5 * MIB + 5;
    let content = Pattern::bytes(1, len);
    // 6 leaves and the root.
    for spared in 0..7 {
        {
            let fault = [Fault::Mute, Fault::Never][spared % 2];
            let node = Kubo::start().await;
            let dir = tempfile::tempdir().unwrap();
            let place = format!("ipfs={}", node.url);
            let task = task(dir.path(), &[&place], len);
            node.fail_later("block/put", fault, 1, spared);
            let mut running = task.start();
            running.wait_until_staged();
            until("the child hangs", || node.hangs() == 1).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            running.kill();
            node.heal();

            let said = task.run();
            let what = format!("{fault:?} at {spared}");
            assert_eq!(said.at.store, Store::Ipfs);
            assert_eq!(read_back(&place, &said.at, len).await, content, "{what}");
            let most = u32::from(fault == Fault::Never);
            assert!(repeated(node.store().received.values().copied()) <= most, "{what}");
            assert_eq!(node.store().pins.len(), 1, "{what}");
            let storage = Storage::connect(child::options(&task.directory, &task.places)).await;
            assert_tidy(&task, &storage.unwrap()).await;
        }
    }
}

/// To both at once, killed again and again after a random while until it gets through.
#[tokio::test(flavor = "multi_thread")]
async fn upload_killed_at_random_moments_gets_through() {
    let len = 24 * MIB + 1;
    let content = Pattern::bytes(1, len);
    let (swarm, ipfs) = (Bee::start().await, Kubo::start().await);
    let dir = tempfile::tempdir().unwrap();
    let places = [format!("swarm={}", swarm.url), format!("ipfs={}", ipfs.url)];
    let task = task(dir.path(), &[&places[0], &places[1]], len);
    // No kill comes later than after a quarter of the time that all of it takes here, so that several hit.
    let quarter = {
        let (swarm, ipfs) = (Bee::start().await, Kubo::start().await);
        let dir = tempfile::tempdir().unwrap();
        let places = [format!("swarm={}", swarm.url), format!("ipfs={}", ipfs.url)];
        let started = Instant::now();
        self::task(dir.path(), &[&places[0], &places[1]], len).run();
        u64::try_from(started.elapsed().as_millis()).unwrap() / 4
    };
    let mut kills = 0;
    let mut state = u64::from(std::process::id());
    let said = loop {
        let mut running = task.start();
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let wait = Duration::from_millis((state >> 33) % quarter.max(1));
        if kills < 12 {
            // Every third dies before or while the content is staged.
            if kills % 3 > 0 {
                running.wait_until_staged();
            }
            tokio::time::sleep(wait).await;
            if !running.has_ended() {
                running.kill();
                kills += 1;
                continue;
            }
        }
        break running.end();
    };
    assert!(kills > 2, "the child was too fast to be killed");
    let of_both = galen_storage::Addresser::digest(&content);
    assert_eq!(said.at, of_both.of(Store::Swarm));
    for (place, store) in places.iter().zip([Store::Swarm, Store::Ipfs]) {
        assert_eq!(read_back(place, &of_both.of(store), len).await, content);
    }
    let again: BTreeMap<&str, u32> = [
        ("swarm", repeated(swarm.store().received.values().copied())),
        ("ipfs", repeated(ipfs.store().received.values().copied())),
    ]
    .into();
    assert!(again.values().all(|times| *times <= kills), "{again:?} after {kills} kills");
    let storage = Storage::connect(child::options(&task.directory, &task.places)).await.unwrap();
    assert_tidy(&task, &storage).await;
}

/// Two processes with the same content for the same place: both succeed, each block is sent once.
#[tokio::test(flavor = "multi_thread")]
async fn second_process_with_the_same_content_waits() {
    let len = 12 * MIB;
    let node = Bee::start().await;
    let dir = tempfile::tempdir().unwrap();
    let task = task(dir.path(), &[&format!("swarm={}", node.url)], len);
    let storage = Storage::connect(child::options(&task.directory, &task.places)).await.unwrap();
    let at = storage.stage(Pattern::new(1, len)).await.unwrap().of(Store::Swarm);
    let other = Storage::connect(child::options(&task.directory, &task.places)).await.unwrap();
    let (first, second) = tokio::join!(storage.publish(&at), other.publish(&at));
    assert_eq!((first.unwrap(), second.unwrap()), (at, at));
    assert_eq!(repeated(node.store().received.values().copied()), 0);
    assert_tidy(&task, &storage).await;
}

/// A call that is dropped half way loses nothing, and the next one goes on.
#[tokio::test(flavor = "multi_thread")]
async fn dropped_publish_goes_on_later() {
    let len = 8 * MIB;
    let node = Bee::start().await;
    let dir = tempfile::tempdir().unwrap();
    let task = task(dir.path(), &[&format!("swarm={}", node.url)], len);
    let storage = Storage::connect(child::options(&task.directory, &task.places)).await.unwrap();
    let at = storage.stage(Pattern::new(1, len)).await.unwrap().of(Store::Swarm);
    node.fail_later("POST bytes", Fault::Never, 1, 9);
    tokio::select! {
        published = storage.publish(&at) => panic!("{published:?}"),
        () = until("it hangs", || node.hangs() == 1) => {}
    }
    let pending = storage.pending().await.unwrap();
    assert_eq!(pending.len(), 1);
    assert!((1..len).contains(&pending[0].done), "{pending:?}");
    node.heal();
    // What had left before the call was dropped arrives.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(storage.publish(&at).await.unwrap(), at);
    assert!(repeated(node.store().received.values().copied()) <= 1);
    assert_tidy(&task, &storage).await;
}

/// The place forgot everything meanwhile, as a node that was set up anew: then all is sent again.
#[tokio::test(flavor = "multi_thread")]
async fn node_that_forgot_what_it_confirmed_gets_it_again() {
    let len = 4 * MIB;
    let node = Bee::start().await;
    let dir = tempfile::tempdir().unwrap();
    let task = task(dir.path(), &[&format!("swarm={}", node.url)], len);
    let storage = Storage::connect(child::options(&task.directory, &task.places)).await.unwrap();
    let at = storage.stage(Pattern::new(1, len)).await.unwrap().of(Store::Swarm);
    node.fail("POST pins", Fault::Status(400), 1);
    assert!(matches!(storage.publish(&at).await, Err(StorageError::Node { .. })));
    assert_eq!(storage.pending().await.unwrap()[0].done, len);
    node.start_again();
    assert_eq!(storage.publish(&at).await.unwrap(), at);
    assert_tidy(&task, &storage).await;
    assert_eq!(read_back(&task.places[0], &at, len).await, Pattern::bytes(1, len));
}

/// The marks of an upload may be cut anywhere, as a full disk or a power cut leaves them.
#[tokio::test(flavor = "multi_thread")]
async fn marks_may_be_torn_anywhere() {
    let len = MIB + 5;
    let node = Bee::start().await;
    let dir = tempfile::tempdir().unwrap();
    let task = task(dir.path(), &[&format!("swarm={}", node.url)], len);
    let storage = Storage::connect(child::options(&task.directory, &task.places)).await.unwrap();
    let staged = storage.stage(Pattern::new(1, len)).await.unwrap();
    let at = staged.of(Store::Swarm);
    let marks = |directory: &Path| {
        let uploads = fs::read_dir(directory.join("uploads")).unwrap();
        let mut paths = uploads.map(|entry| entry.unwrap().path());
        paths.find(|path| path.file_name().is_some_and(|name| name != "lock")).unwrap()
    };
    node.fail("POST pins", Fault::Status(400), 1);
    assert!(storage.publish(&at).await.is_err());
    let path = marks(&task.directory);
    let whole = fs::read(&path).unwrap();
    let first_line = whole.iter().position(|byte| *byte == b'\n').unwrap();
    let cuts = [0, 1, first_line].into_iter().chain((first_line + 1..=whole.len()).step_by(3));
    for (cut, tail) in cuts.zip([&b""[..], b"\0\0\0", b"+ 0"].into_iter().cycle()) {
        storage.stage(Pattern::new(1, len)).await.unwrap();
        fs::write(&path, [&whole[..cut], tail].concat()).unwrap();
        fs::write(task.directory.join("copies"), "").unwrap();
        let storage = Storage::connect(child::options(&task.directory, &task.places)).await;
        let storage = storage.unwrap();
        assert_eq!(storage.publish(&at).await.unwrap(), at, "{cut}");
        assert_tidy(&task, &storage).await;
    }
    assert_eq!(read_back(&task.places[0], &at, len).await, Pattern::bytes(1, len));
}

/// Keeping and fetching 256 MiB at both twins, which live in this process; the child is measured.
#[tokio::test(flavor = "multi_thread")]
async fn long_content_needs_constant_memory_at_every_place() {
    let len = 256 * MIB;
    for store in [Store::Swarm, Store::Ipfs] {
        let (swarm, ipfs) = (Bee::start().await, Kubo::start().await);
        let place = match store {
            Store::Swarm => format!("swarm={}", swarm.url),
            Store::Ipfs => format!("ipfs={}", ipfs.url),
        };
        let dir = tempfile::tempdir().unwrap();
        let put = task(dir.path(), &[&place], len);
        let said = put.run();
        println!("put {place}: {} MiB", said.peak / MIB);
        assert!(said.peak <= MAX_PEAK, "{} bytes at the peak of put", said.peak);
        let elsewhere = tempfile::tempdir().unwrap();
        let directory = elsewhere.path().to_owned();
        let said = Task { what: "get", at: Some(said.at), directory, ..put }.run();
        println!("get {place}: {} MiB", said.peak / MIB);
        assert!(said.peak <= MAX_PEAK, "{} bytes at the peak of get", said.peak);
    }
}
