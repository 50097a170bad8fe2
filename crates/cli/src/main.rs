//! The program `galen`: parses arguments, calls the SDK, prints.

mod args;
mod asked;
mod book;
mod code;
mod commands;
mod connect;
mod contacts;
mod custody;
#[cfg(feature = "hardware")]
mod device;
mod error;
mod hidden;
mod home;
mod journal;
mod networks;
mod outfile;
mod owners;
mod places;
mod profile;
mod qr;
mod session;
mod settings;
mod signers;
mod signing;
mod site;
mod stores;
mod table;
mod transfers;
mod ui;
mod unlock;
mod wallet;
mod when;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    args::{Cli, Globals},
    ui::Ui,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let Globals { json, quiet, yes, .. } = cli.globals;
    let ui = Ui::new(json, quiet, yes);
    match commands::run(&cli, &ui) {
        Ok(code) => code,
        // `galen … | head` closed stdout: the reader has what it wanted.
        Err(error) if error.is_closed_stdout() => ExitCode::SUCCESS,
        Err(error) => {
            ui.error(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}
