//! Deployment by CREATE2: same code, salt and founders give the same address on every chain.

use alloy::{
    network::Ethereum,
    providers::{DynProvider, Provider},
    rpc::types::{Filter, TransactionRequest},
    sol_types::SolEvent as _,
};
use alloy_primitives::{Address, B256, Bytes, U256, address, b256, bytes, keccak256};

use crate::{
    Account, ChainError, LedgerEvent, Standing,
    blocks::{BlockReader, is_refusal},
    contract::HealthLedger,
    error::shown,
    ledger::Ledger,
    payer::{Fees, Pauses, Payer, receipt},
    verification::constructor_arguments,
};

/// The deterministic deployment proxy, at the same address on nearly every chain.
/// Source: <https://github.com/Arachnid/deterministic-deployment-proxy>.
const FACTORY: Address = address!("4e59b44847b379578588920cA78FbF26c0B4956C");

/// Who deploys the factory: an address whose key nobody has, recovered from a made-up signature.
const FACTORY_DEPLOYER: Address = address!("3fab184622dc19b6109349b94811493bf2a45362");

/// The transaction that deploys the factory. It names no chain (before EIP-155) and so is valid on all.
const FACTORY_TRANSACTION: Bytes = bytes!(
    "f8a58085174876e800830186a08080b853604580600e600039806000f350fe7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf31ba02222222222222222222222222222222222222222222222222222222222222222a02222222222222222222222222222222222222222222222222222222222222222"
);

/// Keccak-256 of the factory's code on chain.
const FACTORY_CODE_HASH: B256 =
    b256!("2fa86add0aed31f33a762c9d88e807c475bd51d0f52bd0955754b2608f7e4989");

/// What it spends at most, in wei: 100,000 gas at 100 gwei.
const FACTORY_COST: u128 = 10_000_000_000_000_000;

/// Most questions for the block of a deployment by logs: 100 million blocks of a node that answers for
/// 100,000 at a time.
const MAX_LOG_QUESTIONS: u32 = 1_000;

/// Fewest blocks in one question for logs. A node that refuses even these does not serve logs.
const MIN_LOG_SPAN: u64 = 100;

/// Where a ledger is, or will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Address of `HealthLedger`.
    pub ledger: Address,
    /// Block of the deployment; the history starts here.
    pub block: u64,
    /// Gas that the deployment used; zero if the ledger was there.
    pub gas: u64,
    /// Keccak-256 of the code that lies on chain.
    pub code_hash: B256,
    /// The transaction that deployed it; `None` if the ledger was there.
    pub transaction: Option<B256>,
}

/// A ledger that is this release's contract, made by its constructor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its founding members, ascending.
    pub founders: Vec<Address>,
    /// Keccak-256 of the code that lies on chain.
    pub code_hash: B256,
}

/// Code that deploys a ledger with these founders.
fn init_code(founders: &[Address]) -> Bytes {
    let mut code = HealthLedger::BYTECODE.to_vec();
    code.extend(constructor_arguments(founders));
    code.into()
}

/// Address of the ledger with these founders and this salt.
pub fn deployment_address(founders: &[Address], salt: B256) -> Address {
    FACTORY.create2(salt, keccak256(init_code(founders)))
}

/// As [`deploy_with`], paid by an account whose queue ends with the process.
///
/// # Errors
///
/// As [`deploy_with`].
pub async fn deploy(
    provider: impl Provider + Clone + 'static,
    payer: &Account,
    founders: &[Address],
    salt: B256,
) -> Result<Deployment, ChainError> {
    let provider = provider.erased();
    let payer = Payer::wallet(provider.clone(), payer.clone(), None, Fees::default());
    deploy_with(provider, &payer, founders, salt, None).await
}

