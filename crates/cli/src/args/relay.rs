//! `galen relay`.

use std::net::SocketAddr;

use clap::Args;

/// Submit signed messages for others and pay the gas, within limits.
///
/// Callers need no ether and no account here. The relay sends only calls of one ledger that carry
/// signatures, asks the chain first whether the call would be accepted, and sends the same call once. Its
/// wallet must be nobody's in the network: take a fresh one and keep little in it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    galen relay --network pilot --account relay --password-file ./password\n  \
    galen relay --network pilot --account relay --listen 0.0.0.0:8600 --trust-forwarded-for\n  \
    curl -s http://127.0.0.1:8600/v1/status | jq .limits\n\n\
    POST /v1/calls takes {\"chainId\":n,\"to\":\"0x…\",\"data\":\"0x…\"} and answers {\"transaction\":\"0x…\"}. \
    GET /v1/status tells limits and functions, GET /metrics counts for Prometheus. The log on stderr has \
    times, functions, ids, hashes and gas; no signatures.\n\n\
    With --json one object on one line (url, chain_id, ledger, wallet) says that the relay is ready; \
    nothing follows it. Ctrl-C ends it; what is on its way is in the queue and seen to at the next start.")]
pub(crate) struct RelayArgs {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8600")]
    pub(crate) listen: SocketAddr,
    /// Requests of one network address in an hour.
    #[arg(long, value_name = "N", default_value_t = 300)]
    pub(crate) calls_per_caller: u32,
    /// Calls for one signing id in an hour.
    #[arg(long, value_name = "N", default_value_t = 120)]
    pub(crate) calls_per_id: u32,
    /// Gas of one call.
    #[arg(long, value_name = "GAS", default_value_t = 10_000_000)]
    pub(crate) gas_per_call: u64,
    /// Gas of all calls in a day; with the fee ceiling it bounds what a day costs.
    #[arg(long, value_name = "GAS", default_value_t = 500_000_000)]
    pub(crate) gas_per_day: u64,
    /// Most that is paid for one gas [default: the network's max_fee_gwei]
    #[arg(long, value_name = "GWEI")]
    pub(crate) max_fee_gwei: Option<u64>,
    /// Count callers by the last address in X-Forwarded-For. Only behind a reverse proxy that sets it.
    #[arg(long)]
    pub(crate) trust_forwarded_for: bool,
}
