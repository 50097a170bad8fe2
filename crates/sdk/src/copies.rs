//! An author's own copies of what it sealed.
//!
//! An author seals to the patient and to the readers of a segment, and cannot open that. So it keeps a copy of each
//! version that it seals: the same sealed format under the same context, to its own identity key alone. Its custodian
//! seals anew from there. Copies lie on the author's machine, are named nowhere and sent nowhere.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use alloy_primitives::{Address, hex};
use galen_crypto::{
    Committed, HEADER_LEN, Header, IdentityKey, Manifest, MediaType, OpenKey, Opener, SealContext,
    SealRequest, seal,
};
use galen_index::{Version, View};
use galen_types::{Commitment, LedgerId, RecordId, RecordKey, Salt, VersionId};

use crate::{Error, Organization, contents::named, custodian::PAST_DEADLINE, galen::joined};

/// A copy that no proposal names goes after this time: until then an import that was interrupted may be taken up.
const MAX_UNPROPOSED: Duration = Duration::from_secs(180 * 24 * 3_600);

/// What was being written for longer than this, nobody writes any more.
const MAX_WRITING: Duration = Duration::from_secs(24 * 3_600);

/// Begins the name of a copy that is being written.
const WRITING: &str = ".writing-";

/// A directory of copies: `<chain id>-<contract>/<patient>/<commitment>`, a file for each version. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Copies {
    directory: Arc<Path>,
}

impl Copies {
    /// Copies in a directory, which is made with the first of them.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into().into() }
    }

    /// How many copies there are, and their bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Copy`].
    pub fn count(&self) -> Result<(u64, u64), Error> {
        let (mut count, mut bytes) = (0, 0);
        for ledger in entries(&self.directory).map_err(Error::Copy)? {
            for chart in entries(&ledger).map_err(Error::Copy)? {
                for copy in entries(&chart).map_err(Error::Copy)? {
                    if commitment_of(&copy).is_some() {
                        count += 1;
                        bytes += fs::metadata(copy).map_or(0, |found| found.len());
                    }
                }
            }
        }
        Ok((count, bytes))
    }

    fn of_chart(&self, LedgerId { chain_id, contract }: LedgerId, patient: Address) -> PathBuf {
        self.directory.join(format!("{chain_id}-{contract:#x}")).join(format!("{patient:#x}"))
    }

    fn path(&self, ledger: LedgerId, patient: Address, commitment: Commitment) -> PathBuf {
        self.of_chart(ledger, patient).join(hex::encode(commitment.0))
    }
}

/// Writes a whole file that survives a crash, or none.
fn write(path: &Path, fill: impl FnOnce(&mut File) -> Result<(), Error>) -> Result<(), Error> {
    let folder = path.parent().ok_or(Error::Invalid("a copy needs a directory"))?;
    make_private(folder).map_err(Error::Copy)?;
    let mut file =
        tempfile::Builder::new().prefix(WRITING).tempfile_in(folder).map_err(Error::Copy)?;
    fill(file.as_file_mut())?;
    file.as_file().sync_all().map_err(Error::Copy)?;
    file.persist(path).map_err(|error| Error::Copy(error.error))?;
    sync(folder).map_err(Error::Copy)
}

/// Makes a directory of mode 0700 and those above it, each durable in the one above.
fn make_private(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    make_private(parent)?;
    match builder.create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync(parent),
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    // Elsewhere a directory cannot be opened as a file, and a rename is durable by itself.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// What is in a directory; nothing if there is none.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        // A file in the place of a directory is not ours.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(Vec::new())
        }
        found => found?.map(|entry| entry.map(|it| it.path())).collect(),
    }
}

/// Removes a file. It stays removed after a crash once its directory is synced.
fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        removed => removed.map(|()| true),
    }
}

fn wall_age(path: &Path) -> Duration {
    age_at(path, SystemTime::now())
}

/// How long before a Unix second a file was written; zero if that cannot be told.
fn age(path: &Path, time: u64) -> Duration {
    age_at(path, UNIX_EPOCH + Duration::from_secs(time))
}

fn age_at(path: &Path, now: SystemTime) -> Duration {
    let modified = fs::metadata(path).and_then(|found| found.modified());
    modified.map_or(Duration::ZERO, |it| now.duration_since(it).unwrap_or_default())
}

/// What a path in a chart's directory is a copy of.
fn commitment_of(path: &Path) -> Option<Commitment> {
    let name = path.file_name()?.to_str()?;
    hex::decode_to_array(name).ok().map(|bytes: [u8; 32]| Commitment(bytes.into()))
}

/// A copy that is there, and what opens it.
pub(crate) struct OwnCopy {
    file: File,
    record: RecordId,
    context: SealContext,
    key: IdentityKey,
}

impl OwnCopy {
    /// Opens the copy into a sink: from its begin, as often as it is asked.
    pub(crate) fn open_to(&self, sink: impl Write) -> Result<Manifest, Error> {
        let mut source = &self.file;
        io::Seek::rewind(&mut source).map_err(Error::Copy)?;
        let mut header = [0; HEADER_LEN];
        source.read_exact(&mut header).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Error::CopyDamaged(self.record),
            _ => Error::Copy(error),
        })?;
        let opener = Header::parse(&header)
            .and_then(|header| Opener::new(&header, self.context, OpenKey::Identity(&self.key)))
            .map_err(|_| Error::CopyDamaged(self.record))?;
        opener.open_to(source, sink).map_err(|error| match error {
            galen_crypto::Error::Read(error) => Error::Copy(error),
            galen_crypto::Error::Open(_) => Error::CopyDamaged(self.record),
            other => other.into(),
        })
    }
}

