//! `galen grant fetch`: proxies keep envelopes for readers.

use std::collections::BTreeSet;

use galen_crypto::ProxyPlace;
use galen_sdk::{Grant, Grantee};
use galen_types::{ConsentId, ErrorKind};
use serde::Serialize;

use super::{Line, keep, kept};
use crate::{
    args::GrantFetchArgs,
    commands::proxy::{ask_once, asking, called, client, named},
    error::CliError,
    session::Session,
    ui::Ui,
};

/// The result of `galen grant fetch --json`.
#[derive(Debug, Serialize)]
struct Fetched {
    /// New, or with new keys.
    grants: Vec<Line>,
    /// Proxies that gave no answer.
    silent: Vec<Silent>,
}

#[derive(Debug, Serialize)]
struct Silent {
    proxy: String,
    url: String,
    error: String,
}

pub(super) async fn run(args: &GrantFetchArgs, session: &Session, ui: &Ui) -> Result<(), CliError> {
    let grantee = asking(session, ui)?;
    let places = places(args, &grantee, session, ui).await?;
    ask_once(session, places.len(), "KeyRequest", "Ask each proxy what was left there for you.")?;
    let (mut silent, mut failed) = (Vec::new(), None);
    let mut new: BTreeSet<ConsentId> = BTreeSet::new();
    for place in &places {
        match fetch(place, &grantee, session, ui).await {
            Ok(found) => new.extend(found),
            Err(error) => {
                let (proxy, text) = (called(session, place), error.with_causes());
                ui.warn(&format!("the proxy {proxy}: {text}"));
                let url = crate::settings::shown_url(&place.url);
                silent.push(Silent { proxy, url, error: text });
                failed = Some(error);
            }
        }
    }
    if let (true, Some(error)) = (silent.len() == places.len(), failed) {
        return Err(error);
    }
    let is_new = |grant: &Grant| new.contains(&grant.consent().id());
    let mut grants = Vec::new();
    for grant in kept(session, &grantee, ui).into_iter().filter(is_new) {
        grants.push(Line::new(session, &grantee, &grant).await?);
    }
    if grants.is_empty() {
        ui.status("Nothing new.");
    }
    if ui.json() {
        return ui.object(&Fetched { grants, silent });
    }
    grants.iter().try_for_each(|line| line.print(ui))
}

/// The proxies that were named, or all that there is to know.
async fn places(
    args: &GrantFetchArgs,
    grantee: &Grantee,
    session: &Session,
    ui: &Ui,
) -> Result<Vec<ProxyPlace>, CliError> {
    let client = client(session)?;
    let mut places: Vec<ProxyPlace> = Vec::new();
    for text in &args.proxy {
        places.push(named(text, session, &client, ui).await?);
    }
    if args.all {
        let book = session.book();
        let known = book.proxies.places.iter();
        let known = known.map(|it| ProxyPlace { id: it.id, url: it.url.clone() });
        let granted = kept(session, grantee, ui).into_iter().flat_map(|grant| grant.proxies());
        for place in known.chain(granted) {
            if !places.iter().any(|other| other.id == place.id) {
                places.push(place);
            }
        }
    }
    if places.is_empty() {
        let help = "name one by its URL, or add it with `galen proxy add`";
        return Err(CliError::not_found("you know no proxy", help));
    }
    Ok(places)
}

/// Takes everything that a proxy keeps for this reader and that is new here.
async fn fetch(
    place: &ProxyPlace,
    grantee: &Grantee,
    session: &Session,
    ui: &Ui,
) -> Result<Vec<ConsentId>, CliError> {
    let failed = |source| CliError::Sdk { doing: "ask what is kept for you", source };
    let asked = ui.waiting("a proxy to answer", grantee.offered(&place.url, None)).await;
    let mut found = Vec::new();
    for offered in asked.map_err(failed)?.grants {
        match grantee.accept_offered(&offered).await {
            Ok((grant, envelope)) => {
                if keep(session, grantee, &grant, &envelope.into())? {
                    found.push(grant.consent().id());
                }
            }
            // What does not reach us now may do so with the next run; what is wrong is nobody's grant.
            Err(source) if source.kind() == ErrorKind::Unavailable => return Err(failed(source)),
            Err(source) => {
                let error = CliError::Sdk { doing: "take a grant", source };
                ui.warn(&format!("the proxy {}: {}", called(session, place), error.with_causes()));
            }
        }
    }
    Ok(found)
}
