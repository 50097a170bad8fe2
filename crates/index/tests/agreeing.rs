//! A history over three nodes of which two must agree: whatever one of them says, the view is the chain's.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod common;
#[path = "agreeing/node.rs"]
mod node;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use alloy::{
    eips::BlockNumberOrTag,
    network::Ethereum,
    providers::{DynProvider, Provider as _},
    rpc::types::Filter,
};
use common::{Stage, account, assert_same, chain, fresh};
use galen_chain::{
    BlockReader, ChainError, Finality, HistoryMode, Ledger,
    contract::HealthLedger,
    rpc::{Agreeing, NodeStatus, RpcOptions},
};
use galen_devchain::DevChain;
use galen_index::{HistoryOptions, View};
use galen_types::{ContentRef, ErrorKind, KeyBundleId};
use node::{Kind, LIES, Lie, Node, Rng};
use serde_json::Value;

/// No second try: what one node does must not need one.
const OPTIONS: RpcOptions = RpcOptions {
    timeout: Duration::from_secs(5),
    retries: 0,
    max_response: 0,
    allow_plain_http: false,
    chain_id: None,
};

/// A chain on which something happened.
async fn stage() -> (DevChain, Stage) {
    let chain = chain();
    let mut stage = Stage::new(chain.provider()).await;
    stage.publish_keys(KeyBundleId::default()).await.unwrap();
    stage.consent().await.unwrap();
    for (place, count) in (1..4).enumerate() {
        stage.propose(count).await.unwrap();
        stage.settle(place).await.unwrap();
        stage.access(0, count).await.unwrap();
    }
    chain.mine().unwrap();
    (chain, stage)
}

/// Three nodes of a chain, of which some lie.
fn trio(chain: &DevChain, lies: [Option<Lie>; 3], quorum: usize) -> (Agreeing, [Arc<Node>; 3]) {
    let nodes = lies.map(|lie| Node::new(chain, lie));
    let providers = nodes.iter().map(|node| node.provider()).collect();
    (Agreeing::of(providers, quorum, OPTIONS).unwrap(), nodes)
}

fn one(lie: Lie, place: usize) -> [Option<Lie>; 3] {
    let mut lies = [None; 3];
    lies[place] = Some(lie);
    lies
}

async fn ledger(stage: &Stage, agreeing: &Agreeing) -> Result<Ledger, ChainError> {
    let address = stage.ledger.id().contract;
    Ledger::connect(agreeing.provider(), address, stage.ledger.deployed_in()).await
}

/// Everything that Galen asks nodes for, each as text.
const QUESTIONS: usize = 18;

async fn ask(
    question: usize,
    provider: &DynProvider<Ethereum>,
    stage: &Stage,
) -> Result<String, ChainError> {
    let id = stage.ledger.id().contract;
    let (patient, number) = (stage.patient.id(), stage.ledger.deployed_in() + 6);
    let ledger = async || Ledger::connect(provider.clone(), id, stage.ledger.deployed_in()).await;
    Ok(match question % QUESTIONS {
        0 => provider.get_block_number().await?.to_string(),
        1 => provider.get_chain_id().await?.to_string(),
        2..5 => {
            let latest = BlockNumberOrTag::Latest;
            let at = [latest, BlockNumberOrTag::Finalized, number.into()][question % QUESTIONS - 2];
            let block = provider.get_block_by_number(at).await?;
            format!("{:?}", block.map(|it| (it.header.hash, it.header.inner, it.transactions)))
        }
        5 => without_times(&provider.get_block_receipts(number.into()).await?),
        6 => {
            let filter = Filter::new().address(id).from_block(0).to_block(number);
            without_times(&provider.get_logs(&filter).await?)
        }
        7 => format!("{:?}", ledger().await?.participant(patient).await?),
        8 => format!("{:?}", ledger().await?.consents(patient).await?),
        9 => format!("{:?}", ledger().await?.chart(patient).await?),
        10 => format!("{:?}", ledger().await?.now().await?),
        11 => format!("{:?}", ledger().await?.code_hash().await?),
        12 => provider.get_transaction_count(account(1).id()).await?.to_string(),
        13 => provider.get_storage_at(id, Default::default()).await?.to_string(),
        14 => {
            let block = provider.get_block_by_number(number.into()).await?;
            let transaction = block.unwrap().transactions.hashes().next().unwrap();
            without_times(&provider.get_transaction_receipt(transaction).await?)
        }
        15 => provider.get_balance(account(1).id()).await?.to_string(),
        16 => provider.get_gas_price().await?.to_string(),
        _ => {
            // Nothing waits: the answer is what the contract reverts with.
            let contract = HealthLedger::new(id, provider.clone());
            match contract.finishPending(patient).call().await.map_err(ChainError::from) {
                Ok(_) => "it is finished".to_owned(),
                Err(ChainError::Reverted(revert)) => revert.to_string(),
                Err(other) => return Err(other),
            }
        }
    })
}

