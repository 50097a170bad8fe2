//! The program as people, scripts, services and web pages meet it: stories in one process, each in a module.
#![cfg(unix)]
#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a skipped test says so, and one that cannot go on panics"
)]

mod common;
#[cfg(target_os = "linux")]
mod cuts;
#[cfg(target_os = "linux")]
mod screen;
mod twin;
mod world;

#[path = "../../../storage/tests/twin/bee.rs"]
mod bee;
#[path = "../../../devchain/tests/common/mod.rs"]
mod devchain;
#[path = "../../../storage/tests/twin/frame.rs"]
mod frame;

#[cfg(target_os = "linux")]
mod canary;
mod chart;
mod consent_fhir;
mod corpus;
#[cfg(target_os = "linux")]
mod custodian;
mod deploy;
mod dev;
#[cfg(target_os = "linux")]
mod faults;
mod fhir_server;
mod home;
mod injection;
mod people;
mod proxy;
mod recovery;
mod relay;
mod replies;
mod safe;
mod share;
mod signed;
mod standards;
mod stores;
#[cfg(target_os = "linux")]
mod terminal;
