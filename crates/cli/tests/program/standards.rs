//! What a chart says of itself in FHIR's words, through the program.

use std::{collections::BTreeMap, path::Path};

use galen_fhir::Document;
use serde_json::Value;

use crate::{
    common::{CANARY, at, condition, items, mode},
    twin::{Twin, observation_line},
    world::{Person, World},
};

/// A hospital, a patient with a chart, and a physician of the same network.
struct Cast {
    world: World,
    hospital: Person,
    patient: Person,
    physician: Person,
}

impl Cast {
    fn gather() -> Self {
        let world = World::start();
        let [hospital, physician] = world.members(["hospital", "physician"]);
        let patient = world.guest("patient", "patient", &hospital);
        patient.trust_the_head();
        world.meet(&patient, &physician, &["--as", "physician", "--verified"]);
        world.introduce(&patient, &hospital, "anna");
        world.meet(&physician, &patient, &["--as", "anna"]);
        Self { world, hospital, patient, physician }
    }

    /// Two records, one of them amended, read once by the physician.
    fn chart(&self) {
        let coverage = r#"{"resourceType":"Coverage","status":"active","beneficiary":{"display":"somebody"},"payor":[{"display":"an insurer"}]}"#;
        let first = condition(&format!("{CANARY} first"));
        let bundle = format!(
            r#"{{"resourceType":"Bundle","type":"collection","entry":[{{"resource":{first}}},{{"resource":{coverage}}}]}}"#
        );
        let input = self.world.write("first.json", &bundle);
        self.hospital.ok(&["record", "propose", "--to", "anna", &input]);
        self.patient.ok(&["record", "accept", "--all"]);
        let amended = self.world.write("amended.json", &condition(&format!("{CANARY} second")));
        let record = self.problems();
        self.hospital.ok(&["record", "amend", &record, &amended, "--to", "anna"]);
        self.patient.ok(&["record", "accept", "--all"]);
        let grant = ["consent", "grant", "--to", "physician", "--category", "problems"];
        let granted =
            self.patient.json(&[&grant[..], &["--purpose", "TREAT", "--for", "30d"]].concat());
        self.physician.ok(&["grant", "add", at(&granted, "/grant")]);
        let out = self.world.path("read");
        self.physician.ok(&["access", "anna", "--purpose", "TREAT", "--out", &out]);
        self.patient.ok(&["record", "reseal"]);
    }

    fn problems(&self) -> String {
        let list = self.patient.json(&["record", "list", "--category", "problems"]);
        at(&items(&list, "/records")[0], "/id").to_owned()
    }
}

/// Resources of an NDJSON file, each accepted by the strict reader.
fn ndjson(path: &Path) -> Vec<Value> {
    assert_eq!(mode(path), 0o600);
    let text = std::fs::read_to_string(path).unwrap();
    assert!(!text.contains(CANARY), "{} says what a record says", path.display());
    let accepted = |line: &str| {
        Document::read(line.as_bytes()).unwrap_or_else(|error| panic!("{error}: {line}"));
        serde_json::from_str(line).unwrap()
    };
    text.lines().map(accepted).collect()
}

