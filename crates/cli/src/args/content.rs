//! `galen content`.

use clap::{Args, Subcommand};

/// Sealed content: where each record lies, copies, and what may go.
///
/// Content is named by what is in it: `swarm:` or `ipfs:` and 64 hex digits. Every byte that is read is checked
/// against that name, so any copy is as good as another.
#[derive(Debug, Subcommand)]
pub(crate) enum ContentCommand {
    List(ContentListArgs),
    Check(ContentCheckArgs),
    Copy(ContentCopyArgs),
    Prune(ContentPruneArgs),
    Postage(ContentPostageArgs),
}

/// List the copies that were made from this machine, and uploads that are not finished.
///
/// Asks no node; `galen content check` does.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen content list\n  galen content list --place swarm\n  \
    galen content list --json | jq '[.copies[].bytes] | add'\n\n\
    Text output, separated by tabs: `kept` or `pending`, swarm address, ipfs address, bytes, place, time of the \
    copy or bytes that were sent. JSON: copies (swarm, ipfs, bytes, place, since), pending (swarm, ipfs, bytes, \
    place, done).")]
pub(crate) struct ContentListArgs {
    /// Only this place.
    #[arg(long, value_name = "NAME")]
    pub(crate) place: Option<String>,
}

/// Ask every place what it has, and say where each record lies.
///
/// Without a record or content: all current records of the patient, or those that the organization wrote. A place
/// is wanted if new content of that kind goes there, or a copy was made there. --repair copies what is missing or
/// damaged from a right copy to every such place that takes content.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  galen content check\n  galen content check --whole --repair\n  \
    galen content check 0x91b03c7e\n  galen content check --json | jq '.contents[] | select(.state != \"ok\")'\n\n\
    Text output, one line for each content and place, separated by tabs: record id, category, content, place, \
    `whole`, `present` (the root is there; --whole reads every byte), `missing`, `damaged`, `unknown` (the place \
    knows it by an address that this machine does not) or `unreachable`, wanted or not, repaired or what the \
    place said. JSON: contents (record, patient, category, content, standing, state, places with place, presence, \
    wanted, repaired, error), checked, ok, missing, damaged, unreachable, repaired.\n\n\
    Exits 0 if every content is where it is wanted and somewhere at least, 5 if a copy is damaged, else 3 if one \
    is missing, else 6 if a place could not say; after --repair, for what is still so."
)]
pub(crate) struct ContentCheckArgs {
    /// Records, or contents as `swarm:…` and `ipfs:…`.
    #[arg(value_name = "RECORD|CONTENT")]
    pub(crate) targets: Vec<String>,
    /// Only records of this patient, for an organization.
    #[arg(long, value_name = "PATIENT")]
    pub(crate) patient: Option<String>,
    /// Read every byte of every copy.
    #[arg(long)]
    pub(crate) whole: bool,
    /// Copy what is missing or damaged from a right copy.
    #[arg(long)]
    pub(crate) repair: bool,
}

/// Copy content to a place from whichever other place has it right.
///
/// If it is interrupted, run it again: what a place has confirmed is not sent again.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  galen content copy --to archive\n  galen content copy 0x91b03c7e --to ipfs\n  \
    galen content copy --pending\n\n\
    Text output, separated by tabs: `copied`, `there` (it was), `left` (another process works on it) or `failed`, \
    content, place, cause. JSON: copies (record, content, place, state, error). Exits with the code of the gravest \
    failure."
)]
pub(crate) struct ContentCopyArgs {
    /// Records, or contents as `swarm:…` and `ipfs:…`. Without any: as `galen content check`.
    #[arg(value_name = "RECORD|CONTENT", conflicts_with = "pending")]
    pub(crate) targets: Vec<String>,
    /// Only records of this patient, for an organization.
    #[arg(long, value_name = "PATIENT", conflicts_with = "pending")]
    pub(crate) patient: Option<String>,
    /// The place that is to have it.
    #[arg(
        long,
        value_name = "PLACE",
        required_unless_present = "pending",
        conflicts_with = "pending"
    )]
    pub(crate) to: Option<String>,
    /// Go on with the uploads that are not finished.
    #[arg(long)]
    pub(crate) pending: bool,
}

/// Give content free that nobody needs: sealed anew since, rejected, withdrawn, expired.
///
/// What the chain says is superseded goes, if newer content of the same record can be had; never the last good
/// copy. Only places that take content are asked to let go. Shows the list and asks first; then also reclaims
/// what is staged on this machine and waits for no upload.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen content prune\n  galen content prune --yes --json\n\n\
    Text output, separated by tabs: `released`, `kept` (it was not there) or `failed`, record id, content, why it \
    is not needed, place, cause; then `staged` and the bytes that were reclaimed. JSON: contents (record, content, \
    standing, place, state, error), staged_bytes. Exits with the code of the gravest failure.")]
pub(crate) struct ContentPruneArgs {
    /// Only records of this patient, for an organization.
    #[arg(long, value_name = "PATIENT")]
    pub(crate) patient: Option<String>,
}

/// Show the postage that uploads to Swarm would use, and how long it lasts.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  galen content postage\n  galen content postage --json | jq '.places[].seconds_left'\n\n\
    Postage is bought at the node: bee's POST /stamps/AMOUNT/DEPTH. Text output, separated by tabs: place, batch, \
    time left, percent used, what is wrong. JSON: places (place, batch, seconds_left, used_percent, error)."
)]
pub(crate) struct ContentPostageArgs {}
