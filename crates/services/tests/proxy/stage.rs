//! A chain, a patient, an author, grantees and proxies. The patient's side is made by hand here, so that it can be
//! made wrong.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use alloy::{
    network::TransactionBuilder, providers::Provider, rpc::types::TransactionRequest,
    sol_types::SolStruct,
};
use alloy_primitives::{Address, B256, Bytes, U256, aliases::U48};
use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Method, Request},
};
use galen_chain::{
    Account, CosignPolicy, Evidence, Finality, KeySigner, Ledger, contract::Consortium, deploy,
    typed,
};
use galen_crypto::{
    Offer, OfferedSegment, PatientKeys, ProxyPlace, RootSeed, ShareEnvelope, ShareTerms, ShareText,
    SharedSegment,
};
use galen_devchain::{Clock, Config, DevChain};
use galen_fhir::Category;
use galen_index::HistoryOptions;
use galen_sdk::{
    Contact, Galen, GrantRequest, Grantee, Identity, NewRecord, Organization, Patient,
    proxies::wire::{KeyAnswers, KeyAsk},
};
use galen_services::proxy::{Proxy, ProxyConfig, ProxyLimits, rules::Policy};
use galen_storage::Storage;
use galen_types::{
    Consent, ConsentId, ContentRef, Plaintext, Purpose, PurposeSet, RecordKey, Segment,
};
use serde::Serialize;
use serde_json::Value;
use tempfile::TempDir;
use tower::Service as _;

/// Blocks that make another one final for the proxies.
pub(crate) const DEPTH: u64 = 2;

/// What the records say.
pub(crate) const PAYLOAD: &[u8] = b"pulse 61, taken at rest, nothing else to report";

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn key(n: u8) -> KeySigner {
    KeySigner::from_key(&[n; 32]).unwrap()
}

pub(crate) fn account(n: u8) -> Account {
    Account::new(key(n))
}

pub(crate) fn seed(n: u8) -> RootSeed {
    RootSeed::from_bytes([n; 32])
}

pub(crate) fn identity(n: u8) -> Identity {
    Identity::new(account(n), &seed(n))
}

/// Number of the motion.
const SUSPEND: u8 = 2;

/// Numbers of people: their key and seed.
pub(crate) const RELAYER: u8 = 1;
pub(crate) const AUTHOR: u8 = 2;
pub(crate) const PATIENT: u8 = 3;
pub(crate) const PHYSICIAN: u8 = 4;
pub(crate) const HOSPITAL: u8 = 5;
pub(crate) const THIRD: u8 = 6;
/// The first proxy; the others follow.
pub(crate) const PROXY: u8 = 20;

pub(crate) struct Stage {
    pub(crate) directory: TempDir,
    pub(crate) chain: DevChain,
    pub(crate) galen: Galen,
    pub(crate) storage: Storage,
    pub(crate) ledger: Ledger,
    pub(crate) author: Organization,
    pub(crate) contact: Contact,
    pub(crate) patient: Patient,
    pub(crate) keys: PatientKeys,
    pub(crate) physician: Grantee,
    pub(crate) hospital: Grantee,
}

