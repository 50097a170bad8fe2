//! Swarm addresses, computed here and by nobody else.
//!
//! Content is cut into leaves of 4,096 bytes. The addresses of up to 128 neighbours, one after the other,
//! are the payload of the chunk above them, and so on until one chunk is left: its address is that of the
//! content. If the last group of a level holds a single address, that address moves up unchanged. Empty
//! content is one empty leaf. Redundancy level 0: no parity, and a span is a plain length.
//!
//! Source: `docs/protocol.md`, section "Content addresses"; The Book of Swarm, on the chunk and file trees.

mod chunk;
mod lanes;

use std::{convert::Infallible, fmt, mem};

use alloy_primitives::B256;
use galen_types::ContentRef;

use crate::shape::Shape;
pub use chunk::CHUNK_LEN;
use chunk::{BATCH, batch_addresses, chunk_address_with};
pub(crate) use chunk::{chunk_address, leaf_addresses};
use lanes::Lanes;

/// Bytes of an address inside a chunk.
pub(crate) const REFERENCE_LEN: usize = 32;

/// Most addresses in one chunk.
pub(crate) const GROUP_LEN: usize = CHUNK_LEN / REFERENCE_LEN;

/// The nodes of the tree over `len` bytes. A lone last node that moves up is counted on every level that
/// it reaches.
pub(crate) fn shape(len: u64) -> Shape {
    Shape::new(len, CHUNK_LEN, GROUP_LEN)
}

/// One node of the tree, announced as soon as its address is known: children before parents, and
/// the nodes of one level from first to last.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    /// 0 for a leaf.
    pub level: usize,
    /// Address of the chunk.
    pub address: B256,
    /// How many bytes of content lie under the node.
    pub span: u64,
    /// Payload of the chunk, at most [`CHUNK_LEN`] bytes. `None` if the node is the lone last node of
    /// the level below, which moved up unchanged and was announced there with its payload.
    pub payload: Option<&'a [u8]>,
}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node(level {}, {:x}, {} bytes)", self.level, self.address, self.span)
    }
}

/// Computes the Swarm address of content of any length in constant memory: one leaf and at most one
/// unfinished group of addresses for each level.
///
/// ```
/// use galen_storage::swarm::SwarmHasher;
///
/// let mut hasher = SwarmHasher::new();
/// hasher.update(b"f");
/// hasher.update(b"oo");
/// assert_eq!(
///     hasher.finalize().to_string(),
///     "swarm:2387e8e7d8a48c2a9339c97c1dc3461a9a7aa07e994c5cb8b38fd7c1b3e6ea48",
/// );
/// ```
#[derive(Clone, Default)]
pub struct SwarmHasher {
    lanes: Lanes,
    leaf: Vec<u8>,
    groups: Vec<Group>,
}

impl SwarmHasher {
    /// A hasher that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The address of content that is in memory.
    pub fn digest(content: &[u8]) -> ContentRef {
        let mut hasher = Self::new();
        hasher.update(content);
        hasher.finalize()
    }

    /// Takes the next bytes of the content.
    pub fn update(&mut self, bytes: &[u8]) {
        let Ok(()) = self.update_with(bytes, &mut ignore);
    }

    /// The address of all bytes taken.
    pub fn finalize(self) -> ContentRef {
        let Ok(address) = self.finalize_with(&mut ignore);
        address
    }

