//! Records come to be: proposed, verified, answered, amended.

use std::collections::BTreeMap;

use galen_chain::CosignPolicy;
use galen_fhir::Document;
use galen_sdk::{Announced, Error, NewRecord, fhir_document};
use galen_types::{ErrorKind, Plaintext, RecordKey};

use super::{Teller, chart_records, sdk};
use crate::{commands::demo::cast::Cast, error::CliError};

/// Keys are published; the patient tells hospital A which segment stands for what.
pub(super) async fn meet(cast: &Cast, teller: &mut Teller<'_>) -> Result<(), CliError> {
    let doing = "publish keys";
    cast.hospital_a.publish_keys().await.map_err(sdk(doing))?;
    cast.hospital_b.publish_keys().await.map_err(sdk(doing))?;
    cast.insurer.publish_keys().await.map_err(sdk(doing))?;
    cast.patient()?.publish_keys().await.map_err(sdk(doing))?;
    teller.step("Keys", &[
        format!("The patient is known here only as {:#x}.", cast.patient_id),
        "Everybody published keys to seal to (X-Wing: ML-KEM-768 with X25519). Hospital A alone learns".into(),
        "which segment number stands for which category of this patient.".into(),
    ])
}

/// A visit at the second hospital that the project wrote. With a bundle of one's own it is still made up.
const SECOND_VISIT: &[u8] =
    include_bytes!("../../../../../../tests/fixtures/second-visit.json").trim_ascii();

/// What later steps need to know of the chart.
pub(super) struct Proposed {
    pub(super) contact: galen_sdk::Contact,
    /// The record that will be amended, its category, and who cosigns it.
    amendable: (RecordKey, u8, CosignPolicy),
}

pub(super) async fn propose_and_answer(
    cast: &Cast,
    document: &Document<'_>,
    teller: &mut Teller<'_>,
) -> Result<Proposed, CliError> {
    let doing = "propose records";
    let envelope = cast.patient()?.introduce(cast.hospital_a.id()).await.map_err(sdk(doing))?;
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
    let inbox = cast.patient()?.inbox().await.map_err(sdk(doing))?;
    if inbox.len() != announced.len() {
        return Err(CliError::Demo("the inbox is not what was proposed"));
    }
    let total: usize = inbox.iter().map(|proposal| proposal.event.leaves.len()).sum();
    let (mut seen, mut rejected_total) = (0, 0);
    for proposal in &inbox {
        let id = proposal.event.proposal;
        let (mut accepted, mut rejected) = (Vec::new(), Vec::new());
        for index in 0..proposal.event.leaves.len() {
            cast.patient()?.examine(proposal, index).await.map_err(sdk(doing))?;
            seen += 1;
            if seen == total && total > 1 { rejected.push(index) } else { accepted.push(index) }
        }
        rejected_total += rejected.len();
        let cosigned = proposal.event.policy == policy.hash();
        let (policy, signatures) = if cosigned {
            let signature =
                cast.hospital_b.cosign(cast.patient_id, id).await.map_err(sdk(doing))?;
            (policy.clone(), BTreeMap::from([(cast.hospital_b.id(), signature)]))
        } else {
            (CosignPolicy::default(), BTreeMap::new())
        };
        let sent = cast
            .patient()?
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

/// Hospital B, having read what hospital A wrote, treats the patient too.
pub(super) async fn second_hospital(cast: &Cast, teller: &mut Teller<'_>) -> Result<(), CliError> {
    let doing = "propose records of the second hospital";
    let document = Document::read(SECOND_VISIT).map_err(|source| CliError::Refused {
        path: "the built-in second visit".to_owned(),
        source,
    })?;
    let envelope = cast.patient()?.introduce(cast.hospital_b.id()).await.map_err(sdk(doing))?;
    let contact = cast.hospital_b.meet(&envelope).await.map_err(sdk(doing))?;
    let drafts = document.split();
    let free = CosignPolicy::default();
    let records = drafts.iter().map(NewRecord::from);
    let announced = cast.hospital_b.propose(&contact, records, &free).await.map_err(sdk(doing))?;
    let inbox = cast.patient()?.inbox().await.map_err(sdk(doing))?;
    for proposal in &inbox {
        let all = 0..proposal.event.leaves.len();
        for index in all.clone() {
            cast.patient()?.examine(proposal, index).await.map_err(sdk(doing))?;
        }
        let (id, nobody) = (proposal.event.proposal, BTreeMap::new());
        let sent = cast.patient()?.answer(id, all, [], &free, &nobody).await.map_err(sdk(doing))?;
        teller.report.spent("settlement", &sent);
    }
    for proposal in &announced {
        teller.report.second_hospital_records += proposal.records.len();
        teller.report.bytes_sealed += proposal.sealed_bytes;
        teller.report.spent("proposal", &proposal.sent);
    }
    teller.step("A second hospital", &[format!(
        "Hospital B treats the patient in turn and proposes {} records of its own visit: it stops a medicine that \
         hospital A prescribed, starts another one, and knows of no allergy. The patient accepts them.",
        teller.report.second_hospital_records
    )])
}

/// Hospital A issues the first record anew; hospital B and the patient must sign too.
pub(super) async fn amend(
    cast: &Cast,
    chart: &Proposed,
    teller: &mut Teller<'_>,
) -> Result<(), CliError> {
    let doing = "amend a record";
    let (record, category, policy) = &chart.amendable;
    let opened = cast.patient()?.open(record.id()).await.map_err(sdk(doing))?;
    let document = fhir_document(&opened).ok_or(CliError::Demo("a record is no document"))?;
    let document = NewRecord::fhir(*category, reviewed(document)?);
    let announced = cast
        .hospital_a
        .amend(&chart.contact, record.id(), &document, policy)
        .await
        .map_err(sdk(doing))?;
    teller.report.spent("amendment", &announced.sent);
    teller.report.bytes_sealed += announced.sealed_bytes;
    let patient = cast.patient_id;
    let id = announced.proposal;
    let nobody = BTreeMap::new();
    let alone = cast.patient()?.answer(id, [0], [], policy, &nobody).await;
    if alone.as_ref().err().map(Error::kind) != Some(ErrorKind::Denied) {
        return Err(CliError::Demo("an amendment without its cosigner was not refused"));
    }
    let inbox = cast.patient()?.inbox().await.map_err(sdk(doing))?;
    let proposal = inbox.iter().find(|proposal| proposal.event.proposal == id);
    let proposal = proposal.ok_or(CliError::Demo("the amendment is not in the inbox"))?;
    cast.patient()?.examine(proposal, 0).await.map_err(sdk(doing))?;
    let signature = cast.hospital_b.cosign(patient, id).await.map_err(sdk(doing))?;
    let signatures = BTreeMap::from([(cast.hospital_b.id(), signature)]);
    let sent =
        cast.patient()?.answer(id, [0], [], policy, &signatures).await.map_err(sdk(doing))?;
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

/// The document with the time of its review: FHIR `Bundle.timestamp`, right after the type.
fn reviewed(payload: &[u8]) -> Result<Plaintext, CliError> {
    const TYPE: &[u8] = br#""type":"collection","#;
    const TIMESTAMP: &[u8] = br#""timestamp":"2026-01-01T12:00:00Z","#;
    let at = payload.windows(TYPE.len()).position(|window| window == TYPE);
    let at = at.ok_or(CliError::Demo("a record is not a collection bundle"))? + TYPE.len();
    Ok(Plaintext::new([&payload[..at], TIMESTAMP, &payload[at..]].concat()))
}
