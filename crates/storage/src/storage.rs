//! The front door: async, and every byte checked.

use std::{io::Read, ops::Range, path::Path, sync::Arc};

use bytes::Bytes;
use galen_types::ContentRef;
use tokio::task;

use crate::{ContentReader, LocalStore, StorageError};

/// A place that keeps sealed content. Cheap to clone.
///
/// Content is handed out only when it was verified against its address, and the address of new content
/// is always the one that this crate computed. Needs a tokio runtime; the work runs on threads that may block.
/// A call that is dropped half way still ends: content is kept whole or not at all.
///
/// ```
/// # async fn example(directory: &std::path::Path) -> Result<(), galen_storage::StorageError> {
/// use galen_storage::Storage;
///
/// let storage = Storage::local(directory).await?;
/// let at = storage.put_bytes("sealed bytes").await?;
/// assert_eq!(storage.get(&at, 1 << 20).await?, "sealed bytes");
/// assert_eq!(storage.read_range(&at, 7..12).await?, "bytes");
/// # Ok(())
/// # }
/// # let directory = tempfile::tempdir().unwrap();
/// # tokio::runtime::Builder::new_current_thread()
/// #     .build()
/// #     .unwrap()
/// #     .block_on(example(directory.path()))
/// #     .unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Storage {
    local: Arc<LocalStore>,
}

impl Storage {
    /// The store in a local directory, which is made if there is none.
    ///
    /// # Errors
    ///
    /// Those of [`LocalStore::open`].
    pub async fn local(directory: impl AsRef<Path>) -> Result<Self, StorageError> {
        let directory = directory.as_ref().to_owned();
        let local = Arc::new(blocking(move || LocalStore::open(directory)).await?);
        Ok(Self { local })
    }

    /// Keeps content of any length in constant memory; durable when this returns.
    ///
    /// # Errors
    ///
    /// Those of [`LocalStore::put`].
    pub async fn put(
        &self,
        content: impl Read + Send + 'static,
    ) -> Result<ContentRef, StorageError> {
        self.run(move |local| local.put(content)).await
    }

    /// Keeps content that is in memory; durable when this returns.
    ///
    /// # Errors
    ///
    /// Those of [`LocalStore::put`].
    pub async fn put_bytes(&self, content: impl Into<Bytes>) -> Result<ContentRef, StorageError> {
        let content = content.into();
        self.run(move |local| local.put(content.as_ref())).await
    }

    /// The whole content, verified, if it has at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// - [`StorageError::NotFound`]: there is no such content.
    /// - [`StorageError::Integrity`]: the store has other bytes; none of them is returned.
    /// - [`StorageError::TooLong`]: the content is longer than `limit`.
    /// - [`StorageError::Unsupported`]: not a Swarm address.
    /// - [`StorageError::Io`]: the file system refused; safe to repeat.
    pub async fn get(&self, at: &ContentRef, limit: u64) -> Result<Bytes, StorageError> {
        let at = *at;
        self.run(move |local| local.get(&at, limit)).await.map(Bytes::from)
    }

    /// Some bytes of the content, verified; at most [`MAX_RANGE_LEN`](crate::MAX_RANGE_LEN).
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get), and [`StorageError::OutOfRange`].
    pub async fn read_range(
        &self,
        at: &ContentRef,
        range: Range<u64>,
    ) -> Result<Bytes, StorageError> {
        let at = *at;
        self.run(move |local| local.read_range(&at, range)).await.map(Bytes::from)
    }

    /// Content to read and seek in constant memory, each byte verified before it is handed out.
    ///
    /// The reader itself blocks: use it where blocking is allowed.
    ///
    /// # Errors
    ///
    /// Those of [`get`](Self::get) except `TooLong`.
    pub async fn open(&self, at: &ContentRef) -> Result<ContentReader, StorageError> {
        let at = *at;
        self.run(move |local| local.reader(&at)).await
    }

    /// Length of the content in bytes, verified.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub async fn len(&self, at: &ContentRef) -> Result<u64, StorageError> {
        let at = *at;
        self.run(move |local| local.len(&at)).await
    }

    /// Whether the store has the content. Says nothing about its state.
    ///
    /// # Errors
    ///
    /// [`StorageError::Unsupported`] and [`StorageError::Io`].
    pub async fn contains(&self, at: &ContentRef) -> Result<bool, StorageError> {
        let at = *at;
        self.run(move |local| local.contains(&at)).await
    }

    /// Removes the content, durably; `false` if there was none.
    ///
    /// # Errors
    ///
    /// [`StorageError::Unsupported`] and [`StorageError::Io`].
    pub async fn remove(&self, at: &ContentRef) -> Result<bool, StorageError> {
        let at = *at;
        self.run(move |local| local.remove(&at)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&LocalStore) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let local = Arc::clone(&self.local);
        blocking(move || work(&local)).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    match task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StorageError::ShutDown),
        },
    }
}
