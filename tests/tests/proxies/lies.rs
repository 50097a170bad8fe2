//! Nodes that lie to the proxy: branches of their own that hold together, changed answers, silence.
//!
//! Two of three must agree. `GALEN_LIES` says how many requests are made (200).

use std::{
    collections::BTreeMap,
    task::{Context, Poll},
    time::Duration,
};

use alloy::{
    network::Ethereum,
    providers::{DynProvider, Provider as _, ProviderBuilder},
    rpc::{
        client::RpcClient,
        json_rpc::{RequestPacket, Response, ResponsePacket, ResponsePayload},
    },
    transports::{TransportError, TransportErrorKind, TransportFut},
};
use galen_chain::{
    Ledger,
    rpc::{Agreeing, RpcOptions},
};
use galen_devchain::DevChain;
use galen_sdk::proxies::wire::KeyAnswers;
use galen_services::proxy::rules::Policy;
use serde_json::{Value, json, value::to_raw_value};
use tower::Service;

use crate::{
    play::Ask,
    simulation::setting,
    steps::{Dice, PERSON},
    vault::Vault,
    whole::{key_ask, open, post},
    world::{SEALED, World, number_of},
};

/// What one node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lie {
    /// Has a branch of its own, of whole blocks, that is longer than the true one.
    Branch,
    /// The same, and it stands still.
    OldBranch,
    /// Is of another chain.
    ChainId,
    /// Says of every call that the answer is yes.
    Calls,
    /// Changes a time in its headers.
    Times,
    /// Leaves out what the ledger said.
    Receipts,
    /// Has far more blocks than there are.
    Head,
    /// Says nothing.
    Silence,
}

const LIES: [Lie; 8] = [
    Lie::Branch,
    Lie::OldBranch,
    Lie::ChainId,
    Lie::Calls,
    Lie::Times,
    Lie::Receipts,
    Lie::Head,
    Lie::Silence,
];

/// What is true, what the liar would have the proxy believe, and what is right.
struct Case {
    truth: &'static str,
    lie: &'static str,
    right: Result<(), &'static str>,
}

const CASES: [Case; 3] = [
    Case {
        truth: "grant 0; log 0 0 1 0; mine 2; revoke 0; mine 3",
        lie: "grant 0; log 0 0 1 0; mine 2",
        right: Err("revoked"),
    },
    Case {
        truth: "grant 0; mine 6",
        lie: "grant 0; log 0 0 1 0; mine 5",
        right: Err("not-logged"),
    },
    Case { truth: "grant 0; log 0 0 1 0; mine 4", lie: "grant 0; revoke 0; mine 4", right: Ok(()) },
];

/// A node that answers as a chain does, but for what it lies about.
#[derive(Clone)]
struct Liar {
    chain: DevChain,
    lie: Lie,
}

impl Liar {
    fn provider(self) -> DynProvider<Ethereum> {
        ProviderBuilder::default().connect_client(RpcClient::new(self, true)).erased()
    }

    fn change(&self, method: &str, value: &mut Value) {
        match (self.lie, method) {
            (Lie::ChainId, "eth_chainId") => *value = json!("0x1"),
            (Lie::Calls, "eth_call") => {
                let len = value.as_str().map_or(0, str::len);
                *value = json!(format!("0x{}", "01".repeat(len / 2)));
            }
            (Lie::Times, "eth_getBlockByNumber" | "eth_getBlockByHash") => {
                value["timestamp"] = json!("0x1");
            }
            (Lie::Receipts, "eth_getBlockReceipts") => {
                let receipts = value.as_array_mut().into_iter().flatten();
                receipts.for_each(|receipt| receipt["logs"] = json!([]));
            }
            (Lie::Head, "eth_blockNumber") => *value = json!("0xffffff"),
            _ => {}
        }
    }
}

impl Service<RequestPacket> for Liar {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let (this, mut chain) = (self.clone(), self.chain.clone());
        Box::pin(async move {
            if this.lie == Lie::Silence {
                return Err(TransportErrorKind::custom_str("nobody is there"));
            }
            let RequestPacket::Single(request) = &packet else {
                panic!("nothing here sends batches")
            };
            let method = request.method().to_owned();
            let answer = chain.call(packet).await?;
            let ResponsePacket::Single(Response { id, payload: ResponsePayload::Success(raw) }) =
                answer
            else {
                return Ok(answer);
            };
            let mut value: Value = serde_json::from_str(raw.get()).unwrap();
            this.change(&method, &mut value);
            let payload = ResponsePayload::Success(to_raw_value(&value).unwrap());
            Ok(ResponsePacket::Single(Response { id, payload }))
        })
    }
}

