//! Random histories: a small model says beforehand what the contract answers, and afterwards what stands.

use std::collections::BTreeSet;

use alloy::sol_types::SolError as _;
use alloy_primitives::{B256, U256};
use galen_chain::{
    CosignPolicy,
    contract::HealthLedger::{
        ConsentNotFound, ConsentNotInForce, ConsentUnchanged, ConsentVersionStale,
        GranteeNotInStanding, MaskExceedsCount, MasksOverlap, PurposeNotConsented,
        SegmentNotConsented, SequenceStale, SignatureInvalid, logAccessBySigCall, resealCall,
        rotateCall, settleCall,
    },
    typed,
};
use galen_types::{Consent, ConsentTree, Purpose, hash_pair};
use proptest::{
    collection::vec,
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, TestRunner},
};

use crate::{
    operations::{access, answer, settlement},
    stage::{
        CONSENTED, Call, LATER, NOW, Person, Stage, consent, consent_change, consent_message, hash,
        leaf, proposal, show, terms, u48,
    },
};

/// One thing that somebody tries. Numbers of consents are 0 to 5.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The patient answers a new proposal of three leaves, perhaps for another sequence.
    Settle {
        accepted: u8,
        rejected: u8,
        sequence: i8,
    },
    /// The patient grants, revokes, or revokes everything, perhaps for another version.
    Grant {
        consent: u8,
        version: i8,
    },
    Revoke {
        consent: u8,
        version: i8,
    },
    RevokeAll,
    /// The grantee of a consent reads under it, with a proof of now or of the tree before.
    Read {
        consent: u8,
        purpose: Purpose,
        segment: u8,
        stale: bool,
    },
    /// Patient or author announce new content.
    Reseal {
        by_author: bool,
        number: u64,
    },
    /// The patient's key changes, with the signature of the current key or of the one before.
    Rotate {
        current: bool,
    },
    /// Time passes.
    Wait {
        seconds: u16,
    },
    /// The third organization is suspended, which half of the consents name.
    Suspend,
}

fn step() -> impl Strategy<Value = Step> {
    let numbers = || prop_oneof![8 => Just(0_i8), 1 => Just(-1_i8), 1 => Just(1_i8)];
    prop_oneof![
        6 => (0..9_u8, 0..9_u8, numbers())
            .prop_map(|(accepted, rejected, sequence)| Step::Settle { accepted, rejected, sequence }),
        8 => (0..6_u8, numbers()).prop_map(|(consent, version)| Step::Grant { consent, version }),
        3 => (0..6_u8, numbers()).prop_map(|(consent, version)| Step::Revoke { consent, version }),
        1 => Just(Step::RevokeAll),
        10 => (0..6_u8, prop_oneof![4 => Just(Purpose::Treatment), 1 => Just(Purpose::Payment)],
            prop_oneof![4 => Just(CONSENTED.0), 1 => any::<u8>()], prop::bool::weighted(0.2))
            .prop_map(|(consent, purpose, segment, stale)| Step::Read { consent, purpose, segment, stale }),
        3 => (any::<bool>(), 0..5_u64).prop_map(|(by_author, number)| Step::Reseal { by_author, number }),
        1 => prop::bool::weighted(0.7).prop_map(|current| Step::Rotate { current }),
        4 => (1..200_u16).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Suspend),
    ]
}

/// What the model knows, and the stage that it is compared with.
struct Model {
    stage: Stage,
    /// Number of the patient's key, and of the one before it.
    key: u8,
    key_before: u8,
    rotations: u32,
    sequence: u32,
    version: u32,
    live: BTreeSet<u8>,
    live_before: BTreeSet<u8>,
    last_access: u64,
    accesses: usize,
    suspended: bool,
    proposals: u64,
}

type Expected = Result<(), [u8; 4]>;

