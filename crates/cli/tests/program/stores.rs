//! Several places for content, as their owner sets them, sees them, loses them and mends them.

use std::{
    fs,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::runtime::Runtime;

use crate::{
    bee::{Batch, Bee},
    common::{Place, Said, at, files, galen, items, kill, set_mode},
    frame::Fault,
    world::{Pair, Person, World},
};

const PROFILE: &str = r#"
id = "0x2c7536e3605d9c16a7a3d7b1898e529396a65c23"
role = "organization"
account = "nobody"
"#;

/// A folder with one profile.
struct Machine(Place);

impl Machine {
    fn new(settings: &str) -> Self {
        let machine = Self(Place::new());
        fs::create_dir_all(machine.profile()).unwrap();
        fs::write(machine.profile().join("profile.toml"), format!("{settings}\n")).unwrap();
        machine
    }

    fn profile(&self) -> PathBuf {
        self.0.file("profiles/default")
    }

    fn run(&self, args: &[&str]) -> Said {
        Said::by(galen().args(args).arg("--home").arg(self.0.root()))
    }

    /// Settings by name: value and origin.
    fn shown(&self, args: &[&str]) -> impl Fn(&str) -> (String, String) + use<> {
        let said = self.run(&[&["config", "show", "--json"], args].concat());
        assert_eq!(said.code, 0, "{}", said.stderr);
        let shown = said.json();
        move |name| {
            let setting = &shown["settings"][name];
            let text = |key: &str| setting[key].as_str().unwrap_or_default().to_owned();
            (text("value"), text("origin"))
        }
    }

    fn refuses(&self, args: &[&str], says: &str) {
        let said = self.run(&[&["config", "show"], args].concat());
        assert_eq!((said.code, said.stdout.as_str()), (2, ""), "{args:?}: {}", said.stderr);
        let has = |text| said.stderr.contains(text);
        assert!(has(says) && has("help: "), "{says}: {}", said.stderr);
    }
}

#[test]
fn places_are_shown_with_where_they_came_from() {
    let batch = "5c".repeat(32);
    let machine = Machine::new(&format!(
        "{PROFILE}
store = \"bee,ipfs,/srv/galen\"
[stores.bee]
kind = \"swarm\"
urls = [\"https://bee-1.example/api?key=hunter2\", \"https://bee-2.example\"]
batch = \"0x{batch}\"
token_file = \"bee.token\"
[stores.far]
kind = \"pinning\"
urls = [\"https://pin.example\"]
token_file = \"/etc/pin\"
from = \"ipfs\"
[stores.usb]
kind = \"local\"
directory = \"usb\"
[content]
imaging = \"ipfs,usb\""
    ));
    let file = machine.profile().join("profile.toml").display().to_string();
    let beside = |name: &str| machine.profile().join(name).display().to_string();
    let shown = machine.shown(&[]);
    for (setting, value) in [
        ("store", "bee,ipfs,local:/srv/galen"),
        ("stores.bee.kind", "swarm"),
        ("stores.bee.urls", "https://bee-1.example/… https://bee-2.example"),
        ("stores.bee.batch", &batch),
        ("stores.bee.token_file", &beside("bee.token")),
        ("stores.ipfs.kind", "ipfs"),
        ("stores.ipfs.urls", "http://127.0.0.1:5001"),
        ("stores.local.directory", "/srv/galen"),
        ("stores.far.from", "ipfs"),
        ("stores.far.token_file", "/etc/pin"),
        ("stores.usb.directory", &beside("usb")),
        ("content.imaging", "ipfs,usb"),
    ] {
        assert_eq!(shown(setting), (value.to_owned(), file.clone()), "{setting}");
    }

    // What is said now holds for all content; what lies elsewhere is still read.
    let shown =
        machine.shown(&["--store", "swarm:http://127.0.0.1:1+https://b.example,ipfs,/a,,b"]);
    let said = ("swarm:http://127.0.0.1:1+https://b.example,ipfs,local:/a,b", "--store");
    let pair = |(value, origin): (&str, &str)| (value.to_owned(), origin.to_owned());
    assert_eq!(shown("store"), pair(said));
    assert_eq!(
        shown("stores.swarm.urls"),
        pair(("http://127.0.0.1:1 https://b.example", "--store"))
    );
    assert_eq!(shown("stores.local.directory"), pair(("/a,b", "--store")));
    assert_eq!(shown("stores.usb.kind").0, "local");
    assert_eq!(shown("content.imaging"), pair(("", "")));
}

#[test]
fn wrong_places_are_refused_with_what_to_do() {
    let plain = Machine::new(PROFILE);
    for (list, says) in [
        ("archive", "there is no store archive"),
        ("swarm,,ipfs", "is not a content store"),
        ("swarm:bee.example", "does not begin with http:// or https://"),
        ("folder:https://me:hunter2@a.example", "has a user or password in it"),
        ("ipfs,ipfs", "named twice"),
    ] {
        plain.refuses(&["--store", list], says);
    }
    for (table, says) in [
        ("[stores.a]\nkind = \"swarm\"\ntoken = \"hunter2\"", "line 7: unknown field"),
        ("[stores.a]\nkind = \"folder\"", "[stores.a] of kind folder needs urls"),
        (
            "[stores.a]\nkind = \"ipfs\"\nurls = [\"https://me:hunter2@a.example\"]",
            "a user or password",
        ),
        (
            "[stores.a]\nkind = \"pinning\"\nurls = [\"https://a.example\"]\ntoken_file = \"t\"\nfrom = \"swarm\"",
            "fetches from swarm, which is no IPFS node",
        ),
        (
            "[content]\nimaging = \"ipfs-gateway:https://a.example\"",
            "[content] imaging: nothing can be kept",
        ),
        ("[content]\nimagination = \"ipfs\"", "category"),
        ("[content]\nimaging = \"archive\"", "there is no store archive"),
    ] {
        let machine = Machine::new(&format!("{PROFILE}{table}"));
        machine.refuses(&[], says);
        let said = machine.run(&["config", "show"]);
        assert!(!format!("{}{}", said.stdout, said.stderr).contains("hunter2"), "{}", said.stderr);
    }
}

/// A hospital and its patient, whose new content goes to the directory `a`.
fn pair() -> Pair {
    Pair::meet_in(World::start_with_store("a"))
}

impl Pair {
    /// A store list of these directories.
    fn list(&self, names: &[&str]) -> String {
        names
            .iter()
            .map(|name| format!("local:{}", self.world.path(name)))
            .collect::<Vec<_>>()
            .join(",")
    }

    /// Proposes a document of one record.
    fn propose(&self, text: &str) -> Value {
        let document = format!(
            r#"{{"resourceType":"Bundle","type":"collection","entry":[{{"resource":{{
            "resourceType":"Condition","id":"{text}","subject":{{"reference":"Patient/1"}},
            "code":{{"text":"{text}"}}}}}}]}}"#
        );
        let file = self.world.write(&format!("{text}.json"), &document);
        self.hospital.json(&["record", "propose", "--to", "anna", &file])
    }

    /// Where a directory keeps a content.
    fn file(&self, store: &str, content: &str) -> PathBuf {
        let digits = content.strip_prefix("swarm:").unwrap();
        let found = files(&self.world.file(store)).into_iter().find(|path| {
            path.parent().unwrap().parent().unwrap().ends_with("swarm")
                && path.to_string_lossy().replace('/', "").ends_with(digits)
        });
        found.unwrap_or_else(|| panic!("{content} is not in {store}"))
    }
}

