//! Known secrets are looked for wherever a program can put them: arguments, environment, files, sockets, output.
//!
//! Every command of a story runs under strace, which writes down what each process is started with and what it
//! writes. Each secret is looked for as it is, in hex and in base64 at every offset.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use galen_chain::words_from_seed;
use galen_crypto::Keystore;

use crate::{
    common::{KEY, Server, at, files, has_strace, items, set_mode, traced},
    world::{Person, World},
};

/// What only the documents say.
const DIAGNOSIS: &str = "Zyxtonorine intolerance";
const FAMILY: &str = "Quibblethwaite";

/// What a store asks for.
const TOKEN: &str = "tok-9f2c77e1-for-a-store";

/// What the hospital types about its patient; its own arguments and its own lists may show it.
const MRN: &str = "MRN-77310-QX";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// Arguments or environment of a process.
    Started,
    /// Standard output or standard error.
    Shown,
    Socket,
    File,
}

/// A secret in every form that is looked for, each in lowercase hex.
struct Secret {
    name: String,
    forms: Vec<String>,
}

impl Secret {
    fn new(name: impl Into<String>, bytes: &[u8]) -> Self {
        let mut forms = vec![bytes.to_vec(), hex::encode(bytes).into_bytes()];
        forms.push(hex::encode_upper(bytes).into_bytes());
        for before in 0..3 {
            let padded = [&vec![0; before][..], bytes].concat();
            let text = STANDARD_NO_PAD.encode(&padded);
            // The first and the last letters also hold bits of what is around.
            let text = &text[[0, 2, 3][before]..text.len() - 1];
            let for_urls = text.replace('+', "-").replace('/', "_");
            forms.extend([text.as_bytes().to_vec(), for_urls.into_bytes()]);
        }
        Self { name: name.into(), forms: forms.iter().map(hex::encode).collect() }
    }

    fn is_in(&self, hex: &str) -> bool {
        self.forms.iter().any(|form| hex.contains(form.as_str()))
    }
}

/// What was found, and where.
type Hits = BTreeSet<(Place, String)>;

/// Looks through what strace wrote about one command.
fn scan_trace(trace: &str, secrets: &[Secret]) -> Hits {
    let mut hits = Hits::new();
    for line in trace.lines() {
        let Some(call) = line.split_once(' ').map(|(_, call)| call.trim_start()) else { continue };
        // A pipe of the test reads what is shown.
        let to = call.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
        let to = to.map(|(name, _)| unescaped(name)).unwrap_or_default();
        let place = match () {
            () if call.starts_with("execve(") => Place::Started,
            () if to.starts_with("socket:") || to.starts_with("TCP") => Place::Socket,
            () if to.starts_with("pipe:") || to.starts_with("/dev/") => Place::Shown,
            () => Place::File,
        };
        let hex = call.replace("\\x", "");
        let found = secrets.iter().filter(|secret| secret.is_in(&hex));
        hits.extend(found.map(|secret| (place, secret.name.clone())));
    }
    hits
}

fn unescaped(name: &str) -> String {
    let bytes = hex::decode(name.replace("\\x", "")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The scanner finds what is there, at each place and in each form.
#[test]
fn a_secret_that_leaks_is_found() {
    if !has_strace() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let secret = Secret::new("it", b"open sesame, please");
    let base64 = STANDARD_NO_PAD.encode(b"before open sesame, please after");
    let leaks = [
        (Place::Started, "exec true 'open sesame, please'".to_owned()),
        (Place::Started, "A='open sesame, please' exec env".to_owned()),
        (Place::Shown, "echo 6f70656e20736573616d652c20706c65617365".to_owned()),
        (Place::Shown, "echo open sesame, please >&2".to_owned()),
        (Place::File, format!("echo {base64} >leak")),
        (Place::File, "printf '\\6open sesame, please\\0' >leak".to_owned()),
        (Place::Socket, format!("printf 'open sesame, please' >/dev/tcp/127.0.0.1/{port}")),
    ];
    for (expected, script) in leaks {
        // The script comes by standard input: in an argument it would be found there.
        let path = place.path().join("script");
        fs::write(&path, &script).unwrap();
        let folder = tempfile::tempdir_in(place.path()).unwrap();
        let mut command = traced(folder.path(), "bash");
        command.stdin(fs::File::open(&path).unwrap()).current_dir(folder.path());
        command.output().unwrap();
        let traces = files(folder.path());
        let secrets = std::slice::from_ref(&secret);
        let scan = |path: &PathBuf| scan_trace(&fs::read_to_string(path).unwrap(), secrets);
        let trace = traces.iter().find(|path| path.file_name().unwrap() != "leak").unwrap();
        assert!(scan(trace).contains(&(expected, "it".to_owned())), "{script}: {:?}", scan(trace));
    }
}

fn bundle(salt: &str) -> String {
    format!(
        r#"{{"resourceType":"Bundle","type":"collection","entry":[
        {{"fullUrl":"urn:uuid:1","resource":{{"resourceType":"Condition","code":{{"text":"{DIAGNOSIS}"}},"note":[{{"text":"{salt}"}}],"subject":{{"display":"{FAMILY}"}}}}}}]}}"#
    )
}

