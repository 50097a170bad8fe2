//! Answering for keys: the chain is asked twice, the header is fetched, the answer is written down, and then it goes.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use alloy_primitives::{Address, B256, U256, aliases::U48};
use futures_util::{StreamExt as _, stream};
use galen_chain::{Standing, typed};
use galen_crypto::{HEADER_LEN, Header, SealContext, ShareText, SharedSegment, seal_note};
use galen_sdk::proxies::wire::{
    GrantAt, KeyAnswer, KeyAnswers, KeyAsk, MAX_ANSWER_LEN, Offers, ReportEntry,
};
use galen_types::{ConsentId, ContentRef, RecordKey};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{
    Proxy,
    holdings::{self, Held},
    journal::ServedRow,
    limits::OpenRead,
    look::{Head, Signer, clock, require_in_time, standing_of, with_chart},
    refusal::Refusal,
    rules::{Allowed, Asked, Cause, MAX_ASKED, record_of, rule},
    store::Kind,
    telling::Entry,
};

/// How long one header may take to come.
const CONTENT_PATIENCE: Duration = Duration::from_secs(15);

/// How long an older header may take if a newer one has come: after a reseal the older content is gone, and a store may
/// take its time to say so.
const OLDER_PATIENCE: Duration = Duration::from_secs(1);

/// Records of one request that are worked on at a time.
const RECORDS_AT_A_TIME: usize = 16;

/// How long a request waits for one of the places.
const PLACE_PATIENCE: Duration = Duration::from_secs(10);

/// Label of answers under a consent that names nobody.
const KEYS_LABEL: &str = "galen.proxy.keys.v1";

/// Label of offers.
const OFFERS_LABEL: &str = "galen.proxy.offers.v1";

/// Most offers of one answer: with all their keys they have some ten thousand bytes each.
const MAX_OFFERS: usize = 8;

/// Bytes of all grants of one answer, so that with its frame it is not too long.
const MAX_GRANTS_LEN: usize = MAX_ANSWER_LEN / 2;

/// A request whose signature holds.
struct Authentic {
    asked: Asked,
    words: Vec<U256>,
    digest: B256,
    held: Option<Arc<Held>>,
}

impl Proxy {
    /// Answers for records whose reads are logged.
    pub(super) async fn keys(&self, ask: KeyAsk) -> Result<KeyAnswers, Refusal> {
        let records = ask.records.iter().map(|word| record_of(ask.patient, *word));
        let records = records.collect::<Option<Vec<RecordKey>>>();
        let records = records.filter(|it| (1..=MAX_ASKED).contains(&it.len()));
        let records = records.ok_or(Refusal::from(Cause::Malformed))?;
        let consent = ConsentId(ask.consent);
        let held = self.holdings().get((ask.patient, consent));
        let asked = Asked {
            patient: ask.patient,
            grantee: ask.grantee,
            consent,
            expiry: held.as_ref().map_or(u64::MAX, |held| held.expiry),
            records,
        };
        let policy = self.0.policy;
        let (head, signer, decided) = self
            .look(|view, head| {
                let now = head.now(standing_of(view, asked.grantee));
                let decided =
                    with_chart(view, asked.patient, |chart| rule(chart, &asked, &now, &policy));
                (*head, Signer::of(view, asked.grantee), decided)
            })
            .await?;
        let digest = self.require_asker(&ask, &head, signer).await?;
        let authentic = Authentic { asked, words: ask.records, digest, held };
        let answer = self.answer(&authentic, decided).await;
        if let Err(refusal) = &answer {
            let entries = authentic.entries(Some(refusal.cause), &[]);
            self.journal_refused(authentic.asked.patient, entries).await?;
        }
        answer
    }

