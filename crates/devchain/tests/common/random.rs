//! Random transactions, the same on every machine, sent to two nodes and compared.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEip2930, TxEip7702, TxEnvelope, TxLegacy},
    eips::{eip2718::Encodable2718 as _, eip7702::Authorization},
    network::TxSignerSync as _,
    primitives::{Address, B256, Bytes, TxKind, U256, address, keccak256},
    rpc::types::{AccessList, AccessListItem},
    signers::{SignerSync as _, local::PrivateKeySigner},
};
use serde_json::{Value, json};

use super::{anvil::Anvil, code, ether, key};

/// The deterministic deployment factory.
const CREATE2_FACTORY: Address = address!("4e59b44847b379578588920cA78FbF26c0B4956C");
const CHAIN_ID: u64 = 31_337;
const MAX_FEE: u128 = 3_000_000_000;
/// EIP-7825.
const GAS_CAP: u64 = 16_777_216;

/// Keccak-256 of seed and counter: the same on every machine.
struct Random {
    seed: u64,
    counter: u64,
}

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.counter += 1;
        let hash = keccak256([self.seed.to_be_bytes(), self.counter.to_be_bytes()].concat());
        u64::from_be_bytes(hash[..8].try_into().unwrap()) % limit
    }

    fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).unwrap()
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        let length = self.below(most + 1);
        (0..length).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
    }
}

/// One transaction before it is signed.
#[derive(Clone, Debug, Default)]
struct Plan {
    kind: u8,
    sender: u8,
    /// Added to the sender's nonce.
    nonce_shift: i64,
    gas: u64,
    to: TxKind,
    value: U256,
    data: Bytes,
    access_list: AccessList,
    what: &'static str,
}

#[derive(Default)]
struct Contracts {
    logger: Address,
    reverter: Address,
    store: Address,
    precompile: Address,
    creator: Address,
    burner: Address,
}

impl Plan {
    fn sign(&self, nonce: u64) -> Vec<u8> {
        let key = key(self.sender);
        let nonce = nonce.checked_add_signed(self.nonce_shift).unwrap();
        let (gas_limit, to, value, input) = (self.gas, self.to, self.value, self.data.clone());
        let (max_fee_per_gas, max_priority_fee_per_gas) = (MAX_FEE, 1_000_000_000);
        let access_list = self.access_list.clone();
        match self.kind {
            0 => envelope(
                &key,
                TxLegacy {
                    chain_id: Some(CHAIN_ID),
                    nonce,
                    gas_price: MAX_FEE,
                    gas_limit,
                    to,
                    value,
                    input,
                },
            ),
            1 => envelope(
                &key,
                TxEip2930 {
                    chain_id: CHAIN_ID,
                    nonce,
                    gas_price: MAX_FEE,
                    gas_limit,
                    to,
                    value,
                    input,
                    access_list,
                },
            ),
            4 => self.sign_delegation(nonce),
            _ => envelope(
                &key,
                TxEip1559 {
                    chain_id: CHAIN_ID,
                    nonce,
                    gas_limit,
                    max_fee_per_gas,
                    max_priority_fee_per_gas,
                    to,
                    value,
                    input,
                    access_list,
                },
            ),
        }
    }

    /// The authority's nonce is right on the first use only; later ones are skipped.
    fn sign_delegation(&self, nonce: u64) -> Vec<u8> {
        let chain_id = U256::from(CHAIN_ID);
        let authorization = Authorization { chain_id, address: CREATE2_FACTORY, nonce: 0 };
        let authority = key(self.data.len().try_into().unwrap());
        let signature = authority.sign_hash_sync(&authorization.signature_hash()).unwrap();
        let tx = TxEip7702 {
            chain_id: CHAIN_ID,
            nonce,
            gas_limit: self.gas,
            max_fee_per_gas: MAX_FEE,
            max_priority_fee_per_gas: 1_000_000_000,
            to: *self.to.to().unwrap(),
            value: self.value,
            access_list: self.access_list.clone(),
            authorization_list: vec![authorization.into_signed(signature)],
            input: self.data.clone(),
        };
        envelope(&key(self.sender), tx)
    }

