//! The files in `tests/vectors/seal`, one failure each. `examples/make_vectors.rs` made them once.

use std::{collections::BTreeMap, path::Path};

use alloy_primitives::hex;
use galen_crypto::{DataKey, IdentityKey, OpenKey, Opened, SealContext, SegmentKey, open};
use galen_types::{LedgerId, Segment};
use serde_json::Value;

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/seal");

fn files() -> BTreeMap<String, Value> {
    let read = |path: &Path| serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    std::fs::read_dir(DIR)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), read(&path)))
        .collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

fn parse<T: std::str::FromStr<Err: std::fmt::Debug>>(value: &Value) -> T {
    value.as_str().unwrap().parse().unwrap()
}

/// The base of a vector with its edits and replacements; a vector without a base stands for itself.
fn resolve(vector: &Value, files: &BTreeMap<String, Value>) -> Value {
    let Some(base) = vector["base"].as_str() else { return vector.clone() };
    let mut resolved = files[base].clone();
    for edit in vector["edits"].as_array().unwrap() {
        let mut sealed = bytes(&resolved["sealed"]);
        let at = edit["at"].as_u64().unwrap() as usize;
        let end = at + edit["remove"].as_u64().unwrap() as usize;
        sealed.splice(at..end, bytes(&edit["insert"]));
        resolved["sealed"] = hex::encode(sealed).into();
    }
    for (pointer, value) in vector["replace"].as_object().into_iter().flatten() {
        *resolved.pointer_mut(pointer).unwrap() = value.clone();
    }
    resolved
}

fn context(value: &Value) -> SealContext {
    SealContext {
        ledger: LedgerId {
            chain_id: value["chain_id"].as_u64().unwrap(),
            contract: parse(&value["contract"]),
        },
        record: parse(&value["record"]),
        commitment: parse(&value["commitment"]),
    }
}

/// What each of the keys of a vector makes of it.
fn open_all(vector: &Value) -> Vec<Option<Opened>> {
    let sealed = bytes(&vector["sealed"]);
    let context = context(&vector["context"]);
    let keys = vector["keys"].as_object().unwrap();
    let try_key = |(kind, value): (&String, &Value)| match kind.as_str() {
        "identity_seed" => {
            let key = IdentityKey::from_seed(&array(value));
            open(&sealed, context, OpenKey::Identity(&key)).ok()
        }
        "segment" => {
            let segment = Segment(value["segment"].as_u64().unwrap() as u8);
            let epoch = value["epoch"].as_u64().unwrap() as u32;
            let key = SegmentKey::from_bytes(segment, epoch, &array(&value["secret"])).unwrap();
            open(&sealed, context, OpenKey::Segment(&key)).ok()
        }
        "data_key" => {
            let key = DataKey::from_bytes(array(value));
            open(&sealed, context, OpenKey::Data(&key)).ok()
        }
        other => panic!("unknown key {other}"),
    };
    keys.iter().map(try_key).collect()
}

#[test]
fn every_vector_is_judged_as_it_says() {
    let files = files();
    let (mut accepted, mut refused) = (0, 0);
    for (name, vector) in &files {
        let opens = vector["opens"].as_bool().unwrap_or(true);
        let resolved = resolve(vector, &files);
        let results = open_all(&resolved);
        assert!(!results.is_empty());
        for result in results {
            assert_eq!(result.is_some(), opens, "{name}: {}", vector["what"]);
            if let Some(opened) = result {
                assert_eq!(opened.payload.expose(), bytes(&resolved["payload"]), "{name}");
                assert_eq!(opened.media_type, parse(&resolved["media_type"]), "{name}");
                assert_eq!(opened.salt, parse(&resolved["salt"]), "{name}");
            }
        }
        if opens { accepted += 1 } else { refused += 1 }
    }
    assert!(accepted >= 3 && refused >= 50, "{accepted} accepted, {refused} refused");
}
