//! What a proxy keeps: over restarts, over epochs, over recoveries, and unreadable.

use std::{
    fs,
    time::{Duration, Instant},
};

use alloy_primitives::{Address, B256, Bytes, aliases::U48, hex, keccak256};
use galen_chain::{GuardianSet, RecoveryTerms, typed};
use galen_crypto::{
    GuardianTerms, PieceEnvelope, PieceTerms, PieceText, ShareText, open_note, split_secret,
};
use galen_fhir::Category;
use galen_sdk::{
    Identity,
    proxies::wire::{KeyAnswers, Offers, PieceAnswer, PieceAsk, Report, ReportEntry},
};
use galen_types::{ContentRef, Salt};

use crate::{
    refusals::report_ask,
    restarted, restarted_with,
    stage::{
        DEPTH, HOSPITAL, Node, PATIENT, PHYSICIAN, PROXY, Stage, account, cause, identity, now,
        place, seed,
    },
};

/// Seconds that a recovery waits.
const DELAY: u32 = 3 * 86_400;

/// Numbers of two guardians.
const GUARDIANS: [u8; 2] = [40, 41];

/// A new epoch adds to what is held; what its envelope says is over is deleted; all of it outlives the process.
#[tokio::test]
async fn shares_of_epochs_are_joined_and_end_when_the_patient_says() {
    let stage = Stage::new().await;
    let old = stage.accepted(Category::Vitals, 1).await;
    let consent = stage.consent(account(PHYSICIAN).id(), Category::Vitals).await;
    let node = stage.node(0, |_| {});
    let deliver = async |node: &Node, epoch: u32, issued: u64, edit: fn(&mut ShareText)| {
        let mut texts = stage.texts(&consent, 1, 1, epoch, issued);
        edit(&mut texts[0]);
        let envelope = stage.seal(&consent, epoch, &texts, PATIENT).await.remove(0);
        node.take("/v1/shares", &envelope.encode()).await;
    };
    let first = ContentRef::swarm(B256::repeat_byte(1));
    let dated = now();
    deliver(&node, 1, dated, |text| text.grant = Some(ContentRef::swarm(B256::repeat_byte(1))))
        .await;
    stage.patient.next_epoch().await.unwrap();
    let new = stage.accepted(Category::Vitals, 1).await;
    let both = [old[0], new[0]];
    stage.logged(&stage.physician, &consent, &both).await;
    let asked = async |node: &Node, records| {
        let ask = stage.ask(PHYSICIAN, consent.id(), records).await;
        let (status, answer) = node.send("/v1/keys", &ask).await;
        if status == 200 {
            let answers: KeyAnswers = serde_json::from_value(answer).unwrap();
            return Ok(answers.answers.iter().map(|it| it.epoch).collect::<Vec<u32>>());
        }
        Err(cause((status, answer)).1)
    };
    assert_eq!(asked(&node, &old).await, Ok(vec![1]));
    assert_eq!(asked(&node, &new).await, Err("no-share".to_owned()));
    // Granted and started anew within one second.
    deliver(&node, 2, dated, |text| text.grant = Some(ContentRef::swarm(B256::repeat_byte(2))))
        .await;
    let other = stage.texts(&consent, 1, 1, 2, dated);
    let other = stage.seal(&consent, 2, &other, PATIENT).await.remove(0);
    assert_eq!(cause(node.post("/v1/shares", other.encode()).await), (409, "stale".to_owned()));
    let node = restarted(&stage, node);
    assert_eq!(asked(&node, &both).await, Ok(vec![1, 2]));

    // Both envelopes are named, the newer last, each with what the patient signed.
    let ask = stage.ask(PHYSICIAN, Default::default(), &[]).await;
    let (_, offers) = node.send("/v1/offers", &ask).await;
    let offers: Offers = serde_json::from_value(offers).unwrap();
    let named: Vec<u32> = offers.grants.iter().map(|grant| grant.epoch).collect();
    assert_eq!((named, &offers.grants[0].content), (vec![1, 2], &first.to_string()));
    assert!(offers.grants.iter().all(|it| it.siblings.len() == 1 && !it.signature.is_empty()));

    deliver(&node, 2, now() + 2, |text| text.oldest_epoch = 2).await;
    let node = restarted(&stage, node);
    assert_eq!(asked(&node, &new).await, Ok(vec![2]));
    assert_eq!(asked(&node, &old).await, Err("no-share".to_owned()));
}

