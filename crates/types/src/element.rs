//! Elements of documents that are signed by parts.

use alloy_primitives::{B256, b256, keccak256};
use serde::{Deserialize, Serialize};

use crate::Salt;

/// What of a document is shown or hidden as a whole, as the contract hashes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Element {
    /// Makes the leaf unguessable.
    pub salt: Salt,
    /// Unlike that of any other element of the document, never zero.
    pub label: u64,
    /// Label of the element that must be shown with it; zero for none.
    pub parent: u64,
    /// Hash of paths and values.
    pub content: B256,
}

impl Element {
    /// `keccak256("Element(bytes32 salt,uint64 label,uint64 parent,bytes32 content)")`.
    pub const TYPE_HASH: B256 =
        b256!("d54cb4fdc6b2d1bb9afe6759f8d7bc764bee3ad3abaa692bf3cadccaa5e36040");

    /// The leaf: `keccak256(keccak256(abi.encode(TYPE_HASH, salt, label, parent, content)))`.
    ///
    /// Hashed twice, so that no inner node of a tree is a leaf.
    pub fn leaf(&self) -> B256 {
        let mut words = [0; 160];
        words[..32].copy_from_slice(Self::TYPE_HASH.as_slice());
        words[32..64].copy_from_slice(self.salt.as_bytes());
        words[88..96].copy_from_slice(&self.label.to_be_bytes());
        words[120..128].copy_from_slice(&self.parent.to_be_bytes());
        words[128..].copy_from_slice(self.content.as_slice());
        keccak256(keccak256(words))
    }
}
