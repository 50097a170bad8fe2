//! What a proxy keeps: one SQLite file, each value sealed, each change on disk before it is acknowledged.
//!
//! A row is a kind, a key and the id that it belongs to, in clear, and a text that is sealed under a label that
//! names all three: moved to another row, it does not open. See `docs/protocol.md`, section "Proxies".

use std::{
    fmt, fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use alloy_primitives::{Address, hex};
use galen_crypto::VaultKey;
use galen_types::ErrorKind;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use zeroize::Zeroizing;

/// Name of the file in the proxy's directory.
pub const STORE_FILE: &str = "proxy.db";

/// `GPRX`: what the file says that it is.
const APPLICATION_ID: i64 = 0x4750_5258;

/// Version of the layout.
const VERSION: i64 = 1;

const LAYOUT: &str = "
    CREATE TABLE rows (
        kind INTEGER NOT NULL,
        key BLOB NOT NULL,
        owner BLOB NOT NULL,
        time INTEGER NOT NULL,
        sealed BLOB NOT NULL,
        PRIMARY KEY (kind, key)
    ) WITHOUT ROWID;
    CREATE INDEX by_owner ON rows (kind, owner, time);
    CREATE INDEX by_time ON rows (kind, time);
";

/// The store of a proxy cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has it open.
    #[error("the proxy's store is in use by another process")]
    Busy,
    /// It belongs to another proxy, ledger or seed, or is no store of a proxy.
    #[error("the store is not of this proxy, ledger and seed")]
    Foreign,
    /// A newer version of the program wrote it.
    #[error("the store has layout {found}; this version knows {VERSION}")]
    Version {
        /// Its layout.
        found: i64,
    },
    /// A row does not open: it was changed or moved.
    #[error("a row of the store was changed by somebody else")]
    Damaged,
    /// The file or its directory.
    #[error("the file system refused")]
    Io(#[from] io::Error),
    /// The database: disk full, or a damaged file.
    #[error("the database refused")]
    Database(#[source] rusqlite::Error),
    /// A value cannot be sealed.
    #[error("a value could not be sealed")]
    Seal(#[source] galen_crypto::Error),
}

impl StoreError {
    /// What the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Busy | Self::Io(_) | Self::Database(_) => ErrorKind::Unavailable,
            Self::Foreign | Self::Version { .. } => ErrorKind::Invalid,
            Self::Damaged => ErrorKind::Integrity,
            Self::Seal(_) => ErrorKind::Internal,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
                Self::Busy
            }
            Some(rusqlite::ErrorCode::NotADatabase) => Self::Foreign,
            _ => Self::Database(error),
        }
    }
}

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whose store it is. One row.
    Owner = 0,
    /// All shares of one consent; the key is the consent.
    Grant = 1,
    /// A piece of a seed; the key is the id.
    Piece = 2,
    /// What one request was answered with; the key is time and a number.
    Served = 3,
    /// What was refused for one patient within one hour; the key is patient and hour.
    Refused = 4,
}

/// A row as it is to be written.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) key: Vec<u8>,
    pub(super) owner: Address,
    /// Unix second that the row is found by.
    pub(super) time: u64,
    pub(super) text: Zeroizing<Vec<u8>>,
}

/// The open store. Calls block; a clone is the same store.
#[derive(Clone)]
pub(super) struct Store {
    connection: Arc<Mutex<Connection>>,
    vault: VaultKey,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store(..)")
    }
}

