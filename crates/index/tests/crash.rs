//! A process that is killed at any call that changes the cache leaves one that can be used.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(clippy::print_stderr, reason = "a test says when it was skipped")]

mod common;

use std::{os::unix::process::ExitStatusExt as _, path::Path, process::Command};

use common::{Stage, assert_same, chain, fresh};
use galen_chain::{Finality, HistoryMode};
use galen_devchain::DevChain;
use galen_index::{HistoryOptions, View};

/// Names the folder for the process that is killed.
const FOLDER: &str = "GALEN_TEST_CACHE";

/// What changes the cache. Each is let happen `n` times and killed at the next.
const CALLS: [&str; 4] = ["mkdir", "ftruncate", "write", "openat"];

/// More than one run makes of any of them.
const MAX_CALLS: usize = 400;

fn open(stage: &Stage, directory: &Path) -> View {
    let directory = Some(directory.to_owned());
    let finality = Finality::Depth(64);
    View::open(&stage.ledger, HistoryOptions { directory, finality, ..HistoryOptions::default() })
}

/// Grows the chain and keeps its history, with a reorganization in between.
async fn grow(directory: Option<&Path>) -> (DevChain, Stage) {
    let chain = chain();
    let mut stage = Stage::new(chain.provider()).await;
    let mut view = directory.map(|directory| open(&stage, directory));
    for round in 0..3 {
        stage.propose(2).await.unwrap();
        stage.settle(round).await.unwrap();
        if round == 1 {
            chain.reorg(2).unwrap();
            for _ in 0..4 {
                chain.advance_time(5).unwrap();
                chain.mine().unwrap();
            }
        }
        if let Some(view) = &mut view {
            assert!(!view.sync().await.unwrap().cache_failed);
        }
    }
    (chain, stage)
}

/// Not a test by itself: what [`a_killed_process_leaves_a_usable_cache`] starts and kills.
#[tokio::test]
async fn child() {
    if let Some(directory) = std::env::var_os(FOLDER) {
        grow(Some(Path::new(&directory))).await;
    }
}

#[tokio::test]
async fn a_killed_process_leaves_a_usable_cache() {
    if Command::new("strace").arg("-V").output().is_err() {
        let required = std::env::var("GALEN_REQUIRE_STRACE").is_ok_and(|value| value == "1");
        assert!(!required, "strace is required and not there");
        eprintln!("skipped: no strace");
        return;
    }
    let (_chain, stage) = grow(None).await;
    let expected = fresh(&stage.ledger, HistoryMode::Blocks).await;
    let mut used = 0;
    for call in CALLS {
        let mut killed = 0;
        loop {
            let directory = tempfile::tempdir().unwrap();
            // Only calls below the folder count, so that the program's start does not.
            let output = Command::new("strace")
                .args(["-f", "-qq", "-o", "/dev/null", "-P"])
                .arg(directory.path())
                .args(["-P"])
                .arg(cache(&stage, directory.path()))
                .args(["-e", &format!("inject={call}:signal=KILL:when={}", killed + 1)])
                .arg(std::env::current_exe().unwrap())
                .args(["--exact", "child", "--test-threads=1"])
                .env(FOLDER, directory.path())
                .output()
                .unwrap();
            let mut view = open(&stage, directory.path());
            let report = view.sync().await.unwrap();
            assert!(!report.cache_failed);
            assert_same(&view, &expected);
            used += usize::from(report.cached > 0);
            let mut again = open(&stage, directory.path());
            assert_eq!(again.sync().await.unwrap().blocks, 0, "{call} {killed}");
            assert_same(&again, &expected);
            if output.status.success() {
                break;
            }
            assert_eq!(output.status.signal(), Some(9), "{output:?}");
            killed += 1;
            assert!(killed < MAX_CALLS);
        }
        // There is one new folder in a run.
        assert!(killed > 0 || call == "mkdir", "{call} was never made");
    }
    assert!(used > 3, "a cache that was written in part was of use");
}

fn cache(stage: &Stage, directory: &Path) -> std::path::PathBuf {
    let ledger = stage.ledger.id();
    directory.join(format!("{}-{:#x}", ledger.chain_id, ledger.contract)).join("history-blocks")
}
