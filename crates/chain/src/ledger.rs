//! The ledger: slots are read, signed messages are sent.
#![allow(
    clippy::missing_errors_doc,
    reason = "every call fails as `ChainError` says: refused by the contract, or not answered"
)]

use std::{sync::Arc, time::Duration};

use alloy::{
    contract::CallBuilder,
    network::{Ethereum, EthereumWallet, TransactionBuilder},
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::types::TransactionRequest,
    sol_types::{SolCall, SolValue},
};
use alloy_primitives::{Address, B256, Bytes, Signature, U256, aliases::U48, keccak256};
use galen_types::{
    Consent, ConsentId, ConsentRoot, ConsentTree, ContentRef, KeyBundleId, LedgerId, ProposalId,
    Purpose, RecordKey,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::{
    Account, ChainError,
    blocks::BlockReader,
    contract::HealthLedger::{self, HealthLedgerInstance},
    typed,
};

/// How long a transaction may take to land before Galen says so.
const LANDING_DEADLINE: Duration = Duration::from_secs(90);

/// Between two looks for a receipt.
const RECEIPT_INTERVAL: Duration = Duration::from_millis(400);

/// Gas of one operation, in units of gas.
pub type Gas = u64;

/// When a block counts. Chains without finality tags count confirmations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finality {
    /// The newest block: development chains and chains with instant finality.
    Latest,
}

/// Standing of an id in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Never a member.
    None,
    /// A member in good standing.
    Active,
    /// A member that may not act.
    Suspended,
    /// Was a member.
    Removed,
}

impl Standing {
    /// From the number on chain.
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::None),
            1 => Some(Self::Active),
            2 => Some(Self::Suspended),
            3 => Some(Self::Removed),
            _ => None,
        }
    }
}

/// A transaction that landed and succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// Transaction hash.
    pub transaction: B256,
    /// Block number.
    pub block: u64,
    /// Gas used.
    pub gas: Gas,
}

/// Pays gas for transactions: a relayer, or somebody for themselves.
#[derive(Clone, Debug)]
pub(crate) struct Payer {
    provider: DynProvider<Ethereum>,
    address: Address,
    // One at a time, so that nonces follow each other.
    sending: Arc<Mutex<()>>,
}

impl Payer {
    pub(crate) fn new(provider: DynProvider<Ethereum>, account: &Account) -> Self {
        let provider = ProviderBuilder::new()
            .with_simple_nonce_management()
            .wallet(EthereumWallet::from(account.signer()))
            .connect_provider(provider)
            .erased();
        Self { provider, address: account.controller(), sending: Arc::default() }
    }

    /// Sends a transaction and waits until it is in a block.
    pub(crate) async fn send(&self, request: TransactionRequest) -> Result<Sent, ChainError> {
        let _one_at_a_time = self.sending.lock().await;
        let request = request.from(self.address);
        // The estimate runs the call: a refusal is decoded here and costs nothing.
        let estimate = self.provider.estimate_gas(request.clone()).await?;
        let request = request.with_gas_limit(estimate + estimate / 8);
        let pending = self.provider.send_transaction(request).await?;
        let transaction = *pending.tx_hash();
        let receipt = self.landed(transaction).await?;
        if !receipt.status() {
            return Err(ChainError::Failed { transaction });
        }
        Ok(Sent {
            transaction,
            block: receipt.block_number.unwrap_or_default(),
            gas: receipt.gas_used,
        })
    }

    async fn landed(
        &self,
        transaction: B256,
    ) -> Result<alloy::rpc::types::TransactionReceipt, ChainError> {
        if let Some(receipt) = self.provider.get_transaction_receipt(transaction).await? {
            return Ok(receipt);
        }
        let wait = async {
            loop {
                tokio::time::sleep(RECEIPT_INTERVAL).await;
                if let Some(receipt) = self.provider.get_transaction_receipt(transaction).await? {
                    return Ok(receipt);
                }
            }
        };
        tokio::time::timeout(LANDING_DEADLINE, wait)
            .await
            .unwrap_or(Err(ChainError::NotMined { transaction, waited: LANDING_DEADLINE }))
    }
}

/// The slots of a pseudonym's chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChartSlot {
    /// Settlements and rotations so far.
    pub sequence: u32,
    /// Unix second of the last access; zero if there was none.
    pub last_access: u64,
    /// Rolling hash of every settlement, access, reseal and rotation: 23 bytes.
    pub head: [u8; 23],
}

/// The consents slot of a pseudonym.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsentSlot {
    /// Root of the consent tree.
    pub root: ConsentRoot,
    /// Changes and rotations so far.
    pub version: u32,
}

/// Who signs for an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Participant {
    /// The account whose signature counts.
    pub controller: Address,
    /// Standing in the network.
    pub standing: Standing,
    /// Rotations so far.
    pub rotations: u32,
}

