//! Reading from bee: every chunk and every subtree is checked against the address that the chunk above it names.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use alloy_primitives::B256;
use async_trait::async_trait;
use bytes::Bytes;
use galen_types::ContentRef;
use reqwest::StatusCode;

use super::{
    BLOCK_LEN,
    bee::{Bee, SPAN_LEN},
};
use crate::{
    MAX_CONTENT_LEN, NodeFault, StorageError,
    blocking::blocking,
    http::Answer,
    place::Opened,
    shape::Shape,
    swarm::{self, CHUNK_LEN, GROUP_LEN, REFERENCE_LEN, SwarmHasher, chunk_address},
};

/// Content of a bee node, open for reading.
pub(super) struct SwarmContent {
    bee: Arc<Bee>,
    at: ContentRef,
    shape: Shape,
    /// Payload of the root.
    root: Bytes,
    /// For each level from 2 on the addresses below the node of that level that was verified last, by its index.
    groups: Mutex<Vec<Option<(u64, Bytes)>>>,
}

impl SwarmContent {
    pub(super) async fn open(bee: &Arc<Bee>, at: &ContentRef) -> Result<Self, StorageError> {
        let (span, root) = fetch_chunk(bee, at, at.digest).await?;
        if span > MAX_CONTENT_LEN {
            return Err(StorageError::Integrity(*at));
        }
        let shape = swarm::shape(span);
        let content = Self {
            bee: Arc::clone(bee),
            at: *at,
            root,
            groups: Mutex::new(vec![None; shape.top() + 1]),
            shape,
        };
        content.check_root()?;
        Ok(content)
    }

    /// A length that does not fit what stands in the root is a lie, even if the address covers it.
    fn check_root(&self) -> Result<(), StorageError> {
        let expected = match self.shape.top() {
            0 => self.shape.len(),
            top => self.children(top, 0) * REFERENCE_LEN as u64,
        };
        if self.root.len() as u64 == expected {
            Ok(())
        } else {
            Err(StorageError::Integrity(self.at))
        }
    }

    /// How many nodes stand right below one.
    fn children(&self, level: usize, index: u64) -> u64 {
        let group = GROUP_LEN as u64;
        (self.shape.count(level - 1) - index * group).min(group)
    }

    /// Address of a node of level 1, by way of all nodes above it.
    async fn address(&self, index: u64) -> Result<B256, StorageError> {
        let mut address = self.at.digest;
        for level in (2..=self.shape.top()).rev() {
            let ancestor = index >> (group_bits() * (level - 1));
            // A lone last node moved up unchanged: it is its own parent.
            if self.children(level, ancestor) > 1 {
                let group = self.group(level, ancestor, address).await?;
                let child = (index >> (group_bits() * (level - 2))) % GROUP_LEN as u64;
                let from = usize::try_from(child).expect("below 128") * REFERENCE_LEN;
                address = B256::from_slice(&group[from..from + REFERENCE_LEN]);
            }
        }
        Ok(address)
    }

    /// The addresses below a node, whose own address is verified.
    async fn group(&self, level: usize, index: u64, address: B256) -> Result<Bytes, StorageError> {
        if level == self.shape.top() {
            return Ok(self.root.clone());
        }
        let groups = || self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((kept, group)) = &groups()[level]
            && *kept == index
        {
            return Ok(group.clone());
        }
        let (span, group) = fetch_chunk(&self.bee, &self.at, address).await?;
        let expected = self.children(level, index) * REFERENCE_LEN as u64;
        if span != self.shape.span(level, index) || group.len() as u64 != expected {
            return Err(StorageError::Integrity(self.at));
        }
        groups()[level] = Some((index, group.clone()));
        Ok(group)
    }
}

const fn group_bits() -> usize {
    GROUP_LEN.ilog2() as usize
}

#[async_trait]
impl Opened for SwarmContent {
    fn len(&self) -> u64 {
        self.shape.len()
    }

