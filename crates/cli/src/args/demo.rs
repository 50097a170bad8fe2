//! `galen demo`.

use std::path::PathBuf;

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