/// A proposal that its author signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedProposal {
    /// What is signed.
    pub message: typed::Proposal,
    /// The author's signature.
    pub signature: Bytes,
}

/// Who must sign beside author and patient.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CosignPolicy {
    /// How many must sign; zero for no policy.
    pub threshold: u8,
    /// Strictly ascending, without patient and author.
    pub cosigners: Vec<Address>,
}

impl CosignPolicy {
    /// What a proposal names: zero for no policy.
    pub fn hash(&self) -> B256 {
        if self.cosigners.is_empty() {
            return B256::ZERO;
        }
        keccak256((U256::from(self.threshold), self.cosigners.clone()).abi_encode_params())
    }
}

/// The patient's answer to a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Masks {
    /// Bit n stands for leaf n.
    pub accepted: U256,
    /// Disjoint from `accepted`.
    pub rejected: U256,
}

/// A ledger on a chain, and who pays for what is sent to it.
#[derive(Clone, Debug)]
pub struct Ledger {
    contract: HealthLedgerInstance<DynProvider<Ethereum>>,
    id: LedgerId,
    deployed_in: u64,
    payer: Option<Payer>,
}

impl Ledger {
    /// Connects to a ledger for reading.
    ///
    /// # Errors
    ///
    /// [`ChainError::NotALedger`] if the address answers to another EIP-712 domain, or not at all.
    pub async fn connect(
        provider: impl Provider + 'static,
        address: Address,
        deployed_in: u64,
    ) -> Result<Self, ChainError> {
        let provider = provider.erased();
        let chain_id = provider.get_chain_id().await?;
        let contract = HealthLedger::new(address, provider);
        let domain = contract.eip712Domain().call().await;
        let domain = domain.map_err(|_| ChainError::NotALedger(address))?;
        let ours = domain.name == "Galen"
            && domain.version == "1"
            && domain.verifyingContract == address
            && domain.chainId == U256::from(chain_id);
        if !ours {
            return Err(ChainError::NotALedger(address));
        }
        Ok(Self {
            contract,
            id: LedgerId { chain_id, contract: address },
            deployed_in,
            payer: None,
        })
    }

    /// The same ledger, with an account that pays for transactions.
    pub fn paid_by(&self, account: &Account) -> Self {
        let payer = Payer::new(self.contract.provider().clone(), account);
        Self { payer: Some(payer), ..self.clone() }
    }

    /// Chain and contract: what signatures and sealed records are bound to.
    pub const fn id(&self) -> LedgerId {
        self.id
    }

    /// Reads the ledger's history from its first block.
    pub fn blocks(&self) -> BlockReader {
        BlockReader::new(self.contract.provider().clone(), self.id.contract, self.deployed_in)
    }

    /// Unix second of the newest block.
    pub async fn now(&self) -> Result<u64, ChainError> {
        let block = self.contract.provider().get_block_by_number(Default::default()).await?;
        Ok(block
            .ok_or(ChainError::Inconsistent { what: "missing head", block: 0 })?
            .header
            .timestamp)
    }

    /// Who signs for an id.
    pub async fn participant(&self, id: Address) -> Result<Participant, ChainError> {
        let answer = self.contract.participant(id).call().await?;
        Ok(Participant {
            controller: answer.controller,
            standing: Standing::from_u8(answer.status)
                .ok_or(ChainError::Inconsistent { what: "status", block: 0 })?,
            rotations: answer.rotations,
        })
    }

    /// The chart slot of a pseudonym.
    pub async fn chart(&self, patient: Address) -> Result<ChartSlot, ChainError> {
        let answer = self.contract.chart(patient).call().await?;
        Ok(ChartSlot {
            sequence: answer.sequence,
            last_access: answer.lastAccess.to(),
            head: answer.head.0,
        })
    }

    /// The consents slot of a pseudonym.
    pub async fn consents(&self, patient: Address) -> Result<ConsentSlot, ChainError> {
        let answer = self.contract.consents(patient).call().await?;
        Ok(ConsentSlot { root: ConsentRoot(answer.root), version: answer.version })
    }

