//! An issuer's public keys and lists of revoked cards, as it publishes them.

use std::collections::{BTreeMap, BTreeSet};

use galen_crypto::jose::Es256Key;
use serde::Deserialize;
use serde_json::Value;

use super::{CardError, Revocation, is_rid};

/// Longest key set or revocation list, in bytes.
pub const MAX_ISSUER_FILE_LEN: usize = 4 << 20;

/// Most keys of a set.
const MAX_KEYS: usize = 256;

/// The keys of one issuer.
#[derive(Clone, Debug)]
pub struct IssuerKeys {
    issuer: Option<String>,
    keys: BTreeMap<String, IssuerKey>,
    lists: BTreeMap<String, List>,
    skipped: usize,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub(super) struct IssuerKey {
    pub(super) public: Es256Key,
    /// How often the key's list was changed, if there is one.
    list: Option<u64>,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Jwk {
    kty: String,
    kid: String,
    #[serde(rename = "use")]
    usage: String,
    alg: String,
    crv: String,
    x: String,
    y: String,
    crl_version: Option<u64>,
}

#[derive(Deserialize)]
struct ListFile {
    kid: String,
    method: String,
    ctr: u64,
    rids: Vec<String>,
}

/// Revoked ids; with a time, the cards from before it.
#[derive(Clone, Debug)]
struct List {
    ctr: u64,
    rids: BTreeMap<String, Option<u64>>,
}

impl IssuerKeys {
    /// Reads a JSON Web Key Set as an issuer publishes it under `.well-known/jwks.json`. Keys for something else
    /// are left out; a set with none for cards is refused, and so is one that holds a private key.
    ///
    /// # Errors
    ///
    /// [`CardError::Keys`].
    pub fn read(bytes: &[u8]) -> Result<Self, CardError> {
        let set = Some(bytes).filter(|bytes| bytes.len() <= MAX_ISSUER_FILE_LEN);
        let set = set.and_then(|bytes| serde_json::from_slice::<KeySet>(bytes).ok());
        let set = set.ok_or(CardError::Keys("not a JSON Web Key Set"))?;
        if set.keys.len() > MAX_KEYS {
            return Err(CardError::Keys("more than 256 keys"));
        }
        let (mut keys, mut reason) = (BTreeMap::new(), "the set is empty");
        let count = set.keys.len();
        for value in set.keys {
            if value.get("d").is_some() {
                return Err(CardError::Keys("the set holds a private key"));
            }
            match key(value) {
                Ok((kid, key)) => drop(keys.insert(kid, key)),
                Err(why) => reason = why,
            }
        }
        if keys.is_empty() {
            return Err(CardError::Keys(reason));
        }
        let skipped = count.saturating_sub(keys.len());
        Ok(Self { issuer: None, keys, lists: BTreeMap::new(), skipped })
    }

    /// Only cards of this issuer verify.
    #[must_use]
    pub fn of_issuer(self, issuer: impl Into<String>) -> Self {
        Self { issuer: Some(issuer.into()), ..self }
    }

    /// Adds a list of revoked cards, as an issuer publishes it under `.well-known/crl/KID.json`.
    ///
    /// # Errors
    ///
    /// [`CardError::Revocations`].
    pub fn add_revocations(&mut self, bytes: &[u8]) -> Result<(), CardError> {
        let wrong = CardError::Revocations;
        let file = Some(bytes).filter(|bytes| bytes.len() <= MAX_ISSUER_FILE_LEN);
        let file = file.and_then(|bytes| serde_json::from_slice::<ListFile>(bytes).ok());
        let file = file.ok_or(wrong("it has another shape"))?;
        if file.method != "rid" {
            return Err(wrong("its method is not known here"));
        }
        let (mut rids, mut seen) = (BTreeMap::new(), BTreeSet::new());
        for entry in &file.rids {
            let (rid, before) = match entry.split_once('.') {
                Some((rid, time)) => {
                    (rid, Some(time.parse().map_err(|_| wrong("a time in it is no number"))?))
                }
                None => (entry.as_str(), None),
            };
            if !is_rid(rid) {
                return Err(wrong("an id in it is malformed"));
            }
            if !seen.insert(rid) {
                return Err(wrong("an id is in it twice"));
            }
            rids.insert(rid.to_owned(), before);
        }
        self.lists.insert(file.kid, List { ctr: file.ctr, rids });
        Ok(())
    }

    /// Ids of the keys that have a list of revoked cards.
    pub fn with_lists(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().filter(|(_, key)| key.list.is_some()).map(|(kid, _)| kid.as_str())
    }

    /// How many keys of the set are for something else, or broken.
    pub const fn skipped(&self) -> usize {
        self.skipped
    }

    pub(super) fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    pub(super) fn find(&self, kid: &str) -> Option<&IssuerKey> {
        self.keys.get(kid)
    }

    /// What the key's list says of a card.
    pub(super) fn revocation(
        &self,
        key: &IssuerKey,
        rid: &str,
        issued: u64,
    ) -> Result<Revocation, CardError> {
        let Some(version) = key.list else { return Ok(Revocation::NotOffered) };
        let Some(list) = self.lists.get(&key.public.thumbprint()) else {
            return Ok(Revocation::NotChecked);
        };
        if list.ctr < version {
            return Err(CardError::Revocations("it is older than the keys say"));
        }
        match list.rids.get(rid) {
            Some(None) => Err(CardError::Revoked),
            Some(Some(before)) if issued < *before => Err(CardError::Revoked),
            _ => Ok(Revocation::NotRevoked),
        }
    }
}

fn key(value: Value) -> Result<(String, IssuerKey), &'static str> {
    let jwk: Jwk =
        serde_json::from_value(value).map_err(|_| "a key lacks kty, kid, use, alg, crv, x or y")?;
    let wrong = match &jwk {
        Jwk { kty, crv, .. } if kty != "EC" || crv != "P-256" => Some("a key is not of P-256"),
        Jwk { usage, .. } if usage != "sig" => Some("a key is not for signatures"),
        Jwk { alg, .. } if alg != "ES256" => Some("a key is not for ES256"),
        _ => None,
    };
    if let Some(why) = wrong {
        return Err(why);
    }
    let public =
        Es256Key::from_coordinates(&jwk.x, &jwk.y).map_err(|_| "a key has no point of P-256")?;
    if public.thumbprint() != jwk.kid {
        return Err("a key's id is not its thumbprint");
    }
    Ok((jwk.kid, IssuerKey { public, list: jwk.crl_version }))
}
