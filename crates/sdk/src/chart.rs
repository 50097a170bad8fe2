//! The patient's own chart as a list: every version that was ever proposed, and what became of it.

use std::collections::BTreeMap;

use galen_chain::{LedgerEvent, Position};
use galen_index::{Chart, LeafState, Proposal, Record, Version, VoidReason};
use galen_types::{ContentRef, LeafKind, ProposalId, RecordKey, VersionId};

use crate::{Contact, Error, Organization, Patient};

/// What became of a proposed version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VersionState {
    /// Nobody has answered.
    Unconfirmed,
    /// Nobody has answered in the author's time: nobody can any more.
    Expired,
    /// The author took the proposal back before an answer.
    Withdrawn,
    /// The version of its record that stands.
    Current,
    /// Accepted, and a later version stands.
    Superseded,
    /// The record is retracted: author and patient agree that it should not have been.
    Retracted,
    /// It stands, but its author wanted it retracted and the patient refused.
    Disowned,
    /// The patient rejected it.
    Rejected,
    /// The patient accepted it and it does not count.
    Void(VoidReason),
}

impl VersionState {
    /// The word for machines: stable, lowercase.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unconfirmed => "unconfirmed",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Current => "current",
            Self::Superseded => "superseded",
            Self::Retracted => "retracted",
            Self::Disowned => "disowned",
            Self::Rejected => "rejected",
            Self::Void(VoidReason::Withdrawn) => "void-withdrawn",
            Self::Void(VoidReason::NumberTaken) => "void-number-taken",
            Self::Void(VoidReason::NotCurrent) => "void-not-current",
            Self::Void(VoidReason::Retracted) => "void-retracted",
            Self::Void(VoidReason::PolicyDiffers) => "void-policy-differs",
        }
    }
}

/// One proposed version of a record.
#[derive(Clone, Debug)]
pub struct RecordEntry {
    /// The record, its author among it.
    pub record: RecordKey,
    /// Index of the category that its segment stands for.
    pub category: u8,
    /// Name of the version.
    pub version: VersionId,
    /// Whether it is new, an amendment or a retraction.
    pub kind: LeafKind,
    /// What became of it.
    pub state: VersionState,
    /// The proposal, and the index of the leaf in it.
    pub proposal: (ProposalId, usize),
    /// Where it was announced.
    pub proposed: Position,
    /// Where it was answered; whether that is final is for the caller to say.
    pub answered: Option<Position>,
    /// Where its sealed content lies, newest last.
    pub contents: Vec<ContentRef>,
}

impl Patient {
    /// Every version that was ever proposed, in the order of the chain.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn records(&self) -> Result<Vec<RecordEntry>, Error> {
        let time = self.galen().time().await?;
        let mut entries = self.galen().with_chart(self.id(), |chart| entries(chart, time)).await?;
        let map = self.keys().segment_map();
        for entry in &mut entries {
            entry.category = map.category(entry.record.segment);
        }
        Ok(entries)
    }
}

impl Organization {
    /// Every version that this organization ever proposed to a patient, in the order of the chain.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`]; [`Error::NoSegment`] for a record in a segment that the patient did not name.
    pub async fn records(&self, contact: &Contact) -> Result<Vec<RecordEntry>, Error> {
        let time = self.galen().time().await?;
        let all = |chart: &Chart| entries(chart, time);
        let mut entries = self.galen().with_chart(contact.patient(), all).await?;
        entries.retain(|entry| entry.record.author == self.id());
        for entry in &mut entries {
            entry.category = contact.category(entry.record.segment)?;
        }
        Ok(entries)
    }
}

fn entries(chart: &Chart, time: u64) -> Vec<RecordEntry> {
    let answers = answers(chart);
    let mut entries = Vec::new();
    for proposal in chart.proposals() {
        let event = &proposal.event;
        for (index, (leaf, state)) in event.leaves.iter().zip(&proposal.states).enumerate() {
            let key = leaf.key(event.patient, event.author);
            let record = chart.record(key.id());
            let version = record.and_then(|record| {
                record.versions.iter().find(|version| {
                    version.proposal == event.proposal && version.id == leaf.version()
                })
            });
            let contents = version.map_or_else(
                || vec![leaf.content],
                |version| version.contents.iter().map(|entry| entry.content).collect(),
            );
            entries.push(RecordEntry {
                record: key,
                category: 0,
                version: leaf.version(),
                kind: leaf.kind,
                state: version_state(proposal, *state, record.zip(version), time),
                proposal: (event.proposal, index),
                proposed: proposal.announced,
                answered: answers.get(&(event.proposal, index)).copied(),
                contents,
            });
        }
    }
    entries
}

fn version_state(
    proposal: &Proposal,
    leaf: LeafState,
    found: Option<(&Record, &Version)>,
    time: u64,
) -> VersionState {
    match (leaf, found) {
        (LeafState::Unconfirmed, _) if proposal.withdrawn => VersionState::Withdrawn,
        (LeafState::Unconfirmed, _) if time > proposal.event.deadline => VersionState::Expired,
        (LeafState::Unconfirmed, _) => VersionState::Unconfirmed,
        (LeafState::Rejected, _) => VersionState::Rejected,
        (LeafState::Void(reason), _) => VersionState::Void(reason),
        (LeafState::Accepted, Some((record, _))) if record.is_retracted() => {
            VersionState::Retracted
        }
        (LeafState::Accepted, Some((record, version))) if record.current().id == version.id => {
            if record.disowned {
                VersionState::Disowned
            } else {
                VersionState::Current
            }
        }
        (LeafState::Accepted, _) => VersionState::Superseded,
    }
}

/// Where each leaf was first answered.
pub(crate) fn answers(chart: &Chart) -> BTreeMap<(ProposalId, usize), Position> {
    let mut answers = BTreeMap::new();
    for stamped in chart.events() {
        let LedgerEvent::Settled(event) = &stamped.event else { continue };
        let both = event.accepted | event.rejected;
        for index in (0..256).filter(|index| both.bit(*index)) {
            answers.entry((event.proposal, index)).or_insert(stamped.at);
        }
    }
    answers
}
