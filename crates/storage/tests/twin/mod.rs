//! Nodes in memory that behave as real ones do, and misbehave on demand.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

pub mod bee;
pub mod kubo;
