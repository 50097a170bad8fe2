//! Sending content to the places that keep it.

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

use super::{Shared, Site, Storage};
use crate::{
    Addresses, LocalStore, NodeFault, Pending, StorageError,
    blocking::blocking,
    place::Upload,
    state::{Claim, UploadMarks},
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

    /// Gives up an upload that is not finished, also one to a place that the settings do not name any more; `false` if
    /// there is none, or somebody works on it. What only waited for it is not staged any longer.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`].
    pub async fn give_up(&self, pending: &Pending) -> Result<bool, StorageError> {
        let (addresses, place) = (pending.addresses, pending.place.clone());
        let given_up = self.with_state(move |state| {
            let Claim::Ours(marks) = state.uploads.claim(&addresses, &place, false)? else {
                return Ok(false);
            };
            state.uploads.remove(marks)?;
            Ok(true)
        });
        let given_up = given_up.await?;
        self.tidy(&addresses).await?;
        Ok(given_up)
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
    pub(super) async fn claim(
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
    pub(super) async fn send(
        &self,
        site: &Arc<Site>,
        marks: Box<UploadMarks>,
        staged: &LocalStore,
        addresses: &Addresses,
    ) -> Result<(), StorageError> {
        let marks = Box::new(marks.with_progress(self.shared.progress.clone()));
        let upload = Upload { addresses: *addresses, staged, marks: &*marks };
        let sent = site.place.send(&upload).await;
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

    /// Whether it is noted that the place has the content.
    pub(super) async fn is_noted(
        &self,
        addresses: &Addresses,
        site: &Site,
    ) -> Result<bool, StorageError> {
        let (addresses, place) = (*addresses, site.name().to_owned());
        self.with_state(move |state| state.copies.has(&addresses, &place)).await
    }

    pub(super) async fn note_kept(
        &self,
        addresses: &Addresses,
        site: &Site,
    ) -> Result<(), StorageError> {
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
}

impl Shared {
    pub(super) fn notice(&self, notice: Notice) {
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        if notices.len() < MAX_NOTICES {
            notices.push(notice);
        }
    }
}
