//! `galen proxy`: who helps readers to read while the patient is away.

mod places;
mod report;
mod serve;
mod status;

use std::process::ExitCode;

use crate::{
    args::{Globals, ProxyCommand},
    commands::block_on,
    error::CliError,
    session::Session,
    ui::Ui,
};

pub(crate) use places::{ask_once, asking, called, client, client_for, named};
pub(crate) use status::standing;

pub(crate) fn run(
    command: &ProxyCommand,
    globals: &Globals,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    block_on(async {
        if let ProxyCommand::Serve(args) = command {
            return serve::run(args, globals, ui).await.map(|()| ExitCode::SUCCESS);
        }
        let session = Session::open(globals, ui).await?;
        let code = match command {
            ProxyCommand::Serve(_) => ExitCode::SUCCESS,
            ProxyCommand::Add(args) => places::add(args, &session, ui).await?,
            ProxyCommand::Remove(args) => places::remove(args, &session, ui)?,
            ProxyCommand::List(_) => places::list(&session, ui)?,
            ProxyCommand::Status(args) => status::run(args, &session, ui).await?,
            ProxyCommand::Report(args) => report::run(args, &session, ui).await?,
        };
        session.finish().await;
        Ok(code)
    })
}
