//! `galen verify`.

use std::path::PathBuf;

use clap::Args;

/// Check who signed a document, or what is shown of one; needs no account and no profile.
///
/// Takes a presentation (`galen record extract`) or a signed document. Without a node it is checked that nothing was
/// changed and whose key signed; with one (--rpc-url, or the network's from the address book) also that the key was
/// the author's, and that the author is a member of the network.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen verify for-employer.json\n  \
    galen verify for-employer.json --author hospital.card --rpc-url https://…\n  \
    galen verify for-employer.json --fhir | jq .entry\n\n\
    Text output, separated by tabs, one check a line: `parts`, `signature`, `key`, `member`, `author`, `ledger` or \
    `contract`; `holds`, `fails` or `unchecked`; what was found. Exits 0 if all that was checked holds, 5 if anything \
    does not. A document from an author that no card, id or contact names is as good as the id that is shown: \
    compare it.")]
pub(crate) struct VerifyArgs {
    /// Presentation or signed document; `-` is standard input.
    #[arg(value_name = "FILE")]
    pub(crate) input: PathBuf,
    /// Who must have signed it: an id, a contact, or a card (file or text).
    #[arg(long, value_name = "ID|CONTACT|CARD")]
    pub(crate) author: Option<String>,
    /// Print what is shown, as FHIR JSON, on standard output, if all that was checked holds. The checks are on
    /// standard error then.
    #[arg(long, conflicts_with_all = ["out", "json"])]
    pub(crate) fhir: bool,
    /// Write what is shown to this file, if all that was checked holds. Only you can read it.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}
