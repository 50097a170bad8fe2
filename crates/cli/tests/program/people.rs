//! The story of the demo, told by people at their own machines: one process for each command, one folder
//! for each person, a chain that another process serves, and a store that they share.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    bee::Bee,
    common::{CANARY, at, bundle, files, items, mode},
    frame::Fault,
    world::{Person, World},
};

/// Hospital, patient, insurer and physician, who know each other.
struct Cast {
    world: World,
    hospital: Person,
    patient: Person,
    insurer: Person,
    physician: Person,
}

impl Cast {
    fn gather() -> Self {
        let world = World::start();
        let [hospital, physician] = world.members(["hospital", "physician"]);
        let [patient, insurer] = [("patient", "patient"), ("insurer", "reader")]
            .map(|(name, role)| world.guest(name, role, &hospital));
        for person in [&patient, &insurer] {
            person.trust_the_head();
        }
        for reader in [&insurer, &physician] {
            world.meet(&patient, reader, &["--as", &reader.name, "--verified"]);
            world.meet(reader, &patient, &["--as", "anna"]);
        }
        world.introduce(&patient, &hospital, "anna");
        world.meet(&hospital, &patient, &["--as", "anna", "--mrn", "12345"]);
        Self { world, hospital, patient, insurer, physician }
    }

    fn person(&self, name: &str) -> &Person {
        match name {
            "hospital" => &self.hospital,
            "patient" => &self.patient,
            _ => &self.insurer,
        }
    }

    /// A proposal of two records, accepted; gives the ids of the two, Condition first.
    fn records(&self) -> (String, String) {
        let input = self.world.write("discharge.json", &bundle("first"));
        self.hospital.ok(&["record", "propose", "--to", "anna", &input]);
        self.patient.ok(&["record", "accept", "--all"]);
        let list = self.patient.json(&["record", "list"]);
        let of = |category: &str| {
            let found = items(&list, "/records").iter().find(|it| at(it, "/category") == category);
            at(found.unwrap(), "/id").to_owned()
        };
        (of("problems"), of("billing"))
    }
}

#[test]
fn people_tell_the_whole_story_by_commands() {
    let cast = Cast::gather();
    let (hospital, patient) = (&cast.hospital, &cast.patient);
    propose_and_accept(&cast);
    let (problems, billing) = {
        let list = patient.json(&["record", "list", "--state", "current"]);
        let records = items(&list, "/records");
        assert_eq!(records.len(), 2, "{list:#}");
        let of = |name| {
            at(records.iter().find(|it| at(it, "/category") == name).unwrap(), "/id").to_owned()
        };
        (of("problems"), of("billing"))
    };
    amend(&cast, &problems);
    let grant = grant_and_read(&cast, &problems, &billing);

    let resealed = patient.json(&["record", "reseal"]);
    let moved = items(&resealed, "/records");
    assert_eq!(moved.len(), 1);
    assert_ne!(at(&moved[0], "/before"), at(&moved[0], "/after"));
    assert!(items(&patient.json(&["record", "reseal"]), "/records").is_empty());

    let consents = patient.json(&["consent", "list"]);
    let live = &items(&consents, "/consents")[0];
    assert_eq!(
        (at(live, "/id"), at(live, "/state"), live["uses"].as_u64()),
        (grant.as_str(), "live", Some(1))
    );
    patient.ok(&["consent", "revoke", &grant[..12]]);
    cast.insurer.fails(4, "refused", &["access", "anna", "--purpose", "HPAYMT"]);
    assert_eq!(at(&cast.insurer.json(&["grant", "list"]), "/grants/0/state"), "revoked");

    too_late_and_not_a_member(&cast, &problems);
    presets(&cast);
    ask(&cast);
    retract(&cast, &billing);
    audit(&cast);
    let log = cast.insurer.json(&["access", "log"]);
    assert_eq!(items(&log, "/accesses").len(), 1);
    assert_eq!(at(&log, "/accesses/0/patient/name"), "anna");
    assert_eq!(items(&hospital.json(&["access", "log"]), "/accesses").len(), 0);
}

