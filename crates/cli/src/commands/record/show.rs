//! `galen record show`: opens, checks, and says what a document is without saying what it says.

use std::path::Path;

use galen_crypto::Opened;
use galen_index::{LeafState, Proposal};
use galen_sdk::Patient;
use galen_types::{ErrorKind, ProposalId, RecordId, RecordKey};
use serde::Serialize;

use super::{
    answer::is_large,
    inbox::state_name,
    kind_name,
    summary::{Changes, Summary},
    words::{self, Told},
};
use crate::{
    args::ShowArgs,
    asked::{AskError, documents, pick},
    commands::shown::{
        Horizon, Moment, Party, SignedBy, cannot, category, document as plain, patient, waiting,
    },
    error::CliError,
    outfile,
    session::Session,
    table::row,
    ui::Ui,
};

/// The result of `galen record show --json`.
#[derive(Debug, Serialize)]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    proposal: Option<ProposalId>,
    documents: Vec<Document>,
}

#[derive(Debug, Serialize)]
struct Document {
    /// Number in the proposal.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    record: RecordId,
    kind: &'static str,
    /// `unconfirmed`, `accepted`, `rejected` or `void`.
    state: &'static str,
    category: String,
    author: Party,
    at: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(flatten)]
    summary: Summary,
    /// Against the version that stands, for an amendment.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<Changes>,
    /// Who signed it by parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<SignedBy>,
    /// Whether it is what it says.
    good: bool,
    /// What is wrong, if it is not; or that accepting has no effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// What it says, if that was asked for.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    told: Option<Told>,
}

/// What was meant.
enum Target {
    Proposal(Box<Proposal>),
    Record(RecordKey),
}

pub(super) async fn run(args: &ShowArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let patient = patient(session)?;
    let words = words::wanted(args.words, ui) && !args.fhir;
    let (proposal, mut shown) = match find(args, &patient, session, ui).await? {
        Target::Record(key) => (None, vec![record(&key, &patient, session, ui).await?]),
        Target::Proposal(proposal) => {
            let mut shown = Vec::new();
            for index in documents(&args.only, proposal.states.len())? {
                shown.push(proposed(index, &proposal, &patient, session, ui).await?);
            }
            (Some(proposal.event.proposal), shown)
        }
    };
    if !words {
        shown.iter_mut().for_each(|(document, _)| document.told = None);
    }
    if args.fhir {
        return print_document(&shown, ui);
    }
    let mut answer = Answer { proposal, documents: Vec::new() };
    let folder = args.out.as_deref().filter(|_| shown.len() > 1);
    folder.map(outfile::folder).transpose()?;
    for (mut document, opened) in shown {
        if let (Some(out), Some(opened)) = (&args.out, &opened) {
            document.file = Some(write(out, folder.is_some(), &document, opened)?);
        }
        answer.documents.push(document);
    }
    if ui.json() {
        ui.object(&answer)?;
    } else {
        answer.documents.iter().try_for_each(|document| document.print(ui))?;
    }
    let bad = answer.documents.iter().filter(|document| !document.good).count();
    if bad > 0 { Err(AskError::Misproposed { count: bad }.into()) } else { Ok(()) }
}

async fn find(
    args: &ShowArgs,
    patient: &Patient,
    session: &Session,
    ui: &Ui,
) -> Result<Target, CliError> {
    let look = session.galen().with_chart(patient.id(), |chart| {
        let proposals: Vec<Proposal> = chart.proposals().cloned().collect();
        (proposals, chart.records().map(|record| record.key).collect::<Vec<RecordKey>>())
    });
    let (proposals, records) = waiting(ui, "look it up", look).await?;
    let ids = proposals.iter().map(|proposal| proposal.event.proposal.0);
    let ids = ids.chain(records.iter().map(|key| key.id().0));
    let id = pick("proposal or record", &args.id, ids)?;
    let proposal = proposals.into_iter().find(|proposal| proposal.event.proposal.0 == id);
    if let Some(proposal) = proposal {
        return Ok(Target::Proposal(Box::new(proposal)));
    }
    let record = records.into_iter().find(|key| key.id().0 == id);
    let record = record.ok_or(AskError::Nothing("the record is gone"))?;
    Ok(Target::Record(record))
}

