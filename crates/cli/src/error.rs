//! What went wrong, and what the person can do about it.

mod help;

use std::{io, path::PathBuf};

use galen_sdk::proxies::ProxyError;
use galen_services::proxy::StoreError;
use galen_types::ErrorKind;

use self::help::{
    help_for, help_for_chain, help_for_proxy, help_for_proxy_store, help_for_signature,
    help_for_store, help_for_too_few,
};

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
    /// A document breaks rules of the site.
    #[error("cannot take {path}: {report}")]
    NotCompliant { path: String, report: galen_fhir::ComplianceReport },
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
    /// A SMART Health Card is refused.
    #[error("cannot take the card")]
    Card(#[from] galen_sdk::health_card::CardError),
    /// A SMART Health Link is refused, or could not be read.
    #[error("cannot open the link")]
    Link(#[from] galen_sdk::health_link::LinkError),
    /// A proxy refused, or did not answer as one.
    #[error("cannot {doing}")]
    Proxy {
        doing: &'static str,
        #[source]
        source: ProxyError,
    },
    /// The store of a proxy could not be opened.
    #[error("cannot open the proxy's store {}", path.display())]
    ProxyStore {
        path: PathBuf,
        #[source]
        source: StoreError,
    },
    /// The folder of links could not be used.
    #[error("cannot share")]
    Share(#[from] galen_services::share::ShareError),
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
            | Self::NotCompliant { .. }
            | Self::Empty { .. }
            | Self::Exists { .. } => ErrorKind::Invalid,
            Self::Told { kind, .. } => *kind,
            Self::Chain { source, .. } => source.kind(),
            Self::Crypto { source, .. } => source.kind(),
            Self::Storage { source, .. } => source.kind(),
            Self::Sdk { source, .. } => source.kind(),
            Self::Asked(error) => error.kind(),
            Self::Card(error) => error.kind(),
            Self::Link(error) => error.kind(),
            Self::Proxy { source, .. } => source.kind(),
            Self::ProxyStore { source, .. } => source.kind(),
            Self::Share(error) => error.kind(),
            Self::Devchain(_) | Self::Output(_) => ErrorKind::Unavailable,
            Self::Demo(_) => ErrorKind::Internal,
        }
    }

    /// With its causes, as one line.
    pub(crate) fn with_causes(&self) -> String {
        let first: Option<&dyn std::error::Error> = std::error::Error::source(self);
        // A chain of causes is short; the bound keeps a looping one from going on for ever.
        let causes = std::iter::successors(first, |cause| (*cause).source()).take(8);
        causes.fold(self.to_string(), |text, cause| format!("{text}: {cause}"))
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
            Self::Card(error) | Self::Sdk { source: galen_sdk::Error::Card(error), .. } => {
                error.help()
            }
            Self::Link(error) | Self::Sdk { source: galen_sdk::Error::Link(error), .. } => {
                error.help()
            }
            Self::Proxy { source, .. }
            | Self::Sdk { source: galen_sdk::Error::Proxy(source), .. } => help_for_proxy(source),
            Self::Sdk { source: galen_sdk::Error::PiecesMissing(_), .. } => {
                "`galen recovery pieces` makes the line for guardians, asks the proxies and takes what came"
            }
            Self::Sdk { source: galen_sdk::Error::GuardiansMissing { .. }, .. } => {
                "let more guardians sign the same line with `galen guardian approve`"
            }
            Self::Sdk { source: galen_sdk::Error::NotRecovered(_), .. } => {
                "`galen recovery status` says what waits for the id, and for whom"
            }
            Self::Sdk { source: galen_sdk::Error::WrongSeed, .. } => {
                "ask the other guardians too: one of those who gave is mistaken or lies"
            }
            Self::Sdk { source: galen_sdk::Error::Copy(_), .. } => {
                "check disk space and the profile's folder `copies`, then run it again: nothing is sealed before its \
                 copy is there"
            }
            Self::Sdk { source: galen_sdk::Error::CopyDamaged(_), .. } => {
                "bring its file in the profile's folder `copies` back from a backup, or let the patient's custodian \
                 seal the record anew"
            }
            Self::Sdk { source: galen_sdk::Error::NoCopy(_), .. } => {
                "bring the folder `copies` of the machine that sealed it, or let the patient's custodian seal it anew"
            }
            Self::Sdk { source: galen_sdk::Error::TooFewProxies { said, .. }, .. } => {
                help_for_too_few(said)
            }
            Self::ProxyStore { source, .. } => help_for_proxy_store(source),
            Self::Share(error) => error.help(),
            Self::Directory { .. } => "choose another directory, or check its permissions",
            Self::NotEmpty { .. } => "choose an empty directory, or one that does not exist",
            Self::Refused { .. } => {
                "mend the document where the path and byte point; `galen fhir check` checks it again"
            }
            Self::NotCompliant { .. } => {
                "mend the document; `galen fhir check --compliance` names each place and what to do about it"
            }
            Self::Empty { .. } => "choose a resource, or a Bundle with at least one entry",
            Self::Chain { source, .. }
            | Self::Sdk { source: galen_sdk::Error::Chain(source), .. } => help_for_chain(source),
            Self::Sdk { source: galen_sdk::Error::Sign(error), .. } => help_for_signature(error),
            Self::Storage { source, .. }
            | Self::Sdk { source: galen_sdk::Error::Storage(source), .. } => help_for_store(source),
            Self::Sdk { .. } | Self::Crypto { .. } => help_for(self.kind()),
            Self::Devchain(_) => "check disk space and permissions, then try again",
            Self::Output(_) => "check where the output goes",
            Self::Demo(_) => {
                "this is a bug in Galen: report it with the command, not with the input"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use alloy_primitives::B256;
    use galen_storage::{NodeFault, PostageFault, StorageError};
    use galen_types::ContentRef;

    use super::*;

    fn every_storage_error() -> Vec<StorageError> {
        let at = ContentRef::swarm(B256::ZERO);
        let node = || "https://bee.example".to_owned();
        let io = || io::Error::other("broken");
        let faults = [
            NodeFault::Unreachable("no connection".to_owned()),
            NodeFault::TimedOut(Duration::from_secs(1)),
            NodeFault::RateLimited,
            NodeFault::Refused(401),
            NodeFault::Redirect,
            NodeFault::Status(500),
            NodeFault::TooLong(1),
            NodeFault::Malformed("a list"),
            NodeFault::Lost,
            NodeFault::Said("no".to_owned()),
            NodeFault::OtherAddress,
        ];
        let postage = [
            PostageFault::Missing,
            PostageFault::Unknown,
            PostageFault::TooNew,
            PostageFault::Expired,
            PostageFault::Full,
        ];
        let everywhere =
            |error| StorageError::Everywhere { at, failures: vec![("a".into(), error)] };
        let mut all = vec![
            StorageError::NotFound(at),
            StorageError::Integrity(at),
            StorageError::Unsupported(at),
            everywhere(StorageError::NotFound(at)),
            everywhere(StorageError::Integrity(at)),
            everywhere(StorageError::Io { action: "read", source: io() }),
            StorageError::ReadOnly("a".into()),
            StorageError::NowhereToKeep,
            StorageError::Setting { place: "a".into(), what: "no URL" },
            StorageError::PlainHttp { node: node() },
            StorageError::Busy { place: "a".into(), at },
            StorageError::TooLong { limit: 1 },
            StorageError::OutOfRange { at, start: 0, end: 1, len: 0 },
            StorageError::NotAStore(PathBuf::new()),
            StorageError::UnknownVersion(PathBuf::new()),
            StorageError::Full(io()),
            StorageError::Source(io()),
            StorageError::Io { action: "read", source: io() },
            StorageError::ShutDown,
        ];
        let action = "take content";
        all.extend(faults.map(|fault| StorageError::Node { node: node(), action, fault }));
        all.extend(postage.map(|fault| StorageError::Postage { node: node(), fault }));
        all
    }

    /// Each says what to do about it, wherever it comes up, and not only what its kind says.
    #[test]
    fn every_storage_error_says_what_to_do() {
        let kinds = [
            ErrorKind::Internal,
            ErrorKind::Invalid,
            ErrorKind::NotFound,
            ErrorKind::Integrity,
            ErrorKind::Unavailable,
        ]
        .map(help_for);
        for (error, behind) in every_storage_error().into_iter().zip(every_storage_error()) {
            let name = format!("{error:?}");
            let error = CliError::Storage { doing: "read", source: error };
            let behind = CliError::Sdk { doing: "read", source: behind.into() };
            assert_eq!(error.help(), behind.help(), "{name}");
            assert_eq!(error.kind(), behind.kind(), "{name}");
            let bug = matches!(name.split([' ', '{', '(']).next(), Some("OutOfRange" | "ShutDown"));
            assert_eq!(kinds.contains(&error.help()), bug, "{name}: {}", error.help());
        }
    }
}