    /// Takes the next bytes of the content and announces to `sink` each node that they finish.
    ///
    /// # Errors
    ///
    /// Whatever `sink` returns. The hasher is of no use after that.
    pub fn update_with<E>(
        &mut self,
        mut bytes: &[u8],
        sink: &mut impl FnMut(Node<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.leaf.is_empty() {
            let (missing, rest) = bytes.split_at(bytes.len().min(CHUNK_LEN - self.leaf.len()));
            self.leaf.extend_from_slice(missing);
            bytes = rest;
            if self.leaf.len() < CHUNK_LEN {
                return Ok(());
            }
            self.finish_leaf(sink)?;
        }
        let (leaves, rest) = bytes.as_chunks::<CHUNK_LEN>();
        let (batches, single) = leaves.as_chunks::<BATCH>();
        for batch in batches {
            for (leaf, address) in batch.iter().zip(batch_addresses(self.lanes, batch)) {
                self.add_addressed(leaf, address, sink)?;
            }
        }
        for leaf in single {
            self.add_leaf(leaf, sink)?;
        }
        self.leaf.extend_from_slice(rest);
        Ok(())
    }

    /// The address of all bytes taken; announces to `sink` the nodes that were still open.
    ///
    /// # Errors
    ///
    /// Whatever `sink` returns.
    pub fn finalize_with<E>(
        mut self,
        sink: &mut impl FnMut(Node<'_>) -> Result<(), E>,
    ) -> Result<ContentRef, E> {
        // Without any group not one full leaf was seen: the content is the buffer, be it empty.
        if !self.leaf.is_empty() || self.groups.is_empty() {
            self.finish_leaf(sink)?;
        }
        let mut level = 0;
        loop {
            let is_top = level + 1 == self.groups.len();
            let group = &mut self.groups[level];
            if group.references.len() == REFERENCE_LEN {
                let (address, span) = group.take_only();
                if is_top {
                    return Ok(ContentRef::swarm(address));
                }
                sink(Node { level: level + 1, address, span, payload: None })?;
                self.add(level + 1, address, span, sink)?;
            } else if !group.references.is_empty() {
                let (address, span) = group.close(self.lanes, level + 1, sink)?;
                self.add(level + 1, address, span, sink)?;
            }
            level += 1;
        }
    }

    /// Takes the leaves of `content`, whose addresses are known. All are full but the last of all.
    pub(crate) fn add_leaves<E>(
        &mut self,
        content: &[u8],
        addresses: &[B256],
        sink: &mut impl FnMut(Node<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        debug_assert!(self.leaf.is_empty(), "a leaf is not yet full");
        let mut leaves = content.chunks(CHUNK_LEN).zip(addresses);
        leaves.try_for_each(|(leaf, address)| self.add_addressed(leaf, *address, sink))
    }

    fn finish_leaf<E>(
        &mut self,
        sink: &mut impl FnMut(Node<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut leaf = mem::take(&mut self.leaf);
        let result = self.add_leaf(&leaf, sink);
        leaf.clear();
        self.leaf = leaf;
        result
    }

    fn add_leaf<E>(
        &mut self,
        leaf: &[u8],
        sink: &mut impl FnMut(Node<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.add_addressed(leaf, chunk_address_with(self.lanes, leaf.len() as u64, leaf), sink)
    }

    fn add_addressed<E>(
        &mut self,
        leaf: &[u8],
        address: B256,
        sink: &mut impl FnMut(Node<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let span = leaf.len() as u64;
        sink(Node { level: 0, address, span, payload: Some(leaf) })?;
        self.add(0, address, span, sink)
    }

    /// Adds a node to the group of its level, and closes that group and those above it when full.
    fn add<E>(
        &mut self,
        mut level: usize,
        mut address: B256,
        mut span: u64,
        sink: &mut impl FnMut(Node<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            if self.groups.len() == level {
                self.groups.push(Group::default());
            }
            let group = &mut self.groups[level];
            group.references.extend_from_slice(address.as_slice());
            group.span += span;
            if group.references.len() < GROUP_LEN * REFERENCE_LEN {
                return Ok(());
            }
            level += 1;
            (address, span) = group.close(self.lanes, level, sink)?;
        }
    }
}

impl fmt::Debug for SwarmHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.groups.iter().map(|group| group.span).sum::<u64>() + self.leaf.len() as u64;
        write!(f, "SwarmHasher({len} bytes)")
    }
}

/// The neighbours on one level that wait for the chunk above them.
#[derive(Clone, Default)]
struct Group {
    references: Vec<u8>,
    span: u64,
}

impl Group {
    /// Makes the chunk above the group and empties the group.
    fn close<E>(
        &mut self,
        lanes: Lanes,
        level: usize,
        sink: &mut impl FnMut(Node<'_>) -> Result<(), E>,
    ) -> Result<(B256, u64), E> {
        let address = chunk_address_with(lanes, self.span, &self.references);
        sink(Node { level, address, span: self.span, payload: Some(&self.references) })?;
        self.references.clear();
        Ok((address, mem::take(&mut self.span)))
    }

    fn take_only(&mut self) -> (B256, u64) {
        let address = B256::from_slice(&self.references);
        self.references.clear();
        (address, mem::take(&mut self.span))
    }
}

/// For benches alone: an empty hasher for each way to hash on this processor, slowest first.
#[cfg(feature = "bench")]
pub fn hashers() -> Vec<(&'static str, SwarmHasher)> {
    let hasher = |lanes: Lanes| (lanes.name(), SwarmHasher { lanes, ..SwarmHasher::new() });
    Lanes::available().into_iter().map(hasher).collect()
}

fn ignore(_: Node<'_>) -> Result<(), Infallible> {
    Ok(())
}