/// Code and object of a command.
fn said(person: &Person, args: &[&str]) -> (i32, Value) {
    let said = person.run(&[args, &["--json"]].concat());
    (said.code, said.json())
}

fn presences(checked: &Value) -> Vec<(&str, &str)> {
    let contents = items(checked, "/contents").iter();
    contents
        .flat_map(|content| items(content, "/places"))
        .map(|place| (at(place, "/place"), at(place, "/presence")))
        .collect()
}

#[test]
fn copies_are_checked_repaired_copied_and_pruned() {
    let mut pair = pair();
    pair.hospital.store = pair.list(&["a", "b"]);
    pair.propose("first");
    pair.patient.ok(&["record", "accept", "--all"]);
    let hospital = &pair.hospital;

    let (code, checked) = said(hospital, &["content", "check", "--whole"]);
    assert_eq!((code, presences(&checked)), (0, vec![("local", "whole"), ("local-2", "whole")]));
    let content = at(&checked, "/contents/0/content").to_owned();
    let record = at(&checked, "/contents/0/record").to_owned();
    assert_eq!(at(&checked, "/contents/0/category"), "problems");

    // A changed byte is found, told with a code of its own, and mended from the other copy.
    let file = pair.file("a", &content);
    let mut bytes = fs::read(&file).unwrap();
    bytes[4_100] ^= 1;
    set_mode(&file, 0o600);
    fs::write(&file, bytes).unwrap();
    let (code, checked) = said(hospital, &["content", "check", "--whole", &record[..12]]);
    assert_eq!((code, presences(&checked)), (5, vec![("local", "damaged"), ("local-2", "whole")]));
    pair.patient.fails(5, "do not match", &["record", "show", &record, "--fhir"]);
    let both = Person { store: pair.list(&["a", "b"]), ..pair.patient.clone() };
    both.ok(&["record", "show", &record, "--fhir"]);
    let (code, checked) = said(hospital, &["content", "check", "--whole", "--repair"]);
    assert_eq!((code, checked["repaired"].as_u64()), (0, Some(1)), "{checked:#}");
    pair.patient.ok(&["record", "show", &record, "--fhir"]);

    // So is a missing one; a copy can also be asked for, of a content alone and without the chain.
    fs::remove_file(pair.file("b", &content)).unwrap();
    let (code, checked) = said(hospital, &["content", "check", &content]);
    assert_eq!(
        (code, presences(&checked)),
        (3, vec![("local", "present"), ("local-2", "missing")])
    );
    let offline = Person { url: "http://127.0.0.1:1".to_owned(), ..hospital.clone() };
    for state in ["copied", "there"] {
        let (code, copied) = said(&offline, &["content", "copy", &content, "--to", "local-2"]);
        assert_eq!((code, at(&copied, "/copies/0/state")), (0, state));
    }
    assert_eq!(said(hospital, &["content", "check"]).0, 0);
    let listed = hospital.json(&["content", "list", "--place", "local-2"]);
    let kept = items(&listed, "/copies").iter().filter(|copy| at(copy, "/swarm") == content);
    assert_eq!((kept.count(), items(&listed, "/pending").len()), (1, 0), "{listed:#}");
    hospital.fails(
        2,
        "there is no store nowhere",
        &["content", "copy", &content, "--to", "nowhere"],
    );

    prune(&pair, &content);
}

