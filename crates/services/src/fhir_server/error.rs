//! Why a FHIR server did not do it.

use std::{fmt, time::Duration};

use galen_types::ErrorKind;

/// How much of a server's words is kept, in characters.
const MAX_WORDS_LEN: usize = 200;

/// Words of a server, fit to be shown: one short line of visible ASCII. They may repeat what was sent, so
/// they are no part of an error's own text, and `Debug` does not show them.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Words(String);

impl Words {
    /// Makes text inert.
    pub fn new(text: &str) -> Self {
        let visible = text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' });
        let line: String = visible.take(MAX_WORDS_LEN).collect();
        Self(line.trim().to_owned())
    }

    /// The words; empty if there are none.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Words({} characters)", self.0.len())
    }
}

/// A FHIR server did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FhirServerError {
    /// What was asked for cannot be asked.
    #[error("{0}")]
    Setting(&'static str),
    /// Plain HTTP to another machine.
    #[error("{server} would be spoken to in plain HTTP, which everybody between can read")]
    PlainHttp {
        /// Scheme and host.
        server: String,
    },
    /// No connection, or it broke.
    #[error("{0}")]
    Unreachable(&'static str),
    /// No whole answer in time.
    #[error("no whole answer within {} s", .after.as_secs())]
    TimedOut {
        /// How long was waited.
        after: Duration,
    },
    /// 401 or 403: the token is missing, over, or not for this.
    #[error("refused with status {status}")]
    Refused {
        /// 401 or 403.
        status: u16,
        /// What the server says.
        said: Words,
    },
    /// 404 or 410.
    #[error("there is no such thing (status {status})")]
    NotFound {
        /// 404 or 410.
        status: u16,
        /// What the server says.
        said: Words,
    },
    /// 409 or 412: the server has another version, or several that fit.
    #[error("the server has another version (status {status})")]
    Conflict {
        /// 409 or 412.
        status: u16,
        /// What the server says.
        said: Words,
    },
    /// Any other 4xx: the server does not take the request.
    #[error("not taken, with status {status}")]
    NotTaken {
        /// The status.
        status: u16,
        /// What the server says.
        said: Words,
    },
    /// 429 or 5xx, also after the last repetition.
    #[error("the server fails or limits, with status {status}")]
    Failing {
        /// The status.
        status: u16,
        /// What the server says.
        said: Words,
    },
    /// 3xx. Nobody follows it: the token would go with the request.
    #[error("redirected, with status {status}")]
    Redirect {
        /// The status.
        status: u16,
    },
    /// A link that leads to another scheme, host or port.
    #[error("a link of the server leads to another origin")]
    OtherOrigin {
        /// Scheme and host of it.
        found: Words,
    },
    /// The answer is not what FHIR says it is.
    #[error("the answer is not FHIR: {0}")]
    Malformed(&'static str),
    /// The answer is longer than [`super::MAX_ANSWER_LEN`].
    #[error("an answer of more than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// Another FHIR than 4.0.
    #[error("the server speaks another version of FHIR than 4.0")]
    Version {
        /// The version that it names.
        found: Words,
    },
    /// A Bundle that was sent as a batch was taken in part.
    #[error("{refused} of {entries} entries of the batch were not taken")]
    Partial {
        /// Entries that were not taken.
        refused: usize,
        /// Entries of the batch.
        entries: usize,
        /// What the server says of the first of them.
        said: Words,
    },
}

impl FhirServerError {
    /// What the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Setting(_)
            | Self::PlainHttp { .. }
            | Self::NotTaken { .. }
            | Self::Redirect { .. }
            | Self::Version { .. }
            | Self::Partial { .. } => ErrorKind::Invalid,
            Self::Refused { .. } | Self::OtherOrigin { .. } => ErrorKind::Denied,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Conflict { .. } => ErrorKind::Stale,
            Self::Unreachable(_)
            | Self::TimedOut { .. }
            | Self::Failing { .. }
            | Self::Malformed(_)
            | Self::TooLong { .. } => ErrorKind::Unavailable,
        }
    }

    /// The server's own words, if there are any. They may repeat what was sent.
    pub fn said(&self) -> &str {
        match self {
            Self::Refused { said, .. }
            | Self::NotFound { said, .. }
            | Self::Conflict { said, .. }
            | Self::NotTaken { said, .. }
            | Self::Failing { said, .. }
            | Self::Partial { said, .. } => said.as_str(),
            Self::OtherOrigin { found } | Self::Version { found } => found.as_str(),
            Self::Setting(_)
            | Self::PlainHttp { .. }
            | Self::Unreachable(_)
            | Self::TimedOut { .. }
            | Self::Redirect { .. }
            | Self::Malformed(_)
            | Self::TooLong { .. } => "",
        }
    }

    /// The HTTP status, if the server gave one.
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. }
            | Self::NotFound { status, .. }
            | Self::Conflict { status, .. }
            | Self::NotTaken { status, .. }
            | Self::Failing { status, .. }
            | Self::Redirect { status } => Some(*status),
            _ => None,
        }
    }
}
