//! The commitment to a payload, and the media type that is part of it.

use std::{fmt, io::Read, str::FromStr};

use alloy_primitives::{B256, Keccak256, keccak256};
use galen_types::{Commitment, Salt};
use zeroize::Zeroizing;

use crate::{
    Error,
    content::{
        BLOCK_LEN, MAX_PAYLOAD_LEN,
        fingerprint::{Fingerprint, Fingerprinter},
        layout::preamble_len,
        stream::read_full,
    },
    primitives::Sha256Stream,
};

/// What a payload is: 1 to 127 printable ASCII characters, such as `application/fhir+json`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaType(String);

impl MediaType {
    /// Most characters.
    pub const MAX_LEN: usize = 127;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MediaType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let printable = text.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
        if text.is_empty() || text.len() > Self::MAX_LEN || !printable {
            return Err(Error::MediaType);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the first pass over a payload finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Committed {
    /// The commitment that goes on chain.
    pub commitment: Commitment,
    /// SHA-256 of the payload. Not salted: it tells who has a guess whether it is right, so it is as
    /// private as the payload.
    pub sha256: B256,
    /// Length of the payload, in bytes.
    pub len: u64,
    /// By which the second pass tells whether it reads the same payload.
    pub(super) fingerprint: Fingerprint,
}

/// Reads a payload to its end and commits to it: the first pass of sealing.
///
/// # Errors
///
/// [`Error::Read`], [`Error::PayloadTooLong`], [`Error::Randomness`].
pub fn commit(
    mut source: impl Read,
    salt: Salt,
    media_type: &MediaType,
) -> Result<Committed, Error> {
    let mut buffer = Zeroizing::new(vec![0; BLOCK_LEN]);
    let mut hash = Sha256Stream::new();
    let mut fingerprint = Fingerprinter::new()?;
    let mut len = 0;
    // What goes into the first block, and then what goes into each other one.
    let mut room = BLOCK_LEN - preamble_len(media_type);
    loop {
        let read = read_full(&mut source, &mut buffer[..room])?;
        hash.update(&buffer[..read]);
        fingerprint.update(&buffer[..read]);
        len += read as u64;
        if len > MAX_PAYLOAD_LEN {
            return Err(Error::PayloadTooLong { len, max: MAX_PAYLOAD_LEN });
        }
        if read < room {
            let sha256 = B256::new(hash.finish());
            let commitment = commitment(salt, sha256, len, media_type);
            let fingerprint = fingerprint.finish(sha256);
            return Ok(Committed { commitment, sha256, len, fingerprint });
        }
        room = BLOCK_LEN;
    }
}

/// The commitment from its parts, by the formula of the module documentation.
pub fn commitment(salt: Salt, sha256: B256, len: u64, media_type: &MediaType) -> Commitment {
    let mut hash = Keccak256::new();
    hash.update(keccak256("galen.commitment.v1"));
    hash.update(salt.as_bytes());
    hash.update(sha256);
    hash.update(len.to_be_bytes());
    hash.update(media_type.as_str());
    Commitment(hash.finalize())
}
