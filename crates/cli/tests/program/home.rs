//! A profile from nothing, as its owner meets it: set up, introduced, backed up, brought back, cut off at
//! every write; and no secret where it does not belong.

use std::fs;

use crate::common::{
    KEY, Machine, PASSWORD, Said, Server, WORDS, files, has_program, has_strace, mode, set_mode,
};

const ACCOUNT: &str = "0x2c7536e3605d9c16a7a3d7b1898e529396a65c23";

/// A command that must fail, with nothing on standard output.
fn fails(place: &Machine, home: &str, args: &[&str], code: i32, says: &str) {
    let said = place.run(home, args);
    assert_eq!(said.code, code, "{args:?}: {}", said.stderr);
    let has = |text| said.stderr.contains(text);
    assert!(has(says) && has("help: "), "{args:?}: {}", said.stderr);
    assert!(said.stdout.is_empty(), "{args:?}");
}

/// A hospital deploys, a patient starts from its card, both know each other, and each way back works.
#[test]
fn people_meet_and_come_back() {
    let place = Machine::new();
    let dev = Server::chain();
    let hospital = place.json("a", &["init", "--role", "organization", "--name", "St Anna"]);
    place.fund(&dev, &hospital["id"]);
    let deployed = place.json("a", &["deploy", "--rpc-url", dev.url(), "--finality", "instant"]);
    assert_eq!(deployed["founders"][0], hospital["id"]);
    let again = place.json("a", &["deploy", "--rpc-url", dev.url()]);
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
    fails(&place, "b", &init, 8, "there is no terminal to ask at");
    place.fund(&dev, &ACCOUNT.into());
    let store = place.path("a/content");
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
    fails(&place, "d", &["wallet", "restore", "backup", "--passphrase-file", "pass"], 2, "exists");
    place.private("wrong", "another password entirely");
    let wrong = ["wallet", "restore", "backup", "--passphrase-file", "wrong"];
    fails(&place, "e", &wrong, 2, "does not open the backup");

    let findings = place.json("b", &["doctor"]);
    let states: Vec<_> = findings["findings"].as_array().unwrap().iter().collect();
    assert!(states.iter().all(|finding| finding["state"] != "error"), "{findings}");

    // What is not the one that was meant is refused.
    let text = fs::read_to_string(place.file("b/networks.toml")).unwrap();
    let hash = deployed["code_hash"].as_str().unwrap();
    for (from, to, code) in
        [(hash, KEY, 5), ("chain_id = ", "chain_id = 1", 2), ("rpc_urls", "rpc_url", 2)]
    {
        let to = if from == hash { format!("0x{to}") } else { to.to_owned() };
        fs::write(place.file("b/networks.toml"), text.replace(from, &to)).unwrap();
        fails(&place, "b", &["contact", "list"], code, "");
    }
    no_secret_is_outside(&place);
}

/// Looks for what must not be there in every file.
fn no_secret_is_outside(place: &Machine) {
    let given = ["pass", "words", "key", "wrong"].map(|name| place.file(name));
    for path in files(place.root()).iter().filter(|path| !given.contains(path)) {
        let bytes = fs::read(path).unwrap();
        let has = |secret: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
        for secret in [PASSWORD, KEY, "sausage worth", &"7f".repeat(32)] {
            assert!(!has(secret.as_bytes()), "{} holds a secret", path.display());
        }
        assert!(!has(&[0x7f; 32]), "{} holds a secret", path.display());
        assert_eq!(mode(path) & 0o077, 0, "others can read {}", path.display());
    }
}

/// After a rotation the new wallet signs for the id, and the old one no more.
#[test]
fn a_rotation_hands_the_id_to_another_wallet() {
    let place = Machine::new();
    let dev = Server::chain();
    let hospital = place.json("a", &["init", "--role", "organization", "--name", "St Anna"]);
    place.fund(&dev, &hospital["id"]);
    place.json("a", &["deploy", "--rpc-url", dev.url(), "--finality", "instant"]);
    let second = place.json("a", &["wallet", "new", "second"]);
    place.fund(&dev, &second["address"]);
    fails(&place, "a", &["wallet", "rotate", "--to", "third"], 3, "there is no wallet third");
    let rotated = place.json("a", &["wallet", "rotate", "--to", "second"]);
    assert_eq!((&rotated["id"], &rotated["done"]), (&hospital["id"], &true.into()));
    assert!(rotated["sent"]["transaction"].is_string());

    // Cut off before the profile was written, the same command finishes.
    let profile = place.file("a/profiles/default/profile.toml");
    let before = fs::read_to_string(&profile).unwrap();
    let old = before.replace("second", "default");
    let old: Vec<&str> = old.lines().filter(|line| !line.starts_with("controller")).collect();
    fs::write(&profile, old.join("\n")).unwrap();
    fails(&place, "a", &["contact", "card", "--yes"], 5, "SignatureInvalid");
    assert!(place.json("a", &["wallet", "rotate", "--to", "second"])["sent"].is_null());
    assert_eq!(fs::read_to_string(&profile).unwrap(), before);
    assert_eq!(place.json("a", &["contact", "card"])["id"], hospital["id"]);
}

