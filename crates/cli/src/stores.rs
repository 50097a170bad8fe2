//! Where content is kept and read from, as people write it: lists of places and the tables `[stores.NAME]`.

use std::{fmt, path::PathBuf, str::FromStr};

use galen_fhir::Category;
use serde::{Deserialize, Serialize};

use crate::{error::CliError, home::Name};

/// Bee's own default.
const BEE_URL: &str = "http://127.0.0.1:1633";

/// Kubo's own default.
const KUBO_URL: &str = "http://127.0.0.1:5001";

/// Longest URL of a place, in bytes.
const MAX_URL_LEN: usize = 512;

/// What a list may say.
const LIST_HELP: &str = "a store is a name of [stores.NAME], `local`, `swarm`, `ipfs`, a path with a slash, or KIND:URL with kind \
     local, swarm, ipfs, swarm-gateway, ipfs-gateway or folder; commas separate several";

/// A list of places, with at least one in it. New content goes to all of them that take content; the first gives
/// the address.
///
/// Written with commas; a comma within a path or URL is written twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Stores(Vec<StoreSpec>);

/// One place of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreSpec {
    /// A table of the profile, or where there is none of that name one of the words `local`, `swarm`, `ipfs`.
    Named(Name),
    /// `local:DIR`, or a path with a slash.
    Local(PathBuf),
    /// `KIND:URL`; `+` joins URLs that stand for each other. `#batch=HEX` after those of bee nodes names the postage
    /// batch.
    Remote { kind: PlaceWord, urls: Vec<StoreUrl>, batch: Option<Batch> },
}

/// What comes before a postage batch.
const BATCH: &str = "#batch=";

impl Stores {
    /// A single directory.
    pub(crate) fn local(directory: PathBuf) -> Self {
        Self(vec![StoreSpec::Local(directory)])
    }

    pub(crate) fn specs(&self) -> &[StoreSpec] {
        &self.0
    }

    /// The same places, wherever the program is started.
    pub(crate) fn absolute(self) -> Result<Self, CliError> {
        let specs = self.0.into_iter().map(|spec| match spec {
            StoreSpec::Local(path) => std::path::absolute(&path)
                .map(StoreSpec::Local)
                .map_err(|source| CliError::Directory { path: path.display().to_string(), source }),
            other => Ok(other),
        });
        specs.collect::<Result<_, _>>().map(Self)
    }

    /// The list followed by others that it does not have yet.
    pub(crate) fn and(mut self, others: impl IntoIterator<Item = StoreSpec>) -> Self {
        for other in others {
            if !self.0.contains(&other) {
                self.0.push(other);
            }
        }
        self
    }

    /// The list without what may be secret in its URLs.
    pub(crate) fn shown(&self) -> String {
        self.0.iter().map(StoreSpec::shown).collect::<Vec<_>>().join(",")
    }
}

impl FromStr for Stores {
    type Err = CliError;

    fn from_str(text: &str) -> Result<Self, CliError> {
        let mut specs: Vec<StoreSpec> = Vec::new();
        for item in items(text) {
            let spec: StoreSpec = item.parse()?;
            if specs.contains(&spec) {
                let text = format!("the store {} is named twice", spec.shown());
                return Err(CliError::invalid(text, "name each store once"));
            }
            specs.push(spec);
        }
        Ok(Self(specs))
    }
}

impl fmt::Display for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, spec) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}", spec.to_string().replace(',', ",,"))?;
        }
        Ok(())
    }
}

impl TryFrom<String> for Stores {
    type Error = CliError;

    fn try_from(text: String) -> Result<Self, CliError> {
        text.parse()
    }
}

impl From<Stores> for String {
    fn from(stores: Stores) -> Self {
        stores.to_string()
    }
}

/// Splits at single commas; two stand for one that belongs to the item.
fn items(text: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == ',' && letters.next_if_eq(&',').is_none() {
            items.push(String::new());
        } else if let Some(item) = items.last_mut() {
            item.push(letter);
        }
    }
    items
}

/// What a card offers for content.
#[derive(Debug, Default)]
pub(crate) struct Offer {
    /// A directory, for people who share a machine.
    pub(crate) directory: Option<PathBuf>,
    /// What can be read from with encryption and without a token; never what would be written to.
    pub(crate) sources: Vec<StoreSpec>,
}