fn told(steps: &str) -> DevChain {
    let mut world = World::new(&SEALED, 1);
    world.tell(steps);
    world.chain
}

fn vault() -> &'static Vault {
    SEALED.vault.as_ref().unwrap()
}

/// One request to a new proxy over these nodes.
async fn ask(
    nodes: Vec<DynProvider<Ethereum>>,
    policy: Policy,
    now: u64,
) -> Result<KeyAnswers, String> {
    let options =
        RpcOptions { timeout: Duration::from_secs(20), retries: 0, ..RpcOptions::default() };
    let provider = Agreeing::of(nodes, 2, options).unwrap().provider();
    let ledger = &SEALED.ledger;
    let connected = Ledger::connect(provider, ledger.id().contract, ledger.deployed_in()).await;
    // Without an answer that enough agree on there is no ledger to begin with.
    let Ok(connected) = connected else { return Err("chain".to_owned()) };
    let directory = tempfile::tempdir().unwrap();
    let proxy = open(connected, vault(), directory.path(), 1, policy);
    let mut router = proxy.router();
    post::<()>(&mut router, "/v1/shares", vault().given[0].envelope.clone()).await?;
    let ask = Ask { who: PERSON, consent: 0, records: 1, clock: 0, seen: 0 };
    let (request, _) = key_ask(ledger.id(), &ask, now + 60, (number_of(PERSON), 0));
    post(&mut router, "/v1/keys", serde_json::to_vec(&request).unwrap()).await
}

fn policy(max_head_age: Option<u64>) -> Policy {
    Policy { max_head_age, ..Policy::default() }
}

/// One node of three lies: the answer is the right one. The other two are not both there: nothing is answered at all.
#[tokio::test]
async fn a_node_that_lies_gets_nothing_served() {
    let chains = CASES.map(|case| (told(case.truth), told(case.lie)));
    let mut dice = Dice(setting("GALEN_STORY_SEED", 1));
    let mut seen = BTreeMap::<(Lie, bool), usize>::new();
    for number in 0..setting("GALEN_LIES", 200) {
        let place = usize::from(dice.below(3));
        let (case, (truth, false_one)) = (&CASES[place], &chains[place]);
        let lie = LIES[usize::from(dice.below(8))];
        let alone = dice.one_in(3);
        let chain = match lie {
            Lie::Branch | Lie::OldBranch => {
                let own = false_one.fork();
                // Longer than the truth, and younger; or not.
                let more = if lie == Lie::Branch { 8 } else { 0 };
                for _ in 0..more {
                    own.mine().unwrap();
                }
                own
            }
            _ => truth.clone(),
        };
        let mut nodes = vec![truth.provider().erased(), truth.provider().erased()];
        if alone {
            nodes[1] = Liar { chain: truth.clone(), lie: Lie::Silence }.provider();
        }
        nodes.insert(usize::from(dice.below(3)), Liar { chain, lie }.provider());
        let now = truth.head().timestamp;
        let answer = ask(nodes, policy(None), now).await;
        let cause = answer.as_ref().map(drop).map_err(String::as_str);
        let what = format!("request {number}: {lie:?}, alone {alone}, {}: {cause:?}", case.truth);
        if alone {
            // Whoever says the truth in what matters here may be believed; nobody else.
            assert!(cause == Err("chain") || cause == case.right, "{what}");
        } else {
            assert_eq!(cause, case.right, "{what}");
        }
        *seen.entry((lie, alone)).or_default() += 1;
    }
    assert_eq!(seen.len(), 2 * LIES.len(), "{seen:?}");
}

/// Nodes that all stand still say nothing of what was revoked since.
#[tokio::test]
async fn an_old_head_is_not_relied_on() {
    const DAY: u64 = 86_400;
    let chain = told(CASES[2].truth);
    let nodes = || vec![chain.provider().erased(), chain.provider().erased()];
    let now = chain.head().timestamp;
    // The chain is a day away from the clock of this machine.
    let far = ask(nodes(), policy(Some(600)), now).await;
    assert_eq!(far.unwrap_err(), "chain");
    ask(nodes(), policy(Some(2 * DAY)), now).await.unwrap();
}
