//! The folder of the program: where things lie, and how they are written so that nothing is lost.

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    str::FromStr,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::error::CliError;

/// Longest file that is read whole, in bytes: a book with its envelopes.
const MAX_FILE_LEN: u64 = 32 << 20;

/// How long one process waits for another that changes the same file.
const LOCK_DEADLINE: Duration = Duration::from_secs(20);

/// Between two tries to lock.
const LOCK_INTERVAL: Duration = Duration::from_millis(25);

/// Name of a profile, a keystore, a network or a contact: 1 to 64 of `A-Z a-z 0-9 . _ -`, beginning with a letter
/// or a digit, so that it is a plain file name everywhere and no flag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = CliError;

    fn from_str(text: &str) -> Result<Self, CliError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if begins && text.len() <= 64 && text.bytes().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(CliError::invalid(
            format!("{} is not a name", text.escape_debug()),
            "a name is 1 to 64 of A-Z a-z 0-9 . _ - and begins with a letter or a digit",
        ))
    }
}

impl TryFrom<String> for Name {
    type Error = CliError;

    fn try_from(text: String) -> Result<Self, CliError> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where everything lies.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    root: PathBuf,
}

impl Home {
    pub(crate) const fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Which profile is meant when none is named.
    pub(crate) fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// The address book of networks.
    pub(crate) fn networks(&self) -> PathBuf {
        self.root.join("networks.toml")
    }

    pub(crate) fn keystores(&self) -> PathBuf {
        self.root.join("keystores")
    }

    pub(crate) fn keystore(&self, name: &Name) -> PathBuf {
        self.keystores().join(name.as_str())
    }

    pub(crate) fn profiles(&self) -> PathBuf {
        self.root.join("profiles")
    }

    pub(crate) fn profile(&self, name: &Name) -> ProfileDir {
        ProfileDir(self.profiles().join(name.as_str()))
    }

    /// Transaction queues, a folder for each paying wallet.
    pub(crate) fn queue(&self) -> PathBuf {
        self.root.join("queue")
    }

    /// Verified history, a folder for each ledger; may be deleted at any time.
    pub(crate) fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// The store where no other is set.
    pub(crate) fn content(&self) -> PathBuf {
        self.root.join("content")
    }
}

/// The folder of one profile.
#[derive(Clone, Debug)]
pub(crate) struct ProfileDir(PathBuf);

impl ProfileDir {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Settings.
    pub(crate) fn settings(&self) -> PathBuf {
        self.0.join("profile.toml")
    }

    /// The root seed as a V3 keystore.
    pub(crate) fn seed(&self) -> PathBuf {
        self.0.join("seed.json")
    }

    /// The private book, sealed under the seed.
    pub(crate) fn book(&self) -> PathBuf {
        self.0.join("book.sealed")
    }

    /// Rules of the site, unless they lie elsewhere.
    pub(crate) fn site(&self) -> PathBuf {
        self.0.join("site.toml")
    }

    /// keccak256 of the book that was archived last.
    pub(crate) fn archived(&self) -> PathBuf {
        self.0.join("book.archived")
    }

    /// What waits to be uploaded, how far uploads are, and which copies went where.
    pub(crate) fn content(&self) -> PathBuf {
        self.0.join("content")
    }

    /// Links for people without Galen, which this profile serves.
    pub(crate) fn shares(&self) -> PathBuf {
        self.0.join("share")
    }

    /// What a proxy keeps that this profile serves.
    pub(crate) fn proxy(&self) -> PathBuf {
        self.0.join("proxy")
    }

    /// Journals of the custodian.
    pub(crate) fn custody(&self) -> PathBuf {
        self.0.join("custody")
    }

    /// Sealed copies that an organization keeps of what it sealed.
    pub(crate) fn copies(&self) -> PathBuf {
        self.0.join("copies")
    }