#[test]
fn passwords_are_strong_private_and_right() {
    let place = Machine::new();
    place.private("weak", "password1");
    place.write("open", PASSWORD);
    set_mode(place.file("open"), 0o644);
    let init = ["init", "--role", "reader", "--password-file"];
    fails(&place, "a", &[&init[..], &["weak"]].concat(), 2, "too easy to guess");
    fails(&place, "a", &[&init[..], &["open"]].concat(), 2, "others on this machine can read");
    fails(&place, "a", &[&init[..], &["none"]].concat(), 3, "there is no password file");
    fails(&place, "a", &["init"], 8, "--role");
    fails(&place, "a", &["contact", "list"], 3, "there is no profile");
    place.json("a", &[&init[..], &["weak", "--weak"]].concat());
    place.json("a", &["wallet", "new", "other"]);
    fails(&place, "a", &["wallet", "new", "other"], 2, "exists");
    fails(&place, "a", &["wallet", "new", "../x"], 2, "is not a name");
    place.private("wrong", "another password entirely");
    let import = ["wallet", "import", "old", "--from", "a/keystores/other", "--password-file"];
    fails(&place, "a", &[&import[..], &["wrong"]].concat(), 2, "does not open");
    fs::write(place.file("a/profiles/default/profile.toml"), "id = 1\nsecrets = \"x\"\n").unwrap();
    fails(&place, "a", &["config", "show"], 2, "profile.toml, line");
}

/// Killed at any call that changes a file: what was acknowledged is there, and running it again ends well.
#[test]
fn killed_at_any_write_a_profile_is_finished_by_running_again() {
    if !has_strace() {
        return;
    }
    let init = ["init", "--role", "patient", "--name", "Ann", "--json"];
    let mut kills = 0;
    for call in ["write", "fsync", "rename", "linkat", "link", "renameat2", "mkdir"] {
        for nth in 1..60 {
            let place = Machine::new();
            let mut killed = place.command("strace", "a");
            killed
                .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")])
                .args(["-e", &format!("inject={call}:signal=KILL:when={nth}")])
                .arg(env!("CARGO_BIN_EXE_galen"))
                .args(init);
            let killed = Said::by(&mut killed);
            let made = place.file("a/keystores/default");
            let before = fs::read(&made).ok();
            let seed = fs::read(place.file("a/profiles/default/seed.json")).ok();
            let done = place.json("a", &init[..5]);
            // Keys that were whole are kept: somebody may have sent ether to them.
            assert!(before.is_none_or(|before| fs::read(&made).unwrap() == before), "{call} {nth}");
            let after = fs::read(place.file("a/profiles/default/seed.json")).ok();
            assert!(seed.is_none() || seed == after, "{call} {nth}");
            if killed.code == 0 {
                assert_eq!(killed.json()["id"], done["id"], "{call} {nth}");
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
    if !has_program("cast", "--version", "GALEN_REQUIRE_CAST") {
        return;
    }
    let place = Machine::new();
    let cast = |args: &[&str]| {
        let said = Said::by(place.command("cast", "a").args(args));
        assert_eq!(said.code, 0, "cast {args:?}: {}", said.stderr);
        said.stdout.trim().to_owned()
    };
    let folder = place.file("nobody/.foundry/keystores");
    fs::create_dir_all(&folder).unwrap();
    // cast takes passwords of its own making only in arguments; this is a test's.
    cast(&["wallet", "import", "theirs", "--private-key", KEY, "--unsafe-password", PASSWORD]);
    let listed = place.json("a", &["wallet", "list"]);
    assert_eq!(listed["wallets"][0]["name"], "theirs");
    let dev = Server::chain();
    let init = ["init", "--role", "organization", "--account", "theirs"];
    assert_eq!(place.json("a", &init)["id"], ACCOUNT);
    place.fund(&dev, &ACCOUNT.into());
    let deployed = place.json("a", &["deploy", "--rpc-url", dev.url(), "--finality", "instant"]);
    assert_eq!(deployed["founders"][0], ACCOUNT, "their wallet signs and pays");
    assert_eq!(place.json("a", &["init"])["keys_published"], true);
    assert!(!place.file("a/keystores/theirs").exists(), "their folder is only read");

    let ours = place.json("a", &["wallet", "new", "ours"]);
    let file = ours["file"].as_str().unwrap();
    let pass = place.path("pass");
    let with = ["--keystore", file, "--password-file", &pass];
    let address = cast(&[&["wallet", "address"][..], &with].concat());
    assert_eq!(address.to_lowercase(), ours["address"].as_str().unwrap());
    let signature = cast(&[&["wallet", "sign", "hello"][..], &with].concat());
    let verified = cast(&["wallet", "verify", "--address", &address, "hello", &signature]);
    assert!(verified.contains("succeeded"), "{verified}");
}
