//! What a patient does: publishes keys, meets authors, answers proposals, grants, revokes, reseals.

use std::collections::BTreeMap;

use alloy_primitives::{Address, Bytes, U256, aliases::U48};
use galen_chain::{Account, CosignPolicy, Evidence, Masks, Position, Sent, SignedProposal, typed};
use galen_crypto::{
    ContactEnvelope, ContactTerms, Header, KeyBundle, MediaType, OpenKey, Opened, Opener,
    PatientKeys, SegmentKey,
};
use galen_fhir::{Category, Document};
use galen_index::{AuditReport, LeafState, Proposal, Record};
use galen_types::{
    ContentRef, LeafKind, ProposalId, RecordId, RecordKey, Salt, Segment, VersionId,
};

use crate::{
    DocumentSignature, Error, Galen, Identity, Presentation, SignatureState,
    attachment::{ReaderKey, Sealing},
    epochs::Epochs,
    fhir_document,
    galen::MAX_RECORD_LEN,
};

/// A proposed record that the patient opened and that is what it says.
#[derive(Clone, Debug)]
pub struct ProposedRecord {
    /// Index of the leaf in its proposal.
    pub index: usize,
    /// The record.
    pub record: RecordKey,
    /// Index of the category that its segment stands for.
    pub category: u8,
    /// Whether it is new, an amendment or a retraction. The document of a retraction is its reason.
    pub kind: LeafKind,
    /// Name of the version.
    pub version: VersionId,
    /// For an amendment or a retraction: the version that it follows, and whether that one stands. If
    /// it does not, accepting the leaf has no effect.
    pub follows: Option<(VersionId, bool)>,
    /// Where the proposal was announced.
    pub announced: Position,
    /// Last Unix second at which an answer is possible.
    pub deadline: u64,
    /// The document.
    pub opened: Opened,
    /// Who signed it by parts: the organization that proposes it, or somebody else, for example a clinician.
    /// `None` if nobody did: it is no FHIR document, or its author signs only proposals. A signature that does
    /// not hold is refused.
    pub signature: Option<DocumentSignature>,
}

/// A patient under one pseudonym, on one network.
#[derive(Clone, Debug)]
pub struct Patient {
    galen: Galen,
    identity: Identity,
    epochs: Epochs,
}

impl Patient {
    pub(crate) fn new(galen: Galen, identity: Identity) -> Self {
        Self { galen, identity, epochs: Epochs::default() }
    }

    /// The pseudonym.
    pub const fn id(&self) -> Address {
        self.identity.id()
    }

    /// Publishes the public keys of the identity and of every category's segment, unless they are published.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`], [`Error::Storage`].
    pub async fn publish_keys(&self) -> Result<(), Error> {
        let epoch = self.epoch_to_publish().await?;
        self.galen.publish(&self.identity.account, &self.bundle(epoch)).await?;
        Ok(())
    }

    /// What an author needs to propose records: which segment stands for which category, sealed to
    /// the author and signed. Give it to the author by any channel.
    ///
    /// # Errors
    ///
    /// [`Error::NoKeys`] if the author has published none.
    pub async fn introduce(&self, author: Address) -> Result<Vec<u8>, Error> {
        let recipient = self.galen.identity_of(author).await?;
        let map = self.identity.keys.segment_map();
        let pairs: Vec<(u8, Segment)> =
            categories().map(|category| (category, map.segment(category))).collect();
        let terms = ContactTerms {
            ledger: self.galen.id(),
            patient: self.id(),
            author,
            bundle: self.bundle(self.epoch().await?).id(),
        };
        let mut envelope = ContactEnvelope::seal(terms, &recipient, &pairs)?;
        envelope.deadline = self.galen.envelope_deadline().await?;
        let message = typed::Contact {
            patient: terms.patient,
            author,
            bundle: terms.bundle.0,
            ciphertext: envelope.ciphertext_hash(),
            deadline: u48(envelope.deadline),
        };
        envelope.signature =
            self.identity.account.sign(&message, terms.ledger, Evidence::default()).await?;
        Ok(envelope.encode())
    }

