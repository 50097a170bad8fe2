//! Documents that are signed by parts: who signed, what holds after a rotation, and what is shown of them.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use galen_chain::{Account, CosignPolicy, recovers};
use galen_fhir::{
    Category,
    parts::{Selection, SigningPolicy},
};
use galen_index::Proposal;
use galen_sdk::{
    DocumentSignature, Error, Identity, NewRecord, Organization, Presentation, ProposedRecord,
    SIGNED_DOCUMENT, SignatureState, SignedDocument,
};
use galen_types::{Element, ErrorKind, Plaintext, Purpose, Salt};
use serde_json::Value;

use crate::{DAY, Forgery, Network, account, document, fhir, identity, kind, seed};

/// One element that is hidden, and what it says.
const HIDDEN: &str = "Patient.birthDate";

async fn sign(network: &Network, by: &Identity, category: Category) -> SignedDocument {
    let documents = vec![document(category).payload];
    let policy = SigningPolicy::default();
    network.galen.sign_documents(by, documents, &policy).await.unwrap().pop().unwrap()
}

/// Proposes one record; the patient examines and accepts it.
async fn settle(network: &Network, author: &Organization, record: NewRecord) -> ProposedRecord {
    let policy = CosignPolicy::default();
    let announced = author.propose(&network.contact, [record], &policy).await.unwrap();
    let inbox = network.patient.inbox().await.unwrap();
    let seen = network.patient.examine(&inbox[0], 0).await.unwrap();
    let id = announced[0].proposal;
    network.patient.answer(id, [0], [], &policy, &BTreeMap::new()).await.unwrap();
    seen
}

fn told(signature: Option<DocumentSignature>) -> (Address, Address, u32, SignatureState, bool) {
    let it = signature.unwrap();
    (it.author, it.signer, it.rotations, it.state, it.replaced)
}

#[tokio::test]
async fn documents_say_who_signed_them_also_after_rotations() {
    let network = Network::new().await;
    let (galen, author) = (&network.galen, &network.author);
    let hospital = author.id();
    let valid = SignatureState::Valid;

    let first = settle(&network, author, document(Category::Vitals)).await;
    assert_eq!(told(first.signature), (hospital, hospital, 0, valid, false));
    let time = first.signature.unwrap().issued;
    assert!(time.abs_diff(galen.time().await.unwrap()) < DAY);

    // A clinician who is no member signs, and the hospital proposes it as it is.
    let clinician = identity(8);
    let signed = sign(&network, &clinician, Category::Problems).await;
    let record = NewRecord::signed(Category::Problems.index(), &signed);
    let seen = settle(&network, author, record).await;
    assert_eq!(told(seen.signature), (clinician.id(), clinician.id(), 0, valid, false));
    assert_eq!(fhir(&seen.opened), document(Category::Problems).payload.expose());

    // So does a contract wallet (ERC-1271).
    let ward = Identity::new(Account::new(network.wallet().await), &seed(7));
    let signed = sign(&network, &ward, Category::Billing).await;
    let record = NewRecord::signed(Category::Billing.index(), &signed);
    let seen = settle(&network, author, record).await;
    assert_eq!(told(seen.signature), (ward.id(), ward.id(), 0, valid, false));

    // The hospital's key is replaced twice: each document holds by the key of its time, which is told.
    let again = |n: u8| Identity::new(account(n).for_id(hospital), &seed(2));
    galen.rotate(&identity(2), &account(32)).await.unwrap();
    let second = settle(&network, &galen.organization(again(32)), document(Category::Vitals)).await;
    let key = account(32).id();
    assert_eq!(told(second.signature), (hospital, key, 1, valid, false));
    galen.rotate(&again(32), &account(33)).await.unwrap();
    for (seen, signer, rotations) in [(&first, hospital, 0), (&second, key, 1)] {
        let now = galen.signature_of(&seen.opened).await.unwrap();
        assert_eq!(told(now), (hospital, signer, rotations, valid, true));
    }
    // An amendment is signed anew, by the key of today.
    let after = galen.organization(again(33));
    let record = first.record.id();
    let (vitals, policy) = (document(Category::Vitals), CosignPolicy::default());
    after.amend(&network.contact, record, &vitals, &policy).await.unwrap();
    let inbox = network.patient.inbox().await.unwrap();
    let amended = network.patient.examine(&inbox[0], 0).await.unwrap();
    assert_eq!(told(amended.signature), (hospital, account(33).id(), 2, valid, false));
}

/// Changes a signed document behind its signature.
type Forge = fn(&mut Vec<u8>, &SignedDocument);

/// Puts `new` where `old` is, which has the same length.
fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    let at = bytes.windows(old.len()).rposition(|window| window == old).unwrap();
    bytes[at..at + old.len()].copy_from_slice(new);
}

