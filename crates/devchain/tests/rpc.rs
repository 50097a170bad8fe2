//! The chain as a client sees it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod common;

use alloy::{
    consensus::{
        Receipt, ReceiptEnvelope, ReceiptWithBloom, SignableTransaction, TxEip1559, TxEip2930,
        TxEip7702, TxEnvelope, TxLegacy, proofs,
    },
    eips::{BlockNumberOrTag, eip2718::Encodable2718 as _, eip7702::Authorization},
    network::TxSignerSync as _,
    primitives::{Address, B256, Bloom, Bytes, Log, Signature, TxKind, U256, address, keccak256},
    providers::Provider,
    rpc::types::{AccessList, Filter, TransactionRequest},
    signers::{SignerSync as _, local::PrivateKeySigner},
};
use common::{call, code, config, deploy, ether, key, provider, send};
use galen_devchain::{
    CREATE2_FACTORY, Caller, Config, DevChain, MAX_LOGS, MAX_REQUEST_LEN, RpcError, Spec,
    well_known_keys,
};
use galen_types::ErrorKind;
use serde_json::{Value, json};

/// A transfer of 1 wei from `key` as it goes over the wire.
fn transfer(key: &PrivateKeySigner, change: impl FnOnce(&mut TxEip1559)) -> Vec<u8> {
    let mut tx = TxEip1559 {
        chain_id: 31_337,
        gas_limit: 21_000,
        max_fee_per_gas: 2_000_000_000,
        to: TxKind::Call(Address::repeat_byte(9)),
        value: U256::ONE,
        ..TxEip1559::default()
    };
    change(&mut tx);
    let signature = key.sign_transaction_sync(&mut tx).unwrap();
    TxEnvelope::from(tx.into_signed(signature)).encoded_2718()
}

fn refusal(chain: &DevChain, encoded: &[u8]) -> String {
    let before = chain.head();
    let error = chain.send_raw_transaction(encoded).unwrap_err();
    assert_eq!(error.code, RpcError::SERVER);
    assert_eq!(chain.head(), before, "a refused transaction leaves no block");
    error.message
}

#[tokio::test]
async fn wallet_and_fillers_send_and_read_back() {
    let chain = DevChain::in_memory(config());
    let provider = provider(&chain);
    let to = Address::repeat_byte(0xb0);
    let request = TransactionRequest::default().to(to).value(U256::from(7));
    let receipt = send(&provider, request).await;
    assert!(receipt.status());
    assert_eq!((receipt.gas_used, receipt.block_number), (21_000, Some(1)));
    assert_eq!((receipt.from, receipt.to), (key(1).address(), Some(to)));

    assert_eq!(provider.get_balance(to).await.unwrap(), U256::from(7));
    let paid = U256::from(21_000) * U256::from(receipt.effective_gas_price);
    let left = provider.get_balance(key(1).address()).await.unwrap();
    assert_eq!(left + paid + U256::from(7), ether(1_000));
    assert_eq!(provider.get_transaction_count(key(1).address()).await.unwrap(), 1);

    let hash = receipt.transaction_hash;
    let transaction = provider.get_transaction_by_hash(hash).await.unwrap().unwrap();
    assert_eq!(
        (transaction.inner.signer(), transaction.block_hash),
        (receipt.from, receipt.block_hash)
    );
    assert_eq!(*transaction.inner.tx_hash(), hash);
    let block = provider.get_block_by_number(1.into()).full().await.unwrap().unwrap();
    assert_eq!(block.transactions.as_transactions().unwrap(), [transaction]);
    let receipts = provider.get_block_receipts(1.into()).await.unwrap().unwrap();
    assert_eq!(receipts, [receipt]);
}

