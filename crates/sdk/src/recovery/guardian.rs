//! A guardian: keeps a piece, signs for a new key, gives the piece after the recovery.

use alloy_primitives::Address;
use galen_chain::{Evidence, GuardianSet, typed};
use galen_crypto::{GuardianTerms, PieceEnvelope, PieceText, ProxyPlace, seal_note};

use crate::{
    Error, Galen, Identity,
    proxies::wire::PieceAsk,
    recovery::{GIVEN_LABEL, GUARDIANS_HALF, GivenPiece, RecoverySheet},
};

/// Whether a piece would still help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceStanding {
    /// Its guardians are those that the ledger names.
    Current,
    /// Its guardians take effect when a change that waits is finished.
    Waiting,
    /// The guardians are others by now: it helps nobody.
    Stale,
}

/// An id that one is a guardian of, as a piece says it.
#[derive(Clone, Debug)]
pub struct Ward {
    /// The id.
    pub id: Address,
    /// All guardians, and how many it takes.
    pub terms: GuardianTerms,
    /// Whether enough guardians alone could read everything: no proxy holds another half.
    pub whole: bool,
    /// The proxies that hold the other half.
    pub proxies: Vec<ProxyPlace>,
    /// Unix second at which the piece was made.
    pub issued: u64,
    /// Whether it would still help.
    pub standing: PieceStanding,
}

/// What somebody does as a guardian of others.
#[derive(Clone, Debug)]
pub struct Guardian {
    galen: Galen,
    identity: Identity,
}

impl Guardian {
    pub(super) const fn new(galen: Galen, identity: Identity) -> Self {
        Self { galen, identity }
    }

    /// The guardian's own id.
    pub const fn id(&self) -> Address {
        self.identity.id()
    }

    /// Takes a piece: it is for this guardian, signed by who controls the id now, belongs to guardians that the
    /// ledger names, and was made of the seed of the id's published keys. The caller keeps the envelope as it came.
    ///
    /// # Errors
    ///
    /// - [`Error::Envelope`]: one of these does not hold.
    /// - [`Error::Chain`] (`NotSigned`), [`Error::NoKeys`].
    pub async fn accept(&self, envelope: &[u8]) -> Result<Ward, Error> {
        let (envelope, text) = self.open(envelope)?;
        let terms = envelope.terms();
        if !envelope.siblings.contains(&envelope.leaf()) {
            return Err(Error::Envelope("its signature is for other pieces"));
        }
        let message = typed::Pieces {
            id: terms.id,
            guardians: terms.guardians,
            envelopes: envelope.siblings.clone(),
            deadline: crate::patient::u48(envelope.deadline),
        };
        let digest = typed::digest(&message, self.galen.id());
        let (deadline, signature) = (envelope.deadline, &envelope.signature);
        self.galen.require_envelope(terms.ledger, terms.id, digest, deadline, signature).await?;
        let ward = self.ward(&envelope, text).await?;
        if ward.standing == PieceStanding::Stale {
            return Err(Error::Envelope("its guardians are not those that the ledger names"));
        }
        Ok(ward)
    }

    /// What a piece says that was accepted before, and whether it would still help.
    ///
    /// # Errors
    ///
    /// [`Error::Envelope`], [`Error::Crypto`], [`Error::Chain`].
    pub async fn look(&self, envelope: &[u8]) -> Result<Ward, Error> {
        let (envelope, text) = self.open(envelope)?;
        self.ward(&envelope, text).await
    }

    /// Signs that the id of a sheet goes to its new controller, and shows who the guardians are. The guardian has
    /// spoken to the person and compared [`RecoverySheet::words`].
    ///
    /// # Errors
    ///
    /// - [`Error::Envelope`]: the sheet does not stand, or the piece is of another id or of former guardians.
    /// - [`Error::Sign`].
    pub async fn approve(&self, sheet: &mut RecoverySheet, envelope: &[u8]) -> Result<(), Error> {
        self.galen.check_recovery(sheet).await?;
        let (envelope, text) = self.open(envelope)?;
        let terms = *sheet.terms();
        self.require_current(terms.id, &envelope).await?;
        let message = self.galen.ledger().recovery_message(self.id(), &terms).await?;
        let account = &self.identity.account;
        let signature = account.sign(&message, self.galen.id(), Evidence::default()).await?;
        sheet.add(opening(&text.of), self.id(), signature);
        Ok(())
    }

