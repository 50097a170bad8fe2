//! What patients hand to readers, proxies and guardians: it comes back as it was, fits together, and nonsense is
//! neither sealed nor opened.

use alloy_primitives::{Address, B256, Bytes, keccak256};
use galen_crypto::{
    Answer, Error, GrantEnvelope, GrantText, GrantedKey, GrantedSegment, GuardianTerms, Header,
    IdentityKey, Offer, OfferedSegment, OpenError, PieceDigests, PieceEnvelope, PieceTerms,
    PieceText, ProxyPlace, ReaderHalf, RootSeed, SecretPiece, ShareEnvelope, ShareTerms, ShareText,
    SharedSegment, envelope::MAX_NOTE_LEN, join_secret, open_note, seal_note, split_secret,
};
use galen_types::{ContentRef, Salt, Segment};
use proptest::prelude::*;
use zeroize::Zeroizing;

use crate::{
    fixture::{EPOCH, FIXTURE, SEGMENT, payload},
    handed::{
        GRANTEE, ISSUED, consent, grant, grant_terms, granted, network, places, share,
        share_of_network, share_terms, shared,
    },
};

fn holder(n: u8) -> IdentityKey {
    RootSeed::from_bytes([n; 32]).pseudonym(Address::repeat_byte(n)).identity()
}

/// A changed bit of an encoding is either refused or does not open, but for siblings, deadline and signature.
fn every_bit_counts(bytes: &[u8], tail: usize, opens: impl Fn(&[u8]) -> bool) {
    assert!(opens(bytes));
    let end = bytes.len() - tail;
    for bit in (0..300 * 8).step_by(5).chain((300 * 8..end * 8).step_by(191)) {
        let mut changed = bytes.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(!opens(&changed), "bit {bit}");
    }
}

/// From the patient to a reader and two of three proxies, and back to the record, in bytes all the way.
#[test]
fn a_grant_through_proxies_opens_records_of_both_epochs() {
    let (reader, proxy) = (holder(0x77), holder(0x66));
    let old = FIXTURE.keys.segment(SEGMENT, EPOCH - 1).split(2, 3).unwrap();
    let split = FIXTURE.segment.split(2, 3).unwrap();
    let text = grant(vec![granted(&split), granted(&old)]);
    let mut envelope = GrantEnvelope::seal(grant_terms(), reader.public(), &text).unwrap();
    let shares: Vec<ShareEnvelope> = (0..3)
        .map(|at| {
            let terms = ShareTerms { proxy: places()[at].id, ..share_terms(GRANTEE) };
            let text = share(vec![shared(&split, at), shared(&old, at)]);
            ShareEnvelope::seal(terms, proxy.public(), &text).unwrap()
        })
        .collect();
    let leaves: Vec<B256> =
        [envelope.leaf()].into_iter().chain(shares.iter().map(ShareEnvelope::leaf)).collect();
    envelope.siblings = leaves.clone();
    (envelope.deadline, envelope.signature) = (9, Bytes::from(vec![7; 65]));
    let received = GrantEnvelope::decode(&envelope.encode()).unwrap();
    assert_eq!(received, envelope);
    assert_eq!((received.leaf(), &received.siblings), (leaves[0], &leaves));
    let opened = received.open(&reader).unwrap();
    assert_eq!((opened.proxies, opened.issued), (places(), ISSUED));
    let keys: Vec<_> =
        opened.segments.iter().map(|it| (it.key.segment(), it.key.epoch())).collect();
    assert_eq!(keys, [(SEGMENT, EPOCH - 1), (SEGMENT, EPOCH)]);
    let GrantedKey::Shared { half, keys } = &opened.segments[1].key else { panic!("shared") };
    assert!(half.completes(keys, &FIXTURE.segment_public));

    let (context, sealed) = FIXTURE.seal(&payload(50));
    let header = Header::parse(&sealed).unwrap();
    let answers: Vec<Answer> = shares[1..]
        .iter()
        .map(|envelope| {
            let text = ShareEnvelope::decode(&envelope.encode()).unwrap().open(&proxy).unwrap();
            assert_eq!(text.grant, Some(ContentRef::swarm(B256::repeat_byte(0x31))));
            assert_eq!((text.grantee, text.issued, text.oldest_epoch), (GRANTEE, ISSUED, 1));
            text.segments[1].share.answer(&context, header.capsule().unwrap()).unwrap()
        })
        .collect();
    assert!(header.unwrap_shared(&context, half, keys, &answers).is_ok());
    assert!(shares[0].open(&reader).is_err() && envelope.open(&proxy).is_err());
}

