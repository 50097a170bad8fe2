//! `galen fhir`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::card::CardFilesArgs;

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
        /// Also hold them against the rules of the site (--site), and sort them by its table of sensitive
        /// codes, as `galen record propose` does.
        #[arg(long)]
        compliance: bool,
    },
    Export(ExportArgs),
    Pull(PullArgs),
    Push(PushArgs),
    Card(CardFilesArgs),
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
    /// Open each current record, to say its format and how its document is signed.
    #[arg(long)]
    pub(crate) open: bool,
    /// Overwrite files.
    #[arg(long)]
    pub(crate) force: bool,
}

/// The FHIR server.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// Base URL of a FHIR R4 server.
    #[arg(long, value_name = "URL")]
    pub(crate) server: String,
    /// File with the bearer token; readable by you alone.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Allow plain HTTP to another machine.
    #[arg(long)]
    pub(crate) allow_plain_http: bool,
}

/// Pull resources from a FHIR server: a patient's whole record, or types; every value as the server wrote it.
///
/// A pull that breaks off goes on where it stopped when it is run again. Redirects, and links to another host, are
/// not followed. Resources that `galen fhir check` refuses lie in a file of their own, and the command exits 2.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    galen fhir pull --server https://fhir.example/r4 --token-file token --patient 42 --out anna.json\n  \
    galen fhir pull --server https://fhir.example/r4 --type Patient --type Observation --out all.ndjson\n  \
    galen record propose --to anna anna.json\n\n\
    Text output, separated by tabs: file, number of resources.")]
pub(crate) struct PullArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Id of a patient on the server: everything about them, or of the types named.
    #[arg(long, value_name = "ID")]
    pub(crate) patient: Option<String>,
    /// A resource type. May be given more than once.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<String>,
    /// A file that ends in .json (one Bundle, as `galen record propose` takes it) or .ndjson, or a folder for one
    /// NDJSON file of each type.
    #[arg(long, value_name = "PATH")]
    pub(crate) out: PathBuf,
    /// Forget what was begun for this path, and start over.
    #[arg(long)]
    pub(crate) restart: bool,
    /// Overwrite files.
    #[arg(long)]
    pub(crate) force: bool,
}

/// Push resources to a FHIR server, each once.
///
/// A resource with an id updates that id (if it names a version, only that version); one without is created, once
/// for its first identifier. Bundles of type transaction or batch go as they are, other collections resource by
/// resource. What the server acknowledged is written down beside the file and not sent again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    galen fhir push --server https://fhir.example/r4 --token-file token anna.json\n  \
    galen fhir push --server https://fhir.example/r4 chart-fhir/*.ndjson --json | jq .refused\n\n\
    Text output, separated by tabs: file (and line), type and id, `created`, `updated`, `there` (by its \
    identifier), `done` (a transaction), `known` or `refused`, status, version on the server, what is wrong, \
    what the server says. Exits 2 if something is not taken, 4 if not allowed, \
    7 if the server has another version.")]
pub(crate) struct PushArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Files in JSON, or NDJSON if the name ends in .ndjson; folders of both.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Where to write down what the server acknowledged. Without it: FILE.pushed beside each file.
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// Replace whatever version the server has.
    #[arg(long)]
    pub(crate) overwrite: bool,
}