/// What the patient rejected goes from both places, nothing else, and not unasked.
fn prune(pair: &Pair, needed: &str) {
    let hospital = &pair.hospital;
    let empty = hospital.json(&["content", "prune"]);
    assert!(items(&empty, "/contents").is_empty(), "{empty:#}");
    pair.propose("second");
    let inbox = pair.patient.json(&["record", "inbox"]);
    let proposal = at(&inbox, "/proposals/0/id");
    let (_, checked) = said(hospital, &["content", "check"]);
    let waiting = items(&checked, "/contents").iter().find(|it| at(it, "/standing") == "waiting");
    let rejected = at(waiting.unwrap(), "/content").to_owned();
    pair.patient.ok(&["record", "reject", proposal]);

    let unanswered = Said::by(&mut hospital.unanswered(&["content", "prune"]));
    let stderr = unanswered.stderr;
    assert_eq!(unanswered.code, 8, "{stderr}");
    assert!(stderr.contains(&rejected) && stderr.contains("needs an answer"), "{stderr}");
    pair.file("a", &rejected);

    let (code, pruned) = said(hospital, &["content", "prune"]);
    let lines: Vec<_> = items(&pruned, "/contents")
        .iter()
        .map(|it| (at(it, "/content"), at(it, "/standing"), at(it, "/place"), at(it, "/state")))
        .collect();
    let released = |place| (rejected.as_str(), "rejected", place, "released");
    assert_eq!((code, lines), (0, vec![released("local"), released("local-2")]));
    for store in ["a", "b"] {
        let digits = rejected.strip_prefix("swarm:").unwrap();
        let files = files(&pair.world.file(store));
        assert!(!files.iter().any(|path| path.to_string_lossy().ends_with(&digits[2..])));
        pair.file(store, needed);
    }
    assert!(items(&hospital.json(&["content", "prune"]), "/contents").is_empty());
}

