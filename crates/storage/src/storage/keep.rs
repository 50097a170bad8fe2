//! Sending content to places, and making them let go of it.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use futures_util::{
    StreamExt,
    future::{self, Either},
    stream,
};
use galen_types::{ContentRef, Store};

use super::{Depth, Presence, Shared, Site, Storage, put_addressed, read::other_kind};
use crate::{
    Addresses, ContentReader, LocalStore, NodeFault, Pending, StorageError,
    blocking::blocking,
    place::Upload,
    reader::unwrap_source,
    state::{Claim, State, UploadMarks},
};

/// Most notices that wait to be asked for; further ones are dropped.
pub(super) const MAX_NOTICES: usize = 1_000;

/// How long another process may send the same content to the same place without getting any further.
const MAX_STILL: Duration = Duration::from_secs(60);

/// How often it is looked whether the other process is through.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Unfinished uploads to one place that are resumed side by side.
const RESUMED_SIDE_BY_SIDE: usize = 4;

/// Something went wrong without making a call fail.
#[derive(Debug)]
pub struct Notice {
    /// The place.
    pub place: String,
    /// The content, which the place does not have yet.
    pub content: ContentRef,
    /// Why.
    pub error: StorageError,
}

/// What came of resuming.
#[derive(Debug, Default)]
pub struct Resumed {
    /// Uploads that are finished now.
    pub finished: Vec<Pending>,
    /// Uploads that failed again.
    pub failed: Vec<(Pending, StorageError)>,
    /// Uploads that were left alone: another process works on them, or their place did not answer just before.
    pub left: Vec<Pending>,
}

/// What an upload came to.
enum Outcome {
    Finished,
    Left,
}

impl Storage {
    /// Sends staged content to every place that new content goes to, and returns the address for the chain.
    ///
    /// The first place must take it. If another one does not, this succeeds all the same: the upload stays
    /// [pending](Self::pending), a [notice](Self::notices) says why, and [`resume`](Self::resume) goes on with it,
    /// which later calls of this try as well. Repeating it is safe; what a place confirmed is not sent again, also
    /// after `kill -9`. A call that is dropped stops, and the next one goes on from there.
    ///
    /// # Errors
    ///
    /// - [`StorageError::NowhereToKeep`].
    /// - [`StorageError::NotFound`]: the content is not staged, and not finished either.
    /// - [`StorageError::Busy`]: another process sends it there, and gets no further.
    /// - Whatever the first place says. What is staged stays staged.
    pub async fn publish(&self, at: &ContentRef) -> Result<ContentRef, StorageError> {
        let addresses = self.addresses(at).await?.ok_or(StorageError::NotFound(*at))?;
        self.publish_staged(&addresses).await
    }

    pub(super) async fn publish_staged(
        &self,
        addresses: &Addresses,
    ) -> Result<ContentRef, StorageError> {
        let at = addresses.of(self.address_kind());
        let sites: Vec<_> = self.keep_in.iter().map(|index| &self.shared.sites[*index]).collect();
        let Some(first) = sites.first() else { return Err(StorageError::NowhereToKeep) };
        let Some(staged) = self.find_staged(addresses, None).await? else {
            for site in &sites {
                if !self.is_noted(addresses, site).await? {
                    return Err(StorageError::NotFound(at));
                }
            }
            return Ok(at);
        };
        // All are written down before any begins: whatever ends this process, each place gets its copy.
        let mut jobs = Vec::new();
        for site in &sites {
            if let Some(marks) =
                self.begin(addresses, site, &staged, Arc::ptr_eq(site, first)).await?
            {
                jobs.push((*site, marks));
            }
        }
        let mut must = None;
        let mut may = Vec::new();
        for (site, marks) in jobs {
            let is_first = Arc::ptr_eq(site, first);
            let job = self.job(site, marks, &staged, *addresses, is_first);
            if is_first { must = Some(job) } else { may.push(job) }
        }
        let may = future::join_all(may);
        match must {
            None => drop(may.await),
            Some(must) => match future::select(Box::pin(must), Box::pin(may)).await {
                Either::Left((result, may)) => {
                    result?;
                    may.await;
                }
                Either::Right((_, must)) => must.await?,
            },
        }
        self.tidy(addresses).await?;
        self.catch_up();
        Ok(at)
    }