/// Hospital and patient, all of whose commands are traced.
struct Story {
    world: World,
    hospital: Person,
    patient: Person,
    /// Number of commands and what they may show, none or the documents.
    traces: PathBuf,
    shown: BTreeSet<usize>,
}

impl Story {
    fn begin() -> Self {
        let mut world = World::start();
        let traces = world.file("traces");
        fs::create_dir(&traces).unwrap();
        world.traces = Some(traces.clone());
        let [hospital] = world.members(["hospital"]);
        let (card, picture) = (world.path("hospital.card"), world.path("card.png"));
        hospital.ok(&["contact", "card", "--out", &card, "--png", &picture]);
        let patient = world.guest("patient", "patient", &hospital);
        let store = guarded_store();
        for person in [&hospital, &patient] {
            let table = "kind = \"ipfs\"\ntoken_file = \"store.token\"";
            person.set(&format!("[stores.guarded]\nurls = [\"{store}\"]\n{table}"));
            let token = person.home.join("profiles/default/store.token");
            fs::write(&token, TOKEN).unwrap();
            set_mode(&token, 0o600);
        }
        Self { world, hospital, patient, traces, shown: BTreeSet::new() }
    }

    /// A command that is there to show a document.
    fn shows(&mut self, person: &Person, args: &[&str]) {
        let before = commands_in(&self.traces);
        let said = person.ok(args);
        assert!(said.stdout.contains(DIAGNOSIS) || args.contains(&"--out"), "{args:?}");
        self.shown.extend(commands_in(&self.traces).difference(&before));
    }

    /// Passwords, keys, seeds and seed words of everybody, and what the documents say.
    fn secrets(&self) -> Vec<Secret> {
        let mut secrets = vec![Secret::new("imported key", &hex::decode(KEY).unwrap())];
        for person in [&self.hospital, &self.patient] {
            let password = fs::read_to_string(&person.password).unwrap();
            let password = password.trim_end();
            secrets.push(Secret::new("password", password.as_bytes()));
            for file in ["keystores/default", "profiles/default/seed.json"] {
                let text = fs::read_to_string(person.home.join(file)).unwrap();
                let secret = Keystore::from_json(&text).unwrap().decrypt(password.as_bytes());
                let secret = secret.unwrap();
                secrets.push(Secret::new(file, &secret[..]));
                let words = words_from_seed(&secret);
                let words: Vec<&str> = words.split(' ').take(4).collect();
                secrets.push(Secret::new(format!("words of {file}"), words.join(" ").as_bytes()));
            }
        }
        secrets
    }
}

/// A store that has nothing to say, for whoever calls; gives its URL.
fn guarded_store() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let _ = (&stream).write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
        }
    });
    url
}

/// `galen relay`, traced like the rest.
struct Relay(Server);

