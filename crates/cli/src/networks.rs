//! The address book of networks: which contract on which chain, and how to reach it.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use galen_chain::{Finality, HistoryMode};
use galen_types::LedgerId;
use serde::{Deserialize, Serialize};

use crate::{
    error::CliError,
    home::{Home, Lock, Name, write_private},
    settings::read_toml,
};

/// Fee that a transaction may not exceed, in gwei per gas.
pub(crate) const DEFAULT_MAX_FEE_GWEI: u64 = 500;

/// One network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Network {
    pub(crate) chain_id: u64,
    /// Address of `HealthLedger`.
    pub(crate) ledger: Address,
    /// Block of the deployment; the history starts here.
    pub(crate) deployed_in: u64,
    /// keccak256 of the code that must be at the address.
    pub(crate) code_hash: B256,
    /// Salt of the deployment.
    pub(crate) salt: B256,
    /// Nodes, in the order in which they are asked.
    pub(crate) rpc_urls: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) relay: Option<String>,
    /// Nodes and relays on other machines may be spoken to without encryption: for a VPN.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) allow_plain_http: bool,
    #[serde(default)]
    pub(crate) finality: Finality,
    #[serde(default)]
    pub(crate) history: HistoryMode,
    #[serde(default = "default_max_fee_gwei")]
    pub(crate) max_fee_gwei: u64,
    #[serde(default = "default_currency")]
    pub(crate) currency: String,
}

const fn default_max_fee_gwei() -> u64 {
    DEFAULT_MAX_FEE_GWEI
}

fn default_currency() -> String {
    "ETH".to_owned()
}

impl Network {
    /// A network with the settings that most have.
    pub(crate) fn new(ledger: LedgerId, deployed_in: u64, code_hash: B256, salt: B256) -> Self {
        Self {
            chain_id: ledger.chain_id,
            ledger: ledger.contract,
            deployed_in,
            code_hash,
            salt,
            rpc_urls: Vec::new(),
            relay: None,
            allow_plain_http: false,
            finality: Finality::default(),
            history: HistoryMode::default(),
            max_fee_gwei: DEFAULT_MAX_FEE_GWEI,
            currency: default_currency(),
        }
    }

    pub(crate) const fn id(&self) -> LedgerId {
        LedgerId { chain_id: self.chain_id, contract: self.ledger }
    }

    /// Whether both name the same contract. How to reach it may differ.
    pub(crate) fn is_same_ledger(&self, other: &Self) -> bool {
        self.id() == other.id() && self.code_hash == other.code_hash
    }
}

/// `networks.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Networks(BTreeMap<Name, Network>);

impl Networks {
    pub(crate) fn read(home: &Home) -> Result<Self, CliError> {
        Ok(read_toml(&home.networks())?.unwrap_or_default())
    }

    /// Reads, changes and writes the book, alone among processes.
    pub(crate) fn change<T>(
        home: &Home,
        change: impl FnOnce(&mut Self) -> Result<T, CliError>,
    ) -> Result<T, CliError> {
        let _alone = Lock::of(&home.networks())?;
        let before = Self::read(home)?;
        let mut after = before.clone();
        let answer = change(&mut after)?;
        if after != before {
            let text = toml::to_string(&after).expect("strings and numbers always serialize");
            write_private(&home.networks(), text.as_bytes())?;
        }
        Ok(answer)
    }

    pub(crate) fn get(&self, name: &Name) -> Option<&Network> {
        self.0.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Name, &Network)> {
        self.0.iter()
    }

    /// The name under which a ledger is known.
    pub(crate) fn name_of(&self, ledger: LedgerId) -> Option<&Name> {
        self.iter().find(|(_, network)| network.id() == ledger).map(|(name, _)| name)
    }

    /// Adds a network. A name that stands for another contract is refused, since signatures would go elsewhere
    /// than people think; the same contract under its name is brought up to date.
    pub(crate) fn add(&mut self, name: Name, network: Network) -> Result<(), CliError> {
        if self.get(&name).is_some_and(|known| !known.is_same_ledger(&network)) {
            return Err(CliError::invalid(
                format!("network {name} is another contract in the address book"),
                "choose another name, or `galen network remove` the old one",
            ));
        }
        self.0.insert(name, network);
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: &Name) -> Option<Network> {
        self.0.remove(name)
    }
}
