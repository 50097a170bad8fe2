//! The story of the SDK where it does not go well: what is refused, by whom, and what stands after it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "story/author.rs"]
mod author;
#[path = "story/custodian.rs"]
mod custodian;
#[path = "story/gaps.rs"]
mod gaps;
#[path = "story/import.rs"]
mod import;
#[path = "story/people.rs"]
mod people;
#[path = "story/places.rs"]
mod places;
#[path = "story/proxies.rs"]
mod proxies;
#[path = "story/recovery.rs"]
mod recovery;
#[path = "story/remote.rs"]
mod remote;
#[path = "story/signed.rs"]
mod signed;

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use alloy_primitives::{Address, B256, U256, hex};
use galen_chain::{Account, CosignPolicy, Ledger, deploy};
use galen_crypto::{
    IdentityPublic, MediaType, Opened, PatientKeys, RootSeed, SealRequest, SegmentPublic,
    random_salt, seal_bytes,
};
use galen_devchain::{Clock, Config, DevChain};
use galen_fhir::{Category, Document};
use galen_index::{Proposal, Record};
use galen_sdk::{
    Contact, Copies, Error, Galen, Grant, GrantRequest, Grantee, Identity, NewRecord, Organization,
    Patient, fhir_document,
};
use galen_storage::{Storage, StorageError};
use galen_types::{
    Commitment, ContentRef, ErrorKind, Leaf, LeafKind, Plaintext, Purpose, PurposeSet, RecordId,
    RecordKey, Segment, VersionId,
};
use tempfile::TempDir;

const DAY: u64 = 86_400;

/// Everybody, on one network.
struct Network {
    directory: TempDir,
    /// What is imported.
    files: TempDir,
    chain: DevChain,
    relayer: Account,
    galen: Galen,
    author: Organization,
    author_account: Account,
    patient: Patient,
    keys: PatientKeys,
    physician: Grantee,
    insurer: Grantee,
    contact: Contact,
}

/// The time of this machine, in Unix seconds.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn seed(n: u8) -> RootSeed {
    RootSeed::from_bytes([n; 32])
}

fn account(n: u8) -> Account {
    Account::from_key(&[n; 32]).unwrap()
}

fn identity(n: u8) -> Identity {
    Identity::new(account(n), &seed(n))
}

impl Network {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let storage = Storage::local(directory.path()).await.unwrap();
        Self::keeping(directory, storage, &[]).await
    }

    /// Some categories are kept elsewhere.
    async fn keeping(directory: TempDir, storage: Storage, routes: &[(Category, Storage)]) -> Self {
        let relayer = account(1);
        let accounts = vec![(relayer.controller(), U256::from(10).pow(U256::from(20)))];
        // The clock stands unless it is moved, so that all happens in one block time.
        let genesis_time = now();
        let clock = Clock::Manual;
        let config = Config { accounts, clock, genesis_time, ..Config::default() };
        let chain = DevChain::in_memory(config);
        let galen = network(&chain, &relayer, storage, B256::ZERO).await;
        let galen = routes.iter().fold(galen, |galen, (category, storage)| {
            galen.with_route(category.index(), storage.clone())
        });
        let files = tempfile::tempdir().unwrap();
        let copies = Copies::in_directory(files.path().join("copies"));
        let this = Self {
            directory,
            files,
            chain,
            author: galen.organization(identity(2)).with_copies(copies),
            author_account: account(2),
            patient: galen.patient(identity(3)),
            keys: seed(3).pseudonym(account(3).id()),
            physician: galen.grantee(identity(4)),
            insurer: galen.grantee(identity(5)),
            contact: meet(&galen).await,
            relayer,
            galen,
        };
        this.physician.publish_keys().await.unwrap();
        this.insurer.publish_keys().await.unwrap();
        this
    }

    /// One accepted record of each of these categories.
    async fn accepted(&self, categories: &[Category]) -> Vec<RecordId> {
        let records: Vec<NewRecord> = categories.iter().map(|it| document(*it)).collect();
        let policy = CosignPolicy::default();
        let announced = self.author.propose(&self.contact, records, &policy).await.unwrap();
        let nobody = BTreeMap::new();
        let id = announced[0].proposal;
        self.patient.answer(id, 0..categories.len(), [], &policy, &nobody).await.unwrap();
        announced[0].records.iter().map(RecordKey::id).collect()
    }

    async fn grant(&self, to: &Grantee, category: Category, lifetime: u64) -> Grant {
        let request = GrantRequest {
            grantee: to.id(),
            categories: vec![category.index()],
            purposes: PurposeSet::from_iter([Purpose::Treatment]),
            not_before: None,
            lifetime,
        };
        let granted = self.patient.grant(&request).await.unwrap();
        to.accept(&granted.envelope).await.unwrap()
    }

    async fn record(&self, id: RecordId) -> Record {
        let found = self.galen.with_chart(self.patient.id(), |it| it.record(id).cloned()).await;
        found.unwrap().unwrap()
    }

    fn file_of(&self, content: &ContentRef) -> PathBuf {
        let name = hex::encode(content.digest);
        self.directory.path().join("swarm").join(&name[..2]).join(name)
    }

    /// Changes one byte of kept content behind the store's back.
    fn tamper(&self, content: &ContentRef) {
        let path = self.file_of(content);
        let mut bytes = fs::read(&path).unwrap();
        let at = 5_000.min(bytes.len() - 1);
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    }

    fn segment(&self, category: Category) -> Segment {
        self.keys.segment_map().segment(category.index())
    }
}