#[tokio::test]
async fn headers_can_be_recomputed_from_what_is_returned() {
    let chain = DevChain::in_memory(config());
    let provider = provider(&chain);
    let logger = deploy(&provider, &code::logger()).await;
    send(&provider, call(logger, code::words([5, 6]))).await;
    chain.mine().unwrap();
    send(&provider, TransactionRequest::default().to(logger).value(U256::ONE)).await;

    let mut parent = B256::ZERO;
    let mut base_fee = None;
    for number in 0..=4_u64 {
        let block = provider.get_block_by_number(number.into()).full().await.unwrap().unwrap();
        let header = &block.header.inner;
        assert_eq!((header.number, header.parent_hash), (number, parent));
        assert_eq!(header.hash_slow(), block.header.hash);
        let transactions: Vec<_> =
            block.transactions.as_transactions().unwrap().iter().map(|t| t.inner.inner()).collect();
        assert_eq!(transactions.len(), usize::from(number != 0 && number != 3));
        let root =
            proofs::ordered_trie_root_with_encoder(&transactions, |t, out| t.encode_2718(out));
        assert_eq!(header.transactions_root, root);

        let receipts = provider.get_block_receipts(number.into()).await.unwrap().unwrap();
        let consensus: Vec<ReceiptEnvelope> =
            receipts.iter().map(|r| r.inner.clone().into_primitives_receipt()).collect();
        assert_eq!(header.receipts_root, proofs::calculate_receipt_root(&consensus));
        let bloom = consensus.iter().fold(Bloom::ZERO, |bloom, r| bloom | *r.logs_bloom());
        let logs = consensus.iter().flat_map(|r| r.logs());
        assert_eq!((header.logs_bloom, bloom), (bloom, logs.collect::<Bloom>()));
        assert_eq!(header.gas_used, receipts.iter().map(|r| r.gas_used).sum::<u64>());

        if let Some(expected) = base_fee {
            assert_eq!(header.base_fee_per_gas, expected);
        }
        base_fee =
            Some(header.next_block_base_fee(alloy::eips::eip1559::BaseFeeParams::ethereum()));
        parent = block.header.hash;
    }
    assert_eq!(chain.head().hash, parent);
    // The check itself can fail: one changed byte of a log changes the root.
    let log = Log::new_unchecked(logger, vec![], Bytes::from_static(b"x"));
    let receipt = Receipt { status: true.into(), cumulative_gas_used: 1, logs: vec![log] };
    let envelope = ReceiptEnvelope::Eip1559(ReceiptWithBloom::from(receipt));
    let block = provider.get_block_by_number(2.into()).await.unwrap().unwrap();
    assert_ne!(proofs::calculate_receipt_root(&[envelope]), block.header.receipts_root);
}

#[test]
fn refusals_use_the_words_of_nodes() {
    let chain = DevChain::in_memory(config());
    let check = |words: &str, change: &dyn Fn(&mut TxEip1559)| {
        let message = refusal(&chain, &transfer(&key(1), change));
        assert!(message.starts_with(words), "{message:?} does not start with {words:?}");
    };
    check("nonce too high", &|tx| tx.nonce = 1);
    check("intrinsic gas too low", &|tx| tx.gas_limit = 20_999);
    check("insufficient gas for floor data gas cost", &|tx| {
        (tx.gas_limit, tx.input) = (30_000, vec![1; 500].into());
    });
    check("insufficient funds for gas * price + value", &|tx| tx.value = ether(1_000));
    check("transaction gas limit too high (cap: 16777216", &|tx| tx.gas_limit = 16_777_217);
    check("max fee per gas less than block base fee", &|tx| tx.max_fee_per_gas = 1);
    check("max priority fee per gas higher than max fee per gas", &|tx| {
        tx.max_priority_fee_per_gas = 2_000_000_001;
    });
    check("invalid chain id for signer: have 1 want 31337", &|tx| tx.chain_id = 1);
    check("oversized data", &|tx| tx.input = vec![1; 128 * 1024].into());
    check("max initcode size exceeded", &|tx| {
        (tx.to, tx.gas_limit, tx.input) = (TxKind::Create, 16_000_000, vec![0; 49_153].into());
    });

    let small = DevChain::in_memory(Config { gas_limit: 100_000, ..config() });
    let wide = transfer(&key(1), |tx| tx.gas_limit = 100_001);
    assert_eq!(refusal(&small, &wide), "exceeds block gas limit");

    chain.send_raw_transaction(&transfer(&key(1), |_| {})).unwrap();
    let again = refusal(&chain, &transfer(&key(1), |_| {}));
    assert_eq!(again, "nonce too low: next nonce 1, tx nonce 0");
    let poor = refusal(&chain, &transfer(&key(9), |_| {}));
    assert!(poor.starts_with("insufficient funds"), "{poor}");
    assert!(refusal(&chain, b"").starts_with("rlp"));
    assert!(refusal(&chain, &[transfer(&key(2), |_| {}), vec![0]].concat()).starts_with("rlp"));
}

