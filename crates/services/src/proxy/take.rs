//! Taking what patients send: shares of segment keys, and pieces of seeds.

use alloy_primitives::{Address, B256, aliases::U48, keccak256};
use galen_chain::typed;
use galen_crypto::{
    PieceEnvelope, PieceText, ShareEnvelope, ShareText, envelope::MAX_ENVELOPE_LEN,
};
use galen_sdk::proxies::wire::GrantAt;
use galen_types::LedgerId;

use super::{
    Proxy,
    holdings::{self, Held},
    limits::require_room,
    look::{Head, Signer, with_chart},
    refusal::Refusal,
    rules::Cause,
    store::{Entry, Kind},
    telling,
};

/// What both kinds of envelope say of who is to have them.
struct Addressed {
    ledger: LedgerId,
    holder: Address,
    recipient_key: B256,
    leaf: B256,
}

impl Proxy {
    /// Takes a share envelope. What it says is on disk when this returns.
    pub(super) async fn take_shares(&self, body: &[u8]) -> Result<(), Refusal> {
        let envelope = require_len(body).and_then(|body| {
            ShareEnvelope::decode(body).map_err(|_| Refusal::from(Cause::Malformed))
        })?;
        let terms = *envelope.terms();
        let to = Addressed {
            ledger: terms.ledger,
            holder: terms.proxy,
            recipient_key: envelope.recipient_key(),
            leaf: envelope.leaf(),
        };
        self.require_ours(&to, &envelope.siblings)?;
        let (head, signer, live) = self
            .look(|view, head| {
                let live = with_chart(view, terms.patient, |chart| {
                    chart.consents().tree.contains(terms.consent)
                });
                (*head, Signer::of(view, terms.patient), live)
            })
            .await?;
        require_current(envelope.deadline, &head)?;
        let message = typed::Sharing {
            patient: terms.patient,
            epoch: terms.epoch,
            envelopes: envelope.siblings.clone(),
            deadline: U48::saturating_from(envelope.deadline),
        };
        let digest = typed::digest(&message, terms.ledger);
        self.require_signed(signer, digest, &envelope.signature).await?;
        self.count_id(terms.patient)?;
        let text = envelope
            .open(&self.0.identity.keys().identity())
            .map_err(|_| Refusal::new(Cause::Malformed, "the envelope does not open"))?;
        if head.time() >= text.expiry {
            return Err(Refusal::new(Cause::Revoked, "the consent has ended"));
        }
        self.keep_shares(&envelope, text, head.clock, live, keccak256(body)).await
    }

    async fn keep_shares(
        &self,
        envelope: &ShareEnvelope,
        text: ShareText,
        now: u64,
        live: bool,
        name: B256,
    ) -> Result<(), Refusal> {
        let terms = envelope.terms();
        let place = (terms.patient, terms.consent);
        // One at a time: what is there is read, joined and written back.
        let _alone = self.0.taking.lock().await;
        let old = self.holdings().get(place);
        let known = match &old {
            Some(old) if old.envelope == name => return Ok(()),
            Some(_) => {
                let key = holdings::key(place);
                let row = self.in_store(move |store| store.get(Kind::Grant, &key)).await?;
                row.map(|row| holdings::read(&row)).transpose()?.map(|(_, text)| text)
            }
            None => None,
        };
        // A patient who grants and starts an epoch within one second dates both alike.
        let age = |text: &ShareText| {
            (text.issued, text.segments.iter().map(|shared| shared.share.epoch()).max())
        };
        if let Some(old) = &old {
            if known.as_ref().is_some_and(|known| age(known) >= age(&text)) {
                return Err(Cause::Stale.into());
            }
            if (old.grantee, old.expiry) != (text.grantee, text.expiry) {
                return Err(Refusal::new(Cause::Malformed, "it is for other terms than before"));
            }
        } else {
            self.require_place(terms.patient, live)?;
        }
        let new_grant = text.grant.map(|content| GrantAt {
            consent: terms.consent.0,
            epoch: terms.epoch,
            content: content.to_string(),
            siblings: envelope.siblings.clone(),
            deadline: envelope.deadline,
            signature: envelope.signature.clone(),
        });
        let held = Held {
            patient: terms.patient,
            consent: terms.consent,
            grantee: text.grantee,
            expiry: text.expiry,
            issued: text.issued,
            envelope: name,
            since: old.as_ref().map_or(now, |old| old.since),
            grants: holdings::with_grant(
                old.map(|old| old.grants.clone()).unwrap_or_default(),
                new_grant,
            ),
            has_offer: text.offer.is_some(),
        };
        let text = holdings::merged(known, text);
        let row = holdings::row(&held, &text)?;
        self.in_store(move |store| {
            store.put(&[row])?;
            // What the new shares replace does not stay in the log of the database.
            store.settle()
        })
        .await?;
        let (patient, consent) = held.place();
        self.holdings().insert(held);
        self.tell(&telling::Entry::Took { patient, consent, shares: text.segments.len() });
        self.0.metrics.taken.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }

