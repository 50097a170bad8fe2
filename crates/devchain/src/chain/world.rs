//! The state at the head: accounts, code and storage, with what it takes to go back one block.

use std::{collections::HashMap, convert::Infallible};

use alloy::primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};
use alloy_rlp::{RlpDecodable, RlpEncodable};
use revm::{
    DatabaseRef,
    bytecode::Bytecode,
    state::{Account as EvmAccount, AccountInfo, EvmState},
};

use super::block::Block;

/// Balance, nonce and code of one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct Info {
    pub(crate) balance: U256,
    pub(crate) nonce: u64,
    pub(crate) code_hash: B256,
}

/// One storage slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, RlpEncodable, RlpDecodable)]
pub(crate) struct Slot {
    key: U256,
    value: U256,
}

/// One account as it was before a block. Slots that the block did not change are not in it.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct Before {
    address: Address,
    /// None or one: an account that did not exist has none.
    info: Vec<Info>,
    slots: Vec<Slot>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Account {
    info: Info,
    storage: HashMap<U256, U256>,
}

/// All accounts. An empty account (EIP-161) and a zero slot are not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct World {
    accounts: HashMap<Address, Account>,
    code: HashMap<B256, Bytecode>,
}

impl World {
    /// Puts an account into the genesis state.
    pub(crate) fn insert(&mut self, address: Address, balance: U256, code: Bytes) {
        let mut info = Info { balance, nonce: 0, code_hash: KECCAK256_EMPTY };
        if !code.is_empty() {
            let code = Bytecode::new_raw(code);
            info.code_hash = code.hash_slow();
            // A contract's nonce starts at 1 (EIP-161).
            info.nonce = 1;
            self.code.insert(info.code_hash, code);
        }
        self.accounts.insert(address, Account { info, storage: HashMap::new() });
    }

    pub(crate) fn info(&self, address: Address) -> Info {
        self.accounts
            .get(&address)
            .map_or(Info { balance: U256::ZERO, nonce: 0, code_hash: KECCAK256_EMPTY }, |account| {
                account.info
            })
    }

    pub(crate) fn code(&self, address: Address) -> Bytes {
        self.code
            .get(&self.info(address).code_hash)
            .map_or_else(Bytes::new, Bytecode::original_bytes)
    }

    pub(crate) fn slot(&self, address: Address, key: U256) -> U256 {
        self.accounts
            .get(&address)
            .and_then(|account| account.storage.get(&key))
            .copied()
            .unwrap_or_default()
    }

    /// Applies what a transaction changed and returns the way back.
    ///
    /// `keeps_balance`: whether a destroyed account keeps what it was sent afterwards (EIP-8246).
    pub(crate) fn apply(&mut self, changes: EvmState, keeps_balance: bool) -> Vec<Before> {
        let mut undo: Vec<_> = changes
            .into_iter()
            .filter(|(_, account)| account.is_touched())
            .map(|(address, account)| self.apply_account(address, account, keeps_balance))
            .collect();
        // The EVM's map has no order; what is written to disk has one.
        undo.sort_unstable_by_key(|before| before.address);
        undo
    }

    fn apply_account(
        &mut self,
        address: Address,
        account: EvmAccount,
        keeps_balance: bool,
    ) -> Before {
        let info = self.accounts.get(&address).map(|old| old.info).into_iter().collect();
        let mut before = Before { address, info, slots: Vec::new() };
        // Only an account created by the same transaction can be destroyed (EIP-6780), so there
        // is no earlier storage to remember.
        if account.is_selfdestructed() {
            self.accounts.remove(&address);
            if keeps_balance && !account.info.balance.is_zero() {
                self.insert(address, account.info.balance, Bytes::new());
            }
            return before;
        }
        if account.info.is_empty() {
            self.accounts.remove(&address);
            return before;
        }
        let code_hash = account.info.code_hash;
        if let Some(code) = account.info.code.filter(|code| !code.is_empty()) {
            self.code.entry(code_hash).or_insert(code);
        }
        let info = Info {
            balance: account.info.balance,
            nonce: account.info.nonce,
            code_hash: if code_hash.is_zero() { KECCAK256_EMPTY } else { code_hash },
        };
        let entry = self
            .accounts
            .entry(address)
            .or_insert_with(|| Account { info, storage: HashMap::new() });
        entry.info = info;
        for (key, slot) in account.storage.into_iter().filter(|(_, slot)| slot.is_changed()) {
            let value = entry.storage.get(&key).copied().unwrap_or_default();
            before.slots.push(Slot { key, value });
            entry.set(key, slot.present_value);
        }
        before.slots.sort_unstable();
        before
    }

    /// Goes back to before the block that `apply` returned `undo` for. Code stays; it is named by
    /// its hash and does no harm.
    pub(crate) fn revert(&mut self, undo: &[Before]) {
        for before in undo {
            let Some(&info) = before.info.first() else {
                self.accounts.remove(&before.address);
                continue;
            };
            let account = self
                .accounts
                .entry(before.address)
                .or_insert_with(|| Account { info, storage: HashMap::new() });
            account.info = info;
            for slot in &before.slots {
                account.set(slot.key, slot.value);
            }
        }
    }

    pub(crate) fn to_stored(&self) -> StoredWorld {
        let mut accounts: Vec<_> = self
            .accounts
            .iter()
            .map(|(&address, account)| {
                let slots = account.storage.iter().map(|(&key, &value)| Slot { key, value });
                let mut slots: Vec<_> = slots.collect();
                slots.sort_unstable();
                Before { address, info: vec![account.info], slots }
            })
            .collect();
        accounts.sort_unstable_by_key(|account| account.address);
        let mut code: Vec<_> = self.code.values().map(Bytecode::original_bytes).collect();
        code.sort_unstable();
        StoredWorld { accounts, code }
    }
}

impl Account {
    fn set(&mut self, key: U256, value: U256) {
        if value.is_zero() {
            self.storage.remove(&key);
        } else {
            self.storage.insert(key, value);
        }
    }
}

/// A [`World`] in the order that a snapshot keeps it.
#[derive(Debug, RlpEncodable, RlpDecodable)]
pub(crate) struct StoredWorld {
    accounts: Vec<Before>,
    code: Vec<Bytes>,
}

impl From<StoredWorld> for World {
    fn from(stored: StoredWorld) -> Self {
        let code = stored.code.into_iter().map(Bytecode::new_raw);
        let mut world = Self {
            accounts: HashMap::with_capacity(stored.accounts.len()),
            code: code.map(|code| (code.hash_slow(), code)).collect(),
        };
        world.revert(&stored.accounts);
        world
    }
}

/// The state as the EVM reads it, with the hashes of the blocks below.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) world: &'a World,
    pub(crate) blocks: &'a [Block],
}

impl DatabaseRef for View<'_> {
    type Error = Infallible;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        Ok(self.world.accounts.get(&address).map(|account| AccountInfo {
            balance: account.info.balance,
            nonce: account.info.nonce,
            code_hash: account.info.code_hash,
            code: self.world.code.get(&account.info.code_hash).cloned(),
            ..AccountInfo::default()
        }))
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, Infallible> {
        Ok(self.world.code.get(&hash).cloned().unwrap_or_default())
    }

    fn storage_ref(&self, address: Address, key: U256) -> Result<U256, Infallible> {
        Ok(self.world.slot(address, key))
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, Infallible> {
        let block = usize::try_from(number).ok().and_then(|number| self.blocks.get(number));
        Ok(block.map_or(B256::ZERO, |block| block.hash))
    }
}
