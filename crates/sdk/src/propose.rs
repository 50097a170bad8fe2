//! From documents to a proposal: signed by parts, copied, sealed, kept, signed, sent.

use std::{collections::BTreeMap, io};

use alloy_primitives::Address;
use galen_chain::{CosignPolicy, Sent, SignedProposal};
use galen_crypto::{MediaType, random_salt, seal_bytes};
use galen_types::{
    Leaf, LeafKind, Plaintext, ProposalId, RecordId, RecordKey, Salt, Segment, VersionId,
};
use zeroize::Zeroizing;

use crate::{
    Contact, Error, Organization, PRESENTATION, Presentation, SignatureState, SignedDocument,
    attachment::Sealing,
    attest::Unsigned,
    batch::{Batch, Kept},
    galen::{FHIR_JSON, fhir_json},
    signed::{SIGNED_DOCUMENT, is_signed},
};

/// Most leaves of one proposal.
pub const MAX_LEAVES: usize = 256;

/// Bytes of documents that wait in memory for one signature; a document more than that waits alone.
pub(crate) const MAX_WAITING_LEN: usize = 64 << 20;

/// One document on its way to a patient.
#[derive(Clone, Debug)]
pub struct NewRecord {
    /// Index of the category, see `galen_fhir::Category`.
    pub category: u8,
    /// What the payload is.
    pub media_type: MediaType,
    /// The document.
    pub payload: Plaintext,
}

impl NewRecord {
    /// A FHIR document in JSON. The organization that proposes it signs it by parts.
    pub fn fhir(category: u8, payload: Plaintext) -> Self {
        Self { category, media_type: fhir_json(), payload }
    }

    /// A FHIR document that somebody has signed by parts already, for example a clinician: it is proposed as it
    /// is.
    pub fn signed(category: u8, document: &SignedDocument) -> Self {
        let media_type = SIGNED_DOCUMENT.parse().expect("a printable ASCII text");
        Self { category, media_type, payload: document.encode() }
    }

    /// Parts of a document that is signed by parts.
    pub fn presentation(category: u8, shown: &Presentation) -> Self {
        let media_type = PRESENTATION.parse().expect("a printable ASCII text");
        Self { category, media_type, payload: shown.encode() }
    }

    fn is_fhir(&self) -> bool {
        self.media_type.as_str() == FHIR_JSON
    }
}

impl From<&galen_fhir::Draft<'_>> for NewRecord {
    fn from(draft: &galen_fhir::Draft<'_>) -> Self {
        Self::fhir(draft.category().index(), draft.payload())
    }
}

/// Seconds that an author's signature waits for the patient's answer.
const PROPOSAL_LIFETIME: u64 = 180 * 24 * 3_600;

/// A proposal that was announced.
#[derive(Clone, Debug)]
pub struct Announced {
    /// Its id.
    pub proposal: ProposalId,
    /// What was signed, for whoever settles it.
    pub signed: SignedProposal,
    /// Records of its leaves.
    pub records: Vec<RecordKey>,
    /// Bytes of sealed content.
    pub sealed_bytes: u64,
    /// The transaction.
    pub sent: Sent,
}

/// A proposal that is signed and not sent yet, its content kept. Whoever has it can send it.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// What was signed.
    pub signed: SignedProposal,
    /// Its leaves.
    pub leaves: Vec<Leaf>,
    /// Records of its leaves.
    pub records: Vec<RecordKey>,
    /// Bytes of sealed content.
    pub sealed_bytes: u64,
}

impl Prepared {
    /// Id of the proposal.
    pub fn proposal(&self) -> ProposalId {
        self.signed.message.id()
    }
}

impl Organization {
    /// Signs documents by parts, seals them, keeps them and proposes them to the patient, 256 at a time.
    ///
    /// Documents are taken one by one, so that a large input need not be in memory at once: at most 256, or
    /// 64 MiB of them, wait for the signature that covers them.
    ///
    /// # Errors
    ///
    /// - [`Error::NoSegment`] if the patient named no segment for a category.
    /// - [`Error::Fhir`], [`Error::Parts`] if a document cannot be signed; [`Error::Signature`] if one that
    ///   is signed already is not signed by who it says.
    /// - [`Error::Copy`] if the organization keeps copies and one cannot be written.
    /// - Otherwise as the chain and the store say. What was announced before the error stays announced.
    pub async fn propose(
        &self,
        contact: &Contact,
        records: impl IntoIterator<Item = NewRecord>,
        policy: &CosignPolicy,
    ) -> Result<Vec<Announced>, Error> {
        let mut announced = Vec::new();
        let mut gathered = Gathered::default();
        for record in records {
            contact.segment(record.category)?;
            gathered.push(record);
            if gathered.is_full() {
                self.seal_all(contact, &mut gathered).await?;
            }
            if gathered.batch.len() == MAX_LEAVES {
                let full = std::mem::take(&mut gathered.batch);
                announced.push(self.send(self.sign(contact, full, policy).await?).await?);
            }
        }
        self.seal_all(contact, &mut gathered).await?;
        if gathered.batch.len() > 0 {
            let rest = self.sign(contact, gathered.batch, policy).await?;
            announced.push(self.send(rest).await?);
        }
        Ok(announced)
    }

