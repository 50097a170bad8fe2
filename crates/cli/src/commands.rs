//! One module for each noun.

mod demo;
mod fhir;

use std::process::ExitCode;

use crate::{args::Command, error::CliError, ui::Ui};

pub(crate) fn run(command: &Command, ui: &Ui) -> Result<ExitCode, CliError> {
    match command {
        Command::Demo(args) => demo::run(args, ui),
        Command::Fhir(command) => fhir::run(command, ui),
    }
}
