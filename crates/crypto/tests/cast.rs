//! Foundry's `cast` reads our keystores and we read its.
//!
//! Needs the program: `GALEN_CAST=/path/to/cast`. Skipped without, unless `GALEN_REQUIRE_CAST=1`.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use galen_crypto::{Keystore, keystore::Cost};

/// Secret and address as in the documentation of anvil, account 0.
const SECRET: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const ADDRESS: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
const PASSWORD: &str = "correct horse";

fn cast() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("GALEN_CAST") {
        return Some(path.into());
    }
    let required = std::env::var_os("GALEN_REQUIRE_CAST").is_some_and(|value| value == "1");
    assert!(!required, "GALEN_CAST is not set");
    eprintln!("skipped: GALEN_CAST is not set");
    None
}

fn run(cast: &Path, dir: &Path, args: &[&str]) -> String {
    let output = Command::new(cast).args(args).current_dir(dir).env("HOME", dir).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {shown}");
    String::from_utf8(output.stdout).unwrap()
}

fn secret() -> [u8; 32] {
    alloy_primitives::hex::decode(SECRET).unwrap().try_into().unwrap()
}

#[test]
fn cast_reads_our_keystores() {
    let Some(cast) = cast() else { return };
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let address = Some(ADDRESS.parse().unwrap());
    let keystore =
        Keystore::encrypt(&secret(), PASSWORD.as_bytes(), address, Cost::default()).unwrap();
    std::fs::write(dir.join("ours"), keystore.to_json()).unwrap();
    std::fs::write(dir.join("password"), PASSWORD).unwrap();
    let args = ["wallet", "address", "--keystore", "ours", "--password-file", "password"];
    assert_eq!(run(&cast, dir, &args).trim(), ADDRESS);
    let args = [
        "wallet",
        "decrypt-keystore",
        "--keystore-dir",
        ".",
        "ours",
        "--unsafe-password",
        PASSWORD,
    ];
    assert!(run(&cast, dir, &args).to_lowercase().contains(SECRET));
}

#[test]
fn we_read_keystores_of_cast() {
    let Some(cast) = cast() else { return };
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let args = [
        "wallet",
        "import",
        "theirs",
        "--keystore-dir",
        ".",
        "--private-key",
        SECRET,
        "--unsafe-password",
        PASSWORD,
    ];
    run(&cast, dir, &args);
    let text = std::fs::read_to_string(dir.join("theirs")).unwrap();
    let keystore = Keystore::from_json(&text).unwrap();
    assert_eq!(*keystore.decrypt(PASSWORD.as_bytes()).unwrap(), secret());
    assert!(keystore.decrypt(b"wrong horse").is_err());
}
