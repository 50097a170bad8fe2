//! Provenance: who wrote a version of a record, who holds it, who checked it, and the author's signature.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use galen_types::{ContentRef, LedgerId, RecordId, VersionId};
use serde_json::{Value, json};

use super::words::{Party, coding, concept, identifier, instant, reference};

const ROLES: &str = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";
const OPERATIONS: &str = "http://terminology.hl7.org/CodeSystem/v3-DataOperation";
const SIGNATURES: &str = "urn:iso-astm:E1762-95:2013";

/// What a version did to its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activity {
    /// The first version.
    Create,
    /// Replaced another version.
    Amend,
    /// Ended the record.
    Retract,
}

/// A signature and what verifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureInput {
    /// When it was made or, where nothing says that, first seen, as a Unix second.
    pub when: u64,
    /// Media type of `data`.
    pub format: &'static str,
    /// Signature, signed message and domain in one, so that nothing else is needed to verify it.
    pub data: Vec<u8>,
}

/// One version of a record and who stands for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenanceInput {
    /// Where it is anchored.
    pub ledger: LedgerId,
    /// The record.
    pub record: RecordId,
    /// The version.
    pub version: VersionId,
    /// The version that it follows.
    pub previous: Option<VersionId>,
    /// What it did.
    pub activity: Activity,
    /// When it was proposed, as a Unix second.
    pub proposed: u64,
    /// Who wrote it.
    pub author: Party,
    /// Who keeps it.
    pub custodian: Option<Party>,
    /// Who checked and accepted it, and when.
    pub verifier: Option<(Party, u64)>,
    /// Where its sealed content lies.
    pub content: ContentRef,
    /// The author's signatures, over the proposal and over the document.
    pub signatures: Vec<SignatureInput>,
}

/// A Provenance whose target is the version's DocumentReference, see [`super::document_reference`].
///
/// `recorded` is the time of the acceptance, or of the proposal where nobody accepted.
pub fn provenance(input: &ProvenanceInput) -> Value {
    let (ledger, author) = (input.ledger, &input.author);
    let mut agents = vec![agent("author", "Author", author, ledger)];
    agents.extend(input.custodian.as_ref().map(|it| agent("custodian", "Custodian", it, ledger)));
    let verifier = input.verifier.as_ref();
    agents.extend(verifier.map(|(it, _)| agent("verifier", "Verifier", it, ledger)));
    let recorded = verifier.map_or(input.proposed, |(_, accepted)| *accepted);
    let id = format!("{:x}", input.version.0);
    let version = identifier(ledger, &input.version.to_string());
    let content = json!({ "system": "urn:ietf:rfc:3986", "value": input.content.to_string() });
    let mut entities =
        vec![json!({ "role": "source", "what": reference(Some("Binary"), content) })];
    entities.extend(input.previous.map(|previous| {
        let previous = identifier(ledger, &previous.to_string());
        json!({ "role": "revision", "what": reference(Some("DocumentReference"), previous) })
    }));
    let (code, display) = match input.activity {
        Activity::Create => ("CREATE", "create"),
        Activity::Amend => ("UPDATE", "revise"),
        Activity::Retract => ("NULLIFY", "nullify"),
    };
    let mut resource = json!({
        "resourceType": "Provenance",
        "id": id,
        "target": [{
            "type": "DocumentReference",
            "reference": format!("DocumentReference/{id}"),
            "identifier": version,
        }],
        "occurredDateTime": instant(input.proposed),
        "recorded": instant(recorded),
        "activity": concept(coding(OPERATIONS, code, display)),
        "agent": agents,
        "entity": entities,
    });
    let signature = |signature: &SignatureInput| {
        json!({
            "type": [coding(SIGNATURES, "1.2.840.10065.1.12.1.1", "Author's Signature")],
            "when": instant(signature.when),
            "who": author.reference(ledger),
            "targetFormat": "application/fhir+json",
            "sigFormat": signature.format,
            "data": STANDARD.encode(&signature.data),
        })
    };
    // FHIR has no empty arrays.
    if !input.signatures.is_empty() {
        resource["signature"] = input.signatures.iter().map(signature).collect();
    }
    resource
}

fn agent(code: &str, display: &str, who: &Party, ledger: LedgerId) -> Value {
    json!({ "type": concept(coding(ROLES, code, display)), "who": who.reference(ledger) })
}
