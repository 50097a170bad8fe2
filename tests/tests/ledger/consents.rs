//! Consents: one root, one version, and who may change them.

use alloy::sol_types::SolError as _;
use alloy_primitives::{B256, FixedBytes, U256};
use galen_chain::{
    contract::HealthLedger::{
        ConsentLeavesMiscounted, ConsentUnchanged, ConsentVersionStale, DelegateSuspended,
        DelegationLacksPower, DelegationNotFound, DelegationNotInForce, SignatureInvalid,
        changeConsentsAsDelegateCall, changeConsentsCall,
    },
    typed,
};
use galen_types::{ConsentTree, DelegateTerms, Power};

use crate::{
    operations::{delegate, delegation, opened},
    stage::{Call, LATER, NOW, Stage, change_words, consent, consent_change, consent_message, u48},
};

fn two(stage: &Stage) -> (ConsentTree, Vec<B256>) {
    let leaves = [consent(stage.grantee.id(), 1).id(), consent(stage.second.id(), 2).id()];
    (leaves.into_iter().collect(), leaves.map(B256::from).to_vec())
}

fn signed(stage: &Stage, message: &typed::ConsentChange) -> Call {
    stage.call(&consent_change(message, stage.signed(&stage.patient, message)))
}

#[tokio::test]
async fn a_change_holds_for_one_version() {
    let stage = Stage::new().await;
    let (tree, leaves) = two(&stage);
    let from = stage.relayer.id();
    let at = |version| {
        let message =
            consent_message(stage.patient.id(), version, &tree, Vec::new(), leaves.clone());
        signed(&stage, &message)
    };
    let stale = |version, current| ConsentVersionStale { version, current };
    stage.refuses("early", from, &at(1), stale(1, 0)).await;
    stage.send(from, &at(0)).await;
    stage.refuses("again", from, &at(0), stale(0, 1)).await;
    stage.refuses("out of order", from, &at(2), stale(2, 1)).await;
    stage.is_folded(stage.patient.id()).await;
}

/// To revoke everything is a change like any other: no signature from before it works after it.
#[tokio::test]
async fn revoking_everything_does_not_revive_old_signatures() {
    let stage = Stage::new().await;
    let (tree, leaves) = two(&stage);
    let from = stage.relayer.id();
    let patient = stage.patient.id();
    let grant = signed(&stage, &consent_message(patient, 0, &tree, Vec::new(), leaves.clone()));
    stage.send(from, &grant).await;
    let empty = ConsentTree::default();
    // No leaf is named: a root of zero ends them all.
    let all = signed(&stage, &consent_message(patient, 1, &empty, Vec::new(), Vec::new()));
    stage.send(from, &all).await;
    assert_eq!(stage.ledger.consents(patient).await.unwrap().root, empty.root());
    let stale = |version| ConsentVersionStale { version, current: 2 };
    stage.refuses("the grant again", from, &grant, stale(0)).await;
    stage.refuses("the end again", from, &all, stale(1)).await;
    stage.is_folded(patient).await;
    let nothing = signed(&stage, &consent_message(patient, 2, &empty, Vec::new(), Vec::new()));
    stage.refuses("nothing more to revoke", from, &nothing, ConsentUnchanged {}).await;
    // The same tree under the next version needs a new signature.
    let anew = signed(&stage, &consent_message(patient, 2, &tree, Vec::new(), leaves));
    stage.send(from, &anew).await;
    stage.is_folded(patient).await;
}

/// Whatever is changed of what the patient signed, the patient did not sign it.
#[tokio::test]
async fn a_change_shows_what_the_patient_signed() {
    let stage = Stage::new().await;
    let (tree, leaves) = two(&stage);
    let patient = stage.patient.id();
    let message = consent_message(patient, 0, &tree, Vec::new(), leaves.clone());
    let signature = stage.signed(&stage.patient, &message);
    type Change = fn(&mut typed::ConsentChange);
    let rows: [(&str, Change); 5] = [
        ("another root", |it| it.root = FixedBytes::repeat_byte(9)),
        ("a leaf less", |it| it.granted.truncate(1)),
        ("a leaf more", |it| it.granted.push(B256::repeat_byte(9))),
        ("granted as revoked", |it| std::mem::swap(&mut it.granted, &mut it.revoked)),
        ("another deadline", |it| it.deadline = u48(LATER - 1)),
    ];
    for (row, change) in rows {
        let mut other = message.clone();
        change(&mut other);
        let call = stage.call(&consent_change(&other, signature.clone()));
        let digest = typed::digest(&other, stage.id());
        let error = SignatureInvalid { controller: patient, digest };
        stage.refuses(row, stage.relayer.id(), &call, error).await;
    }
    let mut change = change_words(&message);
    change.limits |= U256::from(3) << 48;
    let call = stage.call(&changeConsentsCall { change, signature });
    let error = ConsentLeavesMiscounted { revoked: U256::from(3), leaves: U256::from(2) };
    stage.refuses("more revoked than named", stage.relayer.id(), &call, error).await;
}

