//! An anvil process on loopback, and JSON-RPC to it over a plain socket.

use std::{
    cell::RefCell,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

/// The program, if the environment names one.
pub fn program() -> Option<String> {
    let program = std::env::var("GALEN_ANVIL").ok();
    if program.is_none() {
        let required = std::env::var("GALEN_REQUIRE_ANVIL").is_ok_and(|value| value == "1");
        assert!(!required, "GALEN_ANVIL is required and not set");
        eprintln!("skipped: GALEN_ANVIL does not name the program");
    }
    program
}

/// JSON-RPC over one connection that stays open.
pub struct Rpc(RefCell<BufReader<TcpStream>>);

impl Rpc {
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(RefCell::new(BufReader::new(stream)))
    }

    /// The result, or the error object.
    pub fn request(&self, method: &str, params: &Value) -> Result<Value, Value> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let body = body.to_string();
        let mut stream = self.0.borrow_mut();
        let request = format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.get_mut().write_all(request.as_bytes()).unwrap();
        let mut length = None;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            match line.trim_end().to_ascii_lowercase().split_once(": ") {
                Some(("content-length", value)) => length = value.parse::<usize>().ok(),
                Some(_) => {}
                None if line == "\r\n" => break,
                None => assert!(line.starts_with("HTTP/1.1 200"), "{line}"),
            }
        }
        let mut answer = vec![0; length.expect("a length")];
        stream.read_exact(&mut answer).unwrap();
        let mut answer: Value = serde_json::from_slice(&answer).unwrap();
        match answer.get_mut("error") {
            Some(error) => Err(error.take()),
            None => Ok(answer["result"].take()),
        }
    }
}

pub struct Anvil {
    process: Child,
    port: u16,
    rpc: Rpc,
}

impl Anvil {
    /// Starts the program with the rules of the embedded chain.
    pub fn start(program: &str) -> Self {
        // Free now, and nobody else on this machine is waiting for this one.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(program)
            .args(["--host", "127.0.0.1", "--port", &port.to_string(), "--quiet"])
            .args(["--hardfork", "osaka", "--chain-id", "31337", "--gas-limit", "60000000"])
            .args(["--enable-tx-gas-limit", "--disable-min-priority-fee"])
            .args(["--block-base-fee-per-gas", "1000000000"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < PATIENCE, "anvil does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { process, port, rpc: Rpc::connect(port) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The result, or the error object.
    pub fn request(&self, method: &str, params: &Value) -> Result<Value, Value> {
        self.rpc.request(method, params)
    }

    /// The receipt, once there is one.
    pub fn receipt(&self, hash: &Value) -> Value {
        let start = Instant::now();
        loop {
            let receipt = self.request("eth_getTransactionReceipt", &json!([hash])).unwrap();
            if !receipt.is_null() {
                return receipt;
            }
            assert!(start.elapsed() < PATIENCE, "anvil does not mine {hash}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
