//! `galen dev`: the embedded chain for other processes.

mod fund;
mod server;

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use alloy_primitives::{Address, U256, utils::Unit};
use galen_devchain::{Config, DevChain};
use serde::Serialize;
use tokio::net::TcpListener;

use crate::{
    args::{DevArgs, DevCommand, Globals},
    error::CliError,
    ui::Ui,
};

/// What each funded account has in the genesis block, in ether.
const FUNDED_ETHER: u64 = 10_000;

/// What `--json` prints once the chain answers.
#[derive(Debug, Serialize)]
struct Ready {
    url: String,
    chain_id: u64,
    /// Unlocked: the chain signs for them, and everybody knows their keys.
    accounts: Vec<Address>,
    directory: Option<String>,
}

pub(crate) fn run(args: &DevArgs, globals: &Globals, ui: &Ui) -> Result<ExitCode, CliError> {
    match &args.command {
        Some(DevCommand::Fund { address, amount }) => {
            super::block_on(fund::run(*address, amount, globals, ui))?;
        }
        None => super::block_on(serve(args, ui))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(args: &DevArgs, ui: &Ui) -> Result<(), CliError> {
    if !args.listen.ip().is_loopback() && !args.i_know {
        return Err(CliError::invalid(
            format!("{} is not an address of this machine alone", args.listen.ip()),
            "listen on 127.0.0.1, or add --i-know: whoever reaches this chain can do anything on it",
        ));
    }
    let keys = galen_devchain::well_known_keys();
    let accounts: Vec<Address> = keys.iter().map(|key| key.address()).collect();
    // The chain first: a directory in use is told before a port in use.
    let chain = open(args, &accounts)?;
    chain.unlock(keys)?;
    let listener = listen(args.listen).await?;
    let address = listener.local_addr()?;
    let stop = interrupted();
    tell(args, &accounts, &chain, address, ui)?;
    let blocks = args.block_time.map(|seconds| tokio::spawn(mine(chain.clone(), seconds)));
    let server = server::Server::new(chain, args.allow_origin.clone());
    server.run(listener, stop).await;
    if let Some(blocks) = blocks {
        blocks.abort();
    }
    ui.status("Stopped.");
    Ok(())
}

/// Binds a listener.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).await.map_err(|error| {
        CliError::unavailable(
            format!("cannot listen on {address}: {error}"),
            "end the other process, or choose another port with --listen",
        )
    })
}

fn open(args: &DevArgs, unlocked: &[Address]) -> Result<DevChain, CliError> {
    let balance = U256::from(FUNDED_ETHER) * Unit::ETHER.wei();
    let mut funded: Vec<Address> = unlocked.iter().chain(&args.fund).copied().collect();
    funded.sort_unstable();
    funded.dedup();
    let accounts = funded.into_iter().map(|account| (account, balance)).collect();
    let config = Config { chain_id: args.chain_id, accounts, ..Config::default() };
    match &args.dir {
        Some(directory) => Ok(DevChain::open(directory, config)?),
        None => Ok(DevChain::in_memory(config)),
    }
}

fn tell(
    args: &DevArgs,
    accounts: &[Address],
    chain: &DevChain,
    address: SocketAddr,
    ui: &Ui,
) -> Result<(), CliError> {
    let ready = Ready {
        url: format!("http://{address}"),
        chain_id: chain.chain_id(),
        accounts: accounts.to_vec(),
        directory: args.dir.as_ref().map(|directory| directory.display().to_string()),
    };
    ui.status("A development chain: one proposer, no fee market. Not for anything of value.");
    ui.status("Unlocked accounts. Everybody knows their keys: never send them anything real.");
    accounts.iter().for_each(|account| ui.status(&format!("  {account:#x}")));
    let kept = ready.directory.as_deref().map_or("in memory".to_owned(), |it| format!("in {it}"));
    let block = chain.head().number;
    ui.status(&format!("Chain {} {kept}, at block {block}. Ctrl-C ends it.", ready.chain_id));
    if !address.ip().is_loopback() {
        ui.status(&format!("Whoever reaches {address} can do anything on this chain."));
    }
    if ui.json() { ui.object_line(&ready) } else { ui.line(&ready.url) }
}

/// Ends when somebody asks the process to end: Ctrl-C, or a terminate signal.
///
/// Listens from the call on, not from the first poll: whoever saw that the service is ready may end it at once.
pub(crate) fn interrupted() -> impl Future<Output = ()> {
    #[cfg(unix)]
    let signals = {
        use tokio::signal::unix::{SignalKind, signal};
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    };
    async move {
        #[cfg(unix)]
        if let (Ok(mut interrupt), Ok(mut terminate)) = signals {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// Blocks without transactions, for whoever waits for blocks.
async fn mine(chain: DevChain, seconds: u64) {
    let mut ticks = tokio::time::interval(Duration::from_secs(seconds));
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let chain = chain.clone();
        // A disk that is full now may have space later; requests tell of it.
        let _ = tokio::task::spawn_blocking(move || chain.mine()).await;
    }
}
