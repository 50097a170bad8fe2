//! Secrets at rest: Web3 Secret Storage, version 3, as geth, Foundry and most wallets read it.
//!
//! 32 bytes under AES-128-CTR, with a key from a password by scrypt (RFC 7914) or, in files of others,
//! PBKDF2-HMAC-SHA256 (RFC 8018). `mac = keccak256(derived key 16..32 ‖ ciphertext)`. Writing the file,
//! with mode 0600 and in one rename, is the caller's.

use std::fmt;

use alloy_primitives::{Address, Keccak256};
use aws_lc_rs::{
    cipher::{AES_128, DecryptingKey, DecryptionContext, UnboundCipherKey},
    pbkdf2,
};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{Error, primitives::random};

/// Most bytes of memory that a keystore may ask for: scrypt with N = 2^20 and r = 8.
pub const MAX_SCRYPT_MEMORY: u64 = 1 << 30;

const MAX_SCRYPT_LOG_N: u32 = 20;
const MAX_SCRYPT_P: u32 = 16;
const MAX_PBKDF2_ROUNDS: u32 = 10_000_000;
/// A keystore has about 500 bytes; this leaves room for what other wallets add.
const MAX_JSON_LEN: usize = 1 << 16;

/// How hard it is to try a password. r = 8 and p = 1 as in every wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    log_n: u8,
}

impl Default for Cost {
    /// N = 2^17: about half a second and 128 MiB a try.
    fn default() -> Self {
        Self { log_n: 17 }
    }
}

impl Cost {
    /// N = 2^`log_n`, 1..=20. Below 17 for tests only.
    ///
    /// # Errors
    ///
    /// [`Error::Keystore`] outside of these bounds.
    pub const fn from_log_n(log_n: u8) -> Result<Self, Error> {
        match log_n {
            1..=20 => Ok(Self { log_n }),
            _ => Err(Error::Keystore { fault: "scrypt N is not 2^1 to 2^20" }),
        }
    }
}

/// An encrypted secret of 32 bytes, as it stands in a file.
#[derive(Clone, Serialize, Deserialize)]
pub struct Keystore {
    version: u8,
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    // Early versions of geth wrote a capital.
    #[serde(alias = "Crypto")]
    crypto: Crypto,
}

#[derive(Clone, Serialize, Deserialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParams,
    ciphertext: String,
    kdf: String,
    kdfparams: KdfParams,
    mac: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct CipherParams {
    iv: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct KdfParams {
    dklen: u32,
    salt: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    r: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    c: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prf: Option<String>,
}

impl Keystore {
    /// Encrypts a secret. `address` is written in clear, so that a wallet can show whose it is.
    ///
    /// # Errors
    ///
    /// [`Error::Randomness`].
    pub fn encrypt(
        secret: &[u8; 32],
        password: &[u8],
        address: Option<Address>,
        cost: Cost,
    ) -> Result<Self, Error> {
        let salt = random::<32>()?;
        let iv = random::<16>()?;
        let kdfparams = KdfParams {
            dklen: 32,
            salt: hex::encode(salt.as_slice()),
            n: Some(1 << cost.log_n),
            r: Some(8),
            p: Some(1),
            c: None,
            prf: None,
        };
        let derived = derive("scrypt", &kdfparams, password)?;
        let mut ciphertext = *secret;
        aes_128_ctr(&derived, *iv, &mut ciphertext);
        let crypto = Crypto {
            cipher: "aes-128-ctr".to_owned(),
            cipherparams: CipherParams { iv: hex::encode(iv.as_slice()) },
            ciphertext: hex::encode(ciphertext),
            kdf: "scrypt".to_owned(),
            kdfparams,
            mac: hex::encode(mac(&derived, &ciphertext)),
        };
        let address = address.map(hex::encode);
        Ok(Self { version: 3, id: uuid_v4()?, address, crypto })
    }

    /// The secret.
    ///
    /// Costs what the file asks for, up to N = 2^20, [`MAX_SCRYPT_MEMORY`] and ten million rounds of PBKDF2.
    ///
    /// # Errors
    ///
    /// - [`Error::Password`]: the password is wrong or the file was changed; nobody can tell which.
    /// - [`Error::Keystore`]: the file is of another kind or asks for too much.
    pub fn decrypt(&self, password: &[u8]) -> Result<Zeroizing<[u8; 32]>, Error> {
        let Crypto { cipher, cipherparams, ciphertext, kdf, kdfparams, mac: expected } =
            &self.crypto;
        if cipher != "aes-128-ctr" {
            return Err(Error::Keystore { fault: "cipher is not aes-128-ctr" });
        }
        let iv = unhex(&cipherparams.iv, "iv is not 16 bytes of hex")?;
        let ciphertext: [u8; 32] = unhex(ciphertext, "ciphertext is not 32 bytes of hex")?;
        let expected: [u8; 32] = unhex(expected, "mac is not 32 bytes of hex")?;
        let derived = derive(kdf, kdfparams, password)?;
        if !bool::from(mac(&derived, &ciphertext).ct_eq(&expected)) {
            return Err(Error::Password);
        }
        let mut secret = Zeroizing::new(ciphertext);
        aes_128_ctr(&derived, iv, &mut secret);
        Ok(secret)
    }

    /// The address that the file names in clear, if it does. Nothing vouches for it.
    pub fn address(&self) -> Option<Address> {
        self.address.as_ref().and_then(|text| unhex(text, "").ok()).map(Address::new)
    }

    /// Whether trying a password costs at least what Galen's own files ask for: scrypt with N = 2^17.
    pub fn is_costly(&self) -> bool {
        let KdfParams { n, r, .. } = &self.crypto.kdfparams;
        n.is_some_and(|n| n >= 1 << 17) && r.is_some_and(|r| r >= 8)
    }

    /// The text of the file.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("strings and numbers always serialize")
    }

    /// Reads the text of a file. Keys that other wallets add are ignored.
    ///
    /// # Errors
    ///
    /// [`Error::Keystore`].
    pub fn from_json(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_JSON_LEN {
            return Err(Error::Keystore { fault: "file is too long" });
        }
        let keystore: Self = serde_json::from_str(text)
            .map_err(|_| Error::Keystore { fault: "not the JSON of a V3 keystore" })?;
        if keystore.version != 3 {
            return Err(Error::Keystore { fault: "version is not 3" });
        }
        Ok(keystore)
    }
}

