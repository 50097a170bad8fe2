//! Whoever lost their keys: asks for a new one, collects the pieces of the seed, and puts it together.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes};
use galen_chain::{Account, Evidence, RecoveryTerms, typed};
use galen_crypto::{
    IdentityPublic, PieceDigests, PieceText, ProxyPlace, RootSeed, SecretPiece, join_secret,
    keys::IDENTITY_PUBLIC_LEN, open_note,
};
use galen_index::RecoveryEntry;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::{
    Error, Galen, Identity,
    galen::joined,
    patient::u48,
    proxies::{
        ProxyClient, ProxyError,
        wire::{PieceAnswer, PieceAsk},
    },
    recovery::{
        GIVEN_LABEL, GUARDIANS_HALF, GivenPiece, PROXIES_HALF, RECOVERY_LIFETIME, RELEASED_LABEL,
        RecoverySheet, guardian::opening,
    },
};

/// Seconds that proxies have to answer a request for pieces.
const PROXY_LIFETIME: u64 = 3_600;

/// What there is of the pieces, and what is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceTally {
    /// Guardians whose pieces fit together.
    pub guardians: Vec<Address>,
    /// How many it takes.
    pub guardians_needed: usize,
    /// Proxies whose pieces fit to these.
    pub proxies: Vec<Address>,
    /// How many it takes; `None` before one of them gave its piece.
    pub proxies_needed: Option<usize>,
    /// The proxies to ask; none if the guardians hold all of it.
    pub places: Vec<ProxyPlace>,
}

/// Whoever lost the keys of an id and has new ones.
#[derive(Clone, Debug)]
pub struct Claimant {
    galen: Galen,
    identity: Identity,
    id: Address,
}

impl Claimant {
    pub(super) const fn new(galen: Galen, identity: Identity, id: Address) -> Self {
        Self { galen, identity, id }
    }

    /// The id whose keys are lost.
    pub const fn id(&self) -> Address {
        self.id
    }

    /// The new key, signing for the old id.
    pub fn account(&self) -> Account {
        self.identity.account.clone().for_id(self.id)
    }

    /// Starts the sheet that guardians sign. Nothing is sent.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`]: the id has no guardians, is the new one itself, or has the new controller already.
    pub async fn ask(&self, is_final: bool) -> Result<RecoverySheet, Error> {
        let controller = self.identity.account.controller();
        if self.id == controller {
            return Err(Error::Invalid(
                "this is the id of the new wallet: name the one that you lost",
            ));
        }
        let state = self.galen.guard_state(self.id).await?;
        if state.controller == controller {
            return Err(Error::Invalid("the new wallet signs for this id already"));
        }
        if !state.guardianship.is_set() {
            return Err(Error::Invalid("the id has no guardians: nobody can hand it to a new key"));
        }
        let deadline = self.galen.time().await? + RECOVERY_LIFETIME;
        let (id, nonce) = (self.id, state.guardianship.nonce);
        let terms = RecoveryTerms { id, controller, is_final, nonce, deadline };
        Ok(RecoverySheet::new(self.galen.id(), terms))
    }

    /// Asks for pieces of the seed, sealed to the new keys, once the recovery has finished: guardians by a text that
    /// holds for two weeks, proxies by [`Claimant::ask_proxies`].
    ///
    /// # Errors
    ///
    /// [`Error::NotRecovered`], [`Error::NotFinal`], [`Error::Sign`].
    pub async fn ask_for_pieces(&self) -> Result<PieceAsk, Error> {
        self.signed_ask(RECOVERY_LIFETIME).await
    }

    /// Asks proxies for their pieces, side by side. Each gives its piece once a day, and five times in all: the caller
    /// keeps what came.
    ///
    /// # Errors
    ///
    /// [`Error::NotRecovered`], [`Error::NotFinal`], [`Error::Sign`]. What each proxy said is in the answer.
    pub async fn ask_proxies(
        &self,
        client: &ProxyClient,
        places: &[ProxyPlace],
    ) -> Result<Vec<(ProxyPlace, Result<GivenPiece, ProxyError>)>, Error> {
        let ask = &self.signed_ask(PROXY_LIFETIME).await?;
        let (request, _) = self.galen.check_piece_ask(ask).await?;
        let mut asked = JoinSet::new();
        for place in places.iter().cloned() {
            let (client, ask) = (client.clone(), ask.clone());
            asked.spawn(async move {
                let answer = client.release(&place.url, &ask).await;
                (place, answer)
            });
        }
        let (ledger, id) = (self.galen.id(), self.id);
        let mut said = Vec::new();
        while let Some(answer) = asked.join_next().await {
            let (place, answer) = joined(answer)?;
            let given = answer.map(|PieceAnswer { sealed }| GivenPiece {
                ledger,
                id,
                holder: place.id,
                half: PROXIES_HALF,
                request,
                sealed: sealed.to_vec(),
            });
            said.push((place, given));
        }
        Ok(said)
    }