    /// As an unsigned call.
    fn call(&self) -> Value {
        let mut call = json!({
            "from": key(self.sender).address(),
            "value": self.value,
            "input": self.data,
            "gas": format!("{:#x}", self.gas),
        });
        if let TxKind::Call(to) = self.to {
            call["to"] = json!(to);
        }
        json!([call, "latest"])
    }
}

fn envelope<T>(key: &PrivateKeySigner, mut tx: T) -> Vec<u8>
where
    T: SignableTransaction<alloy::primitives::Signature>,
    TxEnvelope: From<alloy::consensus::Signed<T>>,
{
    let signature = key.sign_transaction_sync(&mut tx).unwrap();
    TxEnvelope::from(tx.into_signed(signature)).encoded_2718()
}

fn word(value: u64) -> [u8; 32] {
    U256::from(value).to_be_bytes()
}

/// Init codes that work and that fail, each in its own way.
fn init_code(random: &mut Random) -> Bytes {
    match random.below(9) {
        0 => code::deploy(&code::store()),
        1 => code::deploy(&code::logger()),
        // Deploys nothing; reverts with 32 bytes; invalid opcode; stack underflow; loops for ever.
        2 => Bytes::new(),
        3 => Bytes::from_static(&[0x60, 0x20, 0x5f, 0xfd]),
        4 => Bytes::from_static(&[0xfe]),
        5 => Bytes::from_static(&[0x01]),
        6 => Bytes::from_static(&[0x5b, 0x5f, 0x56]),
        // Code that starts with 0xEF (EIP-3541).
        7 => code::deploy(&[0xef, 0x00]),
        _ => random.bytes(64).into(),
    }
}

/// Input for a precompile: often well formed.
fn precompile_input(random: &mut Random) -> Vec<u8> {
    let number =
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 0x100][random.index(18)];
    let mut data = word(number).to_vec();
    match number {
        1 => {
            let hash = keccak256(random.bytes(8));
            let signature = key(3).sign_hash_sync(&hash).unwrap();
            data.extend(hash);
            data.extend(word(27 + u64::from(signature.v())));
            data.extend(signature.r().to_be_bytes::<32>());
            data.extend(signature.s().to_be_bytes::<32>());
        }
        5 => {
            let lengths = [random.below(40), random.below(40), random.below(40)];
            lengths.iter().for_each(|&length| data.extend(word(length)));
            data.extend(
                (0..lengths.iter().sum()).map(|_| u8::try_from(random.below(256)).unwrap()),
            );
        }
        // Points of alt_bn128: 1,2 is the generator, 0,0 infinity; others are off the curve.
        6 => (0..4).for_each(|_| data.extend(word(random.below(3)))),
        7 => (0..3).for_each(|_| data.extend(word(random.below(3)))),
        8 => data.extend(vec![0; 192 * random.index(3)]),
        9 => {
            data.extend([0, 0, 0, u8::try_from(random.below(13)).unwrap()]);
            data.extend((0..208).map(|_| u8::try_from(random.below(256)).unwrap()));
            data.push(u8::try_from(random.below(3)).unwrap());
        }
        // BLS12-381: infinity is all zero, and one byte too many is refused.
        11..=17 => {
            let length = [256, 160, 512, 288, 384, 64, 128][usize::try_from(number - 11).unwrap()];
            data.extend(vec![0; length + usize::from(random.below(4) == 0)]);
        }
        _ => data.extend(random.bytes(200)),
    }
    data
}

