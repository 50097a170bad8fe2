//! A node of a development chain that says what is not so.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(clippy::cast_possible_truncation, reason = "salts and places are small")]
#![allow(clippy::cast_possible_wrap, reason = "salts and places are small")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use alloy::{
    consensus::Header as ConsensusHeader,
    network::Ethereum,
    providers::{DynProvider, Provider as _, ProviderBuilder},
    rpc::{
        client::RpcClient,
        json_rpc::{ErrorPayload, RequestPacket, Response, ResponsePacket, ResponsePayload},
        types::Header,
    },
    transports::{TransportError, TransportFut},
};
use alloy_primitives::{B256, Bloom, keccak256};
use galen_devchain::{DevChain, RpcError};
use serde_json::{Value, json, value::to_raw_value};
use tower::Service;

/// Pseudo-random numbers that are the same in every run (splitmix64; Steele, Lea, Flood 2014).
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// What a node does to answers on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its newest block is old, and it has nothing after it.
    Stale,
    /// Its newest block is old every other time.
    Backwards,
    /// It names a newest block that is not there.
    TooHigh,
    /// Another number in its header, hash and all recomputed: a chain of its own.
    OwnChain,
    /// Another time in a header that keeps its hash.
    OtherTime,
    /// A bloom that excludes everything, in a header that keeps its hash.
    EmptyBloom,
    /// The same, hash recomputed.
    OwnBloom,
    /// No logs, although the bloom says that there are.
    NoLogs,
    /// One log is missing.
    OneLogLess,
    /// A log is there twice.
    DoubleLog,
    /// A log that nobody emitted.
    ExtraLog,
    /// A log with other data.
    OtherLog,
    /// Logs that say that they are of another block.
    OtherBlock,
    /// Logs that say that they were removed.
    Removed,
    /// Receipts of transactions that are not in the block.
    OtherTransactions,
    /// A block with other transactions.
    OtherBody,
    /// Another chain.
    OtherChain,
    /// Another chain every other time.
    ChangingChain,
    /// Nothing where there is something.
    Nothing,
    /// Nothing every other time.
    NothingYet,
    /// Another receipt.
    OtherReceipt,
    /// Too much was asked for.
    TooMuch,
    /// An error for everything.
    Error,
    /// Other results of calls and other state.
    OtherState,
    /// Calls that revert with a reason of the contract.
    Reverts,
    /// Gas a thousand times as dear.
    Dear,
    /// Answers of another type.
    OtherType,
    /// No answer.
    Silent,
    /// Answers after a while.
    Slow,
}

impl Kind {
    /// Costs time.
    pub(crate) fn is_late(self) -> bool {
        matches!(self, Self::Silent | Self::Slow)
    }

    /// Says what was so.
    pub(crate) fn is_old(self) -> bool {
        matches!(self, Self::Stale | Self::Backwards)
    }
}

pub(crate) const LIES: [Kind; 29] = [
    Kind::Stale,
    Kind::Backwards,
    Kind::TooHigh,
    Kind::OwnChain,
    Kind::OtherTime,
    Kind::EmptyBloom,
    Kind::OwnBloom,
    Kind::NoLogs,
    Kind::OneLogLess,
    Kind::DoubleLog,
    Kind::ExtraLog,
    Kind::OtherLog,
    Kind::OtherBlock,
    Kind::Removed,
    Kind::OtherTransactions,
    Kind::OtherBody,
    Kind::OtherChain,
    Kind::ChangingChain,
    Kind::Nothing,
    Kind::NothingYet,
    Kind::OtherReceipt,
    Kind::TooMuch,
    Kind::Error,
    Kind::OtherState,
    Kind::Reverts,
    Kind::Dear,
    Kind::OtherType,
    Kind::Silent,
    Kind::Slow,
];

/// A lie; another salt makes another one of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lie {
    pub(crate) kind: Kind,
    pub(crate) salt: u64,
}

type Answer = Result<Value, RpcError>;

/// A node, perhaps a liar.
pub(crate) struct Node {
    chain: DevChain,
    lie: Option<Lie>,
    /// How many answers were not what the chain says.
    pub(crate) told: AtomicUsize,
    turn: AtomicBool,
}

impl Node {
    pub(crate) fn new(chain: &DevChain, lie: Option<Lie>) -> Arc<Self> {
        let (told, turn) = (AtomicUsize::new(0), AtomicBool::new(false));
        Arc::new(Self { chain: chain.clone(), lie, told, turn })
    }

    pub(crate) fn provider(self: &Arc<Self>) -> DynProvider<Ethereum> {
        let client = RpcClient::new(Handle(Arc::clone(self)), true);
        ProviderBuilder::default().connect_client(client).erased()
    }

