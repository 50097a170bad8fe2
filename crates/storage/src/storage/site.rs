//! A place with what the front door knows about it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use galen_types::ContentRef;

use crate::{
    LocalStore, NodeOptions, PlaceKind, PlaceOptions, StorageError, http,
    place::Place,
    places::{Built, LocalPlace},
    reader::is_out_of_order,
};

/// How long a place that did not answer is asked last, and is not waited for where it is not needed.
const REST: Duration = Duration::from_secs(30);

/// A place as the settings describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceInfo {
    /// Its name.
    pub name: String,
    /// What it is: `local`, `swarm`, `ipfs`, `swarm-gateway`, `ipfs-gateway`, `folder` or `pinning`.
    pub kind: &'static str,
    /// Directory, or scheme and host of each endpoint; the rest of a URL may be a secret.
    pub endpoints: Vec<String>,
    /// Whether content can be sent there and removed.
    pub writable: bool,
    /// Whether content can be fetched from there.
    pub readable: bool,
    /// Whether it is a directory on this machine.
    pub local: bool,
    /// Whether new content goes there.
    pub kept_in: bool,
}

/// A place and how it does.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) place: Arc<dyn Place>,
    pub(crate) local: Option<LocalStore>,
    pub(crate) info: PlaceInfo,
    /// When it last did not answer.
    rests: Mutex<Option<Instant>>,
}

/// A place to ask for content, and the address by which it may know it.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) site: Arc<Site>,
    pub(crate) at: ContentRef,
}

impl Site {
    pub(crate) fn new(options: &PlaceOptions, built: Built) -> Self {
        let Built { place, local } = built;
        let (kind, endpoints) = described(&options.kind);
        let info = PlaceInfo {
            name: options.name.clone(),
            kind,
            endpoints,
            writable: place.is_writable(),
            readable: place.is_readable(),
            local: local.is_some(),
            kept_in: false,
        };
        Self { place, local, info, rests: Mutex::default() }
    }

    /// Staged content as a place. It is none that anybody named.
    pub(crate) fn staged(store: LocalStore) -> Self {
        let name = "staged".to_owned();
        let options =
            PlaceOptions { name: name.clone(), kind: PlaceKind::Local { directory: "".into() } };
        let place = Arc::new(LocalPlace::new(name, store.clone()));
        Self::new(&options, Built { place, local: Some(store) })
    }

    pub(crate) fn name(&self) -> &str {
        self.place.name()
    }

    /// Takes note of an error.
    pub(crate) fn failed(&self, error: &StorageError) {
        if is_out_of_order(error) {
            *self.rests.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }

    /// Takes note of an answer.
    pub(crate) fn answered(&self) {
        *self.rests.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether it did not answer a short while ago.
    pub(crate) fn rests(&self) -> bool {
        let rests = self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        rests.is_some_and(|since| since.elapsed() < REST)
    }
}

fn described(kind: &PlaceKind) -> (&'static str, Vec<String>) {
    let remote =
        |word, node: &NodeOptions| (word, node.urls.iter().map(|url| http::shown(url)).collect());
    match kind {
        PlaceKind::Local { directory } => ("local", vec![directory.display().to_string()]),
        PlaceKind::Swarm { node, .. } => remote("swarm", node),
        PlaceKind::Ipfs { node } => remote("ipfs", node),
        PlaceKind::SwarmGateway { node } => remote("swarm-gateway", node),
        PlaceKind::IpfsGateway { node } => remote("ipfs-gateway", node),
        PlaceKind::Folder { node } => remote("folder", node),
        PlaceKind::Pinning { node, .. } => remote("pinning", node),
    }
}
