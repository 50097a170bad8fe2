//! SMART Health Cards, wherever they come in.

use std::path::PathBuf;

use clap::Args;

/// Whose signature under a SMART Health Card is believed.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "SMART Health Cards")]
pub(crate) struct IssuerArgs {
    /// The issuer's key set (jwks.json), or the folder that holds its `.well-known`.
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) issuer_keys: Option<PathBuf>,
    /// The issuer that the cards must name.
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: Option<String>,
    /// Fetch the keys and revocation lists from the issuer that --issuer names, over https.
    #[arg(long, requires = "issuer", conflicts_with = "issuer_keys")]
    pub(crate) fetch_keys: bool,
}

/// Verify SMART Health Cards and take their bundles.
///
/// A card is verified against the keys that you give, never against what it brings itself.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    galen fhir card anna.smart-health-card --issuer-keys jwks.json --issuer https://lab.example/cards\n  \
    galen fhir card qr.png --issuer https://lab.example/cards --fetch-keys --out bundle.json\n\n\
    Takes .smart-health-card files, text that begins with shc:/, JWS, and PNG with a QR code; the parts of one card \
    may lie in several files. Text output, separated by tabs: `good` or `refused`, issuer, from, until, kind, \
    `not-revoked`, `not-checked` or `not-offered`; or the cause. Exits 5 if a signature does not match, else by \
    the cause of the first refusal.")]
pub(crate) struct CardFilesArgs {
    /// Files; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) issuer: IssuerArgs,
    /// Write the bundle of the one card to this file, byte for byte.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}
