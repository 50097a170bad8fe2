//! Settings of one profile: one person or organization under one id on one network.

use std::path::{Path, PathBuf};

use alloy_primitives::Address;
use galen_sdk::Role;
use serde::{Deserialize, Serialize};

use crate::{
    error::CliError,
    home::{Name, write_private},
    places::{Routes, Tables},
    settings::read_toml,
    stores::Stores,
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
    /// Keystore by name. Exactly one of `account`, `keystore` and `device` is set. Of a contract wallet it is
    /// the keystore that pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<Name>,
    /// Keystore by path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keystore: Option<PathBuf>,
    /// The account of the keystore, where it is not the id: after a rotation, or behind a contract wallet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) controller: Option<Address>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<Stores>,
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
    /// Rules of the site, instead of `site.toml` in the profile's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) site: Option<PathBuf>,
    /// Whether an organization keeps a sealed copy of its own of what it seals. Without it: yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) copies: Option<bool>,
    /// Unix second of the last backup of this profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) backed_up: Option<u64>,
    /// The device that holds the key, instead of a keystore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<Device>,
    /// The id is a contract wallet, and these owners of it sign here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) safe: Option<SafeWallet>,
    /// Places that lists may name.
    #[serde(default, skip_serializing_if = "Tables::is_empty")]
    pub(crate) stores: Tables,
    /// Where new content of a category goes, instead of `store`.
    #[serde(default, skip_serializing_if = "Routes::is_empty")]
    pub(crate) content: Routes,
}

/// `[safe]`: a contract wallet and those of its owners whose keystores are on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SafeWallet {
    /// How many owners must sign, as the wallet said when the profile was made. What it says now counts.
    pub(crate) threshold: usize,
    /// The account that pays where no relay does: a contract wallet cannot.
    pub(crate) payer: Address,
    pub(crate) owners: Vec<SafeOwner>,
}

/// An owner of the contract wallet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SafeOwner {
    /// Keystore by name.
    pub(crate) account: Name,
    pub(crate) address: Address,
}

/// `[device]`: a hardware wallet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Device {
    pub(crate) kind: DeviceKind,
    /// Account of the device: m/44'/60'/INDEX'/0/0.
    pub(crate) index: usize,
    pub(crate) address: Address,
}

/// The hardware wallets that there are drivers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DeviceKind {
    Ledger,
    Trezor,
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

    /// The account that pays where no relay does.
    pub(crate) fn payer(&self) -> Address {
        self.safe.as_ref().map_or_else(|| self.controller(), |safe| safe.payer)
    }
}
