//! A command is cut off, or its disk fails, at each call that changes a file of the profile: what was acknowledged
//! is there, nothing is half there, and the same command run again ends well.
//!
//! A first run tells which calls touch the profile; of those a sample is cut off, spread evenly, so that each test
//! stays within half a minute.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use galen_crypto::Keystore;
use serde_json::Value;

use crate::{
    common::{KEY, at, condition, has_strace, items},
    cuts::{Cut, cut_everywhere},
    world::{Person, Strangers},
};

impl Strangers {
    /// Keeps a person's folder aside; gives what puts it back.
    fn keep(&self, person: &Person, name: &str) -> impl FnMut() + use<> {
        let (home, kept) = (person.home.clone(), self.world.file(name));
        copy(&home, &kept);
        move || {
            fs::remove_dir_all(&home).unwrap();
            copy(&kept, &home);
        }
    }
}

fn copy(from: &Path, to: &PathBuf) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// No file is left that a later command would take for a whole one.
fn no_rest_is_taken(person: &Person, cut: &Cut) {
    let list = person.json(&["wallet", "list"]);
    for wallet in items(&list, "/wallets") {
        let text = fs::read_to_string(at(wallet, "/file")).unwrap();
        assert!(Keystore::from_json(&text).is_ok(), "half a keystore: {}", cut.what);
    }
}

#[test]
fn wallets_and_networks_are_whole() {
    if !has_strace() {
        return;
    }
    let cast = Strangers::new();
    let person = &cast.hospital;
    let key = cast.world.private("key", KEY);
    let password = fs::read_to_string(&person.password).unwrap();

    let import = ["wallet", "import", "payer", "--secret-file", &key];
    let cuts = cut_everywhere(person, &import, cast.keep(person, "kept"), |cut| {
        let path = cut.person.home.join("keystores/payer");
        no_rest_is_taken(cut.person, cut);
        let there = fs::read(&path).ok();
        assert!(!cut.acknowledged || there.is_some(), "{}", cut.what);
        let again = cut.person.run(&import);
        assert_eq!(
            again.code,
            if there.is_some() { 2 } else { 0 },
            "{} {}",
            cut.what,
            again.stderr
        );
        let text = fs::read(&path).unwrap();
        assert!(there.is_none_or(|there| there == text), "{}", cut.what);
        let keystore = Keystore::from_json(&String::from_utf8(text).unwrap()).unwrap();
        let secret = keystore.decrypt(password.trim_end().as_bytes()).unwrap();
        assert_eq!(hex::encode(&secret[..]), KEY, "{}", cut.what);
    });
    assert!(cuts >= 6, "only {cuts} cuts");

    let add = ["network", "add", "test", "--finality", "7"];
    let finality = |person: &Person| {
        let list = person.json(&["network", "list"]);
        list.pointer("/networks/0/finality").unwrap().to_string()
    };
    let before = finality(person);
    let cuts = cut_everywhere(person, &add, cast.keep(person, "kept-2"), |cut| {
        let there = finality(cut.person);
        let is_new = there != before;
        assert!(is_new || !cut.acknowledged, "{}", cut.what);
        cut.person.ok(&add);
        let after = finality(cut.person);
        assert!(after.contains('7') && (!is_new || after == there), "{}", cut.what);
    });
    assert!(cuts >= 4, "only {cuts} cuts");
}

