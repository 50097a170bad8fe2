//! The private book of a profile: whom one knows, what one granted and was granted. Sealed under the seed.

use std::{fmt, path::PathBuf};

use alloy_primitives::{Address, Bytes, keccak256};
use galen_chain::GuardianSet;
use galen_crypto::{PatientKeys, VaultKey};
use galen_sdk::Role;
use galen_types::{Consent, ConsentId, KeyBundleId};
use serde::{Deserialize, Serialize};

use crate::{
    error::CliError,
    home::{Lock, ProfileDir, read_file, write_private},
};

/// Version of the text inside the sealed file.
const VERSION: u32 = 1;

/// What the sealed file is bound to.
const LABEL: &str = "galen.book.v1";

/// Most contacts in one book.
pub(crate) const MAX_CONTACTS: usize = 100_000;

/// The private book.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Book {
    version: u32,
    /// By alias, each once.
    #[serde(default)]
    pub(crate) contacts: Vec<Contact>,
    /// What the owner granted, oldest first.
    #[serde(default)]
    pub(crate) consents: Vec<KnownConsent>,
    /// Grant envelopes received, as they came, oldest first.
    #[serde(default)]
    pub(crate) grants: Vec<Bytes>,
    /// Replies of patients to this organization's proposals, as they came, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) replies: Vec<Bytes>,
    /// Requests that the owner refused, by content digest, so that they are not shown as open again.
    #[serde(default)]
    pub(crate) refused_requests: Vec<alloy_primitives::B256>,
    /// Proxies: for a patient those that new consents go through, for a reader those that are asked.
    #[serde(default, skip_serializing_if = "KnownProxies::is_empty")]
    pub(crate) proxies: KnownProxies,
    /// Shares that did not reach their proxy yet, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) deliveries: Vec<Delivery>,
    /// The epoch of a rotation that has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rotation: Option<u32>,
    /// Sets of guardians that the owner chose, oldest first. The ledger says which of them counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) guardians: Vec<OwnGuardians>,
    /// Pieces that the owner keeps as a guardian of others, as they came, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) wards: Vec<Bytes>,
    /// Pieces of a lost seed that were given to the owner, sealed as they came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) pieces: Vec<Bytes>,
}

/// Proxies that one knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KnownProxies {
    /// How many must answer; absent for more than half of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) threshold: Option<u8>,
    /// In the order in which they were added.
    pub(crate) places: Vec<KnownProxy>,
}

/// A proxy that one knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KnownProxy {
    /// What the owner calls it; unique among the proxies.
    pub(crate) alias: String,
    /// Shares are sealed to the key that this id published.
    pub(crate) id: Address,
    /// Where it answers.
    pub(crate) url: String,
}

/// A share that did not reach its proxy yet. Sealed to it: of no use to anybody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Delivery {
    pub(crate) consent: ConsentId,
    pub(crate) proxy: Address,
    pub(crate) url: String,
    pub(crate) envelope: Bytes,
}

/// How many proxies a consent goes through, and which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Through {
    pub(crate) threshold: u8,
    /// Ids and URLs, in the order of their shares.
    pub(crate) places: Vec<(Address, String)>,
}

impl KnownProxies {
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many must answer: what was chosen, else more than half.
    pub(crate) fn threshold(&self) -> u8 {
        let count = u8::try_from(self.places.len()).unwrap_or(u8::MAX);
        self.threshold.unwrap_or(count / 2 + 1)
    }

    pub(crate) fn by_alias(&self, alias: &str) -> Option<&KnownProxy> {
        self.places.iter().find(|proxy| proxy.alias == alias)
    }

    pub(crate) fn by_id(&self, id: Address) -> Option<&KnownProxy> {
        self.places.iter().find(|proxy| proxy.id == id)
    }
}

