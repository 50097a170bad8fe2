//! From documents to entries: one for each resource of the four kinds, copies joined.

use std::{borrow::Cow, collections::HashMap};

use alloy_primitives::Address;

use crate::Node;

use super::{
    Claim, Concept, Entry, Facts, Held, Ingredients, Keys, Section, Source, Span,
    concept::{normalized, text},
    medicine::Medicines,
    rules::{self, Said},
};

/// What the documents hold.
pub(super) struct Read<'a> {
    pub(super) entries: Vec<Entry<'a>>,
    pub(super) void: Vec<Entry<'a>>,
    pub(super) replaced: Vec<Entry<'a>>,
    pub(super) patients: Vec<Held<'a>>,
}

/// How much of a medicine, in comparable form.
#[derive(Clone, Default)]
pub(crate) struct Dose {
    /// Quantities and times, numbers without trailing zeros.
    pub(crate) structured: Option<String>,
    /// The author's words, normalized.
    pub(crate) words: Option<String>,
}

/// Reads sources that stand in the order in which they were entered.
pub(super) fn read<'a>(
    sources: &[&Source<'_, 'a>],
    ingredients: &Ingredients,
    at: u64,
) -> Read<'a> {
    let medicines = Medicines::of(sources);
    let mut read =
        Read { entries: Vec::new(), void: Vec::new(), replaced: Vec::new(), patients: Vec::new() };
    let mut copies: HashMap<(Address, &'a str), usize> = HashMap::new();
    let mut all: Vec<(Entry<'a>, bool)> = Vec::new();
    for (place, source) in sources.iter().enumerate() {
        let author = source.origin.author.id;
        for resource in source.document.resources() {
            let Some(resource_type) = resource.node.resource_type() else { continue };
            if resource_type == "Patient" {
                let held = Held { author, full_url: resource.full_url, node: resource.node };
                read.patients.push(held);
                continue;
            }
            let Some(section) = Section::of_type(&resource_type) else { continue };
            if let Some(known) = copies.get(&(author, resource.node.raw())) {
                let (entry, _) = &mut all[*known];
                if entry.origins.last() != Some(&place) {
                    entry.origins.push(place);
                }
                entry.facts.proposed = entry.facts.proposed.max(source.origin.proposed);
                continue;
            }
            copies.insert((author, resource.node.raw()), all.len());
            let held = Held { author, full_url: resource.full_url, node: resource.node };
            let (mut entry, void) = entry(section, held, place, &medicines, ingredients, at);
            entry.entered = source.origin.entered;
            entry.facts.proposed = source.origin.proposed;
            entry.origins.push(place);
            all.push((entry, void));
        }
    }
    let newest = newest(&all);
    for (entry, void) in all {
        let key = entry.facts.identity.clone().map(|identity| (entry.facts.author, identity));
        if key.is_some_and(|key| newest.get(&key).is_some_and(|it| *it > entry.facts.proposed)) {
            read.replaced.push(entry);
        } else if void {
            read.void.push(entry);
        } else {
            read.entries.push(entry);
        }
    }
    read
}

/// When each resource was proposed last. Two states of the same time both count: nothing tells which is newer.
fn newest(all: &[(Entry<'_>, bool)]) -> HashMap<(Address, String), u64> {
    let mut newest: HashMap<(Address, String), u64> = HashMap::new();
    for (entry, _) in all {
        if let Some(identity) = &entry.facts.identity {
            let last = newest.entry((entry.facts.author, identity.clone())).or_default();
            *last = (*last).max(entry.facts.proposed);
        }
    }
    newest
}

/// One entry without its origins, and whether it was entered in error.
fn entry<'a>(
    section: Section,
    held: Held<'a>,
    place: usize,
    medicines: &Medicines<'a>,
    ingredients: &Ingredients,
    at: u64,
) -> (Entry<'a>, bool) {
    let Held { author, full_url, node } = held;
    let resource_type = type_name(section, node);
    let (concept, medication, unresolved) = match section {
        Section::Medications => medicines.name(author, place, node),
        _ => (concept_of(section, node), None, false),
    };
    let at = i64::try_from(at).unwrap_or(i64::MAX);
    let Said { claim, status, since, until, detail, dose, ends_all, scope, criticality } =
        rules::said(resource_type, node, at);
    let negation = rules::negation(section, &concept);
    let no_information = rules::says_nothing(&concept);
    let claim = match claim {
        Some(_) if no_information => Some(Claim::Open),
        Some(Claim::Present) if negation.is_some() => Some(Claim::Nothing),
        claim => claim,
    };
    let mut keys = Keys::of(&concept, ingredients);
    let since_span = since.as_deref().and_then(Span::of);
    if section == Section::Immunizations {
        keys = dated(keys, since.as_deref());
    }
    let identity = identity(resource_type, node, full_url.as_deref());
    let facts = Facts {
        resource: node,
        full_url,
        medication,
        author,
        proposed: 0,
        identity,
        keys,
        since: since_span,
        until: until.1.or_else(|| until.0.as_deref().and_then(Span::of)),
        dose,
        scope: negation.map_or(scope, |scope| vec![scope.to_owned()]),
        criticality,
        ends_all,
        no_information,
        unresolved,
    };
    let void = claim.is_none();
    let what = if concept.name.is_empty() { "not named".to_owned() } else { concept.name };
    let entry = Entry {
        section,
        resource_type,
        what,
        codings: concept.codings,
        claim: claim.unwrap_or(Claim::RuledOut),
        status,
        since,
        until: until.0,
        detail,
        entered: 0,
        origins: Vec::new(),
        facts,
    };
    (entry, void)
}

/// A vaccine is given on a day: the same on another day is another dose.
fn dated(keys: Keys, since: Option<&str>) -> Keys {
    let day = since
        .and_then(Span::of)
        .map_or_else(|| normalized(since.unwrap_or_default()), |span| span.day().to_string());
    let dated = |texts: std::collections::BTreeSet<String>, between: &str| {
        texts.into_iter().map(|text| format!("{text}{between}{day}")).collect()
    };
    // The system stays in front of the bar, for the comparison of systems.
    Keys {
        codes: dated(keys.codes, " on "),
        ingredients: dated(keys.ingredients, " on "),
        texts: dated(keys.texts, " on "),
    }
}

fn type_name(section: Section, node: Node<'_>) -> &'static str {
    match section {
        Section::Problems => "Condition",
        Section::Allergies => "AllergyIntolerance",
        Section::Immunizations => "Immunization",
        Section::Medications => match node.resource_type().as_deref() {
            Some("MedicationRequest") => "MedicationRequest",
            Some("MedicationDispense") => "MedicationDispense",
            Some("MedicationAdministration") => "MedicationAdministration",
            _ => "MedicationStatement",
        },
    }
}

fn concept_of(section: Section, node: Node<'_>) -> Concept {
    let name = if section == Section::Immunizations { "vaccineCode" } else { "code" };
    let concept = node.get(name).map(Concept::read).unwrap_or_default();
    if section != Section::Allergies || !concept.is_empty() {
        return concept;
    }
    // An allergy may name its substance only where it says what happened.
    let reactions = node.get("reaction").into_iter().flat_map(Node::items);
    let substances = reactions.filter_map(|reaction| reaction.get("substance")).map(Concept::read);
    substances
        .reduce(|mut all, one| {
            all.join(&one);
            all
        })
        .unwrap_or_default()
}

/// What makes a resource the same one in another state, at one author.
fn identity(resource_type: &str, node: Node<'_>, full_url: Option<&str>) -> Option<String> {
    let id = text(node, "id").map(|id| format!("{resource_type}/{id}"));
    id.or_else(|| full_url.filter(|url| is_unique(url)).map(str::to_owned))
}

/// Whether a URL is one of its kind everywhere, and not a number in one document.
fn is_unique(url: &str) -> bool {
    const UUID_LEN: usize = 36;
    let uuid = url.strip_prefix("urn:uuid:").is_some_and(|uuid| uuid.len() == UUID_LEN);
    uuid || url.starts_with("https://") || url.starts_with("http://")
}

/// A member that is a string, as it is written.
pub(super) fn owned(node: Node<'_>, name: &str) -> Option<String> {
    text(node, name).map(Cow::into_owned)
}
