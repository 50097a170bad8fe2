//! Whose custodian it is: the patient's, for the whole chart, or an author's, for its own records in it.

use std::{collections::BTreeMap, io};

use alloy_primitives::Address;
use galen_chain::Account;
use galen_crypto::{HEADER_LEN, Header};
use galen_index::{Chart, Record, Version};
use galen_storage::{Addresses, Depth, Presence, Storage};
use galen_types::{ContentRef, RecordId, RecordKey, Segment, VersionId};

use crate::{
    Contact, Custody, Error, Galen, Organization, Patient, attachment::ReaderKey, galen::joined,
    reseal::Anew,
};

/// A record that is read again and again is sealed anew once its oldest read is this many windows old.
const MOST_WINDOWS: u64 = 4;

/// Whose records a custodian sees to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose {
    /// All of the patient's chart.
    Patient,
    /// Those that this author wrote.
    Author(Address),
}

impl Whose {
    pub(crate) fn keeps(self, record: &RecordKey) -> bool {
        match self {
            Self::Patient => true,
            Self::Author(author) => record.author == author,
        }
    }

    /// Windows that are left to another keeper: where the patient's custodian works, content is sealed once.
    const fn head_start(self) -> u64 {
        match self {
            Self::Patient => 0,
            Self::Author(_) => 1,
        }
    }
}

/// What a pass needs of whoever it is for.
pub(crate) trait Keeper: Sync {
    fn galen(&self) -> &Galen;

    /// Signs announcements.
    fn account(&self) -> &Account;

    /// Whose chart it is.
    fn patient(&self) -> Address;

    fn whose(&self) -> Whose;

    /// Where new content of a segment belongs.
    fn storage(&self, segment: Segment) -> Result<&Storage, Error>;

    /// The epoch that new content is sealed under.
    fn epoch(&self) -> impl Future<Output = Result<u32, Error>> + Send;

    /// Records to move to the current epoch though nobody read them.
    fn to_move(
        &self,
        limit: usize,
        wanted: &(dyn Fn(&RecordId) -> bool + Sync),
    ) -> impl Future<Output = Result<Vec<RecordId>, Error>> + Send;

    /// Whether there is anything to seal a version anew from.
    fn has_source(&self, record: &RecordKey, version: &Version) -> Result<bool, Error>;

    /// Seals a record anew and stages it. `note` hears epoch and addresses before it gets its name on this machine.
    fn seal_anew(
        &self,
        storage: &Storage,
        record: &Record,
        note: impl FnOnce(u32, &Addresses) -> io::Result<()> + Send + 'static,
    ) -> impl Future<Output = Result<Anew, Error>> + Send;

    /// What opens content that an earlier pass sealed, if this keeper can.
    fn opens_by(&self, record: &RecordKey, epoch: u32) -> Option<ReaderKey>;

    /// The newest content of a version that makes older ones needless.
    fn newest_good(
        &self,
        record: &Record,
        version: VersionId,
    ) -> impl Future<Output = Result<Option<ContentRef>, Error>> + Send;

    /// A record of the chart.
    fn record(&self, id: RecordId) -> impl Future<Output = Result<Record, Error>> + Send {
        async move {
            let find = |chart: &Chart| chart.record(id).cloned();
            self.galen().with_chart(self.patient(), find).await?.ok_or(Error::NoRecord(id))
        }
    }
}

impl Keeper for Patient {
    fn galen(&self) -> &Galen {
        self.galen()
    }

    fn account(&self) -> &Account {
        self.account()
    }

    fn patient(&self) -> Address {
        self.id()
    }

    fn whose(&self) -> Whose {
        Whose::Patient
    }

    fn storage(&self, segment: Segment) -> Result<&Storage, Error> {
        Ok(self.galen().storage_for(self.category(segment)))
    }

    async fn epoch(&self) -> Result<u32, Error> {
        self.epoch().await
    }

    async fn to_move(
        &self,
        limit: usize,
        wanted: &(dyn Fn(&RecordId) -> bool + Sync),
    ) -> Result<Vec<RecordId>, Error> {
        self.of_older_epochs(limit, wanted).await
    }

    fn has_source(&self, _: &RecordKey, _: &Version) -> Result<bool, Error> {
        Ok(true)
    }

    async fn seal_anew(
        &self,
        storage: &Storage,
        record: &Record,
        note: impl FnOnce(u32, &Addresses) -> io::Result<()> + Send + 'static,
    ) -> Result<Anew, Error> {
        self.seal_anew(storage, record, note).await
    }

    fn opens_by(&self, record: &RecordKey, epoch: u32) -> Option<ReaderKey> {
        Some(ReaderKey::Segment(Box::new(self.segment_key(record.segment, epoch))))
    }

    async fn newest_good(
        &self,
        record: &Record,
        version: VersionId,
    ) -> Result<Option<ContentRef>, Error> {
        self.newest_that_opens(record, version).await
    }
}

/// An organization as the author of records in a patient's chart.
pub(crate) struct Author<'a> {
    pub(crate) organization: &'a Organization,
    /// With the patient's newest keys.
    pub(crate) contact: Contact,
}

