//! The network decides who is a member, and nothing else.

use alloy::sol_types::SolError as _;
use alloy_primitives::{Address, Bytes, U256};
use galen_chain::{
    Standing,
    contract::{
        Consortium::{
            AdmissionNotReady, LastMember, MotionDoesNotApply, NotEntitled, TooFewMembers,
            VotersUnsorted, VotesMissing, VotesStale, decideCall, finishAdmissionCall,
        },
        HealthLedger::{NotActive, NotConsortium, NotController, setStatusCall},
    },
};

use crate::{
    operations::prepare,
    rows::operations,
    stage::{ADMIT, Person, READMIT, REMOVE, SUSPEND, Stage, u48},
};

async fn standing(stage: &Stage, id: Address) -> Standing {
    stage.ledger.participant(id).await.unwrap().standing
}

const WAIT: u64 = 2 * 86_400;

#[tokio::test]
async fn members_suspend_and_readmit_by_their_votes() {
    let stage = Stage::new().await;
    let (a, b, c) = (&stage.author, &stage.second, &stage.third);
    let from = stage.stranger.id();
    let suspend =
        |counter, voters: &[&Person]| stage.motion(&stage.decide(SUSPEND, c.id(), counter, voters));
    let missing = VotesMissing { votes: U256::ONE, needed: U256::from(2) };
    stage.refuses("one vote", from, &suspend(0, &[a]), missing).await;
    let stale = VotesStale { counter: 1, current: 0 };
    stage.refuses("another count", from, &suspend(1, &[a, b]), stale).await;
    let outsider = NotEntitled { voter: stage.stranger.id() };
    let strange = stage.decide(SUSPEND, c.id(), 0, &[a, &stage.stranger]);
    stage.refuses("an outsider's vote", from, &stage.motion(&strange), outsider).await;
    let twice = stage.decide(SUSPEND, c.id(), 0, &[a, a]);
    let unsorted = VotersUnsorted { before: a.id(), voter: a.id() };
    stage.refuses("one member twice", from, &stage.motion(&twice), unsorted).await;

    stage.send(from, &suspend(0, &[a, b])).await;
    assert_eq!(standing(&stage, c.id()).await, Standing::Suspended);
    let applies = MotionDoesNotApply { motion: SUSPEND, organization: c.id() };
    stage.refuses("the votes again", from, &suspend(0, &[a, b]), applies).await;
    let silent = NotEntitled { voter: c.id() };
    let vote = stage.decide(SUSPEND, a.id(), 0, &[b, c]);
    stage.refuses("a suspended member's vote", from, &stage.motion(&vote), silent).await;

    let readmit = stage.decide(READMIT, c.id(), 0, &[a, b]);
    stage.send(from, &stage.motion(&readmit)).await;
    assert_eq!(standing(&stage, c.id()).await, Standing::Suspended, "it waits");
    let finish = stage.motion(&finishAdmissionCall { organization: c.id() });
    let ready = stage.chain.head().timestamp + WAIT;
    let early = AdmissionNotReady { readyAt: u48(ready) };
    stage.refuses("too early", from, &finish, early).await;
    stage.later(WAIT);
    stage.send(from, &finish).await;
    assert_eq!(standing(&stage, c.id()).await, Standing::Active);
    stage
        .refuses(
            "the first votes once more",
            from,
            &suspend(0, &[a, b]),
            VotesStale { counter: 0, current: 2 },
        )
        .await;
}

#[tokio::test]
async fn newcomers_wait_and_the_last_member_stays() {
    let stage = Stage::new().await;
    let (a, b, c) = (&stage.author, &stage.second, &stage.third);
    let (from, newcomer) = (stage.relayer.id(), Person::new(20));
    let admit = |epoch| stage.motion(&stage.decide(ADMIT, newcomer.id(), epoch, &[a, b]));
    stage.send(from, &admit(0)).await;
    assert_eq!(standing(&stage, newcomer.id()).await, Standing::None);
    let waiting = MotionDoesNotApply { motion: ADMIT, organization: newcomer.id() };
    stage.refuses("twice", from, &admit(1), waiting).await;
    stage.later(WAIT);
    stage.send(from, &stage.motion(&finishAdmissionCall { organization: newcomer.id() })).await;
    assert_eq!(standing(&stage, newcomer.id()).await, Standing::Active);

    // Four members, three votes; then three, two votes; then two, two votes.
    let remove = |who: &Person, epoch, voters: &[&Person]| {
        stage.motion(&stage.decide(REMOVE, who.id(), epoch, voters))
    };
    stage.send(from, &remove(&newcomer, 2, &[a, b, c])).await;
    assert_eq!(standing(&stage, newcomer.id()).await, Standing::Removed);
    stage.send(from, &remove(c, 3, &[a, b])).await;
    let few = TooFewMembers { members: U256::from(2) };
    let two = stage.motion(&stage.decide(SUSPEND, b.id(), 0, &[a, b]));
    stage.refuses("two members", from, &two, few).await;
    stage.send(from, &remove(b, 4, &[a, b])).await;
    stage.refuses("the last one", from, &remove(a, 5, &[a]), LastMember {}).await;
}

