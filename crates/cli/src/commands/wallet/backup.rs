//! One encrypted file that brings a profile back.
//!
//! JSON: `version`, `key` (a V3 keystore of a random key under the passphrase) and `sealed` (base64 of the
//! profile's files in a vault under that key). The files stay encrypted under their own passwords inside.

use std::{collections::BTreeMap, path::Path};

use alloy_primitives::Address;
use base64::{Engine, engine::general_purpose::STANDARD};
use galen_chain::words_from_seed;
use galen_crypto::{Keystore, RootSeed, VaultKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    args::{BackupArgs, Globals, RestoreArgs},
    contacts::unix_now,
    error::CliError,
    home::{Home, Lock, Name, create_dir, create_private, read_file, read_text, write_private},
    networks::{Network, Networks},
    profile::Profile,
    settings::Settings,
    ui::Ui,
    unlock::{Keyring, Password, choose_password, read_password_file},
    wallet,
};

const VERSION: u32 = 1;
const OWNER: &str = "owner ";
const LABEL: &str = "galen.backup.v1";

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    key: Keystore,
    sealed: String,
}

/// What is inside.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    name: Name,
    profile: Profile,
    network: Option<Network>,
    /// Text of the keystores: `seed`, unless it is a device's `wallet`, and `owner NAME` of a contract wallet.
    keystores: BTreeMap<String, String>,
    /// The sealed book, in base64.
    book: Option<String>,
    made: u64,
}

/// The result of `galen wallet backup --json` and of `restore`.
#[derive(Debug, Serialize)]
struct Shown {
    profile: Name,
    id: Address,
    file: String,
}

pub(super) fn backup(args: &BackupArgs, globals: &Globals, ui: &Ui) -> Result<(), CliError> {
    let settings = Settings::resolve(globals)?;
    let Some(out) = &args.out else { return show_words(&settings, ui) };
    if out.exists() {
        return Err(CliError::Exists { path: out.display().to_string() });
    }
    let name = settings.profile.value.clone();
    let place = settings.home.value.profile(&name);
    let _alone = Lock::of(&place.settings())?;
    let mut profile = settings.require_profile()?.clone();
    profile.backed_up = Some(unix_now());
    let text = |path: &Path| {
        read_text(path)?.ok_or_else(|| {
            let text = format!("{} is missing", path.display());
            CliError::not_found(text, "`galen doctor` looks at every part of a profile")
        })
    };
    let mut keystores = BTreeMap::from([("seed".to_owned(), text(&place.seed())?)]);
    if profile.device.is_none() {
        keystores.insert("wallet".to_owned(), text(&wallet::locate(&settings)?)?);
    }
    for owner in profile.safe.iter().flat_map(|safe| &safe.owners) {
        let path = wallet::find(&settings.home.value, &owner.account)?;
        keystores.insert(format!("{OWNER}{}", owner.account), text(&path)?);
    }
    let content = Content {
        name: name.clone(),
        profile: profile.clone(),
        network: settings.known.clone(),
        keystores,
        book: read_file(&place.book())?.map(|sealed| STANDARD.encode(sealed)),
        made: unix_now(),
    };
    let passphrase = match &args.passphrase_file {
        Some(path) => {
            let passphrase = read_password_file(path)?;
            wallet::require_strong(&passphrase, args.weak)?;
            passphrase
        }
        None => choose_password(ui, "the backup", args.weak)?,
    };
    create_private(out, seal(&content, &passphrase)?.as_bytes())?;
    profile.write(&place.settings())?;
    let shown = Shown { profile: name, id: profile.id, file: out.display().to_string() };
    if ui.json() { ui.object(&shown) } else { ui.line(&shown.file) }
}

fn seal(content: &Content, passphrase: &Password) -> Result<String, CliError> {
    let failed = |source| CliError::Crypto { doing: "seal the backup", source };
    // A random key has the strength of 32 bytes, and the keystore the cost of a password.
    let key = RootSeed::generate().map_err(failed)?;
    let keystore = Keystore::encrypt(key.expose(), passphrase.as_bytes(), None, wallet::cost()?);
    let text = Zeroizing::new(serde_json::to_vec(content).expect("texts and numbers serialize"));
    let vault = VaultKey::from_bytes(Zeroizing::new(*key.expose()));
    let sealed = STANDARD.encode(vault.seal(LABEL, &text).map_err(failed)?);
    let file = File { version: VERSION, key: keystore.map_err(failed)?, sealed };
    Ok(serde_json::to_string(&file).expect("texts and numbers serialize"))
}

