//! What happened to a link, a line each, on disk before it is answered.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

/// Most events that are kept one by one; older ones are counted.
pub const MAX_LOG_LINES: usize = 1_000;

/// Longest journal that is read, in bytes.
const MAX_JOURNAL_LEN: u64 = 8 << 20;

/// One thing that happened to a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// When, in Unix seconds.
    pub at: u64,
    /// Who, as they named themselves, without anything that moves a terminal.
    pub recipient: String,
    /// Whether the files were handed out. Otherwise a passcode was tried.
    pub opened: bool,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    /// A passcode is about to be compared.
    Tried(LogEntry),
    /// The files are about to be handed out; the passcode, if there is one, was right.
    Opened(LogEntry),
    /// The counts of lines that were here before.
    Before { tried: u64, opened: u64 },
}

/// The journal of one link, as it stands on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Journal {
    /// Passcodes that were compared.
    pub(super) tried: u64,
    /// How often the files were handed out.
    pub(super) opened: u64,
    /// The newest events.
    pub(super) log: Vec<LogEntry>,
}

impl Journal {
    /// Reads the journal; a missing one is empty. A line that a crash cut off was never acted upon and is skipped.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(file) => file.take(MAX_JOURNAL_LEN).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let mut journal = Self::default();
        for line in bytes.split(|byte| *byte == b'\n') {
            match serde_json::from_slice(line) {
                Ok(Line::Tried(entry)) => {
                    journal.tried += 1;
                    journal.log.push(entry);
                }
                Ok(Line::Opened(entry)) => {
                    journal.opened += 1;
                    journal.log.push(entry);
                }
                Ok(Line::Before { tried, opened }) => {
                    journal.tried += tried;
                    journal.opened += opened;
                }
                Err(_) => {}
            }
        }
        Ok(journal)
    }

    /// Adds an event, durable when this returns. `passcode` says whether it is a try.
    pub(super) fn append(&mut self, path: &Path, entry: LogEntry) -> io::Result<()> {
        if self.log.len() >= 2 * MAX_LOG_LINES {
            self.shorten(path)?;
        }
        let line =
            if entry.opened { Line::Opened(entry.clone()) } else { Line::Tried(entry.clone()) };
        let is_new = !path.exists();
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        // The line break comes first, so that a line that was cut off takes no other with it.
        file.write_all(&[b"\n", &serde_json::to_vec(&line)?[..], b"\n"].concat())?;
        file.sync_all()?;
        if is_new {
            sync_parent(path)?;
        }
        if entry.opened {
            self.opened += 1;
        } else {
            self.tried += 1;
        }
        self.log.push(entry);
        Ok(())
    }

    /// Writes the newest lines anew, and the count of the others.
    fn shorten(&mut self, path: &Path) -> io::Result<()> {
        let log = self.log.split_off(self.log.len() - MAX_LOG_LINES);
        let opened = log.iter().filter(|entry| entry.opened).count() as u64;
        let tried = log.len() as u64 - opened;
        let before = Line::Before { tried: self.tried - tried, opened: self.opened - opened };
        let mut text = serde_json::to_vec(&before)?;
        for entry in &log {
            text.push(b'\n');
            let line =
                if entry.opened { Line::Opened(entry.clone()) } else { Line::Tried(entry.clone()) };
            text.extend(serde_json::to_vec(&line)?);
        }
        text.push(b'\n');
        write_durable(path, &text)?;
        self.log = log;
        Ok(())
    }
}

/// Writes a file whole or not at all, durable when this returns.
pub(super) fn write_durable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_parent(path)
}

/// Makes the name of a file durable.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
