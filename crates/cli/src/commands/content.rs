//! `galen content`: where sealed content lies, copies of it, and what may go.

mod check;
mod copy;
mod list;
mod postage;
mod prune;
mod targets;

use std::process::ExitCode;

use galen_storage::{Storage, StorageError};
use galen_types::ErrorKind;

use crate::{
    args::{ContentCommand, Globals},
    error::CliError,
    session::Session,
    settings::Settings,
    ui::Ui,
};

pub(crate) async fn run(
    command: &ContentCommand,
    globals: &Globals,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    match command {
        ContentCommand::List(args) => list::run(args, &Keeper::open(globals, ui).await?).await,
        ContentCommand::Postage(_) => postage::run(&Keeper::open(globals, ui).await?).await,
        ContentCommand::Copy(args) if args.pending || targets::are_contents(&args.targets) => {
            copy::run(args, &Keeper::open(globals, ui).await?).await
        }
        ContentCommand::Copy(args) => {
            copy::run(args, &Keeper::of_session(globals, ui).await?).await
        }
        ContentCommand::Check(args) if targets::are_contents(&args.targets) => {
            check::run(args, &Keeper::open(globals, ui).await?).await
        }
        ContentCommand::Check(args) => {
            check::run(args, &Keeper::of_session(globals, ui).await?).await
        }
        ContentCommand::Prune(args) => {
            prune::run(args, &Keeper::of_session(globals, ui).await?).await
        }
    }
}

/// The stores of a profile; with its keys and its network if records are named.
struct Keeper<'a> {
    storage: Storage,
    settings: Settings,
    session: Option<Session>,
    ui: &'a Ui,
}

impl<'a> Keeper<'a> {
    /// The stores alone: needs no password and no chain.
    async fn open(globals: &Globals, ui: &'a Ui) -> Result<Self, CliError> {
        let settings = Settings::resolve(globals)?;
        settings.require_profile()?;
        let storage = settings.open_stores(ui).await?;
        Ok(Self { storage, settings, session: None, ui })
    }

    async fn of_session(globals: &Globals, ui: &'a Ui) -> Result<Self, CliError> {
        let session = Session::open(globals, ui).await?;
        let storage = session.galen().storage().clone();
        Ok(Self { storage, settings: session.settings().clone(), session: Some(session), ui })
    }

    /// The session that commands about records have.
    fn session(&self) -> Result<&Session, CliError> {
        let help = "name contents as swarm:… or ipfs:…";
        self.session.as_ref().ok_or_else(|| CliError::invalid("no record can be looked up", help))
    }

    /// The name of a place that is set up.
    fn place(&self, name: &str) -> Result<(), CliError> {
        let names: Vec<_> = self.storage.places().into_iter().map(|place| place.name).collect();
        if names.iter().any(|it| it == name) {
            return Ok(());
        }
        let text = format!("there is no store {}", crate::table::cell(name));
        Err(CliError::invalid(text, format!("the stores are: {}", names.join(", "))))
    }
}

/// Names what was being done when a store failed.
const fn cannot(doing: &'static str) -> impl Fn(StorageError) -> CliError {
    move |source| CliError::Storage { doing, source }
}

/// The exit code of what failed: wrong bytes before what is missing, that before what did not answer.
pub(super) fn exit(failures: impl IntoIterator<Item = ErrorKind>) -> ExitCode {
    let gravity = |kind: &ErrorKind| match kind {
        ErrorKind::Integrity => 3,
        ErrorKind::NotFound => 2,
        ErrorKind::Unavailable => 1,
        _ => 0,
    };
    let worst = failures.into_iter().max_by_key(gravity);
    worst.map_or(ExitCode::SUCCESS, |kind| ExitCode::from(kind.exit_code()))
}
