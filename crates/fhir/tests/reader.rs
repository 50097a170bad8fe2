//! What the reader refuses and where, what a split keeps, and that no input makes either fail otherwise.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::collections::BTreeMap;

use galen_fhir::{
    Category, Document, Fault, MAX_DEPTH, MAX_ITEMS, MAX_KEYS, MAX_LISTED_LINES, MAX_STRING_LEN,
    check, check_ndjson,
};
use galen_types::ErrorKind;
use proptest::prelude::*;

/// The patient of the demo, written for this project.
const PATIENT: &[u8] = include_bytes!("../../../tests/fixtures/patient.json").trim_ascii();

/// A Patient with these further members.
fn patient(members: &str) -> String {
    format!(r#"{{"resourceType":"Patient",{members}}}"#)
}

/// An Observation with all that is required and these further members.
fn observation(members: &str) -> String {
    format!(r#"{{"resourceType":"Observation","status":"final","code":{{"text":"c"}},{members}}}"#)
}

/// Asserts cause, path, and that the fault starts where `at` does in the document.
fn assert_refused(document: &str, cause: &str, path: &str, at: &str) {
    let error = check(document.as_bytes()).expect_err(document);
    assert_eq!((error.fault().code(), error.path()), (cause, path), "{document}");
    assert!(document[error.offset()..].starts_with(at), "{document}: byte {}", error.offset());
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn reader_names_keys_that_are_not_allowed() {
    let rows = [
        (r#""ssn":"1""#, "unknown-element", "Patient", r#""ssn""#),
        (
            r#""name":[{"birthDate":"1"}]"#,
            "unknown-element",
            "Patient.name[0].birthDate",
            r#""bir"#,
        ),
        (r#""_name":[{"id":"a"}]"#, "unknown-element", "Patient.name", r#""_name""#),
        (r#""__proto__":{}"#, "unknown-element", "Patient", r#""__proto__""#),
        (r#""id":"a","i\u0064":"b""#, "duplicate-key", "Patient.id", r#""i\u0064""#),
        (r#""resourceType":"Human""#, "duplicate-key", "Patient", r#""resourceType":"Human""#),
        (
            r#""deceasedBoolean":true,"deceasedDateTime":"2020""#,
            "second-choice",
            "Patient.deceasedDateTime",
            r#""deceasedD"#,
        ),
        (
            r#""deceasedBoolean":true,"_deceasedDateTime":{"id":"a"}"#,
            "second-choice",
            "Patient.deceasedDateTime",
            r#""_deceasedD"#,
        ),
        (r#""contained":[{"id":"a"}]"#, "no-resource-type", "Patient.contained[0]", r#"{"id"#),
        (
            r#""contained":[{"resourceType":"Human"}]"#,
            "unknown-resource-type",
            "Patient.contained[0]",
            r#""Human""#,
        ),
        (
            r#""contained":[{"resourceType":"Patient","contained":[]}]"#,
            "nested-contained",
            "Patient.contained[0].Patient.contained",
            r#""contained":[]"#,
        ),
    ];
    for (members, cause, path, at) in rows {
        assert_refused(&patient(members), cause, path, at);
    }
}

#[test]
fn reader_names_values_that_are_not_allowed() {
    let rows = [
        (r#""active":"true""#, "wrong-type", "Patient.active", r#""true""#),
        (r#""active":1"#, "wrong-type", "Patient.active", "1}"),
        (r#""name":{"text":"a"}"#, "wrong-type", "Patient.name", r#"{"text"#),
        (r#""birthDate":["1980"]"#, "wrong-type", "Patient.birthDate", "["),
        (r#""birthDate":1980"#, "wrong-type", "Patient.birthDate", "1980"),
        (r#""birthDate":"1980-02-30""#, "format", "Patient.birthDate", r#""1980"#),
        (r#""birthDate":null"#, "misplaced-null", "Patient.birthDate", "null"),
        (r#""birthDate":"""#, "empty-string", "Patient.birthDate", r#""""#),
        (r#""gender":"f""#, "unknown-code", "Patient.gender", r#""f""#),
        (r#""multipleBirthInteger":2.0"#, "format", "Patient.multipleBirthInteger", "2.0"),
        (
            r#""text":{"status":"empty","div":"<div><script/></div>"}"#,
            "narrative",
            "Patient.text.div",
            r#""<div>"#,
        ),
    ];
    for (members, cause, path, at) in rows {
        assert_refused(&patient(members), cause, path, at);
    }
    let inner = patient(r#""birthDate":"x""#);
    assert_refused(
        &bundle("", &[("", &inner)]),
        "format",
        "Bundle.entry[0].resource.Patient.birthDate",
        r#""x""#,
    );
}

#[test]
fn reader_names_structures_that_are_not_allowed() {
    let rows = [
        (r#""name":[]"#, "empty-array", "Patient.name", "[]"),
        (r#""name":[{}]"#, "empty-object", "Patient.name[0]", "{}"),
        (r#""name":[{"id":"a"}]"#, "empty-object", "Patient.name[0]", r#"{"id"#),
        (r#""name":[null]"#, "misplaced-null", "Patient.name[0]", "null"),
        (r#""name":[{"given":["a",null]}]"#, "misplaced-null", "Patient.name[0].given", "["),
        (
            r#""name":[{"given":["a",null],"_given":[{"id":"x"},null]}]"#,
            "misplaced-null",
            "Patient.name[0].given",
            r#"["a""#,
        ),
        (
            r#""name":[{"given":["a"],"_given":[{"id":"x"},{"id":"y"}]}]"#,
            "uneven-siblings",
            "Patient.name[0].given",
            r#"["a""#,
        ),
        (r#""extension":[{"url":"u"}]"#, "extension-content", "Patient.extension[0]", r#"{"url"#),
        (
            r#""extension":[{"valueCode":"u"}]"#,
            "missing-element",
            "Patient.extension[0]",
            r#"{"value"#,
        ),
        (r#""link":[{"type":"seealso"}]"#, "missing-element", "Patient.link[0]", r#"{"type"#),
    ];
    for (members, cause, path, at) in rows {
        assert_refused(&patient(members), cause, path, at);
    }
    let rows = [
        (
            r#""valueString":"a","valueInteger":1"#,
            "second-choice",
            "Observation.valueInteger",
            r#""valueInteger""#,
        ),
        (r#""value":1"#, "unknown-element", "Observation.value", r#""value""#),
        (
            r#""valueQuantity":{"value":"1"}"#,
            "wrong-type",
            "Observation.valueQuantity.value",
            r#""1""#,
        ),
    ];
    for (members, cause, path, at) in rows {
        assert_refused(&observation(members), cause, path, at);
    }
    assert_refused(
        r#"{"resourceType":"Observation","code":{"text":"c"}}"#,
        "missing-element",
        "Observation",
        "{",
    );
}

#[test]
fn reader_names_cause_and_byte_of_broken_json() {
    let rows: &[(&[u8], &str, usize)] = &[
        (b"", "syntax", 0),
        (b"[]", "wrong-type", 0),
        (b"null", "misplaced-null", 0),
        (b"{}", "no-resource-type", 0),
        (b"\xef\xbb\xbf{}", "byte-order-mark", 0),
        (b"\xff\xfe{\0}\0", "byte-order-mark", 0),
        (b"{\0}\0", "control-character", 1),
        (br#"{"resourceType":"Patient"} x"#, "trailing-bytes", 27),
        (br#"{"resourceType":"Patient"}{}"#, "trailing-bytes", 26),
        (br#"{"resourceType":"Patient",}"#, "syntax", 26),
        (br#"{"resourceType":"Patient" "id":"a"}"#, "syntax", 26),
        (br#"{"resourceType":"Patient"//c"#, "syntax", 25),
        (br#"{"resourceType":"Patient","id":'a'}"#, "syntax", 31),
        (b"{\"resourceType\":\"Patient\",\"id\":\"a\xff\"}", "not-utf8", 33),
        (b"{\"resourceType\":\"Patient\",\"id\":\"a\x01\"}", "control-character", 33),
        (br#"{"resourceType":"Patient","id":"a\u0000"}"#, "control-character", 33),
        (br#"{"resourceType":"Patient","id":"a\b"}"#, "control-character", 33),
        (br#"{"resourceType":"Patient","id":"a\x"}"#, "syntax", 33),
        (br#"{"resourceType":"Patient","id":"a\u12"}"#, "syntax", 33),
        (br#"{"resourceType":"Patient","id":"a\ud800"}"#, "lone-surrogate", 33),
        (br#"{"resourceType":"Patient","id":"a\ud800\ud800"}"#, "lone-surrogate", 33),
        (br#"{"resourceType":"Patient","id":"a\udc00"}"#, "lone-surrogate", 33),
        (br#"{"resourceType":"Patient","id":"a"#, "syntax", 33),
        (br#"{"resourceType":"Patient","multipleBirthInteger":01}"#, "syntax", 49),
        (br#"{"resourceType":"Patient","multipleBirthInteger":+1}"#, "syntax", 49),
        (br#"{"id":[1,{"a":}],"resourceType":"Patient"}"#, "syntax", 14),
    ];
    for (document, cause, offset) in rows {
        let error = check(document).unwrap_err();
        assert_eq!(
            (error.fault().code(), error.offset()),
            (*cause, *offset),
            "{}",
            document.escape_ascii()
        );
    }
}

#[test]
fn reader_accepts_what_fhir_allows() {
    let rows = [
        r#"{"birthDate":"1980","resourceType":"Patient"}"#.to_owned(),
        patient(r#""i\u0064":"a""#),
        patient(r#""_birthDate":{"extension":[{"url":"u","valueCode":"unknown"}]}"#),
        patient(r#""name":[{"given":["a",null],"_given":[null,{"id":"x"}]}]"#),
        patient(
            r#""modifierExtension":[{"url":"u","extension":[{"url":"v","valueBoolean":false}]}]"#,
        ),
        patient(r#""extension":[{"url":"u","_valueString":{"id":"x"}}]"#),
        observation(r#""valueQuantity":{"value":-0.0100E+400}"#),
        observation(r#""valueString":"\uD83D\uDE00 \/ \n""#),
        observation(r#""valueRange":{"low":{"value":1}},"referenceRange":[{"text":"a"}]"#),
        r#"{"resourceType":"Bundle","type":"searchset","total":0}"#.to_owned(),
    ];
    for document in rows {
        assert_eq!(check(document.as_bytes()).err(), None, "{document}");
    }
}

#[test]
fn reader_holds_its_limits() {
    let deep = |levels| {
        let (open, close) = (r#"{"url":"u","extension":["#.repeat(levels), "]}".repeat(levels));
        patient(&format!(r#""extension":[{open}{{"url":"u","valueCode":"a"}}{close}]"#))
    };
    // A Patient in a draft's Bundle starts at level 4; each extension takes two.
    let levels = (MAX_DEPTH - 6) / 2;
    let bytes = deep(levels).into_bytes();
    let document = Document::read(&bytes).unwrap();
    assert!(Document::read(document.split()[0].payload().expose()).is_ok());
    assert_eq!(
        check(deep(levels + 1).as_bytes()).unwrap_err().fault(),
        Fault::TooDeep { limit: MAX_DEPTH }
    );
    // Depth is counted before the type is known, too.
    let hidden = format!(r#"{{"a":{}"#, "[".repeat(100_000));
    assert_eq!(check(hidden.as_bytes()).unwrap_err().fault(), Fault::TooDeep { limit: MAX_DEPTH });

    let text = |len| observation(&format!(r#""valueString":"{}""#, "a".repeat(len)));
    assert!(check(text(MAX_STRING_LEN).as_bytes()).is_ok());
    let fault = Fault::StringTooLong { limit: MAX_STRING_LEN };
    assert_eq!(check(text(MAX_STRING_LEN + 1).as_bytes()).unwrap_err().fault(), fault);

    let attachment =
        patient(&format!(r#""photo":[{{"data":"{}"}}]"#, "A".repeat(4 * MAX_STRING_LEN)));
    assert!(check(attachment.as_bytes()).is_ok(), "attachments may be longer");

    let names =
        |len| patient(&format!(r#""name":[{{"given":["a"{}]}}]"#, r#","a""#.repeat(len - 1)));
    assert!(check(names(MAX_ITEMS).as_bytes()).is_ok());
    let fault = Fault::TooManyItems { limit: MAX_ITEMS };
    assert_eq!(check(names(MAX_ITEMS + 1).as_bytes()).unwrap_err().fault(), fault);

    let keys = |len: usize| -> String { (0..len).map(|at| format!(r#""k{at}":1,"#)).collect() };
    for (hidden, code) in [
        (format!(r#"{{{}"resourceType":"Patient"}}"#, keys(MAX_KEYS)), "too-many-keys"),
        (
            format!(r#"{{"a":{{{}"b":1}},"resourceType":"Patient"}}"#, keys(MAX_KEYS)),
            "too-many-keys",
        ),
        (
            format!(r#"{{"a":[{}1],"resourceType":"Patient"}}"#, "1,".repeat(MAX_ITEMS)),
            "too-many-items",
        ),
        (
            format!(r#"{{"a":[{}1],"resourceType":"Patient"}}"#, "1,".repeat(MAX_ITEMS - 1)),
            "unknown-element",
        ),
    ] {
        assert_eq!(check(hidden.as_bytes()).unwrap_err().fault().code(), code);
    }

    let number = observation(&format!(r#""valueQuantity":{{"value":1{}}}"#, "0".repeat(2_000)));
    assert_eq!(check(number.as_bytes()).unwrap_err().fault().code(), "number-too-long");
}

/// Two arrays of many nulls must not take the square of their length.
#[test]
fn reader_stays_linear_on_arrays_of_nulls() {
    let nulls = "null,".repeat(300_000);
    let document =
        patient(&format!(r#""name":[{{"given":[{nulls}"a"],"_given":[{nulls}{{"id":"a"}}]}}]"#));
    assert_eq!(check(document.as_bytes()).unwrap_err().fault(), Fault::MisplacedNull);
}

#[test]
fn errors_never_quote_the_document() {
    let secret = "Zaphod42";
    let rows = [
        patient(&format!(r#""{secret}":1"#)),
        patient(&format!(r#""birthDate":"{secret}""#)),
        patient(&format!(r#""gender":"{secret}""#)),
        patient(&format!(r#""id":{secret}"#)),
        patient(&format!(r#""text":{{"status":"empty","div":"<div><{secret}/></div>"}}"#)),
        format!(r#"{{"resourceType":"{secret}"}}"#),
        format!(r#"{{"resourceType":"Patient"}}{secret}"#),
    ];
    for document in rows {
        let error = check(document.as_bytes()).expect_err(&document);
        let json = serde_json::to_string(&error).unwrap();
        let shown = format!("{error} {error:?} {json}");
        assert!(!shown.contains(secret), "{shown}");
    }
}

/// Category, encounter and types of each draft.
fn outline(document: &str) -> Vec<(Category, Option<usize>, BTreeMap<&'static str, usize>)> {
    let document = Document::read(document.as_bytes()).unwrap();
    document
        .split()
        .iter()
        .map(|draft| (draft.category(), draft.encounter(), draft.types()))
        .collect()
}

fn bundle(extra: &str, resources: &[(&str, &str)]) -> String {
    let entry = |(url, resource): &(&str, &str)| {
        let url = if url.is_empty() { String::new() } else { format!(r#""fullUrl":"{url}","#) };
        format!(r#"{{{url}"resource":{resource}}}"#)
    };
    let entries: Vec<_> = resources.iter().map(entry).collect();
    format!(
        r#"{{"resourceType":"Bundle","type":"collection","entry":[{}]{extra}}}"#,
        entries.join(",")
    )
}

const ENCOUNTER: &str =
    r#"{"resourceType":"Encounter","id":"e","status":"finished","class":{"code":"AMB"}}"#;

#[test]
fn split_finds_encounters_however_they_are_referred_to() {
    let refers = [
        r#""encounter":{"reference":"urn:uuid:00000000-0000-4000-8000-000000000001"}"#,
        r#""encounter":{"reference":"Encounter/e"}"#,
        r#""encounter":{"reference":"Encounter/e/_history/3"}"#,
        r#""encounter":{"reference":"https://hospital.example/fhir/Encounter/e"}"#,
        r#""encounter":{"reference":"Encounter\/e"}"#,
    ];
    for reference in refers {
        let lab = observation(reference);
        let url = "urn:uuid:00000000-0000-4000-8000-000000000001";
        let found = outline(&bundle("", &[("", &lab), (url, ENCOUNTER)]));
        let expected = [(Category::Encounters, Some(0)), (Category::Laboratory, Some(0))];
        assert_eq!(
            found.iter().map(|row| (row.0, row.1)).collect::<Vec<_>>(),
            expected,
            "{reference}"
        );
    }
    let elsewhere = observation(r#""encounter":{"reference":"Encounter/other"}"#);
    assert_eq!(
        outline(&bundle("", &[("", ENCOUNTER), ("", &elsewhere)]))[1].1,
        Some(1),
        "another encounter"
    );
}

#[test]
fn split_lets_dependent_resources_follow_one_encounter_only() {
    let report = |id: &str, encounter: &str| {
        format!(
            r#"{{"resourceType":"DiagnosticReport","id":"{id}","status":"final","code":{{"text":"c"}},
            "encounter":{{"reference":"{encounter}"}},"result":[{{"reference":"Observation/o"}}]}}"#
        )
    };
    let result = observation(r#""id":"o","specimen":{"reference":"Specimen/s"}"#);
    let specimen = r#"{"resourceType":"Specimen","id":"s"}"#;
    let (first, second) = (report("a", "Encounter/1"), report("b", "Encounter/2"));
    let found = outline(&bundle("", &[("", specimen), ("", &result), ("", &first)]));
    assert!(found.iter().all(|row| row.1 == Some(0)), "{found:?}");
    let found = outline(&bundle("", &[("", specimen), ("", &result), ("", &first), ("", &second)]));
    assert_eq!(found[0].1, None, "two encounters refer to it: {found:?}");
    assert_eq!(found[0].2, BTreeMap::from([("Observation", 1), ("Specimen", 1)]));
}

#[test]
fn split_heeds_labels_wherever_they_stand() {
    let hiv = r#""meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"HIV"}]}"#;
    let plain = r#"{"resourceType":"Basic","code":{"text":"c"}}"#;
    assert_eq!(outline(plain)[0].0, Category::Administrative);
    assert_eq!(outline(&patient(hiv))[0].0, Category::Hiv);
    let contained = patient(&format!(r#""contained":[{{"resourceType":"Patient",{hiv}}}]"#));
    assert_eq!(outline(&contained)[0].0, Category::Hiv);
    // Of the whole Bundle, after its entries.
    let whole = bundle(&format!(",{hiv}"), &[("", plain), ("", &patient(r#""id":"a""#))]);
    assert!(outline(&whole).iter().all(|row| row.0 == Category::Hiv));
    // Of one entry only, even if something follows in the Bundle's own part.
    let one = bundle(r#","identifier":{"value":"1"}"#, &[("", &patient(hiv)), ("", plain)]);
    assert_eq!(
        outline(&one).iter().map(|row| row.0).collect::<Vec<_>>(),
        [Category::Administrative, Category::Hiv]
    );
}

#[test]
fn split_keeps_bytes_of_resources_and_urls() {
    let lab = observation(r#" "valueQuantity" : { "value" : 6.30, "unit":"\u0025" }"#);
    let bytes = bundle("", &[("http:\\/\\/a/Observation/1", &lab)]);
    let document = Document::read(bytes.as_bytes()).unwrap();
    let payload = document.split()[0].payload();
    let text = std::str::from_utf8(payload.expose()).unwrap();
    assert_eq!(
        text,
        format!(
            r#"{{"resourceType":"Bundle","type":"collection","entry":[{{"fullUrl":"http:\/\/a/Observation/1","resource":{lab}}}]}}"#
        )
    );
}

#[test]
fn fixture_patient_becomes_records_of_many_kinds() {
    let summary = check(PATIENT).unwrap();
    assert_eq!((summary.resources, summary.encounters), (40, 4));
    assert!((15..=30).contains(&summary.records), "{}", summary.records);
    let categories: Vec<_> = summary.categories.iter().map(|row| row.category).collect();
    for category in [
        Category::Billing,
        Category::DiagnosticReports,
        Category::Notes,
        Category::Hiv,
        Category::MentalHealth,
    ] {
        assert!(categories.contains(&category), "{category}");
    }
    assert!(PATIENT.windows(4).any(|window| window == b"6.30"));
}

#[test]
fn ndjson_lines_are_judged_one_by_one() {
    let good = r#"{"resourceType":"Patient"}"#;
    let summary = check_ndjson(format!("{good}\r\n\n{{bad\n{good}").as_bytes()).unwrap();
    assert_eq!(summary.accepted, 2);
    assert_eq!(
        summary.refused.iter().map(|row| (row.line, row.error.offset())).collect::<Vec<_>>(),
        [(3, 1)]
    );
    let summary = check_ndjson("{bad\n".repeat(MAX_LISTED_LINES + 7).as_bytes()).unwrap();
    assert_eq!((summary.refused.len(), summary.more_refused), (MAX_LISTED_LINES, 7));
}

/// Reads, and if it reads: splits, and every payload reads again and all resources are there
/// once, copies aside.
fn exercise(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(document) = Document::read(bytes) else { return Ok(()) };
    let mut resources = 0;
    for draft in document.split() {
        let payload = draft.payload();
        let again = Document::read(payload.expose());
        prop_assert!(again.is_ok(), "{:?}", again.err());
        resources += draft.len() - draft.copies();
    }
    prop_assert_eq!(resources, document.len());
    Ok(())
}

proptest! {
    #[test]
    fn reader_survives_any_bytes(bytes: Vec<u8>) {
        exercise(&bytes)?;
    }

    /// Text made of the pieces that matter gets deeper than random bytes.
    #[test]
    fn reader_survives_any_tokens(
        tokens in prop::collection::vec(
            prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u", "\\ud800", "null", "1", "-", ".5", "e9", " ", "é",
                "\"resourceType\"", "\"Patient\"", "\"Bundle\"", "\"entry\"", "\"resource\"", "\"_given\"",
                "\"name\"", "\"given\"", "\"id\"", "\"a\"",
            ]),
            0..60,
        )
    ) {
        exercise(tokens.concat().as_bytes())?;
    }

    /// A cut, a changed byte or a repeated stretch of a good document is refused or read, nothing else.
    #[test]
    fn reader_survives_changed_documents(
        from: prop::sample::Index,
        to: prop::sample::Index,
        at: prop::sample::Index,
        byte: u8,
    ) {
        let mut changed = PATIENT.to_vec();
        changed[at.index(PATIENT.len())] = byte;
        exercise(&changed)?;
        let (from, to) = (from.index(PATIENT.len()), to.index(PATIENT.len()));
        let (from, to) = (from.min(to), from.max(to));
        let mut cut = PATIENT.to_vec();
        let stretch: Vec<u8> = cut.drain(from..to).collect();
        exercise(&cut)?;
        prop_assert!(from == to || Document::read(&PATIENT[..to]).is_err(), "a torn document is refused");
        let doubled = [&PATIENT[..to], &stretch, &PATIENT[to..]].concat();
        exercise(&doubled)?;
    }
}
