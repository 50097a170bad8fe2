//! What of a document is shown.

use std::{collections::BTreeSet, fmt};

use super::{
    ElementProof, PartTree, PartsError, ProofParts,
    cut::{DOCUMENT, Role},
    pattern::Pattern,
};

/// Patterns of one selection.
pub const MAX_PATTERNS: usize = 256;

/// What to show, by patterns. Everything by default.
///
/// | pattern | means |
/// |---|---|
/// | `Patient.address` | the addresses of every Patient, entries and contained ones too |
/// | `Patient.name[0].family` | the family of the first name |
/// | `Observation` | every Observation as a whole |
/// | `*.note` | the notes of every resource that can have some |
/// | `Observation.value` | the value, whatever its type |
/// | `entry[3]`, `Bundle.entry[3].resource.note` | from the outermost resource |
///
/// Items count from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// If not empty, only this is shown, and what it cannot be shown without.
    pub only: Vec<String>,
    /// This is hidden, and what cannot be shown without it.
    pub hide: Vec<String>,
    /// Whether narratives stay although something is hidden. They repeat in words what elements say.
    pub keep_narratives: bool,
}

impl Selection {
    /// Hides these.
    pub fn hide<T: Into<String>>(patterns: impl IntoIterator<Item = T>) -> Self {
        Self { hide: patterns.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Shows nothing but these.
    pub fn only<T: Into<String>>(patterns: impl IntoIterator<Item = T>) -> Self {
        Self { only: patterns.into_iter().map(Into::into).collect(), ..Self::default() }
    }
}

/// What a selection shows of a document.
pub struct Shown<'t, 'a> {
    tree: &'t PartTree<'a>,
    /// By slot, so that their order tells nothing.
    elements: Vec<usize>,
    also_hidden: Vec<String>,
    also_shown: Vec<String>,
    unmatched: Vec<String>,
    narratives_hidden: usize,
}

/// What is decided of each element.
struct Choice<'t, 'a> {
    tree: &'t PartTree<'a>,
    shown: Vec<bool>,
    unmatched: Vec<String>,
}

impl<'t, 'a> Shown<'t, 'a> {
    pub(super) fn select(
        tree: &'t PartTree<'a>,
        selection: &Selection,
    ) -> Result<Self, PartsError> {
        if selection.only.len() + selection.hide.len() > MAX_PATTERNS {
            return Err(PartsError::TooManyPatterns { limit: MAX_PATTERNS });
        }
        let count = tree.element_count();
        let mut choice = Choice { tree, shown: vec![true; count], unmatched: Vec::new() };
        let (wanted, texts) = choice.find(&selection.only)?;
        let (unwanted, _) = choice.find(&selection.hide)?;
        if !selection.only.is_empty() {
            choice.shown = choice.any_fragment(&wanted);
        }
        let mut also_shown = choice.bring_parents();
        let also_hidden = choice.take_away(&unwanted);
        let hidden_any = choice.shown[1..].contains(&false);
        let mut narratives_hidden = 0;
        if hidden_any {
            choice.shown[DOCUMENT] = false;
            if !selection.keep_narratives {
                narratives_hidden = choice.hide_narratives(&texts);
            }
        } else {
            choice.shown[DOCUMENT] = true;
        }
        also_shown.retain(|(core, _)| choice.shown[*core]);
        let mut elements: Vec<_> = (0..count).filter(|at| choice.shown[*at]).collect();
        if elements.is_empty() {
            return Err(PartsError::NothingShown);
        }
        elements.sort_unstable_by_key(|at| tree.slot(*at));
        let mut also_shown: Vec<_> = also_shown.into_iter().map(|(_, text)| text).collect();
        also_shown.dedup();
        let unmatched = choice.unmatched;
        Ok(Self { tree, elements, also_hidden, also_shown, unmatched, narratives_hidden })
    }

    /// How many elements are shown.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Never true; here because [`Self::len`] is.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// How many elements are hidden. For the person who chooses; a presentation does not tell it.
    pub fn hidden(&self) -> usize {
        self.tree.element_count() - self.elements.len()
    }

    /// Places that are hidden because a part was named that they mean nothing without: hiding the value of an
    /// observation hides the observation.
    pub fn also_hidden(&self) -> &[String] {
        &self.also_hidden
    }

    /// Places whose core is shown because something in them is.
    pub fn also_shown(&self) -> &[String] {
        &self.also_shown
    }

    /// Narratives that are hidden because something is; see [`Selection::keep_narratives`].
    pub const fn narratives_hidden(&self) -> usize {
        self.narratives_hidden
    }

    /// Patterns that fit nothing in this document.
    pub fn unmatched(&self) -> &[String] {
        &self.unmatched
    }

    /// What goes into a presentation: elements and hashes in an order that tells nothing.
    pub fn proof_parts(&self) -> ProofParts {
        ProofParts {
            depth: self.tree.depth(),
            elements: self.elements.iter().map(|at| self.tree.show(*at)).collect(),
            nodes: self.nodes(),
        }
    }

    /// The proof of one shown element, in the order of [`Self::proof_parts`], for the contract.
    pub fn proof(&self, index: usize) -> Option<ElementProof> {
        self.elements.get(index).map(|at| self.tree.prove(*at))
    }

    /// The hashes beside the ways up, in the order in which [`super::verify`] meets them.
    fn nodes(&self) -> Vec<alloy_primitives::B256> {
        let size = 1 << self.tree.depth();
        let mut level: Vec<_> = self.elements.iter().map(|at| size + self.tree.slot(*at)).collect();
        let mut nodes = Vec::new();
        for _ in 0..self.tree.depth() {
            for (index, at) in level.iter().enumerate() {
                let beside = at ^ 1;
                let next = level.get(index + 1) == Some(&beside);
                let before = index > 0 && level[index - 1] == beside;
                if !next && !before {
                    nodes.push(self.tree.node(beside));
                }
            }
            level.iter_mut().for_each(|at| *at /= 2);
            level.dedup();
        }
        nodes
    }
}

impl Choice<'_, '_> {
    /// The places that any pattern names, and those that one names as a text.
    fn find(&mut self, patterns: &[String]) -> Result<(Vec<bool>, Vec<bool>), PartsError> {
        let places = self.tree.cut.places.len();
        let (mut all, mut texts) = (vec![false; places], vec![false; places]);
        for text in patterns {
            let pattern = Pattern::parse(text, self.tree.resource_type())?;
            let hits = pattern.hits(&self.tree.cut)?;
            if !hits.contains(&true) {
                self.unmatched.push(text.clone());
            }
            for (at, _) in hits.iter().enumerate().filter(|(_, hit)| **hit) {
                all[at] = true;
                texts[at] |= pattern.names_text();
            }
        }
        Ok((all, texts))
    }

    /// Elements with a fragment at one of these places.
    fn any_fragment(&self, places: &[bool]) -> Vec<bool> {
        let cut = &self.tree.cut;
        let hit = |element: &super::cut::Element| {
            cut.fragments[element.fragments.clone()].iter().any(|one| places[one.place])
        };
        cut.elements.iter().map(hit).collect()
    }

    /// Shows the cores of what is shown; where they stand.
    fn bring_parents(&mut self) -> Vec<(usize, String)> {
        let cut = &self.tree.cut;
        let mut brought = Vec::new();
        for at in (0..cut.elements.len()).rev().filter(|at| *at != DOCUMENT) {
            let Some(parent) = cut.elements[at].parent.filter(|_| self.shown[at]) else { continue };
            if !self.shown[parent] {
                self.shown[parent] = true;
                if let Role::Core { home } = cut.elements[parent].role {
                    brought.push((parent, cut.describe(home)));
                }
            }
        }
        brought.reverse();
        brought
    }

    /// Hides elements, and what cannot be shown without them; places that this hides though they were not named.
    fn take_away(&mut self, unwanted: &[bool]) -> Vec<String> {
        let cut = &self.tree.cut;
        let hit = self.any_fragment(unwanted);
        let mut also = BTreeSet::new();
        for (at, element) in cut.elements.iter().enumerate() {
            let orphan = element.parent.is_some_and(|parent| !self.shown[parent]);
            if let Role::Core { home } = element.role
                && hit[at]
                && !orphan
                && !unwanted[home]
            {
                also.insert(cut.describe(home));
            }
            if hit[at] || orphan {
                self.shown[at] = false;
            }
        }
        also.into_iter().collect()
    }

    /// Hides all narratives but those that were asked for by name; how many.
    fn hide_narratives(&mut self, texts: &[bool]) -> usize {
        let cut = &self.tree.cut;
        let mut hidden = 0;
        for (at, element) in cut.elements.iter().enumerate() {
            let named = cut.fragments[element.fragments.clone()].iter().any(|one| texts[one.place]);
            if element.role == Role::Narrative && self.shown[at] && !named {
                self.shown[at] = false;
                hidden += 1;
            }
        }
        hidden
    }
}

/// Shows no health data.
impl fmt::Debug for Shown<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shown({} of {} elements)", self.len(), self.tree.element_count())
    }
}
