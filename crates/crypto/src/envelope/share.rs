//! The shares of granted segments, for one proxy.

use std::fmt;

use alloy_primitives::{Address, B256, Bytes};
use galen_types::{ConsentId, ContentRef, LedgerId, Segment, Store};
use minicbor::Decoder;
use zeroize::Zeroizing;

use crate::{
    Error, IdentityKey, IdentityPublic, OpenError, ProxyShare, ShareKeys,
    cbor::{self, Malformed, Writer, Written},
    envelope::{
        ciphertext_hash, decode, open_text,
        parcel::{Clear, Parcel},
        place::{MAX_ENTRIES, keys_fault, read_optional, write_optional},
        seal_text,
    },
    hpke_box::HpkeBox,
    proxy::{Offer, PieceDigests, SecretPiece},
};

const FORMAT: u8 = 4;
const LABEL: &[u8] = b"galen.envelope.share.v1";

/// What a share envelope says in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShareTerms {
    /// The ledger that the consent stands on.
    pub ledger: LedgerId,
    /// Pseudonym of the patient.
    pub patient: Address,
    /// Who is to answer.
    pub proxy: Address,
    /// The consent that the shares are for.
    pub consent: ConsentId,
    /// The highest epoch of the shares.
    pub epoch: u32,
}

impl ShareTerms {
    const fn clear(&self) -> Clear {
        Clear {
            format: FORMAT,
            ledger: self.ledger,
            owner: self.patient,
            holder: self.proxy,
            scope: self.consent.0,
            number: self.epoch,
        }
    }
}

/// A proxy's share of one segment in one epoch.
#[derive(Clone, Debug)]
pub struct SharedSegment {
    /// The share.
    pub share: ProxyShare,
    /// The public side of the split. The share fits it.
    pub keys: ShareKeys,
    /// The proxy's piece of the X-Wing seed, with the share's index, under a consent that names nobody.
    pub kem: Option<(SecretPiece, PieceDigests)>,
}

impl SharedSegment {
    const fn place(&self) -> (Segment, u32) {
        (self.share.segment(), self.share.epoch())
    }

    fn is_whole(&self) -> bool {
        let kem_fits = self.kem.as_ref().is_none_or(|(piece, digests)| {
            let counts = (digests.threshold(), digests.count());
            piece.index() == self.share.index()
                && counts == (self.keys.threshold(), self.keys.proxies())
                && digests.holds(piece)
        });
        kem_fits && self.share.fits(&self.keys)
    }
}

/// What a share envelope says to its proxy.
#[derive(Clone)]
pub struct ShareText {
    /// Who may ask; zero means every active organization.
    pub grantee: Address,
    /// Unix second at which it was made: of two shares for one consent, segment and epoch, the later counts.
    pub issued: u64,
    /// First Unix second at which the consent no longer holds.
    pub expiry: u64,
    /// Shares of the consent below this epoch are to be deleted.
    pub oldest_epoch: u32,
    /// Where the grantee's envelope lies.
    pub grant: Option<ContentRef>,
    /// The signed offer that organizations are shown ([`Offer::encode`]), under a consent that names nobody.
    pub offer: Option<Vec<u8>>,
    /// The shares, ascending by segment and epoch, all with one index. At most 256.
    pub segments: Vec<SharedSegment>,
}

