//! Derivation and bundles.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, hex, keccak256};
use galen_crypto::{
    Error, IdentityPublic, KeyBundle, RootSeed, SegmentKey, SegmentPublic,
    bundle::MAX_KEY_BUNDLE_LEN,
};
use galen_types::Segment;
use hkdf::Hkdf;
use serde_json::Value;
use sha2::Sha256;

use crate::fixture::{EPOCH, FIXTURE, SEGMENT};

const KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/keys.json");

fn bytes<const N: usize>(value: &Value) -> [u8; N] {
    hex::decode(value.as_str().unwrap()).unwrap().try_into().unwrap()
}

/// Pins every derivation. The file was made once by this crate; the derivations are also checked
/// against the table of the documentation below.
#[test]
fn derivations_keep_their_vectors() {
    let file: Value = serde_json::from_str(&std::fs::read_to_string(KEYS).unwrap()).unwrap();
    let seed = RootSeed::from_bytes(bytes(&file["seed"]));
    for vector in file["vectors"].as_array().unwrap() {
        let keys = seed.pseudonym(Address::new(bytes(&vector["id"])));
        assert_eq!(
            keys.identity().public().hash(),
            bytes::<32>(&vector["identity_public_keccak256"])
        );
        for segment in vector["segments"].as_array().unwrap() {
            let number = Segment(segment["segment"].as_u64().unwrap() as u8);
            let key = keys.segment(number, segment["epoch"].as_u64().unwrap() as u32);
            assert_eq!(*key.expose(), bytes(&segment["secret"]));
            assert_eq!(*key.public().point_bytes(), bytes(&segment["point"]));
            let kem = keccak256(key.public().kem_bytes());
            assert_eq!(kem, bytes::<32>(&segment["kem_public_keccak256"]));
        }
        let map = keys.segment_map();
        let order: [u8; 256] = std::array::from_fn(|category| map.segment(category as u8).0);
        assert_eq!(order, bytes(&vector["segment_map"]));
        assert_eq!(keys.consent_salt(3).as_bytes(), &bytes(&vector["consent_salt_3"]));
        assert_eq!(keys.guardian_salt(3).as_bytes(), &bytes(&vector["guardian_salt_3"]));
    }
}

#[test]
fn derivations_follow_the_documented_table() {
    let (seed, id) = ([0x11; 32], FIXTURE.keys.id());
    let derive = |label: &str, place: &[u8], out: &mut [u8]| {
        let info = [label.as_bytes(), id.as_slice(), place].concat();
        Hkdf::<Sha256>::new(None, &seed).expand(&info, out).unwrap();
    };
    let mut kem = [0; 32];
    derive("galen.key.segment.kem.v1", &[42, 0, 0, 0, 7], &mut kem);
    assert_eq!(FIXTURE.segment.expose()[32..], kem);
    let mut wide = [0; 64];
    derive("galen.key.segment.scalar.v1", &[42, 0, 0, 0, 7], &mut wide);
    let scalar = curve25519_dalek::Scalar::from_bytes_mod_order_wide(&wide);
    assert_eq!(FIXTURE.segment.expose()[..32], *scalar.as_bytes());
    let mut salt = [0; 32];
    derive("galen.salt.consent.v1", &[0, 0, 0, 0, 0, 0, 1, 2], &mut salt);
    assert_eq!(FIXTURE.keys.consent_salt(258).as_bytes(), &salt);
}

#[test]
fn the_segment_map_is_a_permutation_of_its_own_pseudonym() {
    let seed = RootSeed::from_bytes([3; 32]);
    let order = |id: u8| {
        let map = seed.pseudonym(Address::repeat_byte(id)).segment_map();
        for category in 0..=255 {
            assert_eq!(map.category(map.segment(category)), category);
        }
        (0..=255).map(|category| map.segment(category).0).collect::<Vec<_>>()
    };
    let (a, b) = (order(1), order(2));
    assert_eq!(a.iter().collect::<BTreeSet<_>>().len(), 256);
    assert_ne!(a, b);
    assert_eq!(a, order(1));
}

