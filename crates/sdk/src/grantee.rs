//! What a grantee does: it takes a grant, logs on chain, and only then opens.

use std::{collections::BTreeSet, sync::Arc};

use alloy_primitives::{Address, B256};
use galen_chain::{Account, ChainError, Sent, typed};
use galen_crypto::{GrantEnvelope, IdentityKey, Opened};
use galen_index::{AccessEntry, Version};
use galen_types::{Consent, ContentRef, Purpose, RecordId, RecordKey};

use crate::{
    ConsentStatus, DocumentSignature, Error, Galen, Grant, Identity,
    attachment::ReaderKey,
    grant::HeldKey,
    patient::u48,
    proxies::{Asking, Unlocked},
};

/// Most records that one access transaction names.
pub const MAX_READS: usize = 64;

/// A record that was read, after its access was logged.
#[derive(Clone, Debug)]
pub struct ReadRecord {
    /// The record.
    pub record: RecordKey,
    /// The document.
    pub opened: Opened,
    /// Who signed it by parts, if anybody did, and whether that holds.
    pub signature: Option<DocumentSignature>,
}

/// Somebody who was granted something, on one network.
#[derive(Clone, Debug)]
pub struct Grantee {
    galen: Galen,
    identity: Identity,
    asking: Arc<Asking>,
}

impl Grantee {
    pub(crate) fn new(galen: Galen, identity: Identity) -> Self {
        Self { galen, identity, asking: Arc::default() }
    }

    /// Says how proxies are asked.
    #[must_use]
    pub fn asking_proxies(self, asking: Asking) -> Self {
        Self { asking: Arc::new(asking), ..self }
    }

    /// Its id.
    pub const fn id(&self) -> Address {
        self.identity.id()
    }

    pub(crate) const fn galen(&self) -> &Galen {
        &self.galen
    }

    pub(crate) fn asking(&self) -> &Asking {
        &self.asking
    }

    pub(crate) const fn account(&self) -> &Account {
        &self.identity.account
    }

    pub(crate) fn identity_key(&self) -> IdentityKey {
        self.identity.keys.identity()
    }

    /// A record and the version of it that stands.
    pub(crate) async fn current(
        &self,
        patient: Address,
        record: RecordId,
    ) -> Result<(RecordKey, Version), Error> {
        let find = |chart: &galen_index::Chart| {
            chart.record(record).map(|record| (record.key, record.current().clone()))
        };
        self.galen.with_chart(patient, find).await?.ok_or(Error::NoRecord(record))
    }

    /// Publishes the grantee's public key, so that patients can seal to it.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`], [`Error::Storage`].
    pub async fn publish_keys(&self) -> Result<(), Error> {
        self.galen.publish_identity(&self.identity).await
    }

    /// Opens the envelope of a grant within 30 days and checks who signed it and what it is for.
    ///
    /// # Errors
    ///
    /// [`Error::Envelope`] if it is for somebody else, another ledger, out of date, or does not fit its
    /// consent; [`Error::Chain`] if the patient did not sign it.
    pub async fn accept(&self, envelope: &[u8]) -> Result<Grant, Error> {
        let sealed = envelope;
        let envelope = GrantEnvelope::decode(envelope)?;
        let terms = *envelope.terms();
        if terms.grantee != self.id() {
            return Err(Error::Envelope("it is for another grantee"));
        }
        let digest = signed_digest(&envelope)?;
        let (deadline, signature) = (envelope.deadline, &envelope.signature);
        self.galen
            .require_envelope(terms.ledger, terms.patient, digest, deadline, signature)
            .await?;
        let grant = self.accept_again(sealed)?;
        self.require_keys(&grant).await?;
        Ok(grant)
    }

    /// Keys that do not fit what the patient published open nothing: better known now than when it matters.
    async fn require_keys(&self, grant: &Grant) -> Result<(), Error> {
        let bundle = self.galen.bundle_of(grant.patient()).await?;
        let fits = |segment, key: &HeldKey| {
            let Some(public) = bundle.segments.get(&segment) else { return false };
            match key {
                HeldKey::Whole(key) => key.public() == *public,
                HeldKey::Shared { half, keys } => half.completes(keys, public),
                HeldKey::Offered { .. } => true,
            }
        };
        let current = grant.all().filter(|(_, epoch, _)| *epoch == bundle.epoch);
        for (segment, _, key) in current {
            if !fits(segment, key) {
                return Err(Error::Envelope("its keys are not those that the patient published"));
            }
        }
        Ok(())
    }

    /// As [`Grantee::accept`], for an envelope that lies in the content store, see [`Galen::deliver`].
    ///
    /// # Errors
    ///
    /// As [`Grantee::accept`]; [`Error::Storage`]. Returns the envelope too, to be kept.
    pub async fn accept_at(&self, at: &ContentRef) -> Result<(Grant, Vec<u8>), Error> {
        let limit = galen_crypto::envelope::MAX_ENVELOPE_LEN as u64;
        let envelope = self.galen.storage.get(at, limit).await?;
        Ok((self.accept(&envelope).await?, envelope.to_vec()))
    }

