//! `galen config`: settings and where they came from.

use std::{collections::BTreeMap, process::ExitCode};

use serde::Serialize;

use crate::{
    args::{ConfigCommand, Globals},
    error::CliError,
    settings::Settings,
    ui::Ui,
};

pub(crate) fn run(
    command: &ConfigCommand,
    globals: &Globals,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    let ConfigCommand::Show = command;
    let rows = Settings::resolve(globals)?.rows();
    if ui.json() {
        let settings = rows.iter().map(|row| (row.setting.as_str(), row)).collect();
        ui.object(&Shown { settings })?;
    } else {
        for row in &rows {
            let value = row.value.as_deref().unwrap_or("-");
            ui.line(&format!("{}\t{value}\t{}", row.setting, row.origin))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The result of `galen config show --json`.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    settings: BTreeMap<&'a str, &'a Row>,
}

/// One setting, as it is shown.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    #[serde(skip)]
    pub(crate) setting: String,
    /// `None`: not set.
    pub(crate) value: Option<String>,
    pub(crate) origin: String,
}
