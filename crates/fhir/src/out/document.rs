//! DocumentReference: one version of a record, and where its sealed content lies.

use galen_types::{ContentRef, LedgerId, RecordId, VersionId};
use serde_json::{Value, json};

use super::words::{Party, coding, concept, identifier, instant, reference};
use crate::Category;

const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";

/// Media type of sealed content: what lies under the address of an attachment.
const SEALED: &str = "application/vnd.galen.sealed";

/// What became of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DocumentStatus {
    /// The version that stands.
    Current,
    /// A later version stands.
    Superseded,
    /// Author and patient agree that it should not have been.
    Retracted,
}

/// One version of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentInput {
    /// Where it is anchored.
    pub ledger: LedgerId,
    /// Whose it is.
    pub patient: Party,
    /// Who wrote it.
    pub author: Party,
    /// The record.
    pub record: RecordId,
    /// The version.
    pub version: VersionId,
    /// The version that it replaces.
    pub previous: Option<VersionId>,
    /// What became of it.
    pub status: DocumentStatus,
    /// Index of the category of its segment.
    pub category: u8,
    /// When it was accepted, as a Unix second.
    pub date: u64,
    /// Where its sealed content lies.
    pub content: ContentRef,
    /// Media type of what is sealed, where it is known.
    pub media_type: Option<String>,
}

/// A DocumentReference with the version's id. `attachment.hash` is left out: FHIR R4 takes SHA-1 there and nothing
/// else, and the address in `url` is a hash that still holds.
pub fn document_reference(input: &DocumentInput) -> Value {
    let ledger = input.ledger;
    let (status, doc_status) = match input.status {
        DocumentStatus::Current => ("current", "final"),
        DocumentStatus::Superseded => ("superseded", "final"),
        DocumentStatus::Retracted => ("entered-in-error", "entered-in-error"),
    };
    let category = Category::from_index(input.category);
    let text =
        category.map_or_else(|| format!("category-{}", input.category), |it| it.name().to_owned());
    let mut content = json!({
        "attachment": { "contentType": SEALED, "url": input.content.to_string() },
    });
    if let Some(media_type) = &input.media_type {
        content["format"] = json!({ "system": "urn:ietf:bcp:13", "code": media_type });
    }
    let mut resource = json!({
        "resourceType": "DocumentReference",
        "id": format!("{:x}", input.version.0),
        "masterIdentifier": identifier(ledger, &input.version.to_string()),
        "identifier": [identifier(ledger, &input.record.to_string())],
        "status": status,
        "docStatus": doc_status,
        "category": [{ "text": text }],
        "subject": input.patient.reference(ledger),
        "date": instant(input.date),
        "author": [input.author.reference(ledger)],
        "securityLabel": security_labels(category),
        "content": [content],
    });
    if let Some(previous) = input.previous {
        let target = identifier(ledger, &previous.to_string());
        resource["relatesTo"] = json!([{
            "code": "replaces",
            "target": reference(Some("DocumentReference"), target),
        }]);
    }
    resource
}

/// Confidentiality, and what makes the document sensitive. A category that this version has no name for may be
/// anything, so it is restricted.
fn security_labels(category: Option<Category>) -> Value {
    let sensitive = match category {
        Some(Category::Hiv) => Some(("HIV", "HIV/AIDS information sensitivity")),
        Some(Category::MentalHealth) => {
            Some(("PSY", "psychiatry disorder information sensitivity"))
        }
        Some(Category::SubstanceUse) => Some(("ETH", "substance abuse information sensitivity")),
        Some(Category::ReproductiveHealth) => {
            Some(("SEX", "sexuality and reproductive health information sensitivity"))
        }
        Some(Category::DomesticViolence) => {
            Some(("SDV", "sexual assault, abuse, or domestic violence information sensitivity"))
        }
        _ => None,
    };
    let restricted = category.is_none_or(Category::is_sensitive);
    let (code, display) = if restricted { ("R", "restricted") } else { ("N", "normal") };
    let mut labels = vec![concept(coding(CONFIDENTIALITY, code, display))];
    labels.extend(sensitive.map(|(code, display)| concept(coding(ACT_CODE, code, display))));
    labels.into()
}
