//! The whole proxy, as its callers meet it: its routes, with its store on disk and the chain behind it.

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use alloy::signers::SignerSync as _;
use alloy_primitives::{B256, Bytes, U256, aliases::U48};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{Request, StatusCode},
};
use galen_chain::{Finality, HistoryMode, Ledger, typed};
use galen_crypto::{Answer, Header, open_note};
use galen_index::HistoryOptions;
use galen_sdk::{
    Galen, Identity,
    proxies::wire::{
        KeyAnswer, KeyAnswers, KeyAsk, MAX_ANSWER_LEN, Refused, Report, ReportAsk, ReportEntry,
    },
};
use galen_services::proxy::{Proxy, ProxyConfig, ProxyLimits, rules::Policy};
use galen_types::{ContentRef, LedgerId, RecordKey};
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tower::Service as _;

use crate::{
    play::{Answered, Ask, Line, Subject, connect},
    steps::Story,
    truth::Truth,
    vault::{EPOCH, Vault, identity},
    world::{Base, PATIENT, PROXY, World, consent, key, number_of, patient, reader, record},
};

/// A proxy with its routes.
pub(crate) struct Whole {
    directory: TempDir,
    proxy: Proxy,
    /// Consents whose shares it has.
    has: BTreeSet<u8>,
    ledger: LedgerId,
}

/// As much as anybody wants.
pub(crate) fn limits() -> ProxyLimits {
    const MANY: u32 = 1_000_000;
    ProxyLimits {
        calls_per_caller: MANY,
        asks_per_id: MANY,
        open_per_hour: MANY,
        open_per_day: MANY,
        emergencies_per_hour: MANY,
        ..ProxyLimits::default()
    }
}

/// A proxy over a ledger, with its store in a directory.
pub(crate) fn open(
    ledger: Ledger,
    vault: &Vault,
    directory: &Path,
    finality: u64,
    policy: Policy,
) -> Proxy {
    let options = HistoryOptions {
        mode: HistoryMode::Blocks,
        finality: Finality::Depth(finality),
        ..HistoryOptions::default()
    };
    let config = ProxyConfig {
        galen: Galen::with_history(ledger, vault.storage.clone(), options),
        identity: identity(PROXY),
        directory: directory.to_owned(),
        policy,
        limits: limits(),
        nodes: (1, 1),
        trust_forwarded_for: false,
    };
    Proxy::new(config, |_| {}).unwrap()
}

/// Sends a request to the routes. The answer, or the word for why there is none.
pub(crate) async fn post<T: DeserializeOwned>(
    router: &mut Router,
    path: &str,
    body: Vec<u8>,
) -> Result<T, String> {
    let mut request = Request::post(path).body(Body::from(body)).unwrap();
    let caller = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    request.extensions_mut().insert(ConnectInfo(caller));
    let answer = router.call(request).await.unwrap();
    let status = answer.status();
    let body = to_bytes(answer.into_body(), MAX_ANSWER_LEN).await.unwrap();
    if status == StatusCode::NO_CONTENT {
        return Ok(serde_json::from_str("null").unwrap());
    }
    if status != StatusCode::OK {
        let refused: Refused = serde_json::from_slice(&body).unwrap();
        assert!(!status.is_success(), "{refused:?}");
        return Err(refused.cause);
    }
    Ok(serde_json::from_slice(&body).unwrap())
}

/// The word of a request that names a record.
pub(crate) fn word(record: &RecordKey) -> U256 {
    U256::from(record.number)
        | U256::from(record.segment.0) << 64
        | U256::from_be_slice(record.author.as_slice()) << 96
}

/// A request for keys, signed with somebody's key after so many rotations.
pub(crate) fn key_ask(
    ledger: LedgerId,
    ask: &Ask,
    deadline: u64,
    (by, rotations): (u8, u32),
) -> (KeyAsk, B256) {
    let words: Vec<U256> = Truth::records(ask.records).map(|it| word(&record(it))).collect();
    let message = typed::KeyRequest {
        patient: patient(),
        grantee: reader(ask.who).address(),
        rotations,
        consent: consent(ask.consent).id().0,
        records: words,
        deadline: U48::from(deadline),
    };
    let digest = typed::digest(&message, ledger);
    let signature = key(by).sign_hash_sync(&digest).unwrap().as_erc2098();
    let ask = KeyAsk {
        patient: message.patient,
        grantee: message.grantee,
        consent: message.consent,
        records: message.records,
        deadline,
        signature: signature.into(),
    };
    (ask, digest)
}

impl Whole {
    fn policy(story: &Story) -> Policy {
        Policy { window: story.window.into(), max_head_age: None, ..Policy::default() }
    }

    /// What the proxy answered, opened as who asked.
    pub(crate) fn unpack(
        who: &Identity,
        digest: B256,
        found: KeyAnswers,
    ) -> Result<Vec<KeyAnswer>, String> {
        let Some(sealed) = found.sealed else { return Ok(found.answers) };
        let key = who.keys().identity();
        let text = open_note(&key, "galen.proxy.keys.v1", digest.as_slice(), &sealed)
            .map_err(|_| "sealed to somebody else".to_owned())?;
        serde_json::from_slice(&text).map_err(|error| error.to_string())
    }

