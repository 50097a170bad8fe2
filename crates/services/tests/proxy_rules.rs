//! When a proxy answers, as a table: one good case, and each way in which it stops being one.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use alloy_primitives::{Address, B256, Bytes, U256};
use galen_chain::{
    AccessedEvent, ConsentsEvent, LedgerEvent, Position, ProposedEvent, ResealedEvent,
    SettledEvent, Stamped, Standing,
};
use galen_index::Chart;
use galen_services::proxy::rules::{Allowed, Asked, Cause, Now, Policy, record_of, rule};
use galen_types::{
    Commitment, ConsentId, ConsentRoot, ConsentTree, ContentRef, Leaf, LeafKind, ProposalId,
    RecordKey, Segment, VersionId,
};

const PATIENT: Address = Address::repeat_byte(1);
const AUTHOR: Address = Address::repeat_byte(2);
const GRANTEE: Address = Address::repeat_byte(3);
const OTHER: Address = Address::repeat_byte(4);
const CONSENT: ConsentId = ConsentId(B256::repeat_byte(0xc0));
const SECOND: ConsentId = ConsentId(B256::repeat_byte(0xc1));

/// Unix second of block 0; one block every twelve seconds.
const GENESIS: u64 = 1_800_000_000;
/// The head of the good case.
const HEAD: u64 = 100;
const FINAL: u64 = 90;
const EXPIRY: u64 = GENESIS + 1_000_000;

const fn time(block: u64) -> u64 {
    GENESIS + 12 * block
}

fn content(mark: u8) -> ContentRef {
    ContentRef::swarm(B256::repeat_byte(mark))
}

fn leaf(kind: LeafKind, number: u64, mark: u8, previous: Option<&Leaf>) -> Leaf {
    Leaf {
        kind,
        segment: Segment(7),
        number,
        content: content(mark),
        commitment: Commitment(B256::repeat_byte(mark)),
        previous: previous.map_or_else(VersionId::default, Leaf::version),
    }
}

fn first() -> Leaf {
    leaf(LeafKind::New, 1, 0xa, None)
}

fn propose(n: u8, leaves: &[Leaf]) -> LedgerEvent {
    LedgerEvent::Proposed(ProposedEvent {
        patient: PATIENT,
        author: AUTHOR,
        proposal: ProposalId(B256::repeat_byte(n)),
        rotations: 0,
        deadline: u64::MAX,
        policy: B256::ZERO,
        leaves: leaves.to_vec(),
        signature: Bytes::new(),
    })
}

fn settle(n: u8, accepted: u64, rejected: u64) -> LedgerEvent {
    LedgerEvent::Settled(SettledEvent {
        patient: PATIENT,
        author: AUTHOR,
        proposal: ProposalId(B256::repeat_byte(n)),
        accepted: U256::from(accepted),
        rejected: U256::from(rejected),
        sequence: u32::from(n),
        signer: PATIENT,
    })
}

fn reseal(previous: u8, mark: u8) -> LedgerEvent {
    LedgerEvent::Resealed(ResealedEvent {
        patient: PATIENT,
        record: first().key(PATIENT, AUTHOR).id(),
        signer: PATIENT,
        content: content(mark),
        previous: B256::repeat_byte(previous),
    })
}

fn consents(version: u32, live: &[ConsentId], revoked: &[ConsentId]) -> LedgerEvent {
    LedgerEvent::ConsentsChanged(ConsentsEvent {
        patient: PATIENT,
        root: live.iter().copied().collect::<ConsentTree>().root(),
        version,
        revoked: revoked.to_vec(),
        granted: live.to_vec(),
    })
}

fn access_by(grantee: Address, consent: ConsentId, network: bool, number: u64) -> LedgerEvent {
    LedgerEvent::Accessed(AccessedEvent {
        patient: PATIENT,
        grantee,
        record: leaf(LeafKind::New, number, 0, None).key(PATIENT, AUTHOR).id(),
        consent,
        purpose: 0,
        network,
        deadline: 0,
    })
}

