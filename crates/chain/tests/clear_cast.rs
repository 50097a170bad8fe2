//! The digest that is shown is the one that Foundry's `cast` signs for the same typed data.
//!
//! Needs the program: `GALEN_CAST=/path/to/cast`. Skipped without, unless `GALEN_REQUIRE_CAST=1`.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

#[allow(dead_code, reason = "shared with the other tests")]
#[path = "clear/samples.rs"]
mod samples;

use std::{path::PathBuf, process::Command};

use alloy_primitives::Signature;
use galen_chain::{KeySigner, clear::explain};
use samples::{Book, all};

/// The documented first key of anvil.
const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

fn cast() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("GALEN_CAST") {
        return Some(path.into());
    }
    let required = std::env::var_os("GALEN_REQUIRE_CAST").is_some_and(|value| value == "1");
    assert!(!required, "GALEN_CAST is not set");
    eprintln!("skipped: GALEN_CAST is not set");
    None
}

#[test]
fn cast_signs_the_digest_that_is_shown() {
    let Some(cast) = cast() else { return };
    let key: [u8; 32] = alloy_primitives::hex::decode(KEY).unwrap().try_into().unwrap();
    let address = galen_chain::Signer::address(&KeySigner::from_key(&key).unwrap());
    for request in all() {
        let shown = explain(&request, &Book::of(request.id)).unwrap();
        let json = serde_json::to_string(&request.typed).unwrap();
        let args = ["wallet", "sign", "--private-key", KEY, "--data", &json];
        let output = Command::new(&cast).args(args).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {error}", shown.primary_type);
        let text = String::from_utf8(output.stdout).unwrap();
        let signature: Signature = text.trim().parse().unwrap();
        let signer = signature.recover_address_from_prehash(&shown.digest).unwrap();
        assert_eq!(signer, address, "{}", shown.primary_type);
    }
}
