//! What is drawn from a seed, and how elements are hashed.

use std::fmt;

use alloy_primitives::{B256, keccak256};
use galen_types::{Element, Salt};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Where all salts, labels and decoys of one document come from: 32 random bytes, new for each document.
///
/// As secret as the document: with it, any guess at a hidden value can be tested. Wiped when dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Seed([u8; 32]);

/// What a number is drawn for; each has its own stream.
#[derive(Clone, Copy)]
pub(super) enum Draw {
    Salt,
    Label,
    Ordinal,
    Decoy,
    Slot,
}

impl Seed {
    /// Takes over the bytes, which must be random.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for code that stores them beside the document.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// `keccak256(seed ‖ tag ‖ index)`.
    pub(super) fn draw(&self, what: Draw, index: usize) -> B256 {
        let tag: &[u8] = match what {
            Draw::Salt => b"galen.parts.salt",
            Draw::Label => b"galen.parts.label",
            Draw::Ordinal => b"galen.parts.ordinal",
            Draw::Decoy => b"galen.parts.decoy",
            Draw::Slot => b"galen.parts.slot",
        };
        let mut input = Zeroizing::new([0; 32 + 19 + 8]);
        let len = 32 + tag.len() + 8;
        input[..32].copy_from_slice(&self.0);
        input[32..32 + tag.len()].copy_from_slice(tag);
        input[32 + tag.len()..len].copy_from_slice(&(index as u64).to_be_bytes());
        keccak256(&input[..len])
    }

    /// The first 8 bytes of a draw.
    pub(super) fn number(&self, what: Draw, index: usize) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.draw(what, index).0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// How far an item's ordinal lies behind the one before: `2^60 / r^3`, with `r` uniform in 1 to 2^20.
    ///
    /// The tail is so heavy that a sum of many gaps is about as large as its largest: what a gap tells of the
    /// number of items in it is the same vague thing whether they are two or ten thousand.
    pub(super) fn gap(&self, item: usize) -> u128 {
        const RANGE: u64 = 1 << 20;
        let r = u128::from(self.number(Draw::Ordinal, item) % RANGE + 1);
        (1 << 60) / (r * r * r)
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// Collects the fragments of one element.
#[derive(Default)]
pub(super) struct Content(Zeroizing<Vec<u8>>);

impl Content {
    /// Adds a fragment: length and bytes of its path, length and bytes of its value.
    pub(super) fn add(&mut self, path: &str, value: &[u8]) {
        for part in [path.as_bytes(), value] {
            let len = u32::try_from(part.len()).expect("inputs are shorter than 4 GiB");
            self.0.extend_from_slice(&len.to_be_bytes());
            self.0.extend_from_slice(part);
        }
    }

    /// The hash of the fragments, and an empty beginning for the next element.
    pub(super) fn finish(&mut self) -> B256 {
        let hash = keccak256(&*self.0);
        self.0.clear();
        hash
    }
}

/// A leaf, as the contract hashes it.
pub(super) fn leaf(salt: B256, label: u64, parent: u64, content: B256) -> B256 {
    Element { salt: Salt(salt), label, parent, content }.leaf()
}

/// The node above two, the smaller first; as [`galen_types::hash_pair`], without its allocation.
pub(super) fn node(a: B256, b: B256) -> B256 {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    let mut both = [0; 64];
    both[..32].copy_from_slice(&low.0);
    both[32..].copy_from_slice(&high.0);
    keccak256(both)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_is_that_of_all_trees_of_galen() {
        let (a, b) = (keccak256("a"), keccak256("b"));
        assert_eq!(node(a, b), galen_types::hash_pair(b, a));
    }

    /// Both leave and enter the same count of gaps, and say so only roughly: the tail, not the mean, decides.
    #[test]
    fn gap_is_at_least_one_and_heavy() {
        let seed = Seed::new([3; 32]);
        let gaps: Vec<u128> = (0..20_000).map(|item| seed.gap(item)).collect();
        assert!(gaps.iter().all(|gap| (1..=1 << 60).contains(gap)));
        let share = |limit: u128| gaps.iter().filter(|gap| **gap > limit).count();
        // P(gap > t) = t^(-1/3): a half beyond 8, a quarter beyond 64, an eighth beyond 512.
        for (limit, expected) in [(8, 10_000), (64, 5_000), (512, 2_500), (1 << 30, 20)] {
            let found = share(limit);
            assert!(found.abs_diff(expected) < 500, "{found} beyond {limit}");
        }
    }
}
