//! `galen fhir pull`: what a FHIR server has, as the server wrote it.

mod output;
mod progress;

use std::{collections::HashSet, process::ExitCode, time::Instant};

use galen_services::fhir_server::{Capability, FhirServer, FhirServerError, Query};
use galen_types::ErrorKind;
use serde::Serialize;

use self::{output::Output, progress::Progress};
use super::server::{LONGEST_RUN, server, told};
use crate::{
    args::{Globals, PullArgs},
    error::CliError,
    table::row,
    ui::Ui,
};

/// Most pages of one pull.
const MAX_PAGES: usize = 100_000;

/// Most bytes of one pull.
const MAX_BYTES: u64 = 64 << 30;

/// The result of `galen fhir pull --json`.
#[derive(Debug, Serialize)]
struct Pulled {
    server: String,
    fhir_version: String,
    pages: usize,
    /// Resources that came more than once.
    duplicates: usize,
    #[serde(flatten)]
    output: Output,
}

pub(super) async fn run(args: &PullArgs, globals: &Globals, ui: &Ui) -> Result<ExitCode, CliError> {
    let server = server(&args.server, globals)?;
    let asking = server.capability();
    let capability = ui.waiting("the server to say what it can", asking).await;
    let capability = capability.map_err(|error| told("ask the server what it can", &error))?;
    let mut plan = plan(args, &server, &capability, ui)?;
    let mut named = HashSet::new();
    plan.retain(|query| named.insert(query.clone()));
    let mut progress = Progress::open(args, server.base(), &plan)?;
    if progress.pages() > 0 {
        ui.status(&format!("Going on after {} pages.", progress.pages()));
    }
    let spinner = ui.spinner("pull resources");
    let pulled = pull(&server, &plan, &mut progress, ui).await;
    spinner.finish_and_clear();
    pulled?;
    let (pages, duplicates) = (progress.pages(), progress.duplicates());
    let output = progress.finish(&args.out, args.force)?;
    let fhir_version = capability.fhir_version;
    report(Pulled { server: server.name().to_owned(), fhir_version, pages, duplicates, output }, ui)
}

/// What is asked for, one after the other.
fn plan(
    args: &PullArgs,
    server: &FhirServer,
    capability: &Capability,
    ui: &Ui,
) -> Result<Vec<Query>, CliError> {
    let wrong = |error: FhirServerError| told("ask for that", &error);
    match (&args.patient, args.types.is_empty()) {
        (Some(patient), true) if capability.everything => {
            Ok(vec![server.everything(patient).map_err(wrong)?])
        }
        (Some(patient), named) => {
            let known = capability.types.keys().map(String::as_str);
            let types: Vec<&str> = if named {
                known.collect()
            } else {
                args.types.iter().map(String::as_str).collect()
            };
            let mut plan = Vec::new();
            for name in types {
                match filter(name, capability) {
                    Some(filter) => {
                        plan.push(server.search(name, Some((filter, patient))).map_err(wrong)?);
                    }
                    None if named => {}
                    None => {
                        ui.warn(&format!("the server cannot search {name} by patient: left out"))
                    }
                }
            }
            if plan.is_empty() {
                let text = "the server has neither $everything nor a search by patient";
                return Err(CliError::invalid(text, "name types with --type, without --patient"));
            }
            Ok(plan)
        }
        (None, true) => Err(CliError::invalid(
            "nothing says what to pull",
            "name a patient with --patient, or types with --type",
        )),
        (None, false) => {
            args.types.iter().map(|name| server.search(name, None).map_err(wrong)).collect()
        }
    }
}

/// The search parameter that means the patient.
fn filter(name: &str, capability: &Capability) -> Option<&'static str> {
    if name == "Patient" {
        return Some("_id");
    }
    let has = |wanted: &str| {
        capability.types.get(name).is_some_and(|found| found.iter().any(|it| it == wanted))
    };
    ["patient", "subject"].into_iter().find(|wanted| has(wanted))
}

async fn pull(
    server: &FhirServer,
    plan: &[Query],
    progress: &mut Progress,
    ui: &Ui,
) -> Result<(), CliError> {
    let started = Instant::now();
    let mut seen = HashSet::new();
    while let Some(first) = plan.get(progress.at()) {
        let kept = progress.next().map(|link| server.follow(link));
        let kept = kept.transpose().map_err(|error| told("go on", &error))?;
        let resumed = kept.is_some();
        let query = kept.unwrap_or_else(|| first.clone());
        if !seen.insert(query.clone()) {
            return Err(CliError::unavailable(
                "the server's pages go round in a circle",
                "ask who runs it; with --type fewer pages may be needed",
            ));
        }
        if progress.pages() >= MAX_PAGES
            || progress.bytes() >= MAX_BYTES
            || started.elapsed() >= LONGEST_RUN
        {
            return Err(CliError::invalid(
                format!("more than {MAX_PAGES} pages, {MAX_BYTES} bytes or 24 hours"),
                "pull less at once, with --type or --patient",
            ));
        }
        let page = match server.page(&query).await {
            // The server forgot the search: what came is known, so asking anew brings nothing twice.
            Err(FhirServerError::NotFound { .. } | FhirServerError::NotTaken { .. })
                if resumed && progress.was_resumed() =>
            {
                progress.forget_place();
                seen.clear();
                continue;
            }
            page => page.map_err(|error| told("pull", &error))?,
        };
        for words in &page.said {
            ui.warn(&format!("the server says: {}", words.as_str()));
        }
        progress.take(&page)?;
    }
    Ok(())
}

fn report(pulled: Pulled, ui: &Ui) -> Result<ExitCode, CliError> {
    let refused = pulled.output.refused;
    if ui.json() {
        ui.object(&pulled)?;
    } else {
        let files = pulled.output.files.iter();
        files.into_iter().try_for_each(|it| row(ui, &[&it.file, &it.resources]))?;
    }
    if refused == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    ui.warn(&format!(
        "{refused} resources are not acceptable FHIR and lie apart; `galen fhir check` says why"
    ));
    Ok(ExitCode::from(ErrorKind::Invalid.exit_code()))
}