impl Offer {
    /// From a card, which anybody can write: what is not understood is left out.
    pub(crate) fn of(card: &str) -> Self {
        let Ok(Stores(specs)) = card.parse() else { return Self::default() };
        let mut offer = Self::default();
        for spec in specs {
            match &spec {
                StoreSpec::Local(path) if offer.directory.is_none() => {
                    offer.directory = Some(path.clone());
                }
                StoreSpec::Remote { kind, urls, .. }
                    if !kind.is_writable() && urls.iter().all(StoreUrl::is_https) =>
                {
                    offer.sources.push(spec);
                }
                _ => {}
            }
        }
        offer
    }

    /// As it stands on a card: what fits into so many bytes.
    pub(crate) fn text(self, max_len: usize) -> String {
        let directory = self.directory.map(StoreSpec::Local);
        let mut text = String::new();
        for spec in directory.into_iter().chain(self.sources) {
            let spec = Stores(vec![spec]).to_string();
            let comma = usize::from(!text.is_empty());
            if text.len() + comma + spec.len() <= max_len {
                text.push_str(&","[..comma]);
                text.push_str(&spec);
            }
        }
        text
    }
}

impl StoreSpec {
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Remote { kind, urls, batch } => {
                let urls: Vec<_> = urls.iter().map(StoreUrl::shown).collect();
                format!("{kind}:{}{}", urls.join("+"), after_urls(batch.as_ref()))
            }
            other => other.to_string(),
        }
    }
}

impl FromStr for StoreSpec {
    type Err = CliError;

    fn from_str(text: &str) -> Result<Self, CliError> {
        let wrong = || {
            let text = if text.is_empty() { "an empty text" } else { text };
            CliError::invalid(format!("{} is not a content store", text.escape_debug()), LIST_HELP)
        };
        let kind = |c: char| c.is_ascii_lowercase() || c == '-';
        let (word, rest) = match text.split_once(':') {
            // One letter is a drive.
            Some((word, rest)) if word.len() > 1 && word.chars().all(kind) => (word, rest),
            _ if text.contains(['/', '\\']) || text == "." || text == ".." => ("local", text),
            _ => return text.parse().map(Self::Named).map_err(|_| wrong()),
        };
        match (word.parse::<PlaceWord>(), rest) {
            (Err(_), _) | (_, "") => Err(wrong()),
            (Ok(PlaceWord::Local), path) => Ok(Self::Local(PathBuf::from(path))),
            (Ok(PlaceWord::Pinning), _) => Err(CliError::invalid(
                "a pinning service needs a token and a node to fetch from",
                "write it as [stores.NAME] into profile.toml, with kind, urls, token_file and from",
            )),
            (Ok(kind), urls) => {
                let (urls, batch) = match urls.split_once(BATCH) {
                    Some((urls, batch)) if kind == PlaceWord::Swarm => {
                        (urls, Some(Batch::try_from(batch.to_owned())?))
                    }
                    _ => (urls, None),
                };
                Ok(Self::Remote { kind, urls: joined_urls(urls)?, batch })
            }
        }
    }
}

impl fmt::Display for StoreSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => write!(f, "{name}"),
            Self::Local(path) => write!(f, "local:{}", path.display()),
            Self::Remote { kind, urls, batch } => {
                let urls: Vec<_> = urls.iter().map(StoreUrl::as_str).collect();
                write!(f, "{kind}:{}{}", urls.join("+"), after_urls(batch.as_ref()))
            }
        }
    }
}

fn after_urls(batch: Option<&Batch>) -> String {
    batch.map(|batch| format!("{BATCH}{}", batch.as_str())).unwrap_or_default()
}

/// URLs that are joined by `+`, which may also stand within one: it separates where another scheme follows.
fn joined_urls(text: &str) -> Result<Vec<StoreUrl>, CliError> {
    let mut urls = Vec::new();
    let mut rest = text;
    loop {
        let ends = rest.match_indices('+').map(|(at, _)| at).find(|at| {
            ["http://", "https://"].iter().any(|scheme| rest[at + 1..].starts_with(scheme))
        });
        let Some(end) = ends else {
            urls.push(rest.parse()?);
            return Ok(urls);
        };
        urls.push(rest[..end].parse()?);
        rest = &rest[end + 1..];
    }
}

