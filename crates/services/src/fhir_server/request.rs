//! Requests: what is repeated, when, and what an answer's status means.

use std::time::Duration;

use reqwest::{
    Method, RequestBuilder, Response, StatusCode, Url,
    header::{self, HeaderMap},
};

use super::{
    FhirServer, FhirServerError, MAX_ANSWER_LEN, Query, Words,
    answer::{refused_entries, words},
    require_id, require_type,
};

/// The first pause before a request is repeated; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause before a request is repeated, whatever the server wishes.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How much of a refusal is read, in bytes.
const REFUSAL_LIMIT: usize = 64 << 10;

const FHIR_JSON: &str = "application/fhir+json";

/// What to do with a resource that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing<'a> {
    /// Update, or create under the sender's id.
    Put {
        /// Type of the resource.
        resource_type: &'a str,
        /// Its id.
        id: &'a str,
        /// The version that the server must have.
        if_match: Option<&'a str>,
    },
    /// Create under an id of the server's choice.
    Create {
        /// Type of the resource.
        resource_type: &'a str,
        /// System and value of an identifier; if the server has one resource with it, nothing is created.
        if_none_exist: Option<(&'a str, &'a str)>,
    },
    /// A Bundle of type transaction or batch.
    Transaction,
}

/// What the server did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// 200 or 201, as a rule.
    pub status: u16,
    /// The version that the server has now.
    pub version: Option<String>,
}

/// Whether a request may have been done although no answer came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// Doing it twice is the same as once.
    Always,
    /// Only where it is certain that nothing was done.
    IfNotDone,
}

/// A try that failed.
struct Failure {
    error: FhirServerError,
    /// How long the server wishes to be left alone.
    wish: Option<Duration>,
    /// Whether nothing can have been done.
    not_done: bool,
}

impl From<FhirServerError> for Failure {
    fn from(error: FhirServerError) -> Self {
        Self { error, wish: None, not_done: false }
    }
}

impl Failure {
    fn may_repeat(&self, repeat: Repeat) -> bool {
        let passing = matches!(
            self.error,
            FhirServerError::Unreachable(_)
                | FhirServerError::TimedOut { .. }
                | FhirServerError::Failing { .. }
        );
        passing && (repeat == Repeat::Always || self.not_done)
    }

