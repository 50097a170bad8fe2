//! `galen init`: from nothing to a profile that is ready.
//!
//! Each step looks for what is there before it makes anything, and the profile's own file is written last, so
//! that a run that was cut off is simply run again.

use std::{
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use alloy_primitives::Address;
use galen_chain::{KeySigner, Signer, seed_from_words};
use galen_crypto::RootSeed;
use galen_sdk::{Card, Role, fingerprint};
use serde::Serialize;

#[cfg(feature = "hardware")]
use crate::profile::DeviceKind;
use crate::{
    args::{Globals, InitArgs, role},
    code::{Code, Kind},
    commands::block_on,
    connect::{self, Claim},
    contacts::{self, Wish},
    error::CliError,
    home::{Lock, Name, ProfileDir, read_text, write_private},
    networks::Networks,
    profile::{Device, Profile, SafeWallet},
    session::Session,
    settings::{Config, Settings},
    signers::Wish as SafeWish,
    stores::{Offer, Stores},
    ui::Ui,
    unlock::Keyring,
    wallet,
};

/// What marks a directory as a content store.
const STORE_MARKER: &str = "galen-store";

pub(crate) fn run(args: &InitArgs, globals: &Globals, ui: &Ui) -> Result<ExitCode, CliError> {
    block_on(async {
        let settings = Settings::resolve(globals)?;
        let keyring = Keyring::new(ui.clone(), settings.password_file());
        let keyring = Arc::new(Mutex::new(keyring));
        let place = settings.home.value.profile(&settings.profile.value);
        let alone = Lock::of(&place.settings())?;
        let card = args.from.as_deref().map(read_card).transpose()?;
        let mut init = Init {
            args,
            settings: &settings,
            card: card.as_ref(),
            ui,
            place: &place,
            safe: None,
            device: None,
        };
        let network = init.network().await?;
        init.device = match &settings.file {
            Some(there) => there.device.clone(),
            None => init.find_device().await?,
        };
        init.safe = init.find_safe(network.as_ref(), &keyring).await?;
        let profile = {
            let mut keyring = keyring.lock().unwrap_or_else(PoisonError::into_inner);
            init.profile(network, &mut keyring)?
        };
        init.choose_default()?;
        drop(alone);
        let shown = init.go_online(globals, profile, keyring).await?;
        shown.print(ui)?;
        Ok(ExitCode::SUCCESS)
    })
}

/// The result of `galen init --json`.
#[derive(Debug, Serialize)]
struct Shown {
    profile: Name,
    id: Address,
    role: Role,
    network: Option<Name>,
    keys_published: bool,
    /// Words to compare; once the keys are published.
    fingerprint: Option<String>,
    /// The alias under which the card's owner is known.
    contact: Option<String>,
    /// Whether contacts and consents came back from the archive.
    restored: bool,
}

impl Shown {
    fn print(&self, ui: &Ui) -> Result<(), CliError> {
        if ui.json() {
            return ui.object(self);
        }
        let yes = |is: bool| if is { "yes" } else { "no" };
        for (key, value) in [
            ("profile", self.profile.as_str()),
            ("id", &format!("{:#x}", self.id)),
            ("role", self.role.as_str()),
            ("network", self.network.as_ref().map_or("-", Name::as_str)),
            ("keys_published", yes(self.keys_published)),
            ("fingerprint", self.fingerprint.as_deref().unwrap_or("-")),
            ("contact", self.contact.as_deref().unwrap_or("-")),
            ("restored", yes(self.restored)),
        ] {
            ui.line(&format!("{key}\t{value}"))?;
        }
        Ok(())
    }
}

struct Init<'a> {
    args: &'a InitArgs,
    settings: &'a Settings,
    card: Option<&'a Card>,
    ui: &'a Ui,
    place: &'a ProfileDir,
    safe: Option<SafeWallet>,
    device: Option<Device>,
}

