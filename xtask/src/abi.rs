//! `abi/<Contract>.json`: the compiled contracts, committed, so that a build needs no compiler.
//!
//! | field | content |
//! |---|---|
//! | `abi` | as the compiler gives it |
//! | `bytecode`, `deployedBytecode` | hex with `0x`; the first creates, the second is what then lies on chain |
//! | `immutableReferences` | where the second holds zeros that the constructor fills in |
//! | `storageLayout` | as the compiler gives it, without its internal node numbers |
//! | `compiler`, `settings` | what made it |
//! | `sources` | Keccak-256 of each file that went in, by path from the top of the repository |
//! | `pins` | the same of the file that pins compiler and libraries, which are not in the repository |
//!
//! `abi/standard-json.json` is the compiler's input with all sources, for those who verify what lies on chain.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use eyre::{OptionExt as _, Result, WrapErr as _, ensure, eyre};
use foundry_compilers::{
    ProjectBuilder, ProjectPathsConfig,
    artifacts::{Settings, StandardJsonCompilerInput, remappings::Remapping},
    solc::{Solc, SolcCompiler, SolcSettings},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sha3::{Digest as _, Keccak256};

use crate::tools::Tools;

/// What gets deployed, each in the file of its name.
const CONTRACTS: &[&str] = &["HealthLedger", "Consortium"];

/// The compiler's input, as verifiers take it.
const INPUT: &str = "abi/standard-json.json";

/// The contract whose input holds the sources of all.
const WHOLE: &str = "HealthLedger";

/// Decides which compiler and libraries are used, by version and hash.
const PINS: &str = "scripts/tools.d/package-lock.json";

/// Compiles and writes `abi/`.
pub(crate) fn write(root: &Path) -> Result<()> {
    for (path, text) in compile(root)? {
        fs::create_dir_all(path.parent().ok_or_eyre("a file has a folder")?)?;
        fs::write(&path, text).wrap_err_with(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Compiles and compares with `abi/`, byte by byte.
pub(crate) fn check(root: &Path) -> Result<()> {
    for (path, text) in compile(root)? {
        let kept = fs::read(&path).wrap_err_with(|| format!("cannot read {}", path.display()))?;
        ensure!(
            kept == text.as_bytes(),
            "{} is not what the contracts compile to; run `cargo xtask abi`",
            path.display()
        );
    }
    Ok(())
}

/// The files of `abi/` as they must be.
fn compile(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let solc = Solc::new(Tools::install(root)?.solc())?;
    let profile = Profile::read(root)?;
    let mut files = Vec::new();
    let mut made = BTreeMap::new();
    let mut whole = Value::Null;
    for name in CONTRACTS {
        // Each contract is compiled with what it imports and nothing else: its bytes depend on no
        // other file.
        let input = resolve(root, &solc, &profile, name)?;
        let text = serde_json::to_string_pretty(&input)? + "\n";
        // What is compiled is what is written down, read back.
        let output: Value = solc.compile_as(&serde_json::from_str::<Value>(&text)?)?;
        report(&output, &profile.src)?;
        let source = format!("{}/{name}.sol", profile.src);
        let mut artifact = artifact(&solc, &input, &output["contracts"][source.as_str()][*name])
            .wrap_err_with(|| format!("cannot use what the compiler says of {name}"))?;
        artifact["pins"] = json!({ PINS: keccak256(&fs::read(root.join(PINS))?) });
        if *name == WHOLE {
            files.push((root.join(INPUT), text));
            whole = output;
        }
        let mut text = serde_json::to_string_pretty(&artifact)?;
        text.push('\n');
        files.push((root.join("abi").join(name).with_extension("json"), text));
        made.insert(*name, artifact["bytecode"].clone());
    }
    same_code(&whole, &profile.src, &made)?;
    Ok(files)
}

/// Whoever compiles the one input gets what is deployed, of every contract.
fn same_code(output: &Value, src: &str, made: &BTreeMap<&str, Value>) -> Result<()> {
    for (name, bytecode) in made {
        let source = format!("{src}/{name}.sol");
        let object = &output["contracts"][source.as_str()][*name]["evm"]["bytecode"]["object"];
        let found = code(object).wrap_err_with(|| format!("{INPUT} gives no {name}"))?;
        ensure!(*bytecode == json!(found), "{INPUT} compiles {name} to other code");
    }
    Ok(())
}

/// The part of foundry.toml that decides what comes out.
#[derive(Deserialize)]
struct Profile {
    src: String,
    remappings: Vec<String>,
    evm_version: String,
    via_ir: bool,
    optimizer: bool,
    optimizer_runs: u32,
    bytecode_hash: String,
    cbor_metadata: bool,
}

impl Profile {
    fn read(root: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct File {
            profile: BTreeMap<String, toml::Value>,
        }
        let text = fs::read_to_string(root.join("foundry.toml"))?;
        let file: File = toml::from_str(&text).wrap_err("cannot read foundry.toml")?;
        let profile = file.profile.get("default").ok_or_eyre("foundry.toml has no default")?;
        profile.clone().try_into().wrap_err("cannot read the default profile of foundry.toml")
    }

    /// In the compiler's own words.
    fn settings(&self) -> Value {
        json!({
            "optimizer": { "enabled": self.optimizer, "runs": self.optimizer_runs },
            "viaIR": self.via_ir,
            "evmVersion": self.evm_version,
            "metadata": { "bytecodeHash": self.bytecode_hash, "appendCBOR": self.cbor_metadata },
            "outputSelection": { "*": { "*": [
                "abi",
                "evm.bytecode.object",
                "evm.deployedBytecode.object",
                "evm.deployedBytecode.immutableReferences",
                "storageLayout",
            ] } },
            "libraries": {},
        })
    }
}

/// The contract and all it imports, under paths from the top of the repository.
fn resolve(
    root: &Path,
    solc: &Solc,
    profile: &Profile,
    name: &str,
) -> Result<StandardJsonCompilerInput> {
    let sources = root.join(&profile.src);
    let remappings = profile
        .remappings
        .iter()
        .map(|text| {
            let mut remapping: Remapping = text.parse().map_err(|e| eyre!("{text}: {e}"))?;
            remapping.path = root.join(&remapping.path).display().to_string();
            Ok(remapping)
        })
        .collect::<Result<Vec<_>>>()?;
    let paths = ProjectPathsConfig::builder()
        .sources(&sources)
        // Tests are none of the input; a folder that does not exist reads as empty.
        .tests(root.join("contracts/none"))
        .scripts(root.join("contracts/none"))
        .no_libs()
        .remappings(remappings)
        .build_with_root(root);
    let settings: Settings = serde_json::from_value(profile.settings())?;
    let project = ProjectBuilder::<SolcCompiler>::new(Default::default())
        .paths(paths)
        .settings(SolcSettings { settings, cli_settings: Default::default() })
        .build(SolcCompiler::Specific(solc.clone()))?;
    Ok(project.standard_json_input(&sources.join(name).with_extension("sol"))?)
}

/// Prints errors, and warnings of our own sources; fails on errors.
fn report(output: &Value, src: &str) -> Result<()> {
    let mut failed = false;
    for message in output["errors"].as_array().into_iter().flatten() {
        let is_error = message["severity"] == "error";
        let file = message["sourceLocation"]["file"].as_str().unwrap_or(src);
        if is_error || file.starts_with(src) {
            eprintln!("{}", message["formattedMessage"].as_str().unwrap_or("no message"));
        }
        failed |= is_error;
    }
    ensure!(!failed, "the contracts do not compile");
    Ok(())
}

fn artifact(solc: &Solc, input: &StandardJsonCompilerInput, output: &Value) -> Result<Value> {
    let evm = &output["evm"];
    let mut layout = output["storageLayout"].clone();
    drop_node_numbers(&mut layout);
    let mut settings = serde_json::to_value(&input.settings)?;
    settings.as_object_mut().ok_or_eyre("settings are an object")?.remove("outputSelection");
    let version = &solc.version;
    // The build says "Emscripten" too; the code does not depend on where the compiler ran.
    let commit = version.build.as_str().split('.').take(2).collect::<Vec<_>>().join(".");
    Ok(json!({
        "abi": output["abi"],
        "bytecode": code(&evm["bytecode"]["object"])?,
        "deployedBytecode": code(&evm["deployedBytecode"]["object"])?,
        "immutableReferences": evm["deployedBytecode"]["immutableReferences"],
        "storageLayout": layout,
        "compiler": format!("{}.{}.{}+{commit}", version.major, version.minor, version.patch),
        "settings": settings,
        "sources": input
            .sources
            .iter()
            .map(|(path, source)| (path.display().to_string(), keccak256(source.content.as_bytes())))
            .collect::<BTreeMap<_, _>>(),
    }))
}

/// Finished code in hex: not empty, and without a gap for a library.
fn code(object: &Value) -> Result<String> {
    let text = object.as_str().ok_or_eyre("no code")?;
    ensure!(!text.is_empty(), "no code: is the contract abstract?");
    ensure!(text.bytes().all(|b| b.is_ascii_hexdigit()), "a library is not linked");
    Ok(format!("0x{text}"))
}

/// Node numbers change with every line of any source and mean nothing outside the compiler.
fn drop_node_numbers(layout: &mut Value) {
    match layout {
        Value::Object(fields) => {
            fields.remove("astId");
            fields.values_mut().for_each(drop_node_numbers);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_node_numbers),
        _ => {}
    }
}

fn keccak256(bytes: &[u8]) -> String {
    let digest = Keccak256::digest(bytes);
    digest.iter().fold(String::from("0x"), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_refused_unless_it_can_be_deployed() {
        assert_eq!(code(&json!("60ff")).unwrap(), "0x60ff");
        // An interface or abstract contract; a gap for a library; no answer.
        for object in [json!(""), json!("60__$1a2b$__ff"), Value::Null] {
            assert!(code(&object).is_err(), "{object}");
        }
    }

    #[test]
    fn node_numbers_vanish_at_every_depth() {
        let mut layout = json!({ "storage": [{ "astId": 7, "slot": "0" }], "types": {
            "t_struct": { "members": [{ "astId": 9, "offset": 0 }] } } });
        drop_node_numbers(&mut layout);
        assert_eq!(
            layout,
            json!({ "storage": [{ "slot": "0" }], "types": {
                "t_struct": { "members": [{ "offset": 0 }] } } })
        );
    }

    #[test]
    fn keccak256_agrees_with_the_published_digest_of_nothing() {
        assert_eq!(
            keccak256(b""),
            "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
        );
    }

    #[test]
    fn an_input_that_gives_other_code_is_refused() {
        let output = json!({ "contracts": { "src/A.sol": { "A": { "evm": {
            "bytecode": { "object": "60ff" } } } } } });
        same_code(&output, "src", &BTreeMap::from([("A", json!("0x60ff"))])).unwrap();
        for made in [("A", json!("0x60fe")), ("B", json!("0x60ff"))] {
            assert!(same_code(&output, "src", &BTreeMap::from([made])).is_err());
        }
    }

    #[test]
    fn errors_fail_and_warnings_do_not() {
        let output = |severity| {
            json!({ "errors": [{ "severity": severity,
            "sourceLocation": { "file": "contracts/lib/x.sol" }, "formattedMessage": "message" }] })
        };
        assert!(report(&output("error"), "contracts/src").is_err());
        report(&output("warning"), "contracts/src").unwrap();
        report(&json!({}), "contracts/src").unwrap();
    }
}
