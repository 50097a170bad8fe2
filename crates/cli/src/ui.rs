//! The only place that prints. stdout is the one result; stderr is everything else.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this module is the one that prints")]

use std::{
    error::Error,
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal, Read, Write},
    time::Duration,
};

use anstream::{eprint, eprintln};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{error::CliError, hidden};

/// Longest answer that is read, in bytes.
const MAX_ANSWER_LEN: u64 = 4_096;

/// Longest wait without a word.
const SILENCE: Duration = Duration::from_millis(1_500);

/// How the program speaks.
#[derive(Clone, Debug)]
pub(crate) struct Ui {
    json: bool,
    quiet: bool,
    yes: bool,
    /// What moves at the bottom of the terminal, if anything does.
    bars: MultiProgress,
}

impl Ui {
    pub(crate) fn new(json: bool, quiet: bool, yes: bool) -> Self {
        Self { json, quiet, yes, bars: MultiProgress::new() }
    }

    /// Speaks or asks while nothing moves on the terminal.
    fn apart<T>(&self, speak: impl FnOnce() -> T) -> T {
        self.bars.suspend(speak)
    }

    /// Whether the result is JSON.
    pub(crate) const fn json(&self) -> bool {
        self.json
    }

    /// One line of a text result.
    pub(crate) fn line(&self, text: &str) -> Result<(), CliError> {
        self.lines(&text.replace('\n', " "))
    }

    /// Lines that the program itself has put together.
    pub(crate) fn lines(&self, text: &str) -> Result<(), CliError> {
        let text = tame(text, self.json);
        Ok(self.apart(|| writeln!(anstream::stdout(), "{text}"))?)
    }

