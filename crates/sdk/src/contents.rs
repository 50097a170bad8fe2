//! Which content the chain names for a chart, and which of it nobody needs any more.
//!
//! Readers try the contents of a version from the newest and fall back to older ones. So content that was sealed
//! anew may go only once a newer one was seen to open, or comes from whoever lets the old one go. Who holds a key
//! finds out ([`Patient::removable`]); an author, who cannot open what it sealed, goes by its own signature
//! ([`Organization::removable`]).

use std::collections::{BTreeMap, HashMap, btree_map::Entry};

use alloy_primitives::Address;
use galen_chain::{LedgerEvent, Position};
use galen_index::{Chart, ContentEntry, LeafState, Proposal, Record, Version, View, VoidReason};
use galen_types::{ContentRef, RecordId, RecordKey, VersionId};

use crate::{
    ACCESS_WINDOW, Contact, Error, Galen, Organization, Patient,
    chart::answers,
    custodian::{are_over, reads},
};

/// A record, whether accepted or only proposed, and all content that the chain names for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordContent {
    /// The record.
    pub record: RecordKey,
    /// In the order of the chain.
    pub contents: Vec<NamedContent>,
}

/// One content that the chain names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedContent {
    /// Where it lies.
    pub content: ContentRef,
    /// The version of the record that it is of.
    pub version: VersionId,
    /// Since when the chain names it.
    pub since: Position,
    /// Who signed that: the author, the patient, or a delegate of the patient.
    pub by: Address,
    /// What it is to readers.
    pub standing: ContentStanding,
    /// Whether another version, record or key bundle of this ledger needs the same content.
    pub shared: bool,
    /// Whether the block that decided the standing is final: that which names the content or, for a version that
    /// does not count, that of the answer or the withdrawal.
    pub is_final: bool,
}

impl NamedContent {
    /// Whether somebody may need it, as far as the chain alone tells.
    pub const fn is_needed(&self) -> bool {
        self.shared || self.standing.is_needed()
    }
}

/// What named content is to readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContentStanding {
    /// The newest of a version that counts. An amended version counts too: it is the history.
    Current,
    /// Sealed anew since. Readers fall back on it while nothing newer opens.
    Resealed,
    /// Of a version that waits for the patient's answer.
    Waiting,
    /// The patient rejected the version.
    Rejected,
    /// The author took the version back.
    Withdrawn,
    /// Nobody can answer any more.
    Expired,
    /// The patient accepted the version and it does not count.
    Void(VoidReason),
}

impl ContentStanding {
    /// The word for machines: stable, lowercase.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Resealed => "resealed",
            Self::Waiting => "waiting",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
            Self::Void(_) => "void",
        }
    }

    pub(crate) const fn is_needed(self) -> bool {
        matches!(self, Self::Current | Self::Resealed | Self::Waiting)
    }
}

impl Galen {
    /// Every content that the chain names for a patient's records, by record id.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn contents(&self, patient: Address) -> Result<Vec<RecordContent>, Error> {
        let time = self.time().await?;
        self.with_view(|view| {
            let mut contents =
                view.chart(patient).map_or_else(Vec::new, |it| named(view, it, time));
            let uses = uses(view, time);
            for one in contents.iter_mut().flat_map(|record| &mut record.contents) {
                let own = usize::from(one.standing.is_needed());
                one.shared = uses.get(&one.content).is_some_and(|uses| *uses > own);
            }
            contents
        })
        .await
    }
}

