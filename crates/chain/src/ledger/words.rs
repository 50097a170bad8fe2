//! What calls pack into single words, bit by bit, as `docs/protocol.md` lays them out.

use alloy::sol_types::SolStruct;
use alloy_primitives::{Address, B256, U256, aliases::U48, keccak256};
use galen_types::{Consent, ContentRef, Purpose, PurposeSet, RecordKey, Salt, SegmentSet};

use crate::{contract::HealthLedger, typed};

/// What a settlement shows of a proposal.
pub(super) fn settlement_terms(proposal: &typed::Proposal) -> HealthLedger::Proposal {
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
    let hashes: Vec<u8> = leaves.iter().flat_map(|leaf| leaf.eip712_hash_struct().0).collect();
    keccak256(hashes)
}

/// A record as an access names it: bits 0..64 number, 64..72 segment, 96..256 author.
pub fn record_word(record: &RecordKey) -> U256 {
    U256::from(record.number)
        | U256::from(record.segment.0) << 64
        | U256::from_be_slice(record.author.as_slice()) << 96
}

/// The consent that a grantee claims when it shows the terms of a consent.
pub(super) fn consent_of(grantee: Address, terms: &Consent) -> Consent {
    let grantee = if terms.is_network() { Address::ZERO } else { grantee };
    Consent { grantee, ..*terms }
}

/// Reads what [`access_terms`] writes.
pub(super) fn consent_from_terms(
    grantee: Address,
    segments: U256,
    terms: U256,
    salt: B256,
) -> Consent {
    let bits = |at: usize, width: usize| (terms >> at) & (U256::MAX >> (256 - width));
    Consent {
        grantee: if terms.bit(8) { Address::ZERO } else { grantee },
        segments: SegmentSet(segments),
        purposes: PurposeSet(bits(112, 32).to()),
        not_before: bits(16, 48).to(),
        expiry: bits(64, 48).to(),
        salt: Salt(salt),
    }
}

/// Purpose and terms as an access shows them: bits 0..8 purpose, 8 network, 16..64 not before,
/// 64..112 expiry, 112..144 purposes.
pub(super) fn access_terms(consent: &Consent, purpose: Purpose) -> U256 {
    U256::from(purpose.bit())
        | U256::from(consent.is_network()) << 8
        | U256::from(U48::saturating_from(consent.not_before)) << 16
        | U256::from(U48::saturating_from(consent.expiry)) << 64
        | U256::from(consent.purposes.0) << 112
}

/// Bits 0..64 number, 64..72 segment, 80..88 store of the new content.
pub(super) fn reseal_header(record: &RecordKey, content: &ContentRef) -> U256 {
    U256::from(record.number)
        | U256::from(record.segment.0) << 64
        | U256::from(content.store as u8) << 80
}
