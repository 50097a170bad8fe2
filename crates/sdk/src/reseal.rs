//! After an access: a new key and a new address for the same plaintext.

use std::{collections::BTreeMap, io};

use alloy_primitives::Address;
use galen_chain::Sent;
use galen_crypto::{Manifest, Opened, seal_bytes};
use galen_index::Record;
use galen_storage::{Addresses, Depth, Presence, Storage, StorageError};
use galen_types::{ContentRef, RecordId, RecordKey};

use crate::{Error, Galen, Patient, attachment::ReaderKey, batch::publish_all};

/// Sealed content longer than this many bytes is resealed through pipes instead of in memory.
const STREAMED_LEN: u64 = 16 << 20;

/// Most records that one reseal transaction names.
pub(crate) const MAX_RESEALS: usize = 64;

/// A record whose content was sealed anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResealedRecord {
    /// The record.
    pub record: RecordId,
    /// Where its content lay.
    pub before: ContentRef,
    /// Where it lies now.
    pub after: ContentRef,
    /// Places of this machine's settings that may still hold the old content, since they did not say that they let
    /// it go. It can be removed there later.
    pub left_at: Vec<String>,
}

/// Content that was sealed anew and is staged.
pub(crate) struct Anew {
    pub(crate) key: RecordKey,
    pub(crate) before: ContentRef,
    pub(crate) after: ContentRef,
    /// The epoch that it is sealed under.
    pub(crate) epoch: u32,
    /// What it must open to.
    pub(crate) opens_to: Manifest,
}

impl Galen {
    /// Reads new content back from the places that it was sent to. One of them must have every byte of it, or say
    /// that it has if it cannot be read from; none may have it wrong. Those that get it later do not matter here.
    pub(crate) async fn require_kept(
        &self,
        storage: &Storage,
        at: &ContentRef,
    ) -> Result<(), Error> {
        let (mut kept, mut fault) = (false, StorageError::NotFound(*at));
        for place in storage.places().into_iter().filter(|place| place.kept_in) {
            match storage.check_at(at, &place.name, Depth::Whole).await? {
                Presence::Whole => kept = true,
                Presence::Present if !place.readable => kept = true,
                Presence::Damaged => return Err(StorageError::Integrity(*at).into()),
                Presence::Failed(error) => fault = error,
                Presence::Present | Presence::Missing | Presence::AddressUnknown => {}
            }
        }
        if kept { Ok(()) } else { Err(fault.into()) }
    }

    /// Gives content free at every place that lets us; names those that did not answer or refused.
    pub(crate) async fn release(&self, at: &ContentRef) -> Vec<String> {
        let mut left = Vec::new();
        for place in self.storage.places().into_iter().filter(|place| place.writable) {
            match self.storage.release(at, &place.name).await {
                // Where the other address is not known, nothing was ever sent from here.
                Ok(_) | Err(StorageError::NotFound(_) | StorageError::Unsupported(_)) => {}
                Err(_) => left.push(place.name),
            }
        }
        left
    }
}