impl Relay {
    fn start(story: &Story) -> Self {
        let person = &story.hospital;
        person.ok(&["wallet", "new", "relay"]);
        let list = person.json(&["wallet", "list"]);
        let wallet = items(&list, "/wallets").iter().find(|it| at(it, "/name") == "relay").unwrap();
        person.ok(&["dev", "fund", at(wallet, "/address")]);
        let listen = ["relay", "--listen", "127.0.0.1:0", "--account", "relay", "--json"];
        Self(Server::start(&mut person.command(&listen)))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // strace ends with what it traces, which ends with its terminate signal.
        let children = format!("/proc/{0}/task/{0}/children", self.0.id());
        for child in fs::read_to_string(children).unwrap_or_default().split_whitespace() {
            let _ = Command::new("kill").arg(child).status();
        }
        let _ = self.0.wait();
    }
}

/// What shows settings, lists and errors.
fn look_around(person: &Person, key: &str) {
    for args in [
        &["doctor", "--json"][..],
        &["config", "show"],
        &["content", "list"],
        &["content", "check"],
        &["content", "copy", "--to", "guarded"],
        &["content", "copy", "--to", "guarded", "--json"],
        &["content", "prune"],
        &["contact", "list"],
        &["access", "log"],
        &["wallet", "list"],
        &["wallet", "import", "old", "--secret-file", key],
        &["wallet", "archive"],
        &["contact", "show", "nobody"],
        &["record", "get", "0x12345678"],
    ] {
        person.run(args);
    }
}

/// The story: every command, those that fail among them. Documents are shown by three of them only.
fn tell(story: &mut Story) {
    let (hospital, mut patient) = (story.hospital.clone(), story.patient.clone());
    let path = |name: &str| story.world.path(name);
    let (introduction, card, line) = (path("introduction"), path("patient.card"), path("grant"));
    let (read, backup) = (path("read"), path("backup"));
    let (key, wrong) = (
        story.world.private("key", KEY),
        story.world.private("wrong", "another password entirely"),
    );
    let input = story.world.private("in.json", &bundle("first"));
    let amended = story.world.private("in2.json", &bundle("second"));
    let refused =
        story.world.private("bad.json", &bundle("x").replace("\"code\"", "\"birthDate\""));

    let relay = Relay::start(story);
    patient.ok(&["contact", "introduce", "hospital", "--out", &introduction]);
    patient.ok(&["contact", "card", "--out", &card, "--relay", relay.0.url()]);
    hospital.ok(&["contact", "add", &card, "--as", "anna", "--mrn", MRN]);
    hospital.ok(&["contact", "add", &introduction]);
    hospital.ok(&["record", "propose", "--to", "anna", &input]);
    assert_ne!(hospital.run(&["record", "propose", "--to", "anna", &refused]).code, 0);
    assert_ne!(hospital.run(&["fhir", "check", &refused, "--json"]).code, 0);
    let inbox = patient.json(&["record", "inbox"]);
    let proposal = at(&inbox, "/proposals/0/id");
    patient.ok(&["record", "show", proposal]);
    story.shows(&patient, &["record", "show", proposal, "--only", "0", "--fhir"]);
    patient.ok(&["record", "accept", "--all", "--relay", relay.0.url()]);
    let list = patient.json(&["record", "list"]);
    let record = at(&list, "/records/0/id");
    story.shows(&patient, &["record", "get", record]);
    hospital.ok(&["record", "amend", record, &amended, "--to", "anna"]);
    patient.ok(&["record", "accept", "--all"]);
    let grant = ["consent", "grant", "--to", "hospital", "--category", "problems"];
    let grant = [&grant[..], &["--purpose", "TREAT", "--for", "30d", "--out", &line]].concat();
    let granted = patient.json(&grant);
    hospital.ok(&["grant", "add", &line]);
    story.shows(&hospital, &["access", "anna", "--purpose", "TREAT", "--out", &read]);
    fs::remove_dir_all(&read).unwrap();
    patient.ok(&["record", "reseal"]);
    patient.ok(&["consent", "revoke", at(&granted, "/consent/id")]);
    assert_eq!(hospital.run(&["access", "anna", "--purpose", "TREAT"]).code, 4);
    [&hospital, &patient].into_iter().for_each(|person| look_around(person, &key));
    patient.ok(&["audit", "--json"]);
    patient.ok(&["wallet", "backup", "--out", &backup, "--passphrase-file", &wrong]);
    assert_eq!(patient.run(&["wallet", "backup", "--words"]).code, 8);
    let secret_file = patient.password.display().to_string();
    let restore = ["wallet", "restore", &backup, "--profile", "again", "--passphrase-file"];
    assert_eq!(patient.run(&[&restore[..], &[&secret_file]].concat()).code, 2);
    patient.ok(&[&restore[..], &[&wrong]].concat());
    // Passwords and keys that are wrong, files that are damaged: error texts, for people and machines.
    patient.password = wrong.into();
    assert_eq!(patient.run(&["record", "list"]).code, 2);
    assert_eq!(patient.run(&["record", "list", "--json"]).code, 2);
    fs::write(patient.home.join("profiles/default/book.sealed"), b"torn").unwrap();
    patient.password = secret_file.into();
    assert_ne!(patient.run(&["contact", "list", "--json"]).code, 0);
    drop(relay);
}

