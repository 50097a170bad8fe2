//! What the references between the resources of one document carry: sensitivity, results, encounters.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
};

use crate::{
    Category,
    json::Text,
    reader::{Carries, Unit},
};

/// One reference from a resource of the document to another, both by index.
#[derive(Clone, Copy, Debug)]
struct Link {
    from: usize,
    to: usize,
    carries: Carries,
}

/// The references that lead to a resource of the same document, ascending by where they start.
#[derive(Debug)]
pub(crate) struct Links(Vec<Link>);

impl Links {
    pub(crate) fn new(index: &Index<'_>, units: &[Unit]) -> Self {
        let mut links = Vec::new();
        for (from, unit) in units.iter().enumerate() {
            for reference in &unit.references {
                let targets = index.resolve(reference.text).filter(|to| *to != from);
                links.extend(targets.map(|to| Link { from, to, carries: reference.carries }));
            }
        }
        Self(links)
    }

    /// Where each reference starts and leads to. The URL of an attachment is none.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let is_reference = |link: &&Link| link.carries != Carries::File;
        self.0.iter().filter(is_reference).map(|link| (link.from, link.to))
    }

    /// The category of each unit.
    pub(crate) fn categories(&self, units: &[Unit]) -> Vec<Category> {
        let mut sensitive: Vec<Option<Category>> =
            units.iter().map(|unit| unit.labels.sensitive).collect();
        // Down first, and only what a resource says itself: through lists and provenance, which refer to
        // everything, one label would reach all files of the document.
        for link in self.0.iter().filter(|link| is_opaque(units[link.to].resource_type)) {
            let said = units[link.from].labels.sensitive;
            sensitive[link.to] = most_sensitive(sensitive[link.to], said);
        }
        self.raise(units, &mut sensitive);
        let category = |(unit, sensitive): (&Unit, Option<Category>)| {
            sensitive.unwrap_or_else(|| unit.labels.category(unit.resource_type))
        };
        units.iter().zip(sensitive).map(category).collect()
    }

    /// Makes each unit as sensitive as what it refers to, until nothing changes. A unit can rise once for
    /// each sensitive category, so that this ends.
    fn raise(&self, units: &[Unit], sensitive: &mut [Option<Category>]) {
        let mut up: Vec<(usize, usize)> = self.0.iter().map(|link| (link.to, link.from)).collect();
        up.retain(|(to, _)| !is_neutral(units[*to].resource_type));
        up.sort_unstable();
        let mut open: Vec<usize> =
            (0..units.len()).filter(|unit| sensitive[*unit].is_some()).collect();
        while let Some(to) = open.pop() {
            let start = up.partition_point(|(target, _)| *target < to);
            for (_, from) in up[start..].iter().take_while(|(target, _)| *target == to) {
                let raised = most_sensitive(sensitive[*from], sensitive[to]);
                if raised != sensitive[*from] {
                    sensitive[*from] = raised;
                    open.push(*from);
                }
            }
        }
    }

    /// The observations that the reports among `own` bring: their results, and the members of those, as far
    /// as they are not sensitive.
    pub(crate) fn brought(
        &self,
        units: &[Unit],
        categories: &[Category],
        own: &BTreeSet<usize>,
    ) -> BTreeSet<usize> {
        let mut brought = BTreeSet::new();
        let mut open: Vec<usize> = own.iter().copied().collect();
        while let Some(from) = open.pop() {
            let start = self.0.partition_point(|link| link.from < from);
            let links = self.0[start..].iter().take_while(|link| link.from == from);
            for link in links.filter(|link| link.carries == Carries::Results) {
                let to = link.to;
                let fits =
                    units[to].resource_type == "Observation" && !categories[to].is_sensitive();
                if fits && !own.contains(&to) && brought.insert(to) {
                    open.push(to);
                }
            }
        }
        brought
    }
}

fn most_sensitive(a: Option<Category>, b: Option<Category>) -> Option<Category> {
    let rank = |category: Option<Category>| category.map_or(0, Category::sensitivity);
    if rank(b) > rank(a) { b } else { a }
}

