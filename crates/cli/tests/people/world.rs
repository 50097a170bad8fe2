//! People with a folder of their own each, on one chain and one store.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use alloy::providers::ProviderBuilder;
use alloy_primitives::{Address, B256};
use galen_chain::{Account, key_from_mnemonic};
use serde_json::Value;
use tempfile::TempDir;

/// Longest time that one command may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Everybody knows these keys.
pub(crate) const MNEMONIC: &str = "test test test test test test test test test test test junk";

/// A development chain, a store, and the people.
pub(crate) struct World {
    pub(crate) place: TempDir,
    pub(crate) url: String,
    /// Where the system calls of everybody's commands are written, if they are.
    pub(crate) traces: Option<PathBuf>,
    chain: Child,
}

impl World {
    pub(crate) fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        let mut chain = Command::new(env!("CARGO_BIN_EXE_galen"))
            .args(["dev", "--listen", "127.0.0.1:0", "--json", "--quiet"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(chain.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let url = ready["url"].as_str().unwrap().to_owned();
        Self { place, url, traces: None, chain }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> String {
        std::fs::write(self.file(name), content).unwrap();
        self.path(name)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.file(name).to_str().unwrap().to_owned()
    }

    /// Somebody with a folder and a password file.
    pub(crate) fn newcomer(&self, name: &str) -> Person {
        let home = self.file(name);
        std::fs::create_dir(&home).unwrap();
        let password = home.join("password");
        std::fs::write(&password, format!("correct horse battery staple {name}\n")).unwrap();
        std::fs::set_permissions(&password, PermissionsExt::from_mode(0o600)).unwrap();
        Person {
            home,
            password,
            store: format!("local:{}", self.path("store")),
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
        person.id = made["id"].as_str().unwrap().parse().unwrap();
        self.fund(person.id);
        person
    }

    pub(crate) fn fund(&self, id: Address) {
        let funded = Command::new(env!("CARGO_BIN_EXE_galen"))
            .args(["dev", "fund", &format!("{id:#x}"), "--quiet", "--rpc-url", &self.url])
            .output()
            .unwrap();
        assert!(funded.status.success(), "{}", text(&funded.stderr));
    }

    /// Founds a ledger with these members; gives its address and block.
    pub(crate) fn found(&self, members: &[Address]) -> (Address, u64) {
        let mut members = members.to_vec();
        members.sort_unstable();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let founded = runtime.block_on(async {
            let provider = ProviderBuilder::new().connect_http(self.url.parse().unwrap());
            let payer = Account::new(key_from_mnemonic(MNEMONIC, 9).unwrap());
            galen_chain::deploy(provider, &payer, &members, B256::ZERO).await.unwrap()
        });
        (founded.ledger, founded.block)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.chain.kill();
        let _ = self.chain.wait();
    }
}

/// What a command said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// The lines of a text result, split at tabs.
    pub(crate) fn cells(&self) -> Vec<Vec<String>> {
        let cells = |line: &str| line.split('\t').map(str::to_owned).collect();
        self.stdout.lines().map(cells).collect()
    }
}

/// One person on a machine of their own.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) home: PathBuf,
    pub(crate) password: PathBuf,
    pub(crate) store: String,
    pub(crate) url: String,
    pub(crate) traces: Option<PathBuf>,
    pub(crate) id: Address,
}

impl Person {
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = match &self.traces {
            Some(traces) => traced(traces, env!("CARGO_BIN_EXE_galen")),
            None => Command::new(env!("CARGO_BIN_EXE_galen")),
        };
        for variable in ["ETH_RPC_URL", "ETH_PASSWORD", "GALEN_PROFILE", "GALEN_HOME"] {
            command.env_remove(variable);
        }
        command
            .args(args)
            .arg("--yes")
            .arg("--home")
            .arg(&self.home)
            .arg("--password-file")
            .arg(&self.password)
            .args(["--store", &self.store, "--rpc-url", &self.url])
            .env("GALEN_TEST_SCRYPT_LOG_N", "4")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Said {
        said(self.command(args).output().unwrap())
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
        let said = self.ok(&[args, &["--json"]].concat());
        let object = serde_json::from_str(&said.stdout);
        object.unwrap_or_else(|error| panic!("galen {}: {error}: {}", args.join(" "), said.stdout))
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
}

/// A program whose arguments, environment and writes go to a file in this folder, strings in hex.
pub(crate) fn traced(traces: &Path, program: &str) -> Command {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-v", "-y", "-xx", "-s", "16777216", "-o"])
        .arg(traces.join(number.to_string()))
        .args(["-e", "signal=none", "-e"])
        .arg("trace=execve,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg")
        .arg(program);
    command
}

fn said(output: Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The mode of a file.
pub(crate) fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A text out of an object.
pub(crate) fn at<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer}: {value:#}"))
}

/// A list out of an object.
pub(crate) fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    let list = value.pointer(pointer).and_then(Value::as_array);
    list.unwrap_or_else(|| panic!("{pointer}: {value:#}"))
}