impl Store {
    /// Opens or makes the store in `directory`, for this process alone. `owner` says whose it is.
    pub(super) fn open(directory: &Path, vault: VaultKey, owner: &str) -> Result<Self, StoreError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let path = directory.join(STORE_FILE);
        // SQLite gives its journal the mode of the file, so that must be right from the start.
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        drop(file);
        let mut connection = Connection::open(&path)?;
        prepare(&mut connection)?;
        let store = Self { connection: Arc::new(Mutex::new(connection)), vault };
        store.require_owner(owner)?;
        Ok(store)
    }

    fn require_owner(&self, owner: &str) -> Result<(), StoreError> {
        let text = Zeroizing::new(owner.as_bytes().to_vec());
        match self.get(Kind::Owner, &[]) {
            Ok(Some(found)) if found == text => Ok(()),
            Ok(Some(_)) | Err(StoreError::Damaged) => Err(StoreError::Foreign),
            Ok(None) => {
                let (kind, key, owner) = (Kind::Owner, Vec::new(), Address::ZERO);
                self.put(&[Entry { kind, key, owner, time: 0, text }])
            }
            Err(error) => Err(error),
        }
    }

    /// Writes rows, all or none, over those of the same keys. On disk when it returns.
    pub(super) fn put(&self, entries: &[Entry]) -> Result<(), StoreError> {
        let mut sealed = Vec::with_capacity(entries.len());
        for entry in entries {
            let label = label(entry.kind, &entry.key, entry.owner);
            sealed.push(self.vault.seal(&label, &entry.text).map_err(StoreError::Seal)?);
        }
        self.change(|change| {
            for (entry, sealed) in entries.iter().zip(&sealed) {
                change
                    .prepare("INSERT OR REPLACE INTO rows VALUES (?1, ?2, ?3, ?4, ?5)")?
                    .execute(params![
                        entry.kind as i64,
                        entry.key,
                        entry.owner.as_slice(),
                        seconds(entry.time),
                        sealed
                    ])?;
            }
            Ok(())
        })
    }

    /// The text of a row.
    pub(super) fn get(
        &self,
        kind: Kind,
        key: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let row = {
            let connection = lock(&self.connection);
            let mut found = connection
                .prepare("SELECT key, owner, sealed FROM rows WHERE kind = ?1 AND key = ?2")?;
            found.query_row(params![kind as i64, key], RawRow::read).optional()?
        };
        row.map(|row| self.open_row(kind, &row)).transpose()
    }

    /// Rows of a kind from a time on, of one owner or of all, in the order of their keys. At most `limit`.
    pub(super) fn list(
        &self,
        kind: Kind,
        owner: Option<Address>,
        since: u64,
        limit: usize,
    ) -> Result<Vec<Zeroizing<Vec<u8>>>, StoreError> {
        let rows: Vec<RawRow> = {
            let connection = lock(&self.connection);
            let mut found = connection.prepare(
                "SELECT key, owner, sealed FROM rows
                 WHERE kind = ?1 AND (?2 IS NULL OR owner = ?2) AND time >= ?3 ORDER BY key LIMIT ?4",
            )?;
            let owner = owner.map(|owner| owner.to_vec());
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = found
                .query_map(params![kind as i64, owner, seconds(since), limit], RawRow::read)?;
            rows.collect::<Result<_, _>>()?
        };
        rows.iter().map(|row| self.open_row(kind, row)).collect()
    }

    /// How many rows of a kind there are.
    pub(super) fn count(&self, kind: Kind) -> Result<usize, StoreError> {
        let connection = lock(&self.connection);
        let mut found = connection.prepare("SELECT count(*) FROM rows WHERE kind = ?1")?;
        let count: i64 = found.query_row([kind as i64], |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// Removes rows and overwrites where they lay in the file.
    pub(super) fn remove(&self, kind: Kind, keys: &[Vec<u8>]) -> Result<(), StoreError> {
        self.change(|change| {
            for key in keys {
                change
                    .prepare("DELETE FROM rows WHERE kind = ?1 AND key = ?2")?
                    .execute(params![kind as i64, key])?;
            }
            Ok(())
        })?;
        self.settle()
    }

    /// Removes rows of a kind from before a time; says how many.
    pub(super) fn prune(&self, kind: Kind, before: u64) -> Result<usize, StoreError> {
        self.change(|change| {
            change
                .prepare("DELETE FROM rows WHERE kind = ?1 AND time < ?2")?
                .execute(params![kind as i64, seconds(before)])
        })
    }

    /// Moves the log into the file and cuts it off, so that what was removed or replaced does not lie on there.
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        let connection = lock(&self.connection);
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }

    fn change<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut connection = lock(&self.connection);
        let change = connection.transaction()?;
        let done = work(&change)?;
        change.commit()?;
        Ok(done)
    }

    fn open_row(&self, kind: Kind, row: &RawRow) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let owner = Address::try_from(row.owner.as_slice()).map_err(|_| StoreError::Damaged)?;
        let label = label(kind, &row.key, owner);
        self.vault.open(&label, &row.sealed).map_err(|_| StoreError::Damaged)
    }
}

/// A row as it lies there.
struct RawRow {
    key: Vec<u8>,
    owner: Vec<u8>,
    sealed: Vec<u8>,
}

impl RawRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { key: row.get(0)?, owner: row.get(1)?, sealed: row.get(2)? })
    }
}

/// Settings of the connection, and the layout of a new file.
fn prepare(connection: &mut Connection) -> Result<(), StoreError> {
    // Before anything is read: from then on the file is this process's until it ends.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    let change = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive)?;
    let number = |name: &str| change.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0));
    let (application, version): (i64, i64) = (number("application_id")?, number("user_version")?);
    let tables: i64 =
        change.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (application, version) {
        (0, 0) if tables == 0 => {
            change.execute_batch(LAYOUT)?;
            change.pragma_update(None, "application_id", APPLICATION_ID)?;
            change.pragma_update(None, "user_version", VERSION)?;
        }
        (APPLICATION_ID, VERSION) => {}
        (APPLICATION_ID, found) => return Err(StoreError::Version { found }),
        _ => return Err(StoreError::Foreign),
    }
    change.commit()?;
    Ok(())
}

fn label(kind: Kind, key: &[u8], owner: Address) -> String {
    format!("galen.proxy.row.v1/{}/{}/{}", kind as u8, hex::encode(key), hex::encode(owner))
}