/// What kind of place, by its word in lists and tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PlaceWord {
    /// A directory on this machine.
    Local,
    /// Bee nodes.
    Swarm,
    /// Kubo nodes.
    Ipfs,
    /// A bee gateway that is only read from.
    SwarmGateway,
    /// A trustless IPFS gateway that is only read from.
    IpfsGateway,
    /// The directory of a local store behind a web server; only read from.
    Folder,
    /// A service that fetches from an IPFS node and keeps.
    Pinning,
}

impl PlaceWord {
    const ALL: [Self; 7] = [
        Self::Local,
        Self::Swarm,
        Self::Ipfs,
        Self::SwarmGateway,
        Self::IpfsGateway,
        Self::Folder,
        Self::Pinning,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Swarm => "swarm",
            Self::Ipfs => "ipfs",
            Self::SwarmGateway => "swarm-gateway",
            Self::IpfsGateway => "ipfs-gateway",
            Self::Folder => "folder",
            Self::Pinning => "pinning",
        }
    }

    /// Whether new content can go there.
    pub(crate) const fn is_writable(self) -> bool {
        match self {
            Self::Local | Self::Swarm | Self::Ipfs | Self::Pinning => true,
            Self::SwarmGateway | Self::IpfsGateway | Self::Folder => false,
        }
    }
}

impl FromStr for PlaceWord {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|word| word.as_str() == text).ok_or(())
    }
}

impl fmt::Display for PlaceWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A URL of a node or service, without a password in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct StoreUrl(String);

impl StoreUrl {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Without path and query, which may be secret.
    pub(crate) fn shown(&self) -> String {
        crate::settings::shown_url(&self.0)
    }

    /// Whether what travels there is encrypted.
    pub(crate) fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl FromStr for StoreUrl {
    type Err = CliError;

    fn from_str(text: &str) -> Result<Self, CliError> {
        // The text is not repeated: it may hold a password.
        let wrong = |what: &str, help: &str| Err(CliError::invalid(what, help));
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
        match host {
            Some(host) if host.contains('@') => wrong(
                "a store's URL has a user or password in it",
                "take it out; a token goes into a file that token_file of [stores.NAME] names",
            ),
            Some(_) if text.contains('#') => wrong(
                "a store's URL has a # in it",
                "only #batch=HEX may follow, after the URLs of bee nodes",
            ),
            Some(host) if !host.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                if text.len() > MAX_URL_LEN {
                    return wrong("a store's URL is too long", "at most 512 bytes");
                }
                Ok(Self(text.to_owned()))
            }
            _ => wrong(
                "a store's URL does not begin with http:// or https:// and a host",
                "for example swarm:http://127.0.0.1:1633 or folder:https://records.example/galen",
            ),
        }
    }
}

impl TryFrom<String> for StoreUrl {
    type Error = CliError;

    fn try_from(text: String) -> Result<Self, CliError> {
        text.parse()
    }
}

impl From<StoreUrl> for String {
    fn from(url: StoreUrl) -> Self {
        url.0
    }
}

/// A postage batch: 32 bytes in hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Batch(String);

impl Batch {
    /// 64 lowercase digits without prefix, as bee writes it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Batch {
    type Error = CliError;

    fn try_from(text: String) -> Result<Self, CliError> {
        let digits = text.strip_prefix("0x").unwrap_or(&text).to_ascii_lowercase();
        if digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self(digits));
        }
        Err(CliError::invalid(
            format!("{} is not a postage batch", text.escape_debug()),
            "a batch is 64 hex digits; `galen content postage` lists those of your nodes",
        ))
    }
}

impl From<Batch> for String {
    fn from(batch: Batch) -> Self {
        batch.0
    }
}

/// `[stores.NAME]`: one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoreTable {
    pub(crate) kind: PlaceWord,
    /// Endpoints that stand for each other, the preferred one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) urls: Vec<StoreUrl>,
    /// Swarm: the postage batch; without it the usable one with most time left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) batch: Option<Batch>,
    /// File with the bearer token that the endpoint asks for; nobody else may read it.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "token-file")]
    pub(crate) token_file: Option<PathBuf>,
    /// Local: the directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) directory: Option<PathBuf>,
    /// Pinning: the IPFS place that the service fetches from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<Name>,
}

impl StoreTable {
    /// A directory.
    pub(crate) fn local(directory: PathBuf) -> Self {
        let kind = PlaceWord::Local;
        Self { directory: Some(directory), ..Self::remote(kind, Vec::new()) }
    }