#[test]
fn signatures_are_checked() {
    let chain = DevChain::in_memory(config());
    let tx = TxEip1559 {
        chain_id: 31_337,
        gas_limit: 21_000,
        max_fee_per_gas: 2_000_000_000,
        to: TxKind::Call(Address::ZERO),
        ..TxEip1559::default()
    };
    let good = key(1).sign_hash_sync(&tx.signature_hash()).unwrap();
    let send = |signature: Signature| {
        let signed = tx.clone().into_signed(signature);
        refusal(&chain, &TxEnvelope::from(signed).encoded_2718())
    };
    // The same signature with the other s: valid as ECDSA, refused by EIP-2.
    let order = U256::from_be_bytes(alloy::primitives::hex!(
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
    ));
    let high = Signature::new(good.r(), order - good.s(), !good.v());
    assert!(send(high).starts_with("invalid sender"));
    assert!(send(Signature::new(U256::ZERO, good.s(), good.v())).starts_with("invalid sender"));
    // A changed signature names another sender, who has nothing.
    assert!(send(Signature::new(good.r(), good.s(), !good.v())).starts_with("insufficient funds"));
    chain
        .send_raw_transaction(&TxEnvelope::from(tx.clone().into_signed(good)).encoded_2718())
        .unwrap();
}

#[test]
fn every_transaction_type_but_blobs_is_mined() {
    let chain = DevChain::in_memory(config());
    let to = TxKind::Call(Address::repeat_byte(9));
    let (gas_limit, gas_price) = (60_000, 2_000_000_000);
    let mut legacy =
        TxLegacy { chain_id: Some(31_337), gas_price, gas_limit, to, ..Default::default() };
    let mut listed = TxEip2930 {
        chain_id: 31_337,
        nonce: 1,
        gas_price,
        gas_limit,
        to,
        access_list: AccessList::default(),
        ..Default::default()
    };
    let authorization =
        Authorization { chain_id: U256::from(31_337), address: CREATE2_FACTORY, nonce: 0 };
    let signature = key(9).sign_hash_sync(&authorization.signature_hash()).unwrap();
    let mut delegating = TxEip7702 {
        chain_id: 31_337,
        nonce: 2,
        gas_limit,
        max_fee_per_gas: gas_price,
        to: Address::repeat_byte(9),
        authorization_list: vec![authorization.into_signed(signature)],
        ..Default::default()
    };
    let key1 = key(1);
    let signature = key1.sign_transaction_sync(&mut legacy).unwrap();
    let legacy = TxEnvelope::from(legacy.into_signed(signature));
    let signature = key1.sign_transaction_sync(&mut listed).unwrap();
    let listed = TxEnvelope::from(listed.into_signed(signature));
    let signature = key1.sign_transaction_sync(&mut delegating).unwrap();
    let delegating = TxEnvelope::from(delegating.into_signed(signature));
    for (kind, tx) in [(0, legacy), (1, listed), (4, delegating)] {
        let hash = chain.send_raw_transaction(&tx.encoded_2718()).unwrap();
        assert_eq!(hash, *tx.tx_hash());
        let receipt = chain.request("eth_getTransactionReceipt", &json!([hash])).unwrap();
        assert_eq!(receipt["type"], json!(format!("{kind:#x}")));
        assert_eq!(receipt["status"], "0x1");
    }
    let code = chain.request("eth_getCode", &json!([key(9).address(), "latest"])).unwrap();
    assert_eq!(code, json!(format!("0xef0100{:x}", CREATE2_FACTORY)));

    let mut unprotected =
        TxLegacy { chain_id: None, nonce: 3, gas_price, gas_limit, to, ..Default::default() };
    let signature = key1.sign_transaction_sync(&mut unprotected).unwrap();
    let unprotected = TxEnvelope::from(unprotected.into_signed(signature)).encoded_2718();
    assert!(refusal(&chain, &unprotected).starts_with("only replay-protected"));

    let mut blob = alloy::consensus::TxEip4844 {
        chain_id: 31_337,
        nonce: 3,
        gas_limit,
        max_fee_per_gas: gas_price,
        max_fee_per_blob_gas: 1,
        blob_versioned_hashes: vec![B256::with_last_byte(1)],
        ..Default::default()
    };
    let signature = key1.sign_transaction_sync(&mut blob).unwrap();
    let blob = TxEnvelope::from(blob.into_signed(signature)).encoded_2718();
    assert!(refusal(&chain, &blob).contains("EIP-4844"));
}

