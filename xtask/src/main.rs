//! Chores of this repository. `cargo xtask` lists them.

mod abi;
mod ci;
mod tools;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use eyre::{Result, bail};

const USAGE: &str = "\
cargo xtask abi [--check]       compile the contracts into abi/, or fail if abi/ is not what they compile to
cargo xtask ci [--list] [--only NAME]... [--skip NAME]... [--minutes N]
                                run every check, or the named ones, or all but the named ones; what is not
                                done in so many minutes has failed";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(report) => {
            eprintln!("xtask: {report:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> Result<()> {
    match args {
        ["abi"] => abi::write(&root()),
        ["abi", "--check"] => abi::check(&root()),
        ["ci", rest @ ..] => ci::run(&root(), &ci::Selection::parse(rest)?),
        _ => bail!("unknown arguments\n\n{USAGE}"),
    }
}

/// The top of the repository.
fn root() -> PathBuf {
    // Asked at run time: a binary in a target folder that two clones share knows only the one that
    // built it.
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&manifest).parent().expect("this crate lies one folder below the top").to_owned()
}
