//! An organization that is a contract wallet: the real Safe 1.4.1 judges our signatures, and our ledger
//! asks it.
//!
//! Needs the compiled contracts: `GALEN_SAFE` names the folder of the npm package
//! `@safe-global/safe-contracts` 1.4.1, unpacked. Skipped without, unless `GALEN_REQUIRE_SAFE=1`.
#![allow(clippy::print_stderr, reason = "a skipped test says so")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[allow(dead_code, reason = "shared with the other tests")]
#[path = "clear/samples.rs"]
mod samples;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use alloy::{
    network::{Ethereum, TransactionBuilder},
    providers::{DynProvider, Provider},
    rpc::types::{TransactionReceipt, TransactionRequest},
    signers::local::PrivateKeySigner,
    sol_types::{SolCall, SolEvent},
};
use alloy_primitives::{Address, B256, Bytes, U256, aliases::U48, keccak256};
use async_trait::async_trait;
use galen_chain::{
    Account, Evidence, KeySigner, Ledger, SignError, Signer, SigningRequest,
    clear::explain,
    deploy,
    safe::{
        Owners, SafeSigner, decode_request, decode_signature, encode_request, encode_signature,
    },
    typed,
};
use galen_devchain::{Config, DevChain};
use galen_types::{ContentRef, ErrorKind, KeyBundleId};
use proptest::prelude::*;
use samples::{Book, all};

alloy::sol! {
    function setup(address[] owners, uint256 threshold, address to, bytes data, address fallbackHandler, address paymentToken, uint256 payment, address paymentReceiver);
    function createProxyWithNonce(address singleton, bytes initializer, uint256 saltNonce) returns (address);
    event ProxyCreation(address indexed proxy, address singleton);
    function isValidSignature(bytes32 hash, bytes signature) returns (bytes4);
}

const MAGIC: [u8; 4] = [0x16, 0x26, 0xba, 0x7e];

fn package() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("GALEN_SAFE") {
        return Some(path.into());
    }
    let required = std::env::var_os("GALEN_REQUIRE_SAFE").is_some_and(|value| value == "1");
    assert!(!required, "GALEN_SAFE is not set");
    eprintln!("skipped: GALEN_SAFE is not set");
    None
}

/// A chain with a Safe of three owners, two of whom must sign, and a ledger that the payer pays for.
struct Stage {
    _chain: DevChain,
    provider: DynProvider<Ethereum>,
    payer: Address,
    safe: Address,
    owners: Vec<KeySigner>,
    ledger: Ledger,
}

impl Stage {
    async fn new(package: PathBuf) -> Self {
        let key = PrivateKeySigner::random();
        let payer = key.address();
        let accounts = vec![(payer, U256::from(10).pow(U256::from(20)))];
        let chain = DevChain::in_memory(Config { accounts, ..Config::default() });
        chain.unlock(vec![key.clone()]).unwrap();
        let provider = chain.provider().erased();
        let account = Account::from(key);
        let made = deploy(provider.clone(), &account, &[payer], B256::ZERO).await.unwrap();
        let ledger = Ledger::connect(provider.clone(), made.ledger, made.block).await.unwrap();
        let ledger = ledger.paid_by(&account);
        let owners: Vec<KeySigner> = (0..3).map(|_| KeySigner::random()).collect();
        let safe = Address::ZERO;
        let mut stage = Self { _chain: chain, provider, payer, safe, owners, ledger };
        stage.safe = stage.make_safe(&package).await;
        stage
    }

    async fn make_safe(&self, package: &Path) -> Address {
        let code = |path: &str| {
            let file = package.join("build/artifacts/contracts").join(path);
            let json = std::fs::read(file).unwrap();
            let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
            json["bytecode"].as_str().unwrap().parse::<Bytes>().unwrap()
        };
        let singleton = self.create(code("Safe.sol/Safe.json")).await;
        let factory = self.create(code("proxies/SafeProxyFactory.sol/SafeProxyFactory.json")).await;
        let handler = "handler/CompatibilityFallbackHandler.sol/CompatibilityFallbackHandler.json";
        let handler = self.create(code(handler)).await;
        let setup = setupCall {
            owners: self.owners.iter().map(Signer::address).collect(),
            threshold: U256::from(2),
            to: Address::ZERO,
            data: Bytes::new(),
            fallbackHandler: handler,
            paymentToken: Address::ZERO,
            payment: U256::ZERO,
            paymentReceiver: Address::ZERO,
        };
        let initializer = setup.abi_encode().into();
        let call = createProxyWithNonceCall { singleton, initializer, saltNonce: U256::ZERO };
        let request = TransactionRequest::default().to(factory).input(call.abi_encode().into());
        let receipt = self.send(request).await;
        let logs = receipt.inner.logs();
        logs.iter().find_map(|log| ProxyCreation::decode_log(&log.inner).ok()).unwrap().proxy
    }

    async fn create(&self, code: Bytes) -> Address {
        let request = TransactionRequest::default().with_deploy_code(code);
        self.send(request).await.contract_address.unwrap()
    }

    async fn send(&self, request: TransactionRequest) -> TransactionReceipt {
        let sent = self.provider.send_transaction(request.from(self.payer)).await.unwrap();
        let receipt = sent.get_receipt().await.unwrap();
        assert!(receipt.status());
        receipt
    }

    /// Whether the Safe takes a signature, and how it answers a call that fails: not.
    async fn takes(&self, digest: B256, signature: &Bytes) -> bool {
        let call = isValidSignatureCall { hash: digest, signature: signature.clone() };
        let request = TransactionRequest::default().to(self.safe).input(call.abi_encode().into());
        let answer = self.provider.call(request).await;
        answer.is_ok_and(|answer| answer.get(..4) == Some(&MAGIC))
    }

