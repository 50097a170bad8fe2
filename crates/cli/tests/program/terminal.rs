//! People at a terminal: what is asked, what is not shown, what no means, and what Ctrl-C leaves behind.

use std::{
    net::TcpListener,
    path::Path,
    time::{Duration, Instant},
};

use alloy::providers::Provider as _;
use galen_chain::{Account, KeySigner, Ledger};
use galen_crypto::{Keystore, RootSeed};
use galen_sdk::{Galen, Identity};
use galen_storage::Storage;
use pty_process::blocking::Command;

use crate::{
    common::{CHEAP_PASSWORDS, PASSWORD, VARIABLES, WORDS, block_on},
    screen::Screen,
    world::{Person, Strangers},
};

const CTRL_C: &str = "\x03";
const SIGINT: i32 = 2;

/// The program at a terminal, with a folder of its own and nothing answered beforehand.
fn galen(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_galen"));
    for name in VARIABLES {
        command = command.env_remove(name);
    }
    command
        .args(args)
        .env("TERM", "xterm-256color")
        .env("HOME", home.join("nobody"))
        .env("GALEN_HOME", home)
        .env(CHEAP_PASSWORDS.0, CHEAP_PASSWORDS.1)
        .current_dir(home)
}

impl Person {
    /// The person's command at a terminal, with their password file and without `--yes`.
    fn at_terminal(&self, args: &[&str]) -> Screen {
        let password = self.password.display().to_string();
        let more = ["--password-file", &password, "--store", &self.store, "--rpc-url", &self.url];
        Screen::start(galen(&self.home, &[args, &more[..]].concat()))
    }
}

fn is_empty(home: &Path, folder: &str) -> bool {
    std::fs::read_dir(home.join(folder)).map_or(true, |mut entries| entries.next().is_none())
}

/// The wizard: role, name, a password twice. A weak one and a mistyped one are asked for again.
#[test]
fn the_wizard_asks_for_what_is_missing() {
    let home = tempfile::tempdir().unwrap();
    let mut screen = Screen::start(galen(home.path(), &["init"]));
    screen.expect("patient").type_line("patient");
    screen.expect("Your name on cards").type_line("Ann");
    screen.expect_hidden("New password of ").type_line("password1");
    screen.expect("too easy to guess");
    screen.expect_hidden("New password of ").type_line(PASSWORD);
    screen.expect_hidden("The same again").type_line("correct horse battery stable");
    screen.expect("The two differ");
    screen.expect_hidden("New password of ").type_line(&format!("mistyped\x15{PASSWORD}"));
    screen.expect_hidden("The same again").type_line(&format!("{PASSWORD}x\x7f"));
    assert_eq!(screen.end(), 0, "{}", screen.text());
    let text = screen.text();
    for secret in [PASSWORD, "password1", "mistyped", "stable"] {
        assert!(!text.contains(secret), "the terminal shows {secret}: {text}");
    }
    assert!(home.path().join("profiles/default/profile.toml").is_file());

    // 24 words, after a yes, and only on the terminal.
    let backup = || Screen::start(galen(home.path(), &["wallet", "backup", "--words"]));
    let mut screen = backup();
    screen.expect("Show them now? [y/N]").type_line("");
    assert_eq!(screen.end(), 8);
    let mut screen = backup();
    screen.expect("Show them now? [y/N]").type_line("y");
    for _ in 0..2 {
        screen.expect_hidden("Password of ").type_line("not this one");
        screen.expect("does not open it");
    }
    screen.expect_hidden("Password of ").type_line(PASSWORD);
    screen.expect("24  ");
    assert_eq!(screen.end(), 0);
    assert!(!screen.text().contains(PASSWORD));
    let mut screen = backup();
    screen.expect("Show them now? [y/N]").type_line("y");
    for _ in 0..3 {
        screen.expect_hidden("Password of ").type_line("not this one");
    }
    assert_eq!(screen.end(), 2, "three tries are enough");
}

