//! `galen guardian`: who gives the keys back, and what one does as one of them.

mod own;
mod pieces;
mod ward;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex},
};

use crate::{
    args::{Globals, GuardianCommand},
    code::Code,
    error::CliError,
    home::{create_dir, create_private},
    session::Session,
    settings::Settings,
    ui::Ui,
    unlock::Keyring,
};

pub(crate) async fn run(
    command: &GuardianCommand,
    globals: &Globals,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    let settings = Settings::resolve(globals)?;
    let keyring = Arc::new(Mutex::new(Keyring::new(ui.clone(), settings.password_file())));
    let session = Session::open_with(settings, keyring.clone(), ui).await?;
    let done = match command {
        GuardianCommand::Set(args) => own::set(args, &session, &keyring, ui).await,
        GuardianCommand::Pieces(args) => pieces::run(args, &session, &keyring, ui).await,
        GuardianCommand::Status(_) => own::status(&session, ui).await,
        GuardianCommand::Remove(_) => own::remove(&session, ui).await,
        GuardianCommand::Accept(args) => ward::accept(args, &session, ui).await,
        GuardianCommand::List(_) => ward::list_all(&session, ui).await,
        GuardianCommand::Approve(args) => ward::approve(args, &session, ui).await,
        GuardianCommand::Give(args) => ward::give(args, &session, ui).await,
    };
    // What a command that failed half way wrote into the book is kept as well.
    session.finish().await;
    done.map(|()| ExitCode::SUCCESS)
}

/// Writes a line to a file that does not exist yet, if one is named.
fn write_line(path: Option<&Path>, line: &Code) -> Result<(), CliError> {
    let Some(path) = path else { return Ok(()) };
    create_private(path, format!("{line}\n").as_bytes())
}

/// A file for somebody in a folder, which is made if it is not there. Nothing of the name but letters and digits
/// gets into the path.
fn file_for(folder: &Path, name: &str) -> Result<PathBuf, CliError> {
    create_dir(folder)?;
    let fit = |letter: char| if letter.is_alphanumeric() { letter } else { '-' };
    let name: String = name.chars().map(fit).collect();
    Ok(folder.join(format!("{name}.guardian")))
}
