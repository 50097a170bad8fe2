//! The relay as its callers meet it: over HTTP, with a real ledger behind it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use alloy::{
    providers::{DynProvider, Provider},
    rpc::types::TransactionReceipt,
    sol_types::SolCall,
};
use alloy_primitives::{Address, B256, Bytes, U256, aliases::U48, utils::Unit};
use galen_chain::{
    Account, CosignPolicy, Evidence, Fees, Ledger, Masks, Payer, RelayOptions,
    contract::HealthLedger, deploy, typed,
};
use galen_devchain::{Config, DevChain};
use galen_services::{
    http::{HttpLimits, serve},
    relay::{Entry, Relay, RelayConfig, RelayLimits},
};
use galen_types::{Commitment, ContentRef, KeyBundleId, Leaf, LeafKind, Segment, VersionId};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot};

/// A deadline that no test reaches.
const LATER: u64 = 4_000_000_000;

/// A chain with a ledger, and a relay before it.
struct Stage {
    provider: DynProvider,
    ledger: Ledger,
    author: Account,
    wallet: Account,
    address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    client: reqwest::Client,
    _stop: oneshot::Sender<()>,
}

impl Stage {
    async fn new(limits: RelayLimits) -> Self {
        Self::with(limits, Relay::http_limits(), Unit::ETHER.wei() * U256::from(100)).await
    }

    async fn with(limits: RelayLimits, http: HttpLimits, balance: U256) -> Self {
        let (author, wallet, deployer) = (Account::random(), Account::random(), Account::random());
        let accounts =
            vec![(wallet.id(), balance), (deployer.id(), Unit::ETHER.wei() * U256::from(100))];
        let chain = DevChain::in_memory(Config { accounts, ..Config::default() });
        let provider = chain.provider().erased();
        let founders = [author.id()];
        let made = deploy(provider.clone(), &deployer, &founders, B256::ZERO).await.unwrap();
        let ledger = Ledger::connect(provider.clone(), made.ledger, made.block).await.unwrap();
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let lines = Arc::clone(&log);
        let config = RelayConfig {
            ledger: ledger.clone(),
            provider: provider.clone(),
            payer: Payer::wallet(provider.clone(), wallet.clone(), None, Fees::default()),
            limits,
            trust_forwarded_for: true,
        };
        let told = move |entry: &Entry| lines.lock().unwrap().push(entry.to_string());
        let relay = Relay::new(config, told).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let stopped = async { drop(stopped.await) };
        tokio::spawn(serve(listener, relay.router(), http, stopped));
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        Self { provider, ledger, author, wallet, address, log, client, _stop: stop }
    }

    /// A signed publication of keys, which anybody may send.
    async fn publication(&self, who: &Account, deadline: u64) -> Vec<u8> {
        let message = typed::KeyBundle {
            id: who.id(),
            rotations: 0,
            previous: B256::ZERO,
            bundle: B256::repeat_byte(7),
            store: 1,
            content: B256::repeat_byte(8),
            deadline: U48::from(deadline),
        };
        let signature = who.sign(&message, self.ledger.id(), Evidence::default()).await.unwrap();
        HealthLedger::publishKeysCall {
            id: message.id,
            previous: message.previous,
            bundle: message.bundle,
            store: message.store,
            content: message.content,
            deadline: message.deadline,
            signature,
        }
        .abi_encode()
    }

    fn request(&self, data: impl Into<Bytes>) -> Value {
        let ledger = self.ledger.id();
        json!({ "chainId": ledger.chain_id, "to": ledger.contract, "data": data.into() })
    }

    async fn post(&self, body: String, from: &str) -> (u16, Value) {
        let url = format!("http://{}/v1/calls", self.address);
        let request = self.client.post(url).header("x-forwarded-for", from).body(body);
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        if status == 503 && response.headers().get("retry-after").is_none() {
            panic!("a caller is told to come back, not when");
        }
        (status, response.json().await.unwrap())
    }

    async fn call(&self, data: impl Into<Bytes>) -> (u16, Value) {
        self.post(self.request(data).to_string(), "10.0.0.1").await
    }

