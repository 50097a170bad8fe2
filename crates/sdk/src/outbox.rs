//! What an author does with what it proposed before: look and retract.

use galen_chain::CosignPolicy;
use galen_index::{Chart, LeafState, Proposal};
use galen_types::{LeafKind, Plaintext, RecordId};

use alloy_primitives::Address;

use crate::{Announced, Contact, Error, NewRecord, Organization, batch::Batch};

/// Longest reason of a retraction, in bytes of UTF-8.
pub const MAX_REASON_LEN: usize = 2_000;

/// What became of a proposal as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProposalState {
    /// Some leaves wait for an answer.
    Waiting,
    /// Every leaf is answered.
    Answered,
    /// The author took it back.
    Withdrawn,
    /// Some leaves have no answer, and the author's signature no longer holds.
    Expired,
}

impl ProposalState {
    /// The word for machines: stable, lowercase.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Answered => "answered",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
        }
    }
}

/// One of an author's own proposals.
#[derive(Clone, Debug)]
pub struct OutboxEntry {
    /// The proposal, with deadline, hash of its policy, and a state for each leaf.
    pub proposal: Proposal,
    /// What became of it.
    pub state: ProposalState,
    /// How many leaves were accepted and count.
    pub accepted: usize,
    /// How many leaves were rejected.
    pub rejected: usize,
    /// How many leaves were accepted and do not count.
    pub void: usize,
}

impl Organization {
    /// The organization's own proposals to a patient, oldest first. Who has cosigned is on the sheets
    /// that move between people, see [`crate::CosignSheet`].
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn outbox(&self, patient: Address) -> Result<Vec<OutboxEntry>, Error> {
        let (time, id) = (self.galen().time().await?, self.id());
        let own = |chart: &Chart| {
            let own = chart.proposals().filter(|proposal| proposal.event.author == id);
            own.map(|proposal| entry(proposal, time)).collect()
        };
        self.galen().with_chart(patient, own).await
    }

    /// Proposes to retract one of the organization's own records: it should never have been. The patient
    /// must agree; if not, the record stays and is shown as disowned. The reason is sealed like a record.
    ///
    /// # Errors
    ///
    /// As [`Organization::amend`]; [`Error::Invalid`] for a reason that is empty or too long.
    pub async fn retract(
        &self,
        contact: &Contact,
        record: RecordId,
        reason: &str,
        policy: &CosignPolicy,
    ) -> Result<Announced, Error> {
        if reason.is_empty() || reason.len() > MAX_REASON_LEN {
            return Err(Error::Invalid("a retraction has a reason of 1 to 2,000 bytes"));
        }
        let (key, current) = self.own_record(contact, record, policy).await?;
        let document = NewRecord {
            category: contact.category(key.segment)?,
            media_type: "text/plain;charset=utf-8".parse()?,
            payload: Plaintext::new(reason.as_bytes().to_vec()),
        };
        let contact = &self.refreshed(contact).await?;
        let mut batch = Batch::default();
        let place = (LeafKind::Retraction, current.id);
        let sealed = self.seal(contact, key, &document, place).await?;
        batch.push(self.galen().storage_for(document.category), sealed, key).await?;
        self.send(self.sign(contact, batch, policy).await?).await
    }
}

fn entry(proposal: &Proposal, time: u64) -> OutboxEntry {
    let count = |wanted: fn(&LeafState) -> bool| {
        proposal.states.iter().filter(|state| wanted(state)).count()
    };
    let waits = proposal.states.contains(&LeafState::Unconfirmed);
    let state = match (waits, proposal.withdrawn) {
        (false, _) => ProposalState::Answered,
        (true, true) => ProposalState::Withdrawn,
        (true, false) if time > proposal.event.deadline => ProposalState::Expired,
        (true, false) => ProposalState::Waiting,
    };
    OutboxEntry {
        proposal: proposal.clone(),
        state,
        accepted: count(|state| *state == LeafState::Accepted),
        rejected: count(|state| *state == LeafState::Rejected),
        void: count(|state| matches!(state, LeafState::Void(_))),
    }
}
