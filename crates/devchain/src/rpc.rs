//! JSON-RPC: which method does what. Parameters and answers are those of the execution API
//! (<https://ethereum.github.io/execution-apis>).

pub(crate) mod fees;
mod logs;
mod params;

use alloy::{
    eips::{BlockId, BlockNumberOrTag},
    primitives::{Address, B256, Bytes, U64, U256},
    rpc::types::TransactionRequest,
};
use galen_types::ErrorKind;
use serde::Serialize;
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

pub use self::logs::MAX_LOGS;
use self::params::Params;
use crate::{
    chain::{At, Chain, block::Block, reject},
    devchain::Core,
    error::Error,
    unlocked,
};

/// Why a request was not answered: what travels in the `error` member (JSON-RPC 2.0, section 5.1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RpcError {
    /// One of the constants of this type.
    pub code: i64,
    /// In the words that nodes use.
    pub message: String,
    /// What a contract reverted with.
    pub data: Option<Bytes>,
}

impl RpcError {
    /// A call reverted; `data` holds the contract's error (go-ethereum).
    pub const REVERTED: i64 = 3;
    /// The node refuses: an invalid transaction, a state that is not kept.
    pub const SERVER: i64 = -32_000;
    /// The time for a batch was over before this request began (go-ethereum).
    pub const TIMED_OUT: i64 = -32_002;
    /// The answer would be too long (EIP-1474, "limit exceeded").
    pub const LIMIT: i64 = -32_005;
    /// Not a request.
    pub const INVALID_REQUEST: i64 = -32_600;
    /// No such method.
    pub const NO_METHOD: i64 = -32_601;
    /// Parameters of the wrong number or shape.
    pub const PARAMS: i64 = -32_602;
    /// The chain itself failed: no space, a write that failed.
    pub const INTERNAL: i64 = -32_603;
    /// Not JSON.
    pub const PARSE: i64 = -32_700;

    /// What the caller can do about it: repeat what the chain could not write, correct the rest.
    pub const fn kind(&self) -> ErrorKind {
        match self.code {
            Self::INTERNAL | Self::TIMED_OUT => ErrorKind::Unavailable,
            _ => ErrorKind::Invalid,
        }
    }

    pub(crate) fn server(message: String) -> Self {
        Self { code: Self::SERVER, message, data: None }
    }

    pub(crate) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }
}

impl From<Error> for RpcError {
    fn from(error: Error) -> Self {
        let code = match error {
            Error::Refused(_) => Self::SERVER,
            _ => Self::INTERNAL,
        };
        Self::new(code, error.to_string())
    }
}

/// An answer as JSON text: long ones (logs) are not built as a tree first.
pub(crate) type Answer = Box<RawValue>;

/// Answers one request.
pub(crate) fn answer(core: &mut Core, method: &str, params: &Value) -> Result<Answer, RpcError> {
    let params = Params::new(params)?;
    match method {
        "eth_sendRawTransaction" => {
            let encoded: Bytes = params.required(0, "transaction")?;
            core.submit(&encoded).and_then(|hash| json(&hash))
        }
        "eth_accounts" => json(&core.unlocked().addresses()),
        "eth_sendTransaction" => {
            let request: TransactionRequest = params.required(0, "transaction")?;
            unlocked::send(core, request).and_then(|hash| json(&hash))
        }
        "evm_increaseTime" => {
            let seconds = params.number(0, "seconds")?;
            core.advance_time(seconds)?;
            json(&core.clock_offset())
        }
        "evm_mine" => {
            core.mine()?;
            json(&"0x0")
        }
        "dev_reorg" => {
            core.reorganize(params.number(0, "depth")?)?;
            json(&U64::from(core.chain().head().header.number))
        }
        "eth_call" => call(core, &params),
        "eth_estimateGas" => {
            let request: TransactionRequest = params.required(0, "transaction")?;
            require_head(core.chain(), params.optional(1, "block")?)?;
            fees::estimate(core, &request).and_then(|gas| json(&U64::from(gas)))
        }
        _ => read(core.chain(), method, &params),
    }
}

