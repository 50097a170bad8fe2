//! `galen consent`: who may read what, why and until when.

mod deliver;
mod give;
mod granting;
mod rotate;

use std::process::ExitCode;

use galen_sdk::{ConsentEntry, Patient};
use galen_types::{Consent, ConsentId};
use serde::Serialize;

use crate::{
    args::{ConsentCommand, ConsentRevokeArgs},
    asked::{AskError, pick},
    commands::{
        consent_fhir::{export, import, scopes},
        shown::{
            Horizon, Landed, Moment, Party, cannot, category, landed, patient, purposes, sending,
            waiting,
        },
    },
    error::CliError,
    session::Session,
    table::{list, row},
    ui::Ui,
    when::Instant,
};

pub(crate) use deliver::in_passing;
pub(crate) use give::{Wish, give, warn};
pub(crate) use granting::{Made, Shares, Way, grant_all, set as proxies_of};

pub(crate) async fn run(
    command: &ConsentCommand,
    session: &Session,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    let patient = patient(session)?;
    match command {
        ConsentCommand::Grant(args) => give::grant(args, &patient, session, ui).await,
        ConsentCommand::Deliver(_) => deliver::run(session, ui).await,
        ConsentCommand::Revoke(args) => revoke(args, &patient, session, ui).await,
        ConsentCommand::RevokeAll(_) => revoke_all(&patient, session, ui).await,
        ConsentCommand::Rotate(args) => rotate::run(args, &patient, session, ui).await,
        ConsentCommand::List(_) => list_all(&patient, session, ui).await,
        ConsentCommand::Export(args) => export::run(args, &patient, session, ui).await,
        ConsentCommand::Import(args) => import::run(args, &patient, session, ui).await,
        ConsentCommand::Scopes(args) => scopes::run(args, &patient, session, ui).await,
    }?;
    Ok(ExitCode::SUCCESS)
}

/// The terms of a consent.
#[derive(Debug, Serialize)]
pub(crate) struct Terms {
    pub(crate) id: ConsentId,
    /// Who may read; none means every active organization.
    pub(crate) grantee: Option<Party>,
    pub(crate) categories: Vec<String>,
    pub(crate) purposes: Vec<String>,
    /// First Unix second.
    pub(crate) from: u64,
    /// First Unix second at which it no longer holds.
    pub(crate) until: u64,
}

impl Terms {
    pub(crate) fn new(session: &Session, consent: &Consent, categories: &[u8]) -> Self {
        let named = !consent.is_network();
        Self {
            id: consent.id(),
            grantee: named.then(|| Party::new(session, consent.grantee)),
            categories: categories.iter().map(|index| category(*index)).collect(),
            purposes: purposes(consent.purposes),
            from: consent.not_before,
            until: consent.expiry,
        }
    }

    fn grantee(&self) -> String {
        let named = self.grantee.as_ref().map(ToString::to_string);
        named.unwrap_or_else(|| "every organization".to_owned())
    }
}

/// The result of `galen consent revoke --json`.
#[derive(Debug, Serialize)]
struct Revoked {
    revoked: Vec<RevokedOne>,
    sent: Landed,
}

#[derive(Debug, Serialize)]
struct RevokedOne {
    id: ConsentId,
    #[serde(skip_serializing_if = "Option::is_none")]
    grantee: Option<Party>,
}

