//! Nothing here: see `benches/proxy.rs`.