/// Methods that only look at the chain.
fn read(chain: &Chain, method: &str, params: &Params<'_>) -> Result<Answer, RpcError> {
    let head = chain.head();
    match method {
        "web3_clientVersion" => json(&concat!("galen-devchain/", env!("CARGO_PKG_VERSION"))),
        "net_version" => json(&chain.chain_id.to_string()),
        "eth_chainId" => json(&U64::from(chain.chain_id)),
        "eth_blockNumber" => json(&U64::from(head.header.number)),
        "eth_syncing" => json(&false),
        "eth_gasPrice" => json(&U256::from(u128::from(chain.next_base_fee()) + fees::TIP)),
        "eth_maxPriorityFeePerGas" => json(&U256::from(fees::TIP)),
        "eth_feeHistory" => fees::history(chain, params),
        "eth_getLogs" => logs::answer(chain, &params.required(0, "filter")?),
        "eth_getBalance" | "eth_getTransactionCount" | "eth_getCode" => {
            account(chain, method, params)
        }
        "eth_getStorageAt" => {
            let address: Address = params.required(0, "address")?;
            let key: U256 = params.required(1, "slot")?;
            require_head(chain, params.optional(2, "block")?)?;
            json(&B256::from(chain.world.slot(address, key)))
        }
        "eth_getTransactionByHash" => {
            let hash: B256 = params.required(0, "hash")?;
            json(
                &chain
                    .block_of(&hash)
                    .and_then(|block| block.find(&hash).map(|mined| block.rpc_transaction(mined))),
            )
        }
        "eth_getTransactionReceipt" => {
            let hash: B256 = params.required(0, "hash")?;
            json(
                &chain
                    .block_of(&hash)
                    .and_then(|block| block.find(&hash).map(|mined| block.rpc_receipt(mined))),
            )
        }
        "eth_getBlockByNumber" => {
            let tag: BlockNumberOrTag = params.required(0, "block")?;
            let full = params.optional(1, "full")?.unwrap_or(false);
            json(&chain.block(number(chain, tag)).map(|block| block.rpc_block(full)))
        }
        "eth_getBlockByHash" => {
            let hash: B256 = params.required(0, "hash")?;
            let full = params.optional(1, "full")?.unwrap_or(false);
            json(&chain.block_by_hash(&hash).map(|block| block.rpc_block(full)))
        }
        "eth_getBlockReceipts" => {
            let block = resolve(chain, params.required(0, "block")?);
            json(&block.map(|block| {
                block.mined.iter().map(|mined| block.rpc_receipt(mined)).collect::<Vec<_>>()
            }))
        }
        _ => Err(RpcError::new(
            RpcError::NO_METHOD,
            format!("the method {} does not exist/is not available", clip(method)),
        )),
    }
}

fn account(chain: &Chain, method: &str, params: &Params<'_>) -> Result<Answer, RpcError> {
    let address: Address = params.required(0, "address")?;
    require_head(chain, params.optional(1, "block")?)?;
    match method {
        "eth_getBalance" => json(&chain.world.info(address).balance),
        "eth_getTransactionCount" => json(&U64::from(chain.world.info(address).nonce)),
        _ => json(&chain.world.code(address)),
    }
}

fn call(core: &Core, params: &Params<'_>) -> Result<Answer, RpcError> {
    let chain = core.chain();
    let request: TransactionRequest = params.required(0, "transaction")?;
    let block: Option<BlockId> = params.optional(1, "block")?;
    if params.optional::<Value>(2, "overrides")?.is_some() {
        return Err(RpcError::new(RpcError::PARAMS, "state overrides are not supported"));
    }
    require_head(chain, block)?;
    let at = match block {
        None | Some(BlockId::Number(BlockNumberOrTag::Latest)) => At::Latest(core.next_time()),
        Some(BlockId::Number(BlockNumberOrTag::Pending)) => At::Next(core.next_time()),
        Some(_) => At::Head,
    };
    let gas = request.gas.unwrap_or(chain.gas_limit).min(chain.gas_limit);
    let result = chain.call(&request, at, gas)?;
    if result.is_success() {
        json(&result.into_output().unwrap_or_default())
    } else {
        Err(reject::failed(&result))
    }
}

/// The height that a tag stands for. Every block here is final.
fn number(chain: &Chain, tag: BlockNumberOrTag) -> u64 {
    match tag {
        BlockNumberOrTag::Number(number) => number,
        BlockNumberOrTag::Earliest => 0,
        BlockNumberOrTag::Latest
        | BlockNumberOrTag::Pending
        | BlockNumberOrTag::Safe
        | BlockNumberOrTag::Finalized => chain.head().header.number,
    }
}

fn resolve(chain: &Chain, id: BlockId) -> Option<&Block> {
    match id {
        BlockId::Hash(hash) => chain.block_by_hash(&hash.block_hash),
        BlockId::Number(tag) => chain.block(number(chain, tag)),
    }
}

/// Only the state at the head is kept.
fn require_head(chain: &Chain, id: Option<BlockId>) -> Result<(), RpcError> {
    let Some(id) = id else { return Ok(()) };
    let block =
        resolve(chain, id).ok_or_else(|| RpcError::server("header not found".to_owned()))?;
    if block.hash == chain.head().hash {
        return Ok(());
    }
    Err(RpcError::server(format!(
        "state of block {} is not kept: this development chain answers for its head, block {}",
        block.header.number,
        chain.head().header.number
    )))
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<Answer, RpcError> {
    to_raw_value(value).map_err(|error| RpcError::new(RpcError::INTERNAL, error.to_string()))
}

/// What strangers sent is repeated in messages only so far, and without control characters.
pub(crate) fn clip(text: &str) -> String {
    text.chars().take(64).filter(|c| !c.is_control()).collect()
}