impl Init<'_> {
    /// The network's name in the address book: from the card, else the one that is set.
    async fn network(&self) -> Result<Option<Name>, CliError> {
        let settings = self.settings;
        let Some(card) = self.card else {
            let named = settings.network.as_ref().map(|name| name.value.clone());
            if named.is_some() {
                settings.require_network()?;
            }
            return Ok(named);
        };
        let claim = Claim::of_card(card, settings)?;
        self.show_card(card, &claim);
        let (network, ledger) = claim.check(settings, self.args.trust_code, self.ui).await?;
        let failed = |source| CliError::Sdk { doing: "check the card", source };
        card.verify(&ledger).await.map_err(failed)?;
        let is_known = settings.known.as_ref().is_some_and(|known| known.is_same_ledger(&network));
        if !is_known {
            self.ui.require_yes("Join this network?")?;
        }
        let wanted = settings.network.as_ref().map(|name| &name.value);
        connect::keep(&settings.home.value, wanted, network).map(Some)
    }

    fn show_card(&self, card: &Card, claim: &Claim) {
        let shown = |url: &String| crate::settings::shown_url(url);
        self.ui.show(&format!("Card of {}, {}", galen_chain::clear::inert(&card.name), card.role));
        self.ui.show(&format!("  id        {:#x}", card.id));
        self.ui.show(&format!("  network   {}", card.ledger));
        let nodes: Vec<_> = claim.rpc_urls.iter().map(shown).collect();
        self.ui.show(&format!("  node      {}", nodes.join(" ")));
        let relay = claim.relay.as_ref().map_or("none: you pay the gas".to_owned(), shown);
        self.ui.show(&format!("  relay     {relay}"));
        for source in Offer::of(&card.store).sources {
            self.ui.show(&format!("  read from {}", source.shown()));
        }
        self.ui.show(&format!("  words     {}", card.fingerprint()));
        self.ui.show("Compare the words with them, not by the channel that brought the card.");
    }

    /// The profile's settings: those that are there, else new ones.
    fn profile(&self, network: Option<Name>, keyring: &mut Keyring) -> Result<Profile, CliError> {
        if let Some(there) = &self.settings.file {
            return self.complete(there.clone(), network);
        }
        let role = self.role()?;
        let name = match &self.args.name {
            Some(name) => name.clone(),
            None if self.ui.can_ask() => self.ui.ask(
                "Your name on cards (never on chain; may be empty)",
                Some(""),
                "--name",
            )?,
            None => String::new(),
        };
        let (account, keystore, controller) = match (&self.safe, &self.device) {
            (Some(safe), _) => self.payer(safe)?,
            (None, Some(device)) => (None, None, device.address),
            (None, None) => self.wallet(keyring)?,
        };
        self.seed(keyring, controller)?;
        let profile = Profile {
            id: controller,
            role,
            name,
            network,
            account,
            keystore,
            controller: None,
            store: Some(self.store()?),
            rpc_url: None,
            relay: None,
            password_file: None,
            timeout: None,
            site: None,
            copies: None,
            backed_up: None,
            device: self.device.clone(),
            safe: self.safe.clone(),
            stores: Default::default(),
            content: Default::default(),
        };
        profile.write(&self.place.settings())?;
        Ok(profile)
    }

    /// What is there stays; what was missing is added.
    fn complete(&self, mut there: Profile, network: Option<Name>) -> Result<Profile, CliError> {
        let name = &self.settings.profile.value;
        if self.args.role.is_some_and(|role| role != there.role) {
            return Err(CliError::invalid(
                format!("profile {name} is a {}'s", there.role),
                "choose another name with --profile",
            ));
        }
        if self.args.safe.is_some_and(|safe| there.safe.is_none() || safe != there.id) {
            return Err(CliError::invalid(
                format!("profile {name} is not that contract wallet's"),
                "choose another name with --profile",
            ));
        }
        // Other owners on this machine than before.
        if let Some(safe) = self.safe.as_ref().filter(|safe| there.safe.as_ref() != Some(safe)) {
            (there.account, there.keystore, _) = self.payer(safe)?;
            there.safe = Some(safe.clone());
            there.write(&self.place.settings())?;
        }
        match (&there.network, network) {
            (Some(set), Some(other)) if *set != other => {
                return Err(CliError::invalid(
                    format!("profile {name} is on network {set}, not on {other}"),
                    "one profile is one id on one network: choose another name with --profile",
                ));
            }
            (None, Some(network)) => {
                there.network = Some(network);
                there.write(&self.place.settings())?;
            }
            _ => {}
        }
        self.ui.status(&format!("Profile {name} is there; what is missing is done now."));
        Ok(there)
    }

    fn role(&self) -> Result<Role, CliError> {
        match (self.args.role, self.card) {
            (Some(role), _) => Ok(role),
            // Whoever starts from somebody's card is a patient, unless they say otherwise.
            (None, Some(_)) if !self.ui.can_ask() => Ok(Role::Patient),
            (None, _) => {
                let question = "Who are you: patient, organization or reader";
                let answer = self.ui.ask(question, Some("patient"), "--role")?;
                role(&answer)
                    .map_err(|text| CliError::invalid(text, "answer with one of the three"))
            }
        }
    }

    /// The wallet that signs: a named one, else one called like the profile, which is made if it is not there.
    fn wallet(&self, keyring: &mut Keyring) -> Result<Wallet, CliError> {
        let settings = self.settings;
        let home = &settings.home.value;
        let name = settings.account.as_ref().map(|name| name.value.clone());
        let own = settings.profile.value.clone();
        let named = name.is_some() || settings.keystore.is_some();
        let path = match (&settings.keystore, &name) {
            (Some(path), _) => path.value.clone(),
            (None, Some(name)) => wallet::find(home, name)?,
            (None, None) => home.keystore(&own),
        };
        if !named && !path.is_file() {
            if self.args.restore {
                let help =
                    "name the wallet with --account or --keystore; `galen wallet import` makes one";
                return Err(CliError::invalid("a profile is restored with its old wallet", help));
            }
            let key = KeySigner::random();
            let password = keyring.new_password("wallet and seed", self.args.weak)?;
            wallet::create(home, &own, &key, &password)?;
            return Ok((Some(own), None, key.address()));
        }
        let secret = keyring.unlock(&path, "the wallet")?;
        let key = KeySigner::from_key(&secret).ok_or_else(|| {
            CliError::invalid("the keystore holds no key", "choose another wallet")
        })?;
        match &settings.keystore {
            Some(_) => Ok((None, Some(absolute(&path)?), key.address())),
            None => Ok((Some(name.unwrap_or(own)), None, key.address())),
        }
    }

    /// Who owns the contract wallet, if the id is to be one.
    async fn find_safe(
        &self,
        network: Option<&Name>,
        keyring: &Mutex<Keyring>,
    ) -> Result<Option<SafeWallet>, CliError> {
        let Some(wallet) = self.args.safe else { return Ok(None) };
        let (settings, home) = (self.settings, &self.settings.home.value);
        let networks = Networks::read(home)?;
        let known = network.and_then(|name| networks.get(name));
        let said = settings.rpc_urls.as_ref().filter(|urls| urls.origin.is_said_now());
        let urls = said.map(|urls| &urls.value).or(known.map(|known| &known.rpc_urls));
        let chain_id = known.map(|known| known.chain_id);
        let node = urls.map(|urls| connect::node(settings, urls, chain_id)).transpose()?;
        let payer = match &settings.account {
            _ if settings.keystore.is_some() => {
                settings.keystore.as_ref().map(|it| it.value.clone())
            }
            Some(name) => Some(wallet::find(home, &name.value)?),
            None => None,
        };
        let (owners, threshold) = (self.args.owners.as_slice(), self.args.threshold);
        let wish = SafeWish { wallet, owners, threshold, payer };
        let mut safe = wish.check(node.as_ref(), home, keyring).await?;
        if let Some(device) = &self.device {
            safe.payer = device.address;
        }
        Ok(Some(safe))
    }

    /// The keystore that pays for the contract wallet, and the wallet's address.
    fn payer(&self, safe: &SafeWallet) -> Result<Wallet, CliError> {
        let id = self.args.safe.unwrap_or_default();
        let settings = self.settings;
        match (&self.device, &settings.keystore, &settings.account) {
            (Some(_), _, _) => Ok((None, None, id)),
            (None, Some(path), _) => Ok((None, Some(absolute(&path.value)?), id)),
            (None, None, Some(name)) => Ok((Some(name.value.clone()), None, id)),
            (None, None, None) => Ok((safe.owners.first().map(|it| it.account.clone()), None, id)),
        }
    }

    /// The device that holds the key, if one is asked for.
    #[cfg(feature = "hardware")]
    async fn find_device(&self) -> Result<Option<Device>, CliError> {
        let kind = match (self.args.ledger, self.args.trezor) {
            (true, _) => DeviceKind::Ledger,
            (_, true) => DeviceKind::Trezor,
            _ => return Ok(None),
        };
        let index = self.args.mnemonic_index;
        self.ui.status("Looking for the device; unlock it, and open the Ethereum app of a Ledger.");
        let failed = |source: galen_chain::SignError| CliError::Chain {
            doing: "find the device",
            source: source.into(),
        };
        let found = crate::device::open(kind, index).await.map_err(failed)?;
        Ok(Some(Device { kind, index, address: found.address() }))
    }

    #[cfg(not(feature = "hardware"))]
    async fn find_device(&self) -> Result<Option<Device>, CliError> {
        Ok(None)
    }

    /// The root seed, under the wallet's password: the one that is there, a sibling's, restored, or new.
    fn seed(&self, keyring: &mut Keyring, controller: Address) -> Result<(), CliError> {
        let path = self.place.seed();
        if path.is_file() {
            keyring.unlock(&path, "the seed of this profile")?;
            return Ok(());
        }
        let seed = if let Some(sibling) = &self.args.sibling_of {
            self.sibling_seed(sibling, keyring, controller)?
        } else if self.args.restore {
            let words = match &self.args.seed_words_file {
                Some(file) => crate::commands::wallet::read_secret(file)?,
                None => self.ui.ask_secret("The 24 words of the seed")?,
            };
            let seed = seed_from_words(&words).map_err(|error| {
                CliError::invalid(error.to_string(), "check each of the 24 words and their order")
            })?;
            RootSeed::from_bytes(*seed)
        } else {
            let failed = |source| CliError::Crypto { doing: "make the seed", source };
            RootSeed::generate().map_err(failed)?
        };
        let password = keyring.new_password("wallet and seed", self.args.weak)?;
        wallet::write_keystore(&path, seed.expose(), &password, None)
    }

    fn sibling_seed(
        &self,
        sibling: &str,
        keyring: &mut Keyring,
        controller: Address,
    ) -> Result<RootSeed, CliError> {
        let name: Name = sibling.parse()?;
        let place = self.settings.home.value.profile(&name);
        let profile = Profile::read(&place.settings())?.ok_or_else(|| {
            CliError::not_found(format!("there is no profile {name}"), "check --sibling-of")
        })?;
        if profile.id == controller {
            return Err(CliError::invalid(
                "both profiles would have the same id",
                "use another wallet: leave --account out, or import another --mnemonic-index",
            ));
        }
        let secret = keyring.unlock(&place.seed(), &format!("the seed of profile {name}"))?;
        Ok(RootSeed::from_bytes(*secret))
    }

    /// The stores that are set, and what the card offers to read from. A directory of the card is taken if it is a
    /// store that is there already: a card must not make this machine write anywhere.
    fn store(&self) -> Result<Stores, CliError> {
        let set = &self.settings.store;
        if set.origin.is_said_now() {
            return set.value.clone().absolute();
        }
        let offered = self.card.map(|card| Offer::of(&card.store)).unwrap_or_default();
        let there = offered.directory.filter(|path| path.join(STORE_MARKER).is_file());
        let own = there.map_or_else(|| set.value.clone(), Stores::local);
        own.absolute().map(|own| own.and(offered.sources))
    }

    /// The first profile is the one that is meant where none is named.
    fn choose_default(&self) -> Result<(), CliError> {
        let path = self.settings.home.value.config();
        let _alone = Lock::of(&path)?;
        if read_text(&path)?.is_some() {
            return Ok(());
        }
        let config = Config { default: Some(self.settings.profile.value.clone()) };
        let text = toml::to_string(&config).expect("a name always serializes");
        write_private(&path, text.as_bytes())
    }

    /// Publishes the keys, takes the card's owner into the book, brings an archived book back.
    async fn go_online(
        &self,
        globals: &Globals,
        profile: Profile,
        keyring: Arc<Mutex<Keyring>>,
    ) -> Result<Shown, CliError> {
        let mut shown = Shown {
            profile: self.settings.profile.value.clone(),
            id: profile.id,
            role: profile.role,
            network: profile.network.clone(),
            keys_published: false,
            fingerprint: None,
            contact: None,
            restored: false,
        };
        if profile.network.is_none() || self.args.no_publish {
            return Ok(shown);
        }
        let session = Session::open_with(Settings::resolve(globals)?, keyring, self.ui).await?;
        if self.args.restore {
            shown.restored = session.restore_book().await?;
        }
        session.publish_keys().await?;
        let bundle = session.published_bundle().await?;
        shown.keys_published = bundle.is_some();
        shown.fingerprint = bundle.map(|bundle| fingerprint(profile.id, bundle));
        if let Some(card) = self.card.filter(|card| card.id != profile.id) {
            let wish = Wish { alias: self.args.alias.clone(), ..Wish::default() };
            let contact = contacts::add_card(&session, card, &wish, self.ui).await?;
            shown.contact = Some(contact.alias);
        }
        session.finish().await;
        Ok(shown)
    }
}

/// Name or path of the keystore, and its account.
type Wallet = (Option<Name>, Option<std::path::PathBuf>, Address);

fn absolute(path: &std::path::Path) -> Result<std::path::PathBuf, CliError> {
    std::path::absolute(path)
        .map_err(|source| CliError::Read { path: path.display().to_string(), source })
}

fn read_card(source: &str) -> Result<Card, CliError> {
    let code = Code::read(source, &[Kind::Card])?;
    Card::decode(&code.bytes).map_err(|source| CliError::Sdk { doing: "read the card", source })
}
