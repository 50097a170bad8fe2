//! `galen chart`: one chart of what all authors wrote.

mod print;

use std::{
    collections::BTreeMap,
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex},
};

use alloy_primitives::Address;
use galen_fhir::chart::{
    Change, Entry, ExportTerms, Line, NotShown, Origin, ReconciledChart, Section,
};
use galen_sdk::{ChartRecords, MissingRecord, ReadRecords};
use galen_types::{ErrorKind, RecordId};
use serde::Serialize;

use crate::{
    args::{ChartArgs, Globals},
    asked::AskError,
    commands::shown::{patient, waiting},
    error::CliError,
    outfile,
    session::Session,
    settings::Settings,
    site::Site,
    ui::Ui,
    unlock::Keyring,
};

/// The result of `galen chart --json`.
#[derive(Debug, Serialize)]
struct Answer<'c, 'a> {
    /// Unix second for which the chart holds.
    at: u64,
    /// The pseudonyms whose records it is made of.
    patients: &'c [Address],
    /// With `--changes-since`: what changed, by section.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<&'c [Change]>,
    /// By section, standing and name. Numbers in `entries` and `conflicts` are places in `entries`.
    lines: Vec<&'c Line>,
    /// In the order in which they were entered, of every section. Numbers in `origins` are places in `origins`.
    entries: &'c [Entry<'a>],
    origins: &'c [Origin],
    /// Resources in no line, by reason: `entered-in-error`, `ruled-out`, `replaced`.
    not_shown: &'c BTreeMap<NotShown, usize>,
    /// Records that do not open.
    missing: &'c [Missing],
    /// Proposed records that nobody has answered.
    unanswered: usize,
    /// Records that hold something else than FHIR.
    other_content: usize,
    /// Files that were written.
    files: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Missing {
    record: RecordId,
    author: Address,
    error: String,
    #[serde(skip)]
    kind: ErrorKind,
}

impl Missing {
    fn new(missing: &MissingRecord) -> Self {
        let MissingRecord { record, author, error } = missing;
        Self { record: *record, author: *author, error: error.to_string(), kind: missing.kind() }
    }
}

/// A chart and what was asked of it.
pub(super) struct Asked<'c, 'a> {
    pub(super) chart: &'c ReconciledChart<'a>,
    pub(super) changes: Option<&'c [Change]>,
    pub(super) sections: &'c [Section],
}

pub(super) async fn run(
    args: &ChartArgs,
    globals: &Globals,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    let gathered = gather(args, globals, ui).await?;
    let Gathered { records, patients, site, now } = &gathered;
    let at = args.at.map_or(*now, |at| at.unix());
    let since = args.changes_since.map(|since| since.unix());
    let read = records.read();
    let chart = read.chart_at(at, &site.ingredients);
    let before = since.map(|since| read.chart_at(since, &site.ingredients));
    let mut changes = before.as_ref().map(|before| chart.changes_since(before, records.departed()));
    let sections: Vec<Section> = if args.section.is_empty() {
        Section::ALL.to_vec()
    } else {
        let named =
            |section: &Section| args.section.iter().any(|it| Section::from(*it) == *section);
        Section::ALL.into_iter().filter(named).collect()
    };
    if let Some(changes) = &mut changes {
        changes.retain(|change| sections.contains(&change.section));
    }
    let asked = Asked { chart: &chart, changes: changes.as_deref(), sections: &sections };
    let files = export(args, &asked, before.as_ref(), *now)?;
    let missing = missing(records, &read);
    for one in &missing {
        ui.warn(&format!("record {} is missing from the chart: {}", one.record, one.error));
    }
    if ui.json() {
        ui.object(&Answer {
            at,
            patients,
            changes: asked.changes,
            lines: chart.lines.iter().filter(|it| sections.contains(&it.section)).collect(),
            entries: &chart.entries,
            origins: &chart.origins,
            not_shown: &chart.not_shown,
            missing: &missing,
            unanswered: records.unanswered,
            other_content: records.other_content,
            files,
        })?;
    } else {
        print::print(&asked, args.entries, ui)?;
        print::remarks(&asked, records, ui);
    }
    // A chart with holes is shown, and is no success.
    let worst = missing.iter().map(|one| one.kind).max_by_key(|kind| *kind == ErrorKind::Integrity);
    Ok(worst.map_or(ExitCode::SUCCESS, |kind| ExitCode::from(kind.exit_code())))
}

