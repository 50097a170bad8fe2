//! What has come so far, on disk after each page, so that a pull goes on where it stopped.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use galen_services::fhir_server::{Page, Query};
use serde::{Deserialize, Serialize};

use super::output::{Output, head, write};
use crate::{
    args::PullArgs,
    error::CliError,
    home::{read_file, write_private},
};

/// Where a pull stands.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    server: String,
    plan: Vec<String>,
    /// Queries that are done.
    at: usize,
    /// The next page of the query that is not.
    next: Option<String>,
    /// Bytes of the part file that count.
    part: u64,
    pages: usize,
    /// Bytes that came.
    bytes: u64,
    duplicates: usize,
}

/// A pull on its way. Beside the place of the result lie the resources (`.part`) and the place (`.state`).
pub(super) struct Progress {
    state: State,
    part: File,
    part_path: PathBuf,
    state_path: PathBuf,
    known: HashSet<(String, String)>,
    resumed: bool,
}

impl Progress {
    /// Starts, or goes on with the same pull.
    pub(super) fn open(args: &PullArgs, server: &str, plan: &[Query]) -> Result<Self, CliError> {
        let beside = |ending: &str| {
            let mut name = args.out.clone().into_os_string();
            name.push(ending);
            PathBuf::from(name)
        };
        let (part_path, state_path) = (beside(".part"), beside(".state"));
        if !args.force && fs::symlink_metadata(&args.out).is_ok_and(|it| it.is_file()) {
            return Err(CliError::Exists { path: args.out.display().to_string() });
        }
        let plan: Vec<String> = plan.iter().map(|query| query.as_str().to_owned()).collect();
        let kept = if args.restart { None } else { read_file(&state_path)? };
        let kept = kept.map(|bytes| kept_state(&bytes, server, &plan)).transpose()?;
        let resumed = kept.is_some();
        let state = kept.unwrap_or_else(|| State {
            server: server.to_owned(),
            plan,
            at: 0,
            next: None,
            part: 0,
            pages: 0,
            bytes: 0,
            duplicates: 0,
        });
        let failed = |source| CliError::Write { path: part_path.display().to_string(), source };
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).read(true).write(true).mode(0o600);
        let mut part = options.open(&part_path).map_err(failed)?;
        if part.metadata().map_err(failed)?.len() < state.part {
            return Err(CliError::invalid(
                format!("{} lost some of what had come", part_path.display()),
                "start over with --restart",
            ));
        }
        // What a page that was not finished wrote is cut off.
        part.set_len(state.part).map_err(failed)?;
        let known = if resumed { known(&part, &part_path)? } else { HashSet::new() };
        part.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(Self { state, part, part_path, state_path, known, resumed })
    }

    pub(super) const fn at(&self) -> usize {
        self.state.at
    }

    pub(super) fn next(&self) -> Option<&str> {
        self.state.next.as_deref()
    }

    pub(super) const fn pages(&self) -> usize {
        self.state.pages
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.state.bytes
    }

    pub(super) const fn duplicates(&self) -> usize {
        self.state.duplicates
    }

    /// Whether nothing was asked since an earlier run.
    pub(super) const fn was_resumed(&self) -> bool {
        self.resumed
    }

    /// The query starts anew.
    pub(super) fn forget_place(&mut self) {
        self.state.next = None;
        self.resumed = false;
    }

    /// Keeps a page, then the place after it.
    pub(super) fn take(&mut self, page: &Page) -> Result<(), CliError> {
        let mut lines = Vec::new();
        for resource in &page.resources {
            let key = resource.id.clone().map(|id| (resource.resource_type.clone(), id));
            if key.is_some_and(|key| !self.known.insert(key)) {
                self.state.duplicates += 1;
                continue;
            }
            lines.extend_from_slice(resource.json.expose());
            lines.push(b'\n');
        }
        let written = self.part.write_all(&lines).and_then(|()| self.part.sync_data());
        let path = || self.part_path.display().to_string();
        written.map_err(|source| CliError::Write { path: path(), source })?;
        self.state.part += lines.len() as u64;
        self.state.pages += 1;
        self.state.bytes += page.bytes;
        self.state.next = page.next.as_ref().map(|query| query.as_str().to_owned());
        self.state.at += usize::from(page.next.is_none());
        self.resumed = false;
        let state = serde_json::to_vec(&self.state).map_err(io::Error::from)?;
        write_private(&self.state_path, &state)
    }

    /// Puts what came in its place, and takes away what helped.
    pub(super) fn finish(self, out: &Path, overwrite: bool) -> Result<Output, CliError> {
        let Self { part, part_path, state_path, .. } = self;
        drop(part);
        let output = write(&part_path, out, overwrite)?;
        for path in [part_path, state_path] {
            let gone = fs::remove_file(&path);
            let gone = gone.or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            });
            gone.map_err(|source| CliError::Write { path: path.display().to_string(), source })?;
        }
        Ok(output)
    }
}

fn kept_state(bytes: &[u8], server: &str, plan: &[String]) -> Result<State, CliError> {
    let state: Option<State> = serde_json::from_slice(bytes).ok();
    state.filter(|state| state.server == server && state.plan == plan).ok_or_else(|| {
        CliError::invalid(
            "what was begun for this file is another pull",
            "finish that one, choose another --out, or start over with --restart",
        )
    })
}

/// What is in the part file.
fn known(part: &File, path: &Path) -> Result<HashSet<(String, String)>, CliError> {
    let failed = |source| CliError::Read { path: path.display().to_string(), source };
    let mut reader = BufReader::new(part);
    reader.seek(SeekFrom::Start(0)).map_err(failed)?;
    let mut known = HashSet::new();
    for line in reader.split(b'\n') {
        if let Some((resource_type, Some(id))) = head(&line.map_err(failed)?) {
            known.insert((resource_type, id));
        }
    }
    Ok(known)
}
