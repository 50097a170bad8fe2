//! What verifiers are asked and what is made of their answers, with a service on loopback. No public service was
//! asked.
#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "shared helpers say what they skip, and a test that cannot go on panics"
)]

mod common;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use alloy::sol_types::SolValue as _;
use alloy_primitives::{Address, B256, hex};
use common::serve;
use galen_chain::{
    ChainError,
    contract::HealthLedger,
    verification::{
        CONTRACT_NAME, Deployed, STANDARD_JSON, SourceMatch, VerificationService, Verifier,
        compiler_version, constructor_arguments,
    },
};
use galen_types::ErrorKind;
use serde_json::{Value, json};

const KEY: &str = "canary-of-a-key";

fn deployed() -> Deployed {
    Deployed {
        chain_id: 11_155_111,
        ledger: Address::repeat_byte(0x1e),
        founders: vec![Address::repeat_byte(1), Address::repeat_byte(2)],
        transaction: Some(B256::repeat_byte(3)),
    }
}

type Seen = Arc<Mutex<Vec<(String, Value)>>>;

/// Asks a service that gives these answers in turn, the last for ever.
async fn ask(
    verifier: Verifier,
    key: Option<&str>,
    answers: Vec<(u16, Value)>,
) -> (Result<SourceMatch, ChainError>, Seen) {
    let seen = Seen::default();
    let kept = Arc::clone(&seen);
    let url = serve(move |line, body| {
        let mut seen = kept.lock().unwrap();
        let answer = answers[seen.len().min(answers.len() - 1)].clone();
        seen.push((line, body));
        async move { answer }
    });
    let url = format!("{}/server/", url.await);
    let key = key.map(|key| zeroize::Zeroizing::new(key.to_owned()));
    let service = VerificationService::new(verifier, &url, key, Duration::from_secs(6)).unwrap();
    assert!(!format!("{service:?}").contains(KEY));
    (service.verify(&deployed()).await, seen)
}

#[test]
fn what_is_handed_in_is_what_is_deployed() {
    let input: Value = serde_json::from_str(STANDARD_JSON).unwrap();
    let (path, name) = CONTRACT_NAME.split_once(':').unwrap();
    let source = input["sources"][path]["content"].as_str().unwrap();
    assert!(source.contains(&format!("contract {name} is")));
    assert!(compiler_version().starts_with("0.8.") && compiler_version().contains("+commit."));
    let founders = deployed().founders;
    let constructor = HealthLedger::constructorCall { founders: founders.clone() };
    let encoded = alloy::sol_types::SolConstructor::abi_encode(&constructor);
    assert_eq!(constructor_arguments(&founders), encoded);
    assert_eq!(constructor_arguments(&founders), (founders,).abi_encode_params());
}

#[tokio::test]
async fn sourcify_gets_the_sources_and_its_job_is_followed() {
    let (found, seen) = ask(
        Verifier::Sourcify,
        None,
        vec![
            (202, json!({ "verificationId": "3c90c3cc-0d44" })),
            (200, json!({ "isJobCompleted": false })),
            (200, json!({ "isJobCompleted": true, "contract": { "match": "match" } })),
        ],
    )
    .await;
    assert_eq!(found.unwrap(), SourceMatch::Match);
    let seen = seen.lock().unwrap();
    let (line, body) = &seen[0];
    let ledger = "0x1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e";
    assert_eq!(*line, format!("POST /server/v2/verify/11155111/{ledger}"));
    assert_eq!(body["stdJsonInput"], serde_json::from_str::<Value>(STANDARD_JSON).unwrap());
    assert_eq!(body["compilerVersion"], compiler_version());
    assert_eq!(body["contractIdentifier"], CONTRACT_NAME);
    assert_eq!(body["creationTransactionHash"], json!(B256::repeat_byte(3)));
    assert_eq!(seen.len(), 3);
    assert!(seen[1..].iter().all(|(line, _)| line == "GET /server/v2/verify/3c90c3cc-0d44"));
}

