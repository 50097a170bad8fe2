//! Content read block by block from whoever has the blocks, each verified by its name.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use galen_types::ContentRef;

use crate::{
    MAX_CONTENT_LEN, NodeFault, StorageError,
    http::Http,
    ipfs::{self, Child, Cid, GROUP_LEN, LEAF_LEN, Parent},
    place::Opened,
};

/// Whoever hands out blocks.
#[async_trait]
pub(super) trait Blocks: fmt::Debug + Send + Sync {
    /// The endpoints that are asked.
    fn http(&self) -> &Http;

    /// A block as an endpoint has it, unverified, and who answered.
    async fn get(&self, cid: &Cid, reach: Reach) -> Result<(String, Option<Bytes>), StorageError>;
}

/// Where an endpoint looks for a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// On its own disk.
    Node,
    /// Also in the network, as long as we wait.
    Network,
}

/// The block that has the name. Asks each endpoint once, until one has it as its name says.
pub(super) async fn verified(
    blocks: &dyn Blocks,
    at: &ContentRef,
    cid: &Cid,
    reach: Reach,
) -> Result<Bytes, StorageError> {
    let mut failure = StorageError::NotFound(*at);
    for _ in 0..blocks.http().endpoints() {
        let (node, block) = blocks.get(cid, reach).await?;
        match block {
            Some(block) if cid.names(&block) => return Ok(block),
            Some(_) => failure = StorageError::Integrity(*at),
            None => {}
        }
        blocks.http().pass_over(&node);
    }
    Err(failure)
}

/// The block with the digest of the content, which may be known as a raw block or as a node.
async fn root(blocks: &dyn Blocks, at: &ContentRef) -> Result<Bytes, StorageError> {
    let [raw, node] = ipfs::candidates(at.digest);
    // Who has it finds it by the digest alone.
    match verified(blocks, at, &raw, Reach::Node).await {
        Err(StorageError::NotFound(_) | StorageError::Node { fault: NodeFault::Status(_), .. }) => {
        }
        known => return known,
    }
    let raw = verified(blocks, at, &raw, Reach::Network);
    let node = verified(blocks, at, &node, Reach::Network);
    tokio::pin!(raw, node);
    // Others may know it by one of the two only, and who does not have it takes long to say so.
    tokio::select! {
        first = &mut raw => match first {
            Ok(block) => Ok(block),
            Err(error) => node.await.or(Err(error)),
        },
        first = &mut node => match first {
            Ok(block) => Ok(block),
            Err(error) => raw.await.or(Err(error)),
        },
    }
}

/// Content at a place of blocks.
pub(super) struct Dag {
    blocks: Arc<dyn Blocks>,
    at: ContentRef,
    root: Root,
    /// For content of more than 1 GiB the node on level 1 that was read last, and its index.
    last: Mutex<Option<(u64, Arc<Parent>)>>,
}

enum Root {
    /// The content itself.
    Leaf(Bytes),
    Node(Arc<Parent>),
}

impl Dag {
    pub(super) async fn open(
        blocks: Arc<dyn Blocks>,
        at: &ContentRef,
    ) -> Result<Self, StorageError> {
        let block = root(&*blocks, at).await?;
        let root = match Parent::decode(&block) {
            Some(node) if node.is_root() => Root::Node(Arc::new(node)),
            _ if block.len() <= LEAF_LEN => Root::Leaf(block),
            _ => return Err(StorageError::Integrity(*at)),
        };
        let dag = Self { blocks, at: *at, root, last: Mutex::new(None) };
        if dag.len() > MAX_CONTENT_LEN {
            return Err(StorageError::TooLong { limit: MAX_CONTENT_LEN });
        }
        Ok(dag)
    }

    /// The node above the leaf.
    async fn parent_of(&self, root: &Arc<Parent>, leaf: u64) -> Result<Arc<Parent>, StorageError> {
        if root.level() == 1 {
            return Ok(Arc::clone(root));
        }
        let index = leaf / GROUP_LEN as u64;
        if let Some((last, parent)) = &*self.last.lock().unwrap_or_else(PoisonError::into_inner)
            && *last == index
        {
            return Ok(Arc::clone(parent));
        }
        let child = self.child(root, index)?;
        let block = verified(&*self.blocks, &self.at, &child.cid, Reach::Network).await?;
        let parent = Parent::decode(&block)
            .filter(|parent| {
                parent.level() + 1 == root.level() && parent.content_len() == child.len
            })
            .ok_or(StorageError::Integrity(self.at))?;
        let parent = Arc::new(parent);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((index, Arc::clone(&parent)));
        Ok(parent)
    }

    fn child(&self, of: &Parent, index: u64) -> Result<Child, StorageError> {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        of.children().nth(index).ok_or(StorageError::Integrity(self.at))
    }
}

#[async_trait]
impl Opened for Dag {
    fn len(&self) -> u64 {
        match &self.root {
            Root::Leaf(content) => content.len() as u64,
            Root::Node(root) => root.content_len(),
        }
    }

    fn piece_len(&self) -> u64 {
        LEAF_LEN as u64
    }

    async fn piece(&self, index: u64) -> Result<Bytes, StorageError> {
        let root = match &self.root {
            Root::Leaf(content) => return Ok(content.clone()),
            Root::Node(root) => root,
        };
        let parent = self.parent_of(root, index).await?;
        let child = self.child(&parent, index % GROUP_LEN as u64)?;
        let leaf = verified(&*self.blocks, &self.at, &child.cid, Reach::Network).await?;
        // A node may name a block of another length than it says.
        if leaf.len() as u64 == child.len {
            Ok(leaf)
        } else {
            Err(StorageError::Integrity(self.at))
        }
    }
}

impl fmt::Debug for Dag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dag({}, {} bytes)", self.at, self.len())
    }
}
