//! Keys change hands: by rotation, by guardians, after a wait, and never twice by one signature.

use alloy_primitives::{Address, B256, Bytes, U256};
use galen_chain::{
    contract::HealthLedger::{
        CancelledRecently, DelayOutOfRange, GuardiansMismatch, GuardiansMissing, GuardiansNotSet,
        NotCancellable, NotController, NotReady, NothingPending, RecoveryPending,
        cancelPendingCall, finishPendingCall, publishKeysCall, rotateCall, setGuardiansCall,
        startRecoveryCall,
    },
    typed,
};

use crate::{
    operations::{DELAY, guardian_commitment, guardians},
    stage::{Call, LATER, Person, Stage, hash, u48},
};

const RECOVERY: u8 = 3;
const FINAL: u8 = 4;
const DAY: u64 = 86_400;

/// Somebody who lost a key, and the calls around it.
struct Owner {
    stage: Stage,
    owner: Person,
    saviour: Person,
}

impl Owner {
    /// With guardians: two of three recover, all three finally.
    async fn new() -> Self {
        let stage = Stage::new().await;
        let this = Self { owner: stage.patient.clone(), saviour: Person::new(37), stage };
        let call = this.guard(guardian_commitment(&guardians().1), DELAY, 0);
        this.stage.send(this.owner.id(), &call).await;
        this
    }

    fn guard(&self, commitment: B256, delay: u32, nonce: u32) -> Call {
        self.stage.call(&setGuardiansCall {
            id: self.owner.id(),
            commitment,
            delay,
            nonce,
            deadline: u48(LATER),
            signature: Bytes::new(),
        })
    }

    async fn nonce(&self) -> u32 {
        use galen_chain::contract::HealthLedger;
        let contract = HealthLedger::new(self.stage.id().contract, self.stage.chain.provider());
        contract.guardianship(self.owner.id()).call().await.unwrap().nonce
    }

    /// A recovery to `controller` signed by the first guardians.
    async fn recover(&self, controller: Address, is_final: bool, signers: usize) -> Call {
        let (people, set) = guardians();
        let nonce = self.nonce().await;
        let sign = |(index, guardian): (usize, &Person)| {
            if index >= signers {
                return Bytes::new();
            }
            self.stage.signed(
                guardian,
                &typed::Recovery {
                    id: self.owner.id(),
                    guardian: guardian.id(),
                    guardianRotations: 0,
                    controller,
                    isFinal: is_final,
                    nonce,
                    deadline: u48(LATER),
                },
            )
        };
        self.stage.call(&startRecoveryCall {
            id: self.owner.id(),
            controller,
            isFinal: is_final,
            deadline: u48(LATER),
            signatures: people.iter().enumerate().map(sign).collect(),
            set,
        })
    }

    async fn cancel(&self) -> Call {
        self.stage.call(&cancelPendingCall {
            id: self.owner.id(),
            nonce: self.nonce().await,
            deadline: u48(LATER),
            signature: Bytes::new(),
        })
    }

    fn finish(&self) -> Call {
        self.stage.call(&finishPendingCall { id: self.owner.id() })
    }

    async fn controller(&self) -> Address {
        self.stage.ledger.participant(self.owner.id()).await.unwrap().controller
    }

    /// Something harmless that only the controller can send.
    fn act(&self) -> Call {
        self.stage.call(&publishKeysCall {
            id: self.owner.id(),
            previous: B256::ZERO,
            bundle: hash(1),
            store: 0,
            content: hash(2),
            deadline: u48(LATER),
            signature: Bytes::new(),
        })
    }
}

/// Lost key: the guardians start, everybody waits, anybody finishes, the old key is powerless.
#[tokio::test]
async fn guardians_recover_an_id_after_the_delay() {
    let it = Owner::new().await;
    let (stage, from) = (&it.stage, it.stage.relayer.id());
    let few = GuardiansMissing { signed: U256::ONE, threshold: U256::from(2) };
    stage.refuses("one of two", from, &it.recover(it.saviour.id(), false, 1).await, few).await;
    stage.send(from, &it.recover(it.saviour.id(), false, 2).await).await;
    let ready = stage.chain.head().timestamp + u64::from(DELAY);
    stage.later(u64::from(DELAY) - 1);
    stage.refuses("too early", from, &it.finish(), NotReady { readyAt: u48(ready) }).await;
    assert_eq!(it.controller().await, it.owner.id());
    stage.takes("the owner still acts", it.owner.id(), &it.act()).await;

    stage.later(1);
    stage.send(from, &it.finish()).await;
    assert_eq!(it.controller().await, it.saviour.id());
    let powerless = NotController { id: it.owner.id(), sender: it.owner.id() };
    stage.refuses("the lost key", it.owner.id(), &it.act(), powerless).await;
    stage.takes("the new one", it.saviour.id(), &it.act()).await;
    let again = NothingPending { id: it.owner.id() };
    stage.refuses("twice", from, &it.finish(), again).await;
    stage.is_folded(it.owner.id()).await;
}

