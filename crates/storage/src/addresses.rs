//! The two addresses of one content.

use alloy_primitives::B256;
use galen_types::{ContentRef, Store};

/// What the same bytes are called on Swarm and on IPFS, and how many they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Addresses {
    /// Root of the Swarm tree.
    pub swarm: B256,
    /// SHA-256 of the root block by profile `unixfs-v1-2025`.
    pub ipfs: B256,
    /// Length of the content in bytes.
    pub len: u64,
}

impl Addresses {
    /// The address of one kind.
    pub const fn of(&self, store: Store) -> ContentRef {
        let digest = match store {
            Store::Swarm => self.swarm,
            Store::Ipfs => self.ipfs,
        };
        ContentRef { store, digest }
    }

    /// Whether one of the two is this.
    pub fn include(&self, at: &ContentRef) -> bool {
        self.of(at.store) == *at
    }
}