/// A bee node of this process, and what it runs on.
fn bee() -> (Runtime, Bee) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.unwrap();
    let bee = runtime.block_on(Bee::start());
    (runtime, bee)
}

/// Settings by which what lies in the directory `a` is still read.
fn old(pair: &Pair) -> String {
    format!("[stores.old]\nkind = \"local\"\ndirectory = {:?}", pair.world.path("a"))
}

/// The findings of a check of `galen doctor`.
fn findings(report: &Value, check: &str) -> Vec<(String, String)> {
    let of_check = items(report, "/findings").iter().filter(|it| at(it, "/check") == check);
    of_check.map(|it| (at(it, "/state").to_owned(), at(it, "/found").to_owned())).collect()
}

#[test]
fn a_store_that_takes_nothing_is_told_and_gets_its_copy_later() {
    let mut pair = pair();
    let (_runtime, bee) = bee();
    bee.store().batches.clear();
    pair.hospital.store = format!("{},swarm:{}", pair.list(&["a"]), bee.url);
    let file = pair.world.write(
        "one.json",
        r#"{"resourceType":"Condition","subject":{"reference":"Patient/1"},"code":{"text":"one"}}"#,
    );
    let hospital = &pair.hospital;

    // The first place has it, so the record is proposed; that the other one has not is said.
    let proposed = hospital.ok(&["record", "propose", "--to", "anna", &file]);
    assert!(proposed.stderr.contains("not in the store swarm yet"), "{}", proposed.stderr);
    assert!(proposed.stderr.contains("postage"), "{}", proposed.stderr);
    let listed = hospital.json(&["content", "list"]);
    assert_eq!(at(&listed, "/pending/0/place"), "swarm");
    let (code, checked) = said(hospital, &["content", "check"]);
    assert_eq!((code, presences(&checked)), (3, vec![("local", "present"), ("swarm", "missing")]));
    let (code, resumed) = said(hospital, &["content", "copy", "--pending"]);
    assert_eq!((code, at(&resumed, "/copies/0/state")), (6, "failed"));

    // With postage for three days it goes on, and the end of the postage is seen coming.
    bee.store().batches.push(Batch::new(0xba, 3 * 86_400 + 7_200));
    let (code, resumed) = said(hospital, &["content", "copy", "--pending"]);
    assert_eq!((code, at(&resumed, "/copies/0/state")), (0, "copied"), "{resumed:#}");
    let (code, checked) = said(hospital, &["content", "check", "--whole"]);
    assert_eq!((code, presences(&checked)), (0, vec![("local", "whole"), ("swarm", "whole")]));
    let postage = hospital.ok(&["content", "postage"]);
    let batch = "ba".repeat(32);
    assert_eq!(postage.cells()[0][..3], ["swarm", &batch, "3 d 2 h"].map(str::to_owned));
    let doctor = hospital.json(&["doctor"]);
    let stores = findings(&doctor, "store");
    assert_eq!((stores[0].0.as_str(), stores[1].0.as_str()), ("ok", "warning"), "{stores:?}");
    assert!(stores[1].1.contains("lasts 3 d 2 h"), "{stores:?}");
    assert_eq!(findings(&doctor, "uploads"), [("ok".to_owned(), "none is unfinished".to_owned())]);

    // A place that no longer answers: known as that, not as a loss; reading goes on elsewhere.
    drop(bee);
    let (code, checked) = said(hospital, &["content", "check"]);
    assert_eq!((code, presences(&checked)[1]), (6, ("swarm", "unreachable")));
    let (code, doctor) = said(hospital, &["doctor"]);
    assert_eq!((code, findings(&doctor, "store")[1].0.as_str()), (6, "error"));
}

