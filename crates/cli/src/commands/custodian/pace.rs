//! When a chart is seen to again: after a failure later and later.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use alloy_primitives::Address;

/// Longest time between two passes after failures.
const LONGEST_REST: Duration = Duration::from_secs(3_600);

/// Charts that failed rest by themselves, so that one does not slow the others down.
pub(super) struct Pace {
    every: Duration,
    /// Until when, and for how long.
    resting: BTreeMap<Address, (Instant, Duration)>,
}

impl Pace {
    pub(super) const fn new(every: Duration) -> Self {
        Self { every, resting: BTreeMap::new() }
    }

    pub(super) fn is_due(&self, patient: Address, now: Instant) -> bool {
        self.resting.get(&patient).is_none_or(|(until, _)| *until <= now)
    }

    pub(super) fn note(&mut self, patient: Address, went_well: bool, now: Instant) {
        if went_well {
            self.resting.remove(&patient);
            return;
        }
        let before = self.resting.get(&patient).map_or(self.every, |(_, rest)| *rest);
        let rest = (before * 2).min(LONGEST_REST.max(self.every));
        self.resting.insert(patient, (now + rest, rest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_that_fails_rests_longer_and_longer_and_the_others_do_not() {
        let (a, b) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let every = Duration::from_secs(60);
        let (mut pace, mut now) = (Pace::new(every), Instant::now());
        let mut rests = Vec::new();
        for _ in 0..8 {
            pace.note(a, false, now);
            pace.note(b, true, now);
            let started = now;
            while !pace.is_due(a, now) {
                assert!(pace.is_due(b, now));
                now += every;
            }
            rests.push((now - started).as_secs() / 60);
        }
        assert_eq!(rests, [2, 4, 8, 16, 32, 60, 60, 60]);
        pace.note(a, true, now);
        assert!(pace.is_due(a, now));
        pace.note(a, false, now);
        assert!(pace.is_due(a, now + every * 2), "it begins anew");
    }
}
