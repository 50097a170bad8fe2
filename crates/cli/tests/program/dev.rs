//! `galen dev` as other processes, wallets and web pages meet it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    common::{PATIENCE, Place, Said, Server, galen},
    devchain::{
        anvil::{self, Anvil, Rpc},
        random,
    },
};

const SOMEBODY: &str = "0x00000000000000000000000000000000000000aa";

fn of(home: &Place) -> Command {
    let mut command = galen();
    command.env("GALEN_HOME", home.root());
    command
}

/// A running `galen dev`, and a home for who asks it.
struct Dev {
    server: Server,
    home: Place,
}

impl Dev {
    fn start(args: &[&str]) -> Self {
        let home = Place::new();
        let mut command = of(&home);
        command.args(["dev", "--listen", "127.0.0.1:0", "--json", "--quiet"]).args(args);
        Self { server: Server::start(&mut command), home }
    }

    fn ask(&self, method: &str, params: &Value) -> Value {
        Rpc::connect(self.server.port()).request(method, params).unwrap()
    }

    /// Status and the whole answer of a request with these headers.
    fn raw(&self, verb: &str, headers: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.server.port())).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        let request = format!(
            "{verb} / HTTP/1.1\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        (answer[9..12].parse().unwrap(), answer)
    }

    fn fund(&self, args: &[&str]) -> Said {
        let fund = ["dev", "fund", SOMEBODY, "--rpc-url", self.server.url()];
        Said::by(of(&self.home).args(fund).args(args))
    }

    /// Sends a signal and waits for the end.
    fn end(self, signal: &str) -> Option<i32> {
        self.server.end(signal).0
    }
}

#[test]
fn processes_share_the_chain_and_it_survives_them() {
    let directory = Place::new();
    let path = directory.path("chain");
    let args = ["--dir", &path, "--fund", SOMEBODY];
    let dev = Dev::start(&args);
    assert_eq!(dev.server.ready["chain_id"], 31_337);
    assert_eq!(dev.server.ready["accounts"].as_array().unwrap().len(), 10);
    assert_eq!(dev.server.ready["accounts"], dev.ask("eth_accounts", &json!([])));

    let funded = dev.fund(&["--amount", "0.5", "--json"]);
    assert_eq!(funded.code, 0, "{}", funded.stderr);
    let funded = funded.json();
    let receipt = dev.ask("eth_getTransactionReceipt", &json!([funded["transaction"]]));
    assert_eq!(receipt["status"], "0x1");
    let balance = dev.ask("eth_getBalance", &json!([SOMEBODY]));
    // 10,000 from the genesis block and a half.
    assert_eq!(balance, funded["balance"]);
    assert_eq!(balance, json!(format!("{:#x}", 10_000_500_000_000_000_000_000_u128)));

    // One directory, one process.
    let second = Said::by(of(&dev.home).args(["dev", "--listen", "127.0.0.1:0"]).args(args));
    assert_eq!(second.code, 6);
    let expected = format!("is in use by process {}", dev.server.id());
    assert!(second.stderr.contains(&expected), "{}", second.stderr);

    let head = dev.ask("eth_getBlockByNumber", &json!(["latest", false]));
    dev.end("-KILL");
    let dev = Dev::start(&args);
    assert_eq!(dev.ask("eth_getBlockByNumber", &json!(["latest", false])), head);
    assert_eq!(dev.ask("eth_getBalance", &json!([SOMEBODY])), balance);
    assert_eq!(dev.end("-INT"), Some(0));
    let dev = Dev::start(&args);
    assert_eq!(dev.ask("eth_blockNumber", &json!([])), head["number"]);
    assert_eq!(dev.end("-TERM"), Some(0));
}

#[test]
fn cast_speaks_to_it() {
    let Ok(cast) = std::env::var("GALEN_CAST") else {
        let required = std::env::var("GALEN_REQUIRE_CAST").is_ok_and(|value| value == "1");
        assert!(!required, "GALEN_CAST is required and not set");
        eprintln!("skipped: GALEN_CAST does not name the program");
        return;
    };
    let dev = Dev::start(&[]);
    let run = |args: &[&str]| {
        let rpc = ["--rpc-url", dev.server.url()];
        let said = Said::by(Command::new(&cast).args(args).args(rpc).stdin(Stdio::null()));
        assert_eq!(said.code, 0, "{args:?}: {}", said.stderr);
        said.stdout.trim().to_owned()
    };
    assert_eq!(run(&["block-number"]), "0");
    let from = dev.server.ready["accounts"][1].as_str().unwrap();
    run(&["send", "--unlocked", "--from", from, SOMEBODY, "--value", "1ether"]);
    assert_eq!(run(&["block-number"]), "1");
    assert_eq!(run(&["balance", SOMEBODY]), "1000000000000000000");
}

