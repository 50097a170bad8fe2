//! What is shown before signing: honest requests in plain words, hostile ones refused or warned about.

#[path = "clear/samples.rs"]
mod samples;

use galen_chain::clear::explain;
use samples::{Book, all};

/// Kinds that nobody can show in full, or that change who is in control: their warning is always there.
const ALWAYS_WARNED: [&str; 4] = ["BulkAnchor", "GuardianChange", "Recovery", "Rotation"];

#[test]
fn honest_requests_are_explained_without_an_alarm() {
    for request in all() {
        let shown = explain(&request, &Book::of(request.id)).unwrap();
        let kind = shown.primary_type.as_str();
        let delegates = !request.evidence.delegates.is_empty();
        let warned = ALWAYS_WARNED.contains(&kind) || delegates;
        assert_eq!(!shown.warnings.is_empty(), warned, "{kind}: {:?}", shown.warnings);
        assert_eq!(shown.network.as_deref(), Some("\"test\""), "{kind}");
        assert_eq!(shown.digest, request.digest, "{kind}");
    }
}
