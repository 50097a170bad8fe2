//! Links in a folder: one folder each, with what was promised, the encrypted files and a journal.

use std::{
    fmt,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use galen_crypto::{PasscodeHash, jose::LinkKey};
use galen_sdk::health_link::{MAX_LABEL_LEN, MAX_RECIPIENT_LEN, MAX_SHARED_FILES, MAX_SHARED_LEN};
use serde::{Deserialize, Serialize};

use super::{
    ShareError,
    journal::{Journal, LogEntry, sync_parent, write_durable},
};

/// Most links of one folder.
pub const MAX_SHARES: usize = 10_000;

/// Wrong passcodes in the life of a link, unless it says otherwise.
pub const DEFAULT_ATTEMPTS: u32 = 10;

/// Most wrong passcodes that a link may allow.
const MAX_ATTEMPTS: u32 = 100;

/// Draws of an id. That all of them begin like a flag has a probability of 2^-160.
const MAX_DRAWS: usize = 32;

/// The unguessable part of a link's address: 32 random bytes, 43 characters of base64url.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareId(String);

impl ShareId {
    fn generate() -> Result<Self, ShareError> {
        // One that begins like a flag of a command would have to be quoted by people. One of 32 does.
        for _ in 0..MAX_DRAWS {
            let text = LinkKey::generate()?.to_text();
            if text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
                return Ok(Self(text.to_string()));
            }
        }
        Err(ShareError::Invalid("no id could be drawn"))
    }

    /// The whole id: whoever has it can ask for the files.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The beginning, to tell links apart.
    pub fn short(&self) -> &str {
        &self.0[..8]
    }
}

impl fmt::Debug for ShareId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShareId({}..)", self.short())
    }
}

impl FromStr for ShareId {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if text.len() == 43 && plain { Ok(Self(text.to_owned())) } else { Err(ShareError::Unknown) }
    }
}

/// A link to be.
#[derive(Debug)]
pub struct NewShare {
    /// The encrypted files: media type of what is inside, and the JWE.
    pub files: Vec<StoredFile>,
    /// What it is, in the patient's words; not sent by the server.
    pub label: Option<String>,
    /// The passcode, hashed.
    pub passcode: Option<PasscodeHash>,
    /// Wrong passcodes until the link is dead.
    pub attempts: u32,
    /// When it was made and when it ends, in Unix seconds.
    pub created: u64,
    /// See `created`.
    pub expires: Option<u64>,
    /// Whether the files are handed out once only.
    pub once: bool,
    /// Whether the address is that of the file, without a manifest.
    pub direct: bool,
}

/// One encrypted file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Media type of what is inside.
    pub content_type: String,
    /// The JWE.
    pub jwe: String,
}

/// What is promised, as `share.json` holds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Terms {
    label: Option<String>,
    passcode: Option<PasscodeHash>,
    attempts: u32,
    created: u64,
    expires: Option<u64>,
    once: bool,
    direct: bool,
    content_types: Vec<String>,
}

/// Whether a link is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareStatus {
    /// It is.
    Active,
    /// Its time is over.
    Expired,
    /// It was to be opened once, and was.
    Used,
    /// Too many wrong passcodes.
    Locked,
    /// The patient stopped it.
    Stopped,
}

impl ShareStatus {
    /// The word for output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Used => "used",
            Self::Locked => "locked",
            Self::Stopped => "stopped",
        }
    }
}

/// A link and what became of it.
#[derive(Clone, Debug)]
pub struct ShareState {
    /// Which one.
    pub id: ShareId,
    /// Whether it is answered.
    pub status: ShareStatus,
    /// What it is, in the patient's words.
    pub label: Option<String>,
    /// When it was made, in Unix seconds.
    pub created: u64,
    /// When it ends, in Unix seconds.
    pub expires: Option<u64>,
    /// How many files it has.
    pub files: usize,
    /// Whether it wants a passcode.
    pub passcode: bool,
    /// Whether it is handed out once only.
    pub once: bool,
    /// How often the files were handed out.
    pub opened: u64,
    /// Wrong passcodes until it is dead.
    pub remaining: u64,
    /// The newest events.
    pub log: Vec<LogEntry>,
}

/// Who asks for the files of a link.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    /// As they name themselves.
    pub recipient: &'a str,
    /// The passcode that they give.
    pub passcode: Option<&'a str>,
    /// Whether they ask for the file itself, without a manifest.
    pub direct: bool,
    /// When, in Unix seconds.
    pub now: u64,
}

impl fmt::Debug for Claim<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claim(..)")
    }
}

