//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Patient-held health records on any EVM chain.
#[derive(Debug, Parser)]
#[command(name = "galen", version, max_term_width = 100, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 success, 1 a bug here, 2 the request is wrong, 3 not found, \
    4 denied, 5 a hash, tag or signature does not match, 6 unavailable, 7 stale, 8 declined."
)]
pub(crate) struct Cli {
    /// Print one JSON object on stdout instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No status and no progress on stderr.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole life of a patient's records on an embedded chain and store.
    Demo(DemoArgs),
    /// Look at FHIR documents.
    #[command(subcommand)]
    Fhir(FhirCommand),
}

/// Two hospitals, an insurer and a patient: records are sealed, stored, proposed, verified, accepted,
/// granted, read with a logged access, refused where not granted, resealed and audited.
///
/// Needs no network and no wallet. The chain is an embedded development chain, the store a directory.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  galen demo\n  galen demo --bundle patient.json --keep ./demo\n  \
    galen demo --json | jq .gas"
)]
pub(crate) struct DemoArgs {
    /// FHIR R4 Bundle or resource, in JSON. Without it: a patient that comes with Galen.
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: Option<PathBuf>,
    /// Keep the chain and the sealed content in this directory, which must be empty or not exist.
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FhirCommand {
    /// Say of each file whether it is accepted, as which records in which segments, or why not.
    ///
    /// FHIR R4 (4.0.1) in JSON, or NDJSON if the name ends in `.ndjson`. Exits 2 if any file is
    /// refused, 6 if any cannot be read. Needs no wallet.
    #[command(after_help = "Examples:\n  galen fhir check patient.json\n  \
        galen fhir check --json export/*.json | jq '.files[] | select(.accepted | not)'\n\n\
        Text output: file, `accepted` or `refused`, then for accepted files the number of records and \
        `category=records` for each category, for refused ones the cause, the path and the byte; \
        separated by tabs.")]
    Check {
        /// Files to check; `-` is standard input.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}
