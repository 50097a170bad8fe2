//! `galen deploy`.

use alloy_primitives::B256;
use std::path::PathBuf;

use galen_chain::{Finality, HistoryMode, verification::Verifier};

/// Deploy the contracts, or find them: same code, salt and founders give the same address on every chain.
///
/// Safe to repeat. What was deployed goes into the address book of networks and, if the profile has no network
/// yet, into the profile.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    galen deploy --rpc-url http://127.0.0.1:8545 --yes\n  \
    galen deploy --rpc-url https://node.example --account deployer --network test --founder 0x… --founder 0x…\n  \
    galen deploy --rpc-url https://node.example --verify https://sourcify.dev/server\n  \
    galen deploy --rpc-url https://node.example --verifier etherscan --verify https://api.etherscan.io/v2/api \
    --verify-key-file key.txt\n\n\
    Verification of sources was tried with services on loopback, never with a public one. The code names no \
    hash of its sources, so that Sourcify says `match`, not `exact_match`.\n\n\
    Text output: `key<TAB>value` lines. JSON: network, chain_id, ledger, deployed_in, code_hash, salt, \
    founders, transaction, gas, already_there, contract_name, compiler, constructor_arguments, \
    source_match (exact_match, match, verified, already_verified, or null).")]
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
    /// Block of a ledger that is already there, for a node that keeps neither old state nor old logs.
    #[arg(long, value_name = "BLOCK")]
    pub(crate) deployed_in: Option<u64>,
    /// Speak to nodes and relays on other machines without encryption: only inside a VPN.
    #[arg(long)]
    pub(crate) allow_plain_http: bool,
    /// Write the compiler's standard JSON input to a file, for those who verify what was deployed.
    #[arg(long, value_name = "FILE")]
    pub(crate) verification_input: Option<PathBuf>,
    /// Have the sources verified by this service, also of a ledger that is already there.
    #[arg(long, value_name = "URL")]
    pub(crate) verify: Option<String>,
    /// What the service speaks: `sourcify` or `etherscan`.
    #[arg(long, value_name = "KIND", default_value_t = Verifier::Sourcify, requires = "verify")]
    pub(crate) verifier: Verifier,
    /// File with the key for the service; nobody else may read it.
    #[arg(long, value_name = "FILE", requires = "verify")]
    pub(crate) verify_key_file: Option<PathBuf>,
}
