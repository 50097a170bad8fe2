//! Sealed content: a payload of any size and type, encrypted to the recipients of one record.
//!
//! # Bytes
//!
//! | sealed bytes | content |
//! |---|---|
//! | 0..4096 | header, see [`crate::header`] |
//! | 4096 + 65536·n .. | block n: 65,520 bytes of ciphertext and a tag of 16; the last block may be shorter |
//!
//! The blocks are STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015) over AES-256-GCM, with the content
//! key and nonce prefix of the key schedule in [`crate::header`]:
//!
//! ```text
//! nonce (12) = nonce prefix (7) ‖ n u32 ‖ last u8             last is 1 for the last block, else 0
//! aad  (129) = context (92) ‖ header hash (32) ‖ n u32 ‖ last u8
//! context    = chain id u64 ‖ contract (20) ‖ record id (32) ‖ commitment (32)
//! ```
//!
//! The plaintext of the blocks, joined, is `preamble ‖ payload ‖ zero bytes`:
//!
//! | preamble bytes | content |
//! |---|---|
//! | 0..32 | salt |
//! | 32..40 | payload length, u64 |
//! | 40 | length m of the media type, 1..=127 |
//! | 41..41+m | media type: ASCII 0x20..=0x7e |
//!
//! With L the length of preamble and payload, the plaintext has the Padmé length of L (Nikitin et al.
//! 2019): with e = ⌊log2 L⌋ and s = ⌊log2 e⌋ + 1, L rounded up to a multiple of 2^(e-s). Every block but
//! the last is full, and the last holds at least one byte. So payload and media type decide the sealed
//! length, and a reader refuses any other length, padding that is not zero, and a payload longer than
//! [`MAX_PAYLOAD_LEN`].
//!
//! # Commitment
//!
//! ```text
//! keccak256( keccak256("galen.commitment.v1") ‖ salt ‖ SHA-256(payload) ‖ payload length u64 ‖ media type )
//! ```
//!
//! It stands on chain and is part of `context`, so it is known before sealing: the payload is read
//! twice. Resealing keeps salt, payload and media type, so the commitment stays.
//!
//! # What each way of opening proves
//!
//! - [`open`] returns nothing unless header, every block, padding and commitment are right.
//! - [`Opener::open_to`] writes the bytes of each block once that block is verified and never a byte of
//!   a bad block; that the whole is complete and matches the commitment is known when it returns `Ok`.
//! - [`Opener::open_range`] proves that whoever sealed the content put these bytes at this place, and
//!   no more: everybody who can read the record has its data key. Only reading the whole checks the
//!   commitment, that is, what author and patient signed.

mod commitment;
mod fingerprint;
mod layout;
mod open;
mod range;
mod seal;
mod stream;

use alloy_primitives::B256;
use galen_types::{Commitment, LedgerId, RecordId, Salt};

pub use commitment::{Committed, MediaType, commit, commitment};
pub use layout::Layout;
pub use open::{Manifest, OpenKey, Opened, Opener, open};
pub use range::RangePlan;
pub use seal::{SealRequest, seal, seal_bytes, seal_with_key};

use crate::{Error, HEADER_LEN, primitives};

/// Plaintext bytes of a full block.
pub const BLOCK_LEN: usize = 65_520;
/// Bytes of a full block on the wire: 16 Swarm chunks.
pub const SEALED_BLOCK_LEN: usize = BLOCK_LEN + primitives::TAG_LEN;
/// Longest payload, in bytes: 1 TiB. The block counter would last for 256.
pub const MAX_PAYLOAD_LEN: u64 = 1 << 40;

/// Length of [`SealContext::to_bytes`].
const CONTEXT_LEN: usize = 92;

/// What sealed content is bound to: elsewhere it does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SealContext {
    /// The ledger that the record is anchored on.
    pub ledger: LedgerId,
    /// The record.
    pub record: RecordId,
    /// The commitment to the payload, as on chain.
    pub commitment: Commitment,
}

impl SealContext {
    /// | bytes | content |
    /// |---|---|
    /// | 0..8 | chain id, big endian |
    /// | 8..28 | address of the ledger |
    /// | 28..60 | record id |
    /// | 60..92 | commitment |
    pub fn to_bytes(&self) -> [u8; CONTEXT_LEN] {
        let mut bytes = [0; CONTEXT_LEN];
        bytes[..8].copy_from_slice(&self.ledger.chain_id.to_be_bytes());
        bytes[8..28].copy_from_slice(self.ledger.contract.as_slice());
        bytes[28..60].copy_from_slice(self.record.as_bytes());
        bytes[60..].copy_from_slice(self.commitment.as_bytes());
        bytes
    }
}

/// A fresh salt for a commitment or a consent.
///
/// # Errors
///
/// [`Error::Randomness`] if the operating system gives none.
pub fn random_salt() -> Result<Salt, Error> {
    primitives::random().map(|bytes| Salt(B256::new(*bytes)))
}

/// The header's length as an offset into sealed bytes.
const BODY_START: u64 = HEADER_LEN as u64;