/// One random transaction.
fn plan(random: &mut Random, contracts: &Contracts) -> Plan {
    let mut plan = Plan {
        kind: [0, 1, 2, 2, 2][random.index(5)],
        sender: u8::try_from(1 + random.below(3)).unwrap(),
        nonce_shift: 0,
        gas: 200_000 + random.below(800_000),
        to: TxKind::Create,
        value: U256::ZERO,
        data: Bytes::new(),
        access_list: AccessList::default(),
        what: "",
    };
    let mut set = |what, to: Address, data: Vec<u8>| {
        (plan.what, plan.to, plan.data) = (what, TxKind::Call(to), data.into());
    };
    match random.below(16) {
        0 => {
            let to = Address::with_last_byte(u8::try_from(0x20 + random.below(200)).unwrap());
            set("transfer", to, random.bytes(4));
            plan.value = U256::from(random.below(1_000_000));
        }
        1 | 2 => {
            (plan.what, plan.data) = ("create", init_code(random));
            plan.value = U256::from(random.below(2));
        }
        3 | 4 => set("log", contracts.logger, random.bytes(300)),
        5 => set("revert", contracts.reverter, random.bytes(300)),
        6 | 7 => {
            let data = [word(random.below(6)), word(random.below(3))].concat();
            set("store", contracts.store, data);
        }
        8 | 9 => set("precompile", contracts.precompile, precompile_input(random)),
        10 => set("child", contracts.creator, init_code(random).to_vec()),
        11 => {
            let salt = keccak256(random.bytes(3));
            set("factory", CREATE2_FACTORY, [salt.as_slice(), &init_code(random)].concat());
        }
        12 => {
            set("burn", contracts.burner, vec![]);
            plan.gas = 21_000 + random.below(100_000);
        }
        13 => {
            let data = [word(random.below(6)), word(random.below(3))].concat();
            set("access list", contracts.store, data);
            plan.kind = [1, 2][random.index(2)];
            let keys = (0..random.below(4)).map(|key| B256::from(U256::from(key))).collect();
            let item = |address, storage_keys| AccessListItem { address, storage_keys };
            plan.access_list =
                AccessList(vec![item(contracts.store, keys), item(contracts.logger, vec![])]);
        }
        14 => odd(random, contracts, &mut plan),
        _ => {
            let to = Address::with_last_byte(0x77);
            // The length names the authority: keys 20 to 29.
            set("delegate", to, vec![0; 20 + random.index(10)]);
            plan.kind = 4;
        }
    }
    plan
}

/// Transactions that are refused, or nearly.
fn odd(random: &mut Random, contracts: &Contracts, plan: &mut Plan) {
    (plan.to, plan.data) = (TxKind::Call(contracts.logger), random.bytes(100).into());
    match random.below(7) {
        0 => (plan.what, plan.gas) = ("too little gas", random.below(21_000)),
        1 => (plan.what, plan.gas) = ("barely gas", 21_000 + random.below(4_000)),
        2 => (plan.what, plan.nonce_shift) = ("old nonce", -1),
        // In anvil such a transaction waits for ever: no gap of a million is filled. The shift
        // grows, so that none replaces another.
        3 => {
            let shift = 1_000_000 + i64::try_from(random.counter).unwrap();
            (plan.what, plan.nonce_shift) = ("nonce too high", shift);
        }
        4 => (plan.what, plan.value) = ("insufficient funds", ether(100_000)),
        5 => (plan.what, plan.gas) = ("gas above the cap", GAS_CAP + 1 + random.below(1_000)),
        _ => (plan.what, plan.gas) = ("gas at the cap", GAS_CAP),
    }
}

/// A node: the result, or the error object.
pub type Node = Box<dyn Fn(&str, &Value) -> Result<Value, Value>>;

/// The senders, and the authorities of delegations: one that does not exist earns no refund
/// (EIP-7702, step 8), and for anvil every account exists, so the comparison is of those that do.
pub fn funded() -> Vec<Address> {
    (1..=4).chain(20..30).map(|seed| key(seed).address()).collect()
}

/// Both chains, and what was seen on them.
struct Pair {
    ours: Node,
    anvil: Anvil,
    nonces: BTreeMap<u8, u64>,
    /// What each sender paid for gas: ours, anvil's. Base fees differ.
    fees: BTreeMap<Address, (U256, U256)>,
    addresses: BTreeSet<Address>,
    counts: BTreeMap<(&'static str, &'static str), u32>,
}

