//! Blocks that a quorum has, and their receipts.

use std::{
    sync::{PoisonError, atomic::Ordering},
    time::Duration,
};

use alloy::rpc::types::{Header, TransactionReceipt};
use alloy_primitives::{B256, U256};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use serde_json::{Value, json};

use super::{
    Inner, moving,
    poll::{Answered, equal},
    quantity,
};
use crate::{
    ChainError,
    blocks::{block_hash, receipts_root},
};

/// After this long without receipts from one node the next is asked too.
const NEXT_NODE_AFTER: Duration = Duration::from_millis(250);

/// Headers that are remembered for their receipts: twice what a reader of history has open at once.
const MAX_RECENT: usize = 64;

/// A block that a quorum has.
#[derive(Clone, Debug)]
pub(super) struct Agreed {
    pub(super) header: Header,
    /// Hashes, or whole transactions if they were asked for.
    transactions: Value,
}

impl Agreed {
    pub(super) fn number(&self) -> Value {
        json!(U256::from(self.header.number))
    }

    /// Only what was checked or agreed on: the rest of a node's answer is its own word.
    pub(super) fn to_json(&self) -> Value {
        let header = Header { total_difficulty: None, size: None, ..self.header.clone() };
        let mut block = serde_json::to_value(header).unwrap_or_default();
        block["transactions"] = self.transactions.clone();
        block["uncles"] = json!([]);
        block
    }
}

impl Inner {
    /// A block by number or tag.
    pub(super) async fn block(
        &self,
        params: Vec<Value>,
    ) -> Result<Answered<Option<Agreed>>, ChainError> {
        let at = params.first().cloned().unwrap_or(Value::Null);
        let full = params.get(1).cloned().unwrap_or(Value::Bool(false));
        let number = match (moving(&at), at.as_str()) {
            (Some(tag), _) => match self.tagged(tag).await? {
                Answered::Said(Some(block)) if full == Value::Bool(true) => block.number(),
                other => return Ok(other),
            },
            (None, Some("earliest")) => json!(U256::ZERO),
            (None, _) => at,
        };
        self.numbered(&number, full).await
    }

    /// The block of a height.
    pub(super) async fn numbered(
        &self,
        number: &Value,
        full: Value,
    ) -> Result<Answered<Option<Agreed>>, ChainError> {
        let height = quantity(number).ok_or(ChainError::Invalid("not a number of a block"))?;
        let read = |block: Value| read_block(block, |header| U256::from(header.number) == height);
        let agreed = self.agree("eth_getBlockByNumber", &[number.clone(), full], read).await?;
        if let Answered::Said(Some(block)) = &agreed {
            self.remember(block);
        }
        Ok(agreed)
    }

    /// The block of a tag that each node understands in its own way: the highest that a quorum reaches, which a
    /// quorum must have as the same block. Whoever names a height that is not there raises nothing.
    pub(super) async fn tagged(&self, tag: &str) -> Result<Answered<Option<Agreed>>, ChainError> {
        let method = "eth_getBlockByNumber";
        let params = [json!(tag), Value::Bool(false)];
        // Every chain has a newest block; not every one has a final one yet.
        let read = |block: Value| match tag {
            "latest" if block.is_null() => None,
            _ => read_block(block, |_| true),
        };
        let mut seen = match self.survey(method, &params, read).await? {
            Answered::Said(seen) => seen,
            Answered::Refused(error) => return Ok(Answered::Refused(error)),
        };
        let same = |key: &str| seen.iter().filter(|(other, _)| other == key).count();
        if let Some(at) = seen.iter().position(|(key, _)| same(key) >= self.quorum) {
            let (_, block) = seen.swap_remove(at);
            if let Some(block) = &block {
                self.remember(block);
            }
            return Ok(Answered::Said(block));
        }
        let numbers = seen.into_iter().filter_map(|(key, it)| Some((key, it?.header.number)));
        let numbers: Vec<(String, u64)> = numbers.collect();
        let claimed = numbers.len();
        let number = self.reached(numbers).ok_or_else(|| self.disagreement(method, claimed))?;
        match self.numbered(&json!(U256::from(number)), Value::Bool(false)).await? {
            // So many say that they are there, and now they do not have it.
            Answered::Said(None) => Err(self.disagreement(method, 0)),
            other => Ok(other),
        }
    }

    pub(super) async fn block_by_hash(
        &self,
        hash: Value,
        full: Value,
    ) -> Result<Answered<Option<Agreed>>, ChainError> {
        let asked: B256 = serde_json::from_value(hash.clone())
            .map_err(|_| ChainError::Invalid("not a hash of a block"))?;
        let read = |block: Value| read_block(block, |header| header.hash == asked);
        self.agree("eth_getBlockByHash", &[hash, full], read).await
    }

