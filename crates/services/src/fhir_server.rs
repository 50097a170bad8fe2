//! A client of other people's FHIR R4 servers (REST): searches page by page, and sends resources.
//!
//! Servers limit, stall, redirect, page for ever or answer with web pages; every answer is taken in bounded time
//! and space, and no request, which carries the token, goes to another origin than the one that was named.
//! What comes is kept as the server wrote it, number text included.

mod answer;
mod error;
mod request;

use std::{fmt, net::IpAddr, time::Duration};

use reqwest::{Client, Url, redirect};
use zeroize::Zeroizing;

pub use answer::{Capability, Page, Pulled};
pub use error::{FhirServerError, Words};
pub use request::{Outgoing, Receipt};

/// The longest answer, in bytes: as much as Galen's reader takes.
pub const MAX_ANSWER_LEN: usize = 256 << 20;

/// How many resources a page is asked to hold. The server may give fewer or more.
const PAGE_COUNT: &str = "200";

/// The longest id of a resource (R4, section 2.24.0.1).
const MAX_ID_LEN: usize = 64;

/// How Galen speaks to a FHIR server.
#[derive(Clone, Debug)]
pub struct FhirServerOptions {
    /// How long one request may take, answer included.
    pub timeout: Duration,
    /// How often a request is repeated that may be repeated.
    pub retries: u32,
    /// Allows plain HTTP to other machines.
    pub allow_plain_http: bool,
}

impl Default for FhirServerOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(90), retries: 4, allow_plain_http: false }
    }
}

/// A bearer token. Not shown anywhere, wiped when dropped.
#[derive(Clone)]
pub struct BearerToken(Zeroizing<String>);

impl BearerToken {
    /// From the text that an authorization server gave out.
    ///
    /// # Errors
    ///
    /// [`FhirServerError::Setting`] if it cannot stand in a header.
    pub fn new(text: Zeroizing<String>) -> Result<Self, FhirServerError> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(FhirServerError::Setting(
                "a bearer token is one word of visible characters",
            ));
        }
        Ok(Self(text))
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(..)")
    }
}

/// What is asked for: a URL of the server. May hold a patient's id, so it is not shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Query(Url);

impl Query {
    /// The URL, to go on later where one stopped; for private files.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Query(..)")
    }
}

/// A FHIR server.
#[derive(Clone)]
pub struct FhirServer {
    client: Client,
    /// Ends in a slash.
    base: Url,
    /// Scheme and host: all that may be shown of the URL.
    name: String,
    token: Option<BearerToken>,
    options: FhirServerOptions,
}

impl FhirServer {
    /// The server at a base URL such as `https://fhir.example/r4`; asks nothing yet.
    ///
    /// # Errors
    ///
    /// [`FhirServerError::Setting`], [`FhirServerError::PlainHttp`].
    pub fn new(
        url: &str,
        token: Option<BearerToken>,
        options: FhirServerOptions,
    ) -> Result<Self, FhirServerError> {
        let wrong = || FhirServerError::Setting("not a URL that starts with http or https");
        let mut base = Url::parse(url).map_err(|_| wrong())?;
        let host = base.host_str().ok_or_else(wrong)?;
        let name = scheme_and_host(&base, host);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let loopback = host == "localhost"
            || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        match base.scheme() {
            "https" => {}
            "http" if loopback || options.allow_plain_http => {}
            "http" => return Err(FhirServerError::PlainHttp { server: name }),
            _ => return Err(wrong()),
        }
        let extra = !base.username().is_empty() || base.password().is_some();
        if extra || base.query().is_some() || base.fragment().is_some() {
            let what =
                "the URL of a FHIR server has no user, no password, no query and no fragment";
            return Err(FhirServerError::Setting(what));
        }
        if !base.path().ends_with('/') {
            let path = format!("{}/", base.path());
            base.set_path(&path);
        }
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(options.timeout)
            .build()
            .map_err(|_| FhirServerError::Setting("TLS cannot be set up on this machine"))?;
        Ok(Self { client, base, name, token, options })
    }

    /// Scheme and host.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The base URL; ends in a slash.
    pub fn base(&self) -> &str {
        self.base.as_str()
    }

