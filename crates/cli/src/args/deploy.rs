//! `galen deploy`.

use alloy_primitives::B256;
use galen_chain::{Finality, HistoryMode};

/// Deploy the contracts, or find them: same code, salt and founders give the same address on every chain.
///
/// Safe to repeat. What was deployed goes into the address book of networks and, if the profile has no network
/// yet, into the profile.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    galen deploy --rpc-url http://127.0.0.1:8545 --yes\n  \
    galen deploy --rpc-url https://node.example --account deployer --network test --founder 0x… --founder 0x…\n\n\
    Text output: `key<TAB>value` lines. JSON: network, chain_id, ledger, deployed_in, code_hash, salt, \
    founders, transaction, gas, already_there.")]
pub(crate) struct DeployArgs {
    /// Id of a founding member; may be given several times. Without it: this profile, or the deploying wallet.
    #[arg(long = "founder", value_name = "ID")]
    pub(crate) founders: Vec<String>,
    /// Salt of the deployment; another salt gives another network.
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
    /// Relay that members and patients of the network may use; it goes onto cards.
    #[arg(long, value_name = "URL")]
    pub(crate) public_relay: Option<String>,
}
