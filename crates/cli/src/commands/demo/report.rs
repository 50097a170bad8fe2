//! What the demo counted.

use std::{collections::BTreeMap, fmt};

use galen_chain::Sent;
use serde::Serialize;

use crate::{error::CliError, ui::Ui};

/// The result of `galen demo --json`. Field names are interface.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Leaves that hospital A proposed as new records.
    pub(crate) records_proposed: usize,
    /// Of those, accepted by the patient.
    pub(crate) records_accepted: usize,
    /// Of those, rejected by the patient.
    pub(crate) records_rejected: usize,
    /// Records of the second hospital, all accepted.
    pub(crate) second_hospital_records: usize,
    /// Things in the chart of both hospitals.
    pub(crate) chart_lines: usize,
    /// Of those, the ones on which the hospitals do not agree.
    pub(crate) chart_conflicts: usize,
    /// Elements of one document that were shown and proven.
    pub(crate) elements_shown: usize,
    /// Its elements that stayed hidden.
    pub(crate) elements_hidden: usize,
    /// Records with an accepted, co-signed amendment.
    pub(crate) amended: usize,
    /// Records that were read, each read counted.
    pub(crate) reads_granted: usize,
    /// Attempts to read that the contract refused.
    pub(crate) reads_refused: usize,
    /// Proxies that hold shares, and how many of them a read takes.
    pub(crate) proxies: usize,
    /// See `proxies`.
    pub(crate) proxies_needed: usize,
    /// Proxies that refused a revoked reader, who had logged its read before, until too few were left.
    pub(crate) proxy_refusals: usize,
    /// Accesses in the chart's log.
    pub(crate) accesses_logged: usize,
    /// Records with a new data key and a new content address after they were read.
    pub(crate) resealed: usize,
    /// Whether the history folds to the chart head on chain.
    pub(crate) audit_complete: bool,
    /// Bytes of sealed content, reseals included.
    pub(crate) bytes_sealed: u64,
    /// The chain it ran on.
    pub(crate) chain_id: u64,
    /// Where content lies in the end, reseals included, what was let go of not.
    pub(crate) stores: Vec<StoreUse>,
    /// Copies of the patient's records that were read back whole.
    pub(crate) copies_checked: usize,
    /// Gas by operation.
    pub(crate) gas: BTreeMap<&'static str, GasUse>,
    /// Wall time.
    pub(crate) seconds: f64,
}

/// What one place holds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StoreUse {
    /// Its name.
    pub(crate) place: String,
    /// What it is: `local`, `swarm`, `ipfs`, `pinning`.
    pub(crate) kind: &'static str,
    /// Contents: records, key bundles, envelopes.
    pub(crate) contents: usize,
    /// Bytes of them.
    pub(crate) bytes: u64,
}

impl fmt::Display for StoreUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, kind, contents, bytes } = self;
        write!(f, "{place} ({kind}): {contents} contents, {bytes} bytes.")
    }
}

/// Gas of one kind of operation.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct GasUse {
    /// Transactions.
    pub(crate) transactions: u64,
    /// Gas of all of them.
    pub(crate) total: u64,
    /// Least gas of one.
    pub(crate) least: u64,
}

impl Report {
    pub(crate) fn spent(&mut self, operation: &'static str, sent: &Sent) {
        self.add_gas(operation, sent.gas);
    }

    pub(crate) fn add_gas(&mut self, operation: &'static str, gas: u64) {
        let entry = self.gas.entry(operation).or_default();
        entry.least = if entry.transactions == 0 { gas } else { entry.least.min(gas) };
        entry.transactions += 1;
        entry.total += gas;
    }

    pub(crate) fn print(&self, ui: &Ui) -> Result<(), CliError> {
        ui.line("")?;
        ui.line("Gas, in units, of whole transactions:")?;
        for (operation, gas) in &self.gas {
            ui.line(&format!(
                "  {operation:<16} {:>4} sent, least {:>9}, together {:>11}",
                gas.transactions, gas.least, gas.total
            ))?;
        }
        ui.line(&format!("Done in {:.1} seconds.", self.seconds))
    }
}
