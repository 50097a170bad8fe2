//! Cosigning: one sheet that moves from hand to hand until enough have signed.
//!
//! On chain a proposal names its policy by hash alone. So the policy travels with the signatures: the
//! author starts a sheet, each cosigner checks and signs it, and the patient answers with it. Sheets that
//! went different ways are merged. Everything on a sheet is public on chain, or becomes so.
//!
//! ```text
//! sheet = { 0: 1, 1: chain id, 2: contract (20), 3: patient (20), 4: proposal (32), 5: threshold,
//!           6: [ [cosigner (20), signature], … ] }   ascending; an empty signature is one that misses
//! ```
//!
//! Deterministic CBOR (RFC 8949, section 4.2.1), at most [`MAX_SHEET_LEN`] bytes.

use std::collections::BTreeMap;

use alloy_primitives::{Address, Bytes};
use galen_chain::{CosignPolicy, Sent, typed};
use galen_index::Proposal;
use galen_types::{LedgerId, ProposalId};
use minicbor::{Decoder, decode};

use crate::{Error, Galen, Organization, Patient, cbor, patient::u48};

/// Most bytes of an encoded sheet.
pub const MAX_SHEET_LEN: usize = 300_000;

/// Most cosigners of one policy.
pub const MAX_COSIGNERS: usize = 64;

/// Longest signature, in bytes: an ERC-1271 wallet may want many more than 65.
const MAX_SIGNATURE_LEN: usize = 4_096;

const FORMAT: u8 = 1;

/// Who must sign a proposal beside author and patient, and who has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CosignSheet {
    ledger: LedgerId,
    patient: Address,
    proposal: ProposalId,
    policy: CosignPolicy,
    signatures: BTreeMap<Address, Bytes>,
}

impl CosignSheet {
    /// The pseudonym whose proposal it is.
    pub const fn patient(&self) -> Address {
        self.patient
    }

    /// The proposal.
    pub const fn proposal(&self) -> ProposalId {
        self.proposal
    }

    /// Who must sign.
    pub const fn policy(&self) -> &CosignPolicy {
        &self.policy
    }

    /// Signatures so far, by cosigner. [`Galen::check_sheet`] says whether they are good.
    pub const fn signatures(&self) -> &BTreeMap<Address, Bytes> {
        &self.signatures
    }

    /// Cosigners that have not signed.
    pub fn missing(&self) -> Vec<Address> {
        let missing = |cosigner: &&Address| !self.signatures.contains_key(*cosigner);
        self.policy.cosigners.iter().filter(missing).copied().collect()
    }

    /// Whether as many have signed as the policy wants.
    pub fn is_enough(&self) -> bool {
        self.signatures.len() >= usize::from(self.policy.threshold)
    }

    /// Adds the signatures of another sheet of the same proposal, which was checked before.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if it is of another proposal.
    pub fn merge(&mut self, other: Self) -> Result<(), Error> {
        let same = (self.ledger, self.patient, self.proposal)
            == (other.ledger, other.patient, other.proposal);
        if !same || self.policy != other.policy {
            return Err(Error::Invalid("the two sheets are of different proposals"));
        }
        for (cosigner, signature) in other.signatures {
            self.signatures.entry(cosigner).or_insert(signature);
        }
        Ok(())
    }

    /// The one encoding.
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(|writer| {
            writer.map(7)?.u8(0)?.u8(FORMAT)?.u8(1)?.u64(self.ledger.chain_id)?;
            writer.u8(2)?.bytes(self.ledger.contract.as_slice())?;
            writer.u8(3)?.bytes(self.patient.as_slice())?;
            writer.u8(4)?.bytes(self.proposal.as_bytes())?;
            writer.u8(5)?.u8(self.policy.threshold)?;
            writer.u8(6)?.array(self.policy.cosigners.len() as u64)?;
            for cosigner in &self.policy.cosigners {
                let signature = self.signatures.get(cosigner).map_or(&[][..], |it| it);
                writer.array(2)?.bytes(cosigner.as_slice())?.bytes(signature)?;
            }
            writer.ok()
        })
    }

    /// Reads what [`CosignSheet::encode`] writes and nothing else.
    ///
    /// # Errors
    ///
    /// [`Error::Crypto`] (malformed).
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        cbor::decode("cosignature sheet", bytes, MAX_SHEET_LEN, Self::read, Self::encode)
    }

    fn read(reader: &mut Decoder<'_>) -> Result<Self, decode::Error> {
        cbor::exactly(reader.map()?, 7)?;
        cbor::key(reader, 0)?;
        cbor::key(reader, FORMAT)?;
        cbor::key(reader, 1)?;
        let chain_id = reader.u64()?;
        cbor::key(reader, 2)?;
        let ledger = LedgerId { chain_id, contract: cbor::bytes(reader)?.into() };
        cbor::key(reader, 3)?;
        let patient = cbor::bytes(reader)?.into();
        cbor::key(reader, 4)?;
        let proposal = ProposalId(cbor::bytes(reader)?.into());
        cbor::key(reader, 5)?;
        let threshold = reader.u8()?;
        cbor::key(reader, 6)?;
        let count = reader.array()?.unwrap_or(u64::MAX);
        let (mut cosigners, mut signatures) = (Vec::new(), BTreeMap::new());
        if !(1..=MAX_COSIGNERS as u64).contains(&count) {
            return Err(decode::Error::message("cosigners"));
        }
        for _ in 0..count {
            cbor::exactly(reader.array()?, 2)?;
            let cosigner: Address = cbor::bytes(reader)?.into();
            let signature = reader.bytes()?;
            if signature.len() > MAX_SIGNATURE_LEN {
                return Err(decode::Error::message("signature"));
            }
            cosigners.push(cosigner);
            if !signature.is_empty() {
                signatures.insert(cosigner, Bytes::copy_from_slice(signature));
            }
        }
        let policy = CosignPolicy { threshold, cosigners };
        if !is_policy(&policy) {
            return Err(decode::Error::message("policy"));
        }
        Ok(Self { ledger, patient, proposal, policy, signatures })
    }

    /// What a cosigner signs.
    fn message(&self, cosigner: Address, rotations: u32, deadline: u64) -> typed::Cosignature {
        typed::Cosignature {
            cosigner,
            rotations,
            proposal: self.proposal.0,
            deadline: u48(deadline),
        }
    }
}