    /// Goes on with every unfinished upload.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`] if they cannot be listed; how each went is in the result.
    pub async fn resume(&self) -> Result<Resumed, StorageError> {
        let mut places: Vec<(String, Vec<Pending>)> = Vec::new();
        for pending in self.pending().await? {
            match places.iter_mut().find(|(place, _)| *place == pending.place) {
                Some((_, uploads)) => uploads.push(pending),
                None => places.push((pending.place.clone(), vec![pending])),
            }
        }
        let each = places.into_iter().map(|(_, uploads)| {
            let uploads = uploads.into_iter().map(|pending| async move {
                let outcome = self.resume_one(&pending).await;
                (pending, outcome)
            });
            stream::iter(uploads).buffer_unordered(RESUMED_SIDE_BY_SIDE).collect::<Vec<_>>()
        });
        let mut resumed = Resumed::default();
        for (pending, outcome) in future::join_all(each).await.into_iter().flatten() {
            match outcome {
                Ok(Outcome::Finished) => resumed.finished.push(pending),
                Ok(Outcome::Left) => resumed.left.push(pending),
                Err(error) => resumed.failed.push((pending, error)),
            }
        }
        Ok(resumed)
    }

    /// Sends content to one place from whichever other place has it right; `false` if it is there, whole and right.
    ///
    /// # Errors
    ///
    /// - [`StorageError::Setting`]: no place has this name. [`StorageError::ReadOnly`].
    /// - Those of [`open`](Self::open) if no other place has it right.
    /// - Whatever the place says.
    pub async fn copy(&self, at: &ContentRef, place: &str) -> Result<bool, StorageError> {
        let site = Arc::clone(&self.shared.sites[self.index(place)?]);
        if !site.info.writable {
            return Err(StorageError::ReadOnly(place.to_owned()));
        }
        let known = self.addresses(at).await?;
        if let Some(addresses) = &known
            && (site.local.is_some() || self.is_noted(addresses, &site).await?)
            && self.is_whole(at, &site).await
        {
            self.note_kept(addresses, &site).await?;
            return Ok(false);
        }
        let here = match &known {
            Some(addresses) => self.find_staged(addresses, Some(&site)).await?,
            None => None,
        };
        let (addresses, staged) = match known.zip(here) {
            Some(found) => found,
            None => self.fetch(at, &site).await?,
        };
        match self.copy_from(&staged, &addresses, &site).await {
            // What lies here is damaged. Fetched from elsewhere and kept again, it is healed.
            Err(StorageError::Integrity(_) | StorageError::NotFound(_)) => {
                let (addresses, staged) = self.fetch(at, &site).await?;
                self.copy_from(&staged, &addresses, &site).await?;
            }
            result => result?,
        }
        self.tidy(&addresses).await?;
        Ok(true)
    }

    /// Makes one place let go of content, so that it may throw it away; `false` if it did not keep it. An upload of it
    /// that is not finished is given up.
    ///
    /// # Errors
    ///
    /// [`StorageError::Setting`], [`StorageError::ReadOnly`], [`StorageError::Unsupported`] if the place knows content
    /// by its other address, which is not known here; and whatever the place says.
    pub async fn release(&self, at: &ContentRef, place: &str) -> Result<bool, StorageError> {
        let site = &self.shared.sites[self.index(place)?];
        if !site.info.writable {
            return Err(StorageError::ReadOnly(place.to_owned()));
        }
        self.release_at(at, site).await
    }

    /// Removes the content from every place that it can be removed from; `false` if none had it.
    ///
    /// # Errors
    ///
    /// Those of [`release`](Self::release), of the first place that fails; all others have let go of it.
    pub async fn remove(&self, at: &ContentRef) -> Result<bool, StorageError> {
        let (mut removed, mut fault, mut asked) = (false, None, false);
        for site in self.shared.sites.iter().filter(|site| site.info.writable) {
            match self.release_at(at, site).await {
                Ok(had) => removed |= had,
                // What was never sent from here by another address is not there.
                Err(StorageError::Unsupported(_)) => continue,
                Err(error) => fault = fault.or(Some(error)),
            }
            asked = true;
        }
        removed |= self.unstage(at).await?;
        match fault {
            Some(error) => Err(error),
            None if !asked => Err(StorageError::Unsupported(*at)),
            None => Ok(removed),
        }
    }

