//! An organization: it publishes keys, learns a patient's segments, cosigns, and takes proposals back.

use std::{collections::BTreeMap, sync::Arc};

use alloy_primitives::{Address, Bytes};
use galen_chain::{Account, CosignPolicy, Sent, typed};
use galen_crypto::{ContactEnvelope, KeyBundle, PatientKeys};
use galen_fhir::parts::SigningPolicy;
use galen_index::Version;
use galen_types::{LeafKind, ProposalId, RecordId, RecordKey, Segment};

use crate::{
    Copies, Error, Galen, Identity,
    patient::{signed, u48},
};

/// What an author knows of a patient: the keys to seal to, and which segment stands for which
/// category. Private to the two of them.
#[derive(Clone, Debug)]
pub struct Contact {
    patient: Address,
    pub(crate) bundle: Arc<KeyBundle>,
    segments: BTreeMap<u8, Segment>,
}

impl Contact {
    /// The patient's pseudonym.
    pub const fn patient(&self) -> Address {
        self.patient
    }

    /// The epoch of the patient's keys that it knows.
    pub(crate) fn epoch(&self) -> u32 {
        self.bundle.epoch
    }

    pub(crate) fn segment(&self, category: u8) -> Result<Segment, Error> {
        self.segments.get(&category).copied().ok_or(Error::NoSegment(category))
    }

    /// Index of the category that a segment of this patient stands for.
    ///
    /// # Errors
    ///
    /// [`Error::Envelope`] if the patient did not name the segment.
    pub fn category(&self, segment: Segment) -> Result<u8, Error> {
        let found = self.segments.iter().find(|(_, named)| **named == segment);
        found.map(|(category, _)| *category).ok_or(Error::Envelope("it lacks the segment"))
    }
}

/// An organization on one network.
#[derive(Clone, Debug)]
pub struct Organization {
    galen: Galen,
    identity: Identity,
    policy: Arc<SigningPolicy>,
    copies: Option<Copies>,
}

impl Organization {
    pub(crate) fn new(galen: Galen, identity: Identity) -> Self {
        Self { galen, identity, policy: Arc::default(), copies: None }
    }

    /// Keeps a sealed copy of each version that it seals from now on. Without one an author cannot seal its records
    /// anew, see [`Organization::custody`].
    #[must_use]
    pub fn with_copies(mut self, copies: Copies) -> Self {
        self.copies = Some(copies);
        self
    }

    /// Says which parts of the documents that it signs must stay together, beside what always must.
    #[must_use]
    pub fn with_signing_policy(mut self, policy: SigningPolicy) -> Self {
        self.policy = Arc::new(policy);
        self
    }

    /// Its id.
    pub const fn id(&self) -> Address {
        self.identity.id()
    }

    pub(crate) const fn galen(&self) -> &Galen {
        &self.galen
    }

    pub(crate) const fn account(&self) -> &Account {
        &self.identity.account
    }

    pub(crate) const fn keys(&self) -> &PatientKeys {
        &self.identity.keys
    }

    pub(crate) const fn copies(&self) -> Option<&Copies> {
        self.copies.as_ref()
    }

    pub(crate) fn signing_policy(&self) -> &SigningPolicy {
        &self.policy
    }

    /// Publishes the organization's public key, so that patients can seal to it.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`], [`Error::Storage`].
    pub async fn publish_keys(&self) -> Result<(), Error> {
        self.galen.publish_identity(&self.identity).await
    }

    /// Opens what a patient sent at first contact, within 30 days.
    ///
    /// # Errors
    ///
    /// [`Error::Envelope`] if it is for somebody else, another ledger, out of date, or for keys that are
    /// no longer current; [`Error::Chain`] if the patient did not sign it.
    pub async fn meet(&self, envelope: &[u8]) -> Result<Contact, Error> {
        let sealed = envelope;
        let envelope = ContactEnvelope::decode(envelope)?;
        let terms = *envelope.terms();
        if terms.author != self.id() {
            return Err(Error::Envelope("it is for another organization"));
        }
        let message = typed::Contact {
            patient: terms.patient,
            author: terms.author,
            bundle: terms.bundle.0,
            ciphertext: envelope.ciphertext_hash(),
            deadline: u48(envelope.deadline),
        };
        let digest = typed::digest(&message, terms.ledger);
        let (deadline, signature) = (envelope.deadline, &envelope.signature);
        self.galen
            .require_envelope(terms.ledger, terms.patient, digest, deadline, signature)
            .await?;
        self.meet_again(sealed).await
    }

