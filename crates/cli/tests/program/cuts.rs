//! A command is cut off, or its disk fails, at each call that changes a file of somebody's folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use crate::{common::bare, world::Person};

/// Calls that change files, and the error that a failing disk gives.
const CALLS: [(&str, &str); 8] = [
    ("write", "ENOSPC"),
    // A file system that allocates late says so here.
    ("fsync", "ENOSPC"),
    ("fdatasync", "EIO"),
    ("rename", "EIO"),
    ("renameat2", "ENOSPC"),
    ("linkat", "ENOSPC"),
    ("mkdir", "ENOSPC"),
    ("ftruncate", "EIO"),
];

/// Most cuts of one kind for one command.
const MAX_CUTS: usize = 10;

/// A person's command under strace.
fn under_strace(person: &Person, options: &[&str], args: &[&str]) -> Command {
    let command = person.command(args);
    let mut traced = bare("strace");
    traced.args(["-f", "-qq"]).args(options).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    traced
}

/// Which call of its kind, in its thread, touches the profile: strace counts the same way.
fn places(person: &Person, args: &[&str]) -> Vec<(&'static str, &'static str, usize)> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let path = log.path().display().to_string();
    let calls = CALLS.map(|(call, _)| call).join(",");
    let options = ["-y", "-o", &path, "-e", &format!("trace={calls}")];
    let output = under_strace(person, &options, args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    let home = person.home.display().to_string();
    let log = fs::read_to_string(log.path()).unwrap();
    // Threads wake each other by `write`: how often differs from run to run, and a failure there is not a disk's.
    let wakes = log.contains("write(") && log.contains("[eventfd]");
    let mut counts: BTreeMap<(String, &str), usize> = BTreeMap::new();
    let mut found = BTreeSet::new();
    for line in log.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        let known = CALLS
            .iter()
            .find(|(name, _)| call.strip_prefix(name).is_some_and(|rest| rest.starts_with('(')));
        let Some(&(name, error)) = known else { continue };
        let count = counts.entry((thread.to_owned(), name)).or_default();
        *count += 1;
        if call.contains(&home) {
            let error = if wakes && name == "write" { "" } else { error };
            found.insert((name, error, *count));
        }
    }
    let found: Vec<_> = found.into_iter().collect();
    let step = found.len().div_ceil(MAX_CUTS).max(1);
    assert!(found.len() > 2, "{args:?} writes nothing: {found:?}");
    found.into_iter().step_by(step).collect()
}

/// What a run that was cut off left to look at.
pub(crate) struct Cut<'a> {
    pub(crate) person: &'a Person,
    /// Whether the command said that it was done.
    pub(crate) acknowledged: bool,
    pub(crate) what: String,
}

/// Runs a command with each of the cuts. `prepare` makes the state before; `judge` looks at the state after, runs
/// the command again and looks once more. Gives how many runs were cut.
pub(crate) fn cut_everywhere(
    person: &Person,
    args: &[&str],
    mut prepare: impl FnMut(),
    mut judge: impl FnMut(&Cut),
) -> usize {
    prepare();
    let places = places(person, args);
    let mut cuts = 0;
    for (call, error, nth) in places {
        for fault in ["signal=KILL".to_owned(), format!("error={error}")] {
            if fault == "error=" {
                continue;
            }
            prepare();
            let inject = format!("inject={call}:{fault}:when={nth}");
            let options = ["-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject];
            let output = under_strace(person, &options, args).output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            let what = format!("{args:?}, {inject}: {:?} {stderr}", output.status);
            assert!(!stderr.contains("panicked"), "{what}");
            if let Some(code) = output.status.code() {
                assert!(code == 0 || stderr.contains("help: "), "{what}");
                assert_ne!(code, 1, "a full disk is no bug: {what}");
            }
            cuts += usize::from(!output.status.success());
            judge(&Cut { person, acknowledged: output.status.success(), what });
        }
    }
    cuts
}
