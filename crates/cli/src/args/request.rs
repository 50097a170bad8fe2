//! `galen request`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use galen_fhir::{Category, Preset};
use galen_types::Purpose;

use crate::when::Lifetime;

/// Requests: an organization asks a patient for consent; the patient grants or refuses.
#[derive(Debug, Subcommand)]
pub(crate) enum RequestCommand {
    Send(RequestSendArgs),
    List(RequestListArgs),
    Grant(RequestGrantArgs),
    Refuse(RequestRefuseArgs),
}

/// Ask a patient for consent, as an organization.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["category", "preset"]))]
#[command(after_help = "Examples:\n  \
    galen request send --to anna --category laboratory --purpose TREAT --for 30d \
    --message-file for-anna.txt\n\n\
    Only the patient can read what you ask for; that you ask, and for which purposes, is public. \
    Text output, separated by tabs: patient, categories, purposes, seconds, transaction, final or not.")]
pub(crate) struct RequestSendArgs {
    /// The patient: contact, `mrn:…` or id.
    #[arg(long, value_name = "PATIENT")]
    pub(crate) to: String,
    /// Category. May be given more than once.
    #[arg(long, value_name = "NAME")]
    pub(crate) category: Vec<Category>,
    /// The categories that this kind of reader usually needs.
    #[arg(long, value_name = "NAME")]
    pub(crate) preset: Option<Preset>,
    /// Why you would read (HL7 v3 ActReason). May be given more than once.
    #[arg(long, value_name = "CODE", required = true)]
    pub(crate) purpose: Vec<Purpose>,
    /// For how long, for example 12h, 30d, 1y.
    #[arg(long = "for", id = "lasts", value_name = "TIME")]
    pub(crate) lasts: Lifetime,
    /// File with a sentence for the patient, sealed to them; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) message_file: Option<PathBuf>,
}

/// List the requests that organizations sent to you.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen request list\n\n\
    Text output, separated by tabs: request id, `open`, `granted`, `refused`, `unavailable` or `unreadable`, \
    organization, categories, purposes, seconds, message, time, final or not.")]
pub(crate) struct RequestListArgs {}

/// Grant what a request asks for.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen request grant 0x77aa12ef --out for-hospital-b.txt\n\n\
    Text output as of `galen consent grant`.")]
pub(crate) struct RequestGrantArgs {
    /// The request.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Another time than the request asks for.
    #[arg(long = "for", id = "lasts", value_name = "TIME")]
    pub(crate) lasts: Option<Lifetime>,
    /// Write the line for the reader to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Hand the keys to the reader itself though you have proxies. Only for people you trust.
    #[arg(long)]
    pub(crate) direct: bool,
}

/// Refuse a request. Nothing is sent: silence is the answer that the organization sees.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen request refuse 0x77aa12ef\n\n\
    Text output, separated by tabs: request id, `refused`.")]
pub(crate) struct RequestRefuseArgs {
    /// The request.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}
