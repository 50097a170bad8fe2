//! Proxies as patients and readers meet them: the real router, a real ledger, real content.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "proxy/keeping.rs"]
mod keeping;
#[path = "proxy/nodes.rs"]
mod nodes;
#[path = "proxy/refusals.rs"]
mod refusals;
#[path = "proxy/stage.rs"]
mod stage;

use alloy_primitives::{Address, Bytes};
use galen_crypto::{
    Answer, DataKey, HEADER_LEN, Header, OpenKey, ReaderHalf, SealContext, SecretPiece, ShareKeys,
    join_secret, open_note,
};
use galen_fhir::Category;
use galen_sdk::proxies::wire::{KeyAnswer, KeyAnswers, Offers};
use galen_types::{Consent, Purpose, RecordKey};
use serde_json::Value;

use crate::stage::{
    DEPTH, HOSPITAL, Node, PAYLOAD, PHYSICIAN, Stage, account, identity, key_request, now,
};

/// Opens the newest content of a record with a reader's half and answers of enough proxies.
async fn open(
    stage: &Stage,
    record: &RecordKey,
    half: &ReaderHalf,
    keys: &ShareKeys,
    answers: &[KeyAnswer],
) -> Option<Vec<u8>> {
    let content = stage.content(record).await;
    let answers: Vec<Answer> = answers
        .iter()
        .filter(|it| it.content == content.to_string())
        .map(|it| Answer::from_bytes(it.answer.as_ref().try_into().unwrap()))
        .collect();
    let find = |chart: &galen_index::Chart| chart.record(record.id()).unwrap().current().leaf;
    let leaf = stage.galen.with_chart(record.patient, find).await.unwrap();
    let context =
        SealContext { ledger: stage.ledger.id(), record: record.id(), commitment: leaf.commitment };
    let sealed = stage.storage.get(&content, 1 << 20).await.unwrap();
    let header = Header::parse(&sealed[..HEADER_LEN]).unwrap();
    let key: DataKey = header.unwrap_shared(&context, half, keys, &answers).ok()?;
    let opened = galen_crypto::open(&sealed, context, OpenKey::Data(&key)).unwrap();
    Some(opened.payload.expose().to_vec())
}

