//! Content of any type and size (imaging, scans), sealed and opened in constant memory.
//!
//! An attachment is a record like any other: the same leaf, the same consents, the same log. Only it
//! never lies in memory whole.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write},
    sync::Arc,
};

use galen_chain::{CosignPolicy, Sent};
use galen_crypto::{
    Committed, DataKey, HEADER_LEN, Header, IdentityKey, IdentityPublic, Manifest, MediaType,
    OpenError, OpenKey, Opener, SealContext, SealRequest, SegmentKey, SegmentPublic, commit,
    random_salt, seal_with_key,
};
use galen_index::{ContentEntry, Proposal, Record, Version};
use galen_storage::{Addresses, Storage, StorageError};
use galen_types::{
    ContentRef, ErrorKind, Leaf, LeafKind, LedgerId, Purpose, RecordId, RecordKey, Salt, Segment,
    VersionId,
};

use crate::{
    Announced, AttachedFile, Contact, Error, Galen, Grant, Grantee, Organization, Patient,
    batch::Batch,
    galen::{graver, joined},
    pipe::{PipeWriter, pipe},
    proxies::Unlocked,
    reseal::Anew,
};

/// A seal request that owns its keys, so that it can move to a thread that blocks.
pub(crate) struct Sealing {
    pub(crate) ledger: LedgerId,
    pub(crate) record: RecordId,
    pub(crate) epoch: u32,
    pub(crate) salt: Salt,
    pub(crate) media_type: MediaType,
    pub(crate) identity: IdentityPublic,
    pub(crate) segment: (Segment, SegmentPublic),
}

impl Sealing {
    pub(crate) fn request(&self) -> SealRequest<'_> {
        SealRequest {
            ledger: self.ledger,
            record: self.record,
            epoch: self.epoch,
            salt: self.salt,
            media_type: &self.media_type,
            identity: Some(&self.identity),
            segment: Some((self.segment.0, &self.segment.1)),
        }
    }
}

/// Sealed content that is staged.
pub(crate) struct Staged {
    pub(crate) content: ContentRef,
    /// Sealed bytes.
    pub(crate) len: u64,
    /// What opens it, for who sealed it to others alone.
    pub(crate) key: DataKey,
}

/// A key that owns itself, for the same reason.
#[derive(Clone)]
pub(crate) enum ReaderKey {
    Identity(Box<IdentityKey>),
    Segment(Box<SegmentKey>),
    /// Of one segment, by epoch.
    Epochs(Arc<BTreeMap<u32, SegmentKey>>),
    /// Of one record: what proxies helped to find.
    Contents(Arc<BTreeMap<ContentRef, DataKey>>),
}

impl ReaderKey {
    /// What opens a content, if there is anything.
    pub(crate) fn open_key(
        &self,
        content: &ContentRef,
        header: &Header,
    ) -> Result<OpenKey<'_>, OpenError> {
        match self {
            Self::Identity(key) => Ok(OpenKey::Identity(key)),
            Self::Segment(key) => Ok(OpenKey::Segment(key)),
            Self::Epochs(keys) => keys.get(&header.epoch()).map(OpenKey::Segment).ok_or(OpenError),
            Self::Contents(keys) => keys.get(content).map(OpenKey::Data).ok_or(OpenError),
        }
    }
}

