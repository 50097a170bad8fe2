//! One module for each noun.

pub(crate) mod config;
mod demo;
mod dev;
mod fhir;

use std::process::ExitCode;

use crate::{
    args::{Cli, Command},
    error::CliError,
    ui::Ui,
};

pub(crate) fn run(cli: &Cli, ui: &Ui) -> Result<ExitCode, CliError> {
    match &cli.command {
        Command::Config(command) => config::run(command, &cli.globals, ui),
        Command::Demo(args) => demo::run(args, ui),
        Command::Dev(args) => dev::run(args, &cli.globals, ui),
        Command::Fhir(command) => fhir::run(command, ui),
    }
}

/// Runs a command that waits for nodes, relays or stores.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|source| CliError::Directory { path: "the runtime".to_owned(), source })?
        .block_on(work)
}