    /// Opens an envelope that [`Grantee::accept`] took before and that was kept since: its signature and
    /// date were judged then. Whether the consent is still live is the chain's to say.
    ///
    /// # Errors
    ///
    /// [`Error::Envelope`], [`Error::Crypto`].
    pub fn accept_again(&self, envelope: &[u8]) -> Result<Grant, Error> {
        let envelope = GrantEnvelope::decode(envelope)?;
        let terms = *envelope.terms();
        if terms.grantee != self.id() || terms.ledger != self.galen.id() {
            return Err(Error::Envelope("it is for another grantee or ledger"));
        }
        let text = envelope.open(&self.identity.keys.identity())?;
        if text.consent.id() != terms.consent || text.consent.grantee != self.id() {
            return Err(Error::Envelope("its terms are not those of its consent"));
        }
        Ok(Grant::of_text(terms.patient, text))
    }

    /// Whether a grant can be used now: at the time of the newest block, under the newest root.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn status(&self, grant: &Grant) -> Result<ConsentStatus, Error> {
        let (id, consent) = (grant.consent().id(), grant.consent());
        let time = self.galen.ledger.now().await?;
        let live =
            self.galen.with_chart(grant.patient(), |it| it.consents().tree.contains(id)).await?;
        Ok(if live { ConsentStatus::of(consent, time) } else { ConsentStatus::Revoked })
    }

    /// Records of the patient that the grant covers, by id.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn readable(&self, grant: &Grant) -> Result<Vec<RecordId>, Error> {
        let keys = self.covered(grant.patient(), grant.consent()).await?;
        Ok(keys.iter().map(RecordKey::id).collect())
    }

    /// Records of the patient that a consent covers, by id; also for a consent of all organizations, for
    /// which there is no grant.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn covered(
        &self,
        patient: Address,
        consent: &Consent,
    ) -> Result<Vec<RecordKey>, Error> {
        let covered = |chart: &galen_index::Chart| {
            let records = chart.records().filter(|record| !record.is_retracted());
            let covered = records.filter(|record| consent.segments.contains(record.key.segment));
            covered.map(|record| record.key).collect()
        };
        self.galen.with_chart(patient, covered).await
    }

    /// The grantee's own reads of a patient's records as the chain has them, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn accesses(&self, patient: Address) -> Result<Vec<AccessEntry>, Error> {
        let id = self.id();
        let own = |chart: &galen_index::Chart| {
            let own = chart.accesses().iter().filter(|access| access.event.grantee == id);
            own.copied().collect()
        };
        self.galen.with_chart(patient, own).await
    }

    /// Reads records: first every read is logged on chain, where the contract checks grantee,
    /// segment, purpose and time, then the content is opened; with the help of proxies, if the grant is through them.
    ///
    /// All or none are logged. The contract decides what is refused; nothing is opened then.
    ///
    /// # Errors
    ///
    /// - [`Error::Chain`] with the contract's reason: revoked, another segment, purpose or time.
    /// - [`Error::TooFewProxies`]: the reads are logged, and [`Grantee::open_logged`] asks again.
    /// - [`Error::NoRecord`], [`Error::DoesNotOpen`].
    pub async fn read(
        &self,
        grant: &Grant,
        purpose: Purpose,
        records: &[RecordId],
    ) -> Result<(Vec<ReadRecord>, Sent), Error> {
        let keys = self.keys_of_reads(grant, records).await?;
        let sent = self.log(grant.patient(), grant.consent(), purpose, &keys).await?;
        Ok((self.open_keys(grant, &keys).await?, sent))
    }

    /// Opens records whose reads are logged: the second half of [`Grantee::read`], for when proxies or stores did not
    /// answer. Proxies answer within their window after the access, one hour unless they say otherwise.
    ///
    /// # Errors
    ///
    /// As [`Grantee::read`].
    pub async fn open_logged(
        &self,
        grant: &Grant,
        records: &[RecordId],
    ) -> Result<Vec<ReadRecord>, Error> {
        let keys = self.keys_of_reads(grant, records).await?;
        self.open_keys(grant, &keys).await
    }

    async fn keys_of_reads(
        &self,
        grant: &Grant,
        records: &[RecordId],
    ) -> Result<Vec<RecordKey>, Error> {
        if records.is_empty() || records.len() > MAX_READS {
            return Err(Error::Invalid("one call reads 1 to 64 records"));
        }
        // Readers would count the second as a repetition of the first.
        if BTreeSet::from_iter(records).len() < records.len() {
            return Err(Error::Invalid("one call reads each record once"));
        }
        let mut keys = Vec::new();
        for id in records {
            keys.push(self.current(grant.patient(), *id).await?.0);
        }
        Ok(keys)
    }

    async fn open_keys(
        &self,
        grant: &Grant,
        records: &[RecordKey],
    ) -> Result<Vec<ReadRecord>, Error> {
        let mut read = Vec::new();
        for unlocked in self.unlocked(grant, records).await? {
            let record = unlocked.record;
            let opened = self.open_unlocked(unlocked).await?;
            let signature = self.galen.signature_of(&opened).await?;
            read.push(ReadRecord { record, opened, signature });
        }
        Ok(read)
    }

    /// What opens records whose reads are logged. Where their content lies is asked only now.
    pub(crate) async fn unlocked(
        &self,
        grant: &Grant,
        records: &[RecordKey],
    ) -> Result<Vec<Unlocked>, Error> {
        if grant.is_shared() {
            return self.unlock(grant, records).await;
        }
        let mut unlocked = Vec::new();
        for record in records {
            let (_, version) = self.current(grant.patient(), record.id()).await?;
            let whole = grant.whole(record.segment);
            if whole.is_empty() {
                return Err(Error::Envelope("it lacks the key of a granted segment"));
            }
            let key = ReaderKey::Epochs(Arc::new(whole));
            unlocked.push(Unlocked { record: *record, version, key });
        }
        Ok(unlocked)
    }

    /// Opens a record, and tries once more if nothing opens: a custodian may be resealing it.
    async fn open_unlocked(&self, unlocked: Unlocked) -> Result<Opened, Error> {
        let Unlocked { record, version, key } = unlocked;
        match self.galen.open_with(&record, &version, &key).await {
            Ok((_, opened)) => Ok(opened),
            Err(error) => {
                let (_, newer) = self.current(record.patient, record.id()).await?;
                if newer == version {
                    return Err(error);
                }
                Ok(self.galen.open_with(&record, &newer, &key).await?.1)
            }
        }
    }

    /// Logs reads on chain without opening anything: the first half of [`Grantee::read`], and all that
    /// direct mode can do under a consent of all organizations (break-glass with an emergency purpose),
    /// for which nobody holds keys.
    ///
    /// The contract decides, also about a consent that is not live. If the patient changed other consents
    /// between the making of the proof and its arrival, the proof is made again, once.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`] with the contract's reason.
    pub async fn log(
        &self,
        patient: Address,
        consent: &Consent,
        purpose: Purpose,
        records: &[RecordKey],
    ) -> Result<Sent, Error> {
        let id = consent.id();
        let (proof, deadline) = self.proof(patient, consent).await?;
        let first = self.log_with(consent, purpose, proof.clone(), records, deadline).await;
        // A revoked consent and a stale proof look alike to the contract; the current tree tells.
        let Err(Error::Chain(ChainError::Reverted(why))) = &first else { return first };
        if why.name() != "ConsentNotFound" {
            return first;
        }
        let (again, deadline) = self.proof(patient, consent).await?;
        let live = |chart: &galen_index::Chart| chart.consents().tree.contains(id);
        if again == proof || !self.galen.with_chart(patient, live).await? {
            return first;
        }
        self.log_with(consent, purpose, again, records, deadline).await
    }

    /// Proof that a consent is live, as far as it is, and the deadline for a read under it.
    async fn proof(&self, patient: Address, consent: &Consent) -> Result<(Vec<B256>, u64), Error> {
        let id = consent.id();
        let mut deadline = self.galen.deadline().await?;
        let proof = |chart: &galen_index::Chart| {
            // Two equal signatures count as one read: a second one in the same block time differs.
            let own = chart.accesses().iter().map(|access| &access.event);
            let own = own.filter(|event| event.consent == id && event.grantee == self.id());
            let last = own.map(|event| event.deadline).max();
            deadline = deadline.max(last.map_or(0, |last| last + 1));
            // Without a proof the contract says what is missing.
            chart.consents().tree.proof(id).unwrap_or_default()
        };
        let proof = self.galen.with_chart(patient, proof).await?;
        Ok((proof, deadline))
    }

    async fn log_with(
        &self,
        consent: &Consent,
        purpose: Purpose,
        proof: Vec<B256>,
        records: &[RecordKey],
        deadline: u64,
    ) -> Result<Sent, Error> {
        let ledger = &self.galen.ledger;
        let account = &self.identity.account;
        Ok(ledger.log_access(account, consent, purpose, proof, records, deadline).await?)
    }
}

/// What the patient signed of an envelope: itself, or with others that were sent at the same time.
fn signed_digest(envelope: &GrantEnvelope) -> Result<B256, Error> {
    let terms = envelope.terms();
    let deadline = u48(envelope.deadline);
    if envelope.siblings.is_empty() {
        let message = typed::Envelope {
            patient: terms.patient,
            grantee: terms.grantee,
            consent: terms.consent.0,
            recipientKey: envelope.recipient_key(),
            ciphertext: envelope.ciphertext_hash(),
            deadline,
        };
        return Ok(typed::digest(&message, terms.ledger));
    }
    if !envelope.siblings.contains(&envelope.leaf()) {
        return Err(Error::Envelope("it is not among those that were signed"));
    }
    let message = typed::Sharing {
        patient: terms.patient,
        epoch: terms.epoch,
        envelopes: envelope.siblings.clone(),
        deadline,
    };
    Ok(typed::digest(&message, terms.ledger))
}
