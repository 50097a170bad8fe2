//! The directory of a local store, published by any web server: files as [`LocalStore`](crate::LocalStore) has
//! them, read in ranges and verified by their trees.
//!
//! The walk through a tree is that of local files. It works on what was fetched so far; where something is missing,
//! that is fetched and the walk begins anew, so nothing blocks and nothing is verified twice over.

use std::{
    collections::VecDeque,
    fmt, io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use alloy_primitives::hex;
use async_trait::async_trait;
use bytes::Bytes;
use galen_types::{ContentRef, Store};
use reqwest::{Client, StatusCode, Url, header};

use crate::{
    Health, LocalReader, NodeFault, StorageError,
    http::{Answer, Ask, Http},
    local::{
        MARKER, Version,
        file::{ContentFile, ReadAt},
        names,
    },
    place::{Opened, Place, Upload},
};

/// Bytes of a piece: few requests, and little to fetch in vain.
const PIECE_LEN: u64 = 1 << 20;

/// How much is fetched at once of what lies behind the content, and of the end of a file when it is opened, in bytes.
const STEP_LEN: u64 = 64 << 10;

/// Longest file that is fetched whole from a server that knows no ranges, in bytes.
const MAX_WHOLE_LEN: usize = 32 << 20;

/// Most parts of one file that are remembered.
const MAX_PARTS: usize = 16;

/// Longest text that says what a directory is, in bytes.
const MAX_MARKER_LEN: usize = 64;

/// What a server is asked to do, for errors.
const ACTION: &str = "hand out content";

/// How often a walk begins anew: once for the content, and once for each level of the tree, generously.
const MAX_WALKS: usize = 16;

/// Web servers under a name.
#[derive(Debug)]
pub(crate) struct FolderPlace {
    name: String,
    web: Arc<Http>,
}

impl FolderPlace {
    pub(crate) fn new(name: String, web: Http) -> Self {
        Self { name, web: Arc::new(web) }
    }

    /// Where the file lies below the base URL.
    async fn path_of(&self, at: &ContentRef) -> Result<String, StorageError> {
        let swarm = match at.store {
            Store::Swarm => at.digest,
            Store::Ipfs => {
                let path = sharded("ipfs", at);
                let answer = get(&self.web, &path, None, names::NAME_LEN).await?;
                match answer.status {
                    StatusCode::OK => {
                        names::parse(&answer.body).ok_or(StorageError::Integrity(*at))?
                    }
                    StatusCode::NOT_FOUND | StatusCode::GONE => {
                        return Err(StorageError::NotFound(*at));
                    }
                    _ => return Err(answer.unexpected(ACTION)),
                }
            }
        };
        Ok(sharded("swarm", &ContentRef::swarm(swarm)))
    }

    async fn open_at(&self, at: &ContentRef) -> Result<Folder, StorageError> {
        let path = self.path_of(at).await?;
        let (start, end) = open_end(&self.web, &path, at).await?;
        let file = Remote {
            web: Arc::clone(&self.web),
            path,
            at: *at,
            len: start + end.len() as u64,
            fetched: Arc::default(),
        };
        file.fetched().end = (start, end);
        let over = |remote: &Remote| {
            let window = Window { fetched: Arc::clone(&remote.fetched) };
            LocalReader::over(ContentFile::new(Box::new(window), remote.len, at)?)
        };
        let reader = file.walk(|| over(&file)).await?;
        Ok(Folder { len: reader.content_len(), file, reader: tokio::sync::Mutex::new(reader) })
    }
}

#[async_trait]
impl Place for FolderPlace {
    fn name(&self) -> &str {
        &self.name
    }

    fn understands(&self, _store: Store) -> bool {
        true
    }

    fn is_writable(&self) -> bool {
        false
    }

    async fn open(&self, at: &ContentRef) -> Result<Box<dyn Opened>, StorageError> {
        let mut failure = StorageError::NotFound(*at);
        for _ in 0..self.web.endpoints() {
            let node = self.web.node().to_owned();
            match self.open_at(at).await {
                Ok(opened) => return Ok(Box::new(opened)),
                // Another server may have it, and right.
                Err(error @ (StorageError::NotFound(_) | StorageError::Integrity(_))) => {
                    failure = error;
                }
                Err(error) => return Err(error),
            }
            self.web.pass_over(&node);
        }
        Err(failure)
    }

    async fn send(&self, _upload: &Upload<'_>) -> Result<(), StorageError> {
        Err(StorageError::ReadOnly(self.name.clone()))
    }

    async fn release(&self, _at: &ContentRef) -> Result<bool, StorageError> {
        Err(StorageError::ReadOnly(self.name.clone()))
    }

    async fn health(&self) -> Result<Health, StorageError> {
        let answer = get(&self.web, MARKER, None, MAX_MARKER_LEN).await?;
        if answer.status != StatusCode::OK || Version::of(&answer.body).is_none() {
            let what = NodeFault::Malformed("that it is a content store");
            return Err(answer.fault("say what it is", what));
        }
        let version = String::from_utf8_lossy(&answer.body).trim_end().to_owned();
        Ok(Health { version: Some(version), ..Health::default() })
    }
}

/// One content file on a web server.
struct Folder {
    len: u64,
    file: Remote,
    reader: tokio::sync::Mutex<LocalReader>,
}

#[async_trait]
impl Opened for Folder {
    fn len(&self) -> u64 {
        self.len
    }

    fn piece_len(&self) -> u64 {
        PIECE_LEN
    }

    async fn piece(&self, index: u64) -> Result<Bytes, StorageError> {
        let range = index * PIECE_LEN..self.len.min((index + 1) * PIECE_LEN);
        // Before the lock: several pieces may be on their way.
        if !self.file.fetched().has(&range) {
            self.file.fetch(range.clone()).await?;
        }
        let mut reader = self.reader.lock().await;
        let piece = self.file.walk(|| reader.range(range.clone())).await;
        self.file.fetched().forget(range.start);
        piece.map(Bytes::from)
    }
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Folder({}, {} bytes)", self.file.at, self.len)
    }
}