#[tokio::test]
async fn sourcify_s_refusals_are_told_apart() {
    let job = || (202, json!({ "verificationId": "job" }));
    let done = |answer: Value| vec![job(), (200, answer)];
    for (answers, expected) in [
        (
            done(json!({ "isJobCompleted": true, "contract": { "match": "exact_match" } })),
            Ok(SourceMatch::ExactMatch),
        ),
        (
            vec![(409, json!({ "customCode": "already_verified" }))],
            Ok(SourceMatch::AlreadyVerified),
        ),
        (
            done(json!({ "isJobCompleted": true, "error": { "customCode": "already_verified" } })),
            Ok(SourceMatch::AlreadyVerified),
        ),
        (
            done(json!({ "isJobCompleted": true, "error": {
                "customCode": "no_match", "message": "other\u{1b}[2J code" } })),
            Err("the sources were not verified: other [2J code"),
        ),
        (
            done(json!({ "isJobCompleted": true, "contract": { "match": null } })),
            Err("the sources were not verified: the service found other code"),
        ),
        (
            vec![(400, json!({ "customCode": "unsupported_chain", "message": "no such chain" }))],
            Err("the sources were not verified: no such chain"),
        ),
        (vec![(202, json!({ "verificationId": "../../x" }))], Err("nonsense")),
        (vec![(200, json!([]))], Err("nonsense")),
        (vec![(502, json!("bad gateway"))], Err("HTTP status 502")),
    ] {
        let (found, _) = ask(Verifier::Sourcify, None, answers.clone()).await;
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{answers:?}"),
            (Err(error), Err(expected)) => {
                assert!(error.to_string().contains(expected), "{answers:?}: {error}");
            }
            (found, expected) => panic!("{answers:?}: {found:?}, not {expected:?}"),
        }
    }
}

#[tokio::test]
async fn a_service_that_never_ends_is_left_at_the_deadline() {
    let forever =
        vec![(202, json!({ "verificationId": "job" })), (200, json!({ "isJobCompleted": false }))];
    let (found, _) = ask(Verifier::Sourcify, None, forever).await;
    assert!(matches!(found, Err(ChainError::TimedOut { .. })), "{found:?}");
}

#[tokio::test]
async fn etherscan_gets_a_form_and_is_asked_until_it_knows() {
    let (found, seen) = ask(
        Verifier::Etherscan,
        Some(KEY),
        vec![
            (
                200,
                json!({ "status": "0", "message": "NOTOK",
                "result": "Unable to locate ContractCode at 0x1e" }),
            ),
            (200, json!({ "status": "1", "message": "OK", "result": "a guid&x=1" })),
            (200, json!({ "status": "0", "message": "NOTOK", "result": "Pending in queue" })),
            (200, json!({ "status": "1", "message": "OK", "result": "Pass - Verified" })),
        ],
    )
    .await;
    assert_eq!(found.unwrap(), SourceMatch::Verified);
    let seen = seen.lock().unwrap();
    let (line, form) = &seen[1];
    assert_eq!(line, "POST /server/?chainid=11155111");
    let url = reqwest::Url::parse(&format!("http://form/?{}", form.as_str().unwrap())).unwrap();
    let field = |name: &str| {
        let found = url.query_pairs().find(|(key, _)| key == name);
        found.unwrap_or_else(|| panic!("no {name}")).1.into_owned()
    };
    assert_eq!(field("sourceCode"), STANDARD_JSON.trim_end());
    assert_eq!(field("module"), "contract");
    assert_eq!(field("action"), "verifysourcecode");
    assert_eq!(field("codeformat"), "solidity-standard-json-input");
    assert_eq!(field("contractname"), CONTRACT_NAME);
    assert_eq!(field("compilerversion"), format!("v{}", compiler_version()));
    assert_eq!(field("apikey"), KEY);
    let arguments = constructor_arguments(&deployed().founders);
    assert_eq!(field("constructorArguements"), hex::encode(arguments));
    let asked = "GET /server/?chainid=11155111&module=contract&action=checkverifystatus\
        &guid=a+guid%26x%3D1&apikey=canary-of-a-key";
    assert!(seen[2..].iter().all(|(line, _)| line == asked), "{seen:?}");
}

#[tokio::test]
async fn etherscan_s_refusals_are_told_apart_and_never_show_the_key() {
    let say =
        |words: &str| vec![(200, json!({ "status": "0", "message": "NOTOK", "result": words }))];
    let (found, _) =
        ask(Verifier::Etherscan, None, say("Contract source code already verified")).await;
    assert_eq!(found.unwrap(), SourceMatch::AlreadyVerified);
    for (answers, kind) in [
        (say("Invalid API Key"), ErrorKind::Invalid),
        (say("Fail - Unable to verify"), ErrorKind::Invalid),
        (vec![(500, json!({}))], ErrorKind::Unavailable),
        (vec![(200, json!({ "status": 1 }))], ErrorKind::Unavailable),
    ] {
        let (found, _) = ask(Verifier::Etherscan, Some(KEY), answers.clone()).await;
        let error = found.unwrap_err();
        assert_eq!(error.kind(), kind, "{answers:?}");
        assert!(!format!("{error} {error:?}").contains(KEY), "{error:?}");
    }
    let far = VerificationService::new(
        Verifier::Etherscan,
        "http://verifier.example/api",
        None,
        Duration::from_secs(1),
    );
    assert!(matches!(far, Err(ChainError::PlainHttp { .. })));
}
