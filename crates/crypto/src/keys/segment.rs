//! The two pairs of a segment and epoch: ristretto255, which proxies can split, and X-Wing.

use std::fmt;

use curve25519_dalek::{
    RistrettoPoint, Scalar, ristretto::CompressedRistretto, traits::IsIdentity,
};
use galen_types::Segment;
use x_wing::{EncapsulationKey, KeyExport};
use zeroize::Zeroizing;

use crate::{
    Error,
    keys::{IDENTITY_PUBLIC_LEN, KemSecret},
};

/// Length of [`SegmentKey::expose`], in bytes: scalar (32, little endian) ‖ X-Wing seed (32).
pub const SEGMENT_SECRET_LEN: usize = 64;

const KEM_PUBLIC_LEN: usize = IDENTITY_PUBLIC_LEN;

/// A point that is canonical and not the identity (RFC 9496, section 4.3.1).
pub(crate) fn point_from_bytes(bytes: &[u8; 32]) -> Option<RistrettoPoint> {
    CompressedRistretto(*bytes).decompress().filter(|point| !point.is_identity())
}

/// The secrets of one segment in one epoch. Wiped when dropped.
#[derive(Clone)]
pub struct SegmentKey {
    segment: Segment,
    epoch: u32,
    scalar: Zeroizing<Scalar>,
    kem: KemSecret,
}

impl SegmentKey {
    pub(super) fn derived(segment: Segment, epoch: u32, scalar: &[u8; 64], kem: &[u8; 32]) -> Self {
        let scalar = Zeroizing::new(Scalar::from_bytes_mod_order_wide(scalar));
        Self { segment, epoch, scalar, kem: KemSecret::from(kem) }
    }

    /// Reads the bytes that [`SegmentKey::expose`] gives.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] if the scalar is zero or not below the order of the group.
    pub fn from_bytes(
        segment: Segment,
        epoch: u32,
        bytes: &[u8; SEGMENT_SECRET_LEN],
    ) -> Result<Self, Error> {
        let halves = bytes.split_first_chunk::<32>().expect("64 bytes hold 32");
        let kem: &[u8; 32] = halves.1.try_into().expect("half of 64 bytes");
        let scalar = Option::<Scalar>::from(Scalar::from_canonical_bytes(*halves.0))
            .filter(|scalar| *scalar != Scalar::ZERO)
            .ok_or(Error::Malformed { what: "segment key" })?;
        let scalar = Zeroizing::new(scalar);
        Ok(Self { segment, epoch, scalar, kem: KemSecret::from(kem) })
    }

    /// The bytes, for an envelope: scalar ‖ X-Wing seed.
    pub fn expose(&self) -> Zeroizing<[u8; SEGMENT_SECRET_LEN]> {
        let mut bytes = Zeroizing::new([0; SEGMENT_SECRET_LEN]);
        bytes[..32].copy_from_slice(self.scalar.as_bytes());
        bytes[32..].copy_from_slice(self.kem.as_bytes());
        bytes
    }

    /// The segment that the key opens.
    pub const fn segment(&self) -> Segment {
        self.segment
    }

    /// The epoch that the key opens.
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The halves to publish.
    pub fn public(&self) -> SegmentPublic {
        SegmentPublic::new(RistrettoPoint::mul_base(&self.scalar), self.kem.encapsulation_key())
    }

    pub(crate) fn scalar(&self) -> &Scalar {
        &self.scalar
    }

    pub(crate) const fn kem(&self) -> &KemSecret {
        &self.kem
    }
}

impl fmt::Debug for SegmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SegmentKey(segment {}, epoch {}, ..)", self.segment, self.epoch)
    }
}

/// The public halves of a segment and epoch: a point (32 bytes) and an X-Wing key (1,216 bytes).
#[derive(Clone)]
pub struct SegmentPublic {
    point: RistrettoPoint,
    point_bytes: [u8; 32],
    kem: EncapsulationKey,
    kem_bytes: Box<[u8; KEM_PUBLIC_LEN]>,
}

impl SegmentPublic {
    fn new(point: RistrettoPoint, kem: &EncapsulationKey) -> Self {
        Self {
            point,
            point_bytes: point.compress().to_bytes(),
            kem: kem.clone(),
            kem_bytes: Box::new(kem.to_bytes().into()),
        }
    }

    /// Reads the two public keys.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] if the point is the identity or not canonical, or if a coefficient of the
    /// ML-KEM part is not reduced.
    pub fn from_bytes(point: &[u8; 32], kem: &[u8; KEM_PUBLIC_LEN]) -> Result<Self, Error> {
        let error = Error::Malformed { what: "segment public key" };
        let Some(point) = point_from_bytes(point) else { return Err(error) };
        let Ok(key) = EncapsulationKey::try_from(kem.as_slice()) else { return Err(error) };
        Ok(Self::new(point, &key))
    }

    /// The point `A`, 32 bytes.
    pub const fn point_bytes(&self) -> &[u8; 32] {
        &self.point_bytes
    }

    /// The X-Wing public key, 1,216 bytes.
    pub const fn kem_bytes(&self) -> &[u8; KEM_PUBLIC_LEN] {
        &self.kem_bytes
    }

    pub(crate) const fn point(&self) -> &RistrettoPoint {
        &self.point
    }

    pub(crate) const fn kem(&self) -> &EncapsulationKey {
        &self.kem
    }
}

impl PartialEq for SegmentPublic {
    fn eq(&self, other: &Self) -> bool {
        self.point_bytes == other.point_bytes && self.kem_bytes == other.kem_bytes
    }
}

impl Eq for SegmentPublic {}

impl fmt::Debug for SegmentPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SegmentPublic({}, ..)", hex::encode(self.point_bytes))
    }
}
