//! SMART Health Links, served from a folder: files that only who has a link can open, for so long and so often as
//! the patient said.
//!
//! The server has neither keys nor plaintext: files lie there as JWE, passcodes as salted hashes. It does see who
//! asks, when, and how long the files are. What is shared this way is outside the ledger: the log of reads is this
//! folder's, not the chain's.
//!
//! | request | answer |
//! |---|---|
//! | `POST /{id}` with `{"recipient","passcode","embeddedLengthMax"}` | the manifest; 401 with `remainingAttempts`; 404 |
//! | `GET /{id}?recipient=` (direct links) | the one file |
//! | `GET /{id}/{file}/{ticket}` | a file that was too long for the manifest, for ten minutes |
//!
//! A wrong passcode counts for the whole life of a link and is on disk before it is answered, so that neither
//! parallel requests nor a crash give another try. A link to be viewed once is used up on disk before its manifest
//! is sent. Both err on the patient's side: a crash at that moment costs the reader, not the patient.

mod journal;
mod server;
mod store;

use std::io;

use galen_types::ErrorKind;

pub use self::{
    journal::{LogEntry, MAX_LOG_LINES},
    server::{ShareEvent, ShareServer},
    store::{
        Claim, DEFAULT_ATTEMPTS, MAX_SHARES, NewShare, Refusal, ShareId, ShareState, ShareStatus,
        ShareStore, StoredFile, inert,
    },
};

/// A folder of links cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// The folder could not be read or written.
    #[error("cannot use the folder of links")]
    Io(#[from] io::Error),
    /// A file in it is not what it should be.
    #[error("the folder of links is damaged: {0}")]
    Damaged(&'static str),
    /// There is no such link.
    #[error("there is no such link")]
    Unknown,
    /// What is asked for breaks a rule.
    #[error("{0}")]
    Invalid(&'static str),
    /// Another process serves this folder; two would count attempts twice.
    #[error("another process serves this folder")]
    Busy,
    /// The operating system gave no randomness.
    #[error(transparent)]
    Crypto(#[from] galen_crypto::Error),
}

impl ShareError {
    /// What the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Io(_) | Self::Busy => ErrorKind::Unavailable,
            Self::Damaged(_) => ErrorKind::Integrity,
            Self::Unknown => ErrorKind::NotFound,
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::Crypto(error) => error.kind(),
        }
    }

    /// One line that says what to do.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Io(_) => "check disk space and permissions, then try again",
            Self::Damaged(_) => "stop the link, and share anew",
            Self::Unknown => "`galen share list` shows the links",
            Self::Invalid(_) => "`galen share --help` shows what goes together",
            Self::Busy => "stop the other `galen share serve`, or leave the work to it",
            Self::Crypto(_) => "try again",
        }
    }
}
