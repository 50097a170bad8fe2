//! `abi/` belongs to the contracts beside it. Seen without a Solidity compiler, by the hashes and
//! settings that `cargo xtask abi` wrote down; continuous integration compiles anew and compares bytes.

use std::fs;

use alloy_primitives::{hex, keccak256};
use galen_e2e::root;
use serde_json::{Value, json};

const CONTRACTS: &[&str] = &["HealthLedger", "Consortium"];

/// Longest code that can lie on chain, in bytes (EIP-170).
const MAX_CODE_LEN: usize = 24_576;
/// Longest code that can create a contract, in bytes (EIP-3860).
const MAX_INITCODE_LEN: usize = 49_152;

fn artifact(name: &str) -> Value {
    let path = root().join("abi").join(name).with_extension("json");
    let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).expect("abi/ holds JSON")
}

#[test]
fn recorded_hashes_equal_the_sources() {
    for name in CONTRACTS {
        let artifact = artifact(name);
        let sources = artifact["sources"].as_object().expect("sources: run `cargo xtask abi`");
        let own = format!("contracts/src/{name}.sol");
        assert!(sources.contains_key(&own), "{name} was not made from {own}");
        for (path, recorded) in sources {
            // Libraries are not in the repository; the hash of the file that pins them is checked below.
            if path.starts_with("contracts/lib/") {
                continue;
            }
            assert_fresh(name, path, recorded);
        }
        let pins = artifact["pins"].as_object().unwrap();
        assert!(!pins.is_empty());
        pins.iter().for_each(|(path, recorded)| assert_fresh(name, path, recorded));
    }
}

fn assert_fresh(name: &str, path: &str, recorded: &Value) {
    let bytes = fs::read(root().join(path))
        .unwrap_or_else(|error| panic!("{name} was made from {path}: {error}"));
    let now = keccak256(bytes).to_string();
    assert_eq!(
        *recorded,
        json!(now),
        "{path} changed since {name} was compiled: run `cargo xtask abi`"
    );
}

/// `cargo xtask abi` compiles exactly this input and compares code; here is seen that it is of the same making.
#[test]
fn the_input_for_verifiers_holds_the_sources_and_settings_of_every_contract() {
    let input = artifact("standard-json");
    let sources = input["sources"].as_object().expect("sources: run `cargo xtask abi`");
    for name in CONTRACTS {
        let artifact = artifact(name);
        for (path, recorded) in artifact["sources"].as_object().unwrap() {
            let content = sources[path]["content"].as_str().unwrap();
            assert_eq!(*recorded, json!(keccak256(content).to_string()), "{name}: {path}");
        }
        let mut settings = input["settings"].clone();
        settings.as_object_mut().unwrap().remove("outputSelection");
        assert_eq!(settings, artifact["settings"], "{name}");
    }
    let whole = artifact("HealthLedger");
    assert!(sources.keys().eq(whole["sources"].as_object().unwrap().keys()), "nothing else");
    assert_eq!(input["language"], "Solidity");
    // Paths of the machine that compiled are nobody's business, and would change the input from machine to machine.
    assert!(sources.keys().all(|path| path.starts_with("contracts/")));
}

#[test]
fn recorded_settings_equal_foundry_toml() {
    let text = fs::read_to_string(root().join("foundry.toml")).unwrap();
    let profile = text.split("\n[").find(|it| it.contains("profile.default]\n")).unwrap();
    let value = |key: &str| -> Value {
        let line = profile
            .lines()
            .find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='))
            .unwrap_or_else(|| panic!("foundry.toml says nothing of {key}"));
        serde_json::from_str(&line.trim().replace('_', "")).unwrap()
    };
    for name in CONTRACTS {
        let settings = &artifact(name)["settings"];
        assert_eq!(settings["evmVersion"], value("evm_version"), "{name}");
        assert_eq!(settings["viaIR"], value("via_ir"), "{name}");
        assert_eq!(settings["optimizer"]["enabled"], value("optimizer"), "{name}");
        assert_eq!(settings["optimizer"]["runs"], value("optimizer_runs"), "{name}");
        assert_eq!(settings["metadata"]["bytecodeHash"], value("bytecode_hash"), "{name}");
        assert_eq!(settings["metadata"]["appendCBOR"], value("cbor_metadata"), "{name}");
    }
}

#[test]
fn contracts_fit_on_chain() {
    for name in CONTRACTS {
        let artifact = artifact(name);
        let code = |field: &str| hex::decode(artifact[field].as_str().unwrap()).unwrap().len();
        let (created, creating) = (code("deployedBytecode"), code("bytecode"));
        assert!((1..=MAX_CODE_LEN).contains(&created), "{name}: {created} bytes");
        assert!((created..=MAX_INITCODE_LEN).contains(&creating), "{name}: {creating} bytes");
    }
}
