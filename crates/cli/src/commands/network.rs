//! `galen network`: the address book.

use std::process::ExitCode;

use alloy_primitives::{Address, B256};
use galen_chain::{Finality, HistoryMode};
use galen_sdk::Card;
use galen_types::LedgerId;
use serde::Serialize;

use crate::{
    args::{AddNetworkArgs, Globals, NetworkCommand},
    code::{Code, Kind},
    commands::block_on,
    connect::{self, Claim},
    error::CliError,
    home::Name,
    networks::{Network, Networks},
    settings::{Settings, shown_url},
    ui::Ui,
};

pub(crate) fn run(
    command: &NetworkCommand,
    globals: &Globals,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    let settings = Settings::resolve(globals)?;
    match command {
        NetworkCommand::List => list(&settings, ui)?,
        NetworkCommand::Add(args) => block_on(add(args, &settings, ui))?,
        NetworkCommand::Remove(args) => remove(&args.name.parse()?, &settings, ui)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// One network, as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    name: Name,
    chain_id: u64,
    ledger: Address,
    deployed_in: u64,
    code_hash: B256,
    salt: B256,
    /// Without user, password, path and query.
    nodes: Vec<String>,
    relay: Option<String>,
    allow_plain_http: bool,
    finality: Finality,
    history: HistoryMode,
    max_fee_gwei: u64,
    currency: String,
}

impl Shown {
    fn new(name: &Name, network: &Network) -> Self {
        Self {
            name: name.clone(),
            chain_id: network.chain_id,
            ledger: network.ledger,
            deployed_in: network.deployed_in,
            code_hash: network.code_hash,
            salt: network.salt,
            nodes: network.rpc_urls.iter().map(|url| shown_url(url)).collect(),
            relay: network.relay.as_deref().map(shown_url),
            allow_plain_http: network.allow_plain_http,
            finality: network.finality,
            history: network.history,
            max_fee_gwei: network.max_fee_gwei,
            currency: network.currency.clone(),
        }
    }
}

/// The result of `galen network list --json`.
#[derive(Debug, Serialize)]
struct List {
    networks: Vec<Shown>,
}

fn list(settings: &Settings, ui: &Ui) -> Result<(), CliError> {
    let networks = Networks::read(&settings.home.value)?;
    let networks: Vec<_> =
        networks.iter().map(|(name, network)| Shown::new(name, network)).collect();
    if ui.json() {
        return ui.object(&List { networks });
    }
    for Shown { name, chain_id, ledger, deployed_in, finality, nodes, .. } in &networks {
        let nodes = nodes.join(" ");
        ui.line(&format!("{name}\t{chain_id}\t{ledger:#x}\t{deployed_in}\t{finality}\t{nodes}"))?;
    }
    Ok(())
}

async fn add(args: &AddNetworkArgs, settings: &Settings, ui: &Ui) -> Result<(), CliError> {
    let name: Name = args.name.parse()?;
    let networks = Networks::read(&settings.home.value)?;
    let plain = networks.get(&name).is_some_and(|known| known.allow_plain_http);
    let settings = &settings.with_plain_http(args.allow_plain_http.unwrap_or(plain));
    let mut network = match networks.get(&name) {
        Some(known) if args.from.is_none() && args.ledger.is_none() => known.clone(),
        _ => claim(args, settings).await?.check(settings, args.trust_code, ui).await?.0,
    };
    if let Some(urls) = settings.rpc_urls.as_ref().filter(|urls| urls.origin.is_said_now()) {
        network.rpc_urls.clone_from(&urls.value);
    }
    if settings.relay.origin.is_said_now() {
        network.relay.clone_from(&settings.relay.value);
    }
    network.allow_plain_http = args.allow_plain_http.unwrap_or(network.allow_plain_http);
    network.finality = args.finality.unwrap_or(network.finality);
    network.history = args.history.unwrap_or(network.history);
    network.max_fee_gwei = args.max_fee_gwei.unwrap_or(network.max_fee_gwei);
    if let Some(currency) = &args.currency {
        network.currency.clone_from(currency);
    }
    connect::keep(&settings.home.value, Some(&name), network.clone())?;
    if ui.json() {
        return ui.object(&Shown::new(&name, &network));
    }
    ui.line(&format!("{name}\t{}\t{:#x}", network.chain_id, network.ledger))
}

async fn claim(args: &AddNetworkArgs, settings: &Settings) -> Result<Claim, CliError> {
    if let Some(source) = &args.from {
        let card = Card::decode(&Code::read(source, &[Kind::Card])?.bytes);
        let card = card.map_err(|source| CliError::Sdk { doing: "read the card", source })?;
        return Claim::of_card(&card, settings);
    }
    let (Some(contract), Some(deployed_in)) = (args.ledger, args.deployed_in) else {
        let help = "use --from CARD, or --ledger and --deployed-in";
        return Err(CliError::invalid("it is not said which contract the network is", help));
    };
    let urls = settings.rpc_urls.as_ref().filter(|urls| urls.origin.is_said_now());
    let urls = urls.ok_or_else(|| CliError::invalid("no node is named", "use --rpc-url"))?;
    let chain_id = connect::chain_id(settings, &urls.value).await?;
    Ok(Claim {
        ledger: LedgerId { chain_id, contract },
        deployed_in,
        salt: args.salt,
        code_hash: None,
        rpc_urls: urls.value.clone(),
        relay: settings.relay.value.clone().filter(|_| settings.relay.origin.is_said_now()),
    })
}

fn remove(name: &Name, settings: &Settings, ui: &Ui) -> Result<(), CliError> {
    let home = &settings.home.value;
    let missing = || {
        let text = format!("network {name} is not in the address book");
        CliError::not_found(text, "`galen network list` shows the networks")
    };
    if Networks::read(home)?.get(name).is_none() {
        return Err(missing());
    }
    ui.require_yes(&format!("Remove network {name} from the address book?"))?;
    let removed = Networks::change(home, |networks| Ok(networks.remove(name)))?;
    let removed = Shown::new(name, &removed.ok_or_else(missing)?);
    if ui.json() { ui.object(&removed) } else { ui.line(&removed.name.to_string()) }
}
