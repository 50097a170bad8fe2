//! One row for each place in a call where somebody signs.

use alloy::sol_types::SolError as _;
use alloy_primitives::{Address, B256, Bytes, U256, aliases::U48};
use galen_chain::{
    CosignPolicy,
    contract::HealthLedger::{
        ConsentVersionStale, CosignersMissing, DelegationNotFound, GuardianNonceStale,
        GuardiansMissing, NothingPending, Policy, Reseal, SequenceStale, SignatureInvalid,
        anchorBulkBySigCall, cancelPendingCall, changeConsentsAsDelegateCall, logAccessBySigCall,
        proposeCall, publishKeysCall, requestAccessCall, resealAsDelegateCall, resealCall,
        resealManyCall, rotateCall, setGuardiansCall, settleCall, settleWithCall,
        startRecoveryCall, withdrawCall,
    },
    typed,
};

use crate::{
    operations::{
        ALL_POWERS, DELAY, Operation, access, access_message, answer, delegate, delegation,
        guarded, guardians, opened, policy, settlement, shown, tree,
    },
    stage::{
        CONSENTED, LATER, Person, Stage, change_words, consent, consent_change, consent_message,
        hash, leaf, nobody, proposal, terms, words,
    },
};

/// Every signature that the ledger checks.
pub(crate) fn operations(stage: &Stage) -> Vec<Operation> {
    let mut all = authors(stage);
    all.extend(requests(stage));
    all.push(settle_by_author(stage));
    all.push(settle_by_patient(stage));
    all.push(settle_by_cosigner(stage));
    all.push(settle_by_delegate(stage));
    all.extend(consents(stage));
    all.extend(reseals(stage));
    all.extend(readers(stage));
    all.extend(keys(stage));
    all.extend(guarding(stage));
    all.push(recovery(stage));
    all
}

/// What an author signs alone.
fn authors(stage: &Stage) -> Vec<Operation> {
    let (patient, author) = (stage.patient.id(), stage.author.id());
    let free = CosignPolicy::default();
    let leaves = [leaf(1), leaf(2), leaf(3)];
    vec![
        Operation::new(
            "propose",
            stage,
            author,
            &stage.author,
            move |deadline| proposal(patient, author, &leaves, &free, deadline.to()),
            move |stage, message, signature| {
                stage.call(&proposeCall {
                    patient,
                    author,
                    policy: message.policy,
                    deadline: message.deadline,
                    leaves: words(&leaves),
                    signature,
                })
            },
        ),
        Operation::new(
            "withdraw",
            stage,
            author,
            &stage.author,
            move |deadline| typed::Withdrawal {
                patient,
                author,
                rotations: 0,
                proposal: hash(5),
                deadline,
            },
            |stage, message, signature| {
                stage.call(&withdrawCall {
                    patient: message.patient,
                    author: message.author,
                    proposal: message.proposal,
                    deadline: message.deadline,
                    signature,
                })
            },
        ),
    ]
}

/// What an organization signs beside its records.
fn requests(stage: &Stage) -> Vec<Operation> {
    let (patient, author) = (stage.patient.id(), stage.author.id());
    vec![
        Operation::new(
            "anchorBulkBySig",
            stage,
            author,
            &stage.author,
            move |deadline| typed::BulkAnchor {
                author,
                rotations: 0,
                root: hash(6),
                count: 9,
                store: 1,
                manifest: hash(7),
                deadline,
            },
            |stage, message, signature| {
                stage.call(&anchorBulkBySigCall {
                    author: message.author,
                    root: message.root,
                    header: U256::from(message.count) | U256::from(message.store) << 32,
                    manifest: message.manifest,
                    deadline: message.deadline,
                    signature,
                })
            },
        ),
        Operation::new(
            "requestAccess",
            stage,
            author,
            &stage.author,
            move |deadline| typed::AccessRequest {
                patient,
                organization: author,
                rotations: 0,
                purposes: 1,
                store: 0,
                message: hash(8),
                deadline,
            },
            |stage, message, signature| {
                stage.call(&requestAccessCall {
                    patient: message.patient,
                    organization: message.organization,
                    purposes: message.purposes,
                    store: message.store,
                    message: message.message,
                    deadline: message.deadline,
                    signature,
                })
            },
        ),
    ]
}

