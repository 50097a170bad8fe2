//! Content that lies on this machine until every place has it.

use std::sync::Arc;

use galen_types::{ContentRef, Store};

use super::{Site, Storage};
use crate::{Addresses, ContentReader, LocalStore, StorageError, blocking::blocking, state::State};

impl Storage {
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

    /// Where on this machine the content lies, staged or kept, but not in one place.
    pub(super) async fn find_staged(
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

    /// Removes staged content that no upload waits for.
    pub(super) async fn tidy(&self, addresses: &Addresses) -> Result<(), StorageError> {
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
