//! Every setting with where it came from: flag, then environment, then the profile, then the address book of
//! networks or a default. Resolved once.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use galen_sdk::Role;
use galen_storage::Storage;
use serde::{Deserialize, Serialize};

use crate::{
    args::Globals,
    commands::config::Row,
    error::CliError,
    home::{Home, Name, read_text},
    networks::{Network, Networks},
    places::{Access, Place, Places, Source},
    profile::Profile,
    stores::{StoreUrl, Stores},
    table, transfers,
    ui::Ui,
};

/// How long to wait for a node, a relay or a transaction.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(90);

/// The profile where none is named.
const DEFAULT_PROFILE: &str = "default";

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag(&'static str),
    Environment(&'static str),
    File(PathBuf),
    Default,
}

impl Origin {
    /// By flag or environment: not from a file, and no default.
    pub(crate) const fn is_said_now(&self) -> bool {
        matches!(self, Self::Flag(_) | Self::Environment(_))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting<T> {
    pub(crate) value: T,
    pub(crate) origin: Origin,
}

impl<T> Setting<T> {
    pub(crate) const fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }
}

/// `config.toml`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The profile where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) default: Option<Name>,
}

/// What the environment says; read once, so that tests and `config show` see the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    home: Option<PathBuf>,
    galen_home: Option<PathBuf>,
    profile: Option<String>,
    rpc_url: Option<String>,
    password_file: Option<PathBuf>,
    site: Option<PathBuf>,
}

impl Environment {
    pub(crate) fn read() -> Self {
        // An empty variable is as good as none.
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let text = |name| variable(name).map(|value| value.to_string_lossy().into_owned());
        Self {
            home: variable("HOME").map(PathBuf::from),
            galen_home: variable("GALEN_HOME").map(PathBuf::from),
            profile: text("GALEN_PROFILE"),
            rpc_url: text("ETH_RPC_URL"),
            password_file: variable("ETH_PASSWORD").map(PathBuf::from),
            site: variable("GALEN_SITE").map(PathBuf::from),
        }
    }
}

/// Everything that can be set, resolved.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) home: Setting<Home>,
    pub(crate) profile: Setting<Name>,
    /// The profile's own file, if there is one.
    pub(crate) file: Option<Profile>,
    /// The network that is meant; `None` as long as neither flag nor profile names one.
    pub(crate) network: Option<Setting<Name>>,
    /// The network in the address book.
    pub(crate) known: Option<Network>,
    pub(crate) rpc_urls: Option<Setting<Vec<String>>>,
    /// `None` as value: the wallet pays.
    pub(crate) relay: Setting<Option<String>>,
    /// Whether nodes and relays on other machines may be spoken to without encryption.
    pub(crate) allow_plain_http: Setting<bool>,
    /// The list of places for new content.
    pub(crate) store: Setting<Stores>,
    /// All places that are kept in or read from.
    pub(crate) places: Places,
    pub(crate) account: Option<Setting<Name>>,
    pub(crate) keystore: Option<Setting<PathBuf>>,
    pub(crate) password_file: Option<Setting<PathBuf>>,
    pub(crate) timeout: Setting<Duration>,
    /// Whether an organization keeps a sealed copy of its own of what it seals.
    pub(crate) copies: Setting<bool>,
    /// Rules of the site; `None` if there are none.
    pub(crate) site: Option<Setting<PathBuf>>,
    /// Where signatures of other owners of a contract wallet appear.
    pub(crate) signatures: Option<PathBuf>,
    /// Where requests for them are written.
    pub(crate) request_out: Option<PathBuf>,
}

impl Settings {
    /// Reads the environment and the files.
    pub(crate) fn resolve(globals: &Globals) -> Result<Self, CliError> {
        Self::from(globals, Environment::read())
    }

