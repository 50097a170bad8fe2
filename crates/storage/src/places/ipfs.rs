//! Kubo nodes as a place: blocks made here, sent one by one, and pinned under their root.

use std::{
    convert::Infallible,
    io::{self, Read},
    mem,
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use galen_types::{ContentRef, Store};
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    dag::{Blocks, Dag, Reach},
    kubo::{Form, Kubo},
};
use crate::{
    Health, NodeFault, StorageError,
    blocking::blocking,
    http::Http,
    ipfs::{self, Block, Cid, IpfsHasher, LEAF_LEN},
    place::{Opened, Place, Upload},
};

/// Most blocks that are on their way at once. A node is not faster with more, and each takes 1 MiB here.
const SIDE_BY_SIDE: usize = 4;

/// Kubo nodes under a name.
#[derive(Debug)]
pub(crate) struct IpfsPlace {
    name: String,
    kubo: Arc<Kubo>,
}

/// The blocks about which a node is asked before they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Those that an earlier process may have sent.
    Doubtful,
    /// All that the marks do not vouch for.
    Unmarked,
    /// All, whatever the marks say.
    All,
}

impl IpfsPlace {
    pub(crate) fn new(name: String, http: Http) -> Self {
        Self { name, kubo: Arc::new(Kubo::new(http)) }
    }

    /// Under which addresses others reach the node.
    pub(super) async fn peers(&self) -> Result<Vec<String>, StorageError> {
        self.kubo.peers().await
    }

    /// Connects the node with another one.
    pub(super) async fn connect(&self, peer: &str) -> Result<(), StorageError> {
        self.kubo.connect(peer).await
    }

    /// Sends what is missing, and pins it.
    pub(super) async fn send_and_pin(
        &self,
        upload: &Upload<'_>,
        asked: Asked,
    ) -> Result<(), StorageError> {
        let addresses = &upload.addresses;
        let root = ipfs::root(addresses.ipfs, addresses.len);
        let name = format!("galen {:x}", addresses.swarm);
        let rests_on_marks = self.send_blocks(upload, asked).await?;
        let complete = !rests_on_marks || self.kubo.has_all(&root, addresses.len).await?;
        if complete && self.kubo.pin(&root, &name, addresses.len).await? {
            return Ok(());
        }
        // What nobody had pinned may have been thrown away meanwhile, or lies at another node of this name.
        self.send_blocks(upload, Asked::All).await?;
        if self.kubo.pin(&root, &name, addresses.len).await? {
            return Ok(());
        }
        let node = self.kubo.http().node().to_owned();
        Err(StorageError::Node { node, action: "pin content", fault: NodeFault::Lost })
    }

    /// Sends the blocks that the node does not have. Returns whether any was passed over because of the marks.
    async fn send_blocks(&self, upload: &Upload<'_>, asked: Asked) -> Result<bool, StorageError> {
        let (staged, addresses) = (upload.staged.clone(), upload.addresses);
        // One block waits while the others are under way.
        let (give, take) = mpsc::channel(1);
        let cut = blocking(move || {
            let ours = addresses.of(Store::Ipfs);
            // A file of a store of version 1 is known by its Swarm address only.
            let by_swarm = || staged.reader(&addresses.of(Store::Swarm));
            cut(staged.reader(&ours).or_else(|_| by_swarm())?, &give, &ours)
        });
        let (cut, sent) = tokio::join!(cut, self.send_each(upload, take, asked));
        cut.and(sent)
    }

    async fn send_each(
        &self,
        upload: &Upload<'_>,
        mut blocks: mpsc::Receiver<Ready>,
        asked: Asked,
    ) -> Result<bool, StorageError> {
        let mut rests_on_marks = false;
        let marks = upload.marks;
        let doubtful = marks.doubtful();
        let mut under_way = JoinSet::new();
        while let Some(block) = blocks.recv().await {
            if marks.is_sent(block.number) && asked != Asked::All {
                rests_on_marks = true;
                continue;
            }
            // Children before parents: who sees a parent finds what is below it.
            let most = if block.is_leaf { SIDE_BY_SIDE - 1 } else { 0 };
            while under_way.len() > most {
                confirm(upload, &mut under_way).await?;
            }
            let ask = asked != Asked::Doubtful || doubtful.contains(&block.number);
            under_way.spawn(send_one(Arc::clone(&self.kubo), block, ask));
        }
        while !under_way.is_empty() {
            confirm(upload, &mut under_way).await?;
        }
        Ok(rests_on_marks)
    }

