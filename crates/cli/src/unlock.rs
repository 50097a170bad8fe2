//! Passwords and what they open.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use alloy_primitives::{Address, Bytes};
use async_trait::async_trait;
use galen_chain::{KeySigner, SignError, Signer, SigningRequest, TransactionToSign};
use galen_crypto::Keystore;
use zeroize::Zeroizing;

use crate::{
    error::CliError,
    home::{open_to_others, read_text},
    ui::Ui,
    wallet::require_strong,
};

/// How often a person may mistype.
const MAX_TRIES: usize = 3;

/// A password; wiped when dropped.
pub(crate) type Password = Zeroizing<String>;

/// Opens keystores: with the password file, or by asking. One password is asked for once, and tried on every
/// keystore before another is asked for.
#[derive(Debug)]
pub(crate) struct Keyring {
    ui: Ui,
    file: Option<PathBuf>,
    known: Vec<Secret>,
}

struct Secret(Password);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Keyring {
    pub(crate) const fn new(ui: Ui, file: Option<PathBuf>) -> Self {
        Self { ui, file, known: Vec::new() }
    }

    /// A password for something new: from the password file, else typed twice. Remembered.
    pub(crate) fn new_password(&mut self, what: &str, weak: bool) -> Result<Password, CliError> {
        if let Some(Secret(password)) = self.known.first() {
            return Ok(password.clone());
        }
        let password = match &self.file {
            Some(file) => {
                let password = read_password_file(file)?;
                require_strong(&password, weak)?;
                password
            }
            None => choose_password(&self.ui, what, weak)?,
        };
        self.known.push(Secret(password.clone()));
        Ok(password)
    }

    /// The 32 secret bytes of a keystore. `what` says to the person which one.
    pub(crate) fn unlock(
        &mut self,
        path: &Path,
        what: &str,
    ) -> Result<Zeroizing<[u8; 32]>, CliError> {
        let keystore = read_keystore(path)?;
        if self.known.is_empty()
            && let Some(file) = &self.file
        {
            self.known.push(Secret(read_password_file(file)?));
        }
        for Secret(password) in &self.known {
            if let Some(secret) = attempt(&keystore, password, path)? {
                return Ok(secret);
            }
        }
        let wrong = || {
            CliError::invalid(
                format!("the password does not open {}", path.display()),
                "check the password; if the file is damaged, `galen wallet restore` a backup",
            )
        };
        if self.file.is_some() {
            return Err(wrong());
        }
        for _ in 0..MAX_TRIES {
            let password = self.ui.ask_secret(&format!("Password of {what}"))?;
            if let Some(secret) = attempt(&keystore, &password, path)? {
                self.known.push(Secret(password));
                return Ok(secret);
            }
            self.ui.status("That password does not open it.");
        }
        Err(wrong())
    }
}

/// Asks for a password that does not exist yet: twice, and again while it is weak.
pub(crate) fn choose_password(ui: &Ui, what: &str, weak: bool) -> Result<Password, CliError> {
    for _ in 0..MAX_TRIES {
        let password = ui.ask_secret(&format!("New password of {what}"))?;
        if let Err(error) = require_strong(&password, weak) {
            ui.status(&format!("{error}; {}.", error.help()));
            continue;
        }
        if *ui.ask_secret("The same again")? == *password {
            return Ok(password);
        }
        ui.status("The two differ.");
    }
    Err(CliError::declined("no password was chosen", "think of one and run it again"))
}

fn attempt(
    keystore: &Keystore,
    password: &str,
    path: &Path,
) -> Result<Option<Zeroizing<[u8; 32]>>, CliError> {
    match keystore.decrypt(password.as_bytes()) {
        Ok(secret) => Ok(Some(secret)),
        Err(galen_crypto::Error::Password) => Ok(None),
        Err(source) => Err(keystore_error(path, source)),
    }
}