fn propose_and_accept(cast: &Cast) {
    let (world, hospital, patient) = (&cast.world, &cast.hospital, &cast.patient);
    std::fs::create_dir(world.file("export")).unwrap();
    world.write("export/good.json", &bundle("first"));
    world.write("export/bad.json", r#"{"resourceType":"Patient","birthDate":"29.2.1980"}"#);
    world.write("export/lines.ndjson", "{\"resourceType\":\"Patient\"\n");
    let said =
        hospital.run(&["record", "propose", "--to", "mrn:12345", &world.path("export"), "--json"]);
    assert_eq!(said.code, 2, "a refused input shows in the exit code: {}", said.stderr);
    let report: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(items(&report, "/proposals").len(), 1);
    assert_eq!(items(&report, "/proposals/0/records").len(), 2);
    assert_eq!(report["rejected"], 2);
    assert!(at(&report, "/rejects/0/input").ends_with("bad.json"));
    assert_eq!(at(&report, "/rejects/0/path"), "Patient.birthDate");
    assert_eq!(report.pointer("/rejects/0/byte"), Some(&Value::from(38)));
    assert!(at(&report, "/rejects/1/input").ends_with("lines.ndjson:1"));
    assert!(!said.stdout.contains("29.2.1980"), "a report never repeats a value");

    let again =
        hospital.json(&["record", "propose", "--to", "anna", &world.path("export/good.json")]);
    assert_eq!((items(&again, "/proposals").len(), again["known"].as_u64()), (0, Some(1)));

    let inbox = patient.json(&["record", "inbox"]);
    let id = at(&inbox, "/proposals/0/id").to_owned();
    assert_eq!(at(&inbox, "/proposals/0/author/name"), "hospital");
    assert_eq!(inbox.pointer("/proposals/0/at/final"), Some(&Value::Bool(true)));
    let shown = patient.ok(&["record", "show", &id[..10]]);
    assert!(!shown.stdout.contains(CANARY) && !shown.stderr.contains(CANARY));
    let cells = shown.cells();
    assert_eq!(cells.len(), 2);
    assert!(cells.iter().any(
        |row| row.contains(&"Condition=1".to_owned()) && row.contains(&"2026-03-02".to_owned())
    ));
    let document = patient.ok(&["record", "show", &id, "--only", "0", "--fhir"]).stdout;
    assert!(document.starts_with("{\"resourceType\":\"Bundle\"") && document.contains(CANARY));
    let folder = world.path("proposed");
    patient.ok(&["record", "show", &id, "--out", &folder]);
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|it| it.unwrap().path()).collect();
    assert_eq!(files.len(), 2);
    assert_eq!(mode(world.file("proposed")), 0o700);
    assert!(files.iter().all(|file| mode(file) == 0o600));

    let first = patient.json(&["record", "accept", &id, "--only", "0"]);
    assert_eq!(first.pointer("/proposals/0/open"), Some(&Value::from(vec![1])));
    let rest = patient.ok(&["record", "accept", "--all"]).cells();
    assert_eq!((rest.len(), rest[0][1].as_str()), (1, "1"));
    assert!(items(&patient.json(&["record", "inbox"]), "/proposals").is_empty());
    let outbox = hospital.json(&["record", "inbox"]);
    assert_eq!(at(&outbox, "/proposals/0/state"), "answered");
    assert_eq!(
        items(&hospital.json(&["record", "list", "--patient", "anna"]), "/records").len(),
        2
    );
}

fn amend(cast: &Cast, problems: &str) {
    let (world, hospital, patient) = (&cast.world, &cast.hospital, &cast.patient);
    let text = r#"{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"urn:uuid:1","resource":{"resourceType":"Condition","recordedDate":"2026-03-05","code":{"text":"other"},"subject":{"display":"somebody"}}}]}"#;
    let input = world.write("amended.json", text);
    hospital.ok(&["record", "amend", problems, &input, "--to", "anna"]);
    let id = at(&patient.json(&["record", "inbox"]), "/proposals/0/id").to_owned();
    let shown = patient.json(&["record", "show", &id]);
    assert_eq!(at(&shown, "/documents/0/kind"), "amendment");
    assert_eq!(
        shown.pointer("/documents/0/changes/elements"),
        Some(&json!(["Condition.code", "Condition.recordedDate"]))
    );
    patient.ok(&["record", "accept", &id]);
    let own = patient.json(&["record", "get", problems]);
    assert_eq!(at(&own, "/document/resourceType"), "Bundle");
    assert_eq!(patient.ok(&["record", "get", problems]).stdout, text);
    let all = patient.json(&["record", "list", "--state", "all", "--category", "problems"]);
    let states: Vec<&str> = items(&all, "/records").iter().map(|it| at(it, "/state")).collect();
    assert_eq!(states, ["superseded", "current"]);
}

