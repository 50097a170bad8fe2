//! Patterns by which people name elements: `Patient.address`, `entry[3]`, `*.note`.

use super::{
    PartsError,
    cut::{Cut, Step},
    names,
};
use crate::table::{Kind, TABLE};

/// Bytes of one pattern.
pub(super) const MAX_PATTERN_LEN: usize = 200;

/// Names of one pattern, few enough for the bits of a word.
const MAX_SEGMENTS: usize = 48;

/// A pattern whose names were found in the table.
#[derive(Debug)]
pub(super) struct Pattern {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Debug)]
enum Segment {
    /// `*`: every resource.
    Any,
    /// Resources of a type.
    Type(&'static str),
    /// An element, or one item of it.
    Name(String, Option<usize>),
}

/// How far a pattern has been followed at one place: a bit for each count of segments.
#[derive(Clone, Copy, Default)]
struct Progress {
    done: u64,
    /// Segments whose name fits and whose index is still to come.
    pending: u64,
}

/// What the names so far lead to.
struct Reach {
    structures: Vec<usize>,
    /// Whether any resource can stand here.
    resource: bool,
}

impl Pattern {
    /// Reads a pattern for documents whose outermost resource is `root`.
    pub(super) fn parse(text: &str, root: &str) -> Result<Self, PartsError> {
        let shown: String = text.chars().take(MAX_PATTERN_LEN).collect();
        let wrong = |reason| PartsError::Pattern { pattern: shown.clone(), reason };
        if text.len() > MAX_PATTERN_LEN {
            return Err(wrong("too long"));
        }
        let mut segments = Vec::new();
        for word in text.split('.') {
            segments.push(Segment::parse(word, segments.is_empty()).map_err(wrong)?);
        }
        if segments.len() > MAX_SEGMENTS {
            return Err(wrong("too many names"));
        }
        let pattern = Self { text: shown, segments };
        pattern.check(root)?;
        Ok(pattern)
    }

    /// Whether this names a narrative by its own name.
    pub(super) fn names_text(&self) -> bool {
        matches!(self.segments.last(), Some(Segment::Name(name, _)) if name == "text")
    }

    /// Follows the names through the table.
    fn check(&self, root: &str) -> Result<(), PartsError> {
        let mut reach =
            Reach { structures: TABLE.resource(root).into_iter().collect(), resource: false };
        for (at, segment) in self.segments.iter().enumerate() {
            reach = match segment {
                Segment::Any => Reach { structures: TABLE.resources().collect(), resource: false },
                Segment::Type(name) if at > 0 && !reach.resource => {
                    return Err(self.unknown(name, Vec::new()));
                }
                Segment::Type(name) => Reach {
                    structures: TABLE.resource(name).into_iter().collect(),
                    resource: false,
                },
                Segment::Name(name, index) => self.step(&reach, name, index.is_some())?,
            };
        }
        Ok(())
    }

    fn step(&self, reach: &Reach, name: &str, indexed: bool) -> Result<Reach, PartsError> {
        let all: Vec<usize>;
        let from = if reach.resource {
            all = TABLE.resources().collect();
            &all
        } else {
            &reach.structures
        };
        let found: Vec<_> =
            from.iter().flat_map(|one| names::fields(TABLE.structure(*one), name)).collect();
        if found.is_empty() {
            return Err(self.unknown(name, names::near(from, name)));
        }
        if indexed && !found.iter().any(|field| field.list) {
            let reason = "an index on an element that does not repeat";
            return Err(PartsError::Pattern { pattern: self.text.clone(), reason });
        }
        let mut structures: Vec<_> = found.iter().filter_map(|field| names::below(field)).collect();
        structures.sort_unstable();
        structures.dedup();
        let resource = found.iter().any(|field| matches!(field.kind, Kind::Resource));
        Ok(Reach { structures, resource })
    }

    fn unknown(&self, name: &str, near: Vec<&'static str>) -> PartsError {
        PartsError::UnknownElement { pattern: self.text.clone(), name: name.to_owned(), near }
    }

