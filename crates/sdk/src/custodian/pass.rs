//! One pass: what was under way, what is due, what is old.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use alloy_primitives::Address;
use galen_chain::Position;
use galen_crypto::Manifest;
use galen_index::{Chart, Record, Version, View};
use galen_storage::Addresses;
use galen_types::{ContentRef, ErrorKind, RecordId, RecordKey, VersionId};

use super::{
    Custody, CustodyEntry, CustodyPolicy, CustodyReport, Keeper, PAST_DEADLINE, Whose, are_over,
    journal::Underway, keeper, reads,
};
use crate::{
    ContentStanding, Error, Galen, NamedContent, RecordContent, ResealedRecord,
    attachment::ReaderKey,
    batch::publish_all,
    reseal::{Anew, MAX_RESEALS},
};

/// Most contents that one pass lets go of.
const MAX_RELEASES: usize = 256;

/// New content that lies staged and is to be announced.
struct Ready {
    record: Record,
    before: ContentRef,
    after: ContentRef,
    /// What opens it, unless it was opened before.
    opens_by: Option<ReaderKey>,
    /// What it was made from, where this pass made it.
    opens_to: Option<Manifest>,
}

/// What the ledger says of content that is under way.
enum Found {
    /// It names it, in a final block or not.
    Named { is_final: bool },
    /// It names it not yet, and the record is as it was.
    Wanted(Box<Record>),
    /// The record has moved on.
    Stale,
}

/// One pass over one chart.
pub(super) struct Pass<'a, K> {
    keeper: &'a K,
    custody: &'a Custody,
    policy: &'a CustodyPolicy,
    report: CustodyReport,
}

impl<'a, K: Keeper> Pass<'a, K> {
    pub(super) async fn run(
        keeper: &'a K,
        custody: &'a Custody,
        policy: &'a CustodyPolicy,
    ) -> Result<CustodyReport, Error> {
        let mut pass = Self { keeper, custody, policy, report: CustodyReport::default() };
        let taken_up = pass.take_up().await?;
        pass.announce(taken_up).await?;
        let sealed = pass.seal_due().await?;
        pass.announce(sealed).await?;
        pass.confirm().await?;
        pass.let_go().await?;
        Ok(pass.report)
    }

    fn chart(&self) -> (&Galen, Address, Whose) {
        (self.keeper.galen(), self.keeper.patient(), self.keeper.whose())
    }

    fn note(&self, entry: &CustodyEntry) -> Result<(), Error> {
        self.custody.note(entry).map_err(Error::Journal)
    }

    fn fault(&mut self, record: RecordId, error: Error) {
        self.report.faults.push((record, error));
    }

    /// What earlier passes sealed and did not see announced.
    async fn take_up(&mut self) -> Result<Vec<Ready>, Error> {
        let head = self.keeper.galen().ledger().now().await?;
        let current = self.keeper.epoch().await?;
        let mut ready = Vec::new();
        for (underway, found) in self.look_up().await? {
            let Underway { record: id, before, after, epoch, until, .. } = underway;
            let is_erased = self.custody.is_erased(id);
            match found {
                Found::Named { is_final: true } => {
                    self.note(&CustodyEntry::Announced { content: after })?
                }
                Found::Named { is_final: false } => {}
                Found::Wanted(record) if !is_erased && epoch == current => {
                    let opens_by = self.keeper.opens_by(&record.key, epoch);
                    // What was to be announced was opened before; what was not, must be opened now.
                    if opens_by.is_some() || until > 0 {
                        let record = *record;
                        ready.push(Ready { record, before, after, opens_by, opens_to: None });
                    } else {
                        self.drop_content(id, after).await?;
                    }
                }
                // A block may still name it as long as what was signed for it holds.
                _ if until > 0 && head <= until.saturating_add(PAST_DEADLINE) => {}
                _ => self.drop_content(id, after).await?,
            }
        }
        Ok(ready)
    }

    /// What the ledger says of everything that is under way.
    async fn look_up(&self) -> Result<Vec<(Underway, Found)>, Error> {
        let (underway, patient) = (self.custody.underway(), self.keeper.patient());
        let look = |view: &View| {
            let nothing = Chart::default();
            let chart = view.chart(patient).unwrap_or(&nothing);
            let found = underway.into_iter().map(|one| (one, found(view, chart, &one)));
            found.collect()
        };
        self.keeper.galen().with_view(look).await
    }

    /// What a final block names is under way no longer.
    async fn confirm(&self) -> Result<(), Error> {
        for (Underway { after: content, .. }, found) in self.look_up().await? {
            if matches!(found, Found::Named { is_final: true }) {
                self.note(&CustodyEntry::Announced { content })?;
            }
        }
        Ok(())
    }

    /// New content that will not be announced goes from wherever it came to.
    async fn drop_content(&mut self, record: RecordId, content: ContentRef) -> Result<(), Error> {
        let left = self.release(&content).await?;
        if left.is_empty() {
            self.note(&CustodyEntry::Released { content })?;
            self.report.dropped.push(content);
        } else {
            self.report.left.push((record, content, left));
        }
        Ok(())
    }