/// A proposal of two leaves without cosigners, by its deadline.
fn free(stage: &Stage) -> impl Fn(u64) -> typed::Proposal + Copy + use<> {
    let (patient, author) = (stage.patient.id(), stage.author.id());
    move |deadline| {
        proposal(patient, author, &[leaf(1), leaf(2)], &CosignPolicy::default(), deadline)
    }
}

fn settle_by_author(stage: &Stage) -> Operation {
    let (author, patient, free) = (&stage.author, stage.patient.clone(), free(stage));
    Operation::new(
        "settle, the author's signature",
        stage,
        author.id(),
        author,
        move |deadline| free(deadline.to()),
        move |stage, proposal, signature| {
            let message = settlement(&proposal, patient.id());
            stage.call(&settleCall {
                proposal: terms(&proposal),
                authorSignature: signature,
                answer: answer(&message),
                patientSignature: stage.signed(&patient, &message),
            })
        },
    )
    .refused_again(SignatureInvalid::SELECTOR, SequenceStale::SELECTOR)
}

fn settle_by_patient(stage: &Stage) -> Operation {
    let (author, patient, free) = (stage.author.clone(), &stage.patient, free(stage));
    let id = patient.id();
    Operation::new(
        "settle, the patient's signature",
        stage,
        id,
        patient,
        move |deadline| typed::Settlement { deadline, ..settlement(&free(LATER), id) },
        move |stage, message, signature| {
            let proposal = free(LATER);
            stage.call(&settleCall {
                proposal: terms(&proposal),
                authorSignature: stage.signed(&author, &proposal),
                answer: answer(&message),
                patientSignature: signature,
            })
        },
    )
    .refused_again(SequenceStale::SELECTOR, SequenceStale::SELECTOR)
}

fn settle_by_cosigner(stage: &Stage) -> Operation {
    let (author, patient) = (stage.author.clone(), stage.patient.clone());
    let (cosigner, rule) = (stage.second.id(), policy(stage));
    let bound = {
        let (patient, author, rule) = (patient.id(), author.id(), rule.clone());
        move |deadline: u64| proposal(patient, author, &[leaf(1), leaf(2)], &rule, deadline)
    };
    let signed = bound.clone();
    let mut operation = Operation::new(
        "settleWith, a cosigner's signature",
        stage,
        cosigner,
        &stage.second,
        move |deadline| typed::Cosignature {
            cosigner,
            rotations: 0,
            proposal: signed(deadline.to()).id().0,
            deadline,
        },
        move |stage, message, signature| {
            let proposal = bound(message.deadline.to());
            let settlement = settlement(&proposal, patient.id());
            stage.call(&settleWithCall {
                proposal: terms(&proposal),
                authorSignature: stage.signed(&author, &proposal),
                answer: answer(&settlement),
                patientSignature: stage.signed(&patient, &settlement),
                policy: shown(&rule, message.cosigner, signature),
                delegation: nobody(),
            })
        },
    );
    operation.unsigned =
        CosignersMissing { signed: U256::ZERO, threshold: U256::ONE }.abi_encode().into();
    operation.refused_again(SignatureInvalid::SELECTOR, SequenceStale::SELECTOR)
}

fn settle_by_delegate(stage: &Stage) -> Operation {
    let (author, id, free) = (stage.author.clone(), delegate().id(), free(stage));
    Operation::new(
        "settleWith, a delegate's signature",
        stage,
        id,
        &delegate(),
        move |deadline| typed::Settlement { deadline, ..settlement(&free(LATER), id) },
        move |stage, message, signature| {
            let proposal = free(LATER);
            let empty = Policy { threshold: 0, cosigners: Vec::new(), signatures: Vec::new() };
            stage.call(&settleWithCall {
                proposal: terms(&proposal),
                authorSignature: stage.signed(&author, &proposal),
                answer: answer(&message),
                patientSignature: signature,
                policy: empty,
                delegation: opened(&delegation(&ALL_POWERS), &tree(stage)),
            })
        },
    )
    .refused_again(SignatureInvalid::SELECTOR, SequenceStale::SELECTOR)
}

