//! Capsules: what a proxy transforms, with the proof of who made them and what for.

use std::fmt;

use curve25519_dalek::{RistrettoPoint, Scalar};
use galen_types::Segment;
use zeroize::Zeroizing;

use crate::{
    Error, OpenError,
    content::SealContext,
    keys::point_from_bytes,
    primitives::{random_scalar, scalar_from_sha512},
};

/// A point `E = r·G` with a proof that its maker knows `r`, bound to one record, segment and epoch.
///
/// Anyone can verify it; see the module documentation of [`crate::header`].
#[derive(Clone, PartialEq, Eq)]
pub struct Capsule {
    point: [u8; 32],
    proof: [u8; 64],
}

impl Capsule {
    /// A fresh capsule, with its secret `r`.
    pub(crate) fn create(
        context: &SealContext,
        segment: Segment,
        epoch: u32,
    ) -> Result<(Self, Zeroizing<Scalar>), Error> {
        let secret = random_scalar()?;
        let nonce = random_scalar()?;
        let point = RistrettoPoint::mul_base(&secret).compress().to_bytes();
        let nonce_point = RistrettoPoint::mul_base(&nonce).compress().to_bytes();
        let challenge = challenge(context, segment, epoch, &point, &nonce_point);
        let response = Zeroizing::new(*nonce + challenge * *secret);
        let mut proof = [0; 64];
        proof[..32].copy_from_slice(&nonce_point);
        proof[32..].copy_from_slice(response.as_bytes());
        Ok((Self { point, proof }, secret))
    }

    /// From the two byte strings of a segment wrap. What they are worth, [`Capsule::verify`] says.
    pub const fn from_bytes(point: [u8; 32], proof: [u8; 64]) -> Self {
        Self { point, proof }
    }

    /// The encoding of `E`, 32 bytes.
    pub const fn point(&self) -> &[u8; 32] {
        &self.point
    }

    /// The proof `R ‖ s`, 64 bytes.
    pub const fn proof(&self) -> &[u8; 64] {
        &self.proof
    }

    /// Checks that the capsule was made for this record, segment and epoch by somebody who knows its
    /// secret. A proxy calls this before it transforms.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for every cause.
    pub fn verify(
        &self,
        context: &SealContext,
        segment: Segment,
        epoch: u32,
    ) -> Result<(), OpenError> {
        self.verified_point(context, segment, epoch).map(drop)
    }

    pub(crate) fn verified_point(
        &self,
        context: &SealContext,
        segment: Segment,
        epoch: u32,
    ) -> Result<RistrettoPoint, OpenError> {
        let (nonce_point, response) = self.proof.split_at(32);
        let nonce_point: &[u8; 32] = nonce_point.try_into().expect("half of 64 bytes");
        let response = response.try_into().expect("half of 64 bytes");
        let point = point_from_bytes(&self.point).ok_or(OpenError)?;
        let nonce = point_from_bytes(nonce_point).ok_or(OpenError)?;
        let response =
            Option::<Scalar>::from(Scalar::from_canonical_bytes(response)).ok_or(OpenError)?;
        let challenge = challenge(context, segment, epoch, &self.point, nonce_point);
        // Everything here is public, so the time may vary.
        let expected =
            RistrettoPoint::vartime_double_scalar_mul_basepoint(&-challenge, &point, &response);
        if expected == nonce { Ok(point) } else { Err(OpenError) }
    }
}

impl fmt::Debug for Capsule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Capsule({})", hex::encode(self.point))
    }
}

fn challenge(
    context: &SealContext,
    segment: Segment,
    epoch: u32,
    point: &[u8; 32],
    nonce_point: &[u8; 32],
) -> Scalar {
    scalar_from_sha512(&[
        b"galen.capsule.v1",
        &context.to_bytes(),
        &[segment.0],
        &epoch.to_be_bytes(),
        point,
        nonce_point,
    ])
}
