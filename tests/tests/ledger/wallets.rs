//! A 2-of-3 wallet (ERC-1271) as patient and as author: it signs everything that an account signs.

use std::fs;

use alloy::{
    network::TransactionBuilder as _,
    providers::Provider as _,
    rpc::types::TransactionRequest,
    sol_types::{SolError as _, SolStruct, SolValue as _},
};
use alloy_primitives::{Address, B256, Bytes, hex};
use galen_chain::{
    ChainError, CosignPolicy,
    contract::HealthLedger::{
        NotController, SignatureInvalid, proposeCall, publishKeysCall, settleCall,
    },
    typed,
};

use crate::{
    operations::{answer, settlement},
    stage::{
        Call, Form, LATER, Person, Stage, consent, consent_change, consent_message, hash, leaf,
        proposal, terms, u48, words,
    },
};

/// Two of these three sign.
fn owners() -> [Person; 3] {
    let mut owners = [21, 22, 23].map(Person::new);
    owners.sort_by_key(Person::id);
    owners
}

fn creation_code() -> Bytes {
    let path = galen_e2e::root().join("tests/fixtures/multisig.hex");
    let text = fs::read_to_string(path).unwrap();
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    let owners = owners().map(|owner| owner.id());
    [hex::decode(digits).unwrap(), owners.abi_encode()].concat().into()
}

/// The address that the stranger's first transaction makes a wallet at, on every stage.
fn address() -> Address {
    Person::new(4).id().create(0)
}

/// A stage where the wallet is there, a founder of the network.
async fn stage() -> Stage {
    let stage = Stage::with_founders(|mut founders| {
        founders.push(address());
        founders
    })
    .await;
    let request =
        TransactionRequest::default().from(stage.stranger.id()).with_deploy_code(creation_code());
    let sent = stage.provider().send_transaction(request).await.unwrap();
    let receipt = stage.provider().get_transaction_receipt(*sent.tx_hash()).await.unwrap().unwrap();
    assert_eq!(receipt.contract_address, Some(address()));
    stage
}

/// What two owners sign.
fn signed(stage: &Stage, signers: [&Person; 2], message: &impl SolStruct) -> Bytes {
    let digest = typed::digest(message, stage.id());
    signers.map(|owner| owner.sign(digest, Form::Long)).concat().into()
}

fn keys(stage: &Stage, signature: Bytes) -> Call {
    let message = keys_message();
    stage.call(&publishKeysCall {
        id: message.id,
        previous: message.previous,
        bundle: message.bundle,
        store: message.store,
        content: message.content,
        deadline: message.deadline,
        signature,
    })
}

fn keys_message() -> typed::KeyBundle {
    typed::KeyBundle {
        id: address(),
        rotations: 0,
        previous: B256::ZERO,
        bundle: hash(1),
        store: 0,
        content: hash(2),
        deadline: u48(LATER),
    }
}

#[tokio::test]
async fn a_wallet_is_an_author_and_a_patient() {
    let stage = stage().await;
    let [a, b, c] = &owners();
    let (wallet, from) = (address(), stage.relayer.id());
    // As author, for an ordinary patient.
    let leaves = [leaf(1), leaf(2)];
    let own = proposal(stage.patient.id(), wallet, &leaves, &CosignPolicy::default(), LATER);
    let author_signature = signed(&stage, [a, c], &own);
    let propose = proposeCall {
        patient: own.patient,
        author: wallet,
        policy: own.policy,
        deadline: own.deadline,
        leaves: words(&leaves),
        signature: author_signature.clone(),
    };
    stage.send(from, &stage.call(&propose)).await;
    let message = settlement(&own, stage.patient.id());
    let settle = settleCall {
        proposal: terms(&own),
        authorSignature: author_signature,
        answer: answer(&message),
        patientSignature: stage.signed(&stage.patient, &message),
    };
    stage.send(from, &stage.call(&settle)).await;
    assert_eq!(stage.chart(stage.patient.id()).await.records().len(), 1);

    // As patient, of an ordinary author.
    let theirs = proposal(wallet, stage.author.id(), &leaves, &CosignPolicy::default(), LATER);
    let message = settlement(&theirs, wallet);
    let settle = settleCall {
        proposal: terms(&theirs),
        authorSignature: stage.signed(&stage.author, &theirs),
        answer: answer(&message),
        patientSignature: signed(&stage, [b, c], &message),
    };
    stage.send(from, &stage.call(&settle)).await;
    let granted = consent(stage.grantee.id(), 1).id();
    let tree = [granted].into_iter().collect();
    let message = consent_message(wallet, 0, &tree, Vec::new(), vec![granted.0]);
    let change = consent_change(&message, signed(&stage, [a, b], &message));
    stage.send(from, &stage.call(&change)).await;
    stage.is_folded(wallet).await;
    stage.is_folded(stage.patient.id()).await;
}

