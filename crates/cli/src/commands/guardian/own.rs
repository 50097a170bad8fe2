//! The owner of an id chooses who guards it.

use std::sync::Mutex;

use alloy_primitives::Address;
use galen_chain::PendingKind;
use galen_sdk::{GuardState, GuardianPlan};
use serde::Serialize;

use super::pieces::{self, Made};
use crate::{
    args::GuardianSetArgs,
    book::OwnGuardians,
    commands::{
        recovery::{Standing, print_standing},
        shown::{Landed, cannot, landed, sending, waiting},
    },
    error::CliError,
    session::Session,
    table::row,
    ui::Ui,
    unlock::Keyring,
    when::Instant,
};

/// Most sets that a book remembers. Older ones helped nobody any more.
const MAX_SETS: usize = 8;

/// The result of `galen guardian set --json`.
#[derive(Debug, Serialize)]
struct Chosen {
    /// `set` or `waiting`.
    state: &'static str,
    /// Unix second from which a change can be finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    ready_at: Option<u64>,
    threshold: u8,
    final_threshold: u8,
    /// Seconds.
    delay: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    made: Option<Made>,
    /// Absent if the ledger had it already.
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<Landed>,
}

pub(super) async fn set(
    args: &GuardianSetArgs,
    session: &Session,
    keyring: &Mutex<Keyring>,
    ui: &Ui,
) -> Result<(), CliError> {
    let plan = plan(args, session)?;
    let proxies = pieces::proxies(session, args.without_proxies);
    pieces::warn_of(plan.threshold, plan.guardians.len(), proxies.is_none(), ui);
    require_keys(&plan.guardians, session, ui).await?;
    let guarded = session.guarded();
    let failed = cannot("choose the guardians");
    let before = waiting(ui, "ask who guards the id", guarded.state()).await?;
    let (own, sent) = match known(session, &before, &plan) {
        Some(own) => (own, None),
        None => {
            let set = guarded.set_of(&plan).await.map_err(&failed)?;
            let own = OwnGuardians {
                set,
                delay: plan.delay,
                pieces: Vec::new(),
                whole: proxies.is_none(),
                deliveries: Vec::new(),
            };
            // First the book: the ledger knows the set by a hash only.
            remember(session, &own)?;
            let work = guarded.set(&own.set, own.delay);
            let sent = sending(ui, "set the guardians", work).await?;
            (own, Some(landed(session, &sent).await?))
        }
    };
    let after = guarded.state().await.map_err(&failed)?;
    let is_set = after.guardianship.commitment == own.set.commitment();
    let made = match is_set {
        true => Some(pieces::make(&own, proxies.as_ref(), session, keyring, ui).await?),
        false => None,
    };
    let chosen = Chosen {
        state: if is_set { "set" } else { "waiting" },
        ready_at: after.pending.filter(|_| !is_set).map(|pending| pending.ready_at),
        threshold: own.set.threshold,
        final_threshold: own.set.final_threshold,
        delay: own.delay,
        made,
        sent,
    };
    print(&chosen, args, ui)
}

fn print(chosen: &Chosen, args: &GuardianSetArgs, ui: &Ui) -> Result<(), CliError> {
    if let Some(ready_at) = chosen.ready_at {
        ui.show(&format!(
            "The guardians before keep guarding until the change is finished, from {} on: \
             `galen recovery finish self`, then `galen guardian pieces`.",
            Instant::from_unix(ready_at)
        ));
    }
    if let Some(made) = &chosen.made {
        made.write(args.out.as_deref())?;
    }
    if ui.json() {
        return ui.object(chosen);
    }
    match &chosen.made {
        Some(made) => made.print(ui),
        None => row(ui, &[&chosen.state, &Instant::from_unix(chosen.ready_at.unwrap_or_default())]),
    }
}

