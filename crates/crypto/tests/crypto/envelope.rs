//! Envelopes open for their recipient, in their place, and nowhere else.

use alloy_primitives::{Address, B256, U256, keccak256};
use galen_crypto::{
    ContactEnvelope, ContactTerms, Error, GrantEnvelope, GrantTerms, GrantText, GrantedKey,
    GrantedSegment, IdentityKey, MAX_REPLY_LEN, OpenError, OpenKey, ReplyEnvelope, ReplyTerms,
    RootSeed, envelope::MAX_ENVELOPE_LEN, open,
};
use galen_types::{Consent, KeyBundleId, ProposalId, Purpose, Salt, Segment};

use crate::fixture::{EPOCH, FIXTURE, SEGMENT};

fn grantee() -> IdentityKey {
    RootSeed::from_bytes([0x77; 32]).pseudonym(Address::repeat_byte(0x78)).identity()
}

fn consent() -> Consent {
    Consent {
        grantee: Address::repeat_byte(0x78),
        segments: [Segment(3), SEGMENT].into_iter().collect(),
        purposes: [Purpose::Treatment].into_iter().collect(),
        not_before: 1_700_000_000,
        expiry: 1_800_000_000,
        salt: Salt(B256::repeat_byte(0x79)),
    }
}

fn grant_terms() -> GrantTerms {
    GrantTerms {
        ledger: FIXTURE.ledger,
        patient: FIXTURE.keys.id(),
        grantee: Address::repeat_byte(0x78),
        consent: consent().id(),
        epoch: EPOCH,
    }
}

fn whole(segment: u8, epoch: u32) -> GrantedSegment {
    let key = GrantedKey::Whole(FIXTURE.keys.segment(Segment(segment), epoch));
    GrantedSegment { category: segment.wrapping_add(100), key }
}

/// A text in direct mode.
fn granted(segments: &[u8]) -> GrantText {
    let segments = segments.iter().map(|segment| whole(*segment, EPOCH)).collect();
    GrantText { consent: consent(), proxies: Vec::new(), issued: 1_700_000_001, segments }
}

fn contact_terms() -> ContactTerms {
    ContactTerms {
        ledger: FIXTURE.ledger,
        patient: FIXTURE.keys.id(),
        author: Address::repeat_byte(0x78),
        bundle: KeyBundleId(B256::repeat_byte(0x7a)),
    }
}

#[test]
fn a_grantee_reads_records_with_the_keys_of_an_envelope() {
    let key = grantee();
    let granted = granted(&[200, SEGMENT.0, 3]);
    let mut envelope = GrantEnvelope::seal(grant_terms(), key.public(), &granted).unwrap();
    envelope.deadline = 1_800_000_000;
    envelope.signature = vec![9; 65].into();
    let received = GrantEnvelope::decode(&envelope.encode()).unwrap();
    assert_eq!(received, envelope);
    assert_eq!(received.terms(), &grant_terms());
    assert_eq!(received.recipient_key(), keccak256(key.public().as_bytes()));
    assert_eq!(received.ciphertext_hash(), envelope.ciphertext_hash());
    let text = received.open(&key).unwrap();
    assert_eq!((text.consent, text.issued), (consent(), 1_700_000_001));
    let found = text.segments.iter().map(|one| (one.key.segment().0, one.category));
    assert!(found.eq([(3, 103), (42, 142), (200, 44)]));

    let (context, sealed) = FIXTURE.seal(b"glucose 7.1");
    let open = |at: usize| match &text.segments[at].key {
        GrantedKey::Whole(key) => open(&sealed, context, OpenKey::Segment(key)),
        GrantedKey::Shared { .. } => panic!("direct mode"),
    };
    assert_eq!(open(1).unwrap().payload.expose(), b"glucose 7.1");
    assert_eq!(open(0), Err(OpenError));
}

#[test]
fn every_changed_bit_of_a_grant_is_refused_or_leaves_the_secret_part_alone() {
    let key = grantee();
    let envelope = GrantEnvelope::seal(grant_terms(), key.public(), &granted(&[1])).unwrap();
    let text = envelope.encode();
    let tail = text.len() - 4;
    for bit in (0..260 * 8).chain((260 * 8..text.len() * 8).step_by(37)) {
        let mut changed = text.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let Ok(changed) = GrantEnvelope::decode(&changed) else { continue };
        // Only deadline and signature, the last bytes, are not bound to the ciphertext.
        assert!(changed.open(&key).is_err() || bit / 8 >= tail, "bit {bit}");
    }
}

#[test]
fn envelopes_open_for_nobody_else() {
    let key = grantee();
    let grant = GrantEnvelope::seal(grant_terms(), key.public(), &granted(&[1])).unwrap();
    let contact = ContactEnvelope::seal(contact_terms(), key.public(), &[(1, Segment(2))]).unwrap();
    for stranger in [&FIXTURE.identity, &IdentityKey::from_seed(&[5; 32])] {
        assert_eq!(grant.open(stranger).err(), Some(OpenError));
        assert_eq!(contact.open(stranger), Err(OpenError));
    }
    assert!(ContactEnvelope::decode(&grant.encode()).is_err());
    assert!(GrantEnvelope::decode(&contact.encode()).is_err());
}