impl Model {
    async fn new() -> Self {
        Self {
            stage: Stage::new().await,
            key: 2,
            key_before: 2,
            rotations: 0,
            sequence: 0,
            version: 0,
            live: BTreeSet::new(),
            live_before: BTreeSet::new(),
            last_access: 0,
            accesses: 0,
            suspended: false,
            proposals: 0,
        }
    }

    /// Even consents name the grantee, odd ones the third organization. The last two end, or begin,
    /// in the course of time.
    fn consent(&self, n: u8) -> Consent {
        let grantee =
            if n.is_multiple_of(2) { self.stage.grantee.id() } else { self.stage.third.id() };
        let terms = consent(grantee, n.into());
        match n {
            4 => Consent { expiry: NOW + 3_000, ..terms },
            5 => Consent { not_before: NOW + 1_000, ..terms },
            _ => terms,
        }
    }

    fn tree(&self, live: &BTreeSet<u8>) -> ConsentTree {
        live.iter().map(|n| self.consent(*n).id()).collect()
    }

    fn now(&self) -> u64 {
        self.stage.chain.head().timestamp
    }

    async fn take(&mut self, step: Step) {
        let (call, expected) = match step {
            Step::Settle { accepted, rejected, sequence } => {
                self.settle(accepted, rejected, sequence)
            }
            Step::Grant { consent, version } => {
                let mut next = self.live.clone();
                next.insert(consent);
                self.change(next, version)
            }
            Step::Revoke { consent, version } => {
                let mut next = self.live.clone();
                next.remove(&consent);
                self.change(next, version)
            }
            Step::RevokeAll => self.change(BTreeSet::new(), 0),
            Step::Read { consent, purpose, segment, stale } => {
                self.read(consent, purpose, segment, stale)
            }
            Step::Reseal { by_author, number } => self.reseal(by_author, number),
            Step::Rotate { current } => self.rotate(current),
            Step::Wait { seconds } => return self.stage.later(seconds.into()),
            Step::Suspend if self.suspended => return,
            Step::Suspend => {
                self.stage.suspend(&self.stage.third).await;
                self.suspended = true;
                return;
            }
        };
        let got = self.stage.try_send(self.stage.relayer.id(), &call).await;
        match (expected, got) {
            (Ok(()), Ok(_)) => self.apply(step),
            (Err(selector), Err(data)) => {
                assert_eq!(selector, data[..4], "{step:?}: {}", show(&data));
            }
            (expected, Ok(_)) => panic!("{step:?} went through instead of {expected:?}"),
            (Ok(()), Err(data)) => panic!("{step:?} was refused: {}", show(&data)),
        }
    }

    fn settle(&self, accepted: u8, rejected: u8, offset: i8) -> (Call, Expected) {
        let stage = &self.stage;
        let leaves: Vec<_> = (0..3).map(|n| leaf(3 * self.proposals + n)).collect();
        let (patient, author) = (stage.patient.id(), stage.author.id());
        let proposal = proposal(patient, author, &leaves, &CosignPolicy::default(), LATER);
        let sequence = self.sequence.wrapping_add_signed(offset.into()) & 0x7fff_ffff;
        let message = typed::Settlement {
            accepted: U256::from(accepted),
            rejected: U256::from(rejected),
            sequence,
            rotations: self.rotations,
            ..settlement(&proposal, patient)
        };
        let expected = if sequence != self.sequence {
            Err(SequenceStale::SELECTOR)
        } else if accepted & rejected != 0 {
            Err(MasksOverlap::SELECTOR)
        } else if (accepted | rejected) > 0b111 {
            Err(MaskExceedsCount::SELECTOR)
        } else {
            Ok(())
        };
        let call = stage.call(&settleCall {
            proposal: terms(&proposal),
            authorSignature: stage.signed(&stage.author, &proposal),
            answer: answer(&message),
            patientSignature: stage.signed(&Person::new(self.key), &message),
        });
        (call, expected)
    }

