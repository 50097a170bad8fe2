//! A node that lies is found out: header, receipts and logs must fit each other and what came before.

use std::{
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use alloy::{
    providers::{Provider as _, ProviderBuilder},
    rpc::{
        client::RpcClient,
        json_rpc::{RequestPacket, Response, ResponsePacket, ResponsePayload},
    },
    transports::{TransportError, TransportFut},
};
use galen_chain::{BlockReader, ChainError, Finality, HistoryMode, Ledger, LedgerBlock};
use galen_devchain::DevChain;
use galen_index::{AuditReport, HistoryOptions, Proof, View};
use galen_types::ErrorKind;
use serde_json::{Value, json, value::to_raw_value};
use tower::Service;

use crate::stage::{Stage, consent};

/// Changes the answer to one method.
type Lie = Arc<dyn Fn(&mut Value) + Send + Sync>;

/// A node in between: it answers as the chain does, but for what it lies about.
#[derive(Clone)]
struct Liar {
    chain: DevChain,
    method: &'static str,
    lie: Lie,
}

impl Service<RequestPacket> for Liar {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let this = self.clone();
        let mut chain = self.chain.clone();
        Box::pin(async move {
            let RequestPacket::Single(request) = &packet else {
                panic!("nothing here sends batches")
            };
            let lies = request.method() == this.method;
            let answer = chain.call(packet).await?;
            let ResponsePacket::Single(Response { id, payload: ResponsePayload::Success(raw) }) =
                answer
            else {
                return Ok(answer);
            };
            let mut value: Value = serde_json::from_str(raw.get()).unwrap();
            if lies {
                (this.lie)(&mut value);
            }
            let payload = ResponsePayload::Success(to_raw_value(&value).unwrap());
            Ok(ResponsePacket::Single(Response { id, payload }))
        })
    }
}

/// Reads a whole chain through a liar.
async fn read(
    stage: &Stage,
    method: &'static str,
    lie: impl Fn(&mut Value) + Send + Sync + 'static,
) -> Result<Vec<LedgerBlock>, ChainError> {
    let liar = Liar { chain: stage.chain.clone(), method, lie: Arc::new(lie) };
    let provider = ProviderBuilder::default().connect_client(RpcClient::new(liar, true)).erased();
    let mut reader = BlockReader::new(provider, stage.id().contract, stage.deployed_in);
    let mut blocks = Vec::new();
    while let Some(block) = reader.next().await? {
        blocks.push(block);
    }
    Ok(blocks)
}

/// A ledger whose every answer to one method goes through a liar.
async fn lied_about(
    stage: &Stage,
    method: &'static str,
    lie: impl Fn(&mut Value) + Send + Sync + 'static,
) -> Ledger {
    let liar = Liar { chain: stage.chain.clone(), method, lie: Arc::new(lie) };
    let provider = ProviderBuilder::default().connect_client(RpcClient::new(liar, true)).erased();
    Ledger::connect(provider, stage.id().contract, stage.deployed_in).await.unwrap()
}

fn open(ledger: &Ledger, mode: HistoryMode) -> View {
    let finality = Finality::Depth(64);
    View::open(ledger, HistoryOptions { mode, finality, ..HistoryOptions::default() })
}

/// A chain with some events in each of a few blocks.
async fn eventful() -> Stage {
    let stage = Stage::new().await;
    let mut tree = galen_types::ConsentTree::default();
    for version in 0..3 {
        let leaves = [2 * version, 2 * version + 1]
            .map(|salt| consent(stage.grantee.id(), salt.into()).id());
        leaves.into_iter().for_each(|leaf| {
            tree.insert(leaf);
        });
        stage.consent_to(version, &tree, leaves.map(|leaf| leaf.0).to_vec()).await;
    }
    stage
}

const RECEIPTS: &str = "eth_getBlockReceipts";
const BLOCK: &str = "eth_getBlockByNumber";
const LOGS: &str = "eth_getLogs";
const HEAD: &str = "eth_blockNumber";

#[tokio::test]
async fn an_honest_node_is_believed() {
    let stage = eventful().await;
    let blocks = read(&stage, BLOCK, |_| {}).await.unwrap();
    let events: usize = blocks.iter().map(|block| block.events.len()).sum();
    // Three founders and three changes of consents.
    assert_eq!((blocks.len(), events), (4, 6));
    assert_eq!(blocks.last().unwrap().hash, stage.chain.head().hash);
}

/// What a node says, in which answer, and what it is caught by.
type Row = (&'static str, &'static str, fn(&mut Value, &Value));