const FORGED: &str = "it is not signed by who it says, or not as it was signed";
const MALFORMED: &str = "it is no signed document";

const FORGERIES: &[(&str, Forge, &str)] = &[
    ("another value", |it, _| replace(it, b"2024", b"2023"), FORGED),
    (
        "another author",
        |it, signed| {
            let author = signed.attestation().author;
            replace(it, author.as_slice(), Address::repeat_byte(8).as_slice());
        },
        FORGED,
    ),
    ("cut off", |it, _| it.truncate(it.len() - 1), MALFORMED),
    ("with something behind it", |it, _| it.push(0), MALFORMED),
    (
        "another signature",
        |it, signed| {
            let signature = signed.attestation().signature.to_vec();
            let mut other = signature.clone();
            other[40] ^= 1;
            replace(it, &signature, &other);
        },
        FORGED,
    ),
];

#[tokio::test]
async fn patients_refuse_documents_that_are_not_signed_by_who_they_say() {
    let network = Network::new().await;
    let signed = sign(&network, &identity(2), Category::Vitals).await;
    let mut honest = Forgery::honest(&network);
    honest.media_type = SIGNED_DOCUMENT;
    honest.payload = signed.encode().expose().to_vec();
    let payload = honest.payload.clone();
    let proposal = honest.propose(&network).await;
    network.patient.examine(&proposal, 0).await.unwrap();
    for (row, forge, expected) in FORGERIES {
        let mut bytes = payload.clone();
        forge(&mut bytes, &signed);
        assert_ne!(bytes, payload, "{row}");
        assert_eq!(refused(&network, bytes).await, *expected, "{row}");
    }

    // Every bit of what stands behind the document counts, and every bit of that.
    let step = |at: usize| if at + 400 > payload.len() { 1 } else { 211 };
    let mut at = 0;
    while at < payload.len() {
        let mut bytes = payload.clone();
        bytes[at] ^= 1 << (at % 8);
        assert!(!is_signed(&bytes), "byte {at} of {}", payload.len());
        at += step(at);
    }
    assert!(is_signed(&payload));

    // Signed with a key that was replaced: whoever has it could sign with an earlier date.
    let old = sign(&network, &identity(8), Category::Vitals).await;
    network.galen.rotate(&identity(8), &account(38)).await.unwrap();
    let fault = refused(&network, old.encode().expose().to_vec()).await;
    assert_eq!(fault, "it is signed with a key that its author has replaced since");
    // The old key claims the new rotation.
    let usurper = Identity::new(account(8), &seed(8));
    let forged = sign(&network, &usurper, Category::Vitals).await;
    let fault = refused(&network, forged.encode().expose().to_vec()).await;
    assert_eq!(fault, "it is signed with a key that was not its author's");
    // An honest author notices before it proposes.
    let record = NewRecord::signed(Category::Vitals.index(), &forged);
    let policy = CosignPolicy::default();
    let proposed = network.author.propose(&network.contact, [record], &policy).await;
    assert!(matches!(&proposed, Err(Error::Signature(SignatureState::NotController))));
    assert_eq!(kind(proposed), ErrorKind::Integrity);
}

/// Whether the bytes are a document that its author's first key has signed.
fn is_signed(bytes: &[u8]) -> bool {
    let Ok(signed) = SignedDocument::decode(bytes) else { return false };
    let Ok(digest) = signed.digest() else { return false };
    let it = signed.attestation();
    it.author == it.signer && recovers(it.signer, digest, &it.signature)
}

