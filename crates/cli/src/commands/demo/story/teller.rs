//! Tells the story on standard output, step by step.

use crate::{commands::demo::report::Report, error::CliError, ui::Ui};

/// Width of the story's text, in characters.
const WIDTH: usize = 92;

/// Says what happens, and counts.
pub(super) struct Teller<'a> {
    pub(super) ui: &'a Ui,
    pub(super) report: &'a mut Report,
    step: usize,
}

impl<'a> Teller<'a> {
    pub(super) const fn new(ui: &'a Ui, report: &'a mut Report) -> Self {
        Self { ui, report, step: 0 }
    }

    /// The story is the result, unless the result is JSON: then it is status.
    pub(super) fn step(&mut self, title: &str, sentences: &[String]) -> Result<(), CliError> {
        self.list(title, &[sentences.join(" ")])
    }

    pub(super) fn list(&mut self, title: &str, paragraphs: &[String]) -> Result<(), CliError> {
        self.step += 1;
        let head = format!("{}. {title}", self.step);
        if self.ui.json() {
            self.ui.status(&head);
            return Ok(());
        }
        if self.step > 1 {
            self.ui.line("")?;
        }
        self.ui.line(&head)?;
        paragraphs
            .iter()
            .flat_map(|paragraph| wrapped(paragraph))
            .try_for_each(|line| self.ui.line(&format!("   {line}")))
    }
}

/// Lines of at most [`WIDTH`] characters, broken at spaces.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > WIDTH {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
