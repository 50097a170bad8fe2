//! `galen consent grant`: what a person asks for becomes terms.

use std::path::PathBuf;

use alloy_primitives::Address;
use galen_fhir::Preset;
use galen_sdk::{GrantRequest, Patient};
use galen_types::PurposeSet;
use serde::Serialize;

use super::{
    Terms,
    granting::{Made, Shares, Way, grant_all},
};
use crate::{
    args::ConsentGrantArgs,
    asked::AskError,
    code::{Code, Kind},
    commands::{
        effect::Effect,
        shown::{Landed, category, indexes, landed, waiting},
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
    /// None in direct mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    proxies: Option<Shares>,
    sent: Landed,
}

/// What a grant is to be, from flags or from a request.
pub(crate) struct Wish {
    pub(crate) request: GrantRequest,
    /// The exact end, where one was named.
    pub(crate) until: Option<u64>,
    pub(crate) out: Option<PathBuf>,
    /// Without proxies, though there are some.
    pub(crate) direct: bool,
}

/// `galen consent grant`.
pub(super) async fn grant(
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
    give(Wish { request, until, out: args.out.clone(), direct: args.direct }, patient, session, ui)
        .await
}

/// Makes the terms, keeps them, seals the keys to the reader, and only then changes the chain.
pub(crate) async fn give(
    wish: Wish,
    patient: &Patient,
    session: &Session,
    ui: &Ui,
) -> Result<(), CliError> {
    let Wish { request, until, out, direct } = wish;
    let effect = Effect::new(&request.categories, request.purposes);
    effect.show(request.purposes, ui);
    warn(&request, session, ui);
    let mut consent = waiting(ui, "make the consent's terms", patient.terms(&request, 0)).await?;
    consent.expiry = until.unwrap_or(consent.expiry);
    let wanted = [(consent, request.categories.clone())];
    let Made { envelopes, sent, through } =
        grant_all(&wanted, &Way::of(session, direct), patient, session, ui).await?;
    let envelope = envelopes.into_iter().flatten().next();
    let line = envelope.map(|envelope| Code::new(Kind::Grant, envelope.to_vec()).to_string());
    let file = match (&line, &out) {
        (Some(line), Some(path)) => {
            Some(outfile::write(path, format!("{line}\n").as_bytes(), false)?.display().to_string())
        }
        _ => None,
    };
    let terms = Terms::new(session, &consent, &request.categories);
    let sent = landed(session, &sent).await?;
    let answer = Granted { consent: terms, effect, grant: line, file, proxies: through, sent };
    if ui.json() {
        return ui.object(&answer);
    }
    match (&answer.grant, &answer.file, &answer.proxies) {
        (Some(_), None, Some(shares)) if shares.reached_one() => {
            ui.status(
                "The reader fetches its keys from one of the proxies: `galen grant fetch URL`.",
            );
        }
        (Some(line), None, _) => ui.line(line)?,
        _ => {}
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
