//! Sharing with people who do not have Galen, through the program.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    ops::Deref,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use galen_sdk::{
    health_card::{IssuerKeys, read_cards, verify_card},
    health_link::HealthLink,
};
use serde_json::Value;

use crate::{
    common::{Place, Said, Server, at, galen, mode},
    world::Pair,
};

const PASSCODE: &str = "Qz7-canary-passcode";

/// Somebody with a folder.
struct Sharer(Place);

impl Deref for Sharer {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.0
    }
}

impl Sharer {
    fn new() -> Self {
        let home = Place::new();
        home.private("code", &format!("{PASSCODE}\n"));
        Self(home)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = galen();
        command.args(args).arg("--home").arg(self.root());
        command
    }

    fn run(&self, args: &[&str]) -> Said {
        Said::by(&mut self.command(args))
    }

    fn json(&self, args: &[&str]) -> Value {
        let said = self.run(&[args, &["--json", "--yes"]].concat());
        assert_eq!(said.code, 0, "{args:?}: {}", said.stderr);
        assert!(!said.stderr.contains(PASSCODE), "{}", said.stderr);
        said.json()
    }

    /// The profile's server, and where it answers. It ends as a power failure would end it.
    fn serve(&self, listen: &str) -> (Server, String) {
        let flags = ["share", "serve", "--listen", listen, "--json", "--quiet"];
        let server = Server::start(&mut self.command(&flags));
        let url = server.url().to_owned();
        (server, url)
    }
}

