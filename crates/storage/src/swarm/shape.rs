//! Which nodes the tree over content of a given length has.

use super::CHUNK_LEN;

/// Bytes of an address inside a chunk.
pub(crate) const REFERENCE_LEN: usize = 32;
/// Most addresses in one chunk.
pub(crate) const GROUP_LEN: usize = CHUNK_LEN / REFERENCE_LEN;

/// The number of nodes on each level of the tree over `len` bytes, which follows from `len` alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    len: u64,
    counts: Vec<u64>,
}

impl Shape {
    pub(crate) fn new(len: u64) -> Self {
        let mut counts = vec![len.div_ceil(CHUNK_LEN as u64).max(1)];
        while let Some(&count @ 2..) = counts.last() {
            counts.push(count.div_ceil(GROUP_LEN as u64));
        }
        Self { len, counts }
    }

    /// Length of the content in bytes.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Level of the root; its only node is the content's own address.
    pub(crate) fn top(&self) -> usize {
        self.counts.len() - 1
    }

    /// How many nodes a level has.
    pub(crate) fn count(&self, level: usize) -> u64 {
        self.counts[level]
    }

    /// How many bytes of content lie under a node.
    pub(crate) fn span(&self, level: usize, index: u64) -> u64 {
        // No overflow: a level exists only where its full width is less than 128 times `len`.
        let full = (0..level).fold(CHUNK_LEN as u64, |span, _| span * GROUP_LEN as u64);
        self.len.min((index + 1) * full) - index * full
    }

    /// Bytes of all addresses below the root.
    pub(crate) fn references_len(&self) -> u64 {
        self.references_before(self.top())
    }

    /// Bytes of all addresses on the levels below `level`.
    pub(crate) fn references_before(&self, level: usize) -> u64 {
        self.counts[..level].iter().sum::<u64>() * REFERENCE_LEN as u64
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::swarm::SwarmHasher;

    /// The hasher announces exactly the nodes that the shape names, carried ones included.
    #[test]
    fn shape_is_what_the_hasher_announces() {
        let chunk = CHUNK_LEN as u64;
        for len in [0, 1, 4095, 4096, 4097, 127 * chunk, 128 * chunk, 128 * chunk + 1, 129 * chunk]
        {
            let shape = Shape::new(len);
            let mut spans = vec![Vec::new(); shape.top() + 1];
            let mut sink = |node: crate::swarm::Node<'_>| {
                spans[node.level].push(node.span);
                Ok::<_, Infallible>(())
            };
            let mut hasher = SwarmHasher::new();
            let Ok(()) = hasher.update_with(&vec![1; usize::try_from(len).unwrap()], &mut sink);
            let Ok(_) = hasher.finalize_with(&mut sink);
            for (level, spans) in spans.iter().enumerate() {
                let expected: Vec<u64> =
                    (0..shape.count(level)).map(|index| shape.span(level, index)).collect();
                assert_eq!(*spans, expected, "{len} bytes, level {level}");
            }
        }
    }
}
