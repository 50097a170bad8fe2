//! What a patient sends when it shares through proxies: a grant envelope for the grantee, and one envelope of shares
//! for each proxy, all under one signature.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Bytes;
use galen_chain::{EnvelopeFor, Evidence, typed};
use galen_crypto::{
    GrantEnvelope, GrantTerms, GrantText, GrantedKey, GrantedSegment, IdentityPublic, Offer,
    OfferedSegment, ProxyPlace, ShareEnvelope, ShareTerms, ShareText, SharedSegment,
    envelope::MAX_SIBLINGS, proxy::MAX_PROXIES,
};
use galen_types::{Consent, ConsentId, ContentRef, Segment};

use crate::{Error, GrantRequest, Granted, MAX_GRANTS, Patient, patient::u48};

/// Most keys of segments and epochs in one envelope.
const MAX_KEYS: usize = 256;

/// Whom a patient lets answer while it is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxySet {
    /// The proxies, in the order in which they are numbered.
    pub places: Vec<ProxyPlace>,
    /// How many of them it takes to read a record.
    pub threshold: u8,
}

impl ProxySet {
    /// Proxies of which more than half are needed.
    pub fn majority(places: Vec<ProxyPlace>) -> Self {
        let threshold = u8::try_from(places.len() / 2 + 1).unwrap_or(u8::MAX);
        Self { places, threshold }
    }

    fn count(&self) -> u8 {
        u8::try_from(self.places.len()).unwrap_or(u8::MAX)
    }

    fn check(&self) -> Result<(), Error> {
        let distinct: BTreeSet<_> = self.places.iter().map(|place| place.id).collect();
        if self.places.is_empty() || self.places.len() > usize::from(MAX_PROXIES) {
            Err(Error::Invalid("a set of proxies has 1 to 32 of them"))
        } else if distinct.len() < self.places.len() {
            Err(Error::Invalid("a proxy is named twice"))
        } else if self.threshold == 0 || self.threshold > self.count() {
            Err(Error::Invalid("between one and all of the proxies are needed"))
        } else {
            Ok(())
        }
    }
}

/// An envelope of shares on its way to a proxy; see [`super::ProxyClient::deliver`]. Only the proxy can open it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareDelivery {
    /// Where it goes.
    pub proxy: ProxyPlace,
    /// The consent that the shares are for.
    pub consent: ConsentId,
    /// The envelope, with its signature.
    pub envelope: Vec<u8>,
}

/// The keys of a consent, split anew.
#[derive(Clone, Debug)]
pub struct Renewed {
    /// The consent.
    pub consent: Consent,
    /// What the grantee gets, see [`crate::Grantee::accept`]; empty under a consent for every active organization,
    /// where proxies show an offer instead.
    pub envelope: Vec<u8>,
    /// Where the grantee's envelope lies too, so that proxies can say so. Without its signature, which they add.
    pub kept: Option<ContentRef>,
    /// What the proxies get.
    pub shares: Vec<ShareDelivery>,
}

/// What is the same for all envelopes of one sharing.
struct Sharing<'a> {
    set: &'a ProxySet,
    proxies: Vec<IdentityPublic>,
    epoch: u32,
    used: BTreeMap<Segment, BTreeSet<u32>>,
    issued: u64,
}

/// The envelopes of one consent, not signed yet.
struct Parcel {
    consent: Consent,
    grant: Option<(GrantEnvelope, ContentRef)>,
    shares: Vec<ShareEnvelope>,
}

/// The keys of one consent, for each of those who hold them.
#[derive(Default)]
struct Split {
    reader: Vec<GrantedSegment>,
    offered: Vec<OfferedSegment>,
    /// By proxy.
    shares: Vec<Vec<SharedSegment>>,
}

impl Patient {
    /// Grants a consent through proxies: the grantee gets one half of the keys, the proxies share the other. Each
    /// read is logged first, or the proxies do not answer, as long as fewer than the threshold help the grantee.
    ///
    /// The shares are still to be delivered. Until enough are, nobody can read; made again by [`Patient::renew`].
    ///
    /// # Errors
    ///
    /// [`Error::NoKeys`] if grantee or a proxy has published none; [`Error::Invalid`] as [`Patient::terms`].
    pub async fn grant_through(
        &self,
        request: &GrantRequest,
        proxies: &ProxySet,
    ) -> Result<Granted, Error> {
        let consent = self.terms(request, 0).await?;
        let mut granted = self.grant_terms_through(&[consent], proxies).await?;
        granted.pop().ok_or(Error::Invalid("one change grants 1 to 64 consents"))
    }

    /// As [`Patient::grant_through`], for consents whose terms are made; all in one change.
    ///
    /// A consent for every active organization gives the proxies the whole keys between them: they seal their answers
    /// to whoever asks, is an active organization, and has logged its read.
    ///
    /// # Errors
    ///
    /// As [`Patient::grant_through`].
    pub async fn grant_terms_through(
        &self,
        consents: &[Consent],
        proxies: &ProxySet,
    ) -> Result<Vec<Granted>, Error> {
        // First, so that nothing is granted to somebody who cannot get the keys.
        let renewed = self.renew(consents, proxies).await?;
        let sent = self.grant_terms(consents).await?;
        let granted = renewed.into_iter().map(|Renewed { consent, envelope, kept, shares }| {
            Granted { consent, envelope, kept, shares, sent }
        });
        Ok(granted.collect())
    }

