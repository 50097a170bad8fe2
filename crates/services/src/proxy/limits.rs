//! How much a proxy answers, and for whom.

use std::{
    collections::{HashSet, VecDeque},
    net::IpAddr,
    time::{Duration, Instant},
};

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};

use super::{refusal::Refusal, rules::Cause};
use crate::relay::limits::{Window, network_of};

const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

/// What a proxy gives at most.
///
/// What is read under consents that name nobody is counted from the journal, so that the counts outlive the process;
/// the others start anew with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyLimits {
    /// Requests of one caller in an hour, answered or not: an IPv4 address, or 64 bits of an IPv6 address.
    pub calls_per_caller: u32,
    /// Signed requests of one id in an hour. Who waits for a block to become final asks every few seconds.
    pub asks_per_id: u32,
    /// Records that one organization reads, and that are read of one patient, in an hour under consents that name
    /// nobody.
    pub open_per_hour: u32,
    /// The same in a day.
    pub open_per_day: u32,
    /// Patients of whom one organization reads in an hour for an emergency.
    pub emergencies_per_hour: u32,
    /// Requests for keys that are worked on at a time.
    pub concurrency: usize,
    /// Patients that shares are kept for.
    pub patients: usize,
    /// Consents of one patient that shares are kept for.
    pub consents_per_patient: usize,
    /// Consents that shares are kept for although the chain does not show them yet.
    pub pending: usize,
    /// How long it is kept what was served and refused.
    pub retention: Duration,
}

impl Default for ProxyLimits {
    fn default() -> Self {
        Self {
            calls_per_caller: 6_000,
            asks_per_id: 3_000,
            open_per_hour: 60,
            open_per_day: 600,
            emergencies_per_hour: 10,
            concurrency: 32,
            patients: 10_000,
            consents_per_patient: 256,
            pending: 1_000,
            retention: Duration::from_secs(400 * DAY),
        }
    }
}

/// Records that an organization read under a consent that names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OpenRead {
    /// Unix second.
    pub(super) time: u64,
    pub(super) organization: Address,
    pub(super) patient: Address,
    pub(super) records: u32,
    pub(super) emergency: bool,
}

/// What was given so far.
#[derive(Debug)]
pub(super) struct Spent {
    limits: ProxyLimits,
    callers: Window<IpAddr>,
    ids: Window<Address>,
    /// Of the last day.
    open: VecDeque<OpenRead>,
}

impl Spent {
    pub(super) fn new(limits: ProxyLimits, open: Vec<OpenRead>) -> Self {
        let hour = Duration::from_secs(HOUR);
        Self { limits, callers: Window::new(hour), ids: Window::new(hour), open: open.into() }
    }

    /// Counts a request, before anything is done for it.
    pub(super) fn count_caller(&mut self, caller: IpAddr, now: Instant) -> Result<(), Refusal> {
        let most = u64::from(self.limits.calls_per_caller);
        self.callers
            .add(network_of(caller), 1, most, now)
            .map_err(|retry| Refusal::limited("too many requests from this address", retry))
    }

    /// Counts a request that an id signed.
    pub(super) fn count_id(&mut self, id: Address, now: Instant) -> Result<(), Refusal> {
        let most = u64::from(self.limits.asks_per_id);
        self.ids
            .add(id, 1, most, now)
            .map_err(|retry| Refusal::limited("too many requests of this id", retry))
    }

