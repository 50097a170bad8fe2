//! Journals: what was done, so that it can be taken up again.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use galen_sdk::Journal;
use serde::{Serialize, de::DeserializeOwned};

use crate::{error::CliError, home::create_dir};

/// Longest journal that is read, in bytes: millions of records.
pub(crate) const MAX_JOURNAL_LEN: u64 = 2 << 30;

/// An open journal: one line of JSON for each step, each durable before the next step. Only one process
/// has it at a time.
#[derive(Debug)]
pub(crate) struct JournalFile {
    file: File,
    path: PathBuf,
}

impl JournalFile {
    /// Opens a journal and reads it; `busy` is said if another process has it. A line that was cut off by a crash
    /// was never acknowledged and is dropped.
    pub(crate) fn open<Entry: DeserializeOwned>(
        path: &Path,
        busy: impl FnOnce() -> CliError,
    ) -> Result<(Self, Vec<Entry>), CliError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        create_dir(folder)?;
        let failed = |source| CliError::Write { path: path.display().to_string(), source };
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let file = options.open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(busy()),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // The file's own name must be durable before what is written into it.
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        let past = read(&file, path)?;
        Ok((Self { file, path: path.to_owned() }, past))
    }

    /// Forgets what was done.
    pub(crate) fn forget(&mut self) -> Result<(), CliError> {
        let failed = |source| CliError::Write { path: self.path.display().to_string(), source };
        self.file.set_len(0).and_then(|()| self.file.sync_all()).map_err(failed)
    }
}

impl<Entry: Serialize> Journal<Entry> for JournalFile {
    fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.file.sync_data()
    }
}

fn read<Entry: DeserializeOwned>(mut file: &File, path: &Path) -> Result<Vec<Entry>, CliError> {
    let shown = path.display().to_string();
    let failed = |source| CliError::Read { path: shown.clone(), source };
    let damaged = |line: usize| {
        CliError::integrity(
            format!("line {line} of {shown} is not a journal's"),
            "move the file away; what it names as sealed and not announced would be sealed again",
        )
    };
    let len = file.metadata().map_err(failed)?.len();
    if len > MAX_JOURNAL_LEN {
        return Err(damaged(0));
    }
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let mut reader = BufReader::new(file);
    let (mut past, mut whole, mut line) = (Vec::new(), 0, Vec::new());
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).map_err(failed)?;
        if read == 0 || line.last() != Some(&b'\n') {
            break;
        }
        past.push(serde_json::from_slice(&line).map_err(|_| damaged(past.len() + 1))?);
        whole += read as u64;
    }
    if whole < len {
        file.set_len(whole).and_then(|()| file.sync_all()).map_err(failed)?;
    }
    Ok(past)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

    use super::*;

    #[test]
    fn journal_keeps_whole_lines_and_drops_a_torn_one() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("journals/a.jsonl");
        let open =
            || JournalFile::open::<(u8, String)>(&path, || CliError::unavailable("busy", "wait"));
        let entry = |number| (number, "step".repeat(4));
        let (mut journal, past) = open().unwrap();
        assert!(past.is_empty());
        journal.append(&entry(1)).unwrap();
        assert_eq!(open().unwrap_err().to_string(), "busy", "one process at a time");
        drop(journal);

        let mut torn = std::fs::read(&path).unwrap();
        torn.extend_from_within(..torn.len() / 2);
        std::fs::write(&path, &torn).unwrap();
        let (mut journal, past) = open().unwrap();
        assert_eq!(past, [entry(1)]);
        journal.append(&entry(2)).unwrap();
        drop(journal);
        let (mut journal, past) = open().unwrap();
        assert_eq!(past, [entry(1), entry(2)]);
        journal.forget().unwrap();
        drop(journal);
        assert!(open().unwrap().1.is_empty());

        std::fs::write(&path, "{\"step\":\"other\"}\n").unwrap();
        assert!(open().is_err());
    }
}
