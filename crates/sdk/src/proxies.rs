//! Sharing through proxies, so that records are read while the patient is away.
//!
//! A patient splits the keys of a consent: one half goes to the grantee, the other in shares to some proxies
//! ([`ProxySet`]). A grantee logs its read on chain, then asks the proxies ([`ProxyClient`]), and opens the record with
//! its half and enough of their answers ([`crate::Grantee::read`]).

mod ask;
mod client;
mod offers;
mod report;
mod share;
pub mod wire;

pub(crate) use ask::Unlocked;
pub use ask::{AskProgress, Asking};
pub use client::{ProxyClient, ProxyError};
pub use offers::{Offered, OfferedGrant};
pub use report::ProxyReport;
pub use share::{ProxySet, Renewed, ShareDelivery};
