//! What a relay says of itself: log lines, counts, limits. Addresses, hashes and amounts; never a
//! signature, nor what is signed.

use std::{
    fmt,
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use alloy_primitives::{Address, B256};
use galen_chain::ChainError;
use galen_types::ErrorKind;
use serde::Serialize;

use super::{CONSORTIUM_FUNCTIONS, LEDGER_FUNCTIONS, MAX_CALL_LEN, RelayConfig, call::SignedCall};
use crate::error::RelayError;

/// Characters of a reason in the log.
const MAX_WHY: usize = 200;

/// One line of the log: what became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It was sent.
    Sent {
        /// Function of the contract.
        function: &'static str,
        /// Who signed first.
        id: Address,
        /// Hash of the transaction.
        transaction: B256,
    },
    /// It is in a block.
    Landed {
        /// Hash of what was sent first.
        transaction: B256,
        /// Number of the block.
        block: u64,
        /// Gas that it used.
        gas: u64,
    },
    /// It is not in a block for longer than usual.
    Waiting {
        /// Hash of what was sent first.
        transaction: B256,
    },
    /// It failed in its block, or will never be in one.
    Lost {
        /// Hash of what was sent first.
        transaction: B256,
        /// What happened.
        why: String,
    },
    /// It was not sent.
    Refused {
        /// Who asked.
        caller: IpAddr,
        /// The kind of refusal.
        kind: ErrorKind,
        /// Why not.
        why: String,
    },
}

impl Entry {
    pub(crate) fn sent(call: &SignedCall, transaction: B256) -> Self {
        Self::Sent { function: call.function, id: call.id, transaction }
    }

    pub(crate) fn lost(transaction: B256, error: &ChainError) -> Self {
        Self::Lost { transaction, why: clip(error) }
    }

    pub(crate) fn refused(caller: IpAddr, error: &RelayError) -> Self {
        Self::Refused { caller, kind: error.kind(), why: clip(error) }
    }
}

/// What a contract reverts with is repeated only so far: a hostile wallet chooses it.
fn clip(error: &impl fmt::Display) -> String {
    error.to_string().chars().filter(|c| !c.is_control()).take(MAX_WHY).collect()
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent { function, id, transaction } => {
                write!(f, "sent {function} id={id:#x} transaction={transaction:#x}")
            }
            Self::Landed { transaction, block, gas } => {
                write!(f, "landed transaction={transaction:#x} block={block} gas={gas}")
            }
            Self::Waiting { transaction } => write!(f, "waiting transaction={transaction:#x}"),
            Self::Lost { transaction, why } => {
                write!(f, "lost transaction={transaction:#x} why={why:?}")
            }
            Self::Refused { caller, kind, why } => {
                write!(f, "refused {kind} caller={caller} why={why:?}")
            }
        }
    }
}

/// Counts since the process began.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) sent: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) gas: AtomicU64,
    limited: AtomicU64,
    refused: AtomicU64,
    unavailable: AtomicU64,
}

impl Metrics {
    pub(crate) fn count(&self, error: &RelayError) {
        let counter = match (error, error.kind()) {
            (RelayError::Limited { .. }, _) => &self.limited,
            (_, ErrorKind::Unavailable | ErrorKind::Internal) => &self.unavailable,
            _ => &self.refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// In the text format of Prometheus, version 0.0.4.
    pub(crate) fn text(&self, gas_today: u64) -> String {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let rows = [
            ("sent", read(&self.sent)),
            ("failed", read(&self.failed)),
            ("repeated", read(&self.repeated)),
            ("limited", read(&self.limited)),
            ("refused", read(&self.refused)),
            ("unavailable", read(&self.unavailable)),
        ];
        let calls: String = rows
            .iter()
            .map(|(outcome, count)| {
                format!("galen_relay_calls_total{{outcome=\"{outcome}\"}} {count}\n")
            })
            .collect();
        format!(
            "# HELP galen_relay_calls_total Requests by what became of them.\n\
             # TYPE galen_relay_calls_total counter\n{calls}\
             # HELP galen_relay_gas_total Gas of the transactions that landed.\n\
             # TYPE galen_relay_gas_total counter\ngalen_relay_gas_total {}\n\
             # HELP galen_relay_gas_reserved_today Gas counted against the limit of the day.\n\
             # TYPE galen_relay_gas_reserved_today gauge\ngalen_relay_gas_reserved_today {gas_today}\n",
            read(&self.gas)
        )
    }
}

/// `GET /v1/status`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    chain_id: u64,
    ledger: Address,
    consortium: Address,
    wallet: Address,
    /// Whether the wallet can pay for the largest call at today's price.
    funded: bool,
    ledger_functions: [&'static str; LEDGER_FUNCTIONS.len()],
    consortium_functions: [&'static str; CONSORTIUM_FUNCTIONS.len()],
    limits: Limits,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Limits {
    call_bytes: usize,
    calls_per_caller_and_hour: u32,
    calls_per_id_and_hour: u32,
    gas_per_call: u64,
    gas_per_day: u64,
    gas_left_today: u64,
    max_fee_per_gas_wei: String,
    repeat_window_seconds: u64,
}

/// Addresses that are not in the configuration.
pub(crate) struct Parties {
    pub(crate) consortium: Address,
    pub(crate) wallet: Address,
}

impl Status {
    pub(crate) fn new(
        config: &RelayConfig,
        Parties { consortium, wallet }: Parties,
        funded: bool,
        gas_today: u64,
    ) -> Self {
        let (ledger, limits) = (config.ledger.id(), &config.limits);
        Self {
            chain_id: ledger.chain_id,
            ledger: ledger.contract,
            consortium,
            wallet,
            funded,
            ledger_functions: LEDGER_FUNCTIONS,
            consortium_functions: CONSORTIUM_FUNCTIONS,
            limits: Limits {
                call_bytes: MAX_CALL_LEN,
                calls_per_caller_and_hour: limits.calls_per_caller,
                calls_per_id_and_hour: limits.calls_per_id,
                gas_per_call: limits.gas_per_call,
                gas_per_day: limits.gas_per_day,
                gas_left_today: limits.gas_per_day.saturating_sub(gas_today),
                max_fee_per_gas_wei: limits.max_fee_per_gas.to_string(),
                repeat_window_seconds: limits.repeat_window.as_secs(),
            },
        }
    }
}