    /// Whether a request is in time and signed. Returns its digest.
    async fn require_asker(
        &self,
        ask: &KeyAsk,
        head: &Head,
        signer: Signer,
    ) -> Result<B256, Refusal> {
        require_in_time(ask.deadline, head)?;
        let message = typed::KeyRequest {
            patient: ask.patient,
            grantee: ask.grantee,
            rotations: signer.rotations,
            consent: ask.consent,
            records: ask.records.clone(),
            deadline: U48::saturating_from(ask.deadline),
        };
        let digest = typed::digest(&message, self.0.galen.ledger().id());
        self.require_signed(signer, digest, &ask.signature).await?;
        Ok(digest)
    }

    async fn answer(
        &self,
        it: &Authentic,
        decided: Result<Vec<Allowed>, Cause>,
    ) -> Result<KeyAnswers, Refusal> {
        self.count_id(it.asked.grantee)?;
        let allowed = decided?;
        let held = it.held.as_ref().ok_or(Refusal::from(Cause::NoShare))?;
        let open = self.require_terms(it, held, &allowed)?;
        if let Some(open) = &open {
            self.spent().reserve(*open)?;
        }
        let answered = self.answer_counted(it, held, &allowed, open).await;
        if let (Err(_), Some(open)) = (&answered, &open) {
            self.spent().release(open);
        }
        answered
    }

    /// Whether the shares are for who asks. Returns what counts against the limits.
    fn require_terms(
        &self,
        it: &Authentic,
        held: &Held,
        allowed: &[Allowed],
    ) -> Result<Option<OpenRead>, Refusal> {
        let named = held.grantee == it.asked.grantee;
        let fits = if held.is_network() {
            allowed.iter().all(|one| one.network)
        } else {
            named && !allowed.iter().any(|one| one.network)
        };
        if !fits {
            return Err(Refusal::new(Cause::NoShare, "the shares are for somebody else"));
        }
        Ok(held.is_network().then(|| OpenRead {
            time: clock(),
            organization: it.asked.grantee,
            patient: it.asked.patient,
            records: u32::try_from(allowed.len()).unwrap_or(u32::MAX),
            emergency: allowed.iter().any(|one| one.emergency),
        }))
    }

    async fn answer_counted(
        &self,
        it: &Authentic,
        held: &Held,
        allowed: &[Allowed],
        open: Option<OpenRead>,
    ) -> Result<KeyAnswers, Refusal> {
        let place = timeout(PLACE_PATIENCE, self.0.places.acquire()).await;
        let busy = Refusal::limited("the proxy is busy", PLACE_PATIENCE);
        let _place = place.map_err(|_| busy)?.map_err(|_| Refusal::from(Cause::Internal))?;
        let text = self.shares(held).await?;
        let text = &text;
        let wanted: Vec<(U256, Allowed)> =
            it.words.iter().copied().zip(allowed.iter().cloned()).collect();
        let mut found = stream::iter(wanted)
            .map(|(word, one)| async move { self.answer_one(text, word, &one).await })
            .buffered(RECORDS_AT_A_TIME);
        let mut answers = Vec::new();
        while let Some(one) = found.next().await {
            answers.extend(one?);
        }
        drop(found);
        let answers = self.packed(it, held, answers).await?;

        // Fetching took its time: what was live then may be revoked by now.
        let policy = self.0.policy;
        let again = self
            .look(|view, head| {
                let now = head.now(standing_of(view, it.asked.grantee));
                with_chart(view, it.asked.patient, |chart| rule(chart, &it.asked, &now, &policy))
            })
            .await??;
        if again
            .iter()
            .zip(allowed)
            .any(|(now, then)| (now.leaf, now.network) != (then.leaf, then.network))
        {
            return Err(Refusal::new(Cause::NotFinal, "the chain moved on meanwhile"));
        }
        let row = ServedRow { open, entries: it.entries(None, allowed) };
        self.journal_served(it.asked.patient, &row).await?;

        let metrics = &self.0.metrics;
        let emergency = open.is_some_and(|open| open.emergency);
        metrics.records.fetch_add(allowed.len() as u64, Ordering::Relaxed);
        metrics.emergencies.fetch_add(u64::from(emergency), Ordering::Relaxed);
        let Asked { patient, grantee, consent, .. } = it.asked;
        let (records, network) = (allowed.len(), held.is_network());
        self.tell(&Entry::Served { patient, grantee, consent, records, network, emergency });
        Ok(answers)
    }

