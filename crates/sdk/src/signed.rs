//! A document that is signed by parts, as a record holds it: the document, what its tree is made of, and the
//! signature over the tree's root.
//!
//! Whoever has this can hide any part and show the rest. `docs/protocol.md`, section "Signed document".

use std::{fmt, ops::Range};

use alloy_primitives::{Address, B256, Bytes};
use galen_chain::typed;
use galen_crypto::{MediaType, Opened};
use galen_fhir::{
    Document, MAX_INPUT_LEN,
    parts::{BATCH_DEPTH, PartTree, PartsError, Seed, SigningPolicy, batch_root},
};
use galen_types::{LedgerId, Plaintext};
use minicbor::{Decoder, Encoder};
use zeroize::Zeroizing;

use crate::{
    Error,
    cbor::{self, Written},
    galen::FHIR_JSON,
    patient::u48,
};

/// Media type of a signed document.
pub const SIGNED_DOCUMENT: &str = "application/vnd.galen.signed-document";

/// Longest signed document, in bytes.
pub const MAX_SIGNED_LEN: usize = MAX_INPUT_LEN + MAX_TAIL_LEN + MAX_HEAD_LEN;

/// Longest signature, in bytes: that of a contract wallet with many owners.
pub(crate) const MAX_SIGNATURE_LEN: usize = 16_384;

/// Longest policy, in bytes of its canonical text.
const MAX_POLICY_LEN: usize = 32_768;

/// Longest that stands before the document, in bytes: four bytes and its length.
pub const MAX_HEAD_LEN: usize = 4 + 9;

/// What stands behind it.
const MAX_TAIL_LEN: usize = MAX_POLICY_LEN + MAX_SIGNATURE_LEN + 1_024;

const FORMAT: u8 = 1;
const FIELDS: u64 = 11;
const MAX_U48: u64 = (1 << 48) - 1;

/// Who signed what, apart from the document itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// The ledger under whose domain it is signed.
    pub ledger: LedgerId,
    /// Who stands behind the document.
    pub author: Address,
    /// Whose signature it is: the author's controller.
    pub signer: Address,
    /// Rotations of the author when it was signed.
    pub rotations: u32,
    /// Unix second at which it was signed, in the author's word.
    pub issued: u64,
    /// From the document's root to the root that was signed; empty if that is the same.
    pub batch_path: Vec<B256>,
    /// The signature.
    pub signature: Bytes,
}

impl Attestation {
    /// What was signed, for a document with this root.
    ///
    /// # Errors
    ///
    /// [`PartsError::Nodes`] if the path to the signed root has a wrong length.
    pub fn digest(&self, root: B256) -> Result<B256, PartsError> {
        let message = typed::Attestation {
            author: self.author,
            rotations: self.rotations,
            root: batch_root(root, &self.batch_path)?,
            issued: u48(self.issued),
        };
        Ok(typed::digest(&message, self.ledger))
    }

    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if !self.batch_path.is_empty() && self.batch_path.len() != BATCH_DEPTH {
            return Err("a signature is for one document or a tree of depth 9");
        }
        if self.signature.is_empty() || self.signature.len() > MAX_SIGNATURE_LEN {
            return Err("a signature has 1 to 16,384 bytes");
        }
        if self.issued > MAX_U48 {
            return Err("the time is too large");
        }
        Ok(())
    }
}

/// A document that is signed by parts, with all that its holder needs to show parts of it.
///
/// Nothing in it is to be believed before its signature was checked, see [`crate::Galen::signature_of`].
#[derive(Clone)]
pub struct SignedDocument {
    document: Plaintext,
    seed: Seed,
    policy: SigningPolicy,
    attestation: Attestation,
}

impl SignedDocument {
    pub(crate) const fn new(
        document: Plaintext,
        seed: Seed,
        policy: SigningPolicy,
        attestation: Attestation,
    ) -> Self {
        Self { document, seed, policy, attestation }
    }

    /// The document, byte for byte as it was signed.
    pub const fn document(&self) -> &Plaintext {
        &self.document
    }

    /// Who signed it, as it says itself.
    pub const fn attestation(&self) -> &Attestation {
        &self.attestation
    }

