//! SMART Health Links: what a patient shares with people who do not have Galen.
//!
//! A link is text (or a QR code) that holds an address and a key. Behind the address lie files that only the key
//! opens, so a host never reads them. Nothing of it touches the ledger: a read through a link is not logged on
//! chain, and whoever has opened the files keeps them.
//!
//! Source: HL7 SMART Health Cards and Links, "SMART Health Links", version 1; `docs/protocol.md` says what is done
//! otherwise.

mod client;

use std::{fmt, net::IpAddr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use galen_crypto::jose::{JoseError, LinkKey};
use galen_types::ErrorKind;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::Number;
use zeroize::Zeroizing;

pub use self::client::{LinkReader, MAX_SHARED_FILES, MAX_SHARED_LEN, SharedFile};

/// Media type of FHIR in JSON.
pub const FHIR_JSON: &str = "application/fhir+json";

/// Media type of a file of SMART Health Cards.
pub const CARD_FILE: &str = "application/smart-health-card";

/// Longest address in a link, in bytes.
pub const MAX_URL_LEN: usize = 128;

/// Longest label, in characters.
pub const MAX_LABEL_LEN: usize = 80;

/// Longest link that is read, in bytes.
pub const MAX_LINK_LEN: usize = 4_096;

/// Longest text that says who opens a link, in characters.
pub const MAX_RECIPIENT_LEN: usize = 200;

const SCHEME: &str = "shlink:/";

/// Why a link is refused, or what it names cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The text is no link, or breaks a rule of links.
    #[error("not a SMART Health Link: {0}")]
    Link(&'static str),
    /// The link ended.
    #[error("the link ended at {0} (Unix seconds)")]
    Expired(u64),
    /// The link wants a passcode.
    #[error("the link wants a passcode")]
    PasscodeNeeded,
    /// The passcode is wrong.
    #[error("the passcode is wrong")]
    Passcode {
        /// How often one may still try, if the server says so.
        remaining: Option<u64>,
    },
    /// There is nothing behind the link (any more).
    #[error("there is nothing behind the link (any more)")]
    Gone,
    /// The server asks for patience.
    #[error("the server takes no more requests for now")]
    Busy,
    /// The server answers something that is not in the specification.
    #[error("the server answered {0}")]
    Status(u16),
    /// The answer has another shape.
    #[error("the answer is not what a server of links sends: {0}")]
    Answer(&'static str),
    /// What is behind the link is longer than is read.
    #[error("what is behind the link is longer than {limit} bytes")]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A file does not open with the link's key.
    #[error(transparent)]
    Jose(#[from] JoseError),
    /// The server did not answer.
    #[error("the server did not answer")]
    Network(#[source] reqwest::Error),
}

impl LinkError {
    /// What the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Link(_) => ErrorKind::Invalid,
            Self::Expired(_) | Self::PasscodeNeeded | Self::Passcode { .. } => ErrorKind::Denied,
            Self::Gone => ErrorKind::NotFound,
            Self::Answer(_) | Self::TooLong { .. } => ErrorKind::Integrity,
            Self::Jose(error) => error.kind(),
            Self::Busy | Self::Status(_) | Self::Network(_) => ErrorKind::Unavailable,
        }
    }

    /// One line that says what to do.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Link(_) => {
                "give the whole text that begins with shlink:/, or the picture of its QR code"
            }
            Self::Expired(_) | Self::Gone => "ask who made the link for a new one",
            Self::PasscodeNeeded => {
                "ask who made the link for the passcode: --passcode-file FILE or --ask-passcode"
            }
            Self::Passcode { .. } => {
                "ask who made the link; the server stops answering after a few wrong passcodes"
            }
            Self::Busy | Self::Network(_) => "try again in a minute",
            Self::Status(_) | Self::Answer(_) => {
                "ask who made the link; the server does not follow the specification"
            }
            Self::TooLong { .. } => "ask who made the link for less in one link",
            Self::Jose(JoseError::DoesNotOpen) => {
                "do not rely on it: the file was changed, or is of another link"
            }
            Self::Jose(_) => "ask who made the link; its files are not as the specification says",
        }
    }
}

/// A link. Both the address and the key are secrets of who has the link.
#[derive(Clone, PartialEq, Eq)]
pub struct HealthLink {
    /// Where the manifest is (or, if direct, the one file).
    pub url: String,
    /// What opens the files.
    pub key: LinkKey,
    /// When it ends, in Unix seconds.
    pub expires: Option<u64>,
    /// Meant for long use: what is behind it may change.
    pub long_term: bool,
    /// A passcode is wanted.
    pub passcode: bool,
    /// The address is that of the one file, without a manifest.
    pub direct: bool,
    /// What is behind it, in a few words.
    pub label: Option<String>,
}

impl fmt::Debug for HealthLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HealthLink(..)")
    }
}

/// The JSON in a link.
#[derive(Serialize, Deserialize)]
struct Payload {
    url: String,
    key: Zeroizing<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    v: Option<Number>,
}

