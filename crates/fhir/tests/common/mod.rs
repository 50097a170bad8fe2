//! Where published documents are found, for the tests that read them.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]
#![allow(clippy::print_stderr, reason = "a skipped test must say so")]

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Folders of documents that must be accepted.
pub(crate) const PUBLISHED: [&str; 8] = [
    "synthea",
    "synthea-hiv",
    "hl7-r4-examples",
    "ips",
    "us-core",
    "wearable",
    "consent",
    "consent/ihe-pcf",
];

/// The corpus, or `None` if it is not there and need not be.
pub(crate) fn corpus() -> Option<PathBuf> {
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

/// The JSON files of a folder, by name.
pub(crate) fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
}