    /// The tree over its elements.
    ///
    /// # Errors
    ///
    /// [`Error::Fhir`], [`Error::Parts`].
    pub fn tree(&self) -> Result<PartTree<'_>, Error> {
        tree(&self.document, &self.seed, &self.policy)
    }

    /// What was signed.
    ///
    /// # Errors
    ///
    /// As [`SignedDocument::tree`].
    pub fn digest(&self) -> Result<B256, Error> {
        Ok(self.attestation.digest(self.tree()?.root())?)
    }

    /// The one encoding. It holds the document and the seed of all its salts.
    pub fn encode(&self) -> Plaintext {
        let (head, tail) = (head(self.document.expose().len()), self.tail());
        let document = self.document.expose();
        // Room for all of it, so that no copy stays behind when a vector grows.
        let mut bytes = Vec::with_capacity(head.len() + document.len() + tail.len());
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(document);
        bytes.extend_from_slice(&tail);
        Plaintext::new(bytes)
    }

    /// Reads what [`SignedDocument::encode`] writes and nothing else. Whether it is signed is not judged here.
    ///
    /// # Errors
    ///
    /// [`Error::Crypto`] with the kind of malformed bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let malformed =
            || Error::Crypto(galen_crypto::Error::Malformed { what: "signed document" });
        if bytes.len() > MAX_SIGNED_LEN {
            return Err(malformed());
        }
        let (document, rest) = split(bytes).ok_or_else(malformed)?;
        let mut reader = Decoder::new(rest);
        let signed = Self::read(document, &mut reader).map_err(|_| malformed())?;
        // One text for one value: the head was compared already.
        if signed.tail().as_slice() == rest { Ok(signed) } else { Err(malformed()) }
    }

    /// Of a record's payload, if that is one.
    pub(crate) fn of(opened: &Opened) -> Option<Result<Self, Error>> {
        is_signed(&opened.media_type).then(|| Self::decode(opened.payload.expose()))
    }

    fn tail(&self) -> Zeroizing<Vec<u8>> {
        let mut tail = Zeroizing::new(Vec::with_capacity(MAX_TAIL_LEN));
        self.write_tail(&mut Encoder::new(&mut *tail)).expect("a vector takes every byte");
        tail
    }

    fn write_tail(&self, writer: &mut cbor::Writer<'_>) -> Written {
        let it = &self.attestation;
        writer.u8(2)?.bytes(self.seed.expose())?.u8(3)?.str(&self.policy.to_string())?;
        writer.u8(4)?.array(2)?.u64(it.ledger.chain_id)?.bytes(it.ledger.contract.as_slice())?;
        writer.u8(5)?.bytes(it.author.as_slice())?.u8(6)?.bytes(it.signer.as_slice())?;
        writer.u8(7)?.u32(it.rotations)?.u8(8)?.u64(it.issued)?;
        writer.u8(9)?.array(it.batch_path.len() as u64)?;
        for sibling in &it.batch_path {
            writer.bytes(sibling.as_slice())?;
        }
        writer.u8(10)?.bytes(&it.signature)?.ok()
    }

    fn read(document: &[u8], reader: &mut Decoder<'_>) -> Result<Self, minicbor::decode::Error> {
        let malformed = minicbor::decode::Error::message;
        cbor::key(reader, 2)?;
        let seed = Zeroizing::new(cbor::bytes::<32>(reader)?);
        cbor::key(reader, 3)?;
        let policy = reader.str()?;
        if policy.len() > MAX_POLICY_LEN {
            return Err(malformed("the policy is too long"));
        }
        let policy = policy.parse().map_err(|_| malformed("no policy"))?;
        cbor::key(reader, 4)?;
        cbor::exactly(reader.array()?, 2)?;
        let chain_id = reader.u64()?;
        let ledger = LedgerId { chain_id, contract: Address::new(cbor::bytes(reader)?) };
        cbor::key(reader, 5)?;
        let author = Address::new(cbor::bytes(reader)?);
        cbor::key(reader, 6)?;
        let signer = Address::new(cbor::bytes(reader)?);
        cbor::key(reader, 7)?;
        let rotations = reader.u32()?;
        cbor::key(reader, 8)?;
        let issued = reader.u64()?;
        cbor::key(reader, 9)?;
        let count = reader.array()?.filter(|count| *count <= BATCH_DEPTH as u64);
        let count = count.ok_or_else(|| malformed("the path is too long"))?;
        let batch_path = (0..count).map(|_| Ok(B256::new(cbor::bytes(reader)?)));
        let batch_path = batch_path.collect::<Result<_, minicbor::decode::Error>>()?;
        cbor::key(reader, 10)?;
        let signature = Bytes::copy_from_slice(reader.bytes()?);
        let attestation =
            Attestation { ledger, author, signer, rotations, issued, batch_path, signature };
        attestation.check().map_err(malformed)?;
        let document = Plaintext::new(document.to_vec());
        Ok(Self { document, seed: Seed::new(*seed), policy, attestation })
    }
}

