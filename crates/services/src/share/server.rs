//! The HTTP side of a folder of links.

use std::{
    collections::HashMap,
    fmt,
    fs::{File, OpenOptions},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, RawQuery, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use galen_crypto::jose::LinkKey;
use galen_sdk::health_link::{LinkManifest, ManifestFile, ManifestRequest, recipient_in};
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    ShareError,
    store::{Claim, Refusal, ShareId, ShareStore, StoredFile, inert},
};
use crate::http::HttpLimits;

/// How long the address of a file is good for.
const TICKET_LIFETIME: Duration = Duration::from_secs(600);

/// Most addresses of files at a time.
const MAX_TICKETS: usize = 10_000;

/// Longest request, in bytes.
const MAX_BODY_LEN: usize = 16 * 1024;

/// Longest passcode that is looked at, in bytes.
const MAX_PASSCODE_LEN: usize = 256;

/// Something that the server did, for its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareEvent {
    /// The beginning of the link's id.
    pub link: String,
    /// Who asked, made inert.
    pub recipient: String,
    /// `opened`, `refused` (the passcode), `gone` or `failed`.
    pub outcome: &'static str,
}

impl fmt::Display for ShareEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.outcome, self.link, self.recipient)
    }
}

/// Serves a folder of links. One process at a time for each folder.
#[derive(Clone)]
pub struct ShareServer(Arc<Inner>);

struct Inner {
    store: ShareStore,
    base_url: String,
    log: Box<dyn Fn(&ShareEvent) + Send + Sync>,
    /// One request for a link at a time, so that attempts are counted one after the other.
    turns: Mutex<HashMap<ShareId, Arc<tokio::sync::Mutex<()>>>>,
    tickets: Mutex<HashMap<String, Ticket>>,
    _held: File,
}

struct Ticket {
    id: ShareId,
    index: usize,
    until: Instant,
}

impl fmt::Debug for ShareServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShareServer").field("store", &self.0.store).finish_non_exhaustive()
    }
}

impl ShareServer {
    /// A server for a folder, which others reach under `base_url`; tells `log` of every request for a link that
    /// exists.
    ///
    /// # Errors
    ///
    /// [`ShareError::Busy`]: another process serves the folder. [`ShareError::Io`].
    pub fn new(
        store: ShareStore,
        base_url: &str,
        log: impl Fn(&ShareEvent) + Send + Sync + 'static,
    ) -> Result<Self, ShareError> {
        store.make_folder()?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let held = options.open(store.folder().join(".serving"))?;
        match held.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(ShareError::Busy),
            Err(std::fs::TryLockError::Error(error)) => return Err(error.into()),
        }
        Ok(Self(Arc::new(Inner {
            store,
            base_url: base_url.trim_end_matches('/').to_owned(),
            log: Box::new(log),
            turns: Mutex::default(),
            tickets: Mutex::default(),
            _held: held,
        })))
    }

    /// The routes, for [`crate::http::serve`].
    pub fn router(&self) -> Router {
        Router::new()
            .route("/", get(|| async { "Galen serves SMART Health Links here.\n" }))
            .route("/{id}", get(get_direct).post(post_manifest).options(preflight))
            .route("/{id}/{file}/{ticket}", get(get_file).options(preflight))
            .with_state(self.clone())
    }

    /// Limits of the HTTP server that fit links.
    pub fn http_limits() -> HttpLimits {
        HttpLimits { body: MAX_BODY_LEN, ..HttpLimits::default() }
    }

    /// Hands out the files of a link, one request at a time.
    async fn claim(&self, id: &ShareId, asked: Asked) -> Result<Vec<StoredFile>, Refusal> {
        let turn = self.turn(id)?;
        // A caller that hangs up does not stop the count.
        let (server, id) = (self.clone(), id.clone());
        let work = tokio::spawn(async move {
            let _turn = turn.lock().await;
            let store = server.0.store.clone();
            let claimed = tokio::task::spawn_blocking(move || {
                let claim = Claim {
                    recipient: &asked.recipient,
                    passcode: asked.passcode.as_ref().map(|text| text.as_str()),
                    direct: asked.direct,
                    now: unix_now(),
                };
                let claimed = store.claim(&id, &claim);
                let outcome = match &claimed {
                    Ok(_) => "opened",
                    Err(Refusal::Passcode { .. }) => "refused",
                    Err(Refusal::Gone) => "gone",
                    Err(Refusal::Failed(_)) => "failed",
                };
                let recipient = inert(&asked.recipient);
                (server.0.log)(&ShareEvent { link: id.short().to_owned(), recipient, outcome });
                claimed
            });
            claimed.await
        });
        let lost = || Refusal::Failed(ShareError::Damaged("a request ended early"));
        work.await.ok().and_then(Result::ok).ok_or_else(lost)?
    }

    /// The turn of a link that exists, so that only those are remembered.
    fn turn(&self, id: &ShareId) -> Result<Arc<tokio::sync::Mutex<()>>, Refusal> {
        if !self.0.store.has(id) {
            return Err(Refusal::Gone);
        }
        Ok(Arc::clone(lock(&self.0.turns).entry(id.clone()).or_default()))
    }

    /// The manifest: files as they are if they are short enough for the reader, else where to get them.
    fn manifest(
        &self,
        id: &ShareId,
        files: Vec<StoredFile>,
        most: Option<u64>,
    ) -> Result<LinkManifest, Refusal> {
        let fits = |jwe: &str| most.is_none_or(|most| jwe.len() as u64 <= most);
        let entry = |(index, file): (usize, StoredFile)| {
            let location = if fits(&file.jwe) { None } else { Some(self.ticket(id, index)?) };
            let embedded = if location.is_none() { Some(file.jwe) } else { None };
            Ok(ManifestFile { content_type: file.content_type, embedded, location })
        };
        let files: Result<Vec<_>, Refusal> = files.into_iter().enumerate().map(entry).collect();
        Ok(LinkManifest { files: files? })
    }

    /// A fresh address of one file.
    fn ticket(&self, id: &ShareId, index: usize) -> Result<String, Refusal> {
        let text = LinkKey::generate().map_err(ShareError::from)?.to_text();
        let now = Instant::now();
        let mut tickets = lock(&self.0.tickets);
        tickets.retain(|_, ticket| ticket.until > now);
        if tickets.len() >= MAX_TICKETS {
            return Err(Refusal::Failed(ShareError::Busy));
        }
        let ticket = Ticket { id: id.clone(), index, until: now + TICKET_LIFETIME };
        tickets.insert(text.to_string(), ticket);
        Ok(format!("{}/{}/{index}/{}", self.0.base_url, id.expose(), text.as_str()))
    }

    async fn ticketed(
        &self,
        id: &ShareId,
        index: usize,
        ticket: &str,
    ) -> Result<StoredFile, Refusal> {
        let good = lock(&self.0.tickets)
            .get(ticket)
            .is_some_and(|it| it.id == *id && it.index == index && it.until > Instant::now());
        if !good {
            return Err(Refusal::Gone);
        }
        let (store, id) = (self.0.store.clone(), id.clone());
        let read = tokio::task::spawn_blocking(move || store.file_of(&id, index, unix_now())).await;
        read.map_err(|_| Refusal::Gone)?
    }
}