    /// Endpoints without anything special.
    pub(crate) const fn remote(kind: PlaceWord, urls: Vec<StoreUrl>) -> Self {
        Self { kind, urls, batch: None, token_file: None, directory: None, from: None }
    }

    /// The bee or kubo node of this machine.
    pub(crate) fn default_node(kind: PlaceWord) -> Option<Self> {
        let url = match kind {
            PlaceWord::Swarm => BEE_URL,
            PlaceWord::Ipfs => KUBO_URL,
            _ => return None,
        };
        Some(Self::remote(kind, vec![StoreUrl(url.to_owned())]))
    }

    /// Adds a node's usual URL where none is given, and refuses settings that do not belong to the kind.
    pub(crate) fn complete(&self, name: &Name) -> Result<Self, CliError> {
        let wrong = |what: &str| {
            let help = "kind local has directory; swarm has urls, batch; ipfs and gateways have urls; pinning has \
                        urls, token_file, from; all but local may have token_file";
            Err(CliError::invalid(format!("[stores.{name}] of kind {} {what}", self.kind), help))
        };
        let is = |kind| self.kind == kind;
        let local = is(PlaceWord::Local);
        match () {
            () if local != self.directory.is_some() => {
                wrong(if local { "needs directory" } else { "has no directory" })
            }
            () if local && !self.urls.is_empty() => wrong("has no urls"),
            () if local && self.token_file.is_some() => wrong("has no token_file"),
            () if self.batch.is_some() && !is(PlaceWord::Swarm) => wrong("has no batch"),
            () if is(PlaceWord::Pinning) != self.from.is_some() => {
                wrong(if is(PlaceWord::Pinning) { "needs from" } else { "has no from" })
            }
            () if is(PlaceWord::Pinning) && self.token_file.is_none() => wrong("needs token_file"),
            () if !local && self.urls.is_empty() => match Self::default_node(self.kind) {
                Some(node) => Ok(Self { urls: node.urls, ..self.clone() }),
                None => wrong("needs urls"),
            },
            () => Ok(self.clone()),
        }
    }
}

/// A category as a key of `[content]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct CategoryKey(pub(crate) Category);

impl TryFrom<String> for CategoryKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map(Self).map_err(|error: galen_types::ParseError| error.to_string())
    }
}

