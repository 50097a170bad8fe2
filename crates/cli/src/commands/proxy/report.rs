//! `galen proxy report`: what proxies say that they did, held against the chain.

use std::process::ExitCode;

use alloy_primitives::{Address, B256};
use galen_crypto::ProxyPlace;
use galen_index::{AccessEntry, Chart};
use galen_sdk::{
    Patient,
    proxies::{ProxyReport, wire::ReportEntry},
};
use galen_types::ErrorKind;
use serde::Serialize;

use super::places::{ask_once, called, client, shown};
use crate::{
    args::ProxyReportArgs,
    commands::shown::{Party, cannot, patient},
    error::CliError,
    session::Session,
    table::row,
    ui::Ui,
    when::Instant,
};

/// The result of `galen proxy report --json`.
#[derive(Debug, Serialize)]
struct Answer {
    since: u64,
    proxies: Vec<OfProxy>,
}

/// What one proxy said.
#[derive(Debug, Serialize)]
struct OfProxy {
    name: String,
    proxy: Address,
    url: String,
    /// `ok`; `unlogged`: it says that it served what is not logged; `forged`: the report is not its own; `silent`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    served: usize,
    refused: u64,
    entries: Vec<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Line {
    time: u64,
    /// `served`, `refused` or `unlogged`.
    what: &'static str,
    reader: Party,
    record: B256,
    consent: B256,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// How often.
    times: u64,
    /// Block and log of the access.
    #[serde(skip_serializing_if = "Option::is_none")]
    access: Option<(u64, u64)>,
}

pub(super) async fn run(
    args: &ProxyReportArgs,
    session: &Session,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    let patient = patient(session)?;
    let since = args.since.map_or(0, Instant::unix);
    let places = places(session);
    if places.is_empty() {
        let help = "`galen proxy add` adds one";
        return Err(CliError::not_found("no consent in the book goes through a proxy", help));
    }
    let client = client(session)?;
    let covers = "Ask each of your proxies what it served and refused.";
    ask_once(session, places.len(), "ReportRequest", covers)?;
    let mut reports = Vec::new();
    for place in places {
        ui.status(&format!("Asking {} for its report.", called(session, &place)));
        let report = patient.proxy_report(&client, &place, since).await;
        reports.push((place, report));
    }
    let logged = logged(&patient, session).await?;
    let own = patient.id();
    let proxies = reports.into_iter();
    let proxies =
        proxies.map(|(place, report)| OfProxy::new(session, own, &place, report, &logged));
    let answer = Answer { since, proxies: proxies.collect() };
    if ui.json() {
        ui.object(&answer)?;
    } else {
        answer.proxies.iter().try_for_each(|one| one.print(ui))?;
    }
    Ok(answer.verdict(ui))
}

/// The proxies of the set, and those that hold shares of consents in the book.
fn places(session: &Session) -> Vec<ProxyPlace> {
    let book = session.book();
    let set = book.proxies.places.iter().map(|proxy| (proxy.id, proxy.url.clone()));
    let through = book.consents.iter().filter_map(|known| known.through.as_ref());
    let mut places: Vec<ProxyPlace> = Vec::new();
    for (id, url) in set.chain(through.flat_map(|it| it.places.iter().cloned())) {
        if !places.iter().any(|place| place.id == id) {
            places.push(ProxyPlace { id, url });
        }
    }
    places
}

/// Every logged read of the patient's records, as the chain has it.
async fn logged(patient: &Patient, session: &Session) -> Result<Vec<AccessEntry>, CliError> {
    let accesses = |chart: &Chart| chart.accesses().to_vec();
    let read = session.galen().with_chart(patient.id(), accesses).await;
    read.map_err(cannot("read the logged accesses"))
}

impl Answer {
    /// What a script should learn of it: broken rules before silence.
    fn verdict(&self, ui: &Ui) -> ExitCode {
        let of = |state: &str| self.proxies.iter().filter(|one| one.state == state).count();
        let (unlogged, forged, silent) = (of("unlogged"), of("forged"), of("silent"));
        if unlogged > 0 {
            ui.warn(
                "a proxy says that it served reads that are not on the chain: take it out with `galen \
                 proxy remove`, then `galen consent rotate`",
            );
        }
        if forged > 0 {
            ui.warn("what answered in the place of a proxy cannot sign for it: look at its URL");
        }
        let kind = match (unlogged + forged, silent) {
            (0, 0) => {
                ui.status(
                    "What was served is on the chain. Refused attempts rest on the word of each proxy.",
                );
                return ExitCode::SUCCESS;
            }
            (0, _) => ErrorKind::Unavailable,
            _ => ErrorKind::Integrity,
        };
        ExitCode::from(kind.exit_code())
    }
}

impl OfProxy {
    fn new(
        session: &Session,
        patient: Address,
        place: &ProxyPlace,
        report: Result<ProxyReport, galen_sdk::Error>,
        logged: &[AccessEntry],
    ) -> Self {
        let mut answer = Self {
            name: called(session, place),
            proxy: place.id,
            url: shown(place),
            state: "ok",
            until: None,
            served: 0,
            refused: 0,
            entries: Vec::new(),
            error: None,
        };
        match report {
            Err(error) => {
                let forged = error.kind() == ErrorKind::Integrity;
                answer.state = if forged { "forged" } else { "silent" };
                answer.error = Some(said(error));
            }
            Ok(ProxyReport { until, entries, .. }) => {
                answer.until = Some(until);
                for entry in entries {
                    let line = Line::new(session, patient, entry, logged);
                    match line.what {
                        "refused" => answer.refused += line.times,
                        "served" => answer.served += 1,
                        _ => answer.state = "unlogged",
                    }
                    answer.entries.push(line);
                }
            }
        }
        answer
    }

