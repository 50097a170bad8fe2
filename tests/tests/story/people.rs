//! What people do beside the straight story: retract, refuse, cosign, ask, grant for later, revoke all.

use std::{
    collections::BTreeMap,
    fs,
    sync::atomic::{AtomicBool, Ordering},
};

use alloy::{
    consensus::SignableTransaction,
    network::{EthereumWallet, TransactionBuilder as _},
    providers::{Provider as _, ProviderBuilder},
    rpc::types::TransactionRequest,
    signers::{SignerSync as _, local::PrivateKeySigner},
    sol_types::SolValue as _,
};
use alloy_primitives::{Address, B256, Bytes, Signature, hex, keccak256};
use galen_chain::{
    Account, ChainError, CosignPolicy, KeySigner, SignError, Signer, SigningRequest,
};
use galen_crypto::{SealRequest, random_salt, seal_bytes};
use galen_fhir::Category;
use galen_sdk::{
    Asked, ConsentStatus, CosignSheet, Error, GrantRequest, Identity, ProposalState, Question,
    VersionState,
};
use galen_types::{ContentRef, ErrorKind, LeafKind, Purpose, PurposeSet, RecordId};

use crate::{DAY, Network, account, document, fhir, identity, kind, seed};

fn nobody() -> BTreeMap<Address, Bytes> {
    BTreeMap::new()
}

/// A signer of somebody: before its first signature the patient grants something to somebody else.
#[derive(Debug)]
struct Overtaken {
    key: KeySigner,
    patient: galen_sdk::Patient,
    request: GrantRequest,
    done: AtomicBool,
}

#[async_trait::async_trait]
impl Signer for Overtaken {
    fn address(&self) -> Address {
        self.key.address()
    }

    async fn sign(&self, request: &SigningRequest) -> Result<Bytes, SignError> {
        if !self.done.swap(true, Ordering::SeqCst) {
            self.patient.grant(&self.request).await.unwrap();
        }
        self.key.sign(request).await
    }

    async fn sign_transaction(
        &self,
        transaction: &mut (dyn SignableTransaction<Signature> + Send),
    ) -> Result<Signature, SignError> {
        self.key.sign_transaction(transaction).await
    }
}

/// Two owners of a contract wallet (ERC-1271): their signatures of 65 bytes, one after the other.
#[derive(Debug)]
pub(crate) struct Wallet {
    address: Address,
    owners: [PrivateKeySigner; 2],
}

#[async_trait::async_trait]
impl Signer for Wallet {
    fn address(&self) -> Address {
        self.address
    }

    async fn sign(&self, request: &SigningRequest) -> Result<Bytes, SignError> {
        let sign =
            |owner: &PrivateKeySigner| owner.sign_hash_sync(&request.digest).unwrap().as_bytes();
        Ok(self.owners.each_ref().map(sign).concat().into())
    }

    async fn sign_transaction(
        &self,
        _: &mut (dyn SignableTransaction<Signature> + Send),
    ) -> Result<Signature, SignError> {
        Err(SignError::Refused("a contract signs no transaction".to_owned()))
    }
}

impl Network {
    /// A wallet of three owners, of whom two sign.
    pub(crate) async fn wallet(&self) -> Wallet {
        let mut owners = [21, 22, 23].map(|n| PrivateKeySigner::from_slice(&[n; 32]).unwrap());
        owners.sort_by_key(PrivateKeySigner::address);
        let path = galen_e2e::root().join("tests/fixtures/multisig.hex");
        let text = fs::read_to_string(path).unwrap();
        let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
        let addresses = owners.each_ref().map(PrivateKeySigner::address);
        let code = [hex::decode(digits).unwrap(), addresses.abi_encode()].concat();
        let payer = PrivateKeySigner::from_slice(&[1; 32]).unwrap();
        let provider = ProviderBuilder::new()
            .with_simple_nonce_management()
            .wallet(EthereumWallet::from(payer))
            .connect_client(self.chain.client());
        let request = TransactionRequest::default().with_deploy_code(code);
        let sent = provider.send_transaction(request).await.unwrap();
        let receipt = provider.get_transaction_receipt(*sent.tx_hash()).await.unwrap().unwrap();
        let [first, second, _] = owners;
        Wallet { address: receipt.contract_address.unwrap(), owners: [first, second] }
    }

