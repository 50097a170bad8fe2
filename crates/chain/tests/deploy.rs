//! A ledger comes to a chain with the factory and to one without it, and is known from its own block.
//!
//! Needs `GALEN_ANVIL`.
#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a skipped test says so, and one that cannot go on panics"
)]

mod common;

use std::sync::Arc;

use alloy::providers::{DynProvider, Provider as _};
use alloy_primitives::{Address, B256, U256, address, keccak256};
use common::{Anvil, account, serve};
use galen_chain::{
    ChainError, Deployment, Fees, Ledger, Payer, Queue, Standing, deploy_with, deployment_address,
    rpc::{RpcOptions, connect},
    verify_deployment,
};
use galen_types::ErrorKind;
use serde_json::{Value, json};

const FACTORY: Address = address!("4e59b44847b379578588920cA78FbF26c0B4956C");
const FACTORY_DEPLOYER: Address = address!("3fab184622dc19b6109349b94811493bf2a45362");
const SALT: B256 = B256::repeat_byte(7);

fn founders() -> Vec<Address> {
    let mut founders: Vec<_> = (1..=3).map(|index| account(index).id()).collect();
    founders.sort_unstable();
    founders
}

#[tokio::test]
async fn a_ledger_is_deployed_once_and_verified_with_and_without_the_factory() {
    for bare in [false, true] {
        let Some(anvil) = Anvil::start(&[]) else { return };
        let provider = &anvil.provider;
        if bare {
            anvil.request("anvil_setCode", json!([FACTORY, "0x"])).await;
            // As on a chain that never had it.
            anvil.request("anvil_setNonce", json!([FACTORY, "0x0"])).await;
            anvil.request("anvil_setBalance", json!([FACTORY_DEPLOYER, "0x0"])).await;
            anvil.request("anvil_setNonce", json!([FACTORY_DEPLOYER, "0x0"])).await;
            assert!(provider.get_code_at(FACTORY).await.unwrap().is_empty());
        }
        let directory = tempfile::tempdir().unwrap();
        let queue = Queue::open(directory.path(), 31_337, account(0).controller()).unwrap();
        let payer = Payer::wallet(provider.clone(), account(0), Some(queue), Fees::default());
        let founders = founders();
        let made = deploy_with(provider.clone(), &payer, &founders, SALT, None).await.unwrap();
        assert_eq!(made.ledger, deployment_address(&founders, SALT));
        assert!(made.gas > 1_000_000 && made.transaction.is_some());
        let code = provider.get_code_at(made.ledger).await.unwrap();
        assert_eq!(made.code_hash, keccak256(code));
        assert!(!provider.get_code_at(FACTORY).await.unwrap().is_empty());

        let again = deploy_with(provider.clone(), &payer, &founders, SALT, None).await.unwrap();
        assert_eq!(again, Deployment { gas: 0, transaction: None, ..made });
        assert_eq!(payer.pending().await.unwrap(), []);

        let verified = verify_deployment(provider.clone(), made.ledger, SALT, made.block);
        let verified = verified.await.unwrap();
        assert_eq!((verified.founders, verified.code_hash), (founders.clone(), made.code_hash));
        let ledger = Ledger::connect(provider.clone(), made.ledger, made.block).await.unwrap();
        let founder = ledger.participant(founders[0]).await.unwrap();
        assert_eq!(founder.standing, Standing::Active);
    }
}