/// Votes are bound to this consortium and to the ids that cast them.
#[tokio::test]
async fn a_vote_counts_for_what_it_says() {
    let stage = Stage::new().await;
    let votes = stage.decide(SUSPEND, stage.third.id(), 0, &[&stage.author, &stage.second]);
    type Change = fn(&mut decideCall);
    let rows: [(&str, Change); 3] = [
        ("another deadline", |it| it.deadline += u48(1)),
        ("the signatures swapped", |it| it.signatures.swap(0, 1)),
        ("nobody's signature", |it| it.signatures[0] = Bytes::new()),
    ];
    for (row, change) in rows {
        let mut call = votes.clone();
        change(&mut call);
        let refusal = stage.ask(stage.stranger.id(), &stage.motion(&call)).await;
        assert!(refusal.is_err(), "{row}");
    }
    // A member that sends the call needs no signature.
    let mut call = votes;
    call.signatures[0] = Bytes::new();
    stage.takes("sent by the first voter", call.voters[0], &stage.motion(&call)).await;
}

#[tokio::test]
async fn suspended_authors_propose_nothing() {
    let stage = prepare().await;
    let own: Vec<_> =
        operations(&stage).into_iter().filter(|it| it.id == stage.author.id()).collect();
    let calls: Vec<_> = own.iter().map(|it| it.honest(&stage)).collect();
    stage.suspend(&stage.author).await;
    for (operation, call) in own.iter().zip(&calls) {
        // To take something back stays possible.
        if operation.name == "withdraw" {
            stage.takes("withdraw", stage.relayer.id(), call).await;
        } else {
            let error = NotActive { organization: stage.author.id() };
            stage.refuses(operation.name, stage.relayer.id(), call, error).await;
        }
    }
}

/// The consortium sets standings. In a patient's name it is a stranger like any other.
#[tokio::test]
async fn the_consortium_cannot_touch_a_patient() {
    let stage = prepare().await;
    let patient = stage.patient.id();
    let before =
        (stage.ledger.chart(patient).await.unwrap(), stage.ledger.consents(patient).await.unwrap());
    for operation in operations(&stage) {
        let call = operation.call(&stage, Bytes::new(), crate::stage::LATER);
        let refusal = stage.ask(stage.consortium, &call).await.expect_err(operation.name);
        let stranger = NotController { id: operation.id, sender: stage.stranger.id() };
        let here = NotController { id: operation.id, sender: stage.consortium };
        if operation.unsigned == stranger.abi_encode() {
            assert_eq!(refusal, here.abi_encode());
        } else {
            assert_eq!(refusal, operation.unsigned, "{}", operation.name);
        }
    }
    // Not even by what it may do: a standing that a pseudonym is given changes no slot of the patient.
    let admit = stage.decide(ADMIT, patient, 0, &[&stage.author, &stage.second]);
    stage.send(stage.relayer.id(), &stage.motion(&admit)).await;
    stage.later(WAIT);
    let finish = stage.motion(&finishAdmissionCall { organization: patient });
    stage.send(stage.relayer.id(), &finish).await;
    assert_eq!(standing(&stage, patient).await, Standing::Active);
    let suspend = stage.decide(SUSPEND, patient, 1, &[&stage.author, &stage.second, &stage.third]);
    stage.send(stage.relayer.id(), &stage.motion(&suspend)).await;
    assert_eq!(standing(&stage, patient).await, Standing::Suspended);
    let after =
        (stage.ledger.chart(patient).await.unwrap(), stage.ledger.consents(patient).await.unwrap());
    assert_eq!(before, after);
    stage.is_folded(patient).await;

    for from in [stage.stranger.id(), stage.author.id(), stage.relayer.id()] {
        let call = stage.call(&setStatusCall { organization: patient, status: 1 });
        stage.refuses("not the consortium", from, &call, NotConsortium { sender: from }).await;
    }
}