/// Gives the consent's id.
fn grant_and_read(cast: &Cast, problems: &str, billing: &str) -> String {
    let (world, patient, insurer) = (&cast.world, &cast.patient, &cast.insurer);
    let line = world.path("for-insurer.txt");
    let granted = patient.json(&[
        "consent",
        "grant",
        "--to",
        "insurer",
        "--category",
        "billing",
        "--purpose",
        "HPAYMT",
        "--for",
        "30d",
        "--out",
        &line,
    ]);
    assert_eq!(at(&granted, "/consent/grantee/name"), "insurer");
    assert_eq!(mode(world.file("for-insurer.txt")), 0o600);
    let taken = insurer.json(&["grant", "add", &line]);
    assert_eq!((at(&taken, "/state"), at(&taken, "/categories/0")), ("live", "billing"));
    insurer.ok(&["grant", "add", at(&granted, "/grant")]);
    assert_eq!(items(&insurer.json(&["grant", "list"]), "/grants").len(), 1, "once is enough");

    insurer.fails(4, "purpose TREAT", &["access", "anna", "--purpose", "TREAT"]);
    insurer.fails(4, "no grant covers", &["access", "anna", problems, "--purpose", "HPAYMT"]);
    insurer.fails(2, "purpose", &["record", "get", billing]);
    cast.physician.fails(4, "no grant covers", &["access", "anna", "--purpose", "TREAT"]);

    let out = world.path("read");
    let read = insurer.json(&["access", "anna", "--purpose", "HPAYMT", "--out", &out]);
    assert_eq!(items(&read, "/records").len(), 1);
    assert_eq!(at(&read, "/records/0/id"), billing);
    let file = std::path::Path::new(at(&read, "/records/0/file"));
    assert_eq!(mode(file), 0o600);
    let document: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(at(&document, "/entry/0/resource/payor/0/display"), CANARY);
    at(&granted, "/consent/id").to_owned()
}

/// A consent that is over opens nothing, and who is no member of the network asks for nothing.
fn too_late_and_not_a_member(cast: &Cast, problems: &str) {
    let (patient, physician) = (&cast.patient, &cast.physician);
    let short = ["consent", "grant", "--to", "physician", "--category", "problems"];
    let granted = patient.json(&[&short[..], &["--purpose", "CAREMGT", "--for", "1s"]].concat());
    physician.ok(&["grant", "add", at(&granted, "/grant")]);
    std::thread::sleep(Duration::from_millis(2_100));
    physician.fails(4, "", &["access", "anna", problems, "--purpose", "CAREMGT"]);
    patient.ok(&["consent", "revoke", at(&granted, "/consent/id")]);

    let card = cast.world.path("hospital.card");
    let stranger = cast.world.person("stranger", "organization", Some(&card));
    let anna = format!("{:#x}", patient.id);
    let ask = ["request", "send", "--to", &anna, "--category", "billing", "--purpose", "HPAYMT"];
    stranger.fails(4, "refused", &[&ask[..], &["--for", "1d"]].concat());
}

/// A preset gives categories and purposes, and says in words what stays closed.
fn presets(cast: &Cast) {
    let patient = &cast.patient;
    let preset = |name| ["consent", "grant", "--to", "insurer", "--preset", name, "--for", "1d"];
    let granted = patient.json(&preset("insurer"));
    assert_eq!(granted["consent"]["categories"], json!(["diagnostic-reports", "billing"]));
    assert_eq!(granted["consent"]["purposes"], json!(["HPAYMT", "COVERAGE"]));
    assert_eq!(granted["effect"]["opens"], json!(["Diagnostic reports", "Bills and insurance"]));
    assert_eq!(items(&granted, "/effect/closed_sensitive").len(), 5);
    patient.ok(&["consent", "revoke", at(&granted, "/consent/id")]);

    let said = patient.ok(&[&preset("researcher")[..], &["--purpose", "CLINTRCH"]].concat());
    let told = "Opens, for a clinical trial: Diagnoses and problems;";
    for words in [told, "Stays closed, sensitive: HIV; Mental health;", "the records as they are"] {
        assert!(said.stderr.contains(words), "{words}: {}", said.stderr);
    }
    patient.ok(&["consent", "revoke", "--to", "insurer"]);
    patient.fails(3, "add --category", &preset("family"));
}