/// Deploys a ledger, or finds the one that is there; the factory, too, where it is missing. Safe to
/// repeat: what an earlier call left in the payer's queue lands first.
///
/// `deployed_in` is the block of a ledger that is known to be there, which then is not looked for. The block
/// of another ledger that is there is found by old state or by logs, and verified.
///
/// # Errors
///
/// - [`ChainError::NoDeploymentBlock`]: the ledger is there, and the node shows neither old state nor logs
///   that say since when.
/// - [`ChainError::Invalid`]: founders are not strictly ascending, or the chain takes no transactions
///   without a chain id and so cannot have the factory.
/// - [`ChainError::OtherCode`]: other code lies where the factory should be.
/// - Otherwise as [`Payer::send`].
pub async fn deploy_with(
    provider: impl Provider + 'static,
    payer: &Payer,
    founders: &[Address],
    salt: B256,
    deployed_in: Option<u64>,
) -> Result<Deployment, ChainError> {
    if founders.is_empty() || !founders.is_sorted_by(|a, b| a < b) {
        return Err(ChainError::Invalid("founders are not strictly ascending, or there are none"));
    }
    let provider = provider.erased();
    let ledger = deployment_address(founders, salt);
    payer.resume().await?;
    let code = provider.get_code_at(ledger).await?;
    if !code.is_empty() {
        let block = match deployed_in {
            Some(block) => block,
            None => find_block(&provider, ledger, founders[0], salt).await?,
        };
        let code_hash = keccak256(code);
        return Ok(Deployment { ledger, block, gas: 0, code_hash, transaction: None });
    }
    ensure_factory(&provider, payer).await?;
    let data = [salt.as_slice(), &init_code(founders)].concat();
    let request = TransactionRequest::default().to(FACTORY).input(Bytes::from(data).into());
    let sent = payer.send(request).await?;
    let code = provider.get_code_at(ledger).await?;
    if code.is_empty() {
        return Err(ChainError::OtherCode { address: ledger, what: "there is none" });
    }
    Ledger::connect(provider, ledger, sent.block).await?;
    Ok(Deployment {
        ledger,
        block: sent.block,
        gas: sent.gas,
        code_hash: keccak256(code),
        transaction: Some(sent.transaction),
    })
}

/// Pays the factory's deployer and sends its transaction, unless the factory is there.
async fn ensure_factory(provider: &DynProvider<Ethereum>, payer: &Payer) -> Result<(), ChainError> {
    if has_factory(provider).await? {
        return Ok(());
    }
    let balance = provider.get_balance(FACTORY_DEPLOYER).await?;
    let missing = U256::from(FACTORY_COST).saturating_sub(balance);
    if !missing.is_zero() {
        payer.send(TransactionRequest::default().to(FACTORY_DEPLOYER).value(missing)).await?;
    }
    let sent: Result<B256, _> =
        provider.client().request("eth_sendRawTransaction", (&FACTORY_TRANSACTION,)).await;
    if let Err(error) = sent
        && let Some(response) = error.as_error_resp()
    {
        let words = response.message.to_lowercase();
        if ["replay-protected", "eip-155", "eip155", "unprotected"]
            .iter()
            .any(|w| words.contains(w))
        {
            return Err(ChainError::Invalid(
                "the chain lacks the deployment factory and takes no transaction without a chain id \
                 (before EIP-155), which deploys it; its operators must allow that or put the factory \
                 into the genesis block",
            ));
        }
        // Somebody else may have sent it at the same time.
        if !words.contains("known") && !words.contains("nonce too low") {
            return Err(ChainError::Refused { reason: shown(&response.message) });
        }
    }
    let (start, mut pauses) = (std::time::Instant::now(), Pauses::new());
    let transaction = keccak256(&FACTORY_TRANSACTION);
    let waited = Fees::default().deadline;
    while start.elapsed() < waited {
        match receipt(provider, transaction).await? {
            Some(receipt) if !receipt.status() => return Err(ChainError::Failed { transaction }),
            Some(_) if has_factory(provider).await? => return Ok(()),
            _ => pauses.next().await,
        }
    }
    Err(ChainError::NotMined { transaction, waited })
}

/// Whether the factory is there, and no impostor.
async fn has_factory(provider: &DynProvider<Ethereum>) -> Result<bool, ChainError> {
    let code = provider.get_code_at(FACTORY).await?;
    if code.is_empty() {
        return Ok(false);
    }
    if keccak256(code) != FACTORY_CODE_HASH {
        return Err(ChainError::OtherCode { address: FACTORY, what: "not the factory's code" });
    }
    Ok(true)
}

/// Checks that an address holds this release's ledger: reads the founding members from the verified
/// block of the deployment and computes from them and the salt where such a ledger must be.
///
/// # Errors
///
/// - [`ChainError::OtherCode`]: no ledger was founded there in that block, or by other code or another
///   salt.
/// - [`ChainError::Inconsistent`]: the node's block does not hold together.
/// - [`ChainError::Node`] and its like: the node did not answer.
pub async fn verify_deployment(
    provider: impl Provider + 'static,
    ledger: Address,
    salt: B256,
    deployed_in: u64,
) -> Result<Verified, ChainError> {
    let other = |what| ChainError::OtherCode { address: ledger, what };
    let provider = provider.erased();
    let code = provider.get_code_at(ledger).await?;
    if code.is_empty() {
        return Err(other("there is none"));
    }
    let mut reader = BlockReader::new(provider, ledger, deployed_in);
    let block = reader.next().await?.ok_or(other("the chain has no block of that number yet"))?;
    let mut founders: Vec<Address> = Vec::new();
    for stamped in block.events {
        // Founders come first, ascending; whoever joined later in the same block does not continue them.
        match stamped.event {
            LedgerEvent::StatusChanged { organization, standing: Standing::Active }
                if founders.last().is_none_or(|last| *last < organization) =>
            {
                founders.push(organization);
            }
            _ => break,
        }
    }
    if founders.is_empty() {
        return Err(other("no founding members in the block of the deployment"));
    }
    // Admission waits, so that nobody joins in that block; still, a shorter list may be the right one.
    let fits = (1..=founders.len())
        .rev()
        .find(|count| deployment_address(&founders[..*count], salt) == ledger);
    let count = fits.ok_or(other("founders and salt lead to another address"))?;
    founders.truncate(count);
    Ok(Verified { founders, code_hash: keccak256(code) })
}

