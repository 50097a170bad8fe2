//! `galen grant`: what the profile was granted.

use std::process::ExitCode;

use alloy_primitives::Bytes;
use galen_sdk::{ConsentStatus, Grant, Grantee};
use serde::Serialize;

use crate::{
    args::{GrantAddArgs, GrantCommand},
    code::{Code, Kind},
    commands::{
        consent::Terms,
        shown::{Party, cannot, waiting},
    },
    error::CliError,
    session::Session,
    table::{list, row},
    ui::Ui,
    when::Instant,
};

/// Most grants that one book holds.
const MAX_GRANTS: usize = 10_000;

pub(crate) async fn run(
    command: &GrantCommand,
    session: &Session,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    match command {
        GrantCommand::Add(args) => add(args, session, ui).await,
        GrantCommand::List(_) => list_all(session, ui).await,
    }?;
    Ok(ExitCode::SUCCESS)
}

/// The result of `galen grant list --json`, and one grant alone of `galen grant add --json`.
#[derive(Debug, Serialize)]
struct Listed {
    grants: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    /// `live`, `not-yet`, `expired` or `revoked`.
    state: &'static str,
    patient: Party,
    #[serde(flatten)]
    terms: Terms,
    /// Own reads under it.
    reads: usize,
}

async fn add(args: &GrantAddArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let envelope = Bytes::from(Code::read(&args.grant, &[Kind::Grant])?.bytes);
    let grantee = session.grantee();
    let grant = waiting(ui, "take the grant", grantee.accept(&envelope)).await?;
    session.change_book(|book| {
        if book.grants.len() >= MAX_GRANTS {
            let text = format!("a book holds at most {MAX_GRANTS} grants");
            return Err(CliError::invalid(text, "use another profile"));
        }
        // The same consent again, sealed anew, takes the place of the older envelope.
        let id = grant.consent().id();
        let same =
            |kept: &Bytes| grantee.accept_again(kept).is_ok_and(|it| it.consent().id() == id);
        book.grants.retain(|kept| !same(kept));
        book.grants.push(envelope.clone());
        Ok(())
    })?;
    let line = Line::new(session, &grantee, &grant).await?;
    if line.state == ConsentStatus::Revoked.as_str() {
        ui.warn("the consent is not (or no longer) on chain: nothing can be read under it");
    }
    if ui.json() {
        return ui.object(&line);
    }
    line.print(ui)
}

async fn list_all(session: &Session, ui: &Ui) -> Result<(), CliError> {
    let grantee = session.grantee();
    let mut grants = Vec::new();
    for grant in kept(session, &grantee, ui) {
        grants.push(Line::new(session, &grantee, &grant).await?);
    }
    if ui.json() {
        return ui.object(&Listed { grants });
    }
    grants.iter().try_for_each(|line| line.print(ui))
}

/// The grants in the book, oldest first.
pub(crate) fn kept(session: &Session, grantee: &Grantee, ui: &Ui) -> Vec<Grant> {
    let book = session.book();
    let opened: Vec<Grant> =
        book.grants.iter().filter_map(|kept| grantee.accept_again(kept).ok()).collect();
    let lost = book.grants.len() - opened.len();
    if lost > 0 {
        ui.warn(&format!("{lost} kept grants do not open: they are for another network or key"));
    }
    opened
}

impl Line {
    async fn new(session: &Session, grantee: &Grantee, grant: &Grant) -> Result<Self, CliError> {
        let doing = "look the grant up";
        let status = grantee.status(grant).await.map_err(cannot(doing))?;
        let accesses = grantee.accesses(grant.patient()).await.map_err(cannot(doing))?;
        let id = grant.consent().id();
        let mut categories: Vec<u8> = grant.categories().collect();
        categories.sort_unstable();
        Ok(Self {
            state: status.as_str(),
            patient: Party::new(session, grant.patient()),
            terms: Terms::new(session, grant.consent(), &categories),
            reads: accesses.iter().filter(|access| access.event.consent == id).count(),
        })
    }

    fn print(&self, ui: &Ui) -> Result<(), CliError> {
        row(
            ui,
            &[
                &self.terms.id,
                &self.state,
                &self.patient,
                &list(&self.terms.categories),
                &list(&self.terms.purposes),
                &Instant::from_unix(self.terms.from),
                &Instant::from_unix(self.terms.until),
                &self.reads,
            ],
        )
    }
}