impl Pair {
    /// `ours` must have funded [`funded`].
    fn new(ours: Node, anvil: Anvil) -> Self {
        // A contract's nonce starts at 1 (EIP-161); anvil gives its factory 0.
        anvil.request("anvil_setNonce", &json!([CREATE2_FACTORY, "0x1"])).unwrap();
        for account in funded() {
            let balance = ours("eth_getBalance", &json!([account, "latest"])).unwrap();
            assert_ne!(balance, "0x0", "{account} is not funded");
            anvil.request("anvil_setBalance", &json!([account, balance])).unwrap();
        }
        let mut addresses: BTreeSet<_> = (0x20..=0xff).map(Address::with_last_byte).collect();
        addresses.extend((1..30).map(|seed| key(seed).address()));
        addresses.insert(CREATE2_FACTORY);
        Self {
            ours,
            anvil,
            nonces: BTreeMap::new(),
            fees: BTreeMap::new(),
            addresses,
            counts: BTreeMap::new(),
        }
    }

    /// Calls, then sends, to both. Returns the address of a contract that was created.
    fn send(&mut self, plan: &Plan) -> Option<Address> {
        self.compare_calls(plan);
        let nonce = self.nonces.entry(plan.sender).or_default();
        if plan.nonce_shift < 0 && *nonce == 0 {
            return None;
        }
        let raw = json!([Bytes::from(plan.sign(*nonce))]);
        let ours = (self.ours)("eth_sendRawTransaction", &raw);
        let theirs = self.anvil.request("eth_sendRawTransaction", &raw);
        if plan.nonce_shift > 0 {
            let error = ours.unwrap_err();
            let message = error["message"].as_str().unwrap();
            assert!(message.starts_with("nonce too high"), "{error}");
            let hash = theirs.unwrap();
            let receipt = self.anvil.request("eth_getTransactionReceipt", &json!([hash]));
            assert_eq!(receipt, Ok(Value::Null));
            *self.counts.entry((plan.what, "refused")).or_default() += 1;
            return None;
        }
        let Ok(hash) = ours else {
            if let Ok(hash) = &theirs {
                // Some checks (the floor of EIP-7623) anvil makes only when it mines.
                std::thread::sleep(Duration::from_millis(300));
                let receipt = self.anvil.request("eth_getTransactionReceipt", &json!([hash]));
                assert_eq!(
                    receipt,
                    Ok(Value::Null),
                    "{plan:?}: we refuse ({ours:?}), anvil does not"
                );
                self.anvil.request("anvil_dropTransaction", &json!([hash])).unwrap();
            }
            *self.counts.entry((plan.what, "refused")).or_default() += 1;
            return None;
        };
        assert_eq!(theirs.as_ref(), Ok(&hash), "{plan:?}");
        *nonce += 1;
        let ours = (self.ours)("eth_getTransactionReceipt", &json!([hash])).unwrap();
        let theirs = self.anvil.receipt(&hash);
        self.compare_receipts(plan, &ours, &theirs)
    }

