//! `galen demo`: the whole life of a patient's records, on embedded parts or on real ones.

mod cast;
mod proxies;
mod report;
mod stage;
mod story;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use tempfile::TempDir;

use crate::{
    args::{DemoArgs, Globals},
    commands::{
        block_on,
        demo::{report::Report, stage::Wish},
        fhir::read_input,
    },
    error::CliError,
    ui::Ui,
};

/// A patient that the project wrote.
const BUILT_IN_PATIENT: &[u8] = include_bytes!("../../../../tests/fixtures/patient.json");

pub(crate) fn run(args: &DemoArgs, globals: &Globals, ui: &Ui) -> Result<ExitCode, CliError> {
    let started = Instant::now();
    let (name, bundle) = match &args.bundle {
        Some(path) => (path.display().to_string(), read_input(path)?),
        None => ("the built-in patient".to_owned(), BUILT_IN_PATIENT.to_vec()),
    };
    let place = Place::new(args.keep.as_deref())?;
    let mut report = Report::default();
    let wish = Wish { args, globals, place: place.path(), ui };
    block_on(story::tell(&name, bundle, &wish, &mut report))?;
    report.seconds = started.elapsed().as_secs_f64();
    if ui.json() {
        ui.object(&report)?;
    } else {
        report.print(ui)?;
        if let Some(kept) = &args.keep {
            ui.line(&format!("What was kept on this machine is in {}.", kept.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Where chain and content lie while the demo runs.
enum Place {
    Kept(PathBuf),
    Temporary(TempDir),
}

impl Place {
    fn new(keep: Option<&Path>) -> Result<Self, CliError> {
        let Some(path) = keep else {
            let made = TempDir::with_prefix("galen-demo-");
            let failed =
                |source| CliError::Directory { path: "for temporary files".into(), source };
            return made.map(Self::Temporary).map_err(failed);
        };
        let failed = |source| CliError::Directory { path: path.display().to_string(), source };
        std::fs::create_dir_all(path).map_err(failed)?;
        if std::fs::read_dir(path).map_err(failed)?.next().is_some() {
            return Err(CliError::NotEmpty { path: path.display().to_string() });
        }
        Ok(Self::Kept(path.to_owned()))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(directory) => directory.path(),
        }
    }
}
