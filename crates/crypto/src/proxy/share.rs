//! How a segment's secret is split, and who holds what.

use std::fmt;

use curve25519_dalek::{
    RistrettoPoint, Scalar,
    traits::{IsIdentity, VartimeMultiscalarMul},
};
use galen_types::Segment;
use subtle::ConstantTimeEq;
use x_wing::KeyExport;
use zeroize::Zeroizing;

use super::{PieceDigests, SecretPiece, split_secret};
use crate::{
    Error, SegmentKey, SegmentPublic,
    keys::{KemSecret, SEGMENT_SECRET_LEN, point_from_bytes},
    primitives::random_scalar,
};

/// Most proxies of one grant.
pub const MAX_PROXIES: u8 = 32;

/// One grant's split of a segment's secret.
#[derive(Debug)]
pub struct KeySplit {
    /// For the reader, or for nobody if the proxies hold the whole secret.
    pub half: ReaderHalf,
    /// For the proxies, in the order of their indexes.
    pub shares: Vec<ProxyShare>,
    /// For everybody who has one of the others.
    pub keys: ShareKeys,
}

impl SegmentKey {
    /// Splits the secret for one grant. A second call gives shares that do not fit those of the first.
    ///
    /// # Errors
    ///
    /// [`Error::Threshold`] unless 1 ≤ threshold ≤ proxies ≤ [`MAX_PROXIES`]; [`Error::Randomness`].
    pub fn split(&self, threshold: u8, proxies: u8) -> Result<KeySplit, Error> {
        self.split_at(random_scalar()?, threshold, proxies)
    }

    /// Gives the proxies the whole secret: for a segment that a whole network may read.
    ///
    /// # Errors
    ///
    /// As [`SegmentKey::split`].
    pub fn share_whole(&self, threshold: u8, proxies: u8) -> Result<KeySplit, Error> {
        self.split_at(Zeroizing::new(Scalar::ZERO), threshold, proxies)
    }

    /// Splits the X-Wing seed among the proxies that [`SegmentKey::share_whole`] shares the scalar among.
    ///
    /// # Errors
    ///
    /// As [`SegmentKey::split`].
    pub fn split_kem(
        &self,
        threshold: u8,
        proxies: u8,
    ) -> Result<(Vec<SecretPiece>, PieceDigests), Error> {
        split_secret(self.kem().as_bytes(), threshold, proxies)
    }

    fn split_at(
        &self,
        half: Zeroizing<Scalar>,
        threshold: u8,
        proxies: u8,
    ) -> Result<KeySplit, Error> {
        if threshold == 0 || threshold > proxies || proxies > MAX_PROXIES {
            return Err(Error::Threshold { threshold, proxies, max: MAX_PROXIES });
        }
        let mut coefficients = Zeroizing::new(vec![self.scalar() - *half]);
        for _ in 1..threshold {
            coefficients.push(*random_scalar()?);
        }
        let points = coefficients.iter().map(RistrettoPoint::mul_base).collect();
        let keys = ShareKeys::new(points, proxies).ok_or(Error::Randomness)?;
        let shares = (1..=proxies).map(|index| ProxyShare {
            index,
            segment: self.segment(),
            epoch: self.epoch(),
            scalar: Zeroizing::new(evaluate(&coefficients, index)),
        });
        Ok(KeySplit {
            half: ReaderHalf {
                segment: self.segment(),
                epoch: self.epoch(),
                scalar: half,
                kem: self.kem().clone(),
            },
            shares: shares.collect(),
            keys,
        })
    }
}

/// The polynomial with these coefficients at `index`, in a time that depends on their number only.
fn evaluate(coefficients: &[Scalar], index: u8) -> Scalar {
    let at = Scalar::from(index);
    coefficients.iter().rev().fold(Scalar::ZERO, |sum, coefficient| sum * at + coefficient)
}

/// What a reader holds of a segment and epoch: alone it opens nothing. Wiped when dropped.
#[derive(Clone)]
pub struct ReaderHalf {
    segment: Segment,
    epoch: u32,
    scalar: Zeroizing<Scalar>,
    kem: KemSecret,
}

impl ReaderHalf {
    /// Reads the bytes that [`ReaderHalf::expose`] gives.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] if the scalar is not below the order of the group.
    pub fn from_bytes(
        segment: Segment,
        epoch: u32,
        bytes: &[u8; SEGMENT_SECRET_LEN],
    ) -> Result<Self, Error> {
        let (scalar, kem) = bytes.split_first_chunk::<32>().expect("64 bytes hold 32");
        let kem: &[u8; 32] = kem.try_into().expect("half of 64 bytes");
        let scalar = Option::<Scalar>::from(Scalar::from_canonical_bytes(*scalar))
            .ok_or(Error::Malformed { what: "reader's half of a segment key" })?;
        Ok(Self { segment, epoch, scalar: Zeroizing::new(scalar), kem: kem.into() })
    }

    /// What a reader uses for a segment that is open to all: zero, and the X-Wing seed that the pieces of
    /// enough proxies gave (see [`SegmentKey::split_kem`]).
    pub fn of_network(segment: Segment, epoch: u32, seed: &[u8; 32]) -> Self {
        Self { segment, epoch, scalar: Zeroizing::new(Scalar::ZERO), kem: seed.into() }
    }

    /// The bytes, for an envelope: scalar (32, little endian) ‖ X-Wing seed (32).
    pub fn expose(&self) -> Zeroizing<[u8; SEGMENT_SECRET_LEN]> {
        let mut bytes = Zeroizing::new([0; SEGMENT_SECRET_LEN]);
        bytes[..32].copy_from_slice(self.scalar.as_bytes());
        bytes[32..].copy_from_slice(self.kem.as_bytes());
        bytes
    }

