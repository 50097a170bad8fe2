//! Content identifiers, of the one kind that the profile knows.

use std::{fmt, str::FromStr};

use alloy_primitives::B256;
use aws_lc_rs::digest;
use data_encoding::BASE32_NOPAD;
use galen_types::ParseError;

/// Bytes of a CID: version, codec, hash function, length of the digest, digest.
pub const CID_LEN: usize = 36;

const VERSION: u8 = 1;
const SHA2_256: u8 = 0x12;
const DIGEST_LEN: u8 = 32;
/// Multibase prefix of lowercase base32 without padding.
const BASE32: char = 'b';

/// What the bytes of a block are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Codec {
    /// Bytes of the content itself: a leaf. CIDs begin with `bafk`.
    Raw = 0x55,
    /// A node with links to the nodes below it. CIDs begin with `bafy`.
    DagPb = 0x70,
}

/// Name of one block: CIDv1 with SHA-256.
///
/// | bytes | content |
/// |---|---|
/// | 0 | version, 1 |
/// | 1 | codec: 0x55 raw, 0x70 dag-pb |
/// | 2 | hash function: 0x12, SHA-256 |
/// | 3 | length of the digest, 32 |
/// | 4..36 | SHA-256 of the block |
///
/// Written as `b` and the 36 bytes in lowercase base32 (RFC 4648) without padding; [`FromStr`] reads what
/// [`fmt::Display`] writes and nothing else.
///
/// Source: multiformats/cid, multiformats/multicodec.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cid {
    /// What the block is.
    pub codec: Codec,
    /// SHA-256 of the block.
    pub digest: B256,
}

impl Cid {
    /// The name of a raw block with this digest.
    pub const fn raw(digest: B256) -> Self {
        Self { codec: Codec::Raw, digest }
    }

    /// The name of a node with this digest.
    pub const fn dag_pb(digest: B256) -> Self {
        Self { codec: Codec::DagPb, digest }
    }

    /// The name of a block that is in memory.
    pub fn of(codec: Codec, block: &[u8]) -> Self {
        Self { codec, digest: sha256(block) }
    }

    /// Whether a block is the one that is named.
    pub fn names(&self, block: &[u8]) -> bool {
        sha256(block) == self.digest
    }

    /// The binary form, as links and archives (CAR) carry it.
    pub fn to_bytes(self) -> [u8; CID_LEN] {
        let mut bytes = [0; CID_LEN];
        bytes[..4].copy_from_slice(&[VERSION, self.codec as u8, SHA2_256, DIGEST_LEN]);
        bytes[4..].copy_from_slice(self.digest.as_slice());
        bytes
    }

    /// From the binary form; `None` for any other kind of CID.
    pub fn from_bytes(bytes: &[u8; CID_LEN]) -> Option<Self> {
        let (head, digest) = bytes.split_at(4);
        let digest = B256::from_slice(digest);
        [Self::raw(digest), Self::dag_pb(digest)]
            .into_iter()
            .find(|cid| cid.to_bytes()[..4] == *head)
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{BASE32}{}", BASE32_NOPAD.encode(&self.to_bytes()).to_ascii_lowercase())
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cid({self})")
    }
}

impl FromStr for Cid {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parse = || {
            let digits = text.strip_prefix(BASE32)?;
            if digits.bytes().any(|digit| digit.is_ascii_uppercase()) {
                return None;
            }
            let bytes = BASE32_NOPAD.decode(digits.to_ascii_uppercase().as_bytes()).ok()?;
            Self::from_bytes(bytes.as_slice().try_into().ok()?)
        };
        parse().ok_or(ParseError {
            what: "CID",
            expected: "a CIDv1 in lowercase base32 of a raw or dag-pb block with SHA-256",
        })
    }
}

/// SHA-256 (FIPS 180-4).
pub(super) fn sha256(bytes: &[u8]) -> B256 {
    B256::from_slice(digest::digest(&digest::SHA256, bytes).as_ref())
}