/// An organization asks; the patient grants one request and refuses another.
fn ask(cast: &Cast) {
    let (patient, physician) = (&cast.patient, &cast.physician);
    let send = ["request", "send", "--to", "anna", "--purpose", "TREAT", "--for", "12h"];
    let monday = cast.world.write("for-anna.txt", "for Monday\n");
    physician.ok(&[&send[..], &["--category", "problems", "--message-file", &monday]].concat());
    physician.ok(&[&send[..], &["--category", "genetics"]].concat());
    cast.insurer.fails(2, "organization", &[&send[..], &["--category", "billing"]].concat());
    let asked = patient.json(&["request", "list"]);
    let of = |category: &str| {
        let found =
            items(&asked, "/requests").iter().find(|it| at(it, "/categories/0") == category);
        at(found.unwrap(), "/id").to_owned()
    };
    let (problems, genetics) = (of("problems"), of("genetics"));
    let granted = patient.json(&["request", "grant", &problems[..14]]);
    physician.ok(&["grant", "add", at(&granted, "/grant")]);
    patient.ok(&["request", "refuse", &genetics]);
    let after = patient.json(&["request", "list"]);
    let mut states: Vec<&str> =
        items(&after, "/requests").iter().map(|it| at(it, "/state")).collect();
    states.sort_unstable();
    assert_eq!(states, ["granted", "refused"]);
    let read = physician.ok(&[
        "record",
        "get",
        at(&cast.patient.json(&["record", "list", "--category", "problems"]), "/records/0/id"),
        "--purpose",
        "TREAT",
    ]);
    assert!(read.stdout.contains("\"other\""));
    assert!(read.stderr.contains("the patient sees this read"));
    let all = patient.json(&["consent", "revoke-all"]);
    assert_eq!(all["revoked"], 1);
}

fn retract(cast: &Cast, billing: &str) {
    let (hospital, patient) = (&cast.hospital, &cast.patient);
    let why = cast.world.write("why.txt", "another patient\n");
    hospital.ok(&["record", "retract", billing, "--to", "anna", "--reason-file", &why]);
    let id = at(&patient.json(&["record", "inbox"]), "/proposals/0/id").to_owned();
    patient.ok(&["record", "reject", &id]);
    let list = patient.json(&["record", "list", "--state", "disowned"]);
    assert_eq!(at(&list, "/records/0/id"), billing);
    let input = cast.world.write("taken-back.json", &bundle("second"));
    let report = hospital.json(&["record", "propose", "--to", "anna", &input]);
    let id = at(&report, "/proposals/0/id");
    hospital.ok(&["record", "withdraw", id, "--to", "anna"]);
    assert!(items(&patient.json(&["record", "inbox"]), "/proposals").is_empty());
    patient.fails(3, "no proposal", &["record", "accept", id]);
}

fn audit(cast: &Cast) {
    let audit = cast.patient.json(&["audit"]);
    assert_eq!(audit["complete"], true);
    assert_eq!(audit["accesses"], 2);
    let reads: Vec<&str> = items(&audit, "/entries")
        .iter()
        .filter(|entry| at(entry, "/what") == "accessed")
        .map(|entry| at(entry, "/who/name"))
        .collect();
    assert_eq!(reads, ["insurer", "physician"]);
    let text = cast.patient.ok(&["audit"]);
    let last = text.cells().pop().unwrap();
    assert_eq!(last[0], "proof");
    assert!(last[1].starts_with("complete: "), "{}", last[1]);
    let csv = cast.patient.ok(&["audit", "--csv"]).stdout;
    assert_eq!(csv.lines().count(), 1 + items(&audit, "/entries").len());
    assert!(csv.starts_with("time,what,who,"));
    let late = cast.patient.json(&["audit", "--since", "2999-01-01"]);
    assert!(items(&late, "/entries").is_empty() && late["complete"] == true);
}

