//! Content at several places: where it goes, from where it is read, and when it may go.

use std::{collections::BTreeMap, fs, path::Path};

use alloy_primitives::B256;
use galen_chain::CosignPolicy;
use galen_fhir::Category;
use galen_sdk::{ContentStanding, NamedContent};
use galen_storage::{PlaceKind, PlaceOptions, Storage, StorageOptions};
use galen_types::{ContentRef, ErrorKind, Leaf, LeafKind, Purpose, RecordId, VersionId};
use tempfile::TempDir;

use crate::{DAY, Network, document, fhir, kind};

/// Two directories, `a` and `b`; new content goes to these of them.
async fn two(keep_in: &[&str]) -> (TempDir, Storage) {
    let directory = tempfile::tempdir().unwrap();
    let storage = connect(directory.path(), keep_in).await;
    (directory, storage)
}

/// What a process has that begins.
async fn connect(directory: &Path, keep_in: &[&str]) -> Storage {
    let place = |name: &str| PlaceOptions {
        name: name.to_owned(),
        kind: PlaceKind::Local { directory: directory.join(name) },
    };
    let options = StorageOptions {
        directory: Some(directory.join("state")),
        places: vec![place("a"), place("b")],
        keep_in: keep_in.iter().map(|name| (*name).to_owned()).collect(),
        ..StorageOptions::default()
    };
    Storage::connect(options).await.unwrap()
}

/// Which of the two has content.
fn holders(network: &Network, content: &ContentRef) -> Vec<&'static str> {
    let name = alloy_primitives::hex::encode(content.digest);
    let file = |place: &str| {
        network.directory.path().join(place).join("swarm").join(&name[..2]).join(&name)
    };
    ["a", "b"].into_iter().filter(|place| file(place).exists()).collect()
}

async fn newest(network: &Network, record: RecordId) -> ContentRef {
    network.record(record).await.current().contents.last().unwrap().content
}

#[tokio::test]
async fn each_category_is_kept_where_it_belongs_and_stays_there() {
    let (directory, storage) = two(&["a"]).await;
    let other = storage.keeping_in(&["b".to_owned()]).unwrap();
    let network = Network::keeping(directory, storage, &[(Category::Laboratory, other)]).await;
    let ids = network.accepted(&[Category::Vitals, Category::Laboratory]).await;
    let expected = [["a"], ["b"]];
    for (id, place) in ids.iter().zip(expected) {
        assert_eq!(holders(&network, &newest(&network, *id).await), place);
    }
    let (resealed, _) = network.patient.reseal(&ids).await.unwrap();
    for one in resealed {
        let place = expected[ids.iter().position(|id| *id == one.record).unwrap()];
        assert_eq!(holders(&network, &one.after), place, "as its category says");
        assert!(holders(&network, &one.before).is_empty());
        assert!(one.left_at.is_empty());
    }
}

