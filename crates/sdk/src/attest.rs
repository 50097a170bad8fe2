//! Authors sign documents by parts before they seal them: one signature for up to 256 documents.

use std::collections::HashMap;

use alloy_primitives::{Address, B256, Bytes};
use galen_chain::{Account, Evidence, typed};
use galen_crypto::{Opened, random_salt};
use galen_fhir::parts::{self, PartsError, Seed, SigningPolicy};
use galen_types::{LedgerId, Plaintext};

use crate::{
    Attestation, Error, Galen, Identity, Presentation, SignedDocument, patient::u48, signed::tree,
};

/// What became of the check of a document's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureState {
    /// Signed by who controlled the author's id then, and unchanged since.
    Valid,
    /// Signed, but by somebody who did not control the author's id after so many rotations.
    NotController,
    /// Not what was signed, or not the signer's signature. A contract wallet is asked today: one whose owners
    /// have changed no longer confirms what it signed.
    NotSigned,
    /// Signed for another ledger, which was not asked.
    OtherLedger,
}

impl SignatureState {
    /// The word for machines: stable, lowercase.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::NotController => "not-controller",
            Self::NotSigned => "not-signed",
            Self::OtherLedger => "other-ledger",
        }
    }
}

/// Who signed a document by parts, and whether that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentSignature {
    /// Who stands behind the document: the organization that proposed it, or a clinician.
    pub author: Address,
    /// The account that signed for the author.
    pub signer: Address,
    /// Rotations of the author when it was signed.
    pub rotations: u32,
    /// Unix second at which it was signed, in the author's word.
    pub issued: u64,
    /// Whether it holds.
    pub state: SignatureState,
    /// The author's key was replaced since. Whoever has the old one can sign with an earlier date; what was
    /// accepted before it was replaced is not touched by that.
    pub replaced: bool,
}

/// A document before it is signed.
pub(crate) struct Unsigned {
    pub(crate) document: Plaintext,
    seed: Seed,
    /// Root of the tree over its elements.
    pub(crate) root: B256,
}

impl Unsigned {
    pub(crate) fn new(
        document: Plaintext,
        seed: Seed,
        policy: &SigningPolicy,
    ) -> Result<Self, Error> {
        let root = tree(&document, &seed, policy)?.root();
        Ok(Self { document, seed, root })
    }

    /// As [`Unsigned::new`] with a fresh seed.
    pub(crate) fn fresh(document: Plaintext, policy: &SigningPolicy) -> Result<Self, Error> {
        Self::new(document, fresh_seed()?, policy)
    }
}

/// One signature for several documents.
#[derive(Clone, Debug)]
pub(crate) struct Attested {
    ledger: LedgerId,
    author: Address,
    signer: Address,
    pub(crate) rotations: u32,
    pub(crate) issued: u64,
    pub(crate) signature: Bytes,
    paths: HashMap<B256, Vec<B256>>,
}

impl Attested {
    /// What was signed before, over these roots; `seed` is that of the tree over them.
    pub(crate) fn taken_up(
        (ledger, account): (LedgerId, &Account),
        (rotations, issued): (u32, u64),
        (roots, seed): (&[B256], &Seed),
        signature: Bytes,
    ) -> Result<Self, PartsError> {
        let (_, paths) = parts::batch(roots, seed)?;
        let paths = roots.iter().copied().zip(paths).collect();
        let (author, signer) = (account.id(), account.controller());
        Ok(Self { ledger, author, signer, rotations, issued, signature, paths })
    }

    /// The signed document; `None` if the signature is for others.
    pub(crate) fn seal_in(
        &self,
        unsigned: Unsigned,
        policy: &SigningPolicy,
    ) -> Option<SignedDocument> {
        let Unsigned { document, seed, root } = unsigned;
        let attestation = Attestation {
            ledger: self.ledger,
            author: self.author,
            signer: self.signer,
            rotations: self.rotations,
            issued: self.issued,
            batch_path: self.paths.get(&root)?.clone(),
            signature: self.signature.clone(),
        };
        Some(SignedDocument::new(document, seed, policy.clone(), attestation))
    }
}

impl Galen {
    /// Signs 1 to 256 FHIR documents by parts, with one signature: whoever has one of them can hide any part and
    /// prove who signed the rest. Seals nothing and sends nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Fhir`], [`Error::Parts`] if a document cannot be signed; [`Error::Sign`], [`Error::Chain`].
    pub async fn sign_documents(
        &self,
        identity: &Identity,
        documents: Vec<Plaintext>,
        policy: &SigningPolicy,
    ) -> Result<Vec<SignedDocument>, Error> {
        let unsigned = documents.into_iter().map(|document| Unsigned::fresh(document, policy));
        let unsigned = unsigned.collect::<Result<_, Error>>()?;
        self.sign_unsigned(&identity.account, unsigned, policy).await
    }

