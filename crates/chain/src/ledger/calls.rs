//! What is signed and sent to the ledger.
#![allow(
    clippy::missing_errors_doc,
    reason = "every call fails as `ChainError` says: refused by the contract, or not answered"
)]

use std::marker::PhantomData;

use alloy::{
    consensus::Transaction as _,
    contract::CallBuilder,
    network::{Ethereum, TransactionResponse as _},
    providers::{DynProvider, Provider as _},
    sol_types::SolCall,
};
use alloy_primitives::{Address, B256, Bytes, U256, aliases::U48};
use galen_types::{
    Consent, ConsentId, ConsentTree, ContentRef, KeyBundleId, ProposalId, Purpose, PurposeSet,
    RecordKey,
};

use super::words::{
    access_terms, consent_from_terms, consent_of, record_word, reseal_header, settlement_terms,
};
use crate::{
    Account, ChainError, Evidence,
    contract::HealthLedger,
    ledger::{CosignPolicy, Ledger, Masks, SignedProposal},
    payer::Sent,
    typed,
};

/// A change of a patient's consents.
#[derive(Clone, Debug, Default)]
pub struct TreeChange {
    /// The live leaves after the change.
    pub tree: ConsentTree,
    /// Version of the consents that the tree was built from.
    pub version: u32,
    /// Leaves that leave the tree.
    pub revoked: Vec<ConsentId>,
    /// Leaves that enter it.
    pub granted: Vec<ConsentId>,
    /// Terms behind the leaves that change, as far as they are known, for whoever is asked to sign.
    pub openings: Vec<Consent>,
}

impl Ledger {
    /// Publishes a key bundle that extends `previous`.
    pub async fn publish_keys(
        &self,
        account: &Account,
        previous: KeyBundleId,
        bundle: KeyBundleId,
        content: ContentRef,
        deadline: u64,
    ) -> Result<Sent, ChainError> {
        let message = typed::KeyBundle {
            id: account.id(),
            rotations: self.participant(account.id()).await?.rotations,
            previous: previous.0,
            bundle: bundle.0,
            store: content.store as u8,
            content: content.digest,
            deadline: U48::saturating_from(deadline),
        };
        let signature = account.sign(&message, self.id, Evidence::default()).await?;
        self.send(self.contract.publishKeys(
            message.id,
            message.previous,
            message.bundle,
            message.store,
            message.content,
            message.deadline,
            signature,
        ))
        .await
    }

    /// Signs a proposal of 1 to 256 leaves.
    pub async fn sign_proposal(
        &self,
        author: &Account,
        patient: Address,
        leaves: &[galen_types::Leaf],
        policy: &CosignPolicy,
        deadline: u64,
    ) -> Result<SignedProposal, ChainError> {
        let count = u16::try_from(leaves.len()).ok().filter(|count| (1..=256).contains(count));
        let message = typed::Proposal {
            patient,
            author: author.id(),
            rotations: self.participant(author.id()).await?.rotations,
            count: count.ok_or(ChainError::Invalid("a proposal has 1 to 256 leaves"))?,
            deadline: U48::saturating_from(deadline),
            policy: policy.hash(),
            leaves: leaves.iter().map(typed::Leaf::from).collect(),
        };
        let evidence = Evidence { policy: Some(policy.clone()), ..Evidence::default() };
        let signature = author.sign(&message, self.id, evidence).await?;
        Ok(SignedProposal { message, signature })
    }

    /// Announces a signed proposal.
    pub async fn propose(
        &self,
        proposal: &SignedProposal,
        leaves: &[galen_types::Leaf],
    ) -> Result<Sent, ChainError> {
        let message = &proposal.message;
        let leaves = leaves
            .iter()
            .map(|leaf| HealthLedger::Leaf {
                header: leaf.header(),
                content: leaf.content.digest,
                commitment: leaf.commitment.0,
                previous: leaf.previous.0,
            })
            .collect();
        self.send(self.contract.propose(
            message.patient,
            message.author,
            message.policy,
            message.deadline,
            leaves,
            proposal.signature.clone(),
        ))
        .await
    }

    /// Takes a proposal back.
    pub async fn withdraw(
        &self,
        author: &Account,
        patient: Address,
        proposal: ProposalId,
        deadline: u64,
    ) -> Result<Sent, ChainError> {
        let message = typed::Withdrawal {
            patient,
            author: author.id(),
            rotations: self.participant(author.id()).await?.rotations,
            proposal: proposal.0,
            deadline: U48::saturating_from(deadline),
        };
        let signature = author.sign(&message, self.id, Evidence::default()).await?;
        self.send(self.contract.withdraw(
            patient,
            message.author,
            message.proposal,
            message.deadline,
            signature,
        ))
        .await
    }

    /// A cosigner's signature over a proposal.
    pub async fn cosign(
        &self,
        cosigner: &Account,
        proposal: &typed::Proposal,
    ) -> Result<Bytes, ChainError> {
        let message = typed::Cosignature {
            cosigner: cosigner.id(),
            rotations: self.participant(cosigner.id()).await?.rotations,
            proposal: proposal.id().0,
            deadline: proposal.deadline,
        };
        let evidence = Evidence { proposal: Some(proposal.clone()), ..Evidence::default() };
        Ok(cosigner.sign(&message, self.id, evidence).await?)
    }

