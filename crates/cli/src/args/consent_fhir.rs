//! `galen consent export`, `import` and `scopes`: consents in the words of others.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};

use crate::when::{Instant, Lifetime};

/// How a Consent writes categories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FlavourArg {
    /// Plain FHIR R4: class, code and securityLabel, one exception for each category.
    R4Full,
    /// IHE Privacy Consent on FHIR: securityLabel alone.
    IhePcf,
}

/// Write consents as FHIR R4 Consent.
///
/// What comes out says who may read what of whom: keep it like a record.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen consent export\n  \
    galen consent export 0x77aa12ef --flavour ihe-pcf --out consent.json\n\n\
    Output: a Bundle of Consents on standard output. With --out: file and how many Consents, separated \
    by tabs. Without an ID, every consent that is live or begins later; with one, also what has expired \
    or was revoked (status `inactive`).")]
pub(crate) struct ConsentExportArgs {
    /// Consents. Without one: all that are live or begin later.
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// How categories are written.
    #[arg(long, alias = "flavor", value_enum, default_value = "r4-full")]
    pub(crate) flavour: FlavourArg,
    /// Write to this new file.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// Grant what FHIR R4 Consents allow, and never more.
///
/// Shows the grants and everything that they leave out, then signs them as one change. A grant opens
/// whole categories; what a Consent narrows further is not granted.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("end").args(["lasts", "until"]))]
#[command(after_help = "Examples:\n  \
    galen consent import consent.json --map 'Organization/f001=hospital-b' --dry-run\n  \
    galen consent import consent.json --map '*=dr-weiss' --until 2027-05-20\n\n\
    Text output, one line each, separated by tabs: `grant`, consent id (- with --dry-run), reader, \
    categories, purposes, start, end, line for the reader; then `left-out`, element, what, effect.")]
pub(crate) struct ConsentImportArgs {
    /// A Consent, or a Bundle with Consents; `-` for standard input.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Who is meant: a reference, or system|value, or `*` for provisions that name nobody. May be given
    /// more than once.
    #[arg(long, value_name = "REF=CONTACT", value_parser = pair)]
    pub(crate) map: Vec<(String, String)>,
    /// Take labels as categories: normal is what is in no sensitive category. A record that its author
    /// labelled restricted, and that is not in a sensitive category, would then be granted, too.
    #[arg(long)]
    pub(crate) labels_as_categories: bool,
    /// For how long, where a Consent has no end, for example 30d.
    #[arg(long = "for", id = "lasts", value_name = "TIME")]
    pub(crate) lasts: Option<Lifetime>,
    /// Until when (UTC), where a Consent has no end; that day no longer counts.
    #[arg(long, value_name = "DATE")]
    pub(crate) until: Option<Instant>,
    /// Show what would be granted, and sign nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Hand the keys to the readers themselves though you have proxies. Only for people you trust.
    #[arg(long)]
    pub(crate) direct: bool,
}

/// Say what consents are in SMART App Launch scopes, version 2, or what scopes are in categories.
///
/// A scope knows neither purpose nor time, and one for a resource type does not leave out its sensitive
/// records: who enforces it must.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen consent scopes\n  galen consent scopes 0x77aa12ef\n  \
    galen consent scopes --read 'patient/AllergyIntolerance.rs patient/Condition.rs'\n\n\
    Text output, separated by tabs: consent id, scope. With --read: `category`, name; then `left-out`, \
    scope, reason.")]
pub(crate) struct ConsentScopesArgs {
    /// Consents. Without one: all that are live.
    #[arg(value_name = "ID", conflicts_with = "read")]
    pub(crate) ids: Vec<String>,
    /// Scopes to put into categories.
    #[arg(long, value_name = "SCOPES")]
    pub(crate) read: Option<String>,
}

/// `REF=CONTACT`; a reference may hold `=` itself.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.rsplit_once('=') {
        Some((reference, contact)) if !reference.is_empty() && !contact.is_empty() => {
            Ok((reference.to_owned(), contact.to_owned()))
        }
        _ => Err("expected REF=CONTACT, such as Organization/f001=hospital-b".to_owned()),
    }
}
