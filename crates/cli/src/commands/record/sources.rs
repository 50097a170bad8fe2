//! Where documents come from: files, folders, NDJSON, standard input; one after the other, never all at once.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use galen_fhir::MAX_INPUT_LEN;
use galen_sdk::health_card::IssuerKeys;
use galen_types::Plaintext;

use super::cards;
use crate::{asked::AskError, commands::fhir::read_input, error::CliError};

/// Most files of one import.
const MAX_FILES: usize = 1_000_000;

/// How deep folders are looked into.
const MAX_FOLDERS: usize = 32;

/// Files of a folder that are looked into.
const ENDINGS: [&str; 4] = ["json", "ndjson", "signed", "smart-health-card"];

/// One document, or why it could not be read.
pub(in crate::commands) struct Source {
    /// The file.
    pub(in crate::commands) input: String,
    /// The line of an NDJSON file, from 1.
    pub(in crate::commands) line: Option<usize>,
    pub(in crate::commands) bytes: Result<Plaintext, CliError>,
}

/// Documents in order: inputs as they were given, files of a folder by name.
pub(in crate::commands) struct Sources {
    files: VecDeque<PathBuf>,
    lines: Option<Lines>,
    cards: Option<IssuerKeys>,
}

struct Lines {
    input: String,
    reader: BufReader<Box<dyn Read + Send>>,
    line: usize,
}

impl Sources {
    /// Looks into folders; opens no file yet.
    pub(in crate::commands) fn new(inputs: &[PathBuf]) -> Result<Self, CliError> {
        let mut files = VecDeque::new();
        for input in inputs {
            if input.as_os_str() != "-" && input.is_dir() {
                walk(input, 0, &mut files)?;
            } else {
                files.push_back(input.clone());
            }
            if files.len() > MAX_FILES {
                return Err(AskError::TooMany { what: "files", limit: MAX_FILES }.into());
            }
        }
        if files.is_empty() && !inputs.is_empty() {
            return Err(
                AskError::Nothing("the folder holds no .json, .ndjson or .signed file").into()
            );
        }
        Ok(Self { files, lines: None, cards: None })
    }

    /// Whose SMART Health Cards are taken among the files.
    pub(super) fn with_cards(self, cards: Option<IssuerKeys>) -> Self {
        Self { cards, ..self }
    }

    /// How many files there are.
    pub(in crate::commands) fn files(&self) -> usize {
        self.files.len()
    }
}

impl Iterator for Sources {
    type Item = Source;

    fn next(&mut self) -> Option<Source> {
        loop {
            if let Some(lines) = &mut self.lines {
                match lines.next() {
                    Some(source) => return Some(source),
                    None => self.lines = None,
                }
            }
            let path = self.files.pop_front()?;
            let input = path.display().to_string();
            if !has_ending(&path, "ndjson") {
                let opened = |bytes| cards::opened(bytes, self.cards.as_ref());
                let bytes = read_input(&path).and_then(opened).map(Plaintext::new);
                return Some(Source { input, line: None, bytes });
            }
            match File::open(&path) {
                Ok(file) => {
                    let reader: Box<dyn Read + Send> = Box::new(file);
                    self.lines = Some(Lines { input, reader: BufReader::new(reader), line: 0 });
                }
                Err(source) => {
                    let bytes = Err(CliError::Read { path: input.clone(), source });
                    return Some(Source { input, line: None, bytes });
                }
            }
        }
    }
}

impl Lines {
    /// The next line that is not blank. A line that is too long is cut by one byte over the limit, and the
    /// reader of documents says so; what follows in the file is lost with it.
    fn next(&mut self) -> Option<Source> {
        loop {
            let mut bytes = Vec::new();
            let limit = MAX_INPUT_LEN as u64 + 2;
            let read = self.reader.by_ref().take(limit).read_until(b'\n', &mut bytes);
            self.line += 1;
            let (input, line) = (self.input.clone(), Some(self.line));
            match read {
                Ok(0) => return None,
                Ok(_) if bytes.trim_ascii().is_empty() => {}
                Ok(_) => {
                    if bytes.len() as u64 == limit {
                        self.reader = BufReader::new(Box::new(io::empty()));
                    }
                    return Some(Source { input, line, bytes: Ok(Plaintext::new(bytes)) });
                }
                Err(source) => {
                    self.reader = BufReader::new(Box::new(io::empty()));
                    let bytes = Err(CliError::Read { path: input.clone(), source });
                    return Some(Source { input, line, bytes });
                }
            }
        }
    }
}

/// Adds the documents of a folder and the folders in it, by name. Links to folders are not followed.
fn walk(folder: &Path, depth: usize, files: &mut VecDeque<PathBuf>) -> Result<(), CliError> {
    let failed = |source| CliError::Directory { path: folder.display().to_string(), source };
    if depth > MAX_FOLDERS {
        return Err(AskError::TooMany { what: "folders in folders", limit: MAX_FOLDERS }.into());
    }
    let mut entries = fs::read_dir(folder)
        .map_err(failed)?
        .map(|entry| entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))))
        .collect::<io::Result<Vec<_>>>()
        .map_err(failed)?;
    entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    for (path, kind) in entries {
        if kind.is_dir() {
            walk(&path, depth + 1, files)?;
        } else if ENDINGS.iter().any(|ending| has_ending(&path, ending)) {
            files.push_back(path);
        }
        if files.len() > MAX_FILES {
            return Err(AskError::TooMany { what: "files", limit: MAX_FILES }.into());
        }
    }
    Ok(())
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

    use super::*;

    #[test]
    fn sources_come_in_order_and_one_bad_one_stops_none() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir(at("b")).unwrap();
        fs::write(at("a.json"), "1").unwrap();
        fs::write(at("b/c.NDJSON"), "2\n\n  \r\n3\r\n4").unwrap();
        fs::write(at("b/ignored.txt"), "x").unwrap();
        std::os::unix::fs::symlink("/nowhere", at("z.json")).unwrap();
        let found: Vec<(String, Option<usize>, Option<String>)> = Sources::new(&[place
            .path()
            .to_owned()])
        .unwrap()
        .map(|source| {
            let text =
                |bytes: Plaintext| String::from_utf8(bytes.expose().trim_ascii().to_vec()).unwrap();
            let name = Path::new(&source.input).file_name().unwrap();
            let name = name.to_string_lossy().into_owned();
            (name, source.line, source.bytes.ok().map(text))
        })
        .collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            found,
            [
                ("a.json".to_owned(), None, some("1")),
                ("c.NDJSON".to_owned(), Some(1), some("2")),
                ("c.NDJSON".to_owned(), Some(4), some("3")),
                ("c.NDJSON".to_owned(), Some(5), some("4")),
                ("z.json".to_owned(), None, None),
            ]
        );
        fs::create_dir(at("empty")).unwrap();
        assert!(Sources::new(&[at("empty")]).is_err());
    }
}