    async fn shares(&self, held: &Held) -> Result<ShareText, Refusal> {
        let key = holdings::key(held.place());
        let row = self.in_store(move |store| store.get(Kind::Grant, &key)).await?;
        // The loop that deletes may have been faster.
        let row = row.ok_or(Refusal::from(Cause::NoShare))?;
        Ok(holdings::read(&row)?.1)
    }

    /// Answers for the contents of one record, newest first; at least one, or the gravest reason why not.
    async fn answer_one(
        &self,
        text: &ShareText,
        word: U256,
        allowed: &Allowed,
    ) -> Result<Vec<KeyAnswer>, Refusal> {
        let own = |it: &&SharedSegment| it.share.segment() == allowed.leaf.segment;
        if !text.segments.iter().any(|it| own(&it)) {
            return Err(Cause::NoShare.into());
        }
        let ledger = self.0.galen.ledger().id();
        let (record, commitment) = (allowed.record.id(), allowed.leaf.commitment);
        let context = SealContext { ledger, record, commitment };
        let (mut answers, mut refusal) = (Vec::new(), Refusal::from(Cause::Content));
        for content in &allowed.contents {
            let patience = if answers.is_empty() { CONTENT_PATIENCE } else { OLDER_PATIENCE };
            let Some(header) = self.header(content, patience).await else { continue };
            let Some(capsule) = header.capsule() else { continue };
            let shared =
                text.segments.iter().filter(own).find(|it| it.share.epoch() == header.epoch());
            let Some(shared) = shared else {
                refusal = Refusal::new(Cause::NoShare, "none of the epoch of the content");
                continue;
            };
            // Checks that the capsule is of this record, segment and epoch.
            let Ok(answer) = shared.share.answer(&context, capsule) else { continue };
            answers.push(KeyAnswer {
                record: word,
                content: content.to_string(),
                version: allowed.version.0,
                epoch: header.epoch(),
                answer: answer.to_bytes().to_vec().into(),
                kem_piece: shared.kem.as_ref().map(|(piece, _)| piece.to_bytes().to_vec().into()),
            });
        }
        if answers.is_empty() { Err(refusal) } else { Ok(answers) }
    }

    /// The header of a content, fetched from this proxy's own places and verified against the address.
    async fn header(&self, content: &ContentRef, patience: Duration) -> Option<Header> {
        let storage = self.0.galen.storage();
        let read = storage.read_range(content, 0..HEADER_LEN as u64);
        match timeout(patience, read).await {
            Ok(Ok(bytes)) => Header::parse(&bytes).ok(),
            // Old content is gone after a reseal, as it should be.
            Ok(Err(_)) | Err(_) => None,
        }
    }

    /// The answers as they go out: in clear to a named grantee, who alone can use them; else sealed to who asks.
    async fn packed(
        &self,
        it: &Authentic,
        held: &Held,
        answers: Vec<KeyAnswer>,
    ) -> Result<KeyAnswers, Refusal> {
        if !held.is_network() {
            return Ok(KeyAnswers { answers, sealed: None });
        }
        let text = Zeroizing::new(serde_json::to_vec(&answers).map_err(|_| Cause::Internal)?);
        let sealed = self.sealed(it.asked.grantee, KEYS_LABEL, it.digest, text).await?;
        Ok(KeyAnswers { answers: Vec::new(), sealed: Some(sealed) })
    }

    async fn sealed(
        &self,
        to: Address,
        label: &str,
        place: B256,
        text: Zeroizing<Vec<u8>>,
    ) -> Result<alloy_primitives::Bytes, Refusal> {
        let found = timeout(CONTENT_PATIENCE, self.0.galen.keys_of(to)).await;
        let no_keys = Refusal::new(Cause::Content, "who asks has published no key that can be had");
        let bundle = found.map_err(|_| no_keys.clone())?.map_err(|_| no_keys)?;
        let sealed = seal_note(&bundle.identity, label, place.as_slice(), text);
        Ok(sealed.map_err(|_| Refusal::from(Cause::Internal))?.into())
    }

