//! `galen grant`: the reader's side of a consent.

use clap::{Args, Subcommand};

/// Grants that you were given. `galen access` reads under them.
#[derive(Debug, Subcommand)]
pub(crate) enum GrantCommand {
    Add(GrantAddArgs),
    List(GrantListArgs),
}

/// Take the line that a patient sent: checks who signed it, opens it and keeps it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen grant add for-dr-weiss.txt\n  \
    galen grant add galen:grant:…\n  galen grant add - <for-dr-weiss.txt\n\n\
    Text output as of `galen grant list`.")]
pub(crate) struct GrantAddArgs {
    /// File, text, PNG or `-`.
    #[arg(value_name = "GRANT")]
    pub(crate) grant: String,
}

/// List what you were granted.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen grant list\n\n\
    Text output, separated by tabs: consent id, `live`, `expired`, `not-yet` or `revoked`, patient, \
    categories, purposes, start, end, own reads.")]
pub(crate) struct GrantListArgs {}
