//! Private and durable files in one directory.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::Path,
};

#[cfg(unix)]
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};

/// The longest file that is read, in bytes: sixteen versions of the largest transaction, in hex.
const LONGEST: u64 = 8 << 20;

/// Makes a directory of mode 0700 and those above it, each durable in the one above.
pub(super) fn create_dir_all(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let Some(parent) = path.parent() else { return Ok(()) };
    if !parent.as_os_str().is_empty() {
        create_dir_all(parent)?;
    }
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    builder.mode(0o700);
    match builder.create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        result => result?,
    }
    sync_dir(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
}

/// Opens a file of mode 0600; makes an empty one if there is none.
pub(super) fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    options.mode(0o600);
    options.open(path)
}

/// Puts a whole file in place, durably. Only the holder of the lock writes, so one temporary name is
/// enough; what a crash leaves under it is overwritten.
pub(super) fn replace(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let temporary = directory.join("unsaved");
    let mut file = open_private(&temporary)?;
    file.set_len(0)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(temporary, directory.join(name))?;
    sync_dir(directory)
}

/// The content of a file, or `None` if there is none.
pub(super) fn read(directory: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(directory.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut content = Vec::new();
    file.take(LONGEST).read_to_end(&mut content)?;
    Ok(Some(content))
}

/// Gives a file another name, unless it is gone.
pub(super) fn rename(directory: &Path, from: &str, to: &str) -> io::Result<()> {
    gone_is_fine(fs::rename(directory.join(from), directory.join(to)))
}

/// Removes a file, unless it is gone. [`sync_dir`] makes that durable.
pub(super) fn remove(directory: &Path, name: &str) -> io::Result<()> {
    gone_is_fine(fs::remove_file(directory.join(name)))
}

/// The names of all files.
pub(super) fn names(directory: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Makes the names in a directory durable.
///
/// Elsewhere a directory cannot be opened as a file, and a rename is durable by itself.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}
