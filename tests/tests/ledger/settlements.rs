//! Proposals and answers that do not fit, and the cosigners between them.

use alloy::sol_types::SolError as _;
use alloy_primitives::{Address, B256, Bytes, U256};
use galen_chain::{
    CosignPolicy,
    contract::HealthLedger::{
        CosignaturesMiscounted, CosignerIsParty, CosignerSuspended, CosignersMissing,
        CosignersUnsorted, LeafCountInvalid, LeafMalformed, MaskExceedsCount, MasksOverlap,
        NotActive, Policy, PolicyMismatch, PolicyThresholdInvalid, SequenceStale, SignatureInvalid,
        proposeCall, settleCall, settleWithCall,
    },
    typed,
};

use crate::{
    operations::{answer, policy, settlement, shown},
    stage::{Call, LATER, Stage, leaf, nobody, proposal, terms, u48, words},
};

/// A settlement signed by author and patient exactly as it says.
fn settle(stage: &Stage, proposal: &typed::Proposal, message: &typed::Settlement) -> Call {
    stage.call(&settleCall {
        proposal: terms(proposal),
        authorSignature: stage.signed(&stage.author, proposal),
        answer: answer(message),
        patientSignature: stage.signed(&stage.patient, message),
    })
}

fn of_three(stage: &Stage) -> typed::Proposal {
    let leaves = [leaf(1), leaf(2), leaf(3)];
    let (patient, author) = (stage.patient.id(), stage.author.id());
    proposal(patient, author, &leaves, &CosignPolicy::default(), LATER)
}

#[tokio::test]
async fn masks_are_disjoint_and_within_the_count() {
    let stage = Stage::new().await;
    let three = of_three(&stage);
    let with = |accepted: u64, rejected: u64| {
        let (accepted, rejected) = (U256::from(accepted), U256::from(rejected));
        let message = settlement(&three, stage.patient.id());
        settle(&stage, &three, &typed::Settlement { accepted, rejected, ..message })
    };
    let from = stage.relayer.id();
    for (accepted, rejected) in [(0b001, 0b010), (0b111, 0), (0, 0b111), (0, 0)] {
        stage.takes("masks that fit", from, &with(accepted, rejected)).await;
    }
    for (accepted, rejected, both) in [(0b011, 0b110, 0b010), (0b100, 0b100, 0b100)] {
        let error = MasksOverlap { both: U256::from(both) };
        stage.refuses("overlap", from, &with(accepted, rejected), error).await;
    }
    for (accepted, rejected) in [(0b1000, 0), (0, 0b1000), (0b1001, 0b0110)] {
        let mask = U256::from(accepted | rejected);
        let error = MaskExceedsCount { mask, count: U256::from(3) };
        stage.refuses("beyond the count", from, &with(accepted, rejected), error).await;
    }
}

#[tokio::test]
async fn a_full_proposal_is_settled_whole() {
    let stage = Stage::new().await;
    let leaves: Vec<_> = (0..256).map(leaf).collect();
    let (patient, author) = (stage.patient.id(), stage.author.id());
    let full = proposal(patient, author, &leaves, &CosignPolicy::default(), LATER);
    let propose = proposeCall {
        patient,
        author,
        policy: full.policy,
        deadline: full.deadline,
        leaves: words(&leaves),
        signature: stage.signed(&stage.author, &full),
    };
    stage.send(stage.relayer.id(), &stage.call(&propose)).await;
    let message = typed::Settlement {
        accepted: U256::MAX << 1,
        rejected: U256::ONE,
        ..settlement(&full, patient)
    };
    stage.send(stage.relayer.id(), &settle(&stage, &full, &message)).await;
    let chart = stage.chart(patient).await;
    assert_eq!(chart.records().len(), 255);
    stage.is_folded(patient).await;
}

#[tokio::test]
async fn a_settlement_holds_for_one_sequence() {
    let stage = Stage::new().await;
    let three = of_three(&stage);
    let at = |sequence| {
        let message = settlement(&three, stage.patient.id());
        settle(&stage, &three, &typed::Settlement { sequence, ..message })
    };
    let from = stage.relayer.id();
    stage.refuses("early", from, &at(1), SequenceStale { sequence: 1, current: 0 }).await;
    stage.send(from, &at(0)).await;
    stage.refuses("again", from, &at(0), SequenceStale { sequence: 0, current: 1 }).await;
    stage.refuses("out of order", from, &at(2), SequenceStale { sequence: 2, current: 1 }).await;
    stage.takes("next", from, &at(1)).await;
}