    /// Signs 1 to 256 documents by parts, seals and keeps them and signs the proposal, but does not send it:
    /// first half of [`Organization::propose`].
    ///
    /// # Errors
    ///
    /// As [`Organization::propose`].
    pub async fn prepare(
        &self,
        contact: &Contact,
        records: impl IntoIterator<Item = NewRecord>,
        policy: &CosignPolicy,
    ) -> Result<Prepared, Error> {
        let mut gathered = Gathered::default();
        for record in records {
            contact.segment(record.category)?;
            if gathered.len() == MAX_LEAVES {
                return Err(Error::Invalid("a proposal has 1 to 256 leaves"));
            }
            gathered.push(record);
            if gathered.is_full() {
                self.seal_all(contact, &mut gathered).await?;
            }
        }
        self.seal_all(contact, &mut gathered).await?;
        self.sign(contact, gathered.batch, policy).await
    }

    /// Signs what waits by parts, seals it, and begins to send it to where it is kept.
    async fn seal_all(&self, contact: &Contact, gathered: &mut Gathered) -> Result<(), Error> {
        gathered.waiting_len = 0;
        let contact = &self.refreshed(contact).await?;
        for record in self.sign_by_parts(std::mem::take(&mut gathered.waiting)).await? {
            let segment = contact.segment(record.category)?;
            let number =
                self.next_number(&mut gathered.numbers, contact.patient(), segment).await?;
            let key = RecordKey { patient: contact.patient(), author: self.id(), segment, number };
            let first = (LeafKind::New, VersionId::default());
            let sealed = self.seal(contact, key, &record, first).await?;
            gathered.batch.push(self.galen().storage_for(record.category), sealed, key).await?;
        }
        Ok(())
    }

    /// FHIR documents as they are proposed: signed by parts, all with one signature. What is signed already is
    /// checked; anything else stays as it is.
    async fn sign_by_parts(&self, mut records: Vec<NewRecord>) -> Result<Vec<NewRecord>, Error> {
        let mut unsigned = Vec::new();
        for record in &mut records {
            if is_signed(&record.media_type) {
                let signed = SignedDocument::decode(record.payload.expose())?;
                self.require_signed(&signed).await?;
            } else if record.is_fhir() {
                let payload = std::mem::replace(&mut record.payload, Plaintext::new(Vec::new()));
                unsigned.push(Unsigned::fresh(payload, self.signing_policy())?);
            }
        }
        if unsigned.is_empty() {
            return Ok(records);
        }
        let signed =
            self.galen().sign_unsigned(self.account(), unsigned, self.signing_policy()).await?;
        let open = records.iter_mut().filter(|record| record.is_fhir());
        for (record, signed) in open.zip(signed) {
            *record = NewRecord::signed(record.category, &signed);
        }
        Ok(records)
    }

    /// A document that somebody else signed is proposed only if it is signed by who it says.
    pub(crate) async fn require_signed(&self, signed: &SignedDocument) -> Result<(), Error> {
        let found = self.galen().check_signature(signed).await?;
        match found.state {
            SignatureState::Valid if found.replaced => {
                Err(Error::Invalid("its author has replaced the key that signed it: sign it again"))
            }
            SignatureState::Valid => Ok(()),
            state => Err(Error::Signature(state)),
        }
    }

