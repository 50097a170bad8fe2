//! What a row of `rows.rs` is: one signature of one call. And the stage on which all of them go through.

use std::collections::BTreeSet;

use alloy::sol_types::{SolError, SolStruct, SolValue as _};
use alloy_primitives::{Address, B256, Bytes, U256, aliases::U48, keccak256};
use galen_chain::{
    CosignPolicy,
    contract::HealthLedger::{
        Access, Answer, Delegation, GuardianSet, NotController, Policy, SignatureInvalid,
        rotateCall, setGuardiansCall,
    },
    typed,
};
use galen_types::{
    ConsentId, ConsentTree, DelegateTerms, LedgerId, Power, PowerSet, Purpose, Salt,
};

use crate::stage::{Call, Form, LATER, NOW, Person, Stage, consent, hash, record, u48};

type Digest = Box<dyn Fn(LedgerId, U48) -> B256>;
type Make = Box<dyn Fn(&Stage, Bytes, U48) -> Call>;

/// One signature of one call.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    /// For which id is signed, and with which key.
    pub(crate) id: Address,
    pub(crate) signer: Person,
    digest: Digest,
    make: Make,
    /// What the contract says if nobody signs and a stranger sends.
    pub(crate) unsigned: Bytes,
    /// What the contract says to a signature that was made before the id rotated.
    pub(crate) after_rotation: [u8; 4],
    /// What the contract says to the same call once more; `None` if it takes it and readers count
    /// it once.
    pub(crate) again: Option<[u8; 4]>,
}

impl Operation {
    /// The digest that has to be signed.
    pub(crate) fn digest(&self, ledger: LedgerId, deadline: u64) -> B256 {
        (self.digest)(ledger, u48(deadline))
    }

    /// The call with a signature.
    pub(crate) fn call(&self, stage: &Stage, signature: Bytes, deadline: u64) -> Call {
        (self.make)(stage, signature, u48(deadline))
    }

    /// The call as an honest signer makes it.
    pub(crate) fn honest(&self, stage: &Stage) -> Call {
        let signature = self.signer.sign(self.digest(stage.id(), LATER), Form::Short);
        self.call(stage, signature, LATER)
    }

    pub(crate) fn new<T: SolStruct + 'static>(
        name: &'static str,
        stage: &Stage,
        id: Address,
        signer: &Person,
        message: impl Fn(U48) -> T + Clone + 'static,
        make: impl Fn(&Stage, T, Bytes) -> Call + 'static,
    ) -> Self {
        let shown = message.clone();
        let unsigned = NotController { id, sender: stage.stranger.id() };
        Self {
            name,
            id,
            signer: signer.clone(),
            digest: Box::new(move |ledger, deadline| typed::digest(&message(deadline), ledger)),
            make: Box::new(move |stage, signature, deadline| {
                make(stage, shown(deadline), signature)
            }),
            unsigned: unsigned.abi_encode().into(),
            after_rotation: SignatureInvalid::SELECTOR,
            again: None,
        }
    }

    pub(crate) fn refused_again(self, after_rotation: [u8; 4], again: [u8; 4]) -> Self {
        Self { after_rotation, again: Some(again), ..self }
    }
}

/// The patient's delegate, with every power.
pub(crate) fn delegate() -> Person {
    Person::new(30)
}

pub(crate) fn delegation(powers: &[Power]) -> DelegateTerms {
    DelegateTerms {
        delegate: delegate().id(),
        powers: powers.iter().copied().collect::<PowerSet>(),
        not_before: NOW,
        expiry: LATER,
        salt: Salt(hash(77)),
    }
}

pub(crate) const ALL_POWERS: [Power; 3] = [Power::Settle, Power::Consent, Power::Reseal];

/// A delegation as the contract takes it.
pub(crate) fn opened(terms: &DelegateTerms, tree: &ConsentTree) -> Delegation {
    Delegation {
        delegate: terms.delegate,
        powers: terms.powers.0,
        notBefore: u48(terms.not_before),
        expiry: u48(terms.expiry),
        salt: terms.salt.0,
        proof: tree.proof(terms.id()).unwrap_or_default(),
    }
}

/// The tree that the stage of [`prepare`] has: three consents and a delegation.
pub(crate) fn tree(stage: &Stage) -> ConsentTree {
    let grantees = [stage.grantee.id(), stage.third.id(), Address::ZERO];
    let consents = (1_u64..).zip(grantees).map(|(salt, grantee)| consent(grantee, salt).id());
    consents.chain([delegation(&ALL_POWERS).id()]).collect()
}

