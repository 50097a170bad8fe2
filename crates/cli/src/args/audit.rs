//! `galen audit`.

use std::path::PathBuf;

use clap::Args;

use crate::when::Instant;

/// Show everything that happened to a chart, and what proves that this is all.
///
/// Emergency accesses come first. Exits 5 if the history does not fold to the head of the chart on
/// chain: then something was left out, added or changed.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  galen audit\n  galen audit --since 2026-01-01 --csv >audit.csv\n  \
    galen audit --fhir audit.ndjson\n  \
    galen audit --json | jq '.entries[] | select(.what == \"accessed\")'\n\n\
    Text output, separated by tabs: time, what happened, who, record or proposal id, purpose, consent \
    id, in the head or not, transaction, final or not. The last line says what proves it. \
    With --fhir: the file and the number of AuditEvents instead. Refused \
    attempts leave no event on chain and are not in any list."
)]
pub(crate) struct AuditArgs {
    /// Whose chart. Without it: your own.
    #[arg(long, value_name = "PATIENT")]
    pub(crate) patient: Option<String>,
    /// Only from this time on (UTC). The proof is about the whole history all the same.
    #[arg(long, value_name = "DATE")]
    pub(crate) since: Option<Instant>,
    /// Comma-separated values (RFC 4180) with a head line, instead of tabs.
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    /// Write the events to this new file as FHIR AuditEvents by IHE BALP: NDJSON if it ends in .ndjson, else a
    /// Bundle. Nothing is written of a history that is not proven.
    #[arg(long, value_name = "FILE", conflicts_with = "csv")]
    pub(crate) fhir: Option<PathBuf>,
}
