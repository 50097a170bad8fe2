//! Reads what is behind other people's links, within limits.

use std::{fmt, time::Duration};

use bytes::BytesMut;
use galen_crypto::jose::LinkKey;
use galen_types::Plaintext;
use reqwest::{Client, Method, Response, StatusCode, Url, header, redirect};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    HealthLink, LinkError, LinkManifest, MAX_RECIPIENT_LEN, ManifestRequest, is_loopback, is_safe,
};

/// Most bytes behind one link, in all files and decrypted.
pub const MAX_SHARED_LEN: usize = 64 << 20;

/// Most files behind one link.
pub const MAX_SHARED_FILES: usize = 100;

/// Longest answer of a server: everything embedded, in base64 in base64.
const MAX_ANSWER_LEN: usize = MAX_SHARED_LEN / 3 * 4 + (1 << 20);

/// Longest refusal that is read, in bytes.
const MAX_REFUSAL_LEN: usize = 4_096;

/// Files longer than this are fetched one by one, in characters.
const EMBEDDED_LEN: u64 = 8 << 20;

/// A file that was behind a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedFile {
    /// Media type, as the file itself says, else the manifest.
    pub content_type: String,
    /// The file. Nobody vouches for what it says, unless it is signed.
    pub content: Plaintext,
}

/// Reads links.
#[derive(Clone)]
pub struct LinkReader {
    client: Client,
    recipient: String,
}

impl fmt::Debug for LinkReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkReader")
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Refusal {
    remaining_attempts: Option<u64>,
}

impl LinkReader {
    /// A reader that names itself to servers as `recipient`, and waits so long for each answer.
    ///
    /// No redirect is followed and no proxy of the environment used.
    ///
    /// # Errors
    ///
    /// [`LinkError::Link`]: the recipient is empty or longer than 200 characters. [`LinkError::Network`].
    pub fn new(recipient: &str, timeout: Duration) -> Result<Self, LinkError> {
        let recipient = recipient.trim().to_owned();
        if recipient.is_empty() || recipient.chars().count() > MAX_RECIPIENT_LEN {
            return Err(LinkError::Link("who opens it is named with 1 to 200 characters"));
        }
        let client =
            Client::builder().timeout(timeout).redirect(redirect::Policy::none()).no_proxy();
        let client = client.build().map_err(unanswered)?;
        Ok(Self { client, recipient })
    }

    /// Fetches and decrypts everything behind a link, at `now` in Unix seconds.
    ///
    /// # Errors
    ///
    /// [`LinkError`]. A link that ended by its own word is not asked for.
    pub async fn open(
        &self,
        link: &HealthLink,
        passcode: Option<&str>,
        now: u64,
    ) -> Result<Vec<SharedFile>, LinkError> {
        link.check()?;
        if let Some(expires) = link.expires.filter(|expires| *expires <= now) {
            return Err(LinkError::Expired(expires));
        }
        if link.passcode && passcode.is_none() {
            return Err(LinkError::PasscodeNeeded);
        }
        let mut room = MAX_SHARED_LEN;
        if link.direct {
            let jwe = self.get(&link.url, true, room).await?;
            return Ok(vec![open(&link.key, &jwe, None, &mut room)?]);
        }
        let manifest = self.manifest(link, passcode).await?;
        if manifest.files.len() > MAX_SHARED_FILES {
            return Err(LinkError::Answer("more than 100 files"));
        }
        let mut files = Vec::new();
        for file in &manifest.files {
            let jwe = match (&file.embedded, &file.location) {
                (Some(jwe), _) => jwe.clone(),
                (None, Some(location)) => self.get(&here(link, location)?, false, room).await?,
                (None, None) => return Err(LinkError::Answer("a file without content and place")),
            };
            files.push(open(&link.key, &jwe, Some(&file.content_type), &mut room)?);
        }
        Ok(files)
    }

    async fn manifest(
        &self,
        link: &HealthLink,
        passcode: Option<&str>,
    ) -> Result<LinkManifest, LinkError> {
        let request = ManifestRequest {
            recipient: self.recipient.clone(),
            passcode: passcode
                .filter(|_| link.passcode)
                .map(|text| Zeroizing::new(text.to_owned())),
            embedded_length_max: Some(EMBEDDED_LEN),
        };
        let sent = self.client.post(&link.url).json(&request).send().await.map_err(unanswered)?;
        let answer = answered(sent).await?;
        let bytes = body(answer, MAX_ANSWER_LEN).await?;
        serde_json::from_slice(&bytes).map_err(|_| LinkError::Answer("not a manifest"))
    }

    /// A JWE by its address; with the recipient as a parameter if that is the link's own.
    async fn get(&self, url: &str, named: bool, room: usize) -> Result<String, LinkError> {
        let mut url =
            Url::parse(url).map_err(|_| LinkError::Answer("a place that is no address"))?;
        if named {
            url.query_pairs_mut().append_pair("recipient", &self.recipient);
        }
        let request =
            self.client.request(Method::GET, url).header(header::ACCEPT, "application/jose, */*");
        let answer = answered(request.send().await.map_err(unanswered)?).await?;
        let bytes = body(answer, room / 3 * 4 + MAX_REFUSAL_LEN).await?;
        let text = std::str::from_utf8(&bytes).map_err(|_| LinkError::Answer("not a JWE"))?;
        Ok(text.trim().to_owned())
    }
}

/// The address of a file, which may only be on this machine if the link's is.
fn here(link: &HealthLink, location: &str) -> Result<String, LinkError> {
    let plain = |url: &str| Url::parse(url).is_ok_and(|url| is_loopback(&url));
    if is_safe(location) && (!plain(location) || plain(&link.url)) {
        return Ok(location.to_owned());
    }
    Err(LinkError::Answer("a file at a place that is not https"))
}

fn open(
    key: &LinkKey,
    jwe: &str,
    named: Option<&str>,
    room: &mut usize,
) -> Result<SharedFile, LinkError> {
    let opened = key.open(jwe, *room)?;
    *room = room.saturating_sub(opened.plaintext.expose().len());
    let content_type = opened.content_type.or_else(|| named.map(str::to_owned));
    let content_type = content_type.unwrap_or_else(|| super::FHIR_JSON.to_owned());
    Ok(SharedFile { content_type, content: opened.plaintext })
}

/// An answer that is not a refusal.
async fn answered(answer: Response) -> Result<Response, LinkError> {
    match answer.status() {
        StatusCode::OK => Ok(answer),
        StatusCode::UNAUTHORIZED => {
            let refusal = body(answer, MAX_REFUSAL_LEN).await.unwrap_or_default();
            let refusal: Refusal = serde_json::from_slice(&refusal).unwrap_or_default();
            Err(LinkError::Passcode { remaining: refusal.remaining_attempts })
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(LinkError::Gone),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Err(LinkError::Busy),
        status => Err(LinkError::Status(status.as_u16())),
    }
}

/// A body of at most `limit` bytes.
async fn body(mut answer: Response, limit: usize) -> Result<BytesMut, LinkError> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(unanswered)? {
        if bytes.len() + chunk.len() > limit {
            return Err(LinkError::TooLong { limit: MAX_SHARED_LEN });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Without the address, which is a secret of who has the link.
fn unanswered(error: reqwest::Error) -> LinkError {
    LinkError::Network(error.without_url())
}
