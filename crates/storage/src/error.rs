//! What can go wrong in a store.

use std::{io, path::PathBuf, time::Duration};

use galen_types::{ContentRef, ErrorKind};

/// Content could not be kept, found or verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The store has no such content.
    #[error("{0} is not in the store")]
    NotFound(ContentRef),
    /// The kept bytes are not those of the address: changed, cut, grown or swapped.
    #[error("the bytes kept under {0} do not match the address")]
    Integrity(ContentRef),
    /// No place understands addresses of this kind, and the content's other address is not known here.
    #[error("no store that is set up knows {0} by this kind of address")]
    Unsupported(ContentRef),
    /// No place had the content whole and right; what each of them said, by its name.
    #[error("no store has {at}: {}", said(.failures))]
    Everywhere {
        /// The content asked for.
        at: ContentRef,
        /// The places in the order in which they were asked, and their errors.
        failures: Vec<(String, StorageError)>,
    },
    /// A node, gateway or service did not do its part.
    #[error("{node} could not {action}: {fault}")]
    Node {
        /// Scheme and host of its URL; the rest may be a secret.
        node: String,
        /// What was being done.
        action: &'static str,
        /// What went wrong.
        fault: NodeFault,
    },
    /// A bee node has no postage for the upload.
    #[error("{node} takes no content: {fault}")]
    Postage {
        /// Scheme and host of its URL.
        node: String,
        /// What is wrong with the batch.
        fault: PostageFault,
    },
    /// The place is only read from.
    #[error("{0} is only read from")]
    ReadOnly(String),
    /// Nowhere to keep content.
    #[error("no store is set up that content can be sent to")]
    NowhereToKeep,
    /// A setting of a place is wrong.
    #[error("{place}: {what}")]
    Setting {
        /// The place's name.
        place: String,
        /// What is wrong.
        what: &'static str,
    },
    /// Plain HTTP to another machine.
    #[error("{node} is another machine and would be spoken to without encryption")]
    PlainHttp {
        /// Scheme and host of its URL.
        node: String,
    },
    /// Another process sends the same content to the same place, and gets no further.
    #[error("another process sends {at} to {place} and gets no further")]
    Busy {
        /// The place.
        place: String,
        /// The content.
        at: ContentRef,
    },
    /// The bytes are a node of an IPFS tree, whose address is that of the content below it. Nothing was kept.
    #[error("the content is a node of an IPFS tree, and has no address of its own there")]
    ReadsAsNode,
    /// The content is longer than the store or the caller allows.
    #[error("content is longer than the limit of {limit} bytes")]
    TooLong {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The range does not lie within the content.
    #[error("bytes {start}..{end} do not lie within the {len} bytes of {at}")]
    OutOfRange {
        /// The content asked for.
        at: ContentRef,
        /// First byte asked for.
        start: u64,
        /// First byte after the range asked for.
        end: u64,
        /// Length of the content, in bytes.
        len: u64,
    },
    /// The directory holds something else; nothing in it was touched.
    #[error("{} holds other files and is not a content store", .0.display())]
    NotAStore(PathBuf),
    /// The directory is a store of a version that this program does not know.
    #[error("{} is a content store of an unknown version", .0.display())]
    UnknownVersion(PathBuf),
    /// The disk or the quota is full. Nothing was kept.
    #[error("no space left in the store")]
    Full(#[source] io::Error),
    /// The content to be kept could not be read. Nothing was kept.
    #[error("the content to be kept could not be read")]
    Source(#[source] io::Error),
    /// The file system did not do its part.
    #[error("the store could not {action}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// The runtime shut down before the store could begin.
    #[error("the program shut down before the store could answer")]
    ShutDown,
}

impl StorageError {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Integrity(_) => ErrorKind::Integrity,
            Self::Unsupported(_)
            | Self::ReadsAsNode
            | Self::TooLong { .. }
            | Self::OutOfRange { .. }
            | Self::NotAStore(_)
            | Self::UnknownVersion(_)
            | Self::ReadOnly(_)
            | Self::NowhereToKeep
            | Self::Setting { .. }
            | Self::PlainHttp { .. } => ErrorKind::Invalid,
            Self::Everywhere { failures, .. } => worst(failures),
            Self::Node { fault, .. } => fault.kind(),
            Self::Postage { .. }
            | Self::Busy { .. }
            | Self::Full(_)
            | Self::Source(_)
            | Self::Io { .. }
            | Self::ShutDown => ErrorKind::Unavailable,
        }
    }

    /// The store's own error behind an error of [`ContentReader`](crate::ContentReader), whose
    /// methods have to speak [`io::Error`].
    pub fn behind(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// For `map_err`: names what was being done and tells a full disk from other faults.
    pub(crate) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(source),
            _ => Self::Io { action, source },
        }
    }
}

