//! What a relay sends: calls whose authority is a signature inside them, or none but the time.

use alloy::sol_types::SolInterface;
use alloy_primitives::{Address, B256, Bytes, keccak256};
use galen_chain::contract::{
    Consortium::{ConsortiumCalls, decideCall},
    HealthLedger::{self, HealthLedgerCalls},
};

use crate::error::RelayError;

/// Longest call, in bytes: what nodes take as one transaction (go-ethereum, `txMaxSize`), less its frame.
pub const MAX_CALL_LEN: usize = 127 * 1024;

/// Most signers of one call whose signature may be missing: cosigners, guardians.
const MAX_OPTIONAL: usize = 64;

/// The functions of the ledger that a relay sends.
pub const LEDGER_FUNCTIONS: [&str; 18] = [
    "anchorBulkBySig",
    "cancelPending",
    "changeConsents",
    "changeConsentsAsDelegate",
    "finishPending",
    "logAccessBySig",
    "propose",
    "publishKeys",
    "requestAccess",
    "reseal",
    "resealAsDelegate",
    "resealMany",
    "rotate",
    "setGuardians",
    "settle",
    "settleWith",
    "startRecovery",
    "withdraw",
];

/// The function of the consortium that a relay sends: a vote.
pub const CONSORTIUM_FUNCTIONS: [&str; 1] = ["decide"];

/// A call that was read completely and may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignedCall {
    pub(crate) to: Address,
    pub(crate) data: Bytes,
    pub(crate) function: &'static str,
    /// Who signs first: limits count by this id.
    pub(crate) id: Address,
    /// Ids that may sign and did not. None may be controlled by the relay's own wallet: where it is,
    /// the contract takes the relay's transaction for that id's consent.
    pub(crate) unsigned: Vec<Address>,
}

impl SignedCall {
    /// What makes two calls the same one.
    pub(crate) fn key(&self) -> B256 {
        keccak256([self.to.as_slice(), &self.data].concat())
    }

    /// A call of the ledger.
    pub(crate) fn ledger(to: Address, data: Bytes) -> Result<Self, RelayError> {
        let call = read::<HealthLedgerCalls>(&data)?;
        if let HealthLedgerCalls::finishPending(call) = &call {
            // Anybody may send it, and the contract does not look at who does: what happens was signed before the
            // delay. Somebody who lost everything has nobody else to pay for it.
            let (function, id) = ("finishPending", call.id);
            return Ok(Self { to, data, function, id, unsigned: Vec::new() });
        }
        let Parts { function, id, required, optional } =
            ledger_parts(&call).ok_or(RelayError::NotRelayed)?;
        Self::checked(to, data, function, id, &required, optional)
    }

    /// A call of the ledger's consortium.
    pub(crate) fn consortium(to: Address, data: Bytes) -> Result<Self, RelayError> {
        let ConsortiumCalls::decide(call) = read::<ConsortiumCalls>(&data)? else {
            return Err(RelayError::NotRelayed);
        };
        let decideCall { organization, signatures, .. } = call;
        let first = call.voters.first().copied().unwrap_or(organization);
        let required: Vec<&Bytes> = signatures.iter().collect();
        Self::checked(to, data, "decide", first, &required, None)
    }

    /// The contracts take a call without a signature for the sender's own. A relay must never send one,
    /// or anybody could act in the name of its wallet.
    fn checked(
        to: Address,
        data: Bytes,
        function: &'static str,
        id: Address,
        required: &[&Bytes],
        optional: Option<(&[Address], &[Bytes])>,
    ) -> Result<Self, RelayError> {
        if required.is_empty() || required.iter().any(|signature| signature.is_empty()) {
            return Err(RelayError::Unsigned);
        }
        let unsigned: Vec<Address> = optional.map_or_else(Vec::new, |(ids, signatures)| {
            let pairs = ids.iter().enumerate();
            pairs
                .filter(|(at, _)| signatures.get(*at).is_none_or(|signature| signature.is_empty()))
                .map(|(_, id)| *id)
                .collect()
        });
        if unsigned.len() > MAX_OPTIONAL {
            return Err(RelayError::Malformed("too many signers without a signature"));
        }
        Ok(Self { to, data, function, id, unsigned })
    }
}