    fn signer(&self) -> SafeSigner {
        let owners = self.owners.iter().map(Signer::address).collect();
        SafeSigner::new(self.safe, self.ledger.id().chain_id, owners, 2).unwrap()
    }
}

/// An owner on another machine: reads the line, looks at it, signs, sends a line back.
#[derive(Debug)]
struct Elsewhere(Vec<KeySigner>);

#[async_trait]
impl Owners for Elsewhere {
    async fn collect(&self, request: &str, missing: usize) -> Result<Vec<String>, SignError> {
        let request = decode_request(request)?;
        let shown = explain(&request, &Book::of(request.id))?;
        assert_eq!(shown.wallet, request.wallet);
        assert_eq!(shown.to_sign, request.to_sign());
        let mut lines = Vec::new();
        for owner in self.0.iter().take(missing) {
            lines.push(encode_signature(&owner.sign(&request).await?)?);
        }
        Ok(lines)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_safe_and_the_ledger_take_what_its_owners_sign() {
    let Some(package) = package() else { return };
    let stage = Stage::new(package).await;
    let [one, two, three] = &stage.owners[..] else { panic!("three owners") };
    let at_hand =
        stage.signer().with_signer(Arc::new(one.clone())).with_signer(Arc::new(two.clone()));
    let elsewhere = Elsewhere(vec![three.clone()]);
    let mixed =
        stage.signer().with_signer(Arc::new(two.clone())).with_elsewhere(Arc::new(elsewhere));
    for (number, signer) in [at_hand, mixed].into_iter().enumerate() {
        let account = Account::new(signer.clone());
        assert_eq!(account.id(), stage.safe);
        let request = request_of(&stage, stage.safe, number);
        let signature = signer.sign(&request).await.unwrap();
        assert!(stage.takes(request.digest, &signature).await);
        assert!(!stage.takes(keccak256("other"), &signature).await);
        assert_eq!(signature.len(), 130);

        // The ledger asks the Safe by ERC-1271.
        let previous = match number {
            0 => KeyBundleId::default(),
            _ => KeyBundleId(keccak256([0])),
        };
        let bundle = KeyBundleId(keccak256([u8::try_from(number).unwrap()]));
        let content = ContentRef::swarm(keccak256("content"));
        let deadline = stage.ledger.now().await.unwrap() + 3_600;
        let sent = stage.ledger.publish_keys(&account, previous, bundle, content, deadline).await;
        assert!(sent.is_ok(), "{sent:?}");
    }
    // One owner is not enough, nor is somebody who owns nothing.
    let alone = stage.signer().with_signer(Arc::new(one.clone()));
    let error = alone.sign(&request_of(&stage, stage.safe, 0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let stranger = alone.with_signer(Arc::new(KeySigner::random()));
    let error = stranger.sign(&request_of(&stage, stage.safe, 0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

fn request_of(stage: &Stage, id: Address, nonce: usize) -> SigningRequest {
    let message = typed::Cancellation {
        id,
        rotations: 0,
        nonce: u32::try_from(nonce).unwrap(),
        deadline: U48::from(samples::LATER),
    };
    let domain = typed::ledger_domain(stage.ledger.id());
    SigningRequest::new(id, &message, domain, Evidence::default())
}

/// What an owner sees and signs is the inner message; what the key signs is the wallet's.
#[test]
fn requests_and_signatures_travel_as_lines_and_come_back_the_same() {
    for request in all() {
        for wallet in [None, Some(Address::repeat_byte(0x5a))] {
            let request = SigningRequest { wallet, ..request.clone() };
            let line = encode_request(&request).unwrap();
            assert!(line.starts_with("galen:sign:"));
            let back = decode_request(&format!("{line}\n")).unwrap();
            assert_eq!(back.to_sign(), request.to_sign());
            assert_eq!(back.to_sign() == back.digest, wallet.is_none());
            assert_eq!(encode_request(&back).unwrap(), line);
            assert_eq!(back.typed_to_sign().eip712_signing_hash().unwrap(), back.to_sign());
            let shown = explain(&back, &Book::of(back.id)).unwrap();
            assert_eq!((shown.digest, shown.wallet), (request.digest, wallet));
            assert_eq!(back.evidence.root, None, "the root is the signer's own to look up");
        }
    }
    let signature = Bytes::from(vec![7; 64]);
    let line = encode_signature(&signature).unwrap();
    assert_eq!(decode_signature(&line).unwrap(), signature);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// No text makes the readers panic, and one that is changed is refused or still says what it says.
    #[test]
    fn changed_lines_are_refused_or_the_same(at in 0_usize..4_000, byte in 0x20_u8..0x7f) {
        let request = &all()[0];
        let line = encode_request(request).unwrap();
        let mut bytes = line.clone().into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        let changed = String::from_utf8(bytes).unwrap();
        if let Ok(back) = decode_request(&changed) {
            prop_assert_eq!(encode_request(&back).unwrap(), changed.trim());
            let same = changed == line;
            let believed = explain(&back, &Book::of(request.id)).is_ok_and(|shown| !shown.is_dangerous());
            prop_assert!(same || !believed);
        }
    }

    #[test]
    fn any_text_is_refused_without_a_panic(text in "(galen:sign:|galen:signature:)?.{0,200}") {
        prop_assert!(decode_request(&text).is_err());
        prop_assert!(decode_signature(&text).is_err());
    }
}
