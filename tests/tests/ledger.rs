//! The deployed contracts, driven through the bindings of `galen-chain` on an embedded chain.
//!
//! Every attack that somebody would try is refused by its own custom error, compared byte by byte.
//! Calls that only ask (`eth_call`) change nothing, so one stage serves many rows of a table.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "ledger/stage.rs"]
mod stage;

#[path = "ledger/operations.rs"]
mod operations;
#[path = "ledger/rows.rs"]
mod rows;

#[path = "ledger/accesses.rs"]
mod accesses;
#[path = "ledger/consents.rs"]
mod consents;
#[path = "ledger/consortium.rs"]
mod consortium;
#[path = "ledger/model.rs"]
mod model;
#[path = "ledger/reader.rs"]
mod reader;
#[path = "ledger/recovery.rs"]
mod recovery;
#[path = "ledger/settlements.rs"]
mod settlements;
#[path = "ledger/signatures.rs"]
mod signatures;
#[path = "ledger/wallets.rs"]
mod wallets;
