//! `galen consent rotate`: new keys for everything that comes, and on request for everything that is there.

use alloy_primitives::Bytes;
use galen_sdk::{ConsentStatus, MAX_GRANTS, Patient, proxies::ProxySet};
use galen_types::{Consent, ConsentId};
use serde::Serialize;

use super::{
    deliver::{self, Delivered},
    granting::{await_delivery, set, through_of},
    known,
};
use crate::{
    args::ConsentRotateArgs,
    code::{Code, Kind},
    commands::shown::{Landed, Party, cannot, landed, sending, waiting},
    error::CliError,
    session::Session,
    table::row,
    ui::Ui,
};

/// Records that are sealed anew at a time.
const MOVES: usize = 32;

/// Most times that records are looked for: for a hundred thousand of them.
const MAX_PASSES: usize = 4_096;

/// The result of `galen consent rotate --json`.
#[derive(Debug, Serialize)]
struct Rotated {
    epoch: u32,
    /// None where an earlier run had published the keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<Landed>,
    consents: Vec<Line>,
    shares: Vec<Delivered>,
    /// Records that were sealed anew; with `--finish`.
    #[serde(skip_serializing_if = "Option::is_none")]
    moved: Option<usize>,
}

/// A consent whose keys were made anew.
#[derive(Debug, Serialize)]
struct Line {
    id: ConsentId,
    /// None means every active organization.
    grantee: Option<Party>,
    /// `through` or `direct`.
    way: &'static str,
    /// The line for the reader; none for a consent to every organization.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<String>,
}

pub(super) async fn run(
    args: &ConsentRotateArgs,
    patient: &Patient,
    session: &Session,
    ui: &Ui,
) -> Result<(), CliError> {
    let (through, direct) = live(patient, session, ui).await?;
    let proxies = set(&session.book().proxies);
    if proxies.is_none() && !through.is_empty() {
        return Err(CliError::invalid(
            format!("{} consents go through proxies, and there are none left", through.len()),
            "add proxies with `galen proxy add`, or revoke those consents first",
        ));
    }
    let (epoch, sent) = publish(patient, session, ui).await?;
    let mut consents = Vec::new();
    if let Some(set) = &proxies {
        consents.extend(renew(&through, set, patient, session, ui).await?);
    }
    consents.extend(seal_again(&direct, patient, session, ui).await?);
    session.change_book(|book| {
        book.rotation = None;
        Ok(())
    })?;
    let shares = deliver::all(session, ui, deliver::PATIENCE).await?;
    let moved = match args.finish {
        true => Some(finish(patient, ui).await?),
        false => None,
    };
    let sent = match &sent {
        Some(sent) => Some(landed(session, sent).await?),
        None => None,
    };
    let answer = Rotated { epoch, sent, consents, shares, moved };
    if ui.json() { ui.object(&answer) } else { answer.print(ui) }
}

/// Consents that go on: those through proxies, and those in direct mode.
async fn live(
    patient: &Patient,
    session: &Session,
    ui: &Ui,
) -> Result<(Vec<Consent>, Vec<Consent>), CliError> {
    let known = known(session);
    let entries = waiting(ui, "read the consents", patient.consents(&known)).await?;
    let unknown = entries.iter().filter(|it| it.status == ConsentStatus::Unknown).count();
    if unknown > 0 {
        ui.warn(&format!(
            "{unknown} consents are live whose terms this profile does not have: their readers get no new keys"
        ));
    }
    let goes_on = |status| matches!(status, ConsentStatus::Live | ConsentStatus::NotYet);
    let live = entries.iter().filter(|entry| goes_on(entry.status)).filter_map(|it| it.terms);
    let book = session.book();
    let is_through = |consent: &Consent| {
        let kept = book.consents.iter().find(|known| known.consent == *consent);
        kept.is_some_and(|known| known.through.is_some())
    };
    let (through, direct): (Vec<Consent>, Vec<Consent>) = live.partition(is_through);
    // Nobody holds keys of a consent to every organization that went through no proxy.
    Ok((through, direct.into_iter().filter(|consent| !consent.is_network()).collect()))
}

/// Publishes the keys of the next epoch, unless a run that was interrupted did.
async fn publish(
    patient: &Patient,
    session: &Session,
    ui: &Ui,
) -> Result<(u32, Option<galen_chain::Sent>), CliError> {
    let epoch = waiting(ui, "look up the current keys", patient.epoch()).await?;
    if session.book().rotation.is_some_and(|target| target <= epoch) {
        ui.status(&format!("Going on with epoch {epoch}, which is published."));
        return Ok((epoch, None));
    }
    let open = waiting(ui, "look for open proposals", patient.inbox()).await?.len();
    if open > 0 {
        ui.warn(&format!(
            "{open} proposals wait for your answer under the keys of now; after this they can only be \
             rejected, and their authors must propose again"
        ));
    }
    let next = epoch.saturating_add(1);
    ui.require_yes(&format!("Start epoch {next} with new keys?"))?;
    session.change_book(|book| {
        book.rotation = Some(next);
        Ok(())
    })?;
    let sent = sending(ui, "publish the new keys", patient.next_epoch()).await?;
    Ok((next, Some(sent)))
}