/// Ctrl-C at any question: the terminal is as it was, and nothing is half done.
#[test]
fn ctrl_c_at_a_question_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let init = ["init", "--role", "patient", "--name", "Ann"];
    let start = |args: &[&str]| Screen::start(galen(home.path(), args));

    let mut screen = start(&["init"]);
    screen.expect("patient").type_keys(CTRL_C);
    assert_eq!(screen.end(), -SIGINT);
    let mut screen = start(&init);
    screen.expect_hidden("New password of ").type_keys("half a pass").type_keys(CTRL_C);
    assert_eq!(screen.end(), 8);
    assert!(screen.text().contains("interrupted") && !screen.text().contains("half a pass"));
    let mut screen = start(&init);
    screen.expect_hidden("New password of ").type_line(PASSWORD);
    screen.expect_hidden("The same again").type_keys(CTRL_C);
    assert_eq!(screen.end(), 8);
    let mut screen = start(&["wallet", "import", "payer"]);
    screen.expect_hidden("Private key in hex").type_keys("4c0883").type_keys(CTRL_C);
    assert_eq!(screen.end(), 8);
    assert!(is_empty(home.path(), "keystores"), "a wallet without a password");
    assert!(!home.path().join("profiles/default/profile.toml").exists());

    // And afterwards all is as if nothing had been.
    let mut screen = start(&init);
    screen.expect_hidden("New password of ").type_line(PASSWORD);
    screen.expect_hidden("The same again").type_line(PASSWORD);
    assert_eq!(screen.end(), 0, "{}", screen.text());
}

/// Ctrl-C while a node does not answer: at once, and the person saw what was waited for.
#[test]
fn ctrl_c_ends_a_wait() {
    let cast = Strangers::new();
    // Accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let patient = Person { url, ..cast.patient.clone() };
    let mut screen = patient.at_terminal(&["contact", "list"]);
    // STYLE's rule: no wait over two seconds without a word.
    let started = Instant::now();
    while screen.text().trim().is_empty() {
        assert!(started.elapsed() < Duration::from_secs(3), "a silent wait");
        std::thread::sleep(Duration::from_millis(20));
    }
    let started = Instant::now();
    screen.type_keys(CTRL_C);
    assert_eq!(screen.end(), -SIGINT);
    assert!(started.elapsed() < Duration::from_secs(2));
}

impl Strangers {
    /// Publishes the keys of another seed with somebody's wallet.
    fn publish(&self, person: &Person, seed: &RootSeed) {
        let keystore = std::fs::read_to_string(person.home.join("keystores/default")).unwrap();
        let password = std::fs::read_to_string(&person.password).unwrap();
        let keystore = Keystore::from_json(&keystore).unwrap();
        let key = keystore.decrypt(password.trim_end().as_bytes()).unwrap();
        block_on(async {
            let account = Account::new(KeySigner::from_key(&key).unwrap());
            let (address, block) = self.world.ledger();
            let ledger = Ledger::connect(self.world.provider(), address, block).await.unwrap();
            let storage = Storage::local(self.world.path("store")).await.unwrap();
            let galen = Galen::new(ledger.paid_by(&account), storage);
            galen.organization(Identity::new(account, seed)).publish_keys().await.unwrap();
        });
    }

    /// How many blocks there are: one for each transaction.
    fn blocks(&self) -> u64 {
        let provider = self.world.provider();
        block_on(async { provider.get_block_number().await.unwrap() })
    }
}

