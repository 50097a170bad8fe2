//! Which postage batch pays for an upload, and what is wrong with one that does not.

use std::time::Duration;

use alloy_primitives::{B256, hex};
use reqwest::StatusCode;
use serde::Deserialize;

use super::bee::{Bee, Block, Body};
use crate::{
    NodeFault, Postage, PostageFault, StorageError,
    swarm::{CHUNK_LEN, chunk_address},
};

/// What bee says of a batch that never ends.
const FOR_EVER: i64 = -1;

/// A postage batch as `GET /stamps` shows it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Batch {
    #[serde(rename = "batchID")]
    id: B256,
    /// Stamps in the fullest bucket.
    utilization: u32,
    usable: bool,
    depth: u8,
    bucket_depth: u8,
    /// Seconds left, as the node estimates.
    #[serde(rename = "batchTTL")]
    ttl: i64,
}

impl Batch {
    /// For people.
    pub(super) fn shown(&self) -> Postage {
        let used = u64::from(self.utilization) * 100 / self.room().max(1);
        Postage {
            batch: hex::encode(self.id),
            time_left: Duration::from_secs(self.time_left()),
            used_percent: u8::try_from(used.min(100)).unwrap_or(100),
        }
    }

    /// What keeps the batch from paying for an upload.
    fn fault(&self) -> Option<PostageFault> {
        // A batch whose fullest bucket is full is not used even if the node would: on a mutable batch, new stamps take
        // the place of old ones then, and the content that those paid for is thrown away.
        if self.ttl <= 0 && self.ttl != FOR_EVER {
            Some(PostageFault::Expired)
        } else if !self.usable {
            Some(PostageFault::TooNew)
        } else if u64::from(self.utilization) >= self.room() {
            Some(PostageFault::Full)
        } else {
            None
        }
    }

    /// How many stamps fit into a bucket.
    fn room(&self) -> u64 {
        let depth = u32::from(self.depth.saturating_sub(self.bucket_depth));
        1_u64.checked_shl(depth).unwrap_or(u64::MAX)
    }

    fn time_left(&self) -> u64 {
        if self.ttl == FOR_EVER { u64::MAX } else { self.ttl.unsigned_abs() }
    }
}

/// The batch to pay with: that of the settings, or the one with most time left. What the node says of it comes along,
/// if it says anything: some list their batches elsewhere or to nobody.
pub(super) async fn choose(
    bee: &Bee,
    wanted: Option<B256>,
) -> Result<(B256, Option<Batch>), StorageError> {
    let (node, batches) = match (bee.stamps().await, wanted) {
        (Ok(listed), _) => listed,
        // Uploads will tell whether it is good.
        (Err(StorageError::Node { .. }), Some(wanted)) => return Ok((wanted, None)),
        (Err(StorageError::Node { node, fault: NodeFault::Status(status), .. }), None)
            if status == StatusCode::NOT_FOUND.as_u16() =>
        {
            return Err(StorageError::Postage { node, fault: PostageFault::Unlisted });
        }
        (Err(error), _) => return Err(error),
    };
    let picked = match wanted {
        Some(wanted) => batches.iter().find(|batch| batch.id == wanted),
        None => {
            let usable = batches.iter().filter(|batch| batch.fault().is_none());
            let longest = usable.max_by_key(|batch| batch.time_left());
            // One batch that is full or too new says more than that none can be used.
            longest.or(if let [only] = &batches[..] { Some(only) } else { None })
        }
    };
    let fault = match (picked, wanted) {
        (Some(batch), _) => match batch.fault() {
            None => return Ok((batch.id, Some(batch.clone()))),
            Some(fault) => fault,
        },
        (None, Some(_)) => PostageFault::Unknown,
        (None, None) => PostageFault::Missing,
    };
    Err(StorageError::Postage { node, fault })
}

/// Finds the true fault behind a block that was not taken.
pub(super) async fn explain(
    bee: &Bee,
    batch: B256,
    block: &Block,
    error: StorageError,
) -> StorageError {
    let error = match (error, &block.body) {
        // A node that refuses a large body breaks off before it has read it, and the answer is lost. A leaf is small.
        (
            error @ StorageError::Node { fault: NodeFault::Unreachable(_), .. },
            Body::Content(content),
        ) => {
            let leaf = content.slice(..content.len().min(CHUNK_LEN));
            let span = leaf.len() as u64;
            let address = chunk_address(span, &leaf);
            match bee.store(&Block { address, span, body: Body::Content(leaf) }, batch).await {
                Err(refusal @ StorageError::Postage { .. }) => refusal,
                _ => error,
            }
        }
        (error, _) => error,
    };
    let StorageError::Postage { fault: PostageFault::TooNew, node } = error else { return error };
    // Bee answers the same for a batch that is too new and for one that is gone.
    let fault = match bee.stamps().await {
        Ok((_, batches)) if batches.iter().all(|listed| listed.id != batch) => {
            PostageFault::Expired
        }
        _ => PostageFault::TooNew,
    };
    StorageError::Postage { node, fault }
}

/// What a fault of the node means for a block that may have broken off before. Bee before v2 keeps the stamp of each
/// chunk that it throws away then, and takes none of them with that stamp again.
pub(super) fn stuck(error: StorageError) -> StorageError {
    match error {
        StorageError::Node { node, fault: NodeFault::Status(status), .. }
            if status == StatusCode::INTERNAL_SERVER_ERROR.as_u16() =>
        {
            StorageError::Postage { node, fault: PostageFault::Stuck }
        }
        error => error,
    }
}