impl Keeper for Author<'_> {
    fn galen(&self) -> &Galen {
        self.organization.galen()
    }

    fn account(&self) -> &Account {
        self.organization.account()
    }

    fn patient(&self) -> Address {
        self.contact.patient()
    }

    fn whose(&self) -> Whose {
        Whose::Author(self.organization.id())
    }

    fn storage(&self, segment: Segment) -> Result<&Storage, Error> {
        Ok(self.galen().storage_for(self.contact.category(segment)?))
    }

    async fn epoch(&self) -> Result<u32, Error> {
        Ok(self.contact.epoch())
    }

    /// None: a new epoch is the patient's act, and so is the move to it.
    async fn to_move(
        &self,
        _: usize,
        _: &(dyn Fn(&RecordId) -> bool + Sync),
    ) -> Result<Vec<RecordId>, Error> {
        Ok(Vec::new())
    }

    fn has_source(&self, record: &RecordKey, version: &Version) -> Result<bool, Error> {
        Ok(self.organization.copy_of(record, version)?.is_some())
    }

    async fn seal_anew(
        &self,
        storage: &Storage,
        record: &Record,
        note: impl FnOnce(u32, &Addresses) -> io::Result<()> + Send + 'static,
    ) -> Result<Anew, Error> {
        self.organization.seal_copy_anew(&self.contact, storage, record, note).await
    }

    /// Nothing: it is sealed to others.
    fn opens_by(&self, _: &RecordKey, _: u32) -> Option<ReaderKey> {
        None
    }

    /// The newest of all, if it is whole at a place that can be read from. Whether what the patient sealed opens, an
    /// author cannot see: so only while it has a copy that does, to seal anew from.
    async fn newest_good(
        &self,
        record: &Record,
        version: VersionId,
    ) -> Result<Option<ContentRef>, Error> {
        let Some(version) = record.versions.iter().find(|it| it.id == version) else {
            return Ok(None);
        };
        let Some(newest) = version.contents.last().map(|entry| entry.content) else {
            return Ok(None);
        };
        if !self.galen().is_whole(&newest).await? {
            return Ok(None);
        }
        let Some(copy) = self.organization.copy_of(&record.key, version)? else { return Ok(None) };
        let opened = tokio::task::spawn_blocking(move || copy.open_to(io::sink()).is_ok());
        Ok(joined(opened.await)?.then_some(newest))
    }
}

/// Records to be sealed anew: their newest read since they were last sealed is longer ago than the window, in seconds,
/// or their oldest is longer ago than four windows; each later by the head start.
pub(crate) async fn due(
    galen: &Galen,
    patient: Address,
    whose: Whose,
    window: u64,
) -> Result<Vec<RecordId>, Error> {
    let now = galen.time().await?;
    let is_past = |time: u64, windows: u64| {
        now > time.saturating_add(window.saturating_mul(windows + whose.head_start()))
    };
    let look = |chart: &Chart| {
        let due = unsealed_reads(chart, whose)
            .into_iter()
            .filter(|(_, (oldest, newest))| is_past(*newest, 1) || is_past(*oldest, MOST_WINDOWS));
        due.map(|(record, _)| record).collect()
    };
    galen.with_chart(patient, look).await
}

/// Whether there is content to let go of, now or some time: old content of versions that `may_go` says can be without
/// it, or any of an erased record.
pub(crate) async fn has_old(
    galen: &Galen,
    patient: Address,
    whose: Whose,
    custody: &Custody,
    may_go: impl Fn(&RecordKey, &Version) -> bool,
) -> Result<bool, Error> {
    let is_kept = |content: &ContentRef| !custody.is_released(content);
    let look = |chart: &Chart| {
        let of_erased = custody.has_erased()
            && chart.proposals().any(|proposal| {
                let (patient, author) = (proposal.event.patient, proposal.event.author);
                let mut leaves = proposal.event.leaves.iter();
                leaves.any(|leaf| {
                    let record = leaf.key(patient, author);
                    is_kept(&leaf.content) && whose.keeps(&record) && custody.is_erased(record.id())
                })
            });
        let mut records = chart.records().filter(|record| whose.keeps(&record.key));
        of_erased
            || records.any(|record| {
                let newest = usize::from(!custody.is_erased(record.key.id()));
                record.versions.iter().any(|version| {
                    let mut old = version.contents.iter().rev().skip(newest);
                    old.any(|entry| is_kept(&entry.content))
                        && (newest == 0 || may_go(&record.key, version))
                })
            })
    };
    galen.with_chart(patient, look).await
}

/// Oldest and newest time at which each record was read since it was last sealed.
pub(crate) fn unsealed_reads(chart: &Chart, whose: Whose) -> BTreeMap<RecordId, (u64, u64)> {
    let mut read: BTreeMap<RecordId, (u64, u64)> = BTreeMap::new();
    for access in chart.accesses() {
        let record = chart.record(access.event.record).filter(|record| whose.keeps(&record.key));
        let sealed = record.and_then(|record| record.current().contents.last());
        if sealed.is_some_and(|content| content.at < access.at) {
            let time = access.at.time;
            let (oldest, newest) = read.entry(access.event.record).or_insert((time, time));
            (*oldest, *newest) = (time.min(*oldest), time.max(*newest));
        }
    }
    read
}

impl Galen {
    /// Whether some place that can be read from has every byte of a content, and it looks like a sealed one.
    async fn is_whole(&self, content: &ContentRef) -> Result<bool, Error> {
        let storage = self.storage();
        let header = storage.read_range(content, 0..HEADER_LEN as u64).await;
        if !header.is_ok_and(|header| Header::parse(&header).is_ok()) {
            return Ok(false);
        }
        for place in storage.places().into_iter().filter(|place| place.readable) {
            if matches!(
                storage.check_at(content, &place.name, Depth::Whole).await?,
                Presence::Whole
            ) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
