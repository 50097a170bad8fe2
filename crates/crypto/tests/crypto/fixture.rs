//! One patient, one record, and content sealed for them.

use std::sync::LazyLock;

use alloy_primitives::{Address, B256};
use galen_crypto::{
    Committed, IdentityKey, MediaType, PatientKeys, RootSeed, SealContext, SealRequest, SegmentKey,
    SegmentPublic, seal_bytes,
};
use galen_types::{LedgerId, RecordId, Salt, Segment};

pub(crate) const EPOCH: u32 = 7;
pub(crate) const SEGMENT: Segment = Segment(42);

pub(crate) struct Fixture {
    pub(crate) ledger: LedgerId,
    pub(crate) record: RecordId,
    pub(crate) salt: Salt,
    pub(crate) media_type: MediaType,
    pub(crate) keys: PatientKeys,
    pub(crate) identity: IdentityKey,
    pub(crate) segment: SegmentKey,
    pub(crate) segment_public: SegmentPublic,
}

pub(crate) static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let keys = RootSeed::from_bytes([0x11; 32]).pseudonym(Address::repeat_byte(0x22));
    let segment = keys.segment(SEGMENT, EPOCH);
    Fixture {
        ledger: LedgerId { chain_id: 31_337, contract: Address::repeat_byte(0x33) },
        record: RecordId(B256::repeat_byte(0x44)),
        salt: Salt(B256::repeat_byte(0x55)),
        media_type: "application/fhir+json".parse().unwrap(),
        identity: keys.identity(),
        segment_public: segment.public(),
        segment,
        keys,
    }
});

impl Fixture {
    pub(crate) fn request(&self) -> SealRequest<'_> {
        SealRequest {
            ledger: self.ledger,
            record: self.record,
            epoch: EPOCH,
            salt: self.salt,
            media_type: &self.media_type,
            identity: Some(self.identity.public()),
            segment: Some((SEGMENT, &self.segment_public)),
        }
    }

    pub(crate) fn context(&self, committed: &Committed) -> SealContext {
        let Self { ledger, record, .. } = *self;
        SealContext { ledger, record, commitment: committed.commitment }
    }

    /// Sealed bytes with the context that they open in.
    pub(crate) fn seal(&self, payload: &[u8]) -> (SealContext, Vec<u8>) {
        let (committed, sealed) = seal_bytes(&self.request(), payload).unwrap();
        (self.context(&committed), sealed)
    }
}

/// Bytes without a short period, so that a misplaced block shows.
pub(crate) fn payload(len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}