impl fmt::Debug for Keystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keystore({})", self.address.as_deref().unwrap_or("no address"))
    }
}

/// 32 bytes from the password: the AES key and the key of the mac.
fn derive(kdf: &str, params: &KdfParams, password: &[u8]) -> Result<Zeroizing<[u8; 32]>, Error> {
    if params.dklen != 32 {
        return Err(Error::Keystore { fault: "dklen is not 32" });
    }
    let salt = hex::decode(strip_0x(&params.salt))
        .map_err(|_| Error::Keystore { fault: "salt is not hex" })?;
    let mut derived = Zeroizing::new([0; 32]);
    match (kdf, params) {
        ("scrypt", KdfParams { n: Some(n), r: Some(r), p: Some(p), .. }) => {
            let params = scrypt_params(*n, *r, *p)?;
            scrypt::scrypt(password, &salt, &params, derived.as_mut_slice())
                .expect("32 bytes are a length that scrypt gives");
        }
        ("pbkdf2", KdfParams { c: Some(c), prf: Some(prf), .. }) if prf == "hmac-sha256" => {
            let rounds = std::num::NonZeroU32::new(*c)
                .filter(|rounds| rounds.get() <= MAX_PBKDF2_ROUNDS)
                .ok_or(Error::Keystore { fault: "pbkdf2 asks for no or too many rounds" })?;
            let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
            pbkdf2::derive(algorithm, rounds, &salt, password, derived.as_mut_slice());
        }
        _ => return Err(Error::Keystore { fault: "key derivation is neither scrypt nor pbkdf2" }),
    }
    Ok(derived)
}

fn scrypt_params(n: u32, r: u32, p: u32) -> Result<scrypt::Params, Error> {
    let fault = "scrypt asks for impossible or too large parameters";
    let memory = 128 * u64::from(n) * u64::from(r);
    let log_n = n.checked_ilog2().filter(|log_n| (1..=MAX_SCRYPT_LOG_N).contains(log_n));
    let (true, Some(log_n)) = (n.is_power_of_two(), log_n) else {
        return Err(Error::Keystore { fault });
    };
    if memory > MAX_SCRYPT_MEMORY || !(1..=MAX_SCRYPT_P).contains(&p) {
        return Err(Error::Keystore { fault });
    }
    let log_n = u8::try_from(log_n).expect("at most 20");
    scrypt::Params::new(log_n, r, p).map_err(|_| Error::Keystore { fault })
}

fn mac(derived: &[u8; 32], ciphertext: &[u8; 32]) -> [u8; 32] {
    let mut hash = Keccak256::new();
    hash.update(&derived[16..]);
    hash.update(ciphertext);
    hash.finalize().0
}

/// Counter mode: encrypts and decrypts.
fn aes_128_ctr(derived: &[u8; 32], iv: [u8; 16], bytes: &mut [u8; 32]) {
    let key = UnboundCipherKey::new(&AES_128, &derived[..16]).expect("the key has 16 bytes");
    DecryptingKey::ctr(key)
        .and_then(|key| key.decrypt(bytes, DecryptionContext::Iv128(iv.into())).map(drop))
        .expect("counter mode takes any two blocks");
}

fn strip_0x(text: &str) -> &str {
    text.strip_prefix("0x").unwrap_or(text)
}

fn unhex<const N: usize>(text: &str, fault: &'static str) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    hex::decode_to_slice(strip_0x(text), &mut bytes).map_err(|_| Error::Keystore { fault })?;
    Ok(bytes)
}

/// A random UUID (RFC 9562, section 5.4).
fn uuid_v4() -> Result<String, Error> {
    let mut bytes = *random::<16>()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex::encode(bytes);
    let parts = [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]];
    Ok(parts.join("-"))
}
