//! `galen access`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use galen_fhir::Category;
use galen_types::Purpose;

/// Read what a patient granted: every read is logged on chain first, then opened.
///
/// The patient sees each read, for ever. Without --out the records are logged and checked, and only
/// listed. Where the consent goes through proxies, they answer once the log is final.
///
/// In an emergency an organization may read without a grant of its own, if the patient allowed it to all:
/// --emergency asks the patient's proxies.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "Examples:\n  galen access anna --purpose TREAT --out ./anna\n  \
    galen access anna 0x91b03c7e --purpose TREAT --out ./anna\n  \
    galen access anna --category laboratory --purpose TREAT --out ./anna\n  \
    galen access anna --emergency --purpose BTG --proxy https://proxy.st-anna.example\n  galen access log\n\n\
    Text output, separated by tabs: record id, category, author, media type, bytes, file or `-`, \
    transaction, final or not.")]
pub(crate) struct AccessArgs {
    #[command(subcommand)]
    pub(crate) command: Option<AccessCommand>,
    /// The patient: contact or id.
    #[arg(value_name = "PATIENT", required = true)]
    pub(crate) patient: Option<String>,
    /// Records. Without any: everything that the grants cover.
    #[arg(value_name = "RECORD")]
    pub(crate) records: Vec<String>,
    /// Why you read (HL7 v3 ActReason), for example TREAT or HPAYMT.
    #[arg(long, value_name = "CODE", required = true)]
    pub(crate) purpose: Option<Purpose>,
    /// Only records of this category. May be given more than once.
    #[arg(long, value_name = "NAME")]
    pub(crate) category: Vec<Category>,
    /// Write the documents into this folder. Only you can read them there.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Signed documents as they are, with what proves their parts, for `galen record extract` and `galen
    /// verify`. Without it: the documents.
    #[arg(long, requires = "out")]
    pub(crate) signed: bool,
    /// Read under what the patient allowed to every organization, for an emergency or another purpose that
    /// it names. Only for organizations; the patient is told.
    #[arg(long)]
    pub(crate) emergency: bool,
    /// Open what you logged within the last hour, and log nothing: for when too few proxies had answered.
    #[arg(long)]
    pub(crate) logged: bool,
    /// A proxy of the patient: alias, id or URL. May be given more than once. Without it: those of
    /// `galen proxy list`.
    #[arg(long, value_name = "PROXY", requires = "emergency")]
    pub(crate) proxy: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccessCommand {
    Log(AccessLogArgs),
}

/// List the reads that you logged.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen access log\n  galen access log --patient anna\n\n\
    Text output, separated by tabs: time, patient, record id, purpose, consent id, transaction, final \
    or not.")]
pub(crate) struct AccessLogArgs {
    /// Only reads of this patient: contact or id.
    #[arg(long, value_name = "PATIENT")]
    pub(crate) patient: Option<String>,
}
