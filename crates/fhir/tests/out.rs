//! What Galen writes as FHIR is accepted by its own strict reader, and says what it was given.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use alloy_primitives::{Address, B256};
use galen_fhir::{
    Category, Document,
    out::{
        Act, Activity, AuditInput, DocumentInput, DocumentStatus, Party, PartyKind,
        ProvenanceInput, SignatureInput, audit_events, collection, document_reference, provenance,
    },
};
use galen_types::{ConsentId, ContentRef, LedgerId, RecordId, VersionId};
use serde_json::Value;

const LEDGER: LedgerId = LedgerId { chain_id: 31337, contract: Address::repeat_byte(0x1e) };

fn party(byte: u8, kind: PartyKind, name: Option<&str>) -> Party {
    Party { id: Address::repeat_byte(byte), kind, name: name.map(str::to_owned) }
}

fn patient() -> Party {
    party(0xaa, PartyKind::Patient, Some("self"))
}

fn accepted(resource: &Value) -> Vec<u8> {
    let bytes = serde_json::to_vec(resource).unwrap();
    let read = Document::read(&bytes);
    assert!(read.is_ok(), "{}: {resource:#}", read.unwrap_err());
    bytes
}

fn provenance_input(activity: Activity) -> ProvenanceInput {
    ProvenanceInput {
        ledger: LEDGER,
        record: RecordId(B256::repeat_byte(1)),
        version: VersionId(B256::repeat_byte(2)),
        previous: (activity != Activity::Create).then_some(VersionId(B256::repeat_byte(3))),
        activity,
        proposed: 1_795_262_400,
        author: party(0xbb, PartyKind::Organization, Some(" St \"Anna\" ")),
        custodian: Some(patient()),
        verifier: Some((patient(), 1_795_262_460)),
        content: ContentRef::swarm(B256::repeat_byte(4)),
        signatures: vec![SignatureInput {
            when: 1_795_262_400,
            format: "application/vnd.galen.signature+json",
            data: b"{}".to_vec(),
        }],
    }
}

#[test]
fn provenance_names_author_custodian_verifier_and_signature() {
    for (activity, code) in
        [(Activity::Create, "CREATE"), (Activity::Amend, "UPDATE"), (Activity::Retract, "NULLIFY")]
    {
        let input = provenance_input(activity);
        let resource = provenance(&input);
        accepted(&resource);
        assert_eq!(resource["activity"]["coding"][0]["code"], code);
        assert_eq!(resource["recorded"], "2026-11-21T12:01:00Z");
        let roles: Vec<&Value> = resource["agent"].as_array().unwrap().iter().collect();
        let role = |at: usize| roles[at]["type"]["coding"][0]["code"].as_str().unwrap();
        assert_eq!([role(0), role(1), role(2)], ["author", "custodian", "verifier"]);
        assert_eq!(roles[0]["who"]["display"], "St \"Anna\"");
        let signature = &resource["signature"][0];
        assert_eq!(signature["type"][0]["system"], "urn:iso-astm:E1762-95:2013");
        assert_eq!(signature["data"], "e30=");
        let previous = resource["entity"].as_array().unwrap().len();
        assert_eq!(previous, if activity == Activity::Create { 1 } else { 2 });
    }
    let bare = ProvenanceInput {
        custodian: None,
        verifier: None,
        signatures: Vec::new(),
        author: party(0xbb, PartyKind::Unknown, Some("  ")),
        ..provenance_input(Activity::Create)
    };
    let resource = provenance(&bare);
    accepted(&resource);
    assert_eq!(resource["recorded"], "2026-11-21T12:00:00Z");
    assert_eq!(resource["agent"].as_array().unwrap().len(), 1);
    assert!(resource.get("signature").is_none());
}

fn audit_input(act: Act) -> AuditInput {
    AuditInput {
        ledger: LEDGER,
        patient: patient(),
        act,
        what: "accessed",
        who: Some(party(0xcc, PartyKind::Organization, None)),
        subject: Some(B256::repeat_byte(1)),
        purpose: Some("TREAT".to_owned()),
        consent: Some(ConsentId(B256::repeat_byte(5))),
        break_glass: false,
        time: 1_795_262_400,
        block: 7,
        log: 0,
        transaction: B256::repeat_byte(6),
        in_head: true,
    }
}

