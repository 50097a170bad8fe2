//! What the exports share: the resources of the chart, byte for byte, under names that do not collide.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, keccak256};
use serde_json::{Value, json};

use super::{Entry, Held, Line, ReconciledChart, Section, concept::text, span::instant};

/// What an export is called and when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportTerms {
    /// Title, without health data.
    pub title: String,
    /// Unix second of making it.
    pub made: u64,
}

impl ExportTerms {
    pub(super) fn date(&self) -> String {
        instant(self.made)
    }
}

/// LOINC's code of a section, and its title.
pub(super) const fn section_code(section: Section) -> (&'static str, &'static str, &'static str) {
    match section {
        Section::Medications => {
            ("10160-0", "History of Medication use Narrative", "Medication Summary")
        }
        Section::Problems => ("11450-4", "Problem list - Reported", "Problem List"),
        Section::Allergies => {
            ("48765-2", "Allergies and adverse reactions Document", "Allergies and Intolerances")
        }
        Section::Immunizations => ("11369-6", "History of Immunization note", "Immunizations"),
    }
}

pub(super) fn loinc(code: &str, display: &str) -> Value {
    json!({"coding": [{"system": "http://loinc.org", "code": code, "display": display}]})
}

/// Resources on their way into one Bundle.
#[derive(Default)]
pub(super) struct Names<'a> {
    taken: BTreeMap<String, &'a str>,
    known: BTreeMap<(Address, &'a str), String>,
    /// `fullUrl` and exact bytes, in the order in which they were added.
    entries: Vec<(String, &'a str)>,
}

impl<'a> Names<'a> {
    /// Adds a resource once; gives the URL by which the Bundle knows it.
    pub(super) fn add(&mut self, held: &Held<'a>) -> String {
        let raw = held.node.raw();
        if let Some(url) = self.known.get(&(held.author, raw)) {
            return url.clone();
        }
        let url = self.url(held);
        self.taken.insert(url.clone(), raw);
        self.known.insert((held.author, raw), url.clone());
        self.entries.push((url.clone(), raw));
        url
    }

    /// The URL that the author gave, unless something else has it. A resource with an id and no URL stands under
    /// a base of its author, so that references between resources of one author lead where they did.
    fn url(&self, held: &Held<'a>) -> String {
        let raw = held.node.raw();
        let free = |url: &str| self.taken.get(url).is_none_or(|taken| *taken == raw);
        let whole = |url: &&str| url.starts_with("urn:") || url.contains("://");
        if let Some(url) = held.full_url.as_deref().filter(whole).filter(|url| free(url)) {
            return url.to_owned();
        }
        let id = text(held.node, "id").zip(held.node.resource_type());
        let url =
            id.map(|(id, kind)| format!("https://{:x}.author.invalid/{kind}/{id}", held.author));
        url.filter(|url| free(url))
            .unwrap_or_else(|| uuid(&[held.author.as_slice(), raw.as_bytes()]))
    }

    /// The entries as JSON, each resource with its exact bytes.
    pub(super) fn json(&self) -> impl Iterator<Item = String> {
        self.entries.iter().map(|(url, raw)| entry(url, raw))
    }
}

pub(super) fn entry(url: &str, resource: &str) -> String {
    format!("{{\"fullUrl\":{},\"resource\":{resource}}}", Value::from(url))
}

/// A UUID (RFC 9562, version 8) that is the same for the same parts.
pub(super) fn uuid(parts: &[&[u8]]) -> String {
    let mut hash = keccak256(parts.concat());
    hash[6] = hash[6] & 0x0f | 0x80;
    hash[8] = hash[8] & 0x3f | 0x80;
    let hex: String = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let (a, b, c, d, e) = (&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
    format!("urn:uuid:{a}-{b}-{c}-{d}-{e}")
}

impl<'a> Entry<'a> {
    pub(super) fn held(&self) -> Held<'a> {
        Held {
            author: self.facts.author,
            full_url: self.facts.full_url.clone(),
            node: self.facts.resource,
        }
    }
}

impl<'a> ReconciledChart<'a> {
    /// Adds the resources of a line that count, and what they refer to; gives the URLs of the entries.
    pub(super) fn add_line(&self, line: &Line, names: &mut Names<'a>) -> Vec<(usize, String)> {
        let mut urls = Vec::new();
        for at in line.entries.iter().filter(|at| self.counts(line, **at)) {
            let entry = &self.entries[*at];
            if let Some(medication) = &entry.facts.medication {
                names.add(medication);
            }
            urls.push((*at, names.add(&entry.held())));
        }
        urls
    }

    /// Adds whom the chart is about, as each author of it says: the newest first.
    pub(super) fn add_patients(&self, names: &mut Names<'a>, terms: &ExportTerms) -> String {
        let mut seen = BTreeSet::new();
        let newest = self.patients.iter().rev().filter(|held| seen.insert(held.author));
        let urls: Vec<String> = newest.map(|held| names.add(held)).collect();
        urls.into_iter().next().unwrap_or_else(|| {
            let url = uuid(&[b"patient", terms.date().as_bytes()]);
            names.entries.push((url.clone(), NOBODY));
            url
        })
    }
}

/// Stands in where no record says who the patient is.
const NOBODY: &str = r#"{"resourceType":"Patient","text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">No record says who the patient is.</div>"}}"#;

/// A narrative: one paragraph for each text.
pub(super) fn narrative<'t>(texts: impl Iterator<Item = &'t str>) -> Value {
    let escaped = |text: &str| {
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
    };
    let paragraphs: String = texts.map(|text| format!("<p>{}</p>", escaped(text))).collect();
    let div = format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{paragraphs}</div>");
    json!({"status": "generated", "div": div})
}
