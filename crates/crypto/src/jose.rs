//! JOSE, as far as SMART Health Links and Cards use it: JWE with `dir` and `A256GCM`, JWS with `ES256`.
//!
//! Nothing is negotiated: a header that names another algorithm is refused, so that nobody who writes a header
//! chooses how it is checked. Base64 is read without padding and with no bit that stands for nothing, so one value
//! has one text.
//!
//! Source: RFC 7515 (JWS), 7516 (JWE), 7517 and 7638 (keys and their thumbprints), 7518 (algorithms), 1951 (DEFLATE).

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use galen_types::{ErrorKind, Plaintext};
use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_with_limit};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    Error,
    primitives::{Gcm, TAG_LEN, random, sha256},
};

/// Longest protected header, in bytes of its JSON.
pub const MAX_HEADER_LEN: usize = 4_096;

/// Length of the nonce of AES-GCM in a JWE, in bytes (RFC 7518, section 5.3).
const IV_LEN: usize = 12;

/// Length of an `ES256` signature, r and s (RFC 7518, section 3.4).
const SIGNATURE_LEN: usize = 64;

/// Why a JWE, a JWS or a key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoseError {
    /// The text has another shape.
    #[error("not a {0}")]
    Malformed(&'static str),
    /// The header asks for something that is not done here.
    #[error("the header's {0} is not the one that is expected")]
    Header(&'static str),
    /// The JWE does not open: another key, or it was changed.
    #[error("the file does not open with this key")]
    DoesNotOpen,
    /// The signature is not by this key over these bytes.
    #[error("the signature does not match")]
    Signature,
    /// Compressed bytes are damaged.
    #[error("compressed bytes are damaged")]
    Inflate,
    /// What is inside is longer than the caller takes.
    #[error("longer than {limit} bytes")]
    TooLong {
        /// The caller's limit, in bytes.
        limit: usize,
    },
    /// A public key breaks a rule.
    #[error("not a usable key: {0}")]
    Key(&'static str),
}

impl JoseError {
    /// What the caller can do about it.
    pub const fn kind(self) -> ErrorKind {
        match self {
            Self::DoesNotOpen | Self::Signature | Self::Inflate => ErrorKind::Integrity,
            Self::Malformed(_) | Self::Header(_) | Self::TooLong { .. } | Self::Key(_) => {
                ErrorKind::Invalid
            }
        }
    }
}

/// The key of one SMART Health Link: whoever has it reads its files. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkKey(..)")
    }
}

impl LinkKey {
    /// A fresh key.
    ///
    /// # Errors
    ///
    /// [`Error::Randomness`].
    pub fn generate() -> Result<Self, Error> {
        Ok(Self(random()?))
    }

    /// Reads the 43 characters of base64url.
    ///
    /// # Errors
    ///
    /// [`JoseError::Key`].
    pub fn from_text(text: &str) -> Result<Self, JoseError> {
        let wrong = JoseError::Key("a link's key has 32 bytes, 43 characters of base64url");
        let mut bytes = Zeroizing::new([0; 32]);
        // The engine wants room for a whole last group.
        let mut room = Zeroizing::new([0; 33]);
        if text.len() != 43 || URL_SAFE_NO_PAD.decode_slice(text, room.as_mut_slice()) != Ok(32) {
            return Err(wrong);
        }
        bytes.copy_from_slice(&room[..32]);
        Ok(Self(bytes))
    }

