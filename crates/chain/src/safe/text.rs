//! Requests and signatures as one line of text, for owners on other machines.
//!
//! `galen:sign:` or `galen:signature:`, then base64url without padding of JSON. One value has one text.

use alloy::dyn_abi::TypedData;
use alloy_primitives::{Address, B256, Bytes};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use galen_types::{Consent, ConsentId, ConsentTree, DelegateTerms};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    account::{EnvelopeFor, Evidence, SignError, SigningRequest},
    ledger::{CosignPolicy, GuardianSet},
    typed,
};

const REQUEST: &str = "galen:sign:";
const SIGNATURE: &str = "galen:signature:";

/// Version of both texts.
const VERSION: u8 = 1;

/// Longest text that is read, in bytes. A proposal of 256 leaves takes 160 KiB.
const MAX_TEXT_LEN: usize = 1 << 20;

/// A request as it travels. The root that the chain has is not in it: who signs asks their own node.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestText {
    version: u8,
    id: Address,
    wallet: Option<Address>,
    typed: TypedData,
    digest: B256,
    consents: Vec<Consent>,
    delegates: Vec<DelegateTerms>,
    tree: Option<Vec<ConsentId>>,
    proposal: Option<typed::Proposal>,
    policy: Option<CosignPolicy>,
    documents: Option<usize>,
    envelopes: Vec<EnvelopeFor>,
    proxies: Option<(u8, usize)>,
    guardians: Option<GuardianSet>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureText {
    version: u8,
    signature: Bytes,
}

/// The text of a request.
///
/// # Errors
///
/// [`SignError::Refused`] if it is longer than 1 MiB.
pub fn encode_request(request: &SigningRequest) -> Result<String, SignError> {
    let evidence = request.evidence.clone();
    encode(
        REQUEST,
        &RequestText {
            version: VERSION,
            id: request.id,
            wallet: request.wallet,
            typed: request.typed.clone(),
            digest: request.digest,
            consents: evidence.consents,
            delegates: evidence.delegates,
            tree: evidence.tree.map(|tree| tree.leaves().collect()),
            proposal: evidence.proposal,
            policy: evidence.policy,
            documents: evidence.documents,
            envelopes: evidence.envelopes,
            proxies: evidence.proxies,
            guardians: evidence.guardians,
        },
    )
}

/// Reads a request. Nothing in it is believed: [`crate::clear::explain`] judges it.
///
/// # Errors
///
/// [`SignError::Refused`] for everything that [`encode_request`] does not write.
pub fn decode_request(text: &str) -> Result<SigningRequest, SignError> {
    let parts: RequestText = decode(REQUEST, text)?;
    let request = SigningRequest {
        id: parts.id,
        typed: parts.typed,
        digest: parts.digest,
        evidence: Evidence {
            consents: parts.consents,
            delegates: parts.delegates,
            tree: parts.tree.map(|leaves| leaves.into_iter().collect::<ConsentTree>()),
            root: None,
            proposal: parts.proposal,
            policy: parts.policy,
            documents: parts.documents,
            envelopes: parts.envelopes,
            proxies: parts.proxies,
            guardians: parts.guardians,
        },
        wallet: parts.wallet,
    };
    let same = parts.version == VERSION && encode_request(&request)? == text.trim();
    same.then_some(request).ok_or_else(|| not_a(REQUEST))
}

/// The text of an owner's signature.
///
/// # Errors
///
/// [`SignError::Refused`] if it is longer than 1 MiB.
pub fn encode_signature(signature: &Bytes) -> Result<String, SignError> {
    encode(SIGNATURE, &SignatureText { version: VERSION, signature: signature.clone() })
}

/// Reads an owner's signature.
///
/// # Errors
///
/// [`SignError::Refused`] for everything that [`encode_signature`] does not write.
pub fn decode_signature(text: &str) -> Result<Bytes, SignError> {
    let parts: SignatureText = decode(SIGNATURE, text)?;
    let same = parts.version == VERSION && encode_signature(&parts.signature)? == text.trim();
    same.then_some(parts.signature).ok_or_else(|| not_a(SIGNATURE))
}

fn encode<T: Serialize>(prefix: &str, value: &T) -> Result<String, SignError> {
    let json = serde_json::to_vec(value).map_err(|_| not_a(prefix))?;
    let text = format!("{prefix}{}", URL_SAFE_NO_PAD.encode(json));
    if text.len() > MAX_TEXT_LEN { Err(not_a(prefix)) } else { Ok(text) }
}

fn decode<T: DeserializeOwned>(prefix: &str, text: &str) -> Result<T, SignError> {
    if text.len() > MAX_TEXT_LEN {
        return Err(not_a(prefix));
    }
    let body = text.trim().strip_prefix(prefix).ok_or_else(|| not_a(prefix))?;
    let json = URL_SAFE_NO_PAD.decode(body).map_err(|_| not_a(prefix))?;
    serde_json::from_slice(&json).map_err(|_| not_a(prefix))
}

fn not_a(prefix: &str) -> SignError {
    SignError::Refused(format!("the text is not a whole {prefix}… line of this version"))
}
