//! Guardians: a hidden set of accounts that hand an id to a new controller after a delay.
#![allow(
    clippy::missing_errors_doc,
    reason = "every call fails as `ChainError` says: refused by the contract, or not answered"
)]

use alloy::sol_types::SolValue as _;
use alloy_primitives::{Address, B256, Bytes, U256, aliases::U48, keccak256};
use galen_types::Salt;
use serde::{Deserialize, Serialize};

use crate::{
    Account, ChainError, Evidence, contract::HealthLedger, ledger::Ledger, payer::Sent, typed,
};

/// The opening of a commitment to guardians.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardianSet {
    /// Strictly ascending.
    pub guardians: Vec<Address>,
    /// How many start a recovery that the controller can cancel.
    pub threshold: u8,
    /// How many start one that nobody can cancel.
    pub final_threshold: u8,
    /// Hides the set until it is used.
    pub salt: Salt,
}

impl GuardianSet {
    /// What the ledger knows of the set.
    pub fn commitment(&self) -> B256 {
        let Self { guardians, threshold, final_threshold, salt } = self;
        let (threshold, last) = (U256::from(*threshold), U256::from(*final_threshold));
        keccak256((guardians.clone(), threshold, last, salt.0).abi_encode_params())
    }
}

impl From<&GuardianSet> for HealthLedger::GuardianSet {
    fn from(set: &GuardianSet) -> Self {
        Self {
            guardians: set.guardians.clone(),
            threshold: set.threshold,
            finalThreshold: set.final_threshold,
            salt: set.salt.0,
        }
    }
}

/// What the ledger says about the guardians of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Guardianship {
    /// Zero if there are none.
    pub commitment: B256,
    /// Seconds that recoveries, rotations and changes of guardians wait.
    pub delay: u32,
    /// Raised by everything that guardians or controller start, cancel or finish.
    pub nonce: u32,
    /// Unix second of the last cancelled recovery; zero if there was none.
    pub last_cancelled: u64,
}

impl Guardianship {
    /// Whether there are guardians.
    pub fn is_set(&self) -> bool {
        !self.commitment.is_zero()
    }
}

/// What waits for its delay to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PendingKind {
    /// The controller hands the id to another one.
    Rotation,
    /// The controller changes the guardians.
    GuardianChange,
    /// The first quorum hands the id to another controller.
    Recovery,
    /// The second quorum does; nobody can cancel it.
    FinalRecovery,
}

impl PendingKind {
    /// From the number on chain; `None` for what waits for nothing, or is unknown.
    pub const fn from_u8(value: u8) -> Option<Self> {
        match value {
            1 => Some(Self::Rotation),
            2 => Some(Self::GuardianChange),
            3 => Some(Self::Recovery),
            4 => Some(Self::FinalRecovery),
            _ => None,
        }
    }

    /// Whether guardians asked for it.
    pub const fn is_recovery(self) -> bool {
        matches!(self, Self::Recovery | Self::FinalRecovery)
    }
}

/// Something that waits for its delay to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PendingChange {
    /// What it is.
    pub kind: PendingKind,
    /// The controller to be; zero for a change of guardians.
    pub controller: Address,
    /// The guardians to be, for a change of guardians.
    pub commitment: B256,
    /// The delay to be, in seconds, for a change of guardians.
    pub delay: u32,
    /// First Unix second at which it can be finished.
    pub ready_at: u64,
}

impl Ledger {
    /// What the ledger says about the guardians of an id.
    pub async fn guardianship(&self, id: Address) -> Result<Guardianship, ChainError> {
        let answer = self.contract.guardianship(id).call().await?;
        Ok(Guardianship {
            commitment: answer.commitment,
            delay: answer.delay,
            nonce: answer.nonce,
            last_cancelled: answer.lastCancelled.to(),
        })
    }

    /// What waits for an id.
    pub async fn pending_change(&self, id: Address) -> Result<Option<PendingChange>, ChainError> {
        let answer = self.contract.pending(id).call().await?;
        if answer.kind == 0 {
            return Ok(None);
        }
        let unknown = ChainError::Inconsistent { what: "kind of what waits", block: 0 };
        Ok(Some(PendingChange {
            kind: PendingKind::from_u8(answer.kind).ok_or(unknown)?,
            controller: answer.controller,
            commitment: answer.commitment,
            delay: answer.delay,
            ready_at: answer.readyAt.to(),
        }))
    }

