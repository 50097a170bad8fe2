//! Who must have signed: an id, a card, or a contact of the profile.

use std::{path::Path, sync::Mutex};

use alloy_primitives::Address;
use galen_sdk::Card;
use galen_types::LedgerId;

use crate::{
    book::BookFile,
    code::{Code, Kind},
    error::CliError,
    session::unlock_seed,
    settings::Settings,
    ui::Ui,
    unlock::Keyring,
};

/// Who is expected, and where their network is, if a card says so.
pub(super) struct Expected {
    pub(super) id: Address,
    pub(super) name: Option<String>,
    pub(super) ledger: Option<LedgerId>,
    pub(super) deployed_in: Option<u64>,
}

/// Only a contact needs the profile and its password.
pub(super) fn expected(text: &str, settings: &Settings, ui: &Ui) -> Result<Expected, CliError> {
    if let Ok(id) = text.parse() {
        return Ok(Expected { id, name: None, ledger: None, deployed_in: None });
    }
    if text.contains(':') && !text.starts_with("mrn:") || Path::new(text).is_file() {
        let code = Code::read(text, &[Kind::Card])?;
        let card = Card::decode(&code.bytes)
            .map_err(|source| CliError::Sdk { doing: "read the card", source })?;
        let (ledger, deployed_in) = (Some(card.ledger), Some(card.deployed_in));
        return Ok(Expected { id: card.id, name: Some(card.name), ledger, deployed_in });
    }
    let profile = settings.require_profile()?;
    let place = settings.home.value.profile(&settings.profile.value);
    let keyring = Mutex::new(Keyring::new(ui.clone(), settings.password_file()));
    let keys = unlock_seed(&place, &keyring)?.pseudonym(profile.id);
    let id = BookFile::new(place, &keys).read()?.resolve(text)?;
    Ok(Expected { id, name: Some(text.to_owned()), ledger: None, deployed_in: None })
}