fn access() -> LedgerEvent {
    access_by(GRANTEE, CONSENT, false, 1)
}

/// A record accepted in block 11, two consents in block 20, an access in block 80.
fn history() -> Vec<(u64, LedgerEvent)> {
    vec![
        (10, propose(1, &[first()])),
        (11, settle(1, 1, 0)),
        (20, consents(1, &[CONSENT, SECOND], &[])),
        (80, access()),
    ]
}

fn chart(events: &[(u64, LedgerEvent)]) -> Chart {
    let mut chart = Chart::default();
    for (log, (block, event)) in (0..).zip(events) {
        let at = Position { block: *block, log, time: time(*block), transaction: B256::ZERO };
        chart.apply(&Stamped { at, event: event.clone() });
    }
    chart
}

/// A history, a request, a time and a policy, all good until a case changes one.
struct Case {
    events: Vec<(u64, LedgerEvent)>,
    asked: Asked,
    now: Now,
    policy: Policy,
}

impl Case {
    fn good() -> Self {
        let asked = Asked {
            patient: PATIENT,
            grantee: GRANTEE,
            consent: CONSENT,
            expiry: EXPIRY,
            records: vec![first().key(PATIENT, AUTHOR)],
        };
        let now = Now {
            clock: time(HEAD) + 5,
            head_time: time(HEAD),
            final_block: Some(FINAL),
            standing: Standing::None,
        };
        Self { events: history(), asked, now, policy: Policy::default() }
    }

    fn decide(&self) -> Result<Vec<Allowed>, Cause> {
        // As a chain does: in the order of the blocks.
        let mut events = self.events.clone();
        events.sort_by_key(|(block, _)| *block);
        rule(&chart(&events), &self.asked, &self.now, &self.policy)
    }

    fn access_at(&mut self, block: u64) {
        self.events.pop();
        self.events.push((block, access()));
    }

    fn add(&mut self, events: impl IntoIterator<Item = (u64, LedgerEvent)>) {
        self.events.extend(events);
    }
}

type Change = fn(&mut Case);