    /// The whole result as one JSON object.
    pub(crate) fn object<T: Serialize>(&self, value: &T) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
        self.lines(&text)
    }

    /// The whole result as one JSON object on one line, from a command that goes on.
    pub(crate) fn object_line<T: Serialize>(&self, value: &T) -> Result<(), CliError> {
        self.line(&serde_json::to_string(value).map_err(io::Error::from)?)
    }

    /// What is going on; on stderr, not with `--quiet`.
    pub(crate) fn status(&self, text: &str) {
        if !self.quiet {
            self.apart(|| eprintln!("{}", tame(text, false)));
        }
    }

    /// Waits for what is quick as a rule, and says for what if it is not.
    pub(crate) async fn waiting<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(SILENCE) => self.status(&format!("Waiting for {what}.")),
        }
        work.await
    }

    /// What must be seen before the answer to a question; on stderr, also with `--quiet`.
    pub(crate) fn show(&self, text: &str) {
        self.apart(|| eprintln!("{}", tame(text, false)));
    }

    /// Something is not as it should be; on stderr, also with `--quiet`.
    pub(crate) fn warn(&self, text: &str) {
        self.apart(|| eprintln!("warning: {}", tame(text, false)));
    }

    /// Whether there is a person at a terminal who can be asked.
    pub(crate) fn can_ask(&self) -> bool {
        io::stderr().is_terminal() && terminal().is_ok()
    }

    /// A question with the answer no unless the person says yes. `--yes` answers it.
    ///
    /// Fails with [`CliError::Told`] of kind declined where there is nobody to ask.
    pub(crate) fn confirm(&self, question: &str) -> Result<bool, CliError> {
        if self.yes {
            return Ok(true);
        }
        let answer = self.prompt(&format!("{question} [y/N] "), "use --yes to answer yes")?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// A question that `--yes` does not answer, only the person or a flag of its own.
    pub(crate) fn ask_yes(&self, question: &str, flag: &str) -> Result<bool, CliError> {
        let help = format!("use {flag} to answer yes");
        let answer = self.prompt(&format!("{question} [y/N] "), &help)?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// What must not be overlooked; red where there is color.
    pub(crate) fn show_alarm(&self, text: &str) {
        self.apart(|| eprintln!("\x1b[1;31m{}\x1b[0m", tame(text, false)));
    }

    /// As [`Ui::confirm`]; an answer of no is an error.
    pub(crate) fn require_yes(&self, question: &str) -> Result<(), CliError> {
        if self.confirm(question)? {
            return Ok(());
        }
        Err(CliError::declined("the answer was no", "nothing was done"))
    }

    /// A line of text. `flag` is what gives the answer where there is no terminal.
    pub(crate) fn ask(
        &self,
        question: &str,
        default: Option<&str>,
        flag: &str,
    ) -> Result<String, CliError> {
        let shown = default.map_or_else(String::new, |default| format!(" [{default}]"));
        let help = format!("without a terminal, answer with {flag}");
        let answer = self.prompt(&format!("{question}{shown}: "), &help)?;
        Ok(match (answer.trim(), default) {
            ("", Some(default)) => default.to_owned(),
            (answer, _) => answer.to_owned(),
        })
    }

    /// A secret, read without echo.
    pub(crate) fn ask_secret(&self, what: &str) -> Result<Zeroizing<String>, CliError> {
        if !self.can_ask() {
            return Err(CliError::declined(
                format!("{what} is needed, and there is no terminal to ask at"),
                "use --password-file for a password, or run it at a terminal",
            ));
        }
        let read = self.apart(|| {
            eprint!("{what}: ");
            let read = hidden::read_line(terminal()?);
            eprintln!();
            read
        });
        read?.ok_or_else(|| CliError::declined("interrupted", "nothing was done"))
    }

    fn prompt(&self, text: &str, help: &str) -> Result<String, CliError> {
        if !self.can_ask() {
            let question = text.lines().last().unwrap_or_default();
            let question = question.trim_end_matches("[y/N] ").trim_end_matches([' ', ':']);
            let text =
                format!("\"{question}\" needs an answer, and there is no terminal to ask at");
            return Err(CliError::declined(text, help));
        }
        let mut answer = String::new();
        let mut terminal = BufReader::new(terminal()?).take(MAX_ANSWER_LEN);
        self.apart(|| {
            eprint!("{}", tame(text, false));
            terminal.read_line(&mut answer)
        })?;
        Ok(answer)
    }

    /// A document as it is, on stdout.
    pub(crate) fn document(&self, bytes: &[u8]) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        Ok(stdout.flush()?)
    }

    /// Whether stdout is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// A bar for work of a known length; only on a terminal.
    pub(crate) fn bar(&self, total: u64, what: &'static str) -> ProgressBar {
        self.styled(ProgressBar::new(total), "{prefix} {bar:16} {pos}/{len} {eta} {wide_msg}")
            .with_prefix(what)
    }

    /// A bar for bytes on their way; hidden where there is no terminal, and with `--json`.
    pub(crate) fn bytes_bar(&self, what: String) -> ProgressBar {
        if self.json {
            return ProgressBar::hidden();
        }
        self.styled(ProgressBar::new(0), "{prefix} {bar:16} {wide_msg}").with_prefix(what)
    }

    /// Bytes on their way, where nothing moves on a terminal: a status line, but not with `--json`.
    pub(crate) fn bytes_status(&self, text: &str) {
        if !self.json {
            self.status(text);
        }
    }

    /// Takes away what still moves, since what it stood for has ended.
    pub(crate) fn still(&self) {
        // A terminal that does not take it shows a bar too many.
        let _ = self.bars.clear();
    }

    /// A bar among the others, or one that nobody sees.
    fn styled(&self, bar: ProgressBar, template: &str) -> ProgressBar {
        let plain = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if self.quiet || plain || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.bars.add(bar.with_style(style))
    }

    /// A spinner for work of unknown length; only on a terminal.
    pub(crate) fn spinner(&self, what: &'static str) -> ProgressBar {
        let bar = self.styled(ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}");
        if !bar.is_hidden() {
            bar.set_message(what);
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        bar
    }

    /// The person stopped the program, perhaps while it asked something.
    pub(crate) fn interrupted(&self) {
        if !self.quiet {
            // Not apart: whoever asks a question holds the bars still until it is answered.
            eprintln!("\nInterrupted. Run the same command again: it goes on where it stopped.");
        }
    }

    /// An error with its causes and what to do; one JSON object with `--json`.
    pub(crate) fn error(&self, error: &CliError) {
        self.still();
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
            eprintln!("{}", tame(&object.to_string(), true));
            return;
        }
        // One line each: what a file is called or a node says does not begin a line of its own.
        let line = |text: String| tame(&text.replace('\n', " "), false);
        eprintln!("error: {}", line(error.to_string()));
        causes.into_iter().for_each(|cause| eprintln!("  because: {}", line(cause)));
        eprintln!("  help: {}", tame(error.help(), false));
    }
}

/// Colors of the program's own.
const COLORS: [&str; 4] = ["\x1b[1;31m", "\x1b[33m", "\x1b[1m", "\x1b[0m"];

/// Text in which nothing moves a terminal or turns the direction of reading, whoever wrote it: only ends of lines,
/// tabs and the program's own colors pass. JSON escapes what does not, other text has a mark there.
fn tame(text: &str, json: bool) -> String {
    let mut tamed = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let color = COLORS.into_iter().find(|color| !json && rest.starts_with(color));
        let turns = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let moves = c.is_control() && c != '\n' && c != '\t';
        let taken = match color {
            Some(color) => color,
            None => &rest[..c.len_utf8()],
        };
        match color {
            None if (moves || turns) && json => tamed.push_str(&format!("\\u{:04x}", u32::from(c))),
            None if moves || turns => tamed.push(char::REPLACEMENT_CHARACTER),
            _ => tamed.push_str(taken),
        }
        rest = &rest[taken.len()..];
    }
    tamed
}

/// The terminal itself: standard input may be a card or a document.
fn terminal() -> io::Result<File> {
    File::open(if cfg!(windows) { "CONIN$" } else { "/dev/tty" })
}