#[test]
fn every_changed_bit_of_an_envelope_is_refused() {
    let (reader, proxy) = (holder(0x77), holder(0x66));
    let split = FIXTURE.segment.split(2, 3).unwrap();
    let envelope =
        GrantEnvelope::seal(grant_terms(), reader.public(), &grant(vec![granted(&split)]));
    // Siblings, deadline and signature: three keys of the map and their empty values.
    every_bit_counts(&envelope.unwrap().encode(), 6, |bytes| {
        GrantEnvelope::decode(bytes).is_ok_and(|it| it.open(&reader).is_ok())
    });
    let text = share(vec![shared(&split, 0)]);
    let envelope = ShareEnvelope::seal(share_terms(GRANTEE), proxy.public(), &text).unwrap();
    every_bit_counts(&envelope.encode(), 6, |bytes| {
        ShareEnvelope::decode(bytes).is_ok_and(|it| it.open(&proxy).is_ok())
    });
    let envelope = PieceEnvelope::seal(piece_terms(0), proxy.public(), &piece_text(0)).unwrap();
    every_bit_counts(&envelope.encode(), 6, |bytes| {
        PieceEnvelope::decode(bytes).is_ok_and(|it| it.open(&proxy).is_ok())
    });
    let note = seal_note(proxy.public(), "label", b"place", Zeroizing::new(vec![1; 9])).unwrap();
    every_bit_counts(&note, 0, |bytes| open_note(&proxy, "label", b"place", bytes).is_ok());
}

/// One signature stands for many envelopes by their leaves, which are what the signed struct defines.
#[test]
fn a_leaf_is_the_hash_of_scope_holder_key_and_ciphertext() {
    let reader = holder(0x77);
    let split = FIXTURE.segment.split(1, 3).unwrap();
    let envelope =
        GrantEnvelope::seal(grant_terms(), reader.public(), &grant(vec![granted(&split)])).unwrap();
    let mut words = [0; 128];
    words[..32].copy_from_slice(consent(GRANTEE).id().as_bytes());
    words[44..64].copy_from_slice(GRANTEE.as_slice());
    words[64..96].copy_from_slice(reader.public().hash().as_slice());
    words[96..].copy_from_slice(envelope.ciphertext_hash().as_slice());
    assert_eq!(envelope.leaf(), keccak256(words));
    let mut full = envelope.clone();
    full.siblings = vec![B256::ZERO; 1024];
    assert_eq!(GrantEnvelope::decode(&full.encode()).unwrap(), full);
    full.siblings.push(B256::ZERO);
    assert!(GrantEnvelope::decode(&full.encode()).is_err());
}

#[test]
fn nonsense_is_not_sealed_to_readers() {
    let split = FIXTURE.segment.split(2, 3).unwrap();
    let whole = |epoch| GrantedSegment {
        category: 1,
        key: GrantedKey::Whole(FIXTURE.keys.segment(SEGMENT, epoch)),
    };
    let of_four = FIXTURE.segment.split(2, 4).unwrap();
    let good = || grant(vec![granted(&split)]);
    let with_url = |url: String| {
        let mut text = good();
        text.proxies[1].url = url;
        text
    };
    let twice = {
        let mut text = good();
        text.proxies[1].id = text.proxies[0].id;
        text
    };
    let cases = [
        ("a whole key among proxies", grant(vec![granted(&split), whole(EPOCH - 1)])),
        ("a half without proxies", GrantText { proxies: Vec::new(), ..good() }),
        ("other proxies", grant(vec![granted(&of_four)])),
        ("a proxy twice", twice),
        ("a key twice", grant(vec![granted(&split), granted(&split)])),
        ("not a URL", with_url("ftp://proxy.example".to_owned())),
        ("a URL of two lines", with_url("https://proxy.example/\n".to_owned())),
        ("a long URL", with_url(format!("https://{}", "x".repeat(193)))),
        ("no key", grant(Vec::new())),
    ];
    for (name, text) in cases {
        let sealed = GrantEnvelope::seal(grant_terms(), holder(1).public(), &text);
        assert!(matches!(sealed, Err(Error::Terms { .. })), "{name}");
    }
    let longest = with_url(format!("https://{}", "x".repeat(192)));
    assert!(GrantEnvelope::seal(grant_terms(), holder(1).public(), &longest).is_ok());
    // A key of each segment, shared by two of three, fits; a quarter of them, by 32 of 32, does not.
    let all = |last: u8, threshold: u8, proxies: u8| {
        let key = |n| FIXTURE.keys.segment(Segment(n), EPOCH).split(threshold, proxies).unwrap();
        let mut text = grant((0..=last).map(|n| granted(&key(n))).collect());
        let place = |n| ProxyPlace { id: Address::repeat_byte(n), ..places()[0].clone() };
        text.proxies = (1..=proxies).map(place).collect();
        GrantEnvelope::seal(grant_terms(), holder(1).public(), &text)
    };
    assert_eq!(all(255, 2, 3).unwrap().open(&holder(1)).unwrap().segments.len(), 256);
    assert!(matches!(all(63, 32, 32), Err(Error::Terms { .. })));
}