    /// Sends a proposal that was prepared, unless the ledger has it: the second half of
    /// [`Organization::propose`], which can be repeated.
    ///
    /// `None` if it was announced before.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn announce(&self, prepared: Prepared) -> Result<Option<Announced>, Error> {
        let (id, patient) = (prepared.proposal(), prepared.signed.message.patient);
        let there = |chart: &galen_index::Chart| chart.proposal(id).is_some();
        if self.galen().with_chart(patient, there).await? {
            return Ok(None);
        }
        self.send(prepared).await.map(Some)
    }

    /// Proposes a new version of one of the organization's own records.
    ///
    /// The policy must be the one that the version before it was proposed under, or readers will not
    /// count the amendment.
    ///
    /// # Errors
    ///
    /// [`Error::NoRecord`] if no version of the record stands.
    pub async fn amend(
        &self,
        contact: &Contact,
        record: RecordId,
        document: &NewRecord,
        policy: &CosignPolicy,
    ) -> Result<Announced, Error> {
        let (key, current) = self.own_record(contact, record, policy).await?;
        if contact.segment(document.category)? != key.segment {
            return Err(Error::Invalid("a record never changes its segment"));
        }
        let contact = &self.refreshed(contact).await?;
        let mut batch = Batch::default();
        let place = (LeafKind::Amendment, current.id);
        for document in self.sign_by_parts(vec![document.clone()]).await? {
            let sealed = self.seal(contact, key, &document, place).await?;
            batch.push(self.galen().storage_for(document.category), sealed, key).await?;
        }
        self.send(self.sign(contact, batch, policy).await?).await
    }

    /// A new record of a patient in a category.
    pub(crate) async fn next_record(
        &self,
        contact: &Contact,
        category: u8,
    ) -> Result<RecordKey, Error> {
        let segment = contact.segment(category)?;
        let number = self.next_number(&mut BTreeMap::new(), contact.patient(), segment).await?;
        Ok(RecordKey { patient: contact.patient(), author: self.id(), segment, number })
    }

    /// What seals content of a record to the patient and to the readers of its segment.
    pub(crate) fn sealing(
        &self,
        contact: &Contact,
        key: &RecordKey,
        salt: Salt,
        media_type: MediaType,
    ) -> Result<Sealing, Error> {
        let public = contact.bundle.segments.get(&key.segment);
        let public = public.ok_or(Error::Envelope("the patient's keys lack the segment"))?;
        Ok(Sealing {
            ledger: self.galen().id(),
            record: key.id(),
            epoch: contact.bundle.epoch,
            salt,
            media_type,
            identity: contact.bundle.identity.clone(),
            segment: (key.segment, public.clone()),
        })
    }

    pub(crate) async fn next_number(
        &self,
        numbers: &mut BTreeMap<Segment, u64>,
        patient: Address,
        segment: Segment,
    ) -> Result<u64, Error> {
        let last = match numbers.get(&segment) {
            Some(last) => Some(*last),
            None => {
                let author = self.id();
                self.galen().with_chart(patient, |chart| chart.last_number(author, segment)).await?
            }
        };
        let next = last.map_or(0, |last| last + 1);
        numbers.insert(segment, next);
        Ok(next)
    }

    /// Seals a document and stages it where its category says. A copy is there before.
    pub(crate) async fn seal(
        &self,
        contact: &Contact,
        key: RecordKey,
        document: &NewRecord,
        (kind, previous): (LeafKind, VersionId),
    ) -> Result<(Leaf, u64), Error> {
        let media_type = document.media_type.clone();
        let (salt, payload) = (random_salt()?, &document.payload);
        let sealing = self.sealing(contact, &key, salt, media_type.clone())?;
        let (committed, sealed) = seal_bytes(&sealing.request(), payload.expose())?;
        if self.copies().is_some() {
            let payload = io::Cursor::new(Zeroizing::new(payload.expose().to_vec()));
            self.keep_copy(&key, salt, media_type, committed, payload).await?;
        }
        let len = sealed.len() as u64;
        let storage = self.galen().storage_for(document.category);
        let content = storage.stage_bytes(sealed).await?.of(storage.address_kind());
        let commitment = committed.commitment;
        let (segment, number) = (key.segment, key.number);
        Ok((Leaf { kind, segment, number, content, commitment, previous }, len))
    }

    /// Signs a proposal as soon as its content is where it belongs.
    pub(crate) async fn sign(
        &self,
        contact: &Contact,
        batch: Batch,
        policy: &CosignPolicy,
    ) -> Result<Prepared, Error> {
        let Kept { leaves, records, sealed_bytes } = batch.kept().await?;
        let ledger = &self.galen().ledger;
        let deadline = self.galen().deadline().await? + PROPOSAL_LIFETIME;
        let account = self.account();
        let signed =
            ledger.sign_proposal(account, contact.patient(), &leaves, policy, deadline).await?;
        Ok(Prepared { signed, leaves, records, sealed_bytes })
    }

    pub(crate) async fn send(&self, prepared: Prepared) -> Result<Announced, Error> {
        let sent = self.galen().ledger.propose(&prepared.signed, &prepared.leaves).await?;
        let proposal = prepared.proposal();
        let Prepared { signed, records, sealed_bytes, .. } = prepared;
        Ok(Announced { proposal, signed, records, sealed_bytes, sent })
    }
}

/// Records on their way into a proposal: some wait for the signature that covers their documents, some are sealed.
#[derive(Default)]
struct Gathered {
    waiting: Vec<NewRecord>,
    waiting_len: usize,
    numbers: BTreeMap<Segment, u64>,
    batch: Batch,
}

impl Gathered {
    fn push(&mut self, record: NewRecord) {
        self.waiting_len += record.payload.expose().len();
        self.waiting.push(record);
    }

    fn len(&self) -> usize {
        self.waiting.len() + self.batch.len()
    }

    fn is_full(&self) -> bool {
        self.len() >= MAX_LEAVES || self.waiting_len >= MAX_WAITING_LEN
    }
}
