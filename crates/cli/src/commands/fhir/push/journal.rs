//! What a server acknowledged, so that it is not sent again.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use alloy_primitives::{B256, keccak256};

use crate::error::CliError;

/// Longest journal: a million entries.
const MAX_LEN: u64 = 66 << 20;

/// Bytes of an entry: 64 hex digits and the end of the line.
const ENTRY_LEN: usize = 65;

/// A file of hashes, one a line. A line that a crash cut is no entry, and is overwritten.
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    known: HashSet<B256>,
}

impl Journal {
    /// Of what was sent where: the server and the exact bytes.
    pub(super) fn key(server: &str, body: &[u8]) -> B256 {
        keccak256([server.as_bytes(), &[0], body].concat())
    }

    pub(super) fn open(path: &Path) -> Result<Self, CliError> {
        let failed = |source| CliError::Write { path: path.display().to_string(), source };
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).read(true).write(true).mode(0o600);
        let mut file = options.open(path).map_err(failed)?;
        file.try_lock().map_err(|_| {
            CliError::unavailable(
                format!("another push writes {}", path.display()),
                "wait for it, or give this one a --state of its own",
            )
        })?;
        let mut text = Vec::new();
        (&file).take(MAX_LEN + 1).read_to_end(&mut text).map_err(failed)?;
        if text.len() as u64 > MAX_LEN {
            return Err(CliError::invalid(
                format!("{} is longer than a million entries", path.display()),
                "choose another file with --state",
            ));
        }
        let mut known = HashSet::new();
        let mut whole = 0;
        for line in text.chunks_exact(ENTRY_LEN) {
            let entry = std::str::from_utf8(&line[..ENTRY_LEN - 1]).ok();
            let entry =
                entry.and_then(|entry| entry.parse().ok()).filter(|_| line.ends_with(b"\n"));
            let Some(entry) = entry else {
                return Err(CliError::invalid(
                    format!("{} is no list of what was sent", path.display()),
                    "choose another file with --state",
                ));
            };
            known.insert(entry);
            whole += ENTRY_LEN as u64;
        }
        file.set_len(whole).map_err(failed)?;
        io::Seek::seek(&mut file, io::SeekFrom::Start(whole)).map_err(failed)?;
        Ok(Self { file, path: path.to_owned(), known })
    }

    pub(super) fn has(&self, key: &B256) -> bool {
        self.known.contains(key)
    }

    /// On disk when it returns.
    pub(super) fn add(&mut self, key: B256) -> Result<(), CliError> {
        let written = writeln!(self.file, "{key:x}").and_then(|()| self.file.sync_data());
        let path = || self.path.display().to_string();
        written.map_err(|source| CliError::Write { path: path(), source })?;
        self.known.insert(key);
        Ok(())
    }
}
