//! AuditEvents by IHE BALP (Basic Audit Log Patterns): what the ledger says happened to a chart.

use alloy_primitives::{B256, keccak256};
use galen_types::{ConsentId, LedgerId};
use serde_json::{Value, json};

use super::words::{
    ACT_REASON, DCM, Party, coding, concept, identifier, instant, ledger_reference, reference,
};

const PROFILES: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.";
const AUTHZ: &str = "https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType";
const EVENT_TYPES: &str = "http://terminology.hl7.org/CodeSystem/audit-event-type";
const INTERACTIONS: &str = "http://hl7.org/fhir/restful-interaction";
const LIFECYCLE: &str = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle";
const ENTITY_TYPES: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const ROLES: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// Something new: a proposal, a request.
    Create,
    /// Something was looked at and nothing left the chart.
    Read,
    /// Something changed: an answer, consents, keys, content sealed anew.
    Update,
    /// Something was taken back.
    Delete,
    /// The contract found a consent for a read and logged it: told as the decision and as the disclosure.
    Disclosure,
}

/// One event of a chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditInput {
    /// The ledger, which observed it.
    pub ledger: LedgerId,
    /// Whose chart it is.
    pub patient: Party,
    /// What happened.
    pub act: Act,
    /// What it is called in Galen's audit: `accessed`, `settled`, `resealed`, …
    pub what: &'static str,
    /// Who did it; the patient where nobody is named.
    pub who: Option<Party>,
    /// What it was done to, by its id.
    pub subject: Option<B256>,
    /// Purpose of use: an HL7 v3 ActReason code, or the number of one that has no name yet.
    pub purpose: Option<String>,
    /// The consent that it relied on.
    pub consent: Option<ConsentId>,
    /// An emergency access under a consent for everybody.
    pub break_glass: bool,
    /// Unix second of the block.
    pub time: u64,
    /// Block number.
    pub block: u64,
    /// Index of the event in its block.
    pub log: u64,
    /// Transaction hash.
    pub transaction: B256,
    /// Whether the chart's head on chain covers it.
    pub in_head: bool,
}

/// The AuditEvents of one event: two for a disclosure, the decision first, else one.
///
/// Ids follow from ledger, transaction and log, so that the same event sent twice is one event.
pub fn audit_events(input: &AuditInput) -> Vec<Value> {
    match input.act {
        Act::Disclosure => vec![decision(input), disclosure(input)],
        Act::Create => vec![rest(input, "PatientCreate", "create", "C")],
        Act::Read => vec![rest(input, "PatientRead", "read", "R")],
        Act::Update => vec![rest(input, "PatientUpdate", "update", "U")],
        Act::Delete => vec![rest(input, "PatientDelete", "delete", "D")],
    }
}

/// What every pattern has.
fn event(input: &AuditInput, profile: &str, kind: Value, action: &str) -> Value {
    let mut event = json!({
        "resourceType": "AuditEvent",
        "id": id(input, profile),
        "meta": { "profile": [format!("{PROFILES}{profile}")] },
        "type": kind,
        "action": action,
        "recorded": instant(input.time),
        "outcome": "0",
        "outcomeDesc": input.what,
        "source": {
            "site": input.ledger.to_string(),
            "observer": ledger_reference(input.ledger),
            "type": [coding("http://terminology.hl7.org/CodeSystem/security-source-type", "4", "Application Server")],
        },
    });
    if let Some(purpose) = purpose(input) {
        event["purposeOfEvent"] = json!([purpose]);
    }
    event
}

fn id(input: &AuditInput, profile: &str) -> String {
    let mut bytes = input.ledger.to_string().into_bytes();
    bytes.extend_from_slice(input.transaction.as_slice());
    bytes.extend_from_slice(&input.log.to_be_bytes());
    bytes.extend_from_slice(profile.as_bytes());
    format!("{:x}", keccak256(bytes))
}

fn purpose(input: &AuditInput) -> Option<Value> {
    let code = input.purpose.as_deref()?;
    let known = galen_types::Purpose::ALL.iter().any(|purpose| purpose.code() == code);
    Some(if known {
        json!({ "coding": [{ "system": ACT_REASON, "code": code }] })
    } else {
        json!({ "text": format!("purpose-{code}") })
    })
}

/// An interaction with the ledger, told as one with a REST server: who signed is the client.
fn rest(input: &AuditInput, profile: &str, interaction: &str, action: &str) -> Value {
    let kind = coding(EVENT_TYPES, "rest", "RESTful Operation");
    let mut event = event(input, profile, kind, action);
    event["subtype"] = json!([coding(INTERACTIONS, interaction, interaction)]);
    let who = input.who.as_ref().unwrap_or(&input.patient);
    let source = ("110153", "Source Role ID");
    let destination = ("110152", "Destination Role ID");
    // Data flows from the client, but for a read; a deletion moves none.
    let (client, server) = match input.act {
        Act::Read => (dicom(destination), dicom(source)),
        Act::Delete => (
            dicom(("110150", "Application")),
            concept(coding(
                "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
                "custodian",
                "Custodian",
            )),
        ),
        _ => (dicom(source), dicom(destination)),
    };
    let mut user = json!({
        "type": concept(coding(PARTICIPATION, "AUT", "author (originator)")),
        "who": who.reference(input.ledger),
        "requestor": true,
    });
    if let Some(purpose) = purpose(input) {
        user["purposeOfUse"] = json!([purpose]);
    }
    event["agent"] =
        json!([party(client, who, input.ledger, false), ledger_agent(server, input.ledger), user,]);
    event["entity"] = json!([patient(input), data(input)]);
    event
}

