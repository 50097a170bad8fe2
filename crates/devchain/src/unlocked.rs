//! Accounts for which the chain itself signs, as wallets and scripts expect of a development node.

use std::fmt;

use alloy::{
    consensus::TxEnvelope,
    eips::eip2718::Encodable2718 as _,
    network::TxSignerSync as _,
    primitives::{Address, B256},
    rpc::types::TransactionRequest,
    signers::local::{MnemonicBuilder, PrivateKeySigner, coins_bip39::English},
};

use crate::{
    devchain::Core,
    rpc::{RpcError, fees},
};

/// The words that Hardhat, anvil and Ganache derive their accounts from. Everybody knows them.
pub const WELL_KNOWN_MNEMONIC: &str = "test test test test test test test test test test test junk";

/// As many accounts of the well-known words as anvil and Hardhat unlock, at `m/44'/60'/0'/0/n`.
const WELL_KNOWN_COUNT: u32 = 10;

/// The first ten keys of [`WELL_KNOWN_MNEMONIC`]. Whatever is sent to them on a real chain is taken
/// within seconds.
pub fn well_known_keys() -> Vec<PrivateKeySigner> {
    let key = |index| {
        MnemonicBuilder::<English>::default()
            .phrase(WELL_KNOWN_MNEMONIC)
            .index(index)
            .and_then(|builder| builder.build())
            .expect("the words are a mnemonic and the index is small")
    };
    (0..WELL_KNOWN_COUNT).map(key).collect()
}

/// The keys that the chain signs with. They are not part of the chain and not on its disk.
#[derive(Clone, Default)]
pub(crate) struct Unlocked(Vec<PrivateKeySigner>);

impl Unlocked {
    pub(crate) fn new(keys: Vec<PrivateKeySigner>) -> Self {
        Self(keys)
    }

    pub(crate) fn addresses(&self) -> Vec<Address> {
        self.0.iter().map(PrivateKeySigner::address).collect()
    }

    fn key(&self, address: Address) -> Option<&PrivateKeySigner> {
        self.0.iter().find(|key| key.address() == address)
    }
}

impl fmt::Debug for Unlocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.addresses()).finish()
    }
}

/// `eth_sendTransaction`: fills what is missing, signs and mines. The chain is not shared in between,
/// so that two such requests never take the same nonce.
pub(crate) fn send(core: &mut Core, mut request: TransactionRequest) -> Result<B256, RpcError> {
    let from =
        request.from.ok_or_else(|| RpcError::new(RpcError::PARAMS, "missing value for `from`"))?;
    let key = core.unlocked().key(from).cloned();
    let key = key.ok_or_else(|| RpcError::server(format!("unknown account {from:#x}")))?;
    let chain = core.chain();
    if request.chain_id.is_some_and(|id| id != chain.chain_id) {
        return Err(RpcError::server(format!(
            "chainId does not match node's (have={}, want={})",
            request.chain_id.unwrap_or_default(),
            chain.chain_id
        )));
    }
    request.chain_id = Some(chain.chain_id);
    request.nonce.get_or_insert(chain.world.info(from).nonce);
    if request.gas_price.is_none() {
        let tip = *request.max_priority_fee_per_gas.get_or_insert(fees::TIP);
        request.max_fee_per_gas.get_or_insert(2 * u128::from(chain.next_base_fee()) + tip);
    }
    if request.gas.is_none() {
        request.gas = Some(fees::estimate(core, &request)?);
    }
    // A request without `to` makes a contract; the builder wants that said.
    request.to.get_or_insert(alloy::primitives::TxKind::Create);
    let mut transaction = request
        .build_typed_tx()
        .map_err(|_| RpcError::new(RpcError::PARAMS, "the fields do not make a transaction"))?;
    let signature = key
        .sign_transaction_sync(&mut transaction)
        .map_err(|_| RpcError::new(RpcError::PARAMS, "the transaction cannot be signed"))?;
    let envelope: TxEnvelope = transaction.into_envelope(signature);
    core.submit(&envelope.encoded_2718())
}
