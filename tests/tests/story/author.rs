//! An author as the custodian of what it wrote: from its own copies, with the patient away.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use alloy_primitives::{B256, hex};
use galen_chain::CosignPolicy;
use galen_crypto::{HEADER_LEN, Header};
use galen_fhir::Category;
use galen_index::Version;
use galen_sdk::{Error, Grant, ImportInput, Organization};
use galen_types::{ContentRef, ErrorKind, Plaintext, Purpose, RecordId};

use crate::{
    DAY, Network,
    custodian::{
        DUE, Notes, OVER, POLICY, WINDOW, Who, author_pass, holders, kept, later, newest, opens,
        pass_of, read_once, reader_opens, reseals, traces,
    },
    document, identity,
    import::{Break, import, scan},
    kind,
};

/// The author's copies in this chart.
fn copies(network: &Network) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![network.files.path().join("copies")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path);
            }
        }
    }
    found
}

async fn current(network: &Network, id: RecordId) -> Version {
    network.record(id).await.current().clone()
}

/// The copy of the version that stands.
async fn copy_of(network: &Network, id: RecordId) -> PathBuf {
    let name = hex::encode(current(network, id).await.leaf.commitment.0);
    copies(network).into_iter().find(|path| path.ends_with(&name)).unwrap()
}

/// A read on chain, opened or not: that is enough for a new key.
async fn read(network: &Network, grant: &Grant, id: RecordId) {
    let key = network.record(id).await.key;
    let (patient, consent) = (network.patient.id(), grant.consent());
    network.physician.log(patient, consent, Purpose::Treatment, &[key]).await.unwrap();
}

async fn is_idle(network: &Network, notes: &Notes) -> bool {
    let custody = notes.open(&network.patient, &network.galen, Break::Never).unwrap();
    network.author.is_idle(network.patient.id(), &custody, &POLICY).await.unwrap()
}

/// The author's agent as of another machine or another setting.
fn without_copies(network: &Network) -> Organization {
    network.galen.organization(identity(2))
}

#[tokio::test]
async fn an_author_seals_what_was_read_while_the_patient_is_away() {
    let (network, id, grant) = read_once().await;
    let notes = Notes::default();
    let (first, files) = (newest(&network, id).await, kept(network.directory.path()).len());
    // The patient's custodian has the first turn.
    later(&network, WINDOW + 1);
    assert_eq!(network.patient.due(WINDOW).await.unwrap(), [id]);
    assert!(network.author.due(network.patient.id(), WINDOW).await.unwrap().is_empty());
    assert!(author_pass(&network, &notes).await.is_quiet());
    assert!(is_idle(&network, &notes).await);

    later(&network, WINDOW);
    assert!(!is_idle(&network, &notes).await, "something is due");
    assert_eq!(network.author.due(network.patient.id(), WINDOW).await.unwrap(), [id]);
    let report = author_pass(&network, &notes).await;
    let [resealed] = &report.resealed[..] else { panic!("{report:?}") };
    assert_eq!((resealed.record, resealed.before), (id, first));
    assert!(reader_opens(&network, id, &resealed.after).await);
    assert_eq!(report.released, [(id, first)], "every read is over by then");
    assert!(!reader_opens(&network, id, &first).await);
    assert_eq!(kept(network.directory.path()).len(), files, "one for one");
    opens(&network, id).await;
    assert!(author_pass(&network, &notes).await.is_quiet(), "once");
    assert!(is_idle(&network, &notes).await);

    // Under the keys that the patient has published since.
    network.patient.next_epoch().await.unwrap();
    let files = files + 1; // the bundle of the keys
    read(&network, &grant, id).await;
    later(&network, DUE);
    author_pass(&network, &notes).await;
    let content = newest(&network, id).await;
    let header = network.galen.storage().read_range(&content, 0..HEADER_LEN as u64).await.unwrap();
    assert_eq!(Header::parse(&header).unwrap().epoch(), 2);
    opens(&network, id).await;

    // Where the patient's custodian was in time, the author has nothing to seal, and lets go of the old as well.
    read(&network, &grant, id).await;
    later(&network, WINDOW + 1);
    pass_of(&network, Who::Patient, &Notes::default(), Break::Never).await.unwrap();
    later(&network, OVER);
    let told = reseals(&network).await;
    assert!(!is_idle(&network, &notes).await, "something is old");
    let report = author_pass(&network, &notes).await;
    assert!(report.resealed.is_empty(), "{report:?}");
    assert_eq!(report.released.len(), 1, "{report:?}");
    assert_eq!(reseals(&network).await, told);
    assert_eq!(kept(network.directory.path()).len(), files, "one for one");
    opens(&network, id).await;
}

