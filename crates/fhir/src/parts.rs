//! Signed by parts: a salted Merkle tree over the elements of a document.
//!
//! An author signs one root. Whoever holds the document and its seed can show any part of it: the rest is
//! hashes, which tell neither what was left out nor how much, and no guess at a hidden value can be tested
//! without its salt. What belongs together stays together: no element is shown without the cores of all that
//! it stands in (see [`PartTree::build`]).
//!
//! Everything here is pure: no IO, no clock, and randomness comes in as a [`Seed`]. Source: `docs/protocol.md`,
//! section "Signed by parts".
//!
//! ```
//! use galen_fhir::{Document, parts::{PartTree, Seed, Selection, SigningPolicy, verify}};
//!
//! let bytes = br#"{"resourceType":"Patient","birthDate":"1980-02-29","gender":"female"}"#;
//! let document = Document::read(bytes)?;
//! // A real seed is random and as secret as the document.
//! let tree = PartTree::build(&document, &Seed::new([7; 32]), &SigningPolicy::default())?;
//! let shown = tree.select(&Selection::hide(["Patient.birthDate"]))?;
//! let verified = verify(&shown.proof_parts())?;
//! assert_eq!(verified.root, tree.root());
//! assert_eq!(verified.view.expose(), br#"{"resourceType":"Patient","gender":"female"}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batch;
mod cut;
mod error;
mod hash;
mod names;
mod pattern;
mod policy;
mod proof;
mod rule;
mod select;
mod tree;
mod view;

pub use batch::{BATCH_DEPTH, MAX_BATCH, batch, batch_root};
pub use error::PartsError;
pub use hash::Seed;
pub use policy::{MAX_POLICY_RULES, SigningPolicy};
pub use proof::{ElementProof, ProofParts, ShownElement, Verified, verify};
pub use rule::PartRule;
pub use select::{MAX_PATTERNS, Selection, Shown};
pub use tree::PartTree;

/// Elements of one document. One that has more is cut only into the entries of its Bundle, and not at all if
/// it is no Bundle.
pub const MAX_ELEMENTS: usize = 1 << 20;

/// Levels of the smallest tree: 1,024 leaves.
pub const MIN_DEPTH: u8 = 10;

/// Levels of the largest tree.
pub const MAX_TREE_DEPTH: u8 = 20;

/// Bytes of all paths and values of one presentation.
pub const MAX_SHOWN_LEN: usize = 512 << 20;
