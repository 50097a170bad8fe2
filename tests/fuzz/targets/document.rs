//! Any bytes as a FHIR document: refused with a place inside them, or split and signed by parts without loss.

#![no_main]

use galen_fhir::{
    Document,
    parts::{PartTree, Seed, Selection, SigningPolicy, verify},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let document = match Document::read(bytes) {
        Ok(document) => document,
        Err(error) => {
            assert!(error.offset() <= bytes.len());
            return;
        }
    };
    for draft in document.split() {
        let payload = draft.payload();
        Document::read(payload.expose()).expect("a payload is a document");
    }
    let seed = Seed::new([1; 32]);
    let tree = PartTree::build(&document, &seed, &SigningPolicy::default()).expect("it can be cut");
    for selection in [Selection::default(), Selection::hide(["*.id", "*.extension"])] {
        let Ok(shown) = tree.select(&selection) else { continue };
        let verified = verify(&shown.proof_parts()).expect("what is shown verifies");
        assert_eq!(verified.root, tree.root());
    }
});