    /// The contents that a proxy answered for, each answer verified as a reader does.
    fn contents(
        &self,
        base: &Base,
        ask: &Ask,
        number: u8,
        answers: &[KeyAnswer],
    ) -> Result<Vec<(u8, u8)>, String> {
        let (vault, key) = (base.vault.as_ref().unwrap(), record(number));
        let given = &vault.given[usize::from(ask.consent)];
        let keys = given.halves.iter().find(|it| it.0 == key.segment);
        let (_, _, keys) = keys.ok_or("a segment that was not granted")?;
        let mine = answers.iter().filter(|it| it.record == word(&key));
        mine.map(|it| {
            let at: ContentRef = it.content.parse().map_err(|_| "no content")?;
            let (of, version, content) = base.content(&at).ok_or("content of nobody")?;
            if of != number || it.epoch != EPOCH {
                return Err("content of another record".to_owned());
            }
            let header = Header::parse(vault.bytes(&at)).unwrap();
            let context = vault.context(self.ledger, number, version);
            let bytes: [u8; Answer::LEN] = it.answer[..].try_into().map_err(|_| "no answer")?;
            Answer::from_bytes(&bytes)
                .verify(keys, &context, key.segment, EPOCH, header.capsule().unwrap())
                .map_err(|_| "a wrong answer")?;
            Ok((version, content))
        })
        .collect()
    }
}

impl Subject for Whole {
    const CLOCK: bool = false;

    async fn start(world: &World<'_>, base: &Base, story: &Story) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ledger = connect(world, base).await;
        let id = ledger.id();
        let vault = base.vault.as_ref().unwrap();
        let policy = Self::policy(story);
        let proxy = open(ledger, vault, directory.path(), story.finality.into(), policy);
        Self { directory, proxy, has: BTreeSet::new(), ledger: id }
    }

    /// What lies on disk at this moment is all that is left.
    async fn crash(self, world: &World<'_>, base: &Base, story: &Story) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for file in fs::read_dir(self.directory.path()).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), directory.path().join(file.file_name())).unwrap();
        }
        let Self { has, ledger, proxy, .. } = self;
        drop(proxy);
        let vault = base.vault.as_ref().unwrap();
        let policy = Self::policy(story);
        let node = connect(world, base).await;
        let proxy = open(node, vault, directory.path(), story.finality.into(), policy);
        proxy.tidy().await;
        let has = if proxy.consents() == has.len() { has } else { BTreeSet::new() };
        Self { directory, proxy, has, ledger }
    }

    async fn rest(&mut self) {
        if self.proxy.tidy().await > 0 {
            self.has.clear();
        }
    }

    async fn ask(
        &mut self,
        base: &Base,
        truth: &Truth,
        ask: &Ask,
    ) -> Result<Vec<Answered>, String> {
        let vault = base.vault.as_ref().unwrap();
        let mut router = self.proxy.router();
        // A patient's program tries until every share is delivered.
        for number in truth.live() {
            if !self.has.contains(&number) {
                let envelope = vault.given[usize::from(number)].envelope.clone();
                match post::<()>(&mut router, "/v1/shares", envelope).await {
                    Ok(()) => self.has.insert(number),
                    // The consent has ended.
                    Err(cause) if cause == "revoked" => false,
                    Err(cause) => return Err(cause),
                };
            }
        }
        let deadline = truth.blocks.last().unwrap().time + 60;
        let (request, digest) = key_ask(self.ledger, ask, deadline, (number_of(ask.who), 0));
        let body = serde_json::to_vec(&request).unwrap();
        let found = post::<KeyAnswers>(&mut router, "/v1/keys", body).await?;
        let answers = Self::unpack(&identity(number_of(ask.who)), digest, found)?;
        let records = Truth::records(ask.records);
        let mut named = 0;
        let answered: Result<Vec<_>, String> = records
            .map(|number| {
                let contents = self.contents(base, ask, number, &answers)?;
                named += contents.len();
                Ok(Answered { at: None, contents })
            })
            .collect();
        if named == answers.len() { answered } else { Err("more than was asked for".to_owned()) }
    }

    async fn served(&mut self) -> Option<Vec<Line>> {
        let report = self.report().await;
        let entries: Vec<ReportEntry> = serde_json::from_str(&report.entries).unwrap();
        let line = |it: ReportEntry| Some((it.grantee, it.consent, it.record, it.access?));
        Some(entries.into_iter().filter_map(line).collect())
    }
}

impl Whole {
    async fn report(&self) -> Report {
        let status: galen_sdk::proxies::wire::Status = {
            let mut router = self.proxy.router();
            let mut request = Request::get("/v1/status").body(Body::empty()).unwrap();
            let caller = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
            request.extensions_mut().insert(ConnectInfo(caller));
            let answer = router.call(request).await.unwrap();
            let body = to_bytes(answer.into_body(), MAX_ANSWER_LEN).await.unwrap();
            serde_json::from_slice(&body).unwrap()
        };
        let deadline = status.head_time + 60;
        let message = typed::ReportRequest {
            patient: patient(),
            rotations: 0,
            since: U48::ZERO,
            deadline: U48::from(deadline),
        };
        let digest = typed::digest(&message, self.ledger);
        let signature: Bytes = key(PATIENT).sign_hash_sync(&digest).unwrap().as_erc2098().into();
        let ask = ReportAsk { patient: patient(), since: 0, deadline, signature };
        let body = serde_json::to_vec(&ask).unwrap();
        post(&mut self.proxy.router(), "/v1/report", body).await.unwrap()
    }
}
