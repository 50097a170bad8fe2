//! A proxy that is sent what lies in a folder and says what it answered, for `tests/proxy_kill.rs` to kill.
//!
//! `hammer_proxy DIRECTORY`: `stage.json`, the chain, the content and the requests are in there, the store will be.
#![allow(clippy::unwrap_used, reason = "it is there to be stopped")]
#![allow(clippy::print_stdout, reason = "what it acknowledged")]

#[allow(dead_code, reason = "shared with tests that need more of it")]
#[path = "../tests/proxy/stage.rs"]
mod stage;

use std::{env, fs, io::Write as _, path::PathBuf};

use galen_chain::Ledger;
use galen_devchain::DevChain;
use galen_storage::Storage;
use serde_json::Value;

use stage::{Node, chain_config, proxy_config};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let directory = PathBuf::from(env::args().nth(1).unwrap());
    let stage: Value =
        serde_json::from_slice(&fs::read(directory.join("stage.json")).unwrap()).unwrap();
    let number = |name: &str| stage[name].as_u64().unwrap();
    let chain = DevChain::open(directory.join("chain"), chain_config(number("genesis"))).unwrap();
    let address = stage["ledger"].as_str().unwrap().parse().unwrap();
    let ledger = Ledger::connect(chain.provider(), address, number("block")).await.unwrap();
    let storage = Storage::local(directory.join("content")).await.unwrap();
    let node = Node::new(proxy_config(ledger, storage, 0, &directory.join("store")));
    let mut requests: Vec<PathBuf> = fs::read_dir(directory.join("requests"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    requests.sort_unstable();
    for request in requests {
        let name = request.file_name().unwrap().to_str().unwrap();
        let path = format!("/v1/{}", name.split_once('-').unwrap().1);
        let (status, _) = node.post(&path, fs::read(&request).unwrap()).await;
        let mut out = std::io::stdout();
        out.write_all(format!("{name} {status}\n").as_bytes()).unwrap();
        out.flush().unwrap();
    }
}