/// Why the files are not handed out.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no such link, or it is not answered any more. Which, is nobody's business.
    #[error("there is nothing here")]
    Gone,
    /// The passcode is missing or wrong.
    #[error("the passcode is missing or wrong")]
    Passcode {
        /// Wrong ones that are still allowed.
        remaining: u64,
    },
    /// The folder cannot be used. Nothing was handed out.
    #[error(transparent)]
    Failed(#[from] ShareError),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// A folder of links.
#[derive(Clone, Debug)]
pub struct ShareStore {
    folder: PathBuf,
}

impl ShareStore {
    /// The folder; made (mode 0700) when the first link is added.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Adds a link, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`ShareError::Invalid`]: a rule of links is broken. [`ShareError::Io`].
    pub fn add(&self, share: NewShare) -> Result<ShareId, ShareError> {
        share.check()?;
        if self.ids()?.len() >= MAX_SHARES {
            return Err(ShareError::Invalid(
                "there are too many links; remove old ones from the folder",
            ));
        }
        let id = ShareId::generate()?;
        let content_types = share.files.iter().map(|file| file.content_type.clone()).collect();
        let terms = Terms {
            label: share.label,
            passcode: share.passcode,
            attempts: share.attempts,
            created: share.created,
            expires: share.expires,
            once: share.once,
            direct: share.direct,
            content_types,
        };
        self.make_folder()?;
        let new = self.folder.join(format!(".new-{}", id.short()));
        DirBuilder::new().mode(0o700).create(&new)?;
        let terms = serde_json::to_vec_pretty(&terms).map_err(io::Error::from)?;
        write_durable(&new.join("share.json"), &terms)?;
        for (index, file) in share.files.iter().enumerate() {
            write_durable(&new.join(format!("{index}.jwe")), file.jwe.as_bytes())?;
        }
        let place = self.place(&id);
        fs::rename(&new, &place)?;
        sync_parent(&place)?;
        Ok(id)
    }

    /// All links, the newest first.
    ///
    /// # Errors
    ///
    /// [`ShareError::Io`], [`ShareError::Damaged`].
    pub fn list(&self, now: u64) -> Result<Vec<ShareState>, ShareError> {
        let states: Result<Vec<_>, _> =
            self.ids()?.into_iter().map(|id| self.state(&id, now)).collect();
        let mut states = states?;
        states.sort_by_key(|state| std::cmp::Reverse(state.created));
        Ok(states)
    }

    /// One link.
    ///
    /// # Errors
    ///
    /// [`ShareError::Unknown`], [`ShareError::Io`], [`ShareError::Damaged`].
    pub fn state(&self, id: &ShareId, now: u64) -> Result<ShareState, ShareError> {
        let (terms, journal) = self.read(id)?;
        Ok(ShareState {
            status: self.status(id, &terms, &journal, now),
            id: id.clone(),
            files: terms.content_types.len(),
            passcode: terms.passcode.is_some(),
            remaining: terms.remaining(&journal),
            label: terms.label,
            created: terms.created,
            expires: terms.expires,
            once: terms.once,
            opened: journal.opened,
            log: journal.log,
        })
    }

    /// Stops a link: from now on nobody gets its files, and they are removed here. Who has them keeps them.
    ///
    /// # Errors
    ///
    /// [`ShareError::Unknown`], [`ShareError::Io`], [`ShareError::Damaged`].
    pub fn stop(&self, id: &ShareId) -> Result<(), ShareError> {
        let (terms, _) = self.read(id)?;
        write_durable(&self.place(id).join("stopped"), b"")?;
        for index in 0..terms.content_types.len() {
            match fs::remove_file(self.jwe(id, index)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Hands out the files of a link. What is counted is on disk when this returns, whatever it returns.
    ///
    /// Calls for one link must not overlap: the server sees to that.
    ///
    /// # Errors
    ///
    /// [`Refusal`].
    pub fn claim(&self, id: &ShareId, claim: &Claim<'_>) -> Result<Vec<StoredFile>, Refusal> {
        let gone = |error| {
            if matches!(error, ShareError::Unknown) {
                Refusal::Gone
            } else {
                Refusal::Failed(error)
            }
        };
        let (terms, mut journal) = self.read(id).map_err(gone)?;
        if terms.direct != claim.direct
            || self.status(id, &terms, &journal, claim.now) != ShareStatus::Active
        {
            return Err(Refusal::Gone);
        }
        let path = self.place(id).join("journal");
        let entry = |opened| LogEntry { at: claim.now, recipient: inert(claim.recipient), opened };
        if let Some(hash) = &terms.passcode {
            let remaining = terms.remaining(&journal);
            let Some(passcode) = claim.passcode else {
                return Err(Refusal::Passcode { remaining });
            };
            journal.append(&path, entry(false))?;
            if !hash.fits(passcode) {
                return Err(Refusal::Passcode { remaining: terms.remaining(&journal) });
            }
        }
        // Read first: a link that is used up has handed something out.
        let files = (0..terms.content_types.len()).map(|index| self.file(id, &terms, index));
        let files = files.collect::<Result<Vec<_>, _>>()?;
        journal.append(&path, entry(true))?;
        Ok(files)
    }

    /// One file of a link that is neither stopped nor expired, for who was sent here by its manifest.
    ///
    /// # Errors
    ///
    /// [`Refusal`].
    pub fn file_of(&self, id: &ShareId, index: usize, now: u64) -> Result<StoredFile, Refusal> {
        let (terms, journal) = self.read(id).map_err(|_| Refusal::Gone)?;
        match self.status(id, &terms, &journal, now) {
            ShareStatus::Stopped | ShareStatus::Expired => Err(Refusal::Gone),
            _ if index >= terms.content_types.len() => Err(Refusal::Gone),
            _ => Ok(self.file(id, &terms, index)?),
        }
    }

    /// Makes the folder, which nobody else can look into.
    pub(super) fn make_folder(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)
    }

    /// Whether there is such a link, in whatever state.
    pub(super) fn has(&self, id: &ShareId) -> bool {
        self.place(id).is_dir()
    }

    fn ids(&self) -> Result<Vec<ShareId>, ShareError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let names = entries.take(4 * MAX_SHARES).map(|entry| Ok(entry?.file_name()));
        let names: io::Result<Vec<_>> = names.collect();
        Ok(names?.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
    }

    fn read(&self, id: &ShareId) -> Result<(Terms, Journal), ShareError> {
        let terms = match fs::read(self.place(id).join("share.json")) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|_| ShareError::Damaged("share.json"))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ShareError::Unknown);
            }
            Err(error) => return Err(error.into()),
        };
        Ok((terms, Journal::read(&self.place(id).join("journal"))?))
    }

    fn file(&self, id: &ShareId, terms: &Terms, index: usize) -> Result<StoredFile, ShareError> {
        let jwe = fs::read_to_string(self.jwe(id, index))?;
        Ok(StoredFile { content_type: terms.content_types[index].clone(), jwe })
    }

    fn status(&self, id: &ShareId, terms: &Terms, journal: &Journal, now: u64) -> ShareStatus {
        if self.place(id).join("stopped").exists() {
            ShareStatus::Stopped
        } else if terms.once && journal.opened > 0 {
            ShareStatus::Used
        } else if terms.expires.is_some_and(|expires| expires <= now) {
            ShareStatus::Expired
        } else if terms.passcode.is_some() && terms.remaining(journal) == 0 {
            ShareStatus::Locked
        } else {
            ShareStatus::Active
        }
    }

    fn place(&self, id: &ShareId) -> PathBuf {
        self.folder.join(id.expose())
    }

    fn jwe(&self, id: &ShareId, index: usize) -> PathBuf {
        self.place(id).join(format!("{index}.jwe"))
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl NewShare {
    fn check(&self) -> Result<(), ShareError> {
        let wrong = |what| Err(ShareError::Invalid(what));
        if self.files.is_empty() || self.files.len() > MAX_SHARED_FILES {
            return wrong("a link has 1 to 100 files");
        }
        let len: usize = self.files.iter().map(|file| file.jwe.len()).sum();
        if len > MAX_SHARED_LEN / 3 * 4 {
            return wrong("the files of a link have 64 MiB at most");
        }
        if self.direct && (self.files.len() > 1 || self.passcode.is_some()) {
            return wrong("a direct link has one file and no passcode");
        }
        if self.passcode.is_some() && !(1..=MAX_ATTEMPTS).contains(&self.attempts) {
            return wrong("a passcode may be tried 1 to 100 times");
        }
        if self.label.as_ref().is_some_and(|label| label.chars().count() > MAX_LABEL_LEN) {
            return wrong("a label has 80 characters at most");
        }
        Ok(())
    }
}

impl Terms {
    /// Wrong passcodes that are still allowed. A try that was never answered counts as wrong.
    fn remaining(&self, journal: &Journal) -> u64 {
        let wrong =
            journal.tried.saturating_sub(if self.passcode.is_some() { journal.opened } else { 0 });
        u64::from(self.attempts).saturating_sub(wrong)
    }
}

/// What somebody says of themselves, for a log: one line, nothing that moves a terminal or turns its text, and not
/// longer than a line.
pub fn inert(text: &str) -> String {
    let tame = |c: char| {
        let turns = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if c.is_control() || turns { ' ' } else { c }
    };
    text.chars().take(MAX_RECIPIENT_LEN).map(tame).collect::<String>().trim().to_owned()
}
