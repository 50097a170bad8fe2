//! What the front door asks of a place that keeps content.
//!
//! A place is a directory, a bee node, a kubo node, a gateway, a folder on some web server or a pinning service.
//! Each checks what it hands out against the address itself, since only it knows by which nodes of which tree
//! its bytes travel; so nothing unverified passes [`Opened::piece`].

use std::{fmt, ops::Range};

use async_trait::async_trait;
use bytes::Bytes;
use galen_types::{ContentRef, Store};

use crate::{Addresses, Health, LocalStore, StorageError};

/// Most blocks of one content that are on their way to a place at once. They leave in their order, so whatever a
/// killed process sent without writing it down lies near the last that it wrote down.
pub(crate) const SIDE_BY_SIDE: u64 = 8;

/// Longest note that a place leaves itself, in bytes.
pub(crate) const MAX_NOTE_LEN: usize = 256;

/// A place that keeps content.
#[async_trait]
pub(crate) trait Place: fmt::Debug + Send + Sync {
    /// Its name in settings and messages: `swarm`, `ipfs`, `local` or what somebody called it.
    fn name(&self) -> &str;

    /// Whether it finds content by addresses of this kind.
    fn understands(&self, store: Store) -> bool;

    /// Whether content can be sent there and removed.
    fn is_writable(&self) -> bool;

    /// Whether content can be fetched from there. A pinning service only keeps.
    fn is_readable(&self) -> bool {
        true
    }

    /// Finds content; its length is verified when this returns.
    async fn open(&self, at: &ContentRef) -> Result<Box<dyn Opened>, StorageError>;

    /// Sends what is missing of staged content and keeps it from being thrown away there. When this returns, the
    /// place holds all of it and said so under our address.
    async fn send(&self, upload: &Upload<'_>) -> Result<(), StorageError>;

    /// Gives content free, so that the place may throw it away; `false` if it did not keep it.
    async fn release(&self, at: &ContentRef) -> Result<bool, StorageError>;

    /// Whether the place keeps content from being thrown away; `None` if it cannot say. Asked of places that are
    /// not readable, and by `galen content check`.
    async fn keeps(&self, _at: &ContentRef) -> Result<Option<bool>, StorageError> {
        Ok(None)
    }

    /// Asks whether it answers, and what it is.
    async fn health(&self) -> Result<Health, StorageError>;
}

/// Content at one place.
#[async_trait]
pub(crate) trait Opened: fmt::Debug + Send + Sync {
    /// Length of the content in bytes, verified.
    fn len(&self) -> u64;

    /// Length of every piece but the last, in bytes: what one request brings and one check covers.
    fn piece_len(&self) -> u64;

    /// All bytes of a piece, verified. The index is below `len / piece_len`, rounded up.
    async fn piece(&self, index: u64) -> Result<Bytes, StorageError>;
}

/// Content that lies complete and verified on this machine and is to be sent to a place.
#[derive(Clone, Copy)]
pub(crate) struct Upload<'a> {
    /// Both addresses.
    pub(crate) addresses: Addresses,
    /// Where the bytes are; open [`LocalStore::reader`] as often as there are requests side by side.
    pub(crate) staged: &'a LocalStore,
    /// What was sent before, and where to write down what is sent now.
    pub(crate) marks: &'a dyn Marks,
}

/// The record of one upload to one place. It survives the process.
///
/// A place cuts content into blocks of its own, numbered from 0 in the order in which it sends them.
pub(crate) trait Marks: Send + Sync {
    /// Whether the place confirmed this block, in this process or in one before.
    fn is_sent(&self, block: u64) -> bool;

    /// The place confirmed the block, of so many bytes of content.
    fn sent(&self, block: u64, bytes: u64) -> Result<(), StorageError>;

    /// What an earlier process may have sent without having written it down: from the least block that is not
    /// confirmed to [`SIDE_BY_SIDE`] blocks after the last that is; empty if there was no earlier process. Ask the
    /// node before sending those of them that are not [`is_sent`](Self::is_sent). Does not change while the upload
    /// runs. May reach beyond the last block.
    fn doubtful(&self) -> Range<u64>;

    /// A word that the place left itself, for example the number of an upload session.
    fn note(&self) -> Option<String>;

    /// Leaves a word; at most [`MAX_NOTE_LEN`] bytes in one line.
    fn set_note(&self, note: &str) -> Result<(), StorageError>;
}