fn consents(stage: &Stage) -> Vec<Operation> {
    let patient = stage.patient.id();
    let delegate_id = delegate().id();
    let mut grown = tree(stage);
    let fresh = consent(stage.stranger.id(), 9).id();
    grown.insert(fresh);
    let change = {
        let grown = grown.clone();
        move |deadline| typed::ConsentChange {
            deadline,
            ..consent_message(patient, 1, &grown, Vec::new(), vec![fresh.0])
        }
    };
    let stale = ConsentVersionStale::SELECTOR;
    let by_delegate = {
        let change = change.clone();
        move |deadline| typed::ConsentChange { signer: delegate_id, ..change(deadline) }
    };
    vec![
        Operation::new(
            "changeConsents",
            stage,
            patient,
            &stage.patient,
            change,
            |stage, message, signature| stage.call(&consent_change(&message, signature)),
        )
        .refused_again(stale, stale),
        Operation::new(
            "changeConsentsAsDelegate",
            stage,
            delegate_id,
            &delegate(),
            by_delegate,
            |stage, message, signature| {
                stage.call(&changeConsentsAsDelegateCall {
                    change: change_words(&message),
                    delegation: opened(&delegation(&ALL_POWERS), &tree(stage)),
                    signature,
                })
            },
        )
        // The proof is out of date then, too; the leaf is looked up first.
        .refused_again(SignatureInvalid::SELECTOR, DelegationNotFound::SELECTOR),
    ]
}

fn reseal_message(stage: &Stage, signer: Address) -> impl Fn(U48) -> typed::Reseal + Clone + use<> {
    let (patient, author) = (stage.patient.id(), stage.author.id());
    move |deadline| typed::Reseal {
        patient,
        author,
        signer,
        rotations: 0,
        items: vec![typed::Resealed {
            segment: CONSENTED.0,
            number: 1,
            store: 1,
            content: hash(10),
            previous: hash(1),
        }],
        deadline,
    }
}

fn reseals(stage: &Stage) -> Vec<Operation> {
    let item = |message: &typed::Reseal| {
        let item = &message.items[0];
        let header =
            U256::from(item.number) | U256::from(item.segment) << 64 | U256::from(item.store) << 80;
        (header, item.content, item.previous)
    };
    let one = move |stage: &Stage, message: typed::Reseal, signature| {
        let (header, content, previous) = item(&message);
        let by_author = message.signer == message.author;
        stage.call(&resealCall {
            patient: message.patient,
            author: message.author,
            header: header | U256::from(by_author) << 88 | U256::from(message.deadline) << 96,
            content,
            previous,
            signature,
        })
    };
    let many = move |message: &typed::Reseal| {
        let (header, content, previous) = item(message);
        vec![Reseal { header, content, previous }]
    };
    let (patient, author, stand_in) = (&stage.patient, &stage.author, &delegate());
    let message = |signer: &Person| reseal_message(stage, signer.id());
    vec![
        Operation::new(
            "reseal by the patient",
            stage,
            patient.id(),
            patient,
            message(patient),
            one,
        ),
        Operation::new("reseal by the author", stage, author.id(), author, message(author), one),
        Operation::new(
            "resealMany",
            stage,
            patient.id(),
            patient,
            message(patient),
            move |stage, message, signature| {
                stage.call(&resealManyCall {
                    patient: message.patient,
                    author: message.author,
                    byAuthor: false,
                    items: many(&message),
                    deadline: message.deadline,
                    signature,
                })
            },
        ),
        Operation::new(
            "resealAsDelegate",
            stage,
            stand_in.id(),
            stand_in,
            message(stand_in),
            move |stage, message, signature| {
                stage.call(&resealAsDelegateCall {
                    patient: message.patient,
                    author: message.author,
                    items: many(&message),
                    deadline: message.deadline,
                    delegation: opened(&delegation(&ALL_POWERS), &tree(stage)),
                    signature,
                })
            },
        ),
    ]
}

fn readers(stage: &Stage) -> Vec<Operation> {
    let terms = consent(stage.grantee.id(), 1);
    let shown = access(stage, &terms, stage.grantee.id(), &tree(stage), &[1, 2]);
    let message = access_message(&shown, terms.id());
    vec![Operation::new(
        "logAccessBySig",
        stage,
        stage.grantee.id(),
        &stage.grantee,
        move |deadline| typed::Access { deadline, ..message.clone() },
        move |stage, message, signature| {
            stage.call(&logAccessBySigCall {
                access: shown.clone(),
                deadline: message.deadline,
                signature,
            })
        },
    )]
}

