//! HPKE (RFC 9180) in base mode, with the one suite of Galen.
//!
//! KEM X-Wing (0x647a), KDF HKDF-SHA256 (0x0001), AEAD AES-256-GCM (0x0002). Single shot: one
//! encapsulation, one message. Base mode authenticates nobody: who needs to know the sender signs.

use hpke::{
    Deserializable, OpModeR, OpModeS, Serializable, aead::AesGcm256, kdf::HkdfSha256, kem::XWing,
};
use zeroize::Zeroizing;

use crate::{
    Error, IdentityKey, IdentityPublic, OpenError,
    primitives::{DrawnRandomness, ENCAPSULATION_RANDOMNESS, TAG_LEN},
};

/// Length of an X-Wing encapsulation, in bytes.
pub(crate) const ENC_LEN: usize = 1120;

/// An encapsulation and the ciphertext under it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct HpkeBox {
    pub(crate) enc: [u8; ENC_LEN],
    pub(crate) ciphertext: Vec<u8>,
}

impl HpkeBox {
    pub(crate) fn seal(
        to: &IdentityPublic,
        info: &[u8],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Self, Error> {
        Self::seal_with(
            to,
            info,
            aad,
            plaintext,
            &mut DrawnRandomness::draw(ENCAPSULATION_RANDOMNESS)?,
        )
    }

    pub(crate) fn seal_with(
        to: &IdentityPublic,
        info: &[u8],
        aad: &[u8],
        plaintext: &[u8],
        randomness: &mut DrawnRandomness,
    ) -> Result<Self, Error> {
        let (enc, ciphertext) = hpke::single_shot_seal_with_rng::<AesGcm256, HkdfSha256, XWing>(
            &OpModeS::Base,
            to.hpke(),
            info,
            plaintext,
            aad,
            randomness,
        )
        .map_err(|_| Error::Malformed { what: "identity key" })?;
        let mut bytes = [0; ENC_LEN];
        enc.write_exact(&mut bytes);
        Ok(Self { enc: bytes, ciphertext })
    }

    pub(crate) fn open(
        &self,
        key: &IdentityKey,
        info: &[u8],
        aad: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let enc = Deserializable::from_bytes(&self.enc).map_err(|_| OpenError)?;
        hpke::single_shot_open::<AesGcm256, HkdfSha256, XWing>(
            &OpModeR::Base,
            key.hpke(),
            &enc,
            info,
            &self.ciphertext,
            aad,
        )
        .map(Zeroizing::new)
        .map_err(|_| OpenError)
    }

    /// Length of the plaintext, in bytes, or `None` if the ciphertext is shorter than a tag.
    pub(crate) fn plaintext_len(&self) -> Option<usize> {
        self.ciphertext.len().checked_sub(TAG_LEN)
    }
}
