//! Who signs for a profile, and who pays: a keystore, a device, or the owners of a contract wallet.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use alloy_primitives::Address;
use galen_chain::{
    Account, KeySigner, Signer,
    safe::{SafeRules, SafeSigner},
};

use crate::{
    connect::Node,
    error::CliError,
    home::{Home, Name},
    owners::Elsewhere,
    profile::{Device, Profile, SafeOwner, SafeWallet},
    settings::Settings,
    ui::Ui,
    unlock::{Keyring, LockedSigner, read_keystore},
    wallet,
};

/// What signs for a profile.
#[derive(Clone, Debug)]
pub(crate) struct Signers {
    pub(crate) signs: Arc<dyn Signer>,
    /// The account that pays, if it is another one.
    pub(crate) pays: Option<Account>,
    /// The contract wallet whose owners sign.
    pub(crate) wallet: Option<Address>,
}

impl Signers {
    /// Asks the contract wallet of the profile, if it has one, for its owners. Opens no keystore yet.
    pub(crate) async fn of(
        profile: &Profile,
        settings: &Settings,
        node: &Node,
        chain_id: u64,
        keyring: Arc<Mutex<Keyring>>,
        ui: &Ui,
    ) -> Result<Self, CliError> {
        let Some(safe) = &profile.safe else {
            let signs = at_hand(profile, profile.controller(), settings, keyring)?;
            return Ok(Self { signs, pays: None, wallet: None });
        };
        let id = profile.controller();
        let rules = ask(node, id).await?.unwrap_or_else(|| SafeRules {
            owners: safe.owners.iter().map(|owner| owner.address).collect(),
            threshold: safe.threshold,
        });
        let (here, gone): (Vec<_>, Vec<_>) =
            safe.owners.iter().partition(|owner| rules.owners.contains(&owner.address));
        for owner in gone {
            ui.warn(&format!("{} is not an owner of the contract wallet any more", owner.account));
        }
        let wrong = |error: galen_chain::SignError| unusable(id, &error.to_string());
        let (owners, threshold) = (rules.owners.clone(), rules.threshold);
        let mut signer = SafeSigner::new(id, chain_id, owners, threshold).map_err(wrong)?;
        for owner in &here {
            let path = wallet::find(&settings.home.value, &owner.account)?;
            let locked = LockedSigner::new(owner.address, path, keyring.clone());
            let locked = locked.called(format!("the owner {}", owner.account));
            signer = signer.with_signer(Arc::new(locked));
        }
        let others = |owner: &Address| !here.iter().any(|known| known.address == *owner);
        signer = signer.with_elsewhere(Arc::new(Elsewhere {
            ui: ui.clone(),
            owners: rules.owners.into_iter().filter(others).collect(),
            request_out: settings.request_out.clone(),
            signatures: settings.signatures.clone(),
            timeout: settings.timeout.value,
        }));
        let payer = paying(safe, settings, &keyring)?;
        let pays = Account::of_signer(at_hand(profile, payer, settings, keyring)?);
        Ok(Self { signs: Arc::new(signer), pays: Some(pays), wallet: Some(id) })
    }
}

/// The key of an account: on the profile's device, unless a keystore is named, else in the keystore.
fn at_hand(
    profile: &Profile,
    address: Address,
    settings: &Settings,
    keyring: Arc<Mutex<Keyring>>,
) -> Result<Arc<dyn Signer>, CliError> {
    match &profile.device {
        Some(device) if settings.account.is_none() && settings.keystore.is_none() => {
            device_signer(device)
        }
        _ => Ok(Arc::new(LockedSigner::new(address, wallet::locate(settings)?, keyring))),
    }
}

/// The account that pays for a contract wallet: the one that is named now, else the profile's.
fn paying(
    safe: &SafeWallet,
    settings: &Settings,
    keyring: &Mutex<Keyring>,
) -> Result<Address, CliError> {
    let named = settings.account.as_ref().is_some_and(|account| account.origin.is_said_now())
        || settings.keystore.as_ref().is_some_and(|path| path.origin.is_said_now());
    if !named {
        return Ok(safe.payer);
    }
    address_of(&wallet::locate(settings)?, keyring)
}