impl Patient {
    /// Records that were read since their content was last sealed.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn accessed(&self) -> Result<Vec<RecordId>, Error> {
        self.galen()
            .with_chart(self.id(), |chart| {
                let mut ids: Vec<RecordId> = chart
                    .accesses()
                    .iter()
                    .filter(|access| {
                        chart.record(access.event.record).is_some_and(|record| {
                            let contents = &record.current().contents;
                            contents.last().is_some_and(|content| content.at < access.at)
                        })
                    })
                    .map(|access| access.event.record)
                    .collect();
                ids.sort_unstable();
                ids.dedup();
                ids
            })
            .await
    }

    /// Seals the content of records anew under new data keys, sends it to where their categories say, reads it back
    /// and opens it, announces it, and only then gives the old content free, at every place that lets us. The
    /// plaintext and its commitment stay the same.
    ///
    /// # Errors
    ///
    /// [`Error::NoRecord`], [`Error::DoesNotOpen`]; what was announced before stays.
    pub async fn reseal(
        &self,
        records: &[RecordId],
    ) -> Result<(Vec<ResealedRecord>, Vec<Sent>), Error> {
        let mut by_author: BTreeMap<Address, Vec<RecordId>> = BTreeMap::new();
        for id in records {
            by_author.entry(self.record(*id).await?.key.author).or_default().push(*id);
        }
        let (mut resealed, mut sent) = (Vec::new(), Vec::new());
        for (author, ids) in by_author {
            for batch in ids.chunks(MAX_RESEALS) {
                let anew = self.seal_batch(batch).await?;
                let items: Vec<_> =
                    anew.iter().map(|item| (item.key, item.after, item.before)).collect();
                let deadline = self.galen().deadline().await?;
                let account = self.account();
                let ledger = &self.galen().ledger;
                sent.push(ledger.reseal(account, self.id(), author, &items, deadline).await?);
                for Anew { key, before, after, .. } in anew {
                    let left_at = self.galen().release(&before).await;
                    resealed.push(ResealedRecord { record: key.id(), before, after, left_at });
                }
            }
        }
        Ok((resealed, sent))
    }

    /// New content for some records: sealed and staged, sent side by side to where their categories say, read back
    /// from there and opened as their readers will.
    async fn seal_batch(&self, records: &[RecordId]) -> Result<Vec<Anew>, Error> {
        let galen = self.galen();
        let (mut anew, mut staged) = (Vec::new(), Vec::new());
        for id in records {
            let record = self.record(*id).await?;
            let storage = galen.storage_for(self.category(record.key.segment));
            let item = self.seal_anew(storage, &record, |_, _| Ok(())).await?;
            staged.push((storage.clone(), item.after));
            anew.push((record, item));
        }
        let published = publish_all(staged).await?;
        for ((record, item), content) in anew.iter_mut().zip(published) {
            item.after = content?;
            self.require_readable(record, item.after, item.epoch, Some(&item.opens_to)).await?;
        }
        Ok(anew.into_iter().map(|(_, item)| item).collect())
    }

    /// Reads new content of a record back from where it went and opens it as its readers will, to what it was made
    /// from.
    pub(crate) async fn require_readable(
        &self,
        record: &Record,
        content: ContentRef,
        epoch: u32,
        opens_to: Option<&Manifest>,
    ) -> Result<(), Error> {
        let galen = self.galen();
        let storage = galen.storage_for(self.category(record.key.segment));
        let segment = self.segment_key(record.key.segment, epoch);
        let segment = ReaderKey::Segment(Box::new(segment));
        let context = galen.context(&record.key, &record.current().leaf);
        galen.require_kept(storage, &content).await?;
        let found = galen.open_stream(content, context, segment, io::sink()).await?.1;
        match opens_to {
            Some(manifest) if *manifest != found => Err(Error::DoesNotOpen(record.key.id())),
            _ => Ok(()),
        }
    }

    /// New content for a record, staged. `note` hears its epoch and addresses before it gets its name on this machine.
    pub(crate) async fn seal_anew(
        &self,
        storage: &Storage,
        record: &Record,
        note: impl FnOnce(u32, &Addresses) -> io::Result<()> + Send + 'static,
    ) -> Result<Anew, Error> {
        let galen = self.galen();
        let newest = record.current().contents.last();
        let newest = newest.ok_or(Error::NoRecord(record.key.id()))?.content;
        let key = record.key;
        // What is there is found out below; a place that fails only decides how it is read.
        if galen.storage.len(&newest).await.is_ok_and(|len| len <= STREAMED_LEN) {
            let (before, opened) = self.open_current(record).await?;
            let sealing = self.sealing(&key, opened.salt, opened.media_type.clone()).await?;
            let epoch = sealing.epoch;
            let (committed, sealed) = seal_bytes(&sealing.request(), opened.payload.expose())?;
            let Opened { media_type, salt, .. } = opened;
            let opens_to = Manifest { media_type, salt, committed };
            let note = move |after: &Addresses| note(epoch, after);
            let staged = storage.stage_noting(io::Cursor::new(sealed), note).await?;
            let after = staged.of(storage.address_kind());
            return Ok(Anew { key, before, after, epoch, opens_to });
        }
        self.seal_anew_streaming(storage, record, note).await
    }
}
