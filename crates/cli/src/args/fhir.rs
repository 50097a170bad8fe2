//! `galen fhir`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum FhirCommand {
    /// Say of each file whether it is accepted, as which records in which segments, or why not.
    ///
    /// FHIR R4 (4.0.1) in JSON, or NDJSON if the name ends in `.ndjson`. Exits 2 if any file is
    /// refused, 6 if any cannot be read. Needs no wallet.
    #[command(after_help = "Examples:\n  galen fhir check patient.json\n  \
        galen fhir check --compliance --site site.toml discharge.json\n  \
        galen fhir check --json export/*.json | jq '.files[] | select(.accepted | not)'\n\n\
        Text output: file, `accepted` or `refused`, then for accepted files the number of records and \
        `category=records` for each category, for refused ones the cause, the path and the byte; \
        separated by tabs. With --compliance a line for each rule that is broken: file, `refused`, the rule in \
        words, the path, what to do.")]
    Check {
        /// Files to check; `-` is standard input.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Also hold them against the rules of the site (--site), as `galen record propose` does.
        #[arg(long)]
        compliance: bool,
    },
    Export(ExportArgs),
}

/// What can be written of a chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportKind {
    /// Who wrote, keeps and checked each version, with the author's signature.
    Provenance,
    /// What happened, as AuditEvents by IHE BALP.
    Audit,
    /// Where each version lies, as DocumentReferences.
    Documents,
}

impl ExportKind {
    pub(crate) const ALL: [Self; 3] = [Self::Provenance, Self::Audit, Self::Documents];

    /// The FHIR type.
    pub(crate) const fn resource_type(self) -> &'static str {
        match self {
            Self::Provenance => "Provenance",
            Self::Audit => "AuditEvent",
            Self::Documents => "DocumentReference",
        }
    }
}

/// Write what your chart says of itself as FHIR R4: Provenance, AuditEvents, DocumentReferences.
///
/// Accepted versions only. What is written names ids, hashes and transactions of the ledger, so it identifies the
/// chart: give it to nobody who must not know whose it is.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen fhir export --out chart-fhir\n  \
    galen fhir export --what provenance 0x91b03c7e --out provenance.ndjson\n  \
    galen fhir export --what audit,documents --out events.json\n\n\
    Text output, separated by tabs: file, number of resources.")]
pub(crate) struct ExportArgs {
    /// Only these records.
    #[arg(value_name = "RECORD")]
    pub(crate) records: Vec<String>,
    /// What to write. Without it: all.
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    pub(crate) what: Vec<ExportKind>,
    /// A file that ends in .ndjson or in .json (a Bundle), or a folder for one file of each type.
    #[arg(long, value_name = "PATH")]
    pub(crate) out: PathBuf,
    /// Open each current record, to say its format.
    #[arg(long)]
    pub(crate) open: bool,
    /// Overwrite files.
    #[arg(long)]
    pub(crate) force: bool,
}