#[expect(clippy::too_many_lines, reason = "a table")]
fn refusals() -> Vec<(&'static str, Change, Cause)> {
    use Cause::{
        Chain, Malformed, NotAccepted, NotFinal, NotLogged, Revoked, Standing as Suspended, Window,
    };
    vec![
        ("nothing is asked", |it| it.asked.records.clear(), Malformed),
        (
            "more than 64 records",
            |it| {
                let one = it.asked.records[0];
                it.asked.records = (0..65).map(|number| RecordKey { number, ..one }).collect();
            },
            Malformed,
        ),
        ("a record twice", |it| it.asked.records.push(it.asked.records[0]), Malformed),
        ("a record of somebody else", |it| it.asked.records[0].patient = OTHER, Malformed),
        ("nobody knows what is final", |it| it.now.final_block = None, Chain),
        ("the head is too old", |it| it.now.clock = time(HEAD) + 601, Chain),
        ("the clock is wrong", |it| it.now.clock = time(HEAD) - 601, Chain),
        ("the access is after the head", |it| it.now.head_time = time(79), Chain),
        (
            "a change of consents is missing",
            |it| it.add([(85, consents(3, &[CONSENT, SECOND], &[]))]),
            Chain,
        ),
        ("the grantee is suspended", |it| it.now.standing = Standing::Suspended, Suspended),
        ("the consent is not known", |it| it.asked.consent.0 = B256::repeat_byte(9), Revoked),
        ("the consent has ended", |it| it.asked.expiry = it.now.clock, Revoked),
        (
            "the consent was revoked before the head, not finally yet",
            |it| it.add([(99, consents(2, &[SECOND], &[CONSENT]))]),
            Revoked,
        ),
        (
            "all consents were revoked",
            |it| {
                let event = ConsentsEvent {
                    patient: PATIENT,
                    root: ConsentRoot::default(),
                    version: 2,
                    revoked: Vec::new(),
                    granted: Vec::new(),
                };
                it.add([(99, LedgerEvent::ConsentsChanged(event))]);
            },
            Revoked,
        ),
        (
            "the announced root is not that of the leaves",
            |it| {
                let event = ConsentsEvent {
                    patient: PATIENT,
                    root: ConsentTree::default().root(),
                    version: 2,
                    revoked: Vec::new(),
                    granted: vec![ConsentId(B256::repeat_byte(8))],
                };
                let other = ConsentRoot([9; 28].into());
                it.add([(
                    99,
                    LedgerEvent::ConsentsChanged(ConsentsEvent { root: other, ..event }),
                )]);
            },
            Revoked,
        ),
        ("no access", |it| drop(it.events.pop()), NotLogged),
        (
            "another grantee's access",
            |it| *it.events.last_mut().unwrap() = (80, access_by(OTHER, CONSENT, false, 1)),
            NotLogged,
        ),
        (
            "an access under another consent",
            |it| *it.events.last_mut().unwrap() = (80, access_by(GRANTEE, SECOND, false, 1)),
            NotLogged,
        ),
        (
            "an access to another record",
            |it| *it.events.last_mut().unwrap() = (80, access_by(GRANTEE, CONSENT, false, 2)),
            NotLogged,
        ),
        (
            "one of two records is not logged",
            |it| {
                let one = it.asked.records[0];
                it.asked.records.push(RecordKey { number: 2, ..one });
            },
            NotLogged,
        ),
        ("the access is not final", |it| it.access_at(FINAL + 1), NotFinal),
        (
            "an old access, and a new one that is not final",
            |it| {
                it.policy.window = 120;
                it.add([(95, access())]);
            },
            NotFinal,
        ),
        ("a second past the window by the clock", |it| it.policy.window = 12 * 20 + 4, Window),
        (
            "a second past the window by the head, the clock being slow",
            |it| {
                it.now.clock = time(HEAD) - 300;
                it.policy.window = 12 * 20 - 1;
            },
            Window,
        ),
        ("no such record", |it| drop(it.events.remove(1)), NotAccepted),
        ("the patient rejected it", |it| it.events[1] = (11, settle(1, 0, 1)), NotAccepted),
        (
            "it was accepted after the access",
            |it| it.events[1] = (81, settle(1, 1, 0)),
            NotAccepted,
        ),
        (
            "it was retracted before the access",
            |it| {
                let gone = leaf(LeafKind::Retraction, 1, 0xe, Some(&first()));
                it.add([(30, propose(2, &[gone])), (31, settle(2, 1, 0))]);
            },
            NotAccepted,
        ),
        (
            "it was retracted since",
            |it| {
                let gone = leaf(LeafKind::Retraction, 1, 0xe, Some(&first()));
                it.add([(98, propose(2, &[gone])), (99, settle(2, 1, 0))]);
            },
            NotAccepted,
        ),
        (
            "an access of all organizations by one that is no member",
            |it| *it.events.last_mut().unwrap() = (80, access_by(GRANTEE, CONSENT, true, 1)),
            Suspended,
        ),
        (
            "an access of all organizations by one that was removed",
            |it| {
                it.now.standing = Standing::Removed;
                *it.events.last_mut().unwrap() = (80, access_by(GRANTEE, CONSENT, true, 1));
            },
            Suspended,
        ),
    ]
}

#[test]
fn a_proxy_answers_for_a_logged_read_and_each_doubt_refuses() {
    let good = Case::good().decide().unwrap();
    assert_eq!(good.len(), 1);
    assert_eq!((good[0].access.block, good[0].access.log), (80, 3));
    assert_eq!((good[0].version, good[0].leaf), (first().version(), first()));
    assert_eq!(good[0].contents, [content(0xa)]);
    for (name, change, cause) in refusals() {
        let mut case = Case::good();
        change(&mut case);
        assert_eq!(case.decide(), Err(cause), "{name}");
    }
}

