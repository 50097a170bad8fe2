//! Published documents, shown by parts; see `corpus.rs` for where they lie.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod common;

use common::{PUBLISHED, corpus, files};
use galen_fhir::{
    Document, Node,
    parts::{PartTree, PartsError, Seed, Selection, SigningPolicy, verify},
};

/// Each primitive with the names that lead to it and its exact text; positions in arrays left out.
fn leaves<'a>(node: Node<'a>, path: &str, out: &mut Vec<(String, &'a str)>) {
    if node.is_object() {
        node.members().for_each(|(name, value)| leaves(value, &format!("{path}/{name}"), out));
    } else if node.is_array() {
        node.items().for_each(|item| leaves(item, path, out));
    } else {
        out.push((path.to_owned(), node.raw()));
    }
}

fn sorted_leaves(node: Node<'_>) -> Vec<(String, &str)> {
    let mut out = Vec::new();
    leaves(node, "", &mut out);
    out.sort_unstable();
    out
}

/// Everything shown is everything, byte for byte; with something hidden, what is left is part of it.
fn assert_parts_keep_everything(name: &str, bytes: &[u8], seed: u8) {
    let document = Document::read(bytes).unwrap();
    let tree =
        PartTree::build(&document, &Seed::new([seed; 32]), &SigningPolicy::default()).unwrap();
    let original = sorted_leaves(document.root());
    let whole = verify(&tree.select(&Selection::default()).unwrap().proof_parts()).unwrap();
    assert_eq!(whole.root, tree.root(), "{name}");
    let view =
        Document::read(whole.view.expose()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(sorted_leaves(view.root()) == original, "{name}: a value has changed");
    // Some element names of R4, another choice for each document.
    const NAMES: [&str; 6] =
        ["*.id", "*.identifier", "*.name", "*.subject.display", "*.note", "*.meta"];
    let hide = NAMES.iter().skip(usize::from(seed) % 3).step_by(2).copied();
    let shown = match tree.select(&Selection::hide(
        hide.chain(["entry[0]"])
            .filter(|pattern| document.resource_type() == "Bundle" || *pattern != "entry[0]"),
    )) {
        Ok(shown) => shown,
        // A document whose core has one of the names.
        Err(PartsError::NothingShown) => return,
        Err(error) => panic!("{name}: {error}"),
    };
    let part = verify(&shown.proof_parts()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(part.root, tree.root(), "{name}");
    let part = Document::read_extract(part.view.expose()).unwrap();
    let mut rest = original.into_iter();
    for leaf in sorted_leaves(part.root()) {
        assert!(rest.any(|one| one == leaf), "{name}: a value is not of the document");
    }
}

#[test]
fn published_documents_are_shown_by_parts() {
    let Some(corpus) = corpus() else { return };
    let mut count = 0_usize;
    for folder in PUBLISHED {
        for (name, bytes) in files(&corpus.join(folder)) {
            // A list of what the others are, not a FHIR document.
            if name == "DESCRIPTIONS.json" {
                continue;
            }
            assert_parts_keep_everything(&name, &bytes, u8::try_from(count % 256).unwrap());
            count += 1;
        }
    }
    assert!(count > 100, "only {count} documents found");
}

/// Documents that are wrong in all the ways that others thought of: refused, or shown by parts like any other.
#[test]
fn broken_documents_never_panic() {
    let Some(corpus) = corpus() else { return };
    let (mut accepted, mut refused) = (0, 0);
    for folder in ["tricky", "tricky/hl7-validator", "shc", "consent"] {
        for (name, bytes) in files(&corpus.join(folder)) {
            match Document::read(&bytes) {
                Ok(_) => {
                    accepted += 1;
                    assert_parts_keep_everything(&name, &bytes, 1);
                }
                Err(error) => {
                    refused += 1;
                    assert!(error.offset() <= bytes.len(), "{name}");
                }
            }
        }
    }
    assert!(accepted >= 40 && refused >= 40, "only {accepted} accepted, {refused} refused");
}
