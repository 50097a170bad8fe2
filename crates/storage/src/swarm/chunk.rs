//! The address of one chunk: a binary Merkle tree over 128 segments of 32 bytes.

use std::sync::LazyLock;

use alloy_primitives::B256;
use tiny_keccak::keccakf;

/// Largest payload of a chunk, in bytes.
pub const CHUNK_LEN: usize = 4096;

const SEGMENT_LEN: usize = 32;
const PAIR_LEN: usize = 2 * SEGMENT_LEN;
/// Levels of hashing from 128 segments to the root.
const LEVELS: usize = 7;
/// Rate of Keccak-256 in 64-bit words; the last of them takes the end of the padding.
const RATE_WORDS: usize = 17;

/// Root of a subtree of nothing but zero bytes, by its height in levels.
static ZERO_ROOTS: LazyLock<[[u8; SEGMENT_LEN]; LEVELS]> = LazyLock::new(|| {
    let mut roots = [[0; SEGMENT_LEN]; LEVELS];
    for height in 1..LEVELS {
        let child = roots[height - 1];
        roots[height] = keccak256::<8>([child, child].as_flattened());
    }
    roots
});

/// `keccak256(span ‖ root)`, with the span in little endian and the root of the payload, which counts as
/// filled up with zero bytes to [`CHUNK_LEN`].
///
/// # Panics
///
/// If the payload is longer than [`CHUNK_LEN`].
pub(crate) fn chunk_address(span: u64, payload: &[u8]) -> B256 {
    let mut nodes = [0; CHUNK_LEN];
    nodes[..payload.len()].copy_from_slice(payload);
    reduce(&mut nodes, payload.len().div_ceil(PAIR_LEN).max(1));
    let mut last = [0; 8 + SEGMENT_LEN];
    last[..8].copy_from_slice(&span.to_le_bytes());
    last[8..].copy_from_slice(&nodes[..SEGMENT_LEN]);
    B256::new(keccak256::<5>(&last))
}

/// Hashes the tree in place, level by level; the root ends up in the first 32 bytes.
///
/// Only the first `pairs` pairs hold data. What lies behind them is never hashed: its roots are known.
fn reduce(nodes: &mut [u8; CHUNK_LEN], mut pairs: usize) {
    for height in 1..=LEVELS {
        hash_pairs(nodes, pairs);
        if height < LEVELS {
            if pairs % 2 == 1 {
                let end = pairs * SEGMENT_LEN;
                nodes[end..end + SEGMENT_LEN].copy_from_slice(&ZERO_ROOTS[height]);
            }
            pairs = pairs.div_ceil(2);
        }
    }
}

/// Replaces the first `pairs` pairs of nodes by their parents.
///
/// The pairs of a level do not depend on each other: vector code that hashes several at once goes here.
fn hash_pairs(nodes: &mut [u8; CHUNK_LEN], pairs: usize) {
    for pair in 0..pairs {
        let parent = keccak256::<8>(&nodes[pair * PAIR_LEN..(pair + 1) * PAIR_LEN]);
        nodes[pair * SEGMENT_LEN..(pair + 1) * SEGMENT_LEN].copy_from_slice(&parent);
    }
}

/// Legacy Keccak-256 (padding 0x01, as on Ethereum) of exactly `WORDS` 64-bit words, in one permutation.
fn keccak256<const WORDS: usize>(input: &[u8]) -> [u8; 32] {
    let (words, rest) = input.as_chunks::<8>();
    debug_assert!(words.len() == WORDS && rest.is_empty(), "the caller gives whole words");
    let mut state = [0; 25];
    for (lane, word) in state.iter_mut().zip(words) {
        *lane = u64::from_le_bytes(*word);
    }
    state[WORDS] = 0x01;
    state[RATE_WORDS - 1] = 1 << 63;
    keccakf(&mut state);
    let mut hash = [0; 32];
    for (bytes, lane) in hash.as_chunks_mut::<8>().0.iter_mut().zip(state) {
        *bytes = lane.to_le_bytes();
    }
    hash
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{b256, keccak256 as reference};

    use super::*;

    /// The definition, hash by hash, without any shortcut.
    fn plain(span: u64, payload: &[u8]) -> B256 {
        let mut level = payload.to_vec();
        level.resize(CHUNK_LEN, 0);
        while level.len() > SEGMENT_LEN {
            level = level.chunks(PAIR_LEN).flat_map(|pair| reference(pair).0).collect();
        }
        reference([span.to_le_bytes().as_slice(), &level].concat())
    }

    #[test]
    fn chunk_address_agrees_with_the_published_value() {
        assert_eq!(
            chunk_address(3, b"foo"),
            b256!("2387e8e7d8a48c2a9339c97c1dc3461a9a7aa07e994c5cb8b38fd7c1b3e6ea48")
        );
    }

    #[test]
    fn chunk_address_is_the_definition_at_every_length_near_a_border() {
        let payload: Vec<u8> = (0..=250).cycle().take(CHUNK_LEN).collect();
        for border in [0_usize, 32, 64, 128, 192, 256, 512, 1024, 1088, 2048, 3072, 4032, 4096] {
            for len in border.saturating_sub(1)..=(border + 1).min(CHUNK_LEN) {
                let payload = &payload[..len];
                assert_eq!(chunk_address(len as u64, payload), plain(len as u64, payload), "{len}");
            }
        }
    }

    #[test]
    fn chunk_address_depends_on_the_span() {
        assert_ne!(chunk_address(1, &[0]), chunk_address(2, &[0]));
        assert_eq!(chunk_address(1 << 40, &[7; 64]), plain(1 << 40, &[7; 64]));
    }
}
