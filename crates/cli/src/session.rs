//! A profile at work: settings resolved, secrets unlocked, the right contract on the right chain.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use alloy_primitives::{Address, Bytes};
use galen_chain::{Account, Fees, Payer, Queue, RelayOptions, Sent, Waiting};
use galen_crypto::RootSeed;
use galen_fhir::parts::SigningPolicy;
use galen_index::{HistoryOptions, Progress};
use galen_sdk::{
    Card, Claimant, Copies, Galen, Grantee, Guarded, Guardian, Identity, MAX_PLACE_LEN,
    Organization, Patient, Role, SignedDocument,
};
use galen_storage::{Notice, Storage};
use galen_types::{KeyBundleId, Plaintext};

use crate::{
    args::Globals,
    book::{Book, BookFile},
    connect,
    contacts::unix_now,
    error::CliError,
    home::ProfileDir,
    networks::Network,
    settings::Settings,
    signers::Signers,
    signing::{Asking, Known},
    site::Site,
    ui::Ui,
    unlock::Keyring,
};

/// One profile on its network.
#[derive(Debug)]
pub(crate) struct Session {
    settings: Settings,
    network: Network,
    role: Role,
    name: String,
    identity: Identity,
    ui: Ui,
    galen: Galen,
    book_file: BookFile,
    book: Arc<RwLock<Arc<Book>>>,
    asking: Asking,
    payer: Payer,
    node: connect::Node,
}

impl Session {
    /// As [`Session::open_with`], with a keyring of its own.
    pub(crate) async fn open(globals: &Globals, ui: &Ui) -> Result<Self, CliError> {
        let settings = Settings::resolve(globals)?;
        let keyring = Keyring::new(ui.clone(), settings.password_file());
        Self::open_with(settings, Arc::new(Mutex::new(keyring)), ui).await
    }

    /// Opens the profile: reads settings, asks for the password of the seed, connects, and refuses a chain or a
    /// contract that the address book does not know. The wallet is unlocked at the first signature.
    pub(crate) async fn open_with(
        settings: Settings,
        keyring: Arc<Mutex<Keyring>>,
        ui: &Ui,
    ) -> Result<Self, CliError> {
        let profile = settings.require_profile()?.clone();
        let (network_name, network) = settings.require_network()?;
        let (network_name, network) = (network_name.clone(), network.clone());
        let place = settings.home.value.profile(&settings.profile.value);
        let seed = unlock_seed(&place, &keyring)?;
        let keys = seed.pseudonym(profile.id);
        let book_file = BookFile::new(place, &keys);
        let book = Arc::new(RwLock::new(Arc::new(book_file.read()?)));
        let name = network_name.as_str();
        let known = Known::new(profile.id, keys.clone(), book.clone(), name, &network);

        let urls = settings.rpc_urls.as_ref().map(|urls| urls.value.as_slice()).unwrap_or_default();
        let node = connect::node(&settings, urls, Some(network.chain_id))?;
        let ledger = connect::ledger(&node, &network);
        let ledger = ui.waiting("the node to answer", ledger).await?;
        let Signers { signs, pays, wallet } =
            Signers::of(&profile, &settings, &node, network.chain_id, keyring, ui).await?;
        let asking = Asking::new(signs, ui.clone(), known).for_wallet(wallet);
        let account = Account::new(asking.clone()).for_id(profile.id);
        let identity = Identity::new(account.clone(), &seed);

        let payer = payer(&settings, &network, &node, pays.as_ref().unwrap_or(&account), ui)?;
        let ledger = ledger.with_payer(payer.clone());
        let storage = settings.open_stores(ui).await?;
        let history = HistoryOptions {
            mode: network.history,
            directory: Some(settings.home.value.cache()),
            finality: network.finality,
            progress: Some(progress(ui)),
        };
        let galen =
            routed(Galen::with_history(ledger, storage.clone(), history), &settings, &storage)?;
        let (role, name, ui) = (profile.role, profile.name, ui.clone());
        Ok(Self {
            settings,
            network,
            role,
            name,
            identity,
            ui,
            galen,
            book_file,
            book,
            asking,
            payer,
            node,
        })
    }

    /// What asks before signing, to allow many signatures at once.
    pub(crate) const fn asking(&self) -> &Asking {
        &self.asking
    }

