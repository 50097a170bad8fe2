//! Checks the resources of a file, one a line, and prints how many are accepted and how many refused; for
//! `tests/oracles/python/reader_speed.py`, which takes the time.

#![allow(clippy::print_stdout, reason = "the figures are its result")]

use std::{env, fs::File, io::BufReader, process::ExitCode};

use galen_fhir::check_ndjson;

fn main() -> ExitCode {
    let Some(path) = env::args_os().nth(1) else { return ExitCode::from(2) };
    match File::open(path).and_then(|file| check_ndjson(BufReader::new(file))) {
        Ok(summary) => {
            println!("{} {}", summary.accepted, summary.refused.len() + summary.more_refused);
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::FAILURE,
    }
}
