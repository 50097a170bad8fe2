//! Rules of a site for the documents that it seals: what they must say, and what they must not.
//!
//! The reader judges whether a document is FHIR. These rules judge whether it is good enough for the site, before
//! anything is sealed. Nothing is asked for by default: real documents of many systems lack authors, encounters
//! and labels, and name the patient in references.

mod identity;
mod rules;

use std::fmt;

use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};

use crate::{Document, Node, table::TABLE};
use rules::{ElementPath, Types, author_elements, encounter_elements, holds, names_somebody};

/// Faults that are told of one document; more are only counted.
pub const MAX_VIOLATIONS: usize = 100;

/// What a site asks of each document: the table `[compliance]` of a site file.
///
/// ```
/// # use galen_fhir::{Compliance, Document};
/// let rules: Compliance = serde_json::from_str(r#"{ "author": ["Observation"], "except": ["Patient"] }"#)?;
/// let bytes = br#"{"resourceType":"Observation","status":"final","code":{"text":"Weight"}}"#;
/// let report = rules.check(&Document::read(bytes)?);
/// assert_eq!(report.violations[0].path, "Observation");
/// assert_eq!(report.violations[0].help(), "fill Observation.performer");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "rules::Written")]
pub struct Compliance {
    required: Vec<ElementPath>,
    author: Types,
    encounter: Types,
    security_labels: Types,
    except: Types,
    identity_outside_patient: IdentityRule,
}

/// Where a document may repeat who its patient is, outside the Patient resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityRule {
    /// Everywhere.
    #[default]
    Allow,
    /// Only as the `display` of a reference, where most systems put the name.
    InReferences,
    /// Nowhere.
    Refuse,
}

/// What is wrong with a document by the site's rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ComplianceReport {
    /// The first [`MAX_VIOLATIONS`], in the order of the document.
    pub violations: Vec<Violation>,
    /// How many there are.
    pub count: usize,
}

/// One rule that a resource breaks. Names elements and places, never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Number of the resource in the document, from 0.
    pub resource: usize,
    /// What kind of resource.
    pub resource_type: &'static str,
    /// Where, written like `Bundle.entry[3].resource.Observation.note[0].text`.
    pub path: String,
    /// Which rule.
    pub rule: Rule,
    /// Elements of the resource that would satisfy the rule.
    pub elements: Vec<String>,
}

/// A rule that can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// An element that the site requires.
    Required,
    /// Who wrote, observed or did it.
    Author,
    /// The visit or stay that it belongs to.
    Encounter,
    /// `meta.security`.
    SecurityLabels,
    /// The patient's name.
    Name,
    /// The patient's street address.
    Address,
    /// The patient's phone number or mail address.
    Telecom,
    /// A record number or other identifier of the patient.
    Identifier,
    /// A whole Patient inside another resource.
    InnerPatient,
}

impl Rule {
    /// The name for machines: stable.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Author => "author",
            Self::Encounter => "encounter",
            Self::SecurityLabels => "security-labels",
            Self::Name => "identity-name",
            Self::Address => "identity-address",
            Self::Telecom => "identity-telecom",
            Self::Identifier => "identity-identifier",
            Self::InnerPatient => "identity-inner-patient",
        }
    }
}

impl Violation {
    /// What to do about it, in one line.
    pub fn help(&self) -> String {
        let kind = self.resource_type;
        let elements: Vec<_> = self.elements.iter().map(|it| format!("{kind}.{it}")).collect();
        match self.rule {
            Rule::Required | Rule::Author | Rule::Encounter | Rule::SecurityLabels => {
                format!("fill {}", elements.join(" or "))
            }
            Rule::Name | Rule::Address | Rule::Telecom | Rule::Identifier => {
                "take it out here: who the patient is belongs in Patient, and a reference is enough"
                    .into()
            }
            Rule::InnerPatient => {
                "give the Patient an entry of its own, and refer to it from here".into()
            }
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.rule {
            Rule::Required => "the site requires an element that is missing",
            Rule::Author => "nobody is named who wrote, observed or did it",
            Rule::Encounter => "no visit or stay is named",
            Rule::SecurityLabels => "it has no security label",
            Rule::Name => "the patient's name outside Patient",
            Rule::Address => "the patient's address outside Patient",
            Rule::Telecom => "the patient's phone number or mail address outside Patient",
            Rule::Identifier => "an identifier of the patient outside Patient",
            Rule::InnerPatient => "a Patient inside another resource",
        })
    }
}

