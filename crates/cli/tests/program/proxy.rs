//! Sharing while the patient is away, told by people at their own machines: three proxies of three organizations as
//! processes, a patient whose machine is off, readers who read what is logged and nothing else.

use serde_json::Value;

use crate::{
    common::{CANARY, Server, at, bundle, items},
    world::{Person, World},
};

/// `galen proxy serve` on this port, 0 for a free one.
fn serve(person: &Person, port: u16) -> Server {
    let listen = format!("127.0.0.1:{port}");
    let flags = ["proxy", "serve", "--own-node", "--max-head-age", "none", "--json"];
    Server::start(&mut person.command(&[&flags[..], &["--listen", &listen]].concat()))
}

/// Everybody, and the proxies.
struct Cast {
    world: World,
    hospital: Person,
    patient: Person,
    insurer: Person,
    physician: Person,
    serving: Vec<Person>,
    proxies: Vec<Option<Server>>,
}

impl Cast {
    fn gather() -> Self {
        let world = World::start();
        let [hospital, physician, north, south, west] =
            world.members(["hospital", "physician", "north", "south", "west"]);
        let serving = vec![north, south, west];
        let [patient, insurer] = [("patient", "patient"), ("insurer", "reader")]
            .map(|(name, role)| world.guest(name, role, &hospital));
        for person in [&patient, &insurer] {
            person.trust_the_head();
        }
        let proxies = serving.iter().map(|person| Some(serve(person, 0))).collect();
        for other in [&insurer, &physician].into_iter().chain(&serving) {
            world.meet(&patient, other, &["--as", &other.name, "--verified"]);
        }
        for reader in [&insurer, &physician] {
            world.meet(reader, &patient, &["--as", "anna"]);
        }
        world.introduce(&patient, &hospital, "anna");
        Self { world, hospital, patient, insurer, physician, serving, proxies }
    }

    fn url(&self, index: usize) -> &str {
        self.proxies[index].as_ref().unwrap().url()
    }

    /// Two records, accepted.
    fn records(&self, salt: &str) {
        let input = self.world.write(&format!("{salt}.json"), &bundle(salt));
        self.hospital.ok(&["record", "propose", "--to", "anna", &input]);
        self.patient.ok(&["record", "accept", "--all"]);
    }

    fn stop(&mut self, index: usize, signal: &str) -> (Option<i32>, String, u16) {
        let proxy = self.proxies[index].take().unwrap();
        let port = proxy.port();
        let (code, said) = proxy.end(signal);
        (code, said, port)
    }

    fn serve(&mut self, index: usize, port: u16) {
        self.proxies[index] = Some(serve(&self.serving[index], port));
    }

    /// What an access of everything gives: how many documents, and all of their text.
    fn read(&self, person: &Person, flags: &[&str], folder: &str) -> (usize, String) {
        let folder = self.world.path(folder);
        let args = [&["access", "anna", "--out", &folder], flags].concat();
        let answer = person.json(&args);
        let records = items(&answer, "/records");
        let text = records.iter().map(|it| std::fs::read_to_string(at(it, "/file")).unwrap());
        (records.len(), text.collect())
    }
}

/// The patient's machine is off: a profile that is not there.
struct Away<'a>(&'a Person);

impl<'a> Away<'a> {
    fn go(person: &'a Person) -> Self {
        std::fs::rename(&person.home, person.home.with_extension("away")).unwrap();
        Self(person)
    }
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        let _ = std::fs::rename(self.0.home.with_extension("away"), &self.0.home);
    }
}

