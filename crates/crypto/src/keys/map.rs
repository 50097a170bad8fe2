//! The secret order of a chart's segments.

use std::fmt;

use galen_types::Segment;
use zeroize::Zeroizing;

/// Which of the 256 segments stands for which category: a secret permutation per pseudonym.
///
/// A category is an index into the project's list of categories, 0..=255.
#[derive(Clone)]
pub struct SegmentMap {
    segments: Zeroizing<[u8; 256]>,
    categories: Zeroizing<[u8; 256]>,
}

impl SegmentMap {
    /// The shuffle of the module documentation of [`crate::keys`].
    pub(super) fn shuffled(stream: &[u8; 8160]) -> Self {
        let mut draws = stream.chunks_exact(4).map(|word| {
            u64::from(u32::from_be_bytes(word.try_into().expect("chunks of four bytes")))
        });
        let mut segments = Zeroizing::new(std::array::from_fn(as_u8));
        for place in (1..256_usize).rev() {
            let choices = place as u64 + 1;
            let fair = (1 << 32) / choices * choices;
            // 2,040 draws for 255 places; a draw is refused with a probability below 2^-24.
            let draw = draws.find(|draw| *draw < fair).expect("the stream outlasts refusals");
            segments.swap(place, usize::from(as_u8(draw % choices)));
        }
        let mut categories = Zeroizing::new([0; 256]);
        for (category, segment) in segments.iter().enumerate() {
            categories[usize::from(*segment)] = as_u8(category);
        }
        Self { segments, categories }
    }

    /// The segment of a category.
    pub fn segment(&self, category: u8) -> Segment {
        Segment(self.segments[usize::from(category)])
    }

    /// The category of a segment.
    pub fn category(&self, segment: Segment) -> u8 {
        self.categories[usize::from(segment.0)]
    }
}

fn as_u8<T: TryInto<u8>>(value: T) -> u8 {
    value.try_into().ok().expect("indexes of 256 places are below 256")
}

impl fmt::Debug for SegmentMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SegmentMap(..)")
    }
}
