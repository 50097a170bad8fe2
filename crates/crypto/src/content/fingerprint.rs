//! Whether a payload that is read twice is the same both times, told much faster than by SHA-256.
//!
//! Each part of the payload that goes into one block gets a GMAC tag (NIST SP 800-38D) under a key that
//! this process has drawn for nothing else and shows nobody, nor the tags. So whoever changes a payload
//! between two passes hits the same tag with a chance of 2^-116 for each try. The fingerprint is the
//! SHA-256 of all tags and of the SHA-256 of the payload, to which it is thereby bound.

use std::sync::OnceLock;

use alloy_primitives::B256;
use zeroize::Zeroizing;

use crate::{
    Error,
    primitives::{Gcm, Sha256Stream, random},
};

/// Equal within one process only for equal payloads; says nothing in another one.
pub(crate) type Fingerprint = B256;

/// Computes a [`Fingerprint`] from the parts of a payload, cut as for sealing.
pub(crate) struct Fingerprinter {
    gmac: &'static Gcm,
    tags: Sha256Stream,
    place: u64,
}

impl Fingerprinter {
    /// # Errors
    ///
    /// [`Error::Randomness`].
    pub(crate) fn new() -> Result<Self, Error> {
        static KEY: OnceLock<Gcm> = OnceLock::new();
        let gmac = match KEY.get() {
            Some(gmac) => gmac,
            None => {
                let key: Zeroizing<[u8; 32]> = random()?;
                let fresh = Gcm::new(&key);
                KEY.get_or_init(|| fresh)
            }
        };
        Ok(Self { gmac, tags: Sha256Stream::new(), place: 0 })
    }

    /// Takes the payload's part of the next block.
    pub(crate) fn update(&mut self, part: &[u8]) {
        // A block of nothing but padding; there is none in the first pass.
        if part.is_empty() {
            return;
        }
        // One nonce for each place, not for each call: equal parts must have equal tags. Whoever saw two tags under one
        // nonce could work out the key; nobody does, since tags go into the hash below and nowhere else.
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.place.to_be_bytes());
        self.tags.update(&self.gmac.seal(nonce, part, &mut []));
        self.place += 1;
    }

    pub(crate) fn finish(mut self, sha256: B256) -> Fingerprint {
        self.tags.update(sha256.as_slice());
        B256::new(self.tags.finish())
    }
}
