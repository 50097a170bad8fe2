//! `galen access`: reads what was granted. Every read is logged on chain first, then opened.

mod log;
mod open;
mod reader;

use std::{collections::BTreeSet, process::ExitCode};

use alloy_primitives::Address;
use galen_fhir::Category;
use galen_index::AccessEntry;
use galen_sdk::{ConsentStatus, Grant, Grantee};
use galen_types::{Purpose, RecordId, RecordKey};
use serde::Serialize;

use crate::{
    args::{AccessArgs, AccessCommand},
    asked::{AskError, pick},
    commands::{
        grant::kept,
        proxy::asking,
        shown::{Party, cannot, waiting},
    },
    error::CliError,
    outfile,
    session::Session,
    ui::Ui,
};

pub(crate) use reader::{Line, Reader, end};

/// Seconds for which a read that was logged can be opened again: as long as proxies answer, unless they say
/// otherwise.
const LOGGED_AGE: u64 = 3_600;

pub(crate) async fn run(
    args: &AccessArgs,
    session: &Session,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    match &args.command {
        Some(AccessCommand::Log(args)) => log::run(args, session, ui).await,
        None => read(args, session, ui).await,
    }?;
    Ok(ExitCode::SUCCESS)
}

/// The result of `galen access --json`.
#[derive(Debug, Serialize)]
struct Answer {
    patient: Party,
    purpose: Purpose,
    /// In the order in which they were read.
    records: Vec<Line>,
}

/// What one grant is to be used for.
struct Task {
    grant: Grant,
    records: Vec<RecordKey>,
}

async fn read(args: &AccessArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let (Some(patient), Some(purpose)) = (&args.patient, args.purpose) else {
        return Err(AskError::Nothing("a patient and a purpose are needed").into());
    };
    let patient = session.resolve(patient)?;
    let grantee = asking(session, ui)?;
    let grants = if args.emergency {
        open::grants(args, patient, purpose, &grantee, session, ui).await?
    } else {
        ranked(patient, purpose, &grantee, session, ui).await?
    };
    let mut tasks = tasks(args, patient, grants, &grantee, ui).await?;
    if args.logged {
        keep_logged(&mut tasks, &grantee, session).await?;
    }
    if args.emergency && !args.logged {
        open::confirm(patient, purpose, &tasks, session, ui)?;
    }
    let folder = args.out.as_deref();
    folder.map(outfile::folder).transpose()?;
    let mut records = Vec::new();
    for task in &tasks {
        let (grantee, grant, signed, logged) = (&grantee, &task.grant, args.signed, args.logged);
        let reader = Reader { grantee, grant, purpose, signed, logged, session, ui };
        records.extend(reader.read_all(&task.records, folder).await?);
    }
    let answer = Answer { patient: Party::new(session, patient), purpose, records };
    if ui.json() {
        return ui.object(&answer);
    }
    answer.records.iter().try_for_each(|line| line.print(ui))
}

/// Which record is read under which grant: the best one that covers it.
async fn tasks(
    args: &AccessArgs,
    patient: Address,
    grants: Vec<Grant>,
    grantee: &Grantee,
    ui: &Ui,
) -> Result<Vec<Task>, CliError> {
    let doing = "list what the grants cover";
    let mut tasks = Vec::new();
    let mut taken = BTreeSet::new();
    for grant in grants {
        let covered = grantee.covered(patient, grant.consent());
        let mut records = waiting(ui, doing, covered).await?;
        records.retain(|key| {
            let category = grant.category(key.segment).and_then(Category::from_index);
            let wanted = |category: Category| args.category.contains(&category);
            args.category.is_empty() || category.is_some_and(wanted)
        });
        records.retain(|key| taken.insert(key.id()));
        tasks.push(Task { grant, records });
    }
    if !args.records.is_empty() {
        let ids: Vec<RecordId> = taken.into_iter().collect();
        let mut wanted = BTreeSet::new();
        for text in &args.records {
            wanted.insert(pick("record", text, ids.iter().copied()).map_err(not_granted)?);
        }
        tasks.iter_mut().for_each(|task| task.records.retain(|key| wanted.contains(&key.id())));
    }
    tasks.retain(|task| !task.records.is_empty());
    if tasks.is_empty() {
        return Err(AskError::NotGranted.into());
    }
    Ok(tasks)
}

/// Leaves what the chain says was read under the same consent a short while ago.
async fn keep_logged(
    tasks: &mut Vec<Task>,
    grantee: &Grantee,
    session: &Session,
) -> Result<(), CliError> {
    let failed = |source| CliError::Chain { doing: "ask for the time", source };
    let now = session.galen().time().await.map_err(failed)?;
    for task in tasks.iter_mut() {
        let consent = task.grant.consent().id();
        let accesses = grantee.accesses(task.grant.patient()).await;
        let accesses = accesses.map_err(cannot("read the log"))?;
        let is_fresh = |it: &AccessEntry, id: RecordId| {
            let of = it.event.record == id && it.event.consent == consent;
            of && now.saturating_sub(it.at.time) <= LOGGED_AGE
        };
        task.records.retain(|key| accesses.iter().any(|it| is_fresh(it, key.id())));
    }
    tasks.retain(|task| !task.records.is_empty());
    if tasks.is_empty() { Err(AskError::NotLogged.into()) } else { Ok(()) }
}

/// A record that no grant covers looks like one that is not there.
fn not_granted(error: AskError) -> AskError {
    match error {
        AskError::NoSuch { .. } => AskError::NotGranted,
        other => other,
    }
}

/// The grants of a patient for a purpose that can be used. If none can, those that are revoked or out of date:
/// they are left to the contract, which says exactly why.
pub(crate) async fn ranked(
    patient: Address,
    purpose: Purpose,
    grantee: &Grantee,
    session: &Session,
    ui: &Ui,
) -> Result<Vec<Grant>, CliError> {
    let mut ranked = Vec::new();
    for grant in kept(session, grantee, ui).into_iter().filter(|it| it.patient() == patient) {
        let status = grantee.status(&grant).await.map_err(cannot("look the grants up"))?;
        let rank = (status != ConsentStatus::Live, status == ConsentStatus::Revoked);
        ranked.push((rank, grant));
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    // What has ended does not keep anybody from reading under what has not.
    if ranked.iter().any(|((ended, _), grant)| !ended && grant.consent().purposes.contains(purpose))
    {
        ranked.retain(|((ended, _), _)| !ended);
    }
    if ranked.is_empty() {
        return Err(AskError::NotGranted.into());
    }
    ranked.retain(|(_, grant)| grant.consent().purposes.contains(purpose));
    if ranked.is_empty() {
        return Err(AskError::OtherPurpose { purpose }.into());
    }
    Ok(ranked.into_iter().map(|(_, grant)| grant).collect())
}
