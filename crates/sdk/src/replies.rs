//! Replies: a patient tells an author why records are rejected, or what is to be corrected.
//!
//! A reply is a line of text that goes from hand to hand as an introduction does: sealed to the author, signed by
//! the patient's controller, never on chain. It names the proposal and the records in it that it is about, so that it
//! says nothing about any other. It rejects nothing: only the answer on chain does.

use alloy_primitives::{Address, U256};
use galen_chain::{Evidence, typed};
use galen_crypto::{ReplyEnvelope, ReplyTerms};
use galen_index::{Chart, Proposal};
use galen_types::ProposalId;
use zeroize::Zeroizing;

use crate::{Error, Organization, Patient, patient::u48, requests::is_plain};

/// What a patient means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ReplyKind {
    /// Why the records are rejected.
    Rejection = 0,
    /// What is to be corrected; the records are not answered.
    Correction = 1,
}

impl ReplyKind {
    /// The name for machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejection => "rejection",
            Self::Correction => "correction",
        }
    }

    const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Rejection),
            1 => Some(Self::Correction),
            _ => None,
        }
    }
}

/// A reply that its author opened. `Debug` does not show the words.
#[derive(Clone)]
pub struct Reply {
    /// Who wrote it.
    pub patient: Address,
    /// What it is about.
    pub proposal: ProposalId,
    /// Numbers of the documents in the proposal, from 0.
    pub documents: Vec<usize>,
    /// What is meant.
    pub kind: ReplyKind,
    /// The words: plain text, of which nothing was checked but that.
    pub words: Zeroizing<String>,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply")
            .field("patient", &self.patient)
            .field("proposal", &self.proposal)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Patient {
    /// Writes a reply to the author of a proposal, about some documents of it.
    ///
    /// # Errors
    ///
    /// - [`Error::Invalid`]: no words, too many, words that are not plain text, or no such document.
    /// - [`Error::NoKeys`] if the author has published none; [`Error::Sign`], [`Error::Chain`].
    pub async fn reply(
        &self,
        proposal: &Proposal,
        documents: &[usize],
        kind: ReplyKind,
        words: &str,
    ) -> Result<Vec<u8>, Error> {
        let event = &proposal.event;
        if documents.is_empty() || documents.iter().any(|index| *index >= event.leaves.len()) {
            return Err(Error::Invalid("the proposal has no such document"));
        }
        if words.trim().is_empty() || !words.chars().all(is_plain) {
            return Err(Error::Invalid("a reply is plain text of at most 4,000 bytes"));
        }
        let leaves = documents.iter().fold(U256::ZERO, |bits, at| bits | U256::ONE << *at);
        let recipient = self.galen().identity_of(event.author).await?;
        let terms = ReplyTerms {
            ledger: self.galen().id(),
            patient: self.id(),
            author: event.author,
            proposal: event.proposal,
            leaves,
            kind: kind as u8,
        };
        let mut envelope = ReplyEnvelope::seal(terms, &recipient, words)?;
        envelope.deadline = self.galen().envelope_deadline().await?;
        let (message, evidence) = (message(&envelope), Evidence::default());
        envelope.signature = self.account().sign(&message, terms.ledger, evidence).await?;
        Ok(envelope.encode())
    }
}

impl Organization {
    /// Opens a reply to one of the organization's own proposals, and checks that its patient signed it.
    ///
    /// # Errors
    ///
    /// [`Error::Envelope`] if it is for somebody else or another ledger, out of date, about no proposal of this
    /// organization to this patient, or does not open; [`Error::Chain`] if the patient did not sign it.
    pub async fn take_reply(&self, reply: &[u8]) -> Result<Reply, Error> {
        let envelope = ReplyEnvelope::decode(reply)?;
        let terms = *envelope.terms();
        let digest = typed::digest(&message(&envelope), terms.ledger);
        let (deadline, signature) = (envelope.deadline, &envelope.signature);
        if terms.author != self.id() {
            return Err(Error::Envelope("it is for another organization"));
        }
        let galen = self.galen();
        galen.require_envelope(terms.ledger, terms.patient, digest, deadline, signature).await?;
        let reply = self.take_reply_again(reply)?;
        let own = self.id();
        let leaves = |chart: &Chart| {
            let found = chart.proposal(terms.proposal);
            found.filter(|it| it.event.author == own).map(|it| it.event.leaves.len())
        };
        let count = galen.with_chart(terms.patient, leaves).await?;
        let known = count.is_some_and(|count| reply.documents.iter().all(|at| *at < count));
        if known { Ok(reply) } else { Err(Error::Envelope("it is about no proposal of yours")) }
    }

    /// Opens a reply that [`Organization::take_reply`] accepted before and that was kept since: its signature,
    /// date and proposal were judged then.
    ///
    /// # Errors
    ///
    /// [`Error::Envelope`], [`Error::Crypto`].
    pub fn take_reply_again(&self, reply: &[u8]) -> Result<Reply, Error> {
        let envelope = ReplyEnvelope::decode(reply)?;
        let terms = *envelope.terms();
        if terms.author != self.id() || terms.ledger != self.galen().id() {
            return Err(Error::Envelope("it is for another organization or ledger"));
        }
        let kind = ReplyKind::from_number(terms.kind);
        let kind = kind.ok_or(Error::Envelope("its kind is unknown to this release"))?;
        let words = envelope.open(&self.keys().identity())?;
        if !words.chars().all(is_plain) {
            return Err(Error::Envelope("its words are not plain text"));
        }
        let documents = (0..256).filter(|at| terms.leaves.bit(*at)).collect();
        let ReplyTerms { patient, proposal, .. } = terms;
        Ok(Reply { patient, proposal, documents, kind, words })
    }
}

fn message(envelope: &ReplyEnvelope) -> typed::Reply {
    let terms = envelope.terms();
    typed::Reply {
        patient: terms.patient,
        author: terms.author,
        proposal: terms.proposal.0,
        leaves: terms.leaves,
        kind: terms.kind,
        ciphertext: envelope.ciphertext_hash(),
        deadline: u48(envelope.deadline),
    }
}
