//! Deployment by CREATE2: same code, salt and founders give the same address on every chain.

use alloy::{providers::Provider, rpc::types::TransactionRequest, sol_types::SolValue};
use alloy_primitives::{Address, B256, Bytes, address, keccak256};

use crate::{
    Account, ChainError,
    contract::HealthLedger,
    ledger::Ledger,
    payer::{Fees, Payer},
};

/// The deterministic deployment proxy, at the same address on nearly every chain.
const FACTORY: Address = address!("4e59b44847b379578588920cA78FbF26c0B4956C");

/// Where a ledger is, or will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Address of `HealthLedger`.
    pub ledger: Address,
    /// Block of the deployment; the history starts here.
    pub block: u64,
    /// Gas that the deployment used; zero if the ledger was there.
    pub gas: u64,
}

/// Code that deploys a ledger with these founders.
fn init_code(founders: &[Address]) -> Bytes {
    let mut code = HealthLedger::BYTECODE.to_vec();
    code.extend((founders.to_vec(),).abi_encode_params());
    code.into()
}

/// Address of the ledger with these founders and this salt.
pub fn deployment_address(founders: &[Address], salt: B256) -> Address {
    FACTORY.create2(salt, keccak256(init_code(founders)))
}

/// Deploys a ledger, or finds the one that is there. Safe to repeat.
///
/// # Errors
///
/// - [`ChainError::Invalid`]: founders are not strictly ascending, or the chain lacks the factory.
/// - Otherwise as for every transaction.
pub async fn deploy(
    provider: impl Provider + Clone + 'static,
    payer: &Account,
    founders: &[Address],
    salt: B256,
) -> Result<Deployment, ChainError> {
    if founders.is_empty() || !founders.is_sorted_by(|a, b| a < b) {
        return Err(ChainError::Invalid("founders are not strictly ascending, or there are none"));
    }
    let ledger = deployment_address(founders, salt);
    if !provider.get_code_at(ledger).await?.is_empty() {
        let block = first_block_with_code(&provider, ledger).await?;
        return Ok(Deployment { ledger, block, gas: 0 });
    }
    if provider.get_code_at(FACTORY).await?.is_empty() {
        return Err(ChainError::Invalid("the chain lacks the deployment factory"));
    }
    let payer = Payer::wallet(provider.clone().erased(), payer.clone(), None, Fees::default());
    let data = [salt.as_slice(), &init_code(founders)].concat();
    let request = TransactionRequest::default().to(FACTORY).input(Bytes::from(data).into());
    let sent = payer.send(request).await?;
    Ledger::connect(provider, ledger, sent.block).await?;
    Ok(Deployment { ledger, block: sent.block, gas: sent.gas })
}

/// Nodes that keep old state can say when code appeared; for others the history starts at genesis.
async fn first_block_with_code(
    provider: &impl Provider,
    address: Address,
) -> Result<u64, ChainError> {
    let (mut low, mut high) = (0, provider.get_block_number().await?);
    while low < high {
        let middle = low + (high - low) / 2;
        match provider.get_code_at(address).number(middle).await {
            Ok(code) if code.is_empty() => low = middle + 1,
            Ok(_) => high = middle,
            Err(_) => return Ok(0),
        }
    }
    Ok(low)
}
