//! Other people's documents, from the folder `../shared/fhir` beside the repository (or `GALEN_FHIR`).
//!
//! Without the folder the tests say that they were skipped; with `GALEN_REQUIRE_FHIR=1` they fail.

use std::{
    collections::VecDeque,
    env, fs,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
};

use serde_json::Value;

use crate::common::galen;

/// Bundles that go through the demo at the same time.
const AT_ONCE: usize = 2;

/// The corpus, or `None` if it is not there and need not be.
fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fhir");
    let folder = env::var_os("GALEN_FHIR").map_or(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    let required = env::var_os("GALEN_REQUIRE_FHIR").is_some_and(|value| value == "1");
    assert!(!required, "the FHIR corpus is required");
    eprintln!("skipped: no FHIR corpus");
    None
}

/// FHIR documents of a folder, by name. Lists of what the documents are, are none.
fn documents(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        (name.ends_with(".json") || name.ends_with(".ndjson")) && name != "DESCRIPTIONS.json"
    });
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths
}

/// The report of the demo of one bundle.
fn demo(bundle: &Path) -> Value {
    let output = galen().args(["demo", "--json", "--quiet", "--bundle"]).arg(bundle).output();
    let output = output.unwrap();
    let name = bundle.display();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Whatever the input, each read that was granted is in the log, and the log is complete.
#[test]
fn every_synthetic_patient_goes_through_the_demo() {
    let Some(corpus) = corpus() else { return };
    let bundles = ["synthea", "synthea-hiv"].map(|folder| documents(&corpus.join(folder)));
    let queue = Mutex::new(VecDeque::from(bundles.concat()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(bundle) = queue.lock().unwrap().pop_front() else { break };
                    let report = demo(&bundle);
                    let name = bundle.display();
                    assert_eq!(report["accesses_logged"], report["reads_granted"], "{name}");
                    assert_eq!(report["audit_complete"], Value::Bool(true), "{name}");
                    let number = |field: &str| report[field].as_u64().unwrap();
                    assert!(number("reads_granted") > 10, "{name}");
                    let answered = number("records_accepted") + number("records_rejected");
                    assert_eq!(answered, number("records_proposed"), "{name}");
                }
            });
        }
    });
}

#[test]
fn published_examples_pass_the_check() {
    let Some(corpus) = corpus() else { return };
    let folders = ["hl7-r4-examples", "ips", "us-core", "wearable", "consent", "consent/ihe-pcf"];
    let files = folders.map(|folder| documents(&corpus.join(folder))).concat();
    let output = galen().args(["fhir", "check", "--json"]).args(&files).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let refused: Vec<&Value> =
        report["files"].as_array().unwrap().iter().filter(|it| it["accepted"] == false).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    assert_eq!(report["accepted"].as_u64().unwrap(), files.len() as u64);
    assert_eq!(output.status.code(), Some(0));
}
