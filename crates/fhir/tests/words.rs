//! Documents as people read them.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::{env, fs, path::Path};

use galen_fhir::{
    Document,
    words::{Change, changes, sentences},
};

fn told(json: &str) -> Vec<String> {
    let document =
        Document::read(json.as_bytes()).unwrap_or_else(|error| panic!("{json}: {error}"));
    sentences(&document).iter().map(|words| words.expose().to_owned()).collect()
}

#[test]
fn each_type_is_told_in_one_sentence_with_values_as_written() {
    for (json, expected) in [
        (
            r#"{"resourceType":"Observation","status":"preliminary","code":{"coding":[{"code":"2339-0","display":"Glucose"}]},"effectiveDateTime":"2026-03-02T08:00:00Z","valueQuantity":{"value":1.0100E1,"unit":"mg/dL","comparator":">"},"interpretation":[{"text":"high"}],"performer":[{"display":"Dr Berg"}]}"#,
            "Measured: Glucose > 1.0100E1 mg/dL; judged high; status preliminary; 2026-03-02T08:00:00Z; by Dr Berg",
        ),
        (
            r#"{"resourceType":"Observation","status":"final","code":{"text":"Blood pressure"},"component":[{"code":{"text":"systolic"},"valueQuantity":{"value":120,"unit":"mmHg"}},{"code":{"text":"diastolic"},"dataAbsentReason":{"text":"unknown"}}]}"#,
            "Measured: Blood pressure; systolic 120 mmHg; diastolic unknown",
        ),
        (
            r#"{"resourceType":"Observation","status":"final","code":{"text":"Pregnant"},"valueBoolean":false}"#,
            "Measured: Pregnant no",
        ),
        (
            r#"{"resourceType":"MedicationRequest","status":"active","intent":"order","subject":{"display":"x"},"medicationCodeableConcept":{"text":"Warfarin 5 mg"},"dosageInstruction":[{"text":"1 tablet at night"}],"authoredOn":"2026-01-02"}"#,
            "Prescribed: Warfarin 5 mg; 1 tablet at night; 2026-01-02",
        ),
        (
            r##"{"resourceType":"MedicationStatement","status":"active","subject":{"display":"x"},"contained":[{"resourceType":"Medication","id":"m","code":{"text":"Aspirin"}}],"medicationReference":{"reference":"#m"},"dosage":[{"timing":{"repeat":{"frequency":2,"period":1,"periodUnit":"d"}},"doseAndRate":[{"doseQuantity":{"value":0.50,"unit":"tablet"}}],"asNeededBoolean":true}]}"##,
            "Taken: Aspirin; 0.50 tablet, 2 times every 1 day(s), as needed",
        ),
        (
            r#"{"resourceType":"MedicationRequest","status":"active","intent":"order","doNotPerform":true,"subject":{"display":"x"},"medicationCodeableConcept":{"text":"Codeine"}}"#,
            "Not to be taken: Codeine",
        ),
        (
            r#"{"resourceType":"Condition","subject":{"display":"x"},"code":{"text":"Gout"},"clinicalStatus":{"coding":[{"code":"active"}]},"verificationStatus":{"coding":[{"code":"provisional"}]},"onsetDateTime":"2020","note":[{"text":"secret"}]}"#,
            "Diagnosis: Gout; provisional; since 2020; with a note",
        ),
        (
            r#"{"resourceType":"Condition","subject":{"display":"x"},"code":{"text":"Gout"},"verificationStatus":{"coding":[{"code":"entered-in-error"}]}}"#,
            "ENTERED IN ERROR: Diagnosis: Gout; entered-in-error",
        ),
        (
            r#"{"resourceType":"AllergyIntolerance","patient":{"display":"x"},"code":{"text":"Penicillin"},"verificationStatus":{"coding":[{"code":"refuted"}]},"criticality":"unable-to-assess","reaction":[{"manifestation":[{"text":"Hives"}],"severity":"severe"}]}"#,
            "Allergy: Penicillin; refuted; risk unable to assess; reaction Hives (severe)",
        ),
        (
            r#"{"resourceType":"Immunization","status":"not-done","patient":{"display":"x"},"vaccineCode":{"text":"Tetanus"},"occurrenceDateTime":"2026-02-01"}"#,
            "Vaccination NOT given: Tetanus; status not done; 2026-02-01",
        ),
        (
            r#"{"resourceType":"Patient","name":[{"given":["Anna"],"family":"Berg"}],"birthDate":"1980-02-29","gender":"female"}"#,
            "Who you are: Anna Berg; born 1980-02-29; female",
        ),
        (
            r#"{"resourceType":"Encounter","status":"finished","class":{"code":"AMB"},"period":{"start":"2026-01-01","end":"2026-01-02"}}"#,
            "Visit: AMB; 2026-01-01 to 2026-01-02",
        ),
        (
            r#"{"resourceType":"DiagnosticReport","status":"final","code":{"text":"Blood count"},"conclusion":"Normal","result":[{"reference":"Observation/1"}]}"#,
            "Report: Blood count; conclusion: Normal; 1 results",
        ),
        (
            r#"{"resourceType":"ImagingStudy","status":"available","subject":{"display":"x"},"description":"Chest","started":"2026-01-01"}"#,
            "Imaging study: Chest; status available; 2026-01-01",
        ),
        (
            r#"{"resourceType":"Basic","code":{"coding":[{"system":"urn:x","code":"q"}]}}"#,
            "Basic: q",
        ),
    ] {
        assert_eq!(told(json), [expected]);
    }
    let long = format!(r#"{{"resourceType":"Basic","code":{{"text":"{}"}}}}"#, "é".repeat(5_000));
    let words = &told(&long)[0];
    assert!(words.len() < 450 && words.ends_with("é…"), "{}", words.len());
}

#[test]
fn changes_tell_old_and_new_values() {
    let before = r#"{"resourceType":"Bundle","type":"collection","entry":[
        {"fullUrl":"urn:uuid:1","resource":{"resourceType":"Observation","status":"final","code":{"text":"Weight"},"valueQuantity":{"value":71.50,"unit":"kg"},"note":[{"text":"a"},{"text":"b"}]}},
        {"fullUrl":"urn:uuid:2","resource":{"resourceType":"Condition","subject":{"display":"x"},"code":{"text":"Gout"}}}]}"#;
    let after = r#"{"resourceType":"Bundle","type":"collection","entry":[
        {"fullUrl":"urn:uuid:1","resource":{"resourceType":"Observation","status":"amended","code":{"text":"Weight"},"valueQuantity":{"value":17.50,"unit":"kg","code":"kg"},"note":[{"text":"b"}]}},
        {"fullUrl":"urn:uuid:3","resource":{"resourceType":"Condition","subject":{"display":"x"},"code":{"text":"Asthma"}}}]}"#;
    let documents =
        (Document::read(before.as_bytes()).unwrap(), Document::read(after.as_bytes()).unwrap());
    let found = changes(&documents.0, &documents.1);
    let text = |change: &Change| {
        let side = |words: &Option<galen_fhir::words::Words>| {
            words.as_ref().map_or("-", |words| words.expose()).to_owned()
        };
        let element = change.element.as_deref().unwrap_or("*");
        format!(
            "{} {element}: {} -> {}",
            change.kind.name(),
            side(&change.before),
            side(&change.after)
        )
    };
    let told: Vec<_> = found.iter().map(text).collect();
    assert_eq!(
        told,
        [
            "changed status: final -> amended",
            "changed valueQuantity.value: 71.50 -> 17.50",
            "added valueQuantity.code: - -> kg",
            "removed note[0].text: a -> -",
            "added *: - -> -",
            "removed *: - -> -",
        ]
    );
    assert_eq!(found[4].resource.expose(), "Diagnosis: Asthma");
    assert_eq!(found[5].resource.expose(), "Diagnosis: Gout");
    assert!(!format!("{found:?}").contains("Gout"), "Debug shows no health data");
    assert!(changes(&documents.0, &documents.0).is_empty());
}

/// Whatever was published is told in as many sentences as it has resources, and nothing differs from itself.
#[test]
fn published_documents_are_told() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fhir");
    let corpus = env::var_os("GALEN_FHIR").map_or(beside, Into::into);
    if !corpus.is_dir() {
        assert!(env::var_os("GALEN_REQUIRE_FHIR").is_none_or(|value| value != "1"));
        return;
    }
    let mut vague = 0;
    for folder in ["us-core", "ips", "hl7-r4-examples", "wearable"] {
        for entry in fs::read_dir(corpus.join(folder)).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            let Ok(document) = Document::read(&bytes) else { continue };
            let told = sentences(&document);
            assert_eq!(told.len(), document.len());
            vague += told.iter().filter(|it| it.expose().contains("not said what")).count();
            assert!(changes(&document, &document).is_empty());
        }
    }
    assert!(vague < 40, "{vague} sentences say nothing");
}
