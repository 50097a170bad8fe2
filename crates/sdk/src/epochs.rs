//! Epochs: a patient's segment keys are good until the patient publishes the next ones.
//!
//! The newest key bundle on chain says which epoch is current. Authors seal under it, patients refuse what is
//! sealed under an older one, and content of older epochs moves when it is sealed anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use galen_chain::Sent;
use galen_crypto::{HEADER_LEN, Header};
use galen_storage::StorageError;
use galen_types::{ContentRef, ErrorKind, KeyBundleId, RecordId, Segment};
use tokio::{sync::Mutex, task::JoinSet};

use crate::{Error, Patient, galen::joined};

/// The first epoch of segment keys.
const FIRST_EPOCH: u32 = 1;

/// Most bundles of one seed that are made to find the one on chain.
const MAX_EPOCHS: u32 = 1_024;

/// Headers that are fetched at a time.
const HEADERS_AT_A_TIME: usize = 16;

/// Most headers that one look for older epochs reads.
const MAX_HEADERS: usize = 256;

/// What a patient found out about epochs: a name of a bundle, or of content, always stands for the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Epochs {
    current: Arc<Mutex<Option<(KeyBundleId, Published)>>>,
    contents: Arc<Mutex<BTreeMap<ContentRef, Option<u32>>>>,
    issued: Arc<Mutex<u64>>,
}

/// The patient's current bundle on chain.
#[derive(Clone, Copy, Debug)]
struct Published {
    epoch: u32,
    /// Whether it holds the identity key of this seed.
    is_own: bool,
}

impl Patient {
    /// The current epoch of the patient's segment keys: that of the newest key bundle on chain.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`]; [`Error::NoKeys`], [`Error::Storage`] if the bundle is of another seed and cannot be had.
    pub async fn epoch(&self) -> Result<u32, Error> {
        Ok(self.published().await?.map_or(FIRST_EPOCH, |it| it.epoch))
    }

    /// Starts the next epoch: publishes new segment keys. From then on authors seal under them, and the patient
    /// refuses what is sealed under the keys before, also what waits for an answer already.
    ///
    /// Grantees need keys of the new epoch: see [`Patient::renew`].
    ///
    /// # Errors
    ///
    /// [`Error::NoKeys`] if none are published, or those of another seed.
    pub async fn next_epoch(&self) -> Result<Sent, Error> {
        let current = self.published().await?.filter(|it| it.is_own);
        let epoch = current.ok_or(Error::NoKeys(self.id()))?.epoch.checked_add(1);
        let bundle = self.bundle(epoch.ok_or(Error::Invalid("there is no epoch after this one"))?);
        let sent = self.galen().publish(self.account(), &bundle).await?;
        sent.ok_or(Error::Invalid("the epoch has started already"))
    }

