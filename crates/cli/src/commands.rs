//! One module for each noun.

mod access;
mod audit;
mod chart;
pub(crate) mod config;
mod consent;
mod consent_fhir;
mod contact;
mod content;
mod custodian;
mod demo;
mod deploy;
mod dev;
mod doctor;
mod effect;
mod fhir;
mod grant;
mod guardian;
mod init;
mod network;
mod proxy;
mod record;
mod recovery;
mod relay;
mod request;
mod share;
mod shell;
mod shown;
mod sign;
mod verify;
mod wallet;

use std::process::ExitCode;

use crate::{
    args::{Cli, Command, ConsentCommand, RecordCommand},
    error::CliError,
    session::Session,
    ui::Ui,
};

pub(crate) fn run(cli: &Cli, ui: &Ui) -> Result<ExitCode, CliError> {
    match &cli.command {
        Command::Init(args) => init::run(args, &cli.globals, ui),
        Command::Wallet(command) => wallet::run(command, &cli.globals, ui),
        Command::Contact(command) => contact::run(command, &cli.globals, ui),
        Command::Network(command) => network::run(command, &cli.globals, ui),
        Command::Completions(args) => shell::completions(args, ui),
        Command::Man(args) => shell::man(args, ui),
        Command::Deploy(args) => deploy::run(args, &cli.globals, ui),
        Command::Doctor(_) => doctor::run(&cli.globals, ui),
        Command::Config(command) => config::run(command, &cli.globals, ui),
        Command::Demo(args) => demo::run(args, &cli.globals, ui),
        Command::Dev(args) => dev::run(args, &cli.globals, ui),
        Command::Fhir(command) => fhir::run(command, &cli.globals, ui),
        Command::Proxy(command) => proxy::run(command, &cli.globals, ui),
        Command::Guardian(command) => block_on(guardian::run(command, &cli.globals, ui)),
        Command::Recovery(command) => block_on(recovery::run(command, &cli.globals, ui)),
        Command::Relay(args) => relay::run(args, &cli.globals, ui),
        Command::Chart(args) => block_on(chart::run(args, &cli.globals, ui)),
        Command::Share(args) => share::run(args, &cli.globals, ui),
        Command::Content(command) => block_on(async {
            tell_of_interruption(ui);
            content::run(command, &cli.globals, ui).await
        }),
        Command::Custodian(args) => {
            block_on(async { Box::pin(custodian::run(args, &cli.globals, ui)).await })
        }
        Command::Verify(args) => block_on(verify::run(args, &cli.globals, ui)),
        // Parts of a file that lies here are nobody else's business: no node, no password.
        Command::Record(RecordCommand::Extract(args)) if record::is_file(args) => {
            record::extract_file(args, ui)
        }
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
    if let Command::Record(RecordCommand::Propose(_) | RecordCommand::Reseal(_))
    | Command::Consent(ConsentCommand::Rotate(_)) = &cli.command
    {
        tell_of_interruption(ui);
    }
    let session = &Session::open(&cli.globals, ui).await?;
    let done = match &cli.command {
        Command::Record(command) => record::run(command, session, ui).await,
        Command::Consent(command) => consent::run(command, session, ui).await,
        Command::Request(command) => request::run(command, session, ui).await,
        Command::Grant(command) => grant::run(command, session, ui).await,
        Command::Access(args) => access::run(args, session, ui).await,
        Command::Audit(args) => audit::run(args, session, ui).await,
        _ => Ok(ExitCode::SUCCESS),
    };
    if !matches!(&cli.command, Command::Consent(ConsentCommand::Deliver(_))) {
        consent::in_passing(session, ui).await;
    }
    // What a command that failed half way wrote into the book is kept as well.
    session.finish().await;
    done
}

/// The exit code of a program that was interrupted, as shells know it.
const INTERRUPTED: i32 = 130;

/// Commands that go on where they stopped say so when they are interrupted. They survive worse: a process that is
/// killed at any moment.
fn tell_of_interruption(ui: &Ui) {
    let ui = ui.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            ui.interrupted();
            std::process::exit(INTERRUPTED);
        }
    });
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
