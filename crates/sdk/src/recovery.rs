//! Keys come back: guardians, and what it takes to lose everything and go on.
//!
//! Two things are lost with a laptop: the key that signs, and the seed of all that opens. The first is replaced on
//! chain: m of n guardians sign, a delay passes in which the controller can object, and a new key takes over
//! ([`RecoverySheet`]). The second is put together again: guardians hold pieces of one half of the seed, proxies
//! pieces of the other, and both give theirs only to who took over by a recovery that finished. Without proxies the
//! guardians hold all of it, and m of them together could read everything without a trace.
//!
//! | who | what |
//! |---|---|
//! | [`Guarded`] | sets guardians, hands out the pieces, cancels what a thief started |
//! | [`Guardian`] | checks and keeps a piece, signs for a new key, gives the piece after the recovery |
//! | [`Claimant`] | lost the keys: asks, starts, finishes, puts the seed together |

mod claimant;
mod given;
mod guarded;
mod guardian;
mod sheet;

use alloy_primitives::Address;
use galen_chain::{Guardianship, PendingChange, Sent};
use serde::Serialize;

pub use self::{
    claimant::{Claimant, PieceTally},
    given::{GivenPiece, MAX_GIVEN_LEN, decode_piece_ask, encode_piece_ask},
    guarded::{Guarded, GuardianPlan, HandedOut},
    guardian::{Guardian, PieceStanding, Ward},
    sheet::{MAX_RECOVERY_SHEET_LEN, RecoverySheet},
};

use crate::{Error, Galen, Identity};

/// Most guardians of one id.
pub const MAX_GUARDIANS: usize = 32;

/// Seconds that guardians may ask to wait: 3 to 21 days, as the contract has it.
pub const GUARDIAN_DELAYS: std::ops::RangeInclusive<u32> = 3 * DAY..=21 * DAY;

const DAY: u32 = 86_400;

/// Seconds that guardians have to sign a recovery and, after it, to give their pieces.
pub(crate) const RECOVERY_LIFETIME: u64 = 14 * 24 * 3_600;

/// Numbers of the halves of a seed, as in [`galen_crypto::PieceTerms`].
pub(crate) const GUARDIANS_HALF: u8 = 0;
pub(crate) const PROXIES_HALF: u8 = 1;

/// What a guardian's and a proxy's piece are sealed under for who took the id over.
pub(crate) const GIVEN_LABEL: &str = "galen.guardian.piece.v1";
pub(crate) const RELEASED_LABEL: &str = "galen.proxy.piece.v1";

/// How an id is guarded, as the ledger says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct GuardState {
    /// Commitment, delay, nonce.
    pub guardianship: Guardianship,
    /// What waits.
    pub pending: Option<PendingChange>,
    /// Who signs for the id now.
    pub controller: Address,
}

impl Galen {
    /// What the owner of an id does about guardians.
    pub fn guarded(&self, identity: Identity) -> Guarded {
        Guarded::new(self.clone(), identity)
    }

    /// What somebody does as a guardian of others.
    pub fn guardian(&self, identity: Identity) -> Guardian {
        Guardian::new(self.clone(), identity)
    }

    /// What somebody does who lost the keys of `id` and has the new ones of `identity`.
    pub fn claimant(&self, identity: Identity, id: Address) -> Claimant {
        Claimant::new(self.clone(), identity, id)
    }

    /// How an id is guarded.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn guard_state(&self, id: Address) -> Result<GuardState, Error> {
        let ledger = self.ledger();
        Ok(GuardState {
            guardianship: ledger.guardianship(id).await?,
            pending: ledger.pending_change(id).await?,
            controller: ledger.participant(id).await?.controller,
        })
    }

    /// Does what has waited long enough for an id: a recovery, a rotation, a change of guardians. Anybody may.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`]: nothing waits, or its delay has not passed.
    pub async fn finish_pending(&self, id: Address) -> Result<Sent, Error> {
        Ok(self.ledger().finish_pending(id).await?)
    }
}
