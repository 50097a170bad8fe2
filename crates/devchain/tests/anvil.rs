//! The same signed transactions to this chain and to anvil: same status, gas, logs, addresses,
//! revert data, balances, nonces, code and storage.
//!
//! `GALEN_ANVIL` names the program. Without it the test says that it was skipped, or fails if
//! `GALEN_REQUIRE_ANVIL` is 1. `GALEN_ANVIL_COUNT` (default 10,000) and `GALEN_ANVIL_SEED` (default 1)
//! change what is sent.
#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a skipped test says so, and one that cannot go on panics"
)]

mod common;

use alloy::primitives::U256;
use common::{
    anvil::{self, Anvil},
    config, key,
    random::{self, Counts, Node},
};
use galen_devchain::DevChain;
use serde_json::json;

/// Pairs of chains that run beside each other, each with a seed of its own.
const PAIRS: u64 = 4;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

fn embedded() -> Node {
    let mut config = config();
    config.accounts.extend((20..30).map(|seed| (key(seed).address(), U256::ONE)));
    let chain = DevChain::in_memory(config);
    Box::new(move |method, params| {
        chain.request(method, params).map_err(|error| {
            json!({ "code": error.code, "message": error.message, "data": error.data.unwrap_or_default() })
        })
    })
}

#[test]
fn anvil_agrees_on_random_transactions() {
    let Some(program) = anvil::program() else { return };
    let seed = setting("GALEN_ANVIL_SEED", 1);
    let count = setting("GALEN_ANVIL_COUNT", 10_000).div_ceil(PAIRS);
    let counts: Vec<Counts> = std::thread::scope(|scope| {
        let run = |pair| random::compare(embedded(), Anvil::start(&program), seed + pair, count);
        let pairs: Vec<_> = (0..PAIRS).map(|pair| scope.spawn(move || run(pair))).collect();
        pairs.into_iter().map(|pair| pair.join().unwrap()).collect()
    });
    let mut all = Counts::new();
    for ((what, outcome), count) in counts.into_iter().flatten() {
        *all.entry((what, outcome)).or_default() += count;
    }
    for ((what, outcome), count) in &all {
        eprintln!("{count:5} {what}: {outcome}");
    }
    // Enough of each, or the comparison says little.
    let total = |outcome| random::total(&all, outcome);
    assert!(total("done") > 100 && total("failed") > 50 && total("refused") > 10);
}