#[test]
fn faults_of_stores_have_a_code_and_say_what_to_do() {
    let pair = pair();
    let file = pair.world.write(
        "one.json",
        r#"{"resourceType":"Condition","subject":{"reference":"Patient/1"},"code":{"text":"one"}}"#,
    );
    pair.hospital.set(&old(&pair));
    let with = |store: String| Person { store, ..pair.hospital.clone() };
    let propose = ["record", "propose", "--to", "anna", file.as_str()];
    let batch = "ba".repeat(32);
    with(format!("swarm:http://127.0.0.1:1#batch={batch},old")).fails(6, "no answer", &propose);
    // Not a bee node: the chain's.
    with(format!("swarm:{}#batch={batch}", pair.world.url)).fails(6, "postage batch", &propose);
    with("swarm:http://203.0.113.1:1633".to_owned()).fails(2, "without encryption", &propose);
    with("swarm-gateway:https://records.example/galen".to_owned()).fails(
        2,
        "no store is set up that content can be sent to",
        &propose,
    );
    let guarded = "[stores.guarded]\nkind = \"swarm\"\ntoken_file = \"bee.token\"";
    pair.hospital.set(guarded);
    with("old,guarded".to_owned()).fails(3, "there is no token file", &propose);
    let token = pair.hospital.home.join("profiles/default/bee.token");
    fs::write(&token, "open-sesame").unwrap();
    set_mode(&token, 0o644);
    with("old,guarded".to_owned()).fails(
        2,
        "others on this machine can read the token file",
        &propose,
    );
    set_mode(&token, 0o600);
    fs::write(&token, "open sesame").unwrap();
    with("old,guarded".to_owned()).fails(2, "one word of visible characters", &propose);
    fs::write(&token, "open-sesame\n").unwrap();

    let (_runtime, bee) = bee();
    bee.store().batches.clear();
    with(format!("swarm:{},old", bee.url)).fails(6, "postage", &propose);
    with(format!("swarm:{}#batch={batch}", bee.url)).fails(
        6,
        "does not know the postage batch",
        &propose,
    );
    // After all of that nothing is proposed, and once it can be, it is, once.
    assert_eq!(items(&pair.patient.json(&["record", "inbox"]), "/proposals").len(), 0);
    with("old".to_owned()).ok(&propose);
    assert_eq!(items(&pair.patient.json(&["record", "inbox"]), "/proposals").len(), 1);
}

#[test]
fn an_interrupted_upload_says_how_to_go_on_and_goes_on() {
    let pair = pair();
    let (_runtime, bee) = bee();
    pair.hospital.set(&old(&pair));
    let hospital = Person { store: format!("swarm:{}", bee.url), ..pair.hospital.clone() };
    let file = pair.world.file("scan.dcm");
    fs::write(&file, (0..6_000_000_u32).map(|byte| (byte % 251) as u8).collect::<Vec<_>>())
        .unwrap();
    let args = ["record", "propose", "--to", "anna", "--attach", file.to_str().unwrap()];
    let args =
        [&args[..], &["--media-type", "application/dicom", "--category", "imaging"]].concat();

    bee.fail_later("POST bytes", Fault::Never, 1_000, 3);
    let mut child =
        hospital.command(&args).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while bee.store().received.len() < 3 {
        assert!(started.elapsed() < Duration::from_secs(60), "nothing is sent");
        assert_eq!(child.try_wait().unwrap(), None);
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(300));
    kill("-INT", child.id());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(
        stderr.contains("Run the same command again: it goes on where it stopped."),
        "{stderr}"
    );

    // The second run tells how far it is, counts what was there before, and sends only the rest.
    bee.heal();
    bee.fail_later("POST bytes", Fault::Slow(Duration::from_millis(5_600)), 2, 2);
    let proposed = hospital.ok(&args);
    let line = proposed.stderr.lines().find(|line| line.starts_with("Content to swarm: "));
    let line = line.unwrap_or_else(|| panic!("{}", proposed.stderr));
    assert!(
        line.contains(" MiB of 5.") && line.contains("/s, ") && line.ends_with(" left."),
        "{line}"
    );
    let sent: Vec<u32> = bee.store().received.values().copied().collect();
    assert!(sent.iter().all(|times| *times <= 2), "{sent:?}");
    assert!(sent.iter().filter(|times| **times > 1).count() <= 1, "{sent:?}");
    assert_eq!(items(&pair.patient.json(&["record", "inbox"]), "/proposals").len(), 1);
    let patient = Person { store: format!("swarm-gateway:{}", bee.url), ..pair.patient.clone() };
    patient.set(&old(&pair));
    let inbox = patient.json(&["record", "inbox"]);
    patient.ok(&[
        "record",
        "show",
        at(&inbox, "/proposals/0/id"),
        "--out",
        &pair.world.path("shown"),
    ]);
    assert_eq!(fs::read(pair.world.path("shown")).unwrap(), fs::read(&file).unwrap());
}
