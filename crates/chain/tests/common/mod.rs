//! An anvil process on loopback.
#![allow(dead_code, reason = "every test uses some of it")]

use std::{
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use alloy::{
    network::Ethereum,
    providers::{DynProvider, Provider as _},
};
use galen_chain::{
    Account, key_from_mnemonic,
    rpc::{RpcOptions, connect},
};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const PATIENCE: Duration = Duration::from_secs(20);

/// The mnemonic of Hardhat and anvil.
const JUNK: &str = "test test test test test test test test test test test junk";

/// An account that has ether on anvil.
pub(crate) fn account(index: u32) -> Account {
    Account::new(key_from_mnemonic(JUNK, index).unwrap())
}

/// The example that fills a queue: built by `cargo test` beside the tests, unless it is told to run one alone.
pub(crate) fn hammer() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let hammer = test.ancestors().nth(2).unwrap().join("examples/hammer_queue");
    assert!(hammer.exists(), "run `cargo build -p galen-chain --example hammer_queue` first");
    hammer
}

pub(crate) struct Anvil {
    process: Child,
    pub(crate) url: String,
    pub(crate) provider: DynProvider<Ethereum>,
}

impl Anvil {
    /// `None`, said aloud, without the program that `GALEN_ANVIL` names.
    pub(crate) fn start(arguments: &[&str]) -> Option<Self> {
        let Ok(program) = std::env::var("GALEN_ANVIL") else {
            let required = std::env::var("GALEN_REQUIRE_ANVIL").is_ok_and(|value| value == "1");
            assert!(!required, "anvil is required and GALEN_ANVIL is not set");
            eprintln!("skipped: GALEN_ANVIL is not set");
            return None;
        };
        // Free now, and nobody else on this machine is waiting for this one.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(program)
            .args(["--host", "127.0.0.1", "--port", &port.to_string(), "--quiet"])
            .args(arguments)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let provider = connect(&[&url], RpcOptions::default()).unwrap();
        let anvil = Self { process, url, provider };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < PATIENCE, "anvil does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(anvil)
    }

    pub(crate) async fn request(&self, method: &'static str, params: Value) -> Value {
        self.provider.raw_request(method.into(), params).await.unwrap()
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Answers HTTP requests on loopback: `answer` gets `METHOD PATH` and the body, JSON or else as text, and gives
/// status and body.
pub(crate) async fn serve<F>(answer: impl Fn(String, Value) -> F + Send + Sync + 'static) -> String
where
    F: Future<Output = (u16, Value)> + Send + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                let (line, body) = loop {
                    let mut part = [0; 4096];
                    let read = stream.read(&mut part).await.unwrap();
                    bytes.extend_from_slice(&part[..read]);
                    let text = String::from_utf8_lossy(&bytes);
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let line = head.split(" HTTP").next().unwrap().to_owned();
                    let head = head.to_lowercase();
                    let length = head.split("content-length: ").nth(1);
                    let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
                    if body.len() >= length.unwrap_or(0) {
                        let parsed = serde_json::from_str(body);
                        break (line, parsed.unwrap_or_else(|_| Value::String(body.to_owned())));
                    }
                    assert!(read > 0, "half a request");
                };
                let (status, body) = answer(line, body).await;
                let (body, length) = (body.to_string(), body.to_string().len());
                let text = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                stream.write_all(text.as_bytes()).await.unwrap();
            });
        }
    });
    url
}