impl Galen {
    /// Seals a source and stages it in a store, on two threads. `note` hears the addresses before the content gets its
    /// name.
    pub(crate) async fn seal_stream(
        &self,
        storage: &Storage,
        sealing: Sealing,
        committed: Committed,
        source: impl Read + Send + 'static,
        note: impl FnOnce(&Addresses) -> io::Result<()> + Send + 'static,
    ) -> Result<Staged, Error> {
        let (mut writer, reader) = pipe();
        let work = tokio::task::spawn_blocking(move || {
            let sealed = seal_with_key(&sealing.request(), &committed, source, &mut writer)?;
            writer.end().map_err(galen_crypto::Error::Write)?;
            Ok::<_, galen_crypto::Error>(sealed)
        });
        let staged = storage.stage_noting(reader, note).await;
        match (staged, joined(work.await)?) {
            (Ok(staged), Ok((len, key))) => {
                Ok(Staged { content: staged.of(storage.address_kind()), len, key })
            }
            // Whichever stopped first says why; the other one only says that its end of the pipe is gone.
            (Ok(_) | Err(StorageError::Source(_)), Err(error)) => Err(from_store(error)),
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Seals what `open` writes into a pipe, and stages it.
    pub(crate) async fn seal_opened<Opening>(
        &self,
        storage: &Storage,
        sealing: Sealing,
        committed: Committed,
        open: impl FnOnce(PipeWriter) -> Opening,
        note: impl FnOnce(&Addresses) -> io::Result<()> + Send + 'static,
    ) -> Result<Staged, Error>
    where
        Opening: Future<Output = Result<PipeWriter, Error>> + Send,
    {
        let (writer, reader) = pipe();
        let opening = open(writer);
        let open = async {
            // Without an end the other side takes it for a fault.
            let ended = opening.await?.end();
            ended.map_err(|error| Error::Crypto(galen_crypto::Error::Write(error)))
        };
        let sealing = self.seal_stream(storage, sealing, committed, reader, note);
        match tokio::join!(open, sealing) {
            (Ok(()), Ok(staged)) => Ok(staged),
            // A pipe that broke says nothing of why: the other end does.
            (Err(error), Err(Error::Crypto(galen_crypto::Error::Read(_))) | Ok(_))
            | (_, Err(error)) => Err(error),
        }
    }

    /// Opens content from the store into a sink, block by verified block. Only `Ok` says that what the
    /// sink got is complete and is what was committed to.
    pub(crate) async fn open_stream<W: Write + Send + 'static>(
        &self,
        content: ContentRef,
        context: SealContext,
        key: ReaderKey,
        mut sink: W,
    ) -> Result<(W, Manifest), Error> {
        let mut source = self.storage.open(&content).await?;
        let work = tokio::task::spawn_blocking(move || {
            let opener = opener(&mut source, &content, context, &key)?;
            let manifest = opener.open_to(&mut source, &mut sink)?;
            Ok::<_, galen_crypto::Error>((sink, manifest))
        });
        joined(work.await)?.map_err(from_store)
    }

    /// The newest content of a version that opens whole.
    pub(crate) async fn find_stream(
        &self,
        record: &RecordKey,
        version: &Version,
        key: &ReaderKey,
    ) -> Result<(ContentRef, Manifest), Error> {
        let context = self.context(record, &version.leaf);
        let mut failed = None;
        for ContentEntry { content, .. } in version.contents.iter().rev() {
            match self.open_stream(*content, context, key.clone(), io::sink()).await {
                Ok((_, manifest)) => return Ok((*content, manifest)),
                Err(error) => failed = Some(graver(failed, error)),
            }
        }
        Err(failed.unwrap_or(Error::DoesNotOpen(context.record)))
    }

    /// Opens the newest content of a version into a sink. An older one is taken if nothing of a newer one opens;
    /// once the sink has bytes, there is no way back.
    async fn export<W: Write + Send + 'static>(
        &self,
        record: &RecordKey,
        version: &Version,
        key: &ReaderKey,
        sink: W,
    ) -> Result<(W, Manifest), Error> {
        let context = self.context(record, &version.leaf);
        let (mut sink, mut failed) = (sink, None);
        for ContentEntry { content, .. } in version.contents.iter().rev() {
            let mut source = match self.storage.open(content).await {
                Ok(source) => source,
                Err(error) => {
                    failed = Some(graver(failed, error.into()));
                    continue;
                }
            };
            let (key, content) = (key.clone(), *content);
            let work = tokio::task::spawn_blocking(move || {
                let mut counted = Counted { sink, written: false };
                let opened = opener(&mut source, &content, context, &key)
                    .and_then(|opener| opener.open_to(&mut source, &mut counted));
                (counted, opened)
            });
            let (counted, opened) = joined(work.await)?;
            match opened {
                Ok(manifest) => return Ok((counted.sink, manifest)),
                Err(error) if counted.written => return Err(from_store(error)),
                Err(error) => failed = Some(graver(failed, from_store(error))),
            }
            sink = counted.sink;
        }
        Err(failed.unwrap_or(Error::NoRecord(context.record)))
    }
}

