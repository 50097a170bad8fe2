//! The story itself, one step after the other. Each says what happens and what it proves.

use std::collections::BTreeMap;

use galen_chain::CosignPolicy;
use galen_fhir::{Category, Document, Preset};
use galen_index::Record;
use galen_sdk::{Announced, Error, Grant, GrantRequest, Grantee, MAX_READS, NewRecord};
use galen_storage::{Depth, Found, Presence};
use galen_types::{
    Consent, ErrorKind, Plaintext, Purpose, PurposeSet, RecordId, RecordKey, Salt, SegmentSet,
};

use crate::{
    commands::demo::{
        cast::Cast,
        report::{Report, StoreUse},
        stage::{Stage, Wish},
    },
    error::CliError,
    ui::Ui,
};

const DAY: u64 = 24 * 3_600;

/// Width of the story's text, in characters.
const WIDTH: usize = 92;

/// Tells the story of one bundle and counts what happens.
pub(crate) async fn tell(
    name: &str,
    bundle: Vec<u8>,
    wish: &Wish<'_>,
    report: &mut Report,
) -> Result<(), CliError> {
    let mut teller = Teller { ui: wish.ui, report, step: 0 };
    let document = Document::read(&bundle)
        .map_err(|source| CliError::Refused { path: name.to_owned(), source })?;
    if document.is_empty() {
        return Err(CliError::Empty { path: name.to_owned() });
    }
    let stage = wish.set().await?;
    let cast = Cast::gather(&stage, teller.report).await?;
    teller.step(
        "A network",
        &[
            format!("{}; {}.", stage.chain, stage.stores),
            "Two hospitals founded the network. One wallet pays all gas:".into(),
            "the patient owns no ether.".into(),
        ],
    )?;
    meet(&cast, &mut teller).await?;
    let chart = propose_and_answer(&cast, &document, &mut teller).await?;
    drop(document);
    drop(bundle);
    amend(&cast, &chart, &mut teller).await?;
    let grants = grant(&cast, &mut teller).await?;
    read(&cast, &grants, &mut teller).await?;
    refuse(&cast, &grants, &mut teller).await?;
    reseal(&cast, &mut teller).await?;
    revoke(&cast, &grants, &mut teller).await?;
    audit(&cast, &mut teller).await?;
    look_up(&cast, &stage, &mut teller).await
}

/// Keys are published; the patient tells hospital A which segment stands for what.
async fn meet(cast: &Cast, teller: &mut Teller<'_>) -> Result<(), CliError> {
    let doing = "publish keys";
    cast.hospital_a.publish_keys().await.map_err(sdk(doing))?;
    cast.hospital_b.publish_keys().await.map_err(sdk(doing))?;
    cast.insurer.publish_keys().await.map_err(sdk(doing))?;
    cast.patient.publish_keys().await.map_err(sdk(doing))?;
    teller.step("Keys", &[
        format!("The patient is known here only as {:#x}.", cast.patient.id()),
        "Everybody published keys to seal to (X-Wing: ML-KEM-768 with X25519). Hospital A alone learns".into(),
        "which segment number stands for which category of this patient.".into(),
    ])
}

/// What later steps need to know of the chart.
struct Proposed {
    contact: galen_sdk::Contact,
    /// The record that will be amended, its category, and who cosigns it.
    amendable: (RecordKey, u8, CosignPolicy),
}

async fn propose_and_answer(
    cast: &Cast,
    document: &Document<'_>,
    teller: &mut Teller<'_>,
) -> Result<Proposed, CliError> {
    let doing = "propose records";
    let envelope = cast.patient.introduce(cast.hospital_a.id()).await.map_err(sdk(doing))?;
    let contact = cast.hospital_a.meet(&envelope).await.map_err(sdk(doing))?;
    let drafts = document.split();
    let (first, rest) = drafts.split_first().ok_or(CliError::Demo("the bundle has no record"))?;

    // The first record goes under a policy: hospital B must cosign it and whatever amends it.
    let policy = CosignPolicy { threshold: 1, cosigners: vec![cast.hospital_b.id()] };
    let progress = teller.ui.spinner("sealing and proposing");
    let mut announced = cast
        .hospital_a
        .propose(&contact, [NewRecord::from(first)], &policy)
        .await
        .map_err(sdk(doing))?;
    let free = CosignPolicy::default();
    let others = rest.iter().map(NewRecord::from);
    announced.extend(cast.hospital_a.propose(&contact, others, &free).await.map_err(sdk(doing))?);
    progress.finish_and_clear();

    let report = &mut *teller.report;
    report.records_proposed = announced.iter().map(|proposal| proposal.records.len()).sum();
    report.bytes_sealed = announced.iter().map(|proposal| proposal.sealed_bytes).sum();
    announced.iter().for_each(|proposal| report.spent("proposal", &proposal.sent));
    teller.step("Hospital A seals and proposes", &[
        format!(
            "{} FHIR resources became {} records, one for each encounter and category; {} bytes of",
            document.len(), drafts.len(), teller.report.bytes_sealed
        ),
        "ciphertext went to the store under addresses made of them, their commitments and the".into(),
        format!("hospital's signature to the chain, in {} transactions. Nobody can read them yet but the patient.", announced.len()),
    ])?;

    let amendable = announced
        .first()
        .and_then(|first| first.records.first())
        .copied()
        .ok_or(CliError::Demo("nothing was proposed"))?;
    answer(cast, &announced, &policy, teller).await?;
    Ok(Proposed { contact, amendable: (amendable, first.category().index(), policy) })
}

