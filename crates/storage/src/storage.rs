//! The front door: async, and every byte checked.

mod check;
mod copy;
mod publish;
mod read;
mod site;
mod staged;

use std::{
    collections::HashSet,
    io::Read,
    path::Path,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
};

use bytes::Bytes;
use galen_types::{ContentRef, Store};

pub use check::{Depth, Found, PlaceHealth, Presence};
pub use publish::{Notice, Resumed};
pub use site::PlaceInfo;
pub(crate) use site::{Candidate, Site};

use crate::{
    Addresses, KeptCopy, LocalStore, Pending, PlaceKind, PlaceOptions, Progress, StorageError,
    StorageOptions, blocking::blocking, places, state::State,
};

/// Longest name of a place, in bytes.
const MAX_NAME_LEN: usize = 200;

/// Places that keep sealed content. Cheap to clone.
///
/// Content is handed out only when it was verified against its address, and the address of new content
/// is always the one that this crate computed. Needs a tokio runtime; work on files runs on threads that may block.
///
/// New content is [staged](Self::stage) first: complete and durable on this machine. Then it is
/// [published](Self::publish) to the places that keep it. A program that is killed between the two, or half way
/// through the second, goes on where it was.
///
/// ```
/// # async fn example(directory: &std::path::Path) -> Result<(), galen_storage::StorageError> {
/// use galen_storage::Storage;
///
/// let storage = Storage::local(directory).await?;
/// let at = storage.put_bytes("sealed bytes").await?;
/// assert_eq!(storage.get(&at, 1 << 20).await?, "sealed bytes");
/// assert_eq!(storage.read_range(&at, 7..12).await?, "bytes");
/// # Ok(())
/// # }
/// # let directory = tempfile::tempdir().unwrap();
/// # tokio::runtime::Builder::new_current_thread()
/// #     .build()
/// #     .unwrap()
/// #     .block_on(example(directory.path()))
/// #     .unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Storage {
    shared: Arc<Shared>,
    /// Indices of the places that new content goes to.
    keep_in: Arc<[usize]>,
}

#[derive(Debug)]
struct Shared {
    sites: Vec<Arc<Site>>,
    state: Option<Arc<State>>,
    progress: Option<Progress>,
    notices: Mutex<Vec<Notice>>,
    /// Whether unfinished uploads are being tried just now.
    catches_up: AtomicBool,
    /// Staged content, to be read where no place has it.
    staged: Option<Arc<Site>>,
}

impl Storage {
    /// The store in a local directory, which is made if there is none.
    ///
    /// # Errors
    ///
    /// Those of [`LocalStore::open`].
    pub async fn local(directory: impl AsRef<Path>) -> Result<Self, StorageError> {
        let name = "local".to_owned();
        let kind = PlaceKind::Local { directory: directory.as_ref().to_owned() };
        let places = vec![PlaceOptions { name: name.clone(), kind }];
        Self::connect(StorageOptions { places, keep_in: vec![name], ..Default::default() }).await
    }

    /// The places of the settings. Opens local ones, asks nothing of others yet.
    ///
    /// # Errors
    ///
    /// - [`StorageError::Setting`]: a name is taken, unknown or not one word; a URL is wrong; content is to be sent
    ///   to a remote place and there is no directory to write down how far that is.
    /// - [`StorageError::ReadOnly`]: new content is to go to a place that is only read from.
    /// - [`StorageError::PlainHttp`]: a node is on another machine and not reached by HTTPS.
    /// - Those of [`LocalStore::open`].
    pub async fn connect(options: StorageOptions) -> Result<Self, StorageError> {
        let StorageOptions { directory, places, keep_in, http, progress } = options;
        check_names(&places)?;
        let built = places::build(&places, &http).await?;
        let sites: Vec<_> = places
            .iter()
            .zip(built)
            .map(|(options, built)| Arc::new(Site::new(options, built)))
            .collect();
        let needs_state = sites.iter().find(|site| site.info.writable && !site.info.local);
        let state = match (directory, needs_state) {
            (Some(directory), _) => {
                Some(Arc::new(blocking(move || State::open(&directory)).await?))
            }
            (None, None) => None,
            (None, Some(site)) => {
                let what = "content can be sent there only with a directory for what is under way";
                return Err(StorageError::Setting { place: site.name().to_owned(), what });
            }
        };
        let staged = state.as_ref().map(|state| Arc::new(Site::staged(state.staged.clone())));
        let shared = Shared {
            sites,
            state,
            progress,
            notices: Mutex::default(),
            catches_up: AtomicBool::new(false),
            staged,
        };
        let storage = Self { shared: Arc::new(shared), keep_in: Arc::new([]) };
        storage.keeping_in(&keep_in)
    }

