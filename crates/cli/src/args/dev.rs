//! `galen dev`.

use std::{net::SocketAddr, path::PathBuf};

use alloy_primitives::Address;
use clap::{Args, Subcommand};

/// Serve the embedded development chain as JSON-RPC, for several processes and browser wallets.
///
/// It is a development chain: one proposer, one block for each transaction, no fee market, no pending
/// pool. The ten accounts of Hardhat and anvil are funded and unlocked; everybody knows their keys.
/// Ctrl-C ends it; what was acknowledged with `--dir` is on disk.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  galen dev\n  galen dev --dir ./chain --fund 0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC\n  \
    galen dev --json | head -1 | jq -r .url\n  galen dev fund 0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC\n\n\
    With --json one object on one line (url, chain_id, accounts, directory) says that the chain is \
    ready; nothing follows it.\n\n\
    Pages of this machine and browser extensions may call the standard methods (eth_, net_, web3_). \
    Methods that move the clock or the head (evm_, dev_) are for programs, which send no Origin, and \
    for origins named by --allow-origin."
)]
pub(crate) struct DevArgs {
    #[command(subcommand)]
    pub(crate) command: Option<DevCommand>,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8545")]
    pub(crate) listen: SocketAddr,
    /// Keep the chain in this directory. Without it the chain is in memory and ends with the process.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Chain id (EIP-155).
    #[arg(long, value_name = "N", default_value_t = galen_devchain::DEFAULT_CHAIN_ID)]
    pub(crate) chain_id: u64,
    /// Give 10,000 ether to this account in the genesis block. With `--dir`: the same ones each time.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) fund: Vec<Address>,
    /// Mine an empty block every so many seconds, beside one for each transaction.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) block_time: Option<u64>,
    /// Let pages of this origin call every method, as in `https://app.example`.
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) allow_origin: Vec<String>,
    /// Listen where others than this machine can reach it: anybody there owns the chain.
    #[arg(long)]
    pub(crate) i_know: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DevCommand {
    /// Send ether from the first unlocked account of a development node to ADDRESS.
    ///
    /// Works with `galen dev`, anvil and `geth --dev`. Refuses the chain ids of real networks and
    /// nodes elsewhere than on this machine; `--yes` allows the latter.
    #[command(after_help = "Examples:\n  \
        galen dev fund 0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC\n  \
        galen dev fund 0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC --amount 0.5 --rpc-url http://127.0.0.1:8546\n\n\
        Text output: address, transaction, balance in wei; separated by tabs.")]
    Fund {
        /// Who gets it.
        address: Address,
        /// In ether.
        #[arg(long, value_name = "ETHER", default_value = "10")]
        amount: String,
    },
}