    fn compare_calls(&self, plan: &Plan) {
        // A call has no intrinsic checks of a transaction's kind; those are compared below.
        if plan.kind == 4 || plan.what == "insufficient funds" || plan.gas > GAS_CAP {
            return;
        }
        let ours = (self.ours)("eth_call", &plan.call());
        let theirs = self.anvil.request("eth_call", &plan.call());
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs, "{plan:?}"),
            (Err(ours), Err(theirs)) => {
                let reverted = theirs["code"] == 3;
                assert_eq!(ours["code"] == 3, reverted, "{plan:?}: {ours:?} {theirs:?}");
                if reverted {
                    assert_eq!(ours["data"], theirs["data"], "{plan:?}");
                }
            }
            (ours, theirs) => panic!("{plan:?}: {ours:?} {theirs:?}"),
        }
    }

    fn compare_receipts(&mut self, plan: &Plan, ours: &Value, theirs: &Value) -> Option<Address> {
        for field in [
            "status",
            "gasUsed",
            "cumulativeGasUsed",
            "logsBloom",
            "type",
            "from",
            "to",
            "transactionHash",
            "transactionIndex",
        ] {
            assert_eq!(ours[field], theirs[field], "{field} of {plan:?}");
        }
        let logs = |receipt: &Value| -> Vec<Value> {
            let logs = receipt["logs"].as_array().unwrap().iter();
            logs.map(|log| json!([log["address"], log["topics"], log["data"], log["logIndex"]]))
                .collect()
        };
        assert_eq!(logs(ours), logs(theirs), "{plan:?}");
        let number = |value: &Value| -> U256 { serde_json::from_value(value.clone()).unwrap() };
        let fee =
            |receipt: &Value| number(&receipt["gasUsed"]) * number(&receipt["effectiveGasPrice"]);
        let fees = self.fees.entry(key(plan.sender).address()).or_default();
        (fees.0, fees.1) = (fees.0 + fee(ours), fees.1 + fee(theirs));

        let success = ours["status"] == "0x1";
        let outcome = if success { "done" } else { "failed" };
        *self.counts.entry((plan.what, outcome)).or_default() += 1;
        // The address of a creation that failed is named by some nodes and not by others.
        let created = |receipt: &Value| -> Option<Address> {
            serde_json::from_value(receipt["contractAddress"].clone()).unwrap()
        };
        if !success {
            return None;
        }
        assert_eq!(created(ours), created(theirs), "{plan:?}");
        self.addresses.extend(created(ours));
        // The creator logs its child.
        let children = ours["logs"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|log| log["topics"].as_array().unwrap().is_empty());
        let children: Vec<B256> =
            children.map(|log| serde_json::from_value(log["data"].clone()).unwrap()).collect();
        self.addresses.extend(children.into_iter().map(Address::from_word));
        created(ours)
    }

    /// Balance (without what gas cost), nonce, code and storage of everything that was touched.
    fn compare_states(&self) {
        // Address zero is the proposer, whose tips follow the base fee.
        for &address in self.addresses.iter().filter(|address| !address.is_zero()) {
            let both = |method: &str, params: Value| {
                let ours = (self.ours)(method, &params).unwrap();
                (ours, self.anvil.request(method, &params).unwrap())
            };
            for method in ["eth_getTransactionCount", "eth_getCode"] {
                let (ours, theirs) = both(method, json!([address, "latest"]));
                assert_eq!(ours, theirs, "{method} of {address}");
            }
            for slot in 0..7 {
                let slot = format!("{slot:#x}");
                let (ours, theirs) = both("eth_getStorageAt", json!([address, slot, "latest"]));
                assert_eq!(ours, theirs, "slot {slot} of {address}");
            }
            let (ours, theirs) = both("eth_getBalance", json!([address, "latest"]));
            let number = |value: Value| -> U256 { serde_json::from_value(value).unwrap() };
            let fees = self.fees.get(&address).copied().unwrap_or_default();
            assert_eq!(number(ours) + fees.0, number(theirs) + fees.1, "balance of {address}");
        }
    }
}

/// What was sent and what became of it.
pub type Counts = BTreeMap<(&'static str, &'static str), u32>;

/// Sends `count` transactions to both nodes. Panics where they differ.
pub fn compare(ours: Node, anvil: Anvil, seed: u64, count: u64) -> Counts {
    let mut pair = Pair::new(ours, anvil);
    let mut random = Random { seed, counter: 0 };
    let mut deploy = |runtime: Vec<u8>| {
        let (what, data) = ("deploy", code::deploy(&runtime));
        let plan = Plan { kind: 2, sender: 1, gas: 1_000_000, data, what, ..Plan::default() };
        pair.send(&plan).unwrap()
    };
    let contracts = Contracts {
        logger: deploy(code::logger()),
        reverter: deploy(code::reverter()),
        store: deploy(code::store()),
        precompile: deploy(code::precompile()),
        creator: deploy(code::creator()),
        burner: deploy(code::burner()),
    };
    for _ in 0..count {
        pair.send(&plan(&mut random, &contracts));
    }
    pair.compare_states();
    pair.counts
}

/// How many of them went out one way.
pub fn total(counts: &Counts, outcome: &str) -> u32 {
    counts.iter().filter(|((_, it), _)| *it == outcome).map(|(_, count)| count).sum()
}
