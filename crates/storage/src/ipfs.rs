//! IPFS addresses, computed here and by nobody else: profile `unixfs-v1-2025` (IPIP-499).
//!
//! Content is cut into leaves of 1 MiB, each a raw block. Up to 1,024 neighbours, one after the other,
//! stand under a node that names them, and so on until one node is left: its CID is that of the content.
//! All leaves lie equally deep: a lone last node of a level gets a parent of its own, unlike in Swarm.
//! Content of at most 1 MiB is one raw block, and empty content an empty one.
//!
//! A [`ContentRef`] holds the digest of the CID alone. What the block with that digest is follows from its
//! bytes: a block that [`Parent::decode`] reads, and that is a root, is the root of longer content; any other
//! is the content itself. So each digest means one content, although a store that is asked for such a
//! root as a raw block answers with the very same bytes. Content that reads as a root has no IPFS address;
//! sealed content never does, since its first byte differs.
//!
//! Source: `docs/protocol.md`, section "Content addresses".

mod cid;
mod node;

use std::{convert::Infallible, fmt, mem};

use alloy_primitives::B256;
use aws_lc_rs::digest;
use galen_types::ContentRef;

use crate::shape::Shape;

pub use cid::{CID_LEN, Cid, Codec};
pub use node::{Child, MAX_NODE_LEN, Parent};

/// Bytes of a leaf; only the last may be shorter.
pub const LEAF_LEN: usize = 1 << 20;

/// Most children of one node.
pub const GROUP_LEN: usize = 1024;

/// The nodes of the tree over `len` bytes.
pub(crate) fn shape(len: u64) -> Shape {
    Shape::new(len, LEAF_LEN, GROUP_LEN)
}

/// The CID of the root over content of `len` bytes with this digest.
pub const fn root(digest: B256, len: u64) -> Cid {
    if len > LEAF_LEN as u64 { Cid::dag_pb(digest) } else { Cid::raw(digest) }
}

/// Announces the blocks above leaves with these digests over content of `len` bytes, children before
/// parents, and returns the digest of the root. A lone leaf is the root, and nothing is announced.
///
/// # Errors
///
/// Whatever `sink` returns.
pub(crate) fn parents<E>(
    len: u64,
    leaves: &[B256],
    sink: &mut impl FnMut(Block<'_>) -> Result<(), E>,
) -> Result<B256, E> {
    let mut hasher = IpfsHasher::new();
    let mut left = len;
    let mut above = |block: Block<'_>| if block.level > 0 { sink(block) } else { Ok(()) };
    for &leaf in leaves {
        let span = left.min(LEAF_LEN as u64);
        left -= span;
        hasher.add(0, leaf, span, None, &mut above)?;
    }
    hasher.finalize_with(&mut above).map(|at| at.digest)
}

/// The digest of the root over content of `len` bytes with these leaves.
pub(crate) fn root_of_leaves(len: u64, leaves: &[B256]) -> B256 {
    let Ok(root) = parents(len, leaves, &mut ignore);
    root
}

/// The two CIDs that a digest can stand for while the length of the content is unknown.
pub const fn candidates(digest: B256) -> [Cid; 2] {
    [Cid::raw(digest), Cid::dag_pb(digest)]
}

/// Whether content has no IPFS address because it reads as the root of other content.
pub fn reads_as_root(content: &[u8]) -> bool {
    Parent::decode(content).is_some_and(|node| node.is_root())
}

/// One block of the tree, announced as soon as its name is known: children before parents, and the
/// blocks of one level from first to last.
#[derive(Clone, Copy)]
pub struct Block<'a> {
    /// 0 for a leaf.
    pub level: usize,
    /// Name of the block.
    pub cid: Cid,
    /// How many bytes of content lie under the block.
    pub span: u64,
    /// The bytes of the block. `None` for a leaf, which is the next [`span`](Self::span) bytes of the content
    /// itself: leaf `i` begins at byte `i` × [`LEAF_LEN`].
    pub payload: Option<&'a [u8]>,
}

impl fmt::Debug for Block<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block(level {}, {}, {} bytes)", self.level, self.cid, self.span)
    }
}

/// Computes the IPFS address of content of any length in constant memory: the state of one leaf, which is
/// not kept itself, and at most one unfinished group of digests for each level.
///
/// ```
/// use galen_storage::ipfs::{IpfsHasher, root};
///
/// let mut hasher = IpfsHasher::new();
/// hasher.update(b"hello ");
/// hasher.update(b"world");
/// assert_eq!(
///     root(hasher.finalize().digest, 11).to_string(),
///     "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e",
/// );
/// ```
#[derive(Clone)]
pub struct IpfsHasher {
    leaf: digest::Context,
    leaf_len: usize,
    groups: Vec<Group>,
}

