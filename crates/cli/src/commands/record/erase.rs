//! `galen record erase`: forgets records, and says what it could not reach.

mod explain;

use std::process::ExitCode;

use alloy_primitives::Address;
use galen_sdk::{Erased, ErasedState, Role};
use galen_services::share::ShareStore;
use galen_types::{ContentRef, ErrorKind, RecordId};
use serde::Serialize;

use self::explain::{count, explain};
use super::own::Own;
use crate::{
    args::EraseArgs,
    asked::pick,
    commands::{
        content,
        shown::{Party, causes, waiting},
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
    /// Sealed copies of an author's own that went.
    #[serde(skip_serializing_if = "Option::is_none")]
    copies: Option<usize>,
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
    let own = Own::of(session, args.patient.as_deref()).await?;
    let contents = session.galen().contents(own.patient());
    let contents = waiting(ui, "find the records", contents).await?;
    let keys = contents.iter().map(|it| it.record).filter(|it| own.keeps(it));
    let ids: Vec<RecordId> = keys.map(|key| key.id()).collect();
    let pick = |text: &String| pick("record", text, ids.iter().copied());
    let mut records: Vec<RecordId> = args.records.iter().map(pick).collect::<Result<_, _>>()?;
    records.sort_unstable();
    records.dedup();

    let ledger = session.galen().ledger().id();
    let opened = custody::open(&session.place(), ledger, own.patient())?;
    let mut erasures = Vec::new();
    for id in &records {
        let found = own.erasure(*id, &opened.custody);
        erasures.push(waiting(ui, "find out where the record lies", found).await?);
    }
    let links = ShareStore::new(session.place().shares()).list(unix_now());
    let links = links.map_or(0, |links| links.len());
    explain(&own, &erasures, links, session, ui);
    ui.require_yes(&format!("Forget {} for good?", count(records.len(), "record")))?;

    let mut answer = Answer { records: Vec::new(), links };
    for id in records {
        let erased = own.erase(id, &opened.custody);
        let erased = waiting(ui, "forget the record", erased).await?;
        answer.records.push(Line::new(&erased, session));
    }
    answer.print(ui)?;
    let lines = answer.records.iter().flat_map(|line| &line.contents);
    Ok(content::exit(lines.filter_map(|at| at.kind)))
}

impl Line {
    fn new(erased: &Erased, session: &Session) -> Self {
        let Erased { erasure, contents, copies } = erased;
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
        let reader = |(id, time): &(Address, u64)| Reader {
            grantee: Party::new(session, *id),
            last_read: *time,
        };
        Self {
            id: erasure.record,
            gone: erasure.shared.is_empty() && contents.iter().all(|one| one.state.is_gone()),
            contents: at.collect(),
            kept: erasure.shared.clone(),
            copies: (session.role() == Role::Organization).then_some(*copies),
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
        for Line { id, contents, kept, copies, author, readers, .. } in &self.records {
            for At { content, place, state, error, .. } in contents {
                let error = error.as_deref().unwrap_or_default();
                row(ui, &[state, id, content, place, &error])?;
            }
            for content in kept {
                row(ui, &[&"kept", id, content])?;
            }
            if let Some(copies) = copies {
                row(ui, &[&"copies", id, copies])?;
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
