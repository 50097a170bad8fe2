//! The process is killed, or the disk fails, at every single write: nothing that was acknowledged
//! is lost, nothing half-made is left.
//!
//! Needs `strace`; without it the tests say that they were skipped, or fail if
//! `GALEN_REQUIRE_STRACE` is 1.
#![cfg(target_os = "linux")]
#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a skipped test says so, and one that cannot go on panics"
)]

mod common;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use galen_devchain::{Config, DevChain, Head};

/// Transactions in a run; two snapshots fall into it.
const COUNT: u64 = 9;

/// More runs than any run has writes: the loops below end before.
const MOST_WRITES: usize = 500;

fn config() -> Config {
    Config { snapshot_every: 4, ..common::config() }
}

fn has_strace() -> bool {
    let found = Command::new("strace").arg("-V").output().is_ok_and(|out| out.status.success());
    if !found {
        let required = std::env::var("GALEN_REQUIRE_STRACE").is_ok_and(|value| value == "1");
        assert!(!required, "strace is required and missing");
        eprintln!("skipped: strace is missing");
    }
    found
}

/// Built by `cargo test` beside the tests, unless it is told to run this one alone.
fn hammer() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let hammer = test.ancestors().nth(2).unwrap().join("examples/hammer_chain");
    assert!(hammer.exists(), "run `cargo build -p galen-devchain --example hammer_chain` first");
    hammer
}

fn run(directory: &Path, count: u64, strace: &[String]) -> Output {
    Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null"])
        .args(strace)
        .arg(hammer())
        .arg(directory)
        .arg(count.to_string())
        .output()
        .unwrap()
}

/// The last height that was acknowledged; a line counts once it is whole.
fn acknowledged(output: &Output) -> u64 {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().next_back().map_or(0, |line| line.parse().unwrap())
}

/// The heads of a chain to which nothing happened.
fn undisturbed() -> Vec<Head> {
    let chain = DevChain::in_memory(config());
    let mut heads = vec![chain.head()];
    for nonce in 0..COUNT {
        chain.send_raw_transaction(&common::transfer(nonce, nonce + 1)).unwrap();
        heads.push(chain.head());
    }
    heads
}

/// Opens what is left and checks it: at least what was acknowledged, at most one more, and the
/// very blocks of an undisturbed chain. Then the chain goes on.
fn check(directory: &Path, acknowledged: u64, heads: &[Head], what: &str) {
    let chain = DevChain::open(directory, config()).unwrap_or_else(|e| panic!("{what}: {e}"));
    let head = chain.head();
    assert!(
        head.number >= acknowledged,
        "{what}: {acknowledged} was acknowledged, {} is there",
        head.number
    );
    assert!(head.number <= acknowledged + 1, "{what}: {} came from nowhere", head.number);
    assert_eq!(head, heads[usize::try_from(head.number).unwrap()], "{what}");
    if head.number < COUNT {
        let next = common::transfer(head.number, head.number + 1);
        chain.send_raw_transaction(&next).unwrap_or_else(|e| panic!("{what}: {e}"));
        let next = chain.head();
        assert_eq!(next, heads[usize::try_from(next.number).unwrap()], "{what}");
    }
}

#[test]
fn killed_at_any_write_loses_nothing_acknowledged() {
    if !has_strace() {
        return;
    }
    let heads = undisturbed();
    let mut kills = 0;
    for call in ["write", "fdatasync", "fsync", "rename", "ftruncate", "unlink", "openat"] {
        for nth in 1.. {
            assert!(nth < MOST_WRITES);
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("chain");
            let inject = format!("inject={call}:signal=SIGKILL:when={nth}");
            let output = run(&path, COUNT, &["-e".into(), inject]);
            check(&path, acknowledged(&output), &heads, &format!("{call} {nth}"));
            if output.status.success() {
                assert_eq!(acknowledged(&output), COUNT);
                break;
            }
            kills += 1;
        }
    }
    // Nine records and two snapshots: each has at least one write and one sync.
    assert!(kills > 30, "only {kills} runs were killed");
    eprintln!("killed {kills} times");
}

#[test]
fn full_disk_refuses_and_goes_on_when_there_is_space() {
    if !has_strace() {
        return;
    }
    let heads = undisturbed();
    let count = usize::try_from(COUNT).unwrap();
    for nth in 1..=count {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chain");
        drop(DevChain::open(&path, config()).unwrap());
        let log = path.join("log").display().to_string();
        let inject = format!("inject=write:error=ENOSPC:when={nth}");
        let output = run(&path, COUNT, &["-P".into(), log, "-e".into(), inject]);
        // Refused once, then repeated.
        assert!(output.status.success(), "{output:?}");
        assert_eq!(acknowledged(&output), COUNT);
        check(&path, COUNT, &heads, &format!("full at {nth}"));
    }
}

#[test]
fn failed_write_or_sync_stops_or_leaves_nothing() {
    if !has_strace() {
        return;
    }
    let heads = undisturbed();
    for (call, error) in [
        ("write", "ENOSPC"),
        ("write", "EIO"),
        ("fdatasync", "EIO"),
        ("fsync", "EIO"),
        ("ftruncate", "EIO"),
        ("rename", "EIO"),
    ] {
        let mut failed = 0;
        for nth in 1..40 {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("chain");
            // From the nth on: the disk stays broken.
            let inject = format!("inject={call}:error={error}:when={nth}+");
            let output = run(&path, COUNT, &["-e".into(), inject]);
            failed += usize::from(!output.status.success());
            check(&path, acknowledged(&output), &heads, &format!("{call} {error} {nth}"));
            if output.status.success() && nth > 30 {
                break;
            }
        }
        // Renames and fsyncs are for new files and snapshots: only a new directory needs them.
        assert!(failed > 0 || call == "ftruncate", "{call} never failed a run");
    }
}
