//! The leaves of one proposal, whose content is on its way to where it is kept.
//!
//! Content is staged on this machine first, so that an upload never depends on sealing again. Uploads run side by
//! side with each other and with the sealing of what comes next, so that the time that a remote store takes to
//! answer does not add up. A proposal is signed when every place that must have its content has it.

use galen_storage::{Storage, StorageError};
use galen_types::{ContentRef, Leaf, RecordKey};
use tokio::task::JoinSet;

use crate::{Error, galen::joined};

/// Most contents that are sent side by side.
const MAX_UPLOADS: usize = 8;

/// What became of an upload: its number, and the address that goes on chain.
type Published = (usize, Result<ContentRef, StorageError>);

/// Leaves that will go into one proposal.
#[derive(Default)]
pub(crate) struct Batch {
    leaves: Vec<Leaf>,
    records: Vec<RecordKey>,
    sealed_bytes: u64,
    uploads: Uploads,
}

/// Leaves whose content is kept, ready to be signed.
pub(crate) struct Kept {
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) records: Vec<RecordKey>,
    pub(crate) sealed_bytes: u64,
}

impl Batch {
    pub(crate) const fn len(&self) -> usize {
        self.leaves.len()
    }

    /// Takes a leaf whose content is staged, and begins to send it.
    pub(crate) async fn push(
        &mut self,
        storage: &Storage,
        (leaf, sealed_bytes): (Leaf, u64),
        record: RecordKey,
    ) -> Result<(), Error> {
        self.uploads.begin(self.leaves.len(), storage, leaf.content).await?;
        self.take((leaf, sealed_bytes), record);
        Ok(())
    }

    /// Takes a leaf whose content is where it belongs.
    pub(crate) fn take(&mut self, (leaf, sealed_bytes): (Leaf, u64), record: RecordKey) {
        self.leaves.push(leaf);
        self.records.push(record);
        self.sealed_bytes += sealed_bytes;
    }

    /// Waits until all content is where it belongs. The first upload that fails stops the others; what they have
    /// sent counts when they are begun again.
    pub(crate) async fn kept(mut self) -> Result<Kept, Error> {
        for (number, content) in self.uploads.finish().await? {
            self.leaves[number].content = content?;
        }
        let Self { leaves, records, sealed_bytes, .. } = self;
        Ok(Kept { leaves, records, sealed_bytes })
    }
}

/// Sends staged contents to where they belong and says of each what became of it.
pub(crate) async fn publish_all(
    staged: impl IntoIterator<Item = (Storage, ContentRef)>,
) -> Result<Vec<Result<ContentRef, StorageError>>, Error> {
    let mut uploads = Uploads { all: true, ..Uploads::default() };
    for (number, (storage, content)) in staged.into_iter().enumerate() {
        uploads.begin(number, &storage, content).await?;
    }
    Ok(uploads.finish().await?.into_iter().map(|(_, result)| result).collect())
}

/// Uploads side by side. Dropped, they stop; what was sent counts when they are begun again.
#[derive(Default)]
struct Uploads {
    running: JoinSet<Published>,
    done: Vec<Published>,
    /// Goes on after one has failed.
    all: bool,
}

impl Uploads {
    async fn begin(
        &mut self,
        number: usize,
        storage: &Storage,
        content: ContentRef,
    ) -> Result<(), Error> {
        while self.running.len() >= MAX_UPLOADS {
            self.next().await?;
        }
        let storage = storage.clone();
        self.running.spawn(async move { (number, storage.publish(&content).await) });
        Ok(())
    }

    /// In the order in which they were begun.
    async fn finish(&mut self) -> Result<Vec<Published>, Error> {
        while !self.running.is_empty() {
            self.next().await?;
        }
        let mut done = std::mem::take(&mut self.done);
        done.sort_unstable_by_key(|(number, _)| *number);
        Ok(done)
    }

    async fn next(&mut self) -> Result<(), Error> {
        let Some(ended) = self.running.join_next().await else { return Ok(()) };
        match joined(ended)? {
            (_, Err(error)) if !self.all => Err(error.into()),
            published => {
                self.done.push(published);
                Ok(())
            }
        }
    }
}
