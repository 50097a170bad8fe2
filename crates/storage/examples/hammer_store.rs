//! Keeps a fixed series of contents in a store and prints both addresses once they are acknowledged.
//!
//! `hammer_store DIRECTORY [ROUNDS]`. Each round keeps every content, and every second round removes one again
//! and prints a `-` before its addresses. The tests kill it at each step and look at what is left.
//! Ends with 0 when done, with 3 and the error on stderr when the store refused.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is what the tests read")]

use std::{env, process::ExitCode};

use galen_storage::{LocalStore, StorageError};
use galen_types::Store;

/// From nothing to more than one leaf of IPFS, and one that comes twice.
const LENGTHS: [usize; 6] = [0, 31, 5_000, 31, 70_000, 1_050_000];

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let Some(directory) = arguments.next() else {
        eprintln!("usage: hammer_store DIRECTORY [ROUNDS]");
        return ExitCode::from(2);
    };
    let rounds = arguments.next().and_then(|rounds| rounds.parse().ok()).unwrap_or(1);
    match hammer(&directory, rounds) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{} {error}", error.kind());
            ExitCode::from(3)
        }
    }
}

fn hammer(directory: &str, rounds: usize) -> Result<(), StorageError> {
    let store = LocalStore::open(directory)?;
    for round in 0..rounds {
        for len in LENGTHS {
            let content: Vec<u8> = (0..=250).cycle().take(len).collect();
            let kept = store.put(content.as_slice())?;
            println!("{}\n{}", kept.of(Store::Swarm), kept.of(Store::Ipfs));
        }
        if round % 2 == 1 {
            let kept = store.put(&b"short-lived"[..])?;
            // By either address in turn.
            let by = if round % 4 == 1 { Store::Swarm } else { Store::Ipfs };
            store.remove(&kept.of(by))?;
            println!("-{}\n-{}", kept.of(Store::Swarm), kept.of(Store::Ipfs));
        }
    }
    Ok(())
}
