//! Where everything lies in sealed content, once its preamble is known.

use std::fmt;

use galen_types::Salt;
use zeroize::Zeroizing;

use crate::{
    Error, OpenError,
    content::{BLOCK_LEN, BODY_START, MAX_PAYLOAD_LEN, MediaType},
    primitives::TAG_LEN,
};

/// Bytes of the preamble before the media type.
const PREAMBLE_HEAD: usize = 41;

/// Salt, media type and payload length of sealed content; all other lengths follow.
#[derive(Clone, PartialEq, Eq)]
pub struct Layout {
    salt: Salt,
    media_type: MediaType,
    payload_len: u64,
}

impl Layout {
    pub(crate) fn new(salt: Salt, media_type: MediaType, payload_len: u64) -> Result<Self, Error> {
        if payload_len > MAX_PAYLOAD_LEN {
            return Err(Error::PayloadTooLong { len: payload_len, max: MAX_PAYLOAD_LEN });
        }
        Ok(Self { salt, media_type, payload_len })
    }

    /// Reads the preamble from the plaintext of the first block.
    pub(crate) fn parse(first: &[u8]) -> Result<Self, OpenError> {
        let (salt, rest) = first.split_first_chunk::<32>().ok_or(OpenError)?;
        let (len, rest) = rest.split_first_chunk::<8>().ok_or(OpenError)?;
        let (media_len, rest) = rest.split_first().ok_or(OpenError)?;
        let media_type = rest.get(..usize::from(*media_len)).ok_or(OpenError)?;
        let media_type = str::from_utf8(media_type).map_err(|_| OpenError)?;
        let media_type = media_type.parse().map_err(|_| OpenError)?;
        Self::new(Salt((*salt).into()), media_type, u64::from_be_bytes(*len)).map_err(|_| OpenError)
    }

    /// The preamble's bytes.
    pub(crate) fn preamble(&self) -> Zeroizing<Vec<u8>> {
        let media_type = self.media_type.as_str().as_bytes();
        let media_len = u8::try_from(media_type.len()).expect("at most 127 characters");
        let mut bytes = Zeroizing::new(Vec::with_capacity(PREAMBLE_HEAD + media_type.len()));
        bytes.extend_from_slice(self.salt.as_bytes());
        bytes.extend_from_slice(&self.payload_len.to_be_bytes());
        bytes.push(media_len);
        bytes.extend_from_slice(media_type);
        bytes
    }

    /// What the payload is.
    pub const fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// The salt of the commitment.
    pub const fn salt(&self) -> Salt {
        self.salt
    }

    /// Length of the payload, in bytes.
    pub const fn payload_len(&self) -> u64 {
        self.payload_len
    }

    /// Length of the whole sealed content, header included, in bytes.
    pub fn sealed_len(&self) -> u64 {
        BODY_START + self.plaintext_len() + self.blocks() * TAG_LEN as u64
    }

    pub(crate) fn preamble_len(&self) -> u64 {
        preamble_len(&self.media_type) as u64
    }

    /// Preamble, payload and padding.
    pub(crate) fn plaintext_len(&self) -> u64 {
        padme(self.preamble_len() + self.payload_len)
    }

    pub(crate) fn blocks(&self) -> u64 {
        self.plaintext_len().div_ceil(BLOCK_LEN as u64)
    }
}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The salt would let a guess of the payload be checked against the chain.
        write!(f, "Layout({}, {} bytes)", self.media_type, self.payload_len)
    }
}

/// Bytes before the payload in the plaintext of the first block.
pub(crate) fn preamble_len(media_type: &MediaType) -> usize {
    PREAMBLE_HEAD + media_type.as_str().len()
}

/// The Padmé length of `len`, at most 12 % more. `len` is at least 2 and far below 2^63.
fn padme(len: u64) -> u64 {
    let exponent = len.ilog2();
    let kept = exponent.ilog2() + 1;
    len.next_multiple_of(1 << (exponent - kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padme_follows_its_definition() {
        // Worked by hand from the definition.
        for (len, padded) in [
            (42, 44),
            (44, 44),
            (100, 104),
            (1000, 1024),
            (1023, 1024),
            (65_520, 65_536),
            (1 << 20, 1 << 20),
        ] {
            assert_eq!(padme(len), padded, "{len}");
        }
    }

    #[test]
    fn padme_grows_by_less_than_an_eighth() {
        for len in (42..200_000).chain([(1 << 40) + 1, (1 << 40) + 12_345]) {
            let padded = padme(len);
            assert!(padded >= len && padded * 100 <= len * 112, "{len} {padded}");
            assert_eq!(padme(padded), padded);
        }
    }
}
