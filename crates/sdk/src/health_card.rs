//! SMART Health Cards: signed FHIR bundles that fit into QR codes, verified before anything is made of them.
//!
//! A card is a JWS by its issuer's key. What is checked, in this order: the shape of the JWS, its issuer, a key of
//! that issuer with the id that the card names, the signature, the time, the issuer's revocation list, the bundle.
//! Certificates (`x5c`) are not judged: the keys that the caller gives are the trust.
//!
//! Source: HL7 SMART Health Cards and Links, "SMART Health Cards"; `docs/protocol.md` says what is judged otherwise.

mod fetch;
mod keys;
mod source;

use std::fmt;

use galen_crypto::jose::{CompactJws, JoseError};
use galen_fhir::{Document, FhirError, Resource};
use galen_types::{ErrorKind, Plaintext};
use serde::Deserialize;
use serde_json::{Number, value::RawValue};

pub use self::{
    fetch::fetch_issuer_keys,
    keys::{IssuerKeys, MAX_ISSUER_FILE_LEN},
    source::{MAX_CARD_INPUT_LEN, MAX_CARDS, is_card_input, read_cards},
};

/// Longest payload of a card, decompressed, in bytes.
pub const MAX_CARD_PAYLOAD_LEN: usize = 5 << 20;

/// How far a clock may be behind the issuer's, in seconds.
const MAX_SKEW: u64 = 60;

/// The type that every card has.
const CARD_TYPE: &str = "https://smarthealth.cards#health-card";

/// Longest revocation id, in characters.
const MAX_RID_LEN: usize = 24;

/// Why a card is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CardError {
    /// The input holds no cards.
    #[error("no SMART Health Card: {0}")]
    Source(&'static str),
    /// The JWS is not what it must be, or its signature does not match.
    #[error(transparent)]
    Jose(#[from] JoseError),
    /// What the card says breaks a rule of cards.
    #[error("the card breaks a rule: {0}")]
    Claims(&'static str),
    /// The card is by another issuer than the one whose keys these are.
    #[error("the card is by another issuer")]
    OtherIssuer,
    /// The issuer's keys are not usable.
    #[error("the issuer's keys are not usable: {0}")]
    Keys(&'static str),
    /// The issuer has no key with the id that the card names.
    #[error("the issuer has no key with the id that the card names")]
    NoKey,
    /// The card does not hold yet.
    #[error("the card does not hold before {0} (Unix seconds)")]
    NotYet(u64),
    /// The card does not hold any more.
    #[error("the card ended at {0} (Unix seconds)")]
    Expired(u64),
    /// The issuer revoked the card.
    #[error("the issuer has revoked the card")]
    Revoked,
    /// The issuer's revocation list is missing or not what it must be.
    #[error("the issuer's revocation list is not usable: {0}")]
    Revocations(&'static str),
    /// The issuer's address is none that keys are fetched from.
    #[error("keys are fetched from an https address without a slash at its end")]
    Address,
    /// The issuer's keys could not be fetched.
    #[error("the issuer's keys could not be fetched")]
    Network(#[source] reqwest::Error),
    /// The bundle is not acceptable FHIR.
    #[error("the card's bundle is not acceptable FHIR")]
    Bundle(#[from] FhirError),
}

impl CardError {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Jose(error) => error.kind(),
            Self::Source(_)
            | Self::Claims(_)
            | Self::Keys(_)
            | Self::Revocations(_)
            | Self::Address => ErrorKind::Invalid,
            Self::Network(_) => ErrorKind::Unavailable,
            Self::OtherIssuer => ErrorKind::Integrity,
            Self::NoKey => ErrorKind::NotFound,
            Self::NotYet(_) | Self::Expired(_) | Self::Revoked => ErrorKind::Denied,
            Self::Bundle(error) => error.kind(),
        }
    }

    /// One line that says what to do.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Source(_) => {
                "give a .smart-health-card file, the text of the QR code that begins with shc:/, or all of its parts"
            }
            Self::Jose(JoseError::Signature) => {
                "do not rely on it: it was changed, or is not by this issuer"
            }
            Self::Jose(_) | Self::Claims(_) | Self::Bundle(_) => "ask the issuer for a new card",
            Self::OtherIssuer => {
                "give the keys of the issuer that the card names: --issuer-keys and --issuer"
            }
            Self::Address => "give the issuer as its cards name it",
            Self::Network(_) => {
                "check the address of the issuer, or give its keys with --issuer-keys"
            }
            Self::Keys(_) => "give the issuer's .well-known/jwks.json as it is published",
            Self::NoKey => {
                "fetch the issuer's keys again; if the key is not there, the issuer has withdrawn it"
            }
            Self::NotYet(_) => "check the clock of this machine, or wait",
            Self::Expired(_) => "ask the issuer for a card that holds",
            Self::Revoked => "do not rely on it; ask the issuer for a new card",
            Self::Revocations(_) => {
                "give the folder with .well-known/crl as well, or fetch it with --fetch-keys"
            }
        }
    }
}

/// What is known about a card's revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// The issuer keeps no list for this key, or the card has no id to be on one.
    NotOffered,
    /// The issuer keeps a list, and it was not given.
    NotChecked,
    /// The card is not on the issuer's list.
    NotRevoked,
}