impl ShareText {
    fn fault(&self, terms: &ShareTerms) -> Option<&'static str> {
        let network = self.grantee.is_zero();
        let index = self.segments.first().map(|shared| shared.share.index());
        let one_proxy = self.segments.iter().all(|it| Some(it.share.index()) == index);
        let in_mode = self.segments.iter().all(|shared| shared.kem.is_some() == network);
        let offered = |offer: &Vec<u8>| {
            Offer::decode(offer).is_ok_and(|offer| {
                let consent = (offer.ledger, offer.patient, offer.consent.id());
                consent == (terms.ledger, terms.patient, terms.consent)
            })
        };
        if self.oldest_epoch > terms.epoch {
            Some("the oldest epoch is above the newest")
        } else if !one_proxy || !self.segments.iter().all(SharedSegment::is_whole) {
            Some("a share does not fit its keys, or is another proxy's")
        } else if !in_mode || network && self.grant.is_some() || !network && self.offer.is_some() {
            Some("what is for a named grantee and what is for everybody are mixed")
        } else if !self.offer.as_ref().is_none_or(offered) {
            Some("the offer is not one, or for another consent")
        } else {
            keys_fault(self.segments.iter().map(SharedSegment::place), terms.epoch)
        }
    }

    /// The one encoding of the text, for who keeps it.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let shares = self.segments.iter().map(|shared| {
            let kem = shared.kem.as_ref().map_or(0, |(_, digests)| digests.to_bytes().len());
            128 + shared.keys.to_bytes().len() + kem
        });
        let offer = self.offer.as_ref().map_or(0, Vec::len);
        Zeroizing::new(cbor::encode(256 + offer + shares.sum::<usize>(), |writer| {
            writer.array(7)?.bytes(self.grantee.as_slice())?.u64(self.issued)?;
            writer.u64(self.expiry)?.u32(self.oldest_epoch)?;
            write_optional(writer, self.grant, |writer, at| {
                let bytes = [&[at.store as u8], at.digest.as_slice()].concat();
                writer.bytes(&bytes)?.ok()
            })?;
            write_optional(writer, self.offer.as_ref(), |writer, it| writer.bytes(it)?.ok())?;
            writer.array(self.segments.len() as u64)?;
            self.segments.iter().try_for_each(|shared| write_shared(writer, shared))
        }))
    }

    /// Reads what [`ShareText::encode`] writes, and nothing else. What the shares are worth is not judged again.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let text = Self::read(&mut Decoder::new(bytes)).ok();
        let text = text.filter(|it| **it.encode() == *bytes);
        text.ok_or(Error::Malformed { what: "shares" })
    }

    fn read(reader: &mut Decoder<'_>) -> Result<Self, Malformed> {
        cbor::tuple(reader, 7)?;
        let grantee = Address::new(cbor::bytes(reader)?);
        let (issued, expiry, oldest_epoch) = (reader.u64()?, reader.u64()?, reader.u32()?);
        let grant = read_optional(reader, |reader| {
            let (store, digest) =
                cbor::bytes::<33>(reader).map(|bytes| (bytes[0], B256::from_slice(&bytes[1..])))?;
            Ok(ContentRef { store: Store::from_u8(store).ok_or(Malformed)?, digest })
        })?;
        let offer = read_optional(reader, |reader| Ok(reader.bytes()?.to_vec()))?;
        let segments = (0..cbor::array(reader, MAX_ENTRIES as u64)?)
            .map(|_| read_shared(reader))
            .collect::<Result<_, _>>()?;
        Ok(Self { grantee, issued, expiry, oldest_epoch, grant, offer, segments })
    }
}

impl fmt::Debug for ShareText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShareText")
            .field("grantee", &self.grantee)
            .field("issued", &self.issued)
            .field("expiry", &self.expiry)
            .field("oldest_epoch", &self.oldest_epoch)
            .field("grant", &self.grant)
            .finish_non_exhaustive()
    }
}

fn write_shared(writer: &mut Writer<'_>, shared: &SharedSegment) -> Written {
    let SharedSegment { share, keys, kem } = shared;
    writer.array(6)?.u8(share.segment().0)?.u32(share.epoch())?.u8(share.index())?;
    writer.bytes(share.expose().as_slice())?.bytes(&keys.to_bytes())?;
    write_optional(writer, kem.as_ref(), |writer, (piece, digests)| {
        writer.array(2)?.bytes(piece.to_bytes().as_slice())?.bytes(&digests.to_bytes())?.ok()
    })
}

