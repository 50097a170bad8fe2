//! The ledger's events, block by block, checked before anyone sees them.
//!
//! A node can leave out logs without being noticed: `eth_getLogs` proves nothing. In the mode
//! [`HistoryMode::Blocks`] this reader fetches every header, recomputes its hash and follows the parent
//! links. A header whose bloom excludes the ledger proves that its block has no event of it; of every
//! other block the receipts are fetched and their root recomputed. So an omitted, added or changed event is
//! found. [`HistoryMode::Logs`] is for long chains and proves less.

mod hash;
mod ranges;
mod source;

use std::{fmt, str::FromStr};

use alloy::{network::Ethereum, providers::DynProvider, transports::TransportErrorKind};
use alloy_primitives::{Address, B256, Log, LogData};
use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};

use self::source::{Source, Verified};
pub(crate) use self::{hash::block_hash, source::receipts_root};
use crate::{
    ChainError, Finality,
    event::{LedgerEvent, Position, Stamped},
};

/// Most blocks that are read in one [`BlockReader::read`] of the mode `blocks`.
const BATCH_BLOCKS: u64 = 1_024;

/// Most questions that are open at a node at once. Halved when the node refuses.
const MAX_IN_FLIGHT: usize = 32;

/// What a history rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HistoryMode {
    /// Every header, linked to its parent, and the receipts of each block whose bloom names the ledger:
    /// nothing can be left out.
    #[default]
    Blocks,
    /// `eth_getLogs`, and header and receipts of each block that it names: nothing is forged and nothing
    /// is left out of such a block; that a whole block was left out shows only in the chart's slots.
    Logs,
}

/// The text is neither `blocks` nor `logs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a history is read by `blocks` or by `logs`")]
pub struct ParseHistoryModeError;

impl fmt::Display for HistoryMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocks => "blocks",
            Self::Logs => "logs",
        })
    }
}

impl FromStr for HistoryMode {
    type Err = ParseHistoryModeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "blocks" => Ok(Self::Blocks),
            "logs" => Ok(Self::Logs),
            _ => Err(ParseHistoryModeError),
        }
    }
}

/// One block by number and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Point {
    /// Block number.
    pub number: u64,
    /// Block hash, recomputed from the header.
    pub hash: B256,
}

/// A log of the ledger as consensus has it, and where it stands in its block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawLog {
    /// Index of the log in its block.
    pub index: u64,
    /// Hash of the transaction, as the node says: the receipts root does not cover it.
    pub transaction: B256,
    /// Topics and data.
    pub data: LogData,
}

/// One verified block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerBlock {
    /// Block number.
    pub number: u64,
    /// Block hash, recomputed from the header.
    pub hash: B256,
    /// Unix second of the block.
    pub time: u64,
    /// The ledger's events in this block, in order.
    pub events: Vec<Stamped>,
    /// The same as they are on chain, to keep.
    pub logs: Vec<RawLog>,
}

impl LedgerBlock {
    /// Decodes the ledger's logs of a block.
    ///
    /// # Errors
    ///
    /// [`ChainError::Inconsistent`] for a log that no ledger of this version emits.
    pub fn decode(
        ledger: Address,
        at: Point,
        time: u64,
        logs: Vec<RawLog>,
    ) -> Result<Self, ChainError> {
        let Point { number, hash } = at;
        let event = |raw: &RawLog| {
            let log = Log { address: ledger, data: raw.data.clone() };
            let event = LedgerEvent::decode(&log).ok_or(ChainError::Inconsistent {
                what: "unknown event of the ledger",
                block: number,
            })?;
            let transaction = raw.transaction;
            let at = Position { block: number, log: raw.index, time, transaction };
            Ok(Stamped { at, event })
        };
        let events = logs.iter().map(event).collect::<Result<_, ChainError>>()?;
        Ok(Self { number, hash, time, events, logs })
    }

    /// Number and hash.
    pub const fn point(&self) -> Point {
        Point { number: self.number, hash: self.hash }
    }
}

/// Some verified blocks in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Those that hold events of the ledger.
    pub blocks: Vec<LedgerBlock>,
    /// The last one, with or without events.
    pub tip: Point,
}

/// Reads verified blocks in order from where it stands.
#[derive(Clone, Debug)]
pub struct BlockReader {
    source: Source,
    mode: HistoryMode,
    next: u64,
    parent: Option<B256>,
    in_flight: usize,
    span: u64,
}

impl BlockReader {
    /// Starts at a block: the one that the ledger was deployed in, for a complete history.
    pub const fn new(provider: DynProvider<Ethereum>, ledger: Address, from: u64) -> Self {
        Self {
            source: Source::new(provider, ledger),
            mode: HistoryMode::Blocks,
            next: from,
            parent: None,
            in_flight: MAX_IN_FLIGHT,
            span: ranges::FIRST_SPAN,
        }
    }

    /// The same reader in another mode.
    pub const fn with_mode(mut self, mode: HistoryMode) -> Self {
        self.mode = mode;
        self
    }

