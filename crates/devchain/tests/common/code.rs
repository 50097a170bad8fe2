//! Small contracts, assembled by hand. Each runtime code is one string of hex, split by opcode.

use alloy::primitives::{Bytes, U256, hex};

/// Init code that deploys `runtime` (at most 255 bytes):
/// `PUSH1 length, DUP1, PUSH1 12, PUSH1 0, CODECOPY, PUSH1 0, RETURN`, padded by one `STOP`.
pub fn deploy(runtime: &[u8]) -> Bytes {
    let length = u8::try_from(runtime.len()).unwrap();
    let mut code = vec![0x60, length, 0x80, 0x60, 12, 0x60, 0, 0x39, 0x60, 0, 0xf3, 0x00];
    code.extend(runtime);
    code.into()
}

fn assemble(text: &str) -> Vec<u8> {
    hex::decode(text.split_whitespace().collect::<String>()).unwrap()
}

/// Emits one log: topic 0x11…11, topic the first word of calldata, data the calldata.
pub fn logger() -> Vec<u8> {
    // CALLDATACOPY(0, 0, size); LOG2(0, size, 0x11…11, word 0)
    assemble(&format!("36 5f 5f 37  5f 35  7f {}  36  5f  a2  00", "11".repeat(32)))
}

/// Emits as many empty logs as the first word says.
pub fn spammer() -> Vec<u8> {
    // word 0; 2: LOG0(0, 0); subtract 1; JUMPI(2) unless zero
    assemble("5f 35  5b 5f 5f a0  6001 90 03  80 6002 57  00")
}

/// Reverts with its calldata.
pub fn reverter() -> Vec<u8> {
    assemble("36 5f 5f 37  36 5f fd")
}

/// With 64 bytes of calldata stores the second word under the first; else returns the word stored
/// under the first.
pub fn store() -> Vec<u8> {
    // CALLDATASIZE, 64, EQ, JUMPI(16); MSTORE(0, SLOAD(word 0)); RETURN(0, 32); 16: SSTORE
    assemble("36 6040 14 6010 57  5f 35 54 5f 52 6020 5f f3  5b  6020 35 5f 35 55 00")
}

/// Calls the precompile numbered by the first word with the rest of the calldata; logs the first
/// word of what comes back, under the flag of success.
pub fn precompile() -> Vec<u8> {
    // CALLDATACOPY(0, 32, size - 32)
    // STATICCALL(gas, word 0, 0, size - 32, 0, 32); LOG1(0, 32, success)
    assemble("6020 36 03 6020 5f 37  6020 5f 6020 36 03 5f 5f 35 5a fa  6020 5f a1 00")
}

/// Creates a child from its calldata (init code) and returns the child's address; the child's
/// failure is address zero.
pub fn creator() -> Vec<u8> {
    // CALLDATACOPY(0, 0, size); MSTORE(0, CREATE(0, 0, size)); LOG0(0, 32); RETURN(0, 32)
    assemble("36 5f 5f 37  36 5f 5f f0  5f 52  6020 5f a0  6020 5f f3")
}

/// Loops until the gas is gone.
pub fn burner() -> Vec<u8> {
    assemble("5b 5f 56")
}

/// Returns block number, timestamp, base fee, chain id, caller, origin and gas price as words.
pub fn environment() -> Vec<u8> {
    assemble(
        "43 5f 52  42 6020 52  48 6040 52  46 6060 52  33 6080 52  32 60a0 52  3a 60c0 52  60e0 5f f3",
    )
}

/// Words as calldata.
pub fn words<const N: usize>(values: [u64; N]) -> Bytes {
    values
        .iter()
        .flat_map(|&value| U256::from(value).to_be_bytes::<32>())
        .collect::<Vec<_>>()
        .into()
}