    /// The network's node.
    pub(crate) const fn node(&self) -> &connect::Node {
        &self.node
    }

    /// Who pays.
    pub(crate) const fn payer(&self) -> &Payer {
        &self.payer
    }

    /// The network: ledger, content store, history.
    pub(crate) const fn galen(&self) -> &Galen {
        &self.galen
    }

    /// Hands the profile's id to another wallet, which signs too.
    pub(crate) async fn rotate(&self, successor: &Account) -> Result<Sent, galen_sdk::Error> {
        self.galen.rotate(&self.identity, successor).await
    }

    /// Signs documents by parts, in the profile's name.
    pub(crate) async fn sign_documents(
        &self,
        documents: Vec<Plaintext>,
        policy: &SigningPolicy,
    ) -> Result<Vec<SignedDocument>, galen_sdk::Error> {
        self.galen.sign_documents(&self.identity, documents, policy).await
    }

    /// What the profile does as a patient.
    pub(crate) fn patient(&self) -> Patient {
        self.galen.patient(self.identity.clone())
    }

    /// What the profile does as an organization. It keeps copies of what it seals, unless the settings say no.
    pub(crate) fn organization(&self) -> Organization {
        if self.settings.copies.value {
            return self.organization_with_copies();
        }
        self.galen.organization(self.identity.clone())
    }

    /// As [`Session::organization`], with the copies that it has, whatever the settings say of new ones: for what
    /// uses or removes them and makes none.
    pub(crate) fn organization_with_copies(&self) -> Organization {
        let copies = Copies::in_directory(self.place().copies());
        self.galen.organization(self.identity.clone()).with_copies(copies)
    }

    /// What the profile does as somebody who was granted something.
    pub(crate) fn grantee(&self) -> Grantee {
        self.galen.grantee(self.identity.clone())
    }

    /// What the profile does about guardians of its own id.
    pub(crate) fn guarded(&self) -> Guarded {
        self.galen.guarded(self.identity.clone())
    }

    /// What the profile does as a guardian of others.
    pub(crate) fn guardian(&self) -> Guardian {
        self.galen.guardian(self.identity.clone())
    }

    /// What the profile does for an id whose keys are lost, with its own wallet as the new one.
    pub(crate) fn claimant(&self, id: Address) -> Claimant {
        self.galen.claimant(self.identity.clone(), id)
    }

    pub(crate) const fn role(&self) -> Role {
        self.role
    }

    /// The profile's own id.
    pub(crate) const fn id(&self) -> Address {
        self.identity.id()
    }

    pub(crate) const fn network(&self) -> &Network {
        &self.network
    }

    /// Every setting, resolved.
    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The rules of the site.
    pub(crate) fn site(&self) -> Result<Site, CliError> {
        Site::read(&self.settings)
    }

    /// The profile's folder, for journals.
    pub(crate) fn place(&self) -> ProfileDir {
        self.settings.home.value.profile(&self.settings.profile.value)
    }

    /// The private book as it stood when it was last read or changed here.
    pub(crate) fn book(&self) -> Arc<Book> {
        self.book.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the private book anew, which other processes may have changed.
    pub(crate) fn read_book(&self) -> Result<Arc<Book>, CliError> {
        let read = Arc::new(self.book_file.read()?);
        *self.book.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&read);
        Ok(read)
    }

    /// Reads, changes and writes the private book, alone among processes.
    pub(crate) fn change_book<T>(
        &self,
        change: impl FnOnce(&mut Book) -> Result<T, CliError>,
    ) -> Result<T, CliError> {
        let (after, answer) = self.book_file.change(change)?;
        *self.book.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(after);
        Ok(answer)
    }

    /// Publishes the profile's keys unless the ledger names them already. Says whether it did.
    pub(crate) async fn publish_keys(&self) -> Result<bool, CliError> {
        let failed = |source| CliError::Sdk { doing: "publish the keys", source };
        if self.published_bundle().await?.is_some() {
            return Ok(false);
        }
        match self.role {
            Role::Patient => self.patient().publish_keys().await,
            Role::Organization => self.organization().publish_keys().await,
            Role::Reader => self.grantee().publish_keys().await,
        }
        .map_err(failed)?;
        Ok(true)
    }

