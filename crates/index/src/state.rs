//! What the events of a ledger add up to.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use alloy_primitives::Address;
use galen_chain::{LedgerEvent, Stamped, Standing};

use crate::chart::Chart;

/// An organization and its standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Organization {
    /// Its id.
    pub id: Address,
    /// Its standing.
    pub standing: Standing,
}

/// All charts, and all events behind them.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) charts: HashMap<Address, Chart>,
    pub(crate) organizations: BTreeMap<Address, Standing>,
    /// In the order of the chain.
    events: Vec<Arc<Stamped>>,
    /// Places in `events`, by who acted.
    acts: HashMap<Address, Vec<usize>>,
}

impl State {
    pub(crate) fn apply(&mut self, stamped: Arc<Stamped>) {
        if let LedgerEvent::StatusChanged { organization, standing } = stamped.event {
            self.organizations.insert(organization, standing);
        }
        for party in stamped.event.parties() {
            self.acts.entry(party).or_default().push(self.events.len());
        }
        if let Some(patient) = stamped.event.patient() {
            self.charts.entry(patient).or_default().apply_shared(Arc::clone(&stamped));
        }
        self.events.push(stamped);
    }

    /// Takes back what stands above a block: what is left is applied anew, since a reader rule may turn
    /// on anything that came before.
    pub(crate) fn roll_back(&mut self, to: Option<u64>) {
        let events = std::mem::take(self).events;
        let kept = to.map_or(0, |to| events.partition_point(|stamped| stamped.at.block <= to));
        events.into_iter().take(kept).for_each(|stamped| self.apply(stamped));
    }

    pub(crate) fn events(&self) -> &[Arc<Stamped>] {
        &self.events
    }

    /// Events that somebody acted in, in the order of the chain.
    pub(crate) fn acts(&self, party: Address) -> impl DoubleEndedIterator<Item = &Arc<Stamped>> {
        self.acts.get(&party).into_iter().flatten().map(|place| &self.events[*place])
    }
}