    /// The epochs under which current content of the chart lies, by segment. Content whose header cannot be had
    /// counts as of every epoch that there was when it was named, so that nobody is left without a key for it.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn epochs_in_use(&self) -> Result<BTreeMap<Segment, BTreeSet<u32>>, Error> {
        let epoch = self.epoch().await?;
        let newest = self
            .galen()
            .with_chart(self.id(), |chart| {
                let published: Vec<_> = chart.keys().iter().map(|entry| entry.at).collect();
                let records = chart.records().filter(|record| !record.is_retracted());
                let newest = records.filter_map(|record| {
                    let newest = record.current().contents.last()?;
                    // The highest epoch that there was when the content was named.
                    let then = published.iter().filter(|at| **at < newest.at).count();
                    let then = u32::try_from(then).unwrap_or(epoch).clamp(FIRST_EPOCH, epoch);
                    Some((record.key.segment, newest.content, then))
                });
                newest.collect::<Vec<_>>()
            })
            .await?;
        let unclear = newest.iter().filter(|(_, _, then)| *then > FIRST_EPOCH);
        self.look_up(unclear.map(|(_, content, _)| *content)).await?;
        let known = self.epochs().contents.lock().await;
        let mut used: BTreeMap<Segment, BTreeSet<u32>> = BTreeMap::new();
        for (segment, content, then) in newest {
            let used = used.entry(segment).or_default();
            match known.get(&content) {
                Some(Some(found)) if (FIRST_EPOCH..=then).contains(found) => {
                    used.insert(*found);
                }
                // Readers fall back to what was there before it.
                _ => used.extend(FIRST_EPOCH..=then),
            }
        }
        Ok(used)
    }

    /// Some records whose newest content lies under an older epoch than the current one, at most `limit` of those
    /// that `wanted` names. Only so many headers are read that were not known before; later calls see the rest.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn of_older_epochs(
        &self,
        limit: usize,
        wanted: &(dyn Fn(&RecordId) -> bool + Sync),
    ) -> Result<Vec<RecordId>, Error> {
        let epoch = self.epoch().await?;
        if epoch == FIRST_EPOCH || limit == 0 {
            return Ok(Vec::new());
        }
        let newest = |chart: &galen_index::Chart| -> Vec<(RecordId, ContentRef)> {
            let records = chart.records().filter(|it| !it.is_retracted() && wanted(&it.key.id()));
            records
                .filter_map(|it| Some((it.key.id(), it.current().contents.last()?.content)))
                .collect()
        };
        let newest = self.galen().with_chart(self.id(), newest).await?;
        let unknown: Vec<ContentRef> = {
            let known = self.epochs().contents.lock().await;
            let contents = newest.iter().map(|(_, content)| *content);
            contents.filter(|it| !known.contains_key(it)).take(MAX_HEADERS).collect()
        };
        self.look_up(unknown.into_iter()).await?;
        let known = self.epochs().contents.lock().await;
        let is_older = |content: &ContentRef| {
            known.get(content).is_some_and(|it| it.is_some_and(|it| it < epoch))
        };
        let older = newest.into_iter().filter(|(_, content)| is_older(content));
        Ok(older.map(|(record, _)| record).take(limit).collect())
    }

    /// Unix second to date keys with: of two that are made in one second, the second is dated later, since holders
    /// keep the later ones.
    pub(crate) async fn issued(&self) -> Result<u64, Error> {
        let time = self.galen().time().await?;
        let mut last = self.epochs().issued.lock().await;
        *last = time.max(*last + 1);
        Ok(*last)
    }

    /// The epoch to publish keys under: the current one, or the one after that of another seed.
    pub(crate) async fn epoch_to_publish(&self) -> Result<u32, Error> {
        Ok(match self.published().await? {
            None => FIRST_EPOCH,
            Some(Published { epoch, is_own: true }) => epoch,
            Some(Published { epoch, is_own: false }) => epoch.saturating_add(1),
        })
    }

    async fn published(&self) -> Result<Option<Published>, Error> {
        let last = |chart: &galen_index::Chart| (chart.keys().last().copied(), chart.keys().len());
        let (entry, count) = self.galen().with_chart(self.id(), last).await?;
        let Some(entry) = entry else { return Ok(None) };
        let mut current = self.epochs().current.lock().await;
        if let Some((bundle, published)) = *current
            && bundle == entry.bundle
        {
            return Ok(Some(published));
        }
        // The seed alone tells, as long as the bundle is one that this program makes: no store is needed.
        let newest = u32::try_from(count).unwrap_or(MAX_EPOCHS).min(MAX_EPOCHS);
        let own = (FIRST_EPOCH..=newest).rev().find(|it| self.bundle(*it).id() == entry.bundle);
        let published = match own {
            Some(epoch) => Published { epoch, is_own: true },
            None => {
                let bundle = self.galen().bundle_of(self.id()).await?;
                let is_own = bundle.identity == *self.keys().identity().public();
                Published { epoch: bundle.epoch.max(FIRST_EPOCH), is_own }
            }
        };
        *current = Some((entry.bundle, published));
        Ok(Some(published))
    }

    /// Reads the headers of contents that were not looked at before.
    async fn look_up(&self, contents: impl Iterator<Item = ContentRef>) -> Result<(), Error> {
        let mut known = self.epochs().contents.lock().await;
        let unknown: BTreeSet<ContentRef> =
            contents.filter(|content| !known.contains_key(content)).collect();
        let mut waiting = unknown.into_iter();
        let mut looking = JoinSet::new();
        loop {
            while looking.len() < HEADERS_AT_A_TIME
                && let Some(content) = waiting.next()
            {
                let storage = self.galen().storage.clone();
                looking.spawn(async move {
                    let read = storage.read_range(&content, 0..HEADER_LEN as u64).await;
                    (content, read)
                });
            }
            let Some(found) = looking.join_next().await else { return Ok(()) };
            match joined(found)? {
                (content, Ok(header)) => {
                    known.insert(content, Header::parse(&header).ok().map(|it| it.epoch()));
                }
                (content, Err(error)) if is_for_good(&error) => {
                    known.insert(content, None);
                }
                // It may be there another time.
                (_, Err(_)) => {}
            }
        }
    }
}

/// Whether asking for the same bytes again gives nothing else.
fn is_for_good(error: &StorageError) -> bool {
    matches!(error, StorageError::OutOfRange { .. }) || error.kind() == ErrorKind::Integrity
}
