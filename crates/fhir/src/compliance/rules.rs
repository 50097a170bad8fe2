//! How rules are written, and what they mean for each type of resource.

use serde::Deserialize;

use super::{Compliance, IdentityRule};
use crate::{
    Node, near_names,
    table::{Kind, Structure, TABLE},
};

/// Elements that name who wrote, observed or did something.
const AUTHORS: [&str; 24] = [
    "agent",
    "assessor",
    "asserter",
    "author",
    "contributor",
    "dispenser",
    "enterer",
    "expressedBy",
    "informationSource",
    "interpreter",
    "operator",
    "participant",
    "performer",
    "practitioner",
    "prescriber",
    "provider",
    "recorder",
    "referrer",
    "requester",
    "requestor",
    "resultsInterpreter",
    "sender",
    "source",
    "witness",
];

/// Elements that name the visit or stay.
const ENCOUNTERS: [&str; 2] = ["encounter", "context"];

/// `[compliance]` as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Written {
    required: Vec<ElementPath>,
    author: Vec<TypeName>,
    encounter: Vec<TypeName>,
    security_labels: Vec<TypeName>,
    except: Vec<TypeName>,
    identity_outside_patient: IdentityRule,
}

/// A resource type, or `*` for all of them.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct TypeName(Option<Name>);

/// A resource type as the table has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name(&'static str);

/// A set of resource types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Types {
    all: bool,
    names: Vec<&'static str>,
}

/// An element that must be there: `meta.lastUpdated` in every type that has it, `Observation.effective[x]` in one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct ElementPath {
    resource_type: Option<Name>,
    steps: Vec<String>,
}

impl TryFrom<Written> for Compliance {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let checked = |key, types: Vec<TypeName>, elements: fn(&Structure) -> Vec<&'static str>| {
            let types = Types::from(types);
            let bare = types.names.iter().find(|name| {
                TABLE.resource(name).is_some_and(|at| elements(TABLE.structure(at)).is_empty())
            });
            match bare {
                Some(name) => Err(format!("{key}: {name} has no element for it in R4")),
                None => Ok(types),
            }
        };
        Ok(Self {
            required: written.required,
            author: checked("author", written.author, author_elements)?,
            encounter: checked("encounter", written.encounter, encounter_elements)?,
            security_labels: Types::from(written.security_labels),
            except: Types::from(written.except),
            identity_outside_patient: written.identity_outside_patient,
        })
    }
}

impl TryFrom<String> for TypeName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self(None));
        }
        resource_type(&text).map(|name| Self(Some(Name(name))))
    }
}

/// The type as the table has it, or what may have been meant.
pub(crate) fn resource_type(text: &str) -> Result<&'static str, String> {
    match TABLE.resource(text) {
        Some(index) => Ok(TABLE.structure(index).name),
        None => Err(unknown("resource type", text, TABLE.resource_names())),
    }
}

fn unknown<'a>(what: &str, text: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let near = near_names(text, names);
    let near = if near.is_empty() {
        String::new()
    } else {
        format!("; did you mean {}?", near.join(" or "))
    };
    // Debug escapes whatever a terminal would obey.
    format!("R4 has no {what} {text:?}{near}")
}

impl From<Vec<TypeName>> for Types {
    fn from(names: Vec<TypeName>) -> Self {
        let all = names.iter().any(|name| name.0.is_none());
        Self { all, names: names.into_iter().filter_map(|name| Some(name.0?.0)).collect() }
    }
}

impl Types {
    pub(super) fn has(&self, name: &str) -> bool {
        self.all || self.names.contains(&name)
    }
}