/// The patient opens and checks every record, accepts all but the last and rejects that.
async fn answer(
    cast: &Cast,
    announced: &[Announced],
    policy: &CosignPolicy,
    teller: &mut Teller<'_>,
) -> Result<(), CliError> {
    let doing = "verify and answer proposals";
    let progress = teller.ui.spinner("verifying");
    let inbox = cast.patient.inbox().await.map_err(sdk(doing))?;
    if inbox.len() != announced.len() {
        return Err(CliError::Demo("the inbox is not what was proposed"));
    }
    let total: usize = inbox.iter().map(|proposal| proposal.event.leaves.len()).sum();
    let (mut seen, mut rejected_total) = (0, 0);
    for proposal in &inbox {
        let id = proposal.event.proposal;
        let (mut accepted, mut rejected) = (Vec::new(), Vec::new());
        for index in 0..proposal.event.leaves.len() {
            cast.patient.examine(proposal, index).await.map_err(sdk(doing))?;
            seen += 1;
            if seen == total && total > 1 { rejected.push(index) } else { accepted.push(index) }
        }
        rejected_total += rejected.len();
        let cosigned = proposal.event.policy == policy.hash();
        let (policy, signatures) = if cosigned {
            let signature =
                cast.hospital_b.cosign(cast.patient.id(), id).await.map_err(sdk(doing))?;
            (policy.clone(), BTreeMap::from([(cast.hospital_b.id(), signature)]))
        } else {
            (CosignPolicy::default(), BTreeMap::new())
        };
        let sent = cast
            .patient
            .answer(id, accepted, rejected, &policy, &signatures)
            .await
            .map_err(sdk(doing))?;
        teller.report.spent(if cosigned { "settlement+1" } else { "settlement" }, &sent);
    }
    progress.finish_and_clear();
    let accepted = chart_records(cast).await?.len();
    teller.report.records_accepted = accepted;
    teller.report.records_rejected = rejected_total;
    teller.step("The patient verifies, accepts and rejects", &[
        format!("Each of the {total} records was opened and checked: sealed to the right readers, committed to on"),
        "chain, acceptable FHIR of the category that its segment stands for. The patient accepted".into(),
        format!("{accepted} and rejected {rejected_total}, one signature a proposal, checked together with the hospital's."),
        "From here on neither of the two alone can change an accepted record.".into(),
    ])
}

/// Hospital A issues the first record anew; hospital B and the patient must sign too.
async fn amend(cast: &Cast, chart: &Proposed, teller: &mut Teller<'_>) -> Result<(), CliError> {
    let doing = "amend a record";
    let (record, category, policy) = &chart.amendable;
    let opened = cast.patient.open(record.id()).await.map_err(sdk(doing))?;
    let document = NewRecord::fhir(*category, reviewed(opened.payload.expose())?);
    let announced = cast
        .hospital_a
        .amend(&chart.contact, record.id(), &document, policy)
        .await
        .map_err(sdk(doing))?;
    teller.report.spent("amendment", &announced.sent);
    teller.report.bytes_sealed += announced.sealed_bytes;
    let patient = cast.patient.id();
    let id = announced.proposal;
    let nobody = BTreeMap::new();
    let alone = cast.patient.answer(id, [0], [], policy, &nobody).await;
    if alone.as_ref().err().map(Error::kind) != Some(ErrorKind::Denied) {
        return Err(CliError::Demo("an amendment without its cosigner was not refused"));
    }
    let inbox = cast.patient.inbox().await.map_err(sdk(doing))?;
    let proposal = inbox.iter().find(|proposal| proposal.event.proposal == id);
    let proposal = proposal.ok_or(CliError::Demo("the amendment is not in the inbox"))?;
    cast.patient.examine(proposal, 0).await.map_err(sdk(doing))?;
    let signature = cast.hospital_b.cosign(patient, id).await.map_err(sdk(doing))?;
    let signatures = BTreeMap::from([(cast.hospital_b.id(), signature)]);
    let sent = cast.patient.answer(id, [0], [], policy, &signatures).await.map_err(sdk(doing))?;
    teller.report.spent("settlement+1", &sent);
    let versions = chart_records(cast)
        .await?
        .iter()
        .find(|candidate| candidate.key == *record)
        .map_or(0, |record| record.versions.len());
    if versions != 2 {
        return Err(CliError::Demo("the amendment does not stand"));
    }
    teller.report.amended = 1;
    teller.step("A co-signed amendment", &[
        "Hospital A issued the first record anew, with the date of its review. That record needs hospital".into(),
        "B's signature: without it the contract refused the settlement; with hospital A's, hospital B's and".into(),
        "the patient's it went through. Both versions stay on record.".into(),
    ])
}

