//! The nodes above the leaves, byte for byte as the profile has them.
//!
//! Level, length of the content below and digests of the children give the bytes of a node; so reading is
//! taking these three out and writing the node again.

use alloy_primitives::B256;

use super::{CID_LEN, Cid, Codec, GROUP_LEN, LEAF_LEN, shape};

/// Longest node that is read, in bytes: each link with its length takes less than 60.
pub const MAX_NODE_LEN: usize = 60 * GROUP_LEN;

/// Highest level of the nodes that are read: enough for content of 1 TiB, which is longer than any that
/// Galen keeps.
const MAX_LEVEL: usize = 2;

/// Tags of protobuf fields: number and wire type.
mod tag {
    pub(super) const LINK: u8 = 2 << 3 | 2;
    pub(super) const LINK_CID: u8 = 1 << 3 | 2;
    pub(super) const LINK_NAME: u8 = 2 << 3 | 2;
    pub(super) const LINK_TSIZE: u8 = 3 << 3;
    pub(super) const DATA: u8 = 1 << 3 | 2;
    pub(super) const TYPE: u8 = 1 << 3;
    pub(super) const FILE_LEN: u8 = 3 << 3;
    pub(super) const BLOCK_LEN: u8 = 4 << 3;
}

/// `Type` of UnixFS: a file.
const FILE: u64 = 2;

/// A node above the leaves: the names of up to 1,024 children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    level: usize,
    len: u64,
    digests: Vec<B256>,
}

/// What a [`Parent`] says of one child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// Name of the child's block.
    pub cid: Cid,
    /// How many bytes of content lie under the child.
    pub len: u64,
    /// Bytes of all blocks of the child's tree together (`Tsize`).
    pub tree_len: u64,
}

impl Parent {
    /// Reads a node of the tree over content of at most 1 TiB. `None` unless these are exactly the bytes
    /// that the profile has for such a node: no other order, spelling, field, name or size is accepted.
    ///
    /// What it says of its children remains to be checked: that each has its name.
    pub fn decode(block: &[u8]) -> Option<Self> {
        if block.len() > MAX_NODE_LEN {
            return None;
        }
        // No more than needed is checked on the way: writing the node again checks everything.
        let mut rest = Fields(block);
        let mut cids = Vec::new();
        while rest.0.first() == Some(&tag::LINK) {
            let link = rest.bytes(tag::LINK)?;
            let cid = Fields(link).bytes(tag::LINK_CID)?;
            cids.push(Cid::from_bytes(cid.try_into().ok()?)?);
        }
        let mut data = Fields(rest.bytes(tag::DATA)?);
        data.number(tag::TYPE)?;
        let len = data.number(tag::FILE_LEN)?;
        let level = match cids.first()?.codec {
            Codec::Raw => 1,
            Codec::DagPb => MAX_LEVEL,
        };
        let digests: Vec<B256> = cids.iter().map(|cid| cid.digest).collect();
        let node = Self { level, len, digests };
        (node.is_sound() && node.encode() == block).then_some(node)
    }

    /// The bytes of the block.
    pub fn encode(&self) -> Vec<u8> {
        encode(self.level, self.len, &self.digests)
    }

    /// How many bytes of content lie under the node.
    pub const fn content_len(&self) -> u64 {
        self.len
    }

    /// 1 if the children are leaves.
    pub const fn level(&self) -> usize {
        self.level
    }

    /// Whether the node is the root over content of its length, and not a node below the root.
    pub fn is_root(&self) -> bool {
        shape(self.len).top() == self.level
    }

    /// The children, in the order of the content.
    pub fn children(&self) -> impl ExactSizeIterator<Item = Child> {
        let codec = codec(self.level - 1);
        self.digests.iter().zip(child_lens(self.level, self.len, self.digests.len())).map(
            move |(&digest, len)| Child {
                cid: Cid { codec, digest },
                len,
                tree_len: tree_len(self.level - 1, len),
            },
        )
    }

    /// Whether level, length and number of children fit each other.
    fn is_sound(&self) -> bool {
        let full = full_len(self.level - 1);
        // Below the root of content of at most 1 TiB a lone child occurs on level 1 only.
        let fewest = if self.level == 1 { 1 } else { 2 };
        (fewest..=GROUP_LEN).contains(&self.digests.len())
            && self.len.div_ceil(full) == self.digests.len() as u64
    }
}