    /// Opens content that lies on this machine, staged or kept, and asks nobody else.
    ///
    /// # Errors
    ///
    /// Those of [`LocalStore::reader`]; [`StorageError::NotFound`] if it lies nowhere here.
    pub async fn open_staged(&self, at: &ContentRef) -> Result<ContentReader, StorageError> {
        let addresses = self.addresses(at).await?.ok_or(StorageError::NotFound(*at))?;
        let staged = self.find_staged(&addresses, None).await?;
        let store = staged.ok_or(StorageError::NotFound(*at))?;
        let here = addresses.of(Store::Swarm);
        let file = blocking(move || store.reader(&here)).await?;
        let nobody = self.source(at, Vec::new(), Vec::new());
        Ok(ContentReader::of_file("staged".to_owned(), file, nobody))
    }

    /// Throws away what is staged but kept nowhere, such as an intermediate result; `false` if nothing is. Does not
    /// touch places: content that is staged in one stays.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`].
    pub async fn unstage(&self, at: &ContentRef) -> Result<bool, StorageError> {
        let Some(addresses) = self.addresses(at).await? else { return Ok(false) };
        let here = addresses.of(Store::Swarm);
        self.with_state(move |state| {
            if state.uploads.wait_for(&here.digest)? {
                Ok(false)
            } else {
                state.staged.remove(&here)
            }
        })
        .await
    }

    /// Removes staged content that no upload waits for and that `keep` does not want (it is asked with both
    /// addresses); returns how many bytes of content that were. What was staged within the last hour stays: somebody
    /// may be about to publish it.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`].
    pub async fn prune_staged(
        &self,
        keep: &(dyn Fn(&ContentRef) -> bool + Sync),
    ) -> Result<u64, StorageError> {
        let idle = self.with_state(State::idle).await?;
        let mut bytes = 0;
        for addresses in idle {
            if [Store::Swarm, Store::Ipfs].iter().any(|store| keep(&addresses.of(*store))) {
                continue;
            }
            if self.unstage(&addresses.of(Store::Swarm)).await? {
                bytes += addresses.len;
            }
        }
        Ok(bytes)
    }

    /// One upload of [`publish`](Self::publish). An error of a place that is not the first becomes a notice.
    async fn job(
        &self,
        site: &Arc<Site>,
        marks: Box<UploadMarks>,
        staged: &LocalStore,
        addresses: Addresses,
        is_first: bool,
    ) -> Result<(), StorageError> {
        let sent = if is_first || !site.rests() {
            self.send(site, marks, staged, &addresses).await
        } else {
            let fault = NodeFault::Unreachable("none a short while ago".to_owned());
            let (node, action) = (site.name().to_owned(), "take content");
            Err(StorageError::Node { node, action, fault })
        };
        match sent {
            Err(error) if !is_first => {
                let (place, content) = (site.name().to_owned(), addresses.of(self.address_kind()));
                self.shared.notice(Notice { place, content, error });
                Ok(())
            }
            sent => sent,
        }
    }

    /// Writes down that a place is to get the content. `None` if it has it, or somebody else is sending it there
    /// and need not be waited for.
    async fn begin(
        &self,
        addresses: &Addresses,
        site: &Arc<Site>,
        staged: &LocalStore,
        must: bool,
    ) -> Result<Option<Box<UploadMarks>>, StorageError> {
        if site.local.as_ref().is_some_and(|local| local.is_same(staged)) {
            self.note_kept(addresses, site).await?;
            return Ok(None);
        }
        if self.is_noted(addresses, site).await? && self.opens(addresses, site).await {
            return Ok(None);
        }
        self.claim(addresses, site, must).await
    }

