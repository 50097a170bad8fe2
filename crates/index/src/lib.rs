//! What the ledger's events mean.
//!
//! The contract enforces some rules; the others are enforced by every reader from the events alone.
//! They live here and nowhere else: the SDK and every index use [`Chart::apply`]. `docs/protocol.md`,
//! section "Reader rules", says of each rule which kind it is; `tests/rules.rs` holds a table of cases.
//!
//! [`View`] follows the chain block by block and keeps one [`Chart`] for each pseudonym.

mod audit;
mod chart;
mod head;
mod records;
mod view;

pub use audit::{AuditEntry, AuditReport};
pub use chart::{AccessEntry, Chart, ConsentState, KeyEntry, RequestEntry};
pub use head::Head;
pub use records::{ContentEntry, LeafState, Proposal, Record, Version, VoidReason};
pub use view::{Organization, View};