    /// Sets or changes the guardians of an id and the seconds that their word waits; `None` removes them. The first
    /// ones take effect at once, a change waits as long as the guardians before said.
    pub async fn set_guardians(
        &self,
        account: &Account,
        guardians: Option<(&GuardianSet, u32)>,
        deadline: u64,
    ) -> Result<Sent, ChainError> {
        let id = account.id();
        let commitment = guardians.map_or(B256::ZERO, |(set, _)| set.commitment());
        let delay = guardians.map_or(0, |(_, delay)| delay);
        let shown = guardians.map(|(set, _)| set.clone());
        let message = typed::GuardianChange {
            id,
            rotations: self.participant(id).await?.rotations,
            commitment,
            delay,
            nonce: self.guardianship(id).await?.nonce,
            deadline: U48::saturating_from(deadline),
        };
        let evidence = Evidence { guardians: shown, ..Evidence::default() };
        let signature = account.sign(&message, self.id, evidence).await?;
        self.send(self.contract.setGuardians(
            id,
            commitment,
            delay,
            message.nonce,
            message.deadline,
            signature,
        ))
        .await
    }

    /// What a guardian signs to hand an id to a new controller.
    pub async fn recovery_message(
        &self,
        guardian: Address,
        recovery: &RecoveryTerms,
    ) -> Result<typed::Recovery, ChainError> {
        Ok(typed::Recovery {
            id: recovery.id,
            guardian,
            guardianRotations: self.participant(guardian).await?.rotations,
            controller: recovery.controller,
            isFinal: recovery.is_final,
            nonce: recovery.nonce,
            deadline: U48::saturating_from(recovery.deadline),
        })
    }

    /// Starts a recovery. `signatures` has one entry for each guardian of the set, empty for who did not sign.
    pub async fn start_recovery(
        &self,
        recovery: &RecoveryTerms,
        set: &GuardianSet,
        signatures: Vec<Bytes>,
    ) -> Result<Sent, ChainError> {
        self.send(self.contract.startRecovery(
            recovery.id,
            recovery.controller,
            recovery.is_final,
            U48::saturating_from(recovery.deadline),
            set.into(),
            signatures,
        ))
        .await
    }

    /// Cancels what waits, as the controller. A recovery can be cancelled once in 30 days.
    pub async fn cancel_pending(
        &self,
        account: &Account,
        deadline: u64,
    ) -> Result<Sent, ChainError> {
        let id = account.id();
        let message = typed::Cancellation {
            id,
            rotations: self.participant(id).await?.rotations,
            nonce: self.guardianship(id).await?.nonce,
            deadline: U48::saturating_from(deadline),
        };
        let signature = account.sign(&message, self.id, Evidence::default()).await?;
        self.send(self.contract.cancelPending(id, message.nonce, message.deadline, signature)).await
    }

    /// Does what has waited long enough. Anyone may send it.
    pub async fn finish_pending(&self, id: Address) -> Result<Sent, ChainError> {
        self.send(self.contract.finishPending(id)).await
    }
}

/// What guardians sign: the same for each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RecoveryTerms {
    /// The id whose keys are lost.
    pub id: Address,
    /// Who is to sign for it.
    pub controller: Address,
    /// Whether the second quorum signs, for a recovery that nobody can cancel.
    pub is_final: bool,
    /// The guardianship's nonce before the recovery.
    pub nonce: u32,
    /// Last Unix second at which the recovery can be started.
    pub deadline: u64,
}

#[cfg(test)]
mod tests {
    use alloy_primitives::b256;

    use super::*;

    /// As `cast keccak $(cast abi-encode 'f(address[],uint8,uint8,bytes32)' '[0x11…,0x22…]' 2 2 0x33…)`.
    #[test]
    fn the_commitment_is_that_of_the_contract() {
        let set = GuardianSet {
            guardians: vec![Address::repeat_byte(0x11), Address::repeat_byte(0x22)],
            threshold: 2,
            final_threshold: 2,
            salt: Salt(B256::repeat_byte(0x33)),
        };
        assert_eq!(
            set.commitment(),
            b256!("b17a557ffcd3d68d0bd165eb58d8deef6c533de3941a2e5c3e17d121defe77f2")
        );
    }
}
