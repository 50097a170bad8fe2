//! Small services. Each is a library here and a command of `galen`.
//!
//! | service | what it does |
//! |---|---|
//! | [`relay`] | submits signed messages and pays the gas, within limits |
//! | [`fhir_server`] | speaks with other people's FHIR servers |
//! | [`proxy`] | holds shares of segment keys and answers only for reads that are logged |
//! | [`share`] | serves SMART Health Links from a folder |
//!
//! [`http`] is the server that they share.

mod error;
pub mod fhir_server;
pub mod http;
pub mod proxy;
pub mod relay;
pub mod share;

pub use error::RelayError;
