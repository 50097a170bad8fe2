//! `galen deploy`: the contracts on a chain, and the chain in the address book.

use std::{path::Path, process::ExitCode};

use alloy::providers::Provider;
use alloy_primitives::{Address, B256, Bytes, U256, utils::format_ether};
use galen_chain::{
    Account, KeySigner, deploy_with, deployment_address,
    verification::{
        CONTRACT_NAME, Deployed, STANDARD_JSON, SourceMatch, VerificationService, compiler_version,
        constructor_arguments,
    },
    verify_deployment,
};
use galen_types::LedgerId;
use serde::Serialize;

use crate::{
    args::{DeployArgs, Globals},
    commands::block_on,
    connect,
    error::CliError,
    home::Name,
    networks::{DEFAULT_MAX_FEE_GWEI, Network, Networks},
    outfile, session,
    settings::Settings,
    ui::Ui,
    unlock::{Keyring, read_secret_file},
    wallet,
};

pub(crate) fn run(args: &DeployArgs, globals: &Globals, ui: &Ui) -> Result<ExitCode, CliError> {
    block_on(async {
        let settings = Settings::resolve(globals)?;
        // Before anything is sent, so that nothing is left to do over.
        let service = service(args, &settings)?;
        if let Some(path) = &args.verification_input {
            write_input(path)?;
        }
        let mut shown = deploy_to(args, &settings, ui).await?;
        let verified = match &service {
            Some(service) => verify(service, &shown, ui).await.map(Some),
            None => Ok(None),
        };
        shown.source_match = *verified.as_ref().unwrap_or(&None);
        // What was deployed is told, whatever a service says of it.
        shown.print(ui)?;
        verified.map(|_| ExitCode::SUCCESS)
    })
}

/// The result of `galen deploy --json`.
#[derive(Debug, Serialize)]
struct Shown {
    network: Name,
    chain_id: u64,
    ledger: Address,
    deployed_in: u64,
    code_hash: B256,
    salt: B256,
    founders: Vec<Address>,
    transaction: Option<B256>,
    gas: u64,
    already_there: bool,
    /// As verifiers ask for it: file and name, compiler, and what follows the code.
    contract_name: &'static str,
    compiler: String,
    constructor_arguments: Bytes,
    source_match: Option<SourceMatch>,
}

impl Shown {
    fn print(&self, ui: &Ui) -> Result<(), CliError> {
        if ui.json() {
            return ui.object(self);
        }
        let founders: Vec<_> = self.founders.iter().map(|id| format!("{id:#x}")).collect();
        for (key, value) in [
            ("network", self.network.to_string()),
            ("chain_id", self.chain_id.to_string()),
            ("ledger", format!("{:#x}", self.ledger)),
            ("deployed_in", self.deployed_in.to_string()),
            ("code_hash", self.code_hash.to_string()),
            ("salt", self.salt.to_string()),
            ("founders", founders.join(" ")),
            ("transaction", self.transaction.map_or("-".to_owned(), |hash| hash.to_string())),
            ("gas", self.gas.to_string()),
            ("already_there", if self.already_there { "yes" } else { "no" }.to_owned()),
            ("contract_name", self.contract_name.to_owned()),
            ("compiler", self.compiler.clone()),
            ("constructor_arguments", self.constructor_arguments.to_string()),
            ("source_match", self.source_match.map_or("-".to_owned(), |found| found.to_string())),
        ] {
            ui.line(&format!("{key}\t{value}"))?;
        }
        Ok(())
    }
}

async fn deploy_to(args: &DeployArgs, settings: &Settings, ui: &Ui) -> Result<Shown, CliError> {
    let settings =
        &settings.with_plain_http(args.allow_plain_http || settings.allow_plain_http.value);
    let urls = settings.rpc_urls.as_ref().map(|urls| urls.value.clone()).unwrap_or_default();
    let chain_id = connect::chain_id(settings, &urls).await?;
    let node = connect::node(settings, &urls, Some(chain_id))?;
    let keystore = wallet::locate(settings)?;
    let mut keyring = Keyring::new(ui.clone(), settings.password_file());
    let secret = keyring.unlock(&keystore, "the wallet that deploys")?;
    let key = KeySigner::from_key(&secret)
        .ok_or_else(|| CliError::invalid("the keystore holds no key", "choose another wallet"))?;
    let payer = Account::new(key);
    let founders = founders(args, settings, payer.controller())?;
    let address = deployment_address(&founders, args.salt);

    let failed = |source| CliError::Chain { doing: "look at the chain", source };
    let code = node.get_code_at(address).await.map_err(|error| failed(error.into()))?;
    let already_there = !code.is_empty();
    if !already_there {
        let balance = node.get_balance(payer.controller()).await;
        let balance = balance.map_err(|error| failed(error.into()))?;
        let price = node.get_gas_price().await.map_err(|error| failed(error.into()))?;
        show_plan(
            &Plan { chain_id, payer: payer.controller(), balance, price, address },
            &founders,
            ui,
        );
        ui.require_yes("Deploy?")?;
    }
    let failed = |source| CliError::Chain { doing: "deploy the contracts", source };
    let id = LedgerId { chain_id, contract: address };
    let home = &settings.home.value;
    // Of a network that is known, only what is said now changes: a node may not know the block any more.
    let known = Networks::read(home)?;
    let known =
        known.iter().find(|(_, network)| network.id() == id).map(|(_, known)| known.clone());
    let block = match (&known, already_there, args.deployed_in) {
        (Some(known), ..) => Some(known.deployed_in),
        (None, true, Some(said)) => Some(checked_block(&node, address, args.salt, said).await?),
        (None, ..) => None,
    };
    ui.status(match already_there {
        true => "The ledger is there; looking at it.",
        false => "Deploying; this waits for a block.",
    });
    let ceiling = args.max_fee_gwei.unwrap_or(DEFAULT_MAX_FEE_GWEI);
    let wallet = session::wallet_payer(settings, chain_id, ceiling, &node, &payer, ui)?;
    let made = deploy_with(node, &wallet, &founders, args.salt, block).await.map_err(failed)?;

    let mut network =
        known.unwrap_or_else(|| Network::new(id, made.block, made.code_hash, args.salt));
    set_as_said(&mut network, urls, args);
    let deployed_in = network.deployed_in;
    let wanted = settings.network.as_ref().map(|name| &name.value);
    let name = connect::keep(home, wanted, network)?;
    join(settings, &name)?;
    Ok(Shown {
        network: name,
        chain_id,
        ledger: made.ledger,
        deployed_in,
        code_hash: made.code_hash,
        salt: args.salt,
        constructor_arguments: constructor_arguments(&founders),
        founders,
        transaction: made.transaction,
        gas: made.gas,
        already_there,
        contract_name: CONTRACT_NAME,
        compiler: compiler_version(),
        source_match: None,
    })
}

