//! Attacks on the routes of a real proxy: logs that go away or never were, keys of others, what a thief finds.

use std::fs;

use alloy_primitives::{B256, hex};
use galen_chain::{Account, TreeChange, deploy};
use galen_crypto::{
    Answer, Header, IdentityPublic, OpenError, OpenKey, Opened, ShareEnvelope, ShareTerms,
    ShareText, open,
};
use galen_sdk::{
    Galen, Identity,
    proxies::wire::{KeyAnswer, KeyAnswers},
};
use galen_services::proxy::{Proxy, rules::Policy};
use galen_types::{ConsentTree, ContentRef, Purpose};
use tempfile::TempDir;

use crate::{
    play::{Ask, connect},
    steps::{MEMBER, PERSON},
    vault::{EPOCH, Given, Vault, identity, payload, share_envelope, sign},
    whole::{Whole, key_ask, open as open_proxy, post},
    world::{Base, LATER, PATIENT, PROXY, RELAYER, SEALED, World, consent, key, number_of, record},
};

/// Seconds for which a read is answered here.
const WINDOW: u64 = 3_600;

/// Somebody who has no part in anything.
const STRANGER: u8 = 4;

/// A world, and a proxy that the patient gives shares to.
struct Stage {
    world: World<'static>,
    finality: u8,
    directory: TempDir,
    proxy: Proxy,
}

impl Stage {
    async fn new(finality: u8) -> Self {
        let base: &Base = &SEALED;
        let world = World::new(base, finality.into());
        let directory = tempfile::tempdir().unwrap();
        let proxy = Self::open(&world, &directory, finality).await;
        Self { world, finality, directory, proxy }
    }

    async fn open(world: &World<'_>, directory: &TempDir, finality: u8) -> Proxy {
        let policy = Policy { window: WINDOW, max_head_age: None, ..Policy::default() };
        let ledger = connect(world, &SEALED).await;
        open_proxy(ledger, vault(), directory.path(), finality.into(), policy)
    }

    /// Is stopped, and started again with what it has.
    async fn restart(self) -> Self {
        let Self { world, finality, directory, proxy } = self;
        drop(proxy);
        let proxy = Self::open(&world, &directory, finality).await;
        Self { world, finality, directory, proxy }
    }

    async fn send(&self, envelope: &ShareEnvelope) -> Result<(), String> {
        post(&mut self.proxy.router(), "/v1/shares", envelope.encode()).await
    }

    async fn give(&self, number: u8) {
        let envelope = given(number).envelope.clone();
        post::<()>(&mut self.proxy.router(), "/v1/shares", envelope).await.unwrap();
    }

    async fn ask(&self, who: u8, consent: u8) -> Result<Vec<KeyAnswer>, String> {
        let (found, digest) = self.ask_as(who, consent, (number_of(who), 0)).await?;
        Whole::unpack(&identity(number_of(who)), digest, found)
    }

    /// Asks for the first record, signed with some key after so many rotations.
    async fn ask_as(
        &self,
        who: u8,
        consent: u8,
        by: (u8, u32),
    ) -> Result<(KeyAnswers, B256), String> {
        let ask = Ask { who, consent, records: 1, clock: 0, seen: 0 };
        let deadline = self.world.chain.head().timestamp + 60;
        let (request, digest) = key_ask(SEALED.ledger.id(), &ask, deadline, by);
        let body = serde_json::to_vec(&request).unwrap();
        Ok((post(&mut self.proxy.router(), "/v1/keys", body).await?, digest))
    }
}

fn vault() -> &'static Vault {
    SEALED.vault.as_ref().unwrap()
}

fn given(number: u8) -> &'static Given {
    &vault().given[usize::from(number)]
}

fn answers_of(found: &[KeyAnswer]) -> Vec<Answer> {
    let answer = |it: &KeyAnswer| Answer::from_bytes(&it.answer[..].try_into().unwrap());
    found.iter().map(answer).collect()
}