impl TryFrom<String> for ElementPath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut steps: Vec<String> = text.split('.').map(str::to_owned).collect();
        let has_type = steps[0].starts_with(|first: char| first.is_ascii_uppercase());
        let resource_type =
            if has_type { Some(Name(resource_type(&steps.remove(0))?)) } else { None };
        if steps.is_empty() || steps.iter().any(String::is_empty) {
            return Err(format!("{text:?} names no element; write for example meta.lastUpdated"));
        }
        let path = Self { resource_type, steps };
        let types: Vec<_> = match resource_type {
            Some(name) => TABLE.resource(name.0).into_iter().collect(),
            None => TABLE.resource_names().filter_map(|name| TABLE.resource(name)).collect(),
        };
        if types.iter().any(|index| reaches(TABLE.structure(*index), &path.steps)) {
            return Ok(path);
        }
        let names: Vec<_> = match resource_type.and_then(|name| TABLE.resource(name.0)) {
            Some(index) if path.steps.len() == 1 => {
                TABLE.structure(index).slots.iter().map(|slot| slot.name).collect()
            }
            _ => TABLE.names().collect(),
        };
        let wrong = path.steps.iter().find(|step| !names.contains(&step.as_str()));
        let wrong = wrong.unwrap_or(&path.steps[0]);
        Err(unknown("element", wrong, names) + &format!(" in {text:?}"))
    }
}

impl ElementPath {
    pub(super) fn steps(&self) -> &[String] {
        &self.steps
    }

    pub(super) fn text(&self) -> String {
        self.steps.join(".")
    }

    /// Whether the rule is for resources of this structure.
    pub(super) fn is_of(&self, structure: &Structure) -> bool {
        self.resource_type.is_none_or(|name| name.0 == structure.name)
            && reaches(structure, &self.steps)
    }
}

/// The fields that a step names: one, or all types of a choice written `value[x]`.
fn fields<'a>(structure: &'a Structure, step: &str) -> Vec<(&'static str, &'a Kind)> {
    if step.ends_with("[x]") {
        let Some(slot) = structure.slot(step) else { return Vec::new() };
        return structure
            .fields()
            .iter()
            .filter(|field| field.slot == slot)
            .map(|it| (it.name, &it.kind))
            .collect();
    }
    structure.find(step).map(|(_, field)| (field.name, &field.kind)).into_iter().collect()
}

/// Whether there is such an element in R4.
fn reaches(structure: &Structure, steps: &[String]) -> bool {
    let Some((step, rest)) = steps.split_first() else { return true };
    fields(structure, step).into_iter().any(|(_, kind)| match kind {
        Kind::Structure(index) => reaches(TABLE.structure(*index), rest),
        Kind::Primitive(_) | Kind::Resource => rest.is_empty(),
    })
}

/// Whether the element is there, with something in it.
pub(super) fn holds(structure: &Structure, node: Node<'_>, steps: &[String]) -> bool {
    let Some((step, rest)) = steps.split_first() else { return has_content(node) };
    fields(structure, step).into_iter().any(|(name, kind)| {
        let inner = match kind {
            Kind::Structure(index) => TABLE.structure(*index),
            // Nothing follows, so that the structure is not looked at.
            Kind::Primitive(_) | Kind::Resource => structure,
        };
        node.get(name).is_some_and(|value| value.items().any(|item| holds(inner, item, rest)))
    })
}

/// Whether a value says more than why there is none.
fn has_content(node: Node<'_>) -> bool {
    if node.is_object() {
        return node.members().any(|(key, _)| key != "extension" && key != "id");
    }
    !node.is_null()
}

/// Whether a reference, or one of those inside a backbone element, leads to somebody.
pub(super) fn names_somebody(node: Node<'_>) -> bool {
    const REFERS: [&str; 3] = ["reference", "identifier", "display"];
    const INSIDE: [&str; 5] = ["actor", "individual", "who", "member", "party"];
    node.items().any(|item| {
        item.members().any(|(key, value)| {
            REFERS.contains(&&*key) || (INSIDE.contains(&&*key) && names_somebody(value))
        })
    })
}

pub(super) fn author_elements(structure: &Structure) -> Vec<&'static str> {
    let mut names = known(structure, &AUTHORS);
    // Of an order it is who shall do it, not who wrote it.
    if structure.name.ends_with("Request") {
        names.retain(|name| *name != "performer");
    }
    names
}

pub(super) fn encounter_elements(structure: &Structure) -> Vec<&'static str> {
    known(structure, &ENCOUNTERS)
}

/// Those of the names that the structure has, as references or as elements that hold some.
fn known(structure: &Structure, names: &[&'static str]) -> Vec<&'static str> {
    let refers = |name: &str| {
        structure.find(name).is_some_and(|(_, field)| matches!(field.kind, Kind::Structure(_)))
    };
    names.iter().copied().filter(|name| refers(name)).collect()
}