/// The neighbours on one level that wait for the node above them.
#[derive(Clone, Default)]
struct Group {
    digests: Vec<B256>,
    span: u64,
}

impl IpfsHasher {
    /// A hasher that has seen nothing.
    pub fn new() -> Self {
        Self { leaf: new_leaf(), leaf_len: 0, groups: Vec::new() }
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

    /// Takes the next bytes of the content and announces to `sink` each block that they finish.
    ///
    /// # Errors
    ///
    /// Whatever `sink` returns. The hasher is of no use after that.
    pub fn update_with<E>(
        &mut self,
        mut bytes: &[u8],
        sink: &mut impl FnMut(Block<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            let (part, rest) = bytes.split_at(bytes.len().min(LEAF_LEN - self.leaf_len));
            self.leaf.update(part);
            self.leaf_len += part.len();
            bytes = rest;
            if self.leaf_len == LEAF_LEN {
                self.finish_leaf(sink)?;
            }
        }
        Ok(())
    }

    /// The address of all bytes taken; announces to `sink` the blocks that were still open.
    ///
    /// # Errors
    ///
    /// Whatever `sink` returns.
    pub fn finalize_with<E>(
        mut self,
        sink: &mut impl FnMut(Block<'_>) -> Result<(), E>,
    ) -> Result<ContentRef, E> {
        if self.leaf_len > 0 || self.groups.is_empty() {
            self.finish_leaf(sink)?;
        }
        let mut level = 0;
        loop {
            let is_top = level + 1 == self.groups.len();
            match self.groups[level].digests.as_slice() {
                [root] if is_top => return Ok(ContentRef::ipfs(*root)),
                [] => {}
                _ => self.close(level, sink)?,
            }
            level += 1;
        }
    }

    /// Takes a leaf of `len` bytes whose digest is known. All leaves are full but the last of all.
    pub(crate) fn add_leaf<E>(
        &mut self,
        digest: B256,
        len: usize,
        sink: &mut impl FnMut(Block<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        debug_assert!(self.leaf_len == 0, "a leaf is not yet full");
        self.add(0, digest, len as u64, None, sink)
    }

    fn finish_leaf<E>(
        &mut self,
        sink: &mut impl FnMut(Block<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let leaf = mem::replace(&mut self.leaf, new_leaf()).finish();
        let span = mem::take(&mut self.leaf_len) as u64;
        self.add(0, B256::from_slice(leaf.as_ref()), span, None, sink)
    }

    /// Announces a block, adds it to the group of its level, and closes that group when full.
    fn add<E>(
        &mut self,
        level: usize,
        digest: B256,
        span: u64,
        payload: Option<&[u8]>,
        sink: &mut impl FnMut(Block<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        sink(Block { level, cid: Cid { codec: node::codec(level), digest }, span, payload })?;
        if self.groups.len() == level {
            self.groups.push(Group::default());
        }
        let group = &mut self.groups[level];
        group.digests.push(digest);
        group.span += span;
        if group.digests.len() < GROUP_LEN { Ok(()) } else { self.close(level, sink) }
    }

    /// Makes the node above a group and empties the group.
    fn close<E>(
        &mut self,
        level: usize,
        sink: &mut impl FnMut(Block<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let group = &mut self.groups[level];
        let span = mem::take(&mut group.span);
        let block = node::encode(level + 1, span, &group.digests);
        group.digests.clear();
        self.add(level + 1, cid::sha256(&block), span, Some(&block), sink)
    }
}

/// Computes the digest of one leaf.
pub(crate) struct LeafHasher(digest::Context);

impl LeafHasher {
    pub(crate) fn new() -> Self {
        Self(new_leaf())
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> B256 {
        B256::from_slice(self.0.finish().as_ref())
    }
}

impl Default for IpfsHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for IpfsHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.groups.iter().map(|group| group.span).sum::<u64>() + self.leaf_len as u64;
        write!(f, "IpfsHasher({len} bytes)")
    }
}

fn new_leaf() -> digest::Context {
    digest::Context::new(&digest::SHA256)
}

fn ignore(_: Block<'_>) -> Result<(), Infallible> {
    Ok(())
}
