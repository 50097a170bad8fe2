//! The address of one chunk: a binary Merkle tree over 128 segments of 32 bytes.

use std::sync::LazyLock;

use alloy_primitives::B256;

use super::lanes::{Lanes, MAX_LANES, NODE_LEN, PAIR_LEN};

/// Largest payload of a chunk, in bytes.
pub const CHUNK_LEN: usize = 4096;

/// Full leaves that are hashed side by side, so that even the top of their trees fills all lanes.
pub(super) const BATCH: usize = MAX_LANES;

/// Levels of hashing from 128 segments to the root.
const LEVELS: usize = 7;
/// Words of a pair of nodes, and of a span with a root.
const PAIR_WORDS: usize = PAIR_LEN / 8;
const LAST_WORDS: usize = 1 + NODE_LEN / 8;

/// Root of a subtree of nothing but zero bytes, by its height in levels.
static ZERO_ROOTS: LazyLock<[[u8; NODE_LEN]; LEVELS]> = LazyLock::new(|| {
    let mut roots = [[0; NODE_LEN]; LEVELS];
    for height in 1..LEVELS {
        let child = roots[height - 1];
        let [_, root] = &mut roots[height - 1..=height] else { unreachable!("two neighbours") };
        Lanes::best().hash::<PAIR_WORDS>([child, child].as_flattened(), root);
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
    chunk_address_with(Lanes::best(), span, payload)
}

/// [`chunk_address`] by these lanes.
pub(super) fn chunk_address_with(lanes: Lanes, span: u64, payload: &[u8]) -> B256 {
    let mut nodes = [0; CHUNK_LEN];
    nodes[..payload.len()].copy_from_slice(payload);
    let mut parents = [0; CHUNK_LEN / 2];
    // Only the first `pairs` pairs hold data. What lies behind them is never hashed: its roots are known.
    let mut pairs = payload.len().div_ceil(PAIR_LEN).max(1);
    for height in 1..=LEVELS {
        let end = pairs * NODE_LEN;
        lanes.hash::<PAIR_WORDS>(&nodes[..2 * end], &mut parents[..end]);
        nodes[..end].copy_from_slice(&parents[..end]);
        if height < LEVELS {
            if pairs % 2 == 1 {
                nodes[end..end + NODE_LEN].copy_from_slice(&ZERO_ROOTS[height]);
            }
            pairs = pairs.div_ceil(2);
        }
    }
    let mut last = [0; 8 + NODE_LEN];
    last[..8].copy_from_slice(&span.to_le_bytes());
    last[8..].copy_from_slice(&nodes[..NODE_LEN]);
    let mut address = B256::ZERO;
    lanes.hash::<LAST_WORDS>(&last, &mut address.0);
    address
}

/// Adds the addresses of all leaves of `content`: full ones, and a shorter one at its end.
pub(crate) fn leaf_addresses(content: &[u8], addresses: &mut Vec<B256>) {
    let lanes = Lanes::best();
    let (leaves, rest) = content.as_chunks::<CHUNK_LEN>();
    let (batches, single) = leaves.as_chunks::<BATCH>();
    addresses.extend(batches.iter().flat_map(|batch| batch_addresses(lanes, batch)));
    let single = single.iter().map(<[u8; CHUNK_LEN]>::as_slice);
    let rest = Some(rest).filter(|rest| !rest.is_empty());
    let address = |leaf: &[u8]| chunk_address_with(lanes, leaf.len() as u64, leaf);
    addresses.extend(single.chain(rest).map(address));
}

/// Addresses of full leaves.
pub(super) fn batch_addresses(lanes: Lanes, leaves: &[[u8; CHUNK_LEN]; BATCH]) -> [B256; BATCH] {
    let mut addresses = [[0; NODE_LEN]; BATCH];
    lanes.leaves(leaves, &mut addresses);
    addresses.map(B256::new)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{b256, keccak256 as reference};
    use proptest::prelude::*;

    use super::*;

    /// The definition, hash by hash, without any shortcut.
    fn plain(span: u64, payload: &[u8]) -> B256 {
        let mut level = payload.to_vec();
        level.resize(CHUNK_LEN, 0);
        while level.len() > NODE_LEN {
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
                let expected = plain(len as u64, payload);
                for lanes in Lanes::available() {
                    let address = chunk_address_with(lanes, len as u64, payload);
                    assert_eq!(address, expected, "{lanes:?}, {len}");
                }
            }
        }
    }

    #[test]
    fn chunk_address_depends_on_the_span() {
        assert_ne!(chunk_address(1, &[0]), chunk_address(2, &[0]));
        assert_eq!(chunk_address(1 << 40, &[7; 64]), plain(1 << 40, &[7; 64]));
    }

    proptest! {
        /// Eight leaves side by side have the addresses that they have alone.
        #[test]
        fn batch_addresses_are_those_of_each_leaf(seed: u64) {
            let mut state = seed | 1;
            let mut leaves = [[0; CHUNK_LEN]; BATCH];
            for word in leaves.as_flattened_mut().as_chunks_mut::<8>().0 {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                *word = state.to_le_bytes();
            }
            let expected = leaves.map(|leaf| plain(CHUNK_LEN as u64, &leaf));
            for lanes in Lanes::available() {
                prop_assert_eq!(batch_addresses(lanes, &leaves), expected, "{:?}", lanes);
            }
        }
    }
}
