//! From a stream of bytes to a complete file under its Swarm address.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    path::Path,
};

use tempfile::{NamedTempFile, SpooledTempFile};

use super::files;
use crate::{
    Addresser, Addresses, StorageError,
    ipfs::{self, Block, MAX_NODE_LEN},
    parallel,
    shape::Shape,
    swarm::{self, CHUNK_LEN, Node},
};

/// How much is compared at a time, in bytes.
const STEP_LEN: usize = 16 * CHUNK_LEN;

// Content that could be the root of other content on IPFS is one piece.
const _: () = assert!(MAX_NODE_LEN < parallel::PIECE_LEN);

/// Addresses of leaves beyond this many bytes wait on disk: those of 32 MiB of content.
const MAX_REFERENCES_IN_MEMORY: usize = 256 << 10;

/// A complete but unsynced file that nobody sees yet.
pub(super) struct Written {
    pub(super) addresses: Addresses,
    file: NamedTempFile,
}

/// The addresses of a Swarm tree in the order of the file: level by level.
///
/// The leaves finish long before their content ends, so their addresses are set aside. The levels
/// above hold one address for 512 KiB: at most 4 MiB for the longest content.
struct References {
    leaves: SpooledTempFile,
    above: Vec<Vec<u8>>,
}

impl References {
    fn new(dir: &Path) -> Self {
        let leaves = tempfile::spooled_tempfile_in(MAX_REFERENCES_IN_MEMORY, dir);
        Self { leaves, above: Vec::new() }
    }

    fn add(&mut self, node: &Node<'_>) -> io::Result<()> {
        let Some(level) = node.level.checked_sub(1) else {
            return self.leaves.write_all(node.address.as_slice());
        };
        if self.above.len() == level {
            self.above.push(Vec::new());
        }
        self.above[level].extend_from_slice(node.address.as_slice());
        Ok(())
    }

    /// Writes all but the Swarm root, which is the address that the reader asks for.
    fn write_to(mut self, file: &mut File, shape: &Shape) -> io::Result<()> {
        if shape.top() > 0 {
            self.leaves.rewind()?;
            io::copy(&mut self.leaves, file)?;
            self.above[..shape.top() - 1].iter().try_for_each(|level| file.write_all(level))?;
        }
        Ok(())
    }
}

/// Streams `content` into `file` and behind it what verified reading needs.
pub(super) fn write(
    content: impl Read,
    limit: u64,
    mut file: NamedTempFile,
    dir: &Path,
) -> Result<Written, StorageError> {
    let mut addresser = Addresser::new();
    let mut references = References::new(dir);
    // One digest for 1 MiB: at most 2 MiB.
    let mut ipfs_leaves = Vec::new();
    let mut keep_leaf = |block: Block<'_>| {
        if block.level == 0 {
            ipfs_leaves.extend_from_slice(block.cid.digest.as_slice());
        }
        Ok(())
    };
    let mut len = 0;
    parallel::pieces(content, &mut |piece| {
        let bytes = piece.bytes();
        if len == 0 && ipfs::reads_as_root(bytes) {
            return Err(StorageError::ReadsAsNode);
        }
        len += bytes.len() as u64;
        if len > limit {
            return Err(StorageError::TooLong { limit });
        }
        addresser
            .add_piece(piece, &mut |node| references.add(&node), &mut keep_leaf)
            .and_then(|()| file.as_file_mut().write_all(bytes))
            .map_err(StorageError::io("write content"))
    })?;
    let mut keep_node = |node: Node<'_>| references.add(&node);
    addresser
        .finalize_with(&mut keep_node, &mut keep_leaf)
        .and_then(|addresses| {
            references.write_to(file.as_file_mut(), &swarm::shape(len))?;
            file.as_file_mut().write_all(&ipfs_leaves)?;
            file.as_file_mut().write_all(&len.to_le_bytes())?;
            Ok(Written { addresses, file })
        })
        .map_err(StorageError::io("write content"))
}

/// Makes a file visible under a path, and durable.
pub(super) fn publish(mut written: Written, path: &Path) -> Result<(), StorageError> {
    // Any doubt about what lies there, and it is replaced.
    if !is_copy(written.file.as_file_mut(), path).unwrap_or(false) {
        persist(written.file, path)?;
    }
    // Also for a copy: the process that wrote it may not have come as far as this.
    files::sync_parent(path).map_err(StorageError::io("make content durable"))
}

/// Makes a complete file durable and gives it its name, which is not durable yet.
pub(super) fn persist(file: NamedTempFile, path: &Path) -> Result<(), StorageError> {
    file.as_file().sync_all().map_err(StorageError::io("make content durable"))?;
    file.persist(path).map_err(|error| StorageError::io("give content its name")(error.error))?;
    Ok(())
}

/// Whether the same bytes lie under `path` already.
fn is_copy(file: &mut File, path: &Path) -> io::Result<bool> {
    let Some(mut kept) = files::open_plain(path)? else { return Ok(false) };
    if kept.metadata()?.len() != file.metadata()?.len() {
        return Ok(false);
    }
    file.rewind()?;
    let (mut ours, mut theirs) = (vec![0; STEP_LEN], vec![0; STEP_LEN]);
    loop {
        let filled = fill(file, &mut ours)?;
        if fill(&mut kept, &mut theirs)? != filled || ours[..filled] != theirs[..filled] {
            return Ok(false);
        }
        if filled < ours.len() {
            return Ok(true);
        }
    }
}

/// Reads until `buffer` is full or the source ends.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
