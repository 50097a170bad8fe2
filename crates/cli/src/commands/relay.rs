//! `galen relay`: pays for others.

use std::{
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use alloy_primitives::Address;
use galen_chain::{Account, ChainError, Fees, KeySigner, Payer, Queue};
use galen_services::{
    http,
    relay::{Relay, RelayConfig, RelayLimits},
};
use serde::Serialize;

use super::dev::{interrupted, listen};
use crate::{
    args::{Globals, RelayArgs},
    connect,
    error::CliError,
    networks::Network,
    settings::Settings,
    ui::Ui,
    unlock::Keyring,
    wallet,
};

const WEI_PER_GWEI: u128 = 1_000_000_000;

/// What `--json` prints once the relay answers.
#[derive(Debug, Serialize)]
struct Ready {
    url: String,
    chain_id: u64,
    ledger: Address,
    wallet: Address,
}

pub(crate) fn run(args: &RelayArgs, globals: &Globals, ui: &Ui) -> Result<ExitCode, CliError> {
    super::block_on(serve(args, globals, ui))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(args: &RelayArgs, globals: &Globals, ui: &Ui) -> Result<(), CliError> {
    let flags = &globals.connection;
    if flags.account.is_none() && flags.keystore.is_none() {
        return Err(CliError::invalid(
            "no wallet is named for the relay",
            "name one that is nobody's in the network with --account or --keystore; \
             `galen wallet new` makes one",
        ));
    }
    let settings = Settings::resolve(globals)?;
    let network = settings.require_network()?.1.clone();
    let account = unlock(&settings, ui)?;
    let relay = open(args, &settings, &network, &account, ui).await?;
    let listener = listen(args.listen).await?;
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        ui.status(&format!(
            "Others can reach {address}, in plain HTTP: put a reverse proxy with TLS before it."
        ));
    }
    let ready = Ready {
        url: format!("http://{address}"),
        chain_id: network.chain_id,
        ledger: network.ledger,
        wallet: account.id(),
    };
    ui.status(&format!(
        "Relay for {:#x}, paid by {:#x}. Ctrl-C ends it.",
        ready.ledger, ready.wallet
    ));
    let stop = interrupted();
    if ui.json() {
        ui.object_line(&ready)?
    } else {
        ui.line(&ready.url)?
    }

    let (resumed, said) = (relay.clone(), ui.clone());
    let resuming = tokio::spawn(async move {
        if let Err(error) = resumed.resume().await {
            said.warn(&format!("cannot see to earlier transactions: {error}"));
        }
    });
    http::serve(listener, relay.router(), Relay::http_limits(), stop).await;
    resuming.abort();
    ui.status("Stopped.");
    Ok(())
}

/// The wallet, unlocked at once: nobody is there to ask when the first call comes.
fn unlock(settings: &Settings, ui: &Ui) -> Result<Account, CliError> {
    let path = wallet::locate(settings)?;
    let file = settings.password_file.as_ref().map(|file| file.value.clone());
    let secret = Keyring::new(ui.clone(), file).unlock(&path, "the relay's wallet")?;
    let key = KeySigner::from_key(&secret);
    let help = "choose another keystore; `galen wallet list` shows them";
    Ok(Account::new(key.ok_or_else(|| CliError::invalid("the keystore holds no key", help))?))
}

async fn open(
    args: &RelayArgs,
    settings: &Settings,
    network: &Network,
    account: &Account,
    ui: &Ui,
) -> Result<Relay, CliError> {
    let failed = |source: ChainError| CliError::Chain { doing: "start the relay", source };
    let urls = settings.rpc_urls.as_ref().map(|urls| urls.value.as_slice()).unwrap_or_default();
    let provider = connect::node(settings, urls, Some(network.chain_id))?;
    let ledger = connect::ledger(&provider, network).await?;
    let ceiling = u128::from(args.max_fee_gwei.unwrap_or(network.max_fee_gwei)) * WEI_PER_GWEI;
    let queue =
        Queue::open(settings.home.value.queue(), network.chain_id, account.id()).map_err(failed)?;
    let fees = Fees { ceiling, ..Fees::default() };
    let config = RelayConfig {
        ledger,
        payer: Payer::wallet(provider.clone(), account.clone(), Some(queue), fees),
        provider,
        limits: RelayLimits {
            calls_per_caller: args.calls_per_caller,
            calls_per_id: args.calls_per_id,
            gas_per_call: args.gas_per_call,
            gas_per_day: args.gas_per_day,
            max_fee_per_gas: ceiling,
            ..RelayLimits::default()
        },
        trust_forwarded_for: args.trust_forwarded_for,
    };
    let log = ui.clone();
    let told = Relay::new(config, move |entry| log.status(&format!("{} {entry}", now()))).await;
    told.map_err(failed)
}

/// The time as RFC 3339 writes it.
pub(super) fn now() -> String {
    rfc3339(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn rfc3339(since_1970: Duration) -> String {
    const DAY: u64 = 86_400;
    let (mut days, second) = (since_1970.as_secs() / DAY, since_1970.as_secs() % DAY);
    let is_leap = |year: u64| {
        (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400)
    };
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{:02}Z", days + 1, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339_says() {
        let rows = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_735_689_600, "2025-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ];
        for (seconds, expected) in rows {
            assert_eq!(rfc3339(Duration::from_secs(seconds)), expected);
        }
    }
}
