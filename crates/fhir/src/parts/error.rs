//! Why a tree cannot be built, a selection not be made, or a presentation not be believed.

use galen_types::ErrorKind;

use crate::FhirError;

/// What is wrong with a policy, a selection or a presentation.
///
/// Names elements, positions and limits, and what the person wrote as a pattern; never a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartsError {
    /// A policy or pattern names an element that R4 does not have there.
    #[error("R4 has no element {name:?} where {pattern:?} looks for it{}", alike(.near))]
    UnknownElement {
        /// What was written.
        pattern: String,
        /// The part that is not known.
        name: String,
        /// Names that R4 has there and that look alike.
        near: Vec<&'static str>,
    },
    /// A policy or pattern is not written as one.
    #[error("not a pattern of elements: {pattern:?}: {reason}")]
    Pattern {
        /// What was written.
        pattern: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A pattern reaches into something that is signed as one.
    #[error("{whole} is signed as one, and {pattern:?} names a part of it")]
    NotCut {
        /// What was written.
        pattern: String,
        /// The element that can only be shown or hidden as a whole.
        whole: String,
    },
    /// More patterns or rules than the limit.
    #[error("more than {limit} patterns")]
    TooManyPatterns {
        /// The limit.
        limit: usize,
    },
    /// The selection leaves nothing to show.
    #[error("nothing is left to show")]
    NothingShown,
    /// The document has more elements than [`super::MAX_ELEMENTS`], even cut into entries.
    #[error("more than {limit} elements")]
    TooManyElements {
        /// The limit.
        limit: usize,
    },
    /// This seed gives two elements the same label: choose another.
    #[error("the seed gives two elements the same label")]
    Seed,
    /// A batch of no roots, or of more than [`super::MAX_BATCH`].
    #[error("a batch has 1 to {limit} roots")]
    Batch {
        /// The limit.
        limit: usize,
    },
    /// The presentation is longer than [`super::MAX_SHOWN_LEN`].
    #[error("presentation longer than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The tree of a presentation has a depth that no document gives.
    #[error("no tree has {depth} levels")]
    Depth {
        /// The depth that was stated.
        depth: u8,
    },
    /// The elements are not in ascending order of slots, or lie outside the tree.
    #[error("element {index} is out of order")]
    Slot {
        /// Position in the presentation.
        index: usize,
    },
    /// A label is zero or occurs twice.
    #[error("element {index} has no label of its own")]
    Label {
        /// Position in the presentation.
        index: usize,
    },
    /// What must be shown beside an element is missing.
    #[error("element {index} is shown without what it belongs to")]
    Parent {
        /// Position in the presentation.
        index: usize,
    },
    /// A fragment is not a path with a JSON value, or its element has none.
    #[error("element {index} is malformed")]
    Fragment {
        /// Position in the presentation.
        index: usize,
    },
    /// Two fragments claim the same place.
    #[error("two elements claim the same place")]
    Conflict,
    /// Hashes are missing or left over.
    #[error("the hashes do not make one tree")]
    Nodes,
    /// What the shown parts make together is not FHIR.
    #[error("the shown parts make no FHIR document")]
    View(#[source] FhirError),
}

impl PartsError {
    /// [`ErrorKind::Invalid`] for what a person asked, [`ErrorKind::Integrity`] for what a presentation claims.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownElement { .. }
            | Self::Pattern { .. }
            | Self::NotCut { .. }
            | Self::TooManyPatterns { .. }
            | Self::NothingShown
            | Self::TooManyElements { .. }
            | Self::Seed
            | Self::Batch { .. }
            | Self::TooLong { .. } => ErrorKind::Invalid,
            Self::Depth { .. }
            | Self::Slot { .. }
            | Self::Label { .. }
            | Self::Parent { .. }
            | Self::Fragment { .. }
            | Self::Conflict
            | Self::Nodes
            | Self::View(_) => ErrorKind::Integrity,
        }
    }
}

fn alike(names: &[&str]) -> String {
    if names.is_empty() { String::new() } else { format!("; is it {}?", names.join(" or ")) }
}