impl Organization {
    /// Keeps a copy of what is about to be sealed to a patient, if this organization keeps any.
    pub(crate) async fn keep_copy(
        &self,
        record: &RecordKey,
        salt: Salt,
        media_type: MediaType,
        committed: Committed,
        payload: impl Read + Send + 'static,
    ) -> Result<(), Error> {
        let Some(copies) = self.copies().cloned() else { return Ok(()) };
        let (record, ledger) = (*record, self.galen().id());
        let identity = self.keys().identity().public().clone();
        let work = tokio::task::spawn_blocking(move || {
            let path = copies.path(ledger, record.patient, committed.commitment);
            let request = SealRequest {
                ledger,
                record: record.id(),
                epoch: 0,
                salt,
                media_type: &media_type,
                identity: Some(&identity),
                segment: None,
            };
            write(&path, |file| match seal(&request, &committed, payload, file) {
                Ok(_) => Ok(()),
                Err(galen_crypto::Error::Write(error)) => Err(Error::Copy(error)),
                Err(error) => Err(error.into()),
            })
        });
        joined(work.await)?
    }

    /// The copy of a version, if there is one.
    pub(crate) fn copy_of(
        &self,
        record: &RecordKey,
        version: &Version,
    ) -> Result<Option<OwnCopy>, Error> {
        let Some(copies) = self.copies() else { return Ok(None) };
        let context = self.galen().context(record, &version.leaf);
        let path = copies.path(context.ledger, record.patient, context.commitment);
        match File::open(path) {
            Ok(file) => {
                let key = self.keys().identity();
                Ok(Some(OwnCopy { file, record: context.record, context, key }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::Copy(error)),
        }
    }

    /// Removes the copies of these versions; says how many there were.
    pub(crate) fn remove_copies(
        &self,
        patient: Address,
        commitments: &BTreeSet<Commitment>,
    ) -> Result<usize, Error> {
        let Some(copies) = self.copies() else { return Ok(0) };
        let ledger = self.galen().id();
        let paths = commitments.iter().map(|it| copies.path(ledger, patient, *it));
        remove_all(&copies.of_chart(ledger, patient), paths).map_err(Error::Copy)
    }

    /// Copies that nobody will need: of versions that will never count, of `erased` records, of what was never proposed.
    pub(crate) async fn needless_copies(
        &self,
        patient: Address,
        erased: impl Fn(RecordId) -> bool + Send,
    ) -> Result<Vec<PathBuf>, Error> {
        let Some(copies) = self.copies() else { return Ok(Vec::new()) };
        let id = self.id();
        let folder = copies.of_chart(self.galen().id(), patient);
        // First what is there, then what is needed: not the other way round, with an import beside.
        let there = entries(&folder).map_err(Error::Copy)?;
        if there.is_empty() {
            return Ok(there);
        }
        // By the chain's clock, and not at the last minute: an answer may be in a block that is not seen yet.
        let time = self.galen().ledger().now().await?.saturating_sub(PAST_DEADLINE);
        let is_older =
            |path: &Path, than: Duration| age(path, time) > than && wall_age(path) > than;
        let (proposed, kept) =
            self.galen().with_view(|view| wanted(view, patient, id, time, erased)).await?;
        let goes = |path: &PathBuf| match commitment_of(path) {
            Some(commitment) if kept.contains(&commitment) => false,
            Some(commitment) if proposed.contains(&commitment) => true,
            Some(_) => is_older(path, MAX_UNPROPOSED),
            None => is_being_written(path) && wall_age(path) > MAX_WRITING,
        };
        Ok(there.into_iter().filter(goes).collect())
    }

    /// Removes these copies; says how many there were.
    pub(crate) fn forget_copies(
        &self,
        patient: Address,
        needless: Vec<PathBuf>,
    ) -> Result<usize, Error> {
        let Some(copies) = self.copies() else { return Ok(0) };
        let folder = copies.of_chart(self.galen().id(), patient);
        remove_all(&folder, needless.into_iter()).map_err(Error::Copy)
    }
}

/// What an author proposed to a patient, and what of it may count or be answered.
fn wanted(
    view: &View,
    patient: Address,
    author: Address,
    time: u64,
    erased: impl Fn(RecordId) -> bool,
) -> (BTreeSet<Commitment>, BTreeSet<Commitment>) {
    let Some(chart) = view.chart(patient) else { return Default::default() };
    let records = named(view, chart, time);
    let records = records.iter().filter(|it| !erased(it.record.id()));
    let contents = records.flat_map(|it| &it.contents);
    let open = contents.filter(|it| it.standing.is_needed() || !it.is_final);
    let needed: BTreeSet<VersionId> = open.map(|it| it.version).collect();
    let own = chart.proposals().filter(|it| it.event.author == author);
    let leaves = own.flat_map(|it| &it.event.leaves);
    let (mut proposed, mut kept) = (BTreeSet::new(), BTreeSet::new());
    for leaf in leaves {
        proposed.insert(leaf.commitment);
        if needed.contains(&leaf.version()) {
            kept.insert(leaf.commitment);
        }
    }
    (proposed, kept)
}

fn is_being_written(path: &Path) -> bool {
    path.file_name().unwrap_or_default().to_string_lossy().starts_with(WRITING)
}

fn remove_all(folder: &Path, paths: impl Iterator<Item = PathBuf>) -> io::Result<usize> {
    let mut removed = 0;
    for path in paths {
        removed += usize::from(remove(&path)?);
    }
    if removed > 0 {
        sync(folder)?;
    }
    Ok(removed)
}