    /// Opens an envelope that [`Organization::meet`] accepted before and that was kept since: its
    /// signature and date were judged then.
    ///
    /// # Errors
    ///
    /// As [`Organization::meet`], but for signature and date.
    pub async fn meet_again(&self, envelope: &[u8]) -> Result<Contact, Error> {
        let envelope = ContactEnvelope::decode(envelope)?;
        let terms = *envelope.terms();
        if terms.author != self.id() || terms.ledger != self.galen.id() {
            return Err(Error::Envelope("it is for another organization or ledger"));
        }
        let bundle = self.galen.keys_named(terms.patient, terms.bundle).await?;
        let segments = envelope.open(&self.identity.keys.identity())?.into_iter().collect();
        self.refreshed(&Contact { patient: terms.patient, bundle, segments }).await
    }

    /// The contact with the patient's newest segment keys: what is sealed under an older epoch, the patient
    /// refuses. The identity key must be the one that the patient was met with.
    ///
    /// # Errors
    ///
    /// [`Error::Envelope`] if it is another one; [`Error::NoKeys`].
    pub(crate) async fn refreshed(&self, contact: &Contact) -> Result<Contact, Error> {
        let bundle = self.galen.bundle_of(contact.patient).await?;
        if bundle.identity != contact.bundle.identity {
            return Err(Error::Envelope("the patient's keys have changed since"));
        }
        Ok(Contact { patient: contact.patient, bundle, segments: contact.segments.clone() })
    }

    /// One of the organization's own records and the version that stands, if it can have a successor under this policy.
    pub(crate) async fn own_record(
        &self,
        contact: &Contact,
        record: RecordId,
        policy: &CosignPolicy,
    ) -> Result<(RecordKey, Version), Error> {
        let find = |chart: &galen_index::Chart| {
            chart.record(record).map(|record| (record.key, record.current().clone()))
        };
        let found = self.galen.with_chart(contact.patient, find).await?;
        let (key, current) = found.ok_or(Error::NoRecord(record))?;
        if key.author != self.id() {
            return Err(Error::Invalid("only the author of a record does this"));
        }
        if current.leaf.kind == LeafKind::Retraction {
            return Err(Error::Invalid("the record is retracted: nothing follows"));
        }
        if current.policy != policy.hash() {
            return Err(Error::Invalid("a successor needs the policy of what it follows"));
        }
        Ok((key, current))
    }

    /// Takes one of the organization's own proposals back. What the patient settled before stays.
    ///
    /// # Errors
    ///
    /// [`Error::NoProposal`].
    pub async fn withdraw(&self, patient: Address, proposal: ProposalId) -> Result<Sent, Error> {
        let mine = |chart: &galen_index::Chart| {
            chart.proposal(proposal).is_some_and(|found| found.event.author == self.id())
        };
        if !self.galen.with_chart(patient, mine).await? {
            return Err(Error::NoProposal(proposal));
        }
        let deadline = self.galen.deadline().await?;
        let account = &self.identity.account;
        Ok(self.galen.ledger.withdraw(account, patient, proposal, deadline).await?)
    }

    /// Signs somebody else's proposal as a cosigner. The signature goes to whoever settles it.
    ///
    /// # Errors
    ///
    /// [`Error::NoProposal`].
    pub async fn cosign(&self, patient: Address, proposal: ProposalId) -> Result<Bytes, Error> {
        let find = |chart: &galen_index::Chart| chart.proposal(proposal).map(signed);
        let signed = self.galen.with_chart(patient, find).await?;
        let signed = signed.ok_or(Error::NoProposal(proposal))?;
        Ok(self.galen.ledger.cosign(&self.identity.account, &signed.message).await?)
    }
}