    /// What the node says; `None` for nothing at all.
    fn say(&self, method: &str, params: &Value) -> Option<Answer> {
        let right = self.chain.request(method, params);
        let Some(lie) = self.lie else { return Some(right) };
        let said = match lie.kind {
            Kind::Silent => None,
            kind => Some(self.lied(kind, lie.salt, method, params, right.clone())),
        };
        let same = match (&said, &right) {
            (Some(Ok(said)), Ok(right)) => said == right,
            (Some(Err(said)), Err(right)) => said == right,
            _ => false,
        };
        if !same || lie.kind == Kind::Slow {
            self.told.fetch_add(1, Ordering::SeqCst);
        }
        said
    }

    fn lied(&self, kind: Kind, salt: u64, method: &str, params: &Value, right: Answer) -> Answer {
        let every_other = || self.turn.fetch_xor(true, Ordering::SeqCst);
        match kind {
            Kind::Stale => self.stale(3 + salt % 5, method, params, right),
            Kind::Backwards if every_other() => self.stale(2 + salt % 5, method, params, right),
            Kind::ChangingChain if every_other() => chain_id(salt, method, right),
            Kind::NothingYet if every_other() => right.map(|_| Value::Null),
            Kind::OtherChain => chain_id(salt, method, right),
            Kind::Nothing => right.map(|_| Value::Null),
            Kind::Error => Err(RpcError::new_for_test(-32_000 - salt as i64, "no")),
            Kind::TooMuch => match method {
                "eth_getLogs" | "eth_getBlockReceipts" => {
                    Err(RpcError::new_for_test(-32_005, "query returned more than 10000 results"))
                }
                _ => right,
            },
            Kind::OtherType => right.map(|_| json!({ "a": [salt] })),
            Kind::Reverts => match method {
                // ConsentVersionStale(uint32,uint32) or whatever the salt makes of it.
                "eth_call" | "eth_estimateGas" => Err(RpcError {
                    code: RpcError::REVERTED,
                    message: "execution reverted".to_owned(),
                    data: Some(keccak256(salt.to_be_bytes()).to_vec().into()),
                }),
                _ => right,
            },
            Kind::Dear => match method {
                "eth_gasPrice" | "eth_maxPriorityFeePerGas" | "eth_estimateGas" => {
                    Ok(json!(format!("{:#x}", u128::MAX >> (8 + salt % 64))))
                }
                _ => right,
            },
            Kind::OtherState => match method {
                "eth_call"
                | "eth_getCode"
                | "eth_getStorageAt"
                | "eth_getBalance"
                | "eth_getTransactionCount" => right.map(|value| other_text(&value, salt)),
                _ => right,
            },
            _ => right.map(|value| shaped(kind, salt, method, value)),
        }
    }

    /// As a node that stopped some blocks ago says it.
    fn stale(&self, blocks: u64, method: &str, params: &Value, right: Answer) -> Answer {
        let head = self.chain.head().number - blocks;
        let asked = params.get(0).and_then(Value::as_str).unwrap_or_default();
        let number = asked.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
        match method {
            "eth_blockNumber" => Ok(json!(format!("{head:#x}"))),
            "eth_getBlockByNumber" | "eth_getBlockReceipts" => match number {
                Some(number) if number > head => Ok(Value::Null),
                Some(_) => right,
                None => {
                    let full = params.get(1).cloned().unwrap_or(json!(false));
                    self.chain.request(method, &json!([format!("{head:#x}"), full]))
                }
            },
            "eth_call" | "eth_getBalance" | "eth_getTransactionCount" | "eth_getCode" => {
                Err(RpcError::new_for_test(-32_000, "header not found"))
            }
            _ => right,
        }
    }
}

trait ForTest {
    fn new_for_test(code: i64, message: &str) -> Self;
}

impl ForTest for RpcError {
    fn new_for_test(code: i64, message: &str) -> Self {
        Self { code, message: message.to_owned(), data: None }
    }
}

fn chain_id(salt: u64, method: &str, right: Answer) -> Answer {
    if method == "eth_chainId" { Ok(json!(format!("{:#x}", 5 + salt))) } else { right }
}

/// The same number of digits, other digits.
fn other_text(value: &Value, salt: u64) -> Value {
    let Some(text) = value.as_str() else { return value.clone() };
    let digits: String = text
        .char_indices()
        .map(|(at, c)| match c.to_digit(16) {
            Some(digit) if at > 1 => {
                let shift = (salt as u32).wrapping_add(at as u32) % 15 + 1;
                char::from_digit((digit + shift) % 16, 16).unwrap()
            }
            _ => c,
        })
        .collect();
    // A quantity has no leading zero.
    json!(if digits.starts_with("0x0") && digits.len() < 60 {
        digits.replacen("0x0", "0x1", 1)
    } else {
        digits
    })
}

