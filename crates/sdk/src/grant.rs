//! What a grantee holds: the terms of a consent, and the keys to read under it.

use std::{collections::BTreeMap, sync::Arc};

use alloy_primitives::Address;
use galen_crypto::{
    GrantText, GrantedKey, Offer, PieceDigests, ProxyPlace, ReaderHalf, SegmentKey, ShareKeys,
};
use galen_types::{Consent, Segment};

use crate::Error;

/// What a patient granted: the consent and the keys to read under it.
#[derive(Clone, Debug)]
pub struct Grant {
    patient: Address,
    consent: Consent,
    keys: BTreeMap<(Segment, u32), Held>,
    categories: BTreeMap<Segment, u8>,
}

/// A key of one segment and epoch.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) key: Arc<HeldKey>,
    /// Whom to ask, in the order in which they are numbered; nobody if the key is whole.
    pub(crate) proxies: Arc<[ProxyPlace]>,
    /// Unix second at which it was made.
    issued: u64,
}

/// What a key is.
#[derive(Debug)]
pub(crate) enum HeldKey {
    /// Opens by itself.
    Whole(SegmentKey),
    /// Opens with answers of proxies.
    Shared { half: ReaderHalf, keys: ShareKeys },
    /// Nobody's: proxies give all of it between them, to every active organization.
    Offered { keys: ShareKeys, kem: PieceDigests },
}

impl HeldKey {
    /// The public side of the proxies' part.
    pub(crate) const fn share_keys(&self) -> Option<&ShareKeys> {
        match self {
            Self::Whole(_) => None,
            Self::Shared { keys, .. } | Self::Offered { keys, .. } => Some(keys),
        }
    }
}

impl Grant {
    pub(crate) fn of_text(patient: Address, text: GrantText) -> Self {
        let proxies: Arc<[ProxyPlace]> = text.proxies.into();
        let (mut keys, mut categories) = (BTreeMap::new(), BTreeMap::new());
        for granted in text.segments {
            let place = (granted.key.segment(), granted.key.epoch());
            categories.insert(place.0, granted.category);
            let key = Arc::new(match granted.key {
                GrantedKey::Whole(key) => HeldKey::Whole(key),
                GrantedKey::Shared { half, keys } => HeldKey::Shared { half, keys },
            });
            let proxies = Arc::clone(&proxies);
            keys.insert(place, Held { key, proxies, issued: text.issued });
        }
        Self { patient, consent: text.consent, keys, categories }
    }

    pub(crate) fn of_offer(offer: Offer) -> Self {
        let proxies: Arc<[ProxyPlace]> = offer.proxies.into();
        let (mut keys, mut categories) = (BTreeMap::new(), BTreeMap::new());
        for offered in offer.segments {
            categories.insert(offered.segment, offered.category);
            let key = Arc::new(HeldKey::Offered { keys: offered.keys, kem: offered.kem });
            let proxies = Arc::clone(&proxies);
            let place = (offered.segment, offered.epoch);
            keys.insert(place, Held { key, proxies, issued: offer.issued });
        }
        Self { patient: offer.patient, consent: offer.consent, keys, categories }
    }

    /// The patient.
    pub const fn patient(&self) -> Address {
        self.patient
    }

    /// Indexes of the categories that it opens, ascending by segment.
    pub fn categories(&self) -> impl Iterator<Item = u8> {
        self.categories.values().copied()
    }

    /// The terms.
    pub const fn consent(&self) -> &Consent {
        &self.consent
    }

    /// Index of the category that a granted segment stands for.
    pub fn category(&self, segment: Segment) -> Option<u8> {
        self.categories.get(&segment).copied()
    }

    /// Whether proxies must help with each read, and so see that it is logged.
    pub fn is_shared(&self) -> bool {
        self.keys.values().any(|held| held.key.share_keys().is_some())
    }

    /// The proxies that are asked, those of the newest envelope first.
    pub fn proxies(&self) -> Vec<ProxyPlace> {
        self.places(|_| true)
    }

    /// How many proxies it takes to read a record, of how many; `None` if it takes none.
    pub fn threshold(&self) -> Option<(u8, u8)> {
        let newest = self.keys.values().max_by_key(|held| held.issued)?;
        newest.key.share_keys().map(|keys| (keys.threshold(), keys.proxies()))
    }

    /// The epochs that there are keys of, ascending.
    pub fn epochs(&self) -> Vec<u32> {
        let mut epochs: Vec<u32> = self.keys.keys().map(|(_, epoch)| *epoch).collect();
        epochs.sort_unstable();
        epochs.dedup();
        epochs
    }

    /// Adds the keys of another envelope of the same consent. For one segment and epoch the later envelope counts.
    ///
    /// # Errors
    ///
    /// [`Error::Envelope`] if it is of another patient or consent.
    pub fn join(mut self, other: Self) -> Result<Self, Error> {
        if (other.patient, other.consent.id()) != (self.patient, self.consent.id()) {
            return Err(Error::Envelope("it is of another consent"));
        }
        for (place, held) in other.keys {
            let known = self.keys.get(&place).map(|known| known.issued);
            if known.is_none_or(|known| known <= held.issued) {
                self.keys.insert(place, held);
            }
        }
        self.categories.extend(other.categories);
        Ok(self)
    }

    /// The key of a segment in an epoch.
    pub(crate) fn held(&self, segment: Segment, epoch: u32) -> Option<&Held> {
        self.keys.get(&(segment, epoch))
    }

    /// The whole keys of a segment, by epoch.
    pub(crate) fn whole(&self, segment: Segment) -> BTreeMap<u32, SegmentKey> {
        let whole = self.keys.iter().filter(|((one, _), _)| *one == segment);
        whole
            .filter_map(|((_, epoch), held)| match &*held.key {
                HeldKey::Whole(key) => Some((*epoch, key.clone())),
                HeldKey::Shared { .. } | HeldKey::Offered { .. } => None,
            })
            .collect()
    }

    /// Every key.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Segment, u32, &HeldKey)> {
        self.keys.iter().map(|((segment, epoch), held)| (*segment, *epoch, &*held.key))
    }

    /// The proxies behind the keys of some segments, each once, those of the newest envelope first.
    pub(crate) fn places(&self, of: impl Fn(Segment) -> bool) -> Vec<ProxyPlace> {
        let held = self.keys.iter().filter(|((segment, _), _)| of(*segment));
        let mut held: Vec<&Held> = held.map(|(_, held)| held).collect();
        held.sort_by_key(|held| std::cmp::Reverse(held.issued));
        let mut places: Vec<ProxyPlace> = Vec::new();
        for place in held.iter().flat_map(|held| held.proxies.iter()) {
            if !places.contains(place) {
                places.push(place.clone());
            }
        }
        places
    }
}
