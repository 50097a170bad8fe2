//! What a custodian does: after reads it seals content anew, and lets go of the old.
//!
//! A pass takes up what an earlier one left, seals what is due, announces it, and lets go of content that no reader
//! may come for any more. Each step is written down before it is done, so a pass may end at any moment: content
//! gets its name on this machine only after its address is in the journal, is announced only after it was read back
//! and opened, and old content goes only once newer content of the same version is named in a final block, opens
//! now, and every read that was logged before it is over. An author, who cannot open what the patient sealed, needs it
//! whole, and a copy of its own that opens.

mod journal;
mod keeper;
mod pass;

use std::collections::BTreeMap;

use alloy_primitives::Address;
use galen_chain::{Position, Sent};
use galen_index::Chart;
use galen_types::{ContentRef, RecordId};

pub use self::journal::{Custody, CustodyEntry};
pub(crate) use self::keeper::{Author, Keeper, Whose, unsealed_reads};
use self::pass::Pass;
use crate::{Contact, Error, Organization, Patient, ResealedRecord};

/// Seconds after an access in which proxies answer for it, unless they are set otherwise.
pub const ACCESS_WINDOW: u64 = 3_600;

/// Old content stays for a fourth of the window longer than the window itself: a reader that was answered in its
/// last second has yet to fetch the content.
const GRACE: u64 = 4;

/// Seconds that a block must be past a deadline before nothing signed until then is thought to land.
pub(crate) const PAST_DEADLINE: u64 = 600;

/// How a custodian works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CustodyPolicy {
    /// Seconds after an access in which its reader may come for the content. At least the window of the proxies.
    pub window: u64,
    /// Most records that one pass seals anew because they were read.
    pub reseals: usize,
    /// Most records that one pass moves to the current epoch.
    pub moves: usize,
}

impl Default for CustodyPolicy {
    fn default() -> Self {
        Self { window: ACCESS_WINDOW, reseals: 256, moves: 16 }
    }
}

/// What one pass did.
#[derive(Debug, Default)]
pub struct CustodyReport {
    /// Sealed anew and announced. The old content goes later.
    pub resealed: Vec<ResealedRecord>,
    /// Old content that every place let go of.
    pub released: Vec<(RecordId, ContentRef)>,
    /// Old content, and places that did not let go of it. They are asked again.
    pub left: Vec<(RecordId, ContentRef, Vec<String>)>,
    /// New content that was never announced and is not needed any more.
    pub dropped: Vec<ContentRef>,
    /// Old contents that still wait: for the end of a window, or for a final block.
    pub waiting: usize,
    /// Records that are due and of which this author has no copy: sealed on another machine, or while it kept none.
    pub uncopied: Vec<RecordId>,
    /// Copies of what will never count that the author removed.
    pub forgotten: usize,
    /// Records that could not be seen to. They are tried again.
    pub faults: Vec<(RecordId, Error)>,
    /// The transactions.
    pub sent: Vec<Sent>,
}

impl CustodyReport {
    /// Whether the pass changed nothing and met no fault.
    pub const fn is_quiet(&self) -> bool {
        self.resealed.is_empty()
            && self.released.is_empty()
            && self.left.is_empty()
            && self.dropped.is_empty()
            && self.faults.is_empty()
            && self.forgotten == 0
    }
}

impl Patient {
    /// Records to be sealed anew: their newest read since they were last sealed is longer ago than the window, in
    /// seconds, or their oldest is longer ago than four windows.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn due(&self, window: u64) -> Result<Vec<RecordId>, Error> {
        keeper::due(self.galen(), self.id(), Whose::Patient, window).await
    }

    /// One pass of the custodian of this patient's chart. It may be dropped at any moment, and the next one goes on.
    ///
    /// # Errors
    ///
    /// [`Error::Journal`], [`Error::Sign`], [`Error::Chain`]: the pass ends there. What concerns single records is
    /// in the report.
    pub async fn custody(
        &self,
        custody: &Custody,
        policy: &CustodyPolicy,
    ) -> Result<CustodyReport, Error> {
        Pass::run(self, custody, policy).await
    }
}

impl Organization {
    /// As [`Patient::due`], for the organization's own records in a patient's chart. An author waits one window
    /// longer: where the patient's custodian works, content is sealed once.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn due(&self, patient: Address, window: u64) -> Result<Vec<RecordId>, Error> {
        keeper::due(self.galen(), patient, Whose::Author(self.id()), window).await
    }

    /// Whether [`Organization::custody`] would find nothing to do in a patient's chart. Asks neither stores nor for the
    /// patient's keys, for who sees to many charts.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`], [`Error::Copy`].
    pub async fn is_idle(
        &self,
        patient: Address,
        custody: &Custody,
        policy: &CustodyPolicy,
    ) -> Result<bool, Error> {
        let (galen, whose) = (self.galen(), Whose::Author(self.id()));
        Ok(custody.underway().is_empty()
            && keeper::due(galen, patient, whose, policy.window).await?.is_empty()
            && !keeper::has_old(galen, patient, whose, custody, |record, version| {
                self.copy_of(record, version).is_ok_and(|copy| copy.is_some())
            })
            .await?
            && self.needless_copies(patient, |id| custody.is_erased(id)).await?.is_empty())
    }

    /// As [`Patient::custody`], for the organization's own records in a patient's chart: sealed from its own copies
    /// (see [`Organization::with_copies`]) under the patient's newest keys. It moves no records to a newer epoch that
    /// nobody read; and it removes copies of what will never count.
    ///
    /// # Errors
    ///
    /// As [`Patient::custody`]; [`Error::Copy`].
    pub async fn custody(
        &self,
        contact: &Contact,
        custody: &Custody,
        policy: &CustodyPolicy,
    ) -> Result<CustodyReport, Error> {
        let patient = contact.patient();
        let needless = self.needless_copies(patient, |id| custody.is_erased(id)).await?;
        let forgotten = self.forget_copies(patient, needless)?;
        let report = Pass::run(&self.author(contact).await?, custody, policy).await?;
        Ok(CustodyReport { forgotten, ..report })
    }

    pub(crate) async fn author(&self, contact: &Contact) -> Result<Author<'_>, Error> {
        Ok(Author { organization: self, contact: self.refreshed(contact).await? })
    }
}

/// Whether the window of every read before a place on the chain is over, and its grace.
pub(crate) fn are_over(reads: &[Position], before: Position, now: u64, window: u64) -> bool {
    let window = window.saturating_add(window / GRACE);
    let mut earlier = reads.iter().filter(|read| **read < before);
    earlier.all(|read| now > read.time.saturating_add(window))
}

/// When each record was read.
pub(crate) fn reads(chart: &Chart) -> BTreeMap<RecordId, Vec<Position>> {
    let mut reads: BTreeMap<RecordId, Vec<Position>> = BTreeMap::new();
    for access in chart.accesses() {
        reads.entry(access.event.record).or_default().push(access.at);
    }
    reads
}
