//! The pinned presentations of `tests/vectors/parts.json`, which an implementation in Python reads too.
//!
//! `GALEN_WRITE_VECTORS=1` writes the file anew.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::{env, fs, path::Path};

use alloy_primitives::{B256, hex};
use galen_fhir::{
    Document,
    parts::{PartTree, ProofParts, Seed, Selection, SigningPolicy, batch, batch_root, verify},
};
use serde::{Deserialize, Serialize};

const PATIENT: &str = r#"{"resourceType":"Patient","id":"example","name":[{"use":"official","family":"Ba",
  "given":["Ada","Bo"],"_given":[null,{"id":"b"}]}],"birthDate":"1980-02","_birthDate":{"id":"d"},
  "address":[{"city":"X"},{"city":"Y"}],"contact":[{"gender":"male"}],"contained":[{"resourceType":"Organization","name":"O"}]}"#;
const REPORT: &str = "{\n  \"resourceType\": \"Observation\", \"status\": \"final\",\n  \"code\": {\"text\": \"sodium\"},\n  \
    \"valueQuantity\": { \"value\": 140.0100, \"unit\": \"mmol/l\" },\n  \"subject\": {\"reference\": \"Patient/é\", \
    \"display\": \"A \\u00e9\"},\n  \"note\": [{\"text\": \"one\"}, {\"text\": \"two\"}, {\"text\": \"three\"}]\n}\n";

/// One presentation and what becomes of it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vector {
    name: String,
    /// `holds`, or `refused`: malformed, or not with this root.
    expect: String,
    /// Only where everything is shown: with it, the whole tree can be computed anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seed: Option<String>,
    presentation: ProofParts,
    root: B256,
    view: String,
    batch_path: Vec<B256>,
    signed: B256,
}

fn vectors() -> Vec<Vector> {
    let seed = Seed::new([0x42; 32]);
    let policy = SigningPolicy::default();
    let texts = [PATIENT, REPORT];
    let documents = texts.map(|text| Document::read(text.as_bytes()).unwrap());
    let trees = documents.each_ref().map(|one| PartTree::build(one, &seed, &policy).unwrap());
    let (signed, paths) = batch(&trees.each_ref().map(PartTree::root), &seed).unwrap();
    let mut vectors = Vec::new();
    let rows = [
        ("patient, all", 0, Selection::default()),
        ("patient, without names and addresses", 0, Selection::hide(["*.name", "*.address"])),
        ("patient, birth date only", 0, Selection::only(["Patient.birthDate"])),
        ("observation, all", 1, Selection::default()),
        ("observation, one note", 1, Selection::only(["Observation.note[1]"])),
        ("observation, without its patient", 1, Selection::hide(["*.subject"])),
    ];
    for (name, which, selection) in rows {
        let shown = trees[which].select(&selection).unwrap();
        let presentation = shown.proof_parts();
        let view = verify(&presentation).unwrap().view;
        vectors.push(Vector {
            name: name.to_owned(),
            expect: "holds".to_owned(),
            seed: (shown.hidden() == 0).then(|| hex::encode_prefixed(seed.expose())),
            presentation,
            root: trees[which].root(),
            view: String::from_utf8(view.expose().to_vec()).unwrap(),
            batch_path: paths[which].clone(),
            signed,
        });
    }
    vectors.extend(refused(&trees[1], &paths[1], signed));
    vectors
}

/// One vector a line.
fn lines(vectors: &[Vector]) -> String {
    let lines: Vec<_> = vectors.iter().map(|one| serde_json::to_string(one).unwrap()).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

type Change = (&'static str, fn(&mut ProofParts));

fn refused(tree: &PartTree<'_>, path: &[B256], signed: B256) -> Vec<Vector> {
    let changes: [Change; 7] = [
        ("another value", |p| p.elements[0].fragments[0].1 = "\"x\"".to_owned()),
        ("another parent", |p| p.elements[0].parent ^= 1),
        ("a label twice", |p| p.elements[0].label = p.elements[1].label),
        ("an element less", |p| p.elements.truncate(p.elements.len() - 1)),
        ("a hash less", |p| p.nodes.truncate(p.nodes.len() - 1)),
        ("a hash more", |p| p.nodes.push(B256::ZERO)),
        ("an odd depth", |p| p.depth = 11),
    ];
    let shown = tree.select(&Selection::hide(["Observation.note"])).unwrap();
    let vector = |(name, change): Change| {
        let mut presentation = shown.proof_parts();
        change(&mut presentation);
        Vector {
            name: name.to_owned(),
            expect: "refused".to_owned(),
            seed: None,
            presentation,
            root: tree.root(),
            view: String::new(),
            batch_path: path.to_vec(),
            signed,
        }
    };
    changes.into_iter().map(vector).collect()
}

#[test]
fn pinned_presentations_are_made_and_judged_as_before() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/parts.json");
    if env::var_os("GALEN_WRITE_VECTORS").is_some() {
        let text = lines(&vectors());
        fs::write(&file, text).unwrap();
    }
    let pinned: Vec<Vector> = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(pinned, vectors(), "what was signed before would no longer verify");
    for vector in &pinned {
        let verified = verify(&vector.presentation);
        let holds = verified.as_ref().is_ok_and(|verified| verified.root == vector.root);
        assert_eq!(holds, vector.expect == "holds", "{}", vector.name);
        if holds {
            assert_eq!(verified.unwrap().view.expose(), vector.view.as_bytes(), "{}", vector.name);
            let signed = batch_root(vector.root, &vector.batch_path).unwrap();
            assert_eq!(signed, vector.signed, "{}", vector.name);
        }
    }
}
