//! The keys of granted segments, for one grantee.

use std::{collections::BTreeSet, fmt};

use alloy_primitives::{Address, B256, Bytes, U256};
use galen_types::{Consent, ConsentId, LedgerId, PurposeSet, Salt, Segment, SegmentSet};
use minicbor::Decoder;
use zeroize::Zeroizing;

use crate::{
    Error, IdentityKey, IdentityPublic, OpenError, SegmentKey,
    cbor::{self, Malformed},
    envelope::{
        ciphertext_hash, decode, open_text, read_box, read_bytes, read_ledger, read_signature,
        seal_text, write_ledger,
    },
    hpke_box::HpkeBox,
};

const FORMAT: u8 = 1;

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
    /// The epoch of the keys.
    pub epoch: u32,
}

impl GrantTerms {
    fn is_for(&self, consent: &Consent) -> bool {
        consent.id() == self.consent && consent.grantee == self.grantee
    }
}

/// One segment that a grantee can open.
#[derive(Clone, Debug)]
pub struct GrantedSegment {
    /// The category that the segment stands for.
    pub category: u8,
    /// The segment's key.
    pub key: SegmentKey,
}

/// Direct mode: the whole secrets of the granted segments and epoch, sealed to the grantee.
///
/// Who has opened it can read without a log.
#[derive(Clone, PartialEq, Eq)]
pub struct GrantEnvelope {
    terms: GrantTerms,
    recipient_key: B256,
    sealed: HpkeBox,
    /// Last Unix second at which the signature is to be believed.
    pub deadline: u64,
    /// Signature of the patient's controller; not judged here. Empty until it is set.
    pub signature: Bytes,
}

impl GrantEnvelope {
    /// Seals the terms of the consent and the keys of the granted segments. Deadline and signature are
    /// still to be set.
    ///
    /// # Errors
    ///
    /// - [`Error::Terms`]: another consent than that of `terms`, no segment, a segment twice, or a key of
    ///   another epoch.
    /// - [`Error::Randomness`].
    pub fn seal(
        terms: GrantTerms,
        recipient: &IdentityPublic,
        consent: &Consent,
        segments: &[GrantedSegment],
    ) -> Result<Self, Error> {
        let mut sorted: Vec<&GrantedSegment> = segments.iter().collect();
        sorted.sort_by_key(|granted| granted.key.segment());
        let distinct: BTreeSet<Segment> = segments.iter().map(|one| one.key.segment()).collect();
        let fault = if !terms.is_for(consent) {
            Some("another consent than the one of the terms")
        } else if segments.is_empty() {
            Some("no segment")
        } else if distinct.len() < segments.len() {
            Some("a segment is named twice")
        } else if segments.iter().any(|granted| granted.key.epoch() != terms.epoch) {
            Some("a key is of another epoch")
        } else {
            None
        };
        if let Some(fault) = fault {
            return Err(Error::Terms { fault });
        }
        let recipient_key = recipient.hash();
        let sealed = seal_text(recipient, &info(&terms, recipient_key), text(consent, &sorted))?;
        Ok(Self { terms, recipient_key, sealed, deadline: 0, signature: Bytes::new() })
    }

