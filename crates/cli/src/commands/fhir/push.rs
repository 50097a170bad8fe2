//! `galen fhir push`: sends resources to a FHIR server, each once.

mod journal;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use galen_fhir::{Document, Node};
use galen_services::fhir_server::{FhirServer, FhirServerError, Outgoing, Receipt};
use galen_types::{ErrorKind, Plaintext};
use serde::Serialize;

use self::journal::Journal;
use super::server::{LONGEST_RUN, server, told};
use crate::{
    args::{Globals, PushArgs},
    commands::record::sources::{Source, Sources},
    error::CliError,
    table::row,
    ui::Ui,
};

/// The result of `galen fhir push --json`.
#[derive(Debug, Serialize)]
struct Pushed {
    server: String,
    /// Taken now.
    sent: usize,
    /// Taken in an earlier run.
    known: usize,
    /// Not taken, or not acceptable FHIR.
    refused: usize,
    results: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    /// File, and line of an NDJSON file.
    input: String,
    /// Type, and id if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    /// `created`, `updated`, `there` (by its identifier), `done` (a transaction), `known` or `refused`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// The version that the server has now.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The server's own words, made inert.
    #[serde(skip_serializing_if = "Option::is_none")]
    said: Option<String>,
}

/// A push on its way.
struct Push<'a> {
    args: &'a PushArgs,
    server: FhirServer,
    ui: &'a Ui,
    started: Instant,
    done: Pushed,
    /// What kind the first refusal was.
    worst: Option<ErrorKind>,
}

pub(super) async fn run(args: &PushArgs, globals: &Globals, ui: &Ui) -> Result<ExitCode, CliError> {
    let server = server(&args.server, globals)?;
    let asking = server.capability();
    let capability = ui.waiting("the server to say what it can", asking).await;
    capability.map_err(|error| told("ask the server what it can", &error))?;
    let name = server.name().to_owned();
    let done = Pushed { server: name, sent: 0, known: 0, refused: 0, results: Vec::new() };
    let mut push = Push { args, server, ui, started: Instant::now(), done, worst: None };
    let stopped = push.files().await;
    if ui.json() {
        ui.object(&push.done)?;
    }
    stopped?;
    let Pushed { sent, known, refused, .. } = push.done;
    ui.status(&format!("{sent} sent, {known} known from before, {refused} refused."));
    Ok(push.worst.map_or(ExitCode::SUCCESS, |kind| ExitCode::from(kind.exit_code())))
}

