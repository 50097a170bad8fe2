//! `galen share list` and `stop`.

use galen_services::share::{ShareState, ShareStore};
use serde::Serialize;

use super::store;
use crate::{
    args::{Globals, ShareListArgs, ShareStopArgs},
    asked::AskError,
    contacts::unix_now,
    error::CliError,
    settings::Settings,
    table::{NONE, row},
    ui::Ui,
    when::Instant,
};

/// Fewest characters of a shortened id.
const MIN_LEN: usize = 8;

/// The result of `galen share list --json`.
#[derive(Debug, Serialize)]
struct Listed {
    links: Vec<Link>,
}

#[derive(Debug, Serialize)]
struct Link {
    id: String,
    state: &'static str,
    label: Option<String>,
    created: u64,
    expires: Option<u64>,
    files: usize,
    passcode: bool,
    once: bool,
    opened: u64,
    remaining: Option<u64>,
    log: Vec<Event>,
}

#[derive(Debug, Serialize)]
struct Event {
    at: u64,
    what: &'static str,
    recipient: String,
}

pub(super) fn list(args: &ShareListArgs, globals: &Globals, ui: &Ui) -> Result<(), CliError> {
    let store = store(&Settings::resolve(globals)?);
    let states = match &args.id {
        Some(id) => vec![find(&store, id)?],
        None => store.list(unix_now())?,
    };
    let links: Vec<Link> = states.into_iter().map(Link::of).collect();
    if ui.json() {
        return ui.object(&Listed { links });
    }
    if args.id.is_some() {
        let events = links.iter().flat_map(|link| &link.log);
        return events.into_iter().try_for_each(|event| {
            row(ui, &[&Instant::from_unix(event.at), &event.what, &event.recipient])
        });
    }
    links.iter().try_for_each(|link| link.print(ui))
}

pub(super) fn stop(args: &ShareStopArgs, globals: &Globals, ui: &Ui) -> Result<(), CliError> {
    let store = store(&Settings::resolve(globals)?);
    // All of them are looked up before one is stopped.
    let found: Result<Vec<_>, _> = args.ids.iter().map(|id| find(&store, id)).collect();
    let mut stopped = Vec::new();
    for state in found? {
        store.stop(&state.id)?;
        stopped.push(Link::of(store.state(&state.id, unix_now())?));
    }
    if ui.json() {
        return ui.object(&Listed { links: stopped });
    }
    stopped.iter().try_for_each(|link| row(ui, &[&link.id, &link.state]))
}

/// The one link that begins so.
fn find(store: &ShareStore, text: &str) -> Result<ShareState, CliError> {
    let shown = || crate::table::cell(text);
    let mut fits = store.list(unix_now())?;
    fits.retain(|state| text.len() >= MIN_LEN && state.id.expose().starts_with(text));
    if fits.len() > 1 {
        return Err(AskError::Ambiguous { what: "link", text: shown(), count: fits.len() }.into());
    }
    fits.pop().ok_or_else(|| AskError::NoSuch { what: "link", text: shown() }.into())
}

impl Link {
    fn of(state: ShareState) -> Self {
        let event = |entry: galen_services::share::LogEntry| Event {
            at: entry.at,
            what: if entry.opened { "opened" } else { "tried" },
            recipient: entry.recipient,
        };
        Self {
            id: state.id.short().to_owned(),
            state: state.status.as_str(),
            label: state.label,
            created: state.created,
            expires: state.expires,
            files: state.files,
            passcode: state.passcode,
            once: state.once,
            opened: state.opened,
            remaining: state.passcode.then_some(state.remaining),
            log: state.log.into_iter().map(event).collect(),
        }
    }

    fn print(&self, ui: &Ui) -> Result<(), CliError> {
        let expires = self.expires.map(|at| Instant::from_unix(at).to_string()).unwrap_or_default();
        let remaining = self.remaining.map(|count| count.to_string()).unwrap_or_default();
        let word = |set, word| if set { word } else { NONE };
        row(
            ui,
            &[
                &self.id,
                &self.state,
                &Instant::from_unix(self.created),
                &expires,
                &self.files,
                &word(self.passcode, "passcode"),
                &word(self.once, "once"),
                &self.opened,
                &remaining,
                &self.label.as_deref().unwrap_or_default(),
            ],
        )
    }
}