#[cfg(feature = "hardware")]
fn device_signer(device: &Device) -> Result<Arc<dyn Signer>, CliError> {
    Ok(Arc::new(crate::device::LazyDevice::new(device.clone())))
}

#[cfg(not(feature = "hardware"))]
fn device_signer(_device: &Device) -> Result<Arc<dyn Signer>, CliError> {
    Err(CliError::invalid(
        "the key of this profile is on a device, and this build of galen has no driver",
        "build it with `--features hardware`, or name a keystore with --account",
    ))
}

/// The account of a keystore: as it says in clear, else by opening it.
pub(crate) fn address_of(path: &Path, keyring: &Mutex<Keyring>) -> Result<Address, CliError> {
    if let Some(address) = read_keystore(path)?.address() {
        return Ok(address);
    }
    let mut keyring = keyring.lock().unwrap_or_else(PoisonError::into_inner);
    let secret = keyring.unlock(path, &format!("the wallet {}", path.display()))?;
    let key = KeySigner::from_key(&secret);
    let help = "choose another wallet";
    Ok(key.ok_or_else(|| CliError::invalid("the keystore holds no key", help))?.address())
}

/// Owners, threshold and payer of a contract wallet, as the person names them and the wallet says.
pub(crate) struct Wish<'a> {
    pub(crate) wallet: Address,
    pub(crate) owners: &'a [String],
    pub(crate) threshold: Option<usize>,
    /// Keystore that pays, or the first owner's.
    pub(crate) payer: Option<PathBuf>,
}

impl Wish<'_> {
    /// Checks the wish against the wallet. Without a node, what is said is believed until there is one.
    pub(crate) async fn check(
        &self,
        node: Option<&Node>,
        home: &Home,
        keyring: &Mutex<Keyring>,
    ) -> Result<SafeWallet, CliError> {
        let mut owners = Vec::new();
        for name in self.owners {
            let account: Name = name.parse()?;
            let address = address_of(&wallet::find(home, &account)?, keyring)?;
            owners.push(SafeOwner { account, address });
        }
        let first = owners.first().map(|owner| owner.address);
        let first = first.ok_or_else(|| unusable(self.wallet, "no owner is named"))?;
        let payer = self.payer.as_deref().map(|path| address_of(path, keyring)).transpose()?;
        let rules = match node {
            Some(node) => ask(node, self.wallet).await?,
            None => None,
        };
        let threshold = self.threshold(rules.as_ref())?;
        if let Some(rules) = rules {
            let stranger = owners.iter().find(|owner| !rules.owners.contains(&owner.address));
            if let Some(SafeOwner { account, address }) = stranger {
                let why = format!("{account} ({address:#x}) is not one of its owners");
                return Err(unusable(self.wallet, &why));
            }
        }
        Ok(SafeWallet { threshold, payer: payer.unwrap_or(first), owners })
    }

    fn threshold(&self, rules: Option<&SafeRules>) -> Result<usize, CliError> {
        match (rules.map(|rules| rules.threshold), self.threshold) {
            (Some(says), Some(said)) if says != said => {
                let why = format!("{says} of its owners must sign, not {said}");
                Err(unusable(self.wallet, &why))
            }
            (Some(threshold), _) | (None, Some(threshold)) => Ok(threshold),
            (None, None) => Err(unusable(self.wallet, "it does not say how many owners must sign")),
        }
    }
}

/// Asks a contract wallet for its owners.
pub(crate) async fn ask(node: &Node, wallet: Address) -> Result<Option<SafeRules>, CliError> {
    let failed =
        |source| CliError::Chain { doing: "ask the contract wallet for its owners", source };
    SafeRules::of(node, wallet).await.map_err(failed)
}

fn unusable(wallet: Address, why: &str) -> CliError {
    CliError::invalid(
        format!("the contract wallet {wallet:#x} cannot be used like this: {why}"),
        "check --safe, --owner, --threshold and the network; `galen wallet list` shows the keystores",
    )
}
