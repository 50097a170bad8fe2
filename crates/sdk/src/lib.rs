//! The use cases of Galen.
//!
//! [`Galen`] is the front door: a ledger, a content store, and three roles.
//!
//! | role | what it does |
//! |---|---|
//! | [`Organization`] | learns a patient's segments, proposes and amends records, cosigns |
//! | [`Patient`] | examines and answers proposals, grants, revokes, reseals, audits |
//! | [`Grantee`] | takes a grant, logs each read on chain, and only then opens |
//!
//! Everything is signed by its author and sent by whoever pays, so that a patient needs no gas.

mod error;
mod galen;
mod grantee;
mod organization;
mod patient;

pub use error::Error;
pub use galen::{Galen, Identity, MAX_RECORD_LEN};
pub use grantee::{Grant, Grantee, MAX_READS, ReadRecord};
pub use organization::{Announced, Contact, MAX_LEAVES, NewRecord, Organization};
pub use patient::{GrantRequest, Granted, Patient, ProposedRecord, ResealedRecord};
