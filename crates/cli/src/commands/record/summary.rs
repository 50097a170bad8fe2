//! What a document is, told without telling what it says.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Elements whose dates say when something was or was written down. A birth date is not among them.
const DATES: [&str; 19] = [
    "authoredOn",
    "created",
    "date",
    "dateAsserted",
    "dateWritten",
    "effectiveDateTime",
    "effectiveInstant",
    "issued",
    "occurrenceDateTime",
    "onsetDateTime",
    "performedDateTime",
    "received",
    "receivedTime",
    "recorded",
    "recordedDate",
    "sent",
    "started",
    "whenHandedOver",
    "whenPrepared",
];

/// Elements with a start and an end.
const PERIODS: [&str; 5] =
    ["billablePeriod", "effectivePeriod", "occurrencePeriod", "performedPeriod", "period"];

/// A FHIR document in numbers: types and dates, no values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    /// Resources by type.
    pub(crate) types: BTreeMap<String, usize>,
    /// The earliest day in the document, as written.
    pub(crate) first_date: Option<String>,
    /// The latest.
    pub(crate) last_date: Option<String>,
}

/// How a document differs from the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Changes {
    /// Resources that the one before does not have.
    pub(crate) added: usize,
    /// Resources that only the one before has.
    pub(crate) removed: usize,
    /// Resources that both have, with other content.
    pub(crate) changed: usize,
    /// Names of the elements that differ, as `Type.element`.
    pub(crate) elements: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bundle<'a> {
    #[serde(borrow, default)]
    entry: Vec<Entry<'a>>,
    #[serde(borrow, default)]
    timestamp: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(rename = "fullUrl", borrow, default)]
    full_url: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    resource: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(rename = "resourceType", borrow)]
    resource_type: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Period<'a> {
    #[serde(borrow, default)]
    start: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    end: Option<Cow<'a, str>>,
}

type Elements<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// One resource: what it is known by, and its elements as they are written. Borrows, so that no copy of
/// health data stays in memory.
struct Resource<'a> {
    key: String,
    resource_type: String,
    elements: Elements<'a>,
}

/// Reads what the FHIR reader has accepted. `None` for anything else.
fn resources(document: &[u8]) -> Option<Vec<Resource<'_>>> {
    let outer: Typed<'_> = serde_json::from_slice(document).ok()?;
    let found: Vec<(Option<Cow<'_, str>>, &RawValue)> = if outer.resource_type == "Bundle" {
        let bundle: Bundle<'_> = serde_json::from_slice(document).ok()?;
        let entries = bundle.entry.into_iter();
        entries.filter_map(|entry| Some((entry.full_url, entry.resource?))).collect()
    } else {
        vec![(None, serde_json::from_slice(document).ok()?)]
    };
    found.into_iter().enumerate().map(|(at, (url, raw))| resource(at, url, raw)).collect()
}

fn resource<'a>(at: usize, url: Option<Cow<'a, str>>, raw: &'a RawValue) -> Option<Resource<'a>> {
    let typed: Typed<'_> = serde_json::from_str(raw.get()).ok()?;
    let elements: Elements<'_> = serde_json::from_str(raw.get()).ok()?;
    let resource_type = typed.resource_type.into_owned();
    let id = elements.get("id").map(|id| id.get().trim_matches('"'));
    let key = match (url, id) {
        (Some(url), _) => url.into_owned(),
        (None, Some(id)) => format!("{resource_type}/{id}"),
        // Without a name only its place tells it from others.
        (None, None) => format!("{resource_type}#{at}"),
    };
    Some(Resource { key, resource_type, elements })
}

impl Summary {
    /// Of a document that the FHIR reader has accepted; empty for anything else.
    pub(crate) fn of(document: &[u8]) -> Self {
        let mut summary = Self::default();
        let mut days = BTreeSet::new();
        if let Ok(Bundle { timestamp: Some(text), .. }) = serde_json::from_slice(document) {
            days.extend(day(&text));
        }
        for resource in resources(document).unwrap_or_default() {
            for (name, raw) in &resource.elements {
                days.extend(dates(name, raw));
            }
            *summary.types.entry(resource.resource_type).or_default() += 1;
        }
        summary.first_date = days.first().cloned();
        summary.last_date = days.last().cloned();
        summary
    }

    /// `Condition=1,Observation=12`.
    pub(crate) fn types(&self) -> String {
        crate::table::list(self.types.iter().map(|(name, count)| format!("{name}={count}")))
    }

    /// `2020-01-02..2020-01-05`, or one day.
    pub(crate) fn dates(&self) -> String {
        match (&self.first_date, &self.last_date) {
            (Some(first), Some(last)) if first == last => first.clone(),
            (Some(first), Some(last)) => format!("{first}..{last}"),
            _ => String::new(),
        }
    }
}

