//! Reading content from whichever place has it right.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    sync::{Arc, mpsc},
};

use bytes::Bytes;
use galen_types::ContentRef;
use tokio::{runtime::Handle, task::JoinHandle};

use crate::{
    LocalReader, NodeFault, Progress, StorageError, Transfer, Way,
    place::Opened,
    storage::{Candidate, Site},
};

/// Pieces that are fetched from a remote place before they are asked for.
const READ_AHEAD: u64 = 2;

/// One content at several places, read piece by piece; a place that fails is passed over for the next one.
pub(crate) struct Source {
    at: ContentRef,
    candidates: Vec<Candidate>,
    /// What is open, beside its candidate.
    opened: Vec<Option<Arc<dyn Opened>>>,
    /// The candidate that answered last.
    current: usize,
    /// Length of the content, once a place said it.
    len: Option<u64>,
    /// Pieces of the current candidate that are on their way, one after the other.
    ahead: VecDeque<(u64, Fetch)>,
    /// What places said before this source was made.
    earlier: Vec<(String, StorageError)>,
    progress: Option<Progress>,
}

/// A piece that is being fetched; given up when dropped.
struct Fetch(JoinHandle<Result<Bytes, StorageError>>);

impl Drop for Fetch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Source {
    /// Nothing is asked yet. `earlier` is what failed before.
    pub(crate) fn new(
        at: ContentRef,
        candidates: Vec<Candidate>,
        earlier: Vec<(String, StorageError)>,
        progress: Option<Progress>,
    ) -> Self {
        let opened = candidates.iter().map(|_| None).collect();
        let ahead = VecDeque::new();
        Self { at, candidates, opened, current: 0, len: None, ahead, earlier, progress }
    }

    /// Length of the content, verified by the first place that has it.
    pub(crate) async fn content_len(&mut self) -> Result<u64, StorageError> {
        if let Some(len) = self.len {
            return Ok(len);
        }
        let mut failures = Vec::new();
        for turn in 0..self.candidates.len() {
            match self.open(turn).await {
                Ok(opened) => {
                    self.current = turn;
                    return Ok(opened.len());
                }
                Err(error) => failures.push((self.name(turn), error)),
            }
        }
        Err(self.everywhere(failures))
    }

    /// The verified piece that holds the position, and where it begins. Every place is asked once at most. What comes
    /// before `ahead` and will be wanted next is fetched meanwhile.
    pub(crate) async fn piece(
        &mut self,
        position: u64,
        ahead: u64,
    ) -> Result<(u64, Bytes), StorageError> {
        let mut failures = Vec::new();
        let first = self.current;
        let turns = (first..self.candidates.len()).chain(0..first);
        for turn in turns {
            match self.piece_of(turn, position, ahead).await {
                Ok(piece) => return Ok(piece),
                Err(error) => failures.push((self.name(turn), error)),
            }
            self.ahead.clear();
        }
        Err(self.everywhere(failures))
    }

    /// The bytes of a range, appended to `bytes`.
    pub(crate) async fn range(
        &mut self,
        range: Range<u64>,
        bytes: &mut Vec<u8>,
    ) -> Result<(), StorageError> {
        let mut position = range.start;
        while position < range.end {
            let (start, piece) = self.piece(position, range.end).await?;
            let piece = from(&piece, position - start);
            let wanted = usize::try_from(range.end - position).unwrap_or(usize::MAX);
            let taken = piece.len().min(wanted);
            bytes.extend_from_slice(&piece[..taken]);
            position += taken as u64;
        }
        Ok(())
    }

    async fn piece_of(
        &mut self,
        turn: usize,
        position: u64,
        ahead: u64,
    ) -> Result<(u64, Bytes), StorageError> {
        let opened = self.open(turn).await?;
        self.current = turn;
        let index = position / opened.piece_len();
        let start = index * opened.piece_len();
        // Whoever jumps has no use for what comes after the place that was left.
        while self.ahead.front().is_some_and(|(next, _)| *next != index) {
            self.ahead.pop_front();
        }
        let fetch = match self.ahead.pop_front() {
            Some((_, fetch)) => fetch,
            None => fetch(&opened, index),
        };
        if self.is_remote(turn) {
            self.fetch_ahead(&opened, index, ahead);
        }
        let piece = match joined(fetch).await {
            Ok(piece) => piece,
            Err(error) => {
                self.site(turn).failed(&error);
                return Err(error);
            }
        };
        // A piece that is shorter than its place says would make the reader go round for ever.
        let expected = opened.len().min(start + opened.piece_len()) - start;
        if piece.len() as u64 != expected {
            return Err(StorageError::Integrity(self.at));
        }
        self.tell(turn, start + expected, opened.len());
        Ok((start, piece))
    }

