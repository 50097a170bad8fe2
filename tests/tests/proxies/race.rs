//! A revocation and a log wait in the mempool, and somebody else decides their order, also within one block.
//!
//! The embedded chain has one transaction a block, so that the blocks are made here: the contract's own rule, that a
//! log needs a live consent, is all that is taken over. What the proxy's rule says of them is compared after each.

use alloy_primitives::{B256, U256, keccak256};
use galen_chain::{
    AccessedEvent, ConsentsEvent, LedgerEvent, Position, ProposedEvent, SettledEvent, Stamped,
    Standing,
};
use galen_index::Chart;
use galen_services::proxy::rules::{Allowed, Asked, Cause, Now, Policy, rule};
use galen_types::{
    Commitment, ConsentTree, ContentRef, Leaf, LeafKind, ProposalId, Purpose, VersionId,
};

use crate::{
    steps::Dice,
    world::{NOW, consent, patient, record},
};

const SEEDS: u64 = 10_000;
const BLOCK_TIME: u64 = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Grant,
    Revoke,
    Log,
}

/// The chain of one race.
#[derive(Default)]
struct Race {
    chart: Chart,
    block: u64,
    logs: u64,
    live: bool,
    version: u32,
    /// Where the consent was last ended, if it did not begin again since.
    ended: Option<(u64, u64)>,
    logged: Vec<(u64, u64)>,
}

impl Race {
    fn emit(&mut self, event: LedgerEvent) -> (u64, u64) {
        let at = Position {
            block: self.block,
            log: self.logs,
            time: *NOW + self.block * BLOCK_TIME,
            transaction: keccak256([self.block, self.logs].map(u64::to_be_bytes).concat()),
        };
        self.chart.apply(&Stamped { at, event });
        self.logs += 1;
        (at.block, at.log)
    }

    /// The record that is asked for, accepted.
    fn accept(&mut self) {
        let (key, proposal) = (record(0), ProposalId(B256::repeat_byte(1)));
        let leaf = Leaf {
            kind: LeafKind::New,
            segment: key.segment,
            number: key.number,
            content: ContentRef::swarm(B256::repeat_byte(2)),
            commitment: Commitment(B256::repeat_byte(3)),
            previous: VersionId::default(),
        };
        self.emit(LedgerEvent::Proposed(ProposedEvent {
            patient: key.patient,
            author: key.author,
            proposal,
            rotations: 0,
            deadline: *NOW,
            policy: B256::ZERO,
            leaves: vec![leaf],
            signature: alloy_primitives::Bytes::new(),
        }));
        self.emit(LedgerEvent::Settled(SettledEvent {
            patient: key.patient,
            author: key.author,
            proposal,
            accepted: U256::ONE,
            rejected: U256::ZERO,
            sequence: 1,
            signer: key.patient,
        }));
    }

    /// The consent begins or ends; another one stays, so that the tree is never empty.
    fn change(&mut self, live: bool) {
        let (id, other) = (consent(0).id(), consent(1).id());
        let (mut granted, mut revoked) = (Vec::new(), Vec::new());
        if live {
            granted.push(id)
        } else {
            revoked.push(id)
        };
        if self.version == 0 {
            granted.push(other);
        }
        let tree: ConsentTree = [id, other].into_iter().filter(|it| live || *it != id).collect();
        self.version += 1;
        let at = self.emit(LedgerEvent::ConsentsChanged(ConsentsEvent {
            patient: patient(),
            root: tree.root(),
            version: self.version,
            revoked,
            granted,
        }));
        self.live = live;
        self.ended = (!live).then_some(at);
    }

    /// What the contract makes of a transaction: a log without a live consent leaves nothing.
    fn mine(&mut self, pending: Pending) {
        match pending {
            Pending::Grant => self.change(true),
            Pending::Revoke => self.change(false),
            Pending::Log if !self.live => {}
            Pending::Log => {
                let at = self.emit(LedgerEvent::Accessed(AccessedEvent {
                    patient: patient(),
                    grantee: consent(0).grantee,
                    record: record(0).id(),
                    consent: consent(0).id(),
                    purpose: Purpose::Treatment.bit(),
                    network: false,
                    deadline: 0,
                }));
                self.logged.push(at);
            }
        }
    }

    fn seal(&mut self) {
        (self.block, self.logs) = (self.block + 1, 0);
    }

    /// What the proxy's rule says when the last block that was made is its head.
    fn ask(&self, finality: u64) -> Result<Vec<Allowed>, Cause> {
        let head = self.block - 1;
        let asked = Asked {
            patient: patient(),
            grantee: consent(0).grantee,
            consent: consent(0).id(),
            expiry: consent(0).expiry,
            records: vec![record(0)],
        };
        let time = *NOW + head * BLOCK_TIME;
        let now = Now {
            clock: time,
            head_time: time,
            final_block: head.checked_sub(finality),
            standing: Standing::None,
        };
        rule(&self.chart, &asked, &now, &Policy::default())
    }

    /// Served if, and only if, the consent holds at the head and its last log is final; never for a log that does
    /// not stand before the end of the consent.
    fn check(&self, finality: u64, seed: u64) -> bool {
        let head = self.block - 1;
        let newest = self.logged.iter().rfind(|at| at.0 + finality <= head).copied();
        let answer = self.ask(finality);
        let served = answer.as_ref().ok().map(|it| (it[0].access.block, it[0].access.log));
        let right = newest.filter(|_| self.live);
        assert_eq!(served, right, "seed {seed}, block {head}: {answer:?}, ended {:?}", self.ended);
        assert!(self.ended.is_none() || served.is_none(), "seed {seed}: served after the end");
        served.is_some()
    }
}

/// One order of the mempool, cut into blocks. Returns how often it was served, and whether both stood in one block.
fn race(seed: u64) -> (usize, bool) {
    let mut dice = Dice(seed);
    let mut race = Race::default();
    race.accept();
    race.change(true);
    race.seal();
    let mut mempool = vec![Pending::Revoke, Pending::Log];
    let more = [Pending::Log, Pending::Log, Pending::Grant, Pending::Revoke];
    mempool.extend((0..dice.below(4)).map(|_| more[usize::from(dice.below(4))]));
    let finality = u64::from(dice.below(3));
    let (mut served, mut together, mut before) = (0, false, None);
    while !mempool.is_empty() {
        let next = mempool.remove(usize::from(dice.below(u8::try_from(mempool.len()).unwrap())));
        race.mine(next);
        together |= before.is_some_and(|it| it != next && it != Pending::Grant);
        before = Some(next);
        // Half of the time the block goes on.
        if dice.one_in(2) {
            race.seal();
            served += usize::from(race.check(finality, seed));
            before = None;
        }
    }
    for _ in 0..=finality {
        race.seal();
        served += usize::from(race.check(finality, seed));
    }
    (served, together)
}

#[test]
fn whoever_wins_the_race_nothing_is_served_after_the_revocation() {
    let races: Vec<_> = (0..SEEDS).map(race).collect();
    let served = races.iter().filter(|race| race.0 > 0).count();
    let together = races.iter().filter(|race| race.1).count();
    // Both ends of the race, and the photo finish, come often enough.
    assert!(served > 2_000 && races.len() - served > 2_000, "{served} races were served");
    assert!(together > 2_000, "{together} races were decided within a block");
}