/// Over many pseudonyms category 0 falls on every segment about equally often.
#[test]
fn the_segment_map_has_no_favourites() {
    let seed = RootSeed::from_bytes([4; 32]);
    let mut counts = [0_u32; 256];
    for id in 0..2_048_u64 {
        let id = Address::from_word(alloy_primitives::B256::from(alloy_primitives::U256::from(id)));
        counts[usize::from(seed.pseudonym(id).segment_map().segment(0).0)] += 1;
    }
    // Mean 8. Chi-square with 255 degrees of freedom stays below 350 but for about one seed in
    // 14,000; this seed is fixed.
    let chi_square: f64 = counts.iter().map(|n| (f64::from(*n) - 8.0).powi(2) / 8.0).sum();
    assert!(chi_square < 350.0, "{chi_square}");
}

#[test]
fn every_key_is_its_own() {
    let keys = &FIXTURE.keys;
    let mut seen = BTreeSet::new();
    for segment in [0, 1, 255] {
        for epoch in [0, 1, 256, u32::MAX] {
            assert!(seen.insert(keys.segment(Segment(segment), epoch).expose().to_vec()));
        }
    }
    let mut salts = BTreeSet::new();
    for index in [0, 1, u64::MAX] {
        assert!(salts.insert(keys.consent_salt(index)) && salts.insert(keys.guardian_salt(index)));
    }
}

#[test]
fn segment_secrets_are_canonical() {
    let secret = *FIXTURE.segment.expose();
    let again = SegmentKey::from_bytes(SEGMENT, EPOCH, &secret).unwrap();
    assert_eq!(again.public(), FIXTURE.segment_public);
    let mut zero = secret;
    zero[..32].fill(0);
    let mut large = secret;
    large[..32].fill(0xff);
    for bad in [zero, large] {
        assert!(matches!(
            SegmentKey::from_bytes(SEGMENT, EPOCH, &bad),
            Err(Error::Malformed { .. })
        ));
    }
    let public = &FIXTURE.segment_public;
    assert!(SegmentPublic::from_bytes(&[0; 32], public.kem_bytes()).is_err());
    assert!(SegmentPublic::from_bytes(&[0xff; 32], public.kem_bytes()).is_err());
    // Coefficients of 4095 are not reduced modulo 3329.
    assert!(SegmentPublic::from_bytes(public.point_bytes(), &[0xff; 1216]).is_err());
    assert!(IdentityPublic::from_bytes(&[0xff; 1216]).is_err());
}

fn bundle(segments: impl Iterator<Item = u8>) -> KeyBundle {
    let keys = &FIXTURE.keys;
    let segments: BTreeMap<_, _> =
        segments.map(|n| (Segment(n), keys.segment(Segment(n), EPOCH).public())).collect();
    let identity = FIXTURE.identity.public().clone();
    KeyBundle { id: keys.id(), epoch: EPOCH, identity, segments }
}

#[test]
fn bundles_round_trip_and_have_one_text() {
    for bundle in [bundle(0..0), bundle([7, 200, 23, 24].into_iter()), bundle(0..=255)] {
        let text = bundle.encode();
        assert!(text.len() <= MAX_KEY_BUNDLE_LEN);
        assert_eq!(KeyBundle::decode(&text).unwrap(), bundle);
        assert_eq!(bundle.id().0, keccak256(&text));
        assert!(KeyBundle::decode(&[&text[..], &[0]].concat()).is_err());
        assert!(KeyBundle::decode(&text[..text.len() - 1]).is_err());
    }
    let text = bundle([7, 200].into_iter()).encode();
    for bit in 0..text.len() * 8 {
        if bit % 61 != 0 && bit > 400 {
            continue;
        }
        let mut changed = text.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        // A changed key may be a key; then it is another bundle.
        if let Ok(other) = KeyBundle::decode(&changed) {
            assert_eq!(other.encode(), changed);
            assert_ne!(other.id(), KeyBundle::decode(&text).unwrap().id());
        }
    }
}

#[test]
fn bundles_out_of_order_or_doubled_are_refused() {
    let text = bundle([7, 8].into_iter()).encode();
    let entry_len = bundle([7].into_iter()).encode().len() - bundle(0..0).encode().len();
    let (head, entries) = text.split_at(text.len() - 2 * entry_len);
    let (first, second) = entries.split_at(entry_len);
    assert!(KeyBundle::decode(&[head, first, second].concat()).is_ok());
    assert!(KeyBundle::decode(&[head, second, first].concat()).is_err());
    assert!(KeyBundle::decode(&[head, first, first].concat()).is_err());
    assert!(KeyBundle::decode(&vec![0x80; MAX_KEY_BUNDLE_LEN + 1]).is_err());
}
