//! What documents say, for the patient who asked: on a terminal, or with `--words`. On standard output only.

use galen_crypto::Opened;
use galen_fhir::{
    Document,
    words::{Change, ChangeKind, Words, changes, sentences},
};
use galen_sdk::{PRESENTATION, Patient, Presentation, ProposedRecord, fhir_document};
use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::{commands::shown::cannot, error::CliError, table::cell, ui::Ui};

/// Lines of one document that are shown as text; `--json` and the document itself have all of them.
const MAX_LINES: usize = 200;

/// Whether words are shown: asked for, or there is a person to read them.
pub(super) fn wanted(asked: bool, ui: &Ui) -> bool {
    asked || (!ui.json() && ui.is_terminal())
}

/// A document in words.
#[derive(Debug)]
pub(super) struct Told {
    words: Vec<Words>,
    /// Against the version that stands.
    changes: Option<Vec<Change>>,
}

impl Told {
    /// A document by itself; `None` if it is neither FHIR nor text.
    pub(super) fn of(opened: &Opened) -> Option<Self> {
        if let Some(bytes) = fhir_document(opened) {
            let document = Document::read(bytes).ok()?;
            return Some(Self { words: sentences(&document), changes: None });
        }
        if opened.media_type.as_str() == PRESENTATION {
            let verified = Presentation::decode(opened.payload.expose()).ok()?.verify().ok()?;
            let view = Document::read_extract(verified.view.expose()).ok()?;
            return Some(Self { words: sentences(&view), changes: None });
        }
        // The reason of a retraction.
        let is_text = opened.media_type.as_str().starts_with("text/plain");
        let text = std::str::from_utf8(opened.payload.expose()).ok().filter(|_| is_text)?;
        Some(Self { words: vec![Words::from(text.to_owned())], changes: None })
    }

    /// A document that is proposed, with what it changes in the version that stands.
    pub(super) async fn of_proposed(
        examined: &ProposedRecord,
        patient: &Patient,
    ) -> Result<Option<Self>, CliError> {
        let Some(told) = Self::of(&examined.opened) else { return Ok(None) };
        if !matches!(examined.follows, Some((_, true))) {
            return Ok(Some(told));
        }
        let before = patient.open(examined.record.id()).await;
        let before = before.map_err(cannot("open the version that stands"))?;
        Ok(Some(told.against(&before, &examined.opened)))
    }

    /// With what changed since a version before.
    pub(super) fn against(self, before: &Opened, after: &Opened) -> Self {
        let read = |opened| fhir_document(opened).and_then(|bytes| Document::read(bytes).ok());
        let changes = read(before).zip(read(after)).map(|(old, new)| changes(&old, &new));
        Self { changes, ..self }
    }

    /// Lines below the line of the document.
    pub(super) fn print(&self, ui: &Ui) -> Result<(), CliError> {
        let mut lines: Vec<String> = Vec::new();
        match &self.changes {
            None => lines.extend(self.words.iter().map(|words| cell(words.expose()))),
            Some(changes) if changes.is_empty() => lines.push("nothing changes".to_owned()),
            Some(changes) => push_changes(changes, &mut lines),
        }
        let more = lines.len().saturating_sub(MAX_LINES);
        lines.truncate(MAX_LINES);
        if more > 0 {
            lines.push(format!("and {more} lines more; --fhir and --out give the whole document"));
        }
        lines.iter().try_for_each(|line| ui.line(&format!("  {line}")))
    }
}

/// A line for each resource, and below it one for each value that is another.
fn push_changes(changes: &[Change], lines: &mut Vec<String>) {
    let mut last = None;
    for change in changes {
        let resource = cell(change.resource.expose());
        let Some(element) = &change.element else {
            lines.push(format!("{}: {resource}", change.kind.name()));
            continue;
        };
        if last != Some(&change.resource) {
            lines.push(format!("changed: {resource}"));
            last = Some(&change.resource);
        }
        let side = |words: &Option<Words>| words.as_ref().map(|words| cell(words.expose()));
        let element = cell(element);
        lines.push(match (change.kind, side(&change.before), side(&change.after)) {
            (ChangeKind::Added, _, Some(new)) => format!("  {element}: added {new}"),
            (ChangeKind::Removed, Some(old), _) => format!("  {element}: removed {old}"),
            (_, Some(old), Some(new)) => format!("  {element}: {old} → {new}"),
            _ => format!("  {element}"),
        });
    }
}

/// As `words`, and `word_changes` for an amendment: each with `kind`, `resource`, `element`, `before`, `after`.
impl Serialize for Told {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Told", 2)?;
        let words: Vec<&str> = self.words.iter().map(Words::expose).collect();
        fields.serialize_field("words", &words)?;
        if let Some(changes) = &self.changes {
            let changes: Vec<_> = changes.iter().map(Line).collect();
            fields.serialize_field("word_changes", &changes)?;
        }
        fields.end()
    }
}

struct Line<'a>(&'a Change);

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Change { kind, resource, element, before, after } = self.0;
        let mut fields = serializer.serialize_struct("Change", 5)?;
        fields.serialize_field("kind", kind.name())?;
        fields.serialize_field("resource", resource.expose())?;
        fields.serialize_field("element", element)?;
        fields.serialize_field("before", &before.as_ref().map(Words::expose))?;
        fields.serialize_field("after", &after.as_ref().map(Words::expose))?;
        fields.end()
    }
}