    fn from(globals: &Globals, environment: Environment) -> Result<Self, CliError> {
        let home = resolve_home(globals, &environment)?;
        let profile = resolve_profile(globals, &environment, &home.value)?;
        let profile_path = home.value.profile(&profile.value).settings();
        let file = Profile::read(&profile_path)?;
        let flags = &globals.connection;
        let from_file = || Origin::File(profile_path.clone());

        let network = resolve_network(globals, file.as_ref(), from_file())?;
        let networks = Networks::read(&home.value)?;
        let known = network.as_ref().and_then(|name| networks.get(&name.value).cloned());
        let from_book = || Origin::File(home.value.networks());

        let own = |pick: fn(&Profile) -> Option<String>| file.as_ref().and_then(pick);
        let rpc_url = first([
            (flags.rpc_url.clone(), Origin::Flag("--rpc-url")),
            (environment.rpc_url.clone(), Origin::Environment("ETH_RPC_URL")),
            (own(|file| file.rpc_url.clone()), from_file()),
        ]);
        let rpc_urls = rpc_url
            .map(|Setting { value, origin }| Setting::new(split_urls(&value), origin))
            .or_else(|| {
                known.as_ref().map(|known| Setting::new(known.rpc_urls.clone(), from_book()))
            });
        let relay = first([
            (flags.relay.clone(), Origin::Flag("--relay")),
            (own(|file| file.relay.clone()), from_file()),
            (known.as_ref().and_then(|known| known.relay.clone()), from_book()),
        ]);
        let relay = match relay {
            Some(Setting { value, origin }) => {
                Setting::new(Some(value).filter(|value| value != "none"), origin)
            }
            None => Setting::new(None, Origin::Default),
        };
        let plain = known.as_ref().filter(|known| known.allow_plain_http);
        let allow_plain_http =
            plain.map_or(Setting::new(false, Origin::Default), |_| Setting::new(true, from_book()));
        let (store, places) = resolve_stores(globals, &home.value, file.as_ref(), &profile_path)?;
        let (account, keystore) = resolve_wallet(globals, file.as_ref(), &from_file())?;
        let own_path = file.as_ref().and_then(|file| file.password_file.clone());
        let password_file = first([
            (flags.password_file.clone(), Origin::Flag("--password-file")),
            (environment.password_file, Origin::Environment("ETH_PASSWORD")),
            (own_path, from_file()),
        ]);
        let beside = home.value.profile(&profile.value).site();
        let own_site = (file.as_ref().and_then(|file| file.site.clone()), from_file());
        let site = resolve_site(globals, environment.site, own_site, beside);
        let timeout = resolve_timeout(globals, file.as_ref(), from_file());
        let own_copies = file.as_ref().and_then(|file| file.copies);
        let copies = first([(own_copies, from_file())]);
        Ok(Self {
            home,
            profile,
            file,
            network,
            known,
            rpc_urls,
            relay,
            allow_plain_http,
            store,
            places,
            account,
            keystore,
            password_file,
            timeout,
            copies: copies.unwrap_or(Setting::new(true, Origin::Default)),
            site,
            signatures: flags.signatures.clone(),
            request_out: flags.request_out.clone(),
        })
    }

    /// As a command's own flag says it of the network that it is about, which need not be the profile's.
    pub(crate) fn with_plain_http(&self, allowed: bool) -> Self {
        let allow_plain_http = Setting::new(allowed, Origin::Flag("--allow-plain-http"));
        Self { allow_plain_http, ..self.clone() }
    }

    /// The password file, if one is set.
    pub(crate) fn password_file(&self) -> Option<PathBuf> {
        self.password_file.as_ref().map(|file| file.value.clone())
    }

    /// Every setting as it is shown to people.
    pub(crate) fn rows(&self) -> Vec<Row> {
        fn row<T>(
            setting: &str,
            found: Option<&Setting<T>>,
            show: impl FnOnce(&T) -> String,
        ) -> Row {
            let origin =
                found.map_or_else(|| "not set".to_owned(), |found| found.origin.to_string());
            Row {
                setting: setting.to_owned(),
                value: found.map(|found| show(&found.value)),
                origin,
            }
        }
        let urls = |urls: &Vec<String>| {
            urls.iter().map(|url| shown_url(url)).collect::<Vec<_>>().join(" ")
        };
        let relay = |relay: &Option<String>| relay.as_deref().map_or("none".to_owned(), shown_url);
        let path = |path: &PathBuf| path.display().to_string();
        let mut rows = vec![
            row("home", Some(&self.home), |home| home.root().display().to_string()),
            row("profile", Some(&self.profile), Name::to_string),
            row("network", self.network.as_ref(), Name::to_string),
            row("rpc_urls", self.rpc_urls.as_ref(), urls),
            row("relay", Some(&self.relay), relay),
            row("allow_plain_http", Some(&self.allow_plain_http), bool::to_string),
            row("store", Some(&self.store), Stores::shown),
            row("account", self.account.as_ref(), Name::to_string),
            row("keystore", self.keystore.as_ref(), path),
            row("password_file", self.password_file.as_ref(), path),
            row("site", self.site.as_ref(), path),
            row("timeout_seconds", Some(&self.timeout), |timeout| timeout.as_secs().to_string()),
        ];
        // Nobody else seals for others.
        if self.file.as_ref().is_some_and(|file| file.role == Role::Organization) {
            rows.push(row("copies", Some(&self.copies), bool::to_string));
        }
        rows.extend(self.places.all().iter().flat_map(place_rows));
        rows.extend(self.places.routes().map(|(category, names)| Row {
            setting: format!("content.{category}"),
            value: Some(table::list(names)),
            origin: Origin::File(self.profile_file()).to_string(),
        }));
        rows
    }