    async fn signed_ask(&self, lifetime: u64) -> Result<PieceAsk, Error> {
        let account = self.account();
        self.galen.require_recovered(self.id, account.controller()).await?;
        let recipient = self.identity.keys.identity().public().clone();
        let deadline = self.galen.time().await? + lifetime;
        let message = self.galen.piece_request(self.id, recipient.hash(), deadline).await?;
        let signature = account.sign(&message, self.galen.id(), Evidence::default()).await?;
        let recipient = Bytes::copy_from_slice(recipient.as_bytes());
        Ok(PieceAsk { id: self.id, recipient, deadline, signature })
    }

    /// Opens what was given. Whether it is a right piece shows when all are put together.
    ///
    /// # Errors
    ///
    /// [`Error::Envelope`]: it is for another id or ledger, or not for these keys.
    pub fn open(&self, given: &GivenPiece) -> Result<PieceText, Error> {
        if (given.ledger, given.id) != (self.galen.id(), self.id) {
            return Err(Error::Envelope("it is for another ledger or id"));
        }
        let label = if given.half == PROXIES_HALF { RELEASED_LABEL } else { GIVEN_LABEL };
        let key = self.identity.keys.identity();
        let text = open_note(&key, label, given.request.as_slice(), &given.sealed);
        let text = text.map_err(|_| Error::Envelope("it is not for the keys of this profile"))?;
        Ok(PieceText::decode(&text)?)
    }

    /// What there is of the pieces. Those that do not open, or are of another seed than that of the published keys,
    /// are passed over.
    ///
    /// # Errors
    ///
    /// [`Error::NoKeys`], [`Error::Storage`].
    pub async fn tally(&self, given: &[GivenPiece]) -> Result<PieceTally, Error> {
        Ok(tally(&self.hands(given, self.published().await?)))
    }

    /// The seed, from pieces of guardians and proxies in any order. Wrong ones, old ones and repetitions among them
    /// are passed over. It is the seed of the keys that the id has published, or nothing.
    ///
    /// # Errors
    ///
    /// - [`Error::PiecesMissing`]: there are too few that fit together.
    /// - [`Error::WrongSeed`]: pieces fit together, and give another seed than that of the published keys.
    /// - [`Error::NoKeys`], [`Error::Storage`]: the published keys are not to be had.
    pub async fn restore(&self, given: &[GivenPiece]) -> Result<RootSeed, Error> {
        if given.len() > MAX_GIVEN {
            return Err(Error::Invalid("more than 256 pieces"));
        }
        let published = self.published().await?;
        let hands = self.hands(given, published);
        let mut joined = false;
        for secret in hands.iter().flat_map(Hand::secrets) {
            let seed = RootSeed::from_bytes(*secret);
            if seed.pseudonym(self.id).identity().public().hash() == published {
                return Ok(seed);
            }
            joined = true;
        }
        if joined {
            return Err(Error::WrongSeed);
        }
        Err(Error::PiecesMissing(Box::new(tally(&hands))))
    }

    /// Names the identity key that the id has published.
    async fn published(&self) -> Result<B256, Error> {
        Ok(self.galen.identity_of(self.id).await?.hash())
    }

    /// The pieces by the handing out that they came from, the oldest first.
    fn hands(&self, given: &[GivenPiece], published: B256) -> Vec<Hand> {
        let mut hands: BTreeMap<(u64, B256, u8), Hand> = BTreeMap::new();
        for given in given {
            let Ok(text) = self.open(given) else { continue };
            if text.identity != published {
                continue;
            }
            let hand = hands.entry((text.issued, opening(&text.of).commitment(), text.halves));
            let hand = hand.or_insert_with(|| Hand {
                whole: text.halves == 1,
                places: text.proxies.clone(),
                parts: BTreeMap::new(),
            });
            let part = hand.parts.entry((given.half, text.digests.to_bytes()));
            let part = part.or_insert_with(|| Part { digests: text.digests, pieces: Vec::new() });
            if !part.pieces.iter().any(|(_, known)| known.index() == text.piece.index()) {
                part.pieces.push((given.holder, text.piece));
            }
        }
        hands.into_values().collect()
    }
}

impl PieceTally {
    /// Whether [`Claimant::restore`] has what it takes.
    pub fn is_enough(&self) -> bool {
        let proxies = |needed| self.proxies.len() >= needed;
        let second = self.places.is_empty() || self.proxies_needed.is_some_and(proxies);
        second && self.guardians.len() >= self.guardians_needed
    }
}

impl Default for PieceTally {
    fn default() -> Self {
        let (guardians, proxies, places) = (Vec::new(), Vec::new(), Vec::new());
        Self { guardians, guardians_needed: 1, proxies, proxies_needed: None, places }
    }
}

/// Most pieces that are put together.
const MAX_GIVEN: usize = 256;

/// Of the handing out with most guardians, and of such the newest.
fn tally(hands: &[Hand]) -> PieceTally {
    let best = hands.iter().max_by_key(|hand| hand.tally().guardians.len());
    best.map_or_else(PieceTally::default, Hand::tally)
}

/// Pieces of one handing out.
struct Hand {
    /// The guardians hold all of it.
    whole: bool,
    places: Vec<ProxyPlace>,
    /// By half and digests: who lies about the digests stands alone.
    parts: BTreeMap<(u8, Vec<u8>), Part>,
}

