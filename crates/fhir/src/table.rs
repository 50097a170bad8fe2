//! The elements of R4, from `table.txt` (see `table/README.md`).

use std::{collections::HashMap, sync::LazyLock};

use crate::primitive::Primitive;

static TEXT: &str = include_str!("table.txt");

/// The table, read once. The text is part of the program, so reading it cannot fail at run time without
/// failing every test.
pub(crate) static TABLE: LazyLock<Table> = LazyLock::new(|| Table::parse(TEXT));

/// Fields of one structure, choices spelt out: the width of [`FieldSet`].
const MAX_FIELDS: usize = 256;

/// All structures and value sets.
#[derive(Debug)]
pub(crate) struct Table {
    structures: Vec<Structure>,
    resources: HashMap<&'static str, usize>,
    value_sets: Vec<Vec<&'static str>>,
    /// Every element name of R4, sorted: what an error may name.
    names: Vec<&'static str>,
    /// What the `_` sibling of a primitive element holds.
    pub(crate) element: usize,
}

/// A resource, a data type or a nested structure.
#[derive(Debug)]
pub(crate) struct Structure {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    /// Whether it can stand as a document, an entry or a contained resource.
    pub(crate) is_resource: bool,
    /// Sorted by name.
    fields: Vec<Field>,
    /// Name of each element and what is said of it as a whole; [`Field::slot`] points here.
    pub(crate) slots: Vec<Slot>,
}

/// One element of the definition. A choice is one slot and several fields.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    /// Whether it changes the meaning of what it stands in (`isModifier`).
    pub(crate) modifier: bool,
}

/// One JSON key.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) slot: usize,
    pub(crate) kind: Kind,
    pub(crate) list: bool,
    /// Index of the required value set.
    pub(crate) value_set: Option<usize>,
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Primitive(Primitive),
    Structure(usize),
    Resource,
}

/// Structures that mean something to the reader beyond their shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    None,
    Coding,
    Reference,
    Attachment,
    Extension,
    BundleEntry,
}

/// A set of fields of one structure, by index.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FieldSet([u64; MAX_FIELDS / 64]);

impl FieldSet {
    /// An index that no structure uses.
    pub(crate) const LAST: usize = MAX_FIELDS - 1;

    /// Adds and says whether it was new.
    pub(crate) fn insert(&mut self, index: usize) -> bool {
        let (word, bit) = (&mut self.0[index / 64], 1 << (index % 64));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    pub(crate) const fn contains(&self, index: usize) -> bool {
        self.0[index / 64] & 1 << (index % 64) != 0
    }
}

impl Field {
    pub(crate) const fn is_primitive(&self) -> bool {
        matches!(self.kind, Kind::Primitive(_))
    }
}

impl Structure {
    /// The field with this key and its index.
    pub(crate) fn find(&self, key: &str) -> Option<(usize, &Field)> {
        let index = self.fields.binary_search_by(|field| field.name.cmp(key)).ok()?;
        Some((index, &self.fields[index]))
    }

    pub(crate) fn field(&self, index: usize) -> &Field {
        &self.fields[index]
    }

    pub(crate) fn fields(&self) -> &[Field] {
        &self.fields
    }

    pub(crate) fn slot(&self, name: &str) -> Option<usize> {
        self.slots.iter().position(|slot| slot.name == name)
    }
}

impl Table {
    pub(crate) fn structure(&self, index: usize) -> &Structure {
        &self.structures[index]
    }

    /// The data type of this name.
    pub(crate) fn data_type(&self, name: &str) -> Option<usize> {
        self.structures.iter().position(|one| !one.is_resource && one.name == name)
    }

    /// All structures that are resources.
    pub(crate) fn resources(&self) -> impl Iterator<Item = usize> {
        self.resources.values().copied()
    }

    pub(crate) fn resource(&self, name: &str) -> Option<usize> {
        self.resources.get(name).copied()
    }

    /// The types of resources, in no order.
    pub(crate) fn resource_names(&self) -> impl Iterator<Item = &'static str> {
        self.resources.keys().copied()
    }

    /// Every element name of R4, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.names.iter().copied()
    }

    pub(crate) fn allows(&self, value_set: usize, code: &str) -> bool {
        self.value_sets[value_set].binary_search(&code).is_ok()
    }

    /// The name as the table has it, if R4 has an element of this name anywhere.
    pub(crate) fn known_name(&self, key: &str) -> Option<&'static str> {
        self.names.binary_search(&key).ok().map(|index| self.names[index])
    }

    fn parse(text: &'static str) -> Self {
        let raw = Raw::parse(text);
        let index: HashMap<&str, usize> =
            raw.structures.iter().enumerate().map(|(index, raw)| (raw.name, index)).collect();
        let sets: HashMap<&str, usize> =
            raw.value_sets.iter().enumerate().map(|(index, set)| (set.0, index)).collect();
        let structures: Vec<_> =
            raw.structures.iter().map(|one| one.resolve(&raw, &index, &sets)).collect();
        let mut names: Vec<_> =
            structures.iter().flat_map(|one| one.fields.iter().map(|field| field.name)).collect();
        names.sort_unstable();
        names.dedup();
        let resources = raw.structures.iter().filter(|raw| raw.is_resource);
        Self {
            resources: resources.map(|raw| (raw.name, index[raw.name])).collect(),
            value_sets: raw.value_sets.into_iter().map(|(_, codes)| codes).collect(),
            names,
            element: index["Element"],
            structures,
        }
    }
}

