//! The chain in memory: the state at its head, its blocks, and how a transaction becomes a block.
//!
//! Everything here is a pure function of the configuration and the inputs that the log keeps, so
//! that replaying a log gives the same hashes.

pub(crate) mod block;
pub(crate) mod reject;
pub(crate) mod world;

use std::{collections::HashMap, convert::Infallible};

use alloy::{
    consensus::{
        Transaction as _, TxEnvelope, Typed2718 as _,
        transaction::{Recovered, SignerRecoverable as _},
    },
    eips::{eip1559::BaseFeeParams, eip2718::Decodable2718 as _},
    primitives::{B256, Bytes, TxKind, U256},
    rpc::types::TransactionRequest,
};
use revm::{
    Context, ExecuteEvm as _, MainBuilder as _, MainContext as _,
    context::{
        BlockEnv, CfgEnv, TxEnv,
        result::{EVMError, ExecutionResult, ResultAndState},
    },
    database_interface::WrapDatabaseRef,
    primitives::{eip4844, eip7825},
    state::EvmState,
};

use self::{
    block::{Block, Outcome, next_header},
    reject::{MAX_TRANSACTION_LEN, Reject},
    world::{View, World},
};
use crate::config::{CREATE2_FACTORY, CREATE2_FACTORY_CODE, Config, Spec};

/// A block that is computed but not yet part of the chain, with the state changes it brings.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) block: Block,
    changes: EvmState,
}

/// Which block a call runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// The head, by number or hash: its own number and time.
    Head,
    /// The head as "latest": its number, the time that a transaction would see now. Blocks are
    /// made on demand here, so the head's own time may be days old, which no node's ever is.
    Latest(u64),
    /// The block after the head, at this time.
    Next(u64),
}

/// The chain. Never empty: the genesis block is always there.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) chain_id: u64,
    pub(crate) gas_limit: u64,
    spec: Spec,
    pub(crate) world: World,
    blocks: Vec<Block>,
    by_hash: HashMap<B256, usize>,
    by_transaction: HashMap<B256, usize>,
    /// Reorganizations so far.
    pub(crate) branch: u64,
}

impl Chain {
    pub(crate) fn new(config: &Config) -> Self {
        let mut world = World::default();
        world.insert(CREATE2_FACTORY, U256::ZERO, CREATE2_FACTORY_CODE);
        for &(address, balance) in &config.accounts {
            world.insert(address, balance, Bytes::new());
        }
        Self::restore(config, world, vec![Block::genesis(config)], 0)
    }

    /// The chain from what a snapshot kept. `blocks` starts with the genesis block.
    pub(crate) fn restore(config: &Config, world: World, blocks: Vec<Block>, branch: u64) -> Self {
        let mut chain = Self {
            chain_id: config.chain_id,
            gas_limit: config.gas_limit,
            spec: config.spec,
            world,
            blocks: Vec::with_capacity(blocks.len()),
            by_hash: HashMap::with_capacity(blocks.len()),
            by_transaction: HashMap::with_capacity(blocks.len()),
            branch,
        };
        for block in blocks {
            chain.push(block);
        }
        chain
    }

    fn push(&mut self, block: Block) {
        let index = self.blocks.len();
        self.by_hash.insert(block.hash, index);
        for mined in &block.mined {
            self.by_transaction.insert(*mined.transaction.tx_hash(), index);
        }
        self.blocks.push(block);
    }

    pub(crate) fn head(&self) -> &Block {
        self.blocks.last().expect("the genesis block is never removed")
    }

    pub(crate) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    pub(crate) fn block(&self, number: u64) -> Option<&Block> {
        self.blocks.get(usize::try_from(number).ok()?)
    }

    pub(crate) fn block_by_hash(&self, hash: &B256) -> Option<&Block> {
        self.by_hash.get(hash).map(|&index| &self.blocks[index])
    }

