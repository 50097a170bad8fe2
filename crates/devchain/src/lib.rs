//! The embedded development chain: revm behind an alloy transport, in memory or on disk.
//!
//! Real signatures, gas, receipts, logs bloom, receipts root, transactions root and header hashes,
//! so that what is tested here holds on other chains. What it is not: there is one proposer, one
//! transaction a block and no pending pool, hence no fee market, no replacement and no stuck
//! transaction; the state root in headers is zero, since no state trie is kept; only the state at
//! the head can be asked for; blocks of the same second share a time; the system contracts of
//! EIP-4788 and EIP-2935 and the block access lists of EIP-7928 are missing. It is a development
//! chain, not a blockchain.
//!
//! ```
//! use alloy::{
//!     network::{EthereumWallet, TransactionBuilder},
//!     primitives::{Address, U256, utils::Unit},
//!     providers::{Provider, ProviderBuilder},
//!     rpc::types::TransactionRequest,
//!     signers::local::PrivateKeySigner,
//! };
//! use galen_devchain::{Config, DevChain};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = PrivateKeySigner::random();
//! let accounts = vec![(key.address(), Unit::ETHER.wei())];
//! let chain = DevChain::in_memory(Config { accounts, ..Config::default() });
//! let provider = ProviderBuilder::new()
//!     .wallet(EthereumWallet::from(key))
//!     .connect_client(chain.client());
//!
//! let to = Address::repeat_byte(0xb0);
//! let transfer = TransactionRequest::default().with_to(to).with_value(U256::from(7));
//! let receipt = provider.send_transaction(transfer).await?.get_receipt().await?;
//! assert!(receipt.status());
//! assert_eq!(provider.get_balance(to).await?, U256::from(7));
//! # Ok(())
//! # }
//! ```

mod chain;
mod config;
mod devchain;
mod error;
mod rpc;
mod store;
mod transport;
mod unlocked;

pub use config::{
    CREATE2_FACTORY, Clock, Config, DEFAULT_CHAIN_ID, DEFAULT_GAS_LIMIT, DEFAULT_GENESIS_TIME, Spec,
};
pub use devchain::{DevChain, Head};
pub use error::Error;
pub use rpc::{MAX_LOGS, RpcError};
pub use transport::{Caller, MAX_BATCH_LEN, MAX_REQUEST_LEN};
pub use unlocked::{WELL_KNOWN_MNEMONIC, well_known_keys};
