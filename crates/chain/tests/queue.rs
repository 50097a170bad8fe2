//! What becomes of a transaction that gets stuck, is refused, loses its nonce, or finds a damaged queue.
//!
//! Needs `GALEN_ANVIL`.
#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a skipped test says so, and one that cannot go on panics"
)]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use alloy::{consensus::Transaction, providers::Provider as _, rpc::types::TransactionRequest};
use alloy_primitives::{Address, U256};
use common::{Anvil, account};
use galen_chain::{
    ChainError, Fees, Payer, Queue, Waiting,
    rpc::{RpcOptions, connect},
};
use galen_types::ErrorKind;
use serde_json::{Value, json};

const CHAIN_ID: u64 = 31_337;

fn fees() -> Fees {
    Fees { deadline: Duration::from_secs(30), ..Fees::default() }
}

fn payer(anvil: &Anvil, directory: &Path, fees: Fees) -> Payer {
    let queue = Queue::open(directory, CHAIN_ID, account(0).controller()).unwrap();
    Payer::wallet(anvil.provider.clone(), account(0), Some(queue), fees)
}

fn pay(to: u8) -> TransactionRequest {
    TransactionRequest::default().to(Address::repeat_byte(to)).value(U256::ONE)
}

async fn received(anvil: &Anvil, to: u8) -> U256 {
    anvil.provider.get_balance(Address::repeat_byte(to)).await.unwrap()
}

async fn mine(anvil: &Anvil, blocks: u64) {
    anvil.request("anvil_mine", json!([format!("{blocks:#x}")])).await;
}

#[tokio::test]
async fn a_stuck_transaction_is_replaced_with_an_eighth_more_and_lands_once() {
    let Some(anvil) = Anvil::start(&["--no-mining"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let said = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&said);
    let payer = payer(&anvil, directory.path(), fees())
        .on_wait(move |waiting| told.lock().unwrap().push(waiting.clone()));
    let submitted = payer.submit(pay(0x51)).await.unwrap();
    let old = anvil.provider.get_transaction_by_hash(submitted.transaction).await.unwrap().unwrap();
    // The base fee outgrows what was offered: blocks pass it by.
    let base_fee = format!("{:#x}", 3 * old.inner.max_fee_per_gas());
    anvil.request("anvil_setNextBlockBaseFeePerGas", json!([base_fee])).await;
    mine(&anvil, 1).await;
    let blocks = async {
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            mine(&anvil, 1).await;
        }
    };
    let sent = tokio::select! {
        sent = payer.land(&submitted) => sent.unwrap(),
        () = blocks => panic!("not replaced within 40 blocks"),
    };
    assert_ne!(sent.transaction, submitted.transaction);
    let new = anvil.provider.get_transaction_by_hash(sent.transaction).await.unwrap().unwrap();
    assert_eq!(new.inner.nonce(), old.inner.nonce());
    assert!(new.inner.max_fee_per_gas() * 8 >= old.inner.max_fee_per_gas() * 9);
    let tip = |transaction: &dyn Transaction| transaction.max_priority_fee_per_gas().unwrap();
    assert!(tip(new.inner.inner()) * 8 >= tip(old.inner.inner()) * 9);
    assert_eq!(received(&anvil, 0x51).await, U256::ONE);
    let versions = payer.versions(sent.transaction).await.unwrap();
    assert_eq!(versions.first(), Some(&submitted.transaction));
    let replaced = Waiting::Replaced { nonce: 0, transaction: sent.transaction };
    assert!(said.lock().unwrap().contains(&replaced));
}

/// A node that knows the transaction and has moved on by ten blocks.
async fn ahead(anvil: &Anvil) -> String {
    let provider = anvil.provider.clone();
    common::serve(move |_, body| {
        let provider = provider.clone();
        async move {
            let method = body["method"].as_str().unwrap().to_owned();
            let answer = if method == "eth_blockNumber" {
                json!("0xa")
            } else {
                provider.raw_request(method.into(), body["params"].clone()).await.unwrap()
            };
            (200, json!({ "jsonrpc": "2.0", "id": body["id"], "result": answer }))
        }
    })
    .await
}