fn fixture(name: &str) -> String {
    format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The status of a request for a manifest, if there is an answer.
fn ask(url: &str, passcode: &str) -> Option<u16> {
    let (host, path) = url.strip_prefix("http://")?.split_once('/')?;
    let mut stream = TcpStream::connect(host).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let body = format!(r#"{{"recipient":"somebody","passcode":"{passcode}"}}"#);
    let len = body.len();
    write!(stream, "POST /{path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n{body}").ok()?;
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.split(' ').nth(1)?.parse().ok()
}

#[test]
fn files_for_any_host_are_ciphertext_and_the_link_opens_them() {
    let sharer = Sharer::new();
    let document = fs::read(fixture("../../tests/fixtures/patient.json")).unwrap();
    let (png, svg, kept) = (sharer.path("a.png"), sharer.path("a.svg"), sharer.path("link"));
    let shared = sharer.json(&[
        "share",
        "--file",
        &fixture("../../tests/fixtures/patient.json"),
        "--label",
        "Summary",
        "--viewer",
        "https://viewer.example/",
        "--base-url",
        "https://files.example/me/",
        "--out",
        &sharer.path("up"),
        "--png",
        &png,
        "--svg",
        &svg,
        "--link-out",
        &kept,
    ]);
    let link = HealthLink::parse(at(&shared, "/link")).unwrap();
    assert!(link.direct && !link.passcode && link.expires.is_some());
    assert_eq!((link.label.as_deref(), link.url.as_str()), (Some("Summary"), at(&shared, "/url")));
    let file = Path::new(at(&shared, "/file"));
    assert_eq!(
        link.url,
        format!("https://files.example/me/{}", file.file_name().unwrap().to_str().unwrap())
    );
    let jwe = fs::read_to_string(file).unwrap();
    assert_eq!(link.key.open(&jwe, 64 << 20).unwrap().plaintext.expose(), document);
    for path in [Path::new(&png), Path::new(&svg), Path::new(&kept), file] {
        assert_eq!(mode(path), 0o600, "{}", path.display());
    }
    assert_eq!(fs::read_to_string(&kept).unwrap().trim(), at(&shared, "/link"));
    // A person is warned and asked, and without one nothing is shared.
    let said = sharer.run(&[
        "share",
        "--file",
        &fixture("../../tests/fixtures/patient.json"),
        "--base-url",
        "https://e.org",
        "--out",
        &sharer.path("no"),
    ]);
    assert_eq!(said.code, 8);
    for part in ["NOT logged on chain", "cannot be taken back"] {
        assert!(said.stderr.contains(part), "{}", said.stderr);
    }
    assert!(!Path::new(&sharer.path("no")).exists());
}

#[test]
fn links_are_served_opened_listed_and_stopped() {
    let sharer = Sharer::new();
    let (server, base) = sharer.serve("127.0.0.1:0");
    let patient = fixture("../../tests/fixtures/patient.json");
    let link = sharer.path("link.png");
    let shared = sharer.json(&[
        "share",
        "--file",
        &patient,
        "--base-url",
        &base,
        "--passcode-file",
        &sharer.path("code"),
        "--png",
        &link,
    ]);
    let open = |out: &str, code: Option<&str>| {
        let out = sharer.path(out);
        let mut args =
            vec!["share", "open", &link, "--out", &out, "--recipient", "Dr. \u{1b}[2JWho"];
        args.extend(code.iter().flat_map(|code| ["--passcode-file", code]));
        sharer.run(&args)
    };
    assert_eq!(open("none", None).code, 4);
    assert_eq!(open("got", Some(&sharer.path("code"))).code, 0);
    assert_eq!(fs::read(sharer.path("got/1.json")).unwrap(), fs::read(&patient).unwrap());
    let wrong = sharer.private("wrong", "1234");
    assert_eq!(open("none", Some(&wrong)).code, 4);
    // A card comes out as a card.
    let card = fixture("tests/cmd/input/anna.smart-health-card");
    let second = sharer.json(&["share", "--file", &card, "--base-url", &base, "--once"]);
    let received =
        sharer.json(&["share", "open", at(&second, "/link"), "--out", &sharer.path("card")]);
    assert_eq!(at(&received, "/files/0/kind"), "card");
    let again =
        sharer.run(&["share", "open", at(&second, "/link"), "--out", &sharer.path("again")]);
    assert_eq!(again.code, 3);
    let id = at(&shared, "/id");
    let listed = sharer.json(&["share", "list", id]);
    assert_eq!(listed["links"][0]["opened"], 1);
    assert_eq!(listed["links"][0]["remaining"], 9);
    assert!(!listed.to_string().contains('\u{1b}') && listed.to_string().contains("Who"));
    let states = sharer.json(&["share", "list"]);
    assert_eq!(states["links"].as_array().unwrap().len(), 2);
    // While it is served, by another process; and whoever asks then gets nothing.
    assert_eq!(at(&sharer.json(&["share", "stop", id]), "/links/0/state"), "stopped");
    assert_eq!(open("late", Some(&sharer.path("code"))).code, 3);
    // One server for each folder.
    assert_eq!(sharer.run(&["share", "serve", "--listen", "127.0.0.1:0"]).code, 6);
    drop(server);
}

/// Killed at random moments while readers guess: every answered guess is counted, and a killed one costs a try.
#[test]
fn guesses_are_counted_though_the_server_is_killed() {
    const ATTEMPTS: u64 = 60;
    let sharer = Sharer::new();
    let (server, base) = sharer.serve("127.0.0.1:0");
    let shared = sharer.json(&[
        "share",
        "--file",
        &fixture("../../tests/fixtures/patient.json"),
        "--base-url",
        &base,
        "--passcode-file",
        &sharer.path("code"),
        "--attempts",
        &ATTEMPTS.to_string(),
    ]);
    let (url, listen) =
        (at(&shared, "/url").to_owned(), base.strip_prefix("http://").unwrap().to_owned());
    let answered = AtomicU64::new(0);
    let mut running = Some(server);
    for round in 0..12_u64 {
        let server = running.take().unwrap_or_else(|| sharer.serve(&listen).0);
        std::thread::scope(|scope| {
            for guess in 0..4 {
                let (url, answered) = (&url, &answered);
                scope.spawn(move || {
                    if ask(url, &format!("{round}-{guess}")) == Some(401) {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(15 + 90 * (round % 5)));
            drop(server);
        });
    }
    let state = sharer.json(&["share", "list", at(&shared, "/id")]);
    let counted = ATTEMPTS - state["links"][0]["remaining"].as_u64().unwrap();
    let answered = answered.into_inner();
    assert!(counted >= answered, "{answered} answered, {counted} counted");
    assert!(counted > 0 && counted <= 48, "{counted}");
    // Until the end, and then not even the right one.
    let (_server, _) = sharer.serve(&listen);
    let left = ATTEMPTS - counted;
    for _ in 0..left {
        assert_eq!(ask(&url, "wrong"), Some(401));
    }
    assert_eq!(ask(&url, "wrong"), Some(404));
    assert_eq!(ask(&url, PASSCODE), Some(404));
}

/// Python with jwcrypto, which `scripts/tools` installs and `GALEN_PYTHON` names.
fn python(script: &str) -> Option<Command> {
    let Some(python) = std::env::var_os("GALEN_PYTHON") else {
        eprintln!("skipped: GALEN_PYTHON names no Python");
        return None;
    };
    let mut command = Command::new(python);
    command.arg(fixture(&format!("../../tests/oracles/python/{script}"))).stdin(Stdio::null());
    Some(command)
}

/// Another program reads our links as a viewer does, with a passcode, by manifest and by location; ours reads its.
#[test]
fn other_viewers_and_we_read_each_others_links() {
    if python("shl.py").is_none() {
        return;
    }
    let sharer = Sharer::new();
    let (_server, base) = sharer.serve("127.0.0.1:0");
    let patient = fixture("../../tests/fixtures/patient.json");
    let code = sharer.path("code");
    for (name, more) in
        [("plain", &[][..]), ("coded", &["--passcode-file", &code][..]), ("once", &["--once"][..])]
    {
        let link = sharer.path(name);
        let make = ["share", "--file", &patient, "--base-url", &base, "--link-out", &link];
        sharer.json(&[&make[..], more].concat());
        let output = python("shl.py").unwrap().args(["open", &link, &code]).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let files: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(files[0]["contentType"], "application/fhir+json", "{name}");
        assert_eq!(at(&files, "/0/text"), fs::read_to_string(&patient).unwrap(), "{name}");
    }
    let wrong = sharer.write("wrong", "0000");
    let output = python("shl.py")
        .unwrap()
        .args(["open", &sharer.path("coded")])
        .arg(wrong)
        .output()
        .unwrap();
    let refused: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (at(&refused, "/body"), &refused["status"]),
        (r#"{"remainingAttempts":9}"#, &Value::from(401))
    );
    // The other way round: their host, their compression, our reader.
    let theirs = sharer.file("theirs");
    fs::create_dir(&theirs).unwrap();
    fs::copy(&patient, theirs.join("document.json")).unwrap();
    let host = Server::start(python("shl.py").unwrap().arg("host").arg(&theirs));
    let link = sharer.path("their-link");
    fs::write(&link, at(&host.ready, "/link")).unwrap();
    let received = sharer.json(&["share", "open", &link, "--out", &sharer.path("received")]);
    assert_eq!((at(&received, "/files/0/kind"), at(&received, "/label")), ("fhir", "Ein Befund"));
    assert_eq!(
        fs::read_to_string(sharer.path("received/1.json")).unwrap(),
        at(&host.ready, "/text")
    );
    drop(host);
}

/// Cards that jwcrypto signed, and forgeries of them: it and we agree on every one.
#[test]
fn jwcrypto_and_we_agree_on_cards() {
    const COUNT: usize = 64;
    let Some(mut maker) = python("shc.py") else { return };
    let output = maker.args(["make", &COUNT.to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made = String::from_utf8(output.stdout).unwrap();
    for line in made.lines() {
        let card: Value = serde_json::from_str(line).unwrap();
        let keys = IssuerKeys::read(card["keys"].to_string().as_bytes()).unwrap();
        let held = read_cards(&[at(&card, "/token").as_bytes()])
            .and_then(|cards| verify_card(&cards[0], &keys, 1_800_000_000));
        assert_eq!(held.is_ok(), card["good"] == true, "{}: {held:?}", card["why"]);
    }
    assert_eq!(made.lines().count(), COUNT);
}

/// A patient's own records, over a real chain and store: what comes out is what `galen record get` gives, and the
/// chain's log of reads has nothing of it.
#[test]
fn records_of_a_chart_are_shared_byte_for_byte() {
    let Pair { world, hospital, patient } = &Pair::meet();
    let condition = |text: &str| {
        format!(
            r#"{{ "resourceType":"Condition","code":{{"text":"{text}"}},"subject":{{"display":"somebody"}} }}"#
        )
    };
    for text in ["Zyxtonorine A", "Zyxtonorine B"] {
        let file = world.write("condition.json", &condition(text));
        hospital.ok(&["record", "propose", "--to", "anna", &file]);
    }
    patient.ok(&["record", "accept", "--all"]);
    let records = patient.json(&["record", "list"]);
    let ids: Vec<String> =
        (0..2).map(|index| at(&records, &format!("/records/{index}/id")).to_owned()).collect();
    let up = world.path("up");
    let base = ["--base-url", "https://files.example/me", "--out", &up];
    let shared = patient.json(&[&["share", &ids[0], &ids[1]], &base[..]].concat());
    assert_eq!(shared["resources"], 2);
    let link = HealthLink::parse(at(&shared, "/link")).unwrap();
    let jwe = fs::read_to_string(at(&shared, "/file")).unwrap();
    let bundle = link.key.open(&jwe, 1 << 20).unwrap();
    let text = String::from_utf8(bundle.plaintext.expose().to_vec()).unwrap();
    assert!(
        text.contains(&condition("Zyxtonorine A")) && text.contains(&condition("Zyxtonorine B")),
        "{text}"
    );
    // The whole chart as a summary.
    let shared = patient.json(&[&["share", "--ips"], &base[..]].concat());
    let link = HealthLink::parse(at(&shared, "/link")).unwrap();
    let jwe = fs::read_to_string(at(&shared, "/file")).unwrap();
    let summary = link.key.open(&jwe, 1 << 20).unwrap();
    let summary = String::from_utf8(summary.plaintext.expose().to_vec()).unwrap();
    assert!(
        summary.contains("\"document\"") && summary.contains(&condition("Zyxtonorine A")),
        "{summary}"
    );
    let audit = patient.json(&["audit"]);
    assert_eq!(audit["accesses"], 0, "{audit}");
    assert!(!jwe.contains("Zyxtonorine"));
}
