//! Content on another machine: one that is slow, breaks off, lies, or does not let go.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use galen_chain::CosignPolicy;
use galen_fhir::Category;
use galen_sdk::{ImportInput, JournalEntry};
use galen_storage::{NodeOptions, PlaceKind, PlaceOptions, Storage, StorageOptions};
use galen_types::ErrorKind;

use crate::{
    Network, document,
    import::{Break, accept_scan, import, scan},
    kind,
};
use bee::Bee;
use frame::Fault;

#[path = "../../../crates/storage/tests/twin/bee.rs"]
pub(crate) mod bee;
#[path = "../../../crates/storage/tests/twin/frame.rs"]
pub(crate) mod frame;

/// As often as anybody asks.
const ALWAYS: usize = usize::MAX;

/// People whose content is at a bee node, and nowhere else.
pub(crate) async fn at_a_node() -> (Network, Bee) {
    let (directory, bee) = (tempfile::tempdir().unwrap(), Bee::start().await);
    let node = NodeOptions { urls: vec![bee.url.clone()], token: None };
    let options = StorageOptions {
        directory: Some(directory.path().join("state")),
        places: vec![PlaceOptions {
            name: "swarm".to_owned(),
            kind: PlaceKind::Swarm { node, batch: None },
        }],
        keep_in: vec!["swarm".to_owned()],
        ..StorageOptions::default()
    };
    let storage = Storage::connect(options).await.unwrap();
    (Network::keeping(directory, storage, &[]).await, bee)
}

/// Files of staged content.
fn staged(directory: &Path) -> usize {
    let Ok(folders) = fs::read_dir(directory.join("state/staged/swarm")) else { return 0 };
    folders.map(|folder| fs::read_dir(folder.unwrap().path()).unwrap().count()).sum()
}

/// The time that a node takes to answer does not add up with the number of records.
#[tokio::test]
async fn records_are_sent_side_by_side() {
    const RECORDS: u32 = 40;
    const SLOW: Duration = Duration::from_millis(250);
    let (network, bee) = at_a_node().await;
    let records = || (0..RECORDS).map(|_| document(Category::Vitals));
    let policy = CosignPolicy::default();
    let propose = || network.author.propose(&network.contact, records(), &policy);
    let begun = Instant::now();
    propose().await.unwrap();
    let at_once = begun.elapsed();
    bee.store().calls.clear();
    bee.fail("POST bytes", Fault::Slow(SLOW), ALWAYS);
    bee.fail("POST pins", Fault::Slow(SLOW), ALWAYS);
    let begun = Instant::now();
    propose().await.unwrap();
    let slowly = begun.elapsed().saturating_sub(at_once);
    let calls = bee.store().calls.clone();
    let slow = calls.iter().filter(|call| ["POST bytes", "POST pins"].contains(&call.as_str()));
    let one_by_one = SLOW * u32::try_from(slow.count()).unwrap();
    assert!(one_by_one >= SLOW * 2 * RECORDS, "{calls:?}");
    assert!(slowly < one_by_one / 3, "{slowly:?} instead of {one_by_one:?}, {at_once:?} besides");
    assert_eq!(staged(network.directory.path()), 0, "nothing is left behind");
}

/// Cut off again and again, also while it is sent: sealed once, and whole in the end.
#[tokio::test]
async fn an_attachment_that_is_cut_off_while_it_is_sent_is_sealed_once() {
    let (network, bee) = at_a_node().await;
    let pinned = bee.store().pins.len();
    bee.fail("POST bytes", Fault::Slow(Duration::from_millis(100)), ALWAYS);
    bee.fail("POST pins", Fault::Slow(Duration::from_millis(500)), ALWAYS);
    let (file, bytes) = scan(&network, 1);
    let inputs = || vec![ImportInput::file("scan", file.clone())];
    let (mut entries, mut cuts, mut sending) = (Vec::new(), 0, 0);
    loop {
        let patience = Duration::from_millis(150) * (cuts + 1);
        let work = import(&network, inputs(), &mut entries, Break::Never);
        match tokio::time::timeout(patience, work).await {
            Ok(done) => break assert!(done.unwrap().0.rejects.is_empty()),
            Err(_) => sending += u32::from(entries.len() == 2),
        }
        cuts += 1;
    }
    let sealed = entries.iter().filter(|it| matches!(it, JournalEntry::Sealed { .. })).count();
    assert_eq!((sealed, entries.len()), (1, 4));
    assert!(sending > 0, "cut {cuts} times");
    assert_eq!(bee.store().pins.len(), pinned + 1);
    bee.heal();
    accept_scan(&network, &bytes).await;
}

#[tokio::test]
async fn a_node_that_fails_stops_a_proposal_and_goes_on_with_it_later() {
    let (network, bee) = at_a_node().await;
    let (file, bytes) = scan(&network, 1);
    let inputs = || vec![ImportInput::file("scan", file.clone())];
    let mut entries = Vec::new();
    bee.fail_later("POST bytes", Fault::Status(402), ALWAYS, 2);
    let refused = import(&network, inputs(), &mut entries, Break::Never).await;
    assert_eq!(kind(refused), ErrorKind::Unavailable);
    assert_eq!(entries.len(), 2, "begun, sealed, and nothing is signed");
    assert!(network.patient.inbox().await.unwrap().is_empty());
    assert_eq!(staged(network.directory.path()), 1);
    bee.heal();
    let (report, _) = import(&network, inputs(), &mut entries, Break::Never).await.unwrap();
    assert_eq!((report.progress.records, report.progress.announced), (0, 1));
    assert_eq!(staged(network.directory.path()), 0);
    accept_scan(&network, &bytes).await;
}

/// A node that forgets what it took, or keeps what it should let go of.
#[tokio::test]
async fn a_reseal_believes_no_node() {
    let (network, bee) = at_a_node().await;
    let id = network.accepted(&[Category::Vitals]).await[0];
    let before = network.record(id).await.current().leaf.content;
    for call in ["POST bytes", "GET bytes", "GET chunks"] {
        let fault = if call == "POST bytes" { Fault::Forget } else { Fault::OtherBytes };
        bee.fail(call, fault, ALWAYS);
        let refused = network.patient.reseal(&[id]).await;
        assert!(refused.is_err(), "{call}");
        bee.heal();
        assert_eq!(network.record(id).await.current().contents.len(), 1, "{call}");
        assert!(bee.store().pins.contains(&before.digest), "{call}");
        network.patient.open(id).await.unwrap();
    }
    bee.fail("DELETE pins", Fault::Status(500), ALWAYS);
    let (resealed, _) = network.patient.reseal(&[id]).await.unwrap();
    assert_eq!(resealed[0].left_at, ["swarm"]);
    bee.heal();
    let [listed, _] = network.removable().await;
    assert_eq!(listed, [before]);
    assert!(network.galen.storage().release(&before, "swarm").await.unwrap());
    assert!(!bee.store().pins.contains(&before.digest));
    assert!(bee.store().pins.contains(&resealed[0].after.digest));
    network.patient.open(id).await.unwrap();
}
