//! The journal of an import: what was sealed, signed and proposed, so that it can be taken up again.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
};

use alloy_primitives::Address;
use galen_sdk::JournalEntry;
use galen_types::{ContentRef, LedgerId};

use crate::{
    error::CliError,
    home::ProfileDir,
    journal::{JournalFile, MAX_JOURNAL_LEN},
};

/// Opens the journal of all imports for one patient, and reads it.
pub(super) fn open(
    place: &ProfileDir,
    ledger: LedgerId,
    patient: Address,
) -> Result<(JournalFile, Vec<JournalEntry>), CliError> {
    let LedgerId { chain_id, contract } = ledger;
    let path = place.imports().join(format!("{chain_id}-{contract:#x}-{patient:#x}.jsonl"));
    JournalFile::open(&path, || {
        CliError::unavailable(
            "another import for this patient is running",
            "wait until it is done; both would propose under the same numbers",
        )
    })
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