impl fmt::Debug for SignedDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.document.expose().len();
        write!(f, "SignedDocument({len} bytes by {:#x})", self.attestation.author)
    }
}

/// The tree over a document's elements.
pub(crate) fn tree<'a>(
    document: &'a Plaintext,
    seed: &Seed,
    policy: &SigningPolicy,
) -> Result<PartTree<'a>, Error> {
    Ok(PartTree::build(&Document::read(document.expose())?, seed, policy)?)
}

/// The FHIR document that a record's payload holds, whatever its container; `None` if it holds none.
///
/// Says nothing of who signed it.
pub fn fhir_document(opened: &Opened) -> Option<&[u8]> {
    match opened.media_type.as_str() {
        FHIR_JSON => Some(opened.payload.expose()),
        SIGNED_DOCUMENT => document_in(opened.payload.expose()),
        _ => None,
    }
}

/// The document in the bytes of a signed document, which is not checked.
pub fn document_in(signed: &[u8]) -> Option<&[u8]> {
    split(signed).map(|(document, _)| document)
}

/// Where the document lies in a signed document that begins with these bytes, [`MAX_HEAD_LEN`] or more of them:
/// for whoever streams one that is too long for memory.
pub fn document_range(start: &[u8]) -> Option<Range<u64>> {
    // The length of a byte string stands in its first byte, or in 1, 2, 4 or 8 bytes after it (RFC 8949,
    // section 3).
    let after = start.get(5..)?;
    let len = match start[4] {
        short @ 0x40..=0x57 => u64::from(short - 0x40),
        long @ 0x58..=0x5b => {
            let bytes = after.get(..1 << (long - 0x58))?;
            bytes.iter().fold(0, |len, byte| len << 8 | u64::from(*byte))
        }
        _ => return None,
    };
    let head = head(usize::try_from(len).ok()?);
    let offset = head.len() as u64;
    (start.starts_with(&head)).then(|| offset..offset + len)
}

pub(crate) fn is_signed(media_type: &MediaType) -> bool {
    media_type.as_str() == SIGNED_DOCUMENT
}

/// Whether bytes begin as those of a signed document do, which no JSON does.
pub(crate) fn starts_signed(bytes: &[u8]) -> bool {
    bytes.starts_with(&head(0)[..4])
}

/// What stands before a document of this length.
fn head(len: usize) -> Vec<u8> {
    cbor::encode(|writer| writer.map(FIELDS)?.u8(0)?.u8(FORMAT)?.u8(1)?.bytes_len(len as u64)?.ok())
}

/// The document and what stands behind it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut reader = Decoder::new(bytes);
    let read = |reader: &mut Decoder<'_>| {
        cbor::exactly(reader.map()?, FIELDS)?;
        cbor::key(reader, 0)?;
        cbor::key(reader, FORMAT)?;
        cbor::key(reader, 1)
    };
    read(&mut reader).ok()?;
    let document = reader.bytes().ok()?;
    let (before, rest) = bytes.split_at_checked(reader.position())?;
    let head = head(document.len());
    (before.len() == head.len() + document.len() && before.starts_with(&head))
        .then_some((document, rest))
}
