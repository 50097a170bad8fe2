//! Writes `tests/vectors/seal/*.json` and `tests/vectors/keys.json` anew: `cargo run -p galen-crypto
//! --example make_vectors -- tests/vectors`.
//!
//! Wraps are random, so the files of every run differ. The committed ones were made once.
#![allow(clippy::cast_possible_truncation, clippy::unwrap_used, reason = "a tool, not a library")]

#[path = "../tests/crypto/fixture.rs"]
mod fixture;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/crypto/forge.rs"]
mod forge;

use std::path::Path;

use alloy_primitives::{Address, hex, keccak256};
use galen_crypto::{Header, RootSeed, SealContext};
use galen_types::Segment;
use serde_json::{Value, json};

use fixture::{EPOCH, FIXTURE, SEGMENT, payload};

fn main() {
    let dir = std::env::args().nth(1).expect("the vectors' directory is the argument");
    let dir = Path::new(&dir);
    write(&dir.join("keys.json"), &keys());
    let dir = dir.join("seal");
    std::fs::create_dir_all(&dir).unwrap();
    let small = honest(b"potassium 5.1 mmol/L");
    let large = honest(&payload(70_000));
    write(&dir.join("small.json"), &small);
    write(&dir.join("large.json"), &large);
    refused_edits(&dir, "small", &small);
    refused_edits_of_blocks(&dir, &large);
    refused_readers(&dir, &small);
    forged(&dir);
}

fn write(path: &Path, value: &Value) {
    std::fs::write(path, serde_json::to_string_pretty(value).unwrap() + "\n").unwrap();
}

fn context_json(context: &SealContext) -> Value {
    json!({
        "chain_id": context.ledger.chain_id,
        "contract": format!("{:#x}", context.ledger.contract),
        "record": context.record.to_string(),
        "commitment": context.commitment.to_string(),
    })
}

fn honest(payload: &[u8]) -> Value {
    let (context, sealed) = FIXTURE.seal(payload);
    let header = Header::parse(&sealed).unwrap();
    let data_key = header.unwrap_identity(&context, &FIXTURE.identity).unwrap();
    let seed = keys_of("galen.key.identity.v1");
    json!({
        "what": "nothing is wrong: opens by each key",
        "context": context_json(&context),
        "keys": {
            "identity_seed": hex::encode(seed),
            "segment": { "segment": SEGMENT.0, "epoch": EPOCH, "secret": hex::encode(FIXTURE.segment.expose().as_slice()) },
            "data_key": hex::encode(data_key.expose()),
        },
        "media_type": FIXTURE.media_type.as_str(),
        "salt": FIXTURE.salt.to_string(),
        "payload": hex::encode(payload),
        "sealed": hex::encode(sealed),
    })
}

/// The fixture's X-Wing seed, by the documented derivation.
fn keys_of(label: &str) -> [u8; 32] {
    let mut out = [0; 32];
    let info = [label.as_bytes(), FIXTURE.keys.id().as_slice()].concat();
    hkdf::Hkdf::<sha2::Sha256>::new(None, &[0x11; 32]).expand(&info, &mut out).unwrap();
    out
}

/// One vector: a base file, the bytes to replace, and what else differs.
fn refuse(dir: &Path, name: &str, what: &str, base: &str, edits: &[(usize, usize, Vec<u8>)]) {
    let edits: Vec<Value> = edits
        .iter()
        .map(|(at, remove, insert)| json!({ "at": at, "remove": remove, "insert": hex::encode(insert) }))
        .collect();
    write(
        &dir.join(format!("{name}.json")),
        &json!({ "what": what, "base": base, "edits": edits, "opens": false }),
    );
}

fn sealed_bytes(base: &Value) -> Vec<u8> {
    hex::decode(base["sealed"].as_str().unwrap()).unwrap()
}

