//! `galen content prune`.

use std::{collections::BTreeMap, process::ExitCode};

use galen_sdk::{ContentStanding, NamedContent, RecordContent};
use galen_storage::{Depth, Presence, StorageError};
use galen_types::{ContentRef, ErrorKind, RecordId};
use serde::Serialize;

use super::{Keeper, exit, targets::Chart};
use crate::{
    args::ContentPruneArgs,
    commands::{
        record::sealed_contents,
        shown::{cannot, waiting},
    },
    custody,
    error::CliError,
    table::row,
    transfers::bytes,
};

/// The result of `galen content prune --json`.
#[derive(Debug, Default, Serialize)]
struct Report {
    contents: Vec<Line>,
    /// Bytes of content that was staged on this machine and that nothing waits for.
    staged_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Line {
    record: RecordId,
    content: ContentRef,
    /// Why it is not needed: `resealed`, `rejected`, `withdrawn`, `expired` or `void`.
    standing: &'static str,
    place: String,
    /// `released`, `kept` or `failed`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    kind: Option<ErrorKind>,
}

/// A copy that may go.
struct Removable {
    record: RecordId,
    content: ContentRef,
    standing: &'static str,
    place: String,
}

pub(super) async fn run(
    args: &ContentPruneArgs,
    keeper: &Keeper<'_>,
) -> Result<ExitCode, CliError> {
    let removable = find(args, keeper).await?;
    let mut report = Report::default();
    if removable.is_empty() {
        keeper.ui.status("No place has content that nobody needs.");
    } else {
        ask(&removable, keeper)?;
        for one in removable {
            let done = keeper.storage.release(&one.content, &one.place).await;
            report.contents.push(Line::new(one, done));
        }
    }
    // What an import has sealed and not proposed yet is needed, though no upload waits for it.
    let session = keeper.session()?;
    let mut sealed = sealed_contents(&session.place())?;
    // So is what the custodian has sealed and not announced yet, in whichever chart.
    sealed.extend(custody::unfinished(&session.place())?);
    let keep = |content: &ContentRef| sealed.contains(content);
    let pruned = keeper.storage.prune_staged(&keep).await;
    report.staged_bytes = pruned.map_err(super::cannot("reclaim staged content"))?;
    report.print(keeper)?;
    Ok(exit(report.contents.iter().filter_map(|line| line.kind)))
}

/// Which copies may go: content that nobody needs, at places that take content and have it.
async fn find(args: &ContentPruneArgs, keeper: &Keeper<'_>) -> Result<Vec<Removable>, CliError> {
    let (ui, session) = (keeper.ui, keeper.session()?);
    let writable: Vec<_> =
        keeper.storage.places().into_iter().filter(|it| it.writable).map(|it| it.name).collect();
    let doing = "find out what nobody needs";
    let mut removable = Vec::new();
    for chart in Chart::all(session, args.patient.as_deref()).await? {
        let found = match &chart.contact {
            None => waiting(ui, doing, session.patient().removable()).await?,
            Some(contact) => waiting(ui, doing, session.organization().removable(contact)).await?,
        };
        let contents = session.galen().contents(chart.patient).await.map_err(cannot(doing))?;
        let mut newer = Newer { keeper, contents: &contents, known: BTreeMap::new() };
        for (record, one) in found {
            if one.standing == ContentStanding::Resealed && !newer.is_there(record, &one).await? {
                ui.warn(&format!(
                    "{} stays: no place has newer content of record {record} just now",
                    one.content
                ));
                continue;
            }
            let there = keeper.storage.check(&one.content, Depth::Root).await;
            for found in there.map_err(super::cannot(doing))? {
                // What did not answer is asked to let go all the same; it says so if it cannot.
                let may_have =
                    !matches!(found.presence, Presence::Missing | Presence::AddressUnknown);
                if may_have && writable.contains(&found.place) {
                    removable.push(Removable {
                        record,
                        content: one.content,
                        standing: one.standing.as_str(),
                        place: found.place,
                    });
                }
            }
        }
    }
    Ok(removable)
}

/// Whether newer content of a version can be had, asked once.
struct Newer<'a> {
    keeper: &'a Keeper<'a>,
    contents: &'a [RecordContent],
    known: BTreeMap<ContentRef, bool>,
}

impl Newer<'_> {
    async fn is_there(&mut self, record: RecordId, old: &NamedContent) -> Result<bool, CliError> {
        let of_record = self.contents.iter().find(|it| it.record.id() == record);
        let newest = of_record.and_then(|it| {
            let mut newest = it.contents.iter().rev();
            newest.find(|it| it.version == old.version && it.standing == ContentStanding::Current)
        });
        let Some(newest) = newest.filter(|newest| newest.content != old.content) else {
            return Ok(false);
        };
        if let Some(known) = self.known.get(&newest.content) {
            return Ok(*known);
        }
        let found = self.keeper.storage.check(&newest.content, Depth::Whole).await;
        let found = found.map_err(super::cannot("check newer content"))?;
        let is_there = found.iter().any(|it| matches!(it.presence, Presence::Whole));
        self.known.insert(newest.content, is_there);
        Ok(is_there)
    }
}

/// Shows what would go, and asks.
fn ask(removable: &[Removable], keeper: &Keeper<'_>) -> Result<(), CliError> {
    let ui = keeper.ui;
    ui.show("Content that nobody needs any more:");
    for Removable { record, content, standing, place } in removable {
        ui.show(&format!("  {content}  {standing}, at {place}, of record {record}"));
    }
    ui.show(
        "Whoever kept a copy of it keeps it. What is let go of here cannot be had back from there.",
    );
    ui.require_yes(&format!("Let go of these {} copies?", removable.len()))
}

impl Line {
    fn new(one: Removable, done: Result<bool, StorageError>) -> Self {
        let Removable { record, content, standing, place } = one;
        let (state, error) = match done {
            Ok(true) => ("released", None),
            Ok(false) => ("kept", None),
            Err(error) => ("failed", Some(error)),
        };
        let kind = error.as_ref().map(StorageError::kind);
        let error = error.map(|error| error.to_string());
        Self { record, content, standing, place, state, error, kind }
    }
}

impl Report {
    fn print(&self, keeper: &Keeper<'_>) -> Result<(), CliError> {
        let ui = keeper.ui;
        if ui.json() {
            return ui.object(self);
        }
        for Line { record, content, standing, place, state, error, .. } in &self.contents {
            let error = error.as_deref().unwrap_or_default();
            row(ui, &[state, record, content, standing, place, &error])?;
        }
        row(ui, &[&"staged", &self.staged_bytes])?;
        if self.staged_bytes > 0 {
            ui.status(&format!("{} of staged content were reclaimed.", bytes(self.staged_bytes)));
        }
        Ok(())
    }
}
