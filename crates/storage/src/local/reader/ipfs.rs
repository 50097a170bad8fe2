//! Verifying by the IPFS tree.

use alloy_primitives::B256;

use crate::{
    StorageError,
    ipfs::{self, Cid, LEAF_LEN},
    local::file::ContentFile,
};

/// The digests of all leaves of one content, verified: 32 bytes for 1 MiB, at most 2 MiB.
pub(super) struct IpfsTree {
    leaves: Vec<B256>,
}

impl IpfsTree {
    /// The tree of a file, its root verified, and with it the length: unless the content is one leaf.
    pub(super) fn open(file: &mut ContentFile) -> Result<Self, StorageError> {
        let leaves = file.ipfs_leaves()?;
        if leaves.is_empty() || ipfs::root_of_leaves(file.len(), &leaves) != file.at().digest {
            return Err(file.damaged());
        }
        Ok(Self { leaves })
    }

    /// Verifies one leaf.
    pub(super) fn check(
        &self,
        file: &ContentFile,
        start: u64,
        leaf: &[u8],
    ) -> Result<(), StorageError> {
        let index = usize::try_from(start / LEAF_LEN as u64).ok();
        let digest = index.and_then(|index| self.leaves.get(index));
        let is_right = digest.is_some_and(|digest| Cid::raw(*digest).names(leaf));
        // The only leaf could be the root of other content, which then is what the address means.
        if is_right && !(self.leaves.len() == 1 && ipfs::reads_as_root(leaf)) {
            Ok(())
        } else {
            Err(file.damaged())
        }
    }
}
