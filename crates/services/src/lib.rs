//! Small services around a ledger. Each is a library here and a command of `galen`.
//!
//! | service | what it does |
//! |---|---|
//! | [`relay`] | submits signed messages and pays the gas, within limits |
//! | [`fhir_server`] | speaks with other people's FHIR servers |
//!
//! [`http`] is the server that they share.

mod error;
pub mod fhir_server;
pub mod http;
pub mod relay;

pub use error::RelayError;
