//! `galen record erase`: forgets records, and says what it could not reach.

use std::process::ExitCode;

use galen_sdk::{Erased, ErasedState, Erasure};
use galen_services::share::ShareStore;
use galen_types::{ContentRef, ErrorKind, RecordId};
use serde::Serialize;

use crate::{
    args::EraseArgs,
    asked::pick,
    commands::{
        content,
        shown::{Party, causes, patient, waiting},
    },
    contacts::unix_now,
    custody,
    error::CliError,
    session::Session,
    table::{list, row},
    ui::Ui,
    when::Instant,
};

/// The result of `galen record erase --json`.
#[derive(Debug, Serialize)]
struct Answer {
    records: Vec<Line>,
    /// Links that this profile has given out. What is in them is not known here.
    links: usize,
}

#[derive(Debug, Serialize)]
struct Line {
    id: RecordId,
    /// Whether no place has anything of it any more, as far as this machine can tell.
    gone: bool,
    contents: Vec<At>,
    /// Contents that another record or a key bundle needs, too.
    kept: Vec<ContentRef>,
    author: Party,
    readers: Vec<Reader>,
}

#[derive(Debug, Serialize)]
struct At {
    content: ContentRef,
    place: String,
    /// `removed`, `let-go`, `still-there`, `not-there`, `read-only`, `failed`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    kind: Option<ErrorKind>,
}

/// Somebody who has seen the record.
#[derive(Debug, Serialize)]
struct Reader {
    grantee: Party,
    /// Unix second.
    last_read: u64,
}

pub(super) async fn run(
    args: &EraseArgs,
    session: &Session,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    let patient = patient(session)?;
    let contents = waiting(ui, "find the records", session.galen().contents(patient.id())).await?;
    let ids = || contents.iter().map(|it| it.record.id());
    let mut records: Vec<RecordId> =
        args.records.iter().map(|text| pick("record", text, ids())).collect::<Result<_, _>>()?;
    records.sort_unstable();
    records.dedup();

    let opened = custody::open(&session.place(), session.galen().ledger().id(), patient.id())?;
    let mut erasures = Vec::new();
    for id in &records {
        let found = patient.erasure(*id, &opened.custody);
        erasures.push(waiting(ui, "find out where the record lies", found).await?);
    }
    let links = ShareStore::new(session.place().shares()).list(unix_now());
    let links = links.map_or(0, |links| links.len());
    explain(&erasures, links, session, ui);
    ui.require_yes(&format!("Forget {} for good?", count(records.len(), "record")))?;

    let mut answer = Answer { records: Vec::new(), links };
    for id in records {
        let erased = patient.erase(id, &opened.custody);
        let erased = waiting(ui, "forget the record", erased).await?;
        answer.records.push(Line::new(&erased, session));
    }
    answer.print(ui)?;
    let lines = answer.records.iter().flat_map(|line| &line.contents);
    Ok(content::exit(lines.filter_map(|at| at.kind)))
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// What goes, and what nothing here can reach.
fn explain(erasures: &[Erasure], links: usize, session: &Session, ui: &Ui) {
    let places = session.galen().storage().places();
    let of = |wanted: fn(&galen_storage::PlaceInfo) -> bool| {
        let names: Vec<_> = places.iter().filter(|it| wanted(it)).map(|it| &it.name).collect();
        (!names.is_empty()).then(|| list(names))
    };
    ui.show("This forgets records of yours for good:");
    for Erasure { record, author, contents, shared, readers } in erasures {
        let readers = readers.iter().map(|(id, time)| {
            let (name, when) = (session.display(*id), Instant::from_unix(*time));
            format!("{name} (last {when})")
        });
        let readers: Vec<_> = readers.collect();
        let read = if readers.is_empty() {
            "nobody has read it".to_owned()
        } else {
            format!("read by {}", list(readers))
        };
        let author = session.display(*author);
        let sealed = count(contents.len(), "sealed content");
        ui.show(&format!("  {record}  of {author}, {sealed}, {read}"));
        if !shared.is_empty() {
            ui.show(&format!("    {} stay: another record needs them", list(shared)));
        }
    }
    ui.show(
        "What goes: every sealed copy that your stores let go of, with the keys and salts in it, and what waits on \
         this machine. What is left on the chain then opens nothing and tells nothing of the text.",
    );
    if let Some(names) = of(|place| place.local) {
        ui.show(&format!(
            "  Removed as files: {names}. A disk may hold the bytes until it writes over them."
        ));
    }
    if let Some(names) = of(|place| place.writable && !place.local) {
        ui.show(&format!("  Asked to let go, and thrown away there when they see fit: {names}."));
    }
    if let Some(names) = of(|place| !place.writable) {
        ui.show(&format!("  Only read from, so nothing can be removed: {names}."));
    }
    ui.show(
        "What stays: that there was a record, its author, its times and its reads, on the chain; what its author \
         keeps; what readers kept; sealed copies that others made, which open for whoever holds the keys of its \
         segment and epoch; backups of disks; files that you saved.",
    );
    if links > 0 {
        let given = count(links, "link");
        ui.show(&format!(
            "  {given} that you gave out may hold it: `galen share list`, `galen share stop`."
        ));
    }
    ui.show("Nothing brings a record back, not your seed either.");
}

impl Line {
    fn new(erased: &Erased, session: &Session) -> Self {
        let Erased { erasure, contents, .. } = erased;
        let at = contents.iter().map(|one| {
            let failed = match &one.state {
                ErasedState::Failed(error) => Some(error),
                _ => None,
            };
            At {
                content: one.content,
                place: one.place.clone(),
                state: one.state.as_str(),
                error: failed.map(|error| causes(error)),
                kind: failed.map(galen_storage::StorageError::kind),
            }
        });
        let reader = |(id, time): &(alloy_primitives::Address, u64)| Reader {
            grantee: Party::new(session, *id),
            last_read: *time,
        };
        Self {
            id: erasure.record,
            gone: erasure.shared.is_empty() && contents.iter().all(|one| one.state.is_gone()),
            contents: at.collect(),
            kept: erasure.shared.clone(),
            author: Party::new(session, erasure.author),
            readers: erasure.readers.iter().map(reader).collect(),
        }
    }
}

impl Answer {
    fn print(&self, ui: &Ui) -> Result<(), CliError> {
        if ui.json() {
            return ui.object(self);
        }
        for Line { id, contents, kept, author, readers, .. } in &self.records {
            for At { content, place, state, error, .. } in contents {
                let error = error.as_deref().unwrap_or_default();
                row(ui, &[state, id, content, place, &error])?;
            }
            for content in kept {
                row(ui, &[&"kept", id, content])?;
            }
            row(ui, &[&"author", id, author])?;
            for Reader { grantee, last_read } in readers {
                row(ui, &[&"reader", id, grantee, &Instant::from_unix(*last_read)])?;
            }
        }
        let open: Vec<_> =
            self.records.iter().filter(|line| !line.gone).map(|line| line.id).collect();
        if open.is_empty() {
            ui.status("No store of yours has anything of it any more.");
        } else {
            let help =
                "not everything is gone; run it again later, or let `galen custodian` ask again";
            ui.warn(&format!("{}: {help}", list(open)));
        }
        Ok(())
    }
}