/// Reads a call that is encoded in the one way that the ABI knows: a byte more or less, or an offset
/// elsewhere, would be paid for and could hide what is sent.
fn read<C: SolInterface>(data: &Bytes) -> Result<C, RelayError> {
    if data.len() > MAX_CALL_LEN {
        return Err(RelayError::Malformed("the call is too long"));
    }
    let selector = data.first_chunk::<4>().ok_or(RelayError::Malformed("there is no selector"))?;
    if !C::valid_selector(*selector) {
        return Err(RelayError::NotRelayed);
    }
    let call = C::abi_decode_validate(data)
        .map_err(|_| RelayError::Malformed("the arguments do not decode"))?;
    if call.abi_encode() != **data {
        return Err(RelayError::Malformed("the call is not encoded as the ABI says"));
    }
    Ok(call)
}

struct Parts<'a> {
    function: &'static str,
    id: Address,
    /// Signatures without which the contract asks who the sender is.
    required: Vec<&'a Bytes>,
    /// Ids and their signatures, which may be empty.
    optional: Option<(&'a [Address], &'a [Bytes])>,
}

/// `None` for what is not relayed: views, direct calls, and what is the consortium's alone.
fn ledger_parts(call: &HealthLedgerCalls) -> Option<Parts<'_>> {
    use HealthLedgerCalls as C;
    if let C::settleWith(it) = call {
        let required = vec![&it.authorSignature, &it.patientSignature];
        let policy = &it.policy;
        return Some(Parts {
            function: "settleWith",
            id: settlement_signer(it),
            required,
            optional: Some((&policy.cosigners, &policy.signatures)),
        });
    }
    if let C::startRecovery(it) = call {
        // Guardians sign, and only as many as the threshold asks for.
        let signed = it.signatures.iter().filter(|signature| !signature.is_empty()).collect();
        return Some(Parts {
            function: "startRecovery",
            id: it.id,
            required: signed,
            optional: Some((&it.set.guardians, &it.signatures)),
        });
    }
    let (function, id, required) = match call {
        C::anchorBulkBySig(it) => ("anchorBulkBySig", it.author, vec![&it.signature]),
        C::cancelPending(it) => ("cancelPending", it.id, vec![&it.signature]),
        C::changeConsents(it) => ("changeConsents", it.change.patient, vec![&it.signature]),
        C::changeConsentsAsDelegate(it) => {
            ("changeConsentsAsDelegate", it.delegation.delegate, vec![&it.signature])
        }
        C::logAccessBySig(it) => ("logAccessBySig", it.access.grantee, vec![&it.signature]),
        C::propose(it) => ("propose", it.author, vec![&it.signature]),
        C::publishKeys(it) => ("publishKeys", it.id, vec![&it.signature]),
        C::requestAccess(it) => ("requestAccess", it.organization, vec![&it.signature]),
        C::reseal(it) => ("reseal", it.patient, vec![&it.signature]),
        C::resealAsDelegate(it) => {
            ("resealAsDelegate", it.delegation.delegate, vec![&it.signature])
        }
        C::resealMany(it) => ("resealMany", it.patient, vec![&it.signature]),
        C::rotate(it) => ("rotate", it.id, vec![&it.signature, &it.acceptance]),
        C::setGuardians(it) => ("setGuardians", it.id, vec![&it.signature]),
        C::settle(it) => {
            ("settle", it.proposal.patient, vec![&it.authorSignature, &it.patientSignature])
        }
        C::withdraw(it) => ("withdraw", it.author, vec![&it.signature]),
        _ => return None,
    };
    Some(Parts { function, id, required, optional: None })
}

fn settlement_signer(call: &HealthLedger::settleWithCall) -> Address {
    let delegate = call.delegation.delegate;
    if delegate.is_zero() { call.proposal.patient } else { delegate }
}

#[cfg(test)]
mod tests {
    use alloy::sol_types::SolCall;
    use alloy_primitives::{U256, aliases::U48};

    use super::*;

    const LEDGER: Address = Address::repeat_byte(1);
    const PATIENT: Address = Address::repeat_byte(2);

