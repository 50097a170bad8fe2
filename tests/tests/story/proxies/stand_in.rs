//! A proxy as small as can be: it answers whoever logged a read under a consent that is live, and can be told to
//! misbehave.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use alloy_primitives::{Address, B256, Bytes};
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use galen_chain::{record_word, recovers, typed};
use galen_crypto::{
    HEADER_LEN, Header, ProxyPlace, SealContext, ShareEnvelope, ShareText, seal_note,
};
use galen_sdk::{
    Galen,
    proxies::wire::{GrantAt, KeyAnswer, KeyAnswers, KeyAsk, Offers, Refused},
};
use galen_types::ConsentId;
use tokio::{net::TcpListener, task::JoinHandle};
use zeroize::Zeroizing;

/// How a proxy behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Honest,
    /// A bit of each proof is wrong.
    Lying,
    /// Its answers are those for another record that it was asked for.
    Swapping,
    /// Answers after the client has given up.
    Slow,
    /// Says so often that the read is not final.
    NotFinal(usize),
}

struct Kept {
    text: ShareText,
    envelope: ShareEnvelope,
}

#[derive(Clone)]
struct Proxy {
    galen: Galen,
    keys: Arc<galen_crypto::IdentityKey>,
    mood: Arc<Mutex<Mood>>,
    shares: Arc<Mutex<HashMap<B256, Kept>>>,
}

/// A proxy that listens on this machine until it is dropped.
pub(super) struct StandIn {
    pub(super) place: ProxyPlace,
    proxy: Proxy,
    server: JoinHandle<()>,
}