    /// The segment.
    pub const fn segment(&self) -> Segment {
        self.segment
    }

    /// The epoch.
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether this half and the shares behind `keys` make up the secret behind a published key. A reader
    /// asks when it takes a grant, so that a grant that never opens anything is known at once.
    pub fn completes(&self, keys: &ShareKeys, public: &SegmentPublic) -> bool {
        let sum = RistrettoPoint::mul_base(&self.scalar) + keys.coefficients[0];
        let kem: &[u8] = &self.kem.encapsulation_key().to_bytes();
        sum == *public.point() && bool::from(kem.ct_eq(public.kem_bytes().as_slice()))
    }

    pub(crate) fn scalar(&self) -> &Scalar {
        &self.scalar
    }

    pub(crate) const fn kem(&self) -> &KemSecret {
        &self.kem
    }
}

impl fmt::Debug for ReaderHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReaderHalf(segment {}, epoch {}, ..)", self.segment, self.epoch)
    }
}

/// What one proxy holds for one grant. Wiped when dropped.
#[derive(Clone)]
pub struct ProxyShare {
    index: u8,
    segment: Segment,
    epoch: u32,
    scalar: Zeroizing<Scalar>,
}

impl ProxyShare {
    /// Reads the scalar that [`ProxyShare::expose`] gives.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] if the index is zero, or the scalar is zero or not below the order of the group.
    pub fn from_bytes(
        index: u8,
        segment: Segment,
        epoch: u32,
        scalar: &[u8; 32],
    ) -> Result<Self, Error> {
        let scalar = Option::<Scalar>::from(Scalar::from_canonical_bytes(*scalar))
            .filter(|scalar| *scalar != Scalar::ZERO && (1..=MAX_PROXIES).contains(&index))
            .ok_or(Error::Malformed { what: "proxy's share of a segment key" })?;
        Ok(Self { index, segment, epoch, scalar: Zeroizing::new(scalar) })
    }

    /// The scalar, 32 bytes, little endian.
    pub fn expose(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.scalar.to_bytes())
    }

    /// The proxy's number in this grant, from 1.
    pub const fn index(&self) -> u8 {
        self.index
    }

    /// The segment.
    pub const fn segment(&self) -> Segment {
        self.segment
    }

    /// The epoch.
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether this is the share that `keys` name. A proxy asks before it keeps one.
    pub fn fits(&self, keys: &ShareKeys) -> bool {
        keys.key(self.index) == Some(RistrettoPoint::mul_base(&self.scalar))
    }

    pub(super) fn scalar(&self) -> &Scalar {
        &self.scalar
    }
}

impl fmt::Debug for ProxyShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, segment, epoch, .. } = self;
        write!(f, "ProxyShare({index}, segment {segment}, epoch {epoch}, ..)")
    }
}

/// The public side of a split: how many proxies there are, how many are needed, and against what their
/// answers are checked.
#[derive(Clone, PartialEq, Eq)]
pub struct ShareKeys {
    /// `C_0` to `C_(t-1)`.
    coefficients: Vec<RistrettoPoint>,
    proxies: u8,
    /// `P_1` to `P_n`.
    keys: Vec<RistrettoPoint>,
}

impl ShareKeys {
    /// `None` if a share is zero, which does not happen.
    fn new(coefficients: Vec<RistrettoPoint>, proxies: u8) -> Option<Self> {
        let at = |index: u8| {
            let step = Scalar::from(index);
            let powers = std::iter::successors(Some(Scalar::ONE), |power| Some(power * step));
            let powers: Vec<Scalar> = powers.take(coefficients.len()).collect();
            // Everything here is public, so the time may vary.
            RistrettoPoint::vartime_multiscalar_mul(&powers, &coefficients)
        };
        let keys: Vec<_> = (1..=proxies).map(at).collect();
        let there = !keys.iter().any(IsIdentity::is_identity);
        there.then_some(Self { coefficients, proxies, keys })
    }

    /// Reads the bytes that [`ShareKeys::to_bytes`] gives.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for a wrong length or count, for a point that is the identity or not canonical, and if
    /// a share would be zero.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Self::read(bytes).ok_or(Error::Malformed { what: "keys of proxies' shares" })
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let ([threshold, proxies], rest) = bytes.split_first_chunk::<2>()?;
        let counts = (1..=*proxies).contains(threshold) && *proxies <= MAX_PROXIES;
        let (points, tail) = rest.as_chunks::<32>();
        if !counts || points.len() != usize::from(*threshold) || !tail.is_empty() {
            return None;
        }
        let coefficients = points.iter().map(point_from_bytes).collect::<Option<Vec<_>>>()?;
        Self::new(coefficients, *proxies)
    }

    /// threshold u8 ‖ proxies u8 ‖ `C_0` ‖ … ‖ `C_(t-1)`, 32 bytes each.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.threshold(), self.proxies];
        self.coefficients.iter().for_each(|point| bytes.extend(point.compress().as_bytes()));
        bytes
    }

    /// How many answers it takes.
    pub fn threshold(&self) -> u8 {
        u8::try_from(self.coefficients.len()).expect("at most as many as proxies")
    }

    /// How many proxies there are.
    pub const fn proxies(&self) -> u8 {
        self.proxies
    }

    /// The key of a share.
    pub(super) fn key(&self, index: u8) -> Option<RistrettoPoint> {
        self.keys.get(usize::from(index.checked_sub(1)?)).copied()
    }
}

impl fmt::Debug for ShareKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShareKeys({} of {})", self.threshold(), self.proxies)
    }
}
