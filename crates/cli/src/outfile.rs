//! Opened documents on disk: only their owner reads them, and they are there whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, FileExt},
    path::{Path, PathBuf},
};

use galen_sdk::{MAX_HEAD_LEN, document_range};
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use crate::error::CliError;

/// A file on its way: written beside its place, with mode 0600, and moved there when it is whole.
#[derive(Debug)]
pub(crate) struct OutFile {
    path: PathBuf,
    temporary: NamedTempFile,
    overwrite: bool,
}

impl OutFile {
    /// Starts a file. Nothing is at its place before [`OutFile::finish`].
    pub(crate) fn create(path: &Path, overwrite: bool) -> Result<Self, CliError> {
        if !overwrite && fs::symlink_metadata(path).is_ok() {
            return Err(CliError::Exists { path: path.display().to_string() });
        }
        // The temporary file has mode 0600 from the start.
        let temporary = tempfile::Builder::new()
            .prefix(".galen-")
            .tempfile_in(parent(path))
            .map_err(|source| failed(path, source))?;
        Ok(Self { path: path.to_owned(), temporary, overwrite })
    }

    /// A handle to write through.
    pub(crate) fn writer(&self) -> Result<File, CliError> {
        self.temporary.as_file().try_clone().map_err(|source| failed(&self.path, source))
    }

    /// Keeps only the document of a signed document that was written, in constant memory. Gives its length.
    pub(crate) fn unwrap_signed(&self) -> Result<u64, CliError> {
        let file = self.temporary.as_file();
        let done = (|| {
            let mut head = [0; MAX_HEAD_LEN];
            let read = read_up_to(file, &mut head)?;
            let malformed = io::ErrorKind::InvalidData;
            let range = document_range(&head[..read]).ok_or(malformed)?;
            let mut buffer = Zeroizing::new(vec![0; 64 << 10]);
            let mut at = range.start;
            while at < range.end {
                let left = usize::try_from(range.end - at).unwrap_or(usize::MAX);
                let part = left.min(buffer.len());
                file.read_exact_at(&mut buffer[..part], at)?;
                file.write_all_at(&buffer[..part], at - range.start)?;
                at += part as u64;
            }
            let len = range.end - range.start;
            file.set_len(len).map(|()| len)
        })();
        done.map_err(|source| failed(&self.path, source))
    }

    /// Puts the file in its place.
    pub(crate) fn finish(self) -> Result<PathBuf, CliError> {
        let Self { path, temporary, overwrite } = self;
        temporary.as_file().sync_all().map_err(|source| failed(&path, source))?;
        let moved =
            if overwrite { temporary.persist(&path) } else { temporary.persist_noclobber(&path) };
        moved.map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => CliError::Exists { path: path.display().to_string() },
            _ => failed(&path, error.error),
        })?;
        File::open(parent(&path))
            .and_then(|directory| directory.sync_all())
            .map_err(|source| failed(&path, source))?;
        Ok(path)
    }
}

/// Writes a small file in one go.
pub(crate) fn write(path: &Path, bytes: &[u8], overwrite: bool) -> Result<PathBuf, CliError> {
    let file = OutFile::create(path, overwrite)?;
    file.writer()?.write_all(bytes).map_err(|source| failed(path, source))?;
    file.finish()
}

/// Makes a folder for opened documents that nobody else can look into.
pub(crate) fn folder(path: &Path) -> Result<(), CliError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| CliError::Directory { path: path.display().to_string(), source })
}

/// How a file with this media type ends.
pub(crate) fn extension(media_type: &str) -> &'static str {
    match media_type {
        "application/fhir+json" | "application/json" => "json",
        galen_sdk::SIGNED_DOCUMENT => "signed",
        "application/dicom" => "dcm",
        "application/pdf" => "pdf",
        "image/jpeg" => "jpg",
        "image/png" => "png",
        "image/tiff" => "tiff",
        "text/csv" => "csv",
        "text/plain" => "txt",
        _ => "bin",
    }
}

fn read_up_to(file: &File, into: &mut [u8]) -> io::Result<usize> {
    let len = file.metadata()?.len().min(into.len() as u64);
    let len = usize::try_from(len).unwrap_or(into.len());
    file.read_exact_at(&mut into[..len], 0)?;
    Ok(len)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn failed(path: &Path, source: io::Error) -> CliError {
    CliError::Write { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_are_whole_private_and_not_overwritten() {
        let place = tempfile::tempdir().unwrap();
        let folder_path = place.path().join("a/b");
        folder(&folder_path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder_path), 0o700);

        let path = folder_path.join("one.json");
        let torn = OutFile::create(&path, false).unwrap();
        torn.writer().unwrap().write_all(b"half").unwrap();
        drop(torn);
        assert!(!path.exists(), "what is not finished is not there");

        write(&path, b"whole", false).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert!(write(&path, b"other", false).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        write(&path, b"other", true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"other");
        assert_eq!(fs::read_dir(&folder_path).unwrap().count(), 1, "no temporary file is left");
    }
}
