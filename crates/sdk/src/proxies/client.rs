//! Talks to proxies over HTTP, within limits.

use std::{fmt, net::IpAddr, time::Duration};

use bytes::BytesMut;
use galen_types::ErrorKind;
use reqwest::{Client, Response, Url, redirect};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    share::ShareDelivery,
    wire::{
        KeyAnswers, KeyAsk, MAX_ANSWER_LEN, Offers, PieceAnswer, PieceAsk, Refused, Report,
        ReportAsk, Status,
    },
};

/// Longest refusal that is read, in bytes.
const MAX_REFUSAL_LEN: usize = 4_096;

/// Longest word of a cause.
const MAX_CAUSE_LEN: usize = 24;

/// Most seconds that a proxy's word about when to ask again is believed.
const MAX_RETRY: u64 = 60;

/// What came of asking one proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// It refused; the word is one of those of [`Refused::cause`], or `unknown`.
    #[error("it refused: {cause}")]
    Refused {
        /// Why.
        cause: String,
        /// After how long it is worth asking again, if it said so.
        retry: Option<Duration>,
    },
    /// It did not answer in time, or cannot be reached.
    #[error("it does not answer")]
    Silent,
    /// It answered something that no proxy answers.
    #[error("its answer is none: {0}")]
    Answer(&'static str),
    /// A proof in its answer does not hold, or its answer is for something else: it lies, or has other shares.
    #[error("its answer is wrong: {0}")]
    Wrong(&'static str),
    /// It answered for content whose header this machine cannot fetch, so that the answer cannot be checked.
    #[error("the content that it answers for cannot be had here")]
    NoContent,
    /// Nobody is asked at this address.
    #[error("its address is not https")]
    Address,
}

impl ProxyError {
    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused { cause, .. } => match cause.as_str() {
                "not-final" | "content" | "chain" | "internal" | "limit" => ErrorKind::Unavailable,
                "malformed" | "elsewhere" => ErrorKind::Invalid,
                "no-share" => ErrorKind::NotFound,
                "stale" => ErrorKind::Stale,
                _ => ErrorKind::Denied,
            },
            Self::Silent | Self::NoContent => ErrorKind::Unavailable,
            Self::Answer(_) | Self::Wrong(_) => ErrorKind::Integrity,
            Self::Address => ErrorKind::Invalid,
        }
    }

    /// Whether the same question may be answered a little later.
    pub(crate) fn is_passing(&self) -> bool {
        self.kind() == ErrorKind::Unavailable
    }
}

/// Asks proxies. Follows no redirect and uses no proxy server of the environment. Cheap to clone.
#[derive(Clone)]
pub struct ProxyClient {
    client: Client,
    plain: bool,
}

impl fmt::Debug for ProxyClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyClient").field("plain", &self.plain).finish_non_exhaustive()
    }
}

impl ProxyClient {
    /// A client that waits so long for each answer, and speaks plain HTTP to this machine only.
    ///
    /// # Errors
    ///
    /// [`ProxyError::Silent`] if this machine has no means for TLS.
    pub fn new(timeout: Duration) -> Result<Self, ProxyError> {
        let client =
            Client::builder().timeout(timeout).redirect(redirect::Policy::none()).no_proxy();
        let client = client.build().map_err(|_| ProxyError::Silent)?;
        Ok(Self { client, plain: false })
    }

    /// Speaks plain HTTP to other machines too: for networks that are closed otherwise. What goes over it is
    /// signed and its keys are sealed or useless alone, but who asks whom shows.
    #[must_use]
    pub const fn allow_plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// Hands a proxy its shares. Repeating it does no harm.
    ///
    /// # Errors
    ///
    /// [`ProxyError`].
    pub async fn deliver(&self, delivery: &ShareDelivery) -> Result<(), ProxyError> {
        self.put(&delivery.proxy.url, "v1/shares", delivery.envelope.clone()).await
    }

    /// Hands a proxy a piece of a root seed, as an encoded `PieceEnvelope`.
    ///
    /// # Errors
    ///
    /// [`ProxyError`].
    pub async fn deliver_piece(&self, url: &str, envelope: Vec<u8>) -> Result<(), ProxyError> {
        self.put(url, "v1/pieces", envelope).await
    }