/// SQLite's integers have a sign; times that no clock shows are cut off.
fn seconds(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// A transaction that panicked is rolled back when it is dropped.
fn lock(connection: &Mutex<Connection>) -> std::sync::MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(mark: u8) -> VaultKey {
        VaultKey::from_bytes(Zeroizing::new([mark; 32]))
    }

    fn row(key: u8, owner: u8, time: u64, text: &[u8]) -> Entry {
        let (key, owner) = (vec![key], Address::repeat_byte(owner));
        let text = Zeroizing::new(text.to_vec());
        Entry { kind: Kind::Grant, key, owner, time, text }
    }

    #[test]
    fn rows_are_kept_found_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let store = Store::open(&path, vault(1), "a").unwrap();
        let rows = [row(1, 1, 10, b"one"), row(2, 2, 20, b"two"), row(3, 1, 30, b"three")];
        store.put(&rows).unwrap();
        store.put(&[row(1, 1, 11, b"uno")]).unwrap();
        drop(store);
        let store = Store::open(&path, vault(1), "a").unwrap();
        assert_eq!(store.get(Kind::Grant, &[1]).unwrap().unwrap().as_slice(), b"uno");
        assert!(store.get(Kind::Piece, &[1]).unwrap().is_none());
        let texts = |owner: Option<u8>, since, limit| -> Vec<Vec<u8>> {
            let owner = owner.map(Address::repeat_byte);
            let rows = store.list(Kind::Grant, owner, since, limit).unwrap();
            rows.into_iter().map(|text| text.to_vec()).collect()
        };
        assert_eq!(texts(None, 0, 9), [b"uno".to_vec(), b"two".to_vec(), b"three".to_vec()]);
        assert_eq!(texts(Some(1), 12, 9), [b"three".to_vec()]);
        assert_eq!(texts(None, 0, 1), [b"uno".to_vec()]);
        store.remove(Kind::Grant, &[vec![2]]).unwrap();
        assert_eq!(store.prune(Kind::Grant, 30).unwrap(), 1);
        assert_eq!(texts(None, 0, 9), [b"three".to_vec()]);
    }

    #[test]
    fn a_store_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let store = Store::open(&path, vault(1), "a").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join(STORE_FILE))), (0o700, 0o600));
        store.put(&[row(1, 1, 1, b"text")]).unwrap();
        assert_eq!(mode(&path.join("proxy.db-wal")), 0o600);
        assert!(matches!(Store::open(&path, vault(1), "a"), Err(StoreError::Busy)));
        drop(store);
        assert!(matches!(Store::open(&path, vault(2), "a"), Err(StoreError::Foreign)));
        assert!(matches!(Store::open(&path, vault(1), "b"), Err(StoreError::Foreign)));
        let set = |pragma: &str, value: i64| {
            let connection = Connection::open(path.join(STORE_FILE)).unwrap();
            connection.pragma_update(None, pragma, value).unwrap();
        };
        set("user_version", 2);
        assert!(matches!(Store::open(&path, vault(1), "a"), Err(StoreError::Version { found: 2 })));
        set("application_id", 1);
        assert!(matches!(Store::open(&path, vault(1), "a"), Err(StoreError::Foreign)));
        fs::write(path.join(STORE_FILE), vec![0x5a; 8192]).unwrap();
        assert!(matches!(Store::open(&path, vault(1), "a"), Err(StoreError::Foreign)));
    }

    #[test]
    fn a_row_that_is_moved_does_not_open() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), vault(1), "a").unwrap();
        store.put(&[row(1, 1, 1, b"one"), row(2, 2, 2, b"two")]).unwrap();
        for change in [
            "UPDATE rows SET sealed = (SELECT sealed FROM rows WHERE key = x'02') WHERE key = x'01'",
            "UPDATE rows SET key = x'03' WHERE key = x'02'",
            "UPDATE rows SET owner = zeroblob(20) WHERE key = x'03'",
        ] {
            lock(&store.connection).execute(change, []).unwrap();
        }
        for key in [1, 3] {
            assert!(matches!(store.get(Kind::Grant, &[key]), Err(StoreError::Damaged)));
        }
        assert!(matches!(store.list(Kind::Grant, None, 0, 9), Err(StoreError::Damaged)));
    }

    /// What is sealed is nowhere in the files, and what was removed is not even there as ciphertext.
    #[test]
    fn nothing_is_readable_and_nothing_removed_stays() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), vault(1), "a").unwrap();
        let secret = [0xc7; 40];
        store.put(&[row(1, 1, 1, &secret), row(2, 1, 1, &secret)]).unwrap();
        let sealed: Vec<u8> = lock(&store.connection)
            .query_row("SELECT sealed FROM rows WHERE key = x'01'", [], |row| row.get(0))
            .unwrap();
        let holds = |part: &[u8]| {
            fs::read_dir(directory.path()).unwrap().any(|file| {
                let bytes = fs::read(file.unwrap().path()).unwrap();
                bytes.windows(part.len()).any(|window| window == part)
            })
        };
        // The whole ciphertext may be spread over pages of the file; a piece of it is not.
        let piece = &sealed[100..200];
        assert!(holds(piece) && !holds(&secret[..8]));
        store.remove(Kind::Grant, &[vec![1]]).unwrap();
        assert!(!holds(piece) && !holds(&secret[..8]));
    }
}
