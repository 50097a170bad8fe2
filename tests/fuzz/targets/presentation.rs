//! Any bytes as a presentation: refused, or a view that is FHIR and says the same when it is written again.

#![no_main]

use galen_fhir::{
    Document,
    parts::{ProofParts, verify},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(parts) = serde_json::from_slice::<ProofParts>(bytes) else { return };
    let Ok(verified) = verify(&parts) else { return };
    Document::read_extract(verified.view.expose()).expect("a view is FHIR");
    let text = serde_json::to_vec(&parts).expect("parts are written");
    let again = serde_json::from_slice(&text).expect("what is written is read");
    assert!(verify(&again) == Ok(verified));
});
