//! The keys of granted segments, for one grantee.

use std::fmt;

use alloy_primitives::{Address, B256, Bytes};
use galen_types::{Consent, ConsentId, LedgerId, Segment};
use minicbor::Decoder;
use zeroize::Zeroizing;

use crate::{
    Error, IdentityKey, IdentityPublic, OpenError, ReaderHalf, SegmentKey, ShareKeys,
    cbor::{self, Malformed, Writer, Written},
    envelope::{
        ciphertext_hash, decode, open_text,
        parcel::{Clear, Parcel},
        place::{
            MAX_ENTRIES, ProxyPlace, keys_fault, places_fault, places_len, read_consent,
            read_places, write_consent, write_places,
        },
        seal_text,
    },
    hpke_box::HpkeBox,
};

const FORMAT: u8 = 1;
const LABEL: &[u8] = b"galen.envelope.grant.v1";

/// What a grant envelope says in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GrantTerms {
    /// The ledger that the consent stands on.
    pub ledger: LedgerId,
    /// Pseudonym of the patient.
    pub patient: Address,
    /// Who may read.
    pub grantee: Address,
    /// The consent that the keys are for.
    pub consent: ConsentId,
    /// The highest epoch of the keys.
    pub epoch: u32,
}

impl GrantTerms {
    fn is_for(&self, consent: &Consent) -> bool {
        consent.id() == self.consent && consent.grantee == self.grantee
    }

    const fn clear(&self) -> Clear {
        Clear {
            format: FORMAT,
            ledger: self.ledger,
            owner: self.patient,
            holder: self.grantee,
            scope: self.consent.0,
            number: self.epoch,
        }
    }
}

/// What a grantee gets of a segment and epoch.
#[derive(Clone, Debug)]
pub enum GrantedKey {
    /// The whole secret (direct mode): opens without anybody's help, and without a log.
    Whole(SegmentKey),
    /// The reader's half: opens with the answers of proxies.
    Shared {
        /// The reader's half.
        half: ReaderHalf,
        /// Against which the proxies' answers are checked.
        keys: ShareKeys,
    },
}

impl GrantedKey {
    /// The segment.
    pub const fn segment(&self) -> Segment {
        match self {
            Self::Whole(key) => key.segment(),
            Self::Shared { half, .. } => half.segment(),
        }
    }

    /// The epoch.
    pub const fn epoch(&self) -> u32 {
        match self {
            Self::Whole(key) => key.epoch(),
            Self::Shared { half, .. } => half.epoch(),
        }
    }
}

/// One segment that a grantee can open, in one epoch.
#[derive(Clone, Debug)]
pub struct GrantedSegment {
    /// The category that the segment stands for.
    pub category: u8,
    /// The segment's key.
    pub key: GrantedKey,
}

impl GrantedSegment {
    const fn place(&self) -> (Segment, u32) {
        (self.key.segment(), self.key.epoch())
    }
}

/// What a grant envelope says to its grantee.
#[derive(Clone)]
pub struct GrantText {
    /// The opening of the consent.
    pub consent: Consent,
    /// Whom to ask; nobody in direct mode.
    pub proxies: Vec<ProxyPlace>,
    /// Unix second at which it was made: of two keys for one segment and epoch, the later counts.
    pub issued: u64,
    /// The keys, ascending by segment and epoch: all whole if there are no proxies, else all shared by
    /// them. At most 256.
    pub segments: Vec<GrantedSegment>,
}

impl GrantText {
    fn fault(&self, terms: &GrantTerms) -> Option<&'static str> {
        let proxies = self.proxies.len();
        let in_mode = |granted: &GrantedSegment| match &granted.key {
            GrantedKey::Whole(_) => proxies == 0,
            GrantedKey::Shared { keys, .. } => usize::from(keys.proxies()) == proxies,
        };
        if !terms.is_for(&self.consent) {
            Some("another consent than the one of the terms")
        } else if !self.segments.iter().all(in_mode) {
            Some("a key is not shared by the proxies that are named")
        } else {
            places_fault(&self.proxies).or_else(|| {
                keys_fault(self.segments.iter().map(GrantedSegment::place), terms.epoch)
            })
        }
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let keys = self.segments.iter().map(|granted| match &granted.key {
            GrantedKey::Whole(_) => 96,
            GrantedKey::Shared { keys, .. } => 96 + keys.to_bytes().len(),
        });
        let capacity = 256 + places_len(&self.proxies) + keys.sum::<usize>();
        Zeroizing::new(cbor::encode(capacity, |writer| {
            write_consent(writer.array(4)?, &self.consent)?;
            write_places(writer, &self.proxies)?;
            writer.u64(self.issued)?.array(self.segments.len() as u64)?;
            self.segments.iter().try_for_each(|granted| write_granted(writer, granted))
        }))
    }

    fn read(reader: &mut Decoder<'_>, grantee: Address) -> Result<Self, Malformed> {
        cbor::tuple(reader, 4)?;
        let consent = read_consent(reader, grantee)?;
        let proxies = read_places(reader)?;
        let issued = reader.u64()?;
        let segments = (0..cbor::array(reader, MAX_ENTRIES as u64)?)
            .map(|_| read_granted(reader))
            .collect::<Result<_, _>>()?;
        Ok(Self { consent, proxies, issued, segments })
    }
}