    /// Claims an upload and begins it if it is new. If somebody else has it: waits while they get further, if it must
    /// be; otherwise leaves it to them.
    async fn claim(
        &self,
        addresses: &Addresses,
        site: &Arc<Site>,
        must: bool,
    ) -> Result<Option<Box<UploadMarks>>, StorageError> {
        let Some(state) = &self.shared.state else {
            return Ok(Some(Box::new(UploadMarks::in_memory(*addresses, site.name()))));
        };
        let mut waited_for = false;
        let mut seen = (0, Instant::now());
        loop {
            if waited_for && self.is_noted(addresses, site).await? {
                return Ok(None);
            }
            let (state, site, addresses) = (Arc::clone(state), Arc::clone(site), *addresses);
            let place = site.name().to_owned();
            let (claim, written) = blocking(move || {
                let claim = state.uploads.claim(&addresses, site.name(), true)?;
                let written = state.uploads.written(&addresses, site.name());
                Ok((claim, written))
            })
            .await?;
            match claim {
                Claim::Ours(marks) => return Ok(Some(marks)),
                Claim::Theirs if !must => return Ok(None),
                Claim::Theirs | Claim::Gone => {}
            }
            if written != seen.0 {
                seen = (written, Instant::now());
            }
            if seen.1.elapsed() > MAX_STILL {
                return Err(StorageError::Busy { place, at: addresses.of(self.address_kind()) });
            }
            waited_for = true;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Sends what is missing and notes that it is done.
    async fn send(
        &self,
        site: &Arc<Site>,
        marks: Box<UploadMarks>,
        staged: &LocalStore,
        addresses: &Addresses,
    ) -> Result<(), StorageError> {
        let mut marks = Box::new(marks.with_progress(self.shared.progress.clone()));
        let upload = Upload { addresses: *addresses, staged, marks: &*marks };
        let mut sent = site.place.send(&upload).await;
        if sent.as_ref().is_err_and(may_have_forgotten) && marks.was_resumed() {
            // A node that was set up anew does not have what it confirmed to an earlier process.
            marks.forget()?;
            let upload = Upload { addresses: *addresses, staged, marks: &*marks };
            sent = site.place.send(&upload).await;
        }
        if let Err(error) = sent {
            site.failed(&error);
            return Err(error);
        }
        site.answered();
        marks.tell_done();
        let Some(state) = &self.shared.state else { return Ok(()) };
        let (state, site, addresses) = (Arc::clone(state), Arc::clone(site), *addresses);
        blocking(move || {
            state.copies.kept(&addresses, site.name(), !site.info.local)?;
            state.uploads.remove(marks)
        })
        .await
    }

    async fn resume_one(&self, pending: &Pending) -> Result<Outcome, StorageError> {
        let site = Arc::clone(&self.shared.sites[self.index(&pending.place)?]);
        let Some(state) = self.shared.state.as_ref().filter(|_| !site.rests()) else {
            return Ok(Outcome::Left);
        };
        let addresses = pending.addresses;
        let claim = {
            let (state, place) = (Arc::clone(state), pending.place.clone());
            blocking(move || state.uploads.claim(&addresses, &place, false)).await?
        };
        let marks = match claim {
            Claim::Ours(marks) => marks,
            Claim::Theirs => return Ok(Outcome::Left),
            Claim::Gone => return Ok(Outcome::Finished),
        };
        if self.is_noted(&addresses, &site).await? {
            // The process ended between noting the copy and removing the upload.
            let state = Arc::clone(state);
            blocking(move || state.uploads.remove(marks)).await?;
        } else {
            let staged = match self.find_staged(&addresses, Some(&site)).await? {
                Some(staged) => staged,
                None => self.fetch(&addresses.of(Store::Swarm), &site).await?.1,
            };
            self.send(&site, marks, &staged, &addresses).await?;
        }
        self.tidy(&addresses).await?;
        Ok(Outcome::Finished)
    }

    /// Tries unfinished uploads while the program does other things. Whatever ends it leaves them as they are.
    fn catch_up(&self) {
        if self.shared.state.is_none() || self.shared.catches_up.swap(true, Ordering::AcqRel) {
            return;
        }
        let storage = self.clone();
        tokio::spawn(async move {
            // An upload that fails again stays pending, and whoever asks for the pending ones hears of it.
            drop(storage.resume().await);
            storage.shared.catches_up.store(false, Ordering::Release);
        });
    }

    async fn copy_from(
        &self,
        staged: &LocalStore,
        addresses: &Addresses,
        site: &Arc<Site>,
    ) -> Result<(), StorageError> {
        match self.claim(addresses, site, true).await? {
            Some(marks) => self.send(site, marks, staged, addresses).await,
            None => Ok(()),
        }
    }

    /// Stages content from any place but one, and learns both its addresses.
    async fn fetch(
        &self,
        at: &ContentRef,
        but: &Arc<Site>,
    ) -> Result<(Addresses, LocalStore), StorageError> {
        let Some(state) = &self.shared.state else { return Err(StorageError::NowhereToKeep) };
        let mut candidates = self.candidates(at).await?;
        candidates.retain(|candidate| !Arc::ptr_eq(&candidate.site, but));
        if candidates.is_empty() {
            return Err(StorageError::NotFound(*at));
        }
        let mut source = self.source(at, candidates, Vec::new());
        let len = source.content_len().await?;
        let reader = ContentReader::of_source(len, source);
        let staged = state.staged.clone();
        let addresses = {
            let staged = staged.clone();
            let put = blocking(move || put_addressed(&staged, reader)).await;
            put.map_err(unwrap_source)?
        };
        // Every byte was verified on its way, so this holds.
        if addresses.include(at) {
            Ok((addresses, staged))
        } else {
            Err(StorageError::Integrity(*at))
        }
    }

    async fn release_at(&self, at: &ContentRef, site: &Arc<Site>) -> Result<bool, StorageError> {
        let addresses = self.addresses(at).await?;
        let there = if site.place.understands(at.store) {
            *at
        } else {
            let addresses = addresses.ok_or(StorageError::Unsupported(*at))?;
            addresses.of(other_kind(at))
        };
        let released = site.place.release(&there).await.inspect_err(|error| site.failed(error))?;
        let Some(addresses) = addresses else { return Ok(released) };
        let place = site.name().to_owned();
        self.with_state(move |state| {
            if let Claim::Ours(marks) = state.uploads.claim(&addresses, &place, false)? {
                state.uploads.remove(marks)?;
            }
            if state.copies.has(&addresses, &place)? {
                state.copies.released(&addresses, &place)?;
            }
            Ok(())
        })
        .await?;
        Ok(released)
    }

    /// Where on this machine the content lies, staged or kept, but not in one place.
    async fn find_staged(
        &self,
        addresses: &Addresses,
        but: Option<&Arc<Site>>,
    ) -> Result<Option<LocalStore>, StorageError> {
        let but = but.and_then(|site| site.local.clone());
        let (shared, at) = (Arc::clone(&self.shared), addresses.of(Store::Swarm));
        let kept_in: Vec<_> =
            self.keep_in.iter().map(|index| self.shared.sites[*index].clone()).collect();
        blocking(move || {
            let kept_in = kept_in.iter().filter_map(|site| site.local.as_ref());
            let stores = kept_in.chain(shared.local_stores());
            for store in stores.filter(|store| but.as_ref().is_none_or(|but| !but.is_same(store))) {
                if store.contains(&at)? {
                    return Ok(Some(store.clone()));
                }
            }
            Ok(None)
        })
        .await
    }

    /// Whether it is noted that the place has the content.
    async fn is_noted(&self, addresses: &Addresses, site: &Site) -> Result<bool, StorageError> {
        let (addresses, place) = (*addresses, site.name().to_owned());
        self.with_state(move |state| state.copies.has(&addresses, &place)).await
    }

    async fn note_kept(&self, addresses: &Addresses, site: &Site) -> Result<(), StorageError> {
        let (addresses, place, durable) = (*addresses, site.name().to_owned(), !site.info.local);
        self.with_state(move |state| {
            if state.copies.has(&addresses, &place)? {
                return Ok(());
            }
            state.copies.kept(&addresses, &place, durable)
        })
        .await
    }

    /// Whether the place finds the content, asked the cheapest way. An error counts as no: then it is sent.
    async fn opens(&self, addresses: &Addresses, site: &Site) -> bool {
        let kinds = [Store::Swarm, Store::Ipfs].into_iter();
        let Some(store) = kinds.into_iter().find(|store| site.place.understands(*store)) else {
            return false;
        };
        let at = addresses.of(store);
        if site.info.readable {
            site.place.open(&at).await.is_ok()
        } else {
            matches!(site.place.keeps(&at).await, Ok(Some(true)))
        }
    }

    async fn is_whole(&self, at: &ContentRef, site: &Arc<Site>) -> bool {
        matches!(self.presence(at, site, Depth::Whole).await, Presence::Whole)
    }

    /// Removes staged content that no upload waits for.
    async fn tidy(&self, addresses: &Addresses) -> Result<(), StorageError> {
        let at = addresses.of(Store::Swarm);
        self.with_state(move |state| {
            if state.staged.contains(&at)? && !state.uploads.wait_for(&at.digest)? {
                state.staged.remove(&at)?;
            }
            Ok(())
        })
        .await
    }
}

/// Whether an error may come from blocks that the place confirmed once and does not have.
const fn may_have_forgotten(error: &StorageError) -> bool {
    match error {
        StorageError::NotFound(_) => true,
        StorageError::Node { fault, .. } => matches!(
            fault,
            NodeFault::Lost | NodeFault::Said(_) | NodeFault::Status(_) | NodeFault::Malformed(_)
        ),
        _ => false,
    }
}

impl Shared {
    pub(super) fn notice(&self, notice: Notice) {
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        if notices.len() < MAX_NOTICES {
            notices.push(notice);
        }
    }
}