    /// The 43 characters of base64url.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(self.0.as_slice()))
    }

    /// Encrypts one file of the link as a compact JWE with `dir` and `A256GCM`, a fresh nonce each time.
    ///
    /// The plaintext is not compressed: every viewer reads that, and how well a document compresses says
    /// something about it.
    ///
    /// # Errors
    ///
    /// [`Error::Randomness`].
    pub fn seal(&self, content_type: &str, plaintext: &[u8]) -> Result<String, Error> {
        let header = JweHeader {
            alg: "dir".into(),
            enc: "A256GCM".into(),
            cty: Some(content_type.into()),
            zip: None,
            crit: None,
        };
        let header =
            serde_json::to_vec(&header).map_err(|_| Error::Malformed { what: "header" })?;
        let header = URL_SAFE_NO_PAD.encode(header);
        let iv = *random::<IV_LEN>()?;
        let mut bytes = Zeroizing::new(plaintext.to_vec());
        let tag = Gcm::new(&self.0).seal(iv, header.as_bytes(), &mut bytes);
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        Ok(format!("{header}..{}.{}.{}", encode(&iv), encode(&bytes), encode(&tag)))
    }

    /// Opens a compact JWE with `dir` and `A256GCM`, compressed (`zip` is `DEF`) or not.
    ///
    /// # Errors
    ///
    /// - [`JoseError::Malformed`], [`JoseError::Header`]: no such JWE.
    /// - [`JoseError::DoesNotOpen`]: another key, or a changed file. Nothing is returned then.
    /// - [`JoseError::TooLong`]: more than `limit` bytes come out.
    pub fn open(&self, compact: &str, limit: usize) -> Result<JweFile, JoseError> {
        let parts: Vec<&str> = compact.splitn(6, '.').collect();
        let [header_text, encrypted_key, iv, ciphertext, tag] = parts[..] else {
            return Err(JoseError::Malformed("compact JWE"));
        };
        let header: JweHeader = read_header(header_text)?;
        header.check()?;
        if !encrypted_key.is_empty() {
            return Err(JoseError::Malformed("JWE with `dir`, which carries no encrypted key"));
        }
        if ciphertext.len() / 4 * 3 > limit.saturating_add(2) {
            return Err(JoseError::TooLong { limit });
        }
        let iv: [u8; IV_LEN] =
            decode(iv)?.try_into().map_err(|_| JoseError::Malformed("nonce of 12 bytes"))?;
        let tag: [u8; TAG_LEN] =
            decode(tag)?.try_into().map_err(|_| JoseError::Malformed("tag of 16 bytes"))?;
        let mut bytes = Zeroizing::new(decode(ciphertext)?);
        bytes.extend_from_slice(&tag);
        let opened = Gcm::new(&self.0)
            .open(iv, header_text.as_bytes(), &mut bytes)
            .map_err(|_| JoseError::DoesNotOpen)?;
        let plaintext = match header.zip {
            Some(_) => inflate(opened, limit)?,
            None => opened.to_vec(),
        };
        Ok(JweFile { content_type: header.cty, plaintext: Plaintext::new(plaintext) })
    }
}

/// What a JWE held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JweFile {
    /// The header's `cty`. It is authenticated like the bytes.
    pub content_type: Option<String>,
    /// The bytes.
    pub plaintext: Plaintext,
}

/// Names that are not read here mean nothing; `crit` says that they do (RFC 7515, section 4.1.11).
#[derive(Serialize, Deserialize)]
struct JweHeader {
    alg: String,
    enc: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cty: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crit: Option<Vec<String>>,
}

impl JweHeader {
    fn check(&self) -> Result<(), JoseError> {
        match self {
            Self { alg, .. } if alg != "dir" => Err(JoseError::Header("alg")),
            Self { enc, .. } if enc != "A256GCM" => Err(JoseError::Header("enc")),
            Self { zip: Some(zip), .. } if zip != "DEF" => Err(JoseError::Header("zip")),
            Self { crit: Some(_), .. } => Err(JoseError::Header("crit")),
            _ => Ok(()),
        }
    }
}

/// A public key of `ES256`: a point of P-256. That it lies on the curve is checked where it is used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Es256Key {
    x: [u8; 32],
    y: [u8; 32],
}

impl fmt::Debug for Es256Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Es256Key({})", self.thumbprint())
    }
}

impl Es256Key {
    /// From the members `x` and `y` of a JWK.
    ///
    /// # Errors
    ///
    /// [`JoseError::Key`]: not 32 bytes each.
    pub fn from_coordinates(x: &str, y: &str) -> Result<Self, JoseError> {
        let coordinate = |text| decode(text).ok()?.try_into().ok();
        let point = coordinate(x).zip(coordinate(y));
        let (x, y) = point.ok_or(JoseError::Key("a coordinate of P-256 has 32 bytes"))?;
        Ok(Self { x, y })
    }

    /// The thumbprint (RFC 7638), as base64url: the key's id in SMART Health Cards.
    pub fn thumbprint(&self) -> String {
        let (x, y) = (URL_SAFE_NO_PAD.encode(self.x), URL_SAFE_NO_PAD.encode(self.y));
        let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        URL_SAFE_NO_PAD.encode(sha256(&[members.as_bytes()]))
    }
}

