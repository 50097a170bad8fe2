//! The program `galen`: parses arguments, calls the SDK, prints.

mod args;
mod commands;
mod error;
mod ui;

use std::process::ExitCode;

use clap::Parser;

use crate::{args::Cli, ui::Ui};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ui = Ui::new(cli.json, cli.quiet);
    match commands::run(&cli.command, &ui) {
        Ok(code) => code,
        // `galen … | head` closed stdout: the reader has what it wanted.
        Err(error) if error.is_closed_stdout() => ExitCode::SUCCESS,
        Err(error) => {
            ui.error(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}
