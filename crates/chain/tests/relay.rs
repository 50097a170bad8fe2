//! A relay is trusted with nothing: what it says is compared with what the caller's own node shows.
//!
//! Needs `GALEN_ANVIL`.
#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a skipped test says so, and one that cannot go on panics"
)]

mod common;

use std::time::Duration;

use alloy::{
    providers::Provider as _,
    rpc::types::{TransactionInput, TransactionRequest},
};
use alloy_primitives::{Address, B256, Bytes, U256};
use common::{Anvil, account};
use galen_chain::{ChainError, Fees, Payer, RelayOptions};
use galen_types::ErrorKind;
use serde_json::{Value, json};

const TO: Address = Address::repeat_byte(0xd0);

fn options() -> RelayOptions {
    let deadline = Duration::from_secs(3);
    RelayOptions { timeout: Duration::from_secs(1), deadline, ..RelayOptions::default() }
}

fn call(input: &'static [u8]) -> TransactionRequest {
    let input = TransactionInput::new(Bytes::from_static(input));
    TransactionRequest { input, ..TransactionRequest::default().to(TO) }
}

/// What a relay does with a call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Deed {
    Honest,
    OtherCall,
    OtherRecipient,
    Nothing,
    Silence,
    Nonsense,
    Refusal(u16),
}

async fn relay(anvil: &Anvil, deed: Deed) -> String {
    let wallet = Payer::wallet(anvil.provider.clone(), account(5), None, Fees::default());
    common::serve(move |line, body: Value| {
        let wallet = wallet.clone();
        async move {
            assert_eq!(line, "POST /gate/v1/calls");
            assert_eq!((&body["chainId"], &body["to"]), (&json!(31_337), &json!(TO)));
            let asked: Bytes = serde_json::from_value(body["data"].clone()).unwrap();
            let request = match deed {
                Deed::Honest => TransactionRequest::default().to(TO).input(asked.into()),
                Deed::OtherCall => call(b"other"),
                Deed::OtherRecipient => {
                    TransactionRequest::default().to(Address::ZERO).input(asked.into())
                }
                Deed::Nothing => return (200, json!({ "transaction": B256::repeat_byte(1) })),
                Deed::Silence => {
                    tokio::time::sleep(Duration::from_secs(30)).await;
                    return (200, Value::Null);
                }
                Deed::Nonsense => return (200, json!(["thanks"])),
                Deed::Refusal(status) => {
                    let error = "no\u{1b}[2J more today";
                    return (status, json!({ "error": error, "kind": "denied", "help": "wait" }));
                }
            };
            (200, json!({ "transaction": wallet.submit(request).await.unwrap().transaction }))
        }
    })
    .await
}

#[tokio::test]
async fn only_the_call_that_was_asked_for_counts_and_only_from_the_callers_node() {
    let Some(anvil) = Anvil::start(&[]) else { return };
    for (deed, expected) in [
        (Deed::Honest, None),
        (Deed::OtherCall, Some(ErrorKind::Integrity)),
        (Deed::OtherRecipient, Some(ErrorKind::Integrity)),
        (Deed::Nothing, Some(ErrorKind::Unavailable)),
        (Deed::Silence, Some(ErrorKind::Unavailable)),
        (Deed::Nonsense, Some(ErrorKind::Unavailable)),
        (Deed::Refusal(400), Some(ErrorKind::Invalid)),
        (Deed::Refusal(403), Some(ErrorKind::Denied)),
        (Deed::Refusal(409), Some(ErrorKind::Stale)),
        (Deed::Refusal(429), Some(ErrorKind::Unavailable)),
        (Deed::Refusal(500), Some(ErrorKind::Unavailable)),
    ] {
        let url = format!("{}/gate/", relay(&anvil, deed).await);
        let payer = Payer::relay(anvil.provider.clone(), &url, options()).unwrap();
        assert_eq!(payer.address(), None);
        let result = payer.send(call(b"asked")).await;
        assert_eq!(result.as_ref().err().map(ChainError::kind), expected, "{deed:?}: {result:?}");
        match result {
            Ok(sent) => {
                let receipt = anvil.provider.get_transaction_receipt(sent.transaction).await;
                assert_eq!(receipt.unwrap().unwrap().block_number, Some(sent.block));
            }
            Err(error) => assert!(!error.to_string().contains('\u{1b}'), "{error:?}"),
        }
    }
}

#[tokio::test]
async fn what_a_relay_cannot_send_is_not_asked_for() {
    let Some(anvil) = Anvil::start(&[]) else { return };
    // Nobody listens there: an answer of another kind would mean that it was asked.
    let payer = Payer::relay(anvil.provider.clone(), "http://127.0.0.1:9", options()).unwrap();
    for request in [call(b"x").value(U256::ONE), TransactionRequest::default()] {
        assert_eq!(payer.send(request).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    // A contract that refuses everything: PUSH0 PUSH0 REVERT.
    anvil.request("anvil_setCode", json!([TO, "0x5f5ffd"])).await;
    let error = payer.send(call(b"x")).await.unwrap_err();
    assert!(!matches!(error, ChainError::Unreachable { .. }), "{error:?}");
    anvil.request("anvil_setCode", json!([TO, "0x"])).await;
    let error = payer.send(call(b"x")).await.unwrap_err();
    assert!(matches!(error, ChainError::Unreachable { .. }), "{error:?}");
}
