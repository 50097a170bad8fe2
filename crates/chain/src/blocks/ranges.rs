//! History by `eth_getLogs`: ranges as wide as the node answers.

use std::collections::BTreeMap;

use alloy::{rpc::types::Log, transports::TransportError};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{Batch, BlockReader, LedgerBlock, Point, is_refusal};
use crate::ChainError;

/// Blocks in the first range, and in the widest.
pub(super) const FIRST_SPAN: u64 = 2_000;
const MAX_SPAN: u64 = 100_000;

/// JSON-RPC's "method not found": no narrower range helps.
const NO_METHOD: i64 = -32_601;

impl BlockReader {
    /// Reads one range. A node that refuses is asked for half as many blocks, whatever its words:
    /// every provider has its own for "too many".
    pub(super) async fn read_ranges(&mut self, until: u64) -> Result<Option<Batch>, ChainError> {
        loop {
            let last = until.min(self.next.saturating_add(self.span - 1));
            match self.range(last).await {
                Err(ChainError::Node(error)) if last > self.next && is_too_much(&error) => {
                    self.span = (last - self.next).div_ceil(2);
                    self.in_flight = self.in_flight.div_ceil(2);
                }
                Err(error) => return Err(error),
                Ok(None) => return Ok(None),
                Ok(Some(batch)) => {
                    self.next = batch.tip.number + 1;
                    self.parent = Some(batch.tip.hash);
                    self.span = (self.span + self.span / 4 + 1).min(MAX_SPAN);
                    return Ok(Some(batch));
                }
            }
        }
    }

    /// The blocks that the node names in a range that starts where the reader stands, each checked.
    async fn range(&self, last: u64) -> Result<Option<Batch>, ChainError> {
        let Some(tip) = self.point(last).await? else { return Ok(None) };
        let claims = by_block(self.source.claimed(self.next, last).await?);
        let blocks = stream::iter(claims)
            .map(|(number, claims)| self.named(number, claims))
            .buffered(self.in_flight)
            .try_collect()
            .await?;
        // Blocks in between were not linked, so nothing may have moved while they were read.
        self.stands(tip).await?;
        if let (Some(hash), Some(number)) = (self.parent, self.next.checked_sub(1)) {
            self.stands(Point { number, hash }).await?;
        }
        Ok(Some(Batch { blocks, tip }))
    }

    /// A block that the node named, with all of its events.
    async fn named(&self, number: u64, claims: Vec<Log>) -> Result<LedgerBlock, ChainError> {
        let reorganized = ChainError::Reorganized { block: number };
        let Some(verified) = self.source.block(number).await? else { return Err(reorganized) };
        let block = verified.block;
        if claims.iter().any(|claim| claim.block_hash != Some(block.hash)) {
            return Err(reorganized);
        }
        let same = claims.len() == block.logs.len()
            && claims.iter().zip(&block.logs).all(|(claim, log)| claim.inner.data == log.data);
        if !same {
            return Err(ChainError::Inconsistent { what: "logs of the block", block: number });
        }
        Ok(block)
    }

    async fn stands(&self, point: Point) -> Result<(), ChainError> {
        match self.point(point.number).await? {
            Some(now) if now == point => Ok(()),
            _ => Err(ChainError::Reorganized { block: point.number }),
        }
    }
}

fn by_block(logs: Vec<Log>) -> BTreeMap<u64, Vec<Log>> {
    let mut blocks: BTreeMap<u64, Vec<Log>> = BTreeMap::new();
    for log in logs {
        // `claimed` let through only logs that name their block.
        blocks.entry(log.block_number.unwrap_or_default()).or_default().push(log);
    }
    blocks
}

fn is_too_much(error: &TransportError) -> bool {
    is_refusal(error) && error.as_error_resp().is_none_or(|answer| answer.code != NO_METHOD)
}
