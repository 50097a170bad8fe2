//! What a chain is made of: fixed when its directory is created, compared when it is opened.

use alloy::primitives::{Address, B256, Bytes, U256, address, bytes, keccak256};
use alloy_rlp::{Encodable, RlpEncodable};
use revm::primitives::hardfork::SpecId;

/// Chain id of development chains by convention (Hardhat, anvil).
pub const DEFAULT_CHAIN_ID: u64 = 31_337;

/// Gas limit of a block, as on Ethereum since 2025.
pub const DEFAULT_GAS_LIMIT: u64 = 60_000_000;

/// Time of the genesis block, in Unix seconds: fixed, so that the same configuration has the same genesis hash.
pub const DEFAULT_GENESIS_TIME: u64 = 1_700_000_000;

/// Where the deterministic deployment factory stands on every chain, this one included.
///
/// A call with `salt ‖ init code` deploys by CREATE2 and returns the 20 bytes of the address.
/// Source: <https://github.com/Arachnid/deterministic-deployment-proxy>.
pub const CREATE2_FACTORY: Address = address!("4e59b44847b379578588920cA78FbF26c0B4956C");

/// Runtime code of [`CREATE2_FACTORY`].
pub(crate) const CREATE2_FACTORY_CODE: Bytes = bytes!(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3"
);

/// Base fee of the genesis block, in wei: the initial base fee of EIP-1559.
pub(crate) const GENESIS_BASE_FEE: u64 = 1_000_000_000;

/// The rules of the EVM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spec {
    /// In force on Ethereum since December 2025.
    #[default]
    Osaka,
    /// The fork after it, with the new prices of state (EIP-8037, EIP-2780).
    Amsterdam,
}

impl Spec {
    pub(crate) const fn id(self) -> SpecId {
        match self {
            Self::Osaka => SpecId::OSAKA,
            Self::Amsterdam => SpecId::AMSTERDAM,
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Osaka => 0,
            Self::Amsterdam => 1,
        }
    }
}

/// Where block times come from, before what [`advance_time`](crate::DevChain::advance_time) adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// The clock of the machine.
    #[default]
    System,
    /// Stands at the genesis time; only `advance_time` moves it. Same transactions, same hashes.
    Manual,
}

/// Settings of a chain. All but `clock` and `snapshot_every` are part of its identity: a directory
/// is opened only with the ones it was created with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Chain id (EIP-155).
    pub chain_id: u64,
    /// Accounts that have a balance in the genesis block, in wei. The order does not matter.
    pub accounts: Vec<(Address, U256)>,
    /// Rules of the EVM.
    pub spec: Spec,
    /// Gas limit of every block.
    pub gas_limit: u64,
    /// Time of the genesis block, in Unix seconds.
    pub genesis_time: u64,
    /// Where block times come from.
    pub clock: Clock,
    /// Blocks between two snapshots on disk; 0 means none are written.
    pub snapshot_every: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            chain_id: DEFAULT_CHAIN_ID,
            accounts: Vec::new(),
            spec: Spec::default(),
            gas_limit: DEFAULT_GAS_LIMIT,
            genesis_time: DEFAULT_GENESIS_TIME,
            clock: Clock::default(),
            snapshot_every: 1_000,
        }
    }
}

#[derive(RlpEncodable)]
struct Identity {
    chain_id: u64,
    spec: u8,
    gas_limit: u64,
    genesis_time: u64,
    accounts: Vec<Funded>,
}

#[derive(RlpEncodable)]
struct Funded {
    account: Address,
    balance: U256,
}

impl Config {
    /// One hash of everything that makes this chain this chain.
    pub(crate) fn fingerprint(&self) -> B256 {
        let mut accounts = self.accounts.clone();
        accounts.sort_unstable();
        let identity = Identity {
            chain_id: self.chain_id,
            spec: self.spec.number(),
            gas_limit: self.gas_limit,
            genesis_time: self.genesis_time,
            accounts: accounts
                .into_iter()
                .map(|(account, balance)| Funded { account, balance })
                .collect(),
        };
        let mut bytes = Vec::with_capacity(identity.length());
        identity.encode(&mut bytes);
        keccak256(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprint_follows_identity_and_nothing_else() {
        let base = Config {
            accounts: vec![
                (Address::repeat_byte(1), U256::from(1)),
                (Address::repeat_byte(2), U256::from(2)),
            ],
            ..Config::default()
        };
        let same = |config: Config| assert_eq!(config.fingerprint(), base.fingerprint());
        same(Config { clock: Clock::Manual, ..base.clone() });
        same(Config { snapshot_every: 1, ..base.clone() });
        same(Config { accounts: base.accounts.iter().rev().copied().collect(), ..base.clone() });

        let other = |config: Config| assert_ne!(config.fingerprint(), base.fingerprint());
        other(Config { chain_id: 1, ..base.clone() });
        other(Config { spec: Spec::Amsterdam, ..base.clone() });
        other(Config { gas_limit: 1, ..base.clone() });
        other(Config { genesis_time: 1, ..base.clone() });
        other(Config { accounts: Vec::new(), ..base.clone() });
    }
}