/// Lies about receipts; the second argument is the answer for the next block.
const RECEIPT_LIES: &[Row] = &[
    ("a log left out", "receipts root", |answer, _| {
        answer[0]["logs"].as_array_mut().unwrap().pop();
    }),
    ("a log twice", "receipts root", |answer, _| {
        let again = answer[0]["logs"][0].clone();
        answer[0]["logs"].as_array_mut().unwrap().push(again);
    }),
    ("a log's data changed", "receipts root", |answer, _| {
        let data = answer[0]["logs"][0]["data"].as_str().unwrap().to_owned();
        answer[0]["logs"][0]["data"] = json!(format!("{}2", &data[..data.len() - 1]));
    }),
    ("a log's topic changed", "receipts root", |answer, _| {
        answer[0]["logs"][0]["topics"][1] = json!(other_word());
    }),
    ("a log of another contract", "receipts root", |answer, _| {
        answer[0]["logs"][0]["address"] = json!(format!("0x{}", "07".repeat(20)));
    }),
    ("a transaction said to have failed", "receipts root", |answer, _| {
        answer[0]["status"] = json!("0x0");
    }),
    ("no receipts", "receipts root", |answer, _| *answer = json!([])),
    ("nothing to say", "missing receipts", |answer, _| *answer = Value::Null),
    ("another block's receipts", "receipts root", |answer, next| *answer = next.clone()),
];

/// Lies about blocks.
const BLOCK_LIES: &[Row] = &[
    ("another time", "header hash", |answer, _| answer["timestamp"] = json!("0x1")),
    ("another receipts root", "header hash", |answer, _| {
        answer["receiptsRoot"] = json!(other_word());
    }),
    ("another hash", "header hash", |answer, _| answer["hash"] = json!(other_word())),
    ("another block", "block number", |answer, next| *answer = next.clone()),
];

fn other_word() -> String {
    format!("0x{}", "07".repeat(32))
}

