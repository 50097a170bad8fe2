//! `galen grant`: the reader's side of a consent.

use clap::{Args, Subcommand};

/// Grants that you were given. `galen access` reads under them.
#[derive(Debug, Subcommand)]
pub(crate) enum GrantCommand {
    Add(GrantAddArgs),
    Fetch(GrantFetchArgs),
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

/// Pick up grants that proxies keep for you, and new keys of those that you have.
///
/// Each is checked as `galen grant add` does: a proxy can keep one back, not make one.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["proxy", "all"]))]
#[command(after_help = "Examples:\n  galen grant fetch https://proxy.st-anna.example\n  \
    galen grant fetch --all\n\n\
    Exits 6 if no proxy answers. Text output as of `galen grant list`: the grants that are new or have \
    new keys.")]
pub(crate) struct GrantFetchArgs {
    /// A proxy: alias, id or URL. May be given more than once.
    #[arg(value_name = "PROXY")]
    pub(crate) proxy: Vec<String>,
    /// All proxies that you know: of `galen proxy list`, and those of the patient's grants.
    #[arg(long)]
    pub(crate) all: bool,
}

/// List what you were granted.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen grant list\n\n\
    Text output, separated by tabs: consent id, `live`, `expired`, `not-yet` or `revoked`, patient, \
    categories, purposes, start, end, own reads, how many of how many proxies a read takes or `-`.")]
pub(crate) struct GrantListArgs {}
