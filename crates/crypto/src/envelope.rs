//! Envelopes: keys and maps on their way to one reader.
//!
//! All kinds are HPKE (RFC 9180), base mode, X-Wing, HKDF-SHA256, AES-256-GCM, to the recipient's
//! identity key, `aad` empty. Base mode authenticates nobody, so all carry a signature of the patient's
//! controller and its deadline, which this crate keeps and does not judge: the signed struct holds the
//! recipient's key hash and [`GrantEnvelope::ciphertext_hash`]. All clear fields but deadline and
//! signature are in `info`; so an envelope with another patient, consent or epoch does not open.
//!
//! ```text
//! ciphertext hash = keccak256(enc (1120) ‖ ct)
//! ```
//!
//! # Grant envelope
//!
//! ```text
//! info = "galen.envelope.grant.v1" ‖ chain id u64 ‖ contract (20) ‖ patient (20) ‖ grantee (20)
//!        ‖ consent leaf (32) ‖ epoch u32 ‖ recipient key hash (32)
//! text = [ [segments (32), purposes, not before, expiry, salt (32)],      the opening of the consent
//!          [ [segment, category, secret (64)], … ] ]     ascending by segment, 1..=256 entries
//! wire = { 0: 1, 1: chain id, 2: contract, 3: patient, 4: grantee, 5: consent leaf, 6: epoch,
//!          7: recipient key hash, 8: enc, 9: ct, 10: deadline, 11: signature }
//! ```
//!
//! `secret` is scalar (32, little endian) ‖ X-Wing seed (32) of the segment in that epoch.
//!
//! # Contact envelope
//!
//! ```text
//! info = "galen.envelope.contact.v1" ‖ chain id u64 ‖ contract (20) ‖ patient (20) ‖ author (20)
//!        ‖ key bundle id (32) ‖ recipient key hash (32)
//! text = [ [category, segment], … ]                   ascending by category, no segment twice
//! wire = { 0: 2, 1: chain id, 2: contract, 3: patient, 4: author, 5: key bundle id,
//!          6: recipient key hash, 7: enc, 8: ct, 9: deadline, 10: signature }
//! ```
//!
//! # Reply
//!
//! ```text
//! info = "galen.envelope.reply.v1" ‖ chain id u64 ‖ contract (20) ‖ patient (20) ‖ author (20)
//!        ‖ proposal (32) ‖ leaves as bits (32) ‖ kind (1) ‖ recipient key hash (32)
//! text = words, 1 to 4,000 bytes of UTF-8
//! wire = { 0: 3, 1: chain id, 2: contract, 3: patient, 4: author, 5: proposal, 6: leaves, 7: kind,
//!          8: recipient key hash, 9: enc, 10: ct, 11: deadline, 12: signature }
//! ```
//!
//! `text` and `wire` are deterministic CBOR (RFC 8949, section 4.2.1). Before encryption `text` is
//! followed by zero bytes up to the next power of two, at least 1,024, so that the length tells little of
//! how much was granted. Second texts are refused. A wire form has at most [`MAX_ENVELOPE_LEN`] bytes, a
//! signature at most [`MAX_SIGNATURE_LEN`].

mod contact;
mod grant;
mod reply;

use alloy_primitives::{B256, Keccak256};
use galen_types::LedgerId;
use minicbor::Decoder;
use zeroize::Zeroizing;

pub use contact::{ContactEnvelope, ContactTerms};
pub use grant::{GrantEnvelope, GrantTerms, GrantedSegment};
pub use reply::{MAX_REPLY_LEN, ReplyEnvelope, ReplyTerms};

use crate::{
    Error, IdentityKey, IdentityPublic, OpenError,
    cbor::{self, Malformed, Writer, Written},
    hpke_box::HpkeBox,
};

/// Most bytes of an envelope on the wire.
pub const MAX_ENVELOPE_LEN: usize = 1 << 16;
/// Most bytes of a signature: an ERC-1271 wallet may want many more than 65.
pub const MAX_SIGNATURE_LEN: usize = 4096;