fn read_shared(reader: &mut Decoder<'_>) -> Result<SharedSegment, Malformed> {
    cbor::tuple(reader, 6)?;
    let (segment, epoch, index) = (Segment(reader.u8()?), reader.u32()?, reader.u8()?);
    let scalar = Zeroizing::new(cbor::bytes(reader)?);
    let share = ProxyShare::from_bytes(index, segment, epoch, &scalar).map_err(|_| Malformed)?;
    let keys = ShareKeys::from_bytes(reader.bytes()?).map_err(|_| Malformed)?;
    let kem = read_optional(reader, |reader| {
        cbor::tuple(reader, 2)?;
        let piece = Zeroizing::new(cbor::bytes(reader)?);
        let piece = SecretPiece::from_bytes(&piece).map_err(|_| Malformed)?;
        let digests = PieceDigests::from_bytes(reader.bytes()?).map_err(|_| Malformed)?;
        Ok((piece, digests))
    })?;
    Ok(SharedSegment { share, keys, kem })
}

/// The shares of the granted segments, sealed to one proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct ShareEnvelope {
    terms: ShareTerms,
    recipient_key: B256,
    sealed: HpkeBox,
    /// The leaves that were signed with [`ShareEnvelope::leaf`] as one `Sharing`, in order. At most 1,024.
    pub siblings: Vec<B256>,
    /// Last Unix second at which the signature is to be believed.
    pub deadline: u64,
    /// Signature of the patient's controller; not judged here. Empty until it is set.
    pub signature: Bytes,
}

impl ShareEnvelope {
    /// Seals the shares, which may come in any order. Siblings, deadline and signature are still to be set.
    ///
    /// # Errors
    ///
    /// - [`Error::Terms`]: a rule of [`ShareText`] or [`ShareTerms`] is broken.
    /// - [`Error::Randomness`].
    pub fn seal(
        terms: ShareTerms,
        recipient: &IdentityPublic,
        text: &ShareText,
    ) -> Result<Self, Error> {
        let mut text = text.clone();
        text.segments.sort_by_key(SharedSegment::place);
        if let Some(fault) = text.fault(&terms) {
            return Err(Error::Terms { fault });
        }
        let recipient_key = recipient.hash();
        let info = terms.clear().info(LABEL, recipient_key);
        let sealed = seal_text(recipient, &info, text.encode())?;
        let (siblings, signature) = (Vec::new(), Bytes::new());
        Ok(Self { terms, recipient_key, sealed, siblings, deadline: 0, signature })
    }

    /// What was sealed: every share fits its keys. That the patient signed the envelope, and that the offer
    /// in it is signed, is checked elsewhere.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for every cause.
    pub fn open(&self, key: &IdentityKey) -> Result<ShareText, OpenError> {
        if key.public().hash() != self.recipient_key {
            return Err(OpenError);
        }
        let info = self.terms.clear().info(LABEL, self.recipient_key);
        let text = open_text(&self.sealed, key, &info, ShareText::read, ShareText::encode)?;
        if text.fault(&self.terms).is_none() { Ok(text) } else { Err(OpenError) }
    }

    /// What the envelope says in clear.
    pub const fn terms(&self) -> &ShareTerms {
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

    /// What a `Sharing` names the envelope by; see [`crate::envelope`].
    pub fn leaf(&self) -> B256 {
        self.terms.clear().leaf(self.recipient_key, &self.sealed)
    }

    /// The wire form.
    pub fn encode(&self) -> Vec<u8> {
        let Self { terms, recipient_key, sealed, siblings, deadline, signature } = self.clone();
        let clear = terms.clear();
        Parcel { clear, recipient_key, sealed, siblings, deadline, signature }.encode()
    }

    /// Reads what [`ShareEnvelope::encode`] writes and nothing else.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        decode("share envelope", bytes, Self::read, Self::encode)
    }

    fn read(reader: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let Parcel { clear, recipient_key, sealed, siblings, deadline, signature } =
            Parcel::read(reader, FORMAT)?;
        let terms = ShareTerms {
            ledger: clear.ledger,
            patient: clear.owner,
            proxy: clear.holder,
            consent: ConsentId(clear.scope),
            epoch: clear.number,
        };
        Ok(Self { terms, recipient_key, sealed, siblings, deadline, signature })
    }
}

impl fmt::Debug for ShareEnvelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShareEnvelope")
            .field("terms", &self.terms)
            .field("recipient_key", &self.recipient_key)
            .finish_non_exhaustive()
    }
}