    fn fetch_ahead(&mut self, opened: &Arc<dyn Opened>, index: u64, ahead: u64) {
        let pieces = ahead.min(opened.len()).div_ceil(opened.piece_len());
        let next = self.ahead.back().map_or(index + 1, |(last, _)| last + 1);
        for index in next..pieces.min(index + 1 + READ_AHEAD) {
            self.ahead.push_back((index, fetch(opened, index)));
        }
    }

    async fn open(&mut self, turn: usize) -> Result<Arc<dyn Opened>, StorageError> {
        if let Some(opened) = &self.opened[turn] {
            return Ok(Arc::clone(opened));
        }
        let candidate = &self.candidates[turn];
        let opened: Arc<dyn Opened> = match candidate.site.place.open(&candidate.at).await {
            Ok(opened) => opened.into(),
            Err(error) => {
                candidate.site.failed(&error);
                return Err(error);
            }
        };
        // Each length was verified against the same content, so this does not happen unless a place has a bug.
        if opened.piece_len() == 0 || self.len.is_some_and(|len| len != opened.len()) {
            return Err(StorageError::Integrity(self.at));
        }
        self.len = Some(opened.len());
        self.opened[turn] = Some(Arc::clone(&opened));
        Ok(opened)
    }

    fn site(&self, turn: usize) -> &Site {
        &self.candidates[turn].site
    }

    fn is_remote(&self, turn: usize) -> bool {
        self.site(turn).local.is_none()
    }

    fn name(&self, turn: usize) -> String {
        self.site(turn).name().to_owned()
    }

    fn tell(&self, turn: usize, done: u64, total: u64) {
        if let Some(progress) = self.progress.as_ref().filter(|_| self.is_remote(turn)) {
            let (place, content) = (self.site(turn).name(), self.at);
            progress.tell(&Transfer { place, content, way: Way::Down, done, total });
        }
    }

    fn everywhere(&mut self, failures: Vec<(String, StorageError)>) -> StorageError {
        let mut all = std::mem::take(&mut self.earlier);
        all.extend(failures);
        everywhere(self.at, all)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.at)
    }
}

/// What to say when no place has the content right: a single place speaks for itself.
pub(crate) fn everywhere(
    at: ContentRef,
    mut failures: Vec<(String, StorageError)>,
) -> StorageError {
    match failures.len() {
        0 => StorageError::Unsupported(at),
        1 => failures.swap_remove(0).1,
        _ => StorageError::Everywhere { at, failures },
    }
}

fn fetch(opened: &Arc<dyn Opened>, index: u64) -> Fetch {
    let opened = Arc::clone(opened);
    Fetch(tokio::spawn(async move { opened.piece(index).await }))
}

async fn joined(mut fetch: Fetch) -> Result<Bytes, StorageError> {
    match (&mut fetch.0).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StorageError::ShutDown),
        },
    }
}

/// The bytes from an offset on; empty if there are none.
fn from(bytes: &[u8], offset: u64) -> &[u8] {
    usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default()
}

/// Content open for reading and seeking, each byte verified before it is handed out.
///
/// What lies on this machine is read as a file; what lies elsewhere comes piece by piece, the next ones fetched ahead.
/// A place that fails half way is passed over for the next one that has the content. Needs constant memory.
///
/// It blocks: use it where blocking is allowed, which is on no thread that runs async code. As [`Read`] and [`Seek`]
/// it fails with [`io::Error`]; [`StorageError::behind`] gives the cause.
pub struct ContentReader {
    at: ContentRef,
    len: u64,
    position: u64,
    /// The file, while it is right, and its place's name.
    local: Option<(String, LocalReader)>,
    /// All other places. Away only while it works.
    source: Option<Source>,
    /// The verified piece that was read last, and where it begins.
    piece: (u64, Bytes),
    runtime: Handle,
}

impl ContentReader {
    pub(crate) fn of_file(name: String, file: LocalReader, others: Source) -> Self {
        let len = file.content_len();
        Self::new(len, Some((name, file)), others)
    }

    /// Of a source whose length is known.
    pub(crate) fn of_source(len: u64, source: Source) -> Self {
        Self::new(len, None, source)
    }