#[tokio::test]
async fn reverts_carry_the_contracts_data() {
    let chain = DevChain::in_memory(config());
    let provider = provider(&chain);
    let reverter = deploy(&provider, &code::reverter()).await;
    let data = Bytes::from_static(b"\xde\xad\xbe\xefsome words");
    for error in [
        provider.call(call(reverter, data.clone())).await.unwrap_err(),
        provider.estimate_gas(call(reverter, data.clone())).await.unwrap_err(),
    ] {
        let payload = error.as_error_resp().unwrap();
        assert_eq!((payload.code, payload.message.as_ref()), (3, "execution reverted"));
        assert_eq!(payload.as_revert_data(), Some(data.clone()));
    }
    // A transaction that reverts is mined, pays and leaves no log.
    let request = TransactionRequest { gas: Some(100_000), ..call(reverter, data) };
    let receipt = send(&provider, request).await;
    assert!(!receipt.status());
    assert!(receipt.gas_used > 21_000 && receipt.gas_used < 100_000);

    let burner = deploy(&provider, &code::burner()).await;
    let error = provider.call(call(burner, vec![])).await.unwrap_err();
    assert_eq!(error.as_error_resp().unwrap().message, "out of gas");
}

#[tokio::test]
async fn estimate_is_the_least_gas_that_works() {
    let chain = DevChain::in_memory(config());
    let provider = provider(&chain);
    let store = deploy(&provider, &code::store()).await;
    let creator = deploy(&provider, &code::creator()).await;
    send(&provider, call(store, code::words([1, 1]))).await;
    let from = key(1).address();
    for request in [
        TransactionRequest::default().to(Address::ZERO).value(U256::ONE),
        call(store, code::words([2, 2])),
        // Clearing a slot refunds: more is needed than is used.
        call(store, code::words([1, 0])),
        // The child runs on 63/64 of what is left.
        call(creator, code::deploy(&code::store())),
    ] {
        let request = request.from(from);
        let gas = provider.estimate_gas(request.clone()).await.unwrap();
        let receipt = send(&provider, TransactionRequest { gas: Some(gas), ..request }).await;
        assert!(receipt.status());
    }
    let request = call(store, code::words([3, 3])).from(from);
    let gas = provider.estimate_gas(request.clone()).await.unwrap();
    let receipt = send(&provider, TransactionRequest { gas: Some(gas - 1), ..request }).await;
    assert!(!receipt.status(), "one less does not work");
}

#[tokio::test]
async fn calls_see_the_block_that_is_named() {
    let chain = DevChain::in_memory(config());
    let provider = provider(&chain);
    let environment = deploy(&provider, &code::environment()).await;
    let head = chain.head();
    chain.advance_time(1_000).unwrap();
    let words =
        |bytes: &Bytes| -> Vec<U256> { bytes.chunks(32).map(U256::from_be_slice).collect() };
    let request = call(environment, vec![]).from(key(2).address());
    for (block, number, time) in [
        (BlockNumberOrTag::Latest, head.number, head.timestamp + 1_000),
        (BlockNumberOrTag::Pending, head.number + 1, head.timestamp + 1_000),
        (BlockNumberOrTag::Number(head.number), head.number, head.timestamp),
        (BlockNumberOrTag::Finalized, head.number, head.timestamp),
    ] {
        let answer = words(&provider.call(request.clone()).block(block.into()).await.unwrap());
        assert_eq!(answer[..2], [U256::from(number), U256::from(time)], "{block}");
        assert_eq!(answer[3], U256::from(31_337));
        let caller = U256::from_be_slice(key(2).address().as_slice());
        assert_eq!(answer[4..], [caller, caller, U256::ZERO]);
    }
    let error = provider.call(request).block(0.into()).await.unwrap_err();
    let message = &error.as_error_resp().unwrap().message;
    assert!(message.starts_with("state of block 0 is not kept"), "{message}");
    let error = provider.get_balance(environment).number(head.number + 1).await.unwrap_err();
    assert_eq!(error.as_error_resp().unwrap().message, "header not found");
    let overrides = json!([{ "to": environment }, "latest", { "0x01": {} }]);
    let error = chain.request("eth_call", &overrides).unwrap_err();
    assert_eq!((error.code, error.kind()), (RpcError::PARAMS, ErrorKind::Invalid));
    // By hash (EIP-1898).
    assert!(provider.get_code_at(environment).hash(head.hash).await.is_ok());
}