    pub(crate) fn ask(&self, grantee: Address, categories: &[Category]) -> GrantRequest {
        GrantRequest {
            grantee,
            categories: categories.iter().map(|category| category.index()).collect(),
            purposes: PurposeSet::from_iter([Purpose::Treatment]),
            not_before: None,
            lifetime: DAY,
        }
    }

    async fn states(&self, record: RecordId) -> Vec<VersionState> {
        let entries = self.patient.records().await.unwrap();
        let of = entries.iter().filter(|entry| entry.record.id() == record);
        of.map(|entry| entry.state).collect()
    }
}

#[tokio::test]
async fn records_are_amended_retracted_disowned_and_run_out() {
    let network = Network::new().await;
    let (author, patient, contact) = (&network.author, &network.patient, &network.contact);
    let ids = network.accepted(&[Category::Vitals, Category::Problems, Category::Billing]).await;
    let free = CosignPolicy::default();

    // Vitals are amended.
    let vitals = document(Category::Vitals);
    let amended = author.amend(contact, ids[0], &vitals, &free).await.unwrap();
    let inbox = patient.inbox().await.unwrap();
    let seen = patient.examine(&inbox[0], 0).await.unwrap();
    assert_eq!((seen.kind, seen.category), (LeafKind::Amendment, Category::Vitals.index()));
    assert!(seen.follows.unwrap().1, "what it follows stands");
    patient.answer(amended.proposal, [0], [], &free, &nobody()).await.unwrap();
    let states = network.states(ids[0]).await;
    assert_eq!(states, [VersionState::Superseded, VersionState::Current]);

    // Problems are retracted, and the patient reads why; bills are not given up.
    for (id, agrees) in [(ids[1], true), (ids[2], false)] {
        let why = "it belongs to somebody else";
        let retracted = author.retract(contact, id, why, &free).await.unwrap();
        let inbox = patient.inbox().await.unwrap();
        let seen = patient.examine(&inbox[0], 0).await.unwrap();
        assert_eq!((seen.kind, seen.record.id()), (LeafKind::Retraction, id));
        assert_eq!(seen.opened.payload.expose(), why.as_bytes());
        let (yes, no) = if agrees { (vec![0], vec![]) } else { (vec![], vec![0]) };
        patient.answer(retracted.proposal, yes, no, &free, &nobody()).await.unwrap();
    }
    assert_eq!(network.states(ids[1]).await, [VersionState::Retracted; 2]);
    let states = network.states(ids[2]).await;
    assert_eq!(states, [VersionState::Disowned, VersionState::Rejected]);
    let late = author.amend(contact, ids[1], &document(Category::Problems), &free).await;
    assert_eq!(kind(late), ErrorKind::Invalid, "nothing follows a retraction");
    assert_eq!(kind(author.retract(contact, ids[2], "", &free).await), ErrorKind::Invalid);

    // One proposal is taken back, one is never answered.
    for _ in 0..2 {
        let records = [document(Category::Laboratory)];
        author.propose(contact, records, &free).await.unwrap();
    }
    let waiting = author.outbox(patient.id()).await.unwrap();
    let [.., first, _] = waiting.as_slice() else { panic!() };
    author.withdraw(patient.id(), first.proposal.event.proposal).await.unwrap();
    let outbox = author.outbox(patient.id()).await.unwrap();
    let states: Vec<ProposalState> = outbox.iter().map(|entry| entry.state).collect();
    let (answered, withdrawn) = (ProposalState::Answered, ProposalState::Withdrawn);
    let mut expected = vec![answered, answered, answered, answered, withdrawn];
    expected.push(ProposalState::Waiting);
    assert_eq!(states, expected);
    assert_eq!((outbox[0].accepted, outbox[3].rejected), (3, 1));
    network.chain.advance_time(200 * DAY).unwrap();
    network.chain.mine().unwrap();
    let last = author.outbox(patient.id()).await.unwrap().pop().unwrap();
    assert_eq!(last.state, ProposalState::Expired);
    assert!(patient.inbox().await.unwrap().is_empty());
    let entries = patient.records().await.unwrap();
    let [.., back, over] = entries.as_slice() else { panic!() };
    assert_eq!((back.state, over.state), (VersionState::Withdrawn, VersionState::Expired));
    assert_eq!(over.category, Category::Laboratory.index());
    assert!(entries[0].answered.is_some() && over.answered.is_none());
}