/// Strictly ascending cosigners, and a threshold that they can reach: what the contract takes.
fn is_policy(policy: &CosignPolicy) -> bool {
    policy.cosigners.is_sorted_by(|a, b| a < b)
        && (1..=policy.cosigners.len()).contains(&usize::from(policy.threshold))
}

impl Galen {
    /// The proposal of a sheet, with every signature on the sheet checked (accounts and ERC-1271).
    ///
    /// # Errors
    ///
    /// - [`Error::Envelope`]: the sheet is for another ledger, or shows another policy than the proposal.
    /// - [`Error::NoProposal`].
    /// - [`Error::Chain`] (`NotSigned`): a signature is not its cosigner's.
    pub async fn check_sheet(&self, sheet: &CosignSheet) -> Result<Proposal, Error> {
        if sheet.ledger != self.id() {
            return Err(Error::Envelope("it is for another ledger"));
        }
        let id = sheet.proposal;
        let found = self.with_chart(sheet.patient, |chart| chart.proposal(id).cloned()).await?;
        let found = found.ok_or(Error::NoProposal(id))?;
        if found.event.policy != sheet.policy.hash() {
            return Err(Error::Envelope("its policy is not the one that the author signed"));
        }
        for (cosigner, signature) in &sheet.signatures {
            let rotations = self.ledger.participant(*cosigner).await?.rotations;
            let message = sheet.message(*cosigner, rotations, found.event.deadline);
            let digest = typed::digest(&message, self.id());
            self.ledger.require_signed(*cosigner, digest, signature).await?;
        }
        Ok(found)
    }
}

impl Organization {
    /// Starts the sheet of a proposal: for its author, or anybody who knows the policy.
    ///
    /// # Errors
    ///
    /// [`Error::NoProposal`]; [`Error::Envelope`] if the proposal was signed under another policy;
    /// [`Error::Invalid`] if the policy is none.
    pub async fn cosign_sheet(
        &self,
        patient: Address,
        proposal: ProposalId,
        policy: &CosignPolicy,
    ) -> Result<CosignSheet, Error> {
        if !is_policy(policy) || policy.cosigners.len() > MAX_COSIGNERS {
            return Err(Error::Invalid(
                "a policy has 1 to 64 cosigners, ascending, and a threshold",
            ));
        }
        let (ledger, policy) = (self.galen().id(), policy.clone());
        let sheet = CosignSheet { ledger, patient, proposal, policy, signatures: BTreeMap::new() };
        self.galen().check_sheet(&sheet).await?;
        Ok(sheet)
    }

    /// What a cosigner sees before it signs: the proposal as its author signed it. That the sheet is in
    /// order, names this organization, and can still be used is checked.
    ///
    /// The documents themselves are sealed to the patient: a cosigner who wants to read them gets them
    /// from the author, or a consent from the patient.
    ///
    /// # Errors
    ///
    /// As [`Galen::check_sheet`]; [`Error::Invalid`] if the signature would be of no use.
    pub async fn examine_sheet(&self, sheet: &CosignSheet) -> Result<Proposal, Error> {
        let proposal = self.galen().check_sheet(sheet).await?;
        if !sheet.policy.cosigners.contains(&self.id()) {
            return Err(Error::Invalid("the policy does not name this organization"));
        }
        if !proposal.is_open() {
            return Err(Error::Invalid("the proposal is answered or withdrawn"));
        }
        if self.galen().time().await? > proposal.event.deadline {
            return Err(Error::Invalid("the author's signature is out of date"));
        }
        Ok(proposal)
    }

    /// Adds this organization's signature to a sheet.
    ///
    /// # Errors
    ///
    /// As [`Organization::examine_sheet`]; [`Error::Sign`].
    pub async fn cosign_on(&self, sheet: &mut CosignSheet) -> Result<(), Error> {
        self.examine_sheet(sheet).await?;
        let signature = self.cosign(sheet.patient, sheet.proposal).await?;
        sheet.signatures.insert(self.id(), signature);
        Ok(())
    }
}

impl Patient {
    /// Answers a proposal with the signatures of a sheet, which are checked first.
    ///
    /// # Errors
    ///
    /// As [`Galen::check_sheet`] and [`Patient::answer`]; [`Error::CosignersMissing`] if too few signed.
    pub async fn answer_with(
        &self,
        sheet: &CosignSheet,
        accepted: impl IntoIterator<Item = usize>,
        rejected: impl IntoIterator<Item = usize>,
    ) -> Result<Sent, Error> {
        if sheet.patient != self.id() {
            return Err(Error::Envelope("it is for another patient"));
        }
        self.galen().check_sheet(sheet).await?;
        if !sheet.is_enough() {
            return Err(Error::CosignersMissing(sheet.missing()));
        }
        let (policy, signatures) = (&sheet.policy, &sheet.signatures);
        self.answer(sheet.proposal, accepted, rejected, policy, signatures).await
    }
}
