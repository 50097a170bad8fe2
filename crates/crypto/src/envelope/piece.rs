//! Pieces of a root seed, for guardians and proxies.

use std::{collections::BTreeSet, fmt};

use alloy_primitives::{Address, B256, Bytes};
use galen_types::{LedgerId, Salt};
use minicbor::Decoder;
use zeroize::Zeroizing;

use crate::{
    Error, IdentityKey, IdentityPublic, OpenError,
    cbor::{self, Malformed, Writer, Written},
    envelope::{
        ciphertext_hash, decode, open_text,
        parcel::{Clear, Parcel},
        place::{ProxyPlace, places_fault, places_len, read_places, write_places},
        seal_text,
    },
    hpke_box::HpkeBox,
    proxy::{MAX_PIECES, PieceDigests, SecretPiece},
};

const FORMAT: u8 = 5;
const LABEL: &[u8] = b"galen.envelope.piece.v1";

/// What a piece envelope says in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PieceTerms {
    /// The ledger that the id is on.
    pub ledger: LedgerId,
    /// The id whose seed it is.
    pub id: Address,
    /// The guardian, or the proxy.
    pub holder: Address,
    /// 0: for a guardian; 1: for a proxy, of the other half.
    pub half: u8,
    /// The commitment to the guardians, as it stands on chain.
    pub guardians: B256,
}

impl PieceTerms {
    fn clear(&self) -> Clear {
        Clear {
            format: FORMAT,
            ledger: self.ledger,
            owner: self.id,
            holder: self.holder,
            scope: self.guardians,
            number: self.half.into(),
        }
    }
}

/// The opening of a commitment to guardians, and how long their word waits.
#[derive(Clone, PartialEq, Eq)]
pub struct GuardianTerms {
    /// The guardians, strictly ascending. At most 32.
    pub guardians: Vec<Address>,
    /// How many of them start a recovery.
    pub threshold: u8,
    /// How many of them start one that the controller cannot cancel; zero for none.
    pub final_threshold: u8,
    /// Makes the commitment unguessable.
    pub salt: Salt,
    /// Seconds that a recovery waits.
    pub delay: u32,
}

impl fmt::Debug for GuardianTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GuardianTerms({} of {}, ..)", self.threshold, self.guardians.len())
    }
}

/// What a piece envelope says to its holder.
#[derive(Clone)]
pub struct PieceText {
    /// The holder's piece.
    pub piece: SecretPiece,
    /// All pieces of the same half.
    pub digests: PieceDigests,
    /// The guardians, so that each of them can start a recovery.
    pub of: GuardianTerms,
    /// keccak256 of the identity public key of the id: tells whether the restored seed is the right one.
    pub identity: B256,
    /// 1: guardians hold pieces of the seed itself. 2: pieces of a mask; the seed is that mask XOR what the
    /// proxies hold pieces of.
    pub halves: u8,
    /// The proxies that hold the other half. None if there is one half.
    pub proxies: Vec<ProxyPlace>,
    /// Unix second at which it was made: of two pieces for one id and holder, the later counts.
    pub issued: u64,
}

impl PieceText {
    /// What is wrong with it as the text of this half.
    fn fault(&self, terms: &PieceTerms) -> Option<&'static str> {
        let (guardians, proxies) = (self.of.guardians.len(), self.proxies.len());
        let (holders, holder) = match terms.half {
            0 => (guardians, self.of.guardians.contains(&terms.holder)),
            1 => (proxies, self.proxies.iter().any(|proxy| proxy.id == terms.holder)),
            _ => return Some("a seed has two halves"),
        };
        if !holder || holders != usize::from(self.digests.count()) {
            Some("the holder is not among the holders, or their number is not that of the pieces")
        } else {
            self.own_fault()
        }
    }

    fn own_fault(&self) -> Option<&'static str> {
        let distinct: BTreeSet<Address> = self.of.guardians.iter().copied().collect();
        let ascending = self.of.guardians.is_sorted_by(|a, b| a < b);
        if !ascending || distinct.len() > usize::from(MAX_PIECES) || distinct.is_empty() {
            Some("guardians are 1 to 32, strictly ascending")
        } else if !self.digests.holds(&self.piece) {
            Some("the piece is not one of the pieces")
        } else if !(1..=2).contains(&self.halves) || (self.halves == 1) != self.proxies.is_empty() {
            Some("proxies hold the second of two halves")
        } else {
            places_fault(&self.proxies)
        }
    }

    /// The one encoding of the text, for who seals it again.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let Self { piece, digests, of, identity, halves, proxies, issued } = self;
        let digests = digests.to_bytes();
        let capacity = 256 + digests.len() + 24 * of.guardians.len() + places_len(proxies);
        Zeroizing::new(cbor::encode(capacity, |writer| {
            writer.array(7)?.bytes(piece.to_bytes().as_slice())?.bytes(&digests)?;
            write_guardians(writer, of)?;
            writer.bytes(identity.as_slice())?.u8(*halves)?;
            write_places(writer, proxies)?;
            writer.u64(*issued)?.ok()
        }))
    }

    /// Reads what [`PieceText::encode`] writes of a text that an envelope could carry, and nothing else.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let error = Error::Malformed { what: "piece of a seed" };
        let text = Self::read(&mut Decoder::new(bytes)).ok();
        let text = text.filter(|it| **it.encode() == *bytes && it.own_fault().is_none());
        text.ok_or(error)
    }

    fn read(reader: &mut Decoder<'_>) -> Result<Self, Malformed> {
        cbor::tuple(reader, 7)?;
        let piece = Zeroizing::new(cbor::bytes(reader)?);
        Ok(Self {
            piece: SecretPiece::from_bytes(&piece).map_err(|_| Malformed)?,
            digests: PieceDigests::from_bytes(reader.bytes()?).map_err(|_| Malformed)?,
            of: read_guardians(reader)?,
            identity: B256::new(cbor::bytes(reader)?),
            halves: reader.u8()?,
            proxies: read_places(reader)?,
            issued: reader.u64()?,
        })
    }
}

