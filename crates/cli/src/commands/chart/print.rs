//! The chart on a terminal, and as lines for other programs.

use galen_fhir::chart::{
    Change, Claim, Conflict, ConflictKind, Entry, Line, NotShown, Origin, ReconciledChart, Section,
    Standing,
};
use galen_sdk::ChartRecords;

use super::Asked;
use crate::{
    error::CliError,
    table::{NONE, cell, list, row},
    ui::Ui,
    when::Instant,
};

/// The result as text.
pub(super) fn print(asked: &Asked<'_, '_>, entries: bool, ui: &Ui) -> Result<(), CliError> {
    let terminal = ui.is_terminal();
    if let Some(changes) = asked.changes {
        return changes.iter().try_for_each(|change| print_change(change, terminal, ui));
    }
    if entries {
        let own = |entry: &&Entry<'_>| asked.sections.contains(&entry.section);
        let mut entries = asked.chart.entries.iter().filter(own);
        return entries.try_for_each(|entry| print_entry(asked.chart, entry, ui));
    }
    for section in asked.sections {
        if terminal {
            ui.line(title(*section))?;
        }
        let mut any = false;
        for line in asked.chart.section(*section) {
            any = true;
            if terminal {
                print_for_people(asked.chart, line, ui)?;
            } else {
                print_cells(asked.chart, line, ui)?;
            }
        }
        if terminal && !any {
            ui.line("  no information")?;
        }
    }
    Ok(())
}

/// What is not in the chart, and why.
pub(super) fn remarks(asked: &Asked<'_, '_>, records: &ChartRecords, ui: &Ui) {
    for (why, count) in &asked.chart.not_shown {
        let why = match why {
            NotShown::EnteredInError => "were entered in error, as their authors say",
            NotShown::RuledOut => "are ruled out by all who mention them",
            NotShown::Replaced => "were replaced by a newer state of the same",
        };
        ui.status(&format!("Not shown: {count} resources that {why}."));
    }
    if records.unanswered > 0 {
        let count = records.unanswered;
        ui.status(&format!(
            "Not in the chart: {count} proposed records that wait for your answer (`galen record inbox`)."
        ));
    }
    if records.other_content > 0 {
        ui.status(&format!(
            "Not in the chart: {} records that are not FHIR.",
            records.other_content
        ));
    }
}

const fn title(section: Section) -> &'static str {
    match section {
        Section::Medications => "Medicines",
        Section::Problems => "Problems",
        Section::Allergies => "Allergies",
        Section::Immunizations => "Vaccines",
    }
}

/// What a standing is called in a section.
const fn word(section: Section, standing: Standing) -> &'static str {
    match (section, standing) {
        (Section::Medications, Standing::Present) => "taken now",
        (Section::Medications, Standing::Past) => "no longer taken",
        (Section::Immunizations, Standing::Present) => "given",
        (Section::Immunizations, Standing::Absent) => "not given",
        (Section::Problems | Section::Allergies, Standing::Present) => "present",
        (_, Standing::Unclear) => "unclear",
        (_, Standing::Absent) => "none",
        (_, Standing::Past) => "in the past",
    }
}

fn print_for_people(chart: &ReconciledChart<'_>, line: &Line, ui: &Ui) -> Result<(), CliError> {
    let mut text = format!("  {}: {}", word(line.section, line.standing), line.what);
    for detail in &line.details {
        text.push_str(&format!(", {detail}"));
    }
    if let Some(since) = &line.since {
        let since_word = if line.section == Section::Immunizations { "on" } else { "since" };
        text.push_str(&format!(", {since_word} {since}"));
    }
    if let Some(until) = &line.until {
        text.push_str(&format!(", until {until}"));
    }
    ui.line(&cell(&text))?;
    for origin in chart.origins_of(line) {
        let Origin { author, entered, signature, record, .. } = origin;
        let day = day(*entered);
        let record = &record.to_string()[..10];
        let text = format!(
            "      {author}, entered {day}, record {record}, signature {}",
            signature.as_str()
        );
        ui.line(&cell(&text))?;
    }
    line.conflicts.iter().try_for_each(|conflict| ui.line(&cell(&explained(chart, conflict))))
}