#[test]
fn pages_may_use_the_chain_and_not_move_it() {
    let dev = Dev::start(&["--allow-origin", "https://trusted.example"]);
    let json_type = "content-type: application/json\r\n";
    let body = |method: &str| {
        json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": [] }).to_string()
    };
    let chain = body("eth_chainId");
    let mine = body("evm_mine");
    // Host, origin, body, status, whether there is a result.
    let rows = [
        ("localhost", "", &chain, 200, true),
        ("127.0.0.1:8545", "", &mine, 200, true),
        ("[::1]:8545", "", &chain, 200, true),
        ("evil.example", "", &chain, 403, false),
        ("localhost.evil.example:8545", "", &chain, 403, false),
        ("localhost", "http://localhost:3000", &chain, 200, true),
        ("localhost", "http://localhost:3000", &mine, 200, false),
        ("localhost", "chrome-extension://nkbihfbeogaeaoehlefnkodbefgpgknn", &chain, 200, true),
        ("localhost", "chrome-extension://nkbihfbeogaeaoehlefnkodbefgpgknn", &mine, 200, false),
        ("localhost", "https://trusted.example", &mine, 200, true),
        ("localhost", "https://evil.example", &chain, 403, false),
        ("localhost", "null", &chain, 403, false),
    ];
    for (host, origin, body, status, answered) in rows {
        let from = if origin.is_empty() { String::new() } else { format!("origin: {origin}\r\n") };
        let headers = format!("host: {host}\r\n{from}{json_type}");
        let (got, answer) = dev.raw("POST", &headers, body);
        let row = format!("{host} {origin} {body}: {answer}");
        assert_eq!((got, answer.contains("\"result\"")), (status, answered), "{row}");
        let allowed = answer.contains(&format!("access-control-allow-origin: {origin}\r\n"));
        assert_eq!(allowed, status == 200 && !origin.is_empty(), "{row}");
    }
    assert_eq!(dev.ask("eth_blockNumber", &json!([])), "0x2");

    // What a browser asks before it lets a page post JSON.
    let asks = "host: localhost\r\naccess-control-request-method: POST\r\n";
    let (status, answer) =
        dev.raw("OPTIONS", &format!("{asks}origin: http://localhost:3000\r\n"), "");
    assert_eq!(status, 204);
    assert!(answer.contains("access-control-allow-headers: content-type\r\n"), "{answer}");
    assert_eq!(dev.raw("OPTIONS", &format!("{asks}origin: https://evil.example\r\n"), "").0, 403);

    // What a page can send without asking.
    let (status, _) = dev.raw("POST", "host: localhost\r\ncontent-type: text/plain\r\n", &mine);
    assert_eq!(status, 415);
    let (status, answer) = dev.raw("GET", "host: localhost\r\n", "");
    assert!(status == 200 && answer.contains("development chain"), "{answer}");
    // One byte more: all of it is read, and the answer is not lost to a reset.
    let long = " ".repeat(5 * 1024 * 1024 + 1);
    let (status, _) = dev.raw("POST", &format!("host: localhost\r\n{json_type}"), &long);
    assert_eq!(status, 413);
    assert_eq!(dev.ask("eth_blockNumber", &json!([])), "0x2");
}

#[test]
fn blocks_come_by_themselves_if_asked() {
    let dev = Dev::start(&["--block-time", "1"]);
    let started = Instant::now();
    while dev.ask("eth_blockNumber", &json!([])) == "0x0" {
        assert!(started.elapsed() < PATIENCE, "no block");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn fund_refuses_real_networks() {
    let dev = Dev::start(&["--chain-id", "1"]);
    let refused = dev.fund(&["--yes"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("chain 1 is a real network"));
    assert_eq!(dev.ask("eth_blockNumber", &json!([])), "0x0");
}

#[test]
fn fund_works_with_anvil() {
    let Some(program) = anvil::program() else { return };
    let anvil = Anvil::start(&program);
    let url = format!("http://127.0.0.1:{}", anvil.port());
    let funded = Said::by(of(&Place::new()).args(["dev", "fund", SOMEBODY, "--rpc-url", &url]));
    assert_eq!(funded.code, 0, "{}", funded.stderr);
    let fields = &funded.cells()[0];
    assert_eq!((fields[0].as_str(), fields[2].as_str()), (SOMEBODY, "10000000000000000000"));
}

/// What holds inside the process holds over HTTP, between a chain on disk and anvil.
#[test]
fn served_chain_equals_anvil() {
    let Some(program) = anvil::program() else { return };
    let directory = Place::new();
    let path = directory.path("chain");
    let funded: Vec<String> = random::funded().iter().map(ToString::to_string).collect();
    let mut args = vec!["--dir", &path];
    args.extend(funded.iter().flat_map(|account| ["--fund", account]));
    let dev = Dev::start(&args);
    let rpc = Rpc::connect(dev.server.port());
    let ours = Box::new(move |method: &str, params: &Value| rpc.request(method, params));
    let counts = random::compare(ours, Anvil::start(&program), 77, 500);
    assert!(random::total(&counts, "done") > 100 && random::total(&counts, "failed") > 30);
}