impl Push<'_> {
    async fn files(&mut self) -> Result<(), CliError> {
        for file in &self.args.files {
            let state = self.args.state.clone().unwrap_or_else(|| beside(file));
            let mut journal = Journal::open(&state)?;
            for source in Sources::new(std::slice::from_ref(file))? {
                self.document(source, &mut journal).await?;
            }
        }
        Ok(())
    }

    async fn document(&mut self, source: Source, journal: &mut Journal) -> Result<(), CliError> {
        let input = match source.line {
            Some(line) => format!("{}:{line}", source.input),
            None => source.input,
        };
        let bytes: Plaintext = source.bytes?;
        let document = match Document::read(bytes.expose()) {
            Ok(document) => document,
            Err(error) => {
                let line = Line::new(&input, None, "refused");
                self.refuse(Line { error: Some(error.to_string()), ..line }, error.kind())?;
                return Ok(());
            }
        };
        let root = document.root();
        let kind = root.get("type").and_then(Node::text).unwrap_or_default();
        match (document.resource_type(), &*kind) {
            ("Bundle", "transaction" | "batch") => {
                self.one(&input, "Bundle", Outgoing::Transaction, root, journal).await
            }
            // Where it belongs together, it stays together.
            (
                "Bundle",
                "collection" | "searchset" | "history" | "batch-response" | "transaction-response",
            ) => {
                for resource in document.resources() {
                    self.resource(&input, resource.node, journal).await?;
                }
                Ok(())
            }
            _ => self.resource(&input, root, journal).await,
        }
    }

    async fn resource(
        &mut self,
        input: &str,
        node: Node<'_>,
        journal: &mut Journal,
    ) -> Result<(), CliError> {
        let resource_type = node.resource_type().unwrap_or_default();
        let id = node.get("id").and_then(Node::text);
        let version = node.at(&["meta", "versionId"]).and_then(Node::text);
        let identifier = identifier(node);
        let identifier = identifier.as_ref().map(|(system, value)| (&**system, &**value));
        let what = match &id {
            Some(id) => Outgoing::Put {
                resource_type: &resource_type,
                id,
                if_match: version.as_deref().filter(|_| !self.args.overwrite),
            },
            None => Outgoing::Create { resource_type: &resource_type, if_none_exist: identifier },
        };
        let name = match &id {
            Some(id) => format!("{resource_type}/{id}"),
            None => resource_type.clone().into_owned(),
        };
        self.one(input, &name, what, node, journal).await
    }

    async fn one(
        &mut self,
        input: &str,
        name: &str,
        what: Outgoing<'_>,
        node: Node<'_>,
        journal: &mut Journal,
    ) -> Result<(), CliError> {
        if self.started.elapsed() >= LONGEST_RUN {
            let text = "the push takes more than 24 hours";
            return Err(CliError::unavailable(text, "run it again: it goes on where it stopped"));
        }
        let body = node.raw().as_bytes();
        let key = Journal::key(self.server.base(), body);
        if journal.has(&key) {
            self.done.known += 1;
            return self.tell(Line::new(input, Some(name), "known"));
        }
        match self.server.send(what, body).await {
            Ok(Receipt { status, version }) => {
                // Acknowledged, so it is written down before anything else happens.
                journal.add(key)?;
                self.done.sent += 1;
                let state = match (status, what) {
                    (_, Outgoing::Transaction) => "done",
                    (201, _) => "created",
                    // Something with the same identifier was there, and stays as it is.
                    (_, Outgoing::Create { .. }) => "there",
                    (_, Outgoing::Put { .. }) => "updated",
                };
                let line = Line::new(input, Some(name), state);
                self.tell(Line { status: Some(status), version, ..line })
            }
            Err(error) if stops(&error) => Err(told("push", &error)),
            Err(error) => {
                let said = Some(error.said().to_owned()).filter(|said| !said.is_empty());
                let line = Line::new(input, Some(name), "refused");
                let status = error.status();
                let line = Line { status, error: Some(error.to_string()), said, ..line };
                self.refuse(line, error.kind())
            }
        }
    }

    fn refuse(&mut self, line: Line, kind: ErrorKind) -> Result<(), CliError> {
        self.done.refused += 1;
        self.worst.get_or_insert(kind);
        self.tell(line)
    }

    fn tell(&mut self, line: Line) -> Result<(), CliError> {
        if !self.ui.json() {
            let status = line.status.map(|status| status.to_string()).unwrap_or_default();
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let cells =
                [text(&line.resource), text(&line.version), text(&line.error), text(&line.said)];
            let [resource, version, error, said] = &cells;
            row(self.ui, &[&line.input, resource, &line.state, &status, version, error, said])?;
        }
        self.done.results.push(line);
        Ok(())
    }
}

impl Line {
    fn new(input: &str, resource: Option<&str>, state: &'static str) -> Self {
        Self {
            input: input.to_owned(),
            resource: resource.map(str::to_owned),
            state,
            status: None,
            version: None,
            error: None,
            said: None,
        }
    }
}

/// Whether the next resource would fare no better.
fn stops(error: &FhirServerError) -> bool {
    match error {
        FhirServerError::Refused { status, .. } => *status == 401,
        FhirServerError::NotFound { .. }
        | FhirServerError::Conflict { .. }
        | FhirServerError::NotTaken { .. }
        | FhirServerError::Partial { .. } => false,
        _ => true,
    }
}

/// The first identifier that names one thing.
fn identifier<'a>(
    node: Node<'a>,
) -> Option<(std::borrow::Cow<'a, str>, std::borrow::Cow<'a, str>)> {
    node.get("identifier")?.items().find_map(|it| {
        let (system, value) = (it.get("system")?.text()?, it.get("value")?.text()?);
        // A bar would end the system; nothing in FHIR says how to write one.
        (!system.contains('|')).then_some((system, value))
    })
}

/// Where the journal of a file lies.
fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".pushed");
    PathBuf::from(name)
}
