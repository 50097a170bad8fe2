//! Whether the custodian worked lately, what it left, and what an author keeps for it.

use std::time::Duration;

use galen_sdk::{Copies, Role};

use super::Report;
use crate::{
    commands::shown::cannot,
    custody,
    error::CliError,
    session::Session,
    transfers::{bytes, span},
};

/// After this long without a pass the custodian is missed.
const MAX_AGE: Duration = Duration::from_secs(24 * 3_600);

const HELP: &str = "run `galen custodian` all the time, or `galen custodian --once` now and then";

pub(super) fn examine(session: &Session, report: &mut Report) {
    if session.role() == Role::Reader {
        return;
    }
    match look(session) {
        Ok(seen) => tell(&seen, session.role(), report),
        Err(error) => report.error("custodian", &error),
    }
    if session.role() == Role::Organization {
        copies(session, report);
    }
}

/// What the journals say.
#[derive(Default)]
struct Seen {
    /// Charts with a journal.
    charts: usize,
    /// Charts without.
    never: usize,
    /// How long ago the chart was seen to that waits longest.
    oldest: Option<Duration>,
    /// Contents under way, in all charts.
    unfinished: usize,
}

fn look(session: &Session) -> Result<Seen, CliError> {
    let (place, ledger) = (session.place(), session.network().id());
    let charts = match session.role() {
        Role::Patient => vec![session.id()],
        _ => session.book().introduced().collect(),
    };
    let mut seen = Seen::default();
    for patient in charts {
        match custody::look(&place, ledger, patient)? {
            Some((unfinished, age)) => {
                seen.charts += 1;
                seen.unfinished += unfinished.len();
                seen.oldest = seen.oldest.max(Some(age));
            }
            None => seen.never += 1,
        }
    }
    Ok(seen)
}

fn tell(seen: &Seen, role: Role, report: &mut Report) {
    let Seen { charts, never, oldest, unfinished } = *seen;
    let Some(age) = oldest else {
        let found = match (role, never) {
            (Role::Patient, _) => "never ran: what is read keeps its key and address",
            (_, 0) => "no patient has introduced themselves yet",
            _ => "never ran: what is read keeps its key and address, unless patients see to it",
        };
        return report.ok("custodian", found);
    };
    let mut found = match role {
        Role::Organization => format!("saw to {charts} charts, to each within {}", span(age)),
        _ => format!("worked {} ago", span(age)),
    };
    found = format!("{found}, {unfinished} under way");
    if never > 0 {
        found = format!("{found}; never to {never} more");
    }
    if age > MAX_AGE || never > 0 {
        report.warn("custodian", found, HELP);
    } else {
        report.ok("custodian", found);
    }
}

/// What an author keeps, without which its custodian seals nothing anew.
fn copies(session: &Session, report: &mut Report) {
    let kept = match Copies::in_directory(session.place().copies()).count() {
        Ok((count, len)) => format!("{count} kept, {}", bytes(len)),
        Err(error) => return report.error("own_copies", &cannot("count the own copies")(error)),
    };
    report.ok(
        "own_copies",
        match session.settings().copies.value {
            true => kept,
            false => format!("off: what is sealed now this custodian cannot seal anew; {kept}"),
        },
    );
}
