//! Files that are whole or absent, readable by their owner alone.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

use crate::error::Error;

/// Names what was being done when `io::Error` happened; a full disk gets its own error.
pub(crate) fn error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::NoSpace { path: path.to_owned() }
        }
        _ => Error::Io { action, path: path.to_owned(), source },
    }
}

/// Makes a directory that only its owner may enter, if it is not there yet, and puts its name, and
/// those of the directories above that were missing, on disk.
pub(crate) fn create_directory(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    let missing: Vec<_> = path.ancestors().take_while(|above| !above.exists()).collect();
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(error("create", path))?;
    for made in missing {
        sync_directory(parent(made)).map_err(error("create", made))?;
    }
    Ok(())
}

/// The directory that a relative name of one part lies in has no name of its own.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A new name is on disk once its directory is.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Options for a new file that only its owner may read and write.
pub(crate) fn private() -> OpenOptions {
    let mut options = File::options();
    options.write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Puts `parts`, one after the other, under `name`: all of it, on disk, or nothing.
pub(crate) fn write_atomically(directory: &Path, name: &str, parts: &[&[u8]]) -> Result<(), Error> {
    let path = directory.join(name);
    let unfinished = directory.join(format!("{name}.new"));
    let write = || -> io::Result<()> {
        let mut file = private().truncate(true).open(&unfinished)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        sync_directory(directory)
    };
    write().map_err(|source| {
        let _ = fs::remove_file(&unfinished);
        error("write", &path)(source)
    })
}
