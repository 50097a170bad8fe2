//! `galen fhir export`: where the records of one's own chart come from, as FHIR.

use std::{collections::BTreeMap, path::Path, process::ExitCode};

use galen_crypto::Opened;
use galen_fhir::out::{
    Activity, DocumentInput, DocumentStatus, ProvenanceInput, SignatureInput, document_reference,
    provenance,
};
use galen_index::Proposal;
use galen_sdk::{Patient, RecordEntry, VersionState, fhir_document};
use galen_types::{Leaf, LeafKind, ProposalId, VersionId};
use serde::Serialize;
use serde_json::Value;

use super::written::{Writer, write};
use crate::{
    args::{ExportArgs, ExportKind},
    asked::{AskError, pick},
    commands::shown::{patient, waiting},
    error::CliError,
    outfile,
    session::Session,
    table::row,
    ui::Ui,
};

/// The result of `galen fhir export --json`.
#[derive(Debug, Serialize)]
struct Exported {
    files: Vec<Written>,
}

#[derive(Debug, Serialize)]
struct Written {
    file: String,
    resources: usize,
}

pub(super) async fn run(
    args: &ExportArgs,
    session: &Session,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    let patient = patient(session)?;
    let writer = Writer::new(session, patient.id()).await?;
    let mut parts: Vec<(ExportKind, Vec<Value>)> = Vec::new();
    let kinds: &[ExportKind] = if args.what.is_empty() { &ExportKind::ALL } else { &args.what };
    for kind in ExportKind::ALL.into_iter().filter(|kind| kinds.contains(kind)) {
        let resources = match kind {
            ExportKind::Audit => audit(args, &patient, &writer, ui).await?,
            ExportKind::Provenance | ExportKind::Documents => {
                versions(kind, args, &patient, &writer, ui).await?
            }
        };
        parts.push((kind, resources));
    }
    let exported = Exported { files: files(&args.out, parts, args.force)? };
    ui.status(
        "These files name ids, hashes and transactions of the ledger: they identify the chart.",
    );
    if ui.json() {
        ui.object(&exported)?;
    } else {
        exported.files.iter().try_for_each(|it| row(ui, &[&it.file, &it.resources]))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn audit(
    args: &ExportArgs,
    patient: &Patient,
    writer: &Writer<'_>,
    ui: &Ui,
) -> Result<Vec<Value>, CliError> {
    let mut report = waiting(ui, "read the chart's history", patient.audit()).await?;
    if !report.complete {
        return Err(super::incomplete());
    }
    if !args.records.is_empty() {
        let wanted =
            chosen(args, &report.entries.iter().filter_map(|it| it.record).collect::<Vec<_>>())?;
        report.entries.retain(|entry| entry.record.is_some_and(|id| wanted.contains(&id)));
    }
    Ok(writer.audit(&report, 0))
}

fn chosen<T>(args: &ExportArgs, ids: &[T]) -> Result<Vec<T>, AskError>
where
    T: Copy + PartialEq + Into<alloy_primitives::B256>,
{
    args.records.iter().map(|text| pick("record", text, ids.iter().copied())).collect()
}

/// Accepted versions, in the order of the chain.
async fn versions(
    kind: ExportKind,
    args: &ExportArgs,
    patient: &Patient,
    writer: &Writer<'_>,
    ui: &Ui,
) -> Result<Vec<Value>, CliError> {
    let mut entries = waiting(ui, "list the records", patient.records()).await?;
    if !args.records.is_empty() {
        let ids: Vec<_> = entries.iter().map(|entry| entry.record.id()).collect();
        let wanted = chosen(args, &ids)?;
        entries.retain(|entry| wanted.contains(&entry.record.id()));
    }
    let look = |chart: &galen_index::Chart| {
        chart.proposals().map(|it| (it.event.proposal, it.clone())).collect()
    };
    let session = writer.session;
    let proposals = session.galen().with_chart(patient.id(), look);
    let proposals: BTreeMap<ProposalId, Proposal> =
        waiting(ui, "read the proposals", proposals).await?;
    let mut resources = Vec::new();
    for entry in &entries {
        let Some(status) = status(entry.state) else { continue };
        let Some(proposal) = proposals.get(&entry.proposal.0) else { continue };
        let Some(leaf) = proposal.event.leaves.get(entry.proposal.1) else { continue };
        let opened = if args.open { opened(entry, patient, ui).await? } else { None };
        resources.push(match kind {
            ExportKind::Documents => document(entry, leaf, status, opened.as_ref(), writer),
            _ => made(entry, leaf, proposal, opened.as_ref(), writer)?,
        });
    }
    Ok(resources)
}

/// What a version is as a document; `None` for one that was never accepted.
const fn status(state: VersionState) -> Option<DocumentStatus> {
    match state {
        VersionState::Current | VersionState::Disowned => Some(DocumentStatus::Current),
        VersionState::Superseded => Some(DocumentStatus::Superseded),
        VersionState::Retracted => Some(DocumentStatus::Retracted),
        VersionState::Unconfirmed
        | VersionState::Expired
        | VersionState::Withdrawn
        | VersionState::Rejected
        | VersionState::Void(_) => None,
    }
}

/// The version that stands: its format and who signed it only opening tells.
async fn opened(
    entry: &RecordEntry,
    patient: &Patient,
    ui: &Ui,
) -> Result<Option<Opened>, CliError> {
    if entry.state != VersionState::Current {
        return Ok(None);
    }
    waiting(ui, "open the record", patient.open(entry.record.id())).await.map(Some)
}

fn previous(leaf: &Leaf) -> Option<VersionId> {
    (leaf.kind != LeafKind::New).then_some(leaf.previous)
}

fn document(
    entry: &RecordEntry,
    leaf: &Leaf,
    status: DocumentStatus,
    opened: Option<&Opened>,
    writer: &Writer<'_>,
) -> Value {
    // A signed document is FHIR to whoever opens it.
    let media_type = opened.map(|opened| match fhir_document(opened) {
        Some(_) => "application/fhir+json".to_owned(),
        None => opened.media_type.as_str().to_owned(),
    });
    document_reference(&DocumentInput {
        ledger: writer.ledger,
        patient: writer.patient(),
        author: writer.party(entry.record.author),
        record: entry.record.id(),
        version: entry.version,
        previous: previous(leaf),
        status,
        category: entry.category,
        date: entry.answered.unwrap_or(entry.proposed).time,
        content: entry.contents.last().copied().unwrap_or(leaf.content),
        media_type,
    })
}

fn made(
    entry: &RecordEntry,
    leaf: &Leaf,
    proposal: &Proposal,
    opened: Option<&Opened>,
    writer: &Writer<'_>,
) -> Result<Value, CliError> {
    let mut signatures: Vec<SignatureInput> = writer.proposed(proposal)?.into_iter().collect();
    signatures.extend(opened.map(|opened| writer.attested(opened)).transpose()?.flatten());
    Ok(provenance(&ProvenanceInput {
        ledger: writer.ledger,
        record: entry.record.id(),
        version: entry.version,
        previous: previous(leaf),
        activity: match leaf.kind {
            LeafKind::New => Activity::Create,
            LeafKind::Amendment => Activity::Amend,
            LeafKind::Retraction => Activity::Retract,
        },
        proposed: entry.proposed.time,
        author: writer.party(entry.record.author),
        // Patients hold their records: they seal them anew and say where they lie.
        custodian: Some(writer.patient()),
        verifier: entry.answered.map(|at| (writer.patient(), at.time)),
        content: leaf.content,
        signatures,
    }))
}

/// One file where one is named, else one for each type in a folder, as bulk exports have them.
fn files(
    out: &Path,
    parts: Vec<(ExportKind, Vec<Value>)>,
    overwrite: bool,
) -> Result<Vec<Written>, CliError> {
    let one = out.extension().is_some_and(|it| it == "json" || it == "ndjson");
    if one {
        let all: Vec<Value> = parts.into_iter().flat_map(|(_, resources)| resources).collect();
        return Ok(vec![Written { file: write(out, &all, overwrite)?, resources: all.len() }]);
    }
    outfile::folder(out)?;
    let named = parts.into_iter().map(|(kind, resources)| {
        let path = out.join(format!("{}.ndjson", kind.resource_type()));
        Ok(Written { file: write(&path, &resources, overwrite)?, resources: resources.len() })
    });
    named.collect()
}
