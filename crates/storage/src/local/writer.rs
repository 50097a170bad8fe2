//! From a stream of bytes to a complete file under its address.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use galen_types::ContentRef;
use tempfile::{NamedTempFile, SpooledTempFile};

use super::files;
use crate::{
    StorageError,
    shape::Shape,
    swarm::{self, CHUNK_LEN, Node, SwarmHasher},
};

/// How much is read, hashed and written at a time, in bytes.
const STEP_LEN: usize = 16 * CHUNK_LEN;

/// Addresses of leaves beyond this many bytes wait on disk: those of 32 MiB of content.
const MAX_REFERENCES_IN_MEMORY: usize = 256 << 10;

/// A complete but unsynced file that nobody sees yet.
pub(super) struct Written {
    at: ContentRef,
    file: NamedTempFile,
}

/// The addresses of a tree in the order of the file: level by level.
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

    /// Writes all but the root, which is the address that the reader asks for.
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
    mut content: impl Read,
    limit: u64,
    mut file: NamedTempFile,
    dir: &Path,
) -> Result<Written, StorageError> {
    let mut hasher = SwarmHasher::new();
    let mut references = References::new(dir);
    let mut len = 0;
    let mut step = vec![0; STEP_LEN];
    loop {
        let filled = fill(&mut content, &mut step).map_err(StorageError::Source)?;
        let bytes = &step[..filled];
        len += filled as u64;
        if len > limit {
            return Err(StorageError::TooLong { limit });
        }
        hasher
            .update_with(bytes, &mut |node| references.add(&node))
            .and_then(|()| file.as_file_mut().write_all(bytes))
            .map_err(StorageError::io("write content"))?;
        if filled < step.len() {
            break;
        }
    }
    let finish = || {
        let at = hasher.finalize_with(&mut |node| references.add(&node))?;
        references.write_to(file.as_file_mut(), &swarm::shape(len))?;
        file.as_file_mut().write_all(&len.to_le_bytes())?;
        Ok(Written { at, file })
    };
    finish().map_err(StorageError::io("write content"))
}

/// Makes a file visible under its address, and durable.
pub(super) fn publish(
    mut written: Written,
    path_of: &dyn Fn(&ContentRef) -> Result<PathBuf, StorageError>,
) -> Result<ContentRef, StorageError> {
    let path = path_of(&written.at)?;
    // Any doubt about what lies there, and it is replaced.
    if !is_copy(written.file.as_file_mut(), &path).unwrap_or(false) {
        let sync = written.file.as_file().sync_all();
        sync.map_err(StorageError::io("make content durable"))?;
        written
            .file
            .persist(&path)
            .map_err(|error| StorageError::io("give content its name")(error.error))?;
    }
    // Also for a copy: the process that wrote it may not have come as far as this.
    files::sync_parent(&path).map_err(StorageError::io("make content durable"))?;
    Ok(written.at)
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
