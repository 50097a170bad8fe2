//! Content of any type and size (imaging, scans), sealed and opened in constant memory.
//!
//! An attachment is a record like any other: the same leaf, the same consents, the same log. Only it
//! never lies in memory whole.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::PathBuf,
};

use galen_chain::{CosignPolicy, Sent};
use galen_crypto::{
    Committed, Header, IdentityKey, IdentityPublic, Manifest, MediaType, OpenError, OpenKey,
    Opener, SealContext, SealRequest, SegmentKey, SegmentPublic, commit, random_salt, seal,
};
use galen_index::{Proposal, Record, Version};
use galen_types::{
    ContentRef, ErrorKind, Leaf, LeafKind, LedgerId, Purpose, RecordId, RecordKey, Salt, Segment,
    VersionId,
};

use crate::{
    Announced, Contact, Error, Galen, Grant, Grantee, Organization, Patient, organization::Batch,
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

/// A key that owns itself, for the same reason.
pub(crate) enum ReaderKey {
    Identity(Box<IdentityKey>),
    Segment(Box<SegmentKey>),
}

impl ReaderKey {
    const fn as_open_key(&self) -> OpenKey<'_> {
        match self {
            Self::Identity(key) => OpenKey::Identity(key),
            Self::Segment(key) => OpenKey::Segment(key),
        }
    }
}

impl Galen {
    /// Seals a source into the store through a pipe; returns address and sealed length.
    pub(crate) async fn seal_stream(
        &self,
        sealing: Sealing,
        committed: Committed,
        source: impl Read + Send + 'static,
    ) -> Result<(ContentRef, u64), Error> {
        let (reader, writer) = io::pipe().map_err(galen_crypto::Error::Read)?;
        let work = tokio::task::spawn_blocking(move || {
            seal(&sealing.request(), &committed, source, writer)
        });
        let kept = self.storage.put(reader).await;
        let sealed = joined(work.await)?;
        match (kept, sealed) {
            (Ok(content), Ok(len)) => Ok((content, len)),
            // The store has kept what came before the fault: a torso that nobody refers to.
            (Ok(torso), Err(error)) => {
                self.storage.remove(&torso).await?;
                Err(error.into())
            }
            (Err(error), _) => Err(error.into()),
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
            let mut header = [0; galen_crypto::HEADER_LEN];
            source.read_exact(&mut header).map_err(|_| OpenError)?;
            let header = Header::parse(&header)?;
            let manifest = Opener::new(&header, context, key.as_open_key())?
                .open_to(&mut source, &mut sink)?;
            Ok::<_, galen_crypto::Error>((sink, manifest))
        });
        Ok(joined(work.await)??)
    }

    /// Opens the newest content of a version into a sink.
    async fn export<W: Write + Send + 'static>(
        &self,
        record: &RecordKey,
        version: &Version,
        key: ReaderKey,
        sink: W,
    ) -> Result<(W, Manifest), Error> {
        let context = self.context(record, &version.leaf);
        let newest = version.contents.last().ok_or(Error::NoRecord(context.record))?;
        self.open_stream(newest.content, context, key, sink).await
    }
}

impl Organization {
    /// Seals a file of any type and size in constant memory and proposes it as a record.
    ///
    /// # Errors
    ///
    /// As [`Organization::propose`]; [`Error::Crypto`] if the file cannot be read or changes meanwhile.
    pub async fn attach(
        &self,
        contact: &Contact,
        category: u8,
        media_type: MediaType,
        file: PathBuf,
        policy: &CosignPolicy,
    ) -> Result<Announced, Error> {
        let key = self.next_record(contact, category).await?;
        let salt = random_salt()?;
        let unreadable = galen_crypto::Error::Read;
        let (path, kind) = (file.clone(), media_type.clone());
        let first = tokio::task::spawn_blocking(move || {
            commit(File::open(path).map_err(unreadable)?, salt, &kind)
        });
        let committed = joined(first.await)??;
        let sealing = self.sealing(contact, &key, salt, media_type)?;
        let source = File::open(file).map_err(unreadable)?;
        let galen = self.galen();
        let (content, len) = galen.seal_stream(sealing, committed, source).await?;
        let leaf = Leaf {
            kind: LeafKind::New,
            segment: key.segment,
            number: key.number,
            content,
            commitment: committed.commitment,
            previous: VersionId::default(),
        };
        let mut batch = Batch::default();
        batch.push((leaf, len), key);
        self.send(self.sign(contact, batch, policy).await?).await
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
        let context = self.galen().context(&record, leaf);
        let segment = ReaderKey::Segment(Box::new(self.segment_key(leaf.segment)));
        let refused = |error: Error| match error.kind() {
            ErrorKind::Integrity => fault("its content does not open"),
            _ => error,
        };
        // Both wraps must open: that of the segment's readers and the patient's.
        let galen = self.galen();
        galen.open_stream(leaf.content, context, segment, io::sink()).await.map_err(refused)?;
        let identity = self.identity_key();
        let opened = galen.open_stream(leaf.content, context, identity, io::sink()).await;
        Ok(opened.map_err(refused)?.1)
    }

    /// New content for a record that is too long for memory: opened, sealed and kept through pipes,
    /// then opened again as its readers will.
    pub(crate) async fn seal_anew_streaming(
        &self,
        record: &Record,
        before: ContentRef,
    ) -> Result<ContentRef, Error> {
        let galen = self.galen();
        let context = galen.context(&record.key, &record.current().leaf);
        let opened = galen.open_stream(before, context, self.identity_key(), io::sink()).await?;
        let Manifest { media_type, salt, committed } = opened.1;
        let sealing = self.sealing(&record.key, salt, media_type);
        let (reader, writer) = io::pipe().map_err(galen_crypto::Error::Read)?;
        let open = async {
            let opened = galen.open_stream(before, context, self.identity_key(), writer).await;
            // The writer goes here, so that the other end sees the end.
            opened.map(|(_, manifest)| manifest)
        };
        let (opened, sealed) = tokio::join!(open, galen.seal_stream(sealing, committed, reader));
        let (after, _) = sealed?;
        opened?;
        let segment = ReaderKey::Segment(Box::new(self.segment_key(record.key.segment)));
        galen.open_stream(after, context, segment, io::sink()).await?;
        Ok(after)
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
        self.galen().export(&record.key, record.current(), self.identity_key(), sink).await
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
        let (key, version) = self.current(grant.patient(), record).await?;
        let sent = self.log(grant.patient(), grant.consent(), purpose, &[key]).await?;
        let reader = ReaderKey::Segment(Box::new(grant.key(key.segment)?.clone()));
        let (sink, manifest) = self.galen().export(&key, &version, reader, sink).await?;
        Ok((sink, manifest, sent))
    }
}

/// What a thread that blocks gave back. A panic there goes on here.
fn joined<T>(work: Result<T, tokio::task::JoinError>) -> Result<T, Error> {
    work.map_err(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Error::Invalid("the runtime shuts down"),
    })
}
