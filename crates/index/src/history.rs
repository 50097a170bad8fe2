//! How a history is read, and what is said of it.

use std::{fmt, path::PathBuf, sync::Arc};

use galen_chain::{Finality, HistoryMode};

/// How a [`crate::View`] reads the ledger's history.
#[derive(Clone, Debug, Default)]
pub struct HistoryOptions {
    /// Every block, or only those that the node names.
    pub mode: HistoryMode,
    /// Folder of the cache of verified history, one folder below it for each ledger. Without it every
    /// process reads the chain anew.
    pub directory: Option<PathBuf>,
    /// When a block is final.
    pub finality: Finality,
    /// Told how far a long read is.
    pub progress: Option<Progress>,
}

/// Told of blocks done and of how many, after each batch.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(u64, u64) + Send + Sync>);

impl Progress {
    /// Calls `tell` with the blocks that are done and their total.
    pub fn new(tell: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    pub(crate) fn tell(&self, done: u64, total: u64) {
        (self.0)(done, total);
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

/// What one [`crate::View::sync`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SyncReport {
    /// The node's newest block.
    pub head: u64,
    /// Blocks that were read.
    pub blocks: u64,
    /// Blocks with events that came from the cache.
    pub cached: usize,
    /// The chain had changed: the view went back to this block and read on from there.
    pub rolled_back_to: Option<u64>,
    /// The cache was of another chain, ledger or version, or damaged from the start, and is written anew.
    pub cache_discarded: bool,
    /// What was read could not be kept on disk. It is read again next time.
    pub cache_failed: bool,
}

/// Whether a block stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// It stays.
    Final,
    /// It may still be replaced.
    Waiting {
        /// Blocks that stand on it.
        blocks: u64,
        /// How many make it final, if the network's setting is a number.
        of: Option<u64>,
    },
}

impl Confirmed {
    /// Whether it stays.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Final)
    }
}

impl fmt::Display for Confirmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Final => f.write_str("final"),
            Self::Waiting { blocks, of: Some(of) } => {
                write!(f, "not final ({blocks} of {of} blocks)")
            }
            Self::Waiting { blocks, of: None } => write!(f, "not final ({blocks} blocks)"),
        }
    }
}
