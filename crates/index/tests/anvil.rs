//! Ten thousand events of one patient, read from a node over HTTP.
//!
//! Runs where `GALEN_ANVIL` names the program, and must run where `GALEN_REQUIRE_ANVIL` is 1. With
//! `--nocapture` it prints what it measured. `GALEN_HISTORY_EVENTS` sets another number of events, a
//! multiple of 500; the time that it may take grows with it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test says what it measured")]

mod common;

use std::{
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use alloy::providers::{DynProvider, Provider, ProviderBuilder};
use alloy_primitives::{U64, U256};
use common::{Stage, account, assert_folded, assert_same};
use galen_chain::{Finality, HistoryMode};
use galen_index::{HistoryOptions, Progress, SyncReport, View};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

/// Reads that are logged where nobody says another number, and those of one transaction.
const EVENTS: u64 = 10_000;
const READS: u64 = 500;

/// Blocks after each transaction that hold nothing.
const EMPTY: u64 = 100;

/// What the build may take for [`EVENTS`] on a loaded machine; the release build is far below the goal of
/// two seconds.
const COLD: Duration = Duration::from_secs(if cfg!(debug_assertions) { 8 } else { 2 });
const WARM: Duration = Duration::from_millis(if cfg!(debug_assertions) { 2_000 } else { 300 });

fn events_wanted() -> u64 {
    let events =
        std::env::var("GALEN_HISTORY_EVENTS").map_or(EVENTS, |events| events.parse().unwrap());
    assert!(
        events >= EVENTS && events.is_multiple_of(READS),
        "at least {EVENTS}, in steps of {READS}"
    );
    events
}

struct Anvil {
    process: Child,
    url: String,
}

impl Anvil {
    fn start() -> Option<Self> {
        let Ok(program) = std::env::var("GALEN_ANVIL") else {
            let required = std::env::var("GALEN_REQUIRE_ANVIL").is_ok_and(|value| value == "1");
            assert!(!required, "GALEN_ANVIL is required and not set");
            eprintln!("skipped: GALEN_ANVIL does not name the program");
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(program)
            .args(["--host", "127.0.0.1", "--port", &port.to_string(), "--quiet"])
            .args(["--hardfork", "osaka", "--gas-limit", "60000000"])
            .args(["--timestamp", &(common::NOW + 1).to_string()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < PATIENCE, "anvil does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self { process, url: format!("http://127.0.0.1:{port}") })
    }

    fn provider(&self) -> DynProvider {
        ProviderBuilder::default().connect_http(self.url.parse().unwrap()).erased()
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn timed(
    stage: &Stage,
    mode: HistoryMode,
    directory: &Path,
) -> (View, SyncReport, Duration, u64) {
    let done = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&done);
    let options = HistoryOptions {
        mode,
        directory: Some(directory.to_owned()),
        finality: Finality::Depth(64),
        progress: Some(Progress::new(move |blocks, total| {
            assert!(blocks <= total);
            seen.store(blocks, Ordering::Relaxed);
        })),
    };
    let start = Instant::now();
    let mut view = View::open(&stage.ledger, options);
    let report = view.sync().await.unwrap();
    (view, report, start.elapsed(), done.load(Ordering::Relaxed))
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_events_are_listed_in_time() {
    let wanted = events_wanted();
    let Some(anvil) = Anvil::start() else { return };
    let provider = anvil.provider();
    let ask = async |method: &'static str, params: Value| -> Value {
        provider.raw_request(method.into(), params).await.unwrap()
    };
    for n in 1..=4 {
        ask("anvil_setBalance", json!([account(n).id(), U256::MAX >> 128])).await;
    }
    let mut stage = Stage::new(provider.clone()).await;
    stage.publish_keys(Default::default()).await.unwrap();
    stage.consent().await.unwrap();
    for number in 0..wanted / READS {
        stage.access(number * READS, READS).await.unwrap();
        ask("anvil_mine", json!([U64::from(EMPTY)])).await;
    }
    let head = provider.get_block_number().await.unwrap();
    let blocks = head + 1 - stage.ledger.deployed_in();
    let times = u32::try_from(wanted.div_ceil(EVENTS)).unwrap();
    let mut views = Vec::new();
    for mode in [HistoryMode::Blocks, HistoryMode::Logs] {
        let directory = tempfile::tempdir().unwrap();
        let (view, report, cold, done) = timed(&stage, mode, directory.path()).await;
        assert_eq!((report.blocks, done, report.cached), (blocks, blocks, 0));
        let (again, report, warm, _) = timed(&stage, mode, directory.path()).await;
        assert_eq!(report.blocks, 0);
        let events = view.chart(stage.patient.id()).unwrap().events().len();
        assert_eq!(events as u64, wanted + 2);
        assert_same(&view, &again);
        assert_folded(&view, &stage).await;
        println!("{mode}: {events} events in {blocks} blocks: cold {cold:.2?}, cached {warm:.2?}");
        assert!(cold < COLD * times && warm < WARM * times, "cold {cold:.2?}, cached {warm:.2?}");
        views.push(view);
    }
    assert_same(&views[0], &views[1]);

    // A node that goes back and takes another way, as seen from outside.
    let finality = Finality::Depth(64);
    let mut view =
        View::open(&stage.ledger, HistoryOptions { finality, ..HistoryOptions::default() });
    stage.consent().await.unwrap();
    view.sync().await.unwrap();
    ask("anvil_reorg", json!([3, []])).await;
    ask("anvil_mine", json!([U64::from(2)])).await;
    let report = view.sync().await.unwrap();
    assert!(report.rolled_back_to.is_some());
    assert_same(&view, &common::fresh(&stage.ledger, HistoryMode::Blocks).await);
    assert_folded(&view, &stage).await;
}
