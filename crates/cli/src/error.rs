//! What went wrong, and what the person can do about it.

use std::io;

use galen_chain::{ChainError, SignError};
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
    /// A file could not be written.
    #[error("cannot write {path}")]
    Write {
        path: String,
        #[source]
        source: io::Error,
    },
    /// A file that must be new is there.
    #[error("{path} exists")]
    Exists { path: String },
    /// Something that is said once, with what to do about it.
    #[error("{text}")]
    Told { kind: ErrorKind, text: String, help: String },
    /// A use case failed.
    #[error("cannot {doing}")]
    Sdk {
        doing: &'static str,
        #[source]
        source: galen_sdk::Error,
    },
    /// The chain refused or did not answer.
    #[error("cannot {doing}")]
    Chain {
        doing: &'static str,
        #[source]
        source: galen_chain::ChainError,
    },
    /// Something sealed could not be made or read.
    #[error("cannot {doing}")]
    Crypto {
        doing: &'static str,
        #[source]
        source: galen_crypto::Error,
    },
    /// The content store failed.
    #[error("cannot {doing}")]
    Storage {
        doing: &'static str,
        #[source]
        source: galen_storage::StorageError,
    },
    /// What was asked does not fit what there is.
    #[error(transparent)]
    Asked(#[from] crate::asked::AskError),
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
    /// The request is wrong.
    pub(crate) fn invalid(text: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Told { kind: ErrorKind::Invalid, text: text.into(), help: help.into() }
    }

    /// There is no such thing.
    pub(crate) fn not_found(text: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Told { kind: ErrorKind::NotFound, text: text.into(), help: help.into() }
    }

    /// A hash, tag or signature does not match.
    pub(crate) fn integrity(text: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Told { kind: ErrorKind::Integrity, text: text.into(), help: help.into() }
    }

    /// Something did not answer.
    pub(crate) fn unavailable(text: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Told { kind: ErrorKind::Unavailable, text: text.into(), help: help.into() }
    }

    /// The person said no, or was not there to say yes.
    pub(crate) fn declined(text: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Told { kind: ErrorKind::Declined, text: text.into(), help: help.into() }
    }

    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { .. } | Self::Directory { .. } | Self::Write { .. } => {
                ErrorKind::Unavailable
            }
            Self::NotEmpty { .. }
            | Self::Refused { .. }
            | Self::Empty { .. }
            | Self::Exists { .. } => ErrorKind::Invalid,
            Self::Told { kind, .. } => *kind,
            Self::Chain { source, .. } => source.kind(),
            Self::Crypto { source, .. } => source.kind(),
            Self::Storage { source, .. } => source.kind(),
            Self::Sdk { source, .. } => source.kind(),
            Self::Asked(error) => error.kind(),
            Self::Devchain(_) | Self::Output(_) => ErrorKind::Unavailable,
            Self::Demo(_) => ErrorKind::Internal,
        }
    }

    pub(crate) fn is_closed_stdout(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// One line that says what to do.
    pub(crate) fn help(&self) -> &str {
        match self {
            Self::Read { .. } => "check the path and its permissions",
            Self::Write { .. } => "check disk space and the permissions of the directory",
            Self::Exists { .. } => "choose another name, or move the file away",
            Self::Told { help, .. } => help,
            Self::Asked(error) => error.help(),
            Self::Directory { .. } => "choose another directory, or check its permissions",
            Self::NotEmpty { .. } => "choose an empty directory, or one that does not exist",
            Self::Refused { .. } => {
                "mend the document where the path and byte point; `galen fhir check` checks it again"
            }
            Self::Empty { .. } => "choose a resource, or a Bundle with at least one entry",
            Self::Chain { source, .. }
            | Self::Sdk { source: galen_sdk::Error::Chain(source), .. } => help_for_chain(source),
            Self::Sdk { source: galen_sdk::Error::Sign(error), .. } => help_for_signature(error),
            Self::Sdk { .. } | Self::Crypto { .. } | Self::Storage { .. } => help_for(self.kind()),
            Self::Devchain(_) => "check disk space and permissions, then try again",
            Self::Output(_) => "check where the output goes",
            Self::Demo(_) => {
                "this is a bug in Galen: report it with the command, not with the input"
            }
        }
    }
}

/// What to do where the kind alone does not say it.
fn help_for_chain(error: &ChainError) -> &'static str {
    match error {
        ChainError::Refused { reason } if reason.to_lowercase().contains("funds") => {
            "give the paying wallet coins (`galen dev fund` on a development chain), or let a relay pay with --relay"
        }
        ChainError::Refused { .. } => {
            "nothing was sent; `galen doctor` looks at node, wallet and queue"
        }
        ChainError::FeeCeiling { .. } => {
            "wait until gas is cheaper, or raise it: `galen network add NAME --max-fee-gwei N`"
        }
        ChainError::NotMined { .. } => {
            "it is kept and sent on by the next command of this wallet; `galen doctor` shows what waits"
        }
        ChainError::Displaced { .. } => {
            "give the command again, and use this wallet with nothing but Galen"
        }
        ChainError::PlainHttp { .. } => {
            "use an https address; inside a VPN: `galen network add NAME --allow-plain-http`"
        }
        ChainError::OtherChain { .. } => {
            "choose a node of the network's chain, or another --network"
        }
        ChainError::NoFinalBlock => {
            "set when a block is final: `galen network add NAME --finality instant`, or a number of blocks"
        }
        ChainError::NoDeploymentBlock { .. } => {
            "name the block with --deployed-in, or use a node that keeps old state or logs"
        }
        ChainError::NotVerified { .. } => {
            "what is deployed stays deployed; `galen deploy --verify` may be repeated, --verification-input writes \
             what a service's own page takes"
        }
        ChainError::Sign(error) => help_for_signature(error),
        error => help_for(error.kind()),
    }
}

const fn help_for_signature(error: &SignError) -> &'static str {
    match error {
        SignError::Refused(_) => {
            "nothing was signed: what was asked for does not add up with what this profile and the chain know"
        }
        SignError::Unavailable(_) => {
            "see that the device or the other owners are there and sign in time (--timeout), then run it \
             again: each run asks for new signatures"
        }
        error => help_for(error.kind()),
    }
}

const fn help_for(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Unavailable => {
            "check disk space, node and relay, then try again; `galen doctor` looks at each"
        }
        ErrorKind::Stale => "try again",
        ErrorKind::Denied => "ask the patient for consent",
        ErrorKind::NotFound => "check the id; `galen doctor` checks network and contract",
        ErrorKind::Integrity => {
            "do not go on: somebody gave other bytes than they should; try another node or store"
        }
        ErrorKind::Declined => "nothing was signed; run the command again to be asked again",
        ErrorKind::Invalid => "check what was asked for; --help has examples",
        ErrorKind::Internal => {
            "this is a bug in Galen: report it with the command, not with the input"
        }
    }
}
