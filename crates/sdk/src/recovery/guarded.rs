//! The owner of an id: who guards it.

use alloy_primitives::{Address, B256};
use galen_chain::{EnvelopeFor, Evidence, GuardianSet, Sent, typed};
use galen_crypto::{
    GuardianTerms, PieceDigests, PieceEnvelope, PieceTerms, PieceText, ProxyPlace, RootSeed,
    SecretPiece, split_secret,
};

use crate::{
    Error, Galen, Identity,
    patient::u48,
    proxies::ProxySet,
    recovery::{
        GUARDIAN_DELAYS, GUARDIANS_HALF, GuardState, MAX_GUARDIANS, PROXIES_HALF, claimant::xor,
    },
};

/// Who shall guard an id, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardianPlan {
    /// In any order.
    pub guardians: Vec<Address>,
    /// How many hand the id to a new key; the controller can cancel that once in 30 days.
    pub threshold: u8,
    /// How many hand it over so that nobody can cancel.
    pub final_threshold: u8,
    /// Seconds that a recovery, a rotation and a change of guardians wait.
    pub delay: u32,
}

/// Pieces of a seed, sealed and signed, for who keeps them.
#[derive(Clone, Debug)]
pub struct HandedOut {
    /// The guardians that they are for.
    pub guardians: B256,
    /// Each guardian and its envelope, to be given by any channel.
    pub pieces: Vec<(Address, Vec<u8>)>,
    /// Each proxy and its envelope, for its `POST /v1/pieces`. None if the guardians hold all of it.
    pub proxies: Vec<(ProxyPlace, Vec<u8>)>,
}

/// The owner of an id, and what they do about guardians.
#[derive(Clone, Debug)]
pub struct Guarded {
    pub(super) galen: Galen,
    pub(super) identity: Identity,
}

impl Guarded {
    pub(super) const fn new(galen: Galen, identity: Identity) -> Self {
        Self { galen, identity }
    }

    /// The id.
    pub const fn id(&self) -> Address {
        self.identity.id()
    }

