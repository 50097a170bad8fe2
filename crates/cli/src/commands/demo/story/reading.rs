//! Records are read: granted, logged, refused, sealed anew, revoked, audited.

use std::{collections::BTreeMap, time::Duration};

use galen_fhir::{Category, Preset};
use galen_index::Record;
use galen_sdk::{
    Contact, Error, Grant, GrantRequest, Grantee, MAX_READS,
    proxies::{Asking, ProxyClient, ProxyError},
};
use galen_types::{Consent, ErrorKind, Purpose, PurposeSet, RecordId, RecordKey, Salt, SegmentSet};

use super::{Teller, chart_records, sdk};
use crate::{
    commands::demo::{
        cast::Cast,
        proxies::{OPERATORS, Proxies},
    },
    error::CliError,
};

const DAY: u64 = 24 * 3_600;

/// How long a proxy may take to answer.
const PROXY_TIMEOUT: Duration = Duration::from_secs(30);

/// The grants of the demo, as their grantees hold them.
pub(super) struct Grants {
    physician: Grant,
    insurer: Grant,
}

/// Granted through proxies: from here on nobody needs the patient to read.
pub(super) async fn grant(
    cast: &Cast,
    proxies: &Proxies,
    teller: &mut Teller<'_>,
) -> Result<Grants, CliError> {
    let doing = "grant consent through proxies";
    let client = client()?;
    let mut give = async |grantee: &Grantee, preset: Preset, purpose, days: u64| {
        let request = GrantRequest {
            grantee: grantee.id(),
            categories: preset.categories().iter().map(|category| category.index()).collect(),
            purposes: PurposeSet::from_iter([purpose]),
            not_before: None,
            lifetime: days * DAY,
        };
        let granted = cast.patient()?.grant_through(&request, &proxies.set).await;
        let granted = granted.map_err(sdk(doing))?;
        teller.report.spent("consent", &granted.sent);
        for share in &granted.shares {
            client.deliver(share).await.map_err(|error| sdk(doing)(error.into()))?;
        }
        grantee.accept(&granted.envelope).await.map_err(sdk(doing))
    };
    let physician = give(&cast.physician, Preset::Physician, Purpose::Treatment, 30).await?;
    let insurer = give(&cast.insurer, Preset::Insurer, Purpose::Payment, 30).await?;
    let (needed, all) = (proxies.set.threshold, proxies.set.places.len());
    teller.report.proxies = all;
    teller.report.proxies_needed = needed.into();
    teller.step("Grants through proxies", &[
        "Hospital B may read clinical segments for 30 days, for treatment. The insurer may read billing and".into(),
        "diagnostic reports for 30 days, for payment. The chain holds 28 bytes and a version for both; the".into(),
        format!("terms are hidden until first used. Each got one half of the keys; {all} proxies ({}) hold the", OPERATORS.join(", ")),
        format!("other half in shares, of which {needed} are needed for each record. No proxy can read anything."),
    ])?;
    Ok(Grants { physician, insurer })
}

fn client() -> Result<ProxyClient, CliError> {
    ProxyClient::new(PROXY_TIMEOUT).map_err(|error| sdk("reach the proxies")(error.into()))
}

/// Reads while the patient is away, and one proxy stops in the middle of it.
pub(super) async fn read(
    cast: &Cast,
    grants: &Grants,
    proxies: &mut Proxies,
    teller: &mut Teller<'_>,
) -> Result<(), CliError> {
    let doing = "read granted records";
    let readable = cast.physician.readable(&grants.physician).await.map_err(sdk(doing))?;
    let (before, after) = readable.split_at(readable.len() / 2);
    let (treatment, payment) = (Purpose::Treatment, Purpose::Payment);
    let mut physician =
        read_all(&cast.physician, &grants.physician, treatment, before, teller).await?;
    proxies.stop_one().await;
    let left = proxies.running();
    physician += read_all(&cast.physician, &grants.physician, treatment, after, teller).await?;
    let readable = cast.insurer.readable(&grants.insurer).await.map_err(sdk(doing))?;
    let insurer = read_all(&cast.insurer, &grants.insurer, payment, &readable, teller).await?;
    teller.report.reads_granted = physician + insurer;
    teller.step("Reads while the patient is away, each logged first", &[
        "The patient's profile is closed: seed and wallet lie sealed in a file, nothing of them is in memory.".into(),
        format!("Hospital B read {physician} records, the insurer {insurer}. Before each, the contract checked grantee,"),
        "segment, purpose and time against the patient's consent root and stamped the chart; only then did".into(),
        "the proxies, who look at the chain themselves, answer for just these contents, with a proof that the".into(),
        format!("answer is right. Half way one proxy was stopped: the {left} others were enough. Each document that was"),
        "opened fits the commitment on chain.".into(),
    ])
}

