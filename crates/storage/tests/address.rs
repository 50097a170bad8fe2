//! Swarm addresses: published vectors, and the definition applied without any cleverness.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::convert::Infallible;

use alloy_primitives::{B256, keccak256};
use galen_storage::swarm::{CHUNK_LEN, SwarmHasher};
use galen_types::ContentRef;
use proptest::prelude::*;

/// The 21 lengths are prefixes of one stream, so that it is hashed once.
#[test]
fn swarm_address_agrees_with_the_published_vectors() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/swarm.json");
    let file: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 21);

    // A multiple of 255, so that each piece begins with zero.
    let piece: Vec<u8> = (0..255 * 4096).map(|j: usize| (j % 255).to_le_bytes()[0]).collect();
    let mut hasher = SwarmHasher::new();
    let mut hashed = 0;
    for vector in vectors {
        let len = usize::try_from(vector["len"].as_u64().unwrap()).unwrap();
        while hashed < len {
            let from = hashed % piece.len();
            let part = &piece[from..piece.len().min(from + len - hashed)];
            hasher.update(part);
            hashed += part.len();
        }
        let expected: ContentRef =
            format!("swarm:{}", vector["address"].as_str().unwrap()).parse().unwrap();
        assert_eq!(hasher.clone().finalize(), expected, "{len} bytes");
    }
}

#[test]
fn swarm_address_of_nothing_is_that_of_an_empty_leaf() {
    assert_eq!(SwarmHasher::new().finalize(), ContentRef::swarm(plain_chunk(0, &[])));
}

/// The tree from the definition: whole levels in memory, no streaming, no zero subtrees.
fn plain_address(content: &[u8]) -> B256 {
    let mut level: Vec<(B256, u64)> = content
        .chunks(CHUNK_LEN)
        .map(|leaf| (plain_chunk(leaf.len() as u64, leaf), leaf.len() as u64))
        .collect();
    if level.is_empty() {
        level.push((plain_chunk(0, &[]), 0));
    }
    while level.len() > 1 {
        level = level
            .chunks(128)
            .map(|group| match group {
                [lone] => *lone,
                _ => {
                    let span = group.iter().map(|node| node.1).sum();
                    let payload: Vec<u8> = group.iter().flat_map(|node| node.0.0).collect();
                    (plain_chunk(span, &payload), span)
                }
            })
            .collect();
    }
    level[0].0
}

fn plain_chunk(span: u64, payload: &[u8]) -> B256 {
    let mut level = payload.to_vec();
    level.resize(CHUNK_LEN, 0);
    while level.len() > 32 {
        level = level.chunks(64).flat_map(|pair| keccak256(pair).0).collect();
    }
    keccak256([span.to_le_bytes().as_slice(), &level].concat())
}

fn content(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i.wrapping_mul(131) >> 3).to_le_bytes()[0] ^ seed).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// However the bytes arrive, and whatever lies near a border of the tree.
    #[test]
    fn swarm_address_is_the_definition(
        chunks in prop_oneof![0..4_usize, 126..131_usize, 255..259_usize],
        extra in prop_oneof![Just(0), 1..CHUNK_LEN],
        seed: u8,
        cuts in prop::collection::vec(1..20_000_usize, 1..8),
    ) {
        let content = content(chunks * CHUNK_LEN + extra, seed);
        let mut hasher = SwarmHasher::new();
        let mut rest = content.as_slice();
        for cut in cuts.iter().cycle() {
            let (part, after) = rest.split_at(rest.len().min(*cut));
            hasher.update(part);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(hasher.finalize(), ContentRef::swarm(plain_address(&content)));
    }

    /// Whoever keeps the announced chunks can rebuild the content from the address alone.
    #[test]
    fn announced_chunks_are_the_whole_tree(
        chunks in prop_oneof![0..3_usize, 127..130_usize],
        extra in 0..CHUNK_LEN,
        seed: u8,
    ) {
        let content = content(chunks * CHUNK_LEN + extra, seed);
        let mut kept = std::collections::HashMap::new();
        let mut sink = |node: galen_storage::swarm::Node<'_>| {
            if let Some(payload) = node.payload {
                kept.insert(node.address, (node.span, payload.to_vec()));
            }
            Ok::<_, Infallible>(())
        };
        let mut hasher = SwarmHasher::new();
        let Ok(()) = hasher.update_with(&content, &mut sink);
        let Ok(root) = hasher.finalize_with(&mut sink);
        let mut rebuilt = Vec::new();
        let mut open = vec![root.digest];
        while let Some(address) = open.pop() {
            let (span, payload) = &kept[&address];
            prop_assert_eq!(address, plain_chunk(*span, payload));
            if *span <= CHUNK_LEN as u64 {
                rebuilt.extend_from_slice(payload);
            } else {
                open.extend(payload.chunks(32).rev().map(B256::from_slice));
            }
        }
        prop_assert_eq!(rebuilt, content);
    }
}
