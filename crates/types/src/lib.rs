//! The vocabulary of Galen: what the contracts, the sealed format and the index all speak about.
//!
//! Pure data with one text form each; no IO, no clock, no randomness. The byte layouts are those of
//! `docs/protocol.md`.

mod consent;
mod content;
mod element;
mod error;
mod ids;
mod merkle;
mod plaintext;
mod purpose;
mod record;
mod segment;

pub use consent::{Consent, DelegateTerms, Power, PowerSet};
pub use content::{ContentRef, Store};
pub use element::Element;
pub use error::{ErrorKind, ParseError};
pub use ids::{
    Commitment, ConsentId, KeyBundleId, LedgerId, ProposalId, RecordId, Salt, VersionId,
};
pub use merkle::{ConsentRoot, ConsentTree, hash_pair};
pub use plaintext::Plaintext;
pub use purpose::{Purpose, PurposeSet};
pub use record::{Leaf, LeafKind, RecordKey};
pub use segment::{Segment, SegmentSet};