    /// Splits the keys of consents anew, with one signature: for the current epoch and, as long as current content
    /// lies under older ones, for those too. Shares and halves from before are worthless together with these.
    ///
    /// After [`Patient::next_epoch`], when the set of proxies changes, or when envelopes were lost. Takes no
    /// transaction: the consents stay as they are. For grantees in direct mode see [`Patient::envelope`].
    ///
    /// # Errors
    ///
    /// [`Error::NoKeys`] if a grantee or a proxy has published none; [`Error::Invalid`] if there is no consent, or too
    /// many, or too many epochs are in use.
    pub async fn renew(
        &self,
        consents: &[Consent],
        proxies: &ProxySet,
    ) -> Result<Vec<Renewed>, Error> {
        if consents.is_empty() || consents.len() > MAX_GRANTS {
            return Err(Error::Invalid("one call renews 1 to 64 consents"));
        }
        proxies.check()?;
        let mut keys = Vec::new();
        for place in &proxies.places {
            keys.push(self.galen().identity_of(place.id).await?);
        }
        let sharing = Sharing {
            set: proxies,
            proxies: keys,
            epoch: self.epoch().await?,
            used: self.epochs_in_use().await?,
            issued: self.issued().await?,
        };
        let mut renewed = Vec::new();
        let at_a_time = (MAX_SIBLINGS / (proxies.places.len() + 1)).max(1);
        for consents in consents.chunks(at_a_time) {
            let mut parcels = Vec::new();
            for consent in consents {
                parcels.push(self.parcel(consent, &sharing).await?);
            }
            renewed.extend(self.sign_parcels(parcels, &sharing).await?);
        }
        Ok(renewed)
    }

    /// The keys that somebody needs who reads under a consent: of the current epoch and of those that current content
    /// lies under, ascending by segment and epoch.
    pub(crate) fn needed(
        &self,
        consent: &Consent,
        epoch: u32,
        used: &BTreeMap<Segment, BTreeSet<u32>>,
    ) -> Result<Vec<(Segment, u32)>, Error> {
        let mut needed = Vec::new();
        for segment in consent.segments.iter() {
            let older = used.get(&segment).into_iter().flatten().copied();
            needed.extend(older.filter(|it| *it < epoch).map(|epoch| (segment, epoch)));
            needed.push((segment, epoch));
        }
        if needed.len() > MAX_KEYS {
            return Err(Error::Invalid("too many epochs are in use: seal old content anew first"));
        }
        Ok(needed)
    }

    async fn parcel(&self, consent: &Consent, sharing: &Sharing<'_>) -> Result<Parcel, Error> {
        let Sharing { set, epoch, issued, .. } = sharing;
        let (epoch, issued) = (*epoch, *issued);
        let needed = self.needed(consent, epoch, &sharing.used)?;
        let oldest_epoch = needed.iter().map(|(_, epoch)| *epoch).min().unwrap_or(epoch);
        let Split { reader, offered, shares } = self.split(consent, &needed, set)?;
        let (ledger, patient) = (self.galen().id(), self.id());
        let (mut grant, mut offer) = (None, None);
        if consent.is_network() {
            offer = Some(self.offer(consent, offered, sharing).await?);
        } else {
            let recipient = self.galen().identity_of(consent.grantee).await?;
            let (grantee, id) = (consent.grantee, consent.id());
            let terms = GrantTerms { ledger, patient, grantee, consent: id, epoch };
            let proxies = set.places.clone();
            let text = GrantText { consent: *consent, proxies, issued, segments: reader };
            let envelope = GrantEnvelope::seal(terms, &recipient, &text)?;
            let kept = self.galen().storage.put_bytes(envelope.encode()).await?;
            grant = Some((envelope, kept));
        }
        let mut envelopes = Vec::new();
        for ((place, recipient), segments) in set.places.iter().zip(&sharing.proxies).zip(shares) {
            let (proxy, consent_id) = (place.id, consent.id());
            let terms = ShareTerms { ledger, patient, proxy, consent: consent_id, epoch };
            let text = ShareText {
                grantee: consent.grantee,
                issued,
                expiry: consent.expiry,
                oldest_epoch,
                grant: grant.as_ref().map(|(_, kept)| *kept),
                offer: offer.as_ref().map(Offer::encode),
                segments,
            };
            envelopes.push(ShareEnvelope::seal(terms, recipient, &text)?);
        }
        Ok(Parcel { consent: *consent, grant, shares: envelopes })
    }

