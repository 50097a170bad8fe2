//! What `galen fhir check` says of a file.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{Category, CodeTable, Document, FhirError};

/// An accepted document: how many records it would become, and in which segments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Type of the outermost resource.
    pub resource_type: &'static str,
    /// Length of the document in bytes.
    pub bytes: usize,
    /// Resources of the document, each counted once.
    pub resources: usize,
    /// Encounters that the resources belong to.
    pub encounters: usize,
    /// Records: one per encounter and category.
    pub records: usize,
    /// The same by category, in the order of the segments.
    pub categories: Vec<CategorySummary>,
    /// Resources by type.
    pub types: BTreeMap<&'static str, usize>,
}

/// The records of one category.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CategorySummary {
    /// The category.
    pub category: Category,
    /// Its segment.
    pub segment: u8,
    /// Its records.
    pub records: usize,
    /// The resources of its records, copies included.
    pub resources: usize,
    /// Those of them that lie in another category, too: observations that a report brings along.
    pub copies: usize,
}

/// Reads a document and says what would become of it.
///
/// # Errors
///
/// As [`Document::read`].
pub fn check(bytes: &[u8]) -> Result<Summary, FhirError> {
    check_with(bytes, CodeTable::built_in())
}

/// As [`check`], with a site's table of sensitive codes in place of the built-in one.
///
/// # Errors
///
/// As [`Document::read`].
pub fn check_with(bytes: &[u8], codes: &CodeTable) -> Result<Summary, FhirError> {
    let document = Document::read_with(bytes, codes)?;
    let drafts = document.split();
    let mut categories = BTreeMap::<Category, CategorySummary>::new();
    for draft in &drafts {
        let category = draft.category();
        let segment = category.index();
        let empty = CategorySummary { category, segment, records: 0, resources: 0, copies: 0 };
        let entry = categories.entry(category).or_insert(empty);
        entry.records += 1;
        entry.resources += draft.len();
        entry.copies += draft.copies();
    }
    Ok(Summary {
        resource_type: document.resource_type(),
        bytes: bytes.len(),
        resources: document.len(),
        encounters: drafts
            .iter()
            .filter_map(|draft| draft.encounter())
            .max()
            .map_or(0, |last| last + 1),
        records: drafts.len(),
        categories: categories.into_values().collect(),
        types: document.types(),
    })
}
