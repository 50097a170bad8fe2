//! No secret shows itself in `Debug`.

use std::fmt::Debug;

use alloy_primitives::Address;
use galen_types::{LedgerId, Plaintext, Segment};

use crate::{
    ContactEnvelope, ContactTerms, DataKey, GrantEnvelope, GrantTerms, GrantText, GrantedKey,
    GrantedSegment, GuardianTerms, Layout, OpenKey, PieceText, ProxyShare, ReaderHalf, RootSeed,
    SecretPiece, SegmentKey, SharedSegment, split_secret,
};

/// A byte that is rare in what is printed, as text of every usual kind.
const CANARY: u8 = 0xc7;

fn assert_silent(what: &str, value: &dyn Debug) {
    let text = format!("{value:?} {value:#?}").to_lowercase();
    for sign in ["c7c7", "199, 199", "199,\n"] {
        assert!(!text.contains(sign), "{what} prints a secret");
    }
}

#[test]
fn secrets_do_not_print_themselves() {
    let seed = RootSeed::from_bytes([CANARY; 32]);
    let keys = seed.pseudonym(Address::repeat_byte(1));
    let data_key = DataKey::from_bytes([CANARY; 32]);
    let mut secret = [CANARY; 64];
    secret[31] = 0x07;
    let segment_key = SegmentKey::from_bytes(Segment(1), 1, &secret).unwrap();
    assert_silent("RootSeed", &seed);
    assert_silent("PatientKeys", &keys);
    assert_silent("DataKey", &data_key);
    assert_silent("OpenKey", &OpenKey::Data(&data_key));
    assert_silent("OpenKey", &OpenKey::Segment(&segment_key));
    assert_silent("SegmentKey", &segment_key);
    assert_silent("Plaintext", &Plaintext::new(vec![CANARY; 32]));
    let granted = GrantedSegment { category: 1, key: GrantedKey::Whole(segment_key) };
    assert_silent("GrantedSegment", &granted);
    let salt = galen_types::Salt(alloy_primitives::B256::repeat_byte(CANARY));
    let layout = Layout::new(salt, "text/plain".parse().unwrap(), 5).unwrap();
    assert_silent("Layout", &layout);
}

#[test]
fn derived_secrets_do_not_print_themselves() {
    let keys = RootSeed::from_bytes([9; 32]).pseudonym(Address::repeat_byte(1));
    let map = keys.segment_map();
    assert_eq!(format!("{map:?}"), "SegmentMap(..)");
    let segment = keys.segment(Segment(3), 4);
    assert_eq!(format!("{segment:?}"), "SegmentKey(segment 3, epoch 4, ..)");
    let identity = keys.identity();
    assert!(format!("{identity:?}").starts_with("IdentityKey(.., IdentityPublic(keccak256 0x"));

    let ledger = LedgerId { chain_id: 1, contract: Address::repeat_byte(2) };
    let patient = Address::repeat_byte(3);
    let consent = galen_types::Consent {
        grantee: patient,
        segments: Default::default(),
        purposes: Default::default(),
        not_before: 0,
        expiry: 1,
        salt: Default::default(),
    };
    let terms = GrantTerms { ledger, patient, grantee: patient, consent: consent.id(), epoch: 4 };
    let granted = GrantedSegment { category: 0, key: GrantedKey::Whole(segment) };
    let text = GrantText { consent, proxies: vec![], issued: 1, segments: vec![granted] };
    let grant = GrantEnvelope::seal(terms, identity.public(), &text).unwrap();
    let shown = format!("{grant:?}");
    assert!(shown.contains("terms") && !shown.contains("sealed"), "{shown}");
    let terms = ContactTerms { ledger, patient, author: patient, bundle: Default::default() };
    let contact = ContactEnvelope::seal(terms, identity.public(), &[(1, Segment(2))]).unwrap();
    assert!(!format!("{contact:?}").contains("sealed"));
}

#[test]
fn what_is_shared_does_not_print_itself() {
    let mut piece = [CANARY; SecretPiece::LEN];
    piece[0] = 1;
    let piece = SecretPiece::from_bytes(&piece).unwrap();
    let mut half = [CANARY; 64];
    half[31] = 0x07;
    let half = ReaderHalf::from_bytes(Segment(1), 1, &half).unwrap();
    let mut scalar = [CANARY; 32];
    scalar[31] = 0x07;
    let share = ProxyShare::from_bytes(1, Segment(1), 1, &scalar).unwrap();
    let salt = galen_types::Salt(alloy_primitives::B256::repeat_byte(CANARY));
    let split = RootSeed::from_bytes([9; 32])
        .pseudonym(Address::repeat_byte(1))
        .segment(Segment(1), 1)
        .split(1, 1)
        .unwrap();
    let (keys, digests) = (split.keys, split_secret(&[CANARY; 32], 1, 1).unwrap().1);
    let consent = galen_types::Consent {
        grantee: Address::ZERO,
        segments: Default::default(),
        purposes: Default::default(),
        not_before: 0,
        expiry: 1,
        salt,
    };
    let guardians = vec![Address::repeat_byte(1)];
    let of = GuardianTerms { guardians, threshold: 1, final_threshold: 1, salt, delay: 1 };
    let kem = Some((piece.clone(), digests.clone()));
    let key = GrantedKey::Shared { half: half.clone(), keys: keys.clone() };
    let values: [(&str, Box<dyn Debug>); 8] = [
        ("SecretPiece", Box::new(piece.clone())),
        ("ReaderHalf", Box::new(half)),
        ("GrantedKey", Box::new(key.clone())),
        ("SharedSegment", Box::new(SharedSegment { share: share.clone(), keys, kem })),
        ("GuardianTerms", Box::new(of.clone())),
        (
            "PieceText",
            Box::new(PieceText {
                piece,
                digests,
                of,
                identity: Default::default(),
                halves: 1,
                proxies: vec![],
                issued: 1,
            }),
        ),
        (
            "GrantText",
            Box::new(GrantText {
                consent,
                proxies: vec![],
                issued: 1,
                segments: vec![GrantedSegment { category: 1, key }],
            }),
        ),
        ("ProxyShare", Box::new(share)),
    ];
    for (name, value) in &values {
        assert_silent(name, value);
    }
}
