//! Sealing and addressing against their goals and against other implementations, in one run.
//!
//! ```sh
//! cargo bench --manifest-path tests/oracles/Cargo.toml --bench goals [-- [ROUNDS] [MIB] [WORDS OF A ROW]]
//! ```
//!
//! Every round runs every row once, so that all rows see the same machine; a row's time is its best. The clock
//! is that of the wall, since processor time leaves out what a hypervisor takes. MB are 10^6 bytes.

#![allow(clippy::unwrap_used, reason = "a bench fails where it stands")]

use std::{
    fs::File,
    hint::black_box,
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

use bee::swarm::bmt::calculate_chunk_address;
use galen_crypto::{
    HEADER_LEN, Header, IdentityKey, MediaType, OpenKey, Opener, PatientKeys, RootSeed,
    SealContext, SealRequest, SegmentPublic, commit, seal, seal_bytes,
};
use galen_storage::{
    Addresser, LocalStore, addresses_on,
    ipfs::IpfsHasher,
    swarm::{CHUNK_LEN, SwarmHasher, hashers},
};
use galen_types::{LedgerId, RecordId, Salt, Segment, Store};
use p3_keccak::Keccak256Hash;
use p3_symmetric::CryptographicHasher;
use sha3::{Digest, Keccak256};

/// MiB of the content that is sealed and addressed. On a busy machine less has better luck.
const DEFAULT_MIB: usize = 16;
/// Bytes of the content that is sealed anew.
const RESEAL_LEN: usize = 64 << 20;
/// Bytes of the file that is sealed and kept.
const FILE_LEN: usize = 256 << 20;
const DEFAULT_ROUNDS: usize = 30;
/// Bytes of a node in the tree of a chunk.
const NODE_LEN: usize = 32;

fn main() {
    let mut numbers = std::env::args().filter_map(|arg| arg.parse::<usize>().ok());
    let rounds = numbers.next().unwrap_or(DEFAULT_ROUNDS);
    let len = numbers.next().unwrap_or(DEFAULT_MIB) << 20;
    let content: Vec<u8> = (0..len as u64).map(mixed).collect();
    let long: Vec<u8> = (0..RESEAL_LEN as u64).map(mixed).collect();
    let person = Person::new();
    let dir = tempfile::tempdir().unwrap();
    let mut rows = Vec::new();
    hashing(&content, &mut rows);
    sealing(&content, &person, &mut rows);
    rows.push(resealing(&long, &person, 1));
    rows.push(resealing(&long, &person, 2));
    cores(&long, &person, &mut rows);
    keeping(&person, dir.path(), &mut rows);
    rivals(&content, &mut rows);
    let wanted = std::env::args()
        .skip(1)
        .find(|arg| !arg.starts_with("--") && arg.parse::<usize>().is_err());
    rows.retain(|row| wanted.as_ref().is_none_or(|words| row.name.contains(words.as_str())));
    let mut hertz: f64 = 0.0;
    for _ in 0..rounds {
        hertz = hertz.max(frequency());
        for row in &mut rows {
            let start = Instant::now();
            (row.run)();
            row.best = row.best.min(start.elapsed());
        }
    }
    report(&rows, hertz).unwrap();
}

/// One line of the table.
struct Row<'a> {
    name: String,
    bytes: usize,
    goal: Goal,
    run: Box<dyn FnMut() + 'a>,
    best: Duration,
}

enum Goal {
    None,
    /// At least so many MB in a second.
    Rate(f64),
    /// At most so many seconds.
    Seconds(f64),
    /// At least so many times the speed of the row before.
    Times(f64),
}

impl<'a> Row<'a> {
    fn new(name: impl Into<String>, bytes: usize, goal: Goal, run: impl FnMut() + 'a) -> Self {
        Self { name: name.into(), bytes, goal, run: Box::new(run), best: Duration::MAX }
    }

    fn rate(&self) -> f64 {
        self.bytes as f64 / self.best.as_secs_f64() / 1e6
    }
}