    fn piece_len(&self) -> u64 {
        BLOCK_LEN
    }

    async fn piece(&self, index: u64) -> Result<Bytes, StorageError> {
        let (at, len) = (self.at, self.shape.len());
        let start = index.saturating_mul(BLOCK_LEN);
        if self.shape.top() == 0 && index == 0 {
            return Ok(self.root.clone());
        }
        if start >= len {
            return Err(StorageError::OutOfRange { at, start, end: start, len });
        }
        let span = self.shape.span(1, index);
        let address = self.address(index).await?;
        if span > CHUNK_LEN as u64 {
            return fetch(&self.bee, &at, address, Wanted::Subtree(span)).await;
        }
        let (leaf_span, leaf) = fetch_chunk(&self.bee, &at, address).await?;
        if leaf_span == span && leaf.len() as u64 == span {
            Ok(leaf)
        } else {
            Err(StorageError::Integrity(at))
        }
    }
}

impl fmt::Debug for SwarmContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SwarmContent({}, {} bytes)", self.at, self.shape.len())
    }
}

/// What is asked for under an address.
#[derive(Clone, Copy)]
enum Wanted {
    /// A chunk, span first.
    Chunk,
    /// So many bytes of content, at most [`BLOCK_LEN`].
    Subtree(u64),
}

impl Wanted {
    async fn ask(self, bee: &Bee, address: B256) -> Result<Answer, StorageError> {
        match self {
            Self::Chunk => bee.chunk(address).await,
            Self::Subtree(len) => {
                bee.content(address, usize::try_from(len).expect("at most 512 KiB")).await
            }
        }
    }

    async fn is_right(self, address: B256, body: Bytes) -> Result<bool, StorageError> {
        match self {
            Self::Chunk => Ok(split(&body).is_some_and(|(span, payload)| {
                payload.len() <= CHUNK_LEN && chunk_address(span, &payload) == address
            })),
            Self::Subtree(len) if body.len() as u64 != len => Ok(false),
            Self::Subtree(_) => {
                blocking(move || Ok(SwarmHasher::digest(&body).digest == address)).await
            }
        }
    }
}

/// What lies under an address, verified. Wrong bytes and no bytes are answers of one node; the others are asked then.
async fn fetch(
    bee: &Bee,
    at: &ContentRef,
    address: B256,
    wanted: Wanted,
) -> Result<Bytes, StorageError> {
    let mut failure = None;
    for _ in 0..bee.endpoints() {
        let answer = wanted.ask(bee, address).await?;
        if answer.status == StatusCode::NOT_FOUND {
            failure.get_or_insert_with(|| absent(&answer, at, address));
        } else if !answer.status.is_success() {
            return Err(answer.unexpected("give content"));
        } else if wanted.is_right(address, answer.body.clone()).await? {
            return Ok(answer.body);
        } else {
            failure = Some(StorageError::Integrity(*at));
        }
        bee.pass_over(&answer.node);
    }
    Err(failure.unwrap_or(StorageError::NotFound(*at)))
}

/// Without its root the content is not there; any other missing part is a hole, which the network may fill again.
fn absent(answer: &Answer, at: &ContentRef, address: B256) -> StorageError {
    if address == at.digest {
        StorageError::NotFound(*at)
    } else {
        answer.fault("find a part of the content", NodeFault::Status(answer.status.as_u16()))
    }
}

/// Span and payload of a chunk with the right address.
pub(super) async fn fetch_chunk(
    bee: &Bee,
    at: &ContentRef,
    address: B256,
) -> Result<(u64, Bytes), StorageError> {
    let chunk = fetch(bee, at, address, Wanted::Chunk).await?;
    split(&chunk).ok_or(StorageError::Integrity(*at))
}

fn split(chunk: &Bytes) -> Option<(u64, Bytes)> {
    let span = chunk.first_chunk::<SPAN_LEN>()?;
    Some((u64::from_le_bytes(*span), chunk.slice(SPAN_LEN..)))
}
