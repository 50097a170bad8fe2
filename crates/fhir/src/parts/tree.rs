//! The tree over one document.

use std::fmt;

use alloy_primitives::{B256, hex};
use sha2::{Digest as _, Sha256};

use super::{
    ElementProof, MAX_TREE_DEPTH, MIN_DEPTH, PartsError, Seed, Selection, Shown, ShownElement,
    SigningPolicy,
    cut::{self, Cut, DOCUMENT},
    hash::{self, Content, Draw},
};
use crate::Document;

/// A document as a tree of salted hashes. Borrows the document and can show any part of it.
pub struct PartTree<'a> {
    bytes: &'a [u8],
    resource_type: &'static str,
    seed: Seed,
    pub(super) cut: Cut,
    labels: Vec<u64>,
    /// The leaf of each element.
    slots: Vec<usize>,
    /// The root at 1, the children of `n` at `2n` and `2n + 1`; leaves last.
    nodes: Vec<B256>,
    /// The value of the document's own element.
    digest: String,
}

impl<'a> PartTree<'a> {
    /// Cuts a document into elements and hashes them. The same document, seed and policy give the same tree.
    ///
    /// An element is a primitive, or a value of a data type, except that resources, nested structures, names,
    /// addresses, references and `meta` are cut into what they hold. A primitive and its `_` sibling are one.
    ///
    /// What gives a structure its meaning is its core, one element: type, modifiers, what R4 requires (but for
    /// the reference to the patient and nested structures), the code of a resource, the value of an
    /// observation, and what the author's policy adds. No element is shown without the cores around it.
    ///
    /// One more element holds the SHA-256 of all bytes. It is shown only if nothing is hidden, since it would let
    /// anybody test a guess.
    ///
    /// Time and memory grow with the length of the document.
    ///
    /// # Errors
    ///
    /// [`PartsError::UnknownElement`] and others for a policy that R4 does not fit;
    /// [`PartsError::TooManyElements`]; [`PartsError::Seed`], with a chance below 1 in 10 million.
    pub fn build(
        document: &Document<'a>,
        seed: &Seed,
        policy: &SigningPolicy,
    ) -> Result<Self, PartsError> {
        let cut = cut::cut(document.bytes(), seed, &policy.resolve()?)?;
        let labels: Vec<_> =
            (0..cut.elements.len()).map(|at| seed.number(Draw::Label, at)).collect();
        let mut sorted = labels.clone();
        sorted.sort_unstable();
        if sorted.first() == Some(&0) || sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(PartsError::Seed);
        }
        let mut tree = Self {
            bytes: document.bytes(),
            resource_type: document.resource_type(),
            seed: seed.clone(),
            slots: slots(seed, 1 << depth_for(cut.elements.len()), cut.elements.len()),
            nodes: Vec::new(),
            digest: format!("\"{}\"", hex::encode(Sha256::digest(document.bytes()))),
            cut,
            labels,
        };
        tree.grow();
        Ok(tree)
    }

    /// Hashes all leaves, and all nodes above them.
    fn grow(&mut self) {
        let size = 1 << self.depth();
        let mut nodes = vec![B256::ZERO; 2 * size];
        let mut content = Content::default();
        for (at, slot) in self.slots.iter().enumerate() {
            let hash = self.content(at, &mut content);
            let salt = self.seed.draw(Draw::Salt, at);
            nodes[size + slot] = hash::leaf(salt, self.labels[at], self.parent_label(at), hash);
        }
        let free = nodes[size..].iter_mut().filter(|leaf| leaf.is_zero());
        for (at, leaf) in free.enumerate() {
            *leaf = self.seed.draw(Draw::Decoy, at);
        }
        for at in (1..size).rev() {
            nodes[at] = hash::node(nodes[2 * at], nodes[2 * at + 1]);
        }
        self.nodes = nodes;
    }

    /// What the author signs, alone or in a [`super::batch`].
    pub fn root(&self) -> B256 {
        self.nodes[1]
    }

    /// How many elements there are, the one of the whole document included.
    pub const fn element_count(&self) -> usize {
        self.labels.len()
    }

    /// Levels of the tree. Even, and at least [`MIN_DEPTH`]: it tells the number of elements only within a
    /// factor of four.
    pub const fn depth(&self) -> u8 {
        depth_for(self.labels.len())
    }

    /// Type of the outermost resource.
    pub const fn resource_type(&self) -> &'static str {
        self.resource_type
    }

    /// Chooses what is shown.
    ///
    /// # Errors
    ///
    /// [`PartsError::UnknownElement`], [`PartsError::Pattern`] and [`PartsError::NotCut`] for patterns,
    /// [`PartsError::NothingShown`] if nothing is left.
    pub fn select(&self, selection: &Selection) -> Result<Shown<'_, 'a>, PartsError> {
        Shown::select(self, selection)
    }

    pub(super) fn slot(&self, element: usize) -> usize {
        self.slots[element]
    }

    /// The hash at this place of the heap: the root is at 1, leaves stand behind `1 << depth`.
    pub(super) fn node(&self, at: usize) -> B256 {
        self.nodes[at]
    }

    fn parent_label(&self, element: usize) -> u64 {
        self.cut.elements[element].parent.map_or(0, |parent| self.labels[parent])
    }

    fn content(&self, element: usize, content: &mut Content) -> B256 {
        let mut path = String::new();
        if element == DOCUMENT {
            content.add("", self.digest.as_bytes());
        }
        for fragment in &self.cut.fragments[self.cut.elements[element].fragments.clone()] {
            path.clear();
            self.cut.write_path(fragment.place, &mut path);
            content.add(&path, &self.bytes[fragment.span.clone()]);
        }
        content.finish()
    }

    /// An element as a presentation shows it.
    pub(super) fn show(&self, element: usize) -> ShownElement {
        let mut fragments = Vec::new();
        if element == DOCUMENT {
            fragments.push((String::new(), self.digest.clone()));
        }
        for fragment in &self.cut.fragments[self.cut.elements[element].fragments.clone()] {
            let mut path = String::new();
            self.cut.write_path(fragment.place, &mut path);
            let value = std::str::from_utf8(&self.bytes[fragment.span.clone()])
                .expect("the document was checked");
            fragments.push((path, value.to_owned()));
        }
        ShownElement {
            slot: u32::try_from(self.slots[element]).expect("a tree has at most 2^20 leaves"),
            salt: self.seed.draw(Draw::Salt, element),
            label: self.labels[element],
            parent: self.parent_label(element),
            fragments,
        }
    }

    /// An element as the contract checks it.
    pub(super) fn prove(&self, element: usize) -> ElementProof {
        let mut at = (1 << self.depth()) + self.slots[element];
        let mut path = Vec::with_capacity(usize::from(self.depth()));
        while at > 1 {
            path.push(self.nodes[at ^ 1]);
            at /= 2;
        }
        ElementProof {
            salt: self.seed.draw(Draw::Salt, element),
            label: self.labels[element],
            parent: self.parent_label(element),
            content: self.content(element, &mut Content::default()),
            path,
        }
    }
}

/// Shows no health data.
impl fmt::Debug for PartTree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartTree({}, {} elements)", self.root(), self.element_count())
    }
}

/// Levels for so many elements: the number of leaves is a power of four.
const fn depth_for(elements: usize) -> u8 {
    let mut depth = MIN_DEPTH;
    while elements > 1 << depth && depth < MAX_TREE_DEPTH {
        depth += 2;
    }
    depth
}

/// The leaf of each element: all leaves, decoys behind elements, in the order of their draws.
fn slots(seed: &Seed, leaves: usize, elements: usize) -> Vec<usize> {
    let mut order: Vec<(u64, usize)> =
        (0..leaves).map(|at| (seed.number(Draw::Slot, at), at)).collect();
    order.sort_unstable();
    let mut slots = vec![0; elements];
    for (slot, (_, at)) in order.into_iter().enumerate() {
        if let Some(place) = slots.get_mut(at) {
            *place = slot;
        }
    }
    slots
}
