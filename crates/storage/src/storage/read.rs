//! Reading, and what is asked before reading.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use galen_types::{ContentRef, ErrorKind, Store};

use super::{Candidate, Shared, Storage};
use crate::{
    ContentReader, MAX_RANGE_LEN, StorageError,
    blocking::blocking,
    reader::{Source, everywhere},
};

impl Storage {
    /// The whole content, verified, if it has at most `limit` bytes.
    ///
    /// Places are asked one after the other, those on this machine first; one that fails is passed over for the
    /// next, also half way.
    ///
    /// # Errors
    ///
    /// - [`StorageError::NotFound`]: there is no such content.
    /// - [`StorageError::Integrity`]: the store has other bytes; none of them is returned.
    /// - [`StorageError::TooLong`]: the content is longer than `limit`.
    /// - [`StorageError::Unsupported`]: no place knows this kind of address, and no other address of the content is
    ///   known here.
    /// - [`StorageError::Node`]: a node did not answer as it should.
    /// - [`StorageError::Everywhere`]: what each place said, if several were asked.
    /// - [`StorageError::Io`]: the file system refused; safe to repeat.
    pub async fn get(&self, at: &ContentRef, limit: u64) -> Result<Bytes, StorageError> {
        self.read(at, Wanted::Whole { limit }).await
    }

    /// Some bytes of the content, verified; at most [`MAX_RANGE_LEN`].
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get), and [`StorageError::OutOfRange`].
    pub async fn read_range(
        &self,
        at: &ContentRef,
        range: Range<u64>,
    ) -> Result<Bytes, StorageError> {
        if range.end.saturating_sub(range.start) > MAX_RANGE_LEN {
            return Err(StorageError::TooLong { limit: MAX_RANGE_LEN });
        }
        self.read(at, Wanted::Range(range)).await
    }

    /// Content to read and seek in constant memory, each byte verified before it is handed out.
    ///
    /// The reader itself blocks: use it where blocking is allowed.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get) except `TooLong`.
    pub async fn open(&self, at: &ContentRef) -> Result<ContentReader, StorageError> {
        let mut candidates = self.candidates(at).await?;
        let mut earlier = Vec::new();
        while let Some(store) = candidates.first().and_then(|first| first.site.local.clone()) {
            let candidate = candidates.remove(0);
            let (name, here) = (candidate.site.name().to_owned(), candidate.at);
            match blocking(move || store.reader(&here)).await {
                Ok(file) => {
                    let others = self.source(at, candidates, earlier);
                    return Ok(ContentReader::of_file(name, file, others));
                }
                Err(error) => earlier.push((name, error)),
            }
        }
        let mut source = self.source(at, candidates, earlier);
        let len = source.content_len().await?;
        Ok(ContentReader::of_source(len, source))
    }

    /// Length of the content in bytes, verified.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub async fn len(&self, at: &ContentRef) -> Result<u64, StorageError> {
        let candidates = self.candidates(at).await?;
        self.source(at, candidates, Vec::new()).content_len().await
    }

    /// Whether any place has the content. Says nothing about its state.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open) but `NotFound`: a place that does not answer may have it.
    pub async fn contains(&self, at: &ContentRef) -> Result<bool, StorageError> {
        let mut candidates = self.candidates(at).await?;
        let mut earlier = Vec::new();
        for candidate in &candidates {
            if let Some(store) = candidate.site.local.clone() {
                let here = candidate.at;
                match blocking(move || store.contains(&here)).await {
                    Ok(true) => return Ok(true),
                    Ok(false) => {}
                    Err(error) => earlier.push((candidate.site.name().to_owned(), error)),
                }
            }
        }
        candidates.retain(|candidate| candidate.site.local.is_none());
        if candidates.is_empty() && earlier.is_empty() {
            return Ok(false);
        }
        match self.source(at, candidates, earlier).content_len().await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn read(&self, at: &ContentRef, wanted: Wanted) -> Result<Bytes, StorageError> {
        let mut candidates = self.candidates(at).await?;
        let mut earlier = Vec::new();
        // Mostly the first place is a directory and has it: then one trip to another thread is enough.
        if let Some(store) = candidates.first().and_then(|first| first.site.local.clone()) {
            let candidate = candidates.remove(0);
            let (here, wanted) = (candidate.at, wanted.clone());
            let read = blocking(move || {
                let mut reader = store.reader(&here)?;
                let range = wanted.within(&here, reader.content_len())?;
                reader.range(range)
            });
            match read.await {
                Ok(bytes) => return Ok(bytes.into()),
                // The length is verified, so no other place would have another.
                Err(error @ (StorageError::TooLong { .. } | StorageError::OutOfRange { .. })) => {
                    return Err(error);
                }
                Err(error) => earlier.push((candidate.site.name().to_owned(), error)),
            }
        }
        let mut source = self.source(at, candidates, earlier);
        let range = wanted.within(at, source.content_len().await?)?;
        let mut bytes = Vec::new();
        source.range(range, &mut bytes).await?;
        Ok(bytes.into())
    }

    pub(super) fn source(
        &self,
        at: &ContentRef,
        candidates: Vec<Candidate>,
        earlier: Vec<(String, StorageError)>,
    ) -> Source {
        Source::new(*at, candidates, earlier, self.shared.progress.clone())
    }

    /// The places that may have the content: directories first, places that did not answer lately late, and staged
    /// content last, so that a place is put to the test even while another one still waits for the content.
    pub(super) async fn candidates(&self, at: &ContentRef) -> Result<Vec<Candidate>, StorageError> {
        let mut candidates = self.shared.candidates(at).await?;
        candidates.sort_by_key(|candidate| (!candidate.site.info.local, candidate.site.rests()));
        if candidates.is_empty() {
            return Err(everywhere(*at, Vec::new()));
        }
        if let Some(staged) = &self.shared.staged {
            let (shared, at) = (Arc::clone(&self.shared), *at);
            let here = blocking(move || shared.staged_address(&at)).await?;
            candidates.extend(here.map(|at| Candidate { site: Arc::clone(staged), at }));
        }
        Ok(candidates)
    }
}

