//! People with a folder of their own each, on one chain and one store.

use std::{cell::OnceCell, ops::Deref, path::PathBuf, process::Command, time::Instant};

use alloy::providers::{DynProvider, Provider as _, ProviderBuilder};
use alloy_primitives::{Address, B256};
use galen_chain::{Account, key_from_mnemonic};
use serde_json::Value;

use crate::common::{
    MNEMONIC, PASSWORD, PATIENCE, Place, Said, Server, at, block_on, galen, traced,
};

/// A development chain, a store, and the people.
pub(crate) struct World {
    place: Place,
    pub(crate) url: String,
    /// Where the system calls of everybody's commands are written, if they are.
    pub(crate) traces: Option<PathBuf>,
    /// The folder that everybody keeps content in.
    store: String,
    ledger: OnceCell<(Address, u64)>,
    _chain: Server,
}

impl Deref for World {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

impl World {
    pub(crate) fn start() -> Self {
        Self::start_with_store("store")
    }

    pub(crate) fn start_with_store(name: &str) -> Self {
        let (place, chain) = (Place::new(), Server::chain());
        let (url, store) = (chain.url().to_owned(), format!("local:{}", place.path(name)));
        Self { place, url, traces: None, store, ledger: OnceCell::new(), _chain: chain }
    }

    /// Somebody with a folder and a password file.
    pub(crate) fn newcomer(&self, name: &str) -> Person {
        let home = self.file(name);
        std::fs::create_dir(&home).unwrap();
        let password = format!("{name}/password");
        self.private(&password, &format!("{PASSWORD} {name}\n"));
        Person {
            name: name.to_owned(),
            home,
            password: self.file(&password),
            store: self.store.clone(),
            url: self.url.clone(),
            traces: self.traces.clone(),
            id: Address::ZERO,
        }
    }

    /// A newcomer with a profile; on the network if a card is given.
    pub(crate) fn person(&self, name: &str, role: &str, card: Option<&str>) -> Person {
        let mut person = self.newcomer(name);
        let mut args = vec!["init", "--role", role, "--name", name, "--no-publish"];
        args.extend(card.iter().flat_map(|card| ["--from", card]));
        let made = person.json(&args);
        person.id = at(&made, "/id").parse().unwrap();
        self.fund(person.id);
        person
    }

    pub(crate) fn fund(&self, id: Address) {
        let id = format!("{id:#x}");
        let said = Said::by(galen().args(["dev", "fund", &id, "--quiet", "--rpc-url", &self.url]));
        assert_eq!(said.code, 0, "{}", said.stderr);
    }

    pub(crate) fn provider(&self) -> DynProvider {
        ProviderBuilder::new().connect_http(self.url.parse().unwrap()).erased()
    }

    /// Founds the ledger, with these members.
    pub(crate) fn found(&self, members: &[Address]) {
        let mut members = members.to_vec();
        members.sort_unstable();
        let payer = Account::new(key_from_mnemonic(MNEMONIC, 9).unwrap());
        let made = galen_chain::deploy(self.provider(), &payer, &members, B256::ZERO);
        let made = block_on(made).unwrap();
        self.ledger.set((made.ledger, made.block)).unwrap();
    }

    /// Address and first block of the ledger.
    pub(crate) fn ledger(&self) -> (Address, u64) {
        *self.ledger.get().unwrap()
    }

    /// Organizations that found the ledger, with published keys.
    pub(crate) fn members<const N: usize>(&self, names: [&str; N]) -> [Person; N] {
        let members = names.map(|name| self.person(name, "organization", None));
        self.found(&members.each_ref().map(|member| member.id));
        members.iter().for_each(|member| self.join(member));
        members
    }

    /// An organization of this ledger publishes its keys.
    pub(crate) fn join(&self, member: &Person) {
        self.add_network(member);
        member.ok(&["init", "--network", "test"]);
    }

    /// Somebody takes the ledger into their networks.
    pub(crate) fn add_network(&self, person: &Person) {
        let (ledger, block) = self.ledger();
        let (ledger, block) = (format!("{ledger:#x}"), block.to_string());
        let add = ["network", "add", "test", "--ledger", &ledger, "--deployed-in", &block];
        person.ok(&[&add[..], &["--finality", "instant"]].concat());
    }

    /// Somebody on the network of a member, whom they know by name; with published keys.
    pub(crate) fn guest(&self, name: &str, role: &str, host: &Person) -> Person {
        let card = self.card(host);
        let person = self.person(name, role, Some(&card));
        person.ok(&["init", "--from", &card, "--as", &host.name]);
        person
    }

    /// The file of somebody's card.
    pub(crate) fn card(&self, person: &Person) -> String {
        let name = format!("{}.card", person.name);
        if !self.file(&name).exists() {
            person.ok(&["contact", "card", "--out", &self.path(&name)]);
        }
        self.path(&name)
    }

    /// Somebody takes another one's card.
    pub(crate) fn meet(&self, person: &Person, other: &Person, flags: &[&str]) {
        person.ok(&[&["contact", "add", &self.card(other)], flags].concat());
    }

