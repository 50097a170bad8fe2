//! The chart as FHIR Lists: one for each section.

use serde_json::{Value, json};

use super::{
    Change, ChangeKind, Entry, ExportTerms, Line, ReconciledChart, Section, Standing,
    out::{Names, entry, loinc, section_code, uuid},
    span::instant,
};

/// Australian codes for changes of a list of medicines, R4's example for `entry.flag`.
const FLAGS: &str = "urn:oid:1.2.36.1.2001.1001.101.104.16592";

impl<'a> ReconciledChart<'a> {
    /// The chart as Lists of mode `snapshot`, one for each of `sections`, in a Bundle with the resources that
    /// they name, byte for byte.
    pub fn to_lists(&self, sections: &[Section], terms: &ExportTerms) -> Vec<u8> {
        let mut names = Names::default();
        let patient = self.add_patients(&mut names, terms);
        let lists = sections.iter().map(|section| {
            let listed = self.section(*section).filter(|line| line.standing.is_listed());
            let items = listed.flat_map(|line| {
                let urls = self.add_line(line, &mut names);
                urls.into_iter().map(|(at, url)| self.item(line, &self.entries[at], url, None))
            });
            list(*section, "snapshot", &patient, terms, items.collect())
        });
        let lists: Vec<String> = lists.collect();
        bundle(&lists, &names, terms)
    }

    /// What changed since `before` as Lists of mode `changes`: each item flagged, and marked as deleted where it is
    /// no longer listed.
    pub fn to_change_lists(
        &self,
        before: &ReconciledChart<'a>,
        changes: &[Change],
        sections: &[Section],
        terms: &ExportTerms,
    ) -> Vec<u8> {
        let mut names = Names::default();
        let patient = self.add_patients(&mut names, terms);
        let lists = sections.iter().map(|section| {
            let own = changes.iter().filter(|change| change.section == *section);
            let items = own.flat_map(|change| {
                let old = change.old.map(|at| (before, &before.lines[at]));
                let new = change.new.map(|at| (self, &self.lines[at]));
                let Some((chart, line)) = new.or(old) else { return Vec::new() };
                let urls = chart.add_line(line, &mut names);
                let item = |(at, url): (usize, String)| {
                    chart.item(line, &chart.entries[at], url, Some(change))
                };
                urls.into_iter().map(item).collect()
            });
            list(*section, "changes", &patient, terms, items.collect())
        });
        let lists: Vec<String> = lists.collect();
        bundle(&lists, &names, terms)
    }

    fn item(&self, line: &Line, entry: &Entry<'_>, url: String, change: Option<&Change>) -> Value {
        let author = entry.origins.first().map(|at| self.origins[*at].author.to_string());
        let display = format!("{}, by {}", entry.what, author.unwrap_or_default());
        let mut item = json!({"item": {"reference": url, "display": display}});
        let standing = change.and_then(|change| change.now).unwrap_or(line.standing);
        item["flag"] = match change {
            None => json!({"text": standing.as_str()}),
            Some(change) => flag(change),
        };
        if change.is_some_and(|change| change.kind == ChangeKind::Removed) {
            item["deleted"] = Value::from(true);
        }
        item["date"] = Value::from(instant(change.and_then(|it| it.when).unwrap_or(entry.entered)));
        item
    }
}

fn flag(change: &Change) -> Value {
    let text = change.kind.as_str();
    let code = match (change.kind, change.now) {
        (ChangeKind::Added, _) => ("04", "Prescribed"),
        (ChangeKind::Changed, _) => ("02", "Changed"),
        (ChangeKind::Removed, Some(Standing::Past)) => ("05", "Ceased"),
        (ChangeKind::Removed, _) => ("03", "Cancelled"),
    };
    if change.section == Section::Medications {
        let (code, display) = code;
        return json!({"coding": [{"system": FLAGS, "code": code, "display": display}], "text": text});
    }
    json!({"text": text})
}

fn list(
    section: Section,
    mode: &str,
    patient: &str,
    terms: &ExportTerms,
    items: Vec<Value>,
) -> String {
    let (code, display, title) = section_code(section);
    let mut list = json!({
        "resourceType": "List",
        "status": "current",
        "mode": mode,
        "title": format!("{title}: {}", terms.title),
        "code": loinc(code, display),
        "subject": {"reference": patient},
        "date": terms.date(),
        "orderedBy": {"coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/list-order",
            "code": "category",
            "display": "Sorted by Category",
        }]},
    });
    if items.is_empty() {
        list["emptyReason"] = json!({"coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/list-empty-reason",
            "code": "unavailable",
            "display": "Unavailable",
        }]});
    } else {
        list["entry"] = Value::from(items);
    }
    list.to_string()
}

fn bundle(lists: &[String], names: &Names<'_>, terms: &ExportTerms) -> Vec<u8> {
    let first = lists.iter().map(|list| entry(&uuid(&[b"list", list.as_bytes()]), list));
    let entries: Vec<String> = first.chain(names.json()).collect();
    let date = terms.date();
    format!(
        "{{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"timestamp\":\"{date}\",\"entry\":[{}]}}",
        entries.join(",")
    )
    .into_bytes()
}
