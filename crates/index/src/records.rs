//! Records: which proposals count, which versions stand, where their content lies.

use std::collections::{BTreeMap, HashMap, HashSet};

use alloy_primitives::{Address, B256};
use galen_chain::{Position, ProposedEvent, ResealedEvent, SettledEvent};
use galen_types::{ContentRef, Leaf, LeafKind, ProposalId, RecordId, RecordKey, VersionId};

/// Why an accepted leaf does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VoidReason {
    /// The author had withdrawn the proposal.
    Withdrawn,
    /// A new record whose number is taken.
    NumberTaken,
    /// A successor of a version that does not stand, or no longer stands last.
    NotCurrent,
    /// Nothing follows an accepted retraction.
    Retracted,
    /// A successor under another policy than its predecessor's.
    PolicyDiffers,
}

/// What became of one leaf of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeafState {
    /// Nobody has answered. Shown as unconfirmed.
    Unconfirmed,
    /// The patient accepted it and it counts.
    Accepted,
    /// The patient rejected it.
    Rejected,
    /// The patient accepted it and it does not count.
    Void(VoidReason),
}

/// A proposal and what became of its leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// As announced.
    pub event: ProposedEvent,
    /// Where it was first announced.
    pub announced: Position,
    /// One state for each leaf.
    pub states: Vec<LeafState>,
    /// Whether the author took it back.
    pub withdrawn: bool,
}

impl Proposal {
    /// Whether a leaf still waits for an answer that would count.
    pub fn is_open(&self) -> bool {
        !self.withdrawn && self.states.contains(&LeafState::Unconfirmed)
    }
}

/// One place where the sealed content of a version lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentEntry {
    /// Where.
    pub content: ContentRef,
    /// Since when.
    pub at: Position,
}

/// A version that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its name.
    pub id: VersionId,
    /// As proposed.
    pub leaf: Leaf,
    /// The proposal that brought it.
    pub proposal: ProposalId,
    /// The policy that its successors need too.
    pub policy: B256,
    /// Where it was accepted: the later of announcement and settlement.
    pub accepted: Position,
    /// Where the content lies, oldest first. A later one counts if it opens to the commitment;
    /// readers try from the end.
    pub contents: Vec<ContentEntry>,
}

/// A record: its versions that count, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Preimage of the record's id.
    pub key: RecordKey,
    /// Never empty.
    pub versions: Vec<Version>,
    /// The author retracted it and the patient refused: shown as disowned.
    pub disowned: bool,
}

impl Record {
    /// The version that stands.
    pub fn current(&self) -> &Version {
        self.versions.last().expect("a record has a version from the start")
    }

    /// Whether the author retracted it and the patient agreed.
    pub fn is_retracted(&self) -> bool {
        self.current().leaf.kind == LeafKind::Retraction
    }
}

/// The records of one chart.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Records {
    pub(crate) proposals: BTreeMap<ProposalId, Proposal>,
    pub(crate) records: BTreeMap<RecordId, Record>,
    /// Order of announcement, for inboxes.
    pub(crate) order: Vec<ProposalId>,
    /// Newest version of a record that has content of a digest, by its place in the record.
    holders: HashMap<(RecordId, B256), usize>,
    /// Content that a version has, so that none is listed twice.
    held: HashSet<(RecordId, usize, ContentRef)>,
    early_settlements: HashMap<ProposalId, Vec<SettledEvent>>,
    withdrawals: HashSet<(Address, ProposalId)>,
}

impl Records {
    /// The first announcement of a proposal counts. A settlement may have come before it.
    pub(crate) fn proposed(&mut self, at: Position, event: &ProposedEvent) {
        let id = event.proposal;
        if self.proposals.contains_key(&id) {
            return;
        }
        let withdrawn = self.withdrawals.contains(&(event.author, id));
        let states = vec![LeafState::Unconfirmed; event.leaves.len()];
        let proposal = Proposal { event: event.clone(), announced: at, states, withdrawn };
        self.proposals.insert(id, proposal);
        self.order.push(id);
        for settlement in self.early_settlements.remove(&id).unwrap_or_default() {
            self.settled(at, &settlement);
        }
    }

