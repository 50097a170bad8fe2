//! The custodian as patients and authors run it, cut off at its writes, twice at once, as a service; and records that
//! are forgotten.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Lines},
    ops::Deref,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    common::{Said, at, condition, files, has_strace, items, kill},
    cuts::cut_everywhere,
    world::{Pair, Person, World},
};

/// What only the document says.
const DIAGNOSIS: &str = "Zyxtonorine intolerance";

const ONCE: [&str; 4] = ["custodian", "--once", "--window", "1h"];

/// A hospital that wrote one record of its patient, and may read it.
struct Chart {
    pair: Pair,
    record: String,
    store: PathBuf,
}

impl Deref for Chart {
    type Target = Pair;

    fn deref(&self) -> &Pair {
        &self.pair
    }
}

impl Chart {
    fn new() -> Self {
        Self::with_store("patient-store")
    }

    /// Where the name of the store begins as that of somebody's folder, writes to it are cut off with theirs.
    fn with_store(name: &str) -> Self {
        let pair = Pair::meet_in(World::start_with_store(name));
        let store = pair.world.file(name);
        let mut chart = Self { pair, record: String::new(), store };
        chart.record = chart.more("document.json", DIAGNOSIS);
        let file = chart.world.path("grant");
        let grant = ["consent", "grant", "--to", "hospital", "--category", "problems"];
        let grant = [&grant[..], &["--purpose", "TREAT", "--for", "300d", "--out", &file]].concat();
        chart.patient.ok(&grant);
        chart.hospital.ok(&["grant", "add", &file]);
        chart
    }

    fn read(&self) {
        self.hospital.ok(&[
            "access",
            "anna",
            &self.record,
            "--purpose",
            "TREAT",
            "--out",
            &self.world.path("read"),
        ]);
    }

    /// The hospital writes another record, and the patient accepts it; gives its id.
    fn more(&self, name: &str, text: &str) -> String {
        let document = self.world.write(name, &condition(text));
        at(&self.accepted(&document), "/proposals/0/records/0").to_owned()
    }

    /// Somebody who knows the patient and was granted what is in these categories.
    fn reader(&self, categories: &[&str]) -> Person {
        let reader = self.world.guest("reader", "reader", &self.hospital);
        self.world.meet(&reader, &self.patient, &["--as", "anna"]);
        self.world.meet(&self.patient, &reader, &["--as", "reader", "--verified"]);
        let grant = self.world.path("reader.grant");
        let mut args = vec!["consent", "grant", "--to", "reader", "--purpose", "TREAT"];
        args.extend(["--for", "300d", "--out", &grant]);
        args.extend(categories.iter().flat_map(|name| ["--category", name]));
        self.patient.ok(&args);
        reader.ok(&["grant", "add", &grant]);
        reader
    }

    /// What a reader gets of a record.
    fn fetched(&self, reader: &Person, record: &str) -> Vec<u8> {
        let out = self.world.path(&format!("{record}.read"));
        let access = ["access", "anna", record, "--purpose", "TREAT", "--out", &out];
        reader.ok(&access);
        let read = files(Path::new(&out));
        assert_eq!(read.len(), 1, "{read:?}");
        let bytes = fs::read(&read[0]).unwrap();
        fs::remove_dir_all(&out).unwrap();
        bytes
    }

    fn contents(&self) -> usize {
        let list = self.patient.json(&["record", "list"]);
        items(&list, "/records/0/contents").len()
    }

    /// The files of all sealed content.
    fn kept(&self) -> BTreeSet<PathBuf> {
        // One of them may be away.
        let all = [&self.patient.home, &self.hospital.home, &self.store];
        all.into_iter().flat_map(|it| files(it)).filter(|path| is_content(path)).collect()
    }

    fn is_readable(&self, what: &str) {
        let shown = self.patient.ok(&["record", "show", &self.record, "--fhir"]);
        assert!(shown.stdout.contains(DIAGNOSIS), "{what}");
    }
}

/// The copies that an organization keeps.
fn copies(person: &Person) -> Vec<PathBuf> {
    files(&person.home.join("profiles/default/copies"))
}

/// What `galen doctor` finds.
fn found(person: &Person, check: &str) -> String {
    let report = person.json(&["doctor"]);
    let found = items(&report, "/findings").iter().find(|it| at(it, "/check") == check);
    at(found.unwrap(), "/found").to_owned()
}