/// As text, without what only some nodes put beside logs.
fn without_times(value: &impl serde::Serialize) -> String {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.remove("blockTimestamp");
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(value).unwrap();
    strip(&mut value);
    value.to_string()
}

async fn truth(chain: &DevChain, stage: &Stage) -> BTreeMap<usize, String> {
    let mut truth = BTreeMap::new();
    let provider = chain.provider().erased();
    for question in 0..QUESTIONS {
        truth.insert(question, ask(question, &provider, stage).await.unwrap());
    }
    truth
}

/// Every lie, at each of three nodes: each answer, and the whole view, are the chain's.
#[tokio::test]
async fn what_one_of_three_nodes_says_is_not_noticed() {
    let (chain, stage) = stage().await;
    let truth = truth(&chain, &stage).await;
    let expected = fresh(&stage.ledger, HistoryMode::Blocks).await;
    for kind in LIES {
        let mut told = 0;
        for place in 0..3 {
            let lie = Lie { kind, salt: place as u64 };
            let (agreeing, nodes) = trio(&chain, one(lie, place), 2);
            let provider = agreeing.provider();
            for (question, right) in &truth {
                let said = ask(*question, &provider, &stage).await;
                assert_eq!(
                    said.as_ref().ok(),
                    Some(right),
                    "{kind:?} {place} {question}: {said:?}"
                );
            }
            for mode in [HistoryMode::Blocks, HistoryMode::Logs] {
                let ledger = ledger(&stage, &agreeing).await.unwrap();
                assert_same(&fresh(&ledger, mode).await, &expected);
            }
            told += nodes[place].told.load(Ordering::SeqCst);
        }
        assert!(told > 0, "{kind:?} was never told");
    }
}

/// Right, or an error that says that it is the nodes: nothing else may come of two liars.
fn fails_closed(said: Result<String, ChainError>, right: &str, what: &str) {
    match said {
        Ok(said) => assert_eq!(said, right, "{what}"),
        Err(error) => {
            let kind = error.kind();
            // Of another chain, no ledger, a refusal: all of them say no.
            let closed = [ErrorKind::Unavailable, ErrorKind::Invalid, ErrorKind::NotFound];
            assert!(closed.contains(&kind), "{what}: {error:?}");
        }
    }
}

/// Two liars that tell the same story are believed by two of three, and by three of three never. Two that tell
/// different stories are believed by nobody.
#[tokio::test]
async fn two_of_three_lying_nodes_fail_closed() {
    let (chain, stage) = stage().await;
    let truth = truth(&chain, &stage).await;
    let expected = fresh(&stage.ledger, HistoryMode::Blocks).await;
    let quick: Vec<Kind> = LIES.into_iter().filter(|kind| !kind.is_late()).collect();
    for (index, kind) in quick.iter().enumerate() {
        let same = Lie { kind: *kind, salt: 1 };
        let other = Lie { kind: quick[(index + 7) % quick.len()], salt: 2 };
        if same.kind.is_old() || other.kind.is_old() {
            continue;
        }
        for (lies, quorum) in
            [([Some(same), None, Some(same)], 3), ([Some(same), Some(other), None], 2)]
        {
            let what = format!("{lies:?}");
            let (agreeing, _) = trio(&chain, lies, quorum);
            let provider = agreeing.provider();
            for (question, right) in &truth {
                fails_closed(ask(*question, &provider, &stage).await, right, &what);
            }
            let Ok(ledger) = ledger(&stage, &agreeing).await else { continue };
            let mut view = View::new(&ledger);
            match view.sync().await {
                Ok(_) => assert_same(&view, &expected),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{what}: {error:?}"),
            }
        }
    }
}