#[test]
fn the_private_book_its_archive_and_backups_are_whole() {
    if !has_strace() {
        return;
    }
    let cast = Strangers::new();
    let patient = &cast.patient;
    patient.ok(&["init"]);
    let contacts = |person: &Person| person.json(&["contact", "list"]);
    let count = |person: &Person| items(&contacts(person), "/contacts").len();

    // The book, and its archive in the store, which follows by itself.
    let add = ["contact", "add", &cast.card, "--as", "hospital", "--verified"];
    let cuts = cut_everywhere(patient, &add, cast.keep(patient, "kept"), |cut| {
        let there = count(cut.person);
        assert!(there == 1 || !cut.acknowledged, "{}", cut.what);
        cut.person.ok(&add);
        assert_eq!(count(cut.person), 1, "{}", cut.what);
        cut.person.ok(&["wallet", "archive"]);
        assert_eq!(cut.person.json(&["wallet", "archive"])["archived"], false, "{}", cut.what);
    });
    assert!(cuts >= 4, "only {cuts} cuts");

    let whole = contacts(patient);
    let passphrase = patient.password.display().to_string();
    let out = patient.home.join("backup");
    let file = out.display().to_string();
    let backup = ["wallet", "backup", "--out", &file, "--passphrase-file", &passphrase];
    let fresh = cast.world.file("fresh");
    let restored = Person { home: fresh.clone(), ..patient.clone() };
    let restore = ["wallet", "restore", &file, "--passphrase-file", &passphrase];
    let cuts = cut_everywhere(patient, &backup, cast.keep(patient, "kept-2"), |cut| {
        let there = out.exists();
        assert!(there || !cut.acknowledged, "{}", cut.what);
        if !there {
            cut.person.ok(&backup);
        }
        // A file that is there is whole.
        let _ = fs::remove_dir_all(&fresh);
        fs::create_dir(&fresh).unwrap();
        restored.ok(&restore);
        assert_eq!(contacts(&restored), whole, "{}", cut.what);
        assert_eq!(contacts(cut.person), whole, "{}", cut.what);
    });
    assert!(cuts >= 4, "only {cuts} cuts");

    let kept = cast.world.path("backup");
    fs::copy(&out, &kept).unwrap();
    let restore = ["wallet", "restore", &kept, "--passphrase-file", &passphrase];
    let empty = || {
        let _ = fs::remove_dir_all(&fresh);
        fs::create_dir(&fresh).unwrap();
    };
    let cuts = cut_everywhere(&restored, &restore, empty, |cut| {
        let there = fresh.join("profiles/default/profile.toml").exists();
        assert!(there || !cut.acknowledged, "{}", cut.what);
        let again = cut.person.run(&restore);
        assert_eq!(again.code, if there { 2 } else { 0 }, "{} {}", cut.what, again.stderr);
        assert_eq!(contacts(cut.person), whole, "{}", cut.what);
    });
    assert!(cuts >= 6, "only {cuts} cuts");
}

/// A consent on chain whose terms are lost would let somebody read, and nobody could say what.
#[test]
fn a_consent_and_its_terms_are_never_apart() {
    if !has_strace() {
        return;
    }
    let cast = Strangers::new();
    let patient = &cast.patient;
    patient.ok(&["init", "--from", &cast.card, "--as", "hospital"]);
    let grant = ["consent", "grant", "--to", "hospital", "--category", "problems"];
    let grant = [&grant[..], &["--purpose", "TREAT", "--for", "30d"]].concat();
    let consents = |person: &Person| {
        let list = person.json(&["consent", "list"]);
        items(&list, "/consents").to_vec()
    };
    let known = |list: &[Value]| list.iter().all(|consent| at(consent, "/state") == "live");
    // Nothing is put back: the chain cannot be put back either.
    let before = std::cell::Cell::new(0);
    let cuts = cut_everywhere(
        patient,
        &grant,
        || before.set(consents(patient).len()),
        |cut| {
            let there = consents(cut.person);
            assert!(known(&there), "a consent without terms: {} {there:?}", cut.what);
            assert!(there.len() > before.get() || !cut.acknowledged, "{}", cut.what);
            cut.person.ok(&grant);
            let after = consents(cut.person);
            assert!(known(&after) && after.len() > there.len(), "{}", cut.what);
        },
    );
    assert!(cuts >= 4, "only {cuts} cuts");
}

/// An import that is cut off anywhere proposes each document once in the end.
#[test]
fn an_import_proposes_each_document_once() {
    if !has_strace() {
        return;
    }
    let cast = Strangers::new();
    let (hospital, patient) = (&cast.hospital, &cast.patient);
    patient.ok(&["init", "--from", &cast.card, "--as", "hospital"]);
    cast.world.introduce(patient, hospital, "anna");
    let file = cast.world.path("import.ndjson");
    let round = std::cell::Cell::new(0);
    let prepare = || {
        round.set(round.get() + 1);
        let line = |n| condition(&format!("{} {n}", round.get()));
        cast.world.write("import.ndjson", &(0..3).map(line).collect::<Vec<_>>().join("\n"));
    };
    let propose = ["record", "propose", "--to", "anna", &file];
    // The first round is over when the calls are counted.
    let cuts = cut_everywhere(hospital, &propose, prepare, |cut| {
        cut.person.ok(&propose);
        let list = cut.person.json(&["record", "list", "--patient", "anna"]);
        assert_eq!(items(&list, "/records").len(), 3 * round.get(), "{}", cut.what);
    });
    assert!(cuts >= 4, "only {cuts} cuts");
}
