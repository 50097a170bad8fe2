//! Entries that mean the same thing become one line.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Claim, Conflict, Entry, Line, NotShown, ReconciledChart, Section, Standing,
    concept::normalized, conflict,
};

/// Sets of entries that grow together (union by the lower index, so that the result has one form).
struct Sets(Vec<usize>);

impl Sets {
    fn root(&mut self, mut at: usize) -> usize {
        while self.0[at] != at {
            self.0[at] = self.0[self.0[at]];
            at = self.0[at];
        }
        at
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}

/// Makes the lines of a chart. Entries that everybody rules out leave it.
pub(super) fn group(chart: &mut ReconciledChart<'_>) {
    let groups = groups(&chart.entries);
    let ruled_out: BTreeSet<usize> = groups
        .iter()
        .filter(|group| group.iter().all(|it| chart.entries[*it].claim == Claim::RuledOut))
        .flatten()
        .copied()
        .collect();
    let (mut kept, mut out, mut places) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (at, entry) in std::mem::take(&mut chart.entries).into_iter().enumerate() {
        if ruled_out.contains(&at) {
            out.push(entry);
        } else {
            places.insert(at, kept.len());
            kept.push(entry);
        }
    }
    chart.entries = kept;
    chart.hide(out, NotShown::RuledOut);
    let groups = groups
        .iter()
        .map(|group| group.iter().filter_map(|at| places.get(at).copied()).collect::<Vec<usize>>());
    let lines = groups.filter(|group| !group.is_empty()).map(|group| line(&chart.entries, group));
    let mut lines: Vec<Line> = lines.collect();
    lines.sort_by_cached_key(|line| {
        (line.section, line.standing, normalized(&line.what), line.entries.clone())
    });
    chart.lines = lines;
}

/// Indexes of entries that belong together, in order.
fn groups(entries: &[Entry<'_>]) -> Vec<Vec<usize>> {
    let mut sets = Sets((0..entries.len()).collect());
    let mut first: BTreeMap<(Section, &str, &str), usize> = BTreeMap::new();
    for (at, entry) in entries.iter().enumerate() {
        let keys = &entry.facts.keys;
        let codes = keys.codes.iter().map(|key| ("code", key));
        let keys = codes.chain(keys.ingredients.iter().map(|key| ("ingredient", key)));
        for (kind, key) in keys {
            let known = *first.entry((entry.section, kind, key)).or_insert(at);
            sets.join(known, at);
        }
    }
    join_by_text(entries, &mut sets);
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for at in 0..entries.len() {
        groups.entry(sets.root(at)).or_default().push(at);
    }
    groups.into_values().collect()
}

/// Joins what has one text, unless a code system names the two apart. Decided on the groups by code alone, so
/// that no order among texts matters.
fn join_by_text(entries: &[Entry<'_>], sets: &mut Sets) {
    let roots: Vec<usize> = (0..entries.len()).map(|at| sets.root(at)).collect();
    let mut systems: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    let mut texts: BTreeMap<(Section, &str), BTreeSet<usize>> = BTreeMap::new();
    for (at, entry) in entries.iter().enumerate() {
        systems.entry(roots[at]).or_default().extend(entry.facts.keys.systems());
        for text in &entry.facts.keys.texts {
            texts.entry((entry.section, text)).or_default().insert(roots[at]);
        }
    }
    for groups in texts.values() {
        let mut seen = BTreeSet::new();
        let mut all = groups.iter().filter_map(|root| systems.get(root)).flatten();
        let apart = all.any(|system| !seen.insert(*system));
        let uncoded = |root: &&usize| systems.get(root).is_none_or(BTreeSet::is_empty);
        let joined: Vec<usize> =
            groups.iter().filter(|root| !apart || uncoded(root)).copied().collect();
        for pair in joined.windows(2) {
            sets.join(pair[0], pair[1]);
        }
    }
}

/// One line of entries that mean the same.
fn line(entries: &[Entry<'_>], group: Vec<usize>) -> Line {
    let of = |claims: &[Claim]| {
        let fits = |at: &&usize| claims.contains(&entries[**at].claim);
        group.iter().filter(fits).copied().collect::<Vec<usize>>()
    };
    let conflicts: Vec<Conflict> = conflict::within(entries, &group);
    let standing = standing(&of, &conflicts);
    let present = of(&[Claim::Present, Claim::Nothing]);
    let counting = if present.is_empty() { &group } else { &present };
    let newest = counting.iter().max_by_key(|at| (entries[**at].entered, **at));
    let mut codings: Vec<_> = group.iter().flat_map(|at| entries[*at].codings.clone()).collect();
    codings.sort_unstable();
    codings.dedup_by(|a, b| (&a.system, &a.code) == (&b.system, &b.code));
    let dated = counting.iter().filter(|at| entries[**at].since.is_some());
    let earliest = dated.min_by_key(|at| {
        let since = entries[**at].facts.since;
        (since.is_none(), since.map(|since| since.from), **at)
    });
    let ended = group.iter().filter(|at| entries[**at].until.is_some());
    let latest = ended.max_by_key(|at| (entries[**at].facts.until.map(|it| it.until), **at));
    let past = standing == Standing::Past;
    let details: BTreeSet<&String> =
        counting.iter().filter_map(|at| entries[*at].detail.as_ref()).collect();
    Line {
        section: entries[group[0]].section,
        standing,
        what: newest.map(|at| entries[*at].what.clone()).unwrap_or_default(),
        codings,
        since: earliest.and_then(|at| entries[*at].since.clone()),
        until: latest.filter(|_| past).and_then(|at| entries[*at].until.clone()),
        details: details.into_iter().cloned().collect(),
        conflicts,
        entries: group,
    }
}

fn standing(of: &impl Fn(&[Claim]) -> Vec<usize>, conflicts: &[Conflict]) -> Standing {
    let any = |claim| !of(&[claim]).is_empty();
    if conflicts.iter().any(|conflict| conflict.kind.makes_unclear()) {
        Standing::Unclear
    } else if any(Claim::Present) {
        Standing::Present
    } else if any(Claim::Open) {
        Standing::Unclear
    } else if any(Claim::Nothing) || any(Claim::Not) {
        Standing::Absent
    } else {
        Standing::Past
    }
}
