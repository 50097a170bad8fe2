//! `galen wallet`: keys, backups.

mod backup;
mod rotate;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use alloy_primitives::Address;
use galen_chain::{KeySigner, Signer, key_from_mnemonic};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    args::{Globals, ImportWalletArgs, WalletCommand},
    code::{Code, Kind},
    commands::{block_on, sign::sign},
    error::CliError,
    home::{Name, open_to_others, read_text},
    session::Session,
    settings::Settings,
    ui::Ui,
    unlock::Keyring,
    wallet,
};

pub(crate) fn run(
    command: &WalletCommand,
    globals: &Globals,
    ui: &Ui,
) -> Result<ExitCode, CliError> {
    match command {
        WalletCommand::New(args) => new(&args.name, args.weak, globals, ui)?,
        WalletCommand::Import(args) => import(args, globals, ui)?,
        WalletCommand::List => list(globals, ui)?,
        WalletCommand::Backup(args) => backup::backup(args, globals, ui)?,
        WalletCommand::Restore(args) => backup::restore(args, globals, ui)?,
        WalletCommand::Sign(args) => block_on(async {
            let line = Code::read(&args.request, &[Kind::Sign])?.to_string();
            sign(&Session::open(globals, ui).await?, ui, &line).await
        })?,
        WalletCommand::Archive => block_on(archive(globals, ui))?,
        WalletCommand::Rotate(args) => return block_on(rotate::rotate(args, globals, ui)),
    }
    Ok(ExitCode::SUCCESS)
}

/// One wallet, as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    name: Name,
    address: Option<Address>,
    file: PathBuf,
}

impl Shown {
    fn print(&self, ui: &Ui) -> Result<(), CliError> {
        let address = self.address.map_or("-".to_owned(), |address| format!("{address:#x}"));
        ui.line(&format!("{}\t{address}\t{}", self.name, self.file.display()))
    }
}

fn new(name: &str, weak: bool, globals: &Globals, ui: &Ui) -> Result<(), CliError> {
    keep(name, weak, globals, ui, |_| Ok(KeySigner::random()))
}

fn import(args: &ImportWalletArgs, globals: &Globals, ui: &Ui) -> Result<(), CliError> {
    keep(&args.name, args.weak, globals, ui, |keyring| {
        if let Some(path) = &args.from {
            let secret = keyring.unlock(path, "the old keystore")?;
            return KeySigner::from_key(&secret).ok_or_else(not_a_key);
        }
        let what = if args.mnemonic { "Words of the mnemonic" } else { "Private key in hex" };
        let secret = match &args.secret_file {
            Some(path) => read_secret(path)?,
            None => ui.ask_secret(what)?,
        };
        if args.mnemonic {
            return key_from_mnemonic(secret.trim(), args.mnemonic_index).map_err(|error| {
                CliError::invalid(error.to_string(), "check each word and their order")
            });
        }
        let mut key = Zeroizing::new([0; 32]);
        let digits = secret.trim();
        let digits = digits.strip_prefix("0x").unwrap_or(digits);
        hex::decode_to_slice(digits, key.as_mut_slice()).map_err(|_| not_a_key())?;
        KeySigner::from_key(&key).ok_or_else(not_a_key)
    })
}

fn keep(
    name: &str,
    weak: bool,
    globals: &Globals,
    ui: &Ui,
    key: impl FnOnce(&mut Keyring) -> Result<KeySigner, CliError>,
) -> Result<(), CliError> {
    let settings = Settings::resolve(globals)?;
    let (home, name) = (&settings.home.value, name.parse::<Name>()?);
    if home.keystore(&name).exists() {
        return Err(CliError::Exists { path: home.keystore(&name).display().to_string() });
    }
    let mut keyring = Keyring::new(ui.clone(), settings.password_file());
    let key = key(&mut keyring)?;
    let password = keyring.new_password(&format!("the wallet {name}"), weak)?;
    let file = wallet::create(home, &name, &key, &password)?;
    let shown = Shown { name, address: Some(key.address()), file };
    if ui.json() { ui.object(&shown) } else { shown.print(ui) }
}

fn not_a_key() -> CliError {
    CliError::invalid("not a private key", "a key is 64 hex digits, with or without 0x")
}

/// A secret in a file that only its owner reads.
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<String>, CliError> {
    if open_to_others(path).is_some() {
        let text = format!("others on this machine can read {}", path.display());
        return Err(CliError::invalid(text, "make it private: chmod 600"));
    }
    let text = read_text(path)?.map(Zeroizing::new);
    text.ok_or_else(|| {
        CliError::not_found(format!("there is no file {}", path.display()), "check the path")
    })
}

/// The result of `galen wallet list --json`.
#[derive(Debug, Serialize)]
struct List {
    wallets: Vec<Shown>,
}

fn list(globals: &Globals, ui: &Ui) -> Result<(), CliError> {
    let settings = Settings::resolve(globals)?;
    let wallets: Vec<Shown> = wallet::list(&settings.home.value)?
        .into_iter()
        .map(|wallet::Found { name, address, path }| Shown { name, address, file: path })
        .collect();
    if ui.json() {
        return ui.object(&List { wallets });
    }
    wallets.iter().try_for_each(|wallet| wallet.print(ui))
}

/// The result of `galen wallet archive --json`.
#[derive(Debug, Serialize)]
struct Archived {
    /// Whether there was something new to keep.
    archived: bool,
}

async fn archive(globals: &Globals, ui: &Ui) -> Result<(), CliError> {
    let session = Session::open(globals, ui).await?;
    let archived = session.archive().await?;
    if ui.json() {
        return ui.object(&Archived { archived });
    }
    ui.line(if archived { "archived" } else { "unchanged" })
}
