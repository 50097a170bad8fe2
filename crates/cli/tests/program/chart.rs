//! One chart over two hospitals, by commands alone.

use galen_fhir::Document;
use serde_json::{Value, json};

use crate::{
    common::{at, items, mode},
    world::{Person, World},
};

const RXNORM: &str = "http://www.nlm.nih.gov/research/umls/rxnorm";

fn medicine(id: &str, code: &str, text: &str, status: &str, dose: &str) -> Value {
    let dose: Value = serde_json::from_str(dose).unwrap();
    json!({"resourceType": "MedicationStatement", "id": id, "status": status, "subject": {"display": "somebody"},
        "medicationCodeableConcept": {"coding": [{"system": RXNORM, "code": code}], "text": text},
        "effectivePeriod": {"start": "2020-02"},
        "dosage": [{"doseAndRate": [{"doseQuantity": {"value": dose, "unit": "mg"}}]}]})
}

fn allergy(text: &str, verified: &str) -> Value {
    let status = |system: &str, code: &str| {
        let system = format!("http://terminology.hl7.org/CodeSystem/allergyintolerance-{system}");
        json!({"coding": [{"system": system, "code": code}]})
    };
    json!({"resourceType": "AllergyIntolerance", "patient": {"display": "somebody"}, "code": {"text": text},
        "clinicalStatus": status("clinical", "active"), "verificationStatus": status("verification", verified)})
}

fn bundle(resources: &[Value]) -> String {
    let entries: Vec<Value> = resources.iter().map(|it| json!({"resource": it})).collect();
    json!({"resourceType": "Bundle", "type": "collection", "entry": entries}).to_string()
}

/// Two hospitals, and a patient with a profile for each.
struct Town {
    world: World,
    north: Person,
    south: Person,
    patient: Person,
}

impl Town {
    fn found() -> Self {
        let world = World::start();
        let [north, south] = world.members(["north", "south"]);
        let patient = world.guest("patient", "patient", &north);
        let south_card = world.card(&south);
        let second = patient.json(&[
            "init",
            "--profile",
            "second",
            "--role",
            "patient",
            "--name",
            "patient",
            "--sibling-of",
            "default",
            "--from",
            &south_card,
            "--as",
            "south",
            "--no-publish",
        ]);
        world.fund(at(&second, "/id").parse().unwrap());
        patient.ok(&["init", "--profile", "second", "--from", &south_card, "--as", "south"]);
        patient.trust_the_head();
        let town = Self { world, north, south, patient };
        town.introduce(&town.north, "north", "default");
        town.introduce(&town.south, "south", "second");
        town
    }

    fn introduce(&self, hospital: &Person, name: &str, profile: &str) {
        let (card, letter) =
            (self.world.path(&format!("{name}-card")), self.world.path(&format!("{name}-letter")));
        self.patient.ok(&["contact", "introduce", name, "--out", &letter, "--profile", profile]);
        self.patient.ok(&["contact", "card", "--out", &card, "--profile", profile]);
        hospital.ok(&["contact", "add", &card, "--as", "anna"]);
        hospital.ok(&["contact", "add", &letter]);
    }

    fn record(&self, hospital: &Person, profile: &str, resources: &[Value]) {
        let input = self.world.write("input.json", &bundle(resources));
        hospital.ok(&["record", "propose", "--to", "anna", &input]);
        self.patient.ok(&["record", "accept", "--all", "--profile", profile]);
        // What is entered in one second has no order.
        std::thread::sleep(std::time::Duration::from_millis(1_100));
    }
}