/// Who asks, the exit code, a part of the reason, the command. `NOBODY`, `INPUT` and `RECORD` stand for
/// an id without keys, a good document and a record.
const WRONG: [(&str, i32, &str, &str); 19] = [
    ("patient", 3, "no proposal or record", "record show 0x12345678"),
    ("patient", 2, "not the id", "record show 0x1234"),
    ("patient", 3, "stranger", "consent grant --to stranger CONSENT --for 1d"),
    ("patient", 3, "no usable key bundle", "consent grant --to NOBODY CONSENT --for 1d"),
    ("patient", 2, "in the past", "consent grant --to insurer CONSENT --until 2001-01-01"),
    (
        "patient",
        2,
        "after the start",
        "consent grant --to insurer CONSENT --until 2030-01-01 --from 2031-01-01",
    ),
    ("patient", 3, "no consent", "consent revoke --to insurer"),
    ("patient", 2, "for an organization", "record propose --to hospital INPUT"),
    ("insurer", 2, "for a patient", "record accept --all"),
    ("insurer", 2, "for a patient", "audit"),
    ("hospital", 3, "", "record propose --to mrn:9 INPUT"),
    ("hospital", 3, "has not introduced", "record propose --to NOBODY INPUT"),
    (
        "hospital",
        2,
        "named twice",
        "record propose --to anna INPUT --cosigner NOBODY --cosigner NOBODY",
    ),
    ("hospital", 2, "threshold", "record propose --to anna INPUT --cosigner NOBODY --threshold 2"),
    ("hospital", 3, "no record", "record retract 0x12345678 --to anna --reason-file INPUT"),
    ("hospital", 2, "2 documents", "record amend RECORD INPUT --to anna"),
    ("insurer", 2, "this is a card", "grant add galen:card:AAAA"),
    ("insurer", 5, "", "grant add galen:grant:AAAA"),
    ("insurer", 3, "there is no file", "grant add /nowhere"),
];

/// Commands that the parser refuses.
const UNREADABLE: [&str; 6] = [
    "consent grant --to insurer --category nonsense --purpose TREAT --for 1d",
    "consent grant --to insurer --category problems --purpose CURIOSITY --for 1d",
    "consent grant --to insurer CONSENT --for 30",
    "consent grant --to insurer CONSENT",
    "audit --since 2027-02-30",
    "record propose --to hospital",
];

#[test]
fn wrong_requests_say_what_is_wrong_and_what_to_do() {
    let cast = Cast::gather();
    let (problems, _) = cast.records();
    let input = cast.world.path("discharge.json");
    let nobody = "0x00000000000000000000000000000000000000aa";
    let full = |command: &str| {
        let command = command.replace("CONSENT", "--category problems --purpose TREAT");
        let command = command.replace("NOBODY", nobody).replace("INPUT", &input);
        let command = command.replace("RECORD", &problems);
        command.split(' ').map(str::to_owned).collect::<Vec<String>>()
    };
    for (who, code, reason, command) in WRONG {
        let args = full(command);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        cast.person(who).fails(code, reason, &args);
    }
    for command in UNREADABLE {
        let args = full(command);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        assert_eq!(cast.patient.run(&args).code, 2, "{command}");
    }
    let elsewhere = format!("local:{}", cast.world.path("other"));
    let elsewhere = Person { store: elsewhere, ..cast.patient.clone() };
    elsewhere.fails(3, "", &["record", "get", &problems]);
    let strange = Person { password: cast.hospital.password.clone(), ..cast.patient.clone() };
    strange.fails(2, "password", &["record", "list"]);
}

