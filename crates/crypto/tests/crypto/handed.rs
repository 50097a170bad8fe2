//! What the patient of the fixture hands to a reader, to proxies and to a whole network.

use alloy_primitives::{Address, B256, Bytes};
use galen_crypto::{
    GrantTerms, GrantText, GrantedKey, GrantedSegment, KeySplit, Offer, OfferedSegment, ProxyPlace,
    SecretPiece, ShareTerms, ShareText, SharedSegment,
};
use galen_types::{Consent, ContentRef, Purpose, Salt};

use crate::fixture::{EPOCH, FIXTURE, SEGMENT};

pub(crate) const GRANTEE: Address = Address::repeat_byte(0x78);
pub(crate) const ISSUED: u64 = 1_700_000_001;

pub(crate) fn consent(grantee: Address) -> Consent {
    Consent {
        grantee,
        segments: [SEGMENT].into_iter().collect(),
        purposes: [Purpose::Treatment].into_iter().collect(),
        not_before: 1_700_000_000,
        expiry: 1_800_000_000,
        salt: Salt(B256::repeat_byte(0x79)),
    }
}

pub(crate) fn places() -> Vec<ProxyPlace> {
    let place = |n: u8| ProxyPlace {
        id: Address::repeat_byte(n),
        url: format!("https://proxy{n}.example:8443"),
    };
    (1..=3).map(place).collect()
}

pub(crate) fn grant_terms() -> GrantTerms {
    GrantTerms {
        ledger: FIXTURE.ledger,
        patient: FIXTURE.keys.id(),
        grantee: GRANTEE,
        consent: consent(GRANTEE).id(),
        epoch: EPOCH,
    }
}

pub(crate) fn granted(split: &KeySplit) -> GrantedSegment {
    let key = GrantedKey::Shared { half: split.half.clone(), keys: split.keys.clone() };
    GrantedSegment { category: 3, key }
}

pub(crate) fn grant(segments: Vec<GrantedSegment>) -> GrantText {
    GrantText { consent: consent(GRANTEE), proxies: places(), issued: ISSUED, segments }
}

pub(crate) fn share_terms(grantee: Address) -> ShareTerms {
    ShareTerms {
        ledger: FIXTURE.ledger,
        patient: FIXTURE.keys.id(),
        proxy: Address::repeat_byte(1),
        consent: consent(grantee).id(),
        epoch: EPOCH,
    }
}

pub(crate) fn shared(split: &KeySplit, index: usize) -> SharedSegment {
    SharedSegment { share: split.shares[index].clone(), keys: split.keys.clone(), kem: None }
}

pub(crate) fn share(segments: Vec<SharedSegment>) -> ShareText {
    ShareText {
        grantee: GRANTEE,
        issued: ISSUED,
        expiry: 1_800_000_000,
        oldest_epoch: 1,
        grant: Some(ContentRef::swarm(B256::repeat_byte(0x31))),
        offer: None,
        segments,
    }
}

/// An offer for a consent that names nobody, the whole secret in shares, and the pieces of the rest.
pub(crate) fn network() -> (Offer, KeySplit, Vec<SecretPiece>) {
    let split = FIXTURE.segment.share_whole(2, 3).unwrap();
    let (pieces, kem) = FIXTURE.segment.split_kem(2, 3).unwrap();
    let keys = split.keys.clone();
    let offer = Offer {
        ledger: FIXTURE.ledger,
        patient: FIXTURE.keys.id(),
        consent: consent(Address::ZERO),
        epoch: EPOCH,
        proxies: places(),
        segments: vec![OfferedSegment { segment: SEGMENT, epoch: EPOCH, category: 3, keys, kem }],
        issued: ISSUED,
        signature: Bytes::from(vec![7; 65]),
    };
    (offer, split, pieces)
}

/// What a proxy is sent of it.
pub(crate) fn share_of_network(
    (offer, split, pieces): &(Offer, KeySplit, Vec<SecretPiece>),
    index: usize,
) -> ShareText {
    let kem = Some((pieces[index].clone(), offer.segments[0].kem.clone()));
    ShareText {
        grantee: Address::ZERO,
        grant: None,
        offer: Some(offer.encode()),
        ..share(vec![SharedSegment { kem, ..shared(split, index) }])
    }
}
