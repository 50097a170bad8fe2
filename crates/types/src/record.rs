//! Records and their versions, hashed as the contract hashes them.

use alloy_primitives::{Address, B256, U256, b256, keccak256};
use serde::{Deserialize, Serialize};

use crate::{Commitment, ContentRef, RecordId, Segment, Store, VersionId};

/// The preimage of a [`RecordId`]. A record never changes patient, author or segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordKey {
    /// Pseudonym of the patient.
    pub patient: Address,
    /// Organization that signs the record.
    pub author: Address,
    /// Compartment of the chart.
    pub segment: Segment,
    /// Chosen by the author; unique for the three values above.
    pub number: u64,
}

impl RecordKey {
    /// `keccak256(abi.encode(patient, author, segment, number))`.
    pub fn id(&self) -> RecordId {
        let mut words = [0; 128];
        words[12..32].copy_from_slice(self.patient.as_slice());
        words[44..64].copy_from_slice(self.author.as_slice());
        words[95] = self.segment.0;
        words[120..128].copy_from_slice(&self.number.to_be_bytes());
        RecordId(keccak256(words))
    }
}

/// What a version does to its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum LeafKind {
    /// The first version.
    New = 0,
    /// Replaces an accepted version.
    Amendment = 1,
    /// Ends the record; nothing follows an accepted retraction.
    Retraction = 2,
}

impl LeafKind {
    /// From the number that a leaf carries.
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::New),
            1 => Some(Self::Amendment),
            2 => Some(Self::Retraction),
            _ => None,
        }
    }
}

/// One version of a record, as an author proposes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Leaf {
    /// What the version does.
    pub kind: LeafKind,
    /// Compartment of the chart.
    pub segment: Segment,
    /// Number of the record, see [`RecordKey`].
    pub number: u64,
    /// Where the sealed content lies.
    pub content: ContentRef,
    /// Salted commitment to the plaintext.
    pub commitment: Commitment,
    /// The version that this one follows; zero for a new record.
    pub previous: VersionId,
}

impl Leaf {
    /// `keccak256("Leaf(uint8 kind,uint8 segment,uint64 number,uint8 store,bytes32 content,bytes32 commitment,bytes32 previous)")`.
    pub const TYPE_HASH: B256 =
        b256!("13d6a7e58e1a855c00015c7391d3dda38c490c963dab99bd29f07969c8a944d0");

    /// The EIP-712 struct hash, which names the version.
    pub fn version(&self) -> VersionId {
        let mut words = [0; 256];
        words[..32].copy_from_slice(Self::TYPE_HASH.as_slice());
        words[63] = self.kind as u8;
        words[95] = self.segment.0;
        words[120..128].copy_from_slice(&self.number.to_be_bytes());
        words[159] = self.content.store as u8;
        words[160..192].copy_from_slice(self.content.digest.as_slice());
        words[192..224].copy_from_slice(self.commitment.as_bytes());
        words[224..].copy_from_slice(self.previous.as_bytes());
        VersionId(keccak256(words))
    }

    /// The first word of a leaf on the wire.
    ///
    /// | bits | content |
    /// |---|---|
    /// | 0..64 | number |
    /// | 64..72 | segment |
    /// | 72..80 | kind |
    /// | 80..88 | store |
    /// | 88..256 | zero |
    pub fn header(&self) -> U256 {
        let high =
            u64::from(self.segment.0) | (self.kind as u64) << 8 | (self.content.store as u64) << 16;
        U256::from_limbs([self.number, high, 0, 0])
    }

    /// Reads the four words that an event carries. `None` if the header has a bit that means nothing.
    pub fn from_words(
        header: U256,
        content: B256,
        commitment: B256,
        previous: B256,
    ) -> Option<Self> {
        let [number, high, 0, 0] = header.into_limbs() else { return None };
        let [segment, kind, store, 0, 0, 0, 0, 0] = high.to_le_bytes() else { return None };
        Some(Self {
            kind: LeafKind::from_u8(kind)?,
            segment: Segment(segment),
            number,
            content: ContentRef { store: Store::from_u8(store)?, digest: content },
            commitment: Commitment(commitment),
            previous: VersionId(previous),
        })
    }

    /// The record of this leaf under a patient and an author.
    pub const fn key(&self, patient: Address, author: Address) -> RecordKey {
        RecordKey { patient, author, segment: self.segment, number: self.number }
    }
}
