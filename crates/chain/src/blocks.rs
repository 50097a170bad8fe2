//! The ledger's events, block by block, checked before anyone sees them.
//!
//! A node can leave out logs without being noticed: `eth_getLogs` proves nothing. This reader fetches
//! every block's receipts, recomputes the receipts root and the header hash, and follows the parent
//! links, so that an omitted, added or changed event is found.

use alloy::{
    consensus::{ReceiptEnvelope, proofs::calculate_receipt_root},
    eips::BlockNumberOrTag,
    network::Ethereum,
    providers::{DynProvider, Provider},
    rpc::types::{Log, TransactionReceipt},
};
use alloy_primitives::{Address, B256};

use crate::{
    ChainError,
    event::{LedgerEvent, Position, Stamped},
};

/// One verified block.
#[derive(Clone, Debug)]
pub struct LedgerBlock {
    /// Block number.
    pub number: u64,
    /// Block hash, recomputed from the header.
    pub hash: B256,
    /// Unix second of the block.
    pub time: u64,
    /// The ledger's events in this block, in order.
    pub events: Vec<Stamped>,
}

/// Reads verified blocks in order from where it stands.
#[derive(Clone, Debug)]
pub struct BlockReader {
    provider: DynProvider<Ethereum>,
    ledger: Address,
    next: u64,
    parent: Option<B256>,
}

impl BlockReader {
    /// Starts at a block: the one that the ledger was deployed in, for a complete history.
    pub const fn new(provider: DynProvider<Ethereum>, ledger: Address, from: u64) -> Self {
        Self { provider, ledger, next: from, parent: None }
    }

    /// Number of the next block to read.
    pub const fn next_number(&self) -> u64 {
        self.next
    }

    /// The next block, or `None` if the chain has no more.
    ///
    /// # Errors
    ///
    /// - [`ChainError::Reorganized`]: the block does not follow the one read before. Read anew.
    /// - [`ChainError::Inconsistent`]: header, receipts and logs do not fit each other.
    /// - [`ChainError::Node`]: the node did not answer; the reader stands where it stood.
    pub async fn next(&mut self) -> Result<Option<LedgerBlock>, ChainError> {
        let number = self.next;
        let tag = BlockNumberOrTag::Number(number);
        let Some(block) = self.provider.get_block_by_number(tag).await? else { return Ok(None) };
        let header = &block.header;
        let hash = header.inner.hash_slow();
        let inconsistent = |what| ChainError::Inconsistent { what, block: number };
        if header.number != number {
            return Err(inconsistent("block number"));
        }
        if hash != header.hash {
            return Err(inconsistent("header hash"));
        }
        if self.parent.is_some_and(|parent| parent != header.parent_hash) {
            return Err(ChainError::Reorganized { block: number });
        }
        let receipts = self
            .provider
            .get_block_receipts(tag.into())
            .await?
            .ok_or_else(|| inconsistent("missing receipts"))?;
        let envelopes: Vec<_> = receipts.iter().map(consensus_receipt).collect();
        if calculate_receipt_root(&envelopes) != header.receipts_root {
            return Err(inconsistent("receipts root"));
        }
        let events = self.events(&receipts, number, header.timestamp)?;
        self.next += 1;
        self.parent = Some(hash);
        Ok(Some(LedgerBlock { number, hash, time: header.timestamp, events }))
    }

    /// Positions are counted here, not taken from the node: the receipts root covers order only.
    fn events(
        &self,
        receipts: &[TransactionReceipt],
        block: u64,
        time: u64,
    ) -> Result<Vec<Stamped>, ChainError> {
        let mut events = Vec::new();
        let logs = receipts
            .iter()
            .flat_map(|receipt| receipt.logs().iter().map(|log| (receipt.transaction_hash, log)));
        for (index, (transaction, log)) in (0_u64..).zip(logs) {
            if log.address() != self.ledger {
                continue;
            }
            let event = LedgerEvent::decode(&log.inner)
                .ok_or(ChainError::Inconsistent { what: "unknown event of the ledger", block })?;
            events.push(Stamped { at: Position { block, log: index, time, transaction }, event });
        }
        Ok(events)
    }
}

/// The receipt as consensus hashes it: logs without what RPC adds.
fn consensus_receipt(receipt: &TransactionReceipt) -> ReceiptEnvelope {
    receipt.inner.clone().map_logs(|log: Log| log.inner)
}