fn plan(args: &GuardianSetArgs, session: &Session) -> Result<GuardianPlan, CliError> {
    let guardians: Vec<Address> =
        args.guardians.iter().map(|name| session.resolve(name)).collect::<Result<_, _>>()?;
    let count = u8::try_from(guardians.len()).unwrap_or(u8::MAX);
    let wrong = || CliError::invalid("the delay is too long", "choose 3 to 21 days");
    Ok(GuardianPlan {
        threshold: args.threshold.unwrap_or(count / 2 + 1),
        final_threshold: args.final_threshold.unwrap_or(count),
        delay: u32::try_from(args.delay.seconds()).map_err(|_| wrong())?,
        guardians,
    })
}

/// The set of this plan that the ledger has already, or that waits there.
fn known(session: &Session, state: &GuardState, plan: &GuardianPlan) -> Option<OwnGuardians> {
    let mut guardians = plan.guardians.clone();
    guardians.sort_unstable();
    let there = |own: &&OwnGuardians| {
        let commitment = own.set.commitment();
        let waits = state.pending.is_some_and(|pending| pending.commitment == commitment);
        waits || state.guardianship.commitment == commitment
    };
    let same = |own: &&OwnGuardians| {
        own.set.guardians == guardians
            && (own.set.threshold, own.set.final_threshold, own.delay)
                == (plan.threshold, plan.final_threshold, plan.delay)
    };
    session.book().guardians.iter().filter(there).find(same).cloned()
}

/// Nothing is signed before it is known that each guardian can get a piece.
async fn require_keys(guardians: &[Address], session: &Session, ui: &Ui) -> Result<(), CliError> {
    for guardian in guardians {
        let work = session.galen().keys_of(*guardian);
        waiting(ui, "look up the keys of the guardians", work).await?;
        let verified = session.book().contact(*guardian).is_some_and(|known| known.verified);
        if !verified {
            ui.warn(&format!(
                "you have not compared the words of {} with them: somebody else could hold that key",
                session.display(*guardian)
            ));
        }
    }
    Ok(())
}

/// Puts a set into the book, or its pieces.
pub(super) fn remember(session: &Session, own: &OwnGuardians) -> Result<(), CliError> {
    session.change_book(|book| {
        let sets = &mut book.guardians;
        match sets.iter_mut().find(|known| known.set == own.set) {
            Some(known) => known.clone_from(own),
            None => sets.push(own.clone()),
        }
        let surplus = sets.len().saturating_sub(MAX_SETS);
        sets.drain(..surplus);
        Ok(())
    })
}

/// The result of `galen guardian remove --json`.
#[derive(Debug, Serialize)]
struct Removed {
    /// `removed` or `waiting`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ready_at: Option<u64>,
    sent: Landed,
}

pub(super) async fn remove(session: &Session, ui: &Ui) -> Result<(), CliError> {
    let guarded = session.guarded();
    let before = waiting(ui, "ask who guards the id", guarded.state()).await?;
    if !before.guardianship.is_set() {
        return Err(CliError::not_found(
            "the id has no guardians",
            "`galen guardian set` chooses some",
        ));
    }
    let sent = sending(ui, "remove the guardians", guarded.remove()).await?;
    let after = guarded.state().await.map_err(cannot("ask who guards the id"))?;
    let is_set = after.guardianship.is_set();
    let removed = Removed {
        state: if is_set { "waiting" } else { "removed" },
        ready_at: after.pending.filter(|_| is_set).map(|pending| pending.ready_at),
        sent: landed(session, &sent).await?,
    };
    if ui.json() {
        return ui.object(&removed);
    }
    let ready = removed.ready_at.map(|at| Instant::from_unix(at).to_string()).unwrap_or_default();
    row(ui, &[&removed.state, &ready])
}

pub(super) async fn status(session: &Session, ui: &Ui) -> Result<(), CliError> {
    let standing = Standing::read(session, session.id(), ui).await?;
    if standing.waits_for(PendingKind::GuardianChange) {
        ui.show("A change of guardians waits: `galen recovery cancel` drops it.");
    }
    print_standing(&standing, ui)
}