#[test]
fn readers_read_while_the_patient_is_away_and_only_what_is_logged() {
    let mut cast = Cast::gather();
    cast.records("first");
    wrong_proxies_are_refused(&cast);
    for (index, name) in ["north", "south", "west"].into_iter().enumerate() {
        cast.patient.ok(&["proxy", "add", name, cast.url(index)]);
    }
    let status = cast.patient.json(&["proxy", "status"]);
    assert_eq!(status["threshold"], 2);
    assert!(items(&status, "/proxies").iter().all(|it| at(it, "/state") == "ok"), "{status:#}");

    // One proxy is down when the patient grants: its share waits, and goes out with the next command.
    let (code, said, port) = cast.stop(2, "-INT");
    assert_eq!(code, Some(0), "{said}");
    let granted = cast.patient.json(&[
        "consent",
        "grant",
        "--to",
        "insurer",
        "--category",
        "problems",
        "--category",
        "billing",
        "--purpose",
        "HPAYMT",
        "--for",
        "30d",
    ]);
    let states = || items(&granted, "/proxies/shares").iter().map(|it| at(it, "/state"));
    assert_eq!(states().filter(|state| *state == "delivered").count(), 2, "{granted:#}");
    assert_eq!(states().filter(|state| *state == "waiting").count(), 1, "{granted:#}");
    let said = cast.patient.run(&["consent", "deliver"]);
    assert_eq!((said.code, said.cells()[0][2].as_str()), (6, "waiting"), "{}", said.stderr);
    cast.serve(2, port);
    cast.patient.ok(&["consent", "list"]);
    let list = cast.patient.json(&["proxy", "list"]);
    assert!(items(&list, "/proxies").iter().all(|it| it["waiting"] == 0), "{list:#}");

    away(&mut cast);
    after_revocation(&cast);
    rotation(&cast);
    emergency(&cast);
}

/// What can be got wrong about a proxy is told before anything is kept.
fn wrong_proxies_are_refused(cast: &Cast) {
    let Cast { patient, insurer, serving, .. } = cast;
    let url = cast.url(0);
    patient.fails(5, "answers there, not", &["proxy", "add", "south", url]);
    patient.fails(3, "nobody in the book", &["proxy", "add", "nobody", url]);
    patient.fails(2, "not the URL of a proxy", &["proxy", "add", "north", "ftp://proxy.example"]);
    patient.fails(2, "cannot ask the proxy", &["proxy", "add", "north", "http://proxy.example"]);
    patient.fails(6, "cannot ask the proxy", &["proxy", "add", "north", "http://127.0.0.1:9"]);
    patient.fails(2, "cannot be needed", &["proxy", "add", "north", url, "--threshold", "2"]);
    patient.fails(3, "no proxy is called", &["proxy", "remove", "north"]);
    patient.fails(3, "you know no proxy", &["proxy", "status"]);
    patient.fails(3, "no consent in the book", &["proxy", "report"]);
    insurer.fails(2, "the command for a patient", &["proxy", "report"]);
    let serve = ["proxy", "serve", "--listen", "127.0.0.1:0"];
    serving[0].fails(2, "does not believe one node alone", &serve);
    patient.fails(2, "a patient's profile", &[&serve[..], &["--own-node"]].concat());
    let busy = [&serve[..], &["--own-node", "--max-head-age", "none"]].concat();
    serving[0].fails(6, "cannot open the proxy's store", &busy);
    assert!(items(&patient.json(&["proxy", "list"]), "/proxies").is_empty());
}

/// The patient's profile is gone; a proxy is killed half way; two are too few of three to be missing.
fn away(cast: &mut Cast) {
    let patient = cast.patient.clone();
    let away = Away::go(&patient);
    let insurer = cast.insurer.clone();
    assert_eq!(insurer.ok(&["grant", "list"]).stdout, "");
    let url = cast.url(1).to_owned();
    let fetched = insurer.json(&["grant", "fetch", &url]);
    assert_eq!(items(&fetched, "/grants").len(), 1, "{fetched:#}");
    assert_eq!(fetched.pointer("/grants/0/proxies/needed").unwrap(), 2);
    assert!(items(&insurer.json(&["grant", "fetch", "--all"]), "/grants").is_empty());

    let (count, text) = cast.read(&insurer, &["--purpose", "HPAYMT"], "read-1");
    assert_eq!((count, text.contains(&format!("{CANARY} first"))), (2, true));
    let (_, said, port) = cast.stop(0, "-KILL");
    assert!(said.contains(" served patient="), "{said}");
    assert!(!said.contains(CANARY));
    assert_eq!(cast.read(&insurer, &["--purpose", "HPAYMT"], "read-2").0, 2);

    // One of three is too few. What was logged is opened later without another log.
    let (_, _, other) = cast.stop(1, "-KILL");
    let folder = cast.world.path("read-3");
    let flags = ["access", "anna", "--purpose", "HPAYMT", "--out", &folder, "--timeout", "15"];
    let said = insurer.run(&flags);
    assert_eq!(said.code, 6, "{}", said.stderr);
    assert!(said.stderr.contains("too few proxies"), "{}", said.stderr);
    assert!(said.stderr.contains("--logged"), "{}", said.stderr);
    cast.serve(0, port);
    cast.serve(1, other);
    let reads = |insurer: &Person| items(&insurer.json(&["access", "log"]), "/accesses").len();
    let before = reads(&insurer);
    assert_eq!(cast.read(&insurer, &["--purpose", "HPAYMT", "--logged"], "read-4").0, 2);
    assert_eq!(reads(&insurer), before);
    drop(away);
}

