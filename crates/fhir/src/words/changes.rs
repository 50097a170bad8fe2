//! What changed between two versions of a document, value by value.

use std::collections::{HashMap, HashSet};

use super::{Words, sentence, shown};
use crate::{Document, Node, Resource};

/// Changes of one resource that are told one by one; more are told as one.
const MAX_CHANGES: usize = 100;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// A resource or a value that the version before does not have.
    Added,
    /// Only the version before has it.
    Removed,
    /// Another value.
    Changed,
}

impl ChangeKind {
    /// The name for machines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        }
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// The sentence of the resource: as it is now, or as it was if it is gone.
    pub resource: Words,
    /// The element, written like `valueQuantity.value`. `None` if it is the whole resource.
    pub element: Option<String>,
    /// What stood there, as it was written.
    pub before: Option<Words>,
    /// What stands there now, as it is written.
    pub after: Option<Words>,
}

/// Compares two documents, resource by resource: removed ones last, all else in the order of `after`. Resources
/// are the same if they have the same `fullUrl`, or type and `id`, or no name and the same place among their type.
pub fn changes(before: &Document<'_>, after: &Document<'_>) -> Vec<Change> {
    let (before, after): (Vec<_>, Vec<_>) =
        (before.resources().collect(), after.resources().collect());
    let (old_keys, new_keys) = (keys(&before), keys(&after));
    let known: HashMap<&str, &Resource<'_>> =
        old_keys.iter().map(String::as_str).zip(&before).collect();
    let mut found = Vec::new();
    for (key, resource) in new_keys.iter().zip(&after) {
        let words = || Words::new(sentence::of(resource.node, &after));
        match known.get(key.as_str()) {
            None => found.push(whole(ChangeKind::Added, words())),
            Some(old) if old.node == resource.node => {}
            Some(old) => {
                let mut compared = Compared { words: words(), found: Vec::new() };
                compared.node(&mut Vec::new(), old.node, resource.node);
                found.extend(compared.finish());
            }
        }
    }
    let kept: HashSet<&String> = new_keys.iter().collect();
    let gone = old_keys.iter().zip(&before).filter(|(key, _)| !kept.contains(key));
    found.extend(gone.map(|(_, resource)| {
        whole(ChangeKind::Removed, Words::new(sentence::of(resource.node, &before)))
    }));
    found
}

const fn whole(kind: ChangeKind, resource: Words) -> Change {
    Change { kind, resource, element: None, before: None, after: None }
}

/// What each resource is known by; unique.
fn keys(resources: &[Resource<'_>]) -> Vec<String> {
    let mut seen = HashMap::new();
    let mut unique = |key: String| {
        let count = seen.entry(key.clone()).and_modify(|count| *count += 1).or_insert(0);
        format!("{key}#{count}")
    };
    let key = |resource: &Resource<'_>| {
        let kind = resource.node.resource_type().unwrap_or_default();
        match (&resource.full_url, resource.node.get("id").and_then(Node::text)) {
            (Some(url), _) => url.to_string(),
            (None, Some(id)) => format!("{kind}/{id}"),
            (None, None) => kind.into_owned(),
        }
    };
    resources.iter().map(|resource| unique(key(resource))).collect()
}

/// The differences within one resource.
struct Compared {
    words: Words,
    found: Vec<Change>,
}

impl Compared {
    fn node(&mut self, path: &mut Vec<String>, old: Node<'_>, new: Node<'_>) {
        if old == new {
            return;
        }
        if old.is_object() && new.is_object() {
            self.members(path, old, new);
        } else if old.is_array() && new.is_array() {
            self.items(path, old, new);
        } else {
            self.add(path, Some(old), Some(new));
        }
    }

    fn members(&mut self, path: &mut Vec<String>, old: Node<'_>, new: Node<'_>) {
        let before: Vec<_> = old.members().collect();
        for (name, value) in new.members() {
            let old = before.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
            self.step(path, name.into_owned(), old, Some(value));
        }
        for (name, value) in before {
            if new.get(&name).is_none() {
                self.step(path, name.into_owned(), Some(value), None);
            }
        }
    }