#[tokio::test]
async fn whatever_a_node_changes_is_found() {
    let stage = eventful().await;
    let next = format!("{:#x}", stage.deployed_in + 1);
    let next_receipts = stage.chain.request(RECEIPTS, &json!([next])).unwrap();
    let next_block = stage.chain.request(BLOCK, &json!([next, false])).unwrap();
    let receipts = RECEIPT_LIES.iter().map(|row| (RECEIPTS, row, &next_receipts));
    let blocks = BLOCK_LIES.iter().map(|row| (BLOCK, row, &next_block));
    for (method, (name, what, lie), next) in receipts.chain(blocks) {
        let next = next.clone();
        match read(&stage, method, move |answer| lie(answer, &next)).await {
            Err(error @ ChainError::Inconsistent { what: found, .. }) => {
                assert_eq!(found, *what, "{name}");
                assert_eq!(error.kind(), ErrorKind::Integrity);
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// A header that is whole in itself, but does not follow the one before it.
#[tokio::test]
async fn a_block_of_another_branch_is_found() {
    let stage = eventful().await;
    let mut reader = stage.ledger.blocks();
    let head = stage.chain.head().number;
    while reader.next_number() < head {
        reader.next().await.unwrap().unwrap();
    }
    // The last two blocks are replaced; the reader has seen the first of them.
    stage.chain.reorg(2).unwrap();
    stage.later(1);
    stage.later(1);
    let error = reader.next().await.unwrap_err();
    assert!(matches!(error, ChainError::Reorganized { block } if block == head), "{error}");
    assert_eq!(reader.next_number(), head, "it stands where it stood");
}

/// A view goes back after a reorganization and ends where a fresh one ends.
#[tokio::test]
async fn a_view_follows_a_reorganization() {
    let stage = eventful().await;
    let patient = stage.patient.id();
    let finality = Finality::Depth(64);
    let options = HistoryOptions { finality, ..HistoryOptions::default() };
    let mut view = View::open(&stage.ledger, options);
    view.sync().await.unwrap();
    assert_eq!(view.chart(patient).unwrap().consents().version, 3);
    stage.chain.reorg(2).unwrap();
    for _ in 0..3 {
        stage.later(1);
    }
    let report = view.sync().await.unwrap();
    assert_eq!(report.rolled_back_to, Some(stage.chain.head().number - 3));
    assert_eq!(view.chart(patient).unwrap().consents().version, 1);
    assert_eq!(view.chart(patient), Some(&stage.chart(patient).await));
    stage.is_folded(patient).await;
}

/// A node that knows no further block yet is no liar; the reader waits where it stands.
#[tokio::test]
async fn no_further_block_is_no_error() {
    let stage = eventful().await;
    let calls = Mutex::new(0);
    let blocks = read(&stage, BLOCK, move |answer| {
        let mut calls = calls.lock().unwrap();
        *calls += 1;
        if *calls == 3 {
            *answer = Value::Null;
        }
    })
    .await
    .unwrap();
    assert_eq!(blocks.len(), 2);
}

/// Lies about logs, where the node is asked for them; the second argument is not used.
const LOG_LIES: &[Row] = &[
    ("a log left out of a block", "logs of the block", |answer, _| {
        answer.as_array_mut().unwrap().remove(0);
    }),
    ("a log twice", "logs of the block", |answer, _| {
        let again = answer[0].clone();
        answer.as_array_mut().unwrap().push(again);
    }),
    ("a log changed", "logs of the block", |answer, _| {
        answer[0]["topics"][1] = json!(other_word())
    }),
    ("a removed log", "logs that were not asked for", |answer, _| {
        answer[0]["removed"] = json!(true);
    }),
    ("a log of another contract", "logs that were not asked for", |answer, _| {
        answer[0]["address"] = json!(format!("0x{}", "07".repeat(20)));
    }),
    ("a log of a later block", "logs that were not asked for", |answer, _| {
        answer[0]["blockNumber"] = json!("0xffff");
    }),
    ("a log put into another block", "logs of the block", |answer, _| {
        let from = answer[3].clone();
        for member in ["blockNumber", "blockHash"] {
            answer[4][member] = from[member].clone();
        }
    }),
    ("no founders", "no founders", |answer, _| {
        let logs = answer.as_array_mut().unwrap();
        let first = logs[0]["blockNumber"].clone();
        logs.retain(|log| log["blockNumber"] != first);
    }),
];

#[tokio::test]
async fn whatever_a_node_changes_in_a_named_block_is_found() {
    let stage = eventful().await;
    for (name, what, lie) in LOG_LIES {
        let ledger = lied_about(&stage, LOGS, |answer| lie(answer, &Value::Null)).await;
        match open(&ledger, HistoryMode::Logs).sync().await {
            Err(error @ ChainError::Inconsistent { what: found, .. }) => {
                assert_eq!(found, *what, "{name}");
                assert_eq!(error.kind(), ErrorKind::Integrity);
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// A block that is not named at all is missing without a trace in the logs; the slots tell.
#[tokio::test]
async fn a_block_left_out_altogether_shows_in_the_slots() {
    let stage = eventful().await;
    let patient = stage.patient.id();
    let slot = stage.ledger.chart(patient).await.unwrap();
    let consents = stage.ledger.consents(patient).await.unwrap();
    for (left_out, complete) in [(0, true), (1, false), (2, false)] {
        let ledger = lied_about(&stage, LOGS, move |answer| {
            let logs = answer.as_array_mut().unwrap();
            // Two changes of consents: a whole block in the middle, or at the end.
            let (from, to) = [(0, 0), (4, 5), (5, 6)][left_out];
            logs.drain(from..to);
        })
        .await;
        let mut view = open(&ledger, HistoryMode::Logs);
        view.sync().await.unwrap();
        let chart = view.chart(patient).unwrap();
        let report = AuditReport::new(patient, chart, &slot, &consents, view.mode());
        assert_eq!((report.complete, report.proof), (complete, Proof::HeadOnly), "{left_out}");
        assert!(report.head_matches, "consents are not under the head");
    }
}

/// A bloom that names the ledger is not taken away by receipts that do not.
#[tokio::test]
async fn a_bloom_is_kept_to() {
    let stage = eventful().await;
    let ledger = lied_about(&stage, RECEIPTS, |answer| *answer = json!([])).await;
    let error = open(&ledger, HistoryMode::Blocks).sync().await.unwrap_err();
    assert!(matches!(error, ChainError::Inconsistent { what: "receipts root", .. }), "{error:?}");
    // A bloom that excludes it is part of the header's hash.
    let ledger = lied_about(&stage, BLOCK, |answer| {
        answer["logsBloom"] = json!(format!("0x{}", "00".repeat(256)));
    })
    .await;
    let error = open(&ledger, HistoryMode::Blocks).sync().await.unwrap_err();
    assert!(matches!(error, ChainError::Inconsistent { what: "header hash", .. }), "{error:?}");
}

/// One of several nodes behind one address may be behind: what was verified stays. One that is far behind
/// is not asked further.
#[tokio::test]
async fn a_stale_node_takes_nothing_back() {
    let stage = eventful().await;
    let patient = stage.patient.id();
    for _ in 0..70 {
        stage.later(1);
    }
    let behind = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&behind);
    let ledger = lied_about(&stage, HEAD, move |answer| {
        let head = u64::from_str_radix(&answer.as_str().unwrap()[2..], 16).unwrap();
        *answer = json!(format!("{:#x}", head - *seen.lock().unwrap()));
    })
    .await;
    let mut view = open(&ledger, HistoryMode::Blocks);
    view.sync().await.unwrap();
    let next = view.next_block();
    *behind.lock().unwrap() = 60;
    let report = view.sync().await.unwrap();
    assert_eq!((report.rolled_back_to, view.next_block()), (None, next));
    *behind.lock().unwrap() = 70;
    let error = view.sync().await.unwrap_err();
    assert!(matches!(error, ChainError::Behind { .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(view.chart(patient).unwrap().consents().version, 3);
}

/// A node that answers from two branches in turn is not believed, and not for ever.
#[tokio::test]
async fn a_node_that_switches_branches_is_given_up() {
    let stage = eventful().await;
    let old = stage.chain.request(BLOCK, &json!(["latest", false])).unwrap();
    stage.chain.reorg(1).unwrap();
    for _ in 0..3 {
        stage.later(9);
    }
    // One block of the other branch, whole in itself.
    let number = old["number"].clone();
    let ledger = lied_about(&stage, BLOCK, move |answer| {
        if answer["number"] == number {
            *answer = old.clone();
        }
    })
    .await;
    let error = open(&ledger, HistoryMode::Blocks).sync().await.unwrap_err();
    // Its receipts are the other branch's, or its child does not follow it.
    assert!(
        matches!(error, ChainError::Inconsistent { .. } | ChainError::Reorganized { .. }),
        "{error:?}"
    );
}

/// Providers refuse ranges in words of their own; the reader asks for less and gets everything.
#[tokio::test]
async fn refused_ranges_are_halved() {
    let stage = eventful().await;
    for _ in 0..50 {
        stage.later(1);
    }
    let provider = ProviderBuilder::default()
        .connect_client(RpcClient::new(Narrow(stage.chain.clone()), true))
        .erased();
    let ledger = Ledger::connect(provider, stage.id().contract, stage.deployed_in).await.unwrap();
    let mut view = open(&ledger, HistoryMode::Logs);
    view.sync().await.unwrap();
    assert_eq!(view.events().len(), 6);
    assert_eq!(view.next_block(), stage.chain.head().number + 1);
}

/// A node that answers for at most seven blocks at once.
#[derive(Clone)]
struct Narrow(DevChain);

impl Service<RequestPacket> for Narrow {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let mut chain = self.0.clone();
        Box::pin(async move {
            let RequestPacket::Single(request) = &packet else {
                panic!("nothing here sends batches")
            };
            if request.method() == LOGS {
                let params: Value = serde_json::from_str(request.params().unwrap().get()).unwrap();
                let number = |member: &str| {
                    u64::from_str_radix(&params[0][member].as_str().unwrap()[2..], 16).unwrap()
                };
                if number("toBlock") - number("fromBlock") >= 7 {
                    let id = request.id().clone();
                    let payload = ResponsePayload::internal_error_message("not so many".into());
                    return Ok(ResponsePacket::Single(Response { id, payload }));
                }
            }
            chain.call(packet).await
        })
    }
}

/// A read that is given up half way, as by a deadline, skips nothing when it is taken up again.
#[tokio::test]
async fn a_dropped_read_skips_nothing() {
    let stage = eventful().await;
    let provider = ProviderBuilder::default()
        .connect_client(RpcClient::new(Waiting(stage.chain.clone(), Arc::default()), true))
        .erased();
    let ledger = Ledger::connect(provider, stage.id().contract, stage.deployed_in).await.unwrap();
    for mode in [HistoryMode::Blocks, HistoryMode::Logs] {
        let mut dropped = 0;
        loop {
            let mut view = open(&ledger, mode);
            let mut polls = 0;
            let mut sync = Box::pin(view.sync());
            let cut = std::future::poll_fn(|context| {
                polls += 1;
                if polls > dropped + 1 {
                    return Poll::Ready(true);
                }
                sync.as_mut().poll(context).map(|result| result.is_err())
            })
            .await;
            drop(sync);
            view.sync().await.unwrap();
            assert_eq!(view.events().len(), 6, "{mode}: dropped after {dropped} polls");
            if !cut {
                break;
            }
            dropped += 1;
        }
        assert!(dropped > 4, "{mode}: {dropped}");
    }
}

/// A node that takes its time, for every answer another.
#[derive(Clone)]
struct Waiting(DevChain, Arc<Mutex<usize>>);

impl Service<RequestPacket> for Waiting {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let mut chain = self.0.clone();
        let mut asked = self.1.lock().unwrap();
        *asked += 1;
        let turns = 1 + *asked % 5;
        Box::pin(async move {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            chain.call(packet).await
        })
    }
}
