//! A node that leaves a block of events out of its answers.

use std::task::{Context, Poll};

use alloy::{
    providers::ProviderBuilder,
    rpc::{
        client::RpcClient,
        json_rpc::{RequestPacket, Response, ResponsePacket, ResponsePayload},
    },
    transports::{TransportError, TransportFut},
};
use galen_chain::{HistoryMode, Ledger};
use galen_devchain::DevChain;
use galen_fhir::Category;
use galen_index::HistoryOptions;
use galen_sdk::{Error, Galen};
use galen_types::ErrorKind;
use serde_json::{Value, json, value::to_raw_value};
use tower::Service;

use crate::{DAY, Network, identity};

/// Answers as the chain does, but names no event of one block.
#[derive(Clone)]
struct Forgetful {
    chain: DevChain,
    block: Option<u64>,
}

impl Service<RequestPacket> for Forgetful {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let (mut chain, block) = (self.chain.clone(), self.block);
        Box::pin(async move {
            let forgets =
                matches!(&packet, RequestPacket::Single(one) if one.method() == "eth_getLogs");
            let answer = chain.call(packet).await?;
            let (true, Some(block)) = (forgets, block) else { return Ok(answer) };
            let ResponsePacket::Single(Response { id, payload: ResponsePayload::Success(raw) }) =
                answer
            else {
                return Ok(answer);
            };
            let mut logs: Vec<Value> = serde_json::from_str(raw.get()).unwrap();
            logs.retain(|log| log["blockNumber"] != json!(format!("{block:#x}")));
            let payload = ResponsePayload::Success(to_raw_value(&logs).unwrap());
            Ok(ResponsePacket::Single(Response { id, payload }))
        })
    }
}

impl Network {
    /// The same network, read by logs from a node that leaves out a block.
    async fn through(&self, block: Option<u64>) -> Galen {
        let node = Forgetful { chain: self.chain.clone(), block };
        let provider = ProviderBuilder::new().connect_client(RpcClient::new(node, true));
        let address = self.galen.ledger().id().contract;
        let ledger = Ledger::connect(provider, address, 0).await.unwrap();
        let options = HistoryOptions { mode: HistoryMode::Logs, ..HistoryOptions::default() };
        let storage = self.galen.storage().clone();
        Galen::with_history(ledger.paid_by(&self.relayer), storage, options)
    }
}

/// Without the block of a revocation the tree still holds what was revoked: a root that is built from it
/// would grant it again, by the patient's own hand.
#[tokio::test]
async fn a_revocation_that_the_node_forgets_is_not_undone() {
    let network = Network::new().await;
    let grant = network.grant(&network.physician, Category::Vitals, DAY).await;
    let bills = network.grant(&network.insurer, Category::Billing, DAY).await;
    let revoked = network.patient.revoke(grant.consent().id()).await.unwrap();
    // One more change, so that the newest announced root and version are the chain's.
    let last = network.ask(network.insurer.id(), &[Category::Vitals]);
    network.patient.grant(&last).await.unwrap();

    let honest = network.through(None).await.patient(identity(3));
    assert_eq!(honest.consents(&[]).await.unwrap().len(), 2);
    let fooled = network.through(Some(revoked.block)).await.patient(identity(3));
    assert_eq!(fooled.consents(&[]).await.unwrap().len(), 3, "the node does leave it out");
    let refused = fooled.revoke(bills.consent().id()).await.unwrap_err();
    assert!(matches!(refused, Error::ConsentHistory), "{refused:?}");
    assert_eq!(refused.kind(), ErrorKind::Integrity);
    honest.revoke(bills.consent().id()).await.unwrap();
    // What needs no history is still possible.
    fooled.revoke_all().await.unwrap();
    assert!(network.patient.consents(&[]).await.unwrap().is_empty());
}