    /// A patient introduces themselves to a hospital, which calls them by this name.
    pub(crate) fn introduce(&self, patient: &Person, hospital: &Person, name: &str) {
        let introduction = self.path(&format!("{name}.introduction"));
        patient.ok(&["contact", "introduce", &hospital.name, "--out", &introduction]);
        self.meet(hospital, patient, &["--as", name]);
        hospital.ok(&["contact", "add", &introduction]);
    }

    /// Moves the time of the chain.
    pub(crate) fn later(&self, seconds: u64) {
        block_on(async {
            let provider = self.provider();
            let _: Value =
                provider.raw_request("evm_increaseTime".into(), (seconds,)).await.unwrap();
            let _: Value = provider.raw_request("evm_mine".into(), ()).await.unwrap();
        });
    }
}

/// A hospital, and a patient on its network who knows nobody yet.
pub(crate) struct Strangers {
    pub(crate) world: World,
    pub(crate) hospital: Person,
    pub(crate) patient: Person,
    /// The hospital's.
    pub(crate) card: String,
}

impl Strangers {
    pub(crate) fn new() -> Self {
        let world = World::start();
        let [hospital] = world.members(["hospital"]);
        let card = world.card(&hospital);
        let patient = world.person("patient", "patient", Some(&card));
        Self { world, hospital, patient, card }
    }
}

/// A hospital and its patient, who know each other.
pub(crate) struct Pair {
    pub(crate) world: World,
    pub(crate) hospital: Person,
    pub(crate) patient: Person,
}

impl Pair {
    pub(crate) fn meet() -> Self {
        Self::meet_in(World::start())
    }

    pub(crate) fn meet_in(world: World) -> Self {
        let [hospital] = world.members(["hospital"]);
        let patient = world.guest("patient", "patient", &hospital);
        world.introduce(&patient, &hospital, "anna");
        Self { world, hospital, patient }
    }

    /// Proposes a document, which the patient accepts; gives the result of the proposal.
    pub(crate) fn accepted(&self, file: &str) -> Value {
        let proposed = self.hospital.json(&["record", "propose", "--to", "anna", file]);
        self.patient.ok(&["record", "accept", "--all"]);
        proposed
    }
}

/// One person on a machine of their own.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) home: PathBuf,
    pub(crate) password: PathBuf,
    pub(crate) store: String,
    pub(crate) url: String,
    pub(crate) traces: Option<PathBuf>,
    pub(crate) id: Address,
}

impl Person {
    /// A command that says yes to everything.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.unanswered(&[args, &["--yes"]].concat())
    }

    /// A command that finds nobody to ask.
    pub(crate) fn unanswered(&self, args: &[&str]) -> Command {
        let mut command = match &self.traces {
            Some(traces) => traced(traces, env!("CARGO_BIN_EXE_galen")),
            None => galen(),
        };
        command
            .args(args)
            .arg("--home")
            .arg(&self.home)
            .arg("--password-file")
            .arg(&self.password)
            .args(["--store", &self.store, "--rpc-url", &self.url]);
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Said {
        Said::by(&mut self.command(args))
    }

    /// Runs a command that must succeed; gives its text lines.
    pub(crate) fn ok(&self, args: &[&str]) -> Said {
        let started = Instant::now();
        let said = self.run(args);
        assert_eq!(said.code, 0, "galen {}: {}", args.join(" "), said.stderr);
        assert!(started.elapsed() < PATIENCE, "galen {} takes too long", args.join(" "));
        said
    }

    /// Runs a command that must succeed; gives its object.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        self.ok(&[args, &["--json"]].concat()).json()
    }

    /// Runs a command that must fail with this code, this text and a line of help; nothing on stdout.
    pub(crate) fn fails(&self, code: i32, reason: &str, args: &[&str]) {
        let said = self.run(args);
        let shown = format!("galen {}: {} {}", args.join(" "), said.code, said.stderr);
        assert_eq!(said.code, code, "{shown}");
        assert!(said.stderr.contains(reason), "expected `{reason}`: {shown}");
        assert!(said.stderr.contains("help: "), "{shown}");
        assert_eq!(said.stdout, "", "{shown}");
        // The same for machines: one object with kind and help.
        let machine = self.run(&[args, &["--json", "--quiet"]].concat());
        let last = machine.stderr.lines().last().unwrap_or_default();
        let object: Value =
            serde_json::from_str(last).unwrap_or_else(|_| panic!("{shown}: {last}"));
        assert!(object["help"].as_str().is_some_and(|help| !help.is_empty()), "{shown}");
        assert_eq!(machine.code, code, "{shown}");
    }

    /// Takes the head of the only network as final.
    pub(crate) fn trust_the_head(&self) {
        let networks = self.json(&["network", "list"]);
        let name = at(&networks, "/networks/0/name");
        self.ok(&["network", "add", name, "--finality", "instant"]);
    }

    /// Adds to the settings of the profile.
    pub(crate) fn set(&self, text: &str) {
        let file = self.home.join("profiles/default/profile.toml");
        let before = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, format!("{before}\n{text}\n")).unwrap();
    }
}