    /// Journals of imports that can be resumed.
    pub(crate) fn imports(&self) -> PathBuf {
        self.0.join("imports")
    }
}

/// cast's folder of keystores, which is looked into and never written.
pub(crate) fn cast_keystores() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty())?;
    Some(PathBuf::from(home).join(".foundry").join("keystores"))
}

/// Makes a directory of mode 0700 and those above it, each durable in the one above.
pub(crate) fn create_dir(path: &Path) -> Result<(), CliError> {
    fn create(path: &Path) -> io::Result<()> {
        if path.as_os_str().is_empty() || path.is_dir() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            create(parent)?;
        }
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            made => made?,
        }
        path.parent().map_or(Ok(()), sync_dir)
    }
    create(path).map_err(|source| CliError::Directory { path: path.display().to_string(), source })
}

/// Writes a private file of mode 0600 whole or not at all, and durable when this returns.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), CliError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    create_dir(parent)?;
    let write = || -> io::Result<()> {
        // A random name beside the target, mode 0600, removed when something fails.
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(parent)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        sync_dir(parent)
    };
    write().map_err(|source| CliError::Write { path: path.display().to_string(), source })
}

/// Writes a private file that must not exist yet, whole or not at all.
pub(crate) fn create_private(path: &Path, content: &[u8]) -> Result<(), CliError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(parent)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path).map_err(|error| error.error)?;
        sync_dir(parent)
    };
    match write() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(CliError::Exists { path: path.display().to_string() })
        }
        done => done.map_err(|source| CliError::Write { path: path.display().to_string(), source }),
    }
}

/// A whole file, or `None` if there is none.
pub(crate) fn read_file(path: &Path) -> Result<Option<Vec<u8>>, CliError> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(path)?;
        file.take(MAX_FILE_LEN + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) if bytes.len() as u64 > MAX_FILE_LEN => Err(CliError::invalid(
            format!("{} is longer than {MAX_FILE_LEN} bytes", path.display()),
            "choose the right file",
        )),
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CliError::Read { path: path.display().to_string(), source }),
    }
}

/// A whole file of text, or `None` if there is none.
pub(crate) fn read_text(path: &Path) -> Result<Option<String>, CliError> {
    let Some(bytes) = read_file(path)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|_| {
        let text = format!("{} is not UTF-8 text", path.display());
        CliError::invalid(text, "choose the right file, or restore it from a backup")
    })
}

/// Whether somebody else on this machine may read or change a file: its mode, if so.
#[cfg(unix)]
pub(crate) fn open_to_others(path: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    let mode = fs::metadata(path).ok()?.mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

/// Elsewhere permissions are not told by a mode.
#[cfg(not(unix))]
pub(crate) fn open_to_others(_: &Path) -> Option<u32> {
    None
}

/// Held while a file is read, changed and written, so that two processes do not undo each other's changes. Ends
/// when dropped or when the process dies.
#[derive(Debug)]
pub(crate) struct Lock(#[allow(dead_code, reason = "held, never read")] File);

impl Lock {
    /// Waits for the lock beside `path`.
    pub(crate) fn of(path: &Path) -> Result<Self, CliError> {
        let parent = path.parent().unwrap_or(Path::new("."));
        create_dir(parent)?;
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let path = parent.join(format!(".{name}.lock"));
        let failed = |source| CliError::Write { path: path.display().to_string(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(failed)?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(fs::TryLockError::WouldBlock) if started.elapsed() < LOCK_DEADLINE => {
                    std::thread::sleep(LOCK_INTERVAL);
                }
                Err(fs::TryLockError::WouldBlock) => {
                    return Err(CliError::unavailable(
                        format!("another process holds {}", path.display()),
                        "wait until the other `galen` is done, then try again",
                    ));
                }
                Err(fs::TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
    }
}

/// Makes the names in a directory durable.
fn sync_dir(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    // Elsewhere a directory cannot be opened as a file, and a rename is durable by itself.
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}
