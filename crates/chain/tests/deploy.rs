//! A ledger comes to a chain with the factory and to one without it, and is known from its own block.
//!
//! Needs `GALEN_ANVIL`.
#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a skipped test says so, and one that cannot go on panics"
)]

mod common;

use alloy::providers::Provider as _;
use alloy_primitives::{Address, B256, U256, address, keccak256};
use common::{Anvil, account};
use galen_chain::{
    ChainError, Deployment, Fees, Ledger, Payer, Queue, Standing, deploy_with, deployment_address,
    verify_deployment,
};
use galen_types::ErrorKind;
use serde_json::json;

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
        let made = deploy_with(provider.clone(), &payer, &founders, SALT).await.unwrap();
        assert_eq!(made.ledger, deployment_address(&founders, SALT));
        assert!(made.gas > 1_000_000 && made.transaction.is_some());
        let code = provider.get_code_at(made.ledger).await.unwrap();
        assert_eq!(made.code_hash, keccak256(code));
        assert!(!provider.get_code_at(FACTORY).await.unwrap().is_empty());

        let again = deploy_with(provider.clone(), &payer, &founders, SALT).await.unwrap();
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
    let made = deploy_with(provider.clone(), &payer, &founders(), SALT).await.unwrap();
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
        let error = deploy_with(provider.clone(), &payer, &founders, SALT).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    anvil.request("anvil_setCode", json!([FACTORY, "0x00"])).await;
    let error = deploy_with(provider.clone(), &payer, &founders(), B256::ZERO).await.unwrap_err();
    assert!(matches!(error, ChainError::OtherCode { address: FACTORY, .. }), "{error:?}");
    assert_eq!(provider.get_balance(copy).await.unwrap(), U256::ZERO);
}
