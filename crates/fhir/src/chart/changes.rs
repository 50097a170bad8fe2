//! What changed between two charts of one patient, by whom and when.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use galen_types::RecordId;
use serde::Serialize;

use super::{Author, Entry, Line, ReconciledChart, Section, Standing};

/// A record that stood in the chart before and no longer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departed {
    /// The record.
    pub record: RecordId,
    /// Its author.
    pub author: Author,
    /// Unix second since which it is gone.
    pub at: u64,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// It is new, or holds again.
    Added,
    /// It stands, with something else in it.
    Changed,
    /// It has ended, was ruled out, or its record is gone.
    Removed,
}

impl ChangeKind {
    /// The word for machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

/// One line that changed.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What became of it.
    pub kind: ChangeKind,
    /// Its section.
    pub section: Section,
    /// What it is.
    pub what: String,
    /// How it stood before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Standing>,
    /// How it stands now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<Standing>,
    /// Who caused it.
    pub by: Author,
    /// Unix second at which it came into the chart, if it came by a record and not by the passing of time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<u64>,
    /// Index of the line as it was.
    #[serde(skip)]
    pub(crate) old: Option<usize>,
    /// Index of the line as it is.
    #[serde(skip)]
    pub(crate) new: Option<usize>,
}

/// Shows no health data.
impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Change({}, {:?})", self.section, self.kind)
    }
}

impl ReconciledChart<'_> {
    /// What changed since `before`, in the order of the chart.
    pub fn changes_since(
        &self,
        before: &ReconciledChart<'_>,
        departed: &[Departed],
    ) -> Vec<Change> {
        let matches = matches(before, self);
        let mut changes = Vec::new();
        let mut met = BTreeSet::new();
        for (new, line) in self.lines.iter().enumerate() {
            let olds = matches.get(&new).into_iter().flatten();
            met.extend(olds.clone().copied());
            // Of several lines that became one, the one that said most.
            let old = olds.min_by_key(|old| (before.lines[**old].standing, **old)).copied();
            let known = old.map(|old| &before.lines[old]);
            if let Some(kind) = kind(known.map(|old| (before, old)), Some((self, line))) {
                changes.push(self.change(before, departed, kind, old, Some(new)));
            }
        }
        for (old, line) in before.lines.iter().enumerate().filter(|(old, _)| !met.contains(old)) {
            if let Some(kind) = kind(Some((before, line)), None) {
                changes.push(self.change(before, departed, kind, Some(old), None));
            }
        }
        changes.sort_by_key(|change| (change.section, change.kind, change.new, change.old));
        changes
    }

    fn change(
        &self,
        before: &ReconciledChart<'_>,
        departed: &[Departed],
        kind: ChangeKind,
        old: Option<usize>,
        new: Option<usize>,
    ) -> Change {
        let was = old.map(|old| &before.lines[old]);
        let is = new.map(|new| &self.lines[new]);
        let (by, when) = self.cause(before, departed, was, is);
        let shown = is.or(was);
        Change {
            kind,
            section: shown.map_or(Section::Medications, |line| line.section),
            what: shown.map(|line| line.what.clone()).unwrap_or_default(),
            before: was.map(|line| line.standing),
            now: is.map(|line| line.standing),
            by,
            when,
            old,
            new,
        }
    }

    /// Who last said something about a line since `before`, or took back what was said.
    fn cause(
        &self,
        before: &ReconciledChart<'_>,
        departed: &[Departed],
        was: Option<&Line>,
        is: Option<&Line>,
    ) -> (Author, Option<u64>) {
        let old = || was.into_iter().flat_map(|line| &line.entries).map(|at| &before.entries[*at]);
        let own = is.into_iter().flat_map(|line| &line.entries).map(|at| &self.entries[*at]);
        // What was ruled out or entered in error is in no line, and may be the cause.
        let hidden = self.hidden.iter().filter(|entry| old().any(|it| same_thing(it, entry)));
        let said = own.chain(hidden).filter(|entry| entry.entered > before.at);
        let said = said.map(|entry| (entry.entered, self.author(entry)));
        let records: BTreeSet<RecordId> =
            old().flat_map(|entry| &entry.origins).map(|at| before.origins[*at].record).collect();
        let gone = departed.iter().filter(|it| records.contains(&it.record) && it.at > before.at);
        let gone = gone.map(|it| (it.at, it.author.clone()));
        match said.chain(gone).max() {
            Some((when, author)) => (author, Some(when)),
            // Time passed: the one whose words set the end.
            None => {
                let mut last = is.map(|line| (self, line)).or(was.map(|line| (before, line)));
                let author = last.take().and_then(|(chart, line)| {
                    let at = *line.entries.last()?;
                    Some(chart.author(&chart.entries[at]))
                });
                (author.unwrap_or(Author { id: Default::default(), name: None }), None)
            }
        }
    }

    fn author(&self, entry: &Entry<'_>) -> Author {
        let origin = entry.origins.first().and_then(|at| self.origins.get(*at));
        let unknown = || Author { id: entry.facts.author, name: None };
        origin.map_or_else(unknown, |origin| origin.author.clone())
    }
}