/// What a reader with a consent's half makes of answers: the content of a version of a record, if they open it.
fn opened(
    number: u8,
    (of, version, content): (u8, u8, u8),
    answers: &[Answer],
) -> Result<Opened, OpenError> {
    let context = vault().context(SEALED.ledger.id(), of, version);
    let sealed = vault().bytes(&vault().content(of, version, content));
    let segment = record(of).segment;
    let (_, half, keys) = given(number).halves.iter().find(|it| it.0 == segment).unwrap();
    let data = Header::parse(sealed)?.unwrap_shared(&context, half, keys, answers)?;
    open(sealed, context, OpenKey::Data(&data))
}

fn refused<T: std::fmt::Debug>(cause: &str, answer: &Result<T, String>) -> bool {
    answer.as_ref().is_err_and(|it| it == cause)
}

/// However deep the chain may change, nothing is served while the log can go away, and nothing after it did; sent
/// again by whoever has it, the same log counts.
#[tokio::test]
async fn a_log_that_can_go_away_is_not_served() {
    for depth in 1..=64 {
        let mut stage = Stage::new(depth).await;
        stage.give(0).await;
        stage.world.tell(&format!("grant 0; log 0 0 1 1; mine {}", depth - 1));
        let early = stage.ask(PERSON, 0).await;
        assert!(refused("not-final", &early), "{depth}: {early:?}");
        stage.world.tell(&format!("reorg {depth} 0; mine {}", depth + 1));
        let gone = stage.ask(PERSON, 0).await;
        assert!(refused("not-logged", &gone), "{depth}: {gone:?}");
        stage.world.tell(&format!("replay 0; mine {depth}"));
        let found = stage.ask(PERSON, 0).await.unwrap_or_else(|it| panic!("{depth}: {it}"));
        let opened = opened(0, (0, 0, 0), &answers_of(&found)).unwrap();
        assert_eq!(opened.payload.expose(), payload(0, 0), "{depth}");
    }
}

/// What was final is gone: no chain that does that can be relied on. A proxy that starts anew knows nothing of it, and
/// finds no log.
#[tokio::test]
async fn a_chain_that_takes_back_what_was_final_stops_the_proxy() {
    let mut stage = Stage::new(1).await;
    stage.give(0).await;
    stage.world.tell("grant 0; log 0 0 1 0; mine 1");
    stage.ask(PERSON, 0).await.unwrap();
    let head = stage.world.chain.reorg(2).unwrap().number;
    for _ in 0..8 {
        stage.world.chain.mine().unwrap();
    }
    assert_eq!(stage.world.chain.head().number, head + 8);
    for _ in 0..2 {
        let stopped = stage.ask(PERSON, 0).await;
        assert!(refused("chain", &stopped), "{stopped:?}");
    }
    let stage = stage.restart().await;
    let gone = stage.ask(PERSON, 0).await;
    assert!(refused("not-logged", &gone), "{gone:?}");
}

/// What looks like a log: of another contract, of another ledger with the same people, of a transaction that failed.
#[tokio::test]
async fn only_a_log_of_the_ledger_itself_counts() {
    let mut stage = Stage::new(1).await;
    for number in [0, 1] {
        stage.give(number).await;
    }
    // The second log fails: its consent is not live.
    stage.world.tell("grant 1; fake 0 1 0; log 0 0 1 0; grant 0; mine 1");
    log_elsewhere(&stage).await;
    for number in [0, 1] {
        let answer = stage.ask(PERSON, number).await;
        assert!(refused("not-logged", &answer), "consent {number}: {answer:?}");
    }
    // And what counts.
    let mut stage = Stage::new(1).await;
    stage.give(0).await;
    stage.world.tell("grant 0; log 0 0 1 0; mine 1");
    stage.ask(PERSON, 0).await.unwrap();
}

/// The same people, consents and record on another ledger of the same chain.
async fn log_elsewhere(stage: &Stage) {
    let relayer = account(RELAYER);
    let founders = [account(PATIENT).id()];
    let provider = stage.world.chain.provider();
    let salt = B256::repeat_byte(1);
    let made = deploy(provider.clone(), &relayer, &founders, salt).await.unwrap();
    let other = galen_chain::Ledger::connect(provider, made.ledger, made.block).await.unwrap();
    let other = other.paid_by(&relayer);
    let terms = consent(1);
    let tree: ConsentTree = [terms.id()].into_iter().collect();
    let change = TreeChange {
        tree: tree.clone(),
        version: 0,
        revoked: Vec::new(),
        granted: vec![terms.id()],
        openings: vec![terms],
    };
    other.change_consents(&account(PATIENT), change, *LATER).await.unwrap();
    let proof = tree.proof(terms.id()).unwrap();
    let (reader, records) = (account(number_of(PERSON)), [record(0)]);
    other.log_access(&reader, &terms, Purpose::Treatment, proof, &records, *LATER).await.unwrap();
    stage.world.chain.mine().unwrap();
}