#[tokio::test]
async fn two_of_three_proxies_open_what_was_logged() {
    let stage = Stage::new().await;
    let records = stage.accepted(Category::Vitals, 2).await;
    let consent = stage.consent(account(PHYSICIAN).id(), Category::Vitals).await;
    let key = stage.keys.segment(stage.segment(Category::Vitals), 1);
    let split = key.split(2, 3).unwrap();
    let mut texts = stage.texts(&consent, 2, 3, 1, now());
    for (text, share) in texts.iter_mut().zip(split.shares) {
        text.segments[0].share = share;
        text.segments[0].keys = split.keys.clone();
    }
    let envelopes = stage.seal(&consent, 1, &texts, stage::PATIENT).await;
    let nodes: Vec<Node> = (0..3).map(|n| stage.node(n, |_| {})).collect();
    for (node, envelope) in nodes.iter().zip(&envelopes) {
        // The same again is no fault.
        node.take("/v1/shares", &envelope.encode()).await;
        node.take("/v1/shares", &envelope.encode()).await;
    }

    stage.logged(&stage.physician, &consent, &records).await;
    let ask = stage.ask(PHYSICIAN, consent.id(), &records).await;
    let mut answers = Vec::new();
    for node in &nodes {
        let KeyAnswers { answers: own, sealed } = node.keys(&ask).await;
        assert_eq!((own.len(), sealed), (2, None));
        answers.push(own);
    }
    for record in &records {
        let of = |n: usize| -> Vec<KeyAnswer> {
            let own = |it: &&KeyAnswer| it.record == stage::word(record);
            answers[n].iter().filter(own).cloned().collect()
        };
        for (first, second) in [(0, 1), (1, 2), (2, 0)] {
            let both = [of(first), of(second)].concat();
            let opened = open(&stage, record, &split.half, &split.keys, &both).await;
            assert_eq!(opened.as_deref(), Some(PAYLOAD));
        }
        assert_eq!(open(&stage, record, &split.half, &split.keys, &of(0)).await, None);
    }
    let log = nodes[0].log.lock().unwrap().clone();
    assert_eq!(log.len(), 2, "{log:?}");
    assert!(log[1].starts_with("served patient=0x") && log[1].ends_with(" records=2"), "{log:?}");
    let (status, metrics) = nodes[0].get("/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains("\ngalen_proxy_records_total 2\n"), "{metrics}");
    assert_eq!(nodes[0].get("/healthz").await, (200, "ok\n".to_owned()));
}

/// Opens what a proxy sealed to the hospital.
fn unsealed(
    sealed: &Bytes,
    label: &str,
    ask: &galen_sdk::proxies::wire::KeyAsk,
    stage: &Stage,
) -> Vec<u8> {
    let digest = galen_chain::typed::digest(&key_request(ask), stage.ledger.id());
    let key = identity(HOSPITAL).keys().identity();
    open_note(&key, label, digest.as_slice(), sealed).unwrap().to_vec()
}

/// Break-glass: nobody holds keys before; the proxies together hold all, and seal what they answer.
#[tokio::test]
async fn an_organization_reads_under_a_consent_of_nobody() {
    let stage = Stage::new().await;
    let records = stage.accepted(Category::Vitals, 1).await;
    let consent: Consent = stage.consent(Address::ZERO, Category::Vitals).await;
    let nodes: Vec<Node> = (0..3).map(|n| stage.node(n, |_| {})).collect();
    for (node, envelope) in nodes.iter().zip(stage.shares(&consent, 2, 3).await) {
        node.take("/v1/shares", &envelope).await;
    }
    let mut ask = stage.ask(HOSPITAL, Default::default(), &[]).await;
    let (status, offers) = nodes[0].send("/v1/offers", &ask).await;
    assert_eq!(status, 200, "{offers}");
    let offers: Offers = serde_json::from_value(offers).unwrap();
    let text = unsealed(&offers.sealed.unwrap(), "galen.proxy.offers.v1", &ask, &stage);
    let offers: Vec<Bytes> = serde_json::from_slice(&text).unwrap();
    let offer = galen_crypto::Offer::decode(&offers[0]).unwrap();
    assert_eq!((offers.len(), offer.consent), (1, consent));
    // Nobody is told who is a patient here, and who is no organization is told nothing.
    ask.patient = Address::ZERO;
    stage.sign_ask(HOSPITAL, &mut ask).await;
    assert_eq!(nodes[0].send("/v1/offers", &ask).await.1["sealed"], Value::Null);
    let stranger = stage.ask(PHYSICIAN, Default::default(), &[]).await;
    assert_eq!(nodes[0].send("/v1/offers", &stranger).await.1["sealed"], Value::Null);

    let patient = stage.patient.id();
    stage.hospital.log(patient, &consent, Purpose::BreakTheGlass, &records).await.unwrap();
    stage.mine(DEPTH);
    let ask = stage.ask(HOSPITAL, consent.id(), &records).await;
    let (mut answers, mut pieces) = (Vec::new(), Vec::new());
    for node in &nodes[1..] {
        let KeyAnswers { answers: clear, sealed } = node.keys(&ask).await;
        assert!(clear.is_empty());
        let text = unsealed(&sealed.unwrap(), "galen.proxy.keys.v1", &ask, &stage);
        let own: Vec<KeyAnswer> = serde_json::from_slice(&text).unwrap();
        for answer in &own {
            let piece = answer.kem_piece.as_ref().unwrap().as_ref().try_into().unwrap();
            pieces.push(SecretPiece::from_bytes(piece).unwrap());
        }
        answers.extend(own);
    }
    let offered = &offer.segments[0];
    let kem = join_secret(&offered.kem, &pieces).unwrap();
    let half = ReaderHalf::of_network(offered.segment, offered.epoch, &kem);
    let opened = open(&stage, &records[0], &half, &offered.keys, &answers).await;
    assert_eq!(opened.as_deref(), Some(PAYLOAD));
    let log = nodes[1].log.lock().unwrap().clone();
    assert!(log.iter().any(|line| line.starts_with("served EMERGENCY patient=")), "{log:?}");
}

/// The same proxy in a new process.
fn restarted(stage: &Stage, node: Node) -> Node {
    restarted_with(stage, node, |_| {})
}

fn restarted_with(
    stage: &Stage,
    node: Node,
    edit: impl FnOnce(&mut galen_services::proxy::ProxyConfig),
) -> Node {
    drop(node);
    stage.node(0, edit)
}