impl StandIn {
    pub(super) async fn start(galen: &Galen, n: u8) -> Self {
        let identity = crate::identity(n);
        let keys = Arc::new(crate::seed(n).pseudonym(identity.id()).identity());
        galen.grantee(identity.clone()).publish_keys().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let place = ProxyPlace { id: identity.id(), url };
        let proxy = Proxy {
            galen: galen.clone(),
            keys,
            mood: Arc::new(Mutex::new(Mood::Honest)),
            shares: Arc::default(),
        };
        let router = Router::new()
            .route("/v1/shares", post(take))
            .route("/v1/keys", post(keys_for))
            .route("/v1/offers", post(offers))
            .with_state(proxy.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { place, proxy, server }
    }

    pub(super) fn is(&self, mood: Mood) {
        *self.proxy.mood.lock().unwrap() = mood;
    }

    pub(super) fn stop(&self) {
        self.server.abort();
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn refuse(status: u16, cause: &str) -> Response {
    let refused = Refused { cause: cause.to_owned(), error: String::new(), retry: None };
    (StatusCode::from_u16(status).unwrap(), Json(refused)).into_response()
}

async fn take(State(proxy): State<Proxy>, body: axum::body::Bytes) -> Response {
    let Ok(envelope) = ShareEnvelope::decode(&body) else { return refuse(400, "malformed") };
    let terms = *envelope.terms();
    let message = typed::Sharing {
        patient: terms.patient,
        epoch: terms.epoch,
        envelopes: envelope.siblings.clone(),
        deadline: alloy_primitives::aliases::U48::saturating_from(envelope.deadline),
    };
    let digest = typed::digest(&message, terms.ledger);
    // The patients of these tests control themselves.
    let signed = recovers(terms.patient, digest, &envelope.signature);
    if !signed || !envelope.siblings.contains(&envelope.leaf()) {
        return refuse(403, "signature");
    }
    let Ok(text) = envelope.open(&proxy.keys) else { return refuse(400, "malformed") };
    let mut shares = proxy.shares.lock().unwrap();
    if shares.get(&terms.consent.0).is_some_and(|kept| kept.text.issued > text.issued) {
        return refuse(409, "stale");
    }
    shares.insert(terms.consent.0, Kept { text, envelope });
    StatusCode::NO_CONTENT.into_response()
}

/// Whether the question is signed by who it says; the digest if so.
fn signed(proxy: &Proxy, ask: &KeyAsk) -> Option<B256> {
    let message = typed::KeyRequest {
        patient: ask.patient,
        grantee: ask.grantee,
        rotations: 0,
        consent: ask.consent,
        records: ask.records.clone(),
        deadline: alloy_primitives::aliases::U48::saturating_from(ask.deadline),
    };
    let digest = typed::digest(&message, proxy.galen.ledger().id());
    recovers(ask.grantee, digest, &ask.signature).then_some(digest)
}

async fn keys_for(State(proxy): State<Proxy>, Json(ask): Json<KeyAsk>) -> Response {
    let Some(digest) = signed(&proxy, &ask) else { return refuse(403, "signature") };
    let mood = *proxy.mood.lock().unwrap();
    match mood {
        Mood::Slow => tokio::time::sleep(Duration::from_secs(600)).await,
        Mood::NotFinal(left) if left > 0 => {
            *proxy.mood.lock().unwrap() = Mood::NotFinal(left - 1);
            return refuse(425, "not-final");
        }
        _ => {}
    }
    match answers(&proxy, &ask).await {
        Ok(answers) if ask_is_network(&proxy, &ask) => {
            let to = proxy.galen.keys_of(ask.grantee).await.unwrap().identity;
            let text = Zeroizing::new(serde_json::to_vec(&answers).unwrap());
            let sealed = seal_note(&to, "galen.proxy.keys.v1", digest.as_slice(), text).unwrap();
            Json(KeyAnswers { answers: Vec::new(), sealed: Some(sealed.into()) }).into_response()
        }
        Ok(mut answers) => {
            if mood == Mood::Swapping && answers.len() > 1 {
                let first = answers[0].answer.clone();
                answers[0].answer = std::mem::replace(&mut answers[1].answer, first);
            }
            for answer in answers.iter_mut().filter(|_| mood == Mood::Lying) {
                let mut bytes = answer.answer.to_vec();
                bytes[90] ^= 1;
                answer.answer = bytes.into();
            }
            Json(KeyAnswers { answers, sealed: None }).into_response()
        }
        Err(cause) => refuse(403, cause),
    }
}

fn ask_is_network(proxy: &Proxy, ask: &KeyAsk) -> bool {
    proxy.shares.lock().unwrap()[&ask.consent].text.grantee == Address::ZERO
}

async fn answers(proxy: &Proxy, ask: &KeyAsk) -> Result<Vec<KeyAnswer>, &'static str> {
    let kept = proxy.shares.lock().unwrap().get(&ask.consent).map(|kept| kept.text.clone());
    let kept = kept.ok_or("no-share")?;
    let (records, live) = proxy
        .galen
        .with_chart(ask.patient, |chart| {
            let logged = |word| {
                chart.accesses().iter().map(|it| &it.event).any(|event| {
                    let record = chart.record(event.record).unwrap();
                    record_word(&record.key) == word
                        && (event.grantee, event.consent.0) == (ask.grantee, ask.consent)
                })
            };
            let logged = ask.records.iter().copied().all(logged);
            let wanted = chart.records().filter(|it| ask.records.contains(&record_word(&it.key)));
            let records: Vec<_> = wanted.filter(|_| logged).cloned().collect();
            (records, chart.consents().tree.contains(ConsentId(ask.consent)))
        })
        .await
        .unwrap();
    if !live {
        return Err("revoked");
    }
    if records.is_empty() {
        return Err("not-logged");
    }
    let mut answers = Vec::new();
    for record in records {
        let version = record.current();
        for entry in version.contents.iter().rev().take(3) {
            let storage = proxy.galen.storage();
            let read = storage.read_range(&entry.content, 0..HEADER_LEN as u64).await;
            let Ok(header) = read else { continue };
            let header = Header::parse(&header).unwrap();
            let (segment, epoch) = (record.key.segment, header.epoch());
            let shared = |it: &&galen_crypto::SharedSegment| {
                (it.share.segment(), it.share.epoch()) == (segment, epoch)
            };
            let shared = kept.segments.iter().find(shared).ok_or("no-share")?;
            let (ledger, commitment) = (proxy.galen.ledger().id(), version.leaf.commitment);
            let context = SealContext { ledger, record: record.key.id(), commitment };
            let answer = shared.share.answer(&context, header.capsule().unwrap()).unwrap();
            answers.push(KeyAnswer {
                record: record_word(&record.key),
                content: entry.content.to_string(),
                version: version.id.0,
                epoch,
                answer: Bytes::copy_from_slice(&answer.to_bytes()),
                kem_piece: shared
                    .kem
                    .as_ref()
                    .map(|(piece, _)| Bytes::copy_from_slice(piece.to_bytes().as_slice())),
            });
        }
    }
    Ok(answers)
}

async fn offers(State(proxy): State<Proxy>, Json(ask): Json<KeyAsk>) -> Response {
    let Some(digest) = signed(&proxy, &ask) else { return refuse(403, "signature") };
    let (mut grants, mut network) = (Vec::new(), Vec::new());
    for (consent, Kept { text, envelope }) in &*proxy.shares.lock().unwrap() {
        let of = |asked: Address, one| asked.is_zero() || asked == one;
        if !of(ask.patient, envelope.terms().patient) {
            continue;
        }
        network.extend(text.offer.iter().map(|offer| Bytes::copy_from_slice(offer)));
        if let Some(content) = text.grant.filter(|_| text.grantee == ask.grantee) {
            grants.push(GrantAt {
                consent: *consent,
                epoch: envelope.terms().epoch,
                content: content.to_string(),
                siblings: envelope.siblings.clone(),
                deadline: envelope.deadline,
                signature: envelope.signature.clone(),
            });
        }
    }
    let to = proxy.galen.keys_of(ask.grantee).await.unwrap().identity;
    let text = Zeroizing::new(serde_json::to_vec(&network).unwrap());
    let sealed = seal_note(&to, "galen.proxy.offers.v1", digest.as_slice(), text).unwrap();
    Json(Offers { grants, sealed: Some(sealed.into()) }).into_response()
}
