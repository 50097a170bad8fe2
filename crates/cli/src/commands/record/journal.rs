//! The journal of an import: what was sealed, signed and proposed, so that it can be taken up again.

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Read as _, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use alloy_primitives::Address;
use galen_sdk::{Journal, JournalEntry};
use galen_types::{ContentRef, LedgerId};

use crate::{
    error::CliError,
    home::{ProfileDir, create_dir},
};

/// Longest journal that is read, in bytes: millions of records.
const MAX_JOURNAL_LEN: u64 = 2 << 30;

/// An open journal: one line of JSON for each step, each durable before the next step. Only one process
/// has it at a time.
#[derive(Debug)]
pub(super) struct JournalFile {
    file: File,
    path: PathBuf,
}

impl JournalFile {
    /// Opens the journal of all imports for one patient, and reads it. A line that was cut off by a crash
    /// was never acknowledged and is dropped.
    pub(super) fn open(
        place: &ProfileDir,
        ledger: LedgerId,
        patient: Address,
    ) -> Result<(Self, Vec<JournalEntry>), CliError> {
        let folder = place.imports();
        create_dir(&folder)?;
        let LedgerId { chain_id, contract } = ledger;
        let path = folder.join(format!("{chain_id}-{contract:#x}-{patient:#x}.jsonl"));
        let failed = |source| CliError::Write { path: path.display().to_string(), source };
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let file = options.open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(CliError::unavailable(
                    "another import for this patient is running",
                    "wait until it is done; both would propose under the same numbers",
                ));
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // The file's own name must be durable before what is written into it.
        File::open(&folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        let past = read(&file, &path)?;
        Ok((Self { file, path: path.clone() }, past))
    }

    /// Forgets what was imported: the same inputs are new again.
    pub(super) fn forget(&mut self) -> Result<(), CliError> {
        let failed = |source| CliError::Write { path: self.path.display().to_string(), source };
        self.file.set_len(0).and_then(|()| self.file.sync_all()).map_err(failed)
    }
}

impl Journal for JournalFile {
    fn append(&mut self, entry: &JournalEntry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.file.sync_data()
    }
}

/// Contents that imports of this profile have sealed; they may not be proposed yet.
pub(in crate::commands) fn sealed_contents(
    place: &ProfileDir,
) -> Result<BTreeSet<ContentRef>, CliError> {
    let folder = place.imports();
    let failed = |source| CliError::Read { path: folder.display().to_string(), source };
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(source) => return Err(failed(source)),
    };
    let mut sealed = BTreeSet::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let shown = || path.display().to_string();
        let file = File::open(&path);
        let file = file.map_err(|source| CliError::Read { path: shown(), source })?;
        for line in BufReader::new(file.take(MAX_JOURNAL_LEN)).split(b'\n') {
            let line = line.map_err(|source| CliError::Read { path: shown(), source })?;
            // A torn last line was never acknowledged: nothing rests on what it names.
            if let Ok(JournalEntry::Sealed { leaf, .. }) = serde_json::from_slice(&line) {
                sealed.insert(leaf.content);
            }
        }
    }
    Ok(sealed)
}

fn read(mut file: &File, path: &Path) -> Result<Vec<JournalEntry>, CliError> {
    let shown = path.display().to_string();
    let failed = |source| CliError::Read { path: shown.clone(), source };
    let damaged = |line: usize| {
        CliError::integrity(
            format!("line {line} of {shown} is not a journal's"),
            "move the file away; what it names as sealed and not proposed would be sealed again",
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

    use galen_types::Salt;

    use super::*;
    use crate::home::Home;

    #[test]
    fn journal_keeps_whole_lines_and_drops_a_torn_one() {
        let place = tempfile::tempdir().unwrap();
        let profile = Home::new(place.path().to_owned()).profile(&"a".parse().unwrap());
        let ledger = LedgerId { chain_id: 1, contract: Address::repeat_byte(1) };
        let patient = Address::repeat_byte(2);
        let open = || JournalFile::open(&profile, ledger, patient);
        let entry = |salt| JournalEntry::Begun {
            ledger,
            patient,
            author: Address::repeat_byte(3),
            salt: Salt([salt; 32].into()),
        };
        let (mut journal, past) = open().unwrap();
        assert!(past.is_empty());
        journal.append(&entry(1)).unwrap();
        assert!(open().is_err(), "one process at a time");
        let path = journal.path.clone();
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