#[test]
fn no_secret_is_anywhere_it_does_not_belong() {
    if !has_strace() {
        return;
    }
    let mut story = Story::begin();
    tell(&mut story);
    let always = story.secrets();
    let documents = [DIAGNOSIS, FAMILY].map(|text| Secret::new(text, text.as_bytes()));
    let mrn = [Secret::new(MRN, MRN.as_bytes())];
    let token = [Secret::new("token", TOKEN.as_bytes())];
    let mut told = 0;
    let commands = fs::read_dir(&story.traces).unwrap().count();
    assert!(commands > 50, "{commands} commands");
    let mut shown = 0;
    for number in commands_in(&story.traces) {
        let mut trace = String::new();
        let path = story.traces.join(number.to_string());
        fs::File::open(path).unwrap().read_to_string(&mut trace).unwrap();
        assert!(trace.contains("execve("), "nothing was traced");
        let command = trace.lines().next().map(unescaped_all).unwrap_or_default();
        assert_eq!(scan_trace(&trace, &always), Hits::new(), "{command}");
        let found = scan_trace(&trace, &documents);
        if story.shown.contains(&number) {
            shown += usize::from(!found.is_empty());
            let elsewhere =
                |(place, _): &&(Place, String)| !matches!(place, Place::Shown | Place::File);
            assert_eq!(found.iter().find(elsewhere), None, "{command}");
        } else {
            assert_eq!(found, Hits::new(), "{command}");
        }
        // Only the store is told its token.
        let found = scan_trace(&trace, &token);
        assert!(found.iter().all(|(place, _)| *place == Place::Socket), "{command}: {found:?}");
        told += found.len();
        let found = scan_trace(&trace, &mrn);
        assert!(found.iter().all(|(place, _)| *place < Place::Socket), "{command}: {found:?}");
    }
    assert_eq!(shown, 3, "the documents are found where they are shown");
    assert!(told > 3, "the token is found where it is told: {told}");
    let secrets: Vec<&Secret> = always.iter().chain(&documents).chain(&mrn).chain(&token).collect();
    scan_files(&story, &secrets);
}

/// What is left on disk, but for what the test itself wrote.
fn scan_files(story: &Story, secrets: &[&Secret]) {
    let given = ["key", "wrong", "in.json", "in2.json", "bad.json"].map(|it| story.world.file(it));
    let mut looked = 0;
    for path in files(story.world.root()) {
        let is_given =
            given.contains(&path) || path.ends_with("password") || path.ends_with("store.token");
        if is_given || path.starts_with(&story.traces) {
            continue;
        }
        let hex = hex::encode(fs::read(&path).unwrap());
        for secret in secrets {
            assert!(!secret.is_in(&hex), "{} holds {}", path.display(), secret.name);
        }
        looked += 1;
    }
    assert!(looked > 20, "{looked} files");
}

fn commands_in(traces: &Path) -> BTreeSet<usize> {
    let names = fs::read_dir(traces).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.to_str().unwrap().parse().unwrap()).collect()
}

/// The strings of a line, for people.
fn unescaped_all(line: &str) -> String {
    let strings = line.split('"').skip(1).step_by(2).take(12);
    strings.map(unescaped).collect::<Vec<_>>().join(" ")
}
