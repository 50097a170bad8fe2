//! Why a transaction does not enter a block, in the words that nodes use, since wallets and
//! libraries look for them (go-ethereum, `core/error.go` and `core/txpool/errors.go`).

use std::convert::Infallible;

use alloy::primitives::{Address, U256};
use revm::context::result::{EVMError, ExecutionResult, HaltReason, InvalidTransaction, Output};

use crate::rpc::RpcError;

/// Longest encoded transaction, in bytes (go-ethereum, `txMaxSize`).
pub(crate) const MAX_TRANSACTION_LEN: usize = 128 * 1024;

/// The transaction, or call, does not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reject {
    #[error("oversized data: transaction size {len}, limit {MAX_TRANSACTION_LEN}")]
    TooLong { len: usize },
    #[error("rlp: the transaction cannot be decoded")]
    Undecodable,
    #[error("transaction type not supported: blobs (EIP-4844) have no place on this chain")]
    Blobs,
    #[error("invalid sender: the signature is not valid")]
    Signature,
    #[error("invalid chain id for signer: have {have} want {want}")]
    ChainId { have: u64, want: u64 },
    #[error("only replay-protected (EIP-155) transactions allowed over RPC")]
    Unprotected,
    #[error("nonce too low: next nonce {next}, tx nonce {nonce}")]
    NonceTooLow { next: u64, nonce: u64 },
    #[error("nonce too high: next nonce {next}, tx nonce {nonce}; this chain has no pending pool")]
    NonceTooHigh { next: u64, nonce: u64 },
    #[error("nonce has max value: address {0}")]
    NonceMax(Address),
    #[error(
        "insufficient funds for gas * price + value: address {address} have {have} want {want}"
    )]
    Funds { address: Address, have: U256, want: U256 },
    #[error("intrinsic gas too low: have {have}, want {want}")]
    IntrinsicGas { have: u64, want: u64 },
    #[error("insufficient gas for floor data gas cost: gas {have}, minimum needed {want}")]
    FloorGas { have: u64, want: u64 },
    #[error("exceeds block gas limit")]
    BlockGasLimit,
    #[error("transaction gas limit too high (cap: {cap}, tx: {gas})")]
    GasCap { cap: u64, gas: u64 },
    #[error("max fee per gas less than block base fee: baseFee: {base_fee}")]
    FeeTooLow { base_fee: u64 },
    #[error("max priority fee per gas higher than max fee per gas")]
    TipAboveFee,
    #[error("max initcode size exceeded")]
    InitCodeSize,
    #[error("sender not an eoa: address {0}")]
    SenderNotEoa(Address),
    #[error("EIP-7702 transaction with empty auth list")]
    EmptyAuthorizations,
    #[error("{0}")]
    Other(String),
}

impl Reject {
    /// What the EVM said, about a transaction of `sender` in a block with `base_fee`.
    pub(crate) fn from_evm(error: EVMError<Infallible>, sender: Address, base_fee: u64) -> Self {
        let EVMError::Transaction(error) = error else { return Self::Other(error.to_string()) };
        match error {
            InvalidTransaction::NonceTooLow { tx, state } => {
                Self::NonceTooLow { next: state, nonce: tx }
            }
            InvalidTransaction::NonceTooHigh { tx, state } => {
                Self::NonceTooHigh { next: state, nonce: tx }
            }
            InvalidTransaction::NonceOverflowInTransaction => Self::NonceMax(sender),
            InvalidTransaction::LackOfFundForMaxFee { fee, balance } => {
                Self::Funds { address: sender, have: *balance, want: *fee }
            }
            InvalidTransaction::CallGasCostMoreThanGasLimit { initial_gas, gas_limit } => {
                Self::IntrinsicGas { have: gas_limit, want: initial_gas }
            }
            InvalidTransaction::GasFloorMoreThanGasLimit { gas_floor, gas_limit } => {
                Self::FloorGas { have: gas_limit, want: gas_floor }
            }
            InvalidTransaction::CallerGasLimitMoreThanBlock => Self::BlockGasLimit,
            InvalidTransaction::TxGasLimitGreaterThanCap { gas_limit, cap } => {
                Self::GasCap { cap, gas: gas_limit }
            }
            InvalidTransaction::GasPriceLessThanBasefee => Self::FeeTooLow { base_fee },
            InvalidTransaction::PriorityFeeGreaterThanMaxFee => Self::TipAboveFee,
            InvalidTransaction::CreateInitCodeSizeLimit => Self::InitCodeSize,
            InvalidTransaction::RejectCallerWithCode => Self::SenderNotEoa(sender),
            InvalidTransaction::EmptyAuthorizationList => Self::EmptyAuthorizations,
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<Reject> for RpcError {
    fn from(reject: Reject) -> Self {
        Self::server(reject.to_string())
    }
}

/// A call that ran and did not succeed: `execution reverted` with the contract's data, or the
/// EVM's reason for stopping.
pub(crate) fn failed(result: &ExecutionResult) -> RpcError {
    match result {
        ExecutionResult::Halt { reason: HaltReason::OutOfGas(_), .. } => {
            RpcError::server("out of gas".to_owned())
        }
        ExecutionResult::Halt { reason, .. } => RpcError::server(format!("EVM error: {reason:?}")),
        ExecutionResult::Revert { output, .. }
        | ExecutionResult::Success {
            output: Output::Call(output) | Output::Create(output, _),
            ..
        } => RpcError {
            code: RpcError::REVERTED,
            message: "execution reverted".to_owned(),
            data: Some(output.clone()),
        },
    }
}