    /// How the id is guarded.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn state(&self) -> Result<GuardState, Error> {
        self.galen.guard_state(self.id()).await
    }

    /// The set that a plan gives now. Its salt is derived from the seed and the nonce of the guardianship, so that
    /// no two sets have the same.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`]: a guardian twice, the id itself, a threshold that nobody reaches, a delay out of range.
    pub async fn set_of(&self, plan: &GuardianPlan) -> Result<GuardianSet, Error> {
        let mut guardians = plan.guardians.clone();
        guardians.sort_unstable();
        let count = guardians.len();
        if !(1..=MAX_GUARDIANS).contains(&count) || !guardians.is_sorted_by(|a, b| a < b) {
            return Err(Error::Invalid("there are 1 to 32 guardians, each named once"));
        }
        let controller = self.identity.account.controller();
        if guardians.contains(&self.id()) || guardians.contains(&controller) {
            return Err(Error::Invalid("nobody guards themselves: that key would be lost as well"));
        }
        let (first, last) = (usize::from(plan.threshold), usize::from(plan.final_threshold));
        if first == 0 || last < first || last > count {
            return Err(Error::Invalid(
                "the threshold is at least 1, the final one not below it, and both within reach",
            ));
        }
        if !GUARDIAN_DELAYS.contains(&plan.delay) {
            return Err(Error::Invalid("the delay is 3 to 21 days"));
        }
        let nonce = self.galen.ledger().guardianship(self.id()).await?.nonce;
        let salt = self.identity.keys.guardian_salt(nonce.into());
        let (threshold, final_threshold) = (plan.threshold, plan.final_threshold);
        Ok(GuardianSet { guardians, threshold, final_threshold, salt })
    }

    /// Sets the guardians. The first ones take effect at once; a change waits as long as those before said.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`], [`Error::Sign`].
    pub async fn set(&self, set: &GuardianSet, delay: u32) -> Result<Sent, Error> {
        let deadline = self.galen.deadline().await?;
        let account = &self.identity.account;
        Ok(self.galen.ledger().set_guardians(account, Some((set, delay)), deadline).await?)
    }

    /// Removes the guardians; it waits as long as they said.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`], [`Error::Sign`].
    pub async fn remove(&self) -> Result<Sent, Error> {
        let deadline = self.galen.deadline().await?;
        let account = &self.identity.account;
        Ok(self.galen.ledger().set_guardians(account, None, deadline).await?)
    }

    /// Cancels what waits: a recovery that others started, or what one started oneself.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`], [`Error::Sign`].
    pub async fn cancel(&self) -> Result<Sent, Error> {
        let deadline = self.galen.deadline().await?;
        Ok(self.galen.ledger().cancel_pending(&self.identity.account, deadline).await?)
    }

    /// Splits the seed among the guardians of a set that the ledger names, or that waits there. With `proxies` the
    /// guardians get pieces of a random mask and the proxies pieces of the rest;
    /// without, enough guardians together hold the seed itself.
    ///
    /// Pieces of two handings out do not fit together: all guardians must take the new ones.
    ///
    /// # Errors
    ///
    /// - [`Error::Invalid`]: the ledger names other guardians, or the seed is another one.
    /// - [`Error::NoKeys`]: a guardian or proxy has published none.
    /// - [`Error::Sign`].
    pub async fn hand_out(
        &self,
        seed: &RootSeed,
        set: &GuardianSet,
        proxies: Option<&ProxySet>,
    ) -> Result<HandedOut, Error> {
        let delay = self.delay_of(set).await?;
        let keys = seed.pseudonym(self.id());
        let identity = self.identity.keys.identity().public().hash();
        if keys.identity().public().hash() != identity {
            return Err(Error::Invalid("it is another seed than that of this id"));
        }
        let places = proxies.map(|set| set.places.as_slice()).unwrap_or_default();
        let needed = proxies.map_or(0, |set| set.threshold);
        let of = GuardianTerms {
            guardians: set.guardians.clone(),
            threshold: set.threshold,
            final_threshold: set.final_threshold,
            salt: set.salt,
            delay,
        };
        let issued = self.galen.time().await?;
        let mut sealed = Vec::new();
        for Portion { half, holder, piece, digests } in portions(seed, set, places, needed)? {
            let recipient = self.galen.identity_of(holder).await?;
            let guardians = set.commitment();
            let terms =
                PieceTerms { ledger: self.galen.id(), id: self.id(), holder, half, guardians };
            let text = PieceText {
                piece,
                digests,
                of: of.clone(),
                identity,
                halves: if places.is_empty() { 1 } else { 2 },
                proxies: places.to_vec(),
                issued,
            };
            sealed.push(PieceEnvelope::seal(terms, &recipient, &text)?);
        }
        self.sign_pieces(set, (needed, places.len()), &mut sealed).await?;
        let mut envelopes = sealed.iter().map(PieceEnvelope::encode);
        let pieces = set.guardians.iter().copied().zip(envelopes.by_ref()).collect();
        let proxies = places.iter().cloned().zip(envelopes).collect();
        Ok(HandedOut { guardians: set.commitment(), pieces, proxies })
    }

    /// Seconds that the word of these guardians waits: of the current set, or of the one that waits.
    async fn delay_of(&self, set: &GuardianSet) -> Result<u32, Error> {
        let state = self.state().await?;
        let commitment = set.commitment();
        if state.guardianship.commitment == commitment {
            return Ok(state.guardianship.delay);
        }
        let waiting = state.pending.filter(|pending| pending.commitment == commitment);
        let other = Error::Invalid("the ledger names other guardians: set them first");
        waiting.map(|pending| pending.delay).ok_or(other)
    }

    /// One signature over all of them.
    async fn sign_pieces(
        &self,
        set: &GuardianSet,
        (needed, proxies): (u8, usize),
        sealed: &mut [PieceEnvelope],
    ) -> Result<(), Error> {
        let deadline = self.galen.envelope_deadline().await?;
        let leaves: Vec<B256> = sealed.iter().map(PieceEnvelope::leaf).collect();
        let message = typed::Pieces {
            id: self.id(),
            guardians: set.commitment(),
            envelopes: leaves.clone(),
            deadline: u48(deadline),
        };
        let shown = |envelope: &PieceEnvelope| EnvelopeFor {
            scope: envelope.terms().guardians,
            holder: envelope.terms().holder,
            recipient_key: envelope.recipient_key(),
            ciphertext: envelope.ciphertext_hash(),
            keys_split: proxies > 0,
        };
        let evidence = Evidence {
            envelopes: sealed.iter().map(shown).collect(),
            proxies: (proxies > 0).then_some((needed, proxies)),
            guardians: Some(set.clone()),
            ..Evidence::default()
        };
        let signature = self.identity.account.sign(&message, self.galen.id(), evidence).await?;
        for envelope in sealed {
            envelope.siblings.clone_from(&leaves);
            envelope.deadline = deadline;
            envelope.signature = signature.clone();
        }
        Ok(())
    }
}

/// A piece of the seed and who gets it.
struct Portion {
    half: u8,
    holder: Address,
    piece: SecretPiece,
    digests: PieceDigests,
}

/// The seed in pieces: those of the guardians first, in the order of the set.
fn portions(
    seed: &RootSeed,
    set: &GuardianSet,
    places: &[ProxyPlace],
    needed: u8,
) -> Result<Vec<Portion>, Error> {
    let split = |half, secret: &[u8; 32], threshold, holders: &[Address]| {
        let count = u8::try_from(holders.len()).map_err(|_| Error::Invalid("too many holders"))?;
        let (pieces, digests) = split_secret(secret, threshold, count)?;
        let portion = |(holder, piece): (&Address, SecretPiece)| Portion {
            half,
            holder: *holder,
            piece,
            digests: digests.clone(),
        };
        Ok::<Vec<Portion>, Error>(holders.iter().zip(pieces).map(portion).collect())
    };
    if places.is_empty() {
        return split(GUARDIANS_HALF, seed.expose(), set.threshold, &set.guardians);
    }
    // The mask is uniform, so either half alone is, too.
    let mask = RootSeed::generate()?;
    let rest = xor(seed.expose(), mask.expose());
    let proxies: Vec<Address> = places.iter().map(|place| place.id).collect();
    let mut all = split(GUARDIANS_HALF, mask.expose(), set.threshold, &set.guardians)?;
    all.extend(split(PROXIES_HALF, &rest, needed, &proxies)?);
    Ok(all)
}
