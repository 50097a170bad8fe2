//! What a place in a block costs.

use alloy::{
    consensus::{TxEip1559, TxLegacy, TypedTransaction},
    eips::BlockNumberOrTag,
    network::Ethereum,
    providers::{DynProvider, Provider},
};

use crate::ChainError;

/// Blocks whose tips are looked at.
const HISTORY: u64 = 10;

/// The price of a unit of gas, in wei.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Price {
    /// The most that is paid in all.
    pub(super) fee: u128,
    /// What the block's maker gets of it; `None` on chains without base fee (EIP-1559).
    pub(super) tip: Option<u128>,
    /// Newest block at that time.
    pub(super) block: u64,
}

impl Price {
    /// Asks a node. The fee leaves room for the base fee to double, within the ceiling.
    pub(super) async fn now(
        provider: &DynProvider<Ethereum>,
        ceiling: u128,
    ) -> Result<Self, ChainError> {
        let history = provider.get_fee_history(HISTORY, BlockNumberOrTag::Latest, &[50.0]).await;
        let Ok(history) = history else { return Self::without_base_fee(provider, ceiling).await };
        let base = history.base_fee_per_gas.last().copied().unwrap_or_default();
        let block = history
            .oldest_block
            .saturating_add(history.gas_used_ratio.len() as u64)
            .saturating_sub(1);
        if base == 0 {
            let head = provider.get_block_by_number(BlockNumberOrTag::Latest).await?;
            if head.is_none_or(|head| head.header.base_fee_per_gas.is_none()) {
                return Self::without_base_fee(provider, ceiling).await;
            }
        }
        let mut tips: Vec<u128> =
            history.reward.into_iter().flatten().flatten().filter(|tip| *tip > 0).collect();
        tips.sort_unstable();
        let tip = match tips.get(tips.len() / 2) {
            Some(tip) => *tip,
            // Empty blocks say nothing; the node has an opinion.
            None => provider.get_gas_price().await?.saturating_sub(base),
        };
        let needed = base.saturating_add(tip);
        if needed > ceiling {
            return Err(ChainError::FeeCeiling { needed, ceiling });
        }
        let fee = base.saturating_mul(2).saturating_add(tip).min(ceiling);
        Ok(Self { fee, tip: Some(tip), block })
    }

    async fn without_base_fee(
        provider: &DynProvider<Ethereum>,
        ceiling: u128,
    ) -> Result<Self, ChainError> {
        let fee = provider.get_gas_price().await?;
        if fee > ceiling {
            return Err(ChainError::FeeCeiling { needed: fee, ceiling });
        }
        Ok(Self { fee, tip: None, block: provider.get_block_number().await? })
    }

    /// The price of a transaction that exists.
    pub(super) fn of(transaction: &TypedTransaction) -> Self {
        use alloy::consensus::Transaction as _;
        Self {
            fee: transaction.max_fee_per_gas(),
            tip: transaction.max_priority_fee_per_gas(),
            block: 0,
        }
    }

    /// What replaces a transaction at the price of `old`: an eighth more of both, rounded up, since
    /// nodes ask for a tenth, and no less than today's price. `None` if that is above the ceiling.
    pub(super) fn replacing(self, old: Self, ceiling: u128) -> Option<Self> {
        let fee = raised(old.fee).max(self.fee);
        let tip = old.tip.map(|tip| raised(tip).max(self.tip.unwrap_or_default()).min(fee));
        (fee <= ceiling).then_some(Self { fee, tip, block: self.block })
    }

    /// Writes the price into a transaction of the same kind.
    pub(super) const fn put_into(self, transaction: &mut TypedTransaction) {
        match (transaction, self.tip) {
            (
                TypedTransaction::Eip1559(TxEip1559 {
                    max_fee_per_gas,
                    max_priority_fee_per_gas,
                    ..
                }),
                Some(tip),
            ) => {
                *max_fee_per_gas = self.fee;
                *max_priority_fee_per_gas = tip;
            }
            (TypedTransaction::Legacy(TxLegacy { gas_price, .. }), _) => *gas_price = self.fee,
            // The wallet makes no others.
            _ => {}
        }
    }
}

const fn raised(price: u128) -> u128 {
    let more = price.saturating_add(price.div_ceil(8));
    if more == 0 { 1 } else { more }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_costs_an_eighth_more_of_both_or_todays_price_within_the_ceiling() {
        let price = |fee, tip| Price { fee, tip, block: 0 };
        let today = price(10, Some(1));
        for (old, today, expected) in [
            (price(1_000, Some(100)), today, Some(price(1_125, Some(113)))),
            (price(1, Some(0)), today, Some(price(10, Some(1)))),
            (price(100, Some(3)), price(500, Some(70)), Some(price(500, Some(70)))),
            (price(1_001, None), price(1, None), Some(price(1_127, None))),
            (price(1_777, Some(1)), today, Some(price(2_000, Some(2)))),
            (price(1_778, Some(1)), today, None),
        ] {
            assert_eq!(today.replacing(old, 2_000), expected, "{old:?}");
        }
    }
}
