//! Servers on loopback that answer JSON-RPC badly.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use galen_chain::rpc::RpcOptions;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What a server does with a request, whose JSON id it gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
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

pub(crate) const TIMEOUT: Duration = Duration::from_millis(400);
const MAX_RESPONSE: usize = 64 << 10;

pub(crate) fn options() -> RpcOptions {
    RpcOptions {
        timeout: TIMEOUT,
        retries: 1,
        max_response: MAX_RESPONSE,
        chain_id: None,
        ..RpcOptions::default()
    }
}

/// Serves `first` to as many requests as `times` says, then the right answer. Counts requests.
pub(crate) async fn serve(first: Fault, times: usize) -> (String, Arc<AtomicUsize>) {
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
        Fault::WrongType => ("200 OK", right.replace(&format!("\"{result}\""), "{\"a\":[]}")),
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
