//! Text that somebody else wrote, made harmless for a screen.

use std::fmt::Write;

/// Most characters of a name that are shown.
const MAX_SHOWN: usize = 96;

/// Most combining marks in a row that are shown; more of them hide the lines above and below.
const MAX_MARKS: usize = 2;

/// Text from outside as it may be shown: in quotation marks, one line, and without any character that
/// a terminal or the bidirectional algorithm obeys. Such characters, quotation marks and backslashes are
/// shown escaped (`\u{202e}`). Greek and Cyrillic letters beside Latin ones are escaped too, since they
/// look alike. What is longer than 96 characters is cut, and says so.
pub fn inert(text: &str) -> String {
    let mixed = text.chars().any(|c| c.is_ascii_alphabetic()) && text.chars().any(looks_latin);
    let mut shown = String::from('"');
    let mut marks = 0;
    for (index, c) in text.chars().enumerate() {
        if index == MAX_SHOWN {
            shown.push('…');
            break;
        }
        marks = if is_mark(c) { marks + 1 } else { 0 };
        if is_active(c) || marks > MAX_MARKS || (mixed && looks_latin(c)) {
            // Writing to a string cannot fail.
            let _ = write!(shown, "{}", c.escape_unicode());
        } else if matches!(c, '"' | '\\' | '“' | '”' | '„' | '‟' | '″' | '＂') {
            shown.push('\\');
            shown.push(c);
        } else {
            shown.push(c);
        }
    }
    shown.push('"');
    shown
}

/// Characters that do something, or show nothing, instead of being seen: Unicode categories Cc, Cf, Zl,
/// Zp, Co, Cn of the special planes, fillers, variation selectors and every space but U+0020.
pub(super) const fn is_active(c: char) -> bool {
    matches!(c,
        '\0'..='\u{1f}'
        | '\u{7f}'..='\u{a0}'
        | '\u{ad}'
        | '\u{34f}'
        | '\u{600}'..='\u{605}'
        | '\u{61c}'
        | '\u{6dd}'
        | '\u{70f}'
        | '\u{890}'..='\u{891}'
        | '\u{8e2}'
        | '\u{115f}'..='\u{1160}'
        | '\u{1680}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{2000}'..='\u{200f}'
        | '\u{2028}'..='\u{202f}'
        | '\u{205f}'..='\u{206f}'
        | '\u{2800}'
        | '\u{3000}'
        | '\u{3164}'
        | '\u{e000}'..='\u{f8ff}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{ffff}'
        | '\u{110bd}'
        | '\u{110cd}'
        | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{10ffff}')
}

const fn is_mark(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}'
        | '\u{483}'..='\u{489}'
        | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}'
        | '\u{fe20}'..='\u{fe2f}')
}

/// Letters of scripts that have twins of Latin letters, and mathematical or wide forms of Latin ones.
const fn looks_latin(c: char) -> bool {
    matches!(c,
        '\u{370}'..='\u{3ff}'
        | '\u{400}'..='\u{52f}'
        | '\u{530}'..='\u{58f}'
        | '\u{13a0}'..='\u{13ff}'
        | '\u{1f00}'..='\u{1fff}'
        | '\u{2100}'..='\u{214f}'
        | '\u{ff01}'..='\u{ff5e}'
        | '\u{1d400}'..='\u{1d7ff}')
}