#[tokio::test]
async fn logs_are_found_by_range_hash_address_and_topic() {
    let chain = DevChain::in_memory(config());
    let provider = provider(&chain);
    let one = deploy(&provider, &code::logger()).await;
    let two = deploy(&provider, &code::logger()).await;
    for (to, word) in [(one, 1), (two, 1), (one, 2)] {
        send(&provider, call(to, code::words([word, 9]))).await;
    }
    let count = async |filter: Filter| provider.get_logs(&filter).await.unwrap().len();
    let all = || Filter::new().from_block(0);
    assert_eq!(count(all()).await, 3);
    assert_eq!(count(Filter::new()).await, 1, "the default is the head");
    assert_eq!(count(all().to_block(4)).await, 2);
    assert_eq!(count(all().address(one)).await, 2);
    assert_eq!(count(all().address(vec![one, two]).topic1(U256::from(1))).await, 2);
    assert_eq!(count(all().topic1(U256::from(2))).await, 1);
    assert_eq!(count(all().topic1(U256::from(3))).await, 0);
    assert_eq!(count(all().event_signature(B256::repeat_byte(0x11))).await, 3);
    assert_eq!(count(Filter::new().at_block_hash(chain.head().hash)).await, 1);
    assert_eq!(count(Filter::new().from_block(6).to_block(99)).await, 0, "beyond the head");

    let log = &provider.get_logs(&all().address(two)).await.unwrap()[0];
    let receipt =
        provider.get_transaction_receipt(log.transaction_hash.unwrap()).await.unwrap().unwrap();
    assert_eq!(receipt.logs(), std::slice::from_ref(log));
    assert_eq!((log.block_number, log.log_index, log.removed), (Some(4), Some(0), false));

    let error = provider.get_logs(&Filter::new().at_block_hash(B256::ZERO)).await.unwrap_err();
    assert_eq!(error.as_error_resp().unwrap().message, "unknown block");
    assert!(provider.get_logs(&Filter::new().from_block(3).to_block(2)).await.is_err());
}

#[tokio::test]
async fn too_many_logs_are_refused_unless_one_block_holds_them() {
    let chain = DevChain::in_memory(config());
    let provider = provider(&chain);
    let spammer = deploy(&provider, &code::spammer()).await;
    let most = u64::try_from(MAX_LOGS).unwrap();
    for count in [most, 1, most + 1] {
        let request = call(spammer, code::words([count]));
        // Its receipt is as long as the answer below; one such is enough.
        let _ = provider.send_transaction(request).await.unwrap();
    }
    let find = async |from: u64, to: u64| {
        let logs = provider.get_logs(&Filter::new().from_block(from).to_block(to)).await;
        logs.map(|logs| logs.len()).map_err(|error| error.as_error_resp().unwrap().code)
    };
    assert_eq!(find(2, 3).await, Err(RpcError::LIMIT));
    assert_eq!(find(4, 4).await, Ok(MAX_LOGS + 1), "a block cannot be split");
}

#[tokio::test]
async fn storage_code_and_fees_are_answered() {
    let chain = DevChain::in_memory(config());
    let provider = provider(&chain);
    let store = deploy(&provider, &code::store()).await;
    send(&provider, call(store, code::words([1, 77]))).await;
    assert_eq!(provider.get_storage_at(store, U256::from(1)).await.unwrap(), U256::from(77));
    assert_eq!(provider.get_storage_at(store, U256::from(2)).await.unwrap(), U256::ZERO);
    assert_eq!(provider.get_code_at(store).await.unwrap(), code::store());
    assert_eq!(provider.get_code_at(Address::ZERO).await.unwrap(), Bytes::new());

    let history =
        provider.get_fee_history(10, BlockNumberOrTag::Latest, &[10.0, 50.0]).await.unwrap();
    assert_eq!((history.oldest_block, history.gas_used_ratio.len()), (0, 3));
    assert_eq!(history.base_fee_per_gas.len(), 4);
    assert_eq!(history.reward.unwrap()[2].len(), 2);
    let gas_price = provider.get_gas_price().await.unwrap();
    assert_eq!(gas_price, history.base_fee_per_gas[3] + 1_000_000_000);
    assert_eq!(provider.get_max_priority_fee_per_gas().await.unwrap(), 1_000_000_000);
    assert_eq!(provider.get_chain_id().await.unwrap(), 31_337);
    assert_eq!(provider.get_net_version().await.unwrap(), 31_337);
    assert!(provider.get_client_version().await.unwrap().starts_with("galen-devchain/"));
    assert!(provider.get_accounts().await.unwrap().is_empty());
}

