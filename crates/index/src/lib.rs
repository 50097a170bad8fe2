//! What the ledger's events mean.
//!
//! The contract enforces some rules; the others are enforced by every reader from the events alone.
//! They live here and nowhere else: the SDK and every index use [`Chart::apply`]. `docs/protocol.md`,
//! section "Reader rules", says of each rule which kind it is; `tests/rules.rs` holds a table of cases.
//!
//! [`View`] follows the chain and keeps one [`Chart`] for each pseudonym; what it verified once it can
//! keep on disk, see [`HistoryOptions`].

mod audit;
mod cache;
mod chart;
mod head;
mod history;
mod records;
mod state;
mod view;

pub use audit::{AuditEntry, AuditReport, Proof};
pub use chart::{AccessEntry, Chart, ConsentState, KeyEntry, RecoveryEntry, RequestEntry};
pub use head::Head;
pub use history::{Confirmed, HistoryOptions, Progress, SyncReport};
pub use records::{ContentEntry, LeafState, Proposal, Record, Version, VoidReason};
pub use state::Organization;
pub use view::View;
