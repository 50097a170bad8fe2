//! An anvil process on loopback, and JSON-RPC to it over a plain socket.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

pub struct Anvil {
    process: Child,
    port: u16,
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
        let anvil = Self { process, port };
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < PATIENCE, "anvil does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        anvil
    }

    /// The result, or the error object.
    pub fn request(&self, method: &str, params: &Value) -> Result<Value, Value> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let body = body.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // HTTP/1.0: the answer ends with the connection and comes in one piece.
        write!(
            stream,
            "POST / HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let mut answer: Value = serde_json::from_str(body).unwrap();
        match answer.get_mut("error") {
            Some(error) => Err(error.take()),
            None => Ok(answer["result"].take()),
        }
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
