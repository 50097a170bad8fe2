//! `galen access log`: the reads that the profile logged.

use galen_index::AccessEntry;
use galen_types::{ConsentId, RecordId};
use serde::Serialize;

use crate::{
    args::AccessLogArgs,
    commands::shown::{self, Horizon, Moment, Party, waiting},
    error::CliError,
    session::Session,
    table::row,
    ui::Ui,
};

/// The result of `galen access log --json`.
#[derive(Debug, Serialize)]
struct Logged {
    accesses: Vec<LogLine>,
}

#[derive(Debug, Serialize)]
struct LogLine {
    at: Moment,
    patient: Party,
    record: RecordId,
    purpose: String,
    consent: ConsentId,
    /// Under a consent for every active organization.
    network: bool,
}

pub(super) async fn run(args: &AccessLogArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let own = session.id();
    let of = args.patient.as_deref().map(|text| session.resolve(text)).transpose()?;
    let look = session.galen().with_view(|view| {
        let charts = view.charts().filter(|(patient, _)| of.is_none_or(|of| of == *patient));
        let accesses = charts.flat_map(|(_, chart)| chart.accesses());
        let mut accesses: Vec<AccessEntry> =
            accesses.filter(|access| access.event.grantee == own).copied().collect();
        accesses.sort_unstable_by_key(|access| access.at);
        accesses
    });
    let mut accesses = Vec::new();
    let found = waiting(ui, "read the log", look).await?;
    let horizon = Horizon::now(session).await?;
    for AccessEntry { at, event } in found {
        accesses.push(LogLine {
            at: horizon.moment(at),
            patient: Party::new(session, event.patient),
            record: event.record,
            purpose: shown::purpose(event.purpose),
            consent: event.consent,
            network: event.network,
        });
    }
    if ui.json() {
        return ui.object(&Logged { accesses });
    }
    accesses.iter().try_for_each(|line| {
        row(
            ui,
            &[
                &line.at.instant(),
                &line.patient,
                &line.record,
                &line.purpose,
                &line.consent,
                &format!("{:#x}", line.at.transaction),
                &line.at.finality,
            ],
        )
    })
}