/// Nobody is asked, so nothing is done. Gives what was said.
fn unasked(person: &Person, args: &[&str]) -> String {
    let said = Said::by(&mut person.unanswered(args));
    assert_eq!(said.code, 8, "{}", said.stderr);
    said.stderr
}

/// `galen custodian` that goes on until it is told to end.
struct Service {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Service {
    fn start(person: &Person, more: &[&str]) -> Self {
        let args = ["custodian", "--window", "1h", "--every", "1s", "--json"];
        let mut command = person.command(&[&args[..], more].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// What it says next.
    fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }

    /// It ends in time and has nothing more to say.
    fn end(mut self) {
        let started = Instant::now();
        kill("-TERM", self.child.id());
        assert!(self.child.wait().unwrap().success());
        assert!(started.elapsed() < Duration::from_secs(20));
        assert!(self.lines.next().is_none());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_content(path: &Path) -> bool {
    path.parent().and_then(Path::parent).is_some_and(|it| it.ends_with("swarm"))
}

#[test]
fn a_custodian_that_is_cut_off_at_a_write_goes_on() {
    cut_off_at_writes(&Chart::new(), 5_000, |chart| &chart.patient);
}

#[test]
fn an_authors_custodian_that_is_cut_off_at_a_write_goes_on() {
    let chart = Chart::with_store("hospital-store");
    assert_eq!(copies(&chart.hospital).len(), 1);
    cut_off_at_writes(&chart, 8_000, |chart| &chart.hospital);
}

/// A custodian is killed, or its disk is full, at its writes: the journal's, the store's, the queue's. It has something
/// to do `due` seconds after a read.
fn cut_off_at_writes(chart: &Chart, due: u64, custodian: impl Fn(&Chart) -> &Person) {
    if !has_strace() {
        return;
    }
    let (files, copied) = (chart.kept().len(), copies(custodian(chart)).len());
    let contents = std::cell::Cell::new(0);
    let prepare = || {
        // What the run before left is seen to, so that each run begins alike.
        custodian(chart).ok(&ONCE);
        contents.set(chart.contents());
        chart.read();
        chart.world.later(due);
    };
    let cuts = cut_everywhere(custodian(chart), &ONCE, prepare, |cut| {
        chart.is_readable(&cut.what);
        let now = chart.contents() - contents.get();
        assert!(now == 1 || (now == 0 && !cut.acknowledged), "{now}: {}", cut.what);
        let done = cut.person.json(&ONCE);
        assert!(items(&done, "/failed").is_empty(), "{} {done:#}", cut.what);
        let done = cut.person.json(&ONCE);
        assert_eq!(done["waiting"], 0, "{} {done:#}", cut.what);
        assert_eq!(chart.contents(), contents.get() + 1, "sealed anew once: {}", cut.what);
        assert_eq!(chart.kept().len(), files, "one for one: {}", cut.what);
        assert_eq!(copies(cut.person).len(), copied, "{}", cut.what);
        chart.is_readable(&cut.what);
    });
    assert!(cuts >= 4, "only {cuts} cuts");
}

#[test]
fn a_custodian_runs_as_a_service_and_tells_what_it_did() {
    let pair = Chart::new();
    let patient = &pair.patient;
    let doctor = |person| found(person, "custodian");
    assert!(doctor(patient).contains("never ran"));
    pair.read();
    let quiet = patient.ok(&ONCE);
    assert_eq!(quiet.stdout, "");
    assert!(doctor(patient).contains("0 under way"), "{}", doctor(patient));

    let mut service = Service::start(patient, &[]);
    pair.world.later(3_601);
    let first = service.next();
    assert_eq!(at(&first, "/resealed/0/record"), pair.record);
    assert_eq!(
        (first["waiting"].as_u64(), items(&first, "/sent").len()),
        (Some(1), 1),
        "{first:#}"
    );
    let old = at(&first, "/resealed/0/before").to_owned();
    let file = old.strip_prefix("swarm:").unwrap();
    assert!(pair.kept().iter().any(|path| path.ends_with(file)), "the reader may still come");
    // Another one at the same time finds nothing to do, and prune lets the old content wait.
    let other = patient.json(&ONCE);
    assert!(items(&other, "/resealed").is_empty() && items(&other, "/failed").is_empty());
    assert!(items(&patient.json(&["content", "prune"]), "/contents").is_empty());
    pair.world.later(1_000);
    let second = service.next();
    assert_eq!(at(&second, "/released/0/content"), old);
    assert!(!pair.kept().iter().any(|path| path.ends_with(file)));

    service.end();
    pair.is_readable("in the end");
}

#[test]
fn a_record_is_forgotten_and_what_is_left_is_told() {
    let pair = Chart::new();
    let (patient, record) = (&pair.patient, pair.record.as_str());
    pair.read();
    pair.world.later(3_700);
    patient.ok(&ONCE);
    let before = pair.kept();
    let named = patient.json(&["content", "check"]);
    let current = at(&named, "/contents/0/content").strip_prefix("swarm:").unwrap().to_owned();
    let header = {
        let path = before.iter().find(|path| path.ends_with(&current)).unwrap();
        fs::read(path).unwrap()[..64].to_vec()
    };
    let erase = ["record", "erase", record];

    let said = unasked(patient, &erase);
    for part in
        ["read by hospital", "2 sealed contents", "What stays:", "Nothing brings a record back"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(pair.kept(), before);
    pair.hospital.fails(3, "an author names a --patient", &erase);
    patient.fails(2, "own chart", &["record", "erase", record, "--patient", "self"]);
    patient.fails(3, "no record", &["record", "erase", "0x1234567890"]);

    let erased = patient.json(&erase);
    let line = &items(&erased, "/records")[0];
    assert_eq!(line["gone"], true, "{erased:#}");
    assert_eq!(at(line, "/readers/0/grantee/name"), "hospital");
    let states: Vec<_> = items(line, "/contents").iter().map(|it| at(it, "/state")).collect();
    assert_eq!(states, ["removed", "removed"]);
    assert_eq!(pair.kept().len(), before.len() - 2);
    let all = [&patient.home, &pair.store, &pair.hospital.home];
    for path in all.into_iter().flat_map(|it| files(it)) {
        let bytes = fs::read(&path).unwrap();
        let has = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        assert!(!has(&header) && !has(DIAGNOSIS.as_bytes()), "{}", path.display());
    }
    patient.fails(3, "", &["record", "show", record, "--fhir"]);
    // It was read again, and is not sealed again.
    let read = ["access", "anna", record, "--purpose", "TREAT", "--out", &pair.world.path("again")];
    assert_ne!(pair.hospital.run(&read).code, 0);
    pair.world.later(10_000);
    let done = patient.json(&ONCE);
    assert!(items(&done, "/resealed").is_empty() && items(&done, "/failed").is_empty(), "{done:#}");
    let again = patient.ok(&erase);
    assert!(again.stderr.contains("No store of yours has anything of it"), "{}", again.stderr);
    assert_eq!(patient.json(&["audit"])["complete"], true);
}

/// Only the author is there: the patient's machine is off, and what is sealed anew opens for the reader all the same.
#[test]
fn an_author_seals_anew_while_the_patient_is_away() {
    let pair = Chart::new();
    let (hospital, patient) = (&pair.hospital, &pair.patient);
    let scan: Vec<u8> = (0..300_000_u32).map(|n| ((n * 7) >> 9).to_le_bytes()[0]).collect();
    let file = pair.world.path("scan.dcm");
    fs::write(&file, &scan).unwrap();
    let propose = ["record", "propose", "--to", "anna", "--attach", &file, "--media-type"];
    let proposed =
        hospital.json(&[&propose[..], &["application/dicom", "--category", "imaging"]].concat());
    let attached = at(&proposed, "/proposals/0/records/0").to_owned();
    patient.ok(&["record", "accept", "--all"]);
    assert_eq!(copies(hospital).len(), 2, "one for each version");
    let reader = pair.reader(&["problems", "imaging"]);
    // What the patient keeps elsewhere by then.
    let elsewhere = pair.world.path("elsewhere");
    let copied = Command::new("cp").arg("-r").arg(&pair.store).arg(&elsewhere).status();
    assert!(copied.unwrap().success());

    let read = String::from_utf8(pair.fetched(&reader, &pair.record)).unwrap();
    assert!(read.contains(DIAGNOSIS));
    assert!(pair.fetched(&reader, &attached) == scan);
    let before = pair.kept();
    let (home, away) = (patient.home.clone(), pair.world.file("away"));
    fs::rename(&home, &away).unwrap();
    pair.world.later(3_700);
    assert_eq!(hospital.ok(&ONCE).stdout, "", "the patient goes first");
    pair.world.later(3_700);
    let done = hospital.json(&ONCE);
    let mut resealed: Vec<&str> =
        items(&done, "/resealed").iter().map(|it| at(it, "/record")).collect();
    resealed.sort_unstable();
    let mut both = [pair.record.as_str(), &attached];
    both.sort_unstable();
    assert_eq!(resealed, both, "{done:#}");
    assert_eq!(at(&done, "/resealed/0/patient/name"), "anna");
    assert_eq!((items(&done, "/sent").len(), items(&done, "/failed").len()), (1, 0), "{done:#}");
    assert_eq!((items(&done, "/uncopied").len(), &done["forgotten"]), (0, &0.into()));
    // Nothing is left of the old content, and nothing is left to do.
    hospital.ok(&ONCE);
    let quiet = hospital.json(&ONCE);
    assert_eq!(quiet["waiting"], 0, "{quiet:#}");
    for part in ["resealed", "released", "left", "dropped", "failed", "sent"] {
        assert!(items(&quiet, &format!("/{part}")).is_empty(), "{quiet:#}");
    }
    let after = pair.kept();
    assert_eq!(after.len(), before.len());
    let gone = before.iter().filter(|path| !after.contains(*path) && path.starts_with(&pair.store));
    assert_eq!(gone.count(), 2);
    let read = String::from_utf8(pair.fetched(&reader, &pair.record)).unwrap();
    assert!(read.contains(DIAGNOSIS));
    assert!(pair.fetched(&reader, &attached) == scan);
    fs::rename(&away, &home).unwrap();
    pair.is_readable("the patient reads what the author sealed anew");
    // The reads from just now are answered by the patient's custodian, and the author finds nothing to do.
    pair.world.later(3_700);
    assert_eq!(items(&patient.json(&ONCE), "/resealed").len(), 2);
    pair.world.later(3_700);
    hospital.ok(&ONCE);
    assert!(items(&hospital.json(&ONCE), "/resealed").is_empty());

    an_author_brings_back(&pair);
    an_author_forgets(&pair, &attached, &elsewhere);
}

/// No store has the content any more; the author's copy does.
fn an_author_brings_back(pair: &Chart) {
    let record = pair.record.as_str();
    let named = pair.patient.json(&["content", "check", record]);
    let lost = at(&named, "/contents/0/content").strip_prefix("swarm:").unwrap();
    let lost: Vec<_> = pair.kept().into_iter().filter(|path| path.ends_with(lost)).collect();
    assert_eq!(lost.len(), 1, "{lost:?}");
    fs::remove_file(&lost[0]).unwrap();
    let show = ["record", "show", record, "--fhir"];
    pair.patient.fails(3, "", &show);
    pair.hospital.fails(3, "an author names a --patient", &["record", "reseal", record]);
    let moved = pair.hospital.json(&["record", "reseal", record, "--patient", "anna"]);
    assert_eq!(at(&moved, "/records/0/id"), record);
    pair.is_readable("from the author's copy");
}

/// The author's copy and the content at its stores go; what the patient keeps elsewhere opens as before.
fn an_author_forgets(pair: &Chart, other: &str, elsewhere: &str) {
    let (hospital, record) = (&pair.hospital, pair.record.as_str());
    let erase = ["record", "erase", record, "--patient", "anna"];
    let said = unasked(hospital, &erase);
    for part in ["of anna", "your own sealed copies", "read by", "What stays:", "A duty to keep"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(copies(hospital).len(), 2);
    hospital.fails(3, "no record", &["record", "erase", "0x1234567890", "--patient", "anna"]);
    let rows = hospital.ok(&erase).cells();
    assert!(rows.iter().any(|row| row[..] == ["copies", record, "1"]), "{rows:?}");
    assert_eq!(copies(hospital).len(), 1);
    let again = hospital.json(&erase);
    assert_eq!(
        (&again["records"][0]["gone"], &again["records"][0]["copies"]),
        (&true.into(), &0.into())
    );
    let reason = pair.world.write("reason", "of another patient");
    let retract = ["record", "retract", record, "--to", "anna", "--reason-file", &reason];
    hospital.fails(2, "was erased", &retract);
    let mut patient = pair.patient.clone();
    patient.fails(3, "", &["record", "show", record, "--fhir"]);
    patient.ok(&["record", "get", other, "--out", &pair.world.path("scan.copy")]);
    patient.store = format!("local:{elsewhere}");
    assert!(patient.ok(&["record", "show", record, "--fhir"]).stdout.contains(DIAGNOSIS));
    let done = hospital.json(&ONCE);
    assert!(items(&done, "/failed").is_empty() && items(&done, "/uncopied").is_empty(), "{done:#}");
}

/// Another patient's chart cannot be seen to; one record was sealed without a copy.
#[test]
fn an_author_sees_to_each_chart_and_tells_what_it_has_no_copy_of() {
    let pair = Chart::new();
    let hospital = &pair.hospital;
    let ben = pair.world.guest("ben", "patient", hospital);
    pair.world.introduce(&ben, hospital, "ben");
    assert!(found(hospital, "custodian").contains("never ran"));
    assert!(
        found(hospital, "own_copies").starts_with("1 kept"),
        "{}",
        found(hospital, "own_copies")
    );
    let settings = hospital.home.join("profiles/default/profile.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("copies = false\n{text}")).unwrap();
    let shown = hospital.json(&["config", "show"]);
    assert_eq!(at(&shown, "/settings/copies/value"), "false");
    assert!(at(&shown, "/settings/copies/origin").ends_with("profile.toml"));
    let uncopied = pair.more("second.json", "Nothing else");
    assert_eq!(copies(hospital).len(), 1);
    assert!(found(hospital, "own_copies").starts_with("off"));

    hospital.ok(&ONCE);
    assert!(found(hospital, "custodian").contains("2 charts"), "{}", found(hospital, "custodian"));
    let journals = fs::read_dir(hospital.home.join("profiles/default/custody")).unwrap();
    let journals = journals.map(|entry| entry.unwrap().path());
    let of_ben = format!("{:#x}.jsonl", ben.id);
    let journal = journals.into_iter().find(|path| path.to_str().unwrap().ends_with(&of_ben));
    fs::write(journal.unwrap(), "{}\n{}\n").unwrap();
    for record in [&pair.record, &uncopied] {
        let out = pair.world.path("out");
        hospital.ok(&["access", "anna", record, "--purpose", "TREAT", "--out", &out]);
        fs::remove_dir_all(out).unwrap();
    }
    pair.world.later(8_000);
    let said = hospital.run(&[&ONCE[..], &["--json"]].concat());
    assert_eq!(said.code, 5, "{}", said.stderr);
    let done = said.json();
    assert_eq!(at(&done, "/resealed/0/record"), pair.record);
    assert_eq!(at(&done, "/uncopied/0/record"), uncopied);
    assert_eq!(at(&done, "/uncopied/0/patient/name"), "anna");
    assert_eq!((at(&done, "/failed/0/patient/name"), items(&done, "/failed").len()), ("ben", 1));
    assert!(said.stderr.contains("stay sealed as they are"), "{}", said.stderr);
    let only = hospital.ok(&[&ONCE[..], &["--patient", "anna"]].concat());
    let row = ["uncopied", &uncopied, "anna"].map(str::to_owned);
    assert!(only.cells().contains(&row.to_vec()), "{}", only.stdout);

    // All the time: what cannot be done is told once, and the chart that fails waits longer.
    let mut service = Service::start(hospital, &["--patient", "anna"]);
    let first = service.next();
    assert_eq!(at(&first, "/uncopied/0/record"), uncopied);
    std::thread::sleep(Duration::from_secs(4));
    service.end();
    // The patient has no need of copies.
    pair.patient.ok(&ONCE);
    assert!(
        items(&hospital.json(&[&ONCE[..], &["--patient", "anna"]].concat()), "/uncopied")
            .is_empty()
    );
    pair.patient.fails(2, "own chart", &["custodian", "--once", "--patient", "hospital"]);
}
