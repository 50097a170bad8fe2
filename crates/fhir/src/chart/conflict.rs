//! Where sources disagree. A conflict is shown with both sides, and nobody's word is taken for the other's.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    Claim, Entry, Line, ReconciledChart, Section, Standing,
    concept::{contains_words, normalized},
};

/// What sources disagree about, or what does not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConflictKind {
    /// One says that it holds, another that it has ended.
    PresentAndEnded,
    /// One says that it holds, another rules it out.
    PresentAndRuledOut,
    /// One says that it holds or was done, another that it must not be or was not done.
    PresentAndNot,
    /// Those who say that a medicine is taken name different doses.
    Dose,
    /// Different criticality of an allergy.
    Criticality,
    /// Something is listed that somebody says there is none of.
    ListedAndNone,
    /// A medicine is taken now, and an allergy to it is listed.
    AllergyToMedicine,
    /// Its author no longer stands behind the record.
    Disowned,
    /// A reference to the medicine leads nowhere.
    Unresolved,
}

impl ConflictKind {
    /// The word for machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PresentAndEnded => "present-and-ended",
            Self::PresentAndRuledOut => "present-and-ruled-out",
            Self::PresentAndNot => "present-and-not",
            Self::Dose => "dose",
            Self::Criticality => "criticality",
            Self::ListedAndNone => "listed-and-none",
            Self::AllergyToMedicine => "allergy-to-medicine",
            Self::Disowned => "disowned",
            Self::Unresolved => "unresolved",
        }
    }

    /// Whether it leaves open if the thing holds at all.
    pub(crate) const fn makes_unclear(self) -> bool {
        matches!(self, Self::PresentAndEnded | Self::PresentAndRuledOut | Self::PresentAndNot)
    }
}

/// One disagreement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Conflict {
    /// About what.
    pub kind: ConflictKind,
    /// The entries on both sides.
    pub entries: Vec<usize>,
}

