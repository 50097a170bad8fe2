//! Nothing acknowledged is lost: the process dies, or the disk refuses, at each single step. Content is
//! acknowledged under both of its addresses.
//!
//! `strace` kills the program `examples/hammer_store.rs` at its first `write`, then at its second, and so on
//! until a run gets through; the same for every other call that changes the disk. Without `strace` these
//! tests say so and end; with `GALEN_REQUIRE_STRACE=1` they fail.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]
#![allow(clippy::print_stderr, reason = "says why a test was skipped")]
#![cfg(target_os = "linux")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use galen_storage::{LocalStore, MAX_CONTENT_LEN};
use galen_types::ContentRef;

/// Addresses that a run of two rounds acknowledges: twelve contents kept, and one removed.
const ACKNOWLEDGED: usize = 2 * 13;

/// Far more than the steps of one run: a loop that never gets through ends.
const MAX_STEPS: usize = 2_000;

/// Every call that changes the disk, but for those that make directories, see below.
const CALLS: [&str; 4] = [
    "write,pwrite64,writev,copy_file_range,sendfile",
    "fsync,fdatasync,sync_file_range",
    "rename,renameat,renameat2,unlink,unlinkat,link,linkat",
    "flock,ftruncate",
];

/// The built example. `cargo test` builds it, `cargo test --test kill` does not: an old one would test old code.
fn hammer() -> PathBuf {
    let tests = env::current_exe().unwrap();
    let hammer = tests.parent().unwrap().parent().unwrap().join("examples/hammer_store");
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = ["examples", "src", "src/ipfs", "src/local", "src/local/reader", "src/swarm"]
        .into_iter()
        .flat_map(|part| fs::read_dir(package.join(part)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file());
    let newest = sources.map(|source| modified(&source).unwrap()).max().unwrap();
    assert!(
        modified(&hammer).is_ok_and(|built| built >= newest),
        "build it first: cargo build -p galen-storage --example hammer_store"
    );
    hammer
}

/// Whether `strace` runs here; a sandbox may forbid it.
fn has_strace() -> bool {
    let traced = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    let works = traced.is_ok_and(|output| output.status.success());
    let required = env::var("GALEN_REQUIRE_STRACE").is_ok_and(|value| value == "1");
    assert!(works || !required, "GALEN_REQUIRE_STRACE=1, and strace does not run");
    if !works {
        eprintln!("skipped: strace does not run here");
    }
    works
}

/// Runs the hammer with a fault at some of `calls`.
fn run(calls: &str, fault: &str, store: &Path) -> Output {
    Command::new("strace")
        .args(["-f", "-o", "/dev/null"])
        .args(["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:{fault}")])
        .arg(hammer())
        .arg(store)
        .arg("2")
        .output()
        .unwrap()
}

/// What the last word about an address was: kept or removed.
fn acknowledged(output: &Output) -> Vec<(ContentRef, bool)> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    // A killed process may have printed half a line, which acknowledges nothing.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| match line.strip_prefix('-') {
            Some(at) => (at.parse().unwrap(), false),
            None => (line.parse().unwrap(), true),
        })
        .collect()
}

/// The IPFS addresses that have a name.
fn named(directory: &Path) -> Vec<ContentRef> {
    fs::read_dir(directory.join("ipfs"))
        .unwrap()
        .flat_map(|shard| fs::read_dir(shard.unwrap().path()).unwrap())
        .map(|name| {
            format!("ipfs:{}", name.unwrap().file_name().to_str().unwrap()).parse().unwrap()
        })
        .collect()
}

