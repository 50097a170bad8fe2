//! Each signature of each call, under each attack.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, U256, address};
use galen_chain::contract::HealthLedger::{DeadlinePassed, SignatureHighS, SignatureInvalid};
use galen_types::LedgerId;

use crate::{
    operations::{Operation, prepare},
    rows::operations,
    stage::{Form, LATER, NOW, Person, Stage, show},
};

#[tokio::test]
async fn every_signature_counts_in_each_form_and_sent_directly() {
    let stage = prepare().await;
    for operation in operations(&stage) {
        let name = operation.name;
        let digest = operation.digest(stage.id(), LATER);
        for form in [Form::Long, Form::Short] {
            let call = operation.call(&stage, operation.signer.sign(digest, form), LATER);
            stage.takes(&format!("{name}, {form:?}"), stage.stranger.id(), &call).await;
        }
        let direct = operation.call(&stage, Bytes::new(), LATER);
        stage.takes(&format!("{name}, sent by the signer"), operation.signer.id(), &direct).await;
        // The last second counts.
        let digest = operation.digest(stage.id(), NOW);
        let call = operation.call(&stage, operation.signer.sign(digest, Form::Short), NOW);
        stage.takes(&format!("{name}, in its last second"), stage.relayer.id(), &call).await;
    }
}

#[tokio::test]
async fn every_signature_is_refused_if_it_is_another_one() {
    let stage = prepare().await;
    for operation in operations(&stage) {
        let (name, here) = (operation.name, stage.id());
        let digest = operation.digest(here, LATER);
        let invalid = SignatureInvalid { controller: operation.signer.id(), digest };
        let contract = address!("00000000000000000000000000000000000000aa");
        let rows: [(&str, Bytes); 8] = [
            ("another chain", sign(&operation, LedgerId { chain_id: 1, ..here }, LATER)),
            ("another contract", sign(&operation, LedgerId { contract, ..here }, LATER)),
            ("another deadline", sign(&operation, here, LATER + 1)),
            ("another key", stage.stranger.sign(digest, Form::Short)),
            ("another digest", operation.signer.sign(B256::ZERO, Form::Short)),
            ("cut short", operation.signer.sign(digest, Form::Long).slice(..63)),
            (
                "a byte too long",
                [&operation.signer.sign(digest, Form::Long)[..], &[0]].concat().into(),
            ),
            ("nothing but zeros", vec![0; 65].into()),
        ];
        for (row, signature) in rows {
            let call = operation.call(&stage, signature, LATER);
            let row = format!("{name}, {row}");
            stage.refuses(&row, stage.relayer.id(), &call, invalid.clone()).await;
        }
    }
}

#[tokio::test]
async fn every_signature_is_refused_with_high_s_or_late_or_missing() {
    let stage = prepare().await;
    for operation in operations(&stage) {
        let name = operation.name;
        let digest = operation.digest(stage.id(), LATER);
        let twin = operation.signer.sign(digest, Form::HighS);
        let s = B256::from_slice(&twin[32..64]);
        let call = operation.call(&stage, twin, LATER);
        stage.refuses(name, stage.relayer.id(), &call, SignatureHighS { s }).await;

        let call = operation.call(&stage, sign(&operation, stage.id(), NOW - 1), NOW - 1);
        let late = DeadlinePassed { deadline: crate::stage::u48(NOW - 1) };
        stage.refuses(name, stage.relayer.id(), &call, late).await;

        let call = operation.call(&stage, Bytes::new(), LATER);
        stage.refuses_with(name, stage.stranger.id(), &call, &operation.unsigned).await;
    }
}

