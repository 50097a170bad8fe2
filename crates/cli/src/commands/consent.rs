//! `galen consent`: who may read what, why and until when.

use std::process::ExitCode;

use alloy_primitives::{Address, Bytes};
use galen_fhir::Preset;
use galen_sdk::{ConsentEntry, GrantRequest, Patient};
use galen_types::{Consent, ConsentId, ErrorKind, PurposeSet};
use serde::Serialize;

use crate::{
    args::{ConsentCommand, ConsentGrantArgs, ConsentRevokeArgs},
    asked::{AskError, pick},
    book::KnownConsent,
    code::{Code, Kind},
    commands::{
        consent_fhir::{export, import, scopes},
        effect::Effect,
        shown::{
            Horizon, Landed, Moment, Party, cannot, category, indexes, landed, patient, purposes,
            sending, waiting,
        },
    },
    error::CliError,
    outfile,
    session::Session,
    table::{list, row},
    ui::Ui,
    when::{Instant, Lifetime},
};

/// A consent that lasts longer is pointed out, in seconds: a year and a day.
const LONG: u64 = 366 * 24 * 3_600;

pub(crate) async fn run(
    command: &ConsentCommand,
    session: &Session,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    let patient = patient(session)?;
    match command {
        ConsentCommand::Grant(args) => grant(args, &patient, session, ui).await,
        ConsentCommand::Revoke(args) => revoke(args, &patient, session, ui).await,
        ConsentCommand::RevokeAll(_) => revoke_all(&patient, session, ui).await,
        ConsentCommand::List(_) => list_all(&patient, session, ui).await,
        ConsentCommand::Export(args) => export::run(args, &patient, session, ui).await,
        ConsentCommand::Import(args) => import::run(args, &patient, session, ui).await,
        ConsentCommand::Scopes(args) => scopes::run(args, &patient, session, ui).await,
    }?;
    Ok(ExitCode::SUCCESS)
}

