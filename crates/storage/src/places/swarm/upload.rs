//! Sending staged content to a bee node.
//!
//! Blocks are numbered in the order in which they are sent: the nodes of level 1 with all that is below them, then
//! the chunks of each level above, the root last. A level begins when the one below it is complete, so whatever the
//! node has of a tree is whole downwards.

use std::sync::atomic::{AtomicU64, Ordering};

use alloy_primitives::B256;
use futures_util::future::join_all;
use galen_types::{ContentRef, Store};

use super::{
    BLOCK_LEN,
    bee::{Bee, Block, Body},
    postage, read,
};
use crate::{
    LocalReader, NodeFault, StorageError,
    blocking::blocking,
    place::{MAX_NOTE_LEN, Marks, SIDE_BY_SIDE, Upload},
    shape::Shape,
    swarm::{self, CHUNK_LEN, GROUP_LEN},
};

/// Sends what is missing, pins all of it and sees to it that the root can be read back.
pub(super) async fn send(
    bee: &Bee,
    batch: Option<B256>,
    upload: &Upload<'_>,
) -> Result<(), StorageError> {
    let (at, len) = (upload.addresses.of(Store::Swarm), upload.addresses.len);
    let (batch, _) = postage::choose(bee, batch).await?;
    let trusts_marks = is_same_node(bee, upload.marks)?;
    let shape = swarm::shape(len);
    let mut sending = Sending { bee, batch, upload, at, shape, trusts_marks };
    sending.all().await?;
    if !bee.pin(at.digest, len).await? {
        // What it confirmed is gone, perhaps with a request that broke off. It gets one more chance.
        sending.trusts_marks = false;
        sending.all().await?;
        if !bee.pin(at.digest, len).await? {
            return Err(bee.fault("pin content", NodeFault::Lost));
        }
    }
    read_back(bee, &at).await
}

/// Whether this node is the one that confirmed what is marked, which is noted with the marks.
fn is_same_node(bee: &Bee, marks: &dyn Marks) -> Result<bool, StorageError> {
    let mut node = bee.node().to_owned();
    node.truncate(node.floor_char_boundary(MAX_NOTE_LEN));
    let noted = marks.note();
    if noted.as_ref() == Some(&node) {
        return Ok(true);
    }
    marks.set_note(&node)?;
    Ok(noted.is_none())
}

async fn read_back(bee: &Bee, at: &ContentRef) -> Result<(), StorageError> {
    let fault = match read::fetch_chunk(bee, at, at.digest).await {
        Ok(_) => return Ok(()),
        Err(StorageError::NotFound(_)) => NodeFault::Lost,
        Err(StorageError::Integrity(_)) => NodeFault::OtherAddress,
        Err(error) => return Err(error),
    };
    Err(bee.fault("give back what it stored", fault))
}

/// One upload to one node.
struct Sending<'a> {
    bee: &'a Bee,
    batch: B256,
    upload: &'a Upload<'a>,
    at: ContentRef,
    shape: Shape,
    /// Whether blocks are left out that are marked as confirmed.
    trusts_marks: bool,
}

impl Sending<'_> {
    async fn all(&self) -> Result<(), StorageError> {
        let mut first = 0;
        for level in self.shape.top().min(1)..=self.shape.top() {
            let count = self.count(level);
            self.level(level, first, count).await?;
            first += count;
        }
        Ok(())
    }

    /// How many blocks a level has. A lone last node above level 1 moved up unchanged: it was sent further down.
    fn count(&self, level: usize) -> u64 {
        let is_carried = level > 1 && self.shape.count(level - 1) % GROUP_LEN as u64 == 1;
        self.shape.count(level) - u64::from(is_carried)
    }

    /// When one request fails, those beside it still come to their end: a node wastes what it has of a block that
    /// breaks off, and bee before v2 never takes it again under the same postage.
    async fn level(&self, level: usize, first: u64, count: u64) -> Result<(), StorageError> {
        let next = AtomicU64::new(0);
        let workers = (0..count.min(SIDE_BY_SIDE)).map(|_| async {
            let mut reader = None;
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return Ok(());
                }
                if let Err(error) = self.block(&mut reader, level, index, first + index).await {
                    next.store(count, Ordering::Relaxed);
                    return Err(error);
                }
            }
        });
        join_all(workers).await.into_iter().collect()
    }

    async fn block(
        &self,
        reader: &mut Option<LocalReader>,
        level: usize,
        index: u64,
        number: u64,
    ) -> Result<(), StorageError> {
        let marks = self.upload.marks;
        let is_marked = marks.is_sent(number);
        if is_marked && self.trusts_marks {
            return Ok(());
        }
        let block = self.load(reader, level, index).await?;
        let may_be_there = self.trusts_marks && marks.doubtful().contains(&number);
        if !(may_be_there && self.bee.has(block.address).await?)
            && let Err(error) = self.bee.store(&block, self.batch).await
        {
            let error = postage::explain(self.bee, self.batch, &block, error).await;
            return Err(if may_be_there { postage::stuck(error) } else { error });
        }
        match level {
            _ if is_marked => Ok(()),
            0 | 1 => marks.sent(number, block.span),
            _ => marks.sent(number, 0),
        }
    }

    /// Reads a block, verified; opens the staged content if there is no reader yet.
    async fn load(
        &self,
        kept: &mut Option<LocalReader>,
        level: usize,
        index: u64,
    ) -> Result<Block, StorageError> {
        let (reader, staged, at) = (kept.take(), self.upload.staged.clone(), self.at);
        let span = self.shape.span(level, index);
        let children = match level {
            0 | 1 => 0..0,
            _ => {
                let first = index * GROUP_LEN as u64;
                first..self.shape.count(level - 1).min(first + GROUP_LEN as u64)
            }
        };
        let (reader, block) = blocking(move || {
            let mut reader = match reader {
                Some(reader) => reader,
                None => staged.reader(&at)?,
            };
            let address = reader.node(level, index)?;
            let body = if level > 1 {
                let mut references = Vec::with_capacity(CHUNK_LEN);
                for child in children {
                    references.extend_from_slice(reader.node(level - 1, child)?.as_slice());
                }
                Body::Chunk(references.into())
            } else {
                let start = index * BLOCK_LEN;
                Body::Content(reader.range(start..start + span)?.into())
            };
            Ok((reader, Block { address, span, body }))
        })
        .await?;
        *kept = Some(reader);
        Ok(block)
    }
}
