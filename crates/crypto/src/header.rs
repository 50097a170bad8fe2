//! The clear part of sealed content: who can open it, and under which key.
//!
//! # Bytes
//!
//! [`HEADER_LEN`] bytes: deterministic CBOR (RFC 8949, section 4.2.1), then zero bytes to the end.
//!
//! ```text
//! { 0: 1,                        format
//!   1: epoch,                    unsigned, below 2^32
//!   2: key commitment,           byte string, 32
//!   3: [ wrap, … ] }             1 or 2 wraps, at most one of each kind, ascending by kind
//!
//! identity wrap  [0, enc (1120), ciphertext (48)]
//! segment wrap   [1, capsule (32), proof (64), kem (1120), ciphertext (48)]
//! ```
//!
//! A reader refuses every other text: longer integers, other orders, unknown keys, trailing bytes that
//! are not zero. The *header hash* is SHA-256 of the 4,096 bytes and is associated data of every block,
//! so that a changed header opens nothing.
//!
//! # Key schedule
//!
//! One fresh random data key of 32 bytes per sealing. With `context` the 92 bytes of
//! [`SealContext::to_bytes`] and HKDF-SHA256 without salt (RFC 5869):
//!
//! ```text
//! key commitment = HKDF(ikm = data key, info = "galen.seal.commit.v1" ‖ context, 32)
//! content key    = HKDF(ikm = data key, info = "galen.seal.key.v1"    ‖ context, 32)
//! nonce prefix   = HKDF(ikm = data key, info = "galen.seal.nonce.v1"  ‖ context, 7)
//! ```
//!
//! The key commitment is compared, in constant time, before anything is decrypted: AES-GCM alone lets
//! one ciphertext open to two texts under two keys.
//!
//! # Identity wrap
//!
//! HPKE (RFC 9180), base mode, KEM X-Wing (0x647a), HKDF-SHA256, AES-256-GCM, to the identity key.
//! `info = "galen.wrap.identity.v1" ‖ context`, `aad = key commitment`, plaintext the data key.
//!
//! # Segment wrap
//!
//! To the segment's public keys `A` (ristretto255, RFC 9496) and `K` (X-Wing) of one epoch, with `G` the
//! generator and `r` a fresh random scalar:
//!
//! ```text
//! capsule    E = r·G
//! secret     S = r·A                      the reader computes a·E
//! kem, s     = X-Wing encapsulation to K
//! KEK        = HKDF(ikm = S ‖ s,
//!                   info = "galen.wrap.segment.v1" ‖ context ‖ segment u8 ‖ epoch u32 ‖ E ‖ SHA-256(kem), 32)
//! ciphertext = AES-256-GCM(KEK, nonce = 12 zero bytes, aad = key commitment, data key)
//! ```
//!
//! The KEK depends on `r` and is used once; so the nonce may be zero.
//!
//! The proof shows that the author knows `r` and ties the capsule to its place, so that nobody has a
//! proxy transform another record's capsule. With `k` a fresh random scalar:
//!
//! ```text
//! R = k·G
//! c = SHA-512("galen.capsule.v1" ‖ context ‖ segment u8 ‖ epoch u32 ‖ E ‖ R) mod ℓ    little endian
//! s = k + c·r mod ℓ
//! proof = R ‖ s                           valid if s·G = R + c·E
//! ```
//!
//! `E`, `R`, `A` that are the identity or not canonical are refused everywhere, so is an `s` that is not
//! below ℓ.

mod capsule;
mod wrap;

use std::fmt;

use minicbor::Decoder;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub use capsule::Capsule;
pub(crate) use wrap::Wraps;

use crate::{
    Answer, IdentityKey, OpenError, ReaderHalf, SegmentKey, ShareKeys,
    cbor::{self, Malformed},
    content::SealContext,
    primitives::{hkdf, random, sha256},
};

/// Length of the header, in bytes: one Swarm chunk.
pub const HEADER_LEN: usize = 4096;

/// The first value of every header.
const FORMAT: u8 = 1;

/// The key of one sealing. 32 random bytes, wiped when dropped.
#[derive(Clone)]
pub struct DataKey(Zeroizing<[u8; 32]>);

impl DataKey {
    pub(crate) fn generate() -> Result<Self, crate::Error> {
        random().map(Self)
    }

    /// Takes over a key that a wrap gave, for example through proxies.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for code that wraps them once more.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// What the header says about the key. 32 bytes.
    pub(crate) fn commitment(&self, context: &SealContext) -> [u8; 32] {
        *hkdf(self.expose(), &[b"galen.seal.commit.v1", &context.to_bytes()])
    }

    pub(crate) fn content_key(&self, context: &SealContext) -> Zeroizing<[u8; 32]> {
        hkdf(self.expose(), &[b"galen.seal.key.v1", &context.to_bytes()])
    }