/// The result of `galen consent grant --json` and `galen request grant --json`.
#[derive(Debug, Serialize)]
struct Granted {
    consent: Terms,
    effect: Effect,
    /// The line for the reader; none for a consent to every organization.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    sent: Landed,
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

/// What a grant is to be, from flags or from a request.
pub(crate) struct Wish {
    pub(crate) request: GrantRequest,
    /// The exact end, where one was named.
    pub(crate) until: Option<u64>,
    pub(crate) out: Option<std::path::PathBuf>,
}

async fn grant(
    args: &ConsentGrantArgs,
    patient: &Patient,
    session: &Session,
    ui: &Ui,
) -> Result<(), CliError> {
    let grantee = match &args.to {
        Some(text) => session.resolve(text)?,
        None => Address::ZERO,
    };
    let usual = match args.preset {
        _ if args.emergency => Preset::Emergency.purposes(),
        Some(preset) => preset.purposes(),
        None => PurposeSet::default(),
    };
    let named: PurposeSet = args.purpose.iter().copied().collect();
    let purposes = if args.purpose.is_empty() { usual } else { named };
    let failed = |source| CliError::Chain { doing: "ask for the time", source };
    let now = session.galen().time().await.map_err(failed)?;
    let start = args.from.map_or(now, Instant::unix);
    let until = args.until.map(Instant::unix);
    if until.is_some_and(|until| until <= now) {
        return Err(AskError::Time("the end is in the past").into());
    }
    let lifetime = match (args.lasts, until) {
        (Some(lasts), _) => Some(Lifetime::seconds(lasts)),
        (None, Some(until)) => until.checked_sub(start).filter(|lifetime| *lifetime > 0),
        (None, None) => None,
    };
    let lifetime = lifetime.ok_or(AskError::Time("the end is not after the start"))?;
    if start.saturating_add(lifetime) <= now {
        return Err(AskError::Time("the end is in the past").into());
    }
    let categories = indexes(&args.category, args.preset)?;
    let not_before = args.from.map(Instant::unix);
    let request = GrantRequest { grantee, categories, purposes, not_before, lifetime };
    give(Wish { request, until, out: args.out.clone() }, patient, session, ui).await
}

/// Makes the terms, keeps them, seals the keys to the reader, and only then changes the chain.
pub(crate) async fn give(
    wish: Wish,
    patient: &Patient,
    session: &Session,
    ui: &Ui,
) -> Result<(), CliError> {
    let Wish { request, until, out } = wish;
    let effect = Effect::new(&request.categories, request.purposes);
    effect.show(request.purposes, ui);
    warn(&request, session, ui);
    let mut consent = waiting(ui, "make the consent's terms", patient.terms(&request, 0)).await?;
    consent.expiry = until.unwrap_or(consent.expiry);
    let envelope = if consent.is_network() {
        ui.warn(
            "every active organization can log reads under this consent; the keys that open records \
            are not handed out by it",
        );
        None
    } else {
        let doing = "seal the keys to the reader";
        Some(Bytes::from(sending(ui, doing, patient.envelope(&consent)).await?))
    };
    keep(session, &consent, &request.categories, envelope.clone())?;
    let doing = "grant the consent";
    let sent = match sending(ui, doing, patient.grant_terms(&[consent])).await {
        Ok(sent) => sent,
        Err(error) => {
            forget(session, &error, consent.id())?;
            return Err(error);
        }
    };
    session.change_book(|book| {
        let known = book.consents.iter_mut().find(|known| known.consent == consent);
        if let Some(known) = known {
            known.granted_in = sent.block;
        }
        Ok(())
    })?;
    let line = envelope.map(|envelope| Code::new(Kind::Grant, envelope.to_vec()).to_string());
    let file = match (&line, &out) {
        (Some(line), Some(path)) => {
            Some(outfile::write(path, format!("{line}\n").as_bytes(), false)?.display().to_string())
        }
        _ => None,
    };
    let terms = Terms::new(session, &consent, &request.categories);
    let sent = landed(session, &sent).await?;
    let answer = Granted { consent: terms, effect, grant: line, file, sent };
    if ui.json() {
        return ui.object(&answer);
    }
    if let (Some(line), None) = (&answer.grant, &answer.file) {
        ui.line(line)?;
    }
    let Granted { consent: terms, sent, .. } = &answer;
    row(
        ui,
        &[
            &terms.id,
            &terms.grantee(),
            &list(&terms.categories),
            &list(&terms.purposes),
            &Instant::from_unix(terms.from),
            &Instant::from_unix(terms.until),
            &format!("{:#x}", sent.transaction),
            &sent.finality,
        ],
    )
}

/// The terms are on chain only as a salted hash: without the book nobody could say them again.
pub(crate) fn keep(
    session: &Session,
    consent: &Consent,
    categories: &[u8],
    envelope: Option<Bytes>,
) -> Result<(), CliError> {
    let known = KnownConsent {
        consent: *consent,
        grantee: Party::new(session, consent.grantee).to_string(),
        categories: categories.to_vec(),
        granted_in: 0,
        envelope,
    };
    session.change_book(|book| {
        book.consents.push(known);
        Ok(())
    })
}

/// Takes terms out of the book that certainly did not reach the chain.
pub(crate) fn forget(session: &Session, error: &CliError, id: ConsentId) -> Result<(), CliError> {
    let surely = matches!(
        error.kind(),
        ErrorKind::Declined | ErrorKind::Denied | ErrorKind::Invalid | ErrorKind::NotFound
    );
    if !surely {
        return Ok(());
    }
    session.change_book(|book| {
        book.consents.retain(|known| known.consent.id() != id);
        Ok(())
    })
}

/// What a person should look at twice.
pub(crate) fn warn(request: &GrantRequest, session: &Session, ui: &Ui) {
    let known = galen_fhir::Category::from_index;
    let sensitive = |index: &&u8| known(**index).is_some_and(galen_fhir::Category::is_sensitive);
    let named: Vec<String> =
        request.categories.iter().filter(sensitive).map(|index| category(*index)).collect();
    if !named.is_empty() {
        ui.warn(&format!("sensitive: {}", list(named)));
    }
    if request.lifetime > LONG {
        ui.warn("the consent lasts longer than a year");
    }
    let stranger = session.book().contact(request.grantee).is_none_or(|contact| !contact.verified);
    if stranger && request.grantee != Address::ZERO {
        ui.warn("you never compared this reader's words with them: `galen contact show` has them");
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
