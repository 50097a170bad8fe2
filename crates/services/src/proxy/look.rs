//! Looks at the chain: each at its newest block, within a time, and at whole blocks only.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy_primitives::{Address, B256, Bytes};
use galen_chain::{HistoryMode, LedgerEvent, Standing};
use galen_index::{Chart, View};
use tokio::time::timeout;

use super::{
    Proxy,
    refusal::Refusal,
    rules::{Cause, Now},
    telling::Entry,
};

/// How long a request waits for the chain.
const CHAIN_PATIENCE: Duration = Duration::from_secs(20);

/// Seconds that a signed request may be dated ahead.
const MAX_AHEAD: u64 = 2 * 3_600;

/// Where the chain stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) number: u64,
    pub(super) time: u64,
    pub(super) final_block: Option<u64>,
    pub(super) clock: u64,
}

impl Head {
    /// As the rules want it.
    pub(super) const fn now(&self, standing: Standing) -> Now {
        let Self { time, final_block, clock, .. } = *self;
        Now { clock, head_time: time, final_block, standing }
    }

    /// The later of clock and head.
    pub(super) const fn time(&self) -> u64 {
        self.now(Standing::None).time()
    }
}

/// Who signs for an id, and what a signature names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signer {
    pub(super) controller: Address,
    pub(super) rotations: u32,
}

impl Signer {
    pub(super) fn of(view: &View, id: Address) -> Self {
        let Some(chart) = view.chart(id) else { return Self { controller: id, rotations: 0 } };
        let rotated = |it: &&_| matches!(it, LedgerEvent::Rotated { .. });
        let rotations = chart.events().iter().map(|it| &it.event).filter(rotated).count();
        Self {
            controller: chart.controller().unwrap_or(id),
            rotations: u32::try_from(rotations).unwrap_or(u32::MAX),
        }
    }
}

/// What the ledger says of an id; nothing, if it says nothing.
pub(super) fn with_chart<T>(view: &View, id: Address, look: impl FnOnce(&Chart) -> T) -> T {
    let nothing = Chart::default();
    look(view.chart(id).unwrap_or(&nothing))
}

/// Standing of an id in the network.
pub(super) fn standing_of(view: &View, id: Address) -> Standing {
    let found = view.organizations().find(|it| it.id == id);
    found.map_or(Standing::None, |it| it.standing)
}

/// Unix second of this machine.
pub(super) fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

impl Proxy {
    /// Looks at the ledger as of the newest block that enough nodes agree on.
    pub(super) async fn look<T>(&self, look: impl FnOnce(&View, &Head) -> T) -> Result<T, Refusal> {
        match timeout(CHAIN_PATIENCE, self.look_patiently(look)).await {
            Ok(answer) => answer,
            Err(_) => Err(Refusal::new(Cause::Chain, "the nodes are slow")),
        }
    }

    /// As [`Proxy::look`], for as long as it takes: a long history is read for the first time.
    pub(super) async fn look_patiently<T>(
        &self,
        look: impl FnOnce(&View, &Head) -> T,
    ) -> Result<T, Refusal> {
        let seen = self.0.galen.with_head(|view, time| {
            if view.mode() != HistoryMode::Blocks {
                return Err(Refusal::new(Cause::Chain, "the history is not read block by block"));
            }
            let number = view.next_block().saturating_sub(1);
            let head = Head { number, time, final_block: view.final_block(), clock: clock() };
            Ok((look(view, &head), head))
        });
        match seen.await {
            Ok(Ok((found, head))) => {
                self.0.metrics.saw(head.number, head.time);
                Ok(found)
            }
            Ok(Err(refusal)) => Err(refusal),
            Err(error) => {
                self.tell(&Entry::fault(&error));
                Err(Cause::Chain.into())
            }
        }
    }

    /// Whether the signer of an id signed a digest: by its key, or as its contract says now.
    pub(super) async fn require_signed(
        &self,
        signer: Signer,
        digest: B256,
        signature: &Bytes,
    ) -> Result<(), Refusal> {
        let ledger = self.0.galen.ledger();
        let signed = ledger.has_signed(signer.controller, digest, signature);
        match timeout(CHAIN_PATIENCE, signed).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Cause::Signature.into()),
            Err(_) => Err(Refusal::new(Cause::Chain, "the nodes are slow")),
        }
    }
}

/// Whether a request is in time. One that is dated far ahead could be used by whoever finds it.
pub(super) fn require_in_time(deadline: u64, head: &Head) -> Result<(), Refusal> {
    let now = head.time();
    if (now..=now.saturating_add(MAX_AHEAD)).contains(&deadline) {
        Ok(())
    } else {
        Err(Cause::Deadline.into())
    }
}
