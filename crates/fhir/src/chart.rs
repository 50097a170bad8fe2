//! One chart out of the documents of all authors: medicines taken now, problems, allergies, immunizations.
//!
//! Nothing is decided silently: what several authors say of one thing stands in one line with all its
//! sources, and where they disagree the line says so. Values are shown as they are written.

mod changes;
mod concept;
mod conflict;
mod group;
mod ingredients;
mod ips;
mod list;
mod medicine;
mod out;
mod read;
mod rules;
mod span;

use std::{borrow::Cow, collections::BTreeMap, fmt};

use alloy_primitives::Address;
use galen_types::{RecordId, VersionId};
use serde::Serialize;

use crate::{Document, Node};

pub use self::{
    changes::{Change, ChangeKind, Departed},
    concept::Coding,
    conflict::{Conflict, ConflictKind},
    ingredients::{Ingredients, IngredientsError, MAX_INGREDIENT_ROWS},
    out::ExportTerms,
};
use self::{
    concept::{Concept, Keys},
    span::Span,
};

/// A document of the chart, and where it comes from.
#[derive(Clone, Debug)]
pub struct Source<'d, 'a> {
    /// The document.
    pub document: &'d Document<'a>,
    /// Where it comes from.
    pub origin: Origin,
}

/// The version of a record that a document is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The record.
    pub record: RecordId,
    /// Its version.
    pub version: VersionId,
    /// Who wrote and signed it.
    pub author: Author,
    /// Unix second at which the author proposed it.
    pub proposed: u64,
    /// Unix second at which the patient accepted it: since then it is in the chart.
    pub entered: u64,
    /// What became of the version, as `galen record list` says it.
    pub state: &'static str,
    /// What is known of the author's signature.
    pub signature: SignatureState,
}

/// An organization.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Author {
    /// Its id.
    pub id: Address,
    /// Its name in the reader's book of contacts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#x}", self.id),
        }
    }
}

/// What is known of the author's signature under a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureState {
    /// The document is signed by parts, and the signature is the author's.
    ByParts,
    /// The document is signed by parts by somebody else than the record's author, a clinician for example, or
    /// by an account that is not known to have been the controller.
    OtherSigner,
    /// The author signed the proposal, which commits to every byte; the document itself carries no signature.
    InProposal,
    /// The document carries a signature that does not hold.
    Broken,
}

impl SignatureState {
    /// The word for machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ByParts => "by-parts",
            Self::OtherSigner => "other-signer",
            Self::InProposal => "in-proposal",
            Self::Broken => "broken",
        }
    }
}

/// A part of the chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Section {
    /// `MedicationStatement`, `MedicationRequest`, `MedicationDispense`, `MedicationAdministration`.
    Medications,
    /// `Condition`.
    Problems,
    /// `AllergyIntolerance`.
    Allergies,
    /// `Immunization`.
    Immunizations,
}

impl Section {
    /// Every section, in the order of the chart.
    pub const ALL: [Self; 4] =
        [Self::Medications, Self::Problems, Self::Allergies, Self::Immunizations];

    /// The word for machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Medications => "medications",
            Self::Problems => "problems",
            Self::Allergies => "allergies",
            Self::Immunizations => "immunizations",
        }
    }

    /// The section that resources of a type stand in.
    pub fn of_type(resource_type: &str) -> Option<Self> {
        match resource_type {
            "MedicationStatement"
            | "MedicationRequest"
            | "MedicationDispense"
            | "MedicationAdministration" => Some(Self::Medications),
            "Condition" => Some(Self::Problems),
            "AllergyIntolerance" => Some(Self::Allergies),
            "Immunization" => Some(Self::Immunizations),
            _ => None,
        }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one resource says of its thing at the time of the chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Claim {
    /// It holds: the medicine is taken, the problem is there, the vaccine was given.
    Present,
    /// It neither says that it holds nor that it does not: on hold, planned, unconfirmed.
    Open,
    /// It happened, and says nothing about today: a medicine was given or handed over.
    Event,
    /// It held, and has ended.
    Ended,
    /// It must not be: a medicine not to be given, a vaccine not given.
    Not,
    /// There is nothing of the kind: no known allergies.
    Nothing,
    /// It was looked into, and is not so.
    RuledOut,
}

/// What all resources about one thing say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It holds, and nobody says otherwise.
    Present,
    /// Nobody says clearly that it holds, or they disagree.
    Unclear,
    /// There is nothing of the kind, or it must not be.
    Absent,
    /// It has ended.
    Past,
}

impl Standing {
    /// The word for machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Unclear => "unclear",
            Self::Absent => "absent",
            Self::Past => "past",
        }
    }

    /// Whether it belongs to what is known of the patient now, and not only to the history.
    pub const fn is_listed(self) -> bool {
        !matches!(self, Self::Past)
    }
}

/// Why a resource stands in no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotShown {
    /// Its author says that it was entered in error.
    EnteredInError,
    /// Everybody who mentions it rules it out.
    RuledOut,
    /// The same author proposed a newer state of the same resource later.
    Replaced,
}

