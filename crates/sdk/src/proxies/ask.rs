//! Asking proxies for the keys of records whose reads are logged: all side by side, until enough right answers are
//! there. A proxy that is down, slow or lying costs time and nothing else.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use alloy_primitives::{B256, U256};
use galen_chain::{Evidence, record_word, typed};
use galen_crypto::{
    Answer, DataKey, HEADER_LEN, Header, ProxyPlace, ReaderHalf, SealContext, SecretPiece,
    join_secret, open_note,
};
use galen_index::{Record, Version};
use galen_types::{ContentRef, RecordId, RecordKey, VersionId};
use tokio::{task::JoinSet, time::Instant};

use super::{
    ProxyClient, ProxyError,
    wire::{KeyAnswer, KeyAnswers, KeyAsk},
};
use crate::{
    Error, Grant, Grantee,
    attachment::ReaderKey,
    galen::joined,
    grant::{Held, HeldKey},
    patient::u48,
};

/// How long a proxy may take to answer, unless a client says otherwise.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How long is waited for a read to become final, unless somebody says otherwise.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

/// How long a proxy is asked again that is silent, busy or cannot read the chain.
const FAULT_PATIENCE: Duration = Duration::from_secs(30);

/// Time between two questions, unless the proxy says otherwise; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(15);

/// Most answers of a proxy for one record that are looked at.
const MAX_ANSWERS: usize = 8;

/// Label of a sealed list of answers.
const KEYS_LABEL: &str = "galen.proxy.keys.v1";

/// How many proxies have answered so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskProgress {
    /// Proxies that gave right answers.
    pub answered: usize,
    /// How many it takes.
    pub needed: usize,
    /// How many were asked.
    pub asked: usize,
    /// Proxies that wait for the read to become final.
    pub waiting_for_finality: usize,
    /// Proxies that gave no right answer and are not asked again.
    pub failed: usize,
}

type Tell = Arc<dyn Fn(&AskProgress) + Send + Sync>;

/// How proxies are asked: by which client, how long, and who is told of the progress.
#[derive(Clone)]
pub struct Asking {
    client: Option<ProxyClient>,
    patience: Duration,
    tell: Option<Tell>,
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking").field("patience", &self.patience).finish_non_exhaustive()
    }
}

impl Default for Asking {
    fn default() -> Self {
        Self { client: None, patience: PATIENCE, tell: None }
    }
}

impl Asking {
    /// By this client.
    #[must_use]
    pub fn by(mut self, client: ProxyClient) -> Self {
        self.client = Some(client);
        self
    }

    /// How long to wait for a read to become final, from the first question on. Proxies that do not answer at all are
    /// waited for 30 seconds at most.
    #[must_use]
    pub const fn for_at_most(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Tells of each change.
    #[must_use]
    pub fn telling(mut self, tell: impl Fn(&AskProgress) + Send + Sync + 'static) -> Self {
        self.tell = Some(Arc::new(tell));
        self
    }

    pub(crate) fn client(&self) -> Result<ProxyClient, Error> {
        let made = || ProxyClient::new(TIMEOUT).map_err(Error::Proxy);
        self.client.clone().map_or_else(made, Ok)
    }
}

/// A record that can be opened: the version and the keys to contents of it.
pub(crate) struct Unlocked {
    pub(crate) record: RecordKey,
    pub(crate) version: Version,
    pub(crate) key: ReaderKey,
}

/// Right answers for one content, and the key once there are enough.
struct Gathered {
    version: VersionId,
    header: Header,
    context: SealContext,
    held: Held,
    answers: Vec<Answer>,
    pieces: Vec<SecretPiece>,
    key: Option<DataKey>,
}

/// One round of questions.
struct Round<'a> {
    grantee: &'a Grantee,
    grant: &'a Grant,
    digest: B256,
    records: BTreeMap<U256, Record>,
    headers: BTreeMap<ContentRef, Header>,
    gathered: BTreeMap<(RecordId, ContentRef), Gathered>,
}

