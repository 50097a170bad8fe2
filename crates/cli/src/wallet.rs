//! Keystores: where they lie, and how new ones are made.

use std::path::{Path, PathBuf};

use alloy_primitives::Address;
use galen_chain::{KeySigner, Signer};
use galen_crypto::{Keystore, keystore::Cost};
use zxcvbn::{Score, zxcvbn};

use crate::{
    error::CliError,
    home::{Home, Name, cast_keystores, create_dir, create_private},
    settings::Settings,
    unlock::{Password, read_keystore},
};

/// Longest password whose strength is estimated whole, in bytes; what is behind only adds to it.
const MAX_ESTIMATED_LEN: usize = 100;

/// The keystore that signs.
pub(crate) fn locate(settings: &Settings) -> Result<PathBuf, CliError> {
    match (&settings.keystore, &settings.account) {
        (Some(path), _) => Ok(path.value.clone()),
        (None, Some(name)) => find(&settings.home.value, &name.value),
        (None, None) => Err(CliError::invalid(
            "no wallet is named",
            "use --account or --keystore; `galen wallet list` shows the wallets",
        )),
    }
}

/// A keystore by name: in Galen's folder, else in cast's.
pub(crate) fn find(home: &Home, name: &Name) -> Result<PathBuf, CliError> {
    let places = [Some(home.keystores()), cast_keystores()];
    let found = places
        .into_iter()
        .flatten()
        .map(|folder| folder.join(name.as_str()))
        .find(|path| path.is_file());
    found.ok_or_else(|| {
        CliError::not_found(
            format!("there is no wallet {name}"),
            "`galen wallet list` shows the wallets; `galen wallet new` makes one",
        )
    })
}

/// A keystore that is there.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) name: Name,
    /// As the file says in clear; cast's files do not say.
    pub(crate) address: Option<Address>,
    pub(crate) path: PathBuf,
}

/// Keystores in Galen's folder, then those of cast's that are not hidden by one of the same name.
pub(crate) fn list(home: &Home) -> Result<Vec<Found>, CliError> {
    let mut found: Vec<Found> = Vec::new();
    for folder in [Some(home.keystores()), cast_keystores()].into_iter().flatten() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        let mut here: Vec<Found> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|name: &Name| !found.iter().any(|known| known.name == *name))
            .map(|name| (folder.join(name.as_str()), name))
            .filter_map(|(path, name)| {
                let keystore = read_keystore(&path).ok()?;
                Some(Found { name, address: keystore.address(), path })
            })
            .collect();
        here.sort_by(|one, other| one.name.cmp(&other.name));
        found.append(&mut here);
    }
    Ok(found)
}

/// Keeps a key under a name that must be free.
pub(crate) fn create(
    home: &Home,
    name: &Name,
    key: &KeySigner,
    password: &Password,
) -> Result<PathBuf, CliError> {
    let path = home.keystore(name);
    if path.exists() {
        return Err(CliError::Exists { path: path.display().to_string() });
    }
    create_dir(&home.keystores())?;
    write_keystore(&path, &key.export_key(), password, Some(key.address()))?;
    Ok(path)
}

/// Writes a new V3 keystore.
pub(crate) fn write_keystore(
    path: &Path,
    secret: &[u8; 32],
    password: &Password,
    address: Option<Address>,
) -> Result<(), CliError> {
    let failed = |source| CliError::Crypto { doing: "encrypt the secret", source };
    let keystore =
        Keystore::encrypt(secret, password.as_bytes(), address, cost()?).map_err(failed)?;
    create_private(path, keystore.to_json().as_bytes())
}

/// N = 2^17. Debug builds let tests choose less, by a variable that release builds do not know of.
pub(crate) fn cost() -> Result<Cost, CliError> {
    #[cfg(debug_assertions)]
    if let Some(log_n) = std::env::var("GALEN_TEST_SCRYPT_LOG_N").ok().and_then(|n| n.parse().ok())
    {
        let failed = |source| CliError::Crypto { doing: "choose the cost", source };
        return Cost::from_log_n(log_n).map_err(failed);
    }
    Ok(Cost::default())
}

/// Refuses a password that a stolen file would not withstand.
pub(crate) fn require_strong(password: &str, weak: bool) -> Result<(), CliError> {
    if password.is_empty() {
        return Err(CliError::invalid("the password is empty", "choose a password"));
    }
    if weak {
        return Ok(());
    }
    let estimated = password.get(..MAX_ESTIMATED_LEN).unwrap_or(password);
    let entropy = zxcvbn(estimated, &["galen"]);
    if entropy.score() >= Score::Three {
        return Ok(());
    }
    let warning = entropy.feedback().and_then(|feedback| feedback.warning());
    let why = warning.map_or_else(String::new, |warning| format!(": {warning}"));
    let text = format!("the password is too easy to guess{why}");
    Err(CliError::invalid(text, "choose four or more unusual words; --weak accepts it as it is"))
}
