//! What a proxy does by itself: it follows the chain and deletes what it must not hold any more.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use galen_chain::LedgerEvent;
use galen_index::Chart;
use tokio::time::sleep;

use super::{
    Proxy,
    holdings::{self, Held, Place},
    look::{Head, clock, with_chart},
    refusal::Refusal,
    store::Kind,
    telling::Entry,
};

/// Between two looks at the chain.
const BETWEEN_LOOKS: Duration = Duration::from_secs(10);

/// Between two cleanings of what was served and refused.
const BETWEEN_PRUNES: Duration = Duration::from_secs(3_600);

/// Seconds that shares wait for their consent to be on the chain.
const MAX_PENDING: u64 = 3_600;

impl Proxy {
    /// Follows the chain until `stop` is ready: deletes shares whose consent ended, and old lines of the journal.
    pub async fn follow(&self, stop: impl Future<Output = ()>) {
        let work = async {
            let mut pruned: Option<Instant> = None;
            loop {
                self.tidy().await;
                if pruned.is_none_or(|at| at.elapsed() >= BETWEEN_PRUNES) {
                    pruned = Some(Instant::now());
                    self.prune().await;
                }
                sleep(BETWEEN_LOOKS).await;
            }
        };
        tokio::select! {
            () = work => {}
            () = stop => {}
        }
    }

    /// Looks at the chain once and deletes the shares of consents that are not live any more at the final block,
    /// have expired, or came to nothing within an hour. Returns how many.
    pub async fn tidy(&self) -> usize {
        match self.try_tidy().await {
            Ok(count) => count,
            Err(refusal) => {
                // What is due is deleted with the next look; until then the rules refuse it.
                self.0.metrics.refused(refusal.cause);
                0
            }
        }
    }

    async fn try_tidy(&self) -> Result<usize, Refusal> {
        let held: Vec<Arc<Held>> = self.holdings().iter().cloned().collect();
        let (due, pending) = self
            .look_patiently(|view, head| {
                let fate = |it: &Held| with_chart(view, it.patient, |chart| fate(chart, it, head));
                let due: Vec<(Place, &'static str)> =
                    held.iter().filter_map(|it| Some((it.place(), fate(it)?))).collect();
                let live = |it: &&Arc<Held>| {
                    with_chart(view, it.patient, |chart| chart.consents().tree.contains(it.consent))
                };
                (due, held.iter().filter(|it| !live(it)).count())
            })
            .await?;
        self.0.pending.store(pending, Ordering::Relaxed);
        if due.is_empty() {
            return Ok(0);
        }
        let _alone = self.0.taking.lock().await;
        let keys: Vec<_> = due.iter().map(|(place, _)| holdings::key(*place)).collect();
        self.in_store(move |store| store.remove(Kind::Grant, &keys)).await?;
        for (place, why) in &due {
            self.holdings().remove(*place);
            let (patient, consent) = *place;
            self.tell(&Entry::Dropped { patient, consent, why });
        }
        self.0.metrics.dropped.fetch_add(due.len() as u64, Ordering::Relaxed);
        Ok(due.len())
    }

    async fn prune(&self) {
        let before = clock().saturating_sub(self.0.limits.retention.as_secs());
        let pruned = self
            .in_store(move |store| {
                store.prune(Kind::Served, before)?;
                store.prune(Kind::Refused, before)?;
                store.settle()
            })
            .await;
        if let Err(refusal) = pruned {
            self.0.metrics.refused(refusal.cause);
        }
    }
}

/// Why shares are to be deleted, if they are.
fn fate(chart: &Chart, held: &Held, head: &Head) -> Option<&'static str> {
    if head.time() >= held.expiry {
        return Some("expired");
    }
    if chart.consents().tree.contains(held.consent) {
        return None;
    }
    // Neither the grant nor the revocation may go away again.
    let final_block = head.final_block?;
    let changes = || {
        chart.events().iter().filter_map(|stamped| match &stamped.event {
            LedgerEvent::ConsentsChanged(change) => Some((stamped.at.block, change)),
            _ => None,
        })
    };
    if changes().any(|(block, _)| block > final_block) {
        return None;
    }
    let granted = changes().flat_map(|(_, change)| &change.granted).collect::<BTreeSet<_>>();
    if granted.contains(&held.consent) {
        Some("revoked")
    } else {
        (head.clock.saturating_sub(held.since) > MAX_PENDING).then_some("never-live")
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256};
    use galen_chain::{ConsentsEvent, Position, Stamped};
    use galen_types::{ConsentId, ConsentTree};

    use super::*;

    /// Name, changes, the clock, what becomes of the shares.
    type Case = (&'static str, &'static [(u64, bool)], u64, Option<&'static str>);

    const PATIENT: Address = Address::repeat_byte(1);
    const CONSENT: ConsentId = ConsentId(B256::repeat_byte(2));

    /// Changes of consents: the block of each, and whether it grants or revokes.
    fn chart(changes: &[(u64, bool)]) -> Chart {
        let mut chart = Chart::default();
        for (version, (block, grant)) in (1..).zip(changes) {
            let leaves = vec![CONSENT];
            let tree: ConsentTree = leaves.iter().copied().filter(|_| *grant).collect();
            let (granted, revoked) =
                if *grant { (leaves, Vec::new()) } else { (Vec::new(), leaves) };
            let change =
                ConsentsEvent { patient: PATIENT, root: tree.root(), version, revoked, granted };
            let at = Position { block: *block, log: 0, time: 0, transaction: B256::ZERO };
            chart.apply(&Stamped { at, event: LedgerEvent::ConsentsChanged(change) });
        }
        chart
    }

    #[test]
    fn shares_end_with_their_consent_and_not_before_that_is_final() {
        let held = Held {
            patient: PATIENT,
            consent: CONSENT,
            grantee: Address::repeat_byte(3),
            expiry: 10_000,
            issued: 0,
            envelope: B256::ZERO,
            since: 1_000,
            grants: Vec::new(),
            has_offer: false,
        };
        // Blocks up to 50 are final.
        let cases: &[Case] = &[
            ("granted", &[(10, true)], 9_999, None),
            ("granted, not finally", &[(60, true)], 9_999, None),
            ("the end of the consent", &[(10, true)], 10_000, Some("expired")),
            ("revoked", &[(10, true), (50, false)], 2_000, Some("revoked")),
            ("revoked, not finally", &[(10, true), (51, false)], 2_000, None),
            ("revoked and granted again", &[(10, true), (20, false), (30, true)], 2_000, None),
            ("not yet on the chain", &[], 4_600, None),
            ("never on the chain", &[], 4_601, Some("never-live")),
        ];
        for (name, changes, clock, expected) in cases {
            let head = Head { number: 70, time: 0, final_block: Some(50), clock: *clock };
            assert_eq!(fate(&chart(changes), &held, &head), *expected, "{name}");
            let unknown = Head { final_block: None, ..head };
            let by_time = expected.filter(|it| *it == "expired");
            assert_eq!(fate(&chart(changes), &held, &unknown), by_time, "{name}");
        }
    }
}