impl Patient {
    /// Content of the patient's chart that nobody needs: of versions that will never count, and what was sealed
    /// anew, as far as newer content was fetched and opened just now. What is not final yet is not in the list, nor
    /// what somebody may come for who read the record less than [`ACCESS_WINDOW`](crate::ACCESS_WINDOW) ago.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`]. Content that cannot be had or does not open only makes the list shorter.
    pub async fn removable(&self) -> Result<Vec<(RecordId, NamedContent)>, Error> {
        let contents = self.galen().contents(self.id()).await?;
        let reads = self.galen().reads_of(self.id()).await?;
        let mut opening: BTreeMap<VersionId, Option<ContentRef>> = BTreeMap::new();
        let mut removable = Vec::new();
        for RecordContent { record, contents } in contents {
            for one in contents.iter().filter(|one| !one.shared) {
                let goes = match one.standing {
                    ContentStanding::Resealed if !reads.are_over(&record.id(), &contents, one) => {
                        false
                    }
                    ContentStanding::Resealed => {
                        let newest = match opening.entry(one.version) {
                            Entry::Occupied(found) => *found.get(),
                            Entry::Vacant(place) => {
                                let record = self.record(record.id()).await?;
                                *place.insert(self.newest_that_opens(&record, one.version).await?)
                            }
                        };
                        newest.is_some_and(|newest| follows(&contents, one, newest))
                    }
                    standing => one.is_final && !standing.is_needed(),
                };
                if goes {
                    removable.push((record.id(), *one));
                }
            }
        }
        Ok(removable)
    }

    /// The newest content of a version that opens, if any can be had.
    pub(crate) async fn newest_that_opens(
        &self,
        record: &Record,
        version: VersionId,
    ) -> Result<Option<ContentRef>, Error> {
        let Some(version) = record.versions.iter().find(|it| it.id == version) else {
            return Ok(None);
        };
        let key = self.identity_key();
        Ok(self.galen().find_stream(&record.key, version, &key).await.ok().map(|found| found.0))
    }
}

impl Organization {
    /// Content of the organization's own records in a patient's chart that nobody needs: of versions that will
    /// never count, and what the organization itself has sealed anew.
    ///
    /// What is not final yet is not in the list, nor what a late reader may come for, nor what the patient has sealed
    /// anew: the organization cannot see whether that opens, and what it keeps is what readers would fall back on.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn removable(
        &self,
        contact: &Contact,
    ) -> Result<Vec<(RecordId, NamedContent)>, Error> {
        let mut removable = Vec::new();
        let reads = self.galen().reads_of(contact.patient()).await?;
        for RecordContent { record, contents } in self.galen().contents(contact.patient()).await? {
            if record.author != self.id() {
                continue;
            }
            for one in contents.iter().filter(|one| !one.shared) {
                let own = contents.iter().rev().find(|it| {
                    it.version == one.version && it.standing.is_needed() && it.by == self.id()
                });
                let goes = match one.standing {
                    ContentStanding::Resealed if !reads.are_over(&record.id(), &contents, one) => {
                        false
                    }
                    ContentStanding::Resealed => {
                        own.is_some_and(|own| follows(&contents, one, own.content))
                    }
                    standing => one.is_final && !standing.is_needed(),
                };
                if goes {
                    removable.push((record.id(), *one));
                }
            }
        }
        Ok(removable)
    }
}

/// When the records of a chart were read, and what time it is.
struct Reads {
    now: u64,
    reads: BTreeMap<RecordId, Vec<Position>>,
}

impl Galen {
    async fn reads_of(&self, patient: Address) -> Result<Reads, Error> {
        let now = self.time().await?;
        Ok(Reads { now, reads: self.with_chart(patient, reads).await? })
    }
}

impl Reads {
    /// Whether every read is over that was logged before the newest content of the version.
    fn are_over(&self, record: &RecordId, contents: &[NamedContent], one: &NamedContent) -> bool {
        let Some(reads) = self.reads.get(record) else { return true };
        let newest = contents.iter().rev().find(|it| it.version == one.version);
        newest.is_none_or(|newest| are_over(reads, newest.since, self.now, ACCESS_WINDOW))
    }
}

/// Whether a content of the same version was named after this one, in a block that stays.
fn follows(contents: &[NamedContent], one: &NamedContent, newer: ContentRef) -> bool {
    let place =
        |content| contents.iter().position(|it| it.version == one.version && it.content == content);
    let newer = place(newer);
    place(one.content) < newer && newer.is_some_and(|newer| contents[newer].is_final)
}

/// How often each content is needed, whosever it is. Whoever names the content of others in a leaf of its own does
/// not get it removed by having the leaf rejected.
fn uses(view: &View, time: u64) -> HashMap<ContentRef, usize> {
    let mut uses = HashMap::new();
    let mut count = |content: ContentRef| *uses.entry(content).or_default() += 1;
    for (_, chart) in view.charts() {
        chart.keys().iter().for_each(|entry| count(entry.content));
        let all = named(view, chart, time);
        let all = all.iter().flat_map(|record| &record.contents);
        all.filter(|one| one.standing.is_needed()).for_each(|one| count(one.content));
    }
    uses
}

