//! A profile from nothing, as its owner meets it: set up, introduced, backed up, brought back, cut off at
//! every write; and no secret where it does not belong.
#![cfg(unix)]
#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a skipped test says so, and one that cannot go on panics"
)]

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

const PASSWORD: &str = "correct horse battery staple";
const KEY: &str = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318";
const ACCOUNT: &str = "0x2c7536e3605d9c16a7a3d7b1898e529396a65c23";

/// BIP-39's vector for 32 bytes of 0x7f.
const WORDS: &str = "legal winner thank year wave sausage worth useful legal winner thank year wave sausage \
    worth useful legal winner thank year wave sausage worth title";

/// One machine: a folder for everything.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.private("pass", PASSWORD);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn private(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }

    fn command(&self, program: &str, home: &str) -> Command {
        let mut command = Command::new(program);
        for name in ["ETH_RPC_URL", "GALEN_PROFILE", "NO_COLOR", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        command
            .env("HOME", self.path("nobody"))
            .env("GALEN_HOME", self.path(home))
            .env("ETH_PASSWORD", self.path("pass"))
            // Debug builds only: what guesses cost is not what is tested here.
            .env("GALEN_TEST_SCRYPT_LOG_N", "2")
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, home: &str, args: &[&str]) -> Output {
        self.command(env!("CARGO_BIN_EXE_galen"), home).args(args).output().unwrap()
    }

    /// The JSON result of a command that must succeed.
    fn json(&self, home: &str, args: &[&str]) -> Value {
        let output = self.run(home, &[args, &["--json", "--yes"]].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {stderr}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn fails(&self, home: &str, args: &[&str], code: i32, says: &str) {
        let output = self.run(home, args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(says) && stderr.contains("help: "), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

/// A running `galen dev`.
struct Dev(Child, String);

impl Dev {
    fn start(place: &Place) -> Self {
        let mut process = place
            .command(env!("CARGO_BIN_EXE_galen"), "dev")
            .args(["dev", "--listen", "127.0.0.1:0", "--json", "--quiet"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let url = ready["url"].as_str().unwrap().to_owned();
        Self(process, url)
    }

    fn fund(&self, place: &Place, id: &Value) {
        place.json("dev", &["dev", "fund", id.as_str().unwrap(), "--rpc-url", &self.1]);
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// A hospital deploys, a patient starts from its card, both know each other, and each way back works.
#[test]
fn people_meet_and_come_back() {
    let place = Place::new();
    let dev = Dev::start(&place);
    let hospital = place.json("a", &["init", "--role", "organization", "--name", "St Anna"]);
    dev.fund(&place, &hospital["id"]);
    let deployed = place.json("a", &["deploy", "--rpc-url", &dev.1, "--finality", "instant"]);
    assert_eq!(deployed["founders"][0], hospital["id"]);
    let again = place.json("a", &["deploy", "--rpc-url", &dev.1]);
    assert_eq!((&again["ledger"], &again["already_there"]), (&deployed["ledger"], &true.into()));
    assert_eq!(again["deployed_in"], deployed["deployed_in"]);
    let words = place.json("a", &["init"])["fingerprint"].clone();
    let card = place.json("a", &["contact", "card", "--png", "card.png"]);
    assert_eq!(card["fingerprint"], words);

    // A wallet and seed words that are known, so that a second machine can have them.
    place.private("words", WORDS);
    place.private("key", KEY);
    for home in ["b", "c"] {
        place.json(home, &["wallet", "import", "me", "--secret-file", "key"]);
    }
    let init = [
        "init",
        "--from",
        "card.png",
        "--restore",
        "--account",
        "me",
        "--seed-words-file",
        "words",
    ];
    place.fails("b", &init, 8, "there is no terminal to ask at");
    dev.fund(&place, &ACCOUNT.into());
    let store = place.path("a/content").display().to_string();
    let patient = place.json("b", &[&init[..], &["--store", &store, "--name", "Ann"]].concat());
    assert_eq!((&patient["id"], &patient["contact"]), (&ACCOUNT.into(), &"st-anna".into()));
    assert_eq!((&patient["role"], &patient["restored"]), (&"patient".into(), &false.into()));

    place.json("b", &["contact", "introduce", "st-anna", "--png", "introduction.png"]);
    let met =
        place.json("a", &["contact", "add", "introduction.png", "--as", "ann", "--mrn", "4711"]);
    assert_eq!((&met["id"], &met["fingerprint"]), (&patient["id"], &patient["fingerprint"]));
    assert_eq!(place.json("a", &["contact", "show", "mrn:4711"])["alias"], "ann");
    place.json("b", &["contact", "add", "card.png", "--as", "anna", "--verified"]);

    // A new machine, from wallet and seed words: the contact comes back from the store.
    let back = place.json("c", &[&init[..], &["--store", &store]].concat());
    assert_eq!((&back["restored"], &back["fingerprint"]), (&true.into(), &patient["fingerprint"]));
    let contacts = place.json("c", &["contact", "list"]);
    assert_eq!(contacts["contacts"][0]["alias"], "anna");
    assert_eq!(contacts["contacts"][0]["verified"], true);

    // And from one file.
    place.json("b", &["wallet", "backup", "--out", "backup", "--passphrase-file", "pass"]);
    place.json("d", &["wallet", "restore", "backup", "--passphrase-file", "pass"]);
    assert_eq!(place.json("d", &["contact", "list"]), contacts);
    place.fails("d", &["wallet", "restore", "backup", "--passphrase-file", "pass"], 2, "exists");
    place.private("wrong", "another password entirely");
    let wrong = ["wallet", "restore", "backup", "--passphrase-file", "wrong"];
    place.fails("e", &wrong, 2, "does not open the backup");

    let findings = place.json("b", &["doctor"]);
    let states: Vec<_> = findings["findings"].as_array().unwrap().iter().collect();
    assert!(states.iter().all(|finding| finding["state"] != "error"), "{findings}");

    // What is not the one that was meant is refused.
    let text = fs::read_to_string(place.path("b/networks.toml")).unwrap();
    let hash = deployed["code_hash"].as_str().unwrap();
    for (from, to, code) in
        [(hash, KEY, 5), ("chain_id = ", "chain_id = 1", 2), ("rpc_urls", "rpc_url", 2)]
    {
        let to = if from == hash { format!("0x{to}") } else { to.to_owned() };
        fs::write(place.path("b/networks.toml"), text.replace(from, &to)).unwrap();
        place.fails("b", &["contact", "list"], code, "");
    }
    no_secret_is_outside(&place);
}

/// Looks for what must not be there in every file.
fn no_secret_is_outside(place: &Place) {
    let mut found = Vec::new();
    files(place.0.path(), &mut found);
    let given = ["pass", "words", "key", "wrong"].map(|name| place.path(name));
    for path in found.iter().filter(|path| !given.contains(path)) {
        let bytes = fs::read(path).unwrap();
        let has = |secret: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
        for secret in [PASSWORD, KEY, "sausage worth", &"7f".repeat(32)] {
            assert!(!has(secret.as_bytes()), "{} holds a secret", path.display());
        }
        assert!(!has(&[0x7f; 32]), "{} holds a secret", path.display());
        let mode = fs::metadata(path).unwrap().permissions().mode() & 0o077;
        assert_eq!(mode, 0, "others can read {}", path.display());
    }
}

/// After a rotation the new wallet signs for the id, and the old one no more.
#[test]
fn a_rotation_hands_the_id_to_another_wallet() {
    let place = Place::new();
    let dev = Dev::start(&place);
    let hospital = place.json("a", &["init", "--role", "organization", "--name", "St Anna"]);
    dev.fund(&place, &hospital["id"]);
    place.json("a", &["deploy", "--rpc-url", &dev.1, "--finality", "instant"]);
    let second = place.json("a", &["wallet", "new", "second"]);
    dev.fund(&place, &second["address"]);
    place.fails("a", &["wallet", "rotate", "--to", "third"], 3, "there is no wallet third");
    let rotated = place.json("a", &["wallet", "rotate", "--to", "second"]);
    assert_eq!((&rotated["id"], &rotated["done"]), (&hospital["id"], &true.into()));
    assert!(rotated["sent"]["transaction"].is_string());

    // Cut off before the profile was written, the same command finishes.
    let profile = place.path("a/profiles/default/profile.toml");
    let before = fs::read_to_string(&profile).unwrap();
    let old = before.replace("second", "default");
    let old: Vec<&str> = old.lines().filter(|line| !line.starts_with("controller")).collect();
    fs::write(&profile, old.join("\n")).unwrap();
    place.fails("a", &["contact", "card", "--yes"], 5, "SignatureInvalid");
    assert!(place.json("a", &["wallet", "rotate", "--to", "second"])["sent"].is_null());
    assert_eq!(fs::read_to_string(&profile).unwrap(), before);
    assert_eq!(place.json("a", &["contact", "card"])["id"], hospital["id"]);
}

#[test]
fn passwords_are_strong_private_and_right() {
    let place = Place::new();
    place.private("weak", "password1");
    fs::write(place.path("open"), PASSWORD).unwrap();
    fs::set_permissions(place.path("open"), fs::Permissions::from_mode(0o644)).unwrap();
    let init = ["init", "--role", "reader", "--password-file"];
    place.fails("a", &[&init[..], &["weak"]].concat(), 2, "too easy to guess");
    place.fails("a", &[&init[..], &["open"]].concat(), 2, "others on this machine can read");
    place.fails("a", &[&init[..], &["none"]].concat(), 3, "there is no password file");
    place.fails("a", &["init"], 8, "--role");
    place.fails("a", &["contact", "list"], 3, "there is no profile");
    place.json("a", &[&init[..], &["weak", "--weak"]].concat());
    place.json("a", &["wallet", "new", "other"]);
    place.fails("a", &["wallet", "new", "other"], 2, "exists");
    place.fails("a", &["wallet", "new", "../x"], 2, "is not a name");
    place.private("wrong", "another password entirely");
    let import = ["wallet", "import", "old", "--from", "a/keystores/other", "--password-file"];
    place.fails("a", &[&import[..], &["wrong"]].concat(), 2, "does not open");
    fs::write(place.path("a/profiles/default/profile.toml"), "id = 1\nsecrets = \"x\"\n").unwrap();
    place.fails("a", &["config", "show"], 2, "profile.toml, line");
}

/// Killed at any call that changes a file: what was acknowledged is there, and running it again ends well.
#[test]
fn killed_at_any_write_a_profile_is_finished_by_running_again() {
    let strace = Command::new("strace").arg("-V").output().is_ok_and(|out| out.status.success());
    if !strace {
        let required = std::env::var("GALEN_REQUIRE_STRACE").is_ok_and(|value| value == "1");
        assert!(!required, "strace is required and missing");
        eprintln!("skipped: strace is missing");
        return;
    }
    let init = ["init", "--role", "patient", "--name", "Ann", "--json"];
    let mut kills = 0;
    for call in ["write", "fsync", "rename", "linkat", "link", "renameat2", "mkdir"] {
        for nth in 1..60 {
            let place = Place::new();
            let killed = place
                .command("strace", "a")
                .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")])
                .args(["-e", &format!("inject={call}:signal=KILL:when={nth}")])
                .arg(env!("CARGO_BIN_EXE_galen"))
                .args(init)
                .output()
                .unwrap();
            let made = place.path("a/keystores/default");
            let before = fs::read(&made).ok();
            let seed = fs::read(place.path("a/profiles/default/seed.json")).ok();
            let done = place.json("a", &init[..5]);
            // Keys that were whole are kept: somebody may have sent ether to them.
            assert!(before.is_none_or(|before| fs::read(&made).unwrap() == before), "{call} {nth}");
            let after = fs::read(place.path("a/profiles/default/seed.json")).ok();
            assert!(seed.is_none() || seed == after, "{call} {nth}");
            if killed.status.success() {
                let acknowledged: Value = serde_json::from_slice(&killed.stdout).unwrap();
                assert_eq!(acknowledged["id"], done["id"], "{call} {nth}");
                break;
            }
            kills += 1;
        }
    }
    assert!(kills > 10, "only {kills} kills");
}

/// Wallets go both ways between this program and `cast`, by their files and passwords alone.
#[test]
fn wallets_go_to_cast_and_come_from_it() {
    let found = Command::new("cast").arg("--version").output().is_ok_and(|it| it.status.success());
    if !found {
        let required = std::env::var("GALEN_REQUIRE_CAST").is_ok_and(|value| value == "1");
        assert!(!required, "cast is required and missing");
        eprintln!("skipped: cast is missing");
        return;
    }
    let place = Place::new();
    let cast = |args: &[&str]| {
        let output = place.command("cast", "a").args(args).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cast {args:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let folder = place.path("nobody/.foundry/keystores");
    fs::create_dir_all(&folder).unwrap();
    // cast takes passwords of its own making only in arguments; this is a test's.
    cast(&["wallet", "import", "theirs", "--private-key", KEY, "--unsafe-password", PASSWORD]);
    let listed = place.json("a", &["wallet", "list"]);
    assert_eq!(listed["wallets"][0]["name"], "theirs");
    let dev = Dev::start(&place);
    let init = ["init", "--role", "organization", "--account", "theirs"];
    assert_eq!(place.json("a", &init)["id"], ACCOUNT);
    dev.fund(&place, &ACCOUNT.into());
    let deployed = place.json("a", &["deploy", "--rpc-url", &dev.1, "--finality", "instant"]);
    assert_eq!(deployed["founders"][0], ACCOUNT, "their wallet signs and pays");
    assert_eq!(place.json("a", &["init"])["keys_published"], true);
    assert!(!place.path("a/keystores/theirs").exists(), "their folder is only read");

    let ours = place.json("a", &["wallet", "new", "ours"]);
    let file = ours["file"].as_str().unwrap();
    let pass = place.path("pass").display().to_string();
    let with = ["--keystore", file, "--password-file", &pass];
    let address = cast(&[&["wallet", "address"][..], &with].concat());
    assert_eq!(address.to_lowercase(), ours["address"].as_str().unwrap());
    let signature = cast(&[&["wallet", "sign", "hello"][..], &with].concat());
    let verified = cast(&["wallet", "verify", "--address", &address, "hello", &signature]);
    assert!(verified.contains("succeeded"), "{verified}");
}
