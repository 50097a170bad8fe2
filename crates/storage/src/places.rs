//! The places there are.

mod local;
mod swarm;

use std::sync::Arc;

pub(crate) use local::LocalPlace;
use swarm::Swarm;

use crate::{
    HttpOptions, LocalStore, PlaceKind, PlaceOptions, StorageError, blocking::blocking,
    place::Place,
};

/// A place, made and not asked anything yet.
pub(crate) struct Built {
    pub(crate) place: Arc<dyn Place>,
    /// If the place is a directory on this machine.
    pub(crate) local: Option<LocalStore>,
}

/// Makes a place by its settings. `built` are those that come before it, for a pinning service to fetch from.
pub(crate) async fn build(
    options: &PlaceOptions,
    http: &HttpOptions,
    _built: &[Built],
) -> Result<Built, StorageError> {
    let name = options.name.clone();
    match &options.kind {
        PlaceKind::Local { directory } => {
            let directory = directory.clone();
            let local = blocking(move || LocalStore::open(directory)).await?;
            let place = Arc::new(LocalPlace::new(name, local.clone()));
            Ok(Built { place, local: Some(local) })
        }
        PlaceKind::Swarm { node, batch } => {
            let place = Arc::new(Swarm::nodes(&name, node, batch.as_deref(), http)?);
            Ok(Built { place, local: None })
        }
        PlaceKind::SwarmGateway { node } => {
            let place = Arc::new(Swarm::gateway(&name, node, http)?);
            Ok(Built { place, local: None })
        }
        PlaceKind::Ipfs { .. }
        | PlaceKind::IpfsGateway { .. }
        | PlaceKind::Folder { .. }
        | PlaceKind::Pinning { .. } => {
            let what = "this version of Galen knows local places only";
            Err(StorageError::Setting { place: name, what })
        }
    }
}