    /// Whether a digest was signed by who controls an id today, as an account or by ERC-1271.
    pub async fn require_signed(
        &self,
        id: Address,
        digest: B256,
        signature: &Bytes,
    ) -> Result<(), ChainError> {
        let controller = self.participant(id).await?.controller;
        let parsed = match signature.len() {
            64 => Some(Signature::from_erc2098(signature)),
            65 => Signature::from_raw(signature).ok(),
            _ => None,
        };
        let recovered = parsed
            .filter(|signature| signature.normalize_s().is_none())
            .and_then(|signature| signature.recover_address_from_prehash(&digest).ok());
        if recovered == Some(controller) {
            return Ok(());
        }
        // ERC-1271: bytes4(keccak256("isValidSignature(bytes32,bytes)")).
        const MAGIC: [u8; 4] = [0x16, 0x26, 0xba, 0x7e];
        let input = [&MAGIC, (digest, signature.clone()).abi_encode_params().as_slice()].concat();
        let request = TransactionRequest::default().to(controller).input(Bytes::from(input).into());
        let answer = self.contract.provider().call(request).await.unwrap_or_default();
        let expected = [MAGIC.as_slice(), &[0; 28]].concat();
        if answer == expected { Ok(()) } else { Err(ChainError::NotSigned(id)) }
    }

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
            deadline: U48::from(deadline),
        };
        let signature = account.sign(&message, self.id);
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
            deadline: U48::from(deadline),
            policy: policy.hash(),
            leaves: leaves.iter().map(typed::Leaf::from).collect(),
        };
        let signature = author.sign(&message, self.id);
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
            deadline: U48::from(deadline),
        };
        let signature = author.sign(&message, self.id);
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
        proposal: ProposalId,
        deadline: u64,
    ) -> Result<Bytes, ChainError> {
        let message = typed::Cosignature {
            cosigner: cosigner.id(),
            rotations: self.participant(cosigner.id()).await?.rotations,
            proposal: proposal.0,
            deadline: U48::from(deadline),
        };
        Ok(cosigner.sign(&message, self.id))
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
            deadline: U48::from(deadline),
        };
        let signature = patient.sign(&message, self.id);
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

    /// Replaces a patient's consent root by that of `tree`.
    pub async fn change_consents(
        &self,
        patient: &Account,
        tree: &ConsentTree,
        revoked: Vec<ConsentId>,
        granted: Vec<ConsentId>,
        deadline: u64,
    ) -> Result<Sent, ChainError> {
        let message = typed::ConsentChange {
            patient: patient.id(),
            signer: patient.id(),
            rotations: self.participant(patient.id()).await?.rotations,
            version: self.consents(patient.id()).await?.version,
            root: tree.root().0,
            revoked: revoked.into_iter().map(B256::from).collect(),
            granted: granted.into_iter().map(B256::from).collect(),
            deadline: U48::from(deadline),
        };
        let signature = patient.sign(&message, self.id);
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
            consent: consent.id().0,
            records: access.records.clone(),
            deadline: U48::from(deadline),
        };
        let signature = grantee.sign(&message, self.id);
        self.send(self.contract.logAccessBySig(access, message.deadline, signature)).await
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
            deadline: U48::from(deadline),
        };
        let signature = signer.sign(&message, self.id);
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

    async fn send<C: SolCall>(
        &self,
        call: CallBuilder<&DynProvider<Ethereum>, std::marker::PhantomData<C>, Ethereum>,
    ) -> Result<Sent, ChainError> {
        let payer =
            self.payer.as_ref().ok_or(ChainError::Invalid("nobody pays for transactions"))?;
        payer.send(call.into_transaction_request()).await
    }
}

/// What a settlement shows of a proposal.
fn settlement_terms(proposal: &typed::Proposal) -> HealthLedger::Proposal {
    HealthLedger::Proposal {
        patient: proposal.patient,
        author: proposal.author,
        count: proposal.count,
        deadline: proposal.deadline,
        policy: proposal.policy,
        leaves: hash_leaves(&proposal.leaves),
    }
}

/// `keccak256` of the struct hashes of all leaves, as EIP-712 encodes an array.
fn hash_leaves(leaves: &[typed::Leaf]) -> B256 {
    use alloy::sol_types::SolStruct;
    let hashes: Vec<u8> = leaves.iter().flat_map(|leaf| leaf.eip712_hash_struct().0).collect();
    keccak256(hashes)
}

/// A record as an access names it: bits 0..64 number, 64..72 segment, 96..256 author.
fn record_word(record: &RecordKey) -> U256 {
    U256::from(record.number)
        | U256::from(record.segment.0) << 64
        | U256::from_be_slice(record.author.as_slice()) << 96
}

/// Purpose and terms as an access shows them: bits 0..8 purpose, 8 network, 16..64 not before,
/// 64..112 expiry, 112..144 purposes.
fn access_terms(consent: &Consent, purpose: Purpose) -> U256 {
    U256::from(purpose.bit())
        | U256::from(consent.is_network()) << 8
        | U256::from(U48::saturating_from(consent.not_before)) << 16
        | U256::from(U48::saturating_from(consent.expiry)) << 64
        | U256::from(consent.purposes.0) << 112
}

/// Bits 0..64 number, 64..72 segment, 80..88 store of the new content.
fn reseal_header(record: &RecordKey, content: &ContentRef) -> U256 {
    U256::from(record.number)
        | U256::from(record.segment.0) << 64
        | U256::from(content.store as u8) << 80
}