/// One resource, with every record that holds a copy of it.
#[derive(Clone, Serialize)]
pub struct Entry<'a> {
    /// The section of its type.
    pub section: Section,
    /// Its type.
    pub resource_type: &'static str,
    /// What it is about.
    pub what: String,
    /// The codes of that.
    pub codings: Vec<Coding>,
    /// What it says.
    pub claim: Claim,
    /// Its status in its own words.
    pub status: String,
    /// Since when, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Until when, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Dose, criticality, lot: as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Unix second at which it came into the chart.
    pub entered: u64,
    /// Indexes of its origins; more than one if several records hold the same bytes.
    pub origins: Vec<usize>,
    #[serde(skip)]
    pub(crate) facts: Facts<'a>,
}

/// What an entry is compared by.
#[derive(Clone)]
pub(crate) struct Facts<'a> {
    pub(crate) resource: Node<'a>,
    pub(crate) full_url: Option<Cow<'a, str>>,
    /// The Medication that it refers to in another resource.
    pub(crate) medication: Option<Held<'a>>,
    pub(crate) author: Address,
    /// Last time that it was proposed.
    pub(crate) proposed: u64,
    /// `Type/id`, or its globally unique URL.
    pub(crate) identity: Option<String>,
    pub(crate) keys: Keys,
    pub(crate) since: Option<Span>,
    pub(crate) until: Option<Span>,
    pub(crate) dose: read::Dose,
    /// What a negation or an allergy is about: `medication`, `food`, …
    pub(crate) scope: Vec<String>,
    pub(crate) criticality: Option<String>,
    /// Whether an end means the thing, and not only this prescription.
    pub(crate) ends_all: bool,
    pub(crate) no_information: bool,
    pub(crate) unresolved: bool,
}

/// A resource that goes along in an export.
#[derive(Clone)]
pub(crate) struct Held<'a> {
    pub(crate) author: Address,
    pub(crate) full_url: Option<Cow<'a, str>>,
    pub(crate) node: Node<'a>,
}

/// One thing, with everything that is said about it.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The section.
    pub section: Section,
    /// What all say together.
    pub standing: Standing,
    /// What it is, as the newest entry that counts calls it.
    pub what: String,
    /// Every code that is used for it.
    pub codings: Vec<Coding>,
    /// The earliest start, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// For what is past: the latest end, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Doses, criticality, lots of the entries that count, as written.
    pub details: Vec<String>,
    /// Where the sources disagree.
    pub conflicts: Vec<Conflict>,
    /// Indexes of its entries, in the order in which they were entered.
    pub entries: Vec<usize>,
}

/// One chart of what several authors wrote.
#[derive(Clone, Serialize)]
pub struct ReconciledChart<'a> {
    /// Unix second for which it holds.
    pub at: u64,
    /// The documents, in the order in which they were entered.
    pub origins: Vec<Origin>,
    /// Every resource of the four kinds that counts, in the order in which they were entered.
    pub entries: Vec<Entry<'a>>,
    /// The things they are about, by section, standing and name.
    pub lines: Vec<Line>,
    /// Resources of the four kinds in no line, by reason.
    pub not_shown: BTreeMap<NotShown, usize>,
    #[serde(skip)]
    pub(crate) patients: Vec<Held<'a>>,
    /// Entries in no line.
    #[serde(skip)]
    pub(crate) hidden: Vec<Entry<'a>>,
}

impl<'a> ReconciledChart<'a> {
    /// Reconciles documents as of the Unix second `at`: what they say then, by their own dates. Which
    /// documents were in the chart then is for the caller to say.
    ///
    /// The order of `sources` does not matter.
    pub fn new(sources: &[Source<'_, 'a>], ingredients: &Ingredients, at: u64) -> Self {
        let mut order: Vec<&Source<'_, 'a>> = sources.iter().collect();
        order.sort_by_key(|source| {
            let Origin { entered, proposed, record, version, .. } = source.origin;
            (entered, proposed, record, version)
        });
        let read = read::read(&order, ingredients, at);
        let mut chart = Self {
            at,
            origins: order.iter().map(|source| source.origin.clone()).collect(),
            entries: read.entries,
            lines: Vec::new(),
            not_shown: BTreeMap::new(),
            patients: read.patients,
            hidden: Vec::new(),
        };
        chart.hide(read.void, NotShown::EnteredInError);
        chart.hide(read.replaced, NotShown::Replaced);
        group::group(&mut chart);
        conflict::compare(&mut chart);
        chart
    }

    /// The lines of a section, present ones first.
    pub fn section(&self, section: Section) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(move |line| line.section == section)
    }

    /// The origins of a line, each once, in the order in which they were entered.
    pub fn origins_of(&self, line: &Line) -> Vec<&Origin> {
        let mut found: Vec<usize> =
            line.entries.iter().flat_map(|entry| &self.entries[*entry].origins).copied().collect();
        found.sort_unstable();
        found.dedup();
        found.into_iter().map(|at| &self.origins[at]).collect()
    }

    fn hide(&mut self, entries: Vec<Entry<'a>>, why: NotShown) {
        if !entries.is_empty() {
            *self.not_shown.entry(why).or_default() += entries.len();
            self.hidden.extend(entries);
        }
    }
}

/// Shows no health data.
impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({}, {} origins)", self.resource_type, self.origins.len())
    }
}

/// Shows no health data.
impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({}, entries {:?})", self.section, self.entries)
    }
}

/// Shows no health data.
impl fmt::Debug for ReconciledChart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (documents, entries) = (self.origins.len(), self.entries.len());
        write!(f, "ReconciledChart({documents} documents, {entries} resources)")
    }
}