    /// The same places, but new content goes to these; the first one gives the address. Shares everything else.
    ///
    /// # Errors
    ///
    /// [`StorageError::Setting`] for a name that no place has, [`StorageError::ReadOnly`].
    pub fn keeping_in(&self, names: &[String]) -> Result<Self, StorageError> {
        let mut keep_in = Vec::with_capacity(names.len());
        for name in names {
            let index = self.index(name)?;
            if !self.shared.sites[index].info.writable {
                return Err(StorageError::ReadOnly(name.clone()));
            }
            if !keep_in.contains(&index) {
                keep_in.push(index);
            }
        }
        Ok(Self { shared: Arc::clone(&self.shared), keep_in: keep_in.into() })
    }

    /// The places, in the order of the settings.
    pub fn places(&self) -> Vec<PlaceInfo> {
        let sites = self.shared.sites.iter().enumerate();
        sites
            .map(|(index, site)| PlaceInfo {
                kept_in: self.keep_in.contains(&index),
                ..site.info.clone()
            })
            .collect()
    }

    /// Which address of new content [`publish`](Self::publish) returns, and a chain should name.
    pub fn address_kind(&self) -> Store {
        let first = self.keep_in.first().map(|index| &self.shared.sites[*index]);
        match first {
            Some(site) if !site.place.understands(Store::Swarm) => Store::Ipfs,
            _ => Store::Swarm,
        }
    }

    /// Takes content of any length in constant memory; complete and durable on this machine when this returns, and
    /// sent nowhere.
    ///
    /// # Errors
    ///
    /// [`StorageError::NowhereToKeep`], and those of [`LocalStore::put`].
    pub async fn stage(
        &self,
        content: impl Read + Send + 'static,
    ) -> Result<Addresses, StorageError> {
        self.stage_noting(content, |_| Ok(())).await
    }

    /// As [`stage`](Self::stage), and tells both addresses before the content gets its name on this machine. Whoever
    /// writes them down durably in `note` can clean up after a process that died at any moment.
    ///
    /// # Errors
    ///
    /// Those of [`stage`](Self::stage); if `note` fails, nothing is staged.
    pub async fn stage_noting(
        &self,
        content: impl Read + Send + 'static,
        note: impl FnOnce(&Addresses) -> std::io::Result<()> + Send + 'static,
    ) -> Result<Addresses, StorageError> {
        let store = self.stage_store()?.clone();
        blocking(move || store.put_noting(content, crate::MAX_CONTENT_LEN, note)).await
    }

    /// [`stage`](Self::stage) for content that is in memory.
    ///
    /// # Errors
    ///
    /// Those of [`stage`](Self::stage).
    pub async fn stage_bytes(&self, content: impl Into<Bytes>) -> Result<Addresses, StorageError> {
        let content: Bytes = content.into();
        self.stage(std::io::Cursor::new(content)).await
    }

    /// Keeps content of any length in constant memory: [`stage`](Self::stage), then [`publish`](Self::publish).
    ///
    /// # Errors
    ///
    /// Those of both.
    pub async fn put(
        &self,
        content: impl Read + Send + 'static,
    ) -> Result<ContentRef, StorageError> {
        let addresses = self.stage(content).await?;
        self.publish_staged(&addresses).await
    }