    /// Settles a proposal with the patient's answer. `cosignatures` has one entry for each cosigner of
    /// the policy, empty for who did not sign.
    pub async fn settle(
        &self,
        patient: &Account,
        proposal: &SignedProposal,
        masks: Masks,
        deadline: u64,
        policy: &CosignPolicy,
        cosignatures: Vec<Bytes>,
    ) -> Result<Sent, ChainError> {
        let message = typed::Settlement {
            patient: patient.id(),
            signer: patient.id(),
            rotations: self.participant(patient.id()).await?.rotations,
            sequence: self.chart(patient.id()).await?.sequence,
            proposal: proposal.message.id().0,
            accepted: masks.accepted,
            rejected: masks.rejected,
            deadline: U48::saturating_from(deadline),
        };
        let evidence = Evidence { proposal: Some(proposal.message.clone()), ..Evidence::default() };
        let signature = patient.sign(&message, self.id, evidence).await?;
        let answer = HealthLedger::Answer {
            accepted: masks.accepted,
            rejected: masks.rejected,
            sequence: message.sequence,
            deadline: message.deadline,
        };
        let terms = settlement_terms(&proposal.message);
        let author_signature = proposal.signature.clone();
        if policy.cosigners.is_empty() {
            let call = self.contract.settle(terms, author_signature, answer, signature);
            return self.send(call).await;
        }
        let policy = HealthLedger::Policy {
            threshold: policy.threshold,
            cosigners: policy.cosigners.clone(),
            signatures: cosignatures,
        };
        let nobody = HealthLedger::Delegation {
            delegate: Address::ZERO,
            powers: 0,
            notBefore: U48::ZERO,
            expiry: U48::ZERO,
            salt: B256::ZERO,
            proof: Vec::new(),
        };
        self.send(self.contract.settleWith(
            terms,
            author_signature,
            answer,
            signature,
            policy,
            nobody,
        ))
        .await
    }

    /// Replaces a patient's consent root by that of the change's tree.
    ///
    /// The contract refuses it (`ConsentVersionStale`) if the consents are no longer of the version that
    /// the tree was built from.
    pub async fn change_consents(
        &self,
        patient: &Account,
        change: TreeChange,
        deadline: u64,
    ) -> Result<Sent, ChainError> {
        let TreeChange { tree, version, revoked, granted, openings } = change;
        let slot = self.consents(patient.id()).await?;
        let message = typed::ConsentChange {
            patient: patient.id(),
            signer: patient.id(),
            rotations: self.participant(patient.id()).await?.rotations,
            version,
            root: tree.root().0,
            revoked: revoked.into_iter().map(B256::from).collect(),
            granted: granted.into_iter().map(B256::from).collect(),
            deadline: U48::saturating_from(deadline),
        };
        // The root of another version is no measure: the contract refuses the change then.
        let root = (slot.version == version).then_some(slot.root);
        let evidence =
            Evidence { consents: openings, tree: Some(tree), root, ..Evidence::default() };
        let signature = patient.sign(&message, self.id, evidence).await?;
        let mut state = [0; 32];
        state[..28].copy_from_slice(message.root.as_slice());
        state[28..].copy_from_slice(&message.version.to_be_bytes());
        let change = HealthLedger::ConsentChange {
            patient: message.patient,
            state: state.into(),
            limits: U256::from(message.deadline) | U256::from(message.revoked.len()) << 48,
            leaves: [message.revoked, message.granted].concat(),
        };
        self.send(self.contract.changeConsents(change, signature)).await
    }

    /// The reads of one patient's records under one consent, as the contract takes them.
    pub fn access_call(
        &self,
        grantee: Address,
        consent: &Consent,
        purpose: Purpose,
        proof: Vec<B256>,
        records: &[RecordKey],
    ) -> Result<HealthLedger::Access, ChainError> {
        let patient = records
            .first()
            .map(|record| record.patient)
            .filter(|patient| records.iter().all(|record| record.patient == *patient))
            .ok_or(ChainError::Invalid("an access names records of one patient"))?;
        Ok(HealthLedger::Access {
            patient,
            grantee,
            segments: consent.segments.0,
            terms: access_terms(consent, purpose),
            salt: consent.salt.0,
            proof,
            records: records.iter().map(record_word).collect(),
        })
    }

    /// Logs reads of one patient's records under one consent, signed by the grantee.
    pub async fn log_access(
        &self,
        grantee: &Account,
        consent: &Consent,
        purpose: Purpose,
        proof: Vec<B256>,
        records: &[RecordKey],
        deadline: u64,
    ) -> Result<Sent, ChainError> {
        let access = self.access_call(grantee.id(), consent, purpose, proof, records)?;
        let message = typed::Access {
            patient: access.patient,
            grantee: grantee.id(),
            rotations: self.participant(grantee.id()).await?.rotations,
            purpose: purpose.bit(),
            // The leaf as the contract will compute it: with somebody else's consent it is not found,
            // rather than the signature invalid.
            consent: consent_of(grantee.id(), consent).id().0,
            records: access.records.clone(),
            deadline: U48::saturating_from(deadline),
        };
        let terms = consent_of(grantee.id(), consent);
        let evidence = Evidence { consents: vec![terms], ..Evidence::default() };
        let signature = grantee.sign(&message, self.id, evidence).await?;
        self.send(self.contract.logAccessBySig(access, message.deadline, signature)).await
    }