    fn publish(signature: &'static [u8]) -> HealthLedger::publishKeysCall {
        HealthLedger::publishKeysCall {
            id: PATIENT,
            previous: B256::ZERO,
            bundle: B256::repeat_byte(3),
            store: 1,
            content: B256::repeat_byte(4),
            deadline: U48::from(5),
            signature: Bytes::from_static(signature),
        }
    }

    fn refusal(data: Vec<u8>) -> &'static str {
        match SignedCall::ledger(LEDGER, data.into()) {
            Err(RelayError::Malformed(_)) => "malformed",
            Err(RelayError::NotRelayed) => "not relayed",
            Err(RelayError::Unsigned) => "unsigned",
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_calls_that_carry_a_signature_are_read() {
        let good = publish(&[7; 64]).abi_encode();
        let call = SignedCall::ledger(LEDGER, good.clone().into()).expect("a signed call");
        assert_eq!((call.function, call.id), ("publishKeys", PATIENT));

        let mut long = good.clone();
        long.push(0);
        let mut dirty = good.clone();
        // The address has twelve bytes of padding before it.
        dirty[4] = 1;
        let set_status = HealthLedger::setStatusCall { organization: PATIENT, status: 1 };
        let view = HealthLedger::participantCall { id: PATIENT };
        let direct = HealthLedger::anchorBulkCall {
            root: B256::ZERO,
            header: U256::ZERO,
            manifest: B256::ZERO,
        };
        let rows = [
            ("nothing", vec![], "malformed"),
            ("half a selector", good[..3].to_vec(), "malformed"),
            ("cut short", good[..good.len() - 1].to_vec(), "malformed"),
            ("a byte more", long, "malformed"),
            ("dirty padding", dirty, "malformed"),
            ("too long", publish(&[7; 64]).abi_encode().repeat(1_000), "malformed"),
            ("another contract's", vec![0xa9, 0x05, 0x9c, 0xbb], "not relayed"),
            ("the consortium's", set_status.abi_encode(), "not relayed"),
            ("a view", view.abi_encode(), "not relayed"),
            ("direct", direct.abi_encode(), "not relayed"),
            ("without signature", publish(&[]).abi_encode(), "unsigned"),
        ];
        for (row, data, expected) in rows {
            assert_eq!(refusal(data), expected, "{row}");
        }
    }

    #[test]
    fn what_has_waited_long_enough_is_finished_for_anybody() {
        let finish = HealthLedger::finishPendingCall { id: PATIENT }.abi_encode();
        let call = SignedCall::ledger(LEDGER, finish.into()).expect("it needs no signature");
        assert_eq!((call.function, call.id, call.unsigned), ("finishPending", PATIENT, vec![]));
    }

    #[test]
    fn every_listed_function_is_one_of_the_contract() {
        let names: Vec<&str> = HealthLedgerCalls::selectors()
            .filter_map(HealthLedgerCalls::name_by_selector)
            .collect();
        for function in LEDGER_FUNCTIONS {
            assert!(names.contains(&function), "{function}");
        }
    }

    /// The contract counts the sender as a cosigner or guardian that did not sign.
    #[test]
    fn signers_without_a_signature_are_named() {
        let (first, second) = (Address::repeat_byte(8), Address::repeat_byte(9));
        let recovery = |signatures: Vec<Bytes>| HealthLedger::startRecoveryCall {
            id: PATIENT,
            controller: second,
            isFinal: false,
            deadline: U48::from(5),
            set: HealthLedger::GuardianSet {
                guardians: vec![first, second],
                threshold: 1,
                finalThreshold: 2,
                salt: B256::ZERO,
            },
            signatures,
        };
        let read = |signatures| {
            SignedCall::ledger(LEDGER, recovery(signatures).abi_encode().into())
                .map(|call| call.unsigned)
        };
        let signature = Bytes::from_static(&[7; 64]);
        assert_eq!(read(vec![Bytes::new(), signature.clone()]).ok(), Some(vec![first]));
        assert_eq!(read(vec![signature.clone()]).ok(), Some(vec![second]));
        assert_eq!(read(vec![signature.clone(), signature]).ok(), Some(vec![]));
        assert!(matches!(read(vec![Bytes::new(), Bytes::new()]), Err(RelayError::Unsigned)));
    }
}
