//! `eth_getLogs`.

use alloy::{
    eips::BlockNumberOrTag,
    rpc::types::{Filter, FilterBlockOption, Log},
};

use super::{Answer, RpcError, json, number};
use crate::chain::{Chain, block::Block};

/// Most logs in one answer, unless it covers a single block, which cannot be split.
pub const MAX_LOGS: usize = 20_000;

/// Logs in the order of the chain.
pub(crate) fn answer(chain: &Chain, filter: &Filter) -> Result<Answer, RpcError> {
    let blocks = range(chain, filter)?;
    let mut found: Vec<Log> = Vec::new();
    for block in blocks.iter().filter(|block| filter.matches_bloom(block.bloom())) {
        let logs = block.mined.iter().flat_map(|mined| block.rpc_logs(mined));
        found.extend(logs.filter(|log| filter.matches(&log.inner)));
        if found.len() > MAX_LOGS && blocks.len() > 1 {
            return Err(RpcError::new(
                RpcError::LIMIT,
                format!("query returned more than {MAX_LOGS} results; ask for fewer blocks"),
            ));
        }
    }
    json(&found)
}

fn range<'a>(chain: &'a Chain, filter: &Filter) -> Result<&'a [Block], RpcError> {
    let (from, to) = match &filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            let block = chain
                .block_by_hash(hash)
                .ok_or_else(|| RpcError::server("unknown block".to_owned()))?;
            return Ok(std::slice::from_ref(block));
        }
        FilterBlockOption::Range { from_block, to_block } => {
            let tag = |block: &Option<BlockNumberOrTag>| {
                number(chain, block.unwrap_or(BlockNumberOrTag::Latest))
            };
            (tag(from_block), tag(to_block))
        }
    };
    if from > to {
        return Err(RpcError::new(RpcError::PARAMS, "invalid block range params"));
    }
    let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let end = index(to).saturating_add(1).min(chain.blocks().len());
    Ok(chain.blocks().get(index(from)..end).unwrap_or_default())
}
