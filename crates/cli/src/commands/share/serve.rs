//! `galen share serve`: answers the links of a profile.

use galen_services::{http, share::ShareServer};
use serde::Serialize;

use super::store;
use crate::{
    args::{Globals, ShareServeArgs},
    commands::{
        dev::{interrupted, listen},
        relay::now,
    },
    error::CliError,
    settings::Settings,
    ui::Ui,
};

/// What `--json` prints once the server answers.
#[derive(Debug, Serialize)]
struct Ready {
    url: String,
    folder: String,
}

pub(super) async fn run(args: &ShareServeArgs, globals: &Globals, ui: &Ui) -> Result<(), CliError> {
    let store = store(&Settings::resolve(globals)?);
    let folder = store.folder().display().to_string();
    let listener = listen(args.listen).await?;
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        ui.status(&format!(
            "Others can reach {address}, in plain HTTP: put a reverse proxy with TLS before it."
        ));
    }
    let url = format!("http://{address}");
    let base = args.base_url.as_deref().unwrap_or(&url);
    let log = ui.clone();
    let server =
        ShareServer::new(store, base, move |event| log.status(&format!("{} {event}", now())))?;
    ui.status(&format!("Links of {folder}. Ctrl-C ends it."));
    let stop = interrupted();
    if ui.json() {
        ui.object_line(&Ready { url, folder })?;
    } else {
        ui.line(&url)?;
    }
    http::serve(listener, server.router(), ShareServer::http_limits(), stop).await;
    ui.status("Stopped.");
    Ok(())
}
