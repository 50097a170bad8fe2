//! `galen share`: links for people who do not have Galen.

mod make;
mod manage;
mod open;
mod serve;

use std::{path::Path, process::ExitCode};

use galen_services::share::ShareStore;
use zeroize::Zeroizing;

use super::block_on;
use crate::{
    args::{Globals, ShareArgs, ShareCommand},
    error::CliError,
    settings::Settings,
    ui::Ui,
    unlock::read_secret_file,
};

/// Longest passcode, in bytes.
const MAX_PASSCODE_LEN: usize = 256;

pub(crate) fn run(args: &ShareArgs, globals: &Globals, ui: &Ui) -> Result<ExitCode, CliError> {
    match &args.command {
        None => block_on(make::run(&args.new, globals, ui)),
        Some(ShareCommand::Serve(args)) => block_on(serve::run(args, globals, ui)),
        Some(ShareCommand::List(args)) => manage::list(args, globals, ui),
        Some(ShareCommand::Stop(args)) => manage::stop(args, globals, ui),
        Some(ShareCommand::Open(args)) => block_on(open::run(args, globals, ui)),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// The profile's folder of links.
fn store(settings: &Settings) -> ShareStore {
    ShareStore::new(settings.home.value.profile(&settings.profile.value).shares())
}

/// The passcode from a file or from a person, if either is wanted.
fn passcode(
    file: Option<&Path>,
    ask: bool,
    ui: &Ui,
) -> Result<Option<Zeroizing<String>>, CliError> {
    let text = match file {
        Some(file) => {
            let help =
                "write the passcode into a file that only you can read: --passcode-file FILE";
            read_secret_file(file, "passcode file", help)?
        }
        None if ask => ui.ask_secret("Passcode")?,
        None => return Ok(None),
    };
    if text.is_empty() || text.len() > MAX_PASSCODE_LEN {
        let help = "a passcode has 1 to 256 bytes; 6 random digits are good for 10 tries";
        return Err(CliError::invalid("this is no passcode", help));
    }
    Ok(Some(text))
}
