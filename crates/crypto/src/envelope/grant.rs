//! The keys of granted segments, for one grantee.

use std::{collections::BTreeSet, fmt};

use alloy_primitives::{Address, B256, Bytes};
use galen_types::{ConsentId, LedgerId, Segment};
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
    /// First Unix second at which the signature is no longer to be believed.
    pub deadline: u64,
    /// Signature of the patient's controller; not judged here. Empty until it is set.
    pub signature: Bytes,
}

impl GrantEnvelope {
    /// Seals the keys of the granted segments. Deadline and signature are still to be set.
    ///
    /// # Errors
    ///
    /// - [`Error::Terms`]: no segment, a segment twice, or a key of another epoch.
    /// - [`Error::Randomness`].
    pub fn seal(
        terms: GrantTerms,
        recipient: &IdentityPublic,
        segments: &[GrantedSegment],
    ) -> Result<Self, Error> {
        let mut sorted: Vec<&GrantedSegment> = segments.iter().collect();
        sorted.sort_by_key(|granted| granted.key.segment());
        let distinct: BTreeSet<Segment> = segments.iter().map(|one| one.key.segment()).collect();
        let fault = if segments.is_empty() {
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
        let sealed = seal_text(recipient, &info(&terms, recipient_key), text(&sorted))?;
        Ok(Self { terms, recipient_key, sealed, deadline: 0, signature: Bytes::new() })
    }

    /// The granted segments, in ascending order. That the patient signed the envelope is checked elsewhere.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for every cause.
    pub fn open(&self, key: &IdentityKey) -> Result<Vec<GrantedSegment>, OpenError> {
        if key.public().hash() != self.recipient_key {
            return Err(OpenError);
        }
        let epoch = self.terms.epoch;
        let info = info(&self.terms, self.recipient_key);
        let segments = open_text(
            &self.sealed,
            key,
            &info,
            |reader| read_text(reader, epoch),
            |granted| text(&granted.iter().collect::<Vec<_>>()),
        )?;
        let ascending = segments.is_sorted_by(|a, b| a.key.segment() < b.key.segment());
        if ascending && !segments.is_empty() { Ok(segments) } else { Err(OpenError) }
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

fn text(segments: &[&GrantedSegment]) -> Zeroizing<Vec<u8>> {
    let capacity = 8 + 71 * segments.len();
    Zeroizing::new(cbor::encode(capacity, |writer| {
        writer.array(segments.len() as u64)?;
        for granted in segments {
            writer.array(3)?.u8(granted.key.segment().0)?.u8(granted.category)?;
            writer.bytes(granted.key.expose().as_slice())?;
        }
        Ok(())
    }))
}

fn read_text(reader: &mut Decoder<'_>, epoch: u32) -> Result<Vec<GrantedSegment>, Malformed> {
    (0..cbor::array(reader, 256)?)
        .map(|_| {
            cbor::tuple(reader, 3)?;
            let (segment, category) = (Segment(reader.u8()?), reader.u8()?);
            let secret = Zeroizing::new(cbor::bytes(reader)?);
            let key = SegmentKey::from_bytes(segment, epoch, &secret).map_err(|_| Malformed)?;
            Ok(GrantedSegment { category, key })
        })
        .collect()
}
