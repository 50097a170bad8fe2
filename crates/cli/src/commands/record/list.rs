//! `galen record list`.

use galen_sdk::{RecordEntry, Reply, VersionState};
use galen_types::{ContentRef, ProposalId, RecordId, VersionId};
use serde::Serialize;

use super::{
    contact, kind_name,
    replies::{kept, kind_of},
};
use crate::{
    args::{ListArgs, StateFilter},
    asked::AskError,
    commands::shown::{self, Horizon, Moment, Party, organization, waiting},
    error::CliError,
    session::Session,
    table::row,
    ui::Ui,
};

/// The result of `galen record list --json`.
#[derive(Debug, Serialize)]
struct Listed {
    patient: Party,
    /// In the order of the chain.
    records: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    id: RecordId,
    /// `current`, `superseded`, `unconfirmed`, `expired`, `withdrawn`, `rejected`, `retracted`,
    /// `disowned`, or `void-` and why.
    state: &'static str,
    category: String,
    author: Party,
    /// `new`, `amendment` or `retraction`.
    kind: &'static str,
    version: VersionId,
    proposal: ProposalId,
    /// Number in the proposal, from 0.
    index: usize,
    proposed: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered: Option<Moment>,
    /// Where its sealed content lies, newest last.
    contents: Vec<ContentRef>,
    /// `rejection` or `correction`: what the patient said to this author.
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<&'static str>,
}

pub(super) async fn run(args: &ListArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let doing = "list the records";
    let mut replies = Vec::new();
    let (patient, entries) = match &args.patient {
        None => {
            let patient = shown::patient(session).map_err(|error| match error {
                AskError::Role { .. } => AskError::Nothing("an author names a --patient"),
                other => other,
            })?;
            (patient.id(), waiting(ui, doing, patient.records()).await?)
        }
        Some(text) => {
            let patient = session.resolve(text)?;
            let organization = organization(session)?;
            let contact = contact(session, &organization, patient).await?;
            replies = kept(session, &organization);
            (patient, waiting(ui, doing, organization.records(&contact)).await?)
        }
    };
    let horizon = Horizon::now(session).await?;
    let wanted = entries.iter().filter(|entry| wanted(args, entry));
    let line = |entry| Line::new(session, &horizon, entry, &replies);
    let records: Vec<Line> = wanted.map(line).collect();
    if ui.json() {
        return ui.object(&Listed { patient: Party::new(session, patient), records });
    }
    records.iter().try_for_each(|line| line.print(ui))
}

fn wanted(args: &ListArgs, entry: &RecordEntry) -> bool {
    let state = if args.state.is_empty() {
        entry.state != VersionState::Superseded
    } else {
        args.state.iter().any(|filter| fits(*filter, entry.state))
    };
    let category = args.category.iter().any(|category| category.index() == entry.category);
    state && (args.category.is_empty() || category)
}

const fn fits(filter: StateFilter, state: VersionState) -> bool {
    match filter {
        StateFilter::All => true,
        StateFilter::Current => matches!(state, VersionState::Current),
        StateFilter::Superseded => matches!(state, VersionState::Superseded),
        StateFilter::Unconfirmed => matches!(state, VersionState::Unconfirmed),
        StateFilter::Expired => matches!(state, VersionState::Expired),
        StateFilter::Withdrawn => matches!(state, VersionState::Withdrawn),
        StateFilter::Rejected => matches!(state, VersionState::Rejected),
        StateFilter::Void => matches!(state, VersionState::Void(_)),
        StateFilter::Retracted => matches!(state, VersionState::Retracted),
        StateFilter::Disowned => matches!(state, VersionState::Disowned),
    }
}

impl Line {
    fn new(session: &Session, horizon: &Horizon, entry: &RecordEntry, replies: &[Reply]) -> Self {
        Self {
            id: entry.record.id(),
            state: entry.state.as_str(),
            category: shown::category(entry.category),
            author: Party::new(session, entry.record.author),
            kind: kind_name(entry.kind),
            version: entry.version,
            proposal: entry.proposal.0,
            index: entry.proposal.1,
            proposed: horizon.moment(entry.proposed),
            answered: entry.answered.map(|at| horizon.moment(at)),
            contents: entry.contents.clone(),
            reply: kind_of(replies, entry.proposal.0, Some(entry.proposal.1)),
        }
    }

    fn print(&self, ui: &Ui) -> Result<(), CliError> {
        let answered = self.answered.map(|at| at.instant().to_string()).unwrap_or_default();
        let proposed = self.proposed.instant();
        // What was answered is as final as its answer.
        let finality = self.answered.unwrap_or(self.proposed).finality;
        let mut cells: Vec<&dyn std::fmt::Display> =
            vec![&self.id, &self.state, &self.category, &self.author, &self.kind, &proposed];
        cells.extend([&answered as &dyn std::fmt::Display, &self.proposal, &self.index, &finality]);
        if let Some(reply) = &self.reply {
            cells.push(reply);
        }
        row(ui, &cells)
    }
}
