//! What a proxy answers, and what a reader makes of enough answers.

use std::{collections::BTreeSet, fmt};

use curve25519_dalek::{RistrettoPoint, Scalar, traits::VartimeMultiscalarMul};
use galen_types::Segment;
use zeroize::Zeroizing;

use super::{ProxyShare, ReaderHalf, ShareKeys};
use crate::{
    Capsule, Error, OpenError,
    content::SealContext,
    keys::point_from_bytes,
    primitives::{random_scalar, scalar_from_sha512},
};

/// A proxy's answer for one capsule, with the proof that it is right.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    index: u8,
    point: [u8; 32],
    challenge: [u8; 32],
    response: [u8; 32],
}

impl Answer {
    /// Length of [`Answer::to_bytes`].
    pub const LEN: usize = 97;

    /// Reads an answer. What it is worth, [`Answer::verify`] says.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let (index, rest) = bytes.split_first().expect("97 bytes");
        let (parts, _) = rest.as_chunks::<32>();
        Self { index: *index, point: parts[0], challenge: parts[1], response: parts[2] }
    }

    /// index u8 ‖ `D` ‖ `c` ‖ `s`, 32 bytes each.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [self.index; Self::LEN];
        bytes[1..33].copy_from_slice(&self.point);
        bytes[33..65].copy_from_slice(&self.challenge);
        bytes[65..].copy_from_slice(&self.response);
        bytes
    }

    /// The number of the proxy, in its own word.
    pub const fn index(&self) -> u8 {
        self.index
    }

    /// Checks that the holder of this share answered for this capsule of this record.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for every cause.
    pub fn verify(
        &self,
        keys: &ShareKeys,
        context: &SealContext,
        segment: Segment,
        epoch: u32,
        capsule: &Capsule,
    ) -> Result<(), OpenError> {
        let base = capsule.verified_point(context, segment, epoch)?;
        let place = Place { context, segment, epoch, capsule: capsule.point() };
        self.verified_point(keys, &place, &base).map(drop)
    }

    fn verified_point(
        &self,
        keys: &ShareKeys,
        place: &Place<'_>,
        base: &RistrettoPoint,
    ) -> Result<RistrettoPoint, OpenError> {
        let canonical = |bytes| Option::<Scalar>::from(Scalar::from_canonical_bytes(bytes));
        let key = keys.key(self.index).ok_or(OpenError)?;
        let point = point_from_bytes(&self.point).ok_or(OpenError)?;
        let challenge = canonical(self.challenge).ok_or(OpenError)?;
        let response = canonical(self.response).ok_or(OpenError)?;
        // Everything here is public, so the time may vary.
        let first =
            RistrettoPoint::vartime_double_scalar_mul_basepoint(&-challenge, &key, &response);
        let second =
            RistrettoPoint::vartime_multiscalar_mul([&response, &-challenge], [base, &point]);
        let expected = place.challenge(self.index, &key, &self.point, &first, &second);
        if expected == challenge { Ok(point) } else { Err(OpenError) }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({}, {})", self.index, hex::encode(self.point))
    }
}

impl ProxyShare {
    /// Answers for a capsule, after checking who made it and what for.
    ///
    /// Whoever has enough answers and the reader's half opens the record: a proxy answers only for an access that
    /// it has seen on chain.
    ///
    /// # Errors
    ///
    /// [`Error::Open`] if the capsule is of another record, segment or epoch; [`Error::Randomness`].
    pub fn answer(&self, context: &SealContext, capsule: &Capsule) -> Result<Answer, Error> {
        let (segment, epoch) = (self.segment(), self.epoch());
        let base = capsule.verified_point(context, segment, epoch)?;
        let place = Place { context, segment, epoch, capsule: capsule.point() };
        let nonce = random_scalar()?;
        let point = (base * self.scalar()).compress().to_bytes();
        let key = RistrettoPoint::mul_base(self.scalar());
        let (first, second) = (RistrettoPoint::mul_base(&nonce), base * *nonce);
        let challenge = place.challenge(self.index(), &key, &point, &first, &second);
        let response = Zeroizing::new(*nonce + challenge * self.scalar());
        Ok(Answer {
            index: self.index(),
            point,
            challenge: challenge.to_bytes(),
            response: response.to_bytes(),
        })
    }
}

impl ReaderHalf {
    /// The encoding of the capsule's secret `S`, from as many right answers as it takes. Wrong ones among them are passed over.
    pub(crate) fn combine(
        &self,
        keys: &ShareKeys,
        answers: &[Answer],
        context: &SealContext,
        capsule: &Capsule,
    ) -> Result<Zeroizing<[u8; 32]>, OpenError> {
        let (segment, epoch) = (self.segment(), self.epoch());
        let base = capsule.verified_point(context, segment, epoch)?;
        let place = Place { context, segment, epoch, capsule: capsule.point() };
        let needed = usize::from(keys.threshold());
        let (mut seen, mut points) = (BTreeSet::new(), Vec::with_capacity(needed));
        for answer in answers {
            if points.len() < needed
                && !seen.contains(&answer.index)
                && let Ok(point) = answer.verified_point(keys, &place, &base)
            {
                seen.insert(answer.index);
                points.push((answer.index, point));
            }
        }
        if points.len() < needed {
            return Err(OpenError);
        }
        let indexes: Vec<u8> = points.iter().map(|(index, _)| *index).collect();
        let factors = indexes.iter().map(|index| lagrange(*index, &indexes));
        // Whoever reads the answers on their way knows this sum; only the other half is secret.
        let theirs = RistrettoPoint::vartime_multiscalar_mul(factors, points.iter().map(|it| it.1));
        Ok(Zeroizing::new((theirs + base * self.scalar()).compress().to_bytes()))
    }
}

/// Lagrange's coefficient at 0 of the point at `index`.
fn lagrange(index: u8, indexes: &[u8]) -> Scalar {
    let own = Scalar::from(index);
    let others = indexes.iter().filter(|other| **other != index).map(|other| Scalar::from(*other));
    let (above, below) = others.fold((Scalar::ONE, Scalar::ONE), |(above, below), other| {
        (above * other, below * (other - own))
    });
    above * below.invert()
}

/// What an answer is for.
struct Place<'a> {
    context: &'a SealContext,
    segment: Segment,
    epoch: u32,
    capsule: &'a [u8; 32],
}

impl Place<'_> {
    fn challenge(
        &self,
        index: u8,
        key: &RistrettoPoint,
        point: &[u8; 32],
        first: &RistrettoPoint,
        second: &RistrettoPoint,
    ) -> Scalar {
        scalar_from_sha512(&[
            b"galen.proxy.answer.v1",
            &self.context.to_bytes(),
            &[self.segment.0],
            &self.epoch.to_be_bytes(),
            &[index],
            key.compress().as_bytes(),
            self.capsule,
            point,
            first.compress().as_bytes(),
            second.compress().as_bytes(),
        ])
    }
}