async fn refused(network: &Network, payload: Vec<u8>) -> &'static str {
    let mut forgery = Forgery::honest(network);
    forgery.media_type = SIGNED_DOCUMENT;
    forgery.payload = payload;
    let proposal: Proposal = forgery.propose(network).await;
    match network.patient.examine(&proposal, 0).await {
        Err(Error::Misproposed { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

/// Whoever reads a record under a grant can show parts of it. Each shown element is proven by the contract as by us,
/// and none that was changed.
#[tokio::test]
async fn a_grantee_shows_parts_and_the_contract_agrees() {
    let network = Network::new().await;
    let id = network.accepted(&[Category::Identity, Category::Vitals]).await[0];
    let grant = network.grant(&network.physician, Category::Identity, DAY).await;
    let (read, _) = network.physician.read(&grant, Purpose::Treatment, &[id]).await.unwrap();
    assert_eq!(read[0].signature.unwrap().state, SignatureState::Valid);
    let signed = SignedDocument::decode(read[0].opened.payload.expose()).unwrap();
    // Two records of one proposal: one signature.
    assert_eq!(signed.attestation().batch_path.len(), galen_fhir::parts::BATCH_DEPTH);

    let tree = signed.tree().unwrap();
    let shown = tree.select(&Selection::hide([HIDDEN])).unwrap();
    assert!(shown.hidden() > 1);
    let file = Presentation::new(&signed, &shown).encode();
    let text = std::str::from_utf8(file.expose()).unwrap();
    let secret: Value = serde_json::from_slice(fhir(&read[0].opened)).unwrap();
    let secret = secret.pointer("/entry/0/resource/birthDate").unwrap().as_str().unwrap();
    assert!(!text.contains(secret), "what is hidden is not there");

    let presentation = Presentation::decode(file.expose()).unwrap();
    let verified = presentation.verify().unwrap();
    assert_eq!(verified.root, tree.root());
    let view: Value = serde_json::from_slice(verified.view.expose()).unwrap();
    assert!(view.pointer("/entry/0/resource/birthDate").is_none());
    assert!(view.pointer("/entry/0/resource/resourceType").is_some());

    let (ledger, it) = (network.galen.ledger(), presentation.attestation());
    for index in 0..presentation.elements().len() {
        let proof = presentation.proof(index).unwrap();
        assert!(proof.path.starts_with(&shown.proof(index).unwrap().path), "element {index}");
        let (salt, label, parent) = (Salt(proof.salt), proof.label, proof.parent);
        for (content, expected) in [(proof.content, true), (B256::repeat_byte(1), false)] {
            let element = Element { salt, label, parent, content };
            let path = proof.path.clone();
            let proven = ledger.proves_element(it.author, it.issued, &it.signature, &element, path);
            assert_eq!(proven.await.unwrap(), expected, "element {index}");
        }
    }
    tampered(&file);
}

/// Whether the bytes prove that their author signed what they show.
fn proves(bytes: &[u8]) -> bool {
    let Ok(presentation) = Presentation::decode(bytes) else { return false };
    let Ok(verified) = presentation.verify() else { return false };
    let it = presentation.attestation();
    let Ok(digest) = it.digest(verified.root) else { return false };
    it.rotations == 0 && it.author == it.signer && recovers(it.signer, digest, &it.signature)
}

/// What of a presentation is changed. Each must be noticed.
type Change = fn(&mut Value);

const CHANGES: &[(&str, Change)] = &[
    ("a value", |it| {
        let value = it.pointer_mut("/elements/0/fragments/0/1").unwrap();
        *value = Value::from("\"other\"");
    }),
    ("a path", |it| {
        let path = it.pointer_mut("/elements/0/fragments/0/0").unwrap();
        *path = Value::from(format!("{}x", path.as_str().unwrap()));
    }),
    ("a salt", |it| it["elements"][0]["salt"] = Value::from(format!("{}", B256::repeat_byte(1)))),
    ("a label", |it| it["elements"][0]["label"] = Value::from("00000000000000aa")),
    ("a parent", |it| it["elements"][1]["parent"] = it["elements"][1]["label"].clone()),
    ("an element less", |it| {
        it["elements"].as_array_mut().unwrap().remove(0);
    }),
    ("an element twice", |it| {
        let list = it["elements"].as_array_mut().unwrap();
        list.insert(0, list[0].clone());
    }),
    ("a node less", |it| {
        it["nodes"].as_array_mut().unwrap().pop();
    }),
    ("a node more", |it| {
        let list = it["nodes"].as_array_mut().unwrap();
        list.push(list[0].clone());
    }),
    ("another depth", |it| it["depth"] = Value::from(12)),
    ("no batch", |it| it["batchPath"] = Value::from(Vec::<Value>::new())),
    ("another time", |it| it["issued"] = Value::from(it["issued"].as_u64().unwrap() - 1)),
    ("another author", |it| it["author"] = Value::from(format!("{}", Address::repeat_byte(1)))),
    ("another signer", |it| it["signer"] = Value::from(format!("{}", Address::repeat_byte(1)))),
    ("another rotation", |it| it["rotations"] = Value::from(1)),
    ("another chain", |it| it["chainId"] = Value::from(1)),
    ("another contract", |it| it["contract"] = Value::from(format!("{}", Address::repeat_byte(1)))),
    ("an unknown field", |it| it["more"] = Value::from(1)),
    ("another format", |it| it["galen"] = Value::from("presentation/2")),
];

fn tampered(file: &Plaintext) {
    assert!(proves(file.expose()));
    for (row, change) in CHANGES {
        let mut value: Value = serde_json::from_slice(file.expose()).unwrap();
        change(&mut value);
        assert!(!proves(&serde_json::to_vec(&value).unwrap()), "{row}");
    }
}
