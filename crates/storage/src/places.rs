//! The places there are.

mod dag;
mod folder;
mod gateway;
mod ipfs;
mod kubo;
mod local;
mod pinning;
mod swarm;

use std::{collections::HashMap, sync::Arc};

use self::{
    folder::FolderPlace, gateway::IpfsGateway, ipfs::IpfsPlace, pinning::PinningPlace, swarm::Swarm,
};
use crate::{
    HttpOptions, LocalStore, NodeOptions, PlaceKind, PlaceOptions, StorageError,
    blocking::blocking, http::Http, place::Place,
};

pub(crate) use local::LocalPlace;

/// A place, made and not asked anything yet.
pub(crate) struct Built {
    pub(crate) place: Arc<dyn Place>,
    /// If the place is a directory on this machine.
    pub(crate) local: Option<LocalStore>,
}

impl Built {
    fn remote(place: impl Place + 'static) -> Self {
        Self { place: Arc::new(place), local: None }
    }
}

/// Makes the places of the settings, in their order.
pub(crate) async fn build(
    places: &[PlaceOptions],
    http: &HttpOptions,
) -> Result<Vec<Built>, StorageError> {
    // A pinning service names the place that it fetches from, which may stand after it.
    let mut ipfs = HashMap::new();
    for PlaceOptions { name, kind } in places {
        if let PlaceKind::Ipfs { node } = kind {
            let place = IpfsPlace::new(name.clone(), speak(name, node, http)?);
            ipfs.insert(name.as_str(), Arc::new(place));
        }
    }
    let mut built = Vec::with_capacity(places.len());
    for place in places {
        built.push(build_one(place, http, &ipfs).await?);
    }
    Ok(built)
}

async fn build_one(
    PlaceOptions { name, kind }: &PlaceOptions,
    http: &HttpOptions,
    ipfs: &HashMap<&str, Arc<IpfsPlace>>,
) -> Result<Built, StorageError> {
    let setting = |what| StorageError::Setting { place: name.clone(), what };
    let find = |name: &str| ipfs.get(name).cloned();
    Ok(match kind {
        PlaceKind::Local { directory } => {
            let directory = directory.clone();
            let local = blocking(move || LocalStore::open(directory)).await?;
            let place = Arc::new(LocalPlace::new(name.clone(), local.clone()));
            Built { place, local: Some(local) }
        }
        PlaceKind::Swarm { node, batch } => {
            Built::remote(Swarm::nodes(name, node, batch.as_deref(), http)?)
        }
        PlaceKind::SwarmGateway { node } => Built::remote(Swarm::gateway(name, node, http)?),
        PlaceKind::Ipfs { .. } => {
            let place = find(name).ok_or_else(|| setting("two places have this name"))?;
            Built { place, local: None }
        }
        PlaceKind::IpfsGateway { node } => {
            Built::remote(IpfsGateway::new(name.clone(), speak(name, node, http)?))
        }
        PlaceKind::Folder { node } => {
            Built::remote(FolderPlace::new(name.clone(), speak(name, node, http)?))
        }
        PlaceKind::Pinning { node, from } => {
            let what = "what a pinning service fetches from must be the name of an IPFS place";
            let from = find(from).ok_or_else(|| setting(what))?;
            Built::remote(PinningPlace::new(name.clone(), speak(name, node, http)?, from))
        }
    })
}

fn speak(place: &str, node: &NodeOptions, http: &HttpOptions) -> Result<Http, StorageError> {
    Http::new(place, &node.urls, node.token.clone(), http.clone())
}