    /// A fresh split of every key that a consent needs.
    fn split(
        &self,
        consent: &Consent,
        needed: &[(Segment, u32)],
        set: &ProxySet,
    ) -> Result<Split, Error> {
        let (threshold, count) = (set.threshold, set.count());
        let mut split = Split::default();
        split.shares.resize_with(set.places.len(), Vec::new);
        for (segment, epoch) in needed {
            let (segment, epoch) = (*segment, *epoch);
            let (key, category) = (self.segment_key(segment, epoch), self.category(segment));
            if consent.is_network() {
                let parts = key.share_whole(threshold, count)?;
                let (pieces, kem) = key.split_kem(threshold, count)?;
                for ((shares, share), piece) in
                    split.shares.iter_mut().zip(parts.shares).zip(pieces)
                {
                    let (keys, kem) = (parts.keys.clone(), Some((piece, kem.clone())));
                    shares.push(SharedSegment { share, keys, kem });
                }
                let keys = parts.keys;
                split.offered.push(OfferedSegment { segment, epoch, category, keys, kem });
            } else {
                let parts = key.split(threshold, count)?;
                for (shares, share) in split.shares.iter_mut().zip(parts.shares) {
                    shares.push(SharedSegment { share, keys: parts.keys.clone(), kem: None });
                }
                let key = GrantedKey::Shared { half: parts.half, keys: parts.keys };
                split.reader.push(GrantedSegment { category, key });
            }
        }
        Ok(split)
    }

    /// What proxies show to active organizations, signed.
    async fn offer(
        &self,
        consent: &Consent,
        segments: Vec<OfferedSegment>,
        sharing: &Sharing<'_>,
    ) -> Result<Offer, Error> {
        let mut offer = Offer {
            ledger: self.galen().id(),
            patient: self.id(),
            consent: *consent,
            epoch: sharing.epoch,
            proxies: sharing.set.places.clone(),
            segments,
            issued: sharing.issued,
            signature: Bytes::new(),
        };
        let message = offer_message(&offer);
        let evidence = Evidence {
            consents: vec![*consent],
            proxies: Some((sharing.set.threshold, sharing.set.places.len())),
            ..Evidence::default()
        };
        offer.signature = self.account().sign(&message, offer.ledger, evidence).await?;
        Ok(offer)
    }

    /// Signs all envelopes at once.
    async fn sign_parcels(
        &self,
        parcels: Vec<Parcel>,
        sharing: &Sharing<'_>,
    ) -> Result<Vec<Renewed>, Error> {
        let envelopes: Vec<EnvelopeFor> = parcels.iter().flat_map(Parcel::envelopes).collect();
        let siblings: Vec<_> = envelopes.iter().map(EnvelopeFor::leaf).collect();
        let deadline = self.galen().envelope_deadline().await?;
        let message = typed::Sharing {
            patient: self.id(),
            epoch: sharing.epoch,
            envelopes: siblings.clone(),
            deadline: u48(deadline),
        };
        let evidence = Evidence {
            consents: parcels.iter().map(|parcel| parcel.consent).collect(),
            envelopes,
            proxies: Some((sharing.set.threshold, sharing.set.places.len())),
            ..Evidence::default()
        };
        let signature = self.account().sign(&message, self.galen().id(), evidence).await?;
        let signed = |parcel: Parcel| {
            let Parcel { consent, grant, shares } = parcel;
            let kept = grant.as_ref().map(|(_, kept)| *kept);
            let envelope = grant.map_or_else(Vec::new, |(mut envelope, _)| {
                envelope.siblings.clone_from(&siblings);
                envelope.deadline = deadline;
                envelope.signature = signature.clone();
                envelope.encode()
            });
            let deliver = |(place, mut share): (&ProxyPlace, ShareEnvelope)| {
                share.siblings.clone_from(&siblings);
                share.deadline = deadline;
                share.signature = signature.clone();
                let (proxy, consent) = (place.clone(), consent.id());
                ShareDelivery { proxy, consent, envelope: share.encode() }
            };
            let shares = sharing.set.places.iter().zip(shares).map(deliver).collect();
            Renewed { consent, envelope, kept, shares }
        };
        Ok(parcels.into_iter().map(signed).collect())
    }
}

/// What is signed of an offer.
pub(crate) fn offer_message(offer: &Offer) -> typed::Offer {
    typed::Offer {
        patient: offer.patient,
        consent: offer.consent.id().0,
        epoch: offer.epoch,
        offer: offer.text_hash(),
        issued: u48(offer.issued),
    }
}

impl Parcel {
    /// What the patient is shown of the envelopes, in the order in which they are signed.
    fn envelopes(&self) -> impl Iterator<Item = EnvelopeFor> {
        let scope = self.consent.id().0;
        let grant = self.grant.iter().map(move |(envelope, _)| EnvelopeFor {
            scope,
            holder: self.consent.grantee,
            recipient_key: envelope.recipient_key(),
            ciphertext: envelope.ciphertext_hash(),
            keys_split: true,
        });
        let shares = self.shares.iter().map(move |envelope| EnvelopeFor {
            scope,
            holder: envelope.terms().proxy,
            recipient_key: envelope.recipient_key(),
            ciphertext: envelope.ciphertext_hash(),
            keys_split: true,
        });
        grant.chain(shares)
    }
}
