//! Names of things on a ledger, in FHIR's types.

use alloy_primitives::Address;
use galen_types::LedgerId;
use serde_json::{Value, json};

pub(super) const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
pub(super) const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";

const SECONDS_A_DAY: u64 = 86_400;

/// Last Unix second that FHIR can write: the end of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

/// What somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PartyKind {
    /// Whose chart it is.
    Patient,
    /// A member of the network.
    Organization,
    /// A person or organization of which no more is known than its id.
    Unknown,
}

/// Somebody who acts on a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// The id on the ledger.
    pub id: Address,
    /// What it is.
    pub kind: PartyKind,
    /// What the exporting person calls it; goes into `display`.
    pub name: Option<String>,
}

impl Party {
    /// A logical reference: no server has a resource for it.
    pub(crate) fn reference(&self, ledger: LedgerId) -> Value {
        let kind = match self.kind {
            PartyKind::Patient => Some("Patient"),
            PartyKind::Organization => Some("Organization"),
            PartyKind::Unknown => None,
        };
        let mut reference = reference(kind, identifier(ledger, &format!("{:#x}", self.id)));
        // FHIR has no empty strings, and none that begins or ends with white space.
        if let Some(name) = self.name.as_deref().map(str::trim).filter(|name| !name.is_empty()) {
            reference["display"] = name.into();
        }
        reference
    }

    /// What a network knows it by: CAIP-10, a URI.
    pub(super) fn address(&self, ledger: LedgerId) -> String {
        LedgerId { contract: self.id, ..ledger }.to_string()
    }
}

/// An id of a ledger: the system is the ledger's own name (CAIP-10).
pub(crate) fn identifier(ledger: LedgerId, value: &str) -> Value {
    json!({ "system": ledger.to_string(), "value": value })
}

/// A reference by identifier alone.
pub(super) fn reference(kind: Option<&str>, identifier: Value) -> Value {
    let mut reference = json!({ "identifier": identifier });
    if let Some(kind) = kind {
        reference["type"] = kind.into();
    }
    reference
}

/// The ledger as what observes and decides.
pub(super) fn ledger_reference(ledger: LedgerId) -> Value {
    json!({
        "type": "Device",
        "identifier": { "system": "urn:ietf:rfc:3986", "value": ledger.to_string() },
        "display": "Galen ledger",
    })
}

pub(super) fn coding(system: &str, code: &str, display: &str) -> Value {
    json!({ "system": system, "code": code, "display": display })
}

pub(super) fn concept(coding: Value) -> Value {
    json!({ "coding": [coding] })
}

/// A FHIR `instant` in UTC, to the second. What lies after the year 9999 is written as its end.
pub fn instant(unix: u64) -> String {
    let unix = unix.min(LAST_SECOND);
    let (days, second) = (unix / SECONDS_A_DAY, unix % SECONDS_A_DAY);
    // Counted from 1 March of year 0, so that the leap day ends a year; 400 years have 146,097 days.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_the_days_that_calendars_have() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_795_262_400, "2026-11-21T12:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (u64::MAX, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(instant(unix), text);
        }
    }
}
