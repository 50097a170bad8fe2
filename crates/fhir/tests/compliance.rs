//! What a site's rules refuse, and where; and what they refuse of published documents.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]
#![allow(clippy::print_stderr, reason = "a skipped test must say so")]

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use galen_fhir::{Compliance, ComplianceReport, Document, MAX_VIOLATIONS};

const PATIENT: &str = r#"{"resource":{"resourceType":"Patient","id":"p-1",
    "identifier":[{"system":"urn:mrn","value":"77"},{"value":"AB-10442"},{"value":"p-1"}],
    "name":[{"family":"Lindgren","given":["Anna","M"]},{"family":"王","given":["小明"]}],
    "telecom":[{"system":"phone","value":"+46 8 123 456"},{"value":"anna@example.org"}],
    "address":[{"line":["Ringvägen 7","Lgh 2"],"city":"Stockholm"}]}}"#;

fn rules(text: &str) -> Compliance {
    toml(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn toml(text: &str) -> Result<Compliance, toml::de::Error> {
    toml::from_str(text)
}

fn check(rules: &Compliance, bytes: &[u8]) -> ComplianceReport {
    rules.check(&Document::read(bytes).unwrap())
}

/// `rule path` of each violation.
fn found(rules: &Compliance, json: &str) -> Vec<String> {
    let report = check(rules, json.as_bytes());
    assert_eq!(report.count, report.violations.len());
    report.violations.iter().map(|it| format!("{} {}", it.rule.name(), it.path)).collect()
}

#[test]
fn rules_refuse_what_is_missing_and_say_where() {
    let observation = r#"{"resourceType":"Observation","status":"final","code":{"text":"x"}"#;
    let whole = r#","meta":{"lastUpdated":"2026-01-01T00:00:00Z","security":[{"code":"R"}]},"performer":[{"reference":"Practitioner/1"}],"encounter":{"reference":"Encounter/1"},"effectiveDateTime":"2026"}"#;
    for (text, rest, expected) in [
        ("", "}", vec![]),
        (r#"required = ["meta.lastUpdated"]"#, "}", vec!["required Observation.meta.lastUpdated"]),
        (
            r#"required = ["Observation.effective[x]"]"#,
            "}",
            vec!["required Observation.effective[x]"],
        ),
        (r#"required = ["Observation.effective[x]", "meta.security"]"#, whole, vec![]),
        // Other types, and types without the element, are not asked for it.
        (r#"required = ["Condition.recorder", "participant"]"#, "}", vec![]),
        (r#"required = ["code.coding"]"#, "}", vec!["required Observation.code.coding"]),
        (r#"author = ["*"]"#, "}", vec!["author Observation"]),
        (r#"author = ["Observation"]"#, whole, vec![]),
        (
            r#"author = ["Observation"]"#,
            r#","performer":[{"extension":[{"url":"urn:x","valueCode":"unknown"}]}]}"#,
            vec!["author Observation"],
        ),
        (r#"encounter = ["*"]"#, "}", vec!["encounter Observation"]),
        (r#"encounter = ["*"]"#, whole, vec![]),
        (r#"security_labels = ["*"]"#, "}", vec!["security-labels Observation.meta.security"]),
        (r#"security_labels = ["*"]"#, whole, vec![]),
        ("security_labels = [\"*\"]\nexcept = [\"Observation\"]", "}", vec![]),
        (r#"security_labels = ["Condition"]"#, "}", vec![]),
    ] {
        assert_eq!(found(&rules(text), &format!("{observation}{rest}")), expected, "{text} {rest}");
    }
    let strict = rules("author = [\"*\"]\nencounter = [\"*\"]");
    let bundle = r#"{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"urn:x:1"},
        {"resource":{"resourceType":"Encounter","status":"finished","class":{"code":"AMB"},"participant":[{"individual":{"display":"Dr"}}]}},
        {"resource":{"resourceType":"Condition","subject":{"display":"s"}}}]}"#;
    let expected =
        ["author", "encounter"].map(|rule| format!("{rule} Bundle.entry[2].resource.Condition"));
    assert_eq!(found(&strict, bundle), expected);
}

#[test]
fn identity_is_found_where_it_does_not_belong() {
    let note = |text: &str| {
        format!(
            r#"{{"resourceType":"Condition","subject":{{"reference":"Patient/p-1"}},"note":[{{"text":"{text}"}}]}}"#
        )
    };
    let at = |rule: &str| {
        vec![format!("identity-{rule} Bundle.entry[1].resource.Condition.note[0].text")]
    };
    let attached = |kind: &str, data: &str| {
        format!(
            r#"{{"resourceType":"Media","status":"completed","content":{{"contentType":"{kind}","data":"{data}"}}}}"#
        )
    };
    let narrative = r#"{"resourceType":"Basic","code":{"text":"x"},"text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"><td>Lindgren</td><td>Anna</td></div>"}}"#;
    let inner = r#"{"resourceType":"Basic","code":{"text":"x"},"contained":[{"resourceType":"Patient","id":"c","birthDate":"1980"}]}"#;
    let empty = r#"{"resourceType":"Basic","code":{"text":"x"},"contained":[{"resourceType":"Patient","id":"c"}]}"#;
    let logical = r#"{"resourceType":"Basic","code":{"text":"x"},"subject":{"identifier":{"system":"urn:mrn","value":"77"}}}"#;
    let display = r#"{"resourceType":"Basic","code":{"text":"x"},"subject":{"reference":"Patient/p-1","display":"Anna Lindgren"}}"#;
    for (resource, expected) in [
        (note("ANNA LINDGREN came in"), at("name")),
        (note("Lindgren, Anna"), at("name")),
        (note("Anna Maria von Lindgren"), at("name")),
        (note("Anna came with Dr Berg"), vec![]),
        (note("Dr Lindgren was called"), vec![]),
        (note("患者王小明"), at("name")),
        (note("lives at Ringvägen 7, second floor"), at("address")),
        (note("Lgh 2"), vec![]),
        (note("call +46-8-123-456"), at("telecom")),
        (note("anna@example.org"), at("telecom")),
        (note("MRN AB10442"), vec![]),
        (note("MRN ab-10442"), at("identifier")),
        (note("77 beats a minute, p-1"), vec![]),
        (narrative.into(), vec!["identity-name Bundle.entry[1].resource.Basic.text.div".into()]),
        (inner.into(), vec!["identity-inner-patient Bundle.entry[1].resource.Basic.contained[0]".into()]),
        (empty.into(), vec![]),
        (logical.into(), vec!["identity-identifier Bundle.entry[1].resource.Basic.subject.identifier".into()]),
        (display.into(), vec!["identity-name Bundle.entry[1].resource.Basic.subject.display".into()]),
        // "Anna Lindgren" in base64.
        (attached("text/plain", "QW5uYSBMaW5kZ3Jlbg=="), vec!["identity-name Bundle.entry[1].resource.Media.content.data".into()]),
        (attached("image/png", "QW5uYSBMaW5kZ3Jlbg=="), vec![]),
        // Families share names and addresses, and lie in the same category.
        (r#"{"resourceType":"RelatedPerson","patient":{"reference":"Patient/p-1"},"name":[{"text":"Anna Lindgren"}]}"#.into(), vec![]),
    ] {
        let bundle = format!(r#"{{"resourceType":"Bundle","type":"collection","entry":[{PATIENT},{{"resource":{resource}}}]}}"#);
        assert_eq!(found(&rules(r#"identity_outside_patient = "refuse""#), &bundle), expected, "{resource}");
        assert!(found(&Compliance::default(), &bundle).is_empty());
        if resource == display {
            assert!(found(&rules(r#"identity_outside_patient = "in-references""#), &bundle).is_empty());
        }
    }
}

#[test]
fn rules_that_name_nothing_are_refused_with_what_may_have_been_meant() {
    for (text, told) in [
        (r#"required = ["Observation.perfomer"]"#, "did you mean performer?"),
        (r#"required = ["meta.lastUpdatd"]"#, "did you mean lastUpdated?"),
        (r#"required = ["Observaton.code"]"#, "did you mean Observation?"),
        (r#"required = ["Observation"]"#, "names no element"),
        (r#"required = ["code..coding"]"#, "names no element"),
        (r#"author = ["Observaton"]"#, "did you mean Observation?"),
        (r#"encounter = ["Patient"]"#, "Patient has no element for it"),
        ("authors = []", "unknown field `authors`"),
        (r#"identity_outside_patient = "no""#, "unknown variant"),
    ] {
        let error = toml(text).unwrap_err().to_string();
        assert!(error.contains(told), "{text}: {error}");
    }
}

#[test]
fn report_tells_places_and_counts_and_no_values() {
    let note = r#"{"resource":{"resourceType":"Condition","subject":{"display":"Anna Lindgren"},"code":{"text":"secret"}}}"#;
    let many = vec![note; MAX_VIOLATIONS + 5].join(",");
    let bundle =
        format!(r#"{{"resourceType":"Bundle","type":"collection","entry":[{PATIENT},{many}]}}"#);
    let report = check(&rules(r#"identity_outside_patient = "refuse""#), bundle.as_bytes());
    assert_eq!((report.violations.len(), report.count), (MAX_VIOLATIONS, MAX_VIOLATIONS + 5));
    let told = format!("{report} {report:?} {}", serde_json::to_string(&report).unwrap());
    for value in ["Lindgren", "lindgren", "secret", "10442"] {
        assert!(!told.contains(value), "{value}");
    }
    assert!(
        report
            .to_string()
            .starts_with("105 rules of the site are broken, the first: the patient's name")
    );
}

/// How many published documents rules refuse: none by default; and the most that a strict site may expect.
#[test]
fn published_documents_are_refused_only_for_what_they_say() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fhir");
    let corpus = env::var_os("GALEN_FHIR").map_or(beside, PathBuf::from);
    if !corpus.is_dir() {
        let required = env::var_os("GALEN_REQUIRE_FHIR").is_some_and(|value| value == "1");
        assert!(!required, "the FHIR corpus is required");
        eprintln!("skipped: no FHIR corpus");
        return;
    }
    let (references, strict) = (
        rules(r#"identity_outside_patient = "in-references""#),
        rules(r#"identity_outside_patient = "refuse""#),
    );
    // All, refused for a name in no reference, refused for a name anywhere. Names in references are in every visit
    // of synthea; the others stand in generated narratives, and in a questionnaire about a contained patient.
    for (folder, expected) in [
        ("synthea", [4, 0, 3]),
        ("synthea-hiv", [4, 0, 4]),
        ("us-core", [16, 0, 0]),
        ("ips", [20, 3, 3]),
        ("hl7-r4-examples", [56, 1, 1]),
    ] {
        let mut counts = [0; 3];
        for entry in fs::read_dir(corpus.join(folder)).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            let Ok(document) = Document::read(&bytes) else { continue };
            assert!(Compliance::default().check(&document).is_good(), "{folder}");
            let refused = |rules: &Compliance| usize::from(!rules.check(&document).is_good());
            counts[0] += 1;
            counts[1] += refused(&references);
            counts[2] += refused(&strict);
        }
        assert_eq!(counts, expected, "{folder}");
    }
}
