//! How nodes stand, for who runs something on them.

use std::time::{Duration, Instant};

use alloy_primitives::{B256, U256};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{
    Inner,
    block::{Agreed, read_block},
    poll::{Answered, Said, Voter},
    quantity,
};
use crate::ChainError;

/// How one node stands.
#[derive(Debug)]
pub struct NodeStatus {
    /// Scheme and host.
    pub node: String,
    /// Number of its newest block.
    pub head: Option<u64>,
    /// Blocks that it is behind the agreed one; zero if it is ahead.
    pub lag: Option<u64>,
    /// Whether it has the block that a quorum has at the agreed height, or at its own if that is lower.
    pub agrees: Option<bool>,
    /// How long it took to name its newest block.
    pub took: Duration,
    /// Why it says nothing that can be used.
    pub fault: Option<ChainError>,
}

/// How nodes stand together.
#[derive(Debug)]
pub struct NodesStatus {
    /// Each node, in the order in which they were named.
    pub nodes: Vec<NodeStatus>,
    /// How many must agree.
    pub quorum: usize,
    /// Number, hash and Unix second of the newest block that a quorum has.
    pub head: Option<(u64, B256, u64)>,
    /// Why there is none.
    pub fault: Option<ChainError>,
}

impl NodesStatus {
    /// How many nodes have the agreed chain.
    pub fn agreeing(&self) -> usize {
        self.nodes.iter().filter(|node| node.agrees == Some(true)).count()
    }
}

impl Inner {
    pub(super) async fn status(&self) -> NodesStatus {
        let heads = join_all(self.voters.iter().map(|voter| self.head_of(voter))).await;
        let mut numbers: Vec<u64> = heads.iter().filter_map(|node| node.head).collect();
        numbers.sort_unstable_by(|one, other| other.cmp(one));
        let newest = match numbers.get(self.quorum - 1) {
            Some(number) => self.agreed_at(*number).await,
            None => Err(self.disagreement("eth_blockNumber", numbers.len())),
        };
        let (newest, fault) = match newest {
            Ok(block) => (Some(block), None),
            Err(fault) => (None, Some(fault)),
        };
        let nodes = self.voters.iter().zip(heads);
        let nodes = nodes.map(|(voter, node)| self.compared(voter, node, newest.as_ref()));
        NodesStatus {
            nodes: join_all(nodes).await,
            quorum: self.quorum,
            head: newest
                .map(|Agreed { header, .. }| (header.number, header.hash, header.timestamp)),
            fault,
        }
    }

    async fn head_of(&self, voter: &Voter) -> NodeStatus {
        let start = Instant::now();
        let said = voter.ask("eth_blockNumber", &[], self.options.timeout).await;
        let (head, fault) = match said {
            Said::Value(value) => match quantity(&value) {
                Some(number) => (u64::try_from(number).ok(), None),
                None => (None, Some(voter.malformed("not a number"))),
            },
            Said::Refused(_) => (None, Some(voter.malformed("a refusal"))),
            Said::Fault(fault) => (None, Some(fault)),
        };
        let (node, took) = (voter.name.clone(), start.elapsed());
        NodeStatus { node, head, lag: None, agrees: None, took, fault }
    }

    async fn agreed_at(&self, number: u64) -> Result<Agreed, ChainError> {
        match self.numbered(&json!(U256::from(number)), Value::Bool(false)).await? {
            Answered::Said(Some(block)) => Ok(block),
            _ => Err(self.disagreement("eth_getBlockByNumber", 0)),
        }
    }

    /// Whether a node's own block is the agreed one of that height.
    async fn compared(
        &self,
        voter: &Voter,
        node: NodeStatus,
        newest: Option<&Agreed>,
    ) -> NodeStatus {
        let (Some(head), Some(newest)) = (node.head, newest) else { return node };
        let lag = Some(newest.header.number.saturating_sub(head));
        let height = head.min(newest.header.number);
        let agreed = if height == newest.header.number {
            Ok(newest.clone())
        } else {
            self.agreed_at(height).await
        };
        let params = [json!(U256::from(height)), Value::Bool(false)];
        let said = voter.ask("eth_getBlockByNumber", &params, self.options.timeout).await;
        let own = said.into_value(voter).and_then(|value| {
            let read = read_block(value, |header| header.number == height);
            let block = read.and_then(|(_, block)| block);
            block.ok_or_else(|| voter.malformed("a block that does not hold together"))
        });
        match (agreed, own) {
            (Ok(agreed), Ok(own)) => {
                let agrees = Some(own.header.hash == agreed.header.hash);
                NodeStatus { lag, agrees, ..node }
            }
            (_, Err(fault)) => NodeStatus { lag, agrees: Some(false), fault: Some(fault), ..node },
            (Err(_), Ok(_)) => NodeStatus { lag, ..node },
        }
    }
}