/// A new process does not start counting anew what was read without a grant.
#[tokio::test]
async fn limits_of_open_segments_outlive_the_process() {
    let stage = Stage::new().await;
    let records = stage.accepted(Category::Vitals, 2).await;
    let consent = stage.consent(Address::ZERO, Category::Vitals).await;
    let two = |config: &mut galen_services::proxy::ProxyConfig| config.limits.open_per_hour = 2;
    let node = stage.node(0, two);
    node.take("/v1/shares", &stage.shares(&consent, 1, 1).await[0]).await;
    stage.logged(&stage.hospital, &consent, &records).await;
    let ask = stage.ask(HOSPITAL, consent.id(), &records).await;
    assert_eq!(node.cause("/v1/keys", &ask).await.0, 200);
    let one = stage.ask(HOSPITAL, consent.id(), &records[..1]).await;
    assert_eq!(node.cause("/v1/keys", &one).await, (429, "limit".to_owned()));
    let node = restarted_with(&stage, node, two);
    assert_eq!(node.cause("/v1/keys", &one).await, (429, "limit".to_owned()));
}

/// A seed's piece, sealed to the proxy and signed by who controls the patient's id.
async fn piece(stage: &Stage, guardians: &GuardianSet, issued: u64) -> (PieceText, Vec<u8>) {
    let (pieces, digests) = split_secret(&[0x5e; 32], 1, 1).unwrap();
    let proxy = identity(PROXY);
    let text = PieceText {
        piece: pieces[0].clone(),
        digests,
        of: GuardianTerms {
            guardians: guardians.guardians.clone(),
            threshold: guardians.threshold,
            final_threshold: guardians.final_threshold,
            salt: guardians.salt,
            delay: DELAY,
        },
        identity: stage.keys.identity().public().hash(),
        halves: 2,
        proxies: vec![place(0)],
        issued,
    };
    let terms = PieceTerms {
        ledger: stage.ledger.id(),
        id: stage.patient.id(),
        holder: proxy.id(),
        half: 1,
        guardians: guardians.commitment(),
    };
    let mut envelope = PieceEnvelope::seal(terms, proxy.keys().identity().public(), &text).unwrap();
    envelope.siblings = vec![envelope.leaf()];
    envelope.deadline = now() + 86_400;
    let message = typed::Pieces {
        id: terms.id,
        guardians: terms.guardians,
        envelopes: envelope.siblings.clone(),
        deadline: U48::from(envelope.deadline),
    };
    envelope.signature = stage.sign(PATIENT, &message).await;
    (text, envelope.encode())
}

/// A request for the piece by who holds this key, and the digest that the answer is sealed for.
async fn piece_ask(stage: &Stage, who: u8, controller: u8, rotations: u32) -> (PieceAsk, B256) {
    let recipient = seed(77).pseudonym(stage.patient.id()).identity().public().as_bytes().to_vec();
    let deadline = stage.time().await + 600;
    let message = typed::PieceRequest {
        id: stage.patient.id(),
        controller: account(controller).id(),
        rotations,
        recipientKey: keccak256(&recipient),
        deadline: U48::from(deadline),
    };
    let signature = stage.sign(who, &message).await;
    let digest = typed::digest(&message, stage.ledger.id());
    let (id, recipient) = (message.id, Bytes::from(recipient));
    (PieceAsk { id, recipient, deadline, signature }, digest)
}

