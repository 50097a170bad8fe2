//! Why a patient rejects records, or what they ask to be corrected: words for one author.

use std::fmt;

use alloy_primitives::{Address, B256, Bytes, U256};
use galen_types::{LedgerId, ProposalId};
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

const FORMAT: u8 = 3;

/// Most bytes of the words, in UTF-8.
pub const MAX_REPLY_LEN: usize = 4_000;

/// What a reply says in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplyTerms {
    /// The ledger that both are on.
    pub ledger: LedgerId,
    /// Pseudonym of the patient.
    pub patient: Address,
    /// The organization that proposed.
    pub author: Address,
    /// What it is about.
    pub proposal: ProposalId,
    /// The leaves of the proposal that it is about, as bits.
    pub leaves: U256,
    /// What is meant by it; the numbers are those of the signed struct.
    pub kind: u8,
}

/// Words of a patient, sealed to an author.
#[derive(Clone, PartialEq, Eq)]
pub struct ReplyEnvelope {
    terms: ReplyTerms,
    recipient_key: B256,
    sealed: HpkeBox,
    /// Last Unix second at which the signature is to be believed.
    pub deadline: u64,
    /// Signature of the patient's controller; not judged here. Empty until it is set.
    pub signature: Bytes,
}

impl ReplyEnvelope {
    /// Seals the words. Deadline and signature are still to be set.
    ///
    /// # Errors
    ///
    /// - [`Error::Terms`]: no words, too many, or no leaf.
    /// - [`Error::Randomness`].
    pub fn seal(terms: ReplyTerms, recipient: &IdentityPublic, words: &str) -> Result<Self, Error> {
        if terms.leaves.is_zero() || words.is_empty() || words.len() > MAX_REPLY_LEN {
            return Err(Error::Terms { fault: "no words, too many, or about no record" });
        }
        let recipient_key = recipient.hash();
        let sealed = seal_text(recipient, &info(&terms, recipient_key), text(words))?;
        Ok(Self { terms, recipient_key, sealed, deadline: 0, signature: Bytes::new() })
    }

    /// The words. That the patient signed the envelope is checked elsewhere.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for every cause.
    pub fn open(&self, key: &IdentityKey) -> Result<Zeroizing<String>, OpenError> {
        if key.public().hash() != self.recipient_key {
            return Err(OpenError);
        }
        let info = info(&self.terms, self.recipient_key);
        let words = open_text(&self.sealed, key, &info, read_text, |words| text(words))?;
        let fits = !words.is_empty() && words.len() <= MAX_REPLY_LEN;
        if fits { Ok(words) } else { Err(OpenError) }
    }

    /// What the envelope says in clear.
    pub const fn terms(&self) -> &ReplyTerms {
        &self.terms
    }

    /// What the patient signs: keccak256(enc ‖ ct).
    pub fn ciphertext_hash(&self) -> B256 {
        ciphertext_hash(&self.sealed)
    }

    /// The wire form.
    pub fn encode(&self) -> Vec<u8> {
        let terms = &self.terms;
        cbor::encode(4096 + self.sealed.ciphertext.len(), |writer| {
            writer.map(13)?.u8(0)?.u8(FORMAT)?;
            write_ledger(writer, &terms.ledger)?;
            writer.u8(3)?.bytes(terms.patient.as_slice())?;
            writer.u8(4)?.bytes(terms.author.as_slice())?;
            writer.u8(5)?.bytes(terms.proposal.as_bytes())?;
            writer.u8(6)?.bytes(&terms.leaves.to_be_bytes::<32>())?;
            writer.u8(7)?.u8(terms.kind)?;
            writer.u8(8)?.bytes(self.recipient_key.as_slice())?;
            writer.u8(9)?.bytes(&self.sealed.enc)?.u8(10)?.bytes(&self.sealed.ciphertext)?;
            writer.u8(11)?.u64(self.deadline)?.u8(12)?.bytes(&self.signature)?.ok()
        })
    }

    /// Reads what [`ReplyEnvelope::encode`] writes and nothing else.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        decode("reply", bytes, Self::read, Self::encode)
    }

    fn read(reader: &mut Decoder<'_>) -> Result<Self, Malformed> {
        cbor::map(reader, 13)?;
        cbor::key(reader, 0)?;
        cbor::key(reader, FORMAT)?;
        let ledger = read_ledger(reader)?;
        let patient = read_bytes(reader, 3)?.into();
        let author = read_bytes(reader, 4)?.into();
        let proposal = ProposalId(read_bytes(reader, 5)?.into());
        let leaves = U256::from_be_bytes(read_bytes::<32>(reader, 6)?);
        cbor::key(reader, 7)?;
        let kind = reader.u8()?;
        let terms = ReplyTerms { ledger, patient, author, proposal, leaves, kind };
        let recipient_key = read_bytes(reader, 8)?.into();
        let sealed = read_box(reader, 9)?;
        let (deadline, signature) = read_signature(reader, 11)?;
        Ok(Self { terms, recipient_key, sealed, deadline, signature: signature.into() })
    }
}

impl fmt::Debug for ReplyEnvelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyEnvelope").field("terms", &self.terms).finish_non_exhaustive()
    }
}

fn info(terms: &ReplyTerms, recipient_key: B256) -> Vec<u8> {
    [
        b"galen.envelope.reply.v1".as_slice(),
        &terms.ledger.chain_id.to_be_bytes(),
        terms.ledger.contract.as_slice(),
        terms.patient.as_slice(),
        terms.author.as_slice(),
        terms.proposal.as_bytes(),
        &terms.leaves.to_be_bytes::<32>(),
        &[terms.kind],
        recipient_key.as_slice(),
    ]
    .concat()
}

fn text(words: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(cbor::encode(8 + words.len(), |writer| writer.str(words)?.ok()))
}

fn read_text(reader: &mut Decoder<'_>) -> Result<Zeroizing<String>, Malformed> {
    Ok(Zeroizing::new(reader.str()?.to_owned()))
}
