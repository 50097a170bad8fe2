//! A program of its own that keeps or fetches content, to be killed or measured: the test binary once more.
//!
//! What it shall do comes in environment variables, since the harness owns the arguments. A test binary that uses
//! this has an ignored test named `child` that calls [`run`].

#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read},
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use galen_storage::{HttpOptions, NodeOptions, PlaceKind, PlaceOptions, Storage, StorageOptions};
use galen_types::ContentRef;

const VARIABLE: &str = "GALEN_TEST_CHILD";

/// Bytes that never repeat a block, made as they are read.
pub struct Pattern {
    seed: u64,
    position: u64,
}

impl Pattern {
    /// So many of them.
    pub fn new(seed: u64, len: u64) -> io::Take<Self> {
        Self { seed, position: 0 }.take(len)
    }

    /// So many of them, in memory.
    pub fn bytes(seed: u64, len: u64) -> Vec<u8> {
        Self::range(seed, 0..len)
    }

    /// Some of them, in memory.
    pub fn range(seed: u64, range: Range<u64>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let pattern = Self { seed, position: range.start };
        pattern.take(range.end - range.start).read_to_end(&mut bytes).unwrap();
        bytes
    }
}

impl Read for Pattern {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for byte in buffer.iter_mut() {
            let word = (self.position / 8).wrapping_add(self.seed << 40).wrapping_add(1);
            let word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let word = (word ^ (word >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            *byte = word.to_le_bytes()[usize::try_from(self.position % 8).unwrap()];
            self.position += 1;
        }
        Ok(buffer.len())
    }
}

/// A place by its text: `swarm=URL`, `swarm=URL#BATCH`, `ipfs=URL` or `local=DIRECTORY`.
pub fn place(text: &str) -> PlaceOptions {
    let (name, rest) = text.split_once('=').unwrap();
    let (url, batch) = match rest.split_once('#') {
        Some((url, batch)) => (url, Some(batch.to_owned())),
        None => (rest, None),
    };
    let node = NodeOptions { urls: vec![url.to_owned()], token: None };
    let kind = match name {
        "swarm" => PlaceKind::Swarm { node, batch },
        "ipfs" => PlaceKind::Ipfs { node },
        "local" => PlaceKind::Local { directory: rest.into() },
        other => panic!("no such place: {other}"),
    };
    PlaceOptions { name: name.to_owned(), kind }
}

/// What is remembered in the directory, and content in all places.
pub fn options(directory: &Path, places: &[String]) -> StorageOptions {
    let places: Vec<_> = places.iter().map(|text| place(text)).collect();
    StorageOptions {
        directory: Some(directory.to_owned()),
        keep_in: places.iter().map(|place| place.name.clone()).collect(),
        places,
        http: HttpOptions { timeout: Duration::from_secs(60), ..HttpOptions::default() },
        progress: None,
    }
}

/// What the child does.
#[derive(Clone, Debug)]
pub struct Task {
    /// `put`: keeps the pattern and prints its address. `get`: reads content and compares it with the pattern.
    pub what: &'static str,
    pub directory: PathBuf,
    pub places: Vec<String>,
    pub seed: u64,
    pub len: u64,
    /// For `get`.
    pub at: Option<ContentRef>,
}

/// What a child said: the address, and the most memory that it had.
#[derive(Clone, Debug)]
pub struct Said {
    pub at: ContentRef,
    pub peak: u64,
}

impl Task {
    /// Starts the child; it prints `staged` once the content is staged.
    pub fn start(&self) -> Running {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"])
            .env(VARIABLE, self.what)
            .env("GALEN_TEST_DIRECTORY", &self.directory)
            .env("GALEN_TEST_PLACES", self.places.join(" "))
            .env("GALEN_TEST_SEED", self.seed.to_string())
            .env("GALEN_TEST_LEN", self.len.to_string())
            .env("GALEN_TEST_AT", self.at.map(|at| at.to_string()).unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Running { child, out }
    }

    /// Lets it end.
    pub fn run(&self) -> Said {
        self.start().end()
    }
}

/// A child that runs. Killed when dropped.
pub struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    /// Waits until it says that content is staged.
    pub fn wait_until_staged(&mut self) {
        self.line("staged").expect("the child ended early");
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub fn end(mut self) -> Said {
        let done = self.line("done").expect("the child failed");
        let mut words = done.split(' ');
        let at = words.next().unwrap().parse().unwrap();
        let peak = words.next().unwrap().parse().unwrap();
        io::copy(&mut self.out, &mut io::sink()).unwrap();
        assert!(self.child.wait().unwrap().success());
        Said { at, peak }
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// What follows a word at the beginning of a line. The harness may have printed before it in the same line.
    fn line(&mut self, word: &str) -> Option<String> {
        let mut line = String::new();
        while self.out.read_line(&mut line).unwrap() > 0 {
            if let Some((_, rest)) = line.split_once(&format!("child: {word}")) {
                return Some(rest.trim().to_owned());
            }
            line.clear();
        }
        None
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended, unless a test failed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Does what the environment says; nothing if it says nothing.
pub fn run() {
    let Ok(what) = env::var(VARIABLE) else { return };
    let number = |name: &str| env::var(name).unwrap().parse::<u64>().unwrap();
    let (seed, len) = (number("GALEN_TEST_SEED"), number("GALEN_TEST_LEN"));
    let places: Vec<String> =
        env::var("GALEN_TEST_PLACES").unwrap().split(' ').map(str::to_owned).collect();
    let directory = PathBuf::from(env::var("GALEN_TEST_DIRECTORY").unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let at = runtime.block_on(async {
        let storage = Storage::connect(options(&directory, &places)).await.unwrap();
        match what.as_str() {
            "put" => put(&storage, seed, len).await,
            "get" => {
                let at = env::var("GALEN_TEST_AT").unwrap().parse().unwrap();
                compare(&storage, &at, seed, len).await;
                at
            }
            other => panic!("no such task: {other}"),
        }
    });
    println!("child: done {at} {}", peak());
}

async fn put(storage: &Storage, seed: u64, len: u64) -> ContentRef {
    let pending = storage.pending().await.unwrap();
    let staged = match pending.first() {
        Some(pending) => pending.addresses,
        None => storage.stage(Pattern::new(seed, len)).await.unwrap(),
    };
    println!("child: staged");
    let at = staged.of(storage.address_kind());
    if pending.is_empty() {
        return storage.publish(&at).await.unwrap();
    }
    let resumed = storage.resume().await.unwrap();
    assert!(resumed.failed.is_empty() && resumed.left.is_empty(), "{resumed:?}");
    at
}

async fn compare(storage: &Storage, at: &ContentRef, seed: u64, len: u64) {
    let mut reader = storage.open(at).await.unwrap();
    let compared = tokio::task::spawn_blocking(move || {
        assert_eq!(reader.content_len(), len);
        let mut pattern = Pattern::new(seed, len);
        let (mut expected, mut got) = (vec![0; 100_000], vec![0; 100_000]);
        let mut position = 0;
        while position < len {
            let read = reader.read(&mut got).unwrap();
            assert!(read > 0, "content ends at {position}");
            pattern.read_exact(&mut expected[..read]).unwrap();
            assert!(got[..read] == expected[..read], "other bytes near {position}");
            position += read as u64;
        }
        assert_eq!(reader.read(&mut got).unwrap(), 0);
    });
    compared.await.unwrap();
}

/// The most memory that this process ever had, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