impl From<CategoryKey> for String {
    fn from(CategoryKey(category): CategoryKey) -> Self {
        category.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is printed for a text, or why it is refused.
    fn read(text: &str) -> String {
        match text.parse::<Stores>() {
            Ok(stores) => stores.to_string(),
            Err(error) => format!("{error}: {}", error.help()),
        }
    }

    #[test]
    fn lists_are_read() {
        for (text, printed) in [
            ("swarm,ipfs,local", "swarm,ipfs,local"),
            ("./store", "local:./store"),
            ("local:store", "local:store"),
            ("/a,,b/c,swarm", "local:/a,,b/c,swarm"),
            ("C:\\galen", "local:C:\\galen"),
            (
                "swarm:http://127.0.0.1:1633+https://bee.example/x+y",
                "swarm:http://127.0.0.1:1633+https://bee.example/x+y",
            ),
            (
                &format!(
                    "swarm:http://127.0.0.1:1+https://b.example#batch=0x{},ipfs",
                    "AB".repeat(32)
                ),
                &format!(
                    "swarm:http://127.0.0.1:1+https://b.example#batch={},ipfs",
                    "ab".repeat(32)
                ),
            ),
            ("folder:https://a.example/r,archive", "folder:https://a.example/r,archive"),
        ] {
            assert_eq!(read(text), printed);
        }
    }

    #[test]
    fn wrong_lists_say_what_is_wrong() {
        for (text, part) in [
            ("", "an empty text is not a content store: a store is a name"),
            ("swarm,", "an empty text is not a content store"),
            ("swarm,swarm", "the store swarm is named twice"),
            ("bee:http://127.0.0.1:1", "bee:http://127.0.0.1:1 is not a content store"),
            ("local:", "local: is not a content store"),
            ("a b", "a b is not a content store"),
            ("swarm:127.0.0.1:1633", "does not begin with http:// or https:// and a host"),
            ("swarm:https://", "does not begin with http:// or https:// and a host"),
            ("swarm:https://me:hunter2@bee.example", "has a user or password in it"),
            ("swarm:https://bee.example#batch=12", "12 is not a postage batch"),
            ("ipfs:https://kubo.example#batch=12", "has a # in it"),
            ("pinning:https://pin.example", "needs a token and a node to fetch from"),
        ] {
            let said = read(text);
            assert!(said.contains(part), "{text}: {said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn offers_of_cards_are_only_read_from() {
        let card = "local:/s,swarm:https://bee.example,swarm-gateway:https://a.example,\
            folder:http://b.example,ipfs";
        let offer = Offer::of(card);
        assert_eq!(offer.directory, Some(PathBuf::from("/s")));
        assert_eq!(offer.sources.len(), 1);
        assert_eq!(offer.text(256), "local:/s,swarm-gateway:https://a.example");
        assert_eq!(Offer::of(card).text(20), "local:/s");
        assert_eq!(Offer::of("bee:?").text(256), "");
    }

    #[test]
    fn tables_refuse_what_does_not_belong_to_their_kind() {
        let name: Name = "x".parse().unwrap();
        let complete = |text: &str| {
            let table: Result<StoreTable, _> = toml::from_str(text);
            let done = table.map_err(|error| error.message().to_owned());
            done.and_then(|table| table.complete(&name).map_err(|error| error.to_string()))
        };
        assert_eq!(complete("kind = 'swarm'").unwrap().urls[0].as_str(), BEE_URL);
        assert_eq!(complete("kind = 'ipfs'").unwrap().urls[0].as_str(), KUBO_URL);
        assert!(
            complete("kind = 'folder'\nurls = ['https://a.example']\ntoken-file = 't'").is_ok()
        );
        let batch = format!("kind = 'swarm'\nbatch = '0x{}'", "AB".repeat(32));
        assert_eq!(complete(&batch).unwrap().batch.unwrap().as_str(), "ab".repeat(32));
        for (text, part) in [
            ("kind = 'disk'", "unknown variant"),
            ("kind = 'local'", "needs directory"),
            ("kind = 'local'\ndirectory = 'd'\nurls = ['http://a']", "has no urls"),
            ("kind = 'ipfs'\ndirectory = 'd'", "has no directory"),
            ("kind = 'ipfs'\nbatch = '00'", "not a postage batch"),
            ("kind = 'folder'", "needs urls"),
            ("kind = 'pinning'\nurls = ['http://a']\nfrom = 'ipfs'", "needs token_file"),
            ("kind = 'pinning'\nurls = ['http://a']\ntoken_file = 't'", "needs from"),
            ("kind = 'ipfs'\ntoken = 'secret'", "unknown field"),
        ] {
            let said = complete(text).unwrap_err();
            assert!(said.contains(part), "{text}: {said}");
        }
    }

    fn spec() -> impl Strategy<Value = StoreSpec> {
        let url = "https?://[a-z0-9.]{1,12}(:[0-9]{1,4})?(/[!-~&&[^/#]]{0,9}){0,2}";
        let url = url.prop_filter_map("a URL", |text: String| {
            let joins = text.contains("+http://") || text.contains("+https://");
            text.parse::<StoreUrl>().ok().filter(|_| !joins)
        });
        let remote = PlaceWord::ALL
            .into_iter()
            .filter(|word| !matches!(word, PlaceWord::Local | PlaceWord::Pinning));
        let remote = prop::sample::select(remote.collect::<Vec<_>>());
        prop_oneof![
            "[a-z0-9][a-z._-]{0,8}".prop_map(|name| StoreSpec::Named(name.parse().unwrap())),
            "[ -~]{1,20}".prop_map(|path| StoreSpec::Local(PathBuf::from(path))),
            (remote, prop::collection::vec(url, 1..4), prop::option::of("[0-9a-f]{64}")).prop_map(
                |(kind, urls, batch)| {
                    let batch = batch.filter(|_| kind == PlaceWord::Swarm).map(Batch);
                    StoreSpec::Remote { kind, urls, batch }
                }
            ),
        ]
    }

    proptest! {
        /// What is printed is read back as what it was, whatever commas and pluses it has.
        #[test]
        fn lists_survive_printing(specs in prop::collection::vec(spec(), 1..5)) {
            let mut stores = Stores(vec![specs[0].clone()]);
            stores = stores.and(specs[1..].iter().cloned());
            let read: Stores = stores.to_string().parse().unwrap();
            prop_assert_eq!(read, stores);
        }
    }
}