/// Reads the header, which the sealed bytes begin with.
fn opener(
    source: &mut impl Read,
    content: &ContentRef,
    context: SealContext,
    key: &ReaderKey,
) -> Result<Opener, galen_crypto::Error> {
    let mut header = [0; HEADER_LEN];
    source.read_exact(&mut header).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => OpenError.into(),
        _ => galen_crypto::Error::Read(error),
    })?;
    let header = Header::parse(&header)?;
    Ok(Opener::new(&header, context, key.open_key(content, &header)?)?)
}

/// What the store said, if it was the store that failed while its content was read.
fn from_store(error: galen_crypto::Error) -> Error {
    let galen_crypto::Error::Read(error) = error else { return error.into() };
    match error.downcast::<StorageError>() {
        Ok(error) => error.into(),
        Err(error) => galen_crypto::Error::Read(error).into(),
    }
}

/// A sink that knows whether it got anything.
struct Counted<W> {
    sink: W,
    written: bool,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written |= !bytes.is_empty();
        self.sink.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

impl Organization {
    /// Seals a file of any type and size in constant memory and proposes it as a record. An [`crate::Import`] does
    /// the same so that it can be interrupted.
    ///
    /// # Errors
    ///
    /// As [`Organization::propose`]; [`Error::Crypto`] if the file cannot be read or changes meanwhile.
    pub async fn attach(
        &self,
        contact: &Contact,
        file: &AttachedFile,
        policy: &CosignPolicy,
    ) -> Result<Announced, Error> {
        let contact = &self.refreshed(contact).await?;
        let key = self.next_record(contact, file.category).await?;
        let salt = random_salt()?;
        let committed = self.commit_file(file, salt).await?;
        let sealed = self.seal_file(contact, key, file, salt, committed).await?;
        let mut batch = Batch::default();
        batch.push(self.galen().storage_for(file.category), sealed, key).await?;
        self.send(self.sign(contact, batch, policy).await?).await
    }

    /// The first pass over a file.
    pub(crate) async fn commit_file(
        &self,
        file: &AttachedFile,
        salt: Salt,
    ) -> Result<Committed, Error> {
        let AttachedFile { path, media_type, .. } = file.clone();
        let work = tokio::task::spawn_blocking(move || {
            commit(File::open(path).map_err(galen_crypto::Error::Read)?, salt, &media_type)
        });
        Ok(joined(work.await)??)
    }

    /// The second pass: keeps a copy, seals the file, and stages it where its category says.
    pub(crate) async fn seal_file(
        &self,
        contact: &Contact,
        key: RecordKey,
        file: &AttachedFile,
        salt: Salt,
        committed: Committed,
    ) -> Result<(Leaf, u64), Error> {
        let galen = self.galen();
        let open = || File::open(&file.path).map_err(galen_crypto::Error::Read);
        self.keep_copy(&key, salt, file.media_type.clone(), committed, open()?).await?;
        let sealing = self.sealing(contact, &key, salt, file.media_type.clone())?;
        let storage = galen.storage_for(file.category);
        let sealed = galen.seal_stream(storage, sealing, committed, open()?, |_| Ok(())).await?;
        let leaf = Leaf {
            kind: LeafKind::New,
            segment: key.segment,
            number: key.number,
            content: sealed.content,
            commitment: committed.commitment,
            previous: VersionId::default(),
        };
        Ok((leaf, sealed.len))
    }
}

impl Patient {
    /// Checks a proposed attachment as [`Patient::examine`] checks a document, in constant memory, and
    /// says what it is.
    ///
    /// # Errors
    ///
    /// As [`Patient::examine`].
    pub async fn examine_attachment(
        &self,
        proposal: &Proposal,
        index: usize,
    ) -> Result<Manifest, Error> {
        let fault = |fault| Error::Misproposed { proposal: proposal.event.proposal, index, fault };
        let leaf = proposal.event.leaves.get(index);
        let leaf = leaf.ok_or_else(|| fault("there is no such leaf"))?;
        let record = leaf.key(self.id(), proposal.event.author);
        let galen = self.galen();
        let context = galen.context(&record, leaf);
        let header = galen.storage.read_range(&leaf.content, 0..HEADER_LEN as u64).await;
        let header = match header {
            Err(StorageError::OutOfRange { .. }) => return Err(fault("its content does not open")),
            other => other?,
        };
        let header = Header::parse(&header).map_err(|_| fault("its content does not open"))?;
        let epoch = self.epoch().await?;
        if header.epoch() != epoch {
            return Err(fault("it is sealed under another epoch than the current one"));
        }
        // Both wraps must hold the one data key: that of the segment's readers and the patient's.
        Opener::new(&header, context, OpenKey::Segment(&self.segment_key(leaf.segment, epoch)))
            .map_err(|_| fault("it is not sealed to the readers of its segment"))?;
        let identity = self.identity_key();
        match galen.open_stream(leaf.content, context, identity, io::sink()).await {
            Ok((_, manifest)) => Ok(manifest),
            Err(Error::Crypto(error)) if error.kind() == ErrorKind::Integrity => {
                Err(fault("its content does not open"))
            }
            Err(error) => Err(error),
        }
    }

