//! One module for each noun.

mod access;
mod audit;
pub(crate) mod config;
mod consent;
mod demo;
mod dev;
mod fhir;
mod grant;
mod record;
mod relay;
mod request;
mod shown;
mod sign;

use std::process::ExitCode;

use crate::{
    args::{Cli, Command},
    error::CliError,
    session::Session,
    ui::Ui,
};

pub(crate) fn run(cli: &Cli, ui: &Ui) -> Result<ExitCode, CliError> {
    match &cli.command {
        Command::Config(command) => config::run(command, &cli.globals, ui),
        Command::Demo(args) => demo::run(args, ui),
        Command::Dev(args) => dev::run(args, &cli.globals, ui),
        Command::Fhir(command) => fhir::run(command, ui),
        Command::Relay(args) => relay::run(args, &cli.globals, ui),
        Command::Record(_)
        | Command::Consent(_)
        | Command::Request(_)
        | Command::Grant(_)
        | Command::Access(_)
        | Command::Audit(_) => block_on(with_session(cli, ui)),
    }
}

/// Commands of one profile on its network.
async fn with_session(cli: &Cli, ui: &Ui) -> Result<ExitCode, CliError> {
    let session = &Session::open(&cli.globals, ui).await?;
    match &cli.command {
        Command::Record(command) => record::run(command, session, ui).await,
        Command::Consent(command) => consent::run(command, session, ui).await,
        Command::Request(command) => request::run(command, session, ui).await,
        Command::Grant(command) => grant::run(command, session, ui).await,
        Command::Access(args) => access::run(args, session, ui).await,
        Command::Audit(args) => audit::run(args, session, ui).await,
        _ => Ok(ExitCode::SUCCESS),
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
