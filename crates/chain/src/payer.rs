//! Who pays gas, and how a transaction lands.

use std::{sync::Arc, time::Duration};

use alloy::{
    consensus::SignableTransaction,
    network::{Ethereum, EthereumWallet, TransactionBuilder, TxSigner},
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::types::{TransactionReceipt, TransactionRequest},
};
use alloy_primitives::{Address, B256, Signature};
use async_trait::async_trait;
use serde::Serialize;
use tokio::sync::Mutex;

use crate::{Account, ChainError};

/// How long a transaction may take to land before Galen says so.
const LANDING_DEADLINE: Duration = Duration::from_secs(90);

/// Between two looks for a receipt.
const RECEIPT_INTERVAL: Duration = Duration::from_millis(400);

/// A transaction that landed and succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// Transaction hash.
    pub transaction: B256,
    /// Block number.
    pub block: u64,
    /// Gas used.
    pub gas: u64,
}

/// Pays gas for transactions: a relayer, or somebody for themselves.
#[derive(Clone, Debug)]
pub(crate) struct Payer {
    provider: DynProvider<Ethereum>,
    address: Address,
    // One at a time, so that nonces follow each other.
    sending: Arc<Mutex<()>>,
}

impl Payer {
    pub(crate) fn new(provider: DynProvider<Ethereum>, account: &Account) -> Self {
        let provider = ProviderBuilder::new()
            .with_simple_nonce_management()
            .wallet(EthereumWallet::from(Paying(account.clone())))
            .connect_provider(provider)
            .erased();
        Self { provider, address: account.controller(), sending: Arc::default() }
    }

    /// Sends a transaction and waits until it is in a block.
    pub(crate) async fn send(&self, request: TransactionRequest) -> Result<Sent, ChainError> {
        let _one_at_a_time = self.sending.lock().await;
        let request = request.from(self.address);
        // The estimate runs the call: a refusal is decoded here and costs nothing.
        let estimate = self.provider.estimate_gas(request.clone()).await?;
        let request = request.with_gas_limit(estimate + estimate / 8);
        let pending = self.provider.send_transaction(request).await?;
        let transaction = *pending.tx_hash();
        let receipt = self.landed(transaction).await?;
        if !receipt.status() {
            return Err(ChainError::Failed { transaction });
        }
        Ok(Sent {
            transaction,
            block: receipt.block_number.unwrap_or_default(),
            gas: receipt.gas_used,
        })
    }

    async fn landed(&self, transaction: B256) -> Result<TransactionReceipt, ChainError> {
        if let Some(receipt) = self.provider.get_transaction_receipt(transaction).await? {
            return Ok(receipt);
        }
        let wait = async {
            loop {
                tokio::time::sleep(RECEIPT_INTERVAL).await;
                if let Some(receipt) = self.provider.get_transaction_receipt(transaction).await? {
                    return Ok(receipt);
                }
            }
        };
        tokio::time::timeout(LANDING_DEADLINE, wait)
            .await
            .unwrap_or(Err(ChainError::NotMined { transaction, waited: LANDING_DEADLINE }))
    }
}

struct Paying(Account);

#[async_trait]
impl TxSigner<Signature> for Paying {
    fn address(&self) -> Address {
        self.0.controller()
    }

    async fn sign_transaction(
        &self,
        transaction: &mut dyn SignableTransaction<Signature>,
    ) -> alloy::signers::Result<Signature> {
        let signed = self.0.sign_transaction(transaction).await;
        signed.map_err(alloy::signers::Error::other)
    }
}
