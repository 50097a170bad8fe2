//! One chart out of documents of several authors.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]
#![allow(clippy::print_stderr, reason = "a skipped test must say so")]

#[allow(dead_code, reason = "other tests need all of it")]
mod common;

use std::{collections::BTreeMap, env, fs, path::PathBuf, time::Instant};

use alloy_primitives::{Address, B256};
use common::{corpus, files};
use galen_fhir::{
    Document,
    chart::{
        Author, ChangeKind, Departed, ExportTerms, Ingredients, Line, NotShown, Origin,
        ReconciledChart, Section, SignatureState, Source, Standing,
    },
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// 2026-06-01.
const NOW: u64 = 1_780_272_000;
const DAY: u64 = 86_400;

const RXNORM: &str = "http://www.nlm.nih.gov/research/umls/rxnorm";
const SNOMED: &str = "http://snomed.info/sct";

/// A document: who wrote it, how many days ago the patient accepted it, its resources.
type Written = (&'static str, u64, Vec<Value>);

fn bundle(resources: &[Value]) -> Vec<u8> {
    let entries: Vec<Value> = resources.iter().map(|it| json!({"resource": it})).collect();
    json!({"resourceType": "Bundle", "type": "collection", "entry": entries}).to_string().into()
}

fn origin(author: &str, number: usize, entered: u64) -> Origin {
    Origin {
        record: B256::with_last_byte(u8::try_from(number).unwrap()).into(),
        version: B256::with_last_byte(u8::try_from(number).unwrap()).into(),
        author: Author {
            id: Address::with_last_byte(author.as_bytes()[0]),
            name: Some(author.to_owned()),
        },
        proposed: entered - 60,
        entered,
        state: "current",
        signature: SignatureState::InProposal,
    }
}

fn with_chart<T>(
    documents: &[Written],
    ingredients: &Ingredients,
    look: impl FnOnce(&ReconciledChart<'_>) -> T,
) -> T {
    let bytes: Vec<Vec<u8>> = documents.iter().map(|(_, _, all)| bundle(all)).collect();
    let read: Vec<Document<'_>> =
        bytes.iter().map(|bytes| Document::read(bytes).unwrap_or_else(|e| panic!("{e}"))).collect();
    let sources = read.iter().zip(documents).enumerate();
    let sources: Vec<Source<'_, '_>> = sources
        .map(|(at, (document, (author, ago, _)))| Source {
            document,
            origin: origin(author, at, NOW - ago * DAY),
        })
        .collect();
    look(&ReconciledChart::new(&sources, ingredients, NOW))
}

fn somebody() -> Value {
    json!({"display": "somebody"})
}

fn statement(code: &str, text: &str, status: &str, since: &str, dose: &str) -> Value {
    let mut made = json!({"resourceType": "MedicationStatement", "status": status, "subject": somebody(),
        "medicationCodeableConcept": {"coding": [{"system": RXNORM, "code": code}], "text": text},
        "effectivePeriod": {"start": since}});
    if code.is_empty() {
        made["medicationCodeableConcept"] = json!({"text": text});
    }
    if !dose.is_empty() {
        let value: Value = serde_json::from_str(dose).unwrap();
        made["dosage"] =
            json!([{"doseAndRate": [{"doseQuantity": {"value": value, "unit": "mg"}}]}]);
    }
    made
}

fn request(text: &str, status: &str, intent: &str, on: &str) -> Value {
    json!({"resourceType": "MedicationRequest", "status": status, "intent": intent, "subject": somebody(),
        "medicationCodeableConcept": {"text": text}, "authoredOn": on})
}

fn status(system: &str, code: &str) -> Value {
    let system = format!("http://terminology.hl7.org/CodeSystem/{system}");
    json!({"coding": [{"system": system, "code": code}]})
}

fn condition(code: &str, clinical: &str, verification: &str, onset: &str) -> Value {
    json!({"resourceType": "Condition", "subject": somebody(), "onsetDateTime": onset,
        "clinicalStatus": status("condition-clinical", clinical),
        "verificationStatus": status("condition-ver-status", verification),
        "code": {"coding": [{"system": SNOMED, "code": code, "display": code}]}})
}

fn allergy(system: &str, code: &str, text: &str, verification: &str, level: &str) -> Value {
    let mut made = json!({"resourceType": "AllergyIntolerance", "patient": somebody(),
        "clinicalStatus": status("allergyintolerance-clinical", "active"),
        "verificationStatus": status("allergyintolerance-verification", verification),
        "code": {"coding": [{"system": system, "code": code}], "text": text}});
    if code.is_empty() {
        made["code"] = json!({"text": text});
    }
    if !level.is_empty() {
        made["criticality"] = json!(level);
    }
    made
}

fn vaccine(code: &str, status: &str, on: &str) -> Value {
    json!({"resourceType": "Immunization", "status": status, "patient": somebody(), "occurrenceDateTime": on,
        "vaccineCode": {"coding": [{"system": "http://hl7.org/fhir/sid/cvx", "code": code, "display": code}]}})
}

/// `section name: standing since [details] {conflicts} by authors`.
fn shown(chart: &ReconciledChart<'_>, line: &Line) -> String {
    let conflicts: Vec<_> = line.conflicts.iter().map(|it| it.kind.as_str()).collect();
    let mut authors: Vec<_> =
        chart.origins_of(line).iter().map(|origin| origin.author.to_string()).collect();
    authors.dedup();
    format!(
        "{} {}: {} {} [{}] {{{}}} {}",
        line.section,
        line.what,
        line.standing.as_str(),
        line.since.as_deref().unwrap_or("-"),
        line.details.join("|"),
        conflicts.join(","),
        authors.join("+"),
    )
}

fn lines(documents: &[Written]) -> Vec<String> {
    let ingredients = ingredients();
    with_chart(documents, &ingredients, |chart| {
        chart.lines.iter().map(|line| shown(chart, line)).collect()
    })
}

fn ingredients() -> Ingredients {
    let mut table = Ingredients::default();
    let rows = format!(
        "# ours\n{RXNORM}\tbrand\tmetformin\n{RXNORM}\tgeneric\tmetformin\n{RXNORM}\tamox\tAmoxicillin\n"
    );
    table.extend_tsv(&rows).unwrap();
    table
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn agreement_and_conflict_are_told_apart() {
    let doc =
        |author: &'static str, ago: u64, all: &[Value]| -> Written { (author, ago, all.to_vec()) };
    let rows: Vec<(&str, Vec<Written>, Vec<&str>)> = vec![
        (
            "duplicates by code are joined, the dose as written",
            vec![
                doc("A", 9, &[statement("1", "Lisinopril", "active", "2020", "10.0")]),
                doc("B", 8, &[statement("1", "LISINOPRIL 10", "active", "2021-03", "10")]),
            ],
            vec!["medications LISINOPRIL 10: present 2020 [10 mg|10.0 mg] {} A+B"],
        ),
        (
            "another dose is a conflict, and it is taken all the same",
            vec![
                doc("A", 9, &[statement("1", "Lisinopril", "active", "2020", "10")]),
                doc("B", 8, &[statement("1", "Lisinopril", "active", "2021", "20")]),
            ],
            vec!["medications Lisinopril: present 2020 [10 mg|20 mg] {dose} A+B"],
        ),
        (
            "active at one, stopped at another",
            vec![
                doc("A", 9, &[statement("1", "Lisinopril", "active", "2020", "")]),
                doc("B", 8, &[statement("1", "Lisinopril", "stopped", "2021", "")]),
            ],
            vec!["medications Lisinopril: unclear 2020 [] {present-and-ended} A+B"],
        ),
        (
            "stopped at another before it was begun here",
            vec![
                doc("A", 9, &[statement("1", "Lisinopril", "active", "2026-05-30", "")]),
                doc("B", 800, &[statement("1", "Lisinopril", "stopped", "2010", "")]),
            ],
            vec!["medications Lisinopril: present 2026-05-30 [] {} B+A"],
        ),
        (
            "an author's earlier course, and a prescription that was used up, end nothing",
            vec![
                doc(
                    "A",
                    9,
                    &[
                        statement("1", "Lisinopril", "completed", "2019", ""),
                        statement("1", "Lisinopril", "active", "2020", ""),
                    ],
                ),
                doc("B", 8, &[request("lisinopril", "completed", "order", "2025-01-01")]),
            ],
            vec!["medications Lisinopril: present 2020 [] {} A+B"],
        ),
        (
            "a plan and a hold are neither, a period that is over ends",
            vec![doc(
                "A",
                9,
                &[
                    request("Aspirin", "active", "plan", "2025-01-01"),
                    request("Digoxin", "on-hold", "order", "2025-01-01"),
                    json!({"resourceType": "MedicationStatement", "status": "active", "subject": somebody(),
                    "medicationCodeableConcept": {"text": "Codeine"},
                    "effectivePeriod": {"start": "2025-01-01", "end": "2025-01-09"}}),
                    json!({"resourceType": "MedicationStatement", "status": "active", "subject": somebody(),
                    "medicationCodeableConcept": {"text": "Warfarin"}, "effectivePeriod": {"start": "2027"}}),
                ],
            )],
            vec![
                "medications Aspirin: unclear 2025-01-01 [] {} A",
                "medications Digoxin: unclear 2025-01-01 [] {} A",
                "medications Warfarin: unclear 2027 [] {} A",
                "medications Codeine: past 2025-01-01 [] {} A",
            ],
        ),
        (
            "not to be given, and given elsewhere",
            vec![
                doc("A", 9, &[request("Ibuprofen", "active", "order", "2025-01-01")]),
                doc(
                    "B",
                    8,
                    &[{
                        let mut no = request("ibuprofen", "active", "order", "2025-02-01");
                        no["doNotPerform"] = json!(true);
                        no
                    }],
                ),
            ],
            vec!["medications Ibuprofen: unclear 2025-01-01 [] {present-and-not} A+B"],
        ),
        (
            "a supply that lasts, one that is used up, one that says nothing",
            vec![doc(
                "A",
                9,
                &[
                    json!({"resourceType": "MedicationDispense", "status": "completed", "whenHandedOver": "2026-05-20",
                    "medicationCodeableConcept": {"text": "Ramipril"}, "daysSupply": {"value": 30}}),
                    json!({"resourceType": "MedicationDispense", "status": "completed", "whenHandedOver": "2026-03-01",
                    "medicationCodeableConcept": {"text": "Doxycycline"}, "daysSupply": {"value": 7}}),
                    json!({"resourceType": "MedicationDispense", "status": "completed",
                    "medicationCodeableConcept": {"text": "Ointment"}}),
                    json!({"resourceType": "MedicationAdministration", "status": "completed", "subject": somebody(),
                    "medicationCodeableConcept": {"text": "Contrast"}, "effectiveDateTime": "2026-05-31"}),
                ],
            )],
            vec![
                "medications Ramipril: present 2026-05-20 [] {} A",
                "medications Ointment: unclear - [] {} A",
                "medications Contrast: past 2026-05-31 [] {} A",
                "medications Doxycycline: past 2026-03-01 [] {} A",
            ],
        ),
        (
            "brand and generic by the site's table, and the allergy to it",
            vec![
                doc("A", 9, &[statement("brand", "Glucophage", "active", "2020", "500")]),
                doc(
                    "B",
                    8,
                    &[
                        statement("generic", "metformin hydrochloride", "active", "2022", "850"),
                        allergy(SNOMED, "372567009", "Metformin", "confirmed", ""),
                    ],
                ),
            ],
            vec![
                "medications metformin hydrochloride: present 2020 [500 mg|850 mg] {dose,allergy-to-medicine} A+B",
                "allergies Metformin: present - [] {allergy-to-medicine} B",
            ],
        ),
        (
            "one text, two codes of one system: apart; without a code: joined",
            vec![
                doc(
                    "A",
                    9,
                    &[
                        statement("1", "Insulin", "active", "2020", ""),
                        statement("2", "insulin", "active", "2021", ""),
                    ],
                ),
                doc(
                    "B",
                    9,
                    &[
                        statement("", "Paracetamol 500 mg", "active", "2021", ""),
                        statement("3", "paracetamol (500 mg)", "active", "2020", ""),
                    ],
                ),
            ],
            vec![
                "medications Insulin: present 2020 [] {} A",
                "medications insulin: present 2021 [] {} A",
                "medications paracetamol (500 mg): present 2020 [] {} B",
            ],
        ),
        (
            "references: in the document, contained, in another record of the author, nowhere",
            vec![
                doc(
                    "A",
                    9,
                    &[
                        json!({"resourceType": "Medication", "id": "m1", "code": {"text": "Enalapril"}}),
                        json!({"resourceType": "MedicationStatement", "status": "active", "subject": somebody(),
                        "medicationReference": {"reference": "Medication/m1"}}),
                        json!({"resourceType": "MedicationStatement", "status": "active", "subject": somebody(),
                        "contained": [{"resourceType": "Medication", "id": "c",
                            "ingredient": [{"itemCodeableConcept": {"text": "Amiloride"}}, {"itemCodeableConcept": {"text": "Furosemide"}}]}],
                        "medicationReference": {"reference": "#c"}}),
                    ],
                ),
                doc(
                    "A",
                    8,
                    &[
                        json!({"resourceType": "MedicationRequest", "status": "active", "intent": "order",
                    "subject": somebody(), "medicationReference": {"reference": "http://a.example/fhir/Medication/m1/_history/2"}}),
                    ],
                ),
                doc(
                    "B",
                    7,
                    &[
                        json!({"resourceType": "MedicationRequest", "status": "active", "intent": "order",
                    "subject": somebody(), "medicationReference": {"reference": "Medication/m1", "display": "a pill"}}),
                    ],
                ),
            ],
            vec![
                "medications a pill: present - [] {unresolved} B",
                "medications Amiloride + Furosemide: present - [] {} A",
                "medications Enalapril: present - [] {} A",
            ],
        ),
        (
            "problems: resolved elsewhere, refuted elsewhere, provisional, refuted by all",
            vec![
                doc(
                    "A",
                    9,
                    &[
                        condition("asthma", "active", "confirmed", "2001"),
                        condition("gout", "active", "confirmed", "2010"),
                        condition("angina", "active", "provisional", "2025"),
                        condition("lupus", "active", "refuted", "2025"),
                    ],
                ),
                doc(
                    "B",
                    8,
                    &[
                        condition("asthma", "resolved", "confirmed", "2001"),
                        condition("gout", "active", "refuted", "2012"),
                        condition("mumps", "resolved", "confirmed", "1980"),
                    ],
                ),
            ],
            vec![
                "problems angina: unclear 2025 [] {} A",
                "problems asthma: unclear 2001 [] {present-and-ended} A+B",
                "problems gout: unclear 2010 [] {present-and-ruled-out} A+B",
                "problems mumps: past 1980 [] {} B",
            ],
        ),
        (
            "no known allergies beside a listed one; one is ruled out elsewhere; criticality differs",
            vec![
                doc(
                    "A",
                    9,
                    &[
                        allergy(SNOMED, "716186003", "No known allergy", "confirmed", ""),
                        allergy(SNOMED, "91935009", "Allergy to peanut", "confirmed", "high"),
                    ],
                ),
                doc(
                    "B",
                    8,
                    &[
                        allergy(SNOMED, "91935009", "Peanut", "refuted", ""),
                        allergy("", "", "Latex", "unconfirmed", "low"),
                    ],
                ),
                doc("C", 7, &[allergy("", "", "LATEX", "confirmed", "high")]),
            ],
            vec![
                "allergies LATEX: present - [criticality high|criticality low] {criticality,listed-and-none} B+C",
                "allergies Allergy to peanut: unclear - [criticality high] {present-and-ruled-out,listed-and-none} A+B",
                "allergies No known allergy: absent - [] {listed-and-none,listed-and-none} A",
            ],
        ),
        (
            "no known drug allergy does not speak of fish; no information is no negation",
            vec![doc(
                "A",
                9,
                &[
                    allergy(SNOMED, "409137002", "No known drug allergy", "confirmed", ""),
                    {
                        let mut fish = allergy("", "", "Fish", "confirmed", "");
                        fish["category"] = json!(["food"]);
                        fish
                    },
                    allergy(
                        "http://hl7.org/fhir/uv/ips/CodeSystem/absent-unknown-uv-ips",
                        "no-allergy-info",
                        "Not asked",
                        "confirmed",
                        "",
                    ),
                ],
            )],
            vec![
                "allergies Fish: present - [] {} A",
                "allergies Not asked: unclear - [] {} A",
                "allergies No known drug allergy: absent - [] {} A",
            ],
        ),
        (
            "an allergy by name meets a medicine by name",
            vec![
                doc("A", 9, &[allergy("", "", "Allergy to penicillin", "confirmed", "")]),
                doc(
                    "B",
                    8,
                    &[
                        request(
                            "Penicillin V Potassium 250 MG Oral Tablet",
                            "active",
                            "order",
                            "2026-05-01",
                        ),
                        request("Penicillamine", "active", "order", "2026-05-01"),
                    ],
                ),
            ],
            vec![
                "medications Penicillamine: present 2026-05-01 [] {} B",
                "medications Penicillin V Potassium 250 MG Oral Tablet: present 2026-05-01 [] {allergy-to-medicine} B",
                "allergies Allergy to penicillin: present - [] {allergy-to-medicine} A",
            ],
        ),
        (
            "vaccines by day: a duplicate, another dose, one that was refused",
            vec![
                doc(
                    "A",
                    9,
                    &[
                        vaccine("140", "completed", "2024-10-01"),
                        vaccine("140", "completed", "2025-10-01T09:00:00Z"),
                    ],
                ),
                doc(
                    "B",
                    8,
                    &[
                        vaccine("140", "completed", "2025-10-01"),
                        vaccine("33", "not-done", "2025-01-01"),
                        vaccine("140", "not-done", "2024-10-01"),
                    ],
                ),
            ],
            vec![
                "immunizations 140: present 2025-10-01 [] {} A+B",
                "immunizations 140: unclear 2024-10-01 [] {present-and-not} A+B",
                "immunizations 33: absent 2025-01-01 [] {} B",
            ],
        ),
    ];
    for (name, documents, expected) in rows {
        assert_eq!(lines(&documents), expected, "{name}");
    }
}

/// The texts of what the chart holds, whatever order the documents came in.
fn all(chart: &ReconciledChart<'_>) -> Value {
    serde_json::to_value(chart).unwrap()
}

#[test]
fn copies_count_once_and_newer_states_replace() {
    let with_id = |mut resource: Value, id: &str| {
        resource["id"] = json!(id);
        resource
    };
    let old = with_id(statement("1", "Lisinopril", "active", "2020", "10"), "s1");
    let new = with_id(statement("1", "Lisinopril", "stopped", "2020", "10"), "s1");
    let wrong = with_id(condition("gout", "active", "confirmed", "2010"), "c1");
    let mut void = with_id(condition("gout", "active", "entered-in-error", "2010"), "c1");
    void.as_object_mut().unwrap().remove("clinicalStatus");
    let other = with_id(statement("2", "Ramipril", "active", "2020", ""), "s1");
    let documents: Vec<Written> = vec![
        ("A", 9, vec![old.clone(), wrong]),
        ("A", 8, vec![old]),
        ("A", 3, vec![new, void, condition("lupus", "active", "refuted", "2025")]),
        ("B", 3, vec![other.clone()]),
        ("B", 2, vec![other]),
    ];
    with_chart(&documents, &Ingredients::default(), |chart| {
        let shown: Vec<_> = chart.lines.iter().map(|line| shown(chart, line)).collect();
        assert_eq!(
            shown,
            [
                "medications Ramipril: present 2020 [] {} B",
                "medications Lisinopril: past 2020 [10 mg] {} A"
            ]
        );
        let copies: Vec<_> = chart.entries.iter().map(|entry| entry.origins.len()).collect();
        assert_eq!(copies, [1, 2]);
        let expected =
            [(NotShown::EnteredInError, 1), (NotShown::RuledOut, 1), (NotShown::Replaced, 2)];
        assert_eq!(chart.not_shown, BTreeMap::from(expected));
    });
}

#[test]
fn values_keep_their_text() {
    let dose = "1.0100e-1";
    let documents: Vec<Vec<u8>> = vec![
        br#"{"resourceType":"MedicationStatement","status":"active","subject":{"display":"x"},
        "medicationCodeableConcept":{"text":"A \u0026 <B>"},"effectiveDateTime":"2020-01-01T00:00:00.000+02:00",
        "dosage":[{"doseAndRate":[{"doseQuantity":{"value":1.0100e-1,"unit":"mg"}}],
        "timing":{"repeat":{"frequency":2,"period":1.0,"periodUnit":"d"}},"asNeededBoolean":true}]}"#
            .to_vec(),
    ];
    let document = Document::read(&documents[0]).unwrap();
    let source = Source { document: &document, origin: origin("A", 1, NOW - DAY) };
    let chart = ReconciledChart::new(&[source], &Ingredients::default(), NOW);
    let line = &chart.lines[0];
    assert_eq!(line.what, "A & <B>");
    assert_eq!(line.since.as_deref(), Some("2020-01-01T00:00:00.000+02:00"));
    assert_eq!(line.details, [format!("{dose} mg, 2 times in 1.0 d, as needed")]);
    let terms = ExportTerms { title: "Summary".to_owned(), made: NOW };
    for out in [chart.to_ips(&terms), chart.to_lists(&Section::ALL, &terms)] {
        let found = out.windows(documents[0].len()).filter(|part| *part == documents[0]).count();
        assert_eq!(found, 1, "the original is there once, byte for byte");
        let read = Document::read(&out).unwrap();
        assert!(read.len() >= 3);
    }
}

/// The documents of a chart some weeks ago, and those of today.
fn two_states() -> (Vec<Written>, Vec<Written>) {
    let id = |mut resource: Value, id: &str| {
        resource["id"] = json!(id);
        resource
    };
    let before: Vec<Written> = vec![
        (
            "A",
            40,
            vec![
                id(statement("1", "Lisinopril", "active", "2020", "10"), "s1"),
                id(statement("2", "Ramipril", "active", "2020", "5"), "s2"),
                id(condition("gout", "active", "confirmed", "2010"), "c1"),
            ],
        ),
        ("B", 35, vec![allergy("", "", "Latex", "confirmed", "")]),
        ("C", 30, vec![condition("asthma", "active", "confirmed", "2001")]),
    ];
    let now: Vec<Written> = vec![
        before[0].clone(),
        (
            "A",
            5,
            vec![
                id(statement("1", "Lisinopril", "stopped", "2020", "10"), "s1"),
                id(statement("2", "Ramipril", "active", "2020", "7.5"), "s2"),
                id(condition("gout", "active", "entered-in-error", "2010"), "c1"),
            ],
        ),
        ("C", 30, vec![condition("asthma", "active", "confirmed", "2001")]),
        ("C", 4, vec![statement("3", "Salbutamol", "active", "2026", "")]),
    ];
    (before, now)
}

#[test]
fn changes_name_who_and_when() {
    let (before, now) = two_states();
    let gone = Departed {
        record: B256::with_last_byte(1).into(),
        author: Author { id: Address::with_last_byte(b'B'), name: Some("B".to_owned()) },
        at: NOW - 3 * DAY,
    };
    let read = |all: &[Written]| all.iter().map(|(_, _, it)| bundle(it)).collect::<Vec<_>>();
    let (old_bytes, new_bytes) = (read(&before), read(&now));
    let documents = |bytes: &'static [Vec<u8>]| -> Vec<Document<'static>> {
        bytes.iter().map(|it| Document::read(it).unwrap()).collect()
    };
    let (old, new) = (documents(old_bytes.leak()), documents(new_bytes.leak()));
    let chart = |all: &[Written], documents: &[Document<'static>], at: u64| {
        let rows = documents.iter().zip(all).enumerate();
        let sources: Vec<_> = rows
            .map(|(number, (document, (author, ago, _)))| Source {
                document,
                origin: origin(author, number, NOW - ago * DAY),
            })
            .collect();
        ReconciledChart::new(&sources, &Ingredients::default(), at)
    };
    let was = chart(&before, &old, NOW - 20 * DAY);
    let is = chart(&now, &new, NOW);
    let changes = is.changes_since(&was, &[gone]);
    let told: Vec<_> = changes
        .iter()
        .map(|it| {
            let ago = it.when.map(|when| (NOW - when) / DAY);
            format!("{} {} by {} {:?}", it.kind.as_str(), it.what, it.by, ago)
        })
        .collect();
    assert_eq!(
        told,
        [
            "added Salbutamol by C Some(4)",
            "changed Ramipril by A Some(5)",
            "removed Lisinopril by A Some(5)",
            "removed gout by A Some(5)",
            "removed Latex by B Some(3)",
        ]
    );
    assert!(is.changes_since(&is, &[]).is_empty());
    assert_eq!(changes[2].kind, ChangeKind::Removed);
    let terms = ExportTerms { title: "Changes".to_owned(), made: NOW };
    let out = is.to_change_lists(&was, &changes, &Section::ALL, &terms);
    Document::read(&out).unwrap();
    if let Some(folder) = out_folder() {
        fs::write(folder.join("changes.list.json"), &out).unwrap();
    }
    let out: Value = serde_json::from_slice(&out).unwrap();
    let list = |at: usize| &out["entry"][at]["resource"];
    let flags = |at: usize| -> Vec<String> {
        let entries = list(at)["entry"].as_array().unwrap().iter();
        entries.map(|it| format!("{} {}", it["flag"]["text"], it["deleted"])).collect()
    };
    assert_eq!(flags(0), ["\"added\" null", "\"changed\" null", "\"removed\" true"]);
    assert_eq!(flags(1), ["\"removed\" true"]);
    assert_eq!(list(0)["mode"], "changes");
    assert_eq!(list(3)["emptyReason"]["coding"][0]["code"], "unavailable");
}

#[test]
fn an_empty_chart_claims_nothing() {
    let chart = ReconciledChart::new(&[], &Ingredients::default(), NOW);
    let terms = ExportTerms { title: "Summary".to_owned(), made: NOW };
    let out = chart.to_ips(&terms);
    let read: Value = serde_json::from_slice(&out).unwrap();
    Document::read(&out).unwrap();
    let sections = read["entry"][0]["resource"]["section"].as_array().unwrap();
    let codes: Vec<_> = sections.iter().map(|it| &it["code"]["coding"][0]["code"]).collect();
    assert_eq!(codes, ["10160-0", "11450-4", "48765-2"]);
    assert!(sections.iter().all(|it| it["emptyReason"].is_object() && it.get("entry").is_none()));
}

#[test]
fn ingredient_tables_are_read_strictly() {
    let mut table = Ingredients::default();
    for (text, line) in [("a\tb", 1), ("# x\n\na\tb\t", 3), ("a\tb\tc\td", 1), ("a b c", 1)] {
        let error = table.extend_tsv(text).unwrap_err();
        assert!(error.to_string().starts_with(&format!("line {line} ")), "{text:?}: {error}");
    }
    let written = json!({"file": "x.tsv", "rows": [[RXNORM, "1", "a"], [RXNORM, "1", "b"]]});
    let table: Ingredients = serde_json::from_value(written).unwrap();
    assert_eq!((table.len(), table.file()), (2, Some("x.tsv")));
    assert!(serde_json::from_value::<Ingredients>(json!({"row": []})).is_err());
}

fn resources() -> impl Strategy<Value = Value> {
    let text = prop::sample::select(vec![
        "Aspirin",
        "aspirin",
        "ASS 100",
        "Ibuprofen",
        "No known medications",
    ]);
    let code = prop::sample::select(vec!["", "1", "2", "brand", "generic"]);
    let state =
        prop::sample::select(vec!["active", "stopped", "completed", "on-hold", "entered-in-error"]);
    let since = prop::sample::select(vec!["2019", "2020-05", "2021-01-01", "2030"]);
    let dose = prop::sample::select(vec!["", "1", "1.0", "2.50"]);
    let medicine = (code, text, state, since, dose)
        .prop_map(|(code, text, state, since, dose)| statement(code, text, state, since, dose));
    let verified =
        prop::sample::select(vec!["confirmed", "refuted", "entered-in-error", "unconfirmed"]);
    let allergies =
        (verified, prop::sample::select(vec!["Aspirin", "Latex", "no known allergies"]))
            .prop_map(|(verified, text)| allergy("", "", text, verified, ""));
    let problem = (
        prop::sample::select(vec!["gout", "asthma"]),
        prop::sample::select(vec!["active", "resolved"]),
        prop::sample::select(vec!["confirmed", "refuted", "provisional"]),
    )
        .prop_map(|(code, clinical, verified)| condition(code, clinical, verified, "2015"));
    let vaccines = (
        prop::sample::select(vec!["33", "140"]),
        prop::sample::select(vec!["completed", "not-done"]),
        prop::sample::select(vec!["2024-10-01", "2025-10"]),
    )
        .prop_map(|(code, state, on)| vaccine(code, state, on));
    let any = prop_oneof![4 => medicine, 2 => allergies, 2 => problem, 1 => vaccines];
    (any, prop::option::of(0..3_u8)).prop_map(|(mut resource, id)| {
        if let Some(id) = id {
            resource["id"] = json!(format!("i{id}"));
        }
        resource
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever order the documents come in, the chart is the same, and every resource is in a line, counted as
    /// not shown, or a copy.
    #[test]
    fn order_does_not_matter_and_nothing_is_lost(
        documents in prop::collection::vec(
            (prop::sample::select(vec!["A", "B", "C"]), 1_u64..9, prop::collection::vec(resources(), 1..5)),
            1..6,
        ),
        rotate in 0..6_usize,
    ) {
        let bytes: Vec<Vec<u8>> = documents.iter().map(|(_, _, all)| bundle(all)).collect();
        let read: Vec<Document<'_>> = bytes.iter().map(|bytes| Document::read(bytes).unwrap()).collect();
        let rows = read.iter().zip(&documents).enumerate();
        let mut sources: Vec<Source<'_, '_>> = rows.map(|(at, (document, (author, ago, _)))| {
            Source { document, origin: origin(author, at, NOW - ago * DAY) }
        }).collect();
        let table = ingredients();
        let first = ReconciledChart::new(&sources, &table, NOW);
        sources.rotate_left(rotate % documents.len());
        sources.reverse();
        prop_assert_eq!(all(&first), all(&ReconciledChart::new(&sources, &table, NOW)));

        let mut distinct = std::collections::BTreeSet::new();
        for (author, _, resources) in &documents {
            distinct.extend(resources.iter().map(|it| (*author, it.to_string())));
        }
        let hidden: usize = first.not_shown.values().sum();
        prop_assert_eq!(first.entries.len() + hidden, distinct.len());
        let mut listed: Vec<usize> = first.lines.iter().flat_map(|line| line.entries.clone()).collect();
        listed.sort_unstable();
        prop_assert_eq!(listed, (0..first.entries.len()).collect::<Vec<_>>());
        prop_assert!(first.entries.is_sorted_by_key(|entry| entry.entered));

        // Nothing refuted or entered in error is present, and an export names every line that is.
        for line in first.lines.iter().filter(|line| line.standing == Standing::Present) {
            let counts = |at: &usize| {
                let status = &first.entries[*at].status;
                !status.contains("refuted") && !status.contains("error")
            };
            prop_assert!(line.entries.iter().any(counts));
        }
        let terms = ExportTerms { title: "Summary".to_owned(), made: NOW };
        for out in [first.to_ips(&terms), first.to_lists(&Section::ALL, &terms)] {
            prop_assert!(Document::read(&out).is_ok());
        }
    }
}

/// Where exports are written for `tests/oracles/python/chart.py`, if they are.
fn out_folder() -> Option<PathBuf> {
    let folder = PathBuf::from(env::var_os("GALEN_CHART_OUT")?);
    fs::create_dir_all(&folder).unwrap();
    Some(folder)
}

/// Every document of other people reconciles, keeps each resource, and gives exports that the reader accepts.
#[test]
fn documents_of_others_reconcile() {
    let Some(corpus) = corpus() else { return };
    let out = out_folder();
    let mut figures = Vec::new();
    for folder in ["synthea", "synthea-hiv", "ips", "hl7-r4-examples"] {
        for (file, bytes) in files(&corpus.join(folder)) {
            let started = Instant::now();
            let document = Document::read(&bytes).unwrap();
            let read = started.elapsed();
            let source = Source { document: &document, origin: origin("A", 1, NOW - DAY) };
            let chart = ReconciledChart::new(&[source], &Ingredients::default(), NOW);
            let took = started.elapsed();
            if bytes.len() > 10_000_000 {
                eprintln!("{} bytes: read {read:?}, with the chart {took:?}", bytes.len());
            }
            let name = format!("{folder}-{}", file.trim_end_matches(".json"));
            let terms = ExportTerms { title: "Summary".to_owned(), made: NOW };
            let exports =
                [("ips", chart.to_ips(&terms)), ("list", chart.to_lists(&Section::ALL, &terms))];
            for (kind, export) in exports {
                let read = Document::read(&export);
                assert!(read.is_ok(), "{name} {kind}: {}", read.err().unwrap());
                if let Some(out) = &out {
                    fs::write(out.join(format!("{name}.{kind}.json")), export).unwrap();
                }
            }
            let count = |section, standing: Standing| {
                chart.section(section).filter(|line| line.standing == standing).count()
            };
            figures.push(json!({"file": corpus.join(folder).join(&file), "name": name,
                "entries": chart.entries.len(), "notShown": chart.not_shown.values().sum::<usize>(),
                "medications": count(Section::Medications, Standing::Present),
                "medicationsUnclear": count(Section::Medications, Standing::Unclear),
                "problems": count(Section::Problems, Standing::Present)}));
        }
    }
    assert!(figures.len() > 80, "only {} documents", figures.len());
    if let Some(out) = out {
        fs::write(out.join("figures.json"), Value::from(figures).to_string()).unwrap();
    }
}