/// Stolen guardians: the owner cancels once in 30 days; then the second quorum has the last word.
#[tokio::test]
async fn the_owner_cancels_once_in_thirty_days_and_never_the_final_quorum() {
    let it = Owner::new().await;
    let (stage, from) = (&it.stage, it.stage.relayer.id());
    let start = it.recover(it.saviour.id(), false, 2).await;
    stage.send(from, &start).await;
    let stranger = NotController { id: it.owner.id(), sender: it.stage.stranger.id() };
    stage.refuses("a stranger", stage.stranger.id(), &it.cancel().await, stranger).await;
    stage.send(it.owner.id(), &it.cancel().await).await;
    let cancelled = stage.chain.head().timestamp;
    assert!(stage.ask(from, &start).await.is_err(), "the same signatures do not start it again");

    stage.send(from, &it.recover(it.saviour.id(), false, 2).await).await;
    let recently = CancelledRecently { cancelledAt: u48(cancelled) };
    stage.refuses("again", it.owner.id(), &it.cancel().await, recently).await;
    stage.later(30 * DAY);
    stage.takes("a month later", it.owner.id(), &it.cancel().await).await;

    let weak = it.recover(it.saviour.id(), true, 2).await;
    let few = GuardiansMissing { signed: U256::from(2), threshold: U256::from(3) };
    stage.refuses("two of three, finally", from, &weak, few).await;
    stage.send(from, &it.recover(it.saviour.id(), true, 3).await).await;
    stage.refuses("finally", it.owner.id(), &it.cancel().await, NotCancellable {}).await;
    let replaced = it.recover(it.stage.stranger.id(), false, 2).await;
    stage.refuses("by the first quorum", from, &replaced, RecoveryPending { pending: FINAL }).await;
    stage.later(u64::from(DELAY));
    stage.send(from, &it.finish()).await;
    assert_eq!(it.controller().await, it.saviour.id());
    stage.is_folded(it.owner.id()).await;
}

/// A thief of the key cannot outrun the guardians: rotation and change of guardians wait, too.
#[tokio::test]
async fn with_guardians_a_rotation_waits_and_a_recovery_replaces_it() {
    let it = Owner::new().await;
    let (stage, from, thief) = (&it.stage, it.stage.relayer.id(), Person::new(38));
    let message = typed::Rotation {
        id: it.owner.id(),
        controller: thief.id(),
        sequence: 0,
        nonce: it.nonce().await,
        deadline: u48(LATER),
    };
    let rotate = stage.call(&rotateCall {
        id: message.id,
        controller: message.controller,
        sequence: 0,
        deadline: message.deadline,
        signature: stage.signed(&it.owner, &message),
        acceptance: stage.signed(&thief, &message),
    });
    stage.send(from, &rotate).await;
    assert_eq!(it.controller().await, it.owner.id(), "it waits");
    assert!(stage.ask(from, &rotate).await.is_err(), "the same signatures do not start it again");
    stage.send(from, &it.recover(it.saviour.id(), false, 2).await).await;
    let change = it.guard(hash(9), DELAY, it.nonce().await);
    stage
        .refuses("other guardians", it.owner.id(), &change, RecoveryPending { pending: RECOVERY })
        .await;
    stage.later(u64::from(DELAY));
    stage.send(from, &it.finish()).await;
    assert_eq!(it.controller().await, it.saviour.id());
}

#[tokio::test]
async fn guardians_are_the_ones_committed_to() {
    let it = Owner::new().await;
    let (stage, from) = (&it.stage, it.stage.relayer.id());
    let (_, set) = guardians();
    let weaker = galen_chain::contract::HealthLedger::GuardianSet { threshold: 1, ..set.clone() };
    let call = stage.call(&startRecoveryCall {
        id: it.owner.id(),
        controller: it.saviour.id(),
        isFinal: false,
        deadline: u48(LATER),
        signatures: vec![Bytes::new(); 3],
        set: weaker.clone(),
    });
    let (expected, shown) = (guardian_commitment(&set), guardian_commitment(&weaker));
    stage.refuses("a weaker set", from, &call, GuardiansMismatch { expected, shown }).await;
    let call = stage.call(&startRecoveryCall {
        id: stage.stranger.id(),
        controller: it.saviour.id(),
        isFinal: false,
        deadline: u48(LATER),
        signatures: vec![Bytes::new(); 3],
        set,
    });
    let none = GuardiansNotSet { id: stage.stranger.id() };
    stage.refuses("an id without guardians", from, &call, none).await;
    for delay in [3 * 86_400 - 1, 21 * 86_400 + 1] {
        let call = it.guard(hash(9), delay, it.nonce().await);
        stage.refuses("delay", it.owner.id(), &call, DelayOutOfRange { delay }).await;
    }
}
