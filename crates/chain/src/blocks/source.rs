//! Single blocks from a node, checked each by itself.

use alloy::{
    consensus::{ReceiptEnvelope, proofs::calculate_receipt_root},
    eips::BlockNumberOrTag,
    network::Ethereum,
    providers::{DynProvider, Provider},
    rpc::types::{Filter, Header, Log, TransactionReceipt},
};
use alloy_primitives::{Address, B256, BloomInput};

use super::{LedgerBlock, Point, RawLog, hash::block_hash};
use crate::{ChainError, Finality};

/// A block that holds together, and the block that it says it follows.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) block: LedgerBlock,
    pub(super) parent: B256,
}

/// A node, and the ledger that is asked for.
#[derive(Clone, Debug)]
pub(super) struct Source {
    provider: DynProvider<Ethereum>,
    ledger: Address,
}

impl Source {
    pub(super) const fn new(provider: DynProvider<Ethereum>, ledger: Address) -> Self {
        Self { provider, ledger }
    }

    pub(super) async fn head(&self) -> Result<u64, ChainError> {
        Ok(self.provider.get_block_number().await?)
    }

    pub(super) async fn final_block(
        &self,
        finality: Finality,
        head: u64,
    ) -> Result<u64, ChainError> {
        finality.block(&self.provider, head).await
    }

    /// A header whose hash is its own.
    pub(super) async fn header(&self, number: u64) -> Result<Option<Header>, ChainError> {
        let tag = BlockNumberOrTag::Number(number);
        let Some(block) = self.provider.get_block_by_number(tag).await? else { return Ok(None) };
        let header = block.header;
        let inconsistent = |what| Err(ChainError::Inconsistent { what, block: number });
        if header.number != number {
            return inconsistent("block number");
        }
        if block_hash(&header.inner) != header.hash {
            return inconsistent("header hash");
        }
        Ok(Some(header))
    }

    /// A block with its events. The receipts are fetched only if the bloom does not exclude the ledger.
    pub(super) async fn block(&self, number: u64) -> Result<Option<Verified>, ChainError> {
        let Some(header) = self.header(number).await? else { return Ok(None) };
        let logs = if header.logs_bloom.contains_input(BloomInput::Raw(self.ledger.as_slice())) {
            self.logs_of(&header).await?
        } else {
            Vec::new()
        };
        let at = Point { number, hash: header.hash };
        let block = LedgerBlock::decode(self.ledger, at, header.timestamp, logs)?;
        Ok(Some(Verified { block, parent: header.parent_hash }))
    }

    /// What the node says that the ledger emitted in some blocks. Proves nothing.
    pub(super) async fn claimed(&self, from: u64, to: u64) -> Result<Vec<Log>, ChainError> {
        let filter = Filter::new().address(self.ledger).from_block(from).to_block(to);
        let logs = self.provider.get_logs(&filter).await?;
        let wrong = logs.iter().any(|log| {
            let block = log.block_number.is_some_and(|number| (from..=to).contains(&number));
            log.removed || !block || log.block_hash.is_none() || log.address() != self.ledger
        });
        if wrong {
            return Err(ChainError::Inconsistent {
                what: "logs that were not asked for",
                block: from,
            });
        }
        Ok(logs)
    }

    /// The ledger's logs of a block, checked against the receipts root.
    async fn logs_of(&self, header: &Header) -> Result<Vec<RawLog>, ChainError> {
        let number = header.number;
        let tag = BlockNumberOrTag::Number(number);
        let receipts = self.provider.get_block_receipts(tag.into()).await?;
        let what = match receipts {
            Some(receipts) if receipts_root(&receipts) == header.receipts_root => {
                return Ok(self.positioned(&receipts));
            }
            Some(_) => "receipts root",
            None => "missing receipts",
        };
        // Receipts are asked for by number, as every node understands: perhaps of another block by now.
        match self.header(number).await? {
            Some(again) if again.hash == header.hash => {
                Err(ChainError::Inconsistent { what, block: number })
            }
            _ => Err(ChainError::Reorganized { block: number }),
        }
    }

    /// Positions are counted here, not taken from the node: the receipts root covers order only.
    fn positioned(&self, receipts: &[TransactionReceipt]) -> Vec<RawLog> {
        let logs = receipts
            .iter()
            .flat_map(|receipt| receipt.logs().iter().map(|log| (receipt.transaction_hash, log)));
        (0_u64..)
            .zip(logs)
            .filter(|(_, (_, log))| log.address() == self.ledger)
            .map(|(index, (transaction, log))| RawLog {
                index,
                transaction,
                data: log.inner.data.clone(),
            })
            .collect()
    }
}

/// The root that a header of these receipts has.
pub(crate) fn receipts_root(receipts: &[TransactionReceipt]) -> B256 {
    let envelopes: Vec<_> = receipts.iter().map(consensus_receipt).collect();
    calculate_receipt_root(&envelopes)
}

/// The receipt as consensus hashes it: logs without what RPC adds.
fn consensus_receipt(receipt: &TransactionReceipt) -> ReceiptEnvelope {
    receipt.inner.clone().map_logs(|log: Log| log.inner)
}