/// Conflicts inside one line.
pub(super) fn within(entries: &[Entry<'_>], group: &[usize]) -> Vec<Conflict> {
    let of = |claim: Claim| group.iter().copied().filter(move |at| entries[*at].claim == claim);
    let mut found = Vec::new();
    let mut add = |kind, sides: BTreeSet<usize>| {
        if !sides.is_empty() {
            found.push(Conflict { kind, entries: sides.into_iter().collect() });
        }
    };
    let present: Vec<usize> = of(Claim::Present).collect();
    let mut ended = BTreeSet::new();
    for at in &present {
        let against = of(Claim::Ended).filter(|it| contradicts(&entries[*at], &entries[*it]));
        let against: Vec<usize> = against.collect();
        if !against.is_empty() {
            ended.insert(*at);
            ended.extend(against);
        }
    }
    add(ConflictKind::PresentAndEnded, ended);
    let both = |claim| {
        let others: Vec<usize> = of(claim).collect();
        if others.is_empty() { BTreeSet::new() } else { both(&present, &others) }
    };
    add(ConflictKind::PresentAndRuledOut, both(Claim::RuledOut));
    add(ConflictKind::PresentAndNot, both(Claim::Not));
    add(ConflictKind::Dose, differing_doses(entries, &present));
    let levels: BTreeSet<_> =
        present.iter().filter_map(|at| entries[*at].facts.criticality.as_ref()).collect();
    let several =
        if levels.len() > 1 { present.iter().copied().collect() } else { BTreeSet::new() };
    add(ConflictKind::Criticality, several);
    let unresolved = group.iter().copied().filter(|at| entries[*at].facts.unresolved);
    add(ConflictKind::Unresolved, unresolved.collect());
    found
}

fn both(a: &[usize], b: &[usize]) -> BTreeSet<usize> {
    if a.is_empty() { BTreeSet::new() } else { a.iter().chain(b).copied().collect() }
}

/// Whether `ended` may be about what `present` says still holds, and not about an earlier time.
fn contradicts(present: &Entry<'_>, ended: &Entry<'_>) -> bool {
    if !ended.facts.ends_all {
        return false;
    }
    let start = present.facts.since.map(|since| since.from);
    if present.facts.author == ended.facts.author {
        // An author keeps its own list: what began later replaces what began before.
        let before = ended.facts.since.map(|since| since.from);
        return match (start, before) {
            (Some(start), Some(before)) => before >= start,
            _ => true,
        };
    }
    // It had ended by its date, or at the latest when it came into the chart.
    let entered = i64::try_from(ended.entered).unwrap_or(i64::MAX);
    let known = ended.facts.until.map_or(entered, |until| until.until);
    start.is_none_or(|start| start < known)
}

/// The entries whose doses differ, if any do. Quantities are compared with quantities and words with words: that
/// `1 tablet` and `500 mg` differ nobody can say.
fn differing_doses(entries: &[Entry<'_>], present: &[usize]) -> BTreeSet<usize> {
    let dose = |at: &usize| &entries[*at].facts.dose;
    let medicines = present.iter().filter(|at| entries[**at].section == Section::Medications);
    let medicines: Vec<usize> = medicines.copied().collect();
    let quantities: BTreeSet<_> =
        medicines.iter().filter_map(|at| dose(at).structured.as_ref()).collect();
    let only_words = |at: &&usize| dose(at).structured.is_none();
    let words: BTreeSet<_> =
        medicines.iter().filter(only_words).filter_map(|at| dose(at).words.as_ref()).collect();
    if quantities.len() > 1 || words.len() > 1 {
        let told = |at: &usize| dose(at).structured.is_some() || dose(at).words.is_some();
        return medicines.into_iter().filter(told).collect();
    }
    BTreeSet::new()
}

/// Conflicts between lines, and those with an author who took something back.
pub(super) fn compare(chart: &mut ReconciledChart<'_>) {
    let mut found: Vec<(usize, Conflict)> = Vec::new();
    for section in Section::ALL {
        none_and_listed(chart, section, &mut found);
    }
    allergies_to_medicines(chart, &mut found);
    for (at, line) in chart.lines.iter().enumerate() {
        let disowned = |entry: &&usize| {
            let mut origins = chart.entries[**entry].origins.iter();
            origins.all(|origin| chart.origins[*origin].state == "disowned")
        };
        let entries: Vec<usize> = line.entries.iter().filter(disowned).copied().collect();
        if !entries.is_empty() {
            found.push((at, Conflict { kind: ConflictKind::Disowned, entries }));
        }
    }
    for (at, conflict) in found {
        chart.lines[at].conflicts.push(conflict);
    }
    for line in &mut chart.lines {
        line.conflicts.sort_unstable();
    }
}

/// Whether a line says that something of its section is there, or may be.
fn lists(line: &Line) -> bool {
    matches!(line.standing, Standing::Present | Standing::Unclear)
}

fn none_and_listed(
    chart: &ReconciledChart<'_>,
    section: Section,
    found: &mut Vec<(usize, Conflict)>,
) {
    let lines = || chart.lines.iter().enumerate().filter(|(_, line)| line.section == section);
    let nothing = |at: &usize| chart.entries[*at].claim == Claim::Nothing;
    for (none, negation) in lines().filter(|(_, line)| line.entries.iter().any(nothing)) {
        let scope = negation.entries.iter().filter(|at| nothing(at));
        let scope: BTreeSet<&String> =
            scope.flat_map(|at| &chart.entries[*at].facts.scope).collect();
        let concerned = lines().filter(|(at, line)| {
            let concerns = |entry: &usize| {
                let facts = &chart.entries[*entry].facts;
                let within = facts.scope.iter().any(|it| scope.contains(it));
                let open = scope.iter().any(|it| *it == "any") || facts.scope.is_empty();
                !facts.no_information && (open || within)
            };
            *at != none && lists(line) && line.entries.iter().any(concerns)
        });
        let concerned: Vec<usize> = concerned.map(|(at, _)| at).collect();
        for at in concerned {
            let (a, b) = (&negation.entries, &chart.lines[at].entries);
            let entries: Vec<usize> = both(a, b).into_iter().collect();
            let conflict = Conflict { kind: ConflictKind::ListedAndNone, entries };
            found.push((none, conflict.clone()));
            found.push((at, conflict));
        }
    }
}

fn allergies_to_medicines(chart: &ReconciledChart<'_>, found: &mut Vec<(usize, Conflict)>) {
    let listed = |section| {
        let lines = chart.lines.iter().enumerate();
        lines.filter(move |(_, line)| line.section == section && lists(line))
    };
    for (medicine, taken) in listed(Section::Medications) {
        for (allergy, line) in listed(Section::Allergies) {
            let meets = taken.entries.iter().any(|a| {
                let mut others = line.entries.iter().map(|b| &chart.entries[*b]);
                others.any(|allergy| is_to(allergy, &chart.entries[*a]))
            });
            if meets {
                let entries: Vec<usize> = both(&taken.entries, &line.entries).into_iter().collect();
                let conflict = Conflict { kind: ConflictKind::AllergyToMedicine, entries };
                found.push((medicine, conflict.clone()));
                found.push((allergy, conflict));
            }
        }
    }
}

/// Whether an allergy is to a medicine: by code, ingredient, or the name of the substance in the medicine's name.
fn is_to(allergy: &Entry<'_>, medicine: &Entry<'_>) -> bool {
    /// Shorter names of substances stand in other words and abbreviations.
    const MIN_LEN: usize = 4;
    if matches!(allergy.claim, Claim::Nothing | Claim::RuledOut) || allergy.facts.no_information {
        return false;
    }
    let (a, b) = (&allergy.facts.keys, &medicine.facts.keys);
    if !a.codes.is_disjoint(&b.codes) || !a.ingredients.is_disjoint(&b.ingredients) {
        return true;
    }
    let substances = a.texts.iter().map(|text| substance(text)).filter(|it| it.len() >= MIN_LEN);
    substances.chain(a.ingredients.iter().cloned()).any(|substance| {
        b.ingredients.contains(&substance)
            || b.texts.iter().any(|text| contains_words(text, &substance))
    })
}

/// `allergy to penicillin`, `penicillin allergy (disorder)`: the substance.
fn substance(text: &str) -> String {
    const NOT_NAMES: [&str; 12] = [
        "allergy",
        "allergic",
        "to",
        "the",
        "of",
        "substance",
        "disorder",
        "finding",
        "product",
        "intolerance",
        "hypersensitivity",
        "reaction",
    ];
    let words = normalized(text);
    words.split(' ').filter(|word| !NOT_NAMES.contains(word)).collect::<Vec<_>>().join(" ")
}
