//! `galen fhir pull` and `push` against a FHIR server that does what real ones do, and what they should not.

use std::{fs, ops::Deref};

use serde_json::Value;

use crate::{
    common::{Place, Said, galen, mode, set_mode},
    twin::{Fault, Twin, observation_line},
};

const TOKEN: &str = "canary-of-a-token";

/// A folder, and the program in it.
struct Desk(Place);

impl Deref for Desk {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.0
    }
}

impl Desk {
    fn new() -> Self {
        let desk = Self(Place::new());
        desk.private("token", &format!("{TOKEN}\n"));
        desk
    }

    fn run(&self, args: &[&str]) -> Said {
        let said = Said::by(galen().args(args).current_dir(self.root()));
        for said in [&said.stdout, &said.stderr] {
            assert!(!said.contains(TOKEN), "the token is shown: {said}");
            assert!(!said.contains('\x1b'), "the server's words act: {said:?}");
        }
        said
    }

    fn pull(&self, twin: &Twin, args: &[&str]) -> Said {
        let server = ["fhir", "pull", "--server", &twin.url, "--token-file", "token"];
        self.run(&[&server[..], args].concat())
    }

    fn push(&self, twin: &Twin, args: &[&str]) -> Said {
        let server = ["fhir", "push", "--server", &twin.url, "--token-file", "token"];
        self.run(&[&server[..], args].concat())
    }
}

const ALL: [&str; 4] = ["--patient", "anna", "--out", "all.ndjson"];

#[test]
fn everything_of_a_patient_comes_as_it_was_written() {
    let (desk, twin) = (Desk::new(), Twin::start().with_patient(7).with_token(TOKEN));
    let said = desk.pull(&twin, &[&ALL[..], &["--json"]].concat());
    assert_eq!(said.code, 0, "{}", said.stderr);
    let report = said.json();
    assert_eq!((report["pages"].as_u64(), report["accepted"].as_u64()), (Some(3), Some(8)));
    assert_eq!(report["types"]["Observation"], 7);
    let text = desk.read("all.ndjson");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 8);
    for n in 0..7 {
        assert_eq!(lines[n + 1], observation_line(n));
    }
    assert_eq!(mode(desk.file("all.ndjson")), 0o600);
    let left = fs::read_dir(desk.root()).unwrap().count();
    assert_eq!(left, 2, "the token, the result and nothing else");

    // One Bundle that is proposed as it is; a file of each type; a place that is taken.
    assert_eq!(desk.pull(&twin, &["--patient", "anna", "--out", "all.json"]).code, 0);
    let bundle = desk.read("all.json");
    assert!(bundle.contains(&observation_line(6)));
    assert_eq!(desk.run(&["fhir", "check", "all.json"]).code, 0);
    assert_eq!(
        desk.pull(&twin, &["--type", "Patient", "--type", "Observation", "--out", "d"]).code,
        0
    );
    assert_eq!(desk.read("d/Observation.ndjson").lines().count(), 7);
    let taken = desk.pull(&twin, &ALL);
    assert_eq!(taken.code, 2, "{}", taken.stderr);
    assert!(taken.stderr.contains("exists"));

    // Without the operation, by searches; what cannot be searched by patient is left out.
    let twin = Twin::start().with_patient(4).with_token(TOKEN).without_everything();
    assert_eq!(desk.pull(&twin, &["--patient", "anna", "--out", "two.ndjson"]).code, 0);
    assert_eq!(desk.read("two.ndjson").lines().count(), 5);
    assert_eq!(twin.count("Observation?subject=anna"), 1);
    assert_eq!(twin.count("Organization"), 0);
    let nothing = desk.pull(&twin, &["--type", "Organization", "--out", "none.json"]);
    assert_eq!(nothing.code, 0, "{}", nothing.stderr);
    assert_eq!(desk.run(&["fhir", "check", "none.json"]).code, 0, "an empty answer is a document");
}

