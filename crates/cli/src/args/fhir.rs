//! `galen fhir`.

use std::path::PathBuf;

use clap::Subcommand;

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
