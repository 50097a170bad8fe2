//! Sending content to one more place, and making places let go of it.

use std::sync::Arc;

use galen_types::ContentRef;

use super::{Depth, Presence, Site, Storage, read::other_kind};
use crate::{
    Addresses, ContentReader, LocalStore, StorageError, blocking::blocking, reader::unwrap_source,
    state::Claim,
};

impl Storage {
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
    pub(super) async fn fetch(
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
            let put = blocking(move || staged.put(reader)).await;
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

    async fn is_whole(&self, at: &ContentRef, site: &Arc<Site>) -> bool {
        matches!(self.presence(at, site, Depth::Whole).await, Presence::Whole)
    }
}
