//! The rolling head of a chart, folded as the contract folds it.

use alloy_primitives::{Address, U256, keccak256};
use galen_chain::{AccessedEvent, ChartSlot, Position, ResealedEvent, SettledEvent};

const SETTLEMENT: u8 = 1;
const ACCESS: u8 = 2;
const RESEAL: u8 = 3;
const ROTATION: u8 = 4;

/// Folds the events of one chart. If the result equals the chart's slot on chain, none of its
/// settlements, accesses, reseals and rotations was left out, added, changed or moved.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Head {
    head: [u8; 23],
    sequence: u32,
    last_access: u64,
    entries: u64,
}

impl Head {
    /// How many entries were folded.
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// The folded hash, 23 bytes.
    pub const fn bytes(&self) -> &[u8; 23] {
        &self.head
    }

    /// Settlements and rotations so far.
    pub const fn sequence(&self) -> u32 {
        self.sequence
    }

    /// Whether the chain says the same.
    pub fn matches(&self, slot: &ChartSlot) -> bool {
        self.head == slot.head
            && self.sequence == slot.sequence
            && self.last_access == slot.last_access
    }

    pub(crate) fn settled(&mut self, at: Position, e: &SettledEvent) {
        self.fold(&[
            number(SETTLEMENT),
            address(e.author),
            e.proposal.0.into(),
            e.accepted,
            e.rejected,
            address(e.signer) | U256::from(e.sequence) << 160,
            number(at.time),
        ]);
        self.sequence = e.sequence;
    }

    pub(crate) fn accessed(&mut self, at: Position, e: &AccessedEvent) {
        self.fold(&[
            number(ACCESS),
            address(e.grantee),
            e.record.0.into(),
            e.consent.0.into(),
            number(e.purpose) | number(e.network) << 8 | number(e.deadline) << 16,
            number(at.time),
        ]);
        self.last_access = at.time;
    }

    pub(crate) fn resealed(&mut self, at: Position, e: &ResealedEvent) {
        self.fold(&[
            number(RESEAL),
            e.record.0.into(),
            address(e.signer) | number(e.content.store as u8) << 160,
            e.content.digest.into(),
            e.previous.into(),
            number(at.time),
        ]);
    }

    pub(crate) fn rotated(
        &mut self,
        at: Position,
        controller: Address,
        sequence: u32,
        consent_version: u32,
    ) {
        self.fold(&[
            number(ROTATION),
            address(controller),
            number(sequence),
            number(consent_version),
            number(at.time),
        ]);
        self.sequence = sequence;
    }

    /// `head' = first 23 bytes of keccak256(head as a number ‖ entry)`.
    fn fold(&mut self, entry: &[U256]) {
        let mut words = Vec::with_capacity(32 * (entry.len() + 1));
        words.extend([0; 9]);
        words.extend(self.head);
        entry.iter().for_each(|word| words.extend(word.to_be_bytes::<32>()));
        self.head.copy_from_slice(&keccak256(&words)[..23]);
        self.entries += 1;
    }
}

fn number(value: impl Into<u64>) -> U256 {
    U256::from(value.into())
}

fn address(value: Address) -> U256 {
    value.into_word().into()
}