/// The contract refuses, the proxies have no share any more, and their reports agree with the chain.
fn after_revocation(cast: &Cast) {
    let Cast { patient, insurer, .. } = cast;
    let report = patient.json(&["proxy", "report"]);
    for proxy in items(&report, "/proxies") {
        assert_eq!(at(proxy, "/state"), "ok", "{proxy:#}");
    }
    let served = |it: &Value| it["served"].as_u64().unwrap();
    assert!(items(&report, "/proxies").iter().map(served).sum::<u64>() >= 4, "{report:#}");

    patient.ok(&["consent", "revoke", "--to", "insurer"]);
    insurer.fails(4, "ConsentNotFound", &["access", "anna", "--purpose", "HPAYMT"]);
    // Its shares may be gone already: then there is nothing to be denied.
    let said = insurer.run(&["access", "anna", "--purpose", "HPAYMT", "--logged"]);
    assert!(matches!(said.code, 3 | 4), "{}", said.stderr);
    assert!(said.stderr.contains("too few proxies"), "{}", said.stderr);
    let report = patient.ok(&["proxy", "report"]);
    assert!(report.stdout.contains("\trefused\tinsurer\t"), "{}", report.stdout);
    assert!(report.stdout.contains("revoked") || report.stdout.contains("no-share"));
}

/// After a rotation the readers of live consents read old and new records; old content moves.
fn rotation(cast: &Cast) {
    let Cast { patient, insurer, .. } = cast;
    patient.ok(&[
        "consent",
        "grant",
        "--to",
        "insurer",
        "--category",
        "problems",
        "--purpose",
        "HPAYMT",
        "--for",
        "30d",
    ]);
    insurer.ok(&["grant", "fetch", cast.url(0)]);
    let rotated = patient.json(&["consent", "rotate"]);
    assert_eq!(rotated["epoch"], 2);
    assert_eq!(items(&rotated, "/consents").len(), 1, "{rotated:#}");
    let states = items(&rotated, "/shares");
    assert!(states.iter().all(|it| at(it, "/state") == "delivered"), "{rotated:#}");
    cast.records("second");
    let fetched = insurer.json(&["grant", "fetch", "--all"]);
    assert_eq!(items(&fetched, "/grants").len(), 1, "{fetched:#}");
    let (count, text) = cast.read(insurer, &["--purpose", "HPAYMT"], "read-5");
    assert_eq!(count, 2);
    assert!(
        text.contains(&format!("{CANARY} first")) && text.contains(&format!("{CANARY} second"))
    );
    let finished = patient.json(&["consent", "rotate", "--finish"]);
    assert_eq!((&finished["epoch"], &finished["moved"]), (&3.into(), &4.into()));
    insurer.ok(&["grant", "fetch", "--all"]);
    assert_eq!(cast.read(insurer, &["--purpose", "HPAYMT"], "read-6").0, 2);
    // A proxy that is taken out is not asked any more.
    patient.ok(&["proxy", "remove", "west"]);
    assert_eq!(patient.json(&["proxy", "list"])["threshold"], 2);
}

/// What is open to every organization is opened by one that has no grant, loudly; not by others.
fn emergency(cast: &Cast) {
    let Cast { patient, physician, insurer, .. } = cast;
    let url = cast.url(0);
    let access = ["access", "anna", "--purpose", "BTG", "--emergency", "--proxy", url];
    physician.fails(4, "open to every organization", &access);
    patient.ok(&["consent", "grant", "--emergency", "--category", "problems", "--for", "1y"]);
    physician.fails(2, "no proxy is named", &access[..5]);
    insurer.fails(2, "the command for an organization", &access);
    let said = physician.ok(&access);
    assert!(said.stderr.contains("BREAK THE GLASS"), "{}", said.stderr);
    assert_eq!(said.cells().len(), 2, "{}", said.stdout);
    let audit = patient.json(&["audit"]);
    assert_eq!(audit["break_glass"], 2);
}