/// A set of guardians, and the pieces that were made for it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnGuardians {
    pub(crate) set: GuardianSet,
    /// Seconds.
    pub(crate) delay: u32,
    /// Each guardian and its envelope; none before they are made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) pieces: Vec<(Address, Bytes)>,
    /// Whether the guardians hold all of the seed.
    #[serde(default)]
    pub(crate) whole: bool,
    /// Proxies that did not get their envelope yet: id, URL, envelope.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) deliveries: Vec<(Address, String, Bytes)>,
}

/// Somebody one knows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contact {
    /// What the owner calls them; unique in the book.
    pub(crate) alias: String,
    pub(crate) id: Address,
    pub(crate) role: Role,
    /// What they call themselves.
    pub(crate) name: String,
    /// The key bundle that the fingerprint words were made of.
    pub(crate) bundle: KeyBundleId,
    /// Whether the owner compared the words with them.
    pub(crate) verified: bool,
    /// Unix second at which they came into the book.
    pub(crate) since: u64,
    /// A patient's contact envelope for this organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) introduction: Option<Bytes>,
    /// This organization's own number of the patient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mrn: Option<String>,
}

/// A consent whose terms are known here; the chain has a salted hash only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KnownConsent {
    pub(crate) consent: Consent,
    /// What the grantee was called when it was granted.
    pub(crate) grantee: String,
    /// Indexes of the categories.
    pub(crate) categories: Vec<u8>,
    /// Block in which it was granted.
    pub(crate) granted_in: u64,
    /// The envelope that the grantee needs, for handing it over again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) envelope: Option<Bytes>,
    /// The proxies that it goes through; absent in direct mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) through: Option<Through>,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            version: VERSION,
            contacts: Vec::new(),
            consents: Vec::new(),
            grants: Vec::new(),
            replies: Vec::new(),
            refused_requests: Vec::new(),
            proxies: KnownProxies::default(),
            deliveries: Vec::new(),
            rotation: None,
            guardians: Vec::new(),
            wards: Vec::new(),
            pieces: Vec::new(),
        }
    }
}

impl fmt::Debug for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { contacts, consents, grants, .. } = self;
        let counts = (contacts.len(), consents.len(), grants.len());
        write!(f, "Book({} contacts, {} consents, {} grants)", counts.0, counts.1, counts.2)
    }
}

impl Book {
    pub(crate) fn contact(&self, id: Address) -> Option<&Contact> {
        self.contacts.iter().find(|contact| contact.id == id)
    }

    /// Patients who have introduced themselves.
    pub(crate) fn introduced(&self) -> impl Iterator<Item = Address> {
        self.contacts.iter().filter(|it| it.introduction.is_some()).map(|it| it.id)
    }

    pub(crate) fn by_alias(&self, alias: &str) -> Option<&Contact> {
        self.contacts.iter().find(|contact| contact.alias == alias)
    }

    pub(crate) fn by_mrn(&self, mrn: &str) -> Option<&Contact> {
        self.contacts.iter().find(|contact| contact.mrn.as_deref() == Some(mrn))
    }

    /// An id from what a person writes: a contact's alias, `mrn:12345`, or `0x…`.
    pub(crate) fn resolve(&self, text: &str) -> Result<Address, CliError> {
        if let Some(mrn) = text.strip_prefix("mrn:") {
            let found = self.by_mrn(mrn).map(|contact| contact.id);
            return found.ok_or_else(|| unknown(text));
        }
        if let Some(contact) = self.by_alias(text) {
            return Ok(contact.id);
        }
        if !text.starts_with("0x") {
            return Err(unknown(text));
        }
        let help =
            "an address is 0x and 40 hex digits; capitals, where there are any, are its checksum";
        let wrong =
            || CliError::invalid(format!("{} is not an address", text.escape_debug()), help);
        let id: Address = text.parse().map_err(|_| wrong())?;
        let mixed = text[2..].bytes().any(|byte| byte.is_ascii_uppercase())
            && text[2..].bytes().any(|byte| byte.is_ascii_lowercase());
        if mixed && id.to_checksum(None) != text {
            return Err(wrong());
        }
        Ok(id)
    }

