//! What is shown before signing: honest requests in plain words, hostile ones refused or warned about.

#[path = "clear/hostile.rs"]
mod hostile;
#[path = "clear/injection.rs"]
mod injection;
#[path = "clear/samples.rs"]
mod samples;

use std::collections::BTreeSet;

use galen_chain::{
    Evidence, SignError, SigningRequest,
    clear::{explain, inert},
};
use galen_types::ErrorKind;
use hostile::{Case, Expected};
use samples::{Book, all};

/// Kinds that nobody can show in full, or that change who is in control: their warning is always there.
const ALWAYS_WARNED: [&str; 7] = [
    "BulkAnchor",
    "GuardianChange",
    "Offer",
    "PieceRequest",
    "ProxyReport",
    "Recovery",
    "Rotation",
];

fn always_warned(request: &SigningRequest) -> bool {
    let kind = request.typed.primary_type.as_str();
    ALWAYS_WARNED.contains(&kind) || !request.evidence.delegates.is_empty()
}

#[test]
fn honest_requests_are_explained_without_an_alarm() {
    for request in all() {
        let shown = explain(&request, &Book::of(request.id)).unwrap();
        let kind = shown.primary_type.as_str();
        assert_eq!(!shown.warnings.is_empty(), always_warned(&request), "{kind}: {shown:?}");
        assert_eq!(shown.network.as_deref(), Some("\"test\""), "{kind}");
        assert_eq!(shown.digest, request.digest, "{kind}");
        assert_eq!(shown.words.len(), 6, "{kind}");
    }
}

/// Whoever adds a struct to `typed.rs` must say how it is shown and prove it with a sample.
#[test]
fn every_signed_struct_has_a_descriptor_and_a_sample() {
    let source = include_str!("../src/typed.rs");
    let parts = BTreeSet::from(["Leaf", "Resealed"]);
    let structs: BTreeSet<&str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("    struct ")?.strip_suffix(" {"))
        .filter(|name| !parts.contains(name))
        .collect();
    let requests = all();
    let shown: BTreeSet<&str> =
        requests.iter().map(|request| request.typed.primary_type.as_str()).collect();
    assert_eq!(structs, shown);
}

/// The sentences people read, as they stand.
#[test]
fn the_sentence_says_what_happens() {
    let expected = [
        (
            "Settlement",
            "Accept 3 and reject 1 of 4 records proposed by \"St Anna\" (0x22222222…22222222).",
        ),
        (
            "ConsentChange",
            "Let \"Helvetia\" (0x33333333…33333333) read category 3 and category 7 until \
             14 February 2027, 08:00:00 UTC for payment and insurance coverage.",
        ),
        (
            "Access",
            "Log a read of 2 records of \"Ada\" (0x11111111…11111111) by you (0x33333333…33333333) \
             for payment.",
        ),
        (
            "Vote",
            "As you (0x22222222…22222222), vote to suspend \"Laboratory\" (0x44444444…44444444).",
        ),
        (
            "Rotation",
            "Let \"Grace\" (0x55555555…55555555) sign for you (0x11111111…11111111) from now on.",
        ),
        (
            "Sharing",
            "Hand \"Helvetia\" (0x33333333…33333333) its half of the keys to category 3 and \
             category 7 until 14 February 2027, 08:00:00 UTC for payment and insurance coverage, and \
             the other half to proxies: \"Proxy of St Anna\" (0x61616161…61616161), \"Proxy of the \
             city\" (0x62626262…62626262) and \"Proxy of the union\" (0x63636363…63636363).",
        ),
        (
            "KeyRequest",
            "Ask the proxies for the keys of 2 records of \"Ada\" (0x11111111…11111111), whose read \
             you log.",
        ),
        (
            "Pieces",
            "Give pieces of the root of the keys of you (0x11111111…11111111) to 3 guardians and 3 \
             proxies.",
        ),
    ];
    for (kind, sentence) in expected {
        let request = all().into_iter().find(|request| request.typed.primary_type == kind);
        let request = request.unwrap();
        let shown = explain(&request, &Book::of(request.id)).unwrap();
        assert_eq!(shown.sentence, sentence);
        assert_eq!(shown.lines()[0].text, sentence);
    }
}