async fn revoke(
    args: &ConsentRevokeArgs,
    patient: &Patient,
    session: &Session,
    ui: &Ui,
) -> Result<(), CliError> {
    let known = known(session);
    let entries = waiting(ui, "read the consents", patient.consents(&known)).await?;
    let chosen: Vec<&ConsentEntry> = match (&args.id, &args.to) {
        (Some(text), _) => {
            let id = pick("consent", text, entries.iter().map(|entry| entry.id))?;
            entries.iter().filter(|entry| entry.id == id).collect()
        }
        (None, Some(text)) => {
            let grantee = session.resolve(text)?;
            let of = |entry: &&ConsentEntry| entry.terms.is_some_and(|it| it.grantee == grantee);
            entries.iter().filter(of).collect()
        }
        (None, None) => Vec::new(),
    };
    if chosen.is_empty() {
        return Err(AskError::Nothing("this reader has no consent").into());
    }
    let ids: Vec<ConsentId> = chosen.iter().map(|entry| entry.id).collect();
    let terms: Vec<Consent> = chosen.iter().filter_map(|entry| entry.terms).collect();
    let sent = sending(ui, "revoke the consent", patient.revoke_many(&ids, &terms)).await?;
    // Shares that never reached their proxy are of no use any more. The others it drops as the chain says so.
    session.change_book(|book| {
        book.deliveries.retain(|kept| !ids.contains(&kept.consent));
        Ok(())
    })?;
    let party = |entry: &ConsentEntry| entry.terms.map(|it| Party::new(session, it.grantee));
    let revoked =
        chosen.iter().map(|entry| RevokedOne { id: entry.id, grantee: party(entry) }).collect();
    let answer = Revoked { revoked, sent: landed(session, &sent).await? };
    if ui.json() {
        return ui.object(&answer);
    }
    for one in &answer.revoked {
        let grantee = one.grantee.as_ref().map(ToString::to_string).unwrap_or_default();
        let transaction = format!("{:#x}", answer.sent.transaction);
        row(ui, &[&one.id, &grantee, &"revoked", &transaction, &answer.sent.finality])?;
    }
    Ok(())
}

/// The result of `galen consent revoke-all --json`.
#[derive(Debug, Serialize)]
struct RevokedAll {
    revoked: usize,
    sent: Landed,
}

async fn revoke_all(patient: &Patient, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let count = session
        .galen()
        .with_chart(patient.id(), |chart| chart.consents().tree.leaves().count())
        .await
        .map_err(cannot("read the consents"))?;
    let sent = sending(ui, "revoke every consent", patient.revoke_all()).await?;
    session.change_book(|book| {
        book.deliveries.clear();
        Ok(())
    })?;
    let answer = RevokedAll { revoked: count, sent: landed(session, &sent).await? };
    if ui.json() {
        return ui.object(&answer);
    }
    let transaction = format!("{:#x}", answer.sent.transaction);
    row(ui, &[&answer.revoked, &transaction, &answer.sent.finality])
}

/// The result of `galen consent list --json`.
#[derive(Debug, Serialize)]
struct Listed {
    consents: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    id: ConsentId,
    /// `live`, `not-yet`, `expired` or `unknown`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    terms: Option<Terms>,
    #[serde(skip_serializing_if = "Option::is_none")]
    granted: Option<Moment>,
    /// Reads under it, each counted once.
    uses: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used: Option<Moment>,
}

async fn list_all(patient: &Patient, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let known = known(session);
    let entries = waiting(ui, "read the consents", patient.consents(&known)).await?;
    let horizon = Horizon::now(session).await?;
    let consents: Vec<Line> =
        entries.iter().map(|entry| Line::new(session, &horizon, entry)).collect();
    if ui.json() {
        return ui.object(&Listed { consents });
    }
    consents.iter().try_for_each(|line| line.print(ui))
}

impl Line {
    fn new(session: &Session, horizon: &Horizon, entry: &ConsentEntry) -> Self {
        Self {
            id: entry.id,
            state: entry.status.as_str(),
            terms: entry.terms.map(|terms| Terms::new(session, &terms, &entry.categories)),
            granted: entry.granted.map(|at| horizon.moment(at)),
            uses: entry.reads,
            last_used: entry.last_read.map(|at| horizon.moment(at)),
        }
    }

    fn print(&self, ui: &Ui) -> Result<(), CliError> {
        let of = |text: fn(&Terms) -> String| self.terms.as_ref().map(text).unwrap_or_default();
        let last = self.last_used.map(|at| at.instant().to_string());
        let finality = self.granted.map(|at| at.finality.to_string());
        row(
            ui,
            &[
                &self.id,
                &self.state,
                &of(Terms::grantee),
                &of(|terms| list(&terms.categories)),
                &of(|terms| list(&terms.purposes)),
                &of(|terms| Instant::from_unix(terms.from).to_string()),
                &of(|terms| Instant::from_unix(terms.until).to_string()),
                &self.uses,
                &last.unwrap_or_else(|| "never".to_owned()),
                &finality.unwrap_or_default(),
            ],
        )
    }
}

/// Terms that the book holds.
pub(crate) fn known(session: &Session) -> Vec<Consent> {
    session.book().consents.iter().map(|known| known.consent).collect()
}