#[tokio::test]
async fn a_transaction_that_the_node_knows_is_replaced_after_blocks_or_time() {
    for by_blocks in [true, false] {
        let Some(anvil) = Anvil::start(&["--no-mining"]) else { return };
        let url = if by_blocks { ahead(&anvil).await } else { anvil.url.clone() };
        let provider = connect(&[url], RpcOptions::default()).unwrap();
        let stuck_after = Duration::from_secs(if by_blocks { 1_000 } else { 5 });
        let replaced = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&replaced);
        let payer = Payer::wallet(provider, account(0), None, Fees { stuck_after, ..fees() })
            .on_wait(move |waiting| {
                let new = matches!(waiting, Waiting::Replaced { nonce: 0, .. });
                told.fetch_or(new, Ordering::SeqCst);
            });
        let submitted = payer.submit(pay(0x55)).await.unwrap();
        let miner = async {
            while !replaced.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            mine(&anvil, 1).await;
            std::future::pending::<()>().await;
        };
        let sent = tokio::select! {
            sent = payer.land(&submitted) => sent.unwrap(),
            () = miner => unreachable!("pending"),
        };
        assert_ne!(sent.transaction, submitted.transaction, "by blocks: {by_blocks}");
        assert_eq!(received(&anvil, 0x55).await, U256::ONE);
        assert_eq!(payer.pending().await.unwrap(), []);
    }
}