    /// Asks for the keys of records whose reads are logged.
    ///
    /// # Errors
    ///
    /// [`ProxyError`].
    pub async fn ask(&self, url: &str, ask: &KeyAsk) -> Result<KeyAnswers, ProxyError> {
        self.post(url, "v1/keys", ask).await
    }

    /// Asks what is kept for the caller.
    ///
    /// # Errors
    ///
    /// [`ProxyError`].
    pub async fn offers(&self, url: &str, ask: &KeyAsk) -> Result<Offers, ProxyError> {
        self.post(url, "v1/offers", ask).await
    }

    /// Asks what the proxy served and refused.
    ///
    /// # Errors
    ///
    /// [`ProxyError`].
    pub async fn report(&self, url: &str, ask: &ReportAsk) -> Result<Report, ProxyError> {
        self.post(url, "v1/report", ask).await
    }

    /// Asks for a piece of a seed after a recovery.
    ///
    /// # Errors
    ///
    /// [`ProxyError`].
    pub async fn release(&self, url: &str, ask: &PieceAsk) -> Result<PieceAnswer, ProxyError> {
        self.post(url, "v1/release", ask).await
    }

    /// Who the proxy says it is, and how it stands.
    ///
    /// # Errors
    ///
    /// [`ProxyError`].
    pub async fn status(&self, url: &str) -> Result<Status, ProxyError> {
        let url = self.address(url, "v1/status")?;
        read(self.client.get(url).send().await.map_err(silent)?).await
    }

    async fn put(&self, url: &str, path: &str, body: Vec<u8>) -> Result<(), ProxyError> {
        let url = self.address(url, path)?;
        answered(self.client.post(url).body(body).send().await.map_err(silent)?).await.map(drop)
    }

    async fn post<T: DeserializeOwned>(
        &self,
        url: &str,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ProxyError> {
        let url = self.address(url, path)?;
        read(self.client.post(url).json(body).send().await.map_err(silent)?).await
    }

    /// Where a proxy takes a request.
    fn address(&self, url: &str, path: &str) -> Result<Url, ProxyError> {
        let url = format!("{}/{path}", url.trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|_| ProxyError::Address)?;
        let bare = url.username().is_empty() && url.password().is_none();
        let safe = match url.scheme() {
            "https" => true,
            "http" => self.plain || is_here(url.host_str().unwrap_or_default()),
            _ => false,
        };
        if bare && safe { Ok(url) } else { Err(ProxyError::Address) }
    }
}

fn is_here(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn silent(_: reqwest::Error) -> ProxyError {
    ProxyError::Silent
}

async fn read<T: DeserializeOwned>(answer: Response) -> Result<T, ProxyError> {
    let bytes = body(answered(answer).await?, MAX_ANSWER_LEN).await?;
    serde_json::from_slice(&bytes).map_err(|_| ProxyError::Answer("not what was asked for"))
}

/// An answer that is not a refusal.
async fn answered(answer: Response) -> Result<Response, ProxyError> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status().as_u16();
    let text = body(answer, MAX_REFUSAL_LEN).await.unwrap_or_default();
    let refused: Option<Refused> = serde_json::from_slice(&text).ok();
    let retry = refused.as_ref().and_then(|it| it.retry);
    let cause = match refused {
        Some(refused) if is_word(&refused.cause) => refused.cause,
        // What stands in front of the proxy may have answered.
        _ if status == 429 => "limit".to_owned(),
        _ if matches!(status, 500..=599) => return Err(ProxyError::Silent),
        _ => "unknown".to_owned(),
    };
    let retry = retry.map(|seconds| Duration::from_secs(seconds.min(MAX_RETRY)));
    Err(ProxyError::Refused { cause, retry })
}

fn is_word(cause: &str) -> bool {
    let letters = cause.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    (1..=MAX_CAUSE_LEN).contains(&cause.len()) && letters
}

/// A body of at most `limit` bytes.
async fn body(mut answer: Response, limit: usize) -> Result<BytesMut, ProxyError> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(silent)? {
        if bytes.len() + chunk.len() > limit {
            return Err(ProxyError::Answer("too long"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