    /// The two names that a root can have, as far as its length is unknown.
    async fn for_both<F: Future<Output = Result<bool, StorageError>>>(
        at: &ContentRef,
        ask: impl Fn(Cid) -> F,
    ) -> Result<bool, StorageError> {
        let mut any = false;
        for cid in ipfs::candidates(at.digest) {
            any |= ask(cid).await?;
        }
        Ok(any)
    }
}

#[async_trait]
impl Place for IpfsPlace {
    fn name(&self) -> &str {
        &self.name
    }

    fn understands(&self, store: Store) -> bool {
        matches!(store, Store::Ipfs)
    }

    fn is_writable(&self) -> bool {
        true
    }

    async fn open(&self, at: &ContentRef) -> Result<Box<dyn Opened>, StorageError> {
        let blocks: Arc<dyn Blocks> = Arc::clone(&self.kubo) as _;
        Ok(Box::new(Dag::open(blocks, at).await?))
    }

    async fn send(&self, upload: &Upload<'_>) -> Result<(), StorageError> {
        self.send_and_pin(upload, Asked::Doubtful).await
    }

    async fn release(&self, at: &ContentRef) -> Result<bool, StorageError> {
        Self::for_both(at, async |cid| self.kubo.unpin(&cid).await).await
    }

    async fn keeps(&self, at: &ContentRef) -> Result<Option<bool>, StorageError> {
        Self::for_both(at, async |cid| self.kubo.is_pinned(&cid).await).await.map(Some)
    }

    async fn health(&self) -> Result<Health, StorageError> {
        Ok(Health { version: Some(self.kubo.version().await?), ..Health::default() })
    }
}

/// A block that can be sent.
struct Ready {
    number: u64,
    cid: Cid,
    is_leaf: bool,
    /// Bytes of content that it brings.
    brings: u64,
    form: Bytes,
}

async fn send_one(kubo: Arc<Kubo>, block: Ready, ask: bool) -> Result<(u64, u64), StorageError> {
    let is_there = ask && kubo.has(&block.cid).await?;
    if !is_there {
        kubo.put(&block.cid, block.form).await?;
    }
    Ok((block.number, block.brings))
}

/// Waits for one block and writes down that it is there.
async fn confirm(
    upload: &Upload<'_>,
    under_way: &mut JoinSet<Result<(u64, u64), StorageError>>,
) -> Result<(), StorageError> {
    let (number, brings) = match under_way.join_next().await {
        None => return Ok(()),
        Some(Ok(sent)) => sent?,
        Some(Err(error)) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => return Err(StorageError::ShutDown),
        },
    };
    if upload.marks.is_sent(number) { Ok(()) } else { upload.marks.sent(number, brings) }
}

/// Cuts content into blocks, children before parents, and gives them away until nobody takes them any more.
fn cut(
    mut content: impl Read,
    give: &mpsc::Sender<Ready>,
    ours: &ContentRef,
) -> Result<(), StorageError> {
    let mut hasher = IpfsHasher::new();
    let mut number = 0;
    loop {
        let mut leaf = Form::new();
        let read = content.by_ref().take(LEAF_LEN as u64).read_to_end(leaf.buffer());
        let read = read.map_err(behind)?;
        let mut named = Vec::new();
        let mut note = |block: Block<'_>| {
            named.push((block.cid, block.span, block.payload.map(Form::with)));
            Ok::<_, Infallible>(())
        };
        let Ok(()) = hasher.update_with(leaf.block(), &mut note);
        let is_last = read < LEAF_LEN;
        if is_last {
            if number == 0 && ipfs::reads_as_root(leaf.block()) {
                return Err(StorageError::Unsupported(*ours));
            }
            let Ok(root) = mem::take(&mut hasher).finalize_with(&mut note);
            if root != *ours {
                return Err(StorageError::Integrity(*ours));
            }
        }
        let mut leaf = Some(leaf);
        for (cid, span, parent) in named {
            let is_leaf = parent.is_none();
            let Some(form) = parent.or_else(|| leaf.take()) else { break };
            let brings = if is_leaf { span } else { 0 };
            let ready = Ready { number, cid, is_leaf, brings, form: form.finish(&cid) };
            if give.blocking_send(ready).is_err() {
                return Ok(());
            }
            number += 1;
        }
        if is_last {
            return Ok(());
        }
    }
}

/// What the reader of staged content means by its error.
fn behind(error: io::Error) -> StorageError {
    error.downcast().unwrap_or_else(StorageError::Source)
}

#[async_trait]
impl Blocks for Kubo {
    fn http(&self) -> &Http {
        Self::http(self)
    }

    async fn get(&self, cid: &Cid, reach: Reach) -> Result<(String, Option<Bytes>), StorageError> {
        Self::get(self, cid, reach).await
    }
}
