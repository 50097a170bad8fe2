//! On which chain and which stores the demo runs: embedded ones, or those that flags name.

use std::path::Path;

use alloy::providers::Provider as _;
use alloy_primitives::{U256, utils::format_ether};
use galen_chain::{Account, Fees, KeySigner, Payer};
use galen_devchain::{Config, DevChain};
use galen_storage::Storage;

use crate::{
    args::{DemoArgs, Globals},
    connect::{self, Node},
    error::CliError,
    networks::DEFAULT_MAX_FEE_GWEI,
    places::{Places, Routes, Source, Tables},
    session,
    settings::{Origin, Settings, shown_url},
    stores::{StoreSpec, Stores},
    transfers,
    ui::Ui,
    unlock::Keyring,
    wallet,
};

/// What the relayer of the embedded chain starts with, in wei: it pays for everybody.
const RELAYER_FUNDS: u128 = 1_000_000_000_000_000_000_000;

/// Chain id of development chains, where everybody knows the keys that have coins.
const DEVELOPMENT_CHAIN: u64 = 31_337;

/// More gas than the demo of a large bundle takes.
const DEMO_GAS: u64 = 40_000_000;

/// A chain and stores, ready to be used.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) node: Node,
    /// Pays for everybody.
    pub(crate) payer: Payer,
    pub(crate) storage: Storage,
    /// What the story says of the chain, as a sentence.
    pub(crate) chain: String,
    /// What the story says of the stores.
    pub(crate) stores: String,
    /// Ends the embedded chain when it is dropped.
    _chain: Option<DevChain>,
}

/// What flags say.
#[derive(Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) args: &'a DemoArgs,
    pub(crate) globals: &'a Globals,
    /// Where the embedded parts lie, and what uploads write down.
    pub(crate) place: &'a Path,
    pub(crate) ui: &'a Ui,
}