#[test]
fn nonsense_is_not_sealed_to_proxies() {
    let split = FIXTURE.segment.split(2, 3).unwrap();
    let other = FIXTURE.segment.split(2, 3).unwrap();
    let old = FIXTURE.keys.segment(SEGMENT, EPOCH - 1).split(2, 3).unwrap();
    let foreign = SharedSegment { keys: other.keys.clone(), ..shared(&split, 0) };
    let kem = FIXTURE.segment.split_kem(2, 3).unwrap();
    let with_kem = SharedSegment { kem: Some((kem.0[0].clone(), kem.1)), ..shared(&split, 0) };
    let good = || share(vec![shared(&split, 0)]);
    let cases = [
        ("a share of another split", share(vec![foreign])),
        ("shares of two proxies", share(vec![shared(&split, 0), shared(&old, 1)])),
        ("another epoch", share(vec![shared(&old, 0)])),
        ("a share twice", share(vec![shared(&split, 0), shared(&split, 0)])),
        ("epochs upside down", ShareText { oldest_epoch: EPOCH + 1, ..good() }),
        ("a piece for a named grantee", share(vec![with_kem])),
        ("an offer for a named grantee", ShareText { offer: Some(network().0.encode()), ..good() }),
        ("nobody without pieces", ShareText { grantee: Address::ZERO, grant: None, ..good() }),
        ("nothing", share(Vec::new())),
    ];
    for (name, text) in cases {
        let sealed = ShareEnvelope::seal(share_terms(GRANTEE), holder(1).public(), &text);
        assert!(matches!(sealed, Err(Error::Terms { .. })), "{name}");
    }
}

/// An organization that was told nothing before opens with what two proxies send it, and nobody with less.
#[test]
fn an_offer_and_two_proxies_open_a_record() {
    let proxy = holder(0x66);
    let of_network = network();
    let envelopes: Vec<ShareEnvelope> = (0..3)
        .map(|at| {
            let text = share_of_network(&of_network, at);
            ShareEnvelope::seal(share_terms(Address::ZERO), proxy.public(), &text).unwrap()
        })
        .collect();
    let offer = of_network.0;
    let (context, sealed) = FIXTURE.seal(&payload(50));
    let header = Header::parse(&sealed).unwrap();
    let (mut answers, mut received) = (Vec::new(), Vec::new());
    let mut shown = Vec::new();
    for envelope in &envelopes[..2] {
        let text = ShareEnvelope::decode(&envelope.encode()).unwrap().open(&proxy).unwrap();
        let SharedSegment { share, kem, .. } = &text.segments[0];
        answers.push(share.answer(&context, header.capsule().unwrap()).unwrap());
        received.push(SecretPiece::from_bytes(&kem.as_ref().unwrap().0.to_bytes()).unwrap());
        shown.push(Offer::decode(&text.offer.unwrap()).unwrap());
    }
    assert_eq!(shown, [offer.clone(), offer.clone()]);
    let OfferedSegment { keys, kem, .. } = &shown[0].segments[0];
    let seed = join_secret(kem, &received).unwrap();
    let half = ReaderHalf::of_network(SEGMENT, EPOCH, &seed);
    assert!(half.completes(keys, &FIXTURE.segment_public));
    assert!(header.unwrap_shared(&context, &half, keys, &answers).is_ok());
    assert_eq!(header.unwrap_shared(&context, &half, keys, &answers[1..]).err(), Some(OpenError));
    assert_eq!(join_secret(kem, &received[1..]), Err(OpenError));
}