/// Only who took over by a recovery that finished finally gets the piece, once a day, and the report says so.
#[tokio::test]
async fn a_piece_is_given_after_a_recovery_and_to_nobody_else() {
    const SAVIOUR: u8 = 42;
    let stage = Stage::new().await;
    let mut guardians = GUARDIANS.map(|n| account(n).id()).to_vec();
    guardians.sort_unstable();
    let set = GuardianSet {
        guardians,
        threshold: 1,
        final_threshold: 2,
        salt: Salt(B256::repeat_byte(9)),
    };
    let (ledger, patient) = (&stage.ledger, stage.patient.id());
    let later = stage.time().await + 600;
    ledger.set_guardians(&account(PATIENT), Some((&set, DELAY)), later).await.unwrap();
    let node = stage.node(0, |_| {});
    let (text, envelope) = piece(&stage, &set, now()).await;
    node.take("/v1/pieces", &envelope).await;
    node.take("/v1/pieces", &envelope).await;
    let (_, older) = piece(&stage, &set, now() - 9).await;
    assert_eq!(cause(node.post("/v1/pieces", older).await), (409, "stale".to_owned()));
    let asked = async |node: &Node, who, controller, rotations| {
        let (ask, _) = piece_ask(&stage, who, controller, rotations).await;
        node.cause("/v1/release", &ask).await.1
    };
    assert_eq!(asked(&node, PATIENT, PATIENT, 0).await, "not-recovered", "the owner as ever");

    let nonce = ledger.guardianship(patient).await.unwrap().nonce;
    let controller = account(SAVIOUR).id();
    let recovery =
        RecoveryTerms { id: patient, controller, is_final: false, nonce, deadline: later };
    let signing = GUARDIANS.iter().find(|n| account(**n).id() == set.guardians[0]).unwrap();
    let message = ledger.recovery_message(set.guardians[0], &recovery).await.unwrap();
    let signatures = vec![stage.sign(*signing, &message).await, Bytes::new()];
    ledger.start_recovery(&recovery, &set, signatures).await.unwrap();
    stage.mine(DEPTH);
    assert_eq!(asked(&node, SAVIOUR, SAVIOUR, 0).await, "signature", "who has only started");
    stage.chain.advance_time(u64::from(DELAY)).unwrap();
    ledger.finish_pending(patient).await.unwrap();
    assert_eq!(asked(&node, PATIENT, PATIENT, 0).await, "signature", "who was");
    assert_eq!(asked(&node, SAVIOUR, SAVIOUR, 1).await, "not-final");
    stage.mine(DEPTH);

    let (ask, digest) = piece_ask(&stage, SAVIOUR, SAVIOUR, 1).await;
    let (status, answer) = node.send("/v1/release", &ask).await;
    assert_eq!(status, 200, "{answer}");
    let answer: PieceAnswer = serde_json::from_value(answer).unwrap();
    let key = seed(77).pseudonym(patient).identity();
    let opened = open_note(&key, "galen.proxy.piece.v1", digest.as_slice(), &answer.sealed);
    assert_eq!(*opened.unwrap(), *text.encode());
    assert!(node.log.lock().unwrap().iter().any(|line| line.starts_with("RELEASED a piece")));
    let node = restarted(&stage, node);
    assert_eq!(asked(&node, SAVIOUR, SAVIOUR, 1).await, "limit", "twice in a day");

    report_tells_of_it(&stage, &node, SAVIOUR).await;

    // Handed on after the recovery, the id is nobody's whom guardians chose.
    let (next, deadline) = (account(SAVIOUR).for_id(patient), stage.time().await + 600);
    ledger.set_guardians(&next, None, deadline).await.unwrap();
    stage.chain.advance_time(u64::from(DELAY)).unwrap();
    ledger.finish_pending(patient).await.unwrap();
    let owner = Identity::new(next, &seed(PATIENT));
    stage.galen.rotate(&owner, &account(43)).await.unwrap();
    stage.mine(DEPTH);
    assert_eq!(asked(&node, 43, 43, 2).await, "not-recovered");
}

/// A piece that was given is in the report, of which the new controller is the reader.
async fn report_tells_of_it(stage: &Stage, node: &Node, who: u8) {
    let (patient, deadline) = (stage.patient.id(), stage.time().await + 600);
    let mut ask = report_ask(stage, who, 0).await;
    let message = typed::ReportRequest {
        patient,
        rotations: 1,
        since: U48::ZERO,
        deadline: U48::from(deadline),
    };
    (ask.deadline, ask.signature) = (deadline, stage.sign(who, &message).await);
    let (status, report) = node.send("/v1/report", &ask).await;
    assert_eq!(status, 200, "{report}");
    let report: Report = serde_json::from_value(report).unwrap();
    let entries: Vec<ReportEntry> = serde_json::from_str(&report.entries).unwrap();
    let given = (entries.len(), entries[0].grantee, entries[0].record);
    assert_eq!(given, (1, account(who).id(), B256::ZERO));
}