    /// [`put`](Self::put) for content that is in memory.
    ///
    /// # Errors
    ///
    /// Those of [`put`](Self::put).
    pub async fn put_bytes(&self, content: impl Into<Bytes>) -> Result<ContentRef, StorageError> {
        let content: Bytes = content.into();
        self.put(std::io::Cursor::new(content)).await
    }

    /// Both addresses of content, if this machine knows them: because it lies here, or once was sent from here.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`].
    pub async fn addresses(&self, at: &ContentRef) -> Result<Option<Addresses>, StorageError> {
        let (shared, at) = (Arc::clone(&self.shared), *at);
        blocking(move || shared.addresses(&at)).await
    }

    /// The copies that were finished and not released, as far as this machine knows.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`].
    pub async fn copies(&self) -> Result<Vec<KeptCopy>, StorageError> {
        self.with_state(|state| state.copies.all()).await
    }

    /// The uploads that are not finished, those that somebody works on just now included.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`].
    pub async fn pending(&self) -> Result<Vec<Pending>, StorageError> {
        self.with_state(|state| state.uploads.list()).await
    }

    /// What went wrong since this was asked last without making a call fail; the oldest first.
    pub fn notices(&self) -> Vec<Notice> {
        std::mem::take(&mut self.shared.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Nothing if there is no directory for the state.
    async fn with_state<T: Default + Send + 'static>(
        &self,
        work: impl FnOnce(&State) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        match &self.shared.state {
            Some(state) => {
                let state = Arc::clone(state);
                blocking(move || work(&state)).await
            }
            None => Ok(T::default()),
        }
    }

    fn index(&self, name: &str) -> Result<usize, StorageError> {
        let found = self.shared.sites.iter().position(|site| site.name() == name);
        let what = "no place has this name";
        found.ok_or_else(|| StorageError::Setting { place: name.to_owned(), what })
    }

    /// Where new content is staged: where it stays anyway, if that is on this machine.
    fn stage_store(&self) -> Result<&LocalStore, StorageError> {
        let mut kept_in = self.keep_in.iter().map(|index| &self.shared.sites[*index]);
        if self.keep_in.is_empty() {
            return Err(StorageError::NowhereToKeep);
        }
        kept_in
            .find_map(|site| site.local.as_ref())
            .or(self.shared.state.as_ref().map(|state| &state.staged))
            .ok_or(StorageError::NowhereToKeep)
    }
}

impl Shared {
    fn addresses(&self, at: &ContentRef) -> Result<Option<Addresses>, StorageError> {
        if let Some(state) = &self.state
            && let Some(addresses) = state.copies.addresses(at)?
        {
            return Ok(Some(addresses));
        }
        // A damaged file tells nothing; the content may be whole elsewhere.
        Ok(self.local_stores().find_map(|store| store.addresses(at).ok()))
    }

    /// Every directory on this machine that content may lie in, places first.
    fn local_stores(&self) -> impl Iterator<Item = &LocalStore> {
        let staged = self.state.as_ref().map(|state| &state.staged);
        self.sites.iter().filter_map(|site| site.local.as_ref()).chain(staged)
    }
}

/// A name is one word, and that of one place.
fn check_names(places: &[PlaceOptions]) -> Result<(), StorageError> {
    let mut names = HashSet::new();
    for PlaceOptions { name, .. } in places {
        let wrong = |what| Err(StorageError::Setting { place: name.clone(), what });
        if name.is_empty()
            || name.len() > MAX_NAME_LEN
            || !name.bytes().all(|b| b.is_ascii_graphic())
        {
            return wrong("a place's name is one word of at most 200 visible ASCII characters");
        }
        if !names.insert(name) {
            return wrong("two places have this name");
        }
    }
    Ok(())
}
