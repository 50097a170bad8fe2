//! Giving back a piece of a seed to who controls the id after a recovery by its guardians.

use std::{sync::atomic::Ordering, time::Duration};

use alloy_primitives::{Address, B256, aliases::U48};
use galen_chain::{Position, typed};
use galen_crypto::{IdentityPublic, keys::IDENTITY_PUBLIC_LEN, seal_note};
use galen_index::Chart;
use galen_sdk::proxies::wire::{PieceAnswer, PieceAsk, ReportEntry};

use super::{
    Proxy,
    journal::ServedRow,
    look::{Signer, clock, require_in_time, with_chart},
    refusal::Refusal,
    rules::{Cause, require_head},
    store::Kind,
    telling::Entry,
};

/// Label of a piece.
const PIECE_LABEL: &str = "galen.proxy.piece.v1";

/// How often a piece is given in the life of a recovery, and seconds between two times.
const MAX_RELEASES: usize = 5;
const BETWEEN_RELEASES: u64 = 86_400;

/// Rows that are looked through for earlier releases.
const MAX_ROWS: usize = 1_000_000;

impl Proxy {
    /// Gives the piece, sealed, if a recovery finished in a final block and made the controller of now.
    pub(super) async fn release(&self, ask: PieceAsk) -> Result<PieceAnswer, Refusal> {
        let recipient = <&[u8; IDENTITY_PUBLIC_LEN]>::try_from(ask.recipient.as_ref()).ok();
        let recipient = recipient.and_then(|bytes| IdentityPublic::from_bytes(bytes).ok());
        let recipient = recipient.ok_or(Refusal::from(Cause::Malformed))?;
        let policy = self.0.policy;
        let (head, signer, recovered) = self
            .look(|view, head| {
                let signer = Signer::of(view, ask.id);
                let now = head.now(galen_chain::Standing::None);
                let recovered = require_head(&now, &policy).map(|final_block| {
                    let recovery = with_chart(view, ask.id, Chart::recovery);
                    let ours = recovery.filter(|it| it.controller == signer.controller);
                    ours.map(|it| (it.at.block <= final_block, it.at))
                });
                (*head, signer, recovered)
            })
            .await?;
        require_in_time(ask.deadline, &head)?;
        let message = typed::PieceRequest {
            id: ask.id,
            controller: signer.controller,
            rotations: signer.rotations,
            recipientKey: recipient.hash(),
            deadline: U48::saturating_from(ask.deadline),
        };
        let digest = typed::digest(&message, self.0.galen.ledger().id());
        self.require_signed(signer, digest, &ask.signature).await?;
        self.count_id(ask.id)?;
        let (is_final, at) = recovered?.ok_or(Refusal::from(Cause::NotRecovered))?;
        if !is_final {
            return Err(Refusal::new(Cause::NotFinal, "the recovery can still go away"));
        }
        self.give(&ask, &recipient, signer, digest, at).await
    }

    async fn give(
        &self,
        ask: &PieceAsk,
        recipient: &IdentityPublic,
        signer: Signer,
        digest: B256,
        at: Position,
    ) -> Result<PieceAnswer, Refusal> {
        // One at a time, so that the count is right.
        let _alone = self.0.taking.lock().await;
        let piece = self.piece(ask.id).await?.ok_or(Refusal::from(Cause::NoShare))?;
        let now = clock();
        let given = self.released(ask.id).await?;
        let access = Some((at.block, at.log));
        let times = given.iter().filter(|it| it.access == access).count();
        if times >= MAX_RELEASES {
            return Err(Refusal::new(Cause::Limit, "it was given five times since the recovery"));
        }
        let last = given.iter().map(|it| it.time).max();
        if last.is_some_and(|last| now < last.saturating_add(BETWEEN_RELEASES)) {
            let day = Duration::from_secs(BETWEEN_RELEASES);
            return Err(Refusal::limited("it was given within the last day", day));
        }
        let sealed = seal_note(recipient, PIECE_LABEL, digest.as_slice(), piece.encode());
        let sealed = sealed.map_err(|_| Refusal::from(Cause::Internal))?;
        let entry = ReportEntry {
            time: now,
            grantee: signer.controller,
            consent: B256::ZERO,
            record: B256::ZERO,
            // What it is given for, in place of an access: where the new controller took over.
            access,
            cause: None,
            times: None,
        };
        self.journal_served(ask.id, &ServedRow { open: None, entries: vec![entry] }).await?;
        self.0.metrics.released.fetch_add(1, Ordering::Relaxed);
        let (id, controller, times) = (ask.id, signer.controller, times + 1);
        self.tell(&Entry::Released { id, controller, times });
        Ok(PieceAnswer { sealed: sealed.into() })
    }

    /// What the journal says of the times that the piece of an id was given: lines without a record.
    async fn released(&self, id: Address) -> Result<Vec<ReportEntry>, Refusal> {
        let rows =
            self.in_store(move |store| store.list(Kind::Served, Some(id), 0, MAX_ROWS)).await?;
        let mut given = Vec::new();
        for text in rows {
            let row: ServedRow = serde_json::from_slice(&text).map_err(|_| Cause::Internal)?;
            given.extend(row.entries.into_iter().filter(|it| it.record.is_zero()));
        }
        Ok(given)
    }
}