async fn read_all(
    grantee: &Grantee,
    grant: &Grant,
    purpose: Purpose,
    records: &[RecordId],
    teller: &mut Teller<'_>,
) -> Result<usize, CliError> {
    let doing = "read granted records";
    let progress = teller.ui.spinner("reading");
    let mut count = 0;
    for batch in records.chunks(MAX_READS) {
        let (read, sent) = grantee.read(grant, purpose, batch).await.map_err(sdk(doing))?;
        teller.report.spent("access", &sent);
        // What was opened is what the author wrote, or `read` would have failed.
        count += read.iter().filter(|read| !read.opened.payload.expose().is_empty()).count();
    }
    progress.finish_and_clear();
    Ok(count)
}

/// The insurer tries what it was not granted; a stranger tries everything.
pub(super) async fn refuse(
    cast: &Cast,
    grants: &Grants,
    teller: &mut Teller<'_>,
) -> Result<(), CliError> {
    let records = chart_records(cast).await?;
    let patient = cast.patient_id;
    let covered = grants.insurer.consent().segments;
    let segments = cast.patient()?;
    let category = |record: &Record| Category::from_index(segments.category(record.key.segment));
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

/// What was read gets a new key and a new address, while the patient is away still.
pub(super) async fn reseal(
    cast: &Cast,
    contact: &Contact,
    teller: &mut Teller<'_>,
) -> Result<(), CliError> {
    let doing = "reseal accessed records";
    let progress = teller.ui.spinner("resealing");
    let author = &cast.hospital_a;
    let accessed = author.accessed(contact.patient()).await.map_err(sdk(doing))?;
    let (resealed, sent) = author.reseal(contact, &accessed).await.map_err(sdk(doing))?;
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
        format!("Hospital A sealed each of the {} records that were read under a fresh data key, from the sealed", resealed.len()),
        "copies that it keeps of what it wrote: the patient is away still. The content address changed, the".into(),
        "commitment did not: the text is provably the same. The old content was given free by every store; a".into(),
        "custodian would wait until nobody may come for it any more. Whoever kept what they read still has it.".into(),
    ])
}

/// Hospital B keeps its half, its answers and its logged reads. They open nothing more.
pub(super) async fn revoke(
    cast: &Cast,
    grants: &Grants,
    teller: &mut Teller<'_>,
) -> Result<(), CliError> {
    let doing = "revoke a consent";
    let (grant, consent) = (&grants.physician, grants.physician.consent());
    let covered: Option<RecordKey> = chart_records(cast)
        .await?
        .iter()
        .map(|record| record.key)
        .find(|key| consent.segments.contains(key.segment));
    let sent = cast.patient()?.revoke(consent.id()).await.map_err(sdk(doing))?;
    teller.report.spent("consent", &sent);
    let mut told = vec!["The patient revoked hospital B's consent with one signature.".to_owned()];
    if let Some(key) = covered {
        let attempt =
            cast.physician.log(cast.patient_id, consent, Purpose::Treatment, &[key]).await;
        let why = must_refuse(attempt)?;
        teller.report.reads_refused += 1;
        told.push(format!("Hospital B asked once more for what it had read before: {why}"));
        // Its reads from before are on chain and not an hour old; its half and its signature are good.
        let impatient = Asking::default().by(client()?).for_at_most(Duration::ZERO);
        let reader = cast.physician.clone().asking_proxies(impatient);
        let refusals = match reader.open_logged(grant, &[key.id()]).await {
            Err(Error::TooFewProxies { answered: 0, said, .. }) => said,
            Err(source) => return Err(CliError::Sdk { doing: "try what must be refused", source }),
            Ok(_) => return Err(CliError::Demo("proxies answered after the revocation")),
        };
        let revoked = |said: &ProxyError| matches!(said, ProxyError::Refused { cause, .. } if cause == "revoked");
        let refusals = refusals.iter().filter(|(_, said)| revoked(said)).count();
        if refusals == 0 {
            return Err(CliError::Demo("no proxy said that the consent is revoked"));
        }
        teller.report.proxy_refusals = refusals;
        told.push(
            "It asked the proxies for a read that it had logged before, with its half of the keys and all that it ever \
             saw: they say that the consent is revoked, and no answer comes. Without two of them it opens nothing more."
                .to_owned(),
        );
    }
    teller.list("Revocation", &told)
}

pub(super) async fn audit(cast: &Cast, teller: &mut Teller<'_>) -> Result<(), CliError> {
    let audit = cast.patient()?.audit().await.map_err(sdk("audit the chart"))?;
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

/// The contract's reason, if the contract refused because of missing consent.
fn must_refuse<T>(attempt: Result<T, Error>) -> Result<String, CliError> {
    match attempt {
        Err(Error::Chain(error)) if error.kind() == ErrorKind::Denied => Ok(error.to_string()),
        Err(source) => Err(CliError::Sdk { doing: "try what must be refused", source }),
        Ok(_) => Err(CliError::Demo("a read without consent was not refused")),
    }
}
