//! The one-line text of what people hand each other: `galen:<kind>:<base64url>`, by file, text or chat.

use std::{
    io::{self, Read},
    path::Path,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{error::CliError, home::read_file};

/// Most bytes of text that are read.
const MAX_TEXT_LEN: u64 = 32 << 20;

/// What a line holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A grant's envelope.
    Grant,
    /// A sheet of cosignatures.
    Cosignature,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Cosignature => "cosignature",
        }
    }
}

/// The line of some bytes.
pub(crate) fn encode(kind: Kind, bytes: &[u8]) -> String {
    format!("galen:{}:{}", kind.as_str(), URL_SAFE_NO_PAD.encode(bytes))
}

/// The bytes of the one line that was given: as text, in a file, or on standard input (`-`).
pub(crate) fn read(given: &str, kind: Kind) -> Result<Vec<u8>, CliError> {
    let mut found = read_all(given, kind)?;
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        _ => Err(CliError::invalid("there is more than one line", "give one line at a time")),
    }
}

/// The bytes of each line that was given, at least one.
pub(crate) fn read_all(given: &str, kind: Kind) -> Result<Vec<Vec<u8>>, CliError> {
    let text = if given.starts_with("galen:") { given.to_owned() } else { file(given)? };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let found = lines.map(|line| decode(line, kind)).collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() {
        return Err(CliError::invalid("there is nothing in it", expected(kind)));
    }
    Ok(found)
}

fn file(given: &str) -> Result<String, CliError> {
    let bytes = if given == "-" {
        let mut bytes = Vec::new();
        let failed = |source| CliError::Read { path: "standard input".to_owned(), source };
        io::stdin().lock().take(MAX_TEXT_LEN).read_to_end(&mut bytes).map_err(failed)?;
        bytes
    } else {
        let missing = || CliError::Read {
            path: given.to_owned(),
            source: io::Error::from(io::ErrorKind::NotFound),
        };
        read_file(Path::new(given))?.ok_or_else(missing)?
    };
    let help = "give the file with the line, or the line itself";
    String::from_utf8(bytes).map_err(|_| CliError::invalid("it is not text", help))
}

/// Reads what [`encode`] writes and nothing else.
fn decode(line: &str, kind: Kind) -> Result<Vec<u8>, CliError> {
    let other = || CliError::invalid("it is not a line of this kind", expected(kind));
    let rest = line.strip_prefix("galen:").ok_or_else(other)?;
    let rest = rest.strip_prefix(kind.as_str()).and_then(|rest| rest.strip_prefix(':'));
    let bytes = URL_SAFE_NO_PAD.decode(rest.ok_or_else(other)?).map_err(|_| {
        CliError::invalid("the line is damaged", "copy the whole line again, without a break in it")
    })?;
    Ok(bytes)
}

fn expected(kind: Kind) -> String {
    format!("expected a line that begins with galen:{}:", kind.as_str())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

    use super::*;

    #[test]
    fn lines_are_read_as_text_and_from_files() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("lines.txt");
        let (one, two) = (encode(Kind::Grant, b"\x00one"), encode(Kind::Grant, b"two"));
        std::fs::write(&path, format!("{one}\r\n\n  {two}\n")).unwrap();
        let given = path.to_str().unwrap();
        assert_eq!(read_all(given, Kind::Grant).unwrap(), [b"\x00one".to_vec(), b"two".to_vec()]);
        assert_eq!(read(&one, Kind::Grant).unwrap(), b"\x00one");
        for (text, kind) in [
            (given, Kind::Grant),
            (one.as_str(), Kind::Cosignature),
            ("galen:grant:====", Kind::Grant),
            ("galen:grants:AA", Kind::Grant),
            ("galen:grant", Kind::Grant),
            ("/nowhere", Kind::Grant),
        ] {
            assert!(read(text, kind).is_err(), "{text}");
        }
    }
}