#[tokio::test]
async fn two_of_three_cosign_and_one_is_a_wallet() {
    let network = Network::new().await;
    let wallet = network.wallet().await;
    let wallet = network.galen.organization(Identity::new(Account::new(wallet), &seed(7)));
    let second = network.galen.organization(identity(6));
    let third = network.galen.organization(identity(4));
    let mut cosigners = vec![wallet.id(), second.id(), third.id()];
    cosigners.sort_unstable();
    let policy = CosignPolicy { threshold: 2, cosigners };
    let records = [document(Category::Vitals)];
    let announced = network.author.propose(&network.contact, records, &policy).await.unwrap();
    let (id, patient) = (announced[0].proposal, network.patient.id());

    let other = CosignPolicy { threshold: 1, ..policy.clone() };
    let lie = network.author.cosign_sheet(patient, id, &other).await;
    assert!(matches!(lie, Err(Error::Envelope(_))), "a policy that the author did not sign");
    let blank = network.author.cosign_sheet(patient, id, &policy).await.unwrap();
    assert_eq!(blank.missing(), policy.cosigners);
    let text = blank.encode();
    for at in 0..text.len() {
        let mut changed = text.clone();
        changed[at] ^= 1;
        let Ok(sheet) = CosignSheet::decode(&changed) else { continue };
        assert!(network.galen.check_sheet(&sheet).await.is_err(), "byte {at}");
    }

    // Two copies go two ways, as text.
    let mut one = CosignSheet::decode(&text).unwrap();
    let mut two = CosignSheet::decode(&text).unwrap();
    wallet.cosign_on(&mut one).await.unwrap();
    let early = network.patient.answer_with(&one, [0], []).await;
    assert!(matches!(early, Err(Error::CosignersMissing(missing)) if missing.len() == 2));
    third.cosign_on(&mut two).await.unwrap();
    let outsider = network.galen.organization(identity(5)).cosign_on(&mut two).await;
    assert_eq!(kind(outsider), ErrorKind::Invalid);

    // A signature under another cosigner's name is found before anybody pays.
    let mut forged = two.encode();
    let places: Vec<usize> = policy.cosigners.iter().map(|it| place(&forged, it)).collect();
    let (from, to) = (place(&forged, &third.id()), place(&forged, &second.id()));
    assert!(places.contains(&from) && places.contains(&to));
    forged[from..from + 20].copy_from_slice(second.id().as_slice());
    forged[to..to + 20].copy_from_slice(third.id().as_slice());
    let forged = CosignSheet::decode(&forged);
    assert!(forged.is_err(), "cosigners ascend");

    one.merge(CosignSheet::decode(&two.encode()).unwrap()).unwrap();
    assert!(one.is_enough());
    assert_eq!(one.missing(), [second.id()]);
    let mut stolen = blank.clone();
    let signature = two.signatures()[&third.id()].clone();
    stolen.merge(with_signature(&blank, second.id(), &signature)).unwrap();
    let refused = network.galen.check_sheet(&stolen).await;
    assert!(matches!(refused, Err(Error::Chain(ChainError::NotSigned(id))) if id == second.id()));

    network.patient.answer_with(&one, [0], []).await.unwrap();
    let record = announced[0].records[0].id();
    assert_eq!(network.states(record).await, [VersionState::Current]);
    assert_eq!(kind(second.cosign_on(&mut one).await), ErrorKind::Invalid, "it is answered");
}

fn place(text: &[u8], address: &Address) -> usize {
    text.windows(20).position(|window| window == address.as_slice()).unwrap()
}

/// A sheet with a signature under a name, made by hand.
fn with_signature(blank: &CosignSheet, cosigner: Address, signature: &Bytes) -> CosignSheet {
    let mut text = blank.encode();
    let at = place(&text, &cosigner) + 20;
    let length = u8::try_from(signature.len()).unwrap();
    text.splice(at..=at, [&[0x58, length][..], signature].concat());
    CosignSheet::decode(&text).unwrap()
}

