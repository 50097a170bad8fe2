//! Which medicine a resource means: by code, by a reference in its document, or in another record of its author.

use std::{borrow::Cow, collections::HashMap};

use alloy_primitives::Address;

use crate::Node;

use super::{Concept, Held, Source, concept::text};

/// The Medication resources of all documents.
pub(super) struct Medicines<'a> {
    /// By place of the document.
    local: HashMap<(usize, Cow<'a, str>), Held<'a>>,
    /// By author; of several with one name, the one that was entered last.
    shared: HashMap<(Address, Cow<'a, str>), Held<'a>>,
}

impl<'a> Medicines<'a> {
    pub(super) fn of(sources: &[&Source<'_, 'a>]) -> Self {
        let mut found = Self { local: HashMap::new(), shared: HashMap::new() };
        for (place, source) in sources.iter().enumerate() {
            let author = source.origin.author.id;
            for resource in source.document.resources() {
                if resource.node.resource_type().as_deref() != Some("Medication") {
                    continue;
                }
                let id = text(resource.node, "id").map(|id| Cow::Owned(format!("Medication/{id}")));
                for name in resource.full_url.clone().into_iter().chain(id) {
                    let full_url = resource.full_url.clone();
                    let held = Held { author, full_url, node: resource.node };
                    found.local.insert((place, name.clone()), held.clone());
                    found.shared.insert((author, name), held);
                }
            }
        }
        found
    }

    /// The medicine of a resource: what it is, the resource that says so, and whether a reference led nowhere.
    pub(super) fn name(
        &self,
        author: Address,
        place: usize,
        node: Node<'a>,
    ) -> (Concept, Option<Held<'a>>, bool) {
        if let Some(concept) = node.get("medicationCodeableConcept") {
            return (Concept::read(concept), None, false);
        }
        let Some(reference) = node.get("medicationReference") else {
            return (Concept::default(), None, true);
        };
        let target = text(reference, "reference");
        let (found, held) = match target.as_deref() {
            Some(target) if target.starts_with('#') => (contained(node, &target[1..]), None),
            Some(target) => {
                let held = self.find(author, place, target);
                (held.map(|held| held.node), held.cloned())
            }
            None => (None, None),
        };
        let concept = found.map(|medication| medicine(medication, node)).unwrap_or_default();
        if !concept.is_empty() {
            return (concept, held, false);
        }
        let shown = text(reference, "display");
        let known = reference.at(&["identifier", "value"]).and_then(Node::text);
        let name = shown.or(known).or(target).unwrap_or_default();
        (Concept::of_text(&name), held, found.is_none())
    }

    fn find(&self, author: Address, place: usize, target: &str) -> Option<&Held<'a>> {
        let target = target.split_once("/_history/").map_or(target, |(unversioned, _)| unversioned);
        // `Medication/id` also ends an absolute URL.
        let end = target.rfind("/Medication/").map(|at| &target[at + 1..]);
        [Some(target), end].into_iter().flatten().find_map(|name| {
            let name = Cow::Borrowed(name);
            let local = self.local.get(&(place, Cow::Owned(name.to_string())));
            local.or_else(|| self.shared.get(&(author, Cow::Owned(name.into_owned()))))
        })
    }
}

fn contained<'a>(node: Node<'a>, id: &str) -> Option<Node<'a>> {
    let mut all = node.get("contained").into_iter().flat_map(Node::items);
    all.find(|resource| text(*resource, "id").as_deref() == Some(id))
}

/// A Medication's code; else, what it is made of.
fn medicine<'a>(medication: Node<'a>, around: Node<'a>) -> Concept {
    let concept = medication.get("code").map(Concept::read).unwrap_or_default();
    if !concept.is_empty() {
        return concept;
    }
    let ingredients = medication.get("ingredient").into_iter().flat_map(Node::items);
    let concepts = ingredients.filter_map(|ingredient| {
        let named = ingredient.get("itemCodeableConcept").map(Concept::read);
        named.or_else(|| {
            let target = ingredient.at(&["itemReference", "reference"]).and_then(Node::text)?;
            let inner = contained(medication, target.strip_prefix('#')?);
            let found = inner.or_else(|| contained(around, target.strip_prefix('#')?))?;
            Some(Concept::read(found.get("code")?))
        })
    });
    let all: Vec<Concept> = concepts.collect();
    match all.as_slice() {
        [one] => one.clone(),
        // The codes of its ingredients are not codes of the medicine.
        several => {
            let names: Vec<&str> = several.iter().map(|one| one.name.as_str()).collect();
            Concept::of_text(&names.join(" + "))
        }
    }
}