fn report(rows: &[Row<'_>], hertz: f64) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "clock of the core while measuring: {:.2} GHz", hertz / 1e9)?;
    writeln!(out, "{:<46} {:>8} {:>9} {:>9}", "", "MB/s", "s", "goal")?;
    for (at, row) in rows.iter().enumerate() {
        let seconds = row.best.as_secs_f64();
        let verdict = |met: bool| if met { "met" } else { "MISSED" };
        let goal = match row.goal {
            Goal::None => String::new(),
            Goal::Rate(goal) => format!("{goal:>9} {}", verdict(row.rate() >= goal)),
            Goal::Seconds(goal) => format!("{goal:>7} s {}", verdict(seconds <= goal)),
            Goal::Times(goal) => {
                let times = row.rate() / rows[at.saturating_sub(1)].rate();
                format!("{goal:>7} x {}: {times:.2}", verdict(times >= goal))
            }
        };
        writeln!(out, "{:<46} {:>8.0} {seconds:>9.4} {goal}", row.name, row.rate())?;
    }
    let best = rows.iter().rfind(|row| row.name.starts_with("Swarm address, "));
    if let Some(row) = best {
        // 128 hashes for a leaf, and a chunk above 128 leaves.
        let permutations = row.bytes as f64 / 32.0 * (1.0 + 1.0 / 128.0);
        let cycles = row.best.as_secs_f64() * hertz / permutations;
        writeln!(out, "{}: {:.0} cycles for each permutation", row.name, cycles)?;
    }
    Ok(())
}

/// Addresses alone, and what limits them.
fn hashing<'a>(content: &'a [u8], rows: &mut Vec<Row<'a>>) {
    let mut copy = vec![0; content.len()];
    rows.push(Row::new("copying memory", content.len(), Goal::None, move || {
        black_box(&mut copy).copy_from_slice(black_box(content));
    }));
    for (name, hasher) in hashers() {
        let goal = if name == "AVX-512" { Goal::Rate(580.0) } else { Goal::None };
        rows.push(Row::new(format!("Swarm address, {name}"), content.len(), goal, move || {
            let mut hasher = hasher.clone();
            hasher.update(black_box(content));
            black_box(hasher.finalize());
        }));
    }
    rows.push(Row::new("IPFS address", content.len(), Goal::None, || {
        black_box(IpfsHasher::digest(black_box(content)));
    }));
    rows.push(Row::new("both addresses in one pass", content.len(), Goal::Rate(380.0), || {
        black_box(Addresser::digest(black_box(content)));
    }));
}

/// Sealing into hashers, on one core.
fn sealing<'a>(content: &'a [u8], person: &'a Person, rows: &mut Vec<Row<'a>>) {
    let committed = commit(content, person.salt, &person.media_type).unwrap();
    let mut row = |name: String, goal: Goal, into: Box<dyn Fn() -> Box<dyn Write + 'a> + 'a>| {
        rows.push(Row::new(name, content.len(), goal, move || {
            seal(&person.request(), &committed, black_box(content), into()).unwrap();
        }));
    };
    row(
        "commit, the first pass over a payload".into(),
        Goal::None,
        Box::new(|| Box::new(io::sink())),
    );
    row("seal alone".into(), Goal::None, Box::new(|| Box::new(io::sink())));
    for (name, hasher) in hashers() {
        let goal = match name {
            "AVX-512" => 450.0,
            "AVX2" => 170.0,
            _ => 65.0,
        };
        let into = move || Box::new(Sink(hasher.clone())) as Box<dyn Write>;
        row(format!("seal and Swarm address, {name}"), Goal::Rate(goal), Box::new(into));
    }
    row(
        "seal and IPFS address".into(),
        Goal::Rate(1000.0),
        Box::new(|| Box::new(Sink(IpfsHasher::new()))),
    );
    row(
        "seal and both addresses".into(),
        Goal::None,
        Box::new(|| Box::new(Sink(Addresser::new()))),
    );
    let first = rows.iter_mut().find(|row| row.name.starts_with("commit")).unwrap();
    first.run = Box::new(move || {
        black_box(commit(black_box(content), person.salt, &person.media_type).unwrap());
    });
}

