//! Private data of one id at rest: its contacts, the terms of its consents.
//!
//! | bytes | content |
//! |---|---|
//! | 0..4 | `GLV1` |
//! | 4..36 | random salt |
//! | 36.. | AES-256-GCM of length u32 ‖ text ‖ zeros, then the 16-byte tag |
//!
//! The key of one sealing is HKDF-SHA256 (RFC 5869) of the vault key with info `galen.vault.v1` ‖ salt ‖
//! label, used once and hence with a zero nonce: there is no limit on how often one vault is written. The
//! first 36 bytes are associated data. Length and text are padded to a power of two of at least 1,024 bytes,
//! so that the size of the file hardly tells how much is in it.

use std::fmt;

use zeroize::Zeroizing;

use crate::{
    Error, OpenError,
    primitives::{Gcm, TAG_LEN, hkdf, random},
};

/// Longest text of a vault, in bytes.
pub const MAX_VAULT_LEN: usize = (16 << 20) - 4;

const MAGIC: &[u8; 4] = b"GLV1";
const HEAD_LEN: usize = 36;
const MIN_PADDED_LEN: usize = 1024;

/// A key that seals private data of one id. Wiped when dropped.
#[derive(Clone)]
pub struct VaultKey(Zeroizing<[u8; 32]>);

impl VaultKey {
    /// A key from 32 uniform bytes.
    pub const fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// Seals a text under a label, which says what it is and must be given again to open it.
    ///
    /// # Errors
    ///
    /// - [`Error::PayloadTooLong`] above [`MAX_VAULT_LEN`].
    /// - [`Error::Randomness`].
    pub fn seal(&self, label: &str, text: &[u8]) -> Result<Vec<u8>, Error> {
        let len = u32::try_from(text.len())
            .ok()
            .filter(|_| text.len() <= MAX_VAULT_LEN)
            .ok_or(Error::PayloadTooLong { len: text.len() as u64, max: MAX_VAULT_LEN as u64 })?;
        let mut head = [0; HEAD_LEN];
        head[..4].copy_from_slice(MAGIC);
        head[4..].copy_from_slice(random::<32>()?.as_slice());
        let mut padded = Zeroizing::new(vec![0; padded_len(text.len())]);
        padded[..4].copy_from_slice(&len.to_be_bytes());
        padded[4..4 + text.len()].copy_from_slice(text);
        let tag = self.once(&head, label).seal([0; 12], &head, &mut padded);
        Ok([&head[..], &padded, &tag].concat())
    }

    /// The text that was sealed under the label.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for every cause.
    pub fn open(&self, label: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (head, body) = sealed.split_at_checked(HEAD_LEN).ok_or(OpenError)?;
        if head[..4] != MAGIC[..] || body.len() > padded_len(MAX_VAULT_LEN) + TAG_LEN {
            return Err(OpenError);
        }
        let mut body = Zeroizing::new(body.to_vec());
        let padded = self.once(head, label).open([0; 12], head, &mut body)?;
        let (len, rest) = padded.split_first_chunk().ok_or(OpenError)?;
        let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| OpenError)?;
        let (text, padding) = rest.split_at_checked(len).ok_or(OpenError)?;
        let one_form = padding.iter().all(|byte| *byte == 0) && padded_len(len) == rest.len() + 4;
        if one_form { Ok(Zeroizing::new(text.to_vec())) } else { Err(OpenError) }
    }

    fn once(&self, head: &[u8], label: &str) -> Gcm {
        let info = [b"galen.vault.v1".as_slice(), &head[4..], label.as_bytes()];
        Gcm::new(&hkdf(self.0.as_slice(), &info))
    }
}

const fn padded_len(text: usize) -> usize {
    let len = (text + 4).next_power_of_two();
    if len < MIN_PADDED_LEN { MIN_PADDED_LEN } else { len }
}

impl fmt::Debug for VaultKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VaultKey(..)")
    }
}
