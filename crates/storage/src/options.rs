//! Which places there are, and which of them new content goes to.

use std::{fmt, path::PathBuf, sync::Arc};

use galen_types::ContentRef;

use crate::http::{HttpOptions, Token};

/// Everything that a [`Storage`](crate::Storage) needs to know.
#[derive(Clone, Debug, Default)]
pub struct StorageOptions {
    /// Where content waits until every place has it, uploads write down how far they are, and it is noted which copy
    /// went where. Made if there is none; belongs to one profile. Not needed if there are only local places.
    pub directory: Option<PathBuf>,
    /// The places, in the order in which they are asked for content; local ones are asked first.
    pub places: Vec<PlaceOptions>,
    /// Names of the places that new content goes to. The first gives the address: an IPFS place that of IPFS, any
    /// other that of Swarm.
    pub keep_in: Vec<String>,
    /// Deadlines and retries.
    pub http: HttpOptions,
    /// Who is told how far uploads and downloads are.
    pub progress: Option<Progress>,
}

/// One place under a name.
#[derive(Clone, Debug)]
pub struct PlaceOptions {
    /// The name in settings and messages.
    pub name: String,
    /// What it is.
    pub kind: PlaceKind,
}

/// What a place is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PlaceKind {
    /// A directory on this machine ([`LocalStore`](crate::LocalStore)).
    Local {
        /// The directory, made if there is none.
        directory: PathBuf,
    },
    /// Bee nodes of one Swarm network; they stand for each other.
    Swarm {
        /// Base URLs of the nodes' HTTP APIs.
        node: NodeOptions,
        /// The postage batch, 32 bytes in hex without prefix; without one, the usable batch of the node with most
        /// time left.
        batch: Option<String>,
    },
    /// Kubo nodes; they stand for each other, so they should share one cluster or one block store.
    Ipfs {
        /// Base URLs of the nodes' RPC APIs, without `/api/v0`.
        node: NodeOptions,
    },
    /// A bee gateway that content is only read from.
    SwarmGateway {
        /// Base URLs.
        node: NodeOptions,
    },
    /// A trustless IPFS gateway that content is only read from.
    IpfsGateway {
        /// Base URLs, without `/ipfs`.
        node: NodeOptions,
    },
    /// The directory of a local store, published by any web server; only read from.
    Folder {
        /// Base URLs of the directory.
        node: NodeOptions,
    },
    /// A service that speaks the IPFS Pinning Service API: it fetches by CID from an IPFS place and keeps.
    Pinning {
        /// Base URL of the service.
        node: NodeOptions,
        /// The IPFS place that the service fetches from.
        from: String,
    },
}

/// Where a node or service answers.
#[derive(Clone, Debug, Default)]
pub struct NodeOptions {
    /// Endpoints that stand for each other, the preferred one first.
    pub urls: Vec<String>,
    /// Bearer token, if it asks for one.
    pub token: Option<Token>,
}

/// Told how far a transfer is, from any thread.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(&Transfer<'_>) + Send + Sync>);

impl Progress {
    /// Tells a function.
    pub fn new(tell: impl Fn(&Transfer<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    pub(crate) fn tell(&self, transfer: &Transfer<'_>) {
        (self.0)(transfer);
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress(..)")
    }
}

/// How far the transfer of one content to or from one place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer<'a> {
    /// The place.
    pub place: &'a str,
    /// The content.
    pub content: ContentRef,
    /// Which way it goes.
    pub way: Way,
    /// Bytes that are there, those of an interrupted upload included.
    pub done: u64,
    /// Bytes of the content.
    pub total: u64,
}

/// Which way content goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// To the place.
    Up,
    /// From the place.
    Down,
}