    pub(crate) fn nonce_prefix(&self, context: &SealContext) -> [u8; 7] {
        *hkdf(self.expose(), &[b"galen.seal.nonce.v1", &context.to_bytes()])
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// The header of sealed content, as parsed from its 4,096 bytes.
///
/// A parsed header is well formed and nothing more: that it belongs to a record is known once its
/// capsule verifies or its content opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    epoch: u32,
    key_commitment: [u8; 32],
    wraps: Wraps,
}

impl Header {
    pub(crate) const fn new(epoch: u32, key_commitment: [u8; 32], wraps: Wraps) -> Self {
        Self { epoch, key_commitment, wraps }
    }

    /// Reads a header from the first [`HEADER_LEN`] bytes of sealed content.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the bytes are fewer, or are not the one encoding of a header.
    pub fn parse(sealed: &[u8]) -> Result<Self, OpenError> {
        let bytes = sealed.first_chunk::<HEADER_LEN>().ok_or(OpenError)?;
        let header = Self::read(&mut Decoder::new(bytes)).map_err(|_| OpenError)?;
        // One comparison refuses every second text, the padding included.
        if header.to_bytes() == *bytes { Ok(header) } else { Err(OpenError) }
    }

    fn read(reader: &mut Decoder<'_>) -> Result<Self, Malformed> {
        cbor::map(reader, 4)?;
        cbor::key(reader, 0)?;
        cbor::key(reader, FORMAT)?;
        cbor::key(reader, 1)?;
        let epoch = reader.u32()?;
        cbor::key(reader, 2)?;
        let key_commitment = cbor::bytes(reader)?;
        cbor::key(reader, 3)?;
        Ok(Self { epoch, key_commitment, wraps: Wraps::read(reader)? })
    }

    /// The bytes that [`Header::parse`] reads.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let text = cbor::encode(HEADER_LEN, |writer| {
            writer.map(4)?.u8(0)?.u8(FORMAT)?.u8(1)?.u32(self.epoch)?;
            writer.u8(2)?.bytes(&self.key_commitment)?.u8(3)?;
            self.wraps.write(writer)
        });
        let mut bytes = [0; HEADER_LEN];
        bytes[..text.len()].copy_from_slice(&text);
        bytes
    }

    /// SHA-256 of the header's bytes.
    pub fn hash(&self) -> [u8; 32] {
        sha256(&[&self.to_bytes()])
    }

    /// The epoch whose segment keys the segment wrap is for.
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Commits to the data key, see the module documentation.
    pub const fn key_commitment(&self) -> &[u8; 32] {
        &self.key_commitment
    }

    /// Whether the patient's identity key opens the content.
    pub const fn has_identity_wrap(&self) -> bool {
        self.wraps.identity.is_some()
    }

    /// The capsule of the segment wrap, if the content is sealed to a segment.
    pub fn capsule(&self) -> Option<&Capsule> {
        self.wraps.segment.as_ref().map(|wrap| &wrap.capsule)
    }

    /// The data key by the identity wrap.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for every cause.
    pub fn unwrap_identity(
        &self,
        context: &SealContext,
        key: &IdentityKey,
    ) -> Result<DataKey, OpenError> {
        let wrap = self.wraps.identity.as_ref().ok_or(OpenError)?;
        self.checked(context, wrap.open(context, key, &self.key_commitment)?)
    }

    /// The data key by the segment wrap, with the whole secret of the segment. The capsule's proof is
    /// verified first.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for every cause: another segment, another epoch, a capsule of another record.
    pub fn unwrap_segment(
        &self,
        context: &SealContext,
        key: &SegmentKey,
    ) -> Result<DataKey, OpenError> {
        let wrap = self.wraps.segment.as_ref().ok_or(OpenError)?;
        if key.epoch() != self.epoch {
            return Err(OpenError);
        }
        self.checked(context, wrap.open(context, key, &self.key_commitment)?)
    }

    /// Unwraps the data key with a reader's half and the answers of proxies. Answers that are wrong, or not
    /// needed, are passed over.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for every cause, too few right answers among them.
    pub fn unwrap_shared(
        &self,
        context: &SealContext,
        half: &ReaderHalf,
        keys: &ShareKeys,
        answers: &[Answer],
    ) -> Result<DataKey, OpenError> {
        if half.epoch() != self.epoch {
            return Err(OpenError);
        }
        let wrap = self.wraps.segment.as_ref().ok_or(OpenError)?;
        let key = wrap.open_shared(context, half, keys, answers, &self.key_commitment)?;
        self.checked(context, key)
    }

    /// A wrap that opens may still carry another key than the header commits to.
    fn checked(&self, context: &SealContext, key: DataKey) -> Result<DataKey, OpenError> {
        self.check_key(context, &key)?;
        Ok(key)
    }

    pub(crate) fn check_key(&self, context: &SealContext, key: &DataKey) -> Result<(), OpenError> {
        let same = key.commitment(context).ct_eq(&self.key_commitment);
        if same.into() { Ok(()) } else { Err(OpenError) }
    }
}
