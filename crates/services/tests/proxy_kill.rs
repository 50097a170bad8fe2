//! A proxy is killed, or its disk fails, at every single write of its store. What it took is there afterwards, and
//! nothing was ever answered that is not written down.
//!
//! Needs `strace`; without it the test says that it was skipped, or fails if `GALEN_REQUIRE_STRACE` is 1.
#![cfg(target_os = "linux")]
#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a skipped test says so, and one that cannot go on panics"
)]

#[allow(dead_code, reason = "shared with tests that need more of it")]
#[path = "proxy/stage.rs"]
mod stage;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use alloy_primitives::{Bytes, aliases::U48};
use galen_chain::{Ledger, typed};
use galen_devchain::DevChain;
use galen_fhir::Category;
use galen_sdk::proxies::wire::{Report, ReportAsk, ReportEntry};
use galen_services::proxy::{Proxy, ProxyConfig, STORE_FILE};
use galen_storage::Storage;
use serde_json::json;

use stage::{Node, PATIENT, PHYSICIAN, Stage, account, chain_config, copy, now, proxy_config};

/// More than any run has calls of one kind.
const MOST_CALLS: usize = 300;

/// What happens to which system call on the files of the store.
const INJECTED: [(&str, &str); 6] = [
    ("pwrite64,write", "signal=SIGKILL"),
    ("fdatasync,fsync", "signal=SIGKILL"),
    ("ftruncate,unlink", "signal=SIGKILL"),
    ("openat", "signal=SIGKILL"),
    ("pwrite64,write", "error=ENOSPC"),
    ("fdatasync,fsync", "error=EIO"),
];

fn has_strace() -> bool {
    let found = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    let works = found.is_ok_and(|output| output.status.success());
    let required = env::var("GALEN_REQUIRE_STRACE").is_ok_and(|value| value == "1");
    assert!(works || !required, "GALEN_REQUIRE_STRACE=1, and strace does not run");
    if !works {
        eprintln!("skipped: strace does not run here");
    }
    works
}

/// Built by `cargo test` beside the tests, unless it is told to run this one alone.
fn hammer() -> PathBuf {
    let test = env::current_exe().unwrap();
    let hammer = test.ancestors().nth(2).unwrap().join("examples/hammer_proxy");
    assert!(hammer.exists(), "run `cargo build -p galen-services --example hammer_proxy` first");
    hammer
}

fn run(directory: &Path, calls: &str, fault: &str, nth: usize) -> Output {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null"]);
    command.args(["-e", &format!("trace={calls}")]);
    command.args(["-e", &format!("inject={calls}:{fault}:when={nth}")]);
    for suffix in ["", "-wal", "-journal"] {
        command.arg("-P").arg(directory.join("store").join(format!("{STORE_FILE}{suffix}")));
    }
    command.arg(hammer()).arg(directory).output().unwrap()
}

/// What was answered, in whole lines: name of the request and status.
fn answered(output: &Output) -> Vec<(String, u16)> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let line = |line: &str| {
        let (name, status) = line.split_once(' ').unwrap();
        (name.to_owned(), status.parse().unwrap())
    };
    whole.lines().map(line).collect()
}

/// Requests in the order of their names, and all that the program needs, in a folder.
async fn prepare() -> (Stage, u64) {
    let (directory, genesis) = (tempfile::tempdir().unwrap(), now());
    let chain = DevChain::open(directory.path().join("chain"), chain_config(genesis)).unwrap();
    let stage = Stage::on(directory, chain).await;
    let records = stage.accepted(Category::Vitals, 2).await;
    let consent = stage.consent(account(PHYSICIAN).id(), Category::Vitals).await;
    stage.logged(&stage.physician, &consent, &records).await;
    let at = stage.directory.path().join("requests");
    fs::create_dir(&at).unwrap();
    let envelope = async |issued| {
        let texts = stage.texts(&consent, 1, 1, 1, issued);
        stage.seal(&consent, 1, &texts, PATIENT).await[0].encode()
    };
    let asks = [
        stage.ask(PHYSICIAN, consent.id(), &records[..1]).await,
        stage.ask(PHYSICIAN, consent.id(), &records[1..]).await,
    ];
    let ask = |n: usize| serde_json::to_vec(&asks[n]).unwrap();
    fs::write(at.join("1-shares"), envelope(now()).await).unwrap();
    fs::write(at.join("2-keys"), ask(0)).unwrap();
    fs::write(at.join("3-shares"), envelope(now() + 5).await).unwrap();
    fs::write(at.join("4-keys"), ask(1)).unwrap();
    let ledger = &stage.ledger;
    let facts = json!({ "ledger": ledger.id().contract, "block": ledger.deployed_in(), "genesis": genesis });
    fs::write(stage.directory.path().join("stage.json"), facts.to_string()).unwrap();
    (stage, genesis)
}

