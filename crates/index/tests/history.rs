//! The kept history is the chain's, whatever happened to either.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod common;

use std::{fs, path::Path};

use common::{Stage, assert_folded, assert_same, chain, fresh};
use galen_chain::{ChainError, Finality, HistoryMode};
use galen_devchain::DevChain;
use galen_index::{Confirmed, HistoryOptions, Proof, View};
use galen_types::{ErrorKind, KeyBundleId};
use proptest::prelude::*;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Keys,
    Propose(u64),
    Settle(usize),
    Consent,
    Access(u64),
    Empty(u8),
    Reorg(u64),
    /// One of two processes that share a cache reads on.
    Sync(usize),
    /// One of them starts anew.
    Restart(usize),
    /// The cache loses its end, as by a crash of the machine.
    Cut(prop::sample::Index),
    /// A byte of the cache changes.
    Flip(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Keys),
        3 => (1_u64..4).prop_map(Step::Propose),
        3 => any::<usize>().prop_map(Step::Settle),
        2 => Just(Step::Consent),
        3 => (1_u64..5).prop_map(Step::Access),
        2 => (1_u8..4).prop_map(Step::Empty),
        3 => (1_u64..6).prop_map(Step::Reorg),
        6 => (0_usize..2).prop_map(Step::Sync),
        3 => (0_usize..2).prop_map(Step::Restart),
        1 => any::<prop::sample::Index>().prop_map(Step::Cut),
        1 => any::<prop::sample::Index>().prop_map(Step::Flip),
    ]
}

/// The only file below a folder.
fn cache_file(directory: &Path) -> Option<std::path::PathBuf> {
    let folder = fs::read_dir(directory).ok()?.next()?.unwrap().path();
    let mut files = fs::read_dir(folder).unwrap();
    let file = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none(), "one file for one ledger and mode");
    Some(file)
}

fn damage(directory: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    if let Some(path) = cache_file(directory) {
        let mut bytes = fs::read(&path).unwrap();
        if !bytes.is_empty() {
            change(&mut bytes);
            fs::write(&path, bytes).unwrap();
        }
    }
}

fn open(stage: &Stage, mode: HistoryMode, directory: &Path) -> View {
    let directory = Some(directory.to_owned());
    let finality = Finality::Depth(64);
    View::open(&stage.ledger, HistoryOptions { mode, directory, finality, progress: None })
}

async fn apply(stage: &mut Stage, chain: &DevChain, step: &Step, mode: HistoryMode) {
    let result = match step {
        Step::Keys => {
            let view = fresh(&stage.ledger, mode).await;
            let last = view.chart(stage.patient.id()).and_then(|chart| chart.keys().last());
            let previous = last.map_or_else(KeyBundleId::default, |key| key.bundle);
            stage.publish_keys(previous).await
        }
        Step::Propose(count) => stage.propose(*count).await,
        Step::Settle(which) => stage.settle(*which).await,
        Step::Consent => stage.consent().await,
        Step::Access(count) => stage.access(0, *count).await,
        Step::Empty(blocks) => {
            (0..*blocks).for_each(|_| {
                chain.advance_time(1).unwrap();
                chain.mine().unwrap();
            });
            Ok(())
        }
        Step::Reorg(depth) => {
            let room = chain.head().number - stage.ledger.deployed_in();
            if room > 0 {
                chain.reorg((*depth).min(room)).unwrap();
                // Another branch, and at least as long as it was: the clock tells them apart.
                for _ in 0..=*depth {
                    chain.advance_time(7).unwrap();
                    chain.mine().unwrap();
                }
            }
            Ok(())
        }
        _ => Ok(()),
    };
    match result {
        // The consent may have gone with a branch, or come back with what the wallet sends again.
        Ok(()) | Err(ChainError::Reverted(_) | ChainError::Failed { .. }) => {}
        Err(error) => panic!("{step:?}: {error:?}"),
    }
}

async fn run(steps: Vec<Step>, mode: HistoryMode) {
    let directory = tempfile::tempdir().unwrap();
    let chain = chain();
    let mut stage = Stage::new(chain.provider()).await;
    let mut views = [0, 1].map(|_| open(&stage, mode, directory.path()));
    for step in steps {
        apply(&mut stage, &chain, &step, mode).await;
        match step {
            Step::Restart(which) => views[which] = open(&stage, mode, directory.path()),
            Step::Cut(at) => {
                damage(directory.path(), |bytes| bytes.truncate(at.index(bytes.len())))
            }
            Step::Flip(at) => damage(directory.path(), |bytes| {
                let at = at.index(bytes.len());
                bytes[at] ^= 1;
            }),
            _ => {}
        }
        if let Step::Sync(which) | Step::Restart(which) = step {
            let report = views[which].sync().await.unwrap();
            assert!(!report.cache_failed);
            let expected = fresh(&stage.ledger, HistoryMode::Blocks).await;
            assert_same(&views[which], &expected);
            assert_folded(&views[which], &stage).await;
        }
    }
    // Whoever comes last finds a cache that spares the reading.
    open(&stage, mode, directory.path()).sync().await.unwrap();
    let mut last = open(&stage, mode, directory.path());
    assert_eq!(last.sync().await.unwrap().blocks, 0);
    assert_same(&last, &fresh(&stage.ledger, HistoryMode::Blocks).await);
}

fn block_on(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Reorganizations, restarts, two processes and damage: the view is always what a fresh one is.
    #[test]
    fn a_kept_history_is_the_chains(steps in prop::collection::vec(step(), 10..40)) {
        block_on(run(steps, HistoryMode::Blocks));
    }

    /// The same where only the logs are asked for.
    #[test]
    fn a_history_by_logs_is_the_chains(steps in prop::collection::vec(step(), 10..40)) {
        block_on(run(steps, HistoryMode::Logs));
    }
}

