//! Settings of one profile: one person or organization under one id on one network.

use std::path::{Path, PathBuf};

use alloy_primitives::Address;
use galen_sdk::Role;
use serde::{Deserialize, Serialize};

use crate::{
    error::CliError,
    home::{Name, write_private},
    settings::{StoreSpec, read_toml},
};

/// `profile.toml`. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// The id: a patient's pseudonym, an organization, a reader.
    pub(crate) id: Address,
    pub(crate) role: Role,
    /// What contacts are shown. A patient's stays on this machine and in the cards they hand out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    /// Name in the address book of networks; none before `galen deploy` or a card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) network: Option<Name>,
    /// Keystore by name. Exactly one of `account` and `keystore` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<Name>,
    /// Keystore by path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keystore: Option<PathBuf>,
    /// The account of the keystore, where it is not the id: after a rotation, or behind a contract wallet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) controller: Option<Address>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<StoreSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rpc_url: Option<String>,
    /// `none`: the wallet pays, whatever the network says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) relay: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) password_file: Option<PathBuf>,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<u64>,
    /// Unix second of the last backup of this profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) backed_up: Option<u64>,
}

impl Profile {
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, CliError> {
        read_toml(path)
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), CliError> {
        let text = toml::to_string(self).expect("strings and numbers always serialize");
        write_private(path, text.as_bytes())
    }

    /// The account whose signature counts.
    pub(crate) fn controller(&self) -> Address {
        self.controller.unwrap_or(self.id)
    }
}