    async fn release(&self, content: &ContentRef) -> Result<Vec<String>, Error> {
        let galen = self.keeper.galen();
        let left = galen.release(content).await;
        galen.storage().unstage(content).await?;
        Ok(left)
    }

    /// Seals and stages what was read, and some of what lies under an older epoch.
    async fn seal_due(&mut self) -> Result<Vec<Ready>, Error> {
        let busy: BTreeSet<RecordId> =
            self.custody.underway().iter().map(|one| one.record).collect();
        let is_free = |id: &RecordId| !busy.contains(id) && !self.custody.is_erased(*id);
        let mut due = Vec::new();
        let (galen, patient, whose) = self.chart();
        let wanted = keeper::due(galen, patient, whose, self.policy.window).await?;
        let find = |chart: &Chart| -> Vec<Record> {
            let free = wanted.iter().filter(|id| is_free(id));
            free.filter_map(|id| chart.record(*id).cloned()).collect()
        };
        for record in galen.with_chart(patient, find).await? {
            let id = record.key.id();
            match self.keeper.has_source(&record.key, record.current()) {
                Ok(true) => due.push(id),
                Ok(false) => self.report.uncopied.push(id),
                Err(error) => self.fault(id, error),
            }
        }
        due.truncate(self.policy.reseals);
        let mut moved = self.keeper.to_move(self.policy.moves, &is_free).await?;
        moved.retain(|id| !due.contains(id));
        due.extend(moved);
        let mut ready = Vec::new();
        for id in due {
            match self.seal_one(id).await {
                Ok(one) => ready.push(one),
                // The store that was to tell the journal says so in words of its own.
                Err(error) => match self.custody.broken() {
                    Some(broken) => return Err(Error::Journal(broken)),
                    None => self.fault(id, error),
                },
            }
        }
        Ok(ready)
    }

    async fn seal_one(&self, id: RecordId) -> Result<Ready, Error> {
        let record = self.keeper.record(id).await?;
        let newest = record.current().contents.last().ok_or(Error::NoRecord(id))?.content;
        let storage = self.keeper.storage(record.key.segment)?;
        let (custody, kind, version) =
            (self.custody.clone(), storage.address_kind(), record.current().id);
        let note = move |epoch: u32, after: &Addresses| -> io::Result<()> {
            let (before, after) = (newest, after.of(kind));
            custody.note(&CustodyEntry::Sealed { record: id, version, before, after, epoch })
        };
        let Anew { after, opens_to, opens_by, .. } =
            self.keeper.seal_anew(storage, &record, note).await?;
        let (opens_by, opens_to) = (Some(opens_by), Some(opens_to));
        Ok(Ready { record, before: newest, after, opens_by, opens_to })
    }

    /// Sends new content to where it belongs, reads it back, opens it, and announces it.
    async fn announce(&mut self, ready: Vec<Ready>) -> Result<(), Error> {
        let galen = self.keeper.galen();
        let store = |one: &Ready| self.keeper.storage(one.record.key.segment).cloned();
        let staged = ready.iter().map(|one| Ok((store(one)?, one.after)));
        let published = publish_all(staged.collect::<Result<Vec<_>, Error>>()?).await?;
        let mut by_author: BTreeMap<Address, Vec<Ready>> = BTreeMap::new();
        for (one, published) in ready.into_iter().zip(published) {
            let id = one.record.key.id();
            let checked = match published {
                Ok(_) => {
                    let (key, opens_to) = (one.opens_by.clone(), one.opens_to.as_ref());
                    let (storage, record) = (store(&one)?, &one.record);
                    galen.require_readable(&storage, record, one.after, key, opens_to).await
                }
                Err(error) => Err(error.into()),
            };
            match checked {
                Ok(()) => by_author.entry(one.record.key.author).or_default().push(one),
                // It is not what was sealed, or is nowhere: the record is sealed again.
                Err(error) if is_lost(&error) => {
                    self.drop_content(id, one.after).await?;
                    // An earlier pass ended before it had a name here: nobody's fault.
                    if one.opens_to.is_some() || error.kind() != ErrorKind::NotFound {
                        self.fault(id, error);
                    }
                }
                Err(error) => self.fault(id, error),
            }
        }
        for (author, ready) in by_author {
            for batch in ready.chunks(MAX_RESEALS) {
                self.announce_batch(author, batch).await?;
            }
        }
        Ok(())
    }

