//! Three proxies of three organizations, each a server of its own on this machine.

use std::{net::Ipv4Addr, path::Path};

use galen_chain::{Finality, Ledger};
use galen_crypto::ProxyPlace;
use galen_index::HistoryOptions;
use galen_sdk::{Galen, Identity, proxies::ProxySet};
use galen_services::{
    http,
    proxy::{Proxy, ProxyConfig, ProxyLimits, rules::Policy},
};
use galen_storage::Storage;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use super::cast::identity;
use crate::error::CliError;

/// Who runs them.
pub(crate) const OPERATORS: [&str; 3] =
    ["hospital A", "a patients' association", "a university's computing centre"];

/// The proxies of the demo.
pub(crate) struct Proxies {
    pub(crate) set: ProxySet,
    running: Vec<Running>,
}

struct Running {
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Proxies {
    /// Starts them. Each reads the chain and the stores itself, and keeps its shares in a folder of its own.
    pub(crate) async fn start(
        ledger: &Ledger,
        storage: &Storage,
        place: &Path,
    ) -> Result<Self, CliError> {
        let (mut places, mut running) = (Vec::new(), Vec::new());
        for number in 1..=OPERATORS.len() {
            let identity = identity()?;
            // The chain of a demo has one proposer: its newest block is as final as it gets.
            let options = HistoryOptions { finality: Finality::Instant, ..Default::default() };
            let galen = Galen::with_history(ledger.clone(), storage.clone(), options);
            let keys = galen.grantee(identity.clone()).publish_keys().await;
            keys.map_err(|source| CliError::Sdk { doing: "publish a proxy's keys", source })?;
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let url = format!("http://{}", listener.local_addr()?);
            places.push(ProxyPlace { id: identity.id(), url });
            let proxy = open(galen, identity, &place.join(format!("proxy-{number}")))?;
            let (stop, stopped) = oneshot::channel();
            let served = tokio::spawn(async move {
                let stopped = async { drop(stopped.await) };
                http::serve(listener, proxy.router(), Proxy::http_limits(), stopped).await;
            });
            running.push(Running { stop, served });
        }
        Ok(Self { set: ProxySet::majority(places), running })
    }

    /// Ends one of them, as a power cut would; the others go on.
    pub(crate) async fn stop_one(&mut self) {
        if let Some(Running { stop, served }) = self.running.pop() {
            let _ = stop.send(());
            let _ = served.await;
        }
    }

    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }
}

fn open(galen: Galen, identity: Identity, directory: &Path) -> Result<Proxy, CliError> {
    let config = ProxyConfig {
        galen,
        identity,
        directory: directory.to_owned(),
        // The embedded chain stands still when nothing happens.
        policy: Policy { max_head_age: None, ..Policy::default() },
        limits: ProxyLimits::default(),
        // All of them ask the node of the demo. In life each has nodes of its own, of which a majority must agree.
        nodes: (1, 1),
        trust_forwarded_for: false,
    };
    Proxy::new(config, |_| {}).map_err(|_| CliError::Demo("a proxy cannot open its store"))
}
