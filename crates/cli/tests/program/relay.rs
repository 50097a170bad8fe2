//! `galen relay` as a process: a patient without ether, a relay that is killed, and its queue.

use std::{fs, process::Command};

use alloy_primitives::{Address, B256};
use galen_chain::{
    Account, KeySigner, Ledger, Payer, RelayOptions, deploy,
    rpc::{self, RpcOptions},
};
use galen_crypto::{Keystore, keystore::Cost};
use galen_types::{ContentRef, KeyBundleId};

use crate::common::{MNEMONIC, PASSWORD, Place, Said, Server, galen};

const LATER: u64 = 4_000_000_000;

fn of(home: &Place, args: &[&str]) -> Command {
    let mut command = galen();
    command.env("GALEN_HOME", home.root()).args(args);
    command
}

/// A keystore with its password, readable by nobody else, and its address.
fn keystore(home: &Place) -> Address {
    let key = KeySigner::random();
    let address = Account::new(key.clone()).id();
    let cost = Cost::from_log_n(12).unwrap();
    let sealed =
        Keystore::encrypt(&key.export_key(), PASSWORD.as_bytes(), Some(address), cost).unwrap();
    fs::create_dir_all(home.file("keystores")).unwrap();
    home.private("keystores/relay", &sealed.to_json());
    home.private("password", PASSWORD);
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_publishes_keys_through_a_relay_that_is_killed() {
    let home = &Place::new();
    let dev = Server::chain();
    let provider = rpc::connect(&[dev.url()], RpcOptions::default()).unwrap();

    // The first of the accounts whose keys everybody knows deploys.
    let deployer = Account::new(galen_chain::key_from_mnemonic(MNEMONIC, 0).unwrap());
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
    home.write("networks.toml", &book);

    let wallet = keystore(home);
    let password = home.path("password");
    let address = format!("{wallet:#x}");
    let funded = Said::by(&mut of(home, &["dev", "fund", &address, "--rpc-url", dev.url()]));
    assert_eq!(funded.code, 0, "{}", funded.stderr);
    let args = ["relay", "--network", "here", "--listen", "127.0.0.1:0", "--json"];
    let args = [&args[..], &["--account", "relay", "--password-file", &password]].concat();

    let mut said = Vec::new();
    for _ in 0..2 {
        let relay = Server::start(&mut of(home, &args));
        assert_eq!(relay.ready["wallet"], address);
        let payer = Payer::relay(provider.clone(), relay.url(), RelayOptions::default()).unwrap();
        let paid = ledger.with_payer(payer);
        let patient = Account::random();
        let (bundle, content) =
            (KeyBundleId(B256::repeat_byte(7)), ContentRef::swarm(B256::repeat_byte(8)));
        let none = KeyBundleId(B256::ZERO);
        let sent = paid.publish_keys(&patient, none, bundle, content, LATER).await.unwrap();
        let said_now = relay.end("-KILL").1;
        assert!(said_now.contains(&format!("transaction={:#x}", sent.transaction)), "{said_now}");
        said.push(said_now);
    }
    // The queue is where every wallet's is, and the log has no secret.
    assert!(home.file(&format!("queue/31337-{address}")).is_dir());
    assert!(
        said.iter()
            .all(|said| said.contains(" sent publishKeys id=0x") && !said.contains(PASSWORD))
    );

    // Code that is not in the book.
    let code_hash = format!("{:#x}", ledger.code_hash().await.unwrap());
    let changed = book.replace(&code_hash, &format!("{:#x}", B256::repeat_byte(1)));
    home.write("networks.toml", &changed);
    let refused = Said::by(&mut of(home, &args));
    assert_eq!(refused.code, 5, "{}", refused.stderr);
}