    async fn announce_batch(&mut self, author: Address, batch: &[Ready]) -> Result<(), Error> {
        let galen = self.keeper.galen();
        let deadline = galen.deadline().await?;
        let contents = batch.iter().map(|one| one.after).collect();
        self.note(&CustodyEntry::Announcing { contents, deadline })?;
        let item = |one: &Ready| (one.record.key, one.after, one.before);
        let items: Vec<(RecordKey, ContentRef, ContentRef)> = batch.iter().map(item).collect();
        let (account, id) = (self.keeper.account(), self.keeper.patient());
        match galen.ledger().reseal(account, id, author, &items, deadline).await {
            Ok(sent) => self.report.sent.push(sent),
            // Nobody signs or nobody answers: neither will for the others.
            Err(error) if matches!(error.kind(), ErrorKind::Declined | ErrorKind::Unavailable) => {
                return Err(error.into());
            }
            Err(error) => {
                let mut error = Some(Error::from(error));
                for (key, ..) in items {
                    let error = error
                        .take()
                        .unwrap_or(Error::Invalid("it was to be announced with another"));
                    self.fault(key.id(), error);
                }
                return Ok(());
            }
        }
        let resealed = items.iter().map(|(key, after, before)| ResealedRecord {
            record: key.id(),
            before: *before,
            after: *after,
            left_at: Vec::new(),
        });
        self.report.resealed.extend(resealed);
        Ok(())
    }

    /// Lets go of old content that no reader may come for, and of what was erased.
    async fn let_go(&mut self) -> Result<(), Error> {
        let (galen, patient, whose) = self.chart();
        // To list contents takes a look at every chart of the ledger.
        let may_go = |record: &RecordKey, version: &Version| {
            self.keeper.has_source(record, version).is_ok_and(|has| has)
        };
        if !keeper::has_old(galen, patient, whose, self.custody, may_go).await? {
            return Ok(());
        }
        let now = galen.time().await?;
        let reads = galen.with_chart(patient, reads).await?;
        let contents = galen.contents(patient).await?;
        let mut room = MAX_RELEASES;
        for RecordContent { record, contents } in contents.into_iter() {
            let id = record.id();
            if !whose.keeps(&record) {
                continue;
            }
            let is_erased = self.custody.is_erased(id);
            let nothing = Vec::new();
            let reads = reads.get(&id).unwrap_or(&nothing);
            let mut opening: BTreeMap<VersionId, Option<NamedContent>> = BTreeMap::new();
            for one in contents.iter().filter(|one| !one.shared) {
                let is_old = one.standing == ContentStanding::Resealed;
                if room == 0 || !(is_old || is_erased) || self.custody.is_released(&one.content) {
                    continue;
                }
                if !is_erased && !self.is_over(one, &contents, reads, now, &mut opening, id).await?
                {
                    self.report.waiting += 1;
                    continue;
                }
                room -= 1;
                self.let_go_of(id, one.content).await?;
            }
        }
        Ok(())
    }

    async fn let_go_of(&mut self, record: RecordId, content: ContentRef) -> Result<(), Error> {
        let left = self.release(&content).await?;
        if left.is_empty() {
            self.note(&CustodyEntry::Released { content })?;
            self.report.released.push((record, content));
        } else {
            self.report.left.push((record, content, left));
        }
        Ok(())
    }

    /// Whether newer content took the place of old content for good.
    async fn is_over(
        &self,
        old: &NamedContent,
        contents: &[NamedContent],
        reads: &[Position],
        now: u64,
        opening: &mut BTreeMap<VersionId, Option<NamedContent>>,
        record: RecordId,
    ) -> Result<bool, Error> {
        let of_version = || contents.iter().filter(|one| one.version == old.version);
        // Without any read that could count the content need not be opened for an answer.
        let newest = of_version().next_back();
        if !newest.is_some_and(|newest| newest.is_final && self.are_over(reads, newest.since, now))
        {
            return Ok(false);
        }
        let newest = match opening.get(&old.version) {
            Some(known) => *known,
            None => {
                let record = self.keeper.record(record).await?;
                let found = self.keeper.newest_good(&record, old.version).await?;
                let found = of_version().find(|one| Some(one.content) == found).copied();
                opening.insert(old.version, found);
                found
            }
        };
        Ok(newest.is_some_and(|newest| {
            newest.is_final && old.since < newest.since && self.are_over(reads, newest.since, now)
        }))
    }

    fn are_over(&self, reads: &[Position], before: Position, now: u64) -> bool {
        are_over(reads, before, now, self.policy.window)
    }
}

/// Whether content must be made again.
fn is_lost(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Integrity | ErrorKind::NotFound)
        && !matches!(error, Error::Chain(_))
}

fn found(view: &View, chart: &Chart, underway: &Underway) -> Found {
    let Some(record) = chart.record(underway.record) else { return Found::Stale };
    let mut named = record.versions.iter().flat_map(|version| &version.contents);
    if let Some(entry) = named.find(|entry| entry.content == underway.after) {
        return Found::Named { is_final: view.confirmed(entry.at.block).is_final() };
    }
    let current = record.current();
    let newest = current.contents.last().map(|entry| entry.content);
    if current.id == underway.version && newest == Some(underway.before) {
        Found::Wanted(Box::new(record.clone()))
    } else {
        Found::Stale
    }
}
