//! What the tests share.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "each test uses its part of it, and a test that cannot go on panics"
)]

pub mod anvil;
pub mod code;
pub mod random;

use alloy::{
    consensus::{SignableTransaction as _, TxEip1559, TxEnvelope},
    eips::eip2718::Encodable2718 as _,
    network::{EthereumWallet, TxSignerSync as _},
    primitives::{Address, B256, Bytes, TxKind, U256, utils::Unit},
    providers::{Provider, ProviderBuilder},
    rpc::types::{TransactionReceipt, TransactionRequest},
    signers::local::PrivateKeySigner,
};
use galen_devchain::{Clock, Config, DevChain};

/// The same key in every test: its number is `seed`.
pub fn key(seed: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::with_last_byte(seed)).unwrap()
}

pub fn ether(amount: u64) -> U256 {
    U256::from(amount) * Unit::ETHER.wei()
}

/// Keys 1 to 4 have 1,000 ether each; time stands still.
pub fn config() -> Config {
    let accounts = (1..=4).map(|seed| (key(seed).address(), ether(1_000))).collect();
    Config { accounts, clock: Clock::Manual, ..Config::default() }
}

/// With fillers and the wallet of key 1.
pub fn provider(chain: &DevChain) -> impl Provider + Clone + use<> {
    ProviderBuilder::new().wallet(EthereumWallet::from(key(1))).connect_client(chain.client())
}

pub async fn send(provider: &impl Provider, request: TransactionRequest) -> TransactionReceipt {
    provider.send_transaction(request).await.unwrap().get_receipt().await.unwrap()
}

/// Deploys runtime code and returns its address.
pub async fn deploy(provider: &impl Provider, runtime: &[u8]) -> Address {
    let request = TransactionRequest {
        input: code::deploy(runtime).into(),
        to: Some(TxKind::Create),
        ..Default::default()
    };
    send(provider, request).await.contract_address.unwrap()
}

pub fn call(to: Address, data: impl Into<Bytes>) -> TransactionRequest {
    TransactionRequest { input: data.into().into(), ..TransactionRequest::default() }.to(to)
}

/// A signed transfer of `value` wei from key 1, as it goes over the wire.
pub fn transfer(nonce: u64, value: u64) -> Vec<u8> {
    let mut tx = TxEip1559 {
        chain_id: 31_337,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 2_000_000_000,
        to: TxKind::Call(Address::repeat_byte(9)),
        value: U256::from(value),
        ..TxEip1559::default()
    };
    let signature = key(1).sign_transaction_sync(&mut tx).unwrap();
    TxEnvelope::from(tx.into_signed(signature)).encoded_2718()
}
