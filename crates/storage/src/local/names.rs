//! Second names: from an IPFS address to the Swarm address of the same content.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use alloy_primitives::{B256, hex};
use galen_types::ContentRef;
use tempfile::NamedTempFile;

use super::{files, writer};
use crate::StorageError;

/// A name file: 64 hex digits and a newline.
pub(crate) const NAME_LEN: usize = 65;

/// The path of what is called `digest`, below a directory with 256 shards.
pub(super) fn sharded(dir: &Path, digest: &B256) -> PathBuf {
    let name = hex::encode(digest);
    dir.join(&name[..2]).join(name)
}

/// The Swarm address that the name file at `path` holds; `None` if there is no file.
pub(super) fn read(path: &Path, at: &ContentRef) -> Result<Option<B256>, StorageError> {
    let failed = StorageError::io("read the name of content");
    let file = match files::open_plain(path) {
        Ok(Some(file)) => file,
        Ok(None) => return Err(StorageError::Integrity(*at)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let text = read_text(file).map_err(failed)?;
    parse(&text).map(Some).ok_or(StorageError::Integrity(*at))
}

/// The Swarm address that the text of a name file holds.
pub(crate) fn parse(text: &[u8]) -> Option<B256> {
    let digits = std::str::from_utf8(text.strip_suffix(b"\n")?).ok()?;
    let address: ContentRef = format!("swarm:{digits}").parse().ok()?;
    Some(address.digest)
}

/// A whole name, or one byte more than any name has.
fn read_text(file: File) -> io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(NAME_LEN + 1);
    file.take(NAME_LEN as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

/// Writes a name, durably. `temp` becomes the file, unless the same name is there already.
pub(super) fn write(
    path: &Path,
    swarm: B256,
    at: &ContentRef,
    temp: impl FnOnce() -> io::Result<NamedTempFile>,
) -> Result<(), StorageError> {
    // A damaged name is replaced.
    if !matches!(read(path, at), Ok(Some(kept)) if kept == swarm) {
        let mut file = temp().map_err(StorageError::io("begin a file"))?;
        writeln!(file.as_file_mut(), "{swarm:x}").map_err(StorageError::io("write a name"))?;
        writer::persist(file, path)?;
    }
    files::sync_parent(path).map_err(StorageError::io("make a name durable"))
}

/// Removes a file, durably; `false` if there was none.
pub(super) fn remove(path: &Path) -> Result<bool, StorageError> {
    let removed = match fs::remove_file(path) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(StorageError::io("remove content")(error)),
    };
    files::sync_parent(path).map_err(StorageError::io("make a removal durable"))?;
    Ok(removed)
}