/// The file's lines before names are resolved.
#[derive(Default)]
struct Raw {
    structures: Vec<RawStructure>,
    value_sets: Vec<(&'static str, Vec<&'static str>)>,
}

struct RawStructure {
    name: &'static str,
    base: &'static str,
    is_resource: bool,
    elements: Vec<RawElement>,
}

#[derive(Clone, Copy)]
struct RawElement {
    name: &'static str,
    required: bool,
    modifier: bool,
    list: bool,
    types: &'static str,
    value_set: Option<&'static str>,
}

impl Raw {
    fn parse(text: &'static str) -> Self {
        let mut raw = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<_> = line.split_ascii_whitespace().collect();
            match (line.as_bytes()[0], &words[..]) {
                (b' ', [name, cardinality, types, value_set @ ..]) => {
                    let (cardinality, modifier) = cardinality
                        .strip_suffix('!')
                        .map_or((*cardinality, false), |rest| (rest, true));
                    let last = raw.structures.last_mut().expect("elements follow their structure");
                    last.elements.push(RawElement {
                        name,
                        required: !cardinality.starts_with('0'),
                        modifier,
                        list: cardinality.ends_with('*'),
                        types,
                        value_set: value_set.first().copied(),
                    });
                }
                (_, ["codes", name, codes @ ..]) => {
                    let mut codes = codes.to_vec();
                    codes.sort_unstable();
                    raw.value_sets.push((name, codes));
                }
                (_, [kind, name, base]) => raw.structures.push(RawStructure {
                    name,
                    base,
                    is_resource: *kind == "resource",
                    elements: Vec::new(),
                }),
                _ => unreachable!("the generator writes no other line"),
            }
        }
        raw
    }
}

impl RawStructure {
    fn resolve(
        &self,
        raw: &Raw,
        index: &HashMap<&str, usize>,
        sets: &HashMap<&str, usize>,
    ) -> Structure {
        let mut elements = self.elements.clone();
        let mut base = self.base;
        while base != "-" {
            let parent = &raw.structures[index[base]];
            elements.extend(&parent.elements);
            base = parent.base;
        }
        let mut fields = Vec::new();
        for (slot, element) in elements.iter().enumerate() {
            fields.extend(element.types.split('|').map(|kind| Field {
                name: element.key(kind),
                slot,
                kind: kind_of(kind, index),
                list: element.list,
                value_set: element.value_set.map(|name| sets[name]),
            }));
        }
        fields.sort_unstable_by_key(|field| field.name);
        assert!(fields.len() < MAX_FIELDS, "a field set is wide enough");
        let slots = elements.iter().map(|one| Slot {
            name: one.name,
            required: one.required,
            modifier: one.modifier,
        });
        Structure {
            name: self.name,
            role: role_of(self.name),
            is_resource: self.is_resource,
            slots: slots.collect(),
            fields,
        }
    }
}

impl RawElement {
    /// The JSON key: `value[x]` of type Quantity is `valueQuantity`.
    fn key(&self, kind: &str) -> &'static str {
        let Some(stem) = self.name.strip_suffix("[x]") else { return self.name };
        let (first, rest) = kind.split_at(1);
        // Leaked once per process: the table lives as long.
        Box::leak(format!("{stem}{}{rest}", first.to_ascii_uppercase()).into_boxed_str())
    }
}

fn kind_of(name: &str, index: &HashMap<&str, usize>) -> Kind {
    if name == "Resource" {
        return Kind::Resource;
    }
    Primitive::from_name(name).map_or_else(|| Kind::Structure(index[name]), Kind::Primitive)
}

fn role_of(name: &str) -> Role {
    match name {
        "Coding" => Role::Coding,
        "Reference" => Role::Reference,
        "Attachment" => Role::Attachment,
        "Extension" => Role::Extension,
        "Bundle.entry" => Role::BundleEntry,
        _ => Role::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_holds_every_resource_of_r4() {
        assert_eq!(TABLE.resources.len(), 146);
        assert!(TABLE.resource("Patient").is_some());
        assert!(TABLE.resource("DomainResource").is_none(), "abstract");
        assert!(TABLE.resource("HumanName").is_none(), "not a resource");
    }

    #[test]
    fn table_resolves_inheritance_choices_and_content_references() {
        let observation = TABLE.structure(TABLE.resource("Observation").unwrap());
        for key in ["id", "contained", "status", "valueQuantity", "valueString", "effectiveInstant"]
        {
            assert!(observation.find(key).is_some(), "{key}");
        }
        assert!(observation.find("value").is_none());
        assert!(observation.find("value[x]").is_none());
        let (_, status) = observation.find("status").unwrap();
        assert!(observation.slots[status.slot].modifier, "a status changes what is meant");
        assert!(TABLE.allows(status.value_set.unwrap(), "final"));
        assert!(!TABLE.allows(status.value_set.unwrap(), "finished"));
        let (_, component) = observation.find("component").unwrap();
        let Kind::Structure(component) = component.kind else { panic!("component is a structure") };
        let (_, range) = TABLE.structure(component).find("referenceRange").unwrap();
        let Kind::Structure(range) = range.kind else { panic!("range is a structure") };
        assert_eq!(TABLE.structure(range).name, "Observation.referenceRange");
    }
}
