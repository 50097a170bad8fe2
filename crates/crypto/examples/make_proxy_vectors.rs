//! Writes `tests/vectors/proxy.json` anew: `cargo run -p galen-crypto --example make_proxy_vectors -- tests/vectors`.
//!
//! Splits, proofs and envelopes are random, so every run differs. The committed file was made once; what it has
//! under `foreign` was made by `tests/oracles/python/proxy.py` and is kept.
#![allow(clippy::cast_possible_truncation, clippy::unwrap_used, reason = "a tool, not a library")]

#[path = "../tests/crypto/fixture.rs"]
mod fixture;
#[path = "../tests/crypto/handed.rs"]
mod handed;

use std::path::Path;

use alloy_primitives::{Address, B256, hex, keccak256};
use galen_crypto::{
    Answer, Capsule, GrantEnvelope, GrantText, GrantedKey, GrantedSegment, GuardianTerms, Header,
    IdentityKey, KeySplit, Offer, PieceEnvelope, PieceTerms, PieceText, SealContext, SecretPiece,
    ShareEnvelope, ShareText, seal_note, split_secret,
};
use galen_types::Salt;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use fixture::{EPOCH, FIXTURE, SEGMENT, payload};
use handed::{
    ISSUED, grant, grant_terms, granted, network, places, share, share_of_network, share_terms,
    shared,
};

const RECIPIENT: [u8; 32] = [0x99; 32];
const PAYLOAD: &[u8] = b"potassium 5.1 mmol/L";

fn main() {
    let dir = std::env::args().nth(1).expect("the vectors' directory is the argument");
    let path = Path::new(&dir).join("proxy.json");
    let before = std::fs::read_to_string(&path).unwrap_or_else(|_| "{}".to_owned());
    let before: Value = serde_json::from_str(&before).unwrap();
    let (context, sealed) = FIXTURE.seal(PAYLOAD);
    let header = Header::parse(&sealed).unwrap();
    let capsule = header.capsule().unwrap();
    let of_network = network();
    let [all, two, three] =
        [(1, 1), (2, 3), (3, 5)].map(|(t, n)| FIXTURE.segment.split(t, n).unwrap());
    let splits = [&all, &two, &three, &of_network.1];
    let pieces = [(1, 1), (1, 3), (2, 3), (3, 5), (32, 32)].map(|(t, n)| pieces_json(t, n));
    let value = json!({
        "origin": "crates/crypto/examples/make_proxy_vectors.rs, once; `foreign` by tests/oracles/python/proxy.py",
        "context": {
            "chain_id": context.ledger.chain_id,
            "contract": format!("{:#x}", context.ledger.contract),
            "record": context.record.to_string(),
            "commitment": context.commitment.to_string(),
            "bytes": hex::encode(context.to_bytes()),
        },
        "segment": {
            "segment": SEGMENT.0,
            "epoch": EPOCH,
            "secret": hex::encode(FIXTURE.segment.expose().as_slice()),
            "point": hex::encode(FIXTURE.segment_public.point_bytes()),
        },
        "sealed": hex::encode(&sealed),
        "payload": hex::encode(PAYLOAD),
        "capsule": { "point": hex::encode(capsule.point()), "proof": hex::encode(capsule.proof()) },
        "splits": splits.map(|split| split_json(split, &context, capsule)),
        "refused": refused(&two, &context, capsule),
        "pieces": pieces,
        "recipient_seed": hex::encode(RECIPIENT),
        "envelopes": envelopes(&two, &of_network),
        "notes": notes(),
        "foreign": before["foreign"],
    });
    std::fs::write(&path, serde_json::to_string_pretty(&value).unwrap() + "\n").unwrap();
}

fn split_json(split: &KeySplit, context: &SealContext, capsule: &Capsule) -> Value {
    let share = |share: &galen_crypto::ProxyShare| {
        let answer = share.answer(context, capsule).unwrap();
        json!({
            "index": share.index(),
            "scalar": hex::encode(share.expose().as_slice()),
            "answer": hex::encode(answer.to_bytes()),
        })
    };
    json!({
        "half": hex::encode(split.half.expose().as_slice()),
        "keys": hex::encode(split.keys.to_bytes()),
        "shares": split.shares.iter().map(share).collect::<Vec<_>>(),
    })
}

