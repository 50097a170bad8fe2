//! Three nodes of which two must agree: what any one of them does to an answer on its way is not noticed, and what
//! two do is an error within its bound.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/faulty.rs"]
mod faulty;

use std::time::{Duration, Instant};

use alloy::providers::Provider as _;
use faulty::{Fault, TIMEOUT, options, serve};
use galen_chain::{
    ChainError,
    rpc::{Agreeing, RpcOptions, connect_agreeing},
};
use galen_types::ErrorKind;

/// What the good nodes of these tests say.
const CHAIN: u64 = 31_337;

const FAULTS: [Fault; 20] = [
    Fault::Silent,
    Fault::Closed,
    Fault::CutOff,
    Fault::Drip,
    Fault::Truncated,
    Fault::NotUtf8,
    Fault::Html,
    Fault::Empty,
    Fault::WrongId,
    Fault::WrongType,
    Fault::Batch,
    Fault::Huge,
    Fault::Endless,
    Fault::Limited,
    Fault::LimitedInJson,
    Fault::Broken,
    Fault::Forbidden,
    Fault::Redirect,
    Fault::OtherChain,
    Fault::NodeError,
];

async fn nodes(faults: [Fault; 3]) -> Vec<String> {
    let mut urls = Vec::new();
    for fault in faults {
        urls.push(serve(fault, usize::MAX).await.0);
    }
    urls
}

/// Whatever it is and wherever it sits, nobody waits for it.
#[tokio::test]
async fn one_faulty_node_of_three_costs_nothing() {
    // Whoever waits for a silent node waits this long.
    let timeout = Duration::from_secs(3);
    for fault in FAULTS {
        for place in 0..3 {
            let mut faults = [Fault::None; 3];
            faults[place] = fault;
            let provider =
                connect_agreeing(&nodes(faults).await, 2, RpcOptions { timeout, ..options() })
                    .unwrap();
            let start = Instant::now();
            assert_eq!(provider.get_chain_id().await.unwrap(), CHAIN, "{fault:?} at {place}");
            assert!(start.elapsed() < timeout, "{fault:?} at {place}: {:?}", start.elapsed());
        }
    }
}

#[tokio::test]
async fn two_faulty_nodes_of_three_are_an_error_in_bounded_time() {
    let bound = TIMEOUT + Duration::from_secs(1);
    for fault in FAULTS {
        let urls = nodes([fault, Fault::None, fault]).await;
        let chain_id = (fault == Fault::OtherChain).then_some(CHAIN);
        let options = RpcOptions { chain_id, retries: 0, ..options() };
        let provider = connect_agreeing(&urls, 2, options).unwrap();
        let start = Instant::now();
        let error = ChainError::from(provider.get_chain_id().await.unwrap_err());
        assert!(start.elapsed() < bound, "{fault:?} took {:?}", start.elapsed());
        let expected = match fault {
            Fault::OtherChain => ErrorKind::Invalid,
            _ => ErrorKind::Unavailable,
        };
        assert_eq!(error.kind(), expected, "{fault:?}: {error:?}");
        let shown = format!("{error} {error:?} {provider:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("key-of-mine"), "{shown}");
    }
}

/// What passes is asked for again, from all.
#[tokio::test]
async fn two_passing_faults_are_survived() {
    for fault in [Fault::Closed, Fault::Html, Fault::Limited, Fault::Broken] {
        let (first, _) = serve(fault, 1).await;
        let (second, _) = serve(fault, 1).await;
        let (third, _) = serve(Fault::Silent, usize::MAX).await;
        let provider = connect_agreeing(&[first, second, third], 2, options()).unwrap();
        assert_eq!(provider.get_chain_id().await.unwrap(), CHAIN, "{fault:?}");
    }
}

#[tokio::test]
async fn a_node_that_nobody_listens_at_costs_nothing() {
    let mut urls = nodes([Fault::None; 3]).await;
    urls[0] = "http://127.0.0.1:1".to_owned();
    let provider = connect_agreeing(&urls, 2, options()).unwrap();
    assert_eq!(provider.get_chain_id().await.unwrap(), CHAIN);
}

#[test]
fn a_quorum_is_more_than_half_of_different_nodes() {
    let url = |n: usize| format!("http://127.0.0.1:{}", 9_000 + n);
    for (count, quorum, fits) in [
        (1, 1, true),
        (2, 2, true),
        (3, 2, true),
        (3, 3, true),
        (5, 3, true),
        (16, 9, true),
        (0, 0, false),
        (1, 0, false),
        (2, 1, false),
        (3, 1, false),
        (3, 4, false),
        (4, 2, false),
        (17, 9, false),
    ] {
        let urls: Vec<String> = (0..count).map(url).collect();
        let made = Agreeing::connect(&urls, quorum, options());
        assert_eq!(made.is_ok(), fits, "{quorum} of {count}");
    }
    let twice = [url(1), url(1), url(2)];
    assert!(connect_agreeing(&twice, 2, options()).is_err());
    let far = ["http://node.example/key", "http://127.0.0.1:1", "http://127.0.0.1:2"];
    let error = connect_agreeing(&far, 2, options()).unwrap_err();
    assert!(matches!(error, ChainError::PlainHttp { .. }), "{error:?}");
}
