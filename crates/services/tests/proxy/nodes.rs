//! Nodes that lie: what one says alone counts for nothing, and where too few agree nothing is answered.

use alloy::providers::Provider as _;
use galen_chain::rpc::agreeing;
use galen_devchain::DevChain;
use galen_fhir::Category;
use galen_sdk::Galen;

use crate::stage::{
    DEPTH, Node, PHYSICIAN, RELAYER, Stage, account, chain_config, copy, identity, now,
    proxy_config,
};

#[tokio::test]
async fn a_node_that_lies_neither_opens_nor_keeps_open() {
    let (directory, genesis) = (tempfile::tempdir().unwrap(), now());
    let chain = DevChain::open(directory.path().join("chain"), chain_config(genesis)).unwrap();
    let stage = Stage::on(directory, chain).await;
    let records = stage.accepted(Category::Vitals, 2).await;
    let consent = stage.consent(account(PHYSICIAN).id(), Category::Vitals).await;
    stage.logged(&stage.physician, &consent, &records[..1]).await;

    // The liar shares the past.
    let at = |name: &str| stage.directory.path().join(name);
    copy(&at("chain"), &at("fork"));
    let fork = DevChain::open(at("fork"), chain_config(genesis)).unwrap();
    let (live, lies) = (|| stage.chain.provider().erased(), || fork.provider().erased());
    let node = async |store: &str, nodes| {
        let ledger = stage.over(agreeing(nodes, 2).unwrap()).await;
        Node::new(proxy_config(ledger, stage.storage.clone(), 0, &at(store)))
    };
    let three = node("three", vec![lies(), live(), live()]).await;
    let two = node("two", vec![live(), lies()]).await;
    let shares = stage.shares(&consent, 1, 1).await.remove(0);
    let asked = async |node: &Node, record: usize| {
        let ask = stage.ask(PHYSICIAN, consent.id(), &records[record..=record]).await;
        node.cause("/v1/keys", &ask).await
    };
    for node in [&three, &two] {
        node.take("/v1/shares", &shares).await;
        assert_eq!(asked(node, 0).await.0, 200);
    }

    // It goes on by itself, with an access of its own and more blocks.
    let theirs = stage.over(fork.provider()).await.paid_by(&account(RELAYER));
    let galen = Galen::new(theirs, stage.storage.clone());
    let physician = galen.grantee(identity(PHYSICIAN));
    let purpose = galen_types::Purpose::Treatment;
    physician.log(stage.patient.id(), &consent, purpose, &records[1..]).await.unwrap();
    for _ in 0..2 * DEPTH {
        fork.mine().unwrap();
    }
    stage.mine(1);
    assert_eq!(asked(&three, 0).await.0, 200);
    assert_eq!(asked(&three, 1).await.1, "not-logged", "only the liar has it");
    stage.patient.revoke(consent.id()).await.unwrap();
    assert_eq!(asked(&three, 0).await.1, "revoked", "the liar does not know");
    assert_eq!(asked(&two, 0).await, (503, "chain".to_owned()), "nobody knows who lies");
}