struct Part {
    digests: PieceDigests,
    pieces: Vec<(Address, SecretPiece)>,
}

impl Part {
    fn needed(&self) -> usize {
        self.digests.threshold().into()
    }

    fn holders(&self) -> Vec<Address> {
        self.pieces.iter().map(|(holder, _)| *holder).collect()
    }

    fn join(&self) -> Option<Zeroizing<[u8; 32]>> {
        let pieces: Vec<SecretPiece> = self.pieces.iter().map(|(_, piece)| piece.clone()).collect();
        join_secret(&self.digests, &pieces).ok()
    }
}

impl Hand {
    /// The pieces of one half, the fullest part first.
    fn half(&self, half: u8) -> Vec<&Part> {
        let mut parts: Vec<&Part> =
            self.parts.iter().filter(|((of, _), _)| *of == half).map(|(_, part)| part).collect();
        parts.sort_by_key(|part| std::cmp::Reverse(part.pieces.len()));
        parts
    }

    /// What parts with enough pieces give. More than one only if somebody lies.
    fn secrets(&self) -> impl Iterator<Item = Zeroizing<[u8; 32]>> {
        let joined = |half| self.half(half).into_iter().filter_map(Part::join).collect::<Vec<_>>();
        let (first, second) = (joined(GUARDIANS_HALF), joined(PROXIES_HALF));
        let whole = self.whole;
        first.into_iter().flat_map(move |mask| match whole {
            true => vec![mask],
            false => second.iter().map(|other| xor(&mask, other)).collect(),
        })
    }

    fn tally(&self) -> PieceTally {
        let fullest = |half| self.half(half).first().copied();
        let (guardians, proxies) = (fullest(GUARDIANS_HALF), fullest(PROXIES_HALF));
        PieceTally {
            guardians: guardians.map(Part::holders).unwrap_or_default(),
            guardians_needed: guardians.map_or(1, Part::needed),
            proxies: proxies.map(Part::holders).unwrap_or_default(),
            proxies_needed: proxies.map(Part::needed),
            places: self.places.clone(),
        }
    }
}

/// The half that the proxies hold, from the seed and the guardians' half; and the seed, from both.
pub(super) fn xor(one: &[u8; 32], other: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let mut joined = Zeroizing::new(*one);
    joined.iter_mut().zip(other).for_each(|(byte, other)| *byte ^= other);
    joined
}

impl Galen {
    /// That a recovery of an id by its guardians finished in a block that is final, that it made this controller,
    /// and that the id did not change hands since.
    ///
    /// # Errors
    ///
    /// [`Error::NotRecovered`], [`Error::NotFinal`], [`Error::Chain`].
    pub async fn require_recovered(
        &self,
        id: Address,
        controller: Address,
    ) -> Result<RecoveryEntry, Error> {
        let look = |view: &galen_index::View| {
            let entry = view.chart(id).and_then(galen_index::Chart::recovery);
            (entry, view.final_block())
        };
        let (entry, final_block) = self.with_view(look).await?;
        let entry = entry.filter(|entry| entry.controller == controller);
        let entry = entry.ok_or(Error::NotRecovered(id))?;
        if self.ledger().participant(id).await?.controller != controller {
            return Err(Error::NotRecovered(id));
        }
        if final_block.is_none_or(|last| entry.at.block > last) {
            return Err(Error::NotFinal);
        }
        Ok(entry)
    }

    /// Whether pieces may be given for a request: its digest, which the answer is bound to, and the key to seal to.
    ///
    /// # Errors
    ///
    /// As [`Galen::require_recovered`]; [`Error::Envelope`] if it is out of date or names no key;
    /// [`Error::Chain`] (`NotSigned`).
    pub async fn check_piece_ask(&self, ask: &PieceAsk) -> Result<(B256, IdentityPublic), Error> {
        if self.time().await? > ask.deadline {
            return Err(Error::Envelope("its signature is out of date"));
        }
        let recipient = <&[u8; IDENTITY_PUBLIC_LEN]>::try_from(ask.recipient.as_ref());
        let recipient = recipient.map_err(|_| Error::Envelope("it names no key to seal to"))?;
        let recipient = IdentityPublic::from_bytes(recipient)?;
        let message = self.piece_request(ask.id, recipient.hash(), ask.deadline).await?;
        let digest = typed::digest(&message, self.id());
        self.ledger().require_signed(ask.id, digest, &ask.signature).await?;
        self.require_recovered(ask.id, message.controller).await?;
        Ok((digest, recipient))
    }

    /// What the controller of now signs to get pieces.
    async fn piece_request(
        &self,
        id: Address,
        recipient_key: B256,
        deadline: u64,
    ) -> Result<typed::PieceRequest, Error> {
        let participant = self.ledger().participant(id).await?;
        Ok(typed::PieceRequest {
            id,
            controller: participant.controller,
            rotations: participant.rotations,
            recipientKey: recipient_key,
            deadline: u48(deadline),
        })
    }
}
