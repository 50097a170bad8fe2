//! Every cause of a refusal, each reached through the router, and what is told of it.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{B256, Bytes, U256, aliases::U48, keccak256};
use async_trait::async_trait;
use galen_chain::{
    Account, CosignPolicy, SignError, Signer, SigningRequest, TransactionToSign, typed,
};
use galen_crypto::{ShareEnvelope, ShareTerms};
use galen_fhir::Category;
use galen_sdk::{
    Identity,
    proxies::wire::{KeyAsk, Report, ReportAsk, ReportEntry, report_counts},
};
use galen_services::proxy::rules::Cause;
use galen_types::{Consent, LedgerId, RecordKey};
use serde_json::json;

use crate::stage::{
    AUTHOR, DEPTH, HOSPITAL, Node, PATIENT, PHYSICIAN, PROXY, Stage, account, cause, identity, now,
    seed,
};

/// One proxy with shares for the physician, and a read that is logged and final.
struct Read {
    stage: Stage,
    node: Node,
    consent: Consent,
    records: Vec<RecordKey>,
}

impl Read {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(edit: impl FnOnce(&mut galen_services::proxy::ProxyConfig)) -> Self {
        let stage = Stage::new().await;
        let records = stage.accepted(Category::Vitals, 1).await;
        let consent = stage.consent(account(PHYSICIAN).id(), Category::Vitals).await;
        let node = stage.node(0, edit);
        let it = Self { stage, node, consent, records };
        it.node.take("/v1/shares", &it.envelope(1, now()).await.encode()).await;
        it.stage.logged(&it.stage.physician, &it.consent, &it.records).await;
        it
    }

    /// An envelope for the proxy, as good as any.
    async fn envelope(&self, epoch: u32, issued: u64) -> ShareEnvelope {
        let texts = self.stage.texts(&self.consent, 1, 1, epoch, issued);
        self.stage.seal(&self.consent, epoch, &texts, PATIENT).await.remove(0)
    }

    async fn ask(&self) -> KeyAsk {
        self.stage.ask(PHYSICIAN, self.consent.id(), &self.records).await
    }

    /// What the request of the read is answered with now.
    async fn asked(&self) -> (u16, String) {
        self.node.cause("/v1/keys", &self.ask().await).await
    }

    async fn report(&self, who: u8, since: u64) -> (u16, serde_json::Value) {
        let ask = report_ask(&self.stage, who, since).await;
        self.node.send("/v1/report", &ask).await
    }
}

pub(crate) async fn report_ask(stage: &Stage, who: u8, since: u64) -> ReportAsk {
    let (patient, deadline) = (stage.patient.id(), stage.time().await + 600);
    let message = typed::ReportRequest {
        patient,
        rotations: 0,
        since: U48::from(since),
        deadline: U48::from(deadline),
    };
    ReportAsk { patient, since, deadline, signature: stage.sign(who, &message).await }
}

/// Statuses of the table in `wire::Refused`.
const TABLE: &[(&str, u16)] = &[
    ("malformed", 400),
    ("elsewhere", 400),
    ("signature", 403),
    ("deadline", 403),
    ("not-logged", 403),
    ("not-final", 425),
    ("window", 403),
    ("revoked", 403),
    ("not-accepted", 403),
    ("standing", 403),
    ("no-share", 404),
    ("stale", 409),
    ("limit", 429),
    ("content", 503),
    ("chain", 503),
    ("not-recovered", 403),
    ("internal", 500),
];

