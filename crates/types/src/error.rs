//! What a caller can do about an error, and the one error of every parser in this crate.

use std::fmt;

/// What the caller can do about an error. Exit code, HTTP status and retry follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A bug in Galen.
    Internal,
    /// The request is wrong; repeating it changes nothing.
    Invalid,
    /// No such record, consent or content.
    NotFound,
    /// Consent is missing, expired or revoked.
    Denied,
    /// A hash, tag or signature does not match. Worth an alert.
    Integrity,
    /// A node or store did not answer. Worth a retry.
    Unavailable,
    /// The slot or proof moved on. Rebuild and retry.
    Stale,
    /// The person said no.
    Declined,
}

impl ErrorKind {
    /// Exit code of the program.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Invalid => 2,
            Self::NotFound => 3,
            Self::Denied => 4,
            Self::Integrity => 5,
            Self::Unavailable => 6,
            Self::Stale => 7,
            Self::Declined => 8,
        }
    }

    /// The word for machines: stable, lowercase.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Invalid => "invalid",
            Self::NotFound => "not-found",
            Self::Denied => "denied",
            Self::Integrity => "integrity",
            Self::Unavailable => "unavailable",
            Self::Stale => "stale",
            Self::Declined => "declined",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text is not the one text form of its type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a {what}: expected {expected}")]
pub struct ParseError {
    /// The type that was asked for.
    pub what: &'static str,
    /// The text form that it has.
    pub expected: &'static str,
}

impl ParseError {
    /// Always [`ErrorKind::Invalid`].
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}