#[test]
fn pulls_that_cannot_go_well_end_with_the_reason() {
    let hostile = "bad\u{1b}[31m value\nline";
    let hostile: &'static str = Box::leak(hostile.to_owned().into_boxed_str());
    let elsewhere = Twin::start().with_patient(1);
    let cases = [
        ("metadata", Fault::Html, 6, "another content type than JSON"),
        ("metadata", Fault::Nonsense, 6, "no CapabilityStatement"),
        ("metadata", Fault::Status(404, "no"), 3, "there is no such thing"),
        ("everything", Fault::Status(400, hostile), 2, "processing: bad?[31m value?line"),
        ("everything", Fault::Status(401, "expired"), 4, "refused with status 401"),
        ("everything", Fault::Status(403, "not yours"), 4, "not yours"),
        ("everything", Fault::Status(404, "who?"), 3, "who?"),
        ("everything", Fault::Status(422, "odd"), 2, "status 422"),
        ("everything", Fault::Status(429, "slow down"), 6, "status 429"),
        ("everything", Fault::Status(500, "oops"), 6, "oops"),
        ("everything", Fault::Stall, 6, "no whole answer within 1 s"),
        ("everything", Fault::Cut, 6, "the connection broke"),
        ("everything", Fault::Huge, 6, "more than 268435456 bytes"),
        ("everything", Fault::Html, 6, "another content type"),
        ("everything", Fault::Nonsense, 6, "no Bundle"),
        ("everything", Fault::Redirect(elsewhere.url.clone()), 2, "redirected"),
        ("everything", Fault::NextTo(format!("{}/Patient", elsewhere.url)), 4, "another origin"),
        ("everything", Fault::NextTo("https://127.0.0.1/fhir".to_owned()), 4, "another origin"),
        (
            "everything",
            Fault::NextTo("Patient/anna/$everything?_count=200".to_owned()),
            6,
            "circle",
        ),
    ];
    std::thread::scope(|scope| {
        for (what, fault, code, says) in cases {
            scope.spawn(move || {
                let (desk, twin) = (Desk::new(), Twin::start().with_patient(2).with_token(TOKEN));
                twin.fail(what, fault.clone(), usize::MAX);
                let said = desk.pull(&twin, &[&ALL[..], &["--timeout", "1"]].concat());
                assert_eq!(said.code, code, "{fault:?}: {}", said.stderr);
                assert!(said.stderr.contains(says), "{fault:?}: {}", said.stderr);
                assert!(said.stderr.contains("help: "), "{fault:?}: {}", said.stderr);
                assert!(!desk.file("all.ndjson").exists(), "{fault:?}: nothing half done");
            });
        }
    });
    assert_eq!(elsewhere.asked().len(), 0, "nothing goes to another origin");
}

#[test]
fn what_is_asked_wrong_is_not_asked() {
    let (desk, twin) = (Desk::new(), Twin::start().with_patient(1).with_version("5.0.0"));
    let url = twin.url.clone();
    let out = ["--out", "x.json"];
    for (args, says) in [
        (
            vec!["--server", &url, "--patient", "anna"],
            "another version of FHIR than 4.0; it says: 5.0.0",
        ),
        (vec!["--server", "http://fhir.example/r4", "--patient", "a"], "plain HTTP"),
        (vec!["--server", "ftp://fhir.example", "--patient", "a"], "http or https"),
        (vec!["--server", "https://me:pw@fhir.example", "--patient", "a"], "no user, no password"),
    ] {
        let said = desk.run(&[&["fhir", "pull"][..], &args, &out].concat());
        assert_eq!(said.code, 2, "{args:?}: {}", said.stderr);
        assert!(said.stderr.contains(says) && said.stderr.contains("help: "), "{}", said.stderr);
    }
    let twin = Twin::start().with_patient(1);
    for (args, says) in [
        (&["--patient", "a/../b"][..], "an id has"),
        (&["--type", "patient"], "a resource type"),
        (&["--type", "Patient?x=1"], "a resource type"),
        (&[], "what to pull"),
    ] {
        let said = desk.pull(&twin, &[args, &out].concat());
        assert_eq!(said.code, 2, "{args:?}: {}", said.stderr);
        assert!(said.stderr.contains(says), "{}", said.stderr);
    }
    set_mode(desk.file("token"), 0o644);
    let said = desk.pull(&twin, &["--patient", "anna", "--out", "x.json"]);
    assert!(said.stderr.contains("others on this machine can read the token file"));
    assert_eq!(twin.asked().iter().filter(|it| it.path != "/fhir/metadata").count(), 0);
}

