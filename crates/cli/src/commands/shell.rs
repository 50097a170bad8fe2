//! `galen completions` and `galen man`: made from the arguments themselves.

use std::{fs, process::ExitCode};

use clap::CommandFactory;

use crate::{
    args::{Cli, CompletionsArgs, ManArgs},
    error::CliError,
    ui::Ui,
};

pub(crate) fn completions(args: &CompletionsArgs, ui: &Ui) -> Result<ExitCode, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "galen", &mut script);
    ui.lines(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn man(args: &ManArgs, ui: &Ui) -> Result<ExitCode, CliError> {
    let failed =
        |source| CliError::Directory { path: args.directory.display().to_string(), source };
    fs::create_dir_all(&args.directory).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), &args.directory).map_err(failed)?;
    ui.line(&args.directory.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}