struct Asked {
    recipient: String,
    passcode: Option<Zeroizing<String>>,
    direct: bool,
}

async fn post_manifest(
    State(server): State<ShareServer>,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Ok(id) = id.parse::<ShareId>() else { return refused(&Refusal::Gone) };
    let body = body.ok().and_then(|body| serde_json::from_slice::<ManifestRequest>(&body).ok());
    let named = |request: &ManifestRequest| !inert(&request.recipient).is_empty();
    let short = |request: &ManifestRequest| {
        request.passcode.as_ref().is_none_or(|passcode| passcode.len() <= MAX_PASSCODE_LEN)
    };
    let Some(request) = body.filter(|request| named(request) && short(request)) else {
        return bad(
            "send {\"recipient\":\"who you are\"} as JSON, with the passcode if there is one",
        );
    };
    let most = request.embedded_length_max;
    let asked = Asked { recipient: request.recipient, passcode: request.passcode, direct: false };
    let files = server.claim(&id, asked).await;
    match files.and_then(|files| server.manifest(&id, files, most)) {
        Ok(manifest) => (headers(), Json(manifest)).into_response(),
        Err(refusal) => refused(&refusal),
    }
}

async fn get_direct(
    State(server): State<ShareServer>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    method: Method,
) -> Response {
    let Ok(id) = id.parse::<ShareId>() else { return refused(&Refusal::Gone) };
    // Previews of chats ask for the head alone; that must not use up a link.
    if method != Method::GET {
        return (StatusCode::METHOD_NOT_ALLOWED, headers()).into_response();
    }
    let recipient = recipient_in(&query.unwrap_or_default()).unwrap_or_default();
    if inert(&recipient).is_empty() {
        return bad("say who you are: ?recipient=");
    }
    match server.claim(&id, Asked { recipient, passcode: None, direct: true }).await {
        Ok(files) => jose(files.into_iter().next()),
        Err(refusal) => refused(&refusal),
    }
}

async fn get_file(
    State(server): State<ShareServer>,
    Path((id, file, ticket)): Path<(String, String, String)>,
) -> Response {
    let (Ok(id), Ok(index)) = (id.parse::<ShareId>(), file.parse()) else {
        return refused(&Refusal::Gone);
    };
    match server.ticketed(&id, index, &ticket).await {
        Ok(file) => jose(Some(file)),
        Err(refusal) => refused(&refusal),
    }
}

/// Viewers are pages of other sites, so browsers ask first.
async fn preflight() -> Response {
    let mut headers = headers();
    let mut set = |name, value| drop(headers.insert(name, HeaderValue::from_static(value)));
    set(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST");
    set(header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type");
    set(header::ACCESS_CONTROL_MAX_AGE, "3600");
    (StatusCode::NO_CONTENT, headers).into_response()
}

fn jose(file: Option<StoredFile>) -> Response {
    let Some(file) = file else { return refused(&Refusal::Gone) };
    let mut headers = headers();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jose"));
    (headers, file.jwe).into_response()
}

fn refused(refusal: &Refusal) -> Response {
    match refusal {
        Refusal::Gone => (StatusCode::NOT_FOUND, headers(), Json(json!({}))).into_response(),
        Refusal::Passcode { remaining } => {
            let body = Json(json!({ "remainingAttempts": remaining }));
            (StatusCode::UNAUTHORIZED, headers(), body).into_response()
        }
        Refusal::Failed(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, headers(), Json(json!({}))).into_response()
        }
    }
}

fn bad(what: &str) -> Response {
    (StatusCode::BAD_REQUEST, headers(), Json(json!({ "error": what }))).into_response()
}

/// Any page may ask, nothing in between may keep the answer.
fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut set = |name, value| drop(headers.insert(name, HeaderValue::from_static(value)));
    set(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    set(header::CACHE_CONTROL, "no-store");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    headers
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Maps hold together after a panic elsewhere.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
