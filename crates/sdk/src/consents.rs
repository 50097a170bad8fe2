//! Consents: what a patient lets others read, and what becomes of it.

use alloy_primitives::Address;
use galen_chain::{ChainError, Evidence, LedgerEvent, Position, Sent, TreeChange, typed};
use galen_crypto::{GrantEnvelope, GrantTerms, GrantText, GrantedKey, GrantedSegment};
use galen_fhir::Category;
use galen_index::{AccessEntry, Chart, ConsentState};
use galen_types::{Consent, ConsentId, ConsentTree, ContentRef, PurposeSet};

use crate::{Error, Patient, patient::u48, proxies::ShareDelivery};

/// Most consents that one signature grants.
pub const MAX_GRANTS: usize = 64;

/// Most transactions that one listing looks into for terms that were opened there.
const MAX_OPENINGS: usize = 64;

/// What a patient lets somebody do.
#[derive(Clone, Debug)]
pub struct GrantRequest {
    /// Who may read. Zero means every active organization of the network, for emergencies.
    pub grantee: Address,
    /// Indexes of the categories, see `galen_fhir::Category`.
    pub categories: Vec<u8>,
    /// Why they may read.
    pub purposes: PurposeSet,
    /// First Unix second at which they may; `None` for the newest block's.
    pub not_before: Option<u64>,
    /// For how many seconds, from `not_before` or from now.
    pub lifetime: u64,
}

/// A consent that is live, and the message that brings its keys to the grantee.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The terms.
    pub consent: Consent,
    /// What the grantee gets: see [`crate::Grantee::accept`]. Only the grantee can open it. Empty under a consent for
    /// every active organization.
    pub envelope: Vec<u8>,
    /// Where the envelope is kept too, if proxies tell the grantee of it.
    pub kept: Option<ContentRef>,
    /// What the proxies get: see [`crate::proxies::ProxyClient::deliver`]. None in direct mode.
    pub shares: Vec<ShareDelivery>,
    /// The transaction.
    pub sent: Sent,
}

/// Whether a consent can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConsentStatus {
    /// Now.
    Live,
    /// Only later.
    NotYet,
    /// No longer. The leaf is still there; it does no harm.
    Expired,
    /// It is not among the patient's consents (any more).
    Revoked,
    /// The leaf is there and its terms are not known.
    Unknown,
}

impl ConsentStatus {
    /// The word for machines: stable, lowercase.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::NotYet => "not-yet",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Unknown => "unknown",
        }
    }

    pub(crate) const fn of(consent: &Consent, time: u64) -> Self {
        if time < consent.not_before {
            Self::NotYet
        } else if time < consent.expiry {
            Self::Live
        } else {
            Self::Expired
        }
    }
}

/// A leaf of the patient's consent tree.
#[derive(Clone, Debug)]
pub struct ConsentEntry {
    /// The leaf.
    pub id: ConsentId,
    /// The terms, if they are known: told by the caller, or public since the consent was first used.
    pub terms: Option<Consent>,
    /// Indexes of the categories, if the terms are known.
    pub categories: Vec<u8>,
    /// Whether it can be used.
    pub status: ConsentStatus,
    /// Where it was granted.
    pub granted: Option<Position>,
    /// Reads under it, each counted once.
    pub reads: usize,
    /// The last of them.
    pub last_read: Option<Position>,
}

impl Patient {
    /// The terms of a consent to be, with a salt that the seed gives back. Keep them before
    /// [`Patient::grant_terms`]: the chain shows them to nobody until they are used.
    ///
    /// `nth` counts the consents of one change, from zero, so that no two have the same salt.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if the request names no category, purpose or time, or the patient.
    pub async fn terms(&self, request: &GrantRequest, nth: u16) -> Result<Consent, Error> {
        let known = |index: &u8| Category::from_index(*index).is_some();
        if request.categories.is_empty() || !request.categories.iter().all(known) {
            return Err(Error::Invalid("a consent names categories that there are"));
        }
        if request.purposes == PurposeSet::default() || request.lifetime == 0 {
            return Err(Error::Invalid("a consent names a purpose and lasts a second at least"));
        }
        if request.grantee == self.id() {
            return Err(Error::Invalid("a patient needs no consent"));
        }
        let map = self.keys().segment_map();
        let version = self.galen().with_chart(self.id(), |chart| chart.consents().version).await?;
        let ledger = &self.galen().ledger;
        let (not_before, start) = match request.not_before {
            Some(time) => (time, time),
            // The contract compares with the block's time, which may be behind this machine's.
            None => (ledger.now().await?, self.galen().time().await?),
        };
        let expiry = start.checked_add(request.lifetime).filter(|expiry| *expiry < 1 << 48);
        Ok(Consent {
            grantee: request.grantee,
            segments: request.categories.iter().map(|category| map.segment(*category)).collect(),
            purposes: request.purposes,
            not_before,
            expiry: expiry.ok_or(Error::Invalid("the consent would last too long"))?,
            salt: self.keys().consent_salt(u64::from(version) | u64::from(nth) << 32),
        })
    }