/// Everything that an author seals: documents and files of an import that breaks, an amendment, a retraction.
#[tokio::test]
async fn every_version_has_a_copy_and_can_be_sealed_anew_from_it() {
    let network = Network::new().await;
    let (file, bytes) = scan(&network, 0);
    let bundle = || {
        let text = br#"{"resourceType":"Bundle","type":"collection","entry":[
            {"resource":{"resourceType":"Condition","subject":{"display":"somebody"}}}]}"#;
        ImportInput::document("a bundle", Ok(Plaintext::new(text.to_vec())))
    };
    let inputs = || vec![bundle(), ImportInput::file("a scan", file.clone())];
    let mut entries = Vec::new();
    // Broken when the scan is sealed: its leaf is in the journal, so its copy is on the disk.
    import(&network, inputs(), &mut entries, Break::After(3)).await.unwrap_err();
    import(&network, inputs(), &mut entries, Break::Never).await.unwrap();
    let (policy, nobody) = (CosignPolicy::default(), BTreeMap::new());
    for proposal in network.patient.inbox().await.unwrap() {
        let all = 0..proposal.event.leaves.len();
        network.patient.answer(proposal.event.proposal, all, [], &policy, &nobody).await.unwrap();
    }
    let amended = network.accepted(&[Category::Vitals]).await[0];
    let retracted = network.accepted(&[Category::Vitals]).await[0];
    let (author, contact) = (&network.author, &network.contact);
    let newer = author.amend(contact, amended, &document(Category::Vitals), &policy).await.unwrap();
    let gone = author.retract(contact, retracted, "of another patient", &policy).await.unwrap();
    for proposal in [newer.proposal, gone.proposal] {
        network.patient.answer(proposal, [0], [], &policy, &nobody).await.unwrap();
    }
    let all = |chart: &galen_index::Chart| -> Vec<RecordId> {
        chart.records().map(|record| record.key.id()).collect()
    };
    let all = network.galen.with_chart(network.patient.id(), all).await.unwrap();
    assert_eq!(all.len(), 4);
    for category in [Category::Vitals, Category::Imaging, Category::Problems] {
        let grant = network.grant(&network.physician, category, DAY).await;
        for id in network.physician.readable(&grant).await.unwrap() {
            read(&network, &grant, id).await;
        }
    }
    later(&network, DUE);
    let report = author_pass(&network, &Notes::default()).await;
    assert!(report.faults.is_empty() && report.uncopied.is_empty(), "{report:?}");
    let resealed: BTreeSet<RecordId> = report.resealed.iter().map(|it| it.record).collect();
    assert!(resealed.len() >= 3, "{resealed:?}");
    for id in all {
        copy_of(&network, id).await;
        let (read, found) = network.patient.export(id, Vec::new()).await.unwrap();
        if found.media_type.as_str() == "application/dicom" {
            assert!(resealed.contains(&id));
            assert!(read == bytes, "the scan came back as it was");
        }
    }
}

#[tokio::test]
async fn without_a_copy_nothing_is_announced_and_it_is_told() {
    let (network, id, _) = read_once().await;
    later(&network, DUE);
    let (first, told) = (newest(&network, id).await, reseals(&network).await);
    let notes = Notes::default();
    let custody = notes.open(&network.patient, &network.galen, Break::Never).unwrap();
    let other = without_copies(&network);
    let report = other.custody(&network.contact, &custody, &POLICY).await.unwrap();
    assert_eq!((report.uncopied, report.resealed.len()), (vec![id], 0));
    drop(custody);

    // A copy that the disk or somebody changed, cut short or replaced by another record's.
    let path = copy_of(&network, id).await;
    let whole = fs::read(&path).unwrap();
    let another = network.accepted(&[Category::Vitals]).await[0];
    let another = fs::read(copy_of(&network, another).await).unwrap();
    let mut flipped = whole.clone();
    flipped[HEADER_LEN + 40] ^= 1;
    // All of it is told as the copy's fault.
    for bytes in [flipped, whole[..HEADER_LEN - 1].to_vec(), whole[..5_000].to_vec(), another] {
        fs::write(&path, bytes).unwrap();
        let report = author_pass(&network, &notes).await;
        let [(record, error)] = &report.faults[..] else { panic!("{report:?}") };
        assert_eq!((*record, error.kind()), (id, ErrorKind::Integrity), "{error:?}");
        assert!(matches!(error, Error::CopyDamaged(_)), "{error:?}");
        assert!(report.resealed.is_empty());
    }
    assert_eq!((newest(&network, id).await, reseals(&network).await), (first, told));
    opens(&network, id).await;
    fs::write(&path, whole).unwrap();
    assert_eq!(author_pass(&network, &notes).await.resealed.len(), 1);
    opens(&network, id).await;
}

