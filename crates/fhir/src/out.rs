//! Written FHIR: who made and checked a record ([`provenance`]), what happened to a chart ([`audit_events`],
//! by IHE BALP) and where documents lie ([`document_reference`]).
//!
//! Pure builders from plain values: the same input gives the same bytes. Nothing secret goes in, but every
//! resource names ids, hashes and transactions of a ledger: whoever has it can look at the chart's events, so
//! it identifies the patient like a medical record number. `docs/protocol.md`, section "Standard FHIR out",
//! holds the tables.

mod audit;
mod document;
mod provenance;
mod words;

use serde_json::{Value, json};

pub use audit::{Act, AuditInput, audit_events};
pub use document::{DocumentInput, DocumentStatus, document_reference};
pub use provenance::{Activity, ProvenanceInput, SignatureInput, provenance};
pub(crate) use words::identifier;
pub use words::{Party, PartyKind, instant};

/// A Bundle of type `collection` around resources.
pub fn collection(resources: &[Value]) -> Value {
    let entry: Vec<Value> =
        resources.iter().map(|resource| json!({ "resource": resource })).collect();
    let mut bundle = json!({ "resourceType": "Bundle", "type": "collection" });
    // FHIR has no empty arrays.
    if !entry.is_empty() {
        bundle["entry"] = entry.into();
    }
    bundle
}
