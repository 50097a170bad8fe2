//! What proxies keep for a grantee: where its envelopes lie, and what is open to every active organization.

use alloy_primitives::{Address, B256, Bytes};
use galen_chain::{Evidence, typed};
use galen_crypto::{GrantEnvelope, Offer, envelope::MAX_ENVELOPE_LEN, open_note};
use galen_types::{ConsentId, ContentRef};

use super::{ProxyError, share::offer_message, wire::GrantAt};
use crate::{Error, Grant, Grantee};

/// Label of a sealed list of offers.
const OFFERS_LABEL: &str = "galen.proxy.offers.v1";

/// Most grants and offers of one answer that are looked at.
const MAX_OFFERED: usize = 1_024;

/// What a proxy keeps for a caller. Nothing of it is checked yet.
#[derive(Clone, Debug, Default)]
pub struct Offered {
    /// Grant envelopes, see [`Grantee::accept_offered`].
    pub grants: Vec<OfferedGrant>,
    /// Consents for every active organization, as encoded offers: see [`Grantee::accept_offer`].
    pub network: Vec<Bytes>,
}

/// A grant envelope that a proxy knows of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedGrant {
    /// The consent.
    pub consent: ConsentId,
    /// The highest epoch of its keys.
    pub epoch: u32,
    /// Where the envelope lies.
    pub content: ContentRef,
    siblings: Vec<B256>,
    deadline: u64,
    signature: Bytes,
}

impl Grantee {
    /// Asks a proxy what it keeps for this grantee: of one patient, or of all.
    ///
    /// # Errors
    ///
    /// [`Error::Proxy`] with what it said.
    pub async fn offered(&self, url: &str, patient: Option<Address>) -> Result<Offered, Error> {
        let client = self.asking().client()?;
        let patient = patient.unwrap_or_default();
        let nothing = Evidence::default();
        let (ask, digest) = self.signed_ask(patient, B256::ZERO, Vec::new(), nothing).await?;
        let offers = client.offers(url, &ask).await?;
        let unclear = || ProxyError::Answer("not what was asked for");
        let grants = offers.grants.into_iter().take(MAX_OFFERED);
        let grants = grants.map(OfferedGrant::read).collect::<Option<Vec<_>>>();
        let network = match offers.sealed {
            None => Vec::new(),
            Some(sealed) => {
                let key = self.identity_key();
                let text = open_note(&key, OFFERS_LABEL, digest.as_slice(), &sealed);
                let text =
                    text.map_err(|_| ProxyError::Wrong("it is not sealed to this reader"))?;
                serde_json::from_slice(&text).map_err(|_| unclear())?
            }
        };
        Ok(Offered { grants: grants.ok_or_else(unclear)?, network })
    }

    /// Fetches an envelope that a proxy knows of and accepts it, as [`Grantee::accept`]. Returns it too, to be kept.
    ///
    /// # Errors
    ///
    /// As [`Grantee::accept`]; [`Error::Storage`].
    pub async fn accept_offered(&self, offered: &OfferedGrant) -> Result<(Grant, Vec<u8>), Error> {
        let kept = self.galen().storage.get(&offered.content, MAX_ENVELOPE_LEN as u64).await?;
        let mut envelope = GrantEnvelope::decode(&kept)?;
        if envelope.terms().consent != offered.consent {
            return Err(Error::Envelope("it is of another consent"));
        }
        envelope.siblings.clone_from(&offered.siblings);
        envelope.deadline = offered.deadline;
        envelope.signature = offered.signature.clone();
        let envelope = envelope.encode();
        Ok((self.accept(&envelope).await?, envelope))
    }

    /// Checks an offer to every active organization and who signed it. Who reads with it asks proxies for all of the
    /// keys, each time, after logging the read; see [`Grantee::read`].
    ///
    /// # Errors
    ///
    /// [`Error::Envelope`] if it is for another ledger; [`Error::Chain`] if the patient did not sign it;
    /// [`Error::Crypto`] if it is none.
    pub async fn accept_offer(&self, offer: &[u8]) -> Result<Grant, Error> {
        let offer = Offer::decode(offer)?;
        if offer.ledger != self.galen().id() {
            return Err(Error::Envelope("it is for another ledger"));
        }
        let digest = typed::digest(&offer_message(&offer), offer.ledger);
        self.galen().ledger.require_signed(offer.patient, digest, &offer.signature).await?;
        Ok(Grant::of_offer(offer))
    }

    /// The consents for every active organization that a proxy shows of a patient, each checked; those that do not
    /// hold, or that are revoked, are passed over.
    ///
    /// # Errors
    ///
    /// As [`Grantee::offered`]; [`Error::Chain`].
    pub async fn open_grants(&self, url: &str, patient: Address) -> Result<Vec<Grant>, Error> {
        let mut grants: Vec<Grant> = Vec::new();
        for offer in self.offered(url, Some(patient)).await?.network.iter().take(MAX_OFFERED) {
            let grant = match self.accept_offer(offer).await {
                Ok(grant) => grant,
                Err(Error::Chain(error)) if error.kind() == galen_types::ErrorKind::Unavailable => {
                    return Err(error.into());
                }
                Err(_) => continue,
            };
            if grant.patient() != patient {
                continue;
            }
            match grants.iter().position(|it| it.consent().id() == grant.consent().id()) {
                Some(at) => {
                    let known = grants.swap_remove(at);
                    grants.push(known.join(grant)?);
                }
                None => grants.push(grant),
            }
        }
        let mut live = Vec::new();
        for grant in grants {
            if self.status(&grant).await? == crate::ConsentStatus::Live {
                live.push(grant);
            }
        }
        Ok(live)
    }
}

impl OfferedGrant {
    fn read(at: GrantAt) -> Option<Self> {
        let GrantAt { consent, epoch, content, siblings, deadline, signature } = at;
        let (consent, content) = (ConsentId(consent), content.parse().ok()?);
        Some(Self { consent, epoch, content, siblings, deadline, signature })
    }
}
