//! A profile at work: settings resolved, secrets unlocked, the right contract on the right chain.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use alloy::providers::{Provider, ProviderBuilder};
use alloy_primitives::Address;
use galen_chain::{Account, Ledger};
use galen_crypto::RootSeed;
use galen_fhir::Category;
use galen_index::{Confirmed, HistoryOptions};
use galen_sdk::{Galen, Grantee, Identity, Organization, Patient, Role};
use galen_storage::Storage;

use crate::{
    args::Globals,
    book::{Book, BookFile},
    error::CliError,
    home::{Name, ProfileDir},
    networks::Network,
    settings::{Settings, StoreSpec, shown_url},
    signing::{Asking, Known},
    ui::Ui,
    unlock::{Keyring, LockedSigner},
    wallet,
};

/// One profile on its network.
#[derive(Debug)]
pub(crate) struct Session {
    settings: Settings,
    network_name: Name,
    network: Network,
    role: Role,
    identity: Identity,
    galen: Galen,
    book_file: BookFile,
    book: Arc<RwLock<Arc<Book>>>,
    asking: Asking,
}

impl Session {
    /// Opens the profile: reads settings, asks for the password of the seed, connects, and refuses a chain or a
    /// contract that the address book does not know. The wallet is unlocked at the first signature.
    pub(crate) async fn open(globals: &Globals, ui: &Ui) -> Result<Self, CliError> {
        let settings = Settings::resolve(globals)?;
        let profile = settings.require_profile()?.clone();
        let (network_name, network) = settings.require_network()?;
        let (network_name, network) = (network_name.clone(), network.clone());
        let password_file = settings.password_file.as_ref().map(|file| file.value.clone());
        let keyring = Arc::new(Mutex::new(Keyring::new(ui.clone(), password_file)));

        let place = settings.home.value.profile(&settings.profile.value);
        let seed = unlock_seed(&place, &keyring)?;
        let keystore = wallet::locate(&settings)?;
        let signer = LockedSigner::new(profile.controller(), keystore, keyring);
        let keys = seed.pseudonym(profile.id);
        let book_file = BookFile::new(place, &keys);
        let book = Arc::new(RwLock::new(Arc::new(book_file.read()?)));
        let name = network_name.as_str();
        let known = Known::new(profile.id, keys.segment_map(), book.clone(), name, &network);
        let asking = Asking::new(Arc::new(signer), ui.clone(), known);
        let account = Account::new(asking.clone()).for_id(profile.id);
        let identity = Identity::new(account.clone(), &seed);

        let ledger = connect(&settings, &network).await?;
        let storage = open_store(&settings.store.value).await?;
        let history = HistoryOptions {
            mode: network.history,
            directory: Some(settings.home.value.cache()),
            finality: network.finality,
            progress: None,
        };
        let galen = Galen::with_history(ledger.paid_by(&account), storage, history);
        let role = profile.role;
        Ok(Self { settings, network_name, network, role, identity, galen, book_file, book, asking })
    }

    /// What asks before signing, to allow many signatures at once.
    pub(crate) const fn asking(&self) -> &Asking {
        &self.asking
    }

    /// Every setting and where it came from.
    pub(crate) const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The network: ledger, content store, history.
    pub(crate) const fn galen(&self) -> &Galen {
        &self.galen
    }

    /// What the profile does as a patient.
    pub(crate) fn patient(&self) -> Patient {
        self.galen.patient(self.identity.clone())
    }

    /// What the profile does as an organization.
    pub(crate) fn organization(&self) -> Organization {
        self.galen.organization(self.identity.clone())
    }

    /// What the profile does as somebody who was granted something.
    pub(crate) fn grantee(&self) -> Grantee {
        self.galen.grantee(self.identity.clone())
    }

    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
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

    pub(crate) const fn network_name(&self) -> &Name {
        &self.network_name
    }

    /// The profile's folder, for journals.
    pub(crate) fn place(&self) -> ProfileDir {
        self.settings.home.value.profile(&self.settings.profile.value)
    }

    /// The private book as it stood when it was last read or changed here.
    pub(crate) fn book(&self) -> Arc<Book> {
        self.book.read().unwrap_or_else(PoisonError::into_inner).clone()
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

    /// Whether a block can still go away, as of the newest block.
    pub(crate) async fn finality_of(&self, block: u64) -> Result<Confirmed, CliError> {
        let failed = |source| CliError::Sdk { doing: "read the history", source };
        self.galen.with_view(|view| view.confirmed(block)).await.map_err(failed)
    }
}

/// Categories by the names that `galen fhir check` prints.
pub(crate) fn parse_categories(names: &[String]) -> Result<Vec<Category>, CliError> {
    let mut categories = names
        .iter()
        .map(|name| {
            name.parse().map_err(|_| {
                let known: Vec<_> = Category::ALL.iter().map(|category| category.name()).collect();
                let text = format!("{} is not a category", name.escape_debug());
                CliError::invalid(text, format!("a category is one of: {}", known.join(", ")))
            })
        })
        .collect::<Result<Vec<Category>, CliError>>()?;
    categories.sort_unstable_by_key(|category| category.index());
    categories.dedup();
    Ok(categories)
}

/// `0x1234…abcd`.
pub(crate) fn short(id: Address) -> String {
    let text = format!("{id:#x}");
    format!("{}…{}", &text[..6], &text[38..])
}

fn unlock_seed(place: &ProfileDir, keyring: &Mutex<Keyring>) -> Result<RootSeed, CliError> {
    let mut keyring = keyring.lock().unwrap_or_else(PoisonError::into_inner);
    let secret = keyring.unlock(&place.seed(), "the seed of this profile")?;
    Ok(RootSeed::from_bytes(*secret))
}

/// Connects, and refuses what the address book does not know: another chain, other code.
async fn connect(settings: &Settings, network: &Network) -> Result<Ledger, CliError> {
    let urls = settings.rpc_urls.as_ref().map(|urls| urls.value.as_slice()).unwrap_or_default();
    let [url, ..] = urls else {
        let help = "use --rpc-url, or `galen network add` one to the address book";
        return Err(CliError::invalid("no node is named", help));
    };
    let provider = ProviderBuilder::new().connect_http(url.parse().map_err(|_| {
        CliError::invalid(
            format!("{} is not a URL", shown_url(url)),
            "a node is http://… or https://…",
        )
    })?);
    let failed = |source| CliError::Chain { doing: "connect to the ledger", source };
    let chain_id = provider.get_chain_id().await.map_err(|error| failed(error.into()))?;
    if chain_id != network.chain_id {
        return Err(CliError::invalid(
            format!("the node is on chain {chain_id}, the network on chain {}", network.chain_id),
            "choose a node of the network's chain, or another --network",
        ));
    }
    let ledger = Ledger::connect(provider, network.ledger, network.deployed_in).await;
    let ledger = ledger.map_err(failed)?;
    let code_hash = ledger.code_hash().await.map_err(failed)?;
    if code_hash != network.code_hash {
        return Err(CliError::integrity(
            format!("the code at {:#x} is not the one in the address book", network.ledger),
            "do not go on: the node lies, or somebody changed the address book",
        ));
    }
    Ok(ledger)
}

async fn open_store(spec: &StoreSpec) -> Result<Storage, CliError> {
    let StoreSpec::Local(path) = spec;
    if let Some(parent) = path.parent() {
        crate::home::create_dir(parent)?;
    }
    let failed = |source| CliError::Storage { doing: "open the content store", source };
    Storage::local(path).await.map_err(failed)
}