    pub(crate) fn block_of(&self, transaction: &B256) -> Option<&Block> {
        self.by_transaction.get(transaction).map(|&index| &self.blocks[index])
    }

    /// Base fee of the block after the head, in wei.
    pub(crate) fn next_base_fee(&self) -> u64 {
        self.head().header.next_block_base_fee(BaseFeeParams::ethereum()).unwrap_or_default()
    }

    /// Most gas that one transaction may ask for.
    pub(crate) fn transaction_gas_cap(&self) -> u64 {
        match self.spec {
            Spec::Osaka => self.gas_limit.min(eip7825::TX_GAS_LIMIT_CAP),
            // EIP-8037 bounds the regular gas only; the rest of the limit pays for state.
            Spec::Amsterdam => self.gas_limit,
        }
    }

    /// Checks and runs an encoded transaction on top of the head. Changes nothing yet.
    pub(crate) fn seal(&self, encoded: &[u8], timestamp: u64) -> Result<Sealed, Reject> {
        let signed = self.decode(encoded)?;
        let header = next_header(self.head(), timestamp, self.branch);
        let run =
            self.run(self.config(), self.environment(At::Next(timestamp)), environment_of(&signed));
        let ResultAndState { result, state } =
            run.map_err(|error| Reject::from_evm(error, signed.signer(), self.next_base_fee()))?;
        let gas = result.gas();
        let outcome = Outcome {
            success: result.is_success(),
            gas_used: gas.tx_gas_used(),
            block_gas_used: match self.spec {
                Spec::Osaka => gas.tx_gas_used(),
                Spec::Amsterdam => gas.block_regular_gas_used().max(gas.block_state_gas_used()),
            },
            created: result.created_address(),
            // A failed transaction leaves no logs, whatever it emitted before.
            logs: if result.is_success() { result.into_logs() } else { Vec::new() },
        };
        Ok(Sealed { block: Block::seal(header, signed, outcome), changes: state })
    }

    /// A block without a transaction.
    pub(crate) fn seal_empty(&self, timestamp: u64) -> Sealed {
        let header = next_header(self.head(), timestamp, self.branch);
        Sealed { block: Block::empty(header), changes: EvmState::default() }
    }

    /// Makes a sealed block the head. It must have been sealed on top of the present head.
    pub(crate) fn commit(&mut self, sealed: Sealed) -> &Block {
        assert_eq!(sealed.block.header.parent_hash, self.head().hash, "sealed on another head");
        let mut block = sealed.block;
        block.undo = self.world.apply(sealed.changes, self.spec == Spec::Amsterdam);
        self.push(block);
        self.head()
    }

    /// Removes the topmost `depth` blocks, which must be less than all. Their transactions are
    /// forgotten; what replaces them has other hashes, even if it holds the same transactions.
    pub(crate) fn reorganize(&mut self, depth: usize) {
        assert!(depth < self.blocks.len(), "the genesis block cannot be removed");
        for block in self.blocks.split_off(self.blocks.len() - depth).iter().rev() {
            self.world.revert(&block.undo);
            self.by_hash.remove(&block.hash);
            for mined in &block.mined {
                self.by_transaction.remove(mined.transaction.tx_hash());
            }
        }
        self.branch += 1;
    }

