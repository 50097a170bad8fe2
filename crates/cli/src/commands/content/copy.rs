//! `galen content copy`.

use std::{collections::HashMap, process::ExitCode, sync::Arc};

use galen_storage::{Pending, StorageError};
use galen_types::{ContentRef, ErrorKind, RecordId, Store};
use serde::Serialize;
use tokio::{sync::Semaphore, task::JoinSet};

use super::{Keeper, cannot, exit};
use crate::{args::ContentCopyArgs, error::CliError, table::row};

/// Contents that are copied side by side. Each is sent in parts side by side, too.
const SIDE_BY_SIDE: usize = 4;

/// The result of `galen content copy --json`.
#[derive(Debug, Serialize)]
struct Report {
    copies: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<RecordId>,
    content: ContentRef,
    place: String,
    /// `copied`, `there`, `left` or `failed`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    kind: Option<ErrorKind>,
}

impl Line {
    fn new(content: ContentRef, place: String, done: Result<&'static str, StorageError>) -> Self {
        let (state, error) = match done {
            Ok(state) => (state, None),
            Err(error) => ("failed", Some(error)),
        };
        let kind = error.as_ref().map(StorageError::kind);
        let error = error.map(|error| error.to_string());
        Self { record: None, content, place, state, error, kind }
    }
}

pub(super) async fn run(args: &ContentCopyArgs, keeper: &Keeper<'_>) -> Result<ExitCode, CliError> {
    let copies = match &args.to {
        Some(place) => copy(args, place, keeper).await?,
        None => resume(keeper).await?,
    };
    let report = Report { copies };
    if keeper.ui.json() {
        keeper.ui.object(&report)?;
    } else {
        for Line { content, place, state, error, .. } in &report.copies {
            let error = error.as_deref().unwrap_or_default();
            row(keeper.ui, &[state, content, place, &error])?;
        }
    }
    Ok(exit(report.copies.iter().filter_map(|line| line.kind)))
}

async fn copy(
    args: &ContentCopyArgs,
    place: &str,
    keeper: &Keeper<'_>,
) -> Result<Vec<Line>, CliError> {
    keeper.place(place)?;
    if !keeper.storage.places().iter().any(|it| it.name == place && it.writable) {
        return Err(cannot("copy content")(StorageError::ReadOnly(place.to_owned())));
    }
    let targets = keeper.targets(&args.targets, args.patient.as_deref()).await?;
    let bar = keeper.ui.bar(targets.len() as u64, "copying");
    let turns = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    let mut running = JoinSet::new();
    let mut order = HashMap::new();
    for (index, target) in targets.into_iter().enumerate() {
        order.insert(target.content, index);
        let (storage, turns, place) = (keeper.storage.clone(), turns.clone(), place.to_owned());
        running.spawn(async move {
            let _turn = turns.acquire_owned().await;
            let done = storage.copy(&target.content, &place).await;
            let done = done.map(|copied| if copied { "copied" } else { "there" });
            Line { record: target.record, ..Line::new(target.content, place, done) }
        });
    }
    let mut lines = Vec::new();
    while let Some(done) = running.join_next().await {
        lines.push(done.map_err(|_| cannot("copy content")(StorageError::ShutDown))?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    lines.sort_by_key(|line| order.get(&line.content).copied());
    Ok(lines)
}

/// Goes on with what is not finished.
async fn resume(keeper: &Keeper<'_>) -> Result<Vec<Line>, CliError> {
    let resumed = keeper.storage.resume().await.map_err(cannot("go on with uploads"))?;
    let line =
        |pending: Pending, done| Line::new(pending.addresses.of(Store::Swarm), pending.place, done);
    let finished = resumed.finished.into_iter().map(|it| line(it, Ok("copied")));
    let left = resumed.left.into_iter().map(|it| line(it, Ok("left")));
    let failed = resumed.failed.into_iter().map(|(it, error)| line(it, Err(error)));
    Ok(finished.chain(left).chain(failed).collect())
}
