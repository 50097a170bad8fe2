//! Which places a profile has, under which names, and where new content goes: lists and tables put together.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use galen_fhir::Category;
use galen_storage::{
    HttpOptions, NodeOptions, PlaceKind, PlaceOptions, Progress, Storage, StorageOptions, Token,
};

use crate::{
    error::CliError,
    home::{Name, create_dir},
    settings::Origin,
    stores::{CategoryKey, Offer, PlaceWord, StoreSpec, StoreTable, StoreUrl, Stores},
    unlock::read_secret_file,
};

/// `[stores.NAME]` of a profile.
pub(crate) type Tables = BTreeMap<Name, StoreTable>;

/// `[content]` of a profile: where new content of a category goes.
pub(crate) type Routes = BTreeMap<CategoryKey, Stores>;

/// One place under its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) name: Name,
    pub(crate) table: StoreTable,
    pub(crate) origin: Origin,
}

/// Everything that is kept in and read from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// In the order in which they are asked.
    all: Vec<Place>,
    /// Where new content goes, where its category says nothing else.
    keep_in: Vec<Name>,
    /// Where new content of a category goes.
    routes: BTreeMap<CategoryKey, Vec<Name>>,
}

/// What lists and tables are looked up in.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    /// The list for new content, and where it came from.
    pub(crate) store: &'a Stores,
    pub(crate) store_origin: &'a Origin,
    pub(crate) tables: &'a Tables,
    pub(crate) routes: &'a Routes,
    /// The profile's file: the origin of tables, and what relative paths in them begin at.
    pub(crate) profile: &'a Path,
    /// What the word `local` stands for where no table has that name.
    pub(crate) local: PathBuf,
}

impl Places {
    /// Looks every name up.
    pub(crate) fn resolve(source: &Source<'_>) -> Result<Self, CliError> {
        let mut found = Self::default();
        let file = Origin::File(source.profile.to_owned());
        found.keep_in = found.list(source, source.store, source.store_origin)?;
        // Read-only sources stand in the list to be read from.
        found.keep_in = found.writable(&found.keep_in);
        // A list that is said now holds for all content; what the profile routes elsewhere is still read there.
        let routed = !source.store_origin.is_said_now();
        for (category, list) in source.routes {
            let names = found.list(source, list, &file)?;
            let names = found.writable(&names);
            if names.is_empty() {
                let CategoryKey(category) = category;
                return Err(CliError::invalid(
                    format!("[content] {category}: nothing can be kept in {}", list.shown()),
                    "name a directory, a swarm or ipfs node, or a pinning service",
                ));
            }
            if routed {
                found.routes.insert(*category, names);
            }
        }
        for name in source.tables.keys() {
            found.named(source, name, &file)?;
        }
        found.check_pinning(source)?;
        // Whoever fetches comes after what it fetches from.
        found.all.sort_by_key(|place| place.table.kind == PlaceWord::Pinning);
        Ok(found)
    }

    /// Every place, in the order in which they are asked.
    pub(crate) fn all(&self) -> &[Place] {
        &self.all
    }

    /// Where new content goes, where its category says nothing else.
    pub(crate) fn keep_in(&self) -> &[Name] {
        &self.keep_in
    }

    /// Where new content of some categories goes instead.
    pub(crate) fn routes(&self) -> impl Iterator<Item = (Category, &[Name])> {
        self.routes.iter().map(|(CategoryKey(category), names)| (*category, names.as_slice()))
    }

    /// Every place that some new content goes to.
    pub(crate) fn wanted(&self) -> BTreeSet<&Name> {
        self.keep_in.iter().chain(self.routes.values().flatten()).collect()
    }

    /// What others may read from, for a card.
    pub(crate) fn offer(&self) -> Offer {
        let directory = self.all.iter().find_map(|place| place.table.directory.clone());
        let sources = self.all.iter().filter_map(|Place { table, .. }| {
            let StoreTable { kind, urls, token_file, .. } = table;
            let open = !kind.is_writable() && token_file.is_none();
            let open = open && urls.iter().all(StoreUrl::is_https);
            open.then(|| StoreSpec::Remote { kind: *kind, urls: urls.clone(), batch: None })
        });
        Offer { directory, sources: sources.collect() }
    }

    fn writable(&self, names: &[Name]) -> Vec<Name> {
        let writable = |name: &&Name| {
            self.all.iter().any(|place| place.name == **name && place.table.kind.is_writable())
        };
        names.iter().filter(writable).cloned().collect()
    }

