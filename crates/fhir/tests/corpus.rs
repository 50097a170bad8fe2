//! Published and tricky documents, from the folder `../shared/fhir` beside the repository (or `GALEN_FHIR`).
//!
//! Without the folder the tests say that they were skipped; with `GALEN_REQUIRE_FHIR=1` they fail.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]
#![allow(
    clippy::print_stderr,
    reason = "a skipped test must say so, and the judged shares are worth reading"
)]

mod common;

use std::{collections::BTreeMap, fs};

use common::{PUBLISHED, corpus, files};
use galen_fhir::{Document, Fault, check, check_ndjson};
use serde_json::Value;

/// Each resource once, and copies beside it, in payloads that pass the reader again.
fn assert_split_keeps_everything(name: &str, bytes: &[u8]) {
    let document = Document::read(bytes).unwrap();
    let mut resources = 0;
    for draft in document.split() {
        let payload = draft.payload();
        let again =
            Document::read(payload.expose()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(again.len(), draft.len(), "{name}");
        assert!(again.fits(draft.category()), "{name}: {}", draft.category());
        resources += draft.len() - draft.copies();
    }
    assert_eq!(resources, document.len(), "{name}");
}

#[test]
fn published_documents_are_accepted() {
    let Some(corpus) = corpus() else { return };
    let (mut accepted, mut refused) = (0, Vec::new());
    for folder in PUBLISHED {
        for (name, bytes) in files(&corpus.join(folder)) {
            // A list of what the others are, not a FHIR document.
            if name == "DESCRIPTIONS.json" {
                continue;
            }
            match check(&bytes) {
                Ok(_) => {
                    accepted += 1;
                    assert_split_keeps_everything(&name, &bytes);
                }
                Err(error) => refused.push(format!("{folder}/{name}: {error}")),
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(accepted > 100, "only {accepted} documents found");
}

#[test]
fn tricky_documents_are_judged_as_their_manifest_says() {
    let Some(corpus) = corpus() else { return };
    let folder = corpus.join("tricky");
    let manifest: Vec<Value> =
        serde_json::from_slice(&fs::read(folder.join("MANIFEST.json")).unwrap()).unwrap();
    for row in manifest {
        let file = row["file"].as_str().unwrap();
        let bytes = fs::read(folder.join(file)).unwrap();
        let result = check(&bytes);
        match row["expect"].as_str().unwrap() {
            "accept" => {
                assert!(result.is_ok(), "{file}: {}", result.unwrap_err());
                assert_split_keeps_everything(file, &bytes);
            }
            "reject" => assert!(result.is_err(), "{file}"),
            // Stripping would change bytes that somebody signs.
            "reject-or-strip" => {
                assert_eq!(result.unwrap_err().fault(), Fault::ByteOrderMark, "{file}")
            }
            // Number text is kept, so nothing overflows.
            "reject-or-preserve" => assert_split_keeps_everything(file, &bytes),
            "accept-3-report-1" => {
                let summary = check_ndjson(&bytes[..]).unwrap();
                assert_eq!((summary.accepted, summary.refused.len()), (3, 1), "{file}");
            }
            other => panic!("unknown expectation {other}"),
        }
    }
}

#[test]
fn hl7_validator_cases_are_judged_in_their_favour() {
    let Some(corpus) = corpus() else { return };
    let folder = corpus.join("tricky/hl7-validator");
    let rows: Vec<Value> =
        serde_json::from_slice(&fs::read(folder.join("EXPECTED.json")).unwrap()).unwrap();
    let mut expected = BTreeMap::<&str, Vec<Option<u64>>>::new();
    for row in &rows {
        expected
            .entry(row["file"].as_str().unwrap())
            .or_default()
            .push(row["expected_errors"].as_u64());
    }
    let (mut invalid, mut caught, mut wrong) = (0, 0, Vec::new());
    for (file, errors) in expected {
        let Ok(bytes) = fs::read(folder.join(file)) else { continue };
        let result = check(&bytes);
        if errors.iter().all(|count| count.is_some_and(|count| count > 0)) {
            invalid += 1;
            caught += usize::from(result.is_err());
            eprintln!(
                "invalid {file}: {}",
                result.map_or_else(|e| e.to_string(), |_| "accepted".into())
            );
        } else if let (Err(error), true) = (result, errors.iter().all(|count| *count == Some(0))) {
            wrong.push(format!("{file}: {error}"));
        }
    }
    eprintln!("hl7-validator: {caught} of {invalid} invalid documents refused");
    // Most others break rules across elements or references, which a reader of structure does not judge.
    assert!(caught >= 15, "fewer refused than before");
    assert!(wrong.is_empty(), "valid documents refused:\n{}", wrong.join("\n"));
}