impl HealthLink {
    /// Reads `shlink:/…`, also behind the address of a viewer (`https://viewer#shlink:/…`).
    ///
    /// # Errors
    ///
    /// [`LinkError::Link`]: another shape, another version, a flag that is not known, passcode and direct together,
    /// an address that is neither `https` nor `http` on this machine.
    pub fn parse(text: &str) -> Result<Self, LinkError> {
        let wrong = LinkError::Link;
        let text = text.trim();
        if text.len() > MAX_LINK_LEN {
            return Err(wrong("it is too long"));
        }
        let body = match text.split_once('#') {
            Some((viewer, link))
                if viewer.starts_with("https://") || viewer.starts_with("http://") =>
            {
                link
            }
            _ => text,
        };
        let body = body.strip_prefix(SCHEME).ok_or(wrong("it does not begin with shlink:/"))?;
        let json =
            Zeroizing::new(URL_SAFE_NO_PAD.decode(body).map_err(|_| wrong("its text is damaged"))?);
        let payload: Payload =
            serde_json::from_slice(&json).map_err(|_| wrong("its content has another shape"))?;
        if payload.v.is_some_and(|version| version.as_f64() != Some(1.0)) {
            return Err(wrong("it is of a later version"));
        }
        let flag = payload.flag.unwrap_or_default();
        if flag.chars().any(|flag| !"LPU".contains(flag)) {
            return Err(wrong("it has a flag that is not known here"));
        }
        let expires = payload
            .exp
            .map(|number| number.as_u64().ok_or(wrong("its end is no number of seconds")));
        let link = Self {
            url: payload.url,
            key: LinkKey::from_text(&payload.key)
                .map_err(|_| wrong("its key has not 43 characters"))?,
            expires: expires.transpose()?,
            long_term: flag.contains('L'),
            passcode: flag.contains('P'),
            direct: flag.contains('U'),
            label: payload.label,
        };
        link.check()?;
        Ok(link)
    }

    /// The text of the link, behind the address of a viewer if one is given.
    ///
    /// # Errors
    ///
    /// [`LinkError::Link`]: it breaks a rule of links, or the viewer is not an address with `https` without `#`.
    pub fn to_text(&self, viewer: Option<&str>) -> Result<Zeroizing<String>, LinkError> {
        self.check()?;
        let viewer = match viewer.map(|viewer| viewer.trim_end_matches('#')) {
            None => String::new(),
            Some(viewer) if is_safe(viewer) && !viewer.contains('#') => format!("{viewer}#"),
            Some(_) => return Err(LinkError::Link("the viewer is not an https address without #")),
        };
        let flags = [(self.long_term, 'L'), (self.passcode, 'P'), (self.direct, 'U')];
        let flag: String = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| *flag).collect();
        let payload = Payload {
            url: self.url.clone(),
            key: self.key.to_text(),
            exp: self.expires.map(Number::from),
            flag: Some(flag).filter(|flag| !flag.is_empty()),
            label: self.label.clone(),
            v: Some(Number::from(1)),
        };
        let json =
            serde_json::to_vec(&payload).map_err(|_| LinkError::Link("it cannot be written"))?;
        let json = Zeroizing::new(json);
        Ok(Zeroizing::new(format!("{viewer}{SCHEME}{}", URL_SAFE_NO_PAD.encode(json.as_slice()))))
    }

    fn check(&self) -> Result<(), LinkError> {
        let wrong = |what| Err(LinkError::Link(what));
        if self.passcode && self.direct {
            return wrong("it cannot be direct (flag U) and have a passcode (flag P)");
        }
        if self.label.as_ref().is_some_and(|label| label.chars().count() > MAX_LABEL_LEN) {
            return wrong("its label has more than 80 characters");
        }
        if self.url.len() > MAX_URL_LEN {
            return wrong("its address has more than 128 characters");
        }
        if !is_safe(&self.url) {
            return wrong("its address is neither https nor on this machine");
        }
        Ok(())
    }
}

/// What a reader of a link sends to the address of its manifest.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestRequest {
    /// Who reads, for the eyes of who shares.
    pub recipient: String,
    /// The passcode, if the link wants one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passcode: Option<Zeroizing<String>>,
    /// Files longer than this come with an address instead, in characters of their JWE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedded_length_max: Option<u64>,
}

impl fmt::Debug for ManifestRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ManifestRequest(..)")
    }
}

/// The answer: the files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkManifest {
    /// One entry each.
    pub files: Vec<ManifestFile>,
}

/// One file of a manifest: its JWE, or where that is for a short time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestFile {
    /// Media type of what the JWE holds.
    pub content_type: String,
    /// The JWE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedded: Option<String>,
    /// Where the JWE is, for an hour at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

/// Who opens a direct link, from the query of its address.
pub fn recipient_in(query: &str) -> Option<String> {
    let url = Url::parse(&format!("http://localhost/?{query}")).ok()?;
    url.query_pairs().find(|(name, _)| name == "recipient").map(|(_, value)| value.into_owned())
}

/// Whether an address keeps what goes there from who listens: `https`, or this machine.
pub fn is_safe(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let named = url.username().is_empty() && url.password().is_none() && url.host_str().is_some();
    named && (url.scheme() == "https" || is_loopback(&url))
}

/// Whether an address is plain HTTP on this machine.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let here =
        host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    url.scheme() == "http" && here
}

#[cfg(test)]
mod tests;
