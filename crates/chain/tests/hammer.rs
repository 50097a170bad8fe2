//! Sixteen processes pay from one wallet: everything lands once, and no nonce is left out, whether the
//! node mines at once or now and then and loses its pool.
//!
//! Needs `GALEN_ANVIL`. `GALEN_HAMMER_COUNT` (default 25) is the number of transactions of each process.
#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a skipped test says so, and one that cannot go on panics"
)]

mod common;

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use alloy::{
    consensus::Transaction as _, network::TransactionResponse as _, providers::Provider as _,
};
use alloy_primitives::{Address, B256, U256, keccak256};
use common::{Anvil, hammer};
use galen_chain::Queue;
use serde_json::json;

const PROCESSES: u64 = 16;

fn count() -> u64 {
    std::env::var("GALEN_HAMMER_COUNT").map_or(25, |count| count.parse().unwrap())
}

fn spawn(directory: &Path, anvil: &Anvil, process: u64) -> Child {
    Command::new(hammer())
        .arg(directory)
        .args([&anvil.url, &(process * count()).to_string(), &count().to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs all processes to their end, while `meanwhile` is called again and again. Returns what they
/// printed: index, transaction, block.
async fn run(
    anvil: &Anvil,
    directory: &Path,
    mut meanwhile: impl AsyncFnMut(u64),
) -> Vec<(u64, B256)> {
    let start = Instant::now();
    let mut running: Vec<Child> = (0..PROCESSES).map(|n| spawn(directory, anvil, n)).collect();
    let mut round = 0;
    while running.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        meanwhile(round).await;
        round += 1;
    }
    let mut landed = Vec::new();
    for child in running.drain(..) {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let mut words = line.split(' ');
            let index = words.next().unwrap().parse().unwrap();
            landed.push((index, words.next().unwrap().parse().unwrap()));
        }
    }
    eprintln!("{} transactions in {:.1?}", landed.len(), start.elapsed());
    landed
}

/// Every payment arrived once, by the transaction that was named, and the nonces have no gap.
async fn check(anvil: &Anvil, directory: &Path, landed: &[(u64, B256)]) {
    let total = PROCESSES * count();
    let indices: BTreeSet<u64> = landed.iter().map(|(index, _)| *index).collect();
    assert_eq!(indices, (0..total).collect());
    let mut nonces = BTreeSet::new();
    for (index, hash) in landed {
        let to = Address::from_word(keccak256(index.to_be_bytes()));
        assert_eq!(anvil.provider.get_balance(to).await.unwrap(), U256::ONE, "{index}");
        let transaction = anvil.provider.get_transaction_by_hash(*hash).await.unwrap().unwrap();
        assert_eq!(transaction.inner.to(), Some(to));
        assert!(transaction.block_hash().is_some());
        nonces.insert(transaction.inner.nonce());
    }
    assert_eq!(nonces, (0..total).collect());
    let wallet = common::account(0).controller();
    assert_eq!(anvil.provider.get_transaction_count(wallet).await.unwrap(), total);
    let queue = Queue::open(directory, 31_337, wallet).unwrap();
    let payer = galen_chain::Payer::wallet(
        anvil.provider.clone(),
        common::account(0),
        Some(queue),
        galen_chain::Fees::default(),
    );
    assert_eq!(payer.pending().await.unwrap(), []);
}

#[tokio::test]
async fn sixteen_processes_share_a_wallet_on_a_node_that_mines_at_once() {
    let Some(anvil) = Anvil::start(&[]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let pause = async |_| tokio::time::sleep(Duration::from_millis(100)).await;
    let landed = run(&anvil, directory.path(), pause).await;
    check(&anvil, directory.path(), &landed).await;
}

#[tokio::test]
async fn sixteen_processes_share_a_wallet_on_a_node_that_loses_its_pool() {
    let Some(anvil) = Anvil::start(&["--no-mining"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut dropped = 0;
    let mine = async |round| {
        tokio::time::sleep(Duration::from_millis(150)).await;
        match round % 13 {
            5 => {
                anvil.request("anvil_dropAllTransactions", json!([])).await;
                dropped += 1;
            }
            // One from the middle: those behind it must wait until it is back.
            2 | 9 => {
                let pool = anvil.request("txpool_content", json!([])).await;
                let senders = pool["pending"].as_object().unwrap();
                let hash = senders.values().flat_map(|nonces| nonces.as_object().unwrap().values());
                if let Some(transaction) = hash.into_iter().next() {
                    let params = json!([transaction["hash"]]);
                    anvil.request("anvil_dropTransaction", params).await;
                    dropped += 1;
                }
            }
            _ => {
                anvil.request("evm_mine", json!([])).await;
            }
        }
    };
    let landed = run(&anvil, directory.path(), mine).await;
    assert!(dropped > 3, "the node lost nothing");
    check(&anvil, directory.path(), &landed).await;
}