/// A block that somebody names, if the ledger was deployed in it.
async fn checked_block(
    node: &connect::Node,
    ledger: Address,
    salt: B256,
    block: u64,
) -> Result<u64, CliError> {
    let checked = verify_deployment(node.clone(), ledger, salt, block).await;
    checked
        .map(|_| block)
        .map_err(|source| CliError::Chain { doing: "check the block of the deployment", source })
}

/// Settings of the network that flags name.
fn set_as_said(network: &mut Network, urls: Vec<String>, args: &DeployArgs) {
    network.rpc_urls = urls;
    if args.public_relay.is_some() {
        network.relay.clone_from(&args.public_relay);
    }
    network.allow_plain_http |= args.allow_plain_http;
    network.finality = args.finality.unwrap_or(network.finality);
    network.max_fee_gwei = args.max_fee_gwei.unwrap_or(network.max_fee_gwei);
    network.history = args.history.unwrap_or(network.history);
}

/// The service that verifies sources, if one is asked for.
fn service(
    args: &DeployArgs,
    settings: &Settings,
) -> Result<Option<VerificationService>, CliError> {
    let Some(url) = &args.verify else { return Ok(None) };
    let help = "check --verify-key-file";
    let key = args.verify_key_file.as_deref().map(|path| read_secret_file(path, "key file", help));
    let key = key.transpose()?;
    VerificationService::new(args.verifier, url, key, settings.timeout.value)
        .map(Some)
        .map_err(|source| CliError::Chain { doing: "use the verifier", source })
}

async fn verify(
    service: &VerificationService,
    shown: &Shown,
    ui: &Ui,
) -> Result<SourceMatch, CliError> {
    ui.status("Having the sources verified.");
    let deployed = Deployed {
        chain_id: shown.chain_id,
        ledger: shown.ledger,
        founders: shown.founders.clone(),
        transaction: shown.transaction,
    };
    let found = service.verify(&deployed).await;
    found.map_err(|source| CliError::Chain { doing: "verify the sources", source })
}

/// The same file again is no fault: `deploy` may be repeated.
fn write_input(path: &Path) -> Result<(), CliError> {
    if std::fs::read(path).is_ok_and(|found| found == STANDARD_JSON.as_bytes()) {
        return Ok(());
    }
    outfile::write(path, STANDARD_JSON.as_bytes(), false).map(drop)
}

/// Founders as the contract wants them: ascending, each once.
fn founders(
    args: &DeployArgs,
    settings: &Settings,
    payer: Address,
) -> Result<Vec<Address>, CliError> {
    let wrong = |text: &str| {
        let text = format!("{} is not an address", text.escape_debug());
        CliError::invalid(text, "a founder is given as 0x and 40 hex digits")
    };
    let mut founders = args
        .founders
        .iter()
        .map(|text| text.parse().map_err(|_| wrong(text)))
        .collect::<Result<Vec<Address>, _>>()?;
    if founders.is_empty() {
        founders.push(settings.file.as_ref().map_or(payer, |profile| profile.id));
    }
    founders.sort_unstable();
    founders.dedup();
    Ok(founders)
}

/// Gas of a deployment, as `gas.json` has it, rounded up.
const DEPLOYMENT_GAS: u64 = 6_000_000;

struct Plan {
    chain_id: u64,
    payer: Address,
    balance: U256,
    price: u128,
    address: Address,
}

fn show_plan(plan: &Plan, founders: &[Address], ui: &Ui) {
    let cost = U256::from(plan.price) * U256::from(DEPLOYMENT_GAS);
    ui.show(&format!("Deploy the health ledger on chain {}:", plan.chain_id));
    ui.show(&format!("  address   {:#x}", plan.address));
    for founder in founders {
        ui.show(&format!("  founder   {founder:#x}"));
    }
    ui.show(&format!("  payer     {:#x}, which has {}", plan.payer, format_ether(plan.balance)));
    ui.show(&format!("  cost      about {} at today's fee", format_ether(cost)));
    ui.show("  There is no owner and no way to change the code later.");
    if plan.balance < cost {
        ui.warn("the payer has less than that");
    }
}

/// The profile's network, if it has none.
fn join(settings: &Settings, name: &Name) -> Result<(), CliError> {
    let Some(profile) = settings.file.as_ref().filter(|profile| profile.network.is_none()) else {
        return Ok(());
    };
    let mut profile = profile.clone();
    profile.network = Some(name.clone());
    profile.write(&settings.home.value.profile(&settings.profile.value).settings())
}
