//! `galen content check`.

use std::{process::ExitCode, sync::Arc};

use alloy_primitives::Address;
use galen_storage::{Depth, Found, Presence, StorageError};
use galen_types::{ContentRef, ErrorKind, RecordId};
use serde::Serialize;
use tokio::{sync::Semaphore, task::JoinSet};

use super::{Keeper, exit, targets::Target};
use crate::{args::ContentCheckArgs, error::CliError, table::row};

/// Contents that are looked at side by side.
const SIDE_BY_SIDE: usize = 8;

/// The result of `galen content check --json`.
#[derive(Debug, Default, Serialize)]
struct Report {
    contents: Vec<Line>,
    checked: usize,
    ok: usize,
    missing: usize,
    damaged: usize,
    unreachable: usize,
    /// Copies that were made by `--repair`.
    repaired: usize,
}

#[derive(Debug, Serialize)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<RecordId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patient: Option<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    content: ContentRef,
    /// `current` or `waiting`.
    #[serde(skip_serializing_if = "Option::is_none")]
    standing: Option<&'static str>,
    state: State,
    places: Vec<AtPlace>,
}

/// What one place has of it.
#[derive(Debug, Serialize)]
struct AtPlace {
    place: String,
    /// `whole`, `present`, `missing`, `damaged`, `unknown` or `unreachable`.
    presence: &'static str,
    wanted: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    repaired: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// How it stands with one content over all places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// Nowhere, or not where it is wanted.
    Missing,
    /// Some place has other bytes.
    Damaged,
    /// A place that should have it, or could, did not say.
    Unreachable,
}

impl State {
    fn of(places: &[AtPlace]) -> Self {
        let any = |presence: &str, wanted: bool| {
            places.iter().any(|it| it.presence == presence && (it.wanted || !wanted))
        };
        let somewhere = any("whole", false) || any("present", false);
        match () {
            () if any("damaged", false) => Self::Damaged,
            () if any("missing", true) || any("unknown", true) => Self::Missing,
            () if any("unreachable", true) => Self::Unreachable,
            () if somewhere => Self::Ok,
            () if any("unreachable", false) => Self::Unreachable,
            () => Self::Missing,
        }
    }

    const fn kind(self) -> Option<ErrorKind> {
        match self {
            Self::Ok => None,
            Self::Missing => Some(ErrorKind::NotFound),
            Self::Damaged => Some(ErrorKind::Integrity),
            Self::Unreachable => Some(ErrorKind::Unavailable),
        }
    }
}

impl AtPlace {
    fn new(target: &Target, found: Found) -> Self {
        let Found { place, presence } = found;
        let wanted = target.wanted.contains(&place);
        let (presence, error) = match presence {
            Presence::Whole => ("whole", None),
            Presence::Present => ("present", None),
            Presence::Missing => ("missing", None),
            Presence::Damaged => ("damaged", None),
            Presence::AddressUnknown => ("unknown", None),
            Presence::Failed(error) => ("unreachable", Some(error.to_string())),
        };
        Self { place, presence, wanted, repaired: false, error }
    }

    /// Whether a copy there would make things better.
    fn needs_copy(&self) -> bool {
        match self.presence {
            "damaged" => true,
            "missing" | "unknown" => self.wanted,
            _ => false,
        }
    }
}

pub(super) async fn run(
    args: &ContentCheckArgs,
    keeper: &Keeper<'_>,
) -> Result<ExitCode, CliError> {
    let targets = keeper.targets(&args.targets, args.patient.as_deref()).await?;
    let depth = if args.whole { Depth::Whole } else { Depth::Root };
    let mut report = Report { checked: targets.len(), ..Report::default() };
    for (target, found) in look(keeper, targets, depth).await? {
        let mut places: Vec<_> =
            found.into_iter().map(|found| AtPlace::new(&target, found)).collect();
        if args.repair {
            report.repaired += repair(keeper, &target, &mut places).await;
        }
        let state = State::of(&places);
        match state {
            State::Ok => report.ok += 1,
            State::Missing => report.missing += 1,
            State::Damaged => report.damaged += 1,
            State::Unreachable => report.unreachable += 1,
        }
        let Target { content, record, patient, category, standing, .. } = target;
        report.contents.push(Line { record, patient, category, content, standing, state, places });
    }
    report.print(keeper)?;
    Ok(exit(report.contents.iter().filter_map(|line| line.state.kind())))
}

/// Asks all places for every content, several side by side; in the order of the targets.
async fn look(
    keeper: &Keeper<'_>,
    targets: Vec<Target>,
    depth: Depth,
) -> Result<Vec<(Target, Vec<Found>)>, CliError> {
    let bar = keeper.ui.bar(targets.len() as u64, "checking");
    let turns = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    let mut running = JoinSet::new();
    for (index, target) in targets.into_iter().enumerate() {
        let (storage, turns) = (keeper.storage.clone(), turns.clone());
        running.spawn(async move {
            let _turn = turns.acquire_owned().await;
            let found = storage.check(&target.content, depth).await;
            (index, target, found)
        });
    }
    let mut looked = Vec::new();
    while let Some(done) = running.join_next().await {
        let (index, target, found) =
            done.map_err(|_| super::cannot("check content")(StorageError::ShutDown))?;
        looked.push((index, target, found.map_err(super::cannot("check content"))?));
        bar.inc(1);
    }
    bar.finish_and_clear();
    looked.sort_by_key(|(index, ..)| *index);
    Ok(looked.into_iter().map(|(_, target, found)| (target, found)).collect())
}

/// Copies to every place that needs it and takes content; how many copies that were.
async fn repair(keeper: &Keeper<'_>, target: &Target, places: &mut [AtPlace]) -> usize {
    let writable: Vec<_> =
        keeper.storage.places().into_iter().filter(|it| it.writable).map(|it| it.name).collect();
    let mut repaired = 0;
    for at in places.iter_mut().filter(|at| at.needs_copy() && writable.contains(&at.place)) {
        match keeper.storage.copy(&target.content, &at.place).await {
            Ok(_) => {
                (at.presence, at.repaired) = ("whole", true);
                repaired += 1;
            }
            Err(error) => at.error = Some(error.to_string()),
        }
    }
    repaired
}

impl Report {
    fn print(&self, keeper: &Keeper<'_>) -> Result<(), CliError> {
        let ui = keeper.ui;
        if ui.json() {
            return ui.object(self);
        }
        for line in &self.contents {
            let record = line.record.map(|record| record.to_string()).unwrap_or_default();
            let category = line.category.as_deref().unwrap_or_default();
            for at in &line.places {
                let wanted = if at.wanted { "wanted" } else { "" };
                let said = match (&at.error, at.repaired) {
                    (_, true) => "repaired",
                    (Some(error), false) => error,
                    (None, false) => "",
                };
                let cells: [&dyn std::fmt::Display; 7] =
                    [&record, &category, &line.content, &at.place, &at.presence, &wanted, &said];
                row(ui, &cells)?;
            }
        }
        let Self { checked, ok, missing, damaged, unreachable, repaired, .. } = self;
        ui.status(&format!(
            "{checked} contents: {ok} are where they belong, {missing} missing somewhere, {damaged} damaged \
             somewhere, {unreachable} that a place could not say; {repaired} copies made."
        ));
        Ok(())
    }
}