/// A compact JWS with `ES256` whose signature is still to be checked.
#[derive(Clone)]
pub struct CompactJws {
    text: String,
    key_id: String,
    payload: Vec<u8>,
    deflated: bool,
    signature: [u8; SIGNATURE_LEN],
}

impl fmt::Debug for CompactJws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CompactJws({}, {} bytes)", self.key_id, self.text.len())
    }
}

#[derive(Deserialize)]
struct JwsHeader {
    alg: String,
    kid: String,
    zip: Option<String>,
    crit: Option<Vec<String>>,
}

impl CompactJws {
    /// Reads three parts with a dot between them.
    ///
    /// # Errors
    ///
    /// - [`JoseError::Malformed`]: another shape; also a signature in DER, which is not 64 bytes.
    /// - [`JoseError::Header`]: `alg` is not `ES256` (also `none`), `kid` is missing, `zip` or `crit` ask for more.
    pub fn parse(text: &str) -> Result<Self, JoseError> {
        let parts: Vec<&str> = text.splitn(4, '.').collect();
        let [header, payload, signature] = parts[..] else {
            return Err(JoseError::Malformed("compact JWS"));
        };
        let header: JwsHeader = read_header(header)?;
        match &header {
            JwsHeader { alg, .. } if alg != "ES256" => return Err(JoseError::Header("alg")),
            JwsHeader { zip: Some(zip), .. } if zip != "DEF" => {
                return Err(JoseError::Header("zip"));
            }
            JwsHeader { crit: Some(_), .. } => return Err(JoseError::Header("crit")),
            _ => {}
        }
        let signature = decode(signature)?;
        let signature =
            signature.try_into().map_err(|_| JoseError::Malformed("signature of 64 bytes"))?;
        Ok(Self {
            text: text.to_owned(),
            key_id: header.kid,
            payload: decode(payload)?,
            deflated: header.zip.is_some(),
            signature,
        })
    }

    /// The header's `kid`: which key is said to have signed.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Whether the payload is compressed.
    pub const fn is_deflated(&self) -> bool {
        self.deflated
    }

    /// The text that was parsed.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The payload, decompressed. Nobody vouches for it before [`CompactJws::verify`] has passed; it may only say
    /// where to look for the key.
    ///
    /// # Errors
    ///
    /// [`JoseError::Inflate`], [`JoseError::TooLong`]: more than `limit` bytes.
    pub fn payload(&self, limit: usize) -> Result<Plaintext, JoseError> {
        if self.deflated {
            return inflate(&self.payload, limit).map(Plaintext::new);
        }
        if self.payload.len() > limit {
            return Err(JoseError::TooLong { limit });
        }
        Ok(Plaintext::new(self.payload.clone()))
    }

    /// Checks the signature, and that the header names this key.
    ///
    /// # Errors
    ///
    /// [`JoseError::Signature`]; [`JoseError::Header`] if `kid` is not the key's thumbprint.
    pub fn verify(&self, key: &Es256Key) -> Result<(), JoseError> {
        if self.key_id != key.thumbprint() {
            return Err(JoseError::Header("kid"));
        }
        let mut point = [4; 65];
        point[1..33].copy_from_slice(&key.x);
        point[33..].copy_from_slice(&key.y);
        let signed = self.text.rsplit_once('.').map_or("", |(signed, _)| signed);
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(signed.as_bytes(), &self.signature)
            .map_err(|_| JoseError::Signature)
    }
}

fn decode(text: &str) -> Result<Vec<u8>, JoseError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| JoseError::Malformed("base64url text"))
}

fn read_header<T>(text: &str) -> Result<T, JoseError>
where
    T: serde::de::DeserializeOwned,
{
    if text.len() > MAX_HEADER_LEN {
        return Err(JoseError::TooLong { limit: MAX_HEADER_LEN });
    }
    // A header without a member that must be there reads as no header. Members that come twice are refused, too.
    serde_json::from_slice(&decode(text)?).map_err(|_| JoseError::Malformed("protected header"))
}

/// Decompresses at most `limit` bytes; a bomb costs no more than that.
fn inflate(bytes: &[u8], limit: usize) -> Result<Vec<u8>, JoseError> {
    decompress_to_vec_with_limit(bytes, limit).map_err(|mut error| {
        error.output.zeroize();
        match error.status {
            TINFLStatus::HasMoreOutput => JoseError::TooLong { limit },
            _ => JoseError::Inflate,
        }
    })
}

#[cfg(test)]
mod tests;