    /// The consent and the granted segments, in ascending order. That the patient signed the envelope
    /// is checked elsewhere.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for every cause.
    pub fn open(&self, key: &IdentityKey) -> Result<(Consent, Vec<GrantedSegment>), OpenError> {
        if key.public().hash() != self.recipient_key {
            return Err(OpenError);
        }
        let terms = &self.terms;
        let (consent, segments) = open_text(
            &self.sealed,
            key,
            &info(terms, self.recipient_key),
            |reader| read_text(reader, terms),
            |(consent, granted)| text(consent, &granted.iter().collect::<Vec<_>>()),
        )?;
        let ascending = segments.is_sorted_by(|a, b| a.key.segment() < b.key.segment());
        let whole = ascending && !segments.is_empty() && terms.is_for(&consent);
        if whole { Ok((consent, segments)) } else { Err(OpenError) }
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

    /// The wire form.
    pub fn encode(&self) -> Vec<u8> {
        let terms = &self.terms;
        cbor::encode(4096 + self.sealed.ciphertext.len(), |writer| {
            writer.map(12)?.u8(0)?.u8(FORMAT)?;
            write_ledger(writer, &terms.ledger)?;
            writer.u8(3)?.bytes(terms.patient.as_slice())?;
            writer.u8(4)?.bytes(terms.grantee.as_slice())?;
            writer.u8(5)?.bytes(terms.consent.as_bytes())?;
            writer.u8(6)?.u32(terms.epoch)?.u8(7)?.bytes(self.recipient_key.as_slice())?;
            writer.u8(8)?.bytes(&self.sealed.enc)?.u8(9)?.bytes(&self.sealed.ciphertext)?;
            writer.u8(10)?.u64(self.deadline)?.u8(11)?.bytes(&self.signature)?.ok()
        })
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
        cbor::map(reader, 12)?;
        cbor::key(reader, 0)?;
        cbor::key(reader, FORMAT)?;
        let ledger = read_ledger(reader)?;
        let patient = read_bytes(reader, 3)?.into();
        let grantee = read_bytes(reader, 4)?.into();
        let consent = ConsentId(read_bytes(reader, 5)?.into());
        cbor::key(reader, 6)?;
        let terms = GrantTerms { ledger, patient, grantee, consent, epoch: reader.u32()? };
        let recipient_key = read_bytes(reader, 7)?.into();
        let sealed = read_box(reader, 8)?;
        let (deadline, signature) = read_signature(reader, 10)?;
        Ok(Self { terms, recipient_key, sealed, deadline, signature: signature.into() })
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

fn info(terms: &GrantTerms, recipient_key: B256) -> Vec<u8> {
    [
        b"galen.envelope.grant.v1".as_slice(),
        &terms.ledger.chain_id.to_be_bytes(),
        terms.ledger.contract.as_slice(),
        terms.patient.as_slice(),
        terms.grantee.as_slice(),
        terms.consent.as_bytes(),
        &terms.epoch.to_be_bytes(),
        recipient_key.as_slice(),
    ]
    .concat()
}

fn text(consent: &Consent, segments: &[&GrantedSegment]) -> Zeroizing<Vec<u8>> {
    let capacity = 128 + 71 * segments.len();
    Zeroizing::new(cbor::encode(capacity, |writer| {
        writer.array(2)?.array(5)?.bytes(&consent.segments.0.to_be_bytes::<32>())?;
        writer.u32(consent.purposes.0)?.u64(consent.not_before)?.u64(consent.expiry)?;
        writer.bytes(consent.salt.as_bytes())?.array(segments.len() as u64)?;
        for granted in segments {
            writer.array(3)?.u8(granted.key.segment().0)?.u8(granted.category)?;
            writer.bytes(granted.key.expose().as_slice())?;
        }
        Ok(())
    }))
}

fn read_text(
    reader: &mut Decoder<'_>,
    terms: &GrantTerms,
) -> Result<(Consent, Vec<GrantedSegment>), Malformed> {
    cbor::tuple(reader, 2)?;
    cbor::tuple(reader, 5)?;
    let consent = Consent {
        grantee: terms.grantee,
        segments: SegmentSet(U256::from_be_bytes::<32>(cbor::bytes(reader)?)),
        purposes: PurposeSet(reader.u32()?),
        not_before: reader.u64()?,
        expiry: reader.u64()?,
        salt: Salt(B256::new(cbor::bytes(reader)?)),
    };
    let segments = (0..cbor::array(reader, 256)?)
        .map(|_| {
            cbor::tuple(reader, 3)?;
            let (segment, category) = (Segment(reader.u8()?), reader.u8()?);
            let secret = Zeroizing::new(cbor::bytes(reader)?);
            let key =
                SegmentKey::from_bytes(segment, terms.epoch, &secret).map_err(|_| Malformed)?;
            Ok(GrantedSegment { category, key })
        })
        .collect::<Result<Vec<_>, Malformed>>()?;
    Ok((consent, segments))
}
