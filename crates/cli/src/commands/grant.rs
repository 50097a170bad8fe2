//! `galen grant`: what the profile was granted.

mod fetch;

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

/// Most envelopes of one consent that are kept.
const MAX_ENVELOPES: usize = 16;

pub(crate) async fn run(
    command: &GrantCommand,
    session: &Session,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    match command {
        GrantCommand::Add(args) => add(args, session, ui).await,
        GrantCommand::Fetch(args) => fetch::run(args, session, ui).await,
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
    /// How many proxies must answer for a read; none in direct mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    proxies: Option<Needed>,
    /// Own reads under it.
    reads: usize,
}

/// How many of how many proxies a read takes.
#[derive(Debug, Serialize)]
struct Needed {
    needed: u8,
    of: u8,
}

async fn add(args: &GrantAddArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let envelope = Bytes::from(Code::read(&args.grant, &[Kind::Grant])?.bytes);
    let grantee = session.grantee();
    let grant = waiting(ui, "take the grant", grantee.accept(&envelope)).await?;
    keep(session, &grantee, &grant, &envelope)?;
    let line = Line::new(session, &grantee, &grant).await?;
    if line.state == ConsentStatus::Revoked.as_str() {
        ui.warn("the consent is not (or no longer) on chain: nothing can be read under it");
    }
    if ui.json() {
        return ui.object(&line);
    }
    line.print(ui)
}

/// Keeps an envelope that was checked. Others of the same consent stay: each may hold keys of another epoch, and which
/// of two counts is told by what is in them, not by which came last. Says whether it is new.
pub(super) fn keep(
    session: &Session,
    grantee: &Grantee,
    grant: &Grant,
    envelope: &Bytes,
) -> Result<bool, CliError> {
    session.change_book(|book| {
        if book.grants.contains(envelope) {
            return Ok(false);
        }
        let id = grant.consent().id();
        let same =
            |kept: &Bytes| grantee.accept_again(kept).is_ok_and(|it| it.consent().id() == id);
        let known: Vec<usize> =
            (0..book.grants.len()).filter(|at| same(&book.grants[*at])).collect();
        if known.len() >= MAX_ENVELOPES {
            book.grants.remove(known[0]);
        }
        if book.grants.len() >= MAX_GRANTS {
            let text = format!("a book holds at most {MAX_GRANTS} grants");
            return Err(CliError::invalid(text, "use another profile"));
        }
        book.grants.push(envelope.clone());
        Ok(true)
    })
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

/// The grants in the book, oldest first; the envelopes of one consent joined.
pub(crate) fn kept(session: &Session, grantee: &Grantee, ui: &Ui) -> Vec<Grant> {
    let book = session.book();
    let opened: Vec<Grant> =
        book.grants.iter().filter_map(|kept| grantee.accept_again(kept).ok()).collect();
    let lost = book.grants.len() - opened.len();
    if lost > 0 {
        ui.warn(&format!("{lost} kept grants do not open: they are for another network or key"));
    }
    let mut grants: Vec<Grant> = Vec::new();
    for grant in opened {
        let of = |known: &Grant| {
            known.patient() == grant.patient() && known.consent().id() == grant.consent().id()
        };
        match grants.iter().position(of) {
            Some(at) => {
                // Of one patient and consent they always join.
                if let Ok(joined) = grants[at].clone().join(grant) {
                    grants[at] = joined;
                }
            }
            None => grants.push(grant),
        }
    }
    grants
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
            proxies: grant.threshold().map(|(needed, of)| Needed { needed, of }),
            reads: accesses.iter().filter(|access| access.event.consent == id).count(),
        })
    }

    fn print(&self, ui: &Ui) -> Result<(), CliError> {
        let proxies = self.proxies.as_ref().map(|it| format!("{} of {}", it.needed, it.of));
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
                &proxies.unwrap_or_default(),
            ],
        )
    }
}