/// The contract let a read through: IHE's pattern for a permit by consent.
fn decision(input: &AuditInput) -> Value {
    let profile = "AuthZconsent";
    let mut event = event(input, profile, coding(DCM, "110113", "Security Alert"), "E");
    let mut subtypes =
        vec![coding(AUTHZ, "AuthZ-Consent", "Authorization Decision using Roles and Consent")];
    subtypes.extend(break_glass(input));
    event["subtype"] = subtypes.into();
    let who = input.who.as_ref().unwrap_or(&input.patient);
    let authorizer = concept(coding(
        "http://terminology.hl7.org/CodeSystem/extra-security-role-type",
        "authserver",
        "authorization server",
    ));
    let mut user = json!({
        "type": concept(coding(PARTICIPATION, "IRCP", "information recipient")),
        "who": who.reference(input.ledger),
        "requestor": true,
    });
    if let Some(purpose) = purpose(input) {
        user["purposeOfUse"] = json!([purpose]);
    }
    let organization = concept(coding(
        "http://terminology.hl7.org/CodeSystem/v3-RoleClass",
        "PROV",
        "healthcare provider",
    ));
    event["agent"] = json!([
        party(dicom(("110150", "Application")), who, input.ledger, false),
        user,
        { "type": organization, "who": who.reference(input.ledger), "requestor": false },
        { "type": authorizer, "who": ledger_reference(input.ledger), "requestor": false },
    ]);
    // The pattern closes its entities, so the chain's words stand at the consent.
    let consent = input.consent.map(|id| identifier(input.ledger, &id.to_string()));
    let consent = consent.unwrap_or_else(|| identifier(input.ledger, "unknown"));
    event["entity"] = json!([patient(input), {
        "type": coding("http://hl7.org/fhir/resource-types", "Consent", "Consent"),
        "what": reference(Some("Consent"), consent),
        "detail": details(input),
    }]);
    event
}

/// What was read left the chart.
fn disclosure(input: &AuditInput) -> Value {
    let profile = "PrivacyDisclosure.Source";
    let mut event = event(input, profile, coding(DCM, "110106", "Export"), "R");
    let mut subtypes = vec![coding(LIFECYCLE, "disclose", "Disclose Record Lifecycle Event")];
    subtypes.extend(break_glass(input));
    event["subtype"] = subtypes.into();
    let recipient = input.who.as_ref().unwrap_or(&input.patient);
    // SNOMED CT code alone, as the profile demands it; no text of that code system.
    let authorizer = concept(json!({ "system": "http://snomed.info/sct", "code": "429577009" }));
    event["agent"] = json!([
        ledger_agent(dicom(("110153", "Source Role ID")), input.ledger),
        party(dicom(("110152", "Destination Role ID")), recipient, input.ledger, true),
        {
            "type": authorizer,
            "who": input.patient.reference(input.ledger),
            "requestor": false,
        },
    ]);
    event["entity"] = json!([patient(input), data(input)]);
    event
}

fn break_glass(input: &AuditInput) -> Option<Value> {
    input.break_glass.then(|| coding(DCM, "110127", "Emergency Override Started"))
}

fn dicom((code, display): (&str, &str)) -> Value {
    concept(coding(DCM, code, display))
}

fn party(kind: Value, who: &Party, ledger: LedgerId, requestor: bool) -> Value {
    json!({
        "type": kind,
        "who": who.reference(ledger),
        "requestor": requestor,
        // A ledger sees no machine: the name that the network knows is an address of type URI.
        "network": { "address": who.address(ledger), "type": "5" },
    })
}

fn ledger_agent(kind: Value, ledger: LedgerId) -> Value {
    json!({
        "type": kind,
        "who": ledger_reference(ledger),
        "requestor": false,
        "network": { "address": ledger.to_string(), "type": "5" },
    })
}

fn patient(input: &AuditInput) -> Value {
    json!({
        "what": input.patient.reference(input.ledger),
        "type": coding(ENTITY_TYPES, "1", "Person"),
        "role": coding(ROLES, "1", "Patient"),
    })
}

/// What it was done to, and where the chain says so.
fn data(input: &AuditInput) -> Value {
    let subject = input.subject.map(|id| format!("{id:#x}"));
    let chart = || format!("{:#x}", input.patient.id);
    json!({
        "what": reference(None, identifier(input.ledger, &subject.unwrap_or_else(chart))),
        "type": coding(ENTITY_TYPES, "2", "System Object"),
        "role": coding(ROLES, "4", "Domain Resource"),
        "detail": details(input),
    })
}

fn details(input: &AuditInput) -> Value {
    let mut details = vec![
        ("event", input.what.to_owned()),
        ("transaction", format!("{:#x}", input.transaction)),
        ("block", input.block.to_string()),
        ("log", input.log.to_string()),
        ("in-head", input.in_head.to_string()),
    ];
    details.extend(input.consent.map(|consent| ("consent", consent.to_string())));
    if input.break_glass {
        details.push(("break-glass", "true".to_owned()));
    }
    let detail = |(name, value)| json!({ "type": name, "valueString": value });
    details.into_iter().map(detail).collect()
}