    /// What the server is and can.
    ///
    /// # Errors
    ///
    /// [`FhirServerError::Version`] for another FHIR than 4.0; else as [`FhirServer::page`].
    pub async fn capability(&self) -> Result<Capability, FhirServerError> {
        let answer = self.get(&self.below(&["metadata"])?).await?;
        let capability = Capability::read(&answer)?;
        if !capability.fhir_version.starts_with("4.0") {
            let found = Words::new(&capability.fhir_version);
            return Err(FhirServerError::Version { found });
        }
        Ok(capability)
    }

    /// Everything that the server has of a patient (operation `$everything`).
    ///
    /// # Errors
    ///
    /// [`FhirServerError::Setting`] if it is no id.
    pub fn everything(&self, patient: &str) -> Result<Query, FhirServerError> {
        require_id(patient)?;
        let mut query = self.below(&["Patient", patient, "$everything"])?;
        query.0.query_pairs_mut().append_pair("_count", PAGE_COUNT);
        Ok(query)
    }

    /// Resources of a type; `filter` is a search parameter and its value.
    ///
    /// # Errors
    ///
    /// [`FhirServerError::Setting`] if it is no type.
    pub fn search(
        &self,
        resource_type: &str,
        filter: Option<(&str, &str)>,
    ) -> Result<Query, FhirServerError> {
        require_type(resource_type)?;
        let mut query = self.below(&[resource_type])?;
        let mut pairs = query.0.query_pairs_mut();
        pairs.extend_pairs(filter);
        pairs.append_pair("_count", PAGE_COUNT);
        drop(pairs);
        Ok(query)
    }

    /// A URL of this server, such as a `next` link: absolute, or relative to the base.
    ///
    /// # Errors
    ///
    /// [`FhirServerError::OtherOrigin`] if it leads elsewhere.
    pub fn follow(&self, link: &str) -> Result<Query, FhirServerError> {
        let malformed = || FhirServerError::Malformed("a link that is no URL");
        let url = self.base.join(link).map_err(|_| malformed())?;
        // The token goes where the person sent it, and nowhere else.
        if url.origin() != self.base.origin() {
            let found = url.host_str().map(|host| scheme_and_host(&url, host));
            let found = Words::new(&found.unwrap_or_default());
            return Err(FhirServerError::OtherOrigin { found });
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(malformed());
        }
        Ok(Query(url))
    }

    /// One page of a search.
    ///
    /// # Errors
    ///
    /// [`FhirServerError`] by what the server said; [`FhirServerError::Malformed`] if it is no page.
    pub async fn page(&self, query: &Query) -> Result<Page, FhirServerError> {
        let answer = self.get(query).await?;
        let (mut page, next) = Page::read(&answer)?;
        page.next = next.map(|link| self.follow(&link)).transpose()?;
        page.bytes = answer.len() as u64;
        Ok(page)
    }

    fn below(&self, segments: &[&str]) -> Result<Query, FhirServerError> {
        let mut url = self.base.clone();
        let mut path = url
            .path_segments_mut()
            .map_err(|()| FhirServerError::Setting("not a URL that starts with http or https"))?;
        path.pop_if_empty().extend(segments);
        drop(path);
        Ok(Query(url))
    }
}

impl fmt::Debug for FhirServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FhirServer({})", self.name)
    }
}

fn require_id(id: &str) -> Result<(), FhirServerError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    if (1..=MAX_ID_LEN).contains(&id.len()) && id.bytes().all(plain) {
        return Ok(());
    }
    Err(FhirServerError::Setting("an id has 1 to 64 letters, digits, dots and hyphens"))
}

fn require_type(name: &str) -> Result<(), FhirServerError> {
    let plain = name.len() <= MAX_ID_LEN && name.bytes().all(|byte| byte.is_ascii_alphabetic());
    if plain && name.starts_with(|first: char| first.is_ascii_uppercase()) {
        return Ok(());
    }
    Err(FhirServerError::Setting("a resource type is a word such as Observation"))
}

fn scheme_and_host(url: &Url, host: &str) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}", url.scheme())
}
