//! What happened to a chart, and whether the chain says that this is all.

use alloy_primitives::{Address, hex};
use galen_chain::{ChartSlot, ConsentSlot, HistoryMode, LedgerEvent, Position};
use galen_types::{ConsentId, ProposalId, RecordId};
use serde::Serialize;

use crate::chart::Chart;

/// One line of an audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// Where it stands.
    pub at: Position,
    /// What happened: `proposed`, `settled`, `accessed`, `resealed`, `consents-changed`, …
    pub what: &'static str,
    /// Who did it.
    pub who: Option<Address>,
    /// The record, if it is about one.
    pub record: Option<RecordId>,
    /// The proposal, if it is about one.
    pub proposal: Option<ProposalId>,
    /// Purpose of use of an access: its HL7 v3 ActReason code, or its number.
    pub purpose: Option<String>,
    /// The consent that an access relied on.
    pub consent: Option<ConsentId>,
    /// Whether that consent was one for every active organization: break-glass, if for an emergency.
    pub network: bool,
    /// Whether the chart head covers the entry.
    pub in_head: bool,
}

/// What shows that nothing is missing from a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// The header of every block was linked to its parent, and the receipts root checked wherever the
    /// bloom does not exclude the ledger: with `complete`, the entries are all that there are.
    EveryBlock,
    /// Only the slots on chain: with `complete`, settlements, accesses, reseals and rotations are all
    /// there by the head, changes of consents by version and root. That no proposal, withdrawal,
    /// request, key bundle or change of guardians was left out rests on the node's word.
    HeadOnly,
}

impl From<HistoryMode> for Proof {
    fn from(mode: HistoryMode) -> Self {
        match mode {
            HistoryMode::Blocks => Self::EveryBlock,
            HistoryMode::Logs => Self::HeadOnly,
        }
    }
}

/// The history of one chart and what proves it.
///
/// Settlements, accesses, reseals and rotations are complete if the head that the events fold to is
/// the one on chain (collision strength 92 bits), changes of consents if their number and the last root
/// are those on chain. The others are complete if `proof` is [`Proof::EveryBlock`]. Refused attempts leave
/// no event.
#[derive(Clone, Debug, Serialize)]
pub struct AuditReport {
    /// The pseudonym.
    pub patient: Address,
    /// In the order of the chain.
    pub entries: Vec<AuditEntry>,
    /// Accesses, each counted once.
    pub accesses: usize,
    /// Entries under the head.
    pub head_entries: u64,
    /// The head that the events fold to, `0x` and 46 hex digits.
    pub head: String,
    /// The head on chain.
    pub head_on_chain: String,
    /// Whether heads, sequence and time of the last access agree.
    pub head_matches: bool,
    /// Whether root and version of the consents agree, and as many changes were seen.
    pub consents_match: bool,
    /// Whether both agree.
    pub complete: bool,
    /// What the rest stands on.
    pub proof: Proof,
}

impl AuditReport {
    /// Tells a chart's history, read in a mode, and compares it with the slots on chain.
    pub fn new(
        patient: Address,
        chart: &Chart,
        slot: &ChartSlot,
        consents: &ConsentSlot,
        mode: HistoryMode,
    ) -> Self {
        let head_matches = chart.head().matches(slot);
        let consents_match = chart.consents().matches(consents);
        Self {
            patient,
            entries: chart.events().iter().map(|stamped| entry(stamped)).collect(),
            accesses: chart.accesses().len(),
            head_entries: chart.head().entries(),
            head: hex::encode_prefixed(chart.head().bytes()),
            head_on_chain: hex::encode_prefixed(slot.head),
            head_matches,
            consents_match,
            complete: head_matches && consents_match,
            proof: mode.into(),
        }
    }
}

fn entry(stamped: &galen_chain::Stamped) -> AuditEntry {
    let mut entry = AuditEntry {
        at: stamped.at,
        what: "other",
        who: None,
        record: None,
        proposal: None,
        purpose: None,
        consent: None,
        network: false,
        in_head: false,
    };
    match &stamped.event {
        LedgerEvent::Proposed(e) => {
            (entry.what, entry.who, entry.proposal) =
                ("proposed", Some(e.author), Some(e.proposal));
        }
        LedgerEvent::Withdrawn { author, proposal, .. } => {
            (entry.what, entry.who, entry.proposal) = ("withdrawn", Some(*author), Some(*proposal));
        }
        LedgerEvent::Settled(e) => {
            (entry.what, entry.who, entry.proposal) = ("settled", Some(e.signer), Some(e.proposal));
            entry.in_head = true;
        }
        LedgerEvent::Accessed(e) => {
            (entry.what, entry.who, entry.record) = ("accessed", Some(e.grantee), Some(e.record));
            let purpose = e.purpose().map(|purpose| purpose.code().to_owned());
            (entry.consent, entry.network) = (Some(e.consent), e.network);
            entry.purpose = Some(purpose.unwrap_or_else(|| e.purpose.to_string()));
            entry.in_head = true;
        }
        LedgerEvent::Resealed(e) => {
            (entry.what, entry.who, entry.record) = ("resealed", Some(e.signer), Some(e.record));
            entry.in_head = true;
        }
        LedgerEvent::Rotated { controller, .. } => {
            (entry.what, entry.who, entry.in_head) = ("rotated", Some(*controller), true);
        }
        LedgerEvent::ConsentsChanged(e) => {
            (entry.what, entry.who) = ("consents-changed", Some(e.patient));
        }
        LedgerEvent::KeysPublished { id, .. } => {
            (entry.what, entry.who) = ("keys-published", Some(*id));
        }
        LedgerEvent::AccessRequested { organization, .. } => {
            (entry.what, entry.who) = ("access-requested", Some(*organization));
        }
        LedgerEvent::GuardiansChanged { .. } => entry.what = "guardians-changed",
        LedgerEvent::PendingStarted { .. } => entry.what = "pending-started",
        LedgerEvent::PendingCancelled { .. } => entry.what = "pending-cancelled",
        LedgerEvent::PendingFinished { .. } => entry.what = "pending-finished",
        _ => {}
    }
    entry
}