fn keys(stage: &Stage) -> Vec<Operation> {
    let (patient, heir) = (stage.patient.clone(), Person::new(36));
    let (id, heir_id) = (patient.id(), heir.id());
    let rotation = move |deadline| typed::Rotation {
        id,
        controller: heir_id,
        sequence: 0,
        nonce: 0,
        deadline,
    };
    let rotate = |message: &typed::Rotation, signature, acceptance| rotateCall {
        id: message.id,
        controller: message.controller,
        sequence: message.sequence,
        deadline: message.deadline,
        signature,
        acceptance,
    };
    let stale = SequenceStale::SELECTOR;
    vec![
        Operation::new(
            "publishKeys",
            stage,
            id,
            &patient,
            move |deadline| typed::KeyBundle {
                id,
                rotations: 0,
                previous: B256::ZERO,
                bundle: hash(11),
                store: 0,
                content: hash(12),
                deadline,
            },
            |stage, message, signature| {
                stage.call(&publishKeysCall {
                    id: message.id,
                    previous: message.previous,
                    bundle: message.bundle,
                    store: message.store,
                    content: message.content,
                    deadline: message.deadline,
                    signature,
                })
            },
        ),
        Operation::new("rotate, by who hands over", stage, id, &patient, rotation, {
            let heir = heir.clone();
            move |stage, message, signature| {
                stage.call(&rotate(&message, signature, stage.signed(&heir, &message)))
            }
        })
        .refused_again(stale, stale),
        Operation::new(
            "rotate, by who takes over",
            stage,
            heir_id,
            &heir,
            rotation,
            move |stage, message, acceptance| {
                stage.call(&rotate(&message, stage.signed(&patient, &message), acceptance))
            },
        )
        // The key itself accepts, whatever became of the id with its address.
        .refused_again([0; 4], stale),
    ]
}

fn guarding(stage: &Stage) -> Vec<Operation> {
    let (patient, owner) = (stage.patient.id(), guarded());
    let owner_id = owner.id();
    vec![
        Operation::new(
            "setGuardians",
            stage,
            patient,
            &stage.patient,
            move |deadline| typed::GuardianChange {
                id: patient,
                rotations: 0,
                commitment: hash(13),
                delay: DELAY,
                nonce: 0,
                deadline,
            },
            |stage, message, signature| {
                stage.call(&setGuardiansCall {
                    id: message.id,
                    commitment: message.commitment,
                    delay: message.delay,
                    nonce: message.nonce,
                    deadline: message.deadline,
                    signature,
                })
            },
        )
        .refused_again(SignatureInvalid::SELECTOR, GuardianNonceStale::SELECTOR),
        Operation::new(
            "cancelPending",
            stage,
            owner_id,
            &owner,
            move |deadline| typed::Cancellation { id: owner_id, rotations: 0, nonce: 2, deadline },
            |stage, message, signature| {
                stage.call(&cancelPendingCall {
                    id: message.id,
                    nonce: message.nonce,
                    deadline: message.deadline,
                    signature,
                })
            },
        )
        .refused_again([0; 4], NothingPending::SELECTOR),
    ]
}

/// One guardian signs; another one has.
fn recovery(stage: &Stage) -> Operation {
    let owner_id = guarded().id();
    let (people, set) = guardians();
    let (first, second) = (people[0].clone(), people[1].clone());
    let (first_id, saviour) = (first.id(), Person::new(37).id());
    let message = move |guardian: Address, deadline| typed::Recovery {
        id: owner_id,
        guardian,
        guardianRotations: 0,
        controller: saviour,
        isFinal: false,
        nonce: 2,
        deadline,
    };
    let mut recover = Operation::new(
        "startRecovery, a guardian's signature",
        stage,
        first_id,
        &first,
        move |deadline| message(first_id, deadline),
        move |stage, shown, signature| {
            let other = stage.signed(&second, &message(second.id(), shown.deadline));
            stage.call(&startRecoveryCall {
                id: owner_id,
                controller: saviour,
                isFinal: false,
                deadline: shown.deadline,
                set: set.clone(),
                signatures: vec![signature, other, Bytes::new()],
            })
        },
    );
    recover.unsigned =
        GuardiansMissing { signed: U256::ONE, threshold: U256::from(2) }.abi_encode().into();
    recover.again = Some(SignatureInvalid::SELECTOR);
    recover
}