/// One proxy and what it said.
pub(crate) struct Node {
    pub(crate) proxy: Proxy,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap(), DevChain::in_memory(chain_config(now()))).await
    }

    pub(crate) async fn on(directory: TempDir, chain: DevChain) -> Self {
        let storage = Storage::local(directory.path().join("content")).await.unwrap();
        let relayer = account(RELAYER);
        let mut founders = [AUTHOR, HOSPITAL, THIRD].map(|n| account(n).id());
        founders.sort_unstable();
        let made = deploy(chain.provider(), &relayer, &founders, B256::ZERO).await.unwrap();
        let ledger = Ledger::connect(chain.provider(), made.ledger, made.block).await.unwrap();
        let ledger = ledger.paid_by(&relayer);
        let galen = Galen::new(ledger.clone(), storage.clone());
        let (author, patient) =
            (galen.organization(identity(AUTHOR)), galen.patient(identity(PATIENT)));
        author.publish_keys().await.unwrap();
        patient.publish_keys().await.unwrap();
        let contact = author.meet(&patient.introduce(author.id()).await.unwrap()).await.unwrap();
        let (physician, hospital) =
            (galen.grantee(identity(PHYSICIAN)), galen.grantee(identity(HOSPITAL)));
        hospital.publish_keys().await.unwrap();
        let keys = seed(PATIENT).pseudonym(patient.id());
        Self {
            directory,
            chain,
            galen,
            storage,
            ledger,
            author,
            contact,
            patient,
            keys,
            physician,
            hospital,
        }
    }

    /// A configuration of proxy `n` whose store is in this directory.
    pub(crate) fn config(&self, n: u8, directory: &Path) -> ProxyConfig {
        proxy_config(self.ledger.clone(), self.storage.clone(), n, directory)
    }

    /// The ledger as these nodes have it.
    pub(crate) async fn over(&self, provider: impl Provider + 'static) -> Ledger {
        let (address, block) = (self.ledger.id().contract, self.ledger.deployed_in());
        Ledger::connect(provider, address, block).await.unwrap()
    }

    /// Proxy `n` with its store below the stage's directory.
    pub(crate) fn node(&self, n: u8, edit: impl FnOnce(&mut ProxyConfig)) -> Node {
        let mut config = self.config(n, &self.store(n));
        edit(&mut config);
        Node::new(config)
    }

    pub(crate) fn store(&self, n: u8) -> std::path::PathBuf {
        self.directory.path().join(format!("proxy-{n}"))
    }

    /// Accepted records, all in the segment of this category.
    pub(crate) async fn accepted(&self, category: Category, count: usize) -> Vec<RecordKey> {
        let record = || NewRecord {
            category: category.index(),
            media_type: "text/plain".parse().unwrap(),
            payload: Plaintext::from(PAYLOAD.to_vec()),
        };
        let records: Vec<NewRecord> = (0..count).map(|_| record()).collect();
        let policy = CosignPolicy::default();
        let announced = self.author.propose(&self.contact, records, &policy).await.unwrap();
        let id = announced[0].proposal;
        self.patient.answer(id, 0..count, [], &policy, &BTreeMap::new()).await.unwrap();
        announced[0].records.clone()
    }

    /// A consent that stands on the chain; grantee zero is every organization.
    pub(crate) async fn consent(&self, grantee: Address, category: Category) -> Consent {
        let request = GrantRequest {
            grantee,
            categories: vec![category.index()],
            purposes: PurposeSet::from_iter([Purpose::Treatment, Purpose::BreakTheGlass]),
            not_before: None,
            lifetime: 30 * 86_400,
        };
        let consent = self.patient.terms(&request, 0).await.unwrap();
        self.patient.grant_terms(&[consent]).await.unwrap();
        consent
    }

    /// Share envelopes for the first `n` proxies, of which `t` are needed, in one epoch, signed by the patient.
    pub(crate) async fn shares(&self, consent: &Consent, t: u8, n: u8) -> Vec<Vec<u8>> {
        self.split(consent, t, n).await.iter().map(ShareEnvelope::encode).collect()
    }

    pub(crate) async fn split(&self, consent: &Consent, t: u8, n: u8) -> Vec<ShareEnvelope> {
        let texts = self.texts(consent, t, n, 1, now());
        self.seal(consent, 1, &texts, PATIENT).await
    }

    /// What the proxies are to hold.
    pub(crate) fn texts(
        &self,
        consent: &Consent,
        t: u8,
        n: u8,
        epoch: u32,
        issued: u64,
    ) -> Vec<ShareText> {
        let (mut texts, mut offered) = (Vec::new(), Vec::new());
        for _ in 0..n {
            texts.push(ShareText {
                grantee: consent.grantee,
                issued,
                expiry: consent.expiry,
                oldest_epoch: 1,
                grant: None,
                offer: None,
                segments: Vec::new(),
            });
        }
        for segment in consent.segments.iter() {
            let key = self.keys.segment(segment, epoch);
            let split = if consent.is_network() {
                key.share_whole(t, n).unwrap()
            } else {
                key.split(t, n).unwrap()
            };
            let (pieces, digests) = key.split_kem(t, n).unwrap();
            for ((text, share), piece) in texts.iter_mut().zip(split.shares).zip(pieces) {
                let kem = consent.is_network().then(|| (piece, digests.clone()));
                text.segments.push(SharedSegment { share, keys: split.keys.clone(), kem });
            }
            let (keys, kem, category) = (split.keys, digests, self.patient.category(segment));
            offered.push(OfferedSegment { segment, epoch, category, keys, kem });
        }
        if consent.is_network() {
            let offer = Offer {
                ledger: self.ledger.id(),
                patient: self.patient.id(),
                consent: *consent,
                epoch,
                proxies: (0..n).map(place).collect(),
                segments: offered,
                issued,
                signature: Bytes::new(),
            };
            texts.iter_mut().for_each(|text| text.offer = Some(offer.encode()));
        }
        texts
    }

    /// Seals texts to the proxies in their order and signs them as one.
    pub(crate) async fn seal(
        &self,
        consent: &Consent,
        epoch: u32,
        texts: &[ShareText],
        signer: u8,
    ) -> Vec<ShareEnvelope> {
        let mut envelopes: Vec<ShareEnvelope> = (0..)
            .zip(texts)
            .map(|(n, text)| {
                let proxy = identity(PROXY + n);
                let terms = ShareTerms {
                    ledger: self.ledger.id(),
                    patient: self.patient.id(),
                    proxy: proxy.id(),
                    consent: consent.id(),
                    epoch,
                };
                ShareEnvelope::seal(terms, proxy.keys().identity().public(), text).unwrap()
            })
            .collect();
        let leaves: Vec<B256> = envelopes.iter().map(ShareEnvelope::leaf).collect();
        let deadline = now() + 86_400;
        let message = typed::Sharing {
            patient: self.patient.id(),
            epoch,
            envelopes: leaves.clone(),
            deadline: U48::from(deadline),
        };
        let signature = self.sign(signer, &message).await;
        for envelope in &mut envelopes {
            envelope.siblings = leaves.clone();
            envelope.deadline = deadline;
            envelope.signature = signature.clone();
        }
        envelopes
    }

    pub(crate) async fn sign<T: SolStruct + Serialize>(&self, who: u8, message: &T) -> Bytes {
        account(who).sign(message, self.ledger.id(), Evidence::default()).await.unwrap()
    }

    /// A signed request for keys.
    pub(crate) async fn ask(&self, who: u8, consent: ConsentId, records: &[RecordKey]) -> KeyAsk {
        self.ask_until(who, consent, records, self.time().await + 3_600).await
    }

    pub(crate) async fn ask_until(
        &self,
        who: u8,
        consent: ConsentId,
        records: &[RecordKey],
        deadline: u64,
    ) -> KeyAsk {
        let mut ask = KeyAsk {
            patient: self.patient.id(),
            grantee: account(who).id(),
            consent: consent.0,
            records: records.iter().map(word).collect(),
            deadline,
            signature: Bytes::new(),
        };
        self.sign_ask(who, &mut ask).await;
        ask
    }

    pub(crate) async fn sign_ask(&self, who: u8, ask: &mut KeyAsk) {
        let message = key_request(ask);
        ask.signature = self.sign(who, &message).await;
    }

    /// Logs reads under a consent and makes them final for the proxies.
    pub(crate) async fn logged(&self, who: &Grantee, consent: &Consent, records: &[RecordKey]) {
        let patient = self.patient.id();
        who.log(patient, consent, Purpose::Treatment, records).await.unwrap();
        self.mine(DEPTH);
    }

    pub(crate) fn mine(&self, blocks: u64) {
        for _ in 0..blocks {
            self.chain.mine().unwrap();
        }
    }

    /// As the people of the stage count it: by chain or clock, whichever is ahead.
    pub(crate) async fn time(&self) -> u64 {
        self.galen.time().await.unwrap()
    }

    pub(crate) fn segment(&self, category: Category) -> Segment {
        self.keys.segment_map().segment(category.index())
    }

    pub(crate) async fn content(&self, record: &RecordKey) -> ContentRef {
        let find = |chart: &galen_index::Chart| {
            chart.record(record.id()).unwrap().current().contents.last().unwrap().content
        };
        self.galen.with_chart(self.patient.id(), find).await.unwrap()
    }

    /// Suspends an organization by the votes of the two others.
    pub(crate) async fn suspend(&self, target: u8) {
        let consortium = self.ledger.consortium().await.unwrap();
        let domain = typed::consortium_domain(self.ledger.id().chain_id, consortium);
        let deadline = U48::from(4_000_000_000_u64);
        let (motion, organization, counter) = (SUSPEND, account(target).id(), 0);
        let mut voters: Vec<u8> =
            [AUTHOR, HOSPITAL, THIRD].into_iter().filter(|voter| *voter != target).collect();
        voters.sort_by_key(|voter| account(*voter).id());
        let vote = |voter: &u8| {
            let voter = account(*voter).id();
            typed::Vote { motion, organization, counter, voter, rotations: 0, deadline }
        };
        let signatures = voters
            .iter()
            .map(|voter| key(*voter).sign_digest(vote(voter).eip712_signing_hash(&domain)));
        let call = Consortium::decideCall {
            motion,
            organization,
            counter,
            deadline,
            signatures: signatures.collect(),
            voters: voters.iter().map(|voter| account(*voter).id()).collect(),
        };
        let request = TransactionRequest::default().with_to(consortium).with_call(&call);
        let payer = self.ledger.payer().unwrap();
        let submitted = payer.submit(request).await.unwrap();
        payer.land(&submitted).await.unwrap();
    }
}