/// Whatever is changed of what the author signed, the author did not sign it.
#[tokio::test]
async fn a_settlement_shows_what_the_author_signed() {
    let stage = Stage::new().await;
    let signed = of_three(&stage);
    let signature = stage.signed(&stage.author, &signed);
    type Change = fn(&mut typed::Proposal);
    let rows: [(&str, Change); 4] = [
        ("another patient", |it| it.patient = Address::repeat_byte(9)),
        ("fewer leaves", |it| it.count = 2),
        ("another deadline", |it| it.deadline = u48(LATER + 1)),
        ("another leaf", |it| it.leaves[1].content = B256::repeat_byte(9)),
    ];
    for (row, change) in rows {
        let mut other = signed.clone();
        change(&mut other);
        let message = settlement(&other, stage.patient.id());
        let call = stage.call(&settleCall {
            proposal: terms(&other),
            authorSignature: signature.clone(),
            answer: answer(&message),
            patientSignature: stage.signed(&stage.patient, &message),
        });
        let digest = typed::digest(&other, stage.id());
        let error = SignatureInvalid { controller: stage.author.id(), digest };
        stage.refuses(row, stage.relayer.id(), &call, error).await;
    }
}

#[tokio::test]
async fn proposals_are_of_active_organizations_and_have_1_to_256_leaves() {
    let stage = Stage::new().await;
    let from = stage.relayer.id();
    for count in [0, 257] {
        let none = typed::Proposal { count, ..of_three(&stage) };
        let call = settle(&stage, &none, &settlement(&none, stage.patient.id()));
        let error = LeafCountInvalid { count: U256::from(count) };
        stage.refuses("count", from, &call, error).await;
    }
    let propose = |author: Address, leaves: Vec<_>| proposeCall {
        patient: stage.patient.id(),
        author,
        policy: B256::ZERO,
        deadline: u48(LATER),
        leaves,
        signature: Bytes::new(),
    };
    let (author, stranger) = (stage.author.id(), stage.stranger.id());
    let none = LeafCountInvalid { count: U256::ZERO };
    stage.refuses("no leaf", author, &stage.call(&propose(author, Vec::new())), none).await;
    let one = words(&[leaf(1)]);
    let error = NotActive { organization: stranger };
    stage.refuses("outsider", stranger, &stage.call(&propose(stranger, one.clone())), error).await;
    for bit in [74, 81, 128, 255] {
        let mut leaves = words(&[leaf(1), leaf(2)]);
        leaves[1].header |= U256::ONE << bit;
        // Kind 4, store 2, and bits without a meaning.
        let error = LeafMalformed { index: U256::ONE };
        stage.refuses("header", author, &stage.call(&propose(author, leaves)), error).await;
    }
    let mut leaves = one;
    leaves[0].previous = B256::repeat_byte(1);
    let error = LeafMalformed { index: U256::ZERO };
    stage
        .refuses("new with a predecessor", author, &stage.call(&propose(author, leaves)), error)
        .await;
}

/// A settlement under a policy, shown as `change` leaves it.
fn under(stage: &Stage, rule: &CosignPolicy, change: impl FnOnce(&mut Policy, B256)) -> Call {
    let (patient, author) = (stage.patient.id(), stage.author.id());
    let bound = proposal(patient, author, &[leaf(1), leaf(2)], rule, LATER);
    let message = settlement(&bound, patient);
    let mut policy = shown(rule, Address::ZERO, Bytes::new());
    change(&mut policy, bound.id().0);
    stage.call(&settleWithCall {
        proposal: terms(&bound),
        authorSignature: stage.signed(&stage.author, &bound),
        answer: answer(&message),
        patientSignature: stage.signed(&stage.patient, &message),
        policy,
        delegation: nobody(),
    })
}

fn cosignature(stage: &Stage, who: &crate::stage::Person, proposal: B256) -> Bytes {
    stage.signed(
        who,
        &typed::Cosignature { cosigner: who.id(), rotations: 0, proposal, deadline: u48(LATER) },
    )
}

