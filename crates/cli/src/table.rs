//! Lines of values, for people and for `cut`.

use crate::{error::CliError, ui::Ui};

/// What stands where there is no value.
pub(crate) const NONE: &str = "-";

/// A value as a cell: one line, no tab, and nothing that a terminal obeys or that turns text around.
///
/// Names and messages come from other people.
pub(crate) fn cell(text: &str) -> String {
    text.chars().map(|c| if is_inert(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

fn is_inert(c: char) -> bool {
    // Marks that change direction or hide: U+200B..200F, U+202A..202E, U+2060..206F, U+FEFF, tags.
    let hides = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    !c.is_control() && !hides
}

/// One line of cells, separated by tabs. An empty cell is shown as `-`.
pub(crate) fn row(ui: &Ui, cells: &[&dyn std::fmt::Display]) -> Result<(), CliError> {
    ui.line(&joined(cells))
}

fn joined(cells: &[&dyn std::fmt::Display]) -> String {
    let shown = |value: &&dyn std::fmt::Display| {
        let text = cell(&value.to_string());
        if text.is_empty() { NONE.to_owned() } else { text }
    };
    cells.iter().map(shown).collect::<Vec<_>>().join("\t")
}

/// One line of comma-separated values (RFC 4180). What a spreadsheet would run as a formula becomes text.
pub(crate) fn csv(cells: &[&dyn std::fmt::Display]) -> String {
    let shown = |value: &&dyn std::fmt::Display| {
        let text = cell(&value.to_string());
        let formula = text.starts_with(['=', '+', '-', '@']) && text != NONE;
        let text = if formula { format!("'{text}") } else { text };
        if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
    };
    cells.iter().map(shown).collect::<Vec<_>>().join(",")
}

/// `yes` and `no`, for cells.
pub(crate) const fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

/// Names joined by commas.
pub(crate) fn list<T: std::fmt::Display>(values: impl IntoIterator<Item = T>) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_hold_nothing_that_acts() {
        for (text, shown) in [
            ("Dr Weiß", "Dr Weiß"),
            ("a\tb\nc\r", "a\u{fffd}b\u{fffd}c\u{fffd}"),
            ("\u{1b}[2J", "\u{fffd}[2J"),
            ("\u{9b}31m", "\u{fffd}31m"),
            ("abc\u{202e}txt", "abc\u{fffd}txt"),
            ("a\u{200b}b", "a\u{fffd}b"),
        ] {
            assert_eq!(cell(text), shown);
        }
        assert_eq!(joined(&[&"a", &"", &3]), "a\t-\t3");
    }

    #[test]
    fn csv_is_read_back_and_runs_no_formula() {
        assert_eq!(
            csv(&[&"a,b", &"say \"x\"", &"=1+1", &"-", &"+49"]),
            "\"a,b\",\"say \"\"x\"\"\",'=1+1,-,'+49"
        );
        assert_eq!(csv(&[&"a\nb"]), "a\u{fffd}b");
    }
}