#[tokio::test]
async fn a_wallet_needs_two_of_its_owners() {
    let stage = stage().await;
    let [a, b, _] = &owners();
    let (wallet, from) = (address(), stage.relayer.id());
    let message = keys_message();
    let digest = typed::digest(&message, stage.id());
    let invalid = SignatureInvalid { controller: wallet, digest }.abi_encode();
    let rows = [
        ("one owner", a.sign(digest, Form::Long)),
        ("one owner twice", signed(&stage, [a, a], &message)),
        ("in the wrong order", signed(&stage, [b, a], &message)),
        ("an owner and a stranger", signed(&stage, [a, &stage.stranger], &message)),
        (
            "over another message",
            signed(&stage, [a, b], &typed::KeyBundle { store: 1, ..message.clone() }),
        ),
    ];
    for (row, signature) in rows {
        stage.refuses_with(row, from, &keys(&stage, signature), &invalid).await;
    }
    stage.takes("two owners", from, &keys(&stage, signed(&stage, [a, b], &message))).await;
    stage.takes("sent by the wallet", wallet, &keys(&stage, Bytes::new())).await;
    let error = NotController { id: wallet, sender: a.id() };
    stage.refuses("sent by one owner", a.id(), &keys(&stage, Bytes::new()), error).await;
}

/// What is signed but never sent to the chain is judged in the same way.
#[tokio::test]
async fn readers_accept_a_wallets_signature_off_chain() {
    let stage = stage().await;
    let [a, b, _] = &owners();
    let message = keys_message();
    let digest = typed::digest(&message, stage.id());
    let good = signed(&stage, [a, b], &message);
    stage.ledger.require_signed(address(), digest, &good).await.unwrap();
    let bad = signed(&stage, [b, a], &message);
    let error = stage.ledger.require_signed(address(), digest, &bad).await.unwrap_err();
    assert!(matches!(error, ChainError::NotSigned(id) if id == address()));
    for form in [Form::Long, Form::Short] {
        let signature = stage.patient.sign(digest, form);
        stage.ledger.require_signed(stage.patient.id(), digest, &signature).await.unwrap();
    }
    let twin = stage.patient.sign(digest, Form::HighS);
    assert!(stage.ledger.require_signed(stage.patient.id(), digest, &twin).await.is_err());
}

/// An id that handed itself over to a wallet is signed for by the wallet.
#[tokio::test]
async fn an_id_is_handed_over_to_a_wallet() {
    let stage = stage().await;
    let [a, b, _] = &owners();
    let id = stage.patient.id();
    let rotation =
        typed::Rotation { id, controller: address(), sequence: 0, nonce: 0, deadline: u48(LATER) };
    let call = galen_chain::contract::HealthLedger::rotateCall {
        id,
        controller: rotation.controller,
        sequence: 0,
        deadline: rotation.deadline,
        signature: stage.signed(&stage.patient, &rotation),
        acceptance: signed(&stage, [a, b], &rotation),
    };
    stage.send(stage.relayer.id(), &stage.call(&call)).await;
    let granted = consent(stage.grantee.id(), 1).id();
    let message = typed::ConsentChange {
        rotations: 1,
        ..consent_message(id, 1, &[granted].into_iter().collect(), Vec::new(), vec![granted.0])
    };
    let change = consent_change(&message, signed(&stage, [a, b], &message));
    stage.send(stage.relayer.id(), &stage.call(&change)).await;
    stage.is_folded(id).await;
}