#[tokio::test]
async fn what_is_no_ledger_of_this_release_is_refused() {
    let Some(anvil) = Anvil::start(&[]) else { return };
    let provider = &anvil.provider;
    let payer = Payer::wallet(provider.clone(), account(0), None, Fees::default());
    let made = deploy_with(provider.clone(), &payer, &founders(), SALT, None).await.unwrap();
    // The same code put elsewhere by a node that can, and other code in its place.
    let copy = Address::repeat_byte(0x99);
    let code = provider.get_code_at(made.ledger).await.unwrap();
    anvil.request("anvil_setCode", json!([copy, code])).await;
    for (what, ledger, salt, block) in [
        ("no code", Address::repeat_byte(1), SALT, made.block),
        ("copy", copy, SALT, made.block),
        ("salt", made.ledger, B256::ZERO, made.block),
        ("block before", made.ledger, SALT, made.block - 1),
        ("block to come", made.ledger, SALT, made.block + 1),
        ("factory", FACTORY, SALT, made.block),
    ] {
        let error = verify_deployment(provider.clone(), ledger, salt, block).await.unwrap_err();
        assert!(matches!(error, ChainError::OtherCode { .. }), "{what}: {error:?}");
        assert_eq!(error.kind(), ErrorKind::Integrity);
    }
    let mut unsorted = founders();
    unsorted.reverse();
    for founders in [Vec::new(), unsorted] {
        let error = deploy_with(provider.clone(), &payer, &founders, SALT, None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    anvil.request("anvil_setCode", json!([FACTORY, "0x00"])).await;
    let error =
        deploy_with(provider.clone(), &payer, &founders(), B256::ZERO, None).await.unwrap_err();
    assert!(matches!(error, ChainError::OtherCode { address: FACTORY, .. }), "{error:?}");
    assert_eq!(provider.get_balance(copy).await.unwrap(), U256::ZERO);
}

/// What a node keeps of old blocks.
#[derive(Clone, Copy, Debug)]
struct Keeps {
    /// How it answers for code in old blocks.
    old_code: OldCode,
    /// Most blocks in one question for logs; zero: none.
    log_span: u64,
}

#[derive(Clone, Copy, Debug)]
enum OldCode {
    Error,
    Empty,
}

/// A node that stands before anvil and has forgotten.
async fn forgetful(anvil: &Anvil, keeps: Keeps) -> DynProvider {
    let node = Arc::new(anvil.provider.clone());
    let url = serve(move |_, request: Value| {
        let node = Arc::clone(&node);
        async move {
            let (id, method) = (request["id"].clone(), request["method"].as_str().unwrap());
            let number =
                |text: &Value| u64::from_str_radix(text.as_str()?.strip_prefix("0x")?, 16).ok();
            let refuse = |code: i64, message: &str| {
                (
                    200,
                    json!({ "jsonrpc": "2.0", "id": id,
                    "error": { "code": code, "message": message } }),
                )
            };
            let params = &request["params"];
            let is_old = method == "eth_getCode" && number(&params[1]).is_some();
            match keeps.old_code {
                OldCode::Error if is_old => return refuse(-32_000, "missing trie node"),
                OldCode::Empty if is_old => {
                    return (200, json!({ "jsonrpc": "2.0", "id": id, "result": "0x" }));
                }
                _ => {}
            }
            if method == "eth_getLogs" {
                let edge = |name: &str| number(&params[0][name]).unwrap();
                let span = edge("toBlock") - edge("fromBlock") + 1;
                if span > keeps.log_span {
                    return refuse(-32_005, "query returned more than 10000 results");
                }
            }
            let params = params.as_array().cloned().unwrap_or_default();
            let answer: Value = node.raw_request(method.to_owned().into(), params).await.unwrap();
            (200, json!({ "jsonrpc": "2.0", "id": id, "result": answer }))
        }
    })
    .await;
    connect(&[url], RpcOptions::default()).unwrap()
}

#[tokio::test]
async fn the_block_of_a_ledger_is_found_without_old_state_or_asked_for() {
    let Some(anvil) = Anvil::start(&[]) else { return };
    anvil.request("anvil_mine", json!(["0x12d"])).await;
    let payer = Payer::wallet(anvil.provider.clone(), account(0), None, Fees::default());
    let made = deploy_with(anvil.provider.clone(), &payer, &founders(), SALT, None).await.unwrap();
    anvil.request("anvil_mine", json!(["0x1f4"])).await;
    let there = Deployment { gas: 0, transaction: None, ..made };
    for old_code in [OldCode::Error, OldCode::Empty] {
        for log_span in [10_000, 300, 0] {
            let keeps = Keeps { old_code, log_span };
            let node = forgetful(&anvil, keeps).await;
            let payer = Payer::wallet(node.clone(), account(0), None, Fees::default());
            let again = deploy_with(node.clone(), &payer, &founders(), SALT, None).await;
            if log_span > 0 {
                assert_eq!(again.unwrap(), there, "{keeps:?}");
                continue;
            }
            let error = again.unwrap_err();
            let expected = ChainError::NoDeploymentBlock { ledger: made.ledger };
            assert_eq!(error.to_string(), expected.to_string(), "{keeps:?}");
            assert_eq!(error.kind(), ErrorKind::Invalid);
            // Who knows the block says it.
            let block = Some(made.block);
            let told = deploy_with(node, &payer, &founders(), SALT, block).await.unwrap();
            assert_eq!(told, there);
        }
    }
}