#[test]
fn contact_envelopes_carry_a_part_of_the_map() {
    let key = grantee();
    let map = FIXTURE.keys.segment_map();
    let pairs: Vec<_> = [9_u8, 2, 255].map(|category| (category, map.segment(category))).into();
    let mut envelope = ContactEnvelope::seal(contact_terms(), key.public(), &pairs).unwrap();
    envelope.signature = vec![1; 4096].into();
    let received = ContactEnvelope::decode(&envelope.encode()).unwrap();
    assert_eq!(received.terms(), &contact_terms());
    assert_eq!(received.recipient_key(), key.public().hash());
    assert_eq!(received.ciphertext_hash(), envelope.ciphertext_hash());
    assert_eq!(received.open(&key).unwrap(), [2, 9, 255].map(|c| (c, map.segment(c))));
    envelope.signature = vec![1; 4097].into();
    assert!(ContactEnvelope::decode(&envelope.encode()).is_err());
}

#[test]
fn the_length_tells_little_of_how_much_is_granted() {
    let key = grantee();
    let len = |count: u8| {
        let segments: Vec<u8> = (0..count).collect();
        let envelope = GrantEnvelope::seal(grant_terms(), key.public(), &granted(&segments));
        envelope.unwrap().encode().len()
    };
    assert_eq!(len(1), len(12));
    assert_eq!(len(30), len(50));
    let all: Vec<u8> = (0..=255).collect();
    let envelope = GrantEnvelope::seal(grant_terms(), key.public(), &granted(&all)).unwrap();
    assert!(envelope.encode().len() + 4096 < MAX_ENVELOPE_LEN);
    let received = GrantEnvelope::decode(&envelope.encode()).unwrap();
    assert_eq!(received.open(&key).unwrap().segments.len(), 256);
}

#[test]
fn nonsense_is_not_sealed() {
    let key = grantee();
    let seal = |text: GrantText| GrantEnvelope::seal(grant_terms(), key.public(), &text);
    let later = GrantText { segments: vec![whole(SEGMENT.0, EPOCH + 1)], ..granted(&[]) };
    let earlier = GrantText { segments: vec![whole(SEGMENT.0, EPOCH - 1)], ..granted(&[]) };
    let expired = GrantText { consent: Consent { expiry: 1, ..consent() }, ..granted(&[1]) };
    let nobody = Consent { grantee: Address::ZERO, ..consent() };
    let nobody = GrantText { consent: nobody, ..granted(&[1]) };
    for text in [granted(&[]), granted(&[1, 2, 1]), later, earlier, expired, nobody] {
        assert!(matches!(seal(text), Err(Error::Terms { .. })));
    }
    let contact = |pairs: &[(u8, Segment)]| {
        ContactEnvelope::seal(contact_terms(), key.public(), pairs).unwrap_err()
    };
    let (a, b) = (Segment(1), Segment(2));
    for pairs in [&[][..], &[(1, a), (1, b)], &[(1, a), (2, a)], &[(1, a), (1, a)]] {
        assert!(matches!(contact(pairs), Error::Terms { .. }));
    }
}

fn reply_terms() -> ReplyTerms {
    ReplyTerms {
        ledger: FIXTURE.ledger,
        patient: FIXTURE.keys.id(),
        author: Address::repeat_byte(0x78),
        proposal: ProposalId(B256::repeat_byte(0x7b)),
        leaves: U256::from(5),
        kind: 1,
    }
}

#[test]
fn a_reply_opens_for_its_author_about_its_proposal_only() {
    let key = grantee();
    let seal = |terms, words: &str| ReplyEnvelope::seal(terms, key.public(), words);
    let mut envelope = seal(reply_terms(), "not my dose").unwrap();
    envelope.deadline = 1_800_000_000;
    envelope.signature = vec![9; 65].into();
    let bytes = envelope.encode();
    let received = ReplyEnvelope::decode(&bytes).unwrap();
    assert_eq!((received.terms(), received.deadline), (&reply_terms(), 1_800_000_000));
    assert_eq!(received.open(&key).unwrap().as_str(), "not my dose");
    assert!(received.open(&FIXTURE.keys.identity()).is_err());
    assert!(!format!("{received:?}").contains("dose"));

    // A changed bit is refused, or lies in deadline or signature, which the reader of the chain judges.
    for bit in (0..bytes.len() * 8).step_by(7) {
        let mut other = bytes.clone();
        other[bit / 8] ^= 1 << (bit % 8);
        let Ok(other) = ReplyEnvelope::decode(&other) else { continue };
        if other.open(&key).is_ok() {
            assert_eq!(other.terms(), received.terms(), "bit {bit}");
            assert_ne!(
                (other.deadline, &other.signature),
                (received.deadline, &received.signature)
            );
        }
    }
    let long = "x".repeat(MAX_REPLY_LEN);
    assert_eq!(seal(reply_terms(), &long).unwrap().open(&key).unwrap().len(), MAX_REPLY_LEN);
    let len = |words| seal(reply_terms(), words).unwrap().encode().len();
    assert_eq!(len("a"), len(&"a".repeat(1_000)), "the length tells little");
    let none = ReplyTerms { leaves: U256::ZERO, ..reply_terms() };
    for nonsense in [seal(reply_terms(), ""), seal(reply_terms(), &(long + "x")), seal(none, "a")] {
        assert!(matches!(nonsense, Err(Error::Terms { .. })));
    }
}