#[tokio::test]
async fn nothing_signed_before_a_rotation_holds_after_it() {
    let mut ids: BTreeMap<Address, Person> = BTreeMap::new();
    for operation in operations(&prepare().await) {
        // An id with guardians waits; `recovery.rs` follows it. The heir signs as a key, not as an id.
        if operation.after_rotation != [0; 4] {
            ids.insert(operation.id, operation.signer);
        }
    }
    for (id, key) in ids {
        let stage = prepare().await;
        let old: Vec<Operation> =
            operations(&stage).into_iter().filter(|operation| operation.id == id).collect();
        let calls: Vec<_> = old.iter().map(|operation| operation.honest(&stage)).collect();
        for (operation, call) in old.iter().zip(&calls) {
            stage.takes(operation.name, stage.relayer.id(), call).await;
        }
        let other = Person::new(40);
        stage.rotate(id, &key, &other).await;
        all_refused(&stage, "after a rotation", &old, &calls).await;
        // A to B and back to A: the first key signs again, its old signatures do not.
        stage.rotate(id, &other, &key).await;
        all_refused(&stage, "after a rotation and back", &old, &calls).await;
    }
}

async fn all_refused(
    stage: &Stage,
    when: &str,
    operations: &[Operation],
    calls: &[crate::stage::Call],
) {
    for (operation, call) in operations.iter().zip(calls) {
        let refusal = stage.ask(stage.relayer.id(), call).await;
        let data = refusal.expect_err(&format!("{} {when}", operation.name));
        assert_eq!(
            data[..4],
            operation.after_rotation,
            "{} {when}: {}",
            operation.name,
            show(&data)
        );
    }
}

#[tokio::test]
async fn no_signature_works_twice() {
    let rows = operations(&prepare().await).len();
    for row in 0..rows {
        let stage = prepare().await;
        let operation = operations(&stage).swap_remove(row);
        let call = operation.honest(&stage);
        stage.send(stage.relayer.id(), &call).await;
        let patient = stage.patient.id();
        let once = stage.chart(patient).await;
        let again = stage.try_send(stage.stranger.id(), &call).await;
        match (operation.again, again) {
            (Some(selector), Err(data)) => {
                assert_eq!(data[..4], selector, "{}: {}", operation.name, show(&data));
            }
            (None, Ok(_)) => {
                // Where no slot changes, readers count it once.
                let twice = stage.chart(patient).await;
                let name = operation.name;
                assert_eq!(twice.accesses().len(), once.accesses().len(), "{name}");
                assert_eq!(twice.requests().len(), once.requests().len(), "{name}");
                assert_eq!(twice.proposals().count(), once.proposals().count(), "{name}");
                assert_eq!(twice.keys().len(), once.keys().len(), "{name}");
                assert!(twice.records().eq(once.records()), "{name}");
            }
            (expected, got) => panic!("{}: {expected:?}, {got:?}", operation.name),
        }
        stage.is_folded(patient).await;
    }
}

/// Zero is what `ecrecover` gives for no signature, and who stands for everybody in consents: it
/// signs nothing.
#[tokio::test]
async fn zero_signs_nothing() {
    let stage = Stage::new().await;
    let message = galen_chain::typed::KeyBundle {
        id: Address::ZERO,
        rotations: 0,
        previous: B256::ZERO,
        bundle: B256::ZERO,
        store: 0,
        content: B256::ZERO,
        deadline: crate::stage::u48(LATER),
    };
    let call = galen_chain::contract::HealthLedger::publishKeysCall {
        id: message.id,
        previous: message.previous,
        bundle: message.bundle,
        store: 0,
        content: message.content,
        deadline: message.deadline,
        signature: [U256::from(1).to_be_bytes::<32>(), U256::from(1).to_be_bytes::<32>()]
            .concat()
            .into_iter()
            .chain([26])
            .collect(),
    };
    let digest = galen_chain::typed::digest(&message, stage.id());
    let invalid = SignatureInvalid { controller: Address::ZERO, digest };
    stage.refuses("zero", stage.stranger.id(), &stage.call(&call), invalid).await;
}

fn sign(operation: &Operation, ledger: LedgerId, deadline: u64) -> Bytes {
    operation.signer.sign(operation.digest(ledger, deadline), Form::Short)
}