/// A chain whose clock stands unless it is moved.
pub(crate) fn chain_config(genesis_time: u64) -> Config {
    let accounts = vec![(account(RELAYER).controller(), U256::from(10).pow(U256::from(20)))];
    Config { accounts, clock: Clock::Manual, genesis_time, ..Config::default() }
}

/// Proxy `n` of a ledger, with its store in this directory.
pub(crate) fn proxy_config(
    ledger: Ledger,
    storage: Storage,
    n: u8,
    directory: &Path,
) -> ProxyConfig {
    let finality = Finality::Depth(DEPTH);
    let history = HistoryOptions { finality, ..HistoryOptions::default() };
    ProxyConfig {
        galen: Galen::with_history(ledger, storage, history),
        identity: identity(PROXY + n),
        directory: directory.to_owned(),
        policy: Policy { max_head_age: None, ..Policy::default() },
        limits: ProxyLimits::default(),
        nodes: (1, 1),
        trust_forwarded_for: false,
    }
}

/// Where proxy `n` says that it is.
pub(crate) fn place(n: u8) -> ProxyPlace {
    ProxyPlace { id: account(PROXY + n).id(), url: format!("https://proxy-{n}.example") }
}

/// A record as requests name it.
pub(crate) fn word(record: &RecordKey) -> U256 {
    U256::from(record.number)
        | U256::from(record.segment.0) << 64
        | U256::from_be_slice(record.author.as_slice()) << 96
}