fn account(number: u8) -> Account {
    Account::from(key(number).clone())
}

/// The shares of the first consent as the patient sends them, before somebody changes them.
fn text(issued: u64) -> ShareText {
    let envelope = ShareEnvelope::decode(&given(0).envelope).unwrap();
    let text = envelope.open(&identity(PROXY).keys().identity()).unwrap();
    ShareText { issued, ..text }
}

fn sealed_to(key: &IdentityPublic, change: impl Fn(&mut ShareTerms)) -> ShareEnvelope {
    let mut terms = *share_envelope(SEALED.ledger.id(), 0, &text(*LATER)).terms();
    change(&mut terms);
    let mut envelope = ShareEnvelope::seal(terms, key, &text(*LATER)).unwrap();
    envelope.deadline = *LATER;
    envelope.siblings = vec![envelope.leaf()];
    sign(&mut envelope, PATIENT);
    envelope
}

/// Nobody puts other shares, another key or another reader in the place of those that the patient signed for.
#[tokio::test]
async fn shares_of_others_do_not_take_the_place_of_the_patients() {
    let ledger = SEALED.ledger.id();
    let mut stage = Stage::new(1).await;
    stage.give(0).await;
    stage.world.tell("grant 0; log 0 0 1 0; mine 1");
    let right = || share_envelope(ledger, 0, &text(*LATER));
    let (own, theirs) = (identity(PROXY), identity(STRANGER));
    let (own, theirs) = (own.keys().identity(), theirs.keys().identity());
    let stranger = |mut envelope: ShareEnvelope| {
        sign(&mut envelope, STRANGER);
        envelope
    };
    let unnamed = {
        let mut envelope = right();
        envelope.siblings = vec![B256::repeat_byte(1)];
        sign(&mut envelope, PATIENT);
        envelope
    };
    let late = {
        let mut envelope = right();
        envelope.deadline = stage.world.chain.head().timestamp - 1;
        sign(&mut envelope, PATIENT);
        envelope
    };
    let foreign = galen_types::LedgerId { chain_id: ledger.chain_id + 1, ..ledger };
    let other_reader = ShareText { grantee: account(STRANGER).id(), ..text(*LATER) };
    let rows = [
        ("sealed to a key of another", sealed_to(theirs.public(), |_| {}), "elsewhere"),
        (
            "for another proxy",
            sealed_to(own.public(), |it| it.proxy = account(STRANGER).id()),
            "elsewhere",
        ),
        ("for another chain", sealed_to(own.public(), |it| it.ledger = foreign), "elsewhere"),
        ("signed by a stranger", stranger(right()), "signature"),
        ("not among what was signed", unnamed, "signature"),
        ("out of date", late, "deadline"),
        ("older than what is there", share_envelope(ledger, 0, &text(0)), "stale"),
        ("for another reader", share_envelope(ledger, 0, &other_reader), "malformed"),
    ];
    for (row, envelope, cause) in rows {
        let answer = stage.send(&envelope).await;
        assert!(refused(cause, &answer), "{row}: {answer:?}");
        // The reader is still answered, with the shares that fit its half.
        let found = stage.ask(PERSON, 0).await.unwrap();
        opened(0, (0, 0, 0), &answers_of(&found)).unwrap();
    }
    stage.send(&right()).await.unwrap();

    // A key that the patient gave up signs nothing any more.
    let node = connect(&stage.world, &SEALED).await.paid_by(&account(RELAYER));
    node.rotate(&account(PATIENT), &account(STRANGER), *LATER).await.unwrap();
    let newer = share_envelope(ledger, 0, &text(*LATER + 1));
    assert!(refused("signature", &stage.send(&newer).await));
    stage.send(&stranger(newer)).await.unwrap();
}