#[tokio::test]
async fn factory_deploys_where_create2_says() {
    let chain = DevChain::in_memory(config());
    let provider = provider(&chain);
    assert_eq!(CREATE2_FACTORY, address!("4e59b44847b379578588920cA78FbF26c0B4956C"));
    let code_hash = keccak256(provider.get_code_at(CREATE2_FACTORY).await.unwrap());
    // As on Ethereum: `eth_getCode` of the factory, hashed.
    let known = "2fa86add0aed31f33a762c9d88e807c475bd51d0f52bd0955754b2608f7e4989";
    assert_eq!(format!("{code_hash:x}"), known);

    let (salt, init) = (B256::repeat_byte(3), code::deploy(&code::store()));
    let data = [salt.as_slice(), &init].concat();
    assert!(send(&provider, call(CREATE2_FACTORY, data)).await.status());
    let address = CREATE2_FACTORY.create2_from_code(salt, &init);
    assert_eq!(provider.get_code_at(address).await.unwrap(), code::store());
}

#[tokio::test]
async fn reorganization_takes_blocks_back_and_makes_others() {
    let chain = DevChain::in_memory(config());
    let provider = provider(&chain);
    let store = deploy(&provider, &code::store()).await;
    send(&provider, call(store, code::words([1, 1]))).await;
    let kept = chain.head();
    let raw = [call(store, code::words([1, 2])), call(store, code::words([2, 3]))];
    let mut lost = Vec::new();
    for request in raw.clone() {
        lost.push(send(&provider, request).await);
    }
    let child = deploy(&provider, &code::logger()).await;
    let old_head = chain.head();

    let _: Value = provider.raw_request("dev_reorg".into(), (3,)).await.unwrap();
    assert_eq!(chain.head(), kept);
    assert_eq!(provider.get_storage_at(store, U256::from(1)).await.unwrap(), U256::from(1));
    assert_eq!(provider.get_storage_at(store, U256::from(2)).await.unwrap(), U256::ZERO);
    assert_eq!(provider.get_code_at(child).await.unwrap(), Bytes::new());
    assert_eq!(provider.get_transaction_count(key(1).address()).await.unwrap(), 2);
    for receipt in &lost {
        assert_eq!(provider.get_transaction_receipt(receipt.transaction_hash).await.unwrap(), None);
        let block = provider.get_block_by_hash(receipt.block_hash.unwrap()).await.unwrap();
        assert_eq!(block, None);
    }
    // The same transaction again: another block.
    let wallet = common::provider(&chain);
    let again = send(&wallet, raw[0].clone()).await;
    assert!(again.status());
    assert_ne!(again.block_hash, lost[0].block_hash);
    assert_ne!(chain.head().hash, old_head.hash);
    assert!(chain.reorg(chain.head().number + 1).is_err(), "the genesis block stays");
    chain.reorg(chain.head().number).unwrap();
    assert_eq!(chain.head().number, 0);
    assert_eq!(provider.get_balance(key(1).address()).await.unwrap(), ether(1_000));
}

#[tokio::test]
async fn a_fork_stands_where_the_chain_stood_and_goes_its_own_way() {
    let chain = DevChain::in_memory(config());
    let store = deploy(&provider(&chain), &code::store()).await;
    send(&provider(&chain), call(store, code::words([1, 1]))).await;
    chain.advance_time(60).unwrap();
    let fork = chain.fork();
    assert_eq!(fork.head(), chain.head());
    send(&provider(&fork), call(store, code::words([1, 2]))).await;
    fork.reorg(1).unwrap();
    send(&provider(&fork), call(store, code::words([1, 3]))).await;
    let value = |chain: &DevChain| {
        let provider = provider(chain);
        async move { provider.get_storage_at(store, U256::from(1)).await.unwrap() }
    };
    assert_eq!((value(&chain).await, value(&fork).await), (U256::from(1), U256::from(3)));
    // The clock went along.
    assert_eq!(fork.head().timestamp, chain.mine().unwrap().timestamp);
}

