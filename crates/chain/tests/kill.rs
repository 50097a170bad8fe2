//! A process that pays is killed, or its disk fails, at every single write of its queue, and it is killed
//! at every request to the node; the next one goes on. Everything
//! that was acknowledged landed, nothing landed twice, and no nonce is left out.
//!
//! Needs `GALEN_ANVIL` and `strace`; without them the test says that it was skipped, or fails if
//! `GALEN_REQUIRE_ANVIL` or `GALEN_REQUIRE_STRACE` is 1.
#![cfg(target_os = "linux")]
#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a skipped test says so, and one that cannot go on panics"
)]

mod common;

use std::{
    path::Path,
    process::{Command, Output},
};

use alloy::providers::Provider as _;
use alloy_primitives::{Address, U256, keccak256};
use common::{Anvil, account, hammer};
use galen_chain::{Fees, Payer, Queue};

/// Payments in a run.
const COUNT: u64 = 3;

/// More than any run has calls of one kind: the loop below ends before.
const MOST_CALLS: u64 = 300;

/// What happens to which system call. With `true` only where it concerns the files of the queue.
const INJECTED: [(&str, &str, bool); 12] = [
    ("openat", "signal=SIGKILL", true),
    ("flock", "signal=SIGKILL", false),
    ("write", "signal=SIGKILL", false),
    ("fsync", "signal=SIGKILL", false),
    ("rename", "signal=SIGKILL", false),
    ("sendto", "signal=SIGKILL", false),
    ("writev", "signal=SIGKILL", false),
    ("openat", "error=EMFILE", true),
    ("flock", "error=EIO", true),
    ("write", "error=ENOSPC", true),
    ("fsync", "error=EIO", true),
    ("rename", "error=EIO", false),
];

fn has_strace() -> bool {
    let found = Command::new("strace").arg("-V").output().is_ok_and(|out| out.status.success());
    if !found {
        let required = std::env::var("GALEN_REQUIRE_STRACE").is_ok_and(|value| value == "1");
        assert!(!required, "strace is required and missing");
        eprintln!("skipped: strace is missing");
    }
    found
}

/// Pays `COUNT` addresses from `first` on. With `files`, `strace` looks at these alone.
fn run(directory: &Path, files: &[String], anvil: &Anvil, first: u64, inject: &str) -> Output {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", inject]);
    for file in files {
        command.args(["-P", file]);
    }
    command.arg(hammer()).arg(directory).arg(&anvil.url);
    command.args([&first.to_string(), &COUNT.to_string(), "resume"]).output().unwrap()
}

/// Indices of the payments that were acknowledged; a line counts once it is whole.
fn acknowledged(output: &Output) -> Vec<u64> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect()
}

async fn received(anvil: &Anvil, index: u64) -> u64 {
    let to = Address::from_word(keccak256(index.to_be_bytes()));
    anvil.provider.get_balance(to).await.unwrap().to()
}

#[tokio::test]
async fn killed_at_any_write_of_the_queue_everything_lands_once() {
    let Some(anvil) = Anvil::start(&[]) else { return };
    if !has_strace() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let wallet = account(0).controller();
    let queue = directory.path().join(format!("31337-{wallet:#x}"));
    let files = ["", "/lock", "/unsaved"].map(|name| format!("{}{name}", queue.display()));
    let (mut first, mut kills, mut landed) = (0, 0, 0);
    for (call, action, only_queue) in INJECTED {
        for nth in 1.. {
            assert!(nth < MOST_CALLS, "{call} never ends");
            let inject = format!("inject={call}:{action}:when={nth}");
            let files = if only_queue { files.as_slice() } else { &[] };
            let output = run(directory.path(), files, &anvil, first, &inject);
            let said = String::from_utf8_lossy(&output.stderr);
            let what = format!("{call} {action} {nth}: {said}");
            let acknowledged = acknowledged(&output);
            let resumed = Payer::wallet(
                anvil.provider.clone(),
                account(0),
                Some(Queue::open(directory.path(), 31_337, wallet).unwrap()),
                Fees::default(),
            );
            for resumed in resumed.resume().await.unwrap() {
                assert!(resumed.outcome.is_ok(), "{what}: {resumed:?}");
            }
            assert_eq!(resumed.pending().await.unwrap(), [], "{what}");
            for index in first..first + COUNT {
                let received = received(&anvil, index).await;
                let least = u64::from(acknowledged.contains(&index));
                assert!((least..=1).contains(&received), "{what}: {index} received {received}");
                landed += received;
            }
            let next = anvil.provider.get_transaction_count(wallet).await.unwrap();
            assert_eq!(next, landed, "{what}: a nonce went to nothing");
            first += COUNT;
            if output.status.success() {
                assert_eq!(acknowledged.len() as u64, COUNT, "{what}");
                break;
            }
            kills += 1;
        }
    }
    assert_eq!(received(&anvil, first).await, 0);
    // Three payments: each locks twice, and opens, writes, syncs and renames to be saved.
    assert!(kills > 50, "only {kills} runs were stopped");
    assert!(U256::from(landed) > U256::from(kills), "hardly anything landed");
    eprintln!("stopped {kills} times, {landed} landed");
}
