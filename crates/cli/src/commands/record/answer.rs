//! `galen record accept` and `reject`: opens and checks every document, then signs one answer.

use std::collections::BTreeMap;

use galen_chain::{CosignPolicy, Sent};
use galen_index::{LeafState, Proposal};
use galen_sdk::{CosignSheet, Error, Galen, Patient, ProposedRecord, ReplyKind, SIGNED_DOCUMENT};
use galen_types::{ErrorKind, ProposalId};
use serde::Serialize;

use super::{
    cosign::read_sheets,
    replies::{self, Written},
    words::{self, Told},
};
use crate::{
    args::{AcceptArgs, RejectArgs},
    asked::{AskError, Short, documents, pick},
    commands::shown::{Landed, Party, cannot, landed, patient, sending, waiting},
    error::CliError,
    session::Session,
    table::{list, row},
    ui::Ui,
};

/// Sealed content longer than this many bytes is examined in constant memory.
const STREAMED_LEN: u64 = 16 << 20;

const FHIR_JSON: &str = "application/fhir+json";

/// The result of `galen record accept --json` and `galen record reject --json`.
#[derive(Debug, Serialize)]
struct Answer {
    proposals: Vec<Line>,
    /// Lines for the authors, if there was a reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    replies: Vec<Written>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

#[derive(Debug, Serialize)]
struct Line {
    id: ProposalId,
    author: Party,
    /// Numbers of the documents, from 0.
    accepted: Vec<usize>,
    rejected: Vec<usize>,
    /// Still without an answer.
    open: Vec<usize>,
    sent: Landed,
}

/// What is to be done with one proposal.
struct Choice {
    proposal: Proposal,
    accepted: Vec<usize>,
    rejected: Vec<usize>,
}

pub(super) async fn accept(args: &AcceptArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let patient = patient(session)?;
    let sheets = read_sheets(&args.cosignatures)?;
    let inbox = waiting(ui, "read the inbox", patient.inbox()).await?;
    let named = if args.all {
        inbox.iter().map(|proposal| proposal.event.proposal.to_string()).collect()
    } else {
        args.proposals.clone()
    };
    let chosen = choose(&named, &args.only, inbox)?;
    let (mut good, mut bad) = (Vec::new(), 0);
    for (proposal, indexes) in chosen {
        if !has_sheet(&proposal, &sheets) {
            let error = AskError::NoSheet { proposal: proposal.event.proposal.to_string() };
            if !args.all {
                return Err(error.into());
            }
            ui.warn(&format!("{error}: it is left open"));
            continue;
        }
        let faults = examine(session.galen(), &patient, &proposal, &indexes, ui).await?;
        bad += faults;
        if faults == 0 {
            good.push(Choice { proposal, accepted: indexes, rejected: Vec::new() });
        }
    }
    answer_all(good, &sheets, &patient, session, ui).await.and_then(|lines| print(lines, ui))?;
    if bad > 0 { Err(AskError::Misproposed { count: bad }.into()) } else { Ok(()) }
}

pub(super) async fn reject(args: &RejectArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let patient = patient(session)?;
    replies::require_words(&args.words)?;
    let sheets = read_sheets(&args.cosignatures)?;
    let inbox = waiting(ui, "read the inbox", patient.inbox()).await?;
    let chosen = choose(&args.proposals, &args.only, inbox)?;
    let bare = chosen.iter().find(|(proposal, _)| !has_sheet(proposal, &sheets));
    if let Some((proposal, _)) = bare {
        let proposal = proposal.event.proposal.to_string();
        return Err(AskError::NoSheet { proposal }.into());
    }
    // Signed first: a reply without a rejection does no harm, and nothing is handed out before the answer.
    let replies = match replies::words(&args.words, ui)? {
        Some(words) => {
            let about: Vec<_> = chosen.iter().map(|(it, all)| (it, all.as_slice())).collect();
            replies::write_all(&patient, &about, ReplyKind::Rejection, &words, ui).await?
        }
        None => Vec::new(),
    };
    let choice = |(proposal, rejected)| Choice { proposal, accepted: Vec::new(), rejected };
    let choices = chosen.into_iter().map(choice).collect();
    let answer = answer_all(choices, &sheets, &patient, session, ui).await?;
    if replies.is_empty() {
        return print(answer, ui);
    }
    if ui.json() {
        let file = replies::hand_out(&replies, args.words.out.as_deref(), ui)?;
        return print(Answer { replies, file, ..answer }, ui);
    }
    print(answer, ui)?;
    replies::hand_out(&replies, args.words.out.as_deref(), ui).map(drop)
}

/// Whether what the contract asks for beside the patient's answer is there.
fn has_sheet(proposal: &Proposal, sheets: &BTreeMap<ProposalId, CosignSheet>) -> bool {
    proposal.event.policy.is_zero() || sheets.contains_key(&proposal.event.proposal)
}

/// Signs and sends the answers. If one of them fails, those before it are told.
async fn answer_all(
    choices: Vec<Choice>,
    sheets: &BTreeMap<ProposalId, CosignSheet>,
    patient: &Patient,
    session: &Session,
    ui: &Ui,
) -> Result<Answer, CliError> {
    let count = choices.len();
    if count > 1 {
        let documents: usize =
            choices.iter().map(|choice| choice.accepted.len() + choice.rejected.len()).sum();
        let covers = format!("Answer {count} proposals with {documents} documents");
        let asked = session.asking().allow_next(count, "Settlement", &covers);
        asked.map_err(|error| cannot("answer the proposals")(error.into()))?;
    }
    let (mut lines, mut failed) = (Vec::new(), None);
    for choice in choices {
        match answer(choice, sheets, patient, session, ui).await {
            Ok(line) => lines.push(line),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    let answer = Answer { proposals: lines, replies: Vec::new(), file: None };
    let Some(failed) = failed else { return Ok(answer) };
    // An error alone has nothing on stdout.
    if !answer.proposals.is_empty() {
        print(answer, ui)?;
    }
    Err(failed)
}

/// The named proposals with the documents in question: those that have no answer yet.
pub(super) fn choose(
    named: &[String],
    only: &[usize],
    inbox: Vec<Proposal>,
) -> Result<Vec<(Proposal, Vec<usize>)>, AskError> {
    if !only.is_empty() && named.len() != 1 {
        return Err(AskError::Nothing("--only goes with one proposal"));
    }
    let mut chosen = Vec::new();
    for text in named {
        let id = pick("proposal", text, inbox.iter().map(|it| it.event.proposal))?;
        let found = inbox.iter().find(|proposal| proposal.event.proposal == id);
        let Some(proposal) = found else { continue };
        let mut indexes = documents(only, proposal.states.len())?;
        if only.is_empty() {
            indexes.retain(|index| proposal.states[*index] == LeafState::Unconfirmed);
        }
        chosen.push((proposal.clone(), indexes));
    }
    Ok(chosen)
}

/// Opens and checks documents; says of each bad one what is wrong, and how many there are.
async fn examine(
    galen: &Galen,
    patient: &Patient,
    proposal: &Proposal,
    indexes: &[usize],
    ui: &Ui,
) -> Result<usize, CliError> {
    let mut bad = 0;
    let id = Short(proposal.event.proposal.0);
    for index in indexes {
        let work = examine_one(galen, patient, proposal, *index);
        let spinner = ui.spinner("open and check the documents");
        let done = work.await;
        spinner.finish_and_clear();
        let found = match done {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::Integrity => {
                bad += 1;
                ui.warn(&format!("document {index} of {id}: {error}"));
                continue;
            }
            Err(error) => return Err(cannot("open the proposed documents")(error)),
        };
        let Some(found) = found else { continue };
        if words::wanted(false, ui)
            && let Some(told) = Told::of_proposed(&found, patient).await?
        {
            ui.line(&format!("{id}, document {index}:"))?;
            told.print(ui)?;
        }
        if found.follows.is_some_and(|(_, stands)| !stands) {
            ui.warn(&format!(
                "document {index} of {id} follows a version that does not stand: accepting it has no \
                effect"
            ));
        }
    }
    Ok(bad)
}

/// The document; `None` for a large one, which is looked at without being in memory.
async fn examine_one(
    galen: &Galen,
    patient: &Patient,
    proposal: &Proposal,
    index: usize,
) -> Result<Option<ProposedRecord>, Error> {
    if is_large(galen, proposal, index).await {
        let manifest = patient.examine_attachment(proposal, index).await?;
        // What a document says and who signed it is judged of the whole, however long it is.
        if !is_document(manifest.media_type.as_str()) {
            return Ok(None);
        }
    }
    patient.examine(proposal, index).await.map(Some)
}

fn is_document(media_type: &str) -> bool {
    matches!(media_type, FHIR_JSON | SIGNED_DOCUMENT)
}

/// Whether a document is opened in constant memory instead of whole.
pub(super) async fn is_large(galen: &Galen, proposal: &Proposal, index: usize) -> bool {
    let Some(leaf) = proposal.event.leaves.get(index) else { return false };
    // What is not there is the examination's to say.
    galen.storage().len(&leaf.content).await.is_ok_and(|len| len > STREAMED_LEN)
}

async fn answer(
    choice: Choice,
    sheets: &BTreeMap<ProposalId, CosignSheet>,
    patient: &Patient,
    session: &Session,
    ui: &Ui,
) -> Result<Line, CliError> {
    let Choice { proposal, accepted, rejected } = choice;
    let id = proposal.event.proposal;
    let doing = "answer the proposal";
    let sent: Sent = match sheets.get(&id) {
        Some(sheet) => {
            let work = patient.answer_with(sheet, accepted.clone(), rejected.clone());
            sending(ui, doing, work).await?
        }
        None if proposal.event.policy.is_zero() => {
            let (nobody, none) = (CosignPolicy::default(), BTreeMap::new());
            let work = patient.answer(id, accepted.clone(), rejected.clone(), &nobody, &none);
            sending(ui, doing, work).await?
        }
        None => return Err(AskError::NoSheet { proposal: id.to_string() }.into()),
    };
    let open = |index: &usize| {
        proposal.states[*index] == LeafState::Unconfirmed
            && !accepted.contains(index)
            && !rejected.contains(index)
    };
    Ok(Line {
        id,
        author: Party::new(session, proposal.event.author),
        open: (0..proposal.states.len()).filter(open).collect(),
        accepted,
        rejected,
        sent: landed(session, &sent).await?,
    })
}

fn print(answer: Answer, ui: &Ui) -> Result<(), CliError> {
    if ui.json() {
        return ui.object(&answer);
    }
    answer.proposals.iter().try_for_each(|line| {
        row(
            ui,
            &[
                &line.id,
                &list(&line.accepted),
                &list(&line.rejected),
                &list(&line.open),
                &format!("{:#x}", line.sent.transaction),
                &line.sent.finality,
            ],
        )
    })
}
