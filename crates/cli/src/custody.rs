//! The custodian's journal of a chart, as it lies in the profile.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use alloy_primitives::Address;
use galen_sdk::{Custody, CustodyEntry, Journal};
use galen_types::{ContentRef, LedgerId, RecordId};

use crate::{
    error::CliError,
    home::{Lock, ProfileDir, write_private},
    journal::JournalFile,
};

/// A journal with more lines than this that say nothing any more is written anew.
const MAX_IDLE_LINES: usize = 1_000;

/// An open journal. No other process has it; who wants it waits for a while.
#[derive(Debug)]
pub(crate) struct OpenCustody {
    pub(crate) custody: Custody,
    _alone: Lock,
}

/// Opens the journal of a chart: the patient's own, or that of an organization's patient.
pub(crate) fn open(
    place: &ProfileDir,
    ledger: LedgerId,
    patient: Address,
) -> Result<OpenCustody, CliError> {
    let path = path(place, ledger, patient);
    let alone = Lock::of(&path)?;
    let (journal, past) = read(&path)?;
    let custody = resume(ledger, patient, journal, &past)?;
    let short = custody.entries();
    if past.len() <= short.len() + MAX_IDLE_LINES {
        return Ok(OpenCustody { custody, _alone: alone });
    }
    let mut text = Vec::new();
    for entry in &short {
        serde_json::to_writer(&mut text, entry).map_err(|error| CliError::Output(error.into()))?;
        text.push(b'\n');
    }
    drop(custody);
    write_private(&path, &text)?;
    let (journal, past) = read(&path)?;
    Ok(OpenCustody { custody: resume(ledger, patient, journal, &past)?, _alone: alone })
}

/// New contents that the custodian has made and that the ledger may not name yet, and how long ago it last worked.
/// `None` if it never did. Waits for nobody.
pub(crate) fn look(
    place: &ProfileDir,
    ledger: LedgerId,
    patient: Address,
) -> Result<Option<(Vec<ContentRef>, Duration)>, CliError> {
    let found = peek(place, ledger, patient)?;
    Ok(found.map(|(custody, age)| (custody.unfinished(), age)))
}

/// Whether a record was erased here: the custodian lets go of whatever is proposed of it. Waits for nobody.
pub(crate) fn is_erased(
    place: &ProfileDir,
    ledger: LedgerId,
    patient: Address,
    record: RecordId,
) -> Result<bool, CliError> {
    let found = peek(place, ledger, patient)?;
    Ok(found.is_some_and(|(custody, _)| custody.is_erased(record)))
}

fn peek(
    place: &ProfileDir,
    ledger: LedgerId,
    patient: Address,
) -> Result<Option<(Custody, Duration)>, CliError> {
    let path = path(place, ledger, patient);
    let shown = path.display().to_string();
    let failed = |source| CliError::Read { path: shown.clone(), source };
    let Some(bytes) = crate::home::read_file(&path)? else { return Ok(None) };
    let changed = File::open(&path).and_then(|file| file.metadata()?.modified()).map_err(failed)?;
    // A torn last line was never acknowledged, and what is damaged is told by whoever opens it.
    let lines = bytes.split(|byte| *byte == b'\n');
    let past: Vec<CustodyEntry> =
        lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let custody = resume(ledger, patient, Nowhere, &past)?;
    let age = SystemTime::now().duration_since(changed).unwrap_or_default();
    Ok(Some((custody, age)))
}

/// New contents that the custodian has made, in whichever chart of whichever ledger, and that the ledger may not name
/// yet. Waits for nobody.
pub(crate) fn unfinished(place: &ProfileDir) -> Result<Vec<ContentRef>, CliError> {
    let folder = place.custody();
    let failed = |source| CliError::Read { path: folder.display().to_string(), source };
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        // Locks lie there, too.
        if let Some((ledger, patient)) = name.to_str().and_then(chart_of) {
            let found = look(place, ledger, patient)?;
            all.extend(found.into_iter().flat_map(|(unfinished, _)| unfinished));
        }
    }
    Ok(all)
}