#[tokio::test]
async fn a_proof_that_another_grant_overtook_is_made_again() {
    let network = Network::new().await;
    let id = network.accepted(&[Category::Vitals]).await[0];
    let request = network.ask(network.insurer.id(), &[Category::Billing]);
    let signer = Overtaken {
        key: KeySigner::from_key(&[4; 32]).unwrap(),
        patient: network.patient.clone(),
        request,
        done: AtomicBool::new(false),
    };
    let grant = network.grant(&network.physician, Category::Vitals, DAY).await;
    let overtaken = network.galen.grantee(Identity::new(Account::new(signer), &seed(4)));
    let (read, _) = overtaken.read(&grant, Purpose::Treatment, &[id]).await.unwrap();
    assert_eq!(read.len(), 1);
    assert_eq!(network.galen.audit(network.patient.id()).await.unwrap().accesses, 1);
    assert_eq!(network.patient.consents(&[]).await.unwrap().len(), 2, "it was overtaken");
    // A consent that is gone is not tried again.
    network.patient.revoke(grant.consent().id()).await.unwrap();
    let gone = overtaken.read(&grant, Purpose::Treatment, &[id]).await;
    assert_eq!(kind(gone), ErrorKind::Denied);
}

/// Two devices of one patient: a change that another one overtook is built anew from what stands.
#[tokio::test]
async fn a_revocation_that_another_device_overtook_takes_nothing_back() {
    let network = Network::new().await;
    let grant = network.grant(&network.physician, Category::Vitals, DAY).await;
    let signer = Overtaken {
        key: KeySigner::from_key(&[3; 32]).unwrap(),
        patient: network.patient.clone(),
        request: network.ask(network.insurer.id(), &[Category::Billing]),
        done: AtomicBool::new(false),
    };
    let device = network.galen.patient(Identity::new(Account::new(signer), &seed(3)));
    device.revoke(grant.consent().id()).await.unwrap();
    let left = device.consents(&[]).await.unwrap();
    let [left] = left.as_slice() else { panic!("{left:?}") };
    assert_ne!(left.id, grant.consent().id());
    let is_consistent = |chart: &galen_index::Chart| chart.consents().is_consistent();
    assert!(network.galen.with_chart(device.id(), is_consistent).await.unwrap());
}

/// An id goes to another key. The one before it is powerless, and everything else stays.
#[tokio::test]
async fn an_id_is_handed_to_another_key() {
    let network = Network::new().await;
    let id = network.accepted(&[Category::Vitals]).await[0];
    let grant = network.grant(&network.physician, Category::Vitals, DAY).await;
    let (before, successor) = (identity(3), account(33));
    network.galen.rotate(&before, &successor).await.unwrap();
    assert_eq!(kind(network.patient.revoke_all().await), ErrorKind::Integrity, "the old key");

    let after = network.galen.patient(Identity::new(successor.for_id(before.id()), &seed(3)));
    assert_eq!(after.id(), network.patient.id());
    network.physician.read(&grant, Purpose::Treatment, &[id]).await.unwrap();
    after.revoke(grant.consent().id()).await.unwrap();
    let opened = after.open(id).await.unwrap();
    assert_eq!(fhir(&opened), document(Category::Vitals).payload.expose());
    assert!(after.audit().await.unwrap().complete);
    // The envelope of the key before is taken no longer; a kept one still opens.
    let envelope = after.envelope(grant.consent()).await.unwrap();
    network.physician.accept(&envelope).await.unwrap();
    let late = network.patient.envelope(grant.consent()).await.unwrap();
    assert_eq!(kind(network.physician.accept(&late).await), ErrorKind::Integrity);
}

