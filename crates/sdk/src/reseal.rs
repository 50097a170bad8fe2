//! After an access: a new key and a new address for the same plaintext.

use std::collections::BTreeMap;

use alloy_primitives::Address;
use galen_chain::Sent;
use galen_crypto::{OpenKey, seal_bytes};
use galen_types::{ContentRef, RecordId, RecordKey};

use crate::{Error, Patient, galen::MAX_RECORD_LEN};

/// Sealed content longer than this many bytes is resealed through pipes instead of in memory.
const STREAMED_LEN: u64 = 16 << 20;

/// Most records that one reseal transaction names.
const MAX_RESEALS: usize = 64;

/// A record whose content was sealed anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResealedRecord {
    /// The record.
    pub record: RecordId,
    /// Where its content lay.
    pub before: ContentRef,
    /// Where it lies now.
    pub after: ContentRef,
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

    /// Seals the content of records anew under new data keys, checks it, announces it, and only then
    /// removes the old content. The plaintext and its commitment stay the same.
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
                let mut items = Vec::new();
                for id in batch {
                    items.push(self.seal_anew(*id).await?);
                }
                let deadline = self.galen().deadline().await?;
                let account = self.account();
                let ledger = &self.galen().ledger;
                sent.push(ledger.reseal(account, self.id(), author, &items, deadline).await?);
                for (key, after, before) in items {
                    self.galen().storage.remove(&before).await?;
                    resealed.push(ResealedRecord { record: key.id(), before, after });
                }
            }
        }
        Ok((resealed, sent))
    }

    /// New content for a record: made, kept, read back and opened as its readers will.
    async fn seal_anew(&self, id: RecordId) -> Result<(RecordKey, ContentRef, ContentRef), Error> {
        let record = self.record(id).await?;
        let newest = record.current().contents.last().ok_or(Error::NoRecord(id))?.content;
        if self.galen().storage.len(&newest).await.is_ok_and(|len| len > STREAMED_LEN) {
            let after = self.seal_anew_streaming(&record, newest).await?;
            return Ok((record.key, after, newest));
        }
        let (before, opened) = self.open_current(&record).await?;
        let sealing = self.sealing(&record.key, opened.salt, opened.media_type.clone());
        let (_, sealed) = seal_bytes(&sealing.request(), opened.payload.expose())?;
        let after = self.galen().storage.put_bytes(sealed).await?;
        let stored = self.galen().storage.get(&after, MAX_RECORD_LEN).await?;
        let context = self.galen().context(&record.key, &record.current().leaf);
        let key = self.segment_key(record.key.segment);
        let again = galen_crypto::open(&stored, context, OpenKey::Segment(&key))?;
        if again.payload != opened.payload {
            return Err(Error::DoesNotOpen(id));
        }
        Ok((record.key, after, before))
    }
}
