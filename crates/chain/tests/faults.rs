//! Nodes that stall, break off, limit, and talk nonsense: every single call ends with a typed error
//! within its bound, or with the right answer of another try or another node.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/faulty.rs"]
mod faulty;

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use alloy::providers::Provider as _;
use faulty::{Fault, TIMEOUT, options, serve};
use galen_chain::{
    ChainError,
    rpc::{RpcOptions, connect},
};
use galen_types::ErrorKind;

/// The name of the variant alone: the rest differs with the port.
fn name(error: &ChainError) -> String {
    let text = format!("{error:?}");
    text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn every_fault_of_a_node_is_a_typed_error_in_bounded_time() {
    use ErrorKind::{Invalid, Unavailable};
    // Two tries, each within the timeout, and the pause between them.
    let bound = TIMEOUT * 2 + Duration::from_secs(1);
    for (fault, expected, kind, tries) in [
        (Fault::Silent, "TimedOut", Unavailable, 2),
        (Fault::Closed, "Unreachable", Unavailable, 2),
        (Fault::CutOff, "Unreachable", Unavailable, 2),
        (Fault::Drip, "TimedOut", Unavailable, 2),
        (Fault::Truncated, "Malformed", Unavailable, 2),
        (Fault::NotUtf8, "Malformed", Unavailable, 2),
        (Fault::Html, "Malformed", Unavailable, 2),
        (Fault::Empty, "Malformed", Unavailable, 2),
        (Fault::WrongId, "Malformed", Unavailable, 2),
        (Fault::Batch, "Malformed", Unavailable, 2),
        (Fault::WrongType, "Node", Unavailable, 1),
        (Fault::Huge, "TooLarge", Unavailable, 1),
        (Fault::Endless, "TooLarge", Unavailable, 1),
        (Fault::Limited, "RateLimited", Unavailable, 2),
        (Fault::LimitedInJson, "RateLimited", Unavailable, 2),
        (Fault::Broken, "HttpStatus", Unavailable, 2),
        (Fault::Forbidden, "HttpStatus", Unavailable, 1),
        (Fault::Redirect, "HttpStatus", Unavailable, 1),
        (Fault::NodeError, "Node", Unavailable, 1),
        (Fault::OtherChain, "OtherChain", Invalid, 1),
    ] {
        let (url, count) = serve(fault, usize::MAX).await;
        let chain_id = (fault == Fault::OtherChain).then_some(31_337);
        let provider = connect(&[url], RpcOptions { chain_id, ..options() }).unwrap();
        let start = Instant::now();
        let error = ChainError::from(provider.get_block_number().await.unwrap_err());
        assert!(start.elapsed() < bound, "{fault:?} took {:?}", start.elapsed());
        assert_eq!((name(&error).as_str(), error.kind()), (expected, kind), "{fault:?}: {error:?}");
        assert_eq!(count.load(Ordering::SeqCst), tries, "{fault:?}");
        let shown = format!("{error} {error:?} {provider:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("key-of-mine"), "{shown}");
    }
}

#[tokio::test]
async fn a_passing_fault_is_survived_by_trying_again_or_elsewhere() {
    for fault in [Fault::Silent, Fault::Closed, Fault::Html, Fault::Limited, Fault::Broken] {
        let (url, count) = serve(fault, 1).await;
        let provider = connect(&[url], options()).unwrap();
        assert_eq!(provider.get_block_number().await.unwrap(), 0x2a, "{fault:?}");
        assert_eq!(count.load(Ordering::SeqCst), 2, "{fault:?}");

        let (bad, tried) = serve(fault, usize::MAX).await;
        let (good, served) = serve(Fault::None, 0).await;
        let provider = connect(&[bad, good], options()).unwrap();
        for _ in 0..3 {
            assert_eq!(provider.get_block_number().await.unwrap(), 0x2a, "{fault:?}");
        }
        // It stays with the one that answers.
        let counts = (tried.load(Ordering::SeqCst), served.load(Ordering::SeqCst));
        assert_eq!(counts, (1, 3), "{fault:?}");
    }
}

#[tokio::test]
async fn what_changes_the_chain_is_sent_once() {
    let (url, count) = serve(Fault::Broken, usize::MAX).await;
    let provider = connect(&[url], options()).unwrap();
    let sent = provider.send_raw_transaction(&[1, 2, 3]).await;
    let error = ChainError::from(sent.map(|_| ()).unwrap_err());
    assert!(matches!(error, ChainError::HttpStatus { status: 502, .. }), "{error:?}");
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[test]
fn plain_http_stays_on_this_machine() {
    for (url, fits) in [
        ("http://127.0.0.1:8545", true),
        ("http://localhost", true),
        ("http://[::1]:8545", true),
        ("https://node.example/key", true),
        ("http://node.example/key", false),
        ("http://127.0.0.1.example", false),
        ("ftp://127.0.0.1", false),
        ("127.0.0.1:8545", false),
        ("", false),
    ] {
        let result = connect(&[url], options());
        assert_eq!(result.is_ok(), fits, "{url}");
        if let Err(error) = result {
            assert!(!error.to_string().contains("key"), "{error}");
            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
    }
    let allowed = RpcOptions { allow_plain_http: true, ..options() };
    assert!(connect(&["http://node.example"], allowed).is_ok());
    assert!(connect(&[""; 0], options()).is_err());
}
