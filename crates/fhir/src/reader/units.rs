//! What the reader notes of each resource while it checks it.

use std::ops::Range;

use crate::{
    json::Text,
    labels::{Labels, Place},
};

use super::{Reader, Seen, Step};

/// What the reader keeps of one resource: the unit that is sorted into drafts.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) span: Range<usize>,
    pub(crate) resource_type: &'static str,
    pub(crate) full_url: Option<Text>,
    pub(crate) id: Option<Text>,
    /// `encounter`, `context` or the first `context.encounter`.
    pub(crate) encounter: Option<Text>,
    /// The first `item.encounter`, for claims.
    pub(crate) item_encounter: Option<Text>,
    pub(crate) references: Vec<Reference>,
    pub(crate) labels: Labels,
}

/// A reference of a resource, contained resources included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reference {
    pub(crate) text: Text,
    pub(crate) carries: Carries,
}

/// What a reference carries beside sensitivity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carries {
    Nothing,
    /// `result` of a report, `hasMember` of an observation.
    Results,
    /// The URL of an attachment, which may mean a Binary.
    File,
}

impl Reader<'_> {
    pub(super) fn begin_unit(&mut self, resource_type: &'static str) {
        self.unit_path = Some(self.path.len());
        self.units.push(Unit {
            span: 0..0,
            resource_type,
            full_url: None,
            id: None,
            encounter: None,
            item_encounter: None,
            references: Vec::new(),
            labels: Labels::default(),
        });
    }

    /// Names of the path below the present unit, without positions in arrays.
    fn place(&self) -> impl DoubleEndedIterator<Item = &'static str> {
        // Outside units only the outermost Bundle is left, whose name is the first step.
        let from = self.unit_path.unwrap_or(1);
        self.path.get(from..).unwrap_or_default().iter().filter_map(|step| match step {
            Step::Name(name) => Some(*name),
            Step::Index(_) => None,
        })
    }

    pub(super) fn note_coding(&mut self, seen: &Seen) {
        let Some(code) = seen.second else { return };
        let is_label = self.place().rev().take(2).eq(["security", "meta"]);
        let first = self.place().next();
        let place = match first {
            _ if is_label => Place::SecurityLabel,
            Some("category") => Place::Category,
            Some("code") => Place::Code,
            _ => Place::Elsewhere,
        };
        let (bytes, codes) = (self.lexer.bytes, self.codes);
        let system = seen.first.map(|text| text.decode(bytes)).unwrap_or_default();
        let code = code.decode(bytes);
        match self.units.last_mut().filter(|_| self.unit_path.is_some()) {
            // What a consent speaks about is not yet a fact about the patient.
            Some(unit) if unit.resource_type == "Consent" && first == Some("provision") => {}
            Some(unit) => unit.labels.add(codes, place, &system, &code),
            None if is_label && self.nesting == 1 => self.outer.add(codes, place, &system, &code),
            None => {}
        }
    }

    pub(super) fn note_reference(&mut self, seen: &Seen) {
        let Some(reference) = seen.first else { return };
        let direct = self.place().eq(["encounter"])
            || self.place().eq(["context"])
            || self.place().eq(["context", "encounter"]);
        let item = self.place().eq(["item", "encounter"]);
        let (result, member) = (self.place().eq(["result"]), self.place().eq(["hasMember"]));
        let Some(unit) = self.units.last_mut().filter(|_| self.unit_path.is_some()) else { return };
        if direct {
            unit.encounter = unit.encounter.or(Some(reference));
        } else if item {
            unit.item_encounter = unit.item_encounter.or(Some(reference));
        }
        let carries = match unit.resource_type {
            "DiagnosticReport" if result => Carries::Results,
            "Observation" if member => Carries::Results,
            _ => Carries::Nothing,
        };
        // Also those above: what is called an encounter there may be something else.
        unit.references.push(Reference { text: reference, carries });
    }

    pub(super) fn note_attachment(&mut self, seen: &Seen) {
        let Some(text) = seen.first else { return };
        if let Some(unit) = self.units.last_mut().filter(|_| self.unit_path.is_some()) {
            unit.references.push(Reference { text, carries: Carries::File });
        }
    }
}
