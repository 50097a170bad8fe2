//! `tests/vectors/proxy.json`. `examples/make_proxy_vectors.rs` made it once; what it has under `foreign` is by
//! `tests/oracles/python/proxy.py`, which shares no code with this crate and judges the whole file too.

use std::sync::LazyLock;

use alloy_primitives::{B256, hex};
use galen_crypto::{
    Answer, GrantEnvelope, GrantedKey, Header, IdentityKey, Offer, OpenError, OpenKey,
    PieceDigests, PieceEnvelope, ProxyShare, ReaderHalf, SealContext, SecretPiece, ShareEnvelope,
    ShareKeys, join_secret, open, open_note,
};
use galen_types::{LedgerId, Segment};
use serde_json::Value;

use crate::fixture::{EPOCH, FIXTURE, SEGMENT};

static FILE: LazyLock<Value> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/proxy.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
});

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn answer(value: &Value) -> Answer {
    Answer::from_bytes(&array(value))
}

fn context() -> SealContext {
    let value = &FILE["context"];
    let text = |name: &str| value[name].as_str().unwrap();
    let context = SealContext {
        ledger: LedgerId {
            chain_id: value["chain_id"].as_u64().unwrap(),
            contract: text("contract").parse().unwrap(),
        },
        record: text("record").parse().unwrap(),
        commitment: text("commitment").parse().unwrap(),
    };
    assert_eq!(context.to_bytes().to_vec(), bytes(&value["bytes"]));
    context
}

fn header() -> Header {
    Header::parse(&bytes(&FILE["sealed"])).unwrap()
}

#[test]
fn pinned_splits_open_the_pinned_record() {
    let (context, header, sealed) = (context(), header(), bytes(&FILE["sealed"]));
    assert_eq!(header.capsule().unwrap().point().to_vec(), bytes(&FILE["capsule"]["point"]));
    assert_eq!(header.capsule().unwrap().proof().to_vec(), bytes(&FILE["capsule"]["proof"]));
    let opens = |half: &ReaderHalf, keys: &ShareKeys, answers: &[Answer]| {
        let key = header.unwrap_shared(&context, half, keys, answers)?;
        open(&sealed, context, OpenKey::Data(&key)).map(|opened| opened.payload)
    };
    for split in list(&FILE["splits"]) {
        let half = ReaderHalf::from_bytes(SEGMENT, EPOCH, &array(&split["half"])).unwrap();
        let keys = ShareKeys::from_bytes(&bytes(&split["keys"])).unwrap();
        assert!(half.completes(&keys, &FIXTURE.segment_public));
        let mut answers = Vec::new();
        for share in list(&split["shares"]) {
            let index = share["index"].as_u64().unwrap() as u8;
            let scalar = array(&share["scalar"]);
            assert!(ProxyShare::from_bytes(index, SEGMENT, EPOCH, &scalar).unwrap().fits(&keys));
            answers.push(answer(&share["answer"]));
        }
        answers.reverse();
        let payload = opens(&half, &keys, &answers).unwrap();
        assert_eq!(payload.expose(), bytes(&FILE["payload"]));
        let few = &answers[..usize::from(keys.threshold()) - 1];
        assert_eq!(opens(&half, &keys, few), Err(OpenError));
    }
    // Answers that another program gave with the shares of the second split.
    let split = &FILE["splits"][1];
    let half = ReaderHalf::from_bytes(SEGMENT, EPOCH, &array(&split["half"])).unwrap();
    let keys = ShareKeys::from_bytes(&bytes(&split["keys"])).unwrap();
    let foreign: Vec<Answer> = list(&FILE["foreign"]).iter().map(answer).collect();
    assert_eq!(foreign.len(), 3);
    for pair in [[0, 1], [0, 2], [2, 1]] {
        let pair = pair.map(|at| foreign[at].clone());
        assert!(opens(&half, &keys, &pair).is_ok());
    }
}