#[test]
fn two_hospitals_make_one_chart() {
    let town = Town::found();
    let patient = &town.patient;
    town.record(
        &town.north,
        "default",
        &[
            medicine("m1", "861007", "Metformin 500 mg", "active", "500.0"),
            medicine("m2", "29046", "Lisinopril", "active", "10"),
            allergy("Penicillin", "confirmed"),
            json!({"resourceType": "Patient", "id": "p", "name": [{"text": "Somebody"}]}),
        ],
    );
    town.record(&town.south, "second", &[
        medicine("x1", "6809", "metformin", "active", "850"),
        medicine("x2", "29046", "Lisinopril 10", "stopped", "10"),
        allergy("penicillin", "refuted"),
        json!({"resourceType": "Condition", "subject": {"display": "somebody"}, "code": {"text": "Asthma"},
            "clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]}}),
    ]);

    // One profile alone knows nothing of the other hospital.
    let alone = patient.json(&["chart"]);
    assert_eq!(items(&alone, "/lines").len(), 3, "{alone:#}");
    assert!(items(&alone, "/lines").iter().all(|line| items(line, "/conflicts").is_empty()));

    let cells = patient.ok(&["chart", "--with", "second"]).cells();
    let shown: Vec<Vec<&str>> = cells
        .iter()
        .map(|row| [0, 1, 2, 3, 5, 6, 7, 10].map(|at| row[at].as_str()).to_vec())
        .collect();
    let by = "by-parts";
    let expected = [
        ["medications", "present", "metformin", "2020-02", "850 mg", "-", "south", by],
        ["medications", "present", "Metformin 500 mg", "2020-02", "500.0 mg", "-", "north", by],
        [
            "medications",
            "unclear",
            "Lisinopril",
            "2020-02",
            "10 mg",
            "present-and-ended",
            "north,south",
            by,
        ],
        ["problems", "present", "Asthma", "-", "-", "-", "south", by],
        [
            "allergies",
            "unclear",
            "Penicillin",
            "-",
            "-",
            "present-and-ruled-out",
            "north,south",
            by,
        ],
    ];
    assert_eq!(shown, expected);
    joined_by_the_site(&town);
    changes_and_times(&town);
    exports(&town);
    refusals(&town);
}

/// The site's table says that the two are one medicine.
fn joined_by_the_site(town: &Town) {
    let rows = format!("# ours\n{RXNORM}\t861007\tmetformin\n{RXNORM}\t6809\tmetformin\n");
    town.world.write("ingredients.tsv", &rows);
    let site = town.world.write("site.toml", "[ingredients]\nfile = \"ingredients.tsv\"\n");
    let chart = town.patient.json(&[
        "chart",
        "--with",
        "second",
        "--section",
        "medications",
        "--site",
        &site,
    ]);
    let lines = items(&chart, "/lines");
    assert_eq!(lines.len(), 2, "{chart:#}");
    assert_eq!(at(&lines[0], "/conflicts/0/kind"), "dose");
    assert_eq!(lines[0]["details"], json!(["500.0 mg", "850 mg"]));
    assert_eq!(items(&chart, "/patients").len(), 2);
    town.world.write("ingredients.tsv", "no table");
    town.patient.fails(2, "line 1 is not system, code and ingredient", &["chart", "--site", &site]);
}

fn changes_and_times(town: &Town) {
    let patient = &town.patient;
    let chart = patient.json(&["chart"]);
    let entered =
        items(&chart, "/origins").iter().map(|it| it["entered"].as_u64().unwrap()).max().unwrap();
    // The chain's clock has seconds: the next block must be a later one.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let list = patient.json(&["record", "list", "--category", "medications"]);
    let record = at(&list, "/records/0/id").to_owned();
    let input = town
        .world
        .write("amended.json", &bundle(&[medicine("m2", "29046", "Lisinopril", "active", "5")]));
    town.north.ok(&["record", "amend", &record, &input, "--to", "anna"]);
    let waiting = patient.run(&["chart"]);
    assert!(
        waiting.stderr.contains("1 proposed records that wait for your answer"),
        "{}",
        waiting.stderr
    );
    patient.ok(&["record", "accept", "--all"]);

    let then = instant(entered);
    let changed = patient.ok(&["chart", "--changes-since", &then]).cells();
    let shown: Vec<Vec<&str>> =
        changed.iter().map(|row| row[..6].iter().map(String::as_str).collect()).collect();
    assert_eq!(
        shown,
        [
            ["changed", "medications", "Lisinopril", "present", "present", "north"].to_vec(),
            ["removed", "medications", "Metformin 500 mg", "present", "-", "north"].to_vec(),
        ]
    );
    let before = patient.json(&["chart", "--at", &then]);
    let what = |chart: &Value| -> Vec<String> {
        items(chart, "/lines").iter().map(|it| at(it, "/what").to_owned()).collect()
    };
    assert_eq!(what(&before), ["Lisinopril", "Metformin 500 mg", "Penicillin"]);
    assert_eq!(what(&patient.json(&["chart"])), ["Lisinopril", "Penicillin"]);
    assert!(what(&patient.json(&["chart", "--at", "2020-01-01"])).is_empty());
    let list = town.world.path("changes.json");
    patient.ok(&["chart", "--changes-since", &then, "--list", &list]);
    let written = std::fs::read(&list).unwrap();
    Document::read(&written).unwrap();
    let written: Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(at(&written, "/entry/0/resource/mode"), "changes");
    let deleted =
        items(&written, "/entry/0/resource/entry").iter().filter(|it| it["deleted"] == true);
    assert_eq!(deleted.count(), 1);
}

fn exports(town: &Town) {
    let (ips, list) = (town.world.path("ips.json"), town.world.path("list.json"));
    let both = ["chart", "--with", "second", "--ips", &ips, "--list", &list];
    assert_eq!(items(&town.patient.json(&both), "/files").len(), 2);
    for file in [&ips, &list] {
        let bytes = std::fs::read(file).unwrap();
        Document::read(&bytes).unwrap();
        assert_eq!(mode(file), 0o600);
    }
    let read: Value = serde_json::from_slice(&std::fs::read(&ips).unwrap()).unwrap();
    let patients =
        items(&read, "/entry").iter().filter(|it| it["resource"]["resourceType"] == "Patient");
    assert_eq!(patients.count(), 1, "the one that a record names");
    assert_eq!(at(&read, "/entry/0/resource/subject/reference"), at(&read, "/entry/1/fullUrl"));
    town.patient.fails(2, "exists", &["chart", "--ips", &ips]);
    town.patient.ok(&["chart", "--ips", &ips, "--force"]);
    // Entries are in the order in which they were entered.
    let entries = town.patient.ok(&["chart", "--with", "second", "--entries"]).cells();
    assert!(entries.is_sorted_by_key(|row| row[0].clone()));
    assert_eq!(entries.len(), 6);
}

fn refusals(town: &Town) {
    let patient = &town.patient;
    patient.fails(2, "nobody knows yet", &["chart", "--at", "2400-01-01"]);
    patient.fails(
        2,
        "from an earlier time",
        &["chart", "--at", "2020-01-01", "--changes-since", "2021-01-01"],
    );
    patient.fails(3, "there is no profile none", &["chart", "--with", "none"]);
    town.north.fails(2, "for an organization, the command for a patient", &["chart"]);
    // What does not open is told, and the rest is shown.
    let chart = patient.json(&["chart"]);
    let store = town.world.file("store");
    let list = patient.json(&["record", "list", "--category", "allergies"]);
    let content = at(&list, "/records/0/contents/0").to_owned();
    remove(&store, content.split(':').nth(1).unwrap());
    let said = patient.run(&["chart", "--json"]);
    assert_ne!(said.code, 0);
    let holed: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(items(&holed, "/missing").len(), 1);
    assert_eq!(items(&holed, "/lines").len(), items(&chart, "/lines").len() - 1);
    assert!(said.stderr.contains("is missing from the chart"), "{}", said.stderr);
}

/// Removes the files of one content.
fn remove(folder: &std::path::Path, name: &str) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            remove(&path, name);
        } else if path.to_str().unwrap().contains(name) {
            std::fs::remove_file(path).unwrap();
        }
    }
}

/// A Unix second as the program reads it.
fn instant(unix: u64) -> String {
    let said = std::process::Command::new("date")
        .args(["-u", "-d", &format!("@{unix}"), "+%Y-%m-%dT%H:%M:%SZ"])
        .output()
        .unwrap();
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}
