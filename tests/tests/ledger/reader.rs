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
use galen_chain::{BlockReader, ChainError, Finality, LedgerBlock};
use galen_devchain::DevChain;
use galen_index::{HistoryOptions, View};
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