    /// The receipts of a block, from the first node whose receipts have the root of the agreed header.
    pub(super) async fn receipts(&self, params: Vec<Value>) -> Result<Answered<Value>, ChainError> {
        let at = params.first().cloned().unwrap_or(Value::Null);
        let hash = at.as_str().filter(|text| text.len() == 66).map(ToOwned::to_owned);
        let block = match (hash, self.remembered(&at)) {
            (_, Some(block)) => Answered::Said(Some(block)),
            (Some(hash), None) => self.block_by_hash(json!(hash), Value::Bool(false)).await?,
            (None, None) => self.block(vec![at]).await?,
        };
        let block = match block {
            Answered::Said(Some(block)) => block,
            Answered::Said(None) => return Ok(Answered::Said(Value::Null)),
            Answered::Refused(error) => return Ok(Answered::Refused(error)),
        };
        let fitting = self.fitting_receipts(&block).await;
        if fitting.is_err() {
            // Perhaps the block is another one by now.
            self.forget(&block);
        }
        fitting.map(Answered::Said)
    }

    /// Asks one node after the other, the next one as soon as it takes long.
    async fn fitting_receipts(&self, block: &Agreed) -> Result<Value, ChainError> {
        let start = self.current.load(Ordering::Relaxed);
        let mut waiting = (0..self.voters.len()).map(|step| start.wrapping_add(step));
        let mut open = FuturesUnordered::new();
        let mut error = None;
        loop {
            let next = async { if open.is_empty() { None } else { open.next().await } };
            let answer = tokio::time::timeout(NEXT_NODE_AFTER, next).await;
            match answer {
                Ok(Some((index, Ok(receipts)))) => {
                    self.current.store(index, Ordering::Relaxed);
                    return Ok(receipts);
                }
                Ok(Some((_, Err(failed)))) => error = Some(failed),
                Ok(None) | Err(_) => {}
            }
            match waiting.next() {
                Some(index) => {
                    open.push(async move { (index, self.receipts_of(index, block).await) })
                }
                None if open.is_empty() => break,
                None => {}
            }
        }
        Err(match error {
            Some(error @ ChainError::TooLarge { .. }) => error,
            _ => self.disagreement("eth_getBlockReceipts", 0),
        })
    }

    async fn receipts_of(&self, index: usize, block: &Agreed) -> Result<Value, ChainError> {
        let voter = &self.voters[index % self.voters.len()];
        let number = json!(U256::from(block.header.number));
        let said = voter.ask("eth_getBlockReceipts", &[number], self.options.timeout).await;
        let value = said.into_value(voter)?;
        let wrong = || voter.malformed("receipts of another block");
        let receipts: Vec<TransactionReceipt> =
            serde_json::from_value(value).map_err(|_| wrong())?;
        let named = block.transactions.as_array().map(Vec::as_slice).unwrap_or_default();
        let same = named.len() == receipts.len()
            && named.iter().zip(&receipts).all(|(named, receipt)| {
                let hash =
                    named.get("hash").unwrap_or(named).as_str().and_then(|it| it.parse().ok());
                hash == Some(receipt.transaction_hash)
            });
        if !same || receipts_root(&receipts) != block.header.receipts_root {
            return Err(wrong());
        }
        // What consensus does not cover is said as the agreed block has it.
        let mut first_log = 0;
        let receipts: Vec<TransactionReceipt> = receipts
            .into_iter()
            .zip(0_u64..)
            .map(|(receipt, place)| {
                let logs = receipt.inner.logs().len() as u64;
                let receipt = positioned(receipt, block, place, first_log);
                first_log += logs;
                receipt
            })
            .collect();
        serde_json::to_value(receipts).map_err(|_| wrong())
    }

    fn remember(&self, block: &Agreed) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|known| known.header.number != block.header.number);
        if recent.len() == MAX_RECENT {
            recent.pop_front();
        }
        recent.push_back(block.clone());
    }

    fn forget(&self, block: &Agreed) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|known| known.header.hash != block.header.hash);
    }

    /// The block that was agreed on last under a number.
    fn remembered(&self, at: &Value) -> Option<Agreed> {
        let number = quantity(at)?;
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().find(|known| U256::from(known.header.number) == number).cloned()
    }
}

/// A block whose hash recomputes, by that hash and its transactions.
pub(super) fn read_block(
    value: Value,
    is_asked: impl Fn(&Header) -> bool,
) -> Option<(String, Option<Agreed>)> {
    if value.is_null() {
        return Some(("null".to_owned(), None));
    }
    let transactions = value.get("transactions").cloned().unwrap_or_else(|| json!([]));
    let header: Header = serde_json::from_value(value).ok()?;
    if !is_asked(&header) || block_hash(&header.inner) != header.hash {
        return None;
    }
    let (key, transactions) = equal(transactions)?;
    Some((format!("{:x} {key}", header.hash), Some(Agreed { header, transactions })))
}

/// A receipt with the places that follow from the agreed block.
fn positioned(
    mut receipt: TransactionReceipt,
    block: &Agreed,
    place: u64,
    first_log: u64,
) -> TransactionReceipt {
    let (hash, number) = (block.header.hash, block.header.number);
    let transaction = receipt.transaction_hash;
    receipt.block_hash = Some(hash);
    receipt.block_number = Some(number);
    receipt.transaction_index = Some(place);
    let mut index = first_log;
    receipt.inner = receipt.inner.map_logs(|mut log| {
        log.block_hash = Some(hash);
        log.block_number = Some(number);
        log.block_timestamp = Some(block.header.timestamp);
        log.transaction_hash = Some(transaction);
        log.transaction_index = Some(place);
        log.log_index = Some(index);
        log.removed = false;
        index += 1;
        log
    });
    receipt
}