fn refused_edits(dir: &Path, base: &str, file: &Value) {
    let sealed = sealed_bytes(file);
    let flip = |at: usize| (at, 1, vec![sealed[at] ^ 1]);
    // Offsets in the header follow from its layout; epoch 7 takes one byte.
    let identity = 42;
    let segment = identity + 1175;
    let places = [
        ("format", 2, "format is 0"),
        ("epoch", 4, "epoch is another"),
        ("key-commitment", 8, "a bit of the key commitment is flipped"),
        ("identity-enc", identity + 5, "a bit of the identity encapsulation is flipped"),
        ("identity-ciphertext", identity + 1127, "a bit of the identity ciphertext is flipped"),
        ("capsule", segment + 4, "a bit of the capsule is flipped"),
        ("proof-point", segment + 38, "a bit of the proof's point is flipped"),
        ("proof-scalar", segment + 70, "a bit of the proof's scalar is flipped"),
        ("segment-kem", segment + 105, "a bit of the segment encapsulation is flipped"),
        ("segment-ciphertext", segment + 1227, "a bit of the segment ciphertext is flipped"),
        ("header-padding", 4095, "the last byte of the header is not zero"),
        ("first-ciphertext", 4096, "a bit of the first block is flipped"),
        ("tag", sealed.len() - 1, "a bit of the last tag is flipped"),
    ];
    for (name, at, what) in places {
        refuse(dir, &format!("flipped-{name}"), what, base, &[flip(at)]);
    }
    let end = sealed.len();
    refuse(dir, "cut-last-byte", "the last byte is missing", base, &[(end - 1, 1, vec![])]);
    refuse(dir, "cut-body", "there is no block", base, &[(4096, end - 4096, vec![])]);
    refuse(dir, "cut-header", "the header is a byte short", base, &[(4095, end - 4095, vec![])]);
    refuse(dir, "cut-everything", "there is nothing", base, &[(0, end, vec![])]);
    refuse(dir, "spare-byte", "a byte follows the last block", base, &[(end, 0, vec![0])]);
    refuse(
        dir,
        "capsule-identity",
        "the capsule is the identity",
        base,
        &[(segment + 4, 32, vec![0; 32])],
    );
    let not_canonical = [vec![0xed], vec![0xff; 30], vec![0x7f]].concat();
    refuse(
        dir,
        "capsule-not-canonical",
        "the capsule is the identity, not reduced",
        base,
        &[(segment + 4, 32, not_canonical)],
    );
}

fn refused_edits_of_blocks(dir: &Path, file: &Value) {
    let sealed = sealed_bytes(file);
    let (first, second) = sealed[4096..].split_at(65_536);
    let end = sealed.len();
    refuse(
        dir,
        "block-dropped-first",
        "the first block is missing",
        "large",
        &[(4096, 65_536, vec![])],
    );
    refuse(
        dir,
        "block-dropped-last",
        "the last block is missing",
        "large",
        &[(4096 + 65_536, second.len(), vec![])],
    );
    refuse(
        dir,
        "block-doubled-last",
        "the last block comes twice",
        "large",
        &[(end, 0, second.to_vec())],
    );
    refuse(
        dir,
        "block-swapped",
        "the last block comes first",
        "large",
        &[(4096, end - 4096, [second, first].concat())],
    );
    refuse(
        dir,
        "block-cut-at-border",
        "the first block is cut",
        "large",
        &[(4096 + 65_535, end - 4096 - 65_535, vec![])],
    );
    refuse(
        dir,
        "block-flipped-second",
        "a bit of the second block is flipped",
        "large",
        &[(4096 + 65_536, 1, vec![second[0] ^ 1])],
    );
}

/// Right bytes, wrong reader or place: the fields replace those of the base.
fn refused_readers(dir: &Path, base: &Value) {
    let write_with = |name: &str, what: &str, field: &str, value: Value| {
        let mut vector =
            json!({ "what": what, "base": "small", "edits": [], "opens": false, "replace": {} });
        vector["replace"][field] = value;
        write(&dir.join(format!("{name}.json")), &vector);
    };
    let other = format!("0x{}", "99".repeat(32));
    write_with("other-chain", "another chain", "/context/chain_id", json!(1));
    write_with(
        "other-contract",
        "another contract",
        "/context/contract",
        json!(format!("0x{}", "99".repeat(20))),
    );
    write_with("other-record", "another record", "/context/record", json!(other));
    write_with("other-commitment", "another commitment", "/context/commitment", json!(other));
    let secret = base["keys"]["segment"]["secret"].clone();
    let keys = |segment: u8, epoch: u32, secret: &Value| json!({ "segment": { "segment": segment, "epoch": epoch, "secret": secret } });
    write_with(
        "other-segment",
        "the key under the number of another segment",
        "/keys",
        keys(SEGMENT.0 + 1, EPOCH, &secret),
    );
    write_with(
        "other-epoch",
        "the key under another epoch",
        "/keys",
        keys(SEGMENT.0, EPOCH + 1, &secret),
    );
    let stranger = hex::encode(FIXTURE.keys.segment(Segment(43), EPOCH).expose().as_slice());
    write_with(
        "other-segment-key",
        "the key of another segment",
        "/keys",
        keys(SEGMENT.0, EPOCH, &json!(stranger)),
    );
    write_with(
        "other-identity-key",
        "another identity key",
        "/keys",
        json!({ "identity_seed": "99".repeat(32) }),
    );
    write_with(
        "other-data-key",
        "another data key",
        "/keys",
        json!({ "data_key": "99".repeat(32) }),
    );
}

/// What a holder of the data key can make and a reader still refuses.
struct Forger<'a> {
    dir: &'a Path,
    context: SealContext,
    payload: &'a [u8],
    text: Vec<u8>,
    plain: Vec<u8>,
}

fn forged(dir: &Path) {
    let payload = b"potassium 5.1 mmol/L";
    let commitment = forge::commitment(payload);
    let context = SealContext { ledger: FIXTURE.ledger, record: FIXTURE.record, commitment };
    let text = forge::header_text(&context);
    let forger = Forger { dir, context, payload, text, plain: forge::plaintext(payload) };
    let what = "nothing is wrong, made by a second implementation";
    forger.emit("honest", what, true, &forger.text, &forger.plain);
    forger.bodies();
    forger.headers();
}

