//! `galen deploy` with a service that verifies sources, and networks without encryption. The service is one on
//! loopback: no public one was asked.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use axum::{Json, Router, extract::State, http::Uri, routing::post};
use galen_chain::verification::{STANDARD_JSON, compiler_version};
use serde_json::{Value, json};

use crate::common::{Machine, Server, set_mode};

const KEY: &str = "canary-of-a-key";

/// The result of a command that must succeed; the key is never shown.
fn done(place: &Machine, args: &[&str]) -> Value {
    let said = place.run("a", &[args, &["--json", "--yes"]].concat());
    assert_eq!(said.code, 0, "{args:?}: {}", said.stderr);
    assert!(!said.stderr.contains(KEY), "{}", said.stderr);
    said.json()
}

/// The result, if there is one, of a command that must fail.
fn fails(place: &Machine, args: &[&str], code: i32, says: &str) -> Value {
    let said = place.run("a", &[args, &["--json", "--yes"]].concat());
    assert_eq!(said.code, code, "{args:?}: {}", said.stderr);
    assert!(said.stderr.contains(says) && !said.stderr.contains(KEY), "{args:?}: {}", said.stderr);
    serde_json::from_str(&said.stdout).unwrap_or_default()
}

type Seen = Arc<Mutex<Vec<(String, Value)>>>;

/// A service that knows what is handed in at `/good`, and refuses it at `/bad`.
async fn verifier() -> (String, Seen) {
    async fn sourcify(
        State(seen): State<Seen>,
        uri: Uri,
        Json(body): Json<Value>,
    ) -> (axum::http::StatusCode, Json<Value>) {
        seen.lock().unwrap().push((uri.to_string(), body));
        if uri.path().starts_with("/good") {
            return (axum::http::StatusCode::ACCEPTED, Json(json!({ "verificationId": "job" })));
        }
        let no = json!({ "customCode": "unsupported_chain", "message": "no such chain here" });
        (axum::http::StatusCode::BAD_REQUEST, Json(no))
    }
    let seen = Seen::default();
    let done = json!({ "isJobCompleted": true, "contract": { "match": "match" } });
    let router = Router::new()
        .route("/{place}/v2/verify/{chain}/{address}", post(sourcify))
        .route("/{place}/v2/verify/job", axum::routing::get(move || async { Json(done) }))
        .with_state(Arc::clone(&seen));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_are_written_down_and_verified_at_deployment_and_later() {
    let place = Machine::new();
    let dev = Server::chain();
    let (service, seen) = verifier().await;
    let hospital = done(&place, &["init", "--role", "organization", "--name", "St Anna"]);
    let id = hospital["id"].as_str().unwrap();
    place.fund(&dev, &hospital["id"]);

    let good = format!("{service}/good");
    let deploy = ["deploy", "--rpc-url", dev.url(), "--finality", "instant"];
    let with = |more: &[&str]| [&deploy[..], more].concat().join("\n");
    let run = |line: &str| done(&place, &line.split('\n').collect::<Vec<_>>());

    // A key that others can read: nothing is sent, nobody is asked.
    let open = place.private("open", KEY);
    set_mode(&open, 0o644);
    let args = with(&["--verify", &good, "--verify-key-file", &open]);
    fails(&place, &args.split('\n').collect::<Vec<_>>(), 2, "can read the key file");
    assert!(seen.lock().unwrap().is_empty());

    let input = place.path("input.json");
    let made = run(&with(&["--verification-input", &input, "--verify", &good]));
    assert_eq!(made["already_there"], false);
    assert_eq!(made["source_match"], "match");
    assert_eq!(made["contract_name"], "contracts/src/HealthLedger.sol:HealthLedger");
    assert_eq!(made["compiler"], compiler_version());
    // An array of one address: offset, length, address.
    let words = [format!("{:064x}", 0x20), format!("{:064x}", 1), format!("{:0>64}", &id[2..])];
    assert_eq!(made["constructor_arguments"], format!("0x{}", words.concat()));
    assert_eq!(fs::read_to_string(&input).unwrap(), STANDARD_JSON);
    {
        let seen = seen.lock().unwrap();
        let (path, body) = &seen[0];
        let ledger = made["ledger"].as_str().unwrap();
        assert_eq!(*path, format!("/good/v2/verify/31337/{ledger}").to_lowercase());
        assert_eq!(body["creationTransactionHash"], made["transaction"]);
        assert_eq!(body["stdJsonInput"], serde_json::from_str::<Value>(STANDARD_JSON).unwrap());
    }

    // Again, without the transaction, which is not known any more; the file may be there if it is the same.
    let again = run(&with(&["--verification-input", &input, "--verify", &good]));
    assert_eq!((&again["already_there"], &again["source_match"]), (&json!(true), &json!("match")));
    assert_eq!(seen.lock().unwrap()[1].1.get("creationTransactionHash"), None);
    fs::write(&input, "{}").unwrap();
    let args = with(&["--verification-input", &input]);
    fails(&place, &args.split('\n').collect::<Vec<_>>(), 2, "exists");

    // A refusal is an error, and what lies on chain is told all the same.
    let args = with(&["--verify", &format!("{service}/bad")]);
    let told = fails(&place, &args.split('\n').collect::<Vec<_>>(), 2, "no such chain here");
    assert_eq!((&told["ledger"], &told["source_match"]), (&made["ledger"], &Value::Null));
}

#[test]
fn plain_http_to_other_machines_is_allowed_by_network_and_said_aloud() {
    let place = Machine::new();
    let dev = Server::chain();
    let hospital = done(&place, &["init", "--role", "organization", "--name", "St Anna"]);
    place.fund(&dev, &hospital["id"]);
    let made = done(&place, &["deploy", "--rpc-url", dev.url(), "--finality", "instant"]);
    let name = made["network"].as_str().unwrap();
    let row = || {
        let shown = done(&place, &["config", "show"]);
        shown["settings"]["allow_plain_http"]["value"].clone()
    };
    let warned = || {
        let shown = done(&place, &["doctor"]);
        let findings = shown["findings"].as_array().unwrap();
        findings.iter().any(|it| it["check"] == "plain_http" && it["state"] == "warning")
    };
    // Nobody answers there, and no name of this machine is meant by it.
    let far = "http://192.0.2.1:9";
    let args = ["network", "add", "other", "--ledger", made["ledger"].as_str().unwrap()];
    let args = [&args[..], &["--deployed-in", "1", "--rpc-url", far, "--timeout", "1"]].concat();
    assert_eq!((row(), warned()), (json!("false"), false));
    fails(&place, &args, 2, "plain http");
    fails(&place, &["deploy", "--rpc-url", far, "--timeout", "1"], 2, "plain http");
    let allowed = [&args[..], &["--allow-plain-http"]].concat();
    fails(&place, &allowed, 6, "192.0.2.1");

    let shown = done(&place, &["network", "add", name, "--allow-plain-http"]);
    assert_eq!(shown["allow_plain_http"], true);
    assert_eq!((row(), warned()), (json!("true"), true));
    fails(&place, &["deploy", "--rpc-url", far, "--timeout", "1"], 6, "192.0.2.1");
    // It is this network's alone.
    fails(&place, &args, 2, "plain http");
    let shown = done(&place, &["network", "add", name, "--allow-plain-http=false"]);
    assert_eq!(shown["allow_plain_http"], false);
    assert_eq!((row(), warned()), (json!("false"), false));
}
