//! Bee nodes and gateways.
//!
//! Content travels in subtrees of 128 leaves, 512 KiB: `/bytes` of a node cuts and joins them as this crate does, and
//! the address of each is one of ours, so it is known before it is sent and checked when it comes back. What stands
//! above them travels chunk by chunk. The node is told to add no redundancy of its own, which would change addresses.
//!
//! Source: the HTTP API of bee v2, `docs/protocol.md`, section "Content addresses".

mod bee;
mod postage;
mod read;
#[cfg(test)]
mod tests;
mod upload;

use std::sync::Arc;

use alloy_primitives::B256;
use async_trait::async_trait;
use galen_types::{ContentRef, Store};

use self::{bee::Bee, read::SwarmContent};
use crate::{
    Health, HttpOptions, NodeOptions, StorageError,
    http::Http,
    place::{Opened, Place, Upload},
};

/// Most bytes of content in one request: a full node of level 1.
const BLOCK_LEN: u64 = (crate::swarm::CHUNK_LEN * crate::swarm::GROUP_LEN) as u64;

/// Bee nodes of one network, or gateways to it.
#[derive(Debug)]
pub(crate) struct Swarm {
    name: String,
    /// All endpoints: content is the same from each.
    any: Arc<Bee>,
    /// Each endpoint by itself, since batches, upload sessions and pins belong to one node. None: only read from.
    nodes: Vec<Bee>,
    /// The postage batch of the settings.
    batch: Option<B256>,
}

impl Swarm {
    /// Nodes that content is sent to; asks nothing yet.
    pub(crate) fn nodes(
        name: &str,
        node: &NodeOptions,
        batch: Option<&str>,
        http: &HttpOptions,
    ) -> Result<Self, StorageError> {
        let batch = batch.map(|batch| parse_batch(name, batch)).transpose()?;
        let one = |url: &String| bee(name, std::slice::from_ref(url), node, http);
        let nodes = node.urls.iter().map(one).collect::<Result<_, _>>()?;
        Ok(Self { nodes, batch, ..Self::gateway(name, node, http)? })
    }

    /// Gateways, or nodes that content is only read from; asks nothing yet.
    pub(crate) fn gateway(
        name: &str,
        node: &NodeOptions,
        http: &HttpOptions,
    ) -> Result<Self, StorageError> {
        let any = Arc::new(bee(name, &node.urls, node, http)?);
        Ok(Self { name: name.to_owned(), any, nodes: Vec::new(), batch: None })
    }
}

fn bee(
    name: &str,
    urls: &[String],
    node: &NodeOptions,
    http: &HttpOptions,
) -> Result<Bee, StorageError> {
    Http::new(name, urls, node.token.clone(), http.clone()).map(Bee::new)
}

fn parse_batch(name: &str, text: &str) -> Result<B256, StorageError> {
    text.parse().map_err(|_| StorageError::Setting {
        place: name.to_owned(),
        what: "a postage batch is 64 hex digits",
    })
}

fn check_kind(at: &ContentRef) -> Result<(), StorageError> {
    if at.store == Store::Swarm { Ok(()) } else { Err(StorageError::Unsupported(*at)) }
}

#[async_trait]
impl Place for Swarm {
    fn name(&self) -> &str {
        &self.name
    }

    fn understands(&self, store: Store) -> bool {
        store == Store::Swarm
    }

    fn is_writable(&self) -> bool {
        !self.nodes.is_empty()
    }

    async fn open(&self, at: &ContentRef) -> Result<Box<dyn Opened>, StorageError> {
        check_kind(at)?;
        Ok(Box::new(SwarmContent::open(&self.any, at).await?))
    }

    /// The first node that takes all of it is enough: it spreads the content in its network by itself.
    async fn send(&self, upload: &Upload<'_>) -> Result<(), StorageError> {
        let mut failure = None;
        for node in &self.nodes {
            match upload::send(node, self.batch, upload).await {
                Ok(()) => return Ok(()),
                Err(error @ (StorageError::Node { .. } | StorageError::Postage { .. })) => {
                    failure.get_or_insert(error);
                }
                // Not the node's fault: another one would not help.
                Err(error) => return Err(error),
            }
        }
        Err(failure.unwrap_or_else(|| StorageError::ReadOnly(self.name.clone())))
    }

    async fn release(&self, at: &ContentRef) -> Result<bool, StorageError> {
        check_kind(at)?;
        if self.nodes.is_empty() {
            return Err(StorageError::ReadOnly(self.name.clone()));
        }
        // Only to know how long it may take; what cannot be read any more has no length.
        let len = SwarmContent::open(&self.any, at).await.map_or(0, |content| content.len());
        let mut released = false;
        for node in &self.nodes {
            released |= node.unpin(at.digest, len).await?;
        }
        Ok(released)
    }

    async fn keeps(&self, at: &ContentRef) -> Result<Option<bool>, StorageError> {
        check_kind(at)?;
        for node in &self.nodes {
            if node.is_pinned(at.digest).await? {
                return Ok(Some(true));
            }
        }
        Ok(if self.nodes.is_empty() { None } else { Some(false) })
    }

    /// A node without postage answers, but does not do what it is there for: that is an error, too.
    async fn health(&self) -> Result<Health, StorageError> {
        let version = self.any.version().await?;
        let postage = match self.nodes.first() {
            Some(node) => postage::choose(node, self.batch).await?.1.map(|batch| batch.shown()),
            None => None,
        };
        Ok(Health { version, postage })
    }
}