pub(crate) fn key_request(ask: &KeyAsk) -> typed::KeyRequest {
    typed::KeyRequest {
        patient: ask.patient,
        grantee: ask.grantee,
        rotations: 0,
        consent: ask.consent,
        records: ask.records.clone(),
        deadline: U48::saturating_from(ask.deadline),
    }
}

/// Copies a folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

impl Node {
    pub(crate) fn new(config: ProxyConfig) -> Self {
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let lines = Arc::clone(&log);
        let told = move |entry: &galen_services::proxy::Entry| {
            lines.lock().unwrap().push(entry.to_string());
        };
        Self { proxy: Proxy::new(config, told).unwrap(), log }
    }

    async fn call(&self, method: Method, path: &str, body: impl Into<Body>) -> (u16, Vec<u8>) {
        let peer: SocketAddr = "192.0.2.7:1000".parse().unwrap();
        let mut request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
        request.extensions_mut().insert(ConnectInfo(peer));
        let response = self.proxy.router().call(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 24).await.unwrap();
        (status, bytes.to_vec())
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let (status, bytes) = self.call(Method::GET, path, Body::empty()).await;
        (status, String::from_utf8(bytes).unwrap())
    }

    /// Status and JSON; null for an empty answer.
    pub(crate) async fn post(&self, path: &str, body: impl Into<Body>) -> (u16, Value) {
        let (status, bytes) = self.call(Method::POST, path, body).await;
        let json =
            if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        (status, json)
    }

    pub(crate) async fn send<T: Serialize>(&self, path: &str, body: &T) -> (u16, Value) {
        self.post(path, serde_json::to_vec(body).unwrap()).await
    }

    /// Status and cause of what is refused; 200 and 204 have none.
    pub(crate) async fn cause<T: Serialize>(&self, path: &str, body: &T) -> (u16, String) {
        cause(self.send(path, body).await)
    }

    /// Delivers an envelope that must be taken.
    pub(crate) async fn take(&self, path: &str, envelope: &[u8]) {
        assert_eq!(self.post(path, envelope.to_vec()).await, (204, Value::Null), "{path}");
    }

    pub(crate) async fn keys(&self, ask: &KeyAsk) -> KeyAnswers {
        let (status, answer) = self.send("/v1/keys", ask).await;
        assert_eq!(status, 200, "{answer}");
        serde_json::from_value(answer).unwrap()
    }
}

pub(crate) fn cause((status, answer): (u16, Value)) -> (u16, String) {
    (status, answer["cause"].as_str().unwrap_or_default().to_owned())
}
