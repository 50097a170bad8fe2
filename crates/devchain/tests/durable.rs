//! What is on disk is what was acknowledged.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod common;

use std::{fs, io::Write as _, path::Path};

use alloy::{
    primitives::U256,
    rpc::types::{AccessList, TransactionRequest},
};
use common::{call, code, config, deploy, provider, send, transfer};
use galen_devchain::{Clock, Config, DevChain, Error, Spec};
use galen_types::ErrorKind;
use serde_json::json;

fn open(directory: &Path) -> DevChain {
    DevChain::open(directory, config()).unwrap()
}

/// Every block, receipt and balance that can be asked for.
fn everything(chain: &DevChain) -> String {
    let ask = |method: &str, params| chain.request(method, &params).unwrap().to_string();
    let mut text = String::new();
    for number in 0..=chain.head().number {
        text += &ask("eth_getBlockByNumber", json!([format!("{number:#x}"), true]));
        text += &ask("eth_getBlockReceipts", json!([format!("{number:#x}")]));
    }
    text += &ask("eth_getLogs", json!([{ "fromBlock": "0x0" }]));
    for seed in 1..=4 {
        text += &ask("eth_getBalance", json!([common::key(seed).address()]));
    }
    text
}

/// Transactions of every kind, time and a reorganization.
async fn live(chain: &DevChain) {
    let provider = provider(chain);
    let store = deploy(&provider, &code::store()).await;
    let logger = deploy(&provider, &code::logger()).await;
    for word in 0..5 {
        send(&provider, call(store, code::words([word, word + 1]))).await;
        send(&provider, call(logger, code::words([word]))).await;
        chain.advance_time(word).unwrap();
    }
    for access_list in [None, Some(AccessList::default())] {
        let gas_price = Some(2_000_000_000);
        let priced = call(logger, code::words([7]));
        send(&provider, TransactionRequest { gas_price, access_list, ..priced }).await;
    }
    for _ in 0..3 {
        chain.mine().unwrap();
    }
    chain.reorg(2).unwrap();
    chain.mine().unwrap();
    send(&common::provider(chain), call(store, code::words([0, 0]))).await;
}

#[tokio::test]
async fn reopened_chain_is_the_same_chain() {
    let directory = tempfile::tempdir().unwrap();
    for clock in [Clock::Manual, Clock::System] {
        let path = directory.path().join(format!("{clock:?}"));
        let config = Config { clock, ..config() };
        let chain = DevChain::open(&path, config.clone()).unwrap();
        live(&chain).await;
        let (head, all) = (chain.head(), everything(&chain));
        drop(chain);
        let chain = DevChain::open(&path, config.clone()).unwrap();
        assert_eq!((chain.head(), everything(&chain)), (head, all));
        // And it goes on: nonces, storage and time are there.
        let store = common::key(1).address().create(0);
        let receipt = send(&provider(&chain), call(store, code::words([9, 9]))).await;
        assert!(receipt.status());
        assert_eq!(receipt.block_number, Some(head.number + 1));
    }
}

#[tokio::test]
async fn disk_and_memory_make_the_same_blocks() {
    let directory = tempfile::tempdir().unwrap();
    let (disk, memory) = (open(directory.path()), DevChain::in_memory(config()));
    live(&disk).await;
    live(&memory).await;
    assert_eq!(disk.head(), memory.head());
}

#[test]
fn second_opener_is_told_who_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let chain = open(directory.path());
    let clone = chain.clone();
    drop(chain);
    let error = DevChain::open(directory.path(), config()).unwrap_err();
    assert!(matches!(error, Error::Locked { pid: Some(pid), .. } if pid == std::process::id()));
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    drop(clone);
    open(directory.path());
}

#[test]
fn directory_of_another_chain_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    let refused = |config| {
        let error = DevChain::open(directory.path(), config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error
    };
    let other = refused(Config { chain_id: 1, ..config() });
    assert!(matches!(other, Error::OtherChain { found: 31_337, wanted: 1, .. }));
    let other = refused(Config { accounts: vec![], ..config() });
    assert!(matches!(other, Error::OtherGenesis { .. }));
    refused(Config { spec: Spec::Amsterdam, ..config() });
    drop(open(directory.path()));
}

#[cfg(unix)]
#[test]
fn files_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("a/chain");
    let chain = DevChain::open(&directory, Config { snapshot_every: 1, ..config() }).unwrap();
    chain.mine().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let files: Vec<_> = fs::read_dir(&directory).unwrap().map(|f| f.unwrap().path()).collect();
    assert_eq!(files.len(), 3, "lock, log and a snapshot: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn log_cut_in_the_last_record_loses_only_that() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let chain = open(directory.path());
    for nonce in 0..3 {
        chain.send_raw_transaction(&transfer(nonce, 1)).unwrap();
    }
    let (start, second) = (fs::metadata(&log).unwrap().len(), chain.head());
    chain.send_raw_transaction(&transfer(3, 1)).unwrap();
    let third = chain.head();
    drop(chain);
    let bytes = fs::read(&log).unwrap();
    let start = usize::try_from(start).unwrap();
    for cut in start..bytes.len() {
        fs::write(&log, &bytes[..cut]).unwrap();
        assert_eq!(open(directory.path()).head(), second, "cut at {cut}");
    }
    // The transaction that was lost can be sent again.
    let chain = open(directory.path());
    chain.send_raw_transaction(&transfer(3, 1)).unwrap();
    assert_eq!(chain.head(), third);
    drop(chain);
    assert_eq!(open(directory.path()).head(), third);
}