    /// Grants a consent in direct mode: the keys of the segments go to the grantee.
    ///
    /// From then on nothing but the grantee's honesty makes it log a read before it reads. A grant
    /// through proxies does not have this limit: see [`Patient::grant_through`].
    ///
    /// # Errors
    ///
    /// [`Error::NoKeys`] if the grantee has published none; [`Error::Invalid`] as [`Patient::terms`],
    /// and for grantee zero, to whom no keys can be sealed: see [`Patient::grant_terms`].
    pub async fn grant(&self, request: &GrantRequest) -> Result<Granted, Error> {
        let consent = self.terms(request, 0).await?;
        // First, so that nothing is granted to somebody who cannot get the keys.
        let envelope = self.envelope(&consent).await?;
        let sent = self.grant_terms(&[consent]).await?;
        Ok(Granted { consent, envelope, kept: None, shares: Vec::new(), sent })
    }

    /// Grants consents whose terms are made, with one signature. Nobody gets keys by it.
    ///
    /// Under a consent for every active organization, reads can be logged at once; keys for them are the
    /// business of proxies, so that in direct mode such a consent opens nothing by itself.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if there is none, too many, or one is granted already.
    pub async fn grant_terms(&self, consents: &[Consent]) -> Result<Sent, Error> {
        if consents.is_empty() || consents.len() > MAX_GRANTS {
            return Err(Error::Invalid("one change grants 1 to 64 consents"));
        }
        let granted: Vec<ConsentId> = consents.iter().map(Consent::id).collect();
        self.change(Vec::new(), granted, consents.to_vec()).await
    }

    /// The message that brings the keys of a consent to its grantee in direct mode; can be made again at any time, and
    /// must be after [`Patient::next_epoch`]. A consent need not be granted yet.
    ///
    /// # Errors
    ///
    /// [`Error::NoKeys`] if the grantee has published none; [`Error::Invalid`] for grantee zero.
    pub async fn envelope(&self, consent: &Consent) -> Result<Vec<u8>, Error> {
        if consent.is_network() {
            return Err(Error::Invalid("keys are sealed to one grantee, not to all organizations"));
        }
        let recipient = self.galen().identity_of(consent.grantee).await?;
        let epoch = self.epoch().await?;
        let terms = GrantTerms {
            ledger: self.galen().id(),
            patient: self.id(),
            grantee: consent.grantee,
            consent: consent.id(),
            epoch,
        };
        let used = self.epochs_in_use().await?;
        let needed = self.needed(consent, epoch, &used)?.into_iter();
        let segments = needed
            .map(|(segment, epoch)| GrantedSegment {
                category: self.category(segment),
                key: GrantedKey::Whole(self.segment_key(segment, epoch)),
            })
            .collect();
        let issued = self.issued().await?;
        let text = GrantText { consent: *consent, proxies: Vec::new(), issued, segments };
        let mut envelope = GrantEnvelope::seal(terms, &recipient, &text)?;
        envelope.deadline = self.galen().envelope_deadline().await?;
        let message = typed::Envelope {
            patient: terms.patient,
            grantee: terms.grantee,
            consent: terms.consent.0,
            recipientKey: envelope.recipient_key(),
            ciphertext: envelope.ciphertext_hash(),
            deadline: u48(envelope.deadline),
        };
        let evidence = Evidence { consents: vec![*consent], ..Evidence::default() };
        envelope.signature = self.account().sign(&message, terms.ledger, evidence).await?;
        Ok(envelope.encode())
    }

    /// Revokes a consent. What the grantee has opened cannot be taken back.
    ///
    /// # Errors
    ///
    /// [`Error::ConsentNotLive`].
    pub async fn revoke(&self, consent: ConsentId) -> Result<Sent, Error> {
        self.revoke_many(&[consent], &[]).await
    }

    /// Revokes consents with one signature. `known` are terms for whoever is asked to sign.
    ///
    /// # Errors
    ///
    /// [`Error::ConsentNotLive`] for the first that is not live: none is revoked then.
    pub async fn revoke_many(
        &self,
        consents: &[ConsentId],
        known: &[Consent],
    ) -> Result<Sent, Error> {
        if consents.is_empty() {
            return Err(Error::Invalid("no consent is named"));
        }
        let openings = known.iter().filter(|it| consents.contains(&it.id())).copied().collect();
        self.change(consents.to_vec(), Vec::new(), openings).await
    }