#[test]
fn a_server_in_trouble_is_asked_again() {
    let (desk, twin) = (Desk::new(), Twin::start().with_patient(7));
    twin.fail("metadata", Fault::Later(503, 1), 1);
    twin.fail("everything", Fault::Status(502, "proxy"), 1);
    twin.fail("from=3", Fault::Cut, 1);
    twin.fail("from=6", Fault::Later(429, 1), 2);
    let started = std::time::Instant::now();
    let said = desk.pull(&twin, &ALL);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(desk.read("all.ndjson").lines().count(), 8);
    assert!(started.elapsed().as_secs() >= 3, "the server's wish is respected");
    assert_eq!(twin.count("from=6"), 3);
}

#[test]
fn a_pull_goes_on_where_it_stopped() {
    let (desk, twin) = (Desk::new(), Twin::start().with_patient(7));
    twin.fail("from=6", Fault::Status(500, "down"), 5);
    let said = desk.pull(&twin, &ALL);
    assert_eq!(said.code, 6, "{}", said.stderr);
    for name in ["all.ndjson.part", "all.ndjson.state"] {
        assert_eq!(mode(desk.file(name)), 0o600, "{name}");
    }
    // A crash in the middle of a line.
    let mut part = desk.read("all.ndjson.part");
    part.push_str("{\"resourceType\":\"Obs");
    desk.write("all.ndjson.part", &part);

    let other = desk.pull(&twin, &["--type", "Patient", "--out", "all.ndjson"]);
    assert_eq!(other.code, 2, "{}", other.stderr);
    assert!(other.stderr.contains("another pull"), "{}", other.stderr);

    let before = twin.count("everything");
    let said = desk.pull(&twin, &ALL);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(twin.count("everything") - before, 1, "only the page that was missing");
    let text = desk.read("all.ndjson");
    assert_eq!(text.lines().count(), 8);
    assert_eq!(text.lines().last(), Some(observation_line(6).as_str()));

    // A server that forgot the search is asked anew, and nothing comes twice.
    twin.fail("from=6", Fault::Status(500, "down"), 5);
    let again = [&ALL[..], &["--force", "--json"]].concat();
    assert_eq!(desk.pull(&twin, &again).code, 6);
    twin.fail("from=6", Fault::Status(410, "the cursor is gone"), 1);
    let said = desk.pull(&twin, &again);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let report = said.json();
    assert_eq!((report["accepted"].as_u64(), report["duplicates"].as_u64()), (Some(8), Some(6)));
}

