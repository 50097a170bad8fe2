//! Names of elements as people write them, and what they may have meant.

use crate::table::{Field, Kind, Structure, TABLE};

/// Names that an error offers.
const MAX_NEAR: usize = 3;

/// Changes by which a name may differ from one that is offered.
const MAX_DISTANCE: usize = 2;

/// Data types that are cut into their elements; all others are signed as one.
const CUT_TYPES: [&str; 4] = ["Address", "HumanName", "Meta", "Reference"];

/// Whether a structure is cut: resources, nested structures, and a few data types.
pub(super) fn is_cut(structure: &Structure) -> bool {
    structure.is_resource || structure.name.contains('.') || CUT_TYPES.contains(&structure.name)
}

/// `value` of `value[x]`.
pub(super) fn stem(slot: &'static str) -> &'static str {
    slot.strip_suffix("[x]").unwrap_or(slot)
}

/// The fields that a name means: a key, or all types of a choice (`value` or `value[x]`).
pub(super) fn fields(
    structure: &'static Structure,
    name: &str,
) -> impl Iterator<Item = &'static Field> {
    let wanted = name.strip_suffix("[x]").unwrap_or(name).to_owned();
    structure
        .fields()
        .iter()
        .filter(move |field| is_named(field.name, structure.slots[field.slot].name, &wanted))
}

/// Whether a key, or the choice that it belongs to, has this name.
pub(super) fn is_named(key: &str, slot: &'static str, wanted: &str) -> bool {
    key == wanted || slot.ends_with("[x]") && stem(slot) == wanted
}

/// The structure that a field leads to.
pub(super) const fn below(field: &Field) -> Option<usize> {
    match field.kind {
        Kind::Structure(index) => Some(index),
        Kind::Primitive(_) | Kind::Resource => None,
    }
}

/// Names of these structures that look like `name`, the closest first.
pub(super) fn near(structures: &[usize], name: &str) -> Vec<&'static str> {
    let names = structures
        .iter()
        .flat_map(|index| &TABLE.structure(*index).slots)
        .map(|slot| stem(slot.name));
    closest(names, name)
}

/// Resource types that look like `name`.
pub(super) fn near_types(name: &str) -> Vec<&'static str> {
    closest(TABLE.resources().map(|index| TABLE.structure(index).name), name)
}

fn closest(names: impl Iterator<Item = &'static str>, name: &str) -> Vec<&'static str> {
    let lower = name.to_ascii_lowercase();
    let mut found: Vec<_> = names
        .map(|one| (distance(&one.to_ascii_lowercase(), &lower), one))
        .filter(|(distance, _)| *distance <= MAX_DISTANCE)
        .collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().take(MAX_NEAR).map(|(_, one)| one).collect()
}

/// Characters to insert, remove or replace (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