    fn print(&self, ui: &Ui) -> Result<(), CliError> {
        let why = self.error.as_deref().unwrap_or_default();
        if self.until.is_none() {
            return row(ui, &[&self.name, &"", &self.state, &"", &"", &"", &why, &""]);
        }
        self.entries.iter().try_for_each(|line| {
            row(
                ui,
                &[
                    &self.name,
                    &Instant::from_unix(line.time),
                    &line.what,
                    &line.reader,
                    &line.record,
                    &line.consent,
                    &line.cause.as_deref().unwrap_or_default(),
                    &line.times,
                ],
            )
        })
    }
}

impl Line {
    fn new(
        session: &Session,
        patient: Address,
        entry: ReportEntry,
        logged: &[AccessEntry],
    ) -> Self {
        let what = match entry.access {
            None => "refused",
            Some(_) if is_logged(patient, &entry, logged) => "served",
            Some(_) => "unlogged",
        };
        Self {
            time: entry.time,
            what,
            reader: Party::new(session, entry.grantee),
            record: entry.record,
            consent: entry.consent,
            cause: entry.cause,
            times: entry.times.unwrap_or(1),
            access: entry.access,
        }
    }
}

/// What went wrong, with its cause.
fn said(error: galen_sdk::Error) -> String {
    match error {
        galen_sdk::Error::Proxy(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// Whether the chain has, just there, the access that a proxy says it served.
fn is_logged(patient: Address, entry: &ReportEntry, logged: &[AccessEntry]) -> bool {
    logged.iter().any(|AccessEntry { at, event }| {
        entry.access == Some((at.block, at.log))
            && event.patient == patient
            && event.grantee == entry.grantee
            && event.record.0 == entry.record
            && event.consent.0 == entry.consent
    })
}

#[cfg(test)]
mod tests {
    use galen_chain::{AccessedEvent, Position};
    use galen_types::{ConsentId, RecordId};

    use super::*;

    #[test]
    fn only_the_very_access_makes_a_served_read_logged() {
        let byte = B256::repeat_byte;
        let patient = Address::repeat_byte(1);
        let event = AccessedEvent {
            patient,
            grantee: Address::repeat_byte(2),
            record: RecordId(byte(3)),
            consent: ConsentId(byte(4)),
            purpose: 1,
            network: false,
            deadline: 9,
        };
        let at = Position { block: 7, log: 2, time: 5, transaction: byte(8) };
        let logged = [AccessEntry { at, event }];
        let entry = ReportEntry {
            time: 6,
            grantee: event.grantee,
            consent: byte(4),
            record: byte(3),
            access: Some((7, 2)),
            cause: None,
            times: None,
        };
        assert!(is_logged(patient, &entry, &logged));
        for wrong in [
            ReportEntry { access: Some((7, 3)), ..entry.clone() },
            ReportEntry { access: Some((8, 2)), ..entry.clone() },
            ReportEntry { access: None, ..entry.clone() },
            ReportEntry { grantee: patient, ..entry.clone() },
            ReportEntry { record: byte(4), ..entry.clone() },
            ReportEntry { consent: byte(3), ..entry.clone() },
        ] {
            assert!(!is_logged(patient, &wrong, &logged), "{wrong:?}");
        }
        assert!(!is_logged(event.grantee, &entry, &logged));
    }
}
