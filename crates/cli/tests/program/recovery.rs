//! A laptop is lost. Guardians give the id and the seed back: one process for each command, one folder for each
//! person.

use crate::{
    common::{at, items},
    world::{Person, World},
};

const DAY: u64 = 86_400;

/// A hospital, a patient, three guardians, all on one network.
struct Cast {
    world: World,
    patient: Person,
    hospital: Person,
    guardians: Vec<Person>,
}

const NAMES: [&str; 3] = ["mother", "brother", "friend"];

impl Cast {
    fn gather() -> Self {
        let world = World::start();
        let [hospital] = world.members(["hospital"]);
        let joins = |name, role| {
            let person = world.guest(name, role, &hospital);
            person.trust_the_head();
            person
        };
        let patient = joins("patient", "patient");
        let guardians = NAMES.map(|name| joins(name, "reader")).to_vec();
        for guardian in &guardians {
            world.meet(&patient, guardian, &["--as", &guardian.name, "--verified"]);
        }
        Self { world, hospital, patient, guardians }
    }

    /// Somebody on the network with another wallet, whose keys are not published.
    fn stranger(&self) -> Person {
        let card = self.world.card(&self.hospital);
        let person = self.world.person("new", "patient", Some(&card));
        person.trust_the_head();
        person
    }
}

#[test]
fn a_lost_laptop_is_replaced_by_guardians() {
    let cast = Cast::gather();
    let (world, patient) = (&cast.world, &cast.patient);
    let id = format!("{:#x}", patient.id);
    patient.fails(3, "does not know the guardians", &["guardian", "pieces"]);
    patient.fails(2, "the delay is 3 to 21 days", &["guardian", "set", "mother", "--delay", "1d"]);
    patient.fails(2, "each named once", &["guardian", "set", "mother", "mother"]);
    patient.fails(3, "nobody in the book", &["guardian", "set", "uncle"]);

    let folder = world.path("pieces");
    let names = [&["guardian", "set"][..], &NAMES, &["--out", &folder]].concat();
    let said = patient.ok(&names);
    assert!(said.stderr.contains("any 2 of your 3 guardians can together open"), "{}", said.stderr);
    assert_eq!(said.cells().len(), 3);
    // The same again sends nothing, and the pieces are shown again.
    let again = patient.json(&["guardian", "pieces"]);
    assert_eq!(items(&again, "/pieces").len(), 3);
    let status = patient.json(&["guardian", "status"]);
    assert_eq!(status["guardians"]["threshold"], 2);
    assert_eq!(status["guardians"]["whole"], true);

    let piece = |name: &str| world.path(&format!("pieces/{name}.guardian"));
    cast.guardians[0].fails(5, "another guardian", &["guardian", "accept", &piece("brother")]);
    for (name, guardian) in NAMES.iter().zip(&cast.guardians) {
        let taken = guardian.json(&["guardian", "accept", &piece(name)]);
        assert_eq!(at(&taken, "/wards/0/standing"), "current");
    }

    // The laptop is gone. A new one has a hospital's card, and the id on paper.
    let old = world.file("patient");
    std::fs::rename(&old, world.file("thief")).unwrap();
    let new = cast.stranger();
    let (request, sheets) = (world.path("request"), ["first", "second"].map(|n| world.path(n)));
    new.fails(2, "has no guardians", &["recovery", "ask", &format!("{:#x}", new.id.create(1))]);
    let asked = new.json(&["recovery", "ask", &id, "--out", &request]);
    let words = at(&asked, "/words").to_owned();
    assert_eq!(words.split(' ').count(), 8);
    new.fails(4, "too few guardians signed", &["recovery", "start", &request]);

    // Guardians hear the words, and sign apart.
    let said = cast.guardians[0].ok(&["guardian", "approve", &request, "--out", &sheets[0]]);
    assert!(said.stderr.contains(&words), "{}", said.stderr);
    cast.guardians[2].ok(&["guardian", "approve", &request, "--out", &sheets[1]]);
    new.fails(4, "too few guardians signed: 1 of 2", &["recovery", "start", &sheets[0]]);
    let started = new.json(&["recovery", "start", &sheets[0], &sheets[1]]);
    assert_eq!(at(&started, "/controller"), format!("{:#x}", new.id));
    new.fails(6, "it waits until", &["recovery", "finish", &id]);
    new.fails(4, "no recovery of", &["recovery", "pieces", &id]);
    // Who has the lost laptop and its password is told, too; so is the owner, if it was only mislaid.
    let thief = Person { home: world.file("thief"), ..patient.clone() };
    let thief = Person { password: thief.home.join("password"), ..thief };
    let seen = thief.ok(&["recovery", "status"]);
    assert!(seen.stderr.contains("cancel it now"), "{}", seen.stderr);

    world.later(7 * DAY);
    let finished = new.json(&["recovery", "finish", &id]);
    assert_eq!(at(&finished, "/finished"), "recovery");
    let (ask, given) = (world.path("ask"), ["one", "two"].map(|n| world.path(n)));
    new.json(&["recovery", "pieces", &id, "--out", &ask]);
    new.fails(4, "too few pieces", &["recovery", "restore", &id, "--into", "me"]);
    cast.guardians[0].ok(&["guardian", "give", &ask, "--out", &given[0]]);
    cast.guardians[1].ok(&["guardian", "give", &ask, "--out", &given[1]]);
    let tally = new.json(&["recovery", "pieces", &id, "--take", &given[0]]);
    assert_eq!(tally["enough"], false);
    let restored = new.json(&["recovery", "restore", &id, "--into", "me", "--take", &given[1]]);
    assert_eq!(at(&restored, "/id"), id);
    assert_eq!(at(&restored, "/controller"), format!("{:#x}", new.id));
    assert_eq!(restored["book"], true, "contacts came back from the archive");
    // Cut off and run again: nothing is lost or made twice.
    let twice = new.json(&["recovery", "restore", &id, "--into", "me"]);
    assert_eq!(twice["fingerprint"], restored["fingerprint"]);

    // The old id works with the new wallet; the old wallet signs for nothing any more.
    let contacts = new.json(&["contact", "list", "--profile", "me"]);
    assert!(items(&contacts, "/contacts").iter().any(|it| it["alias"] == "mother"));
    let anew = new.json(&["guardian", "pieces", "--anew", "--profile", "me"]);
    assert_eq!(items(&anew, "/pieces").len(), 3);
    let refused = thief.run(&["guardian", "remove"]);
    assert_ne!(refused.code, 0, "{}", refused.stdout);
    // Out of its own hands: the guardians give nothing for a request of before.
    let late =
        cast.guardians[2].run(&["guardian", "give", &world.write("bad", "galen:piece-request:AA")]);
    assert_ne!(late.code, 0);
}