    /// The key bundle that the ledger names for this profile's id, if the store has it. That of another seed is
    /// refused: what is sealed to it would never open here.
    pub(crate) async fn published_bundle(&self) -> Result<Option<KeyBundleId>, CliError> {
        match self.galen.keys_of(self.id()).await {
            Ok(bundle) if self.identity.is_of(&bundle) => Ok(Some(bundle.id())),
            Ok(_) => Err(CliError::invalid(
                "the ledger names keys of another seed for this id",
                "bring the seed back: `galen wallet restore`, or `galen init --restore` in a new profile",
            )),
            Err(galen_sdk::Error::NoKeys(_)) => Ok(None),
            Err(source) => Err(CliError::Sdk { doing: "look up the own keys", source }),
        }
    }

    /// The profile's card. `bare` leaves node, relay and store out.
    pub(crate) async fn card(&self, name: Option<&str>, bare: bool) -> Result<Card, CliError> {
        let bundle = self.published_bundle().await?.ok_or_else(|| {
            CliError::not_found("the keys are not published", "run `galen init` again")
        })?;
        let text = |place: Option<String>| place.filter(|_| !bare).unwrap_or_default();
        let network = &self.network;
        let card = Card {
            ledger: network.id(),
            id: self.id(),
            name: name.unwrap_or(&self.name).to_owned(),
            role: self.role,
            bundle,
            deployed_in: network.deployed_in,
            code_hash: network.code_hash,
            salt: network.salt,
            rpc_url: text(network.rpc_urls.first().cloned()),
            relay: text(network.relay.clone()),
            store: text(Some(self.settings.places.offer().text(MAX_PLACE_LEN))),
            issued: unix_now(),
            signature: Bytes::new(),
        };
        let failed = |source| CliError::Sdk { doing: "sign the card", source };
        card.sign(self.identity.account()).await.map_err(failed)
    }

    /// Keeps the book of a patient or reader in the store if it changed, so that wallet and seed words bring it
    /// back. A failure is told and changes nothing: the next command tries again.
    pub(crate) async fn finish(&self) {
        self.keep_book().await;
        tell_notices(self.galen.storage(), &self.ui);
    }

    async fn keep_book(&self) {
        if self.role == Role::Organization || !self.book_file.needs_archive() {
            return;
        }
        if let Err(error) = self.archive().await {
            self.ui.warn(&format!(
                "the private book is saved here, but not in the content store yet: {error}; \
                 `galen wallet archive` tries again"
            ));
        }
    }

    /// Keeps the book in the store. Says whether there was something new.
    pub(crate) async fn archive(&self) -> Result<bool, CliError> {
        let Some(sealed) = self.book_file.sealed()? else { return Ok(false) };
        self.ui.status("Keeping the private book in the content store.");
        let kept = self.galen.keep_archive(&self.identity, sealed.clone()).await;
        let kept =
            kept.map_err(|source| CliError::Sdk { doing: "archive the private book", source })?;
        self.book_file.archived(&sealed)?;
        Ok(kept.is_some())
    }

    /// Brings the book back from the store, if there is one there. Says whether there was.
    pub(crate) async fn restore_book(&self) -> Result<bool, CliError> {
        let found = self.galen.find_archive(&self.identity).await;
        let found =
            found.map_err(|source| CliError::Sdk { doing: "find the archived book", source })?;
        let Some(sealed) = found else { return Ok(false) };
        let book = self.book_file.restore(&sealed)?;
        *self.book.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(book);
        Ok(true)
    }

    /// An id from what a person writes: `self`, a contact's alias, `mrn:12345`, or `0x…`.
    pub(crate) fn resolve(&self, text: &str) -> Result<Address, CliError> {
        if text == "self" {
            return Ok(self.id());
        }
        self.book().resolve(text)
    }

    /// What the person calls an id: `self`, an alias, or the first and last digits of the address.
    pub(crate) fn display(&self, id: Address) -> String {
        if id == self.id() {
            return "self".to_owned();
        }
        self.book().contact(id).map_or_else(|| short(id), |contact| contact.alias.clone())
    }
}