/// Whoever takes the disk has ids that the chain knows too, and nothing else.
#[tokio::test]
async fn nothing_readable_lies_on_disk() {
    let stage = Stage::new().await;
    let records = stage.accepted(Category::Vitals, 1).await;
    let named = stage.consent(account(PHYSICIAN).id(), Category::Vitals).await;
    let open = stage.consent(Address::ZERO, Category::Vitals).await;
    let node = stage.node(0, |_| {});
    let mut secrets: Vec<(&str, Vec<u8>)> = vec![
        ("the grantee", account(PHYSICIAN).id().to_vec()),
        ("the organization", account(HOSPITAL).id().to_vec()),
        ("the record", records[0].id().as_bytes().to_vec()),
        ("an address", b"proxy-0.example".to_vec()),
        ("a cause", b"not-logged".to_vec()),
    ];
    for consent in [&named, &open] {
        let texts = stage.texts(consent, 1, 1, 1, now());
        for shared in &texts[0].segments {
            secrets.push(("a share", shared.share.expose().to_vec()));
            secrets.push(("its key", shared.keys.to_bytes()));
            if let Some((piece, digests)) = &shared.kem {
                secrets.push(("a piece", piece.to_bytes()[1..].to_vec()));
                secrets.push(("its digests", digests.to_bytes()));
            }
        }
        let envelope = stage.seal(consent, 1, &texts, PATIENT).await.remove(0);
        node.take("/v1/shares", &envelope.encode()).await;
    }
    let ask = stage.ask(PHYSICIAN, named.id(), &records).await;
    assert_eq!(node.cause("/v1/keys", &ask).await.1, "not-logged");
    stage.logged(&stage.physician, &named, &records).await;
    stage.logged(&stage.hospital, &open, &records).await;
    assert_eq!(node.keys(&stage.ask(PHYSICIAN, named.id(), &records).await).await.answers.len(), 1);
    node.keys(&stage.ask(HOSPITAL, open.id(), &records).await).await;
    let of = GuardianSet {
        guardians: vec![account(40).id()],
        threshold: 1,
        final_threshold: 0,
        salt: Salt(B256::repeat_byte(9)),
    };
    let (_, envelope) = piece(&stage, &of, now()).await;
    node.take("/v1/pieces", &envelope).await;
    secrets.push(("a piece of the seed", vec![0x5e; 32]));
    secrets.push(("a guardian", account(40).id().to_vec()));

    let mut files = 0;
    for file in fs::read_dir(stage.store(0)).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        files += usize::from(!bytes.is_empty());
        for (name, secret) in &secrets {
            let text = hex::encode(secret);
            for form in [secret.as_slice(), text.as_bytes()] {
                let found = bytes.windows(form.len()).any(|window| window == form);
                assert!(!found, "{name} is in {}", path.display());
            }
        }
        // That it is looked for as it would be found: the patient's id is there, as the chain has it.
        let own = stage.patient.id();
        let known = bytes.windows(20).any(|window| window == own.as_slice());
        assert!(known || bytes.is_empty() || !path.ends_with("proxy.db"), "{}", path.display());
    }
    assert!(files > 0);
}

/// What was begun is ended and written down, whether or not somebody waits for it.
#[tokio::test]
async fn a_caller_that_hangs_up_changes_nothing() {
    let stage = Stage::new().await;
    let records = stage.accepted(Category::Vitals, 1).await;
    let consent = stage.consent(account(PHYSICIAN).id(), Category::Vitals).await;
    let node = stage.node(0, |_| {});
    node.take("/v1/shares", &stage.shares(&consent, 1, 1).await[0]).await;
    stage.logged(&stage.physician, &consent, &records).await;
    let ask = stage.ask(PHYSICIAN, consent.id(), &records).await;
    let (moment, started) = (Duration::from_millis(1), Instant::now());
    assert!(tokio::time::timeout(moment, node.send("/v1/keys", &ask)).await.is_err());
    while !node.get("/metrics").await.1.contains("\ngalen_proxy_records_total 1\n") {
        assert!(started.elapsed() < Duration::from_secs(60), "it is not ended");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let report = node.send("/v1/report", &report_ask(&stage, PATIENT, 0).await).await.1;
    let report: Report = serde_json::from_value(report).unwrap();
    let entries: Vec<ReportEntry> = serde_json::from_str(&report.entries).unwrap();
    assert_eq!((entries.len(), entries[0].record), (1, records[0].id().0));
}