#[test]
fn the_last_moment_of_each_limit_still_counts() {
    let cases: &[(&str, Change)] = &[
        ("the window", |it| it.policy.window = 12 * 20 + 5),
        ("the final block", |it| it.now.final_block = Some(80)),
        ("the age of the head", |it| it.now.clock = time(HEAD) + 600),
        ("a head that is ahead", |it| it.now.clock = time(HEAD) - 600),
        ("the end of the consent", |it| it.asked.expiry = it.now.clock + 1),
        ("an idle development chain", |it| {
            it.now.clock = time(HEAD) + 3_000;
            it.policy.max_head_age = None;
        }),
        ("a named grantee that was removed", |it| it.now.standing = Standing::Removed),
        ("all organizations, an active one", |it| {
            it.now.standing = Standing::Active;
            *it.events.last_mut().unwrap() = (80, access_by(GRANTEE, CONSENT, true, 1));
        }),
        ("another consent was revoked", |it| {
            it.add([(99, consents(2, &[CONSENT], &[SECOND]))]);
        }),
        ("an older access that is final, and a newer that is not", |it| {
            it.add([(99, access())]);
        }),
    ];
    for (name, change) in cases {
        let mut case = Case::good();
        change(&mut case);
        assert_eq!(case.decide().map(|allowed| allowed.len()), Ok(1), "{name}");
    }
}

#[test]
fn what_is_answered_for_is_what_stood_at_the_newest_access() {
    let amended = leaf(LeafKind::Amendment, 1, 0xb, Some(&first()));
    let amend = |block| [(block, propose(2, &[amended])), (block, settle(2, 1, 0))];
    let decide = |events: Vec<(u64, LedgerEvent)>| {
        let mut case = Case::good();
        case.add(events);
        let allowed = case.decide().unwrap().remove(0);
        (allowed.version, allowed.access.block, allowed.contents)
    };
    let old = first().version();
    // An amendment counts from the next access on.
    assert_eq!(decide(amend(85).into()), (old, 80, vec![content(0xa)]));
    assert_eq!(decide(amend(70).into()), (amended.version(), 80, vec![content(0xb)]));
    let both = [amend(82).as_slice(), &[(88, access())]].concat();
    assert_eq!(decide(both), (amended.version(), 88, vec![content(0xb)]));
    // So does a reseal; of many, the newest three are tried.
    assert_eq!(decide(vec![(81, reseal(0xa, 1))]), (old, 80, vec![content(0xa)]));
    let four = vec![
        (30, reseal(0xa, 1)),
        (31, reseal(1, 2)),
        (32, reseal(2, 3)),
        (33, reseal(3, 4)),
        (81, reseal(4, 5)),
    ];
    assert_eq!(decide(four), (old, 80, vec![content(4), content(3), content(2)]));
    // Inside one block the index of the log decides: the access of the history comes first.
    let (mut same, mut earlier) = (Case::good(), Case::good());
    same.add([(80, reseal(0xa, 1))]);
    assert_eq!(same.decide().unwrap()[0].contents, [content(0xa)]);
    earlier.events.insert(3, (80, reseal(0xa, 1)));
    assert_eq!(earlier.decide().unwrap()[0].contents, [content(1), content(0xa)]);
}

#[test]
fn words_of_records_have_one_meaning() {
    let key = first().key(PATIENT, AUTHOR);
    let word = U256::from(key.number)
        | U256::from(key.segment.0) << 64
        | U256::from_be_slice(key.author.as_slice()) << 96;
    assert_eq!(record_of(PATIENT, word), Some(key));
    for bit in 0..256 {
        let other = record_of(PATIENT, word ^ U256::from(1) << bit);
        assert_eq!(other.is_none(), (72..96).contains(&bit), "bit {bit}");
        assert_ne!(other, Some(key), "bit {bit}");
    }
}

#[test]
fn causes_have_distinct_words() {
    let words: std::collections::BTreeSet<_> = Cause::ALL.iter().map(|it| it.as_str()).collect();
    assert_eq!(words.len(), Cause::ALL.len());
}
