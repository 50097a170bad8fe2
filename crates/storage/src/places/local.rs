//! A directory on this machine as a place.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use galen_types::{ContentRef, Store};

use crate::{
    Health, LocalReader, LocalStore, StorageError,
    blocking::blocking,
    place::{Opened, Place, Upload},
    reader::unwrap_source,
};

/// Bytes of a piece: enough for the way to another thread and back not to count.
const PIECE_LEN: u64 = 1 << 20;

/// A [`LocalStore`] under a name.
#[derive(Debug)]
pub(crate) struct LocalPlace {
    name: String,
    store: LocalStore,
}

impl LocalPlace {
    pub(crate) fn new(name: String, store: LocalStore) -> Self {
        Self { name, store }
    }
}

#[async_trait]
impl Place for LocalPlace {
    fn name(&self) -> &str {
        &self.name
    }

    fn understands(&self, _: Store) -> bool {
        true
    }

    fn is_writable(&self) -> bool {
        true
    }

    async fn open(&self, at: &ContentRef) -> Result<Box<dyn Opened>, StorageError> {
        let (store, at) = (self.store.clone(), *at);
        let reader = blocking(move || store.reader(&at)).await?;
        let len = reader.content_len();
        Ok(Box::new(OpenedLocal { len, reader: Arc::new(Mutex::new(reader)) }))
    }

    async fn send(&self, upload: &Upload<'_>) -> Result<(), StorageError> {
        let (from, to) = (upload.staged.clone(), self.store.clone());
        let addresses = upload.addresses;
        blocking(move || {
            let at = addresses.of(Store::Swarm);
            let kept = to.put(from.reader(&at)?).map_err(unwrap_source)?;
            // The reader hands out nothing but the content of its address.
            if kept == addresses { Ok(()) } else { Err(StorageError::Integrity(at)) }
        })
        .await?;
        upload.marks.sent(0, addresses.len)
    }

    async fn release(&self, at: &ContentRef) -> Result<bool, StorageError> {
        let (store, at) = (self.store.clone(), *at);
        blocking(move || store.remove(&at)).await
    }

    async fn keeps(&self, at: &ContentRef) -> Result<Option<bool>, StorageError> {
        let (store, at) = (self.store.clone(), *at);
        blocking(move || store.contains(&at)).await.map(Some)
    }

    async fn health(&self) -> Result<Health, StorageError> {
        let store = self.store.clone();
        blocking(move || store.check_version()).await?;
        Ok(Health::default())
    }
}

struct OpenedLocal {
    len: u64,
    reader: Arc<Mutex<LocalReader>>,
}

#[async_trait]
impl Opened for OpenedLocal {
    fn len(&self) -> u64 {
        self.len
    }

    fn piece_len(&self) -> u64 {
        PIECE_LEN
    }

    async fn piece(&self, index: u64) -> Result<Bytes, StorageError> {
        let reader = Arc::clone(&self.reader);
        let range = index * PIECE_LEN..self.len.min((index + 1) * PIECE_LEN);
        blocking(move || {
            // A reader that panicked half way verifies anew whatever it reads.
            let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
            reader.range(range).map(Bytes::from)
        })
        .await
    }
}

impl fmt::Debug for OpenedLocal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenedLocal({} bytes)", self.len)
    }
}
