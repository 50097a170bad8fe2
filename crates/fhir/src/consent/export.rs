//! The Consent of a grant, in two flavours.

use galen_types::{ConsentId, LedgerId, PurposeSet};
use serde_json::{Value, json};

use super::{
    Code,
    vocabulary::{
        ACT_CODE, ACT_REASON, CONFIDENTIALITY, OBSERVATION, OBSERVATION_CATEGORY, RESOURCE_TYPES,
        category_code, coding, labels, observation_categories, resource_types,
    },
};
use crate::{
    Category,
    out::{Party, identifier, instant},
};

/// How categories are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// One exception for each category, with `class`, `code` and `securityLabel`.
    R4Full,
    /// IHE Privacy Consent on FHIR: one provision with `securityLabel`.
    IhePcf,
}

impl Flavour {
    /// The name for machines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::R4Full => "r4-full",
            Self::IhePcf => "ihe-pcf",
        }
    }
}

/// A consent on a ledger.
#[derive(Clone, Debug)]
pub struct ExportedConsent {
    /// The ledger.
    pub ledger: LedgerId,
    /// The consent.
    pub id: ConsentId,
    /// Whose records.
    pub patient: Party,
    /// Who may read; the zero address for every active organization.
    pub grantee: Party,
    /// What may be read.
    pub categories: Vec<Category>,
    /// Why.
    pub purposes: PurposeSet,
    /// First Unix second.
    pub from: u64,
    /// First Unix second at which it no longer holds.
    pub until: u64,
    /// Whether it stands on the ledger; else it was revoked.
    pub stands: bool,
    /// When it was granted, in Unix seconds.
    pub granted: Option<u64>,
}

/// Writes a consent as a FHIR R4 Consent.
pub fn export(consent: &ExportedConsent, flavour: Flavour) -> Value {
    let id = consent.id.to_string();
    let scope = "http://terminology.hl7.org/CodeSystem/consentscope";
    let patient = consent.patient.reference(consent.ledger);
    let mut written = json!({
        "resourceType": "Consent",
        "id": id.trim_start_matches("0x"),
        "identifier": [identifier(consent.ledger, &id)],
        "status": if consent.stands { "active" } else { "inactive" },
        "scope": { "coding": [{ "system": scope, "code": "patient-privacy" }] },
        "category": [{ "coding": [{ "system": "http://loinc.org", "code": "59284-0" }] }],
        "patient": patient.clone(),
        "performer": [patient],
        "organization": [{
            "type": "Organization",
            "identifier": { "system": "urn:ietf:rfc:3986", "value": consent.ledger.to_string() },
            "display": "Galen ledger",
        }],
        "sourceAttachment": {
            "contentType": "text/plain",
            "title": "The consent as the patient signed it on the ledger",
        },
        "policy": [{ "uri": "urn:galen:policy:consent" }],
        "provision": match flavour {
            Flavour::R4Full => full(consent),
            Flavour::IhePcf => pcf(consent),
        },
    });
    if let Some(granted) = consent.granted {
        written["dateTime"] = instant(granted).into();
    } else {
        written["dateTime"] = instant(consent.from).into();
    }
    if flavour == Flavour::R4Full {
        // Nothing but what the exceptions add.
        written["policyRule"] = json!({ "coding": [{ "system": ACT_CODE, "code": "OPTOUT" }] });
    }
    written
}

/// What both flavours say in the root.
fn root(consent: &ExportedConsent) -> Value {
    let mut grantee = consent.grantee.reference(consent.ledger);
    if consent.grantee.id.is_zero() {
        grantee["display"] = "Every active organization of the network".into();
    }
    let role = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
    let purposes = consent.purposes.iter();
    json!({
        "period": {
            "start": instant(consent.from),
            // Inclusive here, exclusive on the ledger.
            "end": instant(consent.until.saturating_sub(1)),
        },
        "actor": [{ "role": { "coding": [{ "system": role, "code": "IRCP" }] }, "reference": grantee }],
        "purpose": purposes
            .map(|purpose| coding(&Code::new(ACT_REASON, purpose.code())))
            .collect::<Vec<_>>(),
    })
}

/// The labels of categories: Galen's own, which are exact, and for other readers those of HL7.
fn security_labels(categories: &[Category]) -> Vec<Value> {
    let of = |category: &Category| {
        let own = category_code(*category);
        let known = labels(*category).iter().map(|label| Code::new(ACT_CODE, *label));
        std::iter::once(own).chain(known).collect::<Vec<_>>()
    };
    categories.iter().flat_map(of).map(|code| coding(&code)).collect()
}

fn pcf(consent: &ExportedConsent) -> Value {
    let mut root = root(consent);
    root["type"] = "permit".into();
    root["securityLabel"] = security_labels(&consent.categories).into();
    root
}

fn full(consent: &ExportedConsent) -> Value {
    let mut root = root(consent);
    let action = "http://terminology.hl7.org/CodeSystem/consentaction";
    root["action"] = json!([{ "coding": [{ "system": action, "code": "access" }] }]);
    root["provision"] = consent.categories.iter().flat_map(|it| exceptions(*it)).collect();
    root
}

/// The exceptions of one category.
fn exceptions(category: Category) -> Vec<Value> {
    let labels = security_labels(&[category]);
    let types = resource_types(category);
    if types.is_empty() {
        return vec![json!({ "type": "permit", "securityLabel": labels })];
    }
    // What is sensitive lies elsewhere, so to readers without Galen's labels this is normal data.
    let normal = coding(&Code::new(CONFIDENTIALITY, "N"));
    let with_normal: Vec<Value> = labels.iter().cloned().chain([normal]).collect();
    let class = |name: &&str| coding(&Code::new(RESOURCE_TYPES, *name));
    let (observations, others): (Vec<&str>, Vec<&str>) =
        types.into_iter().partition(|name| *name == OBSERVATION);
    let mut written = Vec::new();
    if !others.is_empty() {
        let classes: Vec<Value> = others.iter().map(class).collect();
        written.push(json!({ "type": "permit", "securityLabel": with_normal, "class": classes }));
    }
    let classes: Vec<Value> = [OBSERVATION].iter().map(class).collect();
    if !observations.is_empty() {
        let known = observation_categories(category).iter();
        let known = known.map(|code| Code::new(OBSERVATION_CATEGORY, *code));
        let codes = known.chain([category_code(category)]);
        let codes: Vec<Value> = codes.map(|it| json!({ "coding": [coding(&it)] })).collect();
        written.push(json!({
            "type": "permit", "securityLabel": with_normal, "class": classes, "code": codes,
        }));
    }
    if category == Category::DiagnosticReports {
        // A report brings the observations that it refers to, and no others.
        written.push(json!({ "type": "permit", "securityLabel": labels, "class": classes }));
    }
    written
}
