//! `galen fhir`: looks at documents, writes what a chart says of itself, speaks with FHIR servers.

mod card;
mod export;
mod pull;
mod push;
mod server;
mod written;

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::ExitCode,
};

use galen_fhir::{
    CategorySummary, Compliance, Document, FhirError, LineError, MAX_INPUT_LEN, MAX_LISTED_LINES,
    NdjsonSummary, Violation, check_with, for_each_line,
};
use galen_types::ErrorKind;
use serde::Serialize;

pub(crate) use self::{
    card::{cause, chosen_keys},
    written::write_audit,
};
use crate::{
    args::{FhirCommand, Globals},
    commands::block_on,
    error::CliError,
    session::Session,
    settings::Settings,
    site::Site,
    ui::Ui,
};

pub(crate) fn run(command: &FhirCommand, globals: &Globals, ui: &Ui) -> Result<ExitCode, CliError> {
    match command {
        FhirCommand::Check { files, compliance } => {
            let site = match compliance {
                true => Site::read(&Settings::resolve(globals)?)?,
                false => Site::default(),
            };
            check_files(files, &site, ui)
        }
        FhirCommand::Pull(args) => block_on(pull::run(args, globals, ui)),
        FhirCommand::Push(args) => block_on(push::run(args, globals, ui)),
        FhirCommand::Card(args) => block_on(card::run(args, globals, ui)),
        FhirCommand::Export(args) => block_on(async {
            let session = Session::open(globals, ui).await?;
            let done = export::run(args, &session, ui).await;
            session.finish().await;
            done
        }),
    }
}

/// The events of a chart are not written where some may be missing.
pub(crate) fn incomplete() -> CliError {
    CliError::integrity(
        "the history does not fold to the head of the chart on chain",
        "do not rely on this list: ask another node (--rpc-url), and delete the cache",
    )
}

/// Bytes of a file of lines that are read at once.
const LINE_BUFFER: usize = 256 << 10;