impl Forger<'_> {
    fn emit(&self, name: &str, what: &str, opens: bool, text: &[u8], plain: &[u8]) {
        let sealed = forge::seal(&self.context, text, &[(plain.to_vec(), true)]);
        let vector = json!({
            "what": what, "opens": opens, "context": context_json(&self.context),
            "keys": { "data_key": hex::encode(forge::DATA_KEY) },
            "payload": hex::encode(self.payload), "media_type": forge::MEDIA_TYPE,
            "salt": format!("0x{}", hex::encode(forge::SALT)), "sealed": hex::encode(sealed),
        });
        write(&self.dir.join(format!("forged-{name}.json")), &vector);
    }

    fn bodies(&self) {
        let plain = &self.plain;
        let refuse = |name, what, plain: &[u8]| self.emit(name, what, false, &self.text, plain);
        let with = |at: usize, byte: u8| {
            let mut plain = plain.clone();
            plain[at] = byte;
            plain
        };
        let dirty = with(plain.len() - 1, 1);
        refuse("padding-dirty", "the last byte of padding is not zero", &dirty);
        let long = [&plain[..], &[0]].concat();
        refuse("padding-long", "one byte more than the Padmé length", &long);
        let short = &plain[..plain.len() - 1];
        refuse("padding-short", "one byte less than the Padmé length", short);
        let less = with(39, self.payload.len() as u8 - 1);
        refuse("length-less", "the payload length is one less", &less);
        refuse("length-huge", "the payload length is 2^63 and more", &with(32, 0x80));
        refuse("media-type-empty", "the media type has no character", &with(40, 0));
        refuse("media-type-long", "the media type has 128 characters", &with(40, 128));
        refuse("media-type-control", "the media type has a control character", &with(41, 9));
        refuse("salt-other", "the salt does not fit the commitment", &with(0, 0));
        refuse("payload-other", "the payload does not fit the commitment", &with(51, b'P'));
    }

    fn headers(&self) {
        let text = &self.text;
        let refuse = |name, what, text: &[u8]| self.emit(name, what, false, text, &self.plain);
        let splice = |at: usize, remove: usize, insert: &[u8], end: &[u8]| {
            [&text[..at], insert, &text[at + remove..], end].concat()
        };
        let long_epoch = splice(4, 1, &[0x18, 7], &[]);
        refuse("cbor-long-epoch", "the epoch is encoded in two bytes", &long_epoch);
        let long_key = splice(1, 1, &[0x18, 0], &[]);
        refuse("cbor-long-key", "a map key is encoded in two bytes", &long_key);
        refuse("cbor-order", "epoch stands before format", &splice(1, 4, &[1, 7, 0, 1], &[]));
        refuse("cbor-indefinite", "the map has no length", &splice(0, 1, &[0xbf], &[0xff]));
        refuse("cbor-unknown-key", "the map has a fifth pair", &splice(0, 1, &[0xa5], &[4, 0]));
        refuse("cbor-trailing", "a byte after the map is not zero", &splice(0, 0, &[], &[1]));
        let no_wrap = [&text[..41], &[0x80]].concat();
        refuse("no-wrap", "the list of wraps is empty", &no_wrap);
        let two = splice(41, 1, &[0x82], &forge::identity_wrap());
        refuse("two-identity-wraps", "two wraps of one kind", &two);
        refuse("unknown-wrap", "a wrap of kind 2", &splice(43, 1, &[2], &[]));
        refuse("format-2", "the format is 2", &splice(2, 1, &[2], &[]));
    }
}

fn keys() -> Value {
    let seed = [0x11; 32];
    let root = RootSeed::from_bytes(seed);
    let vectors: Vec<Value> = [0x22, 0x23]
        .map(|id| {
            let keys = root.pseudonym(Address::repeat_byte(id));
            let segments: Vec<Value> = [(0, 0), (42, 7), (255, u32::MAX)]
                .map(|(segment, epoch)| {
                    let key = keys.segment(Segment(segment), epoch);
                    json!({
                        "segment": segment, "epoch": epoch,
                        "secret": hex::encode(key.expose().as_slice()),
                        "point": hex::encode(key.public().point_bytes()),
                        "kem_public_keccak256": hex::encode(keccak256(key.public().kem_bytes())),
                    })
                })
                .into();
            let map = keys.segment_map();
            let order: Vec<u8> = (0..=255).map(|category| map.segment(category).0).collect();
            json!({
                "id": hex::encode(keys.id()),
                "identity_public_keccak256": hex::encode(keys.identity().public().hash()),
                "segments": segments,
                "segment_map": hex::encode(order),
                "consent_salt_3": hex::encode(keys.consent_salt(3).as_bytes()),
                "guardian_salt_3": hex::encode(keys.guardian_salt(3).as_bytes()),
            })
        })
        .into();
    json!({ "what": "derivations from a root seed", "seed": hex::encode(seed), "vectors": vectors })
}
