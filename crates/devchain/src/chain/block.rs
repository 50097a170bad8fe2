//! A sealed block: header, at most one transaction, its receipt, and the way back.

use alloy::{
    consensus::{
        Eip658Value, Header, Receipt, ReceiptEnvelope, ReceiptWithBloom, Transaction as _,
        TxEnvelope, constants::EMPTY_WITHDRAWALS, proofs, transaction::Recovered,
    },
    eips::{eip1559::BaseFeeParams, eip7685::EMPTY_REQUESTS_HASH},
    primitives::{Address, B256, Bloom, Bytes, Log, keccak256},
    rpc::types::{
        Block as RpcBlock, BlockTransactions, Header as RpcHeader, Log as RpcLog, Transaction,
        TransactionReceipt,
    },
};
use alloy_rlp::{RlpDecodable, RlpEncodable};

use super::world::Before;
use crate::config::{Config, GENESIS_BASE_FEE};

/// The one transaction of a block and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct Mined {
    pub(crate) transaction: TxEnvelope,
    pub(crate) from: Address,
    pub(crate) receipt: ReceiptEnvelope,
    /// None or one.
    pub(crate) created: Vec<Address>,
}

/// A block. Its number is its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct Block {
    pub(crate) hash: B256,
    pub(crate) header: Header,
    /// None (genesis, `evm_mine`) or one.
    pub(crate) mined: Vec<Mined>,
    pub(crate) undo: Vec<Before>,
}

/// What the EVM says of a transaction, in the terms of a block.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) success: bool,
    /// Gas that the sender pays for.
    pub(crate) gas_used: u64,
    /// Gas that counts for the block; differs from `gas_used` since EIP-7778.
    pub(crate) block_gas_used: u64,
    pub(crate) logs: Vec<Log>,
    pub(crate) created: Option<Address>,
}

/// Header of the block after `parent`, without what its transaction decides.
///
/// `state_root` stays zero: this chain keeps no state trie. `branch` counts reorganizations, so
/// that a block which replaces another never has its hash.
pub(crate) fn next_header(parent: &Block, timestamp: u64, branch: u64) -> Header {
    Header {
        parent_hash: parent.hash,
        number: parent.header.number + 1,
        timestamp,
        gas_limit: parent.header.gas_limit,
        base_fee_per_gas: parent.header.next_block_base_fee(BaseFeeParams::ethereum()),
        // EIP-4399 wants 32 bytes that differ from block to block; nobody's randomness.
        mix_hash: keccak256(parent.hash),
        extra_data: if branch == 0 {
            Bytes::new()
        } else {
            Bytes::copy_from_slice(&branch.to_be_bytes())
        },
        ..empty_header()
    }
}