    /// For each place of the document, whether the pattern names it or something that it stands in.
    ///
    /// # Errors
    ///
    /// [`PartsError::NotCut`] if it names a part of what is signed as one.
    pub(super) fn hits(&self, cut: &Cut) -> Result<Vec<bool>, PartsError> {
        let mut hits = vec![false; cut.places.len()];
        let mut progress = vec![Progress::default(); cut.places.len()];
        for (at, place) in cut.places.iter().enumerate() {
            let above = progress[place.above];
            let mut here = self.advance(above, place.step);
            if let Some(name) = place.resource {
                self.enter(&mut here, name);
            }
            hits[at] = here.done >> self.segments.len() & 1 == 1 || at > 0 && hits[place.above];
            progress[at] = here;
        }
        for fragment in &cut.fragments {
            let here = progress[fragment.place];
            if !hits[fragment.place] && self.reaches_into(here, fragment.structure) {
                let (pattern, whole) = (self.text.clone(), cut.describe(fragment.place));
                return Err(PartsError::NotCut { pattern, whole });
            }
        }
        Ok(hits)
    }

    fn advance(&self, above: Progress, step: Step) -> Progress {
        let mut here = Progress::default();
        match step {
            // Without a type in front, names count from the outermost resource.
            Step::Root => here.done = u64::from(matches!(self.segments[0], Segment::Name(..))),
            Step::Name { key, slot, .. } => {
                for (at, segment) in self.steps(above.done) {
                    let Segment::Name(name, index) = segment else { continue };
                    if !names::is_named(key, slot, name) {
                        continue;
                    }
                    match index {
                        None => here.done |= 1 << (at + 1),
                        Some(_) => here.pending |= 1 << at,
                    }
                }
            }
            Step::Item { index, .. } => {
                here.done = above.done;
                for (at, segment) in self.steps(above.pending) {
                    if matches!(segment, Segment::Name(_, Some(wanted)) if *wanted == index) {
                        here.done |= 1 << (at + 1);
                    }
                }
            }
        }
        here
    }

    /// A resource stands here: patterns of its type begin, and a type after `resource` is passed.
    fn enter(&self, here: &mut Progress, name: &str) {
        for (at, segment) in self.segments.iter().enumerate() {
            let begins = at == 0 || here.done >> at & 1 == 1;
            let fits = match segment {
                Segment::Any => true,
                Segment::Type(wanted) => *wanted == name,
                Segment::Name(..) => false,
            };
            if begins && fits {
                here.done |= 1 << (at + 1);
            }
        }
    }

    /// The segments that come next.
    fn steps(&self, bits: u64) -> impl Iterator<Item = (usize, &Segment)> {
        self.segments.iter().enumerate().filter(move |(at, _)| bits >> at & 1 == 1)
    }

    /// Whether the pattern goes on below a value that is signed as one.
    fn reaches_into(&self, here: Progress, structure: Option<usize>) -> bool {
        let goes_on = |(at, segment): (usize, &Segment)| {
            let Segment::Name(name, _) = segment else { return false };
            let below = |index| names::fields(TABLE.structure(index), name).next().is_some();
            at > 0 && structure.is_some_and(below)
        };
        here.pending != 0 || self.steps(here.done).any(goes_on)
    }
}

impl Segment {
    fn parse(word: &str, first: bool) -> Result<Self, &'static str> {
        if word == "*" {
            return if first { Ok(Self::Any) } else { Err("`*` stands only in front") };
        }
        let (name, index) = match word.split_once('[') {
            // A choice, as R4 writes it.
            Some((name, "x]")) => (name, None),
            None => (word, None),
            Some((name, rest)) => {
                let digits = rest.strip_suffix(']').ok_or("an index without its end")?;
                (name, Some(digits.parse().map_err(|_| "an index that is no number")?))
            }
        };
        if name.is_empty() {
            return Err("an empty name");
        }
        if name.starts_with(|first: char| first.is_ascii_uppercase()) {
            let found = TABLE.resource(name).map(|index| TABLE.structure(index).name);
            return match (found, index) {
                (Some(name), None) => Ok(Self::Type(name)),
                (Some(_), Some(_)) => Err("an index on a resource type"),
                (None, _) => Err("no such resource type"),
            };
        }
        Ok(Self::Name(name.to_owned(), index))
    }
}