impl fmt::Debug for GrantText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrantText")
            .field("consent", &self.consent.id())
            .field("proxies", &self.proxies)
            .field("issued", &self.issued)
            .finish_non_exhaustive()
    }
}

fn write_granted(writer: &mut Writer<'_>, granted: &GrantedSegment) -> Written {
    let (segment, epoch) = granted.place();
    let head = |writer: &mut Writer<'_>, len| {
        writer.array(len)?.u8(segment.0)?.u32(epoch)?.u8(granted.category)?.ok()
    };
    match &granted.key {
        GrantedKey::Whole(key) => {
            head(writer, 4)?;
            writer.bytes(key.expose().as_slice())?.ok()
        }
        GrantedKey::Shared { half, keys } => {
            head(writer, 5)?;
            writer.bytes(half.expose().as_slice())?.bytes(&keys.to_bytes())?.ok()
        }
    }
}

fn read_granted(reader: &mut Decoder<'_>) -> Result<GrantedSegment, Malformed> {
    let len = cbor::array(reader, 5)?;
    let (segment, epoch, category) = (Segment(reader.u8()?), reader.u32()?, reader.u8()?);
    let secret = Zeroizing::new(cbor::bytes(reader)?);
    let key = match len {
        4 => SegmentKey::from_bytes(segment, epoch, &secret).map(GrantedKey::Whole),
        5 => ReaderHalf::from_bytes(segment, epoch, &secret).and_then(|half| {
            let keys = reader.bytes().map_err(|_| Error::Open(OpenError))?;
            Ok(GrantedKey::Shared { half, keys: ShareKeys::from_bytes(keys)? })
        }),
        _ => return Err(Malformed),
    };
    Ok(GrantedSegment { category, key: key.map_err(|_| Malformed)? })
}

/// The keys of the granted segments, sealed to the grantee.
///
/// With whole secrets (direct mode) whoever has opened it can read without a log.
#[derive(Clone, PartialEq, Eq)]
pub struct GrantEnvelope {
    terms: GrantTerms,
    recipient_key: B256,
    sealed: HpkeBox,
    /// The leaves that were signed with [`GrantEnvelope::leaf`] as one `Sharing`, in order; none if the envelope
    /// was signed alone, as `Envelope`. At most 1,024.
    pub siblings: Vec<B256>,
    /// Last Unix second at which the signature is to be believed.
    pub deadline: u64,
    /// Signature of the patient's controller; not judged here. Empty until it is set.
    pub signature: Bytes,
}

impl GrantEnvelope {
    /// Seals the terms of the consent and the keys of the granted segments, which may come in any order.
    /// Siblings, deadline and signature are still to be set.
    ///
    /// # Errors
    ///
    /// - [`Error::Terms`]: a rule of [`GrantText`] or [`GrantTerms`] is broken.
    /// - [`Error::Randomness`].
    pub fn seal(
        terms: GrantTerms,
        recipient: &IdentityPublic,
        text: &GrantText,
    ) -> Result<Self, Error> {
        let mut text = text.clone();
        text.segments.sort_by_key(GrantedSegment::place);
        if let Some(fault) = text.fault(&terms) {
            return Err(Error::Terms { fault });
        }
        let recipient_key = recipient.hash();
        let info = terms.clear().info(LABEL, recipient_key);
        let sealed = seal_text(recipient, &info, text.encode())?;
        let (siblings, signature) = (Vec::new(), Bytes::new());
        Ok(Self { terms, recipient_key, sealed, siblings, deadline: 0, signature })
    }

    /// What was sealed, its keys in ascending order. That the patient signed the envelope, and that halves
    /// and keys of shares fit the patient's published keys ([`ReaderHalf::completes`]), is checked elsewhere.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for every cause.
    pub fn open(&self, key: &IdentityKey) -> Result<GrantText, OpenError> {
        if key.public().hash() != self.recipient_key {
            return Err(OpenError);
        }
        let grantee = self.terms.grantee;
        let info = self.terms.clear().info(LABEL, self.recipient_key);
        let read = |reader: &mut Decoder<'_>| GrantText::read(reader, grantee);
        let text = open_text(&self.sealed, key, &info, read, GrantText::encode)?;
        if text.fault(&self.terms).is_none() { Ok(text) } else { Err(OpenError) }
    }

    /// What the envelope says in clear.
    pub const fn terms(&self) -> &GrantTerms {
        &self.terms
    }

    /// keccak256 of the recipient's public key.
    pub const fn recipient_key(&self) -> B256 {
        self.recipient_key
    }

    /// What the patient signs: keccak256(enc ‖ ct).
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

    /// Reads what [`GrantEnvelope::encode`] writes and nothing else.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        decode("grant envelope", bytes, Self::read, Self::encode)
    }

    fn read(reader: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let Parcel { clear, recipient_key, sealed, siblings, deadline, signature } =
            Parcel::read(reader, FORMAT)?;
        let terms = GrantTerms {
            ledger: clear.ledger,
            patient: clear.owner,
            grantee: clear.holder,
            consent: ConsentId(clear.scope),
            epoch: clear.number,
        };
        Ok(Self { terms, recipient_key, sealed, siblings, deadline, signature })
    }
}

impl fmt::Debug for GrantEnvelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrantEnvelope")
            .field("terms", &self.terms)
            .field("recipient_key", &self.recipient_key)
            .finish_non_exhaustive()
    }
}
