//! A secret of 32 bytes in pieces: seeds, which are no scalars and so have no public side to check against.
//!
//! Shamir's sharing, byte by byte, over GF(256) with the polynomial x^8 + x^4 + x^3 + x + 1; the piece with index i
//! is the value at i. With one needed, every piece is the secret.
//!
//! ```text
//! digest  = SHA-256("galen.piece.v1" ‖ index u8 ‖ piece (32))
//! digests = t u8 ‖ digest of piece 1 ‖ … ‖ digest of piece n
//! ```
//!
//! A digest tells a right piece from a wrong one and, since pieces of a uniform secret are uniform, nothing else.

use std::{collections::BTreeSet, fmt};

use subtle::ConstantTimeEq;
use vsss_rs::Gf256;
use zeroize::Zeroizing;

use crate::{
    Error, OpenError,
    primitives::{DrawnRandomness, sha256},
};

/// Most pieces of one secret.
pub const MAX_PIECES: u8 = 32;

/// Bytes of randomness that one coefficient takes.
const COEFFICIENT_LEN: usize = 4;

/// One piece of a secret of 32 bytes. Wiped when dropped.
#[derive(Clone)]
pub struct SecretPiece {
    index: u8,
    bytes: Zeroizing<[u8; 32]>,
}

impl SecretPiece {
    /// Length of [`SecretPiece::to_bytes`].
    pub const LEN: usize = 33;

    /// Reads a piece. Whether it is the right one, [`PieceDigests::holds`] says.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] unless 1 ≤ index ≤ [`MAX_PIECES`].
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Result<Self, Error> {
        let (index, bytes) = bytes.split_first().expect("33 bytes");
        if !(1..=MAX_PIECES).contains(index) {
            return Err(Error::Malformed { what: "piece of a secret" });
        }
        let bytes = Zeroizing::new(bytes.try_into().expect("32 of 33 bytes"));
        Ok(Self { index: *index, bytes })
    }

    /// index u8 ‖ piece (32).
    pub fn to_bytes(&self) -> Zeroizing<[u8; Self::LEN]> {
        let mut bytes = Zeroizing::new([self.index; Self::LEN]);
        bytes[1..].copy_from_slice(self.bytes.as_slice());
        bytes
    }

    /// The piece's number, from 1.
    pub const fn index(&self) -> u8 {
        self.index
    }

    fn digest(&self) -> [u8; 32] {
        sha256(&[b"galen.piece.v1", &[self.index], self.bytes.as_slice()])
    }
}

impl fmt::Debug for SecretPiece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretPiece({}, ..)", self.index)
    }
}

/// How many pieces of a secret there are, how many are needed, and how to tell them.
#[derive(Clone, PartialEq, Eq)]
pub struct PieceDigests {
    threshold: u8,
    digests: Vec<[u8; 32]>,
}

impl PieceDigests {
    /// Reads the bytes that [`PieceDigests::to_bytes`] gives.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for a wrong length or count.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Self::read(bytes).ok_or(Error::Malformed { what: "digests of pieces" })
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (threshold, rest) = bytes.split_first()?;
        let (digests, tail) = rest.as_chunks::<32>();
        let count = u8::try_from(digests.len()).ok()?;
        let fits = tail.is_empty() && (1..=count).contains(threshold) && count <= MAX_PIECES;
        fits.then(|| Self { threshold: *threshold, digests: digests.to_vec() })
    }

    /// threshold u8 ‖ digests, 32 bytes each.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.threshold];
        self.digests.iter().for_each(|digest| bytes.extend(digest));
        bytes
    }

    /// How many pieces it takes.
    pub const fn threshold(&self) -> u8 {
        self.threshold
    }

    /// How many pieces there are.
    pub fn count(&self) -> u8 {
        u8::try_from(self.digests.len()).expect("at most 32")
    }

    /// Whether this is the piece of its number.
    pub fn holds(&self, piece: &SecretPiece) -> bool {
        let digest = usize::from(piece.index).checked_sub(1).and_then(|at| self.digests.get(at));
        digest.is_some_and(|digest| digest.ct_eq(&piece.digest()).into())
    }
}

impl fmt::Debug for PieceDigests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PieceDigests({} of {})", self.threshold, self.digests.len())
    }
}

/// Splits a secret of 32 uniform bytes. A second call gives pieces that do not fit those of the first.
///
/// # Errors
///
/// [`Error::Threshold`] unless 1 ≤ threshold ≤ count ≤ [`MAX_PIECES`]; [`Error::Randomness`].
pub fn split_secret(
    secret: &[u8; 32],
    threshold: u8,
    count: u8,
) -> Result<(Vec<SecretPiece>, PieceDigests), Error> {
    let refused = Error::Threshold { threshold, proxies: count, max: MAX_PIECES };
    if threshold == 0 || threshold > count || count > MAX_PIECES {
        return Err(refused);
    }
    let values = if threshold == 1 {
        Zeroizing::new((1..=count).map(|index| [&[index], secret.as_slice()].concat()).collect())
    } else {
        let coefficients = secret.len() * usize::from(threshold - 1);
        let randomness = &mut DrawnRandomness::draw(COEFFICIENT_LEN * coefficients)?;
        let (threshold, count) = (usize::from(threshold), usize::from(count));
        let values = Gf256::split_bytes(threshold, count, secret, randomness);
        Zeroizing::new(values.map_err(|_| refused)?)
    };
    let pieces: Vec<SecretPiece> = values
        .iter()
        .map(|value| SecretPiece::from_bytes(value.as_slice().try_into().expect("33 bytes")))
        .collect::<Result<_, _>>()?;
    let digests = pieces.iter().map(SecretPiece::digest).collect();
    Ok((pieces, PieceDigests { threshold, digests }))
}

/// The secret, from as many right pieces as it takes. Wrong ones and repetitions among them are passed over.
///
/// # Errors
///
/// [`OpenError`] if there are too few.
pub fn join_secret(
    digests: &PieceDigests,
    pieces: &[SecretPiece],
) -> Result<Zeroizing<[u8; 32]>, OpenError> {
    let needed = usize::from(digests.threshold);
    let mut seen = BTreeSet::new();
    let right = pieces.iter().filter(|piece| digests.holds(piece) && seen.insert(piece.index));
    let values: Vec<Vec<u8>> = right.take(needed).map(|piece| piece.to_bytes().to_vec()).collect();
    let values = Zeroizing::new(values);
    let joined = match values.as_slice() {
        found if found.len() < needed => return Err(OpenError),
        [only] => Zeroizing::new(only[1..].to_vec()),
        found => Zeroizing::new(Gf256::combine_bytes(found).map_err(|_| OpenError)?),
    };
    Ok(Zeroizing::new(joined.as_slice().try_into().map_err(|_| OpenError)?))
}