/// Wrong bytes anywhere are worth an alert, a silent place is worth another try; only if all places answered that
/// they have no such content there is none.
fn worst(failures: &[(String, StorageError)]) -> ErrorKind {
    let any = |kind| failures.iter().any(|(_, error)| error.kind() == kind);
    [ErrorKind::Integrity, ErrorKind::Unavailable, ErrorKind::Invalid]
        .into_iter()
        .find(|kind| any(*kind))
        .unwrap_or(ErrorKind::NotFound)
}

fn said(failures: &[(String, StorageError)]) -> String {
    let each = failures.iter().map(|(place, error)| format!("{place}: {error}"));
    each.collect::<Vec<_>>().join("; ")
}

/// What a node, gateway or service did wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeFault {
    /// No connection, or it broke.
    #[error("no answer ({0})")]
    Unreachable(String),
    /// No answer, or no further byte of it, in time.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// It has too many requests, and still had after all retries.
    #[error("it has too many requests")]
    RateLimited,
    /// It asks for a token, or refuses the one it got.
    #[error("it refuses access (HTTP {0})")]
    Refused(u16),
    /// It sends elsewhere; nobody follows.
    #[error("it redirects elsewhere, which is not followed")]
    Redirect,
    /// Another status than the interface allows.
    #[error("it answered with HTTP {0}")]
    Status(u16),
    /// It answered more bytes than there can be.
    #[error("it answered with more than {0} bytes")]
    TooLong(u64),
    /// It answered something else than the interface says.
    #[error("it answered something else than {0}")]
    Malformed(&'static str),
    /// It no longer has what it confirmed.
    #[error("it no longer has blocks that it took before")]
    Lost,
    /// It refused, in its own words: cut and without control characters.
    #[error("it said: {0}")]
    Said(String),
    /// A pinning service could not get the content.
    #[error("it could not fetch the content; it must be able to reach the IPFS node")]
    PinFailed,
    /// A web server that knows no ranges, and content too long to fetch it whole for each part.
    #[error("it sends only whole files, and this one is longer than {0} bytes")]
    NoRanges(u64),
    /// It stored the bytes under another address than ours, so it changed them.
    #[error("it stored something else than what was sent")]
    OtherAddress,
}

impl NodeFault {
    const fn kind(&self) -> ErrorKind {
        match self {
            Self::OtherAddress => ErrorKind::Integrity,
            Self::Refused(_) => ErrorKind::Denied,
            Self::Unreachable(_)
            | Self::TimedOut(_)
            | Self::RateLimited
            | Self::Redirect
            | Self::Status(_)
            | Self::TooLong(_)
            | Self::Malformed(_)
            | Self::Lost
            | Self::Said(_)
            | Self::PinFailed
            | Self::NoRanges(_) => ErrorKind::Unavailable,
        }
    }
}

/// What is wrong with the postage of an upload to Swarm.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostageFault {
    /// The node owns no batch that could be used.
    #[error(
        "it owns no postage batch that can be used; buy one (bee's POST /stamps) or name another node"
    )]
    Missing,
    /// The node does not say which batches it owns.
    #[error("it does not list its postage batches; name one in the settings")]
    Unlisted,
    /// The node does not know the batch that the settings name.
    #[error("it does not know the postage batch of the settings")]
    Unknown,
    /// The batch was bought just now; the network does not know it yet.
    #[error("its postage batch is too new; try again in some minutes")]
    TooNew,
    /// The batch has run out of time.
    #[error("its postage batch has expired, and so may what was uploaded with it; buy a new one")]
    Expired,
    /// The node does not take again what broke off under this batch, a fault of bee before v2.
    #[error("it does not take again what broke off before, as bee before v2; name another batch")]
    Stuck,
    /// The batch has stamped as much as it can.
    #[error("its postage batch is full; dilute it or buy a larger one")]
    Full,
}

impl From<StorageError> for io::Error {
    fn from(error: StorageError) -> Self {
        let kind = match error.kind() {
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::Integrity => io::ErrorKind::InvalidData,
            ErrorKind::Invalid => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