    /// Proposals that wait for an answer, oldest first. Those that nobody can answer any more, since the
    /// author's signature is out of date, are not among them.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn inbox(&self) -> Result<Vec<Proposal>, Error> {
        let time = self.galen.time().await?;
        let open = |chart: &galen_index::Chart| {
            let open = chart.proposals().filter(|proposal| proposal.is_open());
            open.filter(|proposal| time <= proposal.event.deadline).cloned().collect()
        };
        self.galen.with_chart(self.id(), open).await
    }

    /// Opens a proposed record and checks that it is what it says: sealed under the current epoch to
    /// the patient and to the readers of its segment, committed to on chain, acceptable FHIR of the
    /// category that the segment stands for, and, if it is signed by parts, signed by who it says.
    ///
    /// # Errors
    ///
    /// [`Error::Misproposed`] with the fault; [`Error::Storage`] if the content cannot be had.
    pub async fn examine(
        &self,
        proposal: &Proposal,
        index: usize,
    ) -> Result<ProposedRecord, Error> {
        let event = &proposal.event;
        let fault = |fault| Error::Misproposed { proposal: event.proposal, index, fault };
        let leaf = event.leaves.get(index).ok_or_else(|| fault("there is no such leaf"))?;
        let record = leaf.key(self.id(), event.author);
        if proposal.states.get(index) != Some(&LeafState::Unconfirmed) {
            return Err(fault("it was answered before"));
        }
        let sealed = self.galen.storage.get(&leaf.content, MAX_RECORD_LEN).await?;
        let header = Header::parse(&sealed).map_err(|_| fault("its content does not open"))?;
        let epoch = self.epoch().await?;
        if header.epoch() != epoch {
            return Err(fault("it is sealed under another epoch than the current one"));
        }
        let context = self.galen.context(&record, leaf);
        // Without this, an author could seal so that the patient reads it and no grantee ever does.
        let key = self.segment_key(leaf.segment, epoch);
        Opener::new(&header, context, OpenKey::Segment(&key))
            .map_err(|_| fault("it is not sealed to the readers of its segment"))?;
        let identity = self.identity.keys.identity();
        let opened = galen_crypto::open(&sealed, context, OpenKey::Identity(&identity))
            .map_err(|_| fault("its content does not open"))?;
        let category = self.identity.keys.segment_map().category(leaf.segment);
        let signature = self.signature_of_proposed(&opened).await?.map_err(fault)?;
        if let Some(document) = fhir_document(&opened)
            && leaf.kind != LeafKind::Retraction
        {
            check_category(document, category).map_err(fault)?;
        }
        if let Some(Ok(shown)) = Presentation::of(&opened) {
            check_shown(&shown, category).map_err(fault)?;
        }
        let follows = match leaf.kind {
            LeafKind::New => None,
            LeafKind::Amendment | LeafKind::Retraction => {
                let stands = |chart: &galen_index::Chart| {
                    let record = chart.record(record.id());
                    record.is_some_and(|record| record.current().id == leaf.previous)
                };
                Some((leaf.previous, self.galen.with_chart(self.id(), stands).await?))
            }
        };
        Ok(ProposedRecord {
            index,
            record,
            category,
            kind: leaf.kind,
            version: leaf.version(),
            follows,
            announced: proposal.announced,
            deadline: event.deadline,
            opened,
            signature,
        })
    }

    /// The inner error is the document's own fault: it is not signed by who it says.
    async fn signature_of_proposed(
        &self,
        opened: &Opened,
    ) -> Result<Result<Option<DocumentSignature>, &'static str>, Error> {
        let found = match self.galen.signature_of(opened).await {
            Err(Error::Chain(error)) => return Err(error.into()),
            Err(Error::Fhir(_)) => return Ok(Err("its document is not acceptable FHIR")),
            Err(_) => return Ok(Err("it is no signed document")),
            Ok(found) => found,
        };
        Ok(match found.map(|found| found.state) {
            // Who found or stole the old key could have signed today with an earlier date.
            Some(SignatureState::Valid) if found.is_some_and(|found| found.replaced) => {
                Err("it is signed with a key that its author has replaced since")
            }
            None | Some(SignatureState::Valid) => Ok(found),
            Some(SignatureState::NotSigned) => {
                Err("it is not signed by who it says, or not as it was signed")
            }
            Some(SignatureState::NotController) => {
                Err("it is signed with a key that was not its author's")
            }
            Some(SignatureState::OtherLedger) => Err("it is signed for another ledger"),
        })
    }

    /// Answers a proposal with one signature. A leaf in neither list stays unconfirmed.
    ///
    /// `cosignatures` are those of the policy's cosigners, by cosigner.
    ///
    /// # Errors
    ///
    /// [`Error::NoProposal`]; otherwise as the contract says, for example if cosigners are missing.
    pub async fn answer(
        &self,
        proposal: ProposalId,
        accepted: impl IntoIterator<Item = usize>,
        rejected: impl IntoIterator<Item = usize>,
        policy: &CosignPolicy,
        cosignatures: &BTreeMap<Address, Bytes>,
    ) -> Result<Sent, Error> {
        let found = self
            .galen
            .with_chart(self.id(), |chart| chart.proposal(proposal).cloned())
            .await?
            .ok_or(Error::NoProposal(proposal))?;
        let signed = signed(&found);
        let masks = Masks { accepted: mask(accepted), rejected: mask(rejected) };
        let deadline = self.galen.deadline().await?;
        let signatures = policy
            .cosigners
            .iter()
            .map(|cosigner| cosignatures.get(cosigner).cloned().unwrap_or_default())
            .collect();
        let account = &self.identity.account;
        let ledger = &self.galen.ledger;
        Ok(ledger.settle(account, &signed, masks, deadline, policy, signatures).await?)
    }

    /// Opens a record of the patient's own chart. Needs no log: it is theirs.
    ///
    /// # Errors
    ///
    /// [`Error::NoRecord`], [`Error::DoesNotOpen`].
    pub async fn open(&self, record: RecordId) -> Result<Opened, Error> {
        let record = self.record(record).await?;
        Ok(self.open_current(&record).await?.1)
    }

    /// What happened to the chart, and whether the chain says that this is all.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn audit(&self) -> Result<AuditReport, Error> {
        self.galen.audit(self.id()).await
    }

    /// Name of the category that a segment of this pseudonym stands for.
    pub fn category(&self, segment: Segment) -> u8 {
        self.identity.keys.segment_map().category(segment)
    }

    /// What this identity publishes for an epoch.
    pub(crate) fn bundle(&self, epoch: u32) -> KeyBundle {
        let map = self.identity.keys.segment_map();
        KeyBundle {
            id: self.id(),
            epoch,
            identity: self.identity.keys.identity().public().clone(),
            segments: categories()
                .map(|category| map.segment(category))
                .map(|segment| (segment, self.segment_key(segment, epoch).public()))
                .collect(),
        }
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

    pub(crate) fn identity_key(&self) -> ReaderKey {
        ReaderKey::Identity(Box::new(self.identity.keys.identity()))
    }

    pub(crate) const fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    pub(crate) fn segment_key(&self, segment: Segment, epoch: u32) -> SegmentKey {
        self.identity.keys.segment(segment, epoch)
    }

    pub(crate) async fn record(&self, id: RecordId) -> Result<Record, Error> {
        let record = self.galen.with_chart(self.id(), |chart| chart.record(id).cloned()).await?;
        record.ok_or(Error::NoRecord(id))
    }

    pub(crate) async fn open_current(
        &self,
        record: &Record,
    ) -> Result<(ContentRef, Opened), Error> {
        let identity = self.identity.keys.identity();
        let key = OpenKey::Identity(&identity);
        self.galen.open_version(&record.key, record.current(), key).await
    }

    /// What seals content of a record of this chart to its readers, under the current epoch.
    pub(crate) async fn sealing(
        &self,
        key: &RecordKey,
        salt: Salt,
        media_type: MediaType,
    ) -> Result<Sealing, Error> {
        let epoch = self.epoch().await?;
        Ok(Sealing {
            ledger: self.galen.id(),
            record: key.id(),
            epoch,
            salt,
            media_type,
            identity: self.identity.keys.identity().public().clone(),
            segment: (key.segment, self.segment_key(key.segment, epoch).public()),
        })
    }
}

