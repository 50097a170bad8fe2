//! Reaching a network, and refusing what is not the one that is meant.

use alloy::providers::{DynProvider, Provider};
use alloy_primitives::{Address, B256};
use galen_chain::{ChainError, Ledger, rpc, verify_deployment};
use galen_sdk::Card;
use galen_types::LedgerId;

use crate::{
    error::CliError,
    home::{Home, Name},
    networks::{Network, Networks},
    settings::Settings,
    ui::Ui,
};

/// A node of the network.
pub(crate) type Node = DynProvider;

/// Connects to the nodes of a chain; asks nothing yet. Answers of another chain are refused.
pub(crate) fn node(
    settings: &Settings,
    urls: &[String],
    chain_id: Option<u64>,
) -> Result<Node, CliError> {
    if urls.is_empty() {
        let help = "use --rpc-url, or `galen network add` one to the address book";
        return Err(CliError::invalid("no node is named", help));
    }
    let options = rpc::RpcOptions {
        timeout: settings.timeout.value.min(rpc::RpcOptions::default().timeout),
        chain_id,
        allow_plain_http: settings.allow_plain_http.value,
        ..rpc::RpcOptions::default()
    };
    rpc::connect(urls, options)
        .map_err(|source| CliError::Chain { doing: "reach the node", source })
}

/// The network's ledger; another chain and other code are refused.
pub(crate) async fn ledger(node: &Node, network: &Network) -> Result<Ledger, CliError> {
    let failed = |source| CliError::Chain { doing: "connect to the ledger", source };
    let ledger = Ledger::connect(node.clone(), network.ledger, network.deployed_in).await;
    let ledger = ledger.map_err(failed)?;
    if ledger.code_hash().await.map_err(failed)? != network.code_hash {
        return Err(CliError::integrity(
            format!("the code at {:#x} is not the one in the address book", network.ledger),
            "do not go on: the node lies, or somebody changed the address book",
        ));
    }
    Ok(ledger)
}

/// The chain that nodes follow.
pub(crate) async fn chain_id(settings: &Settings, urls: &[String]) -> Result<u64, CliError> {
    let asked = node(settings, urls, None)?.get_chain_id().await;
    asked.map_err(|error| CliError::Chain {
        doing: "ask the node for its chain",
        source: error.into(),
    })
}

/// What somebody says a network is, before the chain was asked.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) ledger: LedgerId,
    pub(crate) deployed_in: u64,
    pub(crate) salt: B256,
    /// As the card says; must be what the chain has.
    pub(crate) code_hash: Option<B256>,
    pub(crate) rpc_urls: Vec<String>,
    pub(crate) relay: Option<String>,
}

impl Claim {
    /// From a card. Flags win over its node and relay.
    pub(crate) fn of_card(card: &Card, settings: &Settings) -> Result<Self, CliError> {
        let said = |text: &String| (!text.is_empty()).then(|| text.clone());
        // The address book's nodes may be another network's.
        let urls = settings.rpc_urls.as_ref().filter(|urls| urls.origin.is_said_now());
        let urls = urls.map(|urls| urls.value.clone());
        let rpc_urls = urls.or_else(|| said(&card.rpc_url).map(|url| vec![url]));
        let rpc_urls = rpc_urls.ok_or_else(|| {
            CliError::invalid("the card names no node", "name one with --rpc-url")
        })?;
        let relay = match &settings.relay.origin {
            origin if origin.is_said_now() => settings.relay.value.clone(),
            _ => said(&card.relay),
        };
        Ok(Self {
            ledger: card.ledger,
            deployed_in: card.deployed_in,
            salt: card.salt,
            code_hash: Some(card.code_hash),
            rpc_urls,
            relay,
        })
    }

    /// Asks the chain: the contract must be this release's, deployed in that block with that salt, unless the
    /// person trusts it anyway.
    pub(crate) async fn check(
        &self,
        settings: &Settings,
        trust_code: bool,
        ui: &Ui,
    ) -> Result<(Network, Ledger), CliError> {
        // What the book says of the profile's network does not hold for another one.
        let networks = Networks::read(&settings.home.value)?;
        let known = networks.name_of(self.ledger).and_then(|name| networks.get(name));
        let said = &settings.allow_plain_http;
        let plain = known.is_some_and(|network| network.allow_plain_http)
            || (said.value && said.origin.is_said_now());
        let settings = &settings.with_plain_http(plain);
        let node = node(settings, &self.rpc_urls, Some(self.ledger.chain_id))?;
        let failed = |source| CliError::Chain { doing: "check the contract", source };
        let address: Address = self.ledger.contract;
        let ledger = Ledger::connect(node.clone(), address, self.deployed_in);
        let ledger = ui.waiting("the node to answer", ledger).await.map_err(failed)?;
        let code_hash = ledger.code_hash().await.map_err(failed)?;
        if self.code_hash.is_some_and(|claimed| claimed != code_hash) {
            return Err(CliError::integrity(
                format!("the code at {address:#x} is not the one that the card names"),
                "do not go on: ask its owner for a new card, over another channel",
            ));
        }
        match verify_deployment(node, address, self.salt, self.deployed_in).await {
            Ok(_) => {}
            Err(ChainError::OtherCode { .. }) if trust_code => {
                ui.warn("the contract is not this release's; trusted because you said so");
            }
            Err(error @ ChainError::OtherCode { .. }) => {
                return Err(CliError::integrity(
                    format!("the contract at {address:#x} is not this release's: {error}"),
                    "check ledger, block and salt; --trust-code takes it as it is",
                ));
            }
            Err(source) => return Err(failed(source)),
        }
        let mut network = Network::new(self.ledger, self.deployed_in, code_hash, self.salt);
        network.rpc_urls.clone_from(&self.rpc_urls);
        network.relay.clone_from(&self.relay);
        network.allow_plain_http = settings.allow_plain_http.value;
        Ok((network, ledger))
    }
}

/// The name of a ledger in the address book; a new network gets one made of its chain id.
pub(crate) fn keep(home: &Home, wanted: Option<&Name>, network: Network) -> Result<Name, CliError> {
    Networks::change(home, |networks| {
        let known = networks.name_of(network.id()).cloned();
        let name = match (wanted, known) {
            (Some(name), _) => name.clone(),
            (None, Some(known)) => known,
            (None, None) => free_name(networks, &network)?,
        };
        networks.add(name.clone(), network)?;
        Ok(name)
    })
}

fn free_name(networks: &Networks, network: &Network) -> Result<Name, CliError> {
    let plain: Name = format!("chain-{}", network.chain_id).parse()?;
    if networks.get(&plain).is_none() {
        return Ok(plain);
    }
    let digits = format!("{:x}", network.ledger);
    format!("chain-{}-{}", network.chain_id, &digits[..8]).parse()
}