/// Answers for the second split that are no answers.
fn refused(split: &KeySplit, context: &SealContext, capsule: &Capsule) -> Vec<Value> {
    let good = split.shares[0].answer(context, capsule).unwrap().to_bytes();
    let refuse = |what: &str, answer: [u8; Answer::LEN]| json!({ "what": what, "answer": hex::encode(answer) });
    let edit = |at: usize, bytes: &[u8]| {
        let mut answer = good;
        answer[at..at + bytes.len()].copy_from_slice(bytes);
        answer
    };
    let order =
        hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    // The scalar plus the order of the group is the same scalar in a second text.
    let second_text = |at: usize| {
        let mut carry = 0u16;
        let mut bytes = good[at..at + 32].to_vec();
        for (byte, more) in bytes.iter_mut().zip(&order) {
            let sum = u16::from(*byte) + u16::from(*more) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
        bytes
    };
    let (other_context, other_sealed) = FIXTURE.seal(&payload(30));
    let other = Header::parse(&other_sealed).unwrap();
    let moved = split.shares[0].answer(&other_context, other.capsule().unwrap()).unwrap();
    let next = FIXTURE.segment.split(2, 3).unwrap();
    let of_next = next.shares[0].answer(context, capsule).unwrap();
    vec![
        refuse("another proxy's number", edit(0, &[2])),
        refuse("number zero", edit(0, &[0])),
        refuse("a number above the proxies'", edit(0, &[4])),
        refuse("a bit of the point", edit(1, &[good[1] ^ 1])),
        refuse("the identity for a point", edit(1, &[0; 32])),
        refuse("the capsule for a point", edit(1, capsule.point())),
        refuse("a bit of the challenge", edit(33, &[good[33] ^ 1])),
        refuse("the challenge in a second text", edit(33, &second_text(33))),
        refuse("a bit of the response", edit(65, &[good[65] ^ 1])),
        refuse("the response in a second text", edit(65, &second_text(65))),
        refuse("zeros for a proof", edit(33, &[0; 64])),
        refuse("an answer for another record", moved.to_bytes()),
        refuse("an answer with another grant's share", of_next.to_bytes()),
    ]
}

fn pieces_json(threshold: u8, count: u8) -> Value {
    let secret: [u8; 32] = payload(32).try_into().unwrap();
    let (pieces, digests) = split_secret(&secret, threshold, count).unwrap();
    json!({
        "secret": hex::encode(secret),
        "digests": hex::encode(digests.to_bytes()),
        "pieces": pieces.iter().map(|it| hex::encode(it.to_bytes().as_slice())).collect::<Vec<_>>(),
    })
}

/// One envelope of each kind, with what it says; the wire form of all but the offer opens with the recipient's seed.
fn envelopes(split: &KeySplit, of_network: &(Offer, KeySplit, Vec<SecretPiece>)) -> Value {
    let key = IdentityKey::from_seed(&RECIPIENT);
    let whole = GrantedKey::Whole(FIXTURE.segment.clone());
    let direct = grant(vec![GrantedSegment { category: 3, key: whole }]);
    let direct = GrantText { proxies: Vec::new(), ..direct };
    let seal_grant = |text| GrantEnvelope::seal(grant_terms(), key.public(), text).unwrap();
    let direct = seal_grant(&direct);
    let mut grant = seal_grant(&grant(vec![granted(split)]));
    let seal_share = |text: &ShareText| {
        ShareEnvelope::seal(share_terms(text.grantee), key.public(), text).unwrap()
    };
    let mut share = seal_share(&share(vec![shared(split, 0)]));
    let network = seal_share(&share_of_network(of_network, 0));
    let offer = &of_network.0;
    grant.siblings = vec![grant.leaf(), share.leaf()];
    share.siblings.clone_from(&grant.siblings);
    (grant.deadline, share.deadline) = (1_700_086_400, 1_700_086_400);
    let piece = piece(&key);
    json!({
        "grant_direct": sealed_json(&direct.encode(), direct.leaf()),
        "grant": sealed_json(&grant.encode(), grant.leaf()),
        "share": sealed_json(&share.encode(), share.leaf()),
        "share_of_nobody": sealed_json(&network.encode(), network.leaf()),
        "piece": sealed_json(&piece.encode(), piece.leaf()),
        "offer": { "wire": hex::encode(offer.encode()), "text_hash": offer.text_hash() },
    })
}

fn sealed_json(wire: &[u8], leaf: B256) -> Value {
    json!({ "wire": hex::encode(wire), "leaf": leaf })
}

fn piece(key: &IdentityKey) -> PieceEnvelope {
    let seed: [u8; 32] = payload(32).try_into().unwrap();
    let (mut pieces, digests) = split_secret(&seed, 2, 3).unwrap();
    let text = PieceText {
        piece: pieces.swap_remove(1),
        digests,
        of: GuardianTerms {
            guardians: (1..=3).map(Address::repeat_byte).collect(),
            threshold: 2,
            final_threshold: 3,
            salt: Salt(B256::repeat_byte(0x53)),
            delay: 86_400,
        },
        identity: FIXTURE.identity.public().hash(),
        halves: 2,
        proxies: places(),
        issued: ISSUED,
    };
    let terms = PieceTerms {
        ledger: FIXTURE.ledger,
        id: FIXTURE.keys.id(),
        holder: Address::repeat_byte(2),
        half: 0,
        guardians: keccak256("the guardians"),
    };
    PieceEnvelope::seal(terms, key.public(), &text).unwrap()
}

fn notes() -> Vec<Value> {
    let key = IdentityKey::from_seed(&RECIPIENT);
    let note = |label: &str, place: &[u8], text: Vec<u8>| {
        let sealed = seal_note(key.public(), label, place, Zeroizing::new(text.clone())).unwrap();
        json!({
            "label": label,
            "place": hex::encode(place),
            "text": hex::encode(text),
            "sealed": hex::encode(sealed),
        })
    };
    vec![
        note("galen.proxy.keys.v1", &[0x61; 32], b"[]".to_vec()),
        note("", &[], Vec::new()),
        note("galen.proxy.piece.v1", &[0x62; 32], payload(1_021)),
    ]
}