fn other_hash(salt: u64) -> Value {
    json!(keccak256(salt.to_be_bytes()))
}

/// Changes blocks, receipts and logs.
fn shaped(kind: Kind, salt: u64, method: &str, mut value: Value) -> Value {
    if value.is_null() {
        return value;
    }
    match method {
        "eth_getBlockByNumber" | "eth_getBlockByHash" => block(kind, salt, value),
        "eth_blockNumber" if kind == Kind::TooHigh => json!(format!("{:#x}", (1 << 40) + salt)),
        "eth_sendRawTransaction" if kind == Kind::OtherReceipt => other_hash(salt),
        "eth_getLogs" => {
            if let Some(logs) = value.as_array_mut() {
                change_logs(kind, salt, logs);
            }
            value
        }
        "eth_getTransactionReceipt" => {
            if kind == Kind::OtherReceipt {
                value["transactionHash"] = other_hash(salt);
            }
            change_logs_of(kind, salt, &mut value);
            value
        }
        "eth_getBlockReceipts" => {
            let receipts = value.as_array_mut().unwrap();
            for receipt in receipts.iter_mut() {
                change_logs_of(kind, salt, receipt);
                if matches!(kind, Kind::OtherTransactions | Kind::OtherReceipt) {
                    receipt["transactionHash"] = other_hash(salt);
                }
            }
            value
        }
        _ => value,
    }
}

fn change_logs_of(kind: Kind, salt: u64, receipt: &mut Value) {
    if let Some(logs) = receipt["logs"].as_array_mut() {
        change_logs(kind, salt, logs);
    }
}

fn change_logs(kind: Kind, salt: u64, logs: &mut Vec<Value>) {
    if logs.is_empty() {
        return;
    }
    let place = salt as usize % logs.len();
    match kind {
        Kind::NoLogs => logs.clear(),
        Kind::OneLogLess => _ = logs.remove(place),
        Kind::DoubleLog => logs.push(logs[place].clone()),
        Kind::ExtraLog => {
            let mut extra = logs[place].clone();
            extra["data"] = other_text(&extra["data"], salt);
            logs.push(extra);
        }
        Kind::OtherLog => logs[place]["topics"][0] = other_hash(salt),
        Kind::OtherBlock => logs.iter_mut().for_each(|log| log["blockHash"] = other_hash(salt)),
        Kind::Removed => logs[place]["removed"] = json!(true),
        _ => {}
    }
}

fn block(kind: Kind, salt: u64, mut value: Value) -> Value {
    match kind {
        Kind::OtherTime => value["timestamp"] = json!(format!("{:#x}", 1_800_000_000 + salt)),
        Kind::EmptyBloom => value["logsBloom"] = json!(Bloom::ZERO),
        Kind::OtherBody => value["transactions"] = json!([other_hash(salt)]),
        Kind::OwnChain | Kind::OwnBloom | Kind::TooHigh => {
            let mut header: Header = serde_json::from_value(value.clone()).unwrap();
            match kind {
                Kind::OwnChain => header.inner.extra_data = salt.to_be_bytes().to_vec().into(),
                Kind::TooHigh => header.inner.number += (1 << 40) + salt,
                _ => {
                    header.inner.logs_bloom = Bloom::ZERO;
                    header.inner.receipts_root = B256::with_last_byte(salt as u8);
                }
            }
            let transactions = value["transactions"].clone();
            let inner: ConsensusHeader = header.inner;
            value = serde_json::to_value(Header::new(inner)).unwrap();
            value["transactions"] = transactions;
            value["uncles"] = json!([]);
        }
        _ => {}
    }
    value
}

/// The transport of a node.
#[derive(Clone)]
struct Handle(Arc<Node>);

impl Service<RequestPacket> for Handle {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let node = Arc::clone(&self.0);
        Box::pin(async move {
            let RequestPacket::Single(request) = packet else { panic!("one at a time") };
            let params = request.params().map(|raw| serde_json::from_str(raw.get()).unwrap());
            let said = node.say(request.method(), &params.unwrap_or(Value::Null));
            let Some(said) = said else {
                tokio::time::sleep(Duration::from_secs(3_600)).await;
                panic!("nobody waits that long");
            };
            if node.lie.is_some_and(|lie| lie.kind == Kind::Slow) {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            let payload = match said {
                Ok(value) => ResponsePayload::Success(to_raw_value(&value).unwrap()),
                Err(error) => ResponsePayload::Failure(ErrorPayload {
                    code: error.code,
                    message: error.message.into(),
                    data: error.data.map(|data| to_raw_value(&data).unwrap()),
                }),
            };
            Ok(ResponsePacket::Single(Response { id: request.id().clone(), payload }))
        })
    }
}
