//! Where sealed bytes lie.

use std::{fmt, str::FromStr};

use alloy_primitives::B256;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::ParseError;

/// Which addressing the 32 bytes of a [`ContentRef`] follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Store {
    /// Swarm: root of the binary Merkle tree over legacy Keccak-256, redundancy level 0.
    Swarm = 0,
    /// IPFS: SHA-256 of the root block of profile `unixfs-v1-2025`.
    Ipfs = 1,
}

impl Store {
    /// From the number that a leaf carries.
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Swarm),
            1 => Some(Self::Ipfs),
            _ => None,
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Swarm => "swarm:",
            Self::Ipfs => "ipfs:",
        }
    }
}

/// The address of sealed bytes, computed from the bytes themselves.
///
/// Written `swarm:<64 lowercase hex digits>` or `ipfs:<64 lowercase hex digits>` (the digest of the
/// CID); [`FromStr`] reads what [`fmt::Display`] writes and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentRef {
    /// How the digest was computed.
    pub store: Store,
    /// The digest.
    pub digest: B256,
}

impl ContentRef {
    /// A Swarm address.
    pub const fn swarm(digest: B256) -> Self {
        Self { store: Store::Swarm, digest }
    }

    /// An IPFS address: the digest of a CID of profile `unixfs-v1-2025`.
    pub const fn ipfs(digest: B256) -> Self {
        Self { store: Store::Ipfs, digest }
    }
}

impl fmt::Display for ContentRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:x}", self.store.prefix(), self.digest)
    }
}

impl fmt::Debug for ContentRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentRef({self})")
    }
}

impl FromStr for ContentRef {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError {
            what: "content reference",
            expected: "swarm: or ipfs: and 64 lowercase hex digits",
        };
        for store in [Store::Swarm, Store::Ipfs] {
            if let Some(digits) = text.strip_prefix(store.prefix()) {
                let lowercase = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
                if digits.len() != 64 || !digits.bytes().all(lowercase) {
                    return Err(error());
                }
                return digits.parse().map(|digest| Self { store, digest }).map_err(|_| error());
            }
        }
        Err(error())
    }
}

impl Serialize for ContentRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
