//! The shares that a proxy holds: one row for each consent, and what is known of it without opening the row.

use std::{collections::BTreeMap, sync::Arc};

use alloy_primitives::{Address, B256};
use galen_crypto::{ShareText, SharedSegment};
use galen_sdk::proxies::wire::GrantAt;
use galen_types::{ConsentId, Segment};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    StoreError,
    store::{Entry, Kind},
};

/// Most shares of one consent: as many as one envelope holds.
const MAX_SHARES: usize = 256;

/// Most grant envelopes that a grantee is told of for one consent: one for each new epoch.
const MAX_GRANTS: usize = 16;

/// A consent of a patient. Nothing on chain says whose a leaf is before it stands in a tree.
pub(super) type Place = (Address, ConsentId);

/// What is known of the shares for one consent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Held {
    pub(super) patient: Address,
    pub(super) consent: ConsentId,
    /// Zero: every active organization.
    pub(super) grantee: Address,
    /// First Unix second at which the consent no longer holds.
    pub(super) expiry: u64,
    /// Of the newest envelope.
    pub(super) issued: u64,
    /// keccak256 of the newest envelope, signature and all.
    pub(super) envelope: B256,
    /// Unix second at which the first envelope came.
    pub(super) since: u64,
    /// Where the grantee's envelopes lie, newest last.
    pub(super) grants: Vec<GrantAt>,
    pub(super) has_offer: bool,
}

impl Held {
    pub(super) const fn place(&self) -> Place {
        (self.patient, self.consent)
    }

    pub(super) fn is_network(&self) -> bool {
        self.grantee.is_zero()
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Holdings(BTreeMap<Place, Arc<Held>>);

impl Holdings {
    pub(super) fn get(&self, place: Place) -> Option<Arc<Held>> {
        self.0.get(&place).cloned()
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Held>> {
        self.0.values()
    }

    pub(super) fn of(&self, patient: Address) -> impl Iterator<Item = &Arc<Held>> {
        let (first, last) = (ConsentId(B256::ZERO), ConsentId(B256::repeat_byte(0xff)));
        self.0.range((patient, first)..=(patient, last)).map(|(_, held)| held)
    }

    pub(super) fn patients(&self) -> usize {
        let mut last = None;
        self.0.keys().filter(|(patient, _)| last.replace(*patient) != Some(*patient)).count()
    }

    pub(super) fn insert(&mut self, held: Held) {
        self.0.insert(held.place(), Arc::new(held));
    }

    pub(super) fn remove(&mut self, place: Place) {
        self.0.remove(&place);
    }
}

/// Key of the row of a consent.
pub(super) fn key(place: Place) -> Vec<u8> {
    [place.0.as_slice(), place.1.as_bytes()].concat()
}

/// The row: length u32 of what is known, that as JSON, and the shares.
pub(super) fn row(held: &Held, text: &ShareText) -> Result<Entry, StoreError> {
    let known = serde_json::to_vec(held).map_err(|_| StoreError::Damaged)?;
    let len = u32::try_from(known.len()).map_err(|_| StoreError::Damaged)?;
    let shares = text.encode();
    let mut joined = Zeroizing::new(Vec::with_capacity(4 + known.len() + shares.len()));
    joined.extend(len.to_be_bytes());
    joined.extend(known);
    joined.extend_from_slice(&shares);
    let (kind, key, owner) = (Kind::Grant, key(held.place()), held.patient);
    Ok(Entry { kind, key, owner, time: held.issued, text: joined })
}

/// Reads what [`row`] wrote.
pub(super) fn read(text: &[u8]) -> Result<(Held, ShareText), StoreError> {
    let damaged = StoreError::Damaged;
    let (len, rest) = text.split_first_chunk().ok_or(StoreError::Damaged)?;
    let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| StoreError::Damaged)?;
    let (known, shares) = rest.split_at_checked(len).ok_or(StoreError::Damaged)?;
    let held = serde_json::from_slice(known).map_err(|_| StoreError::Damaged)?;
    let text = ShareText::decode(shares).map_err(|_| damaged)?;
    Ok((held, text))
}

/// What is kept after a newer envelope came: its shares, and those that it does not replace and does not end.
pub(super) fn merged(old: Option<ShareText>, new: ShareText) -> ShareText {
    let place = |it: &SharedSegment| -> (Segment, u32) { (it.share.segment(), it.share.epoch()) };
    let mut segments: BTreeMap<_, _> = old
        .into_iter()
        .flat_map(|old| old.segments)
        .filter(|it| it.share.epoch() >= new.oldest_epoch)
        .map(|it| (place(&it), it))
        .collect();
    segments.extend(new.segments.iter().map(|it| (place(it), it.clone())));
    // The oldest epochs go first: what lies under them was to be moved by now.
    while segments.len() > MAX_SHARES {
        let oldest = segments.keys().min_by_key(|(_, epoch)| *epoch).copied();
        oldest.and_then(|oldest| segments.remove(&oldest));
    }
    ShareText { segments: segments.into_values().collect(), ..new }
}

/// The list of grant envelopes with one more.
pub(super) fn with_grant(mut grants: Vec<GrantAt>, new: Option<GrantAt>) -> Vec<GrantAt> {
    if let Some(new) = new {
        grants.retain(|old| *old != new);
        grants.push(new);
    }
    let surplus = grants.len().saturating_sub(MAX_GRANTS);
    grants.split_off(surplus)
}
