//! Who the patient is, found where it does not belong.
//!
//! What is looked for comes from the document's own Patient resources: names, street addresses, phone numbers and
//! mail addresses, record numbers. It is looked for in every string outside them, in narratives without their tags,
//! and in attached text. Words are compared without regard to case and to what stands between them, so that
//! `LINDGREN, Anna` is found by `Anna Lindgren`. Other spellings are not found, nor what stands in images and PDF.

use std::borrow::Cow;

use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::{ComplianceReport, IdentityRule, Place, Rule};
use crate::{Category, Node};

/// Words between a family name and a given name that still make them one name.
const MAX_BETWEEN: usize = 3;

/// Shortest record number that is looked for in text, in letters and digits; a shorter one is any number.
const MIN_IDENTIFIER_LEN: usize = 5;

/// Digits that a record number or phone number in text has at least.
const MIN_DIGITS: usize = 3;

/// Letters and digits of the shortest street address in two words, for example `Ringstrasse 7`.
const MIN_LINE_LEN: usize = 8;

/// Strings that name resources and systems, not people.
const NAMES_THINGS: [&str; 7] =
    ["id", "fullUrl", "reference", "url", "uri", "system", "resourceType"];

/// What tells who the patients of a document are.
#[derive(Default)]
pub(super) struct Known {
    names: Vec<Name>,
    phrases: Vec<(Rule, Vec<String>)>,
    /// System and value, equal to the letter.
    identifiers: Vec<(String, String)>,
    /// Names in scripts that put no space between words.
    joined: Vec<String>,
}

struct Name {
    family: Vec<String>,
    given: Vec<String>,
}

impl Known {
    pub(super) fn of(places: &[Place<'_>]) -> Self {
        let mut known = Self::default();
        for place in places.iter().filter(|place| place.resource_type == "Patient") {
            known.add(place.node);
        }
        known
    }

    fn add(&mut self, patient: Node<'_>) {
        let id = patient.get("id").and_then(Node::text);
        for name in list(patient, "name") {
            self.add_name(name);
        }
        for address in list(patient, "address") {
            let lines = list(address, "line").chain(address.get("text"));
            for words in lines.filter_map(Node::text).map(|line| words(&line)) {
                let len: usize = words.iter().map(String::len).sum();
                let long = words.len() > 2 || (words.len() == 2 && len >= MIN_LINE_LEN);
                if long && digits(&words) > 0 {
                    self.phrases.push((Rule::Address, words));
                }
            }
        }
        for value in list(patient, "telecom").filter_map(|it| it.get("value")?.text()) {
            let words = words(&value);
            if value.contains('@') && words.len() > 1 || digits(&words) > MIN_DIGITS {
                self.phrases.push((Rule::Telecom, words));
            }
        }
        for identifier in list(patient, "identifier") {
            let Some(value) = identifier.get("value").and_then(Node::text) else { continue };
            // The id of the resource is in every reference to it.
            if id.as_deref() == Some(value.strip_prefix("urn:uuid:").unwrap_or(&value)) {
                continue;
            }
            if let Some(system) = identifier.get("system").and_then(Node::text) {
                self.identifiers.push((system.into_owned(), value.clone().into_owned()));
            }
            let words = words(&value);
            let len: usize = words.iter().map(String::len).sum();
            if len >= MIN_IDENTIFIER_LEN && digits(&words) >= MIN_DIGITS {
                self.phrases.push((Rule::Identifier, words));
            }
        }
    }

    fn add_name(&mut self, name: Node<'_>) {
        let text =
            |name: Option<Node<'_>>| name.and_then(Node::text).unwrap_or_default().into_owned();
        let family = text(name.get("family"));
        let given: Vec<String> = list(name, "given").map(|it| text(Some(it))).collect();
        if is_unspaced(&family) {
            self.joined.push(format!("{family}{}", given.concat()));
        }
        let whole = words(&text(name.get("text")));
        if whole.len() > 1 {
            self.phrases.push((Rule::Name, whole));
        }
        let family = words(&family);
        // An initial is too little to go by.
        let given = given.iter().flat_map(|it| words(it)).filter(|it| it.chars().count() > 1);
        if !family.is_empty() {
            self.names.push(Name { family, given: given.collect() });
        }
    }

    /// What a text tells of the patients.
    fn found(&self, text: &str) -> Vec<Rule> {
        let mut found = Vec::new();
        let words = words(text);
        let name = self.names.iter().any(|name| name.is_in(&words))
            || self.joined.iter().any(|name| text.contains(name.as_str()));
        if name {
            found.push(Rule::Name);
        }
        for (rule, phrase) in &self.phrases {
            if !found.contains(rule) && starts(&words, phrase).next().is_some() {
                found.push(*rule);
            }
        }
        found
    }

    fn names_patient(&self, identifier: Node<'_>) -> bool {
        let text = |name| identifier.get(name).and_then(Node::text);
        let (Some(system), Some(value)) = (text("system"), text("value")) else { return false };
        self.identifiers.iter().any(|known| known.0 == system && known.1 == value)
    }
}

impl Name {
    fn is_in(&self, words: &[String]) -> bool {
        starts(words, &self.family).any(|at| {
            let before = at.saturating_sub(MAX_BETWEEN + 1)..at;
            let behind = at + self.family.len();
            let after = behind..words.len().min(behind + MAX_BETWEEN + 1);
            words[before].iter().chain(&words[after]).any(|word| self.given.contains(word))
        })
    }
}

/// Looks through one resource, if it is none that says who people are.
pub(super) fn check(
    place: &Place<'_>,
    rule: IdentityRule,
    known: &Known,
    report: &mut ComplianceReport,
) {
    if rule == IdentityRule::Allow || Category::of_type(place.resource_type) == Category::Identity {
        return;
    }
    let mut walk = Walk { place, rule, known, report, path: vec![place.path()] };
    walk.members(place.node);
}

struct Walk<'a> {
    place: &'a Place<'a>,
    rule: IdentityRule,
    known: &'a Known,
    report: &'a mut ComplianceReport,
    path: Vec<String>,
}

