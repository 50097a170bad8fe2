//! `galen demo`.

use std::path::PathBuf;

/// Two hospitals, an insurer and a patient: records are sealed, stored, proposed, verified, accepted,
/// granted, read with a logged access, refused where not granted, resealed and audited.
///
/// Without flags it needs no network and no wallet: the chain is an embedded development chain, the store a
/// directory. With --rpc-url it runs on that chain, with --store on those stores.
///
/// On chain 31337 (anvil, `galen dev`) a development key pays that everybody knows; elsewhere --account or --keystore
/// names the wallet, and what it may cost is asked.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  galen demo\n  galen demo --bundle patient.json --keep ./demo\n  \
    galen demo --rpc-url http://127.0.0.1:8545 --store swarm:$GALEN_BEE_URL#batch=$GALEN_BEE_BATCH,ipfs\n  \
    galen demo --json | jq .gas"
)]
pub(crate) struct DemoArgs {
    /// FHIR R4 Bundle or resource, in JSON. Without it: a patient that comes with Galen.
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: Option<PathBuf>,
    /// Keep the chain and the sealed content in this directory, which must be empty or not exist.
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Speak to nodes on other machines without encryption: only inside a VPN.
    #[arg(long)]
    pub(crate) allow_plain_http: bool,
}