/// What a custodian does with a record after it was read: open, seal under a new key, address.
fn resealing<'a>(content: &'a [u8], person: &'a Person, cores: usize) -> Row<'a> {
    let (committed, sealed) = seal_bytes(&person.request(), content).unwrap();
    let SealRequest { ledger, record, .. } = person.request();
    let context = SealContext { ledger, record, commitment: committed.commitment };
    let mut payload = Vec::with_capacity(RESEAL_LEN);
    Row::new(format!("reseal 64 MiB, cores: {cores}"), RESEAL_LEN, Goal::Seconds(0.16), move || {
        let header = Header::parse(black_box(&sealed)).unwrap();
        let opener = Opener::new(&header, context, OpenKey::Identity(&person.identity)).unwrap();
        payload.clear();
        let manifest = opener.open_to(&sealed[HEADER_LEN..], &mut payload).unwrap();
        let seal = |sink: &mut dyn Write| {
            seal(&person.request(), &manifest.committed, payload.as_slice(), sink).unwrap();
        };
        if cores == 1 {
            let mut hasher = Sink(SwarmHasher::new());
            seal(&mut hasher);
            black_box(hasher.0.finalize());
        } else {
            let (reader, mut writer) = io::pipe().unwrap();
            std::thread::scope(|scope| {
                let all = scope.spawn(move || addresses_on(cores, reader));
                seal(&mut writer);
                drop(writer);
                black_box(all.join().unwrap());
            });
        }
    })
}

/// The same work on one core and on two.
fn cores<'a>(content: &'a [u8], person: &'a Person, rows: &mut Vec<Row<'a>>) {
    for (workers, goal) in [(1, Goal::None), (2, Goal::Times(1.7))] {
        let name = format!("both addresses, cores: {workers}");
        rows.push(Row::new(name, content.len(), goal, move || {
            black_box(addresses_on(workers, black_box(content)));
        }));
    }
    let committed = commit(content, person.salt, &person.media_type).unwrap();
    rows.push(Row::new(
        "seal and both addresses, cores: 1",
        content.len(),
        Goal::None,
        move || {
            let into = Sink(Addresser::new());
            seal(&person.request(), &committed, black_box(content), into).unwrap();
        },
    ));
    let name = "seal and both addresses, cores: 2";
    rows.push(Row::new(name, content.len(), Goal::Times(1.7), move || {
        let (reader, writer) = io::pipe().unwrap();
        std::thread::scope(|scope| {
            scope
                .spawn(|| seal(&person.request(), &committed, black_box(content), writer).unwrap());
            black_box(addresses_on(2, reader));
        });
    }));
}

/// From a file to sealed content that survives a crash, in a local store; and what the disk alone takes.
fn keeping<'a>(person: &'a Person, dir: &'a Path, rows: &mut Vec<Row<'a>>) {
    let payload = dir.join("payload");
    let block: Vec<u8> = (0..1 << 20).map(mixed).collect();
    let write = move |path: &Path| {
        let mut file = File::create(path).unwrap();
        (0..FILE_LEN / block.len()).for_each(|_| file.write_all(&block).unwrap());
        file.sync_all().unwrap();
    };
    write(&payload);
    rows.push(Row::new("file of 256 MiB: write and sync alone", FILE_LEN, Goal::None, move || {
        let path = dir.join("plain");
        write(&path);
        std::fs::remove_file(path).unwrap();
    }));
    let store = LocalStore::open(dir.join("store")).unwrap();
    rows.push(Row::new("file of 256 MiB: commit, seal, keep", FILE_LEN, Goal::None, move || {
        let source = || File::open(&payload).unwrap();
        let committed = commit(source(), person.salt, &person.media_type).unwrap();
        let (reader, writer) = io::pipe().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| seal(&person.request(), &committed, source(), writer).unwrap());
            let kept = store.put(reader).unwrap();
            store.remove(&kept.of(Store::Swarm)).unwrap();
        });
    }));
}

/// Other people's chunk addresses: all leaves, without the nodes above them, which is a little less work.
fn rivals<'a>(content: &'a [u8], rows: &mut Vec<Row<'a>>) {
    let expected: Vec<[u8; NODE_LEN]> =
        content.chunks(CHUNK_LEN).map(|leaf| SwarmHasher::digest(leaf).digest.0).collect();
    type Rival = fn(&[u8]) -> Vec<[u8; NODE_LEN]>;
    let all: [(&str, Rival); 3] = [("bee-rs", bee_rs), ("sha3", sha3), ("p3-keccak hash_many", p3)];
    for (name, rival) in all {
        assert!(rival(content) == expected, "{name} gives the same addresses");
        rows.push(Row::new(format!("rival {name}"), content.len(), Goal::None, move || {
            black_box(rival(black_box(content)));
        }));
    }
}