/// New halves for readers and new shares for the proxies of the set.
async fn renew(
    consents: &[Consent],
    set: &ProxySet,
    patient: &Patient,
    session: &Session,
    ui: &Ui,
) -> Result<Vec<Line>, CliError> {
    let mut lines = Vec::new();
    for consents in consents.chunks(MAX_GRANTS) {
        let work = patient.renew(consents, set);
        let renewed = sending(ui, "split the new keys between readers and proxies", work).await?;
        let through = through_of(set);
        session.change_book(|book| {
            for one in &renewed {
                let known = book.consents.iter_mut().find(|it| it.consent == one.consent);
                let Some(known) = known else { continue };
                known.through = Some(through.clone());
                let envelope = (!one.envelope.is_empty()).then(|| one.envelope.clone().into());
                known.envelope = envelope;
            }
            Ok(())
        })?;
        lines.extend(renewed.iter().map(|one| {
            let envelope = (!one.envelope.is_empty()).then(|| one.envelope.clone());
            Line::new(session, &one.consent, "through", envelope)
        }));
        await_delivery(session, renewed)?;
    }
    Ok(lines)
}

/// Whole keys for the readers of direct consents.
async fn seal_again(
    consents: &[Consent],
    patient: &Patient,
    session: &Session,
    ui: &Ui,
) -> Result<Vec<Line>, CliError> {
    let mut lines = Vec::new();
    for consent in consents {
        let work = patient.envelope(consent);
        let envelope = sending(ui, "seal the new keys to the reader", work).await?;
        session.change_book(|book| {
            let known = book.consents.iter_mut().find(|known| known.consent == *consent);
            if let Some(known) = known {
                known.envelope = Some(Bytes::from(envelope.clone()));
            }
            Ok(())
        })?;
        lines.push(Line::new(session, consent, "direct", Some(envelope)));
    }
    Ok(lines)
}

/// Seals anew what lies under older keys. It may be interrupted at any moment: the next run goes on.
async fn finish(patient: &Patient, ui: &Ui) -> Result<usize, CliError> {
    let mut moved = 0;
    // This looks at every header once: the calls below know them all.
    let mut finished = is_finished(patient).await?;
    for _ in 0..MAX_PASSES {
        let older = patient.of_older_epochs(MOVES, &|_| true).await;
        let older = older.map_err(cannot("find records of older keys"))?;
        if older.is_empty() {
            finished = finished || is_finished(patient).await?;
            break;
        }
        let work = patient.reseal(&older);
        let (resealed, _) = sending(ui, "seal old records anew", work).await?;
        moved += resealed.len();
        ui.status(&format!("{moved} records lie under the new keys."));
    }
    if finished {
        return Ok(moved);
    }
    Err(CliError::unavailable(
        "some records lie under older keys still, since their content cannot be had",
        "see that the stores answer (`galen content check`), then run it again: it goes on",
    ))
}

/// Whether no current content lies under older keys.
async fn is_finished(patient: &Patient) -> Result<bool, CliError> {
    let doing = "look up the epochs in use";
    let epoch = patient.epoch().await.map_err(cannot(doing))?;
    let used = patient.epochs_in_use().await.map_err(cannot(doing))?;
    Ok(used.values().flatten().all(|used| *used == epoch))
}

impl Line {
    fn new(
        session: &Session,
        consent: &Consent,
        way: &'static str,
        envelope: Option<Vec<u8>>,
    ) -> Self {
        let named = !consent.is_network();
        Self {
            id: consent.id(),
            grantee: named.then(|| Party::new(session, consent.grantee)),
            way,
            grant: envelope.map(|envelope| Code::new(Kind::Grant, envelope).to_string()),
        }
    }
}

impl Rotated {
    fn print(&self, ui: &Ui) -> Result<(), CliError> {
        row(ui, &[&"epoch", &self.epoch])?;
        for Line { id, grantee, way, grant } in &self.consents {
            let grantee = grantee.as_ref().map(ToString::to_string);
            let grantee = grantee.unwrap_or_else(|| "every organization".to_owned());
            row(ui, &[id, &grantee, way, &grant.as_deref().unwrap_or_default()])?;
        }
        self.moved.map_or(Ok(()), |moved| row(ui, &[&"moved", &moved]))
    }
}
