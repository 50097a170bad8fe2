//! The crate diagram of ARCHITECTURE.md, as a test.

use std::{collections::BTreeSet, process::Command};

use serde_json::{Value, json};

/// Each crate and the crates of this workspace it may use. Lower layers come first.
const LAYERS: &[(&str, &[&str])] = &[
    ("galen-types", &[]),
    ("galen-fhir", &["galen-types"]),
    ("galen-crypto", &["galen-types"]),
    ("galen-storage", &["galen-types"]),
    ("galen-chain", &["galen-types"]),
    ("galen-index", &["galen-types", "galen-chain"]),
    (
        "galen-sdk",
        &[
            "galen-types",
            "galen-fhir",
            "galen-crypto",
            "galen-storage",
            "galen-chain",
            "galen-index",
        ],
    ),
    ("galen-services", SERVICES),
    ("galen-devchain", &["galen-types"]),
    ("galen-cli", ALL_LIBRARIES),
    ("galen-e2e", ALL_LIBRARIES),
];

const SERVICES: &[&str] = &[
    "galen-types",
    "galen-fhir",
    "galen-crypto",
    "galen-storage",
    "galen-chain",
    "galen-index",
    "galen-sdk",
];

const ALL_LIBRARIES: &[&str] = &[
    "galen-types",
    "galen-fhir",
    "galen-crypto",
    "galen-storage",
    "galen-chain",
    "galen-index",
    "galen-sdk",
    "galen-services",
    "galen-devchain",
];

/// Crates whose own tests and examples may run on the embedded chain, which the crates themselves
/// know nothing of.
const TESTED_ON_DEVCHAIN: &[&str] = &["galen-chain", "galen-index", "galen-sdk", "galen-services"];

/// Dependencies that talk to a person, and the only crate that may.
const OWNERS: &[(&str, &str)] =
    &[("clap", "galen-cli"), ("miette", "galen-cli"), ("indicatif", "galen-cli")];

#[test]
fn crates_use_only_lower_layers() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline", "--manifest-path"])
        .arg(galen_e2e::root().join("Cargo.toml"))
        .output()
        .expect("cargo runs this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(faults(&metadata), Vec::<String>::new());
}

#[test]
fn faults_name_each_wrong_arrow() {
    let check = |package: &str, kind: Value, to: &str, expected: &[&str]| {
        let mut packages: Vec<Value> = LAYERS
            .iter()
            .map(|(name, _)| json!({ "name": name, "dependencies": [] }))
            .filter(|it| it["name"] != package)
            .collect();
        packages.push(json!({
            "name": package,
            "dependencies": [{ "name": to, "kind": kind }],
        }));
        assert_eq!(faults(&json!({ "packages": packages })), expected, "{package} -> {to}");
    };
    let normal = Value::Null;
    check("galen-index", normal.clone(), "galen-chain", &[]);
    check("galen-cli", normal.clone(), "clap", &[]);
    check("galen-sdk", json!("dev"), "galen-devchain", &[]);
    check(
        "galen-types",
        normal.clone(),
        "galen-crypto",
        &["galen-types must not use galen-crypto"],
    );
    check("galen-fhir", json!("build"), "galen-chain", &["galen-fhir must not use galen-chain"]);
    check(
        "galen-crypto",
        json!("dev"),
        "galen-storage",
        &["galen-crypto must not use galen-storage"],
    );
    check(
        "galen-devchain",
        normal.clone(),
        "galen-chain",
        &["galen-devchain must not use galen-chain"],
    );
    check(
        "galen-sdk",
        normal.clone(),
        "galen-devchain",
        &["galen-sdk must not use galen-devchain"],
    );
    check("galen-sdk", normal.clone(), "galen-cli", &["galen-sdk must not use galen-cli"]);
    check("galen-storage", normal.clone(), "clap", &["only galen-cli may use clap"]);
    check(
        "galen-new",
        normal,
        "serde",
        &["galen-new is new: place it in ARCHITECTURE.md and here"],
    );
}

/// What `cargo metadata` says that ARCHITECTURE.md forbids.
fn faults(metadata: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let mut members = BTreeSet::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name");
        members.insert(name);
        let Some((_, allowed)) = LAYERS.iter().find(|(it, _)| *it == name) else {
            faults.push(format!("{name} is new: place it in ARCHITECTURE.md and here"));
            continue;
        };
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let to = dependency["name"].as_str().expect("a name");
            let in_tests = dependency["kind"] == "dev"
                && to == "galen-devchain"
                && TESTED_ON_DEVCHAIN.contains(&name);
            let ours = LAYERS.iter().any(|(it, _)| *it == to);
            if ours && !allowed.contains(&to) && !in_tests {
                faults.push(format!("{name} must not use {to}"));
            }
            if let Some((_, owner)) = OWNERS.iter().find(|(it, _)| *it == to)
                && *owner != name
            {
                faults.push(format!("only {owner} may use {to}"));
            }
        }
    }
    for (name, _) in LAYERS {
        if !members.contains(name) {
            faults.push(format!("{name} is gone: take it out of ARCHITECTURE.md and here"));
        }
    }
    faults
}
