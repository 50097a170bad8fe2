//! What a program remembers about content between two runs.
//!
//! | path in the directory | content |
//! |---|---|
//! | `staged/` | a [`LocalStore`]: content that waits until every place has it |
//! | `uploads/` | for each unfinished upload of one content to one place what the place confirmed |
//! | `copies` | which copies were finished and released, and with them both addresses of each content |
//!
//! The order of an upload makes `kill -9` harmless: content is staged; the upload is written down; blocks are sent
//! and written down; the place keeps all of it; that is written to `copies` and synced; the upload is removed;
//! staged content that no upload waits for any more is removed.

mod copies;
mod uploads;

use std::{path::Path, time::Duration};

pub(crate) use copies::Copies;
pub use copies::KeptCopy;
pub use uploads::Pending;
pub(crate) use uploads::{Claim, UploadMarks, Uploads};

use crate::{Addresses, LocalStore, StorageError, local::files};

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) staged: LocalStore,
    pub(crate) uploads: Uploads,
    pub(crate) copies: Copies,
}

/// What was staged less than this ago may still be on its way from one call to the next.
const STAGED_GRACE: Duration = Duration::from_secs(3600);

impl State {
    /// Opens the directory, and makes it if there is none.
    pub(crate) fn open(directory: &Path) -> Result<Self, StorageError> {
        let directory = std::path::absolute(directory)
            .map_err(StorageError::io("find the directory of its state"))?;
        let io = StorageError::io("make the directory of its state");
        files::create_dir_all(&directory).map_err(io)?;
        Ok(Self {
            staged: LocalStore::open(directory.join("staged"))?,
            uploads: Uploads::open(directory.join("uploads"))?,
            copies: Copies::new(directory.join("copies")),
        })
    }

    /// Staged content that no upload waits for and that is older than the grace.
    pub(crate) fn idle(&self) -> Result<Vec<Addresses>, StorageError> {
        let mut idle = Vec::new();
        for at in self.staged.list() {
            let at = at?;
            let is_old = self.staged.age(&at)?.is_some_and(|age| age > STAGED_GRACE);
            if is_old && !self.uploads.wait_for(&at.digest)? {
                // Damaged, it has no length that could be told, and nobody can publish it.
                idle.extend(self.staged.addresses(&at).ok());
            }
        }
        Ok(idle)
    }
}
