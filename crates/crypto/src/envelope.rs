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
//!          [ [proxy, URL], … ], issued,
//!          [ [segment, epoch, category, secret (64)], … ] ]                if there are no proxies
//!      or  [ [segment, epoch, category, half (64), share keys], … ]        if there are
//! wire = { 0: 1, 1: chain id, 2: contract, 3: patient, 4: grantee, 5: consent leaf, 6: epoch,
//!          7: recipient key hash, 8: enc, 9: ct, 10: siblings, 11: deadline, 12: signature }
//! ```
//!
//! Keys ascend by segment and epoch, 1 to 256 of them; the epoch in clear is the highest. `secret` is scalar (32,
//! little endian) ‖ X-Wing seed (32); `half` and `share keys` are those of [`crate::proxy`]. A proxy's number is its
//! place in the list plus one; a URL is of http or https, at most 200 printable ASCII characters.
//!
//! # Share envelope
//!
//! ```text
//! info = "galen.envelope.share.v1" ‖ as a grant, with the proxy in place of the grantee
//! text = [ grantee, issued, expiry, oldest epoch, store u8 ‖ digest of the grant envelope or null, offer or null,
//!          [ [segment, epoch, index, share (32), share keys, kem], … ] ]
//! kem  = [ index u8 ‖ piece (32), digests ]          if the grantee is zero, else null
//! wire = { 0: 4, … }                                 as a grant, with the proxy in place of the grantee
//! ```
//!
//! # Piece envelope
//!
//! ```text
//! info = "galen.envelope.piece.v1" ‖ chain id u64 ‖ contract (20) ‖ id (20) ‖ holder (20)
//!        ‖ commitment to the guardians (32) ‖ half u32 ‖ recipient key hash (32)
//! text = [ index u8 ‖ piece (32), digests, [ [guardian, …], threshold, final threshold, salt (32), delay ],
//!          keccak256 of the id's identity public key, halves, [ [proxy, URL], … ], issued ]
//! wire = { 0: 5, 1: chain id, 2: contract, 3: id, 4: holder, 5: commitment, 6: half, … }     as a grant
//! ```
//!
//! # Siblings
//!
//! One signature may stand for many envelopes: each carries the leaves of all, 32 bytes each, at most
//! [`MAX_SIBLINGS`], in the order in which they were signed (`Sharing`, or `Pieces` with the commitment as scope).
//!
//! ```text
//! leaf = keccak256(scope (32) ‖ 12 zero bytes ‖ holder (20) ‖ recipient key hash (32) ‖ ciphertext hash (32))
//! ```
//!
//! # Note
//!
//! ```text
//! info = "galen.note.v1" ‖ recipient key hash (32) ‖ length of the label u64 ‖ label ‖ place
//! text = length u32 ‖ bytes ‖ zero bytes up to a power of two, at least 1,024
//! wire = enc (1120) ‖ ct
//! ```
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
mod note;
mod parcel;
mod piece;
pub(crate) mod place;
mod reply;
mod share;

use alloy_primitives::{B256, Keccak256};
use galen_types::LedgerId;
use minicbor::Decoder;
use zeroize::Zeroizing;

pub use contact::{ContactEnvelope, ContactTerms};
pub use grant::{GrantEnvelope, GrantTerms, GrantText, GrantedKey, GrantedSegment};
pub use note::{MAX_NOTE_LEN, open_note, seal_note};
pub use piece::{GuardianTerms, PieceEnvelope, PieceTerms, PieceText};
pub use place::{MAX_URL_LEN, ProxyPlace};
pub use reply::{MAX_REPLY_LEN, ReplyEnvelope, ReplyTerms};
pub use share::{ShareEnvelope, ShareTerms, ShareText, SharedSegment};

use crate::{
    Error, IdentityKey, IdentityPublic, OpenError,
    cbor::{self, Malformed, Writer, Written},
    hpke_box::HpkeBox,
};

/// Most bytes of an envelope on the wire.
pub const MAX_ENVELOPE_LEN: usize = 1 << 17;
/// Most bytes of a signature: an ERC-1271 wallet may want many more than 65.
pub const MAX_SIGNATURE_LEN: usize = 4096;
/// Most envelopes that one signature stands for.
pub const MAX_SIBLINGS: usize = 1024;

/// Shortest padded text, in bytes.
const MIN_TEXT_LEN: usize = 1024;
/// Longest padded text: more than 256 keys that two of three proxies share.
const MAX_TEXT_LEN: usize = 65_536;

fn seal_text(to: &IdentityPublic, info: &[u8], text: Zeroizing<Vec<u8>>) -> Result<HpkeBox, Error> {
    if text.len() > MAX_TEXT_LEN {
        return Err(Error::Terms { fault: "more than an envelope holds" });
    }
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

pub(crate) fn write_ledger(writer: &mut Writer<'_>, ledger: &LedgerId) -> Written {
    writer.u8(1)?.u64(ledger.chain_id)?.u8(2)?.bytes(ledger.contract.as_slice())?.ok()
}

pub(crate) fn read_ledger(reader: &mut Decoder<'_>) -> Result<LedgerId, Malformed> {
    cbor::key(reader, 1)?;
    let chain_id = reader.u64()?;
    Ok(LedgerId { chain_id, contract: read_bytes(reader, 2)?.into() })
}

/// A key of a map and the byte string under it.
pub(crate) fn read_bytes<const N: usize>(
    reader: &mut Decoder<'_>,
    key: u8,
) -> Result<[u8; N], Malformed> {
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
pub(crate) fn decode<'b, T>(
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
