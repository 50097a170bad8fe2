//! Consents and delegations: the leaves of a patient's consent tree.

use alloy_primitives::{Address, B256, b256, keccak256};
use serde::{Deserialize, Serialize};

use crate::{ConsentId, PurposeSet, Salt, SegmentSet};

/// What a patient lets one grantee read, why and when. Known on chain only by its salted hash until
/// it is first used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Consent {
    /// Who may read; zero means every active organization.
    pub grantee: Address,
    /// What may be read.
    pub segments: SegmentSet,
    /// Why it may be read.
    pub purposes: PurposeSet,
    /// First Unix second at which the consent holds.
    pub not_before: u64,
    /// First Unix second at which it no longer holds.
    pub expiry: u64,
    /// Makes the leaf unguessable.
    pub salt: Salt,
}

impl Consent {
    /// `keccak256("Consent(address grantee,uint256 segments,uint32 purposes,uint48 notBefore,uint48 expiry,bytes32 salt)")`.
    pub const TYPE_HASH: B256 =
        b256!("b63bda4aeb83cb71af65207ba3c4178c749aeb6df850ba511f77b5ec48ba784e");

    /// The leaf: `keccak256(keccak256(abi.encode(TYPE_HASH, terms…)))`.
    ///
    /// Hashed twice, so that no inner node of a tree is a leaf.
    pub fn id(&self) -> ConsentId {
        let mut words = [0; 224];
        words[..32].copy_from_slice(Self::TYPE_HASH.as_slice());
        words[44..64].copy_from_slice(self.grantee.as_slice());
        words[64..96].copy_from_slice(&self.segments.0.to_be_bytes::<32>());
        words[124..128].copy_from_slice(&self.purposes.0.to_be_bytes());
        words[152..160].copy_from_slice(&self.not_before.to_be_bytes());
        words[184..192].copy_from_slice(&self.expiry.to_be_bytes());
        words[192..].copy_from_slice(self.salt.as_bytes());
        ConsentId(keccak256(keccak256(words)))
    }

    /// Whether the consent holds at a block time, in Unix seconds.
    pub const fn holds_at(&self, time: u64) -> bool {
        self.not_before <= time && time < self.expiry
    }

    /// Whether every active organization may use the consent.
    pub fn is_network(&self) -> bool {
        self.grantee == Address::ZERO
    }
}

/// What a delegate (a parent, a carer) may sign in the patient's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Power {
    /// Answer proposals.
    Settle = 0,
    /// Change consents, which includes naming further delegates.
    Consent = 1,
    /// Reseal content.
    Reseal = 2,
}

/// A set of powers: bit `n` stands for the power with that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PowerSet(pub u32);

impl FromIterator<Power> for PowerSet {
    fn from_iter<I: IntoIterator<Item = Power>>(powers: I) -> Self {
        Self(powers.into_iter().fold(0, |bits, power| bits | 1 << power as u8))
    }
}

/// A delegation: a leaf of the same tree as the consents, with its own kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DelegateTerms {
    /// Who may sign.
    pub delegate: Address,
    /// What may be signed.
    pub powers: PowerSet,
    /// First Unix second at which the delegation holds.
    pub not_before: u64,
    /// First Unix second at which it no longer holds.
    pub expiry: u64,
    /// Makes the leaf unguessable.
    pub salt: Salt,
}

impl DelegateTerms {
    /// `keccak256("Delegate(address delegate,uint32 powers,uint48 notBefore,uint48 expiry,bytes32 salt)")`.
    pub const TYPE_HASH: B256 =
        b256!("6956f484130fdae83780de563b1936455d8440d0a7dbf826b7a9028c1646c9b3");

    /// The leaf, hashed like [`Consent::id`].
    pub fn id(&self) -> ConsentId {
        let mut words = [0; 192];
        words[..32].copy_from_slice(Self::TYPE_HASH.as_slice());
        words[44..64].copy_from_slice(self.delegate.as_slice());
        words[92..96].copy_from_slice(&self.powers.0.to_be_bytes());
        words[120..128].copy_from_slice(&self.not_before.to_be_bytes());
        words[152..160].copy_from_slice(&self.expiry.to_be_bytes());
        words[160..].copy_from_slice(self.salt.as_bytes());
        ConsentId(keccak256(keccak256(words)))
    }
}
