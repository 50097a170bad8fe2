//! The same bytes have the same IPFS address, and the same blocks, here and in rust-unixfs.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::{collections::BTreeSet, convert::Infallible};

use galen_storage::ipfs::{Block, GROUP_LEN, IpfsHasher, LEAF_LEN, Parent, root};
use proptest::prelude::*;
use rust_unixfs::file::adder::{BalancedCollector, Chunker, FileAdder};

/// CIDs as text; of the nodes above the leaves also the bytes. The last of theirs is the root.
type Blocks = BTreeSet<(String, Vec<u8>)>;

fn theirs(pieces: &[&[u8]]) -> (String, Blocks) {
    let mut adder = FileAdder::builder()
        .with_chunker(Chunker::Size(LEAF_LEN))
        .with_collector(BalancedCollector::with_branching_factor(GROUP_LEN))
        .with_raw_leaves(true)
        .build();
    let mut blocks = Blocks::new();
    let mut last = String::new();
    let mut keep = |cid: String, block: Vec<u8>| {
        let node = if cid.starts_with("bafk") { Vec::new() } else { block };
        last.clone_from(&cid);
        blocks.insert((cid, node));
    };
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let (made, taken) = adder.push(rest);
            made.for_each(|(cid, block)| keep(cid.to_string(), block));
            rest = &rest[taken..];
        }
    }
    adder.finish().for_each(|(cid, block)| keep(cid.to_string(), block));
    (last, blocks)
}

fn ours(pieces: &[&[u8]]) -> (String, Blocks) {
    let mut blocks = Blocks::new();
    let mut sink = |block: Block<'_>| {
        if let Some(payload) = block.payload {
            let node = Parent::decode(payload).unwrap();
            assert_eq!((node.level(), node.content_len()), (block.level, block.span));
        }
        blocks.insert((block.cid.to_string(), block.payload.unwrap_or_default().to_vec()));
        Ok::<_, Infallible>(())
    };
    let mut hasher = IpfsHasher::new();
    for piece in pieces {
        let Ok(()) = hasher.update_with(piece, &mut sink);
    }
    let Ok(address) = hasher.finalize_with(&mut sink);
    let len = pieces.iter().map(|piece| piece.len() as u64).sum();
    (root(address.digest, len).to_string(), blocks)
}

fn content(len: usize) -> Vec<u8> {
    let mut state = len as u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

/// Both sides of each border, up to more leaves than one node has links.
#[test]
fn ipfs_addresses_agree_at_every_border() {
    let leaves = content(2 * LEAF_LEN + 300);
    for len in [
        0,
        1,
        255,
        256,
        LEAF_LEN - 1,
        LEAF_LEN,
        LEAF_LEN + 1,
        2 * LEAF_LEN,
        2 * LEAF_LEN + 127,
        2 * LEAF_LEN + 128,
        2 * LEAF_LEN + 300,
    ] {
        assert_eq!(ours(&[&leaves[..len]]), theirs(&[&leaves[..len]]), "{len} bytes");
    }
    for count in [127, 128, 1024, 2048] {
        for tail in [0, 1, LEAF_LEN - 1] {
            let mut pieces = vec![&leaves[..LEAF_LEN]; count];
            pieces.push(&leaves[..tail]);
            assert_eq!(ours(&pieces), theirs(&pieces), "{count} leaves and {tail} bytes");
        }
    }
}

/// The project's own vectors are rust-unixfs's.
#[test]
fn ipfs_vectors_are_those_of_rust_unixfs() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/ipfs.json");
    let file: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let vectors = file["own"].as_array().unwrap();
    assert_eq!(vectors.len(), 10);
    for vector in vectors {
        let len = usize::try_from(vector["len"].as_u64().unwrap()).unwrap();
        let content: Vec<u8> = (0..=254).cycle().take(len).collect();
        assert_eq!(theirs(&[&content]).0, vector["cid"].as_str().unwrap(), "{len} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

    #[test]
    fn ipfs_addresses_of_any_content_agree(
        content in prop::collection::vec(any::<u8>(), 1..100_000),
        repeat in 1..100_usize,
        cut: prop::sample::Index,
    ) {
        let content = content.repeat(repeat);
        let (first, second) = content.split_at(cut.index(content.len()));
        prop_assert_eq!(ours(&[first, second]), theirs(&[&content]));
    }
}
