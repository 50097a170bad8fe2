//! `galen proxy`.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, Subcommand};

use crate::when::{Instant, Lifetime};

/// Proxies: they let readers read while the patient is away, and only what is logged on chain.
///
/// An organization serves one. A patient chooses several, of organizations that would not act together:
/// each read needs answers of more than half of them, and no proxy answers before the read is logged.
#[derive(Debug, Subcommand)]
pub(crate) enum ProxyCommand {
    Serve(ProxyServeArgs),
    Add(ProxyAddArgs),
    Remove(ProxyRemoveArgs),
    List(ProxyListArgs),
    Status(ProxyStatusArgs),
    Report(ProxyReportArgs),
}

/// Serve a proxy: keep shares, answer readers whose reads are logged on chain, and nobody else.
///
/// The profile is the proxy's identity: make one for it (`galen init`), with a store that has the records'
/// content. A proxy believes no single node: name several, of people who do not depend on each other.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    galen proxy serve --profile proxy --password-file ./password \\\n    \
      --rpc-url https://node.a.example,https://node.b.example,https://node.c.example\n  \
    galen proxy serve --own-node --rpc-url http://127.0.0.1:8545 --listen 0.0.0.0:8700\n  \
    curl -s http://127.0.0.1:8700/v1/status | jq\n\n\
    The protocol is in docs/protocol.md, section Proxies. GET /healthz answers 200 while the proxy would \
    answer, GET /metrics counts for Prometheus. The log on stderr has times, ids, hashes and causes; no keys.\n\n\
    With --json one object on one line (url, proxy, chain_id, ledger, nodes, quorum, data) says that the \
    proxy is ready; nothing follows it. Ctrl-C ends it; what was acknowledged is on disk.")]
pub(crate) struct ProxyServeArgs {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8700")]
    pub(crate) listen: SocketAddr,
    /// How many nodes must say the same: more than half, and two at least [default: just more than half]
    #[arg(long, value_name = "N", conflicts_with = "own_node")]
    pub(crate) quorum: Option<usize>,
    /// Believe one node, because it is your own and checks the chain itself. A node that lies then decides
    /// what was logged.
    #[arg(long)]
    pub(crate) own_node: bool,
    /// For how long after its log a read is answered.
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub(crate) window: Lifetime,
    /// Answer nobody while the newest block is older than this; `none` only for a development chain, which
    /// stands still.
    #[arg(long, value_name = "TIME", default_value = "10m")]
    pub(crate) max_head_age: HeadAge,
    /// Where shares and the journal are kept [default: proxy/ in the profile's folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Count callers by the last address in X-Forwarded-For. Only behind a reverse proxy that sets it.
    #[arg(long)]
    pub(crate) trust_forwarded_for: bool,
}

/// How old the newest block may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadAge(pub(crate) Option<Duration>);

impl FromStr for HeadAge {
    type Err = galen_types::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self(None));
        }
        let age: Lifetime = text.parse()?;
        Ok(Self(Some(Duration::from_secs(age.seconds()))))
    }
}

/// Add a proxy: for a patient one that new consents go through, for a reader one that is asked.
///
/// Shares are sealed to the key that the contact published. What answers at the URL must say that it is
/// the contact.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen proxy add st-anna https://proxy.st-anna.example\n  \
    galen proxy add st-anna https://proxy.st-anna.example --threshold 2\n  \
    galen proxy add 0x91b0…3c7e http://127.0.0.1:8700 --as mine\n\n\
    Consents that were granted before are not changed: `galen consent rotate` brings them to the new set.\n\n\
    Text output as of `galen proxy list`.")]
pub(crate) struct ProxyAddArgs {
    /// Who serves it: contact or id.
    #[arg(value_name = "CONTACT")]
    pub(crate) contact: String,
    /// Where it answers.
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    /// What to call it [default: the contact's alias]
    #[arg(long = "as", value_name = "ALIAS")]
    pub(crate) alias: Option<String>,
    /// How many of all proxies must answer for a read [default: more than half]
    #[arg(long, value_name = "N")]
    pub(crate) threshold: Option<u8>,
}

/// Take a proxy out of the set. It keeps the shares of consents that are live.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  galen proxy remove st-anna\n  galen consent rotate\n\n\
    `galen consent rotate` makes what it holds worth nothing for new records, and then for all.\n\n\
    Text output as of `galen proxy list`.")]
pub(crate) struct ProxyRemoveArgs {
    /// The proxy: alias or id.
    #[arg(value_name = "PROXY")]
    pub(crate) proxy: String,
}

/// List the proxies.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  galen proxy list\n  galen proxy list --json | jq .threshold\n\n\
    Text output, separated by tabs: alias, id, URL, then on a line of its own `needed` and how many of \
    how many must answer."
)]
pub(crate) struct ProxyListArgs {}

/// Ask proxies how they stand.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  galen proxy status\n  galen proxy status https://proxy.st-anna.example\n\n\
    Exits 6 if fewer proxies of the set would answer than a read needs; of those that are named, if one \
    would not.\n\n\
    Text output, separated by tabs: alias or id, `ok`, `fault` or `silent`, URL, newest block, its final \
    block, nodes that must agree and nodes, window in seconds, what is wrong."
)]
pub(crate) struct ProxyStatusArgs {
    /// Aliases, ids or URLs. Without any: all that you know.
    #[arg(value_name = "PROXY")]
    pub(crate) proxies: Vec<String>,
}

/// Ask your proxies what they served and refused, and hold it against the chain. For patients.
///
/// Each report is signed by its proxy. What was served must be on the chain: a line without a logged read
/// means that the proxy broke the rules. Refused attempts are nowhere else: this part rests on the word of
/// each proxy.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  galen proxy report\n  galen proxy report --since 2027-05-20 --json\n\n\
    Exits 5 if a proxy says that it served what is not logged, or its signature does not hold; 6 if a \
    proxy does not answer.\n\n\
    Text output, separated by tabs: proxy, time, `served`, `refused` or `unlogged`, reader, record id, \
    consent id, cause, how often; for a proxy without a report `silent` or `forged` and why."
)]
pub(crate) struct ProxyReportArgs {
    /// Only what happened since then (UTC).
    #[arg(long, value_name = "DATE")]
    pub(crate) since: Option<Instant>,
}
