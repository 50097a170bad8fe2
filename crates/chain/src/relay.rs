//! A relay that sends signed messages and pays the gas. It is trusted with nothing: what it sent is
//! read from the caller's own node and compared with what was asked.

use std::time::{Duration, Instant};

use alloy::{
    consensus::Transaction as _,
    eips::eip2718::Encodable2718 as _,
    network::Ethereum,
    providers::{DynProvider, Provider},
    rpc::types::TransactionRequest,
};
use alloy_primitives::{Address, B256, Bytes, keccak256};
use galen_types::ErrorKind;
use reqwest::{Client, StatusCode};
use serde::{Deserialize, Serialize};

use crate::{
    ChainError,
    error::shown,
    payer::{Notice, Notify, Pauses, Sent, Submitted, Waiting, outcome, receipt},
    rpc::{self, Node},
};

/// The longest answer of a relay, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// Between two questions to the relay whether it had to replace the transaction.
const ASK_INTERVAL: Duration = Duration::from_secs(10);

/// How a relay is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayOptions {
    /// How long one request to the relay may take.
    pub timeout: Duration,
    /// How long to wait until the caller's node shows the transaction in a block.
    pub deadline: Duration,
    /// Allows plain HTTP to other machines.
    pub allow_plain_http: bool,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(20),
            deadline: Duration::from_secs(90),
            allow_plain_http: false,
        }
    }
}

pub(crate) struct RelayClient {
    provider: DynProvider<Ethereum>,
    client: Client,
    node: Node,
    options: RelayOptions,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Call<'a> {
    chain_id: u64,
    to: Address,
    data: &'a Bytes,
}

#[derive(Deserialize)]
struct Taken {
    transaction: B256,
}

/// An error object of the services of Galen. Its `help` is for people who run curl.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: String,
}

impl RelayClient {
    pub(crate) fn new(
        provider: DynProvider<Ethereum>,
        url: &str,
        options: RelayOptions,
    ) -> Result<Self, ChainError> {
        let mut node = Node::parse(url, options.allow_plain_http)?;
        let path = format!("{}/v1/calls", node.url.path().trim_end_matches('/'));
        node.url.set_path(&path);
        Ok(Self { provider, client: rpc::client(options.timeout)?, node, options })
    }

    pub(crate) fn name(&self) -> &str {
        &self.node.name
    }

    pub(crate) async fn submit(
        &self,
        request: TransactionRequest,
    ) -> Result<Submitted, ChainError> {
        let (to, data) = call(&request)?;
        if request.value.is_some_and(|value| !value.is_zero()) {
            return Err(ChainError::Invalid("a relay sends no ether"));
        }
        // A refusal of the contract is decoded here, without asking the relay.
        self.provider.call(request.clone()).await?;
        let chain_id = self.provider.get_chain_id().await?;
        let body = serde_json::to_vec(&Call { chain_id, to, data: &data })
            .map_err(|_| ChainError::Invalid("the call has no JSON form"))?;
        let post = self.client.post(self.node.url.clone());
        let post = post.header("content-type", "application/json").body(body);
        let Taken { transaction } = self.exchange(post).await?;
        Ok(Submitted { transaction, nonce: None, request })
    }

    async fn exchange(&self, request: reqwest::RequestBuilder) -> Result<Taken, ChainError> {
        let after = self.options.timeout;
        let exchange = async {
            let response = request.send().await.map_err(|e| self.node.failure(e, after))?;
            let status = response.status();
            let body = self.node.body(response, MAX_ANSWER, after).await?;
            if !status.is_success() {
                return Err(refusal(status, &body));
            }
            serde_json::from_slice(&body).map_err(|_| ChainError::Malformed {
                node: self.node.name.clone(),
                what: "not the answer of a relay",
            })
        };
        let timed_out = || ChainError::TimedOut { node: self.node.name.clone(), after };
        tokio::time::timeout(after, exchange).await.unwrap_or_else(|_| Err(timed_out()))
    }

    pub(crate) async fn land(
        &self,
        submitted: &Submitted,
        notify: &Notify,
    ) -> Result<Sent, ChainError> {
        let (start, mut asked) = (Instant::now(), Instant::now());
        let mut transaction = submitted.transaction;
        let mut notice = Notice::new(notify);
        let mut pauses = Pauses::new();
        while start.elapsed() < self.options.deadline {
            match self.look(transaction, &submitted.request).await {
                Ok(Some(sent)) => return Ok(sent),
                Err(
                    error @ (ChainError::Failed { .. }
                    | ChainError::RelayCheated { .. }
                    | ChainError::Inconsistent { .. }),
                ) => return Err(error),
                // The node has until the deadline to come back.
                Ok(None) | Err(_) => notice.tell(Waiting::Receipt { transaction }),
            }
            if asked.elapsed() >= ASK_INTERVAL {
                transaction = self.newest(submitted.transaction).await.unwrap_or(transaction);
                asked = Instant::now();
            }
            pauses.next().await;
        }
        Err(ChainError::NotMined { transaction, waited: self.options.deadline })
    }

    /// What the caller's own node shows.
    async fn look(
        &self,
        transaction: B256,
        asked: &TransactionRequest,
    ) -> Result<Option<Sent>, ChainError> {
        let Some(receipt) = receipt(&self.provider, transaction).await? else { return Ok(None) };
        let Some(found) = self.provider.get_transaction_by_hash(transaction).await? else {
            return Ok(None);
        };
        let (to, data) = call(asked)?;
        let cheated = |what| Err(ChainError::RelayCheated { what, transaction });
        // Nodes name the hash; what they show must have it.
        let hash = keccak256(found.inner.encoded_2718());
        if hash != transaction || found.inner.to() != Some(to) {
            return cheated("the recipient");
        }
        if receipt.to != Some(to) {
            return cheated("the recipient in the receipt");
        }
        if *found.inner.input() != data {
            return cheated("the call");
        }
        outcome(&receipt).map(Some)
    }

    /// Asks whether a later version took the place of a transaction: `GET <url>/v1/calls/<hash>`. A relay
    /// that does not say is asked again later.
    async fn newest(&self, transaction: B256) -> Option<B256> {
        let mut url = self.node.url.clone();
        url.set_path(&format!("{}/{transaction:#x}", self.node.url.path()));
        Some(self.exchange(self.client.get(url)).await.ok()?.transaction)
    }
}

/// Recipient and input of a call.
fn call(request: &TransactionRequest) -> Result<(Address, Bytes), ChainError> {
    let to = request.to.and_then(|to| to.to().copied());
    let to = to.ok_or(ChainError::Invalid("a relay deploys no contracts"))?;
    Ok((to, request.input.input().cloned().unwrap_or_default()))
}

/// The status decides what kind of error it is; the relay's words are shown.
fn refusal(status: StatusCode, body: &[u8]) -> ChainError {
    let kind = match status.as_u16() {
        400..=402 | 405..=408 | 413..=415 | 422 => ErrorKind::Invalid,
        403 => ErrorKind::Denied,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Stale,
        _ => ErrorKind::Unavailable,
    };
    let Refusal { error } = serde_json::from_slice(body).unwrap_or_default();
    let message =
        if error.is_empty() { format!("HTTP status {}", status.as_u16()) } else { shown(&error) };
    ChainError::Relay { kind, message }
}