impl Revocation {
    /// The word for output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotOffered => "not-offered",
            Self::NotChecked => "not-checked",
            Self::NotRevoked => "not-revoked",
        }
    }
}

/// A card that holds: signed by the issuer's key, in time, not known to be revoked, with a bundle that can be read.
pub struct HealthCard {
    /// URL of the issuer, as the card names it.
    pub issuer: String,
    /// Thumbprint of the key that signed.
    pub key_id: String,
    /// From when it holds, in Unix seconds.
    pub not_before: u64,
    /// Until when, in Unix seconds.
    pub expires: Option<u64>,
    /// What kind of card it says it is.
    pub types: Vec<String>,
    /// Whether it may have been revoked.
    pub revocation: Revocation,
    /// The FHIR bundle, byte for byte.
    pub bundle: Plaintext,
    /// What the bundle has that a card should not have. It holds all the same.
    pub remarks: Vec<&'static str>,
}

impl fmt::Debug for HealthCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HealthCard({}, {:?})", self.key_id, self.bundle)
    }
}

#[derive(Deserialize)]
struct Claims<'a> {
    iss: String,
    nbf: Number,
    exp: Option<Number>,
    #[serde(borrow)]
    vc: Credential<'a>,
}

#[derive(Deserialize)]
struct Credential<'a> {
    #[serde(rename = "type")]
    types: Vec<String>,
    rid: Option<String>,
    #[serde(borrow, rename = "credentialSubject")]
    subject: Subject<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subject<'a> {
    fhir_version: String,
    #[serde(borrow)]
    fhir_bundle: &'a RawValue,
}

/// The issuer that a card names, to find its keys. Nobody vouches for it before [`verify_card`].
///
/// # Errors
///
/// [`CardError::Claims`]: not a URL with `https` that names a place to look for keys.
pub fn card_issuer(card: &CompactJws) -> Result<String, CardError> {
    let payload = card.payload(MAX_CARD_PAYLOAD_LEN)?;
    Ok(claims(&payload)?.iss)
}

