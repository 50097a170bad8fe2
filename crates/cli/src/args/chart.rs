//! `galen chart`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use galen_fhir::chart::Section;

use crate::{home::Name, when::Instant};

/// Show one chart of all that your hospitals wrote: medicines taken now, problems, allergies, vaccines.
///
/// What several say of one thing stands in one line with all its sources, by code, else by text. Where they disagree
/// the line says so and nobody's word is taken for the other's. Values stand as they are written.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  galen chart\n  galen chart --section medications,allergies\n  \
    galen chart --with second-hospital --ips summary.json\n  \
    galen chart --at 2026-05-20\n  galen chart --changes-since 2026-01-01 --list changes.json\n  \
    galen chart --json | jq -r '.lines[] | select(.conflicts != []) | .what'\n\n\
    On a terminal: a table by section. Text output elsewhere, separated by tabs: section, `present`, `unclear`, \
    `absent` or `past`, what, since, until, details, conflicts, authors, records, when it was entered, signature. \
    With --entries: when it was entered, section, type, what, what it says, status, since, until, details, author, \
    record, signature. With --changes-since: `added`, `changed` or `removed`, section, what, before, now, by whom, \
    when. Exits 5 or 6, after the rest was shown, if a record does not open."
)]
pub(crate) struct ChartArgs {
    /// Only these parts.
    #[arg(long, value_enum, value_name = "PART", value_delimiter = ',')]
    pub(crate) section: Vec<SectionName>,
    /// The chart as it was then (UTC): of records accepted by then, what they say of that time.
    #[arg(long, value_name = "DATE")]
    pub(crate) at: Option<Instant>,
    /// What changed since then, by whom and when.
    #[arg(long, value_name = "DATE", conflicts_with = "entries")]
    pub(crate) changes_since: Option<Instant>,
    /// Every resource in the order in which it was entered, instead of lines.
    #[arg(long)]
    pub(crate) entries: bool,
    /// Another profile of yours whose records belong to the same chart. May be given more than once.
    #[arg(long, value_name = "PROFILE")]
    pub(crate) with: Vec<Name>,
    /// Write the chart as an International Patient Summary (FHIR document Bundle) to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) ips: Option<PathBuf>,
    /// Write the chart, or what changed, as FHIR Lists with their resources to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) list: Option<PathBuf>,
    /// Overwrite files.
    #[arg(long)]
    pub(crate) force: bool,
}

/// A part of the chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SectionName {
    /// Medicines taken now, and those of before.
    Medications,
    /// Illnesses and other problems.
    Problems,
    /// Allergies and intolerances.
    Allergies,
    /// Vaccines.
    Immunizations,
}

impl From<SectionName> for Section {
    fn from(name: SectionName) -> Self {
        match name {
            SectionName::Medications => Self::Medications,
            SectionName::Problems => Self::Problems,
            SectionName::Allergies => Self::Allergies,
            SectionName::Immunizations => Self::Immunizations,
        }
    }
}
