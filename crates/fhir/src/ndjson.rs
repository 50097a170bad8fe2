//! Files of one resource per line, in constant memory.

use std::io::{self, BufRead, Read as _};

use serde::Serialize;

use crate::{Document, FhirError, MAX_INPUT_LEN};

/// Refused lines that a summary lists; the others are counted.
pub const MAX_LISTED_LINES: usize = 1_000;

/// A file of one resource per line (NDJSON): what was accepted and which lines were not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NdjsonSummary {
    /// Lines that hold an accepted resource.
    pub accepted: usize,
    /// Lines that are refused, in order; the first [`MAX_LISTED_LINES`].
    pub refused: Vec<LineError>,
    /// Refused lines that are not listed.
    pub more_refused: usize,
}

/// One refused line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LineError {
    /// Counted from 1, blank lines included.
    pub line: usize,
    /// Why. Its offset counts from the start of the line.
    pub error: FhirError,
}

impl NdjsonSummary {
    /// Takes note of one line.
    pub fn add(&mut self, line: usize, result: Result<(), FhirError>) {
        match result {
            Ok(()) => self.accepted += 1,
            Err(error) if self.refused.len() < MAX_LISTED_LINES => {
                self.refused.push(LineError { line, error });
            }
            Err(_) => self.more_refused += 1,
        }
    }
}

/// Checks each line by itself; see [`for_each_line`].
///
/// # Errors
///
/// Those of `input`.
pub fn check_ndjson(input: impl BufRead) -> io::Result<NdjsonSummary> {
    let mut summary = NdjsonSummary::default();
    for_each_line(input, |line, result| summary.add(line, result.map(drop)))?;
    Ok(summary)
}

/// Reads each line by itself: `each` gets its number, counted from 1, and what the reader says of it. Lines end
/// with a line feed, with or without a carriage return before it; blank ones are passed over. One bad line does
/// not refuse the others. Holds one line at a time, of at most [`MAX_INPUT_LEN`].
///
/// # Errors
///
/// Those of `input`.
pub fn for_each_line(
    mut input: impl BufRead,
    mut each: impl FnMut(usize, Result<Document<'_>, FhirError>),
) -> io::Result<()> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        // One byte over the limit is enough for the reader to say so.
        let limit = MAX_INPUT_LEN as u64 + 1;
        if input.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else {
            skip_line(&mut input)?;
        }
        if !line.trim_ascii().is_empty() {
            each(number, Document::read(&line));
        }
    }
    Ok(())
}

/// Passes over the rest of a line.
fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let (len, found) = match input.fill_buf()? {
            [] => return Ok(()),
            bytes => match bytes.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (bytes.len(), false),
            },
        };
        input.consume(len);
        if found {
            return Ok(());
        }
    }
}
