//! A trustless IPFS gateway: it hands out blocks, and we check them.
//!
//! Source: IPFS "Trustless Gateway Specification", `GET /ipfs/{cid}?format=raw`.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use galen_types::{ContentRef, Store};
use reqwest::{StatusCode, Url, header};

use super::dag::{Blocks, Dag, Reach};
use crate::{
    Health, StorageError,
    http::{Ask, Http},
    ipfs::{Cid, LEAF_LEN},
    place::{Opened, Place, Upload},
};

const RAW_BLOCK: &str = "application/vnd.ipld.raw";

/// An empty raw block, which every gateway knows without having it.
const EMPTY: &str = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";

/// Gateways under a name.
#[derive(Debug)]
pub(crate) struct IpfsGateway {
    name: String,
    gateway: Arc<Gateway>,
}

#[derive(Debug)]
struct Gateway {
    http: Http,
}

impl IpfsGateway {
    pub(crate) fn new(name: String, http: Http) -> Self {
        Self { name, gateway: Arc::new(Gateway { http }) }
    }
}

#[async_trait]
impl Place for IpfsGateway {
    fn name(&self) -> &str {
        &self.name
    }

    fn understands(&self, store: Store) -> bool {
        matches!(store, Store::Ipfs)
    }

    fn is_writable(&self) -> bool {
        false
    }

    async fn open(&self, at: &ContentRef) -> Result<Box<dyn Opened>, StorageError> {
        let blocks: Arc<dyn Blocks> = Arc::clone(&self.gateway) as _;
        Ok(Box::new(Dag::open(blocks, at).await?))
    }

    async fn send(&self, _upload: &Upload<'_>) -> Result<(), StorageError> {
        Err(StorageError::ReadOnly(self.name.clone()))
    }

    async fn release(&self, _at: &ContentRef) -> Result<bool, StorageError> {
        Err(StorageError::ReadOnly(self.name.clone()))
    }

    async fn health(&self) -> Result<Health, StorageError> {
        self.gateway.fetch(EMPTY, Reach::Network).await?;
        Ok(Health::default())
    }
}

impl Gateway {
    /// A block as the gateway has it, unverified, and who answered.
    async fn fetch(
        &self,
        cid: &str,
        reach: Reach,
    ) -> Result<(String, Option<Bytes>), StorageError> {
        const ACTION: &str = "hand out a block";
        let build = |client: &reqwest::Client, base: &Url| {
            let mut url = base.clone();
            url.set_path(&format!("{}ipfs/{cid}", base.path()));
            url.set_query(Some("format=raw"));
            let request = client.get(url).header(header::ACCEPT, RAW_BLOCK);
            match reach {
                Reach::Node => request.header(header::CACHE_CONTROL, "only-if-cached"),
                Reach::Network => request,
            }
        };
        let ask = Ask { action: ACTION, build: &build, limit: LEAF_LEN, says_no_with_500: false };
        let answer = self.http.ask(&ask).await?;
        match answer.status {
            StatusCode::OK => Ok((answer.node, Some(answer.body))),
            // The third: not without asking the network.
            StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::PRECONDITION_FAILED => {
                Ok((answer.node, None))
            }
            _ => Err(answer.unexpected(ACTION)),
        }
    }
}

#[async_trait]
impl Blocks for Gateway {
    fn http(&self) -> &Http {
        &self.http
    }

    async fn get(&self, cid: &Cid, reach: Reach) -> Result<(String, Option<Bytes>), StorageError> {
        self.fetch(&cid.to_string(), reach).await
    }
}
