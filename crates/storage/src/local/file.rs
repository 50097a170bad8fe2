//! The file of one content: where its parts lie.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use alloy_primitives::B256;
use galen_types::ContentRef;

use super::{MAX_CONTENT_LEN, files};
use crate::{
    StorageError, ipfs,
    swarm::{self, REFERENCE_LEN},
};

/// Bytes of the length at the end.
const FOOTER_LEN: u64 = 8;

/// The bytes of a content file, wherever they lie.
pub(crate) trait ReadAt: Send {
    /// Fills `bytes` with those from `offset` on; [`io::ErrorKind::UnexpectedEof`] if there are fewer.
    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.seek(SeekFrom::Start(offset)).and_then(|_| self.read_exact(bytes))
    }
}

/// An open content file. Nothing that it says is verified.
pub(crate) struct ContentFile {
    at: ContentRef,
    file: Box<dyn ReadAt>,
    len: u64,
    ipfs_leaves: u64,
}

impl ContentFile {
    /// Opens a file of a local store.
    pub(super) fn open(path: &Path, at: &ContentRef) -> Result<Self, StorageError> {
        let file = match files::open_plain(path) {
            Ok(Some(file)) => file,
            Ok(None) => return Err(StorageError::Integrity(*at)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StorageError::NotFound(*at));
            }
            Err(error) => return Err(StorageError::io("open content")(error)),
        };
        let file_len = file.metadata().map_err(StorageError::io("read content"))?.len();
        Self::new(Box::new(file), file_len, at)
    }

    /// Reads the length at the end of a file of `file_len` bytes. A file that is not exactly as long as that
    /// says is damaged.
    pub(crate) fn new(
        mut file: Box<dyn ReadAt>,
        file_len: u64,
        at: &ContentRef,
    ) -> Result<Self, StorageError> {
        let footer = file_len.checked_sub(FOOTER_LEN).ok_or(StorageError::Integrity(*at))?;
        let mut len = [0; 8];
        read_at(&mut *file, footer, &mut len, at)?;
        let len = u64::from_le_bytes(len);
        if len > MAX_CONTENT_LEN {
            return Err(StorageError::Integrity(*at));
        }
        let ipfs_leaves = ipfs::shape(len).count(0);
        let without_ipfs = len + swarm_nodes(len) * REFERENCE_LEN as u64;
        let ipfs_leaves = match footer.checked_sub(without_ipfs) {
            // Version 1 of the store kept no digests of IPFS leaves.
            Some(0) => 0,
            Some(rest) if rest == ipfs_leaves * REFERENCE_LEN as u64 => ipfs_leaves,
            _ => return Err(StorageError::Integrity(*at)),
        };
        Ok(Self { at: *at, file, len, ipfs_leaves })
    }

    /// The address by which the content was asked for.
    pub(super) const fn at(&self) -> &ContentRef {
        &self.at
    }

    /// Length of the content in bytes.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// The error for anything that does not match the address.
    pub(super) const fn damaged(&self) -> StorageError {
        StorageError::Integrity(self.at)
    }

    /// Bytes of the content.
    pub(super) fn content(&mut self, start: u64, bytes: &mut [u8]) -> Result<(), StorageError> {
        read_at(&mut *self.file, start, bytes, &self.at)
    }

    /// Addresses of Swarm nodes, from the node `first` on, counted through all levels.
    pub(super) fn swarm_nodes(
        &mut self,
        first: u64,
        addresses: &mut [u8],
    ) -> Result<(), StorageError> {
        let offset = self.len + first * REFERENCE_LEN as u64;
        read_at(&mut *self.file, offset, addresses, &self.at)
    }

    /// Digests of all IPFS leaves: at most 65,536, 2 MiB. Empty if the file is of version 1.
    pub(super) fn ipfs_leaves(&mut self) -> Result<Vec<B256>, StorageError> {
        let count = usize::try_from(self.ipfs_leaves).map_err(|_| self.damaged())?;
        let mut digests = vec![0; count * REFERENCE_LEN];
        let offset = self.len + swarm_nodes(self.len) * REFERENCE_LEN as u64;
        read_at(&mut *self.file, offset, &mut digests, &self.at)?;
        Ok(digests.chunks_exact(REFERENCE_LEN).map(B256::from_slice).collect())
    }

    /// The digest of the CID that the leaves give, as noted in the file. `None` if it is of version 1.
    pub(super) fn ipfs_root(&mut self) -> Result<Option<B256>, StorageError> {
        let leaves = self.ipfs_leaves()?;
        Ok((!leaves.is_empty()).then(|| ipfs::root_of_leaves(self.len, &leaves)))
    }
}

/// How many Swarm nodes a file names: all but the root, which is the address that the reader asks for.
fn swarm_nodes(len: u64) -> u64 {
    let shape = swarm::shape(len);
    shape.count_below(shape.top())
}

fn read_at(
    file: &mut dyn ReadAt,
    offset: u64,
    bytes: &mut [u8],
    at: &ContentRef,
) -> Result<(), StorageError> {
    file.read_at(offset, bytes).map_err(|error| match error.kind() {
        // The file was cut after it was opened.
        io::ErrorKind::UnexpectedEof => StorageError::Integrity(*at),
        _ => StorageError::io("read content")(error),
    })
}