    fn pause(&self, attempt: u32) -> Duration {
        let ours = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX));
        self.wish.unwrap_or_default().max(ours).min(LONGEST_PAUSE)
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl FhirServer {
    /// The body of what the server has there; FHIR JSON.
    pub(super) async fn get(&self, query: &Query) -> Result<Vec<u8>, FhirServerError> {
        let build = || self.request(Method::GET, query.0.clone());
        Ok(self.exchange(Repeat::Always, true, build).await?.body)
    }

    /// Sends one resource, or a transaction. An update is repeated where no answer comes; a creation only where
    /// it cannot have been done, or cannot be done twice.
    ///
    /// # Errors
    ///
    /// [`FhirServerError`] by what the server said; [`FhirServerError::Partial`] for a batch.
    pub async fn send(&self, what: Outgoing<'_>, body: &[u8]) -> Result<Receipt, FhirServerError> {
        let (method, query, repeat) = self.target(what)?;
        let build = || {
            let request = self.request(method.clone(), query.0.clone());
            let request = request.header(header::CONTENT_TYPE, FHIR_JSON).body(body.to_vec());
            match what {
                Outgoing::Put { if_match: Some(version), .. } => {
                    request.header(header::IF_MATCH, format!("W/\"{version}\""))
                }
                Outgoing::Create { if_none_exist: Some((system, value)), .. } => {
                    request.header("If-None-Exist", condition(&self.base, system, value))
                }
                _ => request,
            }
        };
        let is_bundle = what == Outgoing::Transaction;
        let answer = self.exchange(repeat, is_bundle, build).await?;
        if is_bundle {
            let (refused, entries, said) = refused_entries(&answer.body)?;
            if refused > 0 {
                return Err(FhirServerError::Partial { refused, entries, said });
            }
        }
        let etag = answer.headers.get(header::ETAG).and_then(|etag| etag.to_str().ok());
        let version = etag.map(|etag| {
            let version = etag.trim_start_matches("W/").trim_matches('"');
            Words::new(version).as_str().to_owned()
        });
        Ok(Receipt { status: answer.status.as_u16(), version })
    }

    fn target(&self, what: Outgoing<'_>) -> Result<(Method, Query, Repeat), FhirServerError> {
        Ok(match what {
            Outgoing::Put { resource_type, id, if_match } => {
                require_type(resource_type)?;
                require_id(id)?;
                if_match.map_or(Ok(()), require_id)?;
                // An update under a condition that was done is refused the second time.
                let repeat = if if_match.is_some() { Repeat::IfNotDone } else { Repeat::Always };
                (Method::PUT, self.below(&[resource_type, id])?, repeat)
            }
            Outgoing::Create { resource_type, if_none_exist } => {
                require_type(resource_type)?;
                let once = if_none_exist.is_some();
                let repeat = if once { Repeat::Always } else { Repeat::IfNotDone };
                (Method::POST, self.below(&[resource_type])?, repeat)
            }
            Outgoing::Transaction => (Method::POST, Query(self.base.clone()), Repeat::IfNotDone),
        })
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.client.request(method, url).header(header::ACCEPT, FHIR_JSON);
        match &self.token {
            Some(token) => request.bearer_auth(token.0.as_str()),
            None => request,
        }
    }

    async fn exchange(
        &self,
        repeat: Repeat,
        wants_json: bool,
        build: impl Fn() -> RequestBuilder,
    ) -> Result<Answer, FhirServerError> {
        let mut attempt = 0;
        loop {
            let failure = match self.try_once(wants_json, build()).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if attempt == self.options.retries || !failure.may_repeat(repeat) {
                return Err(failure.error);
            }
            tokio::time::sleep(failure.pause(attempt)).await;
            attempt += 1;
        }
    }

    async fn try_once(&self, wants_json: bool, request: RequestBuilder) -> Result<Answer, Failure> {
        let exchange = async {
            let response = request.send().await.map_err(|error| self.unreachable(&error))?;
            let (status, headers) = (response.status(), response.headers().clone());
            if !status.is_success() {
                let body = body(response, REFUSAL_LIMIT, true).await?;
                return Err(refusal(status, &headers, &body));
            }
            if wants_json && !is_json(&headers) {
                return Err(FhirServerError::Malformed("another content type than JSON").into());
            }
            // What a creation says beside its status is of no use.
            let body = body(response, MAX_ANSWER_LEN, !wants_json).await?;
            Ok(Answer { status, headers, body })
        };
        let after = self.options.timeout;
        let late = || FhirServerError::TimedOut { after }.into();
        tokio::time::timeout(after, exchange).await.unwrap_or_else(|_| Err(late()))
    }

    /// What the HTTP client says, without the URL.
    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        if error.is_timeout() {
            return FhirServerError::TimedOut { after: self.options.timeout }.into();
        }
        let what = if error.is_connect() { "no connection" } else { "the connection broke" };
        let error_is_early = error.is_connect();
        Failure { error: FhirServerError::Unreachable(what), wish: None, not_done: error_is_early }
    }
}

/// `identifier=system|value` with everything escaped that is not plain.
fn condition(base: &Url, system: &str, value: &str) -> String {
    let mut url = base.clone();
    url.set_query(None);
    url.query_pairs_mut().append_pair("identifier", &format!("{system}|{value}"));
    url.query().unwrap_or_default().to_owned()
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json") || kind.to_ascii_lowercase().ends_with("+json")
}

fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
    let said = words(body);
    let code = status.as_u16();
    let error = match code {
        300..=399 => FhirServerError::Redirect { status: code },
        401 | 403 => FhirServerError::Refused { status: code, said },
        404 | 410 => FhirServerError::NotFound { status: code, said },
        409 | 412 => FhirServerError::Conflict { status: code, said },
        429 | 500.. => FhirServerError::Failing { status: code, said },
        _ => FhirServerError::NotTaken { status: code, said },
    };
    let wish = headers.get(header::RETRY_AFTER).and_then(|wish| wish.to_str().ok());
    let wish = wish.and_then(|wish| wish.parse().ok()).map(Duration::from_secs);
    // A server that limits or is not there says so before it does anything.
    Failure { error, wish, not_done: matches!(code, 429 | 503) }
}

/// The body, refused or cut where it gets too long.
async fn body(mut response: Response, limit: usize, cut: bool) -> Result<Vec<u8>, Failure> {
    let too_long = || Failure::from(FhirServerError::TooLong { limit });
    let broke = |_| Failure::from(FhirServerError::Unreachable("the connection broke"));
    let said = usize::try_from(response.content_length().unwrap_or_default());
    let said = said.unwrap_or(usize::MAX);
    if said > limit && !cut {
        return Err(too_long());
    }
    let mut body = Vec::with_capacity(said.min(limit));
    while let Some(part) = response.chunk().await.map_err(broke)? {
        let fits = part.len().min(limit - body.len());
        body.extend_from_slice(&part[..fits]);
        if fits < part.len() {
            return if cut { Ok(body) } else { Err(too_long()) };
        }
    }
    Ok(body)
}
