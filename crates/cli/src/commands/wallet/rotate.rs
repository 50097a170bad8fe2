//! `galen wallet rotate`: another wallet signs for the profile's id from now on.

use std::process::ExitCode;

use alloy_primitives::Address;
use galen_chain::{Account, KeySigner, Signer};
use serde::Serialize;

use crate::{
    args::{Globals, RotateArgs},
    commands::shown::{Landed, landed, sending},
    error::CliError,
    home::{Lock, Name},
    session::Session,
    settings::Settings,
    ui::Ui,
    unlock::Keyring,
    wallet,
};

/// The result of `galen wallet rotate --json`.
#[derive(Debug, Serialize)]
struct Rotated {
    id: Address,
    account: Name,
    controller: Address,
    /// `false`: the id has guardians, and the change waits as long as they said.
    done: bool,
    /// `None`: the chain had it already.
    sent: Option<Landed>,
}

pub(super) async fn rotate(
    args: &RotateArgs,
    globals: &Globals,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    let settings = Settings::resolve(globals)?;
    let name: Name = args.to.parse()?;
    let path = wallet::find(&settings.home.value, &name)?;
    let session = Session::open(globals, ui).await?;
    let secret =
        Keyring::new(ui.clone(), settings.password_file()).unlock(&path, "the new wallet")?;
    let successor = KeySigner::from_key(&secret).ok_or_else(|| {
        CliError::invalid("the keystore holds no key", "choose another wallet, or make one")
    })?;
    let (id, controller) = (session.id(), successor.address());

    let chain = |source| CliError::Chain { doing: "ask who signs", source };
    let ledger = session.galen().ledger();
    // A run that was cut off after the chain took it is finished by running it again.
    let mut sent = None;
    if ledger.participant(id).await.map_err(chain)?.controller != controller {
        // The person is asked once, by the wallet before: both sign the same message.
        let account = Account::new(successor);
        let work = session.rotate(&account);
        let done = sending(ui, "hand the id to the new wallet", work).await?;
        sent = Some(landed(&session, &done).await?);
    }
    let done = ledger.participant(id).await.map_err(chain)?.controller == controller;
    if done {
        let place = session.place();
        let _alone = Lock::of(&place.settings())?;
        let mut profile = Settings::resolve(globals)?.require_profile()?.clone();
        profile.account = Some(name.clone());
        // Nor is it a device's or a contract wallet's any more.
        (profile.keystore, profile.device, profile.safe) = (None, None, None);
        profile.controller = (controller != id).then_some(controller);
        profile.write(&place.settings())?;
    }
    let rotated = Rotated { id, account: name, controller, done, sent };
    if ui.json() {
        ui.object(&rotated)?;
    } else {
        let state = if rotated.done { "rotated" } else { "waiting" };
        ui.line(&format!("{id:#x}\t{state}\t{}\t{controller:#x}", rotated.account))?;
    }
    Ok(ExitCode::SUCCESS)
}