/// The bytes of a node of `level` over `len` bytes of content: its links, then its UnixFS data.
///
/// Source: IPLD specification of dag-pb; UnixFS specification, `Data`.
pub(super) fn encode(level: usize, len: u64, digests: &[B256]) -> Vec<u8> {
    let codec = codec(level - 1);
    let mut block = Vec::with_capacity(64 * digests.len() + 64);
    let mut data = Vec::with_capacity(8 * digests.len() + 16);
    put_number(&mut data, tag::TYPE, FILE);
    put_number(&mut data, tag::FILE_LEN, len);
    for (&digest, len) in digests.iter().zip(child_lens(level, len, digests.len())) {
        let mut link = Vec::with_capacity(64);
        put_bytes(&mut link, tag::LINK_CID, &Cid { codec, digest }.to_bytes());
        // The name is empty, and written nevertheless.
        put_bytes(&mut link, tag::LINK_NAME, &[]);
        put_number(&mut link, tag::LINK_TSIZE, tree_len(level - 1, len));
        put_bytes(&mut block, tag::LINK, &link);
        put_number(&mut data, tag::BLOCK_LEN, len);
    }
    put_bytes(&mut block, tag::DATA, &data);
    block
}

/// Bytes of all blocks of the tree over `len` bytes with its root on `level`.
fn tree_len(level: usize, len: u64) -> u64 {
    if level == 0 {
        return len;
    }
    let full = full_len(level - 1);
    // All children but the last have the same length.
    let others = len.div_ceil(full) - 1;
    let last = len - others * full;
    let mut links = 0;
    let mut data = number_len(FILE) + number_len(len);
    let mut below = 0;
    for (count, child) in [(others, full), (1, last)] {
        let child_tree = tree_len(level - 1, child);
        let link = bytes_len(CID_LEN as u64) + bytes_len(0) + number_len(child_tree);
        links += count * bytes_len(link);
        data += count * number_len(child);
        below += count * child_tree;
    }
    links + bytes_len(data) + below
}

/// Lengths of the content under each of the `count` children of a node.
fn child_lens(level: usize, len: u64, count: usize) -> impl ExactSizeIterator<Item = u64> {
    let full = full_len(level - 1);
    let mut left = len;
    std::iter::repeat_with(move || {
        let child = left.min(full);
        left -= child;
        child
    })
    .take(count)
}

/// Bytes of content under a node that has all the children it can have.
fn full_len(level: usize) -> u64 {
    (0..level).fold(LEAF_LEN as u64, |len, _| len.saturating_mul(GROUP_LEN as u64))
}

/// The codec of the blocks of a level.
pub(super) const fn codec(level: usize) -> Codec {
    if level == 0 { Codec::Raw } else { Codec::DagPb }
}

fn put_number(to: &mut Vec<u8>, tag: u8, number: u64) {
    to.push(tag);
    put_varint(to, number);
}

fn put_bytes(to: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    to.push(tag);
    put_varint(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

/// Seven bits a byte, the lowest first; all bytes but the last have the highest bit set.
fn put_varint(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(0x80 | (number & 0x7f).to_le_bytes()[0]);
        number >>= 7;
    }
    to.push(number.to_le_bytes()[0]);
}

const fn number_len(number: u64) -> u64 {
    1 + varint_len(number)
}

const fn bytes_len(len: u64) -> u64 {
    1 + varint_len(len) + len
}

const fn varint_len(number: u64) -> u64 {
    (u64::BITS - (number | 1).leading_zeros()).div_ceil(7) as u64
}

/// What is left of a message, field by field.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, tag: u8) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number(tag)?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn number(&mut self, tag: u8) -> Option<u64> {
        let (&first, mut rest) = self.0.split_first()?;
        if first != tag {
            return None;
        }
        let mut number = 0;
        for shift in (0..63).step_by(7) {
            let (&byte, after) = rest.split_first()?;
            rest = after;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                self.0 = rest;
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAF: u64 = LEAF_LEN as u64;

    /// The computed sizes are those of the written blocks, also where a number grows by a byte.
    #[test]
    fn tree_len_is_that_of_the_blocks() {
        for len in
            [LEAF + 1, 2 * LEAF, 2 * LEAF + 127, 2 * LEAF + 128, 1000 * LEAF + 16_384, 1024 * LEAF]
        {
            let count = usize::try_from(len.div_ceil(LEAF)).unwrap();
            let block = encode(1, len, &vec![B256::ZERO; count]);
            assert_eq!(tree_len(1, len), len + block.len() as u64, "{len}");
        }
        for len in [1024 * LEAF + 1, 2048 * LEAF, 2049 * LEAF + 5, 1 << 36, 1 << 40] {
            let count = len.div_ceil(1024 * LEAF);
            let block = encode(2, len, &vec![B256::ZERO; usize::try_from(count).unwrap()]);
            let last = len - (count - 1) * 1024 * LEAF;
            let below = (count - 1) * tree_len(1, 1024 * LEAF) + tree_len(1, last);
            assert_eq!(tree_len(2, len), below + block.len() as u64, "{len}");
        }
    }

    /// A node of the greatest length and level is below the limit for reading.
    #[test]
    fn longest_node_is_read() {
        let digests: Vec<B256> = (0..=255).cycle().take(1024).map(B256::repeat_byte).collect();
        let block = encode(2, 1 << 40, &digests);
        assert!(block.len() <= MAX_NODE_LEN, "{}", block.len());
        let node = Parent::decode(&block).unwrap();
        assert!(node.is_root() && node.children().len() == 1024);
    }
}