    /// Gives the piece to who took the id over: only after a recovery that finished in a block that is final, only
    /// to a key that the controller of now signed for, and only while nobody else took the id over since.
    ///
    /// # Errors
    ///
    /// - [`Error::NotRecovered`], [`Error::NotFinal`]: there is no such recovery, or not yet.
    /// - [`Error::Envelope`]: the request is out of date, or the piece is of another id or of former guardians.
    /// - [`Error::Chain`] (`NotSigned`).
    pub async fn give(&self, ask: &PieceAsk, envelope: &[u8]) -> Result<GivenPiece, Error> {
        let (request, recipient) = self.galen.check_piece_ask(ask).await?;
        let (envelope, text) = self.open(envelope)?;
        self.require_current(ask.id, &envelope).await?;
        let sealed = seal_note(&recipient, GIVEN_LABEL, request.as_slice(), text.encode())?;
        Ok(GivenPiece {
            ledger: self.galen.id(),
            id: ask.id,
            holder: self.id(),
            half: GUARDIANS_HALF,
            request,
            sealed,
        })
    }

    /// Opens an envelope that is for this guardian and says one thing about the guardians.
    fn open(&self, envelope: &[u8]) -> Result<(PieceEnvelope, PieceText), Error> {
        let envelope = PieceEnvelope::decode(envelope)?;
        let terms = envelope.terms();
        if terms.ledger != self.galen.id() {
            return Err(Error::Envelope("it is for another ledger"));
        }
        if (terms.holder, terms.half) != (self.id(), GUARDIANS_HALF) {
            return Err(Error::Envelope("it is for another guardian"));
        }
        let text = envelope.open(&self.identity.keys.identity())?;
        if opening(&text.of).commitment() != terms.guardians {
            return Err(Error::Envelope(
                "the guardians that it names are not those it was made for",
            ));
        }
        if text.digests.threshold() != text.of.threshold {
            return Err(Error::Envelope("it takes another number of pieces than of guardians"));
        }
        Ok((envelope, text))
    }

    async fn ward(&self, envelope: &PieceEnvelope, text: PieceText) -> Result<Ward, Error> {
        let terms = envelope.terms();
        let state = self.galen.guard_state(terms.id).await?;
        let waits = state.pending.is_some_and(|pending| pending.commitment == terms.guardians);
        let standing = match state.guardianship.commitment == terms.guardians {
            true => PieceStanding::Current,
            false if waits => PieceStanding::Waiting,
            false => PieceStanding::Stale,
        };
        if self.galen.identity_of(terms.id).await?.hash() != text.identity {
            return Err(Error::Envelope("it is of another seed than the keys of the id"));
        }
        let PieceText { of: terms, halves, proxies, issued, .. } = text;
        let id = envelope.terms().id;
        Ok(Ward { id, terms, whole: halves == 1, proxies, issued, standing })
    }

    /// The piece is of this id, and of the guardians that the ledger names now.
    async fn require_current(&self, id: Address, envelope: &PieceEnvelope) -> Result<(), Error> {
        let terms = envelope.terms();
        if terms.id != id {
            return Err(Error::Envelope("the piece is of another id"));
        }
        if self.galen.ledger().guardianship(id).await?.commitment != terms.guardians {
            return Err(Error::Envelope("the guardians of the id are others by now"));
        }
        Ok(())
    }
}

/// The opening of the commitment, as the ledger takes it.
pub(super) fn opening(terms: &GuardianTerms) -> GuardianSet {
    GuardianSet {
        guardians: terms.guardians.clone(),
        threshold: terms.threshold,
        final_threshold: terms.final_threshold,
        salt: terms.salt,
    }
}