/// Recoveries that nobody asked for end in one command, and what was signed for them is worth nothing after it.
#[test]
fn an_owner_cancels_what_was_not_asked_for() {
    let cast = Cast::gather();
    let (world, patient) = (&cast.world, &cast.patient);
    let id = format!("{:#x}", patient.id);
    let folder = world.path("pieces");
    patient.ok(&[&["guardian", "set"][..], &NAMES, &["--out", &folder]].concat());
    for (name, guardian) in NAMES.iter().zip(&cast.guardians) {
        guardian.ok(&["guardian", "accept", &world.path(&format!("pieces/{name}.guardian"))]);
    }
    patient.fails(3, "nothing waits", &["recovery", "cancel"]);
    let thief = cast.stranger();
    let (request, sheet) = (world.path("request"), world.path("sheet"));
    thief.ok(&["recovery", "ask", &id, "--out", &request]);
    cast.guardians[0].ok(&["guardian", "approve", &request, "--out", &sheet]);
    let both = world.path("both");
    cast.guardians[1].ok(&["guardian", "approve", &sheet, "--out", &both]);
    thief.ok(&["recovery", "start", &both]);
    let status = patient.json(&["recovery", "status"]);
    assert_eq!(at(&status, "/pending/kind"), "recovery");
    assert_eq!(status["pending"]["cancellable"], true);
    let cancelled = patient.json(&["recovery", "cancel"]);
    assert_eq!(at(&cancelled, "/cancelled"), "recovery");
    thief.fails(5, "something was started, cancelled or finished", &["recovery", "start", &both]);
    world.later(30 * DAY);
    thief.fails(3, "nothing waits", &["recovery", "finish", &id]);
    thief.fails(4, "no recovery of", &["recovery", "pieces", &id]);
    // A change of guardians waits as well, and ends in the same two commands.
    let waiting = patient.json(&["guardian", "set", "mother", "brother", "--threshold", "2"]);
    assert_eq!(at(&waiting, "/state"), "waiting");
    world.later(8 * DAY);
    assert_eq!(at(&patient.json(&["recovery", "finish", "self"]), "/finished"), "guardian-change");
    let pieces = patient.json(&["guardian", "pieces"]);
    assert_eq!(items(&pieces, "/pieces").len(), 2);
    let listed = cast.guardians[2].json(&["guardian", "list"]);
    assert_eq!(at(&listed, "/wards/0/standing"), "stale");
}
