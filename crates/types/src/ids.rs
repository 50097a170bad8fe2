//! 32-byte names. Each is its own type, so that none is mistaken for another.

use std::{fmt, str::FromStr};

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use crate::ParseError;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// 32 bytes, written as `0x` and 64 lowercase hex digits.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub B256);

        impl $name {
            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // `B256` alone would shorten itself.
                write!(f, "{:#x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl From<B256> for $name {
            fn from(value: B256) -> Self {
                Self(value)
            }
        }

        impl From<$name> for B256 {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                let error = ParseError { what: $what, expected: "0x and 64 lowercase hex digits" };
                let digits = text.strip_prefix("0x").ok_or_else(|| error.clone())?;
                if digits.len() != 64 || digits.bytes().any(|b| b.is_ascii_uppercase()) {
                    return Err(error);
                }
                digits.parse().map(Self).map_err(|_| error)
            }
        }
    };
}

id!(
    /// One clinical document of one patient by one author in one segment: see [`crate::RecordKey`].
    RecordId,
    "record id"
);
id!(
    /// One state of a record: the EIP-712 struct hash of its [`crate::Leaf`].
    VersionId,
    "version id"
);
id!(
    /// The EIP-712 struct hash of a proposal. Withdrawals and settlements name it.
    ProposalId,
    "proposal id"
);
id!(
    /// Salted commitment to the plaintext of a record; resealing does not change it.
    Commitment,
    "commitment"
);
id!(
    /// A leaf of a patient's consent tree: see [`crate::Consent`].
    ConsentId,
    "consent id"
);
id!(
    /// Hash of a published key bundle.
    KeyBundleId,
    "key bundle id"
);
id!(
    /// 32 random bytes that make a commitment or a consent unguessable.
    Salt,
    "salt"
);

/// The ledger that a signature or a sealed record is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LedgerId {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Address of `HealthLedger` on that chain.
    pub contract: Address,
}

impl fmt::Display for LedgerId {
    /// CAIP-10: `eip155:<chain id>:<address>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "eip155:{}:{:#x}", self.chain_id, self.contract)
    }
}
