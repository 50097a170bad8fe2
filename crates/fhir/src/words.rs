//! A document in plain words, for the person it is about.
//!
//! One sentence for each resource: what it is, what it says, when, and by whom. Values stand exactly as they are
//! written, with their units; codes without a text stand as codes. What changed against another version is told
//! element by element, old and new.
//!
//! The words are health data: they are for the screen of the patient who asked, and for nothing else.

mod changes;
mod sentence;
mod value;

use std::fmt;

use zeroize::Zeroizing;

pub use changes::{Change, ChangeKind, changes};

use crate::Document;

/// Bytes of one text that is shown; a longer one ends with `…`, and stands whole in the document.
pub const MAX_SHOWN_LEN: usize = 400;

/// Words about somebody's health: shown on request, never by `Debug`, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Words(Zeroizing<String>);

impl Words {
    fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The words. They may hold any character that a document may hold, also those that a terminal obeys.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Words {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Words({} bytes)", self.0.len())
    }
}

/// One sentence for each resource, in the order of the document.
///
/// ```
/// let bytes = br#"{"resourceType":"Observation","status":"final","code":{"text":"Weight"},
///     "effectiveDateTime":"2026-03-02","valueQuantity":{"value":71.50,"unit":"kg"}}"#;
/// let words = galen_fhir::words::sentences(&galen_fhir::Document::read(bytes)?);
/// assert_eq!(words[0].expose(), "Measured: Weight 71.50 kg; 2026-03-02");
/// # Ok::<(), galen_fhir::FhirError>(())
/// ```
pub fn sentences(document: &Document<'_>) -> Vec<Words> {
    let resources: Vec<_> = document.resources().collect();
    let told = resources.iter().map(|resource| sentence::of(resource.node, &resources));
    told.map(Words::new).collect()
}

/// A text as far as it is shown.
fn shown(text: &str) -> String {
    let text = text.trim();
    if text.len() <= MAX_SHOWN_LEN {
        return text.to_owned();
    }
    let end = (0..=MAX_SHOWN_LEN).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &text[..end])
}