/// What a proposal's event says was signed.
pub(crate) fn signed(proposal: &Proposal) -> SignedProposal {
    let event = &proposal.event;
    SignedProposal {
        message: typed::Proposal {
            patient: event.patient,
            author: event.author,
            rotations: event.rotations,
            count: u16::try_from(event.leaves.len()).unwrap_or(u16::MAX),
            deadline: u48(event.deadline),
            policy: event.policy,
            leaves: event.leaves.iter().map(typed::Leaf::from).collect(),
        },
        signature: event.signature.clone(),
    }
}

/// A document must be acceptable FHIR and may lie, whole, in the segment of its category.
///
/// An author's table of sensitive codes may be stricter than ours, so a more sensitive category than we
/// would choose is taken as it is; a less sensitive one never.
fn check_category(document: &[u8], category: u8) -> Result<(), &'static str> {
    let document = Document::read(document).map_err(|_| "its document is not acceptable FHIR")?;
    let fits = Category::from_index(category).is_some_and(|category| document.fits(category));
    if fits { Ok(()) } else { Err("its document belongs to another category than its segment") }
}

/// Parts of a document may lie in any category, but what is sensitive in them only in its own.
fn check_shown(shown: &Presentation, category: u8) -> Result<(), &'static str> {
    let verified = shown.verify().map_err(|_| "its parts do not hold together")?;
    let view = Document::read_extract(verified.view.expose());
    let view = view.map_err(|_| "what it shows is not acceptable FHIR")?;
    let here = Category::from_index(category);
    let fits = |draft: &galen_fhir::Draft<'_>| {
        !draft.category().is_sensitive() || Some(draft.category()) == here
    };
    if view.split().iter().all(fits) {
        Ok(())
    } else {
        Err("what it shows is more sensitive than its segment")
    }
}

pub(crate) fn categories() -> impl Iterator<Item = u8> {
    (0..=u8::MAX).filter(|index| Category::from_index(*index).is_some())
}

fn mask(indexes: impl IntoIterator<Item = usize>) -> U256 {
    indexes.into_iter().fold(U256::ZERO, |mut mask, index| {
        mask.set_bit(index, true);
        mask
    })
}

pub(crate) fn u48(seconds: u64) -> U48 {
    U48::saturating_from(seconds)
}