    fn new(len: u64, local: Option<(String, LocalReader)>, source: Source) -> Self {
        let (at, runtime) = (source.at, Handle::current());
        Self {
            at,
            len,
            position: 0,
            local,
            source: Some(source),
            piece: (0, Bytes::new()),
            runtime,
        }
    }

    /// Length of the content in bytes, verified.
    pub const fn content_len(&self) -> u64 {
        self.len
    }

    /// The bytes of a range. Moves the position behind it.
    ///
    /// # Errors
    ///
    /// [`StorageError::OutOfRange`], and whatever the places said if none of them has the content right.
    pub fn range(&mut self, range: Range<u64>) -> Result<Vec<u8>, StorageError> {
        let Range { start, end } = range;
        let wanted = end.checked_sub(start).and_then(|wanted| usize::try_from(wanted).ok());
        let Some(wanted) = wanted.filter(|_| end <= self.len) else {
            return Err(StorageError::OutOfRange { at: self.at, start, end, len: self.len });
        };
        let mut bytes = vec![0; wanted];
        self.position = start;
        let mut filled = 0;
        while filled < wanted {
            filled += self.read_some(&mut bytes[filled..])?;
        }
        Ok(bytes)
    }

    /// At least one byte unless the end is reached or `buffer` is empty.
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, StorageError> {
        if buffer.is_empty() || self.position >= self.len {
            return Ok(0);
        }
        if let Some(taken) = self.read_file(buffer)? {
            self.position += taken as u64;
            return Ok(taken);
        }
        let (start, piece) = &self.piece;
        let offset = self.position.checked_sub(*start);
        if offset.is_none_or(|offset| offset >= piece.len() as u64) {
            // Who reads on will go on reading; who jumps wants one piece, as far as anybody knows.
            let reads_on = self.position == start + piece.len() as u64;
            let ahead = if reads_on && self.position > 0 { self.len } else { 0 };
            self.piece = self.fetch(self.position, ahead)?;
        }
        let (start, piece) = &self.piece;
        let verified = from(piece, self.position - start);
        let taken = verified.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&verified[..taken]);
        self.position += taken as u64;
        Ok(taken)
    }

    /// `None` if there is no file, or it turned out to be damaged and other places may have the content.
    fn read_file(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, StorageError> {
        let Some((name, file)) = &mut self.local else { return Ok(None) };
        let read = file.seek(SeekFrom::Start(self.position)).and_then(|_| file.read(buffer));
        let error = match read {
            Ok(taken) => return Ok(Some(taken)),
            Err(error) => unwrap_io(error),
        };
        match &mut self.source {
            Some(source) if !source.candidates.is_empty() => {
                source.earlier.push((name.clone(), error));
                self.local = None;
                Ok(None)
            }
            _ => Err(error),
        }
    }

    fn fetch(&mut self, position: u64, ahead: u64) -> Result<(u64, Bytes), StorageError> {
        let Some(mut source) = self.source.take() else { return Err(StorageError::ShutDown) };
        // Not `block_on`: a runtime that shuts down drops the task, and that is an answer, too.
        let (tell, told) = mpsc::sync_channel(1);
        self.runtime.spawn(async move {
            let piece = source.piece(position, ahead).await;
            // Nobody waits if the reader's thread is gone.
            drop(tell.send((source, piece)));
        });
        let (source, piece) = told.recv().map_err(|_| StorageError::ShutDown)?;
        self.source = Some(source);
        piece
    }
}

/// The store's own error behind an error of a reader.
pub(crate) fn unwrap_io(error: io::Error) -> StorageError {
    match error.downcast::<StorageError>() {
        Ok(behind) => behind,
        Err(source) => StorageError::io("read content")(source),
    }
}

/// The store's own error behind a failed source of a put.
pub(crate) fn unwrap_source(error: StorageError) -> StorageError {
    match error {
        StorageError::Source(source) => {
            source.downcast::<StorageError>().unwrap_or_else(StorageError::Source)
        }
        other => other,
    }
}

impl Read for ContentReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_some(buffer)?)
    }
}

impl Seek for ContentReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.len.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl fmt::Debug for ContentReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentReader({}, {} bytes)", self.at, self.len)
    }
}

/// Whether an error says that the place itself does not work, rather than that it lacks the content.
pub(crate) const fn is_out_of_order(error: &StorageError) -> bool {
    let StorageError::Node { fault, .. } = error else { return false };
    match fault {
        NodeFault::Unreachable(_) | NodeFault::TimedOut(_) | NodeFault::RateLimited => true,
        NodeFault::Status(status) => *status >= 500,
        _ => false,
    }
}
