//! The reader rules as a table of cases: what a chart is after a list of events.

use alloy_primitives::{Address, B256, Bytes, FixedBytes, U256};
use galen_chain::{
    AccessedEvent, ConsentsEvent, LedgerEvent, PendingKind, Position, ProposedEvent, ResealedEvent,
    SettledEvent, Stamped,
};
use galen_index::{Chart, LeafState, VoidReason};
use galen_types::{
    Commitment, ConsentId, ConsentRoot, ConsentTree, ContentRef, KeyBundleId, Leaf, LeafKind,
    ProposalId, Purpose, RecordId, Segment, VersionId,
};

use LeafState::{Accepted, Rejected, Unconfirmed, Void};

const PATIENT: Address = Address::repeat_byte(1);
const AUTHOR: Address = Address::repeat_byte(2);
const OTHER: Address = Address::repeat_byte(3);

fn id(n: u8) -> ProposalId {
    ProposalId(B256::repeat_byte(n))
}

fn content(n: u8) -> ContentRef {
    ContentRef::swarm(B256::repeat_byte(n))
}

/// A new record; `mark` makes content and commitment differ.
fn new(number: u64, mark: u8) -> Leaf {
    Leaf {
        kind: LeafKind::New,
        segment: Segment(7),
        number,
        content: content(mark),
        commitment: Commitment(B256::repeat_byte(mark)),
        previous: VersionId::default(),
    }
}

fn after(kind: LeafKind, before: &Leaf, mark: u8) -> Leaf {
    Leaf { kind, previous: before.version(), ..new(before.number, mark) }
}

fn amend(before: &Leaf, mark: u8) -> Leaf {
    after(LeafKind::Amendment, before, mark)
}

fn retract(before: &Leaf, mark: u8) -> Leaf {
    after(LeafKind::Retraction, before, mark)
}

fn propose_under(n: u8, policy: u8, leaves: &[Leaf]) -> LedgerEvent {
    LedgerEvent::Proposed(ProposedEvent {
        patient: PATIENT,
        author: AUTHOR,
        proposal: id(n),
        rotations: 0,
        deadline: 100,
        policy: B256::repeat_byte(policy),
        leaves: leaves.to_vec(),
        signature: Bytes::new(),
    })
}

fn propose(n: u8, leaves: &[Leaf]) -> LedgerEvent {
    propose_under(n, 0, leaves)
}

fn settle(n: u8, accepted: u64, rejected: u64) -> LedgerEvent {
    LedgerEvent::Settled(SettledEvent {
        patient: PATIENT,
        author: AUTHOR,
        proposal: id(n),
        accepted: U256::from(accepted),
        rejected: U256::from(rejected),
        sequence: 1,
        signer: PATIENT,
    })
}

fn withdraw_by(author: Address, n: u8) -> LedgerEvent {
    LedgerEvent::Withdrawn { patient: PATIENT, author, proposal: id(n) }
}

fn chart(events: &[LedgerEvent]) -> Chart {
    let mut chart = Chart::default();
    for (log, event) in (0..).zip(events) {
        let at = Position { block: log, log, time: 1_000 + log, transaction: B256::ZERO };
        chart.apply(&Stamped { at, event: event.clone() });
    }
    chart
}

