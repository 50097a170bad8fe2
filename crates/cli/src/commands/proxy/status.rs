//! `galen proxy status`: who would answer now.

use std::process::ExitCode;

use alloy_primitives::Address;
use galen_crypto::ProxyPlace;
use galen_sdk::proxies::{ProxyClient, ProxyError, wire::Status};
use galen_types::ErrorKind;
use serde::Serialize;
use tokio::task::JoinSet;

use super::places::{called, client, named, shown};
use crate::{args::ProxyStatusArgs, error::CliError, session::Session, table::row, ui::Ui};

/// The result of `galen proxy status --json`.
#[derive(Debug, Serialize)]
struct Listed {
    /// How many must answer for a read; 0 where the proxies are not one's own set.
    threshold: u8,
    proxies: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    name: String,
    proxy: Address,
    url: String,
    /// `ok`, `fault` or `silent`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

pub(super) async fn run(
    args: &ProxyStatusArgs,
    session: &Session,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    let client = client(session)?;
    let known = &session.book().proxies;
    let own = args.proxies.is_empty();
    let mut places = Vec::new();
    for text in &args.proxies {
        places.push(named(text, session, &client, ui).await?);
    }
    if own {
        places = self::places(session);
    }
    if places.is_empty() {
        let help = "add one with `galen proxy add CONTACT URL`, or name a URL";
        return Err(CliError::not_found("you know no proxy", help));
    }
    let proxies = ask_all(&client, places, session).await;
    let up = proxies.iter().filter(|line| line.state == "ok").count();
    let needed = if own { usize::from(known.threshold()) } else { proxies.len() };
    let threshold = if own { known.threshold() } else { 0 };
    let listed = Listed { threshold, proxies };
    if ui.json() {
        ui.object(&listed)?;
    } else {
        listed.proxies.iter().try_for_each(|line| line.print(ui))?;
    }
    if up < needed {
        ui.warn(&format!(
            "{up} of {} proxies would answer, {needed} are needed",
            listed.proxies.len()
        ));
        return Ok(ExitCode::from(ErrorKind::Unavailable.exit_code()));
    }
    Ok(ExitCode::SUCCESS)
}

/// How many proxies of the book would answer, and what is wrong with the others.
pub(crate) async fn standing(client: &ProxyClient, session: &Session) -> (usize, Vec<String>) {
    let lines = ask_all(client, places(session), session).await;
    let (up, down): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line.state == "ok");
    let said = |line: Line| format!("{}: {}", line.name, line.fault.unwrap_or_default());
    (up.len(), down.into_iter().map(said).collect())
}

fn places(session: &Session) -> Vec<ProxyPlace> {
    let book = session.book();
    let known = book.proxies.places.iter();
    known.map(|it| ProxyPlace { id: it.id, url: it.url.clone() }).collect()
}

/// All at once: a silent one costs the others nothing. In the order in which they were named.
async fn ask_all(client: &ProxyClient, places: Vec<ProxyPlace>, session: &Session) -> Vec<Line> {
    let mut asked = JoinSet::new();
    for (index, place) in places.into_iter().enumerate() {
        let client = client.clone();
        asked.spawn(async move { (index, client.status(&place.url).await, place) });
    }
    let mut lines = Vec::new();
    for (index, status, place) in asked.join_all().await {
        lines.push((index, Line::new(session, &place, status)));
    }
    lines.sort_by_key(|(index, _)| *index);
    lines.into_iter().map(|(_, line)| line).collect()
}

impl Line {
    fn new(session: &Session, place: &ProxyPlace, asked: Result<Status, ProxyError>) -> Self {
        let name = called(session, place);
        let (status, silent) = match asked {
            Ok(status) => (Some(status), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let network = session.network();
        let wrong = status.as_ref().and_then(|it| {
            let same = (it.chain_id, it.ledger) == (network.chain_id, network.ledger);
            match () {
                () if !same => Some("it is for another network".to_owned()),
                () if it.proxy != place.id => Some(format!("{:#x} answers there", it.proxy)),
                () => it.fault.clone(),
            }
        });
        let state = match (&silent, &wrong) {
            (Some(_), _) => "silent",
            (None, Some(_)) => "fault",
            (None, None) => "ok",
        };
        Self { name, proxy: place.id, url: shown(place), state, status, fault: silent.or(wrong) }
    }

    fn print(&self, ui: &Ui) -> Result<(), CliError> {
        let of = |text: fn(&Status) -> String| self.status.as_ref().map(text).unwrap_or_default();
        row(
            ui,
            &[
                &self.name,
                &self.state,
                &self.url,
                &of(|status| status.head.to_string()),
                &of(|status| status.final_block.map_or_else(String::new, |it| it.to_string())),
                &of(|status| format!("{} of {}", status.nodes.1, status.nodes.0)),
                &of(|status| status.window.to_string()),
                &self.fault.as_deref().unwrap_or_default(),
            ],
        )
    }
}
