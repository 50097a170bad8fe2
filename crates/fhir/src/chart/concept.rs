//! What a thing is called and coded as, and by what two mentions of it are joined.

use std::{borrow::Cow, collections::BTreeSet, fmt};

use serde::Serialize;

use crate::Node;

use super::Ingredients;

/// A code of a code system, as it is written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Coding {
    /// The code system; OIDs of well-known systems are written as their URLs.
    pub system: String,
    /// The code.
    pub code: String,
    /// What the author calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
}

/// Shows no health data.
impl fmt::Debug for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Coding(..)")
    }
}

/// Code systems that are also written as OIDs.
const SYSTEMS: [(&str, &str); 7] = [
    ("urn:oid:2.16.840.1.113883.6.1", "http://loinc.org"),
    ("urn:oid:2.16.840.1.113883.6.73", ATC),
    ("urn:oid:2.16.840.1.113883.6.88", "http://www.nlm.nih.gov/research/umls/rxnorm"),
    ("urn:oid:2.16.840.1.113883.6.90", "http://hl7.org/fhir/sid/icd-10-cm"),
    ("urn:oid:2.16.840.1.113883.6.96", "http://snomed.info/sct"),
    ("urn:oid:2.16.840.1.113883.12.292", "http://hl7.org/fhir/sid/cvx"),
    ("urn:oid:2.16.840.1.113883.6.69", "http://hl7.org/fhir/sid/ndc"),
];

const ATC: &str = "http://www.whocc.no/atc";

/// Digits of an ATC code that names one substance; shorter ones name groups, which join nothing.
const ATC_SUBSTANCE_LEN: usize = 7;

/// Systems whose codes say that something is missing, not what it is.
const NO_CONTENT: [&str; 2] = [
    "http://terminology.hl7.org/CodeSystem/data-absent-reason",
    "http://terminology.hl7.org/CodeSystem/v3-NullFlavor",
];

/// The system's one name.
pub(crate) fn system(text: &str) -> &str {
    SYSTEMS.iter().find(|(oid, _)| *oid == text).map_or(text, |(_, url)| url)
}

/// A CodeableConcept.
#[derive(Clone, Default)]
pub(crate) struct Concept {
    /// `text`, else the first display, else the first code.
    pub(crate) name: String,
    pub(crate) codings: Vec<Coding>,
    /// Normalized text and displays.
    pub(crate) texts: BTreeSet<String>,
}

impl Concept {
    pub(crate) fn read(node: Node<'_>) -> Self {
        let own = text(node, "text");
        let mut concept = Self::default();
        let mut fallback = None;
        for coding in node.get("coding").into_iter().flat_map(Node::items) {
            let (display, code) = (text(coding, "display"), text(coding, "code"));
            concept.add_text(display.as_deref());
            fallback = fallback.or_else(|| display.clone()).or_else(|| code.clone());
            let known = text(coding, "system").zip(code);
            if let Some((named, code)) = known.filter(|(it, _)| !NO_CONTENT.contains(&it.as_ref()))
            {
                concept.codings.push(Coding {
                    system: system(&named).to_owned(),
                    code: code.into_owned(),
                    display: display.map(Cow::into_owned),
                });
            }
        }
        concept.add_text(own.as_deref());
        concept.name = own.or(fallback).map(Cow::into_owned).unwrap_or_default();
        concept
    }

    /// A concept of words alone.
    pub(crate) fn of_text(name: &str) -> Self {
        let mut concept = Self { name: name.to_owned(), ..Self::default() };
        concept.add_text(Some(name));
        concept
    }

    fn add_text(&mut self, text: Option<&str>) {
        self.texts.extend(text.map(normalized).filter(|text| !text.is_empty()));
    }

    /// Adds what else it is called and coded as.
    pub(crate) fn join(&mut self, other: &Self) {
        self.codings.extend(other.codings.iter().cloned());
        self.texts.extend(other.texts.iter().cloned());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.name.is_empty() && self.codings.is_empty()
    }

    pub(crate) fn has(&self, system: &str, code: &str) -> bool {
        self.codings.iter().any(|coding| coding.system == system && coding.code == code)
    }
}

/// By what an entry is joined with others.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Keys {
    /// `system|code`: one in common joins.
    pub(crate) codes: BTreeSet<String>,
    /// Ingredients by the site's table: one in common joins.
    pub(crate) ingredients: BTreeSet<String>,
    /// Texts: join what has no code of a common system.
    pub(crate) texts: BTreeSet<String>,
}

impl Keys {
    pub(crate) fn of(concept: &Concept, ingredients: &Ingredients) -> Self {
        let mut keys = Self { texts: concept.texts.clone(), ..Self::default() };
        for Coding { system, code, .. } in &concept.codings {
            keys.ingredients.extend(ingredients.of(system, code).map(normalized));
            if system != ATC || code.len() >= ATC_SUBSTANCE_LEN {
                keys.codes.insert(format!("{system}|{code}"));
            }
        }
        keys
    }

    /// Code systems that name the thing.
    pub(crate) fn systems(&self) -> impl Iterator<Item = &str> {
        self.codes.iter().filter_map(|key| key.rsplit_once('|').map(|(system, _)| system))
    }

    /// Whether the two surely mean the same.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        !self.codes.is_disjoint(&other.codes)
            || !self.ingredients.is_disjoint(&other.ingredients)
            || (self.systems().all(|it| other.systems().all(|other| it != other))
                && !self.texts.is_disjoint(&other.texts))
    }
}

/// The text of a member.
pub(crate) fn text<'a>(node: Node<'a>, name: &str) -> Option<Cow<'a, str>> {
    node.get(name).and_then(Node::text)
}

/// Lower case words with single spaces, without punctuation: what two ways of writing have in common.
pub(crate) fn normalized(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric() && c != '.' && c != '%');
    let words = words.map(|word| word.trim_matches('.')).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// Whether `words` stand in `text` side by side; both are normalized.
pub(crate) fn contains_words(text: &str, words: &str) -> bool {
    format!(" {text} ").contains(&format!(" {words} "))
}