#[test]
fn pinned_refusals_are_refused() {
    let (context, header) = (context(), header());
    let keys = ShareKeys::from_bytes(&bytes(&FILE["splits"][1]["keys"])).unwrap();
    let refused = list(&FILE["refused"]);
    assert!(refused.len() >= 13);
    for case in refused {
        let answer = answer(&case["answer"]);
        let verified = answer.verify(&keys, &context, SEGMENT, EPOCH, header.capsule().unwrap());
        assert_eq!(verified, Err(OpenError), "{}", case["what"]);
    }
}

#[test]
fn pinned_pieces_give_the_pinned_secret() {
    for case in list(&FILE["pieces"]) {
        let digests = PieceDigests::from_bytes(&bytes(&case["digests"])).unwrap();
        let piece = |value| SecretPiece::from_bytes(&array(value)).unwrap();
        let mut pieces: Vec<SecretPiece> = list(&case["pieces"]).iter().map(piece).collect();
        pieces.reverse();
        assert_eq!(join_secret(&digests, &pieces).unwrap().to_vec(), bytes(&case["secret"]));
    }
}

#[test]
fn pinned_envelopes_say_what_they_said() {
    let key = IdentityKey::from_seed(&array(&FILE["recipient_seed"]));
    let wire = |name: &str| bytes(&FILE["envelopes"][name]["wire"]);
    let leaf = |name: &str| FILE["envelopes"][name]["leaf"].as_str().unwrap().parse::<B256>();
    for (name, proxies) in [("grant_direct", 0), ("grant", 3)] {
        let envelope = GrantEnvelope::decode(&wire(name)).unwrap();
        assert_eq!(envelope.leaf(), leaf(name).unwrap());
        let text = envelope.open(&key).unwrap();
        assert_eq!((text.proxies.len(), text.issued), (proxies, 1_700_000_001));
        assert_eq!(text.consent.expiry, 1_800_000_000);
        let fits = match &text.segments[0].key {
            GrantedKey::Whole(key) => key.public() == FIXTURE.segment_public,
            GrantedKey::Shared { half, keys } => half.completes(keys, &FIXTURE.segment_public),
        };
        assert!(fits && text.segments[0].category == 3);
    }
    for (name, network) in [("share", false), ("share_of_nobody", true)] {
        let envelope = ShareEnvelope::decode(&wire(name)).unwrap();
        assert_eq!(envelope.leaf(), leaf(name).unwrap());
        let text = envelope.open(&key).unwrap();
        assert_eq!((text.expiry, text.oldest_epoch), (1_800_000_000, 1));
        assert_eq!((text.grant.is_none(), text.offer.is_some()), (network, network));
        assert_eq!(text.grantee.is_zero(), network);
    }
    let envelope = PieceEnvelope::decode(&wire("piece")).unwrap();
    assert_eq!(envelope.leaf(), leaf("piece").unwrap());
    let text = envelope.open(&key).unwrap();
    assert_eq!((text.piece.index(), text.halves, text.of.delay), (2, 2, 86_400));
    assert_eq!(text.identity, FIXTURE.identity.public().hash());
    let offer = Offer::decode(&wire("offer")).unwrap();
    let hash = FILE["envelopes"]["offer"]["text_hash"].as_str().unwrap();
    assert_eq!(offer.text_hash(), hash.parse::<B256>().unwrap());
    assert_eq!((offer.segments[0].segment, offer.segments[0].category), (Segment(42), 3));
}

#[test]
fn pinned_notes_say_what_they_said() {
    let key = IdentityKey::from_seed(&array(&FILE["recipient_seed"]));
    for note in list(&FILE["notes"]) {
        let (label, place) = (note["label"].as_str().unwrap(), bytes(&note["place"]));
        let text = open_note(&key, label, &place, &bytes(&note["sealed"])).unwrap();
        assert_eq!(text.to_vec(), bytes(&note["text"]));
        assert_eq!(open_note(&key, "other", &place, &bytes(&note["sealed"])), Err(OpenError));
    }
}