/// Notes that a pass was made, also one that had nothing to do.
pub(crate) fn touch(place: &ProfileDir, ledger: LedgerId, patient: Address) {
    let path = path(place, ledger, patient);
    // Only `galen doctor` asks, and would say that no pass was made.
    let _ = File::options()
        .append(true)
        .open(path)
        .and_then(|file| file.set_modified(SystemTime::now()));
}

/// For whoever only looks.
struct Nowhere;

impl Journal<CustodyEntry> for Nowhere {
    fn append(&mut self, _: &CustodyEntry) -> io::Result<()> {
        Ok(())
    }
}

fn path(
    place: &ProfileDir,
    LedgerId { chain_id, contract }: LedgerId,
    patient: Address,
) -> PathBuf {
    place.custody().join(format!("{chain_id}-{contract:#x}-{patient:#x}.jsonl"))
}

/// What the name of a journal says.
fn chart_of(name: &str) -> Option<(LedgerId, Address)> {
    let (chain_id, rest) = name.strip_suffix(".jsonl")?.split_once('-')?;
    let (contract, patient) = rest.split_once('-')?;
    let ledger = LedgerId { chain_id: chain_id.parse().ok()?, contract: contract.parse().ok()? };
    Some((ledger, patient.parse().ok()?))
}

fn read(path: &Path) -> Result<(JournalFile, Vec<CustodyEntry>), CliError> {
    JournalFile::open(path, || {
        CliError::unavailable("another custodian has the journal", "wait until it is done")
    })
}

fn resume(
    ledger: LedgerId,
    patient: Address,
    journal: impl Journal<CustodyEntry> + 'static,
    past: &[CustodyEntry],
) -> Result<Custody, CliError> {
    let doing = "take up the custodian's journal";
    Custody::open(ledger, patient, Box::new(journal), past)
        .map_err(|source| CliError::Sdk { doing, source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

    use alloy_primitives::B256;

    use super::*;
    use crate::home::Home;

    #[test]
    fn a_long_journal_is_written_anew_and_says_the_same() {
        let place = tempfile::tempdir().unwrap();
        let profile = Home::new(place.path().to_owned()).profile(&"a".parse().unwrap());
        let ledger = LedgerId { chain_id: 1, contract: Address::repeat_byte(1) };
        let patient = Address::repeat_byte(2);
        assert!(look(&profile, ledger, patient).unwrap().is_none());
        drop(open(&profile, ledger, patient).unwrap());
        let content =
            |number: u64| ContentRef::swarm(B256::from(alloy_primitives::U256::from(number)));
        let sealed = |number| CustodyEntry::Sealed {
            record: Default::default(),
            version: Default::default(),
            before: content(number),
            after: content(number + 1),
            epoch: 1,
        };
        let path = path(&profile, ledger, patient);
        let (mut journal, past) = read(&path).unwrap();
        assert_eq!(past.len(), 1);
        for number in 0..900 {
            journal.append(&sealed(number)).unwrap();
            journal.append(&CustodyEntry::Announced { content: content(number + 1) }).unwrap();
        }
        journal.append(&sealed(5_000)).unwrap();
        drop(journal);
        let opened = open(&profile, ledger, patient).unwrap();
        assert_eq!(opened.custody.unfinished(), [content(5_001)]);
        drop(opened);
        assert_eq!(read(&path).unwrap().1.len(), 2);
        assert_eq!(look(&profile, ledger, patient).unwrap().unwrap().0, [content(5_001)]);
        let other = Address::repeat_byte(3);
        std::fs::copy(&path, super::path(&profile, ledger, other)).unwrap();
        assert!(open(&profile, ledger, other).is_err(), "of another chart");
        assert!(unfinished(&profile).is_err(), "what it needs is not known");

        // The contents of every chart are known, and locks are no journals.
        fs::remove_file(super::path(&profile, ledger, other)).unwrap();
        let elsewhere = LedgerId { chain_id: 2, ..ledger };
        drop(open(&profile, elsewhere, other).unwrap());
        let (mut journal, _) = read(&super::path(&profile, elsewhere, other)).unwrap();
        journal.append(&sealed(7_000)).unwrap();
        drop(journal);
        let mut found = unfinished(&profile).unwrap();
        found.sort_unstable();
        assert_eq!(found, [content(5_001), content(7_001)]);
    }
}
