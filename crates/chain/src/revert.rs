//! Why the contracts refused, decoded from the revert data.

use std::fmt;

use alloy::sol_types::SolInterface;
use alloy_primitives::{Bytes, hex};
use galen_types::ErrorKind;

use crate::contract::{
    Consortium::ConsortiumErrors, HealthLedger::HealthLedgerErrors as LedgerErrors,
};

/// A decoded revert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revert {
    name: &'static str,
    detail: String,
    kind: ErrorKind,
}

impl Revert {
    /// Reads revert data. What the contracts of Galen do not throw is shown as its first bytes.
    pub fn decode(data: &Bytes) -> Self {
        if let Ok(error) = LedgerErrors::abi_decode(data) {
            return Self::ledger(&error);
        }
        if let Ok(error) = ConsortiumErrors::abi_decode(data) {
            return Self {
                name: "Consortium",
                detail: format!("{error:?}"),
                kind: ErrorKind::Denied,
            };
        }
        let shown = &data[..data.len().min(68)];
        Self { name: "", detail: hex::encode_prefixed(shown), kind: ErrorKind::Internal }
    }

    fn ledger(error: &LedgerErrors) -> Self {
        use LedgerErrors as E;
        let (name, kind) = match error {
            E::SignatureInvalid(_) => ("SignatureInvalid", ErrorKind::Integrity),
            E::SignatureHighS(_) => ("SignatureHighS", ErrorKind::Integrity),
            E::NotController(_) => ("NotController", ErrorKind::Denied),
            E::DeadlinePassed(_) => ("DeadlinePassed", ErrorKind::Stale),
            E::SequenceStale(_) => ("SequenceStale", ErrorKind::Stale),
            E::ConsentVersionStale(_) => ("ConsentVersionStale", ErrorKind::Stale),
            E::GuardianNonceStale(_) => ("GuardianNonceStale", ErrorKind::Stale),
            // A consent that was revoked and a proof that is out of date look alike to the
            // contract; whoever holds the current tree can tell.
            E::ConsentNotFound(_) => ("ConsentNotFound", ErrorKind::Denied),
            E::ConsentNotInForce(_) => ("ConsentNotInForce", ErrorKind::Denied),
            E::SegmentNotConsented(_) => ("SegmentNotConsented", ErrorKind::Denied),
            E::PurposeNotConsented(_) => ("PurposeNotConsented", ErrorKind::Denied),
            E::GranteeNotInStanding(_) => ("GranteeNotInStanding", ErrorKind::Denied),
            E::NotActive(_) => ("NotActive", ErrorKind::Denied),
            E::NotConsortium(_) => ("NotConsortium", ErrorKind::Denied),
            E::DelegationNotFound(_) => ("DelegationNotFound", ErrorKind::Denied),
            E::DelegationNotInForce(_) => ("DelegationNotInForce", ErrorKind::Denied),
            E::DelegationLacksPower(_) => ("DelegationLacksPower", ErrorKind::Denied),
            E::DelegateSuspended(_) => ("DelegateSuspended", ErrorKind::Denied),
            E::CosignersMissing(_) => ("CosignersMissing", ErrorKind::Denied),
            E::GuardiansMissing(_) => ("GuardiansMissing", ErrorKind::Denied),
            _ => ("", ErrorKind::Invalid),
        };
        Self { name, detail: format!("{error:?}"), kind }
    }

    /// Name of the custom error, where callers act on it; empty otherwise.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Revert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The derived text is `Name(Name { field: value })`; the inner part says it all.
        let text = self
            .detail
            .split_once('(')
            .map_or(self.detail.as_str(), |(_, rest)| rest.strip_suffix(')').unwrap_or(rest));
        f.write_str(text)
    }
}