/// Who and where, not what: nearly everything refers to them, so that one sensitive fact would make the
/// whole chart sensitive.
fn is_neutral(resource_type: &str) -> bool {
    matches!(
        resource_type,
        "Device"
            | "Encounter"
            | "Endpoint"
            | "EpisodeOfCare"
            | "Group"
            | "Location"
            | "Organization"
            | "Patient"
            | "Person"
            | "Practitioner"
            | "PractitionerRole"
            | "RelatedPerson"
    )
}

/// What they tell lies in text and pictures, which no code table reads.
fn is_opaque(resource_type: &str) -> bool {
    matches!(resource_type, "Binary" | "DocumentReference" | "Media" | "QuestionnaireResponse")
}

/// What an encounter is known by.
#[derive(PartialEq, Eq, Hash)]
pub(crate) enum Encounter<'a> {
    /// The unit at this index.
    Here(usize),
    /// A reference to an encounter outside the document.
    Elsewhere(Cow<'a, str>),
}

/// Finds the units that a reference means.
pub(crate) struct Index<'a> {
    bytes: &'a [u8],
    units: &'a [Unit],
    /// The first unit under each key.
    keys: HashMap<Cow<'a, str>, usize>,
    /// The other units under a key, which a faulty document may have.
    more: HashMap<Cow<'a, str>, Vec<usize>>,
}

impl<'a> Index<'a> {
    pub(crate) fn new(bytes: &'a [u8], units: &'a [Unit]) -> Self {
        let keys = HashMap::with_capacity(2 * units.len());
        let mut index = Self { bytes, units, keys, more: HashMap::new() };
        for (at, unit) in units.iter().enumerate() {
            if let Some(url) = unit.full_url {
                index.put(url.decode(bytes), at);
            }
            if let Some(id) = unit.id {
                index.put(format!("{}/{}", unit.resource_type, id.decode(bytes)).into(), at);
            }
        }
        index
    }

    fn put(&mut self, key: Cow<'a, str>, at: usize) {
        match self.keys.get(&key) {
            None => drop(self.keys.insert(key, at)),
            Some(first) if *first == at => {}
            Some(_) => self.more.entry(key).or_default().push(at),
        }
    }

    /// Looks for the full URL, then for `Type/id`, which also ends an absolute URL. Several units under one
    /// key are all meant, since nobody can tell which.
    pub(crate) fn resolve(&self, reference: Text) -> impl Iterator<Item = usize> {
        let text = reference.decode(self.bytes);
        let text = bare(&text);
        let key = if self.keys.contains_key(text) { Some(text) } else { last_two(text) };
        let first = key.and_then(|key| self.keys.get(key)).copied();
        let more = key.and_then(|key| self.more.get(key)).map_or(&[][..], Vec::as_slice);
        first.into_iter().chain(more.iter().copied())
    }

    pub(crate) fn encounter(&self, reference: Text) -> Option<Encounter<'a>> {
        if let Some(at) = self.resolve(reference).next() {
            return (self.units[at].resource_type == "Encounter").then_some(Encounter::Here(at));
        }
        let text = match reference.decode(self.bytes) {
            Cow::Borrowed(text) => Cow::Borrowed(bare(text)),
            Cow::Owned(text) => Cow::Owned(bare(&text).to_owned()),
        };
        // `context` may also name an episode of care; a fragment is contained and so no record.
        let other = text.starts_with('#') || text.contains("EpisodeOfCare/");
        (!other).then_some(Encounter::Elsewhere(text))
    }
}

/// Without a version, and without the place inside the resource.
fn bare(reference: &str) -> &str {
    let whole = match reference.find('#') {
        Some(at) if at > 0 => &reference[..at],
        _ => reference,
    };
    whole.split_once("/_history/").map_or(whole, |(unversioned, _)| unversioned)
}

/// `Type/id` at the end of an absolute URL.
fn last_two(reference: &str) -> Option<&str> {
    let (head, _) = reference.rsplit_once('/')?;
    let (base, _) = head.rsplit_once('/')?;
    Some(&reference[base.len() + 1..])
}
