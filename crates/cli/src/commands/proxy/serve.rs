//! `galen proxy serve`.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use alloy_primitives::Address;
use galen_chain::{Account, HistoryMode, rpc};
use galen_index::HistoryOptions;
use galen_sdk::{Galen, Identity, Role};
use galen_services::{
    http,
    proxy::{Proxy, ProxyConfig, ProxyLimits, rules::Policy},
};
use serde::Serialize;

use crate::{
    args::{Globals, ProxyServeArgs},
    commands::{
        dev::{interrupted, listen},
        relay::now,
    },
    connect,
    error::CliError,
    networks::Network,
    profile::Profile,
    session::{progress, unlock_seed},
    settings::Settings,
    ui::Ui,
    unlock::{Keyring, LockedSigner},
    wallet,
};

/// What `--json` prints once the proxy answers.
#[derive(Debug, Serialize)]
struct Ready {
    url: String,
    proxy: Address,
    chain_id: u64,
    ledger: Address,
    /// Nodes that are asked.
    nodes: usize,
    /// How many must say the same.
    quorum: usize,
    data: PathBuf,
}

pub(super) async fn run(args: &ProxyServeArgs, globals: &Globals, ui: &Ui) -> Result<(), CliError> {
    let settings = Settings::resolve(globals)?;
    let profile = settings.require_profile()?.clone();
    let network = settings.require_network()?.1.clone();
    let urls = settings.rpc_urls.as_ref().map(|urls| urls.value.clone()).unwrap_or_default();
    let quorum = quorum(args, urls.len())?;
    let identity = identity(&settings, &profile, ui)?;
    let place = settings.home.value.profile(&settings.profile.value);
    let data = args.data.clone().unwrap_or_else(|| place.proxy());
    let history = data.join("history");
    let galen = galen(&settings, &network, &urls, quorum, history, ui).await?;
    require_keys(&galen, &identity, ui).await?;
    let nodes = (urls.len(), quorum);
    let config = ProxyConfig {
        galen,
        identity,
        directory: data.clone(),
        policy: policy(args),
        limits: ProxyLimits::default(),
        nodes,
        trust_forwarded_for: args.trust_forwarded_for,
    };
    let log = ui.clone();
    let opened = Proxy::new(config, move |entry| log.status(&format!("{} {entry}", now())));
    let proxy = opened.map_err(|source| CliError::ProxyStore { path: data.clone(), source })?;
    let listener = listen(args.listen).await?;
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        ui.status(&format!(
            "Others can reach {address}, in plain HTTP: put a reverse proxy with TLS before it."
        ));
    }
    let ready = Ready {
        url: format!("http://{address}"),
        proxy: profile.id,
        chain_id: network.chain_id,
        ledger: network.ledger,
        nodes: urls.len(),
        quorum,
        data,
    };
    ui.status(&format!(
        "Proxy {:#x} for {:#x}; {quorum} of {} nodes must agree. Ctrl-C ends it.",
        ready.proxy, ready.ledger, ready.nodes
    ));
    let stop = interrupted();
    if ui.json() {
        ui.object_line(&ready)?
    } else {
        ui.line(&ready.url)?
    }
    let follower = proxy.clone();
    let following =
        tokio::spawn(async move { follower.follow(std::future::pending::<()>()).await });
    http::serve(listener, proxy.router(), Proxy::http_limits(), stop).await;
    following.abort();
    ui.status("Stopped.");
    Ok(())
}

/// How many nodes must agree: more than half and at least two, unless the only one is one's own.
fn quorum(args: &ProxyServeArgs, nodes: usize) -> Result<usize, CliError> {
    const MORE: &str = "name nodes of people who do not depend on each other: --rpc-url URL,URL,URL; or take \
                        your own node's word alone with --own-node: whoever controls it then decides what counts \
                        as logged";
    if nodes == 0 {
        return Err(CliError::invalid("no node is named", MORE));
    }
    if args.own_node {
        if nodes > 1 {
            let help = "leave --own-node out, or name the one node with --rpc-url";
            return Err(CliError::invalid(
                format!("--own-node is for one node, not {nodes}"),
                help,
            ));
        }
        return Ok(1);
    }
    if nodes == 1 {
        return Err(CliError::invalid("a proxy does not believe one node alone", MORE));
    }
    let quorum = args.quorum.unwrap_or(nodes / 2 + 1);
    // Two groups that say different things must not both be enough.
    if quorum <= nodes / 2 || quorum > nodes {
        let text = format!("{quorum} of {nodes} nodes is not more than half of them");
        return Err(CliError::invalid(
            text,
            "leave --quorum out, or give a number of nodes above half",
        ));
    }
    Ok(quorum)
}

