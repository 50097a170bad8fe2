//! What proxies answer: whatever happens, nothing without a log under a live consent in the final chain.
#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a simulation says what it saw, and a test that cannot go on panics"
)]

#[path = "proxies/attacks.rs"]
mod attacks;
#[path = "proxies/lies.rs"]
mod lies;
#[path = "proxies/play.rs"]
mod play;
#[path = "proxies/race.rs"]
mod race;
#[path = "proxies/simulation.rs"]
mod simulation;
#[path = "proxies/steps.rs"]
mod steps;
#[path = "proxies/truth.rs"]
mod truth;
#[path = "proxies/vault.rs"]
mod vault;
#[path = "proxies/whole.rs"]
mod whole;
#[path = "proxies/world.rs"]
mod world;