/// What enough holders of keys could do together is said, with their number.
#[test]
fn what_holders_could_do_together_is_said() {
    let (silent, evidence) = samples::pieces(&[]);
    let silent = samples::request(samples::PATIENT, &silent, evidence);
    let mut whole = samples::shared();
    whole.envelopes.truncate(1);
    whole.envelopes[0].keys_split = false;
    let whole = samples::request(samples::PATIENT, &samples::sharing(&whole), whole);
    let of = |kind: &str| all().into_iter().find(|request| request.typed.primary_type == kind);
    for (request, said) in [
        (of("Sharing").unwrap(), "2 of 3 proxies are needed for each read"),
        (of("Sharing").unwrap(), "2 of them together with a reader could open"),
        (of("Offer").unwrap(), "2 of them together could open it without anybody"),
        (of("Pieces").unwrap(), "2 guardians and 2 proxies together could open ALL"),
        (silent, "Any 2 of the 3 guardians together could open ALL your records"),
        (whole, "without Galen being able to force a log"),
    ] {
        let shown = explain(&request, &Book::of(request.id)).unwrap();
        let text: Vec<String> = shown.lines().into_iter().map(|line| line.text).collect();
        assert!(text.iter().any(|line| line.contains(said)), "{said}: {text:#?}");
    }
}

#[test]
fn hostile_requests_are_refused_or_warned_about() {
    let cases = hostile::all();
    assert!(cases.len() >= 300, "{} cases", cases.len());
    for Case { name, request, book, expected } in cases {
        let shown = match explain(&request, &book) {
            Err(SignError::Refused(_)) => continue,
            Err(error) => panic!("{name}: {error}"),
            Ok(shown) => shown,
        };
        let warned = |code: Option<&str>| {
            let grave = shown.warnings.iter().filter(|warning| warning.danger);
            grave.map(|warning| warning.code).any(|has| code.is_none_or(|code| code == has))
        };
        match expected {
            Expected::Refused => panic!("{name}: {shown:#?}"),
            Expected::Alarm => assert!(warned(None), "{name}: {shown:#?}"),
            Expected::Warning(code) => assert!(warned(Some(code)), "{name}: {shown:#?}"),
        }
    }
}

/// Whatever names, categories and networks are called: no line is added, nothing active is printed,
/// and no quotation mark closes early.
#[test]
fn injected_text_is_inert() {
    let payloads = injection::payloads();
    assert!(payloads.len() >= 500, "{} payloads", payloads.len());
    let requests = all();
    for (index, payload) in payloads.iter().enumerate() {
        let request = &requests[index % requests.len()];
        let plain = explain(request, &Book::of(request.id)).unwrap();
        let mut book = Book::of(request.id);
        book.names.iter_mut().for_each(|(_, name)| name.clone_from(payload));
        book.segment.clone_from(payload);
        book.network.clone_from(payload);
        let shown = explain(request, &book).unwrap();
        assert_eq!(shown.lines().len(), plain.lines().len(), "{payload:?}");
        let json = serde_json::to_string(&shown).unwrap();
        let lines = shown.lines().into_iter().map(|line| line.text);
        for text in lines.chain([json]) {
            assert_eq!(text.chars().find(|c| injection::is_active(*c)), None, "{payload:?}");
        }
        assert!(injection::is_closed(&inert(payload)), "{payload:?}");
    }
}

/// A card is signed by its owner, but its texts may come from elsewhere.
#[test]
fn texts_inside_a_message_are_inert() {
    for payload in injection::payloads() {
        let mut card = samples::card();
        card.name = payload.chars().take(60).collect();
        card.store.clone_from(&card.name);
        let request = samples::request(card.id, &card, Evidence::default());
        let shown = explain(&request, &Book::of(request.id)).unwrap();
        for line in shown.lines() {
            assert_eq!(line.text.chars().find(|c| injection::is_active(*c)), None, "{payload:?}");
        }
    }
}

#[test]
fn a_refusal_is_the_fault_of_the_request() {
    let mut request = all().remove(0);
    request.digest.0[0] ^= 1;
    let error = explain(&request, &Book::of(request.id)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.to_string(), "it is not signed: the digest is not that of the message");
}