pub(crate) fn named(view: &View, chart: &Chart, time: u64) -> Vec<RecordContent> {
    let (signers, answers) = (signers(chart), answers(chart));
    let is_final = |at: Position| view.confirmed(at.block).is_final();
    let mut records: BTreeMap<RecordId, RecordContent> = BTreeMap::new();
    for proposal in chart.proposals() {
        let event = &proposal.event;
        for (index, (leaf, state)) in event.leaves.iter().zip(&proposal.states).enumerate() {
            let key = leaf.key(event.patient, event.author);
            let entry = records.entry(key.id());
            let found =
                entry.or_insert_with(|| RecordContent { record: key, contents: Vec::new() });
            let version = chart.record(key.id()).and_then(|record| {
                let mut versions = record.versions.iter();
                versions.find(|it| it.proposal == event.proposal && it.id == leaf.version())
            });
            match version {
                Some(version) if *state == LeafState::Accepted => {
                    found.contents.extend(of_version(version, &key, &signers, is_final));
                }
                _ => {
                    let standing = standing(proposal, *state, time);
                    let answered = answers.get(&(event.proposal, index)).copied();
                    let decided = match standing {
                        ContentStanding::Withdrawn => withdrawn(chart, proposal),
                        _ => answered,
                    };
                    found.contents.push(NamedContent {
                        content: leaf.content,
                        version: leaf.version(),
                        since: proposal.announced,
                        by: event.author,
                        standing,
                        shared: false,
                        is_final: is_final(decided.unwrap_or(proposal.announced)),
                    });
                }
            }
        }
    }
    records.into_values().collect()
}

/// Contents of a version that counts.
fn of_version(
    version: &Version,
    key: &RecordKey,
    signers: &BTreeMap<(RecordId, ContentRef), Address>,
    is_final: impl Fn(Position) -> bool,
) -> impl Iterator<Item = NamedContent> {
    let last = version.contents.len() - 1;
    let named = move |(place, entry): (usize, &ContentEntry)| {
        let signer = signers.get(&(key.id(), entry.content)).copied();
        let is_last = place == last;
        NamedContent {
            content: entry.content,
            version: version.id,
            since: entry.at,
            by: if place == 0 { key.author } else { signer.unwrap_or(key.patient) },
            standing: if is_last { ContentStanding::Current } else { ContentStanding::Resealed },
            shared: false,
            is_final: is_final(entry.at),
        }
    };
    version.contents.iter().enumerate().map(named)
}

/// What content of a version is that does not count, or not yet.
fn standing(proposal: &Proposal, state: LeafState, time: u64) -> ContentStanding {
    match state {
        LeafState::Unconfirmed if proposal.withdrawn => ContentStanding::Withdrawn,
        LeafState::Unconfirmed if time > proposal.event.deadline => ContentStanding::Expired,
        LeafState::Unconfirmed | LeafState::Accepted => ContentStanding::Waiting,
        LeafState::Rejected => ContentStanding::Rejected,
        LeafState::Void(reason) => ContentStanding::Void(reason),
    }
}

/// Where the author took a proposal back.
fn withdrawn(chart: &Chart, proposal: &Proposal) -> Option<Position> {
    let own = |event: &LedgerEvent| match event {
        LedgerEvent::Withdrawn { author, proposal: id, .. } => {
            (*author, *id) == (proposal.event.author, proposal.event.proposal)
        }
        _ => false,
    };
    chart.events().iter().find(|stamped| own(&stamped.event)).map(|stamped| stamped.at)
}

/// Who first announced a content by a reseal.
fn signers(chart: &Chart) -> BTreeMap<(RecordId, ContentRef), Address> {
    let mut signers = BTreeMap::new();
    for stamped in chart.events() {
        if let LedgerEvent::Resealed(event) = &stamped.event {
            signers.entry((event.record, event.content)).or_insert(event.signer);
        }
    }
    signers
}
