//! Addresses: published vectors, and the definitions applied without any cleverness. And what the
//! program `ipfs` says, whose path is `GALEN_IPFS`; without it that test says so and ends, with
//! `GALEN_REQUIRE_NODES=1` it fails.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]
#![allow(clippy::print_stderr, reason = "says why a test was skipped")]

use std::{
    convert::Infallible,
    env, fs,
    process::{Command, Stdio},
};

use alloy_primitives::{B256, keccak256};
use aws_lc_rs::digest::{SHA256, digest};
use chacha20::{
    ChaCha20,
    cipher::{KeyIvInit, StreamCipher},
};
use galen_storage::{
    Addresser,
    ipfs::{self, Cid, Codec, IpfsHasher, LEAF_LEN, Parent, root},
    swarm::{CHUNK_LEN, SwarmHasher},
};
use galen_types::{ContentRef, Store};
use proptest::prelude::*;
use serde_json::Value;

fn vectors(name: &str) -> Value {
    let file = format!("{}/../../tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// The 21 lengths are prefixes of one stream, so that it is hashed once.
#[test]
fn swarm_address_agrees_with_the_published_vectors() {
    let file = vectors("swarm.json");
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

fn cid_of(hasher: &IpfsHasher, len: usize) -> String {
    root(hasher.clone().finalize().digest, len as u64).to_string()
}

/// Each seed gives one stream, whose prefixes are hashed one after the other.
#[test]
fn ipfs_address_agrees_with_the_published_vectors() {
    let file = vectors("ipfs.json");
    let vectors = file["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 6);
    let mut stream: Option<(String, ChaCha20, IpfsHasher, usize)> = None;
    let mut piece = vec![0; 1 << 20];
    for vector in vectors {
        let expected = vector["cid"].as_str().unwrap();
        if let Some(text) = vector["text"].as_str() {
            let at = IpfsHasher::digest(text.as_bytes());
            assert_eq!(root(at.digest, text.len() as u64).to_string(), expected);
            continue;
        }
        let seed = vector["seed"].as_str().unwrap();
        let len = usize::try_from(vector["len"].as_u64().unwrap()).unwrap();
        let (_, cipher, hasher, hashed) = match &mut stream {
            Some(stream) if stream.0 == seed => stream,
            other => {
                let key: [u8; 32] = digest(&SHA256, seed.as_bytes()).as_ref().try_into().unwrap();
                let cipher = ChaCha20::new(&key.into(), &[0; 12].into());
                other.insert((seed.to_owned(), cipher, IpfsHasher::new(), 0))
            }
        };
        while *hashed < len {
            let wanted = piece.len().min(len - *hashed);
            let part = &mut piece[..wanted];
            part.fill(0);
            cipher.apply_keystream(part);
            hasher.update(part);
            *hashed += part.len();
        }
        assert_eq!(cid_of(hasher, len), expected, "{len} bytes of {seed}");
    }
}

#[test]
fn ipfs_address_agrees_with_our_vectors() {
    let file = vectors("ipfs.json");
    let piece: Vec<u8> = (0..255 * 4096).map(|j: usize| (j % 255).to_le_bytes()[0]).collect();
    let (mut hasher, mut hashed) = (IpfsHasher::new(), 0);
    for vector in file["own"].as_array().unwrap() {
        let len = usize::try_from(vector["len"].as_u64().unwrap()).unwrap();
        while hashed < len {
            let from = hashed % piece.len();
            let part = &piece[from..piece.len().min(from + len - hashed)];
            hasher.update(part);
            hashed += part.len();
        }
        assert_eq!(cid_of(&hasher, len), vector["cid"].as_str().unwrap(), "{len} bytes");
    }
}

/// `ipfs add --only-hash` with every option named, since people change kubo's defaults.
fn kubo_cid(ipfs: &str, repository: &std::path::Path, pieces: &[&[u8]]) -> String {
    let mut child = Command::new(ipfs)
        .env("IPFS_PATH", repository)
        .args(["add", "--only-hash", "--quieter", "--progress=false", "--cid-version=1"])
        .args(["--raw-leaves=true", "--chunker=size-1048576", "--max-file-links=1024"])
        .args(["--hash=sha2-256", "--trickle=false"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    for piece in pieces {
        std::io::Write::write_all(&mut input, piece).unwrap();
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn ipfs_address_agrees_with_kubo() {
    let Ok(ipfs) = env::var("GALEN_IPFS") else {
        let required = env::var("GALEN_REQUIRE_NODES").is_ok_and(|value| value == "1");
        assert!(!required, "GALEN_REQUIRE_NODES=1, and GALEN_IPFS names no program");
        eprintln!("skipped: GALEN_IPFS names no program");
        return;
    };
    let repository = tempfile::tempdir().unwrap();
    let init = Command::new(&ipfs)
        .env("IPFS_PATH", repository.path())
        .args(["init", "--profile=test"])
        .output()
        .unwrap();
    assert!(init.status.success(), "{init:?}");
    let leaves = content(3 * LEAF_LEN, 5);
    let few = [0, 1, 4096, 4097, LEAF_LEN, LEAF_LEN + 1, 2 * LEAF_LEN, 3 * LEAF_LEN - 7];
    let mut inputs: Vec<Vec<&[u8]>> = few.iter().map(|len| vec![&leaves[..*len]]).collect();
    // 100 MiB, and on both sides of the border where a second level of nodes begins.
    for (count, tail) in [(100, 0), (1024, 0), (1024, 1), (1025, 77)] {
        inputs.push(vec![&leaves[..LEAF_LEN]; count]);
        inputs.last_mut().unwrap().push(&leaves[..tail]);
    }
    for pieces in inputs {
        let mut hasher = IpfsHasher::new();
        pieces.iter().for_each(|piece| hasher.update(piece));
        let len = pieces.iter().map(|piece| piece.len()).sum();
        let theirs = kubo_cid(&ipfs, repository.path(), &pieces);
        assert_eq!(cid_of(&hasher, len), theirs, "{len} bytes");
    }
}

#[test]
fn cid_has_one_text() {
    let text = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
    let cid: Cid = text.parse().unwrap();
    assert_eq!(cid, Cid::of(Codec::Raw, b"hello world"));
    assert_eq!(cid.to_string(), text);
    assert_eq!(Cid::from_bytes(&cid.to_bytes()), Some(cid));
    let root = "bafybeigmix7t42i6jacydtquhet7srwvgpizfg7gjbq7627d35mjomtu64";
    assert_eq!(root.parse::<Cid>().unwrap().codec, Codec::DagPb);
    for wrong in [
        "",
        "b",
        "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKT9sn",
        &text.to_uppercase(),
        &text[..text.len() - 1],
        &format!("{text}a"),
        &format!("{text}="),
        &format!(" {text}"),
        &text.replacen('e', "E", 1),
        // The last digit carries two bits that must be zero.
        &format!("{}f", &text[..text.len() - 1]),
        // dag-cbor, and a digest of another kind.
        "bafyreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e",
        "bafkrmifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e",
    ] {
        assert!(wrong.parse::<Cid>().is_err(), "{wrong}");
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

/// The tree from the definition: whole levels in memory; protobuf field by field.
fn plain_cid(content: &[u8]) -> Cid {
    struct Node {
        cid: Cid,
        len: u64,
        tree_len: u64,
    }
    let mut leaves: Vec<&[u8]> = content.chunks(LEAF_LEN).collect();
    if leaves.is_empty() {
        leaves.push(&[]);
    }
    let leaf = |bytes: &[u8]| {
        let len = bytes.len() as u64;
        Node { cid: Cid::of(Codec::Raw, bytes), len, tree_len: len }
    };
    let mut level: Vec<Node> = leaves.into_iter().map(leaf).collect();
    while level.len() > 1 {
        let parent = |group: &[Node]| {
            let mut block = Vec::new();
            let mut data =
                [vec![0x08, 2, 0x18], varint(group.iter().map(|node| node.len).sum())].concat();
            for node in group {
                let size = [vec![0x18], varint(node.tree_len)].concat();
                let link = [&[0x0a, 36], &node.cid.to_bytes()[..], &[0x12, 0], &size].concat();
                block.extend([vec![0x12], varint(link.len() as u64), link].concat());
                data.extend([vec![0x20], varint(node.len)].concat());
            }
            block.extend([vec![0x0a], varint(data.len() as u64), data].concat());
            Node {
                cid: Cid::of(Codec::DagPb, &block),
                len: group.iter().map(|node| node.len).sum(),
                tree_len: block.len() as u64 + group.iter().map(|node| node.tree_len).sum::<u64>(),
            }
        };
        level = level.chunks(1024).map(parent).collect();
    }
    level[0].cid
}

fn varint(number: u64) -> Vec<u8> {
    let more = |shift: &u32| *shift == 0 || number >> shift > 0;
    let shifts: Vec<u32> = (0..64).step_by(7).take_while(more).collect();
    let byte = |shift: &u32| (number >> shift).to_le_bytes()[0] & 0x7f;
    let mut bytes: Vec<u8> = shifts.iter().map(|shift| byte(shift) | 0x80).collect();
    *bytes.last_mut().unwrap() &= 0x7f;
    bytes
}

/// The blocks above the leaves, children first.
fn nodes(content: &[u8]) -> Vec<Vec<u8>> {
    let mut nodes = Vec::new();
    let mut sink = |block: ipfs::Block<'_>| {
        nodes.extend(block.payload.map(<[u8]>::to_vec));
        Ok::<_, Infallible>(())
    };
    let mut hasher = IpfsHasher::new();
    let Ok(()) = hasher.update_with(content, &mut sink);
    let Ok(_) = hasher.finalize_with(&mut sink);
    nodes
}

/// One block, two readings: as the root it is, never as content.
#[test]
fn root_is_never_content() {
    let long = content(2 * LEAF_LEN + 9, 1);
    let [block] = nodes(&long).try_into().unwrap();
    assert!(ipfs::reads_as_root(&block));
    let at = IpfsHasher::digest(&long);
    assert_eq!(IpfsHasher::digest(&block), at, "the same digest, which is why the rule is needed");
    let [raw, root] = ipfs::candidates(at.digest);
    assert!(raw.names(&block) && root.names(&block) && raw != root);
    for content in [&b""[..], b"hello world", &block[1..], &block[..block.len() - 1], &long] {
        assert!(!ipfs::reads_as_root(content));
    }
    // A node over one leaf occurs below a root, but is none.
    let tail = Parent::decode(&block).unwrap().children().last().unwrap();
    let data = [&[0x0a, 6, 0x08, 2, 0x18, 9, 0x20, 9][..]].concat();
    let link = [&[0x12, 42, 0x0a, 36], &tail.cid.to_bytes()[..], &[0x12, 0, 0x18, 9]].concat();
    let lone = [link, data].concat();
    assert!(!Parent::decode(&lone).unwrap().is_root() && !ipfs::reads_as_root(&lone));
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

    #[test]
    fn ipfs_address_is_the_definition(
        leaves in 0..4_usize,
        extra in prop_oneof![Just(0), 1..LEAF_LEN],
        seed: u8,
        cuts in prop::collection::vec(1..2_000_000_usize, 1..8),
    ) {
        let content = content(leaves * LEAF_LEN + extra, seed);
        let mut addresser = Addresser::new();
        let mut rest = content.as_slice();
        for cut in cuts.iter().cycle() {
            let (part, after) = rest.split_at(rest.len().min(*cut));
            addresser.update(part);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        let addresses = addresser.finalize();
        prop_assert_eq!(addresses.len, content.len() as u64);
        prop_assert_eq!(root(addresses.ipfs, addresses.len), plain_cid(&content));
        prop_assert_eq!(addresses.of(Store::Ipfs), IpfsHasher::digest(&content));
        prop_assert_eq!(addresses.of(Store::Swarm), SwarmHasher::digest(&content));
    }

    /// A node is read exactly if it is written so: whatever changes, the answer is none or another node
    /// that is written so.
    #[test]
    fn changed_node_is_no_node_or_another(
        leaves in 1..200_usize,
        extra in 1..LEAF_LEN,
        position: prop::sample::Index,
        change in prop::collection::vec(any::<u8>(), 0..4),
        removed in 0..4_usize,
    ) {
        let mut hasher = IpfsHasher::new();
        let mut block = Vec::new();
        let mut sink = |node: ipfs::Block<'_>| {
            block = node.payload.unwrap_or_default().to_vec();
            Ok::<_, Infallible>(())
        };
        let leaf = vec![7; LEAF_LEN];
        for piece in vec![leaf.as_slice(); leaves].into_iter().chain([&leaf[..extra]]) {
            let Ok(()) = hasher.update_with(piece, &mut sink);
        }
        let Ok(_) = hasher.finalize_with(&mut sink);
        let node = Parent::decode(&block).unwrap();
        prop_assert_eq!(node.encode(), block.clone());
        prop_assert_eq!(node.content_len(), (leaves * LEAF_LEN + extra) as u64);
        prop_assert_eq!(node.children().map(|child| child.len).sum::<u64>(), node.content_len());

        let from = position.index(block.len());
        let mut changed = block.clone();
        changed.splice(from..block.len().min(from + removed), change);
        match Parent::decode(&changed) {
            Some(other) => prop_assert!(other.encode() == changed && (other != node || changed == block)),
            None => prop_assert!(changed != block),
        }
    }

    #[test]
    fn any_bytes_are_no_node(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(Parent::decode(&bytes), None);
        prop_assert_eq!(Parent::decode(&[&[0x12, 0x2c, 0x0a, 0x24], &bytes[..]].concat()), None);
    }
}
