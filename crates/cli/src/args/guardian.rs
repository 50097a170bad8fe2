//! `galen guardian`: people who give keys back, and what one does as one of them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::when::Lifetime;

/// Guardians: people who together give you your keys back if you lose them.
///
/// Enough of them hand your id to a new key, after a delay in which the old key can object. They also hold
/// sealed pieces of the seed that opens your records. With proxies (`galen proxy add`) the guardians hold one half
/// and the proxies the other, which they give only after a recovery that finished on chain. Without proxies the
/// guardians hold all of it: enough of them together could read everything, and nobody would see it.
#[derive(Debug, Subcommand)]
pub(crate) enum GuardianCommand {
    Set(GuardianSetArgs),
    Pieces(GuardianPiecesArgs),
    Status(GuardianStatusArgs),
    Remove(GuardianRemoveArgs),
    Accept(GuardianAcceptArgs),
    List(GuardianListArgs),
    Approve(GuardianApproveArgs),
    Give(GuardianGiveArgs),
}

/// Choose who guards your id, and make their pieces.
///
/// The first guardians take effect at once. A change waits as long as those before said; then run
/// `galen recovery finish self` and `galen guardian pieces`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    galen guardian set mother brother friend\n  \
    galen guardian set mother brother friend --threshold 2 --delay 10d --out pieces/\n\n\
    Hand each guardian their line: it is sealed to them, so any channel will do. They take it with \
    `galen guardian accept`. A guardian needs published keys: a contact made by `galen contact add`.\n\n\
    Text output: guardian, line of the piece; separated by tabs. JSON: see docs/protocol.md, section \
    \"JSON output\".")]
pub(crate) struct GuardianSetArgs {
    /// Contacts or ids, 1 to 32.
    #[arg(value_name = "GUARDIAN", required = true)]
    pub(crate) guardians: Vec<String>,
    /// How many give the keys back [default: more than half]
    #[arg(long, value_name = "M")]
    pub(crate) threshold: Option<u8>,
    /// How many do it so that nobody can cancel [default: all]
    #[arg(long = "final", value_name = "N")]
    pub(crate) final_threshold: Option<u8>,
    /// How long a recovery waits, in which the old key can object: 3 to 21 days. Rotations wait as long.
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub(crate) delay: Lifetime,
    /// Give the guardians all of the seed, although there are proxies.
    #[arg(long)]
    pub(crate) without_proxies: bool,
    /// Write a file for each guardian into this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// Show the pieces for guardians again; make them if there are none, and bring proxies theirs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen guardian pieces --out pieces/\n  \
    galen guardian pieces --anew          for a guardian who lost theirs long ago, or other proxies\n\n\
    Pieces made anew do not fit those before: every guardian must take the new one.\n\n\
    Text output: guardian, line of the piece; separated by tabs.")]
pub(crate) struct GuardianPiecesArgs {
    /// Split the seed anew.
    #[arg(long)]
    pub(crate) anew: bool,
    /// With --anew: give the guardians all of the seed, although there are proxies.
    #[arg(long, requires = "anew")]
    pub(crate) without_proxies: bool,
    /// Write a file for each guardian into this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// Show who guards your id, what waits, and whether all pieces are handed out.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen guardian status\n\n\
    Text output: `key<TAB>value` lines.")]
pub(crate) struct GuardianStatusArgs {}

/// Remove the guardians. It waits as long as they said; then nobody can give the keys back.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen guardian remove\n\n\
    Text output: `removed` or `waiting`, and the time from which `galen recovery finish self` ends it.")]
pub(crate) struct GuardianRemoveArgs {}

/// Take the piece that somebody gave you as their guardian: checks who signed it, and keeps it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen guardian accept anna.guardian\n  \
    galen guardian accept - <anna.guardian\n\nText output as of `galen guardian list`.")]
pub(crate) struct GuardianAcceptArgs {
    /// File, text, PNG or `-`.
    #[arg(value_name = "PIECE")]
    pub(crate) piece: String,
}

/// List whose guardian you are.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen guardian list\n\n\
    Text output, separated by tabs: id, `current`, `waiting` or `stale`, how many guardians it takes, of how many, \
    `half` or `whole` (whether guardians alone could read), date of the piece.")]
pub(crate) struct GuardianListArgs {}

/// Sign that somebody who lost their keys gets a new one.
///
/// Speak to the person first, and let them read the words of their request to you: whoever sends you a request
/// can say that they are anybody.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen guardian approve request.txt --out signed.txt\n\n\
    Give the signed line back, or on to the next guardian: signatures add up on it.\n\n\
    Text output: the line.")]
pub(crate) struct GuardianApproveArgs {
    /// Line of `galen recovery ask`, or of a guardian before: file, text, PNG or `-`.
    #[arg(value_name = "REQUEST")]
    pub(crate) request: String,
    /// Write the line to a file.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// Give your piece of the seed to who took an id over, after the recovery has finished.
///
/// It is sealed to the new key. Before the recovery finished on chain, after it was cancelled, or once the id
/// changed hands again, nothing is given.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen guardian give request.txt --out piece.txt\n\n\
    Text output: the line.")]
pub(crate) struct GuardianGiveArgs {
    /// Line of `galen recovery pieces`: file, text, PNG or `-`.
    #[arg(value_name = "REQUEST")]
    pub(crate) request: String,
    /// Write the line to a file.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}
