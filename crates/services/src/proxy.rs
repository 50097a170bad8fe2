//! The proxy: holds shares of segment keys and answers only for reads that are logged.
//!
//! What it may answer is decided in [`rules`], a pure function of the verified history.

pub mod rules;
mod store;

pub use store::{STORE_FILE, StoreError};
