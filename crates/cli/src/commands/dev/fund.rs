//! `galen dev fund`: ether from whoever a development node signs for.

use std::{net::IpAddr, time::Duration};

use alloy::{
    providers::{Provider, ProviderBuilder},
    rpc::types::{TransactionReceipt, TransactionRequest},
    transports::TransportError,
};
use alloy_primitives::{Address, B256, U256, utils::parse_ether};
use galen_chain::ChainError;
use serde::Serialize;

use crate::{
    args::Globals,
    error::CliError,
    settings::{Settings, shown_url},
    ui::Ui,
};

/// Where `galen dev`, anvil and `geth --dev` listen.
const DEFAULT_URL: &str = "http://127.0.0.1:8545";

/// Between two looks for the receipt.
const RECEIPT_INTERVAL: Duration = Duration::from_millis(100);

/// Chains on which ether is worth something: a node of theirs that signs for others is no development node.
const REAL_CHAINS: [u64; 16] = [
    1, 10, 25, 56, 100, 130, 137, 146, 324, 8_453, 42_161, 42_220, 43_114, 59_144, 81_457, 534_352,
];

#[derive(Debug, Serialize)]
struct Funded {
    address: Address,
    transaction: B256,
    chain_id: u64,
    /// In wei.
    amount: U256,
    /// After the transfer, in wei.
    balance: U256,
}

pub(crate) async fn run(
    address: Address,
    amount: &str,
    globals: &Globals,
    ui: &Ui,
) -> Result<(), CliError> {
    let amount = parse_ether(amount).ok().filter(|amount| !amount.is_zero()).ok_or_else(|| {
        CliError::invalid(
            format!("{amount} is not an amount of ether"),
            "use a number like 10 or 0.5",
        )
    })?;
    let settings = Settings::resolve(globals)?;
    let urls = settings.rpc_urls.map(|urls| urls.value).unwrap_or_default();
    let url = urls.first().map_or(DEFAULT_URL, String::as_str);
    let parsed = url.parse::<alloy::transports::http::reqwest::Url>().map_err(|_| {
        CliError::invalid(format!("{} is not a URL", shown_url(url)), "a node is http://…")
    })?;
    let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !here {
        let url = shown_url(url);
        ui.require_yes(&format!("{url} is not on this machine. Spend ether of its account?"))?;
    }
    let provider = ProviderBuilder::default().connect_http(parsed);
    let funding = fund(&provider, address, amount);
    let funded = tokio::time::timeout(settings.timeout.value, funding).await.map_err(|_| {
        let waited = settings.timeout.value.as_secs();
        CliError::unavailable(
            format!("the node did not answer, or mined no block, within {waited} s"),
            "check that the node runs and mines; --timeout waits longer",
        )
    })??;
    if ui.json() {
        return ui.object(&funded);
    }
    ui.line(&format!("{:#x}\t{}\t{}", funded.address, funded.transaction, funded.balance))
}

async fn fund(
    provider: &impl Provider,
    address: Address,
    amount: U256,
) -> Result<Funded, CliError> {
    let chain_id = provider.get_chain_id().await.map_err(failed)?;
    if REAL_CHAINS.contains(&chain_id) {
        return Err(CliError::invalid(
            format!("chain {chain_id} is a real network"),
            "this command is for `galen dev`, anvil and `geth --dev`",
        ));
    }
    let accounts: Vec<Address> = provider.get_accounts().await.map_err(failed)?;
    let from = *accounts.first().ok_or_else(|| {
        CliError::invalid(
            "the node signs for nobody",
            "use `galen dev`, anvil or `geth --dev`, which unlock accounts",
        )
    })?;
    // The node fills what is missing and signs.
    let request = TransactionRequest::default().from(from).to(address).value(amount);
    let sent = provider.raw_request("eth_sendTransaction".into(), (request,)).await;
    let transaction: B256 = sent.map_err(failed)?;
    let receipt = loop {
        let found: Option<TransactionReceipt> =
            match provider.get_transaction_receipt(transaction).await {
                // geth fails so while it has not indexed its newest blocks.
                Err(error) if error.to_string().contains("indexing is in progress") => None,
                answer => answer.map_err(failed)?,
            };
        if let Some(receipt) = found {
            break receipt;
        }
        tokio::time::sleep(RECEIPT_INTERVAL).await;
    };
    if !receipt.status() {
        return Err(CliError::Chain {
            doing: "send ether",
            source: ChainError::Failed { transaction },
        });
    }
    let balance = provider.get_balance(address).await.map_err(failed)?;
    Ok(Funded { address, transaction, chain_id, amount, balance })
}

fn failed(error: TransportError) -> CliError {
    CliError::Chain { doing: "send ether", source: error.into() }
}