    /// Only the author of a proposal can withdraw it; anybody can emit the event under its own name.
    /// A settlement that came before stands.
    pub(crate) fn withdrawn(&mut self, author: Address, id: ProposalId) {
        match self.proposals.get_mut(&id) {
            Some(proposal) if proposal.event.author == author => proposal.withdrawn = true,
            Some(_) => {}
            // What was settled before is settled, even if it is announced only later.
            None if self.early_settlements.contains_key(&id) => {}
            None => {
                self.withdrawals.insert((author, id));
            }
        }
    }

    /// The first answer for each leaf counts.
    pub(crate) fn settled(&mut self, at: Position, event: &SettledEvent) {
        let Some(proposal) = self.proposals.get(&event.proposal) else {
            self.early_settlements.entry(event.proposal).or_default().push(*event);
            return;
        };
        let (withdrawn, policy, author) =
            (proposal.withdrawn, proposal.event.policy, proposal.event.author);
        let open: Vec<(usize, Leaf)> = proposal
            .states
            .iter()
            .zip(&proposal.event.leaves)
            .enumerate()
            .filter(|(_, (state, _))| **state == LeafState::Unconfirmed)
            .map(|(index, (_, leaf))| (index, *leaf))
            .collect();
        for (index, leaf) in open {
            let key = leaf.key(event.patient, author);
            let state = if event.accepted.bit(index) {
                if withdrawn {
                    LeafState::Void(VoidReason::Withdrawn)
                } else {
                    self.accept(at, event.proposal, policy, key, leaf)
                }
            } else if event.rejected.bit(index) {
                self.refuse(key, &leaf, withdrawn);
                LeafState::Rejected
            } else {
                continue;
            };
            if let Some(proposal) = self.proposals.get_mut(&event.proposal) {
                proposal.states[index] = state;
            }
        }
    }

    fn accept(
        &mut self,
        at: Position,
        proposal: ProposalId,
        policy: B256,
        key: RecordKey,
        leaf: Leaf,
    ) -> LeafState {
        let version = Version {
            id: leaf.version(),
            leaf,
            proposal,
            policy,
            accepted: at,
            contents: vec![ContentEntry { content: leaf.content, at }],
        };
        let record = self.records.get_mut(&key.id());
        match (leaf.kind, record) {
            (LeafKind::New, Some(_)) => LeafState::Void(VoidReason::NumberTaken),
            (LeafKind::New, None) => {
                let record = Record { key, versions: vec![version], disowned: false };
                self.records.insert(key.id(), record);
                self.hold(key.id(), 0, leaf.content);
                LeafState::Accepted
            }
            (_, None) => LeafState::Void(VoidReason::NotCurrent),
            (_, Some(record)) if record.is_retracted() => LeafState::Void(VoidReason::Retracted),
            (_, Some(record)) if record.current().id != leaf.previous => {
                LeafState::Void(VoidReason::NotCurrent)
            }
            (_, Some(record)) if record.current().policy != policy => {
                LeafState::Void(VoidReason::PolicyDiffers)
            }
            (_, Some(record)) => {
                record.versions.push(version);
                let place = record.versions.len() - 1;
                self.hold(key.id(), place, leaf.content);
                LeafState::Accepted
            }
        }
    }

    /// A refused retraction of the version that stands is shown, since the author no longer does.
    fn refuse(&mut self, key: RecordKey, leaf: &Leaf, withdrawn: bool) {
        if leaf.kind != LeafKind::Retraction || withdrawn {
            return;
        }
        if let Some(record) = self.records.get_mut(&key.id())
            && record.current().id == leaf.previous
        {
            record.disowned = true;
        }
    }

    /// A reseal that names content of a version adds to that version; any other is ignored.
    pub(crate) fn resealed(&mut self, at: Position, event: &ResealedEvent) -> bool {
        let Some(place) = self.holders.get(&(event.record, event.previous)).copied() else {
            return false;
        };
        if !self.hold(event.record, place, event.content) {
            return false;
        }
        if let Some(record) = self.records.get_mut(&event.record) {
            record.versions[place].contents.push(ContentEntry { content: event.content, at });
        }
        true
    }

    /// Notes that a version has a content; `false` if it had it.
    fn hold(&mut self, record: RecordId, place: usize, content: ContentRef) -> bool {
        let holder = self.holders.entry((record, content.digest)).or_default();
        *holder = place.max(*holder);
        self.held.insert((record, place, content))
    }
}