/// What the store of a stopped proxy says was served: a report of the next process.
async fn journal(
    config: ProxyConfig,
    patient: alloy_primitives::Address,
    what: &str,
) -> Vec<ReportEntry> {
    let ledger = config.galen.ledger().id();
    let proxy = Proxy::new(config, |_| {}).unwrap_or_else(|error| panic!("{what}: {error}"));
    let (since, deadline) = (0, now() + 600);
    let message = typed::ReportRequest {
        patient,
        rotations: 0,
        since: U48::ZERO,
        deadline: U48::from(deadline),
    };
    let evidence = galen_chain::Evidence::default();
    let signature: Bytes = account(PATIENT).sign(&message, ledger, evidence).await.unwrap();
    let node = Node { proxy, log: Default::default() };
    let ask = ReportAsk { patient, since, deadline, signature };
    let (status, report) = node.send("/v1/report", &ask).await;
    assert_eq!(status, 200, "{what}: {report}");
    let report: Report = serde_json::from_value(report).unwrap();
    serde_json::from_str(&report.entries).unwrap()
}

#[tokio::test]
async fn killed_at_any_write_nothing_is_lost_and_nothing_was_served_unwritten() {
    if !has_strace() {
        return;
    }
    let (stage, genesis) = prepare().await;
    let (patient, id, block) = (stage.patient.id(), stage.ledger.id(), stage.ledger.deployed_in());
    // The program needs the chain for itself; what it left is judged against the same chain in another folder.
    let directory = alone(stage);
    let path = directory.path();
    copy(&path.join("chain"), &path.join("judge"));
    let judge = DevChain::open(path.join("judge"), chain_config(genesis)).unwrap();
    let ledger = Ledger::connect(judge.provider(), id.contract, block).await.unwrap();
    let storage = Storage::local(path.join("content")).await.unwrap();
    let store = path.join("store");
    let config = || proxy_config(ledger.clone(), storage.clone(), 0, &store);

    let (mut stopped, mut served) = (0, 0);
    for (calls, fault) in INJECTED {
        for nth in 1.. {
            assert!(nth < MOST_CALLS, "{calls} {fault} never ends");
            if store.exists() {
                fs::remove_dir_all(&store).unwrap();
            }
            let output = run(path, calls, fault, nth);
            let what =
                format!("{calls} {fault} {nth}: {}", String::from_utf8_lossy(&output.stderr));
            let lines = answered(&output);
            let entries = journal(config(), patient, &what).await;
            let written = entries.iter().filter(|entry| entry.cause.is_none()).count();
            let answers =
                lines.iter().filter(|(name, status)| name.ends_with("keys") && *status == 200);
            assert!(answers.count() <= written, "{what}: answered and not written down");
            served += written;
            // What was taken is held: the newest envelope of those that were acknowledged, or one after it.
            let taken =
                lines.iter().filter(|(name, status)| name.ends_with("shares") && *status == 204);
            let held = Proxy::new(config(), |_| {}).unwrap().consents();
            assert!(taken.count() == 0 || held == 1, "{what}: taken and not kept");
            if output.status.success() && lines.iter().all(|(_, status)| *status < 300) {
                assert_eq!((lines.len(), written), (4, 2), "{what}");
                break;
            }
            let started =
                output.status.code().is_none() || !lines.is_empty() || fault.starts_with("error");
            assert!(started, "the program does not run: {what}");
            stopped += 1;
        }
    }
    assert!(stopped > 30, "only {stopped} runs were stopped");
    assert!(served > stopped / 4, "hardly anything was served: {served}");
    eprintln!("stopped {stopped} times");
}

/// The folder of a stage of which nothing else is left.
fn alone(stage: Stage) -> tempfile::TempDir {
    stage.directory
}