impl fmt::Debug for PieceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PieceText")
            .field("piece", &self.piece)
            .field("digests", &self.digests)
            .field("of", &self.of)
            .field("halves", &self.halves)
            .field("issued", &self.issued)
            .finish_non_exhaustive()
    }
}

fn write_guardians(writer: &mut Writer<'_>, of: &GuardianTerms) -> Written {
    writer.array(5)?.array(of.guardians.len() as u64)?;
    for guardian in &of.guardians {
        writer.bytes(guardian.as_slice())?;
    }
    writer.u8(of.threshold)?.u8(of.final_threshold)?.bytes(of.salt.as_bytes())?;
    writer.u32(of.delay)?.ok()
}

fn read_guardians(reader: &mut Decoder<'_>) -> Result<GuardianTerms, Malformed> {
    cbor::tuple(reader, 5)?;
    Ok(GuardianTerms {
        guardians: (0..cbor::array(reader, MAX_PIECES.into())?)
            .map(|_| cbor::bytes(reader).map(Address::new))
            .collect::<Result<_, _>>()?,
        threshold: reader.u8()?,
        final_threshold: reader.u8()?,
        salt: Salt(B256::new(cbor::bytes(reader)?)),
        delay: reader.u32()?,
    })
}

/// A piece of a root seed, or of half of one, sealed to one guardian or proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct PieceEnvelope {
    terms: PieceTerms,
    recipient_key: B256,
    sealed: HpkeBox,
    /// The leaves that were signed with [`PieceEnvelope::leaf`] as one `Pieces`, in order. At most 1,024.
    pub siblings: Vec<B256>,
    /// Last Unix second at which the signature is to be believed.
    pub deadline: u64,
    /// Signature of the id's controller; not judged here. Empty until it is set.
    pub signature: Bytes,
}

impl PieceEnvelope {
    /// Seals a piece. Siblings, deadline and signature are still to be set.
    ///
    /// # Errors
    ///
    /// - [`Error::Terms`]: a rule of [`PieceText`] or [`PieceTerms`] is broken.
    /// - [`Error::Randomness`].
    pub fn seal(
        terms: PieceTerms,
        recipient: &IdentityPublic,
        text: &PieceText,
    ) -> Result<Self, Error> {
        if let Some(fault) = text.fault(&terms) {
            return Err(Error::Terms { fault });
        }
        let recipient_key = recipient.hash();
        let info = terms.clear().info(LABEL, recipient_key);
        let sealed = seal_text(recipient, &info, text.encode())?;
        let (siblings, signature) = (Vec::new(), Bytes::new());
        Ok(Self { terms, recipient_key, sealed, siblings, deadline: 0, signature })
    }

    /// What was sealed. That the id's controller signed the envelope, and that the guardians are those of the
    /// commitment, is checked elsewhere.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for every cause.
    pub fn open(&self, key: &IdentityKey) -> Result<PieceText, OpenError> {
        if key.public().hash() != self.recipient_key {
            return Err(OpenError);
        }
        let info = self.terms.clear().info(LABEL, self.recipient_key);
        let text = open_text(&self.sealed, key, &info, PieceText::read, PieceText::encode)?;
        if text.fault(&self.terms).is_none() { Ok(text) } else { Err(OpenError) }
    }

    /// What the envelope says in clear.
    pub const fn terms(&self) -> &PieceTerms {
        &self.terms
    }

    /// keccak256 of the recipient's public key.
    pub const fn recipient_key(&self) -> B256 {
        self.recipient_key
    }

    /// keccak256(enc ‖ ct).
    pub fn ciphertext_hash(&self) -> B256 {
        ciphertext_hash(&self.sealed)
    }

    /// What a `Pieces` names the envelope by; see [`crate::envelope`].
    pub fn leaf(&self) -> B256 {
        self.terms.clear().leaf(self.recipient_key, &self.sealed)
    }

    /// The wire form.
    pub fn encode(&self) -> Vec<u8> {
        let Self { terms, recipient_key, sealed, siblings, deadline, signature } = self.clone();
        let clear = terms.clear();
        Parcel { clear, recipient_key, sealed, siblings, deadline, signature }.encode()
    }

    /// Reads what [`PieceEnvelope::encode`] writes and nothing else.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        decode("piece envelope", bytes, Self::read, Self::encode)
    }

    fn read(reader: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let Parcel { clear, recipient_key, sealed, siblings, deadline, signature } =
            Parcel::read(reader, FORMAT)?;
        let terms = PieceTerms {
            ledger: clear.ledger,
            id: clear.owner,
            holder: clear.holder,
            half: u8::try_from(clear.number).map_err(|_| Malformed)?,
            guardians: clear.scope,
        };
        Ok(Self { terms, recipient_key, sealed, siblings, deadline, signature })
    }
}

impl fmt::Debug for PieceEnvelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PieceEnvelope")
            .field("terms", &self.terms)
            .field("recipient_key", &self.recipient_key)
            .finish_non_exhaustive()
    }
}