/// What stores did not take though they should, told once for each of them.
pub(crate) fn tell_notices(storage: &Storage, ui: &Ui) {
    let mut places: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for Notice { place, error, .. } in storage.notices() {
        let (count, _) = places.entry(place).or_insert_with(|| (0, error.to_string()));
        *count += 1;
    }
    for (place, (count, error)) in places {
        ui.warn(&format!(
            "{count} contents are not in the store {place} yet: {error}; `galen content copy --pending` goes on"
        ));
    }
}

/// Sends new content of each category where the settings say.
fn routed(galen: Galen, settings: &Settings, storage: &Storage) -> Result<Galen, CliError> {
    let failed = |source| CliError::Storage { doing: "use the stores of [content]", source };
    settings.places.routes().try_fold(galen, |galen, (category, names)| {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let storage = storage.keeping_in(&names).map_err(failed)?;
        Ok(galen.with_route(category.index(), storage))
    })
}

/// `0x1234…abcd`.
pub(crate) fn short(id: Address) -> String {
    let text = format!("{id:#x}");
    format!("{}…{}", &text[..6], &text[38..])
}

pub(crate) fn unlock_seed(
    place: &ProfileDir,
    keyring: &Mutex<Keyring>,
) -> Result<RootSeed, CliError> {
    let mut keyring = keyring.lock().unwrap_or_else(PoisonError::into_inner);
    let secret = keyring.unlock(&place.seed(), "the seed of this profile")?;
    Ok(RootSeed::from_bytes(*secret))
}

/// Who pays for a command: the relay, or the wallet with a queue that outlives the process.
fn payer(
    settings: &Settings,
    network: &Network,
    node: &connect::Node,
    account: &Account,
    ui: &Ui,
) -> Result<Payer, CliError> {
    let Some(url) = &settings.relay.value else {
        let Network { chain_id, max_fee_gwei, .. } = *network;
        return wallet_payer(settings, chain_id, max_fee_gwei, node, account, ui);
    };
    let options = RelayOptions {
        deadline: settings.timeout.value,
        allow_plain_http: settings.allow_plain_http.value,
        ..RelayOptions::default()
    };
    let payer = Payer::relay(node.clone(), url, options)
        .map_err(|source| CliError::Chain { doing: "reach the relay", source })?;
    Ok(telling(payer, ui))
}

/// A wallet that pays, with the queue that outlives the process.
pub(crate) fn wallet_payer(
    settings: &Settings,
    chain_id: u64,
    max_fee_gwei: u64,
    node: &connect::Node,
    account: &Account,
    ui: &Ui,
) -> Result<Payer, CliError> {
    let failed = |source| CliError::Chain { doing: "open the transaction queue", source };
    let folder = settings.home.value.queue();
    let queue = Queue::open(folder, chain_id, account.controller()).map_err(failed)?;
    let ceiling = u128::from(max_fee_gwei) * 1_000_000_000;
    let fees = Fees { ceiling, deadline: settings.timeout.value, ..Fees::default() };
    Ok(telling(Payer::wallet(node.clone(), account.clone(), Some(queue), fees), ui))
}

/// Says how far a long read of the history is: after two seconds, and then as often.
pub(crate) fn progress(ui: &Ui) -> Progress {
    const INTERVAL: Duration = Duration::from_secs(2);
    let (ui, told) = (ui.clone(), Mutex::new(Instant::now()));
    Progress::new(move |done, total| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= INTERVAL && done < total {
            *told = Instant::now();
            ui.status(&format!("Reading the history: {done} of {total} blocks."));
        }
    })
}

/// Says what it waits for.
fn telling(payer: Payer, ui: &Ui) -> Payer {
    let ui = ui.clone();
    payer.on_wait(move |waiting| {
        ui.status(&match waiting {
            Waiting::Lock => "Waiting for another galen that pays from this wallet.".to_owned(),
            Waiting::Receipt { transaction } => {
                format!("Waiting for transaction {transaction} to land in a block.")
            }
            Waiting::Earlier { nonce } => {
                format!("Waiting for the wallet's earlier transaction with nonce {nonce}.")
            }
            Waiting::Replaced { nonce, transaction } => {
                format!("Nonce {nonce} was stuck: sent again with a higher fee as {transaction}.")
            }
            _ => "Waiting for the chain.".to_owned(),
        });
    })
}
