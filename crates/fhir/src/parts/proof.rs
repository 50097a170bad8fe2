//! A presentation: what is shown, and the check that it was signed.

use std::{collections::HashSet, fmt};

use alloy_primitives::B256;
use galen_types::Plaintext;
use serde::{Deserialize, Serialize};

use super::{
    MAX_SHOWN_LEN, MAX_TREE_DEPTH, MIN_DEPTH, PartsError,
    hash::{self, Content},
    view,
};
use crate::Document;

/// One element in clear, with what it takes to hash it. Holds health data; `Debug` shows none.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShownElement {
    /// The leaf, counted from 0. Random: tells nothing.
    pub slot: u32,
    /// Random bytes without which no guess at a hidden value can be tested.
    pub salt: B256,
    /// The element's own number; random, not zero. Written as 16 hex digits.
    #[serde(with = "label")]
    pub label: u64,
    /// The label of the core that must be shown with it; zero for none.
    #[serde(with = "label")]
    pub parent: u64,
    /// Path and value of each fragment; the value is the text of a JSON value, exactly as it was signed.
    pub fragments: Vec<(String, String)>,
}

/// What is shown, and the hashes that lead from it to the root.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofParts {
    /// Levels of the tree.
    pub depth: u8,
    /// In ascending order of slots.
    pub elements: Vec<ShownElement>,
    /// Hashes of what is not shown, from the leaves up, each level from left to right.
    pub nodes: Vec<B256>,
}

/// One element for the contract's view function, which walks from the leaf to the signed root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElementProof {
    /// As in [`ShownElement`].
    pub salt: B256,
    /// As in [`ShownElement`].
    pub label: u64,
    /// As in [`ShownElement`].
    pub parent: u64,
    /// Hash of the fragments; see [`ShownElement::content`].
    pub content: B256,
    /// The hashes beside the way up, lowest first. For a batch, its path follows.
    pub path: Vec<B256>,
}

/// A presentation that holds together. Whether anybody signed [`Self::root`] is another question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The root that its author must have signed, alone or in a [`super::batch`].
    pub root: B256,
    /// What is shown, as FHIR JSON: made of the fragments alone, each value byte for byte as it was signed,
    /// without white space between them. Required elements may be missing; read it by
    /// [`Document::read_extract`].
    pub view: Plaintext,
    /// SHA-256 of the document as it was signed, if that is shown. Who made the presentation shows it only if
    /// nothing is hidden; but that it is there does not prove that.
    pub document: Option<B256>,
    /// Elements that are shown.
    pub elements: usize,
}

impl ShownElement {
    /// Hash of the fragments: each with the length of its path, the path, the length of its value, the value.
    pub fn content(&self) -> B256 {
        let mut content = Content::default();
        for (path, value) in &self.fragments {
            content.add(path, value.as_bytes());
        }
        content.finish()
    }

    /// The leaf of the tree.
    pub fn leaf(&self) -> B256 {
        hash::leaf(self.salt, self.label, self.parent, self.content())
    }

    /// Whether this is the hash of the whole document.
    pub fn is_document(&self) -> bool {
        self.fragments.iter().any(|(path, _)| path.is_empty())
    }
}

impl ElementProof {
    /// The root above it, as the contract finds it.
    pub fn root(&self) -> B256 {
        let leaf = hash::leaf(self.salt, self.label, self.parent, self.content);
        self.path.iter().fold(leaf, |below, beside| hash::node(below, *beside))
    }
}

/// Checks a presentation and puts together what it shows.
///
/// # Errors
///
/// A [`PartsError`] of kind `Integrity` for everything that no signed document gives: see its variants.
/// [`PartsError::TooLong`] beyond [`MAX_SHOWN_LEN`].
pub fn verify(parts: &ProofParts) -> Result<Verified, PartsError> {
    check_size(parts)?;
    check_order(parts)?;
    let mut document = None;
    for (index, element) in parts.elements.iter().enumerate() {
        let fragment = |_| PartsError::Fragment { index };
        if element.is_document() {
            let hash = view::document_hash(element).map_err(fragment)?;
            if document.replace(hash).is_some() {
                return Err(PartsError::Conflict);
            }
        } else {
            view::check_fragments(element).map_err(fragment)?;
        }
    }
    let root = root(parts)?;
    let view = view::build(&parts.elements)?;
    if let Err(error) = Document::read_extract(view.expose()) {
        return Err(PartsError::View(error));
    }
    Ok(Verified { root, view, document, elements: parts.elements.len() })
}

fn check_size(parts: &ProofParts) -> Result<(), PartsError> {
    if !(MIN_DEPTH..=MAX_TREE_DEPTH).contains(&parts.depth) || parts.depth % 2 == 1 {
        return Err(PartsError::Depth { depth: parts.depth });
    }
    let fragments = parts.elements.iter().flat_map(|element| &element.fragments);
    let len: usize = fragments.map(|(path, value)| path.len() + value.len()).sum();
    if len > MAX_SHOWN_LEN {
        return Err(PartsError::TooLong { limit: MAX_SHOWN_LEN });
    }
    Ok(())
}

/// Slots ascend, labels are unique, and every parent is there.
fn check_order(parts: &ProofParts) -> Result<(), PartsError> {
    let mut labels = HashSet::with_capacity(parts.elements.len());
    let mut next = 0;
    for (index, element) in parts.elements.iter().enumerate() {
        if element.slot < next || element.slot >> parts.depth != 0 {
            return Err(PartsError::Slot { index });
        }
        next = element.slot + 1;
        if element.label == 0 || !labels.insert(element.label) {
            return Err(PartsError::Label { index });
        }
    }
    for (index, element) in parts.elements.iter().enumerate() {
        let there = element.parent == 0 || labels.contains(&element.parent);
        if !there || element.parent == element.label {
            return Err(PartsError::Parent { index });
        }
    }
    Ok(())
}

/// Walks up level by level; each node that cannot be computed is the next of those given.
fn root(parts: &ProofParts) -> Result<B256, PartsError> {
    let leaf = |element: &ShownElement| (element.slot, element.leaf());
    let mut level: Vec<(u32, B256)> = parts.elements.iter().map(leaf).collect();
    let mut given = parts.nodes.iter();
    for _ in 0..parts.depth {
        let mut above = Vec::with_capacity(level.len());
        let mut rest = level.iter().copied().peekable();
        while let Some((at, hash)) = rest.next() {
            let beside = match rest.next_if(|(next, _)| *next == at ^ 1) {
                Some((_, beside)) => beside,
                None => *given.next().ok_or(PartsError::Nodes)?,
            };
            above.push((at / 2, hash::node(hash, beside)));
        }
        level = above;
    }
    match (&level[..], given.next()) {
        ([(_, root)], None) => Ok(*root),
        _ => Err(PartsError::Nodes),
    }
}

/// Shows no health data.
impl fmt::Debug for ShownElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShownElement(slot {}, {} fragments)", self.slot, self.fragments.len())
    }
}

/// Shows no health data.
impl fmt::Debug for ProofParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (elements, nodes) = (self.elements.len(), self.nodes.len());
        write!(f, "ProofParts(depth {}, {elements} elements, {nodes} nodes)", self.depth)
    }
}

/// A label is a number of 64 bits, which JSON readers round: so it is text.
mod label {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this signature")]
    pub(super) fn serialize<S: Serializer>(label: &u64, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&format!("{label:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<u64, D::Error> {
        let text = String::deserialize(input)?;
        let digits = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != 16 || !digits {
            return Err(D::Error::custom("a label has 16 hex digits in lower case"));
        }
        u64::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}