    fn change(&self, next: BTreeSet<u8>, offset: i8) -> (Call, Expected) {
        let version = self.version.wrapping_add_signed(offset.into()) & 0x7fff_ffff;
        let ids = |numbers: Vec<&u8>| -> Vec<B256> {
            numbers.into_iter().map(|n| self.consent(*n).id().0).collect()
        };
        let revoked = ids(self.live.difference(&next).collect());
        let granted = ids(next.difference(&self.live).collect());
        let expected = if version != self.version {
            Err(ConsentVersionStale::SELECTOR)
        } else if next == self.live {
            Err(ConsentUnchanged::SELECTOR)
        } else {
            Ok(())
        };
        let patient = self.stage.patient.id();
        let message = typed::ConsentChange {
            rotations: self.rotations,
            ..consent_message(patient, version, &self.tree(&next), revoked, granted)
        };
        let signature = self.stage.signed(&Person::new(self.key), &message);
        (self.stage.call(&consent_change(&message, signature)), expected)
    }

    fn read(&self, n: u8, purpose: Purpose, segment: u8, stale: bool) -> (Call, Expected) {
        let stage = &self.stage;
        let terms = self.consent(n);
        let reader = if n.is_multiple_of(2) { &stage.grantee } else { &stage.third };
        let tree = self.tree(if stale { &self.live_before } else { &self.live });
        let mut shown = access(stage, &terms, reader.id(), &tree, &[self.accesses as u64]);
        shown.terms |= U256::from(purpose.bit());
        shown.records[0] =
            shown.records[0] - (U256::from(CONSENTED.0) << 64) + (U256::from(segment) << 64);
        let message = typed::Access {
            purpose: purpose.bit(),
            ..crate::operations::access_message(&shown, terms.id())
        };
        // A proof of before may still be one of now.
        let top = shown.proof.iter().fold(terms.id().0, |node, next| hash_pair(node, *next));
        let proven = top[..28] == self.tree(&self.live).root().0[..];
        let expected = if n % 2 == 1 && self.suspended {
            Err(GranteeNotInStanding::SELECTOR)
        } else if !proven {
            Err(ConsentNotFound::SELECTOR)
        } else if !terms.holds_at(self.now()) {
            Err(ConsentNotInForce::SELECTOR)
        } else if purpose != Purpose::Treatment {
            Err(PurposeNotConsented::SELECTOR)
        } else if segment != CONSENTED.0 {
            Err(SegmentNotConsented::SELECTOR)
        } else {
            Ok(())
        };
        let call = stage.call(&logAccessBySigCall {
            access: shown,
            deadline: message.deadline,
            signature: stage.signed(reader, &message),
        });
        (call, expected)
    }

    fn reseal(&self, by_author: bool, number: u64) -> (Call, Expected) {
        let stage = &self.stage;
        let (patient, author) = (stage.patient.id(), stage.author.id());
        let signer = if by_author { stage.author.clone() } else { Person::new(self.key) };
        let message = typed::Reseal {
            patient,
            author,
            signer: if by_author { author } else { patient },
            rotations: if by_author { 0 } else { self.rotations },
            items: vec![typed::Resealed {
                segment: CONSENTED.0,
                number,
                store: 0,
                content: hash(number + 50),
                previous: hash(number),
            }],
            deadline: u48(LATER),
        };
        let header = U256::from(number)
            | U256::from(CONSENTED.0) << 64
            | U256::from(by_author) << 88
            | U256::from(LATER) << 96;
        let call = stage.call(&resealCall {
            patient,
            author,
            header,
            content: hash(number + 50),
            previous: hash(number),
            signature: stage.signed(&signer, &message),
        });
        (call, Ok(()))
    }

