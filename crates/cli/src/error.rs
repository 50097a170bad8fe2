//! What went wrong, and what the person can do about it.

use std::io;

use galen_types::ErrorKind;

/// A command failed. The text is safe to show: it never holds health data or a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// A file could not be read.
    #[error("cannot read {path}")]
    Read {
        path: String,
        #[source]
        source: io::Error,
    },
    /// A directory could not be made or used.
    #[error("cannot use the directory {path}")]
    Directory {
        path: String,
        #[source]
        source: io::Error,
    },
    /// A directory that must be empty is not.
    #[error("{path} is not empty")]
    NotEmpty { path: String },
    /// A document was refused.
    #[error("cannot accept {path}")]
    Refused {
        path: String,
        #[source]
        source: galen_fhir::FhirError,
    },
    /// A document holds nothing that could become a record.
    #[error("{path} holds no resource to make a record of")]
    Empty { path: String },
    /// A use case failed.
    #[error("cannot {doing}")]
    Sdk {
        doing: &'static str,
        #[source]
        source: galen_sdk::Error,
    },
    /// The embedded chain failed.
    #[error("the embedded chain failed")]
    Devchain(#[from] galen_devchain::Error),
    /// Output failed.
    #[error("cannot write the result")]
    Output(#[from] io::Error),
    /// What the demo shows did not hold: a bug here.
    #[error("the demo did not go as it must: {0}")]
    Demo(&'static str),
}

impl CliError {
    pub(crate) const fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { .. } | Self::Directory { .. } => ErrorKind::Unavailable,
            Self::NotEmpty { .. } | Self::Refused { .. } | Self::Empty { .. } => ErrorKind::Invalid,
            Self::Sdk { source, .. } => source.kind(),
            Self::Devchain(_) | Self::Output(_) => ErrorKind::Unavailable,
            Self::Demo(_) => ErrorKind::Internal,
        }
    }

    pub(crate) fn is_closed_stdout(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// One line that says what to do.
    pub(crate) const fn help(&self) -> &'static str {
        match self {
            Self::Read { .. } => "check the path and its permissions",
            Self::Directory { .. } => "choose another directory, or check its permissions",
            Self::NotEmpty { .. } => "choose an empty directory, or one that does not exist",
            Self::Refused { .. } => {
                "mend the document where the path and byte point; `galen fhir check` checks it again"
            }
            Self::Empty { .. } => "choose a resource, or a Bundle with at least one entry",
            Self::Sdk { source, .. } => match source.kind() {
                ErrorKind::Unavailable => "check disk space and the node, then try again",
                ErrorKind::Stale => "try again",
                ErrorKind::Denied => "ask the patient for consent",
                _ => "run again with the same input and report it if it repeats",
            },
            Self::Devchain(_) => "check disk space and permissions, then try again",
            Self::Output(_) => "check where the output goes",
            Self::Demo(_) => {
                "this is a bug in Galen: report it with the command, not with the input"
            }
        }
    }
}