fn empty_header() -> Header {
    // `Header::default` has the empty roots of transactions, receipts and ommers.
    Header {
        state_root: B256::ZERO,
        withdrawals_root: Some(EMPTY_WITHDRAWALS),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}

impl Block {
    pub(crate) fn genesis(config: &Config) -> Self {
        Self::empty(Header {
            gas_limit: config.gas_limit,
            timestamp: config.genesis_time,
            base_fee_per_gas: Some(GENESIS_BASE_FEE),
            // Two chains with other accounts or rules have other hashes from the start.
            extra_data: Bytes::copy_from_slice(config.fingerprint().as_slice()),
            ..empty_header()
        })
    }

    pub(crate) fn empty(header: Header) -> Self {
        Self { hash: header.hash_slow(), header, mined: Vec::new(), undo: Vec::new() }
    }

    /// Seals one transaction under `header`.
    pub(crate) fn seal(
        mut header: Header,
        signed: Recovered<TxEnvelope>,
        outcome: Outcome,
    ) -> Self {
        let (transaction, from) = signed.into_parts();
        let logs_bloom = outcome.logs.iter().collect();
        let receipt = ReceiptEnvelope::from_typed(
            transaction.tx_type(),
            Receipt {
                status: Eip658Value::Eip658(outcome.success),
                cumulative_gas_used: outcome.gas_used,
                logs: outcome.logs,
            },
        );
        header.gas_used = outcome.block_gas_used;
        header.logs_bloom = logs_bloom;
        header.transactions_root =
            proofs::calculate_transaction_root(std::slice::from_ref(&transaction));
        header.receipts_root = proofs::calculate_receipt_root(std::slice::from_ref(&receipt));
        let created = outcome.created.into_iter().collect();
        Self {
            hash: header.hash_slow(),
            header,
            mined: vec![Mined { transaction, from, receipt, created }],
            undo: Vec::new(),
        }
    }

    pub(crate) fn base_fee(&self) -> u64 {
        self.header.base_fee_per_gas.unwrap_or_default()
    }

    pub(crate) fn bloom(&self) -> Bloom {
        self.header.logs_bloom
    }

    /// The transaction, if there is one and `hash` is its hash.
    pub(crate) fn find(&self, hash: &B256) -> Option<&Mined> {
        self.mined.first().filter(|mined| mined.transaction.tx_hash() == hash)
    }

    pub(crate) fn rpc_block(&self, full: bool) -> RpcBlock {
        let transactions = if full {
            BlockTransactions::Full(
                self.mined.iter().map(|mined| self.rpc_transaction(mined)).collect(),
            )
        } else {
            BlockTransactions::Hashes(
                self.mined.iter().map(|mined| *mined.transaction.tx_hash()).collect(),
            )
        };
        let header = RpcHeader {
            hash: self.hash,
            inner: self.header.clone(),
            total_difficulty: None,
            size: None,
        };
        RpcBlock {
            header,
            uncles: Vec::new(),
            transactions,
            withdrawals: Some(alloy::eips::eip4895::Withdrawals::default()),
        }
    }

    pub(crate) fn rpc_transaction(&self, mined: &Mined) -> Transaction {
        Transaction {
            inner: Recovered::new_unchecked(mined.transaction.clone(), mined.from),
            block_hash: Some(self.hash),
            block_number: Some(self.header.number),
            transaction_index: Some(0),
            effective_gas_price: Some(self.price(mined)),
            block_timestamp: Some(self.header.timestamp),
        }
    }

    pub(crate) fn rpc_receipt(&self, mined: &Mined) -> TransactionReceipt {
        let receipt = Receipt {
            status: Eip658Value::Eip658(mined.receipt.is_success()),
            cumulative_gas_used: mined.receipt.cumulative_gas_used(),
            logs: self.rpc_logs(mined).collect(),
        };
        let bloom = ReceiptWithBloom { receipt, logs_bloom: *mined.receipt.logs_bloom() };
        let inner = match &mined.receipt {
            ReceiptEnvelope::Legacy(_) => ReceiptEnvelope::Legacy(bloom),
            ReceiptEnvelope::Eip2930(_) => ReceiptEnvelope::Eip2930(bloom),
            ReceiptEnvelope::Eip1559(_) => ReceiptEnvelope::Eip1559(bloom),
            ReceiptEnvelope::Eip4844(_) => ReceiptEnvelope::Eip4844(bloom),
            ReceiptEnvelope::Eip7702(_) => ReceiptEnvelope::Eip7702(bloom),
        };
        TransactionReceipt {
            inner,
            transaction_hash: *mined.transaction.tx_hash(),
            transaction_index: Some(0),
            block_hash: Some(self.hash),
            block_number: Some(self.header.number),
            gas_used: mined.receipt.cumulative_gas_used(),
            effective_gas_price: self.price(mined),
            blob_gas_used: None,
            blob_gas_price: None,
            from: mined.from,
            to: mined.transaction.to(),
            contract_address: mined.created.first().copied(),
        }
    }

    /// The logs of the block's transaction, in order.
    pub(crate) fn rpc_logs<'a>(&'a self, mined: &'a Mined) -> impl Iterator<Item = RpcLog> + 'a {
        mined.receipt.logs().iter().zip(0..).map(|(log, index)| RpcLog {
            inner: log.clone(),
            block_hash: Some(self.hash),
            block_number: Some(self.header.number),
            block_timestamp: Some(self.header.timestamp),
            transaction_hash: Some(*mined.transaction.tx_hash()),
            transaction_index: Some(0),
            log_index: Some(index),
            removed: false,
        })
    }

    fn price(&self, mined: &Mined) -> u128 {
        mined.transaction.effective_gas_price(self.header.base_fee_per_gas)
    }
}