impl Changes {
    /// Compares two documents, resource by resource and element by element, byte for byte.
    pub(crate) fn between(before: &[u8], after: &[u8]) -> Option<Self> {
        let (before, after) = (resources(before)?, resources(after)?);
        let known: BTreeMap<&str, &Resource<'_>> =
            before.iter().map(|resource| (resource.key.as_str(), resource)).collect();
        let mut changes = Self::default();
        let mut kept = BTreeSet::new();
        for resource in &after {
            let Some(old) = known.get(resource.key.as_str()) else {
                changes.added += 1;
                continue;
            };
            kept.insert(resource.key.as_str());
            let names: BTreeSet<&str> =
                old.elements.keys().chain(resource.elements.keys()).map(Cow::as_ref).collect();
            let text = |of: &Resource<'_>, name: &str| {
                of.elements.get(name).map(|raw| raw.get().to_owned())
            };
            let differ: Vec<&str> =
                names.into_iter().filter(|name| text(old, name) != text(resource, name)).collect();
            changes.changed += usize::from(!differ.is_empty());
            let full = |name: &&str| format!("{}.{name}", resource.resource_type);
            changes.elements.extend(differ.iter().map(full));
        }
        changes.removed = known.keys().filter(|key| !kept.contains(*key)).count();
        Some(changes)
    }

    /// `+1 -0 ~2 Observation.valueQuantity,Observation.status`.
    pub(crate) fn text(&self) -> String {
        let numbers = format!("+{} -{} ~{}", self.added, self.removed, self.changed);
        if self.elements.is_empty() {
            return numbers;
        }
        format!("{numbers} {}", crate::table::list(&self.elements))
    }
}

/// The days that an element names.
fn dates(name: &str, raw: &RawValue) -> Vec<String> {
    if DATES.contains(&name) {
        let text: Option<Cow<'_, str>> = serde_json::from_str(raw.get()).ok();
        return text.as_deref().and_then(day).into_iter().collect();
    }
    if PERIODS.contains(&name) {
        let period: Option<Period<'_>> = serde_json::from_str(raw.get()).ok();
        let ends = period.into_iter().flat_map(|period| [period.start, period.end]);
        return ends.flatten().filter_map(|text| day(&text)).collect();
    }
    Vec::new()
}

/// Year, month and day as far as a FHIR date or time has them.
fn day(text: &str) -> Option<String> {
    let text = text.get(..text.len().min(10))?;
    let shaped = text.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    (shaped && text.len() >= 4).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

    use super::*;

    const BEFORE: &[u8] = br#"{"resourceType":"Bundle","type":"collection","timestamp":"2026-03-01T08:00:00Z","entry":[
        {"resource":{"resourceType":"Patient","id":"p","birthDate":"1950-01-01"}},
        {"fullUrl":"urn:uuid:1","resource":{"resourceType":"Observation","status":"final","code":{"text":"secret"},
            "effectiveDateTime":"2026-02-11T10:00:00Z","valueQuantity":{"value":1.0100}}},
        {"resource":{"resourceType":"Encounter","id":"e","period":{"start":"2026-02","end":"2026-02-12"}}}]}"#;

    #[test]
    fn summary_tells_types_and_days_and_no_values() {
        let summary = Summary::of(BEFORE);
        assert_eq!(summary.types(), "Encounter=1,Observation=1,Patient=1");
        assert_eq!(summary.dates(), "2026-02..2026-03-01");
        assert!(!serde_json::to_string(&summary).unwrap().contains("secret"));
        let one = br#"{"resourceType":"Condition","recordedDate":"2024-05-06"}"#;
        assert_eq!(Summary::of(one).dates(), "2024-05-06");
        for other in [&b"%PDF"[..], b"{}", b"[]", b"null", br#"{"resourceType":7}"#] {
            assert_eq!(Summary::of(other), Summary::default());
        }
    }

    #[test]
    fn changes_name_elements_and_no_values() {
        let text = String::from_utf8(BEFORE.to_vec()).unwrap();
        let amended = text.replace("1.0100", "1.01").replace(r#""id":"e""#, r#""id":"f""#);
        let changes = Changes::between(BEFORE, amended.as_bytes()).unwrap();
        assert_eq!((changes.added, changes.removed, changes.changed), (1, 1, 1));
        assert_eq!(changes.text(), "+1 -1 ~1 Observation.valueQuantity");
        let same = Changes::between(BEFORE, BEFORE).unwrap();
        assert_eq!(same.text(), "+0 -0 ~0");
        assert_eq!(Changes::between(BEFORE, b"%PDF"), None);
    }
}