fn bee_rs(content: &[u8]) -> Vec<[u8; NODE_LEN]> {
    let span = (CHUNK_LEN as u64).to_le_bytes();
    let mut wire = [span.as_slice(), &[0; CHUNK_LEN]].concat();
    let address = |leaf: &[u8]| {
        wire[8..].copy_from_slice(leaf);
        calculate_chunk_address(&wire).unwrap()
    };
    content.chunks_exact(CHUNK_LEN).map(address).collect()
}

fn sha3(content: &[u8]) -> Vec<[u8; NODE_LEN]> {
    tree(content, |blocks, len, nodes| {
        for (block, node) in blocks.chunks_exact(len).zip(nodes) {
            *node = Keccak256::digest(block).into();
        }
    })
}

fn p3(content: &[u8]) -> Vec<[u8; NODE_LEN]> {
    tree(content, |blocks, _, nodes| Keccak256Hash.hash_many(blocks, nodes))
}

/// The trees of eight leaves at a time, level by level, by a function that hashes many blocks.
fn tree(
    content: &[u8],
    mut hash: impl FnMut(&[u8], usize, &mut [[u8; NODE_LEN]]),
) -> Vec<[u8; NODE_LEN]> {
    let mut addresses = Vec::with_capacity(content.len() / CHUNK_LEN);
    for leaves in content.chunks(8 * CHUNK_LEN) {
        let count = leaves.len() / CHUNK_LEN;
        let mut nodes = vec![[0; NODE_LEN]; leaves.len() / 64];
        hash(leaves, 64, &mut nodes);
        while nodes.len() > count {
            let mut parents = vec![[0; NODE_LEN]; nodes.len() / 2];
            hash(nodes.as_flattened(), 64, &mut parents);
            nodes = parents;
        }
        let span = (CHUNK_LEN as u64).to_le_bytes();
        let last: Vec<u8> =
            nodes.iter().flat_map(|root| [span.as_slice(), root].concat()).collect();
        hash(&last, 40, &mut nodes);
        addresses.extend(nodes);
    }
    addresses
}

/// A sink that addresses what is written to it.
struct Sink<H>(H);

macro_rules! sinks {
    ($($hasher:ty),*) => {$(
        impl Write for Sink<$hasher> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.update(bytes);
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
    )*};
}

sinks!(SwarmHasher, IpfsHasher, Addresser);

/// One patient and what a record of theirs is sealed with.
struct Person {
    identity: IdentityKey,
    segment: SegmentPublic,
    salt: Salt,
    media_type: MediaType,
}

impl Person {
    fn new() -> Self {
        let keys: PatientKeys = RootSeed::from_bytes([0x11; 32]).pseudonym([0x22; 20].into());
        Self {
            identity: keys.identity(),
            segment: keys.segment(Segment(42), 7).public(),
            salt: Salt([0x55; 32].into()),
            media_type: "application/dicom".parse().unwrap(),
        }
    }

    fn request(&self) -> SealRequest<'_> {
        SealRequest {
            ledger: LedgerId { chain_id: 31_337, contract: [0x33; 20].into() },
            record: RecordId([0x44; 32].into()),
            epoch: 7,
            salt: self.salt,
            media_type: &self.media_type,
            identity: Some(self.identity.public()),
            segment: Some((Segment(42), &self.segment)),
        }
    }
}

/// Bytes without a short period.
fn mixed(at: u64) -> u8 {
    at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]
}

/// Cycles in a second: a chain of squares, of which each waits three cycles for the one before.
fn frequency() -> f64 {
    const LINKS: u32 = 1 << 16;
    let factor = black_box(0x9e37_79b9_7f4a_7c15_u64);
    let start = Instant::now();
    let product = (0..LINKS).fold(factor, |product, _| product.wrapping_mul(product));
    let seconds = start.elapsed().as_secs_f64();
    black_box(product);
    3.0 * f64::from(LINKS) / seconds
}