/// Verifies a card against its issuer's keys at `now`, in Unix seconds.
///
/// # Errors
///
/// [`CardError`] says which check failed first; nothing of the card is returned then.
pub fn verify_card(
    card: &CompactJws,
    keys: &IssuerKeys,
    now: u64,
) -> Result<HealthCard, CardError> {
    if !card.is_deflated() {
        return Err(CardError::Claims("its payload is not compressed"));
    }
    let payload = card.payload(MAX_CARD_PAYLOAD_LEN)?;
    let claims = claims(&payload)?;
    if keys.issuer().is_some_and(|issuer| issuer != claims.iss) {
        return Err(CardError::OtherIssuer);
    }
    let key = keys.find(card.key_id()).ok_or(CardError::NoKey)?;
    card.verify(&key.public)?;
    let not_before = seconds(&claims.nbf)?;
    let expires = claims.exp.as_ref().map(seconds).transpose()?;
    if now.saturating_add(MAX_SKEW) < not_before {
        return Err(CardError::NotYet(not_before));
    }
    if let Some(expires) = expires.filter(|expires| *expires <= now) {
        return Err(CardError::Expired(expires));
    }
    if !claims.vc.types.iter().any(|name| name == CARD_TYPE) {
        return Err(CardError::Claims("its type is not #health-card"));
    }
    let revocation = match &claims.vc.rid {
        Some(rid) if !is_rid(rid) => {
            return Err(CardError::Claims("its revocation id is malformed"));
        }
        Some(rid) => keys.revocation(key, rid, not_before)?,
        None => Revocation::NotOffered,
    };
    if !claims.vc.subject.fhir_version.starts_with("4.0.") {
        return Err(CardError::Claims("its bundle is of another release than FHIR R4"));
    }
    let bundle = claims.vc.subject.fhir_bundle.get().as_bytes();
    let document = Document::read(bundle)?;
    if document.resource_type() != "Bundle" {
        return Err(CardError::Claims("what it holds is not a Bundle"));
    }
    Ok(HealthCard {
        issuer: claims.iss,
        key_id: card.key_id().to_owned(),
        not_before,
        expires,
        types: claims.vc.types,
        revocation,
        remarks: remarks(&document),
        bundle: Plaintext::new(bundle.to_vec()),
    })
}

fn claims(payload: &Plaintext) -> Result<Claims<'_>, CardError> {
    let claims: Claims<'_> = serde_json::from_slice(payload.expose())
        .map_err(|_| CardError::Claims("its payload has another shape"))?;
    if !is_issuer(&claims.iss) {
        return Err(CardError::Claims("its issuer is not a URL with https"));
    }
    if claims.iss.ends_with('/') {
        return Err(CardError::Claims("its issuer ends in a slash"));
    }
    Ok(claims)
}

/// Whether a text is an `https` address without query, fragment or user.
fn is_issuer(text: &str) -> bool {
    let place = text.strip_prefix("https://").unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}@?#".contains(&byte);
    !place.is_empty() && !place.starts_with('/') && place.bytes().all(plain)
}

/// Whole seconds of a time in seconds, which may have a fraction.
fn seconds(number: &Number) -> Result<u64, CardError> {
    // Beyond, a double does not hold every second.
    const MOST: f64 = 9_007_199_254_740_991.0;
    let value = number.as_f64().filter(|value| (0.0..=MOST).contains(value));
    let value = value.ok_or(CardError::Claims("a time in it is no number of seconds"))?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the range checked above"
    )]
    Ok(value as u64)
}

/// A revocation id: at most 24 characters of base64url.
fn is_rid(rid: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    !rid.is_empty() && rid.len() <= MAX_RID_LEN && rid.bytes().all(plain)
}

/// What a bundle of a card should not have. Issuers must leave it out of cards that go into QR codes; it neither
/// makes a card less authentic nor harder to read.
fn remarks(document: &Document<'_>) -> Vec<&'static str> {
    let mut remarks = Vec::new();
    if document.root().get("type").and_then(|node| node.text()).as_deref() != Some("collection") {
        remarks.push("the bundle is not a collection");
    }
    let any = |test: fn(&Resource<'_>) -> bool| document.resources().any(|it| test(&it));
    let resource_scheme =
        |it: &Resource<'_>| !it.full_url.as_deref().is_some_and(|url| url.starts_with("resource:"));
    let meta = |it: &Resource<'_>| {
        it.node.get("meta").is_some_and(|meta| meta.members().any(|(name, _)| name != "security"))
    };
    if any(resource_scheme) {
        remarks.push("a resource is not named resource:N");
    }
    if any(|it| it.node.get("id").is_some()) {
        remarks.push("a resource has an id");
    }
    if any(meta) {
        remarks.push("a resource has metadata other than security");
    }
    if any(|it| it.node.get("text").is_some()) {
        remarks.push("a resource has a narrative");
    }
    remarks
}

#[cfg(test)]
mod tests;
