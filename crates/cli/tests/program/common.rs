//! What the tests share: the program and what it says, places for files, servers, and texts.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    ops::Deref,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// Longest time that one command, or the end of a server, may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Everybody knows these keys.
pub(crate) const MNEMONIC: &str = "test test test test test test test test test test test junk";

/// A key that everybody knows, too.
pub(crate) const KEY: &str = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318";

/// BIP-39's vector for 32 bytes of 0x7f.
pub(crate) const WORDS: &str = "legal winner thank year wave sausage worth useful legal winner thank year wave sausage \
    worth useful legal winner thank year wave sausage worth title";

pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// What records say and nothing else may.
pub(crate) const CANARY: &str = "Zyxtonorine";

/// What whoever runs the tests may have set.
pub(crate) const VARIABLES: [&str; 6] =
    ["ETH_RPC_URL", "ETH_PASSWORD", "GALEN_PROFILE", "GALEN_HOME", "NO_COLOR", "CLICOLOR_FORCE"];

/// What guesses of a password cost, which is not what is tested; debug builds only.
pub(crate) const CHEAP_PASSWORDS: (&str, &str) = ("GALEN_TEST_SCRYPT_LOG_N", "4");

/// The program, with nothing of whoever runs the tests.
pub(crate) fn galen() -> Command {
    bare(env!("CARGO_BIN_EXE_galen"))
}

/// A program that runs ours or reads its files, with nothing of whoever runs the tests.
pub(crate) fn bare(program: &str) -> Command {
    let mut command = Command::new(program);
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    command.env(CHEAP_PASSWORDS.0, CHEAP_PASSWORDS.1).stdin(Stdio::null());
    command
}

/// A program whose arguments, environment and writes go to a file in this folder, strings in hex.
pub(crate) fn traced(traces: &Path, program: &str) -> Command {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut command = bare("strace");
    command
        .args(["-f", "-qq", "-v", "-y", "-xx", "-s", "16777216", "-o"])
        .arg(traces.join(number.to_string()))
        .args(["-e", "signal=none", "-e"])
        .arg("trace=execve,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg")
        .arg(program);
    command
}

pub(crate) fn has_strace() -> bool {
    has_program("strace", "-V", "GALEN_REQUIRE_STRACE")
}

/// Whether a program of others is there; where it is required, it must be.
pub(crate) fn has_program(name: &str, version: &str, required: &str) -> bool {
    let found = Command::new(name).arg(version).output().is_ok_and(|out| out.status.success());
    let required = std::env::var(required).is_ok_and(|value| value == "1");
    assert!(found || !required, "{name} is required and missing");
    if !found {
        eprintln!("skipped: {name} is missing");
    }
    found
}

/// What a command said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// Runs a command to its end.
    pub(crate) fn by(command: &mut Command) -> Self {
        command.output().unwrap().into()
    }

    /// The lines of a text result, split at tabs.
    pub(crate) fn cells(&self) -> Vec<Vec<String>> {
        let cells = |line: &str| line.split('\t').map(str::to_owned).collect();
        self.stdout.lines().map(cells).collect()
    }

    /// The object of a result.
    pub(crate) fn json(&self) -> Value {
        let object = serde_json::from_str(&self.stdout);
        object.unwrap_or_else(|error| panic!("{error}: {} {}", self.stdout, self.stderr))
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap_or(-1);
        Self { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// A folder that goes with the test.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn root(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.file(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> String {
        std::fs::write(self.file(name), content).unwrap();
        self.path(name)
    }

    /// A file that nobody else may read.
    pub(crate) fn private(&self, name: &str, content: &str) -> String {
        self.write(name, content);
        set_mode(self.file(name), 0o600);
        self.path(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap()
    }
}

/// A server: a command that says a line of JSON once it is ready, and ends with the test.
pub(crate) struct Server {
    child: Child,
    pub(crate) ready: Value,
}

impl Server {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| {
            let _ = child.kill();
            panic!("not ready: {line}{}", rest_of(&mut child))
        });
        Self { child, ready }
    }

    /// `galen dev` on a free port.
    pub(crate) fn chain() -> Self {
        Self::start(galen().args(["dev", "--listen", "127.0.0.1:0", "--json", "--quiet"]))
    }

    pub(crate) fn url(&self) -> &str {
        at(&self.ready, "/url")
    }

    pub(crate) fn port(&self) -> u16 {
        self.url().rsplit(':').next().unwrap().parse().unwrap()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Exit code of a server that was told to end, and what it said on standard error.
    pub(crate) fn wait(&mut self) -> (Option<i32>, String) {
        let started = Instant::now();
        let code = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status.code();
            }
            assert!(started.elapsed() < PATIENCE, "the server does not end");
            sleep(Duration::from_millis(10));
        };
        (code, rest_of(&mut self.child))
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn end(mut self, signal: &str) -> (Option<i32>, String) {
        kill(signal, self.id());
        self.wait()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn rest_of(child: &mut Child) -> String {
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    said
}

pub(crate) fn kill(signal: &str, id: u32) {
    assert!(Command::new("kill").args([signal, &id.to_string()]).status().unwrap().success());
}

/// A machine: a place with a password file, and a home for each name.
pub(crate) struct Machine(Place);

impl Deref for Machine {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.0
    }
}

impl Machine {
    pub(crate) fn new() -> Self {
        let place = Place::new();
        place.private("pass", PASSWORD);
        Self(place)
    }

    /// Our program, or another, with this home.
    pub(crate) fn command(&self, program: &str, home: &str) -> Command {
        let mut command = bare(program);
        command
            .env("HOME", self.file("nobody"))
            .env("GALEN_HOME", self.file(home))
            .env("ETH_PASSWORD", self.file("pass"))
            .current_dir(self.root());
        command
    }

    pub(crate) fn run(&self, home: &str, args: &[&str]) -> Said {
        Said::by(self.command(env!("CARGO_BIN_EXE_galen"), home).args(args))
    }

    /// The result of a command that must succeed.
    pub(crate) fn json(&self, home: &str, args: &[&str]) -> Value {
        let said = self.run(home, &[args, &["--json", "--yes"]].concat());
        assert_eq!(said.code, 0, "{args:?}: {}", said.stderr);
        said.json()
    }

    /// Funds an id out of a result.
    pub(crate) fn fund(&self, dev: &Server, id: &Value) {
        self.json("dev", &["dev", "fund", id.as_str().unwrap(), "--rpc-url", dev.url()]);
    }
}

/// Two records of different categories, Condition first.
pub(crate) fn bundle(salt: &str) -> String {
    format!(
        r#"{{"resourceType":"Bundle","type":"collection","entry":[
        {{"fullUrl":"urn:uuid:1","resource":{{"resourceType":"Condition","recordedDate":"2026-03-02","code":{{"text":"{CANARY} {salt}"}},"subject":{{"display":"somebody"}}}}}},
        {{"fullUrl":"urn:uuid:2","resource":{{"resourceType":"Coverage","status":"active","beneficiary":{{"display":"somebody"}},"payor":[{{"display":"{CANARY}"}}]}}}}]}}"#
    )
}

pub(crate) fn condition(text: &str) -> String {
    format!(
        r#"{{"resourceType":"Condition","code":{{"text":"{text}"}},"subject":{{"display":"somebody"}}}}"#
    )
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(future)
}

/// Files of a folder and the folders in it. What goes away meanwhile is left out.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The mode of a file.
pub(crate) fn mode(path: impl AsRef<Path>) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

pub(crate) fn set_mode(path: impl AsRef<Path>, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
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
