//! One pseudonym's chart, rebuilt from events alone.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use alloy_primitives::Address;
use galen_chain::{
    AccessedEvent, ConsentSlot, ConsentsEvent, LedgerEvent, PendingKind, Position, ProposedEvent,
    Stamped,
};
use galen_types::{
    ConsentRoot, ConsentTree, ContentRef, KeyBundleId, ProposalId, PurposeSet, RecordId, Segment,
};

use crate::{
    head::Head,
    records::{Proposal, Record, Records},
};

/// The consents of a pseudonym.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ConsentState {
    /// The live leaves.
    pub tree: ConsentTree,
    /// Changes and rotations so far.
    pub version: u32,
    /// The root that the last change announced.
    pub announced: ConsentRoot,
    /// Changes and rotations that were seen.
    pub changes: u32,
}

impl ConsentState {
    /// Whether the announced root is the root of the leaves. If not, the patient signed a root that
    /// its own announcements do not give, and no proof can be built.
    ///
    /// Hashes the whole tree.
    pub fn is_consistent(&self) -> bool {
        self.tree.root() == self.announced
    }

    /// Whether the chain says the same: no change was left out, and the last one is the one on chain.
    pub fn matches(&self, slot: &ConsentSlot) -> bool {
        self.announced == slot.root && self.version == slot.version && self.changes == slot.version
    }
}

/// A read, logged on chain before it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessEntry {
    /// Where it stands.
    pub at: Position,
    /// What it says.
    pub event: AccessedEvent,
}

/// A key bundle that extends the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    /// Where it was published.
    pub at: Position,
    /// Hash of the bundle.
    pub bundle: KeyBundleId,
    /// Where the bundle lies.
    pub content: ContentRef,
}

/// Guardians handed the id to a new controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryEntry {
    /// Where the new controller took over.
    pub at: Position,
    /// Who signs since then.
    pub controller: Address,
    /// By which quorum.
    pub kind: PendingKind,
}

/// An organization asks for consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestEntry {
    /// Where it stands.
    pub at: Position,
    /// Who asks.
    pub organization: Address,
    /// For which purposes.
    pub purposes: PurposeSet,
    /// Where the sealed request lies.
    pub message: Option<ContentRef>,
    /// Unix second until which it could be announced, as signed.
    pub deadline: u64,
}

/// Everything that the ledger says about one pseudonym.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Chart {
    records: Records,
    consents: ConsentState,
    accesses: Vec<AccessEntry>,
    signed_accesses: HashSet<AccessedEvent>,
    requests: Vec<RequestEntry>,
    signed_requests: HashSet<(Address, PurposeSet, Option<ContentRef>, u64)>,
    keys: Vec<KeyEntry>,
    controller: Option<Address>,
    head: Head,
    last_numbers: HashMap<(Address, Segment), u64>,
    events: Vec<Arc<Stamped>>,
}

impl Chart {
    /// Applies the next event of this chart. Events must come in the order of the chain.
    pub fn apply(&mut self, stamped: &Stamped) {
        self.apply_shared(Arc::new(stamped.clone()));
    }

    /// As [`Chart::apply`], for an event that a view keeps too.
    pub(crate) fn apply_shared(&mut self, stamped: Arc<Stamped>) {
        let at = stamped.at;
        match &stamped.event {
            LedgerEvent::Proposed(event) => {
                self.count_numbers(event);
                self.records.proposed(at, event);
            }
            LedgerEvent::Withdrawn { author, proposal, .. } => {
                self.records.withdrawn(*author, *proposal);
            }
            LedgerEvent::Settled(event) => {
                self.head.settled(at, event);
                self.records.settled(at, event);
            }
            LedgerEvent::Resealed(event) => {
                self.head.resealed(at, event);
                self.records.resealed(at, event);
            }
            LedgerEvent::Accessed(event) => {
                self.head.accessed(at, event);
                self.accessed(at, event);
            }
            LedgerEvent::ConsentsChanged(event) => self.consents_changed(event),
            LedgerEvent::Rotated { controller, sequence, consent_version, .. } => {
                self.head.rotated(at, *controller, *sequence, *consent_version);
                self.consents.version = *consent_version;
                self.consents.changes += 1;
                self.controller = Some(*controller);
            }
            LedgerEvent::KeysPublished { bundle, previous, content, .. } => {
                let current = self.keys.last().map_or_else(KeyBundleId::default, |key| key.bundle);
                if *previous == current {
                    self.keys.push(KeyEntry { at, bundle: *bundle, content: *content });
                }
            }
            // A request has no slot that changes: the same one counts once.
            LedgerEvent::AccessRequested { organization, purposes, message, deadline, .. }
                if self.signed_requests.insert((*organization, *purposes, *message, *deadline)) =>
            {
                let (organization, purposes) = (*organization, *purposes);
                let (message, deadline) = (*message, *deadline);
                self.requests.push(RequestEntry { at, organization, purposes, message, deadline });
            }
            _ => {}
        }
        self.events.push(stamped);
    }