fn policy(args: &ProxyServeArgs) -> Policy {
    let max_head_age = args.max_head_age.0.map(|age| age.as_secs());
    Policy { window: args.window.seconds(), max_head_age, ..Policy::default() }
}

/// Who the proxy is, unlocked at once: nobody is there to ask when the first reader comes.
fn identity(settings: &Settings, profile: &Profile, ui: &Ui) -> Result<Identity, CliError> {
    if profile.role == Role::Patient {
        let help = "make a profile for it: `galen init --profile proxy --role organization`";
        return Err(CliError::invalid("a patient's profile serves no proxy", help));
    }
    if profile.safe.is_some() || profile.device.is_some() {
        return Err(CliError::invalid(
            "a proxy signs by itself, and this profile's key is on a device or behind a contract wallet",
            "make a profile for it that has a keystore: `galen init --profile proxy`",
        ));
    }
    let place = settings.home.value.profile(&settings.profile.value);
    let keyring = Arc::new(Mutex::new(Keyring::new(ui.clone(), settings.password_file())));
    let seed = unlock_seed(&place, &keyring)?;
    let wallet = LockedSigner::new(profile.controller(), wallet::locate(settings)?, keyring);
    let account = Account::new(wallet.key()?.clone()).for_id(profile.id);
    Ok(Identity::new(account, &seed))
}

/// The network as enough nodes say it is, block by block.
async fn galen(
    settings: &Settings,
    network: &Network,
    urls: &[String],
    quorum: usize,
    directory: PathBuf,
    ui: &Ui,
) -> Result<Galen, CliError> {
    let options = rpc::RpcOptions {
        timeout: settings.timeout.value.min(rpc::RpcOptions::default().timeout),
        chain_id: Some(network.chain_id),
        allow_plain_http: settings.allow_plain_http.value,
        ..rpc::RpcOptions::default()
    };
    let failed = |source| CliError::Chain { doing: "reach the nodes", source };
    let node = rpc::connect_agreeing(urls, quorum, options).map_err(failed)?;
    let ledger = ui.waiting("the nodes to agree", connect::ledger(&node, network)).await?;
    let storage = settings.open_stores(ui).await?;
    let history = HistoryOptions {
        // Every header is linked to its parent, every receipt to its header: who agrees on the head agrees on all.
        mode: HistoryMode::Blocks,
        // Its own: what others of this home read may rest on one node's word.
        directory: Some(directory),
        finality: network.finality,
        progress: Some(progress(ui)),
    };
    Ok(Galen::with_history(ledger, storage, history))
}

/// Patients seal shares to the key that the chain names; one that does not open here helps nobody.
async fn require_keys(galen: &Galen, identity: &Identity, ui: &Ui) -> Result<(), CliError> {
    let keys = ui.waiting("the history to be read", galen.keys_of(identity.id())).await;
    match keys {
        Ok(bundle) if identity.is_of(&bundle) => Ok(()),
        Ok(_) => Err(CliError::invalid(
            "the ledger names keys of another seed for this id",
            "bring the seed back: `galen wallet restore`",
        )),
        Err(galen_sdk::Error::NoKeys(_)) => Err(CliError::not_found(
            "the keys of this profile are not published",
            "`galen init` publishes them; run it again",
        )),
        Err(source) => Err(CliError::Sdk { doing: "look up the own keys", source }),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command, ProxyCommand};

    fn args(flags: &[&str]) -> ProxyServeArgs {
        let words = [&["galen", "proxy", "serve"], flags].concat();
        match Cli::try_parse_from(words).unwrap().command {
            Command::Proxy(ProxyCommand::Serve(args)) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn more_than_half_of_the_nodes_and_never_one_alone_unless_it_is_ones_own() {
        for (flags, nodes, expected) in [
            (&[][..], 0, None),
            (&[], 1, None),
            (&[], 2, Some(2)),
            (&[], 3, Some(2)),
            (&[], 4, Some(3)),
            (&["--quorum", "3"], 3, Some(3)),
            (&["--quorum", "4"], 3, None),
            (&["--quorum", "1"], 3, None),
            (&["--quorum", "2"], 4, None),
            (&["--quorum", "0"], 2, None),
            (&["--own-node"], 0, None),
            (&["--own-node"], 1, Some(1)),
            (&["--own-node"], 2, None),
        ] {
            assert_eq!(quorum(&args(flags), nodes).ok(), expected, "{flags:?} of {nodes}");
        }
    }

    #[test]
    fn times_are_what_the_flags_say() {
        assert_eq!(policy(&args(&[])).window, 3_600);
        assert_eq!(policy(&args(&[])).max_head_age, Some(600));
        let other = policy(&args(&["--window", "5m", "--max-head-age", "none"]));
        assert_eq!((other.window, other.max_head_age), (300, None));
    }
}
