//! `galen content postage`.

use std::process::ExitCode;

use galen_storage::{PlaceHealth, Postage};
use galen_types::ErrorKind;
use serde::Serialize;

use super::{Keeper, exit};
use crate::{error::CliError, table::row, transfers::span};

/// The result of `galen content postage --json`.
#[derive(Debug, Serialize)]
struct Shown {
    places: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    place: String,
    /// The batch that uploads would use.
    batch: Option<String>,
    seconds_left: Option<u64>,
    used_percent: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    kind: Option<ErrorKind>,
}

impl Line {
    fn new(found: PlaceHealth) -> Self {
        let PlaceHealth { place, health } = found;
        let (postage, error) = match health {
            Ok(health) => (health.postage, None),
            Err(error) => (None, Some(error)),
        };
        let kind = error.as_ref().map(galen_storage::StorageError::kind);
        let error = error.map(|error| error.to_string());
        let Some(Postage { batch, time_left, used_percent }) = postage else {
            return Self {
                place,
                batch: None,
                seconds_left: None,
                used_percent: None,
                error,
                kind,
            };
        };
        Self {
            place,
            batch: Some(batch),
            seconds_left: Some(time_left.as_secs()),
            used_percent: Some(used_percent),
            error,
            kind,
        }
    }
}

pub(super) async fn run(keeper: &Keeper<'_>) -> Result<ExitCode, CliError> {
    let stamped: Vec<_> =
        keeper.storage.places().into_iter().filter(|it| it.kind == "swarm").collect();
    if stamped.is_empty() {
        let help = "name one with --store swarm:URL, or as [stores.NAME] in profile.toml";
        return Err(CliError::not_found("no bee node is set up, and only they need postage", help));
    }
    let all = keeper.ui.waiting("the nodes to answer", keeper.storage.health()).await;
    let places = all.into_iter().filter(|found| stamped.iter().any(|it| it.name == found.place));
    let shown = Shown { places: places.map(Line::new).collect() };
    if keeper.ui.json() {
        keeper.ui.object(&shown)?;
    } else {
        for line in &shown.places {
            let left = line.seconds_left.map(|left| span(std::time::Duration::from_secs(left)));
            row(
                keeper.ui,
                &[
                    &line.place,
                    &line.batch.as_deref().unwrap_or_default(),
                    &left.unwrap_or_default(),
                    &line.used_percent.map(|used| format!("{used} %")).unwrap_or_default(),
                    &line.error.as_deref().unwrap_or_default(),
                ],
            )?;
        }
    }
    Ok(exit(shown.places.iter().filter_map(|line| line.kind)))
}