#[tokio::test]
async fn cosigners_are_sorted_once_each_and_no_party() {
    let stage = Stage::new().await;
    let rule = policy(&stage);
    let [low, high] = rule.cosigners[..] else { unreachable!() };
    let (patient, author) = (stage.patient.id(), stage.author.id());
    let with = |cosigners: &[Address], threshold| CosignPolicy {
        threshold,
        cosigners: cosigners.to_vec(),
    };
    let unsorted = |before, cosigner| CosignersUnsorted { before, cosigner }.abi_encode();
    let party = |cosigner| CosignerIsParty { cosigner }.abi_encode();
    let threshold = |threshold: u8, cosigners: u8| {
        let (threshold, cosigners) = (U256::from(threshold), U256::from(cosigners));
        PolicyThresholdInvalid { threshold, cosigners }.abi_encode()
    };
    let missing = |signed: u8, threshold: u8| {
        let (signed, threshold) = (U256::from(signed), U256::from(threshold));
        CosignersMissing { signed, threshold }.abi_encode()
    };
    let rows = [
        ("unsorted", with(&[high, low], 1), unsorted(high, low)),
        ("doubled", with(&[low, low], 1), unsorted(low, low)),
        ("zero", with(&[Address::ZERO], 1), unsorted(Address::ZERO, Address::ZERO)),
        ("the patient", with(&[patient], 1), party(patient)),
        ("the author", with(&[author], 1), party(author)),
        ("a threshold of none", with(&[low, high], 0), threshold(0, 2)),
        ("a threshold of three", with(&[low, high], 3), threshold(3, 2)),
        ("nobody signed", with(&[low, high], 1), missing(0, 1)),
    ];
    for (row, rule, error) in rows {
        let call = under(&stage, &rule, |_, _| {});
        stage.refuses_with(row, stage.relayer.id(), &call, &error).await;
    }
}

#[tokio::test]
async fn enough_cosigners_sign_the_policy_that_the_author_signed() {
    let stage = Stage::new().await;
    let both = CosignPolicy { threshold: 2, ..policy(&stage) };
    let from = stage.relayer.id();
    let people = if stage.second.id() < stage.third.id() {
        [&stage.second, &stage.third]
    } else {
        [&stage.third, &stage.second]
    };
    let one = under(&stage, &both, |policy, id| {
        policy.signatures[0] = cosignature(&stage, people[0], id);
    });
    let error = CosignersMissing { signed: U256::ONE, threshold: U256::from(2) };
    stage.refuses("one of two", from, &one, error).await;
    // The other cosigner sends the call: its own signature may be empty.
    stage.takes("one of two, sent by the other", people[1].id(), &one).await;
    let two = under(&stage, &both, |policy, id| {
        policy.signatures = people.iter().map(|who| cosignature(&stage, who, id)).collect();
    });
    stage.takes("two of two", from, &two).await;
    let swapped = under(&stage, &both, |policy, id| {
        policy.signatures = people.iter().rev().map(|who| cosignature(&stage, who, id)).collect();
    });
    let data = stage.ask(from, &swapped).await.unwrap_err();
    assert_eq!(data[..4], SignatureInvalid::SELECTOR, "signatures in the wrong order");
    let short = under(&stage, &both, |policy, _| policy.signatures.truncate(1));
    let error = CosignaturesMiscounted { signatures: U256::ONE, cosigners: U256::from(2) };
    stage.refuses("a signature short", from, &short, error).await;

    let weak = CosignPolicy { threshold: 1, ..both.clone() };
    let call = under(&stage, &both, |policy, id| {
        policy.threshold = 1;
        policy.signatures[0] = cosignature(&stage, people[0], id);
    });
    let error = PolicyMismatch { expected: both.hash(), shown: weak.hash() };
    stage.refuses("a weaker policy", from, &call, error).await;
    let bound = proposal(stage.patient.id(), stage.author.id(), &[leaf(1)], &both, LATER);
    let message =
        typed::Settlement { rejected: U256::ZERO, ..settlement(&bound, stage.patient.id()) };
    let error = PolicyMismatch { expected: both.hash(), shown: B256::ZERO };
    stage.refuses("no policy", from, &settle(&stage, &bound, &message), error).await;

    stage.suspend(people[0]).await;
    let error = CosignerSuspended { cosigner: people[0].id() };
    stage.refuses("a suspended cosigner", from, &two, error).await;
}
