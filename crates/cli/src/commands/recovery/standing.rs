//! How an id is guarded, and what waits for it.

use alloy_primitives::{Address, B256};
use galen_chain::PendingKind;
use galen_sdk::GuardState;
use serde::Serialize;

use crate::{
    book::OwnGuardians,
    commands::shown::{Party, cannot, waiting},
    error::CliError,
    session::Session,
    table::list,
    ui::Ui,
    when::Instant,
};

/// The result of `galen recovery status --json` and `galen guardian status --json`.
#[derive(Debug, Serialize)]
pub(crate) struct Standing {
    id: Party,
    /// Who signs for the id now.
    controller: Address,
    /// Absent if there are no guardians.
    #[serde(skip_serializing_if = "Option::is_none")]
    commitment: Option<B256>,
    /// Seconds that a recovery waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    delay: Option<u32>,
    /// Who they are, where this profile chose them.
    #[serde(skip_serializing_if = "Option::is_none")]
    guardians: Option<Guards>,
    /// What waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<Pending>,
    /// Whether a recovery finished, and the id did not change hands since.
    recovered: bool,
}

/// The guardians that this profile chose.
#[derive(Debug, Serialize)]
struct Guards {
    guardians: Vec<Party>,
    threshold: u8,
    final_threshold: u8,
    /// Whether their pieces were made.
    pieces: bool,
    /// Whether they hold all of the seed, without proxies.
    whole: bool,
    /// Proxies that have not got theirs yet.
    undelivered: Vec<Party>,
}

#[derive(Debug, Serialize)]
struct Pending {
    kind: PendingKind,
    /// Who would sign for the id; absent for a change of guardians.
    #[serde(skip_serializing_if = "Option::is_none")]
    controller: Option<Address>,
    /// Unix second from which it can be finished.
    ready_at: u64,
    /// Whether it can be finished now.
    ready: bool,
    /// Whether the controller can cancel it now.
    cancellable: bool,
}

/// Seconds between two cancelled recoveries.
const CANCEL_INTERVAL: u64 = 30 * 86_400;

impl Standing {
    pub(crate) async fn read(session: &Session, id: Address, ui: &Ui) -> Result<Self, CliError> {
        let galen = session.galen();
        let state = waiting(ui, "ask who guards the id", galen.guard_state(id)).await?;
        let failed = cannot("ask who guards the id");
        let now = galen.time().await.map_err(|error| failed(error.into()))?;
        let recovered = galen.with_chart(id, |chart| chart.recovery().is_some()).await;
        let commitment = state.guardianship.is_set().then_some(state.guardianship.commitment);
        let book = session.book();
        let own = book.guardians.iter().find(|own| Some(own.set.commitment()) == commitment);
        let standing = Self {
            id: Party::new(session, id),
            controller: state.controller,
            commitment,
            delay: commitment.map(|_| state.guardianship.delay),
            guardians: own.filter(|_| id == session.id()).map(|own| Guards::new(own, session)),
            pending: pending(&state, now),
            recovered: recovered.map_err(&failed)?,
        };
        if id == session.id() {
            standing.alarm(ui);
        }
        Ok(standing)
    }

    pub(crate) fn waits_for(&self, kind: PendingKind) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.kind == kind)
    }

    /// Somebody takes the profile's own id over.
    fn alarm(&self, ui: &Ui) {
        let Some(pending) = self.pending.as_ref().filter(|it| it.kind.is_recovery()) else {
            return;
        };
        let end = if pending.cancellable {
            "cancel it now: `galen recovery cancel`"
        } else {
            "speak to your guardians at once: it cannot be cancelled"
        };
        ui.show_alarm(&format!(
            "Guardians hand your id to another key from {} on. If you did not ask them, {end}.",
            Instant::from_unix(pending.ready_at),
        ));
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows =
            vec![("id", self.id.to_string()), ("controller", format!("{:#x}", self.controller))];
        rows.push((
            "guardians",
            match (&self.commitment, &self.guardians) {
                (None, _) => "none".to_owned(),
                (Some(commitment), None) => format!("{commitment:#x}"),
                (_, Some(known)) => list(&known.guardians),
            },
        ));
        if let Some(known) = &self.guardians {
            rows.push(("threshold", known.threshold.to_string()));
            rows.push(("final", known.final_threshold.to_string()));
            let pieces = match (known.pieces, known.whole) {
                (false, _) => "not made: `galen guardian pieces`",
                (true, true) => "whole seed with the guardians",
                (true, false) => "half with the guardians, half with proxies",
            };
            rows.push(("pieces", pieces.to_owned()));
            if !known.undelivered.is_empty() {
                rows.push(("undelivered", list(&known.undelivered)));
            }
        }
        if let Some(delay) = self.delay {
            rows.push(("delay", format!("{delay}s")));
        }
        match &self.pending {
            None => rows.push(("waits", "nothing".to_owned())),
            Some(pending) => {
                rows.push(("waits", word(pending.kind).to_owned()));
                if let Some(controller) = pending.controller {
                    rows.push(("new_controller", format!("{controller:#x}")));
                }
                rows.push(("ready_at", Instant::from_unix(pending.ready_at).to_string()));
                rows.push(("ready", yes(pending.ready)));
                rows.push(("cancellable", yes(pending.cancellable)));
            }
        }
        rows.push(("recovered", yes(self.recovered)));
        rows
    }
}

impl Guards {
    fn new(own: &OwnGuardians, session: &Session) -> Self {
        let party = |id: &Address| Party::new(session, *id);
        Self {
            guardians: own.set.guardians.iter().map(party).collect(),
            threshold: own.set.threshold,
            final_threshold: own.set.final_threshold,
            pieces: !own.pieces.is_empty(),
            whole: own.whole,
            undelivered: own.deliveries.iter().map(|(id, ..)| party(id)).collect(),
        }
    }
}

fn pending(state: &GuardState, now: u64) -> Option<Pending> {
    let pending = state.pending?;
    let last = state.guardianship.last_cancelled;
    let recently = last != 0 && now < last + CANCEL_INTERVAL;
    Some(Pending {
        kind: pending.kind,
        controller: (!pending.controller.is_zero()).then_some(pending.controller),
        ready_at: pending.ready_at,
        ready: now >= pending.ready_at,
        cancellable: match pending.kind {
            PendingKind::FinalRecovery => false,
            PendingKind::Recovery => !recently,
            PendingKind::Rotation | PendingKind::GuardianChange => true,
        },
    })
}

pub(crate) fn print_standing(standing: &Standing, ui: &Ui) -> Result<(), CliError> {
    if ui.json() {
        return ui.object(standing);
    }
    standing.rows().iter().try_for_each(|(key, value)| ui.line(&format!("{key}\t{value}")))
}

/// What waits, as one word.
pub(super) const fn word(kind: PendingKind) -> &'static str {
    match kind {
        PendingKind::Rotation => "rotation",
        PendingKind::GuardianChange => "guardian-change",
        PendingKind::Recovery => "recovery",
        PendingKind::FinalRecovery => "final-recovery",
    }
}

fn yes(value: bool) -> String {
    crate::table::yes(value).to_owned()
}