/// Who reads is who controls the id now, with the key that is published now.
#[tokio::test]
async fn keys_of_readers_are_those_of_today() {
    let mut stage = Stage::new(1).await;
    for number in [0, 3] {
        stage.give(number).await;
    }
    stage.world.tell("grant 0; grant 3; log 0 0 1 0; log 1 3 1 0; mine 1");
    let (person, member) = (number_of(PERSON), number_of(MEMBER));
    for (who, consent, by) in [(PERSON, 0, STRANGER), (MEMBER, 3, person), (PERSON, 0, PATIENT)] {
        let answer = stage.ask_as(who, consent, (by, 0)).await;
        assert!(refused("signature", &answer), "{answer:?}");
    }

    // The person's key was stolen, and the id has another one: the thief gets nothing, its owner does.
    let node = connect(&stage.world, &SEALED).await.paid_by(&account(RELAYER));
    node.rotate(&account(person), &account(STRANGER), *LATER).await.unwrap();
    for rotations in [0, 1] {
        let thief = stage.ask_as(PERSON, 0, (person, rotations)).await;
        assert!(refused("signature", &thief), "{thief:?}");
    }
    let (found, _) = stage.ask_as(PERSON, 0, (STRANGER, 1)).await.unwrap();
    opened(0, (0, 0, 0), &answers_of(&found.answers)).unwrap();

    // Nobody publishes a key for the member but the member. From then on answers are sealed to the new one alone.
    let galen = Galen::new(node.clone(), vault().storage.clone());
    let seed = |n| galen_crypto::RootSeed::from_bytes([n; 32]);
    let forged = Identity::new(account(STRANGER).for_id(account(member).id()), &seed(90));
    galen.grantee(forged).publish_keys().await.unwrap_err();
    stage.ask(MEMBER, 3).await.unwrap();
    let renewed = Identity::new(account(member), &seed(91));
    galen.grantee(renewed.clone()).publish_keys().await.unwrap();
    let (found, digest) = stage.ask_as(MEMBER, 3, (member, 0)).await.unwrap();
    Whole::unpack(&identity(member), digest, found.clone()).unwrap_err();
    let answers = Whole::unpack(&renewed, digest, found).unwrap();
    assert_eq!(answers.len(), 1);
    assert!(answers[0].kem_piece.is_some());
}

/// Whether one of the ways in which a secret may be written stands in some bytes.
fn holds(bytes: &[u8], secret: &[u8]) -> bool {
    let hex = hex::encode(secret);
    let forms = [secret.to_vec(), hex.clone().into_bytes(), hex.to_uppercase().into_bytes()];
    forms.iter().any(|form| bytes.windows(form.len()).any(|window| window == form))
}

/// Everything that lies in the proxy's directory.
fn on_disk(directory: &TempDir) -> Vec<u8> {
    let files = fs::read_dir(directory.path()).unwrap();
    files.flat_map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
}

/// Who takes the disk finds no share, and after the revocation not even with the proxy's own keys.
#[tokio::test]
async fn a_thief_of_the_store_finds_nothing() {
    let mut stage = Stage::new(1).await;
    for number in [0, 1, 3] {
        stage.give(number).await;
    }
    stage.world.tell("grant 0; grant 1; grant 3; log 0 0 1 0; log 1 3 1 0; mine 1");
    stage.ask(PERSON, 0).await.unwrap();
    stage.ask(MEMBER, 3).await.unwrap();
    let disk = on_disk(&stage.directory);
    assert!(holds(&disk, consent(0).id().0.as_slice()), "what is searched for is found");
    let secrets: Vec<_> = [0, 1, 3].into_iter().flat_map(|it| &given(it).secrets).collect();
    assert!(secrets.len() >= 5);
    for secret in secrets {
        assert!(!holds(&disk, secret), "a share lies open");
    }
    assert!(!holds(&disk, &[PROXY; 32]), "the seed lies there");

    stage.world.tell("revoke 0; revoke 1; mine 2");
    assert_eq!(stage.proxy.tidy().await, 2);
    // With the disk and the seed.
    let stage = stage.restart().await;
    assert_eq!(stage.proxy.consents(), 1);
    let disk = on_disk(&stage.directory);
    assert!(holds(&disk, consent(3).id().0.as_slice()));
    let answer = stage.ask(PERSON, 0).await;
    assert!(refused("revoked", &answer), "{answer:?}");
}

