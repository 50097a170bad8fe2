//! Hashes, key derivation, randomness and AES-256-GCM, each in the one form that this crate uses.

use std::convert::Infallible;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    digest,
};
use curve25519_dalek::Scalar;
use hkdf::Hkdf;
use hpke::rand_core::{TryCryptoRng, TryRng};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use crate::{Error, OpenError};

/// Length of an AES-GCM tag, in bytes.
pub(crate) const TAG_LEN: usize = 16;
/// Length of a 32-byte key sealed by [`seal_key`].
pub(crate) const SEALED_KEY_LEN: usize = 32 + TAG_LEN;

/// SHA-256 of the parts, joined.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256Stream::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finish()
}

/// SHA3-256 of the parts, joined.
pub(crate) fn sha3_256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = digest::Context::new(&digest::SHA3_256);
    parts.iter().for_each(|part| hash.update(part));
    hash.finish().as_ref().try_into().expect("SHA3-256 has 32 bytes")
}

/// SHA-256 of a stream.
pub(crate) struct Sha256Stream(digest::Context);

impl Sha256Stream {
    pub(crate) fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        self.0.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

/// HKDF-SHA256 (RFC 5869) without salt; `info` is the parts joined.
pub(crate) fn hkdf<const N: usize>(ikm: &[u8], info: &[&[u8]]) -> Zeroizing<[u8; N]> {
    const { assert!(N <= 255 * 32, "HKDF-SHA256 gives at most 8,160 bytes") };
    let mut okm = Zeroizing::new([0; N]);
    Hkdf::<Sha256>::new(None, ikm)
        .expand_multi_info(info, okm.as_mut_slice())
        .expect("the length is within the bound checked above");
    okm
}

/// A scalar of ristretto255 from SHA-512 of the parts, joined.
pub(crate) fn scalar_from_sha512(parts: &[&[u8]]) -> Scalar {
    let mut hash = digest::Context::new(&digest::SHA512);
    parts.iter().for_each(|part| hash.update(part));
    let wide = hash.finish().as_ref().try_into().expect("SHA-512 has 64 bytes");
    Scalar::from_bytes_mod_order_wide(&wide)
}

/// Fresh bytes from the operating system.
pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, Error> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|_| Error::Randomness)?;
    Ok(bytes)
}

/// A fresh scalar; zero with a probability of 2^-252, which the checks against the identity catch.
pub(crate) fn random_scalar() -> Result<Zeroizing<Scalar>, Error> {
    let wide = random::<64>()?;
    Ok(Zeroizing::new(Scalar::from_bytes_mod_order_wide(&wide)))
}

/// Bytes that one X-Wing encapsulation asks for.
pub(crate) const ENCAPSULATION_RANDOMNESS: usize = 64;

/// As many random bytes as another crate will ask for, drawn beforehand so that a failure of the
/// operating system is an error and not a panic inside that crate.
pub(crate) struct DrawnRandomness(Zeroizing<Vec<u8>>, usize);

impl DrawnRandomness {
    pub(crate) fn draw(len: usize) -> Result<Self, Error> {
        let mut bytes = Zeroizing::new(vec![0; len]);
        getrandom::fill(&mut bytes).map_err(|_| Error::Randomness)?;
        Ok(Self(bytes, 0))
    }

    #[cfg(test)]
    pub(crate) fn fixed(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()), 0)
    }
}

impl TryRng for DrawnRandomness {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut word = [0; 4];
        self.try_fill_bytes(&mut word)?;
        Ok(u32::from_le_bytes(word))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut word = [0; 8];
        self.try_fill_bytes(&mut word)?;
        Ok(u64::from_le_bytes(word))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        // Reuse would be a catastrophe, so running out panics: a bug, not a state of the world.
        let end = self.1 + out.len();
        let fresh = self.0.get_mut(self.1..end).expect("nobody asks for more than was drawn");
        out.copy_from_slice(fresh);
        fresh.zeroize();
        self.1 = end;
        Ok(())
    }
}

impl TryCryptoRng for DrawnRandomness {}

/// AES-256-GCM (NIST SP 800-38D).
pub(crate) struct Gcm(LessSafeKey);

impl Gcm {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("the key has 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// Encrypts in place and returns the tag. A nonce must never be used twice under one key.
    pub(crate) fn seal(&self, nonce: [u8; 12], aad: &[u8], in_out: &mut [u8]) -> [u8; TAG_LEN] {
        let tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), in_out)
            .expect("a block is far below the limit of AES-GCM");
        tag.as_ref().try_into().expect("the tag has 16 bytes")
    }

    /// Decrypts `in_out`, which ends with the tag, in place. On failure the bytes mean nothing.
    pub(crate) fn open<'a>(
        &self,
        nonce: [u8; 12],
        aad: &[u8],
        in_out: &'a mut [u8],
    ) -> Result<&'a mut [u8], OpenError> {
        self.0
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), in_out)
            .map_err(|_| OpenError)
    }
}

/// Seals a 32-byte key under a key that is used for nothing else, hence the zero nonce.
pub(crate) fn seal_key(kek: &[u8; 32], aad: &[u8], key: &[u8; 32]) -> [u8; SEALED_KEY_LEN] {
    let mut sealed = [0; SEALED_KEY_LEN];
    sealed[..32].copy_from_slice(key);
    let tag = Gcm::new(kek).seal([0; 12], aad, &mut sealed[..32]);
    sealed[32..].copy_from_slice(&tag);
    sealed
}

/// Undoes [`seal_key`].
pub(crate) fn open_key(
    kek: &[u8; 32],
    aad: &[u8],
    sealed: &[u8; SEALED_KEY_LEN],
) -> Result<Zeroizing<[u8; 32]>, OpenError> {
    let mut bytes = Zeroizing::new(*sealed);
    let opened = Gcm::new(kek).open([0; 12], aad, bytes.as_mut_slice())?;
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(opened);
    Ok(key)
}
