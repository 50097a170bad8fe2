//! The ledger: slots are read here; [`calls`] signs and sends.
#![allow(
    clippy::missing_errors_doc,
    reason = "every call fails as `ChainError` says: refused by the contract, or not answered"
)]

mod calls;
mod recovery;
mod words;

use alloy::{
    network::Ethereum,
    providers::{DynProvider, Provider},
    rpc::types::TransactionRequest,
    sol_types::SolValue,
};
use alloy_primitives::{Address, B256, Bytes, Signature, U256, aliases::U48, keccak256};
use galen_types::{ConsentRoot, Element, ErrorKind, LedgerId};
use serde::{Deserialize, Serialize};

pub use calls::TreeChange;
pub use recovery::{GuardianSet, Guardianship, PendingChange, PendingKind, RecoveryTerms};
pub use words::record_word;

use crate::{
    Account, ChainError, Finality,
    blocks::BlockReader,
    contract::HealthLedger::{self, HealthLedgerInstance},
    payer::{Fees, Payer},
    typed,
};

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

    /// The same ledger, with an account that pays for transactions. What is on its way is forgotten
    /// when the process ends; see [`Payer::wallet`] for a queue that is not.
    pub fn paid_by(&self, account: &Account) -> Self {
        let provider = self.contract.provider().clone();
        self.with_payer(Payer::wallet(provider, account.clone(), None, Fees::default()))
    }

    /// The same ledger, with somebody who pays for transactions.
    #[must_use]
    pub fn with_payer(&self, payer: Payer) -> Self {
        Self { payer: Some(payer), ..self.clone() }
    }

    /// First block of the history.
    pub const fn deployed_in(&self) -> u64 {
        self.deployed_in
    }

    /// Who pays for transactions, if anybody does.
    pub const fn payer(&self) -> Option<&Payer> {
        self.payer.as_ref()
    }

    /// Chain and contract: what signatures and sealed records are bound to.
    pub const fn id(&self) -> LedgerId {
        self.id
    }

    /// keccak256 of the code at the ledger's address.
    pub async fn code_hash(&self) -> Result<B256, ChainError> {
        Ok(keccak256(self.contract.provider().get_code_at(self.id.contract).await?))
    }

    /// Number of the newest block.
    pub async fn newest_block(&self) -> Result<u64, ChainError> {
        Ok(self.contract.provider().get_block_number().await?)
    }

    /// Reads the ledger's history from its first block.
    pub fn blocks(&self) -> BlockReader {
        BlockReader::new(self.contract.provider().clone(), self.id.contract, self.deployed_in)
    }

    /// Number of the highest block that is final.
    ///
    /// [`ChainError::NoFinalBlock`] if the node is to say so and does not.
    pub async fn final_block(&self, finality: Finality) -> Result<u64, ChainError> {
        let provider = self.contract.provider();
        let head = provider.get_block_number().await?;
        finality.block(provider, head).await
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

    /// The contract that decides who is a member.
    pub async fn consortium(&self) -> Result<Address, ChainError> {
        Ok(self.contract.consortium().call().await?)
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

    /// Whether the contract says that an author signed, by the key it has now, a document with this
    /// element; see the contract's `requireElement`.
    pub async fn proves_element(
        &self,
        author: Address,
        issued: u64,
        signature: &Bytes,
        element: &Element,
        proof: Vec<B256>,
    ) -> Result<bool, ChainError> {
        let element = HealthLedger::Element {
            salt: element.salt.0,
            label: element.label,
            parent: element.parent,
            content: element.content,
        };
        let issued = U48::saturating_from(issued);
        let call = self.contract.requireElement(author, issued, signature.clone(), element, proof);
        match call.call().await.map_err(ChainError::from) {
            Ok(_) => Ok(true),
            Err(ChainError::Reverted(revert)) if revert.kind() == ErrorKind::Integrity => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether a digest was signed by who controls an id today, as an account or by ERC-1271.
    pub async fn require_signed(
        &self,
        id: Address,
        digest: B256,
        signature: &Bytes,
    ) -> Result<(), ChainError> {
        let controller = self.participant(id).await?.controller;
        let signed = self.has_signed(controller, digest, signature).await;
        if signed { Ok(()) } else { Err(ChainError::NotSigned(id)) }
    }

    /// Whether this account signed a digest, as a key or, if it is a contract, as the contract says today by
    /// ERC-1271. A node that does not answer has not confirmed it.
    pub async fn has_signed(&self, account: Address, digest: B256, signature: &Bytes) -> bool {
        if recovers(account, digest, signature) {
            return true;
        }
        // ERC-1271: bytes4(keccak256("isValidSignature(bytes32,bytes)")).
        const MAGIC: [u8; 4] = [0x16, 0x26, 0xba, 0x7e];
        let input = [&MAGIC, (digest, signature.clone()).abi_encode_params().as_slice()].concat();
        let request = TransactionRequest::default().to(account).input(Bytes::from(input).into());
        let answer = self.contract.provider().call(request).await.unwrap_or_default();
        answer == [MAGIC.as_slice(), &[0; 28]].concat()
    }
}

/// Whether a digest was signed by the key of an account: 65 bytes, or 64 in the form of ERC-2098, with a low s.
/// Asks no chain, so that a contract has never signed.
pub fn recovers(account: Address, digest: B256, signature: &[u8]) -> bool {
    let parsed = match signature.len() {
        64 => Some(Signature::from_erc2098(signature)),
        65 => Signature::from_raw(signature).ok(),
        _ => None,
    };
    let recovered = parsed
        .filter(|signature| signature.normalize_s().is_none())
        .and_then(|signature| signature.recover_address_from_prehash(&digest).ok());
    recovered == Some(account)
}
