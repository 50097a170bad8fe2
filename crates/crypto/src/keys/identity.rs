//! The X-Wing pair of an id.

use std::fmt;

use alloy_primitives::{B256, keccak256};
use hpke::{Deserializable, Kem, Serializable, kem::XWing};

use crate::Error;

type HpkePrivate = <XWing as Kem>::PrivateKey;
type HpkePublic = <XWing as Kem>::PublicKey;

/// Length of [`IdentityPublic`], in bytes: ML-KEM-768 (1,184) ‖ X25519 (32).
pub const IDENTITY_PUBLIC_LEN: usize = 1216;

/// The secret half of an identity pair (X-Wing, draft-connolly-cfrg-xwing-kem). Wiped when dropped.
#[derive(Clone)]
pub struct IdentityKey {
    secret: HpkePrivate,
    public: IdentityPublic,
}

impl IdentityKey {
    /// From the 32-byte decapsulation seed of X-Wing.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let secret = HpkePrivate::from_bytes(seed).expect("the seed has 32 bytes");
        let public = IdentityPublic::from_hpke(XWing::sk_to_pk(&secret));
        Self { secret, public }
    }

    /// The half to publish.
    pub const fn public(&self) -> &IdentityPublic {
        &self.public
    }

    pub(crate) const fn hpke(&self) -> &HpkePrivate {
        &self.secret
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityKey(.., {:?})", self.public)
    }
}

/// The public half of an identity pair: [`IDENTITY_PUBLIC_LEN`] bytes.
#[derive(Clone)]
pub struct IdentityPublic {
    key: HpkePublic,
    bytes: Box<[u8; IDENTITY_PUBLIC_LEN]>,
}

impl IdentityPublic {
    /// Reads a public key.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] if a coefficient of the ML-KEM part is not reduced (FIPS 203, section 7.2).
    pub fn from_bytes(bytes: &[u8; IDENTITY_PUBLIC_LEN]) -> Result<Self, Error> {
        let key = HpkePublic::from_bytes(bytes)
            .map_err(|_| Error::Malformed { what: "identity public key" })?;
        Ok(Self { key, bytes: Box::new(*bytes) })
    }

    fn from_hpke(key: HpkePublic) -> Self {
        let mut bytes = Box::new([0; IDENTITY_PUBLIC_LEN]);
        key.write_exact(bytes.as_mut_slice());
        Self { key, bytes }
    }

    /// The bytes that [`IdentityPublic::from_bytes`] reads.
    pub const fn as_bytes(&self) -> &[u8; IDENTITY_PUBLIC_LEN] {
        &self.bytes
    }

    /// `keccak256` of the bytes: names the key in envelopes.
    pub fn hash(&self) -> B256 {
        keccak256(self.bytes.as_slice())
    }

    pub(crate) const fn hpke(&self) -> &HpkePublic {
        &self.key
    }
}

impl PartialEq for IdentityPublic {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for IdentityPublic {}

impl fmt::Debug for IdentityPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityPublic(keccak256 {:#x})", self.hash())
    }
}
