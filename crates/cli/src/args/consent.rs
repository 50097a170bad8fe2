//! `galen consent`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use galen_fhir::{Category, Preset};
use galen_types::Purpose;

use super::consent_fhir::{ConsentExportArgs, ConsentImportArgs, ConsentScopesArgs};
use crate::when::{Instant, Lifetime};

/// Consents: who may read what, why and until when. For patients.
#[derive(Debug, Subcommand)]
pub(crate) enum ConsentCommand {
    Grant(ConsentGrantArgs),
    Deliver(ConsentDeliverArgs),
    Revoke(ConsentRevokeArgs),
    RevokeAll(ConsentRevokeAllArgs),
    Rotate(ConsentRotateArgs),
    List(ConsentListArgs),
    Export(ConsentExportArgs),
    Import(ConsentImportArgs),
    Scopes(ConsentScopesArgs),
}

/// Let somebody read categories of your records, for a purpose and a time.
///
/// What comes out is one line of text for the reader: only the reader can open it. If you have proxies
/// (`galen proxy add`), each read then needs some of them, and they answer only what is logged; without
/// them nothing but the reader's honesty makes it log. What they have opened cannot be taken back, also
/// not by revoking.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["category", "preset"]))]
#[command(group = ArgGroup::new("end").required(true).args(["lasts", "until"]))]
#[command(group = ArgGroup::new("who").required(true).args(["to", "to_network", "emergency"]))]
#[command(after_help = "Examples:\n  \
    galen consent grant --to dr-weiss --preset physician --for 30d --out for-dr-weiss.txt\n  \
    galen consent grant --to insurer --category billing --purpose HPAYMT --until 2027-05-20\n  \
    galen consent grant --emergency --preset emergency --for 1y\n\n\
    What it opens and what stays closed is said on standard error before you sign, sensitive \
    categories one by one.\n\n\
    Text output: the line for the reader, unless --out is given or it can fetch it from a proxy; then the consent \
    id, reader, categories, purposes, start, end, transaction, final or not, separated by tabs.")]
pub(crate) struct ConsentGrantArgs {
    /// Who may read: contact or id.
    #[arg(long, value_name = "CONTACT")]
    pub(crate) to: Option<String>,
    /// Category that may be read. May be given more than once.
    #[arg(long, value_name = "NAME")]
    pub(crate) category: Vec<Category>,
    /// The categories that this kind of reader usually needs, never a sensitive one: insurer,
    /// physician, emergency, researcher; family has none by itself.
    #[arg(long, value_name = "NAME")]
    pub(crate) preset: Option<Preset>,
    /// Why it may be read (HL7 v3 ActReason), for example TREAT or HPAYMT. May be given more than once.
    /// Without it: what the preset's reader reads for, such as HPAYMT and COVERAGE for an insurer.
    #[arg(long, value_name = "CODE", required_unless_present_any = ["emergency", "preset"])]
    pub(crate) purpose: Vec<Purpose>,
    /// For how long, for example 12h, 30d, 1y.
    #[arg(long = "for", id = "lasts", value_name = "TIME")]
    pub(crate) lasts: Option<Lifetime>,
    /// Until when (UTC), for example 2027-05-20; that day no longer counts.
    #[arg(long, value_name = "DATE")]
    pub(crate) until: Option<Instant>,
    /// From when (UTC). Without it: from now.
    #[arg(long, value_name = "DATE")]
    pub(crate) from: Option<Instant>,
    /// Write the line for the reader to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Every active organization of the network may read.
    #[arg(long)]
    pub(crate) to_network: bool,
    /// Every active organization of the network may read in an emergency (ETREAT, BTG).
    #[arg(long)]
    pub(crate) emergency: bool,
    /// Hand the keys to the reader itself though you have proxies. Only for people you trust.
    #[arg(long, conflicts_with_all = ["to_network", "emergency"])]
    pub(crate) direct: bool,
}

/// Bring shares to proxies that could not be reached when they were made.
///
/// Every command of a patient that uses the network tries this, too. A proxy that lacks its share cannot
/// help to read; the others can, as long as enough of them have theirs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen consent deliver\n\n\
    Exits 6 if a share still waits.\n\n\
    Text output, separated by tabs: consent id, proxy, `delivered`, `waiting` or `refused`, why.")]
pub(crate) struct ConsentDeliverArgs {}

/// Change the keys: new records are sealed to new keys, which only the readers of live consents get.
///
/// Do this after you revoked somebody who may keep keys, or took a proxy out of the set. Organizations
/// seal new records to the new keys at once. Old records move to them when the custodian seals them anew;
/// with --finish all of them move now. What was read before cannot be taken back.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen consent rotate\n  galen consent rotate --finish\n\n\
    A run that was interrupted goes on when it is given again. Readers of consents through proxies get the \
    new keys with `galen grant fetch`; of direct ones you hand the lines on.\n\n\
    Text output, separated by tabs: `epoch` and its number; a line for each consent: id, reader, \
    `through` or `direct`, the line for the reader; with --finish `moved` and how many records.")]
pub(crate) struct ConsentRotateArgs {
    /// Seal all records of older keys anew now.
    #[arg(long)]
    pub(crate) finish: bool,
}

/// End a consent. What the reader has opened cannot be taken back.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["id", "to"]))]
#[command(after_help = "Examples:\n  galen consent revoke 0x77aa12ef\n  \
    galen consent revoke --to insurer\n\n\
    Text output, separated by tabs: consent id, reader, `revoked`, transaction, final or not.")]
pub(crate) struct ConsentRevokeArgs {
    /// The consent.
    #[arg(value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Every consent of this reader: contact or id.
    #[arg(long, value_name = "CONTACT")]
    pub(crate) to: Option<String>,
}

/// End every consent at once, with one transaction.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen consent revoke-all --yes\n\n\
    Text output, separated by tabs: how many consents ended, transaction, final or not.")]
pub(crate) struct ConsentRevokeAllArgs {}

/// List the consents that are live, in words, with how often each was used.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen consent list\n  \
    galen consent list --json | jq '.consents[] | select(.uses == 0)'\n\n\
    Text output, separated by tabs: consent id, `live`, `expired`, `not-yet` or `unknown`, reader, \
    categories, purposes, start, end, uses, time of the last use or `never`, final or not. \
    `unknown` is a consent whose terms this profile does not have.")]
pub(crate) struct ConsentListArgs {}