/// Whoever has the disk of the author without its seed has nothing; another author's records are not its to seal.
#[tokio::test]
async fn copies_open_for_their_author_alone() {
    let (network, id, _) = read_once().await;
    let opened = network.patient.open(id).await.unwrap();
    let needles = vec![opened.salt.as_bytes().to_vec(), opened.payload.expose()[..64].to_vec()];
    assert_eq!(holders(&network.files.path().join("copies"), &needles), Vec::<PathBuf>::new());
    later(&network, DUE);
    let notes = Notes::default();
    let custody = notes.open(&network.patient, &network.galen, Break::Never).unwrap();
    // Another member with the same directory, met by the same patient.
    let other = network.galen.organization(identity(6));
    other.publish_keys().await.unwrap();
    let contact = other.meet(&network.patient.introduce(other.id()).await.unwrap()).await.unwrap();
    let copies = galen_sdk::Copies::in_directory(network.files.path().join("copies"));
    let other = other.with_copies(copies);
    assert!(other.due(network.patient.id(), WINDOW).await.unwrap().is_empty());
    let report = other.custody(&contact, &custody, &POLICY).await.unwrap();
    assert!(report.is_quiet() && report.uncopied.is_empty(), "{report:?}");
    let refused = other.erase(&contact, id, &custody).await;
    assert_eq!(kind(refused), ErrorKind::Invalid);
    assert_eq!(author_pass(&network, &Notes::default()).await.resealed.len(), 1);
}

/// The patient's machine and the author's see the same read at the same time.
#[tokio::test]
async fn an_author_and_a_patient_at_once_agree_in_the_end() {
    let (network, id, grant) = read_once().await;
    let (one, other) = (Notes::default(), Notes::default());
    let files = kept(network.directory.path()).len();
    for _ in 0..3 {
        read(&network, &grant, id).await;
        later(&network, DUE);
        let (first, second) = tokio::join!(
            pass_of(&network, Who::Patient, &one, Break::Never),
            pass_of(&network, Who::Author, &other, Break::Never)
        );
        let (first, second) = (first.unwrap(), second.unwrap());
        assert!(first.faults.is_empty() && second.faults.is_empty(), "{first:?} {second:?}");
        opens(&network, id).await;
        for _ in 0..2 {
            pass_of(&network, Who::Patient, &one, Break::Never).await.unwrap();
            author_pass(&network, &other).await;
        }
        let content = newest(&network, id).await;
        assert!(reader_opens(&network, id, &content).await);
        assert_eq!(kept(network.directory.path()).len(), files);
    }
}