    fn rotate(&self, current: bool) -> (Call, Expected) {
        let stage = &self.stage;
        let (id, heir) = (stage.patient.id(), Person::new(self.key_before ^ self.key ^ 50));
        let message = typed::Rotation {
            id,
            controller: heir.id(),
            sequence: self.sequence,
            nonce: 0,
            deadline: u48(LATER),
        };
        // Before the first rotation there is no other key.
        let holds = current || self.key == self.key_before;
        let key = Person::new(if current { self.key } else { self.key_before });
        let call = stage.call(&rotateCall {
            id,
            controller: heir.id(),
            sequence: self.sequence,
            deadline: message.deadline,
            signature: stage.signed(&key, &message),
            acceptance: stage.signed(&heir, &message),
        });
        (call, if holds { Ok(()) } else { Err(SignatureInvalid::SELECTOR) })
    }

    /// What a step that went through leaves behind.
    fn apply(&mut self, step: Step) {
        match step {
            Step::Settle { .. } => {
                self.sequence += 1;
                self.proposals += 1;
            }
            Step::Grant { consent, .. } => {
                self.live_before = self.live.clone();
                self.live.insert(consent);
                self.version += 1;
            }
            Step::Revoke { consent, .. } => {
                self.live_before = self.live.clone();
                self.live.remove(&consent);
                self.version += 1;
            }
            Step::RevokeAll => {
                self.live_before = std::mem::take(&mut self.live);
                self.version += 1;
            }
            Step::Read { .. } => {
                self.last_access = self.now();
                self.accesses += 1;
            }
            Step::Rotate { .. } => {
                let heir = self.key_before ^ self.key ^ 50;
                self.key_before = std::mem::replace(&mut self.key, heir);
                self.rotations += 1;
                self.sequence += 1;
                self.version += 1;
            }
            Step::Reseal { .. } | Step::Wait { .. } | Step::Suspend => {}
        }
    }

    /// The slots on chain are those of the model.
    async fn is_right(&self, step: Step) {
        let patient = self.stage.patient.id();
        let chart = self.stage.ledger.chart(patient).await.unwrap();
        assert_eq!(
            (chart.sequence, chart.last_access),
            (self.sequence, self.last_access),
            "{step:?}"
        );
        let consents = self.stage.ledger.consents(patient).await.unwrap();
        assert_eq!(consents.version, self.version, "{step:?}");
        assert_eq!(consents.root, self.tree(&self.live).root(), "{step:?}");
        let participant = self.stage.ledger.participant(patient).await.unwrap();
        assert_eq!(participant.rotations, self.rotations, "{step:?}");
        assert_eq!(participant.controller, Person::new(self.key).id(), "{step:?}");
    }
}

/// Plays a history. Returns how many of its steps went through.
fn play(steps: &[Step]) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut model = Model::new().await;
        let mut taken = 0;
        for step in steps {
            let before = model.stage.chain.head().number;
            model.take(*step).await;
            taken += usize::from(model.stage.chain.head().number > before);
            model.is_right(*step).await;
        }
        // What readers rebuild from the events alone is what the chain says.
        let patient = model.stage.patient.id();
        let chart = model.stage.chart(patient).await;
        assert_eq!(chart.consents().tree, model.tree(&model.live));
        assert_eq!(chart.accesses().len(), model.accesses);
        model.stage.is_folded(patient).await;
        taken
    })
}

/// One long history, the same each time.
#[test]
fn a_long_history_goes_as_the_model_says() {
    let mut runner = TestRunner::deterministic();
    let steps = vec(step(), 400).new_tree(&mut runner).unwrap().current();
    let taken = play(&steps);
    assert!((100..400).contains(&taken), "{taken} of 400 steps went through: the rest is refusals");
}

proptest! {
    #![proptest_config(Config { cases: 12, failure_persistence: None, ..Config::default() })]

    /// Short histories, others each time; a failure shrinks to the steps that matter.
    #[test]
    fn every_history_goes_as_the_model_says(steps in vec(step(), 1..40)) {
        play(&steps);
    }
}