#[test]
fn a_chart_is_exported_as_fhir() {
    let cast = Cast::gather();
    cast.chart();
    let (world, patient) = (&cast.world, &cast.patient);
    let folder = world.file("fhir");
    let written = patient.json(&["fhir", "export", "--open", "--out", folder.to_str().unwrap()]);
    let counts: BTreeMap<&str, u64> = items(&written, "/files")
        .iter()
        .map(|it| (at(it, "/file").rsplit('/').next().unwrap(), it["resources"].as_u64().unwrap()))
        .collect();

    let made = ndjson(&folder.join("Provenance.ndjson"));
    let replaced = at(&made[0], "/id").to_owned();
    assert_eq!((made.len() as u64, made.len()), (counts["Provenance.ndjson"], 3));
    for resource in &made {
        assert_eq!(at(resource, "/agent/0/who/display"), "hospital");
        assert_eq!(at(resource, "/agent/0/who/type"), "Organization");
        assert_eq!(at(resource, "/agent/2/who/type"), "Patient");
        let signature = at(resource, "/signature/0/data");
        assert!(!signature.is_empty());
        // The proposal's, and where the version stands the document's.
        let stands = at(resource, "/id") != replaced;
        assert_eq!(items(resource, "/signature").len(), 1 + usize::from(stands));
    }
    let codes: Vec<&str> = made.iter().map(|it| at(it, "/activity/coding/0/code")).collect();
    assert_eq!(codes, ["CREATE", "CREATE", "UPDATE"]);

    let documents = ndjson(&folder.join("DocumentReference.ndjson"));
    let states: Vec<&str> = documents.iter().map(|it| at(it, "/status")).collect();
    assert_eq!(states, ["superseded", "current", "current"]);
    assert_eq!(at(&documents[2], "/content/0/format/code"), "application/fhir+json");
    let targets: Vec<&str> = made.iter().map(|it| at(it, "/target/0/identifier/value")).collect();
    let masters: Vec<&str> = documents.iter().map(|it| at(it, "/masterIdentifier/value")).collect();
    assert_eq!(targets, masters);

    // Each read is one disclosure; with its decision, events are entries and reads together.
    let events = ndjson(&folder.join("AuditEvent.ndjson"));
    let audit = patient.json(&["audit"]);
    let reads = audit["accesses"].as_u64().unwrap();
    let entries = items(&audit, "/entries").len() as u64;
    assert_eq!((events.len() as u64, reads), (entries + 1, 1));
    let disclosed = events.iter().find(|it| at(it, "/type/code") == "110106").unwrap();
    assert_eq!(at(disclosed, "/agent/1/who/display"), "physician");
    assert_eq!(at(disclosed, "/purposeOfEvent/0/coding/0/code"), "TREAT");
    let accessed = items(&audit, "/entries").iter().find(|it| at(it, "/what") == "accessed");
    let transaction = at(accessed.unwrap(), "/at/transaction");
    assert_eq!(at(disclosed, "/entity/1/detail/1/valueString"), transaction);

    for_the_oracles(patient, &folder);
}

#[test]
fn what_is_pulled_becomes_records_and_what_they_say_is_pushed() {
    let (cast, twin) = (Cast::gather(), Twin::start().with_patient(4));
    let (world, patient) = (&cast.world, &cast.patient);
    let pulled = world.path("pulled.json");
    let pull = ["fhir", "pull", "--server", &twin.url, "--patient", "anna", "--out", &pulled];
    cast.hospital.ok(&pull);
    cast.hospital.ok(&["record", "propose", "--to", "anna", &pulled]);
    patient.ok(&["record", "accept", "--all"]);
    let list = patient.json(&["record", "list", "--category", "laboratory"]);
    let record = at(&items(&list, "/records")[0], "/id").to_owned();
    let document = patient.ok(&["record", "get", &record]).stdout;
    for n in 0..4 {
        assert!(document.contains(&observation_line(n)), "{n}: {document}");
    }

    let out = world.path("made.ndjson");
    patient.ok(&["fhir", "export", &record, "--what", "provenance,documents", "--out", &out]);
    let lines = std::fs::read_to_string(&out).unwrap();
    assert_eq!(lines.lines().count(), 2, "one record was asked for");
    let pushed = patient.json(&["fhir", "push", "--server", &twin.url, &out]);
    assert_eq!((pushed["sent"].as_u64(), pushed["refused"].as_u64()), (Some(2), Some(0)));
    for line in lines.lines() {
        let resource: Value = serde_json::from_str(line).unwrap();
        let key = format!("{}/{}", at(&resource, "/resourceType"), at(&resource, "/id"));
        assert_eq!(twin.kept(&key).as_deref(), Some(line));
    }
}

/// What the program wrote goes to a real FHIR server, and is kept for the check by a library of others.
fn for_the_oracles(patient: &Person, folder: &Path) {
    if let (Ok(server), Ok(token)) =
        (std::env::var("GALEN_FHIR_SERVER"), std::env::var("GALEN_FHIR_TOKEN_FILE"))
    {
        let push = ["fhir", "push", "--server", &server, "--token-file", &token];
        let pushed = patient.json(&[&push[..], &[folder.to_str().unwrap()]].concat());
        assert_eq!(pushed["refused"], 0, "{pushed:#}");
    }
    let Some(out) = std::env::var_os("GALEN_FHIR_OUT") else { return };
    std::fs::create_dir_all(&out).unwrap();
    for name in ["Provenance", "AuditEvent", "DocumentReference"] {
        let file = format!("{name}.ndjson");
        std::fs::copy(folder.join(&file), Path::new(&out).join(&file)).unwrap();
    }
}