#[tokio::test]
async fn consents_for_later_for_everybody_and_none_at_all() {
    let network = Network::new().await;
    let ids = network.accepted(&[Category::Vitals, Category::Allergies]).await;
    let (patient, physician) = (&network.patient, &network.physician);
    let both = [Category::Vitals, Category::Allergies];
    let later = GrantRequest {
        not_before: Some(crate::now() + 10 * DAY),
        ..network.ask(physician.id(), &both)
    };
    let emergency = GrantRequest {
        purposes: PurposeSet::from_iter([Purpose::BreakTheGlass]),
        lifetime: 100 * DAY,
        ..network.ask(Address::ZERO, &both)
    };
    assert_eq!(kind(patient.grant(&emergency).await), ErrorKind::Invalid, "keys for nobody");
    let terms =
        [patient.terms(&later, 0).await.unwrap(), patient.terms(&emergency, 1).await.unwrap()];
    assert_ne!(terms[0].salt, terms[1].salt);
    patient.grant_terms(&terms).await.unwrap();
    assert_eq!(kind(patient.grant_terms(&terms).await), ErrorKind::Invalid, "granted already");

    // The keys for later go through the store, as text that tells where.
    let envelope = patient.envelope(&terms[0]).await.unwrap();
    let told = network.galen.deliver(envelope).await.unwrap().to_string();
    let (grant, kept) = physician.accept_at(&told.parse().unwrap()).await.unwrap();
    assert_eq!(grant.categories().count(), 2);
    assert_eq!(physician.status(&grant).await.unwrap(), ConsentStatus::NotYet);
    let soon = physician.read(&grant, Purpose::Treatment, &ids).await;
    assert_eq!(kind(soon), ErrorKind::Denied);
    network.chain.advance_time(10 * DAY + 60).unwrap();
    network.chain.mine().unwrap();
    physician.read(&grant, Purpose::Treatment, &ids).await.unwrap();

    // Break-glass is for active members alone, and in direct mode it is a log and nothing more.
    let member = network.galen.grantee(identity(6));
    let covered = member.covered(patient.id(), &terms[1]).await.unwrap();
    assert_eq!(covered.len(), 2);
    let glass = Purpose::BreakTheGlass;
    let outsider = physician.log(patient.id(), &terms[1], glass, &covered[..1]).await;
    assert_eq!(kind(outsider), ErrorKind::Denied);
    // What is known to nobody else becomes public when it is used.
    let known = patient.consents(&terms).await.unwrap();
    assert!(known.iter().all(|it| it.status == ConsentStatus::Live));
    let unknown = patient.consents(&[]).await.unwrap();
    let of = |entries: &[galen_sdk::ConsentEntry], n: usize| {
        entries.iter().find(|entry| entry.id == terms[n].id()).unwrap().clone()
    };
    assert_eq!(of(&unknown, 0).terms, Some(terms[0]), "used");
    assert_eq!((of(&unknown, 0).reads, of(&unknown, 0).categories.len()), (2, 2));
    assert_eq!(of(&unknown, 1).status, ConsentStatus::Unknown, "not used");
    member.log(patient.id(), &terms[1], glass, &covered[..1]).await.unwrap();
    let used = patient.consents(&[]).await.unwrap();
    assert_eq!(of(&used, 1).terms, Some(terms[1]));
    assert_eq!(member.accesses(patient.id()).await.unwrap().len(), 1);
    assert!(member.accesses(patient.id()).await.unwrap()[0].event.network);

    let listed = [terms[0].id(), terms[1].id()];
    assert!(listed.iter().all(|id| used.iter().any(|entry| entry.id == *id)));
    patient.revoke_all().await.unwrap();
    assert!(patient.consents(&terms).await.unwrap().is_empty());
    assert_eq!(physician.status(&grant).await.unwrap(), ConsentStatus::Revoked);
    assert_eq!(kind(physician.read(&grant, Purpose::Treatment, &ids).await), ErrorKind::Denied);
    assert_eq!(kind(patient.revoke_all().await), ErrorKind::Invalid, "nothing is granted");

    // A kept envelope opens for ever; a new one is taken for a month. The chain decides either way.
    network.chain.advance_time(31 * DAY).unwrap();
    network.chain.mine().unwrap();
    assert_eq!(kind(physician.accept(&kept).await), ErrorKind::Integrity);
    assert_eq!(physician.accept_again(&kept).unwrap().consent(), &terms[0]);
}

fn question(message: &str) -> Question {
    Question {
        categories: vec![Category::Vitals.index()],
        lifetime: 7 * DAY,
        message: message.to_owned(),
    }
}

