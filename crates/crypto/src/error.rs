//! What goes wrong, and the one error of everything that does not open.

use std::io;

use galen_types::ErrorKind;

/// Something sealed does not open.
///
/// One error for every cause, on purpose: telling a wrong key from a changed ciphertext or a malformed
/// header helps only an attacker (RFC 5116, section 2.2, `FAIL`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sealed content does not open")]
pub struct OpenError;

impl OpenError {
    /// Always [`ErrorKind::Integrity`].
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Integrity
    }
}

/// Why an operation of this crate failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something sealed does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The media type cannot be written into sealed content.
    #[error("media type is not 1 to 127 printable ASCII characters")]
    MediaType,
    /// The payload is longer than sealed content may hold.
    #[error("payload of {len} bytes is longer than {max}")]
    PayloadTooLong {
        /// Length of the payload, in bytes, as far as it was read.
        len: u64,
        /// Most bytes allowed.
        max: u64,
    },
    /// Content would be sealed to nobody.
    #[error("no recipient is named")]
    NoRecipient,
    /// The source gave other bytes when it was read again. What was written so far is worthless.
    #[error("source changed between the two passes over it")]
    SourceChanged,
    /// A range does not lie within the payload.
    #[error("range {start}..{end} is not within a payload of {len} bytes")]
    Range {
        /// First byte asked for.
        start: u64,
        /// First byte not asked for.
        end: u64,
        /// Length of the payload, in bytes.
        len: u64,
    },
    /// A secret cannot be shared like that.
    #[error(
        "a secret is shared by 1 to {max} proxies, of whom 1 to all are needed, not {threshold} of {proxies}"
    )]
    Threshold {
        /// How many would be needed.
        threshold: u8,
        /// How many there would be.
        proxies: u8,
        /// Most that there may be.
        max: u8,
    },
    /// The operating system gave no randomness.
    #[error("no randomness from the operating system")]
    Randomness,
    /// The caller's source could not be read.
    #[error("cannot read the source")]
    Read(#[source] io::Error),
    /// The caller's sink could not be written.
    #[error("cannot write the result")]
    Write(#[source] io::Error),
    /// Bytes are not the one encoding of what they should be.
    #[error("not a valid {what}")]
    Malformed {
        /// What was expected.
        what: &'static str,
    },
    /// What an envelope should say breaks a rule of envelopes.
    #[error("envelope cannot be made: {fault}")]
    Terms {
        /// The rule.
        fault: &'static str,
    },
    /// The keystore is of a kind that is not read here.
    #[error("keystore is not readable: {fault}")]
    Keystore {
        /// The rule that the file breaks.
        fault: &'static str,
    },
    /// The password does not fit the keystore, or the keystore was changed.
    #[error("wrong password or damaged keystore")]
    Password,
    /// A JWE, a JWS or a key of theirs is not what it must be.
    #[error(transparent)]
    Jose(#[from] crate::jose::JoseError),
}

impl Error {
    /// What the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        // No `_` arm: a new variant must choose its kind before it compiles.
        match self {
            Self::Open(error) => error.kind(),
            Self::Malformed { .. } => ErrorKind::Integrity,
            Self::Jose(error) => error.kind(),
            Self::MediaType
            | Self::PayloadTooLong { .. }
            | Self::NoRecipient
            | Self::Threshold { .. }
            | Self::Range { .. }
            | Self::Terms { .. }
            | Self::Keystore { .. }
            | Self::Password => ErrorKind::Invalid,
            Self::SourceChanged => ErrorKind::Stale,
            Self::Randomness | Self::Read(_) | Self::Write(_) => ErrorKind::Unavailable,
        }
    }
}
