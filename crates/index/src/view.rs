//! Follows the chain and keeps every chart up to date.

use std::collections::{BTreeMap, HashMap};

use alloy_primitives::Address;
use galen_chain::{BlockReader, ChainError, Ledger, LedgerEvent, Standing};

use crate::chart::Chart;

/// How often a chain may be reorganized under one [`View::sync`] before it gives up.
const MAX_RESTARTS: usize = 3;

/// An organization and its standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Organization {
    /// Its id.
    pub id: Address,
    /// Its standing.
    pub standing: Standing,
}

/// All charts of a ledger, as of the last verified block that was read.
#[derive(Debug)]
pub struct View {
    reader: BlockReader,
    origin: BlockReader,
    charts: HashMap<Address, Chart>,
    organizations: BTreeMap<Address, Standing>,
}

impl View {
    /// An empty view of a ledger; [`View::sync`] fills it.
    pub fn new(ledger: &Ledger) -> Self {
        let origin = ledger.blocks();
        Self {
            reader: origin.clone(),
            origin,
            charts: HashMap::new(),
            organizations: BTreeMap::new(),
        }
    }

    /// Reads every block that came since the last call.
    ///
    /// After a reorganization the view is rebuilt from the first block.
    ///
    /// # Errors
    ///
    /// As [`BlockReader::next`]. What was read until then is kept.
    pub async fn sync(&mut self) -> Result<(), ChainError> {
        let mut restarts = 0;
        loop {
            match self.reader.next().await {
                Ok(Some(block)) => {
                    for stamped in &block.events {
                        if let LedgerEvent::StatusChanged { organization, standing } = stamped.event
                        {
                            self.organizations.insert(organization, standing);
                        }
                        if let Some(patient) = stamped.event.patient() {
                            self.charts.entry(patient).or_default().apply(stamped);
                        }
                    }
                }
                Ok(None) => return Ok(()),
                Err(ChainError::Reorganized { .. }) if restarts < MAX_RESTARTS => {
                    restarts += 1;
                    self.reader = self.origin.clone();
                    self.charts.clear();
                    self.organizations.clear();
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The chart of a pseudonym, if the ledger says anything about it.
    pub fn chart(&self, patient: Address) -> Option<&Chart> {
        self.charts.get(&patient)
    }

    /// Organizations that are or were members, by id.
    pub fn organizations(&self) -> impl Iterator<Item = Organization> {
        self.organizations
            .iter()
            .map(|(id, standing)| Organization { id: *id, standing: *standing })
    }

    /// Number of the next block to read.
    pub const fn next_block(&self) -> u64 {
        self.reader.next_number()
    }
}