/// Keeps a history with a few events and empty blocks around them.
async fn told() -> (DevChain, Stage) {
    let chain = chain();
    let mut stage = Stage::new(chain.provider()).await;
    stage.consent().await.unwrap();
    stage.propose(2).await.unwrap();
    stage.settle(0).await.unwrap();
    stage.access(0, 2).await.unwrap();
    (chain, stage)
}

fn replace_last(chain: &DevChain, blocks: u64) {
    chain.reorg(blocks).unwrap();
    for _ in 0..=blocks {
        chain.advance_time(7).unwrap();
        chain.mine().unwrap();
    }
}

#[tokio::test]
async fn what_was_final_does_not_change_unnoticed() {
    let (chain, stage) = told().await;
    let directory = tempfile::tempdir().unwrap();
    let options = HistoryOptions {
        directory: Some(directory.path().to_owned()),
        finality: Finality::Depth(2),
        ..HistoryOptions::default()
    };
    let mut view = View::open(&stage.ledger, options.clone());
    view.sync().await.unwrap();
    let head = chain.head().number;
    assert_eq!(view.final_block(), Some(head - 2));
    assert!(view.confirmed(head - 2).is_final());
    let waiting = Confirmed::Waiting { blocks: 1, of: Some(2) };
    assert_eq!(view.confirmed(head - 1), waiting);
    assert_eq!(waiting.to_string(), "not final (1 of 2 blocks)");

    // Two blocks may change, and the view goes back as far and no further.
    replace_last(&chain, 2);
    let report = view.sync().await.unwrap();
    assert_eq!(report.rolled_back_to, Some(head - 2));
    assert_eq!(report.blocks, 3);

    // Three may not, in this process or in the next.
    replace_last(&chain, 3);
    for view in [&mut view, &mut View::open(&stage.ledger, options)] {
        let error = view.sync().await.unwrap_err();
        assert!(matches!(error, ChainError::FinalityBroken { .. }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Integrity);
    }
}

#[tokio::test]
async fn a_cache_of_another_chain_is_dropped() {
    let (first, stage) = told().await;
    let directory = tempfile::tempdir().unwrap();
    open(&stage, HistoryMode::Blocks, directory.path()).sync().await.unwrap();
    // The same ledger on the same chain id, from another first block on.
    let other = chain();
    other.advance_time(1_000).unwrap();
    let stage = Stage::new(other.provider()).await;
    assert_eq!(first.chain_id(), other.chain_id());
    for _ in 0..10 {
        other.mine().unwrap();
    }
    let mut view = open(&stage, HistoryMode::Blocks, directory.path());
    let report = view.sync().await.unwrap();
    assert!(report.cache_discarded, "{report:?}");
    assert_same(&view, &fresh(&stage.ledger, HistoryMode::Blocks).await);
    let mut again = open(&stage, HistoryMode::Blocks, directory.path());
    let report = again.sync().await.unwrap();
    assert!(!report.cache_discarded && report.blocks == 0, "{report:?}");
}

/// A folder that cannot be written costs time and nothing else, and it is said.
#[tokio::test]
async fn without_a_cache_the_history_is_read() {
    let (_chain, stage) = told().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut view = open(&stage, HistoryMode::Blocks, file.path());
    let report = view.sync().await.unwrap();
    assert!(report.cache_failed);
    assert_same(&view, &fresh(&stage.ledger, HistoryMode::Blocks).await);
}

#[tokio::test]
async fn who_acted_finds_what_they_did() {
    let (_chain, mut stage) = told().await;
    stage.propose(1).await.unwrap();
    let view = fresh(&stage.ledger, HistoryMode::Blocks).await;
    let sent: Vec<_> = view.proposals_by(stage.author.id()).map(|it| it.is_open()).collect();
    assert_eq!(sent, [false, true]);
    // Admitted, two proposals, and named by the settlement.
    assert_eq!(view.acts(stage.author.id()).count(), 4);
    assert_eq!(view.acts(stage.grantee.id()).count(), 2);
    let chart = view.chart(stage.patient.id()).unwrap();
    assert_eq!(chart.last_number(stage.author.id(), common::SEGMENT), Some(5));
    assert_eq!(view.events().len(), chart.events().len() + 1);
}

#[tokio::test]
async fn an_audit_says_what_it_rests_on() {
    let (_chain, stage) = told().await;
    for (mode, proof, text) in [
        (HistoryMode::Blocks, Proof::EveryBlock, "every-block"),
        (HistoryMode::Logs, Proof::HeadOnly, "head-only"),
    ] {
        let view = fresh(&stage.ledger, mode).await;
        let patient = stage.patient.id();
        let chart = view.chart(patient).unwrap();
        let slot = stage.ledger.chart(patient).await.unwrap();
        let consents = stage.ledger.consents(patient).await.unwrap();
        let report = galen_index::AuditReport::new(patient, chart, &slot, &consents, view.mode());
        assert!(report.complete && report.proof == proof);
        assert_eq!(serde_json::to_value(&report).unwrap()["proof"], text);
        // With one event less, the slots say so.
        for missing in 0..chart.events().len() {
            let mut less = galen_index::Chart::default();
            for (place, event) in chart.events().iter().enumerate() {
                if place != missing {
                    less.apply(event);
                }
            }
            let report = galen_index::AuditReport::new(patient, &less, &slot, &consents, mode);
            let proposed =
                matches!(chart.events()[missing].event, galen_chain::LedgerEvent::Proposed(_));
            assert_eq!(report.complete, proposed, "only proposals rest on the blocks");
        }
    }
}