/// The constraints of the profiles that a program can check without a validator.
fn follows_balp(event: &Value) {
    let profile = event["meta"]["profile"][0].as_str().unwrap();
    let agents = event["agent"].as_array().unwrap();
    let agent = |code: &str| {
        agents.iter().filter(|agent| agent["type"]["coding"][0]["code"] == code).count()
    };
    let (_, name) = profile.rsplit_once("BasicAudit.").unwrap();
    let (codes, action): (&[&str], _) = match name {
        "PatientCreate" => (&["110153", "110152", "AUT"], "C"),
        "PatientUpdate" => (&["110153", "110152", "AUT"], "U"),
        "PatientRead" => (&["110152", "110153", "AUT"], "R"),
        "PatientDelete" => (&["110150", "custodian", "AUT"], "D"),
        "PrivacyDisclosure.Source" => (&["110153", "110152", "429577009"], "R"),
        "AuthZconsent" => (&["110150", "IRCP", "PROV", "authserver"], "E"),
        other => panic!("{other}"),
    };
    assert_eq!(event["action"], action, "{profile}");
    codes.iter().for_each(|code| assert_eq!(agent(code), 1, "{profile} {code}"));
    let observer = &event["source"]["observer"];
    let own = agents.iter().filter(|agent| agent["who"] == *observer).count();
    assert_eq!(own, 1, "{profile}: the source is an agent");
    let entities = event["entity"].as_array().unwrap();
    let patients = entities.iter().filter(|entity| entity["role"]["code"] == "1").count();
    assert_eq!((patients, entities.len()), (1, 2), "{profile}");
    assert_eq!(entities[0]["what"]["type"], "Patient");
    let transaction = &entities[1]["detail"].as_array().unwrap()[1];
    assert_eq!(transaction["type"], "transaction");
    assert_eq!(transaction["valueString"], format!("{:#x}", B256::repeat_byte(6)));
}

#[test]
fn audit_events_follow_their_patterns() {
    let mut ids = std::collections::BTreeSet::new();
    let mut count = 0;
    for act in [Act::Create, Act::Read, Act::Update, Act::Delete, Act::Disclosure] {
        for (log, who) in [(0, audit_input(act).who), (1, None)] {
            let events = audit_events(&AuditInput { log, who, ..audit_input(act) });
            assert_eq!(events.len(), if act == Act::Disclosure { 2 } else { 1 });
            for event in &events {
                accepted(event);
                follows_balp(event);
                assert_eq!(event["purposeOfEvent"][0]["coding"][0]["code"], "TREAT");
                ids.insert(event["id"].as_str().unwrap().to_owned());
                count += 1;
            }
        }
    }
    // Read and update of one place differ as their patterns do; the same event has the same id.
    assert_eq!(ids.len(), count);
    assert_eq!(audit_events(&audit_input(Act::Read)), audit_events(&audit_input(Act::Read)));
}

#[test]
fn break_glass_is_marked_and_unknown_purposes_are_text() {
    let input = AuditInput {
        break_glass: true,
        purpose: Some("31".to_owned()),
        consent: None,
        subject: None,
        ..audit_input(Act::Disclosure)
    };
    for event in audit_events(&input) {
        accepted(&event);
        follows_balp(&event);
        assert_eq!(event["subtype"][1]["code"], "110127");
        assert_eq!(event["purposeOfEvent"][0]["text"], "purpose-31");
        let details = event["entity"][1]["detail"].as_array().unwrap();
        assert_eq!(details.last().unwrap()["type"], "break-glass");
    }
    let calm = audit_events(&audit_input(Act::Disclosure));
    assert!(calm.iter().all(|event| event["subtype"].as_array().unwrap().len() == 1));
}

fn document_input(category: u8) -> DocumentInput {
    DocumentInput {
        ledger: LEDGER,
        patient: patient(),
        author: party(0xbb, PartyKind::Organization, None),
        record: RecordId(B256::repeat_byte(1)),
        version: VersionId(B256::repeat_byte(2)),
        previous: Some(VersionId(B256::repeat_byte(3))),
        status: DocumentStatus::Current,
        category,
        date: 0,
        content: ContentRef::ipfs(B256::repeat_byte(4)),
        media_type: Some("application/fhir+json".to_owned()),
    }
}

#[test]
fn documents_carry_their_labels() {
    for (category, labels) in [
        (Category::Laboratory.index(), &["N"][..]),
        (Category::Hiv.index(), &["R", "HIV"]),
        (Category::MentalHealth.index(), &["R", "PSY"]),
        (Category::SubstanceUse.index(), &["R", "ETH"]),
        (Category::ReproductiveHealth.index(), &["R", "SEX"]),
        (Category::DomesticViolence.index(), &["R", "SDV"]),
        // No name for it here: it may be anything.
        (200, &["R"]),
    ] {
        let resource = document_reference(&document_input(category));
        accepted(&resource);
        let found = resource["securityLabel"].as_array().unwrap().iter();
        let found: Vec<&str> =
            found.map(|label| label["coding"][0]["code"].as_str().unwrap()).collect();
        assert_eq!(found, labels, "{category}");
        assert!(resource["content"][0]["attachment"].get("hash").is_none());
    }
    for (status, word) in [
        (DocumentStatus::Current, "current"),
        (DocumentStatus::Superseded, "superseded"),
        (DocumentStatus::Retracted, "entered-in-error"),
    ] {
        let input = DocumentInput { status, previous: None, media_type: None, ..document_input(7) };
        let resource = document_reference(&input);
        accepted(&resource);
        assert_eq!(resource["status"], word);
    }
}

#[test]
fn a_collection_of_everything_is_one_document() {
    accepted(&collection(&[]));
    let mut all = vec![
        provenance(&provenance_input(Activity::Create)),
        document_reference(&document_input(7)),
    ];
    all.extend(audit_events(&audit_input(Act::Disclosure)));
    let bytes = accepted(&collection(&all));
    assert_eq!(Document::read(&bytes).unwrap().len(), all.len());
}