    /// Revokes everything in one transaction, whatever is known of it: the root becomes zero.
    ///
    /// Works also if the announced leaves do not give the root on chain.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if nothing is granted.
    pub async fn revoke_all(&self) -> Result<Sent, Error> {
        let ledger = &self.galen().ledger;
        let slot = ledger.consents(self.id()).await?;
        if slot.root.0.is_zero() {
            return Err(Error::Invalid("nothing is granted"));
        }
        let change = TreeChange { version: slot.version, ..TreeChange::default() };
        let deadline = self.galen().deadline().await?;
        Ok(ledger.change_consents(self.account(), change, deadline).await?)
    }

    /// The leaves of the patient's consent tree, oldest first. `known` are the terms that the caller
    /// keeps; others are looked for where they were first used.
    ///
    /// # Errors
    ///
    /// [`Error::Chain`].
    pub async fn consents(&self, known: &[Consent]) -> Result<Vec<ConsentEntry>, Error> {
        let time = self.galen().ledger.now().await?;
        let leaves = self.galen().with_chart(self.id(), leaves).await?;
        let mut entries = Vec::new();
        let mut lookups = 0;
        for leaf in leaves {
            let mut terms = known.iter().find(|consent| consent.id() == leaf.id).copied();
            if let Some(used) = leaf.first_read
                && terms.is_none()
                && lookups < MAX_OPENINGS
            {
                lookups += 1;
                let opened = self.galen().ledger.opened_consent(used.transaction).await?;
                // The grantee showed these terms, and the hash says whether they are the patient's.
                terms = opened.filter(|opened| opened.id() == leaf.id);
            }
            let status = terms.map_or(ConsentStatus::Unknown, |it| ConsentStatus::of(&it, time));
            let segments = terms.map(|terms| terms.segments).unwrap_or_default();
            entries.push(ConsentEntry {
                id: leaf.id,
                terms,
                categories: segments.iter().map(|segment| self.category(segment)).collect(),
                status,
                granted: leaf.granted,
                reads: leaf.reads,
                last_read: leaf.last_read,
            });
        }
        entries.sort_by_key(|entry| (entry.granted, entry.id));
        Ok(entries)
    }

    /// Changes the tree, if the history gives the consents that are on chain. If they were changed
    /// meanwhile, from another device, it is built again, once.
    async fn change(
        &self,
        revoked: Vec<ConsentId>,
        granted: Vec<ConsentId>,
        openings: Vec<Consent>,
    ) -> Result<Sent, Error> {
        let account = self.account();
        let ledger = &self.galen().ledger;
        let mut again = true;
        loop {
            let state = self.galen().with_chart(self.id(), |it| it.consents().clone()).await?;
            if !state.matches(&ledger.consents(self.id()).await?) {
                // A change may have landed between the two looks.
                if std::mem::take(&mut again) {
                    continue;
                }
                return Err(Error::ConsentHistory);
            }
            let ConsentState { mut tree, version, .. } = state;
            edit(&mut tree, &revoked, &granted)?;
            let change = TreeChange {
                tree,
                version,
                revoked: revoked.clone(),
                granted: granted.clone(),
                openings: openings.clone(),
            };
            let deadline = self.galen().deadline().await?;
            match ledger.change_consents(account, change, deadline).await {
                Err(ChainError::Reverted(why)) if again && why.name() == "ConsentVersionStale" => {
                    again = false;
                }
                done => return Ok(done?),
            }
        }
    }
}

fn edit(tree: &mut ConsentTree, revoked: &[ConsentId], granted: &[ConsentId]) -> Result<(), Error> {
    if let Some(absent) = revoked.iter().find(|leaf| !tree.remove(**leaf)) {
        return Err(Error::ConsentNotLive(*absent));
    }
    if granted.iter().all(|leaf| tree.insert(*leaf)) {
        Ok(())
    } else {
        Err(Error::Invalid("the same consent is granted already"))
    }
}

/// What the chart says of a leaf.
struct LeafEntry {
    id: ConsentId,
    granted: Option<Position>,
    reads: usize,
    first_read: Option<Position>,
    last_read: Option<Position>,
}

fn leaves(chart: &Chart) -> Vec<LeafEntry> {
    let granted = |id: ConsentId| {
        let changes = chart.events().iter().rev();
        let mut changes = changes.filter_map(|stamped| match &stamped.event {
            LedgerEvent::ConsentsChanged(event) => Some((stamped.at, event)),
            _ => None,
        });
        changes.find(|(_, event)| event.granted.contains(&id)).map(|(at, _)| at)
    };
    let entry = |id: ConsentId| {
        let under = |access: &&AccessEntry| access.event.consent == id;
        let reads: Vec<Position> =
            chart.accesses().iter().filter(under).map(|access| access.at).collect();
        LeafEntry {
            id,
            granted: granted(id),
            reads: reads.len(),
            first_read: reads.first().copied(),
            last_read: reads.last().copied(),
        }
    };
    chart.consents().tree.leaves().map(entry).collect()
}
