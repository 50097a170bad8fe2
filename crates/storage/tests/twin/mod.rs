//! Nodes in memory that behave as real ones do, and misbehave on demand.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

pub mod bee;
pub mod frame;
pub mod kubo;

/// Bytes that never repeat a block.
pub fn content(len: usize) -> Vec<u8> {
    let mut state = len as u64 + 1;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .collect()
}