fn unseal(text: &str, passphrase: &Password) -> Result<Content, CliError> {
    let damaged = || CliError::integrity("the backup is damaged", "use another copy of it");
    let file: File = serde_json::from_str(text)
        .map_err(|_| CliError::invalid("this is not a backup of Galen", "choose the right file"))?;
    if file.version != VERSION {
        let text = format!("the backup has version {}", file.version);
        return Err(CliError::invalid(text, "use the release that wrote it"));
    }
    let key = file.key.decrypt(passphrase.as_bytes()).map_err(|_| {
        CliError::invalid(
            "the passphrase does not open the backup",
            "check it; every letter counts",
        )
    })?;
    let sealed = STANDARD.decode(file.sealed).map_err(|_| damaged())?;
    let text = VaultKey::from_bytes(key).open(LABEL, &sealed).map_err(|_| damaged())?;
    serde_json::from_slice(&text).map_err(|_| damaged())
}

pub(super) fn restore(args: &RestoreArgs, globals: &Globals, ui: &Ui) -> Result<(), CliError> {
    let settings = Settings::resolve(globals)?;
    let home = &settings.home.value;
    let text = read_text(&args.file)?.ok_or_else(|| {
        CliError::not_found(format!("there is no file {}", args.file.display()), "check the path")
    })?;
    let passphrase = match &args.passphrase_file {
        Some(path) => read_password_file(path)?,
        None => ui.ask_secret("Passphrase of the backup")?,
    };
    let content = unseal(&text, &passphrase)?;
    // A profile that was named beats the backup's own name; the default does not.
    let name = if settings.profile.origin.is_said_now() {
        settings.profile.value.clone()
    } else {
        content.name.clone()
    };
    put_back(&content, home, &name)?;
    let shown =
        Shown { profile: name, id: content.profile.id, file: args.file.display().to_string() };
    if ui.json() {
        return ui.object(&shown);
    }
    ui.line(&format!("{}\t{:#x}", shown.profile, shown.id))
}

/// Writes everything, the profile's own file last: a profile that is there is whole.
fn put_back(content: &Content, home: &Home, name: &Name) -> Result<(), CliError> {
    let place = home.profile(name);
    let _alone = Lock::of(&place.settings())?;
    if place.settings().exists() {
        return Err(CliError::Exists { path: place.settings().display().to_string() });
    }
    let mut profile = content.profile.clone();
    if let Some(text) = content.keystores.get("wallet") {
        let account = profile.account.clone().unwrap_or_else(|| name.clone());
        put_keystore(home, &account, text)?;
        (profile.account, profile.keystore) = (Some(account), None);
    }
    for (key, text) in &content.keystores {
        if let Some(owner) = key.strip_prefix(OWNER) {
            put_keystore(home, &owner.parse()?, text)?;
        }
    }
    if let Some(text) = content.keystores.get("seed") {
        write_private(&place.seed(), text.as_bytes())?;
    }
    if let Some(book) = &content.book {
        let damaged = |_| CliError::integrity("the backup is damaged", "use another copy of it");
        write_private(&place.book(), &STANDARD.decode(book).map_err(damaged)?)?;
    }
    if let (Some(network), Some(wanted)) = (&content.network, &profile.network) {
        Networks::change(home, |networks| networks.add(wanted.clone(), network.clone()))?;
    }
    profile.write(&place.settings())
}

/// A keystore under its name, where no other has that name.
fn put_keystore(home: &Home, name: &Name, text: &str) -> Result<(), CliError> {
    let path = home.keystore(name);
    match read_text(&path)? {
        Some(there) if there == *text => Ok(()),
        Some(_) => Err(CliError::Exists { path: path.display().to_string() }),
        None => {
            create_dir(&home.keystores())?;
            create_private(&path, text.as_bytes())
        }
    }
}

/// The seed, at a terminal only: what is piped lands in files.
fn show_words(settings: &Settings, ui: &Ui) -> Result<(), CliError> {
    settings.require_profile()?;
    if !ui.can_ask() || ui.json() {
        return Err(CliError::declined(
            "the words are shown at a terminal only",
            "run it at a terminal without --json, or use --out FILE",
        ));
    }
    ui.require_yes("Anybody who sees the words can read every record. Show them now?")?;
    let place = settings.home.value.profile(&settings.profile.value);
    let mut keyring = Keyring::new(ui.clone(), settings.password_file());
    let seed = keyring.unlock(&place.seed(), "the seed of this profile")?;
    let words = words_from_seed(&seed);
    for (at, word) in words.split(' ').enumerate() {
        ui.show(&format!("{:>2}  {word}", at + 1));
    }
    Ok(())
}