    /// New content for a record that is too long for memory: opened, sealed and staged through a pipe. `note` is told as
    /// by [`Patient::seal_anew`].
    pub(crate) async fn seal_anew_streaming(
        &self,
        storage: &Storage,
        record: &Record,
        note: impl FnOnce(u32, &Addresses) -> io::Result<()> + Send + 'static,
    ) -> Result<Anew, Error> {
        let galen = self.galen();
        let context = galen.context(&record.key, &record.current().leaf);
        let key = self.identity_key();
        let (before, manifest) = galen.find_stream(&record.key, record.current(), &key).await?;
        let (salt, media_type) = (manifest.salt, manifest.media_type.clone());
        let sealing = self.sealing(&record.key, salt, media_type).await?;
        let epoch = sealing.epoch;
        let opens_by = ReaderKey::Segment(Box::new(self.segment_key(record.key.segment, epoch)));
        let open = |writer| async {
            galen.open_stream(before, context, key, writer).await.map(|(writer, _)| writer)
        };
        let note = move |after: &Addresses| note(epoch, after);
        let staged = galen.seal_opened(storage, sealing, manifest.committed, open, note).await?;
        let (key, after) = (record.key, staged.content);
        Ok(Anew { key, before, after, opens_to: manifest, opens_by })
    }

    /// Writes a record of the patient's own chart to a sink, in constant memory.
    ///
    /// # Errors
    ///
    /// [`Error::NoRecord`], [`Error::Crypto`]. On an error the caller throws away what the sink got.
    pub async fn export<W: Write + Send + 'static>(
        &self,
        record: RecordId,
        sink: W,
    ) -> Result<(W, Manifest), Error> {
        let record = self.record(record).await?;
        self.galen().export(&record.key, record.current(), &self.identity_key(), sink).await
    }
}

impl Grantee {
    /// As [`Grantee::read`] for one record of any size: logs the read, then writes to a sink.
    ///
    /// # Errors
    ///
    /// As [`Grantee::read`]. On an error the caller throws away what the sink got.
    pub async fn export<W: Write + Send + 'static>(
        &self,
        grant: &Grant,
        purpose: Purpose,
        record: RecordId,
        sink: W,
    ) -> Result<(W, Manifest, Sent), Error> {
        let (key, _) = self.current(grant.patient(), record).await?;
        let sent = self.log(grant.patient(), grant.consent(), purpose, &[key]).await?;
        let (sink, manifest) = self.export_key(grant, key, sink).await?;
        Ok((sink, manifest, sent))
    }

    /// As [`Grantee::open_logged`] for one record of any size: the second half of [`Grantee::export`].
    ///
    /// # Errors
    ///
    /// As [`Grantee::export`].
    pub async fn export_logged<W: Write + Send + 'static>(
        &self,
        grant: &Grant,
        record: RecordId,
        sink: W,
    ) -> Result<(W, Manifest), Error> {
        let (key, _) = self.current(grant.patient(), record).await?;
        self.export_key(grant, key, sink).await
    }

    async fn export_key<W: Write + Send + 'static>(
        &self,
        grant: &Grant,
        key: RecordKey,
        sink: W,
    ) -> Result<(W, Manifest), Error> {
        // Where the content lies is asked only now: a custodian may have resealed it meanwhile.
        let unlocked = self.unlocked(grant, &[key]).await?.pop();
        let Unlocked { version, key: reader, .. } =
            unlocked.ok_or_else(|| Error::NoRecord(key.id()))?;
        self.galen().export(&key, &version, &reader, sink).await
    }
}
