//! The proxies in the private book.

use std::{
    process::ExitCode,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use alloy_primitives::Address;
use galen_crypto::ProxyPlace;
use galen_crypto::proxy::MAX_PROXIES;
use galen_sdk::{
    Grantee,
    proxies::{AskProgress, Asking, ProxyClient, wire::Status},
};
use serde::Serialize;

use crate::{
    args::{ProxyAddArgs, ProxyRemoveArgs},
    book::{Book, KnownProxies, KnownProxy},
    commands::shown::{Party, waiting},
    contacts::require_alias,
    error::CliError,
    session::{Session, short},
    settings::shown_url,
    table::row,
    ui::Ui,
};

/// Longest URL of a proxy, in bytes: it travels in every envelope.
const MAX_URL_LEN: usize = 200;

/// The result of `galen proxy list --json`, `add` and `remove`.
#[derive(Debug, Serialize)]
struct Listed {
    /// How many must answer for a read.
    threshold: u8,
    proxies: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    alias: String,
    proxy: Party,
    url: String,
    /// Shares that it did not get yet.
    waiting: usize,
}

/// What speaks to proxies, within the session's limits.
pub(crate) fn client(session: &Session) -> Result<ProxyClient, CliError> {
    client_for(session, session.settings().timeout.value)
}

/// The same, with less patience.
pub(crate) fn client_for(session: &Session, patience: Duration) -> Result<ProxyClient, CliError> {
    let failed = |source| CliError::Proxy { doing: "speak to proxies", source };
    let client =
        ProxyClient::new(patience.min(session.settings().timeout.value)).map_err(failed)?;
    Ok(if session.settings().allow_plain_http.value { client.allow_plain() } else { client })
}

pub(super) async fn add(
    args: &ProxyAddArgs,
    session: &Session,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    let id = session.resolve(&args.contact)?;
    let book = session.book();
    let alias = match &args.alias {
        Some(alias) => alias.clone(),
        None => book.contact(id).map_or_else(|| short(id), |contact| contact.alias.clone()),
    };
    require_alias(&alias)?;
    let url = plain_url(&args.url)?;
    let status = ask(&client(session)?, &url, ui).await?;
    require_same(session, id, &status)?;
    // Nothing can be sealed to an id without a published key.
    let keys = session.galen().keys_of(id);
    waiting(ui, "look up the proxy's key", keys).await?;
    if book.contact(id).is_none_or(|contact| !contact.verified) {
        ui.warn(
            "you never compared this proxy's words with those who serve it: `galen contact show` \
             has them",
        );
    }
    if let Some(fault) = &status.fault {
        ui.warn(&format!("the proxy answers nobody now: {fault}"));
    }
    session.change_book(|book| {
        put(&mut book.proxies, KnownProxy { alias, id, url }, args.threshold)
    })?;
    list(session, ui)
}

async fn ask(client: &ProxyClient, url: &str, ui: &Ui) -> Result<Status, CliError> {
    let asked = ui.waiting("the proxy to answer", client.status(url)).await;
    asked.map_err(|source| CliError::Proxy { doing: "ask the proxy who it is", source })
}

/// Adds a proxy, or gives the one with its id another name and place.
fn put(known: &mut KnownProxies, proxy: KnownProxy, threshold: Option<u8>) -> Result<(), CliError> {
    if known.by_alias(&proxy.alias).is_some_and(|other| other.id != proxy.id) {
        let text = format!("another proxy is called {}", proxy.alias.escape_debug());
        return Err(CliError::invalid(text, "choose another alias with --as"));
    }
    let place = known.places.iter().position(|kept| kept.id == proxy.id);
    match place {
        Some(place) => known.places[place] = proxy,
        None if known.places.len() >= usize::from(MAX_PROXIES) => {
            let text = format!("a set has at most {MAX_PROXIES} proxies");
            return Err(CliError::invalid(text, "take one out with `galen proxy remove`"));
        }
        None => known.places.push(proxy),
    }
    known.threshold = threshold.or(known.threshold);
    require_threshold(known)
}

fn require_threshold(known: &KnownProxies) -> Result<(), CliError> {
    let (needed, count) = (known.threshold(), known.places.len());
    if needed == 0 || usize::from(needed) > count {
        let text = format!("{needed} of {count} proxies cannot be needed");
        return Err(CliError::invalid(text, "give --threshold from 1 to the number of proxies"));
    }
    Ok(())
}

/// What answers must say that it is who is meant, for the network that is meant.
fn require_same(session: &Session, id: Address, status: &Status) -> Result<(), CliError> {
    let network = session.network();
    if (status.chain_id, status.ledger) != (network.chain_id, network.ledger) {
        let text = "the proxy is for another network";
        return Err(CliError::invalid(text, "ask who serves it for the one of your network"));
    }
    if status.proxy != id {
        let text = format!("{:#x} answers there, not {id:#x}", status.proxy);
        let help = "ask who serves it for its card, take it with `galen contact add`, and name that contact";
        return Err(CliError::integrity(text, help));
    }
    Ok(())
}

/// A URL that may stand in envelopes: scheme, host, path; nothing secret.
fn plain_url(text: &str) -> Result<String, CliError> {
    let help =
        format!("give https://HOST, at most {MAX_URL_LEN} bytes, without password and query");
    let text = text.trim_end_matches('/');
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain =
        |c: char| c.is_ascii_graphic() && !matches!(c, '@' | '?' | '#' | '"' | '<' | '>' | '\\');
    match rest {
        Some(rest) if !rest.is_empty() && text.len() <= MAX_URL_LEN && rest.chars().all(plain) => {
            Ok(text.to_owned())
        }
        _ => Err(CliError::invalid("not the URL of a proxy", help)),
    }
}

pub(super) fn remove(
    args: &ProxyRemoveArgs,
    session: &Session,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    let id = known(&session.book(), &args.proxy)?.id;
    ui.require_yes(&format!("Take {} out of the set?", args.proxy.escape_debug()))?;
    let back = session.change_book(|book| {
        book.proxies.places.retain(|proxy| proxy.id != id);
        let count = book.proxies.places.len();
        let too_many = book.proxies.threshold.is_some_and(|needed| usize::from(needed) > count);
        if too_many || count == 0 {
            book.proxies.threshold = None;
        }
        // Shares of consents that are live still belong there: the set is for new ones.
        Ok(too_many && count > 0)
    })?;
    if back {
        ui.warn(
            "fewer proxies are left than had to answer: more than half of them is needed again",
        );
    }
    let through = |through: &crate::book::Through| through.places.iter().any(|place| place.0 == id);
    let live = session
        .book()
        .consents
        .iter()
        .filter(|it| it.through.as_ref().is_some_and(through))
        .count();
    if live > 0 {
        ui.warn(&format!(
            "{live} consents in the book go through it, and it keeps its shares of those that are live: \
             `galen consent rotate` moves them to the proxies that are left"
        ));
    }
    list(session, ui)
}

pub(super) fn list(session: &Session, ui: &Ui) -> Result<ExitCode, CliError> {
    let book = session.book();
    let waiting = |id| book.deliveries.iter().filter(|delivery| delivery.proxy == id).count();
    let proxies = book.proxies.places.iter().map(|proxy| Line {
        alias: proxy.alias.clone(),
        proxy: Party::new(session, proxy.id),
        url: proxy.url.clone(),
        waiting: waiting(proxy.id),
    });
    let proxies: Vec<Line> = proxies.collect();
    let threshold = if proxies.is_empty() { 0 } else { book.proxies.threshold() };
    let listed = Listed { threshold, proxies };
    if ui.json() {
        ui.object(&listed)?;
        return Ok(ExitCode::SUCCESS);
    }
    for Line { alias, proxy, url, waiting } in &listed.proxies {
        row(ui, &[alias, &format!("{:#x}", proxy.id), url, waiting])?;
    }
    if !listed.proxies.is_empty() {
        row(ui, &[&"needed", &format!("{threshold} of {}", listed.proxies.len())])?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The proxy of the book with this alias or id.
fn known(book: &Book, text: &str) -> Result<KnownProxy, CliError> {
    let by_id = || {
        book.proxies.places.iter().find(|proxy| format!("{:#x}", proxy.id) == text.to_lowercase())
    };
    let found = book.proxies.by_alias(text).or_else(by_id).cloned();
    found.ok_or_else(|| {
        CliError::not_found(
            format!("no proxy is called {}", text.escape_debug()),
            "`galen proxy list` shows those that you know; a new one is named by its URL or added \
             with `galen proxy add`",
        )
    })
}

/// The profile as a reader that asks proxies within the session's limits, and says what it waits for.
pub(crate) fn asking(session: &Session, ui: &Ui) -> Result<Grantee, CliError> {
    let timeout = &session.settings().timeout;
    let mut asking = Asking::default().by(client(session)?);
    if timeout.origin.is_said_now() {
        asking = asking.for_at_most(timeout.value);
    }
    let (ui, told) = (ui.clone(), Mutex::new((false, 0)));
    let asking = asking.telling(move |progress| {
        let AskProgress { answered, needed, asked, waiting_for_finality, failed } = *progress;
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting_for_finality > 0 && !std::mem::replace(&mut told.0, true) {
            ui.status("The log can still go away: proxies wait until it is final.");
        }
        if failed > std::mem::replace(&mut told.1, failed) {
            ui.status(&format!(
                "{failed} of {asked} proxies do not help; {answered} of {needed} needed have answered."
            ));
        }
    });
    Ok(session.grantee().asking_proxies(asking))
}

/// A proxy by alias, id, or URL. What answers at a URL is asked who it is; nothing is believed of it that it does
/// not prove.
pub(crate) async fn named(
    text: &str,
    session: &Session,
    client: &ProxyClient,
    ui: &Ui,
) -> Result<ProxyPlace, CliError> {
    if !text.contains("://") {
        let KnownProxy { id, url, .. } = known(&session.book(), text)?;
        return Ok(ProxyPlace { id, url });
    }
    let url = plain_url(text)?;
    let status = ask(client, &url, ui).await?;
    require_same(session, status.proxy, &status)?;
    Ok(ProxyPlace { id: status.proxy, url })
}

/// Asks once for the same question to several proxies.
pub(crate) fn ask_once(
    session: &Session,
    count: usize,
    kind: &'static str,
    covers: &str,
) -> Result<(), CliError> {
    if count < 2 {
        return Ok(());
    }
    let allowed = session.asking().allow_next(count, kind, covers);
    allowed.map_err(|error| CliError::Sdk { doing: "ask the proxies", source: error.into() })
}

/// What a proxy is called here.
pub(crate) fn called(session: &Session, place: &ProxyPlace) -> String {
    let known = session.book().proxies.by_id(place.id).map(|proxy| proxy.alias.clone());
    known.unwrap_or_else(|| Party::new(session, place.id).to_string())
}

/// The URL as it may be shown.
pub(super) fn shown(place: &ProxyPlace) -> String {
    shown_url(&place.url)
}

#[cfg(test)]
mod tests {
    use galen_types::ErrorKind;

    use super::*;

    fn proxy(alias: &str, digit: u8) -> KnownProxy {
        let id = Address::repeat_byte(digit);
        KnownProxy { alias: alias.to_owned(), id, url: format!("https://{alias}.example") }
    }

    #[test]
    fn more_than_half_must_answer_unless_another_number_is_chosen() {
        let mut known = KnownProxies::default();
        for (digit, needed) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)] {
            put(&mut known, proxy(&format!("p{digit}"), digit), None).unwrap();
            assert_eq!(known.threshold(), needed, "{digit}");
        }
        put(&mut known, proxy("p5", 5), Some(5)).unwrap();
        assert_eq!((known.threshold(), known.places.len()), (5, 5));
        for wrong in [0, 6] {
            let error = put(&mut known.clone(), proxy("p5", 5), Some(wrong)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
        let error = put(&mut known, proxy("p1", 9), None).unwrap_err();
        assert!(error.to_string().contains("another proxy"), "{error}");
    }

    #[test]
    fn urls_of_proxies_hold_no_secret_and_nothing_that_acts() {
        for (text, expected) in [
            ("https://proxy.example/", Some("https://proxy.example")),
            ("http://127.0.0.1:8700", Some("http://127.0.0.1:8700")),
            ("https://a.example/galen/proxy", Some("https://a.example/galen/proxy")),
            ("proxy.example", None),
            ("ftp://proxy.example", None),
            ("https://", None),
            ("https://user:password@proxy.example", None),
            ("https://proxy.example/?token=1", None),
            ("https://proxy.example/#x", None),
            ("https://proxy.example/a b", None),
            ("https://proxy.example/\u{202e}", None),
        ] {
            assert_eq!(plain_url(text).ok().as_deref(), expected, "{text}");
        }
        assert!(plain_url(&format!("https://{}", "a".repeat(MAX_URL_LEN))).is_err());
    }
}