/// The block of a deployment, verified: a node may answer for old blocks as if there was no code.
async fn find_block(
    provider: &DynProvider<Ethereum>,
    ledger: Address,
    founder: Address,
    salt: B256,
) -> Result<u64, ChainError> {
    if let Some(block) = first_block_with_code(provider, ledger).await?
        && is_deployment(provider, ledger, salt, block).await?
    {
        return Ok(block);
    }
    if let Some(block) = first_block_with_founder(provider, ledger, founder).await?
        && is_deployment(provider, ledger, salt, block).await?
    {
        return Ok(block);
    }
    Err(ChainError::NoDeploymentBlock { ledger })
}

async fn is_deployment(
    provider: &DynProvider<Ethereum>,
    ledger: Address,
    salt: B256,
    block: u64,
) -> Result<bool, ChainError> {
    match verify_deployment(provider.clone(), ledger, salt, block).await {
        Ok(_) => Ok(true),
        // Another block, or one that this node has dropped.
        Err(ChainError::OtherCode { .. }) => Ok(false),
        Err(ChainError::Node(error)) if is_refusal(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Nodes that keep old state can say when code appeared; others refuse, some as if there was none.
async fn first_block_with_code(
    provider: &DynProvider<Ethereum>,
    address: Address,
) -> Result<Option<u64>, ChainError> {
    let (mut low, mut high) = (0, provider.get_block_number().await?);
    while low < high {
        let middle = low + (high - low) / 2;
        match provider.get_code_at(address).number(middle).await {
            Ok(code) if code.is_empty() => low = middle + 1,
            Ok(_) => high = middle,
            Err(error) if is_refusal(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(low))
}

/// The first block in which the ledger names one of its founders, by logs. A node that refuses a range is asked
/// for half as many blocks.
async fn first_block_with_founder(
    provider: &DynProvider<Ethereum>,
    ledger: Address,
    founder: Address,
) -> Result<Option<u64>, ChainError> {
    let head = provider.get_block_number().await?;
    let filter = Filter::new()
        .address(ledger)
        .event_signature(HealthLedger::StatusChanged::SIGNATURE_HASH)
        .topic1(founder.into_word());
    // Everything at once first: few nodes count blocks where there are few logs.
    let (mut next, mut span) = (0_u64, head.saturating_add(1));
    for _ in 0..MAX_LOG_QUESTIONS {
        let last = head.min(next.saturating_add(span - 1));
        match provider.get_logs(&filter.clone().select(next..=last)).await {
            Ok(logs) => {
                // The node is not trusted with the order.
                if let Some(block) = logs.iter().filter_map(|log| log.block_number).min() {
                    return Ok(Some(block));
                }
                if last == head {
                    return Ok(None);
                }
                next = last + 1;
            }
            Err(error) if !is_refusal(&error) => return Err(error.into()),
            Err(_) if span <= MIN_LOG_SPAN => return Ok(None),
            Err(_) => span = (span / 2).max(MIN_LOG_SPAN),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use alloy::{
        consensus::{Transaction as _, TxEnvelope, transaction::SignerRecoverable as _},
        eips::eip2718::Decodable2718 as _,
    };

    use super::*;

    #[test]
    fn the_factory_is_deployed_by_who_its_transaction_is_signed_by() {
        let transaction = TxEnvelope::decode_2718_exact(&FACTORY_TRANSACTION).unwrap();
        assert_eq!(transaction.recover_signer().unwrap(), FACTORY_DEPLOYER);
        assert_eq!(FACTORY_DEPLOYER.create(transaction.nonce()), FACTORY);
        assert_eq!(transaction.chain_id(), None);
        let cost = u128::from(transaction.gas_limit()) * transaction.max_fee_per_gas();
        assert_eq!(cost, FACTORY_COST);
        let constructor = 14;
        assert_eq!(keccak256(&transaction.input()[constructor..]), FACTORY_CODE_HASH);
    }
}