/// The grants of the demo, as their grantees hold them.
struct Grants {
    physician: Grant,
    insurer: Grant,
}

async fn grant(cast: &Cast, teller: &mut Teller<'_>) -> Result<Grants, CliError> {
    let doing = "grant consent";
    let mut give = async |grantee: &Grantee, preset: Preset, purpose, days: u64| {
        let request = GrantRequest {
            grantee: grantee.id(),
            categories: preset.categories().iter().map(|category| category.index()).collect(),
            purposes: PurposeSet::from_iter([purpose]),
            not_before: None,
            lifetime: days * DAY,
        };
        let granted = cast.patient.grant(&request).await.map_err(sdk(doing))?;
        teller.report.spent("consent", &granted.sent);
        grantee.accept(&granted.envelope).await.map_err(sdk(doing))
    };
    let physician = give(&cast.physician, Preset::Physician, Purpose::Treatment, 30).await?;
    let insurer = give(&cast.insurer, Preset::Insurer, Purpose::Payment, 30).await?;
    teller.step("Grants", &[
        "Hospital B may read clinical segments for 30 days, for treatment. The insurer may read billing and".into(),
        "diagnostic reports for 30 days, for payment. The chain holds 28 bytes and a version for both; the".into(),
        "terms are hidden until first used. The keys of the segments went to each in an envelope that only".into(),
        "they can open. This is direct mode: it cannot force a reader to log first. Proxies will.".into(),
    ])?;
    Ok(Grants { physician, insurer })
}

async fn read(cast: &Cast, grants: &Grants, teller: &mut Teller<'_>) -> Result<(), CliError> {
    let physician =
        read_all(&cast.physician, &grants.physician, Purpose::Treatment, teller).await?;
    let insurer = read_all(&cast.insurer, &grants.insurer, Purpose::Payment, teller).await?;
    teller.report.reads_granted = physician + insurer;
    teller.step("Reads, each logged first", &[
        format!("Hospital B read {physician} records, the insurer {insurer}. Before each, the contract checked grantee,"),
        "segment, purpose and time against the patient's consent root and stamped the chart; only then was".into(),
        "the content opened, and its commitment checked.".into(),
    ])
}

async fn read_all(
    grantee: &Grantee,
    grant: &Grant,
    purpose: Purpose,
    teller: &mut Teller<'_>,
) -> Result<usize, CliError> {
    let doing = "read granted records";
    let progress = teller.ui.spinner("reading");
    let mut count = 0;
    for batch in grantee.readable(grant).await.map_err(sdk(doing))?.chunks(MAX_READS) {
        let (read, sent) = grantee.read(grant, purpose, batch).await.map_err(sdk(doing))?;
        teller.report.spent("access", &sent);
        // What was opened is what the author wrote, or `read` would have failed.
        count += read.iter().filter(|read| !read.opened.payload.expose().is_empty()).count();
    }
    progress.finish_and_clear();
    Ok(count)
}

