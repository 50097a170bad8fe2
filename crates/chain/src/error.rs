//! What goes wrong between Galen and a chain.

use std::{io, time::Duration};

use alloy::transports::{TransportError, TransportErrorKind};
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
    /// Nobody answers at the address of the node, or the connection broke.
    #[error("{node} cannot be reached: {what}")]
    Unreachable {
        /// Scheme and host.
        node: String,
        /// What failed, in the words of the system.
        what: String,
    },
    /// The answer was not there in time.
    #[error("{node} did not answer within {} s", after.as_secs())]
    TimedOut {
        /// Scheme and host.
        node: String,
        /// How long Galen waited for one answer.
        after: Duration,
    },
    /// The node wants fewer requests.
    #[error("{node} refuses more requests for now")]
    RateLimited {
        /// Scheme and host.
        node: String,
        /// How long it wants to be left alone, if it said so.
        retry_after: Option<Duration>,
    },
    /// An answer that is no answer of JSON-RPC, with a status of HTTP that says so.
    #[error("{node} answered with HTTP status {status}")]
    HttpStatus {
        /// Scheme and host.
        node: String,
        /// Status of HTTP.
        status: u16,
    },
    /// The answer is longer than Galen reads.
    #[error("the answer of {node} is longer than {limit} bytes")]
    TooLarge {
        /// Scheme and host.
        node: String,
        /// The most that is read.
        limit: usize,
    },
    /// The answer is not JSON-RPC, or answers another question.
    #[error("{node} answered with nonsense: {what}")]
    Malformed {
        /// Scheme and host.
        node: String,
        /// What does not hold.
        what: &'static str,
    },
    /// Not enough nodes say the same: one of them lies, lags or is silent.
    #[error("only {agreed} of {asked} nodes agree on {method}")]
    Disagreement {
        /// The question.
        method: String,
        /// How many were asked.
        asked: usize,
        /// How many gave the answer that most of them gave.
        agreed: usize,
    },
    /// The node follows another chain.
    #[error("{node} follows chain {found}, not {expected}")]
    OtherChain {
        /// Scheme and host, or `the node`.
        node: String,
        /// The chain that was asked for.
        expected: u64,
        /// The chain that it follows.
        found: u64,
    },
    /// Plain HTTP beyond this machine: anybody on the way could read and change what is said.
    #[error("{node} is plain http on another machine; use https, or allow plain http")]
    PlainHttp {
        /// Scheme and host.
        node: String,
    },
    /// The node refused to take the transaction, which therefore never lands.
    #[error("the node refuses the transaction: {reason}")]
    Refused {
        /// The node's words, without control characters.
        reason: String,
    },
    /// Somebody else used the wallet: its nonce went to another transaction, and this one never lands.
    #[error("nonce {nonce} went to another transaction of the wallet; {transaction} never lands")]
    Displaced {
        /// The nonce.
        nonce: u64,
        /// Hash of the transaction that lost.
        transaction: B256,
    },
    /// A place in a block costs more than the settings allow.
    #[error("gas costs {needed} wei now; the ceiling is {ceiling}")]
    FeeCeiling {
        /// What the next block asks for, in wei for each unit of gas.
        needed: u128,
        /// The most that is paid.
        ceiling: u128,
    },
    /// The wallet's queue cannot be read or written.
    #[error("the transaction queue cannot be used: {doing}")]
    Queue {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process holds the wallet's queue.
    #[error("the transaction queue was held by somebody else for {} s", waited.as_secs())]
    QueueBusy {
        /// How long Galen waited.
        waited: Duration,
    },
    /// A file of the queue is not what was written.
    #[error("{file} in the transaction queue is damaged: {what}")]
    QueueDamaged {
        /// Name of the file in the directory of the queue.
        file: String,
        /// What does not hold.
        what: &'static str,
    },
    /// The relay did not take the call.
    #[error("the relay did not send it: {message}")]
    Relay {
        /// What the caller can do about it, as the relay says.
        kind: ErrorKind,
        /// The relay's words, without control characters.
        message: String,
    },
    /// What the relay sent is not what was asked.
    #[error("the relay sent something else: {what} of {transaction}")]
    RelayCheated {
        /// What differs.
        what: &'static str,
        /// Hash of the transaction that the relay named.
        transaction: B256,
    },
    /// There is other code than that of this release.
    #[error("{address:#x} does not hold this release's contract: {what}")]
    OtherCode {
        /// Where.
        address: Address,
        /// What differs.
        what: &'static str,
    },
    /// The ledger is there, and the node keeps neither the old state nor the logs that say since when.
    #[error("the node does not show in which block the ledger at {ledger:#x} was deployed")]
    NoDeploymentBlock {
        /// Address of the ledger.
        ledger: Address,
    },
    /// A service that compares sources with deployed code refused.
    #[error("the sources were not verified: {message}")]
    NotVerified {
        /// The service's words, without control characters.
        message: String,
    },
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
            Self::Relay { kind, .. } => *kind,
            Self::Node(_)
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::RateLimited { .. }
            | Self::HttpStatus { .. }
            | Self::TooLarge { .. }
            | Self::Malformed { .. }
            | Self::Disagreement { .. }
            | Self::FeeCeiling { .. }
            | Self::Queue { .. }
            | Self::QueueBusy { .. }
            | Self::Behind { .. }
            | Self::NotMined { .. } => ErrorKind::Unavailable,
            Self::Failed { .. } | Self::Displaced { .. } | Self::Reorganized { .. } => {
                ErrorKind::Stale
            }
            Self::Inconsistent { .. }
            | Self::FinalityBroken { .. }
            | Self::QueueDamaged { .. }
            | Self::RelayCheated { .. }
            | Self::OtherCode { .. }
            | Self::NotSigned(_) => ErrorKind::Integrity,
            Self::Sign(error) => error.kind(),
            Self::NotALedger(_) => ErrorKind::NotFound,
            Self::OtherChain { .. }
            | Self::PlainHttp { .. }
            | Self::Refused { .. }
            | Self::NoFinalBlock
            | Self::NoDeploymentBlock { .. }
            | Self::NotVerified { .. }
            | Self::Invalid(_) => ErrorKind::Invalid,
        }
    }
}

impl From<TransportError> for ChainError {
    /// A revert that the contracts of Galen know becomes [`ChainError::Reverted`].
    fn from(error: TransportError) -> Self {
        if let Some(data) = error.as_error_resp().and_then(|response| response.as_revert_data()) {
            return Self::Reverted(Revert::decode(&data));
        }
        match error {
            // What `rpc` found out travels through alloy in a box.
            TransportError::Transport(TransportErrorKind::Custom(inner)) => {
                match inner.downcast::<Self>() {
                    Ok(error) => *error,
                    Err(inner) => Self::Node(TransportErrorKind::Custom(inner).into()),
                }
            }
            other => Self::Node(other),
        }
    }
}

impl From<ChainError> for TransportError {
    fn from(error: ChainError) -> Self {
        TransportErrorKind::custom(error)
    }
}

/// Foreign words on their way into an error: one line, no control characters, not long.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}

impl From<alloy::contract::Error> for ChainError {
    fn from(error: alloy::contract::Error) -> Self {
        match error {
            alloy::contract::Error::TransportError(error) => error.into(),
            _ => Self::Invalid("the contract's answer has another shape"),
        }
    }
}
