//! Nodes that stall, break off, limit, and talk nonsense: every single call ends with a typed error
//! within its bound, or with the right answer of another try or another node.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use alloy::providers::Provider as _;
use galen_chain::{
    ChainError,
    rpc::{RpcOptions, connect},
};
use galen_types::ErrorKind;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What a server does with a request, whose JSON id it gets.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// Takes the request and says nothing.
    Silent,
    /// Closes before a byte of the answer.
    Closed,
    /// Closes in the middle of the body.
    CutOff,
    /// A byte now and then, for ever.
    Drip,
    Truncated,
    NotUtf8,
    Html,
    Empty,
    WrongId,
    WrongType,
    Batch,
    Huge,
    Endless,
    Limited,
    LimitedInJson,
    Broken,
    Forbidden,
    Redirect,
    OtherChain,
    NodeError,
}

const TIMEOUT: Duration = Duration::from_millis(400);
const MAX_RESPONSE: usize = 64 << 10;

fn options() -> RpcOptions {
    RpcOptions {
        timeout: TIMEOUT,
        retries: 1,
        max_response: MAX_RESPONSE,
        chain_id: None,
        ..RpcOptions::default()
    }
}

/// Serves `first` to as many requests as `times` says, then the right answer. Counts requests.
async fn serve(first: Fault, times: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://someone:s3cret@{}/key-of-mine", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let mut stream = stream;
                let Some((id, method)) = request(&mut stream).await else { return };
                let fault =
                    if seen.fetch_add(1, Ordering::SeqCst) < times { first } else { Fault::None };
                answer(&mut stream, fault, &id, &method).await;
            });
        }
    });
    (url, count)
}

/// Reads one request; its JSON id and method.
async fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).await.ok()?;
        if read == 0 {
            return None;
        }
        bytes.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((_, body)) = text.split_once("\r\n\r\n")
            && let Ok(json) = serde_json::from_str::<serde_json::Value>(body)
        {
            return Some((json["id"].to_string(), json["method"].as_str()?.to_owned()));
        }
    }
}

async fn answer(stream: &mut TcpStream, fault: Fault, id: &str, method: &str) {
    let result = if method == "eth_chainId" { "0x7a69" } else { "0x2a" };
    let right = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"{result}"}}"#);
    let (status, body) = match fault {
        Fault::None => ("200 OK", right),
        Fault::Silent => return tokio::time::sleep(Duration::from_secs(60)).await,
        Fault::Closed => return,
        Fault::CutOff => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{right}");
            let _ = stream.write_all(head.as_bytes()).await;
            return;
        }
        Fault::Drip => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n").await;
            while stream.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            return;
        }
        Fault::Truncated => ("200 OK", right[..right.len() - 4].to_owned()),
        Fault::NotUtf8 => {
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(&[head.as_bytes(), b"{\"id\":\"\xff\""].concat()).await;
            return;
        }
        Fault::Html => ("200 OK", "<html>Welcome to the hotel</html>".to_owned()),
        Fault::Empty => ("200 OK", String::new()),
        Fault::WrongId => ("200 OK", right.replace(&format!(":{id},"), ":987654,")),
        Fault::WrongType => ("200 OK", right.replace("\"0x2a\"", "{\"a\":[]}")),
        Fault::Batch => ("200 OK", format!("[{right}]")),
        Fault::Huge => ("200 OK", format!("{right}{}", " ".repeat(MAX_RESPONSE))),
        Fault::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(&[b' '; 4096]).await.is_ok() {}
            return;
        }
        Fault::Limited => ("429 Too Many Requests\r\nretry-after: 0", String::new()),
        Fault::LimitedInJson => (
            "200 OK",
            format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":429,"message":"slow down"}}}}"#
            ),
        ),
        Fault::Broken => ("502 Bad Gateway", "<html>bad gateway</html>".to_owned()),
        Fault::Forbidden => ("403 Forbidden", "no".to_owned()),
        Fault::Redirect => ("307 Away\r\nlocation: http://127.0.0.1:9/", String::new()),
        Fault::OtherChain => ("200 OK", format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"0x1"}}"#)),
        Fault::NodeError => (
            "500 Internal Server Error",
            format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32000,"message":"no"}}}}"#),
        ),
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    let _ = stream.write_all([head, body].concat().as_bytes()).await;
}

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