    /// How places that keep content are spoken to.
    pub(crate) fn access(&self) -> Access {
        Access { timeout: Some(self.timeout.value), allow_plain_http: self.allow_plain_http.value }
    }

    /// Opens the profile's stores; asks nothing of nodes yet.
    pub(crate) async fn open_stores(&self, ui: &Ui) -> Result<Storage, CliError> {
        let state = self.home.value.profile(&self.profile.value).content();
        self.places.open(&self.access(), state, transfers::told_by(ui)).await
    }

    /// The profile's own file, which need not be there.
    pub(crate) fn profile_file(&self) -> PathBuf {
        self.home.value.profile(&self.profile.value).settings()
    }

    /// The profile, which `galen init` makes.
    pub(crate) fn require_profile(&self) -> Result<&Profile, CliError> {
        self.file.as_ref().ok_or_else(|| {
            CliError::not_found(
                format!("there is no profile {}", self.profile.value),
                "`galen init` makes one; `--profile` or GALEN_PROFILE names another",
            )
        })
    }

    /// The network in the address book.
    pub(crate) fn require_network(&self) -> Result<(&Name, &Network), CliError> {
        let name = self.network.as_ref().ok_or_else(|| {
            CliError::invalid(
                "no network is named",
                "use --network; `galen network list` shows them",
            )
        })?;
        let known = self.known.as_ref().ok_or_else(|| {
            CliError::not_found(
                format!("network {} is not in the address book", name.value),
                "add it with `galen network add`, `galen init --from CARD` or `galen deploy`",
            )
        })?;
        Ok((&name.value, known))
    }
}

/// The settings of one place that are set.
fn place_rows(place: &Place) -> Vec<Row> {
    let table = &place.table;
    let path = |path: &PathBuf| path.display().to_string();
    let urls: Vec<_> = table.urls.iter().map(StoreUrl::shown).collect();
    let set = [
        ("kind", Some(table.kind.to_string())),
        ("urls", Some(urls.join(" ")).filter(|urls| !urls.is_empty())),
        ("directory", table.directory.as_ref().map(path)),
        ("batch", table.batch.as_ref().map(|batch| batch.as_str().to_owned())),
        ("token_file", table.token_file.as_ref().map(path)),
        ("from", table.from.as_ref().map(Name::to_string)),
    ];
    let origin = place.origin.to_string();
    let rows = set.into_iter().filter(|(_, value)| value.is_some());
    rows.map(|(key, value)| Row {
        setting: format!("stores.{}.{key}", place.name),
        value,
        origin: origin.clone(),
    })
    .collect()
}

/// The list for new content, and every place of lists and tables.
fn resolve_stores(
    globals: &Globals,
    home: &Home,
    file: Option<&Profile>,
    profile: &Path,
) -> Result<(Setting<Stores>, Places), CliError> {
    let flag = globals.connection.store.as_deref().map(str::parse).transpose()?;
    let store = first([
        (flag, Origin::Flag("--store")),
        (file.and_then(|file| file.store.clone()), Origin::File(profile.to_owned())),
    ]);
    let store =
        store.unwrap_or_else(|| Setting::new(Stores::local(home.content()), Origin::Default));
    let (tables, routes) =
        file.map_or_else(Default::default, |file| (file.stores.clone(), file.content.clone()));
    let places = Places::resolve(&Source {
        store: &store.value,
        store_origin: &store.origin,
        tables: &tables,
        routes: &routes,
        profile,
        local: home.content(),
    })?;
    Ok((store, places))
}

/// The first value that is there.
fn first<T, const N: usize>(places: [(Option<T>, Origin); N]) -> Option<Setting<T>> {
    places.into_iter().find_map(|(value, origin)| value.map(|value| Setting::new(value, origin)))
}

fn resolve_home(globals: &Globals, environment: &Environment) -> Result<Setting<Home>, CliError> {
    let set = first([
        (globals.home.clone(), Origin::Flag("--home")),
        (environment.galen_home.clone(), Origin::Environment("GALEN_HOME")),
        (environment.home.as_ref().map(|home| home.join(".galen")), Origin::Default),
    ]);
    let Setting { value, origin } = set.ok_or_else(|| {
        CliError::invalid("there is no home directory", "use --home, or set GALEN_HOME")
    })?;
    let failed = |source| CliError::Directory { path: value.display().to_string(), source };
    let value = std::path::absolute(&value).map_err(failed)?;
    Ok(Setting::new(Home::new(value), origin))
}