/// The result of `galen fhir check --json`.
#[derive(Debug, Serialize)]
struct Report {
    accepted: usize,
    refused: usize,
    files: Vec<FileReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FileReport {
    file: String,
    accepted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_type: Option<&'static str>,
    records: usize,
    resources: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    segments: Vec<CategorySummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<FhirError>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lines: Vec<LineError>,
    /// Refused lines beyond those that are listed.
    #[serde(skip_serializing_if = "is_zero")]
    more_lines: usize,
    /// Rules of the site that it breaks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    violations: Vec<Broken>,
}

#[derive(Debug, Serialize)]
struct Broken {
    /// Of NDJSON, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(flatten)]
    violation: Violation,
}

fn check_files(files: &[PathBuf], site: &Site, ui: &Ui) -> Result<ExitCode, CliError> {
    let mut reports = Vec::new();
    let mut unreadable = Vec::new();
    for path in files {
        // One file that cannot be read does not hide what is wrong with the others.
        let report = match check_file(path, site) {
            Ok(report) => report,
            Err(error) => {
                ui.error(&error);
                unreadable.push(path.display().to_string());
                continue;
            }
        };
        if !ui.json() {
            for line in report.text() {
                ui.line(&line)?;
            }
        }
        reports.push(report);
    }
    let refused = reports.iter().filter(|report| !report.accepted).count();
    let all_read = unreadable.is_empty();
    if ui.json() {
        let accepted = reports.len() - refused;
        ui.object(&Report { accepted, refused, files: reports, unreadable })?;
    }
    Ok(match (refused, all_read) {
        (0, true) => ExitCode::SUCCESS,
        (0, false) => ExitCode::from(ErrorKind::Unavailable.exit_code()),
        _ => ExitCode::from(ErrorKind::Invalid.exit_code()),
    })
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this signature")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

fn check_file(path: &Path, site: &Site) -> Result<FileReport, CliError> {
    let file = path.display().to_string();
    let empty = FileReport {
        file,
        accepted: true,
        resource_type: None,
        records: 0,
        resources: 0,
        segments: Vec::new(),
        error: None,
        lines: Vec::new(),
        more_lines: 0,
        violations: Vec::new(),
    };
    if path.extension().is_some_and(|extension| extension == "ndjson") {
        let (summary, violations) = check_lines(path, &site.compliance)?;
        return Ok(FileReport {
            accepted: summary.refused.is_empty() && violations.is_empty(),
            resources: summary.accepted,
            lines: summary.refused,
            more_lines: summary.more_refused,
            violations,
            ..empty
        });
    }
    let bytes = read_input(path)?;
    let violations = broken(&bytes, &site.compliance);
    Ok(match check_with(&bytes, &site.table) {
        Ok(summary) => FileReport {
            accepted: violations.is_empty(),
            resource_type: Some(summary.resource_type),
            records: summary.records,
            resources: summary.resources,
            segments: summary.categories,
            violations,
            ..empty
        },
        Err(error) => FileReport { accepted: false, error: Some(error), ..empty },
    })
}

/// The rules that a document breaks; none of one that is no FHIR.
fn broken(bytes: &[u8], rules: &Compliance) -> Vec<Broken> {
    if rules.is_empty() {
        return Vec::new();
    }
    let document = Document::read(bytes);
    document.map(|document| broken_in(&document, None, rules)).unwrap_or_default()
}

fn broken_in(document: &Document<'_>, line: Option<usize>, rules: &Compliance) -> Vec<Broken> {
    let violations = rules.check(document).violations.into_iter();
    violations.map(|violation| Broken { line, violation }).collect()
}

/// Reads a file line by line, in constant memory however long it is.
fn check_lines(path: &Path, rules: &Compliance) -> Result<(NdjsonSummary, Vec<Broken>), CliError> {
    let failed = |source| CliError::Read { path: path.display().to_string(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let (mut summary, mut violations) = (NdjsonSummary::default(), Vec::new());
    for_each_line(std::io::BufReader::with_capacity(LINE_BUFFER, file), |line, result| {
        if let Ok(document) = &result
            && !rules.is_empty()
            && violations.len() < MAX_LISTED_LINES
        {
            violations.extend(broken_in(document, Some(line), rules));
        }
        summary.add(line, result.map(drop));
    })
    .map_err(failed)?;
    Ok((summary, violations))
}

/// Reads a file or standard input, but never more than the reader takes: one byte over the limit is
/// enough for it to say so.
pub(crate) fn read_input(path: &Path) -> Result<Vec<u8>, CliError> {
    let failed = |source| CliError::Read { path: path.display().to_string(), source };
    let limit = MAX_INPUT_LEN as u64 + 1;
    let mut bytes = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    }
    Ok(bytes)
}

/// A few words for somebody, from a file or standard input. They may be about health, so that no argument
/// holds them: other programs of the machine can see those, and a shell keeps them.
pub(crate) fn short_text(path: &Path) -> Result<String, CliError> {
    let text = String::from_utf8(read_input(path)?).map_err(|_| {
        let text = format!("{} is not UTF-8 text", path.display());
        CliError::invalid(text, "write the words to a plain text file")
    })?;
    Ok(text.trim().to_owned())
}

impl FileReport {
    fn text(&self) -> Vec<String> {
        let file = &self.file;
        if let Some(error) = &self.error {
            let path = if error.path().is_empty() { "-" } else { error.path() };
            let (fault, offset) = (error.fault(), error.offset());
            return vec![format!("{file}\trefused\t{fault}\t{path}\tbyte {offset}")];
        }
        if !self.lines.is_empty() || !self.violations.is_empty() {
            let line =
                |line: &LineError| format!("{file}\trefused\tline {}: {}", line.line, line.error);
            let broken = |Broken { line, violation }: &Broken| {
                let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
                let (path, help) = (&violation.path, violation.help());
                format!("{file}\trefused\t{line}{violation}\t{path}\t{help}")
            };
            let lines = self.lines.iter().map(line);
            let more = (self.more_lines > 0)
                .then(|| format!("{file}\trefused\t{} more lines", self.more_lines));
            return lines.chain(more).chain(self.violations.iter().map(broken)).collect();
        }
        let mut text = format!("{file}\taccepted\t{} records", self.records);
        if self.records == 0 {
            text = format!("{file}\taccepted\t{} resources", self.resources);
        }
        for segment in &self.segments {
            text.push_str(&format!("\t{}={}", segment.category.name(), segment.records));
        }
        vec![text]
    }
}