/// A revoked reader with all that it ever saw, and with fewer proxies than are needed on its side.
#[tokio::test]
async fn what_was_read_opens_nothing_else() {
    let mut stage = Stage::new(1).await;
    stage.give(1).await;
    stage.world.tell("grant 1; log 0 1 1 0; mine 1");
    let mut seen = answers_of(&stage.ask(PERSON, 1).await.unwrap());
    stage.world.tell("reseal 0; log 0 1 1 0; mine 1");
    seen.extend(answers_of(&stage.ask(PERSON, 1).await.unwrap()));
    stage.world.tell("revoke 1; reseal 0; amend 0; mine 1");
    let refusal = stage.ask(PERSON, 1).await;
    assert!(refused("revoked", &refusal), "{refusal:?}");
    for known in [(0, 0, 0), (0, 0, 1)] {
        opened(1, known, &seen).unwrap();
    }
    for unknown in [(0, 0, 2), (0, 1, 0), (1, 0, 0), (2, 0, 0)] {
        assert!(opened(1, unknown, &seen).is_err(), "{unknown:?}");
    }

    // Two of three are needed: one proxy that hands over its share, with the reader, is one too few.
    let segment = record(0).segment;
    let secret = identity(PATIENT).keys().segment(segment, EPOCH);
    let split = secret.split(2, 3).unwrap();
    let context = vault().context(SEALED.ledger.id(), 0, 1);
    let header = Header::parse(vault().bytes(&vault().content(0, 1, 0))).unwrap();
    let answer = |it: usize| split.shares[it].answer(&context, header.capsule().unwrap()).unwrap();
    let unwrap =
        |answers: &[Answer]| header.unwrap_shared(&context, &split.half, &split.keys, answers);
    for one in 0..3 {
        assert!(unwrap(&[answer(one)]).is_err());
        assert!(unwrap(&[answer(one), answer(one)]).is_err(), "twice the same");
        assert!(unwrap(&[vec![answer(one)], seen.clone()].concat()).is_err());
    }
    assert!(unwrap(&[answer(2), answer(0)]).is_ok());
}

/// A proxy that makes answers up, or changes them, is found out, and costs a reader nothing else.
#[tokio::test]
async fn forged_answers_are_found() {
    let mut stage = Stage::new(1).await;
    stage.give(0).await;
    stage.world.tell("grant 0; log 0 0 1 0; mine 1");
    let found = stage.ask(PERSON, 0).await.unwrap();
    let right: [u8; Answer::LEN] = found[0].answer[..].try_into().unwrap();
    let at: ContentRef = found[0].content.parse().unwrap();
    let header = Header::parse(vault().bytes(&at)).unwrap();
    let capsule = header.capsule().unwrap();
    let context = vault().context(SEALED.ledger.id(), 0, 0);
    let (segment, _, keys) = &given(0).halves[0];
    let verify = |bytes: &[u8; Answer::LEN]| {
        Answer::from_bytes(bytes).verify(keys, &context, *segment, EPOCH, capsule)
    };
    verify(&right).unwrap();
    let mut forged = Vec::new();
    for place in 0..Answer::LEN {
        let mut bytes = right;
        bytes[place] ^= 1;
        assert!(verify(&bytes).is_err(), "byte {place}");
        forged.push(Answer::from_bytes(&bytes));
    }
    assert!(opened(0, (0, 0, 0), &forged).is_err());
    forged.push(Answer::from_bytes(&right));
    opened(0, (0, 0, 0), &forged).unwrap();
    // The right answer for another content is none for this one.
    let other = Header::parse(vault().bytes(&vault().content(0, 0, 1))).unwrap();
    let answer = Answer::from_bytes(&right);
    assert!(answer.verify(keys, &context, *segment, EPOCH, other.capsule().unwrap()).is_err());
}
