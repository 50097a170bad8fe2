//! `galen record correct` and `replies`: what a patient tells an author about a proposal, and the author reads.

use std::path::Path;

use alloy_primitives::Bytes;
use galen_index::Proposal;
use galen_sdk::{Organization, Patient, Reply, ReplyKind};
use galen_types::ProposalId;
use serde::Serialize;
use zeroize::Zeroizing;

use super::answer::choose;
use crate::{
    args::{CorrectArgs, RepliesArgs, WordsArgs},
    asked::AskError,
    code::{Code, Kind},
    commands::{
        fhir::short_text,
        shown::{Party, organization, patient, sending, waiting},
    },
    error::CliError,
    outfile,
    session::Session,
    table::{list, row},
    ui::Ui,
};

/// Replies that a book keeps; the oldest go.
const MAX_REPLIES: usize = 500;

/// What the patient wants to say, if anything: from a file or asked for, never from an argument.
pub(super) fn words(args: &WordsArgs, ui: &Ui) -> Result<Option<Zeroizing<String>>, CliError> {
    Ok(match (&args.reason_file, args.reason_prompt) {
        (Some(path), _) => Some(Zeroizing::new(short_text(path)?)),
        (None, true) => {
            Some(Zeroizing::new(ui.ask("What the author is to read", None, "--reason-file")?))
        }
        (None, false) => None,
    })
}

/// Seals and signs one reply for each proposal.
pub(super) async fn write_all(
    patient: &Patient,
    about: &[(&Proposal, &[usize])],
    kind: ReplyKind,
    words: &str,
    ui: &Ui,
) -> Result<Vec<Written>, CliError> {
    let mut written = Vec::new();
    for (proposal, documents) in about {
        let work = patient.reply(proposal, documents, kind, words);
        let bytes = sending(ui, "write to the author", work).await?;
        let line = Code::new(Kind::Reply, bytes).to_string();
        written.push(Written { id: proposal.event.proposal, documents: documents.to_vec(), line });
    }
    Ok(written)
}

/// A reply on its way to the author.
#[derive(Debug, Serialize)]
pub(super) struct Written {
    /// The proposal.
    id: ProposalId,
    documents: Vec<usize>,
    /// What the author gives to `galen record replies`.
    #[serde(rename = "reply")]
    line: String,
}

/// Writes the lines to the file; says them on stdout if there is none.
pub(super) fn hand_out(
    written: &[Written],
    out: Option<&Path>,
    ui: &Ui,
) -> Result<Option<String>, CliError> {
    if let Some(path) = out {
        let text: String = written.iter().map(|it| format!("{}\n", it.line)).collect();
        let path = outfile::write(path, text.as_bytes(), true)?;
        return Ok(Some(path.display().to_string()));
    }
    if !ui.json() {
        written.iter().try_for_each(|it| row(ui, &[&"reply", &it.id, &it.line]))?;
    }
    Ok(None)
}

/// The result of `galen record correct --json`.
#[derive(Debug, Serialize)]
struct Asked {
    replies: Vec<Written>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

pub(super) async fn correct(
    args: &CorrectArgs,
    session: &Session,
    ui: &Ui,
) -> Result<(), CliError> {
    let patient = patient(session)?;
    let inbox = waiting(ui, "read the inbox", patient.inbox()).await?;
    let chosen = choose(std::slice::from_ref(&args.proposal), &args.only, inbox)?;
    let words = match words(&args.words, ui)? {
        Some(words) => words,
        None => Zeroizing::new(ui.ask("What is to be corrected", None, "--reason-file")?),
    };
    let about: Vec<_> = chosen.iter().map(|(it, documents)| (it, documents.as_slice())).collect();
    let replies = write_all(&patient, &about, ReplyKind::Correction, &words, ui).await?;
    let file = hand_out(&replies, args.words.out.as_deref(), ui)?;
    ui.status("Nothing is answered: the records stay open until you accept or reject them.");
    if ui.json() {
        return ui.object(&Asked { replies, file });
    }
    Ok(())
}

/// The result of `galen record replies --json`.
#[derive(Debug, Serialize)]
struct Read {
    replies: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    patient: Party,
    proposal: ProposalId,
    documents: Vec<usize>,
    /// `rejection` or `correction`.
    kind: &'static str,
    #[serde(serialize_with = "exposed")]
    text: Zeroizing<String>,
}

fn exposed<S: serde::Serializer>(text: &Zeroizing<String>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(text)
}

pub(super) async fn replies(
    args: &RepliesArgs,
    session: &Session,
    ui: &Ui,
) -> Result<(), CliError> {
    let organization = organization(session)?;
    for source in &args.files {
        for code in Code::read_all(source, &[Kind::Reply])? {
            let work = organization.take_reply(&code.bytes);
            let reply = waiting(ui, "read the reply", work).await?;
            keep(session, &organization, &reply, &code.bytes)?;
        }
    }
    let line = |reply: Reply| Line {
        patient: Party::new(session, reply.patient),
        proposal: reply.proposal,
        documents: reply.documents,
        kind: reply.kind.as_str(),
        text: reply.words,
    };
    let replies: Vec<Line> = kept(session, &organization).into_iter().map(line).collect();
    if ui.json() {
        return ui.object(&Read { replies });
    }
    replies.iter().try_for_each(|it| {
        let documents = list(&it.documents);
        row(ui, &[&it.proposal, &it.patient, &it.kind, &documents, &*it.text])
    })
}

/// A later reply about the same documents of a proposal takes the place of an earlier one.
fn keep(
    session: &Session,
    organization: &Organization,
    reply: &Reply,
    bytes: &[u8],
) -> Result<(), CliError> {
    let same = |kept: &Bytes| {
        organization
            .take_reply_again(kept)
            .is_ok_and(|it| (it.proposal, &it.documents) == (reply.proposal, &reply.documents))
    };
    session.change_book(|book| {
        book.replies.retain(|kept| !same(kept));
        let surplus = (book.replies.len() + 1).saturating_sub(MAX_REPLIES);
        book.replies.drain(..surplus);
        book.replies.push(Bytes::copy_from_slice(bytes));
        Ok(())
    })
}

/// The replies in the book, oldest first; those of other networks or keys are passed over.
pub(super) fn kept(session: &Session, organization: &Organization) -> Vec<Reply> {
    let book = session.book();
    book.replies.iter().filter_map(|kept| organization.take_reply_again(kept).ok()).collect()
}

/// What the patient said last of a document, or of any document, of a proposal.
pub(super) fn kind_of(
    replies: &[Reply],
    proposal: ProposalId,
    index: Option<usize>,
) -> Option<&'static str> {
    let about = |reply: &&Reply| {
        reply.proposal == proposal && index.is_none_or(|index| reply.documents.contains(&index))
    };
    replies.iter().rev().find(about).map(|reply| reply.kind.as_str())
}

/// A reason without a place for it would be lost.
pub(super) fn require_words(args: &WordsArgs) -> Result<(), AskError> {
    if args.out.is_some() && args.reason_file.is_none() && !args.reason_prompt {
        return Err(AskError::Nothing(
            "--out is for a reason: give --reason-file or --reason-prompt",
        ));
    }
    Ok(())
}