#[tokio::test]
async fn what_the_deadline_leaves_behind_is_resumed_by_the_next_process() {
    let Some(anvil) = Anvil::start(&["--no-mining"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let soon = Fees { deadline: Duration::from_secs(1), ..fees() };
    let hasty = payer(&anvil, directory.path(), soon);
    let error = hasty.send(pay(0x61)).await.unwrap_err();
    assert!(matches!(error, ChainError::NotMined { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    drop(hasty);
    // As if the node were started again: it knows nothing of it any more.
    anvil.request("anvil_dropAllTransactions", json!([])).await;

    let next = payer(&anvil, directory.path(), fees());
    assert_eq!(next.pending().await.unwrap().len(), 1);
    anvil.request("evm_setAutomine", json!([true])).await;
    // The nonce behind it, whose sender pushes what is before it, too.
    let sent = next.send(pay(0x62)).await.unwrap();
    let behind = anvil.provider.get_transaction_by_hash(sent.transaction).await.unwrap().unwrap();
    assert_eq!(behind.inner.nonce(), 1);
    let resumed = next.resume().await.unwrap();
    assert_eq!(resumed.len(), 1);
    assert!(resumed[0].outcome.is_ok());
    assert_eq!(next.pending().await.unwrap(), []);
    for to in [0x61, 0x62] {
        assert_eq!(received(&anvil, to).await, U256::ONE);
    }
}

#[tokio::test]
async fn a_nonce_that_somebody_else_used_is_found() {
    let Some(anvil) = Anvil::start(&["--no-mining"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let ours = payer(&anvil, directory.path(), fees());
    let submitted = ours.submit(pay(0x71)).await.unwrap();
    anvil.request("anvil_dropAllTransactions", json!([])).await;
    // A program that knows nothing of the queue.
    let theirs = Payer::wallet(anvil.provider.clone(), account(0), None, fees());
    theirs.submit(pay(0x72)).await.unwrap();
    mine(&anvil, 1).await;

    let error = ours.land(&submitted).await.unwrap_err();
    assert!(matches!(error, ChainError::Displaced { nonce: 0, .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Stale);
    assert_eq!(ours.pending().await.unwrap(), []);
    assert_eq!(received(&anvil, 0x71).await, U256::ZERO);
    anvil.request("evm_setAutomine", json!([true])).await;
    assert!(ours.send(pay(0x73)).await.is_ok());
}

#[tokio::test]
async fn what_the_node_refuses_never_lands_and_leaves_no_gap() {
    let Some(anvil) = Anvil::start(&[]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let payer = payer(&anvil, directory.path(), fees());
    // Enough for the estimate, which knows no price, and not for the pool.
    let wallet = account(0).controller();
    anvil.request("anvil_setBalance", json!([wallet, "0x1000"])).await;
    let error = payer.send(pay(0x81)).await.unwrap_err();
    assert!(matches!(error, ChainError::Refused { .. }), "{error:?}");
    assert_eq!(payer.pending().await.unwrap(), []);
    anvil.request("anvil_setBalance", json!([wallet, "0xde0b6b3a7640000"])).await;
    payer.send(pay(0x82)).await.unwrap();
    assert_eq!(anvil.provider.get_transaction_count(wallet).await.unwrap(), 1);
    assert_eq!(received(&anvil, 0x81).await, U256::ZERO);
}

/// A node that takes its time and then refuses the first transaction; all else goes to anvil.
async fn refusing(anvil: &Anvil) -> String {
    let provider = anvil.provider.clone();
    let refused = Arc::new(AtomicBool::new(false));
    common::serve(move |_, body| {
        let (provider, refused) = (provider.clone(), Arc::clone(&refused));
        async move {
            let method = body["method"].as_str().unwrap().to_owned();
            let first = method == "eth_sendRawTransaction" && !refused.swap(true, Ordering::SeqCst);
            let id = body["id"].clone();
            if first {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let error = json!({ "code": -32000, "message": "insufficient funds for gas" });
                return (200, json!({ "jsonrpc": "2.0", "id": id, "error": error }));
            }
            let params = body["params"].clone();
            let answer: Value = provider.raw_request(method.into(), params).await.unwrap();
            (200, json!({ "jsonrpc": "2.0", "id": id, "result": answer }))
        }
    })
    .await
}

#[tokio::test]
async fn a_refused_nonce_with_others_behind_it_goes_to_nothing() {
    let Some(anvil) = Anvil::start(&[]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let url = refusing(&anvil).await;
    let refusing = connect(&[url], RpcOptions::default()).unwrap();
    let queue = Queue::open(directory.path(), CHAIN_ID, account(0).controller()).unwrap();
    let first = Payer::wallet(refusing, account(0), Some(queue), fees());
    let second = payer(&anvil, directory.path(), fees());
    let (refused, landed) = tokio::join!(first.send(pay(0x85)), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        second.send(pay(0x86)).await
    });
    let error = refused.unwrap_err();
    assert!(matches!(error, ChainError::Refused { .. }), "{error:?}");
    let landed = landed.unwrap().transaction;
    let landed = anvil.provider.get_transaction_by_hash(landed).await.unwrap().unwrap();
    assert_eq!(landed.inner.nonce(), 1);
    for resumed in second.resume().await.unwrap() {
        assert!(resumed.outcome.is_ok());
    }
    assert_eq!(second.pending().await.unwrap(), []);
    assert_eq!(received(&anvil, 0x85).await, U256::ZERO);
    assert_eq!(received(&anvil, 0x86).await, U256::ONE);
}

#[tokio::test]
async fn a_ceiling_holds_and_a_chain_without_base_fee_is_paid_as_it_wants() {
    let Some(anvil) = Anvil::start(&["--hardfork", "berlin"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let sent = payer(&anvil, directory.path(), fees()).send(pay(0x91)).await.unwrap();
    let landed = anvil.provider.get_transaction_by_hash(sent.transaction).await.unwrap().unwrap();
    assert!(landed.inner.is_legacy());

    let poor = payer(&anvil, directory.path(), Fees { ceiling: 1, ..fees() });
    let error = poor.send(pay(0x92)).await.unwrap_err();
    assert!(matches!(error, ChainError::FeeCeiling { ceiling: 1, .. }), "{error}");
    assert_eq!(poor.pending().await.unwrap(), []);
}

/// The one file of a pending transaction.
fn saved(directory: &Path) -> PathBuf {
    let queue = fs::read_dir(directory).unwrap().next().unwrap().unwrap().path();
    let mut files = fs::read_dir(queue).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.extension().is_some_and(|extension| extension == "json")).unwrap()
}

#[tokio::test]
async fn damage_is_named_and_what_was_never_acknowledged_is_dropped() {
    let Some(anvil) = Anvil::start(&["--no-mining"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let payer = payer(&anvil, directory.path(), fees());
    payer.submit(pay(0xa1)).await.unwrap();
    let file = saved(directory.path());
    let whole = fs::read_to_string(&file).unwrap();

    fs::write(file.with_file_name("unsaved"), &whole[..40]).unwrap();
    assert_eq!(payer.pending().await.unwrap().len(), 1);

    for (what, damaged) in [
        ("cut", whole[..whole.len() / 2].to_owned()),
        ("empty", String::new()),
        ("version", whole.replace("\"version\": 1", "\"version\": 2")),
        ("chain", whole.replace("31337", "1")),
        ("wallet", whole.replacen("f39fd6e51aad", "000000000000", 1)),
        ("bytes", whole.replacen("\"raw\": \"0x02f8", "\"raw\": \"0x02f9", 1)),
        ("field", whole.replacen("\"nonce\"", "\"more\": 1, \"nonce\"", 1)),
    ] {
        assert_ne!(damaged, whole, "{what}");
        fs::write(&file, damaged).unwrap();
        let error = payer.pending().await.unwrap_err();
        assert!(matches!(error, ChainError::QueueDamaged { .. }), "{what}: {error:?}");
        assert_eq!(error.kind(), ErrorKind::Integrity);
    }
    fs::write(&file, whole).unwrap();
    mine(&anvil, 1).await;
    assert!(payer.resume().await.unwrap()[0].outcome.is_ok());

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let done = file.with_extension("done");
        assert_eq!(fs::metadata(&done).unwrap().permissions().mode() & 0o777, 0o600);
        let folder = fs::metadata(done.parent().unwrap()).unwrap();
        assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    }
}