    /// Whether there is room for one more consent.
    fn require_place(&self, patient: Address, live: bool) -> Result<(), Refusal> {
        let (limits, holdings) = (self.0.limits, self.holdings());
        let own = holdings.of(patient).count();
        require_room(own, limits.consents_per_patient, "too many consents of this patient")?;
        if own == 0 {
            require_room(holdings.patients(), limits.patients, "this proxy takes no new patients")?;
        }
        // Anybody can sign for an address that nobody knows; a leaf in a tree costs its patient a transaction.
        let pending = self.0.pending.load(std::sync::atomic::Ordering::Relaxed);
        if !live {
            require_room(pending, limits.pending, "too many consents that are not on the chain")?;
            self.0.pending.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes a piece of a seed.
    pub(super) async fn take_piece(&self, body: &[u8]) -> Result<(), Refusal> {
        let envelope = require_len(body).and_then(|body| {
            PieceEnvelope::decode(body).map_err(|_| Refusal::from(Cause::Malformed))
        })?;
        let terms = *envelope.terms();
        let to = Addressed {
            ledger: terms.ledger,
            holder: terms.holder,
            recipient_key: envelope.recipient_key(),
            leaf: envelope.leaf(),
        };
        self.require_ours(&to, &envelope.siblings)?;
        if terms.half != 1 {
            return Err(Refusal::new(Cause::Elsewhere, "it is for a guardian"));
        }
        let (head, signer) = self.look(|view, head| (*head, Signer::of(view, terms.id))).await?;
        require_current(envelope.deadline, &head)?;
        let message = typed::Pieces {
            id: terms.id,
            guardians: terms.guardians,
            envelopes: envelope.siblings.clone(),
            deadline: U48::saturating_from(envelope.deadline),
        };
        let digest = typed::digest(&message, terms.ledger);
        self.require_signed(signer, digest, &envelope.signature).await?;
        self.count_id(terms.id)?;
        let text = envelope
            .open(&self.0.identity.keys().identity())
            .map_err(|_| Refusal::new(Cause::Malformed, "the envelope does not open"))?;
        self.keep_piece(terms.id, text).await
    }

    async fn keep_piece(&self, id: Address, text: PieceText) -> Result<(), Refusal> {
        let _alone = self.0.taking.lock().await;
        let encoded = text.encode();
        match self.piece(id).await? {
            Some(old) if old.encode() == encoded => return Ok(()),
            Some(old) if old.issued >= text.issued => return Err(Cause::Stale.into()),
            Some(_) => {}
            None => {
                let count = self.0.pieces.load(std::sync::atomic::Ordering::Relaxed);
                require_room(count, self.0.limits.patients, "this proxy takes no new pieces")?;
                self.0.pieces.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let (kind, key) = (Kind::Piece, id.to_vec());
        let entry = Entry { kind, key, owner: id, time: text.issued, text: encoded };
        self.in_store(move |store| {
            store.put(&[entry])?;
            store.settle()
        })
        .await?;
        self.tell(&telling::Entry::TookPiece { id });
        self.0.metrics.taken.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }

    /// The piece that is kept for an id.
    pub(super) async fn piece(&self, id: Address) -> Result<Option<PieceText>, Refusal> {
        let row = self.in_store(move |store| store.get(Kind::Piece, id.as_slice())).await?;
        let read = |row: &[u8]| PieceText::decode(row).map_err(|_| Refusal::from(Cause::Internal));
        row.map(|row| read(&row)).transpose()
    }

    /// Whether an envelope is for this proxy on this ledger, under its key, and among what was signed.
    fn require_ours(&self, to: &Addressed, siblings: &[B256]) -> Result<(), Refusal> {
        let own_key = self.0.identity.keys().identity().public().hash();
        if to.ledger != self.0.galen.ledger().id() || to.holder != self.id() {
            Err(Cause::Elsewhere.into())
        } else if to.recipient_key != own_key {
            Err(Refusal::new(Cause::Elsewhere, "it is sealed to another key than this proxy's"))
        } else if !siblings.contains(&to.leaf) {
            Err(Refusal::new(Cause::Signature, "what was signed does not name it"))
        } else {
            Ok(())
        }
    }
}

fn require_len(body: &[u8]) -> Result<&[u8], Refusal> {
    if body.len() > MAX_ENVELOPE_LEN { Err(Cause::Malformed.into()) } else { Ok(body) }
}

fn require_current(deadline: u64, head: &Head) -> Result<(), Refusal> {
    if head.time() > deadline { Err(Cause::Deadline.into()) } else { Ok(()) }
}