/// Name, events, states of the leaves of each proposal in order of announcement.
type Case = (&'static str, Vec<LedgerEvent>, Vec<Vec<LeafState>>);

#[expect(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<Case> {
    let (a, b) = (new(1, 0xa), new(2, 0xb));
    let (a2, a3) = (amend(&a, 0xc), amend(&a, 0xd));
    let gone = retract(&a, 0xe);
    let void = |reason| vec![Void(reason)];
    vec![
        (
            "a leaf in neither mask stays unconfirmed",
            vec![propose(1, &[a, b]), settle(1, 0b01, 0)],
            vec![vec![Accepted, Unconfirmed]],
        ),
        (
            "the first answer for each leaf counts",
            vec![propose(1, &[a, b]), settle(1, 0b01, 0b10), settle(1, 0b10, 0b01)],
            vec![vec![Accepted, Rejected]],
        ),
        (
            "a later answer may take up what was left open",
            vec![propose(1, &[a, b]), settle(1, 0b01, 0), settle(1, 0b10, 0)],
            vec![vec![Accepted, Accepted]],
        ),
        (
            "a settlement before the announcement counts from the announcement",
            vec![settle(1, 0b1, 0), propose(1, &[a])],
            vec![vec![Accepted]],
        ),
        (
            "the first announcement counts",
            vec![propose(1, &[a]), propose(1, &[a]), settle(1, 0b1, 0)],
            vec![vec![Accepted]],
        ),
        (
            "a withdrawn proposal cannot be accepted",
            vec![propose(1, &[a]), withdraw_by(AUTHOR, 1), settle(1, 0b1, 0)],
            vec![void(VoidReason::Withdrawn)],
        ),
        (
            "a withdrawal before the announcement counts",
            vec![withdraw_by(AUTHOR, 1), propose(1, &[a]), settle(1, 0b1, 0)],
            vec![void(VoidReason::Withdrawn)],
        ),
        (
            "a withdrawal after the settlement changes nothing",
            vec![propose(1, &[a]), settle(1, 0b1, 0), withdraw_by(AUTHOR, 1)],
            vec![vec![Accepted]],
        ),
        (
            "a withdrawal between an early settlement and the announcement changes nothing",
            vec![settle(1, 0b1, 0), withdraw_by(AUTHOR, 1), propose(1, &[a])],
            vec![vec![Accepted]],
        ),
        (
            "nobody else can withdraw",
            vec![withdraw_by(OTHER, 1), propose(1, &[a]), withdraw_by(OTHER, 1), settle(1, 0b1, 0)],
            vec![vec![Accepted]],
        ),
        (
            "a number is taken once",
            vec![propose(1, &[a]), settle(1, 1, 0), propose(2, &[new(1, 0xf)]), settle(2, 1, 0)],
            vec![vec![Accepted], void(VoidReason::NumberTaken)],
        ),
        (
            "a rejected number is free again",
            vec![propose(1, &[a]), settle(1, 0, 1), propose(2, &[new(1, 0xf)]), settle(2, 1, 0)],
            vec![vec![Rejected], vec![Accepted]],
        ),
        (
            "an amendment follows the version that stands",
            vec![propose(1, &[a]), settle(1, 1, 0), propose(2, &[a2]), settle(2, 1, 0)],
            vec![vec![Accepted], vec![Accepted]],
        ),
        (
            "leaves of one settlement count in their order",
            vec![propose(1, &[a, a2]), settle(1, 0b11, 0)],
            vec![vec![Accepted, Accepted]],
        ),
        (
            "one successor per version counts, the first accepted",
            vec![
                propose(1, &[a]),
                settle(1, 1, 0),
                propose(2, &[a2]),
                propose(3, &[a3]),
                settle(3, 1, 0),
                settle(2, 1, 0),
            ],
            vec![vec![Accepted], void(VoidReason::NotCurrent), vec![Accepted]],
        ),
        (
            "an amendment of a rejected version does not count",
            vec![propose(1, &[a]), settle(1, 0, 1), propose(2, &[a2]), settle(2, 1, 0)],
            vec![vec![Rejected], void(VoidReason::NotCurrent)],
        ),
        (
            "an amendment of an unconfirmed version does not count",
            vec![propose(1, &[a, b]), settle(1, 0b10, 0), propose(2, &[a2]), settle(2, 1, 0)],
            vec![vec![Unconfirmed, Accepted], void(VoidReason::NotCurrent)],
        ),
        (
            "nothing follows an accepted retraction",
            vec![
                propose(1, &[a]),
                settle(1, 1, 0),
                propose(2, &[gone]),
                settle(2, 1, 0),
                propose(3, &[amend(&gone, 0xf)]),
                settle(3, 1, 0),
            ],
            vec![vec![Accepted], vec![Accepted], void(VoidReason::Retracted)],
        ),
        (
            "a successor counts only under its predecessor's policy",
            vec![
                propose_under(1, 9, &[a]),
                settle(1, 1, 0),
                propose(2, &[a2]),
                settle(2, 1, 0),
                propose_under(3, 9, &[a3]),
                settle(3, 1, 0),
            ],
            vec![vec![Accepted], void(VoidReason::PolicyDiffers), vec![Accepted]],
        ),
    ]
}

