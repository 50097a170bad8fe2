//! `galen recovery`: keys were lost, and come back.

use clap::{Args, Subcommand};

use crate::code::Output;

/// Recovery: you lost your keys, and your guardians give them back.
///
/// On the new machine make a profile of any name (`galen init --no-publish --profile new --from CARD`), then: `ask`,
/// let the guardians `approve`, `start`, wait, `finish`, collect the `pieces`, `restore`.
#[derive(Debug, Subcommand)]
pub(crate) enum RecoveryCommand {
    Ask(RecoveryAskArgs),
    Start(RecoveryStartArgs),
    Status(RecoveryStatusArgs),
    Cancel(RecoveryCancelArgs),
    Finish(RecoveryFinishArgs),
    Pieces(RecoveryPiecesArgs),
    Restore(RecoveryRestoreArgs),
}

/// Ask the guardians of your id to hand it to this profile's wallet.
///
/// Send the line to your guardians and read them the words by telephone. Nothing is sent to the chain yet.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    galen recovery ask 0x3f… --profile new --out request.txt\n  \
    galen recovery ask 0x3f… --final          a thief holds the old key and would cancel\n\n\
    Text output: the words to read aloud, then the line.")]
pub(crate) struct RecoveryAskArgs {
    /// The id that you lost.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Ask for a recovery that nobody can cancel; it takes more guardians.
    #[arg(long = "final")]
    pub(crate) is_final: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Start the recovery, once enough guardians have signed. Anybody may.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  galen recovery start signed-by-mother.txt signed-by-brother.txt\n\n\
    Text output, separated by tabs: id, new controller, time from which it can be finished, transaction."
)]
pub(crate) struct RecoveryStartArgs {
    /// Lines of `galen guardian approve`: files, texts, PNGs or `-`.
    #[arg(value_name = "SIGNED", required = true)]
    pub(crate) sheets: Vec<String>,
}

/// Show what waits for an id and what can be done about it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  galen recovery status 0x3f…\n  galen recovery status self --json\n\n\
    Text output: `key<TAB>value` lines."
)]
pub(crate) struct RecoveryStatusArgs {
    /// The id: contact, 0x…, or `self`.
    #[arg(value_name = "ID", default_value = "self")]
    pub(crate) id: String,
}

/// Cancel what waits for your id, with the key that still signs for it. Recoveries only once in 30 days.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen recovery cancel\n\n\
    Text output: `cancelled`, what was cancelled, transaction; separated by tabs.")]
pub(crate) struct RecoveryCancelArgs {}

/// Finish what has waited long enough: a recovery, a rotation, a change of guardians. Anybody may.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  galen recovery finish 0x3f…\n  galen recovery finish self\n\n\
    Text output: what was finished, id, controller, transaction; separated by tabs."
)]
pub(crate) struct RecoveryFinishArgs {
    /// The id: contact, 0x…, or `self`.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

/// Collect the pieces of the seed: ask the proxies, make the line for the guardians, take what they gave.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    galen recovery pieces 0x3f… --out request.txt                 after it has finished: send this to the guardians\n  \
    galen recovery pieces 0x3f… --take piece-of-mother.txt        keep what a guardian gave\n\n\
    Text output: `key<TAB>value` lines, then the line for the guardians.")]
pub(crate) struct RecoveryPiecesArgs {
    /// The id that was recovered.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Line of `galen guardian give`: file, text, PNG or `-`. May be given more than once.
    #[arg(long, value_name = "PIECE")]
    pub(crate) take: Vec<String>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Put the seed together and make a profile of the old id with this profile's wallet.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen recovery restore 0x3f… --into anna\n  \
    galen recovery restore 0x3f… --into anna --take piece-of-brother.txt\n\n\
    The seed is the one that you had: whoever has the lost device and its password can still open what they get \
    hold of.\n\n\
    Text output: `key<TAB>value` lines, as of `galen init`.")]
pub(crate) struct RecoveryRestoreArgs {
    /// The id that was recovered.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Name of the new profile.
    #[arg(long, value_name = "PROFILE")]
    pub(crate) into: String,
    /// Line of `galen guardian give`: file, text, PNG or `-`. May be given more than once.
    #[arg(long, value_name = "PIECE")]
    pub(crate) take: Vec<String>,
}
