//! What goes wrong between Galen and a chain.

use std::time::Duration;

use alloy::transports::TransportError;
use alloy_primitives::{Address, B256};
use galen_types::ErrorKind;

use crate::{account::SignError, revert::Revert};

/// A chain did not do what was asked, or said what cannot be true.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The contract refused the call.
    #[error("the contract refused: {0}")]
    Reverted(Revert),
    /// The node did not answer, or answered with an error of its own.
    #[error("the node did not answer as asked")]
    Node(#[source] TransportError),
    /// The transaction was sent but not seen in a block in time. It may still land.
    #[error("transaction {transaction} is not in a block after {} s", waited.as_secs())]
    NotMined {
        /// Hash of the transaction.
        transaction: B256,
        /// How long Galen waited.
        waited: Duration,
    },
    /// The transaction landed and failed. Its gas is spent.
    #[error("transaction {transaction} failed in its block")]
    Failed {
        /// Hash of the transaction.
        transaction: B256,
    },
    /// The node answered with something that no honest chain says.
    #[error("the node's answer does not hold together: {what} in block {block}")]
    Inconsistent {
        /// What does not match.
        what: &'static str,
        /// Block number.
        block: u64,
    },
    /// The chain below the last block that was read has changed.
    #[error("the chain was reorganized below block {block}")]
    Reorganized {
        /// First block that differs.
        block: u64,
    },
    /// The chain changed below a block that was final. Either the node lies or the chain is broken.
    #[error("block {block} was final and is another one now")]
    FinalityBroken {
        /// First block that is known to differ.
        block: u64,
    },
    /// The node is far behind what was verified before.
    #[error("the node is at block {head}, and block {verified} was verified before")]
    Behind {
        /// The node's newest block.
        head: u64,
        /// The newest block that was verified.
        verified: u64,
    },
    /// The node does not say which block is final.
    #[error("the node does not say which block is final; set a number of blocks")]
    NoFinalBlock,
    /// There is no ledger at the address.
    #[error("no health ledger at {0:#x}")]
    NotALedger(Address),
    /// A signature is not the controller's.
    #[error("not a signature of {0:#x}")]
    NotSigned(Address),
    /// There is no signature.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The request itself is wrong.
    #[error("{0}")]
    Invalid(&'static str),
}

impl ChainError {
    /// What the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Reverted(revert) => revert.kind(),
            Self::Node(_) | Self::NotMined { .. } | Self::Behind { .. } => ErrorKind::Unavailable,
            Self::Failed { .. } | Self::Reorganized { .. } => ErrorKind::Stale,
            Self::Inconsistent { .. } | Self::NotSigned(_) | Self::FinalityBroken { .. } => {
                ErrorKind::Integrity
            }
            Self::Sign(error) => error.kind(),
            Self::NotALedger(_) => ErrorKind::NotFound,
            Self::Invalid(_) | Self::NoFinalBlock => ErrorKind::Invalid,
        }
    }
}

impl From<TransportError> for ChainError {
    /// A revert that the contracts of Galen know becomes [`ChainError::Reverted`].
    fn from(error: TransportError) -> Self {
        match error.as_error_resp().and_then(|response| response.as_revert_data()) {
            Some(data) => Self::Reverted(Revert::decode(&data)),
            None => Self::Node(error),
        }
    }
}

impl From<alloy::contract::Error> for ChainError {
    fn from(error: alloy::contract::Error) -> Self {
        match error {
            alloy::contract::Error::TransportError(error) => error.into(),
            _ => Self::Invalid("the contract's answer has another shape"),
        }
    }
}
