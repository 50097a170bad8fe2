//! The old id, with the new wallet and the old seed.

use std::sync::{Arc, Mutex, PoisonError};

use alloy_primitives::Address;
use galen_sdk::{Role, fingerprint};
use serde::Serialize;

use super::pieces;
use crate::{
    args::{Globals, RecoveryRestoreArgs},
    commands::shown::waiting,
    error::CliError,
    home::{Lock, Name, ProfileDir},
    profile::Profile,
    session::Session,
    settings::Settings,
    ui::Ui,
    unlock::Keyring,
    wallet,
};

/// The result of `galen recovery restore --json`.
#[derive(Debug, Serialize)]
struct Restored {
    profile: Name,
    id: Address,
    /// Who signs for the id now.
    controller: Address,
    role: Role,
    /// Words that contacts know the id by: the same as before.
    fingerprint: Option<String>,
    /// Whether contacts and consents came back from the archive.
    book: bool,
}

pub(super) async fn run(
    args: &RecoveryRestoreArgs,
    session: &Session,
    globals: &Globals,
    keyring: Arc<Mutex<Keyring>>,
    ui: &Ui,
) -> Result<(), CliError> {
    let id = session.resolve(&args.id)?;
    let name: Name = args.into.parse()?;
    let claimant = session.claimant(id);
    pieces::take(&args.take, &claimant, session)?;
    let place = session.settings().home.value.profile(&name);
    if !is_of(&place, id)? {
        let given = pieces::gather(&claimant, session, ui).await?;
        let seed = waiting(ui, "put the seed together", claimant.restore(&given)).await?;
        let controller = claimant.account().controller();
        write(&place, id, controller, seed.expose(), session, &keyring)?;
    }
    let globals = Globals { profile: Some(name.to_string()), ..globals.clone() };
    let restored = Session::open_with(Settings::resolve(&globals)?, keyring, ui).await?;
    let book = restored.restore_book().await?;
    let bundle = restored.published_bundle().await?;
    let shown = Restored {
        profile: name,
        id,
        controller: claimant.account().controller(),
        role: restored.role(),
        fingerprint: bundle.map(|bundle| fingerprint(id, bundle)),
        book,
    };
    tell(book, ui);
    shown.print(ui)
}

/// Whether the profile is there already, of this id: a run that was cut off is run again.
fn is_of(place: &ProfileDir, id: Address) -> Result<bool, CliError> {
    match Profile::read(&place.settings())? {
        None => Ok(false),
        Some(profile) if profile.id == id => Ok(true),
        Some(_) => Err(CliError::Exists { path: place.settings().display().to_string() }),
    }
}

/// The seed first, the settings last: without them there is no profile yet.
fn write(
    place: &ProfileDir,
    id: Address,
    controller: Address,
    seed: &[u8; 32],
    session: &Session,
    keyring: &Mutex<Keyring>,
) -> Result<(), CliError> {
    let _alone = Lock::of(&place.settings())?;
    let mut profile = session.settings().require_profile()?.clone();
    profile.id = id;
    profile.controller = Some(controller);
    profile.backed_up = None;
    let mut keyring = keyring.lock().unwrap_or_else(PoisonError::into_inner);
    if place.seed().exists() {
        // Of a run that was cut off, or of something else that must not be lost.
        let there = keyring.unlock(&place.seed(), "the seed that is there already")?;
        if *there != *seed {
            return Err(CliError::Exists { path: place.seed().display().to_string() });
        }
    } else {
        let password = keyring.new_password("the seed", false)?;
        wallet::write_keystore(&place.seed(), seed, &password, None)?;
    }
    profile.write(&place.settings())
}

/// What came back, what did not, and what is still in danger.
fn tell(book: bool, ui: &Ui) {
    ui.show("Back: the id, and the seed. Everything that was ever sealed to it opens again.");
    ui.show(if book {
        "Back: contacts and consents, as they stood when they were last archived."
    } else {
        "Not back: contacts and the terms of consents. No archive of the private book was found."
    });
    ui.show("Not back: what was only on the lost device, such as drafts and journals of imports.");
    ui.show(
        "In danger: the seed is the one that you had. Whoever has the lost device and its password can still open \
         what they get hold of. The old wallet signs for nothing any more.",
    );
    ui.show("Now: `galen wallet backup`, and `galen guardian pieces --anew` or new guardians.");
}

impl Restored {
    fn print(&self, ui: &Ui) -> Result<(), CliError> {
        if ui.json() {
            return ui.object(self);
        }
        for (key, value) in [
            ("profile", self.profile.as_str()),
            ("id", &format!("{:#x}", self.id)),
            ("controller", &format!("{:#x}", self.controller)),
            ("role", self.role.as_str()),
            ("fingerprint", self.fingerprint.as_deref().unwrap_or("-")),
            ("book", crate::table::yes(self.book)),
        ] {
            ui.line(&format!("{key}\t{value}"))?;
        }
        Ok(())
    }
}
