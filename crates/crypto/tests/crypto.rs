//! The public face of the crate, against itself, against a second implementation, and against vectors.
#![allow(clippy::cast_possible_truncation, clippy::unwrap_used, reason = "test data and helpers")]

#[path = "crypto/fixture.rs"]
mod fixture;
#[path = "crypto/forge.rs"]
mod forge;
#[path = "crypto/handed.rs"]
mod handed;

#[path = "crypto/content.rs"]
mod content;
#[path = "crypto/envelope.rs"]
mod envelope;
#[path = "crypto/keys.rs"]
mod keys;
#[path = "crypto/keystore.rs"]
mod keystore;
#[path = "crypto/proxy.rs"]
mod proxy;
#[path = "crypto/proxy_attacks.rs"]
mod proxy_attacks;
#[path = "crypto/proxy_vectors.rs"]
mod proxy_vectors;
#[path = "crypto/range.rs"]
mod range;
#[path = "crypto/sharing.rs"]
mod sharing;
#[path = "crypto/tamper.rs"]
mod tamper;
#[path = "crypto/vault.rs"]
mod vault;
#[path = "crypto/vectors.rs"]
mod vectors;