impl Walk<'_> {
    fn members(&mut self, node: Node<'_>) {
        let is_reference = node.get("reference").is_some();
        for (key, value) in node.members() {
            let name = key.trim_start_matches('_');
            let many = value.is_array();
            for (at, item) in value.items().enumerate() {
                self.path.push(if many { format!(".{name}[{at}]") } else { format!(".{name}") });
                self.value(name, item, node, is_reference);
                self.path.pop();
            }
        }
    }

    fn value(&mut self, name: &str, value: Node<'_>, parent: Node<'_>, is_reference: bool) {
        if value.is_object() {
            if value.resource_type().is_some_and(|it| it == "Patient") && has_identity(value) {
                return self.add(Rule::InnerPatient);
            }
            if self.known.names_patient(value) {
                return self.add(Rule::Identifier);
            }
            return self.members(value);
        }
        let allowed = self.rule == IdentityRule::InReferences && is_reference && name == "display";
        if allowed || NAMES_THINGS.contains(&name) {
            return;
        }
        let Some(text) = value.text() else { return };
        let text = match name {
            "div" => Cow::Owned(without_tags(&text)),
            "data" => match attached_text(parent, &text) {
                Some(text) => Cow::Owned(text),
                None => return,
            },
            _ => text,
        };
        for rule in self.known.found(&text) {
            self.add(rule);
        }
    }

    fn add(&mut self, rule: Rule) {
        let violation = self.place.violation(rule, self.path.concat(), Vec::new());
        self.report.add(violation);
    }
}

fn has_identity(patient: Node<'_>) -> bool {
    ["name", "address", "telecom", "identifier", "birthDate", "photo"]
        .iter()
        .any(|name| patient.get(name).is_some())
}

fn list<'a>(node: Node<'a>, name: &str) -> impl Iterator<Item = Node<'a>> + use<'a> {
    node.get(name).into_iter().flat_map(Node::items)
}

/// Letters and digits in a row, in lower case.
fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

fn digits(words: &[String]) -> usize {
    words.iter().flat_map(|word| word.chars()).filter(char::is_ascii_digit).count()
}

/// Where a row of words begins in another.
fn starts<'a>(words: &'a [String], row: &'a [String]) -> impl Iterator<Item = usize> + 'a {
    words.windows(row.len().max(1)).enumerate().filter(move |(_, it)| *it == row).map(|(at, _)| at)
}

/// Chinese, Japanese and Korean names.
fn is_unspaced(name: &str) -> bool {
    name.chars().any(|c| matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}'))
}

fn without_tags(html: &str) -> String {
    let mut inside = false;
    html.chars()
        .filter_map(|c| {
            match c {
                '<' => inside = true,
                '>' => {
                    inside = false;
                    return Some(' ');
                }
                _ => {}
            }
            (!inside).then_some(c)
        })
        .collect()
}

/// The text of an attachment, if it is text.
fn attached_text(attachment: Node<'_>, data: &str) -> Option<String> {
    let kind = attachment.get("contentType")?.text()?.to_ascii_lowercase();
    let is_text = kind.starts_with("text/") || kind.contains("xml") || kind.contains("json");
    let bytes = if is_text { decoded(data)? } else { return None };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Some(if kind.contains("ml") { without_tags(&text) } else { text })
}

/// RFC 4648, section 4, with white space in it as FHIR allows.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let dense: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let (alphabet, options) = (&base64::alphabet::STANDARD, GeneralPurposeConfig::new());
    let lenient = options.with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(alphabet, lenient.with_decode_allow_trailing_bits(true)).decode(dense).ok()
}
