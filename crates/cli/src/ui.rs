//! The only place that prints. stdout is the one result; stderr is everything else.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this module is the one that prints")]

use std::{
    error::Error,
    io::{self, IsTerminal, Write},
    time::Duration,
};

use anstream::eprintln;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::error::CliError;

/// How the program speaks.
#[derive(Clone, Debug)]
pub(crate) struct Ui {
    json: bool,
    quiet: bool,
}

impl Ui {
    pub(crate) const fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// Whether the result is JSON.
    pub(crate) const fn json(&self) -> bool {
        self.json
    }

    /// One line of a text result.
    pub(crate) fn line(&self, text: &str) -> Result<(), CliError> {
        writeln!(anstream::stdout(), "{text}")?;
        Ok(())
    }

    /// The whole result as one JSON object.
    pub(crate) fn object<T: Serialize>(&self, value: &T) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
        self.line(&text)
    }

    /// What is going on; on stderr, not with `--quiet`.
    pub(crate) fn status(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// A spinner for work of unknown length; only on a terminal.
    pub(crate) fn spinner(&self, what: &'static str) -> ProgressBar {
        let plain = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if self.quiet || plain || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = ProgressBar::new_spinner().with_style(style).with_message(what);
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }

    /// An error with its causes and what to do; one JSON object with `--json`.
    pub(crate) fn error(&self, error: &CliError) {
        // A chain of causes is short; the bound keeps a looping one from printing for ever.
        let first: Option<&dyn Error> = error.source();
        let causes: Vec<String> = std::iter::successors(first, |cause| (*cause).source())
            .take(8)
            .map(ToString::to_string)
            .collect();
        if self.json {
            let object = serde_json::json!({
                "error": error.to_string(),
                "causes": causes,
                "kind": error.kind().as_str(),
                "help": error.help(),
            });
            eprintln!("{object}");
            return;
        }
        eprintln!("error: {error}");
        causes.iter().for_each(|cause| eprintln!("  because: {cause}"));
        eprintln!("  help: {}", error.help());
    }
}