#[tokio::test]
async fn a_delegate_has_a_live_leaf_a_time_and_a_power() {
    let stage = Stage::new().await;
    let full = delegation(&[Power::Consent]);
    let weak = delegation(&[Power::Settle, Power::Reseal]);
    let early = DelegateTerms { not_before: NOW + 1, ..full };
    let late = DelegateTerms { expiry: NOW, ..full };
    let forged = delegation(&[Power::Consent, Power::Settle]);
    let live = [full, weak, early, late];
    let tree: ConsentTree = live.iter().map(DelegateTerms::id).collect();
    stage.consent_to(0, &tree, live.iter().map(|it| it.id().0).collect()).await;

    let mut grown = tree.clone();
    let fresh = consent(stage.grantee.id(), 1).id();
    grown.insert(fresh);
    let message = typed::ConsentChange {
        signer: delegate().id(),
        ..consent_message(stage.patient.id(), 1, &grown, Vec::new(), vec![fresh.0])
    };
    let by = |terms: &DelegateTerms| {
        stage.call(&changeConsentsAsDelegateCall {
            change: change_words(&message),
            delegation: opened(terms, &tree),
            signature: stage.signed(&delegate(), &message),
        })
    };
    let not_in_force = |terms: &DelegateTerms| {
        let (not_before, expiry) = (u48(terms.not_before), u48(terms.expiry));
        DelegationNotInForce { notBefore: not_before, expiry }.abi_encode()
    };
    let lacks = DelegationLacksPower { powers: weak.powers.0, power: 1 }.abi_encode();
    let rows = [
        ("without the power", weak, lacks),
        ("before its time", early, not_in_force(&early)),
        ("after its time", late, not_in_force(&late)),
        ("not in the tree", forged, DelegationNotFound { leaf: forged.id().0 }.abi_encode()),
    ];
    for (row, terms, error) in rows {
        stage.refuses_with(row, stage.relayer.id(), &by(&terms), &error).await;
    }
    stage.takes("as named", stage.relayer.id(), &by(&full)).await;
    // Revoked with everything else, the delegate is powerless at once.
    let empty = ConsentTree::default();
    let message = consent_message(stage.patient.id(), 1, &empty, Vec::new(), Vec::new());
    stage.send(stage.relayer.id(), &signed(&stage, &message)).await;
    let error = DelegationNotFound { leaf: full.id().0 };
    stage.refuses("revoked", stage.relayer.id(), &by(&full), error).await;
}

/// A member of the network that was suspended is no delegate either.
#[tokio::test]
async fn a_suspended_organization_is_no_delegate() {
    let stage = Stage::new().await;
    let terms = DelegateTerms { delegate: stage.third.id(), ..delegation(&[Power::Consent]) };
    let tree: ConsentTree = [terms.id()].into_iter().collect();
    stage.consent_to(0, &tree, vec![terms.id().0]).await;
    let empty = ConsentTree::default();
    let message = typed::ConsentChange {
        signer: terms.delegate,
        ..consent_message(stage.patient.id(), 1, &empty, vec![terms.id().0], Vec::new())
    };
    let call = stage.call(&changeConsentsAsDelegateCall {
        change: change_words(&message),
        delegation: opened(&terms, &tree),
        signature: stage.signed(&stage.third, &message),
    });
    stage.takes("active", stage.relayer.id(), &call).await;
    stage.suspend(&stage.third).await;
    let error = DelegateSuspended { delegate: terms.delegate };
    stage.refuses("suspended", stage.relayer.id(), &call, error).await;
}
