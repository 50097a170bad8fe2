//! Compartments of a chart (HL7 data segmentation for privacy).

use std::fmt;

use alloy_primitives::U256;
use serde::{Deserialize, Serialize};

/// One of the 256 compartments of a chart, as the chain sees it.
///
/// What a number means is private to the patient and the authors they deal with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Segment(pub u8);

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A set of segments: bit `n` stands for segment `n`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SegmentSet(pub U256);

impl SegmentSet {
    /// No segment.
    pub const EMPTY: Self = Self(U256::ZERO);

    /// Whether the set holds the segment.
    pub fn contains(self, segment: Segment) -> bool {
        self.0.bit(usize::from(segment.0))
    }

    /// Adds a segment.
    pub fn insert(&mut self, segment: Segment) {
        self.0.set_bit(usize::from(segment.0), true);
    }

    /// How many segments the set holds.
    pub fn len(self) -> usize {
        self.0.count_ones()
    }

    /// Whether the set holds none.
    pub fn is_empty(self) -> bool {
        self.0.is_zero()
    }

    /// The segments in ascending order.
    pub fn iter(self) -> impl Iterator<Item = Segment> {
        (0..=u8::MAX).map(Segment).filter(move |segment| self.contains(*segment))
    }
}

impl FromIterator<Segment> for SegmentSet {
    fn from_iter<I: IntoIterator<Item = Segment>>(segments: I) -> Self {
        let mut set = Self::EMPTY;
        segments.into_iter().for_each(|segment| set.insert(segment));
        set
    }
}

impl fmt::Debug for SegmentSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|segment| segment.0)).finish()
    }
}