    /// Runs a call without a signature. Nonces do not matter, and gas is free unless the request
    /// names a price.
    pub(crate) fn call(
        &self,
        request: &TransactionRequest,
        at: At,
        gas: u64,
    ) -> Result<ExecutionResult, Reject> {
        let caller = request.from.unwrap_or_default();
        let mut config = self.config();
        config.disable_nonce_check = true;
        config.disable_eip3607 = true;
        config.disable_base_fee = true;
        // The cap is for transactions (EIP-7825); a view may look at more.
        config.tx_gas_limit_cap = Some(u64::MAX);
        let price = request.max_fee_per_gas.or(request.gas_price).unwrap_or_default();
        let tx = TxEnv::builder()
            .caller(caller)
            .gas_limit(gas)
            .kind(request.to.unwrap_or(TxKind::Create))
            .value(request.value.unwrap_or_default())
            .data(request.input.input().cloned().unwrap_or_default())
            .nonce(self.world.info(caller).nonce)
            .chain_id(Some(self.chain_id))
            .gas_price(price)
            .gas_priority_fee(request.max_priority_fee_per_gas)
            .access_list(request.access_list.clone().unwrap_or_default())
            .authorization_list_signed(request.authorization_list.clone().unwrap_or_default())
            .build()
            .map_err(|error| Reject::Other(format!("{error:?}")))?;
        self.run(config, self.environment(at), tx)
            .map(|run| run.result)
            .map_err(|error| Reject::from_evm(error, caller, self.next_base_fee()))
    }

    /// Reads a transaction and its signer. Low s is checked here (EIP-2), the rest by the EVM.
    fn decode(&self, encoded: &[u8]) -> Result<Recovered<TxEnvelope>, Reject> {
        if encoded.len() > MAX_TRANSACTION_LEN {
            return Err(Reject::TooLong { len: encoded.len() });
        }
        let transaction =
            TxEnvelope::decode_2718_exact(encoded).map_err(|_| Reject::Undecodable)?;
        if transaction.is_eip4844() {
            return Err(Reject::Blobs);
        }
        match transaction.chain_id() {
            None => return Err(Reject::Unprotected),
            Some(have) if have != self.chain_id => {
                return Err(Reject::ChainId { have, want: self.chain_id });
            }
            Some(_) => {}
        }
        transaction.try_into_recovered().map_err(|_| Reject::Signature)
    }

    fn config(&self) -> CfgEnv {
        let mut config = CfgEnv::new_with_spec(self.spec.id());
        config.chain_id = self.chain_id;
        config
    }

    fn environment(&self, at: At) -> BlockEnv {
        let head = self.head();
        let (number, timestamp, basefee, randao) = match at {
            At::Head => (0, head.header.timestamp, head.base_fee(), head.header.mix_hash),
            At::Latest(time) => (0, time, head.base_fee(), head.header.mix_hash),
            At::Next(time) => {
                let header = next_header(head, time, self.branch);
                (1, time, self.next_base_fee(), header.mix_hash)
            }
        };
        let mut environment = BlockEnv {
            number: U256::from(head.header.number + number),
            timestamp: U256::from(timestamp),
            gas_limit: self.gas_limit,
            basefee,
            prevrandao: Some(randao),
            ..BlockEnv::default()
        };
        environment.set_blob_excess_gas_and_price(0, eip4844::BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE);
        environment
    }

    fn run(
        &self,
        config: CfgEnv,
        environment: BlockEnv,
        tx: TxEnv,
    ) -> Result<ResultAndState, EVMError<Infallible>> {
        let view = View { world: &self.world, blocks: &self.blocks };
        Context::mainnet()
            .with_db(WrapDatabaseRef(view))
            .with_cfg(config)
            .with_block(environment)
            .build_mainnet()
            .transact(tx)
    }
}

fn environment_of(signed: &Recovered<TxEnvelope>) -> TxEnv {
    let transaction = signed.inner();
    let mut environment = TxEnv {
        tx_type: transaction.ty(),
        caller: signed.signer(),
        gas_limit: transaction.gas_limit(),
        gas_price: transaction.max_fee_per_gas(),
        kind: transaction.kind(),
        value: transaction.value(),
        data: transaction.input().clone(),
        nonce: transaction.nonce(),
        chain_id: transaction.chain_id(),
        access_list: transaction.access_list().cloned().unwrap_or_default(),
        gas_priority_fee: transaction.max_priority_fee_per_gas(),
        ..TxEnv::default()
    };
    environment
        .set_signed_authorization(transaction.authorization_list().unwrap_or_default().to_vec());
    environment
}
