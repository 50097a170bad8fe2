//! The consent tree: a Merkle tree over the sorted set of live leaves.
//!
//! Leaves stand in ascending order; a node is `keccak256` of its two children, the smaller first; the
//! last node of a level with an odd count moves up unchanged. The contract keeps the first 28 bytes
//! of the root. An empty tree has the root zero.

use std::{collections::BTreeSet, fmt};

use alloy_primitives::{B256, FixedBytes, keccak256};
use serde::{Deserialize, Serialize};

use crate::ConsentId;

/// The part of a consent tree's root that the contract keeps: its first 28 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConsentRoot(pub FixedBytes<28>);

impl fmt::Display for ConsentRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Hash of two nodes, the smaller first.
pub fn hash_pair(a: B256, b: B256) -> B256 {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    keccak256([low.0, high.0].concat())
}

/// The live consents and delegations of one patient.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ConsentTree {
    leaves: BTreeSet<ConsentId>,
}

impl ConsentTree {
    /// Adds a leaf; `false` if it was there.
    pub fn insert(&mut self, leaf: ConsentId) -> bool {
        self.leaves.insert(leaf)
    }

    /// Takes a leaf out; `false` if it was not there.
    pub fn remove(&mut self, leaf: ConsentId) -> bool {
        self.leaves.remove(&leaf)
    }

    /// Whether the leaf is live.
    pub fn contains(&self, leaf: ConsentId) -> bool {
        self.leaves.contains(&leaf)
    }

    /// The live leaves in ascending order.
    pub fn leaves(&self) -> impl ExactSizeIterator<Item = ConsentId> {
        self.leaves.iter().copied()
    }

    /// The root as the contract keeps it.
    pub fn root(&self) -> ConsentRoot {
        let mut level: Vec<B256> = self.leaves.iter().map(|leaf| leaf.0).collect();
        while level.len() > 1 {
            level = next_level(&level);
        }
        level.first().map_or_else(ConsentRoot::default, |root| {
            ConsentRoot(FixedBytes::from_slice(&root[..28]))
        })
    }

    /// The hashes that lead from a live leaf to the root, lowest first; `None` for another leaf.
    pub fn proof(&self, leaf: ConsentId) -> Option<Vec<B256>> {
        let mut at = self.leaves.iter().position(|live| *live == leaf)?;
        let mut level: Vec<B256> = self.leaves.iter().map(|leaf| leaf.0).collect();
        let mut proof = Vec::new();
        while level.len() > 1 {
            if let Some(sibling) = level.get(at ^ 1) {
                proof.push(*sibling);
            }
            level = next_level(&level);
            at /= 2;
        }
        Some(proof)
    }
}

impl FromIterator<ConsentId> for ConsentTree {
    fn from_iter<I: IntoIterator<Item = ConsentId>>(leaves: I) -> Self {
        Self { leaves: leaves.into_iter().collect() }
    }
}

fn next_level(level: &[B256]) -> Vec<B256> {
    level
        .chunks(2)
        .map(|pair| match pair {
            [a, b] => hash_pair(*a, *b),
            _ => pair[0],
        })
        .collect()
}