/// Where a quorum is behind, the answers are those of an older block, whole and right.
#[tokio::test]
async fn a_quorum_that_lags_shows_the_chain_as_it_was() {
    let (chain, stage) = stage().await;
    let whole = fresh(&stage.ledger, HistoryMode::Blocks).await;
    let stale = |salt| Some(Lie { kind: Kind::Stale, salt });
    for (lies, quorum, behind) in [
        ([stale(0), stale(1), None], 2, 3),
        ([stale(2), None, None], 3, 5),
        ([stale(2), stale(1), stale(0)], 2, 4),
        ([stale(1), None, None], 2, 0),
    ] {
        let (agreeing, _) = trio(&chain, lies, quorum);
        let head = agreeing.provider().get_block_number().await.unwrap();
        assert_eq!(head, chain.head().number - behind, "{lies:?}");
        // This chain keeps no old state, so nothing is called; events are there.
        let id = stage.ledger.id().contract;
        let mut reader = BlockReader::new(agreeing.provider(), id, stage.ledger.deployed_in());
        let mut events = Vec::new();
        while let Some(batch) = reader.read(head).await.unwrap() {
            events.extend(batch.blocks.into_iter().flat_map(|block| block.events));
        }
        let expected = whole.events().iter().take_while(|event| event.at.block <= head);
        assert!(events.iter().eq(expected.map(|event| &**event)), "{lies:?}");
    }
}

/// Nobody waits for it: waiting once would take longer than all of these questions.
#[tokio::test]
async fn a_silent_or_slow_node_costs_nothing() {
    let (chain, stage) = stage().await;
    for kind in [Kind::Silent, Kind::Slow] {
        for place in 0..3 {
            let (agreeing, _) = trio(&chain, one(Lie { kind, salt: 0 }, place), 2);
            let provider = agreeing.provider();
            let start = Instant::now();
            for question in 0..60 {
                // Receipts come from one node at a time; their turn is below.
                ask(if question % QUESTIONS == 5 { 0 } else { question }, &provider, &stage)
                    .await
                    .unwrap();
            }
            assert!(start.elapsed() < OPTIONS.timeout, "{kind:?} {place}: {:?}", start.elapsed());
            let start = Instant::now();
            for _ in 0..20 {
                ask(5, &provider, &stage).await.unwrap();
            }
            // The first time the next node is asked after a while, and from then on first.
            assert!(start.elapsed() < OPTIONS.timeout, "{kind:?} {place}: {:?}", start.elapsed());
        }
    }
}

#[tokio::test]
async fn two_silent_nodes_are_an_error_in_bounded_time() {
    let (chain, stage) = stage().await;
    let silent = Some(Lie { kind: Kind::Silent, salt: 0 });
    let nodes = [silent, None, silent].map(|lie| Node::new(&chain, lie).provider());
    let options = RpcOptions { timeout: Duration::from_millis(200), retries: 1, ..OPTIONS };
    let provider = Agreeing::of(nodes.to_vec(), 2, options).unwrap().provider();
    for question in 0..7 {
        let start = Instant::now();
        let error = ask(question, &provider, &stage).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{question}: {error:?}");
        // Two tries and the pause between them.
        assert!(start.elapsed() < Duration::from_secs(3), "{question}: {:?}", start.elapsed());
    }
}

