//! The real proxy, served on this machine.

use galen_chain::Finality;
use galen_crypto::ProxyPlace;
use galen_index::HistoryOptions;
use galen_sdk::{Galen, proxies::ProxySet};
use galen_services::{
    http::serve,
    proxy::{Proxy, ProxyConfig, ProxyLimits, rules::Policy},
};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{Network, identity};

/// How many blocks bury an access until a proxy takes it for final.
pub(crate) const DEPTH: u64 = 2;

/// A proxy that listens until it is dropped or stopped.
pub(crate) struct Served {
    pub(crate) place: ProxyPlace,
    server: JoinHandle<()>,
    _store: TempDir,
}

impl Served {
    pub(crate) async fn start(network: &Network, n: u8) -> Self {
        let (ledger, storage) = (network.galen.ledger().clone(), network.galen.storage().clone());
        let finality = Finality::Depth(DEPTH);
        let history = HistoryOptions { finality, ..HistoryOptions::default() };
        let galen = Galen::with_history(ledger, storage, history);
        galen.grantee(identity(n)).publish_keys().await.unwrap();
        let store = tempfile::tempdir().unwrap();
        let config = ProxyConfig {
            galen,
            identity: identity(n),
            directory: store.path().to_owned(),
            policy: Policy { max_head_age: None, ..Policy::default() },
            limits: ProxyLimits::default(),
            nodes: (1, 1),
            trust_forwarded_for: false,
        };
        let proxy = Proxy::new(config, |_| {}).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let place = ProxyPlace { id: proxy.id(), url };
        let router = proxy.router();
        let forever = std::future::pending();
        let server = tokio::spawn(serve(listener, router, Proxy::http_limits(), forever));
        Self { place, server, _store: store }
    }

    pub(crate) fn stop(&self) {
        self.server.abort();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Three proxies of three people, of which two are needed.
pub(crate) async fn three(network: &Network) -> (Vec<Served>, ProxySet) {
    let mut proxies = Vec::new();
    for n in 21..=23 {
        proxies.push(Served::start(network, n).await);
    }
    let set = ProxySet::majority(proxies.iter().map(|it| it.place.clone()).collect());
    (proxies, set)
}
