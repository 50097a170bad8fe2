//! The custodian as a patient runs it, cut off at its writes, twice at once, as a service; and records that are
//! forgotten.
#![cfg(target_os = "linux")]
#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a skipped test says so, and one that cannot go on panics"
)]

#[allow(dead_code, reason = "shared with the tests that need all of it")]
#[path = "people/world.rs"]
mod world;

#[path = "people/cuts.rs"]
mod cuts;

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use alloy::providers::{Provider as _, ProviderBuilder};
use cuts::{cut_everywhere, has_strace};
use serde_json::Value;
use world::{Person, World, at, items};

/// What only the document says.
const DIAGNOSIS: &str = "Zyxtonorine intolerance";

const ONCE: [&str; 4] = ["custodian", "--once", "--window", "1h"];

/// A patient, and a hospital that may read one record. The name of the store begins as that of the patient's folder,
/// so that writes to it are cut off, too.
struct Pair {
    world: World,
    hospital: Person,
    patient: Person,
    record: String,
}

impl Pair {
    fn new() -> Self {
        let world = World::start();
        let store = format!("local:{}", world.path("patient-store"));
        let mut hospital = world.person("hospital", "organization", None);
        hospital.store.clone_from(&store);
        let (ledger, block) = world.found(&[hospital.id]);
        let (ledger, block) = (format!("{ledger:#x}"), block.to_string());
        let add = ["network", "add", "test", "--ledger", &ledger, "--deployed-in", &block];
        hospital.ok(&[&add[..], &["--finality", "instant"]].concat());
        let card = world.path("hospital.card");
        hospital.ok(&["init", "--network", "test"]);
        hospital.ok(&["contact", "card", "--out", &card]);
        let mut patient = world.person("patient", "patient", Some(&card));
        patient.store = store;
        patient.ok(&["init", "--from", &card, "--as", "hospital"]);
        let (introduction, card) = (world.path("introduction"), world.path("patient.card"));
        patient.ok(&["contact", "introduce", "hospital", "--out", &introduction]);
        patient.ok(&["contact", "card", "--out", &card]);
        hospital.ok(&["contact", "add", &card, "--as", "anna"]);
        hospital.ok(&["contact", "add", &introduction]);
        let document = format!(
            r#"{{"resourceType":"Condition","code":{{"text":"{DIAGNOSIS}"}},"subject":{{"display":"x"}}}}"#
        );
        let document = world.write("document.json", &document);
        hospital.ok(&["record", "propose", "--to", "anna", &document]);
        patient.ok(&["record", "accept", "--all"]);
        let grant = ["consent", "grant", "--to", "hospital", "--category", "problems"];
        let file = world.path("grant");
        patient
            .ok(&[&grant[..], &["--purpose", "TREAT", "--for", "300d", "--out", &file]].concat());
        hospital.ok(&["grant", "add", &file]);
        let list = patient.json(&["record", "list"]);
        let record = at(&list, "/records/0/id").to_owned();
        Self { world, hospital, patient, record }
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

    /// Moves the time of the chain.
    fn later(&self, seconds: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let provider = ProviderBuilder::new().connect_http(self.world.url.parse().unwrap());
            let _: Value =
                provider.raw_request("evm_increaseTime".into(), (seconds,)).await.unwrap();
            let _: Value = provider.raw_request("evm_mine".into(), ()).await.unwrap();
        });
    }

    fn contents(&self) -> usize {
        let list = self.patient.json(&["record", "list"]);
        items(&list, "/records/0/contents").len()
    }

    /// The files of all sealed content.
    fn kept(&self) -> BTreeSet<PathBuf> {
        let both = [self.patient.home.clone(), self.world.file("patient-store")];
        both.iter().flat_map(|it| files(it)).filter(|path| is_content(path)).collect()
    }

    fn is_readable(&self, what: &str) {
        let shown = self.patient.ok(&["record", "show", &self.record, "--fhir"]);
        assert!(shown.stdout.contains(DIAGNOSIS), "{what}");
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn is_content(path: &Path) -> bool {
    path.parent().and_then(Path::parent).is_some_and(|it| it.ends_with("swarm"))
}

/// The custodian is killed, or its disk is full, at its writes: the journal's, the store's, the queue's.
#[test]
fn a_custodian_that_is_cut_off_at_a_write_goes_on() {
    if !has_strace() {
        return;
    }
    let pair = Pair::new();
    let files = pair.kept().len();
    let contents = std::cell::Cell::new(0);
    let prepare = || {
        // What the run before left is seen to, so that each run begins alike.
        pair.patient.ok(&ONCE);
        contents.set(pair.contents());
        pair.read();
        pair.later(5_000);
    };
    let cuts = cut_everywhere(&pair.patient, &ONCE, prepare, |cut| {
        pair.is_readable(&cut.what);
        let now = pair.contents() - contents.get();
        assert!(now == 1 || (now == 0 && !cut.acknowledged), "{now}: {}", cut.what);
        let done = cut.person.json(&ONCE);
        assert!(items(&done, "/failed").is_empty(), "{} {done:#}", cut.what);
        let done = cut.person.json(&ONCE);
        assert_eq!(done["waiting"], 0, "{} {done:#}", cut.what);
        assert_eq!(pair.contents(), contents.get() + 1, "sealed anew once: {}", cut.what);
        assert_eq!(pair.kept().len(), files, "one for one: {}", cut.what);
        pair.is_readable(&cut.what);
    });
    assert!(cuts >= 4, "only {cuts} cuts");
}

#[test]
fn a_custodian_runs_as_a_service_and_tells_what_it_did() {
    let pair = Pair::new();
    let patient = &pair.patient;
    let doctor = |person: &Person| {
        let report = person.json(&["doctor"]);
        let found = items(&report, "/findings").iter().find(|it| at(it, "/check") == "custodian");
        at(found.unwrap(), "/found").to_owned()
    };
    assert!(doctor(patient).contains("never ran"));
    pair.hospital.fails(2, "this profile is for an organization", &ONCE);
    pair.read();
    let quiet = patient.ok(&ONCE);
    assert_eq!(quiet.stdout, "");
    assert!(doctor(patient).contains("0 under way"), "{}", doctor(patient));

    let args = ["custodian", "--window", "1h", "--every", "1s", "--json"];
    let mut service =
        patient.command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(service.stdout.take().unwrap()).lines();
    pair.later(3_601);
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
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
    pair.later(1_000);
    let second: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(at(&second, "/released/0/content"), old);
    assert!(!pair.kept().iter().any(|path| path.ends_with(file)));

    let started = Instant::now();
    Command::new("kill").args(["-TERM", &service.id().to_string()]).status().unwrap();
    assert!(service.wait().unwrap().success());
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(lines.next().is_none());
    pair.is_readable("in the end");
}

#[test]
fn a_record_is_forgotten_and_what_is_left_is_told() {
    let pair = Pair::new();
    let (patient, record) = (&pair.patient, pair.record.as_str());
    pair.read();
    pair.later(3_700);
    patient.ok(&ONCE);
    let before = pair.kept();
    let named = patient.json(&["content", "check"]);
    let current = at(&named, "/contents/0/content").strip_prefix("swarm:").unwrap().to_owned();
    let header = {
        let path = before.iter().find(|path| path.ends_with(&current)).unwrap();
        fs::read(path).unwrap()[..64].to_vec()
    };
    let erase = ["record", "erase", record];

    // Nobody is asked, so nothing is done.
    let unasked = patient.command(&erase);
    let args: Vec<_> =
        unasked.get_args().filter(|arg| *arg != "--yes").map(ToOwned::to_owned).collect();
    let output = Command::new(unasked.get_program())
        .args(args)
        .env("GALEN_TEST_SCRYPT_LOG_N", "4")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(8), "{said}");
    for part in
        ["read by hospital", "2 sealed contents", "What stays:", "Nothing brings a record back"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(pair.kept(), before);
    pair.hospital.fails(2, "this profile is for an organization", &erase);
    patient.fails(3, "no record", &["record", "erase", "0x1234567890"]);

    let erased = patient.json(&erase);
    let line = &items(&erased, "/records")[0];
    assert_eq!(line["gone"], true, "{erased:#}");
    assert_eq!(at(line, "/readers/0/grantee/name"), "hospital");
    let states: Vec<_> = items(line, "/contents").iter().map(|it| at(it, "/state")).collect();
    assert_eq!(states, ["removed", "removed"]);
    assert_eq!(pair.kept().len(), before.len() - 2);
    let all = [&patient.home, &pair.world.file("patient-store"), &pair.hospital.home];
    for path in all.into_iter().flat_map(|it| files(it)) {
        let bytes = fs::read(&path).unwrap();
        let has = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        assert!(!has(&header) && !has(DIAGNOSIS.as_bytes()), "{}", path.display());
    }
    patient.fails(3, "", &["record", "show", record, "--fhir"]);
    // It was read again, and is not sealed again.
    let read = ["access", "anna", record, "--purpose", "TREAT", "--out", &pair.world.path("again")];
    assert_ne!(pair.hospital.run(&read).code, 0);
    pair.later(10_000);
    let done = patient.json(&ONCE);
    assert!(items(&done, "/resealed").is_empty() && items(&done, "/failed").is_empty(), "{done:#}");
    let again = patient.ok(&erase);
    assert!(again.stderr.contains("No store of yours has anything of it"), "{}", again.stderr);
    assert_eq!(patient.json(&["audit"])["complete"], true);
}
