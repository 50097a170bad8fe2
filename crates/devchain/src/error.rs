//! What can go wrong with a chain, as opposed to with one request to it (see [`RpcError`](crate::RpcError)).

use std::{io, path::PathBuf};

use galen_types::ErrorKind;

/// The chain could not be opened or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process, or another handle of this one, has the directory open.
    #[error("{} is in use by {}", path.display(), holder(*pid))]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The process that holds it, if it wrote its number.
        pid: Option<u32>,
    },
    /// The directory holds a chain with another id.
    #[error("{} holds chain {found}, not chain {wanted}", path.display())]
    OtherChain {
        /// The directory.
        path: PathBuf,
        /// Chain id in the directory.
        found: u64,
        /// Chain id in the configuration.
        wanted: u64,
    },
    /// The directory holds a chain with the same id but another genesis.
    #[error(
        "{} was created with other accounts, gas limit, genesis time or EVM rules", path.display()
    )]
    OtherGenesis {
        /// The directory.
        path: PathBuf,
    },
    /// The log is damaged where it was once complete. Nothing is dropped; restore a copy.
    #[error("{} is damaged at byte {offset}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Offset of the first record that does not check, in bytes.
        offset: u64,
        /// What does not check.
        what: &'static str,
    },
    /// The disk is full. The request was not acknowledged and left no trace; it may be repeated
    /// once there is space.
    #[error("no space left for {}", path.display())]
    NoSpace {
        /// The file.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// An earlier failure left it unknown what is on disk. The chain takes no more writes until
    /// it is opened again.
    #[error("an earlier write failed; open the chain again")]
    Stopped,
    /// A request that the chain cannot follow.
    #[error("{0}")]
    Refused(&'static str),
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl Error {
    /// What the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::OtherChain { .. } | Self::OtherGenesis { .. } | Self::Refused(_) => {
                ErrorKind::Invalid
            }
            Self::Damaged { .. } => ErrorKind::Integrity,
            Self::Locked { .. } | Self::NoSpace { .. } | Self::Io { .. } | Self::Stopped => {
                ErrorKind::Unavailable
            }
        }
    }
}