fn resolve_profile(
    globals: &Globals,
    environment: &Environment,
    home: &Home,
) -> Result<Setting<Name>, CliError> {
    let named = first([
        (globals.profile.clone(), Origin::Flag("--profile")),
        (environment.profile.clone(), Origin::Environment("GALEN_PROFILE")),
    ]);
    if let Some(Setting { value, origin }) = named {
        return Ok(Setting::new(value.parse()?, origin));
    }
    let path = home.config();
    let config: Config = read_toml(&path)?.unwrap_or_default();
    match config.default {
        Some(name) => Ok(Setting::new(name, Origin::File(path))),
        None => Ok(Setting::new(DEFAULT_PROFILE.parse()?, Origin::Default)),
    }
}

fn resolve_network(
    globals: &Globals,
    file: Option<&Profile>,
    from_file: Origin,
) -> Result<Option<Setting<Name>>, CliError> {
    if let Some(name) = &globals.connection.network {
        return Ok(Some(Setting::new(name.parse()?, Origin::Flag("--network"))));
    }
    let name = file.and_then(|file| file.network.clone());
    Ok(name.map(|name| Setting::new(name, from_file)))
}

fn resolve_timeout(
    globals: &Globals,
    file: Option<&Profile>,
    from_file: Origin,
) -> Setting<Duration> {
    let own = file.and_then(|file| file.timeout).map(Duration::from_secs);
    let set = first([(globals.connection.timeout, Origin::Flag("--timeout")), (own, from_file)]);
    set.unwrap_or(Setting::new(DEFAULT_TIMEOUT, Origin::Default))
}

type Wallet = (Option<Setting<Name>>, Option<Setting<PathBuf>>);

/// The rules of the site; those beside the profile if nothing names others.
fn resolve_site(
    globals: &Globals,
    environment: Option<PathBuf>,
    own: (Option<PathBuf>, Origin),
    beside: PathBuf,
) -> Option<Setting<PathBuf>> {
    first([
        (globals.site.clone(), Origin::Flag("--site")),
        (environment, Origin::Environment("GALEN_SITE")),
        own,
        (Some(beside).filter(|path| path.exists()), Origin::Default),
    ])
}

/// A flag for either wins over the profile's for both.
fn resolve_wallet(
    globals: &Globals,
    file: Option<&Profile>,
    from_file: &Origin,
) -> Result<Wallet, CliError> {
    let flags = &globals.connection;
    if let Some(path) = &flags.keystore {
        return Ok((None, Some(Setting::new(path.clone(), Origin::Flag("--keystore")))));
    }
    if let Some(name) = &flags.account {
        return Ok((Some(Setting::new(name.parse()?, Origin::Flag("--account"))), None));
    }
    let Some(file) = file else { return Ok((None, None)) };
    let set = |origin: &Origin| origin.clone();
    Ok((
        file.account.clone().map(|name| Setting::new(name, set(from_file))),
        file.keystore.clone().map(|path| Setting::new(path, set(from_file))),
    ))
}

/// Reads a file of settings; unknown keys and wrong values are told with their line.
pub(crate) fn read_toml<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, CliError> {
    let Some(text) = read_text(path)? else { return Ok(None) };
    toml::from_str(&text).map(Some).map_err(|error| {
        // The parser's own text would repeat the line, which may hold a password of a node.
        let line = error.span().map_or(1, |span| {
            text.as_bytes()[..span.start.min(text.len())].iter().filter(|b| **b == b'\n').count()
                + 1
        });
        let meant = crate::site::meant(error.message());
        CliError::invalid(
            format!("{}, line {line}: {}{meant}", path.display(), error.message().trim_end()),
            "mend the line; `galen config show` prints every value and where it came from",
        )
    })
}

/// The URLs of a list with commas, each once: the same node twice is still one node.
fn split_urls(text: &str) -> Vec<String> {
    let mut urls: Vec<String> = Vec::new();
    for url in text.split(',').map(str::trim).filter(|url| !url.is_empty()) {
        if !urls.iter().any(|known| known == url) {
            urls.push(url.to_owned());
        }
    }
    urls
}

/// A URL without what may be secret: user, password, path and query.
pub(crate) fn shown_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "(not a URL)".to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let more = if rest.len() > authority.len() + 1 { "/…" } else { "" };
    format!("{scheme}://{host}{more}")
}