/// The insurer tries what it was not granted; a stranger tries everything.
async fn refuse(cast: &Cast, grants: &Grants, teller: &mut Teller<'_>) -> Result<(), CliError> {
    let records = chart_records(cast).await?;
    let patient = cast.patient.id();
    let covered = grants.insurer.consent().segments;
    let category =
        |record: &Record| Category::from_index(cast.patient.category(record.key.segment));
    let outside = records.iter().filter(|record| !covered.contains(record.key.segment));
    // A note if there is one, else anything that was not granted.
    let target = outside.min_by_key(|record| category(record) != Some(Category::Notes));
    let mut told = Vec::new();
    if let Some(record) = target {
        let what = category(record).map_or("a record", Category::label);
        let attempt = cast
            .insurer
            .log(patient, grants.insurer.consent(), Purpose::Payment, &[record.key])
            .await;
        let why = must_refuse(attempt)?;
        teller.report.reads_refused += 1;
        told.push(format!("The insurer asked for a record of \"{what}\": {why}"));
    }
    let mut everything = SegmentSet::EMPTY;
    (0..=u8::MAX).for_each(|n| everything.insert(galen_types::Segment(n)));
    let invented = Consent {
        grantee: cast.stranger.id(),
        segments: everything,
        purposes: PurposeSet(u32::MAX),
        not_before: 0,
        expiry: u64::from(u32::MAX),
        salt: Salt::default(),
    };
    let keys: Vec<RecordKey> = records.iter().map(|record| record.key).collect();
    let mut why = String::new();
    for key in &keys {
        let attempt = cast.stranger.log(patient, &invented, Purpose::Treatment, &[*key]).await;
        why = must_refuse(attempt)?;
        teller.report.reads_refused += 1;
    }
    told.push(format!(
        "A stranger with an invented consent asked for all {} records: {why}",
        keys.len()
    ));
    teller.list("Refusals", &told)
}

async fn reseal(cast: &Cast, teller: &mut Teller<'_>) -> Result<(), CliError> {
    let doing = "reseal accessed records";
    let progress = teller.ui.spinner("resealing");
    let accessed: Vec<RecordId> = cast.patient.accessed().await.map_err(sdk(doing))?;
    let (resealed, sent) = cast.patient.reseal(&accessed).await.map_err(sdk(doing))?;
    progress.finish_and_clear();
    sent.iter().for_each(|sent| teller.report.spent("reseal", sent));
    if resealed.len() != accessed.len() || resealed.iter().any(|one| one.before == one.after) {
        return Err(CliError::Demo("an accessed record kept its content address"));
    }
    for one in &resealed {
        let len = cast.galen.storage().len(&one.after).await;
        teller.report.bytes_sealed += len.map_err(|error| sdk(doing)(error.into()))?;
    }
    teller.report.resealed = resealed.len();
    teller.step("After access: a new key and a new address", &[
        format!("Each of the {} records that were read was sealed under a fresh data key. Its content address", resealed.len()),
        "changed, its commitment did not: the text is provably the same. The old content was given free by".into(),
        "every store. Whoever kept a copy of what they read still has it.".into(),
    ])
}

async fn revoke(cast: &Cast, grants: &Grants, teller: &mut Teller<'_>) -> Result<(), CliError> {
    let doing = "revoke a consent";
    let consent = grants.physician.consent();
    let covered: Option<RecordKey> = chart_records(cast)
        .await?
        .iter()
        .map(|record| record.key)
        .find(|key| consent.segments.contains(key.segment));
    let sent = cast.patient.revoke(consent.id()).await.map_err(sdk(doing))?;
    teller.report.spent("consent", &sent);
    let mut told = vec!["The patient revoked hospital B's consent with one signature.".to_owned()];
    if let Some(key) = covered {
        let patient = cast.patient.id();
        let attempt = cast.physician.log(patient, consent, Purpose::Treatment, &[key]).await;
        let why = must_refuse(attempt)?;
        teller.report.reads_refused += 1;
        told.push(format!("Hospital B asked once more for what it had read before: {why}"));
    }
    teller.list("Revocation", &told)
}

async fn audit(cast: &Cast, teller: &mut Teller<'_>) -> Result<(), CliError> {
    let audit = cast.patient.audit().await.map_err(sdk("audit the chart"))?;
    teller.report.accesses_logged = audit.accesses;
    teller.report.audit_complete = audit.complete;
    if !audit.complete || audit.accesses != teller.report.reads_granted {
        return Err(CliError::Demo("the audit does not account for every read"));
    }
    let mut counts = BTreeMap::<&str, usize>::new();
    audit.entries.iter().for_each(|entry| *counts.entry(entry.what).or_default() += 1);
    let counted: Vec<String> =
        counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
    teller.step("Audit", &[
        format!("The patient's history: {}.", counted.join(", ")),
        format!("Its {} settlements, accesses and reseals fold to {},", audit.head_entries, audit.head),
        "which is the chart head on chain: none was left out, added or changed. Every event was checked".into(),
        "against the receipts root of its block. Refused attempts leave no event on chain.".into(),
    ])
}