/// Every acknowledged content reads back, everything listed or named verifies, nothing half done is left.
fn check(directory: &Path, output: &Output, what: &str) {
    let store = LocalStore::open(directory).unwrap();
    for (at, kept) in acknowledged(output) {
        if kept {
            store.get(&at, MAX_CONTENT_LEN).unwrap_or_else(|error| panic!("{what}: {error}"));
        } else {
            assert!(!store.contains(&at).unwrap(), "{what}: {at} is back");
        }
    }
    for at in store.list().map(Result::unwrap).chain(named(directory)) {
        store.get(&at, MAX_CONTENT_LEN).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    assert_eq!(fs::read_dir(directory.join("tmp")).unwrap().count(), 0, "{what}: left over");
}

/// Makes a store as if it had never been used. Its empty directories stay: making them anew hundreds of times is
/// most of the time of these tests.
fn clear(store: &Path) {
    for name in fs::read_dir(store).into_iter().flatten() {
        let path = name.unwrap().path();
        if path.is_dir() { clear(&path) } else { fs::remove_file(path).unwrap() }
    }
}

/// Runs the hammer with a fault at step 1, 2, 3 … of `calls` until it gets through; how many it took.
fn at_each_step(calls: &str, fault: &str, mut judge: impl FnMut(&Output, &str)) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    for step in 1..MAX_STEPS {
        let what = format!("{calls} {fault} at step {step}");
        clear(&store);
        let output = run(calls, &format!("{fault}:when={step}"), &store);
        check(&store, &output, &what);
        if output.status.success() && acknowledged(&output).len() == ACKNOWLEDGED {
            return step - 1;
        }
        judge(&output, &what);
    }
    panic!("{calls} {fault}: no run got through");
}

#[test]
fn kill_at_each_step_loses_nothing_acknowledged() {
    if !has_strace() {
        return;
    }
    for calls in CALLS {
        let steps = at_each_step(calls, "signal=SIGKILL", |output, what| {
            assert_eq!(output.status.code(), None, "{what}: not killed, {output:?}");
        });
        assert!(steps > 3, "{calls}: only {steps} steps were tried");
        eprintln!("killed at {steps} steps of {calls}");
    }
}

/// One call for all 256 shards would say the same as each of them.
#[test]
fn kill_while_laying_out_is_made_good() {
    if !has_strace() {
        return;
    }
    for step in [1, 2, 3, 4, 5, 100, 259, 260, 261, 400, 515, 516] {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("store");
        let output = run("mkdir,mkdirat", &format!("signal=SIGKILL:when={step}"), &store);
        assert_eq!(output.status.code(), None, "not killed at directory {step}: {output:?}");
        check(&store, &output, &format!("directory {step}"));
    }
}

/// A disk that is full or broken: a typed error, and nothing half done.
#[test]
fn refusal_at_each_step_keeps_nothing_half_done() {
    if !has_strace() {
        return;
    }
    for (calls, fault, expected) in [
        (CALLS[0], "error=ENOSPC", "no space left in the store"),
        (CALLS[0], "error=EIO", "the store could not"),
        (CALLS[1], "error=EIO", "the store could not"),
        ("rename,renameat,renameat2", "error=ENOSPC", "no space left in the store"),
    ] {
        let steps = at_each_step(calls, fault, |output, what| {
            let said = String::from_utf8_lossy(&output.stderr);
            // The write may also have been that of the hammer itself to its output.
            let own = said.contains("failed printing to stdout");
            let refused = said.contains("unavailable") && said.contains(expected);
            assert!(own || (refused && output.status.code() == Some(3)), "{what}: {output:?}");
        });
        assert!(steps > 3, "{calls}: only {steps} steps were tried");
    }
}

/// An interrupted call is no fault at all.
#[test]
fn interruption_at_each_step_changes_nothing() {
    if !has_strace() {
        return;
    }
    for calls in [CALLS[0], CALLS[1]] {
        for step in (1..60).step_by(7) {
            let dir = tempfile::tempdir().unwrap();
            let store = dir.path().join("store");
            let output = run(calls, &format!("error=EINTR:when={step}"), &store);
            assert!(output.status.success(), "{calls} at step {step}: {output:?}");
            assert_eq!(acknowledged(&output).len(), ACKNOWLEDGED);
            check(&store, &output, "interrupted");
        }
    }
}

#[test]
fn processes_may_share_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let start = || {
        let mut command = Command::new(hammer());
        command.arg(&store).arg("20").stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let processes: Vec<_> = (0..3).map(|_| start()).collect();
    let outputs: Vec<Output> =
        processes.into_iter().map(|process| process.wait_with_output().unwrap()).collect();
    for output in &outputs {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(acknowledged(output).len(), 2 * (20 * 6 + 10));
        let lasting = |(at, kept): &(ContentRef, bool)| kept.then_some(*at);
        let opened = LocalStore::open(&store).unwrap();
        for at in acknowledged(output).iter().filter_map(lasting) {
            opened.get(&at, MAX_CONTENT_LEN).unwrap();
        }
    }
    check(&store, &outputs[0], "shared");
}