#[test]
fn time_moves_only_forward_and_by_request() {
    let chain = DevChain::in_memory(config());
    let start = chain.head().timestamp;
    assert_eq!(chain.request("evm_increaseTime", &json!([60])).unwrap(), json!(60));
    assert_eq!(chain.request("evm_increaseTime", &json!(["0x28"])).unwrap(), json!(100));
    assert_eq!(chain.head().timestamp, start, "no block yet");
    chain.request("evm_mine", &Value::Null).unwrap();
    assert_eq!((chain.head().number, chain.head().timestamp), (1, start + 100));
    assert!(chain.advance_time(u64::MAX).is_err());
    assert!(chain.request("evm_increaseTime", &json!([-1])).is_err());

    let system = DevChain::in_memory(Config::default());
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    system.mine().unwrap();
    assert!(system.head().timestamp >= now);
}

#[test]
fn amsterdam_charges_more_for_state() {
    let gas = |spec| {
        let chain = DevChain::in_memory(Config { spec, ..config() });
        let encoded = transfer(&key(1), |tx| {
            (tx.to, tx.value, tx.gas_limit) = (TxKind::Create, U256::ZERO, 2_000_000);
            tx.input = code::deploy(&code::store());
        });
        let hash = chain.send_raw_transaction(&encoded).unwrap();
        let receipt = chain.request("eth_getTransactionReceipt", &json!([hash])).unwrap();
        assert_eq!(receipt["status"], "0x1");
        let text = receipt["gasUsed"].as_str().unwrap().trim_start_matches("0x").to_owned();
        let address: Address = serde_json::from_value(receipt["contractAddress"].clone()).unwrap();
        let call =
            json!([{ "to": address, "from": key(1).address(), "input": code::words([1, 1]) }]);
        let estimate = chain.request("eth_estimateGas", &call).unwrap();
        (u64::from_str_radix(&text, 16).unwrap(), estimate)
    };
    let (osaka, amsterdam) = (gas(Spec::Osaka), gas(Spec::Amsterdam));
    assert!(amsterdam.0 > osaka.0 + 100_000, "{osaka:?} {amsterdam:?}");
    assert_ne!(amsterdam.1, osaka.1);
}

