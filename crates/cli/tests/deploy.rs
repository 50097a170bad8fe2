//! `galen deploy` with a service that verifies sources, and networks without encryption. The service is one on
//! loopback: no public one was asked.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
};

use axum::{Json, Router, extract::State, http::Uri, routing::post};
use galen_chain::verification::{STANDARD_JSON, compiler_version};
use serde_json::{Value, json};

const KEY: &str = "canary-of-a-key";

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.private("pass", "correct horse battery staple");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn private(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }

    fn command(&self, home: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_galen"));
        for name in ["ETH_RPC_URL", "GALEN_PROFILE"] {
            command.env_remove(name);
        }
        command
            .env("GALEN_HOME", self.path(home))
            .env("ETH_PASSWORD", self.path("pass"))
            .env("GALEN_TEST_SCRYPT_LOG_N", "2")
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, home: &str, args: &[&str]) -> Output {
        self.command(home).args(args).args(["--json", "--yes"]).output().unwrap()
    }

    fn json(&self, home: &str, args: &[&str]) -> Value {
        let output = self.run(home, args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
        assert!(!said.contains(KEY), "{said}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The result, if there is one, of a command that must fail.
    fn fails(&self, home: &str, args: &[&str], code: i32, says: &str) -> Value {
        let output = self.run(home, args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(says) && !said.contains(KEY), "{args:?}: {said}");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }
}

/// A running `galen dev` and its URL.
struct Dev(Child, String);

impl Dev {
    fn start(place: &Place) -> Self {
        let mut process = place
            .command("dev")
            .args(["dev", "--listen", "127.0.0.1:0", "--json", "--quiet"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let url = ready["url"].as_str().unwrap().to_owned();
        Self(process, url)
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
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
    let place = Place::new();
    let dev = Dev::start(&place);
    let (service, seen) = verifier().await;
    let hospital = place.json("a", &["init", "--role", "organization", "--name", "St Anna"]);
    let id = hospital["id"].as_str().unwrap();
    place.json("dev", &["dev", "fund", id, "--rpc-url", &dev.1]);

    let good = format!("{service}/good");
    let deploy = ["deploy", "--rpc-url", &dev.1, "--finality", "instant"];
    let with = |more: &[&str]| [&deploy[..], more].concat().join("\n");
    let run = |line: &str| place.json("a", &line.split('\n').collect::<Vec<_>>());

    // A key that others can read: nothing is sent, nobody is asked.
    let open = place.private("open", KEY);
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let args = with(&["--verify", &good, "--verify-key-file", &open]);
    place.fails("a", &args.split('\n').collect::<Vec<_>>(), 2, "can read the key file");
    assert!(seen.lock().unwrap().is_empty());

    let input = place.path("input.json").display().to_string();
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
    place.fails("a", &args.split('\n').collect::<Vec<_>>(), 2, "exists");

    // A refusal is an error, and what lies on chain is told all the same.
    let args = with(&["--verify", &format!("{service}/bad")]);
    let told = place.fails("a", &args.split('\n').collect::<Vec<_>>(), 2, "no such chain here");
    assert_eq!((&told["ledger"], &told["source_match"]), (&made["ledger"], &Value::Null));
}

#[test]
fn plain_http_to_other_machines_is_allowed_by_network_and_said_aloud() {
    let place = Place::new();
    let dev = Dev::start(&place);
    let hospital = place.json("a", &["init", "--role", "organization", "--name", "St Anna"]);
    place.json("dev", &["dev", "fund", hospital["id"].as_str().unwrap(), "--rpc-url", &dev.1]);
    let made = place.json("a", &["deploy", "--rpc-url", &dev.1, "--finality", "instant"]);
    let name = made["network"].as_str().unwrap();
    let row = |home: &str| {
        let shown = place.json(home, &["config", "show"]);
        shown["settings"]["allow_plain_http"]["value"].clone()
    };
    let warned = || {
        let shown = place.json("a", &["doctor"]);
        let findings = shown["findings"].as_array().unwrap();
        findings.iter().any(|it| it["check"] == "plain_http" && it["state"] == "warning")
    };
    // Nobody answers there, and no name of this machine is meant by it.
    let far = "http://192.0.2.1:9";
    let args = ["network", "add", "other", "--ledger", made["ledger"].as_str().unwrap()];
    let args = [&args[..], &["--deployed-in", "1", "--rpc-url", far, "--timeout", "1"]].concat();
    assert_eq!((row("a"), warned()), (json!("false"), false));
    place.fails("a", &args, 2, "plain http");
    place.fails("a", &["deploy", "--rpc-url", far, "--timeout", "1"], 2, "plain http");
    let allowed = [&args[..], &["--allow-plain-http"]].concat();
    place.fails("a", &allowed, 6, "192.0.2.1");

    let shown = place.json("a", &["network", "add", name, "--allow-plain-http"]);
    assert_eq!(shown["allow_plain_http"], true);
    assert_eq!((row("a"), warned()), (json!("true"), true));
    place.fails("a", &["deploy", "--rpc-url", far, "--timeout", "1"], 6, "192.0.2.1");
    // It is this network's alone.
    place.fails("a", &args, 2, "plain http");
    let shown = place.json("a", &["network", "add", name, "--allow-plain-http=false"]);
    assert_eq!(shown["allow_plain_http"], false);
    assert_eq!((row("a"), warned()), (json!("false"), false));
}