#[test]
fn offers_have_one_text_and_a_hash_without_the_signature() {
    let offer = network().0;
    let bytes = offer.encode();
    assert_eq!(Offer::decode(&bytes).unwrap(), offer);
    let unsigned = Offer { signature: Bytes::new(), ..offer.clone() };
    assert_eq!(unsigned.text_hash(), offer.text_hash());
    assert_ne!(Offer { issued: 6, ..offer.clone() }.text_hash(), offer.text_hash());
    for bit in (0..bytes.len() * 8).step_by(3) {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let Ok(changed) = Offer::decode(&changed) else { continue };
        let same = changed.text_hash() == offer.text_hash();
        assert_eq!(same, changed.signature != offer.signature, "bit {bit}");
    }
    let segments = vec![offer.segments[0].clone(); 2];
    let of_four = FIXTURE.segment.split_kem(2, 4).unwrap().1;
    let other = OfferedSegment { kem: of_four, ..offer.segments[0].clone() };
    let named = Offer { consent: consent(GRANTEE), ..offer.clone() };
    assert!(named.fault().is_some());
    let cases = [
        ("a segment twice", Offer { segments, ..offer.clone() }),
        ("other pieces", Offer { segments: vec![other], ..offer.clone() }),
        ("another epoch", Offer { epoch: EPOCH + 1, ..offer.clone() }),
        ("other proxies", Offer { proxies: places()[1..].to_vec(), ..offer.clone() }),
        ("nothing", Offer { segments: Vec::new(), ..offer.clone() }),
        ("a long signature", Offer { signature: vec![1; 4097].into(), ..offer }),
    ];
    for (name, offer) in cases {
        assert!(offer.fault().is_some() && Offer::decode(&offer.encode()).is_err(), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn enough_pieces_give_the_secret(
        secret in any::<[u8; 32]>(),
        count in 1u8..=32,
        seed in any::<u64>(),
        junk in any::<[u8; 32]>(),
    ) {
        let threshold = u8::try_from(seed % u64::from(count)).unwrap() + 1;
        let (mut pieces, digests) = split_secret(&secret, threshold, count).unwrap();
        prop_assert_eq!((digests.threshold(), digests.count()), (threshold, count));
        prop_assert_eq!(&PieceDigests::from_bytes(&digests.to_bytes()).unwrap(), &digests);
        pieces.rotate_left((seed >> 8) as usize % usize::from(count));
        let enough = &pieces[..usize::from(threshold)];
        let mut crowd = Vec::new();
        for piece in enough {
            let wrong = [&[piece.index()], junk.as_slice()].concat().try_into().unwrap();
            crowd.push(SecretPiece::from_bytes(&wrong).unwrap());
            crowd.extend([piece.clone(), piece.clone()]);
        }
        prop_assert_eq!(*join_secret(&digests, &crowd).unwrap(), secret);
        prop_assert_eq!(join_secret(&digests, &enough[1..]), Err(OpenError));
        let other = split_secret(&secret, threshold, count).unwrap().1;
        prop_assert_eq!(threshold == 1, join_secret(&other, &crowd).is_ok());
    }
}

fn piece_terms(half: u8) -> PieceTerms {
    PieceTerms {
        ledger: FIXTURE.ledger,
        id: FIXTURE.keys.id(),
        holder: Address::repeat_byte(2),
        half,
        guardians: B256::repeat_byte(0x51),
    }
}

fn piece_text(half: u8) -> PieceText {
    let (mut pieces, digests) =
        split_secret(&[0x52; 32], 2, if half == 0 { 4 } else { 3 }).unwrap();
    PieceText {
        piece: pieces.swap_remove(1),
        digests,
        of: GuardianTerms {
            guardians: (1..=4).map(Address::repeat_byte).collect(),
            threshold: 2,
            final_threshold: 4,
            salt: Salt(B256::repeat_byte(0x53)),
            delay: 86_400,
        },
        identity: FIXTURE.identity.public().hash(),
        halves: 2,
        proxies: places(),
        issued: ISSUED,
    }
}

#[test]
fn pieces_reach_guardians_and_proxies_whole() {
    let key = holder(0x66);
    for half in [0, 1] {
        let text = piece_text(half);
        let mut envelope = PieceEnvelope::seal(piece_terms(half), key.public(), &text).unwrap();
        envelope.siblings = vec![envelope.leaf(), B256::ZERO];
        let received = PieceEnvelope::decode(&envelope.encode()).unwrap();
        assert_eq!((received.terms(), &received), (&piece_terms(half), &envelope));
        let opened = received.open(&key).unwrap();
        assert_eq!(opened.encode(), text.encode());
        // A proxy keeps the text and seals it again.
        let again = PieceText::decode(&text.encode()).unwrap();
        assert_eq!((again.of, again.identity, again.issued), (text.of, text.identity, ISSUED));
        assert_eq!((again.proxies, again.digests), (text.proxies, text.digests));
        assert_eq!(again.piece.to_bytes(), text.piece.to_bytes());
        assert!(received.open(&holder(0x67)).is_err());
    }
    let good = || piece_text(0);
    let guardians =
        |guardians| PieceText { of: GuardianTerms { guardians, ..good().of }, ..good() };
    let mut unsorted = good().of.guardians;
    unsorted.swap(0, 1);
    let cases = [
        ("not a guardian", guardians((3..=6).map(Address::repeat_byte).collect())),
        ("a guardian more", guardians((1..=5).map(Address::repeat_byte).collect())),
        ("unsorted", guardians(unsorted)),
        ("a piece of another secret", PieceText { piece: piece_text(0).piece, ..good() }),
        ("no proxies for the other half", PieceText { proxies: Vec::new(), ..good() }),
        ("proxies without a half", PieceText { halves: 1, ..good() }),
        ("three halves", PieceText { halves: 3, ..good() }),
    ];
    for (name, text) in cases {
        let sealed = PieceEnvelope::seal(piece_terms(0), key.public(), &text);
        assert!(matches!(sealed, Err(Error::Terms { .. })), "{name}");
    }
    let third = PieceEnvelope::seal(piece_terms(2), key.public(), &good());
    assert!(matches!(third, Err(Error::Terms { .. })));
    let bytes = good().encode();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        let one_text = PieceText::decode(&changed).map_or(true, |text| *text.encode() == changed);
        assert!(one_text, "bit {bit}");
    }
}

proptest! {
    /// Whatever comes in over the wire is refused without harm, cut short, made longer or made up.
    #[test]
    fn wire_forms_have_one_text(cut in any::<prop::sample::Index>(), junk: Vec<u8>, at: u16) {
        let (key, split) = (holder(0x66), FIXTURE.segment.split(1, 1).unwrap());
        let mut text = share(vec![shared(&split, 0)]);
        text.issued = u64::from(at);
        let whole = text.encode();
        prop_assert!(ShareText::decode(&whole).is_ok());
        let cut = cut.index(whole.len());
        let longer = [whole.as_slice(), &[0]].concat();
        for bytes in [&whole[..cut], &longer, &junk, &[&whole[..cut], &junk].concat()] {
            let again = ShareText::decode(bytes).map(|text| *text.encode() == *bytes);
            prop_assert!(again.unwrap_or(true));
            prop_assert!(GrantEnvelope::decode(bytes).is_err());
            prop_assert!(ShareEnvelope::decode(bytes).is_err());
            prop_assert!(PieceEnvelope::decode(bytes).is_err());
            prop_assert!(Offer::decode(bytes).is_err());
            prop_assert!(PieceText::decode(bytes).is_err());
            prop_assert!(PieceDigests::from_bytes(bytes).map_or(true, |it| it.to_bytes() == bytes));
            prop_assert_eq!(open_note(&key, "label", b"", bytes), Err(OpenError));
        }
    }
}

#[test]
fn a_note_opens_for_one_key_label_and_place() {
    let key = holder(0x66);
    let text = |len: usize| Zeroizing::new(payload(len));
    for len in [0, 1, 1_020, 1_021, 100_000, MAX_NOTE_LEN] {
        let sealed = seal_note(key.public(), "galen.test.v1", b"here", text(len)).unwrap();
        assert_eq!(open_note(&key, "galen.test.v1", b"here", &sealed).unwrap(), text(len));
    }
    let sealed = seal_note(key.public(), "ab", b"c", text(9)).unwrap();
    let open = |key: &IdentityKey, label: &str, place: &[u8]| open_note(key, label, place, &sealed);
    assert!(open(&key, "ab", b"c").is_ok());
    for refused in [open(&holder(1), "ab", b"c"), open(&key, "a", b"bc"), open(&key, "abc", b"")] {
        assert_eq!(refused, Err(OpenError));
    }
    assert_eq!(sealed.len(), seal_note(key.public(), "ab", b"c", text(0)).unwrap().len());
    let long = seal_note(key.public(), "ab", b"c", text(MAX_NOTE_LEN + 1));
    assert!(matches!(long, Err(Error::PayloadTooLong { .. })));
    assert_eq!(open_note(&key, "ab", b"c", &sealed[..1_000]), Err(OpenError));
}