#[test]
fn leaves_end_as_the_rules_say() {
    for (name, events, expected) in cases() {
        let chart = chart(&events);
        let states: Vec<_> = chart.proposals().map(|proposal| proposal.states.clone()).collect();
        assert_eq!(states, expected, "{name}");
    }
}

#[test]
fn a_refused_retraction_shows_the_record_as_disowned() {
    let a = new(1, 0xa);
    let events =
        [propose(1, &[a]), settle(1, 1, 0), propose(2, &[retract(&a, 0xb)]), settle(2, 0, 1)];
    let chart = chart(&events);
    let record = chart.record(a.key(PATIENT, AUTHOR).id()).unwrap();
    assert!(record.disowned && !record.is_retracted());
    assert_eq!(record.current().id, a.version());
}

#[test]
fn acceptance_is_dated_by_the_later_of_announcement_and_settlement() {
    let a = new(1, 0xa);
    let key = a.key(PATIENT, AUTHOR).id();
    let late = chart(&[settle(1, 1, 0), propose(1, &[a])]);
    assert_eq!(late.record(key).unwrap().current().accepted.log, 1);
    let early = chart(&[propose(1, &[a]), settle(1, 1, 0)]);
    assert_eq!(early.record(key).unwrap().current().accepted.log, 1);
}

#[test]
fn reseals_add_content_only_where_they_follow_content() {
    let a = new(1, 0xa);
    let record = a.key(PATIENT, AUTHOR).id();
    let reseal = |record: RecordId, previous: u8, mark: u8| {
        LedgerEvent::Resealed(ResealedEvent {
            patient: PATIENT,
            record,
            signer: PATIENT,
            content: content(mark),
            previous: B256::repeat_byte(previous),
        })
    };
    let contents = |reseals: Vec<LedgerEvent>| -> Vec<ContentRef> {
        let chart = chart(&[vec![propose(1, &[a]), settle(1, 1, 0)], reseals].concat());
        let version = chart.record(record).unwrap().current();
        version.contents.iter().map(|entry| entry.content).collect()
    };
    // Two that follow the same content both stay: readers try from the newest.
    let fork = contents(vec![reseal(record, 0xa, 0x1), reseal(record, 0xa, 0x2)]);
    assert_eq!(fork, [content(0xa), content(1), content(2)]);
    let chain = contents(vec![reseal(record, 0xa, 0x1), reseal(record, 0x1, 0x2)]);
    assert_eq!(chain, [content(0xa), content(1), content(2)]);
    let stray = contents(vec![reseal(record, 0x9, 0x1), reseal(RecordId::default(), 0xa, 0x2)]);
    assert_eq!(stray, [content(0xa)]);
    let repeated = contents(vec![reseal(record, 0xa, 0x1), reseal(record, 0x1, 0xa)]);
    assert_eq!(repeated, [content(0xa), content(1)]);
}

#[test]
fn a_signed_access_counts_once_and_a_sent_one_every_time() {
    let access = |deadline| {
        LedgerEvent::Accessed(AccessedEvent {
            patient: PATIENT,
            grantee: OTHER,
            record: RecordId::default(),
            consent: ConsentId::default(),
            purpose: 0,
            network: false,
            deadline,
        })
    };
    let chart = chart(&[access(50), access(50), access(51), access(0), access(0)]);
    assert_eq!(chart.accesses().len(), 4);
    // The head covers what the chain logged, the repetition too.
    assert_eq!(chart.head().entries(), 5);
}

#[test]
fn equal_requests_count_once() {
    let request = |deadline| LedgerEvent::AccessRequested {
        patient: PATIENT,
        organization: OTHER,
        purposes: [Purpose::Treatment].into_iter().collect(),
        message: None,
        deadline,
    };
    assert_eq!(chart(&[request(50), request(50), request(51)]).requests().len(), 2);
}

