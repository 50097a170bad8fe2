//! One value has one text, one word and one place in a tree.

use alloy_primitives::{Address, B256, U256};
use galen_types::{
    Commitment, ConsentId, ConsentTree, ContentRef, Leaf, LeafKind, Purpose, PurposeSet, RecordId,
    RecordKey, Segment, SegmentSet, Store, VersionId, hash_pair,
};
use proptest::prelude::*;

fn hash() -> impl Strategy<Value = B256> {
    any::<[u8; 32]>().prop_map(B256::from)
}

fn leaf() -> impl Strategy<Value = Leaf> {
    let kind = prop::sample::select(vec![LeafKind::New, LeafKind::Amendment, LeafKind::Retraction]);
    let store = prop::sample::select(vec![Store::Swarm, Store::Ipfs]);
    (kind, any::<u8>(), any::<u64>(), store, hash(), hash(), hash()).prop_map(
        |(kind, segment, number, store, digest, commitment, previous)| Leaf {
            kind,
            segment: Segment(segment),
            number,
            content: ContentRef { store, digest },
            commitment: Commitment(commitment),
            previous: VersionId(previous),
        },
    )
}

proptest! {
    #[test]
    fn texts_read_back_and_have_no_twin(digest in hash(), ipfs: bool, at: prop::sample::Index) {
        let store = if ipfs { Store::Ipfs } else { Store::Swarm };
        let content = ContentRef { store, digest };
        let text = content.to_string();
        prop_assert_eq!(text.parse::<ContentRef>().unwrap(), content);
        prop_assert!(text.to_uppercase().parse::<ContentRef>().is_err());
        let cut = at.index(text.len());
        prop_assert!(text[..cut].parse::<ContentRef>().is_err());
        let id = RecordId(digest);
        prop_assert_eq!(id.to_string().parse::<RecordId>().unwrap(), id);
        prop_assert!(id.to_string()[2..].parse::<RecordId>().is_err());
        let json = serde_json::to_string(&content).unwrap();
        prop_assert_eq!(serde_json::from_str::<ContentRef>(&json).unwrap(), content);
    }

    #[test]
    fn a_leaf_reads_back_from_its_words(leaf in leaf()) {
        let words = (leaf.header(), leaf.content.digest, leaf.commitment.0, leaf.previous.0);
        let read = Leaf::from_words(words.0, words.1, words.2, words.3);
        prop_assert_eq!(read, Some(leaf));
    }

    /// A bit that means nothing makes a second word for the same leaf: it is refused.
    #[test]
    fn a_header_with_a_stray_bit_is_no_leaf(leaf in leaf(), bit in 88_usize..256) {
        let mut header = leaf.header();
        header.set_bit(bit, true);
        let read = Leaf::from_words(header, leaf.content.digest, leaf.commitment.0, leaf.previous.0);
        prop_assert_eq!(read, None);
    }

    #[test]
    fn sets_hold_what_was_put_in(segments: Vec<u8>, bits: u32) {
        let set: SegmentSet = segments.iter().copied().map(Segment).collect();
        let mut sorted = segments;
        sorted.sort_unstable();
        sorted.dedup();
        prop_assert_eq!(set.iter().map(|s| s.0).collect::<Vec<_>>(), sorted.clone());
        prop_assert_eq!(set.len(), sorted.len());
        let purposes = PurposeSet(bits & 0x3fff);
        prop_assert_eq!(purposes.iter().collect::<PurposeSet>(), purposes);
    }

    /// Every live leaf climbs to the root; no other leaf does with any of their proofs.
    #[test]
    fn proofs_lead_live_leaves_to_the_root(leaves in prop::collection::btree_set(hash(), 1..40), other in hash()) {
        let tree: ConsentTree = leaves.iter().copied().map(ConsentId).collect();
        prop_assume!(!leaves.contains(&other));
        prop_assert_eq!(tree.proof(ConsentId(other)), None);
        for leaf in &leaves {
            let proof = tree.proof(ConsentId(*leaf)).unwrap();
            let climb = |from| proof.iter().fold(from, |node, sibling| hash_pair(node, *sibling));
            prop_assert_eq!(climb(*leaf)[..28].to_vec(), tree.root().0.to_vec());
            prop_assert_ne!(climb(other)[..28].to_vec(), tree.root().0.to_vec());
        }
    }

    /// The tree is a set: the order of grants and revocations does not matter.
    #[test]
    fn the_root_depends_on_the_live_leaves_alone(leaves in prop::collection::btree_set(hash(), 2..20), gone: prop::sample::Index) {
        let forwards: ConsentTree = leaves.iter().copied().map(ConsentId).collect();
        let mut backwards: ConsentTree = leaves.iter().rev().copied().map(ConsentId).collect();
        prop_assert_eq!(forwards.root(), backwards.root());
        let all: Vec<B256> = leaves.iter().copied().collect();
        let gone = ConsentId(*gone.get(&all));
        prop_assert!(backwards.remove(gone) && !backwards.contains(gone));
        prop_assert_ne!(forwards.root(), backwards.root());
        prop_assert!(backwards.insert(gone));
        prop_assert_eq!(forwards.root(), backwards.root());
    }
}

#[test]
fn record_ids_differ_in_every_part_of_their_key() {
    let key = RecordKey {
        patient: Address::repeat_byte(1),
        author: Address::repeat_byte(2),
        segment: Segment(3),
        number: 4,
    };
    let others = [
        RecordKey { patient: Address::repeat_byte(9), ..key },
        RecordKey { author: Address::repeat_byte(9), ..key },
        RecordKey { patient: key.author, author: key.patient, ..key },
        RecordKey { segment: Segment(4), number: 3, ..key },
        RecordKey { number: u64::MAX, ..key },
    ];
    assert!(others.iter().all(|other| other.id() != key.id()));
}

#[test]
fn purposes_keep_their_bits() {
    let bits: Vec<_> = Purpose::ALL.iter().map(|purpose| (purpose.bit(), purpose.code())).collect();
    assert_eq!(bits[0], (0, "TREAT"));
    assert_eq!(bits[3], (3, "HPAYMT"));
    assert_eq!(bits[6], (6, "HRESCH"));
    for (bit, code) in bits {
        assert_eq!(code.parse::<Purpose>().unwrap().bit(), bit);
        assert_eq!(Purpose::from_u8(bit).map(Purpose::code), Some(code));
    }
    assert!("treat".parse::<Purpose>().is_err());
    assert_eq!(Purpose::from_u8(200), None);
}

#[test]
fn an_empty_tree_has_the_root_zero() {
    assert!(ConsentTree::default().root().0.is_zero());
    assert_eq!(U256::from(SegmentSet::EMPTY.len()), U256::ZERO);
}
