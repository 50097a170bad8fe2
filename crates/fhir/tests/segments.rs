//! Who gets to see what: sensitive facts hidden in every corner of a document, and the observations that a
//! report brings.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    env,
    fmt::Write,
    fs,
    path::Path,
};

use common::{PUBLISHED, corpus, files};
use galen_fhir::{Category, CodeTable, Document, check};
use serde_json::Value;

const HIV: &str = r#"{"system":"http://hl7.org/fhir/sid/icd-10","code":"B20"}"#;

/// Something that no table calls sensitive.
const PLAIN: &str = r#"{"system":"http://hl7.org/fhir/sid/icd-10","code":"I10"}"#;

fn bundle(resources: &[String]) -> String {
    let entries: Vec<_> =
        resources.iter().map(|resource| format!(r#"{{"resource":{resource}}}"#)).collect();
    format!(r#"{{"resourceType":"Bundle","type":"collection","entry":[{}]}}"#, entries.join(","))
}

fn resource(resource_type: &str, id: &str, members: &str) -> String {
    format!(r#"{{"resourceType":"{resource_type}","id":"{id}",{members}}}"#)
}

fn condition(id: &str, coding: &str) -> String {
    let members =
        format!(r#""subject":{{"reference":"Patient/p"}},"code":{{"coding":[{coding}]}}"#);
    resource("Condition", id, &members)
}

fn observation(id: &str, coding: &str, members: &str) -> String {
    let start = format!(r#""status":"final","code":{{"coding":[{coding}]}}"#);
    let category = r#""category":[{"coding":[{"code":"laboratory"}]}]"#;
    let members = if members.is_empty() { String::new() } else { format!(",{members}") };
    resource("Observation", id, &format!("{start},{category}{members}"))
}

fn report(id: &str, results: &[&str]) -> String {
    let results: Vec<_> =
        results.iter().map(|target| format!(r#"{{"reference":"{target}"}}"#)).collect();
    let start = r#""status":"final","code":{"text":"c"},"result""#;
    resource("DiagnosticReport", id, &format!("{start}:[{}]", results.join(",")))
}

/// The categories of the drafts in which the resource of this id lies, in the order of the segments.
fn categories(document: &str, id: &str) -> Vec<Category> {
    let document =
        Document::read(document.as_bytes()).unwrap_or_else(|error| panic!("{error}: {document}"));
    let key = format!(r#""id":"{id}""#);
    let holds = |payload: &[u8]| payload.windows(key.len()).any(|it| it == key.as_bytes());
    let drafts = document.split();
    let found = drafts.iter().filter(|draft| holds(draft.payload().expose()));
    found.map(galen_fhir::Draft::category).collect()
}

/// Where the fact hides, the documents' resources, and where the resource `x` must lie.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn sensitive_facts_are_found_wherever_they_hide() {
    use Category::{
        Administrative, Billing, DiagnosticReports, Documents, Encounters, Hiv, Medications, Notes,
        SocialHistory,
    };
    let hiv = condition("h", HIV);
    let claim = |members: &str| {
        resource(
            "Claim",
            "x",
            &format!(
                r#""status":"active","type":{{"text":"t"}},"use":"claim","created":"2026-01-01",
                "patient":{{"reference":"Patient/p"}},"provider":{{"reference":"Organization/o"}},
                "priority":{{"text":"p"}},"insurance":[{{"sequence":1,"focal":true,
                "coverage":{{"reference":"Coverage/c"}}}}],{members}"#
            ),
        )
    };
    let request = |members: &str| {
        resource(
            "MedicationRequest",
            "x",
            &format!(
                r#""status":"active","intent":"order","subject":{{"reference":"Patient/p"}},{members}"#
            ),
        )
    };
    let drug = r#""medicationCodeableConcept":{"text":"m"}"#;
    let basic = |id: &str, members: &str| {
        resource("Basic", id, &format!(r#""code":{{"text":"c"}},{members}"#))
    };
    let refers = |id: &str, to: &str| {
        basic(
            id,
            &format!(r#""extension":[{{"url":"urn:e","valueReference":{{"reference":"{to}"}}}}]"#),
        )
    };
    let diagnosis = |of: &str| claim(&format!(r#""diagnosis":[{{"sequence":1,{of}}}]"#));
    let file = |type_and_rest: &str| resource("Binary", "x", type_and_rest);
    let note = |members: &str| {
        resource(
            "DocumentReference",
            "n",
            &format!(
                r#""status":"current",{members}"content":[{{"attachment":{{"url":"Binary/x"}}}}]"#
            ),
        )
    };
    let labelled = r#""meta":{"security":[{"code":"HIV"}]},"#;

    #[rustfmt::skip]
    let rows: Vec<(&str, Vec<String>, Category)> = vec![
        ("its own code", vec![condition("x", HIV)], Hiv),
        ("second coding", vec![condition("x", &format!("{PLAIN},{HIV}"))], Hiv),
        ("contained", vec![claim(&format!(r#""contained":[{hiv}]"#))], Hiv),
        ("contained, referred to", vec![diagnosis(r##""diagnosisReference":{"reference":"#h"}"##).replacen(
            r#""status""#, &format!(r#""contained":[{hiv}],"status""#), 1)], Hiv),
        ("extension of a primitive", vec![basic("x", &format!(
            r#""created":"2026-01-01","_created":{{"extension":[{{"url":"urn:e","valueCoding":{HIV}}}]}}"#))], Hiv),
        ("extension in an extension", vec![basic("x", &format!(
            r#""extension":[{{"url":"urn:a","extension":[{{"url":"urn:b","valueCodeableConcept":{{"coding":[{HIV}]}}}}]}}]"#))], Hiv),
        ("diagnosis code of a claim", vec![diagnosis(&format!(
            r#""diagnosisCodeableConcept":{{"coding":[{HIV}]}}"#))], Hiv),
        ("diagnosis of a claim", vec![diagnosis(r#""diagnosisReference":{"reference":"Condition/h"}"#), hiv.clone()], Hiv),
        ("reason of a prescription", vec![request(&format!(
            r#"{drug},"reasonReference":[{{"reference":"Condition/h"}}]"#)), hiv.clone()], Hiv),
        ("medicine of a prescription", vec![
            request(r#""medicationReference":{"reference":"Medication/m"}"#),
            resource("Medication", "m", r#""code":{"coding":[{"system":"http://www.whocc.no/atc","code":"J05AR01"}]}"#)], Hiv),
        ("diagnosis of a visit", vec![resource("Encounter", "x",
            r#""status":"finished","class":{"code":"AMB"},"diagnosis":[{"condition":{"reference":"Condition/h"}}]"#), hiv.clone()], Hiv),
        ("visit by another name", vec![observation("x", PLAIN, r#""encounter":{"reference":"Condition/h"}"#), hiv.clone()], Hiv),
        ("section of a composition", vec![resource("Composition", "x",
            r#""status":"final","type":{"text":"t"},"date":"2026-01-01","title":"t","author":[{"reference":"Practitioner/d"}],
            "section":[{"section":[{"entry":[{"reference":"Condition/h"}]}]}]"#), hiv.clone()], Hiv),
        ("entry of a list", vec![resource("List", "x",
            r#""status":"current","mode":"snapshot","entry":[{"item":{"reference":"Condition/h"}}]"#), hiv.clone()], Hiv),
        ("bundle in the bundle", vec![format!(
            r#"{{"resourceType":"Bundle","id":"x","type":"collection","entry":[{{"resource":{hiv}}}]}}"#)], Hiv),
        ("reference out of an inner bundle", vec![format!(
            r#"{{"resourceType":"Bundle","id":"x","type":"collection","entry":[{{"resource":{}}}]}}"#, refers("y", "Condition/h")), hiv.clone()], Hiv),
        ("reference of a contained resource", vec![basic("x", &format!(r#""contained":[{}]"#, refers("y", "Condition/h"))), hiv.clone()], Hiv),
        ("a chain", vec![refers("x", "Basic/a"), refers("a", "Basic/b"), refers("b", "Condition/h"), hiv.clone()], Hiv),
        ("a circle", vec![refers("x", "Basic/a"), refers("a", "Basic/x"), refers("b", "Basic/a"), hiv.clone()], Administrative),
        ("a circle with a way out", vec![refers("x", "Basic/a"), refers("a", "Basic/b"),
            basic("b", r#""extension":[{"url":"urn:e","valueReference":{"reference":"Basic/x"}},{"url":"urn:e","valueReference":{"reference":"Condition/h"}}]"#), hiv.clone()], Hiv),
        ("itself", vec![refers("x", "Basic/x")], Administrative),
        ("absolute reference", vec![refers("x", "https://a.example/fhir/Condition/h"), hiv.clone()], Hiv),
        ("reference to a version", vec![refers("x", "Condition/h/_history/2"), hiv.clone()], Hiv),
        ("reference to a part", vec![refers("x", "Condition/h#1"), hiv.clone()], Hiv),
        ("escaped reference", vec![refers("x", "Condition\\/\\u0068"), hiv.clone()], Hiv),
        ("two of the same id", vec![refers("x", "Condition/h"), condition("h", PLAIN), hiv.clone()], Hiv),
        ("two hops past the patient", vec![refers("x", "Patient/p"), resource("Patient", "p",
            &format!(r#""contained":[{hiv}]"#))], Administrative),
        ("visit with a diagnosis", vec![observation("x", PLAIN, r#""encounter":{"reference":"Encounter/e"}"#),
            resource("Encounter", "e", &format!(r#""status":"finished","class":{{"code":"AMB"}},"reasonCode":[{{"coding":[{HIV}]}}]"#))],
            Category::Laboratory),
        // What such a resource says itself reaches the file that it names.
        ("file of a note", vec![note(labelled), file(r#""contentType":"application/pdf","data":"AAAA""#)], Hiv),
        ("file of a plain note", vec![note(""), file(r#""contentType":"application/pdf","data":"AAAA""#)], Documents),
        ("file of a note in a list", vec![note(""), file(r#""contentType":"application/pdf""#), hiv.clone(), resource("List", "l",
            r#""status":"current","mode":"snapshot","entry":[{"item":{"reference":"Condition/h"}},{"item":{"reference":"DocumentReference/n"}}]"#)], Documents),
        ("answers behind a score", vec![resource("QuestionnaireResponse", "x", r#""status":"completed""#),
            observation("o", r#"{"system":"http://loinc.org","code":"44261-6"}"#, r#""derivedFrom":[{"reference":"QuestionnaireResponse/x"}]"#)],
            Category::MentalHealth),
        ("answers behind a plain score", vec![resource("QuestionnaireResponse", "x", r#""status":"completed""#),
            observation("o", PLAIN, r#""derivedFrom":[{"reference":"QuestionnaireResponse/x"}]"#)], SocialHistory),
        ("result of a report", vec![report("x", &["Observation/o"]), observation("o", HIV, "")], Hiv),
        ("member of a result", vec![report("x", &["Observation/o"]),
            observation("o", PLAIN, r#""hasMember":[{"reference":"Observation/m"}]"#), observation("m", HIV, "")], Hiv),
        // What no table sees: docs/protocol.md says so.
        ("words only", vec![resource("Condition", "x",
            r#""subject":{"reference":"Patient/p"},"code":{"text":"HIV infection","coding":[{"display":"HIV"}]}"#)], Category::Problems),
        ("a code without its system", vec![condition("x", r#"{"code":"B20"}"#)], Category::Problems),
        ("reference by identifier", vec![basic("x",
            r#""subject":{"type":"Condition","identifier":{"value":"1"}}"#), hiv.clone()], Administrative),
        ("what a consent speaks of", vec![resource("Consent", "x", &format!(
            r#""status":"active","scope":{{"text":"s"}},"category":[{{"text":"c"}}],"policyRule":{{"text":"p"}},"provision":{{"code":[{{"coding":[{HIV}]}}]}}"#))],
            Category::Consents),
        // Nothing is sensitive here.
        ("plain claim", vec![diagnosis(r#""diagnosisReference":{"reference":"Condition/h"}"#), condition("h", PLAIN)], Billing),
        ("plain prescription", vec![request(drug)], Medications),
        ("plain note", vec![note("").replace(r#""id":"n""#, r#""id":"x""#)], Notes),
        ("plain visit", vec![resource("Encounter", "x", r#""status":"finished","class":{"code":"AMB"}"#)], Encounters),
        ("plain report", vec![report("x", &["Observation/gone"])], DiagnosticReports),
    ];
    for (place, resources, expected) in rows {
        assert_eq!(categories(&bundle(&resources), "x"), [expected], "{place}");
        // The order of the document must not matter.
        let backwards: Vec<_> = resources.into_iter().rev().collect();
        assert_eq!(categories(&bundle(&backwards), "x"), [expected], "{place}, backwards");
    }
}

#[test]
fn the_most_sensitive_of_several_facts_decides() {
    let icd =
        |code: &str| format!(r#"{{"system":"http://hl7.org/fhir/sid/icd-10","code":"{code}"}}"#);
    let order = [
        ("O80", Category::ReproductiveHealth),
        ("F32.1", Category::MentalHealth),
        ("F11.2", Category::SubstanceUse),
        ("B20", Category::Hiv),
        ("T74.1", Category::DomesticViolence),
    ];
    for (at, (code, category)) in order.into_iter().enumerate() {
        for (less, _) in &order[..=at] {
            let both = format!("{},{}", icd(code), icd(less));
            assert_eq!(categories(&bundle(&[condition("x", &both)]), "x"), [category], "{code}");
        }
    }
}

#[test]
fn report_brings_its_observations_and_nothing_else() {
    let resources = [
        report("r", &["Observation/a", "Observation/v", "Condition/c", "#k", "Observation/gone"]),
        observation(
            "a",
            PLAIN,
            r#""hasMember":[{"reference":"Observation/b"},{"reference":"Condition/c"}],
            "derivedFrom":[{"reference":"Observation/d"}],"specimen":{"reference":"Specimen/s"}"#,
        ),
        observation("b", PLAIN, r#""hasMember":[{"reference":"Observation/a"}]"#),
        observation("v", r#"{"system":"http://loinc.org","code":"8867-4"}"#, ""),
        observation("d", PLAIN, ""),
        observation("other", PLAIN, ""),
        resource("Specimen", "s", r#""status":"available""#),
        condition("c", PLAIN),
        // Its own report is sensitive, and takes its results along to nobody.
        report("q", &["Observation/h", "Observation/p"]),
        observation("h", HIV, ""),
        observation("p", PLAIN, ""),
    ];
    let document = bundle(&resources);
    let (lab, reports) = (Category::Laboratory, Category::DiagnosticReports);
    let rows: [(&str, &[Category]); 11] = [
        ("r", &[reports]),
        ("a", &[lab, reports]),
        ("b", &[lab, reports]),
        ("v", &[Category::Vitals, reports]),
        ("d", &[lab]),
        ("other", &[lab]),
        ("s", &[lab]),
        ("c", &[Category::Problems]),
        ("q", &[Category::Hiv]),
        ("h", &[Category::Hiv]),
        ("p", &[lab]),
    ];
    for (id, expected) in rows {
        assert_eq!(categories(&document, id), expected, "{id}");
    }
    let read = Document::read(document.as_bytes()).unwrap();
    for draft in read.split() {
        let expected = if draft.category() == reports { 3 } else { 0 };
        assert_eq!(draft.copies(), expected, "{draft:?}");
        let payload = draft.payload();
        for (id, places) in rows.iter().filter(|(_, places)| places.contains(&draft.category())) {
            let bytes =
                resources.iter().find(|it| it.contains(&format!(r#""id":"{id}""#))).unwrap();
            let text = std::str::from_utf8(payload.expose()).unwrap();
            assert!(text.contains(bytes.as_str()), "{id} in {places:?}, byte for byte");
        }
    }
}

/// What a patient takes as a record of a category, and what not.
#[test]
fn document_fits_where_it_may_lie() {
    use Category::{Billing, DiagnosticReports, Hiv, Laboratory, MentalHealth, Problems, Vitals};
    let (lab, hiv) = (observation("o", PLAIN, ""), observation("h", HIV, ""));
    let pulse = observation("v", r#"{"system":"http://loinc.org","code":"8867-4"}"#, "");
    #[rustfmt::skip]
    let rows: Vec<(Vec<&String>, Category, bool)> = vec![
        (vec![&lab], Laboratory, true),
        (vec![&lab], Problems, false),
        (vec![&lab], DiagnosticReports, false),
        // Another author may know more codes than this table, never fewer.
        (vec![&lab], Hiv, true),
        (vec![&hiv], Hiv, true),
        (vec![&hiv], Category::DomesticViolence, true),
        (vec![&hiv], MentalHealth, false),
        (vec![&hiv], Laboratory, false),
        (vec![&lab, &hiv], Laboratory, false),
        (vec![&lab, &pulse], Laboratory, false),
        (vec![&lab, &pulse], Billing, false),
    ];
    for (resources, category, expected) in rows {
        let resources: Vec<String> = resources.into_iter().cloned().collect();
        let document = bundle(&resources);
        let read = Document::read(document.as_bytes()).unwrap();
        assert_eq!(read.fits(category), expected, "{category} {document}");
        let whole = read.whole(category).map(|draft| (draft.category(), draft.len()));
        assert_eq!(whole, expected.then_some((category, resources.len())), "{category}");
    }

    let with = |others: &[&String]| {
        let mut resources = vec![report("r", &["Observation/o", "Observation/v"])];
        resources.extend(others.iter().map(|other| (*other).clone()));
        bundle(&resources)
    };
    let fits =
        |document: &str, category| Document::read(document.as_bytes()).unwrap().fits(category);
    assert!(fits(&with(&[&lab, &pulse]), DiagnosticReports));
    assert!(!fits(&with(&[&lab, &pulse]), Laboratory));
    assert!(!fits(&with(&[&lab, &observation("z", PLAIN, "")]), DiagnosticReports), "not a result");
    assert!(!fits(&with(&[&observation("o", HIV, "")]), DiagnosticReports), "sensitive");
    assert!(!fits(&with(&[&condition("o", PLAIN)]), DiagnosticReports), "no observation");
    assert!(Vitals.segment() != Laboratory.segment());
}

#[test]
fn site_table_decides_what_is_sensitive() {
    let local = r#"{"system":"https://lab.example/codes","code":"R-17"}"#;
    let document = bundle(&[condition("x", local), condition("h", HIV)]);
    let read = |table: &CodeTable| -> Vec<Category> {
        let document = Document::read_with(document.as_bytes(), table).unwrap();
        document.split().iter().map(galen_fhir::Draft::category).collect()
    };
    let row = "https://lab.example/codes\tR-*\tsubstance-use\n";
    let more = CodeTable::built_in().with_text(row).unwrap();
    assert_eq!(read(CodeTable::built_in()), [Category::Problems, Category::Hiv]);
    assert_eq!(read(&more), [Category::Hiv, Category::SubstanceUse]);
    let other = CodeTable::empty().with_text(row).unwrap();
    assert_eq!(read(&other), [Category::Problems, Category::SubstanceUse]);
}

/// What the published documents become, one line for each; and how much is sensitive only because of what it
/// refers to. `GALEN_UPDATE=1` writes the file anew.
#[test]
fn published_documents_are_sorted_as_before() {
    let Some(corpus) = corpus() else { return };
    let mut table = String::new();
    let (mut resources, mut by_code, mut inherited) = (0, 0, BTreeMap::<String, usize>::new());
    for (name, bytes) in published(&corpus) {
        let summary = check(&bytes).unwrap();
        write!(table, "{name}").unwrap();
        for row in summary.categories {
            write!(table, "\t{}={}/{}", row.category, row.records, row.resources).unwrap();
            if row.copies > 0 {
                write!(table, "/{}", row.copies).unwrap();
            }
        }
        table.push('\n');
        let walked = Walked::new(&bytes);
        for (resource, category) in walked.resources.iter().zip(&walked.categories) {
            resources += 1;
            if is_sensitive(resource, false) {
                by_code += 1;
            } else if category.is_sensitive() {
                let resource_type = resource["resourceType"].as_str().unwrap();
                *inherited.entry(resource_type.to_owned()).or_default() += 1;
            }
        }
    }
    let sum: usize = inherited.values().sum();
    write!(table, "all\tresources={resources}\tby-code={by_code}\tby-reference={sum}").unwrap();
    for (resource_type, count) in inherited {
        write!(table, "\t{resource_type}={count}").unwrap();
    }
    table.push('\n');
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/segments.tsv");
    if env::var_os("GALEN_UPDATE").is_some() {
        fs::write(&file, &table).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap();
    for (line, expected) in table.lines().zip(expected.lines()) {
        assert_eq!(line, expected);
    }
    assert_eq!(table.lines().count(), expected.lines().count());
}

/// What must never happen, found by a walk of its own over the JSON of every draft.
#[test]
fn nothing_sensitive_lies_where_it_must_not() {
    let Some(corpus) = corpus() else { return };
    let mut copies = 0;
    for (name, bytes) in published(&corpus) {
        let walked = Walked::new(&bytes);
        let document = Document::read(&bytes).unwrap();
        let mut seen = BTreeMap::<String, usize>::new();
        for draft in document.split() {
            let payload = draft.payload();
            let value: Value = serde_json::from_slice(payload.expose()).unwrap();
            let resources: Vec<&Value> = entries(&value);
            copies += draft.copies();
            for resource in &resources {
                *seen.entry(resource.to_string()).or_default() += 1;
                if draft.category().is_sensitive() {
                    continue;
                }
                assert!(!is_sensitive(resource, false), "{name}: {draft:?}");
                for target in walked.targets(resource) {
                    assert!(!walked.categories[target].is_sensitive(), "{name}: {draft:?}");
                }
            }
            assert_reports_bring_only_results(&name, draft.category(), &walked, &resources);
        }
        for resource in &walked.resources {
            assert!(seen.contains_key(&resource.to_string()), "{name}: lost");
        }
    }
    assert!(copies > 1_000, "reports bring their results: {copies}");
}

/// In a draft of reports, each observation is in a `result`, or a member of one that is.
fn assert_reports_bring_only_results(
    name: &str,
    category: Category,
    walked: &Walked,
    resources: &[&Value],
) {
    if category != Category::DiagnosticReports {
        return;
    }
    let of_type = |wanted: &str| {
        let wanted = wanted.to_owned();
        resources.iter().copied().filter(move |it| it["resourceType"] == *wanted)
    };
    let mut wanted = BTreeSet::new();
    let mut open: Vec<(&Value, &str)> =
        of_type("DiagnosticReport").map(|it| (it, "result")).collect();
    while let Some((resource, member)) = open.pop() {
        let references = resource[member].as_array().into_iter().flatten();
        for target in references.flat_map(|it| walked.resolve(it["reference"].as_str())) {
            if wanted.insert(target) {
                open.push((&walked.resources[target], "hasMember"));
            }
        }
    }
    let wanted: BTreeSet<String> =
        wanted.into_iter().map(|at| walked.resources[at].to_string()).collect();
    for observation in of_type("Observation") {
        assert!(wanted.contains(&observation.to_string()), "{name}: not a result");
    }
    let known = ["DiagnosticReport", "Observation"];
    assert!(resources.iter().all(|it| known.contains(&it["resourceType"].as_str().unwrap())));
}

fn published(corpus: &Path) -> Vec<(String, Vec<u8>)> {
    let of = |folder: &str| {
        let named = files(&corpus.join(folder)).into_iter();
        named.map(|(name, bytes)| (format!("{folder}/{name}"), bytes)).collect::<Vec<_>>()
    };
    // A list of what the others are, not a FHIR document.
    let is_document = |(name, _): &(String, Vec<u8>)| !name.ends_with("/DESCRIPTIONS.json");
    PUBLISHED.into_iter().flat_map(of).filter(is_document).collect()
}

fn entries(document: &Value) -> Vec<&Value> {
    let of_bundle = || {
        let entries = document["entry"].as_array().into_iter().flatten();
        entries.filter_map(|entry| entry.get("resource")).collect()
    };
    if document["resourceType"] == "Bundle" { of_bundle() } else { vec![document] }
}

/// Whether any coding in the value is sensitive, as the table says of it alone.
fn is_sensitive(value: &Value, in_consent: bool) -> bool {
    let in_consent = in_consent || value["resourceType"] == "Consent";
    match value {
        Value::Object(members) => {
            let text = |name: &str| value[name].as_str().unwrap_or_default();
            let coded = CodeTable::built_in().category(text("system"), text("code")).is_some();
            coded
                || members
                    .iter()
                    .filter(|(name, _)| !(in_consent && *name == "provision"))
                    .any(|(_, member)| is_sensitive(member, in_consent))
        }
        Value::Array(items) => items.iter().any(|item| is_sensitive(item, in_consent)),
        _ => false,
    }
}

/// A document as `serde_json` sees it, with the category that each resource got.
struct Walked {
    resources: Vec<Value>,
    categories: Vec<Category>,
    keys: HashMap<String, usize>,
}

impl Walked {
    fn new(bytes: &[u8]) -> Self {
        let value: Value = serde_json::from_slice(bytes).unwrap();
        let resources: Vec<Value> = entries(&value).into_iter().cloned().collect();
        let mut keys = HashMap::new();
        for (at, resource) in resources.iter().enumerate() {
            let text = |name: &str| resource[name].as_str().unwrap_or_default();
            keys.insert(format!("{}/{}", text("resourceType"), text("id")), at);
        }
        let urls = value["entry"].as_array().into_iter().flatten();
        let urls = urls.filter(|entry| entry.get("resource").is_some());
        for (at, entry) in urls.enumerate() {
            if let Some(url) = entry["fullUrl"].as_str() {
                keys.insert(url.to_owned(), at);
            }
        }
        let mut walked = Self { resources, categories: Vec::new(), keys };
        walked.categories = walked.categories_in(bytes);
        walked
    }

    /// The category of each resource: that of the first draft that holds it, copies aside.
    fn categories_in(&self, bytes: &[u8]) -> Vec<Category> {
        let document = Document::read(bytes).unwrap();
        let mut found = HashMap::new();
        let drafts = document.split();
        for draft in drafts.iter().filter(|draft| draft.category() != Category::DiagnosticReports) {
            let value: Value = serde_json::from_slice(draft.payload().expose()).unwrap();
            for resource in entries(&value) {
                found.insert(resource.to_string(), draft.category());
            }
        }
        let category = |resource: &Value| found.get(&resource.to_string()).copied();
        let reports = Category::DiagnosticReports;
        self.resources.iter().map(|resource| category(resource).unwrap_or(reports)).collect()
    }

    fn resolve(&self, reference: Option<&str>) -> Option<usize> {
        let text = reference?;
        let short = text.rsplit('/').take(2).collect::<Vec<_>>();
        let short = short.into_iter().rev().collect::<Vec<_>>().join("/");
        self.keys.get(text).or_else(|| self.keys.get(&short)).copied()
    }

    /// What a resource refers to in the same document, but for who and where.
    fn targets(&self, value: &Value) -> Vec<usize> {
        const NEUTRAL: [&str; 12] = [
            "Patient",
            "Person",
            "RelatedPerson",
            "Practitioner",
            "PractitionerRole",
            "Organization",
            "Location",
            "Encounter",
            "EpisodeOfCare",
            "Device",
            "Group",
            "Endpoint",
        ];
        let mut targets = Vec::new();
        let mut open = vec![value];
        while let Some(value) = open.pop() {
            targets.extend(self.resolve(value["reference"].as_str()));
            match value {
                Value::Object(members) => open.extend(members.values()),
                Value::Array(items) => open.extend(items),
                _ => {}
            }
        }
        targets
            .retain(|at| !NEUTRAL.contains(&self.resources[*at]["resourceType"].as_str().unwrap()));
        targets
    }
}