/// Two branches of one chain: the one that two nodes have is the chain, and where each node has another one there
/// is none.
#[tokio::test]
async fn of_two_heads_the_one_of_the_quorum_counts() {
    // The same transactions make the same blocks.
    let ((chain, stage), (twin, _), (third, _)) = (stage().await, stage().await, stage().await);
    assert_eq!(chain.head(), twin.head());
    for (seconds, chain) in [(1, &chain), (2, &twin), (3, &third)] {
        chain.advance_time(seconds).unwrap();
        chain.mine().unwrap();
    }
    assert_ne!(chain.head().hash, twin.head().hash);
    let over = |chains: [&DevChain; 3]| {
        let nodes = chains.map(|chain| Node::new(chain, None).provider()).to_vec();
        Agreeing::of(nodes, 2, OPTIONS).unwrap()
    };
    for chains in [[&chain, &twin, &chain], [&twin, &chain, &chain], [&chain, &chain, &twin]] {
        let agreeing = over(chains);
        let block = agreeing.provider().get_block_by_number(BlockNumberOrTag::Latest).await;
        assert_eq!(block.unwrap().unwrap().header.hash, chain.head().hash);
        let ledger = ledger(&stage, &agreeing).await.unwrap();
        assert_same(
            &fresh(&ledger, HistoryMode::Blocks).await,
            &fresh(&stage.ledger, HistoryMode::Blocks).await,
        );
    }
    let provider = over([&chain, &twin, &third]).provider();
    let error = ChainError::from(provider.get_block_number().await.unwrap_err());
    assert!(matches!(error, ChainError::Disagreement { asked: 3, agreed: 1, .. }), "{error:?}");
}

/// What was agreed on before a reorganization is not what is agreed on after it.
#[tokio::test]
async fn a_view_follows_a_reorganization() {
    let (chain, mut stage) = stage().await;
    let lies = one(Lie { kind: Kind::NoLogs, salt: 0 }, 0);
    let (agreeing, _) = trio(&chain, lies, 2);
    let options = HistoryOptions { finality: Finality::Depth(64), ..HistoryOptions::default() };
    let mut view = View::open(&ledger(&stage, &agreeing).await.unwrap(), options);
    for depth in [1, 3, 2] {
        view.sync().await.unwrap();
        chain.reorg(depth).unwrap();
        chain.advance_time(7).unwrap();
        for _ in 0..depth {
            stage.propose(1).await.unwrap();
        }
        view.sync().await.unwrap();
        assert_same(&view, &fresh(&stage.ledger, HistoryMode::Blocks).await);
    }
}

/// Whoever takes it first has sent it; a node that says that it sent something else has not.
#[tokio::test]
async fn what_one_node_takes_is_sent() {
    for kind in [Kind::Error, Kind::Silent, Kind::OtherReceipt, Kind::Dear, Kind::Stale] {
        let (chain, stage) = stage().await;
        let (agreeing, _) = trio(&chain, one(Lie { kind, salt: 0 }, 1), 2);
        let paid = ledger(&stage, &agreeing).await.unwrap().paid_by(&account(1));
        let view = fresh(&stage.ledger, HistoryMode::Blocks).await;
        let keys = view.chart(stage.patient.id()).unwrap().keys().last().unwrap().bundle;
        let (bundle, content) = (common::hash(77), ContentRef::swarm(common::hash(77)));
        let sent =
            paid.publish_keys(&stage.patient, keys, KeyBundleId(bundle), content, common::LATER);
        let sent = sent.await.unwrap_or_else(|error| panic!("{kind:?}: {error:?}"));
        assert_eq!(sent.block, chain.head().number, "{kind:?}");
    }
}

/// A refusal says that a transaction never lands. One node cannot say so.
#[tokio::test]
async fn a_transaction_is_refused_by_a_quorum_alone() {
    let (chain, _) = stage().await;
    let silent = Some(Lie { kind: Kind::Silent, salt: 0 });
    let options = RpcOptions { timeout: Duration::from_millis(200), ..OPTIONS };
    for (lies, refused) in
        [([None; 3], true), ([silent, None, None], true), ([silent, silent, None], false)]
    {
        let nodes = lies.map(|lie| Node::new(&chain, lie).provider()).to_vec();
        let provider = Agreeing::of(nodes, 2, options.clone()).unwrap().provider();
        let error = provider.send_raw_transaction(&[1, 2, 3]).await.map(drop).unwrap_err();
        assert_eq!(error.is_error_resp(), refused, "{lies:?}: {error:?}");
    }
}