    pub(crate) async fn sign_unsigned(
        &self,
        account: &Account,
        unsigned: Vec<Unsigned>,
        policy: &SigningPolicy,
    ) -> Result<Vec<SignedDocument>, Error> {
        let roots: Vec<B256> = unsigned.iter().map(|it| it.root).collect();
        let attested = self.attest(account, &roots, &fresh_seed()?).await?;
        let signed = unsigned.into_iter().map(|it| attested.seal_in(it, policy));
        signed.collect::<Option<_>>().ok_or(Error::Invalid("a document was not signed"))
    }

    /// Signs the roots of documents; `seed` fills the tree over them.
    pub(crate) async fn attest(
        &self,
        account: &Account,
        roots: &[B256],
        seed: &Seed,
    ) -> Result<Attested, Error> {
        let (root, _) = parts::batch(roots, seed)?;
        let rotations = self.ledger.participant(account.id()).await?.rotations;
        let issued = self.time().await?;
        let message =
            typed::Attestation { author: account.id(), rotations, root, issued: u48(issued) };
        let evidence = Evidence { documents: Some(roots.len()), ..Evidence::default() };
        let signature = account.sign(&message, self.id(), evidence).await?;
        let place = (self.id(), account);
        Ok(Attested::taken_up(place, (rotations, issued), (roots, seed), signature)?)
    }

    /// Who signed the document of a record by parts, or the parts that a record shows, and whether that holds. `None` if it was not signed so: it
    /// is no FHIR document, or was proposed before documents were.
    ///
    /// # Errors
    ///
    /// [`Error::Crypto`], [`Error::Fhir`], [`Error::Parts`] if the payload is not what its media type says;
    /// [`Error::Chain`].
    pub async fn signature_of(&self, opened: &Opened) -> Result<Option<DocumentSignature>, Error> {
        if let Some(signed) = SignedDocument::of(opened) {
            return self.check_signature(&signed?).await.map(Some);
        }
        let Some(shown) = Presentation::of(opened) else { return Ok(None) };
        self.check_presentation(&shown?).await.map(Some)
    }

    /// Whether a signed document is signed by who it says.
    ///
    /// # Errors
    ///
    /// As [`Galen::signature_of`].
    pub async fn check_signature(
        &self,
        signed: &SignedDocument,
    ) -> Result<DocumentSignature, Error> {
        self.judge(signed.attestation(), signed.tree()?.root()).await
    }

    /// Whether a presentation shows parts of what its author signed.
    ///
    /// # Errors
    ///
    /// As [`Galen::signature_of`].
    pub async fn check_presentation(
        &self,
        shown: &Presentation,
    ) -> Result<DocumentSignature, Error> {
        self.judge(shown.attestation(), shown.verify()?.root).await
    }

    async fn judge(
        &self,
        attestation: &Attestation,
        root: B256,
    ) -> Result<DocumentSignature, Error> {
        let Attestation { author, signer, rotations, issued, .. } = *attestation;
        let digest = attestation.digest(root)?;
        let mut replaced = false;
        let state = if attestation.ledger != self.id() {
            SignatureState::OtherLedger
        } else if !self.ledger.has_signed(signer, digest, &attestation.signature).await {
            SignatureState::NotSigned
        } else {
            replaced = self.ledger.participant(author).await?.rotations != rotations;
            match self.controller_at(author, rotations).await? {
                Some(controller) if controller == signer => SignatureState::Valid,
                _ => SignatureState::NotController,
            }
        };
        Ok(DocumentSignature { author, signer, rotations, issued, state, replaced })
    }

    /// Who controlled an id after so many rotations; `None` if it has not rotated as often.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn controller_at(
        &self,
        id: Address,
        rotations: u32,
    ) -> Result<Option<Address>, Error> {
        if rotations == 0 {
            return Ok(Some(id));
        }
        // The slot spares whoever has no history the reading of it.
        let now = self.ledger.participant(id).await?;
        if now.rotations == rotations {
            return Ok(Some(now.controller));
        }
        self.with_chart(id, |chart| chart.controller_after(rotations)).await
    }
}

/// A fresh seed from the operating system.
fn fresh_seed() -> Result<Seed, Error> {
    Ok(Seed::new(random_salt()?.0.0))
}