/// Reads a V3 keystore.
pub(crate) fn read_keystore(path: &Path) -> Result<Keystore, CliError> {
    let text = read_text(path)?.ok_or_else(|| {
        CliError::not_found(
            format!("there is no keystore {}", path.display()),
            "`galen wallet list` shows the keystores that are there",
        )
    })?;
    Keystore::from_json(&text).map_err(|source| keystore_error(path, source))
}

fn keystore_error(path: &Path, source: galen_crypto::Error) -> CliError {
    CliError::invalid(
        format!("cannot use the keystore {}: {source}", path.display()),
        "choose a V3 keystore, as `cast wallet import` and geth write them",
    )
}

/// The password in a file: its first line. Refused if others can read it.
pub(crate) fn read_password_file(path: &Path) -> Result<Password, CliError> {
    let help = "check --password-file and ETH_PASSWORD, which names a file";
    read_secret_file(path, "password file", help)
}

/// What a file holds that only its owner may read, without the end of the line.
pub(crate) fn read_secret_file(
    path: &Path,
    what: &str,
    help: &str,
) -> Result<Zeroizing<String>, CliError> {
    if let Some(mode) = open_to_others(path) {
        return Err(CliError::invalid(
            format!("others on this machine can read the {what} {}", path.display()),
            format!("its mode is {mode:o}; make it private: chmod 600"),
        ));
    }
    let text = read_text(path)?.map(Zeroizing::new).ok_or_else(|| {
        let text = format!("there is no {what} {}", path.display());
        CliError::not_found(text, help)
    })?;
    Ok(Zeroizing::new(text.trim_end().to_owned()))
}

/// A keystore that is opened when the first signature is needed, so that looking does not cost a password.
#[derive(Clone, Debug)]
pub(crate) struct LockedSigner {
    address: Address,
    path: PathBuf,
    /// What the person calls it.
    what: String,
    keyring: Arc<Mutex<Keyring>>,
    opened: Arc<OnceLock<KeySigner>>,
}

impl LockedSigner {
    pub(crate) fn new(address: Address, path: PathBuf, keyring: Arc<Mutex<Keyring>>) -> Self {
        let what = "the wallet".to_owned();
        Self { address, path, what, keyring, opened: Arc::default() }
    }

    /// The same, asked for by another name.
    pub(crate) fn called(self, what: String) -> Self {
        Self { what, ..self }
    }

    /// The key; asks for the password the first time.
    pub(crate) fn key(&self) -> Result<&KeySigner, CliError> {
        // Whoever holds the lock asks; the others wait for the answer.
        let mut keyring = self.keyring.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = self.opened.get() {
            return Ok(key);
        }
        let secret = keyring.unlock(&self.path, &self.what)?;
        let help = "the keystore must hold the key of the account that the profile names";
        let key = KeySigner::from_key(&secret)
            .ok_or_else(|| CliError::invalid("the keystore holds no key", help))?;
        if key.address() != self.address {
            let text =
                format!("the keystore is of {:#x}, not of {:#x}", key.address(), self.address);
            return Err(CliError::invalid(text, help));
        }
        Ok(self.opened.get_or_init(|| key))
    }

    fn unlocked(&self) -> Result<&KeySigner, SignError> {
        // scrypt takes half a second, and the person their time: other tasks go on meanwhile.
        tokio::task::block_in_place(|| self.key()).map_err(|error| match error {
            CliError::Told { kind: galen_types::ErrorKind::Declined, .. } => SignError::Declined,
            error => SignError::Refused(error.to_string()),
        })
    }
}

#[async_trait]
impl Signer for LockedSigner {
    fn address(&self) -> Address {
        self.address
    }

    async fn sign(&self, request: &SigningRequest) -> Result<Bytes, SignError> {
        self.unlocked()?.sign(request).await
    }

    async fn sign_transaction(
        &self,
        transaction: &mut TransactionToSign,
    ) -> Result<alloy_primitives::Signature, SignError> {
        self.unlocked()?.sign_transaction(transaction).await
    }
}