impl Wish<'_> {
    /// Starts or reaches the chain, and opens the stores.
    pub(crate) async fn set(&self) -> Result<Stage, CliError> {
        // Only flags count: the demo must not send anything to a chain because a variable names one.
        let flags = &self.globals.connection;
        let settings = match (&flags.rpc_url, &flags.store) {
            (None, None) => None,
            _ => Some(Settings::resolve(self.globals)?.with_plain_http(self.args.allow_plain_http)),
        };
        let (storage, stores) = self.stores(settings.as_ref()).await?;
        match settings.filter(|_| flags.rpc_url.is_some()) {
            Some(settings) => self.reach(&settings, storage, stores).await,
            None => self.embed(storage, stores),
        }
    }

    fn embed(&self, storage: Storage, stores: String) -> Result<Stage, CliError> {
        let relayer = Account::random();
        let accounts = vec![(relayer.controller(), U256::from(RELAYER_FUNDS))];
        let config = Config { accounts, ..Config::default() };
        let chain = DevChain::open(self.place.join("chain"), config)?;
        let node = chain.provider().erased();
        Ok(Stage {
            payer: Payer::wallet(node.clone(), relayer, None, Fees::default()),
            node,
            storage,
            chain: format!(
                "An embedded development chain (id {}, one proposer, no fee market) with the contracts",
                chain.chain_id()
            ),
            stores,
            _chain: Some(chain),
        })
    }

    async fn reach(
        &self,
        settings: &Settings,
        storage: Storage,
        stores: String,
    ) -> Result<Stage, CliError> {
        let urls = settings.rpc_urls.as_ref().map(|urls| urls.value.clone()).unwrap_or_default();
        let chain_id = self.ui.waiting("the node to answer", connect::chain_id(settings, &urls));
        let chain_id = chain_id.await?;
        let node = connect::node(settings, &urls, Some(chain_id))?;
        let payer = self.payer(settings, chain_id, &node).await?;
        let url = urls.first().map(|url| shown_url(url)).unwrap_or_default();
        let chain = format!("Chain {chain_id} at {url} with the contracts, deployed for this demo");
        Ok(Stage { node, payer, storage, chain, stores, _chain: None })
    }

    /// Who pays on a chain that was there before: on a development chain the key that everybody knows.
    async fn payer(
        &self,
        settings: &Settings,
        chain_id: u64,
        node: &Node,
    ) -> Result<Payer, CliError> {
        let account = settings.account.as_ref().is_some_and(|it| it.origin.is_said_now());
        let keystore = settings.keystore.as_ref().is_some_and(|it| it.origin.is_said_now());
        if !account && !keystore {
            if chain_id != DEVELOPMENT_CHAIN {
                return Err(CliError::invalid(
                    format!("somebody must pay on chain {chain_id}, and no wallet is named"),
                    "name one that has coins with --account or --keystore; the demo is for test networks",
                ));
            }
            let key = galen_devchain::well_known_keys().into_iter().next();
            let key = key.and_then(|key| KeySigner::from_key(&key.to_bytes().0));
            let key = key.ok_or(CliError::Demo("there is no development key"))?;
            let account = Account::new(key);
            self.ui.status(&format!(
                "Paying from {:#x}, a development key that everybody knows.",
                account.controller()
            ));
            let fees = Fees { deadline: settings.timeout.value, ..Fees::default() };
            return Ok(Payer::wallet(node.clone(), account, None, fees));
        }
        let mut keyring = Keyring::new(self.ui.clone(), settings.password_file());
        let secret = keyring.unlock(&wallet::locate(settings)?, "the wallet that pays")?;
        let key = KeySigner::from_key(&secret).ok_or_else(|| {
            CliError::invalid("the keystore holds no key", "choose another wallet")
        })?;
        let account = Account::new(key);
        self.agree(chain_id, node, &account).await?;
        session::wallet_payer(settings, chain_id, DEFAULT_MAX_FEE_GWEI, node, &account, self.ui)
    }

    /// Nobody's coins are spent unasked.
    async fn agree(&self, chain_id: u64, node: &Node, account: &Account) -> Result<(), CliError> {
        let failed = |error| CliError::Chain {
            doing: "look at the chain",
            source: galen_chain::ChainError::from(error),
        };
        let address = account.controller();
        let balance = node.get_balance(address).await.map_err(failed)?;
        let price = node.get_gas_price().await.map_err(failed)?;
        let cost = U256::from(price) * U256::from(DEMO_GAS);
        let ui = self.ui;
        ui.show(&format!("Run the demo on chain {chain_id}:"));
        ui.show(&format!("  payer     {address:#x}, which has {}", format_ether(balance)));
        ui.show(&format!("  cost      up to {} at today's fee", format_ether(cost)));
        ui.show("  Contracts and records of people who do not exist stay there for ever.");
        ui.require_yes("Run it?")
    }

    async fn stores(&self, settings: Option<&Settings>) -> Result<(Storage, String), CliError> {
        let said = self.globals.connection.store.as_deref();
        let list = match said {
            Some(text) => text.parse::<Stores>()?.absolute()?,
            None => Stores::local(self.place.join("content")),
        };
        let file = settings.and_then(|settings| settings.file.as_ref());
        let tables = file.map(|file| named(&list, &file.stores)).unwrap_or_default();
        let profile = settings.map(Settings::profile_file).unwrap_or_default();
        let places = Places::resolve(&Source {
            store: &list,
            store_origin: &Origin::Flag("--store"),
            tables: &tables,
            routes: &Routes::default(),
            profile: &profile,
            local: self.place.join("content"),
        })?;
        let access = settings.map(Settings::access).unwrap_or_default();
        let state = self.place.join("state");
        let progress = transfers::told_by(self.ui);
        let storage = places.open(&access, state, progress).await?;
        let stores = match said {
            Some(_) => format!("content goes to {}", list.shown()),
            None => "a directory as content store".to_owned(),
        };
        Ok((storage, stores))
    }
}

/// The tables that a list names, and what those name: the demo has nothing to do with the rest.
fn named(list: &Stores, tables: &Tables) -> Tables {
    let mut wanted = Tables::new();
    for spec in list.specs() {
        let StoreSpec::Named(name) = spec else { continue };
        let Some(table) = tables.get(name) else { continue };
        wanted.insert(name.clone(), table.clone());
        if let Some((from, table)) =
            table.from.as_ref().and_then(|from| Some((from, tables.get(from)?)))
        {
            wanted.insert(from.clone(), table.clone());
        }
    }
    wanted
}