impl Grantee {
    /// Gets the keys of records whose reads are logged from the proxies.
    pub(crate) async fn unlock(
        &self,
        grant: &Grant,
        records: &[RecordKey],
    ) -> Result<Vec<Unlocked>, Error> {
        let asking = self.asking();
        let client = asking.client()?;
        let (ask, digest) = self.key_ask(grant, records).await?;
        let places = grant.places(|it| records.iter().any(|record| record.segment == it));
        let mut round = Round {
            grantee: self,
            grant,
            digest,
            records: BTreeMap::new(),
            headers: BTreeMap::new(),
            gathered: BTreeMap::new(),
        };
        round.look(records).await?;
        let needed = grant.threshold().map_or(1, |(threshold, _)| usize::from(threshold));
        let (asked, deadline) = (places.len(), Instant::now() + asking.patience);
        let mut progress =
            AskProgress { answered: 0, needed, asked, waiting_for_finality: 0, failed: 0 };
        let tell = |progress: &AskProgress| {
            if let Some(tell) = &asking.tell {
                tell(progress);
            }
        };
        tell(&progress);
        let mut questions = JoinSet::new();
        let (waits, mut news) = tokio::sync::mpsc::unbounded_channel();
        for place in places {
            let (client, ask, waits) = (client.clone(), ask.clone(), waits.clone());
            questions.spawn(async move {
                let answer = ask_until(&client, &place, &ask, deadline, || {
                    // Whoever listens may have enough already.
                    let _ = waits.send(());
                });
                let answer = answer.await;
                (place, answer)
            });
        }
        let mut said = Vec::new();
        loop {
            let (place, answer) = tokio::select! {
                Some(()) = news.recv() => {
                    progress.waiting_for_finality += 1;
                    tell(&progress);
                    continue;
                }
                next = questions.join_next() => match next {
                    Some(answered) => joined(answered)?,
                    None => break,
                },
            };
            match round.take(&place, answer).await? {
                Ok(()) => progress.answered += 1,
                Err(error) => {
                    progress.failed += 1;
                    said.push((place, error));
                }
            }
            tell(&progress);
            if let Some(unlocked) = round.unlocked(records) {
                return Ok(unlocked);
            }
            // Whatever the others say now, it is not enough.
            if progress.asked < progress.failed + needed {
                break;
            }
        }
        Err(Error::TooFewProxies { needed, answered: progress.answered, said })
    }

    /// The question, signed.
    async fn key_ask(&self, grant: &Grant, records: &[RecordKey]) -> Result<(KeyAsk, B256), Error> {
        let words = records.iter().map(record_word).collect();
        let evidence = Evidence { consents: vec![*grant.consent()], ..Evidence::default() };
        self.signed_ask(grant.patient(), grant.consent().id().0, words, evidence).await
    }

    /// A question to proxies, signed, and its digest.
    pub(super) async fn signed_ask(
        &self,
        patient: alloy_primitives::Address,
        consent: B256,
        records: Vec<U256>,
        evidence: Evidence,
    ) -> Result<(KeyAsk, B256), Error> {
        let (galen, grantee) = (self.galen(), self.id());
        let deadline = galen.deadline().await?;
        let message = typed::KeyRequest {
            patient,
            grantee,
            rotations: galen.ledger.participant(grantee).await?.rotations,
            consent,
            records: records.clone(),
            deadline: u48(deadline),
        };
        let signature = self.account().sign(&message, galen.id(), evidence).await?;
        let digest = typed::digest(&message, galen.id());
        Ok((KeyAsk { patient, grantee, consent, records, deadline, signature }, digest))
    }
}

