//! The contracts of Galen as typed Rust.
//!
//! [`Ledger`] sends calls and reads slots, [`Account`] signs, [`typed`] holds what is signed,
//! [`clear`] says what a signature means before it is given, [`Payer`] lands each transaction once,
//! [`BlockReader`] gives the ledger's events block by block, checked against the receipts root;
//! [`Finality`] says which blocks stay, [`rpc`] speaks to nodes, of which several may have to agree.
//! Nothing else in Galen speaks to a chain.

mod account;
mod blocks;
pub mod clear;
pub mod contract;
mod deploy;
mod error;
mod event;
mod finality;
#[cfg(feature = "hardware")]
pub mod hardware;
mod ledger;
mod payer;
mod queue;
mod relay;
mod revert;
pub mod rpc;
pub mod safe;
mod seed_words;
pub mod typed;
pub mod verification;

pub use account::{
    Account, EnvelopeFor, Evidence, KeySigner, MnemonicError, SignError, Signer, SigningRequest,
    TransactionToSign, key_from_mnemonic, new_mnemonic,
};
pub use blocks::{Batch, BlockReader, HistoryMode, LedgerBlock, Point, RawLog};
pub use deploy::{
    Deployment, Verified, deploy, deploy_with, deployment_address, verify_deployment,
};
pub use error::ChainError;
pub use event::{
    AccessedEvent, ConsentsEvent, LedgerEvent, Position, ProposedEvent, ResealedEvent,
    SettledEvent, Stamped,
};
pub use finality::Finality;
pub use ledger::{
    ChartSlot, ConsentSlot, CosignPolicy, GuardianSet, Guardianship, Ledger, Masks, Participant,
    PendingChange, PendingKind, RecoveryTerms, SignedProposal, Standing, TreeChange, record_word,
    recovers,
};
pub use payer::{Fees, Payer, Pending, Resumed, Sent, Submitted, Waiting};
pub use queue::Queue;
pub use relay::RelayOptions;
pub use revert::Revert;
pub use seed_words::{seed_from_words, words_from_seed};
