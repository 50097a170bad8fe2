//! `galen network`.

use alloy_primitives::{Address, B256};
use clap::Subcommand;
use galen_chain::{Finality, HistoryMode};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// List the networks of the address book.
    #[command(after_help = "Examples:\n  galen network list\n\n\
        Text output: name, chain id, ledger, deployed in, finality, nodes (without what may be secret); \
        separated by tabs.")]
    List,
    /// Add a network, or change how a known one is reached, after asking the chain.
    ///
    /// The contract must be this release's: its address is computed anew from the code, the salt and the
    /// founders that its first block names.
    #[command(after_help = "Examples:\n  galen network add test --from card.txt\n  \
        galen network add test --ledger 0x… --deployed-in 123 --rpc-url https://node.example\n  \
        galen network add test --finality 12 --history logs\n  \
        galen network add clinic --from card.txt --allow-plain-http\n\nText output: name, chain id, ledger; \
        separated by tabs.")]
    Add(AddNetworkArgs),
    /// Remove a network from the address book.
    #[command(after_help = "Examples:\n  galen network remove test --yes")]
    Remove(RemoveNetworkArgs),
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct AddNetworkArgs {
    /// Name in the address book.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Take everything from a card: file, PNG, line of text, or `-`.
    #[arg(long, value_name = "CARD", conflicts_with_all = ["ledger", "deployed_in", "salt"])]
    pub(crate) from: Option<String>,
    /// Address of the health ledger.
    #[arg(long, value_name = "ADDRESS", requires = "deployed_in")]
    pub(crate) ledger: Option<Address>,
    /// Block of its deployment.
    #[arg(long, value_name = "BLOCK")]
    pub(crate) deployed_in: Option<u64>,
    /// Salt of its deployment.
    #[arg(long, value_name = "HASH", default_value_t = B256::ZERO)]
    pub(crate) salt: B256,
    /// When a block is final: `finalized`, `instant` or a number of blocks.
    #[arg(long, value_name = "WHEN")]
    pub(crate) finality: Option<Finality>,
    /// How the history is read: `blocks` (proves that nothing is left out) or `logs` (long public chains).
    #[arg(long, value_name = "HOW")]
    pub(crate) history: Option<HistoryMode>,
    /// Highest fee in gwei per gas that the wallet pays.
    #[arg(long, value_name = "GWEI")]
    pub(crate) max_fee_gwei: Option<u64>,
    /// What the chain's coin is called.
    #[arg(long, value_name = "NAME")]
    pub(crate) currency: Option<String>,
    /// Speak to nodes and relays on other machines without encryption: only inside a VPN.
    ///
    /// `--allow-plain-http=false` takes it back.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) allow_plain_http: Option<bool>,
    /// Accept a contract that is not this release's.
    #[arg(long)]
    pub(crate) trust_code: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RemoveNetworkArgs {
    /// Name in the address book.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}