    /// The same reader, standing after a block that was verified before.
    pub const fn after(mut self, point: Point) -> Self {
        self.next = point.number + 1;
        self.parent = Some(point.hash);
        self
    }

    /// Number of the next block to read.
    pub const fn next_number(&self) -> u64 {
        self.next
    }

    /// What the history rests on.
    pub const fn mode(&self) -> HistoryMode {
        self.mode
    }

    /// Number of the node's newest block.
    ///
    /// # Errors
    ///
    /// [`ChainError::Node`].
    pub async fn head(&self) -> Result<u64, ChainError> {
        self.source.head().await
    }

    /// Number of the highest final block, given the node's newest one.
    ///
    /// # Errors
    ///
    /// [`ChainError::NoFinalBlock`] or [`ChainError::Node`].
    pub async fn final_block(&self, finality: Finality, head: u64) -> Result<u64, ChainError> {
        self.source.final_block(finality, head).await
    }

    /// The block that the node has at a number, if it has one; its hash is recomputed.
    ///
    /// # Errors
    ///
    /// [`ChainError::Inconsistent`] or [`ChainError::Node`].
    pub async fn point(&self, number: u64) -> Result<Option<Point>, ChainError> {
        let header = self.source.header(number).await?;
        Ok(header.map(|header| Point { number, hash: header.hash }))
    }

    /// Unix second of a block, if the node still has this one at its number.
    ///
    /// # Errors
    ///
    /// As [`BlockReader::point`].
    pub async fn time(&self, at: Point) -> Result<Option<u64>, ChainError> {
        let header = self.source.header(at.number).await?;
        Ok(header.filter(|header| header.hash == at.hash).map(|header| header.timestamp))
    }

    /// The next block, with or without events, or `None` if the chain has no more. Reads it whole,
    /// whatever the mode.
    ///
    /// # Errors
    ///
    /// - [`ChainError::Reorganized`]: the block does not follow the one read before. Read anew.
    /// - [`ChainError::Inconsistent`]: header, receipts and logs do not fit each other.
    /// - [`ChainError::Node`]: the node did not answer; the reader stands where it stood.
    pub async fn next(&mut self) -> Result<Option<LedgerBlock>, ChainError> {
        let Some(block) = self.source.block(self.next).await? else { return Ok(None) };
        self.follow(&block)?;
        Ok(Some(block.block))
    }

    /// Reads on, at most to block `until` and at most one batch; `None` if there is nothing to read.
    /// What was verified before an error is returned; the error comes again with the next call. Dropped
    /// before it is done, it has done nothing.
    ///
    /// # Errors
    ///
    /// As [`BlockReader::next`]. The reader stands where it stood.
    pub async fn read(&mut self, until: u64) -> Result<Option<Batch>, ChainError> {
        if self.next > until {
            return Ok(None);
        }
        let mut ahead = self.clone();
        let result = match self.mode {
            HistoryMode::Blocks => ahead.read_blocks(until).await,
            HistoryMode::Logs => ahead.read_ranges(until).await,
        };
        *self = ahead;
        result
    }

    async fn read_blocks(&mut self, until: u64) -> Result<Option<Batch>, ChainError> {
        let last = until.min(self.next.saturating_add(BATCH_BLOCKS - 1));
        loop {
            match self.read_through(last).await {
                // A node that limits the rate is asked less at once.
                Err(ChainError::Node(error)) if self.in_flight > 1 && is_refusal(&error) => {
                    self.in_flight /= 2;
                }
                other => return other,
            }
        }
    }

    async fn read_through(&mut self, last: u64) -> Result<Option<Batch>, ChainError> {
        let source = self.source.clone();
        let mut answers = stream::iter(self.next..=last)
            .map(|number| source.block(number))
            .buffered(self.in_flight);
        let mut batch: Option<Batch> = None;
        while let Some(answer) = answers.next().await {
            let linked = answer.and_then(|block| match block {
                Some(block) => self.follow(&block).map(|()| Some(block.block)),
                None => Ok(None),
            });
            match (linked, &mut batch) {
                (Ok(Some(block)), batch) => {
                    let tip = block.point();
                    let batch = batch.get_or_insert_with(|| Batch { blocks: Vec::new(), tip });
                    batch.tip = tip;
                    if !block.logs.is_empty() {
                        batch.blocks.push(block);
                    }
                }
                // A node behind the one that named the head: no further block yet.
                (Ok(None), _) => break,
                (Err(_), Some(_)) => break,
                (Err(error), None) => return Err(error),
            }
        }
        Ok(batch)
    }

    /// Steps over a block that follows the one before it.
    fn follow(&mut self, block: &Verified) -> Result<(), ChainError> {
        if self.parent.is_some_and(|parent| parent != block.parent) {
            return Err(ChainError::Reorganized { block: self.next });
        }
        self.next += 1;
        self.parent = Some(block.block.hash);
        Ok(())
    }
}

/// Whether the node answered that it will not: an error object, or an HTTP status.
pub(crate) fn is_refusal(error: &alloy::transports::TransportError) -> bool {
    let status = error.as_transport_err().and_then(TransportErrorKind::as_http_error);
    error.is_error_resp() || status.is_some()
}
