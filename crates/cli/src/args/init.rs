//! `galen init`.

use std::path::PathBuf;

use alloy_primitives::Address;
use galen_sdk::Role;

/// Set up a profile: a wallet, a seed of all other keys, a network; publish the keys.
///
/// One profile is one person or organization under one id on one network. At a terminal what is missing is asked;
/// elsewhere an error names the flag. Safe to repeat: what is there is kept, what is missing is done.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(after_help = "Examples:\n  \
    galen init --from st-anna.png                      a patient, from a hospital's card\n  \
    galen init --role organization --name \"St Anna\"    then: galen deploy, or galen network add\n  \
    galen init --profile b --sibling-of a --from b.txt  the same person at another hospital\n  \
    galen init --role organization --safe 0x… --owner ward --owner board --network test
  \
    galen init --restore --account me --from card.txt   on a new machine, from wallet and seed words\n\n\
    Text output: `key<TAB>value` lines. JSON: profile, id, role, network, keys_published, fingerprint, \
    contact, restored.")]
pub(crate) struct InitArgs {
    /// patient, organization or reader.
    #[arg(long, value_name = "ROLE", value_parser = role)]
    pub(crate) role: Option<Role>,
    /// What contacts are shown on your card; never on chain.
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// Take network, node, relay and a first contact from a card: file, PNG, line of text, or `-`.
    #[arg(long, value_name = "CARD")]
    pub(crate) from: Option<String>,
    /// What to call the owner of that card.
    #[arg(long = "as", value_name = "ALIAS", requires = "from")]
    pub(crate) alias: Option<String>,
    /// Share the seed of another profile: one person, two ids that nobody can link.
    #[arg(long, value_name = "PROFILE", conflicts_with = "restore")]
    pub(crate) sibling_of: Option<String>,
    /// Rebuild a profile from its wallet (--account or --keystore) and its 24 seed words.
    #[arg(long)]
    pub(crate) restore: bool,
    /// Private file with the seed words; without it they are asked.
    #[arg(long, value_name = "FILE", requires = "restore")]
    pub(crate) seed_words_file: Option<PathBuf>,
    /// The id is a contract wallet (a Safe); its owners sign. It cannot pay: a relay does, or --account, or the
    /// first owner.
    #[arg(long, value_name = "ADDRESS", requires = "owners", conflicts_with = "restore")]
    pub(crate) safe: Option<Address>,
    /// Keystore of an owner on this machine; may be given several times. Owners elsewhere use `galen wallet sign`.
    #[arg(long = "owner", value_name = "NAME", requires = "safe")]
    pub(crate) owners: Vec<String>,
    /// How many owners must sign, if the contract wallet does not say so itself.
    #[arg(long, value_name = "K", requires = "safe")]
    pub(crate) threshold: Option<usize>,
    /// The key is on a Ledger.
    #[cfg(feature = "hardware")]
    #[arg(long, conflicts_with_all = ["trezor", "restore"])]
    pub(crate) ledger: bool,
    /// The key is on a Trezor, which can pay for a contract wallet, but not sign messages.
    #[cfg(feature = "hardware")]
    #[arg(long, requires = "safe")]
    pub(crate) trezor: bool,
    /// Account of the device: m/44'/60'/INDEX'/0/0.
    #[cfg(feature = "hardware")]
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    pub(crate) mnemonic_index: usize,
    /// Accept a weak password.
    #[arg(long)]
    pub(crate) weak: bool,
    /// Accept a contract that is not this release's.
    #[arg(long)]
    pub(crate) trust_code: bool,
    /// Do not publish the keys yet.
    #[arg(long)]
    pub(crate) no_publish: bool,
}

/// A role by its word.
pub(crate) fn role(text: &str) -> Result<Role, String> {
    let roles = [Role::Patient, Role::Organization, Role::Reader];
    let found = roles.into_iter().find(|role| role.as_str() == text);
    found.ok_or_else(|| "expected patient, organization or reader".to_owned())
}