async fn network(chain: &DevChain, relayer: &Account, storage: Storage, salt: B256) -> Galen {
    let mut founders = [account(2).id(), account(6).id()];
    founders.sort_unstable();
    let deployment = deploy(chain.provider(), relayer, &founders, salt).await.unwrap();
    let ledger =
        Ledger::connect(chain.provider(), deployment.ledger, deployment.block).await.unwrap();
    Galen::new(ledger.paid_by(relayer), storage)
}

async fn meet(galen: &Galen) -> Contact {
    let (author, patient) = (galen.organization(identity(2)), galen.patient(identity(3)));
    author.publish_keys().await.unwrap();
    patient.publish_keys().await.unwrap();
    author.meet(&patient.introduce(author.id()).await.unwrap()).await.unwrap()
}

/// The record of this category of the project's own patient.
fn document(category: Category) -> NewRecord {
    let bytes = fs::read(galen_e2e::root().join("tests/fixtures/patient.json")).unwrap();
    let document = Document::read(&bytes).unwrap();
    let drafts = document.split();
    NewRecord::from(drafts.iter().find(|draft| draft.category() == category).unwrap())
}

/// The document of a record.
fn fhir(opened: &Opened) -> &[u8] {
    fhir_document(opened).unwrap()
}

fn kind<T: std::fmt::Debug>(result: Result<T, Error>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// A proposed record as a careless or hostile author makes it.
struct Forgery {
    payload: Vec<u8>,
    media_type: &'static str,
    /// What the leaf says.
    segment: Segment,
    /// What the content is sealed for.
    number: u64,
    epoch: u32,
    identity: Option<IdentityPublic>,
    readers: Option<(Segment, SegmentPublic)>,
    commitment: Option<Commitment>,
    content: Option<Vec<u8>>,
}

impl Forgery {
    /// Nothing is wrong with it.
    fn honest(network: &Network) -> Self {
        let segment = network.segment(Category::Vitals);
        Self {
            payload: document(Category::Vitals).payload.expose().to_vec(),
            media_type: "application/fhir+json",
            segment,
            number: 7,
            epoch: 1,
            identity: Some(network.keys.identity().public().clone()),
            readers: Some((segment, network.keys.segment(segment, 1).public())),
            commitment: None,
            content: None,
        }
    }

    /// Proposes it as record number 7.
    async fn propose(self, network: &Network) -> Proposal {
        let key = RecordKey {
            patient: network.patient.id(),
            author: network.author.id(),
            segment: self.segment,
            number: self.number,
        };
        let media_type: MediaType = self.media_type.parse().unwrap();
        let ledger = network.galen.ledger();
        let request = SealRequest {
            ledger: ledger.id(),
            record: key.id(),
            epoch: self.epoch,
            salt: random_salt().unwrap(),
            media_type: &media_type,
            identity: self.identity.as_ref(),
            segment: self.readers.as_ref().map(|(segment, key)| (*segment, key)),
        };
        let (committed, sealed) = seal_bytes(&request, &self.payload).unwrap();
        let content = self.content.unwrap_or(sealed);
        let leaf = Leaf {
            kind: LeafKind::New,
            segment: self.segment,
            number: 7,
            content: network.galen.storage().put_bytes(content).await.unwrap(),
            commitment: self.commitment.unwrap_or(committed.commitment),
            previous: VersionId::default(),
        };
        let deadline = ledger.now().await.unwrap() + DAY;
        let signed = ledger
            .sign_proposal(
                &network.author_account,
                key.patient,
                &[leaf],
                &CosignPolicy::default(),
                deadline,
            )
            .await
            .unwrap();
        ledger.propose(&signed, &[leaf]).await.unwrap();
        network.patient.inbox().await.unwrap().pop().unwrap()
    }
}

/// What is wrong with a record, and what the patient says.
type Row = (&'static str, fn(&Network, &mut Forgery), &'static str);

const CATEGORY: &str = "its document belongs to another category than its segment";
const READERS: &str = "it is not sealed to the readers of its segment";
const EPOCH: &str = "it is sealed under another epoch than the current one";
const CLOSED: &str = "its content does not open";
const DOCUMENT: &str = "its document is not acceptable FHIR";

const FORGERIES: &[Row] = &[
    (
        "the document of another category",
        |network, it| {
            it.segment = network.segment(Category::Laboratory);
            it.readers = Some(readers(&network.keys, it.segment, 1));
        },
        CATEGORY,
    ),
    ("sealed to nobody but the patient", |_, it| it.readers = None, READERS),
    (
        "sealed to the readers of another segment",
        |network, it| {
            let other = network.segment(Category::Laboratory);
            it.readers = Some(readers(&network.keys, other, 1));
        },
        READERS,
    ),
    (
        "sealed to a stranger's segment",
        |_, it| it.readers = Some(readers(&stranger(), it.segment, 1)),
        READERS,
    ),
    (
        "sealed under the next epoch",
        |network, it| {
            it.epoch = 2;
            it.readers = Some(readers(&network.keys, it.segment, 2));
        },
        EPOCH,
    ),
    (
        "sealed to another identity",
        |_, it| it.identity = Some(stranger().identity().public().clone()),
        CLOSED,
    ),
    ("sealed for another record", |_, it| it.number = 8, READERS),
    ("another commitment", |_, it| it.commitment = Some(Commitment(B256::repeat_byte(1))), READERS),
    ("not FHIR", |_, it| it.payload = br#"{"resourceType":"Ghost"}"#.to_vec(), DOCUMENT),
    ("no sealed content at all", |_, it| it.content = Some(vec![7; 9_000]), CLOSED),
];

fn stranger() -> PatientKeys {
    seed(9).pseudonym(Address::repeat_byte(9))
}

fn readers(keys: &PatientKeys, segment: Segment, epoch: u32) -> (Segment, SegmentPublic) {
    (segment, keys.segment(segment, epoch).public())
}

#[tokio::test]
async fn patients_see_through_misproposed_records() {
    let network = Network::new().await;
    let honest = Forgery::honest(&network).propose(&network).await;
    network.patient.examine(&honest, 0).await.unwrap();
    for (row, forge, expected) in FORGERIES {
        let mut forgery = Forgery::honest(&network);
        forge(&network, &mut forgery);
        let proposal = forgery.propose(&network).await;
        match network.patient.examine(&proposal, 0).await {
            Err(Error::Misproposed { fault, index: 0, .. }) => {
                assert_eq!(fault, *expected, "{row}");
            }
            other => panic!("{row}: {other:?}"),
        }
    }
    let beyond = network.patient.examine(&honest, 1).await;
    assert_eq!(kind(beyond), ErrorKind::Integrity, "a leaf that is not there");
}

/// An author's table of sensitive codes may be stricter than the patient's, never looser; a report lies
/// with the results that it is about and with nothing else.
#[tokio::test]
async fn patients_take_stricter_labels_and_no_looser_ones() {
    let hiv = r#"{"resourceType":"Condition","id":"c","subject":{"reference":"Patient/p"},
        "code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10","code":"B20"}]}}"#;
    let plain = hiv.replace("B20", "I10");
    let result = r#"{"resourceType":"Observation","id":"o","status":"final","code":{"text":"c"}}"#;
    let report = r#"{"resourceType":"DiagnosticReport","status":"final","code":{"text":"c"},
        "result":[{"reference":"Observation/o"}]}"#;
    let rows: [(&str, &[&str], Category, bool); 8] = [
        ("sensitive, and said so", &[hiv], Category::Hiv, true),
        ("sensitive, and not said so", &[hiv], Category::Problems, false),
        ("sensitive, and said to be less so", &[hiv], Category::MentalHealth, false),
        ("not sensitive by our table", &[&plain], Category::MentalHealth, true),
        ("another category of the same rank", &[&plain], Category::Notes, false),
        ("a report with its result", &[report, result], Category::DiagnosticReports, true),
        ("a result without its report", &[result], Category::DiagnosticReports, false),
        ("a report with more", &[report, result, &plain], Category::DiagnosticReports, false),
    ];
    let network = Network::new().await;
    for (row, resources, category, good) in rows {
        let mut forgery = Forgery::honest(&network);
        let entries: Vec<_> =
            resources.iter().map(|resource| format!(r#"{{"resource":{resource}}}"#)).collect();
        let head = r#"{"resourceType":"Bundle","type":"collection","entry""#;
        forgery.payload = format!("{head}:[{}]}}", entries.join(",")).into_bytes();
        forgery.segment = network.segment(category);
        forgery.readers = Some(readers(&network.keys, forgery.segment, 1));
        let proposal = forgery.propose(&network).await;
        match network.patient.examine(&proposal, 0).await {
            Ok(record) => assert!(good && record.category == category.index(), "{row}"),
            Err(Error::Misproposed { fault, .. }) => {
                assert!(!good && fault == CATEGORY, "{row}: {fault}");
            }
            Err(error) => panic!("{row}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn content_that_was_changed_or_is_gone_is_not_examined() {
    let network = Network::new().await;
    let proposal = Forgery::honest(&network).propose(&network).await;
    let content = proposal.event.leaves[0].content;
    network.tamper(&content);
    let error = network.patient.examine(&proposal, 0).await.unwrap_err();
    assert!(matches!(error, Error::Storage(StorageError::Integrity(at)) if at == content));
    assert_eq!(error.kind(), ErrorKind::Integrity);
    fs::remove_file(network.file_of(&content)).unwrap();
    assert_eq!(kind(network.patient.examine(&proposal, 0).await), ErrorKind::NotFound);
}

/// An author may announce content that opens to nothing; nobody loses the record by it.
#[tokio::test]
async fn readers_fall_back_to_the_newest_content_that_opens() {
    let network = Network::new().await;
    let id = network.accepted(&[Category::Vitals]).await[0];
    let grant = network.grant(&network.physician, Category::Vitals, DAY).await;
    let record = network.record(id).await;
    let first = record.current().leaf.content;
    let garbage = network.galen.storage().put_bytes(vec![1; 10_000]).await.unwrap();
    let absent = ContentRef::swarm(B256::repeat_byte(5));
    let ledger = network.galen.ledger();
    for (content, before) in [(garbage, first), (absent, first)] {
        let deadline = ledger.now().await.unwrap() + DAY;
        let items = [(record.key, content, before)];
        let patient = network.patient.id();
        let (signer, author) = (&network.author_account, network.author.id());
        ledger.reseal(signer, patient, author, &items, deadline).await.unwrap();
    }
    assert_eq!(network.record(id).await.current().contents.len(), 3);
    let expected = document(Category::Vitals).payload;
    assert_eq!(fhir(&network.patient.open(id).await.unwrap()), expected.expose());
    let (read, _) = network.physician.read(&grant, Purpose::Treatment, &[id]).await.unwrap();
    assert_eq!(fhir(&read[0].opened), expected.expose());
    // With the one content that opens changed, nothing is shown at all.
    network.tamper(&first);
    assert_eq!(kind(network.patient.open(id).await), ErrorKind::Integrity);
    let refused = network.physician.read(&grant, Purpose::Treatment, &[id]).await;
    assert_eq!(kind(refused), ErrorKind::Integrity);
    assert!(network.patient.audit().await.unwrap().complete);
}

#[tokio::test]
async fn grant_envelopes_are_for_one_grantee_one_ledger_and_a_month() {
    let network = Network::new().await;
    let request = GrantRequest {
        grantee: network.physician.id(),
        categories: vec![Category::Vitals.index()],
        purposes: PurposeSet::from_iter([Purpose::Treatment]),
        not_before: None,
        lifetime: 30 * DAY,
    };
    let envelope = network.patient.grant(&request).await.unwrap().envelope;
    network.physician.accept(&envelope).await.unwrap();

    let for_another = network.insurer.accept(&envelope).await;
    assert!(matches!(for_another, Err(Error::Envelope("it is for another grantee"))));
    let storage = network.galen.storage().clone();
    let elsewhere =
        self::network(&network.chain, &network.relayer, storage, B256::repeat_byte(1)).await;
    let on_another_ledger = elsewhere.grantee(identity(4)).accept(&envelope).await;
    assert!(matches!(on_another_ledger, Err(Error::Envelope("it is for another ledger"))));
    // The same account with another seed cannot open it.
    let other_seed = Identity::new(account(4), &seed(8));
    assert!(network.galen.grantee(other_seed).accept(&envelope).await.is_err());

    for at in (0..envelope.len()).step_by(29) {
        let mut changed = envelope.clone();
        changed[at] ^= 1;
        assert!(network.physician.accept(&changed).await.is_err(), "byte {at}");
    }
    for len in [0, 1, envelope.len() - 1] {
        assert!(network.physician.accept(&envelope[..len]).await.is_err(), "{len} bytes");
    }
    network.chain.advance_time(31 * DAY).unwrap();
    network.chain.mine().unwrap();
    let late = network.physician.accept(&envelope).await;
    assert!(matches!(late, Err(Error::Envelope("its signature is out of date"))));
}

#[tokio::test]
async fn contact_envelopes_are_for_one_organization_one_ledger_and_a_month() {
    let network = Network::new().await;
    let envelope = network.patient.introduce(network.author.id()).await.unwrap();
    network.author.meet(&envelope).await.unwrap();
    let for_another = network.galen.organization(identity(6)).meet(&envelope).await;
    assert!(matches!(for_another, Err(Error::Envelope("it is for another organization"))));
    let storage = network.galen.storage().clone();
    let elsewhere =
        self::network(&network.chain, &network.relayer, storage, B256::repeat_byte(1)).await;
    let on_another_ledger = elsewhere.organization(identity(2)).meet(&envelope).await;
    assert!(matches!(on_another_ledger, Err(Error::Envelope("it is for another ledger"))));
    for at in (0..envelope.len()).step_by(29) {
        let mut changed = envelope.clone();
        changed[at] ^= 1;
        assert!(network.author.meet(&changed).await.is_err(), "byte {at}");
    }
    network.chain.advance_time(31 * DAY).unwrap();
    network.chain.mine().unwrap();
    let late = network.author.meet(&envelope).await;
    assert!(matches!(late, Err(Error::Envelope("its signature is out of date"))));
    // Who published nothing cannot be sealed to.
    let silent = network.patient.introduce(Address::repeat_byte(7)).await;
    assert_eq!(kind(silent), ErrorKind::NotFound);
}

#[tokio::test]
async fn resealing_changes_the_address_and_nothing_else() {
    let network = Network::new().await;
    let ids = network.accepted(&[Category::Vitals, Category::Problems]).await;
    let grant = network.grant(&network.physician, Category::Vitals, DAY).await;
    assert_eq!(network.physician.readable(&grant).await.unwrap(), [ids[0]]);
    assert!(network.patient.accessed().await.unwrap().is_empty());
    let (before, _) = network.physician.read(&grant, Purpose::Treatment, &ids[..1]).await.unwrap();
    assert_eq!(network.patient.accessed().await.unwrap(), [ids[0]]);
    let old = network.record(ids[0]).await;

    let (resealed, _) = network.patient.reseal(&ids[..1]).await.unwrap();
    let [one] = &resealed[..] else { panic!("{resealed:?}") };
    let new = network.record(ids[0]).await;
    assert_eq!((one.record, one.before), (ids[0], old.current().leaf.content));
    assert_ne!(one.after, one.before);
    assert_eq!(new.current().leaf, old.current().leaf, "the version and its commitment stand");
    assert_eq!(new.current().contents.last().unwrap().content, one.after);
    let storage = network.galen.storage();
    assert!(!storage.contains(&one.before).await.unwrap());
    assert!(storage.contains(&one.after).await.unwrap());
    assert!(!network.file_of(&one.before).exists());
    assert!(network.patient.accessed().await.unwrap().is_empty());

    let (after, _) = network.physician.read(&grant, Purpose::Treatment, &ids[..1]).await.unwrap();
    assert_eq!(after[0].opened.payload, before[0].opened.payload);
    assert_eq!(after[0].opened.salt, before[0].opened.salt);
    let audit = network.patient.audit().await.unwrap();
    assert!(audit.complete);
    assert_eq!(audit.accesses, 2);
}

#[tokio::test]
async fn consents_end_by_time_and_by_revocation_alone() {
    let network = Network::new().await;
    let ids = network.accepted(&[Category::Vitals, Category::Billing]).await;
    let physician = network.grant(&network.physician, Category::Vitals, 30 * DAY).await;
    // A second grant moves the root; the first one's proof is rebuilt from the events.
    let insurer = network.grant(&network.insurer, Category::Billing, 10 * DAY).await;
    let vitals = |purpose| network.physician.read(&physician, purpose, &ids[..1]);
    let billing = || network.insurer.read(&insurer, Purpose::Treatment, &ids[1..]);
    vitals(Purpose::Treatment).await.unwrap();
    billing().await.unwrap();
    assert_eq!(kind(vitals(Purpose::Research).await), ErrorKind::Denied, "another purpose");
    let across = network.insurer.read(&insurer, Purpose::Treatment, &ids[..1]).await;
    assert_eq!(kind(across), ErrorKind::Denied, "another segment");
    let both = network.insurer.read(&insurer, Purpose::Treatment, &ids).await;
    assert_eq!(kind(both), ErrorKind::Denied, "one of two is not consented: none is read");
    let stolen = network.insurer.read(&physician, Purpose::Treatment, &ids[..1]).await;
    assert_eq!(kind(stolen), ErrorKind::Denied, "another grantee's grant");

    // An hour more: the clock of this machine went on while the chain stood.
    network.chain.advance_time(10 * DAY + 3_600).unwrap();
    network.chain.mine().unwrap();
    assert_eq!(kind(billing().await), ErrorKind::Denied, "after its end");
    vitals(Purpose::Treatment).await.unwrap();

    // An ended consent is revoked like any other; the one beside it stays.
    network.patient.revoke(insurer.consent().id()).await.unwrap();
    vitals(Purpose::Treatment).await.unwrap();
    let again = network.patient.revoke(insurer.consent().id()).await;
    assert_eq!(kind(again), ErrorKind::Denied, "it is not live");
    network.patient.revoke(physician.consent().id()).await.unwrap();
    assert_eq!(kind(vitals(Purpose::Treatment).await), ErrorKind::Denied, "after its revocation");

    let audit = network.patient.audit().await.unwrap();
    assert!(audit.complete);
    assert_eq!(audit.accesses, 4, "what was refused left no event");
}

#[tokio::test]
async fn a_withdrawn_proposal_leaves_the_inbox_and_cannot_be_accepted() {
    let network = Network::new().await;
    let (policy, nobody) = (CosignPolicy::default(), BTreeMap::new());
    let records = [document(Category::Vitals)];
    let announced = network.author.propose(&network.contact, records, &policy).await.unwrap();
    let (id, record) = (announced[0].proposal, announced[0].records[0].id());
    let patient = network.patient.id();
    let other = network.galen.organization(identity(4)).withdraw(patient, id).await;
    assert_eq!(kind(other), ErrorKind::NotFound, "only its author takes it back");
    assert_eq!(network.patient.inbox().await.unwrap().len(), 1);
    network.author.withdraw(patient, id).await.unwrap();
    assert!(network.patient.inbox().await.unwrap().is_empty());
    // The contract does not know; every reader does.
    network.patient.answer(id, [0], [], &policy, &nobody).await.unwrap();
    assert_eq!(kind(network.patient.open(record).await), ErrorKind::NotFound);
    assert!(network.patient.audit().await.unwrap().complete);
}

#[tokio::test]
async fn answers_and_amendments_follow_the_policy_and_the_author() {
    let network = Network::new().await;
    let policy = CosignPolicy { threshold: 1, cosigners: vec![network.physician.id()] };
    let second = network.galen.organization(identity(4));
    let records = [document(Category::Vitals)];
    let announced = network.author.propose(&network.contact, records, &policy).await.unwrap();
    let (id, record) = (announced[0].proposal, announced[0].records[0].id());
    let nobody = BTreeMap::new();
    let alone = network.patient.answer(id, [0], [], &policy, &nobody).await;
    assert_eq!(kind(alone), ErrorKind::Denied, "without the cosigner");
    let signature = second.cosign(network.patient.id(), id).await.unwrap();
    let signed = BTreeMap::from([(second.id(), signature)]);
    network.patient.answer(id, [0], [], &policy, &signed).await.unwrap();
    assert!(network.patient.inbox().await.unwrap().is_empty());

    let amend = |who: &Organization, category, policy: &CosignPolicy| {
        let (who, policy, contact) = (who.clone(), policy.clone(), network.contact.clone());
        async move { who.amend(&contact, record, &document(category), &policy).await }
    };
    let free = CosignPolicy::default();
    let (vitals, other) = (Category::Vitals, Category::Problems);
    assert_eq!(kind(amend(&second, vitals, &policy).await), ErrorKind::Invalid, "not its author");
    assert_eq!(kind(amend(&network.author, vitals, &free).await), ErrorKind::Invalid, "its policy");
    assert_eq!(kind(amend(&network.author, other, &policy).await), ErrorKind::Invalid, "segment");
    amend(&network.author, vitals, &policy).await.unwrap();
    let unknown = network.author.cosign(network.patient.id(), B256::ZERO.into()).await;
    assert_eq!(kind(unknown), ErrorKind::NotFound);
    let absent = RecordId(B256::repeat_byte(3));
    assert_eq!(kind(network.patient.open(absent).await), ErrorKind::NotFound);
    let payload = Plaintext::new(b"{}".to_vec());
    let unnamed = [NewRecord::fhir(200, payload)];
    let refused = network.author.propose(&network.contact, unnamed, &free).await;
    assert_eq!(kind(refused), ErrorKind::Denied, "a category without a segment");
}