/// A conflict in words: what each side says.
fn explained(chart: &ReconciledChart<'_>, conflict: &Conflict) -> String {
    let about = match conflict.kind {
        ConflictKind::PresentAndEnded => "they disagree whether it has ended",
        ConflictKind::PresentAndRuledOut => "one rules out what another lists",
        ConflictKind::PresentAndNot => "one says it must not be, or was not done",
        ConflictKind::Dose => "the doses differ",
        ConflictKind::Criticality => "they judge differently how dangerous it is",
        ConflictKind::ListedAndNone => "somebody says that there is none",
        ConflictKind::AllergyToMedicine => "an allergy is listed to a medicine that is listed",
        ConflictKind::Disowned => "its author no longer stands behind it",
        ConflictKind::Unresolved => "the medicine is in a record that is not here",
    };
    let sides = conflict.entries.iter().map(|at| {
        let entry = &chart.entries[*at];
        let detail = entry.detail.as_ref().map(|it| format!(", {it}")).unwrap_or_default();
        let Entry { what, status, .. } = entry;
        format!("{}: {what}{detail} ({status})", author(chart, entry))
    });
    format!("    ! {about}: {}", sides.collect::<Vec<_>>().join("; "))
}

fn author(chart: &ReconciledChart<'_>, entry: &Entry<'_>) -> String {
    let first = entry.origins.first().map(|at| chart.origins[*at].author.to_string());
    first.unwrap_or_else(|| NONE.to_owned())
}

fn print_cells(chart: &ReconciledChart<'_>, line: &Line, ui: &Ui) -> Result<(), CliError> {
    let origins = chart.origins_of(line);
    let mut authors: Vec<String> = origins.iter().map(|it| it.author.to_string()).collect();
    authors.dedup();
    let mut signatures: Vec<&str> = origins.iter().map(|it| it.signature.as_str()).collect();
    signatures.sort_unstable();
    signatures.dedup();
    let entered = origins.first().map(|it| Instant::from_unix(it.entered).to_string());
    row(
        ui,
        &[
            &line.section,
            &line.standing.as_str(),
            &line.what,
            &line.since.as_deref().unwrap_or_default(),
            &line.until.as_deref().unwrap_or_default(),
            &line.details.join(" | "),
            &list(line.conflicts.iter().map(|it| it.kind.as_str())),
            &list(authors),
            &list(origins.iter().map(|it| it.record)),
            &entered.unwrap_or_default(),
            &list(signatures),
        ],
    )
}

fn print_entry(chart: &ReconciledChart<'_>, entry: &Entry<'_>, ui: &Ui) -> Result<(), CliError> {
    let origins: Vec<&Origin> = entry.origins.iter().map(|at| &chart.origins[*at]).collect();
    let signature = origins.iter().map(|it| it.signature).max();
    row(
        ui,
        &[
            &Instant::from_unix(entry.entered),
            &entry.section,
            &entry.resource_type,
            &entry.what,
            &claim(entry.claim),
            &entry.status,
            &entry.since.as_deref().unwrap_or_default(),
            &entry.until.as_deref().unwrap_or_default(),
            &entry.detail.as_deref().unwrap_or_default(),
            &author(chart, entry),
            &list(origins.iter().map(|it| it.record)),
            &signature.map(|it| it.as_str()).unwrap_or_default(),
        ],
    )
}

const fn claim(claim: Claim) -> &'static str {
    match claim {
        Claim::Present => "present",
        Claim::Open => "open",
        Claim::Event => "event",
        Claim::Ended => "ended",
        Claim::Not => "not",
        Claim::Nothing => "nothing",
        Claim::RuledOut => "ruled-out",
    }
}

fn print_change(change: &Change, terminal: bool, ui: &Ui) -> Result<(), CliError> {
    let standing = |it: Option<Standing>| it.map(Standing::as_str).unwrap_or_default();
    let when = change.when.map(|when| Instant::from_unix(when).to_string()).unwrap_or_default();
    if !terminal {
        let (kind, before, now) =
            (change.kind.as_str(), standing(change.before), standing(change.now));
        return row(ui, &[&kind, &change.section, &change.what, &before, &now, &change.by, &when]);
    }
    let word = |it: Option<Standing>| it.map_or("not listed", |it| word(change.section, it));
    let mut text = format!("{}: {} ({})", change.kind.as_str(), change.what, change.section);
    if change.before != change.now {
        text.push_str(&format!(", {} before, now {}", word(change.before), word(change.now)));
    }
    text.push_str(&format!(", by {}", change.by));
    match change.when {
        Some(when) => text.push_str(&format!(" on {}", day(when))),
        None => text.push_str(", by the passing of time"),
    }
    ui.line(&cell(&text))
}

fn day(unix: u64) -> String {
    Instant::from_unix(unix).to_string()[..10].to_owned()
}