#[tokio::test]
async fn the_status_of_nodes_tells_who_lags_and_who_is_elsewhere() {
    let (chain, _) = stage().await;
    let head = chain.head();
    let lies = [None, Some(Kind::Stale), Some(Kind::OwnChain), None, Some(Kind::Error)];
    let lies = lies.map(|kind| kind.map(|kind| Lie { kind, salt: 0 }));
    let nodes = lies.map(|lie| Node::new(&chain, lie).provider()).to_vec();
    let agreeing = Agreeing::of(nodes, 3, OPTIONS).unwrap();
    assert_eq!(agreeing.counts(), (5, 3));
    let status = agreeing.status().await;
    let row = |node: &NodeStatus| (node.head, node.lag, node.agrees, node.fault.is_some());
    let rows: Vec<_> = status.nodes.iter().map(row).collect();
    // Three name the newest block, and only two of them have the same one: there is no agreed head.
    assert!(status.head.is_none() && status.fault.is_some(), "{status:?}");
    assert!(rows.iter().all(|row| row.2.is_none()), "{rows:?}");

    let lies = [None, Some(Kind::Stale), Some(Kind::OwnChain), None, None];
    let lies = lies.map(|kind| kind.map(|kind| Lie { kind, salt: 0 }));
    let nodes = lies.map(|lie| Node::new(&chain, lie).provider()).to_vec();
    let status = Agreeing::of(nodes, 3, OPTIONS).unwrap().status().await;
    assert_eq!(status.head, Some((head.number, head.hash, head.timestamp)));
    assert_eq!(status.agreeing(), 4);
    let rows: Vec<_> = status.nodes.iter().map(row).collect();
    let good = (Some(head.number), Some(0), Some(true), false);
    let stale = (Some(head.number - 3), Some(3), Some(true), false);
    let elsewhere = (Some(head.number), Some(0), Some(false), false);
    assert_eq!(rows, [good, stale, elsewhere, good, good]);
    assert_eq!(status.nodes[1].node, "node 2");
}

/// Ten thousand forged answers: none is taken.
#[tokio::test]
async fn ten_thousand_forged_answers_are_not_taken() {
    let (chain, stage) = stage().await;
    let truth = truth(&chain, &stage).await;
    let mut rng = Rng(0x006a_11e7);
    let (mut forged, mut right_answers, mut refused) = (0, 0, 0);
    while forged < 10_000 {
        let mut lie = || loop {
            let kind = LIES[rng.below(LIES.len())];
            if !kind.is_late() {
                return Lie { kind, salt: rng.next() >> 40 };
            }
        };
        let (first, second) = (lie(), lie());
        let question = rng.below(QUESTIONS);
        let place = rng.below(3);
        // Two old heads of three are old, and no lie: the age of the head is for the caller to judge.
        let alone = rng.below(4) > 0 || first.kind.is_old() || second.kind.is_old();
        let mut lies = [None; 3];
        lies[place] = Some(first);
        if !alone {
            lies[(place + 1) % 3] = Some(second);
        }
        let (agreeing, nodes) = trio(&chain, lies, if alone { 2 } else { 3 });
        let said = ask(question, &agreeing.provider(), &stage).await;
        let what = format!("after {forged}: {lies:?} on {question}");
        match (&said, alone) {
            (Ok(_), _) => right_answers += 1,
            (Err(error), true) => panic!("{what}: {error:?}"),
            (Err(_), false) => refused += 1,
        }
        fails_closed(said, &truth[&question], &what);
        forged += nodes.iter().map(|node| node.told.load(Ordering::SeqCst)).sum::<usize>();
    }
    assert!(right_answers > 1_000 && refused > 100, "{right_answers} right, {refused} refused");
}
