//! `galen record inbox`: what waits for the patient; for an author, what became of its proposals.

use alloy_primitives::Address;
use galen_index::{LeafState, Proposal};
use galen_sdk::{Patient, Role};
use galen_types::{ErrorKind, ProposalId, RecordId};
use serde::Serialize;

use super::{
    answer::is_large,
    kind_name,
    replies::{kept, kind_of},
    words::{self, Told},
};
use crate::{
    args::InboxArgs,
    commands::shown::{Horizon, Moment, Party, cannot, organization, patient, waiting},
    error::CliError,
    session::Session,
    table::{row, yes},
    ui::Ui,
    when::Instant,
};

/// Documents that one look at the inbox opens.
const MAX_OPENED: usize = 100;

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
    /// `rejection` or `correction`: what the patient said to this organization.
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<&'static str>,
    records: Vec<Leaf>,
}

#[derive(Debug, Serialize)]
struct Leaf {
    index: usize,
    id: RecordId,
    kind: &'static str,
    /// `unconfirmed`, `accepted`, `rejected` or `void`.
    state: &'static str,
    /// What is wrong with it, if it was opened and is not what it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    /// What it says, if that was asked for.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    told: Option<Told>,
}

pub(super) async fn run(args: &InboxArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let mut proposals = Vec::new();
    let horizon = Horizon::now(session).await?;
    if session.role() == Role::Patient {
        let patient = patient(session)?;
        let found = waiting(ui, "read the inbox", patient.inbox()).await?;
        let failed = cannot("ask for the time");
        let time = session.galen().time().await.map_err(|error| failed(error.into()))?;
        for proposal in &found {
            let expired = time > proposal.event.deadline;
            let state = if expired { "expired" } else { "waiting" };
            proposals.push(Line::new(session, &horizon, proposal, state));
        }
        if words::wanted(args.words, ui) {
            let mut left = MAX_OPENED;
            for (line, proposal) in proposals.iter_mut().zip(&found) {
                line.open(session, &patient, proposal, &mut left, ui).await?;
            }
        }
    } else {
        let organization = organization(session)?;
        let replies = kept(session, &organization);
        for patient in patients(args, session)? {
            let entries = waiting(ui, "read the outbox", organization.outbox(patient)).await?;
            for entry in &entries {
                let state = entry.state.as_str();
                let mut line = Line::new(session, &horizon, &entry.proposal, state);
                line.reply = kind_of(&replies, line.id, None);
                proposals.push(line);
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
            let (kind, state) = (kind_name(leaf.kind), state_name(*state));
            Leaf { index, id, kind, state, fault: None, told: None }
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
            reply: None,
            records: proposal.states.iter().enumerate().map(leaf).collect(),
        }
    }

    /// Opens what has no answer, as far as `left` goes, and puts it in words.
    async fn open(
        &mut self,
        session: &Session,
        patient: &Patient,
        proposal: &Proposal,
        left: &mut usize,
        ui: &Ui,
    ) -> Result<(), CliError> {
        for (index, leaf) in self.records.iter_mut().enumerate() {
            let open = proposal.states[index] == LeafState::Unconfirmed;
            if !open || *left == 0 || is_large(session.galen(), proposal, index).await {
                continue;
            }
            *left -= 1;
            match waiting_quietly(ui, patient.examine(proposal, index)).await {
                Ok(examined) => leaf.told = Told::of_proposed(&examined, patient).await?,
                Err(error) if error.kind() == ErrorKind::Integrity => {
                    leaf.fault = Some(error.to_string());
                }
                Err(error) => return Err(cannot("open the document")(error)),
            }
        }
        if *left == 0 {
            ui.status(
                "not all documents were opened; `galen record show` puts the others in words",
            );
        }
        Ok(())
    }

    fn print(&self, role: Role, ui: &Ui) -> Result<(), CliError> {
        let other = if role == Role::Patient { &self.author } else { &self.patient };
        let (at, deadline) = (self.at.instant(), Instant::from_unix(self.deadline));
        let (count, cosigned) = (self.records.len(), yes(self.cosigned));
        let mut cells: Vec<&dyn std::fmt::Display> =
            vec![&self.id, other, &self.state, &count, &self.unanswered, &cosigned];
        cells.extend([&at as &dyn std::fmt::Display, &deadline, &self.at.finality]);
        if let Some(reply) = &self.reply {
            cells.push(reply);
        }
        row(ui, &cells)?;
        for leaf in &self.records {
            if let Some(fault) = &leaf.fault {
                ui.line(&format!("  {}, {}: NOT WHAT IT SAYS: {fault}", leaf.index, leaf.kind))?;
            }
            if let Some(told) = &leaf.told {
                ui.line(&format!("  {}, {}:", leaf.index, leaf.kind))?;
                told.print(ui)?;
            }
        }
        Ok(())
    }
}

async fn waiting_quietly<T>(ui: &Ui, work: impl Future<Output = T>) -> T {
    let spinner = ui.spinner("open and check the documents");
    let done = work.await;
    spinner.finish_and_clear();
    done
}

pub(super) const fn state_name(state: LeafState) -> &'static str {
    match state {
        LeafState::Unconfirmed => "unconfirmed",
        LeafState::Accepted => "accepted",
        LeafState::Rejected => "rejected",
        LeafState::Void(_) => "void",
    }
}
