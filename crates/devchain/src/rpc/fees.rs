//! What a transaction will cost.

use alloy::{
    consensus::Transaction as _,
    eips::BlockNumberOrTag,
    rpc::types::{FeeHistory, TransactionRequest},
};

use super::{Answer, RpcError, json, number, params::Params};
use crate::{
    chain::{At, Chain, block::Block, reject},
    devchain::Core,
};

/// Suggested priority fee, in wei. Any would do: nobody competes for a place in a block.
pub(crate) const TIP: u128 = 1_000_000_000;

/// Most blocks and most percentiles in one answer (go-ethereum).
const MAX_BLOCKS: u64 = 1_024;
const MAX_PERCENTILES: usize = 100;

/// `eth_feeHistory`.
pub(crate) fn history(chain: &Chain, params: &Params<'_>) -> Result<Answer, RpcError> {
    let count = params.number(0, "blockCount")?.min(MAX_BLOCKS);
    let newest = number(chain, params.required::<BlockNumberOrTag>(1, "newestBlock")?);
    let percentiles: Vec<f64> = params.optional(2, "rewardPercentiles")?.unwrap_or_default();
    if percentiles.len() > MAX_PERCENTILES {
        return Err(RpcError::new(RpcError::PARAMS, "too many percentiles"));
    }
    if newest > chain.head().header.number {
        return Err(RpcError::server("request beyond head block".to_owned()));
    }
    let oldest = (newest + 1).saturating_sub(count);
    let blocks: Vec<&Block> = (oldest..=newest).filter_map(|at| chain.block(at)).collect();

    // One more than asked: the base fee of the block after the newest is known.
    let next = chain.block(newest + 1).map_or_else(|| chain.next_base_fee(), Block::base_fee);
    let base_fees = blocks.iter().map(|block| block.base_fee()).chain([next]);
    let reward = |block: &Block| {
        let tip = block.mined.first().map_or(0, |mined| {
            mined.transaction.effective_tip_per_gas(block.base_fee()).unwrap_or_default()
        });
        vec![tip; percentiles.len()]
    };
    json(&FeeHistory {
        oldest_block: oldest,
        base_fee_per_gas: base_fees.map(u128::from).collect(),
        gas_used_ratio: blocks.iter().map(|block| used_ratio(block)).collect(),
        reward: (!percentiles.is_empty())
            .then(|| blocks.iter().map(|block| reward(block)).collect()),
        ..FeeHistory::default()
    })
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for display; gas is far below 2^52")]
fn used_ratio(block: &Block) -> f64 {
    block.header.gas_used as f64 / block.header.gas_limit as f64
}

/// `eth_estimateGas`: the least gas limit with which the transaction succeeds in the next block.
pub(crate) fn estimate(core: &Core, request: &TransactionRequest) -> Result<u64, RpcError> {
    let chain = core.chain();
    let at = At::Next(core.next_time());
    let most = request.gas.unwrap_or(u64::MAX).min(chain.transaction_gas_cap());
    let first = chain.call(request, at, most)?;
    if !first.is_success() {
        return Err(reject::failed(&first));
    }
    // Less than was used cannot suffice; what is refunded or held back (EIP-150) comes on top.
    let mut fails = first.tx_gas_used().saturating_sub(1);
    let mut works = most;
    let succeeds = |gas| chain.call(request, at, gas).is_ok_and(|result| result.is_success());
    let likely = first.gas().total_gas_spent();
    for guess in [likely, likely + likely / 63 + 2_300] {
        if (fails + 1..works).contains(&guess) {
            if succeeds(guess) {
                works = guess;
                break;
            }
            fails = guess;
        }
    }
    while fails + 1 < works {
        let middle = fails + (works - fails) / 2;
        if succeeds(middle) {
            works = middle;
        } else {
            fails = middle;
        }
    }
    Ok(works)
}