/// Guardians of [`guarded`].
pub(crate) fn guardians() -> (Vec<Person>, GuardianSet) {
    let mut people: Vec<Person> = (31..34).map(Person::new).collect();
    people.sort_by_key(Person::id);
    let set = GuardianSet {
        guardians: people.iter().map(Person::id).collect(),
        threshold: 2,
        finalThreshold: 3,
        salt: hash(78),
    };
    (people, set)
}

pub(crate) fn guardian_commitment(set: &GuardianSet) -> B256 {
    let [threshold, last] = [set.threshold, set.finalThreshold].map(U256::from);
    let words = (set.guardians.clone(), threshold, last, set.salt);
    keccak256(words.abi_encode_params())
}

/// Somebody with guardians, and a rotation that waits.
pub(crate) fn guarded() -> Person {
    Person::new(34)
}

pub(crate) const DELAY: u32 = 3 * 86_400;

/// A stage on which each of the operations goes through.
pub(crate) async fn prepare() -> Stage {
    let stage = Stage::new().await;
    let granted: BTreeSet<B256> = [stage.grantee.id(), stage.third.id(), Address::ZERO]
        .into_iter()
        .zip(1_u64..)
        .map(|(grantee, salt)| consent(grantee, salt).id().0)
        .chain([delegation(&ALL_POWERS).id().0])
        .collect();
    stage.consent_to(0, &tree(&stage), granted.into_iter().collect()).await;

    let guarded = guarded();
    let guard = setGuardiansCall {
        id: guarded.id(),
        commitment: guardian_commitment(&guardians().1),
        delay: DELAY,
        nonce: 0,
        deadline: u48(LATER),
        signature: Bytes::new(),
    };
    stage.send(guarded.id(), &stage.call(&guard)).await;
    let heir = Person::new(35);
    let message = typed::Rotation {
        id: guarded.id(),
        controller: heir.id(),
        sequence: 0,
        nonce: 1,
        deadline: u48(LATER),
    };
    let rotate = rotateCall {
        id: guarded.id(),
        controller: heir.id(),
        sequence: 0,
        deadline: u48(LATER),
        signature: Bytes::new(),
        acceptance: stage.signed(&heir, &message),
    };
    stage.send(guarded.id(), &stage.call(&rotate)).await;
    stage
}

/// Who must sign beside author and patient: one of the two other organizations.
pub(crate) fn policy(stage: &Stage) -> CosignPolicy {
    let mut cosigners = vec![stage.second.id(), stage.third.id()];
    cosigners.sort_unstable();
    CosignPolicy { threshold: 1, cosigners }
}

/// The policy as a settlement shows it, with the signature of one cosigner.
pub(crate) fn shown(policy: &CosignPolicy, cosigner: Address, signature: Bytes) -> Policy {
    let of = |id: &Address| if *id == cosigner { signature.clone() } else { Bytes::new() };
    Policy {
        threshold: policy.threshold,
        signatures: policy.cosigners.iter().map(of).collect(),
        cosigners: policy.cosigners.clone(),
    }
}

/// What a patient signs over a proposal: the first leaf accepted, the second rejected.
pub(crate) fn settlement(proposal: &typed::Proposal, signer: Address) -> typed::Settlement {
    typed::Settlement {
        patient: proposal.patient,
        signer,
        rotations: 0,
        sequence: 0,
        proposal: proposal.id().0,
        accepted: U256::ONE,
        rejected: U256::from(2),
        deadline: u48(LATER),
    }
}

pub(crate) fn answer(message: &typed::Settlement) -> Answer {
    Answer {
        accepted: message.accepted,
        rejected: message.rejected,
        sequence: message.sequence,
        deadline: message.deadline,
    }
}

/// An access to records of the usual patient and author, as the contract takes it.
pub(crate) fn access(
    stage: &Stage,
    consent: &galen_types::Consent,
    grantee: Address,
    tree: &ConsentTree,
    numbers: &[u64],
) -> Access {
    let records: Vec<_> = numbers
        .iter()
        .map(|number| record(stage.patient.id(), stage.author.id(), *number))
        .collect();
    let proof = tree.proof(consent.id()).unwrap_or_default();
    stage.ledger.access_call(grantee, consent, Purpose::Treatment, proof, &records).unwrap()
}

/// What a grantee signs for an access.
pub(crate) fn access_message(access: &Access, consent: ConsentId) -> typed::Access {
    typed::Access {
        patient: access.patient,
        grantee: access.grantee,
        rotations: 0,
        purpose: Purpose::Treatment.bit(),
        consent: consent.0,
        records: access.records.clone(),
        deadline: u48(LATER),
    }
}
