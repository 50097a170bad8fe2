//! The passcode of a link, as a server keeps it.

use std::fmt;

use alloy_primitives::{B256, FixedBytes};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{Error, primitives};

/// scrypt: N is 2^14, which takes 16 MB and some tens of milliseconds. What stops guessing is the number of
/// attempts that a server allows; the hash only slows down who reads the server's disk.
const LOG_N: u8 = 14;

/// The salted hash of a passcode (scrypt, RFC 7914, N = 2^14, r = 8, p = 1), as hex in JSON.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasscodeHash {
    salt: FixedBytes<16>,
    hash: B256,
}

impl PasscodeHash {
    /// Hashes a passcode with a fresh salt.
    ///
    /// # Errors
    ///
    /// [`Error::Randomness`].
    pub fn new(passcode: &str) -> Result<Self, Error> {
        let salt = *primitives::random::<16>()?;
        Ok(Self { salt: salt.into(), hash: (*scrypt(passcode, &salt)).into() })
    }

    /// Whether this is the passcode. Takes the same time for a wrong one.
    pub fn fits(&self, passcode: &str) -> bool {
        scrypt(passcode, &self.salt.0).ct_eq(&self.hash.0).into()
    }
}

impl fmt::Debug for PasscodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasscodeHash(..)")
    }
}

fn scrypt(passcode: &str, salt: &[u8; 16]) -> Zeroizing<[u8; 32]> {
    let params =
        scrypt::Params::new(LOG_N, 8, 1).expect("the parameters are within scrypt's range");
    let mut hash = Zeroizing::new([0; 32]);
    scrypt::scrypt(passcode.as_bytes(), salt, &params, hash.as_mut_slice())
        .expect("32 bytes are within scrypt's range");
    hash
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

    use super::*;

    #[test]
    fn passcodes_fit_their_hash_alone() {
        let (hash, other) =
            (PasscodeHash::new("1234").unwrap(), PasscodeHash::new("1234").unwrap());
        assert_ne!(hash, other, "the salt is fresh");
        let text = serde_json::to_string(&hash).unwrap();
        let hash: PasscodeHash = serde_json::from_str(&text).unwrap();
        for (passcode, fits) in
            [("1234", true), ("12345", false), ("123", false), ("", false), ("1234 ", false)]
        {
            assert_eq!(hash.fits(passcode), fits, "{passcode}");
        }
        assert!(!format!("{hash:?}").contains(text.split('"').nth(3).unwrap()));
    }
}