#[tokio::test]
async fn organizations_ask_and_patients_grant_just_that() {
    let network = Network::new().await;
    let (author, patient) = (&network.author, &network.patient);
    let purposes = PurposeSet::from_iter([Purpose::Treatment]);
    let asked = question("Your next visit\nis on Monday.");
    author.request(patient.id(), purposes, &asked).await.unwrap();
    let requests = patient.requests(&[]).await.unwrap();
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!((request.organization, request.purposes), (author.id(), purposes));
    assert_eq!(request.asked, Asked::Question(asked));
    assert!(request.is_active && request.granted.is_none());
    let granted = patient.grant(&request.to_grant().unwrap()).await.unwrap();
    let after = patient.requests(&[granted.consent]).await.unwrap();
    assert_eq!(after[0].granted, Some(granted.consent.id()));
    assert_eq!(after[0].id, request.id);

    // Only members ask, and only in plain words.
    let outsider = network.galen.organization(identity(4));
    let refused = outsider.request(patient.id(), purposes, &question("?")).await;
    assert_eq!(kind(refused), ErrorKind::Denied);
    for message in ["\u{1b}[2J", "\u{202e}evil", "a\u{200b}b", "\r", &"x".repeat(1_001)] {
        let refused = author.request(patient.id(), purposes, &question(message)).await;
        assert_eq!(kind(refused), ErrorKind::Invalid, "{message:?}");
    }
}

/// A sealed question of an author's own making, with any text.
fn kept(network: &Network, organization: Address, text: &[u8]) -> Vec<u8> {
    let patient = network.patient.id();
    let binding =
        [b"galen.request.v1".as_slice(), patient.as_slice(), organization.as_slice()].concat();
    let (identity, media_type) =
        (network.keys.identity(), "application/vnd.galen.request+cbor".parse().unwrap());
    let request = SealRequest {
        ledger: network.galen.ledger().id(),
        record: RecordId(keccak256(binding)),
        epoch: 0,
        salt: random_salt().unwrap(),
        media_type: &media_type,
        identity: Some(identity.public()),
        segment: None,
    };
    let (committed, sealed) = seal_bytes(&request, text).unwrap();
    [committed.commitment.as_bytes().as_slice(), &sealed].concat()
}

#[tokio::test]
async fn hostile_requests_and_a_lying_store_show_nothing() {
    let network = Network::new().await;
    let (patient, storage) = (&network.patient, network.galen.storage());
    let (first, second) = (account(2), account(6));
    // {0: 1, 1: [5], 2: 60, 3: text}, and the same with an escape sequence.
    let cbor = |text: &str| {
        let head =
            [0xa4, 0, 1, 1, 0x81, 5, 2, 0x18, 60, 3, 0x60 + u8::try_from(text.len()).unwrap()];
        [head.as_slice(), text.as_bytes()].concat()
    };
    let honest = kept(&network, first.id(), &cbor("hello"));
    let rows = [
        ("honest", &first, honest.clone(), None),
        ("another's question", &second, honest.clone(), Some(Asked::Unreadable)),
        ("escape", &first, kept(&network, first.id(), &cbor("\u{1b}[2J")), Some(Asked::Unreadable)),
        ("no CBOR", &first, kept(&network, first.id(), b"hello"), Some(Asked::Unreadable)),
        ("not sealed", &first, vec![7; 9_000], Some(Asked::Unreadable)),
        ("too short", &first, vec![7; 5], Some(Asked::Unreadable)),
        ("too long", &first, vec![7; 70_000], Some(Asked::Unreadable)),
    ];
    let purposes = PurposeSet::from_iter([Purpose::Payment]);
    let ledger = network.galen.ledger();
    let deadline = network.galen.time().await.unwrap() + DAY;
    let send = async |from: &Account, at: Option<ContentRef>| {
        ledger.request_access(from, patient.id(), purposes, at, deadline).await.unwrap();
        patient.requests(&[]).await.unwrap().remove(0)
    };
    let mut last = None;
    for (row, from, bytes, expected) in rows {
        let at = storage.put_bytes(bytes).await.unwrap();
        let request = send(from, Some(at)).await;
        assert_eq!(request.organization, from.id(), "{row}");
        match expected {
            Some(expected) => assert_eq!(request.asked, expected, "{row}"),
            None => assert!(matches!(request.asked, Asked::Question(_)), "{row}"),
        }
        last.get_or_insert(at);
    }
    assert_eq!(send(&first, None).await.asked, Asked::Nothing);
    let gone = send(&first, Some(ContentRef::swarm(B256::repeat_byte(9)))).await;
    assert_eq!(gone.asked, Asked::Unavailable);
    assert_eq!(kind(gone.to_grant()), ErrorKind::Invalid);
    // The store gives other bytes for what could be read before.
    network.tamper(&last.unwrap());
    let all = patient.requests(&[]).await.unwrap();
    assert_eq!(all.last().unwrap().asked, Asked::Unavailable);
}