    /// Reserves what is to be read under a consent that names nobody.
    pub(super) fn reserve(&mut self, read: OpenRead) -> Result<(), Refusal> {
        self.open.retain(|old| read.time.saturating_sub(old.time) < DAY);
        let limits = self.limits;
        let within = |span: u64| self.open.iter().filter(move |it| it.time + span > read.time);
        let sum = |span, of: &dyn Fn(&OpenRead) -> bool| -> u32 {
            within(span)
                .filter(|it| of(it))
                .fold(read.records, |sum, it| sum.saturating_add(it.records))
        };
        let parties: [&dyn Fn(&OpenRead) -> bool; 2] =
            [&|it| it.organization == read.organization, &|it| it.patient == read.patient];
        for of in parties {
            for (span, most) in [(HOUR, limits.open_per_hour), (DAY, limits.open_per_day)] {
                if sum(span, of) > most {
                    let retry = Duration::from_secs(span);
                    return Err(Refusal::limited("too many records without a grant", retry));
                }
            }
        }
        let emergencies: HashSet<Address> = within(HOUR)
            .filter(|it| it.emergency && it.organization == read.organization)
            .map(|it| it.patient)
            .chain([read.patient])
            .collect();
        if read.emergency && emergencies.len() > limits.emergencies_per_hour as usize {
            let retry = Duration::from_secs(HOUR);
            return Err(Refusal::limited("too many emergencies of this organization", retry));
        }
        self.open.push_back(read);
        Ok(())
    }

    /// Gives back what was reserved and not read.
    pub(super) fn release(&mut self, read: &OpenRead) {
        if let Some(place) = self.open.iter().rposition(|it| it == read) {
            self.open.remove(place);
        }
    }
}

/// What is kept at most.
pub(super) fn require_room(count: usize, most: usize, detail: &'static str) -> Result<(), Refusal> {
    if count < most { Ok(()) } else { Err(Refusal::new(Cause::Limit, detail)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_without_a_grant_are_counted_by_organization_and_patient() {
        let limits = ProxyLimits {
            open_per_hour: 6,
            open_per_day: 10,
            emergencies_per_hour: 2,
            ..ProxyLimits::default()
        };
        let read = |time, organization, patient, records, emergency| OpenRead {
            time,
            organization: Address::repeat_byte(organization),
            patient: Address::repeat_byte(patient),
            records,
            emergency,
        };
        // What happened so far, what is asked, whether it is given.
        let cases: Vec<(&str, Vec<OpenRead>, OpenRead, bool)> = vec![
            ("nothing before", vec![], read(1, 1, 1, 6, false), true),
            ("more than an hour's at once", vec![], read(1, 1, 1, 7, false), false),
            (
                "the organization's hour",
                vec![read(1, 1, 1, 4, false)],
                read(2, 1, 2, 3, false),
                false,
            ),
            ("the patient's hour", vec![read(1, 1, 1, 4, false)], read(2, 2, 1, 3, false), false),
            ("others", vec![read(1, 1, 1, 4, false)], read(2, 2, 2, 3, false), true),
            ("an hour later", vec![read(1, 1, 1, 4, false)], read(HOUR + 1, 1, 1, 6, false), true),
            (
                "the day",
                vec![read(1, 1, 1, 6, false), read(HOUR + 1, 1, 1, 4, false)],
                read(2 * HOUR + 1, 1, 1, 1, false),
                false,
            ),
            (
                "the next day",
                vec![read(1, 1, 1, 6, false), read(HOUR + 1, 1, 1, 4, false)],
                read(DAY + 1, 1, 1, 1, false),
                true,
            ),
            (
                "a third patient's emergency",
                vec![read(1, 1, 1, 1, true), read(1, 1, 2, 1, true)],
                read(2, 1, 3, 1, true),
                false,
            ),
            (
                "the same patient's emergency",
                vec![read(1, 1, 1, 1, true), read(1, 1, 2, 1, true)],
                read(2, 1, 2, 1, true),
                true,
            ),
            (
                "no emergency",
                vec![read(1, 1, 1, 1, true), read(1, 1, 2, 1, true)],
                read(2, 1, 3, 1, false),
                true,
            ),
        ];
        for (name, before, asked, given) in cases {
            let mut spent = Spent::new(limits, before);
            assert_eq!(spent.reserve(asked).is_ok(), given, "{name}");
        }
        // What is given back can be had again.
        let (mut spent, asked) = (Spent::new(limits, Vec::new()), read(1, 1, 1, 6, false));
        spent.reserve(asked).unwrap();
        assert_eq!(spent.reserve(asked).unwrap_err().cause, Cause::Limit);
        spent.release(&asked);
        spent.reserve(asked).unwrap();
    }
}
