//! Everything an id ever needs, derived from 32 bytes.
//!
//! Every derivation takes the id (a pseudonym or an organization) as input, so that nothing derived
//! for one pseudonym links to another. HKDF-SHA256 (RFC 5869) without salt, ikm the root seed:
//!
//! | value | info | bytes |
//! |---|---|---|
//! | X-Wing seed of the identity key | `galen.key.identity.v1` ‖ id | 32 |
//! | scalar of a segment | `galen.key.segment.scalar.v1` ‖ id ‖ segment u8 ‖ epoch u32 | 64, little endian mod ℓ |
//! | X-Wing seed of a segment | `galen.key.segment.kem.v1` ‖ id ‖ segment u8 ‖ epoch u32 | 32 |
//! | stream of the segment map | `galen.key.map.v1` ‖ id | 8,160 |
//! | salt of consent n | `galen.salt.consent.v1` ‖ id ‖ n u64 | 32 |
//! | key of the private book | `galen.key.vault.v1` ‖ id | 32 |
//! | secp256k1 key that announces the archive | `galen.key.archive.v1` ‖ id | 32 |
//! | salt of guardian n | `galen.salt.guardian.v1` ‖ id ‖ n u64 | 32 |
//!
//! The *segment map* is the Fisher-Yates shuffle of 0..=255: for i from 255 down to 1 take the next
//! u32 of the stream until it is below the largest multiple of i + 1 that is at most 2^32, reduce it
//! modulo i + 1 to j, and swap places i and j. Category c lies in the segment at place c.

mod identity;
mod kem;
mod map;
mod segment;

use std::fmt;

use alloy_primitives::{Address, B256};
use galen_types::{Salt, Segment};
use zeroize::Zeroizing;

pub use identity::{IDENTITY_PUBLIC_LEN, IdentityKey, IdentityPublic};
pub(crate) use kem::KemSecret;
pub use map::SegmentMap;
pub(crate) use segment::point_from_bytes;
pub use segment::{SEGMENT_SECRET_LEN, SegmentKey, SegmentPublic};

use crate::{
    Error, VaultKey,
    primitives::{hkdf, random},
};

/// The root of all keys of one person or organization. 32 random bytes, wiped when dropped.
///
/// Independent of the wallet: who signs can change, what was sealed stays readable.
#[derive(Clone)]
pub struct RootSeed(Zeroizing<[u8; 32]>);

impl RootSeed {
    /// A fresh seed.
    ///
    /// # Errors
    ///
    /// [`Error::Randomness`] if the operating system gives none.
    pub fn generate() -> Result<Self, Error> {
        random().map(Self)
    }

    /// A seed that was kept or recovered.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for a keystore or for guardians.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The keys under one id: a patient's pseudonym or an organization.
    pub fn pseudonym(&self, id: Address) -> PatientKeys {
        PatientKeys { seed: self.clone(), id }
    }
}

impl fmt::Debug for RootSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootSeed(..)")
    }
}

/// All keys under one id. Derived when asked for; nothing is kept but the seed.
#[derive(Clone)]
pub struct PatientKeys {
    seed: RootSeed,
    id: Address,
}

impl PatientKeys {
    /// The id that all keys are derived with.
    pub const fn id(&self) -> Address {
        self.id
    }

    /// The key that opens identity wraps and envelopes.
    pub fn identity(&self) -> IdentityKey {
        IdentityKey::from_seed(&self.derive(b"galen.key.identity.v1", &[]))
    }

    /// The key of one segment and epoch.
    pub fn segment(&self, segment: Segment, epoch: u32) -> SegmentKey {
        let mut place = [segment.0; 5];
        place[1..].copy_from_slice(&epoch.to_be_bytes());
        let scalar = self.derive::<64>(b"galen.key.segment.scalar.v1", &place);
        let kem = self.derive::<32>(b"galen.key.segment.kem.v1", &place);
        SegmentKey::derived(segment, epoch, &scalar, &kem)
    }

    /// Which segment stands for which category.
    pub fn segment_map(&self) -> SegmentMap {
        SegmentMap::shuffled(&self.derive(b"galen.key.map.v1", &[]))
    }

    /// The key that seals private data of this id.
    pub fn vault(&self) -> VaultKey {
        VaultKey::from_bytes(self.derive(b"galen.key.vault.v1", &[]))
    }

    /// Secret bytes of the account that announces the archive of the private book. Not the pseudonym's own, so
    /// that nobody links the two by their addresses.
    pub fn archive_key(&self) -> Zeroizing<[u8; 32]> {
        self.derive(b"galen.key.archive.v1", &[])
    }

    /// The seed of the tree of a document that this id signs by parts: `input` and `part` say which document of
    /// an import, `salt` which import. The same again after a crash, so that nothing is signed twice.
    pub fn parts_seed(&self, salt: Salt, input: B256, part: u32) -> Zeroizing<[u8; 32]> {
        let place = [salt.as_bytes().as_slice(), input.as_slice(), &part.to_be_bytes()].concat();
        self.derive(b"galen.key.parts.v1", &place)
    }

    /// The salt of the consent with this number.
    pub fn consent_salt(&self, index: u64) -> Salt {
        self.salt(b"galen.salt.consent.v1", index)
    }

    /// The salt of the guardian commitment with this number.
    pub fn guardian_salt(&self, index: u64) -> Salt {
        self.salt(b"galen.salt.guardian.v1", index)
    }

    fn salt(&self, label: &[u8], index: u64) -> Salt {
        Salt(B256::new(*self.derive(label, &index.to_be_bytes())))
    }

    fn derive<const N: usize>(&self, label: &[u8], place: &[u8]) -> Zeroizing<[u8; N]> {
        hkdf(self.seed.expose(), &[label, self.id.as_slice(), place])
    }
}

impl fmt::Debug for PatientKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PatientKeys({:#x}, ..)", self.id)
    }
}