    /// The consent that an access in a transaction opened, as its grantee claimed it.
    ///
    /// `None` if the transaction is not there or is no direct call of the ledger that logs an access. The
    /// caller compares the consent's id with the leaf that it knows.
    pub async fn opened_consent(&self, transaction: B256) -> Result<Option<Consent>, ChainError> {
        let found = self.contract.provider().get_transaction_by_hash(transaction).await?;
        let Some(found) = found.filter(|found| found.to() == Some(self.id.contract)) else {
            return Ok(None);
        };
        let input = found.input();
        if let Ok(call) = HealthLedger::logAccessBySigCall::abi_decode(input) {
            let access = call.access;
            let (grantee, salt) = (access.grantee, access.salt);
            return Ok(Some(consent_from_terms(grantee, access.segments, access.terms, salt)));
        }
        let call = HealthLedger::logAccessCall::abi_decode(input).ok();
        Ok(call.map(|call| consent_from_terms(found.from(), call.segments, call.terms, call.salt)))
    }

    /// Asks a patient for consent, signed by an active organization.
    pub async fn request_access(
        &self,
        organization: &Account,
        patient: Address,
        purposes: PurposeSet,
        content: Option<ContentRef>,
        deadline: u64,
    ) -> Result<Sent, ChainError> {
        let message = typed::AccessRequest {
            patient,
            organization: organization.id(),
            rotations: self.participant(organization.id()).await?.rotations,
            purposes: purposes.0,
            store: content.map_or(0, |content| content.store as u8),
            message: content.map_or(B256::ZERO, |content| content.digest),
            deadline: U48::saturating_from(deadline),
        };
        let signature = organization.sign(&message, self.id, Evidence::default()).await?;
        self.send(self.contract.requestAccess(
            patient,
            message.organization,
            message.purposes,
            message.store,
            message.message,
            message.deadline,
            signature,
        ))
        .await
    }

    /// Hands an id to another controller, who signs too. If the id has guardians, this starts the wait.
    pub async fn rotate(
        &self,
        account: &Account,
        successor: &Account,
        deadline: u64,
    ) -> Result<Sent, ChainError> {
        let id = account.id();
        let message = typed::Rotation {
            id,
            controller: successor.controller(),
            sequence: self.chart(id).await?.sequence,
            nonce: self.contract.guardianship(id).call().await?.nonce,
            deadline: U48::saturating_from(deadline),
        };
        let signature = account.sign(&message, self.id, Evidence::default()).await?;
        let successor = successor.clone().for_id(id);
        let acceptance = successor.sign(&message, self.id, Evidence::default()).await?;
        self.send(self.contract.rotate(
            id,
            message.controller,
            message.sequence,
            message.deadline,
            signature,
            acceptance,
        ))
        .await
    }

    /// Announces new content for records of one author, signed by the patient or the author.
    pub async fn reseal(
        &self,
        signer: &Account,
        patient: Address,
        author: Address,
        items: &[(RecordKey, ContentRef, ContentRef)],
        deadline: u64,
    ) -> Result<Sent, ChainError> {
        let by_author = signer.id() != patient;
        let message = typed::Reseal {
            patient,
            author,
            signer: signer.id(),
            rotations: self.participant(signer.id()).await?.rotations,
            items: items
                .iter()
                .map(|(record, content, previous)| typed::Resealed {
                    segment: record.segment.0,
                    number: record.number,
                    store: content.store as u8,
                    content: content.digest,
                    previous: previous.digest,
                })
                .collect(),
            deadline: U48::saturating_from(deadline),
        };
        let signature = signer.sign(&message, self.id, Evidence::default()).await?;
        if let [(record, content, previous)] = items {
            let header = reseal_header(record, content)
                | U256::from(by_author) << 88
                | U256::from(message.deadline) << 96;
            let call = self.contract.reseal(
                patient,
                author,
                header,
                content.digest,
                previous.digest,
                signature,
            );
            return self.send(call).await;
        }
        let items = items
            .iter()
            .map(|(record, content, previous)| HealthLedger::Reseal {
                header: reseal_header(record, content),
                content: content.digest,
                previous: previous.digest,
            })
            .collect();
        let call = self.contract.resealMany(
            patient,
            author,
            by_author,
            items,
            message.deadline,
            signature,
        );
        self.send(call).await
    }

    pub(super) async fn send<C: SolCall>(
        &self,
        call: CallBuilder<&DynProvider<Ethereum>, PhantomData<C>, Ethereum>,
    ) -> Result<Sent, ChainError> {
        let payer =
            self.payer.as_ref().ok_or(ChainError::Invalid("nobody pays for transactions"))?;
        payer.send(call.into_transaction_request()).await
    }
}