/// A patient, or a thief with the patient's key, names content that is nowhere or is none. The author keeps what opens.
#[tokio::test]
async fn an_author_lets_go_of_nothing_for_content_that_is_none() {
    let (network, id, grant) = read_once().await;
    let record = network.record(id).await;
    let first = record.current().leaf.content;
    let garbage = network.galen.storage().put_bytes(vec![1; 10_000]).await.unwrap();
    let absent = ContentRef::swarm(B256::repeat_byte(5));
    let (ledger, account) = (network.galen.ledger(), crate::account(3));
    for (content, before) in [(garbage, first), (absent, garbage)] {
        let deadline = ledger.now().await.unwrap() + DAY;
        let items = [(record.key, content, before)];
        let (patient, author) = (network.patient.id(), network.author.id());
        ledger.reseal(&account, patient, author, &items, deadline).await.unwrap();
    }
    later(&network, 10 * OVER);
    let notes = Notes::default();
    let report = author_pass(&network, &notes).await;
    assert!(report.released.is_empty(), "{report:?}");
    assert!(reader_opens(&network, id, &first).await);
    // Nor for content that looks right and opens to nothing, as long as its own copy does not open.
    let (victim, other) =
        (network.accepted(&[Category::Vitals]).await[0], newest(&network, id).await);
    let good = newest(&network, victim).await;
    assert_ne!(good, other);
    let record = network.record(victim).await;
    let first_of = network.record(id).await.current().leaf.content;
    let items = [(record.key, first_of, good)];
    let deadline = ledger.now().await.unwrap() + DAY;
    let (patient, author) = (network.patient.id(), network.author.id());
    ledger.reseal(&account, patient, author, &items, deadline).await.unwrap();
    let path = copy_of(&network, victim).await;
    let copy = fs::read(&path).unwrap();
    fs::write(&path, &copy[..copy.len() - 1]).unwrap();
    later(&network, OVER);
    assert!(author_pass(&network, &notes).await.released.is_empty());
    assert!(reader_opens(&network, victim, &good).await);
    fs::write(&path, copy).unwrap();
    // Nor for what the patient's custodian sealed, as long as it could not seal it anew itself.
    let other = network.accepted(&[Category::Vitals]).await[0];
    network.patient.reseal(&[other]).await.unwrap();
    later(&network, OVER);
    let custody = Notes::default().open(&network.patient, &network.galen, Break::Never).unwrap();
    let bare = without_copies(&network);
    let report = bare.custody(&network.contact, &custody, &POLICY).await.unwrap();
    assert!(report.released.is_empty(), "{report:?}");
    // A read brings the good content to the front again.
    read(&network, &grant, id).await;
    later(&network, DUE);
    author_pass(&network, &notes).await;
    let content = newest(&network, id).await;
    assert!(reader_opens(&network, id, &content).await);
}

#[tokio::test]
async fn copies_of_what_never_counts_go_and_others_stay() {
    let network = Network::new().await;
    let (policy, nobody) = (CosignPolicy::default(), BTreeMap::new());
    let records = [Category::Vitals, Category::Laboratory, Category::Billing].map(document);
    let (author, contact) = (&network.author, &network.contact);
    let first = author.propose(contact, records, &policy).await.unwrap().remove(0);
    network.patient.answer(first.proposal, [0], [1], &policy, &nobody).await.unwrap();
    let withdrawn = author.propose(contact, [document(Category::Vitals)], &policy).await.unwrap();
    author.withdraw(contact.patient(), withdrawn[0].proposal).await.unwrap();
    // Sealed and signed, and not proposed yet.
    let prepared = author.prepare(contact, [document(Category::Vitals)], &policy).await.unwrap();
    let id = first.records[0].id();
    let newer = author.amend(contact, id, &document(Category::Vitals), &policy).await.unwrap();
    network.patient.answer(newer.proposal, [0], [], &policy, &nobody).await.unwrap();
    assert_eq!(copies(&network).len(), 6);

    // Rejected and withdrawn. What waits for its answer, what was amended and what is to be proposed stays.
    let notes = Notes::default();
    assert!(!is_idle(&network, &notes).await, "copies are to go");
    assert_eq!(author_pass(&network, &notes).await.forgotten, 2);
    assert_eq!(copies(&network).len(), 4);
    assert_eq!(author_pass(&network, &notes).await.forgotten, 0);
    // Nobody answers any more.
    later(&network, 181 * DAY);
    assert_eq!(author_pass(&network, &notes).await.forgotten, 1);

    // Half a year later nobody will propose what was sealed; a day later nobody ends what was begun.
    let folder = copies(&network).first().unwrap().parent().unwrap().to_owned();
    let name = hex::encode(prepared.leaves[0].commitment.0);
    let old = |path: PathBuf, days: u64| {
        let then = SystemTime::now() - Duration::from_secs(days * DAY);
        File::options().append(true).create(true).open(path).unwrap().set_modified(then).unwrap();
    };
    old(folder.join(&name), 179);
    old(folder.join(".writing-abc"), 0);
    old(folder.join("somebody's notes"), 1_000);
    assert_eq!(author_pass(&network, &notes).await.forgotten, 0);
    old(folder.join(&name), 181);
    old(folder.join(".writing-abc"), 2);
    assert_eq!(author_pass(&network, &notes).await.forgotten, 2);
    assert_eq!(copies(&network).len(), 3, "both versions of the record, and what is not ours");
}

