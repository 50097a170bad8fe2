//! `galen relay` as a process: a patient without ether, a relay that is killed, and its queue.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use alloy_primitives::{Address, B256};
use galen_chain::{
    Account, KeySigner, Ledger, Payer, RelayOptions, deploy,
    rpc::{self, RpcOptions},
};
use galen_crypto::{Keystore, keystore::Cost};
use galen_types::{ContentRef, KeyBundleId};
use serde_json::Value;

const LATER: u64 = 4_000_000_000;
const PASSWORD: &str = "correct horse battery staple";

struct Process {
    child: Child,
    ready: Value,
}

impl Process {
    fn start(home: &Path, args: &[&str]) -> Self {
        let mut child = galen(home, args).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap();
        Self { child, ready }
    }

    fn url(&self) -> &str {
        self.ready["url"].as_str().unwrap()
    }

    /// `kill -9`, and what it wrote to stderr.
    fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut said).unwrap();
        }
        said
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn galen(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_galen"));
    for variable in ["ETH_RPC_URL", "ETH_PASSWORD", "GALEN_PROFILE"] {
        command.env_remove(variable);
    }
    command.env("GALEN_HOME", home).args(args).stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

/// A keystore with its password, readable by nobody else, and its address.
fn keystore(home: &Path) -> Address {
    let key = KeySigner::random();
    let address = Account::new(key.clone()).id();
    let cost = Cost::from_log_n(12).unwrap();
    let sealed =
        Keystore::encrypt(&key.export_key(), PASSWORD.as_bytes(), Some(address), cost).unwrap();
    fs::create_dir_all(home.join("keystores")).unwrap();
    for (path, text) in [("keystores/relay", sealed.to_json()), ("password", PASSWORD.to_owned())] {
        fs::write(home.join(path), text).unwrap();
        fs::set_permissions(home.join(path), fs::Permissions::from_mode(0o600)).unwrap();
    }
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_publishes_keys_through_a_relay_that_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    let dev = Process::start(home, &["dev", "--listen", "127.0.0.1:0", "--json", "--quiet"]);
    let provider = rpc::connect(&[dev.url()], RpcOptions::default()).unwrap();

    // The first of the accounts whose keys everybody knows deploys.
    let words = galen_devchain::WELL_KNOWN_MNEMONIC;
    let deployer = Account::new(galen_chain::key_from_mnemonic(words, 0).unwrap());
    let founders = [Account::random().id()];
    let made = deploy(provider.clone(), &deployer, &founders, B256::ZERO).await.unwrap();
    let ledger = Ledger::connect(provider.clone(), made.ledger, made.block).await.unwrap();
    let book = format!(
        "[here]\nchain_id = 31337\nledger = \"{:#x}\"\ndeployed_in = {}\ncode_hash = \"{:#x}\"\n\
         salt = \"{:#x}\"\nrpc_urls = [\"{}\"]\n",
        made.ledger,
        made.block,
        ledger.code_hash().await.unwrap(),
        B256::ZERO,
        dev.url()
    );
    fs::write(home.join("networks.toml"), &book).unwrap();

    let wallet = keystore(home);
    let password = home.join("password").display().to_string();
    let address = format!("{wallet:#x}");
    let funded = galen(home, &["dev", "fund", &address, "--rpc-url", dev.url()]).output().unwrap();
    assert!(funded.status.success());
    let args = ["relay", "--network", "here", "--listen", "127.0.0.1:0", "--json"];
    let args = [&args[..], &["--account", "relay", "--password-file", &password]].concat();

    let mut said = Vec::new();
    for _ in 0..2 {
        let relay = Process::start(home, &args);
        assert_eq!(relay.ready["wallet"], address);
        let payer = Payer::relay(provider.clone(), relay.url(), RelayOptions::default()).unwrap();
        let paid = ledger.with_payer(payer);
        let patient = Account::random();
        let (bundle, content) =
            (KeyBundleId(B256::repeat_byte(7)), ContentRef::swarm(B256::repeat_byte(8)));
        let none = KeyBundleId(B256::ZERO);
        let sent = paid.publish_keys(&patient, none, bundle, content, LATER).await.unwrap();
        let said_now = relay.kill();
        assert!(said_now.contains(&format!("transaction={:#x}", sent.transaction)), "{said_now}");
        said.push(said_now);
    }
    // The queue is where every wallet's is, and the log has no secret.
    assert!(home.join(format!("queue/31337-{address}")).is_dir());
    assert!(
        said.iter()
            .all(|said| said.contains(" sent publishKeys id=0x") && !said.contains(PASSWORD))
    );

    // Code that is not in the book.
    let code_hash = format!("{:#x}", ledger.code_hash().await.unwrap());
    let changed = book.replace(&code_hash, &format!("{:#x}", B256::repeat_byte(1)));
    fs::write(home.join("networks.toml"), changed).unwrap();
    let refused = galen(home, &args).output().unwrap();
    assert_eq!(refused.status.code(), Some(5));
}