/// Checks an answer against the table, and notes that the cause was reached.
#[derive(Default)]
struct Reached(BTreeSet<&'static str>);

impl Reached {
    #[track_caller]
    fn check(&mut self, name: &str, answer: (u16, String), expected: &str) {
        let row = TABLE.iter().find(|(cause, _)| *cause == expected).unwrap();
        assert_eq!(answer, (row.1, expected.to_owned()), "{name}");
        self.0.insert(row.0);
    }
}

#[tokio::test]
async fn every_cause_is_told_by_its_word_and_status() {
    let mut reached = Reached::default();
    requests(&mut reached).await;
    envelopes(&mut reached).await;
    histories(&mut reached).await;
    troubles(&mut reached).await;
    let all: BTreeSet<&str> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
    assert_eq!(reached.0, all);
}

/// Requests that are wrong by themselves.
async fn requests(reached: &mut Reached) {
    let it = Read::new().await;
    let (node, stage) = (&it.node, &it.stage);
    reached.check("not JSON", cause(node.post("/v1/keys", "{").await), "malformed");
    let long = "x".repeat(200_000);
    reached.check("too long", cause(node.post("/v1/keys", long).await), "malformed");
    let mut ask = it.ask().await;
    ask.records.clear();
    reached.check("no records", node.cause("/v1/keys", &ask).await, "malformed");
    let mut ask = it.ask().await;
    ask.records[0] |= U256::from(1) << 80;
    reached.check("a word with no meaning", node.cause("/v1/keys", &ask).await, "malformed");
    let mut ask = it.ask().await;
    ask.records.push(ask.records[0]);
    stage.sign_ask(PHYSICIAN, &mut ask).await;
    reached.check("a record twice", node.cause("/v1/keys", &ask).await, "malformed");
    reached.check("offers with records", node.cause("/v1/offers", &ask).await, "malformed");

    let mut ask = it.ask().await;
    stage.sign_ask(HOSPITAL, &mut ask).await;
    reached.check("signed by another", node.cause("/v1/keys", &ask).await, "signature");
    let mut ask = it.ask().await;
    ask.deadline += 1;
    reached.check("another deadline", node.cause("/v1/keys", &ask).await, "signature");
    let offers = KeyAsk { consent: B256::ZERO, records: vec![], ..it.ask().await };
    reached.check("offers, unsigned", node.cause("/v1/offers", &offers).await, "signature");
    reached.check("a stranger's report", cause(it.report(HOSPITAL, 0).await), "signature");

    for (name, deadline) in
        [("out of date", stage.time().await - 10), ("far ahead", stage.time().await + 7_300)]
    {
        let ask = stage.ask_until(PHYSICIAN, it.consent.id(), &it.records, deadline).await;
        reached.check(name, node.cause("/v1/keys", &ask).await, "deadline");
    }
    assert_eq!(it.asked().await, (200, String::new()), "and the right one is answered");
}

/// Envelopes that are not taken.
async fn envelopes(reached: &mut Reached) {
    let it = Read::new().await;
    let (node, stage) = (&it.node, &it.stage);
    let check = async |reached: &mut Reached, name, envelope: ShareEnvelope, expected| {
        let answer = cause(node.post("/v1/shares", envelope.encode()).await);
        reached.check(name, answer, expected);
    };
    let fresh = async || it.envelope(1, now() + 5).await;
    reached.check("noise", cause(node.post("/v1/shares", "noise").await), "malformed");
    reached.check("noise", cause(node.post("/v1/pieces", "noise").await), "malformed");

    let texts = stage.texts(&it.consent, 1, 2, 1, now() + 5);
    let other = stage.seal(&it.consent, 1, &texts, PATIENT).await.remove(1);
    check(reached, "for another proxy", other, "elsewhere").await;
    let proxy = identity(PROXY);
    let to = |ledger, key: &Identity| {
        let (patient, consent) = (stage.patient.id(), it.consent.id());
        let terms = ShareTerms { ledger, patient, proxy: proxy.id(), consent, epoch: 1 };
        ShareEnvelope::seal(terms, key.keys().identity().public(), &texts[0]).unwrap()
    };
    let elsewhere = LedgerId { chain_id: 5, ..stage.ledger.id() };
    check(reached, "for another ledger", to(elsewhere, &proxy), "elsewhere").await;
    let old_key = Identity::new(account(PROXY), &seed(99));
    check(reached, "to another key", to(stage.ledger.id(), &old_key), "elsewhere").await;

    let mut alone = fresh().await;
    alone.siblings = vec![B256::repeat_byte(1)];
    check(reached, "not among what was signed", alone, "signature").await;
    let mut more = fresh().await;
    more.siblings.push(B256::repeat_byte(1));
    check(reached, "with a sibling that was not signed", more, "signature").await;
    let forged = stage.seal(&it.consent, 1, &texts[..1], HOSPITAL).await.remove(0);
    check(reached, "signed by another", forged, "signature").await;
    let mut late = fresh().await;
    late.deadline = now() - 10;
    check(reached, "out of date", late, "deadline").await;
    check(reached, "older than what is there", it.envelope(1, now() - 60).await, "stale").await;
    let mut ended = stage.texts(&it.consent, 1, 1, 1, now() + 5);
    ended[0].expiry = now() - 1;
    let ended = stage.seal(&it.consent, 1, &ended, PATIENT).await.remove(0);
    check(reached, "of a consent that has ended", ended, "revoked").await;
    let mut moved = stage.texts(&it.consent, 1, 1, 1, now() + 5);
    moved[0].grantee = account(HOSPITAL).id();
    let moved = stage.seal(&it.consent, 1, &moved, PATIENT).await.remove(0);
    check(reached, "for another grantee than before", moved, "malformed").await;
    assert_eq!(it.asked().await.0, 200, "what was there is as it was");
}

/// Histories that do not allow it.
async fn histories(reached: &mut Reached) {
    let it = Read::new().await;
    let stage = &it.stage;
    let more = stage.accepted(Category::Vitals, 2).await;
    let ask = stage.ask(PHYSICIAN, it.consent.id(), &more).await;
    reached.check("not logged", it.node.cause("/v1/keys", &ask).await, "not-logged");
    let patient = stage.patient.id();
    let purpose = galen_types::Purpose::Treatment;
    stage.physician.log(patient, &it.consent, purpose, &more).await.unwrap();
    let ask = stage.ask(PHYSICIAN, it.consent.id(), &more).await;
    reached.check("not final", it.node.cause("/v1/keys", &ask).await, "not-final");
    stage.mine(DEPTH);
    assert_eq!(it.node.cause("/v1/keys", &ask).await.0, 200, "final");

    let (policy, nobody) = (CosignPolicy::default(), BTreeMap::new());
    let retracted =
        stage.author.retract(&stage.contact, more[0].id(), "of another patient", &policy);
    let proposal = retracted.await.unwrap().proposal;
    stage.patient.answer(proposal, [0], [], &policy, &nobody).await.unwrap();
    reached.check("retracted", it.node.cause("/v1/keys", &ask).await, "not-accepted");

    stage.chain.advance_time(3_601).unwrap();
    stage.mine(1);
    reached.check("too long ago", it.asked().await, "window");
    stage.logged(&stage.physician, &it.consent, &it.records).await;
    assert_eq!(it.asked().await.0, 200, "logged again");
    stage.patient.revoke(it.consent.id()).await.unwrap();
    // Not final yet, and refused all the same.
    reached.check("revoked", it.asked().await, "revoked");
    stage.mine(DEPTH);
    assert_eq!((it.node.proxy.tidy().await, it.node.proxy.consents()), (1, 0));
    reached.check("revoked, and the share deleted", it.asked().await, "revoked");

    let open = stage.consent(alloy_primitives::Address::ZERO, Category::Vitals).await;
    stage.logged(&stage.hospital, &open, &it.records).await;
    let ask = stage.ask(HOSPITAL, open.id(), &it.records).await;
    reached.check("never delivered", it.node.cause("/v1/keys", &ask).await, "no-share");
    it.node.take("/v1/shares", &stage.shares(&open, 1, 1).await[0]).await;
    assert_eq!(it.node.cause("/v1/keys", &ask).await.0, 200, "delivered");
    stage.suspend(HOSPITAL).await;
    reached.check("suspended", it.node.cause("/v1/keys", &ask).await, "standing");
}

/// What the proxy itself cannot do, or does not do more of.
async fn troubles(reached: &mut Reached) {
    let it = Read::new().await;
    let content = it.stage.content(&it.records[0]).await;
    it.stage.storage.remove(&content).await.unwrap();
    reached.check("its content is gone", it.asked().await, "content");

    let it = Read::with(|config| config.policy.max_head_age = Some(3_600)).await;
    assert_eq!(it.asked().await.0, 200, "a young head");
    it.stage.chain.advance_time(90_000).unwrap();
    it.stage.mine(1);
    reached.check("a head of tomorrow", it.asked().await, "chain");
    let (status, why) = it.node.get("/healthz").await;
    assert_eq!((status, why.contains("cannot be relied on")), (503, true), "{why}");

    let it = Read::with(|config| config.limits.asks_per_id = 3).await;
    for _ in 0..3 {
        // The patient's envelope counted for the patient.
        assert_eq!(it.asked().await.0, 200);
    }
    reached.check("the fourth request of an hour", it.asked().await, "limit");
    let it = Read::with(|config| config.limits.calls_per_caller = 2).await;
    assert_eq!(it.asked().await.0, 200, "the second");
    reached.check("the third call of an address", it.asked().await, "limit");
    let it = Read::with(|config| config.limits.consents_per_patient = 1).await;
    let second = it.stage.consent(account(HOSPITAL).id(), Category::Vitals).await;
    let envelope = it.stage.shares(&second, 1, 1).await.remove(0);
    let answer = cause(it.node.post("/v1/shares", envelope).await);
    reached.check("a second consent", answer, "limit");

    let key = identity(PROXY).keys().identity().public().as_bytes().to_vec();
    let (id, deadline) = (it.stage.patient.id(), it.stage.time().await + 600);
    let message = typed::PieceRequest {
        id,
        controller: id,
        rotations: 0,
        recipientKey: keccak256(&key),
        deadline: U48::from(deadline),
    };
    let signature = it.stage.sign(PATIENT, &message).await;
    let ask = json!({ "id": id, "recipient": Bytes::from(key), "deadline": deadline, "signature": signature });
    reached.check("no recovery", it.node.cause("/v1/release", &ask).await, "not-recovered");

    let silent = Identity::new(Account::new(Silent(account(PROXY))), &seed(PROXY));
    let it = Read::with(|config| config.identity = silent).await;
    reached.check("its wallet is away", cause(it.report(PATIENT, 0).await), "internal");
}

/// A wallet that does not answer.
#[derive(Debug)]
struct Silent(Account);

#[async_trait]
impl Signer for Silent {
    fn address(&self) -> alloy_primitives::Address {
        self.0.id()
    }

    async fn sign(&self, _: &SigningRequest) -> Result<Bytes, SignError> {
        Err(SignError::Unavailable("nobody is there".to_owned()))
    }

    async fn sign_transaction(
        &self,
        _: &mut TransactionToSign,
    ) -> Result<alloy_primitives::Signature, SignError> {
        Err(SignError::Unavailable("nobody is there".to_owned()))
    }
}

/// What was served and refused is told to the patient, signed, also by the process after this one.
#[tokio::test]
async fn a_report_tells_what_was_served_and_refused() {
    let it = Read::new().await;
    let more = it.stage.accepted(Category::Vitals, 1).await;
    assert_eq!(it.asked().await.0, 200);
    let unlogged = it.stage.ask(PHYSICIAN, it.consent.id(), &more).await;
    for _ in 0..3 {
        assert_eq!(it.node.cause("/v1/keys", &unlogged).await.0, 403);
    }
    // Who did not prove who they are is not in the report: anybody could blame anybody.
    let mut forged = it.ask().await;
    it.stage.sign_ask(AUTHOR, &mut forged).await;
    assert_eq!(it.node.cause("/v1/keys", &forged).await.0, 403);

    let entries = {
        let node = &it.node;
        let ask = report_ask(&it.stage, PATIENT, 0).await;
        let (status, report) = node.send("/v1/report", &ask).await;
        assert_eq!(status, 200, "{report}");
        let report: Report = serde_json::from_value(report).unwrap();
        let entries: Vec<ReportEntry> = serde_json::from_str(&report.entries).unwrap();
        let (served, refused) = report_counts(&entries);
        assert_eq!((entries.len(), served, refused), (2, 1, 3));
        let message = typed::ProxyReport {
            proxy: account(PROXY).id(),
            rotations: 0,
            patient: it.stage.patient.id(),
            since: U48::ZERO,
            until: U48::from(report.until),
            served,
            refused,
            entries: keccak256(&report.entries),
        };
        let digest = typed::digest(&message, it.stage.ledger.id());
        assert!(galen_chain::recovers(account(PROXY).id(), digest, &report.signature));
        entries
    };
    let find = |chart: &galen_index::Chart| chart.accesses().last().unwrap().at;
    let at = it.stage.galen.with_chart(it.stage.patient.id(), find).await.unwrap();
    assert_eq!(entries[0].access, Some((at.block, at.log)));
    assert_eq!(entries[0].record, it.records[0].id().0);
    assert_eq!((entries[1].cause.as_deref(), entries[1].times), (Some("not-logged"), Some(3)));
    assert_eq!(entries[1].record, more[0].id().0);

    let Read { stage, node, .. } = it;
    let again = crate::restarted(&stage, node);
    assert_eq!(again.proxy.consents(), 1);
}
