//! What published Consents decide, by their descriptions; what no Consent may ever do; and grants in and
//! out of documents.
//!
//! The Consents of HL7 and of IHE PCF are read from the corpus (see `corpus.rs`). Of those that it does not
//! hold, the test has a document of its own, made from the description; without the corpus the others are
//! skipped.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]
#![allow(clippy::print_stderr, reason = "a skipped test must say so")]

use std::{env, fs, path::Path};

use alloy_primitives::{Address, B256};
use galen_fhir::{
    Category, Document,
    consent::{
        Code, ConsentDocument, ConsentError, Data, ExportedConsent, Flavour, GranteeMap,
        ImportOptions, Party, PlannedGrant, Question, Why, decide, export, from_scopes, plan,
        scopes,
    },
    out,
};
use galen_types::{ConsentId, LedgerId, Purpose, PurposeSet};
use proptest::prelude::*;
use serde_json::{Value, json};

const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
const LEVEL: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
const TYPES: &str = "http://hl7.org/fhir/resource-types";
const ROLE: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";

fn read(document: &Value) -> Vec<ConsentDocument> {
    let bytes = document.to_string();
    let document = Document::read(bytes.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    ConsentDocument::read_all(&document).unwrap()
}

/// An active Consent with this root provision.
fn consent(provision: &Value) -> Value {
    json!({
        "resourceType": "Consent", "status": "active",
        "scope": {"coding": [{"code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "policy": [{"uri": "http://example.org/policy"}],
        "provision": provision,
    })
}

fn reasons(codes: &[&str]) -> Value {
    codes.iter().map(|code| json!({"system": ACT_REASON, "code": code})).collect()
}

/// Treatment, payment and operations, and more.
fn tpo(more: &Value) -> Value {
    let mut root = json!({"type": "permit", "purpose": reasons(&["TREAT", "HPAYMT", "HOPERAT"])});
    for (name, value) in more.as_object().unwrap() {
        root[name] = value.clone();
    }
    consent(&root)
}

fn actor(role: &str, reference: &str) -> Value {
    json!([{"role": {"coding": [{"system": ROLE, "code": role}]}, "reference": {"reference": reference}}])
}

fn level(codes: &[&str]) -> Value {
    codes.iter().map(|code| json!({"system": LEVEL, "code": code})).collect()
}

fn label(codes: &[&str]) -> Value {
    codes.iter().map(|code| json!({"system": ACT_CODE, "code": code})).collect()
}

/// Documents made from the descriptions of Consents that the corpus does not hold.
fn own(name: &str) -> Option<Value> {
    let about =
        |meaning: &str, what: &str| json!([{"meaning": meaning, "reference": {"reference": what}}]);
    let normal = |inner: Value| tpo(&json!({"securityLabel": level(&["N"]), "provision": [inner]}));
    let practitioner = actor("IRCP", "Practitioner/ex-practitioner");
    let year = json!({"start": "2022-01-01", "end": "2022-12-31"});
    Some(match name {
        "ex-consent-basic-treat" => tpo(&json!({})),
        "ex-consent-expired-treat" => {
            tpo(&json!({"period": {"start": "2022-06-13", "end": "2022-12-31"}}))
        }
        "ex-consent-intermediate-not-timeframe" => {
            tpo(&json!({"provision": [{"type": "deny", "dataPeriod": year}]}))
        }
        "ex-consent-intermediate-authoredby" => {
            tpo(&json!({"data": about("authoredby", "Practitioner/ex-practitioner")}))
        }
        "ex-consent-intermediate-data" => {
            tpo(&json!({"data": about("instance", "Observation/ex-bloodSugar")}))
        }
        "ex-consent-intermediate-not-data" => tpo(&json!({"provision": [
            {"type": "deny", "data": about("instance", "Observation/ex-alcoholUse")}]})),
        "ex-consent-advanced-normal" => tpo(&json!({"securityLabel": level(&["N"])})),
        "ex-consent-advanced-normal-restricted" => {
            tpo(&json!({"securityLabel": level(&["N", "R"])}))
        }
        "ex-consent-advanced-normal-focused-psy-or-sdv" => normal(
            json!({"type": "permit", "securityLabel": label(&["PSY", "SDV"]), "actor": practitioner}),
        ),
        "ex-consent-advanced-normal-break-glass-restricted" => normal(
            json!({"type": "permit", "securityLabel": level(&["R"]), "purpose": reasons(&["BTG"])}),
        ),
        "own-not-org" => {
            let mut document =
                consent(&json!({"type": "deny", "actor": actor("PRCP", "Organization/f001")}));
            document["policyRule"] = json!({"coding": [{"system": ACT_CODE, "code": "OPTIN"}]});
            document
        }
        "own-not-author" => {
            let mut document = consent(&json!({"actor": actor("AUT", "Organization/f001")}));
            document["policyRule"] = json!({"coding": [{"system": ACT_CODE, "code": "OPTIN"}]});
            document
        }
        _ => return None,
    })
}

/// The Consents of a name: from the corpus, else our own, else none.
fn fixture(name: &str) -> Option<Vec<ConsentDocument>> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fhir");
    let corpus = env::var_os("GALEN_FHIR").map_or(beside, std::path::PathBuf::from);
    for folder in ["consent/ihe-pcf", "consent", "hl7-r4-examples"] {
        if let Ok(bytes) = fs::read(corpus.join(folder).join(format!("{name}.json"))) {
            let document = Document::read(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            return Some(ConsentDocument::read_all(&document).unwrap());
        }
    }
    let own = own(name).map(|document| read(&document));
    let required = env::var_os("GALEN_REQUIRE_FHIR").is_some_and(|value| value == "1");
    assert!(own.is_some() || !required, "{name} is required");
    if own.is_none() {
        eprintln!("skipped: {name} is not in the corpus");
    }
    own
}

/// Seconds of days that the questions use.
const NOW: i64 = 1_795_219_200; // 2026-11-21
const DEC_2022: i64 = 1_672_531_199; // 2022-12-31T23:59:59Z
const JAN_2015: i64 = 1_421_280_000; // 2015-01-15
const JUNE_2016: i64 = 1_466_666_000; // 2016-06-23T07:13:20Z

/// A question in one line: who, why and when, and the words of what is known of the data: `N`, `R`, `PSY`
/// and other labels, `by=`, `about=`, `is=`, `at=` seconds, `kept=`, `type=`, `class=`, `code=`.
fn question(who: &str, why: &str, time: i64, words: &str) -> Question {
    let mut labels = Vec::new();
    let mut data = Data {
        codes: Some(Vec::new()),
        classes: Some(Vec::new()),
        related: Some(Vec::new()),
        authors: Some(Vec::new()),
        custodians: Some(Vec::new()),
        time: Some(time),
        instance: Some("Observation/other".to_owned()),
        resource_type: Some("Observation".to_owned()),
        ..Data::default()
    };
    for word in words.split_whitespace() {
        let value = word.split_once('=').map(|(_, value)| value.to_owned()).unwrap_or_default();
        match word.split('=').next().unwrap() {
            "by" => data.authors = Some(vec![value]),
            "about" => data.related = Some(vec![value]),
            "kept" => data.custodians = Some(vec![value]),
            "is" => data.instance = Some(value),
            "at" => data.time = value.parse().ok(),
            "type" => data.resource_type = Some(value),
            "class" => data.classes = Some(vec![Code::new("urn:ietf:bcp:13", value)]),
            "code" => data.codes = Some(vec![Code::new("http://loinc.org", value)]),
            level @ ("N" | "R" | "V") => labels.push(Code::new(LEVEL, level)),
            other => labels.push(Code::new(ACT_CODE, other)),
        }
    }
    let system =
        if why == "FooBar" { "http://example.org/policies/purposeOfUse" } else { ACT_REASON };
    let mut actor = Party::by_reference(who);
    actor
        .references
        .extend(who.strip_suffix("+btg").map(|_| "Group/ex-privilegedUsers".to_owned()));
    Question { actor, purpose: Code::new(system, why), time, data: data.labelled(labels) }
}

/// Somebody of whom no document says anything, and those that they name.
const ANY: &str = "Practitioner/any";
const EX: &str = "Practitioner/ex-practitioner";

/// Whether it is permitted; who, why, when, and what is known of the data.
type Asked = (bool, &'static str, &'static str, i64, &'static str);

#[test]
#[rustfmt::skip] // A table.
fn published_consents_decide_as_they_are_described() {
    let rows: &[(&str, &[Asked])] = &[
        // IHE PCF, by DESCRIPTIONS.json.
        ("ex-consent-basic-treat", &[(true, ANY, "TREAT", NOW, ""), (true, ANY, "HPAYMT", NOW, "PSY"), (true, ANY, "HOPERAT", NOW, ""),
            (false, ANY, "HRESCH", NOW, ""), (false, ANY, "HMARKT", NOW, "")]),
        ("ex-consent-basic-treat-infant", &[(true, ANY, "TREAT", NOW, ""), (false, ANY, "HRESCH", NOW, "")]),
        ("ex-consent-basic-ink", &[(true, ANY, "TREAT", NOW, ""), (false, ANY, "CLINTRCH", NOW, "")]),
        ("ex-consent-expired-treat", &[(false, ANY, "TREAT", NOW, ""), (true, ANY, "TREAT", DEC_2022, ""), (false, ANY, "TREAT", DEC_2022 + 1, "")]),
        ("ex-consent-basic-reject", &[(false, ANY, "TREAT", NOW, ""), (false, ANY, "HRESCH", NOW, "")]),
        ("ex-consent-basic-research", &[(true, ANY, "HRESCH", NOW, ""), (true, ANY, "CLINTRCH", NOW, ""), (true, ANY, "CLINTRCHPC", NOW, ""),
            (false, ANY, "TREAT", NOW, "")]),
        ("ex-consent-intermediate-timeframe", &[(true, ANY, "TREAT", NOW, "at=1640995200"), (true, ANY, "TREAT", NOW, "at=1672531199"),
            (false, ANY, "TREAT", NOW, "at=1640995199"), (false, ANY, "TREAT", NOW, "at=1672531200"), (false, ANY, "TREAT", NOW, "at=unknown")]),
        ("ex-consent-intermediate-not-timeframe", &[(false, ANY, "TREAT", NOW, "at=1640995200"), (false, ANY, "TREAT", NOW, "at=1672531199"),
            (true, ANY, "TREAT", NOW, "at=1640995199"), (true, ANY, "TREAT", NOW, "at=1672531200"), (false, ANY, "TREAT", NOW, "at=unknown")]),
        ("ex-consent-intermediate-authoredby", &[(true, ANY, "TREAT", NOW, "by=Practitioner/ex-practitioner"), (false, ANY, "TREAT", NOW, "by=Practitioner/b")]),
        ("ex-consent-intermediate-not-authoredby", &[(false, ANY, "TREAT", NOW, "by=Practitioner/ex-practitioner"), (true, ANY, "TREAT", NOW, "by=Practitioner/b")]),
        ("ex-consent-intermediate-encounter", &[(true, ANY, "TREAT", NOW, "about=Encounter/ex-encounter"), (false, ANY, "TREAT", NOW, "about=Encounter/b")]),
        ("ex-consent-intermediate-not-encounter", &[(false, ANY, "TREAT", NOW, "about=Encounter/ex-encounter"), (true, ANY, "TREAT", NOW, "about=Encounter/b")]),
        ("ex-consent-intermediate-data", &[(true, ANY, "TREAT", NOW, "is=Observation/ex-bloodSugar"), (false, ANY, "TREAT", NOW, "is=Observation/b")]),
        ("ex-consent-intermediate-not-data", &[(false, ANY, "TREAT", NOW, "is=Observation/ex-alcoholUse"), (true, ANY, "TREAT", NOW, "is=Observation/b")]),
        ("ex-consent-intermediate-purpose", &[(true, "Organization/ex-org-researcher", "FooBar", NOW, ""), (false, ANY, "FooBar", NOW, ""),
            (false, "Organization/ex-org-researcher", "HRESCH", NOW, ""), (false, "Organization/ex-org-researcher", "TREAT", NOW, "")]),
        ("ex-dissent-intermediate-break-glass", &[(false, ANY, "TREAT", NOW, ""), (false, ANY, "BTG", NOW, ""), (true, "Practitioner/x+btg", "BTG", NOW, ""),
            (false, "Practitioner/x+btg", "TREAT", NOW, "")]),
        ("ex-consent-advanced-normal", &[(true, ANY, "TREAT", NOW, "N"), (true, ANY, "TREAT", NOW, ""), (false, ANY, "TREAT", NOW, "R"), (false, ANY, "TREAT", NOW, "PSY"),
            (false, ANY, "TREAT", NOW, "N PSY")]),
        ("ex-consent-advanced-normal-restricted", &[(true, ANY, "TREAT", NOW, "N"), (true, ANY, "TREAT", NOW, "R"), (true, ANY, "TREAT", NOW, "PSY"), (false, ANY, "TREAT", NOW, "V")]),
        ("ex-consent-advanced-normal-not-restricted", &[(true, ANY, "TREAT", NOW, "N"), (false, ANY, "TREAT", NOW, "R"), (false, ANY, "TREAT", NOW, "PSY")]),
        ("ex-consent-advanced-normal-focused-restricted", &[(true, ANY, "TREAT", NOW, "N"), (false, ANY, "TREAT", NOW, "R"), (true, EX, "TREAT", NOW, "R"), (true, EX, "TREAT", NOW, "N"),
            (false, EX, "HRESCH", NOW, "R")]),
        ("ex-consent-advanced-normal-focused-psy", &[(true, ANY, "TREAT", NOW, "N"), (false, ANY, "TREAT", NOW, "PSY"), (true, EX, "TREAT", NOW, "PSY"), (false, EX, "TREAT", NOW, "HIV"),
            (false, EX, "TREAT", NOW, "PSY HIV"), (false, EX, "TREAT", NOW, "R"), (false, EX, "HRESCH", NOW, "PSY")]),
        ("ex-consent-advanced-normal-focused-psy-or-sdv", &[(false, ANY, "TREAT", NOW, "SDV"), (true, EX, "TREAT", NOW, "PSY"), (true, EX, "TREAT", NOW, "SDV"), (true, EX, "TREAT", NOW, "N"),
            (false, EX, "TREAT", NOW, "HIV")]),
        ("ex-consent-advanced-normal-break-glass-restricted", &[(true, ANY, "TREAT", NOW, "N"), (false, ANY, "TREAT", NOW, "R"), (true, ANY, "BTG", NOW, "R"), (true, ANY, "BTG", NOW, "PSY"),
            (false, ANY, "HPAYMT", NOW, "SEX")]),
        // HL7, by their narratives; without one, by their elements.
        ("Consent-consent-example-basic", &[(true, ANY, "TREAT", JAN_2015, ""), (true, ANY, "TREAT", 1_451_692_799, ""), (false, ANY, "TREAT", 1_451_692_800, ""), (false, ANY, "TREAT", NOW, "")]),
        ("Consent-consent-example-Out", &[(false, ANY, "TREAT", NOW, "kept=Organization/f001"), (false, ANY, "TREAT", NOW, "kept=Organization/b")]),
        // An exception that denies everything of the clinic leaves nothing of the emergency permit.
        ("Consent-consent-example-Emergency", &[(false, ANY, "TREAT", NOW, "kept=Organization/f001"), (false, ANY, "ETREAT", NOW, "kept=Organization/f001")]),
        ("Consent-consent-example-grantor", &[(true, "Patient/example", "PATRQT", NOW, "kept=Organization/f001"), (false, "Patient/example", "PATRQT", NOW, "kept=Organization/b"),
            (false, ANY, "PATRQT", NOW, "kept=Organization/f001")]),
        ("Consent-consent-example-notThem", &[(false, "Practitioner/f204", "TREAT", NOW, ""), (true, ANY, "TREAT", NOW, "")]),
        ("Consent-consent-example-notThis", &[(false, ANY, "TREAT", NOW, "about=Task/example3"), (true, ANY, "TREAT", NOW, "about=Task/b")]),
        // By its elements no other than `basic`, so only its end is certain.
        ("Consent-consent-example-notTime", &[(false, ANY, "TREAT", NOW, "at=1421280000"), (false, ANY, "TREAT", 1_422_835_200, "")]),
        ("Consent-consent-example-pkb", &[(false, "Organization/f001", "TREAT", NOW, "PSY"), (false, "Organization/f001", "TREAT", NOW, "SEX"), (false, ANY, "TREAT", NOW, "")]),
        ("Consent-consent-example-signature", &[(true, "Practitioner/13", "TREAT", JUNE_2016, "by=Practitioner/xcda-author class=application/hl7-cda+xml code=34133-9"),
            (false, "Practitioner/13", "TREAT", JUNE_2016, "by=Practitioner/b class=application/hl7-cda+xml code=34133-9"), (false, "Practitioner/13", "TREAT", JUNE_2016, "by=Practitioner/xcda-author class=application/hl7-cda+xml code=1-1"),
            (false, "Practitioner/13", "TREAT", NOW, "by=Practitioner/xcda-author class=application/hl7-cda+xml code=34133-9")]),
        ("Consent-consent-example-smartonfhir", &[(true, ANY, "TREAT", 1_466_665_353, "type=MedicationRequest"), (true, ANY, "TREAT", 1_466_667_153, "type=MedicationRequest"),
            (false, ANY, "TREAT", 1_466_665_352, "type=MedicationRequest"), (false, ANY, "TREAT", 1_466_667_154, "type=MedicationRequest"), (false, ANY, "TREAT", JUNE_2016, "")]),
        ("own-not-org", &[(false, "Organization/f001", "TREAT", NOW, ""), (true, "Organization/b", "TREAT", NOW, "")]),
        ("own-not-author", &[(false, ANY, "TREAT", NOW, "by=Organization/f001"), (true, ANY, "TREAT", NOW, "by=Organization/b")]),
    ];
    for (name, questions) in rows {
        let Some(consents) = fixture(name) else { continue };
        for (expected, who, why, time, words) in *questions {
            let decision = decide(&consents, &question(who, why, *time, words));
            assert_eq!(decision.permitted, *expected, "{name}: {who} {why} {time} {words}: {decision:?}");
        }
    }
}

#[test]
#[rustfmt::skip] // A table.
fn consents_are_judged_by_all_their_elements() {
    let with = |name: &str, value: Value| { let mut document = tpo(&json!({})); document[name] = value; document };
    let group = json!({"type": "permit", "actor": actor("IRCP", "Group/g")});
    let by_identifier = json!([{"role": {"coding": [{"code": "IRCP"}]}, "reference": {"identifier": {"system": "urn:oid:1.2", "value": "7"}}}]);
    let inner = |inner: Value| tpo(&json!({"provision": [inner]}));
    let rows = [
        (tpo(&json!({})), ANY, "", Why::Permitted),
        (with("status", json!("draft")), ANY, "", Why::NotInForce),
        (with("status", json!("inactive")), ANY, "", Why::NotInForce),
        (with("status", json!("entered-in-error")), ANY, "", Why::NotInForce),
        (with("status", json!("proposed")), ANY, "", Why::NotInForce),
        (with("scope", json!({"coding": [{"code": "treatment"}]})), ANY, "", Why::NotInForce),
        (with("verification", json!([{"verified": false}])), ANY, "", Why::NotInForce),
        (with("verification", json!([{"verified": false}, {"verified": true}])), ANY, "", Why::Permitted),
        (with("modifierExtension", json!([{"url": "x", "valueCode": "y"}])), ANY, "", Why::NotInForce),
        (with("implicitRules", json!("http://example.org/rules")), ANY, "", Why::NotInForce),
        (with("category", json!([{"coding": [{"code": "EMRGONLY"}]}])), ANY, "", Why::NotPermitted),
        (with("policyRule", json!({"coding": [{"system": ACT_CODE, "code": "OPTOUT"}]})), ANY, "", Why::Permitted),
        (consent(&group), "Practitioner/a", "", Why::NotPermitted),
        (inner(json!({"type": "deny", "actor": actor("IRCP", "Group/g")})), ANY, "", Why::DeniedInDoubt),
        (inner(json!({"type": "deny", "actor": actor("NURSE", "Practitioner/a")})), ANY, "", Why::DeniedInDoubt),
        (consent(&json!({"type": "permit", "actor": by_identifier})), "urn:oid:1.2|7", "", Why::Permitted),
        (consent(&json!({"type": "permit", "actor": by_identifier})), "urn:oid:1.2|8", "", Why::NotPermitted),
        (inner(json!({"securityLabel": label(&["PSY"])})), ANY, "PSY", Why::Denied),
        (inner(json!({"type": "deny", "securityLabel": label(&["ETH"])})), ANY, "OPIOIDUD", Why::Denied),
        (inner(json!({"type": "deny", "securityLabel": label(&["HIV"])})), ANY, "PSY", Why::Permitted),
        (inner(json!({"type": "deny", "purpose": reasons(&["TREAT"])})), ANY, "", Why::Denied),
        (inner(json!({"type": "deny", "purpose": reasons(&["HPAYMT"])})), ANY, "", Why::Permitted),
        (inner(json!({"type": "deny", "period": {"end": "2020"}})), ANY, "", Why::Permitted),
        (inner(json!({"type": "deny", "class": [{"system": TYPES, "code": "Observation"}]})), ANY, "", Why::Denied),
        (inner(json!({"type": "deny", "class": [{"system": TYPES, "code": "Procedure"}]})), ANY, "", Why::Permitted),
        (inner(json!({"type": "deny", "code": [{"coding": [{"system": "http://snomed.info/sct", "code": "1"}]}]})), ANY, "code=8867-4", Why::DeniedInDoubt),
        (inner(json!({"type": "deny", "provision": [{"type": "permit", "securityLabel": label(&["PSY"])}]})), ANY, "PSY", Why::Permitted),
        (inner(json!({"type": "deny", "provision": [{"type": "permit", "securityLabel": label(&["PSY"]), "provision": [
            {"type": "deny", "actor": actor("PRCP", ANY)}]}]})), ANY, "PSY", Why::Denied),
        (tpo(&json!({"action": [{"coding": [{"code": "correct"}]}]})), ANY, "", Why::NotPermitted),
        (tpo(&json!({"action": [{"coding": [{"code": "correct"}]}, {"coding": [{"code": "access"}]}]})), ANY, "", Why::Permitted),
        (tpo(&json!({"securityLabel": label(&["REDACT"])})), ANY, "", Why::NotPermitted),
        (tpo(&json!({"modifierExtension": [{"url": "x", "valueCode": "y"}]})), ANY, "", Why::NotPermitted),
        (tpo(&json!({"period": {"start": "2027"}})), ANY, "", Why::NotPermitted),
        (tpo(&json!({"data": [{"meaning": "dependents", "reference": {"reference": "Observation/other"}}]})), ANY, "", Why::Permitted),
    ];
    for (document, who, words, expected) in &rows {
        let mut question = question(who, "TREAT", NOW, words);
        question.actor.identifiers = who.split_once('|').map(|(a, b)| Code::new(a, b)).into_iter().collect();
        let decision = decide(&read(document), &question);
        assert_eq!(decision.why, *expected, "{who} {words}: {document}");
    }
    let unresolved = decide(&read(&consent(&group)), &question(ANY, "TREAT", NOW, "")).unresolved;
    assert_eq!(unresolved, [(0, "Consent.provision.actor[0]".to_owned())]);
    let both = [read(&rows[0].0), read(&inner(json!({"type": "deny"})))].concat();
    let decision = decide(&both, &question(ANY, "TREAT", NOW, ""));
    assert_eq!((decision.why, decision.by), (Why::Denied, Some((1, "Consent.provision.provision[0]".to_owned()))));
}

#[test]
fn consents_have_limits() {
    let many: Vec<Value> = (0..1_000).map(|_| json!({"type": "deny"})).collect();
    let bytes = tpo(&json!({"provision": many})).to_string();
    let error = ConsentDocument::read_all(&Document::read(bytes.as_bytes()).unwrap()).unwrap_err();
    assert_eq!(error, ConsentError::TooManyRules { limit: 1_000 });
    let none = Document::read(br#"{"resourceType":"Patient"}"#).unwrap();
    let error = ConsentDocument::read_all(&none).unwrap_err();
    assert_eq!(error, ConsentError::NoConsent { found: "Patient" });
}

const WHO: [&str; 3] = ["Organization/a", "Organization/b", "Group/g"];
const WHY: [&str; 5] = ["TREAT", "ETREAT", "HPAYMT", "HRESCH", "CLINTRCH"];
const WORDS: [&str; 8] = ["", "N", "R", "PSY", "HIV", "PSY HIV", "SEX", "V"];
const KINDS: [&str; 5] =
    ["Observation", "Condition", "MedicationRequest", "Patient", "DiagnosticReport"];

/// Type, recipient, purposes, labels, resource types, period, data period, exceptions.
type Parts = (
    Option<bool>,
    Option<&'static str>,
    Vec<&'static str>,
    Option<Vec<&'static str>>,
    Option<Vec<&'static str>>,
    Option<(u32, u32)>,
    bool,
    Vec<Value>,
);

fn rule(depth: u32) -> BoxedStrategy<Value> {
    let one_of =
        |values: &'static [&'static str]| prop::option::weighted(0.4, prop::sample::select(values));
    let period = prop::option::weighted(0.3, (2018_u32..2030, 0_u32..6));
    let inner = if depth == 0 {
        Just(Vec::new()).boxed()
    } else {
        prop::collection::vec(rule(depth - 1), 0..3).boxed()
    };
    let parts = (
        prop::option::weighted(0.9, prop::bool::weighted(0.65)),
        one_of(&WHO),
        prop::collection::vec(prop::sample::select(&WHY[..]), 0..3),
        prop::option::weighted(
            0.4,
            prop::sample::subsequence(&["N", "R", "PSY", "HIV", "SEX"][..], 1..3),
        ),
        prop::option::weighted(0.3, prop::sample::subsequence(&KINDS[..], 1..4)),
        period,
        prop::bool::weighted(0.1),
        inner,
    );
    let build = |(kind, who, why, labels, kinds, period, window, inner): Parts| {
        let mut rule = json!({"extension": [{"url": "urn:x", "valueCode": "x"}]});
        if let Some(permit) = kind {
            rule["type"] = if permit { "permit" } else { "deny" }.into();
        }
        if let Some(who) = who {
            rule["actor"] = actor("IRCP", who);
        }
        if !why.is_empty() {
            rule["purpose"] = reasons(&why);
        }
        if let Some(labels) = labels {
            let (levels, others): (Vec<&str>, Vec<&str>) =
                labels.iter().partition(|it| it.len() == 1);
            let codes = [level(&levels), label(&others)].map(|it| it.as_array().unwrap().clone());
            rule["securityLabel"] = codes.concat().into();
        }
        if let Some(kinds) = kinds {
            rule["class"] = kinds.iter().map(|it| json!({"system": TYPES, "code": it})).collect();
        }
        if let Some((start, years)) = period {
            rule["period"] =
                json!({"start": start.to_string(), "end": format!("{}-03", start + years)});
        }
        if window {
            rule["dataPeriod"] = json!({"start": "2020"});
        }
        if !inner.is_empty() {
            rule["provision"] = inner.into();
        }
        rule
    };
    parts.prop_map(build).boxed()
}

fn document() -> impl Strategy<Value = Value> {
    (rule(2), prop::option::weighted(0.3, prop::sample::select(&["OPTIN", "OPTOUT"][..]))).prop_map(
        |(root, policy)| {
            let mut document = consent(&root);
            if let Some(policy) = policy {
                document["policyRule"] = json!({"coding": [{"system": ACT_CODE, "code": policy}]});
            }
            document
        },
    )
}

prop_compose! {
    fn any_question()(
        who in prop::sample::select(&WHO[..]), why in prop::sample::select(&WHY[..]),
        words in prop::sample::select(&WORDS[..]), kind in prop::sample::select(&KINDS[..]),
        year in 2017_i64..2032, month in 0_i64..12, known in any::<bool>(),
    ) -> Question {
        let time = 1_483_228_800 + (year - 2017) * 31_556_952 + month * 2_629_746;
        let mut question = question(who, why, time, &format!("{words} type={kind}"));
        if !known { question.data.time = None; }
        question
    }
}

/// Adds a denial at some place of a document.
fn with_denial(document: &Value, denial: &Value, at: usize) -> Value {
    fn visit(rule: &mut Value, denial: &Value, at: &mut usize) {
        if *at == 0 {
            let mut inner = rule["provision"].as_array().cloned().unwrap_or_default();
            inner.push(denial.clone());
            rule["provision"] = inner.into();
        }
        *at = at.wrapping_sub(1);
        for inner in rule.get_mut("provision").and_then(Value::as_array_mut).into_iter().flatten() {
            visit(inner, denial, at);
        }
    }
    let mut document = document.clone();
    visit(&mut document["provision"], denial, &mut at.clone());
    document
}

fn address(byte: u8) -> Address {
    Address::repeat_byte(byte)
}

fn map() -> GranteeMap {
    [("Organization/a", 1), ("Organization/b", 2), ("*", 3)]
        .map(|(name, byte)| (name.to_owned(), address(byte)))
        .into()
}

fn ledger() -> LedgerId {
    LedgerId { chain_id: 31_337, contract: address(9) }
}

fn options(labels_as_categories: bool) -> ImportOptions {
    ImportOptions { now: NOW, ledger: Some(ledger()), labels_as_categories }
}

/// A record of each category, as its own code table and an author label it, read for a planned grant.
fn records(grant: &PlannedGrant, time: i64) -> Vec<Question> {
    let references = map().into_iter().filter(|(name, to)| *to == grant.grantee && name != "*");
    let party = Party { references: references.map(|it| it.0).collect(), ..Party::default() };
    let mut questions = Vec::new();
    for (category, kind, words) in [
        (Category::Laboratory, "Observation", ""),
        (Category::Laboratory, "Observation", "R"),
        (Category::Laboratory, "Observation", "V"),
        (Category::Laboratory, "Specimen", "N"),
        (Category::DiagnosticReports, "Observation", "N"),
        (Category::Problems, "Condition", ""),
        (Category::Problems, "Flag", "R"),
        (Category::Medications, "MedicationRequest", ""),
        (Category::Identity, "Patient", ""),
        (Category::Demographics, "Patient", ""),
        (Category::Network, "Organization", ""),
        (Category::Hiv, "Observation", "HIV"),
        (Category::Hiv, "Condition", "HIV PSY"),
        (Category::MentalHealth, "Condition", "PSY"),
        (Category::MentalHealth, "Condition", "BH SEX"),
        (Category::ReproductiveHealth, "Procedure", "SEX V"),
    ] {
        if !grant.categories.contains(&category) {
            continue;
        }
        for purpose in grant.purposes.iter() {
            let words = format!("{words} type={kind}");
            let mut question = question("x", purpose.code(), time, &words);
            question.actor = party.clone();
            question.data.category = Some(category);
            questions.push(question);
        }
    }
    questions
}

fn exported(
    categories: Vec<Category>,
    purposes: PurposeSet,
    from: u64,
    lasts: u64,
) -> ExportedConsent {
    let party =
        |byte, kind| out::Party { id: address(byte), kind, name: Some("Somebody".to_owned()) };
    ExportedConsent {
        ledger: ledger(),
        id: ConsentId(B256::repeat_byte(7)),
        patient: party(8, out::PartyKind::Patient),
        grantee: party(1, out::PartyKind::Organization),
        categories,
        purposes,
        from,
        until: from + lasts,
        stands: true,
        granted: Some(from),
    }
}

proptest! {
    /// Wherever a denial is added, whatever it says, nothing becomes readable by it.
    #[test]
    fn a_denial_never_permits_more(
        document in document(), mut denial in rule(1), at in 0_usize..6, question in any_question(),
    ) {
        denial["type"] = "deny".into();
        let without_exceptions = denial.as_object_mut().unwrap();
        without_exceptions.remove("provision");
        let more = decide(&read(&with_denial(&document, &denial, at)), &question);
        let before = decide(&read(&document), &question);
        prop_assert!(before.permitted || !more.permitted, "{before:?} {more:?}");
        let beside = [read(&document), read(&consent(&denial))].concat();
        prop_assert!(before.permitted || !decide(&beside, &question).permitted);
    }

    /// Outside of the root's period nothing is permitted, and what was not known never helped.
    #[test]
    fn a_consent_never_permits_outside_its_period_nor_by_ignorance(
        document in document(), question in any_question(),
    ) {
        let mut bounded = document;
        bounded["provision"]["period"] = json!({"start": "2022-01-01", "end": "2022-12-31"});
        let consents = read(&bounded);
        if !(1_640_995_200..1_672_531_200).contains(&question.time) {
            prop_assert!(!decide(&consents, &question).permitted);
        }
        let mut blind = question.clone();
        blind.data = Data { labels: question.data.labels.clone(), ..Data::default() };
        if decide(&consents, &blind).permitted {
            prop_assert!(decide(&consents, &question).permitted, "{}", bounded);
        }
    }

    /// Every read that the planned grants allow is one that the document allows.
    #[test]
    fn an_import_never_grants_more_than_the_document(document in document(), pick in any::<prop::sample::Index>()) {
        let consents = read(&document);
        let planned = plan(&consents, &map(), &options(false)).unwrap();
        for grant in &planned.grants {
            let (from, until) = (grant.from.unwrap_or(NOW), grant.until.unwrap_or(NOW + 9_999_999_999));
            let between = from + i64::try_from(pick.index(usize::try_from(until - from).unwrap())).unwrap();
            for time in [from, between, until - 1] {
                for question in records(grant, time) {
                    let decision = decide(&consents, &question);
                    prop_assert!(decision.permitted, "{grant:?} {question:?} {decision:?} {document}");
                }
            }
        }
    }

    /// A consent that is written and read again is the same grant, in either flavour.
    #[test]
    fn an_export_is_imported_as_the_same_grant(
        categories in prop::sample::subsequence(&Category::ALL[..], 1..30),
        purposes in prop::sample::subsequence(Purpose::ALL, 1..5),
        from in 1_700_000_000_u64..1_900_000_000, lasts in 200_000_000_u64..300_000_000, lenient: bool,
    ) {
        let consent = exported(categories, purposes.into_iter().collect(), from, lasts);
        let from = i64::try_from(from).unwrap();
        for flavour in [Flavour::R4Full, Flavour::IhePcf] {
            let consents = read(&export(&consent, flavour));
            let plan = plan(&consents, &GranteeMap::new(), &options(lenient)).unwrap();
            prop_assert_eq!(plan.notes.iter().filter(|it| !it.path.ends_with("policyRule")).count(), 0, "{:?}", plan.notes);
            prop_assert_eq!(plan.grants, [PlannedGrant {
                consent: 0,
                grantee: address(1),
                categories: consent.categories.clone(),
                purposes: consent.purposes,
                from: (from > NOW).then_some(from),
                until: Some(i64::try_from(consent.until).unwrap()),
            }]);
        }
    }

    /// Every category that has scopes comes back from them.
    #[test]
    fn scopes_come_back_as_categories(categories in prop::sample::subsequence(&Category::ALL[..], 0..30)) {
        let scoped: Vec<Category> = categories.into_iter().filter(|it| !scopes(&[*it]).is_empty()).collect();
        let report = from_scopes(&scopes(&scoped).join(" "));
        prop_assert_eq!(report.categories, scoped);
        prop_assert!(report.left_out.is_empty());
    }
}

#[test]
#[rustfmt::skip] // A table.
fn imports_say_what_they_leave_out() {
    let all = Category::ALL.len();
    let about = json!([{"meaning": "related", "reference": {"reference": "Encounter/e"}}]);
    let types = |names: &[&str]| -> Value { names.iter().map(|it| json!({"system": TYPES, "code": it})).collect() };
    let a = actor("IRCP", "Organization/a");
    let inner = |inner: Value| tpo(&json!({"actor": a, "provision": [inner]}));
    // The document, how many categories the first grant has (0: no grant), and the elements of the notes.
    let rows: Vec<(Value, usize, &[&str])> = vec![
        (tpo(&json!({"actor": a})), all, &[]),
        (tpo(&json!({"actor": actor("IRCP", "Organization/x")})), 0, &["provision.actor[0]"]),
        (tpo(&json!({"actor": a, "dataPeriod": {"start": "2022"}})), 0, &["provision.dataPeriod"]),
        (tpo(&json!({"actor": a, "data": about})), 0, &["provision.data"]),
        (tpo(&json!({"actor": a, "class": types(&["MedicationRequest"])})), 0, &["provision.class"]),
        (tpo(&json!({"actor": a, "class": types(&["AllergyIntolerance"])})), 1, &[]),
        (tpo(&json!({"actor": a, "securityLabel": level(&["N"])})), 0, &["provision.securityLabel"]),
        (tpo(&json!({"actor": a, "securityLabel": label(&["NORDSCLCD"])})), 0, &["provision.securityLabel"]),
        (tpo(&json!({"actor": a, "securityLabel": label(&["HIV", "NORDSCLCD"])})), 1, &["provision.securityLabel"]),
        (tpo(&json!({"actor": a, "securityLabel": label(&["HIV", "REDACT"])})), 0, &["provision.securityLabel"]),
        (inner(json!({"type": "deny", "securityLabel": label(&["PSY"])})), all - 4, &[]),
        (inner(json!({"type": "deny", "securityLabel": label(&["SEX"])})), all - 5, &[]),
        (inner(json!({"type": "deny", "class": types(&["AllergyIntolerance"])})), all - 1 - 7, &[]),
        (inner(json!({"type": "deny", "actor": actor("PRCP", "Practitioner/y")})), 0, &["provision.provision[0].actor[0]"]),
        (inner(json!({"type": "deny", "actor": actor("PRCP", "Organization/b")})), all, &[]),
        (inner(json!({"type": "deny", "data": about})), 0, &["provision.provision[0].data"]),
    ];
    for (document, categories, paths) in rows {
        let planned = plan(&read(&document), &map(), &options(false)).unwrap();
        let mine = planned.grants.iter().find(|it| it.grantee == address(1));
        assert_eq!(mine.map_or(0, |it| it.categories.len()), categories, "{document} {:?}", planned.grants);
        let noted: Vec<&str> = planned.notes.iter().map(|it| it.path.strip_prefix("Consent.").unwrap()).collect();
        assert_eq!(noted, paths, "{document}");
    }
    // Labels as categories: normal is everything that is not sensitive.
    let focused = inner(json!({"type": "permit", "securityLabel": label(&["PSY"])}));
    let mut focused = focused;
    focused["provision"]["securityLabel"] = level(&["N"]);
    let planned = plan(&read(&focused), &map(), &options(true)).unwrap();
    assert_eq!(planned.grants[0].categories.len(), all - 4);
    assert!(planned.grants[0].categories.contains(&Category::MentalHealth));
    // A denial for a while makes two grants of one.
    let pause = inner(json!({"type": "deny", "period": {"start": "2027", "end": "2027"}}));
    let planned = plan(&read(&pause), &map(), &options(false)).unwrap();
    let times: Vec<_> = planned.grants.iter().map(|it| (it.from, it.until)).collect();
    assert_eq!(times, [(None, Some(1_798_761_600)), (Some(1_830_297_600), None)]);
}

#[test]
fn published_consents_import_no_more_than_they_say() {
    let star: GranteeMap = [("*".to_owned(), address(3)), (EX.to_owned(), address(4))].into();
    for (name, categories) in [
        ("ex-consent-basic-treat", 30),
        ("ex-consent-basic-treat-infant", 30),
        ("ex-consent-basic-reject", 0),
        ("ex-consent-expired-treat", 0),
        ("ex-consent-intermediate-timeframe", 0),
        ("ex-consent-intermediate-not-authoredby", 0),
        ("ex-consent-advanced-normal", 0),
        ("ex-dissent-intermediate-break-glass", 0),
        ("Consent-consent-example-smartonfhir", 0),
    ] {
        let Some(consents) = fixture(name) else { continue };
        let planned = plan(&consents, &star, &options(false)).unwrap();
        let first = planned.grants.first().map_or(0, |it| it.categories.len());
        assert_eq!(first, categories, "{name}: {planned:?}");
    }
}

#[test]
fn scopes_are_those_of_smart_version_2() {
    let category = "http://terminology.hl7.org/CodeSystem/observation-category";
    assert_eq!(
        scopes(&[Category::Laboratory, Category::Allergies, Category::Hiv]),
        [
            format!("patient/*.rs?_security={ACT_CODE}|HIV"),
            "patient/AllergyIntolerance.rs".to_owned(),
            format!("patient/Observation.rs?category={category}|laboratory"),
            "patient/Specimen.rs".to_owned(),
        ]
    );
    let text = "patient/AllergyIntolerance.read patient/Condition.cu user/Patient.rs openid \
        patient/MedicationRequest.rs";
    let report = from_scopes(text);
    assert_eq!(report.categories, [Category::Allergies]);
    let left: Vec<&str> = report.left_out.iter().map(|it| it.1).collect();
    let whole = "opens only a part of a category";
    assert_eq!(left, ["does not read", "is not about one patient", "names no resource", whole]);
}