#[test]
fn json_bodies_are_answered_as_the_protocol_says() {
    let chain = DevChain::in_memory(config());
    let ask = |body: &str| -> Value {
        serde_json::from_slice(&chain.handle_json(body.as_bytes())).unwrap()
    };
    let code = |body: &str| ask(body)["error"]["code"].clone();
    assert_eq!(
        ask(r#"{"jsonrpc":"2.0","id":7,"method":"eth_chainId"}"#),
        json!({"jsonrpc": "2.0", "id": 7, "result": "0x7a69"})
    );
    let batch = ask(r#"[{"jsonrpc":"2.0","id":"a","method":"eth_blockNumber","params":[]},
            {"jsonrpc":"2.0","method":"eth_blockNumber"},
            {"jsonrpc":"2.0","id":null,"method":"no_such"}]"#);
    assert_eq!(batch[0], json!({"jsonrpc": "2.0", "id": "a", "result": "0x0"}));
    assert_eq!(
        (batch[1]["error"]["code"].clone(), batch.as_array().unwrap().len()),
        (json!(-32_601), 2)
    );
    assert_eq!(chain.handle_json(br#"{"jsonrpc":"2.0","method":"evm_mine"}"#), b"");
    assert_eq!(chain.head().number, 1, "a notification is carried out");

    assert_eq!(code("{"), json!(RpcError::PARSE));
    assert_eq!(code("[]"), json!(RpcError::INVALID_REQUEST));
    assert_eq!(code("7"), json!(RpcError::INVALID_REQUEST));
    assert_eq!(code(r#"{"id":1,"method":"eth_getBalance"}"#), json!(RpcError::PARAMS));
    assert_eq!(
        code(r#"{"id":1,"method":"eth_getBalance","params":["0x1"]}"#),
        json!(RpcError::PARAMS)
    );
    assert_eq!(code(r#"{"id":1,"method":"eth_getBalance","params":{}}"#), json!(RpcError::PARAMS));
    let long = format!("[{}]", vec!["1"; 1_001].join(","));
    assert_eq!(code(&long), json!(RpcError::INVALID_REQUEST));
    let long = " ".repeat(MAX_REQUEST_LEN + 1);
    assert_eq!(code(&long), json!(RpcError::INVALID_REQUEST));
    let nested = "[".repeat(100_000);
    assert_eq!(code(&nested), json!(RpcError::PARSE));
}

/// The keys of Hardhat and anvil, signed for by the chain; nobody else's.
#[test]
fn unlocked_accounts_are_signed_for() {
    let keys = well_known_keys();
    let from = address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
    let accounts = vec![(from, ether(10))];
    let chain = DevChain::in_memory(Config { accounts, ..Config::default() });
    let send = |request: Value| chain.request("eth_sendTransaction", &json!([request]));
    let to = Address::repeat_byte(9);
    let transfer = json!({ "from": from, "to": to, "value": "0x7" });
    assert_eq!(send(transfer.clone()).unwrap_err().message, format!("unknown account {from:#x}"));

    chain.unlock(keys).unwrap();
    let listed = chain.request("eth_accounts", &Value::Null).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 10);
    assert_eq!(listed[0], json!(from));
    for nonce in 0..3 {
        let hash = send(transfer.clone()).unwrap();
        let sent = chain.request("eth_getTransactionByHash", &json!([hash])).unwrap();
        assert_eq!((&sent["nonce"], &sent["from"]), (&json!(format!("{nonce:#x}")), &json!(from)));
        assert_eq!(sent["type"], "0x2");
    }
    let mut legacy = transfer.clone();
    legacy["gasPrice"] = json!("0x77359400");
    let hash = send(legacy).unwrap();
    let sent = chain.request("eth_getTransactionByHash", &json!([hash])).unwrap();
    assert_eq!(sent["type"], "0x0");
    let hash = send(json!({ "from": from, "data": code::deploy(&code::store()) })).unwrap();
    let receipt = chain.request("eth_getTransactionReceipt", &json!([hash])).unwrap();
    assert_eq!(receipt["status"], "0x1");
    assert!(receipt["contractAddress"].is_string());

    let refusals = [
        (json!({ "to": to }), "missing value for `from`"),
        (json!({ "from": to, "to": to }), "unknown account 0x0909"),
        (json!({ "from": from, "to": to, "chainId": "0x1" }), "chainId does not match node's"),
        (json!({ "from": from, "to": to, "nonce": "0x1" }), "nonce too low"),
        (json!({ "from": from, "to": to, "value": ether(100) }), "insufficient funds"),
    ];
    for (request, expected) in refusals {
        let message = send(request).unwrap_err().message;
        assert!(message.starts_with(expected), "{message}");
    }
    let balance = chain.request("eth_getBalance", &json!([to])).unwrap();
    assert_eq!(balance, json!(U256::from(28)));
}

#[test]
fn web_pages_cannot_move_the_chain() {
    let chain = DevChain::in_memory(config());
    let ask = |caller, deadline, method: &str| -> Value {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": [1] });
        let answer = chain.handle_json_for(caller, deadline, body.to_string().as_bytes());
        serde_json::from_slice::<Value>(&answer).unwrap()["error"]["code"].clone()
    };
    for method in ["evm_mine", "evm_increaseTime", "dev_reorg", "anvil_setBalance", "eth"] {
        assert_eq!(ask(Caller::Page, None, method), RpcError::NO_METHOD, "{method}");
    }
    assert_eq!(chain.head().number, 0);
    for method in ["eth_chainId", "net_version", "web3_clientVersion"] {
        assert_eq!(ask(Caller::Page, None, method), Value::Null, "{method}");
    }
    assert_eq!(ask(Caller::Program, None, "evm_mine"), Value::Null);
    let past = Some(std::time::Instant::now());
    assert_eq!(ask(Caller::Program, past, "evm_mine"), RpcError::TIMED_OUT);
    assert_eq!(chain.head().number, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_share_one_chain_between_threads() {
    let chain = DevChain::in_memory(config());
    let tasks: Vec<_> = (1..=4)
        .map(|seed| {
            let chain = chain.clone();
            tokio::spawn(async move {
                for nonce in 0..25 {
                    chain
                        .send_raw_transaction(&transfer(&key(seed), |tx| tx.nonce = nonce))
                        .unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(chain.head().number, 100);
    let balance = chain.request("eth_getBalance", &json!([Address::repeat_byte(9)])).unwrap();
    assert_eq!(balance, json!(U256::from(100)));
}
