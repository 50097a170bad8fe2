//! `galen record inbox`: what waits for the patient; for an author, what became of its proposals.

use alloy_primitives::Address;
use galen_index::{LeafState, Proposal};
use galen_sdk::Role;
use galen_types::{ProposalId, RecordId};
use serde::Serialize;

use super::kind_name;
use crate::{
    args::InboxArgs,
    commands::shown::{Horizon, Moment, Party, cannot, organization, patient, waiting},
    error::CliError,
    session::Session,
    table::{row, yes},
    ui::Ui,
    when::Instant,
};

/// The result of `galen record inbox --json`.
#[derive(Debug, Serialize)]
struct Answer {
    /// Oldest first.
    proposals: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    id: ProposalId,
    patient: Party,
    author: Party,
    /// `waiting`, `answered`, `withdrawn` or `expired`.
    state: &'static str,
    /// How many leaves have no answer.
    unanswered: usize,
    /// Whether cosigners must sign before an answer counts.
    cosigned: bool,
    /// Last Unix second at which the author's signature holds.
    deadline: u64,
    at: Moment,
    records: Vec<Leaf>,
}

#[derive(Debug, Serialize)]
struct Leaf {
    index: usize,
    id: RecordId,
    kind: &'static str,
    /// `unconfirmed`, `accepted`, `rejected` or `void`.
    state: &'static str,
}

pub(super) async fn run(args: &InboxArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let mut proposals = Vec::new();
    let horizon = Horizon::now(session).await?;
    if session.role() == Role::Patient {
        let found = waiting(ui, "read the inbox", patient(session)?.inbox()).await?;
        let failed = cannot("ask for the time");
        let time = session.galen().time().await.map_err(|error| failed(error.into()))?;
        for proposal in &found {
            let expired = time > proposal.event.deadline;
            let state = if expired { "expired" } else { "waiting" };
            proposals.push(Line::new(session, &horizon, proposal, state));
        }
    } else {
        let organization = organization(session)?;
        for patient in patients(args, session)? {
            let entries = waiting(ui, "read the outbox", organization.outbox(patient)).await?;
            for entry in &entries {
                let state = entry.state.as_str();
                proposals.push(Line::new(session, &horizon, &entry.proposal, state));
            }
        }
    }
    if ui.json() {
        return ui.object(&Answer { proposals });
    }
    proposals.iter().try_for_each(|line| line.print(session.role(), ui))
}

fn patients(args: &InboxArgs, session: &Session) -> Result<Vec<Address>, CliError> {
    if let Some(text) = &args.patient {
        return Ok(vec![session.resolve(text)?]);
    }
    let book = session.book();
    let known = book.contacts.iter().filter(|contact| contact.role == Role::Patient);
    Ok(known.map(|contact| contact.id).collect())
}

impl Line {
    fn new(session: &Session, horizon: &Horizon, proposal: &Proposal, state: &'static str) -> Self {
        let event = &proposal.event;
        let leaf = |(index, state): (usize, &LeafState)| {
            let leaf = &event.leaves[index];
            let id = leaf.key(event.patient, event.author).id();
            Leaf { index, id, kind: kind_name(leaf.kind), state: state_name(*state) }
        };
        let open = |state: &&LeafState| **state == LeafState::Unconfirmed;
        Self {
            id: event.proposal,
            patient: Party::new(session, event.patient),
            author: Party::new(session, event.author),
            state,
            unanswered: proposal.states.iter().filter(open).count(),
            cosigned: !event.policy.is_zero(),
            deadline: event.deadline,
            at: horizon.moment(proposal.announced),
            records: proposal.states.iter().enumerate().map(leaf).collect(),
        }
    }

    fn print(&self, role: Role, ui: &Ui) -> Result<(), CliError> {
        let other = if role == Role::Patient { &self.author } else { &self.patient };
        row(
            ui,
            &[
                &self.id,
                other,
                &self.state,
                &self.records.len(),
                &self.unanswered,
                &yes(self.cosigned),
                &self.at.instant(),
                &Instant::from_unix(self.deadline),
                &self.at.finality,
            ],
        )
    }
}

pub(super) const fn state_name(state: LeafState) -> &'static str {
    match state {
        LeafState::Unconfirmed => "unconfirmed",
        LeafState::Accepted => "accepted",
        LeafState::Rejected => "rejected",
        LeafState::Void(_) => "void",
    }
}