    /// What is kept for who asks: where grant envelopes lie, and, for active organizations, the offers of a patient.
    pub(super) async fn offers(&self, ask: KeyAsk) -> Result<Offers, Refusal> {
        if !ask.records.is_empty() || !ask.consent.is_zero() {
            return Err(Cause::Malformed.into());
        }
        let mine = |held: &&Arc<Held>| {
            let of = ask.patient.is_zero() || held.patient == ask.patient;
            of && (held.grantee == ask.grantee || held.is_network())
        };
        let held: Vec<Arc<Held>> = self.holdings().iter().filter(mine).cloned().collect();
        let (head, signer, standing, live) = self
            .look(|view, head| {
                let is_live = |it: &Held| {
                    let in_tree =
                        |chart: &galen_index::Chart| chart.consents().tree.contains(it.consent);
                    head.time() < it.expiry && with_chart(view, it.patient, in_tree)
                };
                let live: Vec<_> = held.iter().filter(|it| is_live(it)).cloned().collect();
                (*head, Signer::of(view, ask.grantee), standing_of(view, ask.grantee), live)
            })
            .await?;
        let digest = self.require_asker(&ask, &head, signer).await?;
        self.count_id(ask.grantee)?;
        let (open, mut named): (Vec<_>, Vec<_>) = live.into_iter().partition(|it| it.is_network());
        named.sort_by_key(|held| held.issued);
        let grants = newest(named.iter().flat_map(|held| held.grants.iter().cloned()).collect());
        // Who is a patient here is told to nobody who does not name the patient.
        let shown = standing == Standing::Active && !ask.patient.is_zero();
        let sealed = if shown && open.iter().any(|held| held.has_offer) {
            Some(self.sealed_offers(ask.grantee, digest, open).await?)
        } else {
            None
        };
        Ok(Offers { grants, sealed })
    }

    async fn sealed_offers(
        &self,
        to: Address,
        digest: B256,
        mut open: Vec<Arc<Held>>,
    ) -> Result<alloy_primitives::Bytes, Refusal> {
        open.sort_by_key(|held| std::cmp::Reverse(held.issued));
        let mut offers = Vec::new();
        for held in open.iter().filter(|held| held.has_offer).take(MAX_OFFERS) {
            let offer = self.shares(held).await?.offer;
            offers.extend(offer.map(alloy_primitives::Bytes::from));
        }
        offers.reverse();
        let text = Zeroizing::new(serde_json::to_vec(&offers).map_err(|_| Cause::Internal)?);
        self.sealed(to, OFFERS_LABEL, digest, text).await
    }
}

impl Authentic {
    /// One line for each record: what it was served for, or why it was refused.
    fn entries(&self, cause: Option<Cause>, allowed: &[Allowed]) -> Vec<ReportEntry> {
        let Asked { grantee, consent, .. } = self.asked;
        let time = clock();
        let access =
            |place: usize| allowed.get(place).map(|one| (one.access.block, one.access.log));
        let records = self.asked.records.iter().enumerate();
        records
            .map(|(place, record)| ReportEntry {
                time,
                grantee,
                consent: consent.0,
                record: record.id().0,
                access: access(place),
                cause: cause.map(|cause| cause.as_str().to_owned()),
                times: None,
            })
            .collect()
    }
}

/// The newest grants, as many as an answer holds, the newest last.
fn newest(grants: Vec<GrantAt>) -> Vec<GrantAt> {
    let len = |grant: &GrantAt| 512 + 70 * grant.siblings.len() + 2 * grant.signature.len();
    let mut room = MAX_GRANTS_LEN;
    let mut kept: Vec<GrantAt> = grants
        .into_iter()
        .rev()
        .take_while(|grant| {
            let fits = len(grant) <= room;
            room = room.saturating_sub(len(grant));
            fits
        })
        .collect();
    kept.reverse();
    kept
}