/// Cosigned: who has signed and who is missing moves as a line of text.
#[test]
fn a_cosigned_record_waits_for_its_cosigners() {
    let cast = Cast::gather();
    let (hospital, patient, physician) = (&cast.hospital, &cast.patient, &cast.physician);
    let input = cast.world.write("discharge.json", &bundle("first"));
    let physician_id = format!("{:#x}", physician.id);
    let report =
        hospital.json(&["record", "propose", "--to", "anna", &input, "--cosigner", &physician_id]);
    let sheet = cast.world.write("sheet", at(&report, "/proposals/0/sheet"));
    let id = at(&report, "/proposals/0/id");
    patient.fails(4, "needs cosigners", &["record", "accept", id]);
    patient.fails(4, "too few cosigners", &["record", "accept", id, "--cosignature", &sheet]);
    let seen = patient.json(&["record", "cosign", "--collect", &sheet]);
    assert_eq!(seen["sheets"][0]["enough"], false);
    assert_eq!(at(&seen, "/sheets/0/missing/0/name"), "physician");
    let signed = cast.world.path("signed");
    let answer = physician.json(&["record", "cosign", &sheet, "--out", &signed]);
    assert_eq!(answer["sheets"][0]["enough"], true);
    patient.ok(&["record", "accept", id, "--cosignature", &signed]);
    assert_eq!(
        items(&patient.json(&["record", "list", "--state", "current"]), "/records").len(),
        2
    );
}

/// `kill -9` in the middle of an import: the same command goes on, and no document is proposed twice.
#[test]
fn an_interrupted_import_goes_on_without_a_duplicate() {
    const DOCUMENTS: usize = 120;
    let cast = Cast::gather();
    let line = |n: usize| {
        format!(
            r#"{{"resourceType":"Condition","code":{{"text":"{n}"}},"subject":{{"display":"x"}}}}"#
        )
    };
    let lines: Vec<String> = (0..DOCUMENTS).map(line).collect();
    let input = cast.world.write("many.ndjson", &lines.join("\n"));
    let args = ["record", "propose", "--to", "anna", &input, "--json"];
    let imports = cast.hospital.home.join("profiles/default/imports");
    let mut cuts = 0;
    let mut written = 0;
    // Each run is killed after it has written some more of its journal, the last one is left alone.
    for more in [1, 7, 40, 60, 80] {
        let mut process = cast
            .hospital
            .command(&args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        let cut = loop {
            if process.try_wait().unwrap().is_some() {
                break false;
            }
            if journal_lines(&imports) >= written + more {
                process.kill().unwrap();
                process.wait().unwrap();
                break true;
            }
            assert!(started.elapsed() < Duration::from_secs(120), "the import hangs");
            std::thread::sleep(Duration::from_millis(2));
        };
        cuts += usize::from(cut);
        written = journal_lines(&imports);
    }
    assert!(cuts >= 2, "the import was cut {cuts} times");
    cast.hospital.ok(&args);
    let list = cast.hospital.json(&["record", "list", "--patient", "anna"]);
    assert_eq!(items(&list, "/records").len(), DOCUMENTS);
    cast.patient.ok(&["record", "accept", "--all"]);
    let list = cast.patient.json(&["record", "list", "--state", "current"]);
    assert_eq!(items(&list, "/records").len(), DOCUMENTS);
    let mut ids: Vec<&str> = items(&list, "/records").iter().map(|it| at(it, "/id")).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), DOCUMENTS);
}

/// The same for a scan: killed while it is sealed, and after each line of its journal. It is sealed to its end once.
#[test]
fn an_interrupted_attachment_goes_on_where_it_was() {
    const LEN: usize = 24 << 20;
    let cast = Cast::gather();
    let bytes: Vec<u8> = (0..LEN).map(|n| ((n * 7) >> 9).to_le_bytes()[0]).collect();
    let scan = cast.world.file("scan.dcm");
    std::fs::write(&scan, &bytes).unwrap();
    let args = ["record", "propose", "--to", "anna", "--attach", scan.to_str().unwrap()];
    let args =
        [&args[..], &["--media-type", "application/dicom", "--category", "imaging"]].concat();
    let imports = cast.hospital.home.join("profiles/default/imports");
    let store = cast.world.file("store");
    let longest = || lengths_below(&store).into_iter().max().unwrap_or(0);
    let mut cuts = 0;
    for step in 0..4 {
        let mut process = cast
            .hospital
            .command(&args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        let reached = || match step {
            0 => longest() > 1 << 20,
            lines => journal_lines(&imports) > lines,
        };
        while !reached() && process.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < Duration::from_secs(120), "the import hangs");
            std::thread::sleep(Duration::from_millis(1));
        }
        cuts += usize::from(process.try_wait().unwrap().is_none());
        process.kill().unwrap();
        process.wait().unwrap();
        if step == 0 {
            assert_eq!(journal_lines(&imports), 1, "nothing is sealed yet");
        }
    }
    assert!(cuts >= 2, "the import was cut {cuts} times");
    cast.hospital.ok(&args);
    let kept = lengths_below(&store);
    assert_eq!(kept.iter().filter(|len| **len > LEN as u64).count(), 1, "{kept:?}");
    cast.patient.ok(&["record", "accept", "--all"]);
    let list = cast.patient.json(&["record", "list", "--state", "current"]);
    let records = items(&list, "/records");
    assert_eq!(records.len(), 1);
    let copy = cast.world.file("copy.dcm");
    cast.patient.ok(&["record", "get", at(&records[0], "/id"), "--out", copy.to_str().unwrap()]);
    assert!(std::fs::read(copy).unwrap() == bytes, "byte for byte");
}

