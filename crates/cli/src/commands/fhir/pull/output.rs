//! Where pulled resources go: one Bundle, one NDJSON file, or one NDJSON file for each type.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use galen_fhir::Document;
use serde::{Deserialize, Serialize};

use crate::{
    error::CliError,
    outfile::{self, OutFile},
};

/// Head and end of a Bundle around resources.
const BUNDLE: (&[u8], &[u8]) =
    (br#"{"resourceType":"Bundle","type":"collection","entry":[{"resource":"#, b"}]}\n");

/// What separates two resources of a Bundle.
const BETWEEN: &[u8] = br#"},{"resource":"#;

/// A Bundle without resources: FHIR has no empty arrays.
const EMPTY: &[u8] = b"{\"resourceType\":\"Bundle\",\"type\":\"collection\"}\n";

/// What was written.
#[derive(Debug, Default, Serialize)]
pub(super) struct Output {
    /// Resources that Galen's reader accepts.
    pub(super) accepted: usize,
    /// Those that it refuses; they lie in a file of their own.
    pub(super) refused: usize,
    /// Accepted resources by type.
    pub(super) types: BTreeMap<String, usize>,
    pub(super) files: Vec<Written>,
}

#[derive(Debug, Serialize)]
pub(super) struct Written {
    pub(super) file: String,
    pub(super) resources: usize,
}

/// One file on its way.
struct Target {
    file: OutFile,
    writer: BufWriter<File>,
    path: PathBuf,
    bundle: bool,
    count: usize,
}

impl Target {
    fn create(path: PathBuf, overwrite: bool) -> Result<Self, CliError> {
        let file = OutFile::create(&path, overwrite)?;
        let writer = BufWriter::new(file.writer()?);
        let bundle = has_ending(&path, "json");
        Ok(Self { file, writer, path, bundle, count: 0 })
    }

    fn add(&mut self, line: &[u8]) -> Result<(), CliError> {
        let before = match (self.bundle, self.count) {
            (true, 0) => BUNDLE.0,
            (true, _) => BETWEEN,
            (false, _) => b"",
        };
        let after: &[u8] = if self.bundle { b"" } else { b"\n" };
        self.count += 1;
        let all = [before, line, after];
        let written = all.into_iter().try_for_each(|bytes| self.writer.write_all(bytes));
        written.map_err(|source| self.failed(source))
    }

    fn finish(mut self) -> Result<Written, CliError> {
        let end = match (self.bundle, self.count) {
            (true, 0) => EMPTY,
            (true, _) => BUNDLE.1,
            (false, _) => b"",
        };
        let written = self.writer.write_all(end).and_then(|()| self.writer.flush());
        written.map_err(|source| self.failed(source))?;
        let file = self.file.finish()?.display().to_string();
        Ok(Written { file, resources: self.count })
    }

    fn failed(&self, source: std::io::Error) -> CliError {
        CliError::Write { path: self.path.display().to_string(), source }
    }
}

/// Sorts the lines of the part file into their files. All are whole before the first is in its place.
pub(super) fn write(part: &Path, out: &Path, overwrite: bool) -> Result<Output, CliError> {
    let one = has_ending(out, "json") || has_ending(out, "ndjson");
    let refused_path = if one { suffixed(out) } else { out.join("refused.ndjson") };
    let mut targets: BTreeMap<String, Target> = BTreeMap::new();
    if one {
        targets.insert(String::new(), Target::create(out.to_owned(), overwrite)?);
    } else {
        outfile::folder(out)?;
    }
    let mut refused: Option<Target> = None;
    let mut output = Output::default();
    let failed = |source| CliError::Read { path: part.display().to_string(), source };
    for line in BufReader::new(File::open(part).map_err(failed)?).split(b'\n') {
        let line = line.map_err(failed)?;
        let accepted = Document::read(&line).map(|document| document.resource_type());
        let Ok(name) = accepted else {
            output.refused += 1;
            let target = match &mut refused {
                Some(target) => target,
                None => refused.insert(Target::create(refused_path.clone(), overwrite)?),
            };
            target.add(&line)?;
            continue;
        };
        output.accepted += 1;
        *output.types.entry(name.to_owned()).or_default() += 1;
        let key = if one { String::new() } else { name.to_owned() };
        let target = match targets.entry(key) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let path = out.join(format!("{name}.ndjson"));
                entry.insert(Target::create(path, overwrite)?)
            }
        };
        target.add(&line)?;
    }
    let all = targets.into_values().chain(refused);
    output.files = all.map(Target::finish).collect::<Result<_, _>>()?;
    Ok(output)
}

/// `all.json` becomes `all.refused.ndjson`.
fn suffixed(out: &Path) -> PathBuf {
    out.with_extension("refused.ndjson")
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension() == Some(OsStr::new(ending))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    #[serde(borrow)]
    resource_type: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
}

/// Type and id of a resource.
pub(super) fn head(line: &[u8]) -> Option<(String, Option<String>)> {
    let head: Head<'_> = serde_json::from_slice(line).ok()?;
    Some((head.resource_type.into_owned(), head.id.map(Cow::into_owned)))
}