impl Shared {
    /// The address under which the content is staged, if it is.
    fn staged_address(&self, at: &ContentRef) -> Result<Option<ContentRef>, StorageError> {
        let Some(state) = &self.state else { return Ok(None) };
        let addresses = match at.store {
            Store::Swarm => Some(*at),
            Store::Ipfs => self.addresses(at)?.map(|addresses| addresses.of(Store::Swarm)),
        };
        match addresses {
            Some(at) if state.staged.contains(&at)? => Ok(Some(at)),
            _ => Ok(None),
        }
    }

    /// Every readable place that can be asked, in the order of the settings.
    async fn candidates(self: &Arc<Self>, at: &ContentRef) -> Result<Vec<Candidate>, StorageError> {
        let readable = self.sites.iter().filter(|site| site.info.readable);
        let mut other = None;
        let mut candidates = Vec::new();
        for site in readable {
            if site.place.understands(at.store) {
                candidates.push(Candidate { site: Arc::clone(site), at: *at });
                continue;
            }
            if other.is_none() {
                let (shared, at) = (Arc::clone(self), *at);
                other = Some(blocking(move || shared.addresses(&at)).await?);
            }
            if let Some(Some(addresses)) = other {
                let at = addresses.of(other_kind(at));
                candidates.push(Candidate { site: Arc::clone(site), at });
            }
        }
        Ok(candidates)
    }
}

pub(super) const fn other_kind(at: &ContentRef) -> Store {
    match at.store {
        Store::Swarm => Store::Ipfs,
        Store::Ipfs => Store::Swarm,
    }
}

/// What of a content is asked for.
#[derive(Clone, Debug)]
enum Wanted {
    Whole { limit: u64 },
    Range(Range<u64>),
}

impl Wanted {
    fn within(&self, at: &ContentRef, len: u64) -> Result<Range<u64>, StorageError> {
        match self {
            Self::Whole { limit } if len > *limit => Err(StorageError::TooLong { limit: *limit }),
            Self::Whole { .. } => Ok(0..len),
            Self::Range(range) if range.start > range.end || range.end > len => {
                let Range { start, end } = *range;
                Err(StorageError::OutOfRange { at: *at, start, end, len })
            }
            Self::Range(range) => Ok(range.clone()),
        }
    }
}
