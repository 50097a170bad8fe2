//! `galen record`: records are proposed, answered, listed, opened, sealed anew and forgotten.

mod answer;
mod author;
mod cards;
mod cosign;
mod erase;
mod extract;
mod get;
mod inbox;
mod journal;
mod list;
mod own;
mod propose;
mod replies;
mod reseal;
mod show;
mod sign;
pub(super) mod sources;
mod summary;
mod words;

use std::process::ExitCode;

pub(super) use self::{
    extract::{from_file as extract_file, is_file},
    journal::sealed_contents,
};

use alloy_primitives::Address;
use galen_chain::CosignPolicy;
use galen_sdk::{Contact, Organization};
use galen_types::LeafKind;

use crate::{
    args::RecordCommand, asked::AskError, commands::shown::cannot, error::CliError,
    session::Session, ui::Ui,
};

pub(crate) async fn run(
    command: &RecordCommand,
    session: &Session,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    match command {
        RecordCommand::Propose(args) => return propose::run(args, session, ui).await,
        RecordCommand::Inbox(args) => inbox::run(args, session, ui).await,
        RecordCommand::Show(args) => show::run(args, session, ui).await,
        RecordCommand::Accept(args) => answer::accept(args, session, ui).await,
        RecordCommand::Reject(args) => answer::reject(args, session, ui).await,
        RecordCommand::Correct(args) => replies::correct(args, session, ui).await,
        RecordCommand::Replies(args) => replies::replies(args, session, ui).await,
        RecordCommand::Cosign(args) => cosign::run(args, session, ui).await,
        RecordCommand::Amend(args) => author::amend(args, session, ui).await,
        RecordCommand::Retract(args) => author::retract(args, session, ui).await,
        RecordCommand::Withdraw(args) => author::withdraw(args, session, ui).await,
        RecordCommand::List(args) => list::run(args, session, ui).await,
        RecordCommand::Get(args) => get::run(args, session, ui).await,
        RecordCommand::Sign(args) => return sign::run(args, session, ui).await,
        RecordCommand::Extract(args) => extract::run(args, session, ui).await,
        RecordCommand::Reseal(args) => reseal::run(args, session, ui).await,
        RecordCommand::Erase(args) => return erase::run(args, session, ui).await,
    }?;
    Ok(ExitCode::SUCCESS)
}

const fn kind_name(kind: LeafKind) -> &'static str {
    match kind {
        LeafKind::New => "new",
        LeafKind::Amendment => "amendment",
        LeafKind::Retraction => "retraction",
    }
}

/// Who must sign beside author and patient. Nobody if no cosigner is named.
fn policy(
    session: &Session,
    patient: Address,
    cosigners: &[String],
    threshold: Option<u8>,
) -> Result<CosignPolicy, CliError> {
    let mut ids = Vec::new();
    for text in cosigners {
        ids.push(session.resolve(text)?);
    }
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(AskError::Policy("a cosigner is named twice").into());
    }
    if ids.contains(&patient) {
        return Err(AskError::Policy("the patient signs anyway and is no cosigner").into());
    }
    if ids.is_empty() {
        return Ok(CosignPolicy::default());
    }
    let all = u8::try_from(ids.len()).map_err(|_| AskError::Policy("too many cosigners"))?;
    let threshold = threshold.unwrap_or(all);
    if threshold == 0 || threshold > all {
        return Err(AskError::Policy("the threshold is not within 1 and the cosigners").into());
    }
    Ok(CosignPolicy { threshold, cosigners: ids })
}

/// What the organization knows of a patient: from the introduction in the book.
pub(super) fn contact(
    session: &Session,
    organization: &Organization,
    patient: Address,
) -> impl Future<Output = Result<Contact, CliError>> {
    let introduction = session.book().contact(patient).and_then(|it| it.introduction.clone());
    async move {
        let introduction = introduction.ok_or_else(|| {
            CliError::not_found(
                "the patient has not introduced themselves to this organization",
                "ask the patient for `galen contact introduce`, and take it with `galen contact add`",
            )
        })?;
        organization.meet_again(&introduction).await.map_err(cannot("seal to the patient"))
    }
}