/// The same while it is sent to a node: what the node confirmed is not sent again, and nothing is sealed again.
#[test]
fn an_attachment_killed_while_it_is_sent_goes_on_where_it_was() {
    const LEN: usize = 24 << 20;
    /// Requests that are under way when a process is killed, and what a node may take back because of it.
    const UNDER_WAY: u32 = 16;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let node = runtime.block_on(Bee::start());
    node.fail("POST bytes", Fault::Slow(Duration::from_millis(300)), usize::MAX);
    let mut cast = Cast::gather();
    // The hospital keeps a copy of its own; the patient has nothing but the node to read it from.
    let own = cast.world.path("own");
    let copied = Command::new("cp").args(["-r", &cast.world.path("store"), &own]).status();
    assert!(copied.unwrap().success());
    cast.hospital.store = format!("swarm:{},local:{own}", node.url);
    cast.patient.store = format!("{},swarm:{}", cast.patient.store, node.url);
    let bytes: Vec<u8> = (0..LEN).map(|n| ((n * 11) >> 9).to_le_bytes()[0]).collect();
    let scan = cast.world.file("scan.dcm");
    std::fs::write(&scan, &bytes).unwrap();
    let args = ["record", "propose", "--to", "anna", "--attach", scan.to_str().unwrap()];
    let args =
        [&args[..], &["--media-type", "application/dicom", "--category", "imaging"]].concat();
    let sent = || node.store().received.values().sum::<u32>();
    let before = sent();
    let mut cuts = 0;
    for blocks in [1, 9, 20, 35] {
        let mut command = cast.hospital.command(&args);
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let started = Instant::now();
        while sent() < before + blocks && process.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < Duration::from_secs(120), "the import hangs");
            std::thread::sleep(Duration::from_millis(1));
        }
        cuts += u32::from(process.try_wait().unwrap().is_none());
        process.kill().unwrap();
        process.wait().unwrap();
        runtime.block_on(node.idle());
    }
    // First, so that what stops the import is shown.
    cast.hospital.ok(&args);
    assert!(cuts >= 2, "the import was cut {cuts} times");
    let needed = u32::try_from(node.store().received.len()).unwrap();
    assert!(sent() <= needed + cuts * UNDER_WAY, "{} of {needed} blocks, {cuts} cuts", sent());
    let imports = cast.hospital.home.join("profiles/default/imports");
    let journal = files(&imports).remove(0);
    let journal = std::fs::read_to_string(journal).unwrap();
    assert_eq!(journal.matches(r#""step":"sealed""#).count(), 1, "{journal}");
    node.heal();
    cast.patient.ok(&["record", "accept", "--all"]);
    let list = cast.patient.json(&["record", "list", "--state", "current"]);
    let copy = cast.world.file("copy.dcm");
    let id = at(&items(&list, "/records")[0], "/id");
    cast.patient.ok(&["record", "get", id, "--out", copy.to_str().unwrap()]);
    assert!(std::fs::read(copy).unwrap() == bytes, "byte for byte");
}

/// Lengths of the files below a folder. What goes away meanwhile is left out.
fn lengths_below(folder: &std::path::Path) -> Vec<u64> {
    files(folder).iter().flat_map(|path| path.metadata()).map(|found| found.len()).collect()
}

fn journal_lines(folder: &std::path::Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let lines = |path: std::path::PathBuf| {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.iter().filter(|byte| **byte == b'\n').count()
    };
    entries.map(|entry| lines(entry.unwrap().path())).sum()
}