#[tokio::test]
async fn what_an_author_erases_is_gone_from_its_machine_and_its_places() {
    let (network, id, grant) = read_once().await;
    let other = network.accepted(&[Category::Vitals]).await[0];
    let (policy, nobody) = (CosignPolicy::default(), BTreeMap::new());
    let (author, contact) = (&network.author, &network.contact);
    let newer = author.amend(contact, id, &document(Category::Vitals), &policy).await.unwrap();
    network.patient.answer(newer.proposal, [0], [], &policy, &nobody).await.unwrap();
    let mut needles = traces(&network, id).await;
    for path in copies(&network) {
        if path != copy_of(&network, other).await {
            needles.push(fs::read(path).unwrap()[HEADER_LEN..HEADER_LEN + 64].to_vec());
        }
    }
    let notes = Notes::default();
    let custody = notes.open(&network.patient, &network.galen, Break::Never).unwrap();
    let planned = author.erasure(contact, id, &custody).await.unwrap();
    assert_eq!((planned.contents.len(), planned.readers.len()), (2, 1));
    let erased = author.erase(contact, id, &custody).await.unwrap();
    assert_eq!(erased.copies, 2, "of both versions");
    assert!(erased.contents.iter().all(|it| it.state.is_gone()), "{erased:?}");
    for place in [network.directory.path(), network.files.path()] {
        assert_eq!(holders(place, &needles), Vec::<PathBuf>::new());
    }
    drop(custody);
    // It is never sealed again, though it was read; all else is as it was.
    read(&network, &grant, id).await;
    later(&network, DUE);
    let report = author_pass(&network, &notes).await;
    assert!(report.resealed.is_empty() && report.uncopied.is_empty(), "{report:?}");
    opens(&network, other).await;
    // What is proposed of it afterwards leaves no copy for long.
    let last = document(Category::Vitals);
    let last = author.amend(contact, id, &last, &policy).await.unwrap();
    network.patient.answer(last.proposal, [0], [], &policy, &nobody).await.unwrap();
    assert_eq!(author_pass(&network, &notes).await.forgotten, 1);
    assert!(matches!(
        author
            .erasure(
                contact,
                RecordId::default(),
                &notes.open(&network.patient, &network.galen, Break::Never).unwrap()
            )
            .await,
        Err(Error::NoRecord(_))
    ));
}

/// At once, and where every store has lost the content.
#[tokio::test]
async fn an_author_brings_back_what_the_stores_lost() {
    let (network, id, _) = read_once().await;
    let (author, contact) = (&network.author, &network.contact);
    let lost = newest(&network, id).await;
    network.galen.storage().remove(&lost).await.unwrap();
    assert_eq!(kind(network.patient.open(id).await), ErrorKind::NotFound);
    let (resealed, sent) = author.reseal(contact, &[id]).await.unwrap();
    assert_eq!((resealed.len(), sent.len(), resealed[0].before), (1, 1, lost));
    assert!(reader_opens(&network, id, &resealed[0].after).await);
    opens(&network, id).await;
    let told = reseals(&network).await;
    let bare = without_copies(&network).reseal(contact, &[id]).await;
    assert!(matches!(bare, Err(Error::NoCopy(record)) if record == id), "{bare:?}");
    let other = network.galen.organization(identity(6));
    other.publish_keys().await.unwrap();
    let met = other.meet(&network.patient.introduce(other.id()).await.unwrap()).await.unwrap();
    assert_eq!(kind(other.reseal(&met, &[id]).await), ErrorKind::Invalid);
    assert_eq!(reseals(&network).await, told);
}

/// A machine whose disk is full, or whose copies cannot be written, proposes nothing that it could not seal anew.
#[tokio::test]
async fn what_cannot_be_copied_is_not_proposed() {
    let network = Network::new().await;
    fs::write(network.files.path().join("copies"), "not a directory").unwrap();
    let (policy, before) = (CosignPolicy::default(), kept(network.directory.path()));
    let refused =
        network.author.propose(&network.contact, [document(Category::Vitals)], &policy).await;
    assert!(matches!(refused, Err(Error::Copy(_))), "{refused:?}");
    assert_eq!(kept(network.directory.path()), before);
    assert!(network.patient.inbox().await.unwrap().is_empty());
}
