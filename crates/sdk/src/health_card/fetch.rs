//! An issuer's keys from its own address.

use std::time::Duration;

use reqwest::{Client, Response, redirect};

use super::{CardError, IssuerKeys, MAX_ISSUER_FILE_LEN, is_issuer};

/// Fetches the keys that an issuer publishes, and its lists of revoked cards. Each answer may take `timeout` and
/// have 4 MiB; no redirect is followed, since it would let another host speak for the issuer.
///
/// Take the issuer from whoever trusts it, not from a card: everybody can sign a card in the name of an address of
/// their own.
///
/// # Errors
///
/// [`CardError::Address`], [`CardError::Network`], [`CardError::Keys`], [`CardError::Revocations`].
pub async fn fetch_issuer_keys(issuer: &str, timeout: Duration) -> Result<IssuerKeys, CardError> {
    if !is_issuer(issuer) || issuer.ends_with('/') {
        return Err(CardError::Address);
    }
    let client = Client::builder().timeout(timeout).redirect(redirect::Policy::none());
    let client = client.no_proxy().https_only(true).build().map_err(unanswered)?;
    let mut keys = IssuerKeys::read(&get(&client, issuer, "jwks.json").await?)?;
    let listed: Vec<String> = keys.with_lists().map(str::to_owned).collect();
    for kid in listed {
        keys.add_revocations(&get(&client, issuer, &format!("crl/{kid}.json")).await?)?;
    }
    Ok(keys.of_issuer(issuer))
}

async fn get(client: &Client, issuer: &str, name: &str) -> Result<Vec<u8>, CardError> {
    let sent = client.get(format!("{issuer}/.well-known/{name}")).send().await;
    let mut answer = sent.and_then(Response::error_for_status).map_err(unanswered)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unanswered)? {
        if bytes.len() + chunk.len() > MAX_ISSUER_FILE_LEN {
            return Err(CardError::Keys("longer than 4 MiB"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn unanswered(error: reqwest::Error) -> CardError {
    CardError::Network(error)
}