/// Opened records of all profiles.
struct Gathered {
    records: ChartRecords,
    patients: Vec<Address>,
    site: Site,
    /// Unix second.
    now: u64,
}

/// Opens the records of the profile and of those that were named with it. Each password is asked for once.
async fn gather(args: &ChartArgs, globals: &Globals, ui: &Ui) -> Result<Gathered, CliError> {
    let settings = Settings::resolve(globals)?;
    let site = Site::read(&settings)?;
    let file = settings.password_file();
    let keyring = Arc::new(Mutex::new(Keyring::new(ui.clone(), file.clone())));
    let session = Session::open_with(settings, keyring.clone(), ui).await?;
    let failed = |source| CliError::Chain { doing: "read the time of the chain", source };
    let now = session.galen().time().await.map_err(failed)?;
    let at = args.at.map_or(now, |at| at.unix());
    if args.changes_since.is_some_and(|since| since.unix() >= at) {
        return Err(AskError::Time("changes are from an earlier time to a later one").into());
    }
    if at > now {
        return Err(AskError::Time("nobody knows yet what will be in the chart then").into());
    }
    let times: Vec<u64> = args.changes_since.map(|it| it.unix()).into_iter().chain([at]).collect();
    let mut all = Gathered { records: ChartRecords::default(), patients: Vec::new(), site, now };
    all.add(&session, &times, ui).await?;
    session.finish().await;
    for name in &args.with {
        let other = Globals { profile: Some(name.to_string()), ..globals.clone() };
        let settings = Settings::resolve(&other)?;
        let own = settings.password_file();
        let keyring = if own == file {
            keyring.clone()
        } else {
            Arc::new(Mutex::new(Keyring::new(ui.clone(), own)))
        };
        let session = Session::open_with(settings, keyring, ui).await?;
        all.add(&session, &times, ui).await?;
        session.finish().await;
    }
    Ok(all)
}

impl Gathered {
    async fn add(&mut self, session: &Session, times: &[u64], ui: &Ui) -> Result<(), CliError> {
        let patient = patient(session)?;
        if self.patients.contains(&patient.id()) {
            return Ok(());
        }
        self.patients.push(patient.id());
        let mut records =
            waiting(ui, "open the records of the chart", patient.chart_records(times)).await?;
        let book = session.book();
        records.name_authors(|id| book.contact(id).map(|contact| contact.alias.clone()));
        self.records.join(records);
        Ok(())
    }
}

fn missing(records: &ChartRecords, read: &ReadRecords<'_>) -> Vec<Missing> {
    records.missing.iter().chain(&read.missing).map(Missing::new).collect()
}

/// Writes the files that were asked for.
fn export<'a>(
    args: &ChartArgs,
    asked: &Asked<'_, 'a>,
    before: Option<&ReconciledChart<'a>>,
    made: u64,
) -> Result<Vec<String>, CliError> {
    let mut files = Vec::new();
    let mut write = |path: &Path, bytes: Vec<u8>| -> Result<(), CliError> {
        let path = outfile::write(path, &bytes, args.force)?;
        files.push(path.display().to_string());
        Ok(())
    };
    if let Some(path) = &args.ips {
        let terms = ExportTerms { title: "Patient summary".to_owned(), made };
        write(path, asked.chart.to_ips(&terms))?;
    }
    if let Some(path) = &args.list {
        let bytes = match (before, asked.changes) {
            (Some(before), Some(changes)) => {
                let terms = ExportTerms { title: "changes".to_owned(), made };
                asked.chart.to_change_lists(before, changes, asked.sections, &terms)
            }
            _ => {
                let terms = ExportTerms { title: "as it stands".to_owned(), made };
                asked.chart.to_lists(asked.sections, &terms)
            }
        };
        write(path, bytes)?;
    }
    Ok(files)
}