#[test]
fn what_the_reader_refuses_lies_apart() {
    let (desk, twin) = (Desk::new(), Twin::start().with_patient(1));
    twin.keep("Condition/bad", r#"{"resourceType":"Condition","id":"bad","ssn":"078-05-1120"}"#);
    let said = desk.pull(&twin, &["--patient", "anna", "--out", "all.json"]);
    assert_eq!(said.code, 2, "{}", said.stderr);
    assert!(said.stderr.contains("1 resources are not acceptable"), "{}", said.stderr);
    assert_eq!(desk.run(&["fhir", "check", "all.json"]).code, 0);
    assert!(desk.read("all.refused.ndjson").contains("078-05-1120"));
    assert!(!said.stdout.contains("078-05-1120") && !said.stderr.contains("078-05-1120"));
}

const PATIENT: &str = r#"{"resourceType":"Patient","id":"anna","meta":{"versionId":"3"}}"#;

fn with_id(id: &str) -> String {
    format!(r#"{{"resourceType":"Organization","id":"{id}","name":"x 1.0100"}}"#)
}

fn states(said: &Said) -> Vec<(String, String)> {
    let report = said.json();
    let lines = report["results"].as_array().unwrap().iter();
    let text = |it: &Value, key: &str| it[key].as_str().unwrap_or_default().to_owned();
    lines.map(|it| (text(it, "resource"), text(it, "state"))).collect()
}

#[test]
fn each_resource_is_sent_once() {
    let (desk, twin) = (Desk::new(), Twin::start().with_token(TOKEN));
    let identified = r#"{"resourceType":"Patient","identifier":[{"value":"x"},{"system":"urn:mrn","value":"47 11&a=b|c"}]}"#;
    let bare = r#"{"resourceType":"Organization","name":"no id"}"#;
    let lines = [with_id("a"), identified.to_owned(), bare.to_owned(), with_id("b")];
    desk.write("in.ndjson", &lines.join("\n"));
    let said = desk.push(&twin, &["in.ndjson", "--json"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(states(&said).iter().all(|(_, state)| state == "created"), "{}", said.stdout);
    assert_eq!(twin.kept("Organization/a").as_deref(), Some(lines[0].as_str()));
    let condition = twin.asked().into_iter().find(|it| it.path == "/fhir/Patient").unwrap().head;
    let condition = condition.to_ascii_lowercase();
    assert!(
        condition.contains("if-none-exist: identifier=urn%3amrn%7c47+11%26a%3db%7cc"),
        "{condition}"
    );

    // Nothing is sent again; elsewhere, what has an identifier is found again.
    let before = twin.asked().len();
    let said = desk.push(&twin, &["in.ndjson", "--json"]);
    assert!(states(&said).iter().all(|(_, state)| state == "known"), "{}", said.stdout);
    assert_eq!(twin.asked().len() - before, 1, "the server was asked what it can");
    let said = desk.push(&twin, &["in.ndjson", "--state", "fresh", "--json"]);
    let found: Vec<String> = states(&said).into_iter().map(|(_, state)| state).collect();
    assert_eq!(found, ["updated", "there", "created", "updated"]);
    assert_eq!(mode(desk.file("fresh")), 0o600);

    // A journal that a crash cut in an entry; and one that is none.
    let journal = desk.read("in.ndjson.pushed");
    desk.write("in.ndjson.pushed", &journal[..journal.len() - 10]);
    let said = desk.push(&twin, &["in.ndjson", "--json"]);
    let found: Vec<String> = states(&said).into_iter().map(|(_, state)| state).collect();
    assert_eq!(found, ["known", "known", "known", "updated"]);
    desk.write("in.ndjson.pushed", &"not a journal ".repeat(20));
    assert_eq!(desk.push(&twin, &["in.ndjson"]).code, 2);
}

#[test]
fn what_a_server_does_not_take_is_told_and_the_rest_is_sent() {
    let cases = [
        (400, 2, "not taken"),
        (403, 4, "refused"),
        (404, 3, "no such thing"),
        (409, 7, "another version"),
        (412, 7, "another version"),
        (422, 2, "not taken"),
    ];
    std::thread::scope(|scope| {
        for (status, code, says) in cases {
            scope.spawn(move || {
                let (desk, twin) = (Desk::new(), Twin::start());
                desk.write("in.ndjson", &[with_id("a"), with_id("b"), with_id("c")].join("\n"));
                twin.fail("Organization/b", Fault::Status(status, "bad\u{1b}[2J\u{202e}"), 1);
                let said = desk.push(&twin, &["in.ndjson"]);
                assert_eq!(said.code, code, "{status}: {}", said.stderr);
                let line = said.stdout.lines().nth(1).unwrap();
                assert!(line.contains(says) && line.contains("processing: bad?[2J?"), "{line}");
                assert!(line.contains(&format!("refused\t{status}")), "{line}");
                assert_eq!(twin.len(), 2);
                // Only what was not taken is tried again.
                let said = desk.push(&twin, &["in.ndjson", "--json"]);
                let found: Vec<String> = states(&said).into_iter().map(|(_, it)| it).collect();
                assert_eq!(found, ["known", "created", "known"]);
            });
        }
    });
    let (desk, twin) = (Desk::new(), Twin::start());
    desk.write(
        "in.ndjson",
        &format!("{}\n{{\"resourceType\":\"Patient\",\"x\":1}}\n", with_id("a")),
    );
    let said = desk.push(&twin, &["in.ndjson"]);
    assert_eq!((said.code, twin.len()), (2, 1), "{}", said.stderr);
    assert!(said.stdout.contains("in.ndjson:2\t-\trefused"), "{}", said.stdout);
}

#[test]
fn a_push_stops_where_the_next_would_fare_no_better() {
    for (fault, code, says) in [
        (Fault::Status(401, "expired"), 4, "refused with status 401"),
        (Fault::Redirect("https://elsewhere.example".to_owned()), 2, "redirected"),
        (Fault::Status(500, "oops"), 6, "status 500"),
        (Fault::Stall, 6, "no whole answer"),
    ] {
        let (desk, twin) = (Desk::new(), Twin::start());
        desk.write("in.ndjson", &[with_id("a"), with_id("b"), with_id("c")].join("\n"));
        twin.fail("Organization/b", fault.clone(), usize::MAX);
        let said = desk.push(&twin, &["in.ndjson", "--timeout", "1"]);
        assert_eq!(said.code, code, "{fault:?}: {}", said.stderr);
        assert!(said.stderr.contains(says) && said.stderr.contains("help: "), "{}", said.stderr);
        assert_eq!((twin.len(), twin.count("Organization/c")), (1, 0), "{fault:?}");
    }
}

#[test]
fn nothing_is_made_twice_where_an_answer_is_lost() {
    // An update may be repeated, and what has an identifier.
    let (desk, twin) = (Desk::new(), Twin::start());
    let identified =
        r#"{"resourceType":"Patient","identifier":[{"system":"urn:mrn","value":"4711"}]}"#;
    desk.write("in.ndjson", &format!("{}\n{identified}", with_id("a")));
    twin.fail("PUT", Fault::Lost, 1);
    twin.fail("POST", Fault::Lost, 1);
    let said = desk.push(&twin, &["in.ndjson", "--json"]);
    assert_eq!((said.code, twin.len()), (0, 2), "{}", said.stderr);
    assert_eq!((twin.count("PUT"), twin.count("POST")), (2, 2));

    // A creation without one, an update of a version, and a transaction may not.
    let transaction = r#"{"resourceType":"Bundle","type":"transaction","entry":[{"resource":{"resourceType":"Patient"},"request":{"method":"POST","url":"Patient"}}]}"#;
    for (text, method) in
        [(r#"{"resourceType":"Patient"}"#, "POST"), (PATIENT, "PUT"), (transaction, "POST")]
    {
        let (desk, twin) = (Desk::new(), Twin::start());
        desk.write("in.json", text);
        twin.fail(method, Fault::Cut, usize::MAX);
        let said = desk.push(&twin, &["in.json"]);
        assert_eq!((said.code, twin.count(method)), (6, 1), "{text}: {}", said.stderr);
        // A server that is not ready says so before it does anything.
        let twin = Twin::start();
        twin.keep("Patient/anna", PATIENT);
        twin.fail(method, Fault::Later(503, 0), 1);
        desk.push(&twin, &["in.json"]);
        assert_eq!(twin.count(method), 2, "{text}");
    }
}

#[test]
fn versions_and_transactions_go_as_they_are() {
    let (desk, twin) = (Desk::new(), Twin::start());
    twin.keep("Patient/anna", PATIENT);
    desk.write("in.json", PATIENT);
    let said = desk.push(&twin, &["in.json"]);
    assert_eq!(said.code, 7, "{}", said.stderr);
    assert!(twin.asked().last().unwrap().head.to_ascii_lowercase().contains("if-match: w/\"3\""));
    let said = desk.push(&twin, &["in.json", "--overwrite"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stdout.contains("updated\t200\t2"), "{}", said.stdout);

    let transaction = "{ \"resourceType\": \"Bundle\", \"type\": \"transaction\", \"entry\": [ { \"resource\": {\"resourceType\":\"Patient\"}, \"request\": { \"method\": \"POST\", \"url\": \"Patient\" } } ] }";
    desk.write("transaction.json", transaction);
    let said = desk.push(&twin, &["transaction.json", "--json"]);
    assert_eq!(states(&said), [("Bundle".to_owned(), "done".to_owned())]);
    assert_eq!(twin.asked().last().unwrap().body, transaction);
}

/// `scripts/fhir-server` starts HAPI FHIR and names it.
#[test]
fn a_real_server_is_pulled_from_and_pushed_to() {
    let (Ok(url), Ok(token)) =
        (std::env::var("GALEN_FHIR_SERVER"), std::env::var("GALEN_FHIR_TOKEN_FILE"))
    else {
        assert!(std::env::var_os("GALEN_REQUIRE_FHIR_SERVER").is_none(), "no FHIR server");
        // Skipped: scripts/fhir-server runs one.
        return;
    };
    let desk = Desk::new();
    let with = |verb, args: &[&str]| {
        desk.run(&[&["fhir", verb, "--server", &url, "--token-file", &token], args].concat())
    };
    // The server stays as it is after other runs.
    let anna = format!("anna-{}", std::process::id());
    let observation = |n: usize| {
        format!(
            r#"{{"resourceType":"Observation","id":"{anna}-{n}","status":"final","code":{{"text":"Magnesium"}},"subject":{{"reference":"Patient/{anna}"}},"valueQuantity":{{"value":1.0{n:02}00}}}}"#
        )
    };
    let mut lines =
        vec![format!(r#"{{"resourceType":"Patient","id":"{anna}","birthDate":"1980-02-29"}}"#)];
    lines.extend((0..65).map(observation));
    lines.push(format!(
        r#"{{"resourceType":"Observation","identifier":[{{"system":"urn:lab","value":"{anna} b&c|d"}}],"status":"final","code":{{"text":"x"}},"subject":{{"reference":"Patient/{anna}"}}}}"#
    ));
    desk.write("in.ndjson", &lines.join("\n"));
    let said = with("push", &["in.ndjson", "--json"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(states(&said).iter().all(|(_, state)| state == "created"), "{}", said.stdout);
    let said = with("push", &["in.ndjson", "--state", "fresh", "--json"]);
    let last = states(&said).pop().unwrap().1;
    assert_eq!((said.code, last.as_str()), (0, "there"), "found by its identifier");

    let said = with("pull", &["--patient", &anna, "--out", "all.ndjson", "--json"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let report = said.json();
    assert_eq!((report["accepted"].as_u64(), report["pages"].as_u64()), (Some(67), Some(4)));
    let text = desk.read("all.ndjson");
    (0..65).for_each(|n| assert!(text.contains(&format!("\"value\":1.0{n:02}00}}")), "{n}"));

    // What was pulled names its version: it is updated once, and then the server has another.
    desk.write("changed.ndjson", &text.replace("Magnesium", "Calcium"));
    assert_eq!(with("push", &["changed.ndjson"]).code, 0);
    let said = with("push", &["changed.ndjson", "--state", "again"]);
    assert_eq!(said.code, 7, "{}", said.stderr);
    assert!(said.stdout.contains("412") && said.stdout.contains("the server has version"));

    let transaction = format!(
        r#"{{"resourceType":"Bundle","type":"transaction","entry":[{{"resource":{{"resourceType":"Patient","id":"{anna}-t"}},"request":{{"method":"PUT","url":"Patient/{anna}-t"}}}}]}}"#
    );
    desk.write("transaction.json", &transaction);
    assert_eq!(with("push", &["transaction.json"]).code, 0);
    let found =
        with("pull", &["--type", "Patient", "--patient", &format!("{anna}-t"), "--out", "t.json"]);
    assert_eq!(found.code, 0, "{}", found.stderr);
    assert!(desk.read("t.json").contains(&format!("{anna}-t")));

    desk.private("wrong", "not-the-token");
    let said = desk.run(&[
        "fhir",
        "pull",
        "--server",
        &url,
        "--token-file",
        "wrong",
        "--patient",
        &anna,
        "--out",
        "x.json",
    ]);
    assert_eq!(said.code, 4, "{}", said.stderr);
    assert_eq!(with("pull", &["--patient", "nobody-here", "--out", "x.json"]).code, 3);
}
