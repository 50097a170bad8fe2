//! The part of a segment map that one author may use, sent at first contact.

use std::{collections::BTreeSet, fmt};

use alloy_primitives::{Address, B256, Bytes};
use galen_types::{KeyBundleId, LedgerId, Segment};
use minicbor::Decoder;
use zeroize::Zeroizing;

use crate::{
    Error, IdentityKey, IdentityPublic, OpenError,
    cbor::{self, Malformed},
    envelope::{
        ciphertext_hash, decode, open_text, read_box, read_bytes, read_ledger, read_signature,
        seal_text, write_ledger,
    },
    hpke_box::HpkeBox,
};

const FORMAT: u8 = 2;

/// What a contact envelope says in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContactTerms {
    /// The ledger that both are on.
    pub ledger: LedgerId,
    /// Pseudonym of the patient.
    pub patient: Address,
    /// The organization that may propose records.
    pub author: Address,
    /// The bundle that holds the keys to seal to.
    pub bundle: KeyBundleId,
}

/// The categories that an author may write, with the segments that stand for them.
#[derive(Clone, PartialEq, Eq)]
pub struct ContactEnvelope {
    terms: ContactTerms,
    recipient_key: B256,
    sealed: HpkeBox,
    /// Last Unix second at which the signature is to be believed.
    pub deadline: u64,
    /// Signature of the patient's controller; not judged here. Empty until it is set.
    pub signature: Bytes,
}

impl ContactEnvelope {
    /// Seals pairs of category and segment. Deadline and signature are still to be set.
    ///
    /// # Errors
    ///
    /// - [`Error::Terms`]: no pair, or a category or a segment twice.
    /// - [`Error::Randomness`].
    pub fn seal(
        terms: ContactTerms,
        recipient: &IdentityPublic,
        pairs: &[(u8, Segment)],
    ) -> Result<Self, Error> {
        let mut sorted = Zeroizing::new(pairs.iter().map(|(c, s)| (*c, s.0)).collect::<Vec<_>>());
        sorted.sort_unstable();
        if !is_partial_map(&sorted) {
            return Err(Error::Terms { fault: "no pair, or a category or segment twice" });
        }
        let recipient_key = recipient.hash();
        let sealed = seal_text(recipient, &info(&terms, recipient_key), text(&sorted))?;
        Ok(Self { terms, recipient_key, sealed, deadline: 0, signature: Bytes::new() })
    }

    /// The pairs of category and segment, ascending by category. That the patient signed the envelope
    /// is checked elsewhere.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for every cause.
    pub fn open(&self, key: &IdentityKey) -> Result<Vec<(u8, Segment)>, OpenError> {
        if key.public().hash() != self.recipient_key {
            return Err(OpenError);
        }
        let info = info(&self.terms, self.recipient_key);
        let pairs = open_text(&self.sealed, key, &info, read_text, |pairs| text(pairs))?;
        if !is_partial_map(&pairs) {
            return Err(OpenError);
        }
        Ok(pairs.iter().map(|(category, segment)| (*category, Segment(*segment))).collect())
    }

    /// What the envelope says in clear.
    pub const fn terms(&self) -> &ContactTerms {
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
            writer.map(11)?.u8(0)?.u8(FORMAT)?;
            write_ledger(writer, &terms.ledger)?;
            writer.u8(3)?.bytes(terms.patient.as_slice())?;
            writer.u8(4)?.bytes(terms.author.as_slice())?;
            writer.u8(5)?.bytes(terms.bundle.as_bytes())?;
            writer.u8(6)?.bytes(self.recipient_key.as_slice())?;
            writer.u8(7)?.bytes(&self.sealed.enc)?.u8(8)?.bytes(&self.sealed.ciphertext)?;
            writer.u8(9)?.u64(self.deadline)?.u8(10)?.bytes(&self.signature)?.ok()
        })
    }

    /// Reads what [`ContactEnvelope::encode`] writes and nothing else.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        decode("contact envelope", bytes, Self::read, Self::encode)
    }

    fn read(reader: &mut Decoder<'_>) -> Result<Self, Malformed> {
        cbor::map(reader, 11)?;
        cbor::key(reader, 0)?;
        cbor::key(reader, FORMAT)?;
        let ledger = read_ledger(reader)?;
        let patient = read_bytes(reader, 3)?.into();
        let author = read_bytes(reader, 4)?.into();
        let bundle = KeyBundleId(read_bytes(reader, 5)?.into());
        let terms = ContactTerms { ledger, patient, author, bundle };
        let recipient_key = read_bytes(reader, 6)?.into();
        let sealed = read_box(reader, 7)?;
        let (deadline, signature) = read_signature(reader, 9)?;
        Ok(Self { terms, recipient_key, sealed, deadline, signature: signature.into() })
    }
}

impl fmt::Debug for ContactEnvelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContactEnvelope")
            .field("terms", &self.terms)
            .field("recipient_key", &self.recipient_key)
            .finish_non_exhaustive()
    }
}

/// Whether pairs ascend by category and no segment stands for two.
fn is_partial_map(pairs: &[(u8, u8)]) -> bool {
    let segments: BTreeSet<u8> = pairs.iter().map(|pair| pair.1).collect();
    let ascending = pairs.is_sorted_by(|a, b| a.0 < b.0);
    !pairs.is_empty() && ascending && segments.len() == pairs.len()
}

fn info(terms: &ContactTerms, recipient_key: B256) -> Vec<u8> {
    [
        b"galen.envelope.contact.v1".as_slice(),
        &terms.ledger.chain_id.to_be_bytes(),
        terms.ledger.contract.as_slice(),
        terms.patient.as_slice(),
        terms.author.as_slice(),
        terms.bundle.as_bytes(),
        recipient_key.as_slice(),
    ]
    .concat()
}

fn text(pairs: &[(u8, u8)]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(cbor::encode(8 + 5 * pairs.len(), |writer| {
        writer.array(pairs.len() as u64)?;
        for (category, segment) in pairs {
            writer.array(2)?.u8(*category)?.u8(*segment)?;
        }
        Ok(())
    }))
}

fn read_text(reader: &mut Decoder<'_>) -> Result<Zeroizing<Vec<(u8, u8)>>, Malformed> {
    let pairs: Result<Vec<_>, Malformed> = (0..cbor::array(reader, 256)?)
        .map(|_| {
            cbor::tuple(reader, 2)?;
            Ok((reader.u8()?, reader.u8()?))
        })
        .collect();
    pairs.map(Zeroizing::new)
}
