//! `galen audit`: what happened to a chart, and what proves that this is all.

use std::process::ExitCode;

use alloy_primitives::B256;
use galen_index::{AuditEntry, AuditReport, Proof};
use galen_types::{ConsentId, Purpose};
use serde::Serialize;

use crate::{
    args::AuditArgs,
    commands::{
        fhir,
        shown::{Horizon, Moment, Party, waiting},
    },
    error::CliError,
    session::Session,
    table::{NONE, csv, row, yes},
    ui::Ui,
    when::Instant,
};

/// What an emergency access is called, so that nobody reads over it.
const BREAK_GLASS: &str = "BREAK-GLASS";

/// The result of `galen audit --json`.
#[derive(Debug, Serialize)]
struct Answer {
    patient: Party,
    /// Whether the history folds to the head on chain.
    complete: bool,
    /// What the list rests on, in a sentence.
    proof: String,
    head: String,
    head_on_chain: String,
    /// Entries that the head covers.
    head_entries: u64,
    /// Reads, each counted once.
    accesses: usize,
    /// Emergency accesses among them.
    break_glass: usize,
    /// Emergency accesses first, then in the order of the chain.
    entries: Vec<Line>,
    /// Where the AuditEvents are.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

#[derive(Debug, Serialize)]
struct Line {
    at: Moment,
    what: &'static str,
    break_glass: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<Party>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<B256>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proposal: Option<B256>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purpose: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consent: Option<ConsentId>,
    in_head: bool,
}

pub(crate) async fn run(
    args: &AuditArgs,
    session: &Session,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    let patient = match &args.patient {
        Some(text) => session.resolve(text)?,
        None => crate::commands::shown::patient(session)?.id(),
    };
    let report = waiting(ui, "read the chart's history", session.galen().audit(patient)).await?;
    let horizon = Horizon::now(session).await?;
    let mut answer = Answer::new(session, &horizon, &report, args.since);
    if let Some(path) = &args.fhir {
        if !answer.complete {
            return Err(fhir::incomplete());
        }
        let since = args.since.map_or(0, Instant::unix);
        let (file, count) = fhir::write_audit(path, &report, since, session).await?;
        ui.status(&answer.proof);
        if !ui.json() {
            row(ui, &[&file, &count])?;
            return Ok(ExitCode::SUCCESS);
        }
        answer.file = Some(file);
    }
    if ui.json() {
        ui.object(&answer)?;
    } else if args.csv {
        answer.csv(ui)?;
    } else {
        answer.text(ui)?;
    }
    if answer.complete {
        return Ok(ExitCode::SUCCESS);
    }
    Err(fhir::incomplete())
}

impl Answer {
    fn new(
        session: &Session,
        horizon: &Horizon,
        report: &AuditReport,
        since: Option<Instant>,
    ) -> Self {
        let since = since.map_or(0, Instant::unix);
        let recent = report.entries.iter().filter(|entry| entry.at.time >= since);
        let mut entries: Vec<Line> =
            recent.map(|entry| Line::new(session, horizon, entry)).collect();
        // Stable: both parts stay in the order of the chain.
        entries.sort_by_key(|entry| !entry.break_glass);
        Self {
            patient: Party::new(session, report.patient),
            complete: report.complete,
            proof: proof(report),
            head: report.head.clone(),
            head_on_chain: report.head_on_chain.clone(),
            head_entries: report.head_entries,
            accesses: report.accesses,
            break_glass: entries.iter().filter(|entry| entry.break_glass).count(),
            entries,
            file: None,
        }
    }

    fn text(&self, ui: &Ui) -> Result<(), CliError> {
        self.entries
            .iter()
            .try_for_each(|entry| row(ui, &entry.cells().each_ref().map(as_cell)))?;
        row(ui, &[&"proof", &self.proof])
    }

    fn csv(&self, ui: &Ui) -> Result<(), CliError> {
        ui.line("time,what,who,record_or_proposal,purpose,consent,in_head,transaction,finality")?;
        let mut lines =
            self.entries.iter().map(|entry| csv(&entry.cells().each_ref().map(as_cell)));
        lines.try_for_each(|line| ui.line(&line))?;
        ui.status(&self.proof);
        Ok(())
    }
}

fn as_cell(text: &String) -> &dyn std::fmt::Display {
    text
}

impl Line {
    fn new(session: &Session, horizon: &Horizon, entry: &AuditEntry) -> Self {
        Self {
            at: horizon.moment(entry.at),
            what: entry.what,
            break_glass: is_break_glass(entry),
            who: entry.who.map(|id| Party::new(session, id)),
            record: entry.record.map(Into::into),
            proposal: entry.proposal.map(Into::into),
            purpose: entry.purpose.clone(),
            consent: entry.consent,
            in_head: entry.in_head,
        }
    }

    fn cells(&self) -> [String; 9] {
        let id = self.record.or(self.proposal).map(|id| format!("{id:#x}"));
        let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
        [
            self.at.instant().to_string(),
            if self.break_glass { BREAK_GLASS } else { self.what }.to_owned(),
            or_none(self.who.as_ref().map(ToString::to_string)),
            or_none(id),
            or_none(self.purpose.clone()),
            or_none(self.consent.map(|consent| consent.to_string())),
            yes(self.in_head).to_owned(),
            format!("{:#x}", self.at.transaction),
            self.at.finality.to_string(),
        ]
    }
}

/// Read under a consent for every active organization, for an emergency.
pub(super) fn is_break_glass(entry: &AuditEntry) -> bool {
    let emergency = [Purpose::EmergencyTreatment, Purpose::BreakTheGlass].map(Purpose::code);
    entry.network && entry.purpose.as_deref().is_some_and(|code| emergency.contains(&code))
}

/// What the list rests on.
fn proof(report: &AuditReport) -> String {
    let AuditReport { head, head_entries, head_on_chain, .. } = report;
    if !report.head_matches {
        return format!(
            "NOT PROVEN: {head_entries} entries fold to {head}, the chart's head on chain is \
            {head_on_chain}"
        );
    }
    if !report.consents_match {
        return "NOT PROVEN: the changes of consents do not give the root on chain".to_owned();
    }
    let rest = match report.proof {
        Proof::EveryBlock => "every block was checked, so that nothing else is missing either",
        Proof::HeadOnly => {
            "that no proposal, request or key is missing rests on the node's word (history = \
            \"blocks\" checks every block)"
        }
    };
    format!(
        "complete: {head_entries} entries (settlements, accesses, reseals, rotations) fold to the chart's \
        head on chain, {head}; the consents give the root on chain; {rest}. Refused attempts leave no \
        event."
    )
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;
    use galen_chain::Position;

    use super::*;

    #[test]
    fn break_glass_is_an_emergency_under_a_consent_for_everybody() {
        let entry = |what, network, purpose: &str| AuditEntry {
            at: Position { block: 1, log: 0, time: 1, transaction: B256::ZERO },
            what,
            who: None,
            record: None,
            proposal: None,
            purpose: Some(purpose.to_owned()),
            consent: None,
            network,
            in_head: true,
        };
        for (network, purpose, expected) in [
            (true, "ETREAT", true),
            (true, "BTG", true),
            (true, "TREAT", false),
            (false, "ETREAT", false),
        ] {
            assert_eq!(is_break_glass(&entry("accessed", network, purpose)), expected, "{purpose}");
        }
    }
}