/// Which old lines each new line goes on from.
fn matches(
    before: &ReconciledChart<'_>,
    now: &ReconciledChart<'_>,
) -> BTreeMap<usize, BTreeSet<usize>> {
    let mut places: BTreeMap<(Section, String), BTreeSet<usize>> = BTreeMap::new();
    for (at, line) in before.lines.iter().enumerate() {
        for key in keys(before, line) {
            places.entry((line.section, key)).or_default().insert(at);
        }
    }
    let mut found: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (at, line) in now.lines.iter().enumerate() {
        for key in keys(now, line) {
            let olds = places.get(&(line.section, key));
            found.entry(at).or_default().extend(olds.into_iter().flatten());
        }
    }
    found
}

/// What a line is recognised by: its codes and ingredients, the identity of its resources, and else its texts.
fn keys(chart: &ReconciledChart<'_>, line: &Line) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for entry in line.entries.iter().map(|at| &chart.entries[*at]) {
        let keys = &entry.facts.keys;
        all.extend(keys.codes.iter().map(|key| format!("code {key}")));
        all.extend(keys.ingredients.iter().map(|key| format!("ingredient {key}")));
        all.extend(entry.facts.identity.iter().map(|it| format!("{:#x} {it}", entry.facts.author)));
        if keys.codes.is_empty() {
            all.extend(keys.texts.iter().map(|key| format!("text {key}")));
        }
    }
    all
}

fn same_thing(a: &Entry<'_>, b: &Entry<'_>) -> bool {
    let identity = a.facts.identity.is_some() && a.facts.identity == b.facts.identity;
    (identity && a.facts.author == b.facts.author)
        || (a.section == b.section && a.facts.keys.meets(&b.facts.keys))
}

type Side<'c, 'a> = (&'c ReconciledChart<'a>, &'c Line);

fn kind(was: Option<Side<'_, '_>>, is: Option<Side<'_, '_>>) -> Option<ChangeKind> {
    let listed = |side: &Side<'_, '_>| side.1.standing.is_listed();
    match (&was, &is) {
        (None, None) => None,
        (None, Some(_)) => Some(ChangeKind::Added),
        (Some(_), None) => Some(ChangeKind::Removed),
        (Some(old), Some(new)) if listed(old) != listed(new) => {
            Some(if listed(new) { ChangeKind::Added } else { ChangeKind::Removed })
        }
        (Some(old), Some(new)) => (shape(*old) != shape(*new)).then_some(ChangeKind::Changed),
    }
}

/// What makes a line another one for its reader. That more authors say the same does not.
fn shape<'c>((_, line): Side<'c, '_>) -> impl PartialEq + use<'c> {
    let conflicts: Vec<_> = line.conflicts.iter().map(|conflict| conflict.kind).collect();
    (line.standing, &line.details, &line.until, conflicts)
}