    /// The text that is sealed.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers always serialize")
    }

    /// Reads the text that was sealed.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, CliError> {
        let help = "use the release that wrote it, or restore a backup";
        let book: Self = serde_json::from_slice(bytes)
            .map_err(|_| CliError::integrity("the private book is not readable", help))?;
        if book.version != VERSION {
            let text = format!("the private book has version {}", book.version);
            return Err(CliError::invalid(text, help));
        }
        Ok(book)
    }
}

/// The sealed file.
#[derive(Clone, Debug)]
pub(crate) struct BookFile {
    place: ProfileDir,
    key: VaultKey,
}

impl BookFile {
    pub(crate) fn new(place: ProfileDir, keys: &PatientKeys) -> Self {
        Self { place, key: keys.vault() }
    }

    /// The book; an empty one if there is none yet.
    pub(crate) fn read(&self) -> Result<Book, CliError> {
        let path = self.place.book();
        let Some(sealed) = read_file(&path)? else { return Ok(Book::default()) };
        let text = self.key.open(LABEL, &sealed).map_err(|_| {
            CliError::integrity(
                format!("{} does not open with this profile's seed", path.display()),
                "restore it from a backup: `galen wallet restore`",
            )
        })?;
        Book::from_bytes(&text)
    }

    /// The sealed bytes; `None` if there is no book yet.
    pub(crate) fn sealed(&self) -> Result<Option<Vec<u8>>, CliError> {
        read_file(&self.place.book())
    }

    /// Whether the book differs from the one that was archived last. Looks at the files only.
    pub(crate) fn needs_archive(&self) -> bool {
        let read = |path: PathBuf| read_file(&path).ok().flatten();
        let hash = read(self.place.book()).map(|sealed| keccak256(sealed).to_string());
        let archived = read(self.place.archived());
        hash.is_some_and(|hash| archived.as_deref() != Some(hash.as_bytes()))
    }

    /// Notes that these sealed bytes were archived.
    pub(crate) fn archived(&self, sealed: &[u8]) -> Result<(), CliError> {
        write_private(&self.place.archived(), keccak256(sealed).to_string().as_bytes())
    }

    /// Puts an archived book in the place of an empty one; what is here already is kept.
    pub(crate) fn restore(&self, sealed: &[u8]) -> Result<Book, CliError> {
        let path = self.place.book();
        let _alone = Lock::of(&path)?;
        if self.read()? == Book::default() {
            let text = self.key.open(LABEL, sealed).map_err(|_| {
                let help = "check that the seed words are this profile's";
                CliError::integrity("the archived book does not open with this seed", help)
            })?;
            Book::from_bytes(&text)?;
            write_private(&path, sealed)?;
            self.archived(sealed)?;
        }
        self.read()
    }

    /// Reads, changes and writes the book, alone among processes. Gives the book as it stands then.
    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&mut Book) -> Result<T, CliError>,
    ) -> Result<(Book, T), CliError> {
        let path = self.place.book();
        let _alone = Lock::of(&path)?;
        let before = self.read()?;
        let mut after = before.clone();
        let answer = change(&mut after)?;
        if after.contacts.len() > MAX_CONTACTS {
            let text = format!("a book holds at most {MAX_CONTACTS} contacts");
            return Err(CliError::invalid(text, "remove contacts, or use another profile"));
        }
        if after != before {
            let sealed = self.key.seal(LABEL, &after.to_bytes());
            let sealed =
                sealed.map_err(|source| CliError::Crypto { doing: "seal the book", source })?;
            write_private(&path, &sealed)?;
        }
        Ok((after, answer))
    }
}

fn unknown(text: &str) -> CliError {
    CliError::not_found(
        format!("nobody in the book is called {}", text.escape_debug()),
        "`galen contact list` shows who is; an id can also be given as 0x and 40 hex digits",
    )
}