/// Asks one proxy until it answers, refuses for good, or the time is over. `waits` is told once if the read is not
/// final yet.
async fn ask_until(
    client: &ProxyClient,
    place: &ProxyPlace,
    ask: &KeyAsk,
    deadline: Instant,
    waits: impl Fn(),
) -> Result<KeyAnswers, ProxyError> {
    let fault_deadline = deadline.min(Instant::now() + FAULT_PATIENCE);
    let (mut pause, mut told) = (FIRST_PAUSE, false);
    loop {
        let answer = client.ask(&place.url, ask).await;
        let error = match answer {
            Err(error) if error.is_passing() => error,
            other => return other,
        };
        let (not_final, retry) = match &error {
            ProxyError::Refused { cause, retry } => (cause == "not-final", *retry),
            _ => (false, None),
        };
        if not_final && !std::mem::replace(&mut told, true) {
            waits();
        }
        let next = Instant::now() + retry.unwrap_or(pause);
        if next > if not_final { deadline } else { fault_deadline } {
            return Err(error);
        }
        tokio::time::sleep_until(next).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

impl Round<'_> {
    /// What the chain says of the records now.
    async fn look(&mut self, records: &[RecordKey]) -> Result<(), Error> {
        let find = |chart: &galen_index::Chart| {
            let found = records.iter().map(|key| (record_word(key), chart.record(key.id())));
            found.map(|(word, record)| (word, record.cloned())).collect::<Vec<_>>()
        };
        let found = self.grantee.galen().with_chart(self.grant.patient(), find).await?;
        for ((word, record), key) in found.into_iter().zip(records) {
            self.records.insert(word, record.ok_or(Error::NoRecord(key.id()))?);
        }
        Ok(())
    }

    /// Takes what a proxy answered. The inner error is the proxy's own fault, or its refusal.
    async fn take(
        &mut self,
        place: &ProxyPlace,
        answer: Result<KeyAnswers, ProxyError>,
    ) -> Result<Result<(), ProxyError>, Error> {
        let answers = match answer.and_then(|answers| self.opened(answers)) {
            Ok(answers) => answers,
            Err(error) => return Ok(Err(error)),
        };
        let (mut right, mut fault) = (0, None);
        let mut counts: BTreeMap<U256, usize> = BTreeMap::new();
        for answer in answers {
            let count = counts.entry(answer.record).or_default();
            *count += 1;
            if *count > MAX_ANSWERS {
                continue;
            }
            match self.take_one(place, &answer).await? {
                Ok(()) => right += 1,
                Err(error) => fault = Some(error),
            }
        }
        let none = ProxyError::Answer("it answers for no record");
        Ok(if right > 0 { Ok(()) } else { Err(fault.unwrap_or(none)) })
    }

    fn opened(&self, answers: KeyAnswers) -> Result<Vec<KeyAnswer>, ProxyError> {
        let Some(sealed) = answers.sealed else { return Ok(answers.answers) };
        let key = self.grantee.identity_key();
        let text = open_note(&key, KEYS_LABEL, self.digest.as_slice(), &sealed);
        let text = text.map_err(|_| ProxyError::Wrong("it is not sealed to this reader"))?;
        serde_json::from_slice(&text).map_err(|_| ProxyError::Answer("not what was asked for"))
    }

    /// Checks one answer and keeps it if it is right.
    async fn take_one(
        &mut self,
        place: &ProxyPlace,
        told: &KeyAnswer,
    ) -> Result<Result<(), ProxyError>, Error> {
        let wrong = |fault| Ok(Err(ProxyError::Wrong(fault)));
        let Ok(content) = told.content.parse::<ContentRef>() else {
            return wrong("it names no content");
        };
        let Some((id, segment, version)) = self.version(told, &content).await? else {
            return wrong("it is for a record or content that was not asked for");
        };
        let at = (id, content);
        if !self.gathered.contains_key(&at) {
            let Some(header) = self.header(&content).await else {
                return Ok(Err(ProxyError::NoContent));
            };
            let Some(held) = self.grant.held(segment, header.epoch()).cloned() else {
                return wrong("it is for an epoch that there is no key of");
            };
            let galen = self.grantee.galen();
            let commitment = version.leaf.commitment;
            let context = SealContext { ledger: galen.id(), record: id, commitment };
            let (answers, pieces, version) = (Vec::new(), Vec::new(), version.id);
            let new = Gathered { version, header, context, held, answers, pieces, key: None };
            self.gathered.insert(at, new);
        }
        let Some(gathered) = self.gathered.get_mut(&at) else { return wrong("it is lost") };
        Ok(gathered.add(place, segment, told))
    }

    /// The record, and the version that has the content an answer is for. The chart may be behind the proxy's.
    async fn version(
        &mut self,
        told: &KeyAnswer,
        content: &ContentRef,
    ) -> Result<Option<(RecordId, galen_types::Segment, Version)>, Error> {
        for again in [false, true] {
            if again {
                let keys: Vec<RecordKey> = self.records.values().map(|it| it.key).collect();
                self.look(&keys).await?;
            }
            let Some(record) = self.records.get(&told.record) else { return Ok(None) };
            let of = |version: &&Version| {
                version.id.0 == told.version
                    && version.contents.iter().any(|entry| entry.content == *content)
            };
            if let Some(version) = record.versions.iter().find(of) {
                return Ok(Some((record.key.id(), record.key.segment, version.clone())));
            }
        }
        Ok(None)
    }

    /// The header of a content; `None` if it cannot be had or is none.
    async fn header(&mut self, content: &ContentRef) -> Option<Header> {
        if let Some(known) = self.headers.get(content) {
            return Some(known.clone());
        }
        let storage = &self.grantee.galen().storage;
        let read = storage.read_range(content, 0..HEADER_LEN as u64).await;
        let header = Header::parse(&read.ok()?).ok()?;
        self.headers.insert(*content, header.clone());
        Some(header)
    }

    /// Every record with its keys, once there is one for each.
    fn unlocked(&self, records: &[RecordKey]) -> Option<Vec<Unlocked>> {
        let one = |key: &RecordKey| {
            let record = self.records.get(&record_word(key))?;
            let with_keys = |version: &Version| {
                let entries = version.contents.iter();
                let keys = entries.filter_map(|entry| {
                    let gathered = self.gathered.get(&(key.id(), entry.content))?;
                    let key = gathered.key.clone()?;
                    (gathered.version == version.id).then_some((entry.content, key))
                });
                let keys: BTreeMap<ContentRef, DataKey> = keys.collect();
                let unlocked = |keys| Unlocked {
                    record: *key,
                    version: version.clone(),
                    key: ReaderKey::Contents(Arc::new(keys)),
                };
                (!keys.is_empty()).then(|| unlocked(keys))
            };
            record.versions.iter().rev().find_map(with_keys)
        };
        records.iter().map(one).collect()
    }
}

impl Gathered {
    /// Keeps an answer that is right, and makes the key of enough of them.
    fn add(
        &mut self,
        place: &ProxyPlace,
        segment: galen_types::Segment,
        told: &KeyAnswer,
    ) -> Result<(), ProxyError> {
        let wrong = ProxyError::Wrong;
        let keys = self.held.key.share_keys().ok_or(wrong("no proxy has a part of this key"))?;
        let number = self.held.proxies.iter().position(|it| it == place).map(|at| at + 1);
        let answer = told.answer.as_ref().try_into().map(Answer::from_bytes);
        let answer = answer.map_err(|_| wrong("it is no answer"))?;
        if number != Some(usize::from(answer.index())) {
            return Err(wrong("it is another proxy's answer"));
        }
        let epoch = self.header.epoch();
        let capsule = self.header.capsule().ok_or(wrong("the content has no capsule"))?;
        answer
            .verify(keys, &self.context, segment, epoch, capsule)
            .map_err(|_| wrong("its proof does not hold"))?;
        let piece = match &*self.held.key {
            HeldKey::Offered { kem, .. } => {
                let piece = told.kem_piece.as_ref().and_then(|it| it.as_ref().try_into().ok());
                let piece = piece.and_then(|bytes| SecretPiece::from_bytes(bytes).ok());
                let right = piece.filter(|it| it.index() == answer.index() && kem.holds(it));
                Some(right.ok_or(wrong("its piece of the key is not the right one"))?)
            }
            HeldKey::Whole(_) | HeldKey::Shared { .. } => None,
        };
        if self.answers.iter().any(|known| known.index() == answer.index()) {
            return Ok(());
        }
        self.answers.push(answer);
        self.pieces.extend(piece);
        if self.key.is_none() && self.answers.len() >= usize::from(keys.threshold()) {
            self.key = self.data_key(segment);
        }
        Ok(())
    }

    /// `None` if the content is sealed to somebody else than it says: an older content may open.
    fn data_key(&self, segment: galen_types::Segment) -> Option<DataKey> {
        let (header, context, answers) = (&self.header, &self.context, self.answers.as_slice());
        match &*self.held.key {
            HeldKey::Whole(_) => None,
            HeldKey::Shared { half, keys } => {
                header.unwrap_shared(context, half, keys, answers).ok()
            }
            HeldKey::Offered { keys, kem } => {
                let seed = join_secret(kem, &self.pieces).ok()?;
                let half = ReaderHalf::of_network(segment, header.epoch(), &seed);
                header.unwrap_shared(context, &half, keys, answers).ok()
            }
        }
    }
}