/// Where the records' content lies in the end, every byte read back and checked.
async fn look_up(cast: &Cast, stage: &Stage, teller: &mut Teller<'_>) -> Result<(), CliError> {
    let failed = |source| CliError::Storage { doing: "look up where content lies", source };
    let storage = &stage.storage;
    if let Some(notice) = storage.notices().into_iter().next() {
        return Err(CliError::Storage {
            doing: "keep content in every store",
            source: notice.error,
        });
    }
    let kept_in: Vec<_> = storage.places().into_iter().filter(|place| place.kept_in).collect();
    let progress = teller.ui.spinner("checking every copy");
    let records = chart_records(cast).await?;
    let current = records.iter().filter_map(|record| record.versions.last()?.contents.last());
    for entry in current {
        for Found { place, presence } in
            storage.check(&entry.content, Depth::Whole).await.map_err(failed)?
        {
            match presence {
                Presence::Whole | Presence::Present => teller.report.copies_checked += 1,
                Presence::Failed(error) => return Err(failed(error)),
                _ if kept_in.iter().any(|kept| kept.name == place) => {
                    return Err(CliError::Demo("a store does not have what it took"));
                }
                _ => {}
            }
        }
    }
    progress.finish_and_clear();
    let copies = storage.copies().await.map_err(failed)?;
    let uses = kept_in.into_iter().map(|place| {
        let here = copies.iter().filter(|copy| copy.place == place.name);
        let lens: Vec<u64> = here.map(|copy| copy.addresses.len).collect();
        let (contents, bytes) = (lens.len(), lens.iter().sum());
        StoreUse { place: place.name, kind: place.kind, contents, bytes }
    });
    teller.report.stores = uses.collect();
    let mut told: Vec<_> = teller.report.stores.iter().map(ToString::to_string).collect();
    told.push(format!(
        "{} copies of the records were read back from there, and every byte is the one that the chain names.",
        teller.report.copies_checked
    ));
    teller.list("Where the content lies", &told)
}

async fn chart_records(cast: &Cast) -> Result<Vec<Record>, CliError> {
    cast.galen
        .with_chart(cast.patient.id(), |chart| chart.records().cloned().collect())
        .await
        .map_err(sdk("read the chart"))
}

/// The document with the time of its review: FHIR `Bundle.timestamp`, right after the type.
fn reviewed(payload: &[u8]) -> Result<Plaintext, CliError> {
    const TYPE: &[u8] = br#""type":"collection","#;
    const TIMESTAMP: &[u8] = br#""timestamp":"2026-01-01T12:00:00Z","#;
    let at = payload.windows(TYPE.len()).position(|window| window == TYPE);
    let at = at.ok_or(CliError::Demo("a record is not a collection bundle"))? + TYPE.len();
    Ok(Plaintext::new([&payload[..at], TIMESTAMP, &payload[at..]].concat()))
}

/// The contract's reason, if the contract refused because of missing consent.
fn must_refuse<T>(attempt: Result<T, Error>) -> Result<String, CliError> {
    match attempt {
        Err(Error::Chain(error)) if error.kind() == ErrorKind::Denied => Ok(error.to_string()),
        Err(source) => Err(CliError::Sdk { doing: "try what must be refused", source }),
        Ok(_) => Err(CliError::Demo("a read without consent was not refused")),
    }
}

fn sdk(doing: &'static str) -> impl Fn(Error) -> CliError {
    move |source| CliError::Sdk { doing, source }
}

/// Says what happens, and counts.
struct Teller<'a> {
    ui: &'a Ui,
    report: &'a mut Report,
    step: usize,
}

impl Teller<'_> {
    /// The story is the result, unless the result is JSON: then it is status.
    fn step(&mut self, title: &str, sentences: &[String]) -> Result<(), CliError> {
        self.list(title, &[sentences.join(" ")])
    }

    fn list(&mut self, title: &str, paragraphs: &[String]) -> Result<(), CliError> {
        self.step += 1;
        let head = format!("{}. {title}", self.step);
        if self.ui.json() {
            self.ui.status(&head);
            return Ok(());
        }
        if self.step > 1 {
            self.ui.line("")?;
        }
        self.ui.line(&head)?;
        paragraphs
            .iter()
            .flat_map(|paragraph| wrapped(paragraph))
            .try_for_each(|line| self.ui.line(&format!("   {line}")))
    }
}

/// Lines of at most [`WIDTH`] characters, broken at spaces.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > WIDTH {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