/// Enter means no, no means that nothing is signed and sent, and only a clear yes goes on.
#[test]
fn no_is_the_answer_unless_the_person_says_yes() {
    let cast = Strangers::new();
    let fresh = cast.world.file("fresh");
    std::fs::create_dir(&fresh).unwrap();
    let newcomer = Person { home: fresh.clone(), ..cast.patient.clone() };
    let init = ["init", "--role", "patient", "--name", "Ann", "--from", &cast.card];
    for answer in ["", "n", "no", "yeah", "maybe"] {
        let mut screen = newcomer.at_terminal(&init);
        screen.expect("Join this network? [y/N]").type_line(answer);
        assert_eq!(screen.end(), 8, "{answer:?}: {}", screen.text());
    }
    assert!(!fresh.join("networks.toml").exists());
    assert!(is_empty(&fresh, "keystores"));

    let before = cast.blocks();
    for answer in ["", "n"] {
        let mut screen = cast.patient.at_terminal(&["contact", "card"]);
        screen.expect("Sign this? [y/N]").type_line(answer);
        assert_eq!(screen.end(), 8, "{}", screen.text());
        assert_eq!(cast.blocks(), before, "after {answer:?} nothing is sent");
    }
    let mut screen = cast.patient.at_terminal(&["contact", "card"]);
    screen.expect("Sign this? [y/N]").type_keys(CTRL_C);
    assert_eq!(screen.end(), -SIGINT);
    assert_eq!(cast.blocks(), before, "after Ctrl-C nothing is sent");
    let mut screen = cast.patient.at_terminal(&["contact", "card"]);
    screen.expect("Sign this? [y/N]").type_line("y");
    // The card itself is the second signature.
    screen.expect("Sign this? [y/N]").type_line("YES");
    screen.expect("galen:card:");
    assert_eq!(screen.end(), 0, "{}", screen.text());
    assert_ne!(cast.blocks(), before);
}

/// Other keys than the ones in the book: an alarm, and not even `--yes` takes them.
#[test]
fn changed_keys_are_taken_only_after_a_yes_of_their_own() {
    let cast = Strangers::new();
    cast.patient.ok(&["contact", "add", &cast.card, "--as", "hospital", "--verified"]);
    // Somebody who has the hospital's wallet, and another seed, publishes other keys under its id.
    let seed = RootSeed::from_bytes([0x7f; 32]);
    cast.publish(&cast.hospital, &seed);
    let said = cast.hospital.run(&["contact", "card"]);
    assert_eq!(said.code, 2, "a card would lead to keys that are not here");
    assert!(said.stderr.contains("keys of another seed"), "{}", said.stderr);

    let home = cast.world.file("other");
    std::fs::create_dir_all(home.join("keystores")).unwrap();
    for file in ["keystores/default", "networks.toml"] {
        std::fs::copy(cast.hospital.home.join(file), home.join(file)).unwrap();
    }
    let words = cast.world.private("words", WORDS);
    let changed = Person { home, ..cast.hospital.clone() };
    let init = ["init", "--role", "organization", "--account", "default", "--network", "test"];
    changed.ok(&[&init[..], &["--restore", "--seed-words-file", &words]].concat());
    let card = cast.world.path("changed.card");
    changed.ok(&["contact", "card", "--out", &card]);

    let words = || cast.patient.json(&["contact", "show", "hospital"])["fingerprint"].clone();
    let before = words();
    // `run` says --yes, and there is no terminal.
    let said = cast.patient.run(&["contact", "add", &card]);
    assert_eq!(said.code, 8, "{} {}", said.stdout, said.stderr);
    for answer in ["", "n"] {
        let mut screen = cast.patient.at_terminal(&["contact", "add", &card, "--yes"]);
        screen.expect("\x1b[1;31m").expect("CHANGED").expect("Take the new keys? [y/N]");
        assert_eq!(screen.type_line(answer).end(), 8);
        assert_eq!(words(), before);
    }
    let mut screen = cast.patient.at_terminal(&["contact", "add", &card]);
    screen.expect("Take the new keys? [y/N]").type_line("y");
    assert_eq!(screen.end(), 0, "{}", screen.text());
    assert_ne!(words(), before);
    assert_eq!(cast.patient.json(&["contact", "show", "hospital"])["verified"], false);
}
