//! Verifying by the Swarm tree.

use alloy_primitives::B256;

use crate::{
    StorageError,
    local::file::ContentFile,
    shape::Shape,
    swarm::{self, CHUNK_LEN, GROUP_LEN, REFERENCE_LEN, chunk_address, leaf_addresses},
};

/// The tree over one content, read from its file as far as it is needed.
pub(super) struct SwarmTree {
    shape: Shape,
    /// For each level below the root the group of addresses that was verified last.
    groups: Vec<Option<Group>>,
}

struct Group {
    index: u64,
    references: Vec<u8>,
}

impl SwarmTree {
    /// The tree of a file, its root verified, and with it the length: unless the content is one leaf.
    pub(super) fn open(file: &mut ContentFile) -> Result<Self, StorageError> {
        let shape = swarm::shape(file.len());
        let groups = (0..shape.top()).map(|_| None).collect();
        let mut tree = Self { shape, groups };
        if let Some(below) = tree.shape.top().checked_sub(1) {
            tree.node(file, below, 0)?;
        }
        Ok(tree)
    }

    /// Verifies bytes of content that begin with a leaf and end with one.
    pub(super) fn check(
        &mut self,
        file: &mut ContentFile,
        start: u64,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        let mut addresses = Vec::with_capacity(bytes.len().div_ceil(CHUNK_LEN));
        leaf_addresses(bytes, &mut addresses);
        if bytes.is_empty() {
            // Empty content is one empty leaf.
            addresses.push(chunk_address(0, &[]));
        }
        (start / CHUNK_LEN as u64..)
            .zip(addresses)
            .try_for_each(|(index, address)| self.check_node(file, address, 0, index))
    }

    /// The verified address of a node.
    pub(super) fn node(
        &mut self,
        file: &mut ContentFile,
        level: usize,
        index: u64,
    ) -> Result<B256, StorageError> {
        if level == self.shape.top() {
            return Ok(file.at().digest);
        }
        let references = self.group(file, level, index / GROUP_LEN as u64)?;
        let from = usize_len(index % GROUP_LEN as u64) * REFERENCE_LEN;
        Ok(B256::from_slice(&references[from..from + REFERENCE_LEN]))
    }

    /// The verified addresses of a group of neighbours: the payload of the chunk above them, unless the
    /// group is a lone last node that moves up.
    pub(super) fn group(
        &mut self,
        file: &mut ContentFile,
        level: usize,
        index: u64,
    ) -> Result<&[u8], StorageError> {
        if self.groups[level].as_ref().is_none_or(|kept| kept.index != index) {
            let references = self.read_group(file, level, index)?;
            self.groups[level] = Some(Group { index, references });
        }
        Ok(&self.groups[level].as_ref().expect("it was read just now").references)
    }

    fn read_group(
        &mut self,
        file: &mut ContentFile,
        level: usize,
        index: u64,
    ) -> Result<Vec<u8>, StorageError> {
        let first = index * GROUP_LEN as u64;
        let count = (self.shape.count(level) - first).min(GROUP_LEN as u64);
        let mut references = vec![0; usize_len(count) * REFERENCE_LEN];
        file.swarm_nodes(self.shape.count_below(level) + first, &mut references)?;
        let address = if count == 1 {
            // A lone last node moves up unchanged.
            B256::from_slice(&references)
        } else {
            chunk_address(self.shape.span(level + 1, index), &references)
        };
        self.check_node(file, address, level + 1, index)?;
        Ok(references)
    }

    /// Whether a chunk has the address that the tree gives the node.
    fn check_node(
        &mut self,
        file: &mut ContentFile,
        address: B256,
        level: usize,
        index: u64,
    ) -> Result<(), StorageError> {
        if address == self.node(file, level, index)? { Ok(()) } else { Err(file.damaged()) }
    }
}

fn usize_len(len: u64) -> usize {
    usize::try_from(len).expect("a group is a few KiB long")
}