/// Shortest padded text, in bytes.
const MIN_TEXT_LEN: usize = 1024;
/// Longest padded text: 256 entries of at most 71 bytes, and a consent.
const MAX_TEXT_LEN: usize = 32_768;

fn seal_text(to: &IdentityPublic, info: &[u8], text: Zeroizing<Vec<u8>>) -> Result<HpkeBox, Error> {
    let mut padded = Zeroizing::new(vec![0; padded_len(text.len())]);
    padded[..text.len()].copy_from_slice(&text);
    HpkeBox::seal(to, info, &[], &padded)
}

/// Opens a box and reads its text. `encode` makes the one text of what was read.
fn open_text<T>(
    sealed: &HpkeBox,
    key: &IdentityKey,
    info: &[u8],
    read: impl FnOnce(&mut Decoder<'_>) -> Result<T, Malformed>,
    encode: impl FnOnce(&T) -> Zeroizing<Vec<u8>>,
) -> Result<T, OpenError> {
    let padded = sealed.open(key, info, &[])?;
    let value = read(&mut Decoder::new(&padded)).map_err(|_| OpenError)?;
    let text = encode(&value);
    let (start, padding) = padded.split_at_checked(text.len()).ok_or(OpenError)?;
    let one_text = *start == **text && padding.iter().all(|byte| *byte == 0);
    if one_text && padded.len() == padded_len(text.len()) { Ok(value) } else { Err(OpenError) }
}

fn padded_len(len: usize) -> usize {
    len.next_power_of_two().max(MIN_TEXT_LEN)
}

fn ciphertext_hash(sealed: &HpkeBox) -> B256 {
    let mut hash = Keccak256::new();
    hash.update(sealed.enc);
    hash.update(&sealed.ciphertext);
    hash.finalize()
}

fn write_ledger(writer: &mut Writer<'_>, ledger: &LedgerId) -> Written {
    writer.u8(1)?.u64(ledger.chain_id)?.u8(2)?.bytes(ledger.contract.as_slice())?.ok()
}

fn read_ledger(reader: &mut Decoder<'_>) -> Result<LedgerId, Malformed> {
    cbor::key(reader, 1)?;
    let chain_id = reader.u64()?;
    Ok(LedgerId { chain_id, contract: read_bytes(reader, 2)?.into() })
}

/// A key of a map and the byte string under it.
fn read_bytes<const N: usize>(reader: &mut Decoder<'_>, key: u8) -> Result<[u8; N], Malformed> {
    cbor::key(reader, key)?;
    cbor::bytes(reader)
}

fn read_box(reader: &mut Decoder<'_>, key: u8) -> Result<HpkeBox, Malformed> {
    let enc = read_bytes(reader, key)?;
    cbor::key(reader, key + 1)?;
    let sealed = HpkeBox { enc, ciphertext: reader.bytes()?.to_vec() };
    match sealed.plaintext_len() {
        Some(MIN_TEXT_LEN..=MAX_TEXT_LEN) => Ok(sealed),
        _ => Err(Malformed),
    }
}

fn read_signature(reader: &mut Decoder<'_>, key: u8) -> Result<(u64, Vec<u8>), Malformed> {
    cbor::key(reader, key)?;
    let deadline = reader.u64()?;
    cbor::key(reader, key + 1)?;
    let signature = reader.bytes()?;
    if signature.len() > MAX_SIGNATURE_LEN {
        Err(Malformed)
    } else {
        Ok((deadline, signature.to_vec()))
    }
}

/// Decodes a wire form within its limit.
fn decode<'b, T>(
    what: &'static str,
    bytes: &'b [u8],
    read: impl FnOnce(&mut Decoder<'b>) -> Result<T, Malformed>,
    encode: impl FnOnce(&T) -> Vec<u8>,
) -> Result<T, Error> {
    if bytes.len() > MAX_ENVELOPE_LEN {
        return Err(Error::Malformed { what });
    }
    cbor::decode_whole(bytes, read, encode).map_err(|_| Error::Malformed { what })
}
