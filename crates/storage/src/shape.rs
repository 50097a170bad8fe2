//! Which nodes the tree over content of a given length has.

/// The number of nodes on each level of the tree over `len` bytes, which follows from `len` alone.
///
/// Content is cut into leaves, neighbours on one level form groups, and each group stands under one
/// node of the next level, until one node is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    len: u64,
    leaf_len: u64,
    group_len: u64,
    counts: Vec<u64>,
}

impl Shape {
    /// The shape over `len` bytes with leaves of `leaf_len` bytes, `group_len` of them in a group.
    pub(crate) fn new(len: u64, leaf_len: usize, group_len: usize) -> Self {
        let (leaf_len, group_len) = (leaf_len as u64, group_len as u64);
        let mut counts = vec![len.div_ceil(leaf_len).max(1)];
        while let Some(&count @ 2..) = counts.last() {
            counts.push(count.div_ceil(group_len));
        }
        Self { len, leaf_len, group_len, counts }
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

    /// How many nodes the levels below `level` have together.
    pub(crate) fn count_below(&self, level: usize) -> u64 {
        self.counts[..level].iter().sum()
    }

    /// How many bytes of content lie under a node.
    pub(crate) fn span(&self, level: usize, index: u64) -> u64 {
        // No overflow: above the leaves a level exists only where a full node of the level below it is
        // shorter than the content, and content is far shorter than 2^64 bytes by a whole group.
        let full = (0..level).fold(self.leaf_len, |span, _| span * self.group_len);
        self.len.min((index + 1) * full) - index * full
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use crate::{Addresser, ipfs, swarm};

    /// The hashers announce exactly the nodes that the shapes name, carried ones included.
    #[test]
    fn shapes_are_what_the_hashers_announce() {
        let (chunk, leaf) = (swarm::CHUNK_LEN as u64, ipfs::LEAF_LEN as u64);
        for len in [
            0,
            1,
            chunk - 1,
            chunk,
            chunk + 1,
            127 * chunk,
            128 * chunk,
            128 * chunk + 1,
            129 * chunk,
            leaf,
            leaf + 1,
            2 * leaf,
        ] {
            let (mut nodes, mut blocks) = (Vec::new(), Vec::new());
            let mut node = |node: swarm::Node<'_>| {
                nodes.push((node.level, node.span));
                Ok::<_, Infallible>(())
            };
            let mut block = |block: ipfs::Block<'_>| {
                blocks.push((block.level, block.span));
                Ok(())
            };
            let mut addresser = Addresser::new();
            let content = vec![1; usize::try_from(len).unwrap()];
            let Ok(()) = addresser.update_with(&content, &mut node, &mut block);
            let Ok(_) = addresser.finalize_with(&mut node, &mut block);
            for (mut announced, shape) in [(nodes, swarm::shape(len)), (blocks, ipfs::shape(len))] {
                // The nodes of one level are announced in their order.
                announced.sort_by_key(|(level, _)| *level);
                let expected: Vec<(usize, u64)> = (0..=shape.top())
                    .flat_map(|level| (0..shape.count(level)).map(move |index| (level, index)))
                    .map(|(level, index)| (level, shape.span(level, index)))
                    .collect();
                assert_eq!(announced, expected, "{len} bytes");
            }
        }
    }
}
