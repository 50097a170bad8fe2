//! How much a relay sends, and for whom.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    time::{Duration, Instant},
};

use alloy_primitives::Address;
use galen_chain::ChainError;

use crate::error::RelayError;

/// Callers and ids that are counted at a time. A relay that has more of them in one window takes no new ones.
const MAX_COUNTED: usize = 100_000;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// What a relay gives at most. All counts are kept in memory and start anew with the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// Requests of one caller in an hour, sent or not: an IPv4 address, or 64 bits of an IPv6 address.
    pub calls_per_caller: u32,
    /// Calls that were sent for one signing id in an hour.
    pub calls_per_id: u32,
    /// Gas of all calls in a day. With `max_fee_per_gas` it bounds what a day can cost.
    pub gas_per_day: u64,
    /// Gas of one call.
    pub gas_per_call: u64,
    /// Most wei for one gas.
    pub max_fee_per_gas: u128,
    /// Calls that are simulated or sent at a time.
    pub concurrency: usize,
    /// How long the same call is answered with its first transaction.
    pub repeat_window: Duration,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            calls_per_caller: 300,
            calls_per_id: 120,
            gas_per_day: 500_000_000,
            gas_per_call: 10_000_000,
            max_fee_per_gas: 500_000_000_000,
            concurrency: 16,
            repeat_window: HOUR,
        }
    }
}

/// Counts in windows that begin with the first count.
#[derive(Debug)]
pub(crate) struct Window<K> {
    length: Duration,
    counts: HashMap<K, (Instant, u64)>,
}

impl<K: Copy + Eq + Hash> Window<K> {
    pub(crate) fn new(length: Duration) -> Self {
        Self { length, counts: HashMap::new() }
    }

    /// Adds `amount` unless it would pass `most`; then says how long the window still lasts.
    pub(crate) fn add(
        &mut self,
        key: K,
        amount: u64,
        most: u64,
        now: Instant,
    ) -> Result<(), Duration> {
        let length = self.length;
        if self.counts.len() >= MAX_COUNTED && !self.counts.contains_key(&key) {
            self.counts.retain(|_, (since, _)| now.duration_since(*since) < length);
            if self.counts.len() >= MAX_COUNTED {
                return Err(length);
            }
        }
        let (since, count) = self.counts.entry(key).or_insert((now, 0));
        if now.duration_since(*since) >= length {
            (*since, *count) = (now, 0);
        }
        if count.saturating_add(amount) > most {
            return Err(length.saturating_sub(now.duration_since(*since)));
        }
        *count += amount;
        Ok(())
    }

    fn take_back(&mut self, key: K, amount: u64) {
        if let Some((_, count)) = self.counts.get_mut(&key) {
            *count = count.saturating_sub(amount);
        }
    }
}

/// What was given so far.
#[derive(Debug)]
pub(crate) struct Spent {
    limits: RelayLimits,
    callers: Window<IpAddr>,
    ids: Window<Address>,
    gas: Window<()>,
}

impl Spent {
    pub(crate) fn new(limits: RelayLimits) -> Self {
        Self { limits, callers: Window::new(HOUR), ids: Window::new(HOUR), gas: Window::new(DAY) }
    }

    /// Counts a request, before anything is done for it.
    pub(crate) fn count_caller(&mut self, caller: IpAddr, now: Instant) -> Result<(), RelayError> {
        let most = u64::from(self.limits.calls_per_caller);
        self.callers.add(network_of(caller), 1, most, now).map_err(|retry| RelayError::Limited {
            what: "too many requests from this address",
            retry,
        })
    }

    /// Reserves what a call needs, before it is sent.
    pub(crate) fn reserve(
        &mut self,
        id: Address,
        gas: u64,
        now: Instant,
    ) -> Result<(), RelayError> {
        if gas > self.limits.gas_per_call {
            return Err(ChainError::Invalid("the call needs more gas than this relay pays").into());
        }
        let most = u64::from(self.limits.calls_per_id);
        self.ids
            .add(id, 1, most, now)
            .map_err(|retry| RelayError::Limited { what: "too many calls for this id", retry })?;
        self.gas.add((), gas, self.limits.gas_per_day, now).map_err(|retry| {
            self.ids.take_back(id, 1);
            RelayError::Limited { what: "this relay has paid enough for today", retry }
        })
    }

    /// Gives back what a call that was not sent had reserved.
    pub(crate) fn release(&mut self, id: Address, gas: u64) {
        self.ids.take_back(id, 1);
        self.gas.take_back((), gas);
    }

    /// Gas reserved in the day that runs.
    pub(crate) fn gas_today(&self) -> u64 {
        self.gas.counts.get(&()).map_or(0, |(_, gas)| *gas)
    }
}

/// Who has one IPv6 address has at least a /64 of them.
pub(crate) fn network_of(caller: IpAddr) -> IpAddr {
    match caller.to_canonical() {
        IpAddr::V6(address) => {
            let segments = address.segments();
            let network = [segments[0], segments[1], segments[2], segments[3], 0, 0, 0, 0];
            IpAddr::from(network)
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_for_a_window_and_count_networks() {
        let limits = RelayLimits {
            calls_per_caller: 2,
            calls_per_id: 2,
            gas_per_day: 100,
            gas_per_call: 60,
            ..RelayLimits::default()
        };
        let mut spent = Spent::new(limits);
        let now = Instant::now();
        let caller = |text: &str| text.parse::<IpAddr>().expect("an address");
        let mut count = |text: &str, at| spent.count_caller(caller(text), at).is_ok();
        assert!(count("10.0.0.1", now) && count("::ffff:10.0.0.1", now));
        assert!(!count("10.0.0.1", now + HOUR / 2));
        assert!(count("10.0.0.2", now));
        assert!(count("10.0.0.1", now + HOUR));
        assert!(count("2001:db8::1", now) && count("2001:db8::ffff:1", now));
        assert!(!count("2001:db8::2", now) && count("2001:db8:0:1::2", now));

        let (first, second) = (Address::repeat_byte(1), Address::repeat_byte(2));
        assert!(spent.reserve(first, 61, now).is_err());
        assert!(spent.reserve(first, 50, now).is_ok());
        assert!(spent.reserve(second, 51, now).is_err());
        assert!(spent.reserve(first, 10, now).is_ok());
        assert!(spent.reserve(first, 10, now).is_err());
        // What was refused counted for nothing, and what is given back can be had again.
        assert_eq!(spent.gas_today(), 60);
        spent.release(first, 50);
        assert!(spent.reserve(second, 60, now).is_ok() && spent.reserve(second, 30, now).is_ok());
        assert!(spent.reserve(first, 1, now + DAY).is_ok());
        assert_eq!(spent.gas_today(), 1);
    }
}