    fn count_numbers(&mut self, event: &ProposedEvent) {
        for leaf in &event.leaves {
            let last = self.last_numbers.entry((event.author, leaf.segment)).or_default();
            *last = leaf.number.max(*last);
        }
    }

    /// A signed access has no slot that changes: the same one counts once. One that the grantee sent
    /// itself (deadline zero) counts every time.
    fn accessed(&mut self, at: Position, event: &AccessedEvent) {
        if event.deadline == 0 || self.signed_accesses.insert(*event) {
            self.accesses.push(AccessEntry { at, event: *event });
        }
    }

    fn consents_changed(&mut self, event: &ConsentsEvent) {
        let state = &mut self.consents;
        if event.root.0.is_zero() {
            state.tree = ConsentTree::default();
        } else {
            event.revoked.iter().for_each(|leaf| {
                state.tree.remove(*leaf);
            });
            event.granted.iter().for_each(|leaf| {
                state.tree.insert(*leaf);
            });
        }
        state.version = event.version;
        state.changes += 1;
        // The tree is not hashed here: with every change of many leaves that would be quadratic.
        state.announced = event.root;
    }

    /// A proposal by its id.
    pub fn proposal(&self, id: ProposalId) -> Option<&Proposal> {
        self.records.proposals.get(&id)
    }

    /// Proposals in the order in which they were announced.
    pub fn proposals(&self) -> impl Iterator<Item = &Proposal> {
        self.records.order.iter().filter_map(|id| self.records.proposals.get(id))
    }

    /// A record by its id.
    pub fn record(&self, id: RecordId) -> Option<&Record> {
        self.records.records.get(&id)
    }

    /// Records with at least one version that counts, by id.
    pub fn records(&self) -> impl ExactSizeIterator<Item = &Record> {
        self.records.records.values()
    }

    /// The live consents.
    pub const fn consents(&self) -> &ConsentState {
        &self.consents
    }

    /// Reads, in the order of the chain, each once.
    pub fn accesses(&self) -> &[AccessEntry] {
        &self.accesses
    }

    /// Requests for access, each once.
    pub fn requests(&self) -> &[RequestEntry] {
        &self.requests
    }

    /// Key bundles, each extending the one before it. More than one means that the keys changed.
    pub fn keys(&self) -> &[KeyEntry] {
        &self.keys
    }

    /// Who signs for the pseudonym, if it has rotated.
    pub const fn controller(&self) -> Option<Address> {
        self.controller
    }

    /// Who signed for the id after so many rotations; `None` if there were not as many, or for none at all, when
    /// the id signs for itself.
    pub fn controller_after(&self, rotations: u32) -> Option<Address> {
        let last = usize::try_from(rotations).ok()?.checked_sub(1)?;
        let mut rotated = self.events.iter().filter_map(|stamped| match &stamped.event {
            LedgerEvent::Rotated { controller, .. } => Some(*controller),
            _ => None,
        });
        rotated.nth(last)
    }

    /// The recovery by guardians that made the controller of now; `None` if there was none, or if the id changed
    /// hands again after it.
    pub fn recovery(&self) -> Option<RecoveryEntry> {
        let rotated = |it: &Arc<Stamped>| matches!(it.event, LedgerEvent::Rotated { .. });
        let last = self.events.iter().rposition(rotated)?;
        let LedgerEvent::Rotated { controller, .. } = self.events[last].event else { return None };
        // The contract says what ended right before it says who signs now. A rotation that did not wait follows
        // something else.
        let before = &self.events[last.checked_sub(1)?];
        let at = self.events[last].at;
        let LedgerEvent::PendingFinished { kind, .. } = before.event else { return None };
        let kind = PendingKind::from_u8(kind).filter(|kind| kind.is_recovery())?;
        let together = before.at.transaction == at.transaction && before.at.log + 1 == at.log;
        together.then_some(RecoveryEntry { at, controller, kind })
    }

    /// The folded head.
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// Every event, in the order of the chain.
    pub fn events(&self) -> &[Arc<Stamped>] {
        &self.events
    }

    /// Highest number that an author used in a segment, proposals that were not accepted included.
    pub fn last_number(&self, author: Address, segment: Segment) -> Option<u64> {
        self.last_numbers.get(&(author, segment)).copied()
    }
}
