//! What can go wrong in a store.

use std::{io, path::PathBuf};

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
    /// The store does not keep addresses of this kind.
    #[error("this store keeps Swarm addresses only, not {0}")]
    Unsupported(ContentRef),
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
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Integrity(_) => ErrorKind::Integrity,
            Self::Unsupported(_)
            | Self::TooLong { .. }
            | Self::OutOfRange { .. }
            | Self::NotAStore(_)
            | Self::UnknownVersion(_) => ErrorKind::Invalid,
            Self::Full(_) | Self::Source(_) | Self::Io { .. } | Self::ShutDown => {
                ErrorKind::Unavailable
            }
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