#[test]
fn consents_follow_their_changes_and_show_a_root_that_does_not_fit() {
    let leaf = |n: u8| ConsentId(B256::repeat_byte(n));
    let change = |version, root, revoked: &[u8], granted: &[u8]| {
        LedgerEvent::ConsentsChanged(ConsentsEvent {
            patient: PATIENT,
            root,
            version,
            revoked: revoked.iter().map(|n| leaf(*n)).collect(),
            granted: granted.iter().map(|n| leaf(*n)).collect(),
        })
    };
    let root = |leaves: &[u8]| leaves.iter().map(|n| leaf(*n)).collect::<ConsentTree>().root();
    let steps = [
        change(1, root(&[1, 2, 3]), &[], &[1, 2, 3]),
        change(2, root(&[1, 3, 4]), &[2], &[4]),
        change(3, ConsentRoot::default(), &[], &[]),
        change(4, ConsentRoot(FixedBytes::repeat_byte(9)), &[], &[5]),
    ];
    let after = |n: usize| chart(&steps[..n]).consents().clone();
    assert!(
        after(2).is_consistent()
            && after(2).tree.contains(leaf(4))
            && !after(2).tree.contains(leaf(2))
    );
    assert!(
        after(3).is_consistent() && after(3).tree.leaves().len() == 0,
        "a zero root revokes all"
    );
    assert!(!after(4).is_consistent());
    assert_eq!(after(4).version, 4);
}

#[test]
fn key_bundles_count_only_if_they_extend_the_current_one() {
    let publish = |bundle: u8, previous: u8| LedgerEvent::KeysPublished {
        id: PATIENT,
        bundle: KeyBundleId(B256::repeat_byte(bundle)),
        previous: KeyBundleId(B256::repeat_byte(previous)),
        content: content(bundle),
    };
    let chart = chart(&[publish(1, 0), publish(9, 7), publish(8, 0), publish(2, 1)]);
    let bundles: Vec<_> = chart.keys().iter().map(|key| key.bundle.0[0]).collect();
    assert_eq!(bundles, [1, 2]);
}

/// Keys are given back only to who took over by a recovery that finished, and only until the id changes hands.
#[test]
fn a_recovery_counts_until_the_id_changes_hands() {
    const NEW: Address = Address::repeat_byte(9);
    let started =
        |kind| LedgerEvent::PendingStarted { id: PATIENT, kind, controller: NEW, ready_at: 2_000 };
    let finished = |kind| LedgerEvent::PendingFinished { id: PATIENT, kind };
    let cancelled = |kind| LedgerEvent::PendingCancelled { id: PATIENT, kind };
    let rotated = |controller| LedgerEvent::Rotated {
        id: PATIENT,
        controller,
        sequence: 1,
        consent_version: 1,
    };
    let changed = LedgerEvent::GuardiansChanged { id: PATIENT, commitment: B256::ZERO, delay: 0 };
    let recovered = |kind| vec![started(kind), finished(kind), rotated(NEW)];
    let cases: Vec<(&str, Vec<LedgerEvent>, Option<PendingKind>)> = vec![
        ("nothing", vec![], None),
        ("started", vec![started(3)], None),
        ("cancelled", vec![started(3), cancelled(3)], None),
        ("finished", recovered(3), Some(PendingKind::Recovery)),
        ("finished for good", recovered(4), Some(PendingKind::FinalRecovery)),
        ("a rotation that waited", recovered(1), None),
        ("a change of guardians that waited", vec![started(2), finished(2), changed], None),
        ("rotated after it", [recovered(3), vec![rotated(OTHER)]].concat(), None),
        ("waited and rotated after it", [recovered(3), recovered(1)].concat(), None),
        ("twice", [recovered(3), recovered(4)].concat(), Some(PendingKind::FinalRecovery)),
        ("cancelled, then rotated", vec![started(3), cancelled(3), rotated(NEW)], None),
    ];
    for (name, events, expected) in cases {
        let found = chart(&events).recovery();
        assert_eq!(found.map(|entry| entry.kind), expected, "{name}");
        assert!(found.is_none_or(|entry| entry.controller == NEW), "{name}");
    }
    // A rotation that only follows a recovery's end, in another transaction.
    let mut apart = Chart::default();
    for (log, event) in (0..).zip(recovered(3)) {
        let transaction = B256::with_last_byte(u8::try_from(log).unwrap());
        let at = Position { block: log, log, time: 1_000 + log, transaction };
        apart.apply(&Stamped { at, event });
    }
    assert_eq!(apart.recovery(), None);
}