async fn proposed(
    index: usize,
    proposal: &Proposal,
    patient: &Patient,
    session: &Session,
    ui: &Ui,
) -> Result<(Document, Option<Opened>), CliError> {
    let leaf = &proposal.event.leaves[index];
    let state = proposal.states[index];
    let mut document = Document {
        index: Some(index),
        record: leaf.key(proposal.event.patient, proposal.event.author).id(),
        kind: kind_name(leaf.kind),
        state: state_name(state),
        category: category(patient.category(leaf.segment)),
        author: Party::new(session, proposal.event.author),
        at: Horizon::now(session).await?.moment(proposal.announced),
        media_type: None,
        bytes: None,
        summary: Summary::default(),
        changes: None,
        signature: None,
        good: true,
        fault: None,
        file: None,
        told: None,
    };
    if state != LeafState::Unconfirmed {
        // What was answered is a record now, or nothing.
        return Ok((document, None));
    }
    if is_large(session.galen(), proposal, index).await {
        let examined = patient.examine_attachment(proposal, index).await;
        if let Some(manifest) = document.judge(examined)? {
            document.media_type = Some(manifest.media_type.as_str().to_owned());
            document.bytes = Some(manifest.committed.len);
        }
        return Ok((document, None));
    }
    let spinner = ui.spinner("open and check the document");
    let examined = patient.examine(proposal, index).await;
    spinner.finish_and_clear();
    let Some(examined) = document.judge(examined)? else { return Ok((document, None)) };
    document.describe(&examined.opened);
    document.signature = examined.signature.map(|it| SignedBy::new(session, &it));
    match examined.follows {
        None => {}
        Some((_, false)) => {
            document.fault =
                Some("it follows a version that does not stand: accepting has no effect".into());
        }
        Some((_, true)) => {
            let before = patient.open(examined.record.id()).await;
            let before = before.map_err(cannot("open the version that stands"))?;
            let (old, now) = (plain(&before, false).1, plain(&examined.opened, false).1);
            document.changes = Changes::between(old, now);
            let told = document.told.take();
            document.told = told.map(|told| told.against(&before, &examined.opened));
        }
    }
    Ok((document, Some(examined.opened)))
}

async fn record(
    key: &RecordKey,
    patient: &Patient,
    session: &Session,
    ui: &Ui,
) -> Result<(Document, Option<Opened>), CliError> {
    let look = |chart: &galen_index::Chart| {
        let version = chart.record(key.id()).map(|record| record.current().clone());
        version.map(|version| (version.leaf.kind, version.accepted))
    };
    let found = session.galen().with_chart(key.patient, look).await;
    let found = found.map_err(cannot("look the record up"))?;
    let (kind, accepted) = found.ok_or(AskError::Nothing("the record is gone"))?;
    let opened = waiting(ui, "open the record", patient.open(key.id())).await?;
    let mut document = Document {
        index: None,
        record: key.id(),
        kind: kind_name(kind),
        state: state_name(LeafState::Accepted),
        category: category(patient.category(key.segment)),
        author: Party::new(session, key.author),
        at: Horizon::now(session).await?.moment(accepted),
        media_type: None,
        bytes: None,
        summary: Summary::default(),
        changes: None,
        signature: None,
        good: true,
        fault: None,
        file: None,
        told: None,
    };
    document.describe(&opened);
    let signature = session.galen().signature_of(&opened);
    let signature = waiting(ui, "check who signed it", signature).await?;
    document.signature = signature.map(|it| SignedBy::new(session, &it));
    Ok((document, Some(opened)))
}

impl Document {
    /// A document that is not what it says is shown as such; anything else that fails is an error.
    fn judge<T>(&mut self, examined: Result<T, galen_sdk::Error>) -> Result<Option<T>, CliError> {
        match examined {
            Ok(examined) => Ok(Some(examined)),
            Err(error) if error.kind() == ErrorKind::Integrity => {
                self.good = false;
                self.fault = Some(error.to_string());
                Ok(None)
            }
            Err(error) => Err(cannot("open the document")(error)),
        }
    }

    fn describe(&mut self, opened: &Opened) {
        let (media_type, bytes) = plain(opened, false);
        self.media_type = Some(media_type.to_owned());
        self.bytes = Some(bytes.len() as u64);
        self.summary = Summary::of(bytes);
        self.told = Told::of(opened);
    }

    fn print(&self, ui: &Ui) -> Result<(), CliError> {
        let index = self.index.map(|index| index.to_string()).unwrap_or_default();
        let bytes = self.bytes.map(|bytes| bytes.to_string()).unwrap_or_default();
        let changes = self.changes.as_ref().map(Changes::text).unwrap_or_default();
        let verdict = self.fault.as_deref().unwrap_or(if self.good { "good" } else { "bad" });
        row(
            ui,
            &[
                &index,
                &self.record,
                &self.kind,
                &self.state,
                &self.category,
                &self.author,
                &self.media_type.as_deref().unwrap_or_default(),
                &bytes,
                &self.summary.types(),
                &self.summary.dates(),
                &changes,
                &verdict,
                &self.file.as_deref().unwrap_or_default(),
                &self.at.finality,
                &self.signature.as_ref().map(SignedBy::to_string).unwrap_or_default(),
            ],
        )?;
        self.told.as_ref().map_or(Ok(()), |told| told.print(ui))
    }
}

fn print_document(shown: &[(Document, Option<Opened>)], ui: &Ui) -> Result<(), CliError> {
    match shown {
        [(document, _)] if !document.good => Err(AskError::Misproposed { count: 1 }.into()),
        [(_, Some(opened))] => super::get::print(opened, false, ui),
        [_] => Err(AskError::Nothing("the document was answered, or is too long to print").into()),
        _ => Err(AskError::Several { count: shown.len() }.into()),
    }
}

fn write(
    out: &Path,
    several: bool,
    document: &Document,
    opened: &Opened,
) -> Result<String, CliError> {
    let path = if several {
        let extension = outfile::extension(plain(opened, false).0);
        let number = document.index.unwrap_or_default();
        out.join(format!("{number:03}-{}.{extension}", document.category))
    } else {
        out.to_owned()
    };
    Ok(outfile::write(&path, plain(opened, false).1, false)?.display().to_string())
}