#[tokio::test]
async fn a_place_that_fails_is_passed_over_and_never_believed() {
    let (directory, storage) = two(&["a", "b"]).await;
    let network = Network::keeping(directory, storage, &[]).await;
    let id = network.accepted(&[Category::Vitals]).await[0];
    let grant = network.grant(&network.physician, Category::Vitals, DAY).await;
    let content = newest(&network, id).await;
    assert_eq!(holders(&network, &content), ["a", "b"]);
    let expected = document(Category::Vitals).payload;
    let name = alloy_primitives::hex::encode(content.digest);
    for place in ["a", "b"] {
        let path = network.directory.path().join(place).join("swarm").join(&name[..2]).join(&name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[5_000] ^= 1;
        fs::write(path, bytes).unwrap();
        let read = network.physician.read(&grant, Purpose::Treatment, &[id]).await;
        match place {
            "a" => assert_eq!(fhir(&read.unwrap().0[0].opened), expected.expose()),
            _ => assert_eq!(kind(read), ErrorKind::Integrity),
        }
    }
}

/// A directory that is gone, as a disk that is not mounted.
fn break_place(place: &Path) {
    fs::rename(place, place.with_extension("away")).unwrap();
    fs::write(place, "not a directory").unwrap();
}

fn mend_place(place: &Path) {
    fs::remove_file(place).unwrap();
    fs::rename(place.with_extension("away"), place).unwrap();
}

#[tokio::test]
async fn a_reseal_says_where_the_old_content_is_left() {
    let (directory, storage) = two(&["a", "b"]).await;
    let network = Network::keeping(directory, storage, &[]).await;
    let id = network.accepted(&[Category::Vitals]).await[0];
    let place = network.directory.path().join("b");
    break_place(&place);
    let (resealed, _) = network.patient.reseal(&[id]).await.unwrap();
    let [one] = &resealed[..] else { panic!("{resealed:?}") };
    assert_eq!(one.left_at, ["b"]);
    assert_eq!(holders(&network, &one.after), ["a"]);
    let expected = document(Category::Vitals).payload;
    assert_eq!(fhir(&network.patient.open(id).await.unwrap()), expected.expose());

    mend_place(&place);
    assert_eq!(holders(&network, &one.before), ["b"], "nobody forgot it");
    let removable = network.patient.removable().await.unwrap();
    assert_eq!(contents(&removable), [one.before]);
    assert!(network.galen.storage().release(&one.before, "b").await.unwrap());
    assert!(holders(&network, &one.before).is_empty());
    // A place that just failed is left alone for a while, but not by somebody who does not know.
    let resumed = connect(network.directory.path(), &["a", "b"]).await.resume().await.unwrap();
    assert_eq!(resumed.finished.len(), 1, "{resumed:?}");
    assert_eq!(holders(&network, &one.after), ["a", "b"], "and what was due comes later");
}

/// Nothing is announced that the place which gives the address has not.
#[tokio::test]
async fn nothing_is_proposed_or_resealed_without_its_first_place() {
    let (directory, storage) = two(&["a", "b"]).await;
    let network = Network::keeping(directory, storage, &[]).await;
    let id = network.accepted(&[Category::Vitals]).await[0];
    let before = newest(&network, id).await;
    let place = network.directory.path().join("a");
    break_place(&place);
    let policy = CosignPolicy::default();
    let proposed =
        network.author.propose(&network.contact, [document(Category::Vitals)], &policy).await;
    assert_eq!(kind(proposed), ErrorKind::Unavailable);
    assert_eq!(kind(network.patient.reseal(&[id]).await), ErrorKind::Unavailable);
    assert!(network.patient.inbox().await.unwrap().is_empty());
    assert_eq!(newest(&network, id).await, before);
    mend_place(&place);
    assert_eq!(holders(&network, &before), ["a", "b"]);
    network.patient.open(id).await.unwrap();
}

fn contents(removable: &[(RecordId, NamedContent)]) -> Vec<ContentRef> {
    removable.iter().map(|(_, one)| one.content).collect()
}

impl Network {
    /// Proposes leaves that were made by hand.
    async fn propose_leaves(&self, leaves: &[Leaf]) {
        let ledger = self.galen.ledger();
        let deadline = ledger.now().await.unwrap() + DAY;
        let policy = CosignPolicy::default();
        let signer = &self.author_account;
        let signed =
            ledger.sign_proposal(signer, self.patient.id(), leaves, &policy, deadline).await;
        ledger.propose(&signed.unwrap(), leaves).await.unwrap();
    }

    /// Rejects all that waits.
    async fn reject(&self) {
        let (policy, nobody) = (CosignPolicy::default(), BTreeMap::new());
        for proposal in self.patient.inbox().await.unwrap() {
            let (id, all) = (proposal.event.proposal, 0..proposal.event.leaves.len());
            self.patient.answer(id, [], all, &policy, &nobody).await.unwrap();
        }
    }

    async fn standing(&self, content: ContentRef) -> (ContentStanding, bool) {
        let records = self.galen.contents(self.patient.id()).await.unwrap();
        let all: Vec<NamedContent> = records.into_iter().flat_map(|it| it.contents).collect();
        let found = all.iter().find(|one| one.content == content).unwrap();
        (found.standing, found.is_needed())
    }

    pub(crate) async fn removable(&self) -> [Vec<ContentRef>; 2] {
        let patient = self.patient.removable().await.unwrap();
        let author = self.author.removable(&self.contact).await.unwrap();
        [contents(&patient), contents(&author)]
    }
}

#[tokio::test]
async fn content_of_what_never_counts_may_go() {
    let network = Network::new().await;
    let (contact, policy) = (&network.contact, CosignPolicy::default());
    let id = network.accepted(&[Category::Vitals]).await[0];
    let record = network.record(id).await;
    let kept = record.current().leaf.content;
    assert_eq!(network.standing(kept).await, (ContentStanding::Current, true));

    let documents = [document(Category::Problems), document(Category::Billing)];
    let rejected = network.author.propose(contact, documents, &policy).await.unwrap();
    let content = rejected[0].signed.message.leaves[0].content;
    let rejected = ContentRef::swarm(content);
    assert_eq!(network.standing(rejected).await, (ContentStanding::Waiting, true));
    assert_eq!(network.removable().await, [vec![], vec![]]);
    network.reject().await;
    assert_eq!(network.standing(rejected).await, (ContentStanding::Rejected, false));
    let [patient, author] = network.removable().await;
    assert_eq!((patient.len(), &patient), (2, &author));
    assert!(patient.contains(&rejected) && !patient.contains(&kept));

    let withdrawn =
        network.author.propose(contact, [document(Category::Billing)], &policy).await.unwrap();
    network.author.withdraw(network.patient.id(), withdrawn[0].proposal).await.unwrap();
    let [patient, author] = network.removable().await;
    assert_eq!((patient.len(), author.len()), (3, 3));

    // A leaf that names what another record needs, and is rejected, takes nothing away.
    let leaf = Leaf {
        kind: LeafKind::New,
        segment: network.segment(Category::Laboratory),
        number: 77,
        content: kept,
        commitment: record.current().leaf.commitment,
        previous: VersionId::default(),
    };
    let bundle = |chart: &galen_index::Chart| chart.keys()[0].content;
    let keys = network.galen.with_chart(network.patient.id(), bundle).await.unwrap();
    network.propose_leaves(&[leaf, Leaf { number: 78, content: keys, ..leaf }]).await;
    network.reject().await;
    let [patient, author] = network.removable().await;
    assert_eq!((patient.len(), author.len()), (3, 3), "{patient:?}");
}

#[tokio::test]
async fn old_content_stays_until_newer_content_was_seen_to_open() {
    let network = Network::new().await;
    let id = network.accepted(&[Category::Vitals]).await[0];
    let record = network.record(id).await;
    let first = record.current().leaf.content;
    let storage = network.galen.storage();
    let (ledger, patient) = (network.galen.ledger(), network.patient.id());
    // What the author announces opens to nothing, and then is nowhere.
    let garbage = storage.put_bytes(vec![1; 10_000]).await.unwrap();
    for content in [garbage, ContentRef::swarm(B256::repeat_byte(5))] {
        let deadline = ledger.now().await.unwrap() + DAY;
        let (signer, author) = (&network.author_account, network.author.id());
        let items = [(record.key, content, first)];
        ledger.reseal(signer, patient, author, &items, deadline).await.unwrap();
    }
    assert_eq!(network.standing(first).await, (ContentStanding::Resealed, true));
    // The author signed those: what it sealed before them is its own to remove, not the patient's.
    let [listed, _] = network.removable().await;
    assert!(listed.is_empty(), "readers fall back on it: {listed:?}");

    // The patient seals anew what does open, which makes all before it removable, for whoever can open.
    let (resealed, _) = network.patient.reseal(&[id]).await.unwrap();
    assert_eq!(resealed[0].before, first);
    let [listed, author] = network.removable().await;
    assert_eq!(listed.len(), 3, "{listed:?}");
    assert!(listed.contains(&first) && !listed.contains(&resealed[0].after));
    assert!(!author.contains(&resealed[0].after));

    // Not if that is changed, or gone.
    network.tamper(&resealed[0].after);
    assert!(network.removable().await[0].is_empty());
    fs::remove_file(network.file_of(&resealed[0].after)).unwrap();
    assert!(network.removable().await[0].is_empty());
}

/// What the patient sealed anew says nothing to an author, who cannot open it.
#[tokio::test]
async fn authors_keep_what_they_announced_until_they_seal_anew() {
    let network = Network::new().await;
    let id = network.accepted(&[Category::Vitals]).await[0];
    let first = newest(&network, id).await;
    let (by_patient, _) = network.patient.reseal(&[id]).await.unwrap();
    assert_eq!(network.removable().await, [vec![first], vec![]]);
    let author = &network.author;
    let (by_author, _) = author.reseal(&network.contact, &[id]).await.unwrap();
    assert_eq!(by_author[0].before, by_patient[0].after);
    let both = vec![first, by_author[0].before];
    assert_eq!(network.removable().await, [both.clone(), both]);
}