    async fn publish(&self, who: &Account) -> (u16, Value) {
        self.call(self.publication(who, LATER).await).await
    }

    /// The receipt, once there is one: the embedded chain takes no transaction before its turn, so that
    /// some are sent a second time.
    async fn receipt(&self, hash: B256) -> TransactionReceipt {
        let started = Instant::now();
        loop {
            if let Some(receipt) = self.provider.get_transaction_receipt(hash).await.unwrap() {
                return receipt;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "{hash} does not land");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Nonce and balance of the wallet.
    async fn purse(&self) -> (u64, U256) {
        let nonce = self.provider.get_transaction_count(self.wallet.id()).await.unwrap();
        (nonce, self.provider.get_balance(self.wallet.id()).await.unwrap())
    }

    async fn get(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.address);
        self.client.get(url).send().await.unwrap().text().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_without_ether_is_paid_for_once() {
    let stage = Stage::new(RelayLimits::default()).await;
    let patient = Account::random();
    let (nonce, balance) = stage.purse().await;
    let (status, answer) = stage.publish(&patient).await;
    assert_eq!(status, 200, "{answer}");
    let hash: B256 = serde_json::from_value(answer["transaction"].clone()).unwrap();
    let receipt = stage.receipt(hash).await;
    assert!(receipt.status());
    assert_eq!(receipt.to, Some(stage.ledger.id().contract));

    // The same again, from anybody, is the same transaction.
    let body = stage.request(stage.publication(&patient, LATER).await).to_string();
    assert_eq!(stage.post(body, "10.9.9.9").await, (200, answer.clone()));
    let (later, left) = stage.purse().await;
    assert_eq!(later, nonce + 1);
    assert_eq!(
        balance - left,
        U256::from(receipt.gas_used) * U256::from(receipt.effective_gas_price)
    );

    let status: Value = serde_json::from_str(&stage.get("/v1/status").await).unwrap();
    assert_eq!(status["ledger"], json!(stage.ledger.id().contract));
    assert_eq!((&status["chainId"], &status["funded"]), (&json!(31_337), &json!(true)));
    let gas = format!("galen_relay_gas_total {}", receipt.gas_used);
    let started = Instant::now();
    while !stage.get("/metrics").await.contains(&gas) {
        assert!(started.elapsed() < Duration::from_secs(20), "it is not told that it landed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let metrics = stage.get("/metrics").await;
    for line in [
        "galen_relay_calls_total{outcome=\"sent\"} 1",
        "galen_relay_calls_total{outcome=\"repeated\"} 1",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line} in {metrics}");
    }
    let log = stage.log.lock().unwrap();
    assert_eq!(log.len(), 2);
    assert_eq!(log[1], format!("landed transaction={hash} block=2 gas={}", receipt.gas_used));
    assert!(log[0].starts_with("sent publishKeys id=0x") && log[0].contains(&hash.to_string()));
}

/// The whole way of a record: the author and the patient sign, the relay pays, and each believes only the
/// chain.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_settles_though_nobody_has_ether() {
    let stage = Stage::new(RelayLimits::default()).await;
    let url = format!("http://{}", stage.address);
    let payer = Payer::relay(stage.provider.clone(), &url, RelayOptions::default()).unwrap();
    let ledger = stage.ledger.with_payer(payer);
    let (author, patient) = (&stage.author, Account::random());
    let bundle = KeyBundleId(B256::repeat_byte(7));
    let content = ContentRef::swarm(B256::repeat_byte(8));
    let none = KeyBundleId(B256::ZERO);
    ledger.publish_keys(&patient, none, bundle, content, LATER).await.unwrap();

    let policy = CosignPolicy::default();
    let leaves = [leaf()];
    let signed = ledger.sign_proposal(author, patient.id(), &leaves, &policy, LATER).await.unwrap();
    ledger.propose(&signed, &leaves).await.unwrap();
    let masks = Masks { accepted: U256::ONE, rejected: U256::ZERO };
    let settled = ledger.settle(&patient, &signed, masks, LATER, &policy, vec![]).await.unwrap();
    assert_eq!(stage.receipt(settled.transaction).await.from, stage.wallet.id());
    assert_eq!(ledger.chart(patient.id()).await.unwrap().sequence, 1);
    for id in [author.id(), patient.id()] {
        assert_eq!(stage.provider.get_balance(id).await.unwrap(), U256::ZERO);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_costs_nothing() {
    let stage = Stage::new(RelayLimits::default()).await;
    let (patient, stranger) = (Account::random(), Account::random());
    let good = stage.publication(&patient, LATER).await;
    let request = stage.request(good.clone());
    let with = |key: &str, value: Value| {
        let mut request = request.clone();
        request[key] = value;
        request.to_string()
    };
    let of = |data: Vec<u8>| stage.request(data).to_string();
    let mut tampered = HealthLedger::publishKeysCall::abi_decode(&good).unwrap();
    tampered.bundle = B256::repeat_byte(9);
    let mut unsigned = tampered.clone();
    unsigned.signature = Bytes::new();
    let status = HealthLedger::setStatusCall { organization: stranger.id(), status: 1 };
    let proposal = proposal(&stage, &stranger, patient.id(), &CosignPolicy::default()).await;
    let late = stage.publication(&patient, 1).await;
    let rows = [
        ("not JSON", "{".to_owned(), 400, "invalid"),
        ("not an object", "[]".to_owned(), 400, "invalid"),
        ("an unknown field", with("value", json!("0x1")), 400, "invalid"),
        ("another chain", with("chainId", json!(1)), 400, "invalid"),
        ("another contract", with("to", json!(stranger.id())), 400, "invalid"),
        ("no call", of(vec![]), 400, "invalid"),
        ("a byte more", of([good.clone(), vec![0]].concat()), 400, "invalid"),
        ("not in the list", of(status.abi_encode()), 400, "invalid"),
        ("unsigned", of(unsigned.abi_encode()), 400, "invalid"),
        ("too long", of(vec![0; 200_000]), 400, "invalid"),
        ("a body too long", "x".repeat(Relay::http_limits().body + 1), 400, "invalid"),
        ("too late", of(late), 409, "stale"),
        ("another's signature", of(tampered.abi_encode()), 502, "integrity"),
        ("not a member", of(proposal), 403, "denied"),
    ];
    let before = stage.purse().await;
    for (row, body, status, kind) in rows {
        let (got, answer) = stage.post(body, "10.0.0.1").await;
        assert_eq!((got, &answer["kind"]), (status, &json!(kind)), "{row}: {answer}");
        assert!(answer["error"].is_string() && answer["help"].is_string(), "{row}");
    }
    assert_eq!(stage.purse().await, before);
    // Nothing of what was sent is in the log but ids.
    let secret = alloy_primitives::hex::encode(&tampered.signature);
    assert!(stage.log.lock().unwrap().iter().all(|line| !line.contains(&secret[..32])));
}

/// The call that announces a proposal of one leaf.
async fn proposal(
    stage: &Stage,
    author: &Account,
    patient: Address,
    policy: &CosignPolicy,
) -> Vec<u8> {
    let leaves = [leaf()];
    let signed = stage.ledger.sign_proposal(author, patient, &leaves, policy, LATER).await.unwrap();
    HealthLedger::proposeCall {
        patient,
        author: author.id(),
        policy: signed.message.policy,
        deadline: signed.message.deadline,
        leaves: leaves
            .iter()
            .map(|leaf| HealthLedger::Leaf {
                header: leaf.header(),
                content: leaf.content.digest,
                commitment: leaf.commitment.0,
                previous: leaf.previous.0,
            })
            .collect(),
        signature: signed.signature,
    }
    .abi_encode()
}

fn leaf() -> Leaf {
    Leaf {
        kind: LeafKind::New,
        segment: Segment(3),
        number: 1,
        content: ContentRef::swarm(B256::repeat_byte(5)),
        commitment: Commitment(B256::repeat_byte(6)),
        previous: VersionId(B256::ZERO),
    }
}

/// The contract takes a missing signature of a cosigner for the sender's consent. So a relay whose wallet
/// is a cosigner must not send what it did not sign itself.
#[tokio::test(flavor = "multi_thread")]
async fn the_relays_wallet_consents_to_nothing_by_sending() {
    let stage = Stage::new(RelayLimits::default()).await;
    let patient = Account::random();
    let policy = CosignPolicy { threshold: 1, cosigners: vec![stage.wallet.id()] };
    let (author, ledger) = (&stage.author, &stage.ledger);
    let signed =
        ledger.sign_proposal(author, patient.id(), &[leaf()], &policy, LATER).await.unwrap();
    let message = typed::Settlement {
        patient: patient.id(),
        signer: patient.id(),
        rotations: 0,
        sequence: 0,
        proposal: signed.message.id().0,
        accepted: U256::ONE,
        rejected: U256::ZERO,
        deadline: U48::from(LATER),
    };
    let patient_signature = patient.sign(&message, ledger.id(), Evidence::default()).await.unwrap();
    let hashes: Vec<u8> = {
        use alloy::sol_types::SolStruct as _;
        let leaves = signed.message.leaves.iter();
        leaves.flat_map(|leaf| leaf.eip712_hash_struct().0).collect()
    };
    let call = HealthLedger::settleWithCall {
        proposal: HealthLedger::Proposal {
            patient: patient.id(),
            author: author.id(),
            count: 1,
            deadline: signed.message.deadline,
            policy: policy.hash(),
            leaves: alloy_primitives::keccak256(hashes),
        },
        authorSignature: signed.signature.clone(),
        answer: HealthLedger::Answer {
            accepted: message.accepted,
            rejected: message.rejected,
            sequence: 0,
            deadline: message.deadline,
        },
        patientSignature: patient_signature,
        policy: HealthLedger::Policy {
            threshold: 1,
            cosigners: policy.cosigners.clone(),
            signatures: vec![Bytes::new()],
        },
        delegation: HealthLedger::Delegation {
            delegate: Address::ZERO,
            powers: 0,
            notBefore: U48::ZERO,
            expiry: U48::ZERO,
            salt: B256::ZERO,
            proof: vec![],
        },
    };
    let (status, answer) = stage.call(call.abi_encode()).await;
    assert_eq!((status, &answer["kind"]), (403, &json!("denied")), "{answer}");
    assert_eq!(ledger.chart(patient.id()).await.unwrap().sequence, 0);

    // The danger is real: sent by that wallet, the contract accepts the very same.
    let masks = Masks { accepted: U256::ONE, rejected: U256::ZERO };
    let own = ledger.paid_by(&stage.wallet);
    own.settle(&patient, &signed, masks, LATER, &policy, vec![Bytes::new()]).await.unwrap();
    assert_eq!(ledger.chart(patient.id()).await.unwrap().sequence, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_does_not_lend_its_wallet() {
    let stage = Stage::new(RelayLimits::default()).await;
    let config = RelayConfig {
        ledger: stage.ledger.clone(),
        provider: stage.provider.clone(),
        payer: Payer::wallet(stage.provider.clone(), stage.author.clone(), None, Fees::default()),
        limits: RelayLimits::default(),
        trust_forwarded_for: false,
    };
    let refused = Relay::new(config, |_| {}).await.unwrap_err();
    assert_eq!(refused.kind(), galen_types::ErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_bite() {
    let limited = |answer: &Value| answer["error"].as_str().unwrap().to_owned();
    let limits = RelayLimits { calls_per_caller: 3, ..RelayLimits::default() };
    let stage = Stage::new(limits).await;
    let others = |count: usize| (0..count).map(|_| Account::random()).collect::<Vec<_>>();
    for who in others(3) {
        assert_eq!(stage.publish(&who).await.0, 200);
    }
    let (status, answer) = stage.publish(&Account::random()).await;
    assert_eq!((status, limited(&answer).as_str()), (503, "too many requests from this address"));
    // What the proxy appended counts, not what the caller wrote before it.
    let body = stage.request(stage.publication(&Account::random(), LATER).await).to_string();
    assert_eq!(stage.post(body.clone(), "1.2.3.4, 10.0.0.1").await.0, 503);
    assert_eq!(stage.post(body, "10.0.0.1, 10.0.0.2").await.0, 200);

    let stage = Stage::new(RelayLimits { gas_per_day: 150_000, ..RelayLimits::default() }).await;
    let mut answers = Vec::new();
    for who in others(6) {
        answers.push(stage.publish(&who).await);
    }
    let sent = answers.iter().filter(|(status, _)| *status == 200).count();
    assert!((1..6).contains(&sent), "{sent} sent");
    assert_eq!(limited(&answers[5].1), "this relay has paid enough for today");

    let rows = [
        (RelayLimits { max_fee_per_gas: 1, ..limits }, "gas costs more than this relay pays"),
        (RelayLimits { calls_per_id: 0, ..limits }, "too many calls for this id"),
        (
            RelayLimits { gas_per_call: 30_000, ..limits },
            "the call needs more gas than this relay pays",
        ),
    ];
    for (limits, expected) in rows {
        let stage = Stage::new(limits).await;
        let before = stage.purse().await;
        let (_, answer) = stage.publish(&Account::random()).await;
        assert_eq!(limited(&answer), expected);
        assert_eq!(stage.purse().await, before, "{expected}");
    }

    let poor = U256::from(1_000_000_000_000_u64);
    let stage = Stage::with(RelayLimits::default(), Relay::http_limits(), poor).await;
    let (status, answer) = stage.publish(&Account::random()).await;
    assert_eq!((status, limited(&answer).as_str()), (503, "the relay's wallet is low"));
    let status: Value = serde_json::from_str(&stage.get("/v1/status").await).unwrap();
    assert_eq!(status["funded"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_callers_land_once_each() {
    let stage = Arc::new(Stage::new(RelayLimits::default()).await);
    let (nonce, _) = stage.purse().await;
    let callers: Vec<_> = (0..50)
        .map(|caller| {
            let stage = Arc::clone(&stage);
            tokio::spawn(async move {
                let who = Account::random();
                let body = stage.request(stage.publication(&who, LATER).await).to_string();
                let from = format!("10.0.0.{caller}");
                // Impatient: three times at once.
                let (first, second, third) = tokio::join!(
                    stage.post(body.clone(), &from),
                    stage.post(body.clone(), &from),
                    stage.post(body, &from)
                );
                assert_eq!(first.0, 200, "{}", first.1);
                assert!(first == second && second == third);
                first.1["transaction"].clone()
            })
        })
        .collect();
    let mut hashes = Vec::new();
    for caller in callers {
        let hash: B256 = serde_json::from_value(caller.await.unwrap()).unwrap();
        assert!(stage.receipt(hash).await.status());
        hashes.push(hash);
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 50);
    assert_eq!(stage.purse().await.0, nonce + 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_callers_are_cut_off_and_others_served() {
    let http = HttpLimits {
        connections: 8,
        head: Duration::from_millis(400),
        request: Duration::from_millis(800),
        ..Relay::http_limits()
    };
    let stage = Stage::with(RelayLimits::default(), http, Unit::ETHER.wei()).await;
    let address = stage.address;
    let slow = |text: &'static str| {
        tokio::task::spawn_blocking(move || {
            let started = Instant::now();
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
            let mut answer = String::new();
            // The end of the stream, or a reset: either way it is over.
            let _ = stream.read_to_string(&mut answer);
            (started.elapsed(), answer)
        })
    };
    // More than there are places, in the head and in the body.
    let mut callers = Vec::new();
    for _ in 0..8 {
        callers.push((slow("POST /v1/calls HTTP/1.1\r\nhost: x\r\nx-slow: "), ""));
        let text = "POST /v1/calls HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{";
        callers.push((slow(text), "HTTP/1.1 408"));
    }
    assert_eq!(stage.publish(&Account::random()).await.0, 200);
    for (caller, expected) in callers {
        let (elapsed, answer) = caller.await.unwrap();
        assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
        assert!(answer.starts_with(expected), "{answer}");
    }
}