    /// The names of a list's places, which are added where they are new.
    fn list(
        &mut self,
        source: &Source<'_>,
        list: &Stores,
        origin: &Origin,
    ) -> Result<Vec<Name>, CliError> {
        let mut names = Vec::new();
        for spec in list.specs() {
            let name = match spec {
                StoreSpec::Named(name) => self.named(source, name, origin)?,
                StoreSpec::Local(path) => {
                    let table = StoreTable::local(path.clone());
                    self.unnamed(source, PlaceWord::Local, table, origin)?
                }
                StoreSpec::Remote { kind, urls, batch } => {
                    let table = StoreTable::remote(*kind, urls.clone());
                    let table = StoreTable { batch: batch.clone(), ..table };
                    self.unnamed(source, *kind, table, origin)?
                }
            };
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// A table of the profile, or what the word stands for.
    fn named(
        &mut self,
        source: &Source<'_>,
        name: &Name,
        origin: &Origin,
    ) -> Result<Name, CliError> {
        if let Some(table) = source.tables.get(name) {
            if !self.all.iter().any(|place| place.name == *name) {
                let table = beside(table.complete(name)?, source.profile);
                let origin = Origin::File(source.profile.to_owned());
                self.all.push(Place { name: name.clone(), table, origin });
            }
            return Ok(name.clone());
        }
        let table = match name.as_str().parse() {
            Ok(PlaceWord::Local) => {
                Some((PlaceWord::Local, StoreTable::local(source.local.clone())))
            }
            Ok(kind) => StoreTable::default_node(kind).map(|table| (kind, table)),
            Err(()) => None,
        };
        let (kind, table) = table.ok_or_else(|| {
            CliError::invalid(
                format!("there is no store {name}"),
                format!(
                    "write [stores.{name}] into {}, or ./{name} for a directory",
                    source.profile.display()
                ),
            )
        })?;
        self.unnamed(source, kind, table, origin)
    }

    /// A place that is called as its kind, with a number if that is taken.
    fn unnamed(
        &mut self,
        source: &Source<'_>,
        kind: PlaceWord,
        table: StoreTable,
        origin: &Origin,
    ) -> Result<Name, CliError> {
        if let Some(place) = self.all.iter().find(|place| place.table == table) {
            return Ok(place.name.clone());
        }
        let taken = |name: &Name| {
            source.tables.contains_key(name) || self.all.iter().any(|place| place.name == *name)
        };
        let mut name: Name = kind.as_str().parse()?;
        let mut number = 2;
        while taken(&name) {
            name = format!("{kind}-{number}").parse()?;
            number += 1;
        }
        self.all.push(Place { name: name.clone(), table, origin: origin.clone() });
        Ok(name)
    }

    /// A pinning service fetches from an IPFS place that is set up too.
    fn check_pinning(&mut self, source: &Source<'_>) -> Result<(), CliError> {
        let file = Origin::File(source.profile.to_owned());
        for place in self.all.clone() {
            let Some(from) = &place.table.from else { continue };
            let found = self.named(source, from, &file)?;
            let kind = self.all.iter().find(|it| it.name == found).map(|it| it.table.kind);
            if kind != Some(PlaceWord::Ipfs) {
                return Err(CliError::invalid(
                    format!("[stores.{}] fetches from {from}, which is no IPFS node", place.name),
                    "from names a place of kind ipfs: the service gets the blocks there",
                ));
            }
        }
        Ok(())
    }

    /// Opens all of them; asks nothing of nodes yet. Uploads write down in `state` how far they are.
    pub(crate) async fn open(
        &self,
        access: &Access,
        state: PathBuf,
        progress: Progress,
    ) -> Result<Storage, CliError> {
        let doing = "open the content stores";
        let places = self.all.iter().map(Place::options).collect::<Result<Vec<_>, _>>()?;
        let http = HttpOptions::default();
        let options = StorageOptions {
            directory: Some(state),
            places,
            keep_in: self.keep_in.iter().map(Name::to_string).collect(),
            http: HttpOptions {
                timeout: access.timeout.map_or(http.timeout, |timeout| timeout.min(http.timeout)),
                allow_plain_http: access.allow_plain_http,
                ..http
            },
            progress: Some(progress),
        };
        Storage::connect(options).await.map_err(|source| CliError::Storage { doing, source })
    }
}

/// How nodes and services are spoken to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    /// Longest time that one request may take.
    pub(crate) timeout: Option<Duration>,
    /// Plain HTTP to other machines.
    pub(crate) allow_plain_http: bool,
}

/// Paths in a table begin at the profile's folder.
fn beside(table: StoreTable, profile: &Path) -> StoreTable {
    let folder = profile.parent().unwrap_or(Path::new("."));
    let from = |path: Option<PathBuf>| path.map(|path| folder.join(path));
    StoreTable { token_file: from(table.token_file), directory: from(table.directory), ..table }
}

impl Place {
    /// The bearer token, if there is one.
    fn token(&self) -> Result<Option<Token>, CliError> {
        let Some(file) = &self.table.token_file else { return Ok(None) };
        let help =
            format!("write the token into it, or change token_file of [stores.{}]", self.name);
        let text = read_secret_file(file, "token file", &help)?;
        let failed = |source| CliError::Storage { doing: "use the token file", source };
        Token::new(text.as_str()).map(Some).map_err(failed)
    }

    fn options(&self) -> Result<PlaceOptions, CliError> {
        let StoreTable { kind, urls, batch, directory, from, .. } = &self.table;
        let urls = urls.iter().map(|url| url.as_str().to_owned()).collect();
        let node = NodeOptions { urls, token: self.token()? };
        let kind = match kind {
            PlaceWord::Local => {
                let directory = directory.clone().unwrap_or_default();
                if let Some(parent) = directory.parent() {
                    create_dir(parent)?;
                }
                PlaceKind::Local { directory }
            }
            PlaceWord::Swarm => {
                let batch = batch.as_ref().map(|batch| batch.as_str().to_owned());
                PlaceKind::Swarm { node, batch }
            }
            PlaceWord::Ipfs => PlaceKind::Ipfs { node },
            PlaceWord::SwarmGateway => PlaceKind::SwarmGateway { node },
            PlaceWord::IpfsGateway => PlaceKind::IpfsGateway { node },
            PlaceWord::Folder => PlaceKind::Folder { node },
            PlaceWord::Pinning => {
                let from = from.as_ref().map(Name::to_string).unwrap_or_default();
                PlaceKind::Pinning { node, from }
            }
        };
        Ok(PlaceOptions { name: self.name.to_string(), kind })
    }
}
