//! Sharing by proxies against its goals, and beside umbral-pre, which runs as a program of its own (its licence is the
//! GPL). Wants a quiet machine and one core:
//!
//! ```sh
//! taskset -c 0 cargo bench --manifest-path tests/oracles/Cargo.toml -p oracle-proxy [-- ROUNDS]
//! ```
//!
//! In every round both run every operation a few times, one after the other; an operation's time is its best.

#![allow(clippy::unwrap_used, reason = "a bench fails where it stands")]

use std::{
    hint::black_box,
    io::{self, BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use galen_crypto::{
    Answer, Header, KeySplit, RootSeed, SealContext, SealRequest, SegmentKey, seal_bytes,
};
use galen_types::{LedgerId, RecordId, Salt, Segment};

const DEFAULT_ROUNDS: usize = 40;
/// Repetitions of each operation in one round, as in the other program.
const REPEATS: usize = 8;

fn main() {
    let mut numbers = std::env::args().filter_map(|arg| arg.parse::<usize>().ok());
    let rounds = numbers.next().unwrap_or(DEFAULT_ROUNDS);
    let record = Record::new();
    let mut rows = rows(&record);
    let mut umbral = Umbral::start();
    for _ in 0..rounds {
        let theirs = umbral.round();
        for row in &mut rows {
            for _ in 0..REPEATS {
                let start = Instant::now();
                (row.run)();
                row.best = row.best.min(start.elapsed());
            }
            let nanos = row.rival.map(|name| Duration::from_nanos(theirs[name].as_u64().unwrap()));
            row.theirs = nanos.map(|nanos| row.theirs.map_or(nanos, |best| best.min(nanos)));
        }
    }
    report(&rows).unwrap();
}

/// One line of the table.
struct Row<'a> {
    name: &'static str,
    /// The same by the other program.
    rival: Option<&'static str>,
    /// At most so many microseconds.
    goal: Option<f64>,
    run: Box<dyn FnMut() + 'a>,
    best: Duration,
    theirs: Option<Duration>,
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn report(rows: &[Row<'_>]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{:<44} {:>8} {:>12} {:>8}", "", "us", "umbral-pre", "goal")?;
    for row in rows {
        let theirs = row.theirs.map_or(String::new(), |theirs| {
            format!("{:.0} ({:.2} x)", micros(theirs), micros(theirs) / micros(row.best))
        });
        let goal = row.goal.map_or(String::new(), |goal| {
            let verdict = if micros(row.best) <= goal { "met" } else { "MISSED" };
            format!("{goal:>6} {verdict}")
        });
        writeln!(out, "{:<44} {:>8.0} {theirs:>12} {goal}", row.name, micros(row.best))?;
    }
    Ok(())
}

/// A sealed record, and who shares its key.
struct Record {
    context: SealContext,
    header: Header,
    key: SegmentKey,
    split: KeySplit,
    answers: Vec<Answer>,
}

impl Record {
    fn new() -> Self {
        let keys = RootSeed::from_bytes([1; 32]).pseudonym([2; 20].into());
        let (segment, epoch) = (Segment(3), 4);
        let key = keys.segment(segment, epoch);
        let public = key.public();
        let ledger = LedgerId { chain_id: 1, contract: [5; 20].into() };
        let request = SealRequest {
            ledger,
            record: RecordId([6; 32].into()),
            epoch,
            salt: Salt([7; 32].into()),
            media_type: &"application/fhir+json".parse().unwrap(),
            identity: None,
            segment: Some((segment, &public)),
        };
        let (committed, sealed) = seal_bytes(&request, b"glucose").unwrap();
        let record = request.record;
        let context = SealContext { ledger, record, commitment: committed.commitment };
        let header = Header::parse(&sealed).unwrap();
        let split = key.split(2, 3).unwrap();
        let capsule = header.capsule().unwrap();
        let answers =
            split.shares[..2].iter().map(|it| it.answer(&context, capsule).unwrap()).collect();
        Self { context, header, key, split, answers }
    }
}

fn rows(record: &Record) -> Vec<Row<'_>> {
    let Record { context, header, key, split, answers } = record;
    let capsule = header.capsule().unwrap();
    let row = |name, rival, goal, run: Box<dyn FnMut()>| Row {
        name,
        rival,
        goal,
        run,
        best: Duration::MAX,
        theirs: None,
    };
    vec![
        row(
            "answer with proof",
            Some("answer"),
            Some(300.0),
            Box::new(|| {
                black_box(split.shares[0].answer(context, capsule).unwrap());
            }),
        ),
        row(
            "verify an answer",
            Some("verify"),
            None,
            Box::new(|| {
                answers[0].verify(&split.keys, context, Segment(3), 4, capsule).unwrap();
            }),
        ),
        row(
            "open with 2 of 3: verify both, unwrap",
            Some("open"),
            Some(600.0),
            Box::new(|| {
                black_box(
                    header.unwrap_shared(context, &split.half, &split.keys, answers).unwrap(),
                );
            }),
        ),
        row(
            "split 2 of 3",
            Some("split"),
            None,
            Box::new(|| {
                black_box(key.split(2, 3).unwrap());
            }),
        ),
        row(
            "open with the whole secret",
            None,
            None,
            Box::new(|| {
                black_box(header.unwrap_segment(context, key).unwrap());
            }),
        ),
        row(
            "verify a capsule",
            None,
            None,
            Box::new(|| {
                capsule.verify(context, Segment(3), 4).unwrap();
            }),
        ),
    ]
}

/// The other program: a line in, the times of one round out.
struct Umbral {
    program: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Umbral {
    fn start() -> Self {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../umbral/Cargo.toml");
        let mut program = Command::new(env!("CARGO"))
            .args(["run", "--release", "--quiet", "--manifest-path", manifest])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let ask = program.stdin.take().unwrap();
        let answers = BufReader::new(program.stdout.take().unwrap());
        Self { program, ask, answers }
    }

    fn round(&mut self) -> serde_json::Value {
        writeln!(self.ask).unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Umbral {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
