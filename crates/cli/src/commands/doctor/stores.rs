//! The stores of a profile, as `galen doctor` looks at them.

use std::time::Duration;

use galen_storage::{Depth, Health, PlaceHealth, PlaceInfo, Postage, Presence, Storage};

use super::Report;
use crate::{error::CliError, settings::Settings, transfers::span, ui::Ui};

/// Postage that lasts less long is worth a warning.
const SHORT_POSTAGE: Duration = Duration::from_secs(14 * 24 * 3_600);

/// Postage that is used more than this, in percent, is soon full.
const FULL_POSTAGE: u8 = 90;

/// Copies that are looked up, the newest ones.
const SAMPLE: usize = 8;

pub(super) async fn examine(settings: &Settings, ui: &Ui, report: &mut Report) {
    let storage = match settings.open_stores(ui).await {
        Ok(storage) => storage,
        Err(error) => return report.error("store", &error),
    };
    if settings.places.keep_in().is_empty() {
        report.warn(
            "store",
            "only sources to read from are set up: nothing can be kept",
            "add a path, swarm:URL or ipfs:URL to store in profile.toml",
        );
    }
    let places = storage.places();
    let wanted = settings.places.wanted();
    let healths = ui.waiting("the stores to answer", storage.health()).await;
    for (place, PlaceHealth { health, .. }) in places.iter().zip(healths) {
        let is_wanted = wanted.iter().any(|name| name.as_str() == place.name);
        match health {
            Ok(health) => well(place, &health, is_wanted, report),
            Err(source) => {
                let error = CliError::Storage { doing: "reach the store", source };
                let cause = std::error::Error::source(&error);
                let text = cause.map(ToString::to_string).unwrap_or_default();
                let text = format!("{}: {text}", place.name);
                if is_wanted {
                    let (kind, help) = (error.kind(), error.help().to_owned());
                    report.error("store", &CliError::Told { kind, text, help });
                } else {
                    report.warn("store", text, error.help());
                }
            }
        }
    }
    kept(&storage, report).await;
}

/// A place that answers.
fn well(place: &PlaceInfo, health: &Health, is_wanted: bool, report: &mut Report) {
    let version = health.version.as_deref().map(|version| format!(", {version}"));
    let found = format!(
        "{}: {} {}{}",
        place.name,
        place.kind,
        place.endpoints.join(" "),
        version.unwrap_or_default()
    );
    let Some(Postage { batch, time_left, used_percent }) = &health.postage else {
        return report.ok("store", found);
    };
    let start = batch.get(..8).unwrap_or(batch);
    let found =
        format!("{found}; postage {start}… lasts {}, {used_percent} % used", span(*time_left));
    match () {
        () if *time_left < SHORT_POSTAGE && is_wanted => {
            report.warn(
                "store",
                found,
                "top the batch up (bee's PATCH /stamps/topup) before it ends",
            );
        }
        () if *used_percent >= FULL_POSTAGE && is_wanted => {
            report.warn(
                "store",
                found,
                "buy another batch, or dilute this one (bee's PATCH /stamps/dilute)",
            );
        }
        () => report.ok("store", found),
    }
}

/// Uploads that are not finished, and whether the newest copies are still where they were made.
async fn kept(storage: &Storage, report: &mut Report) {
    let failed = |source| CliError::Storage { doing: "look up the copies", source };
    match storage.pending().await {
        Ok(pending) if pending.is_empty() => report.ok("uploads", "none is unfinished"),
        Ok(pending) => report.warn(
            "uploads",
            format!("{} are not finished", pending.len()),
            "galen content copy --pending goes on",
        ),
        Err(error) => report.error("uploads", &failed(error)),
    }
    let mut copies = match storage.copies().await {
        Ok(copies) => copies,
        Err(error) => return report.error("copies", &failed(error)),
    };
    copies.sort_by_key(|copy| std::cmp::Reverse(copy.since));
    let (mut there, mut gone) = (0, 0);
    for copy in copies.iter().take(SAMPLE) {
        let at = copy.addresses.of(galen_types::Store::Swarm);
        let Ok(found) = storage.check(&at, Depth::Root).await else { continue };
        match found.iter().find(|found| found.place == copy.place).map(|found| &found.presence) {
            Some(Presence::Whole | Presence::Present) => there += 1,
            Some(Presence::Missing | Presence::Damaged) => gone += 1,
            // A place that does not answer was told above, and one that is set up no more is not asked.
            _ => {}
        }
    }
    match (there, gone) {
        (_, 0) => {
            report.ok("copies", format!("{} made, the newest {there} are there", copies.len()))
        }
        _ => report.warn(
            "copies",
            format!("of the newest {} copies {gone} are gone", there + gone),
            "galen content check --repair copies from what is left",
        ),
    }
}