/// Written as an object of `rule` (see [`Rule::name`]), `message`, `resource`, `path` and `help`.
impl Serialize for Violation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Violation", 5)?;
        fields.serialize_field("rule", self.rule.name())?;
        fields.serialize_field("message", &self.to_string())?;
        fields.serialize_field("resource", &self.resource)?;
        fields.serialize_field("path", &self.path)?;
        fields.serialize_field("help", &self.help())?;
        fields.end()
    }
}

impl ComplianceReport {
    /// Whether the document breaks no rule.
    pub const fn is_good(&self) -> bool {
        self.count == 0
    }

    fn add(&mut self, violation: Violation) {
        self.count += 1;
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push(violation);
        }
    }
}

/// `3 rules of the site are broken, the first: …`.
impl fmt::Display for ComplianceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.violations.first() else { return f.write_str("no rule is broken") };
        match self.count {
            1 => write!(f, "{first} at {}", first.path),
            count => write!(
                f,
                "{count} rules of the site are broken, the first: {first} at {}",
                first.path
            ),
        }
    }
}

/// A resource of the document and where it stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    node: Node<'a>,
    resource: usize,
    /// In the entry of a Bundle.
    entry: Option<usize>,
    resource_type: &'static str,
}

impl Place<'_> {
    fn path(&self) -> String {
        match self.entry {
            Some(entry) => format!("Bundle.entry[{entry}].resource.{}", self.resource_type),
            None => self.resource_type.to_owned(),
        }
    }

    fn violation(&self, rule: Rule, path: String, elements: Vec<String>) -> Violation {
        let Self { resource, resource_type, .. } = *self;
        Violation { resource, resource_type, path, rule, elements }
    }
}

/// The resources that become parts of records, in the order of the document.
fn places<'a>(document: &Document<'a>) -> Vec<Place<'a>> {
    let root = document.root();
    let placed = |resource, entry, node: Node<'a>| {
        let structure = TABLE.structure(TABLE.resource(&node.resource_type()?)?);
        Some(Place { node, resource, entry, resource_type: structure.name })
    };
    if document.resource_type() != "Bundle" {
        return placed(0, None, root).into_iter().collect();
    }
    let entries = root.get("entry").into_iter().flat_map(Node::items).enumerate();
    let inner = entries.filter_map(|(entry, node)| Some((entry, node.get("resource")?)));
    inner.enumerate().filter_map(|(at, (entry, node))| placed(at, Some(entry), node)).collect()
}

impl Compliance {
    /// Whether no rule is set.
    pub fn is_empty(&self) -> bool {
        *self == Self { except: self.except.clone(), ..Self::default() }
    }

    /// Holds a document against the rules. Identity is known from the document itself: its Patient resources.
    pub fn check(&self, document: &Document<'_>) -> ComplianceReport {
        let mut report = ComplianceReport::default();
        if self.is_empty() {
            return report;
        }
        let places = places(document);
        let known = identity::Known::of(&places);
        for place in &places {
            if !self.except.has(place.resource_type) {
                self.check_elements(place, &mut report);
            }
            identity::check(place, self.identity_outside_patient, &known, &mut report);
        }
        report
    }

    fn check_elements(&self, place: &Place<'_>, report: &mut ComplianceReport) {
        let kind = place.resource_type;
        let Some(index) = TABLE.resource(kind) else { return };
        let structure = TABLE.structure(index);
        for element in self.required.iter().filter(|element| element.is_of(structure)) {
            if !holds(structure, place.node, element.steps()) {
                let path = format!("{}.{}", place.path(), element.text());
                report.add(place.violation(Rule::Required, path, vec![element.text()]));
            }
        }
        let one_of = [
            (&self.author, Rule::Author, author_elements(structure)),
            (&self.encounter, Rule::Encounter, encounter_elements(structure)),
        ];
        for (types, rule, elements) in one_of {
            let named = |name: &&str| place.node.get(name).is_some_and(names_somebody);
            let is_itself = rule == Rule::Encounter && kind == "Encounter";
            if types.has(kind) && !elements.is_empty() && !is_itself && !elements.iter().any(named)
            {
                let elements = elements.into_iter().map(str::to_owned).collect();
                report.add(place.violation(rule, place.path(), elements));
            }
        }
        let labels = ["meta", "security"];
        if self.security_labels.has(kind) && place.node.at(&labels).is_none() {
            let path = format!("{}.meta.security", place.path());
            report.add(place.violation(Rule::SecurityLabels, path, vec!["meta.security".into()]));
        }
    }
}