    fn step(
        &mut self,
        path: &mut Vec<String>,
        name: String,
        old: Option<Node<'_>>,
        new: Option<Node<'_>>,
    ) {
        path.push(name);
        match (old, new) {
            (Some(old), Some(new)) => self.node(path, old, new),
            (old, new) => self.leaves(path, old, new),
        }
        path.pop();
    }

    /// Items that both have at the start and at the end are the same; of the rest, those at the same place are
    /// compared if there are as many, and told as removed and added if not.
    fn items(&mut self, path: &mut Vec<String>, old: Node<'_>, new: Node<'_>) {
        let (old, new): (Vec<_>, Vec<_>) = (old.items().collect(), new.items().collect());
        let start = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
        let rest = old.len().min(new.len()) - start;
        let end =
            old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
        let (old, new) = (&old[start..old.len() - end], &new[start..new.len() - end]);
        let name = path.last().cloned().unwrap_or_default();
        let place = |path: &mut Vec<String>, at: usize| {
            if let Some(last) = path.last_mut() {
                *last = format!("{name}[{}]", start + at);
            }
        };
        if old.len() == new.len() {
            for (at, (old, new)) in old.iter().zip(new).enumerate() {
                place(path, at);
                self.node(path, *old, *new);
            }
        } else {
            for (at, new) in new.iter().enumerate() {
                place(path, at);
                self.leaves(path, None, Some(*new));
            }
            for (at, old) in old.iter().enumerate() {
                place(path, at);
                self.leaves(path, Some(*old), None);
            }
        }
        place(path, 0);
        if let Some(last) = path.last_mut() {
            *last = name;
        }
    }

    /// Something that only one of the two has, down to its values.
    fn leaves(&mut self, path: &mut Vec<String>, old: Option<Node<'_>>, new: Option<Node<'_>>) {
        let Some(one) = old.or(new) else { return };
        let inner: Vec<(String, Node<'_>)> = if one.is_object() {
            one.members().map(|(name, value)| (name.into_owned(), value)).collect()
        } else if one.is_array() {
            let name = path.pop().unwrap_or_default();
            let items = one.items().enumerate();
            let items: Vec<_> = items.map(|(at, item)| (format!("{name}[{at}]"), item)).collect();
            for (step, item) in items {
                path.push(step);
                self.leaves(path, old.map(|_| item), new.map(|_| item));
                path.pop();
            }
            path.push(name);
            return;
        } else {
            return self.add(path, old, new);
        };
        for (step, value) in inner {
            path.push(step);
            self.leaves(path, old.map(|_| value), new.map(|_| value));
            path.pop();
        }
    }

    fn add(&mut self, path: &[String], old: Option<Node<'_>>, new: Option<Node<'_>>) {
        let kind = match (old, new) {
            (None, _) => ChangeKind::Added,
            (_, None) => ChangeKind::Removed,
            _ => ChangeKind::Changed,
        };
        let last = path.last().map_or("", String::as_str);
        let words = |node: Option<Node<'_>>| node.map(|node| Words::new(told(last, node)));
        self.found.push(Change {
            kind,
            resource: self.words.clone(),
            element: Some(path.join(".")),
            before: words(old),
            after: words(new),
        });
    }

    fn finish(mut self) -> Vec<Change> {
        if self.found.len() > MAX_CHANGES {
            self.found.truncate(MAX_CHANGES);
            let more = whole(ChangeKind::Changed, self.words);
            self.found.push(Change { element: Some("more than is told here".to_owned()), ..more });
        }
        self.found
    }
}

/// A value as it stands; markup and files are not repeated.
fn told(name: &str, node: Node<'_>) -> String {
    match name {
        "div" => "(formatted text)".to_owned(),
        "data" => format!("(a file of {} characters)", node.raw().len()),
        _ => node.text().map_or_else(|| node.raw().to_owned(), |text| shown(&text)),
    }
}
