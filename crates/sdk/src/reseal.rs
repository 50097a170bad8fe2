//! After an access: a new key and a new address for the same plaintext.

use std::{collections::BTreeMap, io, sync::Arc};

use alloy_primitives::Address;
use galen_chain::Sent;
use galen_crypto::{Manifest, Opened, seal_bytes};
use galen_index::{Chart, Record};
use galen_storage::{Addresses, Depth, Presence, Storage, StorageError};
use galen_types::{ContentRef, RecordId, RecordKey};

use crate::{
    Contact, Error, Galen, Organization, Patient,
    attachment::ReaderKey,
    batch::publish_all,
    custodian::{Keeper, Whose, unsealed_reads},
    galen::joined,
};

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
    /// What it must open to.
    pub(crate) opens_to: Manifest,
    /// What opens it.
    pub(crate) opens_by: ReaderKey,
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

    /// Reads new content of a record back from where it went, and opens it with a key of its readers, or its own, to
    /// what it was made from.
    pub(crate) async fn require_readable(
        &self,
        storage: &Storage,
        record: &Record,
        content: ContentRef,
        key: Option<ReaderKey>,
        opens_to: Option<&Manifest>,
    ) -> Result<(), Error> {
        self.require_kept(storage, &content).await?;
        let Some(key) = key else { return Ok(()) };
        let context = self.context(&record.key, &record.current().leaf);
        let found = self.open_stream(content, context, key, io::sink()).await?.1;
        match opens_to {
            Some(manifest) if *manifest != found => Err(Error::DoesNotOpen(record.key.id())),
            _ => Ok(()),
        }
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

async fn accessed(galen: &Galen, patient: Address, whose: Whose) -> Result<Vec<RecordId>, Error> {
    let read = |chart: &Chart| unsealed_reads(chart, whose);
    Ok(galen.with_chart(patient, read).await?.into_keys().collect())
}

/// Seals records anew at once, whoever may still come for the old content.
async fn reseal(
    keeper: &impl Keeper,
    records: &[RecordId],
) -> Result<(Vec<ResealedRecord>, Vec<Sent>), Error> {
    let mut by_author: BTreeMap<Address, Vec<Record>> = BTreeMap::new();
    for id in records {
        let record = keeper.record(*id).await?;
        if !keeper.whose().keeps(&record.key) {
            return Err(Error::Invalid("only the author of a record does this"));
        }
        by_author.entry(record.key.author).or_default().push(record);
    }
    let (galen, patient) = (keeper.galen(), keeper.patient());
    let (mut resealed, mut sent) = (Vec::new(), Vec::new());
    for (author, records) in by_author {
        for batch in records.chunks(MAX_RESEALS) {
            let anew = seal_batch(keeper, batch).await?;
            let items: Vec<_> =
                anew.iter().map(|item| (item.key, item.after, item.before)).collect();
            let deadline = galen.deadline().await?;
            let (ledger, account) = (&galen.ledger, keeper.account());
            sent.push(ledger.reseal(account, patient, author, &items, deadline).await?);
            for Anew { key, before, after, .. } in anew {
                let left_at = galen.release(&before).await;
                resealed.push(ResealedRecord { record: key.id(), before, after, left_at });
            }
        }
    }
    Ok((resealed, sent))
}

/// New content for some records: sealed and staged, sent side by side to where their categories say, read back from
/// there and opened.
async fn seal_batch(keeper: &impl Keeper, records: &[Record]) -> Result<Vec<Anew>, Error> {
    let (mut anew, mut staged) = (Vec::new(), Vec::new());
    for record in records {
        let storage = keeper.storage(record.key.segment)?;
        let item = keeper.seal_anew(storage, record, |_, _| Ok(())).await?;
        staged.push((storage.clone(), item.after));
        anew.push(item);
    }
    let published = publish_all(staged).await?;
    for ((record, item), content) in records.iter().zip(&mut anew).zip(published) {
        item.after = content?;
        let storage = keeper.storage(record.key.segment)?;
        let (key, opens_to) = (item.opens_by.clone(), Some(&item.opens_to));
        keeper.galen().require_readable(storage, record, item.after, Some(key), opens_to).await?;
    }
    Ok(anew)
}

impl Organization {
    /// As [`Patient::accessed`], for the organization's own records in a patient's chart of which it has a copy.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn accessed(&self, patient: Address) -> Result<Vec<RecordId>, Error> {
        let mut read = accessed(self.galen(), patient, Whose::Author(self.id())).await?;
        let has_copy = |chart: &Chart, id: &RecordId| {
            let record = chart.record(*id);
            let copy = record.map(|record| self.copy_of(&record.key, record.current()));
            copy.is_some_and(|copy| copy.is_ok_and(|copy| copy.is_some()))
        };
        let keep = |chart: &Chart| read.retain(|id| has_copy(chart, id));
        self.galen().with_chart(patient, keep).await?;
        Ok(read)
    }

    /// As [`Patient::reseal`], for the organization's own records in a patient's chart, from its own copies.
    ///
    /// # Errors
    ///
    /// [`Error::NoRecord`]; [`Error::Invalid`] if one is another author's; [`Error::NoCopy`], [`Error::DoesNotOpen`],
    /// [`Error::Copy`]. What was announced before stays.
    pub async fn reseal(
        &self,
        contact: &Contact,
        records: &[RecordId],
    ) -> Result<(Vec<ResealedRecord>, Vec<Sent>), Error> {
        reseal(&self.author(contact).await?, records).await
    }

    /// New content for one of the organization's own records, sealed from its copy and staged. `note` is told as by
    /// [`Patient::seal_anew`].
    pub(crate) async fn seal_copy_anew(
        &self,
        contact: &Contact,
        storage: &Storage,
        record: &Record,
        note: impl FnOnce(u32, &Addresses) -> io::Result<()> + Send + 'static,
    ) -> Result<Anew, Error> {
        let (key, version) = (record.key, record.current());
        let before = version.contents.last().ok_or(Error::NoRecord(key.id()))?.content;
        let copy = self.copy_of(&key, version)?.ok_or(Error::NoCopy(key.id()))?;
        let work = tokio::task::spawn_blocking(move || {
            let manifest = copy.open_to(io::sink())?;
            Ok::<_, Error>((copy, manifest))
        });
        let (copy, opens_to) = joined(work.await)??;
        let sealing = self.sealing(contact, &key, opens_to.salt, opens_to.media_type.clone())?;
        let epoch = sealing.epoch;
        let open = |mut writer| async move {
            let work = tokio::task::spawn_blocking(move || {
                copy.open_to(&mut writer)?;
                Ok(writer)
            });
            joined(work.await)?
        };
        let note = move |after: &Addresses| note(epoch, after);
        let galen = self.galen();
        let staged = galen.seal_opened(storage, sealing, opens_to.committed, open, note).await?;
        let after = staged.content;
        let opens_by = ReaderKey::Contents(Arc::new([(after, staged.key)].into()));
        Ok(Anew { key, before, after, opens_to, opens_by })
    }
}

impl Patient {
    /// Records that were read since their content was last sealed.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn accessed(&self) -> Result<Vec<RecordId>, Error> {
        accessed(self.galen(), self.id(), Whose::Patient).await
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
        reseal(self, records).await
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
            let opens_by = ReaderKey::Segment(Box::new(self.segment_key(key.segment, epoch)));
            return Ok(Anew { key, before, after, opens_to, opens_by });
        }
        self.seal_anew_streaming(storage, record, note).await
    }
}