/// A file and what was fetched of it.
struct Remote {
    web: Arc<Http>,
    path: String,
    at: ContentRef,
    len: u64,
    fetched: Arc<Mutex<Fetched>>,
}

impl Remote {
    /// Works on what was fetched, and fetches what that lacks, until it has everything.
    async fn walk<T>(
        &self,
        mut work: impl FnMut() -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        for _ in 0..MAX_WALKS {
            let done = work();
            let Some(missing) = self.fetched().missing.take() else { return done };
            let end = missing.end.max(self.len.min(missing.start + STEP_LEN));
            self.fetch(missing.start..end).await?;
        }
        Err(StorageError::Integrity(self.at))
    }

    async fn fetch(&self, range: Range<u64>) -> Result<(), StorageError> {
        let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let header = format!("bytes={}-{}", range.start, range.end - 1);
        let answer = get(&self.web, &self.path, Some(&header), wanted).await?;
        match answer.status {
            StatusCode::PARTIAL_CONTENT => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                return Err(StorageError::NotFound(self.at));
            }
            _ => return Err(answer.unexpected(ACTION)),
        }
        if answer.body.len() != wanted || start_of(&answer) != Some((range.start, self.len)) {
            return Err(answer.fault(ACTION, NodeFault::Malformed("the bytes asked for")));
        }
        self.fetched().add(range.start, answer.body);
        Ok(())
    }

    fn fetched(&self) -> MutexGuard<'_, Fetched> {
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Parts of a file, not verified.
#[derive(Default)]
struct Fetched {
    /// The last bytes, or all of them.
    end: (u64, Bytes),
    parts: VecDeque<(u64, Bytes)>,
    /// What was asked for in vain.
    missing: Option<Range<u64>>,
}

impl Fetched {
    fn find(&self, range: &Range<u64>) -> Option<Bytes> {
        self.parts.iter().chain([&self.end]).find_map(|(start, part)| {
            let from = usize::try_from(range.start.checked_sub(*start)?).ok()?;
            let len = usize::try_from(range.end - range.start).ok()?;
            (from.checked_add(len)? <= part.len()).then(|| part.slice(from..from + len))
        })
    }

    fn has(&self, range: &Range<u64>) -> bool {
        self.find(range).is_some()
    }

    fn add(&mut self, start: u64, part: Bytes) {
        if self.parts.len() == MAX_PARTS {
            self.parts.pop_front();
        }
        self.parts.push_back((start, part));
    }

    fn forget(&mut self, start: u64) {
        self.parts.retain(|(other, _)| *other != start);
    }
}

/// What was fetched, as a file.
struct Window {
    fetched: Arc<Mutex<Fetched>>,
}

impl ReadAt for Window {
    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let range = offset..offset + bytes.len() as u64;
        let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        match fetched.find(&range) {
            Some(part) => {
                bytes.copy_from_slice(&part);
                Ok(())
            }
            None => {
                fetched.missing = Some(range);
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
    }
}

/// The last bytes of a file and where they begin; the whole file from a server that knows no ranges.
async fn open_end(web: &Http, path: &str, at: &ContentRef) -> Result<(u64, Bytes), StorageError> {
    let answer = match get(web, path, Some(&format!("bytes=-{STEP_LEN}")), MAX_WHOLE_LEN).await {
        Err(StorageError::Node { node, action, fault: NodeFault::TooLong(limit) }) => {
            return Err(StorageError::Node { node, action, fault: NodeFault::NoRanges(limit) });
        }
        answer => answer?,
    };
    match answer.status {
        StatusCode::OK => Ok((0, answer.body)),
        StatusCode::PARTIAL_CONTENT => match start_of(&answer) {
            Some((start, len)) if start.checked_add(answer.body.len() as u64) == Some(len) => {
                Ok((start, answer.body))
            }
            _ => Err(answer.fault(ACTION, NodeFault::Malformed("the bytes asked for"))),
        },
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(StorageError::NotFound(*at)),
        _ => Err(answer.unexpected(ACTION)),
    }
}

async fn get(
    web: &Http,
    path: &str,
    range: Option<&str>,
    limit: usize,
) -> Result<Answer, StorageError> {
    let build = |client: &Client, base: &Url| {
        let mut url = base.clone();
        url.set_path(&format!("{}{path}", base.path()));
        let request = client.get(url);
        match range {
            Some(range) => request.header(header::RANGE, range),
            None => request,
        }
    };
    web.ask(&Ask { action: ACTION, build: &build, limit, says_no_with_500: false }).await
}

/// Where a part begins and how long the file is (RFC 9110, section 14.4).
fn start_of(answer: &Answer) -> Option<(u64, u64)> {
    let range = answer.headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (part, len) = range.strip_prefix("bytes ")?.split_once('/')?;
    Some((part.split_once('-')?.0.parse().ok()?, len.parse().ok()?))
}

fn sharded(kind: &str, at: &ContentRef) -> String {
    let name = hex::encode(at.digest);
    format!("{kind}/{}/{name}", &name[..2])
}