#[test]
fn damage_in_the_middle_is_said_and_nothing_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let chain = open(directory.path());
    let mut ends = vec![fs::metadata(&log).unwrap().len()];
    for nonce in 0..3 {
        chain.send_raw_transaction(&transfer(nonce, 1)).unwrap();
        ends.push(fs::metadata(&log).unwrap().len());
    }
    drop(chain);
    let bytes = fs::read(&log).unwrap();
    for record in 0..3 {
        let (start, end) = (ends[record], ends[record + 1]);
        // Length, kind, time, head sum, hash, transaction, sum.
        for byte in
            [start, start + 3, start + 4, start + 12, start + 14, start + 20, end - 40, end - 1]
        {
            let mut damaged = bytes.clone();
            damaged[usize::try_from(byte).unwrap()] ^= 0x10;
            fs::write(&log, &damaged).unwrap();
            let error = DevChain::open(directory.path(), config()).unwrap_err();
            assert!(matches!(error, Error::Damaged { offset, .. } if offset == start), "{error}");
            assert_eq!(error.kind(), ErrorKind::Integrity);
            assert_eq!(fs::read(&log).unwrap(), damaged);
        }
    }
    fs::write(&log, &bytes).unwrap();
    assert_eq!(open(directory.path()).head().number, 3);
}

#[tokio::test]
async fn snapshots_give_the_same_chain_or_are_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config { snapshot_every: 4, ..config() };
    let open = || DevChain::open(directory.path(), config.clone());
    let chain = open().unwrap();
    live(&chain).await;
    let (head, all) = (chain.head(), everything(&chain));
    for kind in ["0x0", "0x1", "0x2"] {
        assert!(all.contains(&format!("\"type\":\"{kind}\"")), "a transaction of type {kind}");
    }
    drop(chain);
    let same = |what: &str| {
        let chain = open().unwrap();
        assert_eq!((chain.head(), everything(&chain)), (head, all.clone()), "{what}");
    };
    same("whole");
    let mut snapshots: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("snapshot-"))
        .collect();
    snapshots.sort();
    assert_eq!(snapshots.len(), 2, "the newest two are kept");
    for (path, what) in snapshots.iter().rev().zip(["newest damaged", "both damaged"]) {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
        same(what);
    }
    for path in &snapshots {
        fs::write(path, b"").unwrap();
    }
    same("both empty");
    for path in &snapshots {
        fs::remove_file(path).unwrap();
    }
    fs::write(directory.path().join("snapshot-0000000000000000.new"), b"half").unwrap();
    same("none, and an unfinished one");
}

#[tokio::test]
async fn reorganization_goes_back_past_a_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config { snapshot_every: 3, ..config() };
    let chain = DevChain::open(directory.path(), config.clone()).unwrap();
    let provider = provider(&chain);
    let store = deploy(&provider, &code::store()).await;
    let mut heads = vec![chain.head()];
    for word in 1..8 {
        send(&provider, call(store, code::words([1, word]))).await;
        heads.push(chain.head());
    }
    drop((provider, chain));
    let chain = DevChain::open(directory.path(), config.clone()).unwrap();
    chain.reorg(6).unwrap();
    assert_eq!(chain.head(), heads[1]);
    let slot = chain.request("eth_getStorageAt", &json!([store, "0x1"])).unwrap();
    assert_eq!(slot, json!(alloy::primitives::B256::from(U256::from(1))));
    drop(chain);
    assert_eq!(DevChain::open(directory.path(), config).unwrap().head(), heads[1]);
}

#[test]
fn log_that_ends_before_its_snapshot_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config { snapshot_every: 2, ..config() };
    let chain = DevChain::open(directory.path(), config.clone()).unwrap();
    let log = directory.path().join("log");
    chain.mine().unwrap();
    let one = fs::metadata(&log).unwrap().len();
    chain.mine().unwrap();
    drop(chain);
    let bytes = fs::read(&log).unwrap();
    fs::write(&log, &bytes[..usize::try_from(one).unwrap()]).unwrap();
    let error = DevChain::open(directory.path(), config).unwrap_err();
    assert!(matches!(error, Error::Damaged { offset, .. } if offset == one), "{error}");
}

/// A log file that is not a file can be neither read nor written.
#[test]
fn what_cannot_be_read_is_an_error_with_a_path() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("log")).unwrap();
    let error = DevChain::open(directory.path(), config()).unwrap_err();
    assert!(error.to_string().contains("log"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let file = directory.path().join("file");
    fs::File::create(&file).unwrap().write_all(b"x").unwrap();
    assert!(matches!(DevChain::open(&file, config()).unwrap_err(), Error::Io { .. }));
}
